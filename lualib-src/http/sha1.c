/*
 * SHA-1 of a short text that is there as a whole. The library's own, so that WebSockets don't
 * need OpenSSL; nothing but the opening handshake uses it, where speed doesn't matter.
 */
#include "sha1.h"

#include <string.h>

#define BLOCK 64

static uint32_t
rotate(uint32_t v, int n) {
	return v << n | v >> (32 - n);
}

static uint32_t
load(const uint8_t *p) {
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void
store(uint8_t *p, uint32_t v) {
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* The round's function and constant. */
static uint32_t
mix(int round, uint32_t b, uint32_t c, uint32_t d) {
	if (round < 20)
		return ((b & c) | (~b & d)) + 0x5a827999;
	if (round < 40)
		return (b ^ c ^ d) + 0x6ed9eba1;
	if (round < 60)
		return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
	return (b ^ c ^ d) + 0xca62c1d6;
}

static void
compress(uint32_t state[5], const uint8_t block[BLOCK]) {
	uint32_t w[80];
	uint32_t v[5];
	for (int i = 0; i < 16; i++)
		w[i] = load(block + 4 * i);
	for (int i = 16; i < 80; i++)
		w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	memcpy(v, state, sizeof(v));
	for (int i = 0; i < 80; i++) {
		uint32_t next = rotate(v[0], 5) + mix(i, v[1], v[2], v[3]) + v[4] + w[i];
		v[4] = v[3];
		v[3] = v[2];
		v[2] = rotate(v[1], 30);
		v[1] = v[0];
		v[0] = next;
	}
	for (int i = 0; i < 5; i++)
		state[i] += v[i];
}

void
http_sha1(const uint8_t *bytes, size_t size, uint8_t digest[SHA1_SIZE]) {
	uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
	uint8_t tail[2 * BLOCK] = {0};
	uint64_t bits = (uint64_t)size * 8;
	for (; size >= BLOCK; size -= BLOCK, bytes += BLOCK)
		compress(state, bytes);
	memcpy(tail, bytes, size);
	tail[size] = 0x80;
	size_t end = size + 9 <= BLOCK ? BLOCK : 2 * BLOCK;
	store(tail + end - 8, (uint32_t)(bits >> 32));
	store(tail + end - 4, (uint32_t)bits);
	for (size_t i = 0; i < end; i += BLOCK)
		compress(state, tail + i);
	for (int i = 0; i < 5; i++)
		store(digest + 4 * i, state[i]);
}
