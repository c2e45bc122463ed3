/*
 * A release that is regretted: every node goes back to the one before, through a trial like any other.
 */
#include "e2e.h"

static void a_revert_brings_everybody_back(void **state)
{
    struct fleet *f = &e2e_fleet;
    (void)state;
    fleet_start(f, &(struct fleet_options){.name = "revert", .text = e2e_line(3, 5)}, 3, 1);
    fleet_release(f, 2, "2.0.0", 1u << 1);
    fleet_rollout(f, 2, E2E_ALL);
    fleet_wait_phase(f, 90, 2, "done");
    fleet_wait_running(f, 10, "2.0.0", 2);
    fleet_do(f, NULL, "rollout", "revert", "2", NULL);
    fleet_wait_phase(f, 90, 2, "reverted");
    fleet_wait_running(f, 10, "1.0.0", 1);
    for (unsigned i = 0; i < f->count; i++) {
        FLEET_REQUIRE(f, fleet_booted(&f->node[i], "1.0.0") == 2);
        FLEET_REQUIRE(f, fleet_booted(&f->node[i], "2.0.0") == 1);
    }
    /* the next release is taken as if nothing had been */
    fleet_release(f, 3, "2.1.0", 1u << 1);
    fleet_rollout(f, 3, E2E_ALL);
    fleet_wait_phase(f, 90, 3, "done");
    fleet_wait_running(f, 10, "2.1.0", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {E2E_TEST(a_revert_brings_everybody_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
