# Build, tests and checks. `make help` lists the targets.
#
# Nothing is listed by hand: a .c file in one of the layer folders joins that layer's archive, NAME_main.c becomes the
# program build/bin/NAME (underscores become dashes), tests/unit/test_NAME.c a test program, tests/fuzz/fuzz_NAME.c a
# fuzz harness. Every program links against all archives and takes from them only what it uses.
#
# Variants are built side by side from the same rules, one folder each, in one make without recursion:
#   build        release, $(CC) $(CFLAGS)
#   build/asan   clang, AddressSanitizer, UndefinedBehaviorSanitizer, fuzzing coverage: unit tests, attacks, fuzzing
#   build/mcu    the limits of a microcontroller (MP_PROFILE_MCU) on the host
#   build/plain  the simulator by clang -O0: it must give the same results
#   build/size   Cortex-M4 objects, only measured
# `make VARIANT=asan all` builds the programs of another variant. The simulator in build/bin is that of build/mcu.

BUILD ?= build
VARIANT ?= release
FUZZ_SECONDS ?= 60
# auto: with MPI where Open MPI's mpicc is; 0: without; 1: or fail.
MPI ?= auto
PREFIX ?= /usr/local
ifeq ($(origin CC),default)
CC = gcc
endif
CLANG ?= clang
CROSS ?= arm-none-eabi-
CFLAGS ?= -O2 -g
STD_FLAGS = -std=c11 -Wall -Wextra -Wconversion -Wshadow -Wmissing-prototypes -Wswitch-enum -Werror
override CPPFLAGS += -I. -D_GNU_SOURCE
LIBS = -Wl,--as-needed -lsodium -levent -lsqlite3 -lcjson -linih -lbluetooth -lm -pthread $(MPI_LIBS)
# Asked once, but not before `deps` may have installed it; only what refers to MPI is linked with it (--as-needed).
MPI_FOUND = $(eval MPI_FOUND := $$(if $$(filter 0,$$(MPI)),,$$(shell mpicc --showme:version 2>/dev/null)))$(or $(MPI_FOUND),$(if $(filter 1,$(MPI)), \
    $(error MPI=1, but there is no mpicc of Open MPI here; make deps installs it)))
MPI_CPPFLAGS = $(if $(MPI_FOUND),-DSIM_WITH_MPI $(patsubst -I%,-isystem %,$(shell mpicc --showme:compile)))
MPI_LIBS = $(eval MPI_LIBS := $$(if $$(MPI_FOUND),$$(shell mpicc --showme:link)))$(MPI_LIBS)

# As many jobs as there are cores, unless -j says otherwise.
ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := all
ifneq ($(filter clean,$(MAKECMDGOALS)),)
.NOTPARALLEL:
endif

V ?= 0
Q = $(if $(filter 0,$(V)),@)
say = $(if $(filter 0,$(V)),@printf '  %-8s %s\n' $(1) '$(2)')

# --- sources ----------------------------------------------------------------------------------------------------------

LAYERS = proto node port release meshd sim test
proto_DIRS = proto proto/object proto/mesh proto/hci
node_DIRS = node-fw/core node-fw/boot node-fw/store
port_DIRS = node-fw/port node-fw/port/posix node-fw/port/mcuboot node-fw/port/crypto
release_DIRS = meshd/release
meshd_DIRS = meshd/daemon meshd/ctl meshd/web
sim_DIRS = sim sim/radio sim/world sim/air sim/field sim/engine sim/phy sim/fleet sim/baseline sim/result sim/run sim/validate
test_DIRS = tests/lib tests/port
# Folders of test programs: test_NAME.c and NAME_main.c are programs, every other .c file is shared by the folder's programs.
TEST_DIRS = unit attack e2e power bench demo sim emu

LAYER_SRC := $(foreach l,$(LAYERS),$(foreach d,$($(l)_DIRS),$(wildcard $(d)/*.c)))
MAIN_SRC := $(filter %_main.c,$(LAYER_SRC))
TEST_SRC := $(foreach d,$(TEST_DIRS),$(wildcard tests/$(d)/*.c))
FUZZ_SRC := $(wildcard tests/fuzz/*.c)
SIZE_SRC := $(wildcard tests/size/*.c tests/size/part/*.c)
RUN_SRC := $(wildcard tests/run.c)
ALL_SRC := $(LAYER_SRC) $(TEST_SRC) $(FUZZ_SRC) $(RUN_SRC) $(SIZE_SRC)
# The port to fill in is compiled, so that it keeps up with what it is a pattern for.
TEMPLATE_SRC := $(wildcard node-fw/port/template/*.c)
# Of firmware: compiled for parts alone.
PART_SRC := $(wildcard node-fw/port/nrf51/*.c tests/emu/firmware/*.c) $(TEMPLATE_SRC)
ALL_HDR := $(foreach d,proto node-fw meshd sim tests,$(wildcard $(d)/*.h $(d)/*/*.h $(d)/*/*/*.h))

# $(call program_name,FILE) is the program that FILE, a NAME_main.c or test_NAME.c, becomes.
program_name = $(if $(filter %_main.c,$(1)),$(subst _,-,$(patsubst %_main.c,%,$(notdir $(1)))),$(basename $(notdir $(1))))
# $(call test_programs,FOLDER): names of its test_NAME programs.
test_programs = $(patsubst tests/$(1)/%.c,%,$(wildcard tests/$(1)/test_*.c))

# --- packages ---------------------------------------------------------------------------------------------------------

DEPS_PACKAGES_BUILD = gcc libc6-dev libsodium-dev libevent-dev libsqlite3-dev libbluetooth-dev libcjson-dev libinih-dev \
    librandom123-dev
DEPS_PACKAGES_MPI = libopenmpi-dev openmpi-bin
DEPS_PACKAGES_TEST = libcmocka-dev clang libclang-rt-dev
DEPS_PACKAGES_CHECK = clang-tidy clang-format cppcheck
DEPS_PACKAGES_CROSS = gcc-arm-none-eabi libnewlib-arm-none-eabi
DEPS_PACKAGES_PART = $(DEPS_PACKAGES_CROSS) dpkg-dev qemu-system-arm

# What the goals at hand need comes before any compiler runs. `make` alone installs nothing.
DEPS_GOALS_BUILD = deps demo demo-mcu power-mcu sim-demo test unit fuzz bench bench-sim results size check
DEPS_GOALS_MPI = $(if $(filter 0,$(MPI)),,deps sim-demo test unit bench-sim results check)
DEPS_GOALS_TEST = deps test unit fuzz bench check
DEPS_GOALS_CHECK = deps check format
DEPS_GOALS_CROSS = deps bench size check
DEPS_GOALS_PART = deps bench size test demo-mcu power-mcu part-crypto
DEPS_WANTED = $(foreach k,BUILD MPI TEST CHECK CROSS PART,$(if $(filter $(DEPS_GOALS_$(k)),$(MAKECMDGOALS)),$(DEPS_PACKAGES_$(k))))
FIRST = $(if $(strip $(DEPS_WANTED)),deps,hint)

# --- one variant: objects, archives, programs ---------------------------------------------------------------------------

RELEASE_DIR = $(BUILD)
ASAN_DIR = $(BUILD)/asan
MCU_DIR = $(BUILD)/mcu
PLAIN_DIR = $(BUILD)/plain
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

# $(1) layer or folder archive, $(2) variant's folder, $(3) sources
define archive_rules
$(2)/lib/lib$(1).a: $(patsubst %.c,$(2)/obj/%.o,$(3)) $(2)/lib/lib$(1).list
	$$(Q)rm -f $$@
	$$(Q)ar rcsD $$@ $$(filter %.o,$$^)
$(2)/lib/lib$(1).list: FORCE
	$$(Q)mkdir -p $$(@D); echo '$(3)' | cmp -s - $$@ || echo '$(3)' > $$@
endef

# $(1) source with main(), $(2) variant's folder, $(3) variant, $(4) program, $(5) archives beside those of the layers, $(6) more libraries,
# $(7) layers' archives that it does without
define program_rules
$(4): $(patsubst %.c,$(2)/obj/%.o,$(1)) $(5) $$(filter-out $(7),$$($(3)_ARCHIVES))
	$$(call say,LINK,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$($(3)_CC) $$($(3)_CFLAGS) $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LDFLAGS) $(6) $$(LIBS) -o $$@
endef

# $(1) variant, $(2) its folder, $(3) compiler, $(4) flags
define variant_variables
$(1)_CC = $(3)
$(1)_CFLAGS = $(4)
$(1)_ARCHIVES = $(foreach l,$(LAYERS),$(2)/lib/lib$(l).a)
$(1)_OBJ = $(patsubst %.c,$(2)/obj/%.o,$(LAYER_SRC) $(TEST_SRC) $(FUZZ_SRC) $(RUN_SRC))
endef
MPI_OBJ = sim/engine/parallel_mpi sim/engine/parallel_alone
# $(1) variant, $(2) its folder; the variables come first since these rules name them
define variant_rules
$(2)/obj/%.o: %.c $(2)/flags | $$(FIRST)
	$$(call say,CC,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$($(1)_CC) $$(CPPFLAGS) $$(OBJ_FLAGS) $$(STD_FLAGS) $$($(1)_CFLAGS) -MMD -MP -c $$< -o $$@
# What only some objects are compiled with.
$(patsubst %,$(2)/obj/%.o,$(MPI_OBJ)): OBJ_FLAGS = $$(MPI_CPPFLAGS)
$(patsubst %,$(2)/obj/%.o,$(MPI_OBJ)): $(BUILD)/mpi-flags
# Rewritten, which rebuilds everything, only when the command line changed.
$(2)/flags: FORCE
	$$(Q)mkdir -p $$(@D); echo '$$($(1)_CC) $$(CPPFLAGS) $$(STD_FLAGS) $$($(1)_CFLAGS)' | cmp -s - $$@ || \
	    echo '$$($(1)_CC) $$(CPPFLAGS) $$(STD_FLAGS) $$($(1)_CFLAGS)' > $$@
$(foreach l,$(LAYERS),$(eval $(call archive_rules,$(l),$(2),$(filter-out %_main.c,$(foreach d,$($(l)_DIRS),$(wildcard $(d)/*.c))))))
$(foreach d,$(TEST_DIRS),$(eval $(call archive_rules,tests-$(d),$(2),$(filter-out %_main.c tests/$(d)/test_%,$(wildcard tests/$(d)/*.c)))))
$(foreach m,$(filter-out $(if $(filter release,$(1)),sim/meshsim_main.c),$(MAIN_SRC)),$(eval \
    $(call program_rules,$(m),$(2),$(1),$(2)/bin/$(call program_name,$(m)),,,$(if $(filter sim/%,$(m)),%/libmeshd.a %/libtest.a))))
$(foreach d,$(TEST_DIRS),$(foreach m,$(wildcard tests/$(d)/test_*.c tests/$(d)/*_main.c),$(eval \
    $(call program_rules,$(m),$(2),$(1),$(2)/tests/$(d)/$(call program_name,$(m)),$(2)/lib/libtests-$(d).a,$(if $(filter demo sim/bench_sim sim/results sim/sim_demo,$(d) $(patsubst tests/%_main.c,%,$(m))),,-lcmocka)))))
-include $$($(1)_OBJ:.o=.d)
endef

$(eval $(call variant_variables,release,$(RELEASE_DIR),$(CC),$(CFLAGS)))
$(eval $(call variant_variables,asan,$(ASAN_DIR),$(CLANG),-O1 -g $(SANITIZE) -fsanitize=fuzzer-no-link))
$(eval $(call variant_variables,mcu,$(MCU_DIR),$(CC),$(CFLAGS) -DMP_PROFILE_MCU))
$(eval $(call variant_variables,plain,$(PLAIN_DIR),$(CLANG),-O0 -DMP_PROFILE_MCU))
$(eval $(call variant_rules,release,$(RELEASE_DIR)))
$(eval $(call variant_rules,asan,$(ASAN_DIR)))
$(eval $(call variant_rules,mcu,$(MCU_DIR)))
$(eval $(call variant_rules,plain,$(PLAIN_DIR)))
# Objects are reached through pattern rules; keep them.
.SECONDARY:
# Like flags, of the objects that know of MPI.
$(BUILD)/mpi-flags: FORCE | $(FIRST)
	$(Q)mkdir -p $(@D); echo '$(MPI_CPPFLAGS)' | cmp -s - $@ || echo '$(MPI_CPPFLAGS)' > $@

# The simulator is shipped with the limits of a microcontroller: its nodes are what runs on one.
$(BUILD)/bin/meshsim: $(MCU_DIR)/bin/meshsim
	$(Q)mkdir -p $(@D); ln -f $< $@ 2>/dev/null || cp -f $< $@

FUZZERS = $(patsubst tests/fuzz/%.c,$(ASAN_DIR)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
$(ASAN_DIR)/fuzz/%: $(ASAN_DIR)/obj/tests/fuzz/%.o $(patsubst %.c,$(ASAN_DIR)/obj/%.o,$(filter-out tests/fuzz/fuzz_%,$(FUZZ_SRC))) $(asan_ARCHIVES)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(asan_CFLAGS) -fsanitize=fuzzer $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDFLAGS) $(LIBS) -o $@

VARIANT_DIR = $(if $(filter release,$(VARIANT)),$(BUILD),$(BUILD)/$(VARIANT))
PROGRAMS = $(foreach m,$(MAIN_SRC),$(VARIANT_DIR)/bin/$(call program_name,$(m)))

# Node images: build/images/node-VERSION[-FAULT].bin
-include node-fw/port/posix/image.mk
# Cryptography for parts, from libsodium's source
include node-fw/port/crypto/sodium.mk
# Firmware for the nRF51822: build/nrf51/boot.*, build/nrf51/node-VERSION[-FAULT].{a,b}.bin
include node-fw/port/nrf51/nrf51.mk
# Firmware that tests run on emulated parts
include $(wildcard tests/emu/firmware/*.mk)
# Those that the demo and the end-to-end tests install: good ones, and one with each fault.
IMAGES = $(if $(wildcard node-fw/port/posix/node_main.c),$(patsubst %,$(BUILD)/images/node-%.bin, \
    1.0.0 2.0.0 2.1.0 3.0.0-selftest 3.0.1-hang 3.0.2-crash 3.0.3-mute))

# --- targets ----------------------------------------------------------------------------------------------------------

.PHONY: all help deps hint demo demo-mcu power-mcu sim-demo test unit fuzz bench bench-sim results size check format install clean FORCE
FORCE:

all: $(PROGRAMS) ## Programs, into build/bin

help: ## This list
	@echo 'Targets:'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(filter-out %.d,$(MAKEFILE_LIST))
	@echo 'Variables: V=1 shows commands, BUILD= build folder, VARIANT=release|asan|mcu, MPI=auto|0|1, CC=, CFLAGS=, TESTS=pattern (make test)'

# $(call missing,PACKAGES): shell words that set $missing to those that dpkg does not have.
missing = missing=; for p in $(1); do \
	    [ "$$(dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null)" = installed ] || missing="$$missing $$p"; done

# apt-get only runs when dpkg misses something; lists are refreshed once if the first try fails. Its log is kept only when it failed,
# outside the build folder, which must not end up root's when `sudo make deps` comes first.
deps: ## Install the Debian packages that are missing
	@$(call missing,$(DEPS_WANTED)); \
	[ -n "$$missing" ] || exit 0; \
	command -v apt-get >/dev/null || { echo "make deps: no apt-get here; needed:$$missing" >&2; exit 1; }; \
	sudo=; if [ "$$(id -u)" != 0 ]; then \
	    command -v sudo >/dev/null || { echo "make deps: no sudo here; as root: apt-get install --no-install-recommends$$missing" >&2; exit 1; }; \
	    sudo='sudo env DEBIAN_FRONTEND=noninteractive'; fi; \
	echo "installing:$$missing"; export DEBIAN_FRONTEND=noninteractive; \
	get() { $$sudo apt-get -y -q -o DPkg::Lock::Timeout=120 --no-install-recommends install $$missing </dev/null; }; \
	log=$$(mktemp) || exit 1; \
	get >$$log 2>&1 || { $$sudo apt-get -q update >>$$log 2>&1 </dev/null; get >>$$log 2>&1; } || \
	    { tail -20 $$log >&2; echo "make deps: apt-get failed, see $$log" >&2; exit 1; }; \
	rm -f $$log

# Goals that install nothing say at least why the compiler is about to fail.
hint:
	@command -v dpkg-query >/dev/null || exit 0; $(call missing,$(DEPS_PACKAGES_BUILD)); \
	[ -z "$$missing" ] || echo "missing packages, which \`make deps\` installs:$$missing" >&2

# The runner needs no archive, so that it works whatever else is broken.
$(BUILD)/tests/run: $(BUILD)/obj/tests/run.o
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $< $(LDFLAGS) -o $@

# Tests. tests/run.c tells how they are run; docs/TESTING.md what each suite is about.
unit_PROGRAMS = $(addprefix $(ASAN_DIR)/tests/unit/,$(call test_programs,unit))
attack_PROGRAMS = $(addprefix $(ASAN_DIR)/tests/attack/,$(call test_programs,attack))
# The engine's tests again within the limits of a microcontroller.
mcu_PROGRAMS = $(patsubst %,$(MCU_DIR)/tests/unit/test_%,frame neighbour gossip exchange report asking epoch relay node) \
    $(MCU_DIR)/tests/attack/test_mesh_attacks
e2e_PROGRAMS = $(addprefix $(BUILD)/tests/e2e/,$(call test_programs,e2e))
power_PROGRAMS = $(patsubst tests/power/%_main.c,$(BUILD)/tests/power/%,$(wildcard tests/power/*_main.c))
sim_PROGRAMS = $(addprefix $(BUILD)/tests/sim/,$(call test_programs,sim))
emu_PROGRAMS = $(addprefix $(BUILD)/tests/emu/,$(call test_programs,emu))
# What they run on the parts; fragments of firmware add to it.
EMU_IMAGES += $(BUILD)/emu/crypto.bin
fuzz_PROGRAMS = $(FUZZERS)
RUN = $(BUILD)/tests/run -j $(if $(JOBS),$(JOBS),2) -b $(BUILD) $(if $(TESTS),-m '$(TESTS)')
# Longest first, so that the last job is a short one.
SUITES = power sim emu e2e attack unit mcu fuzz
run_list = $(foreach k,$(1),$(addprefix $(k):,$($(k)_PROGRAMS)))
# TESTS=SUITE or SUITE/PATTERN: nothing of the other suites needs to be built.
SUITES_ASKED = $(or $(filter $(firstword $(subst /, ,$(TESTS))),$(SUITES)),$(SUITES))

test: $(BUILD)/tests/run $(foreach k,$(SUITES_ASKED),$($(k)_PROGRAMS)) $(if $(filter sim,$(SUITES_ASKED)),$(PLAIN_DIR)/bin/meshsim) $(if $(filter emu,$(SUITES_ASKED)),$(EMU_IMAGES)) all $(IMAGES) ## Every suite; TESTS=pattern runs a part; last line: N passed, N failed
	@$(if $(TESTS),,$(foreach k,$(SUITES),$(if $($(k)_PROGRAMS),,echo 'make test: suite $(k) is empty' >&2; exit 1;)))\
	$(RUN) -o $(BUILD)/test.json -f 5 $(call run_list,$(SUITES_ASKED))

unit: $(BUILD)/tests/run $(unit_PROGRAMS) ## Unit tests only
	@$(RUN) $(call run_list,unit)

fuzz: $(BUILD)/tests/run $(FUZZERS) ## Fuzz every parser for FUZZ_SECONDS each (60)
	@$(RUN) -f $(FUZZ_SECONDS) $(call run_list,fuzz)

# The main job, end to end, on one machine.
DEMO = $(patsubst tests/demo/%_main.c,$(BUILD)/tests/demo/%,$(wildcard tests/demo/demo_main.c))
DEMO_IMAGES = $(patsubst %,$(BUILD)/images/node-%.bin,1.0.0 2.0.0 3.0.0-selftest 3.0.1-hang)
demo: all $(DEMO_IMAGES) $(DEMO) ## One gateway, 24 nodes, a good release and two bad ones; last line: demo: ok
	@BUILD=$(abspath $(BUILD)) $(or $(DEMO),false)

# The same with emulated microcontrollers beside node processes.
DEMO_MCU = $(BUILD)/tests/demo/demo-mcu
DEMO_MCU_IMAGES = $(patsubst %,$(BUILD)/images/node-%.bin,1.0.0 2.0.0) $(NRF51_DIR)/boot.bin \
    $(call nrf51_images,1.0.0 2.0.0 2.1.0 3.0.1-hang 3.0.2-crash)
demo-mcu: all $(DEMO_MCU_IMAGES) $(DEMO_MCU) ## Eight emulated nRF51822, eight node processes, one gateway, two products; last line: demo-mcu: ok
	@BUILD=$(abspath $(BUILD)) $(DEMO_MCU)

# Long; a few of these cuts are made in `make test`, by tests/emu/test_power_part.c.
POWER_MCU = $(BUILD)/tests/emu/power-mcu
POWER_MCU_IMAGES = $(NRF51_DIR)/boot.bin $(call nrf51_images,1.0.0 2.0.0 2.1.0)
power-mcu: all $(POWER_MCU_IMAGES) $(POWER_MCU) ## Cut the power of emulated nRF51822 200 times; RESETS=, SEED=; last line: power-mcu: ok
	@BUILD=$(abspath $(BUILD)) $(POWER_MCU) $(or $(RESETS),200) 8 $(SEED)

# Every benchmark takes the file to write its JSON object to, and prints what a person wants to read.
BENCHES = $(patsubst tests/bench/%_main.c,$(BUILD)/tests/bench/%,$(wildcard tests/bench/*_main.c))
bench: $(BENCHES) $(BUILD)/size.json all $(IMAGES) ## Rates, sizes and dissemination times, into build/bench.json
	@rm -f $(BUILD)/bench-*.json; parts=$(BUILD)/size.json; \
	for b in $(BENCHES); do part=$(BUILD)/bench-$${b##*/}.json; BUILD=$(abspath $(BUILD)) $$b $$part </dev/null || exit 1; parts="$$parts $$part"; done; \
	awk -f tests/bench/merge.awk $$parts > $(BUILD)/bench.json.part && mv $(BUILD)/bench.json.part $(BUILD)/bench.json && cat $(BUILD)/bench.json

# The simulator's own: built with the limits that it ships with.
sim-demo: all $(BUILD)/tests/sim/sim-demo ## One building, five ways to update it, a bad release; writes build/sim-demo/report.html
	@BUILD=$(abspath $(BUILD)) $(BUILD)/tests/sim/sim-demo $(BUILD)/sim-demo

bench-sim: $(MCU_DIR)/tests/sim/bench-sim ## Rate and size of the simulator, into build/bench-sim.json
	@$(MCU_DIR)/tests/sim/bench-sim $(BUILD)/bench-sim.json

# Long, unless QUICK=1 or SMALL=1; what is there already is not run again.
results: all $(BUILD)/tests/sim/results ## The protocol's figures from the simulator, into docs/RESULTS.md and build/results.json
	@BUILD=$(abspath $(BUILD)) $(BUILD)/tests/sim/results $(if $(QUICK),--quick,$(if $(SMALL),--small)) $(BUILD)/results$(if $(QUICK),-quick) $(BUILD)/results.json \
	    $(if $(QUICK),$(BUILD)/RESULTS.md,docs/RESULTS.md)

# --- size -------------------------------------------------------------------------------------------------------------

include tests/size/size.mk

# --- checks -----------------------------------------------------------------------------------------------------------

CHECK_DIR = $(BUILD)/check
TIDY_SRC = $(ALL_SRC)
.PHONY: check-warnings check-includes check-headers check-tidy check-cppcheck check-format
check: check-warnings check-includes check-headers check-format check-cppcheck check-tidy ## Warnings (gcc, clang, ARM), include directions, format, cppcheck, clang-tidy
	@echo 'check: ok'

# Compiled with -Werror: release is gcc, asan is clang.
check-warnings: $(release_OBJ) $(asan_OBJ) $(mcu_OBJ) $(call size_obj,$(proto_DIRS) $(node_DIRS) $(SIZE_PART)) \
    $(call nrf51_obj,$(NRF51_BOOT_SRC) $(NRF51_NODE_SRC) $(TEMPLATE_SRC))
check-includes: tests/check_includes.sh
	@sh tests/check_includes.sh
check-format: | $(FIRST)
	@clang-format --dry-run -Werror $(ALL_SRC) $(PART_SRC) $(ALL_HDR)
# Each header compiles by itself, and twice.
check-headers: $(CHECK_DIR)/headers.ok
$(CHECK_DIR)/headers.ok: $(ALL_HDR) | $(FIRST)
	$(call say,HEADERS,$(words $(ALL_HDR)))
	$(Q)mkdir -p $(@D)
	$(Q)fail=0; for h in $(ALL_HDR); do printf '#include "%s"\n#include "%s"\n' $$h $$h | \
	    $(CC) $(CPPFLAGS) $(STD_FLAGS) -fsyntax-only -x c - || { echo "$$h:1: does not compile by itself" >&2; fail=1; }; done; exit $$fail
	$(Q)touch $@
check-cppcheck: | $(FIRST)
	$(call say,CPPCHECK,$(words $(ALL_SRC)))
	$(Q)mkdir -p $(CHECK_DIR)/cppcheck
	$(Q)cppcheck --quiet -j 2 --std=c11 --cppcheck-build-dir=$(CHECK_DIR)/cppcheck --enable=warning,performance,portability \
	    --inline-suppr --error-exitcode=1 --suppressions-list=.cppcheck $(CPPFLAGS) $(ALL_SRC) $(PART_SRC)
check-tidy: $(patsubst %.c,$(CHECK_DIR)/%.tidy,$(TIDY_SRC))
$(CHECK_DIR)/%.tidy: %.c .clang-tidy | $(FIRST)
	$(call say,TIDY,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) -MM -MP -MT $@ -MF $@.d $<
	$(Q)clang-tidy --quiet $< -- $(CPPFLAGS) $(if $(filter $(MPI_OBJ:=.c),$<),$(MPI_CPPFLAGS)) $(STD_FLAGS) > $@.log 2>&1 || { grep -E ': (error|warning):' $@.log; echo '    all of it: $@.log'; exit 1; }
	$(Q)touch $@
-include $(patsubst %.c,$(CHECK_DIR)/%.tidy.d,$(TIDY_SRC))

format: | $(FIRST) ## Format all sources
	clang-format -i $(ALL_SRC) $(PART_SRC) $(ALL_HDR)

# --- install ----------------------------------------------------------------------------------------------------------

INSTALLED = meshd meshctl meshsim node-boot
install: all ## Programs and documents, under DESTDIR and PREFIX (/usr/local)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/doc/meshfw
	install $(addprefix $(VARIANT_DIR)/bin/,$(INSTALLED)) $(DESTDIR)$(PREFIX)/bin
	install -m 644 README.md LICENSE $(wildcard docs/*.md) $(DESTDIR)$(PREFIX)/share/doc/meshfw

clean: ## Remove the build folder
	rm -rf $(BUILD)
