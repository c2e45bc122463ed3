/*
 * What the baselines share: the image to spread, who starts with it, who has it by now, and the end of a run.
 *
 * Baselines spread release[0] of the scenario: an image is a number of bytes that everybody knows; a node is complete
 * when it holds every packet. Nodes are always on: resets, churn, batteries, bad images and attackers of a scenario
 * concern the project's own node only. Internal to sim/baseline.
 */
#ifndef SIM_BASELINE_COMMON_H
#define SIM_BASELINE_COMMON_H

#include "sim/engine/engine.h"

struct sim_baseline {
    struct sim_engine *engine;
    const struct sim_field *field;
    uint32_t first, count;  /* own nodes */
    uint32_t release;       /* number of the release */
    uint32_t size_bytes;    /* at least 1 */
    sim_time start_at;      /* when gateways have the image */
    uint32_t gateway_count; /* at least 1 */
    uint32_t *gateway;      /* [gateway_count], ascending */
    uint16_t *hops;         /* [nodes of the world] to the nearest gateway, UINT16_MAX: none */
    uint32_t *nearest;      /* [nodes of the world] that gateway; undefined where hops is UINT16_MAX */
    sim_time *complete_at;  /* [count] SIM_NEVER: not yet */
};

/* 0, or -1 with a sentence in error (no release in the scenario, memory). sim_baseline_end() in either case. */
int sim_baseline_begin(struct sim_baseline *b, struct sim_engine *e, char *error, size_t cap);
void sim_baseline_end(struct sim_baseline *b);
bool sim_baseline_is_gateway(const struct sim_baseline *b, uint32_t node);
/* The node holds everything: told as a row, the first time. */
void sim_baseline_complete(struct sim_baseline *b, uint32_t node, sim_time now);
bool sim_baseline_is_complete(const struct sim_baseline *b, uint32_t node);
/* Hands the summaries of all own nodes to the engine. */
void sim_baseline_finish(struct sim_baseline *b);
int sim_baseline_save(const struct sim_baseline *b, struct sim_archive *a);
int sim_baseline_load(struct sim_baseline *b, struct sim_archive *a);

/* A delay of 0 to limit_us - 1, drawn by the node. */
sim_time sim_baseline_jitter(struct sim_baseline *b, uint32_t node, uint32_t limit_us);

/* --- sets of packets as bits of 64-bit words --------------------------------------------------------------------- */

#define SIM_BITS_WORDS(n) (((size_t)(n) + 63) / 64)

static inline bool sim_bit_get(const uint64_t *bits, uint32_t i)
{
    return (bits[i / 64] >> (i % 64) & 1) != 0;
}

static inline void sim_bit_set(uint64_t *bits, uint32_t i)
{
    bits[i / 64] |= UINT64_C(1) << (i % 64);
}

static inline void sim_bit_clear(uint64_t *bits, uint32_t i)
{
    bits[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

/* --- numbers in frames, little-endian ---------------------------------------------------------------------------- */

static inline void sim_put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void sim_put32(uint8_t *p, uint32_t v)
{
    sim_put16(p, v);
    sim_put16(p + 2, v >> 16);
}

static inline uint16_t sim_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t sim_get32(const uint8_t *p)
{
    return sim_get16(p) | (uint32_t)sim_get16(p + 2) << 16;
}

#endif
