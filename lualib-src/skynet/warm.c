/*
 * Which memory a service's next message will touch.
 *
 * Among many services each message finds all of its service's data gone from the cache: some
 * forty lines, one after another, each found through the one before. So a service that hadn't run
 * for a while notes where these lines are, and the next time its worker asks the processor for
 * all of them at once. It's no harm if some are somewhere else by then; they're noted anew now
 * and then.
 */
#include "../../3rd/lua/lview.h"

#include "vm.h"

#include "skynet_runtime.h"

#define RENEW 64 /* messages that found the service cold; at first sooner */

static void
note(struct skynet_context *ctx, const void *p) {
	if (p)
		skynet_context_warm(ctx, p);
}

/* All lines of an object. */
static void
note_all(struct skynet_context *ctx, const void *p, size_t size) {
	for (size_t at = 0; at < size; at += 64)
		note(ctx, (const char *)p + at);
	note(ctx, (const char *)p + size - 1);
}

static void
note_thread(struct skynet_context *ctx, lua_State *L) {
	note_all(ctx, lua_getextraspace(L), sizeof(*L) + LUA_EXTRASPACE);
	const CallInfo *ci = L->ci;
	for (int i = 0; ci && i < 3; i++, ci = ci->next)
		note(ctx, ci);
	note_all(ctx, L->top.p, 6 * sizeof(*L->top.p));
}

static const TValue *
note_field(struct skynet_context *ctx, Table *t, const void *key) {
	const TValue *v = luaH_getshortstr(t, (TString *)key);
	note(ctx, t);
	note(ctx, v);
	return v;
}

/* The handler's closure, and what the first of its upvalues are. */
static void
note_function(struct skynet_context *ctx, const LClosure *f) {
	note_all(ctx, f, offsetof(LClosure, upvals) + f->nupvalues * sizeof(f->upvals[0]));
	for (int i = 0; i < f->nupvalues && i < 4; i++) {
		const UpVal *u = f->upvals[i];
		note(ctx, u);
		if (ttisanytable(u->v.p))
			note(ctx, hvalue(u->v.p));
	}
}

static void
note_class(struct vm *vm, int type) {
	Table *proto = (Table *)vm->proto;
	const TValue *v = luaH_getint(proto, type);
	note(vm->ctx, proto);
	note(vm->ctx, v);
	if (!ttisanytable(v))
		return;
	Table *class = hvalue(v);
	note_field(vm->ctx, class, vm->key[KEY_UNPACK]);
	v = note_field(vm->ctx, class, vm->key[KEY_DISPATCH]);
	if (ttisLclosure(v))
		note_function(vm->ctx, clLvalue(v));
}

static void
note_module(struct vm *vm) {
	Table *registry = hvalue(&G(vm->cb)->l_registry);
	const TValue *v = luaH_getint(registry, vm->ref[REF_SKYNET]);
	if (!ttisanytable(v))
		return;
	note_field(vm->ctx, hvalue(v), vm->key[KEY_RET]);
	note_field(vm->ctx, hvalue(v), vm->key[KEY_PACK]);
}

void
warm_note(struct vm *vm, int type) {
	if (vm->idle == NULL || --vm->warm_for > 0)
		return;
	vm->warm_gap = vm->warm_gap == 0 ? 1 : vm->warm_gap < RENEW ? vm->warm_gap * 2 : RENEW;
	vm->warm_for = vm->warm_gap;
	skynet_context_forget(vm->ctx);
	note_all(vm->ctx, vm, offsetof(struct vm, trash));
	note(vm->ctx, &vm->trashed);
	note(vm->ctx, vm->hooks);
	note_thread(vm->ctx, vm->cb);
	note_all(vm->ctx, G(vm->cb), 2 * 64);
	note_all(vm->ctx, vm->idle, sizeof(*vm->idle));
	note_thread(vm->ctx, vm->idle->co);
	if (vm->proto && type != PTYPE_RESPONSE)
		note_class(vm, type);
	note_module(vm);
}
