/* Token bucket: level, refill, the wrap of the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/mesh/bucket.h"

static void starts_full_and_empties(void **state)
{
    struct mp_bucket b;
    (void)state;

    mp_bucket_init(&b, 1000, 5);
    for (int i = 0; i < 5; i++)
        assert_true(mp_bucket_take(&b, 1000, 1, 5, 100));
    assert_false(mp_bucket_take(&b, 1000, 1, 5, 100));
    assert_false(mp_bucket_take(&b, 1099, 1, 5, 100));
    assert_true(mp_bucket_take(&b, 1100, 1, 5, 100));
    assert_false(mp_bucket_take(&b, 1100, 1, 5, 100));
}

static void takes_all_or_nothing(void **state)
{
    struct mp_bucket b;
    (void)state;

    mp_bucket_init(&b, 0, 3);
    assert_false(mp_bucket_take(&b, 0, 4, 3, 100));
    assert_true(mp_bucket_take(&b, 0, 2, 3, 100));
    assert_false(mp_bucket_take(&b, 0, 2, 3, 100));
    assert_true(mp_bucket_take(&b, 0, 1, 3, 100));
}

/* Asking more often than a token comes must not lose the fractions in between. */
static void keeps_fractions(void **state)
{
    struct mp_bucket b;
    unsigned taken = 0;
    (void)state;

    mp_bucket_init(&b, 0, 4);
    for (uint32_t now = 0; now <= 10000; now += 7)
        taken += mp_bucket_take(&b, now, 1, 4, 500);
    assert_int_equal(taken, 4 + 10000 / 500 - (10000 % 7 > 10000 % 500));
}

static void never_exceeds_the_cap(void **state)
{
    struct mp_bucket b;
    unsigned taken = 0;
    (void)state;

    mp_bucket_init(&b, 0, 16);
    assert_true(mp_bucket_take(&b, 0, 16, 16, 500));
    for (int i = 0; i < 100; i++)
        taken += mp_bucket_take(&b, 3600000, 1, 16, 500);
    assert_int_equal(taken, 16);
}

/* The same sequence of takes, wherever on the 32-bit clock it begins. */
static void does_not_notice_the_wrap(void **state)
{
    (void)state;

    for (uint32_t before = 0; before < 3000; before += 97) {
        struct mp_bucket plain, wrapping;

        mp_bucket_init(&plain, 0, 3);
        mp_bucket_init(&wrapping, UINT32_MAX - before, 3);
        for (uint32_t t = 0; t < 6000; t += 150)
            assert_int_equal(mp_bucket_take(&wrapping, UINT32_MAX - before + t, 1, 3, 400),
                             mp_bucket_take(&plain, t, 1, 3, 400));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_full_and_empties),  cmocka_unit_test(takes_all_or_nothing),
        cmocka_unit_test(keeps_fractions),          cmocka_unit_test(never_exceeds_the_cap),
        cmocka_unit_test(does_not_notice_the_wrap),
    };

    return cmocka_run_group_tests_name("bucket", tests, NULL, NULL);
}
