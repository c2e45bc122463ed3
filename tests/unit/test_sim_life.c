/*
 * Life of simulated nodes: resets, churn, late joiners, batteries and duty cycles come as often as the scenario says,
 * never to gateways, and what is drawn is exponential. Seeds are fixed; bounds are three standard deviations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/fleet/life.h"
#include "tests/lib/sim_rig.h"

#define WORLD                                                                                                          \
    "[scenario]\nname = test\n[topology]\nkind = grid\ncolumns = 11\nrows = 11\nspacing = 10 m\nreach = neighbours\n"  \
    "[fleet]\nsize = 1 KB\ncanaries = 0\n[run]\nduration = 30 h\n[life]\n"
#define NODES 120u
#define GATEWAY 0u

/* |x - mean| within three times the square root of the variance. */
static void near(double x, double mean, double variance, const char *what)
{
    double d = x - mean;
    print_message("%s: %.3f, expected %.3f\n", what, x, mean);
    if (d * d > 9 * variance)
        fail_msg("%s: %.3f is farther from %.3f than three standard deviations", what, x, mean);
}

static void test_exponential(void **state)
{
    (void)state;
    const double mean = 3600e6, n = 20000;
    double sum = 0, square = 0, above = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        sim_time x = sim_fleet_exponential((sim_time)mean, sim_draw(5, SIM_DRAW_WORLD, i, 0, 0));
        assert_true(x >= 1);
        sum += (double)x;
        square += (double)x * (double)x;
        above += (double)x > mean;
    }
    near(sum / n, mean, mean * mean / n, "mean of exponential times");
    near(square / n, 2 * mean * mean, 20 * mean * mean * mean * mean / n, "their mean square");
    near(above / n, 0.36788, 0.36788 * 0.63212 / n, "share above the mean");
    assert_true(sim_fleet_exponential(1, UINT32_MAX) >= 1);
    assert_true(sim_fleet_exponential((sim_time)1 << 50, 0) < (sim_time)1 << 56);
}

static void test_resets(void **state)
{
    (void)state;
    struct sim_rig r;
    uint32_t resets = 0;
    sim_rig_open(&r, WORLD "reboot_every = 1 h\n", 1);
    sim_rig_run(&r, MP_SECONDS(10 * 3600));
    for (size_t i = 0; i < r.rows; i++)
        if (r.row[i].row.kind == SIM_ROW_RESET) {
            assert_int_not_equal(r.row[i].row.node, GATEWAY);
            assert_int_equal(r.row[i].row.b, BOOT_CAUSE_POWER);
            resets++;
        }
    near(resets, NODES * 10.0, NODES * 10.0, "resets");
    for (uint32_t i = 0; i < r.field.count; i++)
        assert_true(r.fleet->member[i].down == 0 || r.fleet->member[i].down == SIM_DOWN_BOOT);
    sim_rig_close(&r);
}

static void test_churn(void **state)
{
    (void)state;
    struct sim_rig r;
    sim_time since[NODES + 1] = {0}, up[NODES + 1] = {0};
    double off = 0, on = 0, offs = 0, ons = 0;
    sim_rig_open(&r, WORLD "off_every = 1 h\noff_for = 10 min\n", 2);
    sim_rig_run(&r, MP_SECONDS(20 * 3600));
    for (size_t i = 0; i < r.rows; i++) {
        const struct sim_row *row = &r.row[i].row;
        if (row->kind == SIM_ROW_DOWN) {
            assert_int_not_equal(row->node, GATEWAY);
            assert_int_equal(row->b, SIM_DOWN_CHURN);
            on += (double)(row->at - up[row->node]);
            ons++;
            since[row->node] = row->at;
        } else if (row->kind == SIM_ROW_UP) {
            off += (double)(row->at - since[row->node]);
            offs++;
            up[row->node] = row->at;
        }
    }
    assert_true(offs > 1500 && ons >= offs);
    near(off / offs, 600e6, 600e6 * 600e6 / offs, "mean time off");
    /* intervals cut off by the end are missing, mostly long ones: a sixtieth is allowed for them */
    near(on / ons, 3600e6 * (1 - 1.0 / 20), 3600e6 * 3600e6 / ons + 60e6 * 60e6, "mean time on");
    sim_rig_close(&r);
}

static void test_join(void **state)
{
    (void)state;
    struct sim_rig r;
    double sum = 0, count = 0;
    sim_rig_open(&r, WORLD "join_within = 1 h\n", 3);
    for (uint32_t i = 1; i < r.field.count; i++)
        assert_int_equal(r.fleet->member[i].down, SIM_DOWN_CHURN);
    sim_rig_run(&r, MP_SECONDS(2 * 3600));
    for (size_t i = 0; i < r.rows; i++)
        if (r.row[i].row.kind == SIM_ROW_UP) {
            assert_true(r.row[i].row.at <= MP_SECONDS(3600));
            sum += (double)r.row[i].row.at;
            count++;
        }
    assert_int_equal(count, NODES);
    near(sum / count, 1800e6, 3600e6 * 3600e6 / 12 / count, "mean time of joining");
    sim_rig_close(&r);
}

static void test_battery(void **state)
{
    (void)state;
    struct sim_rig r;
    sim_rig_open(&r, WORLD "battery = 1 mAh\n", 4);
    /* always scanning at 5.4 mA: 11 minutes and 7 seconds */
    sim_rig_run(&r, MP_SECONDS(660));
    assert_int_equal(r.told[SIM_ROW_DOWN], 0);
    sim_fleet_enter(r.fleet, 5, MP_SECONDS(660));
    assert_true(sim_life_battery_percent(r.fleet) <= 2);
    sim_rig_run(&r, MP_SECONDS(760));
    assert_int_equal(r.told[SIM_ROW_DOWN], NODES);
    for (size_t i = 0; i < r.rows; i++)
        if (r.row[i].row.kind == SIM_ROW_DOWN)
            assert_int_equal(r.row[i].row.b, SIM_DOWN_BATTERY);
    sim_rig_run(&r, MP_SECONDS(7200));
    assert_int_equal(r.told[SIM_ROW_UP], 0);
    sim_rig_close(&r);
    const struct sim_energy e = {.tx_ua = 5300, .rx_ua = 5400, .sleep_na = 1900};
    const struct sim_radio_use use = {.tx_us = 1000000, .rx_us = 2000000};
    assert_int_equal(sim_life_charge(&e, &use, 13000000), 5300000000u + 10800000000u + 19000000u);
}

static void test_duty(void **state)
{
    (void)state;
    struct sim_rig r;
    uint32_t slow = 0;
    sim_rig_open(&r, WORLD "duty_share = 30 %\nduty_interval = 1 s\nduty_window = 100 ms\n", 5);
    sim_rig_run(&r, MP_SECONDS(1000));
    for (uint32_t i = 1; i < r.field.count; i++) {
        struct sim_radio_use use;
        sim_engine_radio_use(r.e, i, &use);
        assert_true(use.rx_us < 130000000 || use.rx_us > 950000000);
        slow += use.rx_us < 130000000;
    }
    near(slow, NODES * 0.3, NODES * 0.3 * 0.7, "duty-cycled nodes");
    struct sim_radio_use use;
    sim_engine_radio_use(r.e, GATEWAY, &use);
    assert_true(use.rx_us > 950000000);
    sim_rig_close(&r);
}

/* A scenario without any of it keeps nothing. */
static void test_costs_nothing(void **state)
{
    (void)state;
    struct sim_rig r;
    sim_rig_open(&r, WORLD "drift = 20 ppm\n", 6);
    assert_null(r.fleet->lives);
    sim_rig_run(&r, MP_SECONDS(100));
    assert_int_equal(r.told[SIM_ROW_RESET] + r.told[SIM_ROW_DOWN] + r.told[SIM_ROW_UP], 0);
    sim_rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exponential),   cmocka_unit_test(test_resets),  cmocka_unit_test(test_churn),
        cmocka_unit_test(test_join),          cmocka_unit_test(test_battery), cmocka_unit_test(test_duty),
        cmocka_unit_test(test_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
