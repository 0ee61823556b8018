/*
 * Special strings: the Lua form of BSON values that Lua has no type for.
 *
 * A zero byte, the BSON type, and a payload, which is the value's bytes on the wire except for
 *   date    u32 seconds; or, outside of 1970..2106 or with milliseconds, the wire's int64
 *   binary  without its length
 * Text that starts with a zero byte is taken for one of these: users wrap it in bson.binary.
 */
#include "bson.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define HEAD 2

/*
 * ---- between special strings and the wire ----
 */

static struct bson_value
special_date(lua_State *L, const uint8_t *p, size_t size, uint8_t buffer[8]) {
	struct bson_value v = {BSON_DATE, p, 8};
	if (size == 4) {
		bson_store64(buffer, (uint64_t)bson_u32(p) * 1000);
		v.p = buffer;
	} else if (size != 8) {
		luaL_error(L, "Invalid date");
	}
	return v;
}

static const char *
type_error(uint8_t type) {
	switch (type) {
	case BSON_OBJECTID:
		return "Invalid object id";
	case BSON_TIMESTAMP:
		return "Invalid timestamp";
	case BSON_INT64:
		return "Invalid int64";
	case BSON_REGEX:
		return "Invalid regex";
	default:
		return "Invalid special string";
	}
}

/* Does `type` have special strings whose payload is the wire's value? */
static bool
is_plain(uint8_t type) {
	switch (type) {
	case BSON_OBJECTID:
	case BSON_NULL:
	case BSON_REGEX:
	case BSON_DBPOINTER:
	case BSON_JSCODE:
	case BSON_SYMBOL:
	case BSON_CODEWS:
	case BSON_TIMESTAMP:
	case BSON_INT64:
	case BSON_MAXKEY:
	case BSON_MINKEY:
		return true;
	default:
		return false;
	}
}

/* A binary's length comes before its subtype: the caller writes both from this form. */
static void
check_binary(lua_State *L, size_t size) {
	if (size < 1)
		luaL_error(L, "Invalid binary, its subtype is missing");
}

/* Raise unless the payload is a whole value of a plain type, and no more. */
static void
check_plain(lua_State *L, uint8_t type, const uint8_t *p, size_t size) {
	const char *error;
	int number;
	size_t need;
	if (!is_plain(type))
		luaL_error(L, "Invalid subtype %d", type);
	if (!bson_value_size(type, p, size, &need, &error, &number) || need != size)
		luaL_error(L, "%s", type_error(type));
}

struct bson_value
bson_special(lua_State *L, const char *s, size_t len, uint8_t buffer[8]) {
	uint8_t type = (uint8_t)s[1];
	const uint8_t *p = (const uint8_t *)s + HEAD;
	size_t size = len - HEAD;
	if (type == BSON_DATE)
		return special_date(L, p, size, buffer);
	if (type == BSON_BINARY)
		check_binary(L, size);
	else
		check_plain(L, type, p, size);
	return (struct bson_value){type, p, size};
}

static char *
special_head(luaL_Buffer *b, lua_State *L, uint8_t type, size_t size) {
	char *s = luaL_buffinitsize(L, b, HEAD + size);
	s[0] = 0;
	s[1] = (char)type;
	return s + HEAD;
}

static void
push_special(lua_State *L, uint8_t type, const void *payload, size_t size) {
	luaL_Buffer b;
	memcpy(special_head(&b, L, type, size), payload, size);
	luaL_pushresultsize(&b, HEAD + size);
}

/* Seconds fit the short form unless the date is before 1970 or after 2106. */
static void
push_date(lua_State *L, int64_t milliseconds) {
	uint8_t p[8];
	int64_t seconds = milliseconds / 1000;
	if (milliseconds >= 0 && seconds <= UINT32_MAX) {
		bson_store32(p, (uint32_t)seconds);
		push_special(L, BSON_DATE, p, 4);
	} else {
		bson_store64(p, (uint64_t)milliseconds);
		push_special(L, BSON_DATE, p, 8);
	}
}

void
bson_push_special(lua_State *L, const struct bson_value *v) {
	if (v->type == BSON_DATE)
		push_date(L, (int64_t)bson_u64(v->p));
	else if (v->type == BSON_BINARY)
		push_special(L, v->type, v->p + 4, v->size - 4);
	else
		push_special(L, v->type, v->p, v->size);
}

/*
 * ---- constructors ----
 */

/* Seconds since 1970. Whole ones of 32 bits are an integer; others keep their milliseconds. */
int
bson_ldate(lua_State *L) {
	int whole;
	lua_Integer seconds = lua_tointegerx(L, 1, &whole);
	uint8_t p[8];
	if (whole && seconds >= INT32_MIN && seconds <= UINT32_MAX) {
		bson_store32(p, (uint32_t)seconds);
		push_special(L, BSON_DATE, p, 4);
		return 1;
	}
	double milliseconds = floor(luaL_checknumber(L, 1) * 1000 + 0.5);
	luaL_argcheck(L, milliseconds >= -0x1p63 && milliseconds < 0x1p63, 1, "date out of range");
	bson_store64(p, (uint64_t)(int64_t)milliseconds);
	push_special(L, BSON_DATE, p, 8);
	return 1;
}

int
bson_ltimestamp(lua_State *L) {
	uint8_t p[8];
	bson_store32(p + 4, (uint32_t)luaL_checkinteger(L, 1));
	bson_store32(p, (uint32_t)luaL_optinteger(L, 2, 0));
	push_special(L, BSON_TIMESTAMP, p, 8);
	return 1;
}

int
bson_lregex(lua_State *L) {
	size_t pattern_len, options_len;
	const char *pattern = luaL_checklstring(L, 1, &pattern_len);
	const char *options = luaL_optlstring(L, 2, "", &options_len);
	luaL_argcheck(L, memchr(pattern, 0, pattern_len) == NULL, 1, "contains a zero byte");
	luaL_argcheck(L, memchr(options, 0, options_len) == NULL, 2, "contains a zero byte");
	luaL_Buffer b;
	size_t size = pattern_len + options_len + 2;
	char *p = special_head(&b, L, BSON_REGEX, size);
	memcpy(p, pattern, pattern_len + 1);
	memcpy(p + pattern_len + 1, options, options_len + 1);
	luaL_pushresultsize(&b, HEAD + size);
	return 1;
}

int
bson_lbinary(lua_State *L) {
	size_t len;
	const char *s = luaL_checklstring(L, 1, &len);
	luaL_Buffer b;
	char *p = special_head(&b, L, BSON_BINARY, len + 1);
	p[0] = 0;
	memcpy(p + 1, s, len);
	luaL_pushresultsize(&b, HEAD + 1 + len);
	return 1;
}

int
bson_lint64(lua_State *L) {
	uint8_t p[8];
	bson_store64(p, (uint64_t)luaL_checkinteger(L, 1));
	push_special(L, BSON_INT64, p, 8);
	return 1;
}

/*
 * ---- object ids: seconds, host, process, and a counter of the process ----
 */

static struct {
	pthread_once_t once;
	uint8_t origin[5];     /* hash of the host's name, process id */
	_Atomic uint32_t next; /* relaxed: only its being unique counts */
} ids = {.once = PTHREAD_ONCE_INIT};

static void
ids_init(void) {
	char host[256] = "";
	uint32_t hash = 5381, start;
	if (gethostname(host, sizeof(host) - 1) != 0)
		host[0] = '\0'; /* the process id and a random counter remain */
	for (const char *p = host; *p; p++)
		hash = hash * 33 + (uint8_t)*p;
	uint32_t pid = (uint32_t)getpid();
	if (getrandom(&start, sizeof(start), 0) != sizeof(start))
		start = (uint32_t)time(NULL) * 2654435761u ^ pid;
	ids.origin[0] = (uint8_t)hash;
	ids.origin[1] = (uint8_t)(hash >> 8);
	ids.origin[2] = (uint8_t)(hash >> 16);
	ids.origin[3] = (uint8_t)pid;
	ids.origin[4] = (uint8_t)(pid >> 8);
	atomic_init(&ids.next, start);
}

static void
new_id(uint8_t id[12]) {
	pthread_once(&ids.once, ids_init);
	uint32_t now = (uint32_t)time(NULL);
	uint32_t n = atomic_fetch_add_explicit(&ids.next, 1, memory_order_relaxed);
	for (int i = 0; i < 4; i++)
		id[i] = (uint8_t)(now >> (24 - 8 * i));
	memcpy(id + 4, ids.origin, 5);
	for (int i = 0; i < 3; i++)
		id[9 + i] = (uint8_t)(n >> (16 - 8 * i));
}

static int
hex_digit(char c) {
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
bson_lobjectid(lua_State *L) {
	uint8_t id[12];
	if (lua_isnoneornil(L, 1)) {
		new_id(id);
	} else {
		size_t len;
		const char *s = luaL_checklstring(L, 1, &len);
		if (len != 24)
			return luaL_error(L, "Invalid objectid %s", s);
		for (int i = 0; i < 12; i++) {
			int high = hex_digit(s[i * 2]), low = hex_digit(s[i * 2 + 1]);
			if (high < 0 || low < 0)
				return luaL_error(L, "Invalid objectid %s", s);
			id[i] = (uint8_t)(high << 4 | low);
		}
	}
	push_special(L, BSON_OBJECTID, id, sizeof(id));
	return 1;
}

/*
 * ---- type ----
 */

static int
type_objectid(lua_State *L, const uint8_t *p) {
	char hex[24];
	for (int i = 0; i < 12; i++) {
		hex[i * 2] = "0123456789abcdef"[p[i] >> 4];
		hex[i * 2 + 1] = "0123456789abcdef"[p[i] & 15];
	}
	lua_pushliteral(L, "objectid");
	lua_pushlstring(L, hex, sizeof(hex));
	return 2;
}

static int
type_date(lua_State *L, const uint8_t *p, size_t size) {
	lua_pushliteral(L, "date");
	if (size == 4)
		lua_pushinteger(L, bson_u32(p));
	else if (size == 8)
		lua_pushnumber(L, (double)(int64_t)bson_u64(p) / 1000);
	else
		return luaL_error(L, "Invalid date");
	return 2;
}

static int
type_binary(lua_State *L, const uint8_t *p, size_t size) {
	check_binary(L, size);
	lua_pushliteral(L, "binary");
	lua_pushlstring(L, (const char *)p + 1, size - 1);
	lua_pushinteger(L, p[0]);
	return 3;
}

static int
type_special(lua_State *L, const char *s, size_t len) {
	uint8_t type = (uint8_t)s[1];
	const uint8_t *p = (const uint8_t *)s + HEAD;
	size_t size = len - HEAD;
	if (type == BSON_DATE)
		return type_date(L, p, size);
	if (type == BSON_BINARY)
		return type_binary(L, p, size);
	check_plain(L, type, p, size);
	switch (type) {
	case BSON_NULL:
		lua_pushliteral(L, "nil");
		return 1;
	case BSON_MINKEY:
		lua_pushliteral(L, "minkey");
		return 1;
	case BSON_MAXKEY:
		lua_pushliteral(L, "maxkey");
		return 1;
	case BSON_OBJECTID:
		return type_objectid(L, p);
	case BSON_TIMESTAMP:
		lua_pushliteral(L, "timestamp");
		lua_pushinteger(L, bson_u32(p + 4));
		lua_pushinteger(L, bson_u32(p));
		return 3;
	case BSON_INT64:
		lua_pushliteral(L, "int64");
		lua_pushinteger(L, (lua_Integer)bson_u64(p));
		return 2;
	case BSON_REGEX: {
		const char *pattern = (const char *)p;
		lua_pushliteral(L, "regex");
		lua_pushstring(L, pattern);
		lua_pushstring(L, pattern + strlen(pattern) + 1);
		return 3;
	}
	default:
		lua_pushliteral(L, "unsupported");
		lua_pushlstring(L, (const char *)p, size);
		return 2;
	}
}

int
bson_ltype(lua_State *L) {
	int type = lua_type(L, 1);
	size_t len;
	lua_settop(L, 1);
	switch (type) {
	case LUA_TNIL:
	case LUA_TNONE:
		lua_pushliteral(L, "nil");
		return 1;
	case LUA_TSTRING: {
		const char *s = lua_tolstring(L, 1, &len);
		if (len >= HEAD && s[0] == 0)
			return type_special(L, s, len);
		break;
	}
	case LUA_TNUMBER:
	case LUA_TBOOLEAN:
	case LUA_TTABLE:
		break;
	default:
		return luaL_error(L, "Invalid type %s", lua_typename(L, type));
	}
	lua_pushstring(L, lua_typename(L, type));
	lua_insert(L, 1);
	return 2;
}
