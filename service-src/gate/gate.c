/*
 * The gate service: listens, cuts each client's stream into frames, and carries them to agents.
 *
 * Launched with "<S|L> <watchdog|!> <[host:]port> <client message type> <max connections>". It's
 * controlled by text messages (see control) and tells its watchdog in text what happens:
 * "<id> open <id> <peer>:0", "<id> close", "<id> data <bytes>". A frame goes, as a message of
 * the client type whose session is the connection's id, to the broker if there is one, else to
 * the connection's agent, else as "data" to the watchdog. A message of the client type to the
 * gate is written out: its last four bytes are the id, little-endian.
 *
 * Data it owns: a hash of connections by id, each with its unfinished frame. A connection is in
 * the hash from its accept to its close or error. Everything runs in the service's callback,
 * one message at a time.
 */
#include "frame.h"
#include "skynet.h"
#include "skynet_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACKLOG 128
#define PEER_MAX 31
#define FIRST_BUCKETS 64
#define SEPARATORS " \t\r\n"

struct connection {
	struct connection *next;
	int id;
	bool dropped; /* sent a bad frame: what still arrives is ignored */
	uint32_t agent;
	uint32_t client;
	struct frame_input input;
};

struct gate {
	struct skynet_context *ctx;
	int listener; /* -1: none */
	uint32_t watchdog;
	uint32_t broker;
	int client_tag;
	int header;
	int max;
	int count;
	uint32_t buckets; /* a power of two */
	struct connection **hash;
};

/*
 * ---- connections ----
 */

static struct connection **
place_of(struct gate *g, int id) {
	struct connection **p = &g->hash[(uint32_t)id & (g->buckets - 1)];
	while (*p && (*p)->id != id)
		p = &(*p)->next;
	return p;
}

static struct connection *
find(struct gate *g, int id) {
	return *place_of(g, id);
}

/* Ids are handed out in order, so they spread over the buckets by themselves. */
static void
grow(struct gate *g) {
	uint32_t old_buckets = g->buckets;
	struct connection **old = g->hash;
	g->buckets = old_buckets * 2;
	g->hash = skynet_calloc(g->buckets, sizeof(*g->hash));
	for (uint32_t i = 0; i < old_buckets; i++) {
		while (old[i]) {
			struct connection *c = old[i];
			old[i] = c->next;
			struct connection **p = &g->hash[(uint32_t)c->id & (g->buckets - 1)];
			c->next = *p;
			*p = c;
		}
	}
	skynet_free(old);
}

static void
add(struct gate *g, int id) {
	if ((uint32_t)g->count >= g->buckets && g->buckets < 1u << 30)
		grow(g);
	struct connection *c = skynet_calloc(1, sizeof(*c));
	struct connection **p = place_of(g, id);
	c->id = id;
	c->next = *p;
	*p = c;
	g->count++;
}

static bool
remove_connection(struct gate *g, int id) {
	struct connection **p = place_of(g, id);
	struct connection *c = *p;
	if (c == NULL)
		return false;
	*p = c->next;
	frame_clear(&c->input);
	skynet_free(c);
	g->count--;
	return true;
}

/*
 * ---- to the watchdog, to agents ----
 */

static void
report_open(struct gate *g, int id, const char *peer, size_t peer_size) {
	char text[PEER_MAX + 48];
	if (g->watchdog == 0)
		return;
	int n = snprintf(text, sizeof(text), "%d open %d %.*s:0", id, id,
	                 (int)(peer_size < PEER_MAX ? peer_size : PEER_MAX), peer);
	skynet_send(g->ctx, 0, g->watchdog, PTYPE_TEXT, 0, text, (size_t)n);
}

static void
report_close(struct gate *g, int id) {
	char text[24];
	if (g->watchdog == 0)
		return;
	int n = snprintf(text, sizeof(text), "%d close", id);
	skynet_send(g->ctx, 0, g->watchdog, PTYPE_TEXT, 0, text, (size_t)n);
}

static void
report_data(struct gate *g, int id, const uint8_t *body, size_t size) {
	char head[24];
	size_t n = (size_t)snprintf(head, sizeof(head), "%d data ", id);
	char *text = skynet_malloc(n + size + 1);
	memcpy(text, head, n);
	memcpy(text + n, body, size);
	text[n + size] = '\0';
	skynet_send(g->ctx, 0, g->watchdog, PTYPE_TEXT | PTYPE_TAG_DONTCOPY, id, text, n + size);
}

/* Pass a frame on; takes the block. */
static void
deliver(struct gate *g, const struct connection *c, uint8_t *body, size_t size) {
	int type = g->client_tag | PTYPE_TAG_DONTCOPY;
	if (g->broker) {
		skynet_send(g->ctx, 0, g->broker, type, c->id, body, size);
	} else if (c->agent) {
		skynet_send(g->ctx, c->client, c->agent, type, c->id, body, size);
	} else {
		if (g->watchdog)
			report_data(g, c->id, body, size);
		skynet_free(body);
	}
}

/*
 * ---- socket events ----
 */

static void
on_data(struct gate *g, int id, const uint8_t *data, size_t size) {
	struct connection *c = find(g, id);
	if (c == NULL) {
		skynet_error(g->ctx, "Drop unknown connection %d message", id);
		skynet_socket_close(g->ctx, id);
		return;
	}
	while (!c->dropped) {
		uint8_t *body;
		size_t n;
		switch (frame_next(&c->input, g->header, &data, &size, &body, &n)) {
		case FRAME_READY:
			deliver(g, c, body, n);
			break;
		case FRAME_TOO_LONG:
			skynet_error(g->ctx, "Recv socket message > 16M");
			c->dropped = true;
			skynet_socket_close(g->ctx, id);
			return;
		case FRAME_MORE:
			return;
		}
	}
}

static void
on_accept(struct gate *g, int id, const char *peer, size_t peer_size) {
	if (g->count >= g->max) {
		skynet_socket_close(g->ctx, id);
		return;
	}
	add(g, id);
	skynet_error(g->ctx, "socket open: %x", id);
	report_open(g, id, peer, peer_size);
}

static void
on_end(struct gate *g, const struct skynet_socket_message *m, const char *text, size_t size) {
	if (m->id == g->listener) {
		if (m->type == SKYNET_SOCKET_TYPE_ERROR)
			skynet_error(g->ctx, "[gate] accept error : %.*s", (int)size, text);
	} else if (remove_connection(g, m->id)) {
		report_close(g, m->id);
		skynet_socket_close(g->ctx, m->id);
	}
}

static void
on_socket(struct gate *g, const struct skynet_socket_message *m, size_t sz) {
	const char *text = (const char *)(m + 1);
	size_t text_size = sz - sizeof(*m);
	switch (m->type) {
	case SKYNET_SOCKET_TYPE_DATA:
		on_data(g, m->id, (const uint8_t *)m->buffer, (size_t)m->ud);
		skynet_free(m->buffer);
		break;
	case SKYNET_SOCKET_TYPE_CONNECT:
		if (m->id != g->listener && find(g, m->id) == NULL) {
			skynet_error(g->ctx, "Close unknown connection %d", m->id);
			skynet_socket_close(g->ctx, m->id);
		}
		break;
	case SKYNET_SOCKET_TYPE_CLOSE:
	case SKYNET_SOCKET_TYPE_ERROR:
		on_end(g, m, text, text_size);
		break;
	case SKYNET_SOCKET_TYPE_ACCEPT:
		on_accept(g, m->ud, text, text_size);
		break;
	case SKYNET_SOCKET_TYPE_WARNING:
		skynet_error(g->ctx, "fd (%d) send buffer (%d)K", m->id, m->ud);
		break;
	default:
		skynet_free(m->buffer);
	}
}

/*
 * ---- control ----
 */

/* A connection named by a decimal word. */
static struct connection *
find_word(struct gate *g, const char *word) {
	char *end;
	if (word == NULL)
		return NULL;
	errno = 0;
	long id = strtol(word, &end, 10);
	if (errno || *end || id <= 0 || id > 0x7fffffff)
		return NULL;
	return find(g, (int)id);
}

static uint32_t
handle_of(const char *word) {
	return word && word[0] == ':' ? (uint32_t)strtoul(word + 1, NULL, 16) : 0;
}

static void
cmd_kick(struct gate *g, char **words) {
	struct connection *c = find_word(g, strtok_r(NULL, SEPARATORS, words));
	if (c)
		skynet_socket_close(g->ctx, c->id);
}

static void
cmd_forward(struct gate *g, char **words) {
	struct connection *c = find_word(g, strtok_r(NULL, SEPARATORS, words));
	uint32_t agent = handle_of(strtok_r(NULL, SEPARATORS, words));
	uint32_t client = handle_of(strtok_r(NULL, SEPARATORS, words));
	if (c) {
		c->agent = agent;
		c->client = client;
	}
}

static void
cmd_broker(struct gate *g, char **words) {
	const char *name = strtok_r(NULL, SEPARATORS, words);
	g->broker = name ? skynet_queryname(g->ctx, name) : 0;
}

static void
cmd_start(struct gate *g, char **words) {
	struct connection *c = find_word(g, strtok_r(NULL, SEPARATORS, words));
	if (c)
		skynet_socket_start(g->ctx, c->id);
}

static void
cmd_close(struct gate *g, char **words) {
	(void)words;
	if (g->listener >= 0) {
		skynet_socket_close(g->ctx, g->listener);
		g->listener = -1;
	}
}

static void
control(struct gate *g, const char *msg, size_t sz) {
	static const struct {
		const char *name;
		void (*run)(struct gate *g, char **words);
	} commands[] = {
		{"kick", cmd_kick},   {"forward", cmd_forward}, {"broker", cmd_broker},
		{"start", cmd_start}, {"close", cmd_close},
	};
	char *text = skynet_malloc(sz + 1);
	char *words;
	memcpy(text, msg, sz);
	text[sz] = '\0';
	const char *name = strtok_r(text, SEPARATORS, &words);
	size_t i = 0, n = sizeof(commands) / sizeof(commands[0]);
	while (i < n && (name == NULL || strcmp(name, commands[i].name) != 0))
		i++;
	if (i < n)
		commands[i].run(g, &words);
	else
		skynet_error(g->ctx, "[gate] Unknown command : %.*s", (int)(sz < 1024 ? sz : 1024), msg);
	skynet_free(text);
}

/* Write a message's body to the client it ends with; 1 when the block was given away. */
static int
write_out(struct gate *g, uint32_t source, const void *msg, size_t sz) {
	if (sz <= 4) {
		skynet_error(g->ctx, "Invalid client message from %x", source);
		return 0;
	}
	const uint8_t *p = (const uint8_t *)msg + sz - 4;
	uint32_t id = 0;
	for (int i = 3; i >= 0; i--)
		id = id << 8 | p[i];
	if (find(g, (int)id) == NULL) {
		skynet_error(g->ctx, "Invalid client id %d from %x", (int)id, source);
		return 0;
	}
	struct socket_sendbuffer out = {
		.id = (int)id, .type = SOCKET_BUFFER_MEMORY, .buffer = msg, .sz = sz - 4};
	skynet_socket_sendbuffer(g->ctx, &out); /* takes the block whatever it answers */
	return 1;
}

static int
on_message(struct skynet_context *ctx, void *ud, int type, int session, uint32_t source,
           const void *msg, size_t sz) {
	struct gate *g = ud;
	(void)ctx;
	(void)session;
	switch (type) {
	case PTYPE_TEXT:
		control(g, msg ? msg : "", msg ? sz : 0);
		return 0;
	case PTYPE_CLIENT:
		return write_out(g, source, msg, sz);
	case PTYPE_SOCKET:
		if (sz >= sizeof(struct skynet_socket_message))
			on_socket(g, msg, sz);
		return 0;
	default:
		return 0;
	}
}

/*
 * ---- start and end ----
 */

/* Listen on "[host:]port"; the last colon splits. Changes `bind`. */
static int
listen_on(struct gate *g, char *bind) {
	char *colon = strrchr(bind, ':');
	const char *port_text = colon ? colon + 1 : bind;
	char *end;
	const char *host = "";
	long port = strtol(port_text, &end, 10);
	if (port <= 0 || port > 65535 || *end) {
		skynet_error(g->ctx, "Invalid gate address %s", bind);
		return 1;
	}
	if (colon) {
		*colon = '\0';
		host = bind;
		size_t n = strlen(bind);
		if (n >= 2 && bind[0] == '[' && bind[n - 1] == ']') {
			bind[n - 1] = '\0';
			host = bind + 1;
		}
	}
	g->listener = skynet_socket_listen(g->ctx, host, (int)port, BACKLOG);
	if (g->listener < 0) {
		skynet_error(g->ctx, "[gate] can't listen on %s port %ld", host[0] ? host : "0.0.0.0",
		             port);
		return 1;
	}
	skynet_socket_start(g->ctx, g->listener);
	return 0;
}

static bool
number(const char *word, int *value) {
	char *end;
	errno = 0;
	long n = strtol(word, &end, 10);
	*value = (int)n;
	return errno == 0 && *end == '\0' && n >= -0x7fffffff && n <= 0x7fffffff;
}

/* `text` is a copy of the parameter, to be cut into words. */
static int
set_up(struct gate *g, char *text, const char *parm) {
	char *word[5] = {NULL}, *rest;
	word[0] = strtok_r(text, SEPARATORS, &rest);
	for (int i = 1; i < 5 && word[i - 1]; i++)
		word[i] = strtok_r(NULL, SEPARATORS, &rest);
	if (word[3] == NULL || !number(word[3], &g->client_tag) || g->client_tag < 0 ||
	    g->client_tag > 255) {
		skynet_error(g->ctx, "Invalid gate parm %s", parm);
		return 1;
	}
	if (word[4] == NULL || !number(word[4], &g->max) || g->max <= 0) {
		skynet_error(g->ctx, "Need max connection");
		return 1;
	}
	if (strcmp(word[0], "S") != 0 && strcmp(word[0], "L") != 0) {
		skynet_error(g->ctx, "Invalid data header style");
		return 1;
	}
	g->header = word[0][0] == 'S' ? 2 : 4;
	if (g->client_tag == 0)
		g->client_tag = PTYPE_CLIENT;
	if (word[1][0] != '!') {
		g->watchdog = skynet_queryname(g->ctx, word[1]);
		if (g->watchdog == 0) {
			skynet_error(g->ctx, "Invalid watchdog %s", word[1]);
			return 1;
		}
	}
	g->buckets = FIRST_BUCKETS;
	g->hash = skynet_calloc(g->buckets, sizeof(*g->hash));
	skynet_callback(g->ctx, g, on_message);
	return listen_on(g, word[2]);
}

struct gate *
gate_create(void) {
	struct gate *g = skynet_calloc(1, sizeof(*g));
	g->listener = -1;
	return g;
}

int
gate_init(struct gate *g, struct skynet_context *ctx, const char *parm) {
	g->ctx = ctx;
	if (parm == NULL) {
		skynet_error(ctx, "Invalid gate parm %s", "");
		return 1;
	}
	size_t n = strlen(parm) + 1;
	char *text = skynet_malloc(n);
	memcpy(text, parm, n);
	int failed = set_up(g, text, parm);
	skynet_free(text);
	return failed;
}

void
gate_release(struct gate *g) {
	if (g->listener >= 0)
		skynet_socket_close(g->ctx, g->listener);
	for (uint32_t i = 0; i < g->buckets; i++) {
		while (g->hash[i]) {
			int id = g->hash[i]->id;
			skynet_socket_close(g->ctx, id);
			remove_connection(g, id);
		}
	}
	skynet_free(g->hash);
	skynet_free(g);
}
