/*
 * From `meshctl provision` to an enrolled node; and out of the count again.
 */
#include "e2e.h"

#include <stdio.h>
#include <string.h>

static void expect_state(struct fleet *f, const char *name, const char *state)
{
    cJSON *node = NULL;
    fleet_do(f, &node, "nodes", "show", name, NULL);
    if (strcmp(fleet_text(node, "state"), state) != 0)
        fleet_fail(f, "%s is %s, not %s", name, fleet_text(node, "state"), state);
    cJSON_Delete(node);
}

static unsigned members(struct fleet *f, unsigned release)
{
    char path[64];
    snprintf(path, sizeof path, "/v1/rollouts/%u", release);
    cJSON *rollout = fleet_get(f, path);
    const unsigned count = (unsigned)fleet_number(rollout, "counts.members");
    cJSON_Delete(rollout);
    return count;
}

static void a_provisioned_node_is_enrolled_by_its_first_report(void **state)
{
    struct fleet *f = &e2e_fleet;
    (void)state;
    fleet_start(f, &(struct fleet_options){.name = "enrol", .text = e2e_line(3, 5)}, 2, 1);
    struct fleet_node *late = fleet_add(f, "n3", 1, NULL, 1);
    expect_state(f, "n3", "provisioned");
    /* who never spoke does not count */
    fleet_release(f, 2, "2.0.0", 1u << 1);
    fleet_rollout(f, 2, E2E_ALL);
    FLEET_REQUIRE(f, members(f, 2) == 2);
    fleet_wait_phase(f, 90, 2, "done");
    expect_state(f, "n3", "provisioned");
    /* a late comer takes part by itself */
    fleet_node_start(f, late);
    fleet_wait_enrolled(f, 30);
    expect_state(f, "n3", "enrolled");
    fleet_wait_running(f, 90, "2.0.0", 2);
    FLEET_REQUIRE(f, members(f, 2) == 3);
}

static void a_retired_node_leaves_the_denominator(void **state)
{
    struct fleet *f = &e2e_fleet;
    (void)state;
    fleet_start(f, &(struct fleet_options){.name = "retire", .text = e2e_room(3, 5)}, 3, 1);
    fleet_node_kill(f, fleet_find(f, "n3"));
    fleet_release(f, 2, "2.0.0", 1u << 1);
    fleet_rollout(f, 2, E2E_ALL);
    FLEET_REQUIRE(f, members(f, 2) == 3);
    fleet_wait_staged(f, 60, 2); /* by those that run */
    fleet_pause(4);
    fleet_wait_phase(f, 1, 2, "staging"); /* n3 is missed */
    fleet_do(f, NULL, "nodes", "retire", "n3", NULL);
    expect_state(f, "n3", "retired");
    FLEET_REQUIRE(f, members(f, 2) == 2);
    fleet_wait_phase(f, 60, 2, "done");
    fleet_wait_running(f, 10, "2.0.0", 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_TEST(a_provisioned_node_is_enrolled_by_its_first_report),
        E2E_TEST(a_retired_node_leaves_the_denominator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
