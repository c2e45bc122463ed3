/*
 * What the medium's two source files share: its state. Private to sim/world.
 *
 * Every device is at any time in one of two phases: idle (its next step is the start of an event, when a set is due) or
 * on air (its next step is the end of the next PDU of its event). The end of a set's duration is a step of its own. The
 * devices lie in a heap by the time of their next step, ties by number, which makes the order of everything total.
 */
#ifndef SIM_MEDIUM_STATE_H
#define SIM_MEDIUM_STATE_H

#include "medium.h"

#define FOLLOWING SIM_VERDICT_COUNT /* provisional verdict: caught an ADV_EXT_IND, waits for the AUX */
#define NOBODY UINT32_MAX

struct adv_set {
    bool exists, enabled;
    struct sim_set_params params;
    uint32_t max_events, events; /* of this enabling; max 0: no limit */
    sim_time due;                /* earliest start of its next event */
    sim_time until;              /* end of its duration or SIM_NEVER */
    uint64_t order;              /* of enabling, for sets due at the same time */
    size_t len;
    uint8_t data[SIM_AD_MAX];
};

/* An event: on air, or over but still needed as interference for what overlapped it. */
struct on_air {
    struct sim_event plan;
    uint32_t device;
    uint32_t number; /* of the device's events */
    uint8_t set, sid;
    uint8_t secondary_phy;
    int32_t tx_mdbm;
    sim_time start;
    sim_time cut; /* reset in mid-event, or SIM_NEVER */
    size_t hearers;
    uint32_t *hearer; /* [count of devices] */
    uint8_t *verdict;
    size_t len;
    uint8_t data[SIM_AD_MAX];
};

struct device {
    struct adv_set set[SIM_SETS_MAX];
    /* Two records are enough: starts are at least 20 ms apart and no PDU is longer than 17 ms, so when the older one
     * is reused nothing on air overlaps it. */
    struct on_air event[2];
    unsigned current;
    bool on_air;
    unsigned pdu;        /* on air: index of the PDU that ends next, plan.primaries = AUX */
    uint32_t number;     /* events started */
    sim_time next_start; /* end of the pacing gap */
    bool scanning;
    uint32_t scan_interval_us, scan_window_us;
    sim_time scan_origin;
    sim_time follow_until; /* deaf until then */
    struct on_air *follow; /* the event whose AUX is awaited, NULL when none or it is over */
    size_t follow_index;   /* own index among its hearers */
    struct sim_medium_counters counters;
    uint32_t *near; /* devices that may hear it at any power, ascending */
    size_t near_count;
    bool near_valid;
    sim_time step;  /* heap key */
    uint32_t place; /* in the heap */
};

struct sim_medium {
    struct sim_medium_config config;
    struct sim_medium_ops ops;
    void *ctx;
    sim_time now;
    uint32_t count;
    struct device *device;
    int32_t *loss; /* [count * count] path loss */
    uint32_t *heap;
    struct on_air **air; /* events that may still overlap a PDU on air */
    size_t air_count;
    uint32_t longest_us; /* the longest PDU so far */
    uint64_t order;
    struct sim_medium_counters counters;
};

static inline int32_t path_loss(const struct sim_medium *m, uint32_t a, uint32_t b)
{
    return m->loss[(size_t)a * m->count + b];
}

/* medium_event.c: the steps of an event. Times are m->now. */
void sim_event_start(struct sim_medium *m, uint32_t device, unsigned set);
void sim_event_pdu_end(struct sim_medium *m, uint32_t device);
/* Ends the device's event at once (a reset): its hearers lose it, nothing is told. */
void sim_event_cut(struct sim_medium *m, uint32_t device);
/* The device stops awaiting an AUX, with this verdict. */
void sim_event_unfollow(struct sim_medium *m, uint32_t device, enum sim_verdict verdict);

#endif
