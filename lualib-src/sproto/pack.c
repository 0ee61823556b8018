/*
 * 0-pack: the compression of sproto messages, which are mostly zero bytes.
 *
 * Groups of 8 bytes become a mask of the non-zero bytes and these bytes; groups without zeros
 * are collected in runs of up to 256 and copied whole, behind a mask of FF and their number
 * minus one. A group with six or seven non-zero bytes joins a run that is open. The last group
 * is padded with zeros.
 */
#include "sproto.h"

#include <string.h>

#define GROUP 8
#define RUN 256 /* groups */

size_t
sproto_pack_bound(size_t size) {
	size_t groups = size / GROUP + 1;
	return groups * GROUP + (groups / RUN + 1) * 2;
}

/* Number of non-zero bytes; their mask through `mask`. */
static int
scan_group(const uint8_t *in, unsigned *mask) {
	uint64_t v = sproto_u64(in);
	/* the low seven bits carry into the eighth unless they're zero */
	uint64_t high = ((v & 0x7f7f7f7f7f7f7f7fULL) + 0x7f7f7f7f7f7f7f7fULL) | v;
	high &= 0x8080808080808080ULL;
	/* gathers bit 8i+7 into bit 56+i */
	*mask = (unsigned)((high >> 7) * 0x0102040810204080ULL >> 56);
	return __builtin_popcountll(high);
}

static uint8_t *
put_group(const uint8_t *in, unsigned mask, uint8_t *out) {
	*out++ = (uint8_t)mask;
	for (int i = 0; i < GROUP; i++) {
		*out = in[i];
		out += mask >> i & 1;
	}
	return out;
}

size_t
sproto_pack(const uint8_t *in, size_t size, uint8_t *out) {
	uint8_t *begin = out, *run = NULL; /* where the open run has its number */
	uint8_t last[GROUP];
	for (size_t at = 0; at < size; at += GROUP) {
		const uint8_t *group = in + at;
		if (size - at < GROUP) {
			memset(last, 0, sizeof(last));
			memcpy(last, group, size - at);
			group = last;
		}
		unsigned mask;
		int full = scan_group(group, &mask);
		if (full < GROUP && (run == NULL || full < GROUP - 2)) {
			run = NULL;
			out = put_group(group, mask, out);
			continue;
		}
		if (run) {
			++*run;
		} else {
			out[0] = 0xff;
			out[1] = 0;
			run = out + 1;
			out += 2;
		}
		memcpy(out, group, GROUP);
		out += GROUP;
		if (*run == RUN - 1)
			run = NULL;
	}
	return (size_t)(out - begin);
}

size_t
sproto_unpacked_size(const uint8_t *in, size_t size) {
	size_t at = 0, total = 0;
	while (at < size) {
		unsigned mask = in[at++];
		size_t need = (size_t)__builtin_popcount(mask);
		size_t gives = GROUP;
		if (mask == 0xff) {
			if (at == size)
				return SIZE_MAX;
			need = gives = ((size_t)in[at++] + 1) * GROUP;
		}
		if (size - at < need)
			return SIZE_MAX;
		at += need;
		total += gives;
	}
	return total;
}

void
sproto_unpack(const uint8_t *in, size_t size, uint8_t *out) {
	const uint8_t *end = in + size;
	while (in < end) {
		unsigned mask = *in++;
		if (mask == 0xff) {
			size_t n = ((size_t)*in++ + 1) * GROUP;
			memcpy(out, in, n);
			in += n;
			out += n;
			continue;
		}
		memset(out, 0, GROUP);
		for (; mask; mask &= mask - 1)
			out[__builtin_ctz(mask)] = *in++;
		out += GROUP;
	}
}
