/*
 * Cryptography that remembers: the same functions as node-fw/port/crypto, with the answers to exactly the same questions
 * kept. One frame is heard by dozens of nodes, one chunk and one signature are checked by all; each is computed once a
 * rank. Keys and data are compared in full, so an answer from memory is the right one; every 1,024th is computed again
 * all the same, and a disagreement is told to the fail hook. One per process, not thread safe.
 */
#ifndef SIM_FLEET_VERDICT_H
#define SIM_FLEET_VERDICT_H

#include "proto/mp_types.h"

/* The table over `real` (which must outlive it), with empty memory. NULL: out of memory. */
const struct mp_crypto *sim_verdict_open(const struct mp_crypto *real, void (*fail)(void *ctx, const char *why),
                                         void *ctx);
void sim_verdict_close(void);

struct sim_verdict_counts {
    uint64_t siphash, siphash_computed;
    uint64_t sha256, sha256_computed;
    uint64_t verify, verify_computed;
    uint64_t rechecked;
};
struct sim_verdict_counts sim_verdict_count(void);

#endif
