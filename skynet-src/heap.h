/* The allocator below malloc and realloc, which never return NULL (heap.c): these may. */
#ifndef skynet_heap_h
#define skynet_heap_h

#include <stddef.h>

#ifndef NOUSE_JEMALLOC
void *raw_malloc(size_t sz);
void *raw_realloc(void *p, size_t sz);
#endif

#endif
