/*
 * Objects and boxes of module skynet.sharedata.core, for its own files.
 *
 * An object is a document with its number and counts. A box is a Lua table with one field, a
 * userdata (struct box): where in the document it reads, and the root box it belongs to. The
 * root holds the reference. When the root is moved to another version its version number changes;
 * a box of a sub-table sees that at its next access and finds its new place by path. So nothing
 * but the root keeps an old version alive.
 *
 * Threads: objects are shared, with atomic counts; a box belongs to one VM.
 */
#ifndef skynet_lua_sharedata_box_h
#define skynet_lua_sharedata_box_h

#include "sharedata.h"

#include <stdatomic.h>

struct object {
	struct sd_document doc;
	uint64_t id;
	atomic_int refs;     /* the owner's, until it's deleted, and everybody else's */
	atomic_int explicit; /* those of them that incref made */
	atomic_bool dirty;
};

struct box {
	const struct box *self; /* with magic: tells a box from other userdata */
	uint64_t magic;
	struct box *root;
	const struct sd_table *table;
	uint64_t version;      /* the root's, when `table` was found */
	struct object *object; /* root only; NULL once it's finalized */
	uint32_t reads;        /* by way of C, since the box is bound or cool */
	uint32_t hot;          /* root only: how many boxes below it are hot */
};

/* ---- sharedata.c ---- */

/* The whole object of an argument, with a reference for the caller; raises `Need a conf object`.
 */
struct object *sd_grab(lua_State *L, int arg);
void sd_release(struct object *o);
void sd_push_id(lua_State *L, uint64_t id);

/* ---- sharedata_box.c ---- */

/* The box of a table or userdata argument; its userdata is pushed. */
struct box *sd_check_box(lua_State *L, int arg);
/* The table a box reads now; its userdata is at `ud`. Raises when its path leads nowhere. */
const struct sd_table *sd_current(lua_State *L, struct box *b, int ud);
/* Push the userdata of a root without an object: nothing that gets one may raise afterwards. */
struct box *sd_push_root(lua_State *L);
/* Make the metatables, and add the functions on boxes to the module on top of the stack. */
void sd_open_boxes(lua_State *L);

#endif
