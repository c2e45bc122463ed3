/*
 * Generators: stacks whose traffic has a closed form. Each takes a plan that must outlive the engine; one world of a kind
 * at a time.
 */
#ifndef SIM_GEN_H
#define SIM_GEN_H

#include "sim/engine/engine.h"

/* Told of every frame that a listener hears; NULL: nobody is. */
typedef void sim_gen_heard(void *ctx, uint32_t listener, sim_time now, const struct sim_heard *heard);

/* Beacons advertise as often as their radio allows, from a random phase on, and never scan. Listeners scan from
 * listen_at on. Node 0 listens and all others are beacons; or every third node from 0 on listens, the one after it is a
 * beacon, and the third does nothing and keeps the pairs of a line apart. */
struct sim_beacon_plan {
    enum sim_bearer bearer;
    size_t len;        /* bytes a frame */
    uint32_t phase_us; /* the first frame of a node comes at random in [0, phase_us) */
    bool in_pairs;
    sim_time listen_at;
    uint32_t scan_interval_us, scan_window_us; /* at most 40.96 s */
    sim_gen_heard *heard;
    void *ctx;
};
const struct sim_stack *sim_gen_beacon(const struct sim_beacon_plan *plan);

/* Every node but the listener, node 0, sends frames with independent exponential times between them (mean mean_us each); what
 * comes while its radio is busy waits. The listener scans all the time. */
struct sim_poisson_plan {
    enum sim_bearer bearer;
    size_t len;
    double mean_us;
};
const struct sim_stack *sim_gen_poisson(const struct sim_poisson_plan *plan);

/* A cell of the mesh's own Trickle timers (proto/mesh/trickle.h), all started at time 0, so that their intervals stay
 * aligned. Counts what is sent in each interval. */
#define SIM_TRICKLE_INTERVALS_MAX 1024
struct sim_trickle_plan {
    enum sim_bearer bearer;
    size_t len;
    uint32_t sent[SIM_TRICKLE_INTERVALS_MAX]; /* by number of the interval; filled in */
};
const struct sim_stack *sim_gen_trickle(struct sim_trickle_plan *plan);

/* Node 0 has `packets` to send, one after the other; every node passes on what it hears from its left neighbour, at once
 * or hold_us after the neighbour began to send it; the last node of the world only takes them. */
struct sim_line_plan {
    enum sim_bearer bearer;
    size_t len; /* at least 4 */
    uint32_t packets;
    uint32_t span_us;  /* of a transmission, start to end */
    uint32_t hold_us;  /* 0: at once; at most 32 packets wait at a node */
    uint32_t arrived;  /* at the last node; filled in */
    sim_time first_at; /* when its host had the first and the last of them; filled in */
    sim_time last_at;
};
const struct sim_stack *sim_gen_line(struct sim_line_plan *plan);

#endif
