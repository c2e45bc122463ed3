/* Receipts and report entries: vectors, bounds, signature and MAC, the order of rounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"
#include "proto/object/receipt.h"
#include "tests/lib/sign.h"
#include "tests/lib/vectors.h"

static struct mp_receipt sample(uint16_t base, uint16_t count)
{
    struct mp_receipt r = {.network = 0x102, .generation = 1, .round = 9, .base = base, .count = count};

    vectors_noise(count, r.nibbles, (count + 1u) / 2);
    if (count % 2 != 0)
        r.nibbles[count / 2] &= 15;
    return r;
}

static void vectors_match(void **state)
{
    struct sign_key key;
    struct vectors v;
    (void)state;

    sign_key_make(&key, 32);
    for (vectors_open(&v, "receipt"); vectors_next(&v);) {
        struct mp_receipt r;
        uint8_t object[MP_RECEIPT_MAX], again[MP_RECEIPT_MAX], nibbles[MP_RECEIPT_INDICES_MAX / 2], pub[32];
        size_t len = vectors_hex(&v, "object", object, sizeof object);

        assert_int_equal(mp_receipt_get(&r, object, len), MP_OK);
        assert_int_equal(r.key_id, vectors_int(&v, "key_id"));
        assert_int_equal(r.network, vectors_int(&v, "network"));
        assert_int_equal(r.generation, vectors_int(&v, "generation"));
        assert_int_equal(r.round, vectors_int(&v, "round"));
        assert_int_equal(r.base, vectors_int(&v, "base"));
        assert_int_equal(r.count, vectors_int(&v, "count"));
        assert_memory_equal(r.nibbles, nibbles, vectors_hex(&v, "nibbles", nibbles, sizeof nibbles));
        assert_int_equal(sign_receipt(again, &r, &key), len);
        assert_memory_equal(again, object, len);
        vectors_hex(&v, "pub", pub, sizeof pub);
        assert_int_equal(mp_receipt_verify(crypto_sodium(), object, len, pub), MP_OK);
        for (uint32_t index = 0; index < 65536; index++) {
            uint32_t i = index - r.base;
            int wanted = index < r.base || i >= r.count ? -1 : (i % 2 == 0 ? nibbles[i / 2] & 15 : nibbles[i / 2] >> 4);

            assert_int_equal(mp_receipt_nibble(&r, (uint16_t)index), wanted);
        }
    }
    assert_int_equal(v.count, 4);
}

static void only_the_exact_length_is_taken(void **state)
{
    uint8_t object[MP_RECEIPT_MAX + 1] = {0};
    struct mp_receipt out;
    (void)state;

    for (uint16_t count = 1; count <= MP_RECEIPT_INDICES_MAX; count++) {
        struct mp_receipt r = sample(3, count);
        size_t exact = mp_receipt_put(object, &r) + 64;

        assert_int_equal(exact, 76 + (count + 1) / 2);
        for (size_t len = 0; len <= sizeof object; len++)
            assert_int_equal(mp_receipt_get(&out, object, len), len == exact ? MP_OK : MP_ERR_LENGTH);
        assert_int_equal(mp_receipt_get(&out, object, exact), MP_OK);
        assert_memory_equal(out.nibbles, r.nibbles, sizeof r.nibbles);
    }
}

static void every_field_is_bounded(void **state)
{
    struct mp_receipt r = sample(3, 7), out;
    uint8_t object[MP_RECEIPT_MAX] = {0}, was;
    size_t len = mp_receipt_put(object, &r) + 64;
    (void)state;

    for (unsigned value = 0; value < 256; value++) {
        static const size_t at[] = {0, 1, MP_RECEIPT_FIXED + 3};

        for (unsigned i = 0; i < 3; i++) {
            bool valid = i == 0 ? value == 1 : i == 1 ? value < 2 : value < 16;

            was = object[at[i]];
            object[at[i]] = (uint8_t)value;
            assert_int_equal(mp_receipt_get(&out, object, len), valid ? MP_OK : MP_ERR_FORMAT);
            object[at[i]] = was;
        }
    }
    for (unsigned count = 0; count < 65536; count++) {
        mp_put16(object + 10, count);
        assert_int_equal(mp_receipt_get(&out, object, len), count == 0 || count > 248  ? MP_ERR_FORMAT
                                                            : count == 7 || count == 8 ? MP_OK
                                                                                       : MP_ERR_LENGTH);
    }
    mp_put16(object + 10, 7);
    mp_put16(object + 8, 65536 - 7);
    assert_int_equal(mp_receipt_get(&out, object, len), MP_OK);
    mp_put16(object + 8, 65536 - 6);
    assert_int_equal(mp_receipt_get(&out, object, len), MP_ERR_FORMAT);
}

static void every_flipped_bit_breaks_the_signature(void **state)
{
    struct mp_receipt r = sample(3, 9);
    uint8_t object[MP_RECEIPT_MAX];
    struct sign_key key;
    size_t len;
    (void)state;

    sign_key_make(&key, 32);
    len = sign_receipt(object, &r, &key);
    assert_int_equal(mp_receipt_verify(crypto_sodium(), object, len, key.pub), MP_OK);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        object[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(mp_receipt_verify(crypto_sodium(), object, len, key.pub), MP_ERR_SIGNATURE);
        object[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(mp_receipt_verify(crypto_sodium(), object, 76, key.pub), MP_ERR_LENGTH);
    assert_int_equal(mp_receipt_verify(crypto_sodium(), object, MP_RECEIPT_MAX + 1, key.pub), MP_ERR_LENGTH);
}

static void rounds_wrap_within_a_generation(void **state)
{
    (void)state;
    for (uint32_t a = 0; a < 65536; a += 257)
        for (uint32_t ahead = 0; ahead < 65536; ahead += 128) {
            uint16_t x = (uint16_t)(a + ahead), y = (uint16_t)a;
            int forth = mp_round_compare(4, x, 4, y), back = mp_round_compare(4, y, 4, x);

            assert_int_equal(forth > 0, ahead > 0 && ahead < 32768);
            assert_int_equal(forth == 0, ahead == 0);
            assert_int_equal(back > 0, ahead > 32768);
            assert_true(mp_round_compare(5, y, 4, x) > 0);
            assert_true(mp_round_compare(4, y, 5, x) < 0);
        }
    assert_true(mp_round_compare(1, 0, 1, 65535) > 0);
}

static void report_vectors_match(void **state)
{
    struct vectors v;
    (void)state;

    for (vectors_open(&v, "report"); vectors_next(&v);) {
        uint8_t entry[MP_REPORT_ENTRY_SIZE], again[MP_REPORT_ENTRY_SIZE], key[16];
        struct mp_report r;

        assert_int_equal(vectors_hex(&v, "entry", entry, sizeof entry), MP_REPORT_ENTRY_SIZE);
        vectors_hex(&v, "key", key, sizeof key);
        assert_int_equal(mp_report_get(&r, entry), MP_OK);
        assert_int_equal(r.node, vectors_int(&v, "node"));
        assert_int_equal(r.serial, vectors_int(&v, "serial"));
        assert_int_equal(r.running, vectors_int(&v, "running"));
        assert_int_equal(r.target, vectors_int(&v, "target"));
        assert_int_equal(r.phase, vectors_int(&v, "phase"));
        assert_int_equal(r.reason, vectors_int(&v, "reason"));
        mp_report_put(crypto_sodium(), again, &r, key);
        assert_memory_equal(again, entry, sizeof entry);
        assert_int_equal(mp_report_verify(crypto_sodium(), entry, key), MP_OK);
        for (size_t bit = 0; bit < 8 * sizeof entry; bit++) {
            entry[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(mp_report_verify(crypto_sodium(), entry, key), MP_ERR_TAG);
            entry[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        key[15] ^= 1;
        assert_int_equal(mp_report_verify(crypto_sodium(), entry, key), MP_ERR_TAG);
    }
    assert_int_equal(v.count, 8);
}

static void report_fields_are_bounded(void **state)
{
    struct mp_report r = {.node = 5}, out;
    uint8_t entry[MP_REPORT_ENTRY_SIZE], key[16] = {0};
    (void)state;

    mp_report_put(crypto_sodium(), entry, &r, key);
    for (unsigned value = 0; value < 256; value++) {
        entry[10] = (uint8_t)value;
        assert_int_equal(mp_report_get(&out, entry), (value & 15) < 8 ? MP_OK : MP_ERR_FORMAT);
    }
    entry[10] = 0;
    mp_put32(entry, 0);
    assert_int_equal(mp_report_get(&out, entry), MP_ERR_FORMAT);
    mp_put32(entry, UINT32_MAX);
    assert_int_equal(mp_report_get(&out, entry), MP_ERR_FORMAT);
    mp_put32(entry, UINT32_MAX - 1);
    assert_int_equal(mp_report_get(&out, entry), MP_OK);
}

static void every_error_has_its_own_sentence(void **state)
{
    (void)state;
    for (int a = 0; a > -MP_ERROR_COUNT; a--) {
        assert_non_null(mp_strerror(a));
        assert_string_not_equal(mp_strerror(a), "unknown error");
        for (int b = 0; b > a; b--)
            assert_string_not_equal(mp_strerror(a), mp_strerror(b));
    }
    assert_string_equal(mp_strerror(1), "unknown error");
    assert_string_equal(mp_strerror(-MP_ERROR_COUNT), "unknown error");
    assert_string_equal(mp_strerror(INT32_MIN), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_match),
        cmocka_unit_test(only_the_exact_length_is_taken),
        cmocka_unit_test(every_field_is_bounded),
        cmocka_unit_test(every_flipped_bit_breaks_the_signature),
        cmocka_unit_test(rounds_wrap_within_a_generation),
        cmocka_unit_test(report_vectors_match),
        cmocka_unit_test(report_fields_are_bounded),
        cmocka_unit_test(every_error_has_its_own_sentence),
    };

    if (crypto_sodium() == NULL)
        return 1;
    return cmocka_run_group_tests_name("receipt", tests, NULL, NULL);
}
