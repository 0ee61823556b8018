/*
 * Fuzz what a MongoDB server's reply goes through: module skynet.mongo.driver, then bson. The
 * input is what comes after the length of a message.
 *
 *   make fuzz F=mongo_reply
 * fuzz-with: lualib-src/mongo_driver.c lualib-src/bson/[a-z]*.c -lcrypto
 */
#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int luaopen_bson(lua_State *L);
int luaopen_skynet_mongo_driver(lua_State *L);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *script =
    "local bson, driver = ...\n"
    "return function(bytes)\n"
    "  if #bytes >= 4 then driver.length(bytes) end\n"
    "  local fine, ok, id, p, size = pcall(driver.reply, bytes)\n"
    "  if not fine or not ok then return end\n"
    "  assert(math.type(id) == 'integer' and size <= #bytes)\n"
    "  pcall(bson.decode, p, size)\n"
    "end\n";

static lua_State *L;

static void
start(void) {
	L = luaL_newstate();
	luaL_openlibs(L);
	if (luaL_loadstring(L, script) != LUA_OK)
		abort();
	luaL_requiref(L, "bson", luaopen_bson, 0);
	luaL_requiref(L, "skynet.mongo.driver", luaopen_skynet_mongo_driver, 0);
	lua_call(L, 2, 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (L == NULL)
		start();
	lua_pushvalue(L, 1);
	lua_pushlstring(L, (const char *)data, size);
	if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
		fprintf(stderr, "%s\n", lua_tostring(L, -1));
		abort();
	}
	lua_settop(L, 1);
	lua_gc(L, LUA_GCSTEP, 0);
	return 0;
}
