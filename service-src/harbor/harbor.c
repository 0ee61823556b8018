/*
 * The harbor service: carries messages to and from the services of other harbors.
 *
 * It's launched by the slave service with "<harbor id> <slave handle>". The kernel hands it every
 * message whose destination isn't on this node, as PTYPE_SYSTEM; the slave tells it, as text of
 * type PTYPE_HARBOR, of names ("N name", the source is the handle) and of connected sockets
 * ("S fd id" dialled, "A fd id" accepted). This file routes what goes out and keeps the names;
 * link.c has the connections and the wire.
 *
 * Messages to a harbor that was never connected, or to a name that nobody has registered, wait,
 * up to a limit. Messages to a harbor whose link broke are answered with errors until the slave
 * brings a new connection.
 */
#include "harbor.h"

#include "skynet_handle.h"
#include "skynet_runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A queue takes no more: somebody sends for ever to what doesn't come. */
#define QUEUE_COUNT 100000
#define QUEUE_BYTES ((size_t)64 << 20)
#define LOG_LINES 10 /* about refused messages, for each link and second */

/*
 * ---- queues ----
 */

bool
queue_push(struct queue *q, struct waiting *w) {
	if (q->count >= QUEUE_COUNT || q->bytes + w->sz > QUEUE_BYTES)
		return false;
	w->next = NULL;
	if (q->first == NULL)
		q->last = &q->first;
	*q->last = w;
	q->last = &w->next;
	q->count++;
	q->bytes += w->sz;
	return true;
}

struct waiting *
queue_pop(struct queue *q) {
	struct waiting *w = q->first;
	if (w) {
		q->first = w->next;
		q->count--;
		q->bytes -= w->sz;
	}
	return w;
}

void
waiting_free(struct waiting *w) {
	skynet_free(w->data);
	skynet_free(w);
}

static void
queue_clear(struct queue *q) {
	struct waiting *w;
	while ((w = queue_pop(q)) != NULL)
		waiting_free(w);
}

/*
 * ---- refusing ----
 */

/* May a line about this link be written now? A broken node must not fill the log. */
static bool
may_log(struct harbor *h, int id) {
	struct link *l = &h->link[id];
	uint64_t now = skynet_now();
	if (now - l->log_window >= 100) {
		l->log_window = now;
		l->log_lines = 0;
	}
	if (l->log_lines >= LOG_LINES) {
		l->log_skipped++;
		return false;
	}
	l->log_lines++;
	if (l->log_skipped) {
		skynet_error(h->ctx, "Drop %u more messages to harbor %d", l->log_skipped, id);
		l->log_skipped = 0;
	}
	return true;
}

/* Fail who waits for an answer. A client message's session is a socket id: nobody waits. */
static void
answer_error(struct harbor *h, const struct waiting *w) {
	if (w->session != 0 && w->type != PTYPE_ERROR && w->type != PTYPE_RESPONSE &&
	    w->type != PTYPE_CLIENT)
		(void)skynet_send(h->ctx, w->destination, w->source, PTYPE_ERROR, w->session, NULL, 0);
}

void
harbor_refuse(struct harbor *h, const struct waiting *w) {
	int id = (int)(w->destination >> HANDLE_REMOTE_SHIFT);
	answer_error(h, w);
	if (may_log(h, id))
		skynet_error(h->ctx, "Drop message to harbor %d from %x to %x (session = %d, msgsz = %d)",
		             id, w->source, w->destination, w->session, (int)w->sz);
}

/* The name's queue is full. */
static void
refuse_named(struct harbor *h, const struct name *n, const struct waiting *w) {
	answer_error(h, w);
	if (may_log(h, 0))
		skynet_error(h->ctx, "Drop message to %.*s (in harbor %d)", GLOBALNAME_LENGTH, n->text,
		             h->id);
}

/*
 * ---- routing ----
 */

void
harbor_tell_slave(struct harbor *h, const char *text) {
	/* the slave may be ending with the node */
	(void)skynet_send(h->ctx, 0, h->slave, PTYPE_TEXT, 0, (void *)text, strlen(text));
}

static void
send_here(struct harbor *h, struct waiting *w) {
	if (skynet_send(h->ctx, w->source, w->destination, w->type | PTYPE_TAG_DONTCOPY, w->session,
	                w->data, w->sz) < 0)
		harbor_refuse(h, w);
	skynet_free(w);
}

/* Send to a handle; takes w. */
static void
send_to_handle(struct harbor *h, struct waiting *w) {
	int id = (int)(w->destination >> HANDLE_REMOTE_SHIFT);
	struct link *l = &h->link[id];
	if (id == h->id) {
		send_here(h, w);
		return;
	}
	if (w->sz >= MAX_FRAME - COOKIE) {
		skynet_error(h->ctx, "Message to %x is too long (%zu bytes)", w->destination, w->sz);
		harbor_refuse(h, w);
	} else if (l->state == LINK_READY) {
		link_write(h, l, w);
	} else if (l->state != LINK_DOWN && h->id != 0 && queue_push(&l->queue, w)) {
		return;
	} else {
		harbor_refuse(h, w);
	}
	waiting_free(w);
}

/*
 * ---- names ----
 */

static struct name *
find_name(struct harbor *h, const char *text) {
	uint32_t sum = 5381;
	for (int i = 0; i < GLOBALNAME_LENGTH && text[i]; i++)
		sum = sum * 33 + (unsigned char)text[i];
	struct name **b = &h->names[sum % NAME_BUCKETS];
	for (struct name *n = *b; n; n = n->next) {
		if (strncmp(n->text, text, GLOBALNAME_LENGTH) == 0)
			return n;
	}
	struct name *n = skynet_calloc(1, sizeof(*n));
	memcpy(n->text, text, strnlen(text, GLOBALNAME_LENGTH));
	n->next = *b;
	*b = n;
	return n;
}

/* Send to a name; takes w. */
static void
send_to_name(struct harbor *h, struct name *n, struct waiting *w) {
	if (n->handle) {
		w->destination = n->handle;
		send_to_handle(h, w);
		return;
	}
	bool first = n->queue.first == NULL;
	if (!queue_push(&n->queue, w)) {
		refuse_named(h, n, w);
		waiting_free(w);
	} else if (first) {
		char text[GLOBALNAME_LENGTH + 4];
		snprintf(text, sizeof(text), "Q %.*s", GLOBALNAME_LENGTH, n->text);
		harbor_tell_slave(h, text);
	}
}

static void
learn_name(struct harbor *h, const char *text, uint32_t handle) {
	struct name *n = find_name(h, text);
	struct waiting *w;
	n->handle = handle;
	while ((w = queue_pop(&n->queue)) != NULL) {
		w->destination = handle;
		send_to_handle(h, w);
	}
}

/*
 * ---- messages ----
 */

/* A message for another node, from the kernel. */
static void
on_outgoing(struct harbor *h, const struct remote_message *r, uint32_t source, int session) {
	struct waiting *w = skynet_calloc(1, sizeof(*w));
	w->source = source;
	w->session = session;
	w->type = r->type;
	w->data = (void *)r->message;
	skynet_account_take(w->data);
	w->sz = r->sz;
	w->destination = r->destination.handle;
	if (w->destination)
		send_to_handle(h, w);
	else
		send_to_name(h, find_name(h, r->destination.name), w);
}

static void
on_command(struct harbor *h, const char *msg, size_t sz, uint32_t source) {
	char text[64] = "";
	if (sz < 2 || sz >= sizeof(text)) {
		skynet_error(h->ctx, "Invalid command (%zu bytes)", sz);
		return;
	}
	memcpy(text, msg, sz);
	switch (text[0]) {
	case 'N':
		if (sz - 2 == 0 || sz - 2 > GLOBALNAME_LENGTH) {
			skynet_error(h->ctx, "Invalid global name %s", text + 2);
			return;
		}
		learn_name(h, text + 2, source);
		break;
	case 'S':
	case 'A':
		link_new(h, text + 2, text[0] == 'S');
		break;
	default:
		skynet_error(h->ctx, "Unknown command %s", text);
	}
}

static int
on_message(struct skynet_context *ctx, void *ud, int type, int session, uint32_t source,
           const void *msg, size_t sz) {
	struct harbor *h = ud;
	switch (type) {
	case PTYPE_SOCKET:
		link_socket_event(h, msg);
		break;
	case PTYPE_HARBOR:
		on_command(h, msg, sz, source);
		break;
	case PTYPE_SYSTEM:
		if (sz == sizeof(struct remote_message))
			on_outgoing(h, msg, source, session);
		break;
	case PTYPE_RESPONSE:
		link_timer(h, session);
		break;
	default:
		skynet_error(ctx, "recv invalid message from %x,  type = %d", source, type);
		if (session != 0 && type != PTYPE_ERROR)
			(void)skynet_send(ctx, 0, source, PTYPE_ERROR, session, NULL, 0);
	}
	return 0;
}

/*
 * ---- the service ----
 */

struct harbor *
harbor_create(void) {
	return skynet_calloc(1, sizeof(struct harbor));
}

void
harbor_release(struct harbor *h) {
	for (int i = 0; i < REMOTE_MAX; i++) {
		queue_clear(&h->link[i].queue);
		link_release(&h->link[i]);
	}
	for (int i = 0; i < NAME_BUCKETS; i++) {
		while (h->names[i]) {
			struct name *n = h->names[i];
			h->names[i] = n->next;
			queue_clear(&n->queue);
			skynet_free(n);
		}
	}
	pending_clear(&h->pending);
	skynet_free(h);
}

int
harbor_init(struct harbor *h, struct skynet_context *ctx, const char *parm) {
	int id = 0;
	unsigned slave = 0;
	h->ctx = ctx;
	if (parm == NULL || sscanf(parm, "%d %u", &id, &slave) != 2 || slave == 0 || id < 0 ||
	    id >= REMOTE_MAX) {
		skynet_error(ctx, "harbor needs \"<id> <slave handle>\", got %s",
		             parm ? parm : "nothing");
		return 1;
	}
	h->id = id;
	h->slave = slave;
	skynet_callback(ctx, h, on_message);
	skynet_harbor_start(ctx);
	return 0;
}
