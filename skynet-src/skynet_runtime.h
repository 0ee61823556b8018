/*
 * What this runtime offers beyond the classic C interface: for modules that care about
 * latency, memory accounts and orderly ends.
 */
#ifndef SKYNET_RUNTIME_H
#define SKYNET_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

struct skynet_context;

/*
 * Run fn(ud) on this worker after the callback that now runs returns (corked services: at the end
 * of the batch). Returns 0 when no service callback runs on this thread; act at once then.
 */
int skynet_defer(void (*fn)(void *ud), void *ud);

/* Let deferred work wait for the end of the batch; only on the service's thread. */
void skynet_context_cork(struct skynet_context *context, int on);

/* fn is called with each handle right after it was retired. At start-up only. */
void skynet_on_retire(void (*fn)(uint32_t handle));

/*
 * fn is called with the payload of every message of this type (0..15) that ends unhandled, just
 * before it's freed: for payloads that stand for something else. One fn for each type; any thread.
 */
void skynet_on_drop(int type, void (*fn)(const void *msg, size_t sz));

/* Messages waiting in the service's mailbox; only on its thread. */
int skynet_context_mqlen(struct skynet_context *context);

/* Correct the memory charge of the running service by `bytes` (given away: negative). */
void skynet_account(ptrdiff_t bytes);

/* Monotonic nanoseconds. */
uint64_t skynet_now_ns(void);

/* End the node in order, as SIGTERM does. */
void skynet_shutdown_request(void);

/* The node's exit code, unless one was set before. */
void skynet_exit_code(int code);

/* Walk the services' memory charges. Returns handles found; fills at most `max` entries. */
int skynet_memory_charges(uint32_t *handle, ptrdiff_t *bytes, int max);
ptrdiff_t skynet_memory_charge(struct skynet_context *context);

#endif
