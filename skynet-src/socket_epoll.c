#include "socket_poll.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAX_EVENTS 256

int
poll_create(void) {
	return epoll_create1(EPOLL_CLOEXEC);
}

void
poll_destroy(int poller) {
	close(poller);
}

static int
control(int poller, int op, int fd, uint32_t id, bool read, bool write) {
	struct epoll_event e = {.events = (read ? EPOLLIN : 0) | (write ? EPOLLOUT : 0),
	                        .data.u32 = id};
	return epoll_ctl(poller, op, fd, &e);
}

int
poll_add(int poller, int fd, uint32_t id, bool read, bool write) {
	return control(poller, EPOLL_CTL_ADD, fd, id, read, write);
}

int
poll_change(int poller, int fd, uint32_t id, bool read, bool write) {
	return control(poller, EPOLL_CTL_MOD, fd, id, read, write);
}

void
poll_remove(int poller, int fd) {
	/* fails only when it isn't there, which is what we want */
	(void)epoll_ctl(poller, EPOLL_CTL_DEL, fd, NULL);
}

int
poll_wait(int poller, struct poll_event *out, int max, int64_t timeout_ns) {
	struct epoll_event e[MAX_EVENTS];
	int64_t ms = timeout_ns < 0 ? -1 : (timeout_ns + 999999) / 1000000;
	if (ms > 3600000)
		ms = 3600000;
	int n = epoll_wait(poller, e, max < MAX_EVENTS ? max : MAX_EVENTS, (int)ms);
	for (int i = 0; i < n; i++) {
		out[i].id = e[i].data.u32;
		out[i].read = (e[i].events & EPOLLIN) != 0;
		out[i].write = (e[i].events & EPOLLOUT) != 0;
		out[i].gone = (e[i].events & (EPOLLERR | EPOLLHUP)) != 0;
	}
	return n < 0 ? 0 : n; /* EINTR: nothing happened */
}

int
poll_waker(int poller, uint32_t id) {
	int waker = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	/* edge-triggered: each signal is an event, and the counter needn't be read */
	struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.u32 = id};
	if (waker >= 0 && epoll_ctl(poller, EPOLL_CTL_ADD, waker, &e) != 0) {
		int error = errno;
		close(waker);
		errno = error;
		return -1;
	}
	return waker;
}

void
poll_signal(int waker) {
	uint64_t one = 1;
	/* a full counter has been signalled for ages */
	ssize_t n = write(waker, &one, sizeof(one));
	(void)n;
}
