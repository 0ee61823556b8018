/*
 * Module skynet.cluster.core: the codec as Lua functions, and the data path (cluster_send.c,
 * cluster_serve.c).
 */
#include "builtin.h"
#include "block.h"
#include "cluster_frame.h"
#include "cluster_path.h"
#include "skynet_malloc.h"
#include "skynet_runtime.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * ---- requests ----
 */

/* The address at index 1. Raises (freeing `msg`) when it's none. */
static struct cluster_address
check_address(lua_State *L, void *msg) {
	struct cluster_address to = {0};
	if (lua_type(L, 1) == LUA_TNUMBER) {
		to.handle = (uint32_t)lua_tointeger(L, 1);
		if (!lua_isinteger(L, 1) && to.handle == 0) {
			skynet_free(msg);
			luaL_error(L, "address %f is not an integer", lua_tonumber(L, 1));
		}
		return to;
	}
	to.name = lua_tolstring(L, 1, &to.namelen);
	if (to.name == NULL) {
		skynet_free(msg);
		luaL_error(L, "name is not a string, it's a %s", luaL_typename(L, 1));
	}
	if (to.namelen < 1 || to.namelen > CLUSTER_NAME_MAX) {
		skynet_free(msg);
		luaL_error(L, "name length is invalid, must be between 1 and 255 characters: %s",
		           to.name);
	}
	return to;
}

static void
push_parts(lua_State *L, uint32_t session, const char *msg, size_t sz) {
	static const size_t room = CLUSTER_PART + 7;
	lua_newtable(L);
	for (int i = 1; sz > 0; i++) {
		size_t n = sz < CLUSTER_PART ? sz : CLUSTER_PART;
		luaL_Buffer b;
		uint8_t *p = (uint8_t *)luaL_buffinitsize(L, &b, room);
		size_t head = cluster_write_part(p, session, n, n == sz);
		memcpy(p + head, msg, n);
		luaL_pushresultsize(&b, head + n);
		lua_rawseti(L, -2, i);
		msg += n;
		sz -= n;
	}
}

/* pack(addr, session, ptr, sz) -> frame, next session [, parts]; frees ptr */
static int
pack_request(lua_State *L, bool push) {
	if (lua_touserdata(L, 3) == NULL)
		return luaL_error(L, "Invalid request message");
	void *msg = check_pointer(L, 3);
	lua_Integer size = luaL_checkinteger(L, 4);
	int session = (int)luaL_checkinteger(L, 2);
	if (session <= 0 || size < 0 || size > UINT32_MAX) {
		skynet_free(msg);
		return luaL_error(L, "Invalid request session %d", session);
	}
	size_t sz = (size_t)size;
	struct cluster_address to = check_address(L, msg);
	uint8_t head[CLUSTER_HEADER_MAX];
	bool multi = sz >= CLUSTER_PART;
	if (multi) {
		size_t n = cluster_write_begin(head, &to, (uint32_t)session, push, (uint32_t)sz);
		lua_pushlstring(L, (char *)head, n);
	} else {
		luaL_Buffer b;
		size_t n = cluster_write_request(head, &to, push ? 0 : (uint32_t)session, sz);
		char *p = luaL_buffinitsize(L, &b, n + sz);
		memcpy(p, head, n);
		memcpy(p + n, msg, sz);
		luaL_pushresultsize(&b, n + sz);
	}
	lua_pushinteger(L, session == INT32_MAX ? 1 : session + 1);
	if (multi)
		push_parts(L, (uint32_t)session, msg, sz);
	skynet_free(msg);
	return multi ? 3 : 2;
}

static int
lpackrequest(lua_State *L) {
	return pack_request(L, false);
}

static int
lpackpush(lua_State *L) {
	return pack_request(L, true);
}

/* packtrace(tag) -> frame */
static int
lpacktrace(lua_State *L) {
	size_t sz;
	const char *tag = luaL_checklstring(L, 1, &sz);
	if (sz > CLUSTER_PART)
		return luaL_error(L, "trace tag is too long : %d", (int)sz);
	luaL_Buffer b;
	char *p = luaL_buffinitsize(L, &b, sz + 3);
	p[0] = (char)((sz + 1) >> 8);
	p[1] = (char)(sz + 1);
	p[2] = 4;
	memcpy(p + 3, tag, sz);
	luaL_pushresultsize(&b, sz + 3);
	return 1;
}

/* Bytes at index 1: a string, or light userdata and its size. */
static const uint8_t *
check_bytes(lua_State *L, size_t *sz) {
	if (lua_type(L, 1) != LUA_TLIGHTUSERDATA)
		return (const uint8_t *)luaL_checklstring(L, 1, sz);
	return check_block(L, 1, sz);
}

static void
push_copy(lua_State *L, const uint8_t *data, size_t sz) {
	void *copy = skynet_malloc(sz ? sz : 1);
	memcpy(copy, data, sz);
	lua_pushlightuserdata(L, copy);
	lua_pushinteger(L, (lua_Integer)sz);
}

static void
push_address(lua_State *L, const struct cluster_address *a) {
	if (a->name)
		lua_pushlstring(L, a->name, a->namelen);
	else
		lua_pushinteger(L, a->handle);
}

static int
lunpackrequest(lua_State *L) {
	size_t sz;
	char why[128];
	struct cluster_request r;
	const uint8_t *body = check_bytes(L, &sz);
	if (cluster_read_request(body, sz, &r, why, sizeof(why)) != 0)
		return luaL_error(L, "%s", why);
	switch (r.kind) {
	case CLUSTER_TRACE:
		lua_pushlstring(L, (const char *)r.data, r.sz);
		return 1;
	case CLUSTER_BEGIN:
		push_address(L, &r.to);
		lua_pushinteger(L, r.session);
		lua_pushnil(L);
		lua_pushinteger(L, r.total);
		lua_pushboolean(L, 1);
		lua_pushboolean(L, r.push);
		return 6;
	case CLUSTER_MIDDLE:
	case CLUSTER_LAST:
		lua_pushboolean(L, 0);
		lua_pushinteger(L, r.session);
		push_copy(L, r.data, r.sz);
		lua_pushboolean(L, r.kind == CLUSTER_MIDDLE);
		return 5;
	default:
		push_address(L, &r.to);
		lua_pushinteger(L, r.session);
		push_copy(L, r.data, r.sz);
		if (!r.push)
			return 4;
		lua_pushnil(L);
		lua_pushboolean(L, 1);
		return 6;
	}
}

/*
 * ---- answers ----
 */

static void
push_answer(lua_State *L, uint32_t session, int type, const void *data, size_t sz) {
	luaL_Buffer b;
	uint8_t *p = (uint8_t *)luaL_buffinitsize(L, &b, sz + 7);
	size_t n = cluster_write_answer(p, session, type, sz);
	memcpy(p + n, data, sz);
	luaL_pushresultsize(&b, n + sz);
}

/* packresponse(session, ok, ptr, sz | string) -> frame, or a list of frames */
static int
lpackresponse(lua_State *L) {
	uint32_t session = (uint32_t)luaL_checkinteger(L, 1);
	bool ok = lua_toboolean(L, 2);
	size_t sz;
	const uint8_t *data;
	lua_remove(L, 1);
	lua_remove(L, 1);
	data = check_bytes(L, &sz);
	if (!ok) {
		push_answer(L, session, ANSWER_ERROR, data, sz < CLUSTER_PART ? sz : CLUSTER_PART);
		return 1;
	}
	if (sz <= CLUSTER_PART) {
		push_answer(L, session, ANSWER_OK, data, sz);
		return 1;
	}
	uint8_t total[4] = {(uint8_t)sz, (uint8_t)(sz >> 8), (uint8_t)(sz >> 16),
	                    (uint8_t)(sz >> 24)};
	lua_newtable(L);
	push_answer(L, session, ANSWER_BEGIN, total, sizeof(total));
	lua_rawseti(L, -2, 1);
	for (int i = 2; sz > 0; i++) {
		size_t n = sz < CLUSTER_PART ? sz : CLUSTER_PART;
		push_answer(L, session, n == sz ? ANSWER_LAST : ANSWER_MIDDLE, data, n);
		lua_rawseti(L, -2, i);
		data += n;
		sz -= n;
	}
	return 1;
}

/* unpackresponse(body) -> session, ok, data [, padding]; or nothing */
static int
lunpackresponse(lua_State *L) {
	size_t sz;
	struct cluster_answer a;
	const uint8_t *body = check_bytes(L, &sz);
	if (cluster_read_answer(body, sz, &a) != 0)
		return 0;
	lua_pushinteger(L, a.session);
	lua_pushboolean(L, a.type != ANSWER_ERROR);
	if (a.type == ANSWER_BEGIN)
		lua_pushinteger(L, a.total);
	else
		lua_pushlstring(L, (const char *)a.data, a.sz);
	if (a.type != ANSWER_BEGIN && a.type != ANSWER_MIDDLE)
		return 3;
	lua_pushboolean(L, 1);
	return 4;
}

/*
 * ---- joining parts ----
 */

/* append(list, nil, total) or append(list, ptr, sz); frees ptr */
static int
lappend(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
	if (lua_isnil(L, 2)) {
		luaL_checkinteger(L, 3);
		lua_settop(L, 3);
	} else {
		if (lua_touserdata(L, 2) == NULL || !lua_islightuserdata(L, 2))
			return luaL_error(L, "Need lightuserdata");
		size_t sz;
		void *p = check_block(L, 2, &sz);
		lua_pushlstring(L, p, sz);
		skynet_free(p);
	}
	lua_rawseti(L, 1, n + 1);
	return 0;
}

/* concat(list) -> ptr, sz; or nothing when the parts don't make up the total */
static int
lconcat(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	if (lua_rawgeti(L, 1, 1) != LUA_TNUMBER)
		return 0;
	lua_Integer total = lua_tointeger(L, -1);
	lua_pop(L, 1);
	lua_Integer sum = 0;
	size_t sz;
	for (int i = 2; lua_rawgeti(L, 1, i) == LUA_TSTRING; i++) {
		sum += (lua_Integer)lua_rawlen(L, -1);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	if (sum != total)
		return 0;
	char *msg = skynet_malloc(total ? (size_t)total : 1);
	char *to = msg;
	for (int i = 2; lua_rawgeti(L, 1, i) == LUA_TSTRING; i++) {
		const char *part = lua_tolstring(L, -1, &sz);
		memcpy(to, part, sz);
		to += sz;
		lua_pop(L, 1);
	}
	lua_pushlightuserdata(L, msg);
	lua_pushinteger(L, total);
	return 2;
}

static int
lisname(lua_State *L) {
	const char *name = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : NULL;
	if (name == NULL || name[0] != '@')
		return 0;
	lua_pushboolean(L, 1);
	return 1;
}

/* nodename() -> host name and pid */
static int
lnodename(lua_State *L) {
	char host[256];
	if (gethostname(host, sizeof(host)) != 0)
		snprintf(host, sizeof(host), "noname");
	host[sizeof(host) - 1] = '\0';
	for (unsigned char *p = (unsigned char *)host; *p; p++) {
		if (*p <= ' ')
			*p = '_';
	}
	lua_pushfstring(L, "%s%d", host, (int)getpid());
	return 1;
}

/* give(ptr, sz) -> ptr, sz: the block travels inside of a message, and is its receiver's */
static int
lgive(lua_State *L) {
	skynet_account_give(check_pointer(L, 1));
	lua_settop(L, 2);
	return 2;
}

int
skynet_open_cluster_core(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"packrequest", lpackrequest},
		{"packpush", lpackpush},
		{"packtrace", lpacktrace},
		{"unpackrequest", lunpackrequest},
		{"packresponse", lpackresponse},
		{"unpackresponse", lunpackresponse},
		{"append", lappend},
		{"concat", lconcat},
		{"give", lgive},
		{"isname", lisname},
		{"nodename", lnodename},
		{"sender", cluster_new_sender},
		{"server", cluster_new_server},
		{NULL, NULL},
	};
	luaL_checkversion(L);
	luaL_newlib(L, functions);
	return 1;
}
