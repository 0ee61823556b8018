/*
 * BSON: what the parts of the Lua module bson share.
 *
 * A document is bytes: an int32 that counts itself, elements (type, name, value), a zero. In Lua
 * an encoded document is userdata with the metatable "bson". Values that Lua has no type for are
 * strings that start with a zero byte and the BSON type ("special strings"); users make, compare
 * and store them, so their bytes are part of the interface.
 */
#ifndef bson_h
#define bson_h

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bson_type {
	BSON_REAL = 0x01,
	BSON_STRING = 0x02,
	BSON_DOCUMENT = 0x03,
	BSON_ARRAY = 0x04,
	BSON_BINARY = 0x05,
	BSON_OBJECTID = 0x07,
	BSON_BOOLEAN = 0x08,
	BSON_DATE = 0x09,
	BSON_NULL = 0x0a,
	BSON_REGEX = 0x0b,
	BSON_DBPOINTER = 0x0c,
	BSON_JSCODE = 0x0d,
	BSON_SYMBOL = 0x0e,
	BSON_CODEWS = 0x0f,
	BSON_INT32 = 0x10,
	BSON_TIMESTAMP = 0x11,
	BSON_INT64 = 0x12,
	BSON_MAXKEY = 0x7f,
	BSON_MINKEY = 0xff,
};

#define BSON_METATABLE "bson"
#define BSON_ENCODE_DEPTH 128   /* documents inside the top one */
#define BSON_DECODE_DEPTH 300   /* an encoded document may be embedded in another */
#define BSON_MAX_SIZE 0x8000000 /* bytes of a document */
#define BSON_EMPTY 5

/* The value of one element, which lies whole within its document. */
struct bson_value {
	uint8_t type;
	const uint8_t *p;
	size_t size;
};

static inline uint32_t
bson_u32(const uint8_t *p) {
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t
bson_u64(const uint8_t *p) {
	return bson_u32(p) | (uint64_t)bson_u32(p + 4) << 32;
}

static inline void
bson_store32(uint8_t *p, uint32_t v) {
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}

static inline void
bson_store64(uint8_t *p, uint64_t v) {
	bson_store32(p, (uint32_t)v);
	bson_store32(p + 4, (uint32_t)(v >> 32));
}

/*
 * The size of a value of this type at `p`, of which `left` bytes are there; 0 with *error set
 * (a format with %d for *number) when it isn't whole.
 */
bool bson_value_size(uint8_t type, const uint8_t *p, size_t left, size_t *size,
                     const char **error, int *number);

/* Raise unless a document of at most `have` bytes starts at `p`; returns its size. */
size_t bson_check_document(lua_State *L, const uint8_t *p, size_t have);

/*
 * Walk over the elements of a checked document: *at is 0 at first. Stores the element's name
 * and value; false at the end. Raises when the document is malformed.
 */
bool bson_next(lua_State *L, const uint8_t *doc, size_t size, size_t *at, const char **name,
               size_t *name_len, struct bson_value *value);

/*
 * The bytes on the wire of a special string (its first byte is zero, `len` at least 2): where
 * they are, or for a date (which is converted) in `buffer`; a binary lacks its length. Raises
 * when it's malformed.
 */
struct bson_value bson_special(lua_State *L, const char *s, size_t len, uint8_t buffer[8]);

/* Push the Lua value of what isn't a document, array, string, number or boolean. */
void bson_push_special(lua_State *L, const struct bson_value *v);

/* Functions of the module. */
int bson_lencode(lua_State *L);
int bson_lencode_order(lua_State *L);
int bson_ldecode(lua_State *L);
int bson_lmakeindex(lua_State *L);
int bson_lupdate(lua_State *L);
int bson_ldate(lua_State *L);
int bson_ltimestamp(lua_State *L);
int bson_lregex(lua_State *L);
int bson_lbinary(lua_State *L);
int bson_lobjectid(lua_State *L);
int bson_lint64(lua_State *L);
int bson_ltype(lua_State *L);

/* The document that the argument refers to; *size is what's known to be there. NULL: none. */
const uint8_t *bson_document(lua_State *L, int index, size_t *size);

#endif
