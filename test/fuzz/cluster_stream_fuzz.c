/*
 * Fuzz the cutter of a cluster link's stream.
 *
 *   make fuzz F=cluster_stream
 *
 * The input's first byte says how long pieces are, the second which heads are parts. Besides memory:
 * what comes out are the bytes that went in, and no more than was there.
 */
#include "../../lualib-src/cluster_stream.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	const uint8_t *next; /* what must come now */
	const uint8_t *end;
	uint8_t part;
	bool inside; /* a part is arriving */
};

static void
expect(struct seen *s, const uint8_t *data, size_t sz) {
	if (sz > (size_t)(s->end - s->next) || memcmp(s->next, data, sz) != 0)
		abort();
	s->next += sz;
}

static void
expect_length(struct seen *s, size_t sz) {
	uint8_t length[2] = {(uint8_t)(sz >> 8), (uint8_t)sz};
	expect(s, length, 2);
}

static bool
on_frame(void *ud, const uint8_t *body, size_t sz) {
	expect_length(ud, sz);
	expect(ud, body, sz);
	return sz == 0 || body[0] != 0xff;
}

static bool
is_part(void *ud, const uint8_t *head) {
	struct seen *s = ud;
	return head[0] == s->part;
}

static bool
on_part(void *ud, const uint8_t *head, const uint8_t *data, size_t sz, size_t rest) {
	struct seen *s = ud;
	if (!s->inside) {
		expect_length(s, CLUSTER_PART_HEAD + sz + rest);
		expect(s, head, CLUSTER_PART_HEAD);
	}
	expect(s, data, sz);
	s->inside = rest > 0;
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static const struct cluster_sink sink = {on_frame, is_part, on_part};
	struct cluster_stream st = {0};
	if (size < 2)
		return 0;
	struct seen s = {data + 2, data + size, data[1], false};
	size_t piece = data[0] + 1u;
	for (const uint8_t *p = s.next; p < s.end;) {
		size_t n = (size_t)(s.end - p) < piece ? (size_t)(s.end - p) : piece;
		if (!cluster_stream_feed(&st, &sink, &s, p, n))
			break;
		p += n;
		if (st.room > size * 2 + 16)
			abort();
	}
	cluster_stream_reset(&st);
	return 0;
}
