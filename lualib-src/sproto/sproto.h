/*
 * sproto: schemas, and the 0-pack compression. Nothing here knows of Lua.
 *
 * A schema is made from a bundle (what sprotoparser.parse returns) and never changes
 * afterwards, so any thread may read it without a lock for as long as it holds a reference.
 * All schemas that live are known to the library: a pointer that came from outside (a light
 * userdata) is looked up before it's followed, so a stale one is an error and not a crash.
 *
 * References: the creator has one, given up by sproto_disown; each global slot has one; every
 * Lua state that uses a schema has one. The last one to go frees the schema.
 *
 * Threads: every function may be called from any thread.
 */
#ifndef sproto_h
#define sproto_h

#include "msvcint.h"

#include <stdbool.h>
#include <stddef.h>

#define SPROTO_SLOTS 16
#define SPROTO_MAX_SIZE 0x1000000 /* bytes of one message, packed or not */
#define SPROTO_MAX_DEPTH 64       /* structs inside one another, the outermost counted */
#define SPROTO_MAX_DIGITS 18      /* of a decimal: 10^18 is the largest power in 64 bits */
#define SPROTO_MAX_TAG 32766

enum sproto_kind {
	SPROTO_INTEGER,
	SPROTO_BOOLEAN,
	SPROTO_STRING,
	SPROTO_DOUBLE,
	SPROTO_DECIMAL, /* on the wire an integer */
	SPROTO_STRUCT,
};

struct sproto;

/* A piece of the schema's own copy of the bundle; not terminated. */
struct sproto_name {
	const char *s;
	size_t len;
};

struct sproto_field {
	struct sproto_name name;
	const struct sproto_type *sub;   /* of a struct */
	const struct sproto_field *key;  /* of an array with main index, or a map: field of sub */
	const struct sproto_field *item; /* of a map: the other field of sub */
	double scale;                    /* of a decimal: 10^digits */
	int tag;
	uint8_t kind;   /* enum sproto_kind, of the elements if it's an array */
	uint8_t digits; /* of a decimal */
	bool binary;
	bool array;
	bool map;
};

struct sproto_type {
	struct sproto_name name;
	const struct sproto *owner;
	struct sproto_field *fields; /* ascending tags */
	size_t count;
	size_t words; /* field words that an encoded struct has at most */
};

struct sproto_protocol {
	struct sproto_name name;
	int tag;
	bool confirm;                       /* has a response without a body */
	const struct sproto_type *request;  /* or NULL */
	const struct sproto_type *response; /* or NULL */
};

/* A new schema with the creator's reference; NULL if the bundle is malformed. Copies it. */
struct sproto *sproto_create(const void *bundle, size_t size);

/*
 * Take a reference to the schema at `p`; NULL when there's none that its creator or a slot still
 * refers to. `p` may be anything.
 */
struct sproto *sproto_acquire(const void *p);

/* Take a reference to the schema that the type at `p` belongs to, whoever refers to it; or NULL.
 */
struct sproto *sproto_acquire_type(const void *p);

/* Do its creator or a slot refer to the schema? */
bool sproto_is_public(struct sproto *sp);

void sproto_release(struct sproto *sp);

/* Give up the creator's reference. The caller holds one of its own. False: it's gone already. */
bool sproto_disown(struct sproto *sp);

/* Let a slot (0..15) refer to the schema; what it referred to before loses that reference. */
void sproto_save(struct sproto *sp, int slot);

/* A new reference to what a slot refers to, or NULL. */
struct sproto *sproto_load(int slot);

/* Look-ups; the results live as long as the schema. NULL when there is none. */
const struct sproto_type *sproto_type(const struct sproto *sp, const char *name, size_t len);
const struct sproto_protocol *sproto_protocol_tag(const struct sproto *sp, int64_t tag);
const struct sproto_protocol *sproto_protocol_name(const struct sproto *sp, const char *name,
                                                   size_t len);
const struct sproto_type *sproto_type_at(const struct sproto *sp, size_t i);
const struct sproto_protocol *sproto_protocol_at(const struct sproto *sp, size_t i);

/* Largest size of `size` bytes packed. */
size_t sproto_pack_bound(size_t size);

/* Pack into `out`, which has room for sproto_pack_bound(size) bytes; returns the size. */
size_t sproto_pack(const uint8_t *in, size_t size, uint8_t *out);

/* Bytes that unpacking gives, a multiple of 8; SIZE_MAX if the input is malformed. */
size_t sproto_unpacked_size(const uint8_t *in, size_t size);

/* Unpack input for which sproto_unpacked_size gave a size, into as many bytes. */
void sproto_unpack(const uint8_t *in, size_t size, uint8_t *out);

/* Integers of the wire, little-endian. */
static inline unsigned
sproto_u16(const uint8_t *p) {
	return p[0] | (unsigned)p[1] << 8;
}

static inline uint32_t
sproto_u32(const uint8_t *p) {
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t
sproto_u64(const uint8_t *p) {
	return sproto_u32(p) | (uint64_t)sproto_u32(p + 4) << 32;
}

#endif
