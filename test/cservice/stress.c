/*
 * Actors that send, die, kill and are born at random, and a law: every message that was sent is
 * received, refused at once (the receiver was dead), or comes back as an error (the receiver died
 * with it in its mailbox). Nothing else may become of one.
 *
 * Launched as "stress director SEED MESSAGES" in place of the bootstrap service: no Lua runs. All
 * messages name the director as their source, so the errors come to the one service that lives
 * to the end. Two threads that are no workers send as well.
 */
#include "skynet.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACTORS 200
#define THREADS 2
#define PATIENCE 6000 /* cs without progress */

static struct {
	_Atomic uint32_t actor[ACTORS];
	uint32_t director;
	atomic_long budget; /* messages still to be sent */
	atomic_long sent, received, refused, bounced, born;
	atomic_int threads;
	atomic_ulong seed;
	long progress;
	uint64_t since;
} S;

struct stress {
	struct skynet_context *ctx;
	uint64_t random;
};

static uint64_t
next(uint64_t *state) {
	uint64_t x = *state;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x;
}

static uint64_t
fresh_seed(void) {
	uint64_t x = atomic_fetch_add(&S.seed, 0x9e3779b97f4a7c15u) | 1;
	return next(&x);
}

static void
send_one(struct skynet_context *ctx, uint64_t r) {
	uint32_t to = atomic_load(&S.actor[r % ACTORS]);
	if (to == 0 || atomic_fetch_sub(&S.budget, 1) <= 0)
		return;
	size_t sz = (r >> 16) % 200;
	int type = PTYPE_RESERVED_LUA;
	static const char text[200];
	void *msg = (void *)text;
	if (r >> 30 & 1) {
		type |= PTYPE_TAG_DONTCOPY;
		msg = skynet_malloc(sz + 1);
		memset(msg, 1, sz + 1);
	}
	atomic_fetch_add(&S.sent, 1);
	if (skynet_send(ctx, S.director, to, type, (int)(r >> 40 & 1), msg, sz) < 0)
		atomic_fetch_add(&S.refused, 1);
}

static uint32_t
launch(struct skynet_context *ctx) {
	const char *address = skynet_command(ctx, "LAUNCH", "stress actor");
	return address ? (uint32_t)strtoul(address + 1, NULL, 16) : 0;
}

/* Put a new actor into a slot; the old one is killed, which may be the caller. */
static void
replace(struct skynet_context *ctx, uint64_t r) {
	uint32_t fresh = launch(ctx);
	uint32_t old = atomic_exchange(&S.actor[r % ACTORS], fresh);
	char text[16];
	snprintf(text, sizeof(text), ":%x", old);
	if (old)
		skynet_command(ctx, "KILL", text);
}

static int
on_actor(struct skynet_context *ctx, void *ud, int type, int session, uint32_t source,
         const void *msg, size_t sz) {
	struct stress *s = ud;
	(void)session;
	(void)source;
	(void)msg;
	(void)sz;
	if (type != PTYPE_RESERVED_LUA)
		return 0; /* a timer */
	atomic_fetch_add(&S.received, 1);
	uint64_t r = next(&s->random);
	for (int n = (int)(r >> 50) % 4; n > 0; n--)
		send_one(ctx, next(&s->random));
	if (r % 64 == 0)
		replace(ctx, next(&s->random));
	else if (r % 64 == 1)
		skynet_command(ctx, "TIMEOUT", "1");
	else if (r % 512 == 2)
		skynet_command(ctx, "EXIT", NULL);
	return 0;
}

static void *
outside(void *p) {
	uint64_t random = *(uint64_t *)p;
	while (atomic_load(&S.budget) > 0) {
		for (int i = 0; i < 10; i++)
			send_one(NULL, next(&random));
		struct timespec pause = {0, 1000 * (long)(next(&random) % 300)};
		nanosleep(&pause, NULL);
	}
	free(p);
	atomic_fetch_sub(&S.threads, 1);
	return NULL;
}

static void
finish(struct skynet_context *ctx, const char *verdict) {
	printf("stress %s: sent %ld, received %ld, refused %ld, bounced %ld, born %ld\n", verdict,
	       atomic_load(&S.sent), atomic_load(&S.received), atomic_load(&S.refused),
	       atomic_load(&S.bounced), atomic_load(&S.born));
	fflush(stdout);
	skynet_command(ctx, "ABORT", NULL);
}

/* Every 10 ms: is it over, and does the law hold? */
static void
look(struct skynet_context *ctx) {
	/* outcomes first: what is sent later can only make them look too few */
	long settled = atomic_load(&S.received) + atomic_load(&S.refused) + atomic_load(&S.bounced);
	long sent = atomic_load(&S.sent);
	if (settled != S.progress) {
		S.progress = settled;
		S.since = skynet_now();
	}
	if (settled > sent) {
		finish(ctx, "doubled");
	} else if (atomic_load(&S.budget) <= 0 && atomic_load(&S.threads) == 0 &&
	           settled == atomic_load(&S.sent)) {
		finish(ctx, "ok");
	} else if (skynet_now() - S.since > PATIENCE) {
		finish(ctx, "lost");
	} else {
		skynet_command(ctx, "TIMEOUT", "1");
	}
}

static int
on_director(struct skynet_context *ctx, void *ud, int type, int session, uint32_t source,
            const void *msg, size_t sz) {
	struct stress *s = ud;
	(void)session;
	(void)msg;
	(void)sz;
	if (type == PTYPE_ERROR) {
		atomic_fetch_add(&S.bounced, 1);
	} else if (type == PTYPE_RESPONSE && source == 0) {
		/* actors that ended by themselves leave their places empty */
		for (int i = 0; i < 4; i++)
			replace(ctx, next(&s->random));
		look(ctx);
	}
	return 0;
}

static void
start(struct stress *s, unsigned long seed, long messages) {
	S.director = (uint32_t)strtoul(skynet_command(s->ctx, "REG", NULL) + 1, NULL, 16);
	atomic_store(&S.seed, seed);
	atomic_store(&S.budget, messages);
	s->random = fresh_seed();
	S.since = skynet_now();
	for (uint64_t i = 0; i < ACTORS; i++)
		replace(s->ctx, i);
	for (int i = 0; i < THREADS; i++) {
		uint64_t *p = malloc(sizeof(*p));
		pthread_t t;
		*p = fresh_seed();
		if (pthread_create(&t, NULL, outside, p) == 0) {
			pthread_detach(t);
			atomic_fetch_add(&S.threads, 1);
		}
	}
	skynet_command(s->ctx, "TIMEOUT", "1");
}

struct stress *
stress_create(void) {
	return skynet_calloc(1, sizeof(struct stress));
}

void
stress_release(struct stress *s) {
	skynet_free(s);
}

int
stress_init(struct stress *s, struct skynet_context *ctx, const char *parm) {
	unsigned long seed;
	long messages;
	s->ctx = ctx;
	if (parm && strcmp(parm, "actor") == 0) {
		s->random = fresh_seed();
		atomic_fetch_add(&S.born, 1);
		skynet_callback(ctx, s, on_actor);
		return 0;
	}
	if (parm == NULL || sscanf(parm, "director %lu %ld", &seed, &messages) != 2)
		return 1;
	skynet_callback(ctx, s, on_director);
	start(s, seed, messages);
	return 0;
}
