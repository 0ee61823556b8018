/*
 * Module skynet.debugchannel: what the remote debugger is made of.
 *
 * A channel carries lines of text from one service to another, past their mailboxes: so that a
 * service can be told what to do next while its messages wait. It has two ends at most. The
 * second one is made from a handle, a light userdata that travels in a message; a handle is
 * looked up in the list of live channels, never followed, so a forged one does no harm.
 *
 * sethook is debug.sethook with hooks that may suspend the coroutine they look at.
 *
 * Any service's worker calls this. One lock covers all channels: debugging isn't in a hurry.
 */
#include "skynet_malloc.h"

#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#define META "skynet.debugchannel"
#define LINES_MAX 1024 /* that nobody read yet */
#define WAIT_MAX 10    /* tenths of a second a read may block its worker */

struct line {
	struct line *next;
	size_t sz;
	char text[];
};

struct channel {
	struct channel *next; /* in the list of live ones */
	int ends;
	int count;
	struct line *first, **last;
};

static struct {
	pthread_mutex_t lock;
	struct channel *first;
} live = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char HOOKS = 0; /* address: registry key of thread -> hook function, weak */

/*
 * ---- channels; those who call these hold the lock ----
 */

static struct channel *
find(const void *handle) {
	struct channel *c = live.first;
	while (c && c != handle)
		c = c->next;
	return c;
}

static struct line *
take_line(struct channel *c) {
	struct line *l = c->first;
	if (l) {
		c->first = l->next;
		if (c->first == NULL)
			c->last = &c->first;
		c->count--;
	}
	return l;
}

static void
drop_end(struct channel *c) {
	if (--c->ends > 0)
		return;
	struct channel **p = &live.first;
	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	struct line *l;
	while ((l = take_line(c)) != NULL)
		skynet_free(l);
	skynet_free(c);
}

/*
 * ---- the module ----
 */

static struct channel **
push_end(lua_State *L) {
	struct channel **box = lua_newuserdatauv(L, sizeof(*box), 0);
	*box = NULL;
	luaL_setmetatable(L, META);
	return box;
}

static struct channel *
check_channel(lua_State *L) {
	struct channel **box = luaL_checkudata(L, 1, META);
	if (*box == NULL)
		luaL_error(L, "the debug channel is released");
	return *box;
}

/* create() -> channel, handle for connect */
static int
lcreate(lua_State *L) {
	struct channel **box = push_end(L);
	struct channel *c = skynet_calloc(1, sizeof(*c));
	c->ends = 1;
	c->last = &c->first;
	*box = c;
	pthread_mutex_lock(&live.lock);
	c->next = live.first;
	live.first = c;
	pthread_mutex_unlock(&live.lock);
	lua_pushlightuserdata(L, c);
	return 2;
}

/* connect(handle) -> channel: its other end */
static int
lconnect(lua_State *L) {
	luaL_checktype(L, 1, LUA_TLIGHTUSERDATA);
	const void *handle = lua_touserdata(L, 1);
	struct channel **box = push_end(L);
	pthread_mutex_lock(&live.lock);
	struct channel *c = find(handle);
	bool taken = c && c->ends > 1;
	if (c && !taken) {
		c->ends++;
		*box = c;
	}
	pthread_mutex_unlock(&live.lock);
	if (c == NULL)
		return luaL_error(L, "Invalid channel pointer");
	if (taken)
		return luaL_error(L, "new channel failed");
	return 1;
}

/* channel:write(text) */
static int
lwrite(lua_State *L) {
	struct channel *c = check_channel(L);
	size_t sz;
	const char *s = luaL_checklstring(L, 2, &sz);
	struct line *l = skynet_malloc(sizeof(*l) + sz);
	l->next = NULL;
	l->sz = sz;
	memcpy(l->text, s, sz);
	pthread_mutex_lock(&live.lock);
	bool full = c->count >= LINES_MAX;
	if (!full) {
		*c->last = l;
		c->last = &l->next;
		c->count++;
	}
	pthread_mutex_unlock(&live.lock);
	if (full) {
		skynet_free(l);
		return luaL_error(L, "the debug channel is full: nobody reads it");
	}
	return 0;
}

static struct line *
read_line(struct channel *c) {
	pthread_mutex_lock(&live.lock);
	struct line *l = take_line(c);
	pthread_mutex_unlock(&live.lock);
	return l;
}

/* channel:read([ti]) -> text, or nothing; an empty channel is given ti tenths of a second */
static int
lread(lua_State *L) {
	struct channel *c = check_channel(L);
	lua_Integer ti = luaL_optinteger(L, 2, 0);
	struct line *l = read_line(c);
	if (l == NULL && ti > 0) {
		ti = ti < WAIT_MAX ? ti : WAIT_MAX;
		struct timespec t = {(time_t)(ti / 10), (long)(ti % 10) * 100000000};
		nanosleep(&t, NULL);
		l = read_line(c);
	}
	if (l == NULL)
		return 0;
	lua_pushlstring(L, l->text, l->sz);
	skynet_free(l);
	return 1;
}

/* channel:release(): this end is used no more */
static int
lrelease(lua_State *L) {
	struct channel **box = luaL_checkudata(L, 1, META);
	if (*box) {
		pthread_mutex_lock(&live.lock);
		drop_end(*box);
		pthread_mutex_unlock(&live.lock);
		*box = NULL;
	}
	return 0;
}

/*
 * ---- hooks ----
 */

static void
on_hook(lua_State *L, lua_Debug *ar) {
	static const char *const names[] = {"call", "return", "line", "count", "tail call"};
	if (!lua_checkstack(L, 5))
		return;
	lua_rawgetp(L, LUA_REGISTRYINDEX, &HOOKS);
	lua_pushthread(L);
	if (lua_rawget(L, -2) != LUA_TFUNCTION) {
		lua_pop(L, 2);
		return;
	}
	lua_pushstring(L, names[ar->event]);
	if (ar->currentline >= 0)
		lua_pushinteger(L, ar->currentline);
	else
		lua_pushnil(L);
	lua_call(L, 2, 1);
	bool stop = lua_toboolean(L, -1);
	lua_pop(L, 2);
	/* only these two kinds may yield */
	if (stop && (ar->event == LUA_HOOKLINE || ar->event == LUA_HOOKCOUNT) && lua_isyieldable(L))
		lua_yield(L, 0);
}

static int
parse_mask(const char *text, int count) {
	int mask = count > 0 ? LUA_MASKCOUNT : 0;
	if (strchr(text, 'c'))
		mask |= LUA_MASKCALL;
	if (strchr(text, 'r'))
		mask |= LUA_MASKRET;
	if (strchr(text, 'l'))
		mask |= LUA_MASKLINE;
	return mask;
}

/* sethook([thread,] f, mask [, count]); without f: no hook any more */
static int
lsethook(lua_State *L) {
	lua_State *co = lua_tothread(L, 1);
	int at = co ? 2 : 1;
	if (co == NULL)
		co = L;
	int mask = 0, count = 0;
	if (!lua_isnoneornil(L, at)) {
		luaL_checktype(L, at, LUA_TFUNCTION);
		count = (int)luaL_optinteger(L, at + 2, 0);
		mask = parse_mask(luaL_checkstring(L, at + 1), count);
	}
	lua_settop(L, at);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &HOOKS);
	if (at == 2)
		lua_pushvalue(L, 1);
	else
		lua_pushthread(L);
	lua_pushvalue(L, at);
	lua_rawset(L, -3);
	lua_sethook(co, mask ? on_hook : NULL, mask, count);
	return 0;
}

LUAMOD_API int
luaopen_skynet_debugchannel(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"create", lcreate},   {"connect", lconnect}, {"release", lrelease},
		{"sethook", lsethook}, {NULL, NULL},
	};
	static const luaL_Reg methods[] = {
		{"write", lwrite}, {"read", lread}, {"release", lrelease}, {NULL, NULL}};
	luaL_checkversion(L);
	luaL_newmetatable(L, META);
	luaL_newlib(L, methods);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, lrelease);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
	if (lua_rawgetp(L, LUA_REGISTRYINDEX, &HOOKS) == LUA_TNIL) {
		lua_newtable(L);
		lua_createtable(L, 0, 1);
		lua_pushliteral(L, "k");
		lua_setfield(L, -2, "__mode");
		lua_setmetatable(L, -2);
		lua_rawsetp(L, LUA_REGISTRYINDEX, &HOOKS);
	}
	lua_settop(L, 0);
	luaL_newlib(L, functions);
	return 1;
}
