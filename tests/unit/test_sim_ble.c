/* Bluetooth LE in the engine: who hears what, case by case, and beside the exact small-scale medium. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/world/medium.h"
#include "sim_beacon.h"

#define SECONDS(n) ((sim_time)(n)*1000000)

/* Three nodes in a row: a and c do not couple; fixed times (no random delay). */
#define ROW(radio, ab, bc)                                                                                             \
    "[scenario]\nname = row\nseed = 3\n[radio]\ndelay = 0 ms\n" radio                                                  \
    "[topology]\nkind = list\n[node a]\nposition = 0 m, 0 m\n[node b]\nposition = 10 m, 0 m\n"                         \
    "[node c]\nposition = 20 m, 0 m\n[link a b]\nloss = " ab "\n[link b c]\nloss = " bc "\n[link a c]\nloss = none\n"

static struct sim_totals run(const char *text, sim_time until)
{
    struct beacon_world w;
    struct sim_totals totals;
    assert_int_equal(beacon_open(&w, text, NULL), 0);
    assert_int_equal(sim_engine_advance(w.engine, until), 0);
    sim_engine_totals(w.engine, &totals);
    beacon_close(&w);
    return totals;
}

static void plan(sim_time period_us, uint32_t frames, size_t len)
{
    memset(&beacon_plan, 0, sizeof beacon_plan);
    beacon_plan.bearer = SIM_BEARER_EXTENDED;
    beacon_plan.period_us = period_us;
    beacon_plan.frames = frames;
    beacon_plan.len = len;
    beacon_plan.first_us = 1000;
}

/* --- one sender ---------------------------------------------------------------------------------------------------- */

static void test_ideal_radio_delivers_everything(void **state)
{
    (void)state;
    plan(20000, 100, 50);
    struct sim_totals t = run(ROW("collisions = no\n", "60 dB", "60 dB"), SECONDS(10));
    /* a and c are heard by b, b by both, all of them at the same times */
    assert_int_equal(t.outcome[SIM_HEARD], 400);
    assert_int_equal(t.frames[0] + t.frames[1] + t.frames[2], 300);
    assert_int_equal(t.bytes[0], 5000);
    assert_int_equal(beacon_log.received, 400);
    assert_int_equal(beacon_log.heard[1][0], 100);
    assert_int_equal(beacon_log.heard[0][2], 0);
}

static void test_reception_tells_time_and_strength(void **state)
{
    (void)state;
    plan(20000, 1, 50);
    beacon_plan.senders = 1;
    run(ROW("collisions = no\n", "60 dB", "60 dB"), SECONDS(1));
    assert_int_equal(beacon_log.last.rssi_dbm, -60);
    assert_int_equal(beacon_log.last.len, 50);
    assert_int_equal(beacon_log.data[49], 1);
    assert_int_equal(beacon_log.last.from, 0);
    assert_int_equal(beacon_log.last.number, 0);
    struct sim_radio radio;
    struct sim_event event;
    sim_radio_defaults(&radio);
    sim_event_plan(&event, &radio, 1000 + radio.processing_us, 7, SIM_PHY_1M, SIM_PHY_1M, 0, 50);
    assert_int_equal(beacon_log.last.at, event.aux.end);
}

/* A steady scanner misses only the packet that is on air when it changes channel. */
static void test_steady_scanner_misses_changes_only(void **state)
{
    (void)state;
    plan(20000, 5000, 50);
    beacon_plan.senders = 1;
    beacon_plan.jitter_us = 1000;
    struct sim_totals t = run(ROW("", "60 dB", "60 dB"), SECONDS(200));
    assert_int_equal(t.outcome[SIM_HEARD] + t.outcome[SIM_MISSED_OFF], 5000);
    /* 136 us of every 100 ms: 6.8 of 5000 */
    assert_in_range(t.outcome[SIM_MISSED_OFF], 1, 25);
}

static void test_duty_cycle_hears_its_share(void **state)
{
    (void)state;
    plan(97000, 4000, 50);
    beacon_plan.senders = 1;
    beacon_plan.jitter_us = 10000;
    struct sim_totals t = run(ROW("scan_interval = 1000 ms\nscan_window = 300 ms\n", "60 dB", "60 dB"), SECONDS(500));
    /* its channel does not matter: an event has a packet on each; 30 % of 4000, four standard deviations */
    assert_in_range(t.outcome[SIM_HEARD], 1200 - 116, 1200 + 116);
}

static void test_frame_loss_is_drawn(void **state)
{
    (void)state;
    plan(20000, 4000, 20);
    beacon_plan.senders = 1;
    struct sim_totals t = run(ROW("collisions = no\nframe_loss = 25 %\n", "60 dB", "60 dB"), SECONDS(200));
    assert_int_equal(t.outcome[SIM_HEARD] + t.outcome[SIM_MISSED_LOSS], 4000);
    assert_in_range(t.outcome[SIM_MISSED_LOSS], 1000 - 110, 1000 + 110);
}

static void test_pacing(void **state)
{
    (void)state;
    /* as fast as possible: 20 ms between starts without the random delay, 25 ms on average with it */
    plan(1000, 0, 100);
    beacon_plan.senders = 1;
    struct sim_totals t = run(ROW("collisions = no\n", "60 dB", "60 dB"), SECONDS(20));
    assert_in_range(t.frames[0], 1000 - 10, 1000);
    t = run("[scenario]\nname = pair\n[radio]\ncollisions = no\n[topology]\nkind = line\nnodes = 2\nspacing = 5 m\n",
            SECONDS(20));
    assert_in_range(t.frames[0] + t.frames[1], 800 - 20, 800 + 20);
}

/* --- two senders --------------------------------------------------------------------------------------------------- */

static void test_simultaneous_equals_collide(void **state)
{
    (void)state;
    plan(50000, 400, 50);
    struct sim_totals t;
    beacon_plan.senders = 0;
    t = run(ROW("", "60 dB", "60 dB"), SECONDS(60));
    /* all three at once: b hears neither and the others do not hear b, for half duplex */
    assert_int_equal(t.outcome[SIM_MISSED_HALF_DUPLEX] + t.outcome[SIM_MISSED_OFF], 1600);
    assert_in_range(t.outcome[SIM_MISSED_OFF], 0, 40);
}

/* a and c send, b listens: the same with c silent would be heard. */
static const char *const HIDDEN_TEXT =
    "[scenario]\nname = hidden\nseed = 3\n[radio]\ndelay = 0 ms\n%s"
    "[topology]\nkind = list\n[node a]\nposition = 0 m, 0 m\n[node c]\nposition = 20 m, 0 m\n"
    "[node b]\nposition = 10 m, 0 m\n[link a b]\nloss = %s dB\n[link c b]\nloss = %s dB\n[link a c]\nloss = none\n";

static struct sim_totals run_hidden(const char *radio, const char *ab, const char *cb, sim_time apart_us)
{
    char text[1024];
    snprintf(text, sizeof text, HIDDEN_TEXT, radio, ab, cb);
    plan(50000, 1000, 200);
    beacon_plan.senders = 2;
    beacon_plan.step_us = apart_us;
    return run(text, SECONDS(60));
}

static void test_hidden_terminals(void **state)
{
    (void)state;
    struct sim_totals t = run_hidden("", "60", "60", 0);
    assert_int_equal(t.outcome[SIM_HEARD], 0);
    assert_in_range(t.outcome[SIM_MISSED_COLLISION], 1960, 2000);
    /* 20 dB stronger: captured, and while it is followed the weaker is lost */
    t = run_hidden("", "60", "80", 0);
    assert_in_range(beacon_log.heard[2][0], 950, 1000);
    assert_int_equal(beacon_log.heard[2][1], 0);
    assert_in_range(t.outcome[SIM_MISSED_DEAF], 950, 1000);
    /* without capture both are lost, but not to something out of range */
    t = run_hidden("capture_effect = no\n", "60", "80", 0);
    assert_int_equal(t.outcome[SIM_HEARD], 0);
    assert_in_range(t.outcome[SIM_MISSED_COLLISION], 1960, 2000);
    t = run_hidden("capture_effect = no\n", "60", "97", 0);
    assert_in_range(t.outcome[SIM_HEARD], 990, 1000);
}

static void test_following_is_deaf_and_aux_collides(void **state)
{
    (void)state;
    /* the second starts while b follows the first: it is never heard, and destroys the first's AUX on one channel of 37
     * when its own, 200 us later, has the same: 27 of 1000 */
    struct sim_totals t = run_hidden("", "60", "60", 1000);
    assert_in_range(t.outcome[SIM_MISSED_DEAF], 980, 1000);
    assert_in_range(t.outcome[SIM_MISSED_AUX], 10, 50);
    assert_in_range(beacon_log.heard[2][0], 930, 990);
    /* the first's AUX over: both are heard */
    t = run_hidden("", "60", "60", 4000);
    assert_in_range(t.outcome[SIM_HEARD], 1980, 2000);
}

static void test_own_event_ends_following(void **state)
{
    (void)state;
    /* b's own event begins 1.5 ms after a's: after the primary packets (908 us), before the end of the AUX */
    plan(50000, 500, 200);
    beacon_plan.step_us = 1500;
    beacon_plan.senders = 2;
    struct sim_totals t = run(ROW("", "60 dB", "60 dB"), SECONDS(60));
    assert_int_equal(beacon_log.heard[1][0], 0);
    assert_in_range(t.outcome[SIM_MISSED_HALF_DUPLEX], 900, 1000); /* a hears b neither: its AUX is on air */
    assert_in_range(beacon_log.heard[2][1], 490, 500);
}

/* --- power, partition, secondary PHY, legacy ----------------------------------------------------------------------- */

static void switch_off(struct sim_engine *e, uint32_t node, sim_time now)
{
    if (node == 0 && now == SECONDS(1))
        sim_engine_power(e, 1, false);
    if (node == 0 && now == SECONDS(3)) {
        sim_engine_power(e, 1, true);
        sim_engine_touch(e, 1);
    }
}

static void test_power_off_hears_and_sends_nothing(void **state)
{
    (void)state;
    plan(100000, 0, 20);
    beacon_plan.first_us = 0;
    beacon_plan.tick = switch_off;
    struct sim_totals t = run("[scenario]\nname = pair\n[radio]\ncollisions = no\ndelay = 0 ms\n[topology]\nkind = "
                              "line\nnodes = 2\nspacing = 5 m\n",
                              SECONDS(5));
    assert_int_equal(t.frames[0], 50);
    assert_int_equal(t.frames[1], 30);
    assert_int_equal(beacon_log.heard[0][1], 30);
    /* the frame that began while b was still off is lost, 2 s from 1 s on */
    assert_in_range(t.outcome[SIM_MISSED_OFF], 19, 21);
    assert_int_equal(beacon_log.heard[1][0] + t.outcome[SIM_MISSED_OFF], 50);
}

static void test_energy_is_accounted(void **state)
{
    (void)state;
    struct beacon_world w;
    struct sim_radio_use sender, listener;
    plan(100000, 10, 20);
    beacon_plan.senders = 1;
    assert_int_equal(beacon_open(&w, ROW("", "60 dB", "60 dB"), NULL), 0);
    assert_int_equal(sim_engine_advance(w.engine, SECONDS(10)), 0);
    sim_engine_radio_use(w.engine, 0, &sender);
    sim_engine_radio_use(w.engine, 1, &listener);
    uint32_t primaries = 3 * sim_airtime_ext_ind_us(SIM_PHY_1M), aux = sim_airtime_aux_us(SIM_PHY_1M, 20);
    assert_int_equal(sender.frames, 10);
    assert_int_equal(sender.tx_us, 10 * (primaries + aux));
    assert_int_equal(sender.rx_us, SECONDS(10) - 10 * (primaries + aux + 2 * 250 + 300));
    assert_int_equal(listener.tx_us, 0);
    assert_int_equal(listener.rx_us, SECONDS(10));
    beacon_close(&w);
}

static void test_partition_cuts(void **state)
{
    (void)state;
    plan(100000, 100, 20);
    struct sim_totals t = run("[scenario]\nname = pair\n[radio]\ncollisions = no\ndelay = 0 ms\n[topology]\nkind = "
                              "line\nnodes = 4\nspacing = 5 m\nreach = neighbours\n[life]\npartition_at = 2 s\n"
                              "partition_for = 3 s\n",
                              SECONDS(20));
    /* of three pairs the middle one is cut for 30 frames each way */
    assert_int_equal(t.outcome[SIM_MISSED_CUT], 60);
    assert_int_equal(t.outcome[SIM_HEARD], 540);
    assert_int_equal(beacon_log.heard[1][2], 70);
}

static uint64_t airtime_with(const char *phy)
{
    char text[512];
    snprintf(text, sizeof text,
             "[scenario]\nname = pair\n[radio]\nsecondary_phy = %s\n[topology]\nkind = line\nnodes = 2\n"
             "spacing = 5 m\n",
             phy);
    plan(100000, 1, 100);
    beacon_plan.senders = 1;
    return run(text, SECONDS(1)).airtime_us;
}

static void test_secondary_phy_sets_the_airtime(void **state)
{
    (void)state;
    uint64_t primaries = 3u * sim_airtime_ext_ind_us(SIM_PHY_1M);
    assert_int_equal(airtime_with("1M"), primaries + sim_airtime_aux_us(SIM_PHY_1M, 100));
    assert_int_equal(airtime_with("2M"), primaries + sim_airtime_aux_us(SIM_PHY_2M, 100));
    assert_int_equal(airtime_with("coded"), primaries + sim_airtime_aux_us(SIM_PHY_CODED, 100));
}

static void test_legacy(void **state)
{
    (void)state;
    /* 47 bytes on air at 31 bytes of data, by hand: 1 + 4 + 2 + 6 + 31 + 3 */
    assert_int_equal(sim_airtime_legacy_us(31), 376);
    assert_int_equal(sim_airtime_legacy_us(0), 128);
    plan(50000, 1000, 31);
    beacon_plan.bearer = SIM_BEARER_LEGACY;
    beacon_plan.senders = 1;
    struct sim_totals t = run(ROW("", "60 dB", "60 dB"), SECONDS(60));
    assert_int_equal(t.airtime_us, 3 * 376 * 1000);
    assert_int_equal(t.outcome[SIM_HEARD] + t.outcome[SIM_MISSED_OFF], 1000);
    assert_in_range(t.outcome[SIM_HEARD], 980, 1000);
    assert_int_equal(beacon_log.last.len, 31);
    /* two at once collide; 400 us apart they do not: 376 us and a gap of 250 */
    beacon_plan.senders = 2;
    char text[1024];
    snprintf(text, sizeof text, HIDDEN_TEXT, "", "60", "60");
    t = run(text, SECONDS(60));
    assert_int_equal(t.outcome[SIM_HEARD], 0);
    beacon_plan.step_us = 400;
    t = run(text, SECONDS(60));
    assert_in_range(t.outcome[SIM_HEARD], 1960, 2000);
}

static uint32_t primary_packets, aux_packets;

static void on_sent(void *ctx, const struct sim_sent *sent)
{
    (void)ctx;
    if (sent->part == 3) {
        aux_packets++;
        assert_in_range(sent->channel, 0, 36);
    } else {
        primary_packets++;
        assert_int_equal(sent->channel, SIM_PRIMARY_FIRST + sent->part);
        /* end of the last primary + 300 us, as told in each of them */
        assert_int_equal(sent->aux_offset_us, (2u - sent->part) * (136 + 250) + 136 + 300);
    }
}

static void test_trace_tells_every_packet(void **state)
{
    (void)state;
    struct beacon_world w;
    const struct sim_engine_hooks hooks = {.sent = on_sent};
    plan(100000, 10, 20);
    beacon_plan.senders = 1;
    primary_packets = aux_packets = 0;
    assert_int_equal(beacon_open(&w, ROW("", "60 dB", "60 dB"), &hooks), 0);
    assert_int_equal(sim_engine_advance(w.engine, SECONDS(10)), 0);
    beacon_close(&w);
    assert_int_equal(primary_packets, 30);
    assert_int_equal(aux_packets, 10);
}

/* --- beside the exact medium --------------------------------------------------------------------------------------- */

#define NODES 30

struct exact {
    struct sim_medium *medium;
    sim_time due[NODES], ready[NODES];
    bool is_pending[NODES];
    uint32_t draws[NODES];
};

static void exact_event_ended(void *ctx, const struct sim_event_report *report)
{
    struct exact *x = ctx;
    sim_time next = report->start + 20000;
    x->ready[report->device] = report->end > next ? report->end : next;
}

/* The same traffic over the medium of sim/world: a frame every period + U(0, jitter), written when the radio is ready. */
static void run_exact(const struct sim_scenario *s, sim_time until, uint64_t share[SIM_VERDICT_COUNT])
{
    static const uint8_t data[SIM_AD_MAX];
    struct exact x = {0};
    const struct sim_medium_ops ops = {.event_ended = exact_event_ended};
    const struct sim_medium_config config = {.seed = s->seed, .loss_ppm = s->loss_ppm, .radio = s->radio};
    struct sim_position position[NODES];
    x.medium = sim_medium_open(&config, NODES, &ops, &x);
    assert_non_null(x.medium);
    struct sim_field field;
    char error[256];
    assert_int_equal(sim_field_open(&field, s, 0, 1, error, sizeof error), 0);
    memcpy(position, field.position, sizeof position);
    sim_medium_place(x.medium, position);
    sim_field_close(&field);
    for (uint32_t i = 0; i < NODES; i++) {
        x.due[i] = sim_scale(sim_draw(7, SIM_DRAW_WORLD, i, 0, 0), (uint32_t)beacon_plan.period_us);
        assert_int_equal(sim_medium_scan_start(x.medium, i * 9973u, i, 100000, 100000), 0);
        sim_medium_advance(x.medium, i * 9973u);
    }
    for (;;) {
        sim_time next = sim_medium_next(x.medium);
        uint32_t first = NODES;
        for (uint32_t i = 0; i < NODES; i++) {
            sim_time at = x.is_pending[i] ? x.ready[i] : x.due[i];
            if (at < next) {
                next = at;
                first = i;
            }
        }
        if (next > until)
            break;
        sim_medium_advance(x.medium, next);
        if (first == NODES)
            continue;
        if (x.due[first] <= next) {
            uint32_t draw = sim_draw(7, SIM_DRAW_WORLD, first, ++x.draws[first], 0);
            x.due[first] += beacon_plan.period_us + sim_scale(draw, beacon_plan.jitter_us);
            x.is_pending[first] = true;
        }
        if (x.is_pending[first] && x.ready[first] <= next &&
            sim_medium_submit(x.medium, next, first, data, beacon_plan.len) == 0) {
            x.is_pending[first] = false;
            x.ready[first] = SIM_NEVER;
        }
    }
    memcpy(share, sim_medium_counters(x.medium)->verdict, SIM_VERDICT_COUNT * sizeof *share);
    sim_medium_close(x.medium);
}

static void compare_shares(const char *text, sim_time period_us, size_t len)
{
    static const struct {
        enum sim_outcome ours;
        enum sim_verdict exact;
    } same[] = {{SIM_HEARD, SIM_RECEIVED},
                {SIM_MISSED_OFF, SIM_LOST_OFF},
                {SIM_MISSED_DEAF, SIM_LOST_DEAF},
                {SIM_MISSED_HALF_DUPLEX, SIM_LOST_HALF_DUPLEX},
                {SIM_MISSED_COLLISION, SIM_LOST_PRIMARY},
                {SIM_MISSED_AUX, SIM_LOST_AUX},
                {SIM_MISSED_LOSS, SIM_LOST_RANDOM}};
    uint64_t exact[SIM_VERDICT_COUNT], exact_sum = 0, sum = 0;
    struct sim_scenario s;
    char error[256];
    plan(period_us, 0, len);
    beacon_plan.jitter_us = (uint32_t)period_us / 5;
    beacon_plan.phase_us = (uint32_t)period_us;
    struct sim_totals t = run(text, SECONDS(400));
    assert_int_equal(sim_scenario_parse(&s, "test", text, strlen(text), error, sizeof error), 0);
    run_exact(&s, SECONDS(400), exact);
    sim_scenario_free(&s);
    t.outcome[SIM_MISSED_COLLISION] += t.outcome[SIM_MISSED_NOISE]; /* one and the same there */
    for (int i = 0; i < SIM_OUTCOME_COUNT; i++)
        sum += i == SIM_MISSED_NOISE ? 0 : t.outcome[i];
    for (int i = 0; i < SIM_VERDICT_COUNT; i++)
        exact_sum += exact[i];
    /* the pairs in range, and so the evaluations, are the same */
    print_message("  evaluations %llu, exact %llu\n", (unsigned long long)sum, (unsigned long long)exact_sum);
    assert_in_range(sum, exact_sum * 99 / 100, exact_sum * 101 / 100);
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        uint64_t ours_ppm = t.outcome[same[i].ours] * 1000000 / sum;
        uint64_t exact_ppm = exact[same[i].exact] * 1000000 / exact_sum;
        print_message("  %-14s %7llu ppm, exact %7llu\n", sim_verdict_name(same[i].exact), (unsigned long long)ours_ppm,
                      (unsigned long long)exact_ppm);
        uint64_t margin = exact_ppm / 20 + 600;
        assert_in_range(ours_ppm, exact_ppm > margin ? exact_ppm - margin : 0, exact_ppm + margin);
    }
}

#define DISC(seed, radius, more)                                                                                       \
    "[scenario]\nname = disc\nseed = " seed "\n[radio]\nframe_loss = 3 %\n" more                                       \
    "[topology]\nkind = disc\nnodes = 30\nradius = " radius "\n"

static void test_agrees_with_exact_medium(void **state)
{
    (void)state;
    compare_shares(DISC("11", "60 m", ""), 100000, 60);
    compare_shares(DISC("12", "150 m", "shadowing = 6 dB\n"), 60000, 229);
    compare_shares(DISC("13", "250 m", ""), 1000, 120); /* as fast as possible */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ideal_radio_delivers_everything),
        cmocka_unit_test(test_reception_tells_time_and_strength),
        cmocka_unit_test(test_steady_scanner_misses_changes_only),
        cmocka_unit_test(test_duty_cycle_hears_its_share),
        cmocka_unit_test(test_frame_loss_is_drawn),
        cmocka_unit_test(test_pacing),
        cmocka_unit_test(test_simultaneous_equals_collide),
        cmocka_unit_test(test_hidden_terminals),
        cmocka_unit_test(test_following_is_deaf_and_aux_collides),
        cmocka_unit_test(test_own_event_ends_following),
        cmocka_unit_test(test_power_off_hears_and_sends_nothing),
        cmocka_unit_test(test_energy_is_accounted),
        cmocka_unit_test(test_partition_cuts),
        cmocka_unit_test(test_secondary_phy_sets_the_airtime),
        cmocka_unit_test(test_legacy),
        cmocka_unit_test(test_trace_tells_every_packet),
        cmocka_unit_test(test_agrees_with_exact_medium),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
