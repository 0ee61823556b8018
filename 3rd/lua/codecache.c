/*
 * The code cache: files are compiled once per process.
 *
 * luaL_loadfilex, and so loadfile, dofile and require, first look the file's name up here. The
 * first VM that loads a file publishes its compiled form; others take it from there without
 * reading the file or parsing it. Entries are counted references: clear() drops the cache's own,
 * and what a VM is just loading from lives until it has finished. An error isn't cached.
 *
 * The cache is off until luaL_initcodecache is called: a plain interpreter has none. Any thread;
 * one lock, held for a look-up.
 */
#include "lua.h"

#include "lauxlib.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BUCKETS 1024

struct chunk {
	struct chunk *next;
	atomic_int refs;
	size_t sz, cap;
	char *code;
	char name[];
};

static struct {
	pthread_mutex_t lock;
	atomic_int on;
	struct chunk *bucket[BUCKETS];
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

enum { MODE_ON, MODE_OFF, MODE_EXIST };

static const char MODE_KEY = 0; /* address: registry key of this VM's mode */

static unsigned
bucket_of(const char *name) {
	unsigned h = 5381;
	while (*name)
		h = h * 33 + (unsigned char)*name++;
	return h % BUCKETS;
}

static void
drop(struct chunk *c) {
	if (atomic_fetch_sub(&c->refs, 1) == 1) {
		free(c->code);
		free(c);
	}
}

static struct chunk *
find(const char *name) {
	pthread_mutex_lock(&cache.lock);
	struct chunk *c = cache.bucket[bucket_of(name)];
	while (c && strcmp(c->name, name) != 0)
		c = c->next;
	if (c)
		atomic_fetch_add(&c->refs, 1);
	pthread_mutex_unlock(&cache.lock);
	return c;
}

/* Takes the chunk; another VM may have been faster. */
static void
publish(struct chunk *c) {
	pthread_mutex_lock(&cache.lock);
	struct chunk **b = &cache.bucket[bucket_of(c->name)];
	struct chunk *old = *b;
	while (old && strcmp(old->name, c->name) != 0)
		old = old->next;
	if (old == NULL) {
		c->next = *b;
		*b = c;
	}
	pthread_mutex_unlock(&cache.lock);
	if (old)
		drop(c);
}

static int
write_code(lua_State *L, const void *p, size_t sz, void *ud) {
	struct chunk *c = ud;
	(void)L;
	if (c->cap - c->sz < sz) {
		size_t cap = (c->cap + sz) * 2;
		char *code = realloc(c->code, cap);
		if (code == NULL)
			return 1;
		c->code = code;
		c->cap = cap;
	}
	memcpy(c->code + c->sz, p, sz);
	c->sz += sz;
	return 0;
}

/* Compile into the cache the function on top of the stack; no memory: it just isn't cached. */
static void
add(lua_State *L, const char *name) {
	size_t n = strlen(name) + 1;
	struct chunk *c = calloc(1, sizeof(*c) + n);
	if (c == NULL)
		return;
	memcpy(c->name, name, n);
	atomic_init(&c->refs, 1);
	if (lua_dump(L, write_code, c, 0) == 0)
		publish(c);
	else
		drop(c);
}

struct source {
	struct chunk *chunk;
	int done;
};

static const char *
read_code(lua_State *L, void *ud, size_t *sz) {
	struct source *s = ud;
	(void)L;
	if (s->done)
		return NULL;
	s->done = 1;
	*sz = s->chunk->sz;
	return s->chunk->code;
}

static int
mode_of(lua_State *L) {
	lua_rawgetp(L, LUA_REGISTRYINDEX, &MODE_KEY);
	int mode = (int)lua_tointeger(L, -1);
	lua_pop(L, 1);
	return mode;
}

LUALIB_API int
luaL_loadfilex(lua_State *L, const char *filename, const char *mode) {
	int cached = filename && atomic_load(&cache.on) ? mode_of(L) : MODE_OFF;
	if (cached == MODE_OFF)
		return luaL_loadfilex_(L, filename, mode);
	struct chunk *c = find(filename);
	if (c) {
		struct source s = {c, 0};
		int status = lua_load(L, read_code, &s, filename, "b");
		drop(c);
		return status;
	}
	int status = luaL_loadfilex_(L, filename, mode);
	if (status == LUA_OK && cached == MODE_ON)
		add(L, filename);
	return status;
}

LUALIB_API void
luaL_initcodecache(void) {
	atomic_store(&cache.on, 1);
}

/* clear() */
static int
cache_clear(lua_State *L) {
	(void)L;
	for (int i = 0; i < BUCKETS; i++) {
		pthread_mutex_lock(&cache.lock);
		struct chunk *c = cache.bucket[i];
		cache.bucket[i] = NULL;
		pthread_mutex_unlock(&cache.lock);
		while (c) {
			struct chunk *next = c->next;
			drop(c);
			c = next;
		}
	}
	return 0;
}

/* mode() -> "ON" | "OFF" | "EXIST"; mode(m) sets it for this VM */
static int
cache_mode(lua_State *L) {
	static const char *const names[] = {"ON", "OFF", "EXIST", NULL};
	if (lua_isnoneornil(L, 1)) {
		lua_pushstring(L, names[mode_of(L)]);
		return 1;
	}
	lua_pushinteger(L, luaL_checkoption(L, 1, NULL, names));
	lua_rawsetp(L, LUA_REGISTRYINDEX, &MODE_KEY);
	return 0;
}

LUALIB_API int
luaopen_cache(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"clear", cache_clear}, {"mode", cache_mode}, {NULL, NULL}};
	luaL_newlib(L, functions);
	lua_getglobal(L, "loadfile");
	lua_setfield(L, -2, "loadfile");
	return 1;
}

/*
 * ---- one hash seed for all VMs of the process ----
 */

static unsigned seed;

static void
make_seed(void) {
	struct timespec t;
	if (getentropy(&seed, sizeof(seed)) != 0) {
		clock_gettime(CLOCK_REALTIME, &t);
		seed = (unsigned)t.tv_nsec ^ (unsigned)getpid() << 16;
	}
}

unsigned
luaE_processseed(void) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, make_seed);
	return seed;
}
