/*
 * Load for WebSocket servers that echo: a number of connections, each sends a masked binary
 * message, waits for its echo, and sends the next. One thread, epoll.
 *
 *   ws_load PORT CONNECTIONS BYTES SECONDS     prints: messages, p50 and p99 in microseconds
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES 2000000
#define CONNECTIONS_MAX 10000
#define BYTES_MAX 65535

struct connection {
	int fd;
	size_t got; /* bytes of the echo */
	double sent;
};

static struct connection all[CONNECTIONS_MAX];
static float samples[SAMPLES];
static size_t count;
static uint8_t frame[BYTES_MAX + 14];
static size_t frame_size, echo_size;

static void
fail(const char *what) {
	perror(what);
	exit(1);
}

static double
now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A zero mask is a mask, too. */
static void
make_frame(size_t bytes) {
	size_t extra = bytes > 125 ? 2 : 0;
	frame[0] = 0x82;
	frame[1] = (uint8_t)(0x80 | (extra ? 126 : bytes));
	if (extra) {
		frame[2] = (uint8_t)(bytes >> 8);
		frame[3] = (uint8_t)bytes;
	}
	frame_size = 2 + extra + 4 + bytes;
	echo_size = 2 + extra + bytes;
}

static void
handshake(int fd) {
	static const char request[] =
		"GET / HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: "
		"13\r\n\r\n";
	char answer[1024];
	size_t got = 0;
	if (write(fd, request, sizeof(request) - 1) < 0)
		fail("write");
	while (got < 4 || memcmp(answer + got - 4, "\r\n\r\n", 4) != 0) {
		ssize_t n = read(fd, answer + got, 1);
		if (n <= 0 || ++got == sizeof(answer))
			fail("handshake");
	}
}

static int
dial(int port) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int on = 1;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0)
		fail("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	handshake(fd);
	return fd;
}

static void
send_next(struct connection *c) {
	c->got = 0;
	c->sent = now();
	if (write(c->fd, frame, frame_size) != (ssize_t)frame_size)
		fail("write");
}

static void
receive(struct connection *c) {
	static char bytes[BYTES_MAX + 14];
	ssize_t n = read(c->fd, bytes, sizeof(bytes));
	if (n <= 0)
		fail("read");
	c->got += (size_t)n;
	if (c->got < echo_size)
		return;
	if (count < SAMPLES)
		samples[count] = (float)((now() - c->sent) * 1e6);
	count++;
	send_next(c);
}

static int
ascending(const void *a, const void *b) {
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

int
main(int argc, char **argv) {
	if (argc != 5)
		return 2;
	int n = atoi(argv[2]);
	size_t bytes = (size_t)atol(argv[3]);
	if (n < 1 || n > CONNECTIONS_MAX || bytes > BYTES_MAX)
		return 2;
	make_frame(bytes);
	int ep = epoll_create1(0);
	for (int i = 0; i < n; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.ptr = &all[i]};
		all[i].fd = dial(atoi(argv[1]));
		epoll_ctl(ep, EPOLL_CTL_ADD, all[i].fd, &e);
	}
	for (int i = 0; i < n; i++)
		send_next(&all[i]);
	for (double end = now() + atof(argv[4]); now() < end;) {
		struct epoll_event events[256];
		int k = epoll_wait(ep, events, 256, 100);
		for (int i = 0; i < k; i++)
			receive(events[i].data.ptr);
	}
	size_t kept = count < SAMPLES ? count : SAMPLES;
	if (kept == 0)
		return 1;
	qsort(samples, kept, sizeof(*samples), ascending);
	printf("%zu %.1f %.1f\n", count, samples[kept / 2], samples[kept * 99 / 100]);
	return 0;
}
