/* Atomic operations by the names C services know; sequentially consistent. */
#ifndef SKYNET_ATOMIC_H
#define SKYNET_ATOMIC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#include <atomic>
#define STD_ std::
#define ATOM_TYPE_(t) std::atomic<t>
#else
#include <stdatomic.h>
#define STD_
#define ATOM_TYPE_(t) _Atomic(t)
#endif

#define ATOM_INT ATOM_TYPE_(int)
#define ATOM_POINTER ATOM_TYPE_(uintptr_t)
#define ATOM_SIZET ATOM_TYPE_(size_t)
#define ATOM_ULONG ATOM_TYPE_(unsigned long)

#define ATOM_INIT(ref, v) STD_ atomic_init(ref, v)
#define ATOM_LOAD(ptr) STD_ atomic_load(ptr)
#define ATOM_STORE(ptr, v) STD_ atomic_store(ptr, v)
#define ATOM_FINC(ptr) STD_ atomic_fetch_add(ptr, 1)
#define ATOM_FDEC(ptr) STD_ atomic_fetch_sub(ptr, 1)
#define ATOM_FADD(ptr, n) STD_ atomic_fetch_add(ptr, n)
#define ATOM_FSUB(ptr, n) STD_ atomic_fetch_sub(ptr, n)
#define ATOM_FAND(ptr, n) STD_ atomic_fetch_and(ptr, n)

/* Compare and swap by value; may fail spuriously, so loop. Non-zero on success. */
#define ATOM_CAS_DEFINE_(name, atom, type)                                                       \
	static inline int name(atom *ptr, type expected, type desired) {                             \
		return STD_ atomic_compare_exchange_weak(ptr, &expected, desired);                       \
	}

ATOM_CAS_DEFINE_(ATOM_CAS, ATOM_INT, int)
ATOM_CAS_DEFINE_(ATOM_CAS_SIZET, ATOM_SIZET, size_t)
ATOM_CAS_DEFINE_(ATOM_CAS_ULONG, ATOM_ULONG, unsigned long)
ATOM_CAS_DEFINE_(ATOM_CAS_POINTER, ATOM_POINTER, uintptr_t)

#endif
