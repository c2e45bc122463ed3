/*
 * The commands that run scenarios: `meshsim run`, one world on one rank or several, and `meshsim sweep`, many worlds.
 *
 * A run goes in slices of the scenario's sample period: advance the engine, sample the result, look whether to stop.
 * Decisions come from simulated facts that all ranks share. Slices are cut into pieces of about half a second of wall
 * time, so that progress is shown and a signal is seen; that changes nothing of what is simulated.
 */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include "sim/world/scenario.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* argv[0] is the command's name. Exit status: 0 done; 1 failed; 2 wrong usage or scenario; 130 interrupted. Both are
 * collective and print on rank 0 alone unless only another rank knows what went wrong. */
int sim_run_command(int argc, char **argv);
int sim_sweep_command(int argc, char **argv);

/* The command line of `run`. Strings are argv's. */
struct sim_run_options {
    const char *scenario;
    const char **set; /* owned */
    size_t set_count;
    uint64_t seed;
    bool has_seed, resume, quiet, no_result;
    char out[1024];         /* empty: not given */
    uint64_t checkpoint_us; /* of wall time, 0: only when interrupted */
    sim_time until;         /* of simulated time, SIM_NEVER: as the scenario says */
};

/* 0; 1: help was asked for; -1 with a sentence in error. sim_run_options_free() in any case. */
int sim_run_options_get(struct sim_run_options *o, int argc, char **argv, char *error, size_t cap);
void sim_run_options_free(struct sim_run_options *o);
extern const char sim_run_help[], sim_sweep_help[];

/* A 64-bit number without sign, decimal or 0x. 0 or -1. */
int sim_run_get_number(const char *text, uint64_t *value);
/* The stack that a scenario asks for. */
const struct sim_stack *sim_run_stack(const struct sim_scenario *s);
/* The word of a stack in scenario files. */
const char *sim_run_stack_name(enum sim_stack_kind kind);

#endif
