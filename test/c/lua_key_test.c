/*
 * The shorter ways of 3rd/lua/lkey.c do what the long ones do, whatever the collector does in
 * between: a text pushed as a word is the interned one, never one that is dead; a field by its
 * key is the field. The same program is built against a Lua whose assertions are on
 * (lua_key_hard_test).
 */
#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

#include "tap.h"

#include <string.h>

#ifdef HARD
#define ROUNDS 20000
#else
#define ROUNDS 400000
#endif
#define KEPT 200

/* Few different ones, so that they come again; some too long to be interned. */
static size_t
random_text(char *out, uint64_t *seed) {
	size_t len = tap_random(seed) % 4 == 0 ? tap_random(seed) % 60 : tap_random(seed) % 4;
	for (size_t i = 0; i < len; i++)
		out[i] = len < 8 ? (char)(tap_random(seed) % 3) : "ab"[i % 2];
	return len;
}

/* Pushed both ways, it's one string, with that content; some are kept, the others die. */
static bool
same_word(lua_State *L, const char *text, size_t len, uint64_t *seed) {
	size_t got;
	bool word_first = tap_random(seed) % 2;
	if (word_first)
		lua_pushword(L, text, len);
	lua_pushlstring(L, text, len);
	if (!word_first)
		lua_pushword(L, text, len);
	const char *s = lua_tolstring(L, -1, &got);
	bool same = got == len && memcmp(s, text, len) == 0 && lua_rawequal(L, -1, -2) &&
	            (len > 40 || lua_topointer(L, -1) == lua_topointer(L, -2));
	lua_rawseti(L, 1, 1 + (lua_Integer)(tap_random(seed) % KEPT));
	lua_pop(L, 1);
	return same;
}

static void
test_words(lua_State *L, int mode, uint64_t *seed) {
	char text[64];
	bool same = true;
	lua_gc(L, mode, 0, 0);
	lua_newtable(L);
	for (int i = 0; same && i < ROUNDS; i++) {
		same = same_word(L, text, random_text(text, seed), seed);
		if (tap_random(seed) % 50 == 0)
			lua_gc(L, tap_random(seed) % 10 ? LUA_GCSTEP : LUA_GCCOLLECT, 1);
	}
	lua_settop(L, 0);
	ok(same,
	   mode == LUA_GCGEN ? "words, generational collection" : "words, incremental collection");
}

/* lua_pushstring looks in the same cache; what it compares ends with the first zero. */
static void
test_zeros(lua_State *L) {
	size_t len = 0;
	for (int c = 0; c < 256; c++) { /* everywhere in the cache */
		char text[2] = {0, (char)c};
		lua_pushword(L, text, 2);
		lua_pop(L, 1);
	}
	lua_pushstring(L, "");
	lua_tolstring(L, -1, &len);
	lua_pop(L, 1);
	ok(len == 0, "a word that begins with a zero isn't the empty string");
}

/* Push a key, as messages have them: mostly short strings, few different ones. */
static void
push_key(lua_State *L, uint64_t *seed) {
	char text[64];
	uint64_t kind = tap_random(seed) % 8;
	if (kind == 0)
		lua_pushinteger(L, (lua_Integer)(tap_random(seed) % 20));
	else if (kind == 1)
		lua_pushnumber(L, (double)(tap_random(seed) % 20) / 2);
	else if (kind == 2)
		lua_pushboolean(L, tap_random(seed) % 2);
	else
		lua_pushlstring(L, text, random_text(text, seed));
}

/* Into the tables at 1 and 2, the same in both ways. */
static void
add_both(lua_State *L, uint64_t *seed) {
	push_key(L, seed);
	if (tap_random(seed) % 10 == 0)
		lua_pushnil(L);
	else if (tap_random(seed) % 2)
		lua_newtable(L);
	else
		push_key(L, seed);
	lua_pushvalue(L, -2);
	lua_pushvalue(L, -2);
	lua_addpair(L, 1);
	lua_rawset(L, 2);
}

/* Does the table at `a` have all that the one at `b` has? */
static bool
has_all(lua_State *L, int a, int b) {
	for (lua_pushnil(L); lua_next(L, b); lua_pop(L, 1)) {
		lua_pushvalue(L, -2);
		lua_rawget(L, a);
		bool same = lua_rawequal(L, -1, -2);
		lua_pop(L, 1);
		if (!same)
			return false;
	}
	return true;
}

static void
test_tables(lua_State *L, int mode, uint64_t *seed) {
	bool same = true;
	lua_gc(L, mode, 0, 0);
	for (int i = 0; same && i < ROUNDS / 100; i++) {
		int elements = (int)(tap_random(seed) % 8), pairs = (int)(tap_random(seed) % 40);
		int room = (int)(tap_random(seed) % 20);
		lua_createtable(L, elements, room);
		lua_createtable(L, elements, room);
		for (int n = 1; n <= elements + 2; n++) {
			lua_newtable(L);
			lua_pushvalue(L, -1);
			lua_addelement(L, 1, (lua_Unsigned)n);
			lua_rawseti(L, 2, n);
		}
		for (int n = 0; n < pairs; n++) {
			add_both(L, seed);
			if (tap_random(seed) % 10 == 0)
				lua_gc(L, LUA_GCSTEP, 0);
		}
		same = lua_gettop(L) == 2 && has_all(L, 1, 2) && has_all(L, 2, 1);
		lua_settop(L, 0);
	}
	ok(same,
	   mode == LUA_GCGEN ? "tables, generational collection" : "tables, incremental collection");
}

/* A metamethod that comes late is one. */
static void
test_metatable(lua_State *L) {
	lua_newtable(L);
	lua_createtable(L, 0, 1);
	lua_pushvalue(L, 2);
	lua_setmetatable(L, 1);
	(void)lua_getfield(L, 1, "nothing"); /* remembers that there's no __index */
	lua_pop(L, 1);
	lua_pushliteral(L, "__index");
	lua_pushvalue(L, 2);
	lua_addpair(L, 2);
	ok(lua_getfield(L, 1, "__index") == LUA_TTABLE, "a metamethod that is added counts");
	lua_settop(L, 0);
}

static int
two(lua_State *L) {
	lua_pushinteger(L, 2);
	return 1;
}

static void
test_keys(lua_State *L) {
	lua_pushliteral(L, "key");
	const void *key = lua_topointer(L, -1);
	lua_newtable(L);
	ok(lua_getkey(L, 2, key) == LUA_TNIL && lua_keyfunction(L, 2, key) == NULL, "no such field");
	lua_settop(L, 2);
	lua_pushcfunction(L, two);
	lua_setfield(L, 2, "key");
	ok(lua_keyfunction(L, 2, key) == two, "a C function");
	lua_pushinteger(L, 7);
	lua_setfield(L, 2, "key");
	ok(lua_getkey(L, 2, key) == LUA_TNUMBER && lua_keyfunction(L, 2, key) == NULL, "an integer");
	lua_settop(L, 1);
	if (luaL_dostring(L, "return setmetatable({}, {__index = function(_, k) return #k end})") ==
	    LUA_OK)
		ok(lua_getkey(L, 2, key) == LUA_TNUMBER && lua_tointeger(L, -1) == 3,
		   "a metamethod's field");
	lua_settop(L, 0);
}

int
main(void) {
	uint64_t seed = tap_seed();
	lua_State *L = luaL_newstate();
	luaL_openlibs(L);
	test_keys(L);
	test_zeros(L);
	test_metatable(L);
	test_words(L, LUA_GCGEN, &seed);
	test_tables(L, LUA_GCGEN, &seed);
	test_words(L, LUA_GCINC, &seed);
	test_tables(L, LUA_GCINC, &seed);
	lua_close(L);
	return done();
}
