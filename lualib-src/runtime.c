/*
 * Module skynet.runtime: what this runtime tells about itself beyond the classic interface, and
 * the log level. For tools: the debug console and skynet.log are built on it.
 */
#include "skynet.h"
#include "skynet_runtime.h"

#include <lauxlib.h>
#include <lua.h>

static void
set_integer(lua_State *L, const char *name, lua_Integer v) {
	lua_pushinteger(L, v);
	lua_setfield(L, -2, name);
}

/*
 * threads() -> list, one entry for each worker: { source=, destination=, type=, seconds= } of the
 * message it handles, or an empty table when it's idle
 */
static int
lthreads(lua_State *L) {
	struct skynet_thread_info info;
	lua_newtable(L);
	for (int i = 0; skynet_thread_info(i, &info) == 0; i++) {
		lua_createtable(L, 0, 4);
		if (info.destination != 0) {
			set_integer(L, "source", info.source);
			set_integer(L, "destination", info.destination);
			set_integer(L, "type", info.type);
			lua_pushnumber(L, (lua_Number)info.ns * 1e-9);
			lua_setfield(L, -2, "seconds");
		}
		lua_rawseti(L, -2, i + 1);
	}
	return 1;
}

/* loglevel([n]) -> the node's log level, set first when n is given: 0 debug .. 3 error */
static int
lloglevel(lua_State *L) {
	lua_Integer n = luaL_optinteger(L, 1, -1);
	luaL_argcheck(L, n >= -1 && n <= SKYNET_LOG_ERROR, 1, "not a log level");
	lua_pushinteger(L, skynet_log_level((int)n));
	return 1;
}

LUAMOD_API int
luaopen_skynet_runtime(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"threads", lthreads},
		{"loglevel", lloglevel},
		{NULL, NULL},
	};
	luaL_checkversion(L);
	luaL_newlib(L, functions);
	return 1;
}
