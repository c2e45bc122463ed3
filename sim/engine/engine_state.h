/*
 * What the engine's source files and the radio models' hot loops share: its state. Private to sim/engine and sim/phy.
 */
#ifndef SIM_ENGINE_STATE_H
#define SIM_ENGINE_STATE_H

#include "engine.h"
#include "parallel.h"
#include "queue.h"
#include "sim/phy/phy.h"

/* The host side of an own node. */
struct sim_host {
    sim_time wake_at; /* earliest WAKE in the queue, SIM_NEVER: none; later ones are ignored when they come */
    sim_time ready;   /* when its radio takes a frame; SIM_NEVER: one waits; SIM_READY_OFF: the radio is off */
};
#define SIM_READY_OFF (SIM_NEVER - 1)

struct sim_cell {
    struct sim_on_air *entry;
    uint32_t count, cap;
    sim_time busy_until; /* nothing in it ends later */
};

/* Transmissions: fixed slots in chunks that never move. */
#define SIM_POOL_CHUNK 256u
struct sim_pool {
    uint8_t **chunk;
    size_t chunks, cap;
    size_t slot_bytes;
    uint32_t free; /* first free slot, linked by next; SIM_TX_NONE: none */
    uint32_t used;
    uint32_t *newest; /* [nodes of the world] head of the node's chain */
};

/* Mail in flight to own nodes: a heap by (at, to, from, order). */
struct sim_mail {
    sim_time at;
    uint32_t to, from;
    uint64_t order; /* of one sender's, ascending */
    uint32_t len;
    uint8_t *data;
};

/* The earliest events, taken out of the queue early so that what they will touch can be fetched. */
#define SIM_AHEAD 8u
struct sim_ahead {
    struct sim_event_key event[SIM_AHEAD];
    uint32_t count;
};

struct sim_engine {
    const struct sim_scenario *scenario;
    const struct sim_field *field;
    const struct sim_stack *stack;
    const struct sim_phy_ops *phy;
    void *stack_ctx, *phy_ctx;
    struct sim_engine_hooks hooks;
    uint64_t seed;
    sim_time now;
    sim_time lookahead;
    sim_time next;       /* as of the last advance */
    sim_time window_end; /* of the window at work */
    uint32_t first, limit;
    struct sim_queue *queue;
    struct sim_ahead ahead;   /* all of them before everything in the queue */
    struct sim_host *host;    /* [limit - first] */
    uint32_t *frames, *draws; /* [limit - first] transmissions begun, random numbers drawn */
    struct sim_pool pool;
    struct sim_cell *cell;
    uint32_t longest_us; /* longest span so far */
    struct sim_on_air *near;
    uint32_t near_cap;
    sim_time cut_from, cut_until; /* partition */
    int32_t cut_x_mm;
    struct sim_mail *mail;
    size_t mails, mail_cap;
    uint64_t mail_order;
    unsigned rank, ranks;
    struct sim_buffer *out, *in; /* [ranks] */
    struct sim_totals totals;
    uint64_t told[SIM_ROW_KIND_COUNT];
    bool has_failed;
    char error[256];
};

/* --- digest -------------------------------------------------------------------------------------------------------- */

static inline uint64_t sim_mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0x9E3779B97F4A7C15u;
    x ^= x >> 29;
    x *= 0xBF58476D1CE4E5B9u;
    x ^= x >> 32;
    return x;
}

/* Adds a fact to the digest: a sum, so that order and rank don't matter. */
static inline void sim_digest(struct sim_engine *e, uint64_t hash)
{
    e->totals.digest[0] += hash;
    e->totals.digest[1] += (hash ^ hash >> 31) * 0x94D049BB133111EBu;
}

static inline uint64_t sim_tx_key(const struct sim_tx *tx)
{
    return sim_mix((uint64_t)tx->node << 32 | tx->number);
}

/* sim_engine_outcome() with sim_tx_key() at hand. */
static inline void sim_count_outcome(struct sim_engine *e, uint64_t key, uint32_t to, enum sim_outcome outcome)
{
    e->totals.outcome[outcome]++;
    sim_digest(e, sim_mix(key + ((uint64_t)to << 8 | outcome) * 0xD6E8FEB86659FD93u));
}

/* --- engine.c ------------------------------------------------------------------------------------------------------ */

static inline bool sim_engine_owns(const struct sim_engine *e, uint32_t node)
{
    return node - e->first < e->limit - e->first;
}
/* Puts the events taken early back into the queue. */
void sim_engine_give_back(struct sim_engine *e);
/* Mail to an own node; the data is copied. */
void sim_engine_put_mail(struct sim_engine *e, const struct sim_mail *mail);

/* --- engine_air.c -------------------------------------------------------------------------------------------------- */

int sim_air_open(struct sim_engine *e);
void sim_air_close(struct sim_engine *e);
size_t sim_air_bytes(const struct sim_engine *e);
/* What other ranks sent: transmissions and mail. */
void sim_air_import(struct sim_engine *e, const struct sim_buffer *in);
/* Mail to another rank's node. */
void sim_air_export_mail(struct sim_engine *e, unsigned rank, const struct sim_mail *mail);
int sim_air_save(struct sim_engine *e, struct sim_archive *a);
int sim_air_load(struct sim_engine *e, struct sim_archive *a);

#endif
