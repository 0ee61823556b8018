/*
 * Fuzz module sproto.core. The first byte says what the others are: a bundle; a message of a
 * known schema; packed bytes; bytes to pack; a bundle and, behind a length, a message of it.
 *
 *   make fuzz F=sproto
 * fuzz-with: lualib-src/sproto/[a-z]*.c
 *
 * Besides memory: packing is undone by unpacking, and what was decoded can be encoded and gives
 * the same bytes when that's done twice.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int luaopen_sproto_core(lua_State *L);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* .T { i 0 : integer b 1 : boolean s 2 : string f 3 : double d 4 : integer(2) t 5 : T
 *      ai 6 : *integer ab 7 : *boolean as 8 : *string af 9 : *double at 10 : *T
 *      ki 11 : *K(k) m 12 : *K() }  .K { k 0 : string v 1 : T } */
static const char schema[] =
    "\x01\x00\x00\x00\x5d\x01\x00\x00\x35\x00\x00\x00\x02\x00\x00\x00\x00\x00\x01\x00\x00"
    "\x00\x4b\x26\x00\x00\x00\x0f\x00\x00\x00\x04\x00\x00\x00\x06\x00\x01\x00\x02\x00\x01"
    "\x00\x00\x00\x6b\x0f\x00\x00\x00\x04\x00\x00\x00\x01\x00\x04\x00\x04\x00\x01\x00\x00"
    "\x00\x76\x20\x01\x00\x00\x02\x00\x00\x00\x00\x00\x01\x00\x00\x00\x54\x11\x01\x00\x00"
    "\x0f\x00\x00\x00\x04\x00\x00\x00\x02\x00\x01\x00\x02\x00\x01\x00\x00\x00\x69\x0f\x00"
    "\x00\x00\x04\x00\x00\x00\x04\x00\x01\x00\x04\x00\x01\x00\x00\x00\x62\x0f\x00\x00\x00"
    "\x04\x00\x00\x00\x06\x00\x01\x00\x06\x00\x01\x00\x00\x00\x73\x0f\x00\x00\x00\x04\x00"
    "\x00\x00\x08\x00\x01\x00\x08\x00\x01\x00\x00\x00\x66\x0f\x00\x00\x00\x04\x00\x00\x00"
    "\x02\x00\x06\x00\x0a\x00\x01\x00\x00\x00\x64\x0f\x00\x00\x00\x04\x00\x00\x00\x01\x00"
    "\x04\x00\x0c\x00\x01\x00\x00\x00\x74\x12\x00\x00\x00\x05\x00\x00\x00\x02\x00\x01\x00"
    "\x0e\x00\x04\x00\x02\x00\x00\x00\x61\x69\x12\x00\x00\x00\x05\x00\x00\x00\x04\x00\x01"
    "\x00\x10\x00\x04\x00\x02\x00\x00\x00\x61\x62\x12\x00\x00\x00\x05\x00\x00\x00\x06\x00"
    "\x01\x00\x12\x00\x04\x00\x02\x00\x00\x00\x61\x73\x12\x00\x00\x00\x05\x00\x00\x00\x08"
    "\x00\x01\x00\x14\x00\x04\x00\x02\x00\x00\x00\x61\x66\x12\x00\x00\x00\x05\x00\x00\x00"
    "\x01\x00\x04\x00\x16\x00\x04\x00\x02\x00\x00\x00\x61\x74\x14\x00\x00\x00\x06\x00\x00"
    "\x00\x01\x00\x02\x00\x18\x00\x04\x00\x02\x00\x02\x00\x00\x00\x6b\x69\x15\x00\x00\x00"
    "\x07\x00\x00\x00\x01\x00\x02\x00\x1a\x00\x04\x00\x02\x00\x04\x00\x01\x00\x00\x00\x6d";

static const char *script =
    "local core, make = ...\n"
    "local schema = make and core.newproto(make)\n"
    "local t = schema and core.querytype(schema, 'T')\n"
    "return function(mode, bytes)\n"
    "  if mode == 0 then\n"
    "    local h = core.newproto(bytes)\n"
    "    if h then core.deleteproto(h) end\n"
    "  elseif mode == 1 then\n"
    "    local ok, v = pcall(core.decode, t, bytes)\n"
    "    if ok then\n"
    "      local again, e = pcall(core.encode, t, v)\n"
    "      local twice, f = pcall(core.encode, t, again and core.decode(t, e))\n"
    "      assert(not twice or #e == #f)\n"
    "    end\n"
    "  elseif mode == 2 then\n"
    "    pcall(core.unpack, bytes)\n"
    "  elseif mode == 3 then\n"
    "    local back = core.unpack(core.pack(bytes))\n"
    "    assert(back:sub(1, #bytes) == bytes and #back - #bytes < 8)\n"
    "    assert(not back:find('[^\\0]', #bytes + 1))\n"
    "  elseif #bytes >= 2 then\n"
    "    local n = string.unpack('<I2', bytes)\n"
    "    local h = core.newproto(bytes:sub(3, 2 + n))\n"
    "    if not h then return end\n"
    "    for _, name in ipairs { 'T', 'A', 'K', 'Pet', 'All', 'package' } do\n"
    "      local q = core.querytype(h, name)\n"
    "      if q then\n"
    "        core.default(q)\n"
    "        local ok, v = pcall(core.decode, q, bytes:sub(3 + n))\n"
    "        if ok then pcall(core.encode, q, v) end\n"
    "      end\n"
    "    end\n"
    "    core.deleteproto(h)\n"
    "  end\n"
    "end\n";

static lua_State *L;

static void
start(void) {
	L = luaL_newstate();
	luaL_openlibs(L);
	luaL_requiref(L, "sproto.core", luaopen_sproto_core, 0);
	if (luaL_loadstring(L, script) != LUA_OK)
		abort();
	lua_insert(L, -2);
	lua_pushlstring(L, schema, sizeof(schema) - 1);
	lua_call(L, 2, 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (L == NULL)
		start();
	if (size == 0)
		return 0;
	lua_pushvalue(L, 1);
	lua_pushinteger(L, data[0] % 5);
	/* a block of exactly this size, so that reading past its end is seen */
	lua_pushlstring(L, (const char *)data + 1, size - 1);
	if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
		fprintf(stderr, "%s\n", lua_tostring(L, -1));
		abort();
	}
	lua_settop(L, 1);
	lua_gc(L, LUA_GCSTEP, 0);
	return 0;
}
