/*
 * The record of a Lua service: creation, the pool of tasks, the table of waiters.
 *
 * The `struct vm` is a full userdata anchored in the registry. Its finaliser runs when the VM
 * closes, however that came about (exit, kill, failed start): whoever still waits for an
 * answer of this service then gets an error instead of silence.
 */
#include "../../3rd/lua/lview.h"

#include "vm.h"

#include "../scatter.h"

#include "skynet_server.h"

#include <string.h>

static const char VM_KEY = 0; /* address: registry key of the vm userdata */
static const char TRIM_META = 0;

#define IDLE_MIN 8 /* threads kept however long they idle */

/*
 * ---- waiters ----
 */

static uint32_t
home(const struct waiters *w, int session) {
	return scatter((uint32_t)session, w->size);
}

struct waiter *
waiters_find(struct waiters *w, int session) {
	if (w->size == 0 || session <= 0)
		return NULL;
	for (uint32_t i = home(w, session);; i = (i + 1) & (w->size - 1)) {
		if (w->slot[i].session == session)
			return &w->slot[i];
		if (w->slot[i].session == 0)
			return NULL;
	}
}

static void
insert(struct waiters *w, const struct waiter *e) {
	uint32_t i = home(w, e->session);
	while (w->slot[i].session != 0)
		i = (i + 1) & (w->size - 1);
	w->slot[i] = *e;
}

static int
resize(struct waiters *w, uint32_t size) {
	struct waiters fresh = {.size = size, .used = w->used, .now = w->now};
	fresh.slot = skynet_calloc(size, sizeof(*fresh.slot));
	if (fresh.slot == NULL)
		return -1;
	for (uint32_t i = 0; i < w->size; i++) {
		if (w->slot[i].session != 0)
			insert(&fresh, &w->slot[i]);
	}
	skynet_free(w->slot);
	*w = fresh;
	return 0;
}

int
waiters_add(struct waiters *w, int session, enum wait_kind k, uint32_t callee, struct task *t) {
	if ((w->used + 1) * 4 > w->size * 3 && resize(w, w->size ? w->size * 2 : 8) != 0)
		return -1;
	struct waiter e = {
		.session = session, .kind = k, .callee = callee, .since = w->now, .task = t};
	insert(w, &e);
	w->used++;
	return 0;
}

/* Close the gap, so that no tombstones pile up. */
void
waiters_remove(struct waiters *w, struct waiter *slot) {
	uint32_t mask = w->size - 1;
	uint32_t hole = (uint32_t)(slot - w->slot);
	for (uint32_t i = (hole + 1) & mask; w->slot[i].session != 0; i = (i + 1) & mask) {
		uint32_t h = home(w, w->slot[i].session);
		if (((i - h) & mask) >= ((i - hole) & mask)) {
			w->slot[hole] = w->slot[i];
			hole = i;
		}
	}
	w->slot[hole].session = 0;
	w->used--;
	/* after a burst; failing to shrink is no harm */
	if (w->size > 1024 && w->used * 16 < w->size)
		(void)resize(w, w->size / 4);
}

int
vm_newsession(struct vm *vm) {
	for (;;) {
		int session = skynet_context_newsession(vm->ctx);
		if (waiters_find(&vm->waiters, session) == NULL)
			return session;
	}
}

/*
 * ---- tasks ----
 */

static struct task *
task_new(lua_State *L, struct vm *vm) {
	luaL_checkstack(L, LUA_MINSTACK, "too many values");
	vm_push(L, vm, REF_THREADS);
	lua_State *co = lua_newthread(L);
	struct task *t = skynet_calloc(1, sizeof(*t));
	t->co = co;
	t->vm = vm;
	lua_rawsetp(L, -2, t);
	lua_pop(L, 1);
	*(struct task **)lua_getextraspace(co) = t;
	return t;
}

struct task *
task_take(lua_State *L, struct vm *vm) {
	struct task *t = vm->idle;
	if (t == NULL) {
		t = task_new(L, vm);
	} else {
		vm->idle = t->next;
		if (--vm->idle_count < vm->idle_low)
			vm->idle_low = vm->idle_count;
	}
	t->state = TASK_READY;
	t->rest = REST_NEVER_ASKED;
	t->next = NULL;
	return t;
}

void
task_release(struct vm *vm, struct task *t) {
	lua_dropto(t->co, 0);
	lua_trimframe(t->co);
	t->state = TASK_IDLE;
	t->owes = OWES_NOTHING;
	t->handles = false;
	t->waiting = 0;
	t->next = vm->idle;
	vm->idle = t;
	vm->idle_count++;
}

void
task_untag(lua_State *L, struct task *t) {
	if (t->tag == TAG_ON) {
		vm_push(L, t->vm, REF_TAGS);
		lua_pushnil(L);
		lua_rawsetp(L, -2, t);
		lua_pop(L, 1);
	}
	t->tag = TAG_NONE;
}

void
task_free(lua_State *L, struct task *t) {
	*(uintptr_t *)lua_getextraspace(t->co) = (uintptr_t)t->vm | 1;
	vm_push(L, t->vm, REF_THREADS);
	lua_pushnil(L);
	lua_rawsetp(L, -2, t);
	lua_pop(L, 1);
	skynet_free(t);
}

/* A task for a thread that isn't ours, on top of the stack; it's popped. */
static struct task *
task_adopt(lua_State *L, struct vm *vm) {
	struct task *t = skynet_calloc(1, sizeof(*t));
	t->co = lua_tothread(L, -1);
	t->vm = vm;
	t->adopted = true;
	vm_push(L, vm, REF_THREADS);
	lua_pushvalue(L, -2);
	lua_rawsetp(L, -2, t);
	lua_pop(L, 2);
	*(uintptr_t *)lua_getextraspace(t->co) = (uintptr_t)t;
	return t;
}

void
task_domestic(lua_State *L, struct task *t) {
	vm_push(L, t->vm, REF_FOREIGN);
	lua_pushnil(L);
	lua_rawsetp(L, -2, t);
	lua_pop(L, 1);
	t->foreign = false;
}

void
task_orphan(lua_State *L, struct task *t) {
	struct vm *vm = t->vm;
	int session = t->waiting;
	struct waiter *w = waiters_find(&vm->waiters, session);
	t->waiting = 0;
	if (!t->foreign || w == NULL || w->task != t)
		return;
	luaL_checkstack(L, LUA_MINSTACK, NULL);
	vm_push(L, vm, REF_FOREIGN);
	lua_rawgetp(L, -1, t);
	lua_remove(L, -2);
	struct task *orphan = task_adopt(L, vm);
	task_domestic(L, t);
	orphan->state = TASK_WAITING;
	orphan->waiting = session;
	w->task = orphan;
}

/*
 * Finaliser of a throw-away object: runs about once a collection cycle. Threads that nobody
 * needed since the last one go.
 */
static int
trim_idle(lua_State *L) {
	struct vm *vm = vm_peek(L);
	if (vm->ctx == NULL || vm->exiting)
		return 0;
	int drop = vm->idle_low - IDLE_MIN;
	for (; drop > 0 && vm->idle; drop--) {
		struct task *t = vm->idle;
		vm->idle = t->next;
		vm->idle_count--;
		task_free(L, t);
	}
	vm->idle_low = vm->idle_count;
	lua_newuserdatauv(L, 0, 0);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &TRIM_META);
	lua_setmetatable(L, -2);
	return 0;
}

static void
install_trim(lua_State *L) {
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, trim_idle);
	lua_setfield(L, -2, "__gc");
	lua_rawsetp(L, LUA_REGISTRYINDEX, &TRIM_META);
	lua_newuserdatauv(L, 0, 0);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &TRIM_META);
	lua_setmetatable(L, -2);
	lua_pop(L, 1);
}

/*
 * ---- the vm ----
 */

static void
fail_requesters(lua_State *L, struct vm *vm) {
	vm_push(L, vm, REF_THREADS);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		struct task *t = lua_touserdata(L, -2);
		if (t->owes == OWES_CALL)
			send_error(vm, t->source, t->request);
		*(uintptr_t *)lua_getextraspace(t->co) = (uintptr_t)vm | 1;
		skynet_free(t);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	for (struct answer *a = vm->answers.next; a != &vm->answers; a = a->next) {
		if (a->session != 0 && !a->dead)
			send_error(vm, a->source, a->session);
		a->pending = false;
	}
	vm->answers.next = vm->answers.prev = &vm->answers;
	for (size_t i = 0; i < vm->forgotten_count; i++)
		send_error(vm, vm->forgotten[i].source, vm->forgotten[i].session);
	vm->forgotten_count = vm->forgotten_cap = 0;
	skynet_free(vm->forgotten);
	vm->forgotten = NULL;
}

static int
vm_close(lua_State *L) {
	struct vm *vm = lua_touserdata(L, 1);
	vm->exiting = true;
	trash_empty(vm);
	vm->running = vm->idle = NULL;
	fail_requesters(L, vm);
	skynet_free(vm->waiters.slot);
	memset(&vm->waiters, 0, sizeof(vm->waiters));
	skynet_free(vm->failed);
	vm->failed = NULL;
	vm->failed_head = vm->failed_tail = vm->failed_cap = 0;
	return 0;
}

struct vm *
vm_peek(lua_State *L) {
	lua_rawgetp(L, LUA_REGISTRYINDEX, &VM_KEY);
	struct vm *vm = lua_touserdata(L, -1);
	lua_pop(L, 1);
	return vm;
}

struct vm *
vm_lookup(lua_State *L) {
	struct vm *vm = vm_peek(L);
	if (vm == NULL || vm->ctx == NULL)
		luaL_error(L, "Init skynet context first");
	/* a thread made before the module was loaded */
	*(uintptr_t *)lua_getextraspace(L) = (uintptr_t)vm | 1;
	return vm;
}

static void
make_keys(lua_State *L, struct vm *vm) {
	static const char *const name[KEY_COUNT] = {
		[KEY_ID] = "id",         [KEY_PACK] = "pack",
		[KEY_UNPACK] = "unpack", [KEY_DISPATCH] = "dispatch",
		[KEY_RET] = "ret",
	};
	for (int i = 0; i < KEY_COUNT; i++) {
		lua_pushstring(L, name[i]);
		vm->key[i] = lua_topointer(L, -1);
		vm->key_ref[i] = luaL_ref(L, LUA_REGISTRYINDEX);
	}
}

static void
make_refs(lua_State *L, struct vm *vm) {
	make_keys(L, vm);
	vm->suspend = lua_pushliteral(L, "SUSPEND");
	vm->ref[REF_SUSPEND] = luaL_ref(L, LUA_REGISTRYINDEX);
	for (int i = REF_PROTO; i < REF_COUNT; i++) {
		if (i < REF_STOCK)
			lua_newtable(L);
		else
			lua_pushboolean(L, 0); /* functions: set by Lua */
		if (i == REF_PROTO)
			vm->proto = lua_topointer(L, -1);
		vm->ref[i] = luaL_ref(L, LUA_REGISTRYINDEX);
	}
}

/* `ctx` is NULL in a model: then whatever needs a service raises, as it finds no record. */
static void
belongs_to(lua_State *L, struct vm *vm, struct skynet_context *ctx) {
	vm->ctx = ctx;
	vm->fork_tail = &vm->fork_head;
	vm->answers.next = vm->answers.prev = &vm->answers;
	if (ctx)
		vm->self = skynet_context_handle(ctx);
	lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
	*(uintptr_t *)lua_getextraspace(lua_tothread(L, -1)) = ctx ? (uintptr_t)vm | 1 : 0;
	lua_pop(L, 1);
}

static void
vm_create(lua_State *L, struct skynet_context *ctx) {
	struct vm *vm = lua_newuserdatauv(L, sizeof(*vm), 0);
	memset(vm, 0, sizeof(*vm));
	vm->wake_head = vm->wake_tail = 1;
	make_refs(L, vm);
	belongs_to(L, vm, ctx);
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, vm_close);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &VM_KEY);
	install_trim(L);
}

void
vm_model(lua_State *L) {
	vm_create(L, NULL);
}

static const void *
pointer_of(lua_State *L, int ref) {
	lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
	const void *p = lua_topointer(L, -1);
	lua_pop(L, 1);
	return p;
}

void
vm_adopt(lua_State *L, struct skynet_context *ctx) {
	struct vm *vm = vm_peek(L);
	for (int i = 0; i < KEY_COUNT; i++)
		vm->key[i] = pointer_of(L, vm->key_ref[i]);
	vm->suspend = pointer_of(L, vm->ref[REF_SUSPEND]);
	vm->proto = pointer_of(L, vm->ref[REF_PROTO]);
	belongs_to(L, vm, ctx);
}

/* References that vm_create will take, all free. */
void
vm_prepare(lua_State *L) {
	int ref[REF_COUNT + KEY_COUNT];
	int n = REF_COUNT + KEY_COUNT;
	for (int i = 0; i < n; i++) {
		lua_pushboolean(L, 1);
		ref[i] = luaL_ref(L, LUA_REGISTRYINDEX);
	}
	while (n > 0)
		luaL_unref(L, LUA_REGISTRYINDEX, ref[--n]);
}

void
vm_open(lua_State *L) {
	if (lua_rawgetp(L, LUA_REGISTRYINDEX, &VM_KEY) == LUA_TNIL) {
		if (lua_getfield(L, LUA_REGISTRYINDEX, "skynet_context") != LUA_TLIGHTUSERDATA)
			luaL_error(L, "Init skynet context first");
		vm_create(L, lua_touserdata(L, -1));
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}
