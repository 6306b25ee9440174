# goshim: build, test, install. `make help` lists the targets.
#
#   make                 build/libgoshim.so and build/goshim
#   make CC=clang        with another compiler (use BUILD=dir to keep both)
#   make DEBUG=1         assertions on, -O1: lock ranks, states, "runnable and nobody comes" (core/debug.c). With a BUILD of its own
#   make ARCH=aarch64 CC=aarch64-linux-gnu-gcc BUILD=build/aarch64
#                        for another CPU (packages: scripts/setup aarch64)
#   make V=1             show the commands
#
# Where things go: $(BUILD)/obj mirrors the source tree; $(BUILD)/asan holds the core compiled for the unit tests;
# $(BUILD)/tests the test programs.

BUILD  ?= build
PREFIX ?= /usr/local
ARCH   ?= $(shell uname -m)
TEST_JOBS ?= 3
ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin CXX),default)
CXX := g++
endif

ifneq ($(V),1)
Q := @
say = @printf '  %-8s %s\n' $(1) $(2)
endif

INCLUDES := -Icore -Iarch -Iarch/$(ARCH) -Ishims -Ipreload
# _FORTIFY_SOURCE off: `read` inside the library is `read`. No semantic interposition: our own calls of our own functions
# are direct. No PLT: the loader's tracing (LD_AUDIT) would step between us and dlvsym(), which looks at its caller. Initial-exec TLS: one load for the current goroutine (and no allocation behind it). Unwind tables everywhere, -fexceptions in the shims:
# cancellation and pthread_exit unwind through them.
BASE_FLAGS := -std=gnu11 -g -fPIC -Wall -Wextra -Werror -fvisibility=hidden -D_GNU_SOURCE -U_FORTIFY_SOURCE \
	-fno-strict-aliasing -fno-semantic-interposition -fno-plt -ftls-model=initial-exec -fasynchronous-unwind-tables \
	$(if $(filter x86_64,$(ARCH)),-fcf-protection=branch) $(INCLUDES)
ifeq ($(DEBUG),1)
OPT_FLAGS := -O1 -DGOSHIM_DEBUG -fno-omit-frame-pointer
else
OPT_FLAGS := -O2
endif
# RACE=1: tests/race watches every access of core/ and shims/. With a BUILD of its own.
ifeq ($(RACE),1)
OPT_FLAGS := -O1 -DGOSHIM_RACE -fno-omit-frame-pointer
WATCHED_FLAGS := -fsanitize=thread $(if $(findstring clang,$(CC)),,-Wno-tsan)
endif
# ASAN=1: AddressSanitizer watches what core/, shims/ and preload/ access. With a BUILD of its own, and gcc, whose runtime is a library that can be preloaded.
ifeq ($(ASAN),1)
OPT_FLAGS := -O1 -fno-omit-frame-pointer
WATCHED_FLAGS := -fsanitize=address
endif
# The user's flags first: ours must win (a packager's _FORTIFY_SOURCE, for one).
ALL_CFLAGS := $(OPT_FLAGS) $(CFLAGS) $(BASE_FLAGS)

# initfirst: before every other constructor of the process. now + relro: no lazy binding inside a context switch. nodelete: goroutines
# run on our code until the process ends. defs: a forgotten function is an error here, not in the user's process. Bsymbolic: where the library calls
# read() it means its own, also in a program that has a function of that name.
LIB_LDFLAGS := -shared -Wl,-soname,libgoshim.so -Wl,-z,initfirst -Wl,-z,now -Wl,-z,relro -Wl,-z,nodelete -Wl,-z,defs \
	-Wl,-z,noexecstack -Wl,-Bsymbolic-functions -Wl,--exclude-libs,ALL $(LDFLAGS)

# What the launcher reads of other programs' code is no part of the library.
ARCH_SRCS := $(filter-out arch/$(ARCH)/scan.c,$(wildcard arch/$(ARCH)/*.c)) $(wildcard arch/$(ARCH)/*.S)
LIB_SRCS := preload/entry.c preload/symbols.c preload/object.c preload/dlsym.c preload/settings.c preload/patch.c preload/ctl.c $(wildcard core/*.c) $(wildcard shims/*.c) \
	$(ARCH_SRCS) $(if $(filter 1,$(RACE)),tests/race/race.c) $(if $(filter 1,$(ASAN)),tests/asan/asan.c)
LIB_OBJS := $(addprefix $(BUILD)/obj/,$(addsuffix .o,$(LIB_SRCS)))
LAUNCHER_SRCS := preload/goshim.c preload/check.c preload/settings.c preload/ctl_client.c preload/elfsym.c preload/surface.c \
	arch/$(ARCH)/scan.c
LAUNCHER_OBJS := $(addprefix $(BUILD)/obj/,$(addsuffix .o,$(LAUNCHER_SRCS)))
VERSION := 0.1.0

.PHONY: all lib help setup test unit helpers programs check-clang check-exports exports demo bench install clean format lint
.DELETE_ON_ERROR:
# As many jobs as CPUs, unless told otherwise.
ifeq (,$(filter -j%,$(MAKEFLAGS)))
MAKEFLAGS += -j$(shell nproc)
endif
.SECONDARY:

all: setup
	@$(MAKE) --no-print-directory lib

lib: $(BUILD)/libgoshim.so $(BUILD)/goshim

help:
	@sed -n 's/^#   //p' Makefile
	@echo 'make test            everything that must pass: both compilers, exported symbols, unit tests, test programs'
	@echo 'make long            all of the following, a day of work: LONG="--hours 8", LONG=--list names the steps'
	@echo 'make chaos           the test programs with forced bad luck: SEEDS=8 CHAOS_FIRST=1 CHAOS_PERCENT=10 ONLY=NAME'
	@echo 'make soak            tests/stress: the same programs for much longer'
	@echo 'make refused         the programs that wait for descriptors, where epoll refuses to watch any: ONLY=NAME'
	@echo 'make fail            each call of the runtime that may be refused is, one at a time'
	@echo 'make soak-procs      GOMAXPROCS changes under full load for a minute'
	@echo 'make soak-golib      goshim.h: a million selects under 64 chaos seeds, a million blocked goroutines, skynet'
	@echo 'make test-kernel     the programs under the stock kernel of Debian 12, emulated: ONLY=NAME'
	@echo 'make model           every interleaving of the run queue, the lock, waits and futexes, and bugs that it must find'
	@echo 'make race            the programs with every access of core/ and shims/ watched for data races: ONLY=NAME'
	@echo 'make race-golib      the same with the programs that use goshim.h'
	@echo 'make asan            the same, watched by AddressSanitizer: ONLY=NAME'
	@echo 'make debug           the programs with the checks of core/debug.c: ONLY=NAME'
	@echo 'make mutate          takes fences, wake-ups and re-checks out, one at a time: the tests must notice'
	@echo 'make test-aarch64    builds for aarch64 and runs test programs under qemu (scripts/setup aarch64): ONLY=NAME'
	@echo 'make demo            servers with thousands of connections, plain and under goshim, side by side'
	@echo 'make bench           the figures: kernel threads and goroutines in turns, medians and ratios'
	@echo 'make servers         real servers, kernel threads and goroutines in turns (scripts/servers NAME... for some)'
	@echo 'make install         PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)'
	@echo 'make exports         rewrite preload/goshim.map from what the library exports'
	@echo 'make format lint clean'

# ---- the library and the launcher ----------------------------------------------------------------------------

# Changed flags rebuild everything; the file only changes when they do.
$(BUILD)/flags: force
	@mkdir -p $(BUILD)
	@echo '$(CC) $(ALL_CFLAGS) $(LIB_LDFLAGS) $(VERSION)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS) $(LIB_LDFLAGS) $(VERSION)' > $@
.PHONY: force

# Renamed and removed sources must leave the library, too.
$(BUILD)/sources: force
	@mkdir -p $(BUILD)
	@echo '$(LIB_SRCS)' | cmp -s - $@ || echo '$(LIB_SRCS)' > $@

$(BUILD)/obj/shims/%.c.o: EXTRA_CFLAGS := -fexceptions $(WATCHED_FLAGS)
$(BUILD)/obj/core/%.c.o: EXTRA_CFLAGS := $(WATCHED_FLAGS)
$(BUILD)/obj/preload/entry.c.o: EXTRA_CFLAGS := -fexceptions $(if $(filter 1,$(ASAN)),$(WATCHED_FLAGS))
$(BUILD)/obj/preload/dlsym.c.o: EXTRA_CFLAGS := -O2 # its last calls must be jumps
$(BUILD)/obj/shims/loader.c.o: EXTRA_CFLAGS += -O2 # as well
$(BUILD)/obj/preload/goshim.c.o: EXTRA_CFLAGS := -DGOSHIM_VERSION='"$(VERSION)"'

$(BUILD)/obj/%.c.o: %.c $(BUILD)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(EXTRA_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/obj/%.S.o: %.S $(BUILD)/flags
	$(call say,AS,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

# Linked beside and moved into place: a process that has the old library mapped keeps it.
$(BUILD)/libgoshim.so: $(LIB_OBJS) $(BUILD)/sources
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LIB_LDFLAGS) $(LIB_OBJS) -o $@.new -ldl $(if $(filter 1,$(ASAN)),-fsanitize=address)
	@mv -f $@.new $@

$(BUILD)/goshim: $(LAUNCHER_OBJS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(LAUNCHER_OBJS) -o $@.new
	@mv -f $@.new $@

-include $(LIB_OBJS:.o=.d) $(LAUNCHER_OBJS:.o=.d)

setup:
	@scripts/setup build

# ---- exported symbols ----------------------------------------------------------------------------------------
# -fvisibility=hidden and the SHIM mark decide what is exported; goshim.map is the reviewed list. The two must agree.

exported = nm -D --defined-only --format=posix $(BUILD)/libgoshim.so | cut -d' ' -f1 | LC_ALL=C sort -u

check-exports: $(BUILD)/libgoshim.so
	@sed -n 's/^\t\([A-Za-z_0-9]*\);$$/\1/p' preload/goshim.map | LC_ALL=C sort -u > $(BUILD)/exports.listed
	@$(exported) > $(BUILD)/exports.found
	@if ! diff -U0 --label preload/goshim.map --label $(BUILD)/libgoshim.so $(BUILD)/exports.listed $(BUILD)/exports.found; then \
		echo "exported symbols differ from preload/goshim.map: hide them, or review and run 'make exports'" >&2; exit 1; fi
	@if nm -D --with-symbol-versions --defined-only $(BUILD)/libgoshim.so | grep -q '@'; then \
		echo "exported symbols must have no version" >&2; exit 1; fi
	@if nm -D $(BUILD)/libgoshim.so | grep -E ' (malloc|calloc|realloc|free|aligned_alloc|posix_memalign)(@|$$)' >&2; then \
		echo "the library must not allocate from the program's heap" >&2; exit 1; fi
	@echo "  exports  $$(wc -l < $(BUILD)/exports.found) symbols, as listed in preload/goshim.map"

exports: $(BUILD)/libgoshim.so
	@{ sed '/^\tglobal:/,$$d' preload/goshim.map; printf '\tglobal:\n'; $(exported) | sed 's/.*/\t&;/'; \
		printf '\tlocal:\n\t*;\n};\n'; } > $(BUILD)/goshim.map.new
	@cp $(BUILD)/goshim.map.new preload/goshim.map

# ---- tests -----------------------------------------------------------------------------------------------------

CRITERION := $(shell pkg-config --cflags --libs criterion 2>/dev/null || echo -lcriterion)
ASAN_FLAGS := $(BASE_FLAGS) -O1 -DGOSHIM_DEBUG -fno-omit-frame-pointer \
	-fsanitize=address,undefined -fno-sanitize-recover=undefined
ASAN_SRCS := $(wildcard core/*.c) $(ARCH_SRCS) preload/symbols.c preload/object.c preload/settings.c
ASAN_OBJS := $(addprefix $(BUILD)/asan/,$(addsuffix .o,$(ASAN_SRCS)))
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/*.c))
PROGRAMS := $(sort $(patsubst tests/programs/%.c,$(BUILD)/tests/programs/%,$(wildcard tests/programs/*.c)) \
	$(patsubst tests/programs/%.cc,$(BUILD)/tests/programs/%,$(wildcard tests/programs/*.cc)))
PROGRAM_FLAGS := -O1 -g -pthread -Wall

$(BUILD)/asan/%.c.o: %.c $(BUILD)/flags
	$(call say,ASAN,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ASAN_FLAGS) -MMD -MP -c $< -o $@

$(BUILD)/asan/%.S.o: %.S $(BUILD)/flags
	$(call say,AS,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_FLAGS) -MMD -MP -c $< -o $@

# An archive: a unit test that brings a stand-in for a function gets its own.
$(BUILD)/asan/libcore.a: $(ASAN_OBJS) $(BUILD)/sources
	@rm -f $@
	$(Q)ar rcs $@ $(ASAN_OBJS)

$(BUILD)/tests/unit/%: tests/unit/%.c $(BUILD)/asan/libcore.a
	$(call say,TEST,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ASAN_FLAGS) -Itests/unit -MMD -MP -MF $@.d $< $(BUILD)/asan/libcore.a -o $@ $(CRITERION) -pthread -ldl

# Goroutines really run in these: AddressSanitizer knows neither their stacks nor their thread identities. Optimised as the library is.
UBSAN_FLAGS := $(BASE_FLAGS) -O2 -DGOSHIM_DEBUG -fsanitize=undefined -fno-sanitize-recover=undefined
UBSAN_OBJS := $(addprefix $(BUILD)/ubsan/,$(addsuffix .o,$(ASAN_SRCS)))

$(BUILD)/ubsan/%.c.o: %.c $(BUILD)/flags
	$(call say,UBSAN,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(UBSAN_FLAGS) -MMD -MP -c $< -o $@

$(BUILD)/ubsan/%.S.o: %.S $(BUILD)/flags
	$(call say,AS,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_FLAGS) -MMD -MP -c $< -o $@

$(BUILD)/ubsan/libcore.a: $(UBSAN_OBJS) $(BUILD)/sources
	@rm -f $@
	$(Q)ar rcs $@ $(UBSAN_OBJS)

$(addprefix $(BUILD)/tests/unit/,test_sched test_retake test_scavenge test_preempt test_wakeups test_fork test_debug): $(BUILD)/tests/unit/%: tests/unit/%.c $(BUILD)/ubsan/libcore.a
	$(call say,TEST,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(UBSAN_FLAGS) -Itests/unit -MMD -MP -MF $@.d $< $(BUILD)/ubsan/libcore.a -o $@ $(CRITERION) -pthread -ldl -lm

# Unmodified programs: no goshim header, nothing of ours linked. tests/programs/NAME.flags may hold compiler flags of its own.
$(BUILD)/tests/programs/%: tests/programs/%.c
	$(call say,PROGRAM,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(PROGRAM_FLAGS) -MMD -MP -MF $@.d $< -o $@ $(shell cat tests/programs/$*.flags 2>/dev/null)

$(BUILD)/tests/programs/%: tests/programs/%.cc
	$(call say,PROGRAM,$<)
	@mkdir -p $(@D)
	$(Q)$(CXX) -std=c++20 $(PROGRAM_FLAGS) -MMD -MP -MF $@.d $< -o $@ $(shell cat tests/programs/$*.flags 2>/dev/null)

# Programs that the tests of the launcher run.
HELPERS := $(patsubst tests/helpers/%.c,$(BUILD)/tests/helpers/%,$(wildcard tests/helpers/*.c)) $(BUILD)/tests/helpers/works_linked
GOLIB_LINK = -L$(BUILD) -lgoshim -Wl,-rpath,$(abspath $(BUILD))
$(BUILD)/tests/helpers/%: tests/helpers/%.c
	$(call say,PROGRAM,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(PROGRAM_FLAGS) -MMD -MP -MF $@.d $< -o $@ $(shell cat tests/helpers/$*.flags 2>/dev/null)

# One that has the library in any case: where the loader takes none from the environment.
$(BUILD)/tests/helpers/works_linked: tests/helpers/works.c | $(BUILD)/libgoshim.so
	$(call say,PROGRAM,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(PROGRAM_FLAGS) -MMD -MP -MF $@.d $< -o $@ -Wl,--no-as-needed $(GOLIB_LINK)

# Programs that use goshim.h: tests/golib, and the examples, each built as C11 and as C++17 by both compilers.
GOLIB_FLAGS := -D_GNU_SOURCE -O1 -g -fexceptions -pthread -Wall -Wextra -Wpedantic -Werror -Ishims
GOLIB := $(patsubst tests/golib/%.c,$(BUILD)/tests/golib/%,$(wildcard tests/golib/*.c)) \
	$(patsubst tests/golib/%.cc,$(BUILD)/tests/golib/%,$(wildcard tests/golib/*.cc))
EXAMPLE_NAMES := $(patsubst tests/examples/%.c,%,$(wildcard tests/examples/*.c))
EXAMPLES := $(foreach kind,gcc-c11 clang-c11 g++-c++17 clang++-c++17,$(addprefix $(BUILD)/tests/examples/$(kind)/,$(EXAMPLE_NAMES)))

$(BUILD)/tests/golib/%: tests/golib/%.c | $(BUILD)/libgoshim.so
	$(call say,PROGRAM,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 $(GOLIB_FLAGS) -MMD -MP -MF $@.d $< -o $@ $(GOLIB_LINK)

$(BUILD)/tests/golib/%: tests/golib/%.cc | $(BUILD)/libgoshim.so
	$(call say,PROGRAM,$<)
	@mkdir -p $(@D)
	$(Q)$(CXX) -std=c++17 $(GOLIB_FLAGS) -MMD -MP -MF $@.d $< -o $@ $(GOLIB_LINK)

# compiler, language, what makes it take .c for C++. *_pthread.c know nothing of goshim and are not linked with it.
define example_rule
$(BUILD)/tests/examples/$(1)-$(2)/%: tests/examples/%.c | $(BUILD)/libgoshim.so
	$$(call say,EXAMPLE,$$@)
	@mkdir -p $$(@D)
	$$(Q)$(1) -std=$(2) $(3) $(GOLIB_FLAGS) -MMD -MP -MF $$@.d $$< $(if $(3),-x none) -o $$@ $$(if $$(filter %_pthread,$$*),,$$(GOLIB_LINK))
endef
$(eval $(call example_rule,gcc,c11))
$(eval $(call example_rule,clang,c11))
$(eval $(call example_rule,g++,c++17,-x c++))
$(eval $(call example_rule,clang++,c++17,-x c++))

-include $(HELPERS:=.d) $(GOLIB:=.d) $(EXAMPLES:=.d)

# One Criterion test per program.
$(BUILD)/tests/program_list.inc: force
	@mkdir -p $(@D)
	@printf 'PROGRAM(%s)\n' $(notdir $(PROGRAMS)) | cmp -s - $@ || printf 'PROGRAM(%s)\n' $(notdir $(PROGRAMS)) > $@

$(BUILD)/tests/run_programs: tests/run_programs.c $(BUILD)/tests/program_list.inc
	$(call say,TEST,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -g -O1 -Wall -Wextra -Werror -D_GNU_SOURCE -I$(BUILD)/tests -MMD -MP -MF $@.d $< -o $@ $(CRITERION)

-include $(ASAN_OBJS:.o=.d) $(UBSAN_OBJS:.o=.d) $(UNIT_TESTS:=.d) $(PROGRAMS:=.d) $(BUILD)/tests/run_programs.d

# The tests find the build through GOSHIM_BUILD. Leaks are not looked for: the core's memory is type-stable, never freed.
RUN_TEST = GOSHIM_BUILD=$(abspath $(BUILD)) GOSHIM_SOURCE=$(CURDIR) ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1

test:
	@scripts/setup build test
	@$(MAKE) --no-print-directory lib check-exports check-clang mutate-list
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory model-quick fail-quick
	@$(MAKE) --no-print-directory race-quick asan-quick debug-quick refused-quick
	@$(MAKE) --no-print-directory race-golib GOLIB_TESTS='cond_multi_waiter many_to_many done_in_select'
	@$(MAKE) --no-print-directory programs

check-clang:
	@$(MAKE) --no-print-directory CC=clang BUILD=$(BUILD)/clang lib

# All that a unit test runs, but for goshim.h's own examples.
helpers: $(HELPERS) $(filter $(addprefix $(BUILD)/tests/programs/,iso_% pre_unwind pre_libc),$(PROGRAMS))

unit: $(UNIT_TESTS) helpers $(GOLIB) $(EXAMPLES) lib
	@status=0; for test in $(UNIT_TESTS); do \
		echo "  RUN      $${test##*/}"; \
		$(RUN_TEST) timeout -k 5 240 $$test -j$(TEST_JOBS) || status=1; \
	done; exit $$status

# One program: make programs ONLY=NAME
programs: $(BUILD)/tests/run_programs $(if $(ONLY),$(filter $(BUILD)/tests/programs/$(ONLY)%,$(PROGRAMS)),$(PROGRAMS)) lib
	@echo "  RUN      run_programs"
	@$(RUN_TEST) $(BUILD)/tests/run_programs -j$(TEST_JOBS) $(if $(ONLY),--filter 'programs/$(ONLY)*') $(RUN_FLAGS)

# The core's protocols, explored exhaustively (tests/model/model.h).
.PHONY: model model-quick
model:
	@BUILD=$(BUILD) CC='$(CC)' scripts/model

model-quick:
	@BUILD=$(BUILD) CC='$(CC)' scripts/model quick

# Does a test notice when a fence, a wake-up, a re-check or an errno save is taken out? MUTATE="--from 11 --count 10" for some.
# What was caught is not tried again: it may be cut short and go on later.
.PHONY: mutate mutate-list
mutate:
	@BUILD=$(abspath $(BUILD)) scripts/mutate $(MUTATE)

mutate-list:
	@scripts/mutate --list

# Every call that may be refused is, one at a time.
.PHONY: fail fail-quick
FAIL_PROGRAMS := $(patsubst tests/fail/%.c,$(BUILD)/tests/fail/%,$(wildcard tests/fail/*.c))
$(BUILD)/tests/fail/go: FAIL_LINK = -Ishims -Wl,--no-as-needed $(GOLIB_LINK)
$(BUILD)/tests/fail/go: | $(BUILD)/libgoshim.so
$(BUILD)/tests/fail/%: tests/fail/%.c tests/fail/fail_test.h
	$(call say,PROGRAM,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(PROGRAM_FLAGS) $< -o $@ $(FAIL_LINK)

fail: $(FAIL_PROGRAMS) lib
	@BUILD=$(abspath $(BUILD)) scripts/fail sync io signal go
	@BUILD=$(abspath $(BUILD)) scripts/fail -s 41 churn # a guard per stack: thousands of calls

# A few of them: part of `make test`.
fail-quick: $(FAIL_PROGRAMS) lib
	@BUILD=$(abspath $(BUILD)) PROCS=2 scripts/fail -s 17 sync io
	@BUILD=$(abspath $(BUILD)) PROCS=1 scripts/fail -s 31 signal go

# The programs with forced bad luck (core/chaos.c): once per seed. SEEDS, CHAOS_FIRST, CHAOS_PERCENT, PROCS, ONLY
.PHONY: chaos
chaos: $(BUILD)/tests/run_programs $(PROGRAMS) lib
	@BUILD=$(BUILD) TEST_JOBS=$(TEST_JOBS) scripts/chaos $(ONLY)

# The programs of what waits for descriptors, signals and cancellation, where nothing can be registered with the library's epoll.
.PHONY: refused
REFUSED = $(if $(ONLY),$(ONLY),io_ sig_ cancel_)
refused: $(BUILD)/tests/run_programs $(filter $(addprefix $(BUILD)/tests/programs/,$(addsuffix %,$(REFUSED))),$(PROGRAMS)) \
		$(BUILD)/tests/helpers/unwatched lib
	@GOSHIM_SOURCE=$(CURDIR) GOSHIM_BUILD=$(abspath $(BUILD)) RUN_PROGRAMS_UNDER=$(abspath $(BUILD))/tests/helpers/unwatched RUN_PROGRAMS_PROCS=$(or $(PROCS),2) \
		$(BUILD)/tests/run_programs -j$(TEST_JOBS) --filter 'programs/@($(subst $(space),|,$(strip $(REFUSED))))*' $(RUN_FLAGS)

# A few of them: part of `make test`.
.PHONY: refused-quick
refused-quick:
	@$(MAKE) --no-print-directory refused ONLY='sig_masked sig_fd_open sig_eintr io_sockopt'

# The library for aarch64, and the programs of tests/emulator/aarch64 under qemu, natively and with GOMAXPROCS 1 and 2. Needs the cross compiler, its
# libc and qemu-user; says so.
AARCH64_BUILD := $(BUILD)/aarch64
AARCH64_NAMES := $(filter $(ONLY)%,$(shell sed 's/\#.*//' tests/emulator/aarch64))
AARCH64_MAKE = $(MAKE) --no-print-directory ARCH=aarch64 CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++ BUILD=$(AARCH64_BUILD)

.PHONY: test-aarch64
test-aarch64:
	@scripts/setup build test aarch64
	@$(AARCH64_MAKE) lib check-exports
	@$(AARCH64_MAKE) $(addprefix $(AARCH64_BUILD)/tests/programs/,$(AARCH64_NAMES))
	@$(MAKE) --no-print-directory $(AARCH64_BUILD)/host/run_programs $(AARCH64_BUILD)/host/qemu_user.so ONLY=$(ONLY)
	@echo '  RUN      run_programs, under qemu'
	@GOSHIM_BUILD=$(abspath $(AARCH64_BUILD)) GOSHIM_SOURCE=$(CURDIR) RUN_PROGRAMS_UNDER=$(CURDIR)/scripts/under-qemu RUN_PROGRAMS_PROCS=1,2 \
		EMULATOR_FIXES=$(abspath $(AARCH64_BUILD)/host/qemu_user.so) timeout -k 5 1800 $(AARCH64_BUILD)/host/run_programs -j$(TEST_JOBS)

$(AARCH64_BUILD)/host/program_list.inc: force
	@mkdir -p $(@D)
	@printf 'PROGRAM(%s)\n' $(AARCH64_NAMES) | cmp -s - $@ || printf 'PROGRAM(%s)\n' $(AARCH64_NAMES) > $@

$(AARCH64_BUILD)/host/run_programs: tests/run_programs.c $(AARCH64_BUILD)/host/program_list.inc
	$(call say,TEST,$<)
	$(Q)$(CC) -std=gnu11 -g -O1 -Wall -Wextra -Werror -D_GNU_SOURCE -I$(@D) $< -o $@ $(CRITERION)

$(AARCH64_BUILD)/host/qemu_user.so: tests/emulator/qemu_user.c
	$(call say,TEST,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -O1 -Wall -Wextra -Werror -fPIC -shared $< -o $@

# The programs under Debian's stock kernel, and a CPU that lets programs write FS base (scripts/in-kernel). Time limits as with chaos.
.PHONY: test-kernel
test-kernel: $(BUILD)/tests/run_programs $(PROGRAMS) lib
	@BUILD=$(BUILD) scripts/in-kernel --seconds 7200 env GOSHIM_SOURCE=$(CURDIR) GOSHIM_BUILD=$(abspath $(BUILD)) RUN_PROGRAMS_PROCS=$(or $(PROCS),2) \
		RUN_PROGRAMS_SETTINGS=$(or $(SETTINGS),verbose=1) $(BUILD)/tests/run_programs -j1 $(if $(ONLY),--filter 'programs/$(ONLY)*') $(RUN_FLAGS)

# Data races of the library, found while it runs the programs (tests/race). They take longer, and so do their watchdogs.
WATCHED_PROGRAMS = $(if $(ONLY),$(filter $(addprefix $(BUILD)/tests/programs/,$(addsuffix %,$(ONLY))),$(PROGRAMS)),$(PROGRAMS))
WATCHED_RUN = GOSHIM_SOURCE=$(CURDIR) RUN_PROGRAMS_PROCS=$(or $(PROCS),2) RUN_PROGRAMS_SETTINGS=$(or $(SETTINGS),verbose=1) $(BUILD)/tests/run_programs -j$(TEST_JOBS) \
	$(if $(ONLY),--filter 'programs/@($(subst $(space),|,$(strip $(ONLY))))*') $(RUN_FLAGS)
space := $(subst ,, )
RACE_BUILD = $(BUILD)/race
.PHONY: race asan race-quick asan-quick
race: $(BUILD)/tests/run_programs $(WATCHED_PROGRAMS)
	@$(MAKE) --no-print-directory RACE=1 BUILD=$(RACE_BUILD) $(RACE_BUILD)/libgoshim.so
	@mkdir -p $(RACE_BUILD)/tests && ln -sfn $(abspath $(BUILD))/tests/programs $(RACE_BUILD)/tests/programs
	@rm -f $(RACE_BUILD)/log
	@status=0; RUN_PROGRAMS_SLOWER=8 GOSHIM_RACE_LOG=$(abspath $(RACE_BUILD))/log GOSHIM_BUILD=$(abspath $(RACE_BUILD)) $(WATCHED_RUN) || status=1; \
		scripts/race $(RACE_BUILD)/libgoshim.so $(RACE_BUILD)/log || status=1; exit $$status
	@$(if $(ONLY),,$(MAKE) --no-print-directory race-golib)

# goshim.h's programs, the same way. GOLIB_TESTS="NAME NAME": these of tests/golib.
.PHONY: race-golib
race-golib: $(GOLIB) $(addprefix $(BUILD)/tests/examples/gcc-c11/,bounded_buffer fan_out panicking_worker prime_sieve)
	@$(MAKE) --no-print-directory RACE=1 BUILD=$(RACE_BUILD) $(RACE_BUILD)/libgoshim.so
	@BUILD=$(BUILD) scripts/race-golib $(GOLIB_TESTS)

# The library's accesses to its own and the program's memory, watched by AddressSanitizer while it runs the programs. Its runtime comes behind ours in LD_PRELOAD: what the
# library calls of libc is checked by it, and it learns of kernel threads; goroutines have thread-specific data of their own and are threads that it has not seen begin, so
# no switch need be told. (In front, its pthread_create() spins until the new thread runs.) What it would do itself and we do otherwise is off: it looks for leaks by
# stopping kernel threads, and wants signal handlers and alternate stacks of its own. Programs that it makes fail nonetheless: tests/asan/problems.
asan: SETTINGS = verbose=1,bypass=1
ASAN_BUILD = $(BUILD)/asanlib
ASAN_LEFT_OUT = $(shell sed -n 's/^\([a-z]*_[a-z_]*\):.*/\1/p' tests/asan/problems)
asan: $(BUILD)/tests/run_programs $(WATCHED_PROGRAMS)
	@$(MAKE) --no-print-directory ASAN=1 CC=gcc BUILD=$(ASAN_BUILD) $(ASAN_BUILD)/libgoshim.so
	@mkdir -p $(ASAN_BUILD)/tests && ln -sfn $(abspath $(BUILD))/tests/programs $(ASAN_BUILD)/tests/programs
	@ASAN_OPTIONS=detect_leaks=0:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_abort=0:use_sigaltstack=0:allow_user_segv_handler=1:verify_asan_link_order=0 \
		RUN_PROGRAMS_AFTER=:$$(realpath $$(gcc -print-file-name=libasan.so)) GOSHIM_BUILD=$(abspath $(ASAN_BUILD)) $(WATCHED_RUN) \
		$(if $(ONLY),,--filter 'programs/!($(subst $(space),|,$(ASAN_LEFT_OUT)))')

# The programs with the checks of core/debug.c, which end the process where a rule of the runtime's own is broken.
# Not sch_idle and sch_idle_waits, which measure how little an idle process does, because these look all the time; nor sch_stalled, which stops kernel threads for so long
# that they are taken for lost.
DEBUG_BUILD = $(BUILD)/debug
DEBUG_LEFT_OUT = sch_idle sch_idle_waits sch_stalled
.PHONY: debug debug-quick
debug: PROCS = 1,2,8
debug: $(BUILD)/tests/run_programs $(WATCHED_PROGRAMS)
	@$(MAKE) --no-print-directory DEBUG=1 BUILD=$(DEBUG_BUILD) lib
	@mkdir -p $(DEBUG_BUILD)/tests && ln -sfn $(abspath $(BUILD))/tests/programs $(DEBUG_BUILD)/tests/programs
	@GOSHIM_BUILD=$(abspath $(DEBUG_BUILD)) $(WATCHED_RUN) $(if $(ONLY),,--filter 'programs/!($(subst $(space),|,$(DEBUG_LEFT_OUT)))')

# A few of them: part of `make test`.
QUICK := sync_cond sync_rwlock io_echo io_pipe thread_exit
race-quick asan-quick: %-quick:
	@$(MAKE) --no-print-directory $* ONLY='$(QUICK)'

# Each has locks and states of its own: signals, forks, cancellation, timers, thousands of goroutines.
debug-quick:
	@$(MAKE) --no-print-directory debug ONLY='sync_rwlock io_pipe fork_storm thread_join sig_sigwait_race cancel_unwind sch_tree tim_thread pre_spinlock'

# Hours of tests/programs' work in minutes: longer arguments, one after the other. One: make soak ONLY=NAME
SOAKS := $(basename $(notdir $(wildcard tests/stress/*.args)))
$(BUILD)/tests/soak/program_list.inc: force
	@mkdir -p $(@D)
	@printf 'PROGRAM(%s)\n' $(SOAKS) | cmp -s - $@ || printf 'PROGRAM(%s)\n' $(SOAKS) > $@

$(BUILD)/tests/run_soak: tests/run_programs.c $(BUILD)/tests/soak/program_list.inc
	$(call say,TEST,$<)
	$(Q)$(CC) -std=gnu11 -g -O1 -Wall -Wextra -Werror -D_GNU_SOURCE -DSUITE='"stress"' -I$(BUILD)/tests/soak $< -o $@ $(CRITERION)

.PHONY: soak
soak: $(BUILD)/tests/run_soak $(PROGRAMS) lib
	@$(RUN_TEST) $(BUILD)/tests/run_soak -j1 $(if $(ONLY),--filter 'programs/$(ONLY)*')

# Ten million preemptions with a pattern in every register. `make test` does some hundreds.
.PHONY: soak-preempt
soak-preempt: $(BUILD)/tests/unit/test_preempt
	@GOSHIM_PREEMPTIONS=$(or $(PREEMPTIONS),10000000) $(RUN_TEST) $(BUILD)/tests/unit/test_preempt

# GOMAXPROCS changes every 10 ms under full load, for a minute. `make test` does it for seconds.
.PHONY: soak-procs
soak-procs: $(BUILD)/tests/unit/test_ctl $(HELPERS) lib
	@GOSHIM_SECONDS=60 $(RUN_TEST) $(BUILD)/tests/unit/test_ctl --filter 'ctl/gomaxprocs_under_load'

# goshim.h's large figures: a million rounds of select under each of 64 chaos seeds, a million blocked goroutines (14 GB), skynet to its end, the cost of
# cancelling 100,000 contexts.
GOLIB_SEEDS ?= 64
GOLIB_FIRST ?= 1
SELECT_ROUNDS ?= 1000000
GOLIB_ONLY ?= select blocked skynet cancel
.PHONY: soak-golib
soak-golib: $(GOLIB) $(BUILD)/tests/examples/gcc-c11/skynet lib
	@GOLIB_ONLY="$(GOLIB_ONLY)" GOLIB_SEEDS=$(GOLIB_SEEDS) GOLIB_FIRST=$(GOLIB_FIRST) SELECT_ROUNDS=$(SELECT_ROUNDS) BUILD=$(BUILD) scripts/soak-golib

# ---- the rest --------------------------------------------------------------------------------------------------

demo:
	@scripts/setup build demo
	@$(MAKE) --no-print-directory lib
	@BUILD=$(abspath $(BUILD)) scripts/demo

bench:
	@scripts/setup build
	@$(MAKE) --no-print-directory lib
	@BUILD=$(abspath $(BUILD)) scripts/bench

# How long threads wait for their turn, and what preemption costs.
.PHONY: bench-latency
bench-latency:
	@scripts/setup build
	@$(MAKE) --no-print-directory lib
	@BUILD=$(abspath $(BUILD)) scripts/latency $(LATENCY)

# Other people's test suites. make conformance SUITES="glibc python" CONFORMANCE="--runs 3 --only 'tst-cancel*'"
.PHONY: conformance
conformance:
	@scripts/setup build test conformance
	@$(MAKE) --no-print-directory lib
	@BUILD=$(abspath $(BUILD)) scripts/conformance $(SUITES) $(CONFORMANCE)

# All of these, one after the other, and what came of each: LONG="--hours 8 race asan". It goes on where it was cut short.
.PHONY: long
long:
	@BUILD=$(abspath $(BUILD)) scripts/long $(LONG)

.PHONY: servers
servers:
	@scripts/setup build servers
	@$(MAKE) --no-print-directory lib
	@BUILD=$(abspath $(BUILD)) scripts/servers

install: lib
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib
	install -m 755 $(BUILD)/goshim $(DESTDIR)$(PREFIX)/bin/goshim
	install -m 755 $(BUILD)/libgoshim.so $(DESTDIR)$(PREFIX)/lib/libgoshim.so
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 644 shims/goshim.h $(DESTDIR)$(PREFIX)/include/goshim.h
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' shims/goshim.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/goshim.pc
	chmod 644 $(DESTDIR)$(PREFIX)/lib/pkgconfig/goshim.pc
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 preload/goshim.1 $(DESTDIR)$(PREFIX)/share/man/man1/goshim.1

clean:
	rm -rf $(BUILD)

C_FILES = $(wildcard core/*.[ch] shims/*.[ch] preload/*.[ch] arch/*.h arch/*/*.[ch] tests/*.c tests/unit/*.[ch])

format:
	@clang-format -i $(C_FILES)

# Not asked: what cppcheck cannot know of a system call by its number, that it writes where a pointer says (gcc's -Wmaybe-uninitialized is on), of a frame
# that it outlives its callbacks, of a function pointer that it keeps nothing, and that a loop was left before its last value is used.
lint:
	@cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability --inline-suppr --suppress=missingIncludeSystem \
		--suppress=uninitvar --suppress=ctuuninitvar --suppress=autoVariables --suppress=sizeofDereferencedVoidPointer \
		--suppress=returnDanglingLifetime:preload/surface.c --suppress=nullPointerRedundantCheck:core/dump.c \
		-D_GNU_SOURCE -D__x86_64__ -D__EXCEPTIONS $(INCLUDES) core shims preload
	@if command -v shellcheck >/dev/null; then shellcheck scripts/setup .ci/run; fi
	@echo "  lint     clean"
