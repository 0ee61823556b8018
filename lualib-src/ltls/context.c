/*
 * TLS contexts: certificate, key, ciphers, and whom to trust. A context belongs to the service
 * that made it; engines (engine.c) keep the part of it they need alive by themselves.
 */
#include "ltls.h"

#include <openssl/err.h>
#include <string.h>

static const unsigned char ALPN_HTTP[] = "\x08http/1.1";

static struct ltls_context *
check_context(lua_State *L) {
	struct ltls_context *c = luaL_testudata(L, 1, LTLS_CONTEXT);
	if (c == NULL || c->ctx == NULL)
		luaL_error(L, "need sslctx");
	return c;
}

static const char *
check_text(lua_State *L, int index, const char *complaint) {
	if (lua_isnoneornil(L, index))
		luaL_error(L, complaint);
	return luaL_checkstring(L, index);
}

static int
raise(lua_State *L, const char *what, int code) {
	ltls_push_error(L, lua_pushfstring(L, "%s error:%d", what, code), NULL);
	luaL_where(L, 1);
	lua_insert(L, -2);
	lua_concat(L, 2);
	return lua_error(L);
}

/* newctx() -> context */
int
ltls_newctx(lua_State *L) {
	static const unsigned char id[] = "skynet";
	struct ltls_context *c = lua_newuserdatauv(L, sizeof(*c), 0);
	c->ctx = NULL;
	c->verify = false;
	luaL_setmetatable(L, LTLS_CONTEXT);
	ERR_clear_error();
	c->ctx = SSL_CTX_new(TLS_method());
	if (c->ctx == NULL)
		return raise(L, "SSL_CTX_new", 0);
	SSL_CTX_set_mode(c->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_options(c->ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	/* tickets do it without memory; clients keep their sessions in Lua */
	SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(c->ctx, id, sizeof(id) - 1);
	if (!ltls_ticket_keys(c->ctx))
		SSL_CTX_set_options(c->ctx, SSL_OP_NO_TICKET);
	return 1;
}

static int
lgc(lua_State *L) {
	struct ltls_context *c = luaL_checkudata(L, 1, LTLS_CONTEXT);
	SSL_CTX_free(c->ctx);
	c->ctx = NULL;
	return 0;
}

/* ctx:set_cert(certfile, keyfile): PEM, the certificate with its chain */
static int
lset_cert(lua_State *L) {
	struct ltls_context *c = check_context(L);
	const char *cert = check_text(L, 2, "need certfile");
	const char *key = check_text(L, 3, "need private key");
	ERR_clear_error();
	int r = SSL_CTX_use_certificate_chain_file(c->ctx, cert);
	if (r != 1)
		return raise(L, "SSL_CTX_use_certificate_chain_file", r);
	r = SSL_CTX_use_PrivateKey_file(c->ctx, key, SSL_FILETYPE_PEM);
	if (r != 1)
		return raise(L, "SSL_CTX_use_PrivateKey_file", r);
	r = SSL_CTX_check_private_key(c->ctx);
	if (r != 1)
		return raise(L, "SSL_CTX_check_private_key", r);
	return 0;
}

/* ctx:set_ciphers(list): of TLS up to 1.2 */
static int
lset_ciphers(lua_State *L) {
	struct ltls_context *c = check_context(L);
	const char *list = check_text(L, 2, "need cipher list");
	ERR_clear_error();
	int r = SSL_CTX_set_cipher_list(c->ctx, list);
	if (r != 1)
		return raise(L, "SSL_CTX_set_cipher_list", r);
	return 0;
}

/* ctx:set_verify([cafile [, capath]]): check peers; without files the system's authorities */
static int
lset_verify(lua_State *L) {
	struct ltls_context *c = check_context(L);
	const char *file = luaL_optstring(L, 2, NULL);
	const char *path = luaL_optstring(L, 3, NULL);
	ERR_clear_error();
	int r = file || path ? SSL_CTX_load_verify_locations(c->ctx, file, path)
	                     : SSL_CTX_set_default_verify_paths(c->ctx);
	if (r != 1)
		return raise(L, "SSL_CTX_load_verify_locations", r);
	SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	c->verify = true;
	return 0;
}

/* Choose http/1.1 among what the client offers; no common protocol is no error. */
static int
select_http(SSL *ssl, const unsigned char **out, unsigned char *size, const unsigned char *offer,
            unsigned int offer_size, void *arg) {
	(void)ssl;
	(void)arg;
	for (unsigned int i = 0; i < offer_size && offer[i] < offer_size - i; i += 1u + offer[i]) {
		if (offer[i] == ALPN_HTTP[0] && memcmp(offer + i + 1, ALPN_HTTP + 1, offer[i]) == 0) {
			*out = offer + i + 1;
			*size = offer[i];
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_NOACK;
}

/* ctx:set_http(): offer and accept http/1.1 by ALPN */
static int
lset_http(lua_State *L) {
	struct ltls_context *c = check_context(L);
	SSL_CTX_set_alpn_protos(c->ctx, ALPN_HTTP, sizeof(ALPN_HTTP) - 1);
	SSL_CTX_set_alpn_select_cb(c->ctx, select_http, NULL);
	return 0;
}

void
ltls_open_context(lua_State *L) {
	static const luaL_Reg methods[] = {
		{"set_cert", lset_cert},
		{"set_ciphers", lset_ciphers},
		{"set_verify", lset_verify},
		{"set_http", lset_http},
		{NULL, NULL},
	};
	luaL_newmetatable(L, LTLS_CONTEXT);
	luaL_newlib(L, methods);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, lgc);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
}
