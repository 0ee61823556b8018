/*
 * Bytes that wait to be read, against one flat string: whatever the cuts, what's taken and where
 * a separator is found are the same; and a search that goes on where it came to finds the same as
 * one from the front.
 */
#include "../../lualib-src/recv_buffer.c"

#include "tap.h"

#include <lualib.h>

#define RUNS 400
#define STEPS 200
#define FLAT_MAX (1 << 16)

struct flat {
	char bytes[FLAT_MAX];
	int size;
};

static int
flat_find(const struct flat *f, const char *sep, size_t len) {
	for (int i = 0; i + (int)len <= f->size; i++) {
		if (memcmp(f->bytes + i, sep, len) == 0)
			return i;
	}
	return -1;
}

static void
push_random(struct recv_buffer *b, struct flat *f, struct recv_node **spare, uint64_t *seed) {
	int sz = (int)(tap_random(seed) % (tap_random(seed) % 4 ? 6 : 60));
	if (f->size + sz > FLAT_MAX)
		return;
	struct recv_node *n = *spare;
	if (n)
		*spare = n->next;
	else
		n = skynet_malloc(sizeof(*n));
	char *block = skynet_malloc(sz ? (size_t)sz : 1);
	for (int i = 0; i < sz; i++)
		block[i] = "aab"[tap_random(seed) % 3];
	memcpy(f->bytes + f->size, block, (size_t)sz);
	f->size += sz;
	recv_push(b, n, block, sz);
}

static bool
take_and_compare(lua_State *L, struct recv_buffer *b, struct flat *f, struct recv_node **spare,
                 int n, bool skip) {
	bool same = true;
	if (skip) {
		recv_skip(b, n, spare);
	} else {
		size_t len;
		recv_take(L, b, n, spare);
		const char *s = lua_tolstring(L, -1, &len);
		same = len == (size_t)n && memcmp(s, f->bytes, len) == 0;
		lua_settop(L, 0);
	}
	f->size -= n;
	memmove(f->bytes, f->bytes + n, (size_t)f->size);
	return same && b->size == f->size;
}

static bool
run(lua_State *L, uint64_t *seed) {
	static const char *const separators[] = {"b", "ba", "aab", "bbb", "abab", "bbbbbb"};
	static struct flat f;
	struct recv_buffer b = {0};
	struct recv_node *spare = NULL;
	bool good = true;
	f.size = 0;
	const char *sep = separators[tap_random(seed) % 6];
	for (int i = 0; good && i < STEPS; i++) {
		switch (tap_random(seed) % 8) {
		case 0:
			sep = separators[tap_random(seed) % 6];
			recv_refind(&b);
			break;
		case 1:
			good = take_and_compare(L, &b, &f, &spare,
			                        (int)(tap_random(seed) % (uint64_t)(f.size + 1)),
			                        tap_random(seed) % 2);
			break;
		case 2:
		case 3:
		case 4:
			push_random(&b, &f, &spare, seed);
			break;
		default:
			good = recv_find(&b, sep, strlen(sep)) == flat_find(&f, sep, strlen(sep));
		}
	}
	recv_clear(&b, &spare);
	good = good && b.size == 0 && b.head == NULL && b.tail == NULL;
	while (spare) {
		struct recv_node *next = spare->next;
		skynet_free(spare);
		spare = next;
	}
	return good;
}

/* A peer that sends a long line byte by byte is looked at once per byte, not once per byte pair.
 */
static bool
long_line(void) {
	enum { BYTES = 1000000 };
	struct recv_buffer b = {0};
	struct recv_node *spare = NULL;
	static struct recv_node node[BYTES];
	int found = 0;
	for (int i = 0; i < BYTES; i++) {
		char *block = skynet_malloc(1);
		block[0] = i == BYTES - 1 ? '\n' : '\r';
		recv_push(&b, &node[i], block, 1);
		found = recv_find(&b, "\r\n", 2);
		if (found >= 0 && i < BYTES - 1)
			return false;
	}
	recv_clear(&b, &spare);
	return found == BYTES - 2;
}

int
main(void) {
	lua_State *L = luaL_newstate();
	uint64_t seed = tap_seed();
	int good = 0;
	while (good < RUNS && run(L, &seed))
		good++;
	ok(good == RUNS, "random cuts, separators, takes and skips");
	ok(long_line(), "a line of a million pieces");
	lua_close(L);
	return done();
}
