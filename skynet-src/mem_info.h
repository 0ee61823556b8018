/*
 * Counters of allocated and freed bytes and blocks, for code that keeps accounts of its own. The
 * plain ones belong to one thread; the atomic ones are for many writers, with the two halves on
 * cache lines of their own because different threads allocate and free.
 */
#ifndef SKYNET_MEM_INFO_H
#define SKYNET_MEM_INFO_H

#include "atomic.h"

#define CACHE_LINE_SIZE 64

typedef struct {
	size_t alloc, alloc_count; /* bytes, blocks */
	size_t free, free_count;
} MemInfo;

#define MEM_INFO_LINE_ __attribute__((aligned(CACHE_LINE_SIZE)))

typedef struct {
	ATOM_SIZET alloc MEM_INFO_LINE_, alloc_count;
	ATOM_SIZET free MEM_INFO_LINE_, free_count;
} AtomicMemInfo;

static inline void
meminfo_init(MemInfo *info) {
	info->alloc = info->alloc_count = info->free = info->free_count = 0;
}

static inline void
meminfo_alloc(MemInfo *info, size_t size) {
	info->alloc += size;
	info->alloc_count++;
}

static inline void
meminfo_free(MemInfo *info, size_t size) {
	info->free += size;
	info->free_count++;
}

/* Add src to dest. */
static inline void
meminfo_merge(MemInfo *dest, const MemInfo *src) {
	dest->alloc_count += src->alloc_count;
	dest->free_count += src->free_count;
	dest->alloc += src->alloc;
	dest->free += src->free;
}

static inline void
atomic_meminfo_init(AtomicMemInfo *info) {
	ATOM_INIT(&info->alloc, 0);
	ATOM_INIT(&info->alloc_count, 0);
	ATOM_INIT(&info->free, 0);
	ATOM_INIT(&info->free_count, 0);
}

static inline void
atomic_meminfo_alloc(AtomicMemInfo *info, size_t size) {
	ATOM_FADD(&info->alloc, size);
	ATOM_FINC(&info->alloc_count);
}

static inline void
atomic_meminfo_free(AtomicMemInfo *info, size_t size) {
	ATOM_FADD(&info->free, size);
	ATOM_FINC(&info->free_count);
}

/* Add src to dest; the four counters are read one after the other. */
static inline void
atomic_meminfo_merge(MemInfo *dest, AtomicMemInfo *src) {
	dest->alloc += ATOM_LOAD(&src->alloc);
	dest->alloc_count += ATOM_LOAD(&src->alloc_count);
	dest->free += ATOM_LOAD(&src->free);
	dest->free_count += ATOM_LOAD(&src->free_count);
}

#endif
