/*
 * Module skynet.netpack: frames of a big-endian 16-bit length and that many bytes.
 *
 * A queue (a userdata) keeps the unfinished frame of each socket and the whole frames of a read
 * that held several. What a peer announces costs nothing: an unfinished frame takes the memory of
 * the bytes that have arrived. What sockets receive that are marked as raw goes through as it is.
 */
#include "builtin.h"
#include "block.h"
#include "scatter.h"
#include "skynet.h"
#include "skynet_malloc.h"
#include "skynet_socket.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <string.h>

#define HASH 4096
#define QUEUE_FIRST 1024
#define FRAME_MAX 0x10000

struct frame {
	int id;
	int size;
	void *data;
};

/* The start of a frame; header included. */
struct partial {
	struct partial *next;
	int id;
	int have;
	int room;
	uint64_t since; /* when its first byte came, in centiseconds */
	uint8_t *bytes;
	bool raw; /* none: what this socket receives isn't cut into frames */
};

struct queue {
	int head, tail, cap; /* a ring */
	struct frame *ring;
	struct partial *hash[HASH];
};

enum { ARG_QUEUE = 1, UP_DATA, UP_MORE, UP_ERROR, UP_OPEN, UP_CLOSE, UP_WARNING, UP_INIT };

#define META "skynet.netpack.queue"

static struct partial **
place_of(struct queue *q, int id) {
	struct partial **p = &q->hash[scatter((uint32_t)id, HASH)];
	while (*p && (*p)->id != id)
		p = &(*p)->next;
	return p;
}

static void
drop_partial(struct queue *q, int id) {
	struct partial **p = place_of(q, id);
	struct partial *found = *p;
	if (found == NULL)
		return;
	*p = found->next;
	skynet_free(found->bytes);
	skynet_free(found);
}

static void
clear_queue(struct queue *q) {
	for (int i = 0; i < HASH; i++) {
		while (q->hash[i]) {
			struct partial *p = q->hash[i];
			q->hash[i] = p->next;
			skynet_free(p->bytes);
			skynet_free(p);
		}
	}
	for (; q->head != q->tail; q->head = (q->head + 1) % q->cap)
		skynet_free(q->ring[q->head].data);
	skynet_free(q->ring);
	q->ring = NULL;
	q->head = q->tail = q->cap = 0;
}

static int
lclear(lua_State *L) {
	struct queue *q = luaL_testudata(L, 1, META);
	if (q)
		clear_queue(q);
	return 0;
}

/* The queue at ARG_QUEUE, made if there is none. */
static struct queue *
get_queue(lua_State *L) {
	struct queue *q = luaL_testudata(L, ARG_QUEUE, META);
	if (q)
		return q;
	luaL_argexpected(L, lua_isnoneornil(L, ARG_QUEUE), ARG_QUEUE, "netpack queue");
	q = lua_newuserdatauv(L, sizeof(*q), 0);
	memset(q, 0, sizeof(*q));
	luaL_setmetatable(L, META);
	lua_replace(L, ARG_QUEUE);
	return q;
}

static void
push_frame(struct queue *q, int id, void *data, int size) {
	if (q->cap == 0 || (q->tail + 1) % q->cap == q->head) {
		int cap = q->cap ? q->cap * 2 : QUEUE_FIRST;
		struct frame *ring = skynet_malloc((size_t)cap * sizeof(*ring));
		int n = 0;
		for (; q->head != q->tail; q->head = (q->head + 1) % q->cap)
			ring[n++] = q->ring[q->head];
		skynet_free(q->ring);
		q->ring = ring;
		q->head = 0;
		q->tail = n;
		q->cap = cap;
	}
	q->ring[q->tail] = (struct frame){id, size, data};
	q->tail = (q->tail + 1) % q->cap;
}

static int
frame_size(const uint8_t *p) {
	return p[0] << 8 | p[1];
}

/* Append bytes to a socket's unfinished frame, at most as many as it lacks; how many it took. */
static int
feed(struct partial *p, const uint8_t *data, int sz) {
	int want = p->have < 2 ? 2 : 2 + frame_size(p->bytes);
	int n = want - p->have < sz ? want - p->have : sz;
	if (p->have + n > p->room) {
		p->room = (p->have + n) * 2 < want ? (p->have + n) * 2 : want;
		p->bytes = skynet_realloc(p->bytes, (size_t)p->room);
	}
	memcpy(p->bytes + p->have, data, (size_t)n);
	p->have += n;
	return n;
}

static bool
complete(const struct partial *p) {
	return p->have >= 2 && p->have == 2 + frame_size(p->bytes);
}

static void *
copy_frame(const uint8_t *data, int size) {
	void *p = skynet_malloc(size ? (size_t)size : 1);
	memcpy(p, data, (size_t)size);
	return p;
}

static struct partial *
new_partial(struct queue *q, int id) {
	struct partial *p = skynet_calloc(1, sizeof(*p));
	p->id = id;
	p->since = skynet_now();
	struct partial **at = place_of(q, id);
	p->next = *at;
	*at = p;
	return p;
}

/* What is left after the last whole frame. */
static void
keep_rest(struct queue *q, int id, const uint8_t *data, int sz) {
	struct partial *p = new_partial(q, id);
	while (sz > 0) {
		int n = feed(p, data, sz);
		data += n;
		sz -= n;
	}
}

static void
cut_frames(struct queue *q, int id, const uint8_t *data, int sz) {
	while (sz >= 2 && frame_size(data) + 2 <= sz) {
		int n = frame_size(data);
		push_frame(q, id, copy_frame(data + 2, n), n);
		data += n + 2;
		sz -= n + 2;
	}
	if (sz > 0)
		keep_rest(q, id, data, sz);
}

/* Queue all whole frames of a read. */
static void
take_data(struct queue *q, int id, const uint8_t *data, int sz) {
	struct partial *p = *place_of(q, id);
	if (p) {
		while (sz > 0 && !complete(p)) {
			int n = feed(p, data, sz);
			data += n;
			sz -= n;
		}
		if (!complete(p))
			return;
		int n = frame_size(p->bytes);
		push_frame(q, id, copy_frame(p->bytes + 2, n), n);
		drop_partial(q, id);
	}
	cut_frames(q, id, data, sz);
}

static int
count(const struct queue *q) {
	return q->cap ? (q->tail - q->head + q->cap) % q->cap : 0;
}

static int
push_data(lua_State *L, const struct frame *f) {
	lua_pushvalue(L, lua_upvalueindex(UP_DATA));
	lua_pushinteger(L, f->id);
	lua_pushlightuserdata(L, f->data);
	lua_pushinteger(L, f->size);
	return 5;
}

static int
filter_data(lua_State *L, int id, uint8_t *data, int sz) {
	struct queue *q = get_queue(L);
	struct partial *p = *place_of(q, id);
	if (p && p->raw)
		return push_data(L, &(struct frame){id, sz, data});
	int before = count(q);
	take_data(q, id, data, sz);
	skynet_free(data);
	lua_settop(L, 1);
	int n = count(q);
	if (n == 0)
		return 1;
	/* a single whole frame and nothing unfinished after it is handed over at once */
	if (n == 1 && before == 0 && *place_of(q, id) == NULL) {
		struct frame f = q->ring[q->head];
		q->head = (q->head + 1) % q->cap;
		return push_data(L, &f);
	}
	lua_pushvalue(L, lua_upvalueindex(UP_MORE));
	return 2;
}

static void
push_text(lua_State *L, const struct skynet_socket_message *m, lua_Integer sz) {
	lua_pushlstring(L, (const char *)(m + 1), (size_t)sz - sizeof(*m));
}

/* filter(queue, msg, sz) -> queue, type, ... */
static int
lfilter(lua_State *L) {
	struct skynet_socket_message *m = check_pointer(L, 2);
	lua_Integer sz = luaL_checkinteger(L, 3);
	luaL_argexpected(L, m, 2, "socket message");
	luaL_argcheck(L, sz >= (lua_Integer)sizeof(*m), 3, "not the size of a socket message");
	int id = m->id;
	lua_settop(L, 1);
	struct queue *q = luaL_testudata(L, 1, META);
	switch (m->type) {
	case SKYNET_SOCKET_TYPE_DATA:
		return filter_data(L, id, (uint8_t *)m->buffer, m->ud);
	case SKYNET_SOCKET_TYPE_CONNECT:
		lua_pushvalue(L, lua_upvalueindex(UP_INIT));
		lua_pushinteger(L, id);
		push_text(L, m, sz);
		lua_pushinteger(L, m->ud);
		return 5;
	case SKYNET_SOCKET_TYPE_CLOSE:
		if (q)
			drop_partial(q, id);
		lua_pushvalue(L, lua_upvalueindex(UP_CLOSE));
		lua_pushinteger(L, id);
		return 3;
	case SKYNET_SOCKET_TYPE_ACCEPT:
		lua_pushvalue(L, lua_upvalueindex(UP_OPEN));
		lua_pushinteger(L, m->ud);
		push_text(L, m, sz);
		return 4;
	case SKYNET_SOCKET_TYPE_ERROR:
		if (q)
			drop_partial(q, id);
		lua_pushvalue(L, lua_upvalueindex(UP_ERROR));
		lua_pushinteger(L, id);
		push_text(L, m, sz);
		return 4;
	case SKYNET_SOCKET_TYPE_WARNING:
		lua_pushvalue(L, lua_upvalueindex(UP_WARNING));
		lua_pushinteger(L, id);
		lua_pushinteger(L, m->ud);
		return 4;
	default:
		skynet_free(m->buffer);
		m->buffer = NULL;
		return 1;
	}
}

/*
 * raw(queue, id) -> queue
 * From now on what the socket receives is passed on as it arrives: as "data", in blocks of any
 * size. To be called before it's read from: frames that wait already would come later.
 */
static int
lraw(lua_State *L) {
	int id = (int)luaL_checkinteger(L, 2);
	lua_settop(L, 1);
	struct queue *q = get_queue(L);
	drop_partial(q, id);
	new_partial(q, id)->raw = true;
	return 1;
}

/* pop(queue) -> id, ptr, size; or nothing */
static int
lpop(lua_State *L) {
	struct queue *q = luaL_testudata(L, 1, META);
	if (q == NULL || q->head == q->tail)
		return 0;
	struct frame f = q->ring[q->head];
	q->head = (q->head + 1) % q->cap;
	lua_pushinteger(L, f.id);
	lua_pushlightuserdata(L, f.data);
	lua_pushinteger(L, f.size);
	return 3;
}

/* Bytes at `index`: a string, or light userdata and its size. */
static const char *
check_bytes(lua_State *L, int index, size_t *sz) {
	if (lua_type(L, index) != LUA_TLIGHTUSERDATA)
		return luaL_checklstring(L, index, sz);
	return check_block(L, index, sz);
}

/* pack(string) or pack(ptr, sz) -> ptr, sz */
static int
lpack(lua_State *L) {
	size_t sz;
	const char *p = check_bytes(L, 1, &sz);
	if (sz >= FRAME_MAX)
		return luaL_error(L, "Invalid size (too long) of data : %d", (int)sz);
	uint8_t *frame = skynet_malloc(sz + 2);
	frame[0] = (uint8_t)(sz >> 8);
	frame[1] = (uint8_t)sz;
	if (sz)
		memcpy(frame + 2, p, sz);
	lua_pushlightuserdata(L, frame);
	lua_pushinteger(L, (lua_Integer)sz + 2);
	return 2;
}

/* tostring(ptr, sz) -> string; frees ptr */
static int
ltostring(lua_State *L) {
	size_t sz;
	void *p = check_block(L, 1, &sz);
	lua_pushlstring(L, sz ? p : "", sz);
	skynet_free(p);
	return 1;
}

/* unfinished(queue) -> how many sockets have sent a part of a frame and not yet the rest */
static int
lunfinished(lua_State *L) {
	struct queue *q = luaL_testudata(L, 1, META);
	luaL_argexpected(L, q || lua_isnoneornil(L, 1), 1, "netpack queue");
	lua_Integer n = 0;
	for (int i = 0; q && i < HASH; i++) {
		for (struct partial *p = q->hash[i]; p; p = p->next)
			n += !p->raw;
	}
	lua_pushinteger(L, n);
	return 1;
}

/*
 * late(queue, centiseconds) -> fds
 * The sockets whose unfinished frame began that long ago; what they sent of it is thrown away.
 */
static int
llate(lua_State *L) {
	struct queue *q = luaL_testudata(L, 1, META);
	luaL_argexpected(L, q || lua_isnoneornil(L, 1), 1, "netpack queue");
	lua_Integer limit = luaL_checkinteger(L, 2);
	luaL_argcheck(L, limit >= 0, 2, "a time in centiseconds expected");
	uint64_t now = skynet_now();
	lua_newtable(L);
	lua_Integer n = 0;
	for (int i = 0; q && i < HASH; i++) {
		for (struct partial *p = q->hash[i], *next; p; p = next) {
			next = p->next;
			if (p->raw || now - p->since < (uint64_t)limit)
				continue;
			lua_pushinteger(L, p->id);
			lua_rawseti(L, -2, ++n);
			drop_partial(q, p->id);
		}
	}
	return 1;
}

int
skynet_open_netpack(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"pop", lpop},           {"pack", lpack}, {"clear", lclear},
		{"tostring", ltostring}, {"late", llate}, {"unfinished", lunfinished},
		{"raw", lraw},           {NULL, NULL},
	};
	static const char *const names[] = {"data",  "more",    "error", "open",
	                                    "close", "warning", "init"};
	luaL_checkversion(L);
	luaL_newmetatable(L, META);
	lua_pushcfunction(L, lclear);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
	luaL_newlib(L, functions);
	lua_pushnil(L); /* upvalue 1 is unused: names start at UP_DATA */
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		lua_pushstring(L, names[i]);
	lua_pushcclosure(L, lfilter, UP_INIT);
	lua_setfield(L, -2, "filter");
	return 1;
}
