/*
 * A simulated world for tests: a scenario's text, its field and an engine with this project's fleet on it, in one
 * process; everything that happens is kept as rows. Fails the cmocka test that runs when anything goes wrong.
 */
#ifndef TESTS_SIM_RIG_H
#define TESTS_SIM_RIG_H

#include "sim/engine/engine.h"
#include "sim/fleet/fleet_state.h"

struct sim_rig_row {
    struct sim_row row;
    char text[256]; /* "" none */
};

struct sim_rig {
    struct sim_scenario s;
    struct sim_field field;
    struct sim_engine *e;
    struct sim_fleet *fleet;
    struct sim_rig_row *row; /* of all, or only decisions when quiet */
    size_t rows, cap;
    uint64_t told[SIM_ROW_KIND_COUNT];
    uint64_t heard; /* checksum over all rows */
};

void sim_rig_open(struct sim_rig *r, const char *text, uint64_t seed);
/* Runs to `until`. */
void sim_rig_run(struct sim_rig *r, sim_time until);
/* Runs until no rollout moves, looking once a second; fails when one still does at `until`. */
void sim_rig_settle(struct sim_rig *r, sim_time until);
void sim_rig_close(struct sim_rig *r);
/* Number of nodes with a row of this kind about release a. */
uint32_t sim_rig_nodes(const struct sim_rig *r, enum sim_row_kind kind, uint32_t a);
/* First row from `from` on of a decision that has these words, or NULL. */
const struct sim_rig_row *sim_rig_decision(const struct sim_rig *r, const char *words);
/* Nodes that run this release now; gateways and attackers left out. */
uint32_t sim_rig_running(const struct sim_rig *r, uint32_t release);

#endif
