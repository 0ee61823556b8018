/* A message, and how its type travels in the top byte of its size. */
#ifndef SKYNET_MESSAGE_QUEUE_H
#define SKYNET_MESSAGE_QUEUE_H

#include <stdint.h>
#include <stdlib.h>

struct skynet_message {
	uint32_t source;
	int session;
	void *data;
	size_t sz;
};

#define MESSAGE_TYPE_MASK (SIZE_MAX >> 8)
#define MESSAGE_TYPE_SHIFT ((sizeof(size_t) - 1) * 8)

#endif
