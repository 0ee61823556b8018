/*
 * Images of library tables.
 *
 * luaL_setfuncs makes the same tables in every state: the same names, which are strings of the
 * common pool (lshare.h), and C functions without upvalues. When the pool is made, its state
 * records what each list of the standard libraries becomes: the hash part, whose links between
 * nodes are relative. Other states copy that, instead of interning and inserting name by name:
 * since all states hash with one seed, the nodes are at their right places.
 *
 * Lists are known by their address, so only those that are recorded here, constant for the life of
 * the process, have an image. Any other list, or a table that has something in it, is filled by
 * the stock function. Images are made once, and are only read afterwards.
 */
#define llibimage_c
#define LUA_CORE

#include <stdlib.h>
#include <string.h>

#include "lua.h"

#include "lapi.h"
#include "lauxlib.h"
#include "lshare.h"
#include "ltable.h"
#include "lualib.h"

#define MAXIMAGES 16

struct image {
	const luaL_Reg *list;
	Node *node;
	lu_byte lsizenode;
	unsigned lastfree; /* position */
};

static struct image images[MAXIMAGES];
static unsigned nimages;

static _Thread_local int recording;

static Table *
toptable(lua_State *L) {
	const TValue *o = s2v(L->top.p - 1);
	return ttistable(o) ? hvalue(o) : NULL;
}

static int
isvacant(const Table *t) {
	if (t->alimit != 0)
		return 0;
	for (int i = 0; i < sizenode(t); i++) {
		if (!isempty(gval(gnode(t, i))) || !keyisnil(gnode(t, i)))
			return 0;
	}
	return 1;
}

/* Can the node be in every state? Then its key becomes the one of the pool. */
static int
usenode(Node *n) {
	if (isempty(gval(n)))
		return keyisnil(n);
	if (!keyisshrstr(n) || !(ttislcf(gval(n)) || ttisfalse(gval(n))))
		return 0;
	TString *ts = luaE_internshared(keystrval(n)); /* a reference that is never dropped */
	if (ts == NULL)
		return 0;
	gckey(n) = obj2gco(ts);
	return 1;
}

/* Keep the table's hash part. Without memory there is no image: stock behaviour. */
static void
record(const Table *t, const luaL_Reg *list) {
	size_t size = sizeof(Node) * (size_t)sizenode(t);
	if (nimages == MAXIMAGES || t->alimit != 0 || isdummy(t))
		return;
	Node *copy = malloc(size);
	if (copy == NULL)
		return;
	memcpy(copy, t->node, size);
	for (int i = 0; i < sizenode(t); i++) {
		if (!usenode(&copy[i])) {
			free(copy);
			return;
		}
	}
	images[nimages++] = (struct image){
		list, copy, t->lsizenode, (unsigned)(t->lastfree - t->node)};
}

static const struct image *
imageof(const luaL_Reg *list) {
	for (unsigned i = 0; i < nimages; i++) {
		if (images[i].list == list)
			return &images[i];
	}
	return NULL;
}

/*
 * Fill the table on top with the functions of the list. Returns whether that was done; if not,
 * the caller does it. May raise (memory).
 */
int
luaE_copylib(lua_State *L, const luaL_Reg *list) {
	Table *t = toptable(L);
	if (t == NULL)
		return 0;
	if (recording) {
		int vacant = isvacant(t);
		recording = 0;
		luaL_setfuncs(L, list, 0);
		recording = 1;
		if (vacant)
			record(t, list);
		return 1;
	}
	/* acquire: without the pool, the images may be just being made */
	if (atomic_load_explicit(&luaE_pool, memory_order_acquire) == NULL)
		return 0;
	const struct image *image = imageof(list);
	if (image == NULL || !isvacant(t))
		return 0;
	if (isdummy(t) || t->lsizenode != image->lsizenode)
		luaH_resize(L, t, 0, 1u << image->lsizenode);
	memcpy(t->node, image->node, sizeof(Node) << image->lsizenode);
	t->lastfree = t->node + image->lastfree;
	invalidateTMcache(t);
	return 1;
}

/* Open the standard libraries in the state whose strings become the pool. */
void
luaE_recordlibs(lua_State *L) {
	recording = 1;
	luaL_openlibs(L);
	recording = 0;
}
