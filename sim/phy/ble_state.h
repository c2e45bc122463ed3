/*
 * What the two source files of the Bluetooth LE model share: its state. Private to sim/phy.
 */
#ifndef SIM_BLE_STATE_H
#define SIM_BLE_STATE_H

#include "sim/engine/engine_state.h"

#define EVENT_START SIM_EVENT_PHY
#define EVENT_PRIMARY (SIM_EVENT_PHY + 1)
#define EVENT_END (SIM_EVENT_PHY + 2)

#define DELIVERY_MAX_US 10000 /* two own events are remembered: see has_own_event() */
#define FAR_US 200000         /* own events that started longer before overlap nothing that is being decided */

enum scan { SCAN_OFF, SCAN_NONE, SCAN_STEADY, SCAN_DUTY };

/* What verdicts look at, half a cache line. */
struct receiver {
    sim_time follow_until;
    sim_time start;   /* of the latest own event */
    uint32_t before;  /* from the start of the one before it to `start`, saturated */
    uint16_t span[2]; /* of the latest and the one before; 0: none */
    uint32_t phase;   /* STEADY: the scanner is this far into its three channels at time 0 */
    uint8_t scan;     /* enum scan */
    uint8_t was_off;  /* the radio went on not long ago: look at on_since */
    uint8_t unused[2];
};

/* What they seldom need. */
struct account {
    uint64_t tx_us;
    uint64_t rx_us;    /* until `since`, less own events since (modulo 2^64) */
    sim_time since;    /* of the present kind of scanning */
    sim_time on_since; /* radio on */
    uint32_t interval_us, window_us;
};

struct ble {
    struct sim_engine *e;
    const struct sim_field *f;
    const struct sim_radio *radio;
    struct receiver *receiver; /* [own] */
    struct account *account;   /* [own] */
    bool is_legacy, is_ideal, has_capture;
    uint32_t airtime_us;                      /* extended: of an ADV_EXT_IND */
    uint32_t step_us;                         /* extended: from one to the next */
    uint32_t interval_us, window_us, turn_us; /* steady scanning; turn: three intervals */
    uint32_t delivery_us;
    uint32_t loss_limit; /* links below this loss (1/16 dB) capture over the noise */
    uint64_t *most;      /* [loss_limit] by a link's loss: with so much interference a packet still captures */
    uint64_t in_range;   /* what a packet that just reaches the sensitivity is received with */
    uint32_t loss_ppm;
    enum sim_phy aux_phy;
    uint32_t *heard; /* [most links of a node] indices of links, with the channel in the bits from HEARD_TURN on */
    uint32_t turn;   /* channel (37 + turn) of the packet that was decided last */
    struct sim_on_air *disturber;
    uint32_t disturber_cap;
};

/* --- geometry of an event ------------------------------------------------------------------------------------------ */

struct timing {
    uint32_t packet_us;  /* airtime of a primary packet */
    uint32_t step_us;    /* from one to the next */
    uint32_t primary_us; /* start to the end of the last of them */
    uint32_t aux_us;     /* start to the start of the AUX; legacy: 0 */
    uint32_t span_us;
};

static inline struct timing timing_of(const struct ble *b, size_t len)
{
    struct timing t;
    t.packet_us = b->is_legacy ? sim_airtime_legacy_us((unsigned)len) : b->airtime_us;
    t.step_us = t.packet_us + b->radio->primary_gap_us;
    t.primary_us = 2 * t.step_us + t.packet_us;
    t.aux_us = b->is_legacy ? 0 : t.primary_us + b->radio->aux_gap_us;
    t.span_us = b->is_legacy ? t.primary_us : t.aux_us + sim_airtime_aux_us(b->aux_phy, (unsigned)len);
    return t;
}

/* --- ble_hear.c ---------------------------------------------------------------------------------------------------- */

/* The pass at the end of the last ADV_EXT_IND, and the one at the end of the event, which delivers. */
void sim_ble_primary(struct ble *b, struct sim_tx *tx);
void sim_ble_end(struct ble *b, struct sim_tx *tx, sim_time now);
/* Hints, see sim_phy_ops.prefetch. */
void sim_ble_prefetch(void *phy, struct sim_event_key next, unsigned stage);

#endif
