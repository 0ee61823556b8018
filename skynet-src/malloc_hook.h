/* Memory statistics of the process and of its services. Any thread. */
#ifndef SKYNET_MALLOC_HOOK_H
#define SKYNET_MALLOC_HOOK_H

#include "mem_info.h"

#include <lua.h>
#include <stdbool.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Have freed memory returned to the system, some seconds later, by a thread of the allocator's own:
 * by itself it does so only in passing, when a thread goes on allocating, and after a crowd has left
 * an idle node that would be never. Once, after the last fork.
 */
void malloc_return_unused(void);
/* Bytes in use, and number of blocks, in the whole process; 0 without jemalloc. */
size_t malloc_used_memory(void);
size_t malloc_memory_block(void);
/* Bytes charged to the running service. */
size_t malloc_current_memory(void);
/* jemalloc's own report on stderr. */
void memory_info_dump(const char *opts);
/* Read, and set when newval isn't NULL, a jemalloc control. */
size_t mallctl_int64(const char *name, size_t *newval);
int mallctl_opt(const char *name, int *newval);
bool mallctl_bool(const char *name, bool *newval);
int mallctl_cmd(const char *name);
/* Log what each service holds. */
void dump_c_mem(void);
/* Push a table handle -> bytes. */
int dump_mem_lua(lua_State *L);

#ifdef __cplusplus
}
#endif

#endif
