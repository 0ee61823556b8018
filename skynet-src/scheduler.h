/*
 * The scheduler: workers, their run queues, and how idle workers wait. See scheduler.c.
 */
#ifndef skynet_scheduler_h
#define skynet_scheduler_h

#include <stdbool.h>
#include <stdint.h>

struct skynet_context;

/* Where readiness of sockets comes from. */
struct poller {
	/*
	 * Handle what arrives on poller `index`, waiting up to timeout_ns for it (0: just look,
	 * < 0: for ever). At most one thread at a time per index. Returns events handled.
	 */
	int (*wait)(int index, int64_t timeout_ns);
	/* Any thread: make the current or the next wait return at once. */
	void (*wake)(int index);
};

/*
 * `relief`: how many workers may be added while all of them are stuck. `dedicated` > 0: that many
 * threads of their own poll; 0: idle workers do.
 */
int scheduler_init(int workers, int relief, int dedicated, const struct poller *poller);
int scheduler_start(void); /* create the threads; 0, or -1 */
void scheduler_stop(void); /* any thread: all threads end soon */
void scheduler_join(void);

/* A service has become runnable, and nobody else knows. Any thread. */
void scheduler_ready(struct skynet_context *ctx);

/* On the worker that runs it: a service is done with its messages for now; the scheduler learns
   how long it went on after it had woken others. */
void scheduler_batch_over(struct skynet_context *ctx, uint64_t now);

/* Is something else waiting for this worker? */
bool scheduler_pressed(void);

/* Does a worker call? Others have nobody who looks at the timers after them. */
bool scheduler_is_worker(void);
/* Make whoever waits for the next timer look again. Any thread, after its change. */
void scheduler_wake(void);

/* The message this worker begins, at that time, and its end; for those who look at workers. */
void scheduler_begin(uint32_t source, uint32_t destination, int type, uint64_t ticks);
void scheduler_end(void);

/* A short look at a worker, from any thread; returns false past the last one. */
struct worker_state {
	unsigned version;
	uint32_t source;
	uint32_t destination; /* 0: no message is being handled */
	int type;
	uint64_t since; /* ticks when it began */
};
bool scheduler_inspect(int worker, struct worker_state *state);
/*
 * So many workers, relief workers included, are in messages that don't end. If that's all of
 * them, one is added (up to a number); if one of those that there should be is free, those added
 * end. On the watchdog.
 */
void scheduler_relieve(int stuck);
/* What nobody else notices while workers are busy; returns false when all are idle. */
bool scheduler_rescue(void);

#endif
