/*
 * Tables of live objects, for pointers that travel between services as light userdata.
 *
 * What Lua carries isn't an address but a number that is never used twice: a tag in the top byte
 * (above every address a process can have), then a serial number. A number that was forged,
 * used up or whose object is gone isn't in the table, so it can be refused instead of followed.
 *
 * Threads: any. The caller holds the lock around find, insert and remove, and for as long as it
 * touches an object it holds no reference to.
 */
#ifndef skynet_lua_live_h
#define skynet_lua_live_h

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct live_slot {
	uint64_t id; /* 0: empty */
	void *object;
};

struct live {
	pthread_mutex_t lock;
	struct live_slot *slot;
	size_t size; /* a power of two, or 0 */
	size_t used;
	uint64_t serial;
};

#define LIVE_INIT                                                                                \
	{ .lock = PTHREAD_MUTEX_INITIALIZER }

/* Tags: which table a number belongs to. */
enum { LIVE_SHAREDATA = 0xd1, LIVE_DATASHEET = 0xd2, LIVE_STM = 0xd3, LIVE_PACKAGE = 0xd4 };

static inline void
live_lock(struct live *t) {
	pthread_mutex_lock(&t->lock);
}

static inline void
live_unlock(struct live *t) {
	pthread_mutex_unlock(&t->lock);
}

/* Put an object in under `id`, which must not be there yet. False: no memory. */
bool live_insert(struct live *t, uint64_t id, void *object);
/* The object, or NULL. */
void *live_find(const struct live *t, uint64_t id);
/* Take the object out; NULL if it isn't there. */
void *live_remove(struct live *t, uint64_t id);

/*
 * Heap blocks that one service allocates and another may free belong to nobody's memory charge:
 * live_share right after allocating, live_free in place of skynet_free; live_take when the running
 * service becomes the only owner. NULL is fine.
 */
void live_share(void *block);
void live_take(void *block);
void live_free(void *block);

/* Does the service exist? A handle of another node counts as alive. Any thread. */
bool live_service(uint32_t handle);

#endif
