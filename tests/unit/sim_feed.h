/*
 * An engine that only says what it is told to: the result module's tests feed it happenings by hand, without a world.
 * One at a time; one rank. Its body is sim_feed_engine.h.
 */
#ifndef SIM_FEED_H
#define SIM_FEED_H

#include "sim/result/result.h"

struct sim_feed {
    struct sim_scenario scenario;
    struct sim_field field;
    struct sim_stack stack;
    struct sim_position position[400];
    struct sim_scenario_node node[400];
    struct sim_node_summary summary[400];
    struct sim_engine_hooks hooks;
    struct sim_totals totals;
    struct sim_engine *engine;
};

/* A grid of `count` nodes (at most 400), node 0 a gateway, one release at 10 s; an engine at time 0. */
void sim_feed_open(struct sim_feed *feed, uint32_t count);
void sim_feed_close(struct sim_feed *feed);
void sim_feed_time(struct sim_feed *feed, sim_time now);
void sim_feed_row(struct sim_feed *feed, sim_time at, uint32_t node, enum sim_row_kind kind, uint32_t a, uint32_t b,
                  const char *text);
/* A run folder of a made-up release that spreads outwards from the gateway, `pace_us` from node to node; with `is_bad`
 * its canaries roll back and the gate holds it. 0 or -1. */
int sim_feed_run(const char *dir, const char *stack, uint32_t count, uint64_t seed, sim_time pace_us, bool is_bad,
                 char *error, size_t cap);
/* A folder and everything in it. 0 or -1. */
int sim_feed_remove(const char *dir);

#endif
