/*
 * The dispatcher's view of one Lua service: what skynet.core's files share.
 *
 * A service VM has one `struct vm`. Every coroutine that handles a message, a timer or a fork
 * is a `struct task`: one record instead of several tables keyed by coroutine. A thread's
 * extra space points to its task, so "who am I" is one load; other threads of the VM (the main
 * one, and coroutines that users make) carry the vm with the low bit set instead.
 *
 * Tasks are pooled with their Lua threads. `threads` (a Lua table keyed by task pointer) anchors
 * a thread for as long as its task exists; what stays idle over a whole collection cycle goes.
 *
 * All of this is touched only by the worker that runs the service.
 */
#ifndef skynet_core_vm_h
#define skynet_core_vm_h

#include "skynet.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

enum task_state {
	TASK_IDLE,    /* in the pool */
	TASK_READY,   /* has its function and arguments, runs soon (fork) or on its timer */
	TASK_RUNNING, /* on the C stack of this dispatch */
	TASK_WAITING, /* in call, sleep, wait or select: `session` says for what */
	TASK_PARKED,  /* yielded by itself, nobody will wake it */
};

/* Is its stack to be cut down when it waits? See lrest.c; once is enough, before long waits. */
enum task_rest { REST_NEVER_ASKED, REST_NOW, REST_DONE };

/* The right to answer a request. */
enum { OWES_NOTHING, OWES_SEND, OWES_CALL };

enum { TAG_NONE, TAG_OFF, TAG_ON }; /* on: the text is tags[task] */

struct task {
	lua_State *co;
	struct vm *vm;
	struct task *next; /* idle list or fork queue */
	uint32_t source;   /* requester, when owes != OWES_NOTHING */
	int request;       /* its session */
	int waiting;       /* session waited for; 0 when it isn't waiting */
	uint8_t state;
	uint8_t owes;
	uint8_t tag;
	uint8_t type;   /* message type handled, for diagnostics */
	bool handles;   /* it runs a request's handler: source and request are set */
	bool foreign;   /* the thread that blocked isn't `co` but foreign[task]: see task_orphan */
	bool adopted;   /* `co` was made by somebody else: it's not for the pool */
	bool on_itself; /* waits, and its token is `co`: it isn't among the tokens then */
	uint8_t rest;   /* enum task_rest */
};

/* What waits for a session's response. */
enum wait_kind {
	WAIT_NONE,
	WAIT_TASK,    /* a call or a timer's own coroutine: resume `task` */
	WAIT_SLEEP,   /* asleep with a timer running; may be woken by token */
	WAIT_TOKEN,   /* asleep without one: no message will come for this session */
	WAIT_SOCKET,  /* as WAIT_TOKEN, in a read */
	WAIT_TIMER,   /* a timeout without a coroutine yet: function is timers[session] */
	WAIT_HANDLER, /* a function to call: handlers[session](ok, msg, sz) */
	WAIT_BREAK,   /* cancelled: swallow the response */
};

struct waiter {
	int session; /* 0: empty slot */
	uint32_t kind;
	uint32_t callee; /* address a call went to; 0: timer, or addressed by name */
	uint32_t since;  /* stamp of the message that began to wait, see skynet_runtime.h */
	struct task *task;
};

/* Open addressing; sessions are consecutive, so a multiplication-free hash is ideal. */
struct waiters {
	struct waiter *slot;
	uint32_t size; /* power of two, or 0 */
	uint32_t used;
	uint32_t now; /* stamp of the current message */
};

/* A response() closure that was not used yet. */
struct answer {
	struct vm *vm;
	struct answer *prev, *next; /* list in vm, while pending */
	uint32_t source;
	int session;
	bool pending;
	bool dead; /* the requester is known to be gone */
};

/* References (registry indices) to Lua values the dispatcher needs often. */
enum ref {
	REF_SUSPEND,      /* "SUSPEND" */
	REF_PROTO,        /* skynet._proto */
	REF_SKYNET,       /* the module table */
	REF_THREADS,      /* task pointer -> thread */
	REF_TAGS,         /* task pointer -> trace tag */
	REF_FOREIGN,      /* task pointer -> thread that blocked for it */
	REF_TIMERS,       /* session -> function */
	REF_HANDLERS,     /* session -> function */
	REF_NAMES,        /* session -> address text of a pending call */
	REF_TOKENS,       /* sleep_session: token -> session */
	REF_WAKEUPS,      /* wakeup_queue: tokens, from wake_head to wake_tail */
	REF_UNRESPONSE,   /* response closures not used yet */
	REF_TRACE_SOURCE, /* source -> tag of its next request */
	REF_ERRORS,       /* texts of the errors of the current message */
	REF_CALLBACK,
	REF_STOCK,       /* skynet.dispatch_message as shipped */
	REF_RAW,         /* its upvalue raw_dispatch_message, as shipped */
	REF_ERROR_STOCK, /* the error protocol's dispatch as shipped */
	REF_UNKNOWN_REQUEST,
	REF_UNKNOWN_RESPONSE,
	REF_COUNT
};

/* Keys of tables that are read for every message, interned once. */
enum key { KEY_ID, KEY_PACK, KEY_UNPACK, KEY_DISPATCH, KEY_RET, KEY_COUNT };

/* The message being dispatched. A wrapper of dispatch_message may pass Lua values instead. */
struct message {
	int type;
	int session;
	uint32_t source;
	int index; /* where payload and size are on the stack; 0: they are in data, sz */
	void *data;
	size_t sz;
};

#define TRASH_MAX 16

struct vm_hooks; /* vmhooks.h */
struct streams;
struct Table; /* Lua's own */

/* A request whose handler returned without an answer: its caller fails when the service ends. */
struct forgotten {
	uint32_t source;
	int session;
};

struct vm {
	struct skynet_context *ctx;
	uint32_t self;
	struct task *running;
	struct task *idle;
	int idle_count;
	int idle_low; /* least idle since the last collection */
	struct task *fork_head, **fork_tail;
	struct waiters waiters;
	int wake_head, wake_tail;
	int *failed; /* sessions whose call must fail now */
	int failed_head, failed_tail, failed_cap;
	int names;  /* entries of REF_NAMES */
	int traced; /* trace tags announced and not yet taken */
	int trace_seq;
	int errors;              /* how many texts REF_ERRORS holds */
	struct answer answers;   /* list head */
	struct streams *streams; /* stream.c; NULL: nobody uses skynet.socket */
	struct vm_hooks *hooks;
	lua_State *cb; /* the thread callbacks run on */
	bool forward;  /* the callback owns the messages it gets */
	bool direct;   /* the callback is the stock dispatcher */
	bool tracing;  /* some protocol or task may be traced */
	int ref[REF_COUNT];
	const void *key[KEY_COUNT]; /* for lua_getkey */
	int key_ref[KEY_COUNT];     /* registry indices of these texts */
	const void *suspend;        /* the text of REF_SUSPEND */
	const void *proto;          /* the table of REF_PROTO */
	void *trash[TRASH_MAX];     /* blocks to be freed when the message is done */
	int trashed;
	int warm_for;   /* so many messages more what was noted in warm.c is good, */
	int warm_gap;   /* of so many */
	bool unclaimed; /* the message is a request that no task has taken yet */
	bool exiting;
	struct forgotten *forgotten;
	size_t forgotten_count, forgotten_cap;
};

/* ---- vm.c ---- */

void vm_open(lua_State *L); /* make the VM's record unless it exists; raises outside a service */
void vm_prepare(lua_State *L);      /* for the image of a state: room for what vm_open makes */
struct vm *vm_lookup(lua_State *L); /* slow path of vm_of; raises when there is none */
/* The record, also that of a state which is no service but the model of services. */
struct vm *vm_peek(lua_State *L);
void vm_model(lua_State *L);                             /* make the record of such a state */
void vm_adopt(lua_State *L, struct skynet_context *ctx); /* ... and of a copy of it a service's */

static inline struct vm *
vm_of(lua_State *L) {
	uintptr_t p = *(uintptr_t *)lua_getextraspace(L);
	if (p == 0)
		return vm_lookup(L);
	if (p & 1)
		return (struct vm *)(p - 1);
	return ((struct task *)p)->vm;
}

static inline int
vm_push(lua_State *L, struct vm *vm, enum ref r) {
	return lua_rawgeti(L, LUA_REGISTRYINDEX, vm->ref[r]);
}

struct task *task_take(lua_State *L, struct vm *vm); /* may raise (memory) */
void task_release(struct vm *vm, struct task *t);
/* Its coroutine is over: forget what was known of it; back to the pool if it may be used again.
 */
void task_over(lua_State *L, struct vm *vm, struct task *t, bool reuse);
/*
 * The task goes on although it never gave the framework the "SUSPEND" of a blocking call: a
 * coroutine that somebody made with the plain library made the call, and whoever resumed it went
 * on. That coroutine becomes a task of its own, so it gets its answer.
 */
void task_orphan(lua_State *L, struct task *t);
void task_domestic(lua_State *L, struct task *t); /* forget the foreign thread */
/* Forget a task that isn't in the pool, for good. */
void task_free(lua_State *L, struct task *t);
void task_untag(lua_State *L, struct task *t);

struct waiter *waiters_find(struct waiters *w, int session);
/* Record who waits; the session must be free. Returns 0, or -1 when out of memory. */
int waiters_add(struct waiters *w, int session, enum wait_kind k, uint32_t callee,
                struct task *t);
void waiters_remove(struct waiters *w, struct waiter *slot);
/* A session nobody waits for (after a wrap, ids may still be in use). */
int vm_newsession(struct vm *vm);

/* ---- warm.c ---- */

/* A message of this type that found the service cold was handled: note what the next one will
 * touch. */
void warm_note(struct vm *vm, int type);

/* ---- dispatch.c ---- */

/* Replace the error object on top of the stack by its text, whatever its __tostring does. */
void error_text(lua_State *L);

/* Handle the message. Raises, at its end, what the coroutines it ran raised. */
void dispatch_message(lua_State *L, struct vm *vm, const struct message *m);
/* Queue: the call or select that waits for this session fails, soon. */
void task_fail(struct vm *vm, int session);
void send_error(struct vm *vm, uint32_t to, int session);
/* The source is gone: fail what waits for it. */
void source_died(struct vm *vm, uint32_t source);
/* Raise unless the running coroutine may block. Ask before anything is sent. */
void task_can_block(lua_State *L, struct vm *vm);
/*
 * Wait for `session`, then go on in `next`, whose context is the stack's top now: what the
 * task was resumed with (true, msg, sz / false [, why]) lies above it. Only after
 * task_can_block; return its result.
 */
int task_block(lua_State *L, struct vm *vm, enum wait_kind k, int session, uint32_t callee,
               lua_KFunction next);
void name_forget(lua_State *L, struct vm *vm, int session);
/* Resume who waits here, with nothing; the dispatcher's own thread only, no coroutine runs. */
void task_wake(lua_State *L, struct vm *vm, struct waiter *w);
void tag_push(lua_State *L, struct task *t); /* tag text, false or nil; t may be NULL */
void tag_new(lua_State *L, struct vm *vm);   /* push a fresh tag */
void tag_set(lua_State *L, struct task *t);  /* take the tag on top of the stack */

/* ---- thread.c ---- */

/*
 * Wait until somebody wakes the running coroutine, which is its own token (skynet.wakeup works);
 * go on in `next`, as after task_block. Its session is put into *session before. Raises unless it
 * may block.
 */
int task_wait(lua_State *L, struct vm *vm, enum wait_kind k, int *session, lua_KFunction next);
/* Queue the thread, which waits that way or sleeps: it's resumed when the message's own work is
 * done. */
void task_wakeup(lua_State *L, struct vm *vm, lua_State *co);
/* The task of the thread at this index, when it waits with itself as token; or NULL. */
struct task *task_on_itself(lua_State *L, struct vm *vm, int index);

/* ---- stream.c ---- */

/*
 * Data for a connection of skynet.socket, that nobody wants to see first? Then it's handled.
 * `class` is the protocol's table.
 */
bool stream_deliver(lua_State *L, struct vm *vm, const struct message *m,
                    const struct Table *class);

/* ---- basic.c ---- */

struct target {
	uint32_t handle;
	const char *name; /* instead of a handle; borrowed from the Lua stack */
};

/* Address argument: integer, or text. Raises what the argument's type deserves. */
struct target core_target(lua_State *L, int index);
/* Send; `type` may carry PTYPE_TAG_*. Returns skynet_send's result. */
int core_send(struct vm *vm, const struct target *to, uint32_t source, int type, int session,
              void *msg, size_t sz);
/*
 * msg [, sz] at index: text, or light userdata whose block is given away (then
 * PTYPE_TAG_DONTCOPY is added to *type).
 */
void *core_payload(lua_State *L, int index, size_t *sz, int *type);
/* Log a line of tag `tag`; up to three Lua frames of L1 from `level` on when level >= 0. */
void core_trace_line(lua_State *L, struct vm *vm, const char *tag, const char *text,
                     lua_State *L1, int level);

void trash_empty(struct vm *vm); /* free what skynet.trash has kept */

int core_callback(lua_State *L);
int core_trace(lua_State *L);

/* Each adds its functions to the module table on top of the stack. */
void core_open_callback(lua_State *L);
void core_open_call(lua_State *L);
void core_open_answer(lua_State *L);
void core_open_thread(lua_State *L);
void core_open_inspect(lua_State *L);
void core_open_stream(lua_State *L);

#endif
