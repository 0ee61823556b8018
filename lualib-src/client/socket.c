/*
 * Module client.socket: a TCP client and lines of standard input for test programs.
 *
 * It lives in the plain interpreter, without the runtime: descriptors are the system's, sending
 * waits, receiving doesn't. Standard input is read by a thread of its own, started by the first
 * readstdin; it waits when QUEUE lines are unread. Once all lines of an ended input are read, the
 * next readstdin ends the process with status 1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RECEIVE 4096
#define QUEUE 1024
#define LINE 1023 /* with the terminating zero */

/* connect(ipv4, port) -> descriptor, non-blocking */
static int
lconnect(lua_State *L) {
	const char *ip = luaL_checkstring(L, 1);
	lua_Integer port = luaL_checkinteger(L, 2);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = -1;
	bool ok = port > 0 && port < 65536 && inet_pton(AF_INET, ip, &address.sin_addr) == 1 &&
	          (fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0 &&
	          connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	          fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
	if (!ok) {
		if (fd >= 0)
			close(fd);
		return luaL_error(L, "Connect %s %d failed", ip, (int)port);
	}
	lua_pushinteger(L, fd);
	return 1;
}

static int
socket_error(lua_State *L) {
	return luaL_error(L, "socket error: %s", strerror(errno));
}

/* send(fd, bytes): returns when all are sent */
static int
lsend(lua_State *L) {
	int fd = (int)luaL_checkinteger(L, 1);
	size_t size;
	const char *p = luaL_checklstring(L, 2, &size);
	while (size > 0) {
		ssize_t n = send(fd, p, size, MSG_NOSIGNAL);
		if (n >= 0) {
			p += n;
			size -= (size_t)n;
		} else if (errno == EAGAIN) {
			struct pollfd writable = {fd, POLLOUT, 0};
			poll(&writable, 1, -1);
		} else if (errno != EINTR) {
			return socket_error(L);
		}
	}
	return 0;
}

/* recv(fd) -> bytes, "" when the peer has closed, or nothing when there is nothing yet */
static int
lrecv(lua_State *L) {
	int fd = (int)luaL_checkinteger(L, 1);
	char buffer[RECEIVE];
	ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return 0;
		return socket_error(L);
	}
	lua_pushlstring(L, buffer, (size_t)n);
	return 1;
}

/* shutdown(fd, mode): "r", "w" or both */
static int
lshutdown(lua_State *L) {
	int fd = (int)luaL_checkinteger(L, 1);
	bool read = false, write = false;
	for (const char *mode = luaL_checkstring(L, 2); *mode; mode++) {
		if (*mode == 'r')
			read = true;
		else if (*mode == 'w')
			write = true;
		else
			return luaL_error(L, "Invalid mode %c", *mode);
	}
	if (!read && !write)
		return luaL_error(L, "mode should be r or/and w");
	int how = read && write ? SHUT_RDWR : read ? SHUT_RD : SHUT_WR;
	printf("SHUTDOWN %d %d\n", fd, how);
	fflush(stdout);
	if (shutdown(fd, how) != 0)
		return socket_error(L);
	return 0;
}

static int
lclose(lua_State *L) {
	close((int)luaL_checkinteger(L, 1));
	return 0;
}

/* usleep(microseconds) */
static int
lusleep(lua_State *L) {
	lua_Integer us = luaL_checkinteger(L, 1);
	luaL_argcheck(L, us >= 0, 1, "negative time");
	struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
	nanosleep(&t, NULL);
	return 0;
}

/*
 * ---- standard input ----
 */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t space; /* a line was taken */
	bool started, ended;
	int head, count;
	char *line[QUEUE];
} input = {.lock = PTHREAD_MUTEX_INITIALIZER, .space = PTHREAD_COND_INITIALIZER};

static void *
read_input(void *unused) {
	char text[LINE];
	(void)unused;
	while (fgets(text, sizeof(text), stdin)) {
		text[strcspn(text, "\n")] = '\0';
		char *copy = strdup(text);
		pthread_mutex_lock(&input.lock);
		while (input.count == QUEUE)
			pthread_cond_wait(&input.space, &input.lock);
		if (copy)
			input.line[(input.head + input.count++) % QUEUE] = copy;
		pthread_mutex_unlock(&input.lock);
	}
	pthread_mutex_lock(&input.lock);
	input.ended = true;
	pthread_mutex_unlock(&input.lock);
	return NULL;
}

static bool
start_reading(void) {
	pthread_t thread;
	if (pthread_create(&thread, NULL, read_input, NULL) != 0)
		return false;
	pthread_detach(thread);
	return input.started = true;
}

/* readstdin() -> the next line, or nothing */
static int
lreadstdin(lua_State *L) {
	char *line = NULL;
	pthread_mutex_lock(&input.lock);
	bool works = input.started || start_reading();
	bool over = input.ended && input.count == 0;
	if (input.count > 0) {
		line = input.line[input.head];
		input.head = (input.head + 1) % QUEUE;
		input.count--;
		pthread_cond_signal(&input.space);
	}
	pthread_mutex_unlock(&input.lock);
	if (!works)
		return luaL_error(L, "client.socket: no thread for standard input");
	if (over)
		exit(1);
	if (line == NULL)
		return 0;
	lua_pushstring(L, line);
	free(line);
	return 1;
}

LUAMOD_API int
luaopen_client_socket(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"connect", lconnect},     {"send", lsend},     {"recv", lrecv},
		{"close", lclose},         {"usleep", lusleep}, {"shutdown", lshutdown},
		{"readstdin", lreadstdin}, {NULL, NULL},
	};
	luaL_checkversion(L);
	luaL_newlib(L, functions);
	return 1;
}

/* The module's old name. */
LUAMOD_API int
luaopen_clientsocket(lua_State *L) {
	return luaopen_client_socket(L);
}
