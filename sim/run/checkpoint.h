/*
 * Checkpoints of a run: DIR/checkpoint.RANK, one archive a rank (sim/engine/archive.h). First section: version, scenario,
 * seed, stack, ranks and a generation, so that what does not fit is refused before anything is read.
 *
 * All ranks write DIR/checkpoint.RANK.next first and rename when everybody has one. A crash in between may leave ranks
 * with different generations; whoever then has an older one finds the newer in its .next. Collective throughout.
 */
#ifndef SIM_CHECKPOINT_H
#define SIM_CHECKPOINT_H

#include "sim/result/result.h"
#include "watch.h"

struct sim_checkpoint {
    const char *dir;
    const struct sim_scenario *scenario;
    const struct sim_stack *stack;
    uint64_t seed;
    struct sim_engine *engine;
    struct sim_result *result;
    struct sim_watch *watch;
    uint64_t generation; /* of the last one written or read */
};

/* 0, or -1 on all ranks with a sentence in error (on the rank that knows it; empty elsewhere); the one before stays. */
int sim_checkpoint_write(struct sim_checkpoint *c, char *error, size_t cap);
/* Loads engine, result and watch, which must be freshly opened. 0, or -1 likewise. */
int sim_checkpoint_read(struct sim_checkpoint *c, char *error, size_t cap);
/* Removes this rank's. */
void sim_checkpoint_remove(const struct sim_checkpoint *c);
/* Whether this rank has one in the folder. */
bool sim_checkpoint_exists(const char *dir);

#endif
