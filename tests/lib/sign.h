/*
 * Signing for tests: key pairs from a seed byte, signed objects as bytes, a fleet's first keyset. Uses libsodium; the
 * tools have their own signing in meshd/ctl. Aborts when libsodium cannot start; otherwise nothing here fails.
 */
#ifndef TESTS_SIGN_H
#define TESTS_SIGN_H

#include "proto/object/directive.h"
#include "proto/object/keyset.h"
#include "proto/object/manifest.h"
#include "proto/object/receipt.h"

struct sign_key {
    uint8_t pub[32];
    uint8_t secret[64]; /* libsodium's form */
};

/* The Ed25519 key pair whose 32-byte RFC 8032 seed is the byte `seed` repeated. */
void sign_key_make(struct sign_key *key, uint8_t seed);

/* Signature over tag || object: object is the len bytes before the signature, tag one of MP_TAG_ in signed.h. */
void sign_bytes(uint8_t sig[64], const char *tag, const uint8_t *object, size_t len, const struct sign_key *key);

/* Whole objects; fields are taken as they are, in or out of range. The two with a size_t return the object's length. */
void sign_manifest(uint8_t out[MP_MANIFEST_SIZE], const struct mp_manifest *m, const struct sign_key *publisher);
size_t sign_directive(uint8_t out[MP_DIRECTIVE_MAX], const struct mp_directive *d, const struct sign_key *release);
size_t sign_receipt(uint8_t out[MP_RECEIPT_MAX], const struct mp_receipt *r, const struct sign_key *release);
/* first and second sign as the roots c->signer[0] and c->signer[1]. */
void sign_keychange(uint8_t out[MP_KEYCHANGE_SIZE], const struct mp_keychange *c, const struct sign_key *first,
                    const struct sign_key *second);

/* A fleet: roots from seeds 1, 2, 3, publisher 0 from 16, release 0 from 32, both generation 1, and the keyset of it.
 */
struct sign_fleet {
    struct sign_key root[3];
    struct sign_key publisher;
    struct sign_key release;
    struct mp_keyset keyset;
};
void sign_fleet_make(struct sign_fleet *fleet);

/* Fills a manifest with a valid full image in mind: publisher 0, generation 1, product 1, model, every hardware
 * revision, version = release << 24, security counter 0, no preconditions, a salt made from release. Image fields stay
 * zero. */
void sign_manifest_fill(struct mp_manifest *m, uint16_t model, uint32_t release);

/* Sets sizes, roots and SHA-256 from a canonical payload of kind full (1 to MP_IMAGE_MAX bytes) and m->salt. */
void sign_manifest_image(struct mp_manifest *m, const uint8_t *image, size_t size);

/* A valid directive for everybody: release key 0, generation 1, share 10000, confirm window 60 s; manifest `id`. */
void sign_directive_fill(struct mp_directive *d, enum mp_action action, uint16_t network, uint32_t release,
                         uint32_t sequence, const uint8_t id[8]);

#endif
