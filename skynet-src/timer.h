/* The timer wheel, as the scheduler uses it. See skynet_timer.c. */
#ifndef skynet_timer_wheel_h
#define skynet_timer_wheel_h

#include <stdint.h>

struct poller;

/* Send the messages of all timers that are due. Any thread; does nothing while another does. */
void timer_advance(void);
/* How long a thread may wait from now on: ns until the next expiry, -1 without timers. */
int64_t timer_wait_ns(void);
/* Before parking: a timer may be due earlier than the waiting worker expects. */
void timer_shorten(const struct poller *poller);

#endif
