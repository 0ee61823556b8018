/*
 * Images of opened states: what new states copy instead of opening libraries one by one.
 *
 * What a state has is recorded: every object reachable from the registry and from the metatable of
 * strings, as blocks of bytes, and the places in them that point to other blocks. lua_openimage gives
 * a new state private copies of all this, at the price of a copy. There's one image that the pool of
 * common strings comes with, of the state that was opened for it as the host wants all of its states
 * to be; the host may record others, with code of its own loaded.
 *
 * Small blocks, and those are most, are copied together, into one allocation that the state frees when
 * it closes: lmem.c never asks the allocator to free or to resize one. What a state frees of it before
 * is lost till then; but no block is rounded up, and the collector finds them beside each other.
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

#include <stdint.h>
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

/* What Lua asks of memory for its objects. */
#define IMAGE_ALIGN (_Alignof(union { LUAI_MAXALIGN; }))

/* Room for the small blocks: jemalloc takes pages of their own for what is larger. */
#define TOGETHER 14336

/* What a state has already, whose tables are given the recorded content; and what it allocates. */
enum { MAINTHREAD, REGISTRY, GLOBALS, FIRST, SMALL = FIRST, LARGE, MAXPIECES = 64 };

struct piece {
	char *bytes;
	size_t size;
};

struct place {
	unsigned piece, at;
};

/* Here is a pointer to there. */
struct link {
	struct place here, there;
};

struct lua_Image {
	struct piece piece[MAXPIECES]; /* the first has nothing */
	unsigned npieces;
	unsigned *inner; /* where pointers among small blocks are, which lead as far as they say */
	unsigned ninner;
	struct link *link; /* all others */
	unsigned nlinks;
	struct place *object; /* first those with finalizers */
	unsigned nobjects, nfinalized;
	size_t held;             /* bytes of all blocks that a state allocates */
	struct place stringmeta; /* the metatable of strings; in MAINTHREAD: there is none */
	TString *tmname[TM_N];
	lua_Shared **unit; /* whose code it has */
	size_t nunits;
};

static _Atomic(const lua_Image *) basic; /* the pool's */

/*
 * ---- recording ----
 */

enum { PART, OBJECT, FINALIZED }; /* a table's array or nodes; in which list of objects it goes */

struct block {
	size_t size;
	char *bytes;
	struct place place;
	int kind;
};

/* At this place in this block there is a pointer to this place in that one. */
struct pointer {
	unsigned block, target;
	size_t at, offset;
};

struct recorder {
	lua_State *L;
	struct PtrMap map;              /* object -> number of its block, as a pointer */
	struct block block[MAXBLOCKS];  /* the first has no bytes */
	unsigned nblocks;
	struct pointer *pointer;
	unsigned npointers, cappointers;
	GCObject *met[MAXBLOCKS]; /* objects whose content is still to be recorded */
	unsigned nmet, done;
};

/* Any thread, once nobody copies it any more. */
LUA_API void
lua_freeimage(lua_Image *im) {
	for (size_t i = 0; i < im->nunits; i++)
		lua_dropshared(im->unit[i]);
	for (unsigned i = 0; i < im->npieces; i++)
		free(im->piece[i].bytes);
	free(im->unit);
	free(im->inner);
	free(im->link);
	free(im->object);
	free(im);
}

/* A block with a copy of these bytes: its number, or 0. */
static unsigned
addblock(struct recorder *r, const void *bytes, size_t size, int kind) {
	if (r->nblocks == MAXBLOCKS)
		return 0;
	char *copy = malloc(size);
	if (copy == NULL)
		return 0;
	memcpy(copy, bytes, size);
	r->block[r->nblocks] = (struct block){size, copy, {0, 0}, kind};
	return r->nblocks++;
}

static int
addpointer(struct recorder *r, unsigned block, size_t at, unsigned target, size_t offset) {
	if (r->npointers == r->cappointers) {
		unsigned cap = r->cappointers ? r->cappointers * 2 : 128;
		struct pointer *p = realloc(r->pointer, cap * sizeof(*p));
		if (p == NULL)
			return -1;
		r->pointer = p;
		r->cappointers = cap;
	}
	r->pointer[r->npointers++] = (struct pointer){block, target, at, offset};
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
	unsigned block = size ? addblock(r, o, size, kind) : 0;
	if (block == 0 || luaE_mapadd(&r->map, o, (void *)(intptr_t)block) != 0)
		return -1;
	r->met[r->nmet++] = o;
	return (int)block;
}

/* The pointer to an object at this place of the block, which has its copy. */
static int
recordpointer(struct recorder *r, unsigned block, void *place) {
	GCObject *o;
	char *bytes = r->block[block].bytes;
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
	return addpointer(r, block, (size_t)((char *)place - bytes), (unsigned)target, 0);
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
	unsigned n = luaH_realasize(t);
	if (n > 0) {
		unsigned part = addblock(r, t->array, n * sizeof(TValue), PART);
		if (part == 0 || addpointer(r, block, offsetof(Table, array), part, 0) != 0)
			return -1;
		TValue *array = (void *)r->block[part].bytes;
		for (unsigned i = 0; i < n; i++) {
			if (recordvalue(r, part, &array[i]) != 0)
				return -1;
		}
	}
	if (!isdummy(t)) {
		size_t free = (size_t)((char *)t->lastfree - (char *)t->node);
		unsigned part = addblock(r, t->node, sizeof(Node) << t->lsizenode, PART);
		if (part == 0 || addpointer(r, block, offsetof(Table, node), part, 0) != 0 ||
		    addpointer(r, block, offsetof(Table, lastfree), part, free) != 0)
			return -1;
		Node *node = (void *)r->block[part].bytes;
		for (int i = 0; i < sizenode(t); i++) {
			if (recordnode(r, part, &node[i]) != 0)
				return -1;
		}
	}
	return recordmeta(r, block, &((Table *)(void *)r->block[block].bytes)->metatable);
}

static int
recordobject(struct recorder *r, GCObject *o) {
	unsigned block = (unsigned)meet(r, o);
	void *copy = r->block[block].bytes;
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
		if (addpointer(r, block, offsetof(UpVal, v), block, offsetof(UpVal, u)) != 0)
			return -1;
		return recordvalue(r, block, &((UpVal *)copy)->u.value);
	default:
		return 0;
	}
}

/* A table that every new state has. */
static int
recordbasic(struct recorder *r, int block, Table *t) {
	if (addblock(r, t, sizeof(*t), PART) != (unsigned)block || t->metatable)
		return -1;
	return luaE_mapadd(&r->map, t, (void *)(intptr_t)block);
}

/* All that's reachable. */
static int
recordall(struct recorder *r, unsigned *stringmeta) {
	global_State *g = G(r->L);
	Table *registry = hvalue(&g->l_registry);
	Table *globals = hvalue(&registry->array[LUA_RIDX_GLOBALS - 1]);
	Table *meta = g->mt[LUA_TSTRING];
	r->nblocks = REGISTRY;
	if (luaE_mapadd(&r->map, g->mainthread, (void *)(intptr_t)MAINTHREAD) != 0 ||
	    recordbasic(r, REGISTRY, registry) != 0 || recordbasic(r, GLOBALS, globals) != 0 ||
	    recordtable(r, REGISTRY, registry) != 0 || recordtable(r, GLOBALS, globals) != 0)
		return -1;
	int block = meta ? meet(r, obj2gco(meta)) : 0;
	if (block < 0)
		return -1;
	*stringmeta = (unsigned)block;
	while (r->done < r->nmet) {
		if (recordobject(r, r->met[r->done++]) != 0)
			return -1;
	}
	return 0;
}

/* ---- and making the image of it ---- */

static size_t
aligned(size_t size) {
	return (size + IMAGE_ALIGN - 1) / IMAGE_ALIGN * IMAGE_ALIGN;
}

/* The size up to which there's room for all blocks together. */
static size_t
largestsmall(const struct recorder *r) {
	for (size_t small = 0;;) {
		size_t next = SIZE_MAX, total = 0;
		for (unsigned i = FIRST; i < r->nblocks; i++) {
			if (r->block[i].size > small && r->block[i].size < next)
				next = r->block[i].size;
		}
		for (unsigned i = FIRST; i < r->nblocks; i++) {
			if (r->block[i].size <= next)
				total += aligned(r->block[i].size);
		}
		if (next == SIZE_MAX || total > TOGETHER)
			return small;
		small = next;
	}
}

/* Where blocks are going to be. Returns 0, or -1: there are too many. */
static int
placeblocks(struct recorder *r, lua_Image *im) {
	const size_t small = largestsmall(r);
	im->npieces = LARGE;
	for (unsigned i = REGISTRY; i < r->nblocks; i++) {
		struct block *b = &r->block[i];
		unsigned n = i < FIRST ? i : b->size <= small ? SMALL : im->npieces;
		if (n == MAXPIECES)
			return -1;
		b->place = (struct place){n, (unsigned)im->piece[n].size};
		im->piece[n].size += n == SMALL ? aligned(b->size) : b->size;
		im->npieces += n == im->npieces;
		im->held += i < FIRST ? 0 : b->size;
	}
	return 0;
}

static int
copyblocks(const struct recorder *r, lua_Image *im) {
	for (unsigned i = REGISTRY; i < im->npieces; i++) {
		im->piece[i].bytes = calloc(1, im->piece[i].size);
		if (im->piece[i].bytes == NULL)
			return -1;
	}
	for (unsigned i = REGISTRY; i < r->nblocks; i++) {
		const struct block *b = &r->block[i];
		memcpy(im->piece[b->place.piece].bytes + b->place.at, b->bytes, b->size);
	}
	return 0;
}

static void
listobjects(const struct recorder *r, lua_Image *im) {
	for (int kind = FINALIZED; kind >= OBJECT; kind--) {
		for (unsigned i = FIRST; i < r->nblocks; i++) {
			if (r->block[i].kind == kind)
				im->object[im->nobjects++] = r->block[i].place;
		}
		if (kind == FINALIZED)
			im->nfinalized = im->nobjects;
	}
}

static void
listpointers(const struct recorder *r, lua_Image *im) {
	for (unsigned i = 0; i < r->npointers; i++) {
		const struct pointer *p = &r->pointer[i];
		struct place here = r->block[p->block].place;
		struct place there = r->block[p->target].place;
		here.at += (unsigned)p->at;
		there.at += (unsigned)p->offset;
		if (here.piece != SMALL || there.piece != SMALL) {
			im->link[im->nlinks++] = (struct link){here, there};
			continue;
		}
		uintptr_t far = there.at;
		memcpy(im->piece[SMALL].bytes + here.at, &far, sizeof(far));
		im->inner[im->ninner++] = here.at;
	}
}

static int
recordnames(lua_State *L, lua_Image *im) {
	for (int i = 0; i < TM_N; i++) {
		im->tmname[i] = luaE_internshared(G(L)->tmname[i]);
		if (im->tmname[i] == NULL)
			return -1;
	}
	return 0;
}

/* Give the image, empty so far, what this state has. */
static int
fill(struct recorder *r, lua_Image *im) {
	unsigned stringmeta;
	im->unit = luaE_keepunits(G(r->L), &im->nunits);
	if (im->unit == NULL || recordnames(r->L, im) != 0 || recordall(r, &stringmeta) != 0)
		return -1;
	im->object = malloc(r->nblocks * sizeof(*im->object));
	im->inner = malloc(r->npointers * sizeof(*im->inner));
	im->link = malloc(r->npointers * sizeof(*im->link));
	if (!im->object || !im->inner || !im->link || placeblocks(r, im) != 0 ||
	    copyblocks(r, im) != 0)
		return -1;
	listobjects(r, im);
	listpointers(r, im);
	im->stringmeta = r->block[stringmeta].place;
	return 0;
}

/*
 * What this state has now, outside any call: for new ones. NULL: it has something that can't be
 * recorded, or there's no memory.
 */
LUA_API lua_Image *
lua_recordimage(lua_State *L) {
	struct recorder *r = calloc(1, sizeof(*r));
	lua_Image *im = calloc(1, sizeof(*im));
	if (r)
		r->L = L;
	if (im && (r == NULL || fill(r, im) != 0)) {
		lua_freeimage(im);
		im = NULL;
	}
	for (unsigned i = 0; r && i < r->nblocks; i++)
		free(r->block[i].bytes);
	if (r) {
		free(r->pointer);
		luaE_mapfree(&r->map);
	}
	free(r);
	return im;
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

/* luaM_realloc_ of a small block: its room in the image isn't used again. */
void *
luaE_leaveimage(lua_State *L, void *block, size_t osize, size_t nsize) {
	void *p = nsize == 0 ? NULL : block;
	if (nsize > osize) {
		p = luaM_realloc_(L, NULL, 0, nsize);
		if (p == NULL)
			return NULL;
		memcpy(p, block, osize);
		nsize = 0; /* it's counted */
	}
	G(L)->GCdebt += (l_mem)nsize - (l_mem)osize;
	return p;
}

/* When the state closes, and all objects are gone. */
void
luaE_freeimage(global_State *g) {
	if (g->image)
		(*g->frealloc)(g->ud, g->image, g->imagesize, 0);
}

/* Memory of the state for all pieces. Returns 0, or -1: nothing is allocated. */
static int
allocate(global_State *g, const lua_Image *im, char **addr) {
	for (unsigned i = SMALL; i < im->npieces; i++) {
		addr[i] = (*g->frealloc)(g->ud, NULL, 0, im->piece[i].size);
		if (l_unlikely(addr[i] == NULL)) {
			while (i-- > SMALL)
				(*g->frealloc)(g->ud, addr[i], im->piece[i].size, 0);
			return -1;
		}
		memcpy(addr[i], im->piece[i].bytes, im->piece[i].size);
	}
	g->image = addr[SMALL];
	g->imagesize = im->piece[SMALL].size;
	g->GCdebt += (l_mem)im->held;
	return 0;
}

static void *
find(char *const *addr, struct place p) {
	return addr[p.piece] + p.at;
}

static void
setpointers(const lua_Image *im, char *const *addr) {
	for (const unsigned *p = im->inner; p < im->inner + im->ninner; p++) {
		uintptr_t far;
		memcpy(&far, addr[SMALL] + *p, sizeof(far));
		far += (uintptr_t)addr[SMALL];
		memcpy(addr[SMALL] + *p, &far, sizeof(far));
	}
	for (const struct link *l = im->link; l < im->link + im->nlinks; l++) {
		void *there = find(addr, l->there);
		memcpy(find(addr, l->here), &there, sizeof(there));
	}
}

static void
adopt(global_State *g, const lua_Image *im, char *const *addr) {
	for (unsigned i = 0; i < im->nobjects; i++) {
		GCObject *o = find(addr, im->object[i]);
		GCObject **list = i < im->nfinalized ? &g->finobj : &g->allgc;
		o->marked = luaC_white(g);
		if (i < im->nfinalized)
			l_setbit(o->marked, FINALIZEDBIT);
		o->next = *list;
		*list = o;
	}
}

/* Give a table, which hasn't much yet, the recorded content. */
static void
refill(lua_State *L, Table *t, const struct piece *content) {
	Table recorded;
	memcpy(&recorded, content->bytes, sizeof(recorded));
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
 * registry. Returns whether that was done; if not, there is no image, or no memory, or it has one.
 */
LUA_API int
lua_openimage(lua_State *L, const lua_Image *im) {
	global_State *g = G(L);
	if (im == NULL)
		/* acquire: so that the image is visible */
		im = atomic_load_explicit(&basic, memory_order_acquire);
	char *addr[MAXPIECES];
	/* units that it's a user of without need are dropped as any others */
	if (im == NULL || g->image || luaE_useunits(g, im->unit, im->nunits) != 0 || allocate(g, im, addr) != 0)
		return 0;
	Table *registry = hvalue(&g->l_registry);
	Table *globals = hvalue(&registry->array[LUA_RIDX_GLOBALS - 1]);
	addr[MAINTHREAD] = (char *)g->mainthread;
	addr[REGISTRY] = (char *)registry;
	addr[GLOBALS] = (char *)globals;
	refill(L, registry, &im->piece[REGISTRY]);
	refill(L, globals, &im->piece[GLOBALS]);
	setpointers(im, addr);
	adopt(g, im, addr);
	if (im->stringmeta.piece != MAINTHREAD)
		g->mt[LUA_TSTRING] = find(addr, im->stringmeta);
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
