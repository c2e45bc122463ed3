/*
 * A world for tests of the baselines: a scenario's text, its field, and the real engine with one of the stacks on it.
 */
#ifndef TESTS_BASELINE_RIG_H
#define TESTS_BASELINE_RIG_H

#include "sim/baseline/baseline.h"

#define BASELINE_RIG_NODES 128
#define BASELINE_SECONDS(n) ((sim_time)(n)*1000000)

struct baseline_rig {
    struct sim_scenario s;
    struct sim_field field;
    const struct sim_stack *stack;
    struct sim_engine *e;
    struct sim_totals totals; /* as of the last run */
    uint32_t complete;
    uint32_t twice;                  /* rows of nodes that were complete before */
    sim_time at[BASELINE_RIG_NODES]; /* SIM_NEVER: not complete */
    sim_time last;
    struct sim_node_summary summary[BASELINE_RIG_NODES];
    uint32_t summaries;
};

/* Fails the test when anything goes wrong. */
void baseline_rig_open(struct baseline_rig *r, const struct sim_stack *stack, const char *text, uint64_t seed);
/* Parses and places the world only; error gets the stack's sentence when the engine does not open. */
void baseline_rig_prepare(struct baseline_rig *r, const struct sim_stack *stack, const char *text, uint64_t seed);
bool baseline_rig_start(struct baseline_rig *r, uint64_t seed, char *error, size_t cap);
/* Runs until `count` nodes are complete, nothing happens any more, or `until`. */
void baseline_rig_run(struct baseline_rig *r, uint32_t count, sim_time until);
/* Calls finish() and closes. */
void baseline_rig_close(struct baseline_rig *r);
/* Frames of the stack's type of that name; all of them. */
uint64_t baseline_rig_frames(const struct baseline_rig *r, const char *type);
uint64_t baseline_rig_bytes(const struct baseline_rig *r, const char *type);
uint64_t baseline_rig_all(const struct baseline_rig *r);
/* The same run in one go, twice, and with a checkpoint and a new engine at `cut`: all must have the same digest and the
 * same rows. */
void baseline_rig_repeat(const struct sim_stack *stack, const char *text, sim_time cut, sim_time until);

#endif
