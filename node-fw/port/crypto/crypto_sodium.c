#include "crypto_sodium.h"

#include <sodium.h>

#include "proto/mp_wire.h"

_Static_assert(sizeof(crypto_hash_sha256_state) <= sizeof(struct mp_sha256),
               "struct mp_sha256 must hold libsodium's state");
_Static_assert(_Alignof(crypto_hash_sha256_state) <= _Alignof(struct mp_sha256),
               "struct mp_sha256 must be aligned for it");

static uint64_t siphash(const uint8_t key[16], const uint8_t *data, size_t len)
{
    uint8_t out[crypto_shorthash_BYTES];
    crypto_shorthash(out, data, len, key);
    return mp_get64(out);
}

static void sha256_init(struct mp_sha256 *state)
{
    crypto_hash_sha256_init((crypto_hash_sha256_state *)(void *)state);
}

static void sha256_update(struct mp_sha256 *state, const uint8_t *data, size_t len)
{
    crypto_hash_sha256_update((crypto_hash_sha256_state *)(void *)state, data, len);
}

static void sha256_final(struct mp_sha256 *state, uint8_t digest[32])
{
    crypto_hash_sha256_final((crypto_hash_sha256_state *)(void *)state, digest);
}

static int verify(const uint8_t sig[64], const uint8_t *message, size_t len, const uint8_t pub[32])
{
    return crypto_sign_verify_detached(sig, message, len, pub) == 0 ? MP_OK : MP_ERR_SIGNATURE;
}

static const struct mp_crypto table = {
    .siphash = siphash,
    .sha256_init = sha256_init,
    .sha256_update = sha256_update,
    .sha256_final = sha256_final,
    .verify = verify,
};

const struct mp_crypto *crypto_sodium(void)
{
    return sodium_init() < 0 ? NULL : &table;
}
