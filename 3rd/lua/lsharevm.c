/*
 * What one state has to do with shared units.
 *
 * A state counts as one user of each unit it has got, until it closes. It can't know
 * without looking when it has no reference to a unit left, since the collector doesn't
 * visit shared objects. So when a full collection begins and some unit of this state was
 * retired by its owner (a newer version, a cleared cache), it becomes a census: marking
 * then stops at shared objects, too, and notes their units. Retired ones that weren't met
 * are dropped. Short strings belong to no unit: those of a dropped unit that were met are
 * kept by the state itself. Only a full collection marks everything with no code running
 * in between, so only then.
 *
 * Everything is called by the thread that runs the state.
 */
#define lsharevm_c
#define LUA_CORE

#include <stdlib.h>

#include "lua.h"

#include "lapi.h"
#include "ldo.h"
#include "lfunc.h"
#include "lmem.h"
#include "lshare.h"
#include "lstring.h"
#include "ltable.h"

struct SharedRefs {
	struct PtrMap units;   /* unit -> &met in the census that goes on, or NULL */
	struct PtrMap strings; /* short strings that the state keeps by itself */
	struct PtrMap met;     /* short strings met in the census */
	int failed;            /* no memory: the census can't tell */
};

static char MET;

/* The state becomes a user of the unit. Returns 0, or -1: no memory. */
static int
hold(global_State *g, lua_Shared *u) {
	if (g->shared == NULL)
		g->shared = calloc(1, sizeof(*g->shared));
	if (g->shared == NULL)
		return -1;
	if (luaE_mapget(&g->shared->units, u))
		return 0;
	if (luaE_mapadd(&g->shared->units, u, NULL) != 0)
		return -1;
	lua_keepshared(u);
	return 0;
}

/* The units that this state uses, each with a reference more. NULL: no memory. */
lua_Shared **
luaE_keepunits(global_State *g, size_t *n) {
	const struct SharedRefs *r = g->shared;
	*n = 0;
	lua_Shared **list = malloc((r ? r->units.n + 1 : 1) * sizeof(*list));
	for (size_t i = 0; list && r && i < r->units.size; i++) {
		lua_Shared *u = (lua_Shared *)r->units.slot[i].key;
		if (u) {
			lua_keepshared(u);
			list[(*n)++] = u;
		}
	}
	return list;
}

/* The state becomes a user of these units. Returns 0, or -1: no memory. */
int
luaE_useunits(global_State *g, lua_Shared *const *unit, size_t n) {
	for (size_t i = 0; i < n; i++) {
		if (hold(g, unit[i]) != 0)
			return -1;
	}
	return 0;
}

static void
pushclosure(lua_State *L, Proto *p) {
	LClosure *cl = luaF_newLclosure(L, p->sizeupvalues);
	setclLvalue2s(L, L->top.p, cl);
	api_incr_top(L);
	cl->p = p;
	luaF_initupvals(L, cl);
	if (cl->nupvalues >= 1) { /* as in lua_load: the globals */
		Table *registry = hvalue(&G(L)->l_registry);
		const TValue *globals = luaH_getint(registry, LUA_RIDX_GLOBALS);
		setobj(L, cl->upvals[0]->v.p, globals);
		luaC_barrier(L, cl->upvals[0], globals);
	}
	luaC_checkGC(L);
}

/*
 * Push the table of a unit, or a new function of its code whose first upvalue is the
 * table of globals. The caller has a reference to the unit; the state gets its own. May
 * raise (memory).
 */
LUA_API void
lua_pushshared(lua_State *L, lua_Shared *u) {
	if (hold(G(L), u) != 0)
		luaM_error(L);
	if (u->root->tt == LUA_VPROTO) {
		pushclosure(L, gco2p(u->root));
	} else {
		setgcovalue(L, s2v(L->top.p), u->root);
		api_incr_top(L);
	}
}

/*
 * The unit with this root, if this state is a user of one; else NULL. Only the address of
 * the root counts: it may be gone. Valid until the state's next full collection.
 */
LUA_API lua_Shared *
lua_findshared(lua_State *L, const void *root) {
	const struct SharedRefs *r = G(L)->shared;
	for (size_t i = 0; r && i < r->units.size; i++) {
		const lua_Shared *u = r->units.slot[i].key;
		if (u && u->root == root)
			return (lua_Shared *)u;
	}
	return NULL;
}

LUA_API int
lua_isshared(lua_State *L, int idx) {
	return lua_type(L, idx) == LUA_TTABLE &&
	       isshared((const Table *)lua_topointer(L, idx));
}

/*
 * ---- census ----
 */

static int
isretired(const lua_Shared *u) {
	/* relaxed: sooner or later */
	return atomic_load_explicit(&u->retired, memory_order_relaxed);
}

static int
worthit(struct SharedRefs *r) {
	int retired = 0;
	for (size_t i = 0; i < r->units.size; i++) {
		struct PtrSlot *s = &r->units.slot[i];
		s->value = NULL;
		if (s->key && isretired(s->key))
			retired = 1;
	}
	return retired || r->strings.n > 0;
}

/* A full collection begins. */
void
luaE_startcensus(global_State *g) {
	if (g->shared == NULL || g->gcemergency || !worthit(g->shared))
		return;
	g->shared->failed = 0;
	g->markmask = WHITEBITS | bitmask(SHAREDBIT);
}

void
luaE_touchshared(global_State *g, GCObject *o) {
	struct SharedRefs *r = g->shared;
	if (o->next) {
		void **met = luaE_mapget(&r->units, unitof(o));
		lua_assert(met != NULL);
		if (met)
			*met = &MET;
	} else if (luaE_mapget(&r->met, o) == NULL &&
		   luaE_mapadd(&r->met, o, NULL) != 0) {
		r->failed = 1;
	}
}

/* Entries with shared objects stay in weak tables, so these references count. */
void
luaE_touchweak(global_State *g, Table *h) {
	unsigned asize = luaH_realasize(h);
	for (unsigned i = 0; i < asize; i++) {
		if (iscollectable(&h->array[i]) && isshared(gcvalue(&h->array[i])))
			luaE_touchshared(g, gcvalue(&h->array[i]));
	}
	for (size_t i = 0; i < (size_t)sizenode(h); i++) {
		Node *n = gnode(h, i);
		if (isempty(gval(n)))
			continue;
		if (iscollectable(gval(n)) && isshared(gcvalue(gval(n))))
			luaE_touchshared(g, gcvalue(gval(n)));
		if (keyiscollectable(n) && isshared(gckey(n)))
			luaE_touchshared(g, gckey(n));
	}
}

/* Keep the strings of the unit that are in use. Returns 0, or -1: no memory. */
static int
keepmet(struct SharedRefs *r, const lua_Shared *u) {
	for (size_t i = 0; i < u->nstrings; i++) {
		TString *ts = u->strings[i];
		if (luaE_mapget(&r->met, ts) && !luaE_mapget(&r->strings, ts)) {
			if (luaE_mapadd(&r->strings, ts, NULL) != 0)
				return -1;
			luaE_keepstring(ts);
		}
	}
	return 0;
}

/* Drop the retired units that weren't met. Without memory for that, keep them all. */
static void
dropunits(struct SharedRefs *r) {
	struct PtrMap rest = {0};
	for (size_t i = 0; i < r->units.size; i++) {
		struct PtrSlot *s = &r->units.slot[i];
		if (s->key == NULL)
			continue;
		if (s->value == NULL && (!isretired(s->key) || keepmet(r, s->key) != 0))
			s->value = &MET;
		if (s->value && luaE_mapadd(&rest, s->key, NULL) != 0) {
			luaE_mapfree(&rest);
			return;
		}
	}
	for (size_t i = 0; i < r->units.size; i++) {
		struct PtrSlot *s = &r->units.slot[i];
		if (s->key && s->value == NULL)
			lua_dropshared((lua_Shared *)s->key);
	}
	luaE_mapfree(&r->units);
	r->units = rest;
}

static void
dropstrings(struct SharedRefs *r) {
	struct PtrMap rest = {0};
	for (size_t i = 0; i < r->strings.size; i++) {
		const void *ts = r->strings.slot[i].key;
		if (ts && luaE_mapget(&r->met, ts) && luaE_mapadd(&rest, ts, NULL) != 0) {
			luaE_mapfree(&rest);
			return;
		}
	}
	for (size_t i = 0; i < r->strings.size; i++) {
		TString *ts = (TString *)r->strings.slot[i].key;
		if (ts && !luaE_mapget(&rest, ts))
			luaE_dropstrings(&ts, 1);
	}
	luaE_mapfree(&r->strings);
	r->strings = rest;
}

/* Everything alive was met. */
void
luaE_endcensus(global_State *g) {
	if (g->markmask == WHITEBITS)
		return;
	g->markmask = WHITEBITS;
	if (!g->shared->failed) {
		dropstrings(g->shared);
		dropunits(g->shared);
	}
	luaE_mapfree(&g->shared->met);
}

/* The state closes; none of its objects is left. */
void
luaE_freeshared(global_State *g) {
	struct SharedRefs *r = g->shared;
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->units.size; i++) {
		if (r->units.slot[i].key)
			lua_dropshared((lua_Shared *)r->units.slot[i].key);
	}
	for (size_t i = 0; i < r->strings.size; i++) {
		TString *ts = (TString *)r->strings.slot[i].key;
		if (ts)
			luaE_dropstrings(&ts, 1);
	}
	luaE_mapfree(&r->units);
	luaE_mapfree(&r->strings);
	free(r);
	g->shared = NULL;
}
