# Firmware for the test of the emulation rig itself; no part of a node.

RIG_FLAGS = -mcpu=cortex-m0 -mthumb -Os -g -ffreestanding
EMU_IMAGES += $(BUILD)/emu/rig.elf $(BUILD)/emu/rig.bin

$(BUILD)/emu/rig.elf: tests/emu/firmware/rig.c tests/emu/firmware/rig.ld tests/emu/firmware/rig.mk | $(FIRST)
	$(call say,FIRMWARE,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CROSS)gcc $(STD_FLAGS) $(RIG_FLAGS) -nostdlib -T tests/emu/firmware/rig.ld -Wl,--fatal-warnings $< -lgcc -o $@
$(BUILD)/emu/rig.bin: $(BUILD)/emu/rig.elf
	$(Q)$(CROSS)objcopy -O binary $< $@
