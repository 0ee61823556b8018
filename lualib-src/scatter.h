/*
 * Where a number belongs in a table. Sessions and socket ids come one after the other: taken as
 * they are they would stand without a gap, and closing the gap that a removal leaves would look
 * at all of them. But four in a row stay together, so that what is added one after the other
 * doesn't fetch a line of memory each.
 */
#ifndef SCATTER_H
#define SCATTER_H

#include <stdint.h>

/* The size is a power of two, 8 or more; the result is below it. */
static inline uint32_t
scatter(uint32_t key, uint32_t size) {
	return ((key >> 2) * 2654435769u) >> (__builtin_clz(size) + 3) << 2 | (key & 3);
}

#endif
