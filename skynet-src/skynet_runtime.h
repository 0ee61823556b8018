/*
 * What this runtime offers beyond the classic C interface: for modules that care about
 * latency, memory accounts and orderly ends.
 */
#ifndef SKYNET_RUNTIME_H
#define SKYNET_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct skynet_context;

/*
 * In a message's type, beside PTYPE_TAG_DONTCOPY: the block was allocated with just as many bytes
 * as the message has, so that nobody has to find out. Blocks of more than so many bytes may have
 * more.
 */
#define PTYPE_TAG_SIZED 0x40000
#define PTYPE_SIZED_MAX 1024

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
 * before it's freed: for payloads that stand for something else. One fn for each type; any
 * thread.
 */
void skynet_on_drop(int type, void (*fn)(const void *msg, size_t sz));

/*
 * Keep the message that the service handles now, as if its callback returned 1: its block is the
 * caller's. Only on the service's thread, and while the callback runs.
 */
void skynet_message_keep(struct skynet_context *context);

/* Messages waiting in the service's mailbox; only on its thread. */
int skynet_context_mqlen(struct skynet_context *context);

/* Correct the memory charge of the running service by `bytes` (given away: negative). */
void skynet_account(ptrdiff_t bytes);
/*
 * A block that is handed on inside of a message, as a pointer: its sender gives it, and its
 * receiver takes it, before it's freed. NULL is fine.
 */
void skynet_account_give(void *block);
void skynet_account_take(void *block);

/*
 * For services of which there are thousands: what the next message will touch is likely to be out
 * of the processor's cache by then. Only on the service's thread, while its callback runs. _cold:
 * had the service not run for a while when it got this message? _forget and _warm: note the
 * places in memory that matter, a few dozen lines of it, anew; before its next message after a
 * pause all of them are fetched at once. The addresses are only hints, nothing is read there.
 */
bool skynet_context_cold(struct skynet_context *context);
void skynet_context_forget(struct skynet_context *context);
void skynet_context_warm(struct skynet_context *context, const void *p);

/* What a worker thread does. */
struct skynet_thread_info {
	uint32_t source;      /* whose message it handles */
	uint32_t destination; /* which service does; 0: the worker is idle */
	int type;             /* of the message */
	uint64_t ns;          /* for how long */
};
/* Look at worker `index` (0 is the first). Any thread. Returns -1 past the last one. */
int skynet_thread_info(int index, struct skynet_thread_info *info);

/*
 * When the message began that the service handles now: a coarse stamp that costs no look at a
 * clock. Only on the service's thread.
 */
uint32_t skynet_message_stamp(struct skynet_context *context);
/* Nanoseconds since a stamp was taken, to about a millisecond; wrong after some weeks. */
uint64_t skynet_stamp_age(uint32_t stamp);

/*
 * Log levels. What skynet_error logs has none and is always written; skynet.log (Lua) tags and
 * filters its lines by them.
 */
enum { SKYNET_LOG_DEBUG, SKYNET_LOG_INFO, SKYNET_LOG_WARN, SKYNET_LOG_ERROR };
/* Set the node's log level, unless the argument is none; returns the one in force. Any thread. */
int skynet_log_level(int level);
/* Log lines dropped since this was asked last, because the log queue was full. Any thread. */
unsigned skynet_log_dropped(void);

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
