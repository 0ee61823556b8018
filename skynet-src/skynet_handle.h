/*
 * Handles and local names of services.
 *
 * Looking a handle up takes no lock and writes no shared memory; what it returns is safe to use
 * until the thread's next quiescent state (see epoch.h).
 */
#ifndef SKYNET_CONTEXT_HANDLE_H
#define SKYNET_CONTEXT_HANDLE_H

#include <stdint.h>

#define HANDLE_MASK 0xffffff
#define HANDLE_REMOTE_SHIFT 24

#ifdef __cplusplus
extern "C" {
#endif

struct skynet_context;

/* Give the service a handle; 0 when all 16 million are taken. */
uint32_t skynet_handle_register(struct skynet_context *);
/* Take a service out of the table; 1 if it was there. */
int skynet_handle_retire(uint32_t handle);
/* The service, with a reference the caller releases; or NULL. */
struct skynet_context *skynet_handle_grab(uint32_t handle);
/* The service, inside an epoch section; no reference. */
struct skynet_context *skynet_handle_peek(uint32_t handle);
void skynet_handle_retireall(void);

/* Handle of a name (without the dot), 0 when there is none. */
uint32_t skynet_handle_findname(const char *name);
/* Bind a name. Returns it, or NULL when it's taken. The text lives as long as the process. */
const char *skynet_handle_namehandle(uint32_t handle, const char *name);

void skynet_handle_init(int harbor, int thread);
void skynet_handle_register_thread(void);

#ifdef __cplusplus
}
#endif

#endif
