/*
 * Happenings of all ranks in one order: every rank adds its own with their time; rank 0 gathers them at every sample and
 * takes them in the order (time, node, as told), which no distribution over ranks changes as long as what is about a
 * node is told on one rank. What lies at or behind the sample's time waits for the next one, since another rank may yet
 * tell something before it.
 */
#ifndef SIM_BATCH_H
#define SIM_BATCH_H

#include "sim/engine/archive.h"
#include "sim/engine/parallel.h"
#include "sim/radio/radio.h"

struct sim_batch_key {
    sim_time at;
    uint32_t node, kind, a, b;
};

struct sim_batch {
    struct sim_buffer own;               /* told on this rank since the last gathering */
    struct sim_buffer kept;              /* rank 0: gathered and waiting */
    struct sim_buffer in[SIM_RANKS_MAX]; /* rank 0 */
    size_t last_at;                      /* of the newest entry in own */
    bool failed;                         /* out of memory: something was lost */
};

/* size bytes of content, copied. */
void sim_batch_add(struct sim_batch *b, const struct sim_batch_key *key, const void *content, size_t size);
/* Appends bytes to the content of what was added last; nothing when nothing was since the last gathering. */
void sim_batch_extend(struct sim_batch *b, const void *content, size_t size);
/* The key of what was added last, or NULL. */
const struct sim_batch_key *sim_batch_last(const struct sim_batch *b);
/* Collective. Rank 0: calls take() for everything before `limit`, in order. 0, or -1: out of memory. */
int sim_batch_gather(struct sim_batch *b, sim_time limit,
                     void (*take)(void *ctx, const struct sim_batch_key *key, const uint8_t *content, size_t size),
                     void *ctx);
void sim_batch_free(struct sim_batch *b);
/* Checkpoint of what was told and not yet taken. Errors as in archive.h. */
int sim_batch_save(const struct sim_batch *b, struct sim_archive *a);
int sim_batch_load(struct sim_batch *b, struct sim_archive *a);

#endif
