/*
 * Serialisation of Lua values into messages: the interface for C modules.
 *
 * The byte format is the one every service, cluster peer and harbor node speaks (a
 * concatenation of tagged values, host byte order). Threads: any, one VM at a time.
 */
#ifndef skynet_lua_seri_h
#define skynet_lua_seri_h

#include <lua.h>
#include <stddef.h>

/*
 * Pack the values from stack index `first` to the top. Returns a heap block (skynet_free, or
 * give it away with PTYPE_TAG_DONTCOPY) and its size; NULL with size 0 when there are none.
 * Raises a Lua error, without leaking, for what can't be packed.
 */
void *seri_pack(lua_State *L, int first, size_t *sz);

/*
 * Push the values of a packed message. Returns how many; -1 when the bytes are malformed: one
 * string, the error text, is then on top of the stack. Borrows `msg`.
 */
int seri_unpack(lua_State *L, const void *msg, size_t sz);

/*
 * Check bytes that came from another process before any Lua service unpacks them: well formed,
 * not too deep, no light userdata (a pointer means nothing from outside, and following one is
 * fatal). Returns 0 when fine, else a reason in `err` and SERI_POINTER when all before a light
 * userdata was well formed, or SERI_MALFORMED.
 */
#define SERI_MALFORMED (-1)
#define SERI_POINTER (-2)
int seri_check(const void *msg, size_t sz, char *err, size_t errsz);

/* Lua entry points, shared by the modules that export them. */
int luaseri_pack(lua_State *L);
int luaseri_unpack(lua_State *L);
int luaseri_packstring(lua_State *L);

#endif
