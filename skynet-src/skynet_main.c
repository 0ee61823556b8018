/* The command line. */
#include "clock.h"
#include "config.h"
#include "skynet_env.h"
#include "skynet_imp.h"
#include "skynet_server.h"

#include <lua.h>
#include <stdio.h>

#ifndef SKYNET_VERSION
#define SKYNET_VERSION "development"
#endif

static const char usage[] =
	"usage: skynet configfilename\n"
	"       skynet --check configfilename   look for mistakes without starting\n"
	"       skynet --version\n"
	"       skynet -h | --help\n";

static int
complain(void) {
	fprintf(stderr, "Need a config file. Please read skynet wiki : "
	                "https://github.com/cloudwu/skynet/wiki/Config\n"
	                "usage: skynet configfilename\n");
	return 1;
}

static int
check(const char *file) {
	struct skynet_config config = {0};
	if (config_load(file) != 0 || config_resolve(&config) != 0)
		return 1;
	int problems = config_check(&config);
	if (problems == 0)
		printf("%s: no problems found\n", file);
	return problems != 0;
}

int
main(int argc, char *argv[]) {
	struct skynet_config config = {0};
	if (argc < 2)
		return complain();
	clock_init();
	skynet_globalinit();
	skynet_env_init();
	if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("skynet (compatible) %s, %s\n", SKYNET_VERSION, LUA_RELEASE);
		return 0;
	}
	if (strcmp(argv[1], "--check") == 0) {
		if (argc < 3)
			return complain();
		return check(argv[2]);
	}
	if (config_load(argv[1]) != 0 || config_resolve(&config) != 0)
		return 1;
	skynet_start(&config);
	skynet_globalexit();
	return 0;
}
