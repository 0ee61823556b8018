/*
 * Log lines on their way to the logger service. Before there is a logger, and after it has gone,
 * lines go to stderr instead of nowhere.
 *
 * What waits for the logger is limited in bytes (`log_queue`), so that a service that logs faster
 * than the disk writes can't take the node's memory. Lines that don't fit are dropped and
 * counted; the log tells when that begins, and how many there were once half of the queue is
 * free again.
 *
 * Any thread.
 */
#include "log_queue.h"

#include "account.h"
#include "config.h"
#include "service.h"
#include "skynet.h"
#include "skynet_env.h"
#include "skynet_handle.h"
#include "skynet_imp.h"
#include "skynet_runtime.h"
#include "skynet_server.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#define SMALL 256
#define LINE_COST 64 /* bytes a line takes besides its text */
#define QUEUE_MIB 64

static _Atomic uint32_t logger;

/* All relaxed: counters and a switch; the lines themselves travel through the mailbox. */
static struct {
	size_t max; /* bytes; 0: no limit. Written once, before there are threads */
	atomic_size_t waiting;
	atomic_uint dropped; /* lines since the last report */
	atomic_int level;
} Q = {.level = SKYNET_LOG_INFO};

int
log_queue_init(void) {
	static const char *const names[] = {"debug", "info", "warn", "error"};
	int mib = config_integer("log_queue", QUEUE_MIB);
	const char *level = skynet_getenv("log_level");
	Q.max = mib > 0 ? (size_t)mib << 20 : 0;
	if (level == NULL)
		return 0;
	for (int i = SKYNET_LOG_DEBUG; i <= SKYNET_LOG_ERROR; i++) {
		if (strcmp(level, names[i]) == 0) {
			atomic_store_explicit(&Q.level, i, memory_order_relaxed);
			return 0;
		}
	}
	fprintf(stderr, "config: log_level = \"%s\" is none of debug, info, warn, error\n", level);
	return -1;
}

void
log_queue_taken(uint32_t handle, size_t sz) {
	if (handle != atomic_load_explicit(&logger, memory_order_relaxed))
		return;
	size_t cost = sz + LINE_COST;
	size_t old = atomic_load_explicit(&Q.waiting, memory_order_relaxed);
	size_t left;
	do {
		left = old > cost ? old - cost : 0; /* somebody may send text to the logger directly */
	} while (!atomic_compare_exchange_weak_explicit(&Q.waiting, &old, left, memory_order_relaxed,
	                                                memory_order_relaxed));
}

size_t
log_queue_waiting(void) {
	return atomic_load_explicit(&Q.waiting, memory_order_relaxed);
}

unsigned
skynet_log_dropped(void) {
	if (atomic_load_explicit(&Q.dropped, memory_order_relaxed) == 0)
		return 0;
	return atomic_exchange_explicit(&Q.dropped, 0, memory_order_relaxed);
}

int
skynet_log_level(int level) {
	if (level >= SKYNET_LOG_DEBUG && level <= SKYNET_LOG_ERROR)
		atomic_store_explicit(&Q.level, level, memory_order_relaxed);
	return atomic_load_explicit(&Q.level, memory_order_relaxed);
}

/* Format into a heap block; the length goes to *sz. NULL when the format is broken. */
static char *
format(const char *msg, va_list ap, size_t *sz) {
	if (strcmp(msg, "%*s") == 0) { /* (length, bytes), embedded zeros included */
		int n = va_arg(ap, int);
		const char *text = va_arg(ap, const char *);
		*sz = n > 0 ? (size_t)n : 0;
		return skynet_strndup(text, *sz);
	}
	char small[SMALL];
	va_list again;
	va_copy(again, ap);
	int n = vsnprintf(small, sizeof(small), msg, ap);
	char *text = NULL;
	if (n >= 0 && n < SMALL) {
		text = skynet_strndup(small, (size_t)n);
	} else if (n >= 0) {
		text = skynet_malloc((size_t)n + 1);
		if (text)
			vsnprintf(text, (size_t)n + 1, msg, again);
	}
	va_end(again);
	if (n < 0)
		perror("vsnprintf error :");
	*sz = n > 0 ? (size_t)n : 0;
	return text;
}

/* Give a line to the logger; takes the text. False when there's no logger any more. */
static bool
push_line(uint32_t to, uint32_t source, char *text, size_t sz) {
	struct skynet_message m = {
		.source = source, .data = text, .sz = sz | (size_t)PTYPE_TEXT << MESSAGE_TYPE_SHIFT};
	atomic_fetch_add_explicit(&Q.waiting, sz + LINE_COST, memory_order_relaxed);
	return skynet_context_push(to, &m) == 0;
}

static void
push_note(uint32_t to, const char *text) {
	char *copy = skynet_strdup(text);
	if (copy && !push_line(to, 0, copy, strlen(copy)))
		skynet_free(copy);
}

/* Is there room for a line of this size? Notes the begin and the end of a loss in the log. */
static bool
has_room(uint32_t to, size_t sz) {
	size_t waiting = atomic_load_explicit(&Q.waiting, memory_order_relaxed);
	if (Q.max == 0)
		return true;
	if (waiting + sz > Q.max) {
		if (atomic_fetch_add_explicit(&Q.dropped, 1, memory_order_relaxed) == 0)
			push_note(to, "error: the log queue is full: lines are dropped (see log_queue)");
		return false;
	}
	unsigned lost = waiting < Q.max / 2 ? skynet_log_dropped() : 0;
	if (lost > 0) {
		char note[64];
		snprintf(note, sizeof(note), "error: %u log lines were dropped", lost);
		push_note(to, note);
	}
	return true;
}

static uint32_t
find_logger(void) {
	uint32_t to = atomic_load_explicit(&logger, memory_order_relaxed);
	if (to == 0) {
		to = skynet_handle_findname("logger");
		atomic_store_explicit(&logger, to, memory_order_relaxed);
	}
	return to;
}

/* Takes the text. */
static void
log_line(uint32_t source, char *text, size_t sz) {
	uint32_t to = find_logger();
	if (to && has_room(to, sz)) {
		if (push_line(to, source, text, sz))
			return;
		/* the logger has ended */
		fprintf(stderr, "[:%08x] %.*s\n", source, (int)sz, text);
	}
	skynet_free(text);
}

void
skynet_error(struct skynet_context *context, const char *msg, ...) {
	const int64_t mark = account_mark();
	va_list ap;
	size_t sz;
	va_start(ap, msg);
	char *text = format(msg, ap, &sz);
	va_end(ap);
	if (text)
		log_line(context ? skynet_context_handle(context) : 0, text, sz);
	account_move(mark, NULL); /* the line is the logger's */
}
