/*
 * What the parts of the module sproto.core share: encoder, decoder, and the names of fields.
 *
 * Field names are interned once per Lua state and type: a "names" table holds them by the
 * field's position (from 1). It's cached in the state, keyed by the type's address; the state
 * keeps a reference to the schema for as long, so the address stays that type's.
 */
#ifndef lsproto_h
#define lsproto_h

#include "sproto.h"

#include <lauxlib.h>
#include <lua.h>

/* Push the names of a type whose schema the state holds. The cache is the first upvalue. */
void lsproto_names(lua_State *L, const struct sproto_type *t);

/*
 * Encode the value at stack index `index` (not relative) and push the string; the type's names
 * are at stack index `names`. Raises errors that name the field.
 */
void lsproto_encode(lua_State *L, const struct sproto_type *t, int names, int index);

/*
 * Decode into the table at stack index `table`; names as above. Returns the bytes used;
 * raises "decode error". The bytes are borrowed until it returns.
 */
size_t lsproto_decode(lua_State *L, const struct sproto_type *t, int names, int table,
                      const uint8_t *data, size_t size);

/* Fields to make a new table for: no more than the struct has, or the type knows. */
int lsproto_expected_fields(const struct sproto_type *t, const uint8_t *data, size_t size);

#endif
