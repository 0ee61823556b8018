/*
 * Loading C services. Libraries are found through the `;`-separated templates of `cpath`, opened
 * once and never closed; there's no limit to their number. A lock covers the list; modules
 * themselves never change.
 */
#include "skynet_module.h"

#include "skynet.h"
#include "skynet_imp.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>

struct module {
	struct skynet_module public; /* first: callers hold pointers to it */
	void (*stuck)(void *inst);
	struct module *next;
};

static struct {
	pthread_mutex_t lock;
	struct module *first;
	const char *path;
} M = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Open the first library a template leads to; NULL after a line on stderr. */
static void *
open_library(const char *name) {
	char file[4096];
	const char *error = NULL;
	for (const char *p = M.path; *p;) {
		size_t n = strcspn(p, ";");
		const char *mark = memchr(p, '?', n);
		if (n > 0 && mark == NULL) {
			fprintf(stderr, "Invalid C service path\n");
			exit(1);
		}
		if (n > 0) {
			int len = snprintf(file, sizeof(file), "%.*s%s%.*s", (int)(mark - p), p, name,
			                   (int)(n - (size_t)(mark - p) - 1), mark + 1);
			void *dl = NULL;
			if (len > 0 && (size_t)len < sizeof(file))
				dl = dlopen(file, RTLD_NOW | RTLD_GLOBAL);
			if (dl)
				return dl;
			error = dlerror();
		}
		p += n;
		p += *p == ';';
	}
	fprintf(stderr, "try open %s failed : %s\n", name, error ? error : "cpath is empty");
	return NULL;
}

static void *
symbol(struct module *m, const char *entry) {
	char text[256];
	const char *dot = strrchr(m->public.name, '.');
	snprintf(text, sizeof(text), "%s%s", dot ? dot + 1 : m->public.name, entry);
	return dlsym(m->public.module, text);
}

static struct module *
load(const char *name) {
	void *dl = open_library(name);
	if (dl == NULL)
		return NULL;
	struct module *m = skynet_calloc(1, sizeof(*m));
	m->public.name = skynet_strdup(name);
	m->public.module = dl;
	m->public.create = (skynet_dl_create)symbol(m, "_create");
	m->public.init = (skynet_dl_init)symbol(m, "_init");
	m->public.release = (skynet_dl_release)symbol(m, "_release");
	m->public.signal = (skynet_dl_signal)symbol(m, "_signal");
	m->stuck = (void (*)(void *))symbol(m, "_stuck");
	if (m->public.init == NULL) {
		fprintf(stderr, "try open %s failed : the library has no %s_init\n", name, name);
		skynet_free((char *)m->public.name);
		skynet_free(m);
		return NULL;
	}
	m->next = M.first;
	M.first = m;
	return m;
}

struct skynet_module *
skynet_module_query(const char *name) {
	pthread_mutex_lock(&M.lock);
	struct module *m = M.first;
	while (m && strcmp(m->public.name, name) != 0)
		m = m->next;
	if (m == NULL)
		m = load(name);
	pthread_mutex_unlock(&M.lock);
	return m ? &m->public : NULL;
}

void *
skynet_module_instance_create(struct skynet_module *m) {
	return m->create ? m->create() : (void *)(intptr_t)~0;
}

int
skynet_module_instance_init(struct skynet_module *m, void *inst, struct skynet_context *ctx,
                            const char *parm) {
	return m->init(inst, ctx, parm);
}

void
skynet_module_instance_release(struct skynet_module *m, void *inst) {
	if (m->release)
		m->release(inst);
}

void
skynet_module_instance_signal(struct skynet_module *m, void *inst, int signal) {
	if (m->signal)
		m->signal(inst, signal);
}

void
skynet_module_instance_stuck(struct skynet_module *public, void *inst) {
	struct module *m = (struct module *)public;
	if (m->stuck)
		m->stuck(inst);
}

void
skynet_module_init(const char *path) {
	M.path = skynet_strdup(path);
}
