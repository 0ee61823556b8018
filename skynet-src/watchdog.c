/*
 * The watchdog: a thread that looks after what no worker notices.
 *
 * While workers are busy it looks every millisecond: for services stranded behind a stuck one,
 * for sockets and timers nobody serves (scheduler_rescue), and for single messages that take
 * more than 5 seconds; when all workers are in such, it has others go on (scheduler_relieve).
 * When the node has been idle for a while it sleeps without a time-out, so an idle process has no
 * wake-ups; the first worker that gets busy again wakes it.
 */
#include "watchdog.h"

#include "clock.h"
#include "futex.h"
#include "scheduler.h"
#include "skynet.h"
#include "skynet_imp.h"
#include "skynet_server.h"

#include <pthread.h>
#include <stdbool.h>

#define ROUND_NS 1000000
#define LINGER 50 /* idle rounds before it sleeps for good */
#define STUCK_NS 5000000000u

struct watched {
	unsigned version;
	uint64_t since; /* when this message was first seen */
	uint64_t reported;
};

static struct {
	pthread_t thread;
	struct watched *worker;
	int workers;
	atomic_int busy;    /* workers that have work */
	atomic_uint asleep; /* futex: 1 while it sleeps for good */
	atomic_bool quit;
	void (*round)(void);
} W;

static void
wake(void) {
	if (atomic_exchange(&W.asleep, 0) == 1)
		futex_wake(&W.asleep);
}

void
watchdog_busy(int worker) {
	(void)worker;
	/* seq_cst: busy before the test of asleep; pairs with sleep_for_good */
	atomic_fetch_add(&W.busy, 1);
	if (atomic_load(&W.asleep))
		wake();
}

void
watchdog_idle(int worker) {
	(void)worker;
	atomic_fetch_sub(&W.busy, 1);
}

void
watchdog_poke(void) {
	wake();
}

void
watchdog_on_round(void (*fn)(void)) {
	W.round = fn;
}

static void
sleep_for_good(void) {
	atomic_store(&W.asleep, 1);
	if (W.round)
		W.round(); /* a signal may have come before we said that we sleep */
	if (atomic_load(&W.busy) > 0 || atomic_load(&W.quit)) {
		atomic_store(&W.asleep, 0);
		return;
	}
	while (atomic_load(&W.asleep))
		futex_wait(&W.asleep, 1, -1);
}

/* Has this worker been at one message for too long? */
static bool
check_worker(int i, uint64_t now) {
	struct worker_state s;
	struct watched *w = &W.worker[i];
	if (!scheduler_inspect(i, &s))
		return false;
	if (s.destination == 0 || s.version != w->version) {
		w->version = s.version;
		w->since = w->reported = now;
		return false;
	}
	if (now - w->reported < STUCK_NS)
		return now - w->since >= STUCK_NS;
	w->reported = now;
	skynet_error(NULL,
	             "error: A message from [ :%08x ] to [ :%08x ] maybe in an endless loop "
	             "(version = %d)",
	             s.source, s.destination, (int)s.version);
	skynet_context_endless(s.destination);
	return true;
}

static void *
watchdog_main(void *p) {
	(void)p;
	unsigned never = 0;
	atomic_uint word;
	atomic_init(&word, never);
	skynet_initthread(THREAD_MONITOR);
	for (int idle = 0; !atomic_load(&W.quit);) {
		futex_wait(&word, never, ROUND_NS);
		if (W.round)
			W.round();
		uint64_t now = clock_ns();
		int stuck = 0;
		for (int i = 0; i < W.workers; i++)
			stuck += check_worker(i, now);
		scheduler_relieve(stuck);
		(void)scheduler_rescue();
		idle = atomic_load(&W.busy) > 0 ? 0 : idle + 1;
		if (idle > LINGER) {
			sleep_for_good();
			idle = 0;
		}
	}
	return NULL;
}

int
watchdog_start(int workers) {
	W.worker = skynet_calloc((size_t)workers, sizeof(*W.worker));
	W.workers = workers;
	if (W.worker == NULL)
		return -1;
	return pthread_create(&W.thread, NULL, watchdog_main, NULL);
}

void
watchdog_stop(void) {
	atomic_store(&W.quit, true);
	wake();
	pthread_join(W.thread, NULL);
}
