/* Services: creation, references, direct delivery. Any thread unless said otherwise. */
#ifndef SKYNET_SERVER_H
#define SKYNET_SERVER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct skynet_context;
struct skynet_message;

/* Launch a C service. Returns its handle, 0 on failure (the reason was logged). */
uint32_t skynet_context_new(const char *name, const char *parm);
void skynet_context_grab(struct skynet_context *);
/* As grab, and the service no longer keeps the process alive. */
void skynet_context_reserve(struct skynet_context *);
void skynet_context_release(struct skynet_context *);
uint32_t skynet_context_handle(struct skynet_context *);
/* Deliver; takes message->data. -1 when the service is dead: the caller keeps the data. */
int skynet_context_push(uint32_t handle, struct skynet_message *message);
/* Deliver to a service one holds a reference to; takes msg. */
void skynet_context_send(struct skynet_context *context, void *msg, size_t sz, uint32_t source,
                         int type, int session);
/* A fresh session of the service; only on the thread that runs it. */
int skynet_context_newsession(struct skynet_context *);
/* Number of live services. */
int skynet_context_total(void);
/* Flag a service as stuck (STAT endless). */
void skynet_context_endless(uint32_t handle);

void skynet_globalinit(void);
void skynet_globalexit(void);
void skynet_initthread(int m);
void skynet_profile_enable(int enable);

#ifdef __cplusplus
}
#endif

#endif
