/*
 * Module skynet.datasheet.core: tables that are filled from a shared document at first use.
 *
 * A document is a byte string (format: lualib/skynet/datasheet/dump.lua). It's copied and checked
 * once, when it's made; after that nothing about it has to be trusted or checked again, and it
 * lives until its owner has deleted it and no VM reads it. Lua knows it by number (see live.h).
 *
 * A sheet is a VM's view of a document: a userdata, which knows its tables by their index in the
 * document. An armed table is empty and has the sheet's metatable; at first use it's filled with
 * its level and the metatable is taken off. An update empties all tables of the sheet and arms
 * them again, so references to them stay good.
 *
 * Threads: documents are shared, counted atomically; a sheet belongs to one VM.
 */
#include "datasheet_format.h"
#include "live.h"

#include "skynet_malloc.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdatomic.h>
#include <string.h>

#define SHEET "skynet.datasheet.sheet"

struct document {
	atomic_int refs; /* the owner's, until it's deleted, and one for each sheet */
	uint64_t id;
	size_t size;
	uint32_t strings; /* offset */
	uint32_t tables;
	char bytes[];
};

struct sheet {
	struct document *doc;
};

/* user values of a sheet: index -> table (weak), table -> index (weak), its metatable */
enum { UV_TABLES = 1, UV_INDICES, UV_META, UV_COUNT = UV_META };

/* registry keys: root table -> sheet (weak), sheet in its metatable, string -> document */
static const char SHEETS, SELF, PINNED;

static struct live documents = LIVE_INIT;

/*
 * ---- documents ----
 */

static void
release(struct document *d) {
	if (d && atomic_fetch_sub(&d->refs, 1) == 1)
		live_free(d);
}

static bool
publish(struct document *d) {
	live_lock(&documents);
	d->id = (uint64_t)LIVE_DATASHEET << 56 | (++documents.serial & (UINT64_MAX >> 8));
	bool done = live_insert(&documents, d->id, d);
	live_unlock(&documents);
	return done;
}

/* Make a document of the string at `arg`, with the caller's reference and no entry by number. */
static struct document *
make_document(lua_State *L, int arg) {
	size_t size;
	uint32_t strings = 0, tables = 0;
	const char *bytes = luaL_checklstring(L, arg, &size);
	const char *wrong = ds_check(bytes, size, &strings, &tables);
	if (wrong)
		luaL_error(L, "invalid datasheet document: %s", wrong);
	struct document *d = skynet_malloc(sizeof(*d) + size);
	if (d == NULL)
		luaL_error(L, "datasheet: not enough memory");
	atomic_init(&d->refs, 1);
	d->id = 0;
	d->size = size;
	d->strings = strings;
	d->tables = tables;
	memcpy(d->bytes, bytes, size);
	live_share(d);
	return d;
}

/* document(str) -> light userdata; it stays until it's deleted and nobody reads it */
static int
ldocument(lua_State *L) {
	struct document *d = make_document(L, 1);
	if (!publish(d)) {
		release(d);
		return luaL_error(L, "datasheet: not enough memory");
	}
	lua_pushlightuserdata(L, (void *)(uintptr_t)d->id);
	return 1;
}

static bool
delete_document(uint64_t id) {
	live_lock(&documents);
	struct document *d = live_remove(&documents, id);
	live_unlock(&documents);
	release(d);
	return d != NULL;
}

/* delete(document) */
static int
ldelete(lua_State *L) {
	luaL_checktype(L, 1, LUA_TLIGHTUSERDATA);
	if (!delete_document((uint64_t)(uintptr_t)lua_touserdata(L, 1)))
		return luaL_argerror(L, 1, "there is no such datasheet document");
	return 0;
}

static int
pinned_gc(lua_State *L) {
	uint64_t *id = lua_touserdata(L, 1);
	(void)delete_document(*id);
	*id = 0;
	return 0;
}

/* stringpointer(str) -> the string's document, which stays for as long as this VM */
static int
lstringpointer(lua_State *L) {
	luaL_checktype(L, 1, LUA_TSTRING);
	lua_settop(L, 1);
	if (lua_rawgetp(L, LUA_REGISTRYINDEX, &PINNED) != LUA_TTABLE) {
		lua_newtable(L);
		lua_replace(L, 2);
		lua_pushvalue(L, 2);
		lua_rawsetp(L, LUA_REGISTRYINDEX, &PINNED);
	}
	lua_pushvalue(L, 1);
	if (lua_rawget(L, 2) != LUA_TUSERDATA) {
		uint64_t *id = lua_newuserdatauv(L, sizeof(*id), 0);
		*id = 0;
		lua_createtable(L, 0, 1);
		lua_pushcfunction(L, pinned_gc);
		lua_setfield(L, -2, "__gc");
		lua_setmetatable(L, -2);
		ldocument(L);
		*id = (uint64_t)(uintptr_t)lua_touserdata(L, -1);
		lua_pop(L, 1);
		lua_pushvalue(L, 1);
		lua_pushvalue(L, -2);
		lua_rawset(L, 2);
	}
	const uint64_t *id = lua_touserdata(L, -1);
	lua_pushlightuserdata(L, (void *)(uintptr_t)*id);
	return 1;
}

/* The document at `arg` (a number, or a string), with a reference for the caller. */
static struct document *
take_document(lua_State *L, int arg) {
	if (lua_type(L, arg) == LUA_TSTRING)
		return make_document(L, arg);
	luaL_checktype(L, arg, LUA_TLIGHTUSERDATA);
	live_lock(&documents);
	struct document *d = live_find(&documents, (uint64_t)(uintptr_t)lua_touserdata(L, arg));
	if (d)
		atomic_fetch_add(&d->refs, 1);
	live_unlock(&documents);
	if (d == NULL)
		luaL_argerror(L, arg, "there is no such datasheet document");
	return d;
}

/*
 * ---- sheets ----
 */

static int
sheet_gc(lua_State *L) {
	struct sheet *s = luaL_checkudata(L, 1, SHEET);
	release(s->doc);
	s->doc = NULL;
	return 0;
}

static void
push_weak(lua_State *L, const char *mode) {
	lua_newtable(L);
	lua_createtable(L, 0, 1);
	lua_pushstring(L, mode);
	lua_setfield(L, -2, "__mode");
	lua_setmetatable(L, -2);
}

/* Push the table of `index`, armed if it's made now. The sheet is at stack index `sheet`. */
static void
push_table(lua_State *L, int sheet, uint32_t index) {
	lua_getiuservalue(L, sheet, UV_TABLES);
	if (lua_rawgeti(L, -1, index) == LUA_TTABLE) {
		lua_remove(L, -2);
		return;
	}
	lua_pop(L, 1);
	lua_newtable(L);
	lua_getiuservalue(L, sheet, UV_INDICES);
	lua_pushvalue(L, -2);
	lua_pushinteger(L, index);
	lua_rawset(L, -3);
	lua_getiuservalue(L, sheet, UV_META);
	lua_setmetatable(L, -3);
	lua_pop(L, 1);
	lua_pushvalue(L, -1);
	lua_rawseti(L, -3, index);
	lua_remove(L, -2);
}

static void
push_value(lua_State *L, int sheet, const struct document *d, int type, const char *p) {
	uint32_t v = ds_load32(p);
	float f;
	switch (type) {
	case DS_INTEGER:
		lua_pushinteger(L, (int32_t)v);
		break;
	case DS_FLOAT:
		memcpy(&f, &v, sizeof(f));
		lua_pushnumber(L, f);
		break;
	case DS_BOOLEAN:
		lua_pushboolean(L, v != 0);
		break;
	case DS_TABLE:
		push_table(L, sheet, v);
		break;
	case DS_STRING:
		lua_pushstring(L, d->bytes + d->strings + v);
		break;
	default:
		lua_pushnil(L);
	}
}

/* Fill the table at stack index t with its level; both metatable and place are the sheet's. */
static void
fill(lua_State *L, int t, int sheet, uint32_t index) {
	const struct document *d = ((struct sheet *)lua_touserdata(L, sheet))->doc;
	struct ds_level l;
	size_t at = d && index < d->tables ? ds_table_offset(d->bytes, d->tables, index) : SIZE_MAX;
	if (at == SIZE_MAX || !ds_level(d->bytes, at, d->strings, &l))
		luaL_error(L, "Invalid proxy (index = %d)", (int)index);
	luaL_checkstack(L, LUA_MINSTACK, NULL);
	for (uint32_t i = 0; i < l.array_n; i++) {
		push_value(L, sheet, d, l.types[i], l.array + (size_t)i * 4);
		lua_rawseti(L, t, (lua_Integer)i + 1);
	}
	for (uint32_t i = 0; i < l.dict_n; i++) {
		const char *pair = l.dict + (size_t)i * 8;
		lua_pushstring(L, d->bytes + d->strings + ds_load32(pair));
		push_value(L, sheet, d, l.types[l.array_n + i], pair + 4);
		lua_rawset(L, t);
	}
	lua_pushnil(L);
	lua_setmetatable(L, t);
}

/* Fill the armed table at argument 1. */
static void
expand(lua_State *L) {
	int top = lua_gettop(L);
	luaL_checktype(L, 1, LUA_TTABLE);
	if (lua_getmetatable(L, 1) && lua_rawgetp(L, -1, &SELF) == LUA_TUSERDATA &&
	    luaL_testudata(L, -1, SHEET)) {
		int sheet = lua_gettop(L);
		lua_getiuservalue(L, sheet, UV_INDICES);
		lua_pushvalue(L, 1);
		if (lua_rawget(L, -2) == LUA_TNUMBER)
			fill(L, 1, sheet, (uint32_t)lua_tointeger(L, -1));
	}
	lua_settop(L, top);
}

static int
sheet_index(lua_State *L) {
	lua_settop(L, 2);
	expand(L);
	lua_rawget(L, 1);
	return 1;
}

static int
sheet_len(lua_State *L) {
	lua_settop(L, 1);
	expand(L);
	lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1));
	return 1;
}

static int
raw_next(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 2);
	return lua_next(L, 1) ? 2 : 0;
}

static int
sheet_pairs(lua_State *L) {
	lua_settop(L, 1);
	expand(L);
	lua_pushcfunction(L, raw_next);
	lua_pushvalue(L, 1);
	lua_pushnil(L);
	return 3;
}

/* Push a sheet without a document. */
static struct sheet *
push_sheet(lua_State *L) {
	static const luaL_Reg methods[] = {
		{"__index", sheet_index}, {"__len", sheet_len}, {"__pairs", sheet_pairs}, {NULL, NULL}};
	struct sheet *s = lua_newuserdatauv(L, sizeof(*s), UV_COUNT);
	s->doc = NULL;
	luaL_setmetatable(L, SHEET);
	push_weak(L, "v");
	lua_setiuservalue(L, -2, UV_TABLES);
	push_weak(L, "k");
	lua_setiuservalue(L, -2, UV_INDICES);
	luaL_newlib(L, methods);
	lua_pushvalue(L, -2);
	lua_rawsetp(L, -2, &SELF);
	lua_setiuservalue(L, -2, UV_META);
	return s;
}

/* new(document | string) -> the root table */
static int
lnew(lua_State *L) {
	lua_settop(L, 1);
	struct sheet *s = push_sheet(L); /* 2 */
	s->doc = take_document(L, 1);
	push_table(L, 2, 0);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &SHEETS);
	lua_pushvalue(L, -2);
	lua_pushvalue(L, 2);
	lua_rawset(L, -3);
	lua_pop(L, 1);
	return 1;
}

/* Empty the table on top of the stack and arm it again. */
static void
rearm(lua_State *L, int sheet) {
	int t = lua_gettop(L);
	lua_pushnil(L);
	lua_setmetatable(L, t);
	for (lua_pushnil(L); lua_next(L, t);) {
		lua_pop(L, 1);
		lua_pushvalue(L, -1);
		lua_pushnil(L);
		lua_rawset(L, t);
	}
	lua_getiuservalue(L, sheet, UV_META);
	lua_setmetatable(L, t);
}

/* update(root, document | string): all its tables show the new document from now on */
static int
lupdate(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 2);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &SHEETS);
	lua_pushvalue(L, 1);
	if (lua_rawget(L, 3) != LUA_TUSERDATA) /* 4: the sheet */
		return luaL_argerror(L, 1, "this isn't the root table of a datasheet");
	struct sheet *s = luaL_checkudata(L, 4, SHEET);
	struct document *d = take_document(L, 2);
	release(s->doc);
	s->doc = d;
	lua_getiuservalue(L, 4, UV_TABLES);
	for (lua_pushnil(L); lua_next(L, 5); lua_settop(L, 6))
		rearm(L, 4);
	return 0;
}

static int
lalive(lua_State *L) {
	lua_pushboolean(L, live_service((uint32_t)luaL_checkinteger(L, 1)));
	return 1;
}

LUAMOD_API int
luaopen_skynet_datasheet_core(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"new", lnew},
		{"update", lupdate},
		{"stringpointer", lstringpointer},
		{"document", ldocument},
		{"delete", ldelete},
		{"alive", lalive},
		{NULL, NULL},
	};
	luaL_checkversion(L);
	luaL_newmetatable(L, SHEET);
	lua_pushcfunction(L, sheet_gc);
	lua_setfield(L, -2, "__gc");
	push_weak(L, "k");
	lua_rawsetp(L, LUA_REGISTRYINDEX, &SHEETS);
	luaL_newlib(L, functions);
	return 1;
}
