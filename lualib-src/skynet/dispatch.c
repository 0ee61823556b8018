/*
 * What happens to one incoming message.
 *
 * A response finds its waiter by session and resumes that coroutine; a request is unpacked and
 * handed to the protocol's handler in a pooled coroutine. When the coroutine blocks or ends,
 * tokens that were woken and calls that failed are resumed, then the coroutines that were
 * forked; only then is the message done. All errors of one message are collected and raised
 * together at the end, so none prevents the rest from running.
 *
 * A blocked coroutine has yielded "SUSPEND"; `waiting` says for which session. It's resumed
 * with (true, msg, sz), or with (false [, "BREAK"]) when it won't get its answer.
 */
#include "../../3rd/lua/lview.h"

#include "vm.h"

#include "../../service-src/snlua/vmhooks.h"
#include "../lua-seri.h"
#include "skynet_malloc.h"

#include <stdio.h>
#include <string.h>

#define PTYPE_TRACE 12

static void resume(lua_State *L, struct vm *vm, struct task *t, int nargs);

void
send_error(struct vm *vm, uint32_t to, int session) {
	/* the requester may be gone as well: nothing is left to be told then */
	(void)skynet_send(NULL, vm->self, to, PTYPE_ERROR, session, NULL, 0);
}

static int
to_text(lua_State *L) {
	luaL_tolstring(L, 1, NULL);
	return 1;
}

void
error_text(lua_State *L) {
	if (lua_type(L, -1) == LUA_TSTRING)
		return;
	lua_pushcfunction(L, to_text);
	lua_insert(L, -2);
	if (lua_pcall(L, 1, 1, 0) == LUA_OK)
		return;
	const char *why = lua_tostring(L, -1);
	lua_pushfstring(L, "(error object whose text can't be had: %s)", why ? why : "?");
	lua_remove(L, -2);
}

/* Take the error object on top of the stack. */
static void
note_error(lua_State *L, struct vm *vm) {
	error_text(L);
	vm_push(L, vm, REF_ERRORS);
	lua_insert(L, -2);
	lua_rawseti(L, -2, ++vm->errors);
	lua_pop(L, 1);
}

static void
raise_errors(lua_State *L, struct vm *vm) {
	luaL_Buffer b;
	int n = vm->errors;
	vm->errors = 0;
	vm_push(L, vm, REF_ERRORS);
	int errors = lua_gettop(L);
	luaL_buffinit(L, &b);
	for (int i = 1; i <= n; i++) {
		lua_rawgeti(L, errors, i);
		luaL_addvalue(&b);
		if (i < n)
			luaL_addchar(&b, '\n');
		lua_pushnil(L);
		lua_rawseti(L, errors, i);
	}
	luaL_pushresult(&b);
	lua_error(L);
}

/*
 * ---- tracing ----
 */

void
tag_push(lua_State *L, struct task *t) {
	if (t == NULL || t->tag == TAG_NONE) {
		lua_pushnil(L);
	} else if (t->tag == TAG_OFF) {
		lua_pushboolean(L, 0);
	} else {
		vm_push(L, t->vm, REF_TAGS);
		lua_rawgetp(L, -1, t);
		lua_remove(L, -2);
	}
}

static void
trace_task(lua_State *L, struct task *t, const char *text) {
	if (t->tag != TAG_ON)
		return;
	tag_push(L, t);
	core_trace_line(L, t->vm, lua_tostring(L, -1), text, NULL, -1);
	lua_pop(L, 1);
}

void
tag_new(lua_State *L, struct vm *vm) {
	char text[32];
	snprintf(text, sizeof(text), ":%08x-%d", vm->self, ++vm->trace_seq);
	lua_pushstring(L, text);
}

/* Give the task the tag text on top of the stack. */
void
tag_set(lua_State *L, struct task *t) {
	vm_push(L, t->vm, REF_TAGS);
	lua_insert(L, -2);
	lua_rawsetp(L, -2, t);
	lua_pop(L, 1);
	t->tag = TAG_ON;
	t->vm->tracing = true;
}

/* Which tag a request gets: the one announced for its source, a new one, or none. */
static void
tag_request(lua_State *L, struct vm *vm, struct task *t, int class, const struct message *m) {
	int announced = 0;
	if (vm->traced > 0) {
		vm_push(L, vm, REF_TRACE_SOURCE);
		if (lua_rawgeti(L, -1, m->source) == LUA_TSTRING) {
			announced = 1;
			lua_pushnil(L);
			lua_rawseti(L, -3, m->source);
			vm->traced--;
			lua_remove(L, -2);
		} else {
			lua_pop(L, 2);
		}
	}
	int policy = lua_getfield(L, class, "trace");
	int on = lua_toboolean(L, -1);
	lua_pop(L, 1);
	if (policy != LUA_TNIL && !on) {
		lua_pop(L, announced);
		t->tag = TAG_OFF;
		return;
	}
	if (!announced) {
		if (!on)
			return;
		tag_new(L, vm);
	}
	tag_set(L, t);
	trace_task(L, t, "request");
}

static void
remember_tag(lua_State *L, struct vm *vm, const struct message *m) {
	vm_push(L, vm, REF_TRACE_SOURCE);
	if (lua_rawgeti(L, -1, m->source) != LUA_TSTRING)
		vm->traced++;
	lua_pop(L, 1);
	if (m->index)
		luaL_tolstring(L, m->index, NULL);
	else
		lua_pushlstring(L, m->sz ? m->data : "", m->sz);
	lua_rawseti(L, -2, m->source);
	lua_pop(L, 1);
	vm->tracing = true;
}

/*
 * ---- what a coroutine did when it came back ----
 */

static void
remember_forgotten(struct vm *vm, const struct task *t) {
	if (vm->forgotten_count == vm->forgotten_cap) {
		vm->forgotten_cap = vm->forgotten_cap ? vm->forgotten_cap * 2 : 8;
		vm->forgotten = skynet_realloc(vm->forgotten, vm->forgotten_cap * sizeof(*vm->forgotten));
	}
	vm->forgotten[vm->forgotten_count++] = (struct forgotten){t->source, t->request};
}

static void
forgot_answer(lua_State *L, struct vm *vm, struct task *t) {
	lua_Debug ar = {.short_src = "?", .linedefined = 0};
	vm_push(L, vm, REF_PROTO);
	if (lua_rawgeti(L, -1, t->type) == LUA_TTABLE &&
	    lua_getfield(L, -1, "dispatch") == LUA_TFUNCTION)
		lua_getinfo(L, ">S", &ar);
	else
		ar.source = "?";
	skynet_error(vm->ctx, "Maybe forgot response session %d from :%08x : %s:%d", t->request,
	             t->source, ar.source, ar.linedefined);
}

void
task_over(lua_State *L, struct vm *vm, struct task *t, bool reuse) {
	if (vm->hooks && vm->hooks->profiling > 0)
		vm->hooks->forget(L, t->co);
	if (reuse && !t->adopted)
		task_release(vm, t);
	else
		task_free(L, t);
}

static void
finished(lua_State *L, struct vm *vm, struct task *t) {
	if (t->tag != TAG_NONE) {
		trace_task(L, t, "end");
		task_untag(L, t);
	}
	if (t->owes == OWES_CALL) {
		int top = lua_gettop(L);
		forgot_answer(L, vm, t);
		lua_settop(L, top);
		/* a client frame's session is a socket id: nobody waits */
		if (t->type != PTYPE_CLIENT)
			remember_forgotten(vm, t);
	}
	task_over(L, vm, t, true);
}

/*
 * Run the coroutine's to-be-closed variables; what they raise is an error of its own. A thread
 * that may have failed inside a hook isn't reused: Lua would never call a hook in it again, so
 * that nothing could interrupt it.
 */
static void
close_thread(lua_State *L, struct vm *vm, struct task *t, bool report) {
	struct task *outer = vm->running;
	vm->running = t;
	int status = lua_closethread(t->co, L);
	vm->running = outer;
	if (status != LUA_OK && report) {
		lua_xmove(t->co, L, 1);
		note_error(L, vm);
	}
	task_over(L, vm, t, false);
}

/* The coroutine raised: its error object is on top of its stack. */
static void
failed(lua_State *L, struct vm *vm, struct task *t) {
	luaL_checkstack(L, LUA_MINSTACK, NULL);
	int top = lua_gettop(L);
	if (t->owes == OWES_CALL) {
		send_error(vm, t->source, t->request);
		trace_task(L, t, "error");
	}
	t->owes = OWES_NOTHING;
	task_untag(L, t);
	if (lua_status(t->co) == LUA_ERRMEM) {
		/* what it held is needed for everything else; a traceback is a luxury */
		close_thread(L, vm, t, false);
		lua_pushliteral(L, "not enough memory");
		note_error(L, vm);
		lua_settop(L, top);
		return;
	}
	lua_pushvalue(t->co, -1);
	lua_xmove(t->co, L, 1);
	error_text(L);
	luaL_traceback(L, t->co, lua_tostring(L, -1), 0);
	note_error(L, vm);
	close_thread(L, vm, t, false);
	lua_settop(L, top);
}

/* A coroutine that yielded something the framework doesn't know. */
static void
misused(lua_State *L, struct vm *vm, struct task *t, const char *format, const char *what) {
	lua_pushfstring(L, format, what);
	lua_xmove(L, t->co, 1);
	failed(L, vm, t);
}

static void
suspended(lua_State *L, struct vm *vm, struct task *t, int nres) {
	const char *command = nres > 0 ? lua_tostring(t->co, -nres) : NULL;
	if (command == NULL || command == vm->suspend || strcmp(command, "SUSPEND") == 0) {
		lua_pop(t->co, nres);
		if (t->state == TASK_RUNNING)
			t->state = TASK_PARKED;
		if (t->rest == REST_NOW) {
			t->rest = REST_DONE;
			lua_rest(t->co);
		}
	} else if (strcmp(command, "QUIT") == 0) {
		close_thread(L, vm, t, true);
	} else if (strcmp(command, "USER") == 0) {
		misused(L, vm, t, "Call skynet.coroutine.yield out of skynet.coroutine.resume%s", "");
	} else {
		misused(L, vm, t, "Unknown command : %s", command);
	}
}

/* The coroutine could not be resumed: somebody else ended it, or has it running. */
static void
refused(lua_State *L, struct vm *vm, struct task *t) {
	lua_xmove(t->co, L, 1);
	note_error(L, vm);
	if (t->owes == OWES_CALL)
		send_error(vm, t->source, t->request);
	task_untag(L, t);
	task_free(L, t);
}

static void
resume(lua_State *L, struct vm *vm, struct task *t, int nargs) {
	struct task *outer = vm->running;
	struct vm_hooks *hooks = vm->hooks;
	int nres = 0;
	vm->running = t;
	t->state = TASK_RUNNING;
	t->waiting = 0;
	t->on_itself = false;
	if (t->foreign)
		task_domestic(L, t);
	if (hooks && hooks->profiling > 0)
		hooks->enter(L, t->co);
	int status = lua_resume(t->co, L, nargs, &nres);
	if (hooks && hooks->profiling > 0) /* perhaps since it started just now */
		hooks->leave(L, t->co);
	vm->running = outer;
	if (t->waiting != 0 && status != LUA_YIELD)
		task_orphan(L, t);
	if (status == LUA_OK)
		finished(L, vm, t);
	else if (status == LUA_YIELD)
		suspended(L, vm, t, nres);
	else if (lua_status(t->co) > LUA_YIELD)
		failed(L, vm, t);
	else
		refused(L, vm, t);
}

/*
 * ---- blocking and waking ----
 */

void
task_can_block(lua_State *L, struct vm *vm) {
	if (vm->running == NULL)
		luaL_error(L, "attempt to yield from outside a coroutine");
	if (!lua_isyieldable(L))
		luaL_error(L, "attempt to yield across a C-call boundary");
}

int
task_block(lua_State *L, struct vm *vm, enum wait_kind k, int session, uint32_t callee,
           lua_KFunction next) {
	struct task *t = vm->running;
	if (t->waiting != 0)
		task_orphan(L, t);
	if (waiters_add(&vm->waiters, session, k, callee, t) != 0)
		return luaL_error(L, "not enough memory");
	t->waiting = session;
	t->state = TASK_WAITING;
	if (L != t->co) {
		vm_push(L, vm, REF_FOREIGN);
		lua_pushthread(L);
		lua_rawsetp(L, -2, t);
		lua_pop(L, 1);
		t->foreign = true;
	}
	lua_KContext top = lua_gettop(L);
	lua_mayrest(L);
	vm_push(L, vm, REF_SUSPEND);
	return lua_yieldk(L, 1, top, next);
}

/* The call of this session is over; by which name it was addressed doesn't matter any more. */
void
name_forget(lua_State *L, struct vm *vm, int session) {
	if (vm->names == 0)
		return;
	vm_push(L, vm, REF_NAMES);
	if (lua_rawgeti(L, -1, session) != LUA_TNIL)
		vm->names--;
	lua_pushnil(L);
	lua_rawseti(L, -3, session);
	lua_pop(L, 2);
}

/* Resume a task with (false [, why]). */
static void
cancel(lua_State *L, struct vm *vm, struct task *t, const char *why) {
	if (vm->tracing)
		trace_task(L, t, "resume");
	lua_pushboolean(t->co, 0);
	if (why) {
		lua_pushstring(L, why); /* it may raise, which nobody would catch there */
		lua_xmove(L, t->co, 1);
	}
	resume(L, vm, t, why ? 2 : 1);
}

/*
 * The task to resume for a waiter. When it's running itself (then this dispatch is a nested one),
 * a coroutine that it made waits for this, not the task.
 */
static struct task *
waiting_task(lua_State *L, struct waiter *w) {
	if (w->task && w->task->foreign && lua_status(w->task->co) != LUA_YIELD)
		task_orphan(L, w->task);
	return w->task;
}

/* Call handlers[session](...) with the nargs values on top. */
static void
run_handler(lua_State *L, struct vm *vm, int session, int nargs) {
	vm_push(L, vm, REF_HANDLERS);
	lua_rawgeti(L, -1, session);
	lua_pushnil(L);
	lua_rawseti(L, -3, session);
	lua_remove(L, -2);
	lua_insert(L, -1 - nargs);
	if (lua_pcall(L, nargs, 0, 0) != LUA_OK)
		note_error(L, vm);
}

static struct waiter *
sleeping(struct vm *vm, int session) {
	struct waiter *w = waiters_find(&vm->waiters, session);
	if (w && w->kind != WAIT_SLEEP && w->kind != WAIT_TOKEN && w->kind != WAIT_SOCKET)
		return NULL;
	return w;
}

/* Who sleeps on the token on top of the stack, if somebody still does; the token is free then. */
static struct waiter *
sleeper(lua_State *L, struct vm *vm) {
	struct task *t = task_on_itself(L, vm, -1);
	if (t)
		return sleeping(vm, t->waiting);
	int top = lua_gettop(L);
	vm_push(L, vm, REF_TOKENS);
	lua_pushvalue(L, top);
	struct waiter *w = NULL;
	if (lua_rawget(L, -2) == LUA_TNUMBER)
		w = sleeping(vm, (int)lua_tointeger(L, -1));
	if (w) {
		lua_pushvalue(L, top);
		lua_pushnil(L);
		lua_rawset(L, top + 1);
	}
	lua_settop(L, top);
	return w;
}

/* A token was woken: resume who sleeps on it. */
static void
wake_next(lua_State *L, struct vm *vm) {
	int top = lua_gettop(L);
	vm_push(L, vm, REF_WAKEUPS);
	lua_rawgeti(L, -1, vm->wake_head);
	lua_pushnil(L);
	lua_rawseti(L, -3, vm->wake_head);
	if (++vm->wake_head == vm->wake_tail)
		vm->wake_head = vm->wake_tail = 1;
	struct waiter *w = sleeper(L, vm);
	lua_settop(L, top);
	if (w == NULL)
		return;
	struct task *t = waiting_task(L, w);
	if (w->kind == WAIT_SLEEP) {
		w->kind = WAIT_BREAK; /* its timer still fires */
		w->task = NULL;
	} else {
		waiters_remove(&vm->waiters, w);
	}
	cancel(L, vm, t, "BREAK");
}

void
task_wake(lua_State *L, struct vm *vm, struct waiter *w) {
	struct task *t = waiting_task(L, w);
	waiters_remove(&vm->waiters, w);
	resume(L, vm, t, 0);
}

void
task_fail(struct vm *vm, int session) {
	if (vm->failed_tail == vm->failed_cap) {
		int cap = vm->failed_cap ? vm->failed_cap * 2 : 8;
		vm->failed = skynet_realloc(vm->failed, (size_t)cap * sizeof(int));
		vm->failed_cap = cap;
	}
	vm->failed[vm->failed_tail++] = session;
}

static void
fail_next(lua_State *L, struct vm *vm) {
	int session = vm->failed[vm->failed_head++];
	if (vm->failed_head == vm->failed_tail)
		vm->failed_head = vm->failed_tail = 0;
	struct waiter *w = waiters_find(&vm->waiters, session);
	if (w == NULL || (w->kind != WAIT_TASK && w->kind != WAIT_HANDLER))
		return;
	enum wait_kind kind = w->kind;
	struct task *t = waiting_task(L, w);
	waiters_remove(&vm->waiters, w);
	name_forget(L, vm, session);
	if (kind == WAIT_TASK) {
		cancel(L, vm, t, NULL);
	} else {
		lua_pushboolean(L, 0);
		run_handler(L, vm, session, 1);
	}
}

void
source_died(struct vm *vm, uint32_t source) {
	for (struct answer *a = vm->answers.next; a != &vm->answers; a = a->next) {
		if (a->source == source)
			a->dead = true;
	}
	if (source == 0)
		return;
	for (uint32_t i = 0; i < vm->waiters.size; i++) {
		struct waiter *w = &vm->waiters.slot[i];
		if (w->session != 0 && w->callee == source)
			task_fail(vm, w->session);
	}
}

/* Everything that became ready while a coroutine ran. */
static inline void
run_woken(lua_State *L, struct vm *vm) {
	while (vm->wake_head < vm->wake_tail || vm->failed_head < vm->failed_tail) {
		if (vm->wake_head < vm->wake_tail)
			wake_next(L, vm);
		else
			fail_next(L, vm);
	}
}

static void
run_forks(lua_State *L, struct vm *vm) {
	struct task *t;
	while ((t = vm->fork_head) != NULL) {
		vm->fork_head = t->next;
		if (vm->fork_head == NULL)
			vm->fork_tail = &vm->fork_head;
		t->next = NULL;
		resume(L, vm, t, lua_gettop(t->co) - 1);
		run_woken(L, vm);
	}
}

/*
 * ---- the kinds of messages ----
 */

static void
push_payload(lua_State *L, lua_State *to, const struct message *m) {
	if (m->index == 0) {
		lua_pushlightuserdata(to, m->data);
		lua_pushinteger(to, (lua_Integer)m->sz);
		return;
	}
	lua_pushvalue(L, m->index);
	lua_pushvalue(L, m->index + 1);
	if (L != to)
		lua_xmove(L, to, 2);
}

/* Call a Lua function that gets the raw message: f(session, source, msg, sz [, proto]). */
static void
call_unknown(lua_State *L, struct vm *vm, const struct message *m, enum ref handler) {
	int proto = handler == REF_UNKNOWN_REQUEST; /* protocol id or name is on top */
	vm_push(L, vm, handler);
	lua_pushinteger(L, m->session);
	lua_pushinteger(L, m->source);
	push_payload(L, L, m);
	if (proto)
		lua_pushvalue(L, -6);
	if (lua_pcall(L, 4 + proto, 0, 0) != LUA_OK)
		note_error(L, vm);
}

static void
on_response(lua_State *L, struct vm *vm, const struct message *m) {
	struct waiter *w = waiters_find(&vm->waiters, m->session);
	if (w == NULL || w->kind == WAIT_TOKEN || w->kind == WAIT_SOCKET) {
		call_unknown(L, vm, m, REF_UNKNOWN_RESPONSE);
		return;
	}
	enum wait_kind kind = w->kind;
	struct task *t = waiting_task(L, w);
	waiters_remove(&vm->waiters, w);
	name_forget(L, vm, m->session);
	switch (kind) {
	case WAIT_TASK:
	case WAIT_SLEEP:
		if (vm->tracing)
			trace_task(L, t, "resume");
		if (t->state == TASK_READY) { /* a timeout's coroutine, not started */
			resume(L, vm, t, lua_gettop(t->co) - 1);
			break;
		}
		lua_pushboolean(t->co, 1);
		push_payload(L, t->co, m);
		resume(L, vm, t, 3);
		break;
	case WAIT_TIMER:
		t = task_take(L, vm);
		vm_push(L, vm, REF_TIMERS);
		lua_rawgeti(L, -1, m->session);
		lua_xmove(L, t->co, 1);
		lua_pushnil(L);
		lua_rawseti(L, -2, m->session);
		lua_pop(L, 1);
		resume(L, vm, t, 0);
		break;
	case WAIT_HANDLER:
		lua_pushboolean(L, 1);
		push_payload(L, L, m);
		run_handler(L, vm, m->session, 3);
		break;
	default:
		break; /* WAIT_BREAK: nobody wants it any more */
	}
}

static void
on_error(struct vm *vm, const struct message *m) {
	if (m->session == 0)
		source_died(vm, m->source);
	else
		task_fail(vm, m->session);
}

/*
 * Push the request's values; its protocol's table and handler are on top. Returns how many, or -1
 * when the payload can't be understood; the error was noted then.
 */
static int
unpack(lua_State *L, struct vm *vm, const Table *class, const struct message *m) {
	const TValue *f = lua_viewkey(class, vm->key[KEY_UNPACK]);
	if (m->index == 0 && ttislcf(f) && fvalue(f) == luaseri_unpack) {
		int n = seri_unpack(L, m->data, m->sz);
		if (n < 0)
			note_error(L, vm);
		return n;
	}
	int top = lua_gettop(L);
	lua_getkey(L, -2, vm->key[KEY_UNPACK]);
	push_payload(L, L, m);
	if (lua_pcall(L, 2, LUA_MULTRET, 0) != LUA_OK) {
		note_error(L, vm);
		return -1;
	}
	return lua_gettop(L) - top;
}

/* A request nobody here handles. `what` (protocol id or name) is on top of the stack. */
static void
refuse(lua_State *L, struct vm *vm, const struct message *m) {
	if (m->session != 0)
		send_error(vm, m->source, m->session);
	else
		call_unknown(L, vm, m, REF_UNKNOWN_REQUEST);
}

static void
on_request(lua_State *L, struct vm *vm, const struct message *m) {
	const TValue *proto = lua_viewindex((Table *)vm->proto, (lua_Unsigned)m->type);
	if (!ttisanytable(proto)) {
		lua_pushinteger(L, m->type);
		if (m->type == PTYPE_TRACE)
			remember_tag(L, vm, m);
		else
			refuse(L, vm, m);
		return;
	}
	const Table *class = hvalue(proto);
	lua_pushview(L, hvalue(proto));
	const TValue *handler = lua_viewkey(class, vm->key[KEY_DISPATCH]);
	if (!isempty(handler)) {
		lua_pushcopy(L, handler);
	} else if (lua_getkey(L, -1, vm->key[KEY_DISPATCH]) == LUA_TNIL) {
		lua_getfield(L, -2, "name");
		refuse(L, vm, m);
		return;
	}
	if (m->type == PTYPE_SOCKET && stream_deliver(L, vm, m, class))
		return;
	if (m->type == PTYPE_ERROR) {
		vm_push(L, vm, REF_ERROR_STOCK);
		if (lua_rawequal(L, -1, -2)) {
			on_error(vm, m);
			return;
		}
		lua_pop(L, 1);
	}
	/* a client frame's session is a socket id: no answer is expected there */
	vm->unclaimed = m->session != 0 && m->type != PTYPE_CLIENT;
	int n = unpack(L, vm, class, m);
	if (n < 0) {
		if (vm->unclaimed)
			send_error(vm, m->source, m->session);
		vm->unclaimed = false;
		return;
	}
	struct task *t = task_take(L, vm);
	t->source = m->source;
	t->request = m->session;
	t->type = (uint8_t)m->type;
	t->owes = m->session ? OWES_CALL : OWES_SEND;
	t->handles = true;
	if (vm->tracing)
		tag_request(L, vm, t, lua_gettop(L) - n - 1, m);
	/* a coroutine that doesn't run has that much room */
	if (3 + n > LUA_MINSTACK && !lua_checkstack(t->co, n + LUA_MINSTACK))
		luaL_error(L, "too many values in a message");
	lua_pushcopy(t->co, lua_viewat(L, -n - 1));
	lua_pushinteger(t->co, m->session);
	lua_pushinteger(t->co, m->source);
	lua_movetop(L, t->co, n);
	vm->unclaimed = false;
	resume(L, vm, t, n + 2);
}

void
dispatch_message(lua_State *L, struct vm *vm, const struct message *m) {
	int top = lua_gettop(L);
	if (m->type == PTYPE_RESPONSE)
		on_response(L, vm, m);
	else
		on_request(L, vm, m);
	lua_dropto(L, top);
	run_woken(L, vm);
	run_forks(L, vm);
	if (vm->errors > 0)
		raise_errors(L, vm);
}
