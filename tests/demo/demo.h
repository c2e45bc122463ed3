/*
 * What the files of the demonstration share.
 */
#ifndef TESTS_DEMO_H
#define TESTS_DEMO_H

#include "tests/lib/fleet.h"

#define DEMO_NODES 24
#define DEMO_RINGS 3
#define DEMO_SCENARIO "sim/scenarios/demo-25.ini"

/* One release on its way: what it cost, and when it came where. */
struct demo_release {
    unsigned release; /* sequence */
    const char *stem; /* of its image */
    char version[16];
    uint32_t positions; /* chunks, those of the tree included */
    unsigned nodes;     /* that the distribution is measured to */
    unsigned hops;      /* to the farthest of them */
    double begun;       /* monotonic seconds */
    double seconds;     /* from the start of the rollout to the last of them */
    double frames, bytes;
    double opened_us[DEMO_RINGS]; /* air time at which each ring was opened; 0 not */
    int ring[DEMO_NODES];         /* of every node, by our own computation */
};

struct demo {
    struct fleet fleet;
    unsigned hops[DEMO_NODES]; /* from the gateway */
    unsigned loss_percent;
    double frames, bytes; /* of the air, last asked */
    double begun;
    bool is_terminal;
};

/* Hops of every node over the links that the scenario's radio has; fails the demo when there is an island. */
void demo_hops(struct demo *d);
/* Who is in which ring: labels, then the draw of docs/SPEC.md section 2.2, computed here with libsodium alone. */
void demo_rings(struct demo *d, struct demo_release *r);
/* Compares with what `meshctl rollout plan` says and prints it. */
void demo_compare_plan(struct demo *d, const struct demo_release *r, const char *policy);
/* Chunks of a release's payload. */
void demo_measure_bundle(struct demo *d, struct demo_release *r);
/* Asks the air for its counters; the air's time now, in microseconds. */
double demo_air(struct demo *d);
/* Times at which the rings of this release were opened, by the audit log, on the air's clock. */
void demo_openings(struct demo *d, struct demo_release *r);
/* The table at the end. */
void demo_table(const struct demo *d, const struct demo_release *r, unsigned count);

/* One line of what was observed; fails the demo when it is not so. */
void demo_check(struct demo *d, bool is_so, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
