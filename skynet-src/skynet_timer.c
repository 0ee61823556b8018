/*
 * Node time and the timer wheel.
 *
 * Time is the monotonic clock, cut to centiseconds; nothing ticks. Timers sit in a wheel: 256
 * near slots of 1 cs, and four coarser levels of 64, each with a bitmap of its occupied slots,
 * so that the next tick at which anything happens is found without walking. Whoever waits, waits
 * until then; whoever looks (workers between batches, the watchdog) advances the wheel straight
 * to the present, jumping from one eventful tick to the next, however long the process slept.
 *
 * Timers of one tick fire in the order they were set. The lock is held for a few instructions
 * per timer; messages are sent after it was released.
 */
#include "timer.h"

#include "account.h"
#include "clock.h"
#include "epoch.h"
#include "scheduler.h"
#include "skynet.h"
#include "skynet_mq.h"
#include "skynet_server.h"
#include "skynet_timer.h"
#include "spinlock.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#define NEAR_BITS 8
#define NEAR (1 << NEAR_BITS)
#define LEVEL_BITS 6
#define LEVEL (1 << LEVEL_BITS)
#define LEVELS 4
#define NEVER UINT64_MAX
#define CS_NS 10000000u

struct timer_node {
	struct timer_node *next;
	uint64_t expire; /* cs */
	uint32_t handle;
	int session;
};

struct list {
	struct timer_node *first, **last;
};

static struct {
	struct spinlock lock;
	uint64_t tick; /* everything up to and including it has fired */
	struct list near[NEAR];
	struct list level[LEVELS][LEVEL];
	uint64_t near_map[NEAR / 64];
	uint64_t level_map[LEVELS];
	_Atomic uint64_t due;   /* tick at which something happens next; NEVER: no timers */
	_Atomic uint64_t armed; /* tick the waiting worker will look again */
	atomic_int advancing;
	uint64_t base_ns; /* monotonic time of node time 0 */
	uint32_t start;   /* unix seconds */
} T;

static uint64_t
current(void) {
	return (clock_ns() - T.base_ns) / CS_NS;
}

static void
list_append(struct list *l, struct timer_node *n) {
	n->next = NULL;
	if (l->first == NULL)
		l->last = &l->first;
	*l->last = n;
	l->last = &n->next;
}

static struct timer_node *
list_take(struct list *l) {
	struct timer_node *n = l->first;
	l->first = NULL;
	return n;
}

/* Lowest bit of a level's shift. */
static int
shift_of(int level) {
	return NEAR_BITS + level * LEVEL_BITS;
}

static void
place(struct timer_node *n) {
	uint64_t e = n->expire;
	if ((e | (NEAR - 1)) == (T.tick | (NEAR - 1))) {
		list_append(&T.near[e & (NEAR - 1)], n);
		T.near_map[(e & (NEAR - 1)) / 64] |= (uint64_t)1 << (e % 64);
		return;
	}
	int i = 0;
	/* the level whose window holds both now and then */
	while (i < LEVELS - 1 && e >> shift_of(i + 1) != T.tick >> shift_of(i + 1))
		i++;
	int slot = (int)(e >> shift_of(i)) & (LEVEL - 1);
	list_append(&T.level[i][slot], n);
	T.level_map[i] |= (uint64_t)1 << slot;
}

/* First tick after T.tick at which a near slot fires or a coarser one must be spread. */
static uint64_t
next_event(void) {
	uint64_t base = T.tick & ~(uint64_t)(NEAR - 1);
	unsigned at = (unsigned)(T.tick & (NEAR - 1)) + 1;
	for (unsigned i = at; i < NEAR; i = (i | 63) + 1) {
		uint64_t bits = T.near_map[i / 64] >> (i % 64);
		if (bits)
			return base + i + (unsigned)__builtin_ctzll(bits);
	}
	for (int l = 0; l < LEVELS; l++) {
		int shift = shift_of(l);
		uint64_t window = T.tick >> (shift + LEVEL_BITS) << (shift + LEVEL_BITS);
		unsigned slot = (unsigned)(T.tick >> shift) & (LEVEL - 1);
		uint64_t bits = slot == LEVEL - 1 ? 0 : T.level_map[l] & ~(uint64_t)0 << (slot + 1);
		if (bits)
			return window + ((uint64_t)__builtin_ctzll(bits) << shift);
	}
	/* timers beyond the last window: spread again when it ends */
	return T.level_map[LEVELS - 1] ? ((T.tick >> shift_of(LEVELS)) + 1) << shift_of(LEVELS)
	                               : NEVER;
}

/* Put a slot's timers where they belong now. */
static void
spread(int level, unsigned slot) {
	struct timer_node *n = list_take(&T.level[level][slot]);
	T.level_map[level] &= ~((uint64_t)1 << slot);
	while (n) {
		struct timer_node *next = n->next;
		place(n);
		n = next;
	}
}

/* Step to tick `t`, an event's, and append what fires to `fired`. */
static void
step(uint64_t t, struct list *fired) {
	T.tick = t;
	for (int l = LEVELS - 1; l >= 0; l--) {
		int shift = shift_of(l);
		unsigned slot = (unsigned)(t >> shift) & (LEVEL - 1);
		bool boundary = (t & (((uint64_t)1 << shift) - 1)) == 0;
		if (boundary && (T.level_map[l] >> slot & 1))
			spread(l, slot);
	}
	unsigned i = (unsigned)t & (NEAR - 1);
	struct timer_node *n = list_take(&T.near[i]);
	T.near_map[i / 64] &= ~((uint64_t)1 << (i % 64));
	while (n) {
		struct timer_node *next = n->next;
		list_append(fired, n);
		n = next;
	}
}

static void
expire(uint32_t handle, int session) {
	struct skynet_message m = {.session = session,
	                           .sz = (size_t)PTYPE_RESPONSE << MESSAGE_TYPE_SHIFT};
	(void)skynet_context_push(handle, &m); /* a dead service needs no timer */
}

void
timer_advance(void) {
	/* relaxed: whoever inserts an earlier timer sets it under the lock, and looks itself */
	uint64_t due = atomic_load_explicit(&T.due, memory_order_relaxed);
	if (due == NEVER)
		return;
	uint64_t now = current();
	if (due > now || atomic_exchange_explicit(&T.advancing, 1, memory_order_acquire))
		return;
	struct list fired = {.last = &fired.first};
	spinlock_lock(&T.lock);
	uint64_t t;
	while ((t = next_event()) <= now)
		step(t, &fired);
	if (T.tick < now)
		T.tick = now;
	atomic_store_explicit(&T.due, next_event(), memory_order_relaxed);
	spinlock_unlock(&T.lock);
	epoch_enter();
	for (struct timer_node *n = fired.first; n;) {
		struct timer_node *next = n->next;
		expire(n->handle, n->session);
		account_free(n);
		n = next;
	}
	epoch_leave();
	atomic_store_explicit(&T.advancing, 0, memory_order_release);
}

int
skynet_timeout(uint32_t handle, int time, int session) {
	if (time <= 0) {
		expire(handle, session);
		return session;
	}
	struct timer_node *n = account_malloc(sizeof(*n));
	n->handle = handle;
	n->session = session;
	n->expire = current() + (unsigned)time;
	spinlock_lock(&T.lock);
	if (n->expire <= T.tick)
		n->expire = T.tick + 1;
	place(n);
	uint64_t due = next_event();
	atomic_store_explicit(&T.due, due, memory_order_relaxed);
	spinlock_unlock(&T.lock);
	/* a worker looks itself before it sleeps; a thread of a plug-in's own doesn't */
	if (!scheduler_is_worker() && timer_due_sooner())
		scheduler_wake();
	return session;
}

int64_t
timer_wait_ns(void) {
	uint64_t due = atomic_load(&T.due), again;
	/* seq_cst: armed first, then a look whether it's still true; pairs with timer_due_sooner,
	   whose caller sets a timer first and looks at armed then: one of the two sees the other */
	for (;;) {
		atomic_store(&T.armed, due);
		again = atomic_load(&T.due);
		if (again >= due)
			break;
		due = again;
	}
	if (due == NEVER)
		return -1;
	uint64_t at = T.base_ns + due * CS_NS;
	uint64_t now = clock_ns();
	return at > now ? (int64_t)(at - now) : 0;
}

bool
timer_is_due(void) {
	/* relaxed: a hint; who acts on it looks again */
	uint64_t due = atomic_load_explicit(&T.due, memory_order_relaxed);
	return due != NEVER && due <= current();
}

bool
timer_due_sooner(void) {
	/* seq_cst: our timer is set before we look at what is armed; pairs with timer_wait_ns */
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load(&T.due) < atomic_load(&T.armed);
}

uint64_t
skynet_now(void) {
	return current();
}

uint32_t
skynet_starttime(void) {
	return T.start;
}

uint64_t
skynet_thread_time(void) {
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void
skynet_updatetime(void) {
	timer_advance();
}

void
skynet_timer_init(void) {
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	T.start = (uint32_t)t.tv_sec;
	/* node time starts at the fraction of the second, so that start + now is wall time */
	T.base_ns = clock_ns() - (uint64_t)t.tv_nsec;
	T.tick = current();
	atomic_store(&T.due, NEVER);
	atomic_store(&T.armed, NEVER);
}
