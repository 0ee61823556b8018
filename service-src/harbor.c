/*
 * The harbor service: carries messages to and from the services of other harbors.
 *
 * It's launched by the slave service with "<harbor id> <slave handle>". The kernel hands it every
 * message whose destination isn't on this node, as PTYPE_SYSTEM; the slave tells it, as text of
 * type PTYPE_HARBOR, of names ("N name", the source is the handle) and of connected sockets
 * ("S fd id" dialled, "A fd id" accepted). On the wire a message is a big-endian length, the
 * payload, and 12 bytes: source, destination (its top byte is the type) and session.
 *
 * A link that broke is marked down: messages to it are answered with errors, not queued, until
 * the slave brings a new connection.
 */
#include "skynet.h"
#include "skynet_handle.h"
#include "skynet_harbor.h"
#include "skynet_socket.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BUCKETS 1024
#define COOKIE 12
#define MAX_FRAME 0x1000000

/* Waits for a link or a name. */
struct waiting {
	struct waiting *next;
	uint32_t source;
	uint32_t destination; /* handle, with the type in the top byte; 0: by name */
	int session;
	int type;
	void *data;
	size_t sz;
};

struct queue {
	struct waiting *first, **last;
};

struct name {
	struct name *next;
	char text[GLOBALNAME_LENGTH];
	uint32_t handle; /* 0: not known yet */
	struct queue queue;
};

enum link_state { LINK_NONE, LINK_HANDSHAKE, LINK_READY, LINK_DOWN };

struct link {
	enum link_state state;
	int fd;
	struct queue queue;
	uint8_t *input; /* bytes of unfinished frames */
	size_t have, room;
};

struct harbor {
	struct skynet_context *ctx;
	int id;
	uint32_t slave;
	struct name *names[NAME_BUCKETS];
	struct link link[REMOTE_MAX];
};

/*
 * ---- small things ----
 */

static void
put32(uint8_t *p, uint32_t v) {
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static uint32_t
get32(const uint8_t *p) {
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void
queue_push(struct queue *q, struct waiting *w) {
	w->next = NULL;
	if (q->first == NULL)
		q->last = &q->first;
	*q->last = w;
	q->last = &w->next;
}

static void
queue_clear(struct queue *q) {
	while (q->first) {
		struct waiting *w = q->first;
		q->first = w->next;
		skynet_free(w->data);
		skynet_free(w);
	}
}

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

static void
tell_slave(struct harbor *h, const char *text) {
	/* the slave may be ending with the node */
	(void)skynet_send(h->ctx, 0, h->slave, PTYPE_TEXT, 0, (void *)text, strlen(text));
}

/*
 * ---- sending ----
 */

static void
write_frame(struct harbor *h, struct link *l, const struct waiting *w) {
	size_t body = w->sz + COOKIE;
	uint8_t *frame = skynet_malloc(body + 4);
	put32(frame, (uint32_t)body);
	if (w->sz)
		memcpy(frame + 4, w->data, w->sz);
	put32(frame + 4 + w->sz, w->source);
	put32(frame + 8 + w->sz, (w->destination & HANDLE_MASK) | (uint32_t)w->type << 24);
	put32(frame + 12 + w->sz, (uint32_t)w->session);
	struct socket_sendbuffer b = {l->fd, SOCKET_BUFFER_MEMORY, frame, body + 4};
	/* a socket that is gone reports its close, which marks the link down */
	(void)skynet_socket_sendbuffer(h->ctx, &b);
}

static void
refuse(struct harbor *h, const struct waiting *w, int harbor) {
	if (w->session != 0 && w->type != PTYPE_ERROR && w->type != PTYPE_RESPONSE)
		(void)skynet_send(h->ctx, w->destination, w->source, PTYPE_ERROR, w->session, NULL, 0);
	skynet_error(h->ctx,
	             "Drop message to harbor %d from %x to %x (session = %d, msgsz = %d)", harbor,
	             w->source, w->destination, w->session, (int)w->sz);
}

/* Send to a handle; takes w. */
static void
send_to_handle(struct harbor *h, struct waiting *w) {
	int id = (int)(w->destination >> HANDLE_REMOTE_SHIFT);
	struct link *l = &h->link[id];
	if (id == h->id) {
		if (skynet_send(h->ctx, w->source, w->destination, w->type | PTYPE_TAG_DONTCOPY,
		                w->session, w->data, w->sz) < 0)
			refuse(h, w, id);
		skynet_free(w);
		return;
	}
	if (w->sz > MAX_FRAME - COOKIE - 1) {
		skynet_error(h->ctx, "Message to %x is too long (%zu bytes)", w->destination, w->sz);
		refuse(h, w, id);
	} else if (l->state == LINK_READY) {
		write_frame(h, l, w);
	} else if (l->state == LINK_DOWN || h->id == 0) {
		refuse(h, w, id);
	} else {
		queue_push(&l->queue, w);
		return;
	}
	skynet_free(w->data);
	skynet_free(w);
}

static void
send_remote(struct harbor *h, struct remote_message *r, uint32_t source, int session) {
	struct waiting *w = skynet_calloc(1, sizeof(*w));
	w->source = source;
	w->session = session;
	w->type = r->type;
	w->data = (void *)r->message;
	w->sz = r->sz;
	w->destination = r->destination.handle;
	if (w->destination) {
		send_to_handle(h, w);
		return;
	}
	struct name *n = find_name(h, r->destination.name);
	if (n->handle) {
		w->destination = n->handle;
		send_to_handle(h, w);
		return;
	}
	bool first = n->queue.first == NULL;
	queue_push(&n->queue, w);
	if (first) {
		char text[GLOBALNAME_LENGTH + 4];
		snprintf(text, sizeof(text), "Q %.*s", GLOBALNAME_LENGTH, n->text);
		tell_slave(h, text);
	}
}

static void
learn_name(struct harbor *h, const char *text, uint32_t handle) {
	struct name *n = find_name(h, text);
	struct queue q = n->queue;
	n->handle = handle;
	n->queue.first = NULL;
	while (q.first) {
		struct waiting *w = q.first;
		q.first = w->next;
		w->destination = handle;
		send_to_handle(h, w);
	}
}

/*
 * ---- links ----
 */

static int
link_of(struct harbor *h, int fd) {
	for (int i = 1; i < REMOTE_MAX; i++) {
		if (h->link[i].fd == fd && h->link[i].state != LINK_NONE &&
		    h->link[i].state != LINK_DOWN)
			return i;
	}
	return 0;
}

static void
flush_link(struct harbor *h, struct link *l) {
	struct queue q = l->queue;
	l->queue.first = NULL;
	while (q.first) {
		struct waiting *w = q.first;
		q.first = w->next;
		write_frame(h, l, w);
		skynet_free(w->data);
		skynet_free(w);
	}
}

static void
link_down(struct harbor *h, int id) {
	struct link *l = &h->link[id];
	l->state = LINK_DOWN;
	skynet_free(l->input);
	l->input = NULL;
	l->have = l->room = 0;
	struct queue q = l->queue;
	l->queue.first = NULL;
	while (q.first) {
		struct waiting *w = q.first;
		q.first = w->next;
		refuse(h, w, id);
		skynet_free(w->data);
		skynet_free(w);
	}
	skynet_socket_close(h->ctx, l->fd);
	char text[16];
	snprintf(text, sizeof(text), "D %d", id);
	tell_slave(h, text);
}

/* "S fd id" (we dialled) or "A fd id" (we accepted): the slave gives us a connection. */
static void
new_link(struct harbor *h, const char *text, bool dialled) {
	int fd = 0, id = 0;
	if (sscanf(text, "%d %d", &fd, &id) != 2 || fd == 0 || id <= 0 || id >= REMOTE_MAX) {
		skynet_error(h->ctx, "Invalid command %c %s", dialled ? 'S' : 'A', text);
		return;
	}
	struct link *l = &h->link[id];
	if (l->state == LINK_HANDSHAKE || l->state == LINK_READY) {
		skynet_error(h->ctx, "Harbor %d alreay exist", id);
		return;
	}
	l->fd = fd;
	l->have = 0;
	l->state = dialled ? LINK_HANDSHAKE : LINK_READY;
	skynet_socket_start(h->ctx, fd);
	uint8_t *hello = skynet_malloc(1);
	hello[0] = (uint8_t)h->id;
	struct socket_sendbuffer b = {fd, SOCKET_BUFFER_MEMORY, hello, 1};
	(void)skynet_socket_sendbuffer(h->ctx, &b);
	if (!dialled)
		flush_link(h, l);
}

/*
 * ---- receiving ----
 */

static void
deliver(struct harbor *h, const uint8_t *frame, size_t sz) {
	const uint8_t *cookie = frame + sz - COOKIE;
	uint32_t source = get32(cookie);
	uint32_t destination = get32(cookie + 4);
	int session = (int)get32(cookie + 8);
	int type = (int)(destination >> HANDLE_REMOTE_SHIFT);
	destination = (destination & HANDLE_MASK) | (uint32_t)h->id << HANDLE_REMOTE_SHIFT;
	int sent = skynet_send(h->ctx, source, destination, type, session, (void *)frame, sz - COOKIE);
	if (sent >= 0)
		return;
	if (type != PTYPE_ERROR)
		(void)skynet_send(h->ctx, destination, source, PTYPE_ERROR, session, NULL, 0);
	skynet_error(h->ctx, "Unknown destination :%x from :%x type(%d)", destination, source, type);
}

/* Use up whole frames of the input. Returns false when the link has to be closed. */
static bool
take_frames(struct harbor *h, int id) {
	struct link *l = &h->link[id];
	size_t at = 0;
	if (l->state == LINK_HANDSHAKE && l->have > 0) {
		if (l->input[0] != id) {
			skynet_error(h->ctx, "Invalid shakehand id (%d) from fd = %d , harbor = %d", id,
			             l->fd, l->input[0]);
			return false;
		}
		l->state = LINK_READY;
		flush_link(h, l);
		at = 1;
	}
	while (l->have - at >= 4) {
		size_t sz = get32(l->input + at);
		if (sz >= MAX_FRAME || sz < COOKIE) {
			skynet_error(h->ctx, "Message is too %s from harbor %d",
			             sz < COOKIE ? "short" : "long", id);
			return false;
		}
		if (l->have - at - 4 < sz)
			break;
		deliver(h, l->input + at + 4, sz);
		at += sz + 4;
	}
	memmove(l->input, l->input + at, l->have - at);
	l->have -= at;
	return true;
}

static void
on_data(struct harbor *h, const struct skynet_socket_message *m) {
	int id = link_of(h, m->id);
	if (id == 0) {
		skynet_error(h->ctx, "Invalid socket fd (%d) data", m->id);
		return;
	}
	struct link *l = &h->link[id];
	size_t n = (size_t)m->ud;
	if (l->room - l->have < n) {
		l->room = (l->have + n) * 2;
		l->input = skynet_realloc(l->input, l->room);
	}
	memcpy(l->input + l->have, m->buffer, n);
	l->have += n;
	if (!take_frames(h, id))
		link_down(h, id);
}

static void
on_socket(struct harbor *h, const struct skynet_socket_message *m) {
	switch (m->type) {
	case SKYNET_SOCKET_TYPE_DATA:
		on_data(h, m);
		skynet_free(m->buffer);
		break;
	case SKYNET_SOCKET_TYPE_ERROR:
	case SKYNET_SOCKET_TYPE_CLOSE: {
		int id = link_of(h, m->id);
		if (id)
			link_down(h, id);
		else
			skynet_error(h->ctx, "Unknown fd (%d) closed", m->id);
		break;
	}
	case SKYNET_SOCKET_TYPE_WARNING:
		skynet_error(h->ctx, "message havn't send to harbor (%d) reach %d K",
		             link_of(h, m->id), m->ud);
		break;
	default:
		break; /* connected: nothing to do */
	}
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
		new_link(h, text + 2, text[0] == 'S');
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
		on_socket(h, msg);
		break;
	case PTYPE_HARBOR:
		on_command(h, msg, sz, source);
		break;
	case PTYPE_SYSTEM:
		if (sz == sizeof(struct remote_message)) {
			struct remote_message *r = (void *)msg;
			send_remote(h, r, source, session);
		}
		break;
	default:
		skynet_error(ctx, "recv invalid message from %x,  type = %d", source, type);
		if (session != 0 && type != PTYPE_ERROR)
			(void)skynet_send(ctx, 0, source, PTYPE_ERROR, session, NULL, 0);
	}
	return 0;
}

struct harbor *
harbor_create(void) {
	return skynet_calloc(1, sizeof(struct harbor));
}

void
harbor_release(struct harbor *h) {
	for (int i = 0; i < REMOTE_MAX; i++) {
		queue_clear(&h->link[i].queue);
		skynet_free(h->link[i].input);
	}
	for (int i = 0; i < NAME_BUCKETS; i++) {
		while (h->names[i]) {
			struct name *n = h->names[i];
			h->names[i] = n->next;
			queue_clear(&n->queue);
			skynet_free(n);
		}
	}
	skynet_free(h);
}

int
harbor_init(struct harbor *h, struct skynet_context *ctx, const char *parm) {
	int id = 0;
	unsigned slave = 0;
	h->ctx = ctx;
	if (parm == NULL || sscanf(parm, "%d %u", &id, &slave) != 2 || slave == 0) {
		skynet_error(ctx, "harbor needs \"<id> <slave handle>\", got %s", parm ? parm : "nothing");
		return 1;
	}
	h->id = id;
	h->slave = slave;
	skynet_callback(ctx, h, on_message);
	skynet_harbor_start(ctx);
	return 0;
}
