/*
 * Blocks that Lua code passes as light userdata: what can be told of them.
 *
 * A light userdata is trusted to be a block of the size given with it; Lua code that forges one
 * can do what C code can. But the usual mistakes (no pointer, a number made into a pointer, a
 * size without a block, a negative size) get an error instead of a crash. Addresses below
 * BLOCK_LOWEST are never mapped; no message is larger than a message can be.
 */
#ifndef skynet_lua_block_h
#define skynet_lua_block_h

#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>

#define BLOCK_LOWEST 65536

/* The block at `index`: NULL, or an address that may be mapped; raises otherwise. */
static inline void *
check_pointer(lua_State *L, int index) {
	luaL_checktype(L, index, LUA_TLIGHTUSERDATA);
	void *p = lua_touserdata(L, index);
	luaL_argcheck(L, p == NULL || (uintptr_t)p >= BLOCK_LOWEST, index,
	              "not a pointer to a block");
	return p;
}

/* The block at `index` whose size is at the next index. */
static inline void *
check_block(lua_State *L, int index, size_t *sz) {
	void *p = check_pointer(L, index);
	lua_Integer n = luaL_checkinteger(L, index + 1);
	luaL_argcheck(L, n >= 0 && (n == 0 || p != NULL) && (uint64_t)n <= SIZE_MAX >> 8, index + 1,
	              "not the size of a block");
	*sz = (size_t)n;
	return p;
}

#endif
