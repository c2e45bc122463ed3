/*
 * The plain road, small: three nodes, a good release, ring after ring.
 */
#include "e2e.h"

static void a_release_reaches_every_node(void **state)
{
    struct fleet *f = &e2e_fleet;
    (void)state;
    fleet_start(f, &(struct fleet_options){.name = "update", .text = e2e_line(3, 10)}, 3, 1);
    fleet_release(f, 2, "2.0.0", 1u << 1);
    fleet_rollout(f, 2, E2E_CANARY);
    fleet_wait_phase(f, 60, 2, "done");
    fleet_wait_running(f, 10, "2.0.0", 2);
    for (unsigned i = 0; i < f->count; i++) {
        FLEET_REQUIRE(f, fleet_booted(&f->node[i], "1.0.0") == 1);
        FLEET_REQUIRE(f, fleet_booted(&f->node[i], "2.0.0") == 1);
        /* the canary's image was confirmed before anybody else booted it */
        FLEET_REQUIRE(f, fleet_first_boot(&f->node[0], "2.0.0") <= fleet_first_boot(&f->node[i], "2.0.0"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {E2E_TEST(a_release_reaches_every_node)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
