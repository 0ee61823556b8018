/*
 * Encoding: a Lua table becomes a BSON document.
 */
#include "bson.h"

#include "../writer.h"

#include <string.h>

#define FIRST_BUFFER 4096

static void put_table(struct writer *w, int index, bool top, int depth, size_t type_at);

/*
 * ---- the buffer ----
 */

static void
too_large(lua_State *L) {
	luaL_error(L, "bson document is too large (>%d bytes)", BSON_MAX_SIZE);
}

static struct writer
new_writer(lua_State *L, uint8_t *first, int slot) {
	return (struct writer){.L = L,
	                       .buf = first,
	                       .cap = FIRST_BUFFER,
	                       .max = BSON_MAX_SIZE,
	                       .too_large = too_large,
	                       .slot = slot};
}

static inline void
put_bytes(struct writer *w, const void *p, size_t n) {
	memcpy(extend(w, n), p, n);
}

static void
put_real(struct writer *w, double v) {
	uint64_t bits;
	memcpy(&bits, &v, sizeof(bits));
	bson_store64(extend(w, 8), bits);
}

static size_t
document_open(struct writer *w) {
	extend(w, 4);
	return w->len - 4;
}

static void
document_close(struct writer *w, size_t begin) {
	*extend(w, 1) = 0;
	bson_store32(w->buf + begin, (uint32_t)(w->len - begin));
}

/*
 * ---- text ----
 */

/* The length of the UTF-8 sequence at s[0]; 0: invalid. Surrogates pass. */
static size_t
sequence(const uint8_t *s, size_t left) {
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf8 ? 4 : 0;
	if (n == 0 || n > left)
		return 0;
	uint32_t c = s[0] & (0x7f >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	return c >= least[n] && c <= 0x10ffff ? n : 0;
}

static void
check_utf8(lua_State *L, const char *text, size_t len) {
	const uint8_t *s = (const uint8_t *)text;
	while (len > 0) {
		/* eight ASCII bytes at once: most text is that */
		while (len >= 8 && (bson_u64(s) & 0x8080808080808080ULL) == 0) {
			s += 8;
			len -= 8;
		}
		if (len == 0)
			break;
		size_t n = *s < 0x80 ? 1 : sequence(s, len);
		if (n == 0)
			luaL_error(L, "Invalid utf8 string");
		s += n;
		len -= n;
	}
}

static void
put_string(struct writer *w, const char *s, size_t len) {
	check_utf8(w->L, s, len);
	if (len >= BSON_MAX_SIZE)
		luaL_error(w->L, "bson document is too large (>%d bytes)", BSON_MAX_SIZE);
	uint8_t *to = extend(w, len + 5);
	bson_store32(to, (uint32_t)len + 1);
	memcpy(to + 4, s, len);
	to[4 + len] = 0;
}

/*
 * ---- elements: type, name, value. The type is written last, over the byte left for it ----
 */

static size_t
element_key(struct writer *w, const char *key, size_t len) {
	uint8_t *to = extend(w, len + 2);
	size_t at = w->len - len - 2;
	memcpy(to + 1, key, len);
	to[1 + len] = 0;
	return at;
}

static size_t
element_index(struct writer *w, lua_Integer i) {
	char text[24];
	char *p = text + sizeof(text);
	do {
		*--p = (char)('0' + i % 10);
		i /= 10;
	} while (i > 0);
	return element_key(w, p, (size_t)(text + sizeof(text) - p));
}

static void
put_number(struct writer *w, size_t type_at) {
	if (!lua_isinteger(w->L, -1)) {
		w->buf[type_at] = BSON_REAL;
		put_real(w, lua_tonumber(w->L, -1));
		return;
	}
	lua_Integer v = lua_tointeger(w->L, -1);
	if (v == (int32_t)v) {
		w->buf[type_at] = BSON_INT32;
		bson_store32(extend(w, 4), (uint32_t)v);
	} else {
		w->buf[type_at] = BSON_INT64;
		bson_store64(extend(w, 8), (uint64_t)v);
	}
}

static void
put_text(struct writer *w, size_t type_at) {
	size_t len;
	const char *s = lua_tolstring(w->L, -1, &len);
	if (len < 2 || s[0] != 0) {
		w->buf[type_at] = BSON_STRING;
		put_string(w, s, len);
		return;
	}
	uint8_t buffer[8];
	struct bson_value v = bson_special(w->L, s, len, buffer);
	w->buf[type_at] = v.type;
	if (v.type == BSON_BINARY) /* its length doesn't count the subtype */
		bson_store32(extend(w, 4), (uint32_t)v.size - 1);
	put_bytes(w, v.p, v.size);
}

static void
put_embedded(struct writer *w, size_t type_at) {
	size_t have;
	const uint8_t *doc = bson_document(w->L, -1, &have);
	if (doc == NULL)
		luaL_error(w->L, "Invalid value type : %s", luaL_typename(w->L, -1));
	size_t size = bson_check_document(w->L, doc, have);
	w->buf[type_at] = BSON_DOCUMENT;
	put_bytes(w, doc, size);
}

/* The value on top of the stack, for the element whose type goes to `type_at`. */
static void
put_value(struct writer *w, size_t type_at, int depth) {
	lua_State *L = w->L;
	switch (lua_type(L, -1)) {
	case LUA_TNUMBER:
		put_number(w, type_at);
		break;
	case LUA_TSTRING:
		put_text(w, type_at);
		break;
	case LUA_TBOOLEAN:
		w->buf[type_at] = BSON_BOOLEAN;
		*extend(w, 1) = (uint8_t)lua_toboolean(L, -1);
		break;
	case LUA_TTABLE:
		if (depth >= BSON_ENCODE_DEPTH)
			luaL_error(L, "Too depth while encoding bson");
		put_table(w, lua_gettop(L), false, depth + 1, type_at);
		break;
	case LUA_TUSERDATA:
	case LUA_TLIGHTUSERDATA:
		put_embedded(w, type_at);
		break;
	case LUA_TNIL:
		luaL_error(L, "Bson array has a hole (nil), Use bson.null instead");
		break;
	default:
		luaL_error(L, "Invalid value type : %s", luaL_typename(L, -1));
	}
}

/*
 * ---- tables ----
 */

/* The key below the value on top, and the value, as an element of a document. */
static void
put_pair(struct writer *w, int depth) {
	lua_State *L = w->L;
	int type = lua_type(L, -2);
	if (type == LUA_TNUMBER)
		luaL_error(L, "Bson dictionary's key can't be number");
	if (type != LUA_TSTRING)
		luaL_error(L, "Invalid key type : %s", lua_typename(L, type));
	size_t len;
	const char *key = lua_tolstring(L, -2, &len);
	check_utf8(L, key, len);
	if (memchr(key, 0, len))
		luaL_error(L, "Invalid key : \"%s\" and more, it contains a zero byte", key);
	put_value(w, element_key(w, key, len), depth);
}

static void
put_raw_pairs(struct writer *w, int index, int depth) {
	lua_State *L = w->L;
	lua_pushnil(L);
	while (lua_next(L, index)) {
		put_pair(w, depth);
		lua_pop(L, 1);
	}
}

/* The metamethod __pairs is on top. */
static void
put_meta_pairs(struct writer *w, int index, int depth) {
	lua_State *L = w->L;
	lua_pushvalue(L, index);
	lua_call(L, 1, 3);
	int control = lua_gettop(L);
	for (;;) {
		lua_pushvalue(L, control - 2);
		lua_pushvalue(L, control - 1);
		lua_pushvalue(L, control);
		lua_call(L, 2, 2);
		if (lua_isnil(L, -2))
			break;
		put_pair(w, depth);
		lua_pop(L, 1);
		lua_replace(L, control);
	}
	lua_settop(L, control - 3);
}

static void
put_list(struct writer *w, int index, lua_Integer n, int depth) {
	lua_State *L = w->L;
	for (lua_Integer i = 0; i < n; i++) {
		size_t type_at = element_index(w, i);
		lua_geti(L, index, i + 1);
		put_value(w, type_at, depth);
		lua_pop(L, 1);
	}
}

/* The metamethod __len is on top. */
static lua_Integer
meta_length(lua_State *L, int index) {
	lua_pushvalue(L, index);
	lua_call(L, 1, 1);
	if (!lua_isinteger(L, -1))
		luaL_error(L, "__len should return integer");
	lua_Integer n = lua_tointeger(L, -1);
	lua_pop(L, 1);
	return n;
}

/* The length of a raw table that looks like an array; 0: it doesn't. */
static lua_Integer
raw_length(lua_State *L, int index) {
	lua_Integer n = (lua_Integer)lua_rawlen(L, index), result = 0;
	lua_pushnil(L);
	if (!lua_next(L, index))
		return 0;
	if (lua_isinteger(L, -2)) {
		lua_Integer first = lua_tointeger(L, -2);
		if (first == 1 || (first > 0 && first <= n))
			result = n;
	}
	lua_pop(L, 2);
	return result;
}

/* A document, or an array if it looks like one and isn't the top; its type goes to `type_at`. */
static void
put_table(struct writer *w, int index, bool top, int depth, size_t type_at) {
	lua_State *L = w->L;
	luaL_checkstack(L, 16, "bson.encode");
	lua_Integer n = 0;
	bool array = false;
	if (!top && luaL_getmetafield(L, index, "__len") != LUA_TNIL) {
		n = meta_length(L, index);
		array = true;
	}
	bool pairs = !array && luaL_getmetafield(L, index, "__pairs") != LUA_TNIL;
	if (!top && !array && !pairs) {
		n = raw_length(L, index);
		array = n > 0;
	}
	if (!top)
		w->buf[type_at] = array ? BSON_ARRAY : BSON_DOCUMENT;
	size_t begin = document_open(w);
	if (array)
		put_list(w, index, n, depth);
	else if (pairs)
		put_meta_pairs(w, index, depth);
	else
		put_raw_pairs(w, index, depth);
	document_close(w, begin);
}

/*
 * ---- the module's functions ----
 */

/* Push the userdata with what was written. */
static int
finish(struct writer *w) {
	void *doc = lua_newuserdatauv(w->L, w->len, 1);
	memcpy(doc, w->buf, w->len);
	luaL_setmetatable(w->L, BSON_METATABLE);
	return 1;
}

int
bson_lencode(lua_State *L) {
	uint8_t first[FIRST_BUFFER];
	struct writer w = new_writer(L, first, 2);
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 2);
	put_table(&w, 1, true, 0, 0);
	return finish(&w);
}

/* The key at stack index `i` as text; a number is converted. */
static const char *
order_key(lua_State *L, int i, size_t *len) {
	int type = lua_type(L, i);
	if (type != LUA_TSTRING && type != LUA_TNUMBER)
		luaL_error(L, "Argument %d need a string", i);
	const char *key = lua_tolstring(L, i, len);
	check_utf8(L, key, *len);
	if (memchr(key, 0, *len))
		luaL_error(L, "Invalid key : \"%s\" and more, it contains a zero byte", key);
	return key;
}

int
bson_lencode_order(lua_State *L) {
	uint8_t first[FIRST_BUFFER];
	int n = lua_gettop(L);
	struct writer w = new_writer(L, first, n + 1);
	if (n % 2 != 0)
		return luaL_error(L, "Invalid ordered dict");
	luaL_checkstack(L, 8, "bson.encode_order");
	lua_pushnil(L); /* the writer's */
	size_t begin = document_open(&w);
	for (int i = 1; i < n; i += 2) {
		size_t len;
		const char *key = order_key(L, i, &len);
		size_t type_at = element_key(&w, key, len);
		lua_pushvalue(L, i + 1);
		put_value(&w, type_at, 0);
		lua_pop(L, 1);
	}
	document_close(&w, begin);
	return finish(&w);
}
