/*
 * Module ltls.c: TLS by OpenSSL. Contexts are in context.c, connections in engine.c, the set-up
 * of the process in init.c; lualib/http/tlshelper.lua joins them with sockets.
 */
#include "ltls.h"

int luaopen_ltls_c(lua_State *L);

int
luaopen_ltls_c(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"newctx", ltls_newctx},
		{"newtls", ltls_newtls},
		{NULL, NULL},
	};
	if (!ltls_ready())
		return luaL_error(L, "ltls need init, Put enablessl = true in you config file.");
	ltls_open_context(L);
	ltls_open_engine(L);
	luaL_newlib(L, functions);
	return 1;
}
