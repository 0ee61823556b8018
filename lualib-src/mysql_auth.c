/*
 * Module skynet.mysql.auth: what a client of MySQL answers to the server's challenge.
 *
 * Each function takes the password and the server's nonce and returns the bytes to send. They
 * are here, not in Lua, because they need OpenSSL. Nothing is kept between calls; any thread may
 * call. The public key comes over the network and is trusted with nothing: its size is limited
 * before it's used, so that it can't cost more than a moment.
 */
#include <lauxlib.h>
#include <lua.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>

enum {
	PEM_MAX = 16 * 1024, /* bytes of a public key's text */
	KEY_MAX = 8192,      /* bits of the key itself */
};

static void
digest(lua_State *L, const EVP_MD *kind, unsigned char *out, const void *a, size_t na,
       const void *b, size_t nb) {
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int ok = ctx != NULL && EVP_DigestInit_ex(ctx, kind, NULL) && EVP_DigestUpdate(ctx, a, na) &&
	         EVP_DigestUpdate(ctx, b, nb) && EVP_DigestFinal_ex(ctx, out, NULL);
	EVP_MD_CTX_free(ctx);
	if (!ok)
		luaL_error(L, "mysql: OpenSSL can't compute a digest");
}

/* native(password, nonce) -> SHA1(password) xor SHA1(nonce SHA1(SHA1(password))) */
static int
lnative(lua_State *L) {
	unsigned char once[20], twice[20], mix[20];
	size_t sz, nsz;
	const char *password = luaL_checklstring(L, 1, &sz);
	const char *nonce = luaL_checklstring(L, 2, &nsz);
	digest(L, EVP_sha1(), once, password, sz, "", 0);
	digest(L, EVP_sha1(), twice, once, sizeof(once), "", 0);
	digest(L, EVP_sha1(), mix, nonce, nsz, twice, sizeof(twice));
	for (size_t i = 0; i < sizeof(mix); i++)
		mix[i] ^= once[i];
	lua_pushlstring(L, (const char *)mix, sizeof(mix));
	OPENSSL_cleanse(once, sizeof(once));
	return 1;
}

/* caching(password, nonce) -> SHA256(password) xor SHA256(SHA256(SHA256(password)) nonce) */
static int
lcaching(lua_State *L) {
	unsigned char once[32], twice[32], mix[32];
	size_t sz, nsz;
	const char *password = luaL_checklstring(L, 1, &sz);
	const char *nonce = luaL_checklstring(L, 2, &nsz);
	digest(L, EVP_sha256(), once, password, sz, "", 0);
	digest(L, EVP_sha256(), twice, once, sizeof(once), "", 0);
	digest(L, EVP_sha256(), mix, twice, sizeof(twice), nonce, nsz);
	for (size_t i = 0; i < sizeof(mix); i++)
		mix[i] ^= once[i];
	lua_pushlstring(L, (const char *)mix, sizeof(mix));
	OPENSSL_cleanse(once, sizeof(once));
	return 1;
}

static EVP_PKEY *
read_key(const char *pem, size_t sz) {
	BIO *bio = sz <= PEM_MAX ? BIO_new_mem_buf(pem, (int)sz) : NULL;
	EVP_PKEY *key = bio != NULL ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
	BIO_free(bio);
	if (key != NULL && (EVP_PKEY_base_id(key) != EVP_PKEY_RSA || EVP_PKEY_bits(key) > KEY_MAX)) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	ERR_clear_error(); /* TLS on this thread would take what's left for its own */
	return key;
}

/* Encrypt with OAEP padding; returns the size, or 0 when the key can't take that much. */
static size_t
encrypt(EVP_PKEY *key, unsigned char *out, size_t cap, const unsigned char *in, size_t sz) {
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	int ok = ctx != NULL && EVP_PKEY_encrypt_init(ctx) > 0 &&
	         EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) > 0 &&
	         EVP_PKEY_encrypt(ctx, out, &cap, in, sz) > 0;
	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
	return ok ? cap : 0;
}

/*
 * seal(password, nonce, pem) -> the password with its final zero, xor the nonce, encrypted with
 * the server's public key; or nil and why not
 */
static int
lseal(lua_State *L) {
	unsigned char plain[KEY_MAX / 8], sealed[KEY_MAX / 8];
	size_t sz, nsz, psz, n = 0;
	const char *password = luaL_checklstring(L, 1, &sz);
	const char *nonce = luaL_checklstring(L, 2, &nsz);
	const char *pem = luaL_checklstring(L, 3, &psz);
	luaL_argcheck(L, nsz > 0, 2, "a nonce has bytes");
	luaL_argcheck(L, sz < sizeof(plain), 1, "the password is too long");
	EVP_PKEY *key = read_key(pem, psz);
	if (key == NULL) {
		lua_pushnil(L);
		lua_pushliteral(L, "the server's public key isn't an RSA key of a reasonable size");
		return 2;
	}
	for (size_t i = 0; i <= sz; i++)
		plain[i] = (unsigned char)((i < sz ? password[i] : 0) ^ nonce[i % nsz]);
	n = encrypt(key, sealed, sizeof(sealed), plain, sz + 1);
	EVP_PKEY_free(key);
	OPENSSL_cleanse(plain, sizeof(plain));
	if (n == 0) {
		lua_pushnil(L);
		lua_pushliteral(L, "the server's public key can't encrypt the password");
		return 2;
	}
	lua_pushlstring(L, (const char *)sealed, n);
	return 1;
}

LUAMOD_API int
luaopen_skynet_mysql_auth(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"native", lnative},
		{"caching", lcaching},
		{"seal", lseal},
		{NULL, NULL},
	};
	luaL_checkversion(L);
	luaL_newlib(L, functions);
	return 1;
}
