# make [all]       build: ./skynet, cservice/, luaclib/, 3rd/lua/
# make demo        build, and show two nodes that form a cluster (KEEP=1: leave them running)
# make test        build, and run every test (T=pattern: only matching files)
# make fuzz        fuzz every parser of network bytes (SECONDS=10 each, F=pattern)
# make stress      a cluster under random load, killed and frozen, and laws (SECONDS=30, SEED=n)
# make bench       build, and measure (B=name: only that program; PEER=dir: another runtime beside)
# make bench-counts   instructions, atomics, system calls, page faults per operation (B=name, PEER=dir)
# make bench-lua   plain Lua code beside stock Lua built alike, in instructions (B=name, RUNS=5)
# make deps        install what is missing (Debian packages)
# make install / uninstall     PREFIX=/usr/local DESTDIR=
# make clean / distclean       objects and products / also the fetched Lua source
# make format / lint / help
#
# Variables: V=1 (show the commands), CC, DEBUG=1, SAN=address,undefined | thread, MALLOC=libc,
# PGO=1, MYCFLAGS, LUA_SRC=dir (an unpacked Lua 5.4 tree), LPEG_SRC=dir, LUA_CLIB_PATH,
# CSERVICE_PATH, SKYNET_BUILD_PATH.
# Each variant of compiler and flags has its own objects under build/.

PLAT ?= linux
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
PREFIX ?= /usr/local
DESTDIR ?=
LUA_CLIB_PATH ?= luaclib
CSERVICE_PATH ?= cservice
SKYNET_BUILD_PATH ?= .
MYCFLAGS ?=
export LUA_SRC LPEG_SRC
MAKEFLAGS += --no-print-directory

ifneq ($(SAN),)
MALLOC := libc
SANFLAGS := -fsanitize=$(SAN) -fno-omit-frame-pointer
OPT := -O1 -g
ifeq ($(SAN),thread)
# Lua leaves functions by longjmp, which would overflow the sanitizer's own record of the stack
SANFLAGS += $(if $(findstring clang,$(CC)),-mllvm -tsan-instrument-func-entry-exit=0,--param \
	tsan-instrument-func-entry-exit=0)
endif
else ifneq ($(DEBUG),)
OPT := -O0 -g3
else
OPT := -O3 -g
# What a message passes through is many small functions in several files; with gcc's own limits a
# call takes a tenth more instructions.
INLINE := --param max-inline-insns-auto=80 --param max-inline-insns-small=40 --param inline-unit-growth=200
LTO ?= -flto=auto $(INLINE) -Wno-stringop-overread
endif
ifeq ($(findstring clang,$(CC)),clang)
LTO :=
endif
AR := $(if $(LTO),gcc-ar,ar)
# PGO=1: build with counters, train on the bench programs, build again with what was counted
PROFILE := build/profile
# those that need neither servers nor other programs
TRAINING := call cluster codec crypt growth multicast pairs plain send seri sharedata sharetable socket start timer \
	wakeup websocket
ifneq ($(PGO),)
ifeq ($(findstring clang,$(CC)),clang)
$(error PGO=1 needs gcc)
endif
ifeq ($(PGO),generate)
PGOFLAGS := -fprofile-generate=$(abspath $(PROFILE)) -fprofile-update=atomic
else
# what gcc inlines by the profile has it take variables for uninitialized, in Lua's own source, too
PGOFLAGS := -fprofile-use=$(abspath $(PROFILE)) -fprofile-partial-training -Wno-missing-profile \
	-Wno-maybe-uninitialized
endif
endif
ifeq ($(MALLOC),libc)
DEFINES := -DNOUSE_JEMALLOC
else
JEMALLOC ?= $(firstword $(wildcard /usr/lib/*/libjemalloc_pic.a /usr/lib/libjemalloc_pic.a))
HEAP = $(OUT)/exe/skynet-src/heap.o -Wl,--whole-archive $(OUT)/jemalloc.a -Wl,--no-whole-archive -lstdc++
HEAP_FILES = $(OUT)/exe/skynet-src/heap.o $(OUT)/jemalloc.a
endif

# V=1 shows commands as they are; otherwise each is a word and its product
say = $(if $(V),,@printf '%-5s %s\n' '$(1)' '$(2)';)
VERSION := $(shell git describe --tags --always 2>/dev/null || echo development)
LUA_INC ?= 3rd/lua
COMMON := -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -fno-plt $(OPT) $(SANFLAGS) $(PGOFLAGS) \
	$(DEFINES) -Iskynet-src -I$(LUA_INC) $(MYCFLAGS)
CFLAGS_EXE := $(COMMON) $(LTO)
CFLAGS_SO := $(COMMON) -fPIC
LUA_CFLAGS := $(OPT) $(SANFLAGS) $(PGOFLAGS) $(LTO) $(MYCFLAGS)
comma := ,
LIBS := -lpthread -lm -ldl -lrt
# C services and Lua modules see the interfaces, not our inner names
EXPORT := $(if $(filter Darwin,$(shell uname -s)),-Wl$(comma)-export_dynamic,-Wl$(comma)--dynamic-list=skynet-src/export.list)
SHARED := -shared $(SANFLAGS) $(PGOFLAGS)

# one folder of objects for each set of flags
KEY := $(shell printf '%s' '$(CC) $(COMMON) $(LTO) $(JEMALLOC)' | cksum | cut -d' ' -f1)
ifneq ($(PGO),)
# both stages in one folder: the counters are found by the objects' names
KEY := stages
endif
OUT := build/$(firstword $(CC))-$(subst $(comma),-,$(if $(SAN),$(SAN),$(if $(DEBUG),debug,$(if $(PGO),pgo,release))))-$(KEY)

KERNEL := $(filter-out skynet-src/heap.c,$(wildcard skynet-src/*.c))
# what every message passes through is compiled into the executable, together with Lua
BUILTIN := $(wildcard service-src/snlua/*.c lualib-src/skynet/*.c lualib-src/cluster*.c) \
	lualib-src/lua-seri.c lualib-src/socketdriver.c lualib-src/recv_buffer.c lualib-src/netpack.c
CSERVICES := $(sort $(basename $(notdir $(wildcard service-src/*.c))) \
	$(notdir $(patsubst %/,%,$(wildcard service-src/*/))))
CLIBS := skynet $(filter-out skynet,$(notdir $(patsubst %/,%,$(wildcard lualib-src/*/)))) clientsocket \
	lpeg

KERNEL_OBJS := $(KERNEL:%.c=$(OUT)/exe/%.o)
BUILTIN_OBJS := $(BUILTIN:%.c=$(OUT)/exe/%.o)
so_objs = $(patsubst %.c,$(OUT)/so/%.o,$(1))
cservice_src = $(filter-out $(BUILTIN),$(wildcard service-src/$(1).c service-src/$(1)/*.c))
clib_src = $(filter-out $(BUILTIN),$(wildcard lualib-src/$(1)/*.c) \
	$(if $(filter skynet,$(1)),$(wildcard lualib-src/*.c))) \
	$(if $(filter client,$(1)),$(wildcard lualib-src/crypt*.c)) \
	$(if $(filter clientsocket,$(1)),lualib-src/client/socket.c)
SO_OBJS := $(call so_objs,$(foreach s,$(CSERVICES),$(call cservice_src,$(s))) \
	$(foreach l,$(CLIBS),$(call clib_src,$(l))))

# libraries a Lua module needs
LIBS_skynet := -lcrypto
LIBS_client := $(if $(wildcard lualib-src/client/*.c lualib-src/client/crypt.c),-lcrypto -lpthread)
LIBS_md5 := -lcrypto
# shared by all services of a process: must outlive the one that loaded it first
LIBS_skynet += -Wl,-z,nodelete
LIBS_sproto := -Wl,-z,nodelete
LIBS_bson := -Wl,-z,nodelete
LIBS_ltls := -lssl -lcrypto

EXE := $(OUT)/skynet
SERVICE_SO := $(CSERVICES:%=$(OUT)/cservice/%.so)
CLIB_SO := $(CLIBS:%=$(OUT)/luaclib/%.so)
PRODUCTS := $(SKYNET_BUILD_PATH)/skynet $(CSERVICES:%=$(CSERVICE_PATH)/%.so) \
	$(CLIBS:%=$(LUA_CLIB_PATH)/%.so)

.PHONY: all help linux freebsd openbsd macosx demo test fuzz stress bench bench-counts bench-lua deps \
	install uninstall clean distclean cleanall format lint publish bench-tools update3rd FORCE
.DELETE_ON_ERROR:

ifeq ($(PGO),1)
# not before the training, which uses the same folder
all: $(PROFILE)/trained
	$(MAKE) publish
else
all: publish
endif
# what was counted is of use only for the very sources
$(PROFILE)/trained: $(foreach d,skynet-src service-src service-src/* lualib-src lualib-src/*,$(wildcard $(d)/*.[ch])) \
		$(wildcard 3rd/lua/*.c) 3rd/lua/lshare.h 3rd/lua/lview.h 3rd/lua/skynet.patch
	rm -rf $(OUT) $(PROFILE)
	$(MAKE) PGO=generate publish bench-tools
	BENCH_SCALE=0.1 RUNS=1 ./test/bench/run $(TRAINING)
	rm -rf $(OUT)
	@touch $@
linux freebsd openbsd macosx: all
update3rd:
	$(MAKE) -C 3rd/lua headers

# ---- Lua ----

LUA_STAMP := 3rd/lua/src/.stamp
$(LUA_STAMP): 3rd/lua/fetch 3rd/lua/skynet.patch $(wildcard 3rd/lua/*.c) 3rd/lua/lshare.h
	$(MAKE) -C 3rd/lua headers

$(OUT)/lua/liblua.a: $(LUA_STAMP)
	@$(MAKE) -C 3rd/lua all V=$(V) OUT=$(abspath $(OUT)/lua) CC='$(CC)' \
		LUA_CFLAGS='$(LUA_CFLAGS)'

# ---- the executable ----

$(OUT)/exe/%.o: %.c $(LUA_STAMP)
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS_EXE) -MMD -MP -c -o $@ $<
$(OUT)/version: FORCE
	@mkdir -p $(@D)
	@echo '$(VERSION)' | cmp -s - $@ || echo '$(VERSION)' >$@
$(OUT)/exe/skynet-src/skynet_main.o: CFLAGS_EXE += -DSKYNET_VERSION='"$(VERSION)"'
$(OUT)/exe/skynet-src/skynet_main.o: $(OUT)/version

# what the model of services may be made of: see service-src/snlua/model.c
FRAMEWORK := lualib/skynet/require.lua lualib/skynet.lua
MODEL := $(OUT)/exe/service-src/snlua/model.o
$(MODEL): $(FRAMEWORK)
$(MODEL): CFLAGS_EXE += -DFRAMEWORK_SUMS='$(foreach f,$(FRAMEWORK),"$(shell cksum <$(f))"$(comma))'

# the allocator's own names make way for ours, which never return NULL
RENAMED := malloc calloc realloc memalign aligned_alloc
$(OUT)/jemalloc.a: $(JEMALLOC)
	@mkdir -p $(@D)
	@test -n "$(JEMALLOC)" || { echo "no libjemalloc_pic.a: install libjemalloc-dev, name the file with JEMALLOC=," \
		"or build with MALLOC=libc" >&2; exit 1; }
	$(call say,COPY,$@)objcopy $(foreach f,$(RENAMED),--redefine-sym $(f)=raw_$(f)) $(JEMALLOC) $@
$(OUT)/exe/skynet-src/heap.o: CFLAGS_EXE += -fno-lto -fno-builtin

$(EXE): $(HEAP_FILES) $(KERNEL_OBJS) $(BUILTIN_OBJS) $(OUT)/lua/liblua.a skynet-src/export.list
	$(call say,LINK,$@)$(CC) $(CFLAGS_EXE) -o $@ $(KERNEL_OBJS) $(BUILTIN_OBJS) \
		-Wl,--whole-archive $(OUT)/lua/liblua.a -Wl,--no-whole-archive $(HEAP) $(EXPORT) $(LIBS)

# ---- shared objects ----

# C services share one name space (RTLD_GLOBAL): each exports nothing but what begins with its name

$(OUT)/so/%.o: %.c $(LUA_STAMP)
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS_SO) -MMD -MP -c -o $@ $<

define cservice_rule
$(OUT)/cservice/$(1).so: $(call so_objs,$(call cservice_src,$(1)))
	@mkdir -p $$(@D)
	@echo '{ global: $(1)_*; local: *; };' >$$(@:.so=.map)
	$$(call say,LINK,$$@)$(CC) $(SHARED) -Wl,--version-script=$$(@:.so=.map) -o $$@ $$^ $$(LIBS_$(1))
endef
$(foreach s,$(CSERVICES),$(eval $(call cservice_rule,$(s))))

define clib_rule
$(OUT)/luaclib/$(1).so: $(call so_objs,$(call clib_src,$(1)))
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)$(CC) $(SHARED) -o $$@ $$^ $$(LIBS_$(1))
endef
$(foreach l,$(filter-out lpeg,$(CLIBS)),$(eval $(call clib_rule,$(l))))

# LPeg as it is: somebody else's code, so without our warnings
LPEG_STAMP := 3rd/lpeg/src/.stamp
$(LPEG_STAMP): 3rd/lpeg/fetch 3rd/debian-source
	./3rd/lpeg/fetch 3rd/lpeg/src
	touch $@

$(OUT)/luaclib/lpeg.so: $(LPEG_STAMP) $(LUA_STAMP)
	@mkdir -p $(@D)
	$(call say,CC,3rd/lpeg/src)$(CC) -std=gnu11 -DNDEBUG -fPIC $(OPT) $(SHARED) -I$(LUA_INC) -o $@ 3rd/lpeg/src/lp*.c

# nothing of the second stage, sources included, is made while the first is at work
ifeq ($(PGO),1)
$(LUA_STAMP) $(LPEG_STAMP) $(HEAP_FILES) $(KERNEL_OBJS) $(BUILTIN_OBJS) $(OUT)/lua/liblua.a $(SO_OBJS): \
	| $(PROFILE)/trained
endif

# ---- products: copied to where projects expect them, when they differ ----

publish: $(EXE) $(SERVICE_SO) $(CLIB_SO)
	@mkdir -p $(SKYNET_BUILD_PATH) $(CSERVICE_PATH) $(LUA_CLIB_PATH)
	@put() { cmp -s $$1 $$2 || { cp $$1 $$2.new && mv $$2.new $$2; }; }; \
	put $(EXE) $(SKYNET_BUILD_PATH)/skynet; \
	for f in liblua.a lua luac; do put $(OUT)/lua/$$f 3rd/lua/$$f; done; \
	for s in $(CSERVICES); do put $(OUT)/cservice/$$s.so $(CSERVICE_PATH)/$$s.so; done; \
	for l in $(CLIBS); do put $(OUT)/luaclib/$$l.so $(LUA_CLIB_PATH)/$$l.so; done; \
	put 3rd/lpeg/src/re.lua lualib/re.lua

-include $(shell find build -name '*.d' 2>/dev/null)

# ---- everything else ----

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

deps:
	./tools/deps --test

demo:
	./tools/deps
	$(MAKE) all
	./examples/demo $(if $(KEEP),--keep)

test:
	./tools/deps --test
	$(MAKE) all
	$(MAKE) test-modules
	./test/run $(T)

# Test programs and modules are built where the variant's objects are, and put beside their sources.
TEST_SO := $(patsubst %.c,%.so,$(wildcard test/cservice/*.c test/lib/*.c))
C_TESTS := $(patsubst test/c/%.c,%,$(wildcard test/c/*_test.c)) lua_share_hard_test lua_rest_hard_test lua_key_hard_test
.PHONY: test-modules
test-modules: $(TEST_SO:%=$(OUT)/%) $(C_TESTS:%=$(OUT)/test/c/bin/%)
	@mkdir -p test/c/bin; for f in $(TEST_SO) $(C_TESTS:%=test/c/bin/%); do \
		cmp -s $(OUT)/$$f $$f || cp $(OUT)/$$f $$f; done

$(OUT)/test/cservice/%.so: test/cservice/%.c $(LUA_STAMP)
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -g -fPIC $(SANFLAGS) -shared \
		-Iskynet-src -I$(LUA_INC) -MMD -MP -o $@ $<
$(OUT)/test/lib/%.so: test/lib/%.c $(LUA_STAMP)
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -g -fPIC -shared \
		-I$(LUA_INC) -MMD -MP -o $@ $<
# an archive: a test that brings a part of its own leaves the kernel's out
$(OUT)/libkernel.a: $(KERNEL_OBJS)
	@rm -f $@
	$(call say,AR,$@)$(AR) rcs $@ $(filter-out %/skynet_main.o,$^)
$(OUT)/test/c/bin/%: test/c/%.c $(HEAP_FILES) $(OUT)/libkernel.a $(OUT)/lua/liblua.a
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS_EXE) -Itest/c -MMD -MP -MT $@ -MF $@.d -o $@ $< \
		$(OUT)/libkernel.a $(OUT)/lua/liblua.a $(HEAP) $(LIBS)

# the same Lua with its assertions, moving stacks and collecting at every chance
HARD := -O1 -g $(SANFLAGS) -DLUAI_ASSERT -DLUA_USE_APICHECK -DHARDSTACKTESTS -DHARDMEMTESTS
$(OUT)/lua-hard/liblua.a: $(LUA_STAMP)
	@$(MAKE) -C 3rd/lua V=$(V) $(abspath $@) OUT=$(abspath $(@D)) CC='$(CC)' LUA_CFLAGS='$(HARD)'
$(OUT)/test/c/bin/%_hard_test: test/c/%_test.c $(OUT)/lua-hard/liblua.a
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror $(HARD) -DHARD -Itest/c -I$(LUA_INC) \
		-o $@ $< -Wl,--whole-archive $(OUT)/lua-hard/liblua.a -Wl,--no-whole-archive -Wl,-E $(LIBS)

# nodes full of actors that do things at random, and laws that must hold: see test/stress/driver.lua
stress: SECONDS ?= 30
stress:
	$(MAKE) all
	$(MAKE) test-modules
	./test/stress/run $(SECONDS) $(SEED)

fuzz: SECONDS ?= 10
fuzz:
	./tools/deps clang libclang-rt-dev
	$(MAKE) all
	./test/fuzz/run $(SECONDS) $(F)

BENCH_TOOLS := $(patsubst %.c,%,$(wildcard test/bench/lib/*.c))
test/bench/lib/%: test/bench/lib/%.c
	$(call say,CC,$<)$(CC) -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O2 -o $@ $<
bench-tools: $(BENCH_TOOLS)
bench:
	./tools/deps --test
	$(MAKE) all
	$(MAKE) test-modules bench-tools
	./test/bench/run $(B)
bench-counts: all
	./tools/deps valgrind strace
	./test/bench/counts.sh "$(B)"

bench-lua: all
	./tools/deps valgrind
	@$(MAKE) -C 3rd/lua V=$(V) $(abspath $(OUT)/lua/stock/lua) OUT=$(abspath $(OUT)/lua) CC='$(CC)' \
		LUA_CFLAGS='$(LUA_CFLAGS)'
	./test/bench/plain.sh $(OUT)/lua/lua $(OUT)/lua/stock/lua "$(B)"

ROOT := $(DESTDIR)$(PREFIX)/lib/skynet
install: all
	install -d $(ROOT)/cservice $(ROOT)/luaclib $(DESTDIR)$(PREFIX)/bin \
		$(DESTDIR)$(PREFIX)/include/skynet
	install -m 755 $(SKYNET_BUILD_PATH)/skynet $(ROOT)/skynet
	ln -sf ../lib/skynet/skynet $(DESTDIR)$(PREFIX)/bin/skynet
	install -m 755 $(CSERVICES:%=$(CSERVICE_PATH)/%.so) $(ROOT)/cservice
	install -m 755 $(CLIBS:%=$(LUA_CLIB_PATH)/%.so) $(ROOT)/luaclib
	cp -r lualib service examples $(ROOT)
	install -m 644 skynet-src/*.h 3rd/lua/*.h 3rd/lua/*.hpp $(DESTDIR)$(PREFIX)/include/skynet
uninstall:
	rm -rf $(ROOT) $(DESTDIR)$(PREFIX)/include/skynet
	rm -f $(DESTDIR)$(PREFIX)/bin/skynet

clean:
	rm -rf build $(SKYNET_BUILD_PATH)/skynet $(CSERVICE_PATH) $(LUA_CLIB_PATH) test/c/bin
	rm -f test/cservice/*.so test/lib/*.so lualib/re.lua $(BENCH_TOOLS)
distclean cleanall: clean
	$(MAKE) -C 3rd/lua clean
	rm -rf 3rd/lpeg/src

format:
	./tools/deps clang-format
	@clang-format -i $(wildcard skynet-src/*.[ch] service-src/*.[ch] service-src/*/*.[ch] \
		lualib-src/*.[ch] lualib-src/*/*.[ch] test/c/*.c test/cservice/*.c test/lib/*.c)
lint:
	./tools/deps lua-check cppcheck
	luacheck -q lualib service examples test
	cppcheck -q --std=c11 --error-exitcode=1 --inline-suppr -Iskynet-src skynet-src
