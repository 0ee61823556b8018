/*
 * The accepting end of a cluster link: the data path of one clusteragent.
 *
 * What the peer sends comes as PTYPE_CLIENT messages from the gate: as it arrived, when the gate
 * can (ours does), or a frame each. A request goes on to its target under a session of the
 * agent's own, and the target's answer becomes an answer frame, without a coroutine. Names
 * ("@name") are resolved through a cache; the first frame for an unknown one asks Lua, and it and
 * later ones of that name wait for the answer, in order.
 *
 * Nothing a peer sends is trusted: a frame that breaks the protocol closes the link, with one
 * line in the log; payloads are checked before a service unpacks them; partial messages are
 * limited in number, size and age.
 */
#include "cluster_frame.h"
#include "cluster_path.h"
#include "cluster_stream.h"
#include "lua-seri.h"
#include "skynet_malloc.h"
#include "skynet_runtime.h"
#include "skynet_server.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define META "skynet.cluster.server"
#define PTYPE_TRACE 12
#define NAME_BUCKETS 64
#define PARTIAL_SHARE 4 /* unfinished requests of one link, in largest messages */

/* A request that waits for its name, or a name that is known. */
struct waiting {
	struct waiting *next;
	uint32_t session;
	bool push;
	bool query;
	bool traced; /* a tag stands before the payload */
	size_t tag;
	size_t sz;
	uint8_t data[];
};

struct name {
	struct name *next;
	uint32_t handle; /* 0: being looked up */
	struct waiting *first, **last;
	size_t len;
	char text[];
};

/* A request that arrives in parts. */
struct large {
	struct assembly parts;
	size_t announced; /* bytes */
	bool push;
	uint32_t handle;
	char *name; /* instead of a handle */
	size_t namelen;
	uint64_t since; /* cs */
	char *tag;
	size_t taglen;
};

/* A request that was forwarded. */
struct running {
	uint32_t wire;
	uint32_t handle; /* where it went; 0: by name */
	uint64_t since;  /* cs */
	char *tag;       /* traced: its tag */
	char name[];
};

struct server {
	struct skynet_context *ctx;
	int fd;
	bool broken;
	bool raw;  /* the gate passes on what arrives, not frames */
	bool torn; /* a block of it was left before its end: by an error of Lua's */
	struct cluster_stream stream;
	bool harbor; /* plain names may be global ones */
	size_t max_message;
	uint32_t max_partial;
	uint32_t lives; /* cs a partial message may take */
	struct session_map running;
	struct session_map large;
	size_t partial; /* bytes announced by all of them */
	uint64_t swept;
	struct name *names[NAME_BUCKETS];
	char *tag; /* announced, for the next request that resolves */
	size_t taglen;
};

enum { UP_SERVER = 1, UP_DISPATCH, UP_LOOKUP, UP_BROKEN };

/*
 * ---- answers ----
 */

static void
write_frame(struct server *s, uint32_t wire, int type, const void *data, size_t sz, bool low) {
	uint8_t *block = skynet_malloc(sz + 7);
	size_t n = cluster_write_answer(block, wire, type, sz);
	if (sz)
		memcpy(block + n, data, sz);
	cluster_write(s->ctx, s->fd, block, n + sz, low);
}

static void
answer_error(struct server *s, uint32_t wire, bool push, const char *text) {
	if (push)
		skynet_error(s->ctx, "a push is dropped: %s", text);
	else
		write_frame(s, wire, ANSWER_ERROR, text, strlen(text), false);
}

/* Answer with the message that is being handled. */
static void
answer_ok(struct server *s, uint32_t wire, const void *data, size_t sz) {
	if (sz <= CLUSTER_PART) {
		write_frame(s, wire, ANSWER_OK, data, sz, false);
		return;
	}
	if (sz > UINT32_MAX) {
		answer_error(s, wire, false, "the answer is larger than a cluster can carry");
		return;
	}
	uint8_t total[4] = {(uint8_t)sz, (uint8_t)(sz >> 8), (uint8_t)(sz >> 16),
	                    (uint8_t)(sz >> 24)};
	write_frame(s, wire, ANSWER_BEGIN, total, sizeof(total), true);
	skynet_message_keep(s->ctx);
	skynet_account_take((void *)data);
	cluster_write_parts(s->ctx, s->fd, wire, (void *)data, sz, cluster_write_answer_part);
}

/*
 * ---- dispatching ----
 */

static void
trace_line(struct server *s, const char *tag, size_t taglen, const char *text) {
	skynet_error(s->ctx, "<TRACE %.*s> %llu %s", (int)taglen, tag,
	             (unsigned long long)skynet_now_ns(), text);
}

static char *
copy_text(const char *text, size_t sz) {
	char *p = skynet_malloc(sz + 1);
	memcpy(p, text, sz);
	p[sz] = '\0';
	return p;
}

struct target {
	uint32_t handle;
	const char *name; /* ".name", ":hex" or a global one, NUL-terminated */
};

/* A request's arguments. An owned block may be given away: then it's owned no more. */
struct payload {
	uint8_t *data;
	size_t sz;
	bool owned;
};

static int
send_to(struct server *s, const struct target *to, int type, int session, const void *msg,
        size_t sz) {
	if (to->name)
		return skynet_sendname(s->ctx, 0, to->name, type, session, (void *)msg, sz);
	return skynet_send(s->ctx, 0, to->handle, type, session, (void *)msg, sz);
}

static int
hand_over(struct server *s, const struct target *to, int session, struct payload *p) {
	int type = PTYPE_RESERVED_LUA;
	if (p->sz == 0)
		return send_to(s, to, type, session, NULL, 0);
	if (p->owned)
		type |= PTYPE_TAG_DONTCOPY;
	p->owned = false; /* a refused send frees it, too */
	return send_to(s, to, type, session, p->data, p->sz);
}

static int
free_session(struct server *s) {
	int session;
	do {
		session = skynet_context_newsession(s->ctx);
	} while (session_get(&s->running, (uint32_t)session) != NULL);
	return session;
}

/* Pass a request on. `tag` may be NULL. */
static void
forward(struct server *s, const struct target *to, uint32_t wire, bool push, struct payload *p,
        const char *tag, size_t taglen) {
	char why[128];
	if (seri_check(p->data, p->sz, why, sizeof(why)) != 0) {
		answer_error(s, wire, push, why);
		return;
	}
	int session = push ? 0 : free_session(s);
	if (tag && !push) {
		trace_line(s, tag, taglen, "tracecall begin");
		(void)send_to(s, to, PTYPE_TRACE, 0, tag, taglen);
	}
	if (hand_over(s, to, session, p) < 0) {
		answer_error(s, wire, push, "call to invalid address");
		return;
	}
	if (push)
		return;
	size_t namelen = to->name ? strlen(to->name) : 0;
	struct running *r = skynet_malloc(sizeof(*r) + namelen + 1);
	r->wire = wire;
	r->handle = to->handle;
	r->since = skynet_now();
	memcpy(r->name, namelen ? to->name : "", namelen + 1);
	r->tag = tag ? copy_text(tag, taglen) : NULL;
	session_put(&s->running, (uint32_t)session, r);
}

/* The answer of a target; false when it isn't one of ours. */
static bool
on_answer(struct server *s, int type, int session, const void *msg, size_t sz) {
	struct running *r = session_take(&s->running, (uint32_t)session);
	if (r == NULL)
		return false;
	if (type == PTYPE_RESPONSE) {
		if (r->tag)
			trace_line(s, r->tag, strlen(r->tag), "tracecall end");
		answer_ok(s, r->wire, msg, sz);
	} else {
		answer_error(s, r->wire, false, "call failed");
	}
	skynet_free(r->tag);
	skynet_free(r);
	return true;
}

/*
 * ---- names ----
 */

static struct name **
name_place(struct server *s, const char *text, size_t len) {
	uint32_t h = 5381;
	for (size_t i = 0; i < len; i++)
		h = h * 33 + (unsigned char)text[i];
	struct name **p = &s->names[h % NAME_BUCKETS];
	while (*p && ((*p)->len != len || memcmp((*p)->text, text, len) != 0))
		p = &(*p)->next;
	return p;
}

/* A serialised handle, as the answer to a query. */
static void
answer_query(struct server *s, uint32_t wire, uint32_t handle) {
	uint8_t b[9];
	if (handle == 0) {
		answer_error(s, wire, false, "name not found");
	} else if (handle < 0x100) {
		b[0] = 0x0a;
		b[1] = (uint8_t)handle;
		write_frame(s, wire, ANSWER_OK, b, 2, false);
	} else if (handle < 0x10000) {
		uint16_t h = (uint16_t)handle;
		b[0] = 0x12;
		memcpy(b + 1, &h, sizeof(h));
		write_frame(s, wire, ANSWER_OK, b, 3, false);
	} else if (handle <= INT32_MAX) {
		int32_t d = (int32_t)handle;
		b[0] = 0x22;
		memcpy(b + 1, &d, sizeof(d));
		write_frame(s, wire, ANSWER_OK, b, 5, false);
	} else {
		int64_t q = handle;
		b[0] = 0x32;
		memcpy(b + 1, &q, sizeof(q));
		write_frame(s, wire, ANSWER_OK, b, 9, false);
	}
}

/* A request to a name, or a query for one. */
struct named {
	uint32_t wire;
	bool push;
	bool query;
	const char *tag; /* NULL: not traced */
	size_t taglen;
};

/* The name of a request is resolved; handle 0: there's no such name. */
static void
resolved(struct server *s, uint32_t handle, const struct named *n, struct payload *p) {
	if (n->query) {
		answer_query(s, n->wire, handle);
	} else if (handle == 0) {
		answer_error(s, n->wire, n->push, "Invalid name");
	} else {
		struct target to = {.handle = handle};
		forward(s, &to, n->wire, n->push, p, n->tag, n->taglen);
	}
}

static struct waiting *
make_waiting(const struct named *n, const struct payload *p) {
	struct waiting *w = skynet_malloc(sizeof(*w) + n->taglen + p->sz + 1);
	*w = (struct waiting){.session = n->wire, .push = n->push, .query = n->query};
	w->traced = n->tag != NULL;
	w->tag = n->taglen;
	w->sz = p->sz;
	if (n->taglen)
		memcpy(w->data, n->tag, n->taglen);
	if (p->sz)
		memcpy(w->data + n->taglen, p->data, p->sz);
	return w;
}

static void
finish_waiting(struct server *s, uint32_t handle, struct waiting *w) {
	struct named n = {w->session, w->push, w->query, NULL, w->tag};
	struct payload p = {w->data + w->tag, w->sz, false};
	if (w->traced)
		n.tag = (const char *)w->data;
	resolved(s, handle, &n, &p);
	skynet_free(w);
}

/* A request to "@name", or a query for it: `text` is without the @. */
static void
by_name(lua_State *L, struct server *s, const char *text, size_t len, const struct named *request,
        struct payload *p) {
	struct name **place = name_place(s, text, len);
	struct name *n = *place;
	if (n && n->handle) {
		resolved(s, n->handle, request, p);
		return;
	}
	bool ask = n == NULL;
	if (ask) {
		n = skynet_calloc(1, sizeof(*n) + len + 1);
		memcpy(n->text, text, len);
		n->len = len;
		n->last = &n->first;
		*place = n;
	}
	struct waiting *w = make_waiting(request, p);
	*n->last = w;
	n->last = &w->next;
	if (ask) {
		lua_pushvalue(L, lua_upvalueindex(UP_LOOKUP));
		lua_pushlstring(L, text, len);
		lua_call(L, 1, 0);
	}
}

static void
free_name(struct name *n) {
	while (n->first) {
		struct waiting *w = n->first;
		n->first = w->next;
		skynet_free(w);
	}
	skynet_free(n);
}

/*
 * ---- requests ----
 */

/* The name in a query's payload: a string, or a number's text. Returns false for others. */
static bool
query_name(lua_State *L, const uint8_t *data, size_t sz) {
	int n = seri_check(data, sz, (char[64]){0}, 64) == 0 ? seri_unpack(L, data, sz) : 0;
	if (n < 1 || (lua_type(L, -n) != LUA_TSTRING && lua_type(L, -n) != LUA_TNUMBER))
		return false;
	lua_pushvalue(L, -n);
	return true;
}

static void
take_tag(struct server *s, char **tag, size_t *len) {
	*tag = s->tag;
	*len = s->taglen;
	s->tag = NULL;
	s->taglen = 0;
}

static void
dispatch_query(lua_State *L, struct server *s, uint32_t wire, const struct payload *p) {
	struct named query = {.wire = wire, .query = true};
	if (query_name(L, p->data, p->sz)) {
		size_t len;
		const char *text = lua_tolstring(L, -1, &len);
		struct payload none = {NULL, 0, false};
		by_name(L, s, text, len, &query, &none);
	} else {
		answer_error(s, wire, false, "name not found");
	}
}

/* Only "@name", ".name", ":hex" and, with a harbor, global names mean something. */
static bool
name_is_valid(const struct server *s, const struct cluster_address *to) {
	return to->namelen > 0 && (to->name[0] == '.' || to->name[0] == ':' || s->harbor);
}

/* A whole request. From parts (large != NULL), its tag came with the first one. */
static void
dispatch(lua_State *L, struct server *s, const struct cluster_address *to, uint32_t wire,
         bool push, struct payload *p, const struct large *large) {
	char *tag = large ? large->tag : NULL;
	size_t taglen = large ? large->taglen : 0;
	if (to->name == NULL && to->handle == 0) {
		dispatch_query(L, s, wire, p);
		return;
	}
	/* a push doesn't use the tag up */
	if (large == NULL && !push)
		take_tag(s, &tag, &taglen);
	if (to->name && to->namelen > 0 && to->name[0] == '@') {
		struct named n = {wire, push, false, tag, taglen};
		by_name(L, s, to->name + 1, to->namelen - 1, &n, p);
	} else if (to->name && !name_is_valid(s, to)) {
		answer_error(s, wire, push, "Invalid name");
	} else if (to->name) {
		char text[CLUSTER_NAME_MAX + 1];
		memcpy(text, to->name, to->namelen);
		text[to->namelen] = '\0';
		struct target t = {.name = text};
		forward(s, &t, wire, push, p, tag, taglen);
	} else {
		struct target t = {.handle = to->handle};
		forward(s, &t, wire, push, p, tag, taglen);
	}
	if (large == NULL)
		skynet_free(tag);
}

static void
free_large(struct server *s, struct large *l) {
	s->partial -= l->announced;
	assembly_drop(&l->parts);
	skynet_free(l->name);
	skynet_free(l->tag);
	skynet_free(l);
}

/* Drop partial messages that take too long. */
static void
sweep(struct server *s) {
	uint64_t now = skynet_now();
	if (s->lives == 0 || s->large.used == 0 || now - s->swept < 100)
		return;
	s->swept = now;
	for (uint32_t i = 0; i < s->large.size; i++) {
		struct large *l = s->large.slot[i].key ? s->large.slot[i].value : NULL;
		if (l && now - l->since > s->lives) {
			uint32_t wire = s->large.slot[i].key;
			(void)session_take(&s->large, wire);
			answer_error(s, wire, l->push, "Invalid large req (it took too long)");
			free_large(s, l);
			i--; /* another may have moved here */
		}
	}
}

/* Returns NULL, or what is wrong. */
static const char *
begin_large(struct server *s, const struct cluster_request *r) {
	sweep(s);
	if (r->session == 0 || session_get(&s->large, r->session))
		return "a large request begins twice";
	if (r->total > s->max_message)
		return "a large request is larger than cluster_max_message allows";
	if (s->large.used >= s->max_partial)
		return "too many unfinished large requests";
	if (r->total > s->max_message * PARTIAL_SHARE - s->partial)
		return "unfinished large requests announce more than four times cluster_max_message";
	struct large *l = skynet_calloc(1, sizeof(*l));
	l->parts.total = l->announced = r->total;
	s->partial += r->total;
	l->push = r->push;
	l->handle = r->to.handle;
	l->since = skynet_now();
	if (r->to.name) {
		l->name = copy_text(r->to.name, r->to.namelen);
		l->namelen = r->to.namelen;
	}
	take_tag(s, &l->tag, &l->taglen);
	session_put(&s->large, r->session, l);
	return NULL;
}

static const char *
add_part(lua_State *L, struct server *s, const struct cluster_request *r) {
	struct large *l = session_get(&s->large, r->session);
	if (l == NULL)
		return "a part of a large request that never began";
	if (assembly_add(&l->parts, r->data, r->sz) != 0)
		return "a large request exceeds its announced size";
	if (r->kind == CLUSTER_MIDDLE)
		return NULL;
	(void)session_take(&s->large, r->session);
	if (l->parts.have != l->parts.total) {
		answer_error(s, r->session, l->push, "Invalid large req");
	} else {
		struct cluster_address to = {l->name, l->namelen, l->handle};
		struct payload p = {l->parts.data, l->parts.have, true};
		dispatch(L, s, &to, r->session, l->push, &p, l);
		if (!p.owned)
			l->parts.data = NULL;
	}
	free_large(s, l);
	return NULL;
}

static void
broken(lua_State *L, struct server *s, const char *why) {
	s->broken = true; /* what is still under way is ignored */
	lua_pushvalue(L, lua_upvalueindex(UP_BROKEN));
	lua_pushstring(L, why);
	lua_call(L, 1, 0);
}

/* Where the frames of a message go. */
struct arriving {
	lua_State *L;
	struct server *s;
};

/* Returns false when the link is over. One message may bring thousands: each leaves L's stack as
 * it was. */
static bool
take_request(const struct arriving *a, const struct cluster_request *r) {
	lua_State *L = a->L;
	struct server *s = a->s;
	struct payload p;
	const char *why = NULL;
	const int top = lua_gettop(L);
	switch (r->kind) {
	case CLUSTER_COMPLETE:
		p = (struct payload){(uint8_t *)r->data, r->sz, false};
		dispatch(L, s, &r->to, r->session, r->push, &p, NULL);
		break;
	case CLUSTER_BEGIN:
		why = begin_large(s, r);
		break;
	case CLUSTER_TRACE:
		skynet_free(s->tag);
		s->tag = copy_text((const char *)r->data, r->sz);
		s->taglen = r->sz;
		break;
	default:
		why = add_part(L, s, r);
	}
	if (why)
		broken(L, s, why);
	lua_settop(L, top);
	return !s->broken;
}

static bool
on_frame(void *ud, const uint8_t *body, size_t sz) {
	const struct arriving *a = ud;
	struct cluster_request r;
	char why[128];
	if (cluster_read_request(body, sz, &r, why, sizeof(why)) != 0) {
		broken(a->L, a->s, why);
		return false;
	}
	return take_request(a, &r);
}

static bool
read_part(const uint8_t *head, struct cluster_request *r) {
	char why[128];
	return cluster_read_request(head, CLUSTER_PART_HEAD, r, why, sizeof(why)) == 0 &&
	       (r->kind == CLUSTER_MIDDLE || r->kind == CLUSTER_LAST);
}

static bool
request_is_part(void *ud, const uint8_t *head) {
	const struct arriving *a = ud;
	struct cluster_request r;
	return read_part(head, &r) && session_get(&a->s->large, r.session) != NULL;
}

static bool
on_part(void *ud, const uint8_t *head, const uint8_t *data, size_t sz, size_t rest) {
	struct cluster_request r;
	if (!read_part(head, &r))
		return false;
	r.data = data;
	r.sz = sz;
	if (rest > 0)
		r.kind = CLUSTER_MIDDLE;
	return take_request(ud, &r);
}

/* What the gate passes on of our connection. */
static void
on_client(lua_State *L, struct server *s, const uint8_t *data, size_t sz) {
	static const struct cluster_sink requests = {on_frame, request_is_part, on_part};
	struct arriving a = {L, s};
	if (!s->raw) {
		(void)on_frame(&a, data, sz);
	} else if (s->torn) {
		broken(L, s, "an error kept what it had sent from being read");
	} else {
		s->torn = true;
		(void)cluster_stream_feed(&s->stream, &requests, &a, data, sz);
		s->torn = false;
	}
}

/* callback(type, msg, sz, session, source) */
static int
filter(lua_State *L) {
	struct server *s = lua_touserdata(L, lua_upvalueindex(UP_SERVER));
	int type = (int)lua_tointeger(L, 1);
	int session = (int)lua_tointeger(L, 4);
	void *msg = lua_touserdata(L, 2);
	size_t sz = (size_t)lua_tointeger(L, 3);
	if (type == PTYPE_CLIENT) {
		if (session == s->fd && !s->broken)
			on_client(L, s, msg, sz);
		return 0;
	}
	if ((type == PTYPE_RESPONSE || type == PTYPE_ERROR) && session > 0 &&
	    on_answer(s, type, session, msg, sz))
		return 0;
	lua_settop(L, 5);
	lua_pushvalue(L, lua_upvalueindex(UP_DISPATCH));
	lua_insert(L, 1);
	lua_call(L, 5, 0);
	return 0;
}

/*
 * ---- methods ----
 */

static struct server *
check_server(lua_State *L) {
	return luaL_checkudata(L, 1, META);
}

/* resolved(name, handle | nil): what was looked up; requests for it go on. */
static int
lresolved(lua_State *L) {
	struct server *s = check_server(L);
	size_t len;
	const char *text = luaL_checklstring(L, 2, &len);
	uint32_t handle = (uint32_t)luaL_optinteger(L, 3, 0);
	struct name **p = name_place(s, text, len);
	struct name *n = *p;
	if (n == NULL)
		return 0;
	struct waiting *w = n->first;
	n->first = NULL;
	n->last = &n->first;
	n->handle = handle;
	if (handle == 0) {
		*p = n->next; /* it isn't remembered that a name is missing */
		free_name(n);
	}
	while (w) {
		struct waiting *next = w->next;
		finish_waiting(s, handle, w);
		w = next;
	}
	return 0;
}

/* raw(): from now on the gate passes on what arrives as it arrives. */
static int
lraw(lua_State *L) {
	check_server(L)->raw = true;
	return 0;
}

/* namechange(): forget all names that are known. */
static int
lnamechange(lua_State *L) {
	struct server *s = check_server(L);
	for (int i = 0; i < NAME_BUCKETS; i++) {
		for (struct name **p = &s->names[i]; *p;) {
			struct name *n = *p;
			if (n->handle) {
				*p = n->next;
				free_name(n);
			} else {
				p = &n->next;
			}
		}
	}
	return 0;
}

/* pending() -> list of { wire=, session=, since=seconds, to= }: requests that are being handled
 */
static int
lpending(lua_State *L) {
	struct server *s = check_server(L);
	lua_Integer n = 0;
	lua_newtable(L);
	for (uint32_t i = 0; i < s->running.size; i++) {
		const struct session_slot *slot = &s->running.slot[i];
		const struct running *r = slot->value;
		if (slot->key == 0)
			continue;
		lua_createtable(L, 0, 4);
		cluster_set_integer(L, "wire", r->wire);
		cluster_set_integer(L, "session", slot->key);
		lua_pushnumber(L, (lua_Number)(skynet_now() - r->since) / 100);
		lua_setfield(L, -2, "since");
		cluster_set_target(L, r->handle, r->name, strlen(r->name));
		lua_rawseti(L, -2, ++n);
	}
	return 1;
}

static int
server_gc(lua_State *L) {
	struct server *s = lua_touserdata(L, 1);
	struct running *r;
	struct large *l;
	uint32_t key;
	while ((r = session_take_any(&s->running, &key)) != NULL) {
		skynet_free(r->tag);
		skynet_free(r);
	}
	while ((l = session_take_any(&s->large, &key)) != NULL)
		free_large(s, l);
	session_free(&s->running);
	session_free(&s->large);
	cluster_stream_reset(&s->stream);
	for (int i = 0; i < NAME_BUCKETS; i++) {
		while (s->names[i]) {
			struct name *n = s->names[i];
			s->names[i] = n->next;
			free_name(n);
		}
	}
	skynet_free(s->tag);
	s->tag = NULL;
	return 0;
}

static lua_Integer
option(lua_State *L, const char *name) {
	lua_getfield(L, 1, name);
	lua_Integer n = lua_tointeger(L, -1);
	lua_pop(L, 1);
	return n;
}

/*
 * server(options, dispatch, lookup, broken) -> server, callback. options: fd, max_message
 * (bytes), max_partial (number), partial_time (cs), harbor (1: plain names may be global).
 * lookup(name) is called for a name that isn't known, broken(reason) when the peer broke the
 * protocol; neither may block.
 */
int
cluster_new_server(lua_State *L) {
	static const luaL_Reg methods[] = {
		{"raw", lraw},
		{"resolved", lresolved},
		{"namechange", lnamechange},
		{"pending", lpending},
		{NULL, NULL},
	};
	struct skynet_context *ctx = cluster_context(L);
	luaL_checktype(L, 1, LUA_TTABLE);
	for (int i = 2; i <= 4; i++)
		luaL_checktype(L, i, LUA_TFUNCTION);
	struct server *s = lua_newuserdatauv(L, sizeof(*s), 0);
	memset(s, 0, sizeof(*s));
	s->ctx = ctx;
	s->fd = (int)option(L, "fd");
	s->max_message = (size_t)option(L, "max_message");
	s->max_partial = (uint32_t)option(L, "max_partial");
	s->lives = (uint32_t)option(L, "partial_time");
	s->harbor = option(L, "harbor") != 0;
	if (luaL_newmetatable(L, META)) {
		luaL_newlib(L, methods);
		lua_setfield(L, -2, "__index");
		lua_pushcfunction(L, server_gc);
		lua_setfield(L, -2, "__gc");
	}
	lua_setmetatable(L, -2);
	lua_pushvalue(L, -1);
	for (int i = 2; i <= 4; i++)
		lua_pushvalue(L, i);
	lua_pushcclosure(L, filter, 4);
	skynet_context_cork(ctx, 1);
	return 2;
}
