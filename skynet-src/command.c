/*
 * Text commands: skynet_command. Each runs on the thread of the service that asks; results live
 * in the service's result buffer. A missing argument gives no result, as an unknown command does.
 */
#include "clock.h"
#include "service.h"
#include "skynet_env.h"
#include "skynet_handle.h"
#include "skynet_imp.h"
#include "skynet_log.h"
#include "skynet_module.h"
#include "skynet_runtime.h"
#include "skynet_server.h"
#include "skynet_timer.h"

#include <ctype.h>
#include <limits.h>

static _Atomic uint32_t monitor_handle; /* told of each service that ends */

static uint32_t
to_handle(struct skynet_context *ctx, const char *text) {
	if (text[0] == ':')
		return (uint32_t)strtoul(text + 1, NULL, 16);
	if (text[0] == '.')
		return skynet_handle_findname(text + 1);
	skynet_error(ctx, "error: Can't convert %s to handle", text);
	return 0;
}

uint32_t
skynet_queryname(struct skynet_context *ctx, const char *name) {
	if (name[0] == ':')
		return (uint32_t)strtoul(name + 1, NULL, 16);
	if (name[0] == '.')
		return skynet_handle_findname(name + 1);
	skynet_error(ctx, "error: Don't support query global name %s", name);
	return 0;
}

static const char *
handle_result(struct skynet_context *ctx, uint32_t handle) {
	snprintf(ctx->result, sizeof(ctx->result), ":%x", handle);
	return ctx->result;
}

static void
end_service(struct skynet_context *ctx, uint32_t handle) {
	if (handle == 0)
		return;
	if (handle == ctx->handle)
		skynet_error(ctx, "KILL self");
	else
		skynet_error(ctx, "KILL :%0x", handle);
	uint32_t monitor = atomic_load(&monitor_handle);
	if (monitor)
		(void)skynet_send(ctx, handle, monitor, PTYPE_CLIENT, 0, NULL, 0);
	(void)skynet_handle_retire(handle);
}

static const char *
cmd_timeout(struct skynet_context *ctx, const char *param) {
	long n = strtol(param, NULL, 10);
	int session = skynet_context_newsession(ctx);
	skynet_timeout(ctx->handle, n > INT_MAX ? INT_MAX : n < 0 ? 0 : (int)n, session);
	snprintf(ctx->result, sizeof(ctx->result), "%d", session);
	return ctx->result;
}

static const char *
cmd_reg(struct skynet_context *ctx, const char *param) {
	if (param == NULL || param[0] == '\0')
		return handle_result(ctx, ctx->handle);
	if (param[0] == '.')
		return skynet_handle_namehandle(ctx->handle, param + 1);
	skynet_error(ctx, "error: Can't register global name %s in C", param);
	return NULL;
}

static const char *
cmd_query(struct skynet_context *ctx, const char *param) {
	uint32_t handle = param[0] == '.' ? skynet_handle_findname(param + 1) : 0;
	return handle ? handle_result(ctx, handle) : NULL;
}

/* "name :hex" */
static const char *
cmd_name(struct skynet_context *ctx, const char *param) {
	size_t n = strcspn(param, " \t\r\n");
	const char *address = param + n + strspn(param + n, " \t\r\n");
	uint32_t handle = address[0] == ':' ? (uint32_t)strtoul(address + 1, NULL, 16) : 0;
	if (handle == 0 || n == 0)
		return NULL;
	char *name = skynet_strndup(param, n);
	const char *result = NULL;
	if (name[0] == '.')
		result = skynet_handle_namehandle(handle, name + 1);
	else
		skynet_error(ctx, "error: Can't set global name %s in C", name);
	skynet_free(name);
	return result;
}

static const char *
cmd_exit(struct skynet_context *ctx, const char *param) {
	(void)param;
	end_service(ctx, ctx->handle);
	return NULL;
}

static const char *
cmd_kill(struct skynet_context *ctx, const char *param) {
	end_service(ctx, to_handle(ctx, param));
	return NULL;
}

/* "module args": args go to the end of the line, verbatim. */
static const char *
cmd_launch(struct skynet_context *ctx, const char *param) {
	size_t line = strcspn(param, "\r\n");
	size_t n = strcspn(param, " \t\r\n");
	char *module = skynet_strndup(param, n);
	char *args = n < line ? skynet_strndup(param + n + 1, line - n - 1) : NULL;
	uint32_t handle = skynet_context_new(module, args);
	skynet_free(module);
	skynet_free(args);
	if (handle == 0)
		return NULL;
	snprintf(ctx->result, sizeof(ctx->result), ":%08X", handle);
	return ctx->result;
}

static const char *
cmd_getenv(struct skynet_context *ctx, const char *param) {
	(void)ctx;
	return skynet_getenv(param);
}

static const char *
cmd_setenv(struct skynet_context *ctx, const char *param) {
	(void)ctx;
	const char *blank = strchr(param, ' ');
	if (blank == NULL)
		return NULL;
	char *key = skynet_strndup(param, (size_t)(blank - param));
	skynet_setenv(key, blank + 1);
	skynet_free(key);
	return NULL;
}

static const char *
cmd_starttime(struct skynet_context *ctx, const char *param) {
	(void)param;
	snprintf(ctx->result, sizeof(ctx->result), "%u", skynet_starttime());
	return ctx->result;
}

/*
 * A number as argument becomes the process's exit code; but not when the node ends already, and
 * what fails meanwhile fails for that.
 */
static const char *
cmd_abort(struct skynet_context *ctx, const char *param) {
	(void)ctx;
	if (param && param[0] && !service_ending())
		skynet_exit_code(atoi(param));
	service_end_all();
	return NULL;
}

static const char *
cmd_monitor(struct skynet_context *ctx, const char *param) {
	if (param == NULL || param[0] == '\0') {
		uint32_t handle = atomic_load(&monitor_handle);
		return handle ? handle_result(ctx, handle) : NULL;
	}
	atomic_store(&monitor_handle, to_handle(ctx, param));
	return NULL;
}

static double
seconds(uint64_t ticks) {
	return (double)clock_ticks_ns(ticks) * 1e-9;
}

static const char *
cmd_stat(struct skynet_context *ctx, const char *param) {
	char *out = ctx->result;
	size_t sz = sizeof(ctx->result);
	if (strcmp(param, "mqlen") == 0) {
		snprintf(out, sz, "%d", mailbox_length(&ctx->mailbox));
	} else if (strcmp(param, "endless") == 0) {
		snprintf(out, sz, "%d", atomic_exchange(&ctx->endless, false));
	} else if (strcmp(param, "cpu") == 0) {
		snprintf(out, sz, "%lf", seconds(atomic_load(&ctx->cpu_ticks)));
	} else if (strcmp(param, "time") == 0) {
		if (ctx->profile && ctx->message_ticks)
			snprintf(out, sz, "%lf", seconds(clock_ticks() - ctx->message_ticks));
		else
			snprintf(out, sz, "0");
	} else if (strcmp(param, "mqlimit") == 0) {
		snprintf(out, sz, "%u", (unsigned)atomic_load(&ctx->mailbox.limit));
	} else if (strcmp(param, "turned") == 0) {
		snprintf(out, sz, "%llu", (unsigned long long)atomic_load(&ctx->turned));
	} else if (strcmp(param, "message") == 0) {
		snprintf(out, sz, "%llu", (unsigned long long)atomic_load(&ctx->messages));
	} else {
		out[0] = '\0';
	}
	return out;
}

/* "N" or "N drop": how many messages may wait. NULL when that makes no sense. */
static const char *
cmd_mqlimit(struct skynet_context *ctx, const char *param) {
	char *end;
	long n = strtol(param, &end, 10);
	bool drops = strcmp(end, " drop") == 0;
	if (n < 0 || n > MAILBOX_LIMIT_MAX || end == param || (*end != '\0' && !drops))
		return NULL;
	atomic_store(&ctx->drops, drops);
	atomic_store(&ctx->mailbox.limit, (uint32_t)n);
	return "";
}

static const char *
cmd_logon(struct skynet_context *ctx, const char *param) {
	uint32_t handle = to_handle(ctx, param);
	struct skynet_context *to = handle ? skynet_handle_grab(handle) : NULL;
	if (to == NULL)
		return NULL;
	if (atomic_load(&to->logfile) == NULL) {
		FILE *f = skynet_log_open(ctx, handle);
		FILE *none = NULL;
		if (f && !atomic_compare_exchange_strong(&to->logfile, &none, f))
			(void)fclose(f); /* somebody else was faster */
	}
	skynet_context_release(to);
	return NULL;
}

static const char *
cmd_logoff(struct skynet_context *ctx, const char *param) {
	uint32_t handle = to_handle(ctx, param);
	struct skynet_context *to = handle ? skynet_handle_grab(handle) : NULL;
	if (to == NULL)
		return NULL;
	FILE *f = atomic_exchange(&to->logfile, NULL);
	if (f)
		skynet_log_close(ctx, f, handle);
	skynet_context_release(to);
	return NULL;
}

/* ":hex [n]" or ".name" */
static const char *
cmd_signal(struct skynet_context *ctx, const char *param) {
	uint32_t handle = to_handle(ctx, param);
	struct skynet_context *to = handle ? skynet_handle_grab(handle) : NULL;
	if (to == NULL)
		return NULL;
	const char *blank = strchr(param, ' ');
	int signal = blank && param[0] == ':' ? (int)strtol(blank, NULL, 0) : 0;
	skynet_module_instance_signal(to->mod, to->inst, signal);
	skynet_context_release(to);
	return NULL;
}

static const struct {
	const char *name;
	const char *(*run)(struct skynet_context *ctx, const char *param);
	bool optional; /* the parameter may be missing */
} commands[] = {
	{"TIMEOUT", cmd_timeout, false}, {"REG", cmd_reg, true},
	{"QUERY", cmd_query, false},     {"NAME", cmd_name, false},
	{"EXIT", cmd_exit, true},        {"KILL", cmd_kill, false},
	{"LAUNCH", cmd_launch, false},   {"GETENV", cmd_getenv, false},
	{"SETENV", cmd_setenv, false},   {"STARTTIME", cmd_starttime, true},
	{"ABORT", cmd_abort, true},      {"MONITOR", cmd_monitor, true},
	{"STAT", cmd_stat, false},       {"LOGON", cmd_logon, false},
	{"LOGOFF", cmd_logoff, false},   {"SIGNAL", cmd_signal, false},
	{"MQLIMIT", cmd_mqlimit, false},
};

const char *
skynet_command(struct skynet_context *ctx, const char *cmd, const char *parm) {
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, cmd) == 0)
			return parm || commands[i].optional ? commands[i].run(ctx, parm) : NULL;
	}
	return NULL;
}
