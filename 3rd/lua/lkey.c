/*
 * A way into tables for C code that handles every message: a field by a key that was interned once.
 */
#define lkey_c
#define LUA_CORE

#include "lua.h"

#include "lapi.h"
#include "lgc.h"
#include "lobject.h"
#include "lstate.h"
#include "ltable.h"

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
