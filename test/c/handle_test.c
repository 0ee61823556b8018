/*
 * The registry and the epochs under it: threads look handles up without a lock while others
 * register and retire. A look-up finds the service or nothing, never freed memory, and what is
 * retired is freed once nobody can see it.
 */
#include "epoch.h"
#include "service.h"
#include "skynet_handle.h"
#include "skynet_imp.h"
#include "skynet_server.h"

#include "tap.h"

#include <pthread.h>
#include <string.h>

#define WRITERS 2
#define READERS 2
#define ROUNDS 3000
#define ALIVE 64

static _Atomic uint32_t shared[WRITERS][ALIVE];
static atomic_int writers_left;
static atomic_long made, freed, found, missed, wrong;

/* What the kernel's server does with a service, cut to its memory. */
static void
release(void *p) {
	struct skynet_context *ctx = p;
	ctx->handle = 0xdeadbeef;
	skynet_free(ctx);
	atomic_fetch_add(&freed, 1);
}

void
service_retire(struct skynet_context *ctx) {
	epoch_retire(ctx, release);
}

ptrdiff_t
skynet_memory_charge(struct skynet_context *ctx) {
	(void)ctx;
	return 0;
}

static struct skynet_context *
make(void) {
	struct skynet_context *ctx = skynet_aligned_alloc(64, (sizeof(*ctx) + 63) / 64 * 64);
	memset(ctx, 0, sizeof(*ctx));
	atomic_init(&ctx->refs, 1);
	atomic_fetch_add(&made, 1);
	return ctx;
}

static void *
write_table(void *p) {
	int me = (int)(intptr_t)p;
	/* on, until the readers had their share of the processors, too */
	for (int i = 0; i < ROUNDS || atomic_load(&found) < ROUNDS; i++) {
		_Atomic uint32_t *slot = &shared[me][i % ALIVE];
		uint32_t old = atomic_load(slot);
		atomic_store(slot, skynet_handle_register(make()));
		if (old && !skynet_handle_retire(old))
			atomic_fetch_add(&wrong, 1);
		epoch_collect();
	}
	for (int i = 0; i < ALIVE; i++)
		skynet_handle_retire(atomic_load(&shared[me][i]));
	atomic_fetch_sub(&writers_left, 1);
	return NULL;
}

static void *
read_table(void *p) {
	uint64_t seed = (uint64_t)(uintptr_t)p + 1;
	while (atomic_load(&writers_left) > 0) {
		uint64_t r = tap_random(&seed);
		uint32_t handle = atomic_load(&shared[r % WRITERS][r / 8 % ALIVE]);
		if (handle == 0)
			continue;
		epoch_enter();
		struct skynet_context *ctx = skynet_handle_peek(handle);
		if (ctx == NULL)
			atomic_fetch_add(&missed, 1);
		else if (ctx->handle == handle)
			atomic_fetch_add(&found, 1);
		else
			atomic_fetch_add(&wrong, 1);
		epoch_leave();
		epoch_collect();
	}
	return NULL;
}

static void
concurrent(void) {
	pthread_t t[WRITERS + READERS];
	atomic_store(&writers_left, WRITERS);
	for (intptr_t i = 0; i < WRITERS; i++)
		pthread_create(&t[i], NULL, write_table, (void *)i);
	for (intptr_t i = 0; i < READERS; i++)
		pthread_create(&t[WRITERS + i], NULL, read_table, (void *)i);
	for (int i = 0; i < WRITERS + READERS; i++)
		pthread_join(t[i], NULL);
	epoch_collect();
	ok(atomic_load(&wrong) == 0, "a look-up finds the service it asks for, or none");
	ok(atomic_load(&found) > 0, "services are found while others come and go");
	ok(atomic_load(&made) == atomic_load(&freed), "all that was retired is freed in the end");
}

static void
numbers(void) {
	struct skynet_context *a = make(), *b = make();
	uint32_t first = skynet_handle_register(a), second = skynet_handle_register(b);
	ok(first == (3u << 24 | 1) && second == (3u << 24 | 2),
	   "handles grow from 1, under the harbor");
	ok(skynet_handle_peek(first) == a && skynet_handle_peek(1) == NULL,
	   "all 32 bits of a handle count");
	ok(strcmp(skynet_handle_namehandle(first, "one"), "one") == 0 &&
	       skynet_handle_namehandle(second, "one") == NULL,
	   "a name belongs to one service");
	ok(skynet_handle_findname("one") == first, "names are found");
	ok(skynet_handle_retire(first) == 1 && skynet_handle_retire(first) == 0,
	   "a service is retired once");
	ok(skynet_handle_findname("one") == 0 && skynet_handle_namehandle(second, "one") != NULL,
	   "its names are free again");
	ok(skynet_handle_register(make()) == (3u << 24 | 3), "numbers aren't used again");
	skynet_handle_retire(second);
	skynet_handle_retire(3u << 24 | 3);
}

int
main(void) {
	skynet_handle_init(3, 1);
	numbers();
	concurrent();
	return done();
}
