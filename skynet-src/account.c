/*
 * Memory charges, and Lua's allocator, which keeps its blocks out of them. See account.h.
 */
#include "account.h"

#include "heap.h"
#include "skynet.h"
#include "skynet_malloc.h"
#include "skynet_runtime.h"
#include "skynet_socket.h"

#ifndef NOUSE_JEMALLOC

#include <jemalloc/jemalloc.h>

static _Thread_local struct {
	/* volatile: compilers know that malloc and free change no other variable, but they do */
	volatile uint64_t *in;  /* bytes this thread allocated, ever */
	volatile uint64_t *out; /* ... and freed */
	int64_t begin;
	int64_t correction; /* since begin */
} me;

static int64_t
net(void) {
	if (me.in == NULL) {
		size_t sz = sizeof(me.in);
		if (mallctl("thread.allocatedp", &me.in, &sz, NULL, 0) != 0 ||
		    mallctl("thread.deallocatedp", &me.out, &sz, NULL, 0) != 0) {
			static uint64_t none; /* built without statistics: charges stay 0 */
			me.in = me.out = &none;
		}
	}
	return (int64_t)(*me.in - *me.out);
}

static int64_t
usable(void *block) {
	return block ? (int64_t)sallocx(block, 0) : 0;
}

void
account_begin(void) {
	me.begin = net();
	me.correction = 0;
}

void
account_end(_Atomic ptrdiff_t *charge) {
	ptrdiff_t change = (ptrdiff_t)(net() - me.begin + me.correction);
	/* relaxed: only the running worker writes it */
	ptrdiff_t now = atomic_load_explicit(charge, memory_order_relaxed);
	atomic_store_explicit(charge, now + change, memory_order_relaxed);
}

void *
account_malloc(size_t sz) {
	int64_t before = net();
	void *block = malloc(sz);
	me.correction += before - net();
	return block;
}

void *
account_calloc(size_t n, size_t sz) {
	int64_t before = net();
	void *block = calloc(n, sz);
	me.correction += before - net();
	return block;
}

void
account_free(void *block) {
	int64_t before = net();
	free(block);
	me.correction += before - net();
}

size_t
account_size(void *block) {
	return (size_t)usable(block);
}

int64_t
account_mark(void) {
	return net() + me.correction;
}

void
account_move(int64_t mark, _Atomic ptrdiff_t *charge) {
	ptrdiff_t moved = (ptrdiff_t)(net() + me.correction - mark);
	me.correction -= moved;
	if (charge)
		atomic_fetch_add_explicit(charge, moved, memory_order_relaxed);
}

void
account_received(void *event, size_t sz) {
	struct skynet_socket_message *m = event;
	if (m && sz >= sizeof(*m))
		me.correction += usable(m->buffer);
}

void
skynet_account(ptrdiff_t bytes) {
	me.correction += bytes;
}

void
skynet_account_give(void *block) {
	me.correction -= usable(block);
}

void
skynet_account_take(void *block) {
	me.correction += usable(block);
}

/* What small blocks really take, by their size in units of 8 bytes. */
#define SMALL PTYPE_SIZED_MAX
static uint16_t taken[SMALL / 8 + 1];

__attribute__((constructor)) static void
know_sizes(void) {
	for (size_t i = 1; i <= SMALL / 8; i++)
		taken[i] = (uint16_t)nallocx(i * 8, 0);
}

static int64_t
takes(size_t sz) {
	return taken[(sz + 7) / 8];
}

void
account_give(void *block, size_t sz) {
	me.correction -= sz - 1 < SMALL ? takes(sz) : usable(block);
}

/* What isn't small, changes its size, or is nothing. */
static __attribute__((noinline)) void *
other_lalloc(void *ptr, size_t osize, size_t nsize) {
	int64_t before = net();
	void *p = NULL;
	if (nsize != 0)
		p = raw_realloc(ptr, nsize);
	else if (ptr)
		sdallocx(ptr, osize ? osize : 1, 0);
	me.correction -= net() - before;
	return p;
}

void *
skynet_lalloc(void *ptr, size_t osize, size_t nsize) {
	if (ptr == NULL && nsize - 1 < SMALL) {
		void *p = raw_malloc(nsize);
		if (p)
			me.correction -= takes(nsize);
		return p;
	}
	if (ptr && nsize == 0 && osize - 1 < SMALL) {
		me.correction += takes(osize);
		sdallocx(ptr, osize, 0);
		return NULL;
	}
	return other_lalloc(ptr, osize, nsize);
}

#else

void
account_begin(void) {
}

void
account_end(_Atomic ptrdiff_t *charge) {
	(void)charge;
}

void *
account_malloc(size_t sz) {
	return malloc(sz);
}

void *
account_calloc(size_t n, size_t sz) {
	return calloc(n, sz);
}

void
account_free(void *block) {
	free(block);
}

size_t
account_size(void *block) {
	(void)block;
	return 0;
}

int64_t
account_mark(void) {
	return 0;
}

void
account_move(int64_t mark, _Atomic ptrdiff_t *charge) {
	(void)mark;
	(void)charge;
}

void
account_received(void *event, size_t sz) {
	(void)event;
	(void)sz;
}

void
skynet_account(ptrdiff_t bytes) {
	(void)bytes;
}

void
skynet_account_give(void *block) {
	(void)block;
}

void
skynet_account_take(void *block) {
	(void)block;
}

void
account_give(void *block, size_t sz) {
	(void)block;
	(void)sz;
}

void *
skynet_lalloc(void *ptr, size_t osize, size_t nsize) {
	(void)osize;
	if (nsize == 0) {
		free(ptr);
		return NULL;
	}
	return realloc(ptr, nsize);
}

#endif
