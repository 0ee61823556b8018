/*
 * A C service for specs: sets another service's session counter, so that its wrap-around can be
 * seen. A text message ":hex n" does it; the answer is empty. The other service must be waiting
 * for that answer.
 */
#include "service.h"
#include "skynet_handle.h"
#include "skynet_server.h"

#include <stdlib.h>

static int
on_message(struct skynet_context *ctx, void *ud, int type, int session, uint32_t source,
           const void *msg, size_t sz) {
	(void)ud;
	if (type != PTYPE_TEXT || sz == 0)
		return 0;
	char *end;
	uint32_t handle = (uint32_t)strtoul((const char *)msg + 1, &end, 16);
	struct skynet_context *other = skynet_handle_grab(handle);
	if (other) {
		other->session = (int)strtol(end, NULL, 10);
		skynet_context_release(other);
	}
	(void)skynet_send(ctx, 0, source, PTYPE_RESPONSE, session, NULL, 0);
	return 0;
}

int setsession_init(void *inst, struct skynet_context *ctx, const char *parm);

int
setsession_init(void *inst, struct skynet_context *ctx, const char *parm) {
	(void)inst;
	(void)parm;
	skynet_callback(ctx, NULL, on_message);
	return 0;
}
