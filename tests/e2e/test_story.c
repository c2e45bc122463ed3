/*
 * What happened can be told afterwards: list of rollouts, audit log, and a chain of hashes that shows when somebody
 * tampered with it.
 */
#include "e2e.h"

#include "tests/lib/fleet_process.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

/* Index of the first audit row from `from` on with this `what` whose text holds `text`; fails when there is none. */
static int find_row(struct fleet *f, const cJSON *rows, int from, const char *what, const char *text)
{
    for (int i = from; i < cJSON_GetArraySize(rows); i++) {
        const cJSON *row = cJSON_GetArrayItem(rows, i);
        if (strcmp(fleet_text(row, "what"), what) == 0 && strstr(fleet_text(row, "text"), text) != NULL)
            return i;
    }
    fleet_fail(f, "the audit log has no %s with \"%s\" after row %d", what, text, from);
}

/* Audit rows of `meshctl audit`. */
static cJSON *audit(struct fleet *f)
{
    cJSON *out = NULL;
    fleet_do(f, &out, "audit", NULL);
    cJSON *rows = cJSON_IsArray(out) ? out : cJSON_DetachItemFromObject(out, "audit");
    if (rows != out)
        cJSON_Delete(out);
    FLEET_REQUIRE(f, cJSON_GetArraySize(rows) > 0);
    return rows;
}

static void expect_rollout(struct fleet *f, const cJSON *list, unsigned release, const char *phase, const char *why)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(list, "rollouts"))
    {
        if ((unsigned)fleet_number(item, "release") != release)
            continue;
        if (strcmp(fleet_text(item, "phase"), phase) != 0 || strstr(fleet_text(item, "why"), why) == NULL)
            fleet_fail(f, "release %u is %s: %s", release, fleet_text(item, "phase"), fleet_text(item, "why"));
        return;
    }
    fleet_fail(f, "release %u is not listed", release);
}

static void tamper(struct fleet *f)
{
    char path[FLEET_PATH_MAX];
    sqlite3 *db = NULL;
    fleet_path(f, path, "meshd.db");
    FLEET_REQUIRE(f, sqlite3_open(path, &db) == SQLITE_OK);
    /* a database administrator can do anything; what they cannot do is make the hashes fit */
    const int rc = sqlite3_exec(db, "DROP TRIGGER audit_update; UPDATE audit SET text = text || '!' WHERE id = 3", NULL,
                                NULL, NULL);
    sqlite3_close(db);
    FLEET_REQUIRE(f, rc == SQLITE_OK);
}

/* The daemon does not go on with a story that somebody rewrote. */
static bool refuses_to_start(struct fleet *f)
{
    char program[FLEET_PATH_MAX * 2], config[FLEET_PATH_MAX], log[FLEET_PATH_MAX];
    int status = 0;
    snprintf(program, sizeof program, "%s/bin/meshd", f->build);
    fleet_path(f, config, "keys/meshd.conf");
    fleet_path(f, log, "meshd.log");
    const char *const argv[] = {program, "--config", config, NULL};
    const pid_t pid = process_start(log, argv);
    for (int i = 0; i < 50; i++) {
        if (process_ended(pid, &status))
            return status == 1 && fleet_logged(f, "meshd", "tampered");
        fleet_pause(0.1);
    }
    process_kill(pid);
    return false;
}

static void the_story_is_told(void **state)
{
    struct fleet *f = &e2e_fleet;
    (void)state;
    fleet_start(f, &(struct fleet_options){.name = "story", .text = e2e_room(2, 5)}, 2, 1);
    fleet_release(f, 2, "2.0.0", 1u << 1);
    fleet_rollout(f, 2, E2E_CANARY);
    fleet_do(f, NULL, "rollout", "hold", "2", NULL);
    fleet_wait_phase(f, 2, 2, "held");
    fleet_do(f, NULL, "rollout", "resume", "2", NULL);
    fleet_wait_phase(f, 90, 2, "done");
    fleet_release(f, 3, "3.0.0-selftest", 1u << 1);
    fleet_rollout(f, 3, E2E_CANARY);
    fleet_wait_phase(f, 90, 3, "held");

    cJSON *list = NULL;
    fleet_do(f, &list, "rollout", "list", NULL);
    expect_rollout(f, list, 2, "done", "2 of 2 nodes run 2.0.0");
    expect_rollout(f, list, 3, "held", "self-test failed");
    cJSON_Delete(list);

    cJSON *rows = audit(f);
    int at = find_row(f, rows, 0, "release.import", "1.0.0");
    at = find_row(f, rows, at, "node.provision", "n1");
    at = find_row(f, rows, at, "node.enrol", "");
    at = find_row(f, rows, at, "release.import", "2.0.0");
    at = find_row(f, rows, at, "rollout.started", "release 2");
    at = find_row(f, rows, at, "rollout.held", "");
    at = find_row(f, rows, at, "rollout.resumed", "");
    at = find_row(f, rows, at, "rollout.opened", "ring canary");
    at = find_row(f, rows, at, "rollout.passed", "ring canary");
    at = find_row(f, rows, at, "rollout.opened", "ring all");
    at = find_row(f, rows, at, "rollout.done", "2.0.0");
    at = find_row(f, rows, at, "release.import", "3.0.0");
    at = find_row(f, rows, at, "rollout.started", "release 3");
    at = find_row(f, rows, at, "rollout.opened", "ring canary");
    find_row(f, rows, at, "rollout.held", "self-test failed");
    const int count = cJSON_GetArraySize(rows);
    cJSON_Delete(rows);

    /* it is the same story after a crash, until somebody rewrites it */
    fleet_gateway_kill(f);
    fleet_gateway_start(f);
    rows = audit(f);
    FLEET_REQUIRE(f, cJSON_GetArraySize(rows) >= count);
    cJSON_Delete(rows);
    fleet_gateway_kill(f);
    tamper(f);
    FLEET_REQUIRE(f, refuses_to_start(f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {E2E_TEST(the_story_is_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
