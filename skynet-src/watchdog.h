/* The watchdog thread. See watchdog.c. */
#ifndef skynet_watchdog_h
#define skynet_watchdog_h

int watchdog_start(int workers); /* as many as there may be */
void watchdog_stop(void);

/* A worker got work after having been idle, or has none left. */
void watchdog_busy(int worker);
void watchdog_idle(int worker);

/* Async-signal-safe: have the thread look at what signal handlers noted. */
void watchdog_poke(void);
/* What it calls then, and every round. At start-up only. */
void watchdog_on_round(void (*fn)(void));

#endif
