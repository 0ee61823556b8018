/*
 * WebSocket frames as bytes. What a peer announces is checked before anybody takes memory for
 * it: a length is compared with the limit as the 64-bit number it is.
 *
 * No memory is taken. Pure functions, any thread.
 */
#include "frame.h"

#include <string.h>

static bool
is_control(const struct frame *f) {
	return f->op & 8;
}

static bool
known_op(uint8_t op) {
	return op <= FRAME_BINARY || (op >= FRAME_CLOSE && op <= FRAME_PONG);
}

static uint64_t
big_endian(const uint8_t *p, size_t n) {
	uint64_t v = 0;
	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

enum frame_result
frame_parse(struct frame *f, const uint8_t *bytes, size_t size, uint64_t limit) {
	if (size < 2)
		return FRAME_MORE;
	f->fin = bytes[0] & 0x80;
	f->op = bytes[0] & 0x0f;
	f->masked = bytes[1] & 0x80;
	uint8_t announced = bytes[1] & 0x7f;
	if (bytes[0] & 0x70)
		return FRAME_RESERVED;
	if (!known_op(f->op))
		return FRAME_OPCODE;
	if (is_control(f) && (!f->fin || announced > FRAME_CONTROL_MAX))
		return FRAME_CONTROL;
	size_t extra = announced == 126 ? 2 : announced == 127 ? 8 : 0;
	f->header = 2 + extra + (f->masked ? 4 : 0);
	if (size < 2 + extra)
		return FRAME_MORE;
	f->length = extra ? big_endian(bytes + 2, extra) : announced;
	if (f->length > limit && !is_control(f))
		return FRAME_TOO_LARGE;
	if (size < f->header)
		return FRAME_MORE;
	if (f->masked)
		memcpy(f->mask, bytes + 2 + extra, 4);
	return FRAME_OK;
}

size_t
frame_header(const struct frame *f, uint8_t to[FRAME_HEADER_MAX]) {
	size_t n = 2;
	size_t extra = f->length <= FRAME_CONTROL_MAX ? 0 : f->length <= 0xffff ? 2 : 8;
	to[0] = (uint8_t)((f->fin ? 0x80 : 0) | f->op);
	to[1] = (uint8_t)(extra == 0 ? f->length : extra == 2 ? 126 : 127);
	for (size_t i = 0; i < extra; i++)
		to[n++] = (uint8_t)(f->length >> (8 * (extra - 1 - i)));
	if (f->masked) {
		to[1] |= 0x80;
		memcpy(to + n, f->mask, 4);
		n += 4;
	}
	return n;
}

void
frame_mask(uint8_t *to, const uint8_t *from, size_t size, const uint8_t mask[4]) {
	uint8_t twice[8];
	uint64_t key, word;
	size_t i = 0;
	memcpy(twice, mask, 4);
	memcpy(twice + 4, mask, 4);
	memcpy(&key, twice, 8);
	for (; i + 8 <= size; i += 8) {
		memcpy(&word, from + i, 8);
		word ^= key;
		memcpy(to + i, &word, 8);
	}
	for (; i < size; i++)
		to[i] = from[i] ^ mask[i & 3];
}

/* Bytes of the sequence that such a byte begins, or 0. */
static size_t
announced(uint8_t c) {
	if (c >= 0xc2 && c <= 0xdf)
		return 2;
	if (c >= 0xe0 && c <= 0xef)
		return 3;
	return c >= 0xf0 && c <= 0xf4 ? 4 : 0;
}

/* Bytes of the well-formed sequence that begins with a byte above 0x7f, or 0. */
static size_t
sequence(const uint8_t *s, size_t left) {
	uint8_t c = s[0];
	size_t n = announced(c);
	if (n == 0 || n > left)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	bool too_long = (c == 0xe0 && s[1] < 0xa0) || (c == 0xf0 && s[1] < 0x90);
	bool surrogate = c == 0xed && s[1] > 0x9f;
	bool too_high = c == 0xf4 && s[1] > 0x8f;
	return too_long || surrogate || too_high ? 0 : n;
}

bool
frame_utf8(const uint8_t *s, size_t size) {
	size_t i = 0;
	while (i < size) {
		uint64_t word;
		if (i + 8 <= size) {
			memcpy(&word, s + i, 8);
			if ((word & 0x8080808080808080u) == 0) {
				i += 8;
				continue;
			}
		}
		size_t n = s[i] < 0x80 ? 1 : sequence(s + i, size - i);
		if (n == 0)
			return false;
		i += n;
	}
	return true;
}
