/*
 * Images of opened states: what new states copy instead of opening libraries one by one.
 *
 * What a state has is recorded: every object reachable from the registry and from the metatable of
 * strings, as blocks of bytes, and the places in them that point to other blocks. lua_openimage gives
 * a new state private copies of all this, at the price of a copy. There's one image that the pool of
 * common strings comes with, of the state that was opened for it as the host wants all of its states
 * to be; the host may record others, with code of its own loaded.
 *
 * An image has tables, functions, full userdata and long strings. Short strings become shared ones;
 * all states hash with one seed, so that nodes of tables are at their right places. Lua functions must
 * be of shared code: the image is a user of its units, and so is who copies it. What can't be recorded
 * (coroutines but the main one, tables with objects as keys, user values) leaves the state without an
 * image: states are then opened by running the code, as ever.
 *
 * An image is only read once it's made. At the end of this file: what a state does once it has started.
 */
#define limage_c
#define LUA_CORE

#include <stdlib.h>
#include <string.h>

#include "lua.h"

#include "ldo.h"
#include "lfunc.h"
#include "lgc.h"
#include "lmem.h"
#include "lobject.h"
#include "lshare.h"
#include "lstate.h"
#include "lstring.h"
#include "ltable.h"
#include "ltm.h"

#define MAXBLOCKS 1024

/* Blocks that a new state has already: its tables are given the recorded content. */
enum { MAINTHREAD, REGISTRY, GLOBALS, FIRST };

enum { PART, OBJECT, FINALIZED }; /* a table's array or nodes; in which list of objects it goes */

struct block {
	size_t size;
	char *bytes;
	lu_byte tag;  /* for the allocator */
	lu_byte kind; /* of the above */
};

/* At this place in this block there is a pointer to this place in that one. */
struct pointer {
	unsigned block, target;
	size_t at, offset;
};

struct lua_Image {
	struct block *block; /* room for MAXBLOCKS while it's recorded */
	unsigned nblocks;
	struct pointer *pointer;
	unsigned npointers, cappointers;
	size_t size; /* of all blocks a new state gets */
	unsigned stringmeta;
	TString *tmname[TM_N];
	lua_Shared **unit; /* whose code it has */
	size_t nunits;
};

static _Atomic(const lua_Image *) basic; /* the pool's */

/*
 * ---- recording ----
 */

struct recorder {
	lua_State *L;
	lua_Image *im;
	struct PtrMap map;        /* object -> number of its block, as a pointer */
	GCObject *met[MAXBLOCKS]; /* objects whose content is still to be recorded */
	unsigned nmet, done;
};

/* Any thread, once nobody copies it any more. */
LUA_API void
lua_freeimage(lua_Image *im) {
	for (unsigned i = 0; im->block && i < im->nblocks; i++)
		free(im->block[i].bytes);
	for (size_t i = 0; i < im->nunits; i++)
		lua_dropshared(im->unit[i]);
	free(im->unit);
	free(im->block);
	free(im->pointer);
	free(im);
}

/* A block with a copy of these bytes: its number, or 0. */
static unsigned
addblock(lua_Image *im, const void *bytes, size_t size, int tag, int kind) {
	if (im->nblocks == MAXBLOCKS)
		return 0;
	char *copy = malloc(size);
	if (copy == NULL)
		return 0;
	memcpy(copy, bytes, size);
	im->block[im->nblocks] = (struct block){size, copy, cast_byte(tag), cast_byte(kind)};
	return im->nblocks++;
}

static int
addpointer(lua_Image *im, unsigned block, size_t at, unsigned target, size_t offset) {
	if (im->npointers == im->cappointers) {
		unsigned cap = im->cappointers ? im->cappointers * 2 : 128;
		struct pointer *p = realloc(im->pointer, cap * sizeof(*p));
		if (p == NULL)
			return -1;
		im->pointer = p;
		im->cappointers = cap;
	}
	im->pointer[im->npointers++] = (struct pointer){block, target, at, offset};
	return 0;
}

/* Size of the object's own block; 0: it can't be in an image. */
static size_t
sizeofobject(GCObject *o) {
	switch (o->tt) {
	case LUA_VTABLE:
		return sizeof(Table);
	case LUA_VCCL:
		return sizeCclosure(gco2ccl(o)->nupvalues);
	case LUA_VLCL:
		return isshared(gco2lcl(o)->p) ? sizeLclosure(gco2lcl(o)->nupvalues) : 0;
	case LUA_VUPVAL:
		return upisopen(gco2upv(o)) ? 0 : sizeof(UpVal);
	case LUA_VUSERDATA:
		return gco2u(o)->nuvalue == 0 ? sizeudata(0, gco2u(o)->len) : 0;
	case LUA_VLNGSTR:
		return sizelstring(gco2ts(o)->u.lnglen);
	default:
		return 0;
	}
}

/* Number of the block of an object, whose content is recorded sooner or later; -1: can't be. */
static int
meet(struct recorder *r, GCObject *o) {
	void **known = luaE_mapget(&r->map, o);
	if (known)
		return (int)(intptr_t)*known;
	size_t size = sizeofobject(o);
	int kind = tofinalize(o) ? FINALIZED : OBJECT;
	unsigned block = size ? addblock(r->im, o, size, novariant(o->tt), kind) : 0;
	if (block == 0 || luaE_mapadd(&r->map, o, (void *)(intptr_t)block) != 0)
		return -1;
	r->met[r->nmet++] = o;
	return (int)block;
}

/* The pointer to an object at this place of the block, which has its copy. */
static int
recordpointer(struct recorder *r, unsigned block, void *place) {
	GCObject *o;
	char *bytes = r->im->block[block].bytes;
	memcpy(&o, place, sizeof(o));
	if (o->tt == LUA_VSHRSTR) {
		/* a reference that is never dropped */
		TString *ts = isshared(o) ? gco2ts(o) : luaE_internshared(gco2ts(o));
		memcpy(place, &ts, sizeof(ts));
		return ts ? 0 : -1;
	}
	if (isshared(o))
		return 0; /* of a unit that is kept */
	int target = meet(r, o);
	if (target < 0)
		return -1;
	return addpointer(r->im, block, (size_t)((char *)place - bytes), (unsigned)target, 0);
}

static int
recordvalue(struct recorder *r, unsigned block, TValue *v) {
	return iscollectable(v) ? recordpointer(r, block, &val_(v).gc) : 0;
}

static int
recordmeta(struct recorder *r, unsigned block, Table **place) {
	return *place ? recordpointer(r, block, place) : 0;
}

static int
recordnode(struct recorder *r, unsigned block, Node *n) {
	if (isempty(gval(n))) {
		if (keyiscollectable(n)) {
			setdeadkey(n);
			gckey(n) = NULL;
		}
		return 0;
	}
	if (keyiscollectable(n)) {
		if (!keyisshrstr(n)) /* it's where its address tells */
			return -1;
		if (recordpointer(r, block, &gckey(n)) != 0)
			return -1;
	}
	return recordvalue(r, block, gval(n));
}

static int
recordtable(struct recorder *r, unsigned block, const Table *t) {
	lua_Image *im = r->im;
	unsigned n = luaH_realasize(t);
	if (n > 0) {
		unsigned part = addblock(im, t->array, n * sizeof(TValue), 0, PART);
		if (part == 0 || addpointer(im, block, offsetof(Table, array), part, 0) != 0)
			return -1;
		TValue *array = (void *)im->block[part].bytes;
		for (unsigned i = 0; i < n; i++) {
			if (recordvalue(r, part, &array[i]) != 0)
				return -1;
		}
	}
	if (!isdummy(t)) {
		size_t free = (size_t)((char *)t->lastfree - (char *)t->node);
		unsigned part = addblock(im, t->node, sizeof(Node) << t->lsizenode, 0, PART);
		if (part == 0 || addpointer(im, block, offsetof(Table, node), part, 0) != 0 ||
		    addpointer(im, block, offsetof(Table, lastfree), part, free) != 0)
			return -1;
		Node *node = (void *)im->block[part].bytes;
		for (int i = 0; i < sizenode(t); i++) {
			if (recordnode(r, part, &node[i]) != 0)
				return -1;
		}
	}
	return recordmeta(r, block, &((Table *)(void *)im->block[block].bytes)->metatable);
}

static int
recordobject(struct recorder *r, GCObject *o) {
	unsigned block = (unsigned)meet(r, o);
	void *copy = r->im->block[block].bytes;
	switch (o->tt) {
	case LUA_VTABLE:
		return recordtable(r, block, gco2t(o));
	case LUA_VUSERDATA:
		return recordmeta(r, block, &((Udata *)copy)->metatable);
	case LUA_VCCL:
		for (int i = 0; i < gco2ccl(o)->nupvalues; i++) {
			if (recordvalue(r, block, &((CClosure *)copy)->upvalue[i]) != 0)
				return -1;
		}
		return 0;
	case LUA_VLCL:
		for (int i = 0; i < gco2lcl(o)->nupvalues; i++) {
			if (recordpointer(r, block, &((LClosure *)copy)->upvals[i]) != 0)
				return -1;
		}
		return 0;
	case LUA_VUPVAL:
		if (addpointer(r->im, block, offsetof(UpVal, v), block, offsetof(UpVal, u)) != 0)
			return -1;
		return recordvalue(r, block, &((UpVal *)copy)->u.value);
	default:
		return 0;
	}
}

/* A table that every new state has. */
static int
recordbasic(struct recorder *r, int block, Table *t) {
	if (addblock(r->im, t, sizeof(*t), 0, PART) != (unsigned)block || t->metatable)
		return -1;
	return luaE_mapadd(&r->map, t, (void *)(intptr_t)block);
}

static int
recordnames(struct recorder *r) {
	for (int i = 0; i < TM_N; i++) {
		r->im->tmname[i] = luaE_internshared(G(r->L)->tmname[i]);
		if (r->im->tmname[i] == NULL)
			return -1;
	}
	return 0;
}

static int
recordall(struct recorder *r) {
	global_State *g = G(r->L);
	Table *registry = hvalue(&g->l_registry);
	Table *globals = hvalue(&registry->array[LUA_RIDX_GLOBALS - 1]);
	Table *stringmeta = g->mt[LUA_TSTRING];
	r->im->nblocks = REGISTRY;
	if (luaE_mapadd(&r->map, g->mainthread, (void *)(intptr_t)MAINTHREAD) != 0 ||
	    recordbasic(r, REGISTRY, registry) != 0 || recordbasic(r, GLOBALS, globals) != 0 ||
	    recordtable(r, REGISTRY, registry) != 0 || recordtable(r, GLOBALS, globals) != 0 ||
	    recordnames(r) != 0)
		return -1;
	int block = stringmeta ? meet(r, obj2gco(stringmeta)) : 0;
	if (block < 0)
		return -1;
	r->im->stringmeta = (unsigned)block;
	while (r->done < r->nmet) {
		if (recordobject(r, r->met[r->done++]) != 0)
			return -1;
	}
	for (unsigned i = FIRST; i < r->im->nblocks; i++)
		r->im->size += r->im->block[i].size;
	return 0;
}

/* Give back the room that wasn't needed. */
static void
trim(lua_Image *im) {
	struct block *b = realloc(im->block, im->nblocks * sizeof(*b));
	if (b)
		im->block = b;
}

/*
 * What this state has now, outside any call: for new ones. NULL: it has something that can't be
 * recorded, or there's no memory.
 */
LUA_API lua_Image *
lua_recordimage(lua_State *L) {
	struct recorder r = {.L = L, .im = calloc(1, sizeof(*r.im))};
	if (r.im == NULL)
		return NULL;
	r.im->block = calloc(MAXBLOCKS, sizeof(*r.im->block)); /* the first has no bytes */
	r.im->unit = luaE_keepunits(G(L), &r.im->nunits);
	if (r.im->block && r.im->unit && recordall(&r) == 0) {
		trim(r.im);
	} else {
		lua_freeimage(r.im);
		r.im = NULL;
	}
	luaE_mapfree(&r.map);
	return r.im;
}

/* Make what this state has the image of all later ones. Without memory there is none. */
void
luaE_recordimage(lua_State *L) {
	/* release: pairs with the acquire in lua_openimage */
	atomic_store_explicit(&basic, lua_recordimage(L), memory_order_release);
}

/* Any thread: has the host something newer than the code of the image? */
LUA_API int
lua_imageretired(const lua_Image *im) {
	for (size_t i = 0; i < im->nunits; i++) {
		/* relaxed: sooner or later */
		if (atomic_load_explicit(&im->unit[i]->retired, memory_order_relaxed))
			return 1;
	}
	return 0;
}

/*
 * ---- copying ----
 */

/* Memory for all blocks. Returns 0, or -1: nothing is allocated. */
static int
allocate(global_State *g, const lua_Image *im, char **addr) {
	for (unsigned i = FIRST; i < im->nblocks; i++) {
		const struct block *b = &im->block[i];
		addr[i] = (*g->frealloc)(g->ud, NULL, b->tag, b->size);
		if (l_unlikely(addr[i] == NULL)) {
			while (i-- > FIRST)
				(*g->frealloc)(g->ud, addr[i], im->block[i].size, 0);
			return -1;
		}
		memcpy(addr[i], b->bytes, b->size);
	}
	g->GCdebt += (l_mem)im->size;
	return 0;
}

static void
list(global_State *g, GCObject *o, int kind) {
	GCObject **head = kind == FINALIZED ? &g->finobj : &g->allgc;
	o->marked = luaC_white(g);
	if (kind == FINALIZED)
		l_setbit(o->marked, FINALIZEDBIT);
	o->next = *head;
	*head = o;
}

/* Give a table, which hasn't much yet, the content of the recorded one. */
static void
refill(lua_State *L, Table *t, const struct block *b) {
	Table recorded;
	memcpy(&recorded, b->bytes, sizeof(recorded));
	luaM_freearray(L, t->array, luaH_realasize(t));
	recorded.next = t->next;
	recorded.marked = t->marked;
	recorded.gclist = t->gclist;
	*t = recorded;
	if (isblack(t)) /* of a collection before */
		luaC_barrierback_(L, obj2gco(t));
}

/* Names of metamethods and reserved words. Returns whether there is an image, and so they're there. */
int
luaE_initnames(lua_State *L) {
	const lua_Image *im = atomic_load_explicit(&basic, memory_order_acquire);
	if (im)
		memcpy(G(L)->tmname, im->tmname, sizeof(im->tmname));
	return im != NULL;
}

/*
 * Give a state that has just been made what the image (NULL: the pool's) has: its libraries and its
 * registry. Returns whether that was done; if not, there is no image, or no memory.
 */
LUA_API int
lua_openimage(lua_State *L, const lua_Image *im) {
	global_State *g = G(L);
	char *addr[MAXBLOCKS];
	if (im == NULL)
		/* acquire: so that the image is visible */
		im = atomic_load_explicit(&basic, memory_order_acquire);
	/* units that it's a user of without need are dropped as any others */
	if (im == NULL || luaE_useunits(g, im->unit, im->nunits) != 0 || allocate(g, im, addr) != 0)
		return 0;
	Table *registry = hvalue(&g->l_registry);
	Table *globals = hvalue(&registry->array[LUA_RIDX_GLOBALS - 1]);
	addr[MAINTHREAD] = (char *)g->mainthread;
	addr[REGISTRY] = (char *)registry;
	addr[GLOBALS] = (char *)globals;
	refill(L, registry, &im->block[REGISTRY]);
	refill(L, globals, &im->block[GLOBALS]);
	for (unsigned i = FIRST; i < im->nblocks; i++) {
		if (im->block[i].kind != PART)
			list(g, (GCObject *)(void *)addr[i], im->block[i].kind);
	}
	for (const struct pointer *p = im->pointer; p < im->pointer + im->npointers; p++) {
		char *target = addr[p->target] + p->offset;
		memcpy(addr[p->block] + p->at, &target, sizeof(target));
	}
	if (im->stringmeta)
		g->mt[LUA_TSTRING] = gco2t((GCObject *)(void *)addr[im->stringmeta]);
	return 1;
}

/*
 * ---- when what a state begins with has run ----
 */

/*
 * The state has loaded its code, outside any call: give back the stack this took, and have the next
 * collection come when the state has grown to twice its size.
 */
LUA_API void
lua_settle(lua_State *L) {
	global_State *g = G(L);
	luaD_shrinkstack(L);
	luaE_setdebt(g, -(l_mem)gettotalbytes(g));
	g->gcstp = 0;
}
