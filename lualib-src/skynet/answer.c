/*
 * Answering: skynet.ret, retpack, response, ignoreret, context.
 *
 * A task that handles a request holds the right to answer it once. `response` takes that right
 * away into a closure which may be called later, from anywhere in the service; closures that
 * were not used yet are listed, so that their requesters hear of it when the service ends.
 */
#include "vm.h"

#include "../lua-seri.h"
#include "skynet_malloc.h"
#include "skynet_runtime.h"

#include <string.h>

#define ANSWER_META "skynet.answer"

static void
trace_response(lua_State *L, struct vm *vm) {
	if (!vm->tracing || vm->running->tag != TAG_ON)
		return;
	tag_push(L, vm->running);
	core_trace_line(L, vm, lua_tostring(L, -1), "response", NULL, -1);
	lua_pop(L, 1);
}

/* Send the answer of the running task; `flags` may hold PTYPE_TAG_DONTCOPY. */
static int
answer(lua_State *L, struct vm *vm, int flags, void *msg, size_t sz) {
	struct task *t = vm->running;
	trace_response(L, vm);
	bool wanted = t->owes == OWES_CALL;
	t->owes = OWES_NOTHING;
	if (!wanted) {
		if (flags & PTYPE_TAG_DONTCOPY)
			skynet_free(msg);
		lua_pushboolean(L, 0);
		return 1;
	}
	int sent = skynet_send(vm->ctx, 0, t->source, PTYPE_RESPONSE | flags, t->request, msg, sz);
	if (sent == -2) /* too large */
		send_error(vm, t->source, t->request);
	lua_pushboolean(L, sent >= 0);
	return 1;
}

static bool
may_answer(const struct vm *vm) {
	return vm->running && vm->running->owes != OWES_NOTHING;
}

static int
lret(lua_State *L) {
	struct vm *vm = vm_of(L);
	int flags = 0;
	size_t sz = 0;
	void *msg = NULL;
	if (!lua_isnoneornil(L, 1))
		msg = core_payload(L, 1, &sz, &flags);
	if (!may_answer(vm)) {
		if (flags & PTYPE_TAG_DONTCOPY)
			skynet_free(msg); /* it was given away */
		return luaL_error(L, "No session");
	}
	return answer(L, vm, flags, msg, sz);
}

/* Are skynet.ret and skynet.pack still what was shipped? */
static bool
stock(lua_State *L, struct vm *vm) {
	vm_push(L, vm, REF_SKYNET);
	bool is = lua_keyfunction(L, -1, vm->key[KEY_RET]) == lret &&
	          lua_keyfunction(L, -1, vm->key[KEY_PACK]) == luaseri_pack;
	lua_pop(L, 1);
	return is;
}

static int
lretpack(lua_State *L) {
	struct vm *vm = vm_of(L);
	int top = lua_gettop(L);
	if (!stock(L, vm)) { /* somebody wraps them: go through the module */
		vm_push(L, vm, REF_SKYNET);
		lua_getkey(L, -1, vm->key[KEY_PACK]);
		lua_insert(L, 1);
		lua_getkey(L, -1, vm->key[KEY_RET]);
		lua_insert(L, 1);
		lua_pop(L, 1); /* ret, pack, values */
		lua_call(L, top, LUA_MULTRET);
		lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
		return lua_gettop(L);
	}
	size_t sz;
	void *msg = seri_pack(L, 1, &sz); /* raises before the right is used up */
	if (!may_answer(vm)) {
		skynet_free(msg);
		return luaL_error(L, "No session");
	}
	return answer(L, vm, PTYPE_TAG_DONTCOPY | PTYPE_TAG_SIZED, msg, sz);
}

static int
lignoreret(lua_State *L) {
	struct vm *vm = vm_of(L);
	if (vm->running)
		vm->running->owes = OWES_NOTHING;
	return 0;
}

static int
lcontext(lua_State *L) {
	struct vm *vm = vm_of(L);
	struct task *t = vm->running;
	if (t == NULL || !t->handles) {
		lua_pushnil(L);
		lua_pushnil(L);
		return 2;
	}
	if (t->owes == OWES_NOTHING)
		lua_pushnil(L);
	else
		lua_pushinteger(L, t->request);
	lua_pushinteger(L, t->source);
	return 2;
}

/*
 * ---- response closures: upvalues are the answer record and the packer ----
 */

static void
unlist(struct answer *a) {
	if (a->next) {
		a->prev->next = a->next;
		a->next->prev = a->prev;
		a->next = a->prev = NULL;
	}
	a->pending = false;
}

/* A pending one is collected only when the VM closes, and then before the VM's own record. */
static int
answer_gc(lua_State *L) {
	struct answer *a = lua_touserdata(L, 1);
	if (a->pending && a->session != 0 && !a->dead)
		send_error(a->vm, a->source, a->session);
	unlist(a);
	return 0;
}

/* The closure was used: nothing needs to keep it any more. */
static void
settle(lua_State *L, struct answer *a) {
	unlist(a);
	vm_push(L, a->vm, REF_UNRESPONSE);
	lua_pushnil(L);
	lua_rawsetp(L, -2, a);
	lua_pop(L, 1);
}

static int
respond_values(lua_State *L, struct answer *a) {
	int flags = 0;
	size_t sz;
	void *msg;
	int n = lua_gettop(L);
	if (lua_tocfunction(L, lua_upvalueindex(2)) == luaseri_pack) {
		msg = seri_pack(L, 2, &sz);
		flags = PTYPE_TAG_DONTCOPY | PTYPE_TAG_SIZED;
	} else {
		lua_pushvalue(L, lua_upvalueindex(2));
		lua_insert(L, 2);
		lua_call(L, n - 1, 2);
		msg = core_payload(L, 2, &sz, &flags);
	}
	int sent = skynet_send(a->vm->ctx, 0, a->source, PTYPE_RESPONSE | flags, a->session, msg, sz);
	if (sent == -2)
		send_error(a->vm, a->source, a->session);
	lua_pushboolean(L, sent >= 0 || sent == -2);
	return 1;
}

static int
respond(lua_State *L) {
	struct answer *a = lua_touserdata(L, lua_upvalueindex(1));
	const char *word = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : "";
	if (strcmp(word, "TEST") == 0) {
		lua_pushboolean(L, a->pending && !a->dead);
		return 1;
	}
	if (!a->pending)
		return luaL_error(L, "Can't response more than once");
	if (a->dead) {
		lua_pushboolean(L, 0);
	} else if (lua_toboolean(L, 1)) {
		respond_values(L, a);
	} else {
		int sent = skynet_send(a->vm->ctx, 0, a->source, PTYPE_ERROR, a->session, NULL, 0);
		lua_pushboolean(L, sent >= 0);
	}
	settle(L, a);
	return 1;
}

static int
inert(lua_State *L) {
	(void)L;
	return 0;
}

static int
lresponse(lua_State *L) {
	struct vm *vm = vm_of(L);
	struct task *t = vm->running;
	lua_settop(L, 1);
	if (lua_isnil(L, 1)) {
		vm_push(L, vm, REF_SKYNET);
		lua_getfield(L, -1, "pack");
		lua_replace(L, 1);
		lua_settop(L, 1);
	}
	if (!may_answer(vm))
		return luaL_error(L, "no session");
	if (t->owes == OWES_SEND) {
		t->owes = OWES_NOTHING;
		lua_pushcfunction(L, inert);
		return 1;
	}
	struct answer *a = lua_newuserdatauv(L, sizeof(*a), 0);
	*a = (struct answer){.vm = vm, .source = t->source, .session = t->request, .pending = true};
	if (luaL_newmetatable(L, ANSWER_META)) {
		lua_pushcfunction(L, answer_gc);
		lua_setfield(L, -2, "__gc");
	}
	lua_setmetatable(L, -2);
	lua_insert(L, 1);
	lua_pushcclosure(L, respond, 2);
	vm_push(L, vm, REF_UNRESPONSE);
	lua_pushvalue(L, -2);
	lua_rawsetp(L, -2, a);
	lua_pop(L, 1);
	t->owes = OWES_NOTHING;
	a->next = vm->answers.next;
	a->prev = &vm->answers;
	a->next->prev = a;
	vm->answers.next = a;
	return 1;
}

void
core_open_answer(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"ret", lret},         {"retpack", lretpack},   {"ignoreret", lignoreret},
		{"context", lcontext}, {"response", lresponse}, {NULL, NULL},
	};
	luaL_setfuncs(L, functions, 0);
}
