/*
 * The parts whose power is cut, as the suite runs them: flash with the rules of a real part, where things lie in it,
 * and what the node has been through before.
 */
#ifndef TESTS_POWER_GEOMETRY_H
#define TESTS_POWER_GEOMETRY_H

#include "tests/lib/rig.h"

enum { GEOMETRIES = 4 };

struct geometry {
    struct rig_part part;
    const char *text;      /* for people */
    unsigned second_every; /* of the second cuts one of so many is made, chosen once and for all */
    uint32_t cuts_min;     /* a whole run makes at least so many */
    uint32_t log_room;     /* bytes left in the live group of the object log when life begins */
};

extern const struct geometry geometries[GEOMETRIES];

/* Does cutting a program of so many granules (0: an erase) in this way differ from the other ways, on this part? */
bool geometry_is_distinct(const struct geometry *g, unsigned granules, enum flash_sim_cut cut);

/* Lets a fresh node get old: the first page of its boot record is full but for two records, and a group of its object
 * log but for log_room bytes, so that both change over in the life to come. False: flash failed. */
bool geometry_age(const struct geometry *g, struct rig *r);

#endif
