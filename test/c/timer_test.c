/*
 * The timer wheel, with a clock that the test moves: every timer fires once, never early, in the
 * order of its tick and of setting, and a jump of days costs only the ticks at which something
 * happens. The wheel's source is included, so that its clock can be replaced.
 */
#include <stdint.h>
#include <time.h>

static uint64_t fake_ns = 5000000000u;

#include "clock.h"
#define clock_ns() fake_ns
#include "../../skynet-src/skynet_timer.c"

#include "tap.h"

#define MANY 20000

struct fired {
	int session;
	uint64_t at; /* cs */
};

static struct fired fired[MANY + 16];
static int nfired;

/* The kernel's, here: what the wheel sends is collected. */
int
skynet_context_push(uint32_t handle, struct skynet_message *m) {
	(void)handle;
	fired[nfired++] = (struct fired){m->session, skynet_now()};
	return 0;
}

bool
scheduler_is_worker(void) {
	return true;
}

void
scheduler_wake(void) {
}

static void
pass(uint64_t cs) {
	fake_ns += cs * CS_NS;
	timer_advance();
}

static void
few(void) {
	nfired = 0;
	skynet_timeout(1, 10, 100);
	skynet_timeout(1, 10, 101);
	skynet_timeout(1, 5, 102);
	pass(4);
	ok(nfired == 0, "nothing fires early");
	pass(1);
	ok(nfired == 1 && fired[0].session == 102, "the first fires at its tick");
	pass(5);
	ok(nfired == 3 && fired[1].session == 100 && fired[2].session == 101,
	   "timers of one tick fire in the order they were set");
	skynet_timeout(1, 0, 103);
	skynet_timeout(1, -5, 104);
	ok(nfired == 5 && fired[4].session == 104, "no time at all fires at once");
	ok(timer_wait_ns() == -1, "without timers there's nothing to wait for");
	skynet_timeout(1, 300, 105);
	int64_t wait = timer_wait_ns();
	ok(wait > 0 && wait <= 300 * (int64_t)CS_NS, "a wait ends at the next event at the latest");
	pass(300);
	ok(nfired == 6 && fired[5].session == 105, "and the timer fires when it's due");
}

static void
far(void) {
	nfired = 0;
	skynet_timeout(1, INT32_MAX, 1);
	skynet_timeout(1, 1 << 20, 2);
	pass((1 << 20) - 1);
	ok(nfired == 0, "a far timer waits");
	pass(1);
	ok(nfired == 1 && fired[0].session == 2, "... for its tick");
	pass((uint64_t)INT32_MAX);
	ok(nfired == 2 && fired[1].session == 1, "248 days pass in one jump");
}

static void
many(void) {
	static uint64_t due[MANY];
	uint64_t seed = tap_seed();
	bool late = false, early = false, order = true;
	int set = 0;
	nfired = 0;
	while (nfired < MANY) {
		for (int i = 0; i < 50 && set < MANY; i++) {
			uint64_t range = (uint64_t)1 << (tap_random(&seed) % 22);
			int n = 1 + (int)(tap_random(&seed) % range);
			due[set] = skynet_now() + (unsigned)n;
			skynet_timeout(1, n, set++);
		}
		int before = nfired;
		uint64_t from = skynet_now();
		pass(tap_random(&seed) % (set < MANY ? 400 : 100000));
		for (int i = before; i < nfired; i++) {
			uint64_t d = due[fired[i].session];
			early |= d > fired[i].at;
			late |= d <= from;
			if (i > before)
				order &= due[fired[i - 1].session] <= d;
		}
	}
	ok(!early, "20,000 random timers: none fires early");
	ok(!late, "none misses the first look after its tick");
	ok(order, "they fire in the order of their ticks");
	ok(nfired == MANY && timer_wait_ns() == -1, "each fires once");
}

int
main(void) {
	skynet_timer_init();
	few();
	far();
	many();
	return done();
}
