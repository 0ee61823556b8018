/*
 * Allocation. The names are libc's: the whole process, plug-ins and libraries included, uses one
 * heap (jemalloc, linked into the executable, unless it was built without).
 */
#ifndef skynet_malloc_h
#define skynet_malloc_h

#include <stddef.h>
#include <stdlib.h>
#ifdef __linux__
#include <malloc.h> /* memalign */
#endif

#define skynet_malloc malloc
#define skynet_calloc calloc
#define skynet_realloc realloc
#define skynet_free free
#define skynet_memalign memalign
#define skynet_aligned_alloc aligned_alloc
#define skynet_posix_memalign posix_memalign

#ifdef __cplusplus
extern "C" {
#endif

/* Lua's allocator: nsize 0 frees. Its blocks don't count in the per-service accounts. */
void *skynet_lalloc(void *ptr, size_t osize, size_t nsize);

#ifdef __cplusplus
}
#endif

#endif
