/*
 * Links to other harbors: the handshake, frames in both directions, and what a broken link means.
 *
 * Each side first sends one byte, its harbor id. Then come frames: a big-endian length, the
 * payload, and 12 bytes: source, destination (its top byte is the type) and session. What
 * breaks these rules, or carries a type that only the kernel may send, ends the link, with one
 * line in the log; other nodes are trusted with the rest, as harbor mode always was.
 *
 * When a link ends, calls that went through it and those that wait for it fail at once.
 */
#include "harbor.h"

#include "../../lualib-src/lua-seri.h"
#include "skynet_handle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HANDSHAKE_LIMIT "1000"       /* cs for the peer's first byte */
#define UNSENT_LIMIT (256 * 1024)    /* KB that a peer may leave unread */
#define KEEP_INPUT ((size_t)1 << 16) /* bytes of an idle link's input buffer */

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

static int
id_of(const struct harbor *h, const struct link *l) {
	return (int)(l - h->link);
}

static bool
is_up(const struct link *l) {
	return l->state == LINK_HANDSHAKE || l->state == LINK_READY;
}

/* The link that has, or had last, this socket; NULL when there's none. */
static struct link *
find_link(struct harbor *h, int fd) {
	for (int i = 1; i < REMOTE_MAX; i++) {
		if (h->link[i].state != LINK_NONE && h->link[i].fd == fd)
			return &h->link[i];
	}
	return NULL;
}

/*
 * ---- sending ----
 */

/* Somebody of this node waits for the answer. */
static bool
is_call(const struct harbor *h, const struct waiting *w) {
	return w->session != 0 && w->type != PTYPE_RESPONSE && w->type != PTYPE_ERROR &&
	       w->type != PTYPE_CLIENT && (int)(w->source >> HANDLE_REMOTE_SHIFT) == h->id;
}

void
link_write(struct harbor *h, struct link *l, const struct waiting *w) {
	size_t body = w->sz + COOKIE;
	uint8_t *frame = skynet_malloc(body + 4);
	put32(frame, (uint32_t)body);
	if (w->sz)
		memcpy(frame + 4, w->data, w->sz);
	put32(frame + 4 + w->sz, w->source);
	put32(frame + 8 + w->sz, (w->destination & HANDLE_MASK) | (uint32_t)w->type << 24);
	put32(frame + 12 + w->sz, (uint32_t)w->session);
	struct socket_sendbuffer b = {l->fd, SOCKET_BUFFER_MEMORY, frame, body + 4};
	if (is_call(h, w))
		pending_add(&h->pending, &(struct call){w->source, w->destination, w->session, w->type});
	/* a socket that is gone reports its close, which ends the link */
	(void)skynet_socket_sendbuffer(h->ctx, &b);
}

static void
ready(struct harbor *h, struct link *l) {
	struct waiting *w;
	l->state = LINK_READY;
	while ((w = queue_pop(&l->queue)) != NULL) {
		link_write(h, l, w);
		waiting_free(w);
	}
}

/*
 * ---- beginning and end ----
 */

static void
fail_calls(struct harbor *h, int id) {
	struct call c;
	size_t at = 0;
	while (pending_next(&h->pending, id, &at, &c))
		(void)skynet_send(h->ctx, c.destination, c.source, PTYPE_ERROR, c.session, NULL, 0);
}

void
link_release(struct link *l) {
	skynet_free(l->input);
	l->input = NULL;
	l->have = l->room = 0;
}

static void
link_down(struct harbor *h, struct link *l) {
	char text[16];
	struct waiting *w;
	int id = id_of(h, l);
	l->state = LINK_DOWN;
	l->timer = 0;
	link_release(l);
	skynet_socket_close(h->ctx, l->fd);
	while ((w = queue_pop(&l->queue)) != NULL) {
		harbor_refuse(h, w);
		waiting_free(w);
	}
	fail_calls(h, id);
	snprintf(text, sizeof(text), "D %d", id);
	harbor_tell_slave(h, text);
}

static void
say_hello(struct harbor *h, int fd) {
	uint8_t *hello = skynet_malloc(1);
	hello[0] = (uint8_t)h->id;
	struct socket_sendbuffer b = {fd, SOCKET_BUFFER_MEMORY, hello, 1};
	(void)skynet_socket_sendbuffer(h->ctx, &b);
}

void
link_new(struct harbor *h, const char *text, bool dialled) {
	int fd = 0, id = 0;
	if (sscanf(text, "%d %d", &fd, &id) != 2 || fd <= 0 || id <= 0 || id >= REMOTE_MAX ||
	    id == h->id) {
		skynet_error(h->ctx, "Invalid command %c %s", dialled ? 'S' : 'A', text);
		return;
	}
	struct link *l = &h->link[id];
	if (is_up(l)) {
		skynet_error(h->ctx, "Harbor %d alreay exist", id);
		skynet_socket_close(h->ctx, fd);
		return;
	}
	l->fd = fd;
	l->have = 0;
	skynet_socket_start(h->ctx, fd);
	skynet_socket_keepalive(h->ctx, fd, 30, 10, 3, 60000);
	say_hello(h, fd);
	if (dialled) {
		l->state = LINK_HANDSHAKE;
		l->timer = atoi(skynet_command(h->ctx, "TIMEOUT", HANDSHAKE_LIMIT));
	} else {
		ready(h, l);
	}
}

void
link_timer(struct harbor *h, int session) {
	for (int i = 1; i < REMOTE_MAX; i++) {
		struct link *l = &h->link[i];
		if (l->timer == session && l->state == LINK_HANDSHAKE) {
			skynet_error(h->ctx, "Harbor %d (fd = %d) doesn't answer the handshake", i, l->fd);
			link_down(h, l);
			return;
		}
	}
}

/*
 * ---- receiving ----
 */

/* Message types that carry pointers of this process, or steer the node itself. */
static bool
is_internal(int type) {
	return type == PTYPE_SYSTEM || type == PTYPE_HARBOR || type == PTYPE_SOCKET;
}

static bool
is_packed(int type) {
	return type == PTYPE_RESERVED_LUA || type == PTYPE_RESERVED_SNAX ||
	       type == PTYPE_RESERVED_DEBUG;
}

/* Does the payload hold a pointer? `asked`: the type of the call it answers, if it does. */
static bool
holds_pointer(int type, int asked, const uint8_t *payload, size_t sz) {
	char why[128];
	if (!is_packed(type) && !(type == PTYPE_RESPONSE && is_packed(asked)))
		return false;
	return seri_check(payload, sz, why, sizeof(why)) == SERI_POINTER;
}

/* Hand a frame to its destination. Returns false when the link has to be closed. */
static bool
deliver(struct harbor *h, struct link *l, const uint8_t *frame, size_t sz) {
	const uint8_t *cookie = frame + sz - COOKIE;
	uint32_t source = get32(cookie);
	uint32_t destination = get32(cookie + 4);
	int session = (int)get32(cookie + 8);
	int type = (int)(destination >> HANDLE_REMOTE_SHIFT);
	struct call call = {.type = -1};
	sz -= COOKIE;
	if (is_internal(type)) {
		skynet_error(h->ctx, "Invalid message type %d from harbor %d", type, id_of(h, l));
		return false;
	}
	destination = (destination & HANDLE_MASK) | (uint32_t)h->id << HANDLE_REMOTE_SHIFT;
	if (type == PTYPE_RESPONSE || type == PTYPE_ERROR)
		(void)pending_take(&h->pending, destination, session, &call);
	if (holds_pointer(type, call.type, frame, sz)) {
		skynet_error(h->ctx, "Message of :%x to :%x holds a pointer (type = %d)", source,
		             destination, type);
		if (type == PTYPE_RESPONSE)
			(void)skynet_send(h->ctx, source, destination, PTYPE_ERROR, session, NULL, 0);
		else if (session != 0)
			(void)skynet_send(h->ctx, destination, source, PTYPE_ERROR, session, NULL, 0);
		return true;
	}
	if (skynet_send(h->ctx, source, destination, type, session, (void *)frame, sz) >= 0)
		return true;
	/* an answer's session is a number of who asked: sent back, it could hit another call */
	if (type != PTYPE_ERROR && type != PTYPE_RESPONSE)
		(void)skynet_send(h->ctx, destination, source, PTYPE_ERROR, session, NULL, 0);
	skynet_error(h->ctx, "Unknown destination :%x from :%x type(%d)", destination, source, type);
	return true;
}

/* The first byte of a link we dialled: the peer's id. */
static bool
check_hello(struct harbor *h, struct link *l) {
	int id = id_of(h, l);
	if (l->input[0] == id) {
		ready(h, l);
		return true;
	}
	skynet_error(h->ctx, "Invalid shakehand id (%d) from fd = %d , harbor = %d", id, l->fd,
	             l->input[0]);
	return false;
}

/* Use up whole frames of the input. Returns false when the link has to be closed. */
static bool
take_frames(struct harbor *h, struct link *l) {
	size_t at = 0;
	if (l->state == LINK_HANDSHAKE && l->have > 0) {
		if (!check_hello(h, l))
			return false;
		at = 1;
	}
	while (l->have - at >= 4) {
		size_t sz = get32(l->input + at);
		if (sz >= MAX_FRAME || sz < COOKIE) {
			skynet_error(h->ctx, "Message is too %s from harbor %d",
			             sz < COOKIE ? "short" : "long", id_of(h, l));
			return false;
		}
		if (l->have - at - 4 < sz)
			break;
		if (!deliver(h, l, l->input + at + 4, sz))
			return false;
		at += sz + 4;
	}
	memmove(l->input, l->input + at, l->have - at);
	l->have -= at;
	if (l->have == 0 && l->room > KEEP_INPUT)
		link_release(l);
	return true;
}

static void
on_data(struct harbor *h, const struct skynet_socket_message *m) {
	struct link *l = find_link(h, m->id);
	if (l == NULL) {
		skynet_error(h->ctx, "Invalid socket fd (%d) data", m->id);
		return;
	}
	if (!is_up(l))
		return; /* was under way when we closed it */
	size_t n = (size_t)m->ud;
	if (l->room - l->have < n) {
		l->room = (l->have + n) * 2;
		l->input = skynet_realloc(l->input, l->room);
	}
	memcpy(l->input + l->have, m->buffer, n);
	l->have += n;
	if (!take_frames(h, l))
		link_down(h, l);
}

static void
on_closed(struct harbor *h, int fd) {
	struct link *l = find_link(h, fd);
	if (l == NULL)
		skynet_error(h->ctx, "Unknown fd (%d) closed", fd);
	else if (is_up(l))
		link_down(h, l);
}

/* The peer doesn't read. */
static void
on_warning(struct harbor *h, int fd, int kilobytes) {
	struct link *l = find_link(h, fd);
	if (l == NULL || !is_up(l) || kilobytes == 0)
		return;
	skynet_error(h->ctx, "message havn't send to harbor (%d) reach %d K", id_of(h, l), kilobytes);
	if (kilobytes >= UNSENT_LIMIT) {
		skynet_socket_shutdown(h->ctx, fd);
		link_down(h, l);
	}
}

void
link_socket_event(struct harbor *h, const struct skynet_socket_message *m) {
	switch (m->type) {
	case SKYNET_SOCKET_TYPE_DATA:
		on_data(h, m);
		skynet_free(m->buffer);
		break;
	case SKYNET_SOCKET_TYPE_ERROR:
	case SKYNET_SOCKET_TYPE_CLOSE:
		on_closed(h, m->id);
		break;
	case SKYNET_SOCKET_TYPE_WARNING:
		on_warning(h, m->id, m->ud);
		break;
	default:
		break; /* connected: nothing to do */
	}
}
