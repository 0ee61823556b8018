/*
 * The environment: a chained hash table that only grows. Entries are never changed or freed, so
 * the returned pointers stay valid and reading needs the lock only for the chain.
 */
#include "skynet_env.h"

#include "skynet.h"
#include "skynet_imp.h"
#include "spinlock.h"

#include <stdbool.h>

#define BUCKETS 256

struct entry {
	struct entry *next;
	char *key;
	char *value;
};

static struct {
	struct spinlock lock;
	struct entry *bucket[BUCKETS];
} env;

static struct entry **
bucket_of(const char *key) {
	uint32_t h = 5381;
	while (*key)
		h = h * 33 + (unsigned char)*key++;
	return &env.bucket[h % BUCKETS];
}

static const char *
find(const char *key) {
	for (struct entry *e = *bucket_of(key); e; e = e->next) {
		if (strcmp(e->key, key) == 0)
			return e->value;
	}
	return NULL;
}

const char *
skynet_getenv(const char *key) {
	if (key == NULL)
		return NULL;
	spinlock_lock(&env.lock);
	const char *value = find(key);
	spinlock_unlock(&env.lock);
	return value;
}

void
skynet_setenv(const char *key, const char *value) {
	if (key == NULL || value == NULL)
		return;
	struct entry *e = skynet_malloc(sizeof(*e));
	e->key = skynet_strdup(key);
	e->value = skynet_strdup(value);
	spinlock_lock(&env.lock);
	bool taken = find(key) != NULL;
	if (!taken) {
		struct entry **b = bucket_of(key);
		e->next = *b;
		*b = e;
	}
	spinlock_unlock(&env.lock);
	if (taken) {
		skynet_error(NULL, "error: can't change environment key %s, it is set already", key);
		skynet_free(e->key);
		skynet_free(e->value);
		skynet_free(e);
	}
}

void
skynet_env_init(void) {
	spinlock_init(&env.lock);
}
