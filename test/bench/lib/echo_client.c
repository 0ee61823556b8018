/*
 * A load for echo servers: CONNS connections, each with one message of SIZE bytes under way.
 *
 *   echo_client PORT CONNS SIZE framed|raw|idle SECONDS
 *
 * framed: a 2-byte big-endian length before each message, both ways. Prints
 * "rate p50_us p99_us connect_rate". One thread; latencies are sampled, all of them up to a million.
 * idle: prints connect_rate as soon as all are open, and holds them.
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

#define MAX_SAMPLES 1000000

struct conn {
	int fd;
	size_t got;
	uint64_t sent;
};

static char message[1 << 20], sink[1 << 20];
static size_t wanted;
static uint32_t *sample;
static size_t samples;

static uint64_t
now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void
die(const char *what) {
	perror(what);
	exit(1);
}

static void
ask(struct conn *c) {
	c->got = 0;
	c->sent = now();
	if (send(c->fd, message, wanted, MSG_NOSIGNAL) != (ssize_t)wanted)
		die("send");
}

static void
open_conn(struct conn *c, int port, int poller) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int on = 1;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof(a)) != 0)
		die("connect");
	if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
		die("nodelay");
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
	if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e) != 0)
		die("epoll");
}

/* One answer more? */
static int
take(struct conn *c) {
	ssize_t n = recv(c->fd, sink, sizeof(sink), MSG_DONTWAIT);
	if (n <= 0)
		die("the server closed a connection");
	c->got += (size_t)n;
	if (c->got < wanted)
		return 0;
	if (samples < MAX_SAMPLES)
		sample[samples++] = (uint32_t)((now() - c->sent) / 10);
	return 1;
}

static int
compare(const void *a, const void *b) {
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

int
main(int argc, char *argv[]) {
	if (argc != 6) {
		fprintf(stderr, "usage: echo_client PORT CONNS SIZE framed|raw|idle SECONDS\n");
		return 2;
	}
	int conns = atoi(argv[2]), framed = strcmp(argv[4], "framed") == 0;
	size_t size = (size_t)atoi(argv[3]);
	double seconds = atof(argv[5]);
	if (conns < 1 || size < 1 || size > 65535)
		return 2;
	wanted = size + (framed ? 2 : 0);
	memset(message, 'x', sizeof(message));
	if (framed) {
		message[0] = (char)(size >> 8);
		message[1] = (char)size;
	}
	sample = malloc(MAX_SAMPLES * sizeof(*sample));
	struct conn *c = calloc((size_t)conns, sizeof(*c));
	int poller = epoll_create1(0);
	uint64_t begin = now();
	for (int i = 0; i < conns; i++)
		open_conn(&c[i], atoi(argv[1]), poller);
	double opened = (double)(now() - begin) / 1e9;
	if (strcmp(argv[4], "idle") == 0) {
		printf("%.0f\n", conns / opened);
		fflush(stdout);
		struct timespec hold = {.tv_sec = (time_t)seconds};
		(void)nanosleep(&hold, NULL); /* a signal ends it early: no harm */
		return 0;
	}
	for (int i = 0; i < conns; i++)
		ask(&c[i]);
	uint64_t count = 0, end = now() + (uint64_t)(seconds * 1e9);
	begin = now();
	while (now() < end) {
		struct epoll_event e[256];
		int n = epoll_wait(poller, e, 256, 1000);
		for (int i = 0; i < n; i++) {
			struct conn *k = e[i].data.ptr;
			if (take(k)) {
				count++;
				ask(k);
			}
		}
	}
	double took = (double)(now() - begin) / 1e9;
	if (samples == 0)
		return 1;
	qsort(sample, samples, sizeof(*sample), compare);
	printf("%.0f %.2f %.2f %.0f\n", (double)count / took, sample[samples / 2] / 100.0,
	       sample[samples * 99 / 100] / 100.0, conns / opened);
	return 0;
}
