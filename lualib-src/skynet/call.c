/*
 * Sending and calling: skynet.send, call, rawsend, rawcall, and what select is built on.
 *
 * A call packs straight into the message, records its session as awaited and yields; its
 * continuation unpacks the answer on the caller's own stack. Protocols stay Lua tables whose
 * fields may be replaced at any time, so they're read at every use; only the stock packer and
 * unpacker are recognised and run without a Lua call.
 */
#include "../../3rd/lua/lview.h"

#include "vm.h"

#include "../lua-seri.h"
#include "skynet_malloc.h"
#include "skynet_runtime.h"

#include <stdio.h>

enum { ARG_ADDR = 1, ARG_PROTO = 2, ARG_FIRST = 3 };

#define PTYPE_TRACE 12

/* Replace the protocol's name or id at ARG_PROTO by its table, which is returned. */
static const Table *
protocol(lua_State *L, struct vm *vm) {
	TValue *at = (TValue *)lua_viewat(L, ARG_PROTO);
	const TValue *class = luaH_fastget((Table *)vm->proto, at);
	if (!ttisanytable(class))
		luaL_error(L, "attempt to index a nil value (protocol '%s' is not registered)",
		           luaL_tolstring(L, ARG_PROTO, NULL));
	setobj(L, at, class);
	return hvalue(class);
}

static int
type_of(lua_State *L, struct vm *vm, const Table *class) {
	const TValue *id = lua_viewkey(class, vm->key[KEY_ID]);
	if (ttisinteger(id))
		return (int)ivalue(id);
	lua_getkey(L, ARG_PROTO, vm->key[KEY_ID]);
	int type = (int)lua_tointeger(L, -1);
	lua_pop(L, 1);
	return type;
}

/* Pack the arguments from ARG_FIRST on by the protocol's packer. */
static void *
pack_arguments(lua_State *L, struct vm *vm, const Table *class, size_t *sz, int *type) {
	const TValue *pack = lua_viewkey(class, vm->key[KEY_PACK]);
	if (ttislcf(pack) && fvalue(pack) == luaseri_pack) {
		*type |= PTYPE_TAG_DONTCOPY | PTYPE_TAG_SIZED;
		return seri_pack(L, ARG_FIRST, sz);
	}
	int top = lua_gettop(L);
	luaL_checkstack(L, top + LUA_MINSTACK, "too many arguments");
	lua_getkey(L, ARG_PROTO, vm->key[KEY_PACK]);
	for (int i = ARG_FIRST; i <= top; i++)
		lua_pushvalue(L, i);
	lua_call(L, top - ARG_FIRST + 1, 2);
	return core_payload(L, top + 1, sz, type);
}

static int
push_sent(lua_State *L, int session) {
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
	struct vm *vm = vm_of(L);
	luaL_checkany(L, ARG_PROTO);
	struct target to = core_target(L, ARG_ADDR);
	const Table *class = protocol(L, vm);
	int type = type_of(L, vm, class);
	size_t sz;
	void *msg = pack_arguments(L, vm, class, &sz, &type);
	return push_sent(L, core_send(vm, &to, 0, type, 0, msg, sz));
}

static int
lrawsend(lua_State *L) {
	struct vm *vm = vm_of(L);
	luaL_checkany(L, ARG_PROTO);
	struct target to = core_target(L, ARG_ADDR);
	int type = type_of(L, vm, protocol(L, vm));
	size_t sz;
	void *msg = core_payload(L, ARG_FIRST, &sz, &type);
	return push_sent(L, core_send(vm, &to, 0, type, 0, msg, sz));
}

/* A traced task announces its tag to the callee, right before the request. */
static void
announce_tag(lua_State *L, struct vm *vm, const struct target *to) {
	size_t n;
	if (vm->running == NULL || vm->running->tag != TAG_ON)
		return;
	tag_push(L, vm->running);
	const char *tag = lua_tolstring(L, -1, &n);
	core_trace_line(L, vm, tag, "call", L, 1);
	(void)core_send(vm, to, 0, PTYPE_TRACE, 0, (void *)tag, n);
	lua_pop(L, 1);
}

static int
invalid_address(lua_State *L, const struct target *to, int sent) {
	if (sent == -2)
		return luaL_error(L, "call failed: the message is too large");
	char text[16];
	snprintf(text, sizeof(text), ":%08x", to->handle);
	if (sent == -3)
		return luaL_error(L, "call failed: the mailbox of %s is full",
		                  to->name ? to->name : text);
	if (to->name)
		return luaL_error(L, "call to invalid address %s", to->name);
	return luaL_error(L, "call to invalid address %s", text);
}

/* Remember by which name a pending call was addressed: term() may be given the same one. */
static void
remember_name(lua_State *L, struct vm *vm, int session) {
	vm_push(L, vm, REF_NAMES);
	lua_pushvalue(L, ARG_ADDR);
	lua_rawseti(L, -2, session);
	lua_pop(L, 1);
	vm->names++;
}

/* Send a request and block; ARG_ADDR is the address as given. */
static int
request(lua_State *L, struct vm *vm, const struct target *to, int type, void *msg, size_t sz,
        lua_KFunction next) {
	if (vm->tracing)
		announce_tag(L, vm, to);
	int session = vm_newsession(vm);
	int sent = core_send(vm, to, 0, type, session, msg, sz);
	if (sent < 0)
		return invalid_address(L, to, sent);
	if (to->name)
		remember_name(L, vm, session);
	return task_block(L, vm, WAIT_TASK, session, to->handle, next);
}

/* The task was resumed: raise unless an answer is at top+2. */
static void
check_answer(lua_State *L, lua_KContext top) {
	int at = (int)top + 1;
	if (lua_toboolean(L, at))
		return;
	luaL_error(L, "call failed");
}

static int
return_unpacked(lua_State *L, int status, lua_KContext top) {
	(void)status;
	return lua_gettop(L) - (int)top;
}

static int
answer_values(lua_State *L, int status, lua_KContext top) {
	(void)status;
	check_answer(L, top);
	int at = (int)top + 2;
	const void *unpack = vm_of(L)->key[KEY_UNPACK];
	if (lua_keyfunction(L, ARG_PROTO, unpack) == luaseri_unpack && lua_islightuserdata(L, at)) {
		int n = seri_unpack(L, lua_touserdata(L, at), (size_t)lua_tointeger(L, at + 1));
		return n < 0 ? lua_error(L) : n;
	}
	lua_getkey(L, ARG_PROTO, unpack);
	lua_insert(L, at);
	top = at - 1;
	lua_callk(L, 2, LUA_MULTRET, top, return_unpacked);
	return return_unpacked(L, LUA_OK, top);
}

static int
answer_raw(lua_State *L, int status, lua_KContext top) {
	(void)status;
	check_answer(L, top);
	lua_settop(L, (int)top + 3);
	return 2;
}

static int
lcall(lua_State *L) {
	struct vm *vm = vm_of(L);
	luaL_checkany(L, ARG_PROTO);
	task_can_block(L, vm);
	struct target to = core_target(L, ARG_ADDR);
	const Table *class = protocol(L, vm);
	int type = type_of(L, vm, class);
	size_t sz;
	void *msg = pack_arguments(L, vm, class, &sz, &type);
	return request(L, vm, &to, type, msg, sz, answer_values);
}

static int
lrawcall(lua_State *L) {
	struct vm *vm = vm_of(L);
	luaL_checkany(L, ARG_PROTO);
	task_can_block(L, vm);
	struct target to = core_target(L, ARG_ADDR);
	int type = type_of(L, vm, protocol(L, vm));
	size_t sz;
	void *msg = core_payload(L, ARG_FIRST, &sz, &type);
	return request(L, vm, &to, type, msg, sz, answer_raw);
}

/* await(session, addr) -> msg, sz: block for the answer to a request that was sent. */
static int
lawait(lua_State *L) {
	struct vm *vm = vm_of(L);
	task_can_block(L, vm);
	int session = (int)luaL_checkinteger(L, 1);
	uint32_t callee = (uint32_t)lua_tointeger(L, 2);
	luaL_argcheck(L, session > 0 && waiters_find(&vm->waiters, session) == NULL, 1,
	              "not a session to wait for");
	return task_block(L, vm, WAIT_TASK, session, callee, answer_raw);
}

/*
 * request(addr, type, msg, sz, handler) -> session, or nothing when the address is invalid.
 * The handler gets (true, msg, sz) or (false); it runs on the dispatcher and can't block.
 */
static int
lrequest(lua_State *L) {
	struct vm *vm = vm_of(L);
	struct target to = core_target(L, 1);
	int type = (int)luaL_checkinteger(L, 2) & 0xff;
	luaL_checktype(L, 5, LUA_TFUNCTION);
	size_t sz;
	void *msg = core_payload(L, 3, &sz, &type);
	if (vm->tracing)
		announce_tag(L, vm, &to);
	int session = vm_newsession(vm);
	if (core_send(vm, &to, 0, type, session, msg, sz) < 0)
		return 0;
	if (waiters_add(&vm->waiters, session, WAIT_HANDLER, to.handle, NULL) != 0)
		return luaL_error(L, "not enough memory");
	vm_push(L, vm, REF_HANDLERS);
	lua_pushvalue(L, 5);
	lua_rawseti(L, -2, session);
	if (to.name)
		remember_name(L, vm, session);
	lua_pushinteger(L, session);
	return 1;
}

/* abandon(session): its answer, if it still comes, is dropped silently. */
static int
labandon(lua_State *L) {
	struct vm *vm = vm_of(L);
	int session = (int)luaL_checkinteger(L, 1);
	struct waiter *w = waiters_find(&vm->waiters, session);
	if (w == NULL || w->kind != WAIT_HANDLER)
		return 0;
	w->kind = WAIT_BREAK;
	w->callee = 0;
	vm_push(L, vm, REF_HANDLERS);
	lua_pushnil(L);
	lua_rawseti(L, -2, session);
	name_forget(L, vm, session);
	return 0;
}

/* died(addr): what waits for this address (a handle, or the text calls were made with) fails. */
static int
ldied(lua_State *L) {
	struct vm *vm = vm_of(L);
	if (lua_type(L, 1) == LUA_TNUMBER) {
		source_died(vm, (uint32_t)luaL_checkinteger(L, 1));
		return 0;
	}
	vm_push(L, vm, REF_NAMES);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		if (lua_rawequal(L, -1, 1))
			task_fail(vm, (int)lua_tointeger(L, -2));
		lua_pop(L, 1);
	}
	return 0;
}

void
core_open_call(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"send", lsend},       {"rawsend", lrawsend}, {"call", lcall},
		{"rawcall", lrawcall}, {"await", lawait},     {"request", lrequest},
		{"abandon", labandon}, {"died", ldied},       {NULL, NULL},
	};
	luaL_setfuncs(L, functions, 0);
}
