/*
 * A world for one check: scenario text, field and engine, opened and closed together. One at a time.
 */
#ifndef SIM_LAB_H
#define SIM_LAB_H

#include "sim/engine/engine.h"

struct sim_lab {
    struct sim_scenario scenario;
    struct sim_field field;
    struct sim_engine *engine;
    bool has_scenario;
    char error[512];
};

/* Reads the text (as of a scenario file) and places the nodes. 0, or -1 with a sentence in error; close in either case. */
int sim_lab_open(struct sim_lab *lab, const char *text);
/* An engine with this stack at time 0; ends the one before. hooks may be NULL. 0 or -1. */
int sim_lab_start(struct sim_lab *lab, const struct sim_stack *stack, uint64_t seed,
                  const struct sim_engine_hooks *hooks);
/* Goes on until then. 0 or -1. */
int sim_lab_run(struct sim_lab *lab, sim_time until);
/* Sums so far. */
struct sim_totals sim_lab_totals(struct sim_lab *lab);
void sim_lab_close(struct sim_lab *lab);

/* Text of a scenario: a cell of n nodes in which everybody hears everybody, and more lines for its [radio]. Static
 * storage, valid until the next call. */
const char *sim_lab_cell(uint32_t n, const char *radio);
/* Seed of one of several worlds of a check. */
uint64_t sim_lab_seed(uint64_t seed, uint32_t world);

#endif
