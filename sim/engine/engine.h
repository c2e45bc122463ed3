/*
 * The engine: runs a stack on every node of a field over a modelled radio, in virtual time, on one rank or several.
 *
 * Events are ordered by (time, node, kind); every random number is named by (seed, node, purpose, count); what one node
 * does reaches another no sooner than the lookahead: radio.delivery for Bluetooth LE. (Announcing a transmission when
 * its frame is handed in rather than when it starts would add radio.processing, 15 % at the defaults, but what waits can
 * still be dropped.) So ranks work through windows of that length and exchange the transmissions that began in the last
 * one, and the result is the same for any number of ranks. Nothing happens between events: idle time costs nothing.
 *
 * Radio models live in sim/phy; DESIGN and SIMULATOR in docs have the formulas. One engine per process and run; not
 * thread safe.
 */
#ifndef SIM_ENGINE_H
#define SIM_ENGINE_H

#include "stack.h"

/* Outcome of one transmission at one receiver in range: one "evaluation". */
enum sim_outcome {
    SIM_HEARD,
    SIM_MISSED_OFF,         /* radio off, outside the scan window, or changing channel */
    SIM_MISSED_DEAF,        /* following another packet */
    SIM_MISSED_HALF_DUPLEX, /* transmitting itself */
    SIM_MISSED_COLLISION,   /* SINR too low on the (primary) channel */
    SIM_MISSED_AUX,         /* the same on the auxiliary packet's channel */
    SIM_MISSED_NOISE,       /* the draw of the packet error rate (802.15.4), or below sensitivity */
    SIM_MISSED_LOSS,        /* the scenario's frame_loss */
    SIM_MISSED_CUT,         /* a partition separates the two */
    SIM_OUTCOME_COUNT
};

/* Sums over this rank's nodes; add the ranks with sim_engine_totals(). All uint64_t. */
struct sim_totals {
    uint64_t frames[16]; /* transmissions by the stack's type */
    uint64_t bytes[16];  /* of frame data */
    uint64_t airtime_us; /* of all packets */
    uint64_t outcome[SIM_OUTCOME_COUNT];
    uint64_t events;  /* popped from the queue */
    uint64_t windows; /* the same on all ranks; summed all the same: divide by the ranks */
    uint64_t
        digest[2]; /* sums over every start, transmission, outcome and row of a hash of it: equal digests, equal runs */
};

/* What happened, as rows of the result (sim/result). `what` is one of the words below; a and b are its numbers. */
enum sim_row_kind {
    SIM_ROW_COMPLETE,    /* node holds all of image a */
    SIM_ROW_INSTALLED,   /* node runs release a for the first time (trial begins) */
    SIM_ROW_CONFIRMED,   /* release a confirmed */
    SIM_ROW_ROLLED_BACK, /* release a given up; b: enum mp_reason */
    SIM_ROW_REFUSED,     /* release a refused; b: reason */
    SIM_ROW_RESET,       /* rebooted; b: enum boot_cause */
    SIM_ROW_DOWN,        /* off: churn, battery, brick; b: enum sim_down */
    SIM_ROW_UP,
    SIM_ROW_REPORTED, /* gateway committed the report of node a; b: phase */
    SIM_ROW_DEGRADED, /* a bad image of release a began to misbehave in service */
    SIM_ROW_DECISION, /* gate decision; text in sim_engine_say() */
    SIM_ROW_KIND_COUNT
};
enum sim_down { SIM_DOWN_CHURN = 1, SIM_DOWN_BATTERY, SIM_DOWN_BRICK, SIM_DOWN_BOOT };

struct sim_row {
    sim_time at;
    uint32_t node;
    uint32_t kind; /* enum sim_row_kind */
    uint32_t a, b;
};

/* Summary of one node, told by stacks in finish(). */
struct sim_node_summary {
    uint32_t node;
    uint8_t is_gateway, is_attacker, model, hw_revision; /* model 0: it has none */
    uint8_t is_down;                                     /* at the end: enum sim_down, 0 up */
    uint16_t hops;                                       /* to the nearest gateway by links, 65535 none */
    sim_time complete_at;                                /* SIM_NEVER: not */
    sim_time installed_at;
    sim_time confirmed_at;
    uint32_t release; /* running at the end */
    uint32_t frames;  /* sent */
    uint64_t tx_us, rx_us, energy_uj;
};

/* One packet on air, for traces: extended advertising tells one for each ADV_EXT_IND and one for the AUX_ADV_IND. */
struct sim_sent {
    sim_time start, end;
    uint32_t node, number;
    enum sim_bearer bearer;
    uint8_t channel;     /* Bluetooth LE 0 to 39; 802.15.4 11 to 26 */
    uint8_t phy;         /* enum sim_phy */
    uint8_t part;        /* 0, 1, 2: primary packets; 3: auxiliary; legacy and 802.15.4: 0 to 2 */
    uint8_t aux_channel; /* of an ADV_EXT_IND */
    int32_t tx_mdbm;
    uint32_t aux_offset_us; /* of an ADV_EXT_IND: its start to the AUX's */
    uint8_t type;
    const uint8_t *data;
    size_t len;
};

/* Told as it happens, on the rank of the node. All may be NULL. */
struct sim_engine_hooks {
    void *ctx;
    /* Summary of a node, from the stack's finish(). */
    void (*summary)(void *ctx, const struct sim_node_summary *summary);
    void (*row)(void *ctx, const struct sim_row *row);
    /* A sentence that belongs to the row just told (decisions). */
    void (*say)(void *ctx, const struct sim_row *row, const char *text);
    /* A transmission of a node of this rank begins; for traces. Channels and times are the model's. */
    void (*sent)(void *ctx, const struct sim_sent *sent);
};

struct sim_engine_config {
    const struct sim_scenario *scenario; /* must outlive the engine */
    const struct sim_field *field;       /* likewise */
    const struct sim_stack *stack;
    uint64_t seed;
    struct sim_engine_hooks hooks;
};

/* Opens the engine and starts every node at time 0. NULL with a sentence in error. Collective. */
struct sim_engine *sim_engine_open(const struct sim_engine_config *config, char *error, size_t cap);
void sim_engine_close(struct sim_engine *e);
/* Runs everything before `until` and makes it the time. Collective. 0, or -1: sim_engine_error(). */
int sim_engine_advance(struct sim_engine *e, sim_time until);
sim_time sim_engine_now(const struct sim_engine *e);
/* Time of the next event on any rank as of the last advance; SIM_NEVER: nothing will happen any more. */
sim_time sim_engine_next(const struct sim_engine *e);
/* Sums over all ranks. Collective. */
void sim_engine_totals(struct sim_engine *e, struct sim_totals *totals);
/* Calls the stack's finish(), which tells a summary of every own node. Once, at the end. */
void sim_engine_finish(struct sim_engine *e);
const char *sim_engine_error(const struct sim_engine *e);
/* What the stack's open() returned. */
void *sim_engine_stack_ctx(struct sim_engine *e);
/* Checkpoint of this rank between two advances; one file a rank, the same number of ranks. 0 or -1. */
int sim_engine_save(struct sim_engine *e, struct sim_archive *a);
int sim_engine_load(struct sim_engine *e, struct sim_archive *a);
/* Radio-side figures of an own node since the start. */
struct sim_radio_use {
    uint64_t tx_us; /* transmitting */
    uint64_t rx_us; /* scanning or listening (following included) */
    uint32_t frames;
};
void sim_engine_radio_use(const struct sim_engine *e, uint32_t node, struct sim_radio_use *use);
size_t sim_engine_bytes(const struct sim_engine *e);

/* --- for stacks: about own nodes, from inside their calls ---------------------------------------------------------- */

const struct sim_scenario *sim_engine_scenario(const struct sim_engine *e);
const struct sim_field *sim_engine_field(const struct sim_engine *e);
uint64_t sim_engine_seed(const struct sim_engine *e);
/* The node's next random number (Philox, named by seed, node and how many came before). */
uint32_t sim_engine_random(struct sim_engine *e, uint32_t node);
/* The radio of a node off or on; on at the start, scanning as the scenario says (scan_interval and scan_window; a share
 * duty_share of the nodes that are no gateways, drawn by the engine, duty_interval and duty_window), or by interval and window from now on (window 0: not
 * scanning, equal: all the time). A transmission that was handed in but did not begin is dropped when the radio goes off. */
void sim_engine_power(struct sim_engine *e, uint32_t node, bool on);
void sim_engine_scan(struct sim_engine *e, uint32_t node, uint32_t interval_us, uint32_t window_us);
/* Zeroed memory for an array with an entry for every node: on huge pages where the system has them, which makes access to
 * a large world's nodes a good deal faster. free() as usual. NULL: out of memory. */
void *sim_engine_alloc(size_t count, size_t size);
/* Something about `node` changed outside of its own calls: ask next_expiry() again. */
void sim_engine_touch(struct sim_engine *e, uint32_t node);
/* Outside the radio: arrives at `to` at `at`, at least the lookahead from now; at most 1,024 bytes, copied. */
void sim_engine_mail(struct sim_engine *e, uint32_t from, uint32_t to, sim_time at, const uint8_t *data, size_t len);
sim_time sim_engine_lookahead(const struct sim_engine *e);
/* A row of the result about a node of this rank; text may be NULL. */
void sim_engine_tell(struct sim_engine *e, uint32_t node, sim_time now, enum sim_row_kind kind, uint32_t a, uint32_t b,
                     const char *text);
/* The run cannot go on (memory, disagreement of a self-check): advance returns -1. The first sentence is kept. */
void sim_engine_fail(struct sim_engine *e, const char *why);
/* From finish(): a node's summary; frames, tx_us, rx_us and energy are filled in by the engine. */
void sim_engine_summarise(struct sim_engine *e, struct sim_node_summary *summary);
/* Count of rows told so far of a kind on this rank, for stop conditions. */
uint64_t sim_engine_told(const struct sim_engine *e, enum sim_row_kind kind);

#endif
