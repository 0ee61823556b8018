/*
 * Frames of the C gate: a big-endian length of 2 or 4 bytes and that many bytes.
 *
 * An unfinished frame takes memory in proportion to the bytes that have arrived, whatever its
 * header announces, and a length over the limit is refused as soon as the header is whole. A
 * body is copied once, into the block that becomes the message.
 *
 * Uses nothing but the allocator, so it can be tested without a node. One thread at a time per
 * frame_input.
 */
#include "frame.h"
#include "skynet_malloc.h"

#include <string.h>

#define FIRST_ROOM 4096

static size_t
smaller(size_t a, size_t b) {
	return a < b ? a : b;
}

/* Take the length; 1 when it's whole. */
static int
take_header(struct frame_input *in, int header, const uint8_t **data, size_t *size) {
	while (in->header_have<header && * size> 0) {
		in->header[in->header_have++] = **data;
		++*data;
		--*size;
	}
	if (in->header_have < header)
		return 0;
	in->want = 0;
	for (int i = 0; i < header; i++)
		in->want = in->want << 8 | in->header[i];
	return 1;
}

/* Make room for `n` bytes more: doubles, but never beyond the frame's size. */
static void
reserve(struct frame_input *in, size_t n) {
	size_t need = in->have + n;
	if (need <= in->room)
		return;
	size_t room = need < FIRST_ROOM ? FIRST_ROOM : need;
	if (room < in->room * 2)
		room = in->room * 2;
	in->room = smaller(room, in->want);
	in->body = skynet_realloc(in->body, in->room);
}

enum frame_result
frame_next(struct frame_input *in, int header, const uint8_t **data, size_t *size, uint8_t **body,
           size_t *body_size) {
	for (;;) {
		if (in->header_have < header && !take_header(in, header, data, size))
			return FRAME_MORE;
		if (in->want >= FRAME_LIMIT)
			return FRAME_TOO_LONG;
		if (in->want > 0)
			break;
		in->header_have = 0; /* an empty frame */
	}
	size_t n = smaller(*size, in->want - in->have);
	if (n > 0) {
		reserve(in, n);
		memcpy(in->body + in->have, *data, n);
		in->have += n;
		*data += n;
		*size -= n;
	}
	if (in->have < in->want)
		return FRAME_MORE;
	*body = in->body;
	*body_size = in->want;
	*in = (struct frame_input){0};
	return FRAME_READY;
}

void
frame_clear(struct frame_input *in) {
	skynet_free(in->body);
	*in = (struct frame_input){0};
}
