/* Deluge on the real engine: counts on an ideal radio, the published control share and rate, suppression, repeats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "baseline_rig.h"

#define WORLD(radio, topology, release, more)                                                                          \
    "[scenario]\nname = deluge\nseed = 1\n[radio]\n" radio "\n[topology]\n" topology "\n[release 2]\nat = 2 s\n"       \
    "size = " release "\n" more
#define IDEAL "collisions = no"
#define PAIR "kind = line\nnodes = 2\nspacing = 10 m\nreach = neighbours"
#define LINE "kind = line\nnodes = 6\nspacing = 10 m\nreach = neighbours"
#define CROWD "kind = grid\ncolumns = 5\nrows = 4\nspacing = 1 m"
#define DISC "kind = disc\nnodes = 60\ndegree = 10"

static void check_sizes(const struct baseline_rig *r, size_t data, size_t advert, size_t request)
{
    assert_int_equal(baseline_rig_bytes(r, "data"), baseline_rig_frames(r, "data") * data);
    assert_int_equal(baseline_rig_bytes(r, "advertisement"), baseline_rig_frames(r, "advertisement") * advert);
    assert_int_equal(baseline_rig_bytes(r, "request"), baseline_rig_frames(r, "request") * request);
}

static void a_pair_sends_each_packet_once(void **state)
{
    (void)state;
    struct baseline_rig r;
    /* 4 KB: 179 packets of 23 bytes, 4 pages. */
    baseline_rig_open(&r, sim_baseline_deluge(), WORLD(IDEAL, PAIR, "4117 B", ""), 1);
    baseline_rig_run(&r, 1, BASELINE_SECONDS(60));
    assert_int_equal(r.complete, 1);
    assert_int_equal(r.twice, 0);
    assert_int_equal(baseline_rig_frames(&r, "data"), 179);
    assert_int_equal(baseline_rig_frames(&r, "request"), 4);
    check_sizes(&r, 11 + 7 + 23, 11 + 15, 11 + 10 + 6);
    baseline_rig_close(&r);
}

static void a_line_is_crossed_page_by_page(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_deluge(), WORLD(IDEAL, LINE, "8 KB", ""), 1);
    baseline_rig_run(&r, 5, BASELINE_SECONDS(200));
    assert_int_equal(r.complete, 5);
    for (unsigned i = 2; i < 6; i++)
        assert_true(r.at[i] > r.at[i - 1]);
    /* Pages follow each other: the far end is done long before five times the first hop's time. */
    assert_true(r.at[5] - BASELINE_SECONDS(2) < 3 * (r.at[1] - BASELINE_SECONDS(2)));
    /* Every hop costs each of the 357 packets once; the requester asks the node before it. */
    assert_true(baseline_rig_frames(&r, "data") >= 357 * 5);
    assert_true(baseline_rig_frames(&r, "data") <= 357 * 5 * 11 / 10);
    baseline_rig_close(&r);
}

/* Twenty nodes in one room take what the first of them asks for: nearly nothing is asked or sent twice. */
static void a_room_shares_one_sender(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_deluge(), WORLD("frame_loss = 0 %", CROWD, "8 KB", ""), 1);
    baseline_rig_run(&r, 19, BASELINE_SECONDS(200));
    assert_int_equal(r.complete, 19);
    assert_true(baseline_rig_frames(&r, "data") < 357 * 2);
    assert_true(baseline_rig_frames(&r, "request") < 8 * 19 / 2);
    baseline_rig_close(&r);
}

/* Published: control messages at most 18 % of transmissions, about a ninth of the radio's rate over several hops. */
static void control_share_and_rate_are_as_published(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_deluge(), WORLD("frame_loss = 0 %", LINE, "24 KB", ""), 1);
    baseline_rig_run(&r, 5, BASELINE_SECONDS(600));
    assert_int_equal(r.complete, 5);
    uint64_t all = baseline_rig_all(&r), data = baseline_rig_frames(&r, "data");
    assert_true((all - data) * 100 < all * 25);
    /* A sender alone takes 2.3 to 11.8 ms, the channel's assessment (0 to 7 slots of 320 us, and 128 us) and 1.5 ms on
     * air for 23 bytes: about 2,250 bytes a second. */
    uint64_t rate = r.s.release[0].size_bytes * UINT64_C(1000000) / (r.last - BASELINE_SECONDS(2));
    assert_true(rate * 9 > 2250 * 6 / 10 && rate * 9 < 2250 * 14 / 10);
    baseline_rig_close(&r);
}

static void loss_is_repaired(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_deluge(), WORLD("frame_loss = 30 %", DISC, "3 KB", ""), 1);
    baseline_rig_run(&r, 59, BASELINE_SECONDS(3600));
    assert_int_equal(r.complete, 59);
    baseline_rig_close(&r);
    baseline_rig_open(&r, sim_baseline_deluge(), WORLD("frame_loss = 10 %", DISC, "3 KB", "[fleet]\ngateways = 3\n"),
                      1);
    baseline_rig_run(&r, 57, BASELINE_SECONDS(3600));
    assert_int_equal(r.complete, 57);
    baseline_rig_close(&r);
}

static void it_runs_over_extended_advertising(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_deluge_extended(), WORLD("frame_loss = 10 %", DISC, "20 KB", ""), 1);
    baseline_rig_run(&r, 59, BASELINE_SECONDS(3600));
    assert_int_equal(r.complete, 59);
    check_sizes(&r, 4 + 11 + 7 + 192, 4 + 11 + 15, 4 + 11 + 10 + 6);
    baseline_rig_close(&r);
}

/* When all have it the network falls silent: an advertisement or two a minute in each neighbourhood. */
static void the_end_is_quiet(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_deluge(), WORLD("frame_loss = 0 %", CROWD, "2 KB", ""), 1);
    baseline_rig_run(&r, 19, BASELINE_SECONDS(200));
    baseline_rig_run(&r, 20, BASELINE_SECONDS(600));
    uint64_t before = baseline_rig_all(&r);
    baseline_rig_run(&r, 20, BASELINE_SECONDS(1200));
    assert_true(baseline_rig_all(&r) - before <= 10 * 20);
    assert_true(baseline_rig_all(&r) - before >= 10);
    baseline_rig_close(&r);
}

static void it_repeats_exactly(void **state)
{
    (void)state;
    baseline_rig_repeat(sim_baseline_deluge(), WORLD("frame_loss = 10 %", DISC, "4 KB", ""), BASELINE_SECONDS(9) + 777,
                        BASELINE_SECONDS(30));
    baseline_rig_repeat(sim_baseline_deluge_extended(), WORLD("frame_loss = 10 %", DISC, "4 KB", ""),
                        BASELINE_SECONDS(5) + 778, BASELINE_SECONDS(20));
}

static void impossible_plans_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct baseline_rig r;
        char error[512] = "";
        baseline_rig_prepare(&r, sim_baseline_deluge(), WORLD(IDEAL, PAIR, "4 KB", ""), 1);
        if (i == 0)
            r.s.baseline.deluge_page = 129;
        else if (i == 1)
            r.s.baseline.deluge_page = 0;
        else
            r.s.baseline.deluge_packet_bytes = 108;
        assert_false(baseline_rig_start(&r, 1, error, sizeof(error)));
        assert_non_null(strstr(error, i == 2 ? "deluge_packet" : "deluge_page"));
        baseline_rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_sends_each_packet_once),
        cmocka_unit_test(a_line_is_crossed_page_by_page),
        cmocka_unit_test(a_room_shares_one_sender),
        cmocka_unit_test(control_share_and_rate_are_as_published),
        cmocka_unit_test(loss_is_repaired),
        cmocka_unit_test(it_runs_over_extended_advertising),
        cmocka_unit_test(the_end_is_quiet),
        cmocka_unit_test(it_repeats_exactly),
        cmocka_unit_test(impossible_plans_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
