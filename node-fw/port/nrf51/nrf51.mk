# Firmware for the nRF51822: bootloader, and node images as a release engineer would sign them.
#
#   $(BUILD)/nrf51/boot.{elf,bin,hex}                       written once, by the programmer
#   $(BUILD)/nrf51/node-VERSION[-FAULT].{a,b}.{elf,bin}     two links of one build, for `meshctl image pack` with
#                                                           --base-a $(NRF51_BASE_A) --base-b $(NRF51_BASE_B)
#
# Faults as in fault.h. The same sources give the same bytes, wherever and whenever they are built.

NRF51_DIR = $(BUILD)/nrf51
NRF51_PORT = node-fw/port/nrf51
# As in map.h.
NRF51_BASE_A = 0x10000
NRF51_BASE_B = 0x28000
NRF51_FLAGS = $(SODIUM_CPU_m0) -Os -g -ffunction-sections -fdata-sections -fno-ident -fno-common -fdebug-prefix-map=$(CURDIR)=. \
    -DMP_PROFILE_MCU -DNF_LOOP_LOG=0
NRF51_LDFLAGS = $(SODIUM_CPU_m0) -nostartfiles --specs=nano.specs -Wl,--gc-sections -Wl,--no-warn-rwx-segments -Wl,--build-id=none

NRF51_CORE := $(foreach d,proto proto/object proto/mesh proto/hci node-fw/core node-fw/boot node-fw/store,$(wildcard $(d)/*.c))
NRF51_PART := $(addprefix $(NRF51_PORT)/,clock.c flash.c layout.c mem.c reset.c stack.c start.c uart.c)
NRF51_BOOT_SRC := $(addprefix $(NRF51_PORT)/,boot_main.c boot_start.c watchdog.c) $(NRF51_PART) $(NRF51_CORE)
NRF51_NODE_SRC := $(addprefix $(NRF51_PORT)/,app_sensor.c port.c rng.c slot_start.c) node-fw/port/app.c node-fw/port/loop.c $(NRF51_PART) $(NRF51_CORE)
# Compiled once an image, with its version and fault.
NRF51_OWN = app_fault node_main
nrf51_obj = $(patsubst %.c,$(NRF51_DIR)/obj/%.o,$(1))

# It defines what the compiler would otherwise put in its place.
$(NRF51_DIR)/obj/$(NRF51_PORT)/mem.o: NRF51_FLAGS += -ffreestanding -fno-tree-loop-distribute-patterns
$(NRF51_DIR)/obj/%.o: %.c $(NRF51_DIR)/flags | $(FIRST)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CROSS)gcc $(CPPFLAGS) $(STD_FLAGS) $(NRF51_FLAGS) -MMD -MP -c $< -o $@
$(NRF51_DIR)/flags: FORCE
	$(Q)mkdir -p $(@D); echo '$(CPPFLAGS) $(STD_FLAGS) $(NRF51_FLAGS)' | cmp -s - $@ || echo '$(CPPFLAGS) $(STD_FLAGS) $(NRF51_FLAGS)' > $@
-include $(patsubst %.o,%.d,$(call nrf51_obj,$(NRF51_BOOT_SRC) $(NRF51_NODE_SRC))) $(wildcard $(NRF51_DIR)/own/*/*.d)

# $(NRF51_DIR)/own/STEM/NAME.o
$(NRF51_DIR)/own/%.o: $(NRF51_PORT)/nrf51.mk $(wildcard $(NRF51_PORT)/*.[ch]) $(NRF51_DIR)/flags | $(FIRST)
	$(if $(image_FAULT_$(call image_part,2,$(patsubst %/,%,$(dir $*)))),,$(error no such fault: $*))
	$(Q)mkdir -p $(@D)
	$(Q)$(CROSS)gcc $(CPPFLAGS) $(STD_FLAGS) $(NRF51_FLAGS) -DNODE_VERSION='"$(call image_part,1,$(patsubst %/,%,$(dir $*)))"' \
	    -DNODE_FAULT=$(image_FAULT_$(call image_part,2,$(patsubst %/,%,$(dir $*)))) -MMD -MP -c $(NRF51_PORT)/$(notdir $*).c -o $@

# Linker scripts go through the preprocessor, which gives them the flash map.
$(NRF51_DIR)/boot.ld $(NRF51_DIR)/slot.a.ld $(NRF51_DIR)/slot.b.ld: $(NRF51_PORT)/boot.ld $(NRF51_PORT)/slot.ld $(NRF51_PORT)/map.h | $(FIRST)
	$(Q)mkdir -p $(@D)
	$(Q)$(CROSS)gcc -E -P -x c $(if $(findstring slot.a,$@),-DSLOT=NRF51_SLOT_A,$(if $(findstring slot.b,$@),-DSLOT=NRF51_SLOT_B)) \
	    $(NRF51_PORT)/$(if $(findstring slot,$@),slot,boot).ld -o $@

$(NRF51_DIR)/boot.elf: $(NRF51_DIR)/boot.ld $(call nrf51_obj,$(NRF51_BOOT_SRC)) $(SODIUM_LIB_m0)
	$(call say,LINK,$@)
	$(Q)$(CROSS)gcc $(NRF51_LDFLAGS) -T $< $(filter %.o %.a,$^) -Wl,-Map=$(@:.elf=.map) -o $@

# $(1) slot
define nrf51_link
$(NRF51_DIR)/node-%.$(1).elf: $(NRF51_DIR)/slot.$(1).ld $(foreach n,$(NRF51_OWN),$(NRF51_DIR)/own/%/$(n).o) $(call nrf51_obj,$(NRF51_NODE_SRC))
	$$(call say,LINK,$$@)
	$$(Q)$(CROSS)gcc $(NRF51_LDFLAGS) -T $$< $$(filter %.o,$$^) -Wl,-Map=$$(@:.elf=.map) -o $$@
endef
$(eval $(call nrf51_link,a))
$(eval $(call nrf51_link,b))

$(NRF51_DIR)/%.bin: $(NRF51_DIR)/%.elf
	$(Q)$(CROSS)objcopy -O binary $< $@
$(NRF51_DIR)/%.hex: $(NRF51_DIR)/%.elf
	$(Q)$(CROSS)objcopy -O ihex $< $@

# $(call nrf51_images,STEMS): what they are built to.
nrf51_images = $(foreach s,$(1),$(NRF51_DIR)/node-$(s).a.bin $(NRF51_DIR)/node-$(s).b.bin)

.PHONY: part
part: $(NRF51_DIR)/boot.hex $(call nrf51_images,$(VERSION)$(addprefix -,$(filter-out none,$(FAULT)))) ## nRF51 bootloader and image: VERSION=2.0.0 [FAULT=selftest|hang|crash|mute]

# What the tests of emulated parts and the demonstration install: good ones, and one with each fault.
NRF51_STEMS = 1.0.0 2.0.0 2.1.0 3.0.0-selftest 3.0.1-hang 3.0.2-crash 3.0.3-mute
NRF51_IMAGES = $(NRF51_DIR)/boot.bin $(call nrf51_images,$(NRF51_STEMS))
EMU_IMAGES += $(NRF51_IMAGES)
