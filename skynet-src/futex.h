/*
 * Sleeping on a word: a futex on Linux, a condition variable elsewhere (parker.c).
 */
#ifndef skynet_futex_h
#define skynet_futex_h

#include <stdatomic.h>
#include <stdint.h>

/* Sleep while *word == expected, at most timeout_ns (< 0: no limit). May return early. */
void futex_wait(atomic_uint *word, unsigned expected, int64_t timeout_ns);
/* Wake one sleeper. */
void futex_wake(atomic_uint *word);

#endif
