/*
 * Two parts of Ed25519 verification written for size, which libsodium's verification is built with on parts (sodium.mk)
 * instead of its own, unrolled ones: SHA-512, and reduction of its result modulo the group's order. Together they are an
 * eighth of the size and take about a twentieth of a verification's time. Everything they see is public, so their time
 * may depend on it; the reduction's does.
 *
 * tests/unit/test_crypto_small.c compares them with libsodium's. Reentrant, no state but the caller's.
 */
#ifndef PORT_CRYPTO_SMALL_H
#define PORT_CRYPTO_SMALL_H

#include <sodium/crypto_hash_sha512.h>
#include <stdint.h>

/* SHA-512 (FIPS 180-4, section 6.4), with libsodium's state, prototypes and contract: 0 always. Of the state's two
 * counters it uses the second, in bytes. */
int crypto_small_sha512_init(crypto_hash_sha512_state *state);
int crypto_small_sha512_update(crypto_hash_sha512_state *state, const unsigned char *data, unsigned long long len);
int crypto_small_sha512_final(crypto_hash_sha512_state *state, unsigned char *out);

/* s, 64 bytes little endian, becomes s mod L in its first 32 bytes; L is the order of the base point (RFC 8032, section
 * 5.1). The other 32 are cleared. */
void crypto_small_reduce(unsigned char *s);

#endif
