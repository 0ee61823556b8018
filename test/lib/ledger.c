/*
 * What the services of a stress run write down, common to the whole process, so that nothing of
 * it is lost with a service that dies: counters by index, and the addresses of those alive.
 * Messages of the watched type that the kernel drops are counted by the kernel's own hook.
 */
#include "../../skynet-src/skynet_runtime.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdatomic.h>

#define CELLS 256

static atomic_llong cell[CELLS];

static atomic_llong *
checkcell(lua_State *L) {
	lua_Integer i = luaL_checkinteger(L, 1);
	luaL_argcheck(L, i >= 0 && i < CELLS, 1, "no such cell");
	return &cell[i];
}

/* add(i, n): returns the new value */
static int
ladd(lua_State *L) {
	atomic_llong *c = checkcell(L);
	lua_Integer n = luaL_checkinteger(L, 2);
	lua_pushinteger(L, atomic_fetch_add(c, n) + n);
	return 1;
}

static int
lget(lua_State *L) {
	lua_pushinteger(L, atomic_load(checkcell(L)));
	return 1;
}

/* set(i, v): returns the old value */
static int
lset(lua_State *L) {
	atomic_llong *c = checkcell(L);
	lua_pushinteger(L, atomic_exchange(c, luaL_checkinteger(L, 2)));
	return 1;
}

static void
on_drop(const void *msg, size_t sz) {
	(void)msg;
	(void)sz;
	atomic_fetch_add(&cell[0], 1);
}

/* watch(type): count dropped messages of this type in cell 0 */
static int
lwatch(lua_State *L) {
	skynet_on_drop((int)luaL_checkinteger(L, 1), on_drop);
	return 0;
}

LUAMOD_API int
luaopen_ledger(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"add", ladd}, {"get", lget}, {"set", lset}, {"watch", lwatch}, {NULL, NULL},
	};
	luaL_checkversion(L);
	luaL_newlib(L, functions);
	return 1;
}
