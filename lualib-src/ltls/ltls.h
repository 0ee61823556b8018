/*
 * What the files of module ltls share.
 */
#ifndef ltls_ltls_h
#define ltls_ltls_h

#include <lauxlib.h>
#include <lua.h>
#include <openssl/ssl.h>
#include <stdbool.h>

#define LTLS_CONTEXT "_TLS_SSLCTX_METATABLE_"
#define LTLS_ENGINE "_TLS_CONTEXT_METATABLE_"

struct ltls_context {
	SSL_CTX *ctx;
	bool verify; /* peers must show a certificate that holds */
};

/* Has the process been set up, see init.c? Any thread. */
bool ltls_ready(void);
/* Keys of session tickets, the same in the whole process; false when there are none. */
bool ltls_ticket_keys(SSL_CTX *ctx);

/* Push "TEXT (reason)" where OpenSSL has queued one; empties its queue. */
void ltls_push_error(lua_State *L, const char *text, const char *detail);

/* Register the metatables. */
void ltls_open_context(lua_State *L);
void ltls_open_engine(lua_State *L);
int ltls_newctx(lua_State *L);
int ltls_newtls(lua_State *L);

#endif
