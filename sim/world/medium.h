/*
 * The shared radio medium: virtual Bluetooth LE controllers' radios on one air.
 *
 * Time is passed in (integer microseconds), so one implementation serves virtual time (benchmarks, simulator) and the
 * real clock (live air). The owner calls sim_medium_advance(m, now) before it hands in anything new, and arms one timer
 * for sim_medium_next(). All randomness comes from the seed: same calls, same result. Not thread safe per medium,
 * reentrant across media.
 *
 * Pacing: all advertising sets of one device together start one event per radio.interval_us + U(0, radio.delay_us). An
 * event starts at max(time the set became due + radio.processing_us, previous start of the device + that gap, end of
 * the device's event on air). A set enabled with max_events above 1 (or 0) becomes due again interval + the same random
 * delay after its start.
 *
 * Reception: device j receives an event of i when
 *   - it scans, its channel is that of one of the ADV_EXT_IND for the whole of it, it is not following another AUX
 *     and not in an event of its own, and the ADV_EXT_IND captures (SINR against the sum of everything on that
 * channel);
 *   - it then leaves the primary channels until the end of the AUX: deaf to anything else, whatever becomes of the AUX;
 *   - it starts no event of its own before the AUX ends, and the AUX captures on its data channel;
 *   - the random draw of this reception is not a loss.
 */
#ifndef SIM_MEDIUM_H
#define SIM_MEDIUM_H

#include "sim/radio/radio.h"

#define SIM_DEVICES_MAX 1024
#define SIM_SETS_MAX 8          /* advertising sets of a device */
#define SIM_LOSS_NONE INT32_MAX /* path loss of a pair that does not couple at all */
#define SIM_SCAN_INTERVAL_US 100000

struct sim_medium;

/* What became of one event at one device that is in range of it (path loss lets it reach the sensitivity). */
enum sim_verdict {
    SIM_RECEIVED,
    SIM_LOST_OFF,         /* not scanning, outside the window, or changing channel */
    SIM_LOST_DEAF,        /* following another AUX */
    SIM_LOST_HALF_DUPLEX, /* in an event of its own, at the ADV_EXT_IND or at the AUX */
    SIM_LOST_PRIMARY,     /* collision on the primary channel */
    SIM_LOST_AUX,         /* collision on the data channel */
    SIM_LOST_RANDOM,      /* the configured frame loss */
    SIM_LOST_CUT,         /* the sender was reset in mid-event */
    SIM_VERDICT_COUNT
};

/* A received frame. The data is the medium's and valid only during the callback. */
struct sim_reception {
    sim_time at;   /* end of the AUX */
    uint32_t from; /* transmitting device */
    uint8_t set;   /* its advertising set */
    uint8_t sid;   /* that set's advertising SID */
    enum sim_phy primary_phy;
    enum sim_phy secondary_phy;
    int8_t rssi_dbm;
    int8_t tx_dbm;
    const uint8_t *data; /* advertising data, 0 to SIM_AD_MAX bytes */
    size_t len;
};

/* A whole event, told at its end after its receptions; arrays are the medium's and valid only during the callback. */
struct sim_event_report {
    sim_time start;
    sim_time end;
    uint32_t device;
    uint8_t set;
    uint8_t aux_channel;
    const uint8_t *data;
    size_t len;
    size_t hearers;         /* devices in range */
    const uint32_t *hearer; /* [hearers], ascending */
    const uint8_t *verdict; /* [hearers], enum sim_verdict */
};

enum sim_set_end { SIM_END_EVENTS, SIM_END_DURATION };

/* Called from sim_medium_advance() only. Every one may be NULL, and each may call any function of this header but
 * advance and close. */
struct sim_medium_ops {
    void (*received)(void *ctx, uint32_t device, const struct sim_reception *reception);
    /* An event of `device` is over; a host that sends one frame an event may hand in the next. */
    void (*event_ended)(void *ctx, const struct sim_event_report *report);
    /* A set disabled itself: max_events done (after that event's event_ended) or duration over. events: how many it
     * had. */
    void (*set_ended)(void *ctx, uint32_t device, unsigned set, enum sim_set_end why, uint32_t events, sim_time at);
};

struct sim_medium_config {
    uint64_t seed;
    uint32_t loss_ppm;      /* frame loss drawn per reception, 0 to 1000000 */
    struct sim_radio radio; /* in the ranges of sim_radio_check() */
};

/* count 1 to SIM_DEVICES_MAX. No pair couples, no device scans, time is 0. NULL: out of memory or a value out of range.
 */
struct sim_medium *sim_medium_open(const struct sim_medium_config *config, uint32_t count,
                                   const struct sim_medium_ops *ops, void *ctx);
void sim_medium_close(struct sim_medium *m);

/* Path loss of a pair, both ways; SIM_LOSS_NONE cuts it. May change at any time; events on air keep what they began
 * with only as far as their list of hearers goes. 0, or -1: a device out of range or a == b. */
int sim_medium_link(struct sim_medium *m, uint32_t a, uint32_t b, int32_t loss_mdb);
/* Path loss of a pair as it is now, mdB; SIM_LOSS_NONE: does not couple, out of range, or a == b. */
int32_t sim_medium_path_loss(const struct sim_medium *m, uint32_t a, uint32_t b);
/* Path losses of all pairs from positions [count], by the radio's model with shadowing. */
void sim_medium_place(struct sim_medium *m, const struct sim_position *position);
/* Frame loss from now on. */
void sim_medium_set_loss(struct sim_medium *m, uint32_t loss_ppm);

/* --- time
 * -------------------------------------------------------------------------------------------------------------- */

/* When something happens next, SIM_NEVER when nothing will. */
sim_time sim_medium_next(const struct sim_medium *m);
/* Runs everything up to and including `until`. Going back is a no-op. */
void sim_medium_advance(struct sim_medium *m, sim_time until);
/* Time reached so far. Calls below that take `now` use the later of the two, but the time of the next step when that
 * has not been run yet: advance first. */
sim_time sim_medium_now(const struct sim_medium *m);

/* --- a device's radio: 0 or -1 (device, set or value out of range, or not possible in this state; nothing changed)
 * ----- */

struct sim_set_params {
    uint32_t interval_us;  /* primary advertising interval; below radio.interval_us is taken as that */
    int32_t tx_mdbm;       /* SIM_TX_DEFAULT: the radio's */
    uint8_t channel_map;   /* bits 0 to 2: 37, 38, 39; 0 is taken as all */
    uint8_t sid;           /* 0 to 15 */
    uint8_t primary_phy;   /* SIM_PHY_1M only: scanners listen to no other */
    uint8_t secondary_phy; /* enum sim_phy */
};
#define SIM_TX_DEFAULT INT32_MIN

/* Creates or changes a set (fails while it is enabled). */
int sim_medium_set_params(struct sim_medium *m, uint32_t device, unsigned set, const struct sim_set_params *params);
/* Data of a set's next event and all after it; allowed at any time once the set has parameters. len 0 to SIM_AD_MAX,
 * copied. */
int sim_medium_set_data(struct sim_medium *m, uint32_t device, unsigned set, const uint8_t *data, size_t len);
/* Enables a set (again: starts it anew). max_events 0: no limit. duration_us 0: no limit. */
int sim_medium_set_enable(struct sim_medium *m, sim_time now, uint32_t device, unsigned set, uint32_t max_events,
                          sim_time duration_us);
/* Disables a set; an event of it that is on air is finished, but no set_ended is told. */
int sim_medium_set_disable(struct sim_medium *m, sim_time now, uint32_t device, unsigned set);
bool sim_medium_set_is_enabled(const struct sim_medium *m, uint32_t device, unsigned set);
/* Forgets a set (fails while it is enabled). */
int sim_medium_set_remove(struct sim_medium *m, uint32_t device, unsigned set);

/* Passive scanning from now on; 2500 <= window <= interval <= 40960000. Phase starts now on channel 37. */
int sim_medium_scan_start(struct sim_medium *m, sim_time now, uint32_t device, uint32_t interval_us,
                          uint32_t window_us);
int sim_medium_scan_stop(struct sim_medium *m, sim_time now, uint32_t device);
/* All sets removed, scanning off, an event on air cut short (a controller reset, or its power gone). Pacing is kept. */
int sim_medium_reset(struct sim_medium *m, sim_time now, uint32_t device);

/* Shorthand for hosts without HCI: one frame as one event of set 0. -1 also when one is still waiting or on air. */
int sim_medium_submit(struct sim_medium *m, sim_time now, uint32_t device, const uint8_t *data, size_t len);
/* When a frame submitted at that very moment would start without waiting: pacing gap over, radio idle. While the last
 * event of the only enabled set is on air that is known already; while one waits for its start, or more will follow:
 * SIM_NEVER. */
sim_time sim_medium_ready_at(const struct sim_medium *m, uint32_t device);

/* --- counters
 * ---------------------------------------------------------------------------------------------------------- */

struct sim_medium_counters {
    uint64_t events;                     /* started */
    uint64_t bytes;                      /* advertising data in them */
    uint64_t airtime_us;                 /* PDUs alone */
    uint64_t verdict[SIM_VERDICT_COUNT]; /* one for each event and device in range */
};
const struct sim_medium_counters *sim_medium_counters(const struct sim_medium *m);
/* The same for the events of one device; NULL when out of range. */
const struct sim_medium_counters *sim_medium_device_counters(const struct sim_medium *m, uint32_t device);
/* Name of a verdict ("received", "deaf", ...), static storage. */
const char *sim_verdict_name(enum sim_verdict verdict);

#endif
