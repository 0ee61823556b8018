/*
 * Sockets for services. Ids are node-wide positive integers, never OS descriptors. All calls
 * may be made from any thread; `ctx` only says who owns the socket, that is: who gets its events,
 * PTYPE_SOCKET messages holding a struct skynet_socket_message.
 */
#ifndef skynet_socket_h
#define skynet_socket_h

#include "socket_buffer.h"
#include "socket_info.h"

#include <stdint.h>

struct skynet_context;

#define SKYNET_SOCKET_TYPE_DATA 1
#define SKYNET_SOCKET_TYPE_CONNECT 2
#define SKYNET_SOCKET_TYPE_CLOSE 3
#define SKYNET_SOCKET_TYPE_ACCEPT 4
#define SKYNET_SOCKET_TYPE_ERROR 5
#define SKYNET_SOCKET_TYPE_UDP 6
#define SKYNET_SOCKET_TYPE_WARNING 7

/* DATA and UDP: `buffer` holds `ud` bytes, the receiver frees it. Else text may follow. */
struct skynet_socket_message {
	int type;
	int id;
	int ud;
	char *buffer;
};

#ifdef __cplusplus
extern "C" {
#endif

void skynet_socket_init(void);
/* Make the pollers; 0, or -1 after a line on stderr. */
int skynet_socket_setup(int pollers);
void skynet_socket_exit(void);
void skynet_socket_free(void);
int skynet_socket_poll(void);
void skynet_socket_updatetime(void);

/* The poller role: see scheduler.h. */
int skynet_socket_wait(int index, int64_t timeout_ns);
void skynet_socket_wake(int index);

/* 0, or -1 when the id is unknown or closing; a MEMORY buffer is taken in any case. */
int skynet_socket_sendbuffer(struct skynet_context *ctx, struct socket_sendbuffer *buffer);
int skynet_socket_sendbuffer_lowpriority(struct skynet_context *ctx,
                                         struct socket_sendbuffer *buffer);
/*
 * A heap block to be sent in parts, each after a head of its own (written to `out`, at most 16
 * bytes: returns how many). A part leaves in one piece; normal buffers may go between two of
 * them.
 */
struct socket_parts {
	void *block;
	size_t sz;
	size_t part; /* bytes of each but the last */
	size_t (*head)(uint8_t *out, void *ud, size_t sz, int last);
	void *ud;
};
/* At low priority. 0, or -1 when the id is unknown or closing; the block is taken in any case. */
int skynet_socket_send_parts(struct skynet_context *ctx, int id,
                             const struct socket_parts *parts);
/* New sockets: the id, or -1. */
int skynet_socket_listen(struct skynet_context *ctx, const char *host, int port, int backlog);
int skynet_socket_connect(struct skynet_context *ctx, const char *host, int port);
int skynet_socket_bind(struct skynet_context *ctx, int fd);
void skynet_socket_close(struct skynet_context *ctx, int id);
void skynet_socket_shutdown(struct skynet_context *ctx, int id);
void skynet_socket_start(struct skynet_context *ctx, int id);
void skynet_socket_pause(struct skynet_context *ctx, int id);
void skynet_socket_nodelay(struct skynet_context *ctx, int id);
/* More than that waiting to be sent is an error of the socket, which is closed; 0: no limit. What
   a listener accepts inherits its limit. */
void skynet_socket_sendlimit(struct skynet_context *ctx, int id, int64_t bytes);
int64_t skynet_socket_limit(int id); /* what was set; struct socket_info can't grow */
/*
 * Find a dead peer: probe after `idle` seconds of silence every `interval`, give up after `count`
 * probes, or when data stays unacknowledged for `timeout_ms`. 0 keeps the system's value.
 */
void skynet_socket_keepalive(struct skynet_context *ctx, int id, int idle, int interval,
                             int count, int timeout_ms);

int skynet_socket_udp(struct skynet_context *ctx, const char *addr, int port);
int skynet_socket_udp_connect(struct skynet_context *ctx, int id, const char *addr, int port);
int skynet_socket_udp_dial(struct skynet_context *ctx, const char *addr, int port);
int skynet_socket_udp_listen(struct skynet_context *ctx, const char *addr, int port);
int skynet_socket_udp_sendbuffer(struct skynet_context *ctx, const char *address,
                                 struct socket_sendbuffer *buffer);
const char *skynet_socket_udp_address(struct skynet_socket_message *, int *addrsz);

/* A list the caller frees with socket_info_release. */
struct socket_info *skynet_socket_info(void);

#ifdef __cplusplus
}
#endif

/* The classic forms: a negative size means an OBJECT. */
static inline void
sendbuffer_init_(struct socket_sendbuffer *buf, int id, const void *buffer, int sz) {
	buf->id = id;
	buf->buffer = buffer;
	buf->type = sz < 0 ? SOCKET_BUFFER_OBJECT : SOCKET_BUFFER_MEMORY;
	buf->sz = (size_t)sz;
}

static inline int
skynet_socket_send(struct skynet_context *ctx, int id, void *buffer, int sz) {
	struct socket_sendbuffer tmp;
	sendbuffer_init_(&tmp, id, buffer, sz);
	return skynet_socket_sendbuffer(ctx, &tmp);
}

static inline int
skynet_socket_send_lowpriority(struct skynet_context *ctx, int id, void *buffer, int sz) {
	struct socket_sendbuffer tmp;
	sendbuffer_init_(&tmp, id, buffer, sz);
	return skynet_socket_sendbuffer_lowpriority(ctx, &tmp);
}

static inline int
skynet_socket_udp_send(struct skynet_context *ctx, int id, const char *address,
                       const void *buffer, int sz) {
	struct socket_sendbuffer tmp;
	sendbuffer_init_(&tmp, id, buffer, sz);
	return skynet_socket_udp_sendbuffer(ctx, address, &tmp);
}

#endif
