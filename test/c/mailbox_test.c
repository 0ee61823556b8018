/*
 * The mailbox: order per sender, nothing lost or doubled, and the handing over of the right to
 * run: of all threads that find the service idle, exactly one is told to schedule it.
 */
#include "mailbox.h"

#include "tap.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

#define SENDERS 4
#define EACH 50000

static struct mailbox box;
static atomic_int runnable; /* times somebody was told to schedule it, less times it was run */
static atomic_int running;  /* receivers at work: never more than one */
static atomic_int overlap;

static struct skynet_message
message(uint32_t source, int session) {
	struct skynet_message m = {.source = source, .session = session};
	return m;
}

static void
alone(void) {
	struct mailbox m;
	struct skynet_message got;
	struct skynet_message one = message(1, 1), two = message(1, 2);
	mailbox_init(&m);
	ok(!mailbox_push(&m, &one), "a held mailbox needs no scheduling");
	ok(mailbox_length(&m) == 1, "its length is 1");
	ok(!mailbox_rest(&m), "it can't rest with a message in it");
	ok(mailbox_pop(&m, &got) && got.session == 1, "the message comes out");
	ok(mailbox_rest(&m), "then it rests");
	ok(mailbox_push(&m, &one), "the first sender has to schedule it");
	ok(!mailbox_push(&m, &two), "the second one doesn't");
	ok(!mailbox_rouse(&m), "nor is it idle for anybody else");
	ok(mailbox_pop(&m, &got) && got.session == 1 && mailbox_pop(&m, &got) && got.session == 2,
	   "they come out in order");
	ok(!mailbox_pop(&m, &got) && mailbox_rest(&m) && mailbox_rouse(&m),
	   "an idle one can be roused without a message");
}

static void
deep(void) {
	struct mailbox m;
	struct skynet_message got;
	int n = 200000;
	mailbox_init(&m);
	for (int i = 0; i < n; i++) {
		struct skynet_message x = message(1, i);
		mailbox_push(&m, &x);
	}
	ok(mailbox_length(&m) >= 65535, "depths beyond its counter read as the counter's maximum");
	bool order = true;
	for (int i = 0; i < n; i++)
		order &= mailbox_pop(&m, &got) && got.session == i;
	ok(order && !mailbox_pop(&m, &got), "200,000 waiting messages come out in order");
}

static void *
send_many(void *p) {
	uint32_t source = (uint32_t)(uintptr_t)p;
	for (int i = 1; i <= EACH; i++) {
		struct skynet_message m = message(source, i);
		if (mailbox_push(&box, &m))
			atomic_fetch_add(&runnable, 1);
		if (i % 64 == 0)
			sched_yield();
	}
	return NULL;
}

struct receiver {
	int last[SENDERS + 1];
	long total;
	bool order;
};

/* Receive until the mailbox rests. */
static void
run(struct receiver *r) {
	struct skynet_message m;
	if (atomic_fetch_add(&running, 1) != 0)
		atomic_store(&overlap, 1);
	do {
		while (mailbox_pop(&box, &m)) {
			r->order &= m.session == r->last[m.source] + 1;
			r->last[m.source] = m.session;
			r->total++;
		}
		/* before it rests: afterwards another may run it */
		atomic_fetch_sub(&running, 1);
		if (mailbox_rest(&box))
			return;
		atomic_fetch_add(&running, 1);
	} while (true);
}

static void
crowd(void) {
	pthread_t t[SENDERS];
	struct receiver r = {.order = true};
	mailbox_init(&box);
	mailbox_rest(&box);
	for (uintptr_t i = 0; i < SENDERS; i++)
		pthread_create(&t[i], NULL, send_many, (void *)(i + 1));
	time_t limit = time(NULL) + 120;
	while (r.total < (long)SENDERS * EACH && time(NULL) < limit) {
		int n = atomic_load(&runnable);
		if (n > 1)
			atomic_store(&overlap, 1);
		if (n == 0) {
			sched_yield();
			continue;
		}
		atomic_fetch_sub(&runnable, 1);
		run(&r);
	}
	for (int i = 0; i < SENDERS; i++)
		pthread_join(t[i], NULL);
	ok(r.total == (long)SENDERS * EACH, "every message of four senders arrives once");
	ok(r.order, "each sender's messages arrive in order");
	ok(atomic_load(&overlap) == 0 && atomic_load(&runnable) == 0,
	   "the right to run was never given twice, nor lost");
}

int
main(void) {
	alone();
	deep();
	crowd();
	return done();
}
