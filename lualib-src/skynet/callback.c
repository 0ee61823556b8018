/*
 * Where messages enter the VM, and how the Lua side sets the dispatcher up.
 *
 * The callback runs on a Lua thread of its own. When it's the `dispatch_message` that the
 * library ships, the C dispatcher is called without a detour through Lua; any other function
 * (a wrapper, a filter in Lua or C) is called with (type, msg, sz, session, source).
 */
#include "../../3rd/lua/lview.h"

#include "vm.h"

#include "../../service-src/snlua/vmhooks.h"
#include "../block.h"
#include "skynet_malloc.h"
#include "skynet_runtime.h"

#define RED "\x1b[31m"
#define PLAIN "\x1b[0m"

static int
add_traceback(lua_State *L) {
	const char *text = lua_tostring(L, 1);
	lua_Debug caller;
	if (text == NULL)
		text = "(no error message)";
	if (lua_getstack(L, 1, &caller))
		luaL_traceback(L, L, text, 1);
	else
		lua_pushstring(L, text); /* what coroutines raised: they have added theirs */
	return 1;
}

static void
report(struct vm *vm, int status, const struct message *m) {
	switch (status) {
	case LUA_ERRRUN:
		skynet_error(vm->ctx, "lua call [%x to :%x : %d msgsz = %d] error : " RED "%s" PLAIN,
		             m->source, vm->self, m->session, (int)m->sz, lua_tostring(vm->cb, -1));
		break;
	case LUA_ERRMEM:
		skynet_error(vm->ctx, "lua memory error : [%x to :%x : %d]", m->source, vm->self,
		             m->session);
		break;
	default:
		skynet_error(vm->ctx, "lua error in error : [%x to :%x : %d]", m->source, vm->self,
		             m->session);
	}
}

struct dispatch {
	struct vm *vm;
	const struct message *m;
};

static void
direct(lua_State *L, void *ud) {
	const struct dispatch *d = ud;
	L->nCcalls += nyci; /* as in any protected call: nothing yields here */
	dispatch_message(L, d->vm, d->m);
	L->nCcalls -= nyci;
}

/* As lua_pcall of a C function that dispatches, with the traceback as its handler, but that
 * there's no such function: the thread's own frame does. */
static int
call_direct(struct vm *vm, const struct message *m) {
	lua_State *L = vm->cb;
	struct dispatch d = {vm, m};
	int status =
		luaD_pcall(L, direct, &d, savestack(L, L->top.p), savestack(L, L->ci->func.p + 1));
	lua_trimframe(L);
	return status;
}

static int
call_function(struct vm *vm, const struct message *m) {
	vm_push(vm->cb, vm, REF_CALLBACK);
	lua_pushinteger(vm->cb, m->type);
	lua_pushlightuserdata(vm->cb, m->data);
	lua_pushinteger(vm->cb, (lua_Integer)m->sz);
	lua_pushinteger(vm->cb, m->session);
	lua_pushinteger(vm->cb, m->source);
	return lua_pcall(vm->cb, 5, 0, 1);
}

/*
 * relaxed: the epoch only lets a signal tell a running message from a later one; what the
 * signal does is ordered by the interrupt's own atomics. One writer, hence no read-modify-write.
 */
static void
next_epoch(struct vm_hooks *hooks) {
	if (hooks == NULL)
		return;
	unsigned e = atomic_load_explicit(&hooks->epoch, memory_order_relaxed);
	atomic_store_explicit(&hooks->epoch, e + 1, memory_order_relaxed);
}

static int
on_message(struct skynet_context *ctx, void *ud, int type, int session, uint32_t source,
           const void *msg, size_t sz) {
	(void)ctx;
	struct vm *vm = ud;
	const bool forward = vm->forward; /* the callback may install another one */
	struct message m = {
		.type = type, .session = session, .source = source, .data = (void *)msg, .sz = sz};
	next_epoch(vm->hooks);
	vm->waiters.now = skynet_message_stamp(vm->ctx);
	int status = vm->direct ? call_direct(vm, &m) : call_function(vm, &m);
	if (status != LUA_OK) {
		report(vm, status, &m);
		lua_settop(vm->cb, 1);
		if (vm->unclaimed) /* out of memory before its handler began */
			send_error(vm, m.source, m.session);
		vm->unclaimed = false;
	}
	if (vm->trashed > 0)
		trash_empty(vm);
	next_epoch(vm->hooks);
	if (skynet_context_cold(vm->ctx))
		warm_note(vm, type);
	return forward;
}

/*
 * Is the callback the dispatch_message that was shipped, and does it still call what was
 * shipped? Debuggers exchange its upvalue raw_dispatch_message.
 */
static bool
is_stock(lua_State *L, struct vm *vm) {
	int top = lua_gettop(L);
	bool stock = false;
	vm_push(L, vm, REF_CALLBACK);
	vm_push(L, vm, REF_STOCK);
	vm_push(L, vm, REF_RAW);
	if (lua_isfunction(L, top + 1) && lua_rawequal(L, top + 1, top + 2)) {
		const char *name;
		for (int i = 1; (name = lua_getupvalue(L, top + 2, i)) != NULL; i++) {
			stock |= lua_rawequal(L, -1, top + 3);
			lua_pop(L, 1);
		}
	}
	lua_settop(L, top);
	return stock;
}

int
core_callback(lua_State *L) {
	struct vm *vm = vm_of(L);
	luaL_checktype(L, 1, LUA_TFUNCTION);
	bool forward = lua_toboolean(L, 2);
	lua_settop(L, 1);
	lua_rawseti(L, LUA_REGISTRYINDEX, vm->ref[REF_CALLBACK]);
	if (vm->cb == NULL) {
		vm->cb = lua_newthread(L);
		lua_rawsetp(L, LUA_REGISTRYINDEX, vm); /* anchors it */
		lua_pushcfunction(vm->cb, add_traceback);
		lua_getfield(L, LUA_REGISTRYINDEX, VM_HOOKS);
		vm->hooks = lua_touserdata(L, -1);
	}
	vm->forward = forward;
	vm->direct = is_stock(L, vm);
	skynet_callback(vm->ctx, vm, on_message);
	return 0;
}

/* dispatch(type, msg, sz, session, source): what the stock dispatch_message does. */
static int
ldispatch(lua_State *L) {
	struct vm *vm = vm_of(L);
	struct message m = {
		.type = (int)luaL_checkinteger(L, 1),
		.session = (int)luaL_checkinteger(L, 4),
		.source = (uint32_t)luaL_checkinteger(L, 5),
	};
	int kind = lua_type(L, 2);
	if (kind == LUA_TLIGHTUSERDATA || kind == LUA_TNIL) {
		lua_Integer sz = luaL_optinteger(L, 3, 0);
		luaL_argcheck(L, sz >= 0, 3, "size is negative");
		m.data = kind == LUA_TNIL ? NULL : check_pointer(L, 2);
		m.sz = m.data ? (size_t)sz : 0;
	} else {
		m.index = 2;
	}
	dispatch_message(L, vm, &m);
	return 0;
}

/*
 * Every message looks its protocol up by id: have the usual ones in the table's array part, and
 * room for names, so that it stays like this when a service registers some more.
 */
static void
index_protocols(lua_State *L, Table *proto) {
	if (proto->alimit < PTYPE_RESERVED_SNAX)
		luaH_resize(L, proto, PTYPE_RESERVED_SNAX,
		            isdummy(proto) ? 8 : (unsigned)sizenode(proto));
}

/*
 * setup{ proto=, skynet=, dispatch=, raw=, error=, unknown_request=, unknown_response= }: which
 * Lua values the dispatcher works with. Fields that are absent keep their value.
 */
static int
lsetup(lua_State *L) {
	static const struct {
		const char *name;
		enum ref ref;
		int type;
	} field[] = {
		{"proto", REF_PROTO, LUA_TTABLE},
		{"skynet", REF_SKYNET, LUA_TTABLE},
		{"dispatch", REF_STOCK, LUA_TFUNCTION},
		{"raw", REF_RAW, LUA_TFUNCTION},
		{"error", REF_ERROR_STOCK, LUA_TFUNCTION},
		{"unknown_request", REF_UNKNOWN_REQUEST, LUA_TFUNCTION},
		{"unknown_response", REF_UNKNOWN_RESPONSE, LUA_TFUNCTION},
	};
	struct vm *vm = vm_peek(L);
	luaL_checktype(L, 1, LUA_TTABLE);
	for (size_t i = 0; i < sizeof(field) / sizeof(field[0]); i++) {
		int type = lua_getfield(L, 1, field[i].name);
		if (type == LUA_TNIL)
			lua_pop(L, 1);
		else if (type == field[i].type)
			lua_rawseti(L, LUA_REGISTRYINDEX, vm->ref[field[i].ref]);
		else
			return luaL_error(L, "bad field '%s'", field[i].name);
	}
	vm_push(L, vm, REF_PROTO);
	vm->proto = lua_topointer(L, -1);
	index_protocols(L, (Table *)vm->proto);
	return 0;
}

/* queues(): the tables the dispatcher keeps, for tools that look into a service. */
static int
lqueues(lua_State *L) {
	static const struct {
		const char *name;
		enum ref ref;
	} field[] = {
		{"sleep_session", REF_TOKENS},  {"wakeup_queue", REF_WAKEUPS},
		{"unresponse", REF_UNRESPONSE}, {"trace_source", REF_TRACE_SOURCE},
		{"error_queue", REF_ERRORS},    {"timers", REF_TIMERS},
		{"handlers", REF_HANDLERS},     {"names", REF_NAMES},
	};
	struct vm *vm = vm_peek(L);
	lua_createtable(L, 0, 8);
	for (size_t i = 0; i < sizeof(field) / sizeof(field[0]); i++) {
		vm_push(L, vm, field[i].ref);
		lua_setfield(L, -2, field[i].name);
	}
	return 1;
}

/* callback() -> the function messages are given to, and whether it owns them */
static int
lcurrent(lua_State *L) {
	struct vm *vm = vm_of(L);
	vm_push(L, vm, REF_CALLBACK);
	lua_pushboolean(L, vm->forward);
	return 2;
}

/* table(n): an empty table with room for n named fields, so that filling it never moves it */
static int
ltable(lua_State *L) {
	lua_Integer n = luaL_checkinteger(L, 1);
	luaL_argcheck(L, n >= 0 && n <= 65536, 1, "out of range");
	lua_createtable(L, 0, (int)n);
	return 1;
}

/* recheck(): somebody may have exchanged parts of the dispatcher */
static int
lrecheck(lua_State *L) {
	struct vm *vm = vm_of(L);
	vm->direct = is_stock(L, vm);
	return 0;
}

static int
ltracing(lua_State *L) {
	vm_of(L)->tracing = true;
	return 0;
}

void
core_open_callback(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"dispatch", ldispatch}, {"setup", lsetup},      {"queues", lqueues},
		{"tracing", ltracing},   {"callback", lcurrent}, {"recheck", lrecheck},
		{"table", ltable},       {NULL, NULL},
	};
	luaL_setfuncs(L, functions, 0);
}
