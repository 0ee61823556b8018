/*
 * Sharing objects between Lua states: code, tables, strings, their lifetime, replacement;
 * with states in several threads, with allocations that fail, and the standard library's
 * suite as private and as shared code. The same program is also built against a Lua whose
 * assertions are on, that moves the stack at every chance and collects at every
 * allocation (lua_share_hard_test).
 */
#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HARD
#define ROUNDS 40
#else
#define ROUNDS 1000
#endif
#define THREADS 4
#define SUITE "test/lib/stdlib_suite.lua"

static int number;

/* libc's time zone functions have a lock of their own that the sanitizer doesn't see */
const char *
__tsan_default_suppressions(void) {
	return "race:tzset_internal\n";
}

static void
result(int good, const char *name, const char *why) {
	printf("%s %d - %s\n", good ? "ok" : "not ok", ++number, name);
	if (!good)
		printf("# %s\n", why ? why : "");
	fflush(stdout);
}

static lua_State *
open_state(void) {
	lua_State *L = luaL_newstate();
	if (!lua_openimage(L, NULL)) /* before luaL_initcodecache */
		luaL_openlibs(L);
	return L;
}

static lua_Shared *
share_table(const char *source) {
	const char *why = NULL;
	lua_State *L = open_state();
	lua_Shared *u = NULL;
	lua_gc(L, LUA_GCSTOP);
	if (luaL_dostring(L, source) == LUA_OK)
		u = lua_sharetable(L, -1, &why);
	lua_close(L);
	return u;
}

/* Run a chunk; a message of its failure in text, or NULL. The text lives until the next
 * call. */
static const char *
run(lua_State *L, const char *code) {
	static _Thread_local char text[1024];
	if (luaL_dostring(L, code) == LUA_OK)
		return NULL;
	snprintf(text, sizeof(text), "%s", luaL_tolstring(L, -1, NULL));
	lua_settop(L, 0);
	return text;
}

static void
check(lua_State *L, const char *name, const char *code) {
	const char *why = run(L, code);
	result(why == NULL, name, why);
}

/*
 * ---- one state ----
 */

static const char DATA[] =
	"local long = ('l'):rep(60)\n"
	"return { 1, 2, 3, name = 'n', list = { {id = 1}, {id = 2} }, [long] = long,\n"
	"  f = function(a) return a + 1 end, holes = { 1, nil, 3, nil }, [2.5] = true, "
	"[-1] = 'm',\n"
	"  mt = { __index = { inherited = 5 } } }";

static void
test_table(void) {
	lua_Shared *u = share_table(DATA);
	lua_State *L = open_state();
	lua_pushshared(L, u);
	result(lua_isshared(L, -1) && lua_topointer(L, -1) == lua_sharedroot(u) &&
	           lua_istable(L, -1) && lua_rawlen(L, -1) == 3,
	       "a shared table is a table", NULL);
	lua_setglobal(L, "T");
	check(L, "it is read natively",
	      "assert(T.name == 'n' and T[2] == 2 and #T == 3 and T.list[2].id == 2)\n"
	      "assert(T[('l'):rep(60)] == ('l'):rep(60) and T['na' .. 'me'] == 'n')\n"
	      "assert(T.f(1) == 2 and T[2.5] and T[-1] == 'm' and #T.holes == 3)\n"
	      "local n = 0 for k, v in pairs(T) do assert(T[k] == v) n = n + 1 end "
	      "assert(n == 11)\n"
	      "assert(setmetatable({}, T.mt).inherited == 5 and not setmetatable({}, "
	      "T.mt).other)\n");
	check(L, "every write is refused",
	      "local function no(f, ...) local ok, e = pcall(f, ...) assert(not ok and "
	      "e:find 'change') end\n"
	      "no(function() T.name = 1 end) no(function() T.new = 1 end) no(function() "
	      "T[1] = 1 end)\n"
	      "no(function() T[4] = 1 end) no(function(k) T[k] = 1 end, 1) "
	      "no(function(k) T[k] = 1 end, T)\n"
	      "no(rawset, T, 1, 1) no(rawset, T, 'new', 1) no(table.insert, T, 1) "
	      "no(table.remove, T)\n"
	      "no(table.sort, T, function(a, b) return a > b end) no(table.move, {1}, 1, "
	      "1, 1, T)\n"
	      "no(function() setmetatable({}, { __newindex = T }).x = 1 end)\n"
	      "no(load('x = 1', 'c', 't', T))\n"
	      "assert(not pcall(setmetatable, T, {}) and not pcall(debug.setmetatable, "
	      "T, {}))\n"
	      "assert(getmetatable(setmetatable({}, T.mt)) == T.mt)\n"
	      "no(function() getmetatable(setmetatable({}, T.mt)).__index = nil end)\n");
	check(L, "the collector leaves it alone, in both modes",
	      "for _, m in ipairs { 'incremental', 'generational' } do "
	      "collectgarbage(m)\n"
	      "  local t = {} for i = 1, 200 do t[i] = { T, T.list[1], [T.list] = T.name "
	      "} end\n"
	      "  collectgarbage() collectgarbage 'step' collectgarbage()\n"
	      "  for i = 1, 200 do assert(t[i][1] == T and t[i][T.list] == 'n') end\n"
	      "end");
	lua_close(L);
	lua_dropshared(u);
}

/* C functions write, too. */
static int
c_writes(lua_State *L) {
	int how = (int)lua_tointeger(L, 2);
	lua_settop(L, 1);
	lua_pushinteger(L, 5);
	switch (how) {
	case 0:
		lua_setfield(L, 1, "name");
		break;
	case 1:
		lua_seti(L, 1, 1);
		break;
	case 2:
		lua_rawseti(L, 1, 1);
		break;
	case 3:
		lua_rawsetp(L, 1, L);
		break;
	case 4:
		lua_pushvalue(L, 2);
		lua_settable(L, 1);
		break;
	case 5:
		lua_pushvalue(L, 2);
		lua_rawset(L, 1);
		break;
	case 6:
		lua_newtable(L);
		lua_setmetatable(L, 1);
		break;
	case 7:
		luaL_ref(L, 1);
		break;
	}
	return 0;
}

static void
test_api(void) {
	lua_Shared *u = share_table(DATA);
	lua_State *L = open_state();
	int refused = 0;
	for (int i = 0; i <= 7; i++) {
		lua_pushcfunction(L, c_writes);
		lua_pushshared(L, u);
		lua_pushinteger(L, i);
		refused += lua_pcall(L, 2, 0, 0) == LUA_ERRRUN;
		lua_settop(L, 0);
	}
	result(refused == 8, "every writing function of the API is refused", NULL);
	lua_close(L);
	lua_dropshared(u);
}

static void
test_refusals(void) {
	static const char *const bad[] = {"return { setmetatable({}, {}) }",
	                                  "local x return { function() return x end }",
	                                  "return { io.stdout }",
	                                  "return { coroutine.create(print) }",
	                                  "return { string.gmatch('', '') }",
	                                  "return { [io.stdout] = 1 }"};
	int refused = 0;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refused += share_table(bad[i]) == NULL;
	result(refused == 6, "what can't be shared is refused", NULL);
	lua_Shared *u = share_table("local t = {} for i = 1, 100000 do t = { t } end return t");
	result(u != NULL, "deep tables are shared without recursion", NULL);
	lua_dropshared(u);
	u = share_table("local t = {} t.t = t t[t] = t return t");
	result(u != NULL, "so are cycles", NULL);
	lua_dropshared(u);
}

static void
test_code(void) {
	lua_State *A = open_state();
	if (luaL_loadstring(A, "local n = 0\nfunction up() n = n + 1 return n, 'k' .. n end\n"
	                       "function bad() local t\nreturn t.field end\nreturn "
	                       "debug.getinfo(1, 'SL')"))
		abort();
	lua_Shared *u = lua_sharecode(A, -1);
	lua_close(A);
	lua_State *B = open_state(), *C = open_state();
	lua_State *all[] = {B, C};
	int good = 1;
	for (int i = 0; i < 2; i++) {
		lua_pushshared(all[i], u);
		good = good && lua_pcall(all[i], 0, 1, 0) == LUA_OK;
		lua_setglobal(all[i], "info");
	}
	result(good, "shared code runs in several states", NULL);
	check(B, "upvalues are private", "up() up() assert(select(2, up()) == 'k3')");
	check(C, "upvalues are private, there too", "assert(up() == 1 and info.activelines[5])");
	check(C, "errors name lines and variables",
	      "local ok, e = pcall(bad) assert(e:find \":4: attempt to index a nil value "
	      "%(local 't'%)\")");
	check(C, "it can be dumped and loaded",
	      "local f = load(string.dump(bad)) assert(not pcall(f)) "
	      "assert(load(string.dump(bad, true)))");
	lua_dropshared(u);
	lua_close(B);
	check(C, "it outlives its owner and other states", "assert(up() == 2)");
	lua_close(C);
}

/*
 * ---- lifetime ----
 */

static int
holds(lua_State *L, const void *root) {
	return lua_findshared(L, root) != NULL;
}

static void
test_lifetime(const char *mode) {
	char name[128];
	lua_Shared *u =
		share_table("return { 'a string', ('x'):rep(100), f = function() return 'k' end,"
	                " sub = {}, key = 'some key' }");
	const void *root = lua_sharedroot(u);
	lua_State *L = open_state();
	lua_getglobal(L, "collectgarbage");
	lua_pushstring(L, mode);
	lua_call(L, 1, 0);
	lua_pushshared(L, u);
	lua_setglobal(L, "T");
	lua_gc(L, LUA_GCCOLLECT);
	int before = holds(L, root);
	lua_retireshared(u);
	lua_dropshared(u);
	lua_gc(L, LUA_GCCOLLECT);
	int used = holds(L, root);
	run(L, "S, LONG, F, SUB = T[1], T[2], T.f, T.sub T = nil collectgarbage()");
	int longer = holds(L, root);
	run(L, "LONG, F = LONG .. '', setmetatable({ F }, { __mode = 'v' }) SUB = nil "
	       "collectgarbage()");
	int weak = holds(L, root);
	run(L, "F = nil KEYS = { ['some key'] = S } LONG = nil collectgarbage()");
	int gone = !holds(L, root);
	const char *why =
		run(L, "collectgarbage() collectgarbage() assert(S == 'a string' and "
	           "KEYS['some ' .. 'key'] == 'a string') S, KEYS = nil collectgarbage()");
	snprintf(name, sizeof(name), "a retired unit is dropped when it's unused (%s)", mode);
	result(before && used && longer && weak && gone && !why, name, why);
	lua_close(L);
}

static void
test_replace(void) {
	lua_Shared *old = share_table("return { v = 1, sub = { v = 1, { v = 1 } }, gone = {} }");
	lua_Shared *newer = share_table("return { v = 2, sub = { v = 2, { v = 2 } } }");
	lua_State *L = open_state();
	lua_pushshared(L, old);
	lua_setglobal(L, "T");
	const char *why =
		run(L, "local up = T.sub\n"
	           "function get() return up end\n"
	           "co = coroutine.create(function(a) local b = a coroutine.yield() "
	           "return b.v end)\n"
	           "coroutine.resume(co, T.sub[1])\n"
	           "keys = { [T] = 'root', [T.sub] = 'sub', [T.gone] = 'gone', T.gone }\n"
	           "for i = 1, 50 do keys[i + 10] = T keys['k' .. i] = T.sub end\n"
	           "obj = setmetatable({}, { __index = T })\n"
	           "many = {} for i = 1, 20 do many[i] = { [T.sub] = i } end\n");
	lua_pushshared(L, newer);
	lua_setglobal(L, "N");
	int n = lua_replaceshared(L, old, newer);
	if (!why)
		why = run(L, "assert(T == N and get() == N.sub and obj.v == 2)\n"
		             "assert(select(2, coroutine.resume(co)) == 2)\n"
		             "assert(keys[N] == 'root' and keys[N.sub] == 'sub' and "
		             "keys[1] == nil)\n"
		             "local n = 0 for k, v in pairs(keys) do n = n + 1 assert(v "
		             "~= 'gone') end assert(n == 102)\n"
		             "for i = 1, 20 do assert(many[i][N.sub] == i and "
		             "next(many[i]) == N.sub) end\n");
	result(!why && n > 100, "replace finds every reference", why);
	lua_retireshared(old);
	lua_gc(L, LUA_GCCOLLECT);
	result(!holds(L, lua_sharedroot(old)), "and leaves none", NULL);
	lua_close(L);
	lua_dropshared(old);
	lua_dropshared(newer);
}

/*
 * ---- allocations that fail ----
 */

struct budget {
	long left; /* allocations until one fails; < 0: none fails */
};

static void *
limited(void *ud, void *p, size_t osize, size_t nsize) {
	struct budget *b = ud;
	(void)osize;
	if (nsize == 0) {
		free(p);
		return NULL;
	}
	if (b->left == 0)
		return NULL;
	if (b->left > 0)
		b->left--;
	return realloc(p, nsize);
}

struct sample {
	lua_Shared *old, *newer, *code;
};

static int
work(lua_State *L) {
	struct sample *s = lua_touserdata(L, 1);
	lua_pushshared(L, s->old);
	lua_setglobal(L, "T");
	lua_pushshared(L, s->code);
	lua_call(L, 0, 0);
	lua_pushshared(L, s->newer);
	lua_setglobal(L, "N");
	lua_replaceshared(L, s->old, s->newer);
	lua_gc(L, LUA_GCCOLLECT);
	return 0;
}

/* Fail the first, the second, ... allocation, until nothing fails any more. */
static void
test_memory(void) {
	struct sample s = {share_table(DATA), share_table(DATA), NULL};
	lua_State *A = luaL_newstate();
	if (luaL_loadstring(A, "keys = { [T] = 1, [T.list] = 2 } local s = {}\n"
	                       "for i = 1, 20 do s[i] = T.name .. i s[s[i]] = function() return "
	                       "i end end\n"
	                       "keys[s] = T.list keys.f = function() return T.list[1] end\n"))
		abort();
	s.code = lua_sharecode(A, -1);
	lua_close(A);
	lua_retireshared(s.old);
	long n, done = 0, wrong = 0;
	for (n = 0; !done && n < 100000; n += n < 400 ? 1 : 7) {
		struct budget b = {n};
		lua_State *L = lua_newstate(limited, &b);
		if (L == NULL)
			continue;
		lua_pushcfunction(L, work);
		lua_pushlightuserdata(L, &s);
		int status = lua_pcall(L, 1, 0, 0);
		done = status == LUA_OK && b.left > 0;
		wrong += status != LUA_OK && status != LUA_ERRMEM;
		lua_close(L);
	}
	result(done && !wrong, "every allocation may fail", NULL);
	lua_dropshared(s.old);
	lua_dropshared(s.newer);
	lua_dropshared(s.code);
}

/*
 * ---- the standard library's suite ----
 */

struct suite {
	const char *how;
	int shared;
	int cases, failed;
	char why[512];
};

static void
run_case(lua_State *L, struct suite *s, int index) {
	lua_geti(L, -1, index);
#ifdef HARD
	lua_geti(L, -1, 1); /* a stack of a million slots can't move at every call */
	int skip = strcmp(lua_tostring(L, -1), "a stack that overflows") == 0;
	lua_settop(L, skip ? 1 : 2);
	if (skip)
		return;
#endif
	lua_geti(L, -1, 2);
	if (lua_pcall(L, 0, 0, 0) != LUA_OK) {
		lua_geti(L, -2, 1);
		snprintf(s->why, sizeof(s->why), "%s: %s", lua_tostring(L, -1),
		         luaL_tolstring(L, -2, NULL));
		s->failed++;
		lua_settop(L, 2);
	}
	s->cases++;
	lua_settop(L, 1);
}

static void
run_suite(struct suite *s) {
	lua_State *L = open_state();
#ifdef HARD
	lua_gc(L, LUA_GCSTOP); /* else every allocation collects, for hours; stacks move
	              all the same */
#endif
	int status = s->shared ? luaL_loadfilex(L, SUITE, NULL) : luaL_loadfilex_(L, SUITE, NULL);
	if (status != LUA_OK || lua_pcall(L, 0, 1, 0) != LUA_OK) {
		snprintf(s->why, sizeof(s->why), "%s", lua_tostring(L, -1));
		s->failed++;
	} else {
		int n = (int)luaL_len(L, 1);
		for (int i = 1; i <= n; i++)
			run_case(L, s, i);
	}
	lua_close(L);
}

static void
test_suite(int shared) {
	struct suite s = {.shared = shared};
	char name[64];
	run_suite(&s);
	snprintf(name, sizeof(name), "the standard library as %s code",
	         shared ? "shared" : "private");
	result(s.failed == 0 && s.cases > 20, name, s.why);
}

/*
 * ---- threads ----
 */

static _Atomic(lua_Shared *) published;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int stop;

/* The newest version, with a reference. */
static lua_Shared *
newest(void) {
	pthread_mutex_lock(&lock);
	lua_Shared *u = atomic_load(&published);
	lua_keepshared(u);
	pthread_mutex_unlock(&lock);
	return u;
}

static void
publish(lua_Shared *u) {
	pthread_mutex_lock(&lock);
	lua_Shared *old = atomic_exchange(&published, u);
	pthread_mutex_unlock(&lock);
	if (old) {
		lua_retireshared(old);
		lua_dropshared(old);
	}
}

static const char READ[] =
	"local n = 0\n"
	"for k, v in pairs(T.items) do\n"
	"  assert(T.items[k] == v and k == 'item' .. v.id and v.version == T.version)\n"
	"  n = n + v.id + #v.list\n"
	"end\n"
	"assert(n == 50 * 51 // 2 + 50 * 3 and T.f(1) == 'x1')\n"
	"kept = kept or {}\n"
	"kept[#kept % 10 + 1] = next(T.items)\n"
	"junk = {} for i = 1, 20 do junk['item' .. i] = T.items['item' .. i] end\n";

/* One reader: takes the newest version, now and then replaces the older one. */
static void *
reader(void *arg) {
	struct suite *s = arg;
	lua_State *L = open_state();
	const char *why = NULL;
	lua_gc(L, s->shared ? LUA_GCGEN : LUA_GCINC, 0, 0, 0);
	lua_Shared *last = newest();
	lua_pushshared(L, last);
	lua_setglobal(L, "T");
	for (int i = 0; !why && !atomic_load(&stop); i++) {
		lua_Shared *u = newest();
		lua_pushshared(L, u);
		lua_setglobal(L, "T");
		if (u != last)
			lua_replaceshared(L, last, u);
		lua_dropshared(last);
		last = u;
		why = run(L, READ);
		if (i % 8 == 0)
			lua_gc(L, LUA_GCCOLLECT);
		s->cases++;
	}
	lua_dropshared(last);
	lua_close(L);
	if (why) {
		s->failed++;
		snprintf(s->why, sizeof(s->why), "%s", why);
	}
	return NULL;
}

static lua_Shared *
make_version(int v) {
	char source[512];
	snprintf(source, sizeof(source),
	         "local t = { version = %d, items = {}, f = function(n) return 'x' .. n "
	         "end }\n"
	         "for i = 1, 50 do t.items['item' .. i] = { id = i, version = %d, list = "
	         "{ 1, 2, 3 } } end\n"
	         "return t",
	         v, v);
	return share_table(source);
}

static void
test_threads(void) {
	pthread_t thread[THREADS];
	struct suite s[THREADS] = {0};
	publish(make_version(0));
	for (int i = 0; i < THREADS; i++) {
		s[i].shared = i % 2;
		pthread_create(&thread[i], NULL, reader, &s[i]);
	}
	for (int v = 1; v < ROUNDS / 4; v++)
		publish(make_version(v));
	atomic_store(&stop, 1);
	int failed = 0;
	for (int i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		failed += s[i].failed;
		if (s[i].failed)
			printf("# %s\n", s[i].why);
	}
	publish(NULL);
	result(!failed, "states in several threads read, update and drop versions", NULL);
}

/* All threads load the same files at the same time, and one clears the cache. */
static void *
loader(void *arg) {
	struct suite *s = arg;
	const char *name = s->how;
	for (int i = 0; i < ROUNDS / 20 && !s->failed; i++) {
		lua_State *L = open_state();
		if (s->shared && i % 3 == 0) {
			luaL_requiref(L, "skynet.codecache", luaopen_cache, 0);
			lua_getfield(L, -1, "clear");
			lua_call(L, 0, 0);
		}
		if (luaL_loadfile(L, name) != LUA_OK || lua_pcall(L, 0, 1, 0) != LUA_OK ||
		    lua_tointeger(L, -1) != 500) {
			snprintf(s->why, sizeof(s->why), "%s", luaL_tolstring(L, -1, NULL));
			s->failed++;
		}
		lua_settop(L, 0);
		if (luaL_loadfile(L, "/no/such/file.lua") != LUA_ERRFILE)
			s->failed++;
		if (i % 2)
			lua_gc(L, LUA_GCCOLLECT);
		lua_close(L);
	}
	return NULL;
}

/* A file of its own, in the folder for such; its name lives as long as the buffer. */
static FILE *
new_file(char *name, size_t room) {
	const char *folder = getenv("TEST_TMP");
	snprintf(name, room, "%s/lua_share_XXXXXX", folder ? folder : "/tmp");
	int fd = mkstemp(name);
	FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (f == NULL)
		abort();
	return f;
}

static char *
big_file(void) {
	static char name[256];
	FILE *f = new_file(name, sizeof(name));
	fprintf(f, "local n = 0\nlocal M = {}\n");
	for (int i = 0; i < 500; i++)
		fprintf(f,
		        "M['f%d'] = function(a) n = n + 1 return { name = 'f%d', arg = "
		        "a, n } end\n",
		        i, i);
	fprintf(f, "for k, f in pairs(M) do local t = f(k) assert(t.name == k and t.arg "
	           "== k) end\n");
	fprintf(f, "return n\n");
	fclose(f);
	return name;
}

static void
test_cache(void) {
	pthread_t thread[THREADS];
	struct suite s[THREADS] = {0};
	char *name = big_file();
	int failed = 0;
	for (int i = 0; i < THREADS; i++) {
		s[i].how = name;
		s[i].shared = i == 0;
		pthread_create(&thread[i], NULL, loader, &s[i]);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		failed += s[i].failed;
		if (s[i].failed)
			printf("# %s\n", s[i].why);
	}
	result(!failed, "threads load one file while the cache is cleared", NULL);
	remove(name);
}

static size_t
bytes(lua_State *L) {
	lua_gc(L, LUA_GCCOLLECT);
	return (size_t)lua_gc(L, LUA_GCCOUNT) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB);
}

static void
test_cost(void) {
	char *name = big_file();
	size_t cost[2];
	for (int i = 0; i < 2; i++) {
		lua_State *L = open_state();
		for (int j = 0; j < 8; j++) /* so that the table of strings has its size */
			lua_gc(L, LUA_GCCOLLECT);
		size_t before = bytes(L);
		if (luaL_loadfile(L, name) != LUA_OK)
			abort();
		cost[i] = bytes(L) - before;
		lua_close(L);
	}
	char why[64];
	snprintf(why, sizeof(why), "%zu and %zu bytes", cost[0], cost[1]);
	result(cost[0] < 200 && cost[1] < 200, "a loaded file costs a state its closure only", why);
	remove(name);
}

/* All that the libraries have, by name; light C functions with their address. */
#define DUMP                                                                                     \
	"local all = {} "                                                                            \
	"for lib, t in pairs(package.loaded) do for name, f in pairs(t) do "                         \
	"local plain = lib ~= 'package' and not name:find 'random' and not name:find 'std' and "     \
	"type(f) == 'function' and not _G.package.loaded._G[name] "                                  \
	"all[#all + 1] = lib .. '.' .. name .. ' ' .. (plain and tostring(f) or type(f)) "           \
	"end end table.sort(all) return table.concat(all, '\\n')"

static lua_State *plain_state; /* its libraries were filled name by name */

/* States that come after the first are copies of what the recorded one had, each its own. */
static void
test_libraries(void) {
	lua_State *a = open_state(), *b = open_state();
	lua_State *const all[] = {plain_state, a, b};
	for (int i = 0; i < 3; i++) {
		if (luaL_dostring(all[i], DUMP) != LUA_OK)
			abort();
	}
	const char *text = lua_tostring(plain_state, -1);
	result(strlen(text) > 2000 && strcmp(text, lua_tostring(a, -1)) == 0,
	       "library tables are what they are without sharing", lua_tostring(a, -1));
	int ok = luaL_dostring(a, "string.format = nil string.mine = 1 print = nil "
	                          "for i = 1, 100 do string['x' .. i] = i end") == LUA_OK;
	ok = ok && luaL_dostring(b, DUMP) == LUA_OK && strcmp(text, lua_tostring(b, -1)) == 0;
	result(ok, "a state changes its own library tables only", lua_tostring(b, -1));
	lua_close(a);
	lua_close(b);
	lua_close(plain_state);
}

#define USE                                                                                      \
	"assert(('ab'):rep(2, '-') == 'ab-ab' and io.type(io.stdout) == 'file' and "                 \
	"coroutine.running()) "                                                                      \
	"local t = setmetatable({}, {__index = string}) assert(t.len 'abc' == 3) "                   \
	"for i = 1, 200 do _G['v' .. i] = {i} package.loaded['m' .. i] = {i} end "                   \
	"collectgarbage() collectgarbage 'step' "                                                    \
	"for i = 1, 200 do assert(_G['v' .. i][1] == i and package.loaded['m' .. i][1] == i) end "   \
	"assert(require 'string' == string and debug.getregistry()[2] == _G)"

static const char *
use_image(struct budget *b, const char *mode, long allocations, int *copied) {
	b->left = -1;
	lua_State *L = lua_newstate(limited, b);
	const char *why = run(L, "");
	lua_gc(L, mode[0] == 'g' ? LUA_GCGEN : LUA_GCINC, 0, 0, 0);
	b->left = allocations;
	*copied = lua_openimage(L, NULL);
	b->left = -1;
	if (!*copied)
		luaL_openlibs(L);
	why = why ? why : run(L, USE);
	lua_close(L);
	return why;
}

/* With no memory for all of the image, the state has nothing of it. */
static void
test_image(const char *mode) {
	struct budget b;
	const char *why = NULL;
	int copied = 0;
	long n = 0;
	for (; why == NULL && !copied; n++)
		why = use_image(&b, mode, n, &copied);
	why = why ? why : use_image(&b, mode, -1, &copied);
	result(why == NULL && copied && n > 1, "a state is a copy, or makes its own", why);
}

#define CODE                                                                                     \
	"local n, M = 0, setmetatable({}, {__call = function(_, x) return x, _ENV end}) "            \
	"local main = coroutine.running() "                                                          \
	"function M.add(k) n = n + k return n end "                                                  \
	"function M.get() return n, main == coroutine.running() end "                                \
	"M.long = ('x'):rep(100) M.list = {1, 2.5, 'three', {M}} M.upper = string.upper "            \
	"M.large = {} for i = 1, 8 do M.large[i] = {M} for k = 1, 200 do M.large[i][k + 1] = k end " \
	"end "                                                                                       \
	"counter = M return M"

#define USE_CODE                                                                                 \
	"local c = counter "                                                                         \
	"for i = 1, 50 do c.add(i) end "                                                             \
	"local n, main = c.get() assert(n == 1275 and main) "                                        \
	"local x, env = c(7) assert(x == 7 and env == _G) "                                          \
	"assert(#c.long == 100 and c.list[4][1] == c and c.upper == string.upper) "                  \
	"for i = 1, 8 do assert(c.large[i][1] == c and c.large[i][201] == 200) end "                 \
	"c.list[100] = 1 c.list.more = 2 assert(c.list[4][1] == c) c.list[4] = nil "                 \
	"collectgarbage() collectgarbage 'generational' collectgarbage 'step' collectgarbage() "     \
	"c.more = function() return c.add(1) end assert(c.more() == 1276 and c.get() == 1276)"

/* A state that has run shared code, as an image; the file is gone by then, and so is the state.
 */
static lua_Image *
record_code(const char *chunk) {
	char name[256];
	FILE *f = new_file(name, sizeof(name));
	bool written = fputs(chunk, f) >= 0;
	if (fclose(f) != 0 || !written)
		abort();
	lua_State *L = open_state();
	lua_gc(L, LUA_GCSTOP);
	lua_Image *im = NULL;
	if (luaL_dofile(L, name) == LUA_OK) {
		lua_settop(L, 0);
		im = lua_recordimage(L);
	}
	lua_close(L);
	unlink(name);
	return im;
}

static const char *
use_code(struct budget *b, const lua_Image *im, long allocations, int *copied) {
	b->left = -1;
	lua_State *L = lua_newstate(limited, b);
	b->left = allocations;
	*copied = lua_openimage(L, im);
	b->left = -1;
	const char *why = NULL;
	if (*copied)
		why = run(L, USE_CODE);
	else
		luaL_openlibs(L);
	why = why ? why : run(L, USE);
	lua_close(L);
	return why;
}

static void
test_code_image(void) {
	struct budget b;
	const char *why = NULL;
	int copied = 0;
	lua_Image *im = record_code(CODE);
	long n = 0;
	for (; im && why == NULL && !copied; n++)
		why = use_code(&b, im, n, &copied);
	result(im && why == NULL && copied && n > 8, "an image has functions of shared code", why);

	lua_State *L = open_state();
	luaL_requiref(L, "skynet.codecache", luaopen_cache, 0);
	lua_setglobal(L, "cache");
	why = im && lua_imageretired(im) ? "retired too early" : run(L, "cache.clear()");
	for (int i = 0; im && why == NULL && i < 3; i++)
		why = use_code(&b, im, -1, &copied);
	result(im && why == NULL && copied && lua_imageretired(im),
	       "it outlives the cache's code, and tells", why);
	if (im)
		lua_freeimage(im);
	lua_close(L);

	lua_Image *thread = record_code("kept = coroutine.create(print)");
	lua_Image *key = record_code("kept = {[{}] = 1}");
	result(thread == NULL && key == NULL, "what can't be copied makes no image", NULL);
}

static void *
suite_thread(void *arg) {
	run_suite(arg);
	return NULL;
}

static void
test_suite_threads(void) {
	pthread_t thread[THREADS];
	struct suite s[THREADS] = {0};
	int failed = 0;
	for (int i = 0; i < THREADS; i++) {
		s[i].shared = 1;
		pthread_create(&thread[i], NULL, suite_thread, &s[i]);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		failed += s[i].failed;
		if (s[i].failed)
			printf("# %s\n", s[i].why);
	}
	result(!failed, "the standard library in several threads over the same code", NULL);
}

int
main(void) {
	plain_state = open_state();
	test_table(); /* states from before the cache was on ... */
	luaL_initcodecache(NULL, NULL);
	test_table(); /* ... and after */
	test_api();
	test_refusals();
	test_code();
	test_lifetime("incremental");
	test_lifetime("generational");
	test_replace();
	test_memory();
	test_libraries();
	test_image("generational");
	test_image("incremental");
	test_code_image();
	test_suite(0);
	test_suite(1);
	test_cost();
	test_cache();
	test_threads();
	test_suite_threads();
	return 0;
}
