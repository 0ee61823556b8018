/*
 * Fuzz module skynet.netpack. Input is a list of reads: a byte for the socket (and, in its top
 * bits, now and then a close instead), a byte for the size, and that many bytes.
 *
 *   clang -g -O1 -std=gnu11 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -Iskynet-src \
 *       -I3rd/lua test/fuzz/netpack_fuzz.c 3rd/lua/src/src/l[!u]*.c 3rd/lua/src/src/lu[!a]*.c \
 *       3rd/lua/codecache.c -lm -ldl
 *   ./a.out test/fuzz/corpus/netpack
 *
 * Besides memory: each socket's frames are those of its own stream, in order, and none is left.
 */
#include "../../lualib-src/netpack.c"

#include <lualib.h>
#include <stdlib.h>

#define SOCKETS 8
#define STREAM 65536

/* the kernel's clock isn't here */
uint64_t
skynet_now(void) {
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a socket has been sent since its last close, and how much of it came out as frames. */
static struct {
	uint8_t bytes[STREAM];
	size_t have, seen;
} stream[SOCKETS];

static void
require(bool good) {
	if (!good)
		abort();
}

static void
check_frame(int id, void *body, size_t size) {
	const uint8_t *p = stream[id].bytes + stream[id].seen;
	require(stream[id].seen + 2 + size <= stream[id].have);
	require((size_t)(p[0] << 8 | p[1]) == size && memcmp(p + 2, body, size) == 0);
	stream[id].seen += 2 + size;
	skynet_free(body);
}

/* Call filter(queue, message): the queue is at index 1, the module at 2. */
static void
filter(lua_State *L, struct skynet_socket_message *m, size_t size) {
	lua_getfield(L, 2, "filter");
	lua_pushvalue(L, 1);
	lua_pushlightuserdata(L, m);
	lua_pushinteger(L, (lua_Integer)size);
	lua_call(L, 3, 5);
	lua_pushvalue(L, 3);
	lua_replace(L, 1);
	const char *what = lua_tostring(L, 4);
	if (what && strcmp(what, "data") == 0)
		check_frame((int)lua_tointeger(L, 5), lua_touserdata(L, 6), (size_t)lua_tointeger(L, 7));
	lua_settop(L, 2);
}

static void
pop_all(lua_State *L) {
	for (;;) {
		lua_getfield(L, 2, "pop");
		lua_pushvalue(L, 1);
		lua_call(L, 1, 3);
		if (lua_isnil(L, 3))
			break;
		check_frame((int)lua_tointeger(L, 3), lua_touserdata(L, 4), (size_t)lua_tointeger(L, 5));
		lua_settop(L, 2);
	}
	lua_settop(L, 2);
}

/* No whole frame is held back. */
static void
check_rest(int id) {
	const uint8_t *p = stream[id].bytes + stream[id].seen;
	size_t rest = stream[id].have - stream[id].seen;
	require(rest < 2 || (size_t)(p[0] << 8 | p[1]) > rest - 2);
}

static void
one_read(lua_State *L, int id, const uint8_t *data, size_t size) {
	struct skynet_socket_message m = {SKYNET_SOCKET_TYPE_DATA, id, (int)size, NULL};
	m.buffer = skynet_malloc(size ? size : 1);
	memcpy(m.buffer, data, size);
	memcpy(stream[id].bytes + stream[id].have, data, size);
	stream[id].have += size;
	filter(L, &m, sizeof(m));
}

static void
one_close(lua_State *L, int id, bool error) {
	struct skynet_socket_message m = {SKYNET_SOCKET_TYPE_CLOSE, id, 0, NULL};
	if (error)
		m.type = SKYNET_SOCKET_TYPE_ERROR;
	pop_all(L);
	filter(L, &m, sizeof(m));
	stream[id].have = stream[id].seen = 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	lua_State *L = luaL_newstate();
	lua_pushnil(L);
	lua_pushcfunction(L, skynet_open_netpack);
	lua_call(L, 0, 1);
	for (int i = 0; i < SOCKETS; i++)
		stream[i].have = stream[i].seen = 0;
	while (size >= 2) {
		int id = data[0] % SOCKETS, kind = data[0] >> 5;
		size_t n = data[1] < size - 2 ? data[1] : size - 2;
		if (kind == 7)
			one_close(L, id, data[0] & 16);
		else if (stream[id].have + n <= STREAM)
			one_read(L, id, data + 2, n);
		if (kind < 4) {
			pop_all(L);
			check_rest(id);
		}
		data += 2 + n;
		size -= 2 + n;
	}
	lua_close(L);
	return 0;
}
