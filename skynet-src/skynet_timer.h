/* Node time and timers. Any thread. */
#ifndef SKYNET_TIMER_H
#define SKYNET_TIMER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Send `handle` an empty PTYPE_RESPONSE of `session` after `time` cs (<= 0: at once). */
int skynet_timeout(uint32_t handle, int time, int session);
void skynet_updatetime(void);
/* Unix seconds at which node time was below 100 cs. */
uint32_t skynet_starttime(void);
uint64_t skynet_now(void);
/* CPU microseconds of the calling thread. */
uint64_t skynet_thread_time(void);
void skynet_timer_init(void);

#ifdef __cplusplus
}
#endif

#endif
