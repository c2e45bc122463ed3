/*
 * The protocol's cryptography from libsodium, without libsodium's start-up: SipHash-2-4, SHA-256 and Ed25519 verification
 * draw no random numbers and select no implementation, so they need no sodium_init(). Programs call crypto_sodium()
 * instead; this is for parts (sodium.mk), where a bootloader exports the table to its images.
 */
#ifndef PORT_CRYPTO_TABLE_H
#define PORT_CRYPTO_TABLE_H

#include "proto/mp_types.h"

/* Constant, in flash on a part. The functions are reentrant, keep no state in RAM and use the caller's stack alone. */
extern const struct mp_crypto crypto_table;

/* What the table points to, for whoever fills a table of its own at link time. Contracts: struct mp_crypto. */
uint64_t crypto_siphash(const uint8_t key[16], const uint8_t *data, size_t len);
void crypto_sha256_init(struct mp_sha256 *state);
void crypto_sha256_update(struct mp_sha256 *state, const uint8_t *data, size_t len);
void crypto_sha256_final(struct mp_sha256 *state, uint8_t digest[32]);
int crypto_verify(const uint8_t sig[64], const uint8_t *message, size_t len, const uint8_t pub[32]);

#define CRYPTO_TABLE                                                                                                   \
    {                                                                                                                  \
        .siphash = crypto_siphash, .sha256_init = crypto_sha256_init, .sha256_update = crypto_sha256_update,           \
        .sha256_final = crypto_sha256_final, .verify = crypto_verify,                                                  \
    }

#endif
