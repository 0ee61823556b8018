/*
 * The logger service: writes what skynet_error sends, one line per message, to a file or to
 * stdout.
 *
 * It gets type TEXT (a line; the source is its author) and SYSTEM (reopen the file, for log
 * rotation). A file that can't be reopened leaves the old one in use; a write that fails is
 * tried on stderr and counted, so that a full disk neither stops the node nor goes unnoticed.
 */
#include "skynet.h"
#include "skynet_timer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct logger {
	FILE *file;
	char *path;     /* NULL: stdout */
	unsigned lost;  /* lines that could not be written since the last one that could */
};

struct logger *
logger_create(void) {
	return skynet_calloc(1, sizeof(struct logger));
}

void
logger_release(struct logger *l) {
	if (l->path && l->file && fclose(l->file) != 0)
		perror(l->path);
	skynet_free(l->path);
	skynet_free(l);
}

static void
write_time(FILE *f) {
	uint64_t now = skynet_now();
	time_t seconds = (time_t)(skynet_starttime() + now / 100);
	struct tm tm;
	char text[32];
	localtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%d/%m/%y %H:%M:%S", &tm);
	fprintf(f, "%s.%02d ", text, (int)(now % 100));
}

static void
write_line(struct logger *l, uint32_t source, const void *msg, size_t sz) {
	FILE *f = l->file;
	if (l->path)
		write_time(f);
	fprintf(f, "[:%08x] ", source);
	if (sz > 0)
		fwrite(msg, sz, 1, f);
	fputc('\n', f);
	fflush(f);
	if (!ferror(f)) {
		if (l->lost) {
			fprintf(f, "[:00000000] the log is incomplete: %u lines could not be written\n",
			        l->lost);
			l->lost = 0;
		}
		return;
	}
	if (l->lost++ == 0)
		fprintf(stderr, "can't write the log %s: %s\n", l->path ? l->path : "(stdout)",
		        strerror(errno));
	clearerr(f);
}

static void
reopen(struct logger *l, struct skynet_context *ctx) {
	if (l->path == NULL)
		return;
	FILE *f = fopen(l->path, "ae");
	if (f == NULL) {
		skynet_error(ctx, "can't reopen the log %s: %s; the old file stays in use", l->path,
		             strerror(errno));
		return;
	}
	if (fclose(l->file) != 0)
		perror(l->path);
	l->file = f;
}

static int
on_message(struct skynet_context *ctx, void *ud, int type, int session, uint32_t source,
           const void *msg, size_t sz) {
	struct logger *l = ud;
	(void)session;
	if (type == PTYPE_TEXT)
		write_line(l, source, msg, sz);
	else if (type == PTYPE_SYSTEM)
		reopen(l, ctx);
	return 0;
}

int
logger_init(struct logger *l, struct skynet_context *ctx, const char *parm) {
	l->file = stdout;
	if (parm) {
		l->path = skynet_malloc(strlen(parm) + 1);
		memcpy(l->path, parm, strlen(parm) + 1);
		l->file = fopen(parm, "ae");
		if (l->file == NULL) {
			fprintf(stderr, "can't open the log %s: %s\n", parm, strerror(errno));
			return 1;
		}
	}
	skynet_callback(ctx, l, on_message);
	return 0;
}
