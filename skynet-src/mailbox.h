/*
 * A service's mailbox: many senders, one receiver.
 *
 * Senders push onto a shared stack, one compare-and-swap each; the receiver takes the whole stack
 * at once, turns it round, and then reads from a private list that nobody else touches. So order
 * per sender is kept, a preempted sender blocks nobody, and a burst's memory goes back message
 * by message. The stack's head holds its depth in the upper bits.
 *
 * The head also tells whether the service is scheduled: it's MAILBOX_IDLE while the service is
 * neither running nor queued to run. The sender that changes it has to schedule the service.
 */
#ifndef skynet_mailbox_h
#define skynet_mailbox_h

#include "skynet_mq.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

_Static_assert(sizeof(void *) == 8, "depth and pointer share a 64-bit word");

#define MAILBOX_IDLE ((uint64_t)1)

struct mailbox_node {
	struct mailbox_node *next;
	struct skynet_message msg;
};

struct mailbox {
	_Atomic uint64_t head;  /* senders: depth << 48 | top node, or MAILBOX_IDLE */
	_Atomic uint32_t limit; /* messages that may wait; 0: any number. Its owner keeps to it */
	char pad[52];
	struct mailbox_node *first; /* receiver's list */
	atomic_int count;           /* ... its length: the receiver writes it */
};

#define MAILBOX_LIMIT_MAX 65535 /* senders count no further */

/* A mailbox whose owner holds it: not idle, not scheduled. */
void mailbox_init(struct mailbox *m);

/* Any thread, inside an epoch section. True: the service was idle, schedule it. */
bool mailbox_push(struct mailbox *m, const struct skynet_message *msg);

/* Make an idle service scheduled without a message; true if the caller has to do it. */
bool mailbox_rouse(struct mailbox *m);

/* Receiver only: the next message; false when there's none right now. */
bool mailbox_pop(struct mailbox *m, struct skynet_message *msg);

/* Receiver only: go idle. False when messages came in between: the receiver goes on. */
bool mailbox_rest(struct mailbox *m);

/* Any thread, inside an epoch section: does it hold as many messages as its limit allows? */
bool mailbox_full(struct mailbox *m);

/* A thread that has read messages ends: free what it keeps. */
void mailbox_thread_ends(void);

/* Messages waiting; exact for the receiver, a snapshot for others. */
int mailbox_length(struct mailbox *m);

#endif
