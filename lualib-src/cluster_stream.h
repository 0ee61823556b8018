/*
 * The bytes that arrive on a cluster link, cut into frames where they lie.
 *
 * A frame that is all there is handed over in place. The beginning of one that isn't is kept
 * until the rest comes; but what belongs to a part of a large message goes on as it comes:
 * whoever puts the message together copies it once, and nothing waits here.
 */
#ifndef cluster_stream_h
#define cluster_stream_h

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLUSTER_PART_HEAD 5 /* bytes of a part's body before its payload */

struct cluster_stream {
	uint8_t *input; /* the beginning of a frame */
	size_t have, room;
	uint8_t head[CLUSTER_PART_HEAD]; /* of the part that is arriving */
	size_t rest;                     /* bytes of it still to come */
};

/* What frames are for. Bytes are borrowed. */
struct cluster_sink {
	/* A whole frame's body. False: nothing more is to come of this stream. */
	bool (*frame)(void *ud, const uint8_t *body, size_t sz);
	/* Does a body that begins with these bytes belong to a message that is being put together? */
	bool (*is_part)(void *ud, const uint8_t head[CLUSTER_PART_HEAD]);
	/* Then: some of its payload; `rest` bytes of this part are still to come. False as above. */
	bool (*part)(void *ud, const uint8_t head[CLUSTER_PART_HEAD], const uint8_t *data, size_t sz,
	             size_t rest);
};

/* Returns false when the sink did. */
bool cluster_stream_feed(struct cluster_stream *st, const struct cluster_sink *sink, void *ud,
                         const uint8_t *data, size_t sz);
/* Forget what began, and free it. */
void cluster_stream_reset(struct cluster_stream *st);

#endif
