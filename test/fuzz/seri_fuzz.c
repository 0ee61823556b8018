/*
 * Fuzz the serialisation: what a peer sends is checked, unpacked, packed again.
 *
 *   make fuzz F=seri
 *
 * Besides memory: what the check passes unpacks without error into values that pack again (unless
 * they are too deep for that), and those bytes unpack into as many values. What the check refuses
 * as malformed is an error to unpack, too, and nothing takes more memory than a small multiple of
 * its size.
 */
#include "../../lualib-src/lua-seri.c"

#include <lualib.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t used;

static void
require(int good) {
	if (!good)
		abort();
}

static void *
count(void *ud, void *ptr, size_t osize, size_t nsize) {
	(void)ud;
	used += nsize - (ptr ? osize : 0);
	if (nsize == 0) {
		free(ptr);
		return NULL;
	}
	return realloc(ptr, nsize);
}

/* (data, size) -> packed block, as a pointer, and its size; raises what packing raises */
static int
again(lua_State *L) {
	const void *data = lua_touserdata(L, 1);
	size_t size = (size_t)lua_tointeger(L, 2);
	int n = seri_unpack(L, data, size);
	if (n < 0)
		return lua_error(L);
	size_t sz;
	void *block = seri_pack(L, lua_gettop(L) - n + 1, &sz);
	int m = seri_unpack(L, block, sz);
	free(block);
	require(m == n);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	char why[128];
	int checked = seri_check(data, size, why, sizeof(why));
	used = 0;
	lua_State *L = lua_newstate(count, NULL);
	size_t before = used;
	lua_pushcfunction(L, again);
	lua_pushlightuserdata(L, (void *)data);
	lua_pushinteger(L, (lua_Integer)size);
	int status = lua_pcall(L, 2, 0, 0);
	if (checked == 0 && status != LUA_OK) {
		/* what may be read may be too deep to pack */
		require(strstr(lua_tostring(L, -1), "too depth") != NULL);
	}
	if (checked == SERI_MALFORMED)
		require(status != LUA_OK);
	require(used - before < 64 * 1024 + 400 * size);
	lua_close(L);
	return 0;
}
