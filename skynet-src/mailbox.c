#include "mailbox.h"

#include "account.h"

#define DEPTH_SHIFT 48
#define DEPTH_MAX ((uint64_t)0xffff)
#define POINTER_MASK (((uint64_t)1 << DEPTH_SHIFT) - 1)

/* Nodes of what this thread has read, for what it sends: services do both. */
#define POOL_MAX 64

static _Thread_local struct {
	struct mailbox_node *first;
	int n;
} pool;

static struct mailbox_node *
take_node(void) {
	struct mailbox_node *n = pool.first;
	if (n == NULL)
		return account_malloc(sizeof(*n));
	pool.first = n->next;
	pool.n--;
	return n;
}

static void
free_node(struct mailbox_node *n) {
	if (pool.n == POOL_MAX) {
		account_free(n);
		return;
	}
	n->next = pool.first;
	pool.first = n;
	pool.n++;
}

void
mailbox_thread_ends(void) {
	while (pool.first) {
		struct mailbox_node *n = pool.first;
		pool.first = n->next;
		account_free(n);
	}
	pool.n = 0;
}

void
mailbox_init(struct mailbox *m) {
	atomic_init(&m->head, 0);
	atomic_init(&m->limit, 0);
	m->first = NULL;
	atomic_init(&m->count, 0);
}

/* One writer, hence no read-modify-write. */
static void
set_count(struct mailbox *m, int count) {
	atomic_store_explicit(&m->count, count, memory_order_relaxed);
}

bool
mailbox_push(struct mailbox *m, const struct skynet_message *msg) {
	struct mailbox_node *n = take_node();
	n->msg = *msg;
	uint64_t old = atomic_load_explicit(&m->head, memory_order_relaxed);
	uint64_t fresh;
	do {
		uint64_t top = old == MAILBOX_IDLE ? 0 : old & POINTER_MASK;
		uint64_t depth = old == MAILBOX_IDLE ? 0 : old >> DEPTH_SHIFT;
		if (depth < DEPTH_MAX)
			depth++;
		n->next = (struct mailbox_node *)top;
		fresh = depth << DEPTH_SHIFT | (uint64_t)n;
		/* seq_cst on success: publishes the node, and orders it before the scheduler's test
		   for sleeping workers; pairs with the exchange in refill */
	} while (!atomic_compare_exchange_weak_explicit(&m->head, &old, fresh, memory_order_seq_cst,
	                                                memory_order_relaxed));
	return old == MAILBOX_IDLE;
}

bool
mailbox_rouse(struct mailbox *m) {
	uint64_t idle = MAILBOX_IDLE;
	return atomic_compare_exchange_strong(&m->head, &idle, 0);
}

/* Take the senders' stack over, oldest first. */
static bool
refill(struct mailbox *m) {
	/* acquire: pairs with the push, so the nodes are complete */
	uint64_t head = atomic_load_explicit(&m->head, memory_order_relaxed);
	if (head == 0)
		return false;
	head = atomic_exchange_explicit(&m->head, 0, memory_order_acq_rel);
	struct mailbox_node *n = (struct mailbox_node *)(head & POINTER_MASK);
	struct mailbox_node *list = NULL;
	int count = 0;
	while (n) {
		struct mailbox_node *next = n->next;
		n->next = list;
		list = n;
		n = next;
		count++;
	}
	m->first = list;
	set_count(m, count);
	return list != NULL;
}

bool
mailbox_pop(struct mailbox *m, struct skynet_message *msg) {
	if (m->first == NULL && !refill(m))
		return false;
	struct mailbox_node *n = m->first;
	m->first = n->next;
	set_count(m, atomic_load_explicit(&m->count, memory_order_relaxed) - 1);
	*msg = n->msg;
	free_node(n);
	return true;
}

bool
mailbox_rest(struct mailbox *m) {
	uint64_t empty = 0;
	/* release: what the service did is visible to the worker that runs it next; pairs with the
	   compare-and-swap of the sender that schedules it */
	return atomic_compare_exchange_strong(&m->head, &empty, MAILBOX_IDLE);
}

int
mailbox_length(struct mailbox *m) {
	uint64_t head = atomic_load_explicit(&m->head, memory_order_relaxed);
	return atomic_load_explicit(&m->count, memory_order_relaxed) +
	       (head == MAILBOX_IDLE ? 0 : (int)(head >> DEPTH_SHIFT));
}

bool
mailbox_full(struct mailbox *m) {
	uint32_t limit = atomic_load_explicit(&m->limit, memory_order_relaxed);
	return limit > 0 && mailbox_length(m) >= (int)limit;
}
