/*
 * Objects shared by all Lua states of the process: what the files of this part share.
 *
 * A unit (lua_Shared) is a tree of objects that were copied out of one state into memory
 * of their own and are read-only from then on: the prototypes of a chunk, or a table with
 * all it refers to. Its objects carry SHAREDBIT, the black bit and the age "old", so no
 * collector ever marks, ages or frees them; the `next` field, which links a private
 * object into its state's lists, points to the unit. Short strings of units are interned
 * once per process and belong to no unit: `next` is NULL.
 *
 * Who keeps what alive: a unit counts its owners (the code cache, sharetable) and the
 * states that use it, each state once however many references it has. A state drops its
 * reference when it closes, or at a full collection which finds that it has no use for a
 * retired unit.
 *
 *   lptrmap.c     map and set of pointers
 *   lsharestr.c   the short strings of all units; strings common to all states; the seed
 *   lshare.c      making and freeing units
 *   limage.c      the image of an opened state, which new ones copy
 *   lsharevm.c    one state's references: push, census, replace
 */
#ifndef lshare_h
#define lshare_h

#include <stdatomic.h>
#include <string.h>

#include "lauxlib.h"
#include "lgc.h"
#include "lobject.h"
#include "lstate.h"

#define SHAREDMARK cast_byte(bitmask(SHAREDBIT) | bitmask(BLACKBIT) | G_OLD)

/* ---- lptrmap.c: not thread-safe; keys aren't NULL ---- */

struct PtrMap {
	size_t n, size; /* entries, slots (0 or a power of two) */
	struct PtrSlot {
		const void *key;
		void *value;
	} * slot;
};

/* The value of a key, to be read or set; NULL if it isn't there. Valid until the next
 * add. */
LUAI_FUNC void **luaE_mapget(const struct PtrMap *m, const void *key);
/* Add a key that isn't there. Returns 0, or -1: no memory. */
LUAI_FUNC int luaE_mapadd(struct PtrMap *m, const void *key, void *value);
LUAI_FUNC void luaE_mapremove(struct PtrMap *m, const void *key);
LUAI_FUNC void luaE_mapfree(struct PtrMap *m);

/* ---- lsharestr.c: any thread ---- */

/* Blocks of shared objects: as lua_Alloc does it. Sizes must be true. */
LUAI_FUNC void *luaE_sharedalloc(void *p, size_t osize, size_t nsize);

/*
 * The shared string with the content of `ts`, a short string; the caller gets a
 * reference. NULL: no memory.
 */
LUAI_FUNC TString *luaE_internshared(const TString *ts);
LUAI_FUNC void luaE_keepstring(TString *ts);
LUAI_FUNC void luaE_dropstrings(TString **ts, size_t n);

/*
 * Strings that every state needs: names of metamethods, keywords, the standard library.
 * They live as long as the process; states find them here instead of making their own.
 */
#define POOLSIZE 1024
extern _Atomic(TString **) luaE_pool;

static inline TString *
luaE_poolstring(const char *str, size_t l, unsigned h) {
	/* acquire: pairs with the release in makepool, so the strings are visible */
	TString **pool = atomic_load_explicit(&luaE_pool, memory_order_acquire);
	if (pool == NULL)
		return NULL;
	for (unsigned i = h;; i++) {
		TString *ts = pool[i % POOLSIZE];
		if (ts == NULL)
			return NULL;
		if (ts->hash == h && ts->shrlen == l && memcmp(ts->contents, str, l) == 0)
			return ts;
	}
}

/* Make the pool, once: these strings, and what a state has that `open` opened; and its image. */
LUAI_FUNC void luaE_initpool(const char *const words[], lua_CFunction open);

/* ---- limage.c ---- */

LUAI_FUNC void luaE_recordimage(lua_State *L);
LUAI_FUNC int luaE_initnames(lua_State *L);

/* Is it one of the small blocks that the state got with its image? */
#define inimage(g, block) ((size_t)((char *)(block) - (g)->image) < (g)->imagesize)

LUAI_FUNC void *luaE_leaveimage(lua_State *L, void *block, size_t osize, size_t nsize);
LUAI_FUNC void luaE_freeimage(global_State *g);

/* ---- lshare.c ---- */

/* A shared table knows its place, so that its counterpart in a newer unit can be found.
 */
typedef struct Frozen {
	Table t;    /* t.gclist: the table that contains this one; NULL: it's the root */
	TValue key; /* under which key */
} Frozen;

struct lua_Shared {
	atomic_size_t refs;
	atomic_int retired; /* the owner has something newer */
	GCObject *root;     /* Proto or Frozen */
	size_t size;
	size_t nstrings;
	size_t capstrings;
	TString **strings; /* interned ones it refers to, each once */
	struct SharedChunk *chunks;
};

#define unitof(o) ((lua_Shared *)(void *)(o)->next)

/* ---- lsharevm.c: called by the thread that runs the state ---- */

LUAI_FUNC lua_Shared **luaE_keepunits(global_State *g, size_t *n);
LUAI_FUNC int luaE_useunits(global_State *g, lua_Shared *const *unit, size_t n);
LUAI_FUNC void luaE_startcensus(global_State *g);
LUAI_FUNC void luaE_touchshared(global_State *g, GCObject *o);
LUAI_FUNC void luaE_touchweak(global_State *g, Table *h);
LUAI_FUNC void luaE_endcensus(global_State *g);
LUAI_FUNC void luaE_freeshared(global_State *g);

#endif
