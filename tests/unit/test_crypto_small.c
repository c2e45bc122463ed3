/* The small parts of verification against libsodium's, and against published vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sodium.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_small.h"
#include "tests/lib/vectors.h"

/* L, little endian (RFC 8032, section 5.1). */
static const uint8_t order[32] = {0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58,       0xD6,
                                  0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE, 0x14, [31] = 0x10};

static void small_sha512(const uint8_t *data, size_t len, size_t piece, uint8_t out[64])
{
    crypto_hash_sha512_state state;

    memset(&state, 0xA5, sizeof state);
    assert_int_equal(crypto_small_sha512_init(&state), 0);
    for (size_t at = 0; at < len; at += piece)
        assert_int_equal(crypto_small_sha512_update(&state, data + at, len - at < piece ? len - at : piece), 0);
    assert_int_equal(crypto_small_sha512_final(&state, out), 0);
}

/* FIPS 180-4's examples: one block and two. */
static void sha512_published(void **state)
{
    static const char two[] =
        "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrs"
        "mnopqrstnopqrstu";
    uint8_t expected[64], out[64];

    (void)state;
    sodium_hex2bin(expected, 64,
                   "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3fee"
                   "bbd454d4423643ce80e2a9ac94fa54ca49f",
                   128, NULL, NULL, NULL);
    small_sha512((const uint8_t *)"abc", 3, 3, out);
    assert_memory_equal(out, expected, 64);
    sodium_hex2bin(expected, 64,
                   "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018501d289e4900f7e4331b99dec4b54"
                   "33ac7d329eeb6dd26545e96e55b874be909",
                   128, NULL, NULL, NULL);
    small_sha512((const uint8_t *)two, strlen(two), 1, out);
    assert_memory_equal(out, expected, 64);
}

static void sha512_of_every_length(void **state)
{
    static const size_t piece[] = {1, 7, 127, 128, 129, 1000};
    uint8_t data[600], expected[64], out[64];

    (void)state;
    vectors_noise(1, data, sizeof data);
    for (size_t len = 0; len <= sizeof data; len++) {
        crypto_hash_sha512(expected, data, len);
        small_sha512(data, len, piece[len % 6], out);
        assert_memory_equal(out, expected, 64);
    }
}

static void check_reduce(const uint8_t s[64])
{
    uint8_t expected[32], out[64];

    memcpy(out, s, 64);
    crypto_core_ed25519_scalar_reduce(expected, s);
    crypto_small_reduce(out);
    assert_memory_equal(out, expected, 32);
    assert_true(sodium_is_zero(out + 32, 32));
}

/* s += n */
static void add(uint8_t s[64], const uint8_t n[64])
{
    sodium_add(s, n, 64);
}

/* k L - 1, k L and k L + 1 for k = 1, 2, ..., 2^258, each power of two times L and its sum with the one before. */
static void reduces_around_multiples(void **state)
{
    static const uint8_t one[64] = {1};
    uint8_t power[64] = {0}, sum[64] = {0}, s[64], minus_one[64];

    (void)state;
    memcpy(power, order, sizeof order);
    memset(minus_one, 0xFF, sizeof minus_one);
    for (unsigned i = 0; i < 259; i++) {
        add(sum, power);
        for (unsigned which = 0; which < 2; which++) {
            memcpy(s, which == 0 ? power : sum, sizeof s);
            check_reduce(s);
            add(s, one);
            check_reduce(s);
            add(s, minus_one);
            add(s, minus_one);
            check_reduce(s);
        }
        memcpy(s, power, sizeof s);
        add(power, s);
    }
}

static void reduces_anything(void **state)
{
    uint8_t s[64];

    (void)state;
    for (unsigned i = 0; i < 512; i++) {
        memset(s, 0, sizeof s);
        s[i / 8] = (uint8_t)(1u << i % 8);
        check_reduce(s);
        for (unsigned k = 0; k < 64; k++)
            s[k] = (uint8_t)~s[k];
        check_reduce(s);
    }
    for (uint32_t seed = 0; seed < 5000; seed++) {
        vectors_noise(seed, s, sizeof s);
        check_reduce(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha512_published),
        cmocka_unit_test(sha512_of_every_length),
        cmocka_unit_test(reduces_around_multiples),
        cmocka_unit_test(reduces_anything),
    };

    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests_name("crypto_small", tests, NULL, NULL);
}
