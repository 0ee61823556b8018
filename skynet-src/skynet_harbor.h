/* The harbor: messages to services of other nodes, by way of the harbor service. */
#ifndef SKYNET_HARBOR_H
#define SKYNET_HARBOR_H

#include <stddef.h>
#include <stdint.h>

/* harbors, and bytes of a global name */
#define REMOTE_MAX 256
#define GLOBALNAME_LENGTH 16

/* A service of another node, by its handle or, when that is 0, by its name. */
struct remote_name {
	char name[GLOBALNAME_LENGTH]; /* padded with 0, not terminated */
	uint32_t handle;
};

struct remote_message {
	struct remote_name destination;
	const void *message;
	size_t sz;
	int type;
};

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Hand a message to the harbor service; takes rmsg and its payload. Returns 0, or -1 after a log
 * line when it can't be: no harbor service, or a type that never leaves the node.
 */
int skynet_harbor_send(struct remote_message *rmsg, uint32_t source, int session);
int skynet_harbor_message_isremote(uint32_t handle);
void skynet_harbor_init(int harbor);
/* The calling service is the harbor from now on. */
void skynet_harbor_start(void *ctx);
void skynet_harbor_exit(void);

#ifdef __cplusplus
}
#endif

#endif
