/*
 * Module skynet.multicast.core: one message for many receivers, without a copy for each.
 *
 * A package is a packed message and a count of deliveries that are still to come. What travels to
 * a receiver is the package's number (see live.h), 8 bytes; the receiver's `unpack` turns its
 * delivery into a userdata that keeps the package, so the data outlives whoever closes what. When
 * a receiver ends with deliveries unread, the kernel tells of each (skynet_on_drop).
 *
 * On its way from the publisher to the multicast service a package is in a cell: an 8-byte heap
 * block with its number. The cell's address is looked up before anybody follows it.
 *
 * Threads: any; one lock around both tables and all counts.
 */
#include "live.h"
#include "block.h"

#include "skynet.h"
#include "skynet_malloc.h"
#include "skynet_runtime.h"

#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#define META "skynet.multicast.package"

struct package {
	uint64_t id;
	void *data;
	size_t size;
	void *cell;       /* until it's bound */
	uint32_t pending; /* deliveries not unpacked yet; one for the cell */
	uint32_t held;    /* userdata */
};

/* A receiver's hold on a package. */
struct hold {
	struct package *package; /* NULL: closed */
};

static struct live packages = LIVE_INIT;
static struct live cells = LIVE_INIT; /* guarded by the lock of `packages` */

static uint64_t
address(const void *p) {
	return (uint64_t)(uintptr_t)p;
}

/* Under the lock: take the package out when nothing needs it; the caller frees it then. */
static struct package *
unused(struct package *p) {
	if (p->pending > 0 || p->held > 0)
		return NULL;
	(void)live_remove(&packages, p->id);
	return p;
}

static void
destroy(struct package *p) {
	if (p == NULL)
		return;
	live_free(p->data);
	live_free(p);
}

/* A delivery of the package won't be unpacked. False: there's none left. */
static bool
drop_delivery(uint64_t id) {
	struct package *gone = NULL;
	live_lock(&packages);
	struct package *p = live_find(&packages, id);
	bool found = p && p->pending > 0;
	if (found) {
		p->pending--;
		if (p->cell) { /* given away as a message, and freed with it */
			(void)live_remove(&cells, address(p->cell));
			p->cell = NULL;
		}
		gone = unused(p);
	}
	live_unlock(&packages);
	destroy(gone);
	return found;
}

static void
on_drop(const void *msg, size_t sz) {
	uint64_t id;
	if (sz != sizeof(id))
		return;
	memcpy(&id, msg, sizeof(id));
	(void)drop_delivery(id);
}

/* Register a package in its cell. Takes data. */
static int
make(lua_State *L, void *data, size_t size, const char *who) {
	struct package *p = skynet_calloc(1, sizeof(*p));
	uint64_t *cell = skynet_malloc(sizeof(*cell));
	bool done = false;
	live_share(p);
	live_share(data);
	live_share(cell);
	if (p && cell) {
		live_lock(&packages);
		*cell = (uint64_t)LIVE_PACKAGE << 56 | (++packages.serial & (UINT64_MAX >> 8));
		*p =
			(struct package){.id = *cell, .data = data, .size = size, .cell = cell, .pending = 1};
		/* a stale entry of this address: that cell was freed by others */
		(void)live_remove(&cells, address(cell));
		done = live_insert(&cells, address(cell), p) && live_insert(&packages, p->id, p);
		if (!done)
			(void)live_remove(&cells, address(cell));
		live_unlock(&packages);
	}
	if (!done) {
		live_free(p);
		live_free(cell);
		live_free(data);
		return luaL_error(L, "multicast.%s: not enough memory", who);
	}
	lua_pushlightuserdata(L, cell);
	lua_pushinteger(L, sizeof(uint64_t));
	return 2;
}

/* The message at arguments 1 and 2: a block and its size, or a string. */
static const void *
check_message(lua_State *L, size_t *size) {
	if (lua_type(L, 1) == LUA_TSTRING)
		return lua_tolstring(L, 1, size);
	const void *data = lua_isnil(L, 1) ? NULL : check_pointer(L, 1);
	lua_Integer n = luaL_checkinteger(L, 2);
	if (n < 0 || n > UINT32_MAX)
		luaL_error(L, "Size should be 32bit integer");
	*size = (size_t)n;
	luaL_argcheck(L, data || n == 0, 1, "no data, but a size");
	return data;
}

static void *
copy_of(lua_State *L, const void *data, size_t size) {
	if (size == 0)
		return NULL;
	void *copy = skynet_malloc(size);
	if (copy == NULL)
		luaL_error(L, "multicast: not enough memory");
	memcpy(copy, data, size);
	return copy;
}

/* pack(ptr, sz | string) -> cell, 8: takes the block */
static int
lpack(lua_State *L) {
	size_t size;
	const void *data = check_message(L, &size);
	if (lua_type(L, 1) == LUA_TSTRING)
		data = copy_of(L, data, size);
	return make(L, (void *)data, size, "pack");
}

/* packremote(ptr, sz | string) -> cell, 8: copies */
static int
lpackremote(lua_State *L) {
	size_t size;
	const void *data = check_message(L, &size);
	return make(L, copy_of(L, data, size), size, "packremote");
}

/* Under the lock: the package whose cell this is; the cell's entry goes. */
static struct package *
open_cell(const void *cell) {
	struct package *p = live_remove(&cells, address(cell));
	if (p)
		p->cell = NULL;
	return p;
}

/* Bind the package of a cell and free the cell; returns its number, or 0. */
static uint64_t
bind(void *cell, uint32_t refs) {
	struct package *gone = NULL;
	uint64_t id = 0;
	live_lock(&packages);
	struct package *p = open_cell(cell);
	if (p) {
		id = p->id;
		p->pending = refs;
		gone = unused(p);
	}
	live_unlock(&packages);
	destroy(gone);
	if (p)
		live_free(cell);
	return id;
}

/* bind(cell, refs) -> package: it'll be delivered, or closed, `refs` times; frees the cell */
static int
lbind(lua_State *L) {
	luaL_checktype(L, 1, LUA_TLIGHTUSERDATA);
	lua_Integer refs = luaL_checkinteger(L, 2);
	luaL_argcheck(L, refs >= 0 && refs <= INT32_MAX, 2, "not a number of references");
	uint64_t id = bind(lua_touserdata(L, 1), (uint32_t)refs);
	if (id == 0)
		return luaL_error(L, "Can't bind a multicast package more than once");
	lua_pushlightuserdata(L, (void *)(uintptr_t)id);
	return 1;
}

/* remote(cell) -> ptr, sz: the caller's from now on; package and cell are gone */
static int
lremote(lua_State *L) {
	luaL_checktype(L, 1, LUA_TLIGHTUSERDATA);
	void *cell = lua_touserdata(L, 1);
	struct package *gone = NULL;
	live_lock(&packages);
	struct package *p = live_find(&cells, address(cell));
	bool mine = p && p->held == 0;
	void *data = mine ? p->data : NULL;
	if (mine) {
		lua_pushlightuserdata(L, data);
		lua_pushinteger(L, (lua_Integer)p->size);
		(void)open_cell(cell);
		p->data = NULL;
		p->pending = 0;
		gone = unused(p);
	}
	live_unlock(&packages);
	if (!mine)
		return luaL_argerror(L, 1,
		                     p ? "somebody reads this package" : "this cell was used already");
	live_take(data);
	live_free(cell);
	destroy(gone);
	return 2;
}

/* text(cell) -> the data, as a string */
static int
ltext(lua_State *L) {
	luaL_checktype(L, 1, LUA_TLIGHTUSERDATA);
	live_lock(&packages);
	struct package *p = live_find(&cells, address(lua_touserdata(L, 1)));
	if (p)
		p->held++;
	live_unlock(&packages);
	if (p == NULL)
		return luaL_argerror(L, 1, "this cell was used already");
	lua_pushlstring(L, p->data ? p->data : "", p->size);
	live_lock(&packages);
	p->held--;
	struct package *gone = unused(p);
	live_unlock(&packages);
	destroy(gone);
	return 1;
}

/* The number in a delivery of 8 bytes, or in a cell. */
static uint64_t
check_delivery(lua_State *L) {
	uint64_t id;
	const void *delivery = check_pointer(L, 1);
	lua_Integer size = luaL_checkinteger(L, 2);
	if (size != sizeof(id) || delivery == NULL)
		luaL_error(L, "Invalid multicast package size %d", (int)size);
	memcpy(&id, delivery, sizeof(id));
	return id;
}

/* unpack(msg, 8) -> package, ptr, sz: the data stays until the package is closed or collected */
static int
lunpack(lua_State *L) {
	uint64_t id = check_delivery(L);
	struct hold *h = lua_newuserdatauv(L, sizeof(*h), 0);
	h->package = NULL;
	luaL_setmetatable(L, META);
	live_lock(&packages);
	struct package *p = live_find(&packages, id);
	if (p && (p->cell || p->pending > 0)) {
		p->pending -= p->cell == NULL; /* a cell is only looked into */
		p->held++;
		h->package = p;
	}
	live_unlock(&packages);
	if (h->package == NULL)
		return luaL_argerror(L, 1, "this package was delivered already");
	lua_pushlightuserdata(L, p->data);
	lua_pushinteger(L, (lua_Integer)p->size);
	return 3;
}

static bool
let_go(struct hold *h) {
	struct package *p = h->package;
	if (p == NULL)
		return false;
	h->package = NULL;
	live_lock(&packages);
	p->held--;
	struct package *gone = unused(p);
	live_unlock(&packages);
	destroy(gone);
	return true;
}

static int
hold_gc(lua_State *L) {
	(void)let_go(luaL_checkudata(L, 1, META));
	return 0;
}

/* close(package): from unpack, or once for each reference of bind */
static int
lclose(lua_State *L) {
	bool open;
	if (lua_type(L, 1) == LUA_TLIGHTUSERDATA)
		open = drop_delivery(address(lua_touserdata(L, 1)));
	else
		open = let_go(luaL_checkudata(L, 1, META));
	if (!open)
		return luaL_argerror(L, 1, "this multicast package is closed");
	return 0;
}

/*
 * deliver(cell, source, channel, set) -> n, dead: binds the package and sends a delivery to each
 * address that is a key of `set`. Those that don't exist any more are listed in `dead`.
 */
static int
ldeliver(lua_State *L) {
	uint32_t n = 0;
	lua_Integer dead = 0;
	luaL_checktype(L, 1, LUA_TLIGHTUSERDATA);
	uint32_t source = (uint32_t)luaL_checkinteger(L, 2);
	int channel = (int)luaL_checkinteger(L, 3);
	luaL_checktype(L, 4, LUA_TTABLE);
	lua_settop(L, 4);
	for (lua_pushnil(L); lua_next(L, 4); lua_pop(L, 1))
		n++;
	uint64_t id = bind(lua_touserdata(L, 1), n);
	if (id == 0)
		return luaL_error(L, "Can't bind a multicast package more than once");
	lua_newtable(L); /* 5: the dead */
	for (lua_pushnil(L); lua_next(L, 4); lua_pop(L, 1)) {
		uint32_t to = (uint32_t)lua_tointeger(L, 6);
		if (to && skynet_send(NULL, source, to, PTYPE_MULTICAST, channel, &id, sizeof(id)) >= 0)
			continue;
		(void)drop_delivery(id);
		lua_pushvalue(L, 6);
		lua_rawseti(L, 5, ++dead);
	}
	lua_pushinteger(L, (lua_Integer)n - dead);
	lua_insert(L, 5);
	return 2;
}

/* nextid(id) -> the channel id after it: the low byte is the node's */
static int
lnextid(lua_State *L) {
	uint32_t id = (uint32_t)luaL_checkinteger(L, 1);
	lua_pushinteger(L, (id + 256) & INT32_MAX);
	return 1;
}

/* count() -> packages that exist now */
static int
lcount(lua_State *L) {
	live_lock(&packages);
	size_t n = packages.used;
	live_unlock(&packages);
	lua_pushinteger(L, (lua_Integer)n);
	return 1;
}

static int
lalive(lua_State *L) {
	lua_pushboolean(L, live_service((uint32_t)luaL_checkinteger(L, 1)));
	return 1;
}

LUAMOD_API int
luaopen_skynet_multicast_core(lua_State *L) {
	static const luaL_Reg functions[] = {
		{"pack", lpack},     {"packremote", lpackremote}, {"bind", lbind},
		{"remote", lremote}, {"unpack", lunpack},         {"close", lclose},
		{"text", ltext},     {"deliver", ldeliver},       {"nextid", lnextid},
		{"count", lcount},   {"alive", lalive},           {NULL, NULL},
	};
	luaL_checkversion(L);
	luaL_newmetatable(L, META);
	lua_pushcfunction(L, hold_gc);
	lua_setfield(L, -2, "__gc");
	skynet_on_drop(PTYPE_MULTICAST, on_drop);
	luaL_newlib(L, functions);
	return 1;
}
