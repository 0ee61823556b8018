/*
 * The logger service: writes what skynet_error sends, one line per message, to a file or to
 * stdout.
 *
 * It gets type TEXT (a line; the source is its author) and SYSTEM (reopen the file, for log
 * rotation by others). By itself it rotates when the file passes `log_max_size` (bytes, or with a
 * suffix K, M or G) or when a day or an hour is over (`log_rotate = "daily"` or "hourly"): the
 * file becomes PATH.1, an older PATH.1 becomes PATH.2, and so on up to `log_keep` (default 10).
 *
 * Nothing that happens to the file stops the node or goes unnoticed. A write that fails (a full
 * disk) is told on stderr and counted, and the count is logged when writing works again. Once a
 * second it's checked that the path still leads to the open file; when it was removed or moved
 * away it's opened anew, and until that works lines go to stderr, too.
 */
#include "skynet.h"
#include "skynet_env.h"
#include "skynet_runtime.h"
#include "skynet_timer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KEEP 10
#define KEEP_MAX 1000

enum period { NEVER, DAILY, HOURLY };

struct logger {
	struct skynet_context *ctx;
	char *path; /* NULL: stdout */
	int fd;
	bool regular;  /* a file that can be rotated and looked after */
	bool missing;  /* the path is gone and can't be opened */
	bool torn;     /* the file ends in the middle of a line */
	unsigned lost; /* lines that could not be written since the last one that could */
	char *line;    /* being made; kept for the next one */
	size_t room;
	uint64_t size;
	uint64_t max_size;  /* 0: no limit */
	uint64_t rotate_at; /* size at which to rotate next */
	enum period period;
	int span; /* which day or hour the file is of */
	int keep;
	uint64_t looked; /* second of the last look at the path */
};

struct logger *
logger_create(void) {
	struct logger *l = skynet_calloc(1, sizeof(*l));
	l->fd = -1;
	return l;
}

void
logger_release(struct logger *l) {
	if (l->fd >= 0 && close(l->fd) != 0)
		perror(l->path);
	skynet_free(l->path);
	skynet_free(l->line);
	skynet_free(l);
}

/*
 * ---- the file ----
 */

static void
local_time(struct tm *tm, int *cs) {
	uint64_t now = skynet_now();
	time_t seconds = (time_t)(skynet_starttime() + now / 100);
	localtime_r(&seconds, tm);
	*cs = (int)(now % 100);
}

static int
span_of(enum period p, const struct tm *tm) {
	int day = tm->tm_year * 366 + tm->tm_yday;
	return p == NEVER ? 0 : p == DAILY ? day : day * 24 + tm->tm_hour;
}

/* Open the path; 0, or -1 with errno set, and the file that was open stays in use. */
static int
open_file(struct logger *l) {
	struct stat st;
	int fd = open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) != 0)
		memset(&st, 0, sizeof(st));
	if (l->fd >= 0 && close(l->fd) != 0)
		perror(l->path);
	l->fd = fd;
	l->regular = S_ISREG(st.st_mode);
	l->size = (uint64_t)st.st_size;
	l->rotate_at = l->max_size;
	l->torn = false;
	struct tm tm;
	localtime_r(&st.st_mtime, &tm); /* what was written in an earlier span goes with it */
	if (l->size == 0) {
		int cs;
		local_time(&tm, &cs);
	}
	l->span = span_of(l->period, &tm);
	return 0;
}

static void
reopen(struct logger *l) {
	if (l->path && open_file(l) != 0)
		skynet_error(l->ctx, "can't reopen the log %s: %s; the old file stays in use", l->path,
		             strerror(errno));
}

/* PATH.n-1 becomes PATH.n; a name that doesn't exist is no failure. */
static int
shift(struct logger *l, int n) {
	char from[4096], to[4096];
	int a = n == 1 ? snprintf(from, sizeof(from), "%s", l->path)
	               : snprintf(from, sizeof(from), "%s.%d", l->path, n - 1);
	int b = snprintf(to, sizeof(to), "%s.%d", l->path, n);
	if (a < 0 || b < 0 || (size_t)a >= sizeof(from) || (size_t)b >= sizeof(to)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return rename(from, to) == 0 || errno == ENOENT ? 0 : -1;
}

static void
rotate(struct logger *l) {
	int error = 0;
	for (int n = l->keep; n > 0 && error == 0; n--) {
		if (shift(l, n) != 0)
			error = errno;
	}
	if (error == 0 && l->keep == 0 && unlink(l->path) != 0)
		error = errno;
	if (error == 0 && open_file(l) != 0)
		error = errno;
	if (error != 0) { /* go on with the file as it is; don't try for each line */
		l->rotate_at = l->size + l->max_size;
		struct tm tm;
		int cs;
		local_time(&tm, &cs);
		l->span = span_of(l->period, &tm);
		skynet_error(l->ctx, "can't rotate the log %s: %s", l->path, strerror(error));
	}
}

/* Once a second: does the path still lead to our file? */
static void
look_after(struct logger *l) {
	struct stat here, there;
	uint64_t second = skynet_now() / 100;
	if (second == l->looked)
		return;
	l->looked = second;
	if (stat(l->path, &there) == 0 && fstat(l->fd, &here) == 0 && here.st_ino == there.st_ino &&
	    here.st_dev == there.st_dev) {
		l->missing = false;
		return;
	}
	if (open_file(l) == 0) {
		if (l->missing)
			skynet_error(l->ctx, "the log is back; lines meanwhile went to stderr");
		l->missing = false;
	} else if (!l->missing) {
		l->missing = true;
		fprintf(stderr, "the log %s is gone and can't be made: %s; lines go to stderr\n", l->path,
		        strerror(errno));
	}
}

/*
 * ---- lines ----
 */

/* Room for n more bytes after the first `have`. */
static bool
reserve(struct logger *l, size_t have, size_t n) {
	if (l->room >= have + n)
		return true;
	char *line = skynet_realloc(l->line, have + n);
	if (line == NULL)
		return false;
	l->line = line;
	l->room = have + n;
	return true;
}

/* Make a line in l->line; its length, or 0 when there's no memory for it. */
static size_t
make_line(struct logger *l, uint32_t source, const void *msg, size_t sz, const struct tm *tm,
          int cs) {
	size_t n = 0;
	if (!reserve(l, 0, 64 + sz))
		return 0;
	if (l->torn)
		l->line[n++] = '\n';
	if (l->path) {
		n += strftime(l->line + n, 32, "%d/%m/%y %H:%M:%S", tm);
		n += (size_t)snprintf(l->line + n, 8, ".%02d ", cs);
	}
	n += (size_t)snprintf(l->line + n, 16, "[:%08x] ", source);
	if (sz > 0)
		memcpy(l->line + n, msg, sz);
	n += sz;
	l->line[n++] = '\n';
	return n;
}

/* Write all of it; 0, or -1 with errno set. */
static int
write_file(struct logger *l, const char *p, size_t n) {
	while (n > 0) {
		ssize_t w = write(l->fd, p, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0) {
			if (w == 0)
				errno = EIO;
			return -1;
		}
		p += w;
		n -= (size_t)w;
		l->size += (size_t)w;
		l->torn = n > 0;
	}
	return 0;
}

/* stdout is shared with what services print: through the same buffer, so order is kept. */
static int
write_stdout(const char *p, size_t n) {
	(void)fwrite(p, n, 1, stdout);
	(void)fflush(stdout);
	if (!ferror(stdout))
		return 0;
	int why = errno;
	clearerr(stdout);
	errno = why;
	return -1;
}

static int
emit(struct logger *l, size_t n) {
	if (l->missing)
		(void)fwrite(l->line, n, 1, stderr);
	return l->path ? write_file(l, l->line, n) : write_stdout(l->line, n);
}

/* Before a line: is the file the right one for it? */
static void
prepare(struct logger *l, const struct tm *tm) {
	if (!l->regular)
		return;
	look_after(l);
	if (l->missing || l->size == 0)
		return;
	if ((l->max_size && l->size >= l->rotate_at) || span_of(l->period, tm) != l->span)
		rotate(l);
}

static void
write_line(struct logger *l, uint32_t source, const void *msg, size_t sz) {
	struct tm tm = {0};
	int cs = 0;
	if (l->path) {
		local_time(&tm, &cs);
		prepare(l, &tm);
	}
	size_t n = make_line(l, source, msg, sz, &tm, cs);
	if (n > 0 && emit(l, n) == 0) {
		if (l->lost) {
			char text[80];
			int len = snprintf(text, sizeof(text),
			                   "the log is incomplete: %u lines could not be written", l->lost);
			n = make_line(l, 0, text, (size_t)len, &tm, cs);
			if (n > 0 && emit(l, n) == 0)
				l->lost = 0;
		}
	} else if (l->lost++ == 0) {
		fprintf(stderr, "can't write the log %s: %s\n", l->path ? l->path : "(stdout)",
		        strerror(errno));
	}
	if (l->room > 65536) { /* one long line isn't worth the memory for ever */
		skynet_free(l->line);
		l->line = NULL;
		l->room = 0;
	}
}

/* When the queue has run dry: were lines dropped because it was full? */
static void
tell_dropped(struct logger *l) {
	char text[64];
	unsigned n = skynet_context_mqlen(l->ctx) == 0 ? skynet_log_dropped() : 0;
	if (n > 0) {
		int len = snprintf(text, sizeof(text), "error: %u log lines were dropped", n);
		write_line(l, 0, text, (size_t)len);
	}
}

static int
on_message(struct skynet_context *ctx, void *ud, int type, int session, uint32_t source,
           const void *msg, size_t sz) {
	struct logger *l = ud;
	(void)ctx;
	(void)session;
	if (type == PTYPE_TEXT) {
		write_line(l, source, msg, sz);
		tell_dropped(l);
	} else if (type == PTYPE_SYSTEM) {
		reopen(l);
	}
	return 0;
}

/*
 * ---- configuration ----
 */

/* "100", "100K", "100M", "1G"; 0, or -1 after a line on stderr. */
static int
read_size(const char *key, uint64_t *size) {
	static const char units[] = "KMG";
	const char *text = skynet_getenv(key);
	char *end;
	*size = 0;
	if (text == NULL)
		return 0;
	unsigned long long n = strtoull(text, &end, 10);
	const char *unit = *end ? strchr(units, *end) : NULL;
	if (end == text || text[0] == '-' || n > UINT64_MAX >> 30 || (*end && (!unit || end[1]))) {
		fprintf(stderr, "config: %s = \"%s\" is no size (100, 100K, 100M, 1G)\n", key, text);
		return -1;
	}
	*size = n << (unit ? 10 * (unit - units + 1) : 0);
	return 0;
}

static int
configure(struct logger *l) {
	const char *period = skynet_getenv("log_rotate");
	const char *keep = skynet_getenv("log_keep");
	if (read_size("log_max_size", &l->max_size) != 0)
		return -1;
	if (period && strcmp(period, "daily") != 0 && strcmp(period, "hourly") != 0) {
		fprintf(stderr, "config: log_rotate = \"%s\" is neither daily nor hourly\n", period);
		return -1;
	}
	l->period = period == NULL ? NEVER : period[0] == 'd' ? DAILY : HOURLY;
	l->keep = keep ? atoi(keep) : KEEP;
	if (l->keep < 0 || l->keep > KEEP_MAX) {
		fprintf(stderr, "config: log_keep = %s is not in [0,%d]\n", keep, KEEP_MAX);
		return -1;
	}
	return 0;
}

int
logger_init(struct logger *l, struct skynet_context *ctx, const char *parm) {
	l->ctx = ctx;
	if (parm) {
		if (configure(l) != 0)
			return 1;
		l->path = skynet_malloc(strlen(parm) + 1);
		memcpy(l->path, parm, strlen(parm) + 1);
		if (open_file(l) != 0) {
			fprintf(stderr, "can't open the log %s: %s\n", parm, strerror(errno));
			return 1;
		}
	}
	skynet_callback(ctx, l, on_message);
	return 0;
}
