/*
 * How long a payload takes to reach every node of a mesh, against the floor.
 *
 * A gateway in the corner (or at the end of a line) holds a random payload; every node has accepted the stage directive
 * that names its manifest. Clock and floor are those of payload.h, in virtual time.
 */
#ifndef BENCH_DISSEMINATION_H
#define BENCH_DISSEMINATION_H

#include <stdio.h>

#include "payload.h"
#include "world.h"

#define DISSEMINATION_NODES_MAX 256
#define DISSEMINATION_MARKS 4 /* quarters of the payload */
#define DISSEMINATION_GAINS 9

struct dissemination_config {
    uint32_t columns, rows; /* columns * rows devices, gateway included: 2 to DISSEMINATION_NODES_MAX */
    uint64_t seed;
    uint32_t size;     /* payload bytes, 1 to MP_IMAGE_MAX */
    uint32_t loss_ppm; /* below 1000000 */
    mp_time settle;    /* between the last node's accepting the directive and the manifest */
    FILE *trace;       /* one line a frame, or NULL */
};

struct dissemination_result {
    bool is_complete;
    uint32_t positions; /* k */
    uint32_t depth;     /* D */
    mp_time started, ended;
    double floor_s, time_s, ratio; /* not complete: time so far, ratio infinite */
    /* all from here on: while the clock ran */
    uint64_t frames[MP_TYPE_COUNT];
    uint64_t frame_bytes;
    uint64_t verdicts[SIM_VERDICT_COUNT];
    uint64_t handled[MP_ERROR_COUNT];       /* receptions by what the engine said; [0]: used */
    uint64_t chunk_handled[MP_ERROR_COUNT]; /* those of chunks */
    uint64_t gains[DISSEMINATION_GAINS];    /* chunk frames by how many nodes it gave something new, last: 8 and more */
    uint64_t node_frames[DISSEMINATION_NODES_MAX];
    uint64_t node_chunks[DISSEMINATION_NODES_MAX];
    mp_time mark[DISSEMINATION_NODES_MAX][DISSEMINATION_MARKS]; /* when each quarter was held, 0 never */
    uint32_t held[DISSEMINATION_NODES_MAX];
};

/* Runs one world. 0, or -1 when it could not be built or a node completed with a wrong hash (message on stderr). */
int dissemination_run(const struct dissemination_config *config, struct dissemination_result *result);

/* Breakdown for people. */
void dissemination_print(FILE *out, const struct dissemination_config *config,
                         const struct dissemination_result *result);

#endif
