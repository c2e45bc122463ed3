/*
 * Emulated parts in a mesh of real programs: they join, they are updated over the air, they prove the new image on
 * probation and keep it.
 */
#include "emu.h"

#include <stdio.h>
#include <string.h>

#include "node-fw/port/nrf51/part.h"
#include "tests/lib/fleet_part.h"

#define MODEL 2u
#define ALL "confirm=30 stage-deadline=600; all: share=100% soak=1 deadline=200"
/* All hear all: the gateway and parts n1 to n3. */
#define ROOM                                                                                                           \
    "[scenario]\nname = test\nseed = 11\n[radio]\nframe_loss = 2 %\n[topology]\nkind = line\nnodes = 4\n"               \
    "spacing = 2 m\nfirst = gw\nprefix = n\n"

static struct fleet fleet;

static void fail_test(void)
{
    _fail(__FILE__, __LINE__);
}

static int setup(void **state)
{
    (void)state;
    fleet_failed = qemu_failed = fail_test;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fleet_close(&fleet);
    return 0;
}

static void start(struct fleet *f, const char *name, unsigned parts)
{
    fleet_open(f, &(struct fleet_options){.name = name, .text = ROOM});
    f->part_models = 1u << MODEL;
    fleet_network(f);
    fleet_gateway_start(f);
    fleet_release(f, 1, "1.0.0", 1u << MODEL);
    for (unsigned i = 1; i <= parts; i++) {
        char part[8];
        snprintf(part, sizeof part, "n%u", i);
        fleet_part_start(f, fleet_part_add(f, part, MODEL, i == 1 ? "canary" : NULL, 1, i % 2 == 0));
    }
    fleet_wait_enrolled(f, 60);
}

static void joins_and_is_updated(void **state)
{
    struct fleet *f = &fleet;
    (void)state;
    start(f, "update", 1);
    printf("enrolled\n");
    fleet_wait_running(f, 20, "1.0.0", 1);
    fleet_release(f, 2, "2.0.0", 1u << MODEL);
    fleet_rollout(f, 2, ALL);
    fleet_wait_phase(f, 200, 2, "done");
    fleet_wait_running(f, 20, "2.0.0", 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(joins_and_is_updated, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
