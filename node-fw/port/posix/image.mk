# Node images: whole builds of the node program, as a release engineer would sign them.
#
#   make image VERSION=2.0.0                  build/images/node-2.0.0.bin
#   make image VERSION=3.0.0 FAULT=selftest   build/images/node-3.0.0-selftest.bin  (faults: fault.h)
#
# Stripped, linked dynamically with libsodium and libc alone, with the limits of a microcontroller. A rule refuses what is larger than IMAGE_MAX.

IMAGE_DIR = $(BUILD)/images
IMAGE_MAX = 98304
IMAGE_PORT = node-fw/port/posix
IMAGE_CFLAGS = -Os $(if $(findstring clang,$(CC)),,-flto -flto-partition=one) -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables -fno-ident -DMP_PROFILE_MCU
IMAGE_LDFLAGS = -s -Wl,--gc-sections -Wl,-z,noseparate-code -Wl,--build-id=none -Wl,--as-needed
# What every image shares; the rest is compiled once an image, with its version and fault.
IMAGE_SRC := $(foreach d,proto proto/object proto/mesh proto/hci node-fw/core node-fw/boot node-fw/store node-fw/port node-fw/port/crypto,$(wildcard $(d)/*.c)) \
    $(addprefix $(IMAGE_PORT)/,app_sensor.c flash_file.c layout.c link.c log.c port_posix.c)
IMAGE_OWN := $(addprefix $(IMAGE_PORT)/,app_fault.c node_main.c)
IMAGE_OBJ = $(patsubst %.c,$(IMAGE_DIR)/obj/%.o,$(IMAGE_SRC))
image_FAULT_ = FAULT_NONE
image_FAULT_selftest = FAULT_SELFTEST
image_FAULT_hang = FAULT_HANG
image_FAULT_crash = FAULT_CRASH
image_FAULT_mute = FAULT_MUTE
# $(call image_part,N,STEM): word N of a stem VERSION or VERSION-FAULT
image_part = $(word $(1),$(subst -, ,$(2)))

$(IMAGE_DIR)/obj/%.o: %.c $(IMAGE_PORT)/image.mk | $(FIRST)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(STD_FLAGS) $(IMAGE_CFLAGS) -MMD -MP -c $< -o $@

$(IMAGE_DIR)/node-%.bin: $(IMAGE_OBJ) $(IMAGE_OWN) $(wildcard $(IMAGE_PORT)/*.h)
	$(if $(image_FAULT_$(call image_part,2,$*)),,$(error no such fault: $*))
	$(call say,IMAGE,$@)
	$(Q)$(CC) $(CPPFLAGS) $(STD_FLAGS) $(IMAGE_CFLAGS) -DNODE_VERSION='"$(call image_part,1,$*)"' \
	    -DNODE_FAULT=$(image_FAULT_$(call image_part,2,$*)) $(IMAGE_OWN) $(IMAGE_OBJ) $(IMAGE_LDFLAGS) -lsodium -o $@.tmp
	$(Q)size=$$(stat -c %s $@.tmp); [ $$size -le $(IMAGE_MAX) ] || { echo "$@: $$size bytes, more than $(IMAGE_MAX)" >&2; exit 1; }
	$(Q)mv $@.tmp $@

.PHONY: image
VERSION ?= 1.0.0
image: $(IMAGE_DIR)/node-$(VERSION)$(addprefix -,$(filter-out none,$(FAULT))).bin ## A node image: VERSION=2.0.0 [FAULT=selftest|hang|crash|mute]

-include $(IMAGE_OBJ:.o=.d)
