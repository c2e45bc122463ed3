/*
 * Key files: root, publisher and release keys as small text files with mode 0600, and what they sign.
 *
 *   meshfw-key 1                     a secret may be sealed with a passphrase
 *   role publisher                   (Argon2id and XSalsa20-Poly1305 of libsodium)
 *   id 0
 *   generation 1
 *   public 64 hex digits
 *   secret 64 hex digits     or      sealed OPSLIMIT MEMLIMIT SALT NONCE BOX
 *
 * A file without "secret" or "sealed" is a public key. Parsers are bounded (4 KB) and take nothing for granted.
 * Reentrant.
 */
#ifndef MD_KEYFILE_H
#define MD_KEYFILE_H

#include "proto/mp_types.h"
#include "proto/object/keyset.h"

#define MD_KEYFILE_MAX 4096
#define MD_PASSPHRASE_MAX 256

struct md_key {
    uint8_t role;        /* enum mp_role */
    uint8_t id;          /* root: index 0 to 2; others 0, 1 */
    uint16_t generation; /* 1 or more; roots of a first keyset: 0 */
    bool has_secret;
    bool is_sealed; /* read from a sealed file */
    uint8_t pub[32];
    uint8_t secret[64]; /* Ed25519 secret key of libsodium; wipe with md_key_wipe() */
};

/* Draws a key pair. 0 or MP_ERR_FORMAT (role or id out of range). */
int md_key_generate(struct md_key *k, enum mp_role role, uint8_t id, uint16_t generation);
void md_key_wipe(struct md_key *k);

/* Text form. passphrase NULL or "": not sealed. with_secret false: the public part only. Length, or MP_ERR_ROOM,
 * MP_ERR_STATE (no secret), MP_ERR_FORMAT (passphrase too long). */
int md_key_format(const struct md_key *k, bool with_secret, const char *passphrase, char *out, size_t cap);
/* 0, MP_ERR_LENGTH, MP_ERR_FORMAT (error has the sentence, with the line), MP_ERR_KEY (secret and public do not match),
 * MP_ERR_ABSENT (sealed and no passphrase given: public part is filled in), MP_ERR_SIGNATURE (wrong passphrase). */
int md_key_parse(struct md_key *k, const char *text, size_t len, const char *passphrase, char *error,
                 size_t error_size);

/* Writes a new file (mode 0600 with a secret, 0644 without; never overwrites). 0 or MP_ERR_STORE, with a sentence. */
int md_key_write(const char *path, const struct md_key *k, bool with_secret, const char *passphrase, char *error,
                 size_t error_size);
/* Reads a file; one that holds an unsealed secret and is readable by group or others is refused (MP_ERR_STATE). Else as
 * md_key_parse, or MP_ERR_STORE. */
int md_key_read(const char *path, struct md_key *k, const char *passphrase, char *error, size_t error_size);

const char *md_role_name(unsigned role); /* "root", "publisher", "release", "?" */

/* --- signing (Ed25519 over tag || object, SPEC 2). The object is complete but for its signature, which is appended at
 * `len` ----- */
enum md_object { MD_OBJECT_MANIFEST, MD_OBJECT_DIRECTIVE, MD_OBJECT_KEYCHANGE, MD_OBJECT_RECEIPT };
void md_sign(enum md_object kind, const uint8_t secret[64], const uint8_t *object, size_t len, uint8_t sig[64]);

/* A first keyset record (SPEC 2.5): three roots, and the first publisher and release key (generation 1, ids as in the
 * keys). 0 or MP_ERR_KEY (a role or index is wrong, or a key is used twice). */
int md_keyset_make(const struct mp_crypto *crypto, const struct md_key root[3], const struct md_key *publisher,
                   const struct md_key *release, uint8_t record[MP_KEYSET_SIZE]);

/*
 * Makes the key change that follows `set`, signed by two different roots of it, and applies it to a copy as a check.
 * key: install: the new public key (its generation is what it gets: above the role's highest; 0: chosen); revoke: the
 * one in force. 0, MP_ERR_KEY (a signer is no root of the set), MP_ERR_FROZEN, or what mp_keyset_apply() said.
 */
int md_keychange_make(const struct mp_crypto *crypto, const struct mp_keyset *set, enum mp_keyop op,
                      const struct md_key *key, const struct md_key *signer_a, const struct md_key *signer_b,
                      uint8_t out[MP_KEYCHANGE_SIZE]);

#endif
