/*
 * Epochs. The list of threads only grows (records of ended threads are taken over by new ones);
 * retired objects wait in one list, oldest first, under a lock: services die far more rarely
 * than messages are sent.
 */
#include "epoch.h"

#include "account.h"
#include "skynet_malloc.h"
#include "spinlock.h"

#include <pthread.h>
#include <stdbool.h>

_Thread_local struct epoch_thread *epoch_self;
atomic_ulong epoch_now = 1;

struct retired {
	void *object;
	void (*fn)(void *);
	unsigned long epoch; /* free when no section is as old as this */
	struct retired *next;
};

static struct {
	_Atomic(struct epoch_thread *) threads;
	struct spinlock lock;
	struct retired *first, **last;
	atomic_int waiting;
} limbo = {.last = &limbo.first};

static pthread_key_t thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
release_record(void *p) {
	struct epoch_thread *t = p;
	t->depth = 0;
	atomic_store(&t->seen, 0);
	atomic_store(&t->used, 0);
}

static void
make_key(void) {
	pthread_key_create(&thread_end, release_record);
}

struct epoch_thread *
epoch_register(void) {
	struct epoch_thread *t;
	pthread_once(&once, make_key);
	for (t = atomic_load(&limbo.threads); t; t = t->next) {
		int expected = 0;
		if (atomic_compare_exchange_strong(&t->used, &expected, 1))
			break;
	}
	if (t == NULL) {
		t = skynet_aligned_alloc(64, 64);
		atomic_init(&t->seen, 0);
		atomic_init(&t->used, 1);
		t->depth = 0;
		t->next = atomic_load(&limbo.threads);
		while (!atomic_compare_exchange_weak(&limbo.threads, &t->next, t))
			;
	}
	epoch_self = t;
	pthread_setspecific(thread_end, t);
	return t;
}

void
epoch_retire(void *p, void (*fn)(void *)) {
	struct retired *r = account_malloc(sizeof(*r));
	r->object = p;
	r->fn = fn;
	r->next = NULL;
	spinlock_lock(&limbo.lock);
	/* seq_cst: after the object was taken out of sight; sections entered later are newer */
	r->epoch = atomic_fetch_add(&epoch_now, 1);
	*limbo.last = r;
	limbo.last = &r->next;
	atomic_store_explicit(&limbo.waiting, 1, memory_order_relaxed);
	spinlock_unlock(&limbo.lock);
}

/* The oldest epoch somebody is still in. */
static unsigned long
oldest(void) {
	unsigned long min = atomic_load(&epoch_now);
	for (struct epoch_thread *t = atomic_load(&limbo.threads); t; t = t->next) {
		unsigned long seen = atomic_load(&t->seen);
		if (seen != 0 && seen < min)
			min = seen;
	}
	return min;
}

void
epoch_collect(void) {
	/* relaxed: a hint; whoever retires or collects next sees it */
	if (!atomic_load_explicit(&limbo.waiting, memory_order_relaxed))
		return;
	if (!spinlock_trylock(&limbo.lock))
		return;
	unsigned long min = oldest();
	struct retired *ready = limbo.first, **p = &ready;
	while (*p && (*p)->epoch < min)
		p = &(*p)->next;
	limbo.first = *p;
	*p = NULL;
	if (limbo.first == NULL) {
		limbo.last = &limbo.first;
		atomic_store_explicit(&limbo.waiting, 0, memory_order_relaxed);
	}
	spinlock_unlock(&limbo.lock);
	while (ready) {
		struct retired *r = ready;
		ready = r->next;
		r->fn(r->object);
		account_free(r);
	}
}
