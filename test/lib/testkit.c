/*
 * Module testkit: processes and sockets for specs that run outside of the runtime. Everything
 * takes a deadline in seconds; nothing blocks for longer.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double
now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int
lnow(lua_State *L) {
	lua_pushnumber(L, now());
	return 1;
}

static int
lsleep(lua_State *L) {
	double s = luaL_checknumber(L, 1);
	struct timespec t = {(time_t)s, (long)((s - (double)(time_t)s) * 1e9)};
	nanosleep(&t, NULL);
	return 0;
}

/* spawn(list of words [, folder]) -> pid, descriptor of its output and errors, of its input */
static int
lspawn(lua_State *L) {
	char *words[64] = {NULL};
	int out[2], in[2];
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 2);
	int n = (int)lua_rawlen(L, 1);
	luaL_argcheck(L, n > 0 && n < 63, 1, "too many words");
	luaL_checkstack(L, n, NULL);
	for (int i = 0; i < n; i++) {
		lua_rawgeti(L, 1, i + 1);
		words[i] = (char *)luaL_checkstring(L, -1);
	}
	const char *folder = luaL_optstring(L, 2, NULL);
	if (pipe2(out, O_CLOEXEC) != 0 || pipe2(in, O_CLOEXEC) != 0)
		return luaL_error(L, "pipe: %s", strerror(errno));
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(out[1], 2);
		if (folder == NULL || chdir(folder) == 0)
			execvp(words[0], words);
		_exit(127);
	}
	close(out[1]);
	close(in[0]);
	if (pid < 0)
		return luaL_error(L, "fork: %s", strerror(errno));
	lua_pushinteger(L, pid);
	lua_pushinteger(L, out[0]);
	lua_pushinteger(L, in[1]);
	return 3;
}

static int
lkill(lua_State *L) {
	lua_pushboolean(L, kill((pid_t)luaL_checkinteger(L, 1), (int)luaL_checkinteger(L, 2)) == 0);
	return 1;
}

/* wait(pid, seconds) -> exit code; nil when it runs on; -signal when one ended it */
static int
lwait(lua_State *L) {
	pid_t pid = (pid_t)luaL_checkinteger(L, 1);
	double end = now() + luaL_checknumber(L, 2);
	int status;
	do {
		pid_t r = waitpid(pid, &status, WNOHANG);
		if (r == pid) {
			lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
			return 1;
		}
		if (r < 0)
			return luaL_error(L, "waitpid: %s", strerror(errno));
		struct timespec t = {0, 5000000};
		nanosleep(&t, NULL);
	} while (now() < end);
	return 0;
}

static int
wait_fd(int fd, short events, double end) {
	double left = end - now();
	struct pollfd p = {fd, events, 0};
	return poll(&p, 1, left > 0 ? (int)(left * 1000) + 1 : 0) > 0;
}

/* read(fd, seconds [, size]) -> bytes, "" at the end, or nil when nothing came */
static int
lread(lua_State *L) {
	int fd = (int)luaL_checkinteger(L, 1);
	double end = now() + luaL_checknumber(L, 2);
	size_t size = (size_t)luaL_optinteger(L, 3, 65536);
	luaL_Buffer b;
	if (!wait_fd(fd, POLLIN, end))
		return 0;
	char *p = luaL_buffinitsize(L, &b, size);
	ssize_t n = read(fd, p, size);
	luaL_pushresultsize(&b, n > 0 ? (size_t)n : 0);
	return 1;
}

/* write(fd, bytes, seconds) -> bytes written */
static int
lwrite(lua_State *L) {
	int fd = (int)luaL_checkinteger(L, 1);
	size_t sz, done = 0;
	const char *s = luaL_checklstring(L, 2, &sz);
	double end = now() + luaL_checknumber(L, 3);
	while (done < sz && wait_fd(fd, POLLOUT, end)) {
		ssize_t n = write(fd, s + done, sz - done);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			break;
		done += n > 0 ? (size_t)n : 0;
	}
	lua_pushinteger(L, (lua_Integer)done);
	return 1;
}

static int
lclose(lua_State *L) {
	close((int)luaL_checkinteger(L, 1));
	return 0;
}

/* connect(port [, ip]) -> fd, or nil and why */
static int
lconnect(lua_State *L) {
	struct sockaddr_in a = {.sin_family = AF_INET,
	                        .sin_port = htons((uint16_t)luaL_checkinteger(L, 1))};
	inet_pton(AF_INET, luaL_optstring(L, 2, "127.0.0.1"), &a.sin_addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
		int error = errno;
		if (fd >= 0)
			close(fd);
		lua_pushnil(L);
		lua_pushstring(L, strerror(error));
		return 2;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	lua_pushinteger(L, fd);
	return 1;
}

/* listen() -> fd, port */
static int
llisten(lua_State *L) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 16) != 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		return luaL_error(L, "listen: %s", strerror(errno));
	lua_pushinteger(L, fd);
	lua_pushinteger(L, ntohs(a.sin_port));
	return 2;
}

/* accept(fd, seconds) -> fd, or nil */
static int
laccept(lua_State *L) {
	int fd = (int)luaL_checkinteger(L, 1);
	if (!wait_fd(fd, POLLIN, now() + luaL_checknumber(L, 2)))
		return 0;
	int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (c < 0)
		return 0;
	lua_pushinteger(L, c);
	return 1;
}

int luaopen_testkit(lua_State *L);

/* Where a string's bytes are; valid while the string lives. */
static int
lpointer(lua_State *L) {
	lua_pushlightuserdata(L, (void *)luaL_checkstring(L, 1));
	return 1;
}

int
luaopen_testkit(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"now", lnow},         {"sleep", lsleep},   {"spawn", lspawn},   {"kill", lkill},
		{"wait", lwait},       {"read", lread},     {"write", lwrite},   {"close", lclose},
		{"connect", lconnect}, {"listen", llisten}, {"accept", laccept}, {"pointer", lpointer},
		{NULL, NULL},
	};
	signal(SIGPIPE, SIG_IGN);
	luaL_newlib(L, functions);
	return 1;
}
