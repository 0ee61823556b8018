/* What a service hands to a socket to be sent. */
#ifndef socket_buffer_h
#define socket_buffer_h

#include <stdlib.h>

/* type */
#define SOCKET_BUFFER_RAWPOINTER 2 /* borrowed: what isn't sent at once is copied */
#define SOCKET_BUFFER_OBJECT 1     /* by the object interface, which has its size: sz is 0 */
#define SOCKET_BUFFER_MEMORY 0     /* a block of the heap, given away */

struct socket_sendbuffer {
	int id, type;
	const void *buffer;
	size_t sz; /* bytes */
};

#endif
