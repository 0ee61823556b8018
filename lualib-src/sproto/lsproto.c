/*
 * The Lua module sproto.core.
 *
 * Schemas and types are light userdata, as users know them: they're passed between services,
 * kept in tables, compared. So any pointer may come in, from a schema that's gone, for
 * instance. Each Lua state has a table of those it has met ("cache", the first upvalue of every
 * function here):
 *
 *   schema address -> "holder", userdata that has a reference to the schema
 *   type address   -> "names", table of the names of its fields, the holder as the last one
 *
 * What's in there is alive and safe to follow. What isn't is looked up in the library's list,
 * once; a state that has met a schema keeps it until it deletes it, or ends. A call that works
 * with a type has its names on the stack, and so keeps the schema even if it's deleted meanwhile
 * (by a metamethod, or because the object the type came from is collected).
 */
#include "lsproto.h"
#include "../block.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHE lua_upvalueindex(1)
#define HOLDER "sproto.holder"
#define NEED_SCHEMA "Need a sproto object"
#define NEED_TYPE "Need a sproto_type object"

struct holder {
	struct sproto *sp;
	bool shared; /* came from a slot: objects in this state rely on it, whoever deletes it */
};

/*
 * ---- what this state holds ----
 */

/* Nothing of the schema is in the cache any more. */
static void
forget(lua_State *L, const struct sproto *sp) {
	const struct sproto_type *t;
	for (size_t i = 0; (t = sproto_type_at(sp, i)) != NULL; i++) {
		lua_pushnil(L);
		lua_rawsetp(L, CACHE, t);
	}
	lua_pushnil(L);
	lua_rawsetp(L, CACHE, sp);
}

/* The state ends. Other finalizers may run later and use the schema: they meet it anew. */
static int
holder_gc(lua_State *L) {
	struct holder *holder = luaL_checkudata(L, 1, HOLDER);
	struct sproto *sp = holder->sp;
	holder->sp = NULL;
	if (sp) {
		if (lua_rawgetp(L, CACHE, sp) == LUA_TUSERDATA && lua_rawequal(L, 1, -1))
			forget(L, sp);
		sproto_release(sp);
	}
	return 0;
}

/* Push a holder that has nothing yet: made first, so that no reference is lost to an error. */
static struct holder *
new_holder(lua_State *L) {
	struct holder *holder = lua_newuserdatauv(L, sizeof(*holder), 0);
	*holder = (struct holder){NULL, false};
	luaL_setmetatable(L, HOLDER);
	return holder;
}

/*
 * Pop a holder, which has a schema: from now on this state has it, unless it did already.
 * Returns the holder that stays.
 */
static struct holder *
keep(lua_State *L) {
	struct holder *holder = lua_touserdata(L, -1);
	struct sproto *sp = holder->sp;
	if (lua_rawgetp(L, CACHE, sp) == LUA_TNIL) {
		lua_pushvalue(L, -2);
		lua_rawsetp(L, CACHE, sp);
	} else {
		holder = lua_touserdata(L, -1);
	}
	lua_pop(L, 2);
	return holder;
}

static struct sproto *
check_schema(lua_State *L, int index, const char *message) {
	void *p = lua_touserdata(L, index);
	luaL_argcheck(L, lua_islightuserdata(L, index) && p, index, message);
	int known = lua_rawgetp(L, CACHE, p);
	lua_pop(L, 1);
	if (known == LUA_TUSERDATA)
		return p;
	struct holder *holder = new_holder(L);
	struct sproto *sp = holder->sp = sproto_acquire(p);
	luaL_argcheck(L, sp, index, message);
	keep(L);
	return sp;
}

void
lsproto_names(lua_State *L, const struct sproto_type *t) {
	if (lua_rawgetp(L, CACHE, t) == LUA_TTABLE)
		return;
	lua_pop(L, 1);
	lua_createtable(L, (int)t->count + 1, 0);
	for (size_t i = 0; i < t->count; i++) {
		lua_pushlstring(L, t->fields[i].name.s, t->fields[i].name.len);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	bool held = lua_rawgetp(L, CACHE, t->owner) == LUA_TUSERDATA;
	lua_rawseti(L, -2, (lua_Integer)t->count + 1);
	if (held) { /* else it was deleted meanwhile */
		lua_pushvalue(L, -1);
		lua_rawsetp(L, CACHE, t);
	}
}

/* The type at `index`, with its names pushed; NULL (and a nil) for nil and NULL. */
static const struct sproto_type *
check_type(lua_State *L, int index) {
	void *p = lua_touserdata(L, index);
	if (p == NULL) {
		luaL_argcheck(L, lua_isnoneornil(L, index) || lua_islightuserdata(L, index), index,
		              NEED_TYPE);
		lua_pushnil(L);
		return NULL;
	}
	luaL_argcheck(L, lua_islightuserdata(L, index), index, NEED_TYPE);
	int known = lua_rawgetp(L, CACHE, p);
	if (known == LUA_TTABLE)
		return p;
	lua_pop(L, 1);
	/* a schema's address isn't a type's, and isn't looked up as one */
	luaL_argcheck(L, known == LUA_TNIL, index, NEED_TYPE);
	struct holder *holder = new_holder(L);
	struct sproto *sp = holder->sp = sproto_acquire_type(p);
	luaL_argcheck(L, sp, index, NEED_TYPE);
	bool held = lua_rawgetp(L, CACHE, sp) != LUA_TNIL;
	lua_pop(L, 1);
	luaL_argcheck(L, held || sproto_is_public(sp), index, NEED_TYPE);
	keep(L);
	lsproto_names(L, p);
	return p;
}

/*
 * ---- schemas ----
 */

static int
lnewproto(lua_State *L) {
	size_t size;
	const char *bundle = luaL_checklstring(L, 1, &size);
	struct holder *holder = new_holder(L);
	struct sproto *sp = sproto_create(bundle, size);
	if (sp == NULL)
		return 0;
	/* the holder's own reference; the creator's is given up by deleteproto */
	holder->sp = sproto_acquire(sp);
	keep(L);
	lua_pushlightuserdata(L, sp);
	return 1;
}

static int
ldeleteproto(lua_State *L) {
	struct sproto *sp = check_schema(L, 1, NEED_SCHEMA);
	sproto_disown(sp); /* false when another service did that before: nothing is left to do */
	lua_rawgetp(L, CACHE, sp);
	struct holder *holder = lua_touserdata(L, -1);
	if (!holder->shared)
		forget(L, sp); /* its memory goes with the holder */
	return 0;
}

static int
lquerytype(lua_State *L) {
	struct sproto *sp = check_schema(L, 1, NEED_SCHEMA);
	size_t len;
	const char *name = luaL_checklstring(L, 2, &len);
	const struct sproto_type *t = sproto_type(sp, name, len);
	if (t == NULL)
		return 0;
	lua_pushlightuserdata(L, (void *)t);
	return 1;
}

static void
push_type_or_nil(lua_State *L, const struct sproto_type *t) {
	if (t)
		lua_pushlightuserdata(L, (void *)t);
	else
		lua_pushnil(L);
}

static int
lprotocol(lua_State *L) {
	struct sproto *sp = check_schema(L, 1, NEED_TYPE);
	const struct sproto_protocol *p;
	if (lua_type(L, 2) == LUA_TNUMBER) {
		int ok;
		lua_Integer tag = lua_tointegerx(L, 2, &ok);
		p = ok ? sproto_protocol_tag(sp, tag) : NULL;
		if (p == NULL)
			return 0;
		lua_pushlstring(L, p->name.s, p->name.len);
	} else {
		luaL_argcheck(L, lua_type(L, 2) == LUA_TSTRING, 2, "Should be number or string");
		size_t len;
		const char *name = lua_tolstring(L, 2, &len);
		p = sproto_protocol_name(sp, name, len);
		if (p == NULL)
			return 0;
		lua_pushinteger(L, p->tag);
	}
	push_type_or_nil(L, p->request);
	if (p->confirm && p->response == NULL)
		lua_pushlightuserdata(L, NULL);
	else
		push_type_or_nil(L, p->response);
	return 3;
}

static int
check_slot(lua_State *L, int index) {
	lua_Integer slot = luaL_optinteger(L, index, 0);
	if (slot < 0 || slot >= SPROTO_SLOTS)
		return luaL_error(L, "Invalid global slot index %I", (LUAI_UACINT)slot);
	return (int)slot;
}

static int
lsaveproto(lua_State *L) {
	struct sproto *sp = check_schema(L, 1, NEED_SCHEMA);
	sproto_save(sp, check_slot(L, 2));
	return 0;
}

static int
lloadproto(lua_State *L) {
	int slot = check_slot(L, 1);
	struct holder *holder = new_holder(L);
	struct sproto *sp = holder->sp = sproto_load(slot);
	if (sp == NULL)
		return luaL_error(L, "nil sproto at index %d", slot);
	keep(L)->shared = true;
	lua_pushlightuserdata(L, sp);
	return 1;
}

static void
dump_field(const struct sproto_field *f) {
	static const char *const kinds[] = {"integer", "boolean", "string", "double", "integer"};
	printf("\t%.*s (%d) : %s", (int)f->name.len, f->name.s, f->tag, f->array ? "*" : "");
	if (f->sub)
		printf("%.*s", (int)f->sub->name.len, f->sub->name.s);
	else
		printf("%s", f->binary ? "binary" : kinds[f->kind]);
	if (f->kind == SPROTO_DECIMAL)
		printf("(%d)", f->digits);
	if (f->map)
		printf("()");
	else if (f->key)
		printf("(%.*s)", (int)f->key->name.len, f->key->name.s);
	printf("\n");
}

static void
dump_side(const char *side, const struct sproto_type *t) {
	if (t)
		printf(" %s:%.*s", side, (int)t->name.len, t->name.s);
}

static int
ldumpproto(lua_State *L) {
	struct sproto *sp = check_schema(L, 1, NEED_TYPE);
	const struct sproto_type *t;
	const struct sproto_protocol *p;
	for (size_t i = 0; (t = sproto_type_at(sp, i)) != NULL; i++) {
		printf("%.*s\n", (int)t->name.len, t->name.s);
		for (size_t j = 0; j < t->count; j++)
			dump_field(&t->fields[j]);
	}
	for (size_t i = 0; (p = sproto_protocol_at(sp, i)) != NULL; i++) {
		printf("%.*s %d", (int)p->name.len, p->name.s, p->tag);
		dump_side("request", p->request);
		dump_side("response", p->response);
		printf("%s\n", p->confirm ? " response:nil" : "");
	}
	fflush(stdout);
	return 0;
}

/*
 * ---- messages ----
 */

/* Bytes given as a string, or a pointer and a size, starting at `index`. */
static const uint8_t *
check_bytes(lua_State *L, int index, size_t *size) {
	if (lua_type(L, index) == LUA_TSTRING)
		return (const uint8_t *)lua_tolstring(L, index, size);
	if (!lua_isuserdata(L, index))
		luaL_argerror(L, index, "Need a string or userdata");
	const void *p =
		lua_islightuserdata(L, index) ? check_pointer(L, index) : lua_touserdata(L, index);
	lua_Integer n = luaL_checkinteger(L, index + 1);
	size_t most = lua_islightuserdata(L, index) ? PTRDIFF_MAX : lua_rawlen(L, index);
	if (n < 0 || (size_t)n > most || (p == NULL && n > 0))
		luaL_argerror(L, index + 1, "Invalid size of the userdata");
	*size = (size_t)n;
	return p;
}

static int
lencode(lua_State *L) {
	if (lua_touserdata(L, 1) == NULL && lua_gettop(L) < 2)
		return luaL_argerror(L, 2, "nil expected, got no value");
	lua_settop(L, 2);
	const struct sproto_type *t = check_type(L, 1);
	if (t == NULL) {
		if (!lua_isnil(L, 2))
			luaL_argerror(L, 2, lua_pushfstring(L, "nil expected, got %s", luaL_typename(L, 2)));
		lua_pushliteral(L, "");
		return 1;
	}
	lsproto_encode(L, t, 3, 2);
	return 1;
}

static int
ldecode(lua_State *L) {
	size_t size = 0;
	int top = lua_gettop(L), table = 0;
	const struct sproto_type *t = check_type(L, 1);
	if (t == NULL)
		return 0;
	int names = lua_gettop(L);
	const uint8_t *data = check_bytes(L, 2, &size);
	if (lua_istable(L, top))
		table = top;
	if (table == 0) {
		lua_createtable(L, 0, lsproto_expected_fields(t, data, size));
		table = lua_gettop(L);
	}
	size_t used = lsproto_decode(L, t, names, table, data, size);
	lua_pushvalue(L, table);
	lua_pushinteger(L, (lua_Integer)used);
	return 2;
}

static int
lpack(lua_State *L) {
	size_t size = 0;
	luaL_Buffer b;
	const uint8_t *data = check_bytes(L, 1, &size);
	if (size > SPROTO_MAX_SIZE)
		return luaL_error(L, "object is too large (>%d)", SPROTO_MAX_SIZE);
	uint8_t *out = (uint8_t *)luaL_buffinitsize(L, &b, sproto_pack_bound(size));
	luaL_pushresultsize(&b, sproto_pack(data, size, out));
	return 1;
}

/* A third argument limits the result: a server knows how large its requests may be. */
static int
lunpack(lua_State *L) {
	size_t size = 0;
	luaL_Buffer b;
	const uint8_t *data = check_bytes(L, 1, &size);
	lua_Integer limit = luaL_optinteger(L, 3, SPROTO_MAX_SIZE);
	if (limit < 0 || limit > SPROTO_MAX_SIZE)
		limit = SPROTO_MAX_SIZE;
	size_t result = sproto_unpacked_size(data, size);
	if (result == SIZE_MAX)
		return luaL_error(L, "Invalid unpack stream");
	if (result > (size_t)limit)
		return luaL_error(L, "object is too large (>%d)", (int)limit);
	uint8_t *out = (uint8_t *)luaL_buffinitsize(L, &b, result);
	sproto_unpack(data, size, out);
	luaL_pushresultsize(&b, result);
	return 1;
}

/*
 * ---- defaults ----
 */

static void
push_default(lua_State *L, const struct sproto_field *f) {
	switch (f->kind) {
	case SPROTO_INTEGER:
		lua_pushinteger(L, 0);
		break;
	case SPROTO_DECIMAL:
	case SPROTO_DOUBLE:
		lua_pushnumber(L, 0);
		break;
	case SPROTO_BOOLEAN:
		lua_pushboolean(L, 0);
		break;
	case SPROTO_STRING:
		lua_pushliteral(L, "");
		break;
	default:
		lua_pushlstring(L, f->sub->name.s, f->sub->name.len);
	}
}

static int
ldefault(lua_State *L) {
	const struct sproto_type *t = check_type(L, 1);
	luaL_argcheck(L, t, 1, NEED_TYPE);
	int names = lua_gettop(L);
	lua_createtable(L, 0, (int)t->count);
	for (size_t i = 0; i < t->count; i++) {
		const struct sproto_field *f = &t->fields[i];
		const char *wrapped = f->array ? "__array" : f->sub ? "__type" : NULL;
		lua_rawgeti(L, names, (lua_Integer)i + 1);
		if (wrapped)
			lua_createtable(L, 0, 1);
		push_default(L, f);
		if (wrapped)
			lua_setfield(L, -2, wrapped);
		lua_rawset(L, -3);
	}
	return 1;
}

int
luaopen_sproto_core(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"newproto", lnewproto},
		{"deleteproto", ldeleteproto},
		{"dumpproto", ldumpproto},
		{"querytype", lquerytype},
		{"protocol", lprotocol},
		{"encode", lencode},
		{"decode", ldecode},
		{"pack", lpack},
		{"unpack", lunpack},
		{"saveproto", lsaveproto},
		{"loadproto", lloadproto},
		{"default", ldefault},
		{NULL, NULL},
	};
	luaL_checkversion(L);
	luaL_newlibtable(L, functions);
	/* one cache a state, however often the module is loaded */
	luaL_getsubtable(L, LUA_REGISTRYINDEX, "sproto.cache");
	if (luaL_newmetatable(L, HOLDER)) {
		lua_pushvalue(L, -2);
		lua_pushcclosure(L, holder_gc, 1);
		lua_setfield(L, -2, "__gc");
	}
	lua_pop(L, 1);
	luaL_setfuncs(L, functions, 1);
	return 1;
}
