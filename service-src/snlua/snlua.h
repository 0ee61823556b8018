/*
 * The host of one Lua service: what snlua's files share.
 */
#ifndef snlua_h
#define snlua_h

#include "skynet.h"
#include "vmhooks.h"

#include <lua.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct snlua {
	lua_State *L;
	struct skynet_context *ctx;
	size_t mem;        /* bytes the VM holds */
	size_t mem_limit;  /* 0: none */
	size_t mem_report; /* warn when mem passes it */
	size_t mem_bound;  /* the lesser of both */
	struct vm_hooks hooks;
	atomic_uint target; /* epoch a signal 0 aims at */
};

/* ---- snlua.c: what the C service does; cservice/snlua.so has them as snlua_create, ... ---- */

struct snlua *skynet_snlua_create(void);
int skynet_snlua_init(struct snlua *l, struct skynet_context *ctx, const char *param);
void skynet_snlua_release(struct snlua *l);
void skynet_snlua_signal(struct snlua *l, int signal);
void skynet_snlua_stuck(struct snlua *l);

/* ---- model.c ---- */

/*
 * Give a VM that was just made a copy of the model of services, whose code is on this search
 * path; skynet_core_adopt has to follow. False: there's no model, or no memory, and nothing has
 * changed.
 */
bool snlua_copy_model(lua_State *L, const char *path);

/* ---- profile.c ---- */

/* Module skynet.profile; its first argument is the hooks, as light userdata. */
int snlua_open_profile(lua_State *L);

#endif
