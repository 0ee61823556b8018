/*
 * SHA-1 (RFC 3174), for the WebSocket handshake, which asks for it by name. Not for security.
 */
#ifndef http_sha1_h
#define http_sha1_h

#include <stddef.h>
#include <stdint.h>

#define SHA1_SIZE 20

void http_sha1(const uint8_t *bytes, size_t size, uint8_t digest[SHA1_SIZE]);

#endif
