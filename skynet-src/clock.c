/*
 * The ratio between the processor's counter and nanoseconds: taken from how far both came since
 * the process started, so it gets more exact with time and needs no calibration loop.
 */
#include "clock.h"

static struct {
	uint64_t ns;
	uint64_t ticks;
} start;

void
clock_init(void) {
	start.ns = clock_ns();
	start.ticks = clock_ticks();
}

uint64_t
clock_ticks_ns(uint64_t ticks) {
	uint64_t ns = clock_ns() - start.ns;
	uint64_t all = clock_ticks() - start.ticks;
	return all == 0 ? 0 : (uint64_t)((double)ticks * (double)ns / (double)all);
}
