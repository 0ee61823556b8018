/*
 * The system's own part in waking an idle worker: how long after a thread has signalled a
 * condition another one, asleep for 10 ms, runs, while the first stays busy.
 *
 *   handoff COUNT
 *
 * Prints COUNT latencies in microseconds, one a line.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SLEEP_US 6000
#define BUSY_NS 4000000u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static uint64_t sent; /* 0: taken */

static uint64_t
now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *
sleeper(void *count) {
	for (long i = *(long *)count; i > 0; i--) {
		pthread_mutex_lock(&lock);
		while (sent == 0)
			pthread_cond_wait(&cond, &lock);
		uint64_t took = now() - sent;
		sent = 0;
		pthread_mutex_unlock(&lock);
		printf("%.2f\n", (double)took / 1e3);
	}
	return NULL;
}

static void
hand_over(void) {
	pthread_mutex_lock(&lock);
	uint64_t begin = sent = now();
	pthread_mutex_unlock(&lock);
	pthread_cond_signal(&cond);
	while (now() - begin < BUSY_NS)
		;
}

static bool
taken(void) {
	pthread_mutex_lock(&lock);
	bool yes = sent == 0;
	pthread_mutex_unlock(&lock);
	return yes;
}

int
main(int argc, char **argv) {
	long count = argc == 2 ? atol(argv[1]) : 0;
	if (count <= 0) {
		fprintf(stderr, "usage: handoff COUNT\n");
		return 1;
	}
	pthread_t thread;
	if (pthread_create(&thread, NULL, sleeper, &count) != 0) {
		fprintf(stderr, "no thread\n");
		return 1;
	}
	for (long i = 0; i < count; i++) {
		do
			usleep(SLEEP_US);
		while (!taken());
		hand_over();
	}
	return pthread_join(thread, NULL);
}
