/*
 * WebSocket frames (RFC 6455): headers, masks, UTF-8. See frame.c.
 */
#ifndef http_frame_h
#define http_frame_h

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER_MAX 14
#define FRAME_CONTROL_MAX 125

enum frame_op {
	FRAME_CONTINUATION = 0,
	FRAME_TEXT = 1,
	FRAME_BINARY = 2,
	FRAME_CLOSE = 8,
	FRAME_PING = 9,
	FRAME_PONG = 10,
};

enum frame_result {
	FRAME_OK,
	FRAME_MORE,      /* the header isn't complete */
	FRAME_RESERVED,  /* reserved bits are set: nobody agreed on an extension */
	FRAME_OPCODE,    /* unknown opcode */
	FRAME_CONTROL,   /* a control frame that is fragmented or longer than 125 bytes */
	FRAME_TOO_LARGE, /* the payload is larger than the limit */
};

struct frame {
	uint8_t op;
	bool fin, masked;
	uint8_t mask[4];
	uint64_t length; /* of the payload */
	size_t header;   /* bytes before the payload */
};

/* Read a frame's header; the payload may hold `limit` bytes. */
enum frame_result frame_parse(struct frame *f, const uint8_t *bytes, size_t size, uint64_t limit);

/* Write the header of f (op, fin, masked, mask, length); returns its size. */
size_t frame_header(const struct frame *f, uint8_t to[FRAME_HEADER_MAX]);

/* to[i] = from[i] ^ mask[i % 4]; they may be the same. */
void frame_mask(uint8_t *to, const uint8_t *from, size_t size, const uint8_t mask[4]);

/* Well-formed UTF-8: shortest forms, no surrogates, nothing above U+10FFFF. */
bool frame_utf8(const uint8_t *s, size_t size);

#endif
