/*
 * Socket traffic.
 *
 * The thread in the poller's role handles readiness, and any worker writes directly. A socket's
 * lock covers its state, but not the system calls that move data: while one thread reads and one
 * sends, others can queue more, or release the socket; then the last one in such a call closes
 * the descriptor. Events are sent to the owner while the lock is held, so they arrive in the
 * order in which things happened.
 *
 * Reads: a small read goes through a buffer of the thread and is copied into a block of just its
 * size; a fast link gets large blocks at once. A socket gets a few reads per round, then others
 * have their turn.
 *
 * Writes: buffers queue up, the normal ones before those of low priority, and leave by writev. A
 * low one that was sent in part moves to the front of the normal ones: none is ever torn.
 */
#include "socket_io.h"

#include "account.h"
#include "epoch.h"
#include "skynet.h"
#include "skynet_mq.h"
#include "skynet_server.h"
#include "skynet_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_POLLERS 64
#define READ_ROUND 4   /* reads per readiness */
#define WRITE_ROUND 64 /* system calls in which one thread sends what others add */
#define READ_MAX (64 * 1024)
#define READ_DIRECT 8192 /* from this size on, read into the block itself */
#define ACCEPT_ROUND 64
#define IOVECS 64
#define WAKE_ID 0 /* no socket has it */
#define TEXT_MAX 128
#define WARNING_SIZE (1024 * 1024)

#define STARVED_MAX 64
#define STARVED_PAUSE 10 /* cs */

/* Listeners that can't even refuse a connection: they rest, since they would be reported at once.
 */
struct starved {
	int id[STARVED_MAX];
	int n;
	uint64_t since; /* cs */
};

static struct {
	int poller[MAX_POLLERS];
	int waker[MAX_POLLERS];
	struct starved starved[MAX_POLLERS]; /* of the thread that waits there */
	int pollers;
	pthread_mutex_t lock;
	int reserve; /* under the lock: a descriptor to spare, for saying no; or -1 */
} E = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local char read_buffer[READ_MAX];

/*
 * ---- events ----
 */

static void
deliver(uint32_t owner, struct skynet_socket_message *m, size_t sz) {
	struct skynet_message msg = {.data = m,
	                             .sz = sz | (size_t)PTYPE_SOCKET << MESSAGE_TYPE_SHIFT};
	if (skynet_context_push(owner, &msg) == 0)
		return;
	account_free(m->buffer); /* the owner has died */
	account_free(m);
}

static void
event(uint32_t owner, int id, int type, int ud, char *buffer, const char *text) {
	size_t n = text ? strlen(text) : 0;
	struct skynet_socket_message *m = account_malloc(sizeof(*m) + n);
	m->type = type;
	m->id = id;
	m->ud = ud;
	m->buffer = buffer;
	if (n)
		memcpy(m + 1, text, n);
	deliver(owner, m, sizeof(*m) + n);
}

void
io_event(struct sock *s, int type, int ud, const char *text) {
	event(s->owner, s->id, type, ud, NULL, text);
}

void
io_event_to(uint32_t owner, int id, int type, int ud, const char *text) {
	event(owner, id, type, ud, NULL, text);
}

static void
tell_close(struct sock *s) {
	if (!s->told_close)
		io_event(s, SKYNET_SOCKET_TYPE_CLOSE, 0, NULL);
	s->told_close = true;
}

void
io_address_text(const union address *a, bool port, char *out, size_t sz) {
	char ip[INET6_ADDRSTRLEN] = "";
	bool v6 = a->s.sa_family == AF_INET6;
	const void *raw = v6 ? (const void *)&a->v6.sin6_addr : (const void *)&a->v4.sin_addr;
	if (inet_ntop(a->s.sa_family, raw, ip, sizeof(ip)) == NULL)
		ip[0] = '\0';
	if (port)
		snprintf(out, sz, "%s:%d", ip, ntohs(v6 ? a->v6.sin6_port : a->v4.sin_port));
	else
		snprintf(out, sz, "%s", ip);
}

/*
 * ---- the poller ----
 */

int
io_watch(struct sock *s) {
	int p = E.poller[s->poller];
	uint32_t id = (uint32_t)s->id;
	bool reading = s->reading && !s->starved;
	if (s->fd < 0 || s->state == SOCKET_DEAD)
		return 0;
	if (!reading && !s->writing && s->listed) {
		/* a socket that wants nothing would still report its peer's end, again and again */
		poll_remove(p, s->fd);
		s->listed = false;
		return 0;
	}
	if (!reading && !s->writing)
		return 0;
	int r = s->listed ? poll_change(p, s->fd, id, reading, s->writing)
	                  : poll_add(p, s->fd, id, reading, s->writing);
	if (r == 0)
		s->listed = true;
	return r;
}

static void
drop_queue(struct out_queue *q) {
	while (q->first) {
		struct outgoing *o = q->first;
		q->first = o->next;
		account_free(o->block);
		account_free(o);
	}
	q->last = &q->first;
}

static void
drop_output(struct sock *s) {
	if (s->sending) {
		s->dropping = true; /* who sends does it */
		return;
	}
	drop_queue(&s->high);
	drop_queue(&s->low);
	s->pending = 0;
}

/* Nobody uses the descriptor of a released socket any more. */
static void
close_descriptor(struct sock *s) {
	drop_output(s);
	if (s->fd >= 0 && !s->keep_fd && close(s->fd) != 0)
		perror("close socket:");
	s->fd = -1;
}

/* Before the lock is left for a system call on the descriptor. */
static int
begin_call(struct sock *s) {
	s->busy++;
	return s->fd;
}

/* After it, with the lock again. False: the socket was released meanwhile. */
static bool
end_call(struct sock *s) {
	s->busy--;
	if (s->state != SOCKET_DEAD)
		return true;
	if (s->busy == 0)
		close_descriptor(s);
	return false;
}

void
io_release(struct sock *s) {
	if (s->state == SOCKET_DEAD)
		return;
	if (s->listed)
		poll_remove(E.poller[s->poller], s->fd);
	s->listed = false;
	if (s->busy == 0)
		close_descriptor(s);
	if (s->addresses)
		freeaddrinfo(s->addresses);
	s->addresses = NULL;
	account_free(s->udp_peer);
	s->udp_peer = NULL;
	table_remove(s);
}

void
io_fail(struct sock *s, const char *reason) {
	io_event(s, SKYNET_SOCKET_TYPE_ERROR, 0, reason);
	io_release(s);
}

/*
 * ---- writing ----
 */

bool
io_overfull(struct sock *s) {
	bool stuck = s->writing || s->state == SOCKET_CONNECTING || s->state == SOCKET_RESOLVING;
	if (!stuck || s->limit <= 0 || s->pending <= s->limit)
		return false;
	char text[TEXT_MAX];
	snprintf(text, sizeof(text), "send buffer is full: %lld bytes wait, the limit is %lld",
	         (long long)s->pending, (long long)s->limit);
	io_fail(s, text);
	return true;
}

void
io_append(struct sock *s, struct out_queue *q, struct outgoing *first, struct outgoing *last,
          size_t bytes) {
	*q->last = first;
	q->last = &last->next;
	s->pending += (int64_t)bytes;
}

static void
check_warning(struct sock *s) {
	if (s->pending < s->warn)
		return;
	while (s->pending >= s->warn)
		s->warn *= 2;
	io_event(s, SKYNET_SOCKET_TYPE_WARNING, (int)((s->pending + 1023) / 1024), NULL);
}

/* Everything was sent. */
static void
drained(struct sock *s) {
	if (s->warn > WARNING_SIZE)
		io_event(s, SKYNET_SOCKET_TYPE_WARNING, 0, NULL);
	s->warn = WARNING_SIZE;
	if (s->writing) {
		s->writing = false;
		(void)io_watch(s); /* asking for less can't be refused */
	}
	if (s->closing)
		io_release(s);
}

static void
write_failed(struct sock *s, int error) {
	drop_output(s);
	if (s->closing || s->read_closed) {
		io_release(s); /* both directions are over */
		return;
	}
	s->write_closed = true;
	s->writing = false;
	(void)io_watch(s);
	io_event(s, SKYNET_SOCKET_TYPE_ERROR, 0, strerror(error));
}

/* n bytes of the queue were sent. What a partly sent buffer has left stays at its head. */
static void
consume(struct sock *s, struct out_queue *q, size_t n) {
	s->pending -= (int64_t)n;
	s->bytes_out += n;
	while (q->first) {
		struct outgoing *o = q->first;
		size_t head = o->headsz - o->headat;
		if (n < head + o->sz) {
			o->begun |= n > 0;
			head = n < head ? n : head;
			o->headat += (uint8_t)head;
			o->data += n - head;
			o->sz -= n - head;
			return;
		}
		n -= head + o->sz;
		q->first = o->next;
		if (q->first == NULL)
			q->last = &q->first;
		account_free(o->block);
		account_free(o);
	}
}

/* A low buffer that was begun must be finished before anything else. */
static void
promote(struct sock *s) {
	struct outgoing *o = s->low.first;
	if (o == NULL || !o->begun)
		return;
	s->low.first = o->next;
	if (s->low.first == NULL)
		s->low.last = &s->low.first;
	o->next = s->high.first;
	s->high.first = o;
	if (o->next == NULL)
		s->high.last = &o->next;
}

/* What one system call sends of a queue. Returns the number of pieces. */
static int
gather(const struct out_queue *q, struct iovec *iov, size_t *total) {
	int n = 0;
	*total = 0;
	for (struct outgoing *o = q->first; o && n < IOVECS - 1; o = o->next) {
		if (o->headat < o->headsz)
			iov[n++] = (struct iovec){o->head + o->headat, (size_t)(o->headsz - o->headat)};
		iov[n++] = (struct iovec){(void *)o->data, o->sz};
		*total += (size_t)(o->headsz - o->headat) + o->sz;
	}
	return n;
}

/* One system call for a queue. False: no more goes now, or the socket has failed. */
static bool
write_queue(struct sock *s, struct out_queue *q) {
	struct iovec iov[IOVECS];
	size_t total;
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = (size_t)gather(q, iov, &total)};
	const bool plain = s->state == SOCKET_BOUND;
	s->sending = true;
	int fd = begin_call(s);
	spinlock_unlock(&s->lock);
	ssize_t r = plain ? writev(fd, iov, (int)m.msg_iovlen) : sendmsg(fd, &m, MSG_NOSIGNAL);
	int error = errno;
	spinlock_lock(&s->lock);
	s->sending = false;
	if (!end_call(s))
		return false;
	if (s->dropping) {
		s->dropping = false;
		drop_output(s);
		return false;
	}
	if (r < 0) {
		if (error == EINTR)
			return true;
		if (error != EAGAIN && error != EWOULDBLOCK)
			write_failed(s, error);
		return false;
	}
	s->time_out = skynet_now();
	consume(s, q, (size_t)r);
	return (size_t)r == total;
}

static void
flush_datagrams(struct sock *s) {
	while (s->high.first && s->state == SOCKET_UDP) {
		struct outgoing *o = s->high.first;
		s->high.first = o->next;
		if (s->high.first == NULL)
			s->high.last = &s->high.first;
		s->pending -= (int64_t)o->sz;
		io_send_datagram(s, o);
	}
}

void
io_flush(struct sock *s) {
	if (s->state == SOCKET_UDP) {
		flush_datagrams(s);
		return;
	}
	if (s->state != SOCKET_CONNECTED && s->state != SOCKET_BOUND)
		return; /* what waits is sent once it's connected */
	if (s->sending)
		return; /* who sends goes on with what was added */
	bool more = true;
	for (int i = 0; i < WRITE_ROUND && more && (s->high.first || s->low.first); i++) {
		struct out_queue *q = s->high.first ? &s->high : &s->low;
		more = write_queue(s, q);
		if (s->state == SOCKET_DEAD || s->write_closed)
			return;
		if (q == &s->low)
			promote(s);
	}
	if (s->pending == 0) {
		drained(s);
		return;
	}
	check_warning(s);
	if (!s->writing) {
		s->writing = true;
		if (io_watch(s) != 0) {
			write_failed(s, errno);
			return;
		}
	}
	(void)io_overfull(s);
}

/*
 * ---- reading ----
 */

static void
peer_finished(struct sock *s) {
	s->reading = false;
	s->read_closed = true;
	(void)io_watch(s);
	tell_close(s);
	if (s->write_closed)
		io_release(s);
}

static void
read_failed(struct sock *s, int error) {
	io_event(s, SKYNET_SOCKET_TYPE_ERROR, 0, strerror(error));
	drop_output(s);
	s->write_closed = false;
	s->writing = false;
	s->reading = false;
	s->read_closed = true;
	(void)io_watch(s);
	tell_close(s);
}

/* Expect as much as came lately. */
static void
adapt(struct sock *s, size_t n, size_t room) {
	if (n == room && s->read_size < READ_MAX)
		s->read_size = s->read_size * 4 > READ_MAX ? READ_MAX : s->read_size * 4;
	else if (n * 4 < room && s->read_size > 512)
		s->read_size /= 2;
}

/* Give back what a block doesn't need. */
static char *
shrink(char *block, size_t sz) {
	char *fit = skynet_realloc(block, sz);
	/* cppcheck-suppress memleak ; one of the two is returned */
	return fit ? fit : block; /* a larger one does as well */
}

/* Read once. True: there may be more. */
static bool
read_once(struct sock *s) {
	bool direct = s->read_size >= READ_DIRECT;
	size_t room = direct ? s->read_size : READ_MAX;
	char *to = direct ? account_malloc(room) : read_buffer;
	int fd = begin_call(s);
	spinlock_unlock(&s->lock);
	ssize_t n = read(fd, to, room);
	int error = errno;
	spinlock_lock(&s->lock);
	bool alive = end_call(s) && !s->closing;
	if (n <= 0 || !alive) {
		if (direct)
			account_free(to);
		if (!alive)
			return false;
		if (n == 0)
			peer_finished(s);
		else if (error != EINTR && error != EAGAIN && error != EWOULDBLOCK)
			read_failed(s, error);
		return false;
	}
	s->bytes_in += (uint64_t)n;
	s->time_in = skynet_now();
	adapt(s, (size_t)n, direct ? room : s->read_size);
	if (direct && (size_t)n * 2 < room) {
		to = shrink(to, (size_t)n);
	} else if (!direct) {
		to = account_malloc((size_t)n);
		memcpy(to, read_buffer, (size_t)n);
		if ((size_t)n > s->read_size)
			s->read_size = (uint32_t)n;
	}
	event(s->owner, s->id, SKYNET_SOCKET_TYPE_DATA, (int)n, to, NULL);
	return (size_t)n == room;
}

static void
on_readable(struct sock *s) {
	for (int i = 0; i < READ_ROUND && s->state != SOCKET_DEAD && s->reading; i++) {
		if (!read_once(s))
			return;
	}
}

/* One datagram; its sender's address follows the payload. */
static bool
read_datagram(struct sock *s) {
	union address from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(s->fd, read_buffer, sizeof(read_buffer), 0, &from.s, &len);
	if (n < 0) {
		if (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK)
			return false;
		io_fail(s, strerror(errno));
		return false;
	}
	bool v6 = from.s.sa_family == AF_INET6;
	char *block = account_malloc((size_t)n + 19);
	memcpy(block, read_buffer, (size_t)n);
	char *tail = block + n;
	tail[0] = v6 ? 2 : 1;
	memcpy(tail + 1, v6 ? &from.v6.sin6_port : &from.v4.sin_port, 2);
	if (v6)
		memcpy(tail + 3, &from.v6.sin6_addr, 16);
	else
		memcpy(tail + 3, &from.v4.sin_addr, 4);
	s->bytes_in += (uint64_t)n;
	s->time_in = skynet_now();
	event(s->owner, s->id, SKYNET_SOCKET_TYPE_UDP, (int)n, block, NULL);
	return true;
}

/*
 * ---- accepting and connecting ----
 */

void
io_tcp_options(int fd) {
	int on = 1;
	/* not every kind of socket knows them */
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* No descriptors are left: accept one connection with the spare one, and drop it. */
static bool
refuse_one(const struct sock *s) {
	pthread_mutex_lock(&E.lock);
	if (E.reserve >= 0)
		close(E.reserve);
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	/* another thread may have been faster with it: then later */
	E.reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pthread_mutex_unlock(&E.lock);
	return fd >= 0;
}

static void
starve(struct sock *s) {
	struct starved *all = &E.starved[s->poller];
	if (all->n == STARVED_MAX)
		return;
	if (all->n == 0)
		all->since = skynet_now();
	all->id[all->n++] = s->id;
	s->starved = true;
	(void)io_watch(s); /* asking for less can't be refused */
}

static void
out_of_descriptors(struct sock *s, int error) {
	bool refused = refuse_one(s);
	if (refused || !s->told_starved)
		io_event(s, SKYNET_SOCKET_TYPE_ERROR, 0, strerror(error));
	s->told_starved = !refused;
	if (!refused)
		starve(s);
}

/* Look whether there are descriptors again. */
static void
retry_starved(struct starved *all) {
	int n = all->n;
	if (n == 0 || skynet_now() - all->since < STARVED_PAUSE)
		return;
	all->n = 0;
	for (int i = 0; i < n; i++) {
		struct sock *s = table_get(all->id[i]);
		if (s == NULL)
			continue;
		s->starved = false;
		if (io_watch(s) != 0)
			starve(s);
		table_put(s);
	}
}

static bool
accept_one(struct sock *s) {
	union address peer;
	socklen_t len = sizeof(peer);
	int fd = accept4(s->fd, &peer.s, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE)
			out_of_descriptors(s, errno);
		return errno == EINTR || errno == ECONNABORTED;
	}
	s->told_starved = false;
	struct sock *c = table_new(s->owner);
	if (c == NULL) { /* too many sockets */
		close(fd);
		return true;
	}
	io_tcp_options(fd);
	c->fd = fd;
	c->limit = s->limit;
	c->state = SOCKET_ACCEPTED;
	c->poller = (uint8_t)(c->id % E.pollers);
	int id = c->id;
	table_put(c);
	char text[64];
	io_address_text(&peer, true, text, sizeof(text));
	s->bytes_in++;
	s->time_in = skynet_now();
	io_event(s, SKYNET_SOCKET_TYPE_ACCEPT, id, text);
	return true;
}

static void
connected(struct sock *s) {
	union address peer;
	socklen_t len = sizeof(peer);
	char text[64] = "";
	if (s->addresses)
		freeaddrinfo(s->addresses);
	s->addresses = s->next_address = NULL;
	s->state = SOCKET_CONNECTED;
	s->reading = true;
	s->writing = false;
	if (io_watch(s) != 0) {
		io_fail(s, "enable read failed");
		return;
	}
	if (getpeername(s->fd, &peer.s, &len) == 0)
		io_address_text(&peer, false, text, sizeof(text));
	io_event(s, SKYNET_SOCKET_TYPE_CONNECT, 0, text);
	io_flush(s);
}

void
io_connect_next(struct sock *s, const char *reason) {
	while (s->next_address) {
		struct addrinfo *a = s->next_address;
		s->next_address = a->ai_next;
		if (s->listed)
			poll_remove(E.poller[s->poller], s->fd);
		s->listed = false;
		if (s->fd >= 0)
			close(s->fd);
		s->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (s->fd < 0) {
			reason = strerror(errno);
			continue;
		}
		io_tcp_options(s->fd);
		s->state = SOCKET_CONNECTING;
		if (connect(s->fd, a->ai_addr, a->ai_addrlen) == 0) {
			connected(s);
			return;
		}
		if (errno == EINPROGRESS) {
			s->writing = true;
			if (io_watch(s) == 0)
				return;
		}
		reason = strerror(errno);
	}
	io_fail(s, reason);
}

static void
connect_finished(struct sock *s) {
	int error = 0;
	socklen_t len = sizeof(error);
	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	if (error)
		io_connect_next(s, strerror(error));
	else
		connected(s);
}

/*
 * ---- readiness ----
 */

static void
handle(struct sock *s, const struct poll_event *e) {
	switch (s->state) {
	case SOCKET_CONNECTING:
		connect_finished(s);
		break;
	case SOCKET_LISTENING:
		for (int i = 0; i < ACCEPT_ROUND && s->started && accept_one(s); i++)
			;
		break;
	case SOCKET_UDP:
		if (e->read) {
			for (int i = 0; i < READ_ROUND * 8 && s->reading && read_datagram(s); i++)
				;
		}
		if (s->state == SOCKET_UDP && e->write)
			io_flush(s);
		break;
	case SOCKET_CONNECTED:
	case SOCKET_BOUND:
		if (e->write || (e->gone && s->writing))
			io_flush(s);
		if (s->state != SOCKET_DEAD && (e->read || e->gone))
			on_readable(s);
		break;
	default:
		break; /* an event that was under way when the state changed */
	}
}

int
io_wait(int index, int64_t timeout_ns) {
	struct poll_event e[256];
	const int64_t pause_ns = STARVED_PAUSE * INT64_C(10000000);
	if (E.starved[index].n > 0 && (timeout_ns < 0 || timeout_ns > pause_ns))
		timeout_ns = pause_ns;
	int n = poll_wait(E.poller[index], e, 256, timeout_ns);
	retry_starved(&E.starved[index]);
	if (n == 0)
		return 0;
	epoch_enter();
	for (int i = 0; i < n; i++) {
		struct sock *s = e[i].id == WAKE_ID ? NULL : table_get((int)e[i].id);
		if (s == NULL)
			continue;
		handle(s, &e[i]);
		table_put(s);
	}
	epoch_leave();
	return n;
}

void
io_wake(int index) {
	poll_signal(E.waker[index]);
}

int
io_init(int pollers) {
	E.pollers = pollers;
	for (int i = 0; i < pollers; i++) {
		E.poller[i] = poll_create();
		E.waker[i] = E.poller[i] < 0 ? -1 : poll_waker(E.poller[i], WAKE_ID);
		if (E.poller[i] < 0 || E.waker[i] < 0) {
			fprintf(stderr, "socket-server error: create event pool failed: %s\n",
			        strerror(errno));
			return -1;
		}
	}
	E.reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return 0;
}

void
io_free(void) {
	for (int i = 0; i < E.pollers; i++) {
		poll_destroy(E.poller[i]);
		close(E.waker[i]);
	}
	close(E.reserve);
}
