/*
 * Epoch-based reclamation: memory that others may still read is freed later.
 *
 * A thread that reads shared objects without a lock does it inside a section. An object that was
 * taken out of sight is retired; it's freed once every thread that was inside a section at that
 * time has left it. Sections nest. A worker stays inside for a whole batch, so a message costs
 * nothing; other threads enter around each call.
 */
#ifndef skynet_epoch_h
#define skynet_epoch_h

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct epoch_thread {
	/* 0: outside; else the epoch seen on entering, which is odd-free and > 0 */
	atomic_ulong seen;
	int depth;
	atomic_int used;
	struct epoch_thread *next;
};

extern _Thread_local struct epoch_thread *epoch_self;
extern atomic_ulong epoch_now;

struct epoch_thread *epoch_register(void);

static inline void
epoch_enter(void) {
	struct epoch_thread *t = epoch_self;
	if (t == NULL)
		t = epoch_register();
	if (t->depth++ == 0) {
		/*
		 * seq_cst: our mark must be visible before we read any shared pointer; pairs with
		 * the scan in epoch_collect
		 */
		atomic_store(&t->seen, atomic_load_explicit(&epoch_now, memory_order_relaxed));
	}
}

static inline void
epoch_leave(void) {
	struct epoch_thread *t = epoch_self;
	if (--t->depth == 0)
		/* release: pairs with the scan in epoch_collect, our reads are over by then */
		atomic_store_explicit(&t->seen, 0, memory_order_release);
}

/* Call fn(p) once no section that is open now can still see p. */
void epoch_retire(void *p, void (*fn)(void *));

/* Run what has become safe. Cheap when there's nothing; call it outside of a section. */
void epoch_collect(void);

#endif
