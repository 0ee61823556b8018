/*
 * The C service "snlua": one Lua VM and the service in it.
 *
 * Starting has two steps. `init` only sends the service its own parameter, so that the launcher
 * gets the handle at once; the first message, dispatched on any worker, then builds the
 * environment and runs the loader, which finds and runs the service's script.
 *
 * The VM belongs to the worker that runs the service. Other threads only signal it: the
 * interrupt they ask for is taken by whichever coroutine runs, at its next instruction, and
 * only within the message it was meant for.
 */
#include "snlua.h"

#include "../../lualib-src/builtin.h"

#include "skynet_env.h"
#include "skynet_malloc.h"

#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_WARNING ((size_t)1024 * 1024 * 32)

/* When the allocator must look up: at the limit, or where it warns. */
static void
set_bound(struct snlua *l) {
	bool limited = l->mem_limit != 0 && l->mem_limit < l->mem_report;
	l->mem_bound = limited ? l->mem_limit : l->mem_report;
}

/* May the VM hold this much, beyond its bound? */
static __attribute__((noinline)) bool
may_hold(struct snlua *l, size_t mem) {
	if (l->mem_limit != 0 && mem > l->mem_limit && mem > l->mem)
		return false;
	if (mem > l->mem_report) {
		l->mem_report *= 2;
		set_bound(l);
		skynet_error(l->ctx, "Memory warning %.2f M", (double)mem / (1024 * 1024));
	}
	return true;
}

/* noinline: freeing, a tail call, shouldn't save registers for this */
static __attribute__((noinline)) void *
resize(struct snlua *l, void *ptr, size_t held, size_t nsize) {
	size_t mem = l->mem - held + nsize;
	if (__builtin_expect(mem > l->mem_bound, 0) && !may_hold(l, mem))
		return NULL;
	void *p = skynet_lalloc(ptr, held, nsize);
	if (p)
		l->mem = mem;
	return p;
}

static void *
allocate(void *ud, void *ptr, size_t osize, size_t nsize) {
	struct snlua *l = ud;
	if (nsize != 0)
		return resize(l, ptr, ptr ? osize : 0, nsize); /* for a new block, osize is a type */
	if (ptr == NULL)                                   /* of a table without an array, say */
		return NULL;
	l->mem -= osize;
	return skynet_lalloc(ptr, osize, 0);
}

static int
add_traceback(lua_State *L) {
	const char *text = lua_tostring(L, 1);
	if (text)
		luaL_traceback(L, L, text, 1);
	else
		lua_pushliteral(L, "(no error message)");
	return 1;
}

static const char *
option(const char *key, const char *fallback) {
	const char *value = skynet_getenv(key);
	return value ? value : fallback;
}

static void
set_global(lua_State *L, const char *name, const char *value) {
	lua_pushstring(L, value);
	lua_setglobal(L, name);
}

/* Put a module where require finds it; leaves it on the stack. */
static void
preload(lua_State *L, const char *name, lua_CFunction open) {
	luaL_requiref(L, name, open, 0);
}

/* print as it's known, but a line is written in one piece: log lines can't get into it. */
static int
print_line(lua_State *L) {
	int n = lua_gettop(L);
	luaL_Buffer b;
	luaL_buffinit(L, &b);
	for (int i = 1; i <= n; i++) {
		if (i > 1)
			luaL_addchar(&b, '\t');
		luaL_tolstring(L, i, NULL);
		luaL_addvalue(&b);
	}
	luaL_addchar(&b, '\n');
	luaL_pushresult(&b);
	size_t sz;
	const char *text = lua_tolstring(L, -1, &sz);
	/* as print does, nobody is told when standard output is gone */
	(void)fwrite(text, 1, sz, stdout);
	(void)fflush(stdout);
	return 0;
}

/* Names that every service sets: so that there's room for them. */
static void
make_room(lua_State *L) {
	static const char *const globals[] = {"LUA_PATH",    "LUA_CPATH",    "LUA_SERVICE",
	                                      "LUA_PRELOAD", "SERVICE_NAME", "SERVICE_PATH",
	                                      NULL};
	for (int set = 1; set >= 0; set--) {
		for (int i = 0; globals[i]; i++) {
			if (set)
				lua_pushboolean(L, 1);
			else
				lua_pushnil(L);
			lua_setglobal(L, globals[i]);
		}
	}
}

/* What is the same in all services: new states copy it from the first one. */
static int
open_libraries(lua_State *L) {
	lua_pushboolean(L, 1);
	lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
	luaL_openlibs(L);
	lua_pushcfunction(L, print_line);
	lua_setglobal(L, "print");
	preload(L, "skynet.codecache", luaopen_cache);
	skynet_core_prepare(L);
	make_room(L);
	lua_settop(L, 0);
	return 0;
}

static int
open_environment(lua_State *L) {
	struct snlua *l = lua_touserdata(L, 1);
	const char *path = option("lua_path", "./lualib/?.lua;./lualib/?/init.lua");
	lua_gc(L, LUA_GCGEN, 0, 0); /* it collects: so while there is next to nothing */
	/* a preload script could change what the framework finds when it's loaded */
	bool copied = skynet_getenv("preload") == NULL && snlua_copy_model(L, path);
	if (!copied && !lua_openimage(L, NULL)) {
		lua_pushcfunction(L, open_libraries);
		lua_call(L, 0, 0);
	}
	lua_pushlightuserdata(L, l->ctx);
	lua_setfield(L, LUA_REGISTRYINDEX, "skynet_context");
	if (copied)
		skynet_core_adopt(L, l->ctx);
	lua_pushlightuserdata(L, &l->hooks);
	lua_setfield(L, LUA_REGISTRYINDEX, VM_HOOKS);

	preload(L, "skynet.profile", snlua_open_profile);
	lua_getglobal(L, "coroutine");
	lua_getfield(L, -2, "resume");
	lua_setfield(L, -2, "resume");
	lua_getfield(L, -2, "wrap");
	lua_setfield(L, -2, "wrap");
	lua_settop(L, 0);

	set_global(L, "LUA_PATH", path);
	set_global(L, "LUA_CPATH", option("lua_cpath", "./luaclib/?.so"));
	set_global(L, "LUA_SERVICE", option("luaservice", "./service/?.lua"));
	set_global(L, "LUA_PRELOAD", skynet_getenv("preload"));
	return 0;
}

/* Run the loader with the service's whole parameter. Returns 0, or -1: the reason was logged. */
static int
run_loader(struct snlua *l, const char *param, size_t sz) {
	lua_State *L = l->L;
	lua_pushcfunction(L, add_traceback);
	const char *loader = option("lualoader", "./lualib/loader.lua");
	if (luaL_loadfile(L, loader) != LUA_OK) {
		skynet_error(l->ctx, "Can't load %s : %s", loader, lua_tostring(L, -1));
		return -1;
	}
	lua_pushlstring(L, param, sz);
	if (lua_pcall(L, 1, 0, 1) != LUA_OK) {
		skynet_error(l->ctx, "lua loader error : %s", lua_tostring(L, -1));
		return -1;
	}
	lua_settop(L, 0);
	if (lua_getfield(L, LUA_REGISTRYINDEX, "memlimit") == LUA_TNUMBER) {
		lua_Integer limit = lua_tointeger(L, -1);
		l->mem_limit = limit > 0 ? (size_t)limit : 0;
		set_bound(l);
		skynet_error(l->ctx, "Set memory limit to %.2f M", (double)l->mem_limit / (1024 * 1024));
		lua_pushnil(L);
		lua_setfield(L, LUA_REGISTRYINDEX, "memlimit");
	}
	lua_settop(L, 0);
	return 0;
}

static int
start_vm(struct snlua *l, const char *param, size_t sz) {
	lua_State *L = l->L;
	lua_gc(L, LUA_GCSTOP, 0);
	lua_pushcfunction(L, open_environment);
	lua_pushlightuserdata(L, l);
	if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
		skynet_error(l->ctx, "lua init error : %s", lua_tostring(L, -1));
		return -1;
	}
	if (run_loader(l, param, sz) != 0)
		return -1;
	lua_settle(L);
	return 0;
}

/* Tell the launcher, whose caller waits. Without one it's the node itself that can't start. */
static void
report_failed_start(struct skynet_context *ctx) {
	if (skynet_sendname(ctx, 0, ".launcher", PTYPE_TEXT, 0, "ERROR", 5) < 0) {
		skynet_error(ctx, "the node can't start");
		skynet_command(ctx, "ABORT", "1");
	}
}

static int
first_message(struct skynet_context *ctx, void *ud, int type, int session, uint32_t source,
              const void *msg, size_t sz) {
	struct snlua *l = ud;
	(void)source;
	if (type != PTYPE_TEXT || session != 0) {
		/* forged: somebody else's message can't come before our own */
		skynet_error(ctx, "snlua: unexpected first message (type %d, session %d)", type, session);
		return 0;
	}
	skynet_callback(ctx, NULL, NULL);
	unsigned e = atomic_load_explicit(&l->hooks.epoch, memory_order_relaxed);
	atomic_store_explicit(&l->hooks.epoch, e + 1, memory_order_relaxed);
	if (start_vm(l, msg ? msg : "", sz) != 0) {
		report_failed_start(ctx);
		skynet_command(ctx, "EXIT", NULL);
	}
	atomic_store_explicit(&l->hooks.epoch, e + 2, memory_order_relaxed);
	return 0;
}

int
skynet_snlua_init(struct snlua *l, struct skynet_context *ctx, const char *param) {
	l->ctx = ctx;
	size_t sz = param ? strlen(param) : 0;
	skynet_callback(ctx, l, first_message);
	const char *self = skynet_command(ctx, "REG", NULL);
	uint32_t handle = (uint32_t)strtoul(self + 1, NULL, 16);
	return skynet_send(ctx, 0, handle, PTYPE_TEXT, 0, (void *)(param ? param : ""), sz) < 0;
}

/* Shared objects are charged to no service: one makes them, another frees them. */
static void *
allocate_shared(void *ud, void *ptr, size_t osize, size_t nsize) {
	(void)ud;
	return skynet_lalloc(ptr, osize, nsize);
}

/* Strings that every service has, beside those of open_libraries: each exists once in the
 * process. */
static const char *const common_words[] = {
	"SUSPEND",
	"id",
	"name",
	"lua",
	"text",
	"system",
	"client",
	"socket",
	"snax",
	"queue",
	"multicast",
	"proto",
	"raw",
	"unknown_request",
	"unknown_response",
	"start",
	"stop",
	"skynet",
	"skynet.core",
	"skynet.dispatch",
	"skynet.require",
	"skynet.profile",
	"skynet.manager",
	"skynet_context",
	VM_HOOKS,
	"memlimit",
	"__pairs", /* the serialiser looks for it while nothing may raise */
	NULL,
};

/* What every service requires, and what is on a message's way: see lualib-src/builtin.h. */
static const luaL_Reg builtin[] = {
	{"skynet.core", skynet_open_core},
	{"skynet.dispatch", skynet_open_dispatch},
	{"skynet.socketdriver", skynet_open_socketdriver},
	{"skynet.netpack", skynet_open_netpack},
	{"skynet.cluster.core", skynet_open_cluster_core},
	{NULL, NULL},
};

static void
init_sharing(void) {
	lua_setsharedalloc(allocate_shared);
	luaL_initcodecache(common_words, open_libraries);
	luaL_setbuiltin(builtin);
}

struct snlua *
skynet_snlua_create(void) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, init_sharing);
	struct snlua *l = skynet_calloc(1, sizeof(*l));
	l->mem_report = MEMORY_WARNING;
	set_bound(l);
	l->L = lua_newstate(allocate, l);
	if (l->L == NULL) {
		skynet_free(l);
		return NULL;
	}
	return l;
}

void
skynet_snlua_release(struct snlua *l) {
	l->mem_limit = 0; /* closing may allocate */
	set_bound(l);
	lua_close(l->L);
	skynet_free(l);
}

/*
 * ---- called from other threads ----
 */

static struct snlua *
host_of(lua_State *L) {
	void *ud;
	lua_getallocf(L, &ud);
	return ud;
}

static void
interrupted(lua_State *L, lua_Debug *ar) {
	struct snlua *l = host_of(L);
	(void)ar;
	unsigned now = atomic_load_explicit(&l->hooks.epoch, memory_order_relaxed);
	if (now == atomic_load(&l->target))
		luaL_error(L, "signal 0");
}

static void
log_traceback(lua_State *L, lua_Debug *ar) {
	struct snlua *l = host_of(L);
	(void)ar;
	if (!lua_checkstack(L, LUA_MINSTACK))
		return;
	luaL_traceback(L, L, "where it runs now:", 0);
	skynet_error(l->ctx, "%s", lua_tostring(L, -1));
	lua_pop(L, 1);
}

/* Is a message being handled? Then aim at it. */
static int
aim(struct snlua *l) {
	unsigned e = atomic_load_explicit(&l->hooks.epoch, memory_order_relaxed);
	if ((e & 1) == 0)
		return 0;
	atomic_store(&l->target, e);
	return 1;
}

void
skynet_snlua_signal(struct snlua *l, int signal) {
	skynet_error(l->ctx, "recv a signal %d", signal);
	if (signal == 0) {
		if (aim(l))
			lua_interrupt(l->L, interrupted);
	} else if (signal == 1) {
		skynet_error(l->ctx, "Current Memory %.3fK", (double)l->mem / 1024);
	}
}

/* The watchdog found one message to take very long: tell what the service is doing. */
void
skynet_snlua_stuck(struct snlua *l) {
	if (aim(l))
		lua_interrupt(l->L, log_traceback);
}
