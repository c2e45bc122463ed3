/* Flooding, unicast and what the baselines share, on the real engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "baseline_rig.h"

/* Six nodes in a row; 8 KB are 43 packets. */
#define LINE(radio, more)                                                                                              \
    "[scenario]\nname = line\nseed = 1\n[radio]\n" radio "\n[topology]\nkind = line\nnodes = 6\nspacing = 10 m\n"      \
    "reach = neighbours\n[release 2]\nat = 2 s\nsize = 8 KB\n" more
/* An ideal radio has no random delays either, so that counts are exact. */
#define IDEAL "collisions = no\ndelay = 0 ms"
/* A hundred nodes, about five hops wide. */
#define OFFICE(more)                                                                                                   \
    "[scenario]\nname = office\nseed = 1\n[radio]\nframe_loss = 10 %\n[topology]\nkind = disc\nnodes = 101\n"          \
    "degree = 9\n[release 2]\nat = 2 s\nsize = 4 KB\n" more
#define PACKETS 43u

/* --- flooding ---------------------------------------------------------------------------------------------------- */

static void flood_reaches_everybody_on_an_ideal_radio(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_flood(), LINE(IDEAL, ""), 1);
    baseline_rig_run(&r, 6, BASELINE_SECONDS(60));
    assert_int_equal(r.complete, 5);
    assert_int_equal(r.twice, 0);
    /* The source and everybody else sent every packet once, in frames as long as a CHUNK's. */
    assert_int_equal(baseline_rig_frames(&r, "data"), PACKETS * 6);
    assert_int_equal(baseline_rig_bytes(&r, "data"), PACKETS * 6 * 229);
    /* 43 events of 20 ms, then five hops. */
    assert_true(r.at[1] >= BASELINE_SECONDS(2) + 42 * 20000 && r.last < BASELINE_SECONDS(2) + 43 * 20000 + 5 * 80000);
    for (unsigned i = 2; i < 6; i++)
        assert_true(r.at[i] > r.at[i - 1]);
    baseline_rig_close(&r);
}

static void flood_loses_packets_for_good(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_flood(), LINE("frame_loss = 10 %", ""), 1);
    baseline_rig_run(&r, 6, BASELINE_SECONDS(600));
    assert_true(sim_engine_next(r.e) == SIM_NEVER); /* nobody repairs: it is over */
    assert_true(r.complete < 5);
    baseline_rig_close(&r);

    baseline_rig_open(&r, sim_baseline_flood(), OFFICE(""), 1);
    baseline_rig_run(&r, 101, BASELINE_SECONDS(600));
    assert_true(sim_engine_next(r.e) == SIM_NEVER);
    assert_true(r.complete < 100);
    uint32_t once = r.complete;
    baseline_rig_close(&r);
    baseline_rig_open(&r, sim_baseline_flood(), OFFICE("[baseline]\nflood_repeats = 8\n"), 1);
    baseline_rig_run(&r, 101, BASELINE_SECONDS(600));
    assert_true(r.complete > once);
    baseline_rig_close(&r);
}

static void flood_counts_rounds_and_chances(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_flood(), LINE(IDEAL, "[baseline]\nflood_repeats = 3\n"), 1);
    baseline_rig_run(&r, 6, BASELINE_SECONDS(60));
    assert_int_equal(baseline_rig_frames(&r, "data"), PACKETS * 6 * 3);
    baseline_rig_close(&r);

    baseline_rig_open(&r, sim_baseline_flood(), LINE(IDEAL, "[baseline]\nflood_probability = 0 %\n"), 1);
    baseline_rig_run(&r, 6, BASELINE_SECONDS(60));
    assert_int_equal(baseline_rig_frames(&r, "data"), PACKETS); /* the source alone */
    assert_int_equal(r.complete, 1);
    baseline_rig_close(&r);

    /* 43 packets at half a chance, a hop further each time: 43 (1 + 1/2 + 1/4 + ...) is 84 of 258. */
    baseline_rig_open(&r, sim_baseline_flood(), LINE(IDEAL, "[baseline]\nflood_probability = 50 %\n"), 1);
    baseline_rig_run(&r, 6, BASELINE_SECONDS(60));
    assert_true(baseline_rig_frames(&r, "data") > 55 && baseline_rig_frames(&r, "data") < 115);
    baseline_rig_close(&r);
}

static void flood_repeats_exactly(void **state)
{
    (void)state;
    baseline_rig_repeat(sim_baseline_flood(), OFFICE("[baseline]\nflood_repeats = 2\n"), BASELINE_SECONDS(3) + 1234,
                        BASELINE_SECONDS(8));
}

/* --- unicast ----------------------------------------------------------------------------------------------------- */

static void unicast_sends_each_packet_once_a_hop(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_unicast(), LINE(IDEAL, ""), 1);
    baseline_rig_run(&r, 5, BASELINE_SECONDS(600));
    assert_int_equal(r.complete, 5);
    assert_int_equal(r.twice, 0);
    for (unsigned i = 2; i < 6; i++)
        assert_true(r.at[i] > r.at[i - 1]); /* one after the other */
    /* The last poll may still be under way. Relays that cannot take more say so, which is one more of both. */
    uint64_t data = baseline_rig_frames(&r, "data"), hops = 1 + 2 + 3 + 4 + 5;
    assert_true(data >= PACKETS * hops && data <= PACKETS * hops * 11 / 10);
    assert_int_equal(baseline_rig_bytes(&r, "data"), data * 227);
    assert_int_equal(baseline_rig_bytes(&r, "ack"), baseline_rig_frames(&r, "ack") * 35);
    uint64_t asked = baseline_rig_frames(&r, "poll"), answered = baseline_rig_frames(&r, "status");
    assert_true(asked >= 1 + 2 + 3 + 4 && answered >= 1 + 2 + 3 + 4 && answered <= hops + 3);
    baseline_rig_close(&r);
}

static void unicast_repairs_what_is_lost(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_unicast(), OFFICE(""), 1);
    baseline_rig_run(&r, 100, BASELINE_SECONDS(20000));
    assert_int_equal(r.complete, 100);
    baseline_rig_close(&r);

    /* Without retries the polls have to find out. */
    baseline_rig_open(&r, sim_baseline_unicast(), LINE("frame_loss = 20 %", "[baseline]\nunicast_retries = 1\n"), 1);
    baseline_rig_run(&r, 5, BASELINE_SECONDS(20000));
    assert_int_equal(r.complete, 5);
    assert_true(baseline_rig_frames(&r, "poll") > 15);
    baseline_rig_close(&r);
}

/* Two gateways work at the same time, each on the nodes nearest to it: fewer hops in all, and done sooner. */
static void unicast_uses_all_gateways(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_unicast(), LINE(IDEAL, ""), 1);
    baseline_rig_run(&r, 5, BASELINE_SECONDS(600));
    uint64_t alone = baseline_rig_frames(&r, "data");
    sim_time last = r.last;
    baseline_rig_close(&r);
    baseline_rig_open(&r, sim_baseline_unicast(), LINE(IDEAL, "[fleet]\ngateways = 2\n"), 1);
    baseline_rig_run(&r, 4, BASELINE_SECONDS(600));
    assert_int_equal(r.complete, 4);
    assert_true(baseline_rig_frames(&r, "data") < alone * 2 / 3);
    assert_true(r.last - BASELINE_SECONDS(2) < (last - BASELINE_SECONDS(2)) * 2 / 3);
    baseline_rig_close(&r);
}

/* A packet that never arrives anywhere ends with polls that stay unanswered, not with an endless run. */
static void unicast_gives_up_the_unreachable(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_unicast(), LINE("frame_loss = 100 %", "[baseline]\nunicast_retries = 2\n"), 1);
    baseline_rig_run(&r, 6, BASELINE_SECONDS(100000));
    assert_int_equal(r.complete, 0);
    assert_true(sim_engine_next(r.e) == SIM_NEVER);
    baseline_rig_close(&r);
}

static void unicast_repeats_exactly(void **state)
{
    (void)state;
    baseline_rig_repeat(sim_baseline_unicast(), OFFICE("[fleet]\ngateways = 2\n"), BASELINE_SECONDS(17) + 4321,
                        BASELINE_SECONDS(40));
}

/* --- what they share --------------------------------------------------------------------------------------------- */

static void assert_refused(const struct sim_stack *stack, void (*spoil)(struct sim_scenario *s), const char *words)
{
    struct baseline_rig r;
    char error[512] = "";
    baseline_rig_prepare(&r, stack, LINE(IDEAL, ""), 1);
    spoil(&r.s);
    assert_false(baseline_rig_start(&r, 1, error, sizeof(error)));
    if (strstr(error, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error, words);
    baseline_rig_close(&r);
}

static void no_release(struct sim_scenario *s)
{
    s->release_count = 0;
}

static void empty_image(struct sim_scenario *s)
{
    s->release[0].size_bytes = 0;
}

static void no_rounds(struct sim_scenario *s)
{
    s->baseline.flood_repeats = 0;
}

static void impossible_plans_are_refused(void **state)
{
    (void)state;
    const struct sim_stack *all[] = {sim_baseline_flood(), sim_baseline_unicast(), sim_baseline_deluge(),
                                     sim_baseline_deluge_extended(), sim_baseline_mesh_dfu()};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        assert_refused(all[i], no_release, "[release 2]");
        assert_refused(all[i], empty_image, "size");
    }
    assert_refused(sim_baseline_flood(), no_rounds, "flood_repeats");
}

static void gateways_have_it_from_the_start(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_flood(), LINE(IDEAL, ""), 1);
    baseline_rig_run(&r, 5, BASELINE_SECONDS(2) - 1);
    assert_int_equal(baseline_rig_all(&r), 0); /* nothing before the release */
    assert_int_equal(r.complete, 0);
    sim_engine_finish(r.e);
    assert_int_equal(r.summary[0].is_gateway, 1);
    assert_true(r.summary[0].complete_at == BASELINE_SECONDS(2));
    assert_int_equal(r.summary[5].hops, 5);
    assert_true(r.summary[5].complete_at == SIM_NEVER);
    r.summaries = 0;
    baseline_rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flood_reaches_everybody_on_an_ideal_radio),
        cmocka_unit_test(flood_loses_packets_for_good),
        cmocka_unit_test(flood_counts_rounds_and_chances),
        cmocka_unit_test(flood_repeats_exactly),
        cmocka_unit_test(unicast_sends_each_packet_once_a_hop),
        cmocka_unit_test(unicast_repairs_what_is_lost),
        cmocka_unit_test(unicast_uses_all_gateways),
        cmocka_unit_test(unicast_gives_up_the_unreachable),
        cmocka_unit_test(unicast_repeats_exactly),
        cmocka_unit_test(impossible_plans_are_refused),
        cmocka_unit_test(gateways_have_it_from_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
