/* Cutting a stream into frames of a big-endian length and that many bytes: see frame.c. */
#ifndef GATE_FRAME_H
#define GATE_FRAME_H

#include <stddef.h>
#include <stdint.h>

/* Frames of this size and more are refused. */
#define FRAME_LIMIT 0x1000000

/* The unfinished frame of one connection. All zero: nothing has arrived. */
struct frame_input {
	uint8_t header[4];
	uint8_t header_have;
	uint8_t *body;
	size_t want; /* known once the header is whole */
	size_t have, room;
};

enum frame_result {
	FRAME_MORE,    /* all input is used up */
	FRAME_READY,   /* a frame was cut; there may be more */
	FRAME_TOO_LONG /* the header announces FRAME_LIMIT bytes or more; the stream is of no use */
};

/*
 * Cut the next frame that isn't empty. `header` is 2 or 4: the size of the length. Moves *data
 * and *size past what it used. FRAME_READY stores the body, a block that the caller owns.
 */
enum frame_result frame_next(struct frame_input *in, int header, const uint8_t **data,
                             size_t *size, uint8_t **body, size_t *body_size);

/* Free what is unfinished. */
void frame_clear(struct frame_input *in);

#endif
