/* Daemon mode. Both return 0, or non-zero after saying why on stderr. */
#ifndef skynet_daemon_h
#define skynet_daemon_h

#ifdef __cplusplus
extern "C" {
#endif

int daemon_init(const char *pidfile);
int daemon_exit(const char *pidfile);

#ifdef __cplusplus
}
#endif

#endif
