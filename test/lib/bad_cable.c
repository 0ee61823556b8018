/*
 * A cable between two network namespaces that loses and delays what goes through it, in any
 * kernel that has TUN devices: each end is a device "rough", and this program carries the
 * packets.
 *
 *   require("bad_cable").run(namespace, namespace, delay, jitter, loss)
 *
 * Delay and jitter are seconds, loss a share. A packet takes the delay, give or take the jitter,
 * so packets overtake each other. It writes a line when the devices are there, and runs until
 * it's killed. As a queue of a real device, a full one loses what comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PACKET_MAX 65536
#define QUEUE_MAX 1000

struct packet {
	double due;
	int to; /* descriptor */
	size_t sz;
	char data[];
};

/* by `due`, sorted */
static struct packet *queue[QUEUE_MAX];
static int queued;

static double
now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* 0 to 1, the same in every run */
static double
chance(void) {
	static unsigned long long x = 88172645463325252u;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (double)(x >> 11) / (double)(1ull << 53);
}

static int
open_end(lua_State *L, const char *name) {
	char path[128];
	struct ifreq device = {.ifr_name = "rough", .ifr_flags = IFF_TUN | IFF_NO_PI};
	snprintf(path, sizeof(path), "/var/run/netns/%s", name);
	int ns = open(path, O_RDONLY | O_CLOEXEC);
	if (ns < 0 || setns(ns, CLONE_NEWNET) != 0)
		return luaL_error(L, "%s: %s", path, strerror(errno));
	close(ns);
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &device) != 0)
		return luaL_error(L, "/dev/net/tun: %s", strerror(errno));
	return fd;
}

static void
put(const char *data, size_t sz, int to, double due) {
	int at = queued;
	struct packet *p = queued < QUEUE_MAX ? malloc(sizeof(*p) + sz) : NULL;
	if (p == NULL)
		return;
	p->due = due;
	p->to = to;
	p->sz = sz;
	memcpy(p->data, data, sz);
	for (; at > 0 && queue[at - 1]->due > due; at--)
		queue[at] = queue[at - 1];
	queue[at] = p;
	queued++;
}

static void
deliver_due(void) {
	int n = 0;
	for (double t = now(); n < queued && queue[n]->due <= t; n++) {
		/* a device that is down loses it */
		if (write(queue[n]->to, queue[n]->data, queue[n]->sz) < 0 && errno != EIO)
			perror("bad cable");
		free(queue[n]);
	}
	queued -= n;
	memmove(queue, queue + n, sizeof(queue[0]) * (size_t)queued);
}

/* What one end sends gets lost, or under way to the other. */
static void
take(int from, int to, double delay, double jitter, double loss) {
	static char data[PACKET_MAX];
	ssize_t n;
	while ((n = read(from, data, sizeof(data))) > 0) {
		if (chance() >= loss)
			put(data, (size_t)n, to, now() + delay + jitter * (2 * chance() - 1));
	}
}

static int
lrun(lua_State *L) {
	int a = open_end(L, luaL_checkstring(L, 1));
	int b = open_end(L, luaL_checkstring(L, 2));
	double delay = luaL_checknumber(L, 3);
	double jitter = luaL_checknumber(L, 4);
	double loss = luaL_checknumber(L, 5);
	struct pollfd p[2] = {{a, POLLIN, 0}, {b, POLLIN, 0}};
	int ok = puts("ready") >= 0 && fflush(stdout) == 0;
	while (ok) {
		double wait = queued ? queue[0]->due - now() : 1;
		ok = poll(p, 2, wait > 0 ? (int)(wait * 1000) + 1 : 0) >= 0;
		take(a, b, delay, jitter, loss);
		take(b, a, delay, jitter, loss);
		deliver_due();
	}
	return luaL_error(L, "%s", strerror(errno));
}

int
luaopen_bad_cable(lua_State *L) {
	static const luaL_Reg functions[] = {{"run", lrun}, {NULL, NULL}};
	luaL_newlib(L, functions);
	return 1;
}
