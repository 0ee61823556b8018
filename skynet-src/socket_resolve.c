/*
 * Name resolution for connections: a few threads of its own, made when first needed, because the
 * system's resolver blocks. Jobs are taken in order; a socket that was closed meanwhile is found
 * gone when its answer comes.
 */
#include "socket_io.h"

#include "account.h"
#include "skynet_imp.h"
#include "skynet_server.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#define THREADS 4

struct job {
	struct job *next;
	int id;
	char port[8];
	char host[];
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct job *first, **last;
	int threads, idle;
} R = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, &R.first, 0, 0};

static void
resolve(struct job *j) {
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	int error = getaddrinfo(j->host, j->port, &hints, &list);
	struct sock *s = table_get(j->id);
	if (s == NULL || s->state != SOCKET_RESOLVING) {
		if (list)
			freeaddrinfo(list);
	} else if (error) {
		io_fail(s, error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
	} else {
		s->addresses = s->next_address = list;
		io_connect_next(s, "no address");
	}
	if (s)
		table_put(s);
}

static void *
run(void *p) {
	(void)p;
	skynet_initthread(THREAD_SOCKET);
	pthread_mutex_lock(&R.lock);
	for (;;) {
		while (R.first == NULL) {
			R.idle++;
			pthread_cond_wait(&R.more, &R.lock);
			R.idle--;
		}
		struct job *j = R.first;
		R.first = j->next;
		if (R.first == NULL)
			R.last = &R.first;
		pthread_mutex_unlock(&R.lock);
		resolve(j);
		account_free(j);
		pthread_mutex_lock(&R.lock);
	}
	return NULL;
}

void
resolve_later(int id, const char *host, int port) {
	size_t n = strlen(host) + 1;
	struct job *j = account_malloc(sizeof(*j) + n);
	j->next = NULL;
	j->id = id;
	snprintf(j->port, sizeof(j->port), "%d", port & 0xffff);
	memcpy(j->host, host, n);
	pthread_mutex_lock(&R.lock);
	*R.last = j;
	R.last = &j->next;
	pthread_t t;
	if (R.idle == 0 && R.threads < THREADS && pthread_create(&t, NULL, run, NULL) == 0) {
		pthread_detach(t);
		R.threads++;
	}
	pthread_cond_signal(&R.more);
	pthread_mutex_unlock(&R.lock);
}
