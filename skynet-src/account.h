/*
 * Memory charges: which service holds how much C memory.
 *
 * jemalloc counts, per thread, the bytes it handed out and took back. A service is charged the
 * change of those counters while it runs, so an allocation itself costs nothing. What crosses
 * between services is corrected for: a message's block leaves its sender's charge and isn't in
 * its receiver's unless the receiver keeps it; the Lua heaps, which have their own accounts,
 * are kept out. Without jemalloc all charges are 0.
 */
#ifndef skynet_account_h
#define skynet_account_h

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* The kernel's own memory: charged to no service, whoever runs. Returns as malloc and calloc. */
void *account_malloc(size_t sz);
void *account_calloc(size_t n, size_t sz);
/* Free such a block, or one that was given away, as every message's. */
void account_free(void *block);

/* Around the batch of a service. */
void account_begin(void);
void account_end(_Atomic ptrdiff_t *charge);

/* A message's block leaves its sender's charge. `sz`: what it was allocated with; 0: find out. */
void account_give(void *block, size_t sz);

/* Bytes of a message's block: what a service is charged that keeps it. */
size_t account_size(void *block);
/* What the running service allocates from a mark on moves to another charge; or to none. */
int64_t account_mark(void);
void account_move(int64_t mark, _Atomic ptrdiff_t *charge);
/* A socket event comes in: its data now belongs to the service. */
void account_received(void *event, size_t sz);

#endif
