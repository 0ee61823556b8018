/*
 * Interrupting a running VM from another thread: whatever instruction it hits, the program's
 * results stay right. A second thread asks for an interrupt again and again; its hook takes a
 * traceback, which moves the stack and may collect garbage. The program checks all that it
 * computes. And a signal handler's hook stops whatever runs, as in stock Lua.
 */
#include "tap.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/time.h>

static atomic_int stop;
static atomic_long taken;

static const char program[] =
	"local unpack, pack, select, pcall = table.unpack, table.pack, select, pcall\n"
	"local function _unpack(t, i, j) return unpack(t, i or 1, j or t.n or #t) end\n"
	"local function va(...) local a, b = ... return select('#', ...), a, b, ... end\n"
	"local mt = { __index = function(t, k) return k .. '!' end,\n"
	"	__add = function(a, b) return a.v + b.v end, __call = function(self, ...) return ... "
	"end,\n"
	"	__lt = function(a, b) return a.v < b.v end, __concat = function(a, b) return 'cat' end,\n"
	"	__close = function() CLOSED = CLOSED + 1 end }\n"
	"CLOSED = 0\n"
	"local function deep(n) if n == 0 then return 0 end return 1 + deep(n - 1) end\n"
	"local function tail(n, ...) if n == 0 then return ... end return tail(n - 1, ...) end\n"
	"for round = 1, ROUNDS do\n"
	"	local t = { n = 5, 1, nil, 3, nil, 5 }\n"
	"	local a, b, c, d, e = _unpack(t)\n"
	"	assert(a == 1 and b == nil and c == 3 and e == 5)\n"
	"	local n, x, y, z = va(_unpack({ 1, 2, 3 }, 1, 3))\n"
	"	assert(n == 3 and x == 1 and y == 2 and z == 1)\n"
	"	local o, p = setmetatable({ v = 1 }, mt), setmetatable({ v = 2 }, mt)\n"
	"	assert(o + p == 3 and o < p and o .. p == 'cat' and o.zz == 'zz!')\n"
	"	assert(select('#', o(va(1, 2))) == 5)\n"
	"	local sum = 0\n"
	"	for k, v in pairs { 1, 2, 3, a = 4, b = 5 } do sum = sum + v end\n"
	"	for i = 10, 1, -1 do sum = sum + i end\n"
	"	for i = 1.0, 2.0, 0.25 do sum = sum + i end\n"
	"	assert(sum == 15 + 55 + 7.5)\n"
	"	assert(deep(50) == 50 and tail(20, 7) == 7)\n"
	"	local list = { va(va(1, 2, 3)) }\n"
	"	assert(#list == 9)\n"
	"	do local c1 <close> = o local c2 <close> = p end\n"
	"	assert(CLOSED == 2 * round)\n"
	"	local co = coroutine.wrap(function(...) local q = ... while q do q = coroutine.yield(q + "
	"1) end\n"
	"		return 'done' end)\n"
	"	assert(co(1) == 2 and co(5) == 6 and co(nil) == 'done')\n"
	"	local ok, err = pcall(function(...) error({ va(...) }) end, 1, 2)\n"
	"	assert(not ok and #err == 5)\n"
	"	local s = {}\n"
	"	for w in ('a bb ccc'):gmatch '%a+' do s[#s + 1] = w:upper() .. #w end\n"
	"	assert(table.concat(s, ',') == 'A1,BB2,CCC3')\n"
	"	table.sort(s, function(u, v) return u > v end)\n"
	"	assert(s[1] == 'CCC3')\n"
	"	repeat local i = (i or 0) + 1 until i\n"
	"	local up = 0 local function inc() up = up + 1 return up end\n"
	"	assert(inc() + inc() * inc() == 7)\n"
	"end\n";

static void
hook(lua_State *L, lua_Debug *ar) {
	(void)ar;
	luaL_traceback(L, L, "stuck", 0);
	lua_pop(L, 1);
	atomic_fetch_add(&taken, 1);
}

static void *
interrupt(void *p) {
	uint64_t seed = 1;
	/* a traceback takes longer than what runs in between: so many of them are enough */
	for (int n = 0; n < 20000 && !atomic_load(&stop); n++) {
		lua_interrupt(p, hook);
		for (unsigned pause = tap_random(&seed) % 60000; pause > 0; pause--)
			atomic_load(&stop);
	}
	return NULL;
}

static bool
run(int rounds, const char *gc) {
	lua_State *L = luaL_newstate();
	pthread_t t;
	luaL_openlibs(L);
	lua_pushinteger(L, rounds);
	lua_setglobal(L, "ROUNDS");
	atomic_store(&stop, 0);
	bool good = luaL_dostring(L, gc) == LUA_OK;
	pthread_create(&t, NULL, interrupt, L);
	if (good && luaL_dostring(L, program) != LUA_OK) {
		printf("# %s\n", lua_tostring(L, -1));
		good = false;
	}
	atomic_store(&stop, 1);
	pthread_join(t, NULL);
	lua_close(L);
	return good;
}

/*
 * ---- a hook that a signal handler sets, as Lua's manual allows ----
 */

#ifdef __SANITIZE_THREAD__ /* it defers signals to the next system call */
#define SIGNALS_INTERRUPT false
#else
#define SIGNALS_INTERRUPT true
#endif

static lua_State *signalled;

static void
stop_hook(lua_State *L, lua_Debug *ar) {
	(void)ar;
	luaL_error(L, "stopped");
}

static void
on_alarm(int sig) {
	(void)sig;
	lua_sethook(signalled, stop_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT,
	            1);
}

static bool
stops(const char *endless) {
	lua_State *L = signalled = luaL_newstate();
	luaL_openlibs(L);
	struct itimerval soon = {.it_value.tv_usec = 20000};
	struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	bool good = luaL_loadstring(L, endless) == LUA_OK && sigaction(SIGALRM, &sa, NULL) == 0 &&
	            setitimer(ITIMER_REAL, &soon, NULL) == 0 && lua_pcall(L, 0, 0, 0) != LUA_OK &&
	            strstr(lua_tostring(L, -1), "stopped");
	lua_close(L);
	return good;
}

static void
test_signals(void) {
	static const char *const endless[] = {
		"while true do end",
		"repeat until false",
		"for i = 1, 0x7fffffffffffffff do end",
		"for i = 1.0, 1e300 do end",
		"::again:: goto again",
		"local function f() return f() end f()",
		"local i = 0 while i < 1 << 60 do i = i + 1 end",
		"local t = { 1 } for i in ipairs(t) do t[i], t[i + 1] = nil, 1 end",
		"local t = { 1 } while true do for _ in pairs(t) do end end",
	};
	bool good = true;
	for (size_t i = 0; i < sizeof(endless) / sizeof(endless[0]); i++) {
		if (!stops(endless[i])) {
			printf("# %s\n", endless[i]);
			good = false;
		}
	}
	ok(good, "a signal handler's hook stops every loop");
}

int
main(int argc, char *argv[]) {
	int rounds = argc > 1 ? atoi(argv[1]) : 20000;
	ok(run(rounds, "collectgarbage 'incremental'"), "interrupts change no result");
	ok(run(rounds, "collectgarbage 'generational'"), "nor with the generational collector");
	ok(run(rounds / 10, "collectgarbage('incremental', 10, 1000)"),
	   "nor while it collects all the time");
	printf("# %ld interrupts\n", atomic_load(&taken));
	ok(atomic_load(&taken) > 100, "and they are taken");
	if (SIGNALS_INTERRUPT)
		test_signals();
	return done();
}
