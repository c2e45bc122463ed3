/* Manifest: vectors, round trip, every field out of range, every length, every flipped bit, who may use it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"
#include "proto/object/manifest.h"
#include "tests/lib/sign.h"
#include "tests/lib/vectors.h"

static struct mp_manifest sample(enum mp_payload_kind kind)
{
    struct mp_manifest m;

    sign_manifest_fill(&m, 7, 3);
    m.image_size = m.payload_size = 100000;
    m.security_counter = 5;
    m.battery_min_percent = 20;
    vectors_noise(1, m.image_root, sizeof m.image_root);
    vectors_noise(1, m.payload_root, sizeof m.payload_root);
    vectors_noise(2, m.image_sha256, sizeof m.image_sha256);
    if (kind == MP_PAYLOAD_DELTA) {
        m.kind = MP_PAYLOAD_DELTA;
        m.payload_size = 5000;
        vectors_noise(3, m.payload_root, sizeof m.payload_root);
        vectors_noise(4, m.base, sizeof m.base);
    }
    return m;
}

static void vectors_match(void **state)
{
    struct vectors v;
    (void)state;

    for (vectors_open(&v, "manifest"); vectors_next(&v);) {
        struct mp_manifest m;
        uint8_t object[MP_MANIFEST_SIZE], again[MP_MANIFEST_SIZE], field[32], pub[32], id[8];

        assert_int_equal(vectors_hex(&v, "object", object, sizeof object), MP_MANIFEST_SIZE);
        assert_int_equal(mp_manifest_get(&m, object, sizeof object), MP_OK);
        assert_int_equal(m.kind, vectors_int(&v, "kind"));
        assert_int_equal(m.key_id, vectors_int(&v, "key_id"));
        assert_int_equal(m.product, vectors_int(&v, "product"));
        assert_int_equal(m.model, vectors_int(&v, "model"));
        assert_int_equal(m.generation, vectors_int(&v, "generation"));
        assert_int_equal(m.hw_revisions, vectors_int(&v, "hw_revisions"));
        assert_int_equal(m.version, vectors_int(&v, "version"));
        assert_int_equal(m.release, vectors_int(&v, "release"));
        assert_int_equal(m.security_counter, vectors_int(&v, "security_counter"));
        assert_int_equal(m.image_size, vectors_int(&v, "image_size"));
        assert_int_equal(m.payload_size, vectors_int(&v, "payload_size"));
        assert_int_equal(m.version_min, vectors_int(&v, "version_min"));
        assert_int_equal(m.expiry_epoch, vectors_int(&v, "expiry_epoch"));
        assert_int_equal(m.battery_min_percent, vectors_int(&v, "battery_min_percent"));
        assert_memory_equal(m.salt, field, vectors_hex(&v, "salt", field, 8));
        assert_memory_equal(m.image_root, field, vectors_hex(&v, "image_root", field, 12));
        assert_memory_equal(m.payload_root, field, vectors_hex(&v, "payload_root", field, 12));
        assert_memory_equal(m.base, field, vectors_hex(&v, "base", field, 8));
        assert_memory_equal(m.image_sha256, field, vectors_hex(&v, "image_sha256", field, 32));
        mp_manifest_put(again, &m);
        assert_memory_equal(again, object, MP_MANIFEST_SIGNED);
        vectors_hex(&v, "pub", pub, sizeof pub);
        assert_int_equal(mp_manifest_verify(crypto_sodium(), object, pub), MP_OK);
        mp_manifest_id(crypto_sodium(), object, id);
        assert_memory_equal(id, field, vectors_hex(&v, "id", field, 8));
    }
    assert_int_equal(v.count, 4);
}

static void signing_matches_the_vectors(void **state)
{
    struct sign_key key;
    struct vectors v;
    (void)state;

    sign_key_make(&key, 16);
    for (vectors_open(&v, "manifest"); vectors_next(&v);) {
        struct mp_manifest m;
        uint8_t object[MP_MANIFEST_SIZE], again[MP_MANIFEST_SIZE];

        vectors_hex(&v, "object", object, sizeof object);
        assert_int_equal(mp_manifest_get(&m, object, sizeof object), MP_OK);
        sign_manifest(again, &m, &key);
        assert_memory_equal(again, object, sizeof object);
    }
}

static void every_length_but_one_is_refused(void **state)
{
    struct mp_manifest m = sample(MP_PAYLOAD_FULL), out;
    uint8_t object[MP_MANIFEST_SIZE + 1] = {0};
    (void)state;

    mp_manifest_put(object, &m);
    for (size_t len = 0; len <= sizeof object; len++)
        assert_int_equal(mp_manifest_get(&out, object, len), len == MP_MANIFEST_SIZE ? MP_OK : MP_ERR_LENGTH);
}

/* Result of decoding a sample with `len` bytes at `at` replaced by those of `value`. */
static int patched(enum mp_payload_kind kind, size_t at, size_t len, uint32_t value)
{
    struct mp_manifest m = sample(kind), out;
    uint8_t object[MP_MANIFEST_SIZE] = {0}, bytes[4];

    mp_manifest_put(object, &m);
    mp_put32(bytes, value);
    memcpy(object + at, bytes, len);
    return mp_manifest_get(&out, object, sizeof object);
}

static void every_field_is_bounded(void **state)
{
    (void)state;
    for (uint32_t v = 0; v < 256; v++) {
        assert_int_equal(patched(MP_PAYLOAD_FULL, 0, 1, v), v == 1 ? MP_OK : MP_ERR_FORMAT);
        assert_int_equal(patched(MP_PAYLOAD_FULL, 1, 1, v), v < 2 ? MP_OK : MP_ERR_FORMAT);
        assert_int_equal(patched(MP_PAYLOAD_DELTA, 1, 1, v), v == 1 ? MP_OK : MP_ERR_FORMAT);
        assert_int_equal(patched(MP_PAYLOAD_FULL, 2, 1, v), v < 2 ? MP_OK : MP_ERR_FORMAT);
        assert_int_equal(patched(MP_PAYLOAD_FULL, 44, 1, v), v <= 100 ? MP_OK : MP_ERR_FORMAT);
        for (size_t at = 0; at < MP_MANIFEST_SIGNED; at++)
            if (at == 3 || (at >= 45 && at < 48) || at >= 120)
                assert_int_equal(patched(MP_PAYLOAD_FULL, at, 1, v), v == 0 ? MP_OK : MP_ERR_FORMAT);
    }
    assert_int_equal(patched(MP_PAYLOAD_FULL, 12, 4, 0), MP_ERR_FORMAT);
    assert_int_equal(patched(MP_PAYLOAD_FULL, 20, 4, 0), MP_ERR_FORMAT);
    for (size_t at = 28; at <= 32; at += 4) {
        assert_int_equal(patched(MP_PAYLOAD_DELTA, at, 4, 0), MP_ERR_FORMAT);
        assert_int_equal(patched(MP_PAYLOAD_DELTA, at, 4, 1), MP_OK);
        assert_int_equal(patched(MP_PAYLOAD_DELTA, at, 4, MP_IMAGE_MAX), MP_OK);
        assert_int_equal(patched(MP_PAYLOAD_DELTA, at, 4, MP_IMAGE_MAX + 1), MP_ERR_FORMAT);
        assert_int_equal(patched(MP_PAYLOAD_DELTA, at, 4, UINT32_MAX), MP_ERR_FORMAT);
        assert_int_equal(patched(MP_PAYLOAD_FULL, at, 4, 99999), MP_ERR_FORMAT);
    }
    for (size_t at = 56; at < 88; at++)
        assert_int_equal(patched(MP_PAYLOAD_FULL, at, 1, 0xA5), MP_ERR_FORMAT);
}

static void every_flipped_bit_breaks_the_signature(void **state)
{
    struct mp_manifest m = sample(MP_PAYLOAD_FULL);
    struct sign_key key, other;
    uint8_t object[MP_MANIFEST_SIZE];
    (void)state;

    sign_key_make(&key, 16);
    sign_key_make(&other, 17);
    sign_manifest(object, &m, &key);
    assert_int_equal(mp_manifest_verify(crypto_sodium(), object, key.pub), MP_OK);
    assert_int_equal(mp_manifest_verify(crypto_sodium(), object, other.pub), MP_ERR_SIGNATURE);
    for (size_t bit = 0; bit < 8 * sizeof object; bit++) {
        object[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(mp_manifest_verify(crypto_sodium(), object, key.pub), MP_ERR_SIGNATURE);
        object[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static const struct mp_device device = {
    .product = 1,
    .model = 7,
    .hw_revision = 31,
    .battery_percent = 20,
    .version = 0x01020000,
    .release = 2,
    .counter_floor = 5,
    .slot_size = 100000,
    .epoch = 1000,
};

static void a_device_takes_only_what_fits(void **state)
{
    const struct mp_manifest good = sample(MP_PAYLOAD_FULL);
    struct mp_manifest m = good;
    struct mp_device d = device;
    (void)state;

#define CHECK(changes, result)                                                                                         \
    do {                                                                                                               \
        m = good;                                                                                                      \
        d = device;                                                                                                    \
        changes;                                                                                                       \
        assert_int_equal(mp_manifest_check(&m, &d, false), result);                                                    \
    } while (0)
    CHECK((void)0, MP_OK);
    CHECK(m.product = 2, MP_ERR_MODEL);
    CHECK(m.model = 8, MP_ERR_MODEL);
    CHECK(m.hw_revisions = 0x7FFFFFFF, MP_ERR_MODEL);
    CHECK((m.hw_revisions = 1, d.hw_revision = 0), MP_OK);
    CHECK(d.hw_revision = 32, MP_ERR_MODEL);
    CHECK(d.hw_revision = 255, MP_ERR_MODEL);
    CHECK(m.kind = MP_PAYLOAD_DELTA, MP_ERR_UNSUPPORTED);
    CHECK(d.slot_size = 99999, MP_ERR_ROOM);
    CHECK(m.security_counter = 4, MP_ERR_COUNTER);
    CHECK(m.security_counter = 21, MP_OK);
    CHECK(m.security_counter = 22, MP_ERR_COUNTER);
    CHECK((m.security_counter = UINT32_MAX, d.counter_floor = UINT32_MAX - 16), MP_OK);
    CHECK((m.security_counter = UINT32_MAX, d.counter_floor = UINT32_MAX - 17), MP_ERR_COUNTER);
    CHECK((m.security_counter = UINT32_MAX, d.counter_floor = UINT32_MAX - 3), MP_OK);
    CHECK((m.security_counter = 3, d.counter_floor = UINT32_MAX - 3), MP_ERR_COUNTER);
    CHECK(d.release = 3, MP_ERR_RELEASE);
    CHECK(d.release = UINT32_MAX, MP_ERR_RELEASE);
    CHECK(m.version_min = 0x01020000, MP_OK);
    CHECK(m.version_min = 0x01020001, MP_ERR_VERSION);
    CHECK(m.expiry_epoch = 1000, MP_OK);
    CHECK(m.expiry_epoch = 999, MP_ERR_EXPIRED);
    CHECK(d.battery_percent = 19, MP_ERR_BATTERY);
#undef CHECK
}

static void a_revert_lifts_the_release_rule_only(void **state)
{
    struct mp_manifest m = sample(MP_PAYLOAD_FULL);
    struct mp_device d = device;
    (void)state;

    d.release = 9;
    assert_int_equal(mp_manifest_check(&m, &d, false), MP_ERR_RELEASE);
    assert_int_equal(mp_manifest_check(&m, &d, true), MP_OK);
    d.counter_floor = 6;
    assert_int_equal(mp_manifest_check(&m, &d, true), MP_ERR_COUNTER);
}

static void an_image_gives_sizes_roots_and_digest(void **state)
{
    static uint8_t image[5000];
    struct mp_manifest m, out;
    uint8_t object[MP_MANIFEST_SIZE] = {0};
    (void)state;

    vectors_noise(9, image, sizeof image);
    sign_manifest_fill(&m, 7, 3);
    sign_manifest_image(&m, image, sizeof image);
    mp_manifest_put(object, &m);
    assert_int_equal(mp_manifest_get(&out, object, sizeof object), MP_OK);
    assert_int_equal(out.image_size, sizeof image);
    assert_memory_equal(&out.image_sha256, &m.image_sha256, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_match),
        cmocka_unit_test(signing_matches_the_vectors),
        cmocka_unit_test(every_length_but_one_is_refused),
        cmocka_unit_test(every_field_is_bounded),
        cmocka_unit_test(every_flipped_bit_breaks_the_signature),
        cmocka_unit_test(a_device_takes_only_what_fits),
        cmocka_unit_test(a_revert_lifts_the_release_rule_only),
        cmocka_unit_test(an_image_gives_sizes_roots_and_digest),
    };

    if (crypto_sodium() == NULL)
        return 1;
    return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
