/*
 * Module skynet.sharetable.core: versions of shared tables.
 *
 * A version is made by the sharetable service, from source that runs in a Lua state of
 * its own or from a table, and is known to other services by the address of its root. All
 * versions that the service keeps are in one registry, so that an address can be trusted
 * only if it is there: clone() of anything else is refused. A version's memory lives as
 * long as the service keeps it or some Lua state uses it (see lua_pushshared), whichever
 * is longer.
 *
 * Any worker; one lock, held to look an address up.
 */
#include "skynet_malloc.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#define MATRIX "skynet.sharetable.matrix"
#define BUCKETS 256

struct matrix {
	lua_Shared *unit;
	lua_State *scratch; /* while it is being made */
	struct matrix *next;
};

static struct {
	pthread_mutex_t lock;
	struct matrix *bucket[BUCKETS];
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

/*
 * ---- the registry ----
 */

static struct matrix **
bucket_of(const void *root) {
	return &registry.bucket[((uintptr_t)root >> 4) % BUCKETS];
}

static void
enlist(struct matrix *m) {
	struct matrix **b = bucket_of(lua_sharedroot(m->unit));
	pthread_mutex_lock(&registry.lock);
	m->next = *b;
	*b = m;
	pthread_mutex_unlock(&registry.lock);
}

static void
delist(struct matrix *m) {
	struct matrix **p = bucket_of(lua_sharedroot(m->unit));
	pthread_mutex_lock(&registry.lock);
	while (*p != m)
		p = &(*p)->next;
	*p = m->next;
	pthread_mutex_unlock(&registry.lock);
}

/* A reference to the version with this root, or NULL. */
static lua_Shared *
look_up(const void *root) {
	lua_Shared *unit = NULL;
	pthread_mutex_lock(&registry.lock);
	const struct matrix *m = *bucket_of(root);
	while (m && lua_sharedroot(m->unit) != root)
		m = m->next;
	if (m) {
		unit = m->unit;
		lua_keepshared(unit);
	}
	pthread_mutex_unlock(&registry.lock);
	return unit;
}

/*
 * ---- a version, as its owner sees it ----
 */

static void
release(struct matrix *m) {
	if (m->scratch) {
		lua_close(m->scratch);
		m->scratch = NULL;
	}
	if (m->unit) {
		delist(m);
		lua_retireshared(m->unit);
		lua_dropshared(m->unit);
		m->unit = NULL;
	}
}

/* getptr() -> lightuserdata, or nothing after close */
static int
matrix_getptr(lua_State *L) {
	struct matrix *m = luaL_checkudata(L, 1, MATRIX);
	if (m->unit == NULL)
		return 0;
	lua_pushlightuserdata(L, (void *)lua_sharedroot(m->unit));
	return 1;
}

/* size() -> bytes, 0 after close */
static int
matrix_size(lua_State *L) {
	struct matrix *m = luaL_checkudata(L, 1, MATRIX);
	lua_pushinteger(L, m->unit ? (lua_Integer)lua_sharedsize(m->unit) : 0);
	return 1;
}

/* close(): give it up; states that use it keep it */
static int
matrix_close(lua_State *L) {
	release(luaL_checkudata(L, 1, MATRIX));
	return 0;
}

/* retire(): there's a newer one; states that don't use it any more drop it */
static int
matrix_retire(lua_State *L) {
	struct matrix *m = luaL_checkudata(L, 1, MATRIX);
	if (m->unit)
		lua_retireshared(m->unit);
	return 0;
}

static struct matrix *
new_matrix(lua_State *L) {
	static const luaL_Reg methods[] = {
		{"getptr", matrix_getptr}, {"size", matrix_size},  {"close", matrix_close},
		{"retire", matrix_retire}, {"__gc", matrix_close}, {NULL, NULL},
	};
	struct matrix *m = lua_newuserdatauv(L, sizeof(*m), 0);
	memset(m, 0, sizeof(*m));
	if (luaL_newmetatable(L, MATRIX)) {
		luaL_setfuncs(L, methods, 0);
		lua_pushvalue(L, -1);
		lua_setfield(L, -2, "__index");
	}
	lua_setmetatable(L, -2);
	return m;
}

/*
 * ---- running a source ----
 */

/* The source's arguments are at 2 to top: only what means the same in every state. */
static void
check_arguments(lua_State *L, int top) {
	for (int i = 2; i <= top; i++) {
		switch (lua_type(L, i)) {
		case LUA_TNIL:
		case LUA_TBOOLEAN:
		case LUA_TNUMBER:
		case LUA_TLIGHTUSERDATA:
			break;
		case LUA_TFUNCTION:
			if (!lua_iscfunction(L, i) || lua_getupvalue(L, i, 1))
				luaL_argerror(L, i, "Only support light C function");
			break;
		default:
			luaL_argerror(L, i, "Type invalid");
		}
	}
}

static void
pass_arguments(lua_State *L, lua_State *S, int top) {
	for (int i = 2; i <= top; i++) {
		switch (lua_type(L, i)) {
		case LUA_TBOOLEAN:
			lua_pushboolean(S, lua_toboolean(L, i));
			break;
		case LUA_TNUMBER:
			if (lua_isinteger(L, i))
				lua_pushinteger(S, lua_tointeger(L, i));
			else
				lua_pushnumber(S, lua_tonumber(L, i));
			break;
		case LUA_TLIGHTUSERDATA:
			lua_pushlightuserdata(S, lua_touserdata(L, i));
			break;
		case LUA_TFUNCTION:
			lua_pushcfunction(S, lua_tocfunction(L, i));
			break;
		default:
			lua_pushnil(S);
		}
	}
}

struct source {
	const char *text;
	size_t sz;
};

/* In the scratch state: libraries, then the source's function, left on the stack. */
static int
prepare(lua_State *S) {
	const struct source *src = lua_touserdata(S, 1);
	luaL_openlibs(S);
	int status =
		src->text[0] == '@'
			? luaL_loadfilex_(S, src->text + 1, NULL) /* as it is now: not the cached one */
			: luaL_loadbuffer(S, src->text, src->sz, src->text);
	if (status != LUA_OK)
		return lua_error(S);
	return 1;
}

static int
traceback(lua_State *S) {
	const char *text = lua_tostring(S, 1);
	if (text)
		luaL_traceback(S, S, text, 1);
	else
		lua_pushfstring(S, "(error object is a %s)", luaL_typename(S, 1));
	return 1;
}

/* Close the scratch state, with the error on top of it, which is raised in L. */
static int
raise(lua_State *L, struct matrix *m) {
	size_t sz;
	const char *text = lua_tolstring(m->scratch, -1, &sz);
	lua_pushlstring(L, text ? text : "(no message)", text ? sz : strlen("(no message)"));
	release(m);
	return lua_error(L);
}

/* matrix(source, ...) -> matrix. "@name" is a file; it's called with the arguments. */
static int
lmatrix(lua_State *L) {
	struct source src;
	int top = lua_gettop(L);
	src.text = luaL_checklstring(L, 1, &src.sz);
	check_arguments(L, top);
	struct matrix *m = new_matrix(L);
	lua_State *S = m->scratch = luaL_newstate();
	if (S == NULL || !lua_checkstack(S, top + LUA_MINSTACK))
		return luaL_error(L, "not enough memory");
	lua_pushcfunction(S, traceback);
	lua_pushcfunction(S, prepare);
	lua_pushlightuserdata(S, &src);
	if (lua_pcall(S, 1, 1, 0) != LUA_OK)
		return raise(L, m);
	pass_arguments(L, S, top);
	if (lua_pcall(S, top - 1, 1, 1) != LUA_OK)
		return raise(L, m);
	if (!lua_istable(S, -1)) {
		lua_pushfstring(S, "Not a table, it's a %s.", luaL_typename(S, -1));
		return raise(L, m);
	}
	const char *why;
	m->unit = lua_sharetable(S, -1, &why);
	if (m->unit == NULL) {
		lua_settop(S, 0);
		lua_pushstring(S, why);
		return raise(L, m);
	}
	enlist(m);
	lua_close(S);
	m->scratch = NULL;
	return 1;
}

/* freeze(table) -> matrix */
static int
lfreeze(lua_State *L) {
	const char *why;
	luaL_checktype(L, 1, LUA_TTABLE);
	struct matrix *m = new_matrix(L);
	m->unit = lua_sharetable(L, 1, &why);
	if (m->unit == NULL)
		return luaL_error(L, "%s", why);
	enlist(m);
	return 1;
}

/*
 * ---- versions, as their readers see them ----
 */

static int
push(lua_State *L) {
	lua_pushshared(L, lua_touserdata(L, 1));
	return 1;
}

/* A root's address; raises on anything else. */
static const void *
check_root(lua_State *L, int idx) {
	luaL_checktype(L, idx, LUA_TLIGHTUSERDATA);
	return lua_touserdata(L, idx);
}

/* Push the table of the version; takes the unit. */
static void
push_unit(lua_State *L, lua_Shared *unit) {
	lua_pushcfunction(L, push);
	lua_pushlightuserdata(L, unit);
	int status = lua_pcall(L, 1, 1, 0);
	lua_dropshared(unit);
	if (status != LUA_OK)
		lua_error(L);
}

/* clone(ptr) -> table */
static int
lclone(lua_State *L) {
	const void *root = check_root(L, 1);
	lua_Shared *unit = look_up(root);
	if (unit == NULL)
		return luaL_error(L, "no shared table at %p: its version was deleted", root);
	push_unit(L, unit);
	return 1;
}

/* held(ptr) -> boolean: may this VM still have references to the version? */
static int
lheld(lua_State *L) {
	lua_pushboolean(L, lua_findshared(L, check_root(L, 1)) != NULL);
	return 1;
}

/* replace(old, new) -> how many references of this VM were replaced */
static int
lreplace(lua_State *L) {
	lua_Shared *old = lua_findshared(L, check_root(L, 1));
	lua_Shared *newer = lua_findshared(L, check_root(L, 2));
	if (newer == NULL)
		return luaL_error(L, "the newer version was not cloned by this service");
	lua_pushinteger(L, old ? lua_replaceshared(L, old, newer) : 0);
	return 1;
}

/* is_sharedtable(v) -> boolean */
static int
lis_sharedtable(lua_State *L) {
	luaL_checkany(L, 1);
	lua_pushboolean(L, lua_isshared(L, 1));
	return 1;
}

/* stackvalues(co, t) -> n: put all values on the coroutine's stack into t[1..n] */
static int
lstackvalues(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTHREAD);
	luaL_checktype(L, 2, LUA_TTABLE);
	lua_State *co = lua_tothread(L, 1);
	lua_Integer n = 0;
	lua_Debug ar;
	if (!lua_checkstack(co, 1))
		return luaL_error(L, "stack overflow");
	if (co != L && lua_status(co) == LUA_OK && !lua_getstack(co, 0, &ar)) {
		for (int i = 1; i <= lua_gettop(co); i++) { /* it hasn't started, or has ended */
			lua_pushvalue(co, i);
			lua_xmove(co, L, 1);
			lua_seti(L, 2, ++n);
		}
	}
	for (int level = 0; lua_getstack(co, level, &ar); level++) {
		for (int i = 1; lua_getlocal(co, &ar, i); i++) {
			lua_xmove(co, L, 1);
			lua_seti(L, 2, ++n);
		}
		for (int i = -1; lua_getlocal(co, &ar, i); i--) { /* variable arguments */
			lua_xmove(co, L, 1);
			lua_seti(L, 2, ++n);
		}
	}
	lua_pushinteger(L, n);
	return 1;
}

LUAMOD_API int
luaopen_skynet_sharetable_core(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"matrix", lmatrix},
		{"freeze", lfreeze},
		{"clone", lclone},
		{"held", lheld},
		{"replace", lreplace},
		{"is_sharedtable", lis_sharedtable},
		{"stackvalues", lstackvalues},
		{NULL, NULL},
	};
	luaL_checkversion(L);
	luaL_newlib(L, functions);
	return 1;
}
