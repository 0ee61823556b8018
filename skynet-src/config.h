/* The configuration file. See config.c. */
#ifndef skynet_node_config_h
#define skynet_node_config_h

#include "skynet_imp.h"

/* Read a file into the environment; 0, or -1 after a line on stderr. */
int config_load(const char *file);
/* The values the core needs, defaults filled in; 0, or -1 after a line on stderr. */
int config_resolve(struct skynet_config *config);
/* Look whether what the configuration names exists; number of problems, each told on stderr. */
int config_check(const struct skynet_config *config);
/* An integer key; `fallback` when unset. Complains and uses the fallback when it's no number. */
int config_integer(const char *key, int fallback);

#endif
