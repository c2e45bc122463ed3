#include "layout.h"

/* The map is whole pages, in order, without overlaps, to the end of flash. */
#define IS_PAGES(value) ((value) % NRF51_PAGE_SIZE == 0)
_Static_assert(IS_PAGES(NRF51_BOOT_SIZE) && NRF51_BOOT == 0, "bootloader");
_Static_assert(NRF51_BOOT_RECORD == NRF51_BOOT + NRF51_BOOT_SIZE, "boot record");
_Static_assert(NRF51_SETTINGS == NRF51_BOOT_RECORD + 2 * NRF51_PAGE_SIZE, "settings");
_Static_assert(NRF51_OBJECTS == NRF51_SETTINGS + NRF51_PAGE_SIZE, "object log");
_Static_assert(NRF51_OBJECTS_SIZE % (2 * NRF51_PAGE_SIZE) == 0, "object log of two equal groups");
_Static_assert(NRF51_OBJECTS + NRF51_OBJECTS_SIZE <= NRF51_SLOT_A, "object log and slot A");
_Static_assert(NRF51_SLOT_A + NRF51_SLOT_SIZE == NRF51_SLOT_B && IS_PAGES(NRF51_SLOT_A), "slots");
_Static_assert(NRF51_SLOT_B + NRF51_SLOT_SIZE == NRF51_FLASH_SIZE && IS_PAGES(NRF51_SLOT_SIZE), "end of flash");
_Static_assert(NRF51_EXPORTS == NRF51_BOOT + 4 * 48, "exports behind the vectors");

const struct nf_layout nrf51_layout = NRF51_LAYOUT;
