/*
 * A hash table with linear probing. Removing moves later records of the same run back, so there
 * are no tombstones and a run ends at the first empty slot. The table is made anew when it's half
 * full, as large as the calls of living callers need.
 */
#include "pending.h"

#include "skynet_handle.h"
#include "skynet_malloc.h"
#include "skynet_server.h"

#include <string.h>

#define FIRST_SIZE 64

static size_t
home(const struct pending *p, uint32_t source, int session) {
	uint64_t key = ((uint64_t)source << 32 | (uint32_t)session) * UINT64_C(0x9e3779b97f4a7c15);
	return (size_t)(key >> 32) & (p->size - 1);
}

/* Where the call is, or the empty slot where it would be. */
static size_t
find(const struct pending *p, uint32_t source, int session) {
	size_t i = home(p, source, session);
	while (p->slot[i].source != 0 &&
	       (p->slot[i].source != source || p->slot[i].session != session))
		i = (i + 1) & (p->size - 1);
	return i;
}

static void
remove_at(struct pending *p, size_t hole) {
	size_t mask = p->size - 1;
	for (size_t i = (hole + 1) & mask; p->slot[i].source != 0; i = (i + 1) & mask) {
		size_t h = home(p, p->slot[i].source, p->slot[i].session);
		/* may it move to the hole? Only if its home isn't between the hole and itself */
		if (((i - h) & mask) >= ((i - hole) & mask)) {
			p->slot[hole] = p->slot[i];
			hole = i;
		}
	}
	p->slot[hole].source = 0;
	p->used--;
}

static bool
is_alive(uint32_t handle) {
	struct skynet_context *ctx = skynet_handle_grab(handle);
	if (ctx == NULL)
		return false;
	skynet_context_release(ctx);
	return true;
}

/* Empty the slots of callers that are gone; returns how many are left in use. */
static size_t
forget_dead(struct pending *p) {
	size_t left = 0;
	for (size_t i = 0; i < p->size; i++) {
		if (p->slot[i].source != 0 && !is_alive(p->slot[i].source))
			p->slot[i].source = 0; /* breaks runs: all of it is filled in anew */
		left += p->slot[i].source != 0;
	}
	return left;
}

/* Make room: at most a quarter full. */
static void
rebuild(struct pending *p) {
	struct pending fresh = {.size = FIRST_SIZE, .used = forget_dead(p)};
	while (fresh.size < fresh.used * 4)
		fresh.size *= 2;
	fresh.slot = skynet_calloc(fresh.size, sizeof(*fresh.slot));
	for (size_t i = 0; i < p->size; i++) {
		const struct call *c = &p->slot[i];
		if (c->source != 0)
			fresh.slot[find(&fresh, c->source, c->session)] = *c;
	}
	skynet_free(p->slot);
	*p = fresh;
}

void
pending_add(struct pending *p, const struct call *c) {
	if (p->used * 2 >= p->size)
		rebuild(p);
	size_t i = find(p, c->source, c->session);
	if (p->slot[i].source == 0)
		p->used++;
	p->slot[i] = *c;
}

bool
pending_take(struct pending *p, uint32_t source, int session, struct call *c) {
	if (p->size == 0)
		return false;
	size_t i = find(p, source, session);
	if (p->slot[i].source == 0)
		return false;
	*c = p->slot[i];
	remove_at(p, i);
	return true;
}

bool
pending_next(struct pending *p, int harbor, size_t *at, struct call *c) {
	while (*at < p->size) {
		const struct call *found = &p->slot[*at];
		if (found->source != 0 && (int)(found->destination >> HANDLE_REMOTE_SHIFT) == harbor) {
			*c = *found;
			remove_at(p, *at); /* another may have moved here: look again */
			return true;
		}
		++*at;
	}
	return false;
}

void
pending_clear(struct pending *p) {
	skynet_free(p->slot);
	memset(p, 0, sizeof(*p));
}
