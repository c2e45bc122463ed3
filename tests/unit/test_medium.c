/* The shared medium: pacing, half duplex, deafness, collisions, capture, loss, sets, resets, reproducibility. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/world/medium.h"

#define NEAR 60000                    /* mdB of path loss */
#define GRID_HASH 0x7095a3f443e6c89bu /* seed 5 */

/* What the callbacks saw. */
struct log {
    unsigned received[8][8]; /* [to][from] */
    sim_time received_at;
    uint8_t last[SIM_AD_MAX];
    size_t last_len;
    int8_t rssi_dbm;
    unsigned events;
    sim_time starts[4096];
    sim_time end;
    unsigned set_ends;
    unsigned set;
    enum sim_set_end why;
    uint32_t set_events;
    uint64_t hash;
};

static void on_received(void *ctx, uint32_t device, const struct sim_reception *r)
{
    struct log *log = ctx;
    log->received[device & 7][r->from & 7]++;
    log->received_at = r->at;
    memcpy(log->last, r->data, r->len);
    log->last_len = r->len;
    log->rssi_dbm = r->rssi_dbm;
    log->hash = (log->hash ^ (r->at * 31 + device * 7 + r->from)) * 1099511628211u;
}

static void on_event_ended(void *ctx, const struct sim_event_report *report)
{
    struct log *log = ctx;
    if (log->events < 4096)
        log->starts[log->events] = report->start;
    log->events++;
    log->end = report->end;
}

static void on_set_ended(void *ctx, uint32_t device, unsigned set, enum sim_set_end why, uint32_t events, sim_time at)
{
    struct log *log = ctx;
    (void)device;
    (void)at;
    log->set_ends++;
    log->set = set;
    log->why = why;
    log->set_events = events;
}

static const struct sim_medium_ops OPS = {on_received, on_event_ended, on_set_ended};

static struct sim_medium *open_medium(uint32_t count, uint64_t seed, uint32_t loss_ppm, struct log *log)
{
    struct sim_medium_config config = {.seed = seed, .loss_ppm = loss_ppm};
    sim_radio_defaults(&config.radio);
    memset(log, 0, sizeof *log);
    struct sim_medium *m = sim_medium_open(&config, count, &OPS, log);
    assert_non_null(m);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(sim_medium_scan_start(m, 0, i, SIM_SCAN_INTERVAL_US, SIM_SCAN_INTERVAL_US), 0);
    return m;
}

static int submit(struct sim_medium *m, sim_time at, uint32_t device, const uint8_t *data, size_t len)
{
    sim_medium_advance(m, at);
    return sim_medium_submit(m, at, device, data, len);
}

static uint64_t verdicts(const struct sim_medium *m, enum sim_verdict verdict)
{
    return sim_medium_counters(m)->verdict[verdict];
}

static void frame_arrives_at_neighbours_only(void **state)
{
    (void)state;
    struct log log;
    struct sim_medium *m = open_medium(3, 1, 0, &log);
    uint8_t data[229];
    memset(data, 0xA5, sizeof data);
    sim_medium_link(m, 0, 1, NEAR);
    sim_medium_link(m, 1, 2, NEAR);
    assert_int_equal(sim_medium_next(m), SIM_NEVER);
    assert_int_equal(submit(m, 1000, 0, data, sizeof data), 0);
    assert_int_equal(submit(m, 1000, 0, data, sizeof data), -1); /* one at a time */
    assert_int_equal(sim_medium_ready_at(m, 0), SIM_NEVER);
    assert_int_equal(sim_medium_next(m), 1150);
    sim_medium_advance(m, 1150);
    assert_int_equal(submit(m, 1150, 0, data, sizeof data), -1);
    sim_medium_advance(m, 10000);
    assert_int_equal(log.received[1][0], 1);
    assert_int_equal(log.received[2][0], 0);
    /* 3 x 136 + 2 x 250 + 300 + 1992 after the start */
    assert_int_equal(log.received_at, 1150 + 3200);
    assert_int_equal(log.end, 1150 + 3200);
    assert_int_equal(log.last_len, 229);
    assert_memory_equal(log.last, data, 229);
    assert_int_equal(log.rssi_dbm, -60);
    assert_int_equal(sim_medium_counters(m)->airtime_us, 3 * 136 + 1992);
    assert_int_equal(log.set_ends, 1);
    sim_medium_close(m);
}

static void controller_paces_its_events(void **state)
{
    (void)state;
    struct log log;
    struct sim_medium *m = open_medium(2, 7, 0, &log);
    sim_medium_link(m, 0, 1, NEAR);
    const uint8_t data[50] = {1};
    const unsigned n = 2000;
    for (unsigned i = 0; i < n; i++) {
        sim_time ready = sim_medium_ready_at(m, 0);
        sim_medium_advance(m, ready);
        assert_int_equal(sim_medium_ready_at(m, 0), ready);
        assert_int_equal(submit(m, ready, 0, data, sizeof data), 0);
        sim_medium_advance(m, ready + 150);
    }
    sim_medium_advance(m, sim_medium_now(m) + 100000);
    assert_int_equal(log.events, n);
    sim_time least = SIM_NEVER, most = 0;
    for (unsigned i = 1; i < n; i++) {
        sim_time gap = log.starts[i] - log.starts[i - 1];
        least = gap < least ? gap : least;
        most = gap > most ? gap : most;
    }
    assert_in_range(least, 20000, 20100);
    assert_in_range(most, 29900, 30000);
    assert_in_range((log.starts[n - 1] - log.starts[0]) / (n - 1), 24800, 25200);
    sim_medium_close(m);
}

static void all_sets_share_one_pace(void **state)
{
    (void)state;
    struct log log;
    struct sim_medium *m = open_medium(1, 3, 0, &log);
    const struct sim_set_params params = {
        .interval_us = 20000, .tx_mdbm = SIM_TX_DEFAULT, .primary_phy = SIM_PHY_1M, .secondary_phy = SIM_PHY_1M};
    for (unsigned set = 0; set < 3; set++) {
        assert_int_equal(sim_medium_set_enable(m, 0, 0, set, 0, 0), -1); /* no parameters yet */
        assert_int_equal(sim_medium_set_params(m, 0, set, &params), 0);
        assert_int_equal(sim_medium_set_enable(m, 0, 0, set, 0, 0), 0);
        assert_int_equal(sim_medium_set_params(m, 0, set, &params), -1); /* enabled */
    }
    sim_medium_advance(m, 10000000);
    assert_in_range(log.events, 390, 410);
    for (unsigned i = 1; i < log.events; i++)
        assert_true(log.starts[i] - log.starts[i - 1] >= 20000);
    sim_medium_close(m);
}

static void sets_end_by_events_or_time(void **state)
{
    (void)state;
    struct log log;
    struct sim_medium *m = open_medium(1, 3, 0, &log);
    const struct sim_set_params params = {
        .interval_us = 50000, .tx_mdbm = SIM_TX_DEFAULT, .primary_phy = SIM_PHY_1M, .secondary_phy = SIM_PHY_1M};
    assert_int_equal(sim_medium_set_params(m, 0, 2, &params), 0);
    assert_int_equal(sim_medium_set_enable(m, 0, 0, 2, 5, 0), 0);
    sim_medium_advance(m, 1000000);
    assert_int_equal(log.events, 5);
    assert_int_equal(log.set_ends, 1);
    assert_int_equal(log.set, 2);
    assert_int_equal(log.why, SIM_END_EVENTS);
    assert_int_equal(log.set_events, 5);
    assert_true(log.starts[1] - log.starts[0] >= 50000 && log.starts[1] - log.starts[0] <= 60000);
    assert_false(sim_medium_set_is_enabled(m, 0, 2));
    assert_int_equal(sim_medium_set_enable(m, 1000000, 0, 2, 0, 170000), 0);
    sim_medium_advance(m, 2000000);
    assert_int_equal(log.why, SIM_END_DURATION);
    assert_int_equal(log.set_ends, 2);
    assert_in_range(log.set_events, 3, 4);
    assert_int_equal(log.events, 5 + log.set_events);
    /* disabled by its host: nothing is told */
    assert_int_equal(sim_medium_set_enable(m, 2000000, 0, 2, 0, 0), 0);
    assert_int_equal(sim_medium_set_disable(m, 2000100, 0, 2), 0);
    sim_medium_advance(m, 3000000);
    assert_int_equal(log.events, 5 + log.set_events);
    assert_int_equal(log.set_ends, 2);
    assert_int_equal(sim_medium_next(m), SIM_NEVER);
    assert_int_equal(sim_medium_set_remove(m, 0, 2), 0);
    assert_int_equal(sim_medium_set_enable(m, 3000000, 0, 2, 1, 0), -1);
    sim_medium_close(m);
}

/* 0 - 1 - 2: the ends do not hear each other and start at the same time. */
static void hidden_transmitters_collide_in_the_middle(void **state)
{
    (void)state;
    struct log log;
    struct sim_medium *m = open_medium(3, 1, 0, &log);
    const uint8_t data[100] = {1};
    sim_medium_link(m, 0, 1, NEAR);
    sim_medium_link(m, 2, 1, NEAR);
    submit(m, 0, 0, data, sizeof data);
    submit(m, 0, 2, data, sizeof data);
    sim_medium_advance(m, 10000);
    assert_int_equal(log.received[1][0] + log.received[1][2], 0);
    assert_int_equal(verdicts(m, SIM_LOST_PRIMARY), 2);
    /* 120 us apart still overlaps, on every primary channel */
    submit(m, 100000, 0, data, sizeof data);
    submit(m, 100120, 2, data, sizeof data);
    sim_medium_advance(m, 110000);
    assert_int_equal(verdicts(m, SIM_LOST_PRIMARY), 4);
    sim_medium_close(m);
}

static void stronger_frame_captures(void **state)
{
    (void)state;
    struct log log;
    struct sim_medium *m = open_medium(3, 1, 0, &log);
    const uint8_t data[100] = {1};
    sim_medium_link(m, 0, 1, NEAR);
    sim_medium_link(m, 2, 1, NEAR + 10000);
    submit(m, 0, 0, data, sizeof data);
    submit(m, 0, 2, data, sizeof data);
    sim_medium_advance(m, 10000);
    assert_int_equal(log.received[1][0], 1);
    assert_int_equal(log.received[1][2], 0);
    sim_medium_close(m);
}

/* While it follows one AUX a receiver misses what starts elsewhere; just after it, it hears again. */
static void follower_is_deaf_until_the_aux_is_over(void **state)
{
    (void)state;
    struct log log;
    struct sim_medium *m = open_medium(3, 1, 0, &log);
    const uint8_t data[229] = {1};
    sim_medium_link(m, 0, 1, NEAR);
    sim_medium_link(m, 2, 1, NEAR);
    submit(m, 0, 0, data, sizeof data);
    submit(m, 1500, 2, data, sizeof data);
    sim_medium_advance(m, 10000);
    assert_int_equal(log.received[1][0], 1);
    assert_int_equal(log.received[1][2], 0);
    assert_int_equal(verdicts(m, SIM_LOST_DEAF), 1);
    submit(m, 100000, 0, data, sizeof data);
    submit(m, 103200, 2, data, sizeof data);
    sim_medium_advance(m, 110000);
    assert_int_equal(log.received[1][0], 2);
    assert_int_equal(log.received[1][2], 1);
    assert_int_equal(verdicts(m, SIM_LOST_DEAF), 1);
    sim_medium_close(m);
}

static void transmitter_hears_nothing(void **state)
{
    (void)state;
    struct log log;
    struct sim_medium *m = open_medium(2, 1, 0, &log);
    const uint8_t data[229] = {1};
    sim_medium_link(m, 0, 1, NEAR);
    /* both at once: neither hears the other */
    submit(m, 0, 0, data, sizeof data);
    submit(m, 500, 1, data, sizeof data);
    sim_medium_advance(m, 10000);
    assert_int_equal(log.received[0][1] + log.received[1][0], 0);
    assert_int_equal(verdicts(m, SIM_LOST_HALF_DUPLEX), 2);
    /* 1 starts while it awaits the AUX of 0: that one is lost, and 0 is still in its event when 1 calls */
    submit(m, 100000, 0, data, sizeof data);
    submit(m, 102000, 1, data, sizeof data);
    sim_medium_advance(m, 110000);
    assert_int_equal(log.received[0][1] + log.received[1][0], 0);
    assert_int_equal(verdicts(m, SIM_LOST_HALF_DUPLEX), 4);
    sim_medium_close(m);
}

static void deafness_ends_with_an_event_of_ones_own(void **state)
{
    (void)state;
    struct log log;
    struct sim_medium *m = open_medium(3, 1, 0, &log);
    const uint8_t longest[229] = {1};
    struct sim_set_params coded = {
        .tx_mdbm = SIM_TX_DEFAULT, .primary_phy = SIM_PHY_1M, .secondary_phy = SIM_PHY_CODED};
    sim_medium_link(m, 0, 1, NEAR);
    sim_medium_link(m, 2, 1, NEAR);
    /* 0's coded AUX lasts 16 ms; 1 gives it up for an event of its own, then hears 2 */
    assert_int_equal(sim_medium_set_params(m, 0, 0, &coded), 0);
    coded.primary_phy = SIM_PHY_CODED; /* nobody could hear it */
    assert_int_equal(sim_medium_set_params(m, 0, 1, &coded), -1);
    submit(m, 0, 0, longest, sizeof longest);
    submit(m, 2000, 1, longest, 10);
    submit(m, 6000, 2, longest, 10);
    sim_medium_advance(m, 50000);
    assert_int_equal(log.received[1][0], 0);
    assert_int_equal(log.received[1][2], 1);
    assert_int_equal(log.received[2][1], 1);
    sim_medium_close(m);
}

static void scanner_needs_window_and_channel(void **state)
{
    (void)state;
    struct log log;
    struct sim_medium *m = open_medium(2, 1, 0, &log);
    const uint8_t data[10] = {1};
    const struct sim_set_params only_38 = {
        .tx_mdbm = SIM_TX_DEFAULT, .channel_map = 2, .primary_phy = SIM_PHY_1M, .secondary_phy = SIM_PHY_1M};
    sim_medium_link(m, 0, 1, NEAR);
    assert_int_equal(sim_medium_set_params(m, 0, 0, &only_38), 0);
    assert_int_equal(sim_medium_scan_start(m, 0, 1, 100000, 50000), 0);
    const struct {
        sim_time at;
        unsigned received;
    } step[] = {{30000, 0}, {130000, 1}, {170000, 0}, {230000, 0}, {430000, 1}};
    for (size_t i = 0; i < 5; i++) {
        log.received[1][0] = 0;
        submit(m, step[i].at, 0, data, sizeof data);
        sim_medium_advance(m, step[i].at + 20000);
        assert_int_equal(log.received[1][0], step[i].received);
    }
    assert_int_equal(verdicts(m, SIM_LOST_OFF), 3);
    assert_int_equal(sim_medium_scan_stop(m, 440000, 1), 0);
    submit(m, 730000, 0, data, sizeof data);
    sim_medium_advance(m, 800000);
    assert_int_equal(verdicts(m, SIM_LOST_OFF), 4);
    assert_int_equal(sim_medium_scan_start(m, 0, 1, 100000, 100001), -1);
    assert_int_equal(sim_medium_scan_start(m, 0, 1, 100000, 2499), -1);
    assert_int_equal(sim_medium_scan_start(m, 0, 2, 100000, 100000), -1);
    sim_medium_close(m);
}

static void loss_has_the_configured_rate(void **state)
{
    (void)state;
    struct log log;
    struct sim_medium *m = open_medium(2, 11, 100000, &log);
    const uint8_t data[10] = {1};
    const unsigned n = 4000;
    sim_medium_link(m, 0, 1, NEAR);
    for (unsigned i = 0; i < n; i++) {
        submit(m, (sim_time)i * 40000, 0, data, sizeof data);
        sim_medium_advance(m, (sim_time)i * 40000 + 30000);
    }
    uint64_t lost = verdicts(m, SIM_LOST_RANDOM);
    /* events across a change of the scanner's channel are lost as well, about 1 in 700 */
    assert_int_equal(lost + log.received[1][0] + verdicts(m, SIM_LOST_OFF), n);
    assert_in_range(lost, 400 - 57, 400 + 57); /* three standard deviations */
    sim_medium_set_loss(m, 1000000);
    log.received[1][0] = 0;
    submit(m, (sim_time)n * 40000, 0, data, sizeof data);
    sim_medium_advance(m, (sim_time)n * 40000 + 30000);
    assert_int_equal(log.received[1][0], 0);
    sim_medium_close(m);
}

static void weak_links_do_not_reach(void **state)
{
    (void)state;
    struct log log;
    struct sim_medium *m = open_medium(2, 1, 0, &log);
    const uint8_t data[10] = {1};
    struct sim_set_params loud = {.tx_mdbm = 10000, .primary_phy = SIM_PHY_1M, .secondary_phy = SIM_PHY_1M};
    sim_medium_link(m, 0, 1, 95000); /* sensitivity is -94 dBm */
    submit(m, 0, 0, data, sizeof data);
    sim_medium_advance(m, 10000);
    assert_int_equal(log.received[1][0], 0);
    assert_int_equal(sim_medium_set_params(m, 0, 0, &loud), 0);
    submit(m, 50000, 0, data, sizeof data);
    sim_medium_advance(m, 60000);
    assert_int_equal(log.received[1][0], 1);
    assert_int_equal(log.rssi_dbm, -85);
    sim_medium_link(m, 0, 1, SIM_LOSS_NONE);
    submit(m, 150000, 0, data, sizeof data);
    sim_medium_advance(m, 160000);
    assert_int_equal(log.received[1][0], 1);
    assert_int_equal(sim_medium_link(m, 0, 0, 1000), -1);
    assert_int_equal(sim_medium_link(m, 0, 2, 1000), -1);
    assert_int_equal(sim_medium_link(m, 0, 1, -1), -1);
    assert_int_equal(sim_medium_link(m, 0, 1, 71234), 0);
    assert_int_equal(sim_medium_path_loss(m, 0, 1), 71234);
    assert_int_equal(sim_medium_path_loss(m, 1, 0), 71234);
    assert_int_equal(sim_medium_path_loss(m, 0, 0), SIM_LOSS_NONE);
    assert_int_equal(sim_medium_path_loss(m, 0, 2), SIM_LOSS_NONE);
    assert_int_equal(sim_medium_path_loss(m, 2, 0), SIM_LOSS_NONE);
    sim_medium_close(m);
}

static void reset_cuts_an_event_short(void **state)
{
    (void)state;
    struct log log;
    struct sim_medium *m = open_medium(3, 1, 0, &log);
    const uint8_t data[229] = {1};
    sim_medium_link(m, 0, 1, NEAR);
    sim_medium_link(m, 2, 1, NEAR);
    submit(m, 0, 0, data, sizeof data);
    sim_medium_advance(m, 1800); /* the AUX has begun */
    assert_int_equal(sim_medium_reset(m, 1800, 0), 0);
    submit(m, 1900, 2, data, sizeof data); /* 1 is still deaf: it does not know */
    sim_medium_advance(m, 20000);
    assert_int_equal(log.received[1][0], 0);
    assert_int_equal(log.received[1][2], 0);
    assert_int_equal(verdicts(m, SIM_LOST_CUT), 1);
    assert_int_equal(verdicts(m, SIM_LOST_DEAF), 1);
    assert_int_equal(log.set_ends, 1); /* that of device 2 */
    assert_false(sim_medium_set_is_enabled(m, 0, 0));
    /* a reset device scans no more but works again when told to; its pacing gap is kept */
    submit(m, 20000, 0, data, sizeof data);
    sim_medium_advance(m, 60000);
    assert_int_equal(log.received[1][0], 1);
    sim_medium_close(m);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    struct log log;
    struct sim_medium_config config = {.seed = 1};
    sim_radio_defaults(&config.radio);
    assert_null(sim_medium_open(&config, 0, &OPS, &log));
    assert_null(sim_medium_open(&config, SIM_DEVICES_MAX + 1, &OPS, &log));
    config.loss_ppm = 1000001;
    assert_null(sim_medium_open(&config, 2, &OPS, &log));
    config.loss_ppm = 0;
    config.radio.interval_us = 0;
    assert_null(sim_medium_open(&config, 2, &OPS, &log));
    struct sim_medium *m = open_medium(1, 1, 0, &log);
    uint8_t data[256] = {0};
    struct sim_set_params params = {.tx_mdbm = SIM_TX_DEFAULT, .primary_phy = SIM_PHY_1M, .secondary_phy = 4};
    assert_int_equal(sim_medium_set_params(m, 0, 0, &params), -1);
    params.secondary_phy = SIM_PHY_2M;
    assert_int_equal(sim_medium_set_params(m, 0, SIM_SETS_MAX, &params), -1);
    assert_int_equal(sim_medium_set_params(m, 1, 0, &params), -1);
    assert_int_equal(sim_medium_set_data(m, 0, 0, data, 1), -1);
    assert_int_equal(sim_medium_set_params(m, 0, 0, &params), 0);
    assert_int_equal(sim_medium_set_data(m, 0, 0, data, SIM_AD_MAX + 1), -1);
    assert_int_equal(submit(m, 0, 0, data, SIM_AD_MAX + 1), -1);
    assert_int_equal(submit(m, 0, 1, data, 1), -1);
    assert_int_equal(sim_medium_ready_at(m, 1), SIM_NEVER);
    assert_null(sim_medium_device_counters(m, 1));
    sim_medium_close(m);
    sim_medium_close(NULL);
}

/* A grid in which everybody sends all the time. Returns a hash over every reception. */
static uint64_t run_grid(uint64_t seed, struct sim_medium_counters *counters)
{
    struct log log;
    struct sim_medium *m = open_medium(25, seed, 100000, &log);
    const uint8_t data[229] = {1};
    struct sim_position position[25];
    for (int i = 0; i < 25; i++)
        position[i] = (struct sim_position){i % 5 * 20000, i / 5 * 20000, 0};
    sim_medium_place(m, position);
    while (sim_medium_now(m) < 20000000) {
        sim_time next = sim_medium_next(m);
        for (uint32_t i = 0; i < 25; i++) {
            sim_time ready = sim_medium_ready_at(m, i);
            if (ready <= sim_medium_now(m))
                assert_int_equal(submit(m, ready, i, data, sizeof data), 0);
            else if (ready < next)
                next = ready;
        }
        if (sim_medium_next(m) < next)
            next = sim_medium_next(m);
        sim_medium_advance(m, next);
    }
    *counters = *sim_medium_counters(m);
    sim_medium_close(m);
    return log.hash;
}

static void same_seed_same_result(void **state)
{
    (void)state;
    struct sim_medium_counters a, b, c;
    uint64_t hash = run_grid(5, &a);
    assert_true(hash == run_grid(5, &b));
    assert_memory_equal(&a, &b, sizeof a);
    assert_true(hash != run_grid(6, &c));
    assert_in_range(a.events, 25 * 780, 25 * 820);
    assert_true(a.verdict[SIM_RECEIVED] > 0 && a.verdict[SIM_LOST_DEAF] > 0 && a.verdict[SIM_LOST_PRIMARY] > 0 &&
                a.verdict[SIM_LOST_HALF_DUPLEX] > 0 && a.verdict[SIM_LOST_RANDOM] > 0);
    /* the digest of seed 5, so that a difference between compilers or optimisation levels shows */
    assert_int_equal(hash, GRID_HASH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_arrives_at_neighbours_only),
        cmocka_unit_test(controller_paces_its_events),
        cmocka_unit_test(all_sets_share_one_pace),
        cmocka_unit_test(sets_end_by_events_or_time),
        cmocka_unit_test(hidden_transmitters_collide_in_the_middle),
        cmocka_unit_test(stronger_frame_captures),
        cmocka_unit_test(follower_is_deaf_until_the_aux_is_over),
        cmocka_unit_test(transmitter_hears_nothing),
        cmocka_unit_test(deafness_ends_with_an_event_of_ones_own),
        cmocka_unit_test(scanner_needs_window_and_channel),
        cmocka_unit_test(loss_has_the_configured_rate),
        cmocka_unit_test(weak_links_do_not_reach),
        cmocka_unit_test(reset_cuts_an_event_short),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(same_seed_same_result),
    };
    return cmocka_run_group_tests_name("medium", tests, NULL, NULL);
}
