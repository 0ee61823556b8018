/*
 * What the host of a Lua VM (snlua) and the dispatcher inside it (skynet.core) share.
 *
 * snlua owns the struct and publishes it in the VM's registry as light userdata under
 * VM_HOOKS; it outlives the VM. Both run on the worker that runs the service; only `epoch`
 * is read by other threads.
 */
#ifndef snlua_vmhooks_h
#define snlua_vmhooks_h

#include <lua.h>
#include <stdatomic.h>

#define VM_HOOKS "skynet_vm_hooks"

struct vm_hooks {
	/*
	 * Odd while a message is handled, moves by one at both ends. A signal aims at the epoch
	 * it found, so it can't hit a message that came later.
	 */
	atomic_uint epoch;
	/* Coroutines being profiled; while it's 0, resuming one needs no clock. */
	int profiling;
	void (*enter)(lua_State *L, lua_State *co); /* `co` is about to be resumed by L */
	void (*leave)(lua_State *L, lua_State *co); /* it came back */
	/* What ran in it is over, and another task will use it: its profile ends unread. */
	void (*forget)(lua_State *L, lua_State *co);
};

#endif
