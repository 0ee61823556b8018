/*
 * Module skynet.core: the runtime as C gives it to Lua.
 *
 * The 17 functions that services and libraries may call directly. They neither block nor know
 * of coroutines; what does is module skynet.dispatch, in the other files of this folder.
 */
#include "../builtin.h"
#include "vm.h"

#include "../block.h"
#include "../lua-seri.h"
#include "skynet_malloc.h"
#include "skynet_server.h"
#include "skynet_timer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct target
core_target(lua_State *L, int index) {
	struct target to = {0};
	to.handle = (uint32_t)lua_tointeger(L, index);
	if (to.handle != 0)
		return to;
	if (lua_type(L, index) == LUA_TNUMBER)
		luaL_error(L, "Invalid service address 0");
	to.name = lua_tostring(L, index);
	if (to.name == NULL)
		luaL_error(L, "dest address type (%s) must be a string or number.",
		           luaL_typename(L, index));
	return to;
}

int
core_send(struct vm *vm, const struct target *to, uint32_t source, int type, int session,
          void *msg, size_t sz) {
	if (to->name)
		return skynet_sendname(vm->ctx, source, to->name, type, session, msg, sz);
	return skynet_send(vm->ctx, source, to->handle, type, session, msg, sz);
}

/* A block that was thrown away in this message can't be sent as well. */
static void *
give_away(lua_State *L, void *block) {
	struct vm *vm = vm_of(L);
	for (int i = 0; i < vm->trashed; i++) {
		if (vm->trash[i] == block)
			luaL_error(L, "the block was given to skynet.trash before");
	}
	return block;
}

void *
core_payload(lua_State *L, int index, size_t *sz, int *type) {
	*sz = 0;
	switch (lua_type(L, index)) {
	case LUA_TSTRING: {
		const char *s = lua_tolstring(L, index, sz);
		return *sz ? (void *)s : NULL;
	}
	case LUA_TLIGHTUSERDATA:
		*type |= PTYPE_TAG_DONTCOPY;
		/* a negative size is "too large", and the block is given away all the same */
		*sz = (size_t)(int)luaL_checkinteger(L, index + 1);
		luaL_argcheck(L, *sz == 0 || lua_touserdata(L, index), index, "a size without a block");
		return give_away(L, check_pointer(L, index));
	default:
		luaL_error(L, "invalid param %s", luaL_typename(L, index));
		return NULL;
	}
}

/* send(addr, ...) and redirect(addr, source, ...) from `index` on: type, session, msg, sz. */
static int
send_message(lua_State *L, uint32_t source, int index) {
	struct vm *vm = vm_of(L);
	struct target to = core_target(L, 1);
	lua_Integer type = luaL_checkinteger(L, index);
	luaL_argcheck(L, type >= 0 && type <= 255, index, "message type is not in 0..255");
	int flags = (int)type;
	int session = 0;
	if (lua_isnil(L, index + 1))
		flags |= PTYPE_TAG_ALLOCSESSION;
	else
		session = (int)luaL_checkinteger(L, index + 1);
	size_t sz;
	void *msg = core_payload(L, index + 2, &sz, &flags);
	session = core_send(vm, &to, source, flags, session, msg, sz);
	if (session < -1) {
		lua_pushboolean(L, 0);
		return 1;
	}
	if (session < 0)
		return 0;
	lua_pushinteger(L, session);
	return 1;
}

static int
lsend(lua_State *L) {
	return send_message(L, 0, 2);
}

static int
lredirect(lua_State *L) {
	return send_message(L, (uint32_t)luaL_checkinteger(L, 2), 3);
}

static int
lgenid(lua_State *L) {
	lua_pushinteger(L, skynet_context_newsession(vm_of(L)->ctx));
	return 1;
}

/* The command's parameter: looked at only when exactly two arguments were given. */
static const char *
text_param(lua_State *L) {
	return lua_gettop(L) == 2 ? luaL_checkstring(L, 2) : NULL;
}

static int
lcommand(lua_State *L) {
	const char *result = skynet_command(vm_of(L)->ctx, luaL_checkstring(L, 1), text_param(L));
	if (result == NULL)
		return 0;
	lua_pushstring(L, result);
	return 1;
}

static int
lintcommand(lua_State *L) {
	char number[16];
	const char *param = NULL;
	const char *name = luaL_checkstring(L, 1);
	if (lua_gettop(L) == 2 && lua_type(L, 2) == LUA_TNUMBER) {
		snprintf(number, sizeof(number), "%d", (int)luaL_checkinteger(L, 2));
		param = number;
	} else {
		param = text_param(L);
	}
	const char *result = skynet_command(vm_of(L)->ctx, name, param);
	if (result == NULL)
		return 0;
	char *end;
	lua_Integer n = strtoll(result, &end, 0);
	if (*end == '\0') {
		lua_pushinteger(L, n);
		return 1;
	}
	double d = strtod(result, &end);
	if (*end != '\0')
		return luaL_error(L, "Invalid result %s", result);
	lua_pushnumber(L, d);
	return 1;
}

static int
laddresscommand(lua_State *L) {
	const char *result = skynet_command(vm_of(L)->ctx, luaL_checkstring(L, 1), text_param(L));
	if (result == NULL || result[0] != ':')
		return 0;
	lua_pushinteger(L, (lua_Integer)strtoul(result + 1, NULL, 16));
	return 1;
}

static int
lerror(lua_State *L) {
	struct vm *vm = vm_of(L);
	int n = lua_gettop(L);
	size_t sz;
	const char *text;
	if (n <= 1) {
		lua_settop(L, 1);
		text = luaL_tolstring(L, 1, &sz);
	} else {
		luaL_Buffer b;
		luaL_buffinit(L, &b);
		for (int i = 1; i <= n; i++) {
			if (i > 1)
				luaL_addchar(&b, ' ');
			luaL_tolstring(L, i, NULL);
			luaL_addvalue(&b);
		}
		luaL_pushresult(&b);
		text = lua_tolstring(L, -1, &sz);
	}
	skynet_error(vm->ctx, "%*s", (int)sz, text);
	return 0;
}

static int
lharbor(lua_State *L) {
	int harbor = 0;
	int remote = skynet_isremote(vm_of(L)->ctx, (uint32_t)luaL_checkinteger(L, 1), &harbor);
	lua_pushinteger(L, harbor);
	lua_pushboolean(L, remote);
	return 2;
}

static int
ltostring(lua_State *L) {
	if (lua_isnoneornil(L, 1))
		return 0;
	if (lua_type(L, 1) == LUA_TSTRING) {
		lua_settop(L, 1);
		return 1;
	}
	size_t sz;
	const char *msg = check_block(L, 1, &sz);
	lua_pushlstring(L, sz ? msg : "", sz);
	return 1;
}

void
trash_empty(struct vm *vm) {
	for (int i = 0; i < vm->trashed; i++)
		skynet_free(vm->trash[i]);
	vm->trashed = 0;
}

/*
 * Blocks are freed when the message is done, or many of them have come together: until then
 * none gets a new owner, so throwing one away twice is noticed.
 */
static void
trash_block(lua_State *L, void *block) {
	struct vm *vm = vm_of(L);
	for (int i = 0; i < vm->trashed; i++) {
		if (vm->trash[i] == block)
			luaL_error(L, "skynet.trash: the block was thrown away before");
	}
	if (vm->trashed == TRASH_MAX)
		trash_empty(vm);
	vm->trash[vm->trashed++] = block;
}

static int
ltrash(lua_State *L) {
	switch (lua_type(L, 1)) {
	case LUA_TSTRING:
		return 0;
	case LUA_TLIGHTUSERDATA:
		luaL_checkinteger(L, 2);
		if (check_pointer(L, 1) != NULL)
			trash_block(L, lua_touserdata(L, 1));
		return 0;
	default:
		return luaL_error(L, "skynet.trash invalid param %s", luaL_typename(L, 1));
	}
}

static int
lnow(lua_State *L) {
	lua_pushinteger(L, (lua_Integer)skynet_now());
	return 1;
}

static lua_Integer
monotonic_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (lua_Integer)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int
lhpc(lua_State *L) {
	lua_pushinteger(L, monotonic_ns());
	return 1;
}

#define TRACE_FRAMES 3

void
core_trace_line(lua_State *L, struct vm *vm, const char *tag, const char *text, lua_State *L1,
                int level) {
	luaL_Buffer b;
	luaL_buffinit(L, &b);
	const char *separator = " : ";
	lua_Debug ar;
	for (int found = 0; L1 && found < TRACE_FRAMES && lua_getstack(L1, level, &ar); level++) {
		lua_getinfo(L1, "Sl", &ar);
		if (ar.currentline < 0)
			continue; /* a C function */
		char line[16];
		snprintf(line, sizeof(line), ":%d", ar.currentline);
		luaL_addstring(&b, separator);
		luaL_addstring(&b, ar.source);
		luaL_addstring(&b, line);
		separator = " ";
		found++;
	}
	luaL_pushresult(&b);
	skynet_error(vm->ctx, "<TRACE %s> %lld %s%s", tag, (long long)monotonic_ns(), text,
	             lua_tostring(L, -1));
	lua_pop(L, 1);
}

int
core_trace(lua_State *L) {
	struct vm *vm = vm_of(L);
	const char *tag = luaL_checkstring(L, 1);
	const char *text = luaL_checkstring(L, 2);
	lua_State *from = NULL;
	int level = -1;
	if (lua_isthread(L, 3)) {
		from = lua_tothread(L, 3);
		level = (int)luaL_optinteger(L, 4, 1);
	} else if (!lua_isnoneornil(L, 3)) {
		from = L;
		level = (int)luaL_checkinteger(L, 3);
	}
	core_trace_line(L, vm, tag, text, level >= 0 ? from : NULL, level);
	return 0;
}

static int
make_core(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"send", lsend},
		{"redirect", lredirect},
		{"genid", lgenid},
		{"command", lcommand},
		{"intcommand", lintcommand},
		{"addresscommand", laddresscommand},
		{"error", lerror},
		{"harbor", lharbor},
		{"callback", core_callback},
		{"trace", core_trace},
		{"tostring", ltostring},
		{"pack", luaseri_pack},
		{"unpack", luaseri_unpack},
		{"packstring", luaseri_packstring},
		{"trash", ltrash},
		{"now", lnow},
		{"hpc", lhpc},
		{NULL, NULL},
	};
	luaL_newlib(L, functions);
	return 1;
}

static int
make_dispatch(lua_State *L) {
	lua_createtable(L, 0, 40);
	core_open_callback(L);
	core_open_call(L);
	core_open_answer(L);
	core_open_thread(L);
	core_open_inspect(L);
	core_open_stream(L);
	return 1;
}

/* Push the module that skynet_core_prepare kept under this key; the first who asks gets it. */
static int
take_prepared(lua_State *L, const void *key) {
	if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) != LUA_TTABLE) {
		lua_pop(L, 1);
		return 0;
	}
	lua_pushnil(L);
	lua_rawsetp(L, LUA_REGISTRYINDEX, key);
	return 1;
}

static int
open_module(lua_State *L, lua_CFunction make) {
	luaL_checkversion(L);
	vm_open(L);
	return take_prepared(L, (const void *)(uintptr_t)make) || make(L);
}

int
skynet_open_core(lua_State *L) {
	return open_module(L, make_core);
}

int
skynet_open_dispatch(lua_State *L) {
	return open_module(L, make_dispatch);
}

void
skynet_core_model(lua_State *L) {
	vm_model(L);
}

void
skynet_core_adopt(lua_State *L, struct skynet_context *ctx) {
	vm_adopt(L, ctx);
}

void
skynet_core_prepare(lua_State *L) {
	static const lua_CFunction make[] = {make_core, make_dispatch};
	for (int i = 0; i < 2; i++) {
		make[i](L);
		lua_rawsetp(L, LUA_REGISTRYINDEX, (const void *)(uintptr_t)make[i]);
	}
	vm_prepare(L);
}
