# Firmware that answers questions about cryptography; test_crypto_part.c asks them.

CRYPTO_PART = $(BUILD)/emu/crypto
CRYPTO_PART_FLAGS = $(SODIUM_CPU_m0) -Os -g -ffreestanding -ffunction-sections -fdata-sections
CRYPTO_PART_OBJ = $(CRYPTO_PART)/firmware.o $(CRYPTO_PART)/cases.o
$(CRYPTO_PART)/firmware.o: tests/emu/firmware/crypto.c | $(FIRST)
$(CRYPTO_PART)/cases.o: tests/emu/crypto_cases.c | $(FIRST)
$(CRYPTO_PART_OBJ): tests/emu/firmware/crypto.mk
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CROSS)gcc $(CPPFLAGS) $(STD_FLAGS) $(CRYPTO_PART_FLAGS) -MMD -MP -c $(filter %.c,$^) -o $@
$(CRYPTO_PART).elf: $(CRYPTO_PART_OBJ) $(SODIUM_LIB_m0) tests/emu/firmware/crypto.ld
	$(call say,FIRMWARE,$@)
	$(Q)$(CROSS)gcc $(SODIUM_CPU_m0) -nostartfiles --specs=nano.specs -T tests/emu/firmware/crypto.ld -Wl,--gc-sections -Wl,--no-warn-rwx-segments \
	    -Wl,-Map=$(CRYPTO_PART).map $(CRYPTO_PART_OBJ) $(SODIUM_LIB_m0) -o $@
$(CRYPTO_PART).bin: $(CRYPTO_PART).elf
	$(Q)$(CROSS)objcopy -O binary $< $@
-include $(CRYPTO_PART_OBJ:.o=.d)
