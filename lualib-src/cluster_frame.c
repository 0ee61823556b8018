#include "cluster_frame.h"

#include <stdio.h>
#include <string.h>

enum {
	REQ_HANDLE = 0x00,
	REQ_BEGIN = 0x01,
	REQ_MIDDLE = 0x02,
	REQ_LAST = 0x03,
	REQ_TRACE = 0x04,
	REQ_PUSH = 0x40, /* added to a begin */
	REQ_NAME = 0x80, /* added when the address is a name */
};

static void
put32(uint8_t *p, uint32_t v) {
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}

static uint32_t
get32(const uint8_t *p) {
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void
put_length(uint8_t *p, size_t sz) {
	p[0] = (uint8_t)(sz >> 8);
	p[1] = (uint8_t)sz;
}

/*
 * ---- reading ----
 */

/* The address at p, of a frame with `fixed` bytes after it; bytes used, or 0. */
static size_t
read_address(const uint8_t *p, size_t sz, size_t fixed, bool name, struct cluster_address *a) {
	a->name = NULL;
	a->namelen = 0;
	a->handle = 0;
	if (!name) {
		if (sz < 4 + fixed)
			return 0;
		a->handle = get32(p);
		return 4;
	}
	if (sz < 1 || sz < 1 + (size_t)p[0] + fixed)
		return 0;
	a->name = (const char *)p + 1;
	a->namelen = p[0];
	return 1 + (size_t)p[0];
}

static int
read_complete(const uint8_t *p, size_t sz, bool name, struct cluster_request *r) {
	size_t n = read_address(p, sz, 4, name, &r->to);
	if (n == 0)
		return -1;
	r->kind = CLUSTER_COMPLETE;
	r->session = get32(p + n);
	r->push = r->session == 0;
	r->data = p + n + 4;
	r->sz = sz - n - 4;
	return 0;
}

static int
read_begin(const uint8_t *p, size_t sz, bool name, bool push, struct cluster_request *r) {
	size_t n = read_address(p, sz, 8, name, &r->to);
	if (n == 0 || (!name && sz != 12))
		return -1;
	r->kind = CLUSTER_BEGIN;
	r->session = get32(p + n);
	r->total = get32(p + n + 4);
	r->push = push;
	return 0;
}

int
cluster_read_request(const uint8_t *body, size_t sz, struct cluster_request *r, char *why,
                     size_t whysz) {
	memset(r, 0, sizeof(*r));
	if (sz == 0) {
		snprintf(why, whysz, "Invalid req package. size == 0");
		return -1;
	}
	const uint8_t *p = body + 1;
	size_t n = sz - 1;
	int type = body[0];
	bool name = (type & REQ_NAME) != 0;
	switch (type) {
	case REQ_HANDLE:
	case REQ_HANDLE | REQ_NAME:
		if (read_complete(p, n, name, r) == 0)
			return 0;
		snprintf(why, whysz, "Invalid cluster message (size=%d)", (int)sz);
		return -1;
	case REQ_BEGIN:
	case REQ_BEGIN | REQ_PUSH:
	case REQ_BEGIN | REQ_NAME:
	case REQ_BEGIN | REQ_PUSH | REQ_NAME:
		if (read_begin(p, n, name, (type & REQ_PUSH) != 0, r) == 0)
			return 0;
		if (name)
			snprintf(why, whysz, "Invalid cluster message (size=%d)", (int)sz);
		else
			snprintf(why, whysz, "Invalid cluster message size %d (multi req must be 13)",
			         (int)sz);
		return -1;
	case REQ_MIDDLE:
	case REQ_LAST:
		if (n < 4) {
			snprintf(why, whysz, "Invalid cluster multi part message");
			return -1;
		}
		r->kind = type == REQ_LAST ? CLUSTER_LAST : CLUSTER_MIDDLE;
		r->session = get32(p);
		r->data = p + 4;
		r->sz = n - 4;
		return 0;
	case REQ_TRACE:
		r->kind = CLUSTER_TRACE;
		r->data = p;
		r->sz = n;
		return 0;
	default:
		snprintf(why, whysz, "Invalid req package type %d", (int8_t)type);
		return -1;
	}
}

int
cluster_read_answer(const uint8_t *body, size_t sz, struct cluster_answer *a) {
	if (sz < 5)
		return -1;
	a->session = get32(body);
	a->type = body[4];
	a->data = body + 5;
	a->sz = sz - 5;
	a->total = 0;
	if (a->type > ANSWER_LAST || (a->type == ANSWER_BEGIN && sz != 9))
		return -1;
	if (a->type == ANSWER_BEGIN)
		a->total = get32(a->data);
	return 0;
}

/*
 * ---- writing ----
 */

static size_t
write_address(uint8_t *p, const struct cluster_address *to) {
	if (to->name == NULL) {
		put32(p, to->handle);
		return 4;
	}
	p[0] = (uint8_t)to->namelen;
	memcpy(p + 1, to->name, to->namelen);
	return 1 + to->namelen;
}

size_t
cluster_write_request(uint8_t *out, const struct cluster_address *to, uint32_t session,
                      size_t sz) {
	out[2] = to->name ? REQ_HANDLE | REQ_NAME : REQ_HANDLE;
	size_t n = 3 + write_address(out + 3, to);
	put32(out + n, session);
	n += 4;
	put_length(out, n - 2 + sz);
	return n;
}

size_t
cluster_write_begin(uint8_t *out, const struct cluster_address *to, uint32_t session, bool push,
                    uint32_t total) {
	out[2] = (uint8_t)(REQ_BEGIN | (push ? REQ_PUSH : 0) | (to->name ? REQ_NAME : 0));
	size_t n = 3 + write_address(out + 3, to);
	put32(out + n, session);
	put32(out + n + 4, total);
	n += 8;
	put_length(out, n - 2);
	return n;
}

size_t
cluster_write_part(uint8_t *out, uint32_t session, size_t sz, bool last) {
	put_length(out, sz + 5);
	out[2] = last ? REQ_LAST : REQ_MIDDLE;
	put32(out + 3, session);
	return 7;
}

size_t
cluster_write_answer(uint8_t *out, uint32_t session, int type, size_t sz) {
	put_length(out, sz + 5);
	put32(out + 2, session);
	out[6] = (uint8_t)type;
	return 7;
}

size_t
cluster_write_answer_part(uint8_t *out, uint32_t session, size_t sz, bool last) {
	return cluster_write_answer(out, session, last ? ANSWER_LAST : ANSWER_MIDDLE, sz);
}
