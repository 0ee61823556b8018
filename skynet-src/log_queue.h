/* The kernel's own view of log lines that wait for the logger. See skynet_error.c. */
#ifndef skynet_log_queue_h
#define skynet_log_queue_h

#include <stddef.h>
#include <stdint.h>

/* Read the configuration; 0, or -1 after a line on stderr. Before there are threads. */
int log_queue_init(void);

/* A service begins to handle a text message of that size: if it's the logger, a line less waits.
 */
void log_queue_taken(uint32_t handle, size_t sz);

/* Bytes that wait for the logger, about. Any thread. */
size_t log_queue_waiting(void);

#endif
