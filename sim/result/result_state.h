/*
 * Inside of sim/result: shared by its own files only.
 */
#ifndef SIM_RESULT_STATE_H
#define SIM_RESULT_STATE_H

#include "batch.h"
#include "out.h"
#include "pcap.h"
#include "result.h"

#include <time.h>

/* What a node did at least once, and whether it is down; bits of sim_result.seen. The five of a release lie at
 * 5 * (release - 2). */
enum {
    SEEN_COMPLETE,
    SEEN_INSTALLED,
    SEEN_CONFIRMED,
    SEEN_ROLLED_BACK,
    SEEN_REFUSED,
    SEEN_COUNT,
    SEEN_ANY = SEEN_COUNT * SIM_RELEASES_MAX, /* of any release: five bits more */
    SEEN_DOWN = SEEN_ANY + SEEN_COUNT
};

/* Nodes that did so; all uint64_t, so that ranks are added as one array. */
struct sim_result_counts {
    uint64_t any[SEEN_COUNT];
    uint64_t release[SIM_RELEASES_MAX][SEEN_COUNT];
    uint64_t down;
    uint64_t rows[SIM_ROW_KIND_COUNT];
};

struct sim_result {
    const struct sim_scenario *scenario;
    const struct sim_field *field;
    const struct sim_stack *stack;
    uint64_t seed;
    char *dir;
    bool is_first; /* rank 0: the one that writes */
    struct timespec opened;
    uint64_t wall_before_us; /* of the runs that this one goes on from */
    uint64_t links;          /* rank 0: of all ranks */

    uint32_t *seen;        /* [own nodes] */
    sim_time *complete_at; /* [own nodes] first completion, SIM_NEVER */
    uint8_t *is_gateway;   /* [own nodes] */
    uint32_t gateways;
    struct sim_result_counts own; /* this rank */
    struct sim_batch rows, packets, nodes;

    /* Rank 0 */
    struct sim_result_counts counts; /* of all ranks at the last sample */
    struct sim_totals totals;        /* likewise */
    struct sim_totals warmup;        /* when the warmup ended */
    struct sim_totals last;          /* at the sample that saw the last completion */
    bool is_warm;
    sim_time sampled_at;
    struct sim_out rows_csv, curve_csv, nodes_csv, trace;
    struct sim_headline headline;

    bool failed;
    char error[320];
};

/* Keeps the first sentence. Returns -1. */
int sim_result_fail(struct sim_result *r, const char *why);
/* Wall time of the run, those it goes on from included. */
uint64_t sim_result_wall_us(const struct sim_result *r);
/* Writes nodes.csv from the gathered summaries and works out the headline. Collective. 0 or -1. */
int sim_result_summarise(struct sim_result *r);
/* Writes run.json, whole or not at all; ended NULL: the run still goes on. Rank 0. 0 or -1. */
int sim_result_describe(struct sim_result *r, const char *ended);

#endif
