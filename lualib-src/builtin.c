/*
 * skynet.so's names for the modules that live in the executable (builtin.h).
 */
#include "builtin.h"

#define MODULE(name)                                                                             \
	LUAMOD_API int luaopen_skynet_##name(lua_State *L) {                                         \
		return skynet_open_##name(L);                                                            \
	}

MODULE(core)
MODULE(dispatch)
MODULE(socketdriver)
MODULE(netpack)
MODULE(cluster_core)
