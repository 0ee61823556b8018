/*
 * A message, how its type travels in the top byte of its size, and message queues of their own
 * for plug-ins that want one. The services' own queues are mailboxes (mailbox.h) and are reached
 * with skynet_context_push.
 */
#ifndef SKYNET_MESSAGE_QUEUE_H
#define SKYNET_MESSAGE_QUEUE_H

#include <stdint.h>
#include <stdlib.h>

struct skynet_message {
	uint32_t source;
	int session;
	void *data;
	size_t sz;
};

#define MESSAGE_TYPE_MASK (SIZE_MAX >> 8)
#define MESSAGE_TYPE_SHIFT ((sizeof(size_t) - 1) * 8)

#ifdef __cplusplus
extern "C" {
#endif

struct message_queue;
typedef void (*message_drop)(struct skynet_message *, void *);

/* Any thread pushes; one thread at a time pops. */
struct message_queue *skynet_mq_create(uint32_t handle);
void skynet_mq_mark_release(struct message_queue *);
/* Drop what is left and free the queue; nobody may use it any more. */
void skynet_mq_release(struct message_queue *, message_drop drop_func, void *ud);
uint32_t skynet_mq_handle(struct message_queue *);
/* 0, or 1 when it's empty. */
int skynet_mq_pop(struct message_queue *, struct skynet_message *message);
void skynet_mq_push(struct message_queue *, struct skynet_message *message);
int skynet_mq_length(struct message_queue *);
/* Length at which the queue last passed its warning threshold; reading clears it. */
int skynet_mq_overload(struct message_queue *);
void skynet_mq_init(void);

#ifdef __cplusplus
}
#endif

#endif
