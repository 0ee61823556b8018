/*
 * The code cache: files are compiled once per process, and their prototypes are shared.
 *
 * luaL_loadfilex, and so loadfile, dofile and require, first look the file's name up
 * here. What a state gets is a function of its own over prototypes that all states share
 * (lshare.h). A file that isn't there is compiled in a state made for that, so that
 * neither garbage nor the memory of the code is charged to the caller; whoever wants the
 * same file meanwhile waits. An error isn't cached. clear() drops the cache's references:
 * what no state uses any more is freed.
 *
 * The cache is off until luaL_initcodecache is called: a plain interpreter has none. Any
 * thread; one lock, held for a look-up. No thread waits while it compiles, so there is no
 * deadlock.
 */
#include "lua.h"

#include "lauxlib.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lshare.h"

#define BUCKETS 1024

struct entry {
	struct entry *next;
	lua_Shared *unit; /* NULL: somebody is compiling it */
	char name[];
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t compiled; /* some entry got its unit, or is gone */
	atomic_int on;
	struct entry *bucket[BUCKETS];
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER, .compiled = PTHREAD_COND_INITIALIZER};

enum { MODE_ON, MODE_OFF, MODE_EXIST };

static const char MODE_KEY = 0; /* address: registry key of this VM's mode */

/*
 * ---- entries: with the lock ----
 */

static struct entry **
bucket_of(const char *name) {
	unsigned h = 5381;
	while (*name)
		h = h * 33 + (unsigned char)*name++;
	return &cache.bucket[h % BUCKETS];
}

/* Where the pointer to the entry is, or would be. */
static struct entry **
find(const char *name) {
	struct entry **p = bucket_of(name);
	while (*p && strcmp((*p)->name, name) != 0)
		p = &(*p)->next;
	return p;
}

/* Is this very entry still there? clear() may have removed it. */
static struct entry **
find_entry(const struct entry *e) {
	struct entry **p = bucket_of(e->name);
	while (*p && *p != e)
		p = &(*p)->next;
	return *p ? p : NULL;
}

/*
 * A reference to the unit of a file. NULL: the caller compiles it; if `mine` was asked
 * for it gets the entry to publish it in, which others wait for (or NULL: no memory for
 * one).
 */
static lua_Shared *
look_up(const char *name, struct entry **mine) {
	lua_Shared *unit = NULL;
	pthread_mutex_lock(&cache.lock);
	struct entry *e = *find(name);
	while (mine && e && e->unit == NULL) {
		pthread_cond_wait(&cache.compiled, &cache.lock);
		e = *find(name);
	}
	if (e && e->unit) {
		unit = e->unit;
		lua_keepshared(unit);
	} else if (mine) {
		size_t n = strlen(name) + 1;
		e = calloc(1, sizeof(*e) + n);
		if (e) {
			memcpy(e->name, name, n);
			struct entry **b = bucket_of(name);
			e->next = *b;
			*b = e;
		}
		*mine = e;
	}
	pthread_mutex_unlock(&cache.lock);
	return unit;
}

/*
 * End the compilation of an entry. Without a unit there was an error, and the entry goes.
 * When the cache was cleared meanwhile, what was compiled may be the old file: it isn't
 * kept.
 */
static void
publish(struct entry *e, lua_Shared *unit) {
	pthread_mutex_lock(&cache.lock);
	struct entry **p = find_entry(e);
	int keep = p && unit;
	if (keep) {
		e->unit = unit;
		lua_keepshared(unit);
	} else if (p) {
		*p = e->next;
	}
	pthread_cond_broadcast(&cache.compiled);
	pthread_mutex_unlock(&cache.lock);
	if (!keep)
		free(e);
	if (unit && !keep)
		lua_retireshared(unit);
}

/*
 * ---- compiling ----
 */

struct job {
	const char *name, *mode;
	int status;
};

static int
load_file(lua_State *S) {
	struct job *j = lua_touserdata(S, 1);
	j->status = luaL_loadfilex_(S, j->name, j->mode);
	return 1;
}

static void *
allocate(void *ud, void *p, size_t osize, size_t nsize) {
	(void)ud;
	return luaE_sharedalloc(p, osize, nsize);
}

/* Compile in the state S. Returns a status, with the unit, or a message on top of S. */
static int
compile(lua_State *S, const char *name, const char *mode, lua_Shared **unit) {
	struct job j = {name, mode, LUA_OK};
	lua_pushcfunction(S, load_file);
	lua_pushlightuserdata(S, &j);
	int status = lua_pcall(S, 1, 1, 0);
	if (status == LUA_OK)
		status = j.status;
	if (status == LUA_OK) {
		*unit = lua_sharecode(S, -1);
		if (*unit == NULL) {
			lua_pushliteral(S, "not enough memory");
			status = LUA_ERRMEM;
		}
	}
	return status;
}

/* Push a function of the unit, in protected mode: our caller holds a reference. */
static int
push_unit(lua_State *L) {
	lua_pushshared(L, lua_touserdata(L, 1));
	return 1;
}

static int
push_message(lua_State *L) {
	size_t sz;
	const char *text = lua_tolstring(lua_touserdata(L, 1), -1, &sz);
	lua_pushlstring(L, text ? text : "(no message)",
			text ? sz : strlen("(no message)"));
	return 1;
}

static int
push_protected(lua_State *L, lua_CFunction f, void *what) {
	lua_pushcfunction(L, f);
	lua_pushlightuserdata(L, what);
	return lua_pcall(L, 1, 1, 0);
}

/* Takes the unit. Returns a status. */
static int
push_and_drop(lua_State *L, lua_Shared *unit) {
	int status = push_protected(L, push_unit, unit);
	lua_dropshared(unit);
	return status;
}

/* Not found: compile the file for all. `e` may be NULL: no memory for an entry. */
static int
load_new(lua_State *L, const char *name, const char *mode, struct entry *e) {
	lua_Shared *unit = NULL;
	int there = access(name, R_OK) == 0; /* else there's only a message to be made */
	lua_State *S = e && there ? lua_newstate(allocate, NULL) : NULL;
	int status = S ? compile(S, name, mode, &unit) : LUA_ERRMEM;
	if (e)
		publish(e, unit);
	if (S == NULL)
		return luaL_loadfilex_(L, name, mode); /* or no memory to share it: a private copy */
	if (unit) {
		lua_close(S);
		return push_and_drop(L, unit);
	}
	int pushed = push_protected(L, push_message, S);
	lua_close(S);
	return pushed == LUA_OK ? status : pushed;
}

LUALIB_API int
luaL_loadfilex(lua_State *L, const char *filename, const char *mode) {
	int use = MODE_OFF;
	if (filename && atomic_load(&cache.on)) {
		lua_rawgetp(L, LUA_REGISTRYINDEX, &MODE_KEY);
		use = (int)lua_tointeger(L, -1);
		lua_pop(L, 1);
	}
	if (use == MODE_OFF)
		return luaL_loadfilex_(L, filename, mode);
	struct entry *e = NULL;
	lua_Shared *unit = look_up(filename, use == MODE_ON ? &e : NULL);
	if (unit)
		return push_and_drop(L, unit);
	if (use == MODE_EXIST)
		return luaL_loadfilex_(L, filename, mode);
	return load_new(L, filename, mode, e);
}

/*
 * Any thread: from now on files are shared, and new states share common strings and can be copies
 * of one that `open` opened.
 */
LUALIB_API void
luaL_initcodecache(const char *const words[], lua_CFunction open) {
	luaE_initpool(words, open);
	atomic_store(&cache.on, 1);
}

/*
 * ---- the module ----
 */

/* clear() */
static int
cache_clear(lua_State *L) {
	struct entry *all = NULL;
	(void)L;
	pthread_mutex_lock(&cache.lock);
	for (int i = 0; i < BUCKETS; i++) {
		while (cache.bucket[i]) {
			struct entry *e = cache.bucket[i];
			cache.bucket[i] = e->next;
			if (e->unit) {
				e->next = all;
				all = e;
			} /* else who compiles it frees it */
		}
	}
	pthread_cond_broadcast(&cache.compiled); /* who waits compiles the new file */
	pthread_mutex_unlock(&cache.lock);
	while (all) {
		struct entry *next = all->next;
		lua_retireshared(all->unit);
		lua_dropshared(all->unit);
		free(all);
		all = next;
	}
	return 0;
}

/* mode() -> "ON" | "OFF" | "EXIST"; mode(m) sets it for this VM */
static int
cache_mode(lua_State *L) {
	static const char *const names[] = {"ON", "OFF", "EXIST", NULL};
	if (lua_isnoneornil(L, 1)) {
		lua_rawgetp(L, LUA_REGISTRYINDEX, &MODE_KEY);
		lua_pushstring(L, names[lua_tointeger(L, -1)]);
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
