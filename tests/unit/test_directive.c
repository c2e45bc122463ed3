/* Directive: vectors, bounds, signature, the total order, share draws. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"
#include "proto/object/directive.h"
#include "tests/lib/sign.h"
#include "tests/lib/vectors.h"

static uint32_t random_state = 12345;

static uint32_t draw_random(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

static struct mp_directive sample(unsigned count)
{
    struct mp_directive d;
    uint8_t id[8] = {0};

    sign_directive_fill(&d, MP_ACTION_OPEN, 0x102, 7, 12, id);
    d.floor = 11;
    d.labels = 5;
    d.manifest_count = (uint8_t)count;
    for (unsigned i = 0; i < count; i++)
        vectors_noise(1000 * (i + 1), d.manifests[i], 8);
    return d;
}

static void vectors_match(void **state)
{
    struct sign_key key;
    struct vectors v;
    (void)state;

    sign_key_make(&key, 32);
    for (vectors_open(&v, "directive"); vectors_next(&v);) {
        struct mp_directive d;
        uint8_t object[MP_DIRECTIVE_MAX], again[MP_DIRECTIVE_MAX], field[64], pub[32], id[8];
        size_t len = vectors_hex(&v, "object", object, sizeof object);

        assert_int_equal(mp_directive_get(&d, object, len), MP_OK);
        assert_int_equal(d.action, vectors_int(&v, "action"));
        assert_int_equal(d.key_id, vectors_int(&v, "key_id"));
        assert_int_equal(d.network, vectors_int(&v, "network"));
        assert_int_equal(d.generation, vectors_int(&v, "generation"));
        assert_int_equal(d.release, vectors_int(&v, "release"));
        assert_int_equal(d.sequence, vectors_int(&v, "sequence"));
        assert_int_equal(d.floor, vectors_int(&v, "floor"));
        assert_int_equal(d.labels, vectors_int(&v, "labels"));
        assert_int_equal(d.share, vectors_int(&v, "share"));
        assert_int_equal(d.spread_s, vectors_int(&v, "spread_s"));
        assert_int_equal(d.confirm_s, vectors_int(&v, "confirm_s"));
        assert_int_equal(d.epoch, vectors_int(&v, "epoch"));
        assert_int_equal(d.salt, vectors_int(&v, "salt"));
        assert_int_equal(d.flags, vectors_int(&v, "flags"));
        assert_memory_equal(d.previous, field, vectors_hex(&v, "previous", field, 8));
        assert_int_equal(d.manifest_count, vectors_hex(&v, "manifests", field, 64) / 8);
        assert_memory_equal(d.manifests, field, 8u * d.manifest_count);
        assert_int_equal(sign_directive(again, &d, &key), len);
        assert_memory_equal(again, object, len);
        vectors_hex(&v, "pub", pub, sizeof pub);
        assert_int_equal(mp_directive_verify(crypto_sodium(), object, len, pub), MP_OK);
        mp_directive_id(crypto_sodium(), object, len, id);
        assert_memory_equal(id, field, vectors_hex(&v, "id", field, 8));
        assert_int_equal(mp_directive_head(&d, id).digest, mp_get32(id));
    }
    assert_int_equal(v.count, 4);
}

static void only_the_exact_length_is_taken(void **state)
{
    uint8_t object[MP_DIRECTIVE_MAX + 1] = {0};
    struct mp_directive out;
    struct sign_key key;
    (void)state;

    sign_key_make(&key, 32);
    for (unsigned n = 1; n <= MP_DIRECTIVE_MANIFESTS_MAX; n++) {
        struct mp_directive d = sample(n);
        size_t exact = sign_directive(object, &d, &key);

        assert_int_equal(exact, 112 + 8 * n);
        for (size_t len = 0; len <= sizeof object; len++)
            assert_int_equal(mp_directive_get(&out, object, len), len == exact ? MP_OK : MP_ERR_LENGTH);
        assert_int_equal(mp_directive_get(&out, object, exact), MP_OK);
        assert_memory_equal(out.manifests, d.manifests, sizeof d.manifests);
    }
    assert_int_equal(mp_directive_verify(crypto_sodium(), object, MP_DIRECTIVE_MIN - 1, key.pub), MP_ERR_LENGTH);
    assert_int_equal(mp_directive_verify(crypto_sodium(), object, MP_DIRECTIVE_MAX + 1, key.pub), MP_ERR_LENGTH);
}

static int reread(const struct mp_directive *d)
{
    uint8_t object[MP_DIRECTIVE_MAX] = {0};
    struct mp_directive out;

    return mp_directive_get(&out, object, mp_directive_put(object, d) + 64);
}

static void every_byte_field_is_bounded(void **state)
{
    struct mp_directive d = sample(3), out;
    uint8_t object[MP_DIRECTIVE_MAX] = {0}, one;
    size_t len = mp_directive_put(object, &d) + 64;
    (void)state;

    for (unsigned value = 0; value < 256; value++) {
        static const size_t at[] = {0, 2, 3, 44, 45, 46, 47};

        for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
            int wanted = MP_ERR_FORMAT;

            one = object[at[i]];
            object[at[i]] = (uint8_t)value;
            if (at[i] == 3 && value != 3 && value >= 1 && value <= 8)
                wanted = MP_ERR_LENGTH;
            if (value == one || (at[i] == 2 && value < 2) || (at[i] == 44 && value < 4))
                wanted = MP_OK;
            assert_int_equal(mp_directive_get(&out, object, len), wanted);
            object[at[i]] = one;
        }
    }
}

static void every_field_is_bounded(void **state)
{
    struct mp_directive d;
    (void)state;

#define CHECK(changes, result)                                                                                         \
    do {                                                                                                               \
        d = sample(4);                                                                                                 \
        changes;                                                                                                       \
        assert_int_equal(reread(&d), result);                                                                          \
    } while (0)
    CHECK((void)0, MP_OK);
    CHECK(d.action = MP_ACTION_STAGE, MP_OK);
    CHECK(d.action = MP_ACTION_REVERT, MP_OK);
    CHECK((d.action = MP_ACTION_REVERT, d.manifest_count = 3), MP_ERR_FORMAT);
    CHECK(d.action = MP_ACTION_HOLD, MP_ERR_FORMAT);
    CHECK((d.action = MP_ACTION_HOLD, d.floor = 12), MP_OK);
    CHECK((d.action = MP_ACTION_HOLD, d.floor = 13), MP_ERR_FORMAT);
    for (unsigned action = 4; action < 256; action++)
        CHECK(d.action = (uint8_t)action, MP_ERR_FORMAT);
    CHECK(d.floor = 12, MP_ERR_FORMAT);
    CHECK(d.floor = UINT32_MAX, MP_ERR_FORMAT);
    CHECK(d.release = 0, MP_ERR_FORMAT);
    CHECK((d.sequence = 0, d.floor = 0), MP_ERR_FORMAT);
    CHECK((d.sequence = 0, d.floor = 0, d.action = MP_ACTION_HOLD), MP_ERR_FORMAT);
    CHECK((d.sequence = 1, d.floor = 0), MP_OK);
    CHECK(d.share = MP_SHARE_ALL, MP_OK);
    CHECK(d.share = MP_SHARE_ALL + 1, MP_ERR_FORMAT);
    CHECK(d.share = UINT16_MAX, MP_ERR_FORMAT);
    CHECK(d.confirm_s = 0, MP_ERR_FORMAT);
    CHECK(d.confirm_s = 1, MP_OK);
    CHECK(d.confirm_s = 3600, MP_OK);
    CHECK(d.confirm_s = 3601, MP_ERR_FORMAT);
    for (unsigned i = 0; i < 4; i++)
        for (unsigned j = 0; j < 4; j++)
            CHECK(memcpy(d.manifests[i], d.manifests[j], 8), i == j ? MP_OK : MP_ERR_FORMAT);
#undef CHECK
}

static void every_flipped_bit_breaks_the_signature(void **state)
{
    struct mp_directive d = sample(3);
    uint8_t object[MP_DIRECTIVE_MAX];
    struct sign_key key;
    size_t len;
    (void)state;

    sign_key_make(&key, 32);
    len = sign_directive(object, &d, &key);
    assert_int_equal(mp_directive_verify(crypto_sodium(), object, len, key.pub), MP_OK);
    assert_int_equal(mp_directive_verify(crypto_sodium(), object, len - 1, key.pub), MP_ERR_SIGNATURE);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        object[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(mp_directive_verify(crypto_sodium(), object, len, key.pub), MP_ERR_SIGNATURE);
        object[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static struct mp_head random_head(void)
{
    struct mp_head h = {.release = 1, .generation = (uint16_t)(draw_random() % 2), .digest = draw_random() % 3};

    /* Small ranges, so that every level of the order is reached; a few values with the high bit. */
    h.sequence = 1 + draw_random() % 4;
    h.floor = draw_random() % 3 == 0 ? h.sequence : draw_random() % h.sequence;
    if (draw_random() % 8 == 0)
        h.digest |= 0x80000000u;
    if (draw_random() % 16 == 0)
        h.generation = UINT16_MAX;
    return h;
}

/* The order as the specification words it, written as one number. */
static void order_key(const struct mp_head *h, uint32_t key[5])
{
    key[0] = h->generation;
    key[1] = h->floor;
    key[2] = h->floor == h->sequence ? 0 : 1;
    key[3] = h->sequence;
    key[4] = h->digest;
}

static int order_reference(const struct mp_head *a, const struct mp_head *b)
{
    uint32_t x[5], y[5];

    order_key(a, x);
    order_key(b, y);
    for (unsigned i = 0; i < 5; i++)
        if (x[i] != y[i])
            return x[i] > y[i] ? 1 : -1;
    return 0;
}

static int sign_of(int n)
{
    return (n > 0) - (n < 0);
}

static void the_order_is_strict_and_total(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 200000; i++) {
        struct mp_head a = random_head(), b = random_head(), c = random_head();
        int ab = sign_of(mp_head_compare(&a, &b)), ba = sign_of(mp_head_compare(&b, &a));

        assert_int_equal(ab, -ba);
        assert_int_equal(ab, order_reference(&a, &b));
        assert_int_equal(mp_head_compare(&a, &a), 0);
        if (ab > 0 && mp_head_compare(&b, &c) > 0)
            assert_true(mp_head_compare(&a, &c) > 0);
        if (ab == 0)
            assert_int_equal(sign_of(mp_head_compare(&a, &c)), sign_of(mp_head_compare(&b, &c)));
    }
}

static void only_a_directive_that_names_a_hold_clears_it(void **state)
{
    const struct mp_head hold = {.release = 1, .generation = 1, .sequence = 5, .floor = 5, .digest = 7};
    struct mp_head later = {.release = 1, .generation = 1, .sequence = 900, .floor = 4, .digest = 9};
    struct mp_head clears = {.release = 1, .generation = 1, .sequence = 6, .floor = 5, .digest = 1};
    struct mp_head next_hold = {.release = 1, .generation = 1, .sequence = 7, .floor = 7, .digest = 1};
    (void)state;

    assert_true(mp_head_is_hold(&hold));
    assert_false(mp_head_is_hold(&later));
    assert_true(mp_head_compare(&hold, &later) > 0);
    assert_true(mp_head_compare(&clears, &hold) > 0);
    assert_true(mp_head_compare(&next_hold, &clears) > 0);
    later.generation = 2;
    assert_true(mp_head_compare(&later, &next_hold) > 0);
}

static void share_vectors_match(void **state)
{
    struct vectors v;
    (void)state;

    for (vectors_open(&v, "share"); vectors_next(&v);) {
        uint32_t salt = (uint32_t)vectors_int(&v, "salt"), node = (uint32_t)vectors_int(&v, "node"), spread_ms = 77;
        uint16_t spread_s = (uint16_t)vectors_int(&v, "spread_s");

        assert_int_equal(mp_directive_draw(crypto_sodium(), salt, node, spread_s, &spread_ms), vectors_int(&v, "draw"));
        assert_int_equal(spread_ms, vectors_int(&v, "spread_ms"));
        assert_int_equal(mp_directive_draw(crypto_sodium(), salt, node, 0, NULL), vectors_int(&v, "draw"));
    }
    assert_int_equal(v.count, 64);
}

static void draws_are_even_and_shares_only_grow(void **state)
{
    enum { NODES = 20000, BINS = 20 };
    struct mp_directive d = sample(1);
    unsigned bin[BINS] = {0}, in = 0, was = 0;
    double chi = 0;
    (void)state;

    d.labels = 0;
    for (uint32_t node = 1; node <= NODES; node++) {
        unsigned draw = mp_directive_draw(crypto_sodium(), d.salt, node, 0, NULL);

        assert_in_range(draw, 0, 9999);
        bin[draw * BINS / 10000]++;
        d.share = (uint16_t)draw;
        assert_false(mp_directive_is_in(crypto_sodium(), &d, node, 0xFFFF));
        d.share = (uint16_t)(draw + 1);
        assert_true(mp_directive_is_in(crypto_sodium(), &d, node, 0));
    }
    for (unsigned i = 0; i < BINS; i++)
        chi += (bin[i] - (double)NODES / BINS) * (bin[i] - (double)NODES / BINS) / ((double)NODES / BINS);
    assert_true(chi < 43.8); /* 19 degrees of freedom, 0.1 % */
    for (unsigned share = 0; share <= MP_SHARE_ALL; share += 2500, was = in) {
        d.share = (uint16_t)share;
        in = 0;
        for (uint32_t node = 1; node <= 2000; node++)
            in += mp_directive_is_in(crypto_sodium(), &d, node, 0);
        assert_true(share == 0 ? in == 0 : in > was);
        assert_true(in > share / 5 - 80u || share < 2500);
        assert_true(in < share / 5 + 80u);
    }
    assert_int_equal(was, 2000);
}

static void a_common_label_is_enough(void **state)
{
    struct mp_directive d = sample(1);
    (void)state;

    d.share = 0;
    d.labels = 0x8001;
    assert_true(mp_directive_is_in(crypto_sodium(), &d, 1, 0x8000));
    assert_true(mp_directive_is_in(crypto_sodium(), &d, 1, 0x0003));
    assert_false(mp_directive_is_in(crypto_sodium(), &d, 1, 0x7FFE));
    assert_false(mp_directive_is_in(crypto_sodium(), &d, 1, 0));
}

static void manifests_are_found(void **state)
{
    struct mp_directive d = sample(5);
    uint8_t id[8];
    (void)state;

    for (int i = 0; i < 5; i++)
        assert_int_equal(mp_directive_find(&d, d.manifests[i]), i);
    memcpy(id, d.manifests[4], 8);
    d.manifest_count = 4;
    assert_int_equal(mp_directive_find(&d, id), -1);
    id[7] ^= 1;
    d.manifest_count = 5;
    assert_int_equal(mp_directive_find(&d, id), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_match),
        cmocka_unit_test(only_the_exact_length_is_taken),
        cmocka_unit_test(every_byte_field_is_bounded),
        cmocka_unit_test(every_field_is_bounded),
        cmocka_unit_test(every_flipped_bit_breaks_the_signature),
        cmocka_unit_test(the_order_is_strict_and_total),
        cmocka_unit_test(only_a_directive_that_names_a_hold_clears_it),
        cmocka_unit_test(share_vectors_match),
        cmocka_unit_test(draws_are_even_and_shares_only_grow),
        cmocka_unit_test(a_common_label_is_enough),
        cmocka_unit_test(manifests_are_found),
    };

    if (crypto_sodium() == NULL)
        return 1;
    return cmocka_run_group_tests_name("directive", tests, NULL, NULL);
}
