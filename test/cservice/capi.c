/*
 * A C service that uses everything the public headers offer; also compiled as C++.
 *
 * A request is a text message of fields that end with zero bytes: an operation and its arguments.
 * The answer is a text: see `operations`. Launched with "harbor", it becomes the node's harbor
 * service and logs what it's asked to carry away.
 */
#include "atomic.h"
#include "malloc_hook.h"
#include "mem_info.h"
#include "rwlock.h"
#include "skynet.h"
#include "skynet_daemon.h"
#include "skynet_env.h"
#include "skynet_handle.h"
#include "skynet_harbor.h"
#include "skynet_imp.h"
#include "skynet_log.h"
#include "skynet_malloc.h"
#include "skynet_module.h"
#include "skynet_mq.h"
#include "skynet_server.h"
#include "skynet_socket.h"
#include "skynet_timer.h"
#include "socket_buffer.h"
#include "socket_info.h"
#include "spinlock.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
#define SIZE_IS(type, size) static_assert(sizeof(type) == size, #type)
#else
#define SIZE_IS(type, size) _Static_assert(sizeof(type) == size, #type)
#endif

SIZE_IS(struct skynet_message, 24);
SIZE_IS(struct skynet_socket_message, 24);
SIZE_IS(struct socket_sendbuffer, 24);
SIZE_IS(struct socket_info, 200);
SIZE_IS(struct remote_name, 20);
SIZE_IS(struct remote_message, 48);
SIZE_IS(struct skynet_module, 48);
SIZE_IS(struct skynet_config, 56);
SIZE_IS(struct spinlock, 4);
SIZE_IS(struct rwlock, 8);

#define TYPE_OWN 77
#define DEAD 0xfffff0

struct capi {
	struct skynet_context *ctx;
	uint32_t self;
	uint32_t asker; /* who waits for the answer of a longer operation */
	int session;
	int listener, client, server, udp, dialled, port;
	char report[4096];
};

static char failure[256];

#define CHECK(condition)                                                                         \
	do {                                                                                         \
		if (!(condition)) {                                                                      \
			snprintf(failure, sizeof(failure), "line %d: %s", __LINE__, #condition);             \
			return failure;                                                                      \
		}                                                                                        \
	} while (0)

static char *
copy(const char *text) {
	char *p = (char *)skynet_malloc(strlen(text) + 1);
	memcpy(p, text, strlen(text) + 1);
	return p;
}

static void
answer(struct capi *c, uint32_t to, int session, const char *text) {
	skynet_send(c->ctx, 0, to, PTYPE_RESPONSE, session, (void *)text, strlen(text));
}

/*
 * ---- operations that answer at once ----
 */

static const char *
op_command(struct capi *c, char **arg, int n) {
	const char *result = skynet_command(c->ctx, arg[0], n > 1 ? arg[1] : NULL);
	return result ? result : "(none)";
}

static const char *
op_queryname(struct capi *c, char **arg, int n) {
	(void)n;
	snprintf(c->report, sizeof(c->report), "%x", skynet_queryname(c->ctx, arg[0]));
	return c->report;
}

static const char *
op_remote(struct capi *c, char **arg, int n) {
	int harbor = -1;
	(void)n;
	uint32_t handle = (uint32_t)strtoul(arg[0], NULL, 16);
	int remote = skynet_isremote(c->ctx, handle, &harbor) != 0;
	skynet_isremote(c->ctx, handle, NULL);
	snprintf(c->report, sizeof(c->report), "%d %d %d", remote, harbor,
	         skynet_harbor_message_isremote(handle) != 0);
	return c->report;
}

/* carry HANDLE|NAME TYPE: send "payload" away, with session 7 */
static const char *
op_carry(struct capi *c, char **arg, int n) {
	int type = n > 1 ? atoi(arg[1]) : 0, result;
	if (arg[0][0] == ':')
		result = skynet_send(c->ctx, 0, (uint32_t)strtoul(arg[0] + 1, NULL, 16), type, 7,
		                     (void *)"payload", 7);
	else
		result =
			skynet_sendname(c->ctx, 0, arg[0], type | PTYPE_TAG_DONTCOPY, 7, copy("payload"), 7);
	snprintf(c->report, sizeof(c->report), "%d", result);
	return c->report;
}

static const char *
op_log(struct capi *c, char **arg, int n) {
	(void)n;
	skynet_error(c->ctx, "text %s number %d", arg[0], 42);
	skynet_error(c->ctx, "%*s", 5, "12345678");
	skynet_error(NULL, "from nobody");
	char *line = (char *)skynet_malloc(3001);
	memset(line, 'L', 3000);
	line[3000] = '\0';
	skynet_error(c->ctx, "%s|", line);
	skynet_free(line);
	skynet_debug_memory("capi");
	return "logged";
}

/* What skynet_send and its kin answer; no way leaves a block behind. */
static const char *
op_send(struct capi *c, char **arg, int n) {
	size_t huge = (size_t)1 << 56;
	struct skynet_context *ctx = c->ctx;
	int keep = PTYPE_TEXT | PTYPE_TAG_DONTCOPY;
	(void)arg;
	(void)n;
	int first = skynet_send(ctx, 0, 0, PTYPE_TAG_ALLOCSESSION, 0, NULL, 0);
	CHECK(first > 0);
	CHECK(skynet_send(ctx, 0, 0, PTYPE_TAG_ALLOCSESSION, 0, NULL, 0) == first + 1);
	CHECK(skynet_context_newsession(ctx) == first + 2);
	CHECK(skynet_send(ctx, 0, 0, PTYPE_TEXT, 5, NULL, 0) == 5);
	CHECK(skynet_send(ctx, 0, 0, PTYPE_TEXT, 5, (void *)"x", 1) == -1);
	CHECK(skynet_send(ctx, 0, 0, keep, 5, copy("x"), 1) == -1);
	CHECK(skynet_send(ctx, 0, DEAD, PTYPE_TEXT, 5, (void *)"x", 1) == -1);
	CHECK(skynet_send(ctx, 0, DEAD, keep, 5, copy("x"), 1) == -1);
	CHECK(skynet_send(ctx, 0, c->self, keep, 5, copy("x"), huge) == -2);
	CHECK(skynet_send(ctx, 0, c->self, PTYPE_TEXT, 5, (void *)"x", huge) == -2);
	CHECK(skynet_sendname(ctx, 0, ".nobody_here", PTYPE_TEXT, 5, (void *)"x", 1) == -1);
	CHECK(skynet_sendname(ctx, 0, ".nobody_here", keep, 5, copy("x"), 1) == -1);
	CHECK(skynet_sendname(ctx, 0, ":fffff0", keep, 5, copy("x"), 1) == -1);
	CHECK(skynet_sendname(ctx, 0, "GLOBAL", keep, 5, copy("x"), huge) == -2);
	return "ok";
}

static const char *
op_kernel(struct capi *c, char **arg, int n) {
	(void)arg;
	(void)n;
	CHECK(skynet_current_handle() == c->self);
	CHECK(skynet_context_handle(c->ctx) == c->self);
	CHECK(skynet_handle_findname("logger") == 1 && skynet_handle_findname("nobody_here") == 0);
	CHECK(skynet_handle_grab(DEAD) == NULL && skynet_handle_retire(DEAD) == 0);
	CHECK(skynet_handle_grab(c->self) == c->ctx);
	skynet_context_release(c->ctx);
	CHECK(strcmp(skynet_handle_namehandle(c->self, "capi_alias"), "capi_alias") == 0);
	CHECK(skynet_handle_namehandle(c->self, "capi_alias") == NULL);
	CHECK(skynet_module_query("capi") != NULL && skynet_module_query("no_such_module") == NULL);
	CHECK(skynet_context_total() > 1);
	CHECK(skynet_context_new("no_such_module", NULL) == 0);
	struct skynet_message m = {c->self, 0, copy("x"), 1};
	m.sz |= (size_t)TYPE_OWN << MESSAGE_TYPE_SHIFT;
	CHECK((m.sz & MESSAGE_TYPE_MASK) == 1);
	CHECK(skynet_context_push(DEAD, &m) == -1);
	skynet_free(m.data);
	uint64_t now = skynet_now();
	CHECK(skynet_now() >= now && skynet_starttime() > 1600000000u);
	skynet_updatetime();
	(void)skynet_thread_time();
	skynet_setenv("capi_key", "value");
	CHECK(strcmp(skynet_getenv("capi_key"), "value") == 0 && skynet_getenv("capi_none") == NULL);
	skynet_setenv("capi_key", "other");
	CHECK(strcmp(skynet_getenv("capi_key"), "value") == 0);
	CHECK(dlsym(RTLD_DEFAULT, "skynet_strdup") != NULL);
	return "ok";
}

static const char *
op_memory(struct capi *c, char **arg, int n) {
	(void)c;
	(void)arg;
	(void)n;
	void *p = skynet_realloc(skynet_calloc(100, 10), 5000);
	CHECK(p != NULL);
	free(p); /* one heap: the names are libc's */
	skynet_free(strdup("x"));
	skynet_free(skynet_strndup("abc", 2));
	skynet_free(skynet_strdup("abc"));
	p = skynet_aligned_alloc(64, 128);
	CHECK((uintptr_t)p % 64 == 0);
	skynet_free(p);
	p = skynet_memalign(256, 100);
	CHECK((uintptr_t)p % 256 == 0);
	skynet_free(p);
	CHECK(skynet_posix_memalign(&p, 128, 100) == 0 && (uintptr_t)p % 128 == 0);
	skynet_free(p);
	p = skynet_lalloc(skynet_lalloc(NULL, 0, 10), 10, 100);
	CHECK(p != NULL && skynet_lalloc(p, 100, 0) == NULL);
	(void)malloc_current_memory();
	(void)malloc_used_memory();
	(void)malloc_memory_block();
	(void)mallctl_int64("arenas.narenas", NULL);
	return "ok";
}

static const char *
op_locks(struct capi *c, char **arg, int n) {
	static ATOM_INT i;
	static ATOM_POINTER p;
	static ATOM_SIZET s;
	static ATOM_ULONG u;
	static struct { struct spinlock lock; } guarded;
	struct rwlock rw;
	AtomicMemInfo shared;
	MemInfo sum;
	(void)c;
	(void)arg;
	(void)n;
	ATOM_INIT(&i, 1);
	CHECK(ATOM_FINC(&i) == 1 && ATOM_FDEC(&i) == 2);
	CHECK(ATOM_FADD(&i, 6) == 1 && ATOM_FSUB(&i, 2) == 7);
	CHECK(ATOM_FAND(&i, 4) == 5 && ATOM_LOAD(&i) == 4);
	while (!ATOM_CAS(&i, 4, 9))
		continue;
	CHECK(!ATOM_CAS(&i, 4, 1));
	ATOM_STORE(&p, (uintptr_t)&i);
	while (!ATOM_CAS_POINTER(&p, (uintptr_t)&i, 0))
		continue;
	CHECK(!ATOM_CAS_SIZET(&s, 5, 6) && !ATOM_CAS_ULONG(&u, 5, 6));
	SPIN_INIT(&guarded)
	SPIN_LOCK(&guarded)
	CHECK(!spinlock_trylock(&guarded.lock));
	SPIN_UNLOCK(&guarded)
	CHECK(spinlock_trylock(&guarded.lock));
	spinlock_unlock(&guarded.lock);
	SPIN_DESTROY(&guarded)
	rwlock_init(&rw);
	rwlock_rlock(&rw);
	rwlock_rlock(&rw);
	rwlock_runlock(&rw);
	rwlock_runlock(&rw);
	rwlock_wlock(&rw);
	rwlock_wunlock(&rw);
	atomic_meminfo_init(&shared);
	atomic_meminfo_alloc(&shared, 10);
	atomic_meminfo_free(&shared, 4);
	meminfo_init(&sum);
	atomic_meminfo_merge(&sum, &shared);
	CHECK(sum.alloc == 10 && sum.alloc_count == 1 && sum.free == 4 && sum.free_count == 1);
	return "ok";
}

/*
 * ---- messages to itself: an operation that answers once they have come ----
 */

static const char *
op_loop(struct capi *c, char **arg, int n) {
	char name[16];
	(void)arg;
	(void)n;
	c->report[0] = '\0';
	skynet_send(c->ctx, 0, c->self, TYPE_OWN, 1, (void *)"copied", 6);
	skynet_send(c->ctx, 0x123, c->self, TYPE_OWN | PTYPE_TAG_DONTCOPY, 2, copy("given"), 5);
	snprintf(name, sizeof(name), ":%x", c->self);
	skynet_sendname(c->ctx, 0, name, TYPE_OWN | 0x100, 3, (void *)"by name", 7);
	struct skynet_message m = {0x42, 4, copy("pushed"), 6};
	m.sz |= (size_t)TYPE_OWN << MESSAGE_TYPE_SHIFT;
	skynet_context_push(c->self, &m);
	skynet_context_send(c->ctx, copy("sent"), 4, 0x43, TYPE_OWN, 5);
	skynet_send(c->ctx, 0, c->self, TYPE_OWN, 6, NULL, 0);
	skynet_command(c->ctx, "TIMEOUT", "1");
	return NULL;
}

static void
note(struct capi *c, const char *what, int id, const char *text, size_t size) {
	size_t have = strlen(c->report);
	snprintf(c->report + have, sizeof(c->report) - have, "%s %d %.*s;", what, id, (int)size,
	         text);
}

static int on_message(struct skynet_context *ctx, void *ud, int type, int session,
                      uint32_t source, const void *msg, size_t sz);

/* Takes the place of on_message until the timer of op_loop comes. */
static int
on_timer(struct skynet_context *ctx, void *ud, int type, int session, uint32_t source,
         const void *msg, size_t sz) {
	struct capi *c = (struct capi *)ud;
	(void)source;
	(void)msg;
	note(c, "timer", session > 0 && type == PTYPE_RESPONSE && sz == 0, "", 0);
	answer(c, c->asker, c->session, c->report);
	skynet_callback(ctx, c, on_message);
	return 0;
}

static int
on_own(struct capi *c, int session, uint32_t source, const char *msg, size_t sz) {
	int broken = session == 1 && msg[sz] != '\0';
	note(c, broken ? "broken" : "own", session, msg ? msg : "", sz);
	if (source != c->self)
		note(c, "from", (int)source, "", 0);
	if (session == 6)
		skynet_callback(c->ctx, c, on_timer);
	if (session == 2) {
		skynet_free((void *)msg); /* kept, by answering 1, it's ours to free */
		return 1;
	}
	return 0;
}

/*
 * ---- sockets: a conversation with itself ----
 */

static const char *
op_socket(struct capi *c, char **arg, int n) {
	(void)arg;
	(void)n;
	c->report[0] = '\0';
	CHECK(skynet_socket_listen(c->ctx, "no such host.", 1, 1) < 0);
	c->listener = skynet_socket_listen(c->ctx, "127.0.0.1", 0, 16);
	CHECK(c->listener > 0);
	return NULL;
}

static void
say(struct capi *c, int id, int type, const char *text) {
	struct socket_sendbuffer b = {id, type, text, strlen(text)};
	if (type == SOCKET_BUFFER_MEMORY)
		b.buffer = copy(text);
	if (skynet_socket_sendbuffer(c->ctx, &b) != 0)
		note(c, "can't send", id, text, strlen(text));
}

static void
start_udp(struct capi *c) {
	c->udp = skynet_socket_udp_listen(c->ctx, "127.0.0.1", c->port);
	c->dialled = skynet_socket_udp_dial(c->ctx, "127.0.0.1", c->port);
	skynet_socket_udp_connect(c->ctx, c->dialled, "127.0.0.1", c->port);
	say(c, c->dialled, SOCKET_BUFFER_RAWPOINTER, "datagram");
}

static void
on_connect(struct capi *c, const struct skynet_socket_message *m, const char *text, size_t size) {
	note(c,
	     m->id == c->listener ? "listener"
	     : m->id == c->client ? "client"
	                          : "server",
	     m->ud > 0, text, size);
	if (m->id == c->listener && m->ud > 0) {
		c->port = m->ud;
		skynet_socket_start(c->ctx, c->listener);
	} else if (m->id == c->listener) {
		c->client = skynet_socket_connect(c->ctx, "127.0.0.1", c->port);
		/* before the connection stands: queued, in order */
		say(c, c->client, SOCKET_BUFFER_MEMORY, "one ");
		skynet_socket_send(c->ctx, c->client, copy("two "), 4);
	} else if (m->id == c->client) {
		skynet_socket_nodelay(c->ctx, c->client);
		say(c, c->client, SOCKET_BUFFER_RAWPOINTER, "three.");
	}
}

/* Data of both sides, until each has said its last word. */
static void
on_socket_data(struct capi *c, struct skynet_socket_message *m) {
	note(c, m->id == c->server ? "to server" : "to client", 0, m->buffer, (size_t)m->ud);
	if (m->id == c->server && memchr(m->buffer, '.', (size_t)m->ud)) {
		struct socket_sendbuffer low = {c->server, SOCKET_BUFFER_RAWPOINTER, "low.", 4};
		skynet_socket_pause(c->ctx, c->server);
		skynet_socket_sendbuffer_lowpriority(c->ctx, &low);
		skynet_socket_send_lowpriority(c->ctx, c->server, copy("end!"), 4);
	} else if (m->id == c->client && memchr(m->buffer, '!', (size_t)m->ud)) {
		skynet_socket_start(c->ctx, c->server); /* transfer */
		skynet_socket_close(c->ctx, c->client);
	}
	skynet_free(m->buffer);
}

static void
on_datagram(struct capi *c, struct skynet_socket_message *m) {
	int size = 0;
	const char *address = skynet_socket_udp_address(m, &size);
	note(c, m->id == c->udp ? "udp" : "dialled", size, m->buffer, (size_t)m->ud);
	if (m->id == c->udp) {
		struct socket_sendbuffer b = {c->udp, SOCKET_BUFFER_RAWPOINTER, "answer", 6};
		skynet_socket_udp_sendbuffer(c->ctx, address, &b);
	} else {
		struct socket_info *info = skynet_socket_info();
		note(c, "info", info != NULL, "", 0);
		socket_info_release(info);
		skynet_socket_close(c->ctx, c->udp);
		skynet_socket_close(c->ctx, c->dialled);
		skynet_socket_shutdown(c->ctx, c->listener);
		answer(c, c->asker, c->session, c->report);
	}
	skynet_free(m->buffer);
}

static void
on_socket(struct capi *c, struct skynet_socket_message *m, size_t sz) {
	const char *text = (const char *)(m + 1);
	size_t size = sz - sizeof(*m);
	switch (m->type) {
	case SKYNET_SOCKET_TYPE_CONNECT:
		on_connect(c, m, text, size);
		break;
	case SKYNET_SOCKET_TYPE_ACCEPT:
		c->server = m->ud;
		note(c, "accept", m->id == c->listener, text, 10);
		skynet_socket_start(c->ctx, c->server);
		break;
	case SKYNET_SOCKET_TYPE_DATA:
		on_socket_data(c, m);
		break;
	case SKYNET_SOCKET_TYPE_CLOSE:
		if (m->id == c->server) {
			note(c, "server closed", 0, "", 0);
			skynet_socket_close(c->ctx, c->server);
			start_udp(c);
		}
		break;
	case SKYNET_SOCKET_TYPE_UDP:
		on_datagram(c, m);
		break;
	case SKYNET_SOCKET_TYPE_ERROR:
		note(c, "error", m->id, text, size);
		answer(c, c->asker, c->session, c->report);
		break;
	}
}

/*
 * ---- the service ----
 */

typedef const char *(*operation)(struct capi *c, char **arg, int n);

static const struct {
	const char *name;
	operation run; /* the answer, or NULL when it comes later */
} operations[] = {
	{"command", op_command}, {"queryname", op_queryname}, {"remote", op_remote},
	{"log", op_log},         {"send", op_send},           {"kernel", op_kernel},
	{"memory", op_memory},   {"locks", op_locks},         {"loop", op_loop},
	{"socket", op_socket},   {"carry", op_carry},
};

static void
on_request(struct capi *c, int session, uint32_t source, char *msg, size_t sz) {
	char *field[8] = {NULL};
	int n = 0;
	for (size_t at = 0; at < sz && n < 8; at += strlen(msg + at) + 1)
		field[n++] = msg + at;
	c->asker = source;
	c->session = session;
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		if (n > 0 && strcmp(field[0], operations[i].name) == 0) {
			const char *text = operations[i].run(c, field + 1, n - 1);
			if (text)
				answer(c, source, session, text);
			return;
		}
	}
	answer(c, source, session, "no such operation");
}

/* What the kernel hands to a harbor service. */
static void
on_remote(struct capi *c, const struct remote_message *r, int session, uint32_t source) {
	char name[GLOBALNAME_LENGTH + 1] = {0};
	if (r->destination.handle)
		snprintf(name, sizeof(name), ":%x", r->destination.handle);
	else
		memcpy(name, r->destination.name, GLOBALNAME_LENGTH);
	skynet_error(c->ctx, "remote %s type %d session %d source %x [%.*s]", name, r->type, session,
	             source, (int)r->sz, (const char *)r->message);
	skynet_free((void *)r->message);
}

static int
on_message(struct skynet_context *ctx, void *ud, int type, int session, uint32_t source,
           const void *msg, size_t sz) {
	struct capi *c = (struct capi *)ud;
	(void)ctx;
	switch (type) {
	case PTYPE_TEXT:
		on_request(c, session, source, (char *)msg, sz);
		return 0;
	case PTYPE_SYSTEM:
		if (sz == sizeof(struct remote_message))
			on_remote(c, (const struct remote_message *)msg, session, source);
		return 0;
	case PTYPE_SOCKET:
		on_socket(c, (struct skynet_socket_message *)msg, sz);
		return 0;
	case TYPE_OWN:
		return on_own(c, session, source, (const char *)msg, sz);
	default:
		return 0;
	}
}

#ifdef __cplusplus
extern "C" {
#endif

struct capi *capi_create(void);
int capi_init(struct capi *c, struct skynet_context *ctx, const char *parm);
void capi_release(struct capi *c);
void capi_signal(struct capi *c, int signal);

struct capi *
capi_create(void) {
	return (struct capi *)skynet_calloc(1, sizeof(struct capi));
}

int
capi_init(struct capi *c, struct skynet_context *ctx, const char *parm) {
	c->ctx = ctx;
	c->self = (uint32_t)strtoul(skynet_command(ctx, "REG", NULL) + 1, NULL, 16);
	if (parm && strcmp(parm, "fail") == 0)
		return 1;
	if (parm && strcmp(parm, "harbor") == 0)
		skynet_harbor_start(ctx);
	skynet_error(ctx, "capi starts with [%s]", parm ? parm : "(none)");
	skynet_callback(ctx, c, on_message);
	return 0;
}

void
capi_release(struct capi *c) {
	skynet_free(c);
}

void
capi_signal(struct capi *c, int signal) {
	skynet_error(c->ctx, "capi gets signal %d", signal);
}

#ifdef __cplusplus
}
#endif
