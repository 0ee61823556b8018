/* The timer wheel, as the scheduler uses it. See skynet_timer.c. */
#ifndef skynet_timer_wheel_h
#define skynet_timer_wheel_h

#include <stdbool.h>
#include <stdint.h>

/* Send the messages of all timers that are due. Any thread; does nothing while another does. */
void timer_advance(void);
/*
 * How long the thread that calls this is going to wait: ns until the next expiry, -1 without
 * timers. Only the one that waits for all may ask: timer_due_sooner compares with its answer.
 */
int64_t timer_wait_ns(void);
/* Has the next timer's time come, and nobody has sent its message yet? */
bool timer_is_due(void);
/* Before parking: is a timer due earlier than the waiting worker expects? */
bool timer_due_sooner(void);

#endif
