/*
 * malloc and its kin, as the whole process sees them: they never return NULL.
 *
 * C services written for skynet don't look for it, nor does most of the kernel, so that a node
 * without memory ends here, with a line that says so, and not by a fault somewhere later. What
 * can go on without memory, the heaps of Lua VMs, asks the allocator below: its functions were
 * renamed to raw_ (see the Makefile).
 */
#include "heap.h"

#include <errno.h>
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
	/* nothing is left to be done if that fails */
	if (write(STDERR_FILENO, text, (size_t)n) != n)
		abort();
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
	return checked(raw_calloc(n, sz), n * sz);
}

void *
realloc(void *p, size_t sz) {
	void *q = raw_realloc(p, sz);
	return sz ? checked(q, sz) : q; /* with 0, it frees */
}

/* With an alignment that can't be there is an error, not a lack of memory. */
void *
memalign(size_t align, size_t sz) {
	errno = 0;
	void *p = raw_memalign(align, sz);
	return errno == EINVAL ? p : checked(p, sz);
}

void *
aligned_alloc(size_t align, size_t sz) {
	errno = 0;
	void *p = raw_aligned_alloc(align, sz);
	return errno == EINVAL ? p : checked(p, sz);
}
