/*
 * Clocks. `clock_ns` is the monotonic clock (no system call on Linux); `clock_ticks` is the
 * processor's own counter, cheap enough for every message, in units only ratios of which matter.
 */
#ifndef skynet_clock_h
#define skynet_clock_h

#include <stdint.h>
#include <time.h>

static inline uint64_t
clock_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t
clock_ticks(void) {
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
	uint64_t v;
	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(v));
	return v;
#else
	return clock_ns();
#endif
}

/* Nanoseconds in that many ticks. */
uint64_t clock_ticks_ns(uint64_t ticks);

void clock_init(void);

#endif
