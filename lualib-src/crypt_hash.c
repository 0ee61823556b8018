/*
 * Hashes of module crypt: SHA-1 and HMAC by OpenSSL, and the login protocol's own constructions.
 *
 * Each Lua state has one digest context, reused by every call: fetching an algorithm from OpenSSL
 * takes a lock and more time than hashing a short string.
 */
#include "crypt.h"

#include <lauxlib.h>
#include <openssl/evp.h>
#include <string.h>

#define BLOCK 64 /* of SHA-1 and MD5 */
#define SHA1_SIZE 20
#define MD5_SIZE 16
#define KEY_SIZE 8

/*
 * ---- digests ----
 */

struct digests {
	EVP_MD_CTX *ctx;
	EVP_MD *sha1, *md5;
};

struct piece {
	const void *data;
	size_t size;
};

static int
free_digests(lua_State *L) {
	struct digests *d = lua_touserdata(L, 1);
	EVP_MD_CTX_free(d->ctx);
	EVP_MD_free(d->sha1);
	EVP_MD_free(d->md5);
	memset(d, 0, sizeof(*d));
	return 0;
}

void
crypt_push_digests(lua_State *L) {
	struct digests *d = lua_newuserdatauv(L, sizeof(*d), 0);
	memset(d, 0, sizeof(*d));
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, free_digests);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);
}

/* Fetched at the first use: most services that load the module need only some of it. */
static EVP_MD *
algorithm(lua_State *L, EVP_MD **slot, const char *name) {
	if (*slot == NULL)
		*slot = EVP_MD_fetch(NULL, name, NULL);
	if (*slot == NULL)
		luaL_error(L, "crypt: this OpenSSL has no %s", name);
	return *slot;
}

/* Hash pieces one after another into `out`. */
static void
digest(lua_State *L, struct digests *d, const EVP_MD *md, const struct piece *pieces, int n,
       uint8_t *out) {
	if (d->ctx == NULL)
		d->ctx = EVP_MD_CTX_new();
	int ok = d->ctx && EVP_DigestInit_ex2(d->ctx, md, NULL);
	for (int i = 0; i < n && ok; i++)
		ok = EVP_DigestUpdate(d->ctx, pieces[i].data, pieces[i].size);
	if (!ok || !EVP_DigestFinal_ex(d->ctx, out, NULL))
		luaL_error(L, "crypt: OpenSSL can't hash");
}

static struct digests *
get_digests(lua_State *L) {
	return lua_touserdata(L, lua_upvalueindex(1));
}

/* sha1(text) -> 20 bytes */
int
crypt_sha1(lua_State *L) {
	struct digests *d = get_digests(L);
	struct piece text;
	uint8_t out[SHA1_SIZE];
	text.data = luaL_checklstring(L, 1, &text.size);
	digest(L, d, algorithm(L, &d->sha1, "SHA1"), &text, 1, out);
	lua_pushlstring(L, (const char *)out, SHA1_SIZE);
	return 1;
}

/* hmac_sha1(key, text) -> 20 bytes (RFC 2104) */
int
crypt_hmac_sha1(lua_State *L) {
	struct digests *d = get_digests(L);
	const EVP_MD *sha1 = algorithm(L, &d->sha1, "SHA1");
	struct piece key, inner[2], outer[2];
	uint8_t pad[BLOCK] = {0}, out[SHA1_SIZE];
	key.data = luaL_checklstring(L, 1, &key.size);
	inner[1].data = luaL_checklstring(L, 2, &inner[1].size);
	if (key.size > BLOCK)
		digest(L, d, sha1, &key, 1, pad);
	else
		memcpy(pad, key.data, key.size);
	for (int i = 0; i < BLOCK; i++)
		pad[i] ^= 0x36;
	inner[0] = (struct piece){pad, BLOCK};
	digest(L, d, sha1, inner, 2, out);
	for (int i = 0; i < BLOCK; i++)
		pad[i] ^= 0x36 ^ 0x5c;
	outer[0] = (struct piece){pad, BLOCK};
	outer[1] = (struct piece){out, SHA1_SIZE};
	digest(L, d, sha1, outer, 2, out);
	lua_pushlstring(L, (const char *)out, SHA1_SIZE);
	return 1;
}

/*
 * ---- the login protocol's own ----
 */

static uint32_t
get32(const uint8_t *p) {
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void
put32(uint8_t *p, uint32_t v) {
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

/* An 8-byte string; `what` names it in the error. */
static const uint8_t *
check_u64(lua_State *L, int index, const char *what) {
	size_t size;
	const char *s = luaL_checklstring(L, index, &size);
	if (size != KEY_SIZE)
		luaL_error(L, "Invalid uint64 %s", what);
	return (const uint8_t *)s;
}

/* The 8 bytes of two multiplicative hashes side by side. */
static void
hash_key(const uint8_t *text, size_t size, uint8_t out[KEY_SIZE]) {
	uint32_t low = 5381, high = 1315423911;
	for (size_t i = 0; i < size; i++) {
		low = low * 33 + text[i];
		high ^= (high << 5) + text[i] + (high >> 2);
	}
	put32(out, low);
	put32(out + 4, high);
}

/* MD5's sine table: floor(2^32 * |sin(i + 1)|). */
static const uint32_t sine[64] = {
	0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613,
	0xfd469501, 0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193,
	0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d,
	0x02441453, 0xd8a1e681, 0xe7d3fbc8, 0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed,
	0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a, 0xfffa3942, 0x8771f681, 0x6d9d6122,
	0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70, 0x289b7ec6, 0xeaa127fa,
	0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665, 0xf4292244,
	0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
	0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb,
	0xeb86d391,
};

/*
 * The 64 steps of MD5's compression over four words repeated four times, from the standard
 * initial state and without adding it at the end.
 */
static void
md5_steps(const uint32_t word[4], uint32_t r[4]) {
	static const uint8_t rotation[4][4] = {
		{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
	static const uint8_t stride[4] = {1, 5, 3, 7}, offset[4] = {0, 1, 5, 0};
	uint32_t a = 0x67452301, b = 0xefcdab89, c = 0x98badcfe, d = 0x10325476;
	for (int i = 0; i < 64; i++) {
		int round = i / 16;
		uint32_t mix = round == 0   ? (b & c) | (~b & d)
		               : round == 1 ? (d & b) | (~d & c)
		               : round == 2 ? b ^ c ^ d
		                            : c ^ (b | ~d);
		uint32_t sum = a + mix + sine[i] + word[(stride[round] * i + offset[round]) % 4];
		int turn = rotation[round][i % 4];
		a = d;
		d = c;
		c = b;
		b += sum << turn | sum >> (32 - turn);
	}
	r[0] = a;
	r[1] = b;
	r[2] = c;
	r[3] = d;
}

static void
push_hmac64(lua_State *L, const uint8_t *x, const uint8_t *y) {
	uint32_t word[4] = {get32(x + 4), get32(x), get32(y + 4), get32(y)}, r[4];
	uint8_t out[KEY_SIZE];
	md5_steps(word, r);
	put32(out, r[2] ^ r[3]);
	put32(out + 4, r[0] ^ r[1]);
	lua_pushlstring(L, (const char *)out, KEY_SIZE);
}

/* hashkey(text) -> 8 bytes */
int
crypt_hashkey(lua_State *L) {
	size_t size;
	const char *s = luaL_checklstring(L, 1, &size);
	uint8_t out[KEY_SIZE];
	hash_key((const uint8_t *)s, size, out);
	lua_pushlstring(L, (const char *)out, KEY_SIZE);
	return 1;
}

/* hmac64(x, y) -> 8 bytes; neither an HMAC nor MD5 */
int
crypt_hmac64(lua_State *L) {
	const uint8_t *x = check_u64(L, 1, "x");
	push_hmac64(L, x, check_u64(L, 2, "y"));
	return 1;
}

/* hmac_hash(key, text) = hmac64(hashkey(text), key) */
int
crypt_hmac_hash(lua_State *L) {
	size_t size;
	const uint8_t *key = check_u64(L, 1, "key");
	const char *s = luaL_checklstring(L, 2, &size);
	uint8_t hash[KEY_SIZE];
	hash_key((const uint8_t *)s, size, hash);
	push_hmac64(L, hash, key);
	return 1;
}

/* hmac64_md5(x, y) -> 8 bytes: MD5 of x..y three times, folded */
int
crypt_hmac64_md5(lua_State *L) {
	struct digests *d = get_digests(L);
	const uint8_t *x = check_u64(L, 1, "x");
	const uint8_t *y = check_u64(L, 2, "y");
	uint8_t block[6 * KEY_SIZE], out[MD5_SIZE];
	for (int i = 0; i < 3; i++) {
		memcpy(block + 2 * KEY_SIZE * i, x, KEY_SIZE);
		memcpy(block + 2 * KEY_SIZE * i + KEY_SIZE, y, KEY_SIZE);
	}
	struct piece all = {block, sizeof(block)};
	digest(L, d, algorithm(L, &d->md5, "MD5"), &all, 1, out);
	for (int i = 0; i < KEY_SIZE; i++)
		out[i] ^= out[i + KEY_SIZE];
	lua_pushlstring(L, (const char *)out, KEY_SIZE);
	return 1;
}
