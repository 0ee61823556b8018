/*
 * Module skynet.profile: the CPU time of one coroutine, and the resume and wrap that measure it.
 *
 * A profiled coroutine has an entry in a weak table: seconds collected so far, and the clock at
 * the time it was last resumed. While no coroutine of the VM is profiled, resuming costs one
 * test. Time spent in coroutines that a profiled one resumes counts for the outer one, too.
 */
#include "snlua.h"

#include "skynet_malloc.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <time.h>

static const char RECORDS = 0; /* address: registry key of thread -> struct record, weak */

struct record {
	double total;   /* seconds of earlier stretches */
	double resumed; /* clock when the running stretch began; < 0: it doesn't run */
};

static double
cpu_clock(void) {
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct vm_hooks *
hooks_of(lua_State *L) {
	lua_getfield(L, LUA_REGISTRYINDEX, VM_HOOKS);
	struct vm_hooks *h = lua_touserdata(L, -1);
	lua_pop(L, 1);
	return h;
}

/* The record of a thread of this VM, or NULL. */
static struct record *
find(lua_State *L, lua_State *co) {
	if (!lua_checkstack(L, 4) || !lua_checkstack(co, 1))
		return NULL;
	lua_rawgetp(L, LUA_REGISTRYINDEX, &RECORDS);
	lua_pushthread(co);
	lua_xmove(co, L, 1);
	lua_rawget(L, -2);
	struct record *r = lua_touserdata(L, -1);
	lua_pop(L, 2);
	return r;
}

static void
enter(lua_State *L, lua_State *co) {
	struct record *r = find(L, co);
	if (r)
		r->resumed = cpu_clock();
}

static void
leave(lua_State *L, lua_State *co) {
	struct record *r = find(L, co);
	if (r && r->resumed >= 0) {
		r->total += cpu_clock() - r->resumed;
		r->resumed = -1;
	}
}

/* The thread argument, or the running one; put at index 1. */
static lua_State *
thread_argument(lua_State *L) {
	if (lua_isnoneornil(L, 1)) {
		lua_settop(L, 0);
		lua_pushthread(L);
		return L;
	}
	luaL_checktype(L, 1, LUA_TTHREAD);
	lua_settop(L, 1);
	return lua_tothread(L, 1);
}

/* start([thread]) */
static int
lstart(lua_State *L) {
	lua_State *co = thread_argument(L);
	if (find(L, co))
		return luaL_error(L, "Thread %p start profile more than once", lua_topointer(L, 1));
	lua_rawgetp(L, LUA_REGISTRYINDEX, &RECORDS);
	lua_pushvalue(L, 1);
	struct record *r = lua_newuserdatauv(L, sizeof(*r), 0);
	lua_rawset(L, -3);
	r->total = 0;
	r->resumed = co == L ? cpu_clock() : -1;
	hooks_of(L)->profiling++;
	return 0;
}

static void
forget(lua_State *L, lua_State *co) {
	if (find(L, co) == NULL || !lua_checkstack(L, 3))
		return;
	lua_rawgetp(L, LUA_REGISTRYINDEX, &RECORDS);
	lua_pushthread(co);
	lua_xmove(co, L, 1);
	lua_pushnil(L);
	lua_rawset(L, -3);
	lua_pop(L, 1);
	hooks_of(L)->profiling--;
}

/* stop([thread]) -> seconds */
static int
lstop(lua_State *L) {
	lua_State *co = thread_argument(L);
	struct record *r = find(L, co);
	if (r == NULL)
		return luaL_error(L, "Call profile.start() before profile.stop()");
	double total = r->total;
	if (r->resumed >= 0)
		total += cpu_clock() - r->resumed;
	forget(L, co);
	lua_pushnumber(L, total);
	return 1;
}

/*
 * Resume co with the narg values on top of L. Returns the number of results, moved to L; or -1
 * with the error object there.
 */
static int
resume(lua_State *L, lua_State *co, int narg) {
	int nres;
	if (!lua_checkstack(co, narg)) {
		lua_pushliteral(L, "too many arguments to resume");
		return -1;
	}
	lua_xmove(L, co, narg);
	struct vm_hooks *h = lua_touserdata(L, lua_upvalueindex(1));
	if (h->profiling > 0)
		enter(L, co);
	int status = lua_resume(co, L, narg, &nres);
	if (h->profiling > 0) /* perhaps since it started just now */
		leave(L, co);
	if (status != LUA_OK && status != LUA_YIELD) {
		lua_xmove(co, L, 1);
		return -1;
	}
	if (!lua_checkstack(L, nres + 1)) {
		lua_pop(co, nres);
		lua_pushliteral(L, "too many results to resume");
		return -1;
	}
	lua_xmove(co, L, nres);
	return nres;
}

static int
lresume(lua_State *L) {
	lua_State *co = lua_tothread(L, 1);
	luaL_argexpected(L, co, 1, "coroutine");
	int n = resume(L, co, lua_gettop(L) - 1);
	lua_pushboolean(L, n >= 0);
	lua_insert(L, n >= 0 ? -(n + 1) : -2);
	return n >= 0 ? n + 1 : 2;
}

/* The body of what wrap returns: upvalues are the hooks and the coroutine. */
static int
wrapped(lua_State *L) {
	lua_State *co = lua_tothread(L, lua_upvalueindex(2));
	int n = resume(L, co, lua_gettop(L));
	if (n >= 0)
		return n;
	int status = lua_status(co);
	if (status != LUA_OK && status != LUA_YIELD) { /* it failed: run its pending closes */
		status = lua_closethread(co, L);
		if (status != LUA_OK)
			lua_xmove(co, L, 1);
	}
	if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
		luaL_where(L, 1);
		lua_insert(L, -2);
		lua_concat(L, 2);
	}
	return lua_error(L);
}

static int
lwrap(lua_State *L) {
	luaL_checktype(L, 1, LUA_TFUNCTION);
	lua_State *co = lua_newthread(L);
	lua_pushvalue(L, 1);
	lua_xmove(L, co, 1);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, -2);
	lua_pushcclosure(L, wrapped, 2);
	return 1;
}

int
snlua_open_profile(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"start", lstart}, {"stop", lstop}, {"resume", lresume}, {"wrap", lwrap}, {NULL, NULL},
	};
	struct vm_hooks *h = hooks_of(L);
	h->enter = enter;
	h->leave = leave;
	h->forget = forget;
	lua_newtable(L);
	lua_createtable(L, 0, 1);
	lua_pushliteral(L, "k");
	lua_setfield(L, -2, "__mode");
	lua_setmetatable(L, -2);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &RECORDS);
	luaL_newlibtable(L, functions);
	lua_pushlightuserdata(L, h);
	luaL_setfuncs(L, functions, 1);
	return 1;
}
