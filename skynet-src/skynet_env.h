/* The node's environment: configuration keys, write once. Any thread. */
#ifndef SKYNET_ENV_H
#define SKYNET_ENV_H

#ifdef __cplusplus
extern "C" {
#endif

/* The value, valid for the life of the process; NULL when unset. */
const char *skynet_getenv(const char *key);

/* Set a key that isn't set yet; a second value is refused with a log line. */
void skynet_setenv(const char *key, const char *value);

void skynet_env_init(void);

#ifdef __cplusplus
}
#endif

#endif
