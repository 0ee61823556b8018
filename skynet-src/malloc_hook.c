/*
 * The heap: statistics of jemalloc, and what each service holds (account.h).
 */
#include "malloc_hook.h"

#include "service.h"
#include "skynet.h"
#include "skynet_handle.h"
#include "skynet_runtime.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#ifndef NOUSE_JEMALLOC

#include <jemalloc/jemalloc.h>

/* threads keep freed blocks of up to 128 KB at hand: reads, cluster parts, larger messages */
const char *malloc_conf = "lg_tcache_max:17,max_background_threads:1";

void
malloc_return_unused(void) {
	bool on = true;
	int err = mallctl("background_thread", NULL, NULL, &on, sizeof(on));
	if (err != 0)
		fprintf(stderr, "Memory of idle threads stays with them: %s\n", strerror(err));
}

static size_t
read_stat(const char *name) {
	size_t v = 0;
	size_t sz = sizeof(v);
	uint64_t epoch = 1;
	size_t esz = sizeof(epoch);
	/* a failure leaves 0: no statistics */
	(void)mallctl("epoch", &epoch, &esz, &epoch, esz);
	(void)mallctl(name, &v, &sz, NULL, 0);
	return v;
}

size_t
malloc_used_memory(void) {
	return read_stat("stats.allocated");
}

size_t
malloc_memory_block(void) {
	static const char *const count[] = {
		"stats.arenas.4096.small.nmalloc",
		"stats.arenas.4096.large.nmalloc",
		"stats.arenas.4096.small.ndalloc",
		"stats.arenas.4096.large.ndalloc",
	};
	/* 4096 is jemalloc's name for all arenas together */
	size_t n = 0;
	for (int i = 0; i < 4; i++) {
		uint64_t v = 0;
		size_t sz = sizeof(v);
		if (mallctl(count[i], &v, &sz, NULL, 0) == 0)
			n += i < 2 ? v : (size_t)-v;
	}
	return n;
}

void
memory_info_dump(const char *opts) {
	malloc_stats_print(NULL, NULL, opts);
}

size_t
mallctl_int64(const char *name, size_t *newval) {
	size_t v = 0;
	size_t sz = sizeof(v);
	if (mallctl(name, &v, &sz, newval, newval ? sizeof(*newval) : 0) != 0)
		skynet_error(NULL, "mallctl_int64 %s failed", name);
	return v;
}

int
mallctl_opt(const char *name, int *newval) {
	int v = 0;
	size_t sz = sizeof(v);
	if (newval == NULL) {
		if (mallctl(name, &v, &sz, NULL, 0) != 0)
			skynet_error(NULL, "mallctl_opt %s failed", name);
		return v;
	}
	int err = mallctl(name, &v, &sz, newval, sizeof(*newval));
	if (err == 0)
		skynet_error(NULL, "set new value(%d) for (%s) succeed\n", *newval, name);
	else
		skynet_error(NULL, "set new value(%d) for (%s) failed: error -> %d\n", *newval, name,
		             err);
	return v;
}

bool
mallctl_bool(const char *name, bool *newval) {
	bool v = false;
	size_t sz = sizeof(v);
	if (mallctl(name, &v, &sz, newval, newval ? sizeof(*newval) : 0) != 0)
		skynet_error(NULL, "mallctl_bool %s failed", name);
	return v;
}

int
mallctl_cmd(const char *name) {
	return mallctl(name, NULL, NULL, NULL, 0);
}

#else

void
malloc_return_unused(void) {
}

size_t
malloc_used_memory(void) {
	return 0;
}

size_t
malloc_memory_block(void) {
	return 0;
}

void
memory_info_dump(const char *opts) {
	(void)opts;
	skynet_error(NULL, "No jemalloc");
}

size_t
mallctl_int64(const char *name, size_t *newval) {
	(void)newval;
	skynet_error(NULL, "No jemalloc : mallctl_int64 %s.", name);
	return 0;
}

int
mallctl_opt(const char *name, int *newval) {
	(void)newval;
	skynet_error(NULL, "No jemalloc : mallctl_opt %s.", name);
	return 0;
}

bool
mallctl_bool(const char *name, bool *newval) {
	(void)newval;
	skynet_error(NULL, "No jemalloc : mallctl_bool %s.", name);
	return false;
}

int
mallctl_cmd(const char *name) {
	skynet_error(NULL, "No jemalloc : mallctl_cmd %s.", name);
	return 0;
}

#endif

/*
 * ---- what services hold ----
 */

ptrdiff_t
skynet_memory_charge(struct skynet_context *ctx) {
	return atomic_load_explicit(&ctx->charge, memory_order_relaxed);
}

size_t
malloc_current_memory(void) {
	struct skynet_context *ctx = service_running();
	ptrdiff_t n = ctx ? skynet_memory_charge(ctx) : 0;
	return n > 0 ? (size_t)n : 0;
}

struct charges {
	uint32_t *handle;
	ptrdiff_t *bytes;
	int n;
};

static struct charges
collect(void) {
	struct charges c = {0};
	int room = 64, n;
	do {
		room *= 2;
		c.handle = realloc(c.handle, (size_t)room * sizeof(*c.handle));
		c.bytes = realloc(c.bytes, (size_t)room * sizeof(*c.bytes));
		if (c.handle == NULL || c.bytes == NULL)
			return (struct charges){0};
		n = skynet_memory_charges(c.handle, c.bytes, room);
	} while (n > room);
	c.n = n;
	return c;
}

void
dump_c_mem(void) {
	struct charges c = collect();
	ptrdiff_t total = 0;
	skynet_error(NULL, "dump all service mem:");
#ifndef NOUSE_JEMALLOC
	for (int i = 0; i < c.n; i++) {
		total += c.bytes[i];
		skynet_error(NULL, ":%08x -> %zukb %zub", c.handle[i], (size_t)c.bytes[i] >> 10,
		             (size_t)c.bytes[i] % 1024);
	}
#endif
	skynet_error(NULL, "+total: %zukb", (size_t)total >> 10);
	free(c.handle);
	free(c.bytes);
}

int
dump_mem_lua(lua_State *L) {
	lua_newtable(L);
#ifndef NOUSE_JEMALLOC
	struct charges c = collect();
	for (int i = 0; i < c.n; i++) {
		lua_pushinteger(L, c.bytes[i]);
		lua_rawseti(L, -2, c.handle[i]);
	}
	free(c.handle);
	free(c.bytes);
#endif
	return 1;
}

void
skynet_debug_memory(const char *info) {
	fprintf(stderr, "[:%08x] %s %p\n", skynet_current_handle(), info,
	        (void *)malloc_current_memory());
}

/* For modules built against older headers, where this was no inline function. */
char *skynet_strdup(const char *str);

char *
skynet_strdup(const char *str) {
	size_t size = strlen(str) + 1;
	char *copy = skynet_malloc(size);
	if (copy)
		memcpy(copy, str, size);
	return copy;
}
