#include "cluster_path.h"

#include "cluster_frame.h"
#include "scatter.h"
#include "skynet_malloc.h"
#include "skynet_socket.h"

#include <lauxlib.h>
#include <string.h>

/*
 * ---- session maps: open addressing, linear probing ----
 */

static uint32_t
find(const struct session_map *m, uint32_t key) {
	uint32_t i = scatter(key, m->size);
	while (m->slot[i].key != 0 && m->slot[i].key != key)
		i = (i + 1) & (m->size - 1);
	return i;
}

void *
session_get(const struct session_map *m, uint32_t key) {
	if (m->size == 0 || key == 0)
		return NULL;
	const struct session_slot *s = &m->slot[find(m, key)];
	return s->key == key ? s->value : NULL;
}

static void
resize(struct session_map *m, uint32_t size) {
	struct session_map fresh = {.size = size, .used = m->used};
	fresh.slot = skynet_calloc(size, sizeof(*fresh.slot));
	for (uint32_t i = 0; i < m->size; i++) {
		if (m->slot[i].key != 0)
			fresh.slot[find(&fresh, m->slot[i].key)] = m->slot[i];
	}
	skynet_free(m->slot);
	*m = fresh;
}

void
session_put(struct session_map *m, uint32_t key, void *value) {
	if ((m->used + 1) * 4 > m->size * 3)
		resize(m, m->size ? m->size * 2 : 16);
	struct session_slot *s = &m->slot[find(m, key)];
	s->key = key;
	s->value = value;
	m->used++;
}

void *
session_take(struct session_map *m, uint32_t key) {
	if (m->size == 0 || key == 0)
		return NULL;
	uint32_t mask = m->size - 1;
	uint32_t hole = find(m, key);
	if (m->slot[hole].key != key)
		return NULL;
	void *value = m->slot[hole].value;
	/* close the gap */
	for (uint32_t i = (hole + 1) & mask; m->slot[i].key != 0; i = (i + 1) & mask) {
		if (((i - scatter(m->slot[i].key, m->size)) & mask) >= ((i - hole) & mask)) {
			m->slot[hole] = m->slot[i];
			hole = i;
		}
	}
	m->slot[hole].key = 0;
	m->used--;
	return value;
}

void *
session_take_any(struct session_map *m, uint32_t *key) {
	for (uint32_t i = 0; m->used > 0 && i < m->size; i++) {
		if (m->slot[i].key != 0) {
			*key = m->slot[i].key;
			return session_take(m, *key);
		}
	}
	return NULL;
}

void
session_free(struct session_map *m) {
	skynet_free(m->slot);
	memset(m, 0, sizeof(*m));
}

/*
 * ---- assemblies ----
 */

int
assembly_add(struct assembly *a, const uint8_t *data, size_t sz) {
	if (sz > a->total - a->have)
		return -1;
	if (a->room - a->have < sz) {
		/* few copies: a peer that announces much gets at most eight times what it sent */
		size_t room = (a->have + sz) * 8;
		a->room = room < a->total ? room : a->total;
		a->data = skynet_realloc(a->data, a->room ? a->room : 1);
	}
	if (sz)
		memcpy(a->data + a->have, data, sz);
	a->have += sz;
	return 0;
}

void
assembly_drop(struct assembly *a) {
	skynet_free(a->data);
	memset(a, 0, sizeof(*a));
}

/*
 * ---- the service ----
 */

struct skynet_context *
cluster_context(lua_State *L) {
	lua_getfield(L, LUA_REGISTRYINDEX, "skynet_context");
	struct skynet_context *ctx = lua_touserdata(L, -1);
	lua_pop(L, 1);
	if (ctx == NULL)
		luaL_error(L, "Init skynet context first");
	return ctx;
}

void
cluster_write(struct skynet_context *ctx, int fd, void *block, size_t sz, bool low) {
	struct socket_sendbuffer b = {fd, SOCKET_BUFFER_MEMORY, block, sz};
	if (low)
		(void)skynet_socket_sendbuffer_lowpriority(ctx, &b);
	else
		(void)skynet_socket_sendbuffer(ctx, &b);
}

struct cut {
	uint32_t session;
	cluster_part_head head;
};

static size_t
part_head(uint8_t *out, void *ud, size_t sz, int last) {
	const struct cut *c = ud;
	return c->head(out, c->session, sz, last);
}

void
cluster_write_parts(struct skynet_context *ctx, int fd, uint32_t session, void *block, size_t sz,
                    cluster_part_head head) {
	struct cut c = {session, head};
	struct socket_parts parts = {block, sz, CLUSTER_PART, part_head, &c};
	(void)skynet_socket_send_parts(ctx, fd, &parts);
}

void
cluster_set_integer(lua_State *L, const char *field, lua_Integer v) {
	lua_pushinteger(L, v);
	lua_setfield(L, -2, field);
}

void
cluster_set_target(lua_State *L, uint32_t handle, const char *name, size_t len) {
	if (handle)
		lua_pushinteger(L, handle);
	else
		lua_pushlstring(L, name, len);
	lua_setfield(L, -2, "to");
}
