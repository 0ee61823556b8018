/*
 * Shared documents: what the files of module skynet.sharedata.core have in common.
 *
 * A document is a tree of tables, built once from a Lua table and never written again, so any
 * number of VMs may read it at once without a lock. All its tables and strings are in one block;
 * places in it are given as distances from the table that holds them, which lets the block
 * move while it grows and makes freeing it one call.
 *
 * A table has an array part (1..array_n), and a hash part: `hash_n` entries, filled completely,
 * where entries whose keys belong to the same place are chained. Equal strings are stored once.
 */
#ifndef skynet_lua_sharedata_h
#define skynet_lua_sharedata_h

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum sd_type {
	SD_NIL,
	SD_INTEGER,
	SD_NUMBER,
	SD_BOOLEAN,
	SD_STRING, /* without a NUL byte inside */
	SD_BYTES,  /* a string with one */
	SD_TABLE,
};

#define SD_NONE UINT32_MAX
#define SD_MAX_DEPTH 128
#define SD_INDEX_BITS 24
#define SD_MAX_TABLES (1u << SD_INDEX_BITS)

union sd_value {
	int64_t integer;
	double number;
	int64_t distance; /* of a string or table, from the table that holds the value */
};

struct sd_string {
	uint32_t size;
	char text[]; /* and a NUL */
};

struct sd_entry {
	union sd_value value;
	union sd_value key;
	uint32_t next;  /* entry of the same place, or SD_NONE */
	uint16_t print; /* a part of the key's hash */
	uint8_t key_type;
	uint8_t type;
};

struct sd_table {
	uint32_t index; /* in the document's list of tables */
	uint32_t array_n;
	uint32_t hash_n;
	uint32_t unused;
	/* struct sd_entry[hash_n], union sd_value[array_n], uint8_t type[array_n] */
};

struct sd_document {
	char *base; /* the first table is the root */
	size_t size;
	uint32_t *offset; /* of each table, in units of 8 bytes */
	uint32_t tables;
};

struct sd_slot {
	const union sd_value *value;
	enum sd_type type;
};

/* A key that a Lua value stands for; type SD_NIL when no document can have it. */
struct sd_key {
	enum sd_type type; /* SD_INTEGER or SD_STRING */
	int64_t integer;
	const char *text; /* borrowed from the Lua value */
	size_t size;
};

static inline const struct sd_entry *
sd_entries(const struct sd_table *t) {
	return (const struct sd_entry *)(t + 1);
}

static inline const union sd_value *
sd_array(const struct sd_table *t) {
	return (const union sd_value *)(sd_entries(t) + t->hash_n);
}

static inline const uint8_t *
sd_array_types(const struct sd_table *t) {
	return (const uint8_t *)(sd_array(t) + t->array_n);
}

static inline const void *
sd_at(const struct sd_table *t, int64_t distance) {
	return (const char *)t + distance;
}

static inline const struct sd_table *
sd_table_of(const struct sd_document *d, uint32_t index) {
	return (const struct sd_table *)(d->base + (size_t)d->offset[index] * 8);
}

/* ---- sharedata_read.c: any thread ---- */

void sd_key_of(lua_State *L, int index, struct sd_key *key);
uint64_t sd_hash(const struct sd_key *key);

/* The place in the hash part where a key with this hash belongs; hash_n isn't 0. */
static inline uint32_t
sd_place(uint64_t hash, uint32_t hash_n) {
	return (uint32_t)(((hash >> 32) * hash_n) >> 32);
}

/* Type SD_NIL when the table hasn't got the key. */
struct sd_slot sd_find(const struct sd_table *t, const struct sd_key *key);
/* As sd_find, for the key at a stack index. */
struct sd_slot sd_get(lua_State *L, const struct sd_table *t, int index);

/*
 * The pair at position *at (start with 0) or after it, skipping nils; moves *at behind it. Pushes
 * the key. False at the end.
 */
bool sd_next(lua_State *L, const struct sd_table *t, uint64_t *at, struct sd_slot *slot);
/* The position behind this key. False if the table hasn't got it. */
bool sd_position(const struct sd_table *t, const struct sd_key *key, uint64_t *at);

/* Push a value that isn't a table. */
void sd_push(lua_State *L, const struct sd_table *t, struct sd_slot slot);
/* Push a Lua table with a deep copy. */
void sd_copy(lua_State *L, const struct sd_table *t);

/* ---- sharedata_build.c ---- */

/*
 * Build a document from the Lua table at `index`. Raises `Invalid key ...`, `Invalid key type
 * ...`, `Unsupport value type ...`, and for what is nested too deep or too large, each after the
 * path.
 */
void sd_build(lua_State *L, int index, struct sd_document *d);
void sd_free(struct sd_document *d);

#endif
