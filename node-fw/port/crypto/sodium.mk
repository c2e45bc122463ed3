# Cryptography for parts: libsodium's verification and hashes from Debian's source package, and the table of them.
#
# Interface, for each CPU of SODIUM_CPUS (m0, m4):
#   $(SODIUM_LIB_m0)   archive $(BUILD)/crypto/m0/libsodium.a: what crypto_table.h declares, and of libsodium what that
#                      needs. Link it with -Wl,--gc-sections; it wants memcpy, memmove, memset and the compiler's libgcc only.
#   $(SODIUM_CPU_m0)   the CPU's compiler flags
# Programs that include crypto_table.h need nothing of libsodium's headers.
# SODIUM_SOURCE=folder builds from a source that is unpacked already, instead of fetching Debian's into $(BUILD)/crypto.

SODIUM_CPUS = m0 m4
SODIUM_CPU_m0 = -mcpu=cortex-m0 -mthumb
SODIUM_CPU_m4 = -mcpu=cortex-m4 -mthumb
CRYPTO_PORT = node-fw/port/crypto
CRYPTO_DIR = $(BUILD)/crypto
SODIUM_SOURCE ?= $(CRYPTO_DIR)/libsodium
SODIUM_CORE = $(SODIUM_SOURCE)/src/libsodium
# All that the table needs; nothing of it draws random numbers or allocates.
SODIUM_FILES = crypto_core/ed25519/ref10/ed25519_ref10 crypto_hash/sha256/cp/hash_sha256_cp crypto_shorthash/siphash24/ref/shorthash_siphash24_ref \
    crypto_sign/ed25519/ref10/open crypto_sign/ed25519/ref10/sign crypto_verify/sodium/verify sodium/utils
# As libsodium's configure would find them for these CPUs. Its own warnings are its own business.
SODIUM_FLAGS = -std=gnu11 -Os -ffunction-sections -fdata-sections -fno-ident -w -DNDEBUG -DCONFIGURED=1 -DNATIVE_LITTLE_ENDIAN=1 -DSODIUM_STATIC \
    -I$(SODIUM_CORE)/include -I$(SODIUM_CORE)/include/sodium -I$(SODIUM_CORE)/crypto_sign/ed25519/ref10
# Verification takes these two from crypto_small.c, which saves 12 KB; libsodium's source stays as it is.
SODIUM_FLAGS_open = $(foreach f,init update final,-Dcrypto_hash_sha512_$(f)=crypto_small_sha512_$(f)) -Dsc25519_reduce=crypto_small_reduce
SODIUM_FLAGS_sign = $(SODIUM_FLAGS_open)
CRYPTO_SRC = crypto_table crypto_small
CRYPTO_FLAGS = $(STD_FLAGS) -Os -ffunction-sections -fdata-sections -fno-ident -isystem $(SODIUM_CORE)/include

# Made whole or not at all, and never again: a file of it would do, this one has what the compiler looks for first.
SODIUM_GOT = $(SODIUM_CORE)/include/sodium/core.h
$(CRYPTO_DIR)/libsodium/src/libsodium/include/sodium/core.h: | $(FIRST)
	$(Q)sh $(CRYPTO_PORT)/debian_source.sh libsodium $(CRYPTO_DIR)/libsodium

# $(1) CPU
define sodium_rules
SODIUM_LIB_$(1) = $(CRYPTO_DIR)/$(1)/libsodium.a
$(CRYPTO_DIR)/$(1)/sodium/%.o: $(SODIUM_GOT) $(CRYPTO_DIR)/$(1)/flags | $$(FIRST)
	$$(call say,CC,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$(CROSS)gcc $$(SODIUM_CPU_$(1)) $$(SODIUM_FLAGS) $$(SODIUM_FLAGS_$$(notdir $$*)) -c $(SODIUM_CORE)/$$*.c -o $$@
$(CRYPTO_DIR)/$(1)/crypto_%.o: $(CRYPTO_PORT)/crypto_%.c $(SODIUM_GOT) $(CRYPTO_DIR)/$(1)/flags | $$(FIRST)
	$$(call say,CC,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$(CROSS)gcc $$(SODIUM_CPU_$(1)) $$(CPPFLAGS) $$(CRYPTO_FLAGS) -MMD -MP -c $$< -o $$@
$(CRYPTO_DIR)/$(1)/libsodium.a: $(CRYPTO_SRC:%=$(CRYPTO_DIR)/$(1)/%.o) $(SODIUM_FILES:%=$(CRYPTO_DIR)/$(1)/sodium/%.o)
	$$(Q)rm -f $$@
	$$(Q)$(CROSS)ar rcsD $$@ $$^
$(CRYPTO_DIR)/$(1)/flags: FORCE
	$$(Q)mkdir -p $$(@D); echo '$$(SODIUM_CPU_$(1)) $$(SODIUM_FLAGS) $$(SODIUM_FLAGS_open) $$(CRYPTO_FLAGS) $$(CPPFLAGS)' | cmp -s - $$@ || \
	    echo '$$(SODIUM_CPU_$(1)) $$(SODIUM_FLAGS) $$(SODIUM_FLAGS_open) $$(CRYPTO_FLAGS) $$(CPPFLAGS)' > $$@
-include $(CRYPTO_SRC:%=$(CRYPTO_DIR)/$(1)/%.d)
endef
$(foreach c,$(SODIUM_CPUS),$(eval $(call sodium_rules,$(c))))

.PHONY: part-crypto
part-crypto: $(foreach c,$(SODIUM_CPUS),$(SODIUM_LIB_$(c))) ## libsodium and its table for Cortex-M0 and M4
