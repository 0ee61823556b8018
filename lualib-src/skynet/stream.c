/*
 * Sockets that coroutines read: the records of skynet.socket, and what happens for each message.
 *
 * A service has a record (a userdata) for each connection it holds, in the table that socket.lua
 * calls socket_pool. It has the bytes that wait to be read, and who waits for more: one coroutine
 * at most, and what it wants. Waiting is by session, so that a coroutine that was killed is none
 * that waits; of a connection at rest nothing else is kept, and its coroutine's stack is cut
 * down.
 *
 * Data that arrive go to the record and, when they are what its reader wants, it's resumed at
 * once, without a coroutine for the message. That is what the handler of socket messages in
 * socket.lua does, too, and where somebody has put his own functions in its place (tools do),
 * that way is taken. Listening, UDP, opening and closing are in socket.lua.
 */
#include "../../3rd/lua/lview.h"

#include "vm.h"

#include "../block.h"
#include "../recv_buffer.h"

#include "skynet_malloc.h"
#include "skynet_socket.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define UNREAD_MAX (128 * 1024) /* with more and no reader, the socket pauses */
#define SPARE_MAX 4
#define NO_LIMIT (-1)

enum want { WANT_END, WANT_ANY, WANT_COUNT, WANT_LINE };

struct stream {
	int id;
	int session;       /* its reader's; 0, or over: nobody reads */
	lua_State *reader; /* while the session waits */
	struct recv_buffer unread;
	int limit; /* unread bytes at which it's closed, or NO_LIMIT */
	uint8_t want;
	bool alive;   /* usable */
	bool opening; /* socket.lua's */
	bool paused;
};

/* User values of `struct streams`: what keeps alive that it points to. */
enum { KEEP_POOL = 1, KEEP_META, KEEP_STOCK, KEEP_COUNT = KEEP_STOCK + 4 };

/* What the records of a service share. */
struct streams {
	const Table *pool, *meta;
	const Table *events; /* handlers by type of event; as shipped, the first is on_data */
	const void *on_data, *dispatch;
	lua_CFunction unpack;
	struct recv_node *spare;
	bool closed;
};

static const char STREAMS = 0; /* address: registry key of those in the dispatcher's use */

/*
 * ---- buffers ----
 */

static void
trim_spare(struct streams *S) {
	struct recv_node **end = &S->spare;
	for (int i = S->closed ? SPARE_MAX : 0; i < SPARE_MAX && *end; i++)
		end = &(*end)->next;
	struct recv_node *n = *end;
	*end = NULL;
	while (n) {
		struct recv_node *next = n->next;
		skynet_free(n);
		n = next;
	}
}

static void
take(lua_State *L, struct streams *S, struct stream *s, int n) {
	recv_take(L, &s->unread, n, &S->spare);
	trim_spare(S);
}

/* The block is taken; it's for the caller to see that it fits. */
static void
append(struct streams *S, struct stream *s, char *block, int sz) {
	struct recv_node *n = S->spare;
	if (n)
		S->spare = n->next;
	else
		n = skynet_malloc(sizeof(*n));
	recv_push(&s->unread, n, block, sz);
}

static int
streams_gc(lua_State *L) {
	struct streams *S = lua_touserdata(L, 1);
	S->closed = true;
	trim_spare(S);
	return 0;
}

/*
 * ---- records ----
 */

static struct streams *
of(lua_State *L) {
	return lua_touserdata(L, lua_upvalueindex(1));
}

/* As Lua's assert raises: without a position. */
static int
fail(lua_State *L, const char *text) {
	lua_pushstring(L, text);
	return lua_error(L);
}

/* The record of the id at index 1, which it replaces; raises when there's none. */
static struct stream *
held(lua_State *L, struct streams *S) {
	const TValue *v = NULL;
	if (lua_type(L, 1) == LUA_TNUMBER)
		v = lua_viewindex((Table *)S->pool, (lua_Unsigned)lua_tointeger(L, 1));
	if (v == NULL || ttisnil(v))
		fail(L, "socket isn't held by this service");
	struct stream *s = lua_viewuserdata(v, S->meta);
	if (s == NULL)
		fail(L, "socket isn't a connection");
	lua_pushcopy(L, v);
	lua_replace(L, 1);
	return s;
}

/* The record at index 1; NULL when it's none. */
static struct stream *
record(lua_State *L, const struct streams *S) {
	return lua_viewuserdata(lua_viewat(L, 1), S->meta);
}

/* new(id) -> record */
static int
lnew(lua_State *L) {
	int id = (int)luaL_checkinteger(L, 1);
	struct stream *s = lua_newuserdatauv(L, sizeof(*s), 0);
	memset(s, 0, sizeof(*s));
	s->id = id;
	s->limit = NO_LIMIT;
	lua_getiuservalue(L, lua_upvalueindex(1), KEEP_META);
	lua_setmetatable(L, -2);
	return 1;
}

static const char *const field_name[] = {"id",     "alive", "opening", "paused",
                                         "unread", "limit", NULL};
enum field { ID, ALIVE, OPENING, PAUSED, UNREAD, LIMIT, NO_FIELD };

static enum field
field(lua_State *L) {
	const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
	int i = 0;
	while (field_name[i] && strcmp(field_name[i], name) != 0)
		i++;
	return i;
}

/* record.name: nil for what it doesn't have, as a table */
static int
lindex(lua_State *L) {
	struct stream *s = record(L, of(L));
	if (s == NULL)
		return luaL_typeerror(L, 1, "socket");
	switch (field(L)) {
	case ID:
		lua_pushinteger(L, s->id);
		break;
	case ALIVE:
		lua_pushboolean(L, s->alive);
		break;
	case OPENING:
		lua_pushboolean(L, s->opening);
		break;
	case PAUSED:
		lua_pushboolean(L, s->paused);
		break;
	case UNREAD:
		lua_pushinteger(L, s->unread.size);
		break;
	case LIMIT:
		if (s->limit == NO_LIMIT)
			return 0;
		lua_pushinteger(L, s->limit);
		break;
	default:
		return 0;
	}
	return 1;
}

static void
set_limit(lua_State *L, struct stream *s) {
	if (lua_isnil(L, 3)) {
		s->limit = NO_LIMIT;
		return;
	}
	lua_Number n = luaL_checknumber(L, 3);
	luaL_argcheck(L, n >= 0, 3, "a limit is a number of bytes");
	s->limit = n < INT_MAX ? (int)n : INT_MAX;
}

static int
lnewindex(lua_State *L) {
	struct stream *s = record(L, of(L));
	if (s == NULL)
		return luaL_typeerror(L, 1, "socket");
	switch (field(L)) {
	case ALIVE:
		s->alive = lua_toboolean(L, 3);
		break;
	case OPENING:
		s->opening = lua_toboolean(L, 3);
		break;
	case LIMIT:
		set_limit(L, s);
		break;
	default:
		return luaL_error(L, "a socket's record has no field '%s' to set", lua_tostring(L, 2));
	}
	return 0;
}

/*
 * ---- waiting ----
 */

/* Who reads. */
static struct waiter *
reader(struct vm *vm, const struct stream *s) {
	struct waiter *w = s->session ? waiters_find(&vm->waiters, s->session) : NULL;
	return w && w->kind == WAIT_SOCKET ? w : NULL;
}

/* Block the running coroutine until there is what it wants, or no more to come. */
static int
wait_for(lua_State *L, struct stream *s, enum want want, lua_KFunction next) {
	struct vm *vm = vm_of(L);
	if (reader(vm, s))
		return fail(L, "another coroutine reads this socket");
	task_can_block(L, vm);
	if (s->paused) {
		s->paused = false;
		skynet_error(vm->ctx, "Resume socket (%d)", s->id);
		skynet_socket_start(vm->ctx, s->id);
	}
	s->want = (uint8_t)want;
	s->reader = L;
	if (vm->running->rest == REST_NEVER_ASKED)
		vm->running->rest = REST_NOW;
	return task_wait(L, vm, WAIT_SOCKET, &s->session, next);
}

/* Resume who reads: now, or when the running coroutine is done. */
static void
wake(lua_State *L, struct vm *vm, struct stream *s, struct waiter *w, bool now) {
	s->session = 0;
	if (now && w->task->on_itself)
		task_wake(L, vm, w);
	else
		task_wakeup(L, vm, s->reader);
}

/* What the reader asked for is where it has it: at index 2 of the function it waits in. */
static int
find_line(struct stream *s, lua_State *co, size_t *len) {
	const char *separator = lua_tolstring(co, 2, len);
	return recv_find(&s->unread, separator, *len);
}

static bool
satisfied(struct stream *s) {
	size_t len;
	switch (s->want) {
	case WANT_ANY:
		return s->unread.size > 0;
	case WANT_COUNT:
		return s->unread.size >= lua_tointeger(s->reader, 2);
	case WANT_LINE:
		return find_line(s, s->reader, &len) >= 0;
	default:
		return false;
	}
}

static void
stop_reading(struct vm *vm, struct stream *s, const char *why) {
	if (s->paused || !s->alive)
		return;
	s->paused = true;
	skynet_error(vm->ctx, "Pause socket (%d)%s", s->id, why);
	skynet_socket_pause(vm->ctx, s->id);
}

static void
overflow(struct vm *vm, struct stream *s, int64_t bytes) {
	skynet_error(vm->ctx, "socket buffer overflow: fd=%d size=%lld", s->id, (long long)bytes);
	skynet_socket_close(vm->ctx, s->id);
}

/* Data came, and are in the record's buffer. The record is on L's stack. */
static void
arrived(lua_State *L, struct vm *vm, struct stream *s, bool now) {
	struct waiter *w = reader(vm, s);
	bool any_amount = w && s->want != WANT_LINE;
	if (w && satisfied(s))
		wake(L, vm, s, w, now);
	else if (any_amount)
		return;
	int bytes = s->unread.size;
	if (s->limit != NO_LIMIT && bytes > s->limit && !any_amount) {
		overflow(vm, s, bytes);
	} else if (bytes > UNREAD_MAX && reader(vm, s) == NULL) {
		char why[32];
		snprintf(why, sizeof(why), " size : %d", bytes);
		stop_reading(vm, s, why);
	}
}

static void
receive(lua_State *L, struct vm *vm, struct streams *S, struct stream *s, char *block, int sz,
        bool now) {
	if (sz > INT_MAX - s->unread.size) {
		skynet_free(block);
		overflow(vm, s, (int64_t)s->unread.size + sz);
		return;
	}
	append(S, s, block, sz);
	arrived(L, vm, s, now);
}

bool
stream_deliver(lua_State *L, struct vm *vm, const struct message *m, const Table *class) {
	struct streams *S = vm->streams;
	struct skynet_socket_message *e = m->data;
	/* what a service has sent (its source isn't 0) is looked at more closely, the long way */
	if (S == NULL || m->index != 0 || m->source != 0 || vm->tracing || m->sz < sizeof(*e) ||
	    e->type != SKYNET_SOCKET_TYPE_DATA || e->ud <= 0)
		return false;
	const TValue *unpack = lua_viewkey(class, vm->key[KEY_UNPACK]);
	if (!ttislcf(unpack) || fvalue(unpack) != S->unpack ||
	    lua_viewobject(lua_viewkey(class, vm->key[KEY_DISPATCH])) != S->dispatch ||
	    lua_viewobject(lua_viewindex((Table *)S->events, e->type)) != S->on_data)
		return false;
	const TValue *v = lua_viewindex((Table *)S->pool, (lua_Unsigned)e->id);
	struct stream *s = lua_viewuserdata(v, S->meta);
	if (s == NULL)
		return false;
	lua_pushcopy(L, v);
	receive(L, vm, S, s, e->buffer, e->ud, true);
	return true;
}

/* arrived(record, block, size) -> was it taken? Not by what isn't a record. */
static int
larrived(lua_State *L) {
	struct streams *S = of(L);
	luaL_checkany(L, 1);
	struct stream *s = record(L, S);
	char *block = check_pointer(L, 2);
	lua_Integer sz = luaL_checkinteger(L, 3);
	luaL_argcheck(L, sz >= 0 && sz <= INT_MAX && block, 3, "not a block's size");
	if (s)
		receive(L, vm_of(L), S, s, block, (int)sz, false);
	lua_pushboolean(L, s != NULL);
	return 1;
}

/* release(record): who reads goes on, with what there is */
static int
lrelease(lua_State *L) {
	luaL_checkany(L, 1);
	struct vm *vm = vm_of(L);
	struct stream *s = record(L, of(L));
	struct waiter *w = s ? reader(vm, s) : NULL;
	if (w)
		wake(L, vm, s, w, false);
	lua_pushboolean(L, w != NULL);
	return 1;
}

/* clear(record): drop what wasn't read; nothing to do for what isn't a record */
static int
lclear(lua_State *L) {
	struct streams *S = of(L);
	luaL_checkany(L, 1);
	struct stream *s = record(L, S);
	if (s) {
		recv_clear(&s->unread, &S->spare);
		trim_spare(S);
	}
	return 0;
}

/* pause(record) */
static int
lpause(lua_State *L) {
	luaL_checkany(L, 1);
	struct stream *s = record(L, of(L));
	if (s)
		stop_reading(vm_of(L), s, "");
	return 0;
}

static int
established(lua_State *L, int status, lua_KContext top) {
	(void)status;
	(void)top;
	struct stream *s = lua_touserdata(L, 1);
	s->opening = false;
	vm_of(L)->running->rest = REST_NEVER_ASKED; /* the wait that may last is yet to come */
	lua_settop(L, 2);
	lua_pushinteger(L, s->id);
	if (!s->alive)
		lua_call(L, 1, LUA_MULTRET);
	return lua_gettop(L) - (s->alive ? 2 : 1);
}

/* What `begin` returned: a record to wait for, or all there is to say. */
static int
begun(lua_State *L, int status, lua_KContext top) {
	(void)status;
	(void)top;
	struct stream *s = lua_gettop(L) == 1 ? record(L, of(L)) : NULL;
	if (s == NULL)
		return lua_gettop(L);
	lua_pushvalue(L, lua_upvalueindex(3)); /* for `established` */
	s->opening = true;
	return wait_for(L, s, WANT_END, established);
}

static int
lopen(lua_State *L) {
	lua_pushvalue(L, lua_upvalueindex(2));
	lua_insert(L, 1);
	lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, begun);
	return begun(L, LUA_OK, 0);
}

/*
 * opener(begin, failed) -> function f(...): calls begin(...). When that returns a record, f waits
 * until it's released and returns its id or, if it isn't alive, failed(id); else f returns what
 * begin did. In C, since thousands may wait here at once.
 */
static int
lopener(lua_State *L) {
	luaL_checktype(L, 1, LUA_TFUNCTION);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_settop(L, 2);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_pushcclosure(L, lopen, 3);
	return 1;
}

/*
 * ---- reading: the record is at index 1, in place of its id ----
 */

/* false, and what is left of a connection that has ended */
static int
rest(lua_State *L, struct streams *S, struct stream *s) {
	lua_pushboolean(L, 0);
	take(L, S, s, s->unread.size);
	return 2;
}

static int
some(lua_State *L, int status, lua_KContext top) {
	(void)status;
	(void)top;
	struct streams *S = of(L);
	struct stream *s = lua_touserdata(L, 1);
	if (s->unread.size == 0)
		return rest(L, S, s);
	take(L, S, s, s->unread.size);
	return 1;
}

static int
counted(lua_State *L, int status, lua_KContext top) {
	(void)status;
	(void)top;
	struct streams *S = of(L);
	struct stream *s = lua_touserdata(L, 1);
	lua_Integer n = lua_tointeger(L, 2);
	if (s->unread.size < n)
		return rest(L, S, s);
	take(L, S, s, (int)n);
	return 1;
}

/* read(id [, count]) -> bytes, or false and what is left */
static int
lread(lua_State *L) {
	struct stream *s = held(L, of(L));
	lua_settop(L, 2);
	if (lua_isnil(L, 2)) {
		if (s->unread.size == 0 && s->alive)
			return wait_for(L, s, WANT_ANY, some);
		return some(L, LUA_OK, 0);
	}
	lua_Integer n = luaL_checkinteger(L, 2);
	luaL_argcheck(L, n >= 0 && n <= INT_MAX, 2, "not a number of bytes to read");
	if (n == 0) {
		lua_pushliteral(L, "");
		return 1;
	}
	if (s->unread.size < n && s->alive)
		return wait_for(L, s, WANT_COUNT, counted);
	return counted(L, LUA_OK, 0);
}

static int
line(lua_State *L, int status, lua_KContext top) {
	(void)status;
	(void)top;
	struct streams *S = of(L);
	struct stream *s = lua_touserdata(L, 1);
	size_t len;
	int n = find_line(s, L, &len);
	if (n < 0)
		return rest(L, S, s);
	recv_take(L, &s->unread, n, &S->spare);
	recv_skip(&s->unread, (int)len, &S->spare);
	trim_spare(S);
	return 1;
}

/* readline(id [, separator]) -> line, or false and what is left */
static int
lreadline(lua_State *L) {
	struct stream *s = held(L, of(L));
	size_t len;
	lua_settop(L, 2);
	if (lua_isnil(L, 2)) {
		lua_pushliteral(L, "\n");
		lua_replace(L, 2);
	}
	(void)luaL_checklstring(L, 2, &len);
	luaL_argcheck(L, len > 0, 2, "the separator is empty");
	recv_refind(&s->unread);
	if (s->alive && find_line(s, L, &len) < 0)
		return wait_for(L, s, WANT_LINE, line);
	return line(L, LUA_OK, 0);
}

static int
all(lua_State *L, int status, lua_KContext top) {
	(void)status;
	(void)top;
	struct streams *S = of(L);
	struct stream *s = lua_touserdata(L, 1);
	if (s->unread.size == 0)
		lua_pushboolean(L, 0);
	else
		take(L, S, s, s->unread.size);
	return 1;
}

/* readall(id) -> everything until its end, or false */
static int
lreadall(lua_State *L) {
	struct stream *s = held(L, of(L));
	lua_settop(L, 1);
	if (s->alive)
		return wait_for(L, s, WANT_END, all);
	return all(L, LUA_OK, 0);
}

static int
readable(lua_State *L, int status, lua_KContext top) {
	(void)status;
	(void)top;
	struct stream *s = lua_touserdata(L, 1);
	lua_pushboolean(L, s->alive);
	return 1;
}

/* block(record) -> is it alive? When there is something to read, or nothing to come */
static int
lblock(lua_State *L) {
	luaL_checkany(L, 1);
	struct stream *s = record(L, of(L));
	lua_settop(L, 1);
	if (s == NULL) {
		lua_pushboolean(L, 0);
		return 1;
	}
	if (s->alive && s->unread.size == 0)
		return wait_for(L, s, WANT_ANY, readable);
	return readable(L, LUA_OK, 0);
}

/*
 * ---- the module ----
 */

/*
 * stock(events, on_data, unpack, dispatch): what socket messages are handled with, as shipped.
 * While it's still in place, data takes the short way.
 */
static int
lstock(lua_State *L) {
	struct streams *S = of(L);
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	luaL_argexpected(L, lua_iscfunction(L, 3), 3, "C function");
	luaL_checktype(L, 4, LUA_TFUNCTION);
	lua_settop(L, 4);
	S->events = lua_topointer(L, 1);
	S->on_data = lua_topointer(L, 2);
	S->unpack = lua_tocfunction(L, 3);
	S->dispatch = lua_topointer(L, 4);
	lua_pushvalue(L, lua_upvalueindex(1));
	for (int i = 1; i <= 4; i++) {
		lua_pushvalue(L, i);
		lua_setiuservalue(L, 5, KEEP_STOCK + i);
	}
	lua_rawsetp(L, LUA_REGISTRYINDEX, &STREAMS);
	vm_of(L)->streams = S;
	return 0;
}

static void
make_meta(lua_State *L, int streams) {
	static const luaL_Reg meta[] = {{"__index", lindex}, {"__newindex", lnewindex}, {NULL, NULL}};
	lua_createtable(L, 0, 2);
	lua_pushvalue(L, streams);
	luaL_setfuncs(L, meta, 1);
}

/*
 * streams(pool): the functions for the records in the table `pool`, by id. A service has one
 * pool; functions that were made for an earlier one are of no use any more.
 */
static int
lstreams(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"new", lnew},     {"arrived", larrived},   {"release", lrelease},
		{"clear", lclear}, {"pause", lpause},       {"opener", lopener},
		{"read", lread},   {"readline", lreadline}, {"readall", lreadall},
		{"block", lblock}, {"stock", lstock},       {NULL, NULL},
	};
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	struct streams *S = lua_newuserdatauv(L, sizeof(*S), KEEP_COUNT);
	memset(S, 0, sizeof(*S));
	S->pool = lua_topointer(L, 1);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, 2, KEEP_POOL);
	make_meta(L, 2);
	S->meta = lua_topointer(L, -1);
	lua_setiuservalue(L, 2, KEEP_META);
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, streams_gc);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, 2);
	luaL_newlibtable(L, functions);
	lua_pushvalue(L, 2);
	luaL_setfuncs(L, functions, 1);
	return 1;
}

void
core_open_stream(lua_State *L) {
	static const luaL_Reg functions[] = {{"streams", lstreams}, {NULL, NULL}};
	luaL_setfuncs(L, functions, 0);
}
