/*
 * Results of a run: a folder with
 *
 *   run.json       attributes (version, scenario, configuration hash, seed, stack, ranks, compiler), sums, headline figures
 *   rows.csv       every happening: time_us,node,what,a,b,text - ordered by time, node, as told
 *   nodes.csv      one line a node: position, hops, complete, installed, energy, frames
 *   curve.csv      one line a sample: time_us, nodes complete, installed, confirmed, down, frames by type, collisions
 *   result.sqlite  the same as tables run, row, node, curve; several runs of a sweep share one by run id
 *   trace.pcap     with trace = pcap: link type 256 (LINKTYPE_BLUETOOTH_LE_LL_WITH_PHDR); 802.15.4: 283 (TAP)
 *
 * Rank 0 writes; the others hand their rows over at every sample, so that what was seen so far survives. Everything but
 * result.sqlite's bytes, and the object "execution" of run.json (ranks, compiler, wall times, events), is the same for any
 * number of ranks. Not thread safe.
 */
#ifndef SIM_RESULT_H
#define SIM_RESULT_H

#include "sim/engine/engine.h"

#define SIM_VERSION "1.0.0"

struct sim_result;

/* Opens the folder (made if missing) and the trace. Files of an earlier run are replaced. NULL with a sentence in error.
 * Collective. */
struct sim_result *sim_result_open(const char *dir, const struct sim_scenario *s, const struct sim_field *f,
                                   const struct sim_stack *stack, uint64_t seed, char *error, size_t cap);
/* Hooks to hand to the engine. */
struct sim_engine_hooks sim_result_hooks(struct sim_result *r);
/* After every sample period: gathers rows, appends the curve's point, flushes. Collective. 0, or -1: the disk is full or
 * cannot be written; sim_result_error() has a sentence, what was written stays. */
int sim_result_sample(struct sim_result *r, struct sim_engine *e);
/* Ends: summaries, run.json, SQLite. ended: "complete", "done", "duration", "interrupted", "failed: ...". A checkpoint
 * must have been saved before. Collective. 0 or -1, also after a sample that failed; only error, headline and free may
 * follow. */
int sim_result_close(struct sim_result *r, struct sim_engine *e, const char *ended);
const char *sim_result_error(const struct sim_result *r);
/* Frees everything; without a close what was sampled stays on disk. NULL is allowed. */
void sim_result_free(struct sim_result *r);
/* Part of a checkpoint: how much of each file is valid, so that resuming cuts them there and goes on. */
int sim_result_save(struct sim_result *r, struct sim_archive *a);
int sim_result_load(struct sim_result *r, struct sim_archive *a);

/* Name of a run: 16 hexadecimal digits of sim_scenario_family(), '-', the seed; the same run has the same name wherever
 * it runs, so sweeps name folders by it and skip those whose run.json says that they ended. */
#define SIM_RUN_ID_MAX 40
void sim_result_run_id(const struct sim_scenario *s, uint64_t seed, char id[SIM_RUN_ID_MAX]);
/* The word that rows.csv has for a kind. Static storage. */
const char *sim_result_kind_name(enum sim_row_kind kind);

/* Headline figures, after close, on rank 0. The nodes are those that should get the image: no gateways, no attackers,
 * only the models that a release is for. Times are those of a node's first complete image, from the first release's
 * `at`: of the first node, of the one that makes half of them, and of the last; SIM_NEVER while it is missing. */
struct sim_headline {
    uint32_t nodes;
    uint32_t complete;
    sim_time first, median, last;
    uint64_t frames, chunk_frames, bytes; /* warmup to the sample of the last completion; types chunk..., data... */
    uint32_t installed;                   /* nodes that ever booted release 2 or above */
    uint32_t confirmed, rolled_back, down;
    uint64_t energy_mean_uj; /* of those nodes, over the run */
    uint64_t digest[2];
};
const struct sim_headline *sim_result_headline(const struct sim_result *r);

#endif
