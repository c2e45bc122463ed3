/* Bluetooth mesh DFU on the real engine: PDUs counted on an ideal radio, published times, acknowledgements and repeats
 * under loss, TTL, dropped targets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "baseline_rig.h"

#define WORLD(radio, nodes, release, more)                                                                             \
    "[scenario]\nname = dfu\nseed = 1\n[radio]\n" radio "\n[topology]\nkind = line\nnodes = " nodes                    \
    "\nspacing = 10 m\nreach = neighbours\n[release 2]\nat = 2 s\nsize = " release "\n" more
/* What is handed over late does not matter on an ideal radio, but a collision would. */
#define IDEAL "collisions = no"
#define UNICAST "[baseline]\ndfu_targets = 1\n"

/* 4,096 bytes: a block of 16 chunks, each 1 + 2 + 256 + 4 bytes in 22 segments, each sent three times. */
#define SEGMENTS (16u * 22u)

static void a_group_gets_three_passes(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_mesh_dfu(), WORLD(IDEAL, "2", "4096 B", ""), 1);
    baseline_rig_run(&r, 2, BASELINE_SECONDS(300));
    assert_int_equal(r.complete, 1);
    assert_int_equal(r.twice, 0);
    /* The only target relays every PDU, three times as well. */
    assert_int_equal(baseline_rig_frames(&r, "data"), SEGMENTS * 3 * 3 * 2);
    /* 21 segments of 31 bytes and one of 1 + 2 + 256 + 4 - 21 * 12 + 19 = 30 a chunk. */
    assert_int_equal(baseline_rig_bytes(&r, "data"), 16u * (21u * 31u + 30u) * 3 * 3 * 2);
    baseline_rig_close(&r);
}

static void one_target_acknowledges_segments(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_mesh_dfu(), WORLD(IDEAL, "2", "4096 B", UNICAST), 1);
    baseline_rig_run(&r, 2, BASELINE_SECONDS(300));
    assert_int_equal(r.complete, 1);
    /* Nobody relays what is for itself; the receiver's timer may ask for nothing on an ideal radio. */
    assert_int_equal(baseline_rig_frames(&r, "data"), SEGMENTS * 3);
    /* Each chunk's end is acknowledged once (26 bytes, three times), and so is the segmented status and request of
     * both steps before and the one after. In the middle of a chunk 8.5 * 160 ms pass once more. */
    assert_int_equal(baseline_rig_bytes(&r, "segment ack"), baseline_rig_frames(&r, "segment ack") * 26);
    assert_true(baseline_rig_frames(&r, "segment ack") >= (16 + 4) * 3);
    assert_true(baseline_rig_frames(&r, "segment ack") <= (2 * 16 + 6) * 3);
    baseline_rig_close(&r);
}

static uint64_t seconds_for(const char *text, uint32_t count)
{
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_mesh_dfu(), text, 1);
    baseline_rig_run(&r, count, BASELINE_SECONDS(20000));
    assert_int_equal(r.complete, count);
    uint64_t seconds = (r.last - BASELINE_SECONDS(2)) / 1000000;
    baseline_rig_close(&r);
    return seconds;
}

/* Nordic's documentation: 34 minutes for one node by unicast, 2 hours for two by multicast; a user's 342 KB in 36
 * minutes make the image 326 KB. Within a quarter. */
static void times_are_in_the_published_neighbourhood(void **state)
{
    (void)state;
    uint64_t one =
        seconds_for(WORLD("frame_loss = 0 %", "2", "326 KB", "[baseline]\ndfu_chunk = 161 B\ndfu_targets = 1\n"), 1);
    uint64_t two = seconds_for(WORLD("frame_loss = 0 %", "3", "326 KB", "[baseline]\ndfu_chunk = 161 B\n"), 2);
    print_message("one node by unicast %u s of 2040, two by multicast %u s of 7200\n", (unsigned)one, (unsigned)two);
    assert_true(one > 34 * 60 * 3 / 4 && one < 34 * 60 * 5 / 4);
    assert_true(two > 120 * 60 * 3 / 4 && two < 120 * 60 * 5 / 4);
}

static void unicast_takes_as_long_as_its_targets_together(void **state)
{
    (void)state;
    uint64_t one = seconds_for(WORLD(IDEAL, "2", "8 KB", UNICAST), 1);
    uint64_t four = seconds_for(WORLD(IDEAL, "5", "8 KB", UNICAST), 4);
    uint64_t group = seconds_for(WORLD(IDEAL, "5", "8 KB", ""), 4);
    assert_true(four > one * 7 / 2 && four < one * 6);
    /* A group waits for nobody but costs three passes. */
    assert_true(group > one * 2 && group < one * 5);
}

static void groups_are_updated_one_after_the_other(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_mesh_dfu(), WORLD(IDEAL, "5", "4096 B", "[baseline]\ndfu_targets = 2\n"), 1);
    baseline_rig_run(&r, 4, BASELINE_SECONDS(2000));
    assert_int_equal(r.complete, 4);
    assert_true(r.at[1] < r.at[3] && r.at[2] < r.at[3] && r.at[1] < r.at[4] && r.at[2] < r.at[4]);
    assert_true(r.at[3] - r.at[1] > BASELINE_SECONDS(60)); /* another 16 chunks of 4.6 s */
    baseline_rig_close(&r);
}

static void loss_is_repaired(void **state)
{
    (void)state;
    /* Segments are sent nine times: only heavy loss leaves chunks to be repeated, */
    (void)seconds_for(WORLD("frame_loss = 40 %", "4", "8 KB", ""), 3);
    (void)seconds_for(WORLD("frame_loss = 30 %", "4", "8 KB", UNICAST), 3);
    /* unless each PDU goes out once: 32 chunks are 2,112 PDUs of the distributor, and a chunk in six is missed. */
    struct baseline_rig r;
    struct sim_radio_use use;
    baseline_rig_open(&r, sim_baseline_mesh_dfu(),
                      WORLD("frame_loss = 20 %", "2", "8 KB", "[baseline]\ndfu_transmits = 1\n"), 1);
    baseline_rig_run(&r, 1, BASELINE_SECONDS(3000));
    assert_int_equal(r.complete, 1);
    sim_engine_radio_use(r.e, 0, &use);
    assert_true(use.frames > 2112 + 2 * 66 && use.frames < 2112 * 2);
    baseline_rig_close(&r);
}

/* Three hops at this loss cost targets in the first round of about every second world; those are updated again, which
 * takes them from the first step on. */
static void dropped_targets_get_another_round(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct baseline_rig r;
        baseline_rig_open(&r, sim_baseline_mesh_dfu(), WORLD("frame_loss = 45 %", "4", "8 KB", ""), seed);
        baseline_rig_run(&r, 3, BASELINE_SECONDS(3000));
        assert_int_equal(r.complete, 3);
        assert_int_equal(r.twice, 0);
        baseline_rig_close(&r);
    }
}

/* The confirmation comes 6,000 PDUs after the last message to the target alone, which is more than half of what
 * SeqZero counts: it must not be taken for an old one. */
static void far_sequence_numbers_are_new(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_mesh_dfu(), WORLD(IDEAL, "2", "24 KB", ""), 1);
    baseline_rig_run(&r, 1, BASELINE_SECONDS(3000));
    assert_int_equal(r.complete, 1);
    assert_true(baseline_rig_frames(&r, "data") > 2 * 3 * 0x1000);
    sim_time complete = r.last;
    baseline_rig_run(&r, 2, BASELINE_SECONDS(3000));
    assert_true(sim_engine_next(r.e) == SIM_NEVER);
    assert_true(sim_engine_now(r.e) <
                complete + BASELINE_SECONDS(12)); /* two passes more, then asked once and answered */
    baseline_rig_close(&r);
}

/* TTL 2 is one relay: the third hop hears nothing and is dropped, the others are not held up by it for ever. */
static void nodes_beyond_the_ttl_are_dropped(void **state)
{
    (void)state;
    struct baseline_rig r;
    baseline_rig_open(&r, sim_baseline_mesh_dfu(), WORLD(IDEAL, "4", "4096 B", "[baseline]\ndfu_ttl = 2\n"), 1);
    baseline_rig_run(&r, 3, BASELINE_SECONDS(3000));
    assert_int_equal(r.complete, 2);
    assert_true(r.at[3] == SIM_NEVER);
    assert_true(sim_engine_next(r.e) == SIM_NEVER); /* the distributor is done */
    baseline_rig_close(&r);
    baseline_rig_open(&r, sim_baseline_mesh_dfu(), WORLD(IDEAL, "4", "4096 B", "[baseline]\ndfu_ttl = 3\n"), 1);
    baseline_rig_run(&r, 3, BASELINE_SECONDS(3000));
    assert_int_equal(r.complete, 3);
    baseline_rig_close(&r);
}

static void it_repeats_exactly(void **state)
{
    (void)state;
    baseline_rig_repeat(sim_baseline_mesh_dfu(), WORLD("frame_loss = 20 %", "5", "6 KB", ""),
                        BASELINE_SECONDS(33) + 1111, BASELINE_SECONDS(150));
    baseline_rig_repeat(sim_baseline_mesh_dfu(), WORLD("frame_loss = 20 %", "5", "2 KB", UNICAST),
                        BASELINE_SECONDS(20) + 2222, BASELINE_SECONDS(60));
}

static void impossible_plans_are_refused(void **state)
{
    (void)state;
    static const char *const word[] = {"dfu_chunk", "dfu_block", "dfu_ttl", "dfu_transmits", "blocks"};
    for (size_t i = 0; i < sizeof(word) / sizeof(word[0]); i++) {
        struct baseline_rig r;
        char error[512] = "";
        baseline_rig_prepare(&r, sim_baseline_mesh_dfu(), WORLD(IDEAL, "2", "4 KB", ""), 1);
        struct sim_baseline_plan *plan = &r.s.baseline;
        if (i == 0)
            plan->dfu_chunk_bytes = 378;
        else if (i == 1)
            plan->dfu_block_bytes = 257 * plan->dfu_chunk_bytes;
        else if (i == 2)
            plan->dfu_ttl = 0;
        else if (i == 3)
            plan->dfu_relay_transmits = 9;
        else
            r.s.release[0].size_bytes = 1u << 27;
        assert_false(baseline_rig_start(&r, 1, error, sizeof(error)));
        if (strstr(error, word[i]) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", error, word[i]);
        baseline_rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_gets_three_passes),
        cmocka_unit_test(one_target_acknowledges_segments),
        cmocka_unit_test(times_are_in_the_published_neighbourhood),
        cmocka_unit_test(unicast_takes_as_long_as_its_targets_together),
        cmocka_unit_test(groups_are_updated_one_after_the_other),
        cmocka_unit_test(loss_is_repaired),
        cmocka_unit_test(dropped_targets_get_another_round),
        cmocka_unit_test(far_sequence_numbers_are_new),
        cmocka_unit_test(nodes_beyond_the_ttl_are_dropped),
        cmocka_unit_test(it_repeats_exactly),
        cmocka_unit_test(impossible_plans_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
