/*
 * A step of a generic `for` over a table, in place: what calling `next`, or what ipairs gives,
 * would put into the loop's variables.
 *
 * What isn't as usual (a key that isn't there any more, a metamethod) is left to the call; so
 * nothing can be told apart, errors neither. A hook that wants to see the call gets it, too: the
 * VM doesn't come here then.
 */
#define lforin_c
#define LUA_CORE

#include "lua.h"

#include "lgc.h"
#include "lobject.h"
#include "ltable.h"
#include "lvm.h"

LUAI_FUNC int luaB_next(lua_State *L);
LUAI_FUNC int luaB_ipairsaux(lua_State *L);

/* Where to look for what follows the key: the array part, then the nodes; -1: unclear. */
static l_mem
position(Table *t, const TValue *key, unsigned asize) {
	if (ttisnil(key))
		return 0;
	if (ttisinteger(key) && l_castS2U(ivalue(key)) - 1u < asize)
		return (l_mem)ivalue(key);
	if (ttisfloat(key))
		return -1;
	const TValue *v = luaH_get(t, key);
	if (isabstkey(v))
		return -1;
	return (l_mem)asize + ((const Node *)v - gnode(t, 0)) + 1;
}

static int
step_pairs(lua_State *L, Table *t, StkId ra) {
	const unsigned asize = luaH_realasize(t);
	l_mem i = position(t, s2v(ra + 2), asize);
	if (l_unlikely(i < 0))
		return 0;
	for (; i < (l_mem)asize; i++) {
		if (!isempty(&t->array[i])) {
			setivalue(s2v(ra + 4), i + 1);
			setobj2s(L, ra + 5, &t->array[i]);
			return 1;
		}
	}
	for (i -= asize; i < sizenode(t); i++) {
		Node *n = gnode(t, i);
		if (!isempty(gval(n))) {
			getnodekey(L, s2v(ra + 4), n);
			setobj2s(L, ra + 5, gval(n));
			return 1;
		}
	}
	setnilvalue(s2v(ra + 4));
	return 1;
}

static int
step_ipairs(lua_State *L, Table *t, StkId ra) {
	if (l_unlikely(!ttisinteger(s2v(ra + 2))))
		return 0;
	const lua_Integer i = intop(+, ivalue(s2v(ra + 2)), 1);
	const TValue *v = l_castS2U(i) - 1u < t->alimit ? &t->array[i - 1] : luaH_getint(t, i);
	if (!isempty(v)) {
		setivalue(s2v(ra + 4), i);
		setobj2s(L, ra + 5, v);
		return 1;
	}
	if (t->metatable != NULL)
		return 0;
	setnilvalue(s2v(ra + 4));
	return 1;
}

/* The step of the loop at ra. 0: nothing was done, the iterator is to be called. */
int
luaV_forin(lua_State *L, StkId ra) {
	if (!ttislcf(s2v(ra)) || !ttisanytable(s2v(ra + 1)))
		return 0;
	Table *t = hvalue(s2v(ra + 1));
	lua_CFunction f = fvalue(s2v(ra));
	if (f == luaB_next)
		return step_pairs(L, t, ra);
	if (f == luaB_ipairsaux)
		return step_ipairs(L, t, ra);
	return 0;
}
