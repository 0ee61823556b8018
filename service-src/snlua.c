/*
 * The C service "snlua" under the names that a C service has. The host of a VM itself (snlua/) is
 * part of the executable, where it's compiled together with Lua.
 */
#include "snlua/snlua.h"

struct snlua *snlua_create(void);
int snlua_init(struct snlua *l, struct skynet_context *ctx, const char *param);
void snlua_release(struct snlua *l);
void snlua_signal(struct snlua *l, int signal);
void snlua_stuck(struct snlua *l);

struct snlua *
snlua_create(void) {
	return skynet_snlua_create();
}

int
snlua_init(struct snlua *l, struct skynet_context *ctx, const char *param) {
	return skynet_snlua_init(l, ctx, param);
}

void
snlua_release(struct snlua *l) {
	skynet_snlua_release(l);
}

void
snlua_signal(struct snlua *l, int signal) {
	skynet_snlua_signal(l, signal);
}

void
snlua_stuck(struct snlua *l) {
	skynet_snlua_stuck(l);
}
