/*
 * Module crypt: the hashes, ciphers and encodings of the login protocol, and SHA-1.
 *
 * The same code is skynet.crypt in the runtime and client.crypt in the plain interpreter. All
 * arguments and results are binary strings; nothing is kept between calls but the digest context
 * of the Lua state. Strong enough to keep honest people honest: DES, a 64-bit key exchange and a
 * 64-bit MAC are what the protocol demands; use TLS for secrets.
 */
#include "crypt.h"

#include <lauxlib.h>

LUAMOD_API int
luaopen_skynet_crypt(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"hashkey", crypt_hashkey},
		{"randomkey", crypt_randomkey},
		{"desencode", crypt_desencode},
		{"desdecode", crypt_desdecode},
		{"hexencode", crypt_hexencode},
		{"hexdecode", crypt_hexdecode},
		{"hmac64", crypt_hmac64},
		{"hmac64_md5", crypt_hmac64_md5},
		{"hmac_hash", crypt_hmac_hash},
		{"dhexchange", crypt_dhexchange},
		{"dhsecret", crypt_dhsecret},
		{"base64encode", crypt_base64encode},
		{"base64decode", crypt_base64decode},
		{"sha1", crypt_sha1},
		{"hmac_sha1", crypt_hmac_sha1},
		{"xor_str", crypt_xor_str},
		{"padding", NULL},
		{NULL, NULL},
	};
	luaL_checkversion(L);
	luaL_newlibtable(L, functions);
	crypt_push_digests(L);
	luaL_setfuncs(L, functions, 1);
	lua_createtable(L, 0, 2);
	lua_pushinteger(L, CRYPT_PADDING_ISO7816_4);
	lua_setfield(L, -2, "iso7816_4");
	lua_pushinteger(L, CRYPT_PADDING_PKCS7);
	lua_setfield(L, -2, "pkcs7");
	lua_setfield(L, -2, "padding");
	return 1;
}

LUAMOD_API int
luaopen_client_crypt(lua_State *L) {
	return luaopen_skynet_crypt(L);
}
