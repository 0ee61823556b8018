/*
 * Fuzz the check of datasheet documents (lualib-src/datasheet_format.c): whatever passes must be
 * readable without leaving the bytes.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined test/fuzz/datasheet_fuzz.c
 *   ./a.out test/fuzz/corpus/datasheet
 */
#include "../../lualib-src/datasheet_format.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Touch all of a document that was accepted, as a reader would. Returns something about it. */
static size_t
read_document(const char *bytes, uint32_t strings, uint32_t tables) {
	size_t sum = 0;
	for (uint32_t i = 0; i < tables; i++) {
		struct ds_level l;
		size_t at = ds_table_offset(bytes, tables, i);
		if (at == SIZE_MAX)
			continue;
		if (!ds_level(bytes, at, strings, &l))
			abort();
		for (uint32_t j = 0; j < l.array_n + l.dict_n; j++) {
			const char *p = j < l.array_n ? l.array + (size_t)j * 4
			                              : l.dict + (size_t)(j - l.array_n) * 8 + 4;
			uint32_t v = ds_load32(p);
			if (j >= l.array_n)
				sum += strlen(bytes + strings + ds_load32(p - 4));
			if (l.types[j] == DS_STRING)
				sum += strlen(bytes + strings + v);
			else if (l.types[j] == DS_TABLE && v >= tables)
				abort();
		}
	}
	return sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static volatile size_t sink;
	uint32_t strings, tables;
	char *bytes = malloc(size ? size : 1); /* exactly as large: a byte too far is noticed */
	if (size)
		memcpy(bytes, data, size);
	if (ds_check(bytes, size, &strings, &tables) == NULL)
		sink = read_document(bytes, strings, tables);
	free(bytes);
	return 0;
}
