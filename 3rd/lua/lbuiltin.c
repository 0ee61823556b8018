/*
 * Modules that are part of the host program. `require` finds them right after package.preload, in
 * every state, without a look at the disk.
 */
#define lbuiltin_c
#define LUA_LIB

#include "lua.h"

#include "lauxlib.h"

#include <string.h>

static const luaL_Reg *builtin; /* set before the first state is made */

LUALIB_API void
luaL_setbuiltin(const luaL_Reg *list) {
	builtin = list;
}

LUALIB_API lua_CFunction
luaL_builtin(const char *name) {
	for (const luaL_Reg *r = builtin; r && r->name; r++) {
		if (strcmp(r->name, name) == 0)
			return r->func;
	}
	return NULL;
}
