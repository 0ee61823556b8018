/* Start-up: what the configuration says to the core, and entry to it. */
#ifndef SKYNET_IMP_H
#define SKYNET_IMP_H

#include "skynet_malloc.h"

#include <string.h>

struct skynet_config {
	int thread;
	int harbor;
	int profile;
	const char *daemon;
	const char *module_path;
	const char *bootstrap;
	const char *logger;
	const char *logservice;
};

#define THREAD_WORKER 0
#define THREAD_MAIN 1
#define THREAD_SOCKET 2
#define THREAD_TIMER 3
#define THREAD_MONITOR 4

#ifdef __cplusplus
extern "C" {
#endif

/* Run the node until it ends. */
void skynet_start(struct skynet_config *config);

#ifdef __cplusplus
}
#endif

static inline char *
skynet_strndup(const char *str, size_t size) {
	char *copy = (char *)skynet_malloc(size + 1);
	if (copy) {
		memcpy(copy, str, size);
		copy[size] = '\0';
	}
	return copy;
}

static inline char *
skynet_strdup(const char *str) {
	return skynet_strndup(str, strlen(str));
}

#endif
