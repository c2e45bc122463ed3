/*
 * What MCUboot does to flash at a reset, for tests of node-fw/port/mcuboot: which image it takes, what it moves, and the
 * trailers that it leaves. Written from its documentation and compared with the vectors that its own code made
 * (test_mcuboot.c); its work within a boot (swap status, resuming) is not modelled: a boot is one step.
 */
#ifndef TESTS_MCUBOOT_MODEL_H
#define TESTS_MCUBOOT_MODEL_H

#include "node-fw/port/mcuboot/mcuboot.h"
#include "tests/lib/flash_sim.h"

enum { MCUBOOT_MODEL_HEADER = 32, MCUBOOT_MODEL_FRAME = MCUBOOT_MODEL_HEADER + 12 + 40 };

/* A binary as imgtool signs it, without a key: header, body, security counter (protected), SHA-256. out: body +
 * MCUBOOT_MODEL_FRAME bytes, the number that is returned. major: its version. */
uint32_t mcuboot_model_image(uint8_t *out, uint8_t major, uint32_t body, uint32_t counter, uint8_t seed);

/* Boots: slot that runs (0 or 1), or -1: nothing does. */
int mcuboot_model_boot(struct flash_sim *sim, const struct nf_mcuboot_map *map);

#endif
