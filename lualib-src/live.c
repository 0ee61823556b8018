/* Tables of live objects: open addressing, linear probing, deletion by shifting back. */
#include "live.h"

#include "skynet_handle.h"
#include "skynet_harbor.h"
#include "skynet_malloc.h"
#include "skynet_runtime.h"
#include "skynet_server.h"

#define FIRST_SIZE 64

static size_t
home(const struct live *t, uint64_t id) {
	return (size_t)((id * 0x9e3779b97f4a7c15u) >> 20) & (t->size - 1);
}

/* The id's slot, or the empty one where it would go. */
static struct live_slot *
place(const struct live *t, uint64_t id) {
	size_t i = home(t, id);
	while (t->slot[i].id != 0 && t->slot[i].id != id)
		i = (i + 1) & (t->size - 1);
	return &t->slot[i];
}

static bool
resize(struct live *t, size_t size) {
	struct live_slot *old = t->slot;
	size_t n = t->size;
	struct live_slot *slot = skynet_calloc(size, sizeof(*slot));
	if (slot == NULL)
		return false;
	t->slot = slot;
	t->size = size;
	for (size_t i = 0; i < n; i++) {
		if (old[i].id != 0)
			*place(t, old[i].id) = old[i];
	}
	skynet_free(old);
	return true;
}

bool
live_insert(struct live *t, uint64_t id, void *object) {
	if (t->used >= t->size / 4 * 3 && !resize(t, t->size ? t->size * 2 : FIRST_SIZE))
		return false;
	*place(t, id) = (struct live_slot){id, object};
	t->used++;
	return true;
}

void *
live_find(const struct live *t, uint64_t id) {
	if (t->size == 0 || id == 0)
		return NULL;
	struct live_slot *s = place(t, id);
	return s->id ? s->object : NULL;
}

/* Close the gap at i: what probed over it moves back. */
static void
shift_back(struct live *t, size_t i) {
	size_t mask = t->size - 1;
	for (size_t j = (i + 1) & mask; t->slot[j].id != 0; j = (j + 1) & mask) {
		size_t want = home(t, t->slot[j].id);
		if (((j - want) & mask) >= ((j - i) & mask)) {
			t->slot[i] = t->slot[j];
			i = j;
		}
	}
	t->slot[i] = (struct live_slot){0, NULL};
}

void *
live_remove(struct live *t, uint64_t id) {
	if (t->size == 0 || id == 0)
		return NULL;
	struct live_slot *s = place(t, id);
	if (s->id == 0)
		return NULL;
	void *object = s->object;
	shift_back(t, (size_t)(s - t->slot));
	t->used--;
	/* a burst's table goes back; when there's no memory for a smaller one, this one serves */
	if (t->size > FIRST_SIZE && t->used < t->size / 8)
		(void)resize(t, t->size / 2);
	return object;
}

void
live_share(void *block) {
	skynet_account_give(block);
}

void
live_take(void *block) {
	skynet_account_take(block);
}

void
live_free(void *block) {
	live_take(block);
	skynet_free(block);
}

bool
live_service(uint32_t handle) {
	if (skynet_harbor_message_isremote(handle))
		return true;
	struct skynet_context *ctx = skynet_handle_grab(handle);
	if (ctx == NULL)
		return false;
	skynet_context_release(ctx);
	return true;
}
