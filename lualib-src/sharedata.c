/*
 * Module skynet.sharedata.core: shared documents by number.
 *
 * A document is known to Lua as a light userdata: a number (see live.h), not an address; the low
 * bits say which of its tables is meant. It lives while its owner hasn't deleted it, or something
 * refers to it: a box, an iterator, an explicit incref. Counting is atomic; looking a number up
 * takes the table's lock. Boxes, through which VMs read, are in sharedata_box.c.
 *
 * Threads: any.
 */
#include "live.h"
#include "sharedata_box.h"

#include "skynet_malloc.h"

static struct live objects = LIVE_INIT;

/*
 * ---- documents ----
 */

static uint64_t
id_of(uint64_t serial, uint32_t table) {
	return (uint64_t)LIVE_SHAREDATA << 56 | (serial & UINT32_MAX) << SD_INDEX_BITS | table;
}

void
sd_release(struct object *o) {
	if (atomic_fetch_sub(&o->refs, 1) == 1) {
		live_free(o->doc.base);
		live_free(o->doc.offset);
		live_free(o);
	}
}

void
sd_push_id(lua_State *L, uint64_t id) {
	lua_pushlightuserdata(L, (void *)(uintptr_t)id);
}

/* The object of a light userdata with a reference for the caller, or NULL. */
static struct object *
grab(uint64_t id) {
	live_lock(&objects);
	struct object *o = live_find(&objects, id & ~(uint64_t)(SD_MAX_TABLES - 1));
	if (o && (id & (SD_MAX_TABLES - 1)) < o->doc.tables)
		atomic_fetch_add(&o->refs, 1);
	else
		o = NULL;
	live_unlock(&objects);
	return o;
}

/* As luaL_argerror, with a text that ends as it always did. */
static int
need_object(lua_State *L, int arg) {
	lua_Debug ar = {.name = NULL};
	if (lua_getstack(L, 0, &ar))
		(void)lua_getinfo(L, "n", &ar);
	return luaL_error(L, "bad argument #%d to '%s': Need a conf object", arg,
	                  ar.name ? ar.name : "?");
}

static uint64_t
check_id(lua_State *L, int arg) {
	if (lua_type(L, arg) != LUA_TLIGHTUSERDATA)
		need_object(L, arg);
	return (uint64_t)(uintptr_t)lua_touserdata(L, arg);
}

/* As grab, for an argument that must be a whole document. */
struct object *
sd_grab(lua_State *L, int arg) {
	uint64_t id = check_id(L, arg);
	struct object *o = (id & (SD_MAX_TABLES - 1)) == 0 ? grab(id) : NULL;
	if (o == NULL)
		need_object(L, arg);
	return o;
}

static bool
publish(struct object *o) {
	bool done;
	live_lock(&objects);
	do
		o->id = id_of(++objects.serial, 0);
	while (live_find(&objects, o->id) != NULL);
	done = live_insert(&objects, o->id, o);
	live_unlock(&objects);
	return done;
}

/* new(table) -> object: a document; it stays until it's deleted and nothing uses it. */
static int
lnew(lua_State *L) {
	struct sd_document doc;
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	sd_build(L, 1, &doc);
	struct object *o = skynet_calloc(1, sizeof(*o));
	if (o == NULL) {
		sd_free(&doc);
		return luaL_error(L, "sharedata.new: not enough memory");
	}
	o->doc = doc;
	atomic_init(&o->refs, 1);
	live_share(doc.base);
	live_share(doc.offset);
	live_share(o);
	if (!publish(o)) {
		sd_release(o);
		return luaL_error(L, "sharedata.new: not enough memory");
	}
	sd_push_id(L, o->id);
	return 1;
}

static int
ldelete(lua_State *L) {
	uint64_t id = check_id(L, 1);
	live_lock(&objects);
	struct object *o = live_remove(&objects, id);
	live_unlock(&objects);
	if (o == NULL)
		return need_object(L, 1);
	sd_release(o);
	return 0;
}

static int
lmarkdirty(lua_State *L) {
	struct object *o = sd_grab(L, 1);
	atomic_store(&o->dirty, true);
	sd_release(o);
	return 0;
}

static int
lisdirty(lua_State *L) {
	struct object *o = sd_grab(L, 1);
	lua_pushboolean(L, atomic_load(&o->dirty));
	sd_release(o);
	return 1;
}

static int
push_count(lua_State *L, struct object *o) {
	/* neither the owner's reference nor ours counts */
	int n = atomic_load(&o->refs) - 2;
	sd_release(o);
	lua_pushinteger(L, n > 0 ? n : 0);
	return 1;
}

static int
lgetref(lua_State *L) {
	return push_count(L, sd_grab(L, 1));
}

static int
lincref(lua_State *L) {
	struct object *o = sd_grab(L, 1);
	atomic_fetch_add(&o->refs, 1);
	atomic_fetch_add(&o->explicit, 1);
	return push_count(L, o);
}

static int
ldecref(lua_State *L) {
	struct object *o = sd_grab(L, 1);
	int n = atomic_load(&o->explicit);
	while (n > 0 && !atomic_compare_exchange_weak(&o->explicit, &n, n - 1))
		;
	if (n <= 0) { /* boxes' references aren't the caller's to give back */
		sd_release(o);
		return luaL_argerror(L, 1, "decref without an incref");
	}
	sd_release(o);
	return push_count(L, o);
}

/*
 * ---- reading objects without a box ----
 */

/*
 * The table of argument 1: an object, a table in one, or a box. Pushes a userdata that holds the
 * object meanwhile; *id is the object's.
 */
static const struct sd_table *
hold(lua_State *L, uint64_t *id) {
	if (lua_type(L, 1) != LUA_TLIGHTUSERDATA && !lua_isnoneornil(L, 1)) {
		struct box *b = sd_check_box(L, 1);
		*id = b->root->object ? b->root->object->id : 0;
		return sd_current(L, b, -1);
	}
	*id = check_id(L, 1);
	struct root *r = sd_push_root(L);
	r->object = grab(*id);
	if (r->object == NULL)
		need_object(L, 1);
	return sd_table_of(&r->object->doc, *id & (SD_MAX_TABLES - 1));
}

/* The holder pushed by hold() isn't needed any more. */
static void
let_go(lua_State *L, int ud) {
	if (lua_type(L, 1) == LUA_TLIGHTUSERDATA) {
		struct root *r = lua_touserdata(L, ud);
		sd_release(r->object);
		r->object = NULL;
	}
}

/* index(object, key) -> value; a sub-table as a light userdata */
static int
lindex(lua_State *L) {
	uint64_t id;
	lua_settop(L, 2);
	const struct sd_table *t = hold(L, &id);
	struct sd_slot slot = sd_get(L, t, 2);
	if (slot.type == SD_TABLE) {
		const struct sd_table *sub = sd_at(t, slot.value->distance);
		sd_push_id(L, (id & ~(uint64_t)(SD_MAX_TABLES - 1)) | sub->index);
	} else {
		sd_push(L, t, slot);
	}
	let_go(L, 3);
	return 1;
}

/* nextkey(object, key|nil) -> the key after it, or nothing */
static int
lnextkey(lua_State *L) {
	uint64_t id, at = 0;
	struct sd_slot slot;
	lua_settop(L, 2);
	const struct sd_table *t = hold(L, &id);
	struct sd_key key;
	sd_key_of(L, 2, &key);
	if (!lua_isnil(L, 2) && !sd_position(t, &key, &at)) {
		let_go(L, 3);
		return luaL_error(L, "sharedata nextkey: the key %s isn't there",
		                  luaL_tolstring(L, 2, NULL));
	}
	int n = sd_next(L, t, &at, &slot);
	let_go(L, 3);
	return n;
}

static int
llen(lua_State *L) {
	uint64_t id;
	lua_settop(L, 1);
	lua_pushinteger(L, hold(L, &id)->array_n);
	let_go(L, 2);
	return 1;
}

static int
lhashlen(lua_State *L) {
	uint64_t id;
	lua_settop(L, 1);
	lua_pushinteger(L, hold(L, &id)->hash_n);
	let_go(L, 2);
	return 1;
}

/* copy(object, key...) -> a plain copy of the value there; nothing for an absent one or false */
static int
lcopy(lua_State *L) {
	uint64_t id;
	int n = lua_gettop(L);
	const struct sd_table *t = hold(L, &id);
	struct sd_slot slot = {NULL, SD_TABLE};
	for (int i = 2; i <= n; i++) {
		slot = slot.type == SD_TABLE ? sd_get(L, t, i) : (struct sd_slot){NULL, SD_NIL};
		if (slot.type == SD_TABLE)
			t = sd_at(t, slot.value->distance);
	}
	if (slot.type == SD_TABLE)
		sd_copy(L, t);
	else
		sd_push(L, t, slot);
	let_go(L, n + 1);
	return lua_toboolean(L, -1);
}

/* size(object) -> bytes */
static int
lsize(lua_State *L) {
	struct object *o = sd_grab(L, 1);
	size_t size = sizeof(*o) + o->doc.size + o->doc.tables * sizeof(*o->doc.offset);
	sd_release(o);
	lua_pushinteger(L, (lua_Integer)size);
	return 1;
}

static int
lalive(lua_State *L) {
	lua_pushboolean(L, live_service((uint32_t)luaL_checkinteger(L, 1)));
	return 1;
}

LUAMOD_API int
luaopen_skynet_sharedata_core(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"new", lnew},         {"delete", ldelete},   {"markdirty", lmarkdirty},
		{"getref", lgetref},   {"incref", lincref},   {"decref", ldecref},
		{"index", lindex},     {"nextkey", lnextkey}, {"len", llen},
		{"hashlen", lhashlen}, {"copy", lcopy},       {"size", lsize},
		{"alive", lalive},     {"isdirty", lisdirty}, {NULL, NULL},
	};
	luaL_checkversion(L);
	luaL_newlib(L, functions);
	sd_open_boxes(L);
	return 1;
}
