/*
 * Between the engine and a radio model: what a model must provide, and what the engine does for it.
 *
 * A model (ble.c: extended and legacy advertising; ieee802154.c: CSMA-CA) owns the radio of every node of this rank. It
 * takes one frame of a node at a time, decides when the transmission begins, tells the engine so, and decides at the
 * end of each packet, plus the lookahead, who received it. The engine owns the queue, the pool of transmissions, the
 * cells in which transmissions on air are found, the exchange between ranks, and the calls into the stack.
 *
 * Order and ranks. All events of a node are run in the order (time, node, kind) of their keys. A transmission is made
 * known with sim_engine_begin() at a time `now` of an event, and starts at `start` >= now. It is on every rank that it
 * may concern from now + lookahead on. So the rule of a model: an event at time t may depend on transmissions that were
 * begun before t - lookahead, and on nothing else of other nodes. BLE begins at the start itself and decides at the end
 * of a packet + delivery (lookahead = delivery); CSMA begins when its channel assessment succeeded, a turnaround before
 * the start, and assesses at a time that needs only starts before it (lookahead = turnaround). The transmissions of
 * other ranks arrive by arrived(); they go through the same evaluation with events of the same keys, for the receivers
 * of this rank. Nothing may depend on the order of sim_engine_collect()'s list.
 *
 * Private to sim/engine and sim/phy. Not thread safe.
 */
#ifndef SIM_PHY_H
#define SIM_PHY_H

#include "sim/engine/engine.h"
#include "sim/engine/queue.h"

/* Kinds of events: the engine's two, then those of the model in use, in the order in which they are run at one time. */
#define SIM_EVENT_MAIL 0
#define SIM_EVENT_WAKE 1
#define SIM_EVENT_PHY 2 /* the model's: 2 to 15 */

/* A transmission, waiting or on air. From the engine's pool: the address stays the same until it is released. */
struct sim_tx {
    sim_time start;   /* first packet; waiting: as planned */
    uint32_t span_us; /* start to the end of the last packet; at most SIM_SPAN_MAX */
    uint32_t node;
    uint32_t number; /* of the node's transmissions, set by sim_engine_begin() */
    uint32_t slot;   /* in the pool */
    uint32_t next;   /* slot of the node's next older one, or SIM_TX_NONE */
    uint16_t len;
    uint8_t type;
    uint8_t channel; /* that of the packet with the data (BLE: AUX, 0 to 36) */
    uint8_t has_begun;
    uint8_t note[3]; /* the model's; travels to other ranks */
    uint8_t data[256];
    uint64_t caught[]; /* bit i: the model's, about link i of the node; cleared at first */
};
#define SIM_TX_NONE UINT32_MAX
#define SIM_SPAN_MAX 65535u

/* A transmission in the cells: what may disturb others. */
struct sim_on_air {
    sim_time start;
    uint32_t node;
    uint16_t span_us;
    uint8_t channel;
    uint8_t note; /* sim_tx.note[0] */
    int32_t x_mm, y_mm;
};

struct sim_phy_ops {
    const char *name;
    /* How long a transmission, once begun, cannot influence another node. At least 1. */
    sim_time (*lookahead)(const struct sim_scenario *s);
    /* State for all own nodes, radios on, scanning as the scenario says. NULL with a sentence in error. */
    void *(*open)(struct sim_engine *e, char *error, size_t cap);
    void (*close)(void *phy);
    /* A frame of a node whose radio is ready. The model calls sim_engine_ready() when the next may come. */
    void (*submit)(void *phy, uint32_t node, sim_time now, const struct sim_frame *frame);
    /* An event of kind SIM_EVENT_PHY or above; the node may be another rank's (a transmission that arrived). */
    void (*event)(void *phy, struct sim_event_key event);
    /* A transmission of another rank's node has begun: push the events of its evaluation. */
    void (*arrived)(void *phy, struct sim_tx *tx);
    /* Off: a frame that waits is dropped, nothing is received. On: returns when a frame may be handed in; off:
     * SIM_NEVER. Calls without a change are allowed. */
    sim_time (*power)(void *phy, uint32_t node, sim_time now, bool on);
    /* Scanning from now on; models without duty cycle may ignore it. */
    void (*scan)(void *phy, uint32_t node, sim_time now, uint32_t interval_us, uint32_t window_us);
    void (*use)(const void *phy, uint32_t node, sim_time now, struct sim_radio_use *use);
    /* Hints, may be NULL. Told of an event three times on its way to being run: 0, to fetch what is found by the node's
     * number; 1, what is found from that; 2, what is found from that. */
    void (*prefetch)(void *phy, struct sim_event_key event, unsigned stage);
    size_t (*bytes)(const void *phy);
    /* In a section that the engine has begun. 0 or -1 (sticky in the archive). */
    int (*save)(void *phy, struct sim_archive *a);
    int (*load)(void *phy, struct sim_archive *a);
};

extern const struct sim_phy_ops sim_ble_extended; /* ble.c */
extern const struct sim_phy_ops sim_ble_legacy;   /* ble.c */
extern const struct sim_phy_ops sim_ieee802154;   /* ieee802154.c */

/* --- what the engine does for a model ------------------------------------------------------------------------------ */

/* An event of the model for later; it cannot be taken back. */
void sim_engine_push(struct sim_engine *e, sim_time at, uint32_t node, uint32_t kind);
/* From `at` (SIM_NEVER: until told again) an own node's radio takes another frame. */
void sim_engine_ready(struct sim_engine *e, uint32_t node, sim_time now, sim_time at);
/* Hands a frame to the stack of an own node. Pointers into the pool stay valid; the stack may hand in a frame. */
void sim_engine_deliver(struct sim_engine *e, uint32_t node, sim_time now, const struct sim_heard *heard);

/* A copy of the frame as a waiting transmission, newest of the node's chain. NULL: out of memory, and the run fails. */
struct sim_tx *sim_engine_tx_new(struct sim_engine *e, uint32_t node, const struct sim_frame *frame);
/* Takes it off the node's chain and frees it: when dropped, or when its last evaluation is done. What is on air may
 * still disturb others: that is kept by time, apart from this. */
void sim_engine_tx_release(struct sim_engine *e, struct sim_tx *tx);
/* The node's transmissions, newest first; NULL at the end. Any node. */
struct sim_tx *sim_engine_tx_first(struct sim_engine *e, uint32_t node);
struct sim_tx *sim_engine_tx_next(struct sim_engine *e, const struct sim_tx *tx);
/* The transmission of an own node is certain: start, span, channel and note are set and final. Numbers it, puts it into
 * the cells, tells the ranks it concerns, counts it (airtime_us: of all its packets) and adds it to the digest. The
 * model then calls sim_engine_sent() for each packet when sim_engine_is_traced(). */
void sim_engine_begin(struct sim_engine *e, struct sim_tx *tx, uint32_t airtime_us);
/* The number that the node's next transmission will get: for draws that name it. */
uint32_t sim_engine_tx_number(const struct sim_engine *e, uint32_t node);
bool sim_engine_is_traced(const struct sim_engine *e);
void sim_engine_sent(struct sim_engine *e, const struct sim_sent *sent);

/* All other nodes' transmissions, near enough to disturb any receiver of `node`, that are on air at some time in
 * [from, to). Valid until the next call; *count of them; in no order that means anything. Entries are kept for
 * the longest span so far + lookahead + delivery + 500 us after their end. */
const struct sim_on_air *sim_engine_collect(struct sim_engine *e, uint32_t node, sim_time from, sim_time to,
                                            uint32_t *count);
/* The same of those with this sim_tx.channel, and of those that started from `first` to `last`, both included. */
const struct sim_on_air *sim_engine_collect_on(struct sim_engine *e, uint32_t node, sim_time from, sim_time to,
                                               uint8_t channel, uint32_t *count);
const struct sim_on_air *sim_engine_collect_started(struct sim_engine *e, uint32_t node, sim_time first, sim_time last,
                                                    uint32_t *count);
/* Around a listener: near enough to disturb `node` itself. */
const struct sim_on_air *sim_engine_collect_at(struct sim_engine *e, uint32_t node, sim_time from, sim_time to,
                                               uint32_t *count);
/* Power of a transmission of `from` at `to` in the units of sim_linear(), 0 beyond the interference
 * radius, across a partition, or when from == to.
 * `at`: time, for partitions. */
uint64_t sim_engine_power_at(const struct sim_engine *e, uint32_t from, uint32_t to, sim_time at);
/* True when a partition separates the two at that time. */
bool sim_engine_is_cut(const struct sim_engine *e, uint32_t a, uint32_t b, sim_time at);

/* One evaluation is decided: counted and added to the digest. `to` is an own node. */
void sim_engine_outcome(struct sim_engine *e, const struct sim_tx *tx, uint32_t to, enum sim_outcome outcome);

#endif
