/*
 * Looking into a service: which coroutines wait, for what, on whose behalf. For task lists,
 * debug commands and hot-patching tools; nothing here changes anything.
 */
#include "vm.h"

#include "skynet_runtime.h"

static void
push_waiting(lua_State *L, struct vm *vm, const struct waiter *w) {
	switch (w->kind) {
	case WAIT_TASK:
	case WAIT_SLEEP:
	case WAIT_TOKEN:
	case WAIT_SOCKET:
		lua_pushthread(w->task->co);
		lua_xmove(w->task->co, L, 1);
		break;
	case WAIT_TIMER:
	case WAIT_HANDLER:
		vm_push(L, vm, w->kind == WAIT_TIMER ? REF_TIMERS : REF_HANDLERS);
		lua_rawgeti(L, -1, w->session);
		lua_remove(L, -2);
		break;
	default:
		lua_pushliteral(L, "BREAK");
	}
}

/* sessions() -> map session -> thread, function (a timer or a select) or "BREAK" */
static int
lsessions(lua_State *L) {
	struct vm *vm = vm_of(L);
	lua_settop(L, 0);
	lua_createtable(L, 0, (int)vm->waiters.used);
	for (uint32_t i = 0; i < vm->waiters.size; i++) {
		if (vm->waiters.slot[i].session == 0)
			continue;
		push_waiting(L, vm, &vm->waiters.slot[i]);
		lua_rawseti(L, 1, vm->waiters.slot[i].session);
	}
	return 1;
}

/* session(n) -> what waits for it, as in sessions(), or nothing */
static int
lsession(lua_State *L) {
	struct vm *vm = vm_of(L);
	struct waiter *w = waiters_find(&vm->waiters, (int)luaL_checkinteger(L, 1));
	if (w == NULL)
		return 0;
	push_waiting(L, vm, w);
	return 1;
}

/* count() -> number of sessions somebody still waits for */
static int
lcount(lua_State *L) {
	struct vm *vm = vm_of(L);
	lua_Integer n = 0;
	for (uint32_t i = 0; i < vm->waiters.size; i++) {
		if (vm->waiters.slot[i].session != 0 && vm->waiters.slot[i].kind != WAIT_BREAK)
			n++;
	}
	lua_pushinteger(L, n);
	return 1;
}

static void
set_integer(lua_State *L, const char *name, lua_Integer v) {
	lua_pushinteger(L, v);
	lua_setfield(L, -2, name);
}

/*
 * tasks() -> map thread -> { request=, source=, waiting=, callee= } of every coroutine the
 * service has in use; fields that don't apply are absent
 */
static int
ltasks(lua_State *L) {
	struct vm *vm = vm_of(L);
	lua_newtable(L);
	vm_push(L, vm, REF_THREADS);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		struct task *t = lua_touserdata(L, -2);
		if (t->state != TASK_IDLE) {
			lua_createtable(L, 0, 4);
			if (t->owes != OWES_NOTHING)
				set_integer(L, "request", t->request);
			if (t->handles)
				set_integer(L, "source", t->source);
			if (t->state == TASK_WAITING) {
				struct waiter *w = waiters_find(&vm->waiters, t->waiting);
				set_integer(L, "waiting", t->waiting);
				if (w && w->callee != 0)
					set_integer(L, "callee", w->callee);
			}
			lua_rawset(L, -5); /* result[thread] = record; the key stays for lua_next */
		} else {
			lua_pop(L, 1);
		}
	}
	lua_pop(L, 1);
	return 1;
}

static const char *
kind_name(enum wait_kind k) {
	switch (k) {
	case WAIT_TASK:
		return "call";
	case WAIT_SLEEP:
		return "sleep";
	case WAIT_TOKEN:
		return "wait";
	case WAIT_SOCKET:
		return "socket";
	case WAIT_TIMER:
		return "timer";
	case WAIT_HANDLER:
		return "select";
	default:
		return "dropped";
	}
}

/* Push the record of one waiter. */
static void
push_wait(lua_State *L, struct vm *vm, const struct waiter *w) {
	lua_createtable(L, 0, 6);
	set_integer(L, "session", w->session);
	lua_pushstring(L, kind_name(w->kind));
	lua_setfield(L, -2, "kind");
	lua_pushnumber(L, (lua_Number)skynet_stamp_age(w->since) * 1e-9);
	lua_setfield(L, -2, "since");
	push_waiting(L, vm, w);
	lua_setfield(L, -2, "who");
	if (w->callee != 0)
		set_integer(L, "callee", w->callee);
	vm_push(L, vm, REF_NAMES);
	lua_rawgeti(L, -1, w->session);
	lua_setfield(L, -3, "name");
	lua_pop(L, 1);
}

/*
 * waits() -> list of { session=, kind=, since=, who=, callee=, name= }: everything that waits.
 * since: seconds; who: as in sessions(); callee or name: where a call went to.
 */
static int
lwaits(lua_State *L) {
	struct vm *vm = vm_of(L);
	lua_settop(L, 0);
	lua_createtable(L, (int)vm->waiters.used, 0);
	lua_Integer n = 0;
	for (uint32_t i = 0; i < vm->waiters.size; i++) {
		if (vm->waiters.slot[i].session == 0)
			continue;
		push_wait(L, vm, &vm->waiters.slot[i]);
		lua_rawseti(L, 1, ++n);
	}
	return 1;
}

/* pool() -> number of idle coroutines kept for reuse */
static int
lpool(lua_State *L) {
	lua_pushinteger(L, vm_of(L)->idle_count);
	return 1;
}

/* inspect(what, ...): one of the functions above, by its name */
static int
linspect(lua_State *L) {
	static const char *const what[] = {"sessions", "session", "count", "tasks",
	                                   "pool",     "waits",   NULL};
	static const lua_CFunction function[] = {lsessions, lsession, lcount, ltasks, lpool, lwaits};
	int i = luaL_checkoption(L, 1, NULL, what);
	lua_remove(L, 1);
	return function[i](L);
}

void
core_open_inspect(lua_State *L) {
	static const luaL_Reg functions[] = {{"inspect", linspect}, {NULL, NULL}};
	luaL_setfuncs(L, functions, 0);
}
