/*
 * Services: launching, running their messages, ending them; sending.
 *
 * A service is in the handle table until it's retired. Retiring also schedules it once more: the
 * worker that gets it answers the requests that are left in its mailbox with errors and drops
 * the table's reference. The last reference releases the instance. The memory stays until all
 * threads that may have looked the handle up have moved on; what they still pushed meanwhile is
 * answered then.
 *
 * The logger is retired last: when it's the only service left it ends as soon as its mailbox is
 * empty, so that what others logged while they ended is written.
 */
#include "skynet_server.h"

#include "account.h"
#include "clock.h"
#include "epoch.h"
#include "log_queue.h"
#include "scheduler.h"
#include "service.h"
#include "skynet_handle.h"
#include "skynet_harbor.h"
#include "skynet_imp.h"
#include "skynet_log.h"
#include "skynet_module.h"
#include "skynet_runtime.h"
#include "skynet_socket.h"
#include "watchdog.h"

#include <errno.h>

#define COLD_AFTER 500     /* runs of other services */
#define BATCH 64           /* messages before others get a turn */
#define BATCH_TICKS 300000 /* about 100 us */
#define RETIRE_HOOKS 4
#define DEFERRED 8
#define DROP_TYPES 16

static struct {
	atomic_int total; /* live services that keep the process alive */
	atomic_int ending;
	bool profile;
	void (*on_retire[RETIRE_HOOKS])(uint32_t handle);
	void (*_Atomic on_drop[DROP_TYPES])(const void *msg, size_t sz);
} N;

struct deferred {
	void (*fn)(void *);
	void *ud;
};

static _Thread_local struct {
	uint32_t handle;                /* of the service this thread ran last */
	struct skynet_context *running; /* while its callback runs */
	uint32_t runs;                  /* of services, so far */
	struct deferred deferred[DEFERRED];
	int ndeferred;
} here;

/*
 * ---- references and the end of a service ----
 */

void
message_free(struct skynet_message *msg) {
	int type = message_type(msg);
	void (*fn)(const void *, size_t) = type < DROP_TYPES ? atomic_load(&N.on_drop[type]) : NULL;
	if (fn && msg->data)
		fn(msg->data, msg->sz & MESSAGE_TYPE_MASK);
	/* an event holds a block; what a service has sent as one may hold anything */
	if (type == PTYPE_SOCKET && msg->source == 0 && msg->data) {
		struct skynet_socket_message *m = msg->data;
		if ((msg->sz & MESSAGE_TYPE_MASK) >= sizeof(*m))
			account_free(m->buffer);
	}
	account_free(msg->data);
}

/* Nobody will handle this message any more. */
static void
bounce(struct skynet_context *ctx, struct skynet_message *msg) {
	int type = message_type(msg);
	uint32_t source = msg->source;
	int session = msg->session;
	message_free(msg);
	/* no request, so its sender waits for nothing; a multicast's session is its channel */
	if (source == 0 || type == PTYPE_RESPONSE || type == PTYPE_ERROR || type == PTYPE_MULTICAST)
		return;
	(void)skynet_send(NULL, ctx->handle, source, PTYPE_ERROR, session, NULL, 0);
}

static void
drain(struct skynet_context *ctx) {
	struct skynet_message msg;
	while (mailbox_pop(&ctx->mailbox, &msg))
		bounce(ctx, &msg);
}

static void
free_context(void *p) {
	struct skynet_context *ctx = p;
	const int64_t mark = account_mark();
	drain(ctx);
	skynet_free(ctx);
	account_move(mark, NULL);
}

/* One less keeps the process alive; the last is the logger, unless it's gone already. */
static void
count_down(void) {
	int left = atomic_fetch_sub(&N.total, 1) - 1;
	if (left == 0) {
		scheduler_stop();
	} else if (left == 1 && atomic_load(&N.ending)) {
		uint32_t logger = skynet_handle_findname("logger");
		struct skynet_context *ctx = logger ? skynet_handle_grab(logger) : NULL;
		if (ctx) {
			if (mailbox_rouse(&ctx->mailbox))
				scheduler_ready(ctx);
			skynet_context_release(ctx);
		}
	}
}

static void
destroy(struct skynet_context *ctx) {
	FILE *f = atomic_exchange(&ctx->logfile, NULL);
	/* closing is no error worth a word: the file was flushed after each line */
	if (f)
		(void)fclose(f);
	const int64_t mark = account_mark();
	if (ctx->mod)
		skynet_module_instance_release(ctx->mod, ctx->inst);
	account_move(mark, NULL); /* the service whose it was is no more */
	bool counted = !ctx->uncounted;
	epoch_retire(ctx, free_context);
	if (counted)
		count_down();
}

void
skynet_context_grab(struct skynet_context *ctx) {
	atomic_fetch_add(&ctx->refs, 1);
}

void
skynet_context_reserve(struct skynet_context *ctx) {
	skynet_context_grab(ctx);
	ctx->uncounted = true;
	count_down();
}

void
skynet_context_release(struct skynet_context *ctx) {
	if (atomic_fetch_sub(&ctx->refs, 1) == 1)
		destroy(ctx);
}

void
service_retire(struct skynet_context *ctx) {
	atomic_store(&ctx->retired, true);
	for (int i = 0; i < RETIRE_HOOKS && N.on_retire[i]; i++)
		N.on_retire[i](ctx->handle);
	epoch_enter();
	if (mailbox_rouse(&ctx->mailbox))
		scheduler_ready(ctx);
	epoch_leave();
}

void
skynet_on_retire(void (*fn)(uint32_t handle)) {
	for (int i = 0; i < RETIRE_HOOKS; i++) {
		if (N.on_retire[i] == NULL) {
			N.on_retire[i] = fn;
			return;
		}
	}
}

void
skynet_on_drop(int type, void (*fn)(const void *msg, size_t sz)) {
	if (type >= 0 && type < DROP_TYPES)
		atomic_store(&N.on_drop[type], fn);
}

/*
 * ---- launching ----
 */

static struct skynet_context *
context_create(struct skynet_module *mod, void *inst) {
	struct skynet_context *ctx = skynet_aligned_alloc(64, (sizeof(*ctx) + 63) / 64 * 64);
	if (ctx == NULL)
		return NULL;
	memset(ctx, 0, sizeof(*ctx));
	mailbox_init(&ctx->mailbox);
	ctx->mod = mod;
	ctx->inst = inst;
	ctx->overload = OVERLOAD_FIRST;
	ctx->profile = N.profile;
	atomic_init(&ctx->refs, 2); /* the table's and ours */
	return ctx;
}

uint32_t
skynet_context_new(const char *name, const char *parm) {
	struct skynet_module *mod = skynet_module_query(name);
	if (mod == NULL)
		return 0;
	const int64_t mark = account_mark();
	void *inst = skynet_module_instance_create(mod);
	if (inst == NULL) {
		skynet_error(NULL, "error: launch %s FAILED : its create function gave nothing", name);
		return 0;
	}
	struct skynet_context *ctx = context_create(mod, inst);
	if (ctx == NULL || skynet_handle_register(ctx) == 0) {
		skynet_error(NULL, "error: launch %s FAILED : no memory or no handle left", name);
		skynet_module_instance_release(mod, inst);
		skynet_free(ctx);
		account_move(mark, NULL);
		return 0;
	}
	uint32_t handle = ctx->handle;
	atomic_fetch_add(&N.total, 1);
	if (skynet_module_instance_init(mod, inst, ctx, parm) != 0) {
		skynet_error(ctx, "error: launch %s FAILED", name);
		(void)skynet_handle_retire(handle);
		drain(ctx);
		skynet_context_release(ctx);
		skynet_context_release(ctx);
		account_move(mark, NULL);
		return 0;
	}
	account_move(mark, &ctx->charge);
	skynet_error(ctx, "LAUNCH %s %s", name, parm ? parm : "");
	/* from here on a worker may run it; until now it was ours */
	if (!mailbox_rest(&ctx->mailbox)) {
		epoch_enter();
		scheduler_ready(ctx);
		epoch_leave();
	} else if (atomic_load(&ctx->retired) && mailbox_rouse(&ctx->mailbox)) {
		scheduler_ready(ctx);
	}
	skynet_context_release(ctx);
	if (service_ending())
		(void)skynet_handle_retire(handle); /* it may have come too late for service_end_all */
	return handle;
}

/*
 * ---- running ----
 */

struct skynet_context *
service_running(void) {
	return here.running;
}

uint32_t
skynet_current_handle(void) {
	return here.handle;
}

void
skynet_initthread(int m) {
	here.handle = (uint32_t)-m;
	skynet_handle_register_thread();
}

int
skynet_defer(void (*fn)(void *ud), void *ud) {
	if (here.running == NULL || here.ndeferred == DEFERRED)
		return 0;
	here.deferred[here.ndeferred++] = (struct deferred){fn, ud};
	return 1;
}

static void
run_deferred(void) {
	for (int i = 0; i < here.ndeferred; i++)
		here.deferred[i].fn(here.deferred[i].ud);
	here.ndeferred = 0;
}

void
skynet_context_cork(struct skynet_context *ctx, int on) {
	ctx->corked = on != 0;
}

static void
check_overload(struct skynet_context *ctx) {
	int n = mailbox_length(&ctx->mailbox);
	if (n <= ctx->overload)
		return;
	while (n > ctx->overload)
		ctx->overload *= 2;
	skynet_error(ctx, "error: May overload, message queue length = %d", n);
}

/* Write to the message log (LOGON). A disk that is full ends it: said once, not for every line.
 */
static void
log_message(struct skynet_context *ctx, FILE *f, struct skynet_message *msg, int type,
            size_t sz) {
	skynet_log_output(f, msg->source, type, msg->session, msg->data, sz);
	if (!ferror(f))
		return;
	int why = errno;
	if (atomic_compare_exchange_strong(&ctx->logfile, &f, NULL)) {
		skynet_error(ctx, "error: the message log is given up: %s", strerror(why));
		skynet_log_close(ctx, f, ctx->handle);
	}
}

static void
dispatch(struct skynet_context *ctx, struct skynet_message *msg) {
	int type = message_type(msg);
	size_t sz = msg->sz & MESSAGE_TYPE_MASK;
	FILE *f = atomic_load_explicit(&ctx->logfile, memory_order_acquire);
	if (f)
		log_message(ctx, f, msg, type, sz);
	scheduler_begin(msg->source, ctx->handle, type, ctx->message_ticks);
	/* relaxed: only this worker writes it */
	atomic_store_explicit(&ctx->messages,
	                      atomic_load_explicit(&ctx->messages, memory_order_relaxed) + 1,
	                      memory_order_relaxed);
	if (type == PTYPE_SOCKET && msg->source == 0)
		account_received(msg->data, sz);
	else if (type == PTYPE_TEXT)
		log_queue_taken(ctx->handle, sz);
	/* it may be freed by then: looked at now, for services that have kept one before */
	size_t held = ctx->keeps ? account_size(msg->data) : 0;
	int kept = ctx->cb(ctx, ctx->cb_ud, type, msg->session, msg->source, msg->data, sz);
	scheduler_end();
	if (ctx->kept) {
		ctx->kept = false;
	} else if (kept) {
		ctx->keeps = true;
		skynet_account((ptrdiff_t)held);
	} else {
		account_free(msg->data);
	}
}

/*
 * Handle what waits, up to a fair share. *now moves on with each message; that's the one look at
 * the clock that a message costs. True: the mailbox was empty in the end.
 */
static bool
run_batch(struct skynet_context *ctx, uint64_t *now) {
	struct skynet_message msg;
	const uint64_t begin = *now;
	for (int n = 0; mailbox_pop(&ctx->mailbox, &msg);) {
		ctx->message_ticks = *now;
		check_overload(ctx);
		if (ctx->cb)
			dispatch(ctx, &msg);
		else
			message_free(&msg);
		if (here.ndeferred && !ctx->corked)
			run_deferred();
		*now = clock_ticks();
		if (atomic_load_explicit(&ctx->retired, memory_order_relaxed))
			return true;
		n++;
		if ((n >= BATCH || *now - begin > BATCH_TICKS) && scheduler_pressed())
			return false;
		if (*now - begin > 4 * BATCH_TICKS)
			return false; /* the worker has to look at timers and sockets */
	}
	ctx->overload = OVERLOAD_FIRST;
	return true;
}

static void
finish(struct skynet_context *ctx) {
	drain(ctx);
	skynet_context_release(ctx);
}

static bool
logger_may_end(struct skynet_context *ctx) {
	return atomic_load_explicit(&N.ending, memory_order_relaxed) && atomic_load(&N.total) == 1 &&
	       !ctx->uncounted && skynet_handle_findname("logger") == ctx->handle;
}

/* A worker begins to run the service. */
static void
warm_up(struct skynet_context *ctx) {
	const uint32_t run = ++here.runs;
	ctx->cold = run - ctx->last_run > COLD_AFTER;
	ctx->last_run = run;
	if (ctx->cold)
		cache_lines_fetch(&ctx->lines);
}

bool
skynet_context_cold(struct skynet_context *ctx) {
	return ctx->cold;
}

void
skynet_context_forget(struct skynet_context *ctx) {
	ctx->lines.n = 0;
}

void
skynet_context_warm(struct skynet_context *ctx, const void *p) {
	cache_lines_add(&ctx->lines, p);
}

uint64_t
service_run(struct skynet_context *ctx, uint64_t begin) {
	uint64_t now = begin;
	warm_up(ctx);
	here.handle = ctx->handle;
	here.running = ctx;
	account_begin();
	bool empty = run_batch(ctx, &now);
	if (here.ndeferred)
		run_deferred();
	account_end(&ctx->charge);
	scheduler_batch_over(ctx, now);
	here.running = NULL;
	ctx->message_ticks = 0;
	if (ctx->profile)
		atomic_store_explicit(&ctx->cpu_ticks,
		                      atomic_load_explicit(&ctx->cpu_ticks, memory_order_relaxed) +
		                          (now - begin),
		                      memory_order_relaxed);
	if (!atomic_load(&ctx->retired) && empty && logger_may_end(ctx))
		(void)skynet_handle_retire(ctx->handle);
	if (atomic_load(&ctx->retired)) {
		finish(ctx);
		return now;
	}
	if (empty && mailbox_rest(&ctx->mailbox)) {
		/* retired in between: whoever did it found us running and left it to us */
		if (!atomic_load(&ctx->retired) || !mailbox_rouse(&ctx->mailbox))
			return now;
	}
	scheduler_ready(ctx);
	return now;
}

/*
 * ---- sending ----
 */

/* Is it for a limit to keep out? Not what ends a wait, nor what has a flow control of its own. */
static bool
may_be_turned_away(int type) {
	switch (type) {
	case PTYPE_RESPONSE:
	case PTYPE_ERROR:
	case PTYPE_SYSTEM:
	case PTYPE_HARBOR:
	case PTYPE_SOCKET:
	case PTYPE_RESERVED_DEBUG:
		return false;
	default:
		return true;
	}
}

/* The mailbox is full. Returns -3, or 0 when the message was dropped (its caller is told). */
static int
turn_away(struct skynet_context *ctx, struct skynet_message *msg) {
	uint64_t n = atomic_fetch_add_explicit(&ctx->turned, 1, memory_order_relaxed) + 1;
	bool drops = atomic_load_explicit(&ctx->drops, memory_order_relaxed);
	if ((n & (n - 1)) == 0) /* a flood isn't worth a line each */
		skynet_error(NULL, "error: The mailbox of :%08x is full (%u messages): %llu %s so far",
		             ctx->handle,
		             (unsigned)atomic_load_explicit(&ctx->mailbox.limit, memory_order_relaxed),
		             (unsigned long long)n, drops ? "dropped" : "rejected");
	if (!drops)
		return -3;
	int session = msg->session;
	uint32_t source = msg->source;
	message_free(msg);
	if (session != 0 && source != 0)
		(void)skynet_send(NULL, ctx->handle, source, PTYPE_ERROR, session, NULL, 0);
	return 0;
}

int
skynet_context_push(uint32_t handle, struct skynet_message *message) {
	epoch_enter();
	struct skynet_context *ctx = handle ? skynet_handle_peek(handle) : NULL;
	if (ctx && mailbox_full(&ctx->mailbox) && may_be_turned_away(message_type(message))) {
		int r = turn_away(ctx, message);
		epoch_leave();
		return r;
	}
	if (ctx && mailbox_push(&ctx->mailbox, message))
		scheduler_ready(ctx);
	epoch_leave();
	return ctx ? 0 : -1;
}

void
skynet_context_send(struct skynet_context *ctx, void *msg, size_t sz, uint32_t source, int type,
                    int session) {
	struct skynet_message m = {source, session, msg, sz | (size_t)type << MESSAGE_TYPE_SHIFT};
	epoch_enter();
	if (mailbox_push(&ctx->mailbox, &m))
		scheduler_ready(ctx);
	epoch_leave();
}

int
skynet_context_newsession(struct skynet_context *ctx) {
	ctx->session = ctx->session == INT32_MAX ? 1 : ctx->session + 1;
	return ctx->session;
}

/*
 * The block to deliver: the sender's own when it's given away, else a copy with a NUL after it.
 * NULL with *failed set when there's no memory for it.
 */
static void *
payload(int type, void *msg, size_t sz, bool *failed) {
	*failed = false;
	if (msg == NULL)
		return NULL;
	if (type & PTYPE_TAG_DONTCOPY) {
		account_give(msg, type & PTYPE_TAG_SIZED ? sz : 0);
		return msg;
	}
	char *copy = account_malloc(sz + 1);
	if (copy == NULL) {
		*failed = true;
		return NULL;
	}
	memcpy(copy, msg, sz);
	copy[sz] = '\0';
	return copy;
}

static void
discard(int type, void *msg) {
	if (type & PTYPE_TAG_DONTCOPY)
		skynet_free(msg);
}

static int
send_remote(uint32_t source, const char *name, uint32_t handle, int type, int session, void *data,
            size_t sz) {
	struct remote_message *r = account_calloc(1, sizeof(*r));
	if (name) {
		size_t n = strlen(name);
		memcpy(r->destination.name, name, n < GLOBALNAME_LENGTH ? n : GLOBALNAME_LENGTH);
	}
	r->destination.handle = handle;
	r->message = data;
	r->sz = sz;
	r->type = type & 0xff;
	return skynet_harbor_send(r, source, session) == 0 ? session : -1;
}

int
skynet_send(struct skynet_context *context, uint32_t source, uint32_t destination, int type,
            int session, void *msg, size_t sz) {
	if (sz > MESSAGE_TYPE_MASK) {
		skynet_error(context, "error: The message to %x is too large", destination);
		discard(type, msg);
		return -2;
	}
	if (context && (type & PTYPE_TAG_ALLOCSESSION))
		session = skynet_context_newsession(context);
	if (source == 0 && context)
		source = context->handle;
	if (destination == 0) {
		if (msg == NULL)
			return session;
		skynet_error(context, "error: Destination address can't be 0");
		discard(type, msg);
		return -1;
	}
	bool failed;
	void *data = payload(type, msg, sz, &failed);
	if (failed) {
		skynet_error(context, "error: The message to %x is too large", destination);
		return -2;
	}
	if (skynet_harbor_message_isremote(destination))
		return send_remote(source, NULL, destination, type, session, data, sz);
	struct skynet_message m = {source, session, data,
	                           sz | (size_t)(type & 0xff) << MESSAGE_TYPE_SHIFT};
	int pushed = skynet_context_push(destination, &m);
	if (pushed != 0) {
		account_free(data);
		return pushed;
	}
	return session;
}

int
skynet_sendname(struct skynet_context *context, uint32_t source, const char *addr, int type,
                int session, void *msg, size_t sz) {
	if (addr[0] == ':')
		return skynet_send(context, source, (uint32_t)strtoul(addr + 1, NULL, 16), type, session,
		                   msg, sz);
	if (addr[0] == '.') {
		uint32_t handle = skynet_handle_findname(addr + 1);
		if (handle == 0) {
			discard(type, msg);
			return -1;
		}
		return skynet_send(context, source, handle, type, session, msg, sz);
	}
	if (sz > MESSAGE_TYPE_MASK) {
		skynet_error(context, "error: The message to %s is too large", addr);
		discard(type, msg);
		return -2;
	}
	if (context && (type & PTYPE_TAG_ALLOCSESSION))
		session = skynet_context_newsession(context);
	if (source == 0 && context)
		source = context->handle;
	bool failed;
	void *data = payload(type, msg, sz, &failed);
	if (failed)
		return -2;
	return send_remote(source, addr, 0, type, session, data, sz);
}

/*
 * ---- the rest of the interface ----
 */

uint32_t
skynet_context_handle(struct skynet_context *ctx) {
	return ctx->handle;
}

void
skynet_message_keep(struct skynet_context *ctx) {
	ctx->kept = true;
}

void
skynet_callback(struct skynet_context *ctx, void *ud, skynet_cb cb) {
	ctx->cb = cb;
	ctx->cb_ud = ud;
}

int
skynet_isremote(struct skynet_context *ctx, uint32_t handle, int *harbor) {
	(void)ctx;
	if (harbor)
		*harbor = (int)(handle >> HANDLE_REMOTE_SHIFT);
	return skynet_harbor_message_isremote(handle);
}

int
skynet_context_total(void) {
	return atomic_load(&N.total);
}

int
skynet_context_mqlen(struct skynet_context *ctx) {
	return mailbox_length(&ctx->mailbox);
}

int
skynet_thread_info(int index, struct skynet_thread_info *info) {
	struct worker_state s;
	memset(info, 0, sizeof(*info));
	if (index < 0 || !scheduler_inspect(index, &s))
		return -1;
	if (s.destination == 0)
		return 0;
	uint64_t now = clock_ticks();
	info->source = s.source;
	info->destination = s.destination;
	info->type = s.type;
	/* counters of two processors may differ a little */
	info->ns = now > s.since ? clock_ticks_ns(now - s.since) : 0;
	return 0;
}

#define STAMP_SHIFT 22 /* about a millisecond on x86; 32 bits of that are weeks */

uint32_t
skynet_message_stamp(struct skynet_context *ctx) {
	return (uint32_t)(ctx->message_ticks >> STAMP_SHIFT);
}

uint64_t
skynet_stamp_age(uint32_t stamp) {
	uint32_t age = (uint32_t)(clock_ticks() >> STAMP_SHIFT) - stamp;
	if ((int32_t)age < 0)
		age = 0; /* taken on another processor, whose counter is ahead */
	return clock_ticks_ns((uint64_t)age << STAMP_SHIFT);
}

void
skynet_context_endless(uint32_t handle) {
	struct skynet_context *ctx = skynet_handle_grab(handle);
	if (ctx == NULL)
		return;
	atomic_store(&ctx->endless, true);
	skynet_module_instance_stuck(ctx->mod, ctx->inst);
	skynet_context_release(ctx);
}

/* Every service ends now, the logger when nothing is left to be written. */
void
service_end_all(void) {
	atomic_store(&N.ending, 1);
	skynet_handle_retireall();
	if (atomic_load(&N.total) == 1) {
		/* only the logger was left */
		atomic_fetch_add(&N.total, 1);
		count_down();
	}
}

bool
service_ending(void) {
	return atomic_load_explicit(&N.ending, memory_order_relaxed) != 0;
}

void
skynet_globalinit(void) {
	atomic_init(&N.total, 0);
	skynet_initthread(THREAD_MAIN);
}

void
skynet_globalexit(void) {
	/* everything global lives as long as the process */
}

void
skynet_profile_enable(int enable) {
	N.profile = enable != 0;
}
