/*
 * The small parts of verification against libsodium's: the input as a message, hashed in pieces that its first byte
 * chooses, and its last 64 bytes as a number to be reduced.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_small.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const size_t piece = size > 0 ? 1u + data[0] : 1;
    uint8_t expected[64], got[64];
    crypto_hash_sha512_state state;

    crypto_small_sha512_init(&state);
    for (size_t at = 0; at < size; at += piece)
        crypto_small_sha512_update(&state, data + at, size - at < piece ? size - at : piece);
    crypto_small_sha512_final(&state, got);
    crypto_hash_sha512(expected, data, size);
    expect(memcmp(got, expected, 64) == 0);
    if (size >= 64) {
        memcpy(got, data + size - 64, 64);
        crypto_core_ed25519_scalar_reduce(expected, got);
        crypto_small_reduce(got);
        expect(memcmp(got, expected, 32) == 0);
        expect(sodium_is_zero(got + 32, 32));
    }
    return 0;
}
