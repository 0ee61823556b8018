/*
 * The Lua module skynet.mongo.driver: MongoDB's messages, and what its authentication computes.
 *
 * A message is a header of four int32 (length, request id, id it responds to, opcode), the flags
 * and one section of kind 0, which is a BSON document. Replies come from a network; a document
 * in one is handed out as a pointer into the reply, with its size.
 *
 * Stateless: any service may use it at any time.
 */
#include <lauxlib.h>
#include <lua.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdint.h>
#include <string.h>

#define OP_MSG 2013
#define HEADER 16
#define DOCUMENT (HEADER + 5) /* where the document is: after flags and the section's kind */
#define FLAG_CHECKSUM 1
#define FLAG_MORE 2
#define MAX_MESSAGE 48000000 /* bytes: what servers accept */
#define MAX_ITERATIONS 1000000

static uint32_t
load32(const char *s) {
	const uint8_t *p = (const uint8_t *)s;
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void
store32(char *p, uint32_t v) {
	for (int i = 0; i < 4; i++)
		p[i] = (char)(v >> (8 * i));
}

/* op_msg(id, flags, document): the bytes of a request. */
static int
lop_msg(lua_State *L) {
	lua_Integer id = luaL_checkinteger(L, 1);
	lua_Integer flags = luaL_checkinteger(L, 2);
	const char *doc = luaL_testudata(L, 3, "bson");
	if (doc == NULL)
		return luaL_error(L, "opmsg require cmd document");
	size_t size = lua_rawlen(L, 3);
	if (size > MAX_MESSAGE - DOCUMENT)
		return luaL_error(L, "mongo: the command has %d bytes, a message holds at most %d",
		                  (int)size, MAX_MESSAGE - DOCUMENT);
	luaL_Buffer b;
	char *p = luaL_buffinitsize(L, &b, DOCUMENT + size);
	store32(p, (uint32_t)(DOCUMENT + size));
	store32(p + 4, (uint32_t)id);
	store32(p + 8, 0);
	store32(p + 12, OP_MSG);
	store32(p + 16, (uint32_t)flags);
	p[20] = 0;
	memcpy(p + DOCUMENT, doc, size);
	luaL_pushresultsize(&b, DOCUMENT + size);
	return 1;
}

/* length(str4): bytes of a message that come after its length. */
static int
llength(lua_State *L) {
	size_t n;
	const char *s = luaL_checklstring(L, 1, &n);
	luaL_argcheck(L, n >= 4, 1, "4 bytes expected");
	lua_pushinteger(L, (int32_t)load32(s) - (lua_Integer)4);
	return 1;
}

/*
 * reply(bytes after the length) -> true, id of the request, document, size of the document; or
 * false when that's less than a header. The document is valid while the bytes live.
 */
static int
lreply(lua_State *L) {
	size_t n;
	const char *s = luaL_checklstring(L, 1, &n);
	const size_t skipped = 4; /* the length has been taken off */
	if (n < DOCUMENT - skipped) {
		lua_pushboolean(L, 0);
		return 1;
	}
	int opcode = (int)load32(s + 12 - skipped);
	uint32_t flags = load32(s + 16 - skipped);
	uint8_t kind = (uint8_t)s[20 - skipped];
	if (opcode != OP_MSG)
		return luaL_error(L, "Unsupported opcode:%d", opcode);
	if (flags & FLAG_CHECKSUM)
		return luaL_error(L, "Unsupported OP_MSG flag checksumPresent");
	if (flags & ~(uint32_t)FLAG_MORE)
		return luaL_error(L, "Unsupported OP_MSG flag:%d", (int)flags);
	if (kind != 0)
		return luaL_error(L, "Unsupported OP_MSG payload type: %d", kind);
	const char *doc = s + DOCUMENT - skipped;
	size_t left = n - (DOCUMENT - skipped);
	if (left < 5 || load32(doc) > left)
		return luaL_error(L, "Invalid OP_MSG reply: the document is cut off");
	if (load32(doc) < left)
		return luaL_error(L, "Unsupported OP_MSG reply: >1 section");
	lua_pushboolean(L, 1);
	lua_pushinteger(L, (int32_t)load32(s + 8 - skipped));
	lua_pushlightuserdata(L, (void *)doc);
	lua_pushinteger(L, (lua_Integer)left);
	return 4;
}

/*
 * ---- authentication ----
 */

static const EVP_MD *
check_digest(lua_State *L, int index) {
	const char *name = luaL_checkstring(L, index);
	const EVP_MD *md = strcmp(name, "sha1") == 0     ? EVP_sha1()
	                   : strcmp(name, "sha256") == 0 ? EVP_sha256()
	                                                 : NULL;
	luaL_argcheck(L, md, index, "sha1 or sha256 expected");
	return md;
}

static int
lhash(lua_State *L) {
	const EVP_MD *md = check_digest(L, 1);
	unsigned char out[EVP_MAX_MD_SIZE];
	unsigned size;
	size_t n;
	const char *s = luaL_checklstring(L, 2, &n);
	if (!EVP_Digest(s, n, out, &size, md, NULL))
		return luaL_error(L, "mongo: the digest failed");
	lua_pushlstring(L, (const char *)out, size);
	return 1;
}

static int
lhmac(lua_State *L) {
	const EVP_MD *md = check_digest(L, 1);
	unsigned char out[EVP_MAX_MD_SIZE];
	unsigned size;
	size_t key_size, n;
	const char *key = luaL_checklstring(L, 2, &key_size);
	const char *s = luaL_checklstring(L, 3, &n);
	luaL_argcheck(L, key_size <= INT32_MAX, 2, "too long");
	if (!HMAC(md, key, (int)key_size, (const unsigned char *)s, n, out, &size))
		return luaL_error(L, "mongo: the digest failed");
	lua_pushlstring(L, (const char *)out, size);
	return 1;
}

/* pbkdf2(digest, password, salt, iterations). The server names the iterations: bounded. */
static int
lpbkdf2(lua_State *L) {
	const EVP_MD *md = check_digest(L, 1);
	unsigned char out[EVP_MAX_MD_SIZE];
	size_t password_size, salt_size;
	const char *password = luaL_checklstring(L, 2, &password_size);
	const char *salt = luaL_checklstring(L, 3, &salt_size);
	lua_Integer iterations = luaL_checkinteger(L, 4);
	luaL_argcheck(L, password_size <= INT32_MAX, 2, "too long");
	luaL_argcheck(L, salt_size <= INT32_MAX, 3, "too long");
	luaL_argcheck(L, iterations > 0 && iterations <= MAX_ITERATIONS, 4, "out of range");
	int size = EVP_MD_size(md);
	if (!PKCS5_PBKDF2_HMAC(password, (int)password_size, (const unsigned char *)salt,
	                       (int)salt_size, (int)iterations, md, size, out))
		return luaL_error(L, "mongo: the key derivation failed");
	lua_pushlstring(L, (const char *)out, (size_t)size);
	return 1;
}

static int
lrandom(lua_State *L) {
	unsigned char out[64];
	lua_Integer n = luaL_checkinteger(L, 1);
	luaL_argcheck(L, n > 0 && n <= (lua_Integer)sizeof(out), 1, "1..64 expected");
	if (RAND_bytes(out, (int)n) != 1)
		return luaL_error(L, "mongo: there are no random bytes to be had");
	lua_pushlstring(L, (const char *)out, (size_t)n);
	return 1;
}

int luaopen_skynet_mongo_driver(lua_State *L);

int
luaopen_skynet_mongo_driver(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"op_msg", lop_msg}, {"length", llength}, {"reply", lreply},   {"hash", lhash},
		{"hmac", lhmac},     {"pbkdf2", lpbkdf2}, {"random", lrandom}, {NULL, NULL},
	};
	luaL_checkversion(L);
	luaL_newlib(L, functions);
	return 1;
}
