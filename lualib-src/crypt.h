/* The parts of the module crypt: Lua functions, each in the file named. */
#ifndef CRYPT_H
#define CRYPT_H

#include <lua.h>

/* crypt_hash.c: upvalue 1 is what crypt_push_digests has pushed */
void crypt_push_digests(lua_State *L);
int crypt_hashkey(lua_State *L);
int crypt_hmac64(lua_State *L);
int crypt_hmac64_md5(lua_State *L);
int crypt_hmac_hash(lua_State *L);
int crypt_sha1(lua_State *L);
int crypt_hmac_sha1(lua_State *L);

/* crypt_cipher.c */
int crypt_desencode(lua_State *L);
int crypt_desdecode(lua_State *L);
int crypt_dhexchange(lua_State *L);
int crypt_dhsecret(lua_State *L);
int crypt_randomkey(lua_State *L);

/* crypt_text.c */
int crypt_hexencode(lua_State *L);
int crypt_hexdecode(lua_State *L);
int crypt_base64encode(lua_State *L);
int crypt_base64decode(lua_State *L);
int crypt_xor_str(lua_State *L);

#define CRYPT_PADDING_ISO7816_4 0
#define CRYPT_PADDING_PKCS7 1

#endif
