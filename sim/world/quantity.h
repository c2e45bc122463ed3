/*
 * Numbers with units in scenario files, in integers throughout. Reentrant.
 */
#ifndef SIM_QUANTITY_H
#define SIM_QUANTITY_H

#include <stdbool.h>
#include <stdint.h>

enum sim_quantity {
    SIM_POWER,   /* dBm; in milli-dBm */
    SIM_RATIO,   /* dB; in milli-dB */
    SIM_TIME,    /* us, ms, s, min, h, d; in us */
    SIM_LENGTH,  /* mm, cm, m, km; in mm */
    SIM_SHARE,   /* %; in parts per million */
    SIM_FACTOR,  /* no unit; in thousandths */
    SIM_COUNT,   /* no unit, no fraction */
    SIM_SIZE,    /* B, KB, MB (of 1,024); in bytes */
    SIM_PPM,     /* ppm */
    SIM_VOLTAGE, /* mV, V; in mV */
    SIM_CURRENT, /* uA, mA; in uA */
    SIM_LEAKAGE, /* nA, uA, mA; in nA */
    SIM_CHARGE,  /* uAh, mAh, Ah; in uAh */
    SIM_ENERGY   /* nJ, uJ, mJ; in nJ */
};

/* Reads "12.5 ms" whole; spaces around and before the unit are free. At most 9 digits before and 6 after the point;
 * what is beyond 62 bits becomes plus or minus the largest. 0, or -1: not a number, no or another unit, or finer than
 * the quantity's unit. */
int sim_quantity_get(enum sim_quantity quantity, const char *text, int64_t *value);
/* The units a quantity may have, for messages: "mm, cm, m or km". */
const char *sim_quantity_units(enum sim_quantity quantity);

#endif
