/*
 * Encoding: a Lua value, read field by field, becomes the bytes of a struct.
 *
 * A struct's field words come before its data, and their number is known last: the encoder
 * leaves room for the most there can be, and closes the gap at the end.
 */
#include "lsproto.h"

#include "../writer.h"

#include <math.h>
#include <string.h>

#define FIRST_BUFFER 4096
/* of the buffer: with room for unused field words; the message is measured at the end */
#define MAX_BUFFER (SPROTO_MAX_SIZE + 0x400000)

static void encode_struct(struct writer *w, const struct sproto_type *t, int names, int index,
                          int depth);

/*
 * ---- the buffer ----
 */

static void
too_large(lua_State *L) {
	luaL_error(L, "object is too large (>%d)", SPROTO_MAX_SIZE);
}

static inline void
store16(uint8_t *p, unsigned v) {
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void
store32(uint8_t *p, uint32_t v) {
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}

static inline void
store_number(uint8_t *p, uint64_t v, size_t width) {
	store32(p, (uint32_t)v);
	if (width == 8)
		store32(p + 4, (uint32_t)(v >> 32));
}

/* A data item: its length goes where item_open has left room. */
static inline size_t
item_open(struct writer *w) {
	extend(w, 4);
	return w->len;
}

static inline void
item_close(struct writer *w, size_t begin) {
	store32(w->buf + begin - 4, (uint32_t)(w->len - begin));
}

static void
put_bytes(struct writer *w, const void *p, size_t n) {
	if (n > SPROTO_MAX_SIZE)
		too_large(w->L);
	uint8_t *to = extend(w, n + 4);
	store32(to, (uint32_t)n);
	memcpy(to + 4, p, n);
}

static void
put_number(struct writer *w, uint64_t bits, size_t width) {
	uint8_t *to = extend(w, 4 + width);
	store32(to, (uint32_t)width);
	store_number(to + 4, bits, width);
}

/* The field word of an integer; 0 when it went to the data. */
static unsigned
put_integer(struct writer *w, int64_t v) {
	if (v >= 0 && v <= SPROTO_MAX_TAG)
		return (unsigned)(v + 1) * 2;
	put_number(w, (uint64_t)v, v == (int32_t)v ? 4 : 8);
	return 0;
}

/*
 * ---- one Lua value, on top of the stack; `i` is its position in an array, or 0 ----
 */

/* The place where a value was found, for errors. */
struct place {
	const struct sproto_type *type;
	const struct sproto_field *field;
	lua_Integer i;
};

static void
wrong_value(lua_State *L, const struct place *at, const char *wanted) {
	lua_pushlstring(L, at->type->name.s, at->type->name.len);
	lua_pushlstring(L, at->field->name.s, at->field->name.len);
	luaL_error(L, "%s.%s[%I] is not %s (Is a %s)", lua_tostring(L, -2), lua_tostring(L, -1),
	           (LUAI_UACINT)at->i, wanted, luaL_typename(L, -3));
}

static int64_t
decimal_value(lua_State *L, const struct place *at) {
	double v = round(lua_tonumber(L, -1) * at->field->scale);
	if (!(v >= -0x1p63 && v < 0x1p63))
		wrong_value(L, at, "in the range of its decimals");
	return (int64_t)v;
}

static int64_t
integer_value(lua_State *L, const struct place *at) {
	int ok;
	if (at->field->kind == SPROTO_DECIMAL)
		return decimal_value(L, at);
	lua_Integer v = lua_tointegerx(L, -1, &ok);
	if (!ok)
		wrong_value(L, at, "an integer");
	return v;
}

static uint64_t
double_bits(lua_State *L) {
	double v = lua_tonumber(L, -1);
	uint64_t bits;
	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

static int
boolean_value(lua_State *L, const struct place *at) {
	if (!lua_isboolean(L, -1))
		wrong_value(L, at, "a boolean");
	return lua_toboolean(L, -1);
}

static void
put_string(struct writer *w, const struct place *at) {
	size_t len;
	if (lua_type(w->L, -1) != LUA_TSTRING)
		wrong_value(w->L, at, "a string");
	const char *s = lua_tolstring(w->L, -1, &len);
	put_bytes(w, s, len);
}

/* The names of the struct's type are at stack index `names`, or not yet on the stack: 0. */
static void
put_struct(struct writer *w, const struct sproto_type *t, int names, int depth) {
	int value = lua_gettop(w->L);
	if (names == 0) {
		lsproto_names(w->L, t);
		names = value + 1;
	}
	size_t begin = item_open(w);
	encode_struct(w, t, names, value, depth + 1);
	item_close(w, begin);
	lua_settop(w->L, value);
}

/* The field word of a value that isn't an array; 0 when it went to the data. */
static unsigned
encode_scalar(struct writer *w, const struct place *at, int depth) {
	switch (at->field->kind) {
	case SPROTO_INTEGER:
	case SPROTO_DECIMAL:
		return put_integer(w, integer_value(w->L, at));
	case SPROTO_BOOLEAN:
		return boolean_value(w->L, at) ? 4 : 2;
	case SPROTO_DOUBLE:
		put_number(w, double_bits(w->L), 8);
		return 0;
	case SPROTO_STRING:
		put_string(w, at);
		return 0;
	default:
		put_struct(w, at->field->sub, 0, depth);
		return 0;
	}
}

/*
 * ---- structs: the words ----
 */

struct words {
	size_t begin; /* of the struct, in the buffer */
	size_t count;
	int last; /* tag of the last field written */
};

static void
words_open(struct writer *w, struct words *s, size_t most) {
	*s = (struct words){.begin = w->len, .last = -1};
	extend(w, 2 + most * 2);
}

static inline void
words_put(struct writer *w, struct words *s, int tag, unsigned word) {
	uint8_t *p = w->buf + s->begin + 2 + s->count * 2;
	int gap = tag - s->last - 1;
	if (gap > 0) {
		store16(p, (unsigned)(gap - 1) * 2 + 1);
		p += 2;
		s->count++;
	}
	store16(p, word);
	s->count++;
	s->last = tag;
}

static void
words_close(struct writer *w, struct words *s, size_t most) {
	uint8_t *p = w->buf + s->begin;
	size_t room = 2 + most * 2, used = 2 + s->count * 2;
	store16(p, (unsigned)s->count);
	if (used < room) {
		memmove(p + used, p + room, w->len - s->begin - room);
		w->len -= room - used;
	}
}

/*
 * ---- arrays ----
 */

static void put_field(struct writer *w, struct words *s, struct place *at, int depth);

/* The elements so far become 8 bytes wide, from the last to the first. */
static void
widen(struct writer *w, size_t begin, size_t n) {
	extend(w, n * 4);
	uint8_t *p = w->buf + begin;
	p[0] = 8;
	for (size_t i = n; i-- > 0;)
		store_number(p + 1 + i * 8, (uint64_t)(int64_t)(int32_t)sproto_u32(p + 1 + i * 4), 8);
}

static void
encode_numbers(struct writer *w, struct place *at, int array) {
	lua_State *L = w->L;
	size_t begin = w->len;
	bool real = at->field->kind == SPROTO_DOUBLE;
	size_t width = real ? 8 : 4;
	for (at->i = 1; lua_geti(L, array, at->i) != LUA_TNIL; at->i++) {
		uint64_t v = real ? double_bits(L) : (uint64_t)integer_value(L, at);
		lua_pop(L, 1);
		if (at->i == 1)
			*extend(w, 1) = (uint8_t)width;
		if (width == 4 && (int64_t)v != (int32_t)v) {
			widen(w, begin, (size_t)at->i - 1);
			width = 8;
		}
		store_number(extend(w, width), v, width);
	}
	lua_pop(L, 1);
}

static void
encode_list(struct writer *w, struct place *at, int array, int depth) {
	lua_State *L = w->L;
	const struct sproto_field *f = at->field;
	int names = 0;
	if (f->kind == SPROTO_STRUCT) {
		lsproto_names(L, f->sub);
		names = lua_gettop(L);
	}
	for (at->i = 1; lua_geti(L, array, at->i) != LUA_TNIL; at->i++) {
		if (f->kind == SPROTO_BOOLEAN)
			*extend(w, 1) = (uint8_t)boolean_value(L, at);
		else if (f->kind == SPROTO_STRING)
			put_string(w, at);
		else
			put_struct(w, f->sub, names, depth);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

/* One entry of a map: its key and value are the top of the stack. */
static void
encode_entry(struct writer *w, const struct sproto_field *f, int depth) {
	lua_State *L = w->L;
	const struct sproto_type *t = f->sub;
	struct words s;
	if (depth >= SPROTO_MAX_DEPTH)
		luaL_error(L, "The table is too deep");
	luaL_checkstack(L, 16, "sproto.encode");
	size_t begin = item_open(w);
	words_open(w, &s, t->words);
	for (size_t i = 0; i < 2; i++) {
		struct place at = {t, &t->fields[i], 0};
		lua_pushvalue(L, at.field == f->key ? -2 : -1);
		put_field(w, &s, &at, depth + 1);
		lua_pop(L, 1);
	}
	words_close(w, &s, t->words);
	item_close(w, begin);
}

/* An array with main index, or a map: whatever the iterator gives, in its order. */
static void
encode_pairs(struct writer *w, const struct sproto_field *f, int array, int depth) {
	lua_State *L = w->L;
	bool raw = luaL_getmetafield(L, array, "__pairs") == LUA_TNIL;
	if (raw) {
		lua_pushnil(L);
	} else {
		lua_pushvalue(L, array);
		lua_call(L, 1, 3);
	}
	int base = lua_gettop(L); /* the key; below it, unless raw, iterator and state */
	for (;;) {
		if (raw) {
			if (!lua_next(L, array))
				break;
		} else {
			lua_pushvalue(L, base - 2);
			lua_pushvalue(L, base - 1);
			lua_pushvalue(L, base);
			lua_call(L, 2, 2);
			if (lua_isnil(L, -2))
				break;
			lua_pushvalue(L, -2);
			lua_replace(L, base);
		}
		if (f->map)
			encode_entry(w, f, depth);
		else
			put_struct(w, f->sub, 0, depth);
		lua_settop(L, base);
	}
	lua_settop(L, array);
}

static void
check_array(lua_State *L, const struct place *at) {
	if (lua_istable(L, -1))
		return;
	if (luaL_getmetafield(L, -1, "__pairs") != LUA_TNIL) {
		lua_pop(L, 1);
		return;
	}
	lua_pushlstring(L, at->type->name.s, at->type->name.len);
	lua_pushlstring(L, at->field->name.s, at->field->name.len);
	luaL_error(L, "%s.%s(1) should be a table or an userdata with metamethods (Is a %s)",
	           lua_tostring(L, -2), lua_tostring(L, -1), luaL_typename(L, -3));
}

static void
encode_array(struct writer *w, struct place *at, int depth) {
	int array = lua_gettop(w->L);
	check_array(w->L, at);
	size_t begin = item_open(w);
	switch (at->field->kind) {
	case SPROTO_INTEGER:
	case SPROTO_DECIMAL:
	case SPROTO_DOUBLE:
		encode_numbers(w, at, array);
		break;
	default:
		if (at->field->key)
			encode_pairs(w, at->field, array, depth);
		else
			encode_list(w, at, array, depth);
		lua_settop(w->L, array);
	}
	item_close(w, begin);
}

/*
 * ---- the whole ----
 */

/* The value on top, which isn't nil, as a field of the struct whose words `s` are. */
static void
put_field(struct writer *w, struct words *s, struct place *at, int depth) {
	unsigned word = 0;
	if (at->field->array)
		encode_array(w, at, depth);
	else
		word = encode_scalar(w, at, depth);
	words_put(w, s, at->field->tag, word);
}

/* Encode the struct at stack index `index`, as the depth-th level from 0. */
static void
encode_struct(struct writer *w, const struct sproto_type *t, int names, int index, int depth) {
	lua_State *L = w->L;
	struct words s;
	if (depth >= SPROTO_MAX_DEPTH)
		luaL_error(L, "The table is too deep");
	luaL_checkstack(L, 16, "sproto.encode");
	words_open(w, &s, t->words);
	for (size_t i = 0; i < t->count; i++) {
		struct place at = {t, &t->fields[i], 0};
		lua_rawgeti(L, names, (lua_Integer)i + 1);
		if (lua_gettable(L, index) != LUA_TNIL)
			put_field(w, &s, &at, depth);
		lua_pop(L, 1);
	}
	words_close(w, &s, t->words);
}

void
lsproto_encode(lua_State *L, const struct sproto_type *t, int names, int index) {
	uint8_t first[FIRST_BUFFER];
	struct writer w = {
		.L = L, .buf = first, .cap = sizeof(first), .max = MAX_BUFFER, .too_large = too_large};
	luaL_checkstack(L, 4, "sproto.encode");
	lua_pushnil(L);
	w.slot = lua_gettop(L);
	encode_struct(&w, t, names, index, 0);
	if (w.len > SPROTO_MAX_SIZE)
		too_large(L);
	lua_pushlstring(L, (const char *)w.buf, w.len);
}
