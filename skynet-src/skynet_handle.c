/*
 * The table of services and the table of their names.
 *
 * Slots are atomic pointers, indexed by the low bits of the handle. Growing publishes a new
 * array; the old one is retired through the epochs, so a lookup is two loads and a comparison
 * and never waits. Registering and retiring take a lock. Numbers only grow until they wrap at
 * 16 million, so a stale handle finds nobody.
 *
 * Names sit in a small hash table under a lock; their text is kept for good, since callers may
 * hold pointers to it.
 */
#include "skynet_handle.h"

#include "account.h"
#include "epoch.h"
#include "service.h"
#include "skynet_harbor.h"
#include "skynet_imp.h"
#include "skynet_runtime.h"
#include "skynet_server.h"

#include <pthread.h>

#define FIRST_SIZE 64
#define NAME_BUCKETS 256

struct table {
	uint32_t mask;
	_Atomic(struct skynet_context *) slot[];
};

struct name {
	struct name *next;
	uint32_t handle; /* 0: free to be bound again */
	char text[];
};

static struct {
	uint32_t harbor; /* in the top byte */
	_Atomic(struct table *) table;
	pthread_mutex_t lock;
	uint32_t next; /* index to try next */
	uint32_t used;
	pthread_mutex_t name_lock;
	struct name *bucket[NAME_BUCKETS];
} H = {.lock = PTHREAD_MUTEX_INITIALIZER, .name_lock = PTHREAD_MUTEX_INITIALIZER};

static struct table *
table_new(uint32_t size) {
	struct table *t = account_calloc(1, sizeof(*t) + size * sizeof(t->slot[0]));
	if (t)
		t->mask = size - 1;
	return t;
}

static struct table *
table_now(void) {
	/* acquire: pairs with the release in grow, so the slots were copied */
	return atomic_load_explicit(&H.table, memory_order_acquire);
}

struct skynet_context *
skynet_handle_peek(uint32_t handle) {
	struct table *t = table_now();
	/* acquire: pairs with the release in register, so the service is complete */
	struct skynet_context *ctx =
		atomic_load_explicit(&t->slot[handle & t->mask], memory_order_acquire);
	return ctx && ctx->handle == handle ? ctx : NULL;
}

static bool
grow(void) {
	struct table *old = table_now();
	struct table *fresh = table_new((old->mask + 1) * 2);
	if (fresh == NULL)
		return false;
	for (uint32_t i = 0; i <= old->mask; i++) {
		struct skynet_context *ctx = atomic_load_explicit(&old->slot[i], memory_order_relaxed);
		if (ctx)
			atomic_init(&fresh->slot[ctx->handle & fresh->mask], ctx);
	}
	atomic_store_explicit(&H.table, fresh, memory_order_release);
	epoch_retire(old, account_free);
	return true;
}

uint32_t
skynet_handle_register(struct skynet_context *ctx) {
	pthread_mutex_lock(&H.lock);
	/* half full at most: an index that collides is found a neighbour soon */
	if (H.used * 2 > table_now()->mask && table_now()->mask < HANDLE_MASK && !grow()) {
		pthread_mutex_unlock(&H.lock);
		return 0;
	}
	struct table *t = table_now();
	uint32_t handle = 0;
	for (uint32_t tried = 0; H.used < HANDLE_MASK && tried <= t->mask; tried++) {
		uint32_t index = H.next++ & HANDLE_MASK;
		if (index == 0) {
			H.next = 1;
			index = H.next++;
		}
		if (atomic_load_explicit(&t->slot[index & t->mask], memory_order_relaxed))
			continue;
		handle = ctx->handle = index | H.harbor;
		H.used++;
		atomic_store_explicit(&t->slot[index & t->mask], ctx, memory_order_release);
		break;
	}
	pthread_mutex_unlock(&H.lock);
	return handle;
}

static void
forget_names(uint32_t handle) {
	pthread_mutex_lock(&H.name_lock);
	for (int i = 0; i < NAME_BUCKETS; i++) {
		for (struct name *n = H.bucket[i]; n; n = n->next) {
			if (n->handle == handle)
				n->handle = 0;
		}
	}
	pthread_mutex_unlock(&H.name_lock);
}

int
skynet_handle_retire(uint32_t handle) {
	pthread_mutex_lock(&H.lock);
	struct table *t = table_now();
	struct skynet_context *ctx = NULL;
	if (handle != 0) {
		ctx = atomic_load_explicit(&t->slot[handle & t->mask], memory_order_relaxed);
		if (ctx && ctx->handle != handle)
			ctx = NULL;
	}
	if (ctx) {
		atomic_store_explicit(&t->slot[handle & t->mask], NULL, memory_order_relaxed);
		H.used--;
	}
	pthread_mutex_unlock(&H.lock);
	if (ctx == NULL)
		return 0;
	forget_names(handle);
	service_retire(ctx);
	return 1;
}

struct skynet_context *
skynet_handle_grab(uint32_t handle) {
	epoch_enter();
	struct skynet_context *ctx = handle ? skynet_handle_peek(handle) : NULL;
	if (ctx) {
		/* a count of 0 means it's being freed already */
		int refs = atomic_load(&ctx->refs);
		while (refs > 0 && !atomic_compare_exchange_weak(&ctx->refs, &refs, refs + 1))
			;
		if (refs == 0)
			ctx = NULL;
	}
	epoch_leave();
	return ctx;
}

/* The next service but `spare`, from slot *at on: its handle, or 0 at the table's end. */
static uint32_t
next_handle(uint32_t *at, uint32_t spare) {
	uint32_t handle = 0;
	pthread_mutex_lock(&H.lock);
	struct table *t = table_now();
	for (; *at <= t->mask && handle == 0; ++*at) {
		struct skynet_context *ctx = atomic_load_explicit(&t->slot[*at], memory_order_relaxed);
		if (ctx && ctx->handle != spare)
			handle = ctx->handle;
	}
	pthread_mutex_unlock(&H.lock);
	return handle;
}

void
skynet_handle_retireall(void) {
	/* the logger goes last, by itself: see skynet_server.c */
	uint32_t logger = skynet_handle_findname("logger");
	bool any;
	do { /* again, for what was started meanwhile */
		uint32_t at = 0, handle;
		any = false;
		while ((handle = next_handle(&at, logger)) != 0) {
			(void)skynet_handle_retire(handle);
			any = true;
		}
	} while (any);
}

/*
 * ---- names ----
 */

static struct name **
bucket_of(const char *text) {
	uint32_t h = 5381;
	while (*text)
		h = h * 33 + (unsigned char)*text++;
	return &H.bucket[h % NAME_BUCKETS];
}

static struct name *
find(const char *text) {
	for (struct name *n = *bucket_of(text); n; n = n->next) {
		if (strcmp(n->text, text) == 0)
			return n;
	}
	return NULL;
}

uint32_t
skynet_handle_findname(const char *name) {
	pthread_mutex_lock(&H.name_lock);
	struct name *n = find(name);
	uint32_t handle = n ? n->handle : 0;
	pthread_mutex_unlock(&H.name_lock);
	return handle;
}

const char *
skynet_handle_namehandle(uint32_t handle, const char *name) {
	pthread_mutex_lock(&H.name_lock);
	struct name *n = find(name);
	if (n == NULL) {
		size_t sz = strlen(name) + 1;
		struct name **b = bucket_of(name);
		n = account_malloc(sizeof(*n) + sz);
		memcpy(n->text, name, sz);
		n->handle = 0;
		n->next = *b;
		*b = n;
	}
	bool taken = n->handle != 0;
	if (!taken)
		n->handle = handle;
	pthread_mutex_unlock(&H.name_lock);
	return taken ? NULL : n->text;
}

void
skynet_handle_register_thread(void) {
	if (epoch_self == NULL)
		(void)epoch_register();
}

void
skynet_handle_init(int harbor, int thread) {
	(void)thread;
	H.harbor = (uint32_t)(harbor & 0xff) << HANDLE_REMOTE_SHIFT;
	H.next = 1;
	atomic_store(&H.table, table_new(FIRST_SIZE));
}

/*
 * ---- memory charges of all services ----
 */

int
skynet_memory_charges(uint32_t *handle, ptrdiff_t *bytes, int max) {
	int n = 0;
	pthread_mutex_lock(&H.lock);
	struct table *t = table_now();
	for (uint32_t i = 0; i <= t->mask; i++) {
		struct skynet_context *ctx = atomic_load_explicit(&t->slot[i], memory_order_relaxed);
		if (ctx == NULL)
			continue;
		if (n < max) {
			handle[n] = ctx->handle;
			bytes[n] = skynet_memory_charge(ctx);
		}
		n++;
	}
	pthread_mutex_unlock(&H.lock);
	return n;
}
