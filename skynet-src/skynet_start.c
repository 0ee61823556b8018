/*
 * The life of the node: what starts in which order, and how it ends.
 *
 * Signals are only noted by their handlers; the watchdog thread acts on them. SIGHUP has the
 * logger reopen its file. The first SIGTERM or SIGINT asks the launcher to end the node in
 * order; when that takes too long, when there's no launcher, or at a second signal, every
 * service is retired at once. A service that never returns from its callback can't be retired:
 * a few seconds after all others are gone the process ends without it.
 */
#include "clock.h"
#include "config.h"
#include "log_queue.h"
#include "malloc_hook.h"
#include "scheduler.h"
#include "service.h"
#include "skynet_daemon.h"
#include "skynet_env.h"
#include "skynet_handle.h"
#include "skynet_harbor.h"
#include "skynet_imp.h"
#include "skynet_module.h"
#include "skynet_runtime.h"
#include "skynet_server.h"
#include "skynet_socket.h"
#include "skynet_timer.h"
#include "watchdog.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define LAST_CALL_NS 3000000000u /* patience while services were told to end and none does */
#define LOG_CALLS 20             /* times that is extended for a logger that still writes */

static struct {
	atomic_int hup;
	atomic_int term;    /* times it was asked to end */
	int asked;          /* ... times it was acted on */
	uint64_t deadline;  /* ns; 0: not ending */
	uint64_t last_call; /* ns; 0: services live */
	int calls;          /* times it was extended for the log alone */
	int left;           /* services at the last look */
	size_t unwritten;   /* bytes of log at the last look */
	atomic_int code;
} life;

uint64_t
skynet_now_ns(void) {
	return clock_ns();
}

void
skynet_exit_code(int code) {
	int none = 0;
	/* the first reason is the one to tell */
	(void)atomic_compare_exchange_strong(&life.code, &none, code);
}

/*
 * ---- signals ----
 */

static void
on_signal(int sig) {
	if (sig == SIGHUP)
		atomic_store(&life.hup, 1);
	else
		atomic_fetch_add(&life.term, 1);
	watchdog_poke();
}

static void
handle_signals(void) {
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	sigfillset(&sa.sa_mask);
	sigaction(SIGHUP, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	sa.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &sa, NULL);
}

static void
reopen_log(void) {
	struct skynet_message m = {.sz = (size_t)PTYPE_SYSTEM << MESSAGE_TYPE_SHIFT};
	uint32_t logger = skynet_handle_findname("logger");
	if (logger)
		(void)skynet_context_push(logger, &m);
}

static void
end_now(const char *why) {
	skynet_error(NULL, "node ends: %s", why);
	service_end_all();
}

/* All services were ended, but one never comes back from its callback. */
static void
give_up(void) {
	struct worker_state s;
	for (int i = 0; scheduler_inspect(i, &s); i++) {
		if (s.destination)
			fprintf(stderr,
			        "service :%08x doesn't return from a message of :%08x; "
			        "the process ends without it\n",
			        s.destination, s.source);
	}
	fflush(stdout);
	_exit(1);
}

static void
ask_to_end(void) {
	int limit = config_integer("shutdown_timeout", 5);
	uint32_t launcher = skynet_handle_findname("launcher");
	life.deadline = clock_ns() + (uint64_t)(limit + 2) * 1000000000u;
	if (launcher == 0 ||
	    skynet_send(NULL, 0, launcher, PTYPE_TEXT, 0, "SHUTDOWN", sizeof("SHUTDOWN") - 1) < 0)
		end_now("no launcher to end it in order");
}

/* All services were told to end: do they? Many take their time, and so does a logger that has
 * much to write. */
static void
look_at_end(void) {
	size_t unwritten = log_queue_waiting();
	if (life.last_call != 0 && clock_ns() <= life.last_call)
		return;
	int left = skynet_context_total();
	if (life.last_call != 0 && left >= life.left &&
	    (unwritten >= life.unwritten || life.calls++ == LOG_CALLS))
		give_up();
	life.left = left;
	life.unwritten = unwritten;
	life.last_call = clock_ns() + LAST_CALL_NS;
}

/* On the watchdog, every round and whenever a signal came. */
static void
look_at_signals(void) {
	if (atomic_exchange(&life.hup, 0))
		reopen_log();
	int term = atomic_load(&life.term);
	if (term > life.asked) {
		life.asked = term;
		if (term == 1)
			ask_to_end();
		else
			end_now("asked twice");
	} else if (life.deadline && clock_ns() > life.deadline) {
		life.deadline = 0;
		end_now("services took too long");
	}
	if (service_ending())
		look_at_end();
}

void
skynet_shutdown_request(void) {
	atomic_fetch_add(&life.term, 1);
	watchdog_poke();
}

/*
 * ---- start ----
 */

static int
start_bootstrap(const char *command) {
	size_t n = strcspn(command, " \t\r\n");
	char *module = skynet_strndup(command, n);
	const char *args = command + n + strspn(command + n, " \t\r\n");
	uint32_t handle = skynet_context_new(module, args[0] ? args : NULL);
	skynet_free(module);
	return handle ? 0 : -1;
}

/* The log's own messages, handled here because no worker will. */
static void
flush_log(void) {
	struct skynet_context *logger = skynet_handle_grab(skynet_handle_findname("logger"));
	struct skynet_message m;
	if (logger == NULL)
		return;
	while (mailbox_pop(&logger->mailbox, &m)) {
		int type = message_type(&m);
		size_t sz = m.sz & MESSAGE_TYPE_MASK;
		if (logger->cb == NULL ||
		    logger->cb(logger, logger->cb_ud, type, m.session, m.source, m.data, sz) == 0)
			skynet_free(m.data);
	}
	skynet_context_release(logger);
}

static void
start_logger(const struct skynet_config *c) {
	uint32_t handle = skynet_context_new(c->logservice, c->logger);
	if (handle == 0) {
		fprintf(stderr, "Can't launch %s service\n", c->logservice);
		exit(1);
	}
	(void)skynet_handle_namehandle(handle, "logger"); /* the first name ever: it's free */
}

static void
start_threads(const struct skynet_config *c, int relief) {
	if (watchdog_start(c->thread + relief) != 0 || scheduler_start() != 0) {
		fprintf(stderr, "Create thread failed\n");
		exit(1);
	}
}

void
skynet_start(struct skynet_config *c) {
	static const struct poller poller = {skynet_socket_wait, skynet_socket_wake};
	int dedicated = config_integer("socket_thread", 0);
	if (dedicated < 0 || dedicated > 64) {
		fprintf(stderr, "Invalid socket_thread %d , should be in [0,64]\n", dedicated);
		exit(1);
	}
	/* with one worker, C code of services may count on being alone */
	int relief = config_integer("relief_workers", c->thread > 1 ? 8 : 0);
	if (relief < 0 || relief > 64) {
		fprintf(stderr, "Invalid relief_workers %d , should be in [0,64]\n", relief);
		exit(1);
	}
	if (log_queue_init() != 0)
		exit(1);
	handle_signals();
	if (c->daemon && daemon_init(c->daemon) != 0)
		exit(1);
	malloc_return_unused();
	skynet_harbor_init(c->harbor);
	skynet_handle_init(c->harbor, c->thread);
	skynet_module_init(c->module_path);
	skynet_timer_init();
	skynet_profile_enable(c->profile);
	if (skynet_socket_setup(dedicated ? dedicated : 1) != 0 ||
	    scheduler_init(c->thread, relief, dedicated, &poller) != 0)
		exit(1);
	watchdog_on_round(look_at_signals);
	start_logger(c);
	if (start_bootstrap(c->bootstrap) != 0) {
		skynet_error(NULL, "Bootstrap error : %s\n", c->bootstrap);
		flush_log();
		exit(1);
	}
	start_threads(c, relief);
	scheduler_join();
	watchdog_stop();
	skynet_harbor_exit();
	skynet_socket_free();
	if (c->daemon && daemon_exit(c->daemon) != 0)
		perror(c->daemon);
	mailbox_thread_ends();
	fflush(stdout);
	if (atomic_load(&life.code))
		exit(atomic_load(&life.code));
}
