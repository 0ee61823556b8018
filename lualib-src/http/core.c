/*
 * Module http.core: the parts of the HTTP and WebSocket protocols that look at every byte. The
 * protocols themselves are in lualib/http. Needs nothing of the runtime, so that plain Lua can
 * load it, too.
 *
 * Bytes come as Lua strings and leave as Lua strings. Bad input is an answer, never an error;
 * only wrong arguments raise.
 */
#include "frame.h"
#include "head.h"
#include "sha1.h"

#include <lauxlib.h>
#include <lua.h>
#include <string.h>
#include <sys/random.h>

#define NAME_MAX_FAST 64
#define PAYLOAD_MAX ((lua_Integer)1 << 40) /* sums with it can't overflow */

/*
 * ---- heads ----
 */

static void
push_text(lua_State *L, struct http_text t) {
	lua_pushlstring(L, t.at, t.size);
}

static void
push_lower(lua_State *L, struct http_text t) {
	char fast[NAME_MAX_FAST];
	luaL_Buffer b;
	bool slow = t.size > sizeof(fast);
	char *to = slow ? luaL_buffinitsize(L, &b, t.size) : fast;
	for (size_t i = 0; i < t.size; i++) {
		char c = t.at[i];
		to[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
	}
	if (slow)
		luaL_pushresultsize(&b, t.size);
	else
		lua_pushlstring(L, fast, t.size);
}

/* The line ends inside a folded value stand for blanks. */
static void
push_value(lua_State *L, const struct http_field *f) {
	if (!f->folded) {
		push_text(L, f->value);
		return;
	}
	luaL_Buffer b;
	luaL_buffinit(L, &b);
	const char *end = f->value.at + f->value.size;
	for (const char *s = f->value.at; s < end;) {
		if (*s != '\r') {
			luaL_addchar(&b, *s++);
			continue;
		}
		while (s < end && strchr("\r\n \t", *s))
			s++;
		luaL_addchar(&b, ' ');
	}
	luaL_pushresult(&b);
}

/* Store name and value, on top of the stack, in the table below: a repeated name gets a list. */
static void
store(lua_State *L) {
	lua_pushvalue(L, -2);
	int known = lua_rawget(L, -4);
	if (known == LUA_TNIL) {
		lua_pop(L, 1);
		lua_rawset(L, -3);
		return;
	}
	if (known == LUA_TTABLE) {
		lua_pushvalue(L, -2);
		lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
		lua_pop(L, 3);
		return;
	}
	lua_createtable(L, 2, 0);
	lua_rotate(L, -3, 1); /* name, list, value, first */
	lua_rawseti(L, -3, 1);
	lua_rawseti(L, -2, 2);
	lua_rawset(L, -3);
}

static void
push_fields(lua_State *L, const struct http_head *h) {
	lua_createtable(L, 0, (int)h->count);
	for (unsigned i = 0; i < h->count; i++) {
		push_lower(L, h->field[i].name);
		push_value(L, &h->field[i]);
		store(L);
	}
}

/* Not a head: nil when it may become one, else false, a status code and the reason. */
static int
push_failure(lua_State *L, enum http_result r, const char *why) {
	static const int codes[] = {
		[HTTP_TOO_LARGE] = 413, [HTTP_BAD_LINE] = 0,     [HTTP_BAD_VERSION] = 505,
		[HTTP_BAD_FIELD] = 400, [HTTP_BAD_CODING] = 501,
	};
	if (r == HTTP_MORE) {
		lua_pushnil(L);
		return 1;
	}
	lua_pushboolean(L, 0);
	lua_pushinteger(L, codes[r]);
	lua_pushstring(L, why);
	return 3;
}

/* How the body is delimited: its length, "chunked", or nothing. */
static void
push_framing(lua_State *L, const struct http_head *h) {
	if (h->chunked)
		lua_pushliteral(L, "chunked");
	else if (h->length >= 0)
		lua_pushinteger(L, h->length);
	else
		lua_pushnil(L);
}

static size_t
check_limit(lua_State *L, int index) {
	lua_Integer limit = luaL_checkinteger(L, index);
	luaL_argcheck(L, limit > 0, index, "the limit must be positive");
	return (size_t)limit;
}

/*
 * request(bytes, limit) -> size, method, target, fields, framing, keepalive, expect, minor
 * or nil: incomplete; or false, code (0: not a request line), reason
 */
static int
lrequest(lua_State *L) {
	struct http_head h;
	size_t size;
	const char *bytes = luaL_checklstring(L, 1, &size);
	enum http_result r = http_parse_request(&h, bytes, size, check_limit(L, 2));
	if (r != HTTP_OK)
		return push_failure(L, r, h.why);
	lua_pushinteger(L, (lua_Integer)h.size);
	push_text(L, h.method);
	push_text(L, h.target);
	push_fields(L, &h);
	push_framing(L, &h);
	lua_pushboolean(L, h.keepalive);
	lua_pushboolean(L, h.expect);
	lua_pushinteger(L, h.minor);
	return 8;
}

/* response(bytes, limit) -> size, status, fields, framing, keepalive; or as request */
static int
lresponse(lua_State *L) {
	struct http_head h;
	size_t size;
	const char *bytes = luaL_checklstring(L, 1, &size);
	enum http_result r = http_parse_response(&h, bytes, size, check_limit(L, 2));
	if (r != HTTP_OK)
		return push_failure(L, r, h.why);
	lua_pushinteger(L, (lua_Integer)h.size);
	lua_pushinteger(L, h.status);
	push_fields(L, &h);
	push_framing(L, &h);
	lua_pushboolean(L, h.keepalive);
	return 5;
}

/*
 * ---- WebSocket frames ----
 */

/* Not a frame: nil, or false, close code and the reason. */
static int
push_refusal(lua_State *L, enum frame_result r) {
	static const char *const why[] = {
		[FRAME_RESERVED] = "reserved bits of a frame are set",
		[FRAME_OPCODE] = "unknown opcode",
		[FRAME_CONTROL] = "a control frame is fragmented or too long",
		[FRAME_TOO_LARGE] = "payload_len is too large",
	};
	lua_pushboolean(L, 0);
	lua_pushinteger(L, r == FRAME_TOO_LARGE ? 1009 : 1002);
	lua_pushstring(L, why[r]);
	return 3;
}

static void
push_payload(lua_State *L, const struct frame *f, const uint8_t *payload) {
	luaL_Buffer b;
	size_t n = (size_t)f->length;
	if (!f->masked || n == 0) {
		lua_pushlstring(L, (const char *)payload, n);
		return;
	}
	uint8_t *to = (uint8_t *)luaL_buffinitsize(L, &b, n);
	frame_mask(to, payload, n, f->mask);
	luaL_pushresultsize(&b, n);
}

/*
 * parse(bytes, from, limit) -> opcode, fin, payload, next position, was it masked
 * or nil, bytes the frame needs from there on; or false, close code, reason
 */
static int
lparse(lua_State *L) {
	size_t size;
	const uint8_t *bytes = (const uint8_t *)luaL_checklstring(L, 1, &size);
	lua_Integer from = luaL_checkinteger(L, 2);
	lua_Integer limit = luaL_checkinteger(L, 3);
	luaL_argcheck(L, from >= 1 && (size_t)from <= size + 1, 2, "out of the bytes");
	luaL_argcheck(L, limit >= 0, 3, "the limit must not be negative");
	if (limit > PAYLOAD_MAX)
		limit = PAYLOAD_MAX;
	bytes += from - 1;
	size -= (size_t)from - 1;
	struct frame f;
	enum frame_result r = frame_parse(&f, bytes, size, (uint64_t)limit);
	if (r > FRAME_MORE)
		return push_refusal(L, r);
	if (r == FRAME_MORE || size - f.header < f.length) {
		lua_pushnil(L);
		lua_pushinteger(L, r == FRAME_MORE ? (lua_Integer)size + 1
		                                   : (lua_Integer)(f.header + f.length));
		return 2;
	}
	lua_pushinteger(L, f.op);
	lua_pushboolean(L, f.fin);
	push_payload(L, &f, bytes + f.header);
	lua_pushinteger(L, from + (lua_Integer)(f.header + f.length));
	lua_pushboolean(L, f.masked);
	return 5;
}

/* frame(opcode, payload [, mask]) -> bytes of one whole frame; mask is a 32-bit integer */
static int
lframe(lua_State *L) {
	size_t size;
	lua_Integer op = luaL_checkinteger(L, 1);
	const uint8_t *payload = (const uint8_t *)luaL_checklstring(L, 2, &size);
	luaL_argcheck(L, op >= 0 && op <= 15, 1, "not an opcode");
	struct frame f = {.op = (uint8_t)op, .fin = true, .length = size};
	if (!lua_isnoneornil(L, 3)) {
		uint32_t mask = (uint32_t)luaL_checkinteger(L, 3);
		f.masked = true;
		for (int i = 0; i < 4; i++)
			f.mask[i] = (uint8_t)(mask >> (24 - 8 * i));
	}
	luaL_Buffer b;
	uint8_t *to = (uint8_t *)luaL_buffinitsize(L, &b, size + FRAME_HEADER_MAX);
	size_t header = frame_header(&f, to);
	if (f.masked)
		frame_mask(to + header, payload, size, f.mask);
	else
		memcpy(to + header, payload, size);
	luaL_pushresultsize(&b, header + size);
	return 1;
}

/* utf8(bytes) -> are they well-formed UTF-8 */
static int
lutf8(lua_State *L) {
	size_t size;
	const uint8_t *s = (const uint8_t *)luaL_checklstring(L, 1, &size);
	lua_pushboolean(L, frame_utf8(s, size));
	return 1;
}

/*
 * ---- the opening handshake ----
 */

static void
push_base64(lua_State *L, const uint8_t *bytes, size_t size) {
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	luaL_Buffer b;
	luaL_buffinit(L, &b);
	for (size_t i = 0; i < size; i += 3) {
		size_t n = size - i < 3 ? size - i : 3;
		uint32_t v = (uint32_t)bytes[i] << 16;
		v |= n > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
		v |= n > 2 ? bytes[i + 2] : 0;
		for (size_t k = 0; k < 4; k++)
			luaL_addchar(&b, k <= n ? digits[v >> (18 - 6 * k) & 63] : '=');
	}
	luaL_pushresult(&b);
}

/* accept(key) -> what the server answers to a client's key */
static int
laccept(lua_State *L) {
	size_t size;
	uint8_t digest[SHA1_SIZE];
	luaL_checkstring(L, 1);
	lua_settop(L, 1);
	lua_pushliteral(L, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
	lua_concat(L, 2);
	const char *text = lua_tolstring(L, 1, &size);
	http_sha1((const uint8_t *)text, size, digest);
	push_base64(L, digest, sizeof(digest));
	return 1;
}

static void
fill_random(lua_State *L, void *to, size_t size) {
	if (getrandom(to, size, 0) != (ssize_t)size) /* up to 256 bytes come whole */
		luaL_error(L, "the system has no random bytes");
}

/* key() -> a new client's key: 16 random bytes in base64 */
static int
lkey(lua_State *L) {
	uint8_t bytes[16];
	fill_random(L, bytes, sizeof(bytes));
	push_base64(L, bytes, sizeof(bytes));
	return 1;
}

/* Random numbers in store, so that a mask doesn't cost a system call. */
struct masks {
	uint32_t left;
	uint32_t value[64];
};

/* mask() -> a random mask, nobody can guess the next one */
static int
lmask(lua_State *L) {
	struct masks *m = lua_touserdata(L, lua_upvalueindex(1));
	if (m->left == 0) {
		fill_random(L, m->value, sizeof(m->value));
		m->left = 64;
	}
	lua_pushinteger(L, m->value[--m->left]);
	return 1;
}

int luaopen_http_core(lua_State *L);

int
luaopen_http_core(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"request", lrequest}, {"response", lresponse}, {"parse", lparse}, {"frame", lframe},
		{"utf8", lutf8},       {"accept", laccept},     {"key", lkey},     {NULL, NULL},
	};
	luaL_checkversion(L);
	luaL_newlib(L, functions);
	struct masks *m = lua_newuserdatauv(L, sizeof(*m), 0);
	m->left = 0;
	lua_pushcclosure(L, lmask, 1);
	lua_setfield(L, -2, "mask");
	return 1;
}
