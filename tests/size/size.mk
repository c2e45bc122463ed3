# What the firmware takes: `make size` measures the nRF51's bootloader and image (m0), and the same sources linked for a
# Cortex-M4 (m4), which is never run.
#
#   $(BUILD)/size/m0/{boot,slot}.dis   disassembly, of what node-fw/port/nrf51/nrf51.mk builds
#   $(BUILD)/size/m4/{boot,slot}.elf
#   $(BUILD)/size/M0|M4/stack.txt      deepest stacks and their paths (tests/lib/stack.h)
#   $(BUILD)/size/cost.txt             what it costs to run, by running it (cost_main.c)
#   $(BUILD)/size.json

SIZE_DIR = $(BUILD)/size
SIZE_PART = tests/size/part
SIZE_IMAGE = node-1.0.0

# --- the protocol alone, as a Cortex-M4 links it: what node-fw's own code and part/entry.c reach ----------------------

M4_FLAGS = -mcpu=cortex-m4 -mthumb -Os -ffunction-sections -fdata-sections -DMP_PROFILE_MCU
size_obj = $(patsubst %.c,$(SIZE_DIR)/obj/%.o,$(foreach d,$(1),$(wildcard $(d)/*.c)))
$(SIZE_DIR)/obj/%.o: %.c $(SIZE_DIR)/flags | $(FIRST)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CROSS)gcc $(CPPFLAGS) $(STD_FLAGS) $(M4_FLAGS) -MMD -MP -c $< -o $@
$(SIZE_DIR)/flags: FORCE
	$(Q)mkdir -p $(@D); echo '$(M4_FLAGS) $(STD_FLAGS)' | cmp -s - $@ || echo '$(M4_FLAGS) $(STD_FLAGS)' > $@
$(eval $(call archive_rules,proto,$(SIZE_DIR),$(foreach d,$(proto_DIRS),$(wildcard $(d)/*.c))))
$(eval $(call archive_rules,node,$(SIZE_DIR),$(foreach d,$(node_DIRS),$(wildcard $(d)/*.c))))
-include $(patsubst %.o,%.d,$(call size_obj,$(proto_DIRS) $(node_DIRS)) $(SIZE_DIR)/obj/$(SIZE_PART)/entry.o)

$(SIZE_DIR)/node.elf: $(SIZE_PART)/entry.ld $(SIZE_DIR)/obj/$(SIZE_PART)/entry.o $(SIZE_DIR)/lib/libproto.a $(SIZE_DIR)/lib/libnode.a
	$(call say,LINK,$@)
	$(Q)$(CROSS)gcc $(M4_FLAGS) -nostartfiles --specs=nano.specs --specs=nosys.specs -Wl,--gc-sections -Wl,--no-warn-rwx-segments \
	    -Wl,-Map=$(SIZE_DIR)/node.map -T $< $(filter %.o,$^) -Wl,--whole-archive $(SIZE_DIR)/lib/libnode.a \
	    -Wl,--no-whole-archive $(SIZE_DIR)/lib/libproto.a -o $@

# --- the firmware for a Cortex-M4 -------------------------------------------------------------------------------------

SIZE_M4 = $(SIZE_DIR)/m4
# Optimised as a whole, as the POSIX node is. What the linker script or this Makefile tells by its object's name is not.
SIZE_M4_FLAGS = $(subst $(SODIUM_CPU_m0),$(SODIUM_CPU_m4),$(NRF51_FLAGS)) -flto
SIZE_M4_LDFLAGS = $(subst $(SODIUM_CPU_m0),$(SODIUM_CPU_m4),$(NRF51_LDFLAGS)) -Os -g -flto -flto-partition=one
$(patsubst %,$(SIZE_M4)/obj/$(NRF51_PORT)/%.o,app_sensor app_fault mem): SIZE_M4_FLAGS += -fno-lto
size_m4_obj = $(patsubst %.c,$(SIZE_M4)/obj/%.o,$(1))
SIZE_M4_OWN = $(addprefix $(NRF51_PORT)/,$(NRF51_OWN:=.c))
$(SIZE_M4)/obj/$(NRF51_PORT)/mem.o: SIZE_M4_FLAGS += -ffreestanding -fno-tree-loop-distribute-patterns
$(SIZE_M4)/obj/%.o: %.c $(SIZE_M4)/flags | $(FIRST)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CROSS)gcc $(CPPFLAGS) $(STD_FLAGS) $(SIZE_M4_FLAGS) -DNODE_FAULT=$(image_FAULT_) -MMD -MP -c $< -o $@
$(SIZE_M4)/flags: FORCE
	$(Q)mkdir -p $(@D); echo '$(CPPFLAGS) $(STD_FLAGS) $(SIZE_M4_FLAGS)' | cmp -s - $@ || echo '$(CPPFLAGS) $(STD_FLAGS) $(SIZE_M4_FLAGS)' > $@
-include $(patsubst %.o,%.d,$(call size_m4_obj,$(sort $(NRF51_BOOT_SRC) $(NRF51_NODE_SRC) $(SIZE_M4_OWN))))
$(SIZE_M4)/boot.elf: $(NRF51_DIR)/boot.ld $(call size_m4_obj,$(NRF51_BOOT_SRC)) $(SODIUM_LIB_m4)
	$(call say,LINK,$@)
	$(Q)$(CROSS)gcc $(SIZE_M4_LDFLAGS) -T $< $(filter %.o %.a,$^) -Wl,-Map=$(@:.elf=.map) -o $@
$(SIZE_M4)/slot.elf: $(NRF51_DIR)/slot.a.ld $(call size_m4_obj,$(SIZE_M4_OWN) $(NRF51_NODE_SRC))
	$(call say,LINK,$@)
	$(Q)$(CROSS)gcc $(SIZE_M4_LDFLAGS) -T $< $(filter %.o,$^) -Wl,-Map=$(@:.elf=.map) -o $@

# --- stacks -----------------------------------------------------------------------------------------------------------

SIZE_DUMP = $(CROSS)objdump --disassemble --line-numbers --no-show-raw-insn
$(SIZE_DIR)/m0/boot.dis: $(NRF51_DIR)/boot.elf
	$(Q)mkdir -p $(@D); $(SIZE_DUMP) $< > $@
$(SIZE_DIR)/m0/slot.dis: $(NRF51_DIR)/$(SIZE_IMAGE).a.elf
	$(Q)mkdir -p $(@D); $(SIZE_DUMP) $< > $@
$(SIZE_M4)/%.dis: $(SIZE_M4)/%.elf
	$(Q)$(SIZE_DUMP) $< > $@
SIZE_STACK = $(BUILD)/tests/size/stack
$(SIZE_STACK): $(BUILD)/obj/tests/size/stack_main.o $(BUILD)/obj/tests/lib/stack.o $(BUILD)/obj/tests/lib/stack_code.o
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $^ $(LDFLAGS) -o $@
$(SIZE_DIR)/%/stack.txt: $(SIZE_DIR)/%/boot.dis $(SIZE_DIR)/%/slot.dis tests/size/indirect.txt $(SIZE_STACK)
	$(call say,STACK,$@)
	$(Q)$(SIZE_STACK) tests/size/indirect.txt boot=$(SIZE_DIR)/$*/boot.dis slot=$(SIZE_DIR)/$*/slot.dis > $@

# --- cost: an image of the part that measures itself, and who runs it ---------------------------------------------------

SIZE_COST = $(SIZE_DIR)/cost
# By its name an application: its own data are no part of the budget of RAM that slot.ld checks.
SIZE_COST_OBJ = $(SIZE_DIR)/app_cost.o
$(SIZE_COST_OBJ): $(SIZE_PART)/cost.c $(NRF51_DIR)/flags | $(FIRST)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CROSS)gcc $(CPPFLAGS) $(STD_FLAGS) $(NRF51_FLAGS) -MMD -MP -c $< -o $@
-include $(SIZE_COST_OBJ:.o=.d)
$(SIZE_COST).%.elf: $(NRF51_DIR)/slot.%.ld $(SIZE_COST_OBJ) $(call nrf51_obj,$(NRF51_NODE_SRC))
	$(call say,LINK,$@)
	$(Q)$(CROSS)gcc $(NRF51_LDFLAGS) -T $< $(filter %.o,$^) -o $@
$(SIZE_COST).%.bin: $(SIZE_COST).%.elf
	$(Q)$(CROSS)objcopy -O binary $< $@
# Not all of tests/lib: some of it needs packages that tests need.
SIZE_COST_OBJ_HOST = $(patsubst %,$(BUILD)/obj/tests/%.o,size/cost_main $(addprefix lib/,fleet_process part_flash qemu qemu_elf qemu_gdb qemu_qmp sign))
SIZE_COST_ARCHIVES = $(foreach l,node port proto,$(BUILD)/lib/lib$(l).a)
$(BUILD)/tests/size/cost: $(SIZE_COST_OBJ_HOST) $(SIZE_COST_ARCHIVES)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(SIZE_COST_OBJ_HOST) -Wl,--start-group $(SIZE_COST_ARCHIVES) -Wl,--end-group $(LDFLAGS) $(LIBS) -o $@
-include $(BUILD)/obj/tests/size/cost_main.d $(BUILD)/obj/tests/size/stack_main.d
$(SIZE_COST).txt: $(BUILD)/tests/size/cost $(NRF51_DIR)/boot.bin $(SIZE_COST).a.bin $(SIZE_COST).b.bin $(call nrf51_images,$(SIZE_IMAGE:node-%=%))
	$(call say,RUN,$@)
	$(Q)$< $(NRF51_DIR)/boot.bin $(SIZE_COST) $(SIZE_COST).a.elf $(NRF51_DIR)/$(SIZE_IMAGE) > $@

# --- the report -------------------------------------------------------------------------------------------------------

$(BUILD)/size.json: $(SIZE_DIR)/node.elf $(SIZE_M4)/boot.elf $(SIZE_M4)/slot.elf $(SIZE_DIR)/m0/stack.txt $(SIZE_M4)/stack.txt \
    $(SIZE_COST).txt tests/size/report.sh tests/size/map.awk
	$(Q)sh tests/size/report.sh $(CROSS) $(SIZE_DIR) $(NRF51_DIR)/boot.elf $(NRF51_DIR)/$(SIZE_IMAGE).a.elf > $@

size: $(BUILD)/size.json ## Flash, RAM, stack and cost of the firmware on Cortex-M0 and M4, into build/size.json; fails above budget
	@sh tests/size/check.sh $(BUILD)/size.json $(SIZE_DIR)
