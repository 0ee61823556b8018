/*
 * Threads at rest: one that waits needs no room to work in, and may wait for hours.
 *
 * A thread's stack has room for the C function that yielded, whose 20 slots the interface promises,
 * and for what the thread did before; neither is of use until it goes on. So a thread whose host
 * said that it may rest (lua_mayrest in lview.h, again for each wait) is cut down to the values it
 * holds: at once by lua_rest, or when the collector finds it waiting for the second time, so that
 * busy ones aren't. lua_resume gives it the room of its frames back, before anything runs there.
 *
 * While it rests its frames promise more than there is: whoever pushes values for lua_resume asks
 * lua_checkstack for more than REST_ROOM of them.
 */
#define lrest_c
#define LUA_CORE

#include "lua.h"

#include "ldo.h"
#include "lgc.h"
#include "lobject.h"
#include "lstate.h"

#define REST_ROOM 4 /* slots above what it holds */

enum { RUNS, MAY_REST, SEEN_WAITING, RESTS };

static void
shrink(lua_State *L) {
	int size = cast_int(L->top.p - L->stack.p) + REST_ROOM;
	luaE_freeCI(L);
	if (size + REST_ROOM < stacksize(L) && luaD_reallocstack(L, size, 0))
		L->resting = RESTS;
}

/* The collector found it waiting. 0: nothing was done. */
int
luaE_rest(lua_State *L) {
	if (L->status != LUA_YIELD)
		return 0;
	if (L->resting == MAY_REST)
		L->resting = SEEN_WAITING;
	else if (L->resting == SEEN_WAITING)
		shrink(L);
	return L->resting == RESTS;
}

/* It's about to be resumed. 0: there's no memory for what it needs. */
int
luaE_wake(lua_State *L) {
	int rests = L->resting == RESTS;
	int size = BASIC_STACK_SIZE;
	L->resting = RUNS;
	if (!rests)
		return 1;
	for (CallInfo *ci = L->ci; ci != NULL; ci = ci->previous) {
		if (ci->top.p - L->stack.p > size)
			size = cast_int(ci->top.p - L->stack.p);
	}
	if (size <= stacksize(L) || luaD_reallocstack(L, size, 0))
		return 1;
	if (!G(L)->gcstopem)
		luaC_fullgc(L, 1);
	return luaD_reallocstack(L, size, 0);
}

LUA_API void
lua_rest(lua_State *L) {
	if (L->resting && L->status == LUA_YIELD && L->resting != RESTS)
		shrink(L);
}
