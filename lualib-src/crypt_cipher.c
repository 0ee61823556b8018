/*
 * DES, the key exchange and random keys of module crypt.
 *
 * DES comes from libcrypto's own functions: OpenSSL 3 keeps them, marked as deprecated, while its
 * new interface has single DES only in the legacy provider, a module that need not be installed.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "crypt.h"

#include <lauxlib.h>
#include <openssl/crypto.h>
#include <openssl/des.h>
#include <string.h>
#include <sys/random.h>

#define BLOCK 8
#define PRIME_GAP 59 /* the modulus is 2^64 - 59 */
#define GENERATOR 5

/*
 * ---- DES ----
 */

/* Load argument 1 as a key; parity bits are ignored. */
static void
load_key(lua_State *L, DES_key_schedule *schedule) {
	size_t size;
	DES_cblock key;
	const char *s = luaL_checklstring(L, 1, &size);
	if (size != BLOCK)
		luaL_error(L, "Invalid key size %d, need 8 bytes", (int)size);
	memcpy(key, s, BLOCK);
	DES_set_key_unchecked(&key, schedule);
}

static lua_Integer
check_padding(lua_State *L) {
	lua_Integer mode = luaL_optinteger(L, 3, CRYPT_PADDING_ISO7816_4);
	if (mode != CRYPT_PADDING_ISO7816_4 && mode != CRYPT_PADDING_PKCS7)
		luaL_error(L, "Invalid padding mode %d", (int)mode);
	return mode;
}

static void
run_blocks(const char *from, char *to, size_t blocks, DES_key_schedule *schedule, int direction) {
	for (size_t i = 0; i < blocks; i++) {
		DES_cblock in = {0}, out;
		memcpy(in, from + i * BLOCK, BLOCK);
		DES_ecb_encrypt(&in, &out, schedule, direction);
		memcpy(to + i * BLOCK, out, BLOCK);
	}
}

/* desencode(key, text [, padding]) -> whole blocks, 1 to 8 bytes longer than the text */
int
crypt_desencode(lua_State *L) {
	DES_key_schedule schedule;
	size_t size;
	luaL_Buffer b;
	load_key(L, &schedule);
	const char *text = luaL_checklstring(L, 2, &size);
	lua_Integer mode = check_padding(L);
	size_t rest = size % BLOCK, whole = size - rest;
	char last[BLOCK];
	memcpy(last, text + whole, rest);
	if (mode == CRYPT_PADDING_PKCS7) {
		memset(last + rest, (int)(BLOCK - rest), BLOCK - rest);
	} else {
		memset(last + rest, 0, BLOCK - rest);
		last[rest] = (char)0x80;
	}
	char *out = luaL_buffinitsize(L, &b, whole + BLOCK);
	run_blocks(text, out, whole / BLOCK, &schedule, DES_ENCRYPT);
	run_blocks(last, out + whole, 1, &schedule, DES_ENCRYPT);
	OPENSSL_cleanse(&schedule, sizeof(schedule));
	luaL_pushresultsize(&b, whole + BLOCK);
	return 1;
}

/* How many of the last block's bytes are padding; 0 when it isn't well formed. */
static int
padding_size(const uint8_t *last, lua_Integer mode) {
	int n;
	if (mode == CRYPT_PADDING_ISO7816_4) {
		for (n = 1; n <= BLOCK && last[BLOCK - n] == 0; n++)
			continue;
		return n <= BLOCK && last[BLOCK - n] == 0x80 ? n : 0;
	}
	n = last[BLOCK - 1];
	if (n < 1 || n > BLOCK)
		return 0;
	for (int i = 1; i <= n; i++) {
		if (last[BLOCK - i] != n)
			return 0;
	}
	return n;
}

/* desdecode(key, text [, padding]) -> the text before desencode */
int
crypt_desdecode(lua_State *L) {
	DES_key_schedule schedule;
	size_t size;
	luaL_Buffer b;
	load_key(L, &schedule);
	const char *text = luaL_checklstring(L, 2, &size);
	lua_Integer mode = check_padding(L);
	if (size == 0 || size % BLOCK != 0)
		return luaL_error(L, "Invalid des crypt text length %d", (int)size);
	char *out = luaL_buffinitsize(L, &b, size);
	run_blocks(text, out, size / BLOCK, &schedule, DES_DECRYPT);
	OPENSSL_cleanse(&schedule, sizeof(schedule));
	int padding = padding_size((const uint8_t *)out + size - BLOCK, mode);
	if (padding == 0)
		return luaL_error(L, "Invalid des crypt text");
	luaL_pushresultsize(&b, size - (size_t)padding);
	return 1;
}

/*
 * ---- key exchange: powers modulo 2^64 - 59 ----
 */

static uint64_t
reduce(uint64_t v) {
	return v >= -(uint64_t)PRIME_GAP ? v + PRIME_GAP : v;
}

static uint64_t
multiply(uint64_t a, uint64_t b) {
	/* 2^64 is 59 here: fold the upper half in, twice */
	unsigned __int128 product = (unsigned __int128)a * b;
	product = (product >> 64) * PRIME_GAP + (uint64_t)product;
	product = (product >> 64) * PRIME_GAP + (uint64_t)product;
	uint64_t low = (uint64_t)product;
	if (product >> 64)
		low += PRIME_GAP;
	return reduce(low);
}

/* The same work for every exponent, so that its time says nothing about a private key. */
static uint64_t
power(uint64_t base, uint64_t exponent) {
	uint64_t result = 1;
	base = reduce(base);
	for (int i = 0; i < 64; i++) {
		uint64_t product = multiply(result, base);
		uint64_t mask = -(exponent & 1);
		result = (product & mask) | (result & ~mask);
		base = multiply(base, base);
		exponent >>= 1;
	}
	return result;
}

static uint64_t
check_number(lua_State *L, int index, const char *error) {
	size_t size;
	uint64_t v = 0;
	const char *s = luaL_checklstring(L, index, &size);
	if (size != 8)
		luaL_error(L, "%s", error);
	for (int i = 7; i >= 0; i--)
		v = v << 8 | (uint8_t)s[i];
	if (v == 0)
		luaL_error(L, "Can't be 0");
	return v;
}

static int
push_number(lua_State *L, uint64_t v) {
	char out[8];
	for (int i = 0; i < 8; i++)
		out[i] = (char)(v >> 8 * i);
	lua_pushlstring(L, out, 8);
	return 1;
}

/* dhexchange(x) -> 5^x: what is shown of a private key */
int
crypt_dhexchange(lua_State *L) {
	return push_number(L, power(GENERATOR, check_number(L, 1, "Invalid dh uint64 key")));
}

/* dhsecret(a, b) -> a^b: the shared secret, of their public and our private value */
int
crypt_dhsecret(lua_State *L) {
	uint64_t base = check_number(L, 1, "Invalid uint64 x");
	return push_number(L, power(base, check_number(L, 2, "Invalid uint64 y")));
}

/* randomkey() -> 8 bytes of the system's cryptographic generator; never all zero */
int
crypt_randomkey(lua_State *L) {
	char key[8];
	if (getentropy(key, sizeof(key)) != 0)
		return luaL_error(L, "crypt: the system gives no random bytes");
	char sum = 0;
	for (size_t i = 0; i < sizeof(key); i++)
		sum ^= key[i];
	if (sum == 0)
		key[0] |= 1;
	lua_pushlstring(L, key, sizeof(key));
	return 1;
}
