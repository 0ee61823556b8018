/*
 * What happens on a socket: reading, writing, connecting, accepting, closing. All functions but
 * the first take a locked socket (table_get) and leave it locked; it may be dead afterwards.
 */
#ifndef socket_io_h
#define socket_io_h

#include "socket_poll.h"
#include "socket_table.h"

#include <netdb.h>

int io_init(int pollers); /* 0, or -1 after a line on stderr */
void io_free(void);
int io_wait(int index, int64_t timeout_ns);
void io_wake(int index);

/* Tell the owner. Text goes after the event's struct. */
void io_event(struct sock *s, int type, int ud, const char *text);
void io_event_to(uint32_t owner, int id, int type, int ud, const char *text);

/* Tell the poller what is wanted now; -1 when it refuses the descriptor. */
int io_watch(struct sock *s);
/* Append a list of buffers (its last one's `next` is NULL) of so many bytes: takes the blocks. */
void io_append(struct sock *s, struct out_queue *q, struct outgoing *first, struct outgoing *last,
               size_t bytes);
/* End a socket whose output waits and is more than its limit: ERROR. True if it was. */
bool io_overfull(struct sock *s);
/* Send as much as goes. */
void io_flush(struct sock *s);
/* Try the next address of a connecting socket. */
void io_connect_next(struct sock *s, const char *reason);
/* Finish with a socket: no event. */
void io_release(struct sock *s);
/* Fail a socket: ERROR, and its end. */
void io_fail(struct sock *s, const char *reason);
/* Options of every TCP socket. */
void io_tcp_options(int fd);
/* Text of an address, with or without port. */
void io_address_text(const union address *a, bool port, char *out, size_t sz);
/* Datagrams waiting to be sent. */
void io_send_datagram(struct sock *s, struct outgoing *o);

/* Look `host` up on another thread, then connect the socket. */
void resolve_later(int id, const char *host, int port);

#endif
