/* SUMMARY codec: round trips, every length, every rule of SPEC 1.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "proto/mesh/summary.h"
#include "proto/mp_wire.h"

static void fill(struct mp_summary *s, unsigned heads, unsigned manifests)
{
    memset(s, 0, sizeof *s);
    s->nonce = 0x01020304;
    s->flags = MP_SUMMARY_FLAGS;
    s->failed = 0xBEEF;
    s->home = 11;
    s->target = 12;
    s->held = 0xABCDEF;
    s->key_number = 3;
    s->key_head = 0xCAFEBABE;
    s->head_count = (uint8_t)heads;
    s->manifest_count = (uint8_t)manifests;
    for (unsigned i = 0; i < heads; i++)
        s->heads[i] = (struct mp_head){
            .release = 100 - i, .generation = (uint16_t)i, .floor = i, .sequence = i + 5, .digest = ~i};
    for (unsigned i = 0; i < manifests; i++)
        s->manifests[i] = 1000 - 10 * i;
}

static void round_trips(void **state)
{
    (void)state;

    for (unsigned heads = 0; heads <= MP_RELEASES_MAX; heads++)
        for (unsigned manifests = 0; manifests <= MP_MANIFESTS_MAX; manifests++) {
            uint8_t body[MP_SUMMARY_MAX], again[MP_SUMMARY_MAX];
            struct mp_summary s, t;
            size_t len;

            fill(&s, heads, manifests);
            len = mp_summary_put(body, &s);
            assert_int_equal(len, 25 + 18 * heads + 4 * manifests);
            memset(&t, 0x55, sizeof t);
            assert_int_equal(mp_summary_get(&t, body, len), MP_OK);
            assert_int_equal(t.held, 0xABCDEF);
            assert_int_equal(t.failed, 0xBEEF);
            assert_int_equal(t.home, 11);
            assert_int_equal(t.target, 12);
            assert_int_equal(t.key_number, 3);
            assert_int_equal(t.key_head, 0xCAFEBABE);
            assert_int_equal(mp_summary_put(again, &t), len);
            assert_memory_equal(again, body, len);
            for (unsigned i = 1; i < heads; i++)
                assert_true(t.heads[i].release > t.heads[i - 1].release);
            for (unsigned i = 1; i < manifests; i++)
                assert_true(t.manifests[i] > t.manifests[i - 1]);
        }
}

/* Where each byte of the table in SPEC 1.1 lies. */
static void layout_is_the_spec(void **state)
{
    uint8_t body[MP_SUMMARY_MAX];
    struct mp_summary s;
    (void)state;

    fill(&s, 1, 1);
    assert_int_equal(mp_summary_put(body, &s), 47);
    assert_int_equal(mp_get32(body), s.nonce);
    assert_int_equal(body[4], MP_SUMMARY_FLAGS);
    assert_int_equal(body[5], 0x11);
    assert_int_equal(mp_get16(body + 6), 0xBEEF);
    assert_int_equal(mp_get32(body + 8), 11);
    assert_int_equal(mp_get32(body + 12), 12);
    assert_int_equal(mp_get24(body + 16), 0xABCDEF);
    assert_int_equal(mp_get16(body + 19), 3);
    assert_int_equal(mp_get32(body + 21), 0xCAFEBABE);
    assert_int_equal(mp_get32(body + 25), 100);
    assert_int_equal(mp_get16(body + 29), 0);
    assert_int_equal(mp_get32(body + 31), 0);
    assert_int_equal(mp_get32(body + 35), 5);
    assert_int_equal(mp_get32(body + 39), UINT32_MAX);
    assert_int_equal(mp_get32(body + 43), 1000);
}

static void every_other_length_is_refused(void **state)
{
    uint8_t body[MP_BODY_MAX + 1] = {0};
    struct mp_summary s, t;
    size_t len;
    (void)state;

    fill(&s, 3, 5);
    len = mp_summary_put(body, &s);
    for (size_t i = 0; i <= MP_BODY_MAX; i++)
        assert_int_equal(mp_summary_get(&t, body, i), i == len ? MP_OK : MP_ERR_LENGTH);
}

static void check_refused(const uint8_t *body, size_t len)
{
    struct mp_summary t;

    assert_int_equal(mp_summary_get(&t, body, len), MP_ERR_FORMAT);
}

static void fields_out_of_range_are_refused(void **state)
{
    uint8_t good[MP_BODY_MAX], body[MP_BODY_MAX];
    struct mp_summary s;
    size_t len;
    (void)state;

    fill(&s, 2, 2);
    len = mp_summary_put(good, &s);
    for (unsigned flag = 0; flag < 8; flag++) {
        if (MP_SUMMARY_FLAGS >> flag & 1)
            continue;
        memcpy(body, good, len);
        body[4] = (uint8_t)(1u << flag);
        check_refused(body, len);
    }
    for (unsigned counts = 0; counts < 256; counts++) {
        struct mp_summary t;

        memcpy(body, good, len);
        body[5] = (uint8_t)counts;
        assert_int_equal(mp_summary_get(&t, body, len) == MP_OK, counts == 0x22);
    }
    memcpy(body, good, len);
    mp_put32(body, 0); /* nonce */
    check_refused(body, len);
    memcpy(body, good, len);
    mp_put32(body + 25, 0); /* release 0 */
    check_refused(body, len);
    memcpy(body, good, len);
    mp_put32(body + 35, 0); /* sequence 0 */
    check_refused(body, len);
    memcpy(body, good, len);
    mp_put32(body + 31, mp_get32(body + 35) + 1); /* floor above sequence */
    check_refused(body, len);
    memcpy(body, good, len);
    mp_put32(body + 25 + 36, 0); /* handle 0 */
    check_refused(body, len);
}

static void order_is_part_of_the_format(void **state)
{
    uint8_t good[MP_BODY_MAX], body[MP_BODY_MAX];
    struct mp_summary s;
    size_t len;
    (void)state;

    fill(&s, 2, 2);
    len = mp_summary_put(good, &s);
    memcpy(body, good, len);
    memcpy(body + 25, good + 43, 18);
    memcpy(body + 43, good + 25, 18);
    check_refused(body, len);
    memcpy(body, good, len);
    memcpy(body + 43, body + 25, 18); /* a release twice */
    check_refused(body, len);
    memcpy(body, good, len);
    memcpy(body + 61, good + 65, 4);
    memcpy(body + 65, good + 61, 4);
    check_refused(body, len);
    memcpy(body, good, len);
    memcpy(body + 65, body + 61, 4); /* a handle twice */
    check_refused(body, len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),
        cmocka_unit_test(layout_is_the_spec),
        cmocka_unit_test(every_other_length_is_refused),
        cmocka_unit_test(fields_out_of_range_are_refused),
        cmocka_unit_test(order_is_part_of_the_format),
    };

    return cmocka_run_group_tests_name("summary", tests, NULL, NULL);
}
