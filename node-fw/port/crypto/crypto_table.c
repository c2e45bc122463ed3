#include "crypto_table.h"

/* Not <sodium.h>: it asks for a header that only libsodium's configure writes. */
#include <sodium/crypto_hash_sha256.h>
#include <sodium/crypto_shorthash_siphash24.h>
#include <sodium/crypto_sign_ed25519.h>

#include "proto/mp_wire.h"

_Static_assert(sizeof(crypto_hash_sha256_state) <= sizeof(struct mp_sha256),
               "struct mp_sha256 must hold libsodium's state");
_Static_assert(_Alignof(crypto_hash_sha256_state) <= _Alignof(struct mp_sha256),
               "struct mp_sha256 must be aligned for it");

uint64_t crypto_siphash(const uint8_t key[16], const uint8_t *data, size_t len)
{
    uint8_t out[crypto_shorthash_siphash24_BYTES];
    crypto_shorthash_siphash24(out, data, len, key);
    return mp_get64(out);
}

void crypto_sha256_init(struct mp_sha256 *state)
{
    crypto_hash_sha256_init((crypto_hash_sha256_state *)(void *)state);
}

void crypto_sha256_update(struct mp_sha256 *state, const uint8_t *data, size_t len)
{
    crypto_hash_sha256_update((crypto_hash_sha256_state *)(void *)state, data, len);
}

void crypto_sha256_final(struct mp_sha256 *state, uint8_t digest[32])
{
    crypto_hash_sha256_final((crypto_hash_sha256_state *)(void *)state, digest);
}

int crypto_verify(const uint8_t sig[64], const uint8_t *message, size_t len, const uint8_t pub[32])
{
    return crypto_sign_ed25519_verify_detached(sig, message, len, pub) == 0 ? MP_OK : MP_ERR_SIGNATURE;
}

const struct mp_crypto crypto_table = CRYPTO_TABLE;
