/*
 * What is killed comes back, or is done without: the daemon, a third of the nodes, the gateway for good.
 */
#include "e2e.h"

#include <string.h>

/* --- conditions --------------------------------------------------------------------------------------------------- */

static bool first_holds(struct fleet *f, void *ctx)
{
    const unsigned *release = ctx;
    return fleet_holds(f, &f->node[0], *release);
}

struct log_count {
    const char *text;
    unsigned nodes; /* at least so many have it in their log */
};

static bool logged(struct fleet *f, void *ctx)
{
    const struct log_count *want = ctx;
    unsigned count = 0;
    for (unsigned i = 0; i < f->count; i++)
        count += fleet_logged(f, f->node[i].name, want->text);
    return count >= want->nodes;
}

static bool all_confirmed(struct fleet *f, void *ctx)
{
    const unsigned *release = ctx;
    unsigned count = 0;
    for (unsigned i = 0; i < f->count; i++) {
        cJSON *flash = fleet_inspect(f, &f->node[i]);
        count += strcmp(fleet_text(flash, "boot_record.state"), "confirmed") == 0 &&
                 (unsigned)fleet_number(flash, "boot_record.release") == *release;
        cJSON_Delete(flash);
    }
    return count == f->count;
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void a_killed_daemon_goes_on(void **state)
{
    struct fleet *f = &e2e_fleet;
    (void)state;
    fleet_start(f, &(struct fleet_options){.name = "kill meshd", .text = e2e_line(3, 10)}, 3, 1);
    fleet_release(f, 2, "2.0.0", 1u << 1);
    fleet_rollout(f, 2, E2E_CANARY);
    /* at once, before the directive can have been heard by everybody; in the middle of the fetch; with a ring open */
    fleet_gateway_kill(f);
    fleet_gateway_start(f);
    struct log_count fetching = {"phase=fetching", 3};
    fleet_wait(f, 30, "all to fetch", logged, &fetching);
    fleet_gateway_kill(f);
    fleet_pause(2);
    fleet_gateway_start(f);
    fleet_wait_phase(f, 60, 2, "open");
    fleet_gateway_kill(f);
    fleet_gateway_start(f);
    fleet_wait_phase(f, 90, 2, "done");
    fleet_wait_running(f, 20, "2.0.0", 2);
    for (unsigned i = 0; i < f->count; i++)
        FLEET_REQUIRE(f, fleet_booted(&f->node[i], "2.0.0") == 1);
}

static void a_third_of_the_nodes_is_killed(void **state)
{
    struct fleet *f = &e2e_fleet;
    (void)state;
    fleet_start(f, &(struct fleet_options){.name = "kill nodes", .text = e2e_grid(3, 2, 10)}, 5, 1);
    fleet_release(f, 2, "2.0.0", 1u << 1);
    fleet_rollout(f, 2, E2E_CANARY);
    struct log_count fetching = {"phase=fetching", 5};
    fleet_wait(f, 30, "all to fetch", logged, &fetching);
    fleet_pause(3);
    fleet_node_kill(f, &f->node[1]);
    fleet_node_kill(f, &f->node[4]);
    fleet_pause(5);
    fleet_node_start(f, &f->node[1]);
    fleet_node_start(f, &f->node[4]);
    fleet_wait_phase(f, 90, 2, "done");
    fleet_wait_running(f, 20, "2.0.0", 2);
    FLEET_REQUIRE(f, fleet_booted(&f->node[1], "1.0.0") == 2);
}

/* The gateway dies as soon as one node has all of it. The last node hears of the release only afterwards: without it all
 * nodes end within the same tenth of a second. */
static void start_and_behead(struct fleet *f, const char *policy)
{
    unsigned release = 2;
    char answer[64];
    fleet_start(f, &(struct fleet_options){.name = "no gateway", .text = e2e_line(4, 10)}, 4, 1);
    fleet_release(f, 2, "2.0.0", 1u << 1);
    fleet_air(f, answer, sizeof answer, "cut n4");
    fleet_rollout(f, 2, policy);
    fleet_wait(f, 60, "a full copy in the mesh", first_holds, &release);
    fleet_gateway_kill(f);
    FLEET_REQUIRE(f, !fleet_holds(f, &f->node[3], 2)); /* else nothing is shown */
    fleet_air(f, answer, sizeof answer, "heal n4");
}

static void without_a_gateway_all_is_staged_and_nothing_activated(void **state)
{
    struct fleet *f = &e2e_fleet;
    (void)state;
    start_and_behead(f, E2E_ALL);
    fleet_wait_staged(f, 120, 2);
    fleet_pause(4);
    fleet_witness(f);
    for (unsigned i = 0; i < f->count; i++) {
        FLEET_REQUIRE(f, f->node[i].boots == 1);
        FLEET_REQUIRE(f, strcmp(fleet_runs(&f->node[i]), "1.0.0") == 0);
    }
}

static void an_opened_ring_activates_and_confirms_without_a_gateway(void **state)
{
    struct fleet *f = &e2e_fleet;
    unsigned release = 2;
    (void)state;
    /* the ring is opened before anybody has the image */
    start_and_behead(f, "confirm=15 stage-deadline=1; all: share=100% soak=1 deadline=120");
    fleet_wait(f, 120, "all to confirm 2.0.0, by their own flash", all_confirmed, &release);
    for (unsigned i = 0; i < f->count; i++) {
        FLEET_REQUIRE(f, fleet_booted(&f->node[i], "2.0.0") == 1);
        FLEET_REQUIRE(f, strcmp(fleet_runs(&f->node[i]), "2.0.0") == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_TEST(a_killed_daemon_goes_on),
        E2E_TEST(a_third_of_the_nodes_is_killed),
        E2E_TEST(without_a_gateway_all_is_staged_and_nothing_activated),
        E2E_TEST(an_opened_ring_activates_and_confirms_without_a_gateway),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
