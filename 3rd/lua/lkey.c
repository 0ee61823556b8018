/*
 * Shorter ways for C code that handles every message: a field by a key that was interned once, a
 * text that was interned lately, and filling a table that is new.
 */
#define lkey_c
#define LUA_CORE

#include "lua.h"

#include "lapi.h"
#include "lgc.h"
#include "lobject.h"
#include "lstate.h"
#include "lstring.h"
#include "ltable.h"

#include <string.h>

/* The value at a stack index; pseudo-indices aren't for these functions. */
static const TValue *
slot(lua_State *L, int idx) {
	api_check(L, !(idx <= LUA_REGISTRYINDEX), "stack index expected");
	return s2v(idx > 0 ? L->ci->func.p + idx : L->top.p + idx);
}

/* The field itself; NULL: there is none, or its value is for a metamethod to tell. */
static const TValue *
field(lua_State *L, int idx, const void *key) {
	const TValue *t = slot(L, idx);
	if (l_unlikely(!ttisanytable(t)))
		return NULL;
	const TValue *v = luaH_fastgetshortstr(hvalue(t), (TString *)key);
	return isempty(v) ? NULL : v;
}

/*
 * lua_getfield, with the key as lua_topointer gave it for a short string. The caller keeps that
 * string alive.
 */
LUA_API int
lua_getkey(lua_State *L, int idx, const void *key) {
	const TValue *v = field(L, idx, key);
	if (l_unlikely(v == NULL))
		return lua_getfield(L, idx, getstr((TString *)key));
	setobj2s(L, L->top.p, v);
	api_incr_top(L);
	return ttype(v);
}

/* The C function without upvalues that the field holds; NULL: it holds something else. */
LUA_API lua_CFunction
lua_keyfunction(lua_State *L, int idx, const void *key) {
	const TValue *v = field(L, idx, key);
	return v && ttislcf(v) ? fvalue(v) : NULL;
}

/*
 * lua_pushlstring of a text that may well have come before, as names in messages do. Looks first
 * in the state's cache of texts, which the collector keeps free of dead ones. The cache belongs
 * to lua_pushstring, which compares up to the first zero: a text that holds one may not get in.
 */
LUA_API void
lua_pushword(lua_State *L, const char *s, size_t len) {
	if (len == 0 || len > LUAI_MAXSHORTLEN) {
		lua_pushlstring(L, s, len);
		return;
	}
	unsigned at =
		(unsigned)len * 11 + (lu_byte)s[0] + (lu_byte)s[len - 1] * 5 + (lu_byte)s[len / 2] * 3;
	TString **known = G(L)->strcache[at % STRCACHE_N];
	for (int i = 0; i < STRCACHE_M; i++) {
		TString *ts = known[i];
		if (ts->tt == LUA_VSHRSTR && ts->shrlen == len && memcmp(getshrstr(ts), s, len) == 0) {
			setsvalue2s(L, L->top.p, ts);
			api_incr_top(L);
			return;
		}
	}
	lua_pushlstring(L, s, len);
	if (memchr(s, 0, len) == NULL) {
		memmove(known + 1, known, (STRCACHE_M - 1) * sizeof(*known));
		known[0] = tsvalue(s2v(L->top.p - 1));
	}
}

/* lua_rawset, of a key that the table, not a shared one, hardly has yet. */
LUA_API void
lua_addpair(lua_State *L, int idx) {
	Table *t = hvalue(slot(L, idx));
	const TValue *key = s2v(L->top.p - 2), *value = s2v(L->top.p - 1);
	api_check(L, ttistable(slot(L, idx)), "table expected");
	if (ttisshrstring(key) && !isdummy(t)) {
		/* a key is in its main position, or another one is */
		Node *n = gnode(t, lmod(tsvalue(key)->hash, sizenode(t)));
		if (keyisnil(n) && !ttisnil(value)) {
			setnodekey(L, n, key);
			setobj2t(L, gval(n), value);
			invalidateTMcache(t);
			luaC_barrierback(L, obj2gco(t), key);
			luaC_barrierback(L, obj2gco(t), value);
			L->top.p -= 2;
			return;
		}
	}
	lua_rawset(L, idx);
}

/* lua_rawseti, of an element for which the table, not a shared one, was created with room. */
LUA_API void
lua_addelement(lua_State *L, int idx, lua_Unsigned i) {
	Table *t = hvalue(slot(L, idx));
	const TValue *value = s2v(L->top.p - 1);
	api_check(L, ttistable(slot(L, idx)), "table expected");
	if (i - 1 < t->alimit) {
		setobj2t(L, &t->array[i - 1], value);
		luaC_barrierback(L, obj2gco(t), value);
		L->top.p--;
	} else {
		lua_rawseti(L, idx, (lua_Integer)i);
	}
}
