/* A snapshot of one socket, as netstat shows it. */
#ifndef socket_info_h
#define socket_info_h

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* type */
#define SOCKET_INFO_UNKNOWN 0
#define SOCKET_INFO_BIND 4 /* a descriptor that was adopted */
#define SOCKET_INFO_CLOSING 5
#define SOCKET_INFO_LISTEN 1
#define SOCKET_INFO_TCP 2
#define SOCKET_INFO_UDP 3

struct socket_info {
	int id, type;
	uint64_t opaque;       /* handle of the owner */
	uint64_t read, write;  /* bytes; a listener: connections accepted */
	uint64_t rtime, wtime; /* of the last of each */
	int64_t wbuffer;       /* bytes that wait to be sent */
	uint8_t reading, writing;
	char name[128]; /* the peer; a listener: its own address */
	struct socket_info *next;
};

struct socket_info *socket_info_create(struct socket_info *last);
void socket_info_release(struct socket_info *);

#ifdef __cplusplus
}
#endif

#endif
