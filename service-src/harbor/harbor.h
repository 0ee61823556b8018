/*
 * The harbor service's parts: what harbor.c (commands, names, routing) and link.c (connections
 * and the wire) share. All of it belongs to the one harbor service and runs on its thread.
 */
#ifndef harbor_harbor_h
#define harbor_harbor_h

#include "pending.h"

#include "skynet.h"
#include "skynet_harbor.h"
#include "skynet_socket.h"

#define COOKIE 12           /* bytes after a frame's payload: source, destination, session */
#define MAX_FRAME 0x1000000 /* the length's first byte has to be 0 */
#define NAME_BUCKETS 1024

/* A message that waits for a link or a name. */
struct waiting {
	struct waiting *next;
	uint32_t source;
	uint32_t destination; /* handle; 0: by name */
	int session;
	int type;
	void *data;
	size_t sz;
};

struct queue {
	struct waiting *first, **last;
	size_t count, bytes;
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
	int timer; /* session of the handshake's time limit */
	struct queue queue;
	uint8_t *input; /* bytes of unfinished frames */
	size_t have, room;
	uint64_t log_window;  /* when the current second of log lines began, cs */
	unsigned log_lines;   /* written in it */
	unsigned log_skipped; /* since the last one written */
};

struct harbor {
	struct skynet_context *ctx;
	int id;
	uint32_t slave;
	struct name *names[NAME_BUCKETS];
	struct link link[REMOTE_MAX];
	struct pending pending;
};

/* ---- harbor.c ---- */

/* Takes w; false when the queue is full, and w is still the caller's. */
bool queue_push(struct queue *q, struct waiting *w);
/* The oldest, the caller's from now on; NULL when it's empty. */
struct waiting *queue_pop(struct queue *q);
void waiting_free(struct waiting *w);
/* Answer a message that can't go out with an error, and log that. Borrows w. */
void harbor_refuse(struct harbor *h, const struct waiting *w);
void harbor_tell_slave(struct harbor *h, const char *text);

/* ---- link.c ---- */

/* Write a message to a ready link. Borrows w. */
void link_write(struct harbor *h, struct link *l, const struct waiting *w);
/* "S fd id" (we dialled) or "A fd id" (we accepted): the slave gives us a connection. */
void link_new(struct harbor *h, const char *text, bool dialled);
void link_socket_event(struct harbor *h, const struct skynet_socket_message *m);
/* A time limit passed. */
void link_timer(struct harbor *h, int session);
void link_release(struct link *l);

#endif
