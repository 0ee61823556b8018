/* Reading shared documents: finding keys, iterating, copying. They never change: no locks. */
#include "sharedata.h"

static uint64_t
load8(const char *p) {
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t
load4(const char *p) {
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

/* Both halves of a 128-bit product: every input bit reaches every output bit. */
static uint64_t
mix(uint64_t a, uint64_t b) {
	unsigned __int128 m = (unsigned __int128)a * b;
	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

#define K1 0xa0f1d3c5b7982e4bu
#define K2 0xe3779b97f4a7c16du

static uint64_t
hash_text(const char *p, size_t n) {
	uint64_t h = K1 ^ n;
	for (; n > 16; p += 16, n -= 16)
		h = mix(load8(p) ^ K1, load8(p + 8) ^ h);
	if (n >= 8)
		return mix(load8(p) ^ K2, load8(p + n - 8) ^ h);
	if (n >= 4)
		return mix(load4(p) ^ K2, load4(p + n - 4) ^ h);
	if (n == 0)
		return mix(K2, h);
	uint64_t few =
		(uint64_t)(uint8_t)p[0] << 16 | (uint64_t)(uint8_t)p[n / 2] << 8 | (uint8_t)p[n - 1];
	return mix(few ^ K2, h);
}

static uint64_t
hash_integer(int64_t i) {
	return mix((uint64_t)i ^ K1, K2);
}

uint64_t
sd_hash(const struct sd_key *key) {
	return key->type == SD_INTEGER ? hash_integer(key->integer) : hash_text(key->text, key->size);
}

void
sd_key_of(lua_State *L, int index, struct sd_key *key) {
	int type = lua_type(L, index);
	key->type = SD_NIL;
	if (type == LUA_TSTRING) {
		key->type = SD_STRING;
		key->text = lua_tolstring(L, index, &key->size);
	} else if (type == LUA_TNUMBER) {
		int exact;
		key->integer = lua_tointegerx(L, index, &exact);
		if (exact)
			key->type = SD_INTEGER;
	}
}

/* Keys are short: two loads from either end, which may overlap, see them whole. */
static bool
same_text(const char *a, const char *b, size_t n) {
	if (n > 16)
		return memcmp(a, b, n) == 0;
	if (n >= 8)
		return load8(a) == load8(b) && load8(a + n - 8) == load8(b + n - 8);
	if (n >= 4)
		return load4(a) == load4(b) && load4(a + n - 4) == load4(b + n - 4);
	return n == 0 || (a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1]);
}

static const struct sd_entry *
find_text(const struct sd_table *t, const char *text, size_t size) {
	if (t->hash_n == 0)
		return NULL;
	uint64_t hash = hash_text(text, size);
	uint32_t i = sd_place(hash, t->hash_n);
	do {
		const struct sd_entry *e = &sd_entries(t)[i];
		if (e->print == (uint16_t)hash && e->key_type != SD_INTEGER) {
			const struct sd_string *s = sd_at(t, e->key.distance);
			if (s->size == size && same_text(s->text, text, size))
				return e;
		}
		i = e->next;
	} while (i != SD_NONE);
	return NULL;
}

static const struct sd_entry *
find_integer(const struct sd_table *t, int64_t key) {
	if (t->hash_n == 0)
		return NULL;
	uint32_t i = sd_place(hash_integer(key), t->hash_n);
	do {
		const struct sd_entry *e = &sd_entries(t)[i];
		if (e->key.integer == key && e->key_type == SD_INTEGER)
			return e;
		i = e->next;
	} while (i != SD_NONE);
	return NULL;
}

static struct sd_slot
entry_slot(const struct sd_entry *e) {
	if (e == NULL)
		return (struct sd_slot){NULL, SD_NIL};
	return (struct sd_slot){&e->value, e->type};
}

struct sd_slot
sd_find(const struct sd_table *t, const struct sd_key *key) {
	if (key->type == SD_STRING)
		return entry_slot(find_text(t, key->text, key->size));
	if (key->type == SD_NIL)
		return entry_slot(NULL);
	uint64_t i = (uint64_t)key->integer - 1;
	if (i < t->array_n)
		return (struct sd_slot){&sd_array(t)[i], sd_array_types(t)[i]};
	return entry_slot(find_integer(t, key->integer));
}

struct sd_slot
sd_get(lua_State *L, const struct sd_table *t, int index) {
	struct sd_key key;
	sd_key_of(L, index, &key);
	return sd_find(t, &key);
}

bool
sd_position(const struct sd_table *t, const struct sd_key *key, uint64_t *at) {
	if (key->type == SD_NIL)
		return false;
	if (key->type == SD_INTEGER && (uint64_t)key->integer - 1 < t->array_n) {
		*at = (uint64_t)key->integer;
		return true;
	}
	const struct sd_entry *e = key->type == SD_STRING ? find_text(t, key->text, key->size)
	                                                  : find_integer(t, key->integer);
	if (e == NULL)
		return false;
	*at = t->array_n + (uint64_t)(e - sd_entries(t)) + 1;
	return true;
}

/*
 * Strings without a NUL go through lua_pushstring: the VM remembers, by address, what it has
 * pushed last, and then neither hashes nor copies the text again.
 */
void
sd_push(lua_State *L, const struct sd_table *t, struct sd_slot slot) {
	switch (slot.type) {
	case SD_INTEGER:
		lua_pushinteger(L, slot.value->integer);
		break;
	case SD_NUMBER:
		lua_pushnumber(L, slot.value->number);
		break;
	case SD_BOOLEAN:
		lua_pushboolean(L, slot.value->integer != 0);
		break;
	case SD_STRING:
		lua_pushstring(L, ((const struct sd_string *)sd_at(t, slot.value->distance))->text);
		break;
	case SD_BYTES: {
		const struct sd_string *s = sd_at(t, slot.value->distance);
		lua_pushlstring(L, s->text, s->size);
		break;
	}
	default:
		lua_pushnil(L);
	}
}

bool
sd_next(lua_State *L, const struct sd_table *t, uint64_t *at, struct sd_slot *slot) {
	const uint8_t *types = sd_array_types(t);
	for (; *at < t->array_n; ++*at) {
		if (types[*at] == SD_NIL)
			continue;
		*slot = (struct sd_slot){&sd_array(t)[*at], types[*at]};
		lua_pushinteger(L, (lua_Integer)++ * at);
		return true;
	}
	if (*at - t->array_n >= t->hash_n)
		return false;
	const struct sd_entry *e = &sd_entries(t)[*at - t->array_n];
	++*at;
	*slot = (struct sd_slot){&e->value, e->type};
	sd_push(L, t, (struct sd_slot){&e->key, e->key_type});
	return true;
}

void
sd_copy(lua_State *L, const struct sd_table *t) {
	uint64_t at = 0;
	struct sd_slot slot;
	luaL_checkstack(L, LUA_MINSTACK, "the table is nested too deep");
	lua_createtable(L, t->array_n < INT32_MAX ? (int)t->array_n : 0,
	                t->hash_n < INT32_MAX ? (int)t->hash_n : 0);
	while (sd_next(L, t, &at, &slot)) {
		if (slot.type == SD_TABLE)
			sd_copy(L, sd_at(t, slot.value->distance));
		else
			sd_push(L, t, slot);
		lua_rawset(L, -3);
	}
}
