# Preliminary; see `make help`.
BUILD ?= build
CC ?= gcc
CFLAGS ?= -O2 -g
WARN = -std=c11 -Wall -Wextra -Wconversion -Wshadow -Wmissing-prototypes -Wswitch-enum -Werror
CPPFLAGS += -I. -D_GNU_SOURCE
LIBS = -lsodium -levent -lsqlite3 -lcjson -linih -lm
DIRS = proto proto/object proto/mesh proto/hci node-fw/core node-fw/boot node-fw/store node-fw/port/crypto node-fw/port/posix \
       meshd/release meshd/daemon meshd/ctl sim sim/radio sim/world sim/air tests/lib
SRC = $(foreach d,$(DIRS),$(wildcard $(d)/*.c))
MAIN = $(filter %_main.c,$(SRC))
OBJ = $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out %_main.c,$(SRC)))
TESTS = $(patsubst tests/unit/test_%.c,$(BUILD)/tests/test_%,$(wildcard tests/unit/test_*.c))
BIN = $(foreach m,$(MAIN),$(BUILD)/bin/$(subst _,-,$(patsubst %_main.c,%,$(notdir $(m)))))

all: $(BIN)
$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(WARN) $(CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/liball.a: $(OBJ)
	@rm -f $@
	ar rcs $@ $^
define BIN_RULE
$(BUILD)/bin/$(subst _,-,$(patsubst %_main.c,%,$(notdir $(1)))): $(BUILD)/obj/$(1:.c=.o) $(BUILD)/liball.a
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) $$^ $$(LIBS) -o $$@
endef
$(foreach m,$(MAIN),$(eval $(call BIN_RULE,$(m))))
$(BUILD)/tests/test_%: tests/unit/test_%.c $(BUILD)/liball.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(WARN) $(CFLAGS) -MMD -MP $< $(BUILD)/liball.a $(LIBS) -lcmocka -o $@
unit: $(TESTS)
	@for t in $(TESTS); do $$t || exit 1; done
.PHONY: all unit
-include $(OBJ:.o=.d)
