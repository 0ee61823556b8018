/* The timer wheel, as the scheduler uses it. See skynet_timer.c. */
#ifndef skynet_timer_wheel_h
#define skynet_timer_wheel_h

#include <stdbool.h>
#include <stdint.h>

/* Send the messages of all timers that are due. Any thread; does nothing while another does. */
void timer_advance(void);
/* How long a thread may wait from now on: ns until the next expiry, -1 without timers. Only for
   the one that holds the waiting role: the answer becomes what it's known to expect. */
int64_t timer_wait_ns(void);
/* Is a timer due by now? */
bool timer_is_due(void);
/* Before parking: is a timer due earlier than the waiting worker expects? */
bool timer_due_sooner(void);

#endif
