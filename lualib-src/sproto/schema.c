/*
 * Schemas: import of bundles, look-ups, references, and the slots that services share.
 *
 * A bundle is itself an sproto message (group, type, field and protocol structs). It may come
 * from a file or a network, so the import checks all it reads, and allocates in proportion to
 * the bundle's size. Names aren't copied: they point into the schema's own copy of the bundle.
 *
 * `registry` is the only shared state: the list of living schemas and the slots, under one
 * lock. It's taken when a Lua state meets a schema for the first time, never per message.
 * The library is linked "nodelete", so that it outlives the service that filled a slot.
 */
#include "sproto.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct sproto {
	struct sproto *next, *prev; /* registry */
	size_t references;          /* registry.lock */
	bool owned;                 /* the creator's reference is still there; registry.lock */
	int slots;                  /* that refer to it; registry.lock */
	uint8_t *bundle;
	struct sproto_type *types;
	struct sproto_protocol *protocols; /* ascending tags */
	size_t type_count, protocol_count;
};

static struct {
	pthread_mutex_t lock;
	struct sproto *first;
	struct sproto *slots[SPROTO_SLOTS];
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

/*
 * ---- reading the bundle ----
 */

/* What a struct has under one tag: nothing, a small integer, or bytes. */
struct item {
	enum { ABSENT, SMALL, BYTES } form;
	int value;
	const uint8_t *p;
	size_t len;
};

/* Items of tags 0..n-1 into `out`; others are passed over. Bytes used, or 0: malformed. */
static size_t
read_struct(const uint8_t *p, size_t len, struct item *out, int n) {
	memset(out, 0, (size_t)n * sizeof(*out));
	if (len < 2)
		return 0;
	size_t words = sproto_u16(p), used = 2 + words * 2;
	if (len < used)
		return 0;
	int tag = -1;
	for (size_t i = 0; i < words; i++) {
		unsigned w = sproto_u16(p + 2 + i * 2);
		if (w & 1) {
			tag += (int)(w + 1) / 2;
			continue;
		}
		struct item it = {SMALL, (int)w / 2 - 1, NULL, 0};
		tag++;
		if (w == 0) {
			if (len - used < 4)
				return 0;
			it = (struct item){BYTES, 0, p + used + 4, sproto_u32(p + used)};
			if (it.len > len - used - 4)
				return 0;
			used += 4 + it.len;
		}
		if (tag < n)
			out[tag] = it;
	}
	return used;
}

/* Number of elements of an array item; -1: malformed. */
static ptrdiff_t
count_elements(const struct item *array) {
	ptrdiff_t n = 0;
	size_t at = 0;
	if (array->form == ABSENT)
		return 0;
	if (array->form != BYTES)
		return -1;
	while (at < array->len) {
		if (array->len - at < 4)
			return -1;
		size_t len = sproto_u32(array->p + at);
		if (len > array->len - at - 4)
			return -1;
		at += 4 + len;
		n++;
	}
	return n;
}

/* Read the element at *at, whole, into `out`, and move *at behind it. */
static bool
read_element(const struct item *array, size_t *at, struct item *out, int n) {
	size_t len = sproto_u32(array->p + *at);
	const uint8_t *p = array->p + *at + 4;
	*at += 4 + len;
	return read_struct(p, len, out, n) == len && len > 0;
}

static bool
read_name(const struct item *it, struct sproto_name *name) {
	name->s = (const char *)it->p;
	name->len = it->len;
	return it->form == BYTES && it->len > 0;
}

static bool
flag(const struct item *it) {
	return it->form == SMALL && it->value != 0;
}

/* The type an item is the index of. */
static const struct sproto_type *
type_index(const struct sproto *sp, const struct item *it) {
	if (it->form != SMALL || (size_t)it->value >= sp->type_count)
		return NULL;
	return &sp->types[it->value];
}

enum { F_NAME, F_BUILTIN, F_TYPE, F_TAG, F_ARRAY, F_KEY, F_MAP, F_ITEMS };

static bool
read_builtin(struct sproto_field *f, const struct item *it) {
	if (it[F_BUILTIN].form != SMALL || it[F_BUILTIN].value > SPROTO_DOUBLE)
		return false;
	if (it[F_TYPE].form == BYTES)
		return false;
	f->kind = (uint8_t)it[F_BUILTIN].value;
	if (it[F_TYPE].form == ABSENT)
		return true;
	int extra = it[F_TYPE].value;
	if (f->kind == SPROTO_STRING) {
		f->binary = extra != 0;
	} else if (f->kind == SPROTO_INTEGER) {
		if (extra > SPROTO_MAX_DIGITS)
			return false;
		f->kind = SPROTO_DECIMAL;
		f->digits = (uint8_t)extra;
		f->scale = 1;
		for (int i = 0; i < extra; i++)
			f->scale *= 10;
	}
	return true;
}

/* What refers to other types' fields (the key) waits for link_field. */
static bool
read_field(const struct sproto *sp, struct sproto_field *f, const struct item *it, int last) {
	if (!read_name(&it[F_NAME], &f->name) || it[F_TAG].form != SMALL)
		return false;
	f->tag = it[F_TAG].value;
	if (f->tag <= last)
		return false;
	f->array = flag(&it[F_ARRAY]);
	f->map = flag(&it[F_MAP]);
	if (it[F_BUILTIN].form != ABSENT)
		return read_builtin(f, it);
	f->kind = SPROTO_STRUCT;
	f->sub = type_index(sp, &it[F_TYPE]);
	return f->sub != NULL;
}

/* Read a type's fields. The words at most: one a field, and one for each gap in the tags. */
static bool
read_fields(const struct sproto *sp, struct sproto_type *t, const struct item *fields) {
	ptrdiff_t n = count_elements(fields);
	if (n < 0)
		return false;
	t->fields = calloc((size_t)n + 1, sizeof(*t->fields));
	if (t->fields == NULL)
		return false;
	size_t at = 0;
	int last = -1;
	for (ptrdiff_t i = 0; i < n; i++) {
		struct item it[F_ITEMS];
		struct sproto_field *f = &t->fields[i];
		if (!read_element(fields, &at, it, F_ITEMS) || !read_field(sp, f, it, last))
			return false;
		t->count++;
		t->words += f->tag == last + 1 ? 1 : 2;
		last = f->tag;
	}
	return true;
}

static const struct sproto_field *
field_of_tag(const struct sproto_type *t, int tag) {
	for (size_t i = 0; i < t->count; i++) {
		if (t->fields[i].tag == tag)
			return &t->fields[i];
	}
	return NULL;
}

static bool
can_be_key(const struct sproto_field *f) {
	return f != NULL && f->kind != SPROTO_STRUCT && !f->array;
}

/* Find the fields that the main index of an array names. */
static bool
link_field(struct sproto_field *f, const struct item *key) {
	if (key->form == ABSENT)
		return !f->map;
	if (key->form != SMALL || f->sub == NULL || !f->array)
		return false;
	f->key = field_of_tag(f->sub, key->value);
	if (!can_be_key(f->key))
		return false;
	if (f->map) {
		if (f->sub->count != 2)
			return false;
		f->item = &f->sub->fields[f->key == f->sub->fields];
	}
	return true;
}

/* A second pass over the fields of a type that read_fields has accepted. */
static bool
link_fields(struct sproto_type *t, const struct item *fields) {
	size_t at = 0;
	for (size_t i = 0; i < t->count; i++) {
		struct item it[F_ITEMS];
		if (!read_element(fields, &at, it, F_ITEMS) || !link_field(&t->fields[i], &it[F_KEY]))
			return false;
	}
	return true;
}

/* Types first as mere places, since fields refer to them by index. */
static bool
read_types(struct sproto *sp, const struct item *types) {
	ptrdiff_t n = count_elements(types);
	if (n < 0)
		return false;
	sp->types = calloc((size_t)n + 1, sizeof(*sp->types));
	if (sp->types == NULL)
		return false;
	sp->type_count = (size_t)n;
	for (int pass = 0; pass < 2; pass++) {
		size_t at = 0;
		for (ptrdiff_t i = 0; i < n; i++) {
			struct item it[2];
			struct sproto_type *t = &sp->types[i];
			if (!read_element(types, &at, it, 2) || !read_name(&it[0], &t->name))
				return false;
			t->owner = sp;
			if (!(pass == 0 ? read_fields(sp, t, &it[1]) : link_fields(t, &it[1])))
				return false;
		}
	}
	return true;
}

enum { P_NAME, P_TAG, P_REQUEST, P_RESPONSE, P_CONFIRM, P_ITEMS };

static bool
read_protocol(const struct sproto *sp, struct sproto_protocol *p, const struct item *it) {
	if (!read_name(&it[P_NAME], &p->name) || it[P_TAG].form != SMALL)
		return false;
	p->tag = it[P_TAG].value;
	p->request = type_index(sp, &it[P_REQUEST]);
	p->response = type_index(sp, &it[P_RESPONSE]);
	p->confirm = flag(&it[P_CONFIRM]);
	return (it[P_REQUEST].form == ABSENT || p->request) &&
	       (it[P_RESPONSE].form == ABSENT || p->response);
}

static bool
read_protocols(struct sproto *sp, const struct item *protocols) {
	ptrdiff_t n = count_elements(protocols);
	if (n < 0)
		return false;
	sp->protocols = calloc((size_t)n + 1, sizeof(*sp->protocols));
	if (sp->protocols == NULL)
		return false;
	size_t at = 0;
	int last = -1;
	for (ptrdiff_t i = 0; i < n; i++) {
		struct item it[P_ITEMS];
		struct sproto_protocol *p = &sp->protocols[i];
		if (!read_element(protocols, &at, it, P_ITEMS) || !read_protocol(sp, p, it) ||
		    p->tag <= last)
			return false;
		last = p->tag;
		sp->protocol_count++;
	}
	return true;
}

/*
 * ---- life ----
 */

static void delete (struct sproto *sp) {
	for (size_t i = 0; sp->types && i < sp->type_count; i++)
		free(sp->types[i].fields);
	free(sp->types);
	free(sp->protocols);
	free(sp->bundle);
	free(sp);
}

struct sproto *
sproto_create(const void *bundle, size_t size) {
	struct sproto *sp = calloc(1, sizeof(*sp));
	if (sp == NULL)
		return NULL;
	struct item group[2];
	sp->bundle = malloc(size + 1);
	if (sp->bundle == NULL)
		goto fail;
	if (size > 0)
		memcpy(sp->bundle, bundle, size);
	if (read_struct(sp->bundle, size, group, 2) == 0 || !read_types(sp, &group[0]) ||
	    !read_protocols(sp, &group[1]))
		goto fail;
	sp->references = 1;
	sp->owned = true;
	pthread_mutex_lock(&registry.lock);
	sp->next = registry.first;
	if (sp->next)
		sp->next->prev = sp;
	registry.first = sp;
	pthread_mutex_unlock(&registry.lock);
	return sp;
fail:
	delete (sp);
	return NULL;
}

static bool
is_public(const struct sproto *sp) {
	return sp->owned || sp->slots > 0;
}

bool
sproto_is_public(struct sproto *sp) {
	pthread_mutex_lock(&registry.lock);
	bool yes = is_public(sp);
	pthread_mutex_unlock(&registry.lock);
	return yes;
}

struct sproto *
sproto_acquire(const void *p) {
	pthread_mutex_lock(&registry.lock);
	struct sproto *sp = registry.first;
	while (sp && (const void *)sp != p)
		sp = sp->next;
	if (sp && !is_public(sp))
		sp = NULL;
	if (sp)
		sp->references++;
	pthread_mutex_unlock(&registry.lock);
	return sp;
}

/* Is `p` the address of one of the schema's types? Compares numbers: it may be anything. */
static bool
has_type(const struct sproto *sp, const void *p) {
	uintptr_t offset = (uintptr_t)p - (uintptr_t)sp->types;
	return offset < sp->type_count * sizeof(*sp->types) && offset % sizeof(*sp->types) == 0;
}

struct sproto *
sproto_acquire_type(const void *p) {
	pthread_mutex_lock(&registry.lock);
	struct sproto *sp = registry.first;
	while (sp && !has_type(sp, p))
		sp = sp->next;
	if (sp)
		sp->references++;
	pthread_mutex_unlock(&registry.lock);
	return sp;
}

/* With the lock held: drop a reference; true when that was the last and the caller deletes. */
static bool
unlink_last(struct sproto *sp) {
	if (--sp->references > 0)
		return false;
	if (sp->prev)
		sp->prev->next = sp->next;
	else
		registry.first = sp->next;
	if (sp->next)
		sp->next->prev = sp->prev;
	return true;
}

void
sproto_release(struct sproto *sp) {
	pthread_mutex_lock(&registry.lock);
	bool last = unlink_last(sp);
	pthread_mutex_unlock(&registry.lock);
	if (last)
		delete (sp);
}

bool
sproto_disown(struct sproto *sp) {
	pthread_mutex_lock(&registry.lock);
	bool owned = sp->owned;
	bool last = owned && unlink_last(sp);
	sp->owned = false;
	pthread_mutex_unlock(&registry.lock);
	if (last)
		delete (sp);
	return owned;
}

void
sproto_save(struct sproto *sp, int slot) {
	pthread_mutex_lock(&registry.lock);
	struct sproto *old = registry.slots[slot];
	sp->references++;
	sp->slots++;
	registry.slots[slot] = sp;
	if (old)
		old->slots--;
	bool last = old && unlink_last(old);
	pthread_mutex_unlock(&registry.lock);
	if (last)
		delete (old);
}

struct sproto *
sproto_load(int slot) {
	pthread_mutex_lock(&registry.lock);
	struct sproto *sp = registry.slots[slot];
	if (sp)
		sp->references++;
	pthread_mutex_unlock(&registry.lock);
	return sp;
}

/*
 * ---- look-ups ----
 */

static bool
same_name(const struct sproto_name *n, const char *s, size_t len) {
	return n->len == len && memcmp(n->s, s, len) == 0;
}

const struct sproto_type *
sproto_type(const struct sproto *sp, const char *name, size_t len) {
	for (size_t i = 0; i < sp->type_count; i++) {
		if (same_name(&sp->types[i].name, name, len))
			return &sp->types[i];
	}
	return NULL;
}

const struct sproto_protocol *
sproto_protocol_tag(const struct sproto *sp, int64_t tag) {
	size_t low = 0, high = sp->protocol_count;
	while (low < high) {
		size_t mid = (low + high) / 2;
		if (sp->protocols[mid].tag == tag)
			return &sp->protocols[mid];
		if (sp->protocols[mid].tag < tag)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

const struct sproto_protocol *
sproto_protocol_name(const struct sproto *sp, const char *name, size_t len) {
	for (size_t i = 0; i < sp->protocol_count; i++) {
		if (same_name(&sp->protocols[i].name, name, len))
			return &sp->protocols[i];
	}
	return NULL;
}

const struct sproto_type *
sproto_type_at(const struct sproto *sp, size_t i) {
	return i < sp->type_count ? &sp->types[i] : NULL;
}

const struct sproto_protocol *
sproto_protocol_at(const struct sproto *sp, size_t i) {
	return i < sp->protocol_count ? &sp->protocols[i] : NULL;
}
