/*
 * Allocation. The names are libc's: the whole process, plug-ins and libraries included, uses one
 * heap (jemalloc, linked into the executable, unless it was built without), so blocks may be
 * allocated by one name and freed by the other.
 */
#ifndef skynet_malloc_h
#define skynet_malloc_h

#include <stddef.h>
#include <stdlib.h>

#if defined(__linux__) || defined(__CYGWIN__)
#include <malloc.h>
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
#else
/* strict language modes leave these out of the system's headers */
void *skynet_memalign(size_t alignment, size_t size);
int skynet_posix_memalign(void **memptr, size_t alignment, size_t size);
#endif

/* Lua's allocator: nsize 0 frees. Its blocks don't count in the per-service accounts. */
void *skynet_lalloc(void *ptr, size_t osize, size_t nsize);

/* A copy the caller frees with skynet_free. Never NULL: the process ends without memory. */
char *skynet_strdup(const char *str);

#ifdef __cplusplus
}
#endif

#endif
