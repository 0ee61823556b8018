/*
 * Daemon mode: one running node per pid file. The file is locked for the life of the process;
 * its text is for people and scripts.
 */
#include "skynet_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* Pid of the living process the file names, or 0. */
static int
running_pid(const char *pidfile) {
	FILE *f = fopen(pidfile, "re");
	int pid = 0;
	if (f == NULL)
		return 0;
	int n = fscanf(f, "%d", &pid);
	(void)fclose(f);
	if (n != 1 || pid <= 0 || pid == getpid())
		return 0;
	return kill(pid, 0) != 0 && errno == ESRCH ? 0 : pid;
}

static int
write_pid(const char *pidfile) {
	int fd = open(pidfile, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0) {
		fprintf(stderr, "Can't create pidfile [%s].\n", pidfile);
		return -1;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		int pid = running_pid(pidfile);
		if (pid == 0)
			fprintf(stderr, "Can't lock and read pidfile.\n");
		else
			fprintf(stderr, "Can't lock pidfile, lock is held by pid %d.\n", pid);
		close(fd);
		return -1;
	}
	char text[16];
	int n = snprintf(text, sizeof(text), "%d\n", getpid());
	if (ftruncate(fd, 0) != 0 || write(fd, text, (size_t)n) != n) {
		fprintf(stderr, "Can't write pid.\n");
		close(fd);
		return -1;
	}
	return 0; /* the descriptor stays open: it holds the lock */
}

static int
redirect(void) {
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		perror("Unable to open /dev/null: ");
		return -1;
	}
	static const char *const what[] = {
		"Unable to dup2 stdin(0): ", "Unable to dup2 stdout(1): ", "Unable to dup2 stderr(2): "};
	for (int i = 0; i < 3; i++) {
		if (dup2(fd, i) < 0) {
			perror(what[i]);
			close(fd);
			return -1;
		}
	}
	close(fd);
	return 0;
}

int
daemon_init(const char *pidfile) {
	int pid = running_pid(pidfile);
	if (pid) {
		fprintf(stderr, "Skynet is already running, pid = %d.\n", pid);
		return 1;
	}
#ifdef __APPLE__
	fprintf(stderr, "Daemon mode isn't available on macOS, use launchd.\n");
#else
	if (daemon(1, 1) != 0) {
		fprintf(stderr, "Can't daemonize.\n");
		return 1;
	}
#endif
	if (write_pid(pidfile) != 0)
		return 1;
	return redirect() != 0;
}

int
daemon_exit(const char *pidfile) {
	return unlink(pidfile);
}
