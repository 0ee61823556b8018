/*
 * A service, as the kernel's own files see it.
 *
 * Who may touch what: the mailbox's shared half and `retired` are for everybody; `mod`, `inst`
 * and `handle` never change after launch; the rest belongs to the worker that runs the service.
 */
#ifndef skynet_service_h
#define skynet_service_h

#include "cache_lines.h"
#include "mailbox.h"
#include "skynet.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

struct skynet_module;

struct skynet_context {
	struct mailbox mailbox;
	struct skynet_context *run_next; /* in a run queue */
	uint32_t handle;
	int session;
	skynet_cb cb;
	void *cb_ud;
	void *inst;
	struct skynet_module *mod;
	int overload; /* length at which to warn next */
	bool profile;
	bool corked;
	bool keeps;             /* it has kept a message */
	bool kept;              /* ... this one, before its callback returns */
	bool uncounted;         /* doesn't keep the process alive */
	char result[32];        /* of the last command */
	uint64_t message_ticks; /* when the current message began */
	uint64_t lingers;       /* ticks it goes on after waking others: see scheduler.c */

	/* written by the running worker, read by anybody: relaxed, statistics only */
	_Atomic uint64_t cpu_ticks;
	_Atomic uint64_t messages;
	_Atomic ptrdiff_t charge;

	atomic_int refs;
	atomic_bool retired;
	atomic_bool endless;
	atomic_bool drops;       /* at its mailbox's limit messages vanish; else the sender is told */
	_Atomic uint64_t turned; /* messages turned away at that limit */
	_Atomic(FILE *) logfile;

	uint32_t last_run; /* as its worker counted */
	bool cold;         /* that was some time before the run that goes on */
	struct cache_lines lines;
};

#define OVERLOAD_FIRST 1024

/*
 * Handle the service's next messages. On the worker that holds it; see skynet_server.c. Takes and
 * returns the time in clock ticks.
 */
uint64_t service_run(struct skynet_context *ctx, uint64_t now);

/* The service this worker handles a message of, or NULL. */
struct skynet_context *service_running(void);

/* Take a service out of the table and let a worker finish it. */
void service_retire(struct skynet_context *ctx);

/* Retire every service, the logger last. */
void service_end_all(void);
bool service_ending(void); /* was it called? */

/* Free a message's data; a socket event's own block, too. */
void message_free(struct skynet_message *msg);

static inline int
message_type(const struct skynet_message *msg) {
	return (int)(msg->sz >> MESSAGE_TYPE_SHIFT);
}

#endif
