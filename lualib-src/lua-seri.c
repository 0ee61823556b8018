/*
 * Serialisation: Lua values <-> message bytes.
 *
 * A value is one tag byte, low three bits the type and high five a "cookie" (a length, a width
 * or a flag), followed by its payload; a message is values one after another.
 *
 * Packing writes into a scratch buffer of the worker thread; a small message is then copied
 * into a block of exactly its size. What outgrows the scratch moves to a heap buffer that
 * doubles, and becomes the message itself. Nothing here raises while such a buffer is held:
 * errors are noted in the writer, and raised after it was freed. Only __pairs metamethods run
 * foreign code; they're called protected, and may pack again (the scratch is then taken, so
 * the inner call starts on the heap).
 *
 * Unpacking trusts nothing: each read is checked against what is left, nesting is limited, and
 * a table is never created larger than the bytes that are left could fill.
 */
#include "lua-seri.h"

#include "../3rd/lua/lview.h"

#include "block.h"
#include "skynet_malloc.h"
#include "skynet_runtime.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { T_NIL, T_BOOLEAN, T_NUMBER, T_USERDATA, T_SHORT_STRING, T_LONG_STRING, T_TABLE };
enum { N_ZERO = 0, N_BYTE = 1, N_WORD = 2, N_DWORD = 4, N_QWORD = 6, N_REAL = 8 };

#define MAX_COOKIE 32
#define PACK_DEPTH 32    /* what the format's users may nest */
#define UNPACK_DEPTH 128 /* more than any packer writes; bounds the C stack */
#define SCRATCH 4096
#define LOOK_AHEAD 256 /* bytes */

#define TAG(t, v) ((uint8_t)((t) | (v) << 3))

struct writer {
	char *buf;
	size_t len;
	size_t cap;
	bool heap;         /* buf is a heap block, not the scratch */
	const char *fault; /* first error; a format with one %s when `what` is set */
	const char *what;
	bool raised; /* a metamethod's error is on top of the stack */
};

static _Thread_local char scratch[SCRATCH];
static _Thread_local bool scratch_taken;

/*
 * ---- writing ----
 */

static void
writer_open(struct writer *w) {
	w->len = 0;
	w->fault = w->what = NULL;
	w->raised = false;
	w->heap = scratch_taken;
	if (w->heap) {
		w->cap = 256;
		w->buf = skynet_malloc(w->cap);
	} else {
		scratch_taken = true;
		w->cap = SCRATCH;
		w->buf = scratch;
	}
}

static void
writer_close(struct writer *w) {
	if (w->heap)
		skynet_free(w->buf);
	else
		scratch_taken = false;
}

static void
writer_grow(struct writer *w, size_t need) {
	size_t cap = w->cap * 2;
	while (cap - w->len < need)
		cap *= 2;
	/* a single long string is the usual reason: don't double what it needs */
	if (need > w->cap)
		cap = w->len + need + SCRATCH;
	if (w->heap) {
		w->buf = skynet_realloc(w->buf, cap);
	} else {
		char *p = skynet_malloc(cap);
		memcpy(p, w->buf, w->len);
		w->buf = p;
		w->heap = true;
		scratch_taken = false;
	}
	w->cap = cap;
}

static inline char *
writer_reserve(struct writer *w, size_t n) {
	if (w->cap - w->len < n)
		writer_grow(w, n);
	return w->buf + w->len;
}

static inline void
put_byte(struct writer *w, uint8_t b) {
	*writer_reserve(w, 1) = (char)b;
	w->len++;
}

static inline __attribute__((always_inline)) void
put_tagged(struct writer *w, uint8_t tag, const void *p, size_t n) {
	char *to = writer_reserve(w, n + 1);
	to[0] = (char)tag;
	memcpy(to + 1, p, n);
	w->len += n + 1;
}

static void
put_integer(struct writer *w, lua_Integer v) {
	if (v == 0) {
		put_byte(w, TAG(T_NUMBER, N_ZERO));
	} else if (v != (int32_t)v) {
		int64_t q = v;
		put_tagged(w, TAG(T_NUMBER, N_QWORD), &q, sizeof(q));
	} else if (v < 0 || v >= 0x10000) {
		int32_t d = (int32_t)v;
		put_tagged(w, TAG(T_NUMBER, N_DWORD), &d, sizeof(d));
	} else if (v >= 0x100) {
		uint16_t h = (uint16_t)v;
		put_tagged(w, TAG(T_NUMBER, N_WORD), &h, sizeof(h));
	} else {
		uint8_t b = (uint8_t)v;
		put_tagged(w, TAG(T_NUMBER, N_BYTE), &b, sizeof(b));
	}
}

static void
put_string(struct writer *w, const char *s, size_t n) {
	if (n < MAX_COOKIE) {
		put_tagged(w, TAG(T_SHORT_STRING, n), s, n);
		return;
	}
	char *to = writer_reserve(w, n + 5);
	if (n < 0x10000) {
		uint16_t h = (uint16_t)n;
		to[0] = (char)TAG(T_LONG_STRING, 2);
		memcpy(to + 1, &h, sizeof(h));
		to += 3;
		w->len += 3;
	} else {
		uint32_t d = (uint32_t)n;
		to[0] = (char)TAG(T_LONG_STRING, 4);
		memcpy(to + 1, &d, sizeof(d));
		to += 5;
		w->len += 5;
	}
	memcpy(to, s, n);
	w->len += n;
}

static void pack_value(lua_State *L, struct writer *w, const TValue *v, int depth);

static void
fault(struct writer *w, const char *text, const char *what) {
	if (w->fault == NULL) {
		w->fault = text;
		w->what = what;
	}
}

/* Call through a pcall, so that the buffer outlives whatever the metamethod raises. */
static bool
protected_call(lua_State *L, struct writer *w, int nargs, int nresults) {
	if (lua_pcall(L, nargs, nresults, 0) == LUA_OK)
		return true;
	w->fault = "";
	w->raised = true;
	return false;
}

/* The table is on the stack, its __pairs metafield on top. */
static void
pack_pairs(lua_State *L, struct writer *w, int index, int depth) {
	put_byte(w, TAG(T_TABLE, 0));
	lua_pushvalue(L, index);
	if (!protected_call(L, w, 1, 3))
		return;
	for (;;) { /* iterator, state, control */
		lua_pushvalue(L, -3);
		lua_pushvalue(L, -3);
		lua_pushvalue(L, -3);
		if (!protected_call(L, w, 2, 2))
			return;
		if (lua_isnil(L, -2))
			break;
		pack_value(L, w, lua_viewat(L, -2), depth + 1);
		if (w->fault == NULL)
			pack_value(L, w, lua_viewat(L, -1), depth + 1);
		if (w->fault)
			return;
		lua_pop(L, 1);
		lua_replace(L, -2); /* the key becomes the next control value */
	}
	put_byte(w, TAG(T_NIL, 0));
}

/* Packing a value may change the table: a nested one's __pairs may do anything. */
static void
pack_table(lua_State *L, struct writer *w, Table *t, int depth) {
	const lua_Unsigned n = luaH_getn(t);
	if (n < MAX_COOKIE - 1) {
		put_byte(w, TAG(T_TABLE, n));
	} else {
		put_byte(w, TAG(T_TABLE, MAX_COOKIE - 1));
		put_integer(w, (lua_Integer)n);
	}
	for (lua_Unsigned i = 1; i <= n; i++) {
		pack_value(L, w, lua_viewindex(t, i), depth + 1);
		if (w->fault)
			return;
	}
	TValue key;
	unsigned position = n <= t->alimit ? (unsigned)n : 0;
	for (const TValue *v; (v = lua_viewnext(t, &position, &key)) != NULL;) {
		if (ttisinteger(&key) && l_castS2U(ivalue(&key)) - 1 < n)
			continue;
		lua_pushcopy(L, v); /* the key's __pairs may be what removes it */
		pack_value(L, w, &key, depth + 1);
		if (w->fault == NULL)
			pack_value(L, w, lua_viewat(L, -1), depth + 1);
		if (w->fault)
			return;
		L->top.p--;
	}
	put_byte(w, TAG(T_NIL, 0));
}

static void
pack_any_table(lua_State *L, struct writer *w, Table *t, int depth) {
	if (L->ci->top.p - L->top.p < LUA_MINSTACK && !lua_checkstack(L, LUA_MINSTACK)) {
		fault(w, "serialize: out of Lua stack", NULL);
		return;
	}
	lua_pushview(L, t);
	int index = lua_gettop(L);
	if (t->metatable && luaL_getmetafield(L, index, "__pairs") != LUA_TNIL)
		pack_pairs(L, w, index, depth);
	else
		pack_table(L, w, t, depth);
	if (!w->raised) /* a raised error stays on top for the caller */
		lua_settop(L, index - 1);
}

static void
pack_value(lua_State *L, struct writer *w, const TValue *v, int depth) {
	if (depth > PACK_DEPTH) {
		fault(w, "serialize can't pack too depth table", NULL);
		return;
	}
	switch (ttypetag(v)) {
	case LUA_VFALSE:
	case LUA_VTRUE:
		put_byte(w, TAG(T_BOOLEAN, ttistrue(v)));
		break;
	case LUA_VNUMINT:
		put_integer(w, ivalue(v));
		break;
	case LUA_VNUMFLT:
		put_tagged(w, TAG(T_NUMBER, N_REAL), &fltvalueraw(val_(v)), sizeof(lua_Number));
		break;
	case LUA_VSHRSTR:
		put_string(w, getshrstr(tsvalue(v)), tsvalue(v)->shrlen);
		break;
	case LUA_VLNGSTR:
		if (tsvalue(v)->u.lnglen > UINT32_MAX)
			fault(w, "serialize can't pack a string of 4 GiB or more", NULL);
		else
			put_string(w, getlngstr(tsvalue(v)), tsvalue(v)->u.lnglen);
		break;
	case LUA_VLIGHTUSERDATA:
		put_tagged(w, TAG(T_USERDATA, 0), &pvalueraw(val_(v)), sizeof(void *));
		break;
	case LUA_VTABLE:
	case LUA_VFROZEN:
		pack_any_table(L, w, hvalue(v), depth);
		break;
	default:
		if (ttisnil(v)) /* in any of its variants: the element that isn't there, for one */
			put_byte(w, TAG(T_NIL, 0));
		else
			fault(w, "Unsupport type %s to serialize", lua_typename(L, ttype(v)));
	}
}

static int
raise_fault(lua_State *L, struct writer *w) {
	struct writer copy = *w;
	writer_close(w);
	if (copy.raised)
		return lua_error(L);
	if (copy.what)
		return luaL_error(L, copy.fault, copy.what);
	return luaL_error(L, "%s", copy.fault);
}

static void
pack_range(lua_State *L, struct writer *w, int first) {
	int top = lua_gettop(L);
	writer_open(w);
	for (int i = first; i <= top && w->fault == NULL; i++)
		pack_value(L, w, lua_viewat(L, i), 0);
	if (w->fault)
		raise_fault(L, w);
}

void *
seri_pack(lua_State *L, int first, size_t *sz) {
	*sz = 0;
	if (lua_gettop(L) < first)
		return NULL;
	struct writer w;
	pack_range(L, &w, first);
	*sz = w.len;
	if (w.heap) /* small only if it was packed by a metamethod, while the scratch was in use */
		return w.len > PTYPE_SIZED_MAX ? w.buf : skynet_realloc(w.buf, w.len);
	void *msg = skynet_malloc(w.len);
	memcpy(msg, w.buf, w.len);
	writer_close(&w);
	return msg;
}

/*
 * ---- reading ----
 */

struct reader {
	const char *p;
	size_t left;
	int line;     /* where the first error was found; 0: none */
	bool foreign; /* refuse what only has a meaning inside this process */
};

#define BAD(r) ((r)->line ? 0 : ((r)->line = __LINE__, 0))

static const char *
take(struct reader *r, size_t n) {
	if (r->left < n)
		return NULL;
	const char *p = r->p;
	r->p += n;
	r->left -= n;
	return p;
}

/* Read an integer's payload. */
static bool
read_integer(struct reader *r, int cookie, lua_Integer *v) {
	static const uint8_t width[] = {[N_BYTE] = 1, [N_WORD] = 2, [N_DWORD] = 4, [N_QWORD] = 8};
	*v = 0;
	if (cookie == N_ZERO)
		return true;
	if (cookie > N_QWORD || width[cookie] == 0)
		return BAD(r);
	const char *p = take(r, width[cookie]);
	if (p == NULL)
		return BAD(r);
	switch (cookie) {
	case N_BYTE:
		*v = (uint8_t)*p;
		break;
	case N_WORD: {
		uint16_t h;
		memcpy(&h, p, sizeof(h));
		*v = h;
		break;
	}
	case N_DWORD: {
		int32_t d;
		memcpy(&d, p, sizeof(d));
		*v = d;
		break;
	}
	default: {
		int64_t q;
		memcpy(&q, p, sizeof(q));
		*v = q;
	}
	}
	return true;
}

/* Read the length of a long string and step over its bytes. */
static const char *
read_long(struct reader *r, int cookie, size_t *n) {
	const char *p = cookie == 2 || cookie == 4 ? take(r, (size_t)cookie) : NULL;
	if (p == NULL) {
		BAD(r);
		return NULL;
	}
	if (cookie == 2) {
		uint16_t h;
		memcpy(&h, p, sizeof(h));
		*n = h;
	} else {
		uint32_t d;
		memcpy(&d, p, sizeof(d));
		*n = d;
	}
	p = take(r, *n);
	if (p == NULL)
		BAD(r);
	return p;
}

/* Size of a table's array part; a negative count in the stream means none. */
static bool
read_count(struct reader *r, int cookie, size_t *n) {
	*n = (size_t)cookie;
	if (cookie < MAX_COOKIE - 1)
		return true;
	const char *tag = take(r, 1);
	lua_Integer v;
	if (tag == NULL || (*tag & 7) != T_NUMBER)
		return BAD(r);
	if (!read_integer(r, (uint8_t)*tag >> 3, &v))
		return false;
	*n = v < 0 ? 0 : (size_t)v;
	if (*n > r->left) /* an element takes one byte at least */
		return BAD(r);
	return true;
}

static bool
skip_scalar(struct reader *r, int type, int cookie) {
	lua_Integer v;
	size_t n;
	switch (type) {
	case T_NIL:
	case T_BOOLEAN:
		return true;
	case T_NUMBER:
		if (cookie == N_REAL)
			return take(r, sizeof(double)) != NULL;
		return read_integer(r, cookie, &v);
	case T_SHORT_STRING:
		return take(r, (size_t)cookie) != NULL;
	case T_LONG_STRING:
		return read_long(r, cookie, &n) != NULL;
	default:
		return false;
	}
}

/* Bytes of a value, its tag included, where the tag alone says it; else 0. */
#define SIZE(t)                                                                                  \
	((t) % 8 == T_NIL || (t) % 8 == T_BOOLEAN ? 1                                                \
	 : (t) % 8 == T_SHORT_STRING              ? 1 + (t) / 8                                      \
	 : (t) % 8 == T_USERDATA                  ? 1 + sizeof(void *)                               \
	 : (t) == TAG(T_NUMBER, N_ZERO)           ? 1                                                \
	 : (t) == TAG(T_NUMBER, N_BYTE)           ? 2                                                \
	 : (t) == TAG(T_NUMBER, N_WORD)           ? 3                                                \
	 : (t) == TAG(T_NUMBER, N_DWORD)          ? 5                                                \
	 : (t) == TAG(T_NUMBER, N_QWORD)          ? 9                                                \
	 : (t) == TAG(T_NUMBER, N_REAL)           ? 9                                                \
	                                          : 0)
#define SIZES4(t) SIZE(t), SIZE((t) + 1), SIZE((t) + 2), SIZE((t) + 3)
#define SIZES16(t) SIZES4(t), SIZES4((t) + 4), SIZES4((t) + 8), SIZES4((t) + 12)
#define SIZES64(t) SIZES16(t), SIZES16((t) + 16), SIZES16((t) + 32), SIZES16((t) + 48)
static const uint8_t size_of[256] = {SIZES64(0), SIZES64(64), SIZES64(128), SIZES64(192)};

static bool skip_long(struct reader *r, uint8_t tag, bool *nil);

/* Step over a value. */
static inline bool
skip_value(struct reader *r, bool *nil) {
	if (r->left == 0)
		return false;
	const uint8_t tag = (uint8_t)*r->p;
	if (size_of[tag] == 0)
		return skip_long(r, tag, nil);
	*nil = (tag & 7) == T_NIL;
	return take(r, size_of[tag]) != NULL;
}

/* Step over a table or a long string. Recursion is bounded by the few bytes that count_pairs
 * looks at. */
static bool
skip_long(struct reader *r, uint8_t tag, bool *nil) {
	const int type = tag & 7, cookie = tag >> 3;
	size_t n;
	*nil = false;
	(void)take(r, 1);
	if (type != T_TABLE)
		return skip_scalar(r, type, cookie);
	if (!read_count(r, cookie, &n))
		return false;
	for (bool element; n > 0; n--) {
		if (!skip_value(r, &element))
			return false;
	}
	for (bool end, value;;) {
		if (!skip_value(r, &end))
			return false;
		if (end)
			return true;
		if (!skip_value(r, &value))
			return false;
	}
}

/*
 * How many pairs follow, as far as a short look ahead tells: a record is created in its full size
 * instead of growing by doubling.
 */
static int
count_pairs(struct reader r) {
	if (r.left > LOOK_AHEAD)
		r.left = LOOK_AHEAD;
	int values = 0;
	for (bool nil; skip_value(&r, &nil) && !(nil && values % 2 == 0);)
		values++;
	return (values + 1) / 2;
}

static bool push_value(lua_State *L, struct reader *r, int depth);

static bool
push_table(lua_State *L, struct reader *r, int cookie, int depth) {
	size_t n;
	if (depth > UNPACK_DEPTH || !lua_checkstack(L, LUA_MINSTACK))
		return BAD(r);
	if (!read_count(r, cookie, &n))
		return false;
	/* room for what is sure to come; the rest grows as it arrives */
	lua_createtable(L, n < 1024 ? (int)n : 1024, n == 0 ? count_pairs(*r) : 0);
	for (size_t i = 1; i <= n; i++) {
		if (!push_value(L, r, depth))
			return false;
		lua_addelement(L, -2, i);
	}
	for (;;) {
		if (!push_value(L, r, depth))
			return false;
		if (lua_isnil(L, -1)) {
			lua_pop(L, 1);
			return true;
		}
		if (!push_value(L, r, depth))
			return false;
		const TValue *key = lua_viewat(L, -2);
		if (ttisfloat(key) && fltvalue(key) != fltvalue(key))
			return BAD(r); /* NaN as a key */
		lua_addpair(L, -3);
	}
}

static bool
push_number(lua_State *L, struct reader *r, int cookie) {
	if (cookie == N_REAL) {
		double d;
		const char *p = take(r, sizeof(d));
		if (p == NULL)
			return BAD(r);
		memcpy(&d, p, sizeof(d));
		lua_pushnumber(L, d);
		return true;
	}
	lua_Integer v;
	if (!read_integer(r, cookie, &v))
		return false;
	lua_pushinteger(L, v);
	return true;
}

static bool
push_value(lua_State *L, struct reader *r, int depth) {
	const char *tag = take(r, 1);
	if (tag == NULL)
		return BAD(r);
	int cookie = (uint8_t)*tag >> 3;
	const char *p;
	size_t n;
	switch (*tag & 7) {
	case T_NIL:
		lua_pushnil(L);
		return true;
	case T_BOOLEAN:
		lua_pushboolean(L, cookie);
		return true;
	case T_NUMBER:
		return push_number(L, r, cookie);
	case T_USERDATA:
		if ((p = take(r, sizeof(void *))) == NULL)
			return BAD(r);
		void *ptr;
		memcpy(&ptr, p, sizeof(ptr));
		lua_pushlightuserdata(L, ptr);
		return true;
	case T_SHORT_STRING:
		if ((p = take(r, (size_t)cookie)) == NULL)
			return BAD(r);
		lua_pushword(L, p, (size_t)cookie);
		return true;
	case T_LONG_STRING:
		if ((p = read_long(r, cookie, &n)) == NULL)
			return false;
		lua_pushlstring(L, p, n);
		return true;
	case T_TABLE:
		return push_table(L, r, cookie, depth + 1);
	default:
		return BAD(r);
	}
}

int
seri_unpack(lua_State *L, const void *msg, size_t sz) {
	struct reader r = {.p = msg, .left = msg ? sz : 0};
	int top = lua_gettop(L);
	int count = 0;
	while (r.left > 0) {
		if (count % 8 == 7 && !lua_checkstack(L, LUA_MINSTACK))
			BAD(&r);
		if (r.line || !push_value(L, &r, 0)) {
			lua_settop(L, top);
			lua_pushfstring(L, "Invalid serialize stream %d (line:%d)", (int)r.left, r.line);
			return -1;
		}
		count++;
	}
	return count;
}

/*
 * ---- checking what comes from outside ----
 */

/*
 * Tables are walked with a stack of counters instead of recursion. `todo` is the number of
 * array elements still to come; after them come keys and values until a nil key.
 */
struct level {
	size_t todo;
	bool value; /* a key was read, its value comes next */
};

/* Was the real number before `end` a key that no table can have? */
static bool
is_nan_key(const struct level *l, const char *end) {
	double d;
	memcpy(&d, end - sizeof(d), sizeof(d));
	return l->todo == 0 && !l->value && d != d;
}

/* One value was read inside a table: is this table now complete? */
static bool
step_level(struct level *l, bool nil) {
	if (l->todo > 0)
		l->todo--;
	else if (l->value)
		l->value = false;
	else if (nil)
		return true;
	else
		l->value = true;
	return false;
}

int
seri_check(const void *msg, size_t sz, char *err, size_t errsz) {
	struct reader r = {.p = msg, .left = sz};
	struct level stack[UNPACK_DEPTH + 1];
	int depth = 0;
	const char *why = "malformed serialised data";
	int result = SERI_MALFORMED;
	while (r.left > 0 || depth > 0) {
		const char *tag = take(&r, 1);
		if (tag == NULL)
			goto bad;
		int type = *tag & 7;
		int cookie = (uint8_t)*tag >> 3;
		if (type == T_TABLE) {
			if (depth == UNPACK_DEPTH) {
				why = "serialised tables nest too deeply";
				goto bad;
			}
			struct level *l = &stack[depth++];
			l->value = false;
			if (!read_count(&r, cookie, &l->todo))
				goto bad;
			continue;
		}
		if (type == T_USERDATA) {
			why = "serialised data holds a pointer (light userdata)";
			result = SERI_POINTER;
			goto bad;
		}
		if (!skip_scalar(&r, type, cookie))
			goto bad;
		if (type == T_NUMBER && cookie == N_REAL && depth > 0 &&
		    is_nan_key(&stack[depth - 1], r.p))
			goto bad;
		/* a completed table is a value of the table around it */
		bool nil = type == T_NIL;
		while (depth > 0 && step_level(&stack[depth - 1], nil)) {
			depth--;
			nil = false;
		}
	}
	return 0;
bad:
	snprintf(err, errsz, "%s (%zu bytes left of %zu)", why, r.left, sz);
	return result;
}

/*
 * ---- Lua entry points ----
 */

int
luaseri_pack(lua_State *L) {
	size_t sz;
	void *msg = seri_pack(L, 1, &sz);
	lua_settop(L, 0);
	if (msg == NULL)
		msg = skynet_malloc(1); /* callers pass the pair on and free it */
	lua_pushlightuserdata(L, msg);
	lua_pushinteger(L, (lua_Integer)sz);
	return 2;
}

/* Protected, so that the heap buffer survives an out-of-memory error. */
static int
push_bytes(lua_State *L) {
	const struct writer *w = lua_touserdata(L, 1);
	lua_pushlstring(L, w->buf, w->len);
	return 1;
}

int
luaseri_packstring(lua_State *L) {
	struct writer w;
	if (lua_gettop(L) == 0) {
		lua_pushliteral(L, "");
		return 1;
	}
	pack_range(L, &w, 1);
	lua_settop(L, 0);
	lua_pushcfunction(L, push_bytes);
	lua_pushlightuserdata(L, &w);
	int status = lua_pcall(L, 1, 1, 0);
	writer_close(&w);
	return status == LUA_OK ? 1 : lua_error(L);
}

int
luaseri_unpack(lua_State *L) {
	const void *msg;
	size_t sz;
	if (lua_isnoneornil(L, 1))
		return 0;
	if (lua_type(L, 1) == LUA_TSTRING) {
		msg = lua_tolstring(L, 1, &sz);
	} else {
		msg = check_pointer(L, 1);
		lua_Integer n = luaL_checkinteger(L, 2);
		luaL_argcheck(L, n >= 0, 2, "size is negative");
		sz = (size_t)n;
	}
	if (sz == 0)
		return 0;
	if (msg == NULL)
		return luaL_error(L, "deserialize null pointer");
	lua_settop(L, 1);
	int n = seri_unpack(L, msg, sz);
	if (n < 0) {
		luaL_where(L, 1);
		lua_insert(L, -2);
		lua_concat(L, 2);
		return lua_error(L);
	}
	return n;
}
