/*
 * Sweeps: every combination of parameter values, with every seed, one run each. Inside of sim/run.
 *
 * A run is named by its configuration and seed (sim_result_run_id()) and lives in DIR/RUNID; one whose run.json says that
 * it ended is not run again. So a sweep can be stopped, started again, widened, or split among tasks and ranks, and the
 * last one to look writes the tables.
 */
#ifndef SIM_SWEEP_H
#define SIM_SWEEP_H

#include "run.h"
#include "sim/result/result.h"

#define SIM_SWEEP_AXES_MAX 16
#define SIM_SWEEP_RUNS_MAX 1000000u

/* One parameter and its values. */
struct sim_sweep_axis {
    char *key;    /* owned; the values follow it in the same memory */
    char **value; /* owned array */
    size_t count;
};

struct sim_sweep_options {
    const char *scenario;
    const char **set; /* owned array; for all runs */
    size_t set_count;
    struct sim_sweep_axis axis[SIM_SWEEP_AXES_MAX];
    size_t axis_count;
    uint64_t *seed; /* owned; empty: the scenario's */
    size_t seed_count;
    char out[1024];       /* empty: not given */
    unsigned jobs;        /* 0: as many as there are cores */
    uint64_t task, tasks; /* this one of so many; 0 of 1 */
    const char *only;     /* run id, or NULL */
    bool list, sqlite, quiet;
};

/* As sim_run_options_get(). */
int sim_sweep_options_get(struct sim_sweep_options *o, int argc, char **argv, char *error, size_t cap);
void sim_sweep_options_free(struct sim_sweep_options *o);
/* "section.key=v1,v2"; \, is a comma within a value. 0 or -1 with a sentence. */
int sim_sweep_axis_get(struct sim_sweep_axis *axis, const char *text, char *error, size_t cap);
void sim_sweep_axis_free(struct sim_sweep_axis *axis);
/* "1-10,42": ascending within a range, none twice. 0 or -1 with a sentence; seeds are appended. */
int sim_sweep_seeds_get(struct sim_sweep_options *o, const char *text, char *error, size_t cap);
/* "K/N": K of 0 to N-1, or N for 0, so that both ways to number an array's tasks will do. 0 or -1. */
int sim_sweep_task_get(struct sim_sweep_options *o, const char *text);

struct sim_sweep_run {
    char id[SIM_RUN_ID_MAX];
    size_t combination;
    uint64_t seed;
    bool is_twin;     /* an earlier combination means the same: one run for both */
    bool is_finished; /* its run.json says so */
    bool has_failed;  /* tried here, in vain */
};

struct sim_sweep {
    const struct sim_sweep_options *options;
    char dir[1200];
    size_t combination_count;
    struct sim_sweep_run *run; /* owned; by combination, then seed; the last axis changes fastest */
    size_t run_count;
};

/* Reads the scenario once for every combination, so that what cannot run is known before anything does. 0, or -1 with a
 * sentence. sim_sweep_free() in either case. */
int sim_sweep_plan(struct sim_sweep *w, const struct sim_sweep_options *o, char *error, size_t cap);
void sim_sweep_free(struct sim_sweep *w);
/* Index of the value that an axis has in a combination. */
size_t sim_sweep_value(const struct sim_sweep_options *o, size_t combination, size_t axis);
/* The --set of a combination: those for all runs, then one for each axis. To be freed with sim_sweep_sets_free(). */
char **sim_sweep_sets(const struct sim_sweep_options *o, size_t combination, size_t *count);
void sim_sweep_sets_free(char **set, size_t count);

/* Looks at run.json of all runs: how many are finished. */
size_t sim_sweep_look(struct sim_sweep *w);
/* Runs the unfinished ones of this task and rank, `jobs` at a time. 0; 1: a signal came; -1: some failed. */
int sim_sweep_execute(struct sim_sweep *w, unsigned jobs);
/* Prints their command lines. */
void sim_sweep_list(const struct sim_sweep *w, const char *program);
/* Writes runs.csv, summary.csv, and runs.sqlite when asked for, from the finished runs. 0 or -1 with a sentence. */
int sim_sweep_tables(const struct sim_sweep *w, char *error, size_t cap);
/* Whether run i is this task's and rank's to do. */
bool sim_sweep_is_own(const struct sim_sweep *w, size_t i);

#endif
