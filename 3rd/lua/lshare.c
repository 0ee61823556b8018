/*
 * Units: trees of objects copied out of a state, to be shared by all.
 *
 * A unit is built by one thread, from a state it owns, and published by whoever asked for
 * it (with a lock or a release store); after that nothing in it changes, its count of
 * references excepted. All its objects lie in a few chunks that are freed together.
 *
 * A shared table is laid out so that reading never writes to it: the array part has its
 * real size and ends with a value, so the length hint stays; the flags of absent
 * metamethods are filled in. Nothing else than what was found in the original is kept of
 * it: metatables, userdata, threads and functions with upvalues are refused.
 */
#define lshare_c
#define LUA_CORE

#include <limits.h>
#include <stdlib.h>

#include "lua.h"

#include "lapi.h"
#include "lfunc.h"
#include "lobject.h"
#include "lshare.h"
#include "lstring.h"
#include "ltable.h"
#include "ltm.h"

#define CHUNK_MIN 2048
#define CHUNK_MAX ((size_t)1 << 20)
#define PROTO_DEPTH 250

struct SharedChunk {
	struct SharedChunk *next;
	size_t used, size;
	max_align_t data[];
};

/* A unit in the making. */
struct builder {
	lua_State *L; /* state of the originals */
	lua_Shared *unit;
	struct PtrMap copies; /* original -> copy; short strings included */
	struct pair {
		Table *from;
		Frozen *to;
	} * tables; /* all tables met; those from `done` on wait to be filled */
	size_t ntables, captables, done;
	const char *why; /* it can't be shared */
};

static const char NO_MEMORY[] = "not enough memory";

static int
fail(struct builder *b, const char *why) {
	b->why = why;
	return -1;
}

/*
 * ---- memory ----
 */

/* A block of the unit; NULL when there's no memory, b->why is set then. */
static void *
take(struct builder *b, size_t n, size_t size) {
	if (n > (SIZE_MAX / 2) / size) {
		fail(b, NO_MEMORY);
		return NULL;
	}
	size_t sz = (n * size + 7) & ~(size_t)7;
	struct SharedChunk *c = b->unit->chunks;
	if (c == NULL || c->size - c->used < sz) {
		size_t room = b->unit->size / 4; /* so that at most a fifth is wasted */
		if (room < CHUNK_MIN)
			room = CHUNK_MIN;
		if (room > CHUNK_MAX)
			room = CHUNK_MAX;
		if (room < sz)
			room = sz;
		c = luaE_sharedalloc(NULL, 0, sizeof(*c) + room);
		if (c == NULL) {
			fail(b, NO_MEMORY);
			return NULL;
		}
		c->used = 0;
		c->size = room;
		c->next = b->unit->chunks;
		b->unit->chunks = c;
		b->unit->size += sizeof(*c) + room;
	}
	void *p = (char *)c->data + c->used;
	c->used += sz;
	return p;
}

/* An array of the unit with the content of another one. Returns 0 or -1. */
static int
copyarray(struct builder *b, void *to, const void *from, int n, size_t size) {
	void **array = to;
	*array = NULL;
	if (n == 0)
		return 0;
	*array = take(b, (size_t)n, size);
	if (*array == NULL)
		return -1;
	memcpy(*array, from, (size_t)n * size);
	return 0;
}

static void
header(struct builder *b, void *object, lu_byte tt) {
	GCObject *o = object;
	o->tt = tt;
	o->marked = SHAREDMARK;
	o->next = (GCObject *)(void *)b->unit;
}

static void *
copied(struct builder *b, const void *from) {
	void **copy = luaE_mapget(&b->copies, from);
	return copy ? *copy : NULL;
}

static int
remember(struct builder *b, const void *from, void *copy) {
	return luaE_mapadd(&b->copies, from, copy) == 0 ? 0 : fail(b, NO_MEMORY);
}

/*
 * ---- strings ----
 */

/* Make the unit an owner of the interned string. */
static int
own(struct builder *b, TString *ts) {
	lua_Shared *u = b->unit;
	if (u->nstrings == u->capstrings) {
		size_t cap = u->capstrings ? u->capstrings * 2 : 16;
		TString **list = luaE_sharedalloc(u->strings, u->capstrings * sizeof(*list),
		                                  cap * sizeof(*list));
		if (list == NULL) {
			luaE_dropstrings(&ts, 1);
			return fail(b, NO_MEMORY);
		}
		u->strings = list;
		u->capstrings = cap;
	}
	u->strings[u->nstrings++] = ts;
	return 0;
}

static TString *
copylong(struct builder *b, const TString *src) {
	TString *ts = take(b, 1, sizelstring(src->u.lnglen));
	if (ts == NULL)
		return NULL;
	header(b, ts, LUA_VLNGSTR);
	ts->shrlen = 0xFF;
	ts->u.lnglen = src->u.lnglen;
	memcpy(ts->contents, src->contents, src->u.lnglen + 1);
	/* states compute this at the first use as a key, which would be a write */
	ts->hash = luaS_hash(ts->contents, src->u.lnglen, G(b->L)->seed);
	ts->extra = 1;
	return ts;
}

static TString *
copystring(struct builder *b, const TString *src) {
	TString *ts = copied(b, src);
	if (ts)
		return ts;
	if (src->tt == LUA_VLNGSTR) {
		ts = copylong(b, src);
	} else {
		ts = luaE_internshared(src);
		if (ts == NULL)
			fail(b, NO_MEMORY);
		else if (own(b, ts) != 0)
			ts = NULL;
	}
	return ts && remember(b, src, ts) == 0 ? ts : NULL;
}

/* A string that may be absent: debug information that was stripped. */
static int
copyname(struct builder *b, TString **name) {
	if (*name == NULL)
		return 0;
	*name = copystring(b, *name);
	return *name ? 0 : -1;
}

/*
 * ---- prototypes ----
 */

static int
copyconstants(struct builder *b, Proto *f) {
	for (int i = 0; i < f->sizek; i++) {
		if (ttisstring(&f->k[i])) {
			TString *ts = copystring(b, tsvalue(&f->k[i]));
			if (ts == NULL)
				return -1;
			setsvalue(b->L, &f->k[i], ts);
		}
	}
	return 0;
}

static int
copynames(struct builder *b, Proto *f) {
	for (int i = 0; i < f->sizeupvalues; i++) {
		if (copyname(b, &f->upvalues[i].name) != 0)
			return -1;
	}
	for (int i = 0; i < f->sizelocvars; i++) {
		if (copyname(b, &f->locvars[i].varname) != 0)
			return -1;
	}
	return copyname(b, &f->source);
}

static Proto *
copyproto(struct builder *b, const Proto *src, int depth) {
	Proto *f = copied(b, src);
	if (f)
		return f;
	if (depth > PROTO_DEPTH) {
		fail(b, "functions are nested too deep");
		return NULL;
	}
	f = take(b, 1, sizeof(*f));
	if (f == NULL || remember(b, src, f) != 0)
		return NULL;
	*f = *src;
	header(b, f, LUA_VPROTO);
	f->gclist = NULL;
	if (copyarray(b, &f->k, src->k, f->sizek, sizeof(*f->k)) != 0 ||
	    copyarray(b, &f->code, src->code, f->sizecode, sizeof(*f->code)) != 0 ||
	    copyarray(b, &f->p, src->p, f->sizep, sizeof(Proto *)) != 0 ||
	    copyarray(b, &f->upvalues, src->upvalues, f->sizeupvalues,
		      sizeof(Upvaldesc)) != 0 ||
	    copyarray(b, &f->lineinfo, src->lineinfo, f->sizelineinfo,
	              sizeof(ls_byte)) != 0 ||
	    copyarray(b, &f->abslineinfo, src->abslineinfo, f->sizeabslineinfo,
		      sizeof(AbsLineInfo)) != 0 ||
	    copyarray(b, &f->locvars, src->locvars, f->sizelocvars, sizeof(LocVar)) != 0)
		return NULL;
	if (copyconstants(b, f) != 0 || copynames(b, f) != 0)
		return NULL;
	for (int i = 0; i < f->sizep; i++) {
		f->p[i] = copyproto(b, src->p[i], depth + 1);
		if (f->p[i] == NULL)
			return NULL;
	}
	return f;
}

/* A function value: without upvalues, there is nothing in it that states change. */
static int
copyclosure(struct builder *b, TValue *to, LClosure *src) {
	LClosure *cl = copied(b, src);
	if (src->nupvalues > 0)
		return fail(b, "Invalid function with upvalue");
	if (cl == NULL) {
		cl = take(b, 1, (size_t)sizeLclosure(0));
		if (cl == NULL || remember(b, src, cl) != 0)
			return -1;
		header(b, cl, LUA_VLCL);
		cl->nupvalues = 0;
		cl->gclist = NULL;
		cl->p = copyproto(b, src->p, 0);
		if (cl->p == NULL)
			return -1;
	}
	setclLvalue(b->L, to, cl);
	return 0;
}

/*
 * ---- tables ----
 */

/* What tables without a hash part have in common; never written. */
static const Node emptynode = {{{NULL}, LUA_VEMPTY, LUA_VNIL, 0, {NULL}}};

/* The copy of a table, still to be filled if it's met for the first time. */
static Frozen *
reserve(struct builder *b, Table *from, Frozen *parent, const TValue *key) {
	Frozen *to = copied(b, from);
	if (to)
		return to;
	if (b->ntables == b->captables) {
		size_t cap = b->captables ? b->captables * 2 : 16;
		struct pair *list = realloc(b->tables, cap * sizeof(*list));
		if (list == NULL) {
			fail(b, NO_MEMORY);
			return NULL;
		}
		b->tables = list;
		b->captables = cap;
	}
	to = take(b, 1, sizeof(*to));
	if (to == NULL || remember(b, from, to) != 0)
		return NULL;
	memset(to, 0, sizeof(*to));
	header(b, to, LUA_VFROZEN);
	to->t.gclist = parent ? obj2gco(&parent->t) : NULL;
	if (key) {
		setobj(b->L, &to->key, key);
	} else {
		setnilvalue(&to->key);
	}
	b->tables[b->ntables++] = (struct pair){from, to};
	return to;
}

/* Copy one value of the table `parent`, found there under `key` (a copy already). */
static int
copyvalue(struct builder *b, TValue *to, const TValue *from, Frozen *parent,
	  const TValue *key) {
	switch (ttype(from)) {
	case LUA_TSTRING: {
		TString *ts = copystring(b, tsvalue(from));
		if (ts == NULL)
			return -1;
		setsvalue(b->L, to, ts);
		return 0;
	}
	case LUA_TTABLE: {
		Frozen *t = reserve(b, hvalue(from), parent, key);
		if (t == NULL)
			return -1;
		setgcovalue(b->L, to, obj2gco(&t->t));
		return 0;
	}
	case LUA_TFUNCTION:
		if (ttisLclosure(from))
			return copyclosure(b, to, clLvalue(from));
		if (ttisCclosure(from))
			return fail(b, "Invalid function with upvalue");
		break;
	case LUA_TUSERDATA:
		return fail(b, "Invalid type [userdata]");
	case LUA_TTHREAD:
		return fail(b, "Invalid type [thread]");
	}
	*to = *from; /* it isn't collectable; an empty slot stays one */
	return 0;
}

static int
fillarray(struct builder *b, Frozen *to, Table *from) {
	unsigned n = luaH_realasize(from);
	while (n > 0 && isempty(&from->array[n - 1]))
		n--; /* the length is what the last value says, without a search */
	to->t.alimit = n;
	if (n == 0)
		return 0;
	to->t.array = take(b, n, sizeof(TValue));
	if (to->t.array == NULL)
		return -1;
	for (unsigned i = 0; i < n; i++) {
		TValue key;
		setivalue(&key, (lua_Integer)i + 1);
		if (copyvalue(b, &to->t.array[i], &from->array[i], to, &key) != 0)
			return -1;
	}
	return 0;
}

/* An empty hash part with room for exactly the entries of the original. */
static int
makenodes(struct builder *b, Frozen *to, Table *from) {
	size_t n = 0, size = 1;
	for (size_t i = 0; i < (size_t)sizenode(from); i++)
		n += !isempty(gval(gnode(from, i)));
	to->t.node = (Node *)&emptynode;
	if (n == 0)
		return 0;
	while (size < n) {
		size *= 2;
		to->t.lsizenode++;
	}
	to->t.node = take(b, size, sizeof(Node));
	if (to->t.node == NULL)
		return -1;
	for (size_t i = 0; i < size; i++)
		*gnode(&to->t, i) = emptynode;
	to->t.lastfree = gnode(&to->t, size);
	return 0;
}

static int
fillnodes(struct builder *b, Frozen *to, Table *from) {
	if (makenodes(b, to, from) != 0)
		return -1;
	for (size_t i = 0; i < (size_t)sizenode(from); i++) {
		Node *n = gnode(from, i);
		TValue orig, key, value;
		if (isempty(gval(n)))
			continue;
		getnodekey(b->L, &orig, n);
		if (copyvalue(b, &key, &orig, to, NULL) != 0 ||
		    copyvalue(b, &value, gval(n), to, &key) != 0)
			return -1;
		luaH_set(b->L, &to->t, &key,
			 &value); /* there's room: it doesn't rehash */
	}
	return 0;
}

static int
filltable(struct builder *b, Frozen *to, Table *from) {
	if (from->metatable)
		return fail(b, "Can't share metatable");
	if (fillarray(b, to, from) != 0 || fillnodes(b, to, from) != 0)
		return -1;
	/* states note here that a metamethod is absent, when they first look for it */
	for (int e = 0; e <= TM_EQ; e++) {
		if (isempty(luaH_getshortstr(&to->t, G(b->L)->tmname[e])))
			to->t.flags |= cast_byte(1u << e);
	}
	return 0;
}

/*
 * ---- the unit ----
 */

static void
freeunit(lua_Shared *u) {
	luaE_dropstrings(u->strings, u->nstrings);
	luaE_sharedalloc(u->strings, u->capstrings * sizeof(*u->strings), 0);
	while (u->chunks) {
		struct SharedChunk *next = u->chunks->next;
		luaE_sharedalloc(u->chunks, sizeof(*u->chunks) + u->chunks->size, 0);
		u->chunks = next;
	}
	luaE_sharedalloc(u, sizeof(*u), 0);
}

static int
begin(struct builder *b, lua_State *L) {
	*b = (struct builder){.L = L};
	b->unit = luaE_sharedalloc(NULL, 0, sizeof(*b->unit));
	if (b->unit == NULL)
		return fail(b, NO_MEMORY);
	memset(b->unit, 0, sizeof(*b->unit));
	atomic_init(&b->unit->refs, 1);
	atomic_init(&b->unit->retired, 0);
	b->unit->size = sizeof(*b->unit);
	return 0;
}

/* Returns the unit, or NULL when something failed; in either case nothing else is left.
 */
static lua_Shared *
end(struct builder *b) {
	lua_Shared *u = b->unit;
	luaE_mapfree(&b->copies);
	free(b->tables);
	if (b->why && u) {
		freeunit(u);
		return NULL;
	}
	if (u && u->nstrings > 0 && u->nstrings < u->capstrings) {
		TString **list = luaE_sharedalloc(u->strings, u->capstrings * sizeof(*list),
		                                  u->nstrings * sizeof(*list));
		if (list) {
			u->strings = list;
			u->capstrings = u->nstrings;
		}
	}
	if (u)
		u->size += u->capstrings * sizeof(*u->strings);
	return u;
}

/*
 * Share the prototype of the Lua function at idx, with all that is in it. The function
 * itself isn't touched. The caller owns the reference it gets. NULL: no memory, or not a
 * Lua function.
 */
LUA_API lua_Shared *
lua_sharecode(lua_State *L, int idx) {
	struct builder b;
	const LClosure *f = NULL;
	if (lua_type(L, idx) == LUA_TFUNCTION && !lua_iscfunction(L, idx))
		f = lua_topointer(L, idx);
	if (f == NULL || begin(&b, L) != 0)
		return NULL;
	Proto *p = copyproto(&b, f->p, 0);
	if (p)
		b.unit->root = obj2gco(p);
	return end(&b);
}

/*
 * Share a copy of the table at idx and of all it refers to. The caller owns the reference
 * it gets. NULL: it can't be shared; `why` gets a text that lives for ever.
 */
LUA_API lua_Shared *
lua_sharetable(lua_State *L, int idx, const char **why) {
	struct builder b;
	*why = NO_MEMORY;
	if (begin(&b, L) != 0)
		return NULL;
	Frozen *root = reserve(&b, (Table *)lua_topointer(L, idx), NULL, NULL);
	for (; root && b.why == NULL && b.done < b.ntables; b.done++) {
		struct pair p = b.tables[b.done];
		filltable(&b, p.to, p.from);
	}
	if (root)
		b.unit->root = obj2gco(&root->t);
	*why = b.why;
	return end(&b);
}

/* Any thread. One more reference to a unit the caller has a reference to. */
LUA_API void
lua_keepshared(lua_Shared *u) {
	/* relaxed: whoever hands a reference on publishes the unit by other means */
	atomic_fetch_add_explicit(&u->refs, 1, memory_order_relaxed);
}

/* Any thread. Give a reference back; the last one frees the unit. */
LUA_API void
lua_dropshared(lua_Shared *u) {
	/* acq_rel: what other owners read happened before the memory is freed */
	if (atomic_fetch_sub_explicit(&u->refs, 1, memory_order_acq_rel) == 1)
		freeunit(u);
}

/* Any thread. The owner has something newer: states may drop it once they don't use it.
 */
LUA_API void
lua_retireshared(lua_Shared *u) {
	/* relaxed: a hint for the next full collection */
	atomic_store_explicit(&u->retired, 1, memory_order_relaxed);
}

/* Bytes of the unit; short strings, which units have in common, not counted. */
LUA_API size_t
lua_sharedsize(lua_Shared *u) {
	return u->size;
}

/* The address of the table, as lua_topointer gives it; of the prototype for code. */
LUA_API const void *
lua_sharedroot(lua_Shared *u) {
	return u->root;
}
