/* Frame header and tag against the independent vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mesh/frame.h"
#include "tests/lib/vectors.h"

static void vectors_match(void **state)
{
    struct vectors v;
    (void)state;

    for (vectors_open(&v, "frame"); vectors_next(&v);) {
        uint8_t frame[MP_FRAME_MAX], again[MP_FRAME_MAX], body[MP_BODY_MAX], key[16];
        size_t len = vectors_hex(&v, "frame", frame, sizeof frame), body_len;
        struct mp_header h;

        vectors_hex(&v, "key", key, sizeof key);
        body_len = vectors_hex(&v, "body", body, sizeof body);
        assert_int_equal(mp_header_get(&h, frame, len), MP_OK);
        assert_int_equal(mp_frame_check(crypto_sodium(), frame, len, key), MP_OK);
        assert_int_equal(h.type, vectors_int(&v, "type"));
        assert_int_equal(h.key_id, vectors_int(&v, "key_id"));
        assert_int_equal(h.network, vectors_int(&v, "network"));
        assert_int_equal(h.source, vectors_int(&v, "source"));
        assert_int_equal(h.counter, vectors_int(&v, "counter"));
        assert_int_equal(h.round, vectors_int(&v, "round"));
        assert_int_equal(h.hop, vectors_int(&v, "hop"));
        mp_header_put(again, &h);
        memcpy(again + MP_HEADER_SIZE, body, body_len);
        assert_int_equal(mp_frame_seal(crypto_sodium(), again, MP_HEADER_SIZE + body_len, key), len);
        assert_memory_equal(again, frame, len);
        for (size_t bit = 0; bit < 8 * len; bit++) {
            frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(mp_frame_check(crypto_sodium(), frame, len, key), MP_ERR_TAG);
            frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
    assert_int_equal(v.count, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(vectors_match)};

    if (crypto_sodium() == NULL)
        return 1;
    return cmocka_run_group_tests_name("frame_vectors", tests, NULL, NULL);
}
