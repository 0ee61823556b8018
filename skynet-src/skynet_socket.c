/*
 * Sockets for services: the calls. See socket_io.c for what happens on a socket, socket_table.c
 * for ids.
 *
 * What a service writes while it handles one message is only queued at first, and leaves in one
 * system call when the message has been handled (or the batch, for corked services); each worker
 * keeps a list of the sockets it has yet to flush.
 */
#include "skynet_socket.h"

#include "account.h"
#include "config.h"
#include "skynet.h"
#include "skynet_runtime.h"
#include "skynet_server.h"
#include "socket_io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_HOST 231
#define MAX_DIRTY 64
#define FLUSH_EARLY (64 * 1024)
#define MAX_SOCKETS (1024 * 1024)

static struct {
	int pollers;
	int64_t limit; /* bytes that may wait in a new socket's send buffer */
	int linger;    /* seconds a closed socket's peer may take nothing of what's left */
} P;

static _Thread_local struct {
	int id[MAX_DIRTY];
	int n;
} dirty;

static uint32_t
owner_of(struct skynet_context *ctx) {
	return ctx ? skynet_context_handle(ctx) : 0;
}

static struct sock *
new_socket(struct skynet_context *ctx) {
	struct sock *s = table_new(owner_of(ctx));
	if (s)
		s->poller = (uint8_t)(s->id % P.pollers);
	if (s)
		s->limit = P.limit;
	return s;
}

/*
 * ---- sending ----
 */

static void
flush_dirty(void *ud) {
	(void)ud;
	for (int i = 0; i < dirty.n; i++) {
		struct sock *s = table_get(dirty.id[i]);
		if (s == NULL)
			continue;
		s->dirty = false;
		io_flush(s);
		table_put(s);
	}
	dirty.n = 0;
}

/* Let the socket be flushed after this message; false: it has to be now. */
static bool
flush_later(struct sock *s) {
	if (s->dirty)
		return true;
	if (dirty.n == MAX_DIRTY || (dirty.n == 0 && !skynet_defer(flush_dirty, NULL)))
		return false;
	dirty.id[dirty.n++] = s->id;
	s->dirty = true;
	return true;
}

static void
free_buffer(const struct socket_sendbuffer *b) {
	if (b->type == SOCKET_BUFFER_MEMORY)
		skynet_free((void *)b->buffer);
}

/* The buffer as a heap block of its own. */
static struct outgoing *
take_buffer(const struct socket_sendbuffer *b) {
	struct outgoing *o = account_calloc(1, sizeof(*o));
	if (b->type == SOCKET_BUFFER_MEMORY) {
		o->block = (void *)b->buffer;
		skynet_account_give(o->block);
	} else {
		o->block = account_malloc(b->sz ? b->sz : 1);
		memcpy(o->block, b->buffer, b->sz);
	}
	o->data = o->block;
	o->sz = b->sz;
	return o;
}

/* May this socket be sent to? A refusal that isn't the caller's fault is no error. */
static int
check_target(struct sock *s) {
	switch (s->state) {
	case SOCKET_LISTENING:
		skynet_error(NULL, "socket-server error: write to listen fd %d.", s->id);
		return 1;
	case SOCKET_ACCEPTED:
		return 1; /* nobody has started it: dropped */
	case SOCKET_UDP:
		if (s->udp_peer == NULL) {
			skynet_error(NULL, "socket-server : set udp (%d) error: address first.", s->id);
			return -1;
		}
		return 0;
	default:
		return s->write_closed;
	}
}

/* Send what was queued: now, or when this message has been handled. */
static void
flush_soon(struct sock *s) {
	if (!s->writing && (s->pending > FLUSH_EARLY || !flush_later(s)))
		io_flush(s);
	else if (s->writing && s->pending >= s->warn)
		io_flush(s); /* has the warning told */
	else
		(void)io_overfull(s);
}

static int
send_buffer(struct socket_sendbuffer *b, bool low) {
	struct sock *s = table_get(b->id);
	if (s == NULL) {
		free_buffer(b);
		return -1;
	}
	int refused = s->closing ? (low ? 1 : -1) : check_target(s);
	if (b->type == SOCKET_BUFFER_OBJECT) {
		skynet_error(NULL, "error: socket %d: no object interface is installed", s->id);
		refused = -1;
	}
	if (refused || b->sz == 0) {
		free_buffer(b);
	} else {
		/* with nothing before it, a low buffer is as good as a normal one */
		bool normal = !low || s->pending == 0;
		struct outgoing *o = take_buffer(b);
		io_append(s, normal ? &s->high : &s->low, o, o, o->sz);
		flush_soon(s);
	}
	table_put(s);
	return refused < 0 ? -1 : 0;
}

int
skynet_socket_sendbuffer(struct skynet_context *ctx, struct socket_sendbuffer *buffer) {
	(void)ctx;
	return send_buffer(buffer, false);
}

int
skynet_socket_sendbuffer_lowpriority(struct skynet_context *ctx,
                                     struct socket_sendbuffer *buffer) {
	(void)ctx;
	return send_buffer(buffer, true);
}

/* The parts of a block, as a list; it isn't empty, since the block isn't. */
static struct outgoing *
cut(const struct socket_parts *p, struct outgoing **last, size_t *bytes) {
	struct outgoing *first = NULL, **next = &first;
	const char *data = p->block;
	*last = NULL;
	*bytes = p->sz;
	for (size_t left = p->sz; left > 0;) {
		struct outgoing *o = account_calloc(1, sizeof(*o));
		o->data = data;
		o->sz = left < p->part ? left : p->part;
		data += o->sz;
		left -= o->sz;
		o->headsz = (uint8_t)p->head(o->head, p->ud, o->sz, left == 0);
		*bytes += o->headsz;
		*next = *last = o;
		next = &o->next;
	}
	return first;
}

int
skynet_socket_send_parts(struct skynet_context *ctx, int id, const struct socket_parts *p) {
	struct sock *s = table_get(id);
	bool refused =
		s == NULL || p->sz == 0 || s->closing || s->state == SOCKET_UDP || check_target(s) != 0;
	(void)ctx;
	if (refused) {
		skynet_free(p->block);
	} else {
		struct outgoing *last;
		size_t bytes;
		struct outgoing *first = cut(p, &last, &bytes);
		skynet_account_give(p->block);
		last->block = p->block;
		io_append(s, &s->low, first, last, bytes);
		flush_soon(s);
	}
	if (s)
		table_put(s);
	return refused ? -1 : 0;
}

/*
 * ---- TCP ----
 */

/* A list of addresses; numeric only when asked for. NULL with a reason in *error. */
static struct addrinfo *
lookup(const char *host, int port, int socktype, int flags, const char **error) {
	struct addrinfo hints = {.ai_socktype = socktype, .ai_flags = flags};
	struct addrinfo *list = NULL;
	char service[16];
	snprintf(service, sizeof(service), "%d", port);
	int e = getaddrinfo(host, service, &hints, &list);
	if (e && error)
		*error = e == EAI_SYSTEM ? strerror(errno) : gai_strerror(e);
	return e ? NULL : list;
}

/* Bind a new descriptor; -1 with the reason logged. */
static int
bind_address(const char *host, int port, int socktype, int *family) {
	const char *why = "out of range";
	int fd = -1;
	if (host == NULL || host[0] == '\0')
		host = "0.0.0.0";
	struct addrinfo *list = NULL;
	if (port >= 0 && port <= 65535)
		list = lookup(host, port, socktype, AI_PASSIVE, &why);
	if (list) {
		int on = 1;
		*family = list->ai_family;
		fd = socket(list->ai_family, socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
		    bind(fd, list->ai_addr, list->ai_addrlen) != 0) {
			why = strerror(errno);
			if (fd >= 0)
				close(fd);
			fd = -1;
		}
		freeaddrinfo(list);
	}
	if (fd < 0)
		skynet_error(NULL, "socket-server error: can't bind %s port %d: %s", host, port, why);
	return fd;
}

int
skynet_socket_listen(struct skynet_context *ctx, const char *host, int port, int backlog) {
	int family;
	union address a;
	socklen_t len = sizeof(a);
	int fd = bind_address(host, port, SOCK_STREAM, &family);
	if (fd < 0)
		return -1;
	if (listen(fd, backlog) != 0 || getsockname(fd, &a.s, &len) != 0) {
		skynet_error(ctx, "socket-server error: can't listen on %s port %d: %s", host ? host : "",
		             port, strerror(errno));
		close(fd);
		return -1;
	}
	struct sock *s = new_socket(ctx);
	if (s == NULL) {
		skynet_error(ctx, "reach skynet socket number limit");
		close(fd);
		return -1;
	}
	char text[64];
	s->fd = fd;
	s->state = SOCKET_LISTENING;
	io_address_text(&a, false, text, sizeof(text));
	int bound = ntohs(a.s.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
	io_event(s, SKYNET_SOCKET_TYPE_CONNECT, bound, text);
	int id = s->id;
	table_put(s);
	return id;
}

int
skynet_socket_connect(struct skynet_context *ctx, const char *host, int port) {
	if (host == NULL || strlen(host) > MAX_HOST) {
		skynet_error(ctx, "socket-server error: Invalid addr %s.", host ? host : "(null)");
		return -1;
	}
	const int64_t mark = account_mark();
	struct sock *s = new_socket(ctx);
	if (s == NULL)
		return -1;
	int id = s->id;
	struct addrinfo *list = lookup(host, port & 0xffff, SOCK_STREAM, AI_NUMERICHOST, NULL);
	if (list) {
		s->addresses = s->next_address = list;
		io_connect_next(s, "no address");
	} else {
		s->state = SOCKET_RESOLVING;
		resolve_later(id, host, port);
	}
	table_put(s);
	account_move(mark, NULL); /* addresses are the system's, and freed elsewhere */
	return id;
}

int
skynet_socket_bind(struct skynet_context *ctx, int fd) {
	struct sock *s = new_socket(ctx);
	if (s == NULL)
		return -1;
	int id = s->id;
	int flags = fcntl(fd, F_GETFL);
	s->fd = fd;
	s->keep_fd = true;
	s->state = SOCKET_BOUND;
	s->reading = true;
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || io_watch(s) != 0)
		io_fail(s, "reach skynet socket number limit");
	else
		io_event(s, SKYNET_SOCKET_TYPE_CONNECT, 0, "binding");
	table_put(s);
	return id;
}

static void
start_reading(struct sock *s, const char *text) {
	s->reading = true;
	if (io_watch(s) != 0) {
		io_fail(s, "enable read failed");
		return;
	}
	if (text)
		io_event(s, SKYNET_SOCKET_TYPE_CONNECT, 0, text);
}

void
skynet_socket_start(struct skynet_context *ctx, int id) {
	uint32_t owner = owner_of(ctx);
	struct sock *s = table_get(id);
	if (s == NULL) {
		io_event_to(owner, id, SKYNET_SOCKET_TYPE_ERROR, 0, "invalid socket");
		return;
	}
	if (s->closing || s->read_closed) {
		io_event_to(owner, id, SKYNET_SOCKET_TYPE_ERROR, 0, "socket closed");
	} else if (s->state == SOCKET_ACCEPTED) {
		table_own(s, owner);
		s->state = SOCKET_CONNECTED;
		start_reading(s, "start");
	} else if (s->state == SOCKET_LISTENING && !s->started) {
		table_own(s, owner);
		s->started = true;
		start_reading(s, "start");
	} else if ((s->state == SOCKET_CONNECTED && !s->write_closed) || s->state == SOCKET_UDP) {
		table_own(s, owner);
		start_reading(s, "transfer");
	} else if (s->state != SOCKET_RESOLVING && s->state != SOCKET_CONNECTING) {
		start_reading(s, NULL);
	}
	table_put(s);
}

void
skynet_socket_pause(struct skynet_context *ctx, int id) {
	struct sock *s = table_get(id);
	(void)ctx;
	if (s == NULL)
		return;
	if (s->state != SOCKET_CONNECTING && s->state != SOCKET_RESOLVING) {
		s->reading = false;
		(void)io_watch(s); /* asking for less can't be refused */
	}
	table_put(s);
}

void
skynet_socket_nodelay(struct skynet_context *ctx, int id) {
	struct sock *s = table_get(id);
	int on = 1;
	(void)ctx;
	if (s == NULL)
		return;
	/* errors are ignored: the socket may be of another kind */
	(void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	table_put(s);
}

static void
set_option(int fd, int level, int option, int value) {
	/* a system that doesn't know an option keeps its own value */
	if (value > 0)
		(void)setsockopt(fd, level, option, &value, sizeof(value));
}

void
skynet_socket_keepalive(struct skynet_context *ctx, int id, int idle, int interval, int count,
                        int timeout_ms) {
	struct sock *s = table_get(id);
	(void)ctx;
	if (s == NULL)
		return;
	set_option(s->fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(s->fd, IPPROTO_TCP, TCP_KEEPIDLE, idle);
	set_option(s->fd, IPPROTO_TCP, TCP_KEEPINTVL, interval);
	set_option(s->fd, IPPROTO_TCP, TCP_KEEPCNT, count);
	set_option(s->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, timeout_ms);
	table_put(s);
}

void
skynet_socket_sendlimit(struct skynet_context *ctx, int id, int64_t bytes) {
	struct sock *s = table_get(id);
	(void)ctx;
	if (s == NULL)
		return;
	s->limit = bytes;
	(void)io_overfull(s);
	table_put(s);
}

int64_t
skynet_socket_limit(int id) {
	struct sock *s = table_get(id);
	if (s == NULL)
		return 0;
	int64_t limit = s->limit;
	table_put(s);
	return limit;
}

/* End a socket; `now` drops what wasn't sent. The owner hears of it unless it knows. */
static void
end_socket(int id, bool now, bool tell) {
	struct sock *s = table_get(id);
	if (s == NULL)
		return;
	if (tell && !s->told_close)
		io_event(s, SKYNET_SOCKET_TYPE_CLOSE, 0, NULL);
	s->told_close = true;
	bool connecting = s->state == SOCKET_CONNECTING || s->state == SOCKET_RESOLVING;
	if (now || s->pending == 0 || s->write_closed || connecting) {
		io_release(s);
	} else {
		s->closing = true;
		s->reading = false;
		/* nobody is told any more when the peer takes nothing: the system gives it up */
		set_option(s->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, P.linger * 1000);
		(void)io_watch(s);
		if (!s->dirty)
			io_flush(s);
	}
	table_put(s);
}

void
skynet_socket_close(struct skynet_context *ctx, int id) {
	(void)ctx;
	end_socket(id, false, true);
}

void
skynet_socket_shutdown(struct skynet_context *ctx, int id) {
	(void)ctx;
	end_socket(id, true, true);
}

/* A service has ended: so do its sockets, once what it wrote has left. */
static void
owner_ended(uint32_t handle) {
	int id[64];
	int n;
	do {
		n = table_owned(handle, id, 64);
		int closing = 0;
		for (int i = 0; i < n; i++) {
			struct sock *s = table_get(id[i]);
			if (s == NULL)
				continue;
			table_own(s, 0);
			table_put(s);
			end_socket(id[i], false, false);
			closing++;
		}
		if (closing == 0)
			return;
	} while (n == 64);
}

/*
 * ---- UDP ----
 */

static int
udp_socket(struct skynet_context *ctx, int fd, bool v6, const struct addrinfo *peer) {
	struct sock *s = new_socket(ctx);
	if (s == NULL) {
		close(fd);
		return -1;
	}
	s->fd = fd;
	s->udp_v6 = v6;
	s->state = SOCKET_UDP;
	if (peer) {
		s->udp_peer = account_calloc(1, sizeof(*s->udp_peer));
		memcpy(s->udp_peer, peer->ai_addr, peer->ai_addrlen);
	}
	s->reading = true;
	int id = s->id;
	if (io_watch(s) != 0)
		io_fail(s, "reach skynet socket number limit");
	table_put(s);
	return id;
}

int
skynet_socket_udp(struct skynet_context *ctx, const char *addr, int port) {
	int family = AF_INET;
	int fd;
	if (addr == NULL && port == 0)
		fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	else
		fd = bind_address(addr, port, SOCK_DGRAM, &family);
	return fd < 0 ? -1 : udp_socket(ctx, fd, family == AF_INET6, NULL);
}

int
skynet_socket_udp_listen(struct skynet_context *ctx, const char *addr, int port) {
	return port == 0 ? -1 : skynet_socket_udp(ctx, addr, port);
}

int
skynet_socket_udp_dial(struct skynet_context *ctx, const char *addr, int port) {
	struct addrinfo *list = lookup(addr, port, SOCK_DGRAM, 0, NULL);
	int id = -1;
	if (list == NULL)
		return -1;
	int fd = socket(list->ai_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		id = udp_socket(ctx, fd, list->ai_family == AF_INET6, list);
	freeaddrinfo(list);
	return id;
}

int
skynet_socket_udp_connect(struct skynet_context *ctx, int id, const char *addr, int port) {
	struct addrinfo *list = lookup(addr, port, SOCK_DGRAM, 0, NULL);
	(void)ctx;
	if (list == NULL)
		return -1;
	struct sock *s = table_get(id);
	int result = -1;
	if (s && s->state == SOCKET_UDP) {
		result = 0;
		if (s->udp_v6 != (list->ai_family == AF_INET6)) {
			io_event(s, SKYNET_SOCKET_TYPE_ERROR, 0, "protocol mismatch");
		} else {
			if (s->udp_peer == NULL)
				s->udp_peer = account_calloc(1, sizeof(*s->udp_peer));
			memcpy(s->udp_peer, list->ai_addr, list->ai_addrlen);
		}
	}
	if (s)
		table_put(s);
	freeaddrinfo(list);
	return result;
}

/* The address of a datagram: its own, or the socket's default. */
static socklen_t
target(const struct sock *s, const uint8_t *spec, union address *a) {
	memset(a, 0, sizeof(*a));
	if (spec[0] == 0) {
		memcpy(a, s->udp_peer, sizeof(*s->udp_peer));
	} else if (spec[0] == 1) {
		a->v4.sin_family = AF_INET;
		memcpy(&a->v4.sin_port, spec + 1, 2);
		memcpy(&a->v4.sin_addr, spec + 3, 4);
	} else {
		a->v6.sin6_family = AF_INET6;
		memcpy(&a->v6.sin6_port, spec + 1, 2);
		memcpy(&a->v6.sin6_addr, spec + 3, 16);
	}
	return a->s.sa_family == AF_INET6 ? sizeof(a->v6) : sizeof(a->v4);
}

void
io_send_datagram(struct sock *s, struct outgoing *o) {
	union address a;
	socklen_t len = target(s, o->udp_address, &a);
	ssize_t n = sendto(s->fd, o->data, o->sz, MSG_NOSIGNAL, &a.s, len);
	/* a full buffer loses the datagram, as a network does */
	if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
		skynet_error(NULL, "socket-server : udp (%d) sendto error %s.", s->id, strerror(errno));
	else if (n >= 0)
		s->bytes_out += (uint64_t)n;
	s->time_out = skynet_now();
	account_free(o->block);
	account_free(o);
}

int
skynet_socket_udp_sendbuffer(struct skynet_context *ctx, const char *address,
                             struct socket_sendbuffer *b) {
	struct sock *s = table_get(b->id);
	bool v6 = address && address[0] == 2;
	(void)ctx;
	bool ok = s && s->state == SOCKET_UDP && address && (address[0] == 1 || v6) &&
	          s->udp_v6 == v6 && b->type != SOCKET_BUFFER_OBJECT;
	if (ok) {
		struct outgoing *o = take_buffer(b);
		memcpy(o->udp_address, address, v6 ? 19 : 7);
		io_append(s, &s->high, o, o, o->sz);
		if (!flush_later(s))
			io_flush(s);
	} else {
		free_buffer(b);
	}
	if (s)
		table_put(s);
	return ok ? 0 : -1;
}

const char *
skynet_socket_udp_address(struct skynet_socket_message *m, int *addrsz) {
	if (m->type != SKYNET_SOCKET_TYPE_UDP)
		return NULL;
	const char *address = m->buffer + m->ud;
	*addrsz = address[0] == 1 ? 7 : 19;
	return address;
}

/*
 * ---- looking ----
 */

struct socket_info *
socket_info_create(struct socket_info *last) {
	struct socket_info *si = skynet_calloc(1, sizeof(*si));
	if (si)
		si->next = last;
	return si;
}

void
socket_info_release(struct socket_info *si) {
	while (si) {
		struct socket_info *next = si->next;
		skynet_free(si);
		si = next;
	}
}

static int
info_type(const struct sock *s) {
	if (s->closing)
		return SOCKET_INFO_CLOSING;
	switch (s->state) {
	case SOCKET_LISTENING:
		return s->started ? SOCKET_INFO_LISTEN : SOCKET_INFO_UNKNOWN;
	case SOCKET_CONNECTED:
		return SOCKET_INFO_TCP;
	case SOCKET_UDP:
		return SOCKET_INFO_UDP;
	case SOCKET_BOUND:
		return SOCKET_INFO_BIND;
	default:
		return SOCKET_INFO_UNKNOWN;
	}
}

static void
info_name(const struct sock *s, struct socket_info *si) {
	union address a;
	socklen_t len = sizeof(a);
	int r = -1;
	if (si->type == SOCKET_INFO_LISTEN) {
		r = getsockname(s->fd, &a.s, &len);
	} else if (si->type == SOCKET_INFO_UDP && s->udp_peer) {
		memcpy(&a, s->udp_peer, sizeof(a.v6));
		r = 0;
	} else if (si->type == SOCKET_INFO_TCP || si->type == SOCKET_INFO_CLOSING) {
		r = getpeername(s->fd, &a.s, &len);
	}
	if (r == 0)
		io_address_text(&a, true, si->name, sizeof(si->name));
}

struct socket_info *
skynet_socket_info(void) {
	struct socket_info *list = NULL;
	uint32_t cursor = 0;
	int id;
	while ((id = table_next(&cursor)) != 0) {
		struct sock *s = table_get(id);
		if (s == NULL)
			continue;
		int type = info_type(s);
		struct socket_info *si = type == SOCKET_INFO_UNKNOWN ? NULL : socket_info_create(list);
		if (si) {
			si->id = s->id;
			si->type = type;
			si->opaque = s->owner;
			si->read = s->bytes_in;
			si->write = s->bytes_out;
			si->rtime = s->time_in;
			si->wtime = s->time_out;
			si->wbuffer = s->pending;
			si->reading = s->reading;
			si->writing = s->writing;
			info_name(s, si);
			list = si;
		}
		table_put(s);
	}
	return list;
}

/*
 * ---- the engine ----
 */

int
skynet_socket_setup(int pollers) {
	P.pollers = pollers;
	P.limit = (int64_t)config_integer("socket_sendlimit", 0) * 1024;
	P.linger = config_integer("socket_linger", 60);
	int max = config_integer("max_socket", MAX_SOCKETS);
	table_init(max > 0 ? max : MAX_SOCKETS);
	skynet_on_retire(owner_ended);
	return io_init(pollers);
}

void
skynet_socket_init(void) {
	/* everything is set up by skynet_socket_setup, which knows how many pollers to make */
}

int
skynet_socket_wait(int index, int64_t timeout_ns) {
	return io_wait(index, timeout_ns);
}

void
skynet_socket_wake(int index) {
	io_wake(index);
}

void
skynet_socket_exit(void) {
	for (int i = 0; i < P.pollers; i++)
		io_wake(i);
}

/* After all threads have ended. */
void
skynet_socket_free(void) {
	uint32_t cursor = 0;
	int id;
	while ((id = table_next(&cursor)) != 0)
		end_socket(id, true, false);
	io_free();
}

int
skynet_socket_poll(void) {
	return io_wait(0, -1);
}

void
skynet_socket_updatetime(void) {
	/* node time needs no updating */
}
