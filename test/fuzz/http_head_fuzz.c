/*
 * Fuzz the parser of HTTP heads (lualib-src/http/head.c) with requests and responses.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE test/fuzz/http_head_fuzz.c
 *   ./a.out test/fuzz/corpus/http_head
 *
 * Besides memory: texts lie inside the input, and a request that is accepted says in one way only
 * where it ends.
 */
#include "../../lualib-src/http/head.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool ok) {
	if (!ok)
		abort();
}

static void
check_inside(struct http_text t, const char *bytes, size_t size) {
	require(t.at >= bytes && t.at + t.size <= bytes + size);
}

static void
check_fields(const struct http_head *h, const char *bytes, size_t size) {
	require(h->count <= HTTP_FIELDS_MAX && h->size <= size);
	for (unsigned i = 0; i < h->count; i++) {
		check_inside(h->field[i].name, bytes, h->size);
		check_inside(h->field[i].value, bytes, h->size);
		require(all_token(h->field[i].name));
	}
}

/* At most one field delimits the body, and no value goes on in another line. */
static void
check_request(const struct http_head *h) {
	unsigned delimiters = 0;
	for (unsigned i = 0; i < h->count; i++) {
		const struct http_field *f = &h->field[i];
		delimiters += is(f->name, "content-length") || is(f->name, "transfer-encoding");
		require(!f->folded && !has_control(f->value.at, f->value.at + f->value.size));
	}
	require(delimiters <= 1 && !(h->chunked && h->length >= 0));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct http_head h;
	char *bytes = malloc(size ? size : 1); /* so that reading past the end is seen */
	memcpy(bytes, data, size);
	if (http_parse_request(&h, bytes, size, 8192) == HTTP_OK) {
		check_fields(&h, bytes, size);
		check_inside(h.method, bytes, h.size);
		check_inside(h.target, bytes, h.size);
		check_request(&h);
		struct http_head again;
		require(http_parse_request(&again, bytes, h.size, 8192) == HTTP_OK);
		require(http_parse_request(&again, bytes, h.size - 1, 8192) != HTTP_OK);
	}
	if (http_parse_response(&h, bytes, size, 8192) == HTTP_OK) {
		check_fields(&h, bytes, size);
		require(h.status >= 100 && h.status <= 999);
	}
	free(bytes);
	return 0;
}
