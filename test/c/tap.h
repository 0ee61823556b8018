/*
 * The smallest test library: one TAP line per check, an exit code at the end.
 *
 * Programs include the kernel's headers and are linked with its objects, but without main().
 * SEED in the environment repeats a run whose number the program printed.
 */
#ifndef tap_h
#define tap_h

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int tap_count, tap_failed;

static inline void
ok(bool good, const char *what) {
	tap_count++;
	tap_failed += !good;
	printf("%s %d - %s\n", good ? "ok" : "not ok", tap_count, what);
	fflush(stdout);
}

static inline int
done(void) {
	printf("1..%d\n", tap_count);
	return tap_failed != 0;
}

static inline uint64_t
tap_seed(void) {
	const char *text = getenv("SEED");
	uint64_t seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
	printf("# SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

/* xorshift: the same numbers everywhere for one seed. */
static inline uint64_t
tap_random(uint64_t *state) {
	uint64_t x = *state ? *state : 88172645463325252u;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x;
}

#endif
