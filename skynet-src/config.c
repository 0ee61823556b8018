/*
 * The configuration: a Lua text chunk whose globals are the keys.
 *
 * The chunk sees nothing but `include`. Before compiling, every $NAME is replaced by the
 * environment variable of that name, wherever it stands. Values are turned into text and go to
 * the environment store; defaults of the keys that the core itself reads are stored as well, so
 * that services see them.
 */
#include "config.h"

#include "skynet_env.h"

#include <ctype.h>
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_THREAD 1024

/*
 * ---- the file ----
 */

/* Push the text with its $NAMEs replaced. */
static void
substitute(lua_State *L, const char *text, size_t sz) {
	luaL_Buffer b;
	const char *end = text + sz;
	luaL_buffinit(L, &b);
	while (text < end) {
		const char *mark = memchr(text, '$', (size_t)(end - text));
		if (mark == NULL)
			break;
		const char *p = mark + 1;
		while (p < end && (isalnum((unsigned char)*p) || *p == '_'))
			p++;
		luaL_addlstring(&b, text, (size_t)(mark - text));
		text = p;
		if (p == mark + 1) {
			luaL_addchar(&b, '$');
			continue;
		}
		char *name = skynet_strndup(mark + 1, (size_t)(p - mark) - 1);
		const char *value = getenv(name);
		if (value == NULL) {
			lua_pushfstring(L, "[skynet config]:2: os.getenv() failed: %s", name);
			skynet_free(name);
			lua_error(L);
		}
		skynet_free(name);
		luaL_addstring(&b, value);
	}
	luaL_addlstring(&b, text, (size_t)(end - text));
	luaL_pushresult(&b);
}

/* Push a file's bytes. */
static void
read_file(lua_State *L, const char *path) {
	FILE *f = fopen(path, "rbe");
	struct stat st;
	if (f && fstat(fileno(f), &st) == 0 && S_ISDIR(st.st_mode)) {
		(void)fclose(f);
		f = NULL;
		errno = EISDIR;
	}
	if (f == NULL) {
		lua_pushfstring(L, "[skynet config]:17: %s: %s", path, strerror(errno));
		lua_error(L);
	}
	luaL_Buffer b;
	size_t n;
	luaL_buffinit(L, &b);
	do {
		n = fread(luaL_prepbuffer(&b), 1, LUAL_BUFFERSIZE, f);
		luaL_addsize(&b, n);
	} while (n == LUAL_BUFFERSIZE);
	(void)fclose(f); /* it was only read */
	luaL_pushresult(&b);
}

/*
 * include(name): upvalue 1 is the table of keys, registry.folder where relative names start.
 */
static int
include(lua_State *L) {
	const char *name = luaL_checkstring(L, 1);
	lua_settop(L, 1);
	lua_getfield(L, LUA_REGISTRYINDEX, "folder");
	if (name[0] == '/')
		lua_pushvalue(L, 1);
	else
		lua_pushfstring(L, "%s%s", lua_tostring(L, 2), name);
	const char *path = lua_tostring(L, 3);
	size_t sz;
	read_file(L, path);
	const char *text = lua_tolstring(L, -1, &sz);
	substitute(L, text, sz);
	text = lua_tolstring(L, -1, &sz);
	const char *chunk = lua_pushfstring(L, "@%s", name);
	if (luaL_loadbufferx(L, text, sz, chunk, "t") != LUA_OK) {
		lua_pushfstring(L, "[skynet config]:21: %s", lua_tostring(L, -1));
		return lua_error(L);
	}
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_setupvalue(L, -2, 1);
	const char *slash = strrchr(path, '/');
	lua_pushlstring(L, path, slash ? (size_t)(slash - path) + 1 : 0);
	lua_setfield(L, LUA_REGISTRYINDEX, "folder");
	lua_call(L, 0, 0);
	lua_pushvalue(L, 2);
	lua_setfield(L, LUA_REGISTRYINDEX, "folder");
	return 0;
}

static int
run_file(lua_State *L) {
	const char *file = lua_touserdata(L, 1);
	lua_newtable(L);
	lua_pushvalue(L, -1);
	lua_pushcclosure(L, include, 1);
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "include");
	lua_pushliteral(L, "");
	lua_setfield(L, LUA_REGISTRYINDEX, "folder");
	lua_pushstring(L, file);
	lua_call(L, 1, 0);
	lua_pushnil(L);
	lua_setfield(L, -2, "include");
	return 1;
}

/* Store the pair at the top of the stack; leaves the key for lua_next. */
static int
store_pair(lua_State *L, const char *file) {
	if (lua_type(L, -2) != LUA_TSTRING) {
		fprintf(stderr, "Invalid config table\n%s: a key is not a name but a %s\n", file,
		        luaL_typename(L, -2));
		return -1;
	}
	const char *key = lua_tostring(L, -2);
	if (lua_type(L, -1) == LUA_TBOOLEAN) {
		skynet_setenv(key, lua_toboolean(L, -1) ? "true" : "false");
	} else if (lua_isstring(L, -1)) {
		skynet_setenv(key, lua_tostring(L, -1));
	} else {
		fprintf(stderr,
		        "Invalid config table key = %s\n%s: %s is a %s; write a string, a number or a "
		        "boolean\n",
		        key, file, key, luaL_typename(L, -1));
		return -1;
	}
	lua_pop(L, 1);
	return 0;
}

int
config_load(const char *file) {
	lua_State *L = luaL_newstate();
	int result = -1;
	if (L == NULL) {
		fprintf(stderr, "%s: not enough memory\n", file);
		return -1;
	}
	lua_pushcfunction(L, run_file);
	lua_pushlightuserdata(L, (void *)file);
	if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
		const char *text = lua_tostring(L, -1);
		fprintf(stderr, "%s\n", text ? text : "(error object is not a string)");
		goto done;
	}
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		if (store_pair(L, file) != 0)
			goto done;
	}
	result = 0;
done:
	lua_close(L);
	return result;
}

/*
 * ---- the keys the core reads ----
 */

static const char *
text_key(const char *key, const char *fallback) {
	const char *value = skynet_getenv(key);
	if (value == NULL && fallback) {
		skynet_setenv(key, fallback);
		value = skynet_getenv(key);
	}
	return value;
}

int
config_integer(const char *key, int fallback) {
	const char *value = skynet_getenv(key);
	char *end;
	if (value == NULL)
		return fallback;
	long n = strtol(value, &end, 10);
	if (end == value || n < -0x7fffffffL || n > 0x7fffffffL) {
		fprintf(stderr, "config: %s = \"%s\" is not a usable number, %d is used instead\n", key,
		        value, fallback);
		return fallback;
	}
	return (int)n;
}

/* An integer key that the core has always stored. */
static int
stored_integer(const char *key, const char *fallback) {
	return (int)strtol(text_key(key, fallback), NULL, 10);
}

int
config_resolve(struct skynet_config *c) {
	c->thread = stored_integer("thread", "8");
	c->module_path = text_key("cpath", "./cservice/?.so");
	c->harbor = stored_integer("harbor", "1");
	c->bootstrap = text_key("bootstrap", "snlua bootstrap");
	c->daemon = text_key("daemon", NULL);
	c->logger = text_key("logger", NULL);
	c->logservice = text_key("logservice", "logger");
	c->profile = strcmp(text_key("profile", "true"), "true") == 0;
	if (c->thread < 1 || c->thread > MAX_THREAD) {
		fprintf(stderr, "Invalid thread %d , should be in [1,%d]\n", c->thread, MAX_THREAD);
		return -1;
	}
	return 0;
}

/*
 * ---- --check ----
 */

/* Does any template lead to a readable file for this name? */
static int
found(const char *templates, const char *name) {
	char file[4096];
	for (const char *p = templates; *p;) {
		size_t n = strcspn(p, ";");
		size_t len = 0;
		for (size_t i = 0; i < n && len + strlen(name) + 1 < sizeof(file); i++) {
			if (p[i] == '?') {
				memcpy(file + len, name, strlen(name));
				len += strlen(name);
			} else {
				file[len++] = p[i];
			}
		}
		file[len] = '\0';
		if (len > 0 && access(file, R_OK) == 0)
			return 1;
		p += n;
		p += *p == ';';
	}
	return 0;
}

static int
missing(const char *what, const char *name, const char *key, const char *templates) {
	fprintf(stderr, "config: %s \"%s\" not found by %s = \"%s\"\n", what, name, key, templates);
	return 1;
}

static const char *
or_default(const char *key, const char *fallback) {
	const char *value = skynet_getenv(key);
	return value ? value : fallback;
}

static int
check_service(const char *what, const char *command) {
	char name[256];
	if (sscanf(command, "%255s", name) != 1)
		return 0;
	const char *templates = or_default("luaservice", "./service/?.lua");
	return found(templates, name) ? 0 : missing(what, name, "luaservice", templates);
}

static int
check_file(const char *key, const char *path) {
	if (path == NULL || access(path, R_OK) == 0)
		return 0;
	fprintf(stderr, "config: %s = \"%s\": %s\n", key, path, strerror(errno));
	return 1;
}

int
config_check(const struct skynet_config *c) {
	char module[256] = "";
	int problems = 0;
	if (sscanf(c->bootstrap, "%255s", module) == 1 && !found(c->module_path, module))
		problems += missing("C service", module, "cpath", c->module_path);
	if (!found(c->module_path, c->logservice))
		problems += missing("C service", c->logservice, "cpath", c->module_path);
	if (strncmp(c->bootstrap, "snlua ", 6) == 0)
		problems += check_service("bootstrap service", c->bootstrap + 6);
	problems += check_service("start service", or_default("start", "main"));
	problems += check_file("lualoader", or_default("lualoader", "./lualib/loader.lua"));
	problems += check_file("preload", skynet_getenv("preload"));
	problems += check_file("cluster", skynet_getenv("cluster"));
	if (c->harbor != 0 && skynet_getenv("address") == NULL) {
		fprintf(stderr,
		        "config: harbor = %d needs address and master; a node without harbor "
		        "has harbor = 0\n",
		        c->harbor);
		problems++;
	}
	return problems;
}
