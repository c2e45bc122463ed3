/*
 * The circuit breaker: a node whose neighbours just rolled a release back keeps its hands off it, says so, and gives in
 * when the operator insists.
 */
#include "e2e.h"

#include <string.h>

#define CANARIES 3
#define NODES 5

/* Reporting nodes outside the canaries that were deferred by the breaker. */
static bool others_defer(struct fleet *f, void *ctx)
{
    unsigned count = 0;
    (void)ctx;
    for (unsigned i = CANARIES; i < NODES; i++) {
        struct fleet_report report;
        count += fleet_reported(f, &f->node[i], &report) && strcmp(report.phase, "deferred") == 0 &&
                 strcmp(report.reason, "breaker") == 0;
    }
    return count == NODES - CANARIES;
}

static bool others_booted(struct fleet *f, void *ctx)
{
    unsigned count = 0;
    (void)ctx;
    for (unsigned i = CANARIES; i < NODES; i++)
        count += fleet_booted(&f->node[i], "3.0.0") > 0;
    return count == NODES - CANARIES;
}

static void the_breaker_delays_and_is_overridden(void **state)
{
    struct fleet *f = &e2e_fleet;
    (void)state;
    fleet_start(f, &(struct fleet_options){.name = "breaker", .text = e2e_room(NODES, 0)}, NODES, CANARIES);
    fleet_release(f, 2, "3.0.0-selftest", 1u << 1);
    /* a policy that shrugs at failures, so that only the nodes themselves stand in the way */
    fleet_rollout(f, 2,
                  "confirm=5 stage-deadline=600; canary: label=canary soak=3 deadline=90 max-failures=any "
                  "min-reports=3; all: share=100% soak=1 deadline=300 max-failures=any");
    fleet_wait(f, 120, "the others to defer", others_defer, NULL);
    fleet_pause(5);
    fleet_witness(f);
    for (unsigned i = 0; i < NODES; i++)
        FLEET_REQUIRE(f, (fleet_booted(&f->node[i], "3.0.0") > 0) == (i < CANARIES));
    fleet_do(f, NULL, "rollout", "override", "2", "on", NULL);
    fleet_wait(f, 30, "the others to try it after all", others_booted, NULL);
    fleet_wait_running(f, 40, "1.0.0", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {E2E_TEST(the_breaker_delays_and_is_overridden)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
