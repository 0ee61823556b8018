/*
 * The data path of cluster mode: what its two ends share. See cluster_send.c, cluster_serve.c.
 */
#ifndef cluster_path_h
#define cluster_path_h

#include "skynet.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lua constructors. */
int cluster_new_sender(lua_State *L);
int cluster_new_server(lua_State *L);

/* A map from session numbers to records; sessions are handed out in order. */
struct session_map {
	struct session_slot {
		uint32_t key; /* 0: free */
		void *value;
	} * slot;
	uint32_t size; /* power of two, or 0 */
	uint32_t used;
};

void *session_get(const struct session_map *m, uint32_t key);
/* The key must be free, and not 0. */
void session_put(struct session_map *m, uint32_t key, void *value);
void *session_take(struct session_map *m, uint32_t key);
/* Any record, taken out; NULL when the map is empty. */
void *session_take_any(struct session_map *m, uint32_t *key);
void session_free(struct session_map *m);

/* A message that arrives in parts. Takes at most eight times what arrived, never more than
 * announced. */
struct assembly {
	uint8_t *data;
	size_t have, room, total;
};

/* 0; -1: more than was announced. */
int assembly_add(struct assembly *a, const uint8_t *data, size_t sz);
void assembly_drop(struct assembly *a);

/* The service's context of a VM; raises outside of services. */
struct skynet_context *cluster_context(lua_State *L);

/* Set a field of the table on top of the stack; `to`: a handle, or a name when that is 0. */
void cluster_set_integer(lua_State *L, const char *field, lua_Integer v);
void cluster_set_target(lua_State *L, uint32_t handle, const char *name, size_t len);

/* Write the head of a part: see cluster_frame.h. */
typedef size_t (*cluster_part_head)(uint8_t *out, uint32_t session, size_t sz, bool last);
/* Give a heap block to a socket, in parts. */
void cluster_write_parts(struct skynet_context *ctx, int fd, uint32_t session, void *block,
                         size_t sz, cluster_part_head head);
/* Give a heap block to a socket. Failing means the link is gone, which is noticed elsewhere. */
void cluster_write(struct skynet_context *ctx, int fd, void *block, size_t sz, bool low);

#endif
