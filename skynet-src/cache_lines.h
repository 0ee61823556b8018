/*
 * Which lines of memory a service's next message will touch, noted by the service: see
 * skynet_context_warm. They're kept as distances from the service's record, in lines, so that
 * they take little room; what is too far away, or one too many, isn't noted.
 */
#ifndef skynet_cache_lines_h
#define skynet_cache_lines_h

#include <stdint.h>

#define CACHE_LINE 64
#define CACHE_LINES_MAX 47

struct cache_lines {
	int32_t n;
	int32_t distance[CACHE_LINES_MAX];
};

static inline void
cache_lines_add(struct cache_lines *c, const void *p) {
	const intptr_t far = (intptr_t)p / CACHE_LINE - (intptr_t)c / CACHE_LINE;
	if (c->n == CACHE_LINES_MAX || far != (int32_t)far)
		return;
	for (int i = 0; i < c->n; i++) {
		if (c->distance[i] == far)
			return;
	}
	c->distance[c->n++] = (int32_t)far;
}

/* An address in a noted line. */
static inline const void *
cache_lines_at(const struct cache_lines *c, int i) {
	return (const void *)(((intptr_t)c / CACHE_LINE + c->distance[i]) * CACHE_LINE);
}

/* Have all of them fetched, without waiting for one. What isn't mapped any more does no harm. */
static inline void
cache_lines_fetch(const struct cache_lines *c) {
	for (int i = 0; i < c->n; i++)
		__builtin_prefetch(cache_lines_at(c, i));
}

#endif
