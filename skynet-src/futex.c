#include "futex.h"

#include <time.h>

#ifdef __linux__

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

void
futex_wait(atomic_uint *word, unsigned expected, int64_t timeout_ns) {
	struct timespec t = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
	/* EAGAIN, EINTR and ETIMEDOUT all mean: look again, which the caller does */
	(void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout_ns < 0 ? NULL : &t, NULL,
	              0);
}

void
futex_wake(atomic_uint *word) {
	(void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#else

#include <pthread.h>

/* One lock for all words: only idle threads come here. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;

void
futex_wait(atomic_uint *word, unsigned expected, int64_t timeout_ns) {
	pthread_mutex_lock(&lock);
	if (atomic_load(word) == expected) {
		if (timeout_ns < 0) {
			pthread_cond_wait(&moved, &lock);
		} else {
			struct timespec t;
			clock_gettime(CLOCK_REALTIME, &t);
			t.tv_sec += timeout_ns / 1000000000;
			t.tv_nsec += timeout_ns % 1000000000;
			if (t.tv_nsec >= 1000000000) {
				t.tv_nsec -= 1000000000;
				t.tv_sec++;
			}
			pthread_cond_timedwait(&moved, &lock, &t);
		}
	}
	pthread_mutex_unlock(&lock);
}

void
futex_wake(atomic_uint *word) {
	(void)word;
	pthread_mutex_lock(&lock);
	pthread_cond_broadcast(&moved);
	pthread_mutex_unlock(&lock);
}

#endif
