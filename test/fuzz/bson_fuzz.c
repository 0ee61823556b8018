/*
 * Fuzz module bson: the input is a document, decoded, encoded again, and changed in place.
 *
 *   make fuzz F=bson
 * fuzz-with: lualib-src/bson/[a-z]*.c
 *
 * Besides memory: what was decoded and could be encoded decodes again, and encodes to as many
 * bytes as before.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int luaopen_bson(lua_State *L);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *script =
    "local bson = ...\n"
    "return function(p, size)\n"
    "  local ok, t = pcall(bson.decode, p, size)\n"
    "  if not ok then return end\n"
    "  for _, v in pairs(t) do pcall(bson.type, v) end\n"
    "  local again, doc = pcall(bson.encode, t)\n"
    "  if not again then return end\n"
    "  assert(#bson.encode(doc:decode()) == #doc)\n"
    "  doc:makeindex()\n"
    "  for k, v in pairs(t) do pcall(function() doc[k] = v end) end\n"
    "  doc:decode()\n"
    "end\n";

static lua_State *L;

static void
start(void) {
	L = luaL_newstate();
	luaL_openlibs(L);
	if (luaL_loadstring(L, script) != LUA_OK)
		abort();
	luaL_requiref(L, "bson", luaopen_bson, 0);
	lua_call(L, 1, 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (L == NULL)
		start();
	/* a block of exactly this size, so that reading past its end is seen */
	uint8_t *copy = malloc(size);
	if (copy == NULL)
		return 0;
	memcpy(copy, data, size);
	lua_pushvalue(L, 1);
	lua_pushlightuserdata(L, copy);
	lua_pushinteger(L, (lua_Integer)size);
	if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
		fprintf(stderr, "%s\n", lua_tostring(L, -1));
		abort();
	}
	lua_settop(L, 1);
	free(copy);
	lua_gc(L, LUA_GCSTEP, 0);
	return 0;
}
