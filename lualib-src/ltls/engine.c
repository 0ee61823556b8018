/*
 * TLS engines: one per connection, between two buffers. Encrypted bytes that came from the peer
 * go in, encrypted bytes for the peer come out; who carries them is the caller's business, so
 * nothing here blocks.
 *
 * An engine belongs to one service; services move between threads, and OpenSSL's queue of
 * errors is a thread's, so it's emptied before each operation.
 */
#include "ltls.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <string.h>

#define PIECE 16384
#define WRITE_MAX (1 << 30)

struct engine {
	SSL *ssl; /* owns both buffers; NULL after close */
	BIO *in, *out;
	bool finished; /* the handshake */
};

static struct engine *
check_engine(lua_State *L) {
	struct engine *e = luaL_checkudata(L, 1, LTLS_ENGINE);
	if (e->ssl == NULL)
		luaL_error(L, "context is closed");
	ERR_clear_error();
	return e;
}

/* Raise "WHAT error:E" with what is known about it. */
static int
raise(lua_State *L, struct engine *e, const char *what, int error, int ret) {
	const char *detail = NULL;
	long verdict = SSL_get_verify_result(e->ssl);
	if (verdict != X509_V_OK && !e->finished)
		detail = lua_pushfstring(L, "certificate verify failed: %s",
		                         X509_verify_cert_error_string(verdict));
	const char *text = ret ? lua_pushfstring(L, "%s error:%d ret:%d", what, error, ret)
	                       : lua_pushfstring(L, "%s error:%d", what, error);
	ltls_push_error(L, text, detail);
	luaL_where(L, 1);
	lua_insert(L, -2);
	lua_concat(L, 2);
	return lua_error(L);
}

/* Put what the peer sent, at index 2, into the incoming buffer. */
static void
feed(lua_State *L, struct engine *e) {
	size_t size;
	const char *bytes = luaL_optlstring(L, 2, "", &size);
	luaL_argcheck(L, size <= WRITE_MAX, 2, "too much at once");
	if (size > 0 && BIO_write(e->in, bytes, (int)size) != (int)size)
		luaL_error(L, "BIO_write failed: out of memory");
}

/* Push what waits for the peer, maybe "". */
static void
push_outgoing(lua_State *L, struct engine *e) {
	char *bytes;
	long size = BIO_get_mem_data(e->out, &bytes);
	lua_pushlstring(L, bytes, size > 0 ? (size_t)size : 0);
	(void)BIO_reset(e->out);
}

/* tls:handshake([received]) -> bytes to send, or nothing */
static int
lhandshake(lua_State *L) {
	struct engine *e = check_engine(L);
	if (e->finished)
		return luaL_error(L, "handshake is finished");
	feed(L, e);
	int r = SSL_do_handshake(e->ssl);
	if (r == 1) {
		e->finished = true;
		return 0; /* what is left goes with the next write */
	}
	int error = SSL_get_error(e->ssl, r);
	if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
		return raise(L, e, "SSL_do_handshake", error, r);
	if (BIO_ctrl_pending(e->out) == 0)
		return 0;
	push_outgoing(L, e);
	return 1;
}

static int
lfinished(lua_State *L) {
	lua_pushboolean(L, check_engine(L)->finished);
	return 1;
}

/* tls:read([encrypted]) -> all plain text there is, maybe "" */
static int
lread(lua_State *L) {
	struct engine *e = check_engine(L);
	feed(L, e);
	if (BIO_ctrl_pending(e->in) == 0 && SSL_pending(e->ssl) == 0) {
		lua_pushliteral(L, "");
		return 1;
	}
	luaL_Buffer b;
	luaL_buffinit(L, &b);
	while (true) {
		char *to = luaL_prepbuffsize(&b, PIECE);
		int r = SSL_read(e->ssl, to, PIECE);
		if (r > 0) {
			luaL_addsize(&b, (size_t)r);
			continue;
		}
		int error = SSL_get_error(e->ssl, r);
		if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE &&
		    error != SSL_ERROR_ZERO_RETURN)
			return raise(L, e, "SSL_read", error, 0);
		luaL_pushresult(&b);
		return 1;
	}
}

/* tls:write([plain]) -> bytes to send, maybe "" */
static int
lwrite(lua_State *L) {
	struct engine *e = check_engine(L);
	size_t size;
	const char *plain = luaL_optlstring(L, 2, "", &size);
	while (size > 0) {
		int r = SSL_write(e->ssl, plain, size < WRITE_MAX ? (int)size : WRITE_MAX);
		if (r <= 0)
			return raise(L, e, "SSL_write", SSL_get_error(e->ssl, r), 0);
		plain += r;
		size -= (size_t)r;
	}
	push_outgoing(L, e);
	return 1;
}

/* tls:shutdown() -> bytes that tell the peer nothing follows, maybe "" */
static int
lshutdown(lua_State *L) {
	struct engine *e = check_engine(L);
	if (e->finished)
		(void)SSL_shutdown(e->ssl); /* its answer only says whether the peer did the same */
	ERR_clear_error();
	push_outgoing(L, e);
	return 1;
}

/* tls:ended() -> has the peer said that nothing follows */
static int
lended(lua_State *L) {
	struct engine *e = check_engine(L);
	lua_pushboolean(L, SSL_get_shutdown(e->ssl) & SSL_RECEIVED_SHUTDOWN);
	return 1;
}

/* Is it an address rather than a name? */
static bool
is_ip(const char *host) {
	unsigned char address[16];
	return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* tls:set_ext_host_name(name) -> 1 */
static int
lset_ext_host_name(lua_State *L) {
	struct engine *e = check_engine(L);
	lua_pushinteger(L, SSL_set_tlsext_host_name(e->ssl, luaL_checkstring(L, 2)));
	return 1;
}

/*
 * ---- sessions, for clients that come again ----
 */

/* tls:session() -> bytes, or nil when it can't be resumed */
static int
lsession(lua_State *L) {
	struct engine *e = check_engine(L);
	SSL_SESSION *s = e->finished ? SSL_get0_session(e->ssl) : NULL;
	if (s == NULL || !SSL_SESSION_is_resumable(s))
		return 0;
	int size = i2d_SSL_SESSION(s, NULL);
	if (size <= 0)
		return 0;
	luaL_Buffer b;
	unsigned char *to = (unsigned char *)luaL_buffinitsize(L, &b, (size_t)size);
	i2d_SSL_SESSION(s, &to);
	luaL_pushresultsize(&b, (size_t)size);
	return 1;
}

/* tls:resume(bytes) -> boolean; before the handshake */
static int
lresume(lua_State *L) {
	struct engine *e = check_engine(L);
	size_t size;
	const unsigned char *bytes = (const unsigned char *)luaL_checklstring(L, 2, &size);
	luaL_argcheck(L, size < WRITE_MAX, 2, "not a session");
	SSL_SESSION *s = d2i_SSL_SESSION(NULL, &bytes, (long)size);
	lua_pushboolean(L, s != NULL && SSL_set_session(e->ssl, s) == 1);
	SSL_SESSION_free(s);
	ERR_clear_error();
	return 1;
}

/* tls:reused() -> was a session resumed */
static int
lreused(lua_State *L) {
	lua_pushboolean(L, SSL_session_reused(check_engine(L)->ssl));
	return 1;
}

/* tls:version() -> "TLSv1.3" */
static int
lversion(lua_State *L) {
	lua_pushstring(L, SSL_get_version(check_engine(L)->ssl));
	return 1;
}

/* tls:alpn() -> protocol both sides agreed on, or nil */
static int
lalpn(lua_State *L) {
	const unsigned char *name;
	unsigned int size;
	SSL_get0_alpn_selected(check_engine(L)->ssl, &name, &size);
	if (name == NULL)
		return 0;
	lua_pushlstring(L, (const char *)name, size);
	return 1;
}

/*
 * ---- life ----
 */

static int
lclose(lua_State *L) {
	struct engine *e = luaL_checkudata(L, 1, LTLS_ENGINE);
	SSL_free(e->ssl);
	e->ssl = NULL;
	return 0;
}

/* Name the host that the certificate must be for, and ask for it. */
static bool
set_host(struct engine *e, const char *host, bool verify) {
	X509_VERIFY_PARAM *p = SSL_get0_param(e->ssl);
	if (is_ip(host))
		return !verify || X509_VERIFY_PARAM_set1_ip_asc(p, host) == 1;
	X509_VERIFY_PARAM_set_hostflags(p, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set_tlsext_host_name(e->ssl, host) == 1 &&
	       (!verify || X509_VERIFY_PARAM_set1_host(p, host, 0) == 1);
}

/* newtls("client" | "server", ctx [, hostname]) -> engine */
int
ltls_newtls(lua_State *L) {
	const char *method = luaL_checkstring(L, 1);
	struct ltls_context *c = luaL_checkudata(L, 2, LTLS_CONTEXT);
	const char *host = luaL_optstring(L, 3, NULL);
	bool client = strcmp(method, "client") == 0;
	if (!client && strcmp(method, "server") != 0)
		return luaL_error(L, "invalid method:%s e.g[server, client]", method);
	struct engine *e = lua_newuserdatauv(L, sizeof(*e), 0);
	memset(e, 0, sizeof(*e));
	luaL_setmetatable(L, LTLS_ENGINE);
	ERR_clear_error();
	e->ssl = SSL_new(c->ctx);
	e->in = BIO_new(BIO_s_mem());
	e->out = BIO_new(BIO_s_mem());
	if (e->ssl == NULL || e->in == NULL || e->out == NULL) {
		BIO_free(e->in);
		BIO_free(e->out);
		return luaL_error(L, "SSL_new failed: out of memory");
	}
	SSL_set_bio(e->ssl, e->in, e->out);
	if (client)
		SSL_set_connect_state(e->ssl);
	else
		SSL_set_accept_state(e->ssl);
	if (client && host && !set_host(e, host, c->verify))
		return luaL_error(L, "not a host name: %s", host);
	return 1;
}

void
ltls_open_engine(lua_State *L) {
	static const luaL_Reg methods[] = {
		{"handshake", lhandshake},
		{"finished", lfinished},
		{"read", lread},
		{"write", lwrite},
		{"shutdown", lshutdown},
		{"ended", lended},
		{"session", lsession},
		{"resume", lresume},
		{"reused", lreused},
		{"version", lversion},
		{"alpn", lalpn},
		{"close", lclose},
		{"set_ext_host_name", lset_ext_host_name},
		{NULL, NULL},
	};
	luaL_newmetatable(L, LTLS_ENGINE);
	luaL_newlib(L, methods);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, lclose);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
}
