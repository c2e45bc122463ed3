/* The engine: reproducible digests, checkpoint and resume, mail, the host loop, rows, sums and errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sim_beacon.h"

#define SECONDS(n) ((sim_time)(n)*1000000)

/* Everything at once: loss, shadowing, duty cycle, a partition. */
static const char *const BUSY = "[scenario]\nname = busy\nseed = 77\n[radio]\nframe_loss = 10 %\nshadowing = 4 dB\n"
                                "[topology]\nkind = disc\nnodes = 60\ndegree = 12\n"
                                "[life]\nduty_share = 20 %\nduty_interval = 500 ms\nduty_window = 150 ms\npartition_at "
                                "= 3 s\npartition_for = 2 s\n";

static const char *const PAIR = "[scenario]\nname = pair\nseed = 5\n[radio]\ncollisions = no\ndelay = 0 ms\n"
                                "[topology]\nkind = line\nnodes = 2\nspacing = 5 m\n";

static void plan_busy(void)
{
    memset(&beacon_plan, 0, sizeof beacon_plan);
    beacon_plan.bearer = SIM_BEARER_EXTENDED;
    beacon_plan.period_us = 200000;
    beacon_plan.jitter_us = 50000;
    beacon_plan.phase_us = 200000;
    beacon_plan.len = 80;
    beacon_plan.echoes = true;
}

static void plan_pair(sim_time period_us)
{
    memset(&beacon_plan, 0, sizeof beacon_plan);
    beacon_plan.bearer = SIM_BEARER_EXTENDED;
    beacon_plan.period_us = period_us;
    beacon_plan.len = 10;
}

static struct sim_totals totals_of(struct sim_engine *e)
{
    struct sim_totals t;
    sim_engine_totals(e, &t);
    return t;
}

static struct sim_totals run_busy(sim_time step, uint64_t *order)
{
    struct beacon_world w;
    plan_busy();
    assert_int_equal(beacon_open(&w, BUSY, NULL), 0);
    for (sim_time at = step; at <= SECONDS(10); at += step)
        assert_int_equal(sim_engine_advance(w.engine, at), 0);
    struct sim_totals t = totals_of(w.engine);
    *order = beacon_log.order;
    beacon_close(&w);
    return t;
}

static void test_same_seed_same_run(void **state)
{
    (void)state;
    uint64_t order[2];
    struct sim_totals a = run_busy(SECONDS(10), &order[0]), b = run_busy(SECONDS(10), &order[1]);
    assert_memory_equal(&a, &b, sizeof a);
    assert_true(order[0] == order[1]);
    /* every outcome happened, so that the digest means something */
    for (int i = 0; i < SIM_OUTCOME_COUNT; i++)
        assert_true(i == SIM_MISSED_NOISE || a.outcome[i] > 0);
    /* in steps it is the same but for the windows, which the steps cut */
    b = run_busy(250000, &order[1]);
    assert_true(order[0] == order[1]);
    assert_true(a.digest[0] == b.digest[0] && a.digest[1] == b.digest[1]);
    assert_int_equal(a.events, b.events);
}

/* One bit anywhere that decides shows in the digest. */
static void test_digest_depends_on_the_seed(void **state)
{
    (void)state;
    struct beacon_world w;
    char text[512];
    uint64_t digest[2];
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof text, "%s", BUSY);
        text[strlen("[scenario]\nname = busy\nseed = ")] = (char)('7' + i);
        plan_busy();
        assert_int_equal(beacon_open(&w, text, NULL), 0);
        assert_int_equal(sim_engine_advance(w.engine, SECONDS(1)), 0);
        digest[i] = totals_of(w.engine).digest[0];
        beacon_close(&w);
    }
    assert_true(digest[0] != digest[1]);
}

/* --- checkpoint ---------------------------------------------------------------------------------------------------- */

static void save_to(struct sim_engine *e, const char *path)
{
    char error[256];
    struct sim_archive *a = sim_archive_create(path, error, sizeof error);
    assert_non_null(a);
    assert_int_equal(sim_engine_save(e, a), 0);
    assert_int_equal(sim_archive_close(a, error, sizeof error), 0);
}

static int load_from(struct sim_engine *e, const char *path)
{
    char error[256];
    struct sim_archive *a = sim_archive_open(path, error, sizeof error);
    assert_non_null(a);
    int result = sim_engine_load(e, a);
    int closed = sim_archive_close(a, error, sizeof error);
    return result == 0 ? closed : result;
}

static void send_mails(struct sim_engine *e, uint32_t node, sim_time now)
{
    uint8_t n;
    if (node != 0 || now < SECONDS(2) || now > SECONDS(2) + 400000)
        return;
    for (n = 3; n > 0; n--)
        sim_engine_mail(e, node, 7, SECONDS(6) + n % 2, &n, 1);
}

static void test_resumed_run_is_the_same(void **state)
{
    (void)state;
    char path[64];
    struct beacon_world w;
    struct sim_totals whole, resumed;
    uint64_t order;
    snprintf(path, sizeof path, "/tmp/test_sim_engine.%ld", (long)getpid());
    plan_busy();
    beacon_plan.tick = send_mails;
    /* at odd times, so that frames wait, are on air and await their verdicts */
    for (sim_time at = 1000003; at < SECONDS(6); at += 900007) {
        assert_int_equal(beacon_open(&w, BUSY, NULL), 0);
        assert_int_equal(sim_engine_advance(w.engine, at), 0);
        save_to(w.engine, path);
        assert_int_equal(sim_engine_advance(w.engine, SECONDS(8)), 0);
        whole = totals_of(w.engine);
        order = beacon_log.order;
        beacon_close(&w);
        assert_int_equal(beacon_open(&w, BUSY, NULL), 0);
        assert_int_equal(load_from(w.engine, path), 0);
        assert_int_equal(sim_engine_now(w.engine), at);
        assert_int_equal(sim_engine_advance(w.engine, SECONDS(8)), 0);
        resumed = totals_of(w.engine);
        assert_memory_equal(&whole, &resumed, sizeof whole);
        assert_true(order == beacon_log.order);
        assert_true(beacon_log.mails > 0);
        beacon_close(&w);
    }
    /* it does not fit another world */
    plan_pair(100000);
    assert_int_equal(beacon_open(&w, PAIR, NULL), 0);
    assert_int_equal(load_from(w.engine, path), -1);
    beacon_close(&w);
    unlink(path);
}

/* --- host loop, mail ----------------------------------------------------------------------------------------------- */

static void mail_once(struct sim_engine *e, uint32_t node, sim_time now)
{
    uint8_t n = 1;
    if (now != SECONDS(1))
        return;
    sim_engine_mail(e, node, 0, SECONDS(3), &n, 1);
    n = 2;
    sim_engine_mail(e, node, 0, SECONDS(2), &n, 1);
    n = 3;
    sim_engine_mail(e, node, 0, SECONDS(3), &n, 1);
}

static void test_mail_comes_in_order(void **state)
{
    (void)state;
    static const uint32_t from[6] = {2, 256 + 2, 1, 3, 256 + 1, 256 + 3};
    struct beacon_world w;
    plan_pair(1000000);
    beacon_plan.tick = mail_once;
    assert_int_equal(beacon_open(&w, PAIR, NULL), 0);
    assert_int_equal(sim_engine_advance(w.engine, SECONDS(5)), 0);
    assert_int_equal(beacon_log.mails, 6);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(beacon_log.mail_from[i], from[i]);
        assert_int_equal(beacon_log.mail_at[i], i < 2 ? SECONDS(2) : SECONDS(3));
    }
    beacon_close(&w);
}

static void mail_too_soon(struct sim_engine *e, uint32_t node, sim_time now)
{
    sim_engine_mail(e, node, 1, now + sim_engine_lookahead(e) - 1, NULL, 0);
}

static void test_mail_sooner_than_the_lookahead_fails(void **state)
{
    (void)state;
    struct beacon_world w;
    plan_pair(1000000);
    beacon_plan.tick = mail_too_soon;
    assert_int_equal(beacon_open(&w, PAIR, NULL), 0);
    assert_int_equal(sim_engine_advance(w.engine, SECONDS(5)), -1);
    assert_non_null(strstr(sim_engine_error(w.engine), "lookahead"));
    assert_int_equal(sim_engine_advance(w.engine, SECONDS(6)), -1);
    beacon_close(&w);
}

static uint32_t ticks;

static void count_tick(struct sim_engine *e, uint32_t node, sim_time now)
{
    (void)e;
    (void)node;
    (void)now;
    ticks++;
}

/* Idle time costs nothing, and a node is asked only when it is due. */
static void test_events_are_few(void **state)
{
    (void)state;
    struct beacon_world w;
    plan_pair(SECONDS(3600));
    beacon_plan.tick = count_tick;
    ticks = 0;
    assert_int_equal(beacon_open(&w, PAIR, NULL), 0);
    assert_int_equal(sim_engine_advance(w.engine, SECONDS(3600) * 24), 0);
    struct sim_totals t = totals_of(w.engine);
    assert_int_equal(t.frames[0] + t.frames[1], 48);
    assert_int_equal(ticks, 48);
    /* wake, start, primary, end */
    assert_in_range(t.events, 4 * 48, 4 * 48 + 4);
    assert_int_equal(sim_engine_now(w.engine), SECONDS(3600) * 24);
    assert_int_equal(sim_engine_next(w.engine), SECONDS(3600) * 24);
    beacon_close(&w);
}

/* A frame heard is answered at once when the radio is free: processing is all it takes. */
static void test_answers_leave_at_once(void **state)
{
    (void)state;
    struct beacon_world w;
    plan_pair(SECONDS(1));
    beacon_plan.senders = 1;
    beacon_plan.frames = 1;
    beacon_plan.echoes = true;
    assert_int_equal(beacon_open(&w, PAIR, NULL), 0);
    uint32_t span = 3 * 136 + 2 * 250 + 300 + sim_airtime_aux_us(SIM_PHY_1M, 10);
    assert_int_equal(sim_engine_advance(w.engine, 2 * (150 + span + 1000) + 1), 0);
    assert_int_equal(beacon_log.heard[1][0], 1);
    assert_int_equal(beacon_log.heard[0][1], 1);
    assert_int_equal(beacon_log.last.at, 2 * (150 + span) + 1000);
    beacon_close(&w);
}

/* --- rows, sums, errors -------------------------------------------------------------------------------------------- */

struct told {
    uint32_t rows, texts, summaries;
    struct sim_row last;
    uint64_t energy_uj;
};

static void on_row(void *ctx, const struct sim_row *row)
{
    struct told *told = ctx;
    told->rows++;
    told->last = *row;
}

static void on_say(void *ctx, const struct sim_row *row, const char *text)
{
    struct told *told = ctx;
    assert_int_equal(row->kind, SIM_ROW_DECISION);
    assert_string_equal(text, "hold");
    told->texts++;
}

static void on_summary(void *ctx, const struct sim_node_summary *summary)
{
    struct told *told = ctx;
    told->summaries++;
    if (summary->node == 1)
        told->energy_uj = summary->energy_uj;
}

static void tell_rows(struct sim_engine *e, uint32_t node, sim_time now)
{
    sim_engine_tell(e, node, now, SIM_ROW_COMPLETE, 2, 0, NULL);
    sim_engine_tell(e, node, now, SIM_ROW_DECISION, 2, 1, "hold");
}

static void test_rows_and_summaries_are_told(void **state)
{
    (void)state;
    struct beacon_world w;
    struct told told = {0};
    const struct sim_engine_hooks hooks = {.ctx = &told, .row = on_row, .say = on_say, .summary = on_summary};
    plan_pair(SECONDS(1));
    beacon_plan.senders = 1;
    beacon_plan.tick = tell_rows;
    assert_int_equal(beacon_open(&w, PAIR, &hooks), 0);
    assert_int_equal(sim_engine_advance(w.engine, SECONDS(4) + 1), 0);
    assert_int_equal(told.rows, 10);
    assert_int_equal(told.texts, 5);
    assert_int_equal(told.last.at, SECONDS(4));
    assert_int_equal(sim_engine_told(w.engine, SIM_ROW_COMPLETE), 5);
    assert_int_equal(sim_engine_told(w.engine, SIM_ROW_RESET), 0);
    assert_int_equal(sim_engine_advance(w.engine, SECONDS(100)), 0);
    sim_engine_finish(w.engine);
    assert_int_equal(told.summaries, 2);
    /* node 1 listens for 100 s at 5.4 mA and 3 V */
    assert_int_equal(told.energy_uj, 1620000);
    beacon_close(&w);
}

static void test_digest_has_the_rows(void **state)
{
    (void)state;
    struct beacon_world w;
    uint64_t digest[2];
    for (int i = 0; i < 2; i++) {
        plan_pair(SECONDS(1));
        beacon_plan.tick = i == 0 ? tell_rows : NULL;
        assert_int_equal(beacon_open(&w, PAIR, NULL), 0);
        assert_int_equal(sim_engine_advance(w.engine, SECONDS(1)), 0);
        digest[i] = totals_of(w.engine).digest[1];
        beacon_close(&w);
    }
    assert_true(digest[0] != digest[1]);
}

static void give_up(struct sim_engine *e, uint32_t node, sim_time now)
{
    (void)node;
    if (now >= SECONDS(2)) {
        sim_engine_fail(e, "the self-check disagrees");
        sim_engine_fail(e, "and once more");
    }
}

static void test_failure_ends_the_run(void **state)
{
    (void)state;
    struct beacon_world w;
    plan_pair(SECONDS(1));
    beacon_plan.tick = give_up;
    assert_int_equal(beacon_open(&w, PAIR, NULL), 0);
    assert_int_equal(sim_engine_advance(w.engine, SECONDS(2)), 0);
    assert_int_equal(sim_engine_advance(w.engine, SECONDS(4)), -1);
    assert_string_equal(sim_engine_error(w.engine), "the self-check disagrees");
    beacon_close(&w);
}

static void test_frame_too_long_fails(void **state)
{
    (void)state;
    struct beacon_world w;
    plan_pair(SECONDS(1));
    beacon_plan.len = SIM_AD_MAX + 1;
    assert_int_equal(beacon_open(&w, PAIR, NULL), 0);
    assert_int_equal(sim_engine_advance(w.engine, SECONDS(4)), -1);
    assert_non_null(strstr(sim_engine_error(w.engine), "longer"));
    beacon_close(&w);
}

static void test_unusable_radio_is_refused(void **state)
{
    (void)state;
    struct beacon_world w;
    plan_pair(SECONDS(1));
    assert_int_equal(beacon_open(&w,
                                 "[scenario]\nname = slow\n[radio]\ndelivery = 20 ms\n[topology]\nkind = line\n"
                                 "nodes = 2\nspacing = 5 m\n",
                                 NULL),
                     -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_seed_same_run),
        cmocka_unit_test(test_digest_depends_on_the_seed),
        cmocka_unit_test(test_resumed_run_is_the_same),
        cmocka_unit_test(test_mail_comes_in_order),
        cmocka_unit_test(test_mail_sooner_than_the_lookahead_fails),
        cmocka_unit_test(test_events_are_few),
        cmocka_unit_test(test_answers_leave_at_once),
        cmocka_unit_test(test_rows_and_summaries_are_told),
        cmocka_unit_test(test_digest_has_the_rows),
        cmocka_unit_test(test_failure_ends_the_run),
        cmocka_unit_test(test_frame_too_long_fails),
        cmocka_unit_test(test_unusable_radio_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
