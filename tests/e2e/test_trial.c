/*
 * A new image is on probation: whatever is wrong with it, the old one comes back by itself; and a kill costs one of the
 * three trial boots, no more.
 */
#include "e2e.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* n1 tries, n2 is the member that answers it and only stages: a node that does not restart starts no more than four
 * fetches over in a row. Few seconds of patience: a mute image takes three windows. */
#define POLICY "confirm=4 stage-deadline=600; canary: label=canary soak=1 deadline=60"

static void begin(struct fleet *f, const char *name)
{
    fleet_start(f, &(struct fleet_options){.name = name, .text = e2e_room(2, 5)}, 2, 1);
}

static cJSON *record_of(struct fleet *f, const struct fleet_node *n)
{
    cJSON *flash = fleet_inspect(f, n);
    cJSON *record = cJSON_DetachItemFromObject(flash, "boot_record");
    cJSON_Delete(flash);
    return record;
}

static bool gave_up(struct fleet *f, void *ctx)
{
    const unsigned *release = ctx;
    struct fleet_report report;
    return fleet_reported(f, &f->node[0], &report) && report.target == *release &&
           strcmp(report.phase, "rolled back") == 0;
}

/* A bad release: tried three times by n1 alone, given up for this reason; the gate says no. */
static void expect_failure(struct fleet *f, unsigned release, const char *stem, const char *reason)
{
    struct fleet_report report;
    char version[16];
    snprintf(version, sizeof version, "%.*s", (int)strcspn(stem, "-"), stem);
    fleet_release(f, release, stem, 1u << 1);
    fleet_rollout(f, release, POLICY);
    fleet_wait_phase(f, 90, release, "held");
    fleet_wait(f, 30, "n1 to have given it up", gave_up, &release);
    fleet_wait_running(f, 10, "1.0.0", 1);
    fleet_reported(f, &f->node[0], &report);
    if (strcmp(report.reason, reason) != 0)
        fleet_fail(f, "%s was given up because: %s", version, report.reason);
    FLEET_REQUIRE(f, fleet_booted(&f->node[0], version) >= 1 && fleet_booted(&f->node[0], version) <= 3);
    FLEET_REQUIRE(f, fleet_booted(&f->node[1], version) == 0);
}

static void images_that_fail_are_given_up(void **state)
{
    struct fleet *f = &e2e_fleet;
    (void)state;
    begin(f, "bad images");
    expect_failure(f, 2, "3.0.0-selftest", "self-test failed");
    fleet_do(f, NULL, "rollout", "revert", "2", NULL); /* closed: a mesh follows four at a time */
    fleet_wait_phase(f, 30, 2, "reverted");
    expect_failure(f, 3, "3.0.1-hang", "watchdog");
    expect_failure(f, 4, "3.0.2-crash", "crashed");
    expect_failure(f, 5, "3.0.3-mute", "mute");
    /* nothing of it is held against the next release */
    fleet_release(f, 6, "2.0.0", 1u << 1);
    fleet_rollout(f, 6, POLICY);
    fleet_wait_phase(f, 90, 6, "done");
    FLEET_REQUIRE(f, strcmp(fleet_runs(&f->node[0]), "2.0.0") == 0);
}

/* --- kill --------------------------------------------------------------------------------------------------------- */

static bool on_trial(struct fleet *f, void *ctx)
{
    (void)ctx;
    return fleet_booted(&f->node[0], "2.0.0") > 0;
}

static bool is_another(struct fleet *f, void *ctx)
{
    const pid_t *before = ctx;
    const pid_t now = fleet_node_image(&f->node[0]);
    return now != 0 && now != *before;
}

/* n1 on trial of 2.0.0, and so alone on the air that it cannot be confirmed. Its image's process. */
static pid_t isolate_on_trial(struct fleet *f)
{
    char answer[32];
    fleet_release(f, 2, "2.0.0", 1u << 1);
    fleet_rollout(f, 2, "confirm=20 stage-deadline=600; canary: label=canary soak=1 deadline=200");
    for (double end = fleet_now() + 60; fleet_now() < end && !on_trial(f, NULL); fleet_pause(0.01))
        fleet_witness(f);
    fleet_air(f, answer, sizeof answer, "cut n1");
    cJSON *record = record_of(f, &f->node[0]);
    if (strcmp(fleet_text(record, "state"), "trial") != 0)
        fleet_fail(f, "n1 was confirmed before it could be cut off: %s", fleet_text(record, "state"));
    FLEET_REQUIRE(f, fleet_number(record, "tries") == 2);
    cJSON_Delete(record);
    return fleet_node_image(&f->node[0]);
}

/* Kills the image; waits for the next one. */
static pid_t kill_image(struct fleet *f, pid_t image)
{
    FLEET_REQUIRE(f, image > 0 && kill(image, SIGKILL) == 0);
    fleet_wait(f, 10, "the bootloader to boot again", is_another, &image);
    return fleet_node_image(&f->node[0]);
}

static void one_kill_costs_one_trial_boot(void **state)
{
    struct fleet *f = &e2e_fleet;
    char answer[32];
    (void)state;
    begin(f, "one kill");
    kill_image(f, isolate_on_trial(f));
    cJSON *record = record_of(f, &f->node[0]);
    FLEET_REQUIRE(f, strcmp(fleet_text(record, "state"), "trial") == 0 && fleet_number(record, "tries") == 1);
    cJSON_Delete(record);
    fleet_air(f, answer, sizeof answer, "heal n1");
    fleet_wait_phase(f, 40, 2, "done");
    FLEET_REQUIRE(f, strcmp(fleet_runs(&f->node[0]), "2.0.0") == 0);
}

static bool has_booted(struct fleet *f, void *ctx)
{
    const unsigned *times = ctx;
    return fleet_booted(&f->node[0], "2.0.0") >= *times;
}

static void killed_in_all_three_trial_boots(void **state)
{
    struct fleet *f = &e2e_fleet;
    unsigned release = 2;
    char answer[32];
    (void)state;
    begin(f, "three kills");
    pid_t image = isolate_on_trial(f);
    for (unsigned times = 1; times <= 3; times++) {
        /* Not before it has said so: the log counts the boots. */
        fleet_wait(f, 10, "the image to say what it is", has_booted, &times);
        image = kill_image(f, image);
    }
    cJSON *record = record_of(f, &f->node[0]);
    FLEET_REQUIRE(f, strcmp(fleet_text(record, "state"), "confirmed") == 0);
    cJSON_Delete(record);
    fleet_air(f, answer, sizeof answer, "heal n1");
    fleet_wait(f, 30, "n1 to have given it up", gave_up, &release);
    fleet_wait_running(f, 10, "1.0.0", 1);
    FLEET_REQUIRE(f, fleet_booted(&f->node[0], "2.0.0") == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_TEST(images_that_fail_are_given_up),
        E2E_TEST(one_kill_costs_one_trial_boot),
        E2E_TEST(killed_in_all_three_trial_boots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
