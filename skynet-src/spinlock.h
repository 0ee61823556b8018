/*
 * A spin lock for sections of a few instructions. It yields the processor when the holder
 * seems to have lost it.
 */
#ifndef SKYNET_SPINLOCK_H
#define SKYNET_SPINLOCK_H

#include "atomic.h"

#include <sched.h>

/* For what has a member `lock`. With their semicolon: existing code writes none. */
#define SPIN_LOCK(owner) spinlock_lock(&(owner)->lock);
#define SPIN_UNLOCK(owner) spinlock_unlock(&(owner)->lock);
#define SPIN_INIT(owner) spinlock_init(&(owner)->lock);
#define SPIN_DESTROY(owner) spinlock_destroy(&(owner)->lock);

struct spinlock {
	ATOM_INT lock;
};

static inline void
atomic_pause_(void) {
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static inline void
spinlock_init(struct spinlock *l) {
	ATOM_INIT(&l->lock, 0);
}

static inline int
spinlock_trylock(struct spinlock *l) {
	return STD_ atomic_load_explicit(&l->lock, STD_ memory_order_relaxed) == 0 &&
	       STD_ atomic_exchange_explicit(&l->lock, 1, STD_ memory_order_acquire) == 0;
}

static inline void
spinlock_lock(struct spinlock *l) {
	for (int n = 1; !spinlock_trylock(l); n++) {
		if (n % 64 == 0)
			sched_yield();
		else
			atomic_pause_();
	}
}

static inline void
spinlock_unlock(struct spinlock *l) {
	/* release: pairs with the acquire in trylock */
	STD_ atomic_store_explicit(&l->lock, 0, STD_ memory_order_release);
}

static inline void
spinlock_destroy(struct spinlock *l) {
	(void)l;
}

#endif
