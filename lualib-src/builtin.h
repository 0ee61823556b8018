/*
 * Modules that are part of the executable, where they are compiled together with Lua and the
 * kernel: every message passes through them. skynet.so has them under their documented names.
 */
#ifndef skynet_lua_builtin_h
#define skynet_lua_builtin_h

#include <lua.h>

/* Have what skynet_open_core and skynet_open_dispatch will need made and kept in the registry. */
void skynet_core_prepare(lua_State *L);
/* Make the dispatcher's record in a state that is no service but the model of services... */
void skynet_core_model(lua_State *L);
/* ... and have that of a copy be the service's. */
struct skynet_context;
void skynet_core_adopt(lua_State *L, struct skynet_context *ctx);
int skynet_open_core(lua_State *L);
int skynet_open_dispatch(lua_State *L);
int skynet_open_socketdriver(lua_State *L);
int skynet_open_netpack(lua_State *L);
int skynet_open_cluster_core(lua_State *L);

#endif
