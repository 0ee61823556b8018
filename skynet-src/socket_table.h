/*
 * Sockets and their ids. See socket_table.c.
 */
#ifndef socket_table_h
#define socket_table_h

#include "spinlock.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define SOCKET_HEAD_MAX 16

enum socket_state {
	SOCKET_RESERVED,  /* an id that has no descriptor yet */
	SOCKET_RESOLVING, /* its host name is looked up */
	SOCKET_CONNECTING,
	SOCKET_ACCEPTED, /* not started yet */
	SOCKET_CONNECTED,
	SOCKET_LISTENING,
	SOCKET_BOUND, /* an adopted descriptor */
	SOCKET_UDP,
	SOCKET_DEAD,
};

/* A buffer on its way out. */
struct outgoing {
	struct outgoing *next;
	void *block;      /* freed when sent; NULL: a later one has it */
	const char *data; /* what is left of it */
	size_t sz;
	union {
		uint8_t udp_address[20]; /* UDP: spec of the target; [0] == 0: none */
		struct {                 /* others: bytes that go before the data */
			uint8_t head[SOCKET_HEAD_MAX];
			uint8_t headsz, headat;
		};
	};
	bool begun; /* sent in part: nothing may come between */
};

struct out_queue {
	struct outgoing *first, **last;
};

union address {
	struct sockaddr s;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct addrinfo;

struct sock {
	struct spinlock lock; /* covers all that follows, but id */
	int id;
	int fd;
	uint32_t owner;
	uint8_t state;
	uint8_t poller;
	uint8_t busy;     /* threads in a system call on the descriptor, without the lock */
	bool listed : 1;  /* the poller knows the descriptor */
	bool reading : 1; /* wanted */
	bool writing : 1; /* waiting for room */
	bool dirty : 1;   /* in some worker's list of sockets to flush */
	bool started : 1; /* a listener that accepts */
	bool starved : 1; /* it rests: there are no descriptors */
	bool told_starved : 1;
	bool closing : 1;      /* closed by us: goes when everything was sent */
	bool read_closed : 1;  /* the peer has finished, or an error came */
	bool write_closed : 1; /* a write failed */
	bool told_close : 1;   /* the owner got its CLOSE */
	bool keep_fd : 1;      /* not ours to close */
	bool sending : 1;      /* a thread sends what is queued, without the lock */
	bool dropping : 1;     /* ... and is to drop the rest */
	bool udp_v6 : 1;
	uint32_t read_size; /* how much to expect per read */
	struct out_queue high, low;
	int64_t pending; /* bytes in both */
	int64_t warn;    /* next size to warn at */
	int64_t limit;   /* bytes that may wait; 0: any number */
	uint64_t bytes_in, bytes_out, time_in, time_out;
	struct sockaddr_in6 *udp_peer;             /* default target, either family; NULL: none */
	struct addrinfo *addresses, *next_address; /* still to be tried */
	struct sock *owner_next, **owner_prev;
};

void table_init(int max);
/* A new socket with an id, owned by `owner`; NULL when there are too many. */
struct sock *table_new(uint32_t owner);
/* Find and lock; NULL when there's none. Pair with table_put. */
struct sock *table_get(int id);
void table_put(struct sock *s);
/* Take a locked socket out of the table; its memory goes later. Still pair with table_put. */
void table_remove(struct sock *s);
/* Give a locked socket another owner. */
void table_own(struct sock *s, uint32_t owner);
/* Ids the owner has, at most max; returns how many. */
int table_owned(uint32_t owner, int *id, int max);
/* Ids in use, from slot *cursor on; 0 at the end. */
int table_next(uint32_t *cursor);

#endif
