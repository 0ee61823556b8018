/*
 * The Lua module bson: its table, and the metatable of encoded documents.
 */
#include "bson.h"

static int
ltostring(lua_State *L) {
	const char *doc = luaL_checkudata(L, 1, BSON_METATABLE);
	lua_pushlstring(L, doc, lua_rawlen(L, 1));
	return 1;
}

static int
llength(lua_State *L) {
	luaL_checkudata(L, 1, BSON_METATABLE);
	lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1));
	return 1;
}

/* A pointer to the bytes. The caller keeps the document alive. */
static int
lto_lightuserdata(lua_State *L) {
	lua_pushlightuserdata(L, luaL_checkudata(L, 1, BSON_METATABLE));
	return 1;
}

static void
make_metatable(lua_State *L) {
	static const luaL_Reg methods[] = {
		{"decode", bson_ldecode},
		{"makeindex", bson_lmakeindex},
		{NULL, NULL},
	};
	static const luaL_Reg metamethods[] = {
		{"__tostring", ltostring},
		{"__len", llength},
		{"__newindex", bson_lupdate},
		{NULL, NULL},
	};
	luaL_newmetatable(L, BSON_METATABLE);
	luaL_setfuncs(L, metamethods, 0);
	luaL_newlib(L, methods);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}

static void
set_constant(lua_State *L, const char *name, uint8_t type) {
	char s[2] = {0, (char)type};
	lua_pushlstring(L, s, sizeof(s));
	lua_setfield(L, -2, name);
}

int
luaopen_bson(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"encode", bson_lencode},
		{"encode_order", bson_lencode_order},
		{"decode", bson_ldecode},
		{"date", bson_ldate},
		{"timestamp", bson_ltimestamp},
		{"regex", bson_lregex},
		{"binary", bson_lbinary},
		{"objectid", bson_lobjectid},
		{"int64", bson_lint64},
		{"type", bson_ltype},
		{"to_lightuserdata", lto_lightuserdata},
		{NULL, NULL},
	};
	luaL_checkversion(L);
	make_metatable(L);
	luaL_newlib(L, functions);
	set_constant(L, "null", BSON_NULL);
	set_constant(L, "minkey", BSON_MINKEY);
	set_constant(L, "maxkey", BSON_MAXKEY);
	return 1;
}
