/*
 * The harbor's table of calls under way, against a plain list: random additions, answers and
 * broken links, with callers that die. SEED in the environment repeats a run.
 */
#define skynet_handle_grab test_handle_grab
#define skynet_context_release test_context_release
#include "../../service-src/harbor/pending.c"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CALLS 3000
#define SOURCES 40
#define SESSIONS 100

static int count, failed;
static bool dead[SOURCES + 1];
static struct call model[SOURCES + 1][SESSIONS + 1]; /* source 0: no such call */

/* Callers are numbered from 1; only whether there's one matters. */
struct skynet_context *
test_handle_grab(uint32_t handle) {
	return dead[handle] ? NULL : (struct skynet_context *)&dead[handle];
}

void
test_context_release(struct skynet_context *ctx) {
	(void)ctx;
}

static void
ok(bool good, const char *what) {
	count++;
	failed += !good;
	printf("%s %d - %s\n", good ? "ok" : "not ok", count, what);
}

static uint64_t state;

static unsigned
pick(unsigned n) {
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)(state % n);
}

static struct call
random_call(void) {
	return (struct call){.source = 1 + pick(SOURCES),
	                     .destination = (1 + pick(4)) << 24 | pick(1000),
	                     .session = 1 + (int)pick(SESSIONS),
	                     .type = (int)pick(12)};
}

static bool
same(const struct call *a, const struct call *b) {
	return a->source == b->source && a->destination == b->destination &&
	       a->session == b->session && a->type == b->type;
}

static bool
answer(struct pending *p) {
	struct call want = random_call(), got;
	struct call *m = &model[want.source][want.session];
	bool there = pending_take(p, want.source, want.session, &got);
	bool good = there ? m->source != 0 && same(m, &got) : m->source == 0 || dead[m->source];
	m->source = 0;
	return good;
}

/* All calls to the harbor come out, and nothing else; those of dead callers may be missing. */
static bool
break_link(struct pending *p, int harbor) {
	struct call got;
	size_t at = 0;
	bool good = true;
	while (pending_next(p, harbor, &at, &got)) {
		struct call *m = &model[got.source][got.session];
		good &= m->source != 0 && same(m, &got) && (int)(got.destination >> 24) == harbor;
		m->source = 0;
	}
	for (int s = 1; s <= SOURCES; s++) {
		for (int i = 1; i <= SESSIONS; i++) {
			struct call *m = &model[s][i];
			if (m->source && (int)(m->destination >> 24) == harbor) {
				good &= dead[s];
				m->source = 0;
			}
		}
	}
	return good;
}

int
main(void) {
	const char *text = getenv("SEED");
	state = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
	printf("# SEED=%llu\n", (unsigned long long)state);
	state = state ? state : 1;
	struct pending p = {0};
	struct call c;
	size_t at = 0;
	bool answers = true, links = true;
	ok(!pending_take(&p, 1, 1, &c) && !pending_next(&p, 1, &at, &c),
	   "an empty table has nothing");
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < CALLS; i++) {
			c = random_call();
			if (dead[c.source])
				continue;
			pending_add(&p, &c);
			model[c.source][c.session] = c;
			if (i % 3)
				answers &= answer(&p);
		}
		dead[1 + pick(SOURCES)] = true;
		links &= break_link(&p, 1 + (int)pick(4));
	}
	ok(answers, "each answer finds its call, once");
	ok(links, "a broken link gives all calls through it, once, and no others");
	for (int i = 1; i <= 4; i++)
		break_link(&p, i);
	ok(p.used == 0, "then it's empty");
	memset(dead, 1, sizeof(dead));
	for (int i = 1; i < 100000; i++)
		pending_add(&p, &(struct call){.source = 1, .destination = 1 << 24, .session = i});
	ok(p.size <= 256, "calls of dead callers don't make it grow for ever");
	pending_clear(&p);
	printf("1..%d\n", count);
	return failed != 0;
}
