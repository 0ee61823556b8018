#include "cluster_stream.h"

#include "skynet_malloc.h"

#include <string.h>

#define LENGTH 2
#define INPUT_KEPT 4096 /* a larger buffer isn't kept for the next frame */

struct bytes {
	const uint8_t *data;
	size_t sz;
};

static size_t
frame_size(const uint8_t *p) {
	return (size_t)p[0] << 8 | p[1];
}

static void
skip(struct bytes *b, size_t n) {
	b->data += n;
	b->sz -= n;
}

/* A frame is known to be incomplete: do its bytes go on as they come? `p` is its length. */
static bool
begin_part(struct cluster_stream *st, const struct cluster_sink *sink, void *ud,
           const uint8_t *p) {
	if (!sink->is_part(ud, p + LENGTH))
		return false;
	memcpy(st->head, p + LENGTH, CLUSTER_PART_HEAD);
	st->rest = frame_size(p) - CLUSTER_PART_HEAD;
	return true;
}

static bool
go_on_with_part(struct cluster_stream *st, const struct cluster_sink *sink, void *ud,
                struct bytes *b) {
	size_t n = b->sz < st->rest ? b->sz : st->rest;
	const uint8_t *data = b->data;
	st->rest -= n;
	skip(b, n);
	return sink->part(ud, st->head, data, n, st->rest);
}

/* Add to the beginning of a frame until there are `want` bytes. False: there are fewer. */
static bool
complete(struct cluster_stream *st, size_t want, struct bytes *b) {
	size_t lacks = st->have < want ? want - st->have : 0;
	size_t n = lacks < b->sz ? lacks : b->sz;
	if (st->room < st->have + n) {
		/* what is announced takes no more than twice what came */
		st->room = (st->have + n) * 2 < want ? (st->have + n) * 2 : want;
		st->input = skynet_realloc(st->input, st->room);
	}
	if (n)
		memcpy(st->input + st->have, b->data, n);
	st->have += n;
	skip(b, n);
	return n == lacks;
}

static void
forget_input(struct cluster_stream *st) {
	st->have = 0;
	if (st->room > INPUT_KEPT) {
		skynet_free(st->input);
		st->input = NULL;
		st->room = 0;
	}
}

/* The frame whose beginning was kept. Returns as feed does; it may take all there is. */
static bool
go_on_with_input(struct cluster_stream *st, const struct cluster_sink *sink, void *ud,
                 struct bytes *b) {
	if (!complete(st, LENGTH, b))
		return true;
	size_t whole = LENGTH + frame_size(st->input);
	size_t head = LENGTH + CLUSTER_PART_HEAD;
	if (whole > head && st->have <= head) {
		if (!complete(st, head, b))
			return true;
		if (begin_part(st, sink, ud, st->input)) {
			forget_input(st);
			return true;
		}
	}
	if (!complete(st, whole, b))
		return true;
	bool ok = sink->frame(ud, st->input + LENGTH, whole - LENGTH);
	forget_input(st);
	return ok;
}

/* What remains is less than a frame. */
static void
keep_beginning(struct cluster_stream *st, const struct cluster_sink *sink, void *ud,
               struct bytes *b) {
	if (b->sz >= LENGTH + CLUSTER_PART_HEAD && begin_part(st, sink, ud, b->data))
		skip(b, LENGTH + CLUSTER_PART_HEAD);
	else
		(void)complete(st, b->sz, b);
}

bool
cluster_stream_feed(struct cluster_stream *st, const struct cluster_sink *sink, void *ud,
                    const uint8_t *data, size_t sz) {
	struct bytes b = {data, sz};
	bool ok = true;
	while (ok && b.sz > 0) {
		if (st->rest > 0) {
			ok = go_on_with_part(st, sink, ud, &b);
		} else if (st->have > 0) {
			ok = go_on_with_input(st, sink, ud, &b);
		} else if (b.sz < LENGTH || b.sz - LENGTH < frame_size(b.data)) {
			keep_beginning(st, sink, ud, &b);
		} else {
			const uint8_t *body = b.data + LENGTH;
			size_t n = frame_size(b.data);
			skip(&b, LENGTH + n);
			ok = sink->frame(ud, body, n);
		}
	}
	return ok;
}

void
cluster_stream_reset(struct cluster_stream *st) {
	skynet_free(st->input);
	memset(st, 0, sizeof(*st));
}
