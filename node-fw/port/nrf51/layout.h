/*
 * Where things lie in the part's flash (map.h), as the seam describes it: for bootloader, images, and whoever prepares a
 * flash image for the part on a host.
 */
#ifndef NRF51_LAYOUT_H
#define NRF51_LAYOUT_H

#include "map.h"
#include "node-fw/store/flash.h"

#define NRF51_LAYOUT                                                                                                   \
    {                                                                                                                  \
        .boot_record = NRF51_BOOT_RECORD, .settings = NRF51_SETTINGS, .objects = NRF51_OBJECTS,                        \
        .objects_size = NRF51_OBJECTS_SIZE, .slot = {NRF51_SLOT_A, NRF51_SLOT_B}, .slot_size = NRF51_SLOT_SIZE,        \
        .slot_base = {NRF51_SLOT_A, NRF51_SLOT_B},                                                                     \
    }

extern const struct nf_layout nrf51_layout;

#endif
