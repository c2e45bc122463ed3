# The conformance test of ports (tests/port) as an image for slot A of the nRF51; test_conform_part.c provisions it.

CONFORM_SRC := tests/emu/firmware/conform.c $(filter-out %/tester.c,$(wildcard tests/port/*.c)) $(filter-out %/app_sensor.c,$(NRF51_NODE_SRC)) node-fw/port/line.c node-fw/port/cause.c
EMU_IMAGES += $(NRF51_DIR)/conform.elf $(NRF51_DIR)/conform.bin

$(NRF51_DIR)/conform.elf: $(NRF51_DIR)/slot.a.ld $(call nrf51_obj,$(CONFORM_SRC))
	$(call say,LINK,$@)
	$(Q)$(CROSS)gcc $(NRF51_LDFLAGS) -T $< $(filter %.o,$^) -o $@
-include $(patsubst %.o,%.d,$(call nrf51_obj,$(CONFORM_SRC)))
