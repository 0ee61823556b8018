/*
 * Encodings of module crypt: hexadecimal, base64, and the exclusive or of strings.
 *
 * Decoders refuse what isn't an encoding, with one tolerance of old: base64 may be mixed with
 * white space and other foreign characters, as long as a proper character follows, and may lack
 * its padding. No data of their own; every result is at most twice as long as its input.
 */
#include "crypt.h"

#include <lauxlib.h>
#include <stdint.h>

/* hexencode(bytes) -> lower case */
int
crypt_hexencode(lua_State *L) {
	static const char digit[] = "0123456789abcdef";
	size_t size;
	luaL_Buffer b;
	const uint8_t *s = (const uint8_t *)luaL_checklstring(L, 1, &size);
	luaL_argcheck(L, size < SIZE_MAX / 2, 1, "too long");
	char *out = luaL_buffinitsize(L, &b, size * 2);
	for (size_t i = 0; i < size; i++) {
		out[i * 2] = digit[s[i] >> 4];
		out[i * 2 + 1] = digit[s[i] & 15];
	}
	luaL_pushresultsize(&b, size * 2);
	return 1;
}

/* The value of a lower-case digit, or -1. */
static int
hex_value(char c) {
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* hexdecode(text) -> bytes; upper case is refused */
int
crypt_hexdecode(lua_State *L) {
	size_t size;
	luaL_Buffer b;
	const char *s = luaL_checklstring(L, 1, &size);
	if (size % 2)
		return luaL_error(L, "Invalid hex text size %d", (int)size);
	char *out = luaL_buffinitsize(L, &b, size / 2);
	for (size_t i = 0; i < size; i += 2) {
		int high = hex_value(s[i]), low = hex_value(s[i + 1]);
		if (high < 0 || low < 0)
			return luaL_error(L, "Invalid hex text");
		out[i / 2] = (char)(high << 4 | low);
	}
	luaL_pushresultsize(&b, size / 2);
	return 1;
}

/*
 * ---- base64 (RFC 4648) ----
 */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum { SKIP = -1, PAD = -2 };

/* base64encode(bytes) -> text, padded */
int
crypt_base64encode(lua_State *L) {
	size_t size;
	luaL_Buffer b;
	const uint8_t *s = (const uint8_t *)luaL_checklstring(L, 1, &size);
	luaL_argcheck(L, size < SIZE_MAX / 2, 1, "too long");
	size_t length = (size + 2) / 3 * 4, i;
	char *out = luaL_buffinitsize(L, &b, length);
	for (i = 0; i + 3 <= size; i += 3) {
		uint32_t v = (uint32_t)s[i] << 16 | (uint32_t)s[i + 1] << 8 | s[i + 2];
		*out++ = alphabet[v >> 18];
		*out++ = alphabet[v >> 12 & 63];
		*out++ = alphabet[v >> 6 & 63];
		*out++ = alphabet[v & 63];
	}
	if (i < size) {
		uint32_t v = (uint32_t)s[i] << 16 | (i + 1 < size ? (uint32_t)s[i + 1] << 8 : 0);
		*out++ = alphabet[v >> 18];
		*out++ = alphabet[v >> 12 & 63];
		*out++ = i + 1 < size ? alphabet[v >> 6 & 63] : '=';
		*out++ = '=';
	}
	luaL_pushresultsize(&b, length);
	return 1;
}

/* Values of the characters of ASCII; all others are skipped. */
static const int8_t ascii_value[128] = {
	-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
	-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 62,
	-1, -1, -1, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, -1, -1, -1, -2, -1, -1, -1, 0,
	1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
	23, 24, 25, -1, -1, -1, -1, -1, -1, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38,
	39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, -1, -1, -1, -1, -1,
};

static int
base64_value(char c) {
	return (uint8_t)c < 128 ? ascii_value[(uint8_t)c] : SKIP;
}

/* Read four values, with what isn't base64 between them left out; the end stands for padding. */
static int
read_group(const char **p, const char *end, int v[4]) {
	int n = 0;
	while (n < 4 && *p < end) {
		int value = base64_value(*(*p)++);
		if (value != SKIP)
			v[n++] = value;
	}
	int found = n;
	while (n < 4)
		v[n++] = PAD;
	return found;
}

/* Bytes of a group; -1 when it isn't one: 2 to 4 values, then padding, and no bits left over. */
static int
group_bytes(const int v[4], char out[3]) {
	if (v[0] < 0 || v[1] < 0 || (v[2] < 0 && v[3] >= 0))
		return -1;
	out[0] = (char)(v[0] << 2 | v[1] >> 4);
	if (v[2] < 0)
		return v[1] & 15 ? -1 : 1;
	out[1] = (char)((v[1] & 15) << 4 | v[2] >> 2);
	if (v[3] < 0)
		return v[2] & 3 ? -1 : 2;
	out[2] = (char)((v[2] & 3) << 6 | v[3]);
	return 3;
}

/* base64decode(text) -> bytes */
int
crypt_base64decode(lua_State *L) {
	size_t size;
	luaL_Buffer b;
	const char *s = luaL_checklstring(L, 1, &size);
	const char *end = s + size;
	size_t length = 0;
	char *out = luaL_buffinitsize(L, &b, size / 4 * 3 + 3);
	while (s < end) {
		int v[4];
		/* nearly all of a text is groups of four proper characters */
		for (; end - s >= 4; s += 4, length += 3) {
			for (int i = 0; i < 4; i++)
				v[i] = base64_value(s[i]);
			if ((v[0] | v[1] | v[2] | v[3]) < 0)
				break;
			group_bytes(v, out + length);
		}
		if (s == end)
			break;
		int n = read_group(&s, end, v) ? group_bytes(v, out + length) : -1;
		if (n < 0)
			return luaL_error(L, "Invalid base64 text");
		length += (size_t)n;
	}
	luaL_pushresultsize(&b, length);
	return 1;
}

/* xor_str(text, key) -> text with key, repeated, over it */
int
crypt_xor_str(lua_State *L) {
	size_t size, key_size;
	luaL_Buffer b;
	const char *s = luaL_checklstring(L, 1, &size);
	const char *key = luaL_checklstring(L, 2, &key_size);
	if (key_size == 0)
		return luaL_error(L, "Can't xor empty string");
	char *out = luaL_buffinitsize(L, &b, size);
	for (size_t i = 0, k = 0; i < size; i++) {
		out[i] = (char)(s[i] ^ key[k]);
		if (++k == key_size)
			k = 0;
	}
	luaL_pushresultsize(&b, size);
	return 1;
}
