/*
 * Power cuts on emulated parts: a mesh of parts is updated, reverted, and updated again, while each part is reset at
 * random points of download, activation, trial and revert, with its flash kept.
 *
 * Every reset is proved: QEMU reports it, flash is the same before and after, and the bootloader writes what was wiped
 * from RAM meanwhile. Every boot is foretold: from the flash at the moment of the reset, the facts of the decision
 * table are found on the host and given to boot_decide(); the part must boot the slot of that row and append the
 * record of it. In the end every part runs the old or the new version, as its record says, and takes an update.
 *
 * Some resets come at random times, between any two instructions, the others inside a flash operation: at a
 * random one of the next writes to the flash controller's registers, or a few instructions later, so between any two
 * words of a record, a chunk or a seal. What the emulator cannot show is a half-erased page and a half-written word: an
 * erase and a word write are one instruction there. tests/power cuts those on the host.
 */
#ifndef TESTS_POWER_PART_H
#define TESTS_POWER_PART_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/lib/fleet_part.h"

#define POWER_PARTS_MAX 16

enum power_phase {
    POWER_DOWNLOAD,   /* the other slot is being filled */
    POWER_ACTIVATION, /* a trial was asked for, or was just being, and has not begun */
    POWER_TRIAL,
    POWER_REVERT, /* either of the last two, on the way back */
    POWER_REST,   /* anything else: not counted */
    POWER_PHASES
};

struct power_options {
    const char *name;
    unsigned parts;
    unsigned resets; /* at least so many in phases that count */
    unsigned least;  /* at least so many of each of them */
    uint32_t seed;
    double limit_s; /* fails when that is not enough */
};

struct power_result {
    unsigned resets; /* in phases that count */
    unsigned by_phase[POWER_PHASES];
    unsigned inside;                  /* in or right behind a flash operation */
    unsigned torn;                    /* that left a boot record half written */
    unsigned early;                   /* while the bootloader still worked on the reset before */
    unsigned boots;                   /* foretold and seen */
    unsigned rows[10];                /* of the decision table, by their numbers */
    unsigned cycles;                  /* updates with their reverts */
    unsigned updated, reverted, kept; /* parts that took an update, went back, or were rolled back by too many resets */
};

/* Opens the fleet, runs, closes nothing. Fails the fleet (fleet_fail, qemu_fail) when anything is not as it must be. */
void power_run(struct fleet *f, const struct power_options *options, struct power_result *result);
void power_print(const struct power_result *r);

#endif
