/*
 * The runtime's interface for C services.
 *
 * A C service is a shared object with `<name>_init` and, optionally, `<name>_create`,
 * `<name>_release` and `<name>_signal`. It needs nothing at link time: the executable exports
 * what is declared here.
 */
#ifndef SKYNET_H
#define SKYNET_H

#include "skynet_malloc.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PTYPE_TEXT 0
#define PTYPE_RESPONSE 1
#define PTYPE_MULTICAST 2
#define PTYPE_CLIENT 3
#define PTYPE_SYSTEM 4
#define PTYPE_HARBOR 5
#define PTYPE_SOCKET 6
#define PTYPE_ERROR 7
#define PTYPE_RESERVED_QUEUE 8
#define PTYPE_RESERVED_DEBUG 9
#define PTYPE_RESERVED_LUA 10
#define PTYPE_RESERVED_SNAX 11

/* Or-ed into a message type: the block `msg` is given away, whatever the result. */
#define PTYPE_TAG_DONTCOPY 0x10000
/* Allocate a fresh session of the sending service; `session` must be 0. */
#define PTYPE_TAG_ALLOCSESSION 0x20000

struct skynet_context;

/*
 * Log a line, printf style, as coming from `context` (NULL: from the node itself). Any thread.
 * The format "%*s" takes (int length, const char *bytes) and logs just those bytes.
 */
void skynet_error(struct skynet_context *context, const char *msg, ...);

/*
 * Run a text command. Only from the thread that runs the service. The result, NULL if there is
 * none, is valid until the service's next command.
 */
const char *skynet_command(struct skynet_context *context, const char *cmd, const char *parm);

/* Handle of ":hex" or ".name"; 0 when there is none. */
uint32_t skynet_queryname(struct skynet_context *context, const char *name);

/*
 * Send a message. `source` 0 means the service itself. Returns the session, -1 when the
 * destination doesn't exist, -2 when the message is too large,
 * -3 when its mailbox is full and rejects (a limit that the service has set itself).
 */
int skynet_send(struct skynet_context *context, uint32_t source, uint32_t destination, int type,
                int session, void *msg, size_t sz);
int skynet_sendname(struct skynet_context *context, uint32_t source, const char *destination,
                    int type, int session, void *msg, size_t sz);

/* Is the handle on another harbor? Stores its harbor id when `harbor` isn't NULL. */
int skynet_isremote(struct skynet_context *context, uint32_t handle, int *harbor);

/* Handles a message; returns 0 to have `msg` freed, else the service owns it from then on. */
typedef int (*skynet_cb)(struct skynet_context *context, void *ud, int type, int session,
                         uint32_t source, const void *msg, size_t sz);

/* Set the service's callback; only from its own thread, or in its init. */
void skynet_callback(struct skynet_context *context, void *ud, skynet_cb cb);

/* Handle of the service whose code this thread ran last. */
uint32_t skynet_current_handle(void);

/* Node time in centiseconds; monotonic. */
uint64_t skynet_now(void);

/* Print the memory charged to the current service to stderr. */
void skynet_debug_memory(const char *info);

#ifdef __cplusplus
}
#endif

#endif
