/*
 * Module skynet.socketdriver: sockets for Lua, and the buffer that received bytes wait in.
 *
 * Nodes of a receive buffer (recv_buffer.h) are pooled in a table of the caller's (slot 1 holds
 * the free ones), so that a busy service allocates none. skynet.socket has buffers of its own:
 * see skynet/stream.c.
 *
 * Everything a service passes is checked: wrong arguments raise, nothing here may crash.
 */
#include "builtin.h"
#include "block.h"
#include "recv_buffer.h"
#include "skynet.h"
#include "skynet_malloc.h"
#include "skynet_socket.h"

#include <arpa/inet.h>
#include <lauxlib.h>
#include <lua.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define BACKLOG 32
#define POOL_MAX 32
#define POOL_FIRST 16
#define POOL_STEP 16

#define BUFFER "skynet.socket.buffer"
#define POOL "skynet.socket.pool"

/*
 * ---- receive buffers ----
 */

/* Free what pooled nodes still hold. */
static int
pool_gc(lua_State *L) {
	struct recv_node *n = lua_touserdata(L, 1);
	size_t count = lua_rawlen(L, 1) / sizeof(*n);
	for (size_t i = 0; i < count; i++) {
		skynet_free(n[i].block);
		n[i].block = NULL;
	}
	return 0;
}

static int
lbuffer(lua_State *L) {
	struct recv_buffer *b = lua_newuserdatauv(L, sizeof(*b), 0);
	memset(b, 0, sizeof(*b));
	luaL_setmetatable(L, BUFFER);
	return 1;
}

/* The pool at index 2 has no free node: add a block of them. */
static struct recv_node *
fill_pool(lua_State *L) {
	int blocks = (int)lua_rawlen(L, 2);
	if (blocks < 1)
		blocks = 1;
	if (blocks > POOL_MAX) {
		lua_getfield(L, LUA_REGISTRYINDEX, "skynet_context");
		skynet_error(lua_touserdata(L, -1), "Too many socket pool (%d)", blocks);
		lua_pop(L, 1);
	}
	int n = blocks < 8 ? POOL_FIRST << (blocks - 1) : POOL_STEP << 8;
	struct recv_node *fresh = lua_newuserdatauv(L, sizeof(*fresh) * (size_t)n, 0);
	memset(fresh, 0, sizeof(*fresh) * (size_t)n);
	for (int i = 0; i < n - 1; i++)
		fresh[i].next = &fresh[i + 1];
	luaL_setmetatable(L, POOL);
	if (lua_rawlen(L, 2) == 0) {
		lua_pushboolean(L, 0); /* the free list's place */
		lua_rawseti(L, 2, 1);
	}
	lua_rawseti(L, 2, blocks + 1);
	return fresh;
}

/* The free nodes of the pool at index 2, to be changed and kept again. */
static struct recv_node *
pool_spare(lua_State *L) {
	luaL_checktype(L, 2, LUA_TTABLE);
	lua_rawgeti(L, 2, 1);
	struct recv_node *spare = lua_touserdata(L, -1);
	lua_pop(L, 1);
	return spare;
}

static void
pool_keep(lua_State *L, struct recv_node *spare) {
	if (spare)
		lua_pushlightuserdata(L, spare);
	else
		lua_pushboolean(L, 0);
	lua_rawseti(L, 2, 1);
}

static struct recv_buffer *
check_buffer(lua_State *L) {
	struct recv_buffer *b = luaL_testudata(L, 1, BUFFER);
	if (b == NULL)
		luaL_error(L, "need buffer object at param 1");
	return b;
}

/* push(buffer, pool, ptr, sz) -> bytes buffered */
static int
lpush(lua_State *L) {
	struct recv_buffer *b = check_buffer(L);
	if (!lua_islightuserdata(L, 3) || lua_touserdata(L, 3) == NULL)
		return luaL_error(L, "need message block at param 3");
	char *block = check_pointer(L, 3);
	lua_Integer sz = luaL_checkinteger(L, 4);
	luaL_argcheck(L, sz >= 0 && sz <= INT32_MAX - b->size, 4, "not a block's size");
	struct recv_node *n = pool_spare(L);
	if (n == NULL)
		n = fill_pool(L);
	pool_keep(L, n->next);
	recv_push(b, n, block, (int)sz);
	lua_pushinteger(L, b->size);
	return 1;
}

/* Take n bytes as a string; the pool is at index 2. */
static void
take_string(lua_State *L, struct recv_buffer *b, int n) {
	struct recv_node *spare = pool_spare(L);
	recv_take(L, b, n, &spare);
	pool_keep(L, spare);
}

/* pop(buffer, pool, n) -> string, left; or nil, size */
static int
lpop(lua_State *L) {
	struct recv_buffer *b = check_buffer(L);
	luaL_checktype(L, 2, LUA_TTABLE);
	lua_Integer n = luaL_checkinteger(L, 3);
	if (n <= 0 || n > b->size)
		lua_pushnil(L);
	else
		take_string(L, b, (int)n);
	lua_pushinteger(L, b->size);
	return 2;
}

/* readall(buffer, pool) -> string */
static int
lreadall(lua_State *L) {
	struct recv_buffer *b = check_buffer(L);
	take_string(L, b, b->size);
	return 1;
}

/* readline(buffer, pool, sep) -> line; without a pool only: is there one? */
static int
lreadline(lua_State *L) {
	struct recv_buffer *b = check_buffer(L);
	size_t len;
	const char *sep = luaL_checklstring(L, 3, &len);
	luaL_argcheck(L, len > 0, 3, "the separator is empty");
	recv_refind(b);
	int n = recv_find(b, sep, len);
	if (n < 0)
		return 0;
	if (!lua_istable(L, 2)) {
		lua_pushboolean(L, 1);
		return 1;
	}
	take_string(L, b, n);
	struct recv_node *spare = pool_spare(L);
	recv_skip(b, (int)len, &spare);
	pool_keep(L, spare);
	return 1;
}

/* clear(buffer, pool) */
static int
lclear(lua_State *L) {
	if (lua_isnoneornil(L, 1))
		return 0;
	struct recv_buffer *b = check_buffer(L);
	struct recv_node *spare = pool_spare(L);
	recv_clear(b, &spare);
	pool_keep(L, spare);
	return 0;
}

/* drop(ptr, sz) */
static int
ldrop(lua_State *L) {
	luaL_checkinteger(L, 2);
	skynet_free(check_pointer(L, 1));
	return 0;
}

/* str2p(s) -> ptr, len */
static int
lstr2p(lua_State *L) {
	size_t sz;
	const char *s = luaL_checklstring(L, 1, &sz);
	char *p = skynet_malloc(sz ? sz : 1);
	memcpy(p, s, sz);
	lua_pushlightuserdata(L, p);
	lua_pushinteger(L, (lua_Integer)sz);
	return 2;
}

/* header(s) -> big-endian integer of 1 to 4 bytes */
static int
lheader(lua_State *L) {
	size_t sz;
	const uint8_t *s = (const uint8_t *)luaL_checklstring(L, 1, &sz);
	if (sz < 1 || sz > 4)
		return luaL_error(L, "Invalid read %s", s);
	lua_Integer n = 0;
	for (size_t i = 0; i < sz; i++)
		n = n << 8 | s[i];
	lua_pushinteger(L, n);
	return 1;
}

/*
 * ---- events ----
 */

/* unpack(msg, sz) -> type, id, ud, text or block [, address] */
static int
lunpack(lua_State *L) {
	struct skynet_socket_message *m = check_pointer(L, 1);
	lua_Integer sz = luaL_checkinteger(L, 2);
	luaL_argexpected(L, m, 1, "socket message");
	luaL_argcheck(L, sz >= (lua_Integer)sizeof(*m), 2, "not the size of a socket message");
	lua_pushinteger(L, m->type);
	lua_pushinteger(L, m->id);
	lua_pushinteger(L, m->ud);
	if (m->buffer == NULL)
		lua_pushlstring(L, (const char *)(m + 1), (size_t)sz - sizeof(*m));
	else
		lua_pushlightuserdata(L, m->buffer);
	if (m->type == SKYNET_SOCKET_TYPE_UDP && m->buffer) {
		int n = 0;
		const char *address = skynet_socket_udp_address(m, &n);
		lua_pushlstring(L, address, address ? (size_t)n : 0);
		return 5;
	}
	return 4;
}

/*
 * ---- calls: upvalue 1 is the context ----
 */

static struct skynet_context *
context(lua_State *L) {
	return lua_touserdata(L, lua_upvalueindex(1));
}

static int
check_id(lua_State *L) {
	return (int)luaL_checkinteger(L, 1);
}

static int
parse_port(lua_State *L, const char *text, const char *address) {
	char *end;
	long port = strtol(text, &end, 10);
	if (text[0] == '\0' || *end != '\0' || port < 0 || port > 65535)
		luaL_error(L, "Invalid port in address %s.", address);
	return (int)port;
}

/*
 * Address and port at `index` and the next: the port may be part of the address, as "host:port"
 * or "[host]:port". Pushes the host text when it has to be cut out.
 */
static const char *
check_address(lua_State *L, int index, int *port) {
	const char *address = luaL_checkstring(L, index);
	if (!lua_isnoneornil(L, index + 1)) {
		*port = (int)luaL_checkinteger(L, index + 1);
		return address;
	}
	const char *host = address;
	const char *colon;
	if (address[0] == '[') {
		const char *close = strchr(address, ']');
		if (close == NULL || close[1] != ':')
			luaL_error(L, "Invalid address %s.", address);
		host = lua_pushlstring(L, address + 1, (size_t)(close - address) - 1);
		colon = close + 1;
	} else {
		colon = strchr(address, ':');
		if (colon == NULL)
			luaL_error(L, "Invalid address %s.", address);
		host = lua_pushlstring(L, address, (size_t)(colon - address));
	}
	*port = parse_port(L, colon + 1, address);
	return host;
}

static int
lconnect(lua_State *L) {
	int port = 0;
	const char *host = check_address(L, 1, &port);
	if (port <= 0 || port > 65535)
		return luaL_error(L, "Invalid port");
	lua_pushinteger(L, skynet_socket_connect(context(L), host, port));
	return 1;
}

static int
llisten(lua_State *L) {
	int port = 0;
	lua_settop(L, 3);
	const char *host = check_address(L, 1, &port);
	int backlog = (int)luaL_optinteger(L, 3, BACKLOG);
	int id = skynet_socket_listen(context(L), host, port, backlog);
	if (id < 0)
		return luaL_error(L, "Listen error");
	lua_pushinteger(L, id);
	return 1;
}

static int
lclose(lua_State *L) {
	skynet_socket_close(context(L), check_id(L));
	return 0;
}

static int
lshutdown(lua_State *L) {
	skynet_socket_shutdown(context(L), check_id(L));
	return 0;
}

static int
lstart(lua_State *L) {
	skynet_socket_start(context(L), check_id(L));
	return 0;
}

static int
lpause(lua_State *L) {
	skynet_socket_pause(context(L), check_id(L));
	return 0;
}

static int
lnodelay(lua_State *L) {
	skynet_socket_nodelay(context(L), check_id(L));
	return 0;
}

/* sendlimit(id, bytes): see skynet_socket.h */
static int
lsendlimit(lua_State *L) {
	lua_Integer bytes = luaL_checkinteger(L, 2);
	luaL_argcheck(L, bytes >= 0, 2, "a limit is a number of bytes; 0 is none");
	skynet_socket_sendlimit(context(L), check_id(L), bytes);
	return 0;
}

/* keepalive(id, idle, interval, count, timeout_ms): see skynet_socket.h */
static int
lkeepalive(lua_State *L) {
	skynet_socket_keepalive(context(L), check_id(L), (int)luaL_optinteger(L, 2, 0),
	                        (int)luaL_optinteger(L, 3, 0), (int)luaL_optinteger(L, 4, 0),
	                        (int)luaL_optinteger(L, 5, 0));
	return 0;
}

static int
lbind(lua_State *L) {
	lua_pushinteger(L, skynet_socket_bind(context(L), check_id(L)));
	return 1;
}

/* Join a list of strings and numbers into one block. */
static void
join_list(lua_State *L, int index, struct socket_sendbuffer *b) {
	size_t total = 0;
	int n;
	for (n = 1; lua_rawgeti(L, index, n) != LUA_TNIL; n++) {
		size_t sz;
		if (lua_tolstring(L, -1, &sz) == NULL)
			luaL_argerror(L, index, "the list may hold strings and numbers only");
		total += sz;
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	char *block = skynet_malloc(total ? total : 1);
	char *to = block;
	for (int i = 1; i < n; i++) {
		size_t sz;
		lua_rawgeti(L, index, i);
		const char *s = lua_tolstring(L, -1, &sz);
		memcpy(to, s, sz);
		to += sz;
		lua_pop(L, 1);
	}
	b->type = SOCKET_BUFFER_MEMORY;
	b->buffer = block;
	b->sz = total;
}

/* What to send, at `index` (and its size after it). */
static void
check_data(lua_State *L, int index, struct socket_sendbuffer *b) {
	switch (lua_type(L, index)) {
	case LUA_TUSERDATA:
		b->type = SOCKET_BUFFER_RAWPOINTER;
		b->buffer = lua_touserdata(L, index);
		b->sz = lua_rawlen(L, index);
		if (!lua_isnoneornil(L, index + 1)) {
			lua_Integer sz = luaL_checkinteger(L, index + 1);
			luaL_argcheck(L, sz >= 0 && (size_t)sz <= b->sz, index + 1,
			              "more than the userdata holds");
			b->sz = (size_t)sz;
		}
		break;
	case LUA_TLIGHTUSERDATA: {
		b->buffer = check_pointer(L, index);
		if (lua_isnoneornil(L, index + 1)) {
			b->type = SOCKET_BUFFER_OBJECT;
			b->sz = 0;
			break;
		}
		lua_Integer sz = luaL_checkinteger(L, index + 1);
		luaL_argcheck(L, sz >= 0 && (b->buffer || sz == 0), index + 1, "not the size of a block");
		b->type = SOCKET_BUFFER_MEMORY;
		b->sz = (size_t)sz;
		break;
	}
	case LUA_TTABLE:
		join_list(L, index, b);
		break;
	default:
		b->type = SOCKET_BUFFER_RAWPOINTER;
		b->buffer = luaL_checklstring(L, index, &b->sz);
	}
}

static int
lsend(lua_State *L) {
	struct socket_sendbuffer b = {.id = check_id(L)};
	check_data(L, 2, &b);
	lua_pushboolean(L, skynet_socket_sendbuffer(context(L), &b) == 0);
	return 1;
}

static int
llsend(lua_State *L) {
	struct socket_sendbuffer b = {.id = check_id(L)};
	check_data(L, 2, &b);
	lua_pushboolean(L, skynet_socket_sendbuffer_lowpriority(context(L), &b) == 0);
	return 1;
}

/*
 * ---- UDP ----
 */

static int
ludp(lua_State *L) {
	int port = 0;
	const char *host = NULL;
	lua_settop(L, 2);
	if (!lua_isnil(L, 1) || !lua_isnil(L, 2)) {
		if (lua_isnil(L, 1))
			port = (int)luaL_checkinteger(L, 2);
		else
			host = check_address(L, 1, &port);
	}
	int id = skynet_socket_udp(context(L), host, port);
	if (id < 0)
		return luaL_error(L, "udp init failed");
	lua_pushinteger(L, id);
	return 1;
}

static int
ludp_connect(lua_State *L) {
	int port = 0;
	lua_settop(L, 3);
	const char *host = check_address(L, 2, &port);
	if (skynet_socket_udp_connect(context(L), check_id(L), host, port) != 0)
		return luaL_error(L, "udp connect failed");
	return 0;
}

static int
ludp_dial(lua_State *L) {
	int port = 0;
	lua_settop(L, 2);
	const char *host = check_address(L, 1, &port);
	int id = skynet_socket_udp_dial(context(L), host, port);
	if (id < 0)
		return luaL_error(L, "udp dial host failed");
	lua_pushinteger(L, id);
	return 1;
}

static int
ludp_listen(lua_State *L) {
	int port = 0;
	lua_settop(L, 2);
	const char *host = check_address(L, 1, &port);
	int id = skynet_socket_udp_listen(context(L), host, port);
	if (id < 0)
		return luaL_error(L, "udp listen host failed");
	lua_pushinteger(L, id);
	return 1;
}

/* An address as datagrams carry it: 7 bytes for IPv4, 19 for IPv6. */
static const char *
check_udp_address(lua_State *L, int index) {
	size_t sz;
	const char *a = luaL_checklstring(L, index, &sz);
	if (!(sz == 7 && a[0] == 1) && !(sz == 19 && a[0] == 2))
		luaL_error(L, "Invalid udp address");
	return a;
}

static int
ludp_send(lua_State *L) {
	struct socket_sendbuffer b = {.id = check_id(L)};
	const char *address = check_udp_address(L, 2);
	check_data(L, 3, &b);
	lua_pushboolean(L, skynet_socket_udp_sendbuffer(context(L), address, &b) == 0);
	return 1;
}

static int
ludp_address(lua_State *L) {
	const char *a = check_udp_address(L, 1);
	char text[INET6_ADDRSTRLEN];
	uint16_t port;
	memcpy(&port, a + 1, sizeof(port));
	if (inet_ntop(a[0] == 1 ? AF_INET : AF_INET6, a + 3, text, sizeof(text)) == NULL)
		return luaL_error(L, "Invalid udp address");
	lua_pushstring(L, text);
	lua_pushinteger(L, ntohs(port));
	return 2;
}

/* resolve(host) -> list of address texts; blocks this worker */
static int
lresolve(lua_State *L) {
	struct addrinfo *list = NULL;
	int error = getaddrinfo(luaL_checkstring(L, 1), NULL, NULL, &list);
	if (error)
		return luaL_error(L, "%s", gai_strerror(error));
	lua_newtable(L);
	int n = 0;
	for (struct addrinfo *a = list; a; a = a->ai_next) {
		char text[INET6_ADDRSTRLEN];
		const void *raw = a->ai_family == AF_INET
		                      ? (void *)&((struct sockaddr_in *)a->ai_addr)->sin_addr
		                      : (void *)&((struct sockaddr_in6 *)a->ai_addr)->sin6_addr;
		if (inet_ntop(a->ai_family, raw, text, sizeof(text))) {
			lua_pushstring(L, text);
			lua_rawseti(L, -2, ++n);
		}
	}
	freeaddrinfo(list);
	return 1;
}

/*
 * ---- netstat ----
 */

static void
field(lua_State *L, const char *name, uint64_t v) {
	lua_pushinteger(L, (lua_Integer)v);
	lua_setfield(L, -2, name);
}

static void
push_info(lua_State *L, const struct socket_info *si) {
	static const char *const names[] = {"UNKNOWN", "LISTEN", "TCP", "UDP", "BIND", "CLOSING"};
	lua_createtable(L, 0, 12);
	field(L, "id", (uint64_t)si->id);
	field(L, "address", si->opaque);
	lua_pushstring(L, names[si->type]);
	lua_setfield(L, -2, "type");
	if (si->type == SOCKET_INFO_LISTEN) {
		field(L, "accept", si->read);
		field(L, "rtime", si->rtime);
		lua_pushstring(L, si->name);
		lua_setfield(L, -2, "sock");
		return;
	}
	field(L, "read", si->read);
	field(L, "write", si->write);
	field(L, "wbuffer", (uint64_t)si->wbuffer);
	int64_t limit = skynet_socket_limit(si->id);
	if (limit > 0)
		field(L, "wlimit", (uint64_t)limit);
	field(L, "rtime", si->rtime);
	field(L, "wtime", si->wtime);
	lua_pushboolean(L, si->reading);
	lua_setfield(L, -2, "reading");
	lua_pushboolean(L, si->writing);
	lua_setfield(L, -2, "writing");
	if (si->name[0]) {
		lua_pushstring(L, si->name);
		lua_setfield(L, -2, "peer");
	}
}

static int
linfo(lua_State *L) {
	struct socket_info *list = skynet_socket_info();
	lua_newtable(L);
	int n = 0;
	for (struct socket_info *si = list; si; si = si->next) {
		push_info(L, si);
		lua_rawseti(L, -2, ++n);
	}
	socket_info_release(list);
	return 1;
}

static void
new_type(lua_State *L, const char *name, lua_CFunction gc) {
	luaL_newmetatable(L, name);
	if (gc) {
		lua_pushcfunction(L, gc);
		lua_setfield(L, -2, "__gc");
	}
	lua_pop(L, 1);
}

int
skynet_open_socketdriver(lua_State *L) {
	static const luaL_Reg plain[] = {
		{"buffer", lbuffer},     {"push", lpush},   {"pop", lpop},       {"drop", ldrop},
		{"readall", lreadall},   {"clear", lclear}, {"str2p", lstr2p},   {"header", lheader},
		{"readline", lreadline}, {"info", linfo},   {"unpack", lunpack}, {NULL, NULL},
	};
	static const luaL_Reg bound[] = {
		{"connect", lconnect},
		{"close", lclose},
		{"shutdown", lshutdown},
		{"listen", llisten},
		{"send", lsend},
		{"lsend", llsend},
		{"bind", lbind},
		{"start", lstart},
		{"pause", lpause},
		{"nodelay", lnodelay},
		{"sendlimit", lsendlimit},
		{"keepalive", lkeepalive},
		{"udp", ludp},
		{"udp_connect", ludp_connect},
		{"udp_dial", ludp_dial},
		{"udp_listen", ludp_listen},
		{"udp_send", ludp_send},
		{"udp_address", ludp_address},
		{"resolve", lresolve},
		{NULL, NULL},
	};
	luaL_checkversion(L);
	new_type(L, BUFFER, NULL);
	new_type(L, POOL, pool_gc);
	luaL_newlib(L, plain);
	lua_getfield(L, LUA_REGISTRYINDEX, "skynet_context");
	if (!lua_islightuserdata(L, -1))
		return luaL_error(L, "Init skynet context first");
	luaL_setfuncs(L, bound, 1);
	return 1;
}
