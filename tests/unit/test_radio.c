/* The radio's pure functions: airtimes against the Core Specification's layout, event timeline, scanner, propagation,
 * capture, random draws. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/radio/radio.h"

static void airtimes_match_hand_computed_values(void **state)
{
    (void)state;
    /* LE 1M, 8 us a byte: preamble 1, access address 4, header 2, payload, CRC 3 */
    assert_int_equal(sim_airtime_us(SIM_PHY_1M, 0), 80);
    assert_int_equal(sim_airtime_us(SIM_PHY_1M, 255), 2120); /* the longest packet of the specification */
    assert_int_equal(sim_airtime_us(SIM_PHY_2M, 0), 44);
    assert_int_equal(sim_airtime_us(SIM_PHY_2M, 255), 1064);
    assert_int_equal(sim_airtime_us(SIM_PHY_CODED, 0), 720);
    assert_int_equal(sim_airtime_us(SIM_PHY_CODED, 255), 17040);
    /* ADV_EXT_IND: header length 1, flags 1, ADI 2, AuxPtr 3 */
    assert_int_equal(sim_airtime_ext_ind_us(SIM_PHY_1M), (1 + 4 + 2 + 7 + 3) * 8);
    /* AUX_ADV_IND: header length 1, flags 1, AdvA 6, ADI 2, data */
    assert_int_equal(sim_airtime_aux_us(SIM_PHY_1M, 0), (1 + 4 + 2 + 10 + 3) * 8);
    assert_int_equal(sim_airtime_aux_us(SIM_PHY_1M, 229), 1992);
    assert_int_equal(sim_airtime_aux_us(SIM_PHY_2M, 229), (2 + 4 + 2 + 10 + 229 + 3) * 4);
    assert_int_equal(sim_airtime_aux_us(SIM_PHY_CODED, 229), 720 + 64 * 239);
}

static void event_lies_on_three_channels_then_one(void **state)
{
    (void)state;
    struct sim_radio radio;
    struct sim_event event;
    sim_radio_defaults(&radio);
    sim_event_plan(&event, &radio, 1000, 7, SIM_PHY_1M, SIM_PHY_1M, 12, 229);
    assert_int_equal(event.primaries, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(event.primary[i].channel, 37 + i);
        assert_int_equal(event.primary[i].start, 1000 + i * (136 + 250));
        assert_int_equal(event.primary[i].end, 1136 + i * (136 + 250));
    }
    assert_int_equal(event.aux.channel, 12);
    assert_int_equal(event.aux.start, 1908 + 300);
    assert_int_equal(event.aux.end, 1908 + 300 + 1992);
    sim_event_plan(&event, &radio, 0, 2, SIM_PHY_1M, SIM_PHY_2M, 0, 10);
    assert_int_equal(event.primaries, 1);
    assert_int_equal(event.primary[0].channel, 38);
    assert_int_equal(event.aux.start, 436);
    assert_int_equal(event.aux.end, 436 + (2 + 4 + 2 + 10 + 10 + 3) * 4);
    sim_event_plan(&event, &radio, 0, 0, SIM_PHY_1M, SIM_PHY_1M, 0, 0);
    assert_int_equal(event.primaries, 3);
}

static void scanner_turns_through_the_channels(void **state)
{
    (void)state;
    const sim_time origin = 500;
    assert_int_equal(sim_scan_channel(origin, 10000, 10000, 499, 600), 0);
    assert_int_equal(sim_scan_channel(origin, 10000, 10000, 500, 636), 37);
    assert_int_equal(sim_scan_channel(origin, 10000, 10000, 10364, 10500), 37);
    assert_int_equal(sim_scan_channel(origin, 10000, 10000, 10365, 10501), 0); /* across the change */
    assert_int_equal(sim_scan_channel(origin, 10000, 10000, 10500, 10636), 38);
    assert_int_equal(sim_scan_channel(origin, 10000, 10000, 20500, 20636), 39);
    assert_int_equal(sim_scan_channel(origin, 10000, 10000, 30500, 30636), 37);
    assert_int_equal(sim_scan_channel(origin, 10000, 4000, 4364, 4500), 37);
    assert_int_equal(sim_scan_channel(origin, 10000, 4000, 4365, 4501), 0); /* outside the window */
    assert_int_equal(sim_scan_channel(origin, 10000, 4000, 9000, 9136), 0);
}

static void path_loss_follows_the_logarithm(void **state)
{
    (void)state;
    struct sim_radio radio;
    sim_radio_defaults(&radio);
    const struct sim_position at = {0, 0, 0};
    const struct {
        struct sim_position to;
        int32_t loss_mdb;
    } cases[] = {
        {{1000, 0, 0}, 40000},       /* 1 m */
        {{0, 10000, 0}, 67000},      /* 10 m: 27 dB a decade */
        {{0, 0, 100000}, 94000},     /* 100 m */
        {{3000, 4000, 0}, 58872},    /* 5 m: 40 + 27 log10(5) */
        {{100, 0, 0}, 13000},        /* 10 cm */
        {{1, 0, 0}, 13000},          /* closer counts as 10 cm */
        {{-12345, 6789, 42}, 71019}, /* 14.0887 m */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_in_range(sim_path_loss_mdb(&radio, &at, &cases[i].to), cases[i].loss_mdb - 2, cases[i].loss_mdb + 2);
        assert_int_equal(sim_path_loss_mdb(&radio, &at, &cases[i].to), sim_path_loss_mdb(&radio, &cases[i].to, &at));
    }
    /* as far apart as coordinates allow: defined, and above every usable loss */
    const struct sim_position far[2] = {{INT32_MIN, INT32_MIN, INT32_MIN}, {INT32_MAX, INT32_MAX, INT32_MAX}};
    assert_true(sim_path_loss_mdb(&radio, &far[0], &far[1]) > 200000);
}

static void shadowing_is_symmetric_and_normal(void **state)
{
    (void)state;
    struct sim_radio radio;
    sim_radio_defaults(&radio);
    assert_int_equal(sim_shadowing_mdb(&radio, 1, 2, 3), 0);
    radio.shadowing_mdb = 6000;
    int64_t sum = 0, squares = 0;
    const int n = 4000;
    for (int i = 0; i < n; i++) {
        int64_t x = sim_shadowing_mdb(&radio, 99, (uint32_t)i, (uint32_t)i + 7);
        assert_int_equal(x, sim_shadowing_mdb(&radio, 99, (uint32_t)i + 7, (uint32_t)i));
        sum += x;
        squares += x * x;
    }
    assert_in_range(sum / n + 300, 0, 600); /* mean 0 within three standard errors */
    assert_in_range(squares / n, 33000000, 39000000);
    assert_int_not_equal(sim_shadowing_mdb(&radio, 99, 1, 2), sim_shadowing_mdb(&radio, 100, 1, 2));
}

static void powers_are_linear(void **state)
{
    (void)state;
    assert_int_equal(sim_linear(-140000), 1);
    assert_int_equal(sim_linear(-140001), 0);
    assert_int_equal(sim_linear(INT32_MIN), 0);
    assert_int_equal(sim_linear(-100000), 10000);
    assert_int_equal(sim_linear(0), 100000000000000u);
    assert_int_equal(sim_linear(10000), 1000000000000000u);
    assert_int_equal(sim_linear(20000), sim_linear(10000));
    assert_in_range(sim_linear(-96990), 19990, 20010); /* 3.01 dB is twice */
    for (int32_t p = -120000; p < 10000; p += 37) {
        assert_true(sim_linear(p + 100) > sim_linear(p));
        assert_true(sim_linear(p + 37) >= sim_linear(p));
    }
}

static void capture_needs_the_threshold(void **state)
{
    (void)state;
    struct sim_radio radio;
    sim_radio_defaults(&radio);
    assert_true(sim_captures(&radio, -95900, 0)); /* 8.1 dB above the noise floor */
    assert_false(sim_captures(&radio, -96100, 0));
    assert_true(sim_captures(&radio, -60000, sim_linear(-68100)));
    assert_false(sim_captures(&radio, -60000, sim_linear(-67900)));
    assert_false(sim_captures(&radio, -60000, 2 * sim_linear(-70000))); /* two together are too much */
    assert_true(sim_captures(&radio, -60000, sim_linear(-70000)));
    assert_false(sim_captures(&radio, 10000, 1024 * sim_linear(10000)));
}

static void configuration_is_checked(void **state)
{
    (void)state;
    struct sim_radio radio;
    sim_radio_defaults(&radio);
    assert_null(sim_radio_check(&radio));
    radio.interval_us = 19999;
    assert_string_equal(sim_radio_check(&radio), "interval");
    sim_radio_defaults(&radio);
    radio.tx_mdbm = 20001;
    assert_string_equal(sim_radio_check(&radio), "tx_power");
}

/* Known answers published with the method's authors' library. */
static void philox_gives_the_known_answers(void **state)
{
    (void)state;
    const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint32_t out[4];
        sim_philox(known[i].counter, known[i].key, out);
        assert_memory_equal(out, known[i].out, sizeof out);
    }
    assert_int_equal(sim_scale(0, 10), 0);
    assert_int_equal(sim_scale(UINT32_MAX, 10), 9);
    assert_int_equal(sim_draw(5, SIM_DRAW_LOSS, 1, 2, 3), sim_draw(5, SIM_DRAW_LOSS, 1, 2, 3));
    assert_int_not_equal(sim_draw(5, SIM_DRAW_LOSS, 1, 2, 3), sim_draw(5, SIM_DRAW_DELAY, 1, 2, 3));
    assert_int_not_equal(sim_draw(5, SIM_DRAW_LOSS, 1, 2, 3), sim_draw(6, SIM_DRAW_LOSS, 1, 2, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(airtimes_match_hand_computed_values), cmocka_unit_test(event_lies_on_three_channels_then_one),
        cmocka_unit_test(scanner_turns_through_the_channels),  cmocka_unit_test(path_loss_follows_the_logarithm),
        cmocka_unit_test(shadowing_is_symmetric_and_normal),   cmocka_unit_test(powers_are_linear),
        cmocka_unit_test(capture_needs_the_threshold),         cmocka_unit_test(configuration_is_checked),
        cmocka_unit_test(philox_gives_the_known_answers),
    };
    return cmocka_run_group_tests_name("radio", tests, NULL, NULL);
}
