/* The message log of one service (LOGON): a file of everything it's sent. */
#ifndef skynet_log_h
#define skynet_log_h

#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct skynet_context;

FILE *skynet_log_open(struct skynet_context *ctx, uint32_t handle);
void skynet_log_close(struct skynet_context *ctx, FILE *f, uint32_t handle);
void skynet_log_output(FILE *f, uint32_t source, int type, int session, void *buffer, size_t sz);

#ifdef __cplusplus
}
#endif

#endif
