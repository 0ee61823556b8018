/*
 * Decoding: the bytes of a struct become fields of a Lua table.
 *
 * The bytes come from a network. Each length is checked against what is left, structs nest to a
 * limit, and a table is created no larger than the bytes there are can fill.
 */
#include "lsproto.h"

#include <stdio.h>
#include <string.h>

static size_t decode_struct(lua_State *L, const struct sproto_type *t, int names, int table,
                            const uint8_t *p, size_t size, int depth);

static void
malformed(lua_State *L) {
	luaL_error(L, "decode error");
}

/* Length of the item at `p`, which is whole within `left` bytes, its own 4 included. */
static inline size_t
item_length(lua_State *L, const uint8_t *p, size_t left) {
	if (left < 4)
		malformed(L);
	size_t len = sproto_u32(p);
	if (len > left - 4)
		malformed(L);
	return len;
}

static inline int64_t
load_integer(const uint8_t *p, size_t width) {
	return width == 8 ? (int64_t)sproto_u64(p) : (int32_t)sproto_u32(p);
}

/* Push a number, made from the integer on the wire. */
static inline void
push_number(lua_State *L, const struct sproto_field *f, int64_t v) {
	if (f->kind == SPROTO_INTEGER) {
		lua_pushinteger(L, v);
	} else if (f->kind == SPROTO_DECIMAL) {
		lua_pushnumber(L, (double)v / f->scale);
	} else {
		double d;
		memcpy(&d, &v, sizeof(d));
		lua_pushnumber(L, d);
	}
}

/* A value that is in the field word itself. */
static void
push_small(lua_State *L, const struct sproto_field *f, int v) {
	if (f->array)
		malformed(L);
	switch (f->kind) {
	case SPROTO_INTEGER:
	case SPROTO_DECIMAL:
		push_number(L, f, v);
		break;
	case SPROTO_BOOLEAN:
		lua_pushboolean(L, v);
		break;
	default:
		malformed(L);
	}
}

int
lsproto_expected_fields(const struct sproto_type *t, const uint8_t *p, size_t size) {
	size_t words = size < 2 ? 0 : sproto_u16(p);
	if (words > size / 2)
		words = size / 2;
	return (int)(words < t->count ? words : t->count);
}

/* Push a new table made from a struct that fills its item. The names are at `names`. */
static void
push_struct(lua_State *L, const struct sproto_type *t, int names, const uint8_t *p, size_t size,
            int depth) {
	lua_createtable(L, 0, lsproto_expected_fields(t, p, size));
	if (decode_struct(L, t, names, lua_gettop(L), p, size, depth) != size)
		malformed(L);
}

static void
push_data(lua_State *L, const struct sproto_field *f, const uint8_t *p, size_t len, int depth) {
	switch (f->kind) {
	case SPROTO_STRING:
		lua_pushlstring(L, (const char *)p, len);
		break;
	case SPROTO_STRUCT:
		lsproto_names(L, f->sub);
		push_struct(L, f->sub, lua_gettop(L), p, len, depth + 1);
		lua_remove(L, -2);
		break;
	case SPROTO_INTEGER:
	case SPROTO_DECIMAL:
	case SPROTO_DOUBLE:
		if (len != 8 && (len != 4 || f->kind == SPROTO_DOUBLE))
			malformed(L);
		push_number(L, f, load_integer(p, len));
		break;
	default:
		malformed(L);
	}
}

/*
 * ---- arrays: each pushes one table ----
 */

static void
push_numbers(lua_State *L, const struct sproto_field *f, const uint8_t *p, size_t len) {
	size_t width = *p++;
	len--;
	if ((width != 4 && width != 8) || len % width != 0)
		malformed(L);
	size_t n = len / width;
	if (n > INT32_MAX)
		malformed(L);
	lua_createtable(L, (int)n, 0);
	for (size_t i = 0; i < n; i++, p += width) {
		push_number(L, f, load_integer(p, width));
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
}

static void
push_booleans(lua_State *L, const uint8_t *p, size_t len) {
	if (len > INT32_MAX)
		malformed(L);
	lua_createtable(L, (int)len, 0);
	for (size_t i = 0; i < len; i++) {
		lua_pushboolean(L, p[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
}

/* The number of elements, all of which are then known to be within the item. */
static int
count_items(lua_State *L, const uint8_t *p, size_t len) {
	size_t n = 0;
	for (size_t at = 0; at < len; n++)
		at += 4 + item_length(L, p + at, len - at);
	if (n > INT32_MAX)
		malformed(L);
	return (int)n;
}

/* Strings, or structs in a list. */
static void
push_list(lua_State *L, const struct sproto_field *f, const uint8_t *p, size_t len, int depth) {
	int n = count_items(L, p, len);
	lua_createtable(L, n, 0);
	int table = lua_gettop(L), names = table + 1;
	if (f->kind == SPROTO_STRUCT)
		lsproto_names(L, f->sub);
	for (int i = 1; i <= n; i++) {
		size_t size = sproto_u32(p);
		p += 4;
		if (f->kind == SPROTO_STRING)
			lua_pushlstring(L, (const char *)p, size);
		else
			push_struct(L, f->sub, names, p, size, depth + 1);
		lua_rawseti(L, table, i);
		p += size;
	}
	lua_settop(L, table);
}

static void
lacking(lua_State *L, const char *what, const struct sproto_field *f) {
	lua_pushlstring(L, f->name.s, f->name.len);
	luaL_error(L, "Can't find %s in [%s]", what, lua_tostring(L, -1));
}

/* Push the value that the table on top has for a field of its type; nil is an error. */
static void
push_member(lua_State *L, int names, const struct sproto_field *f,
            const struct sproto_field *member, const char *what) {
	lua_rawgeti(L, names, member - f->sub->fields + 1);
	if (lua_rawget(L, -2) != LUA_TNIL)
		return;
	lacking(L, what, f);
}

/* Structs that are keyed by one of their fields, or entries of a map. */
static void
push_keyed(lua_State *L, const struct sproto_field *f, const uint8_t *p, size_t len, int depth) {
	int n = count_items(L, p, len);
	char index[48];
	snprintf(index, sizeof(index), "main index (tag=%d)", f->key->tag);
	lua_createtable(L, 0, n);
	int table = lua_gettop(L), names = table + 1;
	lsproto_names(L, f->sub);
	for (int i = 0; i < n; i++) {
		size_t size = sproto_u32(p);
		p += 4;
		push_struct(L, f->sub, names, p, size, depth + 1);
		push_member(L, names, f, f->key, f->map ? "key field" : index);
		if (f->map) {
			lua_insert(L, -2); /* key, entry */
			push_member(L, names, f, f->item, "value field");
			lua_remove(L, -2);
		} else {
			lua_insert(L, -2);
		}
		lua_rawset(L, table);
		p += size;
	}
	lua_settop(L, table);
}

static void
push_array(lua_State *L, const struct sproto_field *f, const uint8_t *p, size_t len, int depth) {
	if (len == 0) {
		lua_newtable(L);
		return;
	}
	switch (f->kind) {
	case SPROTO_INTEGER:
	case SPROTO_DECIMAL:
	case SPROTO_DOUBLE:
		push_numbers(L, f, p, len);
		break;
	case SPROTO_BOOLEAN:
		push_booleans(L, p, len);
		break;
	default:
		if (f->key)
			push_keyed(L, f, p, len, depth);
		else
			push_list(L, f, p, len, depth);
	}
}

/*
 * ---- the whole ----
 */

/* The field of a tag, looking on from *next: tags ascend both in the struct and in the type. */
static inline const struct sproto_field *
next_field(const struct sproto_type *t, size_t *next, int tag) {
	while (*next < t->count && t->fields[*next].tag < tag)
		++*next;
	if (*next == t->count || t->fields[*next].tag != tag)
		return NULL;
	return &t->fields[*next];
}

static size_t
decode_struct(lua_State *L, const struct sproto_type *t, int names, int table, const uint8_t *p,
              size_t size, int depth) {
	if (depth >= SPROTO_MAX_DEPTH)
		luaL_error(L, "The table is too deep");
	luaL_checkstack(L, 12, "sproto.decode");
	if (size < 2)
		malformed(L);
	size_t words = sproto_u16(p), used = 2 + words * 2, next = 0;
	if (used > size)
		malformed(L);
	int tag = -1;
	for (size_t i = 0; i < words; i++) {
		unsigned w = sproto_u16(p + 2 + i * 2);
		if (w & 1) {
			tag += (int)(w + 1) / 2;
			continue;
		}
		const struct sproto_field *f = next_field(t, &next, ++tag);
		size_t len = w ? 0 : item_length(L, p + used, size - used);
		if (f) {
			lua_rawgeti(L, names, (lua_Integer)next + 1);
			if (w)
				push_small(L, f, (int)w / 2 - 1);
			else if (f->array)
				push_array(L, f, p + used + 4, len, depth);
			else
				push_data(L, f, p + used + 4, len, depth);
			lua_settable(L, table);
		}
		if (w == 0)
			used += 4 + len;
	}
	return used;
}

size_t
lsproto_decode(lua_State *L, const struct sproto_type *t, int names, int table,
               const uint8_t *data, size_t size) {
	return decode_struct(L, t, names, table, data, size, 0);
}
