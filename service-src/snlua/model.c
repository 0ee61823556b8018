/*
 * The model of services: a VM without one that has loaded the framework, and the image of it,
 * which new VMs copy instead of running the framework's main chunks.
 *
 * The model is made when the first service starts, and again after the code cache was cleared.
 * It's only made of the files that this executable was built with, for whose main chunks it's
 * known that nothing they do depends on the service: edited ones, and services with a preload
 * script, which could change what the framework finds, run them as ever.
 *
 * A copy doesn't have the modules loaded: package.preload has a loader for each, which gives the
 * copied module if the search path of the service still leads to the same file, and else loads
 * what it leads to.
 */
#include "snlua.h"

#include "../../lualib-src/builtin.h"

#include "account.h"
#include "skynet_malloc.h"

#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#ifndef FRAMEWORK_SUMS
#define FRAMEWORK_SUMS "", ""
#endif

/* In the order they're loaded in; and "checksum size" of their files, as cksum(1) prints them. */
#define MODULES 2
static const char *const module[MODULES] = {"skynet.require", "skynet"};
static const char *const sum[MODULES] = {FRAMEWORK_SUMS};

/* Its address is the registry key of { path =, [name] = { module, file } }. */
static const char PREPARED = 0;

struct model {
	lua_Image *image;
	int users; /* VMs that copy it, and `current` */
};

static struct {
	pthread_mutex_t lock;
	struct model *current;
	bool impossible; /* it was tried */
} M = {.lock = PTHREAD_MUTEX_INITIALIZER};

/*
 * ---- making it ----
 */

/* As cksum(1) does it: CRC-32 of the bytes and then of their number. */
static uint32_t
add_to_sum(uint32_t crc, unsigned byte) {
	crc ^= (uint32_t)byte << 24;
	for (int i = 0; i < 8; i++)
		crc = crc & 0x80000000u ? crc << 1 ^ 0x04c11db7u : crc << 1;
	return crc;
}

static bool
file_is(const char *path, const char *sum) {
	char text[48];
	uint32_t crc = 0;
	unsigned long size = 0;
	FILE *f = fopen(path, "rb");
	if (f == NULL)
		return false;
	for (int c; (c = getc(f)) != EOF; size++)
		crc = add_to_sum(crc, (unsigned)c);
	bool whole = !ferror(f);
	(void)fclose(f);
	for (unsigned long n = size; n > 0; n >>= 8)
		crc = add_to_sum(crc, n & 0xff);
	snprintf(text, sizeof(text), "%lu %lu", (unsigned long)~crc & 0xffffffffu, size);
	return whole && strcmp(text, sum) == 0;
}

/* Push the file that a search path leads to for a module, or nil and why there's none. */
static void
search(lua_State *L, const char *name, const char *path) {
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "searchpath");
	lua_remove(L, -2);
	lua_pushstring(L, name);
	lua_pushstring(L, path);
	lua_call(L, 2, 2);
}

/* Is that all? Then what is prepared, at `index`, isn't kept any longer. */
static void
forget_if_empty(lua_State *L, int index) {
	int left = 0;
	for (int i = 0; i < MODULES; i++) {
		left += lua_getfield(L, index, module[i]) != LUA_TNIL;
		lua_pop(L, 1);
	}
	if (left == 0) {
		lua_pushnil(L);
		lua_rawsetp(L, LUA_REGISTRYINDEX, &PREPARED);
	}
}

/* The loader in package.preload: (name) -> module */
static int
give(lua_State *L) {
	const char *name = luaL_checkstring(L, 1);
	lua_settop(L, 1);
	lua_getfield(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
	lua_pushnil(L);
	lua_setfield(L, -2, name); /* it's given once: who requires it anew wants it run */
	if (lua_rawgetp(L, LUA_REGISTRYINDEX, &PREPARED) != LUA_TTABLE ||
	    lua_getfield(L, 3, name) != LUA_TTABLE)
		return luaL_error(L, "module '%s' isn't prepared, or was given before", name);
	lua_pushnil(L);
	lua_setfield(L, 3, name);
	forget_if_empty(L, 3);
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "path");
	lua_getfield(L, 3, "path");
	lua_rawgeti(L, 4, 1);
	if (lua_rawequal(L, -2, -3))
		return 1;
	search(L, name, luaL_checkstring(L, -3));
	if (lua_isnil(L, -2))
		return luaL_error(L, "module '%s' not found:%s", name, lua_tostring(L, -1));
	lua_pop(L, 1);
	lua_rawgeti(L, 4, 2);
	if (lua_rawequal(L, -1, -2)) {
		lua_pop(L, 2);
		return 1;
	}
	lua_pop(L, 1);
	const char *file = lua_tostring(L, -1);
	if (luaL_loadfile(L, file) != LUA_OK)
		return luaL_error(L, "error loading module '%s' from file '%s':\n\t%s", name, file,
		                  lua_tostring(L, -1));
	lua_pushvalue(L, 1);
	lua_pushstring(L, file);
	lua_call(L, 2, 1);
	return 1;
}

enum { AT_PREPARED = 1, AT_LOADED, AT_PRELOAD, AT_PACKAGE, AT_OLD_PATH };

static void
load_module(lua_State *L, int i, const char *path) {
	search(L, module[i], path);
	const char *file = lua_tostring(L, -2);
	if (file == NULL || !file_is(file, sum[i]))
		luaL_error(L, "it isn't what was built with this executable");
	lua_createtable(L, 2, 0);
	lua_getglobal(L, "require");
	lua_pushstring(L, module[i]);
	lua_call(L, 1, 1);
	lua_rawseti(L, -2, 1);
	lua_pushstring(L, file);
	lua_rawseti(L, -2, 2);
	lua_setfield(L, AT_PREPARED, module[i]);
	lua_settop(L, AT_OLD_PATH);
}

/* As if it had not been loaded, but for a loader that has it. */
static void
hide_module(lua_State *L, const char *name) {
	lua_pushnil(L);
	lua_setfield(L, AT_LOADED, name);
	lua_pushcfunction(L, give);
	lua_setfield(L, AT_PRELOAD, name);
}

static int
load_framework(lua_State *L) {
	const char *path = lua_touserdata(L, 1);
	lua_settop(L, 0);
	lua_gc(L, LUA_GCSTOP, 0);
	if (!lua_openimage(L, NULL))
		return luaL_error(L, "no image");
	lua_createtable(L, 0, MODULES + 1);
	lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
	lua_getfield(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
	lua_getglobal(L, "package");
	lua_getfield(L, AT_PACKAGE, "path");
	lua_pushstring(L, path);
	lua_setfield(L, AT_PACKAGE, "path");
	lua_pushstring(L, path);
	lua_setfield(L, AT_PREPARED, "path");
	skynet_core_model(L);
	for (int i = 0; i < MODULES; i++)
		load_module(L, i, path);
	for (int i = 0; i < MODULES; i++)
		hide_module(L, module[i]);
	lua_setfield(L, AT_PACKAGE, "path"); /* what it was */
	lua_settop(L, AT_PREPARED);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &PREPARED);
	return 0;
}

static void *
allocate(void *ud, void *ptr, size_t osize, size_t nsize) {
	(void)ud;
	return skynet_lalloc(ptr, ptr ? osize : 0, nsize);
}

/* NULL: why not matters to nobody, services then run the framework themselves. */
static struct model *
make(const char *path) {
	struct model *m = NULL;
	lua_State *L = lua_newstate(allocate, NULL);
	if (L == NULL)
		return NULL;
	lua_pushcfunction(L, load_framework);
	lua_pushlightuserdata(L, (void *)path);
	lua_Image *image = lua_pcall(L, 1, 0, 0) == LUA_OK ? lua_recordimage(L) : NULL;
	if (image) {
		m = skynet_malloc(sizeof(*m));
		*m = (struct model){image, 1};
	}
	lua_close(L);
	return m;
}

/*
 * ---- using it ----
 */

/* With the lock. */
static void
leave(struct model *m) {
	if (--m->users > 0)
		return;
	lua_freeimage(m->image);
	skynet_free(m);
}

/* With the lock: the model there is now, or NULL. */
static struct model *
current(const char *path) {
	if (M.current && lua_imageretired(M.current->image)) {
		leave(M.current);
		M.current = NULL;
	}
	if (M.current == NULL && !M.impossible) {
		const int64_t mark = account_mark();
		M.current = make(path);
		M.impossible = M.current == NULL;
		account_move(mark, NULL); /* it's nobody's */
	}
	return M.current;
}

bool
snlua_copy_model(lua_State *L, const char *path) {
	pthread_mutex_lock(&M.lock);
	struct model *m = current(path);
	if (m)
		m->users++;
	pthread_mutex_unlock(&M.lock);
	if (m == NULL)
		return false;
	bool copied = lua_openimage(L, m->image);
	pthread_mutex_lock(&M.lock);
	leave(m);
	pthread_mutex_unlock(&M.lock);
	return copied;
}
