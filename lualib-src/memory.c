/* Module skynet.memory: what the process and its services hold outside of their Lua heaps. */
#include "malloc_hook.h"

#include <lauxlib.h>
#include <lua.h>

static int
ltotal(lua_State *L) {
	lua_pushinteger(L, (lua_Integer)malloc_used_memory());
	return 1;
}

static int
lblock(lua_State *L) {
	lua_pushinteger(L, (lua_Integer)malloc_memory_block());
	return 1;
}

static int
lcurrent(lua_State *L) {
	lua_pushinteger(L, (lua_Integer)malloc_current_memory());
	return 1;
}

static int
ldump(lua_State *L) {
	(void)L;
	dump_c_mem();
	return 0;
}

static int
ldumpinfo(lua_State *L) {
	memory_info_dump(luaL_optstring(L, 1, NULL));
	return 0;
}

/* jestat() -> map of jemalloc's totals */
static int
ljestat(lua_State *L) {
	static const char *const names[] = {"stats.allocated", "stats.resident", "stats.retained",
	                                    "stats.mapped", "stats.active"};
	size_t now = 1;
	(void)mallctl_int64("epoch", &now); /* has jemalloc refresh what follows */
	lua_newtable(L);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		lua_pushinteger(L, (lua_Integer)mallctl_int64(names[i], NULL));
		lua_setfield(L, -2, names[i]);
	}
	return 1;
}

static int
lmallctl(lua_State *L) {
	lua_pushinteger(L, (lua_Integer)mallctl_int64(luaL_checkstring(L, 1), NULL));
	return 1;
}

static int
ldumpheap(lua_State *L) {
	(void)L;
	(void)mallctl_cmd("prof.dump"); /* says itself what is missing */
	return 0;
}

static int
lprofactive(lua_State *L) {
	bool on = lua_toboolean(L, 1);
	lua_pushboolean(L, mallctl_bool("prof.active", lua_isnoneornil(L, 1) ? NULL : &on));
	return 1;
}

LUAMOD_API int
luaopen_skynet_memory(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"total", ltotal},           {"block", lblock},     {"current", lcurrent},
		{"info", dump_mem_lua},      {"dump", ldump},       {"dumpinfo", ldumpinfo},
		{"jestat", ljestat},         {"mallctl", lmallctl}, {"dumpheap", ldumpheap},
		{"profactive", lprofactive}, {NULL, NULL},
	};
	luaL_checkversion(L);
	luaL_newlib(L, functions);
	return 1;
}
