/*
 * What this runtime offers beyond the classic C interface: for modules that care about latency,
 * memory accounts, bounded waits and orderly ends. Everything here may be called from any thread
 * unless the comment says otherwise. A module that wants to load into other runtimes with the
 * classic interface, too, should not include this file.
 */
#ifndef SKYNET_RUNTIME_H
#define SKYNET_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#define SKYNET_RUNTIME_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

struct skynet_context;

/*
 * Run fn(ud) on this worker after the callback that now runs returns; when the running service
 * is corked, at the end of its batch of messages. Returns 1, or 0 when no service callback runs
 * on this thread: the caller then acts at once.
 */
int skynet_defer(void (*fn)(void *ud), void *ud);

/* Let deferred work wait for the end of the batch. Only on the thread that runs the service. */
void skynet_context_cork(struct skynet_context *context, int on);

/* Have fn called with each handle right after it was retired. Call it before services start. */
void skynet_on_retire(void (*fn)(uint32_t handle));

/*
 * Messages waiting in the service's mailbox, without the one being handled. Exact on the thread
 * that runs the service; from elsewhere what the service last knew.
 */
int skynet_context_mqlen(struct skynet_context *context);

/*
 * Correct the memory charge of a service by `bytes`: negative for a block it allocated and gave
 * to somebody else, positive for one it was given. Use malloc_usable_size for the amount.
 */
void skynet_account(struct skynet_context *context, ptrdiff_t bytes);

/* Monotonic nanoseconds; no system call. */
uint64_t skynet_now_ns(void);

/* End the node in order, as SIGTERM does. */
void skynet_shutdown_request(void);

/* The node's exit code. The first non-zero one stays. */
void skynet_exit_code(int code);

/*
 * Memory accounts. `skynet_memory_each` calls fn for every live service and for the threads that
 * hold memory of their own (pseudo handles from 0xfffffffc on); fn must not call back into it.
 * Without jemalloc it calls nothing.
 */
void skynet_memory_each(void (*fn)(void *ud, uint32_t handle, ptrdiff_t bytes), void *ud);
ptrdiff_t skynet_memory_of(struct skynet_context *context);

/*
 * What each worker does right now: for `threads` in the debug console. Returns 0 past the last
 * worker. handle 0: between messages or idle. since_ns: how long the current message has run.
 */
struct skynet_worker_info {
	uint32_t handle;   /* service whose message is being handled */
	uint32_t source;   /* who sent it */
	uint64_t since_ns; /* how long it has taken so far, to about a millisecond */
	uint64_t messages; /* messages handled since start */
	int sleeping;      /* waits for work */
};
int skynet_worker_inspect(int index, struct skynet_worker_info *info);

/*
 * A C service may export `<name>_stuck(void *inst)`: the watchdog calls it, concurrently with the
 * callback, when one message takes over 5 seconds, after the log line that reports it.
 */
typedef void (*skynet_dl_stuck)(void *inst);

/*
 * Where readiness of sockets comes from. Waiting is a role: at most one thread at a time per
 * index calls wait.
 */
struct poller {
	/*
	 * Wait up to timeout_ns (0: just look, < 0: no limit) and handle what arrived, a bounded
	 * amount. Returns the number of events handled.
	 */
	int (*wait)(int index, int64_t timeout_ns);
	/* Any thread: make the current or the next wait return at once. */
	void (*wake)(int index);
};

/* Implemented by the socket layer; set up before threads start: 0, or -1 after saying why. */
int skynet_socket_setup(int pollers);
int skynet_socket_wait(int index, int64_t timeout_ns);
void skynet_socket_wake(int index);

#ifdef __cplusplus
}
#endif

#endif
