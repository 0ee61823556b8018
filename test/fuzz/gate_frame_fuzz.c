/*
 * Fuzz the C gate's framing (service-src/gate/frame.c). The first byte chooses the size of the
 * length and, with it, how the rest, a stream of frames, is cut into reads.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -Iskynet-src test/fuzz/gate_frame_fuzz.c
 *   ./a.out test/fuzz/corpus/gate_frame
 *
 * Besides memory: whatever the cuts, the frames are those that a reading of the whole stream
 * finds; a length over the limit ends it; an unfinished frame holds no more than twice what
 * came, and a page.
 */
#include "../../service-src/gate/frame.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int good) {
	if (!good)
		abort();
}

/* The stream as a whole: what must come out. */
struct expected {
	const uint8_t *data;
	size_t size;
	int header;
};

enum { AT_END, AT_FRAME, AT_TOO_LONG };

static int
expect_next(struct expected *e, const uint8_t **body, size_t *body_size) {
	while (e->size >= (size_t)e->header) {
		size_t n = 0;
		for (int i = 0; i < e->header; i++)
			n = n << 8 | e->data[i];
		if (n >= FRAME_LIMIT)
			return AT_TOO_LONG;
		if (e->size - (size_t)e->header < n)
			return AT_END;
		*body = e->data + e->header;
		*body_size = n;
		e->data += (size_t)e->header + n;
		e->size -= (size_t)e->header + n;
		if (n > 0)
			return AT_FRAME;
	}
	return AT_END;
}

/* One read; 0 when the stream is of no use any more. */
static int
feed(struct frame_input *in, struct expected *e, const uint8_t *data, size_t size) {
	uint8_t *body;
	const uint8_t *wanted = NULL;
	size_t n, wanted_size = 0;
	for (;;) {
		switch (frame_next(in, e->header, &data, &size, &body, &n)) {
		case FRAME_READY:
			require(expect_next(e, &wanted, &wanted_size) == AT_FRAME);
			require(n == wanted_size && memcmp(body, wanted, n) == 0);
			skynet_free(body);
			break;
		case FRAME_TOO_LONG:
			require(expect_next(e, &wanted, &wanted_size) == AT_TOO_LONG);
			return 0;
		case FRAME_MORE:
			require(size == 0);
			require(in->room <= 2 * in->have + FIRST_ROOM);
			return 1;
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (size < 1)
		return 0;
	unsigned cut = data[0];
	struct expected e = {data + 1, size - 1, cut & 1 ? 4 : 2};
	struct frame_input in = {0};
	int useful = 1;
	for (size_t at = 1; at < size && useful;) {
		size_t n = 1 + cut % 61;
		if (n > size - at)
			n = size - at;
		cut = cut * 5 + 1;
		useful = feed(&in, &e, data + at, n);
		at += n;
	}
	const uint8_t *body;
	if (useful)
		require(expect_next(&e, &body, &size) == AT_END);
	frame_clear(&in);
	return 0;
}
