/*
 * A cluster link's stream, cut at random places: whole frames come out as they were, and the
 * payloads of parts that go on as they come make up the same bytes, whatever the cuts.
 */
#include "../../lualib-src/cluster_stream.c"

#include "tap.h"

#define STREAM_MAX (1 << 20)
#define RUNS 300

/* A log of what came: frames as they are, parts without their boundaries. */
struct seen {
	uint8_t bytes[STREAM_MAX];
	size_t n;
	size_t part; /* bytes of the part that is arriving */
	int frames;
	int stop_at; /* this frame is refused; 0: none */
	bool parts;  /* what begins with 2 is part of something */
};

static void
note(struct seen *s, const uint8_t *data, size_t sz) {
	memcpy(s->bytes + s->n, data, sz);
	s->n += sz;
}

static void
note_length(struct seen *s, size_t sz) {
	uint8_t length[2] = {(uint8_t)(sz >> 8), (uint8_t)sz};
	note(s, length, 2);
}

static bool
on_frame(void *ud, const uint8_t *body, size_t sz) {
	struct seen *s = ud;
	note_length(s, sz);
	note(s, body, sz);
	return ++s->frames != s->stop_at;
}

static bool
is_part(void *ud, const uint8_t *head) {
	struct seen *s = ud;
	return s->parts && head[0] == 2;
}

static bool
on_part(void *ud, const uint8_t *head, const uint8_t *data, size_t sz, size_t rest) {
	struct seen *s = ud;
	if (s->part == 0) {
		note_length(s, CLUSTER_PART_HEAD + sz + rest);
		note(s, head, CLUSTER_PART_HEAD);
	}
	note(s, data, sz);
	s->part = rest;
	return true;
}

static const struct cluster_sink sink = {on_frame, is_part, on_part};
static uint8_t stream[STREAM_MAX];
static struct seen seen;

static size_t
random_stream(void) {
	size_t n = 0;
	for (int frames = 1 + rand() % 20; frames > 0; frames--) {
		size_t sz = rand() % 3 ? (size_t)rand() % 12 : (size_t)rand() % 0x10000;
		if (n + sz + 2 > STREAM_MAX)
			break;
		stream[n] = (uint8_t)(sz >> 8);
		stream[n + 1] = (uint8_t)sz;
		for (size_t i = 0; i < sz; i++)
			stream[n + 2 + i] = (uint8_t)(i == 0 ? rand() % 4 : rand());
		n += sz + 2;
	}
	return n;
}

/* Each piece is a block of its own, so that a sanitizer sees what is read past its end. */
static bool
feed_in_pieces(struct cluster_stream *st, size_t n, size_t longest) {
	for (size_t at = 0; at < n;) {
		size_t sz = 1 + (size_t)rand() % longest;
		sz = sz < n - at ? sz : n - at;
		uint8_t *piece = malloc(sz);
		if (piece == NULL)
			abort();
		memcpy(piece, stream + at, sz);
		bool good = cluster_stream_feed(st, &sink, &seen, piece, sz);
		free(piece);
		if (!good)
			return false;
		at += sz;
	}
	return true;
}

static void
test_cuts(void) {
	static const size_t longest[] = {1, 3, 9, 100, 5000, 70000, STREAM_MAX};
	int wrong = 0;
	for (int run = 0; run < RUNS; run++) {
		struct cluster_stream st = {0};
		memset(&seen, 0, sizeof(seen));
		seen.parts = run % 2;
		size_t n = random_stream();
		bool good = feed_in_pieces(&st, n, longest[run % 7]);
		if (!good || seen.n != n || memcmp(seen.bytes, stream, n) != 0 || st.have || st.rest)
			wrong++;
		if (st.room > INPUT_KEPT)
			wrong++;
		cluster_stream_reset(&st);
	}
	ok(wrong == 0, "frames and parts come out as they went in, wherever they are cut");
}

static void
test_stop(void) {
	struct cluster_stream st = {0};
	memset(&seen, 0, sizeof(seen));
	memset(stream, 0, 30); /* fifteen empty frames */
	seen.stop_at = 7;
	bool good = cluster_stream_feed(&st, &sink, &seen, stream, 30);
	ok(!good && seen.frames == 7, "nothing comes after a frame that was refused");
	cluster_stream_reset(&st);
}

static void
test_memory(void) {
	struct cluster_stream st = {0};
	memset(&seen, 0, sizeof(seen));
	stream[0] = stream[1] = 0xff;
	stream[2] = 0;
	(void)cluster_stream_feed(&st, &sink, &seen, stream, 3);
	ok(st.room <= 64, "a frame that is only announced takes no memory");
	cluster_stream_reset(&st);
}

int
main(void) {
	srand((unsigned)tap_seed());
	test_cuts();
	test_stop();
	test_memory();
	return done();
}
