/*
 * malloc and its kin, as the whole process sees them: they never return NULL.
 *
 * C services written for skynet don't look for it, nor does most of the kernel, so that a node
 * without memory ends here, with a line that says so, and not by a fault somewhere later. What
 * can go on without memory, the heaps of Lua VMs, asks the allocator below: its functions were
 * renamed to raw_ (see the Makefile).
 */
#include "heap.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *raw_calloc(size_t n, size_t sz);
void *raw_memalign(size_t align, size_t sz);
void *raw_aligned_alloc(size_t align, size_t sz);

void *memalign(size_t align, size_t sz);

static _Noreturn void
no_memory(size_t sz) {
	char text[80];
	int n =
		snprintf(text, sizeof(text), "xmalloc: Out of memory trying to allocate %zu bytes\n", sz);
	ssize_t written = write(STDERR_FILENO, text, (size_t)n);
	(void)written; /* it ends here in any case */
	abort();
}

static inline void *
checked(void *p, size_t sz) {
	if (__builtin_expect(p == NULL, 0))
		no_memory(sz);
	return p;
}

void *
malloc(size_t sz) {
	return checked(raw_malloc(sz), sz);
}

void *
calloc(size_t n, size_t sz) {
	void *p = raw_calloc(n, sz);
	size_t all;
	return checked(p, __builtin_mul_overflow(n, sz, &all) ? SIZE_MAX : all);
}

void *
realloc(void *p, size_t sz) {
	void *q = raw_realloc(p, sz);
	return sz ? checked(q, sz) : q; /* with 0, it frees */
}

/* Another alignment is the caller's error, not a lack of memory. */
static int
possible(size_t align) {
	return align != 0 && (align & (align - 1)) == 0;
}

void *
memalign(size_t align, size_t sz) {
	void *p = raw_memalign(align, sz);
	return possible(align) ? checked(p, sz) : p;
}

void *
aligned_alloc(size_t align, size_t sz) {
	void *p = raw_aligned_alloc(align, sz);
	return possible(align) ? checked(p, sz) : p;
}
