/*
 * Start-up: what the configuration says to the core, and the entry to it. The thread classes
 * name what skynet_current_handle answers on threads that run no service.
 */
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

/* Run the node until all its services are gone. */
void skynet_start(struct skynet_config *config);

#ifdef __cplusplus
}
#endif

/* A copy of the first `size` bytes; the caller frees it with skynet_free. */
static inline char *
skynet_strndup(const char *str, size_t size) {
	char *copy = (char *)skynet_malloc(size + 1);
	if (copy) {
		memcpy(copy, str, size);
		copy[size] = '\0';
	}
	return copy;
}

#endif
