/*
 * Fuzz the reader of WebSocket frames (lualib-src/http/frame.c). The first byte chooses the
 * limit, the rest is a stream of frames.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined test/fuzz/http_frame_fuzz.c
 *   ./a.out test/fuzz/corpus/http_frame
 *
 * Besides memory: what is accepted keeps the limit, can be written again, and comes back the
 * same; masking twice changes nothing; a text that is well-formed stays so with another.
 */
#include "../../lualib-src/http/frame.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool ok) {
	if (!ok)
		abort();
}

static void
check_header(const struct frame *f) {
	uint8_t header[FRAME_HEADER_MAX];
	struct frame again;
	size_t n = frame_header(f, header);
	require(n <= f->header);
	require(frame_parse(&again, header, n, UINT64_MAX) == FRAME_OK);
	require(again.length == f->length && again.op == f->op && again.masked == f->masked);
}

static void
check_payload(const struct frame *f, const uint8_t *payload) {
	size_t n = (size_t)f->length;
	uint8_t *copy = malloc(n ? n : 1);
	frame_mask(copy, payload, n, f->mask);
	frame_mask(copy, copy, n, f->mask);
	require(memcmp(copy, payload, n) == 0);
	free(copy);
	if (f->op == FRAME_TEXT && frame_utf8(payload, n) && n > 1) {
		/* a well-formed text can't be cut inside of a character without notice */
		size_t cut = n - 1;
		require(frame_utf8(payload, cut) == ((payload[n - 1] & 0x80) == 0));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct frame f;
	memset(&f, 0, sizeof(f));
	if (size == 0)
		return 0;
	uint64_t limit = data[0] == 255 ? UINT64_MAX : (uint64_t)data[0] << 4;
	uint8_t *bytes = malloc(size);
	memcpy(bytes, data + 1, size - 1);
	size_t at = 0;
	size--;
	while (at < size && frame_parse(&f, bytes + at, size - at, limit) == FRAME_OK) {
		require(f.length <= limit || f.length <= FRAME_CONTROL_MAX);
		check_header(&f);
		if (size - at - f.header < f.length)
			break;
		check_payload(&f, bytes + at + f.header);
		at += f.header + (size_t)f.length;
	}
	free(bytes);
	return 0;
}
