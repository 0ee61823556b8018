/*
 * Module skynet.stm: one writer publishes versions of a message, any number of readers take the
 * latest one when they like.
 *
 * Writer and readers share an object that counts them and holds the current version; a version
 * counts who looks at it. A reader is made from a copy: a number (see live.h) that names the
 * writer and the copy, to be used once. Copies that nobody used go with their writer.
 *
 * Threads: each writer and reader belongs to one VM. An object's spin lock guards which version
 * is current; the lock of `copies` guards both tables and the lists of copies.
 */
#include "live.h"
#include "block.h"

#include "skynet_malloc.h"
#include "spinlock.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdatomic.h>
#include <string.h>

#define WRITER "skynet.stm.writer"
#define READER "skynet.stm.reader"
#define GUARD "skynet.stm.guard"
#define COPY_BITS 28
#define COPY_MASK (((uint64_t)1 << COPY_BITS) - 1)

struct version {
	atomic_int refs;
	void *msg;
	size_t size;
};

struct copy {
	uint64_t id;
	struct object *object; /* counted there */
	struct copy *prev, *next;
};

struct object {
	atomic_int refs; /* the writer, readers, copies */
	struct spinlock lock;
	struct version *current;   /* NULL once the writer is gone */
	_Atomic uint64_t sequence; /* of the current version; 0: the writer is gone */
	uint64_t id;
	uint64_t last_copy;
	struct copy copies; /* list head */
};

struct writer {
	struct object *object;
};

struct reader {
	struct object *object; /* NULL: made after its writer was gone */
	uint64_t seen;
};

static struct live copies = LIVE_INIT;
static struct live writers = LIVE_INIT; /* guarded by the lock of `copies` */

static void
release_version(struct version *v) {
	if (v && atomic_fetch_sub(&v->refs, 1) == 1) {
		live_free(v->msg);
		live_free(v);
	}
}

static void
release_object(struct object *o) {
	if (o && atomic_fetch_sub(&o->refs, 1) == 1)
		live_free(o);
}

/* Make `v` current, as the next in sequence; NULL: there'll be no more. */
static void
publish(struct object *o, struct version *v) {
	SPIN_LOCK(o)
	struct version *old = o->current;
	o->current = v;
	atomic_store(&o->sequence, v ? atomic_load(&o->sequence) + 1 : 0);
	SPIN_UNLOCK(o)
	release_version(old);
}

/* A version of the message at `arg`: a string, or a block that is given away, and its size. */
static struct version *
new_version(lua_State *L, int arg) {
	size_t size;
	void *msg;
	if (lua_type(L, arg) == LUA_TSTRING) {
		const char *text = lua_tolstring(L, arg, &size);
		msg = skynet_malloc(size + 1);
		if (msg == NULL)
			luaL_error(L, "stm: not enough memory");
		memcpy(msg, text, size);
	} else {
		msg = check_pointer(L, arg);
		lua_Integer n = luaL_checkinteger(L, arg + 1);
		luaL_argcheck(L, n >= 0, arg + 1, "size is negative");
		luaL_argcheck(L, msg || n == 0, arg, "no data, but a size");
		size = (size_t)n;
	}
	struct version *v = skynet_malloc(sizeof(*v));
	if (v == NULL) {
		skynet_free(msg);
		luaL_error(L, "stm: not enough memory");
	}
	atomic_init(&v->refs, 1);
	v->msg = msg;
	v->size = size;
	live_share(msg);
	live_share(v);
	return v;
}

/*
 * ---- the writer ----
 */

static bool
list_writer(struct object *o) {
	atomic_init(&o->refs, 1);
	SPIN_INIT(o)
	o->copies.prev = o->copies.next = &o->copies;
	live_lock(&copies);
	do
		o->id = (uint64_t)LIVE_STM << 56 | (++writers.serial & COPY_MASK) << COPY_BITS;
	while ((o->id >> COPY_BITS & COPY_MASK) == 0 || live_find(&writers, o->id) != NULL);
	bool done = live_insert(&writers, o->id, o);
	live_unlock(&copies);
	return done;
}

/* new(msg, sz | string) -> writer */
static int
lnew(lua_State *L) {
	struct writer *w = lua_newuserdatauv(L, sizeof(*w), 0);
	w->object = NULL;
	luaL_setmetatable(L, WRITER);
	struct version *v = new_version(L, 1);
	struct object *o = skynet_calloc(1, sizeof(*o));
	if (o == NULL || !list_writer(o)) {
		skynet_free(o);
		release_version(v);
		return luaL_error(L, "stm.new: not enough memory");
	}
	live_share(o);
	publish(o, v);
	w->object = o;
	return 1;
}

static struct object *
check_writer(lua_State *L, int arg) {
	struct writer *w = luaL_checkudata(L, arg, WRITER);
	luaL_argcheck(L, w->object, arg, "this writer was finalized");
	return w->object;
}

/* writer(msg, sz | string): publish a version */
static int
writer_call(lua_State *L) {
	struct object *o = check_writer(L, 1);
	publish(o, new_version(L, 2));
	return 0;
}

static void
unlist(struct copy *c) {
	c->prev->next = c->next;
	c->next->prev = c->prev;
}

static int
writer_gc(lua_State *L) {
	struct writer *w = luaL_checkudata(L, 1, WRITER);
	struct object *o = w->object;
	if (o == NULL)
		return 0;
	w->object = NULL;
	publish(o, NULL);
	live_lock(&copies);
	(void)live_remove(&writers, o->id);
	while (o->copies.next != &o->copies) {
		struct copy *c = o->copies.next;
		(void)live_remove(&copies, c->id);
		unlist(c);
		live_free(c);
		release_object(o); /* not the last one: ours is left */
	}
	live_unlock(&copies);
	release_object(o);
	return 0;
}

/* copy(writer) -> light userdata: makes one reader, wherever it's sent */
static int
lcopy(lua_State *L) {
	struct object *o = check_writer(L, 1);
	struct copy *c = skynet_malloc(sizeof(*c));
	bool done = false;
	if (c) {
		live_lock(&copies);
		do
			c->id = o->id | (++o->last_copy & COPY_MASK);
		while (live_find(&copies, c->id) != NULL);
		done = live_insert(&copies, c->id, c);
		if (done) {
			c->object = o;
			atomic_fetch_add(&o->refs, 1);
			live_share(c);
			c->next = o->copies.next;
			c->prev = &o->copies;
			c->next->prev = c;
			o->copies.next = c;
		}
		live_unlock(&copies);
	}
	if (!done) {
		skynet_free(c);
		return luaL_error(L, "stm.copy: not enough memory");
	}
	lua_pushlightuserdata(L, (void *)(uintptr_t)c->id);
	return 1;
}

/*
 * ---- readers ----
 */

/* Use a copy up: 1: *o is its object; 0: its writer is gone; -1: it was used, or never made. */
static int
take_copy(uint64_t id, struct object **o) {
	int result = -1;
	live_lock(&copies);
	struct copy *c = live_remove(&copies, id);
	uint64_t serial = id >> COPY_BITS & COPY_MASK;
	if (c) {
		unlist(c);
		*o = c->object;
		result = 1;
	} else if (id >> 56 == LIVE_STM && serial != 0 && serial <= writers.serial &&
	           live_find(&writers, id & ~COPY_MASK) == NULL) {
		*o = NULL;
		result = 0;
	}
	live_unlock(&copies);
	live_free(c);
	return result;
}

/* newcopy(copy) -> reader */
static int
lnewcopy(lua_State *L) {
	luaL_checktype(L, 1, LUA_TLIGHTUSERDATA);
	struct reader *r = lua_newuserdatauv(L, sizeof(*r), 0);
	*r = (struct reader){NULL, 0};
	luaL_setmetatable(L, READER);
	if (take_copy((uint64_t)(uintptr_t)lua_touserdata(L, 1), &r->object) < 0)
		return luaL_argerror(L, 1,
		                     "this copy was used already, or it's none (stm.copy makes "
		                     "one for each reader)");
	return 1;
}

static int
reader_gc(lua_State *L) {
	struct reader *r = luaL_checkudata(L, 1, READER);
	release_object(r->object);
	r->object = NULL;
	return 0;
}

static bool
is_newer(const struct reader *r) {
	/* relaxed: only decides whether to look closer, under the lock */
	uint64_t now =
		r->object ? atomic_load_explicit(&r->object->sequence, memory_order_relaxed) : 0;
	return now != 0 && now != r->seen;
}

/* The current version with a reference for the caller; NULL when the writer is gone. */
static struct version *
take_version(struct reader *r) {
	struct object *o = r->object;
	SPIN_LOCK(o)
	struct version *v = o->current;
	if (v) {
		atomic_fetch_add(&v->refs, 1);
		r->seen = atomic_load(&o->sequence);
	}
	SPIN_UNLOCK(o)
	return v;
}

/* Keeps a version for as long as somebody's function looks at it. */
static int
guard_gc(lua_State *L) {
	struct version **v = luaL_checkudata(L, 1, GUARD);
	release_version(*v);
	*v = NULL;
	return 0;
}

enum { AT_GUARD = 4, AT_RESULTS };

static int
finish_read(lua_State *L, int status, lua_KContext ctx) {
	(void)status, (void)ctx;
	struct version **v = lua_touserdata(L, AT_GUARD);
	release_version(*v);
	*v = NULL;
	return lua_gettop(L) - AT_RESULTS + 1;
}

/* reader(f [, ud]) -> true, f(msg, sz, ud)...; or false when there's nothing new */
static int
reader_call(lua_State *L) {
	struct reader *r = luaL_checkudata(L, 1, READER);
	luaL_checkany(L, 2);
	lua_settop(L, 3);
	if (!is_newer(r)) {
		lua_pushboolean(L, 0);
		return 1;
	}
	struct version **v = lua_newuserdatauv(L, sizeof(*v), 0);
	*v = NULL;
	luaL_setmetatable(L, GUARD);
	*v = take_version(r);
	if (*v == NULL) { /* the writer went meanwhile */
		lua_pushboolean(L, 0);
		return 1;
	}
	lua_pushboolean(L, 1);
	lua_pushvalue(L, 2);
	lua_pushlightuserdata(L, (*v)->msg);
	lua_pushinteger(L, (lua_Integer)(*v)->size);
	lua_pushvalue(L, 3);
	lua_callk(L, 3, LUA_MULTRET, 0, finish_read);
	return finish_read(L, LUA_OK, 0);
}

static void
make_class(lua_State *L, const char *name, lua_CFunction gc, lua_CFunction call) {
	luaL_newmetatable(L, name);
	lua_pushcfunction(L, gc);
	lua_setfield(L, -2, "__gc");
	if (call) {
		lua_pushcfunction(L, call);
		lua_setfield(L, -2, "__call");
	}
	lua_pop(L, 1);
}

LUAMOD_API int
luaopen_skynet_stm(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"new", lnew},
		{"copy", lcopy},
		{"newcopy", lnewcopy},
		{NULL, NULL},
	};
	luaL_checkversion(L);
	make_class(L, WRITER, writer_gc, writer_call);
	make_class(L, READER, reader_gc, reader_call);
	make_class(L, GUARD, guard_gc, NULL);
	luaL_newlib(L, functions);
	return 1;
}
