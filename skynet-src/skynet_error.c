/*
 * Log lines on their way to the logger service. Before there is a logger, and after it has gone,
 * lines go to stderr instead of nowhere.
 */
#include "service.h"
#include "skynet.h"
#include "skynet_handle.h"
#include "skynet_imp.h"
#include "skynet_server.h"

#include <stdarg.h>
#include <stdio.h>

#define SMALL 256

static _Atomic uint32_t logger;

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

void
skynet_error(struct skynet_context *context, const char *msg, ...) {
	va_list ap;
	size_t sz;
	va_start(ap, msg);
	char *text = format(msg, ap, &sz);
	va_end(ap);
	if (text == NULL)
		return;
	uint32_t to = atomic_load_explicit(&logger, memory_order_relaxed);
	if (to == 0) {
		to = skynet_handle_findname("logger");
		atomic_store_explicit(&logger, to, memory_order_relaxed);
	}
	uint32_t source = context ? skynet_context_handle(context) : 0;
	struct skynet_message m = {.source = source, .data = text,
	                           .sz = sz | (size_t)PTYPE_TEXT << MESSAGE_TYPE_SHIFT};
	if (to && skynet_context_push(to, &m) == 0)
		return;
	if (to) /* the logger has ended */
		fprintf(stderr, "[:%08x] %.*s\n", source, (int)sz, text);
	skynet_free(text);
}
