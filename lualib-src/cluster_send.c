/*
 * The dialling end of a cluster link: the data path of one clustersender.
 *
 * A sender is a filter in front of the service's dispatcher. Requests ("req" and "push" messages
 * of type lua) and the socket's DATA never reach Lua: a request is framed, recorded under its
 * wire session and written; an answer is parsed and sent to the caller as its response. All
 * other messages go on to the dispatcher: Lua dials, watches and re-points the link.
 *
 * While the link is down requests queue here, in the order they came, and Lua is told that a
 * connection is wanted. It answers with up(fd) or fail(reason): then they're written, or fail.
 * Each request that fails is told to its caller, with the reason in this service's log.
 */
#include "block.h"
#include "cluster_frame.h"
#include "cluster_path.h"
#include "cluster_stream.h"
#include "lua-seri.h"
#include "skynet_malloc.h"
#include "skynet_runtime.h"
#include "skynet_socket.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#define META "skynet.cluster.sender"
#define PTYPE_TRACE 12
#define MAX_LOST_LOGS 64 /* lines about one loss; the rest is counted */

/* A call on its way: who waits for it, and for what. */
struct call {
	uint32_t source;
	int session;
	uint32_t handle;       /* of the service called; 0: by name */
	uint64_t since;        /* cs */
	struct assembly parts; /* an answer in several frames */
	size_t namelen;
	char name[];
};

/* A request that waits for the connection. */
struct queued {
	struct queued *next;
	uint32_t source;
	int session;
	bool push;
	struct cluster_address to;
	uint32_t wire;
	void *msg;
	size_t sz;
	char name[];
};

struct sender {
	struct skynet_context *ctx;
	int fd;        /* 0: down */
	uint32_t next; /* wire session */
	struct session_map calls;
	struct queued *first, **last;
	uint32_t queued;
	uint32_t max_pending; /* calls and queued requests; 0: any number */
	bool dialling;
	struct cluster_stream stream; /* of answers */
	size_t max_message;
	uint64_t heard;            /* cs: last time bytes came */
	struct session_map traced; /* sources whose next request is traced: Lua handles those */
};

enum { UP_SENDER = 1, UP_DISPATCH, UP_DIAL, UP_BROKEN };

/*
 * ---- outcomes ----
 */

static void
answer_error(struct sender *s, uint32_t source, int session) {
	if (session != 0)
		(void)skynet_send(s->ctx, 0, source, PTYPE_ERROR, session, NULL, 0);
}

static void
free_queued(struct queued *q) {
	skynet_free(q->msg);
	skynet_free(q);
}

static void
free_call(struct call *c) {
	assembly_drop(&c->parts);
	skynet_free(c);
}

/* Everything that waits fails, for this reason. */
static void
fail_all(struct sender *s, const char *reason) {
	int lost = 0;
	uint32_t wire;
	struct call *c;
	struct queued *q;
	while ((c = session_take_any(&s->calls, &wire)) != NULL) {
		if (lost++ < MAX_LOST_LOGS)
			skynet_error(s->ctx, "%s (session %u of :%08x)", reason, wire, c->source);
		answer_error(s, c->source, c->session);
		free_call(c);
	}
	while ((q = s->first) != NULL) {
		s->first = q->next;
		if (lost++ < MAX_LOST_LOGS)
			skynet_error(s->ctx, "%s (%s of :%08x)", reason, q->push ? "push" : "request",
			             q->source);
		answer_error(s, q->source, q->session);
		free_queued(q);
	}
	s->last = &s->first;
	s->queued = 0;
	if (lost > MAX_LOST_LOGS)
		skynet_error(s->ctx, "%s (%d more)", reason, lost - MAX_LOST_LOGS);
}

/*
 * ---- requests ----
 */

/* Frame and write a request; takes the block. */
static void
write_request(struct sender *s, const struct cluster_address *to, uint32_t wire, bool push,
              void *msg, size_t sz) {
	uint8_t *block = skynet_malloc(CLUSTER_HEADER_MAX + (sz < CLUSTER_PART ? sz : 0));
	if (sz >= CLUSTER_PART) {
		size_t n = cluster_write_begin(block, to, wire, push, (uint32_t)sz);
		cluster_write(s->ctx, s->fd, block, n, true);
		cluster_write_parts(s->ctx, s->fd, wire, msg, sz, cluster_write_part);
		return;
	}
	size_t n = cluster_write_request(block, to, push ? 0 : wire, sz);
	if (sz)
		memcpy(block + n, msg, sz);
	cluster_write(s->ctx, s->fd, block, n + sz, false);
	skynet_free(msg);
}

static void
record_call(struct sender *s, uint32_t wire, uint32_t source, int session,
            const struct cluster_address *to) {
	struct call *c = skynet_malloc(sizeof(*c) + to->namelen);
	*c = (struct call){.source = source, .session = session, .handle = to->handle};
	c->since = skynet_now();
	c->namelen = to->namelen;
	if (to->namelen)
		memcpy(c->name, to->name, to->namelen);
	session_put(&s->calls, wire, c);
}

/* The next wire session nobody uses. */
static uint32_t
take_session(struct sender *s) {
	uint32_t wire;
	do {
		wire = s->next;
		s->next = wire == INT32_MAX ? 1 : wire + 1;
	} while (session_get(&s->calls, wire) != NULL);
	return wire;
}

static void
enqueue(struct sender *s, const struct cluster_address *to, uint32_t wire, bool push, void *msg,
        size_t sz, uint32_t source, int session) {
	struct queued *q = skynet_malloc(sizeof(*q) + to->namelen);
	*q = (struct queued){.source = source, .session = session, .push = push, .to = *to};
	if (to->name) {
		memcpy(q->name, to->name, to->namelen);
		q->to.name = q->name;
	}
	q->wire = wire;
	q->msg = msg;
	q->sz = sz;
	*s->last = q;
	s->last = &q->next;
	s->queued++;
}

/* Call a Lua function of the closure with `text`, or without argument. */
static void
tell_lua(lua_State *L, int upvalue, const char *text) {
	lua_pushvalue(L, lua_upvalueindex(upvalue));
	if (text)
		lua_pushstring(L, text);
	lua_call(L, text ? 1 : 0, 0);
}

static void
refuse(struct sender *s, void *msg, uint32_t source, int session, const char *why) {
	skynet_error(s->ctx, "%s (from :%08x)", why, source);
	answer_error(s, source, session);
	skynet_free(msg);
}

/* A node that doesn't answer must not fill our memory: neither with calls nor with a queue. */
static bool
too_many(const struct sender *s, bool push) {
	if (s->max_pending == 0 || (push && s->fd != 0))
		return false;
	return s->calls.used + s->queued >= s->max_pending;
}

static void
start_request(lua_State *L, struct sender *s, const struct cluster_address *to, bool push,
              void *msg, size_t sz, uint32_t source, int session) {
	if (too_many(s, push)) {
		char why[96];
		snprintf(why, sizeof(why), "%u requests wait for this node already (cluster_max_pending)",
		         s->max_pending);
		refuse(s, msg, source, session, why);
		return;
	}
	/* a small push has no session on the wire */
	uint32_t wire = push && sz < CLUSTER_PART ? 0 : take_session(s);
	if (s->fd == 0) {
		enqueue(s, to, wire, push, msg, sz, source, session);
		if (!s->dialling) {
			s->dialling = true;
			tell_lua(L, UP_DIAL, NULL);
		}
		return;
	}
	if (!push)
		record_call(s, wire, source, session, to);
	write_request(s, to, wire, push, msg, sz);
}

/* The values of a req or push message, at stack index `at`: command, address, block, size. */
static bool
take_request(lua_State *L, struct sender *s, int at, uint32_t source, int session) {
	const char *cmd = lua_type(L, at) == LUA_TSTRING ? lua_tostring(L, at) : "";
	bool push = strcmp(cmd, "push") == 0;
	if ((!push && strcmp(cmd, "req") != 0) || !lua_islightuserdata(L, at + 2))
		return false;
	void *msg = check_pointer(L, at + 2);
	lua_Integer sz = lua_tointeger(L, at + 3);
	luaL_argcheck(L, msg || sz == 0, at + 2, "a size without a block");
	skynet_account_take(msg);
	struct cluster_address to = {0};
	if (lua_isinteger(L, at + 1)) {
		to.handle = (uint32_t)lua_tointeger(L, at + 1);
	} else if (lua_type(L, at + 1) == LUA_TSTRING) {
		to.name = lua_tolstring(L, at + 1, &to.namelen);
	} else {
		lua_pushfstring(L, "name is not a string, it's a %s", luaL_typename(L, at + 1));
		refuse(s, msg, source, session, lua_tostring(L, -1));
		return true;
	}
	if (to.name && (to.namelen < 1 || to.namelen > CLUSTER_NAME_MAX)) {
		refuse(s, msg, source, session,
		       "name length is invalid, must be between 1 and 255 characters");
	} else if (sz < 0 || (uint64_t)sz > UINT32_MAX || (size_t)sz > s->max_message) {
		refuse(s, msg, source, session, "the message is larger than cluster_max_message allows");
	} else {
		start_request(L, s, &to, push, msg, (size_t)sz, source, session);
	}
	return true;
}

/*
 * ---- answers ----
 */

/* The whole answer of a call is there: in its assembly, or in a frame. */
static void
finish_call(struct sender *s, struct call *c, const uint8_t *data, size_t sz) {
	int type = PTYPE_RESPONSE;
	char why[128];
	if (seri_check(data, sz, why, sizeof(why)) != 0) {
		skynet_error(s->ctx, "an answer is refused: %s", why);
		answer_error(s, c->source, c->session);
	} else if (c->session != 0) {
		if (sz > 0 && data == c->parts.data) {
			type |= PTYPE_TAG_DONTCOPY; /* the caller gets the assembly's block */
			c->parts.data = NULL;
		}
		(void)skynet_send(s->ctx, 0, c->source, type, c->session, (void *)data, sz);
	}
}

static void
begin_parts(struct sender *s, struct call *c, const struct cluster_answer *a) {
	assembly_drop(&c->parts);
	c->parts.total = a->total;
	if (a->total > s->max_message)
		c->parts.total = 0; /* the first part is then too much */
}

static void
take_answer(struct sender *s, const struct cluster_answer *a) {
	struct call *c = session_get(&s->calls, a->session);
	if (c == NULL) {
		skynet_error(s->ctx, "socket: unknown session : %u", a->session);
		return;
	}
	switch (a->type) {
	case ANSWER_BEGIN:
		begin_parts(s, c, a);
		return;
	case ANSWER_MIDDLE:
		if (assembly_add(&c->parts, a->data, a->sz) == 0)
			return;
		skynet_error(s->ctx, "an answer is larger than announced, or than "
		                     "cluster_max_message allows");
		answer_error(s, c->source, c->session);
		break;
	case ANSWER_LAST:
		if (c->parts.total == 0 && c->parts.have == 0) {
			finish_call(s, c, a->data, a->sz);
		} else if (assembly_add(&c->parts, a->data, a->sz) == 0 &&
		           c->parts.have == c->parts.total) {
			finish_call(s, c, c->parts.data, c->parts.have);
		} else {
			skynet_error(s->ctx, "an answer's parts don't make up its size");
			answer_error(s, c->source, c->session);
		}
		break;
	case ANSWER_OK:
		finish_call(s, c, a->data, a->sz);
		break;
	default:
		if (c->source != 0) /* not our own ping */
			skynet_error(s->ctx, "%.*s", (int)a->sz, (const char *)a->data);
		answer_error(s, c->source, c->session);
	}
	(void)session_take(&s->calls, a->session);
	free_call(c);
}

/* An answer frame. Returns false when it breaks the protocol. */
static bool
on_answer(void *ud, const uint8_t *body, size_t sz) {
	struct cluster_answer a;
	if (cluster_read_answer(body, sz, &a) != 0)
		return false;
	take_answer(ud, &a);
	return true;
}

static bool
answer_is_part(void *ud, const uint8_t *head) {
	struct sender *s = ud;
	struct cluster_answer a;
	if (cluster_read_answer(head, CLUSTER_PART_HEAD, &a) != 0 ||
	    (a.type != ANSWER_MIDDLE && a.type != ANSWER_LAST))
		return false;
	struct call *c = session_get(&s->calls, a.session);
	return c && c->parts.total > 0;
}

static bool
on_answer_part(void *ud, const uint8_t *head, const uint8_t *data, size_t sz, size_t rest) {
	struct cluster_answer a;
	if (cluster_read_answer(head, CLUSTER_PART_HEAD, &a) != 0)
		return false;
	a.data = data;
	a.sz = sz;
	if (rest > 0)
		a.type = ANSWER_MIDDLE;
	take_answer(ud, &a);
	return true;
}

/* DATA of our socket. Returns false when the stream is broken. */
static bool
take_data(struct sender *s, const uint8_t *data, size_t sz) {
	static const struct cluster_sink answers = {on_answer, answer_is_part, on_answer_part};
	s->heard = skynet_now();
	return cluster_stream_feed(&s->stream, &answers, s, data, sz);
}

/*
 * ---- the filter ----
 */

static bool
on_socket(lua_State *L, struct sender *s, struct skynet_socket_message *m, size_t sz) {
	if (sz < sizeof(*m) || m->type != SKYNET_SOCKET_TYPE_DATA || m->id != s->fd || s->fd == 0)
		return false;
	bool ok = take_data(s, (const uint8_t *)m->buffer, (size_t)m->ud);
	skynet_free(m->buffer);
	m->buffer = NULL;
	if (!ok)
		tell_lua(L, UP_BROKEN, "the peer sent something that is no answer frame");
	return true;
}

/* filter(type, msg, sz, session, source) */
static int
filter(lua_State *L) {
	struct sender *s = lua_touserdata(L, lua_upvalueindex(UP_SENDER));
	int type = (int)lua_tointeger(L, 1);
	void *msg = lua_touserdata(L, 2);
	size_t sz = (size_t)lua_tointeger(L, 3);
	if (type == PTYPE_SOCKET && on_socket(L, s, msg, sz))
		return 0;
	uint32_t source = (uint32_t)lua_tointeger(L, 5);
	if (type == PTYPE_TRACE) {
		if (session_get(&s->traced, source) == NULL)
			session_put(&s->traced, source, s);
	} else if (type == PTYPE_RESERVED_LUA && lua_islightuserdata(L, 2) &&
	           session_take(&s->traced, source) == NULL) {
		int n = seri_unpack(L, msg, sz);
		if (n >= 4 && take_request(L, s, 6, source, (int)lua_tointeger(L, 4)))
			return 0;
	}
	lua_settop(L, 5);
	lua_pushvalue(L, lua_upvalueindex(UP_DISPATCH));
	lua_insert(L, 1);
	lua_call(L, 5, 0);
	return 0;
}

static struct sender *
check_sender(lua_State *L) {
	return luaL_checkudata(L, 1, META);
}

/* up(fd): the link stands; write what waits. */
static int
lup(lua_State *L) {
	struct sender *s = check_sender(L);
	struct queued *q;
	s->fd = (int)luaL_checkinteger(L, 2);
	s->dialling = false;
	cluster_stream_reset(&s->stream);
	s->heard = skynet_now();
	while ((q = s->first) != NULL) {
		s->first = q->next;
		if (!q->push)
			record_call(s, q->wire, q->source, q->session, &q->to);
		write_request(s, &q->to, q->wire, q->push, q->msg, q->sz);
		skynet_free(q);
	}
	s->last = &s->first;
	s->queued = 0;
	return 0;
}

/* fail(reason): the link is down, and all that waits for it fails. */
static int
lfail(lua_State *L) {
	struct sender *s = check_sender(L);
	s->fd = 0;
	s->dialling = false;
	cluster_stream_reset(&s->stream);
	fail_all(s, luaL_checkstring(L, 2));
	return 0;
}

/* state() -> pending calls, queued?, cs since the peer was heard, next wire session, how many
 * queued */
static int
lstate(lua_State *L) {
	struct sender *s = check_sender(L);
	lua_pushinteger(L, s->calls.used);
	lua_pushboolean(L, s->first != NULL);
	lua_pushinteger(L, (lua_Integer)(skynet_now() - s->heard));
	lua_pushinteger(L, s->next);
	lua_pushinteger(L, s->queued);
	return 5;
}

static void
push_pending(lua_State *L, uint32_t wire, const struct call *c) {
	lua_createtable(L, 0, 5);
	cluster_set_integer(L, "wire", wire);
	cluster_set_integer(L, "source", c->source);
	cluster_set_integer(L, "request", c->session);
	lua_pushnumber(L, (lua_Number)(skynet_now() - c->since) / 100);
	lua_setfield(L, -2, "since");
	cluster_set_target(L, c->handle, c->name, c->namelen);
}

/* pending() -> list of { wire=, source=, request=, since=seconds, to= }: calls on their way */
static int
lpending(lua_State *L) {
	struct sender *s = check_sender(L);
	lua_Integer n = 0;
	lua_newtable(L);
	for (uint32_t i = 0; i < s->calls.size; i++) {
		const struct session_slot *slot = &s->calls.slot[i];
		const struct call *c = slot->value;
		if (slot->key == 0 || c->source == 0) /* free, or our own ping */
			continue;
		push_pending(L, slot->key, c);
		lua_rawseti(L, -2, ++n);
	}
	return 1;
}

/* request(address, push, ptr, size, source, session): as a message of another service */
static int
lrequest(lua_State *L) {
	struct sender *s = check_sender(L);
	uint32_t source = (uint32_t)luaL_checkinteger(L, 6);
	int session = (int)luaL_checkinteger(L, 7);
	bool push = lua_toboolean(L, 3);
	luaL_checktype(L, 4, LUA_TLIGHTUSERDATA);
	lua_pushstring(L, push ? "push" : "req");
	lua_pushvalue(L, 2);
	lua_pushvalue(L, 4);
	lua_pushvalue(L, 5);
	lua_pushboolean(L, take_request(L, s, 8, source, session));
	return 1;
}

/* ping(): write a name query that any node answers; its answer only tells that it lives. */
static int
lping(lua_State *L) {
	struct sender *s = check_sender(L);
	struct cluster_address nobody = {0};
	if (s->fd == 0)
		return 0;
	/* a serialised string of six bytes: a name nobody registers */
	static const uint8_t packed[] = {4 | 6 << 3, 'a', 'l', 'i', 'v', 'e', '?'};
	uint32_t wire = take_session(s);
	uint8_t *block = skynet_malloc(CLUSTER_HEADER_MAX + sizeof(packed));
	record_call(s, wire, 0, 0, &nobody); /* its answer is for nobody */
	size_t n = cluster_write_request(block, &nobody, wire, sizeof(packed));
	memcpy(block + n, packed, sizeof(packed));
	cluster_write(s->ctx, s->fd, block, n + sizeof(packed), false);
	return 0;
}

static int
sender_gc(lua_State *L) {
	struct sender *s = lua_touserdata(L, 1);
	fail_all(s, "the cluster sender ends");
	session_free(&s->calls);
	session_free(&s->traced);
	cluster_stream_reset(&s->stream);
	return 0;
}

/*
 * sender(dispatch, dial, broken, max_message, max_pending) -> sender, callback. dial() is called
 * when a connection is wanted, broken(reason) when the peer broke the protocol; neither may
 * block.
 */
int
cluster_new_sender(lua_State *L) {
	static const luaL_Reg methods[] = {
		{"up", lup},     {"fail", lfail},       {"state", lstate}, {"request", lrequest},
		{"ping", lping}, {"pending", lpending}, {NULL, NULL},
	};
	struct skynet_context *ctx = cluster_context(L);
	luaL_checktype(L, 1, LUA_TFUNCTION);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	luaL_checktype(L, 3, LUA_TFUNCTION);
	lua_Integer max = luaL_checkinteger(L, 4);
	lua_Integer pending = luaL_optinteger(L, 5, 0);
	luaL_argcheck(L, pending >= 0 && pending <= INT32_MAX, 5, "not a number of requests");
	struct sender *s = lua_newuserdatauv(L, sizeof(*s), 0);
	memset(s, 0, sizeof(*s));
	s->ctx = ctx;
	s->next = 1;
	s->last = &s->first;
	s->max_message = max > 0 ? (size_t)max : SIZE_MAX;
	s->max_pending = (uint32_t)pending;
	if (luaL_newmetatable(L, META)) {
		luaL_newlib(L, methods);
		lua_setfield(L, -2, "__index");
		lua_pushcfunction(L, sender_gc);
		lua_setfield(L, -2, "__gc");
	}
	lua_setmetatable(L, -2);
	lua_pushvalue(L, -1);
	lua_pushvalue(L, 1);
	lua_pushvalue(L, 2);
	lua_pushvalue(L, 3);
	lua_pushcclosure(L, filter, 4);
	skynet_context_cork(ctx, 1);
	return 2;
}
