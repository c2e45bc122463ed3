/* Trickle timer against RFC 6206, section 4.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/mesh/trickle.h"

static uint32_t draw(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed;
}

/* Rule 2: t lies in [I/2, I). Rule 5: the next interval follows at the end of this one, doubled up to Imax. */
static void run_intervals(uint32_t origin)
{
    struct mp_trickle t;
    uint32_t seed = 1, start = origin, interval = MP_TRICKLE_IMIN_MS;

    mp_trickle_start(&t, origin, draw(&seed));
    for (int i = 0; i < 40; i++) {
        assert_int_equal(t.interval_ms, interval);
        assert_true(t.at_ms - start >= interval / 2 && t.at_ms - start < interval);
        assert_true(mp_trickle_expire(&t, draw(&seed)));
        assert_int_equal(t.at_ms - start, interval);
        assert_false(mp_trickle_expire(&t, draw(&seed)));
        start += interval;
        interval = interval < MP_TRICKLE_IMAX_MS ? interval * 2 : interval;
    }
    assert_int_equal(interval, MP_TRICKLE_IMAX_MS);
}

static void intervals_double_to_imax(void **state)
{
    (void)state;
    run_intervals(0);
    run_intervals(12345);
}

static void clock_may_wrap(void **state)
{
    (void)state;
    for (uint32_t before = 1; before < 4000; before += 130)
        run_intervals(UINT32_MAX - before);
    run_intervals(UINT32_MAX - 20 * MP_TRICKLE_IMAX_MS);
}

/* t takes every part of the second half. */
static void t_is_spread(void **state)
{
    unsigned bin[10] = {0};
    uint32_t seed = 7;
    (void)state;

    for (int i = 0; i < 10000; i++) {
        struct mp_trickle t;

        mp_trickle_start(&t, 0, draw(&seed) >> 8);
        bin[(t.at_ms - MP_TRICKLE_IMIN_MS / 2) * 10 / (MP_TRICKLE_IMIN_MS / 2)]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(bin[i], 850, 1150);
}

/* Rules 3 and 4: k consistent transmissions before t suppress this one, and only in this interval. */
static void k_suppress(void **state)
{
    (void)state;

    for (unsigned heard = 0; heard < 5; heard++) {
        struct mp_trickle t;

        mp_trickle_start(&t, 0, 9);
        for (unsigned i = 0; i < heard; i++)
            mp_trickle_hear(&t);
        assert_int_equal(mp_trickle_expire(&t, 9), heard < MP_TRICKLE_K);
        assert_false(mp_trickle_expire(&t, 9));
        assert_true(mp_trickle_expire(&t, 9));
    }
}

static void counter_does_not_wrap(void **state)
{
    struct mp_trickle t;
    (void)state;

    mp_trickle_start(&t, 0, 9);
    for (unsigned i = 0; i < 256; i++)
        mp_trickle_hear(&t);
    assert_false(mp_trickle_expire(&t, 9));
}

/* Rule 6: back to Imin with a new interval, but nothing happens when I is Imin already. */
static void resets_only_above_imin(void **state)
{
    struct mp_trickle t, before;
    (void)state;

    mp_trickle_start(&t, 0, 100);
    before = t;
    assert_false(mp_trickle_reset(&t, 200, 5));
    assert_memory_equal(&t, &before, sizeof t);
    mp_trickle_expire(&t, 100);
    mp_trickle_expire(&t, 100);
    assert_int_equal(t.interval_ms, 2 * MP_TRICKLE_IMIN_MS);
    mp_trickle_hear(&t);
    assert_true(mp_trickle_reset(&t, 700, 20));
    assert_int_equal(t.interval_ms, MP_TRICKLE_IMIN_MS);
    assert_int_equal(t.start_ms, 700);
    assert_int_equal(t.at_ms, 700 + MP_TRICKLE_IMIN_MS / 2 + 20);
    assert_int_equal(t.heard, 0);
    assert_true(mp_trickle_expire(&t, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_double_to_imax),
        cmocka_unit_test(clock_may_wrap),
        cmocka_unit_test(t_is_spread),
        cmocka_unit_test(k_suppress),
        cmocka_unit_test(counter_does_not_wrap),
        cmocka_unit_test(resets_only_above_imin),
    };

    return cmocka_run_group_tests_name("trickle", tests, NULL, NULL);
}
