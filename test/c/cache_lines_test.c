/* What a service notes of its memory: each line once, as many as there's room for, none too far
 * away. */
#include "cache_lines.h"

#include "tap.h"

#include <stdlib.h>
#include <string.h>

static int
line_of(const void *p) {
	return (int)((uintptr_t)p / CACHE_LINE % 1000);
}

int
main(void) {
	const size_t size = (size_t)CACHE_LINE * 200;
	char *memory = aligned_alloc(CACHE_LINE, size);
	if (memory == NULL)
		abort();
	memset(memory, 0, size);
	struct cache_lines *c = (void *)(memory + 100 * CACHE_LINE + 8);

	cache_lines_add(c, memory + 7);
	cache_lines_add(c, memory + CACHE_LINE - 1);
	cache_lines_add(c, memory + CACHE_LINE);
	cache_lines_add(c, memory + size - 1);
	ok(c->n == 3, "each line once");
	ok(line_of(cache_lines_at(c, 0)) == line_of(memory) &&
	       line_of(cache_lines_at(c, 1)) == line_of(memory + CACHE_LINE) &&
	       line_of(cache_lines_at(c, 2)) == line_of(memory + size - 1),
	   "before and after where it's noted");

	cache_lines_add(c, (void *)((uintptr_t)c ^ (uintptr_t)1 << 46));
	ok(c->n == 3, "not what is too far away");

	for (int i = 0; i < 150; i++)
		cache_lines_add(c, memory + i * CACHE_LINE);
	ok(c->n == CACHE_LINES_MAX, "as many as there's room for");

	cache_lines_fetch(c);
	c->n = 0;
	void *gone = malloc((size_t)1 << 26);
	cache_lines_add(c, gone);
	free(gone);
	cache_lines_fetch(c);
	ok(c->n <= 1, "what isn't mapped any more does no harm");
	free(memory);
	return done();
}
