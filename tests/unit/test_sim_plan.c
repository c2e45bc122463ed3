/* Rollout plans against figures worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "sim/run/plan.h"

static void assert_near(double value, double expected)
{
    if (!(fabs(value - expected) <= 1e-9 + 1e-6 * fabs(expected)))
        fail_msg("%.12g, not %.12g", value, expected);
}

/* What Simpson's rule leaves. */
static void assert_close(double value, double expected)
{
    if (!(fabs(value - expected) <= 1e-4 * expected))
        fail_msg("%.12g, not %.12g", value, expected);
}

static const char TEXT[] =
    "[topology]\nkind = line\nnodes = 11\nreach = neighbours\n[radio]\nframe_loss = 10 %\n[fleet]\ncanaries = 5\n"
    "[run]\nduration = 1 d\n[life]\nbattery = 1 mAh\n[release 2]\nsize = 1920 B\n"
    "policy = confirm=60 spread=100 stage-deadline=1h\npolicy = canary: label=canary soak=10m deadline=20m\n"
    "policy = all: share=100% soak=1m deadline=30m max-failures=any\n[release 3]\nsize = 3 MB\nfault = brick\n"
    "fault_probability = 40 %\n"
    "policy = roll-call=none; all: share=100%\n[release 4]\nsize = 3 MB\nfault = brick\nfault_probability = 40 %\n"
    "fault_after = 10 min\npolicy = canary: label=canary soak=20m; all: share=100%\n";

static void make(struct sim_plan *p, const char *text, const struct sim_plan_options *options, uint32_t hops)
{
    struct sim_scenario s;
    char error[512] = "";
    memset(p, 0, sizeof *p);
    if (sim_scenario_parse(&s, "x.ini", text, strlen(text), error, sizeof error) != 0 ||
        sim_plan_make(p, &s, options, hops, 0, error, sizeof error) != 0)
        fail_msg("%s", error);
    sim_scenario_free(&s);
}

static void distribution_and_energy(void **state)
{
    (void)state;
    struct sim_plan p;
    struct sim_plan_options o;
    sim_plan_defaults(&o);
    make(&p, TEXT, &o, 10);
    assert_int_equal(p.release, 2);
    assert_int_equal(p.nodes, 10);
    /* ten leaves of 192 bytes and their root; (11 + 10) * 25 ms / 0.9 */
    assert_int_equal(p.full.chunks, 11);
    assert_near(p.full.floor_s, 21 * 0.025 / 0.9);
    assert_near(p.full.distribution_s, 21 * 0.025 / 0.9 * 1.4);
    /* three ADV_EXT_IND of 136 us and an AUX_ADV_IND of 1992 us a chunk, 3 V, 5.3 mA and 5.4 mA */
    assert_near(p.full.send_j, 11 * 0.0024 * 0.0159);
    assert_near(p.full.listen_j, (21 * 0.025 / 0.9 * 1.4 - 0.0264) * 0.0162);
    assert_near(p.full.flash_j, 11e-6);
    assert_near(p.full.node_j, 0.01323308);
    assert_near(p.full.fleet_kwh, 0.01323308 * 10 / 3.6e6);
    assert_near(p.full.cost, 0.01323308 * 10 / 3.6e6 * 0.25);
    assert_near(p.full.battery, 0.01323308 / 10.8);
    /* one chunk to send, and eleven to write besides */
    assert_int_equal(p.delta.bytes, 192);
    assert_int_equal(p.delta.chunks, 1);
    assert_near(p.delta.floor_s, 11 * 0.025 / 0.9);
    assert_near(p.delta.flash_j, 12e-6);
    o.factor = 2;
    o.delta_ratio = 0.5;
    make(&p, TEXT, &o, 10);
    assert_near(p.full.distribution_s, 21 * 0.025 / 0.9 * 2);
    assert_int_equal(p.delta.chunks, 6);
}

static void rings_follow_each_other(void **state)
{
    (void)state;
    struct sim_plan p;
    struct sim_plan_options o;
    sim_plan_defaults(&o);
    make(&p, TEXT, &o, 10);
    const double staged = 21 * 0.025 / 0.9 * 1.4, confirm = 3 + 20 * 0.025 / 0.9;
    assert_int_equal(p.ring_count, 2);
    assert_string_equal(p.ring[0].name, "canary");
    assert_int_equal(p.ring[0].members, 5);
    assert_int_equal(p.ring[0].limit, 0);
    assert_near(p.ring[0].opens_s, staged);
    assert_near(p.ring[0].ends_s, staged + 100 + confirm + 600);
    assert_near(p.ring[0].latest_s, 3600 + 1200 + 600);
    assert_int_equal(p.ring[1].members, 5);
    assert_int_equal(p.ring[1].limit, MD_UNLIMITED);
    assert_near(p.ring[1].opens_s, p.ring[0].ends_s);
    assert_near(p.ends_s, staged + 2 * (100 + confirm) + 660);
    assert_near(p.latest_s, 5400 + 3600 + 1800 + 60);
    assert_false(p.ring[0].is_stuck);
}

static void members_are_counted_once(void **state)
{
    (void)state;
    struct sim_plan p;
    struct sim_plan_options o;
    sim_plan_defaults(&o);
    /* 1000 nodes, 40 of them canaries: 40, then a quarter of 960, then the others; 2 % of 240 is 4 */
    make(&p,
         "[topology]\nkind = line\nnodes = 1001\nspacing = 1 m\n[fleet]\ncanaries = 40\nmodels = 2\n[release 2]\n"
         "policy = c: label=canary\npolicy = q: share=25% max-failures=any max-failures-percent=2%\n"
         "policy = a: share=100% max-failures=7 max-failures-percent=50%\n",
         &o, 3);
    assert_int_equal(p.ring[0].members, 40);
    assert_int_equal(p.ring[1].members, 240);
    assert_int_equal(p.ring[1].limit, 4);
    assert_int_equal(p.ring[2].members, 720);
    assert_int_equal(p.ring[2].limit, 7);
    /* one of two models: half of everything */
    make(&p,
         "[topology]\nkind = line\nnodes = 1001\nspacing = 1 m\n[fleet]\ncanaries = 40\nmodels = 2\n[release 2]\n"
         "model = 1\npolicy = q: share=50%\npolicy = c: label=canary share=50%\npolicy = a: share=100%\n",
         &o, 3);
    assert_int_equal(p.nodes, 500);
    assert_int_equal(p.ring[0].members, 250);
    assert_int_equal(p.ring[1].members, 10);
    assert_int_equal(p.ring[2].members, 240);
    /* a ring of nobody waits for a report for ever */
    make(&p,
         "[topology]\nkind = line\nnodes = 2\n[fleet]\ncanaries = 1\n[release 2]\npolicy = a: share=1%\npolicy = b: "
         "share=100%\n",
         &o, 1);
    assert_true(p.ring[0].is_stuck);
    assert_near(p.expected, 0);
    assert_near(p.everywhere, 0);
}

static void binomial_is_exact(void **state)
{
    (void)state;
    assert_near(sim_plan_binomial(5, 0.3, 0), 0.16807);
    assert_near(sim_plan_binomial(5, 0.3, 1), 0.16807 + 5 * 0.3 * 0.2401);
    assert_near(sim_plan_binomial(10, 0.5, 4), 386.0 / 1024);
    assert_near(sim_plan_binomial(10, 0.5, 9), 1023.0 / 1024);
    assert_near(sim_plan_binomial(10, 0.5, 10), 1);
    assert_near(sim_plan_binomial(10, 0, 0), 1);
    assert_near(sim_plan_binomial(10, 1, 9), 0);
    assert_near(sim_plan_binomial(0, 0.5, 0), 1);
    assert_near(sim_plan_binomial(20, 0.139, 0), pow(0.861, 20));
    /* the first terms of this one are below what a double holds; the median is n p */
    double half = sim_plan_binomial(1000000, 0.02, 20000);
    assert_true(half > 0.5 && half < 0.505);
    assert_true(sim_plan_binomial(1000000, 0.02, 19000) < 1e-9);
    assert_near(sim_plan_binomial(1000000, 0.02, 21000), 1);
}

static void exposure_ends_with_the_hold(void **state)
{
    (void)state;
    /* all at once, or told too late */
    assert_near(sim_plan_exposed(7, 0.5, 0, 0, 0), 7);
    assert_near(sim_plan_exposed(7, 0.5, 0, 10, 10), 7);
    assert_near(sim_plan_exposed(0, 0.5, 0, 10, 1), 0);
    assert_near(sim_plan_exposed(1, 1, 0, 10, 1), 1);
    /* two, always failing, told after half of the spread: 2 (1/2 + 1/2 - 1/8) */
    assert_near(sim_plan_exposed(2, 1, 0, 100, 50), 1.75);
    /* told at once: only the first; with a limit of two: the first three */
    assert_close(sim_plan_exposed(50, 1, 0, 100, 0), 1);
    assert_close(sim_plan_exposed(50, 1, 2, 100, 0), 3);
    assert_close(sim_plan_exposed(50, 0.5, 0, 100, 0), 2 * (1 - pow(0.5, 50)));
    assert_near(sim_plan_exposed(50, 0, 0, 100, 0), 50);
    assert_near(sim_plan_exposed(50, 1, MD_UNLIMITED, 100, 0), 50);

    struct sim_plan p;
    struct sim_plan_options o;
    sim_plan_defaults(&o);
    o.fault_probability = 0.3;
    make(&p, TEXT, &o, 10);
    /* boot, confirm window, boot, 20 hops, backhaul */
    assert_near(p.detection_s, 2 + 60 + 2 + 20 * 0.025 / 0.9 + 0.05);
    double delay = p.detection_s / 100;
    assert_near(p.ring[0].expected, 5 * (delay + (1 - pow(1 - 0.3 * (1 - delay), 5)) / 1.5));
    assert_near(p.ring[0].opens, 1);
    assert_near(p.ring[0].passes, 0.16807);
    assert_near(p.ring[1].opens, 0.16807);
    assert_near(p.ring[1].expected, 5);
    assert_near(p.expected, p.ring[0].expected + 0.16807 * 5);
    assert_near(p.everywhere, 0.16807);
    /* the scenario's own: a fault that no gate sees */
    sim_plan_defaults(&o);
    o.release = 3;
    make(&p, TEXT, &o, 10);
    assert_int_equal(p.release, 3);
    assert_near(p.fault_probability, 0.4);
    assert_false(p.is_seen);
    assert_near(p.expected, 10);
    assert_near(p.everywhere, 1);
    /* the same with a roll call: what died within the soak is missed, its ring is not spared */
    o.release = 4;
    make(&p, TEXT, &o, 10);
    assert_true(p.is_seen);
    assert_near(p.shows_after_s, 600);
    assert_near(p.ring[0].passes, pow(1 - 0.4 * (1 - exp(-2)), 5));
    assert_near(p.ring[0].expected, 5);
    assert_near(p.expected, 5 + p.ring[0].passes * 5);
    /* one of four hardware revisions; a crash is told sooner than a hang */
    make(&p,
         "[topology]\nkind = line\nnodes = 9\n[fleet]\nhw_revisions = 4\n[release 2]\nfault = crash\nfault_revision = "
         "3\n",
         &(struct sim_plan_options){1.4, -1, 0.1, 0}, 8);
    assert_near(p.fault_probability, 0.25);
    assert_near(p.detection_s, 4 + 16 * 0.025 + 0.05);
}

static void what_cannot_be_planned_is_said(void **state)
{
    (void)state;
    const struct {
        struct sim_plan_options options;
        const char *text, *error;
    } cases[] = {
        {{0.9, -1, 0.1, 0}, TEXT, "factor: must be 1 to 100"},
        {{1.4, 1.1, 0.1, 0}, TEXT, "fault probability: must be 0 % to 100 %"},
        {{1.4, -1, 0, 0}, TEXT, "delta ratio: must be above 0 and at most 1"},
        {{1.4, -1, 0.1, 5}, TEXT, "there is no such [release]"},
        {{1.4, -1, 0.1, 0}, "[topology]\nkind = line\nnodes = 2\n", "there is no such [release]"},
        {{1.4, -1, 0.1, 0},
         "[topology]\nkind = line\nnodes = 2\n[radio]\nframe_loss = 100 %\n[release 2]\nsize = 1 KB\n[fleet]\ncanaries "
         "= 1\n",
         "frame_loss: nothing arrives"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sim_scenario s;
        struct sim_plan p;
        char error[512] = "";
        assert_int_equal(sim_scenario_parse(&s, "x.ini", cases[i].text, strlen(cases[i].text), error, sizeof error), 0);
        assert_int_equal(sim_plan_make(&p, &s, &cases[i].options, 1, 0, error, sizeof error), -1);
        assert_string_equal(error, cases[i].error);
        sim_scenario_free(&s);
    }
}

/* --- command -------------------------------------------------------------------------------------------------------- */

/* Runs the command with its output in a file, and returns what it printed; free it. */
static char *run(int *status, int argc, char **argv)
{
    char path[] = "/tmp/test_plan_XXXXXX", *text = calloc(1, 65536);
    int file = mkstemp(path), before = dup(STDOUT_FILENO);
    assert_true(file >= 0 && before >= 0 && text != NULL);
    (void)fflush(stdout);
    dup2(file, STDOUT_FILENO);
    *status = sim_plan_command(argc, argv);
    (void)fflush(stdout);
    dup2(before, STDOUT_FILENO);
    assert_true(pread(file, text, 65535, 0) >= 0);
    close(file);
    close(before);
    (void)unlink(path);
    return text;
}

#define RUN(status, ...) run(status, sizeof((char *[]){__VA_ARGS__}) / sizeof(char *), (char *[]){__VA_ARGS__, NULL})

static double number_at(const cJSON *tree, const char *name)
{
    const cJSON *item = cJSON_GetObjectItem(tree, name);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

static void command_prints_tables_and_json(void **state)
{
    (void)state;
    int status;
    char *text = RUN(&status, "plan", "sim/scenarios/bad-release.ini", "--fault-probability", "20%", "--json", "--set",
                     "run.stack=mesh");
    assert_int_equal(status, 0);
    cJSON *tree = cJSON_Parse(text);
    assert_non_null(tree);
    assert_near(number_at(tree, "nodes"), 99);
    assert_near(number_at(tree, "hops"), 5);
    assert_near(number_at(tree, "fault_probability"), 0.2);
    const cJSON *rings = cJSON_GetObjectItem(tree, "rings");
    assert_int_equal(cJSON_GetArraySize(rings), 3);
    assert_near(number_at(cJSON_GetArrayItem(rings, 0), "nodes"), 5);
    assert_near(number_at(cJSON_GetArrayItem(rings, 0), "bad_passes"), pow(0.8, 5));
    assert_true(number_at(cJSON_GetObjectItem(tree, "delta"), "node_j") <
                number_at(cJSON_GetObjectItem(tree, "full"), "node_j"));
    cJSON_Delete(tree);
    free(text);
    text = RUN(&status, "plan", "sim/scenarios/office-100.ini");
    assert_int_equal(status, 0);
    assert_non_null(strstr(text, "Plan of release 2, scenario office-100: 99 nodes, 5 hops, 10 % of frames lost\n"));
    assert_non_null(strstr(text, "256.0 KB"));
    free(text);
    text = RUN(&status, "plan", "--help");
    assert_int_equal(status, 0);
    assert_non_null(strstr(text, "--delta-ratio"));
    free(text);
    free(RUN(&status, "plan"));
    assert_int_equal(status, 2);
    free(RUN(&status, "plan", "sim/scenarios/office-100.ini", "--factor", "much"));
    assert_int_equal(status, 2);
    free(RUN(&status, "plan", "sim/scenarios/office-100.ini", "--fault-probability", "0.5"));
    assert_int_equal(status, 2);
    free(RUN(&status, "plan", "sim/scenarios/office-100.ini", "--set", "release 2.size=1"));
    assert_int_equal(status, 2);
    free(RUN(&status, "plan", "sim/scenarios/idle-week.ini"));
    assert_int_equal(status, 1);
    free(RUN(&status, "plan", "sim/scenarios/office-100.ini", "--delta-ratio", "0"));
    assert_int_equal(status, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distribution_and_energy),        cmocka_unit_test(rings_follow_each_other),
        cmocka_unit_test(members_are_counted_once),       cmocka_unit_test(binomial_is_exact),
        cmocka_unit_test(exposure_ends_with_the_hold),    cmocka_unit_test(what_cannot_be_planned_is_said),
        cmocka_unit_test(command_prints_tables_and_json),
    };
    return cmocka_run_group_tests_name("sim_plan", tests, NULL, NULL);
}
