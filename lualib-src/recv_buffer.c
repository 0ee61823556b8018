/*
 * Bytes that wait to be read. Blocks are kept as they came; nodes belong to whoever has the list
 * of spare ones. A peer decides how its bytes are cut: a line in a million pieces must not be
 * looked at a million times, so a search remembers how far it came.
 */
#include "recv_buffer.h"

#include "skynet_malloc.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

void
recv_push(struct recv_buffer *b, struct recv_node *n, char *block, int sz) {
	n->block = block;
	n->sz = sz;
	n->next = NULL;
	if (b->tail)
		b->tail->next = n;
	else
		b->head = n;
	b->tail = n;
	b->size += sz;
}

void
recv_refind(struct recv_buffer *b) {
	b->looked = NULL;
	b->before = 0;
}

static void
drop_head(struct recv_buffer *b, struct recv_node **spare) {
	struct recv_node *n = b->head;
	b->head = n->next;
	if (b->head == NULL)
		b->tail = NULL;
	b->offset = 0;
	skynet_free(n->block);
	n->block = NULL;
	n->sz = 0;
	n->next = *spare;
	*spare = n;
}

/* Take n bytes off the front, to `to` unless it's NULL. */
static void
consume(struct recv_buffer *b, char *to, int n, struct recv_node **spare) {
	recv_refind(b);
	b->size -= n;
	while (n > 0) {
		int have = b->head->sz - b->offset;
		int part = have < n ? have : n;
		if (to) {
			memcpy(to, b->head->block + b->offset, (size_t)part);
			to += part;
		}
		n -= part;
		b->offset += part;
		if (b->offset == b->head->sz)
			drop_head(b, spare);
	}
}

void
recv_skip(struct recv_buffer *b, int n, struct recv_node **spare) {
	consume(b, NULL, n, spare);
}

void
recv_clear(struct recv_buffer *b, struct recv_node **spare) {
	while (b->head)
		drop_head(b, spare);
	b->size = 0;
	recv_refind(b);
}

void
recv_take(lua_State *L, struct recv_buffer *b, int n, struct recv_node **spare) {
	if (n == 0) {
		lua_pushliteral(L, "");
	} else if (n <= b->head->sz - b->offset) {
		lua_pushlstring(L, b->head->block + b->offset, (size_t)n);
		consume(b, NULL, n, spare);
	} else {
		luaL_Buffer out;
		consume(b, luaL_buffinitsize(L, &out, (size_t)n), n, spare);
		luaL_pushresultsize(&out, (size_t)n);
	}
}

/* Does the separator begin at this position? It may go on in the next blocks. */
static bool
matches(const struct recv_node *n, int at, const char *sep, size_t len) {
	for (size_t i = 0; i < len; i++, at++) {
		while (n && at == n->sz) {
			n = n->next;
			at = 0;
		}
		if (n == NULL || n->block[at] != sep[i])
			return false;
	}
	return true;
}

int
recv_find(struct recv_buffer *b, const char *sep, size_t len) {
	struct recv_node *n = b->looked ? b->looked : b->head;
	int before = b->before;
	for (; n; n = n->next) {
		const char *start = n->block + (n == b->head ? b->offset : 0);
		const char *end = n->block + n->sz;
		/* where it may begin and go on in what is yet to come is looked at again */
		if ((size_t)(b->size - before) + 1 >= len) {
			b->looked = n;
			b->before = before;
		}
		for (const char *p = start; (p = memchr(p, sep[0], (size_t)(end - p))) != NULL; p++) {
			if (matches(n, (int)(p - n->block), sep, len))
				return before + (int)(p - start);
		}
		before += (int)(end - start);
	}
	return -1;
}
