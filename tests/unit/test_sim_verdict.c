/* Remembered cryptography: the right answer to every question, computed once; a lying memory is found out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "sim/fleet/verdict.h"

static unsigned failures;

static void on_fail(void *ctx, const char *why)
{
    (void)ctx;
    assert_non_null(why);
    failures++;
}

static const struct mp_crypto *open_real(void)
{
    const struct mp_crypto *crypto = sim_verdict_open(crypto_sodium(), on_fail, NULL);

    assert_non_null(crypto);
    failures = 0;
    return crypto;
}

static void fill(uint8_t *data, size_t len, uint32_t seed)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
}

static void sha256_once(const struct mp_crypto *crypto, const uint8_t *data, size_t len, size_t piece,
                        uint8_t digest[32])
{
    struct mp_sha256 state;

    crypto->sha256_init(&state);
    for (size_t at = 0; at < len; at += piece)
        crypto->sha256_update(&state, data + at, len - at < piece ? len - at : piece);
    crypto->sha256_final(&state, digest);
}

/* Every length around the buffer's, twice, so that both the computed and the remembered answer are looked at. */
static void answers_are_the_real_ones(void **state)
{
    const struct mp_crypto *real = crypto_sodium(), *crypto = open_real();
    uint8_t data[600], key[16], ours[32], theirs[32];

    (void)state;
    for (size_t len = 0; len < sizeof data; len += len < 300 ? 1 : 37) {
        fill(data, sizeof data, (uint32_t)len);
        fill(key, sizeof key, (uint32_t)len + 9);
        for (unsigned turn = 0; turn < 2; turn++) {
            assert_true(crypto->siphash(key, data, len) == real->siphash(key, data, len));
            sha256_once(crypto, data, len, 7 + turn * 100, ours);
            sha256_once(real, data, len, 600, theirs);
            assert_memory_equal(ours, theirs, 32);
        }
    }
    assert_int_equal(failures, 0);
    sim_verdict_close();
}

/* One bit more or less in key or data is another question. */
static void a_bit_matters(void **state)
{
    const struct mp_crypto *real = crypto_sodium(), *crypto = open_real();
    uint8_t data[60], key[16], ours[32], theirs[32];

    (void)state;
    fill(data, sizeof data, 1);
    fill(key, sizeof key, 2);
    for (unsigned bit = 0; bit < 8 * sizeof data; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        key[bit / 8 % 16] ^= 1;
        assert_true(crypto->siphash(key, data, sizeof data) == real->siphash(key, data, sizeof data));
        key[bit / 8 % 16] ^= 1;
        assert_true(crypto->siphash(key, data, sizeof data) == real->siphash(key, data, sizeof data));
        sha256_once(crypto, data, sizeof data, 60, ours);
        sha256_once(real, data, sizeof data, 60, theirs);
        assert_memory_equal(ours, theirs, 32);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    sim_verdict_close();
}

static void computes_once(void **state)
{
    const struct mp_crypto *crypto = open_real();
    uint8_t data[200], key[16] = {1}, digest[32];

    (void)state;
    fill(data, sizeof data, 3);
    for (unsigned i = 0; i < 5000; i++) {
        (void)crypto->siphash(key, data, sizeof data);
        sha256_once(crypto, data, sizeof data, 50, digest);
    }
    struct sim_verdict_counts c = sim_verdict_count();

    assert_int_equal(c.siphash, 5000);
    assert_int_equal(c.siphash_computed, 1);
    assert_int_equal(c.sha256, 5000);
    assert_int_equal(c.sha256_computed, 1);
    assert_int_equal(c.rechecked, (2 * 5000 - 2) / 1024);
    assert_int_equal(failures, 0);
    sim_verdict_close();
}

/* A hash begun while another one is going on, and one that is never ended. */
static void hashes_may_overlap(void **state)
{
    const struct mp_crypto *real = crypto_sodium(), *crypto = open_real();
    uint8_t a[400], b[100], ours[32], theirs[32];
    struct mp_sha256 first, second;

    (void)state;
    fill(a, sizeof a, 4);
    fill(b, sizeof b, 5);
    crypto->sha256_init(&first);
    crypto->sha256_update(&first, a, 100);
    crypto->sha256_init(&second);
    crypto->sha256_update(&second, b, sizeof b);
    crypto->sha256_update(&first, a + 100, 300);
    crypto->sha256_final(&second, ours);
    sha256_once(real, b, sizeof b, 100, theirs);
    assert_memory_equal(ours, theirs, 32);
    crypto->sha256_final(&first, ours);
    sha256_once(real, a, sizeof a, 400, theirs);
    assert_memory_equal(ours, theirs, 32);

    crypto->sha256_init(&first);
    crypto->sha256_update(&first, a, 10);
    sha256_once(crypto, b, sizeof b, 30, ours);
    sha256_once(real, b, sizeof b, 100, theirs);
    assert_memory_equal(ours, theirs, 32);
    sim_verdict_close();
}

static void signatures(void **state)
{
    const struct mp_crypto *crypto = open_real();
    uint8_t pub[32], secret[64], sig[64], message[152];

    (void)state;
    crypto_sign_keypair(pub, secret);
    fill(message, sizeof message, 6);
    crypto_sign_detached(sig, NULL, message, sizeof message, secret);
    for (unsigned turn = 0; turn < 3; turn++) {
        assert_int_equal(crypto->verify(sig, message, sizeof message, pub), MP_OK);
        message[151] ^= 1;
        assert_int_equal(crypto->verify(sig, message, sizeof message, pub), MP_ERR_SIGNATURE);
        message[151] ^= 1;
        pub[0] ^= 1;
        assert_int_equal(crypto->verify(sig, message, sizeof message, pub), MP_ERR_SIGNATURE);
        pub[0] ^= 1;
        sig[63] ^= 1;
        assert_int_equal(crypto->verify(sig, message, sizeof message, pub), MP_ERR_SIGNATURE);
        sig[63] ^= 1;
    }
    for (unsigned turn = 0; turn < 100; turn++)
        assert_int_equal(crypto->verify(sig, message, sizeof message, pub), MP_OK);
    struct sim_verdict_counts c = sim_verdict_count();

    assert_int_equal(c.verify, 112);
    assert_true(c.verify_computed <= 13);
    assert_int_equal(failures, 0);
    sim_verdict_close();
}

/* The real function changes its mind: what a broken memory would look like. */
static unsigned asked;

static uint64_t fickle_siphash(const uint8_t key[16], const uint8_t *data, size_t len)
{
    (void)key;
    (void)data;
    (void)len;
    return asked++ == 0 ? 1 : 2;
}

static int fickle_verify(const uint8_t sig[64], const uint8_t *message, size_t len, const uint8_t pub[32])
{
    (void)sig;
    (void)message;
    (void)len;
    (void)pub;
    return asked++ == 0 ? MP_OK : MP_ERR_SIGNATURE;
}

static void a_wrong_answer_is_found(void **state)
{
    struct mp_crypto fickle = *crypto_sodium();
    uint8_t key[16] = {0}, data[64] = {0};

    (void)state;
    fickle.siphash = fickle_siphash;
    fickle.verify = fickle_verify;
    for (unsigned which = 0; which < 2; which++) {
        const struct mp_crypto *crypto = sim_verdict_open(&fickle, on_fail, NULL);
        asked = failures = 0;
        for (unsigned i = 0; i <= 1024 && failures == 0; i++)
            (void)(which == 0 ? (int)crypto->siphash(key, data, 40) : crypto->verify(data, data, 10, data));
        assert_int_equal(failures, 1);
        assert_int_equal(asked, 2);
    }
    sim_verdict_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_the_real_ones),
        cmocka_unit_test(a_bit_matters),
        cmocka_unit_test(computes_once),
        cmocka_unit_test(hashes_may_overlap),
        cmocka_unit_test(signatures),
        cmocka_unit_test(a_wrong_answer_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
