/*
 * Calls that went to other harbors and have no answer yet.
 *
 * When a link breaks, each caller that waits for something behind it has to be told. A call is
 * known by its caller's handle and session; it's forgotten when its answer arrives by any link.
 * An answer that never passes here (the callee handed the request to a service of this node)
 * leaves its record behind: when the table is full, records of callers that are gone are dropped.
 *
 * Only the harbor service uses this, on whichever worker runs it.
 */
#ifndef harbor_pending_h
#define harbor_pending_h

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct call {
	uint32_t source; /* the caller; 0: an empty slot */
	uint32_t destination;
	int session;
	int type;
};

struct pending {
	struct call *slot; /* open addressing, at most half full */
	size_t size, used;
};

/* Remember a call; replaces one of the same source and session. */
void pending_add(struct pending *p, const struct call *c);
/* Forget a call. Returns false when there's none; `c` gets the record. */
bool pending_take(struct pending *p, uint32_t source, int session, struct call *c);
/* Take any call to this harbor out; returns false when there's none. `at` starts with 0. */
bool pending_next(struct pending *p, int harbor, size_t *at, struct call *c);
void pending_clear(struct pending *p);

#endif
