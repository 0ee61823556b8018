/*
 * Parking and waking: threads that aren't workers, and the workers themselves, make services
 * runnable with every timing that the seed brings, from one at a time (each wakes a sleeper) to
 * floods. A lost wake-up strands a message for good, so the law is: sent = received, in time.
 *
 * The services are of the test's own: a mailbox, and what to send on while it runs. The poller
 * is a futex. The watchdog isn't started: it would cover a lost wake-up up.
 */
#include "clock.h"
#include "futex.h"
#include "mailbox.h"
#include "scheduler.h"
#include "service.h"
#include "skynet_imp.h"
#include "timer.h"
#include "watchdog.h"

#include "epoch.h"
#include "tap.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SERVICES 32
#define LIMIT 120 /* seconds until a message counts as lost */

static struct skynet_context *service[SERVICES];
static atomic_long sent, received;
static atomic_uint poll_word;
static atomic_int twice;      /* a service ran on two workers at once */
static atomic_long passed_on; /* messages that a service waited for, still running */
static _Thread_local struct skynet_context *running;

#define LINGER 1000 /* a message's session: pass it on, and go on until it has been handled */
#define LINGERED 1001

/* ---- what the scheduler needs of the kernel ---- */

void
timer_advance(void) {
}

int64_t
timer_wait_ns(void) {
	return -1;
}

bool
timer_is_due(void) {
	return false;
}

bool
timer_due_sooner(void) {
	return false;
}

void
watchdog_busy(int worker) {
	(void)worker;
}

void
watchdog_idle(int worker) {
	(void)worker;
}

void
skynet_error(struct skynet_context *ctx, const char *msg, ...) {
	(void)ctx;
	(void)msg;
}

void
skynet_initthread(int m) {
	(void)m;
}

static int
poll_wait(int index, int64_t timeout) {
	(void)index;
	if (timeout != 0 && atomic_load(&poll_word) == 0)
		futex_wait(&poll_word, 0, timeout);
	atomic_store(&poll_word, 0);
	return 0;
}

static void
poll_wake(int index) {
	(void)index;
	atomic_store(&poll_word, 1);
	futex_wake(&poll_word);
}

/* ---- services ---- */

/* A message's session says how often it's still passed on, its source by whom next. */
static void
post(uint32_t to, int hops, uint32_t random) {
	struct skynet_message m = {.source = random, .session = hops};
	struct skynet_context *ctx = service[to % SERVICES];
	atomic_fetch_add(&sent, 1);
	epoch_enter();
	if (mailbox_push(&ctx->mailbox, &m))
		scheduler_ready(ctx);
	epoch_leave();
}

static void
begin(struct skynet_context *ctx) {
	if (atomic_exchange(&ctx->endless, true))
		atomic_store(&twice, 1);
}

struct skynet_context *
service_running(void) {
	return running;
}

/* Its worker doesn't get to what it wakes: another one has to. */
static void
linger(struct skynet_context *ctx) {
	long before = atomic_load(&passed_on);
	time_t limit = time(NULL) + LIMIT;
	ctx->lingers = UINT32_MAX;
	post(1, LINGERED, 0);
	while (atomic_load(&passed_on) == before && time(NULL) <= limit)
		atomic_load(&twice);
}

static void
handle(struct skynet_context *ctx, const struct skynet_message *m) {
	uint64_t r = m->source;
	if (m->session == LINGER)
		linger(ctx);
	else if (m->session == LINGERED)
		atomic_fetch_add(&passed_on, 1);
	else if (m->session > 0)
		post((uint32_t)tap_random(&r), m->session - 1, (uint32_t)(r >> 32));
	atomic_fetch_add(&received, 1); /* last: until then what it sends on counts as on its way */
}

static void
batch_over(struct skynet_context *ctx) {
	scheduler_batch_over(ctx, clock_ticks());
	running = NULL;
}

uint64_t
service_run(struct skynet_context *ctx, uint64_t now) {
	struct skynet_message m;
	begin(ctx);
	running = ctx;
	for (int n = 0; n < 16; n++) {
		if (!mailbox_pop(&ctx->mailbox, &m)) {
			batch_over(ctx);
			atomic_store(&ctx->endless, false); /* from rest on another may run it */
			if (mailbox_rest(&ctx->mailbox))
				return now;
			begin(ctx);
			running = ctx;
			continue;
		}
		handle(ctx, &m);
	}
	batch_over(ctx);
	atomic_store(&ctx->endless, false);
	scheduler_ready(ctx);
	return clock_ticks();
}

/* ---- the test ---- */

static bool
all_arrived(void) {
	time_t limit = time(NULL) + LIMIT;
	while (atomic_load(&received) != atomic_load(&sent)) {
		if (time(NULL) > limit)
			return false;
		sched_yield();
	}
	return true;
}

static bool
one_by_one(uint64_t *seed) {
	for (int i = 0; i < 3000; i++) {
		uint64_t r = tap_random(seed);
		post((uint32_t)r, (int)(r >> 32) % 4, (uint32_t)(r >> 40));
		if (!all_arrived())
			return false;
		for (unsigned pause = r % 512; pause > 0; pause--)
			atomic_load(&twice); /* some workers are asleep by now, some are about to */
	}
	return true;
}

static void *
flood(void *p) {
	uint64_t seed = *(uint64_t *)p;
	for (int i = 0; i < 20000; i++) {
		uint64_t r = tap_random(&seed);
		post((uint32_t)r, (int)(r >> 32) % 8, (uint32_t)(r >> 40));
		if (r % 97 == 0)
			sched_yield();
	}
	return NULL;
}

static bool
floods(uint64_t *seed) {
	pthread_t t[3];
	uint64_t s[3];
	for (int i = 0; i < 3; i++) {
		s[i] = tap_random(seed);
		pthread_create(&t[i], NULL, flood, &s[i]);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	return all_arrived();
}

/* Each time long enough after the last that a handover isn't one too many. */
static bool
lingerers(void) {
	for (int i = 0; i < 300; i++) {
		long before = atomic_load(&passed_on);
		post(0, LINGER, 0);
		if (!all_arrived() || atomic_load(&passed_on) == before)
			return false;
		usleep(1000);
	}
	return true;
}

static void
make_services(void) {
	for (int i = 0; i < SERVICES; i++) {
		size_t sz = (sizeof(*service[i]) + 63) / 64 * 64;
		service[i] = skynet_aligned_alloc(64, sz);
		memset(service[i], 0, sz);
		mailbox_init(&service[i]->mailbox);
		mailbox_rest(&service[i]->mailbox);
	}
}

/* In a process of its own: there's one scheduler in each. */
static int
with_workers(int workers, uint64_t seed) {
	static const struct poller poller = {poll_wait, poll_wake};
	printf("# %d workers\n", workers);
	make_services();
	ok(scheduler_init(workers, 0, 0, &poller) == 0 && scheduler_start() == 0, "workers start");
	ok(one_by_one(&seed), "messages to sleeping workers all arrive");
	ok(floods(&seed), "messages of three flooding threads all arrive");
	ok(one_by_one(&seed), "and again one by one, after the flood");
	if (workers > 1)
		ok(lingerers(), "what a service wakes that goes on for long is run by another worker");
	ok(atomic_load(&twice) == 0, "no service ran on two workers at once");
	printf("# %ld messages\n", atomic_load(&sent));
	fflush(stdout);
	if (tap_failed)
		return 1; /* a worker may sleep for good */
	scheduler_stop();
	scheduler_join();
	return 0;
}

int
main(void) {
	static const int workers[] = {1, 2, 4};
	uint64_t seed = tap_seed();
	int failed = 0;
	for (int i = 0; i < 3; i++) {
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0)
			_exit(with_workers(workers[i], seed));
		int status = 0;
		failed |= pid < 0 || waitpid(pid, &status, 0) != pid || status != 0;
	}
	ok(!failed, "with one, two and four workers");
	return done();
}
