/*
 * Decoding: BSON documents become tables; and the index for changes in place.
 *
 * The bytes come from a network. Each length is checked against what is left, documents nest to
 * a limit, and a table is created for the number of elements that are really there.
 */
#include "bson.h"
#include "../block.h"

#include <string.h>

/*
 * ---- walking over documents ----
 */

/* Bytes of a zero-terminated text, the zero included; 0: there's no end. */
static size_t
cstring_size(const uint8_t *p, size_t left) {
	const uint8_t *end = memchr(p, 0, left);
	return end ? (size_t)(end - p) + 1 : 0;
}

/* Bytes of an int32 length, that many bytes, and the `extra` ones behind them. */
static bool
counted(const uint8_t *p, size_t left, size_t extra, size_t *size) {
	if (left < 4 + extra || bson_u32(p) > left - 4 - extra)
		return false;
	*size = 4 + bson_u32(p) + extra;
	return true;
}

static bool
string_size(const uint8_t *p, size_t left, size_t extra, size_t *size, const char **error,
            int *number) {
	*error = "Invalid bson string , length = %d";
	*number = left < 4 ? 0 : (int)bson_u32(p);
	return *number > 0 && counted(p, left, extra, size) && p[3 + *number] == 0;
}

static bool
document_size(const uint8_t *p, size_t left, size_t *size, const char **error, int *number) {
	*size = left < 4 ? 0 : bson_u32(p);
	*error = "Invalid document end";
	*number = 0;
	return *size >= BSON_EMPTY && *size <= left && p[*size - 1] == 0;
}

static bool
regex_size(const uint8_t *p, size_t left, size_t *size, const char **error) {
	size_t pattern = cstring_size(p, left);
	size_t options = pattern ? cstring_size(p + pattern, left - pattern) : 0;
	*error = "Invalid bson block : cstring";
	*size = pattern + options;
	return options > 0;
}

bool
bson_value_size(uint8_t type, const uint8_t *p, size_t left, size_t *size, const char **error,
                int *number) {
	*error = "Invalid bson block : value is cut off, type = %d";
	*number = type;
	switch (type) {
	case BSON_NULL:
	case BSON_MINKEY:
	case BSON_MAXKEY:
		*size = 0;
		return true;
	case BSON_BOOLEAN:
		*size = 1;
		break;
	case BSON_INT32:
		*size = 4;
		break;
	case BSON_REAL:
	case BSON_DATE:
	case BSON_TIMESTAMP:
	case BSON_INT64:
		*size = 8;
		break;
	case BSON_OBJECTID:
		*size = 12;
		break;
	case BSON_BINARY:
		if (!counted(p, left, 1, size))
			return false;
		break;
	case BSON_STRING:
	case BSON_JSCODE:
	case BSON_SYMBOL:
		return string_size(p, left, 0, size, error, number);
	case BSON_DBPOINTER:
		return string_size(p, left, 12, size, error, number);
	case BSON_DOCUMENT:
	case BSON_ARRAY:
		return document_size(p, left, size, error, number);
	case BSON_CODEWS:
		*size = left < 4 ? 0 : bson_u32(p);
		return *size >= 4 && *size <= left;
	case BSON_REGEX:
		return regex_size(p, left, size, error);
	default:
		*error = "Invalid bson type : %d";
		return false;
	}
	return *size <= left;
}

size_t
bson_check_document(lua_State *L, const uint8_t *p, size_t have) {
	if (have < 4)
		luaL_error(L, "Invalid bson block (%d:%d)", (int)have, 4);
	size_t need = bson_u32(p);
	if (need < BSON_EMPTY || need > have || need > BSON_MAX_SIZE)
		luaL_error(L, "Invalid bson block (%I:%d)", (LUAI_UACINT)(have < PTRDIFF_MAX ? have : 0),
		           (int)need);
	if (p[need - 1] != 0)
		luaL_error(L, "Invalid document end");
	return need;
}

bool
bson_next(lua_State *L, const uint8_t *doc, size_t size, size_t *at, const char **name,
          size_t *name_len, struct bson_value *value) {
	size_t i = *at ? *at : 4, end = size - 1;
	if (i == end)
		return false;
	const char *error;
	int number;
	value->type = doc[i++];
	/* the document's last byte is a zero, so a name ends there at the latest */
	size_t len = strlen((const char *)doc + i);
	if (i + len >= end)
		luaL_error(L, "Invalid bson block : cstring");
	*name = (const char *)doc + i;
	*name_len = len;
	i += len + 1;
	value->p = doc + i;
	if (!bson_value_size(value->type, value->p, end - i, &value->size, &error, &number))
		luaL_error(L, error, number);
	*at = i + value->size;
	return true;
}

/*
 * ---- values ----
 */

static void push_document(lua_State *L, const uint8_t *doc, size_t size, bool array, int depth);

static void
push_value(lua_State *L, const struct bson_value *v, int depth) {
	switch (v->type) {
	case BSON_REAL: {
		uint64_t bits = bson_u64(v->p);
		double d;
		memcpy(&d, &bits, sizeof(d));
		lua_pushnumber(L, d);
		break;
	}
	case BSON_INT32:
		lua_pushinteger(L, (int32_t)bson_u32(v->p));
		break;
	case BSON_INT64:
		lua_pushinteger(L, (lua_Integer)bson_u64(v->p));
		break;
	case BSON_BOOLEAN:
		lua_pushboolean(L, *v->p);
		break;
	case BSON_STRING:
		lua_pushlstring(L, (const char *)v->p + 4, v->size - 5);
		break;
	case BSON_DOCUMENT:
	case BSON_ARRAY:
		push_document(L, v->p, v->size, v->type == BSON_ARRAY, depth + 1);
		break;
	default:
		bson_push_special(L, v);
	}
}

/* The number that an array element is named; its position for any other text. */
static lua_Integer
element_index(const char *name, size_t len, lua_Integer position) {
	lua_Integer i = 0;
	if (len == 0 || len > 9)
		return position;
	for (size_t k = 0; k < len; k++) {
		if (name[k] < '0' || name[k] > '9')
			return position;
		i = i * 10 + (name[k] - '0');
	}
	return i;
}

static void
push_document(lua_State *L, const uint8_t *doc, size_t size, bool array, int depth) {
	if (depth > BSON_DECODE_DEPTH)
		luaL_error(L, "Too depth while decoding bson");
	luaL_checkstack(L, 8, "bson.decode");
	const char *name;
	size_t len, at = 0;
	struct bson_value v;
	int n = 0;
	while (bson_next(L, doc, size, &at, &name, &len, &v))
		n++;
	lua_createtable(L, array ? n : 0, array ? 0 : n);
	at = 0;
	for (lua_Integer i = 0; bson_next(L, doc, size, &at, &name, &len, &v); i++) {
		if (array) {
			push_value(L, &v, depth);
			lua_rawseti(L, -2, element_index(name, len, i) + 1);
		} else {
			lua_pushlstring(L, name, len);
			push_value(L, &v, depth);
			lua_rawset(L, -3);
		}
	}
}

/*
 * ---- the module's functions ----
 */

const uint8_t *
bson_document(lua_State *L, int index, size_t *size) {
	void *p = luaL_testudata(L, index, BSON_METATABLE);
	*size = PTRDIFF_MAX;
	if (p)
		*size = lua_rawlen(L, index);
	else if (lua_islightuserdata(L, index))
		p = check_pointer(L, index);
	return p;
}

/* A second argument says how many bytes are at a light userdata. */
int
bson_ldecode(lua_State *L) {
	size_t have;
	const uint8_t *doc = bson_document(L, 1, &have);
	if (doc == NULL)
		return 0;
	if (lua_islightuserdata(L, 1) && !lua_isnoneornil(L, 2)) {
		lua_Integer n = luaL_checkinteger(L, 2);
		have = n < 0 ? 0 : (size_t)n;
	}
	push_document(L, doc, bson_check_document(L, doc, have), false, 0);
	return 1;
}

/* The index of a document is its user value: name -> offset * 256 + type. */
int
bson_lmakeindex(lua_State *L) {
	const uint8_t *doc = luaL_checkudata(L, 1, BSON_METATABLE);
	size_t size = bson_check_document(L, doc, lua_rawlen(L, 1)), at = 0, len;
	const char *name;
	struct bson_value v;
	lua_newtable(L);
	while (bson_next(L, doc, size, &at, &name, &len, &v)) {
		switch (v.type) {
		case BSON_REAL:
		case BSON_BOOLEAN:
		case BSON_OBJECTID:
		case BSON_DATE:
		case BSON_TIMESTAMP:
		case BSON_INT32:
		case BSON_INT64:
			lua_pushlstring(L, name, len);
			lua_pushinteger(L, (lua_Integer)(v.p - doc) * 256 + v.type);
			lua_rawset(L, -3);
		}
	}
	lua_setiuservalue(L, 1, 1);
	lua_settop(L, 1);
	return 1;
}

static lua_Integer
check_integer(lua_State *L, int bits) {
	int ok;
	lua_Integer v = lua_tointegerx(L, 3, &ok);
	if (!ok || lua_type(L, 3) != LUA_TNUMBER)
		luaL_error(L, "%f must be a %dbit integer ", (LUAI_UACNUMBER)lua_tonumber(L, 3), bits);
	return v;
}

static void
update_special(lua_State *L, uint8_t *p, int type) {
	size_t len = 0;
	uint8_t buffer[8];
	const char *s = lua_type(L, 3) == LUA_TSTRING ? lua_tolstring(L, 3, &len) : NULL;
	if (len < 2 || s[0] != 0 || (uint8_t)s[1] != type)
		luaL_error(L, "Type mismatch, need bson type %d", type);
	struct bson_value v = bson_special(L, s, len, buffer);
	memcpy(p, v.p, v.size);
}

/* __newindex: overwrite a value in place. */
int
bson_lupdate(lua_State *L) {
	uint8_t *doc = luaL_checkudata(L, 1, BSON_METATABLE);
	if (lua_getiuservalue(L, 1, 1) != LUA_TTABLE)
		return luaL_error(L, "call makeindex first");
	lua_pushvalue(L, 2);
	if (lua_rawget(L, -2) != LUA_TNUMBER)
		return luaL_error(L, "Can't replace key : %s", luaL_tolstring(L, 2, NULL));
	lua_Integer where = lua_tointeger(L, -1);
	uint8_t *p = doc + where / 256;
	int type = (int)(where % 256);
	if (type == BSON_REAL) {
		lua_Number v = luaL_checknumber(L, 3);
		uint64_t bits;
		memcpy(&bits, &v, sizeof(bits));
		bson_store64(p, bits);
	} else if (type == BSON_BOOLEAN) {
		*p = (uint8_t)lua_toboolean(L, 3);
	} else if (type == BSON_INT32) {
		bson_store32(p, (uint32_t)check_integer(L, 32));
	} else if (type == BSON_INT64) {
		bson_store64(p, (uint64_t)check_integer(L, 64));
	} else {
		update_special(L, p, type);
	}
	return 0;
}
