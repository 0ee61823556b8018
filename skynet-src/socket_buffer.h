/* What a service hands to a socket to be sent. */
#ifndef socket_buffer_h
#define socket_buffer_h

#include <stdlib.h>

/* MEMORY: a heap block, given away. OBJECT: by the object interface. RAWPOINTER: borrowed. */
#define SOCKET_BUFFER_MEMORY 0
#define SOCKET_BUFFER_OBJECT 1
#define SOCKET_BUFFER_RAWPOINTER 2

struct socket_sendbuffer {
	int id;
	int type;
	const void *buffer;
	size_t sz;
};

#endif
