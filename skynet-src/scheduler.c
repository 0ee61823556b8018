/*
 * The scheduler.
 *
 * Each worker has a run queue of services and one `next` slot for the service that was woken
 * last: a request and its answer run back to back on a warm cache. Idle workers steal from the
 * others; threads that aren't workers put services into a shared injection queue.
 *
 * Waiting is a role. One idle worker at a time waits in the poller, with the next timer's expiry
 * as its time-out, and runs what arrives itself; the other idle workers are parked on futexes.
 * While all are busy, each looks at the poller and the timers between batches.
 *
 * Waking. A worker that wants to sleep first announces itself in `sleepers`, then looks for work
 * once more, and only then sleeps. Who makes a service runnable publishes it first and reads
 * `sleepers` second. Whichever way the two interleave, one sees the other. A worker that was
 * woken counts as `searching` until it found something, and wakes the next one itself if there's
 * more; so a burst wakes workers one after another instead of all at once.
 *
 * The next slot belongs to its worker until that has run something for STALE ticks; then anyone
 * who searches may take it.
 * Filling it costs no wake-up, since most senders end soon and the worker gets there itself. Some
 * go on for long: they send and then compute. So each service has a record of how long it went
 * on after it had made another one runnable (`lingers`: the longest, fading with each time it was
 * shorter), and while workers sleep, what a lingering service wakes is queued for them at once.
 *
 * What this doesn't catch (a service that lingers once in a hundred times, a worker that left
 * the poller to run something long) is found by the watchdog within about a millisecond:
 * scheduler_rescue.
 *
 * When every worker is in a message that doesn't end, the watchdog adds relief workers, one after
 * another, so that the rest of the node goes on and somebody can look at it: scheduler_relieve.
 * They end when a worker is free again.
 */
#include "scheduler.h"

#include "clock.h"
#include "epoch.h"
#include "futex.h"
#include "service.h"
#include "skynet_imp.h"
#include "skynet_server.h"
#include "spinlock.h"
#include "timer.h"
#include "watchdog.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#define NEXT_STREAK 32 /* services run from the next slot before the queue gets a turn */
#define STEAL_MAX 16

/* ticks of the processor's counter: about 3 per ns on x86 */
#if defined(__x86_64__)
#define TICKS_US 3000
#else
#define TICKS_US 1000
#endif
#define LOOK_TICKS (100 * TICKS_US)
#define STALE (10 * TICKS_US) /* a next slot this old may be taken by others */
#define HANDOVER_GAP (50 * TICKS_US)
#define LINGERS (15 * TICKS_US) /* a sender that goes on for longer lets others have the work */

struct queue {
	struct spinlock lock;
	struct skynet_context *first, *last;
	atomic_int length; /* read without the lock, as a hint */
};

struct worker {
	_Atomic(struct skynet_context *) next;
	_Atomic uint64_t began; /* when it took up what it does now */
	uint64_t handed;        /* when it last woke another for what it made runnable */
	uint64_t woke; /* when its service first made another runnable while workers slept, or 0 */
	struct queue queue;
	/* what it does, for the watchdog; relaxed: a diagnosis, not a decision */
	atomic_uint version;
	_Atomic uint32_t source;
	_Atomic uint32_t destination;
	_Atomic uint32_t type;
	_Atomic uint64_t since; /* ticks when that message began */
	atomic_uint signal;     /* futex: 1 when woken */
	struct worker *parked_next;
	uint64_t looked;
	int streak;
	int index;
	pthread_t thread;
	bool started;        /* it has a thread that wasn't joined */
	atomic_bool running; /* a relief worker, and it's at work */
	char pad[64];
};

static struct {
	struct worker *worker;
	int workers;
	int most;         /* with relief workers, which follow the others */
	atomic_int slots; /* with those that there are or were */
	int dedicated;
	pthread_t *pollers;
	struct poller poller;
	struct queue injected;

	atomic_int sleepers;             /* workers that announced to sleep, or do */
	atomic_int searching;            /* woken, and looking for work */
	atomic_int role;                 /* the waiting role is taken */
	_Atomic(struct worker *) keeper; /* ... and its holder may be asleep in it */
	struct spinlock park_lock;
	struct worker *parked;
	atomic_bool quit;

	pthread_mutex_t relief_lock; /* of making threads, once the node runs */
	atomic_bool relieved;        /* relief workers aren't needed any more */
	bool exhausted;              /* it was said that there are no more of them */
} S = {.relief_lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local struct worker *self;

static int
slots(void) {
	/* relaxed: a worker that isn't seen yet has nothing that others wait for */
	return atomic_load_explicit(&S.slots, memory_order_relaxed);
}

/*
 * ---- queues ----
 */

static void
queue_push(struct queue *q, struct skynet_context *ctx) {
	ctx->run_next = NULL;
	spinlock_lock(&q->lock);
	if (q->first)
		q->last->run_next = ctx;
	else
		q->first = ctx;
	q->last = ctx;
	atomic_store_explicit(&q->length, atomic_load_explicit(&q->length, memory_order_relaxed) + 1,
	                      memory_order_relaxed);
	spinlock_unlock(&q->lock);
}

static struct skynet_context *
queue_pop(struct queue *q) {
	if (atomic_load_explicit(&q->length, memory_order_relaxed) == 0)
		return NULL;
	spinlock_lock(&q->lock);
	struct skynet_context *ctx = q->first;
	if (ctx) {
		q->first = ctx->run_next;
		atomic_store_explicit(&q->length,
		                      atomic_load_explicit(&q->length, memory_order_relaxed) - 1,
		                      memory_order_relaxed);
	}
	spinlock_unlock(&q->lock);
	return ctx;
}

/* Take half of a queue, up to a limit: the first is returned, the rest goes to our queue. */
static struct skynet_context *
queue_share(struct queue *from, struct worker *w) {
	int n = atomic_load_explicit(&from->length, memory_order_relaxed);
	if (n == 0)
		return NULL;
	struct skynet_context *ctx = queue_pop(from);
	n /= 2;
	for (int i = 1; ctx && i < n && i < STEAL_MAX; i++) {
		struct skynet_context *more = queue_pop(from);
		if (more == NULL)
			break;
		queue_push(&w->queue, more);
	}
	return ctx;
}

static bool
work_available(void) {
	if (atomic_load_explicit(&S.injected.length, memory_order_relaxed) > 0)
		return true;
	for (int i = 0; i < slots(); i++) {
		if (atomic_load_explicit(&S.worker[i].queue.length, memory_order_relaxed) > 0)
			return true;
	}
	return false;
}

/*
 * ---- waking ----
 */

static struct worker *
unpark_one(void) {
	spinlock_lock(&S.park_lock);
	struct worker *w = S.parked;
	if (w)
		S.parked = w->parked_next;
	spinlock_unlock(&S.park_lock);
	return w;
}

/* Wake the worker that holds the waiting role, if it may be asleep. */
static void
wake_keeper(void) {
	struct worker *w = atomic_load(&S.keeper);
	if (w == NULL)
		return;
	if (S.dedicated == 0) {
		S.poller.wake(0);
	} else {
		/* release: pairs with the load in wait_in_role */
		atomic_store_explicit(&w->signal, 1, memory_order_release);
		futex_wake(&w->signal);
	}
}

static void
wake_worker(void) {
	struct worker *w = unpark_one();
	if (w) {
		/* release: pairs with the load in park; it counts as searching from now on */
		atomic_fetch_add(&S.searching, 1);
		atomic_store_explicit(&w->signal, 1, memory_order_release);
		futex_wake(&w->signal);
	} else {
		wake_keeper();
	}
}

static void
notify(void) {
	/* seq_cst: our work is published before we look for sleepers; pairs with announce */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&S.sleepers, memory_order_relaxed) == 0)
		return;
	if (atomic_load_explicit(&S.searching, memory_order_relaxed) > 0)
		return;
	wake_worker();
}

/*
 * While others sleep: would a service in the next slot wait too long for the one that runs here
 * to end? Then it's somebody else's at once; but not too often, as a burst of wake-ups costs more
 * than what they win.
 */
static bool
hand_over(struct worker *w) {
	const struct skynet_context *sender = service_running();
	if (sender == NULL)
		return false;
	if (w->woke == 0)
		w->woke = clock_ticks();
	if (sender->lingers <= LINGERS)
		return false;
	uint64_t now = clock_ticks();
	if (now - w->handed < HANDOVER_GAP)
		return false;
	w->handed = now;
	return true;
}

void
scheduler_ready(struct skynet_context *ctx) {
	struct worker *w = self;
	if (w == NULL) {
		queue_push(&S.injected, ctx);
		notify();
		return;
	}
	if (atomic_load_explicit(&S.sleepers, memory_order_relaxed) > 0 && hand_over(w)) {
		queue_push(&w->queue, ctx);
		notify();
		sched_yield(); /* a system may have put the woken one on our processor, behind us */
		return;
	}
	/* acq_rel: whoever takes it from the slot sees the service as we left it */
	struct skynet_context *old = atomic_exchange_explicit(&w->next, ctx, memory_order_acq_rel);
	if (old) {
		queue_push(&w->queue, old);
		notify();
	}
}

void
scheduler_batch_over(struct skynet_context *ctx, uint64_t now) {
	struct worker *w = self;
	if (w == NULL || w->woke == 0)
		return;
	uint64_t went_on = now > w->woke ? now - w->woke : 0;
	uint64_t faded = ctx->lingers - ctx->lingers / 8;
	ctx->lingers = went_on > faded ? went_on : faded;
	w->woke = 0;
}

bool
scheduler_pressed(void) {
	struct worker *w = self;
	return w && (atomic_load_explicit(&w->next, memory_order_relaxed) != NULL ||
	             atomic_load_explicit(&w->queue.length, memory_order_relaxed) > 0 ||
	             atomic_load_explicit(&S.injected.length, memory_order_relaxed) > 0);
}

bool
scheduler_is_worker(void) {
	return self != NULL;
}

void
scheduler_wake(void) {
	/* seq_cst: the caller's change comes before this look; pairs with wait_in_role, which names
	   itself before it reads how long to wait */
	atomic_thread_fence(memory_order_seq_cst);
	wake_keeper();
}

/*
 * ---- finding work ----
 */

static struct skynet_context *
take_next(struct worker *w) {
	if (atomic_load_explicit(&w->next, memory_order_relaxed) == NULL)
		return NULL;
	return atomic_exchange_explicit(&w->next, NULL, memory_order_acq_rel);
}

static struct skynet_context *
find_own(struct worker *w) {
	struct skynet_context *ctx;
	if (w->streak < NEXT_STREAK && (ctx = take_next(w)) != NULL) {
		w->streak++;
		return ctx;
	}
	w->streak = 0;
	if ((ctx = queue_pop(&w->queue)) != NULL)
		return ctx;
	return take_next(w);
}

static struct skynet_context *
steal_queued(struct worker *w) {
	const int n = slots();
	struct skynet_context *ctx = queue_share(&S.injected, w);
	for (int i = 1; ctx == NULL && i < n; i++) {
		struct worker *victim = &S.worker[(w->index + i) % n];
		ctx = queue_share(&victim->queue, w);
	}
	return ctx;
}

/* Take a next slot that its worker doesn't get to. */
static struct skynet_context *
steal_next(struct worker *w) {
	const int n = slots();
	uint64_t now = clock_ticks();
	for (int i = 1; i < n; i++) {
		struct worker *victim = &S.worker[(w->index + i) % n];
		if (atomic_load_explicit(&victim->next, memory_order_relaxed) == NULL)
			continue;
		uint64_t began = atomic_load_explicit(&victim->began, memory_order_relaxed);
		if ((int64_t)(now - began) < STALE)
			continue;
		struct skynet_context *ctx = take_next(victim);
		if (ctx)
			return ctx;
	}
	return NULL;
}

static struct skynet_context *
steal(struct worker *w) {
	struct skynet_context *ctx = steal_queued(w);
	return ctx ? ctx : steal_next(w);
}

/* Look at the poller, unless somebody waits in it, and at the timers. */
static void
look_around(struct worker *w, uint64_t now) {
	w->looked = now;
	timer_advance();
	/* injected services must not wait for this worker to run dry */
	struct skynet_context *ctx = queue_pop(&S.injected);
	if (ctx)
		queue_push(&w->queue, ctx);
	if (S.dedicated > 0 || atomic_load_explicit(&S.role, memory_order_relaxed))
		return;
	if (atomic_exchange_explicit(&S.role, 1, memory_order_acquire) == 0) {
		S.poller.wait(0, 0);
		atomic_store_explicit(&S.role, 0, memory_order_release);
	}
}

/*
 * ---- sleeping ----
 */

static void
announce(void) {
	/* seq_cst: announced before the last look; pairs with the fence in notify */
	atomic_fetch_add(&S.sleepers, 1);
	atomic_thread_fence(memory_order_seq_cst);
}

static void
withdraw(void) {
	atomic_fetch_sub(&S.sleepers, 1);
}

/* Wait in the poller as the one that holds the role. Returns counted as searching. */
static void
wait_in_role(struct worker *w) {
	atomic_store_explicit(&w->signal, 0, memory_order_relaxed);
	atomic_store(&S.keeper, w);
	announce();
	if (!work_available() && !atomic_load(&S.quit)) {
		int64_t timeout = timer_wait_ns();
		if (S.dedicated == 0)
			S.poller.wait(0, timeout);
		else if (atomic_load_explicit(&w->signal, memory_order_acquire) == 0)
			futex_wait(&w->signal, 0, timeout);
	}
	atomic_fetch_add(&S.searching, 1);
	withdraw();
	atomic_store(&S.keeper, NULL);
	atomic_store_explicit(&S.role, 0, memory_order_release);
	timer_advance();
}

static bool
unlink_parked(struct worker *w) {
	bool found = false;
	spinlock_lock(&S.park_lock);
	for (struct worker **p = &S.parked; *p; p = &(*p)->parked_next) {
		if (*p == w) {
			*p = w->parked_next;
			found = true;
			break;
		}
	}
	spinlock_unlock(&S.park_lock);
	return found;
}

/* Sleep until woken. Returns with this worker counted as searching. */
static void
park(struct worker *w) {
	atomic_store(&w->signal, 0);
	spinlock_lock(&S.park_lock);
	w->parked_next = S.parked;
	S.parked = w;
	spinlock_unlock(&S.park_lock);
	announce();
	bool stay = !work_available() && !atomic_load(&S.quit) && atomic_load(&S.role);
	if (!stay && unlink_parked(w)) {
		withdraw();
		atomic_fetch_add(&S.searching, 1);
		return;
	}
	while (atomic_load_explicit(&w->signal, memory_order_acquire) == 0)
		futex_wait(&w->signal, 0, -1);
	withdraw();
}

/* Nothing to run: take the waiting role or park. Returns counted as searching. */
static void
sleep_idle(struct worker *w) {
	epoch_leave();
	epoch_collect();
	watchdog_idle(w->index);
	if (atomic_exchange_explicit(&S.role, 1, memory_order_acquire) == 0) {
		wait_in_role(w);
	} else {
		if (timer_due_sooner())
			wake_keeper();
		park(w);
	}
	watchdog_busy(w->index);
	epoch_enter();
}

static uint64_t
begin_work(struct worker *w, uint64_t now) {
	atomic_store_explicit(&w->began, now, memory_order_relaxed);
	return now;
}

static struct skynet_context *
find_work(struct worker *w, bool searching, uint64_t *now) {
	struct skynet_context *ctx = find_own(w);
	if (ctx == NULL) {
		ctx = steal(w);
		*now = begin_work(w, clock_ticks());
	}
	/* the last searcher hands on what it leaves behind */
	if (searching && atomic_fetch_sub(&S.searching, 1) == 1 && ctx && work_available())
		notify();
	return ctx;
}

static bool
may_go_on(const struct worker *w) {
	if (atomic_load_explicit(&S.quit, memory_order_relaxed))
		return false;
	return w->index < S.workers || !atomic_load_explicit(&S.relieved, memory_order_relaxed);
}

/* A relief worker ends: what it had is somebody else's, and so is the waiting role. */
static void
hand_back(struct worker *w, bool searching) {
	struct skynet_context *ctx;
	while ((ctx = find_own(w)) != NULL)
		queue_push(&S.injected, ctx);
	if (searching)
		atomic_fetch_sub(&S.searching, 1);
	watchdog_idle(w->index);
	wake_worker();
	atomic_store(&w->running, false);
}

static void *
worker_main(void *p) {
	struct worker *w = p;
	bool searching = false;
	self = w;
	skynet_initthread(THREAD_WORKER);
	epoch_enter();
	watchdog_busy(w->index);
	uint64_t now = begin_work(w, clock_ticks());
	while (may_go_on(w)) {
		struct skynet_context *ctx = find_work(w, searching, &now);
		searching = ctx == NULL;
		if (ctx == NULL) {
			sleep_idle(w);
			now = begin_work(w, clock_ticks());
			continue;
		}
		now = begin_work(w, service_run(ctx, now));
		if (now - w->looked > LOOK_TICKS) {
			epoch_leave();
			epoch_collect();
			epoch_enter();
			look_around(w, now);
			now = begin_work(w, clock_ticks());
		}
	}
	if (w->index >= S.workers)
		hand_back(w, searching);
	epoch_leave();
	mailbox_thread_ends();
	return NULL;
}

static void *
poller_main(void *p) {
	int index = (int)(intptr_t)p;
	skynet_initthread(THREAD_SOCKET);
	while (!atomic_load_explicit(&S.quit, memory_order_relaxed)) {
		S.poller.wait(index, -1);
		epoch_collect();
	}
	return NULL;
}

/*
 * ---- the watchdog's view ----
 */

/* One writer, hence no read-modify-write. */
static void
next_version(struct worker *w) {
	unsigned v = atomic_load_explicit(&w->version, memory_order_relaxed);
	atomic_store_explicit(&w->version, v + 1, memory_order_relaxed);
}

void
scheduler_begin(uint32_t source, uint32_t destination, int type, uint64_t ticks) {
	struct worker *w = self;
	if (w == NULL)
		return;
	next_version(w);
	atomic_store_explicit(&w->source, source, memory_order_relaxed);
	atomic_store_explicit(&w->type, (uint32_t)type, memory_order_relaxed);
	atomic_store_explicit(&w->since, ticks, memory_order_relaxed);
	atomic_store_explicit(&w->destination, destination, memory_order_relaxed);
}

void
scheduler_end(void) {
	struct worker *w = self;
	if (w == NULL)
		return;
	next_version(w);
	atomic_store_explicit(&w->destination, 0, memory_order_relaxed);
}

bool
scheduler_inspect(int worker, struct worker_state *state) {
	if (worker >= slots())
		return false;
	struct worker *w = &S.worker[worker];
	/* a message that ended between two of the loads would mix two: look again, but not for ever
	 */
	for (int tries = 0; tries < 8; tries++) {
		state->version = atomic_load_explicit(&w->version, memory_order_relaxed);
		state->source = atomic_load_explicit(&w->source, memory_order_relaxed);
		state->type = (int)atomic_load_explicit(&w->type, memory_order_relaxed);
		state->since = atomic_load_explicit(&w->since, memory_order_relaxed);
		state->destination = atomic_load_explicit(&w->destination, memory_order_relaxed);
		if (state->version == atomic_load_explicit(&w->version, memory_order_relaxed))
			break;
	}
	return true;
}

/* A service in the next slot of a worker that's at something long goes where others take it. */
static bool
rescue_next(struct worker *w) {
	if (atomic_load_explicit(&w->next, memory_order_relaxed) == NULL)
		return false;
	uint64_t began = atomic_load_explicit(&w->began, memory_order_relaxed);
	if ((int64_t)(clock_ticks() - began) < STALE)
		return false;
	struct skynet_context *ctx = take_next(w);
	if (ctx)
		queue_push(&S.injected, ctx);
	return ctx != NULL;
}

bool
scheduler_rescue(void) {
	bool found = false;
	for (int i = 0; i < slots(); i++)
		found |= rescue_next(&S.worker[i]);
	if (work_available())
		found = true;
	int idle = atomic_load(&S.sleepers);
	if (idle == 0 && S.dedicated == 0 && atomic_exchange(&S.role, 1) == 0) {
		/* every worker is busy, perhaps stuck: look in their place */
		S.poller.wait(0, 0);
		timer_advance();
		atomic_store_explicit(&S.role, 0, memory_order_release);
	} else if (idle > 0 && (found || !atomic_load(&S.role) || timer_is_due())) {
		wake_worker();
	}
	return idle < S.workers;
}

static int
start_worker(struct worker *w) {
	if (w->started)
		(void)pthread_join(w->thread, NULL); /* it has handed back all it had */
	w->started = pthread_create(&w->thread, NULL, worker_main, w) == 0;
	return w->started ? 0 : -1;
}

/* One more worker; -1: there are enough, or the system gives no thread. */
static int
add_relief(void) {
	for (int i = S.workers; i < S.most; i++) {
		struct worker *w = &S.worker[i];
		if (atomic_load(&w->running))
			continue;
		atomic_store(&S.relieved, false);
		atomic_store(&w->running, true);
		if (i >= slots())
			atomic_store(&S.slots, i + 1);
		if (start_worker(w) == 0)
			return 0;
		atomic_store(&w->running, false);
		break;
	}
	return -1;
}

static int
workers_now(void) {
	int n = S.workers;
	for (int i = S.workers; i < slots(); i++)
		n += atomic_load(&S.worker[i].running);
	return n;
}

void
scheduler_relieve(int stuck) {
	if (S.most == S.workers)
		return;
	if (stuck < S.workers) {
		if (!atomic_load(&S.relieved))
			atomic_store(&S.relieved, true);
		S.exhausted = false;
		return;
	}
	pthread_mutex_lock(&S.relief_lock);
	const int n = workers_now();
	if (stuck >= n && !S.exhausted && !atomic_load(&S.quit)) {
		S.exhausted = add_relief() != 0;
		if (S.exhausted) /* not even the logger runs */
			fprintf(stderr,
			        "error: All %d workers are in messages that don't end, and there can't be "
			        "more of them: nothing else runs\n",
			        n);
		else
			skynet_error(NULL,
			             "error: All %d workers are in messages that don't end: one more goes on "
			             "with the rest",
			             n);
	}
	pthread_mutex_unlock(&S.relief_lock);
}

/*
 * ---- start and end ----
 */

int
scheduler_init(int workers, int relief, int dedicated, const struct poller *poller) {
	S.most = workers + relief;
	S.worker = skynet_calloc((size_t)S.most, sizeof(*S.worker));
	S.pollers = skynet_calloc((size_t)dedicated + 1, sizeof(*S.pollers));
	if (S.worker == NULL || S.pollers == NULL)
		return -1;
	S.workers = workers;
	atomic_init(&S.slots, workers);
	S.dedicated = dedicated;
	S.poller = *poller;
	for (int i = 0; i < S.most; i++)
		S.worker[i].index = i;
	return 0;
}

int
scheduler_start(void) {
	for (int i = 0; i < S.workers; i++) {
		if (start_worker(&S.worker[i]) != 0)
			return -1;
	}
	for (int i = 0; i < S.dedicated; i++) {
		if (pthread_create(&S.pollers[i], NULL, poller_main, (void *)(intptr_t)i) != 0)
			return -1;
	}
	return 0;
}

void
scheduler_stop(void) {
	atomic_store(&S.quit, true);
	for (int i = 0; i < slots(); i++) {
		atomic_store_explicit(&S.worker[i].signal, 1, memory_order_release);
		futex_wake(&S.worker[i].signal);
	}
	for (int i = 0; i < (S.dedicated ? S.dedicated : 1); i++)
		S.poller.wake(i);
}

void
scheduler_join(void) {
	for (int i = 0; i < S.workers; i++)
		pthread_join(S.worker[i].thread, NULL);
	pthread_mutex_lock(&S.relief_lock); /* it knows by now that no more may start */
	pthread_mutex_unlock(&S.relief_lock);
	for (int i = S.workers; i < slots(); i++) {
		if (S.worker[i].started)
			pthread_join(S.worker[i].thread, NULL);
	}
	for (int i = 0; i < S.dedicated; i++)
		pthread_join(S.pollers[i], NULL);
}
