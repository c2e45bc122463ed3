/*
 * Gateways and release engines of the simulated fleet: a release goes through its rings, a bad one stays at the canary
 * and is reverted, several gateways share a network or have one each, and a checkpoint changes nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "meshd/release/release.h"
#include "sim/fleet/gateway.h"
#include "sim/fleet/server.h"
#include "tests/lib/sim_rig.h"

#define GRID                                                                                                           \
    "[scenario]\nname = test\n[radio]\nframe_loss = 5 %\n"                                                             \
    "[topology]\nkind = grid\ncolumns = 5\nrows = 5\nspacing = 10 m\nreach = neighbours\n"
#define RINGS                                                                                                          \
    "policy = confirm=30s stage-deadline=600s; canary: label=canary soak=20s deadline=300s;"                           \
    " half: share=50% soak=10s deadline=300s min-reports=0; all: share=100% soak=10s deadline=300s min-reports=0\n"
#define NODES 24u /* of the grid, without its gateway */
#define CANARIES 3u

static void test_goes_through_rings(void **state)
{
    (void)state;
    struct sim_rig r;
    sim_rig_open(&r,
                 GRID "[fleet]\nsize = 8 KB\ncanaries = 3\n[release 2]\nat = 5 s\nsize = 8 KB\n" RINGS
                      "[run]\nduration = 2 h\n",
                 1);
    assert_int_equal(sim_fleet_rollouts_open(r.fleet), 1);
    sim_rig_settle(&r, MP_SECONDS(3600));
    assert_int_equal(sim_rig_running(&r, 2), NODES);
    assert_int_equal(sim_rig_nodes(&r, SIM_ROW_INSTALLED, 2), NODES);
    assert_int_equal(sim_rig_nodes(&r, SIM_ROW_CONFIRMED, 2), NODES);
    const struct sim_rig_row *canary = sim_rig_decision(&r, "opened ring canary");
    const struct sim_rig_row *passed = sim_rig_decision(&r, "ring canary passed");
    const struct sim_rig_row *half = sim_rig_decision(&r, "opened ring half");
    assert_non_null(canary);
    assert_non_null(passed);
    assert_non_null(half);
    assert_non_null(sim_rig_decision(&r, "done: 24 of 24 nodes"));
    assert_true(passed->row.at >= canary->row.at + MP_SECONDS(20));
    /* before the canary passed nobody but the canaries ran it */
    uint32_t early = 0;
    for (size_t i = 0; i < r.rows; i++)
        if (r.row[i].row.kind == SIM_ROW_INSTALLED && r.row[i].row.at < passed->row.at) {
            assert_int_equal(sim_fleet_labels(r.fleet, r.row[i].row.node), 1);
            early++;
        }
    assert_int_equal(early, CANARIES);
    const struct sim_intake *in = sim_server_intake(sim_gateway_server(r.fleet, 0));
    assert_int_equal(in->forged + in->unknown, 0);
    assert_int_equal(in->taken, r.told[SIM_ROW_REPORTED]);
    assert_true(in->taken >= 2 * NODES); /* staged and confirmed at least */
    assert_true(in->receipts > 3);
    size_t bytes = md_release_bytes(sim_server_release(sim_gateway_server(r.fleet, 0)));
    print_message("release engine: %zu bytes for %u nodes\n", bytes, NODES);
    sim_rig_close(&r);
}

static void bad_release(const char *fault, struct sim_rig *r)
{
    char text[2048];
    snprintf(text, sizeof text, "%s%s\n[run]\nduration = 2 h\n",
             GRID "[fleet]\nsize = 8 KB\ncanaries = 3\n[release 2]\nat = 5 s\nsize = 8 KB\n" RINGS, fault);
    sim_rig_open(r, text, 7);
    sim_rig_settle(r, MP_SECONDS(7000));
}

static void test_stops_at_canary(void **state)
{
    (void)state;
    static const char *const faults[] = {"fault = selftest", "fault = crash", "fault = hang", "fault = mute"};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct sim_rig r;
        bad_release(faults[i], &r);
        assert_non_null(sim_rig_decision(&r, "held at ring canary"));
        assert_int_equal(sim_rig_nodes(&r, SIM_ROW_INSTALLED, 2), CANARIES);
        sim_rig_run(&r, sim_engine_now(r.e) + MP_SECONDS(600)); /* stays held; nobody else takes it */
        assert_int_equal(sim_rig_nodes(&r, SIM_ROW_INSTALLED, 2), CANARIES);
        assert_int_equal(sim_rig_running(&r, 1), NODES);
        assert_int_equal(sim_rig_nodes(&r, SIM_ROW_ROLLED_BACK, 2), CANARIES);
        assert_null(sim_rig_decision(&r, "reverting"));
        sim_rig_close(&r);
    }
}

/* What shows only in service is found before the next ring, too. */
static void test_late_faults_stop_at_canary(void **state)
{
    (void)state;
    static const char *const faults[] = {"brick", "degrade"};
    static const char *const says[] = {"3 of 3 nodes did not answer the roll call within 1800 s, limit 0",
                                       "1 of 3 nodes reset in service (crashed), limit 0"};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        char text[2048];
        struct sim_rig r;
        snprintf(text, sizeof text, "%sfault = %s\nfault_after = 1 min\n[run]\nduration = 4 h\n",
                 GRID "[fleet]\nsize = 8 KB\ncanaries = 3\n[release 2]\nat = 5 s\nsize = 8 KB\n"
                      "policy = canary: label=canary soak=1h; all: share=100%\n",
                 faults[i]);
        sim_rig_open(&r, text, 7);
        sim_rig_settle(&r, MP_SECONDS(14000));
        assert_non_null(sim_rig_decision(&r, "held at ring canary"));
        assert_non_null(strstr(sim_rig_decision(&r, "held at ring canary")->text, says[i]));
        assert_null(sim_rig_decision(&r, "ring canary passed"));
        assert_int_equal(sim_rig_nodes(&r, SIM_ROW_CONFIRMED, 2), CANARIES);
        assert_int_equal(sim_rig_nodes(&r, SIM_ROW_INSTALLED, 2), CANARIES);
        sim_rig_close(&r);
    }
}

/* Half of the nodes misbehave only in the second ring: those of the first run it and are brought back. */
static void test_reverts(void **state)
{
    (void)state;
    struct sim_rig r;
    sim_rig_open(&r,
                 GRID "[fleet]\nsize = 8 KB\ncanaries = 3\nhw_revisions = 2\n[release 2]\nat = 5 s\nsize = 8 KB\n" RINGS
                      "fault = selftest\nfault_probability = 30 %\non_hold = revert\n[run]\nduration = 2 h\n",
                 11);
    sim_rig_settle(&r, MP_SECONDS(7000));
    const struct sim_rig_row *held = sim_rig_decision(&r, "held at ring");
    const struct sim_rig_row *reverting = sim_rig_decision(&r, "reverting");
    assert_non_null(held);
    assert_non_null(reverting);
    assert_int_equal(reverting->row.at / 1000, (held->row.at + MP_SECONDS(60)) / 1000);
    assert_non_null(sim_rig_decision(&r, "reverted: no node runs"));
    assert_true(sim_rig_nodes(&r, SIM_ROW_CONFIRMED, 2) > 0);
    assert_int_equal(sim_rig_running(&r, 1), NODES);
    sim_rig_close(&r);
}

#define LINE12(networks)                                                                                               \
    "[scenario]\nname = test\n[topology]\nkind = line\nnodes = 12\nspacing = 10 m\nreach = neighbours\n"               \
    "[fleet]\nsize = 4 KB\ngateways = 2\ncanaries = 2\nbackhaul = 80 ms\n" networks                                    \
    "[release 2]\nat = 5 s\nsize = 4 KB\n" RINGS "[run]\nduration = 2 h\n"

static void test_shares_a_network(void **state)
{
    (void)state;
    struct sim_rig r;
    sim_rig_open(&r, LINE12("networks = one\n"), 3);
    assert_int_equal(r.fleet->gateway_count, 2);
    uint32_t first = r.fleet->gateway[0], second = r.fleet->gateway[1];
    assert_non_null(sim_gateway_server(r.fleet, first));
    assert_null(sim_gateway_server(r.fleet, second));
    sim_rig_settle(&r, MP_SECONDS(7000));
    assert_int_equal(sim_rig_running(&r, 2), 10);
    for (size_t i = 0; i < r.rows; i++)
        if (r.row[i].row.kind == SIM_ROW_REPORTED)
            assert_int_equal(r.row[i].row.node, first);
    /* the far one serves the payload and took its part of the reports */
    sim_rig_run(&r, sim_engine_now(r.e) + MP_SECONDS(60));
    uint16_t generation;
    const struct mp_node *far = &r.fleet->nf[second].mp;
    assert_int_equal(mp_node_round(far, &generation), mp_node_round(&r.fleet->nf[first].mp, &generation));
    uint32_t held = 0, positions = 1, best = 0;
    for (unsigned p = 0; p < 2; p++)
        if (mp_node_progress(far, p, &held, &positions) == MP_OK && held == positions)
            best++;
    assert_true(best > 0);
    assert_int_equal(sim_server_intake(sim_gateway_server(r.fleet, first))->forged, 0);
    sim_rig_close(&r);
}

static void test_own_networks(void **state)
{
    (void)state;
    struct sim_rig r;
    sim_rig_open(&r, LINE12("networks = own\n"), 4);
    assert_int_equal(sim_fleet_rollouts_open(r.fleet), 2);
    sim_rig_settle(&r, MP_SECONDS(7000));
    assert_int_equal(sim_rig_running(&r, 2), 10);
    uint32_t done = 0;
    for (size_t i = 0; i < r.rows; i++)
        done += strstr(r.row[i].text, "done: ") != NULL;
    assert_int_equal(done, 2);
    for (uint32_t g = 0; g < 2; g++) {
        const struct sim_intake *in = sim_server_intake(sim_gateway_server(r.fleet, r.fleet->gateway[g]));
        assert_true(in->taken > 0);
        assert_int_equal(in->unknown + in->forged, 0);
    }
    sim_rig_close(&r);
}

/* Four images are live, a gateway of a microcontroller's limits serves two at a time: everybody gets his. */
static void test_takes_turns(void **state)
{
    (void)state;
    struct sim_rig r;
    sim_rig_open(&r,
                 GRID "[fleet]\nsize = 4 KB\ncanaries = 0\nmodels = 4\n[release 2]\nat = 5 s\nsize = 4 KB\n"
                      "policy = confirm=30s; all: share=100% soak=10s deadline=1800s max-failures=any\n"
                      "[run]\nduration = 2 h\n",
                 5);
    sim_rig_run(&r, MP_SECONDS(7000)); /* a gate that any failure may pass does not wait for all */
    assert_int_equal(sim_rig_running(&r, 2), NODES);
    sim_rig_close(&r);
}

static const char TWO[] =
    GRID "[fleet]\nsize = 4 KB\ncanaries = 3\n[release 2]\nat = 5 s\nsize = 4 KB\n" RINGS "fault = selftest\n"
         "on_hold = revert\n[release 3]\nat = 300 s\nsize = 4 KB\n" RINGS
         "[life]\nreboot_every = 20 min\noff_every = 1 h\noff_for = 1 min\n[attack]\nkind = replay\nnodes = "
         "2\n[run]\nduration = 2 h\n";

static void checkpoint(sim_time at)
{
    struct sim_rig whole, first, second;
    struct sim_totals a, b;
    char path[] = "/tmp/test_sim_gateway_XXXXXX", error[256];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    sim_rig_open(&whole, TWO, 9);
    sim_rig_run(&whole, MP_SECONDS(900));
    sim_engine_totals(whole.e, &a);

    sim_rig_open(&first, TWO, 9);
    sim_rig_run(&first, at);
    struct sim_archive *out = sim_archive_create(path, error, sizeof error);
    assert_non_null(out);
    assert_int_equal(sim_engine_save(first.e, out), 0);
    assert_int_equal(sim_archive_close(out, error, sizeof error), 0);

    sim_rig_open(&second, TWO, 9);
    struct sim_archive *in = sim_archive_open(path, error, sizeof error);
    assert_non_null(in);
    if (sim_engine_load(second.e, in) != 0 || sim_archive_close(in, error, sizeof error) != 0)
        fail_msg("%s %s", error, sim_engine_error(second.e));
    unlink(path);
    sim_rig_run(&second, MP_SECONDS(900));
    sim_engine_totals(second.e, &b);
    assert_int_equal(a.digest[0], b.digest[0]);
    assert_int_equal(a.digest[1], b.digest[1]);
    assert_int_equal(sim_rig_running(&whole, 3), sim_rig_running(&second, 3));
    assert_int_equal(sim_fleet_rollouts_open(whole.fleet), sim_fleet_rollouts_open(second.fleet));
    sim_rig_close(&whole);
    sim_rig_close(&first);
    sim_rig_close(&second);
}

static void test_resumes_alike(void **state)
{
    (void)state;
    static const unsigned at_s[] = {1, 12, 60, 140, 310, 500};
    for (size_t i = 0; i < sizeof at_s / sizeof at_s[0]; i++)
        checkpoint(MP_SECONDS(at_s[i]) + 1234);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goes_through_rings),
        cmocka_unit_test(test_stops_at_canary),
        cmocka_unit_test(test_late_faults_stop_at_canary),
        cmocka_unit_test(test_reverts),
        cmocka_unit_test(test_shares_a_network),
        cmocka_unit_test(test_own_networks),
        cmocka_unit_test(test_takes_turns),
        cmocka_unit_test(test_resumes_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
