/*
 * The document format of datasheets (see lualib/skynet/datasheet/dump.lua), without Lua.
 *
 * A document is checked as a whole, once; what has passed can be read without further checks.
 * Any bytes may be given to the check; it takes time in proportion to their number. No state.
 */
#ifndef skynet_lua_datasheet_format_h
#define skynet_lua_datasheet_format_h

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DS_NIL, DS_INTEGER, DS_FLOAT, DS_BOOLEAN, DS_TABLE, DS_STRING, DS_TYPES };

/* One table of a document: pointers into it. */
struct ds_level {
	uint32_t array_n, dict_n;
	const uint8_t *types; /* of the array's values, then the pairs' */
	const char *array;    /* 4 bytes each */
	const char *dict;     /* key and value, 4 bytes each */
	size_t size;
};

/*
 * Are these bytes a document? NULL, with the offset of the strings and the number of tables
 * stored; else what is wrong.
 */
const char *ds_check(const char *bytes, size_t size, uint32_t *strings, uint32_t *tables);

/* Offset of table i (below `tables`) in a document; SIZE_MAX when it's absent. */
size_t ds_table_offset(const char *bytes, uint32_t tables, uint32_t i);

/* The table at an offset; false when it doesn't end before `end`. */
bool ds_level(const char *bytes, size_t at, size_t end, struct ds_level *l);

/* A number of the format, wherever it is. */
uint32_t ds_load32(const char *p);

#endif
