/* `meshsim validate`: the judge (which must be able to condemn), its statistics, the command, and the quick checks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sim/validate/gen.h"
#include "sim/validate/lab.h"
#include "sim/validate/validate.h"

static struct sim_judge judge;

static bool last_is_ok(void)
{
    assert_true(judge.count > 0);
    return judge.finding[judge.count - 1].is_ok;
}

static void exact_wants_interval_and_two_percent(void **state)
{
    (void)state;
    judge = (struct sim_judge){.check = "test"};
    sim_judge_exact(&judge, 100, 101, 1.5, "inside both");
    assert_true(last_is_ok());
    sim_judge_exact(&judge, 100, 101, 0.5, "outside the interval");
    assert_false(last_is_ok());
    sim_judge_exact(&judge, 100, 103, 5, "more than 2 %% off");
    assert_false(last_is_ok());
    sim_judge_exact(&judge, 100, 97, 5, "more than 2 %% off");
    assert_false(last_is_ok());
    sim_judge_exact(&judge, 2, 2, 0, "deterministic");
    assert_true(last_is_ok());
    sim_judge_exact(&judge, 2, 2.001, 0, "deterministic, off");
    assert_false(last_is_ok());
    sim_judge_exact(&judge, 0.5, NAN, 1, "nothing measured");
    assert_false(last_is_ok());
    sim_judge_exact(&judge, 0.5, 0, 1, "measured nothing");
    assert_false(last_is_ok());
    assert_int_equal(judge.failed, 6);
    assert_int_equal(judge.count, 8);
}

static void other_rules_condemn_too(void **state)
{
    (void)state;
    judge = (struct sim_judge){.check = "test"};
    sim_judge_near(&judge, 8, 10, 0, "25 %% above");
    assert_true(last_is_ok());
    sim_judge_near(&judge, 8, 10.01, 0, "more");
    assert_false(last_is_ok());
    sim_judge_near(&judge, 8, 5.9, 100, "less, whatever the interval");
    assert_false(last_is_ok());
    sim_judge_near(&judge, 0, 0, 0, "nothing was expected and came");
    assert_true(last_is_ok());
    sim_judge_near(&judge, 0, 0.1, 0, "nothing was expected");
    assert_false(last_is_ok());
    sim_judge_at_most(&judge, 0.18, 0.18, "bound");
    assert_true(last_is_ok());
    sim_judge_at_most(&judge, 0.18, 0.181, "above");
    assert_false(last_is_ok());
    sim_judge_broken(&judge, "no world");
    assert_false(last_is_ok());
    assert_int_equal(judge.failed, 5);
}

static void intervals_are_students(void **state)
{
    (void)state;
    struct sim_sample s = {0};
    for (int i = 0; i < 5; i++)
        sim_sample_add(&s, i);
    assert_true(isinf(sim_sample_half(&s)));
    /* 0 to 9: mean 4.5, deviation 3.0277; Student's 99.95 % quantile with 9 degrees of freedom is 4.7809 */
    for (int i = 5; i < 10; i++)
        sim_sample_add(&s, i);
    assert_true(fabs(sim_sample_mean(&s) - 4.5) < 1e-12);
    assert_true(fabs(sim_sample_half(&s) - 4.7809 * 3.02765 / sqrt(10)) < 0.02);
    /* and with 39: 3.5581 */
    s = (struct sim_sample){0};
    for (int i = 0; i < 40; i++)
        sim_sample_add(&s, i % 2);
    assert_true(fabs(sim_sample_half(&s) - 3.5581 * 0.506370 / sqrt(40)) < 0.001);
    s = (struct sim_sample){0};
    for (int i = 0; i < 40; i++)
        sim_sample_add(&s, 0.1);
    assert_true(sim_sample_half(&s) < 1e-6);
}

/* A radio that is not what theory is about is found out: with capture, more gets through than pure ALOHA allows. */
static void wrong_radio_is_found_out(void **state)
{
    (void)state;
    const double load = 1, packet_us = 376;
    const struct sim_poisson_plan plan = {.bearer = SIM_BEARER_LEGACY, .len = 31, .mean_us = 200 * packet_us / load};
    struct sim_sample through = {0};
    struct sim_lab lab;
    assert_int_equal(
        sim_lab_open(&lab, sim_lab_cell(201, "interval = 20 ms\ndelay = 0 ms\nprocessing = 0 us\ncapture = 0 dB\n")),
        0);
    assert_int_equal(sim_lab_start(&lab, sim_gen_poisson(&plan), 1, NULL), 0);
    uint64_t before = 0;
    for (sim_time at = 200000; at <= 4000000; at += 200000) {
        assert_int_equal(sim_lab_run(&lab, at), 0);
        uint64_t heard = sim_lab_totals(&lab).outcome[SIM_HEARD];
        sim_sample_add(&through, (double)(heard - before) * packet_us / 200000);
        before = heard;
    }
    sim_lab_close(&lab);
    judge = (struct sim_judge){.check = "test"};
    sim_judge_exact(&judge, load * exp(-2 * load), sim_sample_mean(&through), sim_sample_half(&through), "S");
    assert_false(last_is_ok());
    assert_true(judge.finding[0].deviation > 0.1);
}

static void lab_says_what_is_wrong(void **state)
{
    (void)state;
    struct sim_lab lab;
    assert_int_equal(sim_lab_open(&lab, "[radio]\nloudness = 3\n"), -1);
    assert_true(lab.error[0] != 0);
    sim_lab_close(&lab);
}

static int command(int argc, const char *a, const char *b, const char *c, const char *d)
{
    char text[4][256], *argv[6] = {"validate"};
    const char *from[4] = {a, b, c, d};
    for (int i = 0; i < argc; i++) {
        snprintf(text[i], sizeof text[i], "%s", from[i]);
        argv[i + 1] = text[i];
    }
    return sim_validate_command(argc + 1, argv);
}

static void command_checks_its_arguments(void **state)
{
    (void)state;
    assert_int_equal(command(1, "--help", 0, 0, 0), 0);
    assert_int_equal(command(1, "--list", 0, 0, 0), 0);
    assert_int_equal(command(1, "--only", 0, 0, 0), 2);
    assert_int_equal(command(2, "--only", "everything", 0, 0), 2);
    assert_int_equal(command(2, "--seed", "-1", 0, 0), 2);
    assert_int_equal(command(2, "--seed", "1x", 0, 0), 2);
    assert_int_equal(command(2, "--seed", "99999999999999999999", 0, 0), 2);
    assert_int_equal(command(1, "all", 0, 0, 0), 2);
    assert_int_equal(command(4, "--only", "line", "--json", "/nonexistent/findings.json"), 1);
}

static void findings_are_written_as_json(void **state)
{
    (void)state;
    char path[64], text[4096];
    snprintf(path, sizeof path, "/tmp/test_sim_validate.%ld", (long)getpid());
    assert_int_equal(command(4, "--only", "line", "--json", path), 0);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t len = fread(text, 1, sizeof text - 1, f);
    text[len] = 0;
    fclose(f);
    unlink(path);
    assert_non_null(strstr(text, "{\"failed\": 0, \"findings\": ["));
    assert_non_null(strstr(text, "\"check\": \"line\""));
    assert_non_null(strstr(text, "\"ok\": true"));
    assert_null(strstr(text, "\"ok\": false"));
    /* what JSON cannot hold */
    judge = (struct sim_judge){.check = "test"};
    sim_judge_exact(&judge, 1, INFINITY, NAN, "a \"quoted\" \\ name");
    assert_int_equal(sim_judge_write_json(&judge, path), 0);
    f = fopen(path, "r");
    assert_non_null(f);
    len = fread(text, 1, sizeof text - 1, f);
    text[len] = 0;
    fclose(f);
    unlink(path);
    assert_non_null(strstr(text, "\"what\": \"a \\\"quoted\\\" \\\\ name\""));
    assert_non_null(strstr(text, "\"measured\": null"));
    assert_null(strstr(text, "inf"));
}

/* The checks that take little; all of them are part of the suite by `meshsim validate` itself. */
static void quick_checks_hold(void **state)
{
    (void)state;
    unsigned run = 0;
    for (unsigned i = 0; i < sim_check_count; i++) {
        if (!sim_checks[i].is_quick)
            continue;
        judge = (struct sim_judge){.out = stdout, .check = sim_checks[i].name};
        sim_checks[i].run(&judge, sim_checks[i].seed);
        assert_int_equal(judge.failed, 0);
        assert_true(judge.count >= 3);
        run++;
    }
    assert_true(run >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_wants_interval_and_two_percent),
        cmocka_unit_test(other_rules_condemn_too),
        cmocka_unit_test(intervals_are_students),
        cmocka_unit_test(wrong_radio_is_found_out),
        cmocka_unit_test(lab_says_what_is_wrong),
        cmocka_unit_test(command_checks_its_arguments),
        cmocka_unit_test(findings_are_written_as_json),
        cmocka_unit_test(quick_checks_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
