/*
 * The short strings of shared units, one object for each content, and the random seed.
 *
 * All states hash with the same seed, so a string has the same hash everywhere. A unit
 * takes its short strings from the table here; so two shared strings are equal only if
 * they are the same object, and just a shared and a private one must be compared by
 * content. Strings are counted: by the units that refer to them, and by states that still
 * use one whose unit is gone.
 *
 * Any thread; one lock, held for one look-up or for a list of strings to drop. Reading a
 * string that one has a reference to needs no lock: nothing in it but its chain, which
 * only this file uses, ever changes.
 */
#define lsharestr_c
#define LUA_CORE

#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "lua.h"

#include "lauxlib.h"
#include "lshare.h"
#include "lstring.h"
#include "lualib.h"

struct SharedString {
	size_t refs;
	TString ts;
};

#define holderof(t)                                                                      \
	((struct SharedString *)(void *)((char *)(t)-offsetof(struct SharedString, ts)))

static struct {
	pthread_mutex_t lock;
	size_t n, size; /* strings, chains (0 or a power of two) */
	TString **chain;
} strings = {.lock = PTHREAD_MUTEX_INITIALIZER};

_Atomic(TString **) luaE_pool;

static void *
allocate(void *ud, void *p, size_t osize, size_t nsize) {
	(void)ud;
	(void)osize;
	if (nsize == 0) {
		free(p);
		return NULL;
	}
	return realloc(p, nsize);
}

static lua_Alloc allocator = allocate;

/*
 * Use this allocator, with NULL as its first argument, for what is shared: it's made and freed
 * by different threads. To be called before anything else of this interface.
 */
LUA_API void
lua_setsharedalloc(lua_Alloc f) {
	allocator = f;
}

void *
luaE_sharedalloc(void *p, size_t osize, size_t nsize) {
	if (p == NULL && nsize == 0)
		return NULL;
	return allocator(NULL, p, p ? osize : 0, nsize);
}

/* Slow part of eqshrstr: two objects with the same hash. */
int
luaS_eqshrstr(const TString *a, const TString *b) {
	return a->shrlen == b->shrlen && (isshared(a) || isshared(b)) &&
	       memcmp(a->contents, b->contents, a->shrlen) == 0;
}

static void
growtable(void) {
	size_t size = strings.size ? strings.size * 2 : 1024;
	TString **chain = calloc(size, sizeof(*chain));
	if (chain == NULL)
		return; /* longer chains, then */
	for (size_t i = 0; i < strings.size; i++) {
		for (TString *ts = strings.chain[i], *next; ts; ts = next) {
			next = ts->u.hnext;
			ts->u.hnext = chain[ts->hash & (size - 1)];
			chain[ts->hash & (size - 1)] = ts;
		}
	}
	free(strings.chain);
	strings.chain = chain;
	strings.size = size;
}

static size_t
stringsize(const TString *ts) {
	return offsetof(struct SharedString, ts) + offsetof(TString, contents) + ts->shrlen + 1u;
}

static TString *
newshared(const TString *src) {
	struct SharedString *s = luaE_sharedalloc(NULL, 0, stringsize(src));
	if (s == NULL)
		return NULL;
	s->refs = 0;
	s->ts.next = NULL;
	s->ts.tt = LUA_VSHRSTR;
	s->ts.marked = SHAREDMARK;
	s->ts.extra = src->extra;
	s->ts.shrlen = src->shrlen;
	s->ts.hash = src->hash;
	memcpy(s->ts.contents, src->contents, src->shrlen + 1u);
	TString **list = &strings.chain[src->hash & (strings.size - 1)];
	s->ts.u.hnext = *list;
	*list = &s->ts;
	strings.n++;
	return &s->ts;
}

static TString *
lookup(const TString *src) {
	TString *ts = strings.chain[src->hash & (strings.size - 1)];
	while (ts && !(ts->hash == src->hash && ts->shrlen == src->shrlen &&
		       memcmp(ts->contents, src->contents, ts->shrlen) == 0))
		ts = ts->u.hnext;
	return ts;
}

TString *
luaE_internshared(const TString *src) {
	TString *ts = NULL;
	pthread_mutex_lock(&strings.lock);
	if (strings.n >= strings.size)
		growtable();
	if (strings.size > 0) {
		ts = lookup(src);
		if (ts == NULL)
			ts = newshared(src);
		if (ts)
			holderof(ts)->refs++;
	}
	pthread_mutex_unlock(&strings.lock);
	return ts;
}

void
luaE_keepstring(TString *ts) {
	pthread_mutex_lock(&strings.lock);
	holderof(ts)->refs++;
	pthread_mutex_unlock(&strings.lock);
}

static void
unlinkstring(TString *ts) {
	TString **p = &strings.chain[ts->hash & (strings.size - 1)];
	while (*p != ts)
		p = &(*p)->u.hnext;
	*p = ts->u.hnext;
	strings.n--;
	luaE_sharedalloc(holderof(ts), stringsize(ts), 0);
}

void
luaE_dropstrings(TString **ts, size_t n) {
	pthread_mutex_lock(&strings.lock);
	for (size_t i = 0; i < n; i++) {
		if (--holderof(ts[i])->refs == 0)
			unlinkstring(ts[i]);
	}
	pthread_mutex_unlock(&strings.lock);
}

/*
 * ---- strings common to all states ----
 */

/* Take every short string of a state, while there's room. Returns whether all were taken. */
static int
collect(lua_State *L, TString **pool) {
	stringtable *tb = &G(L)->strt;
	int room = POOLSIZE / 2;
	for (int i = 0; i < tb->size; i++) {
		for (TString *ts = tb->hash[i]; ts; ts = ts->u.hnext) {
			/* a reference that is never dropped */
			TString *shared = room-- > 0 ? luaE_internshared(ts) : NULL;
			if (shared == NULL)
				return 0;
			unsigned at = shared->hash % POOLSIZE;
			while (pool[at])
				at = (at + 1) % POOLSIZE;
			pool[at] = shared;
		}
	}
	return 1;
}

/* set before makepool runs */
static const char *const *extra;
static lua_CFunction opener;

static int
usewords(lua_State *L) {
	lua_gc(L, LUA_GCSTOP, 0);
	lua_pushcfunction(L, opener);
	lua_call(L, 0, 0);
	lua_newtable(L);
	for (int i = 0; extra && extra[i]; i++) {
		lua_pushboolean(L, 1);
		lua_setfield(L, 1, extra[i]);
	}
	if (collect(L, lua_touserdata(L, lua_upvalueindex(1))))
		luaE_recordimage(L);
	return 0;
}

static int
openlibs(lua_State *L) {
	luaL_openlibs(L);
	return 0;
}

static void
makepool(void) {
	TString **pool = calloc(POOLSIZE, sizeof(*pool));
	lua_State *L = pool ? lua_newstate(allocate, NULL) : NULL;
	if (L == NULL) {
		free(pool);
		return; /* every state then makes its own */
	}
	lua_pushlightuserdata(L, pool);
	lua_pushcclosure(L, usewords, 1);
	if (lua_pcall(L, 0, 0, 0) != LUA_OK)
		lua_pop(L, 1); /* no memory: the pool holds less, perhaps nothing */
	lua_close(L);
	/* release: pairs with the acquire in luaE_poolstring */
	atomic_store_explicit(&luaE_pool, pool, memory_order_release);
}

void
luaE_initpool(const char *const words[], lua_CFunction open) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	extra = words;
	opener = open ? open : openlibs;
	pthread_once(&once, makepool);
}

/*
 * ---- one hash seed for all states of the process ----
 */

static unsigned seed;

/*
 * Would keys that are looked up for each message share a place in their table, a protocol's? That's so
 * with four seeds in five, and makes each look-up a little longer, for as long as the process lives.
 */
static int
unlucky(unsigned s) {
	static const char *const key[] = {"name", "id", "pack", "unpack", "dispatch"};
	unsigned taken = 0;
	for (size_t i = 0; i < sizeof(key) / sizeof(key[0]); i++) {
		unsigned place = 1u << (luaS_hash(key[i], strlen(key[i]), s) & 7);
		if (taken & place)
			return 1;
		taken |= place;
	}
	return 0;
}

static unsigned
draw(void) {
	unsigned s;
	if (getentropy(&s, sizeof(s)) != 0) {
		struct timespec t;
		clock_gettime(CLOCK_REALTIME, &t);
		s = (unsigned)t.tv_nsec ^ (unsigned)getpid() << 16;
	}
	return s;
}

static void
makeseed(void) {
	int tries = 100;
	do
		seed = draw();
	while (unlucky(seed) && --tries > 0);
}

unsigned
luaE_processseed(void) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, makeseed);
	return seed;
}
