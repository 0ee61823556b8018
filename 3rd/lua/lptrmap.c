/*
 * A map from pointers to pointers: open addressing, linear probing, at most half full.
 *
 * Memory is the process's, not a state's: no allocation here can start a collection or
 * raise. Owned and used by one thread at a time.
 */
#define lptrmap_c
#define LUA_CORE

#include <stdint.h>
#include <stdlib.h>

#include "lshare.h"

static size_t
home(const struct PtrMap *m, const void *key) {
	uint64_t h = (uint64_t)(uintptr_t)key * UINT64_C(0x9E3779B97F4A7C15);
	return (size_t)(h >> 32) & (m->size - 1);
}

/* The slot of the key, or the free one where it would go. */
static struct PtrSlot *
find(const struct PtrMap *m, const void *key) {
	size_t i = home(m, key);
	while (m->slot[i].key && m->slot[i].key != key)
		i = (i + 1) & (m->size - 1);
	return &m->slot[i];
}

static int
grow(struct PtrMap *m) {
	struct PtrMap bigger = {.n = m->n, .size = m->size ? m->size * 2 : 8};
	bigger.slot = calloc(bigger.size, sizeof(*bigger.slot));
	if (bigger.slot == NULL)
		return -1;
	for (size_t i = 0; i < m->size; i++) {
		if (m->slot[i].key)
			*find(&bigger, m->slot[i].key) = m->slot[i];
	}
	free(m->slot);
	*m = bigger;
	return 0;
}

void **
luaE_mapget(const struct PtrMap *m, const void *key) {
	if (m->n == 0)
		return NULL;
	struct PtrSlot *s = find(m, key);
	return s->key ? &s->value : NULL;
}

int
luaE_mapadd(struct PtrMap *m, const void *key, void *value) {
	if (m->n >= m->size / 2 && grow(m) != 0)
		return -1;
	*find(m, key) = (struct PtrSlot){key, value};
	m->n++;
	return 0;
}

void
luaE_mapremove(struct PtrMap *m, const void *key) {
	struct PtrSlot *s = m->n ? find(m, key) : NULL;
	if (s == NULL || s->key == NULL)
		return;
	s->key = NULL;
	m->n--;
	/* what follows without a gap may have been pushed here by the removed key */
	size_t i = (size_t)(s - m->slot);
	for (;;) {
		i = (i + 1) & (m->size - 1);
		struct PtrSlot moved = m->slot[i];
		if (moved.key == NULL)
			return;
		m->slot[i].key = NULL;
		*find(m, moved.key) = moved;
	}
}

void
luaE_mapfree(struct PtrMap *m) {
	free(m->slot);
	*m = (struct PtrMap){0};
}
