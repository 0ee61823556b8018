/*
 * Readiness: a small interface over epoll. One poller is waited on by one thread at a time;
 * descriptors may be added and changed from any thread meanwhile.
 */
#ifndef socket_poll_h
#define socket_poll_h

#include <stdbool.h>
#include <stdint.h>

struct poll_event {
	uint32_t id;
	bool read;
	bool write;
	bool gone; /* error or hang-up: reported even if neither was asked for */
};

/* A new poller; -1 with errno. */
int poll_create(void);
void poll_destroy(int poller);
/* 0, or -1 with errno. */
int poll_add(int poller, int fd, uint32_t id, bool read, bool write);
int poll_change(int poller, int fd, uint32_t id, bool read, bool write);
void poll_remove(int poller, int fd);
/* Wait up to timeout_ns (< 0: no limit); the number of events. */
int poll_wait(int poller, struct poll_event *e, int max, int64_t timeout_ns);

/* A descriptor for waking the poller, which then reports `id`; -1 with errno. */
int poll_waker(int poller, uint32_t id);
void poll_signal(int waker);

#endif
