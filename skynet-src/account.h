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

/* Around the batch of a service. */
void account_begin(void);
void account_end(_Atomic ptrdiff_t *charge);

/* The running service gave a block away; may be NULL. */
void account_given(void *block);
/* Free a message's block for the service. */
void account_free(void *block);
/* The service keeps a message's block. */
void account_kept(void *block);
/* A socket event comes in: its data now belongs to the service. */
void account_received(void *event, size_t sz);

#endif
