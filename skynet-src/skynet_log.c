#include "skynet_log.h"

#include "epoch.h"
#include "skynet.h"
#include "skynet_env.h"
#include "skynet_socket.h"
#include "skynet_timer.h"

#include <string.h>
#include <time.h>

FILE *
skynet_log_open(struct skynet_context *ctx, uint32_t handle) {
	const char *folder = skynet_getenv("logpath");
	char path[4096];
	if (folder == NULL)
		return NULL;
	int n = snprintf(path, sizeof(path), "%s/%08x.log", folder, handle);
	FILE *f = n > 0 && (size_t)n < sizeof(path) ? fopen(path, "abe") : NULL;
	if (f == NULL) {
		skynet_error(ctx, "Open log file %s fail", path);
		return NULL;
	}
	skynet_error(ctx, "Open log file %s", path);
	time_t now = (time_t)(skynet_starttime() + skynet_now() / 100);
	char text[32];
	fprintf(f, "open time: %u %s", (uint32_t)skynet_now(), ctime_r(&now, text));
	fflush(f);
	return f;
}

static void
close_file(void *f) {
	/* every line was flushed: nothing can be lost by now */
	(void)fclose(f);
}

void
skynet_log_close(struct skynet_context *ctx, FILE *f, uint32_t handle) {
	skynet_error(ctx, "Close log file :%08x", handle);
	fprintf(f, "close time: %u\n", (uint32_t)skynet_now());
	fflush(f);
	/* the service's worker may be writing a line right now */
	epoch_retire(f, close_file);
}

static void
write_hex(FILE *f, const void *buffer, size_t sz) {
	const unsigned char *p = buffer;
	for (size_t i = 0; p && i < sz; i++)
		fprintf(f, "%02x", p[i]);
}

static void
write_socket(FILE *f, const struct skynet_socket_message *m, size_t sz) {
	fprintf(f, "[socket] %d %d %d ", m->type, m->id, m->ud);
	if (m->buffer == NULL) {
		const char *text = (const char *)(m + 1);
		fprintf(f, "[%.*s]", (int)strnlen(text, sz - sizeof(*m)), text);
	} else {
		write_hex(f, m->buffer, (size_t)m->ud);
	}
	fprintf(f, "\n");
}

void
skynet_log_output(FILE *f, uint32_t source, int type, int session, void *buffer, size_t sz) {
	/* source 0: it's an event, and its pointer is one */
	if (type == PTYPE_SOCKET && source == 0 && sz >= sizeof(struct skynet_socket_message)) {
		write_socket(f, buffer, sz);
	} else {
		fprintf(f, ":%08x %d %d %u ", source, type, session, (uint32_t)skynet_now());
		write_hex(f, buffer, sz);
		fprintf(f, "\n");
	}
	fflush(f);
}
