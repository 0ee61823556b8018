/*
 * Module md5.core: MD5 of a string, exclusive or, and a stream cipher made of MD5. The digest is
 * OpenSSL's. lualib/md5.lua adds what can be said in Lua. Good for checksums and old protocols,
 * not for security.
 */
#include <lauxlib.h>
#include <lua.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define SIZE 16
#define KEY_MAX 256

struct hasher {
	EVP_MD_CTX *ctx;
	EVP_MD *md5;
};

static int
free_hasher(lua_State *L) {
	struct hasher *h = lua_touserdata(L, 1);
	EVP_MD_CTX_free(h->ctx);
	EVP_MD_free(h->md5);
	memset(h, 0, sizeof(*h));
	return 0;
}

/* Hash `head` and then `tail`. */
static void
hash(lua_State *L, const void *head, size_t head_size, const void *tail, size_t tail_size,
     uint8_t out[SIZE]) {
	struct hasher *h = lua_touserdata(L, lua_upvalueindex(1));
	if (h->md5 == NULL)
		h->md5 = EVP_MD_fetch(NULL, "MD5", NULL);
	if (h->md5 == NULL)
		luaL_error(L, "md5: this OpenSSL has no MD5");
	if (h->ctx == NULL)
		h->ctx = EVP_MD_CTX_new();
	if (h->ctx == NULL || !EVP_DigestInit_ex2(h->ctx, h->md5, NULL) ||
	    !EVP_DigestUpdate(h->ctx, head, head_size) ||
	    !EVP_DigestUpdate(h->ctx, tail, tail_size) || !EVP_DigestFinal_ex(h->ctx, out, NULL))
		luaL_error(L, "md5: OpenSSL can't hash");
}

/* sum(text) -> 16 bytes */
static int
lsum(lua_State *L) {
	size_t size;
	const char *text = luaL_checklstring(L, 1, &size);
	uint8_t out[SIZE];
	hash(L, text, size, "", 0, out);
	lua_pushlstring(L, (const char *)out, SIZE);
	return 1;
}

/* exor(a, b) -> both, of equal length, one over the other */
static int
lexor(lua_State *L) {
	size_t size, other;
	luaL_Buffer b;
	const char *x = luaL_checklstring(L, 1, &size);
	const char *y = luaL_checklstring(L, 2, &other);
	if (size != other)
		return luaL_error(L, "lengths must be equal");
	char *out = luaL_buffinitsize(L, &b, size);
	for (size_t i = 0; i < size; i++)
		out[i] = (char)(x[i] ^ y[i]);
	luaL_pushresultsize(&b, size);
	return 1;
}

static const char *
check_key(lua_State *L, size_t *size) {
	const char *key = luaL_checklstring(L, 2, size);
	if (*size > KEY_MAX)
		luaL_error(L, "key too long (> %d)", KEY_MAX);
	return key;
}

/*
 * Put the key stream over `in`. Each 16 bytes of it are the hash of a block and the key: the
 * seed first, then the 16 bytes of cipher text before, which is `in` or `out`.
 */
static void
run(lua_State *L, const uint8_t seed[SIZE], const char *in, char *out, const char *cipher,
    size_t size) {
	size_t key_size;
	const char *key = check_key(L, &key_size);
	uint8_t stream[SIZE];
	for (size_t at = 0; at < size; at += SIZE) {
		const void *block = at == 0 ? (const void *)seed : cipher + at - SIZE;
		hash(L, block, SIZE, key, key_size, stream);
		for (size_t i = 0; i < SIZE && at + i < size; i++)
			out[at + i] = (char)(in[at + i] ^ stream[i]);
	}
}

/* crypt(text, key [, seed]) -> seed length, seed, cipher text */
static int
lcrypt(lua_State *L) {
	time_t now = time(NULL);
	size_t size, key_size, seed_size = sizeof(now);
	const char *text = luaL_checklstring(L, 1, &size);
	const char *seed = (const char *)&now;
	uint8_t block[SIZE] = {0};
	luaL_Buffer b;
	check_key(L, &key_size);
	if (!lua_isnoneornil(L, 3))
		seed = luaL_checklstring(L, 3, &seed_size);
	if (seed_size > SIZE)
		return luaL_error(L, "seed too long (> %d)", SIZE);
	memcpy(block, seed, seed_size);
	char *out = luaL_buffinitsize(L, &b, 1 + seed_size + size);
	out[0] = (char)seed_size;
	memcpy(out + 1, seed, seed_size);
	char *body = out + 1 + seed_size;
	run(L, block, text, body, body, size);
	luaL_pushresultsize(&b, 1 + seed_size + size);
	return 1;
}

/* decrypt(cipher text, key) -> text */
static int
ldecrypt(lua_State *L) {
	size_t size, key_size;
	const char *in = luaL_checklstring(L, 1, &size);
	uint8_t block[SIZE] = {0};
	luaL_Buffer b;
	check_key(L, &key_size);
	size_t seed_size = size ? (uint8_t)in[0] : 0;
	if (size == 0 || seed_size > SIZE || 1 + seed_size > size)
		return luaL_error(L, "invalid cyphered string");
	memcpy(block, in + 1, seed_size);
	in += 1 + seed_size;
	size -= 1 + seed_size;
	char *out = luaL_buffinitsize(L, &b, size);
	run(L, block, in, out, in, size);
	luaL_pushresultsize(&b, size);
	return 1;
}

LUAMOD_API int
luaopen_md5_core(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"sum", lsum}, {"exor", lexor}, {"crypt", lcrypt}, {"decrypt", ldecrypt}, {NULL, NULL},
	};
	luaL_checkversion(L);
	luaL_newlibtable(L, functions);
	struct hasher *h = lua_newuserdatauv(L, sizeof(*h), 0);
	memset(h, 0, sizeof(*h));
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, free_hasher);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);
	luaL_setfuncs(L, functions, 1);
	lua_pushliteral(L, "MD5 1.2");
	lua_setfield(L, -2, "_VERSION");
	lua_pushliteral(L, "MIT, see LICENSE");
	lua_setfield(L, -2, "_COPYRIGHT");
	lua_pushliteral(L, "MD5 of strings, and a stream cipher made of it");
	lua_setfield(L, -2, "_DESCRIPTION");
	return 1;
}
