/*
 * What the demonstrations share (`make demo`, `make demo-mcu`): a fleet in a scenario, releases on their way, and what
 * the demonstration computes by itself, to compare with what the programs say.
 */
#ifndef TESTS_DEMO_H
#define TESTS_DEMO_H

#include "proto/object/manifest.h"
#include "tests/lib/fleet.h"

#define DEMO_RINGS 3

/* One release on its way: what it cost, and when it came where. */
struct demo_release {
    unsigned release; /* sequence */
    const char *stem; /* of its images */
    unsigned models;  /* bit m: it has an image for model m */
    char version[16];
    uint32_t positions; /* chunks of all its payloads, those of the trees included */
    unsigned nodes;     /* that the distribution is measured to */
    unsigned hops;      /* to the farthest of them */
    double begun;       /* monotonic seconds */
    double begun_us;    /* air time */
    double seconds;     /* from the start of the rollout to the last of them */
    double frames, bytes;
    double opened_us[DEMO_RINGS]; /* air time at which each ring was opened; 0 not */
    int ring[FLEET_NODES_MAX];    /* of every node, by our own computation */
};

struct demo {
    struct fleet fleet;
    const char *scenario;
    unsigned nodes; /* that it has beside the gateway */
    /* Who hears whom: the gateway is 0, node i of the fleet i + 1. */
    bool link[FLEET_NODES_MAX + 1][FLEET_NODES_MAX + 1];
    unsigned hops[FLEET_NODES_MAX]; /* from the gateway */
    unsigned loss_percent;
    double frames, bytes; /* of the air, last asked */
    double begun;
    bool is_terminal;
};

/* --- telling (demo.c) --------------------------------------------------------------------------------------------- */

/* Before anything else. */
void demo_begin(struct demo *d, const char *scenario, unsigned nodes);
void demo_headline(struct demo *d, const char *text);
/* One line of what was observed; fails the demo when it is not so. */
void demo_check(struct demo *d, bool is_so, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Waits until so many nodes are enrolled. */
void demo_wait_enrolled(struct demo *d, unsigned count, double seconds);
/* Shows a rollout with `meshctl watch` until it ends, calling `tick` (NULL: nothing) meanwhile; its exit status. */
int demo_watch(struct demo *d, unsigned release, unsigned timeout_s, void (*tick)(struct demo *d, void *ctx),
               void *ctx);
/* Checks that the gate stopped this rollout, and says why it did. */
void demo_check_gate(struct demo *d, const struct demo_release *r);

/* --- the mesh (demo_look.c) --------------------------------------------------------------------------------------- */

#define DEMO_FAR (FLEET_NODES_MAX + 1) /* cannot be reached */

/* Links that the scenario's radio has, and over them the hops of every node; fails the demo when there is an island. */
void demo_hops(struct demo *d);
/* Hops of every node from `from` (as in demo.link) over nodes of these models alone. */
void demo_reach(const struct demo *d, unsigned from, unsigned models, unsigned hops[FLEET_NODES_MAX]);
/* Hops to the farthest node. */
unsigned demo_farthest(const struct demo *d);
/* Asks the air for its counters; the air's time now, in microseconds. */
double demo_air(struct demo *d);

/* --- releases (demo_look.c) --------------------------------------------------------------------------------------- */

/* Names it by its stem; then its manifest for a model, as signed, out of the bundle: false when it has none. */
void demo_name(struct demo_release *r);
bool demo_manifest(struct demo *d, const struct demo_release *r, unsigned model, uint8_t raw[MP_MANIFEST_SIZE],
                   struct mp_manifest *m);
/* Chunks of a release's payloads. */
void demo_measure_bundle(struct demo *d, struct demo_release *r);
/* Who is in which ring: labels, then the draw of docs/SPEC.md section 2.2, computed here with libsodium alone. */
void demo_rings(struct demo *d, struct demo_release *r);
/* Compares with what `meshctl rollout plan` says and prints it. */
void demo_compare_plan(struct demo *d, const struct demo_release *r, const char *policy);
/* Times at which the rings of this release were opened, by the audit log, on the air's clock. */
void demo_openings(struct demo *d, struct demo_release *r);
/* The table at the end. */
void demo_table(const struct demo *d, const struct demo_release *r, unsigned count);

#endif
