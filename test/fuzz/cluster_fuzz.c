/*
 * Fuzz the reader of cluster frames, requests and answers.
 *
 *   make fuzz F=cluster
 *
 * Besides memory: what is read lies inside the frame, and a complete request is written again as
 * the same bytes.
 */
#include "../../lualib-src/cluster_frame.c"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int good) {
	if (!good)
		abort();
}

static int
inside(const void *p, size_t n, const uint8_t *data, size_t size) {
	const uint8_t *at = p;
	return n == 0 || (at >= data && n <= size && at + n <= data + size);
}

static void
write_again(const struct cluster_request *r, const uint8_t *data, size_t size) {
	uint8_t out[CLUSTER_HEADER_MAX];
	if (r->to.name && r->to.namelen == 0)
		return; /* read, but never written */
	size_t n = cluster_write_request(out, &r->to, r->session, r->sz);
	require(n - 2 + r->sz == size && memcmp(out + 2, data, n - 2) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct cluster_request r;
	struct cluster_answer a;
	char why[128] = "";
	if (size > 65535)
		return 0;
	if (cluster_read_request(data, size, &r, why, sizeof(why)) == 0) {
		require(inside(r.data, r.sz, data, size));
		require(inside(r.to.name, r.to.namelen, data, size));
		if (r.kind == CLUSTER_COMPLETE)
			write_again(&r, data, size);
	} else {
		require(why[0] != '\0');
	}
	if (cluster_read_answer(data, size, &a) == 0)
		require(inside(a.data, a.sz, data, size));
	return 0;
}
