/* The 802.15.4 radio: its error tables against the standard's formula in floating point, chance, packet loss against the
 * curve that was measured on CC2420 radios, and the model in the engine, case by case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sim/phy/ieee802154_error.h"
#include "sim/radio/radio.h"
#include "sim/validate/lab.h"

#define BIT_ONE ((double)SIM_154_BIT_ONE)
#define CERTAIN ((double)SIM_154_CERTAIN)

/* IEEE Std 802.15.4-2006, E.4.1.8. */
static double bit_error_rate(double ratio)
{
    double sum = 0, binomial = 16;
    for (int k = 2; k <= 16; k++) {
        binomial = binomial * (17 - k) / k;
        sum += (k % 2 ? -1 : 1) * binomial * exp(20 * ratio * (1.0 / k - 1));
    }
    return 8.0 / 15 / 16 * sum;
}

static double bit_loss(double sinr_db)
{
    return -log1p(-bit_error_rate(pow(10, sinr_db / 10))) / log(2) * BIT_ONE;
}

static void table_is_the_standards_formula(void **state)
{
    (void)state;
    for (int tenth = -200; tenth <= 50; tenth++) {
        double theory = bit_loss(tenth / 10.0);
        double table = (double)sim_154_bit_loss(tenth * 100);
        assert_true(fabs(table - theory) <= 1 + 1e-9 * theory);
    }
}

static void between_entries_the_error_stays_small(void **state)
{
    (void)state;
    for (int mdb = -20000; mdb < 5000; mdb += 7) {
        double theory = bit_loss(mdb / 1000.0);
        double table = (double)sim_154_bit_loss(mdb);
        /* 2 % where packets are lost, more where next to none is */
        assert_true(fabs(table - theory) <= 2 + (theory > 1e-5 * BIT_ONE ? 0.02 : 0.08) * theory);
    }
    assert_true(sim_154_bit_loss(INT32_MIN) == sim_154_bit_loss(-20000));
    assert_true(sim_154_bit_loss(INT32_MAX) == 0);
    for (int mdb = -25000; mdb < 6000; mdb++)
        assert_true(sim_154_bit_loss(mdb) >= sim_154_bit_loss(mdb + 1));
}

static void survival_is_a_power_of_two(void **state)
{
    (void)state;
    assert_true(sim_154_survival(0) == SIM_154_CERTAIN);
    assert_true(sim_154_survival(SIM_154_BIT_ONE) == SIM_154_CERTAIN / 2);
    assert_true(sim_154_survival(UINT64_MAX) == 0);
    uint64_t last = SIM_154_CERTAIN;
    for (uint64_t loss = 0; loss < 40 * SIM_154_BIT_ONE; loss += 999999937) {
        uint64_t survival = sim_154_survival(loss);
        double theory = exp2(-(double)loss / BIT_ONE) * CERTAIN;
        assert_true(fabs((double)survival - theory) <= 1.5 + 2e-6 * theory);
        assert_true(survival <= last);
        last = survival;
    }
}

static void level_inverts_linear(void **state)
{
    (void)state;
    for (int32_t mdbm = -110000; mdbm <= 10000; mdbm += 37)
        assert_in_range(sim_154_level_mdbm(sim_linear(mdbm)) - mdbm + 1000, 990, 1010);
    for (uint64_t linear = 1; linear < (uint64_t)1 << 60; linear += 1 + linear / 7)
        assert_true(fabs(sim_154_level_mdbm(linear) - (10000 * log10((double)linear) - 140000)) < 1.5);
    assert_int_equal(sim_154_level_mdbm(0), -140000);
    assert_true(sim_154_level_mdbm(UINT64_MAX) > 52000);
}

static void chance_is_named_and_normal(void **state)
{
    (void)state;
    struct sim_154_chance chance, again, other;
    double sum = 0, squares = 0, draws = 0;
    int beyond_two = 0;
    const int count = 40000;
    for (int i = 0; i < count; i++) {
        sim_154_chance(&chance, 7, 3, (uint32_t)i, 5);
        double z = chance.fluctuation_mdb / (double)SIM_154_FLUCTUATION_MDB;
        sum += z;
        squares += z * z;
        draws += chance.draw / CERTAIN;
        beyond_two += fabs(z) > 2;
    }
    /* 4 standard errors of a mean, a variance and a share: 1/sqrt(n), sqrt(2/n), ... */
    assert_true(fabs(sum / count) < 0.02);
    assert_true(fabs(squares / count - 1) < 0.03);
    assert_true(fabs(draws / count - 0.5) < 0.006);
    assert_true(fabs(beyond_two / (double)count - 0.0455) < 0.006);
    sim_154_chance(&chance, 7, 3, 1, 5);
    sim_154_chance(&again, 7, 3, 1, 5);
    assert_int_equal(chance.draw, again.draw);
    assert_int_equal(chance.fluctuation_mdb, again.fluctuation_mdb);
    sim_154_chance(&other, 7, 5, 1, 3);
    assert_int_not_equal(chance.draw, other.draw);
}

/* Share of packets of so many bits that survive at a signal to noise ratio. */
static double survivors(int32_t snr_mdb, uint32_t bits)
{
    const uint32_t count = 40000;
    uint32_t heard = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct sim_154_chance chance;
        sim_154_chance(&chance, 99, 1, i, 2);
        uint64_t loss = bits * sim_154_bit_loss(snr_mdb - SIM_154_LOSS_MDB + chance.fluctuation_mdb);
        heard += chance.draw < sim_154_survival(loss);
    }
    return heard / (double)count;
}

/* PRR of 23 bytes over SNR as TOSSIM has it, fitted to measurements of CC2420 radios (Lee, Cerpa, Levis, IPSN 2007). */
static void curve_is_the_measured_one(void **state)
{
    (void)state;
    static const double measured[] = {0.139, 0.392, 0.681, 0.879};
    for (int i = 0; i < 4; i++) {
        double share = survivors(4000 + 1000 * i, 23 * 8);
        assert_true(fabs(share / measured[i] - 1) < 0.1);
    }
    assert_true(survivors(1000, 23 * 8) < 0.01);
    assert_true(survivors(11000, 23 * 8) > 0.999);
}

/* At the default noise floor the data sheet's sensitivity: 1 % of packets of 20 bytes lost at -95 dBm. */
static void sensitivity_is_the_data_sheets(void **state)
{
    (void)state;
    assert_true(survivors(-95000 + 104000, (20 + 2) * 8) > 0.99);
    assert_true(survivors(-96000 + 104000, (20 + 2) * 8) < 0.99);
}

/* --- in the engine ------------------------------------------------------------------------------------------------- */

#define NODES_MAX 40
#define PACKETS_MAX 20000
#define SECOND UINT64_C(1000000)
#define TURNAROUND_US 192

/* Every node has a frame of `len` bytes from its time on, one every period; up to `frames` of them. */
static struct plan {
    sim_time first_at[NODES_MAX];
    sim_time period_us;
    uint32_t frames;
    size_t len;
    sim_time off_at[NODES_MAX], on_at[NODES_MAX]; /* 0: never */
} plan;

/* In the engine's stack context, so that a checkpoint has it. */
struct nodes {
    struct sim_engine *engine;
    sim_time due_at[NODES_MAX];
    uint32_t taken[NODES_MAX];
    uint32_t heard[NODES_MAX], heard_from[NODES_MAX];
    bool was_off[NODES_MAX], was_on[NODES_MAX];
};
static struct nodes nodes;

static struct sim_heard last_heard;
static sim_time last_heard_now;
static struct sim_sent packet[PACKETS_MAX];
static uint32_t packets;

static void *nodes_open(struct sim_engine *e, char *error, size_t cap)
{
    (void)error, (void)cap;
    memset(&nodes, 0, sizeof nodes);
    nodes.engine = e;
    packets = 0;
    return &nodes;
}

static void nodes_close(void *ctx)
{
    (void)ctx;
}

static int nodes_start(void *ctx, uint32_t node, sim_time now)
{
    (void)ctx, (void)now;
    nodes.due_at[node] = plan.first_at[node];
    return 0;
}

static void nodes_receive(void *ctx, uint32_t node, sim_time now, const struct sim_heard *heard)
{
    (void)ctx;
    assert_int_equal(heard->len, plan.len);
    assert_int_equal(heard->data[0], heard->from);
    nodes.heard[node]++;
    nodes.heard_from[heard->from]++;
    last_heard = *heard;
    last_heard_now = now;
}

static void nodes_expire(void *ctx, uint32_t node, sim_time now)
{
    (void)ctx;
    if (plan.off_at[node] != 0 && now >= plan.off_at[node] && !nodes.was_off[node]) {
        nodes.was_off[node] = true;
        sim_engine_power(nodes.engine, node, false);
    }
    if (plan.on_at[node] != 0 && now >= plan.on_at[node] && !nodes.was_on[node]) {
        nodes.was_on[node] = true;
        sim_engine_power(nodes.engine, node, true);
    }
}

static int nodes_write(void *ctx, uint32_t node, sim_time now, struct sim_frame *frame)
{
    (void)ctx;
    if (nodes.due_at[node] > now || nodes.taken[node] == plan.frames)
        return 0;
    nodes.due_at[node] += plan.period_us;
    nodes.taken[node]++;
    frame->type = 0;
    frame->len = plan.len;
    memset(frame->data, (int)node, frame->len);
    return 1;
}

static sim_time nodes_next(void *ctx, uint32_t node)
{
    (void)ctx;
    bool is_off = nodes.was_off[node] && !nodes.was_on[node];
    sim_time next = nodes.taken[node] < plan.frames && !is_off ? nodes.due_at[node] : SIM_NEVER;
    if (plan.off_at[node] != 0 && !nodes.was_off[node] && plan.off_at[node] < next)
        next = plan.off_at[node];
    if (plan.on_at[node] != 0 && !nodes.was_on[node] && plan.on_at[node] < next)
        next = plan.on_at[node];
    return next;
}

static int nodes_save(void *ctx, struct sim_archive *a)
{
    (void)ctx;
    struct nodes copy = nodes;
    copy.engine = NULL;
    return sim_archive_section(a, "TEST") || sim_archive_put(a, &copy, sizeof copy) ? -1 : 0;
}

static int nodes_load(void *ctx, struct sim_archive *a)
{
    (void)ctx;
    struct sim_engine *engine = nodes.engine;
    int result = sim_archive_section(a, "TEST") || sim_archive_get(a, &nodes, sizeof nodes) ? -1 : 0;
    nodes.engine = engine;
    return result;
}

static const char *const types[16] = {"frame"};
static const struct sim_stack stack = {.name = "test",
                                       .types = types,
                                       .bearer = SIM_BEARER_802154,
                                       .open = nodes_open,
                                       .close = nodes_close,
                                       .start = nodes_start,
                                       .receive = nodes_receive,
                                       .expire = nodes_expire,
                                       .write = nodes_write,
                                       .next_expiry = nodes_next,
                                       .save = nodes_save,
                                       .load = nodes_load};

static void note_packet(void *ctx, const struct sim_sent *sent)
{
    (void)ctx;
    if (packets < PACKETS_MAX)
        packet[packets++] = *sent;
}
static const struct sim_engine_hooks hooks = {.sent = note_packet};

static void open_lab(struct sim_lab *lab, const char *text, uint64_t seed)
{
    if (sim_lab_open(lab, text) != 0 || sim_lab_start(lab, &stack, seed, &hooks) != 0)
        fail_msg("%s", lab->error);
}

static const char *line_text(uint32_t count, const char *radio, const char *topology)
{
    static char text[1024];
    snprintf(text, sizeof text,
             "[scenario]\nname = csma\nseed = 1\n[radio]\nprocessing = 0 us\n%s"
             "[topology]\nkind = line\nnodes = %u\nspacing = 5 m\n%s",
             radio, count, topology);
    return text;
}

static void everybody_sends(uint32_t count, sim_time period_us, uint32_t frames, size_t len)
{
    memset(&plan, 0, sizeof plan);
    plan.period_us = period_us;
    plan.frames = frames;
    plan.len = len;
    for (uint32_t i = 0; i < NODES_MAX; i++)
        plan.first_at[i] = i < count ? 1000 : SIM_NEVER;
}

static void one_frame_has_the_standards_times(void **state)
{
    (void)state;
    bool had_backoff[8] = {false};
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct sim_lab lab;
        everybody_sends(1, SECOND, 1, 50);
        open_lab(&lab, line_text(2, "", "reach = neighbours\nlink_loss = 70 dB\n"), seed);
        assert_int_equal(sim_lab_run(&lab, SECOND), 0);
        assert_int_equal(packets, 1);
        sim_time since = packet[0].start - 1000 - 128 - TURNAROUND_US;
        assert_int_equal(since % 320, 0);
        assert_in_range(since / 320, 0, 7);
        had_backoff[since / 320] = true;
        assert_int_equal(packet[0].end - packet[0].start, (6 + 50 + 2) * 32);
        assert_int_equal(nodes.heard[1], 1);
        assert_int_equal(nodes.heard[0], 0);
        assert_int_equal(last_heard.at, packet[0].end);
        assert_int_equal(last_heard_now, packet[0].end + 1000);
        assert_int_equal(last_heard.rssi_dbm, -70);
        sim_lab_close(&lab);
    }
    for (int i = 0; i < 8; i++)
        assert_true(had_backoff[i]);
}

/* Who hears the other defers: packets overlap only when both began within a turnaround of each other. */
static void neighbours_wait_for_each_other(void **state)
{
    (void)state;
    struct sim_lab lab;
    uint32_t overlaps = 0;
    everybody_sends(8, 5000, 500, 60);
    open_lab(&lab, line_text(8, "", ""), 4);
    assert_int_equal(sim_lab_run(&lab, 3 * SECOND), 0);
    struct sim_totals totals = sim_lab_totals(&lab);
    assert_true(packets > 500);
    for (uint32_t i = 0; i + 1 < packets; i++) {
        assert_true(packet[i + 1].start >= packet[i].start);
        if (packet[i + 1].start >= packet[i].end)
            continue;
        assert_true(packet[i + 1].start - packet[i].start <= TURNAROUND_US);
        overlaps++;
    }
    assert_true(overlaps > 0); /* the turnaround is not covered, as in real radios */
    assert_true(totals.outcome[SIM_MISSED_HALF_DUPLEX] >= overlaps);
    assert_true(totals.outcome[SIM_HEARD] > totals.outcome[SIM_MISSED_HALF_DUPLEX]);
    /* more was handed in than the channel carries: some frames were given up */
    uint32_t taken = 0;
    for (uint32_t i = 0; i < 8; i++)
        taken += nodes.taken[i];
    assert_true(taken > packets + 8);
    sim_lab_close(&lab);
}

/* Two that do not hear each other collide at the one between. */
static void hidden_terminals_collide(void **state)
{
    (void)state;
    struct sim_lab lab;
    uint32_t overlaps = 0;
    everybody_sends(3, 10000, 200, 100);
    plan.first_at[1] = SIM_NEVER;
    plan.first_at[2] += 3000;
    open_lab(&lab, line_text(3, "", "reach = neighbours\nlink_loss = 60 dB\n"), 5);
    assert_int_equal(sim_lab_run(&lab, 4 * SECOND), 0);
    struct sim_totals totals = sim_lab_totals(&lab);
    for (uint32_t i = 0; i + 1 < packets; i++)
        overlaps += packet[i + 1].start < packet[i].end;
    assert_int_equal(packets, 400);
    assert_in_range(overlaps, 50, 150);
    assert_true(totals.outcome[SIM_MISSED_COLLISION] > overlaps); /* mostly both are lost */
    assert_int_equal(totals.outcome[SIM_HEARD] + totals.outcome[SIM_MISSED_COLLISION], 400);
    assert_int_equal(nodes.heard[1], totals.outcome[SIM_HEARD]);
    sim_lab_close(&lab);
}

#define HIDDEN_PAIR(near, far)                                                                                         \
    "[scenario]\nname = capture\nseed = 1\n[radio]\nprocessing = 0 us\n%s[topology]\nkind = list\n"                    \
    "[node a]\nposition = 0 m, 0 m\n[node b]\nposition = 1 m, 0 m\n[node c]\nposition = 2 m, 0 m\n"                    \
    "[link a b]\nloss = " near "\n[link b c]\nloss = " far "\n[link a c]\nloss = none\n"

/* 20 dB above the other a packet gets through whatever comes, and the other only where it is alone. */
static void the_stronger_captures(void **state)
{
    (void)state;
    for (int captures = 0; captures < 2; captures++) {
        struct sim_lab lab;
        char text[1024];
        snprintf(text, sizeof text, HIDDEN_PAIR("50 dB", "70 dB"), captures ? "" : "capture_effect = no\n");
        everybody_sends(3, 10000, 200, 100);
        plan.first_at[1] = SIM_NEVER;
        plan.first_at[2] += 3000;
        open_lab(&lab, text, 6);
        assert_int_equal(sim_lab_run(&lab, 4 * SECOND), 0);
        struct sim_totals totals = sim_lab_totals(&lab);
        assert_int_equal(packets, 400);
        if (captures) {
            assert_int_equal(nodes.heard_from[0], 200);
            assert_in_range(totals.outcome[SIM_HEARD], 201, 350);
            assert_int_equal(totals.outcome[SIM_HEARD] + totals.outcome[SIM_MISSED_COLLISION], 400);
        } else {
            assert_in_range(totals.outcome[SIM_HEARD], 1, 200);
        }
        sim_lab_close(&lab);
    }
}

static void an_ideal_radio_loses_nothing(void **state)
{
    (void)state;
    struct sim_lab lab;
    everybody_sends(8, 5000, 100, 60);
    open_lab(&lab, line_text(8, "collisions = no\n", ""), 7);
    assert_int_equal(sim_lab_run(&lab, 5 * SECOND), 0);
    struct sim_totals totals = sim_lab_totals(&lab);
    assert_int_equal(totals.outcome[SIM_HEARD], 8 * 7 * 100);
    sim_lab_close(&lab);
}

static void frame_loss_is_drawn(void **state)
{
    (void)state;
    struct sim_lab lab;
    everybody_sends(1, 5000, 2000, 20);
    open_lab(&lab, line_text(2, "frame_loss = 25 %\n", ""), 8);
    assert_int_equal(sim_lab_run(&lab, 20 * SECOND), 0);
    struct sim_totals totals = sim_lab_totals(&lab);
    assert_int_equal(totals.outcome[SIM_HEARD] + totals.outcome[SIM_MISSED_LOSS], 2000);
    assert_in_range(totals.outcome[SIM_MISSED_LOSS], 420, 580); /* 500 +- 4 standard deviations */
    sim_lab_close(&lab);
}

static void a_radio_that_is_off_neither_sends_nor_hears(void **state)
{
    (void)state;
    struct sim_lab lab;
    everybody_sends(2, 10000, 100, 20);
    plan.off_at[1] = 301000; /* its frame of that moment has been taken and waits */
    plan.on_at[1] = 600000;
    open_lab(&lab, line_text(2, "", ""), 9);
    assert_int_equal(sim_lab_run(&lab, 2 * SECOND), 0);
    for (uint32_t i = 0; i < packets; i++)
        assert_false(packet[i].node == 1 && packet[i].start > 301000 + TURNAROUND_US && packet[i].start < 600000);
    struct sim_totals totals = sim_lab_totals(&lab);
    assert_in_range(totals.outcome[SIM_MISSED_OFF], 29, 31);
    struct sim_radio_use use;
    sim_engine_radio_use(lab.engine, 1, &use);
    assert_int_equal(use.tx_us, use.frames * 28u * 32u);
    assert_int_equal(use.rx_us, 2000000 - 299000 - use.tx_us);
    sim_lab_close(&lab);
}

static void too_long_a_frame_ends_the_run(void **state)
{
    (void)state;
    struct sim_lab lab;
    everybody_sends(1, 10000, 1, 126);
    open_lab(&lab, line_text(2, "", ""), 10);
    assert_int_equal(sim_lab_run(&lab, SECOND), -1);
    assert_true(lab.error[0] != 0);
    sim_lab_close(&lab);
}

/* Goes on from a checkpoint as if nothing had been. */
static void checkpoint_changes_nothing(void **state)
{
    (void)state;
    struct sim_lab lab;
    char path[64], error[256];
    snprintf(path, sizeof path, "/tmp/test_sim_154.%ld", (long)getpid());
    everybody_sends(12, 7000, 400, 60);
    open_lab(&lab, line_text(12, "sensitivity = -110 dBm\n", "reach = neighbours\nlink_loss = 97 dB\n"), 11);
    assert_int_equal(sim_lab_run(&lab, SECOND + 12345), 0);
    struct sim_archive *a = sim_archive_create(path, error, sizeof error);
    assert_non_null(a);
    assert_int_equal(sim_engine_save(lab.engine, a), 0);
    assert_int_equal(sim_archive_close(a, error, sizeof error), 0);
    assert_int_equal(sim_lab_run(&lab, 3 * SECOND), 0);
    struct sim_totals whole = sim_lab_totals(&lab);
    assert_int_equal(sim_lab_start(&lab, &stack, 11, &hooks), 0);
    a = sim_archive_open(path, error, sizeof error);
    assert_non_null(a);
    assert_int_equal(sim_engine_load(lab.engine, a), 0);
    assert_int_equal(sim_archive_close(a, error, sizeof error), 0);
    assert_int_equal(sim_lab_run(&lab, 3 * SECOND), 0);
    struct sim_totals resumed = sim_lab_totals(&lab);
    assert_true(whole.digest[0] == resumed.digest[0] && whole.digest[1] == resumed.digest[1]);
    assert_memory_equal(whole.outcome, resumed.outcome, sizeof whole.outcome);
    for (int i = 0; i < SIM_OUTCOME_COUNT; i++)
        assert_true((i != SIM_HEARD && i != SIM_MISSED_NOISE) || whole.outcome[i] > 100);
    sim_lab_close(&lab);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_the_standards_formula),
        cmocka_unit_test(between_entries_the_error_stays_small),
        cmocka_unit_test(survival_is_a_power_of_two),
        cmocka_unit_test(level_inverts_linear),
        cmocka_unit_test(chance_is_named_and_normal),
        cmocka_unit_test(curve_is_the_measured_one),
        cmocka_unit_test(sensitivity_is_the_data_sheets),
        cmocka_unit_test(one_frame_has_the_standards_times),
        cmocka_unit_test(neighbours_wait_for_each_other),
        cmocka_unit_test(hidden_terminals_collide),
        cmocka_unit_test(the_stronger_captures),
        cmocka_unit_test(an_ideal_radio_loses_nothing),
        cmocka_unit_test(frame_loss_is_drawn),
        cmocka_unit_test(a_radio_that_is_off_neither_sends_nor_hears),
        cmocka_unit_test(too_long_a_frame_ends_the_run),
        cmocka_unit_test(checkpoint_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
