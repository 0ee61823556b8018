#include "skynet_harbor.h"

#include "account.h"
#include "skynet.h"
#include "skynet_handle.h"
#include "skynet_server.h"

#include <stdatomic.h>

static _Atomic(struct skynet_context *) harbor;
static uint32_t local; /* harbor id in the top byte; ~0: none */

int
skynet_harbor_send(struct remote_message *rmsg, uint32_t source, int session) {
	struct skynet_context *ctx = atomic_load(&harbor);
	const char *why = NULL;
	if (ctx == NULL)
		why = "there is no harbor service";
	else if (rmsg->type == PTYPE_SYSTEM || rmsg->type == PTYPE_HARBOR)
		why = "system messages stay on their node";
	if (why) {
		skynet_error(NULL, "error: can't send a message of type %d to :%08x from :%08x: %s",
		             rmsg->type, rmsg->destination.handle, source, why);
		account_free((void *)rmsg->message);
		account_free(rmsg);
		return -1;
	}
	skynet_context_send(ctx, rmsg, sizeof(*rmsg), source, PTYPE_SYSTEM, session);
	return 0;
}

int
skynet_harbor_message_isremote(uint32_t handle) {
	uint32_t h = handle & ~(uint32_t)HANDLE_MASK;
	return h != local && h != 0;
}

void
skynet_harbor_init(int id) {
	local = (uint32_t)(id & 0xff) << HANDLE_REMOTE_SHIFT;
}

void
skynet_harbor_start(void *ctx) {
	skynet_context_reserve(ctx);
	atomic_store(&harbor, ctx);
}

void
skynet_harbor_exit(void) {
	struct skynet_context *ctx = atomic_exchange(&harbor, NULL);
	if (ctx)
		skynet_context_release(ctx);
}
