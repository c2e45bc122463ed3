/*
 * A few power cuts on emulated parts; `make power-mcu` makes many. POWER_SEED in the environment repeats a run's choices
 * (its times are the machine's).
 */
#include "emu.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "power_part.h"

enum { PARTS = 4, RESETS = 24, LEAST = 2, LIMIT_S = 540 };

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

static void parts_survive_power_cuts(void **state)
{
    const char *seed = getenv("POWER_SEED");
    const struct power_options options = {.name = "power",
                                          .parts = PARTS,
                                          .resets = RESETS,
                                          .least = LEAST,
                                          .seed = seed != NULL ? (uint32_t)strtoul(seed, NULL, 10)
                                                               : (uint32_t)time(NULL) * 31 + (uint32_t)getpid(),
                                          .limit_s = LIMIT_S};
    struct power_result result;
    (void)state;
    power_run(&fleet, &options, &result);
    power_print(&result);
    assert_true(result.resets >= RESETS);
    assert_true(result.inside > 0 && result.resets > result.inside);
    assert_true(result.boots >= result.resets / 2); /* of those that no other reset followed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(parts_survive_power_cuts, setup, teardown)};
    return cmocka_run_group_tests_name("power_part", tests, NULL, NULL);
}
