/*
 * Values as they lie in Lua's memory, for code of the project that walks many of them. It's for what is
 * compiled into the executable with this very Lua, never for a module. To be read only: whoever looks
 * keeps what he looks at on the stack, and looks anew after anything that could run Lua code.
 */
#ifndef lview_h
#define lview_h

#include "src/src/lua.h"
#ifndef l_likely /* luaconf.h has them for Lua's own files */
#define l_likely(x) luai_likely(x)
#define l_unlikely(x) luai_unlikely(x)
#endif

#include "src/src/lobject.h"

#include "src/src/ldo.h"
#include "src/src/lgc.h"
#include "src/src/lstate.h"
#include "src/src/ltable.h"

/* The value at a stack index; not for pseudo-indices. Any push may move it. */
static inline const TValue *
lua_viewat(lua_State *L, int idx) {
	return s2v(idx > 0 ? L->ci->func.p + idx : L->top.p + idx);
}

/* What the table holds under n, raw. */
static inline const TValue *
lua_viewindex(Table *t, lua_Unsigned n) {
	return n - 1 < t->alimit ? &t->array[n - 1] : luaH_getint(t, (lua_Integer)n);
}

/*
 * What the table holds, raw, under a short string, as lua_topointer gave that; empty when there's nothing,
 * or it's for a metamethod to tell.
 */
static inline const TValue *
lua_viewkey(const Table *t, const void *key) {
	return luaH_fastgetshortstr((Table *)t, (TString *)key);
}

/* The object that the value is; NULL: it's none. */
static inline const void *
lua_viewobject(const TValue *v) {
	return iscollectable(v) ? (const void *)gcvalue(v) : NULL;
}

/* What lua_touserdata gives for a full userdata with this very metatable; NULL for all else. */
static inline void *
lua_viewuserdata(const TValue *v, const Table *meta) {
	if (!ttisfulluserdata(v) || uvalue(v)->metatable != meta)
		return NULL;
	return getudatamem(uvalue(v));
}

/*
 * The next key and value from a position on: 0 at first, then as it was left. The first positions are
 * 1..n, as far as the array part goes. NULL: that was all.
 */
static inline const TValue *
lua_viewnext(const Table *t, unsigned *position, TValue *key) {
	const unsigned asize = luaH_realasize(t);
	for (; *position < asize; ++*position) {
		if (!isempty(&t->array[*position])) {
			setivalue(key, (lua_Integer)*position + 1);
			return &t->array[(*position)++];
		}
	}
	for (; *position - asize < (unsigned)sizenode(t); ++*position) {
		const Node *n = gnode(t, *position - asize);
		if (!isempty(gval(n))) {
			key->value_ = n->u.key_val;
			key->tt_ = n->u.key_tt;
			++*position;
			return gval(n);
		}
	}
	return NULL;
}

/*
 * Of a thread that isn't in any function: take back what lua_checkstack has promised it, so that the
 * collector can make its stack small again.
 */
static inline void
lua_trimframe(lua_State *L) {
	L->ci->top.p = L->top.p + LUA_MINSTACK;
}

/* The thread is about to wait, in a C function with a continuation: see lrest.c. */
static inline void
lua_mayrest(lua_State *L) {
	L->resting = 1;
}

/* lua_settop to no more values than there are, none of which is to be closed. */
static inline void
lua_dropto(lua_State *L, int n) {
	L->top.p = L->ci->func.p + 1 + n;
}

/* Push a value, which may be another thread's: there must be room. */
static inline void
lua_pushcopy(lua_State *L, const TValue *v) {
	setobj2s(L, L->top.p, v);
	L->top.p++;
}

/* lua_xmove of n values between two threads: there must be room. */
static inline void
lua_movetop(lua_State *from, lua_State *to, int n) {
	const StackValue *v = from->top.p - n;
	StkId top = to->top.p;
	from->top.p -= n;
	to->top.p += n;
	for (; n > 0; n--, top++, v++)
		setobj2s(to, top, s2v(v));
}

/* Push a table: there must be room. */
static inline void
lua_pushview(lua_State *L, Table *t) {
	TValue *top = s2v(L->top.p);
	val_(top).gc = obj2gco(t);
	settt_(top, ctb(t->tt));
	L->top.p++;
}

#endif
