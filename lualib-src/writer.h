/*
 * Bytes that an encoder writes.
 *
 * They grow in a buffer on the C stack; what outgrows it moves to userdata, kept alive by a stack
 * slot, so that an error from anywhere (a metamethod of the user's, for instance) leaks nothing,
 * and a metamethod that encodes something itself disturbs nothing.
 */
#ifndef skynet_writer_h
#define skynet_writer_h

#include <lua.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct writer {
	lua_State *L;
	uint8_t *buf;
	size_t len;
	size_t cap;
	size_t max;                     /* bytes there may be */
	void (*too_large)(lua_State *); /* raises: there would be more */
	int slot;                       /* stack index of the userdata that `buf` is in */
};

static inline void
writer_grow(struct writer *w, size_t need) {
	if (need > w->max - w->len)
		w->too_large(w->L);
	size_t cap = w->cap * 2;
	while (cap - w->len < need)
		cap *= 2;
	if (cap > w->max)
		cap = w->max;
	uint8_t *buf = lua_newuserdatauv(w->L, cap, 0);
	memcpy(buf, w->buf, w->len);
	lua_replace(w->L, w->slot);
	w->buf = buf;
	w->cap = cap;
}

/* Room for `n` more bytes, which count from now on. */
static inline uint8_t *
extend(struct writer *w, size_t n) {
	if (w->cap - w->len < n)
		writer_grow(w, n);
	uint8_t *p = w->buf + w->len;
	w->len += n;
	return p;
}

#endif
