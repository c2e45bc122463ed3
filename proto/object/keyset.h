/*
 * Keyset: the keys in force, and the root-signed statements that change them (docs/SPEC.md 2.3, 2.5). Reentrant.
 */
#ifndef MP_KEYSET_H
#define MP_KEYSET_H

#include "../mp_types.h"

#define MP_KEYCHANGE_SIZE 200
#define MP_KEYCHANGE_SIGNED 72
#define MP_KEYSET_SIZE 276

enum mp_role { MP_ROLE_ROOT = 1, MP_ROLE_PUBLISHER = 2, MP_ROLE_RELEASE = 3 };
enum mp_keyop { MP_KEYOP_INSTALL = 1, MP_KEYOP_REVOKE = 2 };
enum mp_keystate { MP_KEY_NONE = 0, MP_KEY_VALID = 1, MP_KEY_REVOKED = 2 };

struct mp_key {
    uint8_t state; /* enum mp_keystate */
    uint16_t generation;
    uint8_t pub[32];
};

struct mp_keyset {
    uint16_t number; /* of the newest key change, 0 none */
    bool frozen;
    uint8_t head[32]; /* mp_keychange_digest() of the newest key change; SHA-256 of the root keys when number is 0 */
    uint8_t root[3][32];
    struct mp_key publisher[2];
    struct mp_key release[2];
};

struct mp_keychange {
    uint8_t op;
    uint8_t role;
    uint8_t key_id;
    uint8_t signer[2]; /* root indices */
    uint16_t number;
    uint16_t generation;
    uint8_t previous[32];
    uint8_t key[32];
};

/* A first keyset: roots given, no other keys, number 0, head = SHA-256(root 0 || root 1 || root 2). */
void mp_keyset_init(struct mp_keyset *set, const struct mp_crypto *crypto, const uint8_t root[3][32]);

/* Storage form (SPEC 2.5). get: 0, MP_ERR_LENGTH, MP_ERR_FORMAT (a state, flag or reserved byte out of range). */
void mp_keyset_put(uint8_t out[MP_KEYSET_SIZE], const struct mp_keyset *set);
int mp_keyset_get(struct mp_keyset *set, const uint8_t *data, size_t len);

/* Key for an object: copies it to pub. 0, MP_ERR_KEY (none there or another generation), MP_ERR_REVOKED, MP_ERR_FORMAT
 * (role or id out of range). */
int mp_keyset_find(const struct mp_keyset *set, enum mp_role role, uint8_t key_id, uint16_t generation,
                   uint8_t pub[32]);

/* Key change codec. put leaves the signatures to the caller; get checks every range, not signatures. 0, MP_ERR_LENGTH,
 * MP_ERR_FORMAT. */
void mp_keychange_put(uint8_t out[MP_KEYCHANGE_SIZE], const struct mp_keychange *c);
int mp_keychange_get(struct mp_keychange *c, const uint8_t *data, size_t len);
/* SHA-256 of the statement, which is the 72 bytes before the signatures: a co-signer alone can make further valid
 * signatures of one statement, and that must neither look like another statement nor break the chain. */
void mp_keychange_digest(const struct mp_crypto *crypto, const uint8_t data[MP_KEYCHANGE_SIZE], uint8_t digest[32]);

/*
 * Applies a statement. On success set is changed and 0 returned; on any error set is unchanged, except that a proven
 * fork sets set->frozen. Costs at most two signature checks. The first that holds:
 *   MP_ERR_LENGTH, MP_ERR_FORMAT  malformed
 *   MP_ERR_FROZEN      the chain is frozen already
 *   MP_ERR_FROZEN      fork: the statement has the number of the newest one and another digest, and both signatures
 *                      verify under the roots held (set->frozen is now set)
 *   MP_ERR_OLD         any other statement whose number is not above the newest
 *   MP_ERR_GAP         number more than one above the newest
 *   MP_ERR_KEY         previous digest is not the head; generation not above the highest the role has had; revoke of a
 *                      key that is not the valid one in that place; a root that is a root already; both signers are one
 * key MP_ERR_SIGNATURE   either signature wrong under the roots held, which are those before the statement
 *
 * The fork rule: a root key signs at most one statement of a number, so two roots that signed another one of the newest
 * number have broken their word, whatever it follows. That is all the set can prove: it keeps neither older digests nor
 * a root that the newest statement replaced, so a statement signed by the replaced key is only MP_ERR_OLD. A chain that
 * left ours earlier is never followed (MP_ERR_KEY or MP_ERR_GAP); its statement of our newest number proves the fork.
 * Root keys therefore serve one chain only.
 */
int mp_keyset_apply(struct mp_keyset *set, const struct mp_crypto *crypto, const uint8_t *data, size_t len);

#endif
