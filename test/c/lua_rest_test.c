/*
 * Threads at rest (3rd/lua/lrest.c): with a stack cut down to what they hold they go on as if
 * nothing had been, from any depth, with any values, whoever cut it; and without memory to go on,
 * they end with an error, nothing more. The same program is built against a Lua whose assertions
 * are on and that moves the stack at every chance (lua_rest_hard_test).
 */
#include "../../3rd/lua/lview.h"

#include "lauxlib.h"
#include "lualib.h"

#include "tap.h"

#include <stdlib.h>
#include <string.h>

static const char script[] =
	"local rest = ...\n"
	"function deep(n, ...)\n"
	"  local a, b <close> = n * 3, setmetatable({}, {__close = function() closed = closed + 1 "
	"end})\n"
	"  if n == 0 then return rest(a, ...) + select('#', ...) end\n"
	"  local function up() a = a + 1 return a end\n"
	"  local r = deep(n - 1, n, ...)\n"
	"  return r + up()\n"
	"end\n"
	"function guarded(n) local ok, r = pcall(deep, n) return ok and r or -1 end\n"
	"function rounds(n, m) local s = 0 for i = 1, m do s = s + deep(n) end return s end\n";

/* More values than there would be room for: all of LUA_MINSTACK. */
static int
rested(lua_State *L, int status, lua_KContext top) {
	(void)status;
	lua_Integer sum = 0;
	for (int i = (int)top + 1; i <= lua_gettop(L); i++)
		sum += lua_tointeger(L, i);
	lua_settop(L, (int)top);
	for (int i = 0; i < LUA_MINSTACK - 6; i++)
		lua_pushinteger(L, i);
	lua_settop(L, 1);
	lua_pushinteger(L, lua_tointeger(L, 1) + sum);
	return 1;
}

static int
rest(lua_State *L) {
	lua_KContext top = lua_gettop(L);
	lua_mayrest(L);
	return lua_yieldk(L, 0, top, rested);
}

/* An allocator that can be told to fail. */
static bool failing;

static void *
allocate(void *ud, void *p, size_t old, size_t sz) {
	(void)ud;
	if (sz == 0) {
		free(p);
		return NULL;
	}
	if (failing && (p == NULL || sz > old))
		return NULL;
	return realloc(p, sz);
}

static lua_State *
open_state(void) {
	lua_State *L = lua_newstate(allocate, NULL);
	luaL_openlibs(L);
	if (luaL_loadstring(L, script) != LUA_OK)
		return NULL;
	lua_pushcfunction(L, rest);
	lua_call(L, 1, 0);
	lua_pushinteger(L, 0);
	lua_setglobal(L, "closed");
	return L;
}

static lua_State *
begin(lua_State *L, const char *function, int a, int b) {
	lua_State *co = lua_newthread(L);
	int n;
	lua_getglobal(co, function);
	lua_pushinteger(co, a);
	lua_pushinteger(co, b);
	return lua_resume(co, L, 2, &n) == LUA_YIELD ? co : NULL;
}

static lua_Integer
go_on(lua_State *L, lua_State *co, int *status) {
	int n;
	lua_pushinteger(co, 100);
	lua_pushinteger(co, 11);
	*status = lua_resume(co, L, 2, &n);
	return lua_tointeger(co, -1);
}

static size_t
bytes(lua_State *L) {
	return (size_t)lua_gc(L, LUA_GCCOUNT) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB);
}

/* What `function` returns, with a rest (or none) at each wait. */
static lua_Integer
outcome(lua_State *L, const char *function, int depth, bool cut) {
	lua_State *co = begin(L, function, depth, 5);
	int status = LUA_YIELD;
	lua_Integer r = 0;
	while (status == LUA_YIELD) {
		if (cut)
			lua_rest(co);
		luaL_traceback(L, co, NULL, 0);
		lua_pop(L, 1);
		r = go_on(L, co, &status);
	}
	lua_pop(L, 1);
	return status == LUA_OK ? r : -1;
}

static void
test_depths(lua_State *L) {
	static const char *const function[] = {"deep", "guarded", "rounds"};
	bool same = true;
	for (int i = 0; i < 3; i++) {
		for (int depth = 0; depth < 60; depth += depth < 10 ? 1 : 7)
			same = same &&
			       outcome(L, function[i], depth, false) == outcome(L, function[i], depth, true);
	}
	ok(same, "the outcome is the same");
}

static void
test_size(lua_State *L) {
	lua_State *co = begin(L, "deep", 0, 0);
	size_t before = bytes(L);
	lua_rest(co);
	size_t after = bytes(L);
	ok(before - after >= 300, "a thread at rest is smaller");
	int status;
	(void)go_on(L, co, &status);
	ok(status == LUA_OK, "and goes on");
	lua_pop(L, 1);
}

/* The collector cuts what it finds waiting twice, and nothing else. */
static void
test_collector(lua_State *L, int mode) {
	lua_gc(L, mode, 0, 0);
	lua_State *co = begin(L, "deep", 3, 0);
	int had = (int)(co->stack_last.p - co->stack.p);
	for (int i = 0; i < 4; i++)
		lua_gc(L, LUA_GCCOLLECT);
	bool cut = co->stack_last.p - co->stack.p < had;
	int status;
	(void)go_on(L, co, &status);
	ok(cut && status == LUA_OK,
	   mode == LUA_GCGEN ? "generational collection" : "incremental collection");
	lua_pop(L, 1);
	co = lua_newthread(L);
	int n;
	if (luaL_dostring(L, "return coroutine.yield") != LUA_OK)
		return;
	lua_xmove(L, co, 1);
	(void)lua_resume(co, L, 0, &n);
	had = (int)(co->stack_last.p - co->stack.p);
	for (int i = 0; i < 4; i++)
		lua_gc(L, LUA_GCCOLLECT);
	ok(co->stack_last.p - co->stack.p >= had, "who didn't say so keeps its stack");
	lua_pop(L, 1);
}

static void
test_no_memory(lua_State *L) {
	lua_State *co = begin(L, "guarded", 3, 0);
	lua_rest(co);
	lua_getglobal(L, "closed");
	lua_Integer closed = lua_tointeger(L, -1);
	lua_pop(L, 1);
	int status;
	failing = true;
	(void)go_on(L, co, &status);
	failing = false;
	ok(status == LUA_ERRMEM, "without memory it ends");
	status = lua_closethread(co, L);
	lua_getglobal(L, "closed");
	ok(status == LUA_ERRMEM && lua_tointeger(L, -1) == closed + 4, "its variables are closed");
	lua_pop(L, 2);
	co = begin(L, "deep", 3, 0);
	lua_rest(co);
	failing = true;
	status = lua_closethread(co, L);
	failing = false;
	ok(status == LUA_OK || status == LUA_ERRMEM, "closed at rest, without memory");
	ok(lua_checkstack(co, LUA_MINSTACK), "it can have room again");
	lua_pop(L, 1);
}

int
main(void) {
	lua_State *L = open_state();
	test_depths(L);
	test_size(L);
	test_collector(L, LUA_GCGEN);
	test_collector(L, LUA_GCINC);
	test_no_memory(L);
	lua_close(L);
	return done();
}
