/*
 * Frames of the cluster protocol, in plain C: building and reading them, no Lua.
 *
 * Every frame is a big-endian 16-bit length and a body; integers inside the body are
 * little-endian. A body that is too large for one frame travels as a begin frame and parts.
 */
#ifndef cluster_frame_h
#define cluster_frame_h

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLUSTER_PART 0x8000
#define CLUSTER_NAME_MAX 255

/* Where a request goes: a name when name isn't NULL, else a handle. */
struct cluster_address {
	const char *name;
	size_t namelen;
	uint32_t handle;
};

enum cluster_kind {
	CLUSTER_COMPLETE,
	CLUSTER_BEGIN,
	CLUSTER_MIDDLE,
	CLUSTER_LAST,
	CLUSTER_TRACE
};

struct cluster_request {
	enum cluster_kind kind;
	struct cluster_address to;
	uint32_t session; /* 0 in a complete frame: a push */
	bool push;
	uint32_t total;      /* of a begin frame */
	const uint8_t *data; /* payload, or the trace tag; borrowed from the frame */
	size_t sz;
};

enum { ANSWER_ERROR, ANSWER_OK, ANSWER_BEGIN, ANSWER_MIDDLE, ANSWER_LAST };

struct cluster_answer {
	uint32_t session;
	int type;
	uint32_t total;
	const uint8_t *data;
	size_t sz;
};

/* Read a request frame's body. 0, or -1 and a reason in `why`. */
int cluster_read_request(const uint8_t *body, size_t sz, struct cluster_request *r, char *why,
                         size_t whysz);
/* Read an answer's body. 0, or -1 when it isn't one. */
int cluster_read_answer(const uint8_t *body, size_t sz, struct cluster_answer *a);

/* Largest header of a request frame, length included. */
#define CLUSTER_HEADER_MAX (2 + 1 + 1 + CLUSTER_NAME_MAX + 4 + 4)

/* Write the header of a complete frame with `sz` bytes of payload; returns its length. */
size_t cluster_write_request(uint8_t *out, const struct cluster_address *to, uint32_t session,
                             size_t sz);
/* Write a begin frame; returns its length. */
size_t cluster_write_begin(uint8_t *out, const struct cluster_address *to, uint32_t session,
                           bool push, uint32_t total);
/* Write the header of a part of a request (7 bytes). */
size_t cluster_write_part(uint8_t *out, uint32_t session, size_t sz, bool last);
/* Write the header of a part of an answer (7 bytes). */
size_t cluster_write_answer_part(uint8_t *out, uint32_t session, size_t sz, bool last);
/* Write the header of an answer frame (7 bytes). */
size_t cluster_write_answer(uint8_t *out, uint32_t session, int type, size_t sz);

#endif
