/*
 * Milliseconds of a time without a 64-bit division.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/mp_types.h"

static void check(mp_time t)
{
    assert_int_equal(mp_ms_divide(t), (uint32_t)(t / 1000));
    assert_int_equal(mp_ms(t), (uint32_t)(t / 1000));
}

static void test_around_powers_of_two(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++)
        for (mp_time i = 0; i <= 4000; i++) {
            check(((mp_time)1 << bit) + i);
            check(((mp_time)1 << bit) - i);
        }
}

static void test_multiples(void **state)
{
    (void)state;
    for (mp_time t = 0; t < MP_NEVER / 3; t = t * 3 + 1000) {
        check(t / 1000 * 1000);
        check(t / 1000 * 1000 + 999);
    }
    check(MP_NEVER);
}

static void test_anywhere(void **state)
{
    mp_time t = 1;

    (void)state;
    for (unsigned i = 0; i < 1000000; i++) {
        t = t * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
        check(t >> i % 64);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_around_powers_of_two),
        cmocka_unit_test(test_multiples),
        cmocka_unit_test(test_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
