/*
 * Boxes: how a VM reads a shared document (see sharedata_box.h).
 *
 * A box that is read over and over becomes hot: it gets a metatable of its own whose __index is
 * a table, which C fills with what was read, so that reading costs no call any more. There are
 * few hot boxes for each root, and all cool down when there are too many or the root is moved.
 *
 * Threads: each box belongs to one VM.
 */
#include "sharedata_box.h"

#define BOX_TAG(b) ((uint64_t)(uintptr_t)(b) ^ 0x5d5a31c7e94b20f6u)

/*
 * User values of a box: the parent's userdata (in a root: the root's own table, so that whoever
 * holds a part keeps the whole findable); the key in the parent; and a table: key -> child's
 * table, which in a hot box holds plain values, too. A root also has a set of the hot boxes'
 * tables.
 */
enum {
	UV_PARENT = 1,
	UV_KEY,
	UV_CHILDREN,
	UV_COUNT = UV_CHILDREN,
	UV_HOT,
	UV_ROOT_COUNT = UV_HOT
};

#define HOT_MAX 64         /* boxes for each root */
#define HOT_MAX_FIELDS 512 /* of a box */
#define HOT_READS 32       /* and two for each field, until a box is hot */

struct iterator {
	struct object *object; /* NULL: at the end */
	const struct sd_table *table;
	uint64_t at;
	uint64_t version; /* the root's when the iteration began */
};

/* registry keys; BOX is also the key of a box's one field */
static const char BOX, BOX_META, CACHE_META, ROOT_META, ITERATOR_META;

static bool
is_box(lua_State *L, int index) {
	const struct box *b = lua_touserdata(L, index);
	/* a light userdata's length is 0 */
	return b && lua_rawlen(L, index) >= sizeof(*b) && b->tag == BOX_TAG(b);
}

/* The box of a table or userdata argument; its userdata is pushed. */
struct box *
sd_check_box(lua_State *L, int arg) {
	if (lua_type(L, arg) == LUA_TTABLE)
		lua_rawgetp(L, arg, &BOX);
	else
		lua_pushvalue(L, arg);
	if (!is_box(L, -1))
		luaL_argerror(L, arg, "Need a sharedata box");
	return lua_touserdata(L, -1);
}

static int
root_gc(lua_State *L) {
	struct root *r = is_box(L, 1) ? lua_touserdata(L, 1) : NULL;
	if (r && r->box.root == r && r->object) {
		sd_release(r->object);
		r->object = NULL;
		r->box.table = NULL;
		r->box.version++;
	}
	return 0;
}

/* Push the userdata of a root without an object: nothing that gets one may raise afterwards. */
struct root *
sd_push_root(lua_State *L) {
	struct root *r = lua_newuserdatauv(L, sizeof(*r), UV_ROOT_COUNT);
	*r = (struct root){.box = {.tag = BOX_TAG(r), .root = r}};
	lua_rawgetp(L, LUA_REGISTRYINDEX, &ROOT_META);
	lua_setmetatable(L, -2);
	return r;
}

/* Push the table that users see of the box whose userdata is on top of the stack. */
static void
push_wrapped(lua_State *L) {
	lua_createtable(L, 0, 1);
	lua_pushvalue(L, -2);
	lua_rawsetp(L, -2, &BOX);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &BOX_META);
	lua_setmetatable(L, -2);
}

/* box(object) -> userdata of a root */
static int
lbox(lua_State *L) {
	struct root *r = sd_push_root(L);
	r->object = sd_grab(L, 1);
	r->box.table = sd_table_of(&r->object->doc, 0);
	return 1;
}

/* open(object) -> box */
static int
lopen(lua_State *L) {
	lbox(L);
	push_wrapped(L);
	lua_pushvalue(L, -1);
	lua_setiuservalue(L, -3, UV_PARENT);
	return 1;
}

/* Push the dotted path of the box whose userdata is at `ud`: empty for a root. */
static void
push_path(lua_State *L, int ud) {
	luaL_checkstack(L, LUA_MINSTACK, NULL);
	ud = lua_absindex(L, ud);
	if (lua_getiuservalue(L, ud, UV_PARENT) != LUA_TUSERDATA) {
		lua_pop(L, 1);
		lua_pushliteral(L, "");
		return;
	}
	push_path(L, -1);
	lua_remove(L, -2);
	lua_pushliteral(L, ".");
	lua_getiuservalue(L, ud, UV_KEY);
	luaL_tolstring(L, -1, NULL);
	lua_remove(L, -2);
	lua_concat(L, 3);
}

/* Find the place of the box at `ud` in the root's current version, by way of its parents. */
static bool
rebind(lua_State *L, struct box *b, int ud) {
	luaL_checkstack(L, LUA_MINSTACK, NULL);
	int top = lua_gettop(L);
	bool found = false;
	if (lua_getiuservalue(L, ud, UV_PARENT) == LUA_TUSERDATA) {
		struct box *parent = lua_touserdata(L, -1);
		if (parent->version == b->root->box.version || rebind(L, parent, lua_gettop(L))) {
			lua_getiuservalue(L, ud, UV_KEY);
			struct sd_slot slot = sd_get(L, parent->table, -1);
			found = slot.type == SD_TABLE;
			if (found) {
				b->table = sd_at(parent->table, slot.value->distance);
				b->version = b->root->box.version;
				b->reads = 0;
			}
		}
	}
	lua_settop(L, top);
	return found;
}

/* The table a box reads now; its userdata is at `ud`. */
const struct sd_table *
sd_current(lua_State *L, struct box *b, int ud) {
	if (b->version == b->root->box.version && b->table)
		return b->table;
	if (b->root->object == NULL)
		luaL_error(L, "this sharedata box was finalized");
	if (!rebind(L, b, lua_absindex(L, ud))) {
		push_path(L, ud);
		luaL_error(L, "The key [%s] doesn't exist after update", lua_tostring(L, -1));
	}
	return b->table;
}

/* Push the table of the children of the box at `ud`. */
static void
push_children(lua_State *L, int ud) {
	if (lua_getiuservalue(L, ud, UV_CHILDREN) == LUA_TTABLE)
		return;
	lua_pop(L, 1);
	lua_newtable(L);
	lua_pushvalue(L, -1);
	lua_setiuservalue(L, ud, UV_CHILDREN);
}

/* Leave on top the box of the sub-table at `key` (a stack index), made at the first access. */
static void
push_child(lua_State *L, struct box *parent, int ud, int key, const struct sd_table *table) {
	push_children(L, ud);
	lua_pushvalue(L, key);
	if (lua_rawget(L, -2) == LUA_TTABLE)
		return;
	lua_pop(L, 1);
	struct box *b = lua_newuserdatauv(L, sizeof(*b), UV_COUNT);
	*b = (struct box){.tag = BOX_TAG(b),
	                  .root = parent->root,
	                  .table = table,
	                  .version = parent->root->box.version};
	lua_pushvalue(L, ud);
	lua_setiuservalue(L, -2, UV_PARENT);
	lua_pushvalue(L, key);
	lua_setiuservalue(L, -2, UV_KEY);
	push_wrapped(L); /* children, userdata, table */
	lua_pushvalue(L, key);
	lua_pushvalue(L, -2);
	lua_rawset(L, -5);
}

static void
push_slot(lua_State *L, struct box *b, int ud, int key, const struct sd_table *t,
          struct sd_slot slot) {
	if (slot.type == SD_TABLE)
		push_child(L, b, ud, key, sd_at(t, slot.value->distance));
	else
		sd_push(L, t, slot);
}

/* As push_slot, which may leave more below: push the value and nothing else. */
static void
push_only_slot(lua_State *L, struct box *b, int ud, int key, const struct sd_table *t,
               struct sd_slot slot) {
	int at = lua_gettop(L) + 1;
	push_slot(L, b, ud, key, t, slot);
	if (lua_gettop(L) > at) {
		lua_copy(L, -1, at);
		lua_settop(L, at);
	}
}

/*
 * ---- hot boxes ----
 */

/* Push the userdata of the root above the box at `ud`. */
static void
push_root_of(lua_State *L, int ud) {
	lua_pushvalue(L, ud);
	while (lua_getiuservalue(L, -1, UV_PARENT) == LUA_TUSERDATA)
		lua_remove(L, -2);
	lua_pop(L, 1);
}

/* Is there a box's table on top of the stack? If so its userdata is pushed. */
static bool
push_if_box(lua_State *L) {
	if (lua_type(L, -1) != LUA_TTABLE)
		return false;
	lua_rawgetp(L, -1, &BOX);
	if (is_box(L, -1))
		return true;
	lua_pop(L, 1);
	return false;
}

/* The box's table is on top of the stack: forget the plain values it keeps. */
static void
cool(lua_State *L) {
	int self = lua_gettop(L);
	if (!push_if_box(L))
		return;
	struct box *b = lua_touserdata(L, -1);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &BOX_META);
	lua_setmetatable(L, self);
	b->reads = 0;
	push_children(L, self + 1);
	lua_pushnil(L);
	lua_setmetatable(L, self + 2);
	for (lua_pushnil(L); lua_next(L, self + 2); lua_settop(L, self + 3)) {
		if (lua_type(L, -1) == LUA_TTABLE)
			continue;
		lua_pushvalue(L, self + 3);
		lua_pushnil(L);
		lua_rawset(L, self + 2);
	}
	lua_settop(L, self);
}

/* All boxes below the root at `ud` that are hot cool down. */
static void
cool_all(lua_State *L, int ud) {
	struct root *root = lua_touserdata(L, ud);
	if (root->hot == 0)
		return;
	lua_getiuservalue(L, ud, UV_HOT);
	int set = lua_gettop(L);
	for (lua_pushnil(L); lua_next(L, set); lua_settop(L, set + 1)) {
		lua_pushvalue(L, set + 1);
		cool(L);
	}
	lua_settop(L, set - 1);
	lua_pushnil(L);
	lua_setiuservalue(L, ud, UV_HOT);
	root->hot = 0;
}

/* Enter the box's table at `self` into its root's set of hot ones. */
static void
enlist(lua_State *L, int self, int ud) {
	push_root_of(L, ud);
	int at = lua_gettop(L);
	struct root *root = lua_touserdata(L, at);
	if (root->hot >= HOT_MAX)
		cool_all(L, at);
	if (lua_getiuservalue(L, at, UV_HOT) != LUA_TTABLE) {
		lua_pop(L, 1);
		lua_newtable(L);
		lua_pushvalue(L, -1);
		lua_setiuservalue(L, at, UV_HOT);
	}
	lua_pushvalue(L, self);
	lua_pushboolean(L, 1);
	lua_rawset(L, -3);
	root->hot++;
	lua_settop(L, at - 1);
}

/* The box at `self` becomes hot: reads go to the table of its children, which C fills. */
static void
heat(lua_State *L, int self, int ud) {
	static const char *const same[] = {"__newindex", "__len", "__pairs"};
	int top = lua_gettop(L);
	enlist(L, self, ud);
	lua_createtable(L, 0, 4);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &BOX_META);
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		lua_getfield(L, top + 2, same[i]);
		lua_setfield(L, top + 1, same[i]);
	}
	push_children(L, ud);
	lua_pushvalue(L, ud);
	lua_rawsetp(L, -2, &BOX);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &CACHE_META);
	lua_setmetatable(L, -2);
	lua_setfield(L, top + 1, "__index");
	lua_settop(L, top + 1);
	lua_setmetatable(L, self);
}

static int
box_index(lua_State *L) {
	lua_settop(L, 2);
	struct box *b = sd_check_box(L, 1); /* userdata: 3 */
	const struct sd_table *t = sd_current(L, b, 3);
	if (++b->reads >= HOT_READS) {
		uint64_t fields = (uint64_t)t->array_n + t->hash_n;
		if (fields <= HOT_MAX_FIELDS && b->reads >= HOT_READS + 2 * fields) {
			b->reads = 0;
			heat(L, 1, 3);
		}
	}
	push_slot(L, b, 3, 2, t, sd_get(L, t, 2));
	return 1;
}

/* What a hot box's table hasn't got yet. */
static int
cache_index(lua_State *L) {
	lua_settop(L, 2);
	struct box *b = sd_check_box(L, 1); /* userdata: 3 */
	const struct sd_table *t = sd_current(L, b, 3);
	struct sd_slot slot = sd_get(L, t, 2);
	push_slot(L, b, 3, 2, t, slot);
	if (slot.type != SD_NIL && slot.type != SD_TABLE) {
		lua_pushvalue(L, 2);
		lua_pushvalue(L, -2);
		lua_rawset(L, 1);
	}
	return 1;
}

static int
box_newindex(lua_State *L) {
	lua_settop(L, 3);
	(void)sd_check_box(L, 1);
	push_path(L, 4);
	return luaL_error(L, "Error newindex, the key [%s]", lua_tostring(L, -1));
}

static int
box_len(lua_State *L) {
	lua_settop(L, 1);
	struct box *b = sd_check_box(L, 1);
	lua_pushinteger(L, sd_current(L, b, 2)->array_n);
	return 1;
}

/*
 * ---- iteration: over the version that was current when it began ----
 */

static int
iterator_gc(lua_State *L) {
	struct iterator *it = lua_touserdata(L, 1);
	if (it->object)
		sd_release(it->object);
	it->object = NULL;
	return 0;
}

/* upvalues: iterator, userdata of the box */
static int
box_next(lua_State *L) {
	struct iterator *it = lua_touserdata(L, lua_upvalueindex(1));
	struct box *b = lua_touserdata(L, lua_upvalueindex(2));
	struct sd_slot slot;
	lua_settop(L, 0);
	while (it->object && sd_next(L, it->table, &it->at, &slot)) {
		const struct sd_table *t = it->table;
		if (b->root->box.version != it->version) {
			/* updated meanwhile: today's value, unless the key is gone */
			t = sd_current(L, b, lua_upvalueindex(2));
			slot = sd_get(L, t, 1);
		}
		if (slot.type != SD_NIL) {
			lua_pushvalue(L, 1);
			push_only_slot(L, b, lua_upvalueindex(2), 1, t, slot);
			return 2;
		}
		lua_settop(L, 0);
	}
	if (it->object)
		sd_release(it->object);
	it->object = NULL;
	lua_pushnil(L);
	return 1;
}

static int
box_pairs(lua_State *L) {
	lua_settop(L, 1);
	struct box *b = sd_check_box(L, 1); /* userdata: 2 */
	const struct sd_table *t = sd_current(L, b, 2);
	struct iterator *it = lua_newuserdatauv(L, sizeof(*it), 0);
	*it = (struct iterator){.table = t, .version = b->root->box.version};
	lua_rawgetp(L, LUA_REGISTRYINDEX, &ITERATOR_META);
	lua_setmetatable(L, -2);
	it->object = b->root->object;
	atomic_fetch_add(&it->object->refs, 1);
	lua_pushvalue(L, 2);
	lua_pushcclosure(L, box_next, 2);
	lua_pushvalue(L, 1);
	lua_pushnil(L);
	return 3;
}

/* next(box, key) -> key, value; raises when an update has taken the key away */
static int
lnext(lua_State *L) {
	lua_settop(L, 2);
	struct box *b = sd_check_box(L, 1); /* userdata: 3 */
	const struct sd_table *t = sd_current(L, b, 3);
	struct sd_key key;
	struct sd_slot slot;
	uint64_t at = 0;
	sd_key_of(L, 2, &key);
	if (!lua_isnil(L, 2) && !sd_position(t, &key, &at))
		return luaL_error(L, "sharedata next: the key %s isn't there",
		                  luaL_tolstring(L, 2, NULL));
	if (!sd_next(L, t, &at, &slot))
		return 0;
	lua_pushvalue(L, 4);
	push_only_slot(L, b, 3, 4, t, slot);
	return 2;
}

/*
 * ---- new versions ----
 */

static struct root *
check_root(lua_State *L, int arg) {
	struct box *b = sd_check_box(L, arg);
	if (&b->root->box != b || b->root->object == NULL)
		luaL_argerror(L, arg, "Need the box of a whole object");
	return b->root;
}

/* needupdate(box) -> has its object a newer version that the box wasn't given yet? */
static int
lneedupdate(lua_State *L) {
	lua_pushboolean(L, atomic_load(&check_root(L, 1)->object->dirty));
	return 1;
}

/* update(box, object): the box and all boxes below it read the new version from now on. */
static int
lupdate(lua_State *L) {
	lua_settop(L, 2);
	struct root *r = check_root(L, 1);
	cool_all(L, 3);
	struct object *o = sd_grab(L, 2);
	struct object *old = r->object;
	if (o == old || !atomic_load(&old->dirty)) {
		const char *why =
			o == old ? "You should update a new object" : "Only dirty object can be update";
		sd_release(o);
		return luaL_error(L, "%s", why);
	}
	r->object = o;
	r->box.table = sd_table_of(&o->doc, 0);
	r->box.version++;
	sd_release(old);
	return 0;
}

/* object(box) -> the object it reads now */
static int
lobject(lua_State *L) {
	sd_push_id(L, check_root(L, 1)->object->id);
	return 1;
}

/* Call f for each cached child's table (left at the top) of the box at `ud`. */
static void
each_child(lua_State *L, int ud, void (*f)(lua_State *L, int ud, int children, bool flag),
           bool flag) {
	luaL_checkstack(L, LUA_MINSTACK, NULL);
	if (lua_getiuservalue(L, ud, UV_CHILDREN) != LUA_TTABLE) {
		lua_pop(L, 1);
		return;
	}
	int children = lua_gettop(L);
	f(L, ud, children, flag);
	for (lua_pushnil(L); lua_next(L, children); lua_settop(L, children + 1)) {
		if (push_if_box(L))
			each_child(L, lua_gettop(L), f, flag);
	}
	lua_settop(L, children - 1);
}

static void
set_weak(lua_State *L, int ud, int children, bool weak) {
	(void)ud;
	if (weak) {
		lua_createtable(L, 0, 1);
		lua_pushliteral(L, "v");
		lua_setfield(L, -2, "__mode");
	} else {
		lua_pushnil(L);
	}
	lua_setmetatable(L, children);
}

static void
drop_vanished(lua_State *L, int ud, int children, bool flag) {
	(void)ud, (void)flag;
	for (lua_pushnil(L); lua_next(L, children); lua_settop(L, children + 1)) {
		if (!push_if_box(L))
			continue;
		struct box *b = lua_touserdata(L, -1);
		if (b->version != b->root->box.version && !rebind(L, b, lua_gettop(L))) {
			lua_pushvalue(L, children + 1);
			lua_pushnil(L);
			lua_rawset(L, children);
		}
	}
}

/* flush(box): bind all cached boxes below to the current version, forget those without a place */
static int
lflush(lua_State *L) {
	lua_settop(L, 1);
	(void)sd_check_box(L, 1);
	each_child(L, 2, drop_vanished, false);
	return 0;
}

/* weaken(box, flag): while set, a collection drops the cached boxes that nobody else holds. */
static int
lweaken(lua_State *L) {
	bool weak = lua_toboolean(L, 2);
	lua_settop(L, 1);
	(void)check_root(L, 1);
	cool_all(L, 2);
	each_child(L, 2, set_weak, weak);
	return 0;
}

static void
make_meta(lua_State *L, const void *key, const luaL_Reg *methods) {
	lua_newtable(L);
	luaL_setfuncs(L, methods, 0);
	lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

void
sd_open_boxes(lua_State *L) {
	static const luaL_Reg box_meta[] = {
		{"__index", box_index}, {"__newindex", box_newindex},
		{"__len", box_len},     {"__pairs", box_pairs},
		{NULL, NULL},
	};
	static const luaL_Reg cache_meta[] = {{"__index", cache_index}, {NULL, NULL}};
	static const luaL_Reg root_meta[] = {{"__gc", root_gc}, {NULL, NULL}};
	static const luaL_Reg iterator_meta[] = {{"__gc", iterator_gc}, {NULL, NULL}};
	static const luaL_Reg functions[] = {
		{"box", lbox},       {"open", lopen},     {"update", lupdate},
		{"flush", lflush},   {"weaken", lweaken}, {"needupdate", lneedupdate},
		{"object", lobject}, {"next", lnext},     {NULL, NULL},
	};
	make_meta(L, &BOX_META, box_meta);
	make_meta(L, &CACHE_META, cache_meta);
	make_meta(L, &ROOT_META, root_meta);
	make_meta(L, &ITERATOR_META, iterator_meta);
	luaL_setfuncs(L, functions, 0);
}
