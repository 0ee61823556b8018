/*
 * Building shared documents from Lua tables.
 *
 * The block grows as tables and strings are added, so nothing here keeps a pointer into it across
 * an addition: places are offsets. The builder is a userdata: when something raises, its
 * finalizer frees what there is. One VM at a time, no shared state.
 */
#include "sharedata.h"

#include "skynet_malloc.h"

#define META "skynet.sharedata.builder"
#define FIRST_ROOM 1024
#define FIRST_TABLES 16

struct builder {
	struct sd_document doc;
	size_t room;
	uint32_t table_room;
	int strings; /* stack index of a table: string -> offset */
	int depth;
	int path[SD_MAX_DEPTH]; /* stack indices of the keys that lead here */
};

/* Raise `text`, which is on top of the stack, after the path of the current table. */
static int
fail(lua_State *L, const struct builder *b) {
	luaL_Buffer path;
	luaL_checkstack(L, LUA_MINSTACK, NULL);
	int text = lua_gettop(L);
	luaL_buffinit(L, &path);
	luaL_addstring(&path, "sharedata: in [");
	for (int i = 0; i < b->depth; i++) {
		luaL_addchar(&path, '.');
		luaL_tolstring(L, b->path[i], NULL);
		luaL_addvalue(&path);
	}
	luaL_addstring(&path, "]: ");
	lua_pushvalue(L, text);
	luaL_addvalue(&path);
	luaL_pushresult(&path);
	return lua_error(L);
}

static int
fail_with(lua_State *L, const struct builder *b, const char *format, const char *what) {
	lua_pushfstring(L, format, what);
	return fail(L, b);
}

/* Add `size` zeroed bytes; returns their offset, a multiple of 8. */
static size_t
add(lua_State *L, struct builder *b, size_t size) {
	struct sd_document *d = &b->doc;
	size_t at = d->size;
	size = (size + 7) & ~(size_t)7;
	if (at + size > b->room) {
		size_t room = b->room ? b->room : FIRST_ROOM;
		while (room < at + size)
			room *= 2;
		char *base = skynet_realloc(d->base, room);
		if (base == NULL)
			fail_with(L, b, "%s", "not enough memory");
		d->base = base;
		b->room = room;
	}
	memset(d->base + at, 0, size);
	d->size += size;
	return at;
}

static uint32_t
add_table_index(lua_State *L, struct builder *b, size_t at) {
	struct sd_document *d = &b->doc;
	if (d->tables == SD_MAX_TABLES)
		fail_with(L, b, "%s", "a document can't have more than 16 million tables");
	if (at / 8 > UINT32_MAX)
		fail_with(L, b, "%s", "a document can't have more than 32 GB");
	if (d->tables == b->table_room) {
		uint32_t room = b->table_room ? b->table_room * 2 : FIRST_TABLES;
		uint32_t *offset = skynet_realloc(d->offset, room * sizeof(*offset));
		if (offset == NULL)
			fail_with(L, b, "%s", "not enough memory");
		d->offset = offset;
		b->table_room = room;
	}
	d->offset[d->tables] = (uint32_t)(at / 8);
	return d->tables++;
}

/* Offset of the string at the top of the stack; equal ones are added once. */
static size_t
add_string(lua_State *L, struct builder *b) {
	size_t n;
	const char *text = lua_tolstring(L, -1, &n);
	lua_pushvalue(L, -1);
	if (lua_rawget(L, b->strings) == LUA_TNUMBER) {
		size_t at = (size_t)lua_tointeger(L, -1);
		lua_pop(L, 1);
		return at;
	}
	lua_pop(L, 1);
	if (n >= UINT32_MAX)
		fail_with(L, b, "%s", "a string is too long (4 GB or more)");
	size_t at = add(L, b, sizeof(struct sd_string) + n + 1);
	struct sd_string *s = (struct sd_string *)(b->doc.base + at);
	s->size = (uint32_t)n;
	memcpy(s->text, text, n);
	lua_pushvalue(L, -1);
	lua_pushinteger(L, (lua_Integer)at);
	lua_rawset(L, b->strings);
	return at;
}

static enum sd_type
string_type(lua_State *L, int index) {
	size_t n;
	const char *text = lua_tolstring(L, index, &n);
	return memchr(text, 0, n) ? SD_BYTES : SD_STRING;
}

/* Is the pair at (-2, -1) one of the hash part? Raises for keys no document can have. */
static bool
hashed(lua_State *L, struct builder *b, uint32_t array_n) {
	struct sd_key key;
	sd_key_of(L, -2, &key);
	if (key.type == SD_NIL) {
		if (lua_type(L, -2) == LUA_TNUMBER)
			fail_with(L, b, "Invalid key %s", luaL_tolstring(L, -2, NULL));
		fail_with(L, b, "Invalid key type %s", luaL_typename(L, -2));
	}
	return key.type != SD_INTEGER || (uint64_t)key.integer - 1 >= array_n;
}

static uint32_t
count_hashed(lua_State *L, struct builder *b, int t, uint32_t array_n) {
	uint64_t n = 0;
	for (lua_pushnil(L); lua_next(L, t); lua_pop(L, 1))
		n += hashed(L, b, array_n);
	if (n >= SD_NONE)
		fail_with(L, b, "%s", "a table has too many fields (4 billion or more)");
	return (uint32_t)n;
}

static struct sd_entry *
entry_at(const struct builder *b, size_t table, uint32_t i) {
	return (struct sd_entry *)(b->doc.base + table + sizeof(struct sd_table)) + i;
}

struct keys {
	uint64_t *hash;  /* of the keys in the order of lua_next */
	uint32_t *where; /* the entry each got */
};

/* Give each hash an entry: first the ones whose place is free, then the rest, chained. */
static void
place_keys(const struct builder *b, size_t table, uint32_t n, struct keys *k) {
	uint32_t spare = n;
	for (uint32_t i = 0; i < n; i++)
		entry_at(b, table, i)->next = i; /* itself: still free */
	for (uint32_t i = 0; i < n; i++) {
		uint32_t place = sd_place(k->hash[i], n);
		struct sd_entry *e = entry_at(b, table, place);
		bool free = e->next == place;
		k->where[i] = free ? place : SD_NONE;
		if (free)
			e->next = SD_NONE;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (k->where[i] != SD_NONE)
			continue;
		do
			spare--;
		while (entry_at(b, table, spare)->next != spare);
		struct sd_entry *first = entry_at(b, table, sd_place(k->hash[i], n));
		entry_at(b, table, spare)->next = first->next;
		first->next = spare;
		k->where[i] = spare;
	}
}

static void add_value(lua_State *L, struct builder *b, size_t table, size_t value, size_t type);

/* Write the key at -2 and the value at -1 of the Lua stack into entry i. */
static void
add_pair(lua_State *L, struct builder *b, size_t table, uint32_t i, uint64_t hash) {
	struct sd_entry e = {.next = entry_at(b, table, i)->next, .print = (uint16_t)hash};
	if (lua_type(L, -2) == LUA_TSTRING) {
		lua_pushvalue(L, -2);
		e.key_type = (uint8_t)string_type(L, -1);
		e.key.distance = (int64_t)add_string(L, b) - (int64_t)table;
		lua_pop(L, 1);
	} else {
		e.key_type = SD_INTEGER;
		e.key.integer = lua_tointeger(L, -2);
	}
	*entry_at(b, table, i) = e;
	size_t at = (size_t)((char *)entry_at(b, table, i) - b->doc.base);
	add_value(L, b, table, at + offsetof(struct sd_entry, value),
	          at + offsetof(struct sd_entry, type));
}

static void
add_hash_part(lua_State *L, struct builder *b, int t, size_t table, uint32_t n,
              uint32_t array_n) {
	if (n == 0)
		return;
	int top = lua_gettop(L);
	struct keys k;
	k.hash = lua_newuserdatauv(L, n * sizeof(*k.hash), 0);
	k.where = lua_newuserdatauv(L, n * sizeof(*k.where), 0);
	uint32_t i = 0;
	for (lua_pushnil(L); lua_next(L, t); lua_pop(L, 1)) {
		struct sd_key key;
		sd_key_of(L, -2, &key);
		if (hashed(L, b, array_n))
			k.hash[i++] = sd_hash(&key);
	}
	place_keys(b, table, n, &k);
	i = 0;
	for (lua_pushnil(L); lua_next(L, t); lua_pop(L, 1)) {
		if (!hashed(L, b, array_n))
			continue;
		add_pair(L, b, table, k.where[i], k.hash[i]);
		i++;
	}
	lua_settop(L, top);
}

static void
add_array_part(lua_State *L, struct builder *b, int t, size_t table, uint32_t n,
               uint32_t hash_n) {
	size_t values = table + sizeof(struct sd_table) + hash_n * sizeof(struct sd_entry);
	size_t types = values + n * sizeof(union sd_value);
	for (uint32_t i = 0; i < n; i++) {
		lua_pushinteger(L, (lua_Integer)i + 1); /* the key, for an error's path */
		lua_rawgeti(L, t, (lua_Integer)i + 1);
		add_value(L, b, table, values + i * sizeof(union sd_value), types + i);
		lua_pop(L, 2);
	}
}

/* Add the Lua table at stack index t; returns its offset. */
static size_t
add_table(lua_State *L, struct builder *b, int t) {
	luaL_checkstack(L, LUA_MINSTACK, "the table is nested too deep");
	size_t length = (size_t)lua_rawlen(L, t);
	if (length >= SD_NONE)
		fail_with(L, b, "%s", "a list has too many elements (4 billion or more)");
	uint32_t array_n = (uint32_t)length;
	uint32_t hash_n = count_hashed(L, b, t, array_n);
	size_t at = add(L, b,
	                sizeof(struct sd_table) + hash_n * sizeof(struct sd_entry) +
	                    array_n * (sizeof(union sd_value) + 1));
	uint32_t index = add_table_index(L, b, at);
	*(struct sd_table *)(b->doc.base + at) =
		(struct sd_table){.index = index, .array_n = array_n, .hash_n = hash_n};
	add_array_part(L, b, t, at, array_n, hash_n);
	add_hash_part(L, b, t, at, hash_n, array_n);
	return at;
}

static size_t
add_subtable(lua_State *L, struct builder *b) {
	if (b->depth == SD_MAX_DEPTH)
		fail_with(L, b, "%s", "tables are nested too deep (do they form a cycle?)");
	b->path[b->depth++] = lua_absindex(L, -2);
	size_t at = add_table(L, b, lua_gettop(L));
	b->depth--;
	return at;
}

/* Store the value on top of the stack (its key is below) at offsets `value` and `type`. */
static void
add_value(lua_State *L, struct builder *b, size_t table, size_t value, size_t type) {
	union sd_value v = {.integer = 0};
	enum sd_type kind = SD_NIL;
	switch (lua_type(L, -1)) {
	case LUA_TNIL:
		break;
	case LUA_TBOOLEAN:
		kind = SD_BOOLEAN;
		v.integer = lua_toboolean(L, -1);
		break;
	case LUA_TNUMBER:
		kind = lua_isinteger(L, -1) ? SD_INTEGER : SD_NUMBER;
		if (kind == SD_INTEGER)
			v.integer = lua_tointeger(L, -1);
		else
			v.number = lua_tonumber(L, -1);
		break;
	case LUA_TSTRING:
		kind = string_type(L, -1);
		v.distance = (int64_t)add_string(L, b) - (int64_t)table;
		break;
	case LUA_TTABLE:
		kind = SD_TABLE;
		v.distance = (int64_t)add_subtable(L, b) - (int64_t)table;
		break;
	default:
		b->path[b->depth < SD_MAX_DEPTH ? b->depth++ : b->depth - 1] = lua_absindex(L, -2);
		fail_with(L, b, "Unsupport value type %s", luaL_typename(L, -1));
	}
	memcpy(b->doc.base + value, &v, sizeof(v));
	b->doc.base[type] = (char)kind;
}

static int
builder_gc(lua_State *L) {
	struct builder *b = lua_touserdata(L, 1);
	sd_free(&b->doc);
	return 0;
}

void
sd_build(lua_State *L, int index, struct sd_document *d) {
	int top = lua_gettop(L);
	index = lua_absindex(L, index);
	struct builder *b = lua_newuserdatauv(L, sizeof(*b), 0);
	memset(b, 0, sizeof(*b));
	if (luaL_newmetatable(L, META)) {
		lua_pushcfunction(L, builder_gc);
		lua_setfield(L, -2, "__gc");
	}
	lua_setmetatable(L, -2);
	lua_newtable(L);
	b->strings = lua_gettop(L);
	lua_pushvalue(L, index);
	(void)add_table(L, b, lua_gettop(L));
	/* give back what growing left over; a failure leaves the larger block, which serves as
	 * well */
	char *base = skynet_realloc(b->doc.base, b->doc.size);
	if (base)
		b->doc.base = base;
	*d = b->doc;
	memset(&b->doc, 0, sizeof(b->doc));
	lua_settop(L, top);
}

void
sd_free(struct sd_document *d) {
	skynet_free(d->base);
	skynet_free(d->offset);
	memset(d, 0, sizeof(*d));
}
