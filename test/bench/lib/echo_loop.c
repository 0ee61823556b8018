/*
 * The least an echo server can be: one thread, epoll_wait, read, write. What the system itself
 * takes for an echo.
 *
 * Prints its port, and ends when its last connection has been closed, or after a minute.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static int poller;

static void
watch(int fd) {
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
	if (fd < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e) != 0) {
		perror("echo_loop");
		exit(1);
	}
}

static int
listener(void) {
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) != 0 || listen(fd, 1024) != 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &len) != 0) {
		perror("echo_loop");
		exit(1);
	}
	printf("%d\n", ntohs(at.sin_port));
	fflush(stdout);
	return fd;
}

/* Is the connection still there? */
static int
echo(int fd) {
	static char bytes[65536];
	ssize_t n = read(fd, bytes, sizeof(bytes));
	return n > 0 && write(fd, bytes, (size_t)n) == n;
}

int
main(void) {
	poller = epoll_create1(0);
	int server = listener();
	watch(server);
	alarm(60); /* nobody came */
	int met = 0, open = 0;
	while (met == 0 || open > 0) {
		struct epoll_event e[256];
		int n = epoll_wait(poller, e, 256, -1);
		for (int i = 0; i < n; i++) {
			int fd = e[i].data.fd;
			if (fd == server) {
				watch(accept(fd, NULL, NULL));
				met++;
				open++;
			} else if (!echo(fd)) {
				close(fd);
				open--;
			}
		}
	}
	return 0;
}
