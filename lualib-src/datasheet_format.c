/* Checking and reading documents of datasheets; see the header. */
#include "datasheet_format.h"

#include <string.h>

#define HEADER 8
#define ABSENT UINT32_MAX

uint32_t
ds_load32(const char *p) {
	uint8_t b[4];
	memcpy(b, p, 4);
	return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

bool
ds_level(const char *bytes, size_t at, size_t end, struct ds_level *l) {
	if (at + 8 > end)
		return false;
	l->array_n = ds_load32(bytes + at);
	l->dict_n = ds_load32(bytes + at + 4);
	if (l->array_n > INT32_MAX || l->dict_n > INT32_MAX)
		return false;
	size_t n = (size_t)l->array_n + l->dict_n;
	size_t types = (n + 3) & ~(size_t)3;
	l->size = 8 + types + (size_t)l->array_n * 4 + (size_t)l->dict_n * 8;
	if (l->size > end - at)
		return false;
	l->types = (const uint8_t *)bytes + at + 8;
	l->array = bytes + at + 8 + types;
	l->dict = l->array + (size_t)l->array_n * 4;
	return true;
}

/* `limit`: strings must begin before it, so that a NUL ends them inside of the document. */
static const char *
check_level(const struct ds_level *l, uint32_t tables, size_t limit) {
	for (uint32_t i = 0; i < l->array_n + l->dict_n; i++) {
		const char *p = i < l->array_n ? l->array + (size_t)i * 4
		                               : l->dict + (size_t)(i - l->array_n) * 8 + 4;
		uint32_t v = ds_load32(p);
		if (l->types[i] >= DS_TYPES)
			return "a value's type is unknown";
		if (l->types[i] == DS_TABLE && v >= tables)
			return "a table's index is out of range";
		if (l->types[i] == DS_STRING && v >= limit)
			return "a string is outside";
		if (i >= l->array_n && ds_load32(p - 4) >= limit)
			return "a key is outside";
	}
	return NULL;
}

size_t
ds_table_offset(const char *bytes, uint32_t tables, uint32_t i) {
	uint32_t at = ds_load32(bytes + HEADER + (size_t)i * 4);
	return at == ABSENT ? SIZE_MAX : HEADER + (size_t)tables * 4 + at;
}

const char *
ds_check(const char *bytes, size_t size, uint32_t *strings, uint32_t *tables) {
	if (size < HEADER)
		return "it's too short";
	*strings = ds_load32(bytes);
	*tables = ds_load32(bytes + 4);
	size_t begin = HEADER + (size_t)*tables * 4;
	if (*strings > size || begin > *strings)
		return "the string table is outside";
	if (*tables == 0 || ds_table_offset(bytes, *tables, 0) == SIZE_MAX)
		return "it has no root";
	size_t limit = size - *strings;
	while (limit > 0 && bytes[*strings + limit - 1] != '\0')
		limit--;
	size_t used = begin;
	for (uint32_t i = 0; i < *tables; i++) {
		struct ds_level l;
		size_t at = ds_table_offset(bytes, *tables, i);
		if (at == SIZE_MAX)
			continue;
		if (!ds_level(bytes, at, *strings, &l))
			return "a table is outside";
		used += l.size;
		if (used > *strings) /* else a few bytes could be checked a billion times */
			return "tables overlap";
		const char *wrong = check_level(&l, *tables, limit);
		if (wrong)
			return wrong;
	}
	return NULL;
}
