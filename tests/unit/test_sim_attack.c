/*
 * Attackers among simulated nodes: the fleet gets its image all the same, nothing forged is accepted, and an attacker is
 * never counted among those who should get it. A node next to a jammer may be lost; everybody else is not. Who
 * swallows reports (sinkhole), or makes neighbours of nodes that are out of range (replay), can keep the gate waiting
 * until it holds: that stops a release, and harms nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/fleet/attack.h"
#include "sim/fleet/gateway.h"
#include "sim/fleet/server.h"
#include "tests/lib/sim_rig.h"

#define ATTACKERS 3u
#define NODES (36u - 1u - ATTACKERS)
#define TYPE_ATTACK 15

static const char WORLD[] =
    "[scenario]\nname = test\n[radio]\nframe_loss = 5 %\n"
    "[topology]\nkind = grid\ncolumns = 6\nrows = 6\nspacing = 10 m\nreach = neighbours\n"
    "[fleet]\nsize = 8 KB\ncanaries = 3\n[release 2]\nat = 5 s\nsize = 8 KB\n"
    "policy = confirm=60s; canary: label=canary soak=10s deadline=1800s; all: share=100% soak=10s deadline=1800s\n"
    "[run]\nduration = 4 h\n";

static void open_attacked(struct sim_rig *r, const char *kind, const char *every, uint64_t seed)
{
    char text[2048];
    snprintf(text, sizeof text, "%s[attack]\nkind = %s\nnodes = %u\nevery = %s\n", WORLD, kind, ATTACKERS, every);
    sim_rig_open(r, text, seed);
}

static void check_chosen(const struct sim_rig *r)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->field.count; i++) {
        bool is = sim_attack_is(r->fleet, i);
        count += is;
        assert_int_equal((r->fleet->member[i].flags & SIM_MEMBER_ATTACKER) != 0, is);
        if (is) {
            assert_false(sim_fleet_is_gateway(r->fleet, i));
            assert_int_equal(sim_fleet_labels(r->fleet, i), 0);
        }
    }
    assert_int_equal(count, ATTACKERS);
}

/* No row tells of an attacker, and what the gateway committed is authentic. */
static void check_accepted(struct sim_rig *r, uint64_t attack_frames)
{
    struct sim_totals t;
    sim_engine_totals(r->e, &t);
    assert_true(t.frames[TYPE_ATTACK] >= attack_frames);
    const struct sim_intake *in = sim_server_intake(sim_gateway_server(r->fleet, r->fleet->gateway[0]));
    assert_int_equal(in->forged + in->unknown, 0);
    for (size_t i = 0; i < r->rows; i++) {
        assert_false(sim_attack_is(r->fleet, r->row[i].row.node));
        if (r->row[i].row.kind == SIM_ROW_REPORTED)
            assert_false(sim_attack_is(r->fleet, r->row[i].row.a));
    }
}

/* Everybody has the image in the end; done: and runs it, since the reports get through as well. */
static void completes(const char *kind, const char *every, uint64_t attack_frames, bool done)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct sim_rig r;
        open_attacked(&r, kind, every, seed);
        check_chosen(&r);
        if (done) {
            sim_rig_settle(&r, MP_SECONDS(14000));
            assert_non_null(sim_rig_decision(&r, "done: 32 of 32 nodes"));
            assert_int_equal(sim_rig_running(&r, 2), NODES);
        } else {
            sim_rig_run(&r, MP_SECONDS(600));
            uint32_t running = sim_rig_running(&r, 2);
            assert_true(running == NODES || running <= 3 || sim_rig_decision(&r, "ring canary passed") != NULL);
        }
        assert_int_equal(sim_rig_nodes(&r, SIM_ROW_COMPLETE, 2), NODES);
        assert_int_equal(sim_rig_nodes(&r, SIM_ROW_ROLLED_BACK, 2), 0);
        check_accepted(&r, attack_frames);
        print_message("%s, seed %u: %u of %u run it after %.1f s\n", kind, (unsigned)seed, sim_rig_running(&r, 2),
                      NODES, (double)sim_engine_now(r.e) / 1e6);
        sim_rig_close(&r);
    }
}

static void test_flood(void **state)
{
    (void)state;
    completes("flood", "30 ms", 500, true);
}

static void test_replay(void **state)
{
    (void)state;
    completes("replay", "30 ms", 500, false);
}

static void test_forge(void **state)
{
    (void)state;
    completes("forge", "30 ms", 500, true);
}

static void test_sinkhole(void **state)
{
    (void)state;
    completes("sinkhole", "500 ms", 50, false);
}

/* Whoever hears no jammer gets the image; the gate waits for the others until its deadline. */
static void test_jam(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct sim_rig r;
        open_attacked(&r, "jam", "30 ms", seed);
        check_chosen(&r);
        sim_rig_run(&r, MP_SECONDS(900));
        bool *near = calloc(r.field.count, sizeof *near), *got = calloc(r.field.count, sizeof *got);
        assert_non_null(near);
        assert_non_null(got);
        for (uint32_t i = 0; i < r.field.count; i++) {
            uint32_t links;
            const struct sim_link *link = sim_field_links(&r.field, i, &links);
            for (uint32_t k = 0; sim_attack_is(r.fleet, i) && k < links; k++)
                near[link[k].node] = true;
        }
        for (size_t i = 0; i < r.rows; i++)
            if (r.row[i].row.kind == SIM_ROW_COMPLETE && r.row[i].row.a == 2)
                got[r.row[i].row.node] = true;
        uint32_t clear = 0, lucky = 0, away = 0;
        for (uint32_t i = 0; i < r.field.count; i++) {
            if (sim_fleet_is_gateway(r.fleet, i) || sim_attack_is(r.fleet, i))
                continue;
            away += !near[i];
            clear += !near[i] && got[i];
            lucky += near[i] && got[i];
        }
        print_message("jam, seed %u: %u nodes away from jammers and %u next to one have the image\n", (unsigned)seed,
                      clear, lucky);
        assert_true(away > 0);
        assert_int_equal(clear, away);
        check_accepted(&r, 5000);
        free(near);
        free(got);
        sim_rig_close(&r);
    }
}

/* An attacker says nothing before its time. */
static void test_waits(void **state)
{
    (void)state;
    struct sim_rig r;
    struct sim_totals t;
    char text[2048];
    snprintf(text, sizeof text, "%s[attack]\nkind = flood\nnodes = 3\nfrom = 20 s\n", WORLD);
    sim_rig_open(&r, text, 1);
    sim_rig_run(&r, MP_SECONDS(20));
    sim_engine_totals(r.e, &t);
    assert_int_equal(t.frames[TYPE_ATTACK], 0);
    sim_rig_run(&r, MP_SECONDS(25));
    sim_engine_totals(r.e, &t);
    assert_true(t.frames[TYPE_ATTACK] > 300);
    sim_rig_close(&r);
}

static void test_refuses_too_many(void **state)
{
    (void)state;
    struct sim_scenario s;
    struct sim_field field;
    char error[256], text[2048];
    snprintf(text, sizeof text, "%s[attack]\nkind = flood\nnodes = 30\n", WORLD);
    if (sim_scenario_parse(&s, "test", text, strlen(text), error, sizeof error) != 0) {
        assert_non_null(strstr(error, "nodes")); /* the scenario's check may come first */
        return;
    }
    assert_int_equal(sim_field_open(&field, &s, 0, 1, error, sizeof error), 0);
    const struct sim_engine_config config = {.scenario = &s, .field = &field, .stack = sim_fleet_stack(), .seed = 1};
    assert_null(sim_engine_open(&config, error, sizeof error));
    assert_non_null(strstr(error, "30 attackers"));
    sim_field_close(&field);
    sim_scenario_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_replay),
        cmocka_unit_test(test_forge),
        cmocka_unit_test(test_sinkhole),
        cmocka_unit_test(test_jam),
        cmocka_unit_test(test_waits),
        cmocka_unit_test(test_refuses_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
