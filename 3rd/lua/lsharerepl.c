/*
 * Replacing a retired table by a newer one, in all of a state.
 *
 * Every live object of the state is looked at once, by the collector's lists: no
 * traversal, no memory in proportion to the state or to the tables. A reference to the
 * old unit's table, or to a table inside it, becomes one to the table at the same path in
 * the new unit; where the path leads to no table any more, the reference becomes nil (an
 * entry whose key it was vanishes). Shared objects need no barriers.
 *
 * Called by the thread that runs the state.
 */
#define lsharerepl_c
#define LUA_CORE

#include <stdlib.h>

#include "lua.h"

#include "ldo.h"
#include "lfunc.h"
#include "lmem.h"
#include "lshare.h"
#include "ltable.h"

struct replacement {
	lua_State *L;
	lua_Shared *old, *newer;
	Frozen **path; /* scratch */
	size_t cap;
	const Frozen *last; /* what was asked last, and the answer */
	GCObject *answer;
	int count;
	int failed; /* no memory */
};

static GCObject *
follow(struct replacement *r, size_t depth) {
	GCObject *o = r->newer->root;
	while (depth-- > 0) {
		const TValue *v = luaH_get(gco2t(o), &r->path[depth]->key);
		if (!ttisfrozen(v))
			return NULL;
		o = gcvalue(v);
	}
	return o;
}

/* The table of the newer unit at the path of this one; NULL if there is none. */
static GCObject *
counterpart(struct replacement *r, Frozen *f) {
	if (f == r->last)
		return r->answer;
	size_t depth = 0;
	for (Frozen *at = f; at->t.gclist; at = (Frozen *)(void *)at->t.gclist) {
		if (depth == r->cap) {
			size_t cap = r->cap ? r->cap * 2 : 16;
			Frozen **path = realloc(r->path, cap * sizeof(*path));
			if (path == NULL) {
				r->failed = 1;
				return obj2gco(&f->t); /* leave it */
			}
			r->path = path;
			r->cap = cap;
		}
		r->path[depth++] = at;
	}
	r->last = f;
	r->answer = follow(r, depth);
	return r->answer;
}

static int
isold_(const struct replacement *r, const TValue *v) {
	return ttisfrozen(v) && unitof(gcvalue(v)) == r->old;
}

static void
visit(struct replacement *r, TValue *v) {
	if (!isold_(r, v))
		return;
	GCObject *o = counterpart(r, (Frozen *)(void *)gcvalue(v));
	if (o) {
		setgcovalue(r->L, v, o);
	} else {
		setnilvalue(v);
	}
	r->count++;
}

static void
visitmeta(struct replacement *r, Table **mt) {
	if (*mt && isshared(*mt) && unitof(*mt) == r->old) {
		GCObject *o = counterpart(r, (Frozen *)(void *)*mt);
		*mt = o ? gco2t(o) : NULL;
		r->count++;
	}
}

/* Give one entry with an old key the new one. Returns 0 when it has to be left as it is. */
static int
rekeyentry(struct replacement *r, Table *h, const TValue *key, const TValue *old) {
	GCObject *o = counterpart(r, (Frozen *)(void *)gcvalue(key));
	TValue value;
	if (o == gcvalue(key))
		return 0;
	setobj(r->L, &value, old);
	if (o) {
		TValue newkey;
		setgcovalue(r->L, &newkey, o);
		luaH_set(r->L, h, &newkey, &value);
	}
	TValue *slot = (TValue *)luaH_get(h, key);
	if (!isempty(slot))
		setempty(slot);
	r->count++;
	return 1;
}

/*
 * Entries whose key is an old table get the new one as key. May raise (memory). Setting a key may
 * rebuild the table, or move another entry to where we have been: so until a pass finds none.
 */
static void
rekey(struct replacement *r, Table *h) {
	int changed;
	do {
		changed = 0;
		for (size_t i = 0; i < (size_t)sizenode(h); i++) {
			Node *n = gnode(h, i), *nodes = h->node;
			TValue key;
			getnodekey(r->L, &key, n);
			if (isempty(gval(n)) || !isold_(r, &key))
				continue;
			changed |= rekeyentry(r, h, &key, gval(n));
			if (h->node != nodes)
				break;
		}
	} while (changed);
}

static int
visittable(struct replacement *r, Table *h) {
	unsigned asize = luaH_realasize(h);
	int keys = 0;
	visitmeta(r, &h->metatable);
	for (unsigned i = 0; i < asize; i++)
		visit(r, &h->array[i]);
	for (size_t i = 0; i < (size_t)sizenode(h); i++) {
		Node *n = gnode(h, i);
		TValue key;
		if (isempty(gval(n)))
			continue;
		visit(r, gval(n));
		getnodekey(r->L, &key, n);
		keys |= isold_(r, &key);
	}
	return keys;
}

static void
visitobject(struct replacement *r, GCObject *o) {
	switch (o->tt) {
	case LUA_VTABLE:
		if (visittable(r, gco2t(o)))
			rekey(r, gco2t(o));
		break;
	case LUA_VUSERDATA: {
		Udata *u = gco2u(o);
		visitmeta(r, &u->metatable);
		for (int i = 0; i < u->nuvalue; i++)
			visit(r, &u->uv[i].uv);
		break;
	}
	case LUA_VCCL:
		for (int i = 0; i < gco2ccl(o)->nupvalues; i++)
			visit(r, &gco2ccl(o)->upvalue[i]);
		break;
	case LUA_VUPVAL: /* an open one is a slot of a stack */
		if (!upisopen(gco2upv(o)))
			visit(r, gco2upv(o)->v.p);
		break;
	case LUA_VTHREAD: {
		lua_State *th = gco2th(o);
		for (StkId s = th->stack.p; s && s < th->top.p; s++)
			visit(r, s2v(s));
		break;
	}
	default:
		break; /* strings, prototypes; a Lua closure's upvalues are objects */
	}
}

static void
visitlist(struct replacement *r, GCObject *o) {
	for (; o && !r->failed; o = o->next) {
		if (!isdead(G(r->L), o))
			visitobject(r, o);
	}
}

static void
visitall(lua_State *L, void *ud) {
	struct replacement *r = ud;
	global_State *g = G(L);
	for (int i = 0; i < LUA_NUMTAGS; i++)
		visitmeta(r, &g->mt[i]);
	visitlist(r, g->allgc);
	visitlist(r, g->finobj);
	visitlist(r, g->tobefnz);
}

/*
 * Replace every reference of this state to tables of `old` by one to their counterparts
 * in `newer`. The state must hold both (lua_pushshared). Returns how many references
 * there were. Raises when memory is short; then a part may be replaced, and it can be
 * called again.
 */
LUA_API int
lua_replaceshared(lua_State *L, lua_Shared *old, lua_Shared *newer) {
	struct replacement r = {.L = L, .old = old, .newer = newer};
	lu_byte stopped = G(L)->gcstopem;
	G(L)->gcstopem = 1; /* an emergency collection would change the lists */
	int status = luaD_rawrunprotected(L, visitall, &r);
	G(L)->gcstopem = stopped;
	free(r.path);
	if (status != LUA_OK || r.failed)
		luaD_throw(L, status != LUA_OK ? status : LUA_ERRMEM);
	return r.count;
}
