/*
 * Inside of the report: run folders as read, and what goes into the page. Shared by report*.c only.
 */
#ifndef SIM_REPORT_STATE_H
#define SIM_REPORT_STATE_H

#include "interval.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define SIM_REPORT_RUNS_MAX 20000

/* How much of a run the page shows. */
enum sim_report_depth {
    SIM_REPORT_FIGURES, /* its headline, within its group's intervals */
    SIM_REPORT_CURVE,   /* coverage too */
    SIM_REPORT_WHOLE    /* map, timeline, frames too */
};

struct sim_report_run {
    char *dir;
    cJSON *json; /* run.json */
    size_t group;
    enum sim_report_depth depth;
    bool is_repeated;
};

/* Runs of one configuration. */
struct sim_report_group {
    const char *stack, *name; /* owned by the first run */
    size_t first;
    size_t count;
    bool is_faulty; /* a release of it is bad on purpose */
};

struct sim_report {
    struct sim_report_run *run;
    size_t run_count;
    struct sim_report_group *group;
    size_t group_count;
};

/* Figures of a run that are compared. */
enum sim_figure {
    SIM_FIGURE_COMPLETE, /* share of the nodes */
    SIM_FIGURE_FIRST,    /* s */
    SIM_FIGURE_MEDIAN,
    SIM_FIGURE_LAST,
    SIM_FIGURE_FRAMES,     /* a node */
    SIM_FIGURE_CONTROL,    /* share of frames that carry no chunk */
    SIM_FIGURE_COLLISIONS, /* share of the receptions in range that a collision spoiled */
    SIM_FIGURE_ENERGY,     /* mJ a node */
    SIM_FIGURE_INSTALLED,  /* share of the nodes that ever booted it */
    SIM_FIGURE_ROLLED_BACK,
    SIM_FIGURE_DOWN, /* nodes */
    SIM_FIGURE_COUNT
};
extern const char *const sim_figure_names[SIM_FIGURE_COUNT];

/* False: the run has none (nobody got that far, or it did not end). */
bool sim_report_figure(const struct sim_report_run *run, enum sim_figure figure, double *value);
/* Mean over a group's runs; *n of them have the figure. */
struct sim_interval sim_report_interval(const struct sim_report *report, size_t group, enum sim_figure figure,
                                        size_t *n);
/* Adds the run in a folder, or all runs in folders below it. 0, or -1 with a sentence in error. */
int sim_report_add(struct sim_report *report, const char *dir, char *error, size_t cap);
/* Groups runs by configuration and decides how much of each is shown. 0 or -1 (memory). */
int sim_report_group_runs(struct sim_report *report);
void sim_report_free(struct sim_report *report);

/* Text of a JSON value in an HTML page: nothing in it ends a script. */
void sim_report_put(FILE *to, const char *json);
/* One run as a JSON object. Files that are missing are left out. */
void sim_report_put_run(FILE *to, const struct sim_report_run *run);

/* The page around the data: what stands before and behind it. */
extern const char *const sim_report_style[], *const sim_report_body[], *const sim_report_script[],
                                                                           *const sim_report_script_map[];

#endif
