/*
 * The table of sockets: ids to structures, owners to their sockets.
 *
 * Ids grow from 1 and are reused only after 2^31; a slot is the id's low bits. As with handles,
 * growing publishes a new array, and both arrays and sockets are freed through the epochs: a
 * look-up takes no lock but the socket's own.
 *
 * Each socket is in the list of its owner (hashed, a lock per bucket), so that the sockets of a
 * service that ends are found without looking at all of them.
 */
#include "socket_table.h"

#include "account.h"
#include "epoch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define FIRST_SIZE 256
#define OWNER_BUCKETS 256
#define WARNING_SIZE (1024 * 1024)
#define READ_FIRST 512

struct table {
	uint32_t mask;
	_Atomic(struct sock *) slot[];
};

struct bucket {
	struct spinlock lock;
	struct sock *first;
};

static struct {
	pthread_mutex_t lock; /* adding and removing */
	_Atomic(struct table *) table;
	uint32_t next;
	uint32_t used, max;
	struct bucket owner[OWNER_BUCKETS];
} T = {.lock = PTHREAD_MUTEX_INITIALIZER, .next = 1};

static struct table *
make_table(uint32_t size) {
	struct table *t = account_calloc(1, sizeof(*t) + size * sizeof(t->slot[0]));
	if (t)
		t->mask = size - 1;
	return t;
}

static struct table *
now(void) {
	/* acquire: pairs with the release in grow */
	return atomic_load_explicit(&T.table, memory_order_acquire);
}

static bool
grow(void) {
	struct table *old = now();
	struct table *fresh = make_table((old->mask + 1) * 2);
	if (fresh == NULL)
		return false;
	for (uint32_t i = 0; i <= old->mask; i++) {
		struct sock *s = atomic_load_explicit(&old->slot[i], memory_order_relaxed);
		if (s)
			atomic_init(&fresh->slot[(uint32_t)s->id & fresh->mask], s);
	}
	atomic_store_explicit(&T.table, fresh, memory_order_release);
	epoch_retire(old, account_free);
	return true;
}

static struct bucket *
bucket_of(uint32_t owner) {
	return &T.owner[(owner * 2654435761u) >> 24];
}

static void
link_owner(struct sock *s) {
	struct bucket *b = bucket_of(s->owner);
	spinlock_lock(&b->lock);
	s->owner_next = b->first;
	s->owner_prev = &b->first;
	if (b->first)
		b->first->owner_prev = &s->owner_next;
	b->first = s;
	spinlock_unlock(&b->lock);
}

static void
unlink_owner(struct sock *s) {
	struct bucket *b = bucket_of(s->owner);
	spinlock_lock(&b->lock);
	*s->owner_prev = s->owner_next;
	if (s->owner_next)
		s->owner_next->owner_prev = s->owner_prev;
	spinlock_unlock(&b->lock);
}

static void
init_queue(struct out_queue *q) {
	q->first = NULL;
	q->last = &q->first;
}

/* Give the socket a free id; with the table's lock held. */
static bool
place(struct sock *s) {
	if (T.used >= T.max || (T.used * 2 > now()->mask && !grow()))
		return false;
	struct table *t = now();
	for (;;) {
		uint32_t id = T.next++ & 0x7fffffff;
		if (id == 0)
			continue;
		if (atomic_load_explicit(&t->slot[id & t->mask], memory_order_relaxed))
			continue;
		s->id = (int)id;
		T.used++;
		/* release: pairs with the acquire in table_get, so the socket is complete */
		atomic_store_explicit(&t->slot[id & t->mask], s, memory_order_release);
		return true;
	}
}

struct sock *
table_new(uint32_t owner) {
	struct sock *s = account_calloc(1, sizeof(*s));
	if (s == NULL)
		return NULL;
	s->fd = -1;
	s->owner = owner;
	s->read_size = READ_FIRST;
	s->warn = WARNING_SIZE;
	init_queue(&s->high);
	init_queue(&s->low);
	epoch_enter();
	pthread_mutex_lock(&T.lock);
	spinlock_lock(&s->lock);
	bool placed = place(s);
	pthread_mutex_unlock(&T.lock);
	if (!placed) {
		epoch_leave();
		account_free(s);
		return NULL;
	}
	link_owner(s);
	return s; /* locked, inside the section: as table_get leaves it */
}

struct sock *
table_get(int id) {
	epoch_enter();
	struct table *t = now();
	struct sock *s = atomic_load_explicit(&t->slot[(uint32_t)id & t->mask], memory_order_acquire);
	if (s && s->id == id) {
		spinlock_lock(&s->lock);
		if (s->state != SOCKET_DEAD)
			return s;
		spinlock_unlock(&s->lock);
	}
	epoch_leave();
	return NULL;
}

void
table_put(struct sock *s) {
	spinlock_unlock(&s->lock);
	epoch_leave();
}

void
table_remove(struct sock *s) {
	unlink_owner(s);
	s->state = SOCKET_DEAD;
	pthread_mutex_lock(&T.lock);
	struct table *t = now();
	atomic_store_explicit(&t->slot[(uint32_t)s->id & t->mask], NULL, memory_order_relaxed);
	T.used--;
	pthread_mutex_unlock(&T.lock);
	epoch_retire(s, account_free);
}

void
table_own(struct sock *s, uint32_t owner) {
	if (s->owner == owner)
		return;
	unlink_owner(s);
	s->owner = owner;
	link_owner(s);
}

int
table_owned(uint32_t owner, int *id, int max) {
	struct bucket *b = bucket_of(owner);
	int n = 0;
	spinlock_lock(&b->lock);
	for (struct sock *s = b->first; s && n < max; s = s->owner_next) {
		if (s->owner == owner)
			id[n++] = s->id;
	}
	spinlock_unlock(&b->lock);
	return n;
}

int
table_next(uint32_t *cursor) {
	int id = 0;
	epoch_enter();
	struct table *t = now();
	while (*cursor <= t->mask && id == 0) {
		struct sock *s = atomic_load_explicit(&t->slot[(*cursor)++], memory_order_acquire);
		if (s)
			id = s->id;
	}
	epoch_leave();
	return id;
}

void
table_init(int max) {
	T.max = (uint32_t)max;
	atomic_store(&T.table, make_table(FIRST_SIZE));
}
