/*
 * Module ltls.init.c: setting TLS up, once per process. Service ltls_holder calls constructor()
 * when the config says enablessl = true; until then ltls.c refuses to load.
 *
 * Owns the keys of session tickets. They are the process's, not a context's, so that a client
 * can resume its session at any service that serves the same address.
 */
#include "ltls.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define TICKET_KEYS 80

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char ticket_keys[TICKET_KEYS]; /* written under the lock, before `ready` */
static bool have_keys;
/* release in constructor, acquire in ltls_ready: the keys are visible */
static atomic_bool ready;

bool
ltls_ready(void) {
	return atomic_load_explicit(&ready, memory_order_acquire);
}

bool
ltls_ticket_keys(SSL_CTX *ctx) {
	return have_keys && SSL_CTX_set_tlsext_ticket_keys(ctx, ticket_keys, TICKET_KEYS) == 1;
}

void
ltls_push_error(lua_State *L, const char *text, const char *detail) {
	unsigned long e = ERR_peek_error();
	const char *reason = e ? ERR_reason_error_string(e) : NULL;
	if (detail)
		lua_pushfstring(L, "%s (%s)", text, detail);
	else if (reason)
		lua_pushfstring(L, "%s (%s)", text, reason);
	else
		lua_pushstring(L, text);
	ERR_clear_error();
}

/* constructor(): may be called again */
static int
lconstructor(lua_State *L) {
	bool ok = OPENSSL_init_ssl(0, NULL) == 1;
	pthread_mutex_lock(&lock);
	if (ok && !have_keys)
		have_keys = RAND_bytes(ticket_keys, TICKET_KEYS) == 1;
	ok = ok && have_keys;
	pthread_mutex_unlock(&lock);
	if (!ok) {
		ltls_push_error(L, "can't set up TLS", NULL);
		return lua_error(L);
	}
	atomic_store_explicit(&ready, true, memory_order_release);
	return 0;
}

/* destructor(): no more services can load ltls.c; what exists goes on working */
static int
ldestructor(lua_State *L) {
	(void)L;
	atomic_store_explicit(&ready, false, memory_order_release);
	return 0;
}

int luaopen_ltls_init_c(lua_State *L);

int
luaopen_ltls_init_c(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"constructor", lconstructor},
		{"destructor", ldestructor},
		{NULL, NULL},
	};
	luaL_newlib(L, functions);
	return 1;
}
