/*
 * Coroutines of a service: fork, timeout, sleep, wait, wakeup, killing one, leaving all.
 *
 * A timeout needs no coroutine before it fires: only its function is kept, unless the caller
 * wants to have the coroutine. A token that somebody sleeps on maps to the session the sleeper
 * waits for.
 */
#include "vm.h"

#include "skynet_malloc.h"
#include "skynet_server.h"
#include "skynet_timer.h"

#include <limits.h>

/* A task whose thread holds the function at `index` and the arguments after it. */
static struct task *
task_with(lua_State *L, struct vm *vm, int index) {
	int n = lua_gettop(L) - index + 1;
	struct task *t = task_take(L, vm);
	if (!lua_checkstack(t->co, n + LUA_MINSTACK)) {
		task_release(vm, t);
		luaL_error(L, "too many arguments");
	}
	lua_xmove(L, t->co, n);
	return t;
}

static void
push_thread(lua_State *L, struct task *t) {
	lua_pushthread(t->co);
	lua_xmove(t->co, L, 1);
}

/* fork(f, ...) -> thread */
static int
lfork(lua_State *L) {
	struct vm *vm = vm_of(L);
	luaL_argexpected(L, !lua_isnoneornil(L, 1), 1, "function");
	struct task *t = task_with(L, vm, 1);
	*vm->fork_tail = t;
	vm->fork_tail = &t->next;
	push_thread(L, t);
	return 1;
}

/* Centiseconds argument; what is longer than a timer can be (248 days) is cut to that. */
static int
check_delay(lua_State *L, int index) {
	lua_Integer n = luaL_checkinteger(L, index);
	return n > INT_MAX ? INT_MAX : n < 0 ? 0 : (int)n;
}

static void
add_waiter(lua_State *L, struct vm *vm, int session, enum wait_kind k, struct task *t) {
	if (waiters_add(&vm->waiters, session, k, 0, t) != 0)
		luaL_error(L, "not enough memory");
}

/* timeout(cs, f) -> thread */
static int
ltimeout(lua_State *L) {
	struct vm *vm = vm_of(L);
	int delay = check_delay(L, 1);
	lua_settop(L, 2);
	int session = vm_newsession(vm);
	struct task *t = NULL;
	if (lua_wantedresults(L) == 0) {
		vm_push(L, vm, REF_TIMERS);
		lua_pushvalue(L, 2);
		lua_rawseti(L, -2, session);
		add_waiter(L, vm, session, WAIT_TIMER, NULL);
	} else {
		t = task_with(L, vm, 2);
		add_waiter(L, vm, session, WAIT_TASK, t);
		t->waiting = session;
	}
	skynet_timeout(vm->self, delay, session);
	if (t == NULL)
		return 0;
	push_thread(L, t);
	return 1;
}

static void
trace_sleep(lua_State *L, struct vm *vm) {
	if (!vm->tracing || vm->running->tag != TAG_ON)
		return;
	tag_push(L, vm->running);
	core_trace_line(L, vm, lua_tostring(L, -1), "sleep", L, 1);
	lua_pop(L, 1);
}

/* The task of a thread of this service that is a task's own; or NULL. */
static struct task *
task_of(struct vm *vm, lua_State *co) {
	uintptr_t p = co ? *(uintptr_t *)lua_getextraspace(co) : 1;
	struct task *t = p & 1 ? NULL : (struct task *)p;
	return t && t->vm == vm && t->co == co ? t : NULL;
}

struct task *
task_on_itself(lua_State *L, struct vm *vm, int index) {
	struct task *t = task_of(vm, lua_tothread(L, index));
	return t && t->on_itself ? t : NULL;
}

/* The token is at index 1 or, if absent there, the running coroutine is put there. */
static void
check_token(lua_State *L, struct vm *vm) {
	if (lua_isnil(L, 1)) {
		lua_pushthread(L);
		lua_replace(L, 1);
	}
	task_can_block(L, vm);
	vm_push(L, vm, REF_TOKENS);
	lua_pushvalue(L, 1);
	if (lua_rawget(L, -2) != LUA_TNIL || task_on_itself(L, vm, 1))
		luaL_error(L, "token duplicative");
	lua_settop(L, 1);
}

/* Most tokens are the coroutine that waits itself: then its task knows, and no table. */
static bool
is_itself(lua_State *L, struct vm *vm) {
	return vm->running->co == L && lua_tothread(L, 1) == L;
}

static void
take_token(lua_State *L, struct vm *vm, int session) {
	if (is_itself(L, vm)) {
		vm->running->on_itself = true;
		return;
	}
	vm_push(L, vm, REF_TOKENS);
	lua_pushvalue(L, 1);
	lua_pushinteger(L, session);
	lua_rawset(L, -3);
	lua_settop(L, 1);
}

/* Of who goes on. Resuming it took the token that is itself; but who was adopted took it before.
 */
static void
drop_token(lua_State *L, struct vm *vm) {
	if (is_itself(L, vm) && !vm->running->adopted)
		return;
	vm_push(L, vm, REF_TOKENS);
	lua_pushvalue(L, 1);
	lua_pushnil(L);
	lua_rawset(L, -3);
}

/* Resumed with (true, ...) by the timer, or (false, "BREAK"): then the token is free already. */
static int
slept(lua_State *L, int status, lua_KContext top) {
	(void)status;
	if (lua_toboolean(L, (int)top + 1)) {
		drop_token(L, vm_of(L));
		return 0;
	}
	lua_settop(L, (int)top + 2);
	return 1;
}

/* sleep(cs [, token]) -> nothing, or "BREAK" */
static int
lsleep(lua_State *L) {
	struct vm *vm = vm_of(L);
	int delay = check_delay(L, 1);
	lua_settop(L, 2);
	lua_remove(L, 1);
	check_token(L, vm);
	trace_sleep(L, vm);
	int session = vm_newsession(vm);
	take_token(L, vm, session);
	skynet_timeout(vm->self, delay, session);
	return task_block(L, vm, WAIT_SLEEP, session, 0, slept);
}

static int
waited(lua_State *L, int status, lua_KContext top) {
	(void)L;
	(void)status;
	(void)top;
	return 0;
}

/* wait([token]) */
static int
lwait(lua_State *L) {
	struct vm *vm = vm_of(L);
	lua_settop(L, 1);
	check_token(L, vm);
	trace_sleep(L, vm);
	int session = vm_newsession(vm);
	take_token(L, vm, session);
	return task_block(L, vm, WAIT_TOKEN, session, 0, waited);
}

int
task_wait(lua_State *L, struct vm *vm, enum wait_kind k, int *session, lua_KFunction next) {
	int top = lua_gettop(L);
	task_can_block(L, vm);
	*session = vm_newsession(vm);
	vm_push(L, vm, REF_TOKENS);
	lua_pushthread(L);
	lua_pushvalue(L, -1);
	if (lua_rawget(L, -3) != LUA_TNIL)
		return luaL_error(L, "token duplicative");
	lua_pop(L, 1);
	if (vm->running->co == L) {
		vm->running->on_itself = true;
	} else {
		lua_pushinteger(L, *session);
		lua_rawset(L, -3);
	}
	lua_settop(L, top);
	trace_sleep(L, vm);
	return task_block(L, vm, k, *session, 0, next);
}

void
task_wakeup(lua_State *L, struct vm *vm, lua_State *co) {
	vm_push(L, vm, REF_WAKEUPS);
	lua_pushthread(co);
	if (L != co)
		lua_xmove(co, L, 1);
	lua_rawseti(L, -2, vm->wake_tail++);
	lua_pop(L, 1);
}

/* wakeup(token) -> true, or nothing when nobody sleeps on it */
static int
lwakeup(lua_State *L) {
	struct vm *vm = vm_of(L);
	luaL_checkany(L, 1);
	lua_settop(L, 1);
	if (task_on_itself(L, vm, 1) == NULL) {
		vm_push(L, vm, REF_TOKENS);
		lua_pushvalue(L, 1);
		if (lua_rawget(L, -2) == LUA_TNIL)
			return 0;
	}
	vm_push(L, vm, REF_WAKEUPS);
	lua_pushvalue(L, 1);
	lua_rawseti(L, -2, vm->wake_tail++);
	lua_pushboolean(L, 1);
	return 1;
}

/*
 * ---- ending coroutines ----
 */

static bool
unqueue_fork(struct vm *vm, struct task *t) {
	for (struct task **p = &vm->fork_head; *p; p = &(*p)->next) {
		if (*p == t) {
			*p = t->next;
			if (t->next == NULL)
				vm->fork_tail = p;
			t->next = NULL;
			return true;
		}
	}
	return false;
}

static void
free_token_of(lua_State *L, struct vm *vm, int session) {
	vm_push(L, vm, REF_TOKENS);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		if (lua_tointeger(L, -1) == session) {
			lua_pop(L, 1);
			lua_pushnil(L);
			lua_rawset(L, -3);
			break;
		}
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

/* What the task waits for will not find it any more. */
static void
stop_waiting(lua_State *L, struct vm *vm, struct task *t) {
	struct waiter *w = waiters_find(&vm->waiters, t->waiting);
	if (w == NULL || w->task != t)
		return;
	if (w->kind != WAIT_TASK && !t->on_itself)
		free_token_of(L, vm, t->waiting);
	t->on_itself = false;
	if (w->kind == WAIT_TOKEN || w->kind == WAIT_SOCKET) {
		waiters_remove(&vm->waiters, w);
	} else {
		name_forget(L, vm, t->waiting);
		w->kind = WAIT_BREAK;
		w->task = NULL;
		w->callee = 0;
	}
}

/* Close a coroutine that isn't running. What its to-be-closed variables raise is logged. */
static void
end_task(lua_State *L, struct vm *vm, struct task *t) {
	struct task *outer = vm->running;
	if (t->owes == OWES_CALL)
		send_error(vm, t->source, t->request);
	t->owes = OWES_NOTHING;
	vm->running = t;
	int status = lua_closethread(t->co, L);
	vm->running = outer;
	if (status != LUA_OK) {
		lua_xmove(t->co, L, 1);
		error_text(L);
		skynet_error(vm->ctx, "error while closing a coroutine: %s", lua_tostring(L, -1));
		lua_pop(L, 1);
	}
	task_untag(L, t);
	if (t->foreign)
		task_domestic(L, t);
	/* it may have waited with a small stack, and there may be no memory for another one */
	task_over(L, vm, t, lua_checkstack(t->co, LUA_MINSTACK));
}

static struct task *
check_task(lua_State *L, struct vm *vm, int index) {
	lua_State *co = lua_tothread(L, index);
	luaL_argexpected(L, co, index, "thread");
	return task_of(vm, co);
}

/* kill(thread) -> thread, or nothing when it's not blocked or waiting to start */
static int
lkill(lua_State *L) {
	struct vm *vm = vm_of(L);
	struct task *t = check_task(L, vm, 1);
	if (t == NULL)
		return 0;
	bool pending = unqueue_fork(vm, t);
	if (!pending && waiters_find(&vm->waiters, t->waiting) != NULL &&
	    (t->state == TASK_WAITING || t->state == TASK_READY)) {
		stop_waiting(L, vm, t);
		pending = true;
	}
	if (!pending)
		return 0;
	end_task(L, vm, t);
	lua_settop(L, 1);
	return 1;
}

/* Every task but the running one, as light userdata in a new list. */
static int
list_tasks(lua_State *L, struct vm *vm) {
	int n = 0;
	lua_newtable(L);
	vm_push(L, vm, REF_THREADS);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		struct task *t = lua_touserdata(L, -2);
		lua_pop(L, 1);
		if (t != vm->running && t->state != TASK_IDLE) {
			lua_pushvalue(L, -1);
			lua_rawseti(L, -4, ++n);
		}
	}
	lua_pop(L, 1);
	return n;
}

static void
fail_answers(struct vm *vm) {
	struct answer *a;
	while ((a = vm->answers.next) != &vm->answers) {
		if (!a->dead)
			send_error(vm, a->source, a->session);
		a->prev->next = a->next;
		a->next->prev = a->prev;
		a->next = a->prev = NULL;
		a->pending = false;
	}
}

/* Tell everybody this service still waits for that it's gone. */
static void
leave_callees(lua_State *L, struct vm *vm) {
	for (uint32_t i = 0; i < vm->waiters.size; i++) {
		struct waiter *w = &vm->waiters.slot[i];
		if (w->session != 0 && w->callee != 0)
			send_error(vm, w->callee, 0);
	}
	vm_push(L, vm, REF_NAMES);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		(void)skynet_sendname(vm->ctx, 0, lua_tostring(L, -1), PTYPE_ERROR, 0, NULL, 0);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

/*
 * leave(): everything a service that ends owes to others, and the end of its coroutines; the
 * running one lives until it yields "QUIT".
 */
static int
lleave(lua_State *L) {
	struct vm *vm = vm_of(L);
	struct task *t;
	while ((t = vm->fork_head) != NULL) { /* queued forks never run */
		vm->fork_head = t->next;
		task_release(vm, t);
	}
	vm->fork_tail = &vm->fork_head;
	if (vm->running && vm->running->owes == OWES_CALL) {
		send_error(vm, vm->running->source, vm->running->request);
		vm->running->owes = OWES_NOTHING;
	}
	leave_callees(L, vm);
	int n = list_tasks(L, vm);
	for (int i = 1; i <= n; i++) {
		lua_rawgeti(L, -1, i);
		t = lua_touserdata(L, -1);
		lua_pop(L, 1);
		stop_waiting(L, vm, t);
		end_task(L, vm, t);
	}
	fail_answers(vm);
	return 0;
}

/*
 * ---- trace tags ----
 */

/* tag() -> the running coroutine's tag: text, false (forced off) or nil */
static int
ltag(lua_State *L) {
	tag_push(L, vm_of(L)->running);
	return 1;
}

/* newtag() -> a fresh tag for the running coroutine, or nothing when tracing is forced off */
static int
lnewtag(lua_State *L) {
	struct vm *vm = vm_of(L);
	if (vm->running == NULL || vm->running->tag == TAG_OFF)
		return 0;
	tag_new(L, vm);
	lua_pushvalue(L, -1);
	tag_set(L, vm->running);
	return 1;
}

void
core_open_thread(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"fork", lfork},     {"timeout", ltimeout}, {"sleep", lsleep}, {"wait", lwait},
		{"wakeup", lwakeup}, {"kill", lkill},       {"leave", lleave}, {"tag", ltag},
		{"newtag", lnewtag}, {NULL, NULL},
	};
	luaL_setfuncs(L, functions, 0);
}
