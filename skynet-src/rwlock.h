/* A spinning reader-writer lock; writers are preferred, neither side may nest. */
#ifndef SKYNET_RWLOCK_H
#define SKYNET_RWLOCK_H

#include "spinlock.h"

struct rwlock {
	ATOM_INT write; /* a writer is inside or waits */
	ATOM_INT read;  /* readers inside */
};

static inline void
rwlock_init(struct rwlock *l) {
	ATOM_INIT(&l->write, 0);
	ATOM_INIT(&l->read, 0);
}

static inline void
rwlock_pause_(int n) {
	if (n % 64 == 0)
		sched_yield();
	else
		atomic_pause_();
}

static inline void
rwlock_rlock(struct rwlock *l) {
	for (int n = 1;; n++) {
		if (ATOM_LOAD(&l->write) == 0) {
			ATOM_FINC(&l->read);
			if (ATOM_LOAD(&l->write) == 0)
				return;
			ATOM_FDEC(&l->read); /* a writer came in between: it goes first */
		}
		rwlock_pause_(n);
	}
}

static inline void
rwlock_runlock(struct rwlock *l) {
	ATOM_FDEC(&l->read);
}

static inline void
rwlock_wlock(struct rwlock *l) {
	for (int n = 1; !ATOM_CAS(&l->write, 0, 1); n++)
		rwlock_pause_(n);
	for (int n = 1; ATOM_LOAD(&l->read) != 0; n++)
		rwlock_pause_(n);
}

static inline void
rwlock_wunlock(struct rwlock *l) {
	ATOM_STORE(&l->write, 0);
}

#endif
