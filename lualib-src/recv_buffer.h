/*
 * Bytes that came from a socket and wait to be read: a list of the blocks they came in. Taking
 * them out copies them once, into a Lua string. See recv_buffer.c.
 */
#ifndef skynet_recv_buffer_h
#define skynet_recv_buffer_h

#include <lua.h>
#include <stddef.h>

struct recv_node {
	struct recv_node *next;
	char *block; /* owned; NULL in a spare node */
	int sz;
};

struct recv_buffer {
	struct recv_node *head, *tail;
	int size;                 /* bytes in all */
	int offset;               /* of the first block, used up already */
	struct recv_node *looked; /* recv_find has looked at what is before this node, */
	int before;               /* which is so many bytes */
};

/*
 * Append a block, which the buffer owns now, in a spare node. All sizes together fit an int: the
 * caller sees to it.
 */
void recv_push(struct recv_buffer *b, struct recv_node *n, char *block, int sz);
/*
 * Push the first n bytes, which are there, as a string; may raise (memory). Nodes that become
 * free are added to *spare, here and below.
 */
void recv_take(lua_State *L, struct recv_buffer *b, int n, struct recv_node **spare);
/* Drop the first n bytes, which are there. */
void recv_skip(struct recv_buffer *b, int n, struct recv_node **spare);
void recv_clear(struct recv_buffer *b, struct recv_node **spare);
/*
 * Bytes before the separator, or -1. Asked again for the same one, when nothing but bytes at the
 * end were added, it only looks at these.
 */
int recv_find(struct recv_buffer *b, const char *separator, size_t len);
/* The next search begins at the front: it's for another separator. */
void recv_refind(struct recv_buffer *b);

#endif
