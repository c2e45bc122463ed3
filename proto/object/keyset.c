#include "keyset.h"

#include <string.h>

#include "../mp_wire.h"
#include "signed.h"

enum { FORMAT = 1, KEY_SIZE = 36, KEYS_AT = 36 + 3 * 32 };

static void digest_of(const struct mp_crypto *crypto, const uint8_t *data, size_t len, uint8_t digest[32])
{
    struct mp_sha256 state;

    crypto->sha256_init(&state);
    crypto->sha256_update(&state, data, len);
    crypto->sha256_final(&state, digest);
}

void mp_keyset_init(struct mp_keyset *set, const struct mp_crypto *crypto, const uint8_t root[3][32])
{
    memset(set, 0, sizeof *set);
    memcpy(set->root, root, sizeof set->root);
    digest_of(crypto, set->root[0], sizeof set->root, set->head);
}

/* The two keys of a role, NULL for root or no role at all. */
static struct mp_key *keys_of(struct mp_keyset *set, unsigned role)
{
    if (role == MP_ROLE_PUBLISHER)
        return set->publisher;
    return role == MP_ROLE_RELEASE ? set->release : NULL;
}

void mp_keyset_put(uint8_t out[MP_KEYSET_SIZE], const struct mp_keyset *set)
{
    mp_put16(out, set->number);
    out[2] = set->frozen;
    out[3] = 0;
    memcpy(out + 4, set->head, 32);
    memcpy(out + 36, set->root, sizeof set->root);
    for (unsigned i = 0; i < 4; i++) {
        const struct mp_key *key = i < 2 ? &set->publisher[i] : &set->release[i - 2];
        uint8_t *p = out + KEYS_AT + i * KEY_SIZE;

        p[0] = key->state;
        p[1] = 0;
        mp_put16(p + 2, key->generation);
        memcpy(p + 4, key->pub, 32);
    }
}

int mp_keyset_get(struct mp_keyset *set, const uint8_t *data, size_t len)
{
    if (len != MP_KEYSET_SIZE)
        return MP_ERR_LENGTH;
    if (data[2] > 1 || data[3] != 0)
        return MP_ERR_FORMAT;
    set->number = mp_get16(data);
    set->frozen = data[2] == 1;
    memcpy(set->head, data + 4, 32);
    memcpy(set->root, data + 36, sizeof set->root);
    for (unsigned i = 0; i < 4; i++) {
        struct mp_key *key = i < 2 ? &set->publisher[i] : &set->release[i - 2];
        const uint8_t *p = data + KEYS_AT + i * KEY_SIZE;

        if (p[0] > MP_KEY_REVOKED || p[1] != 0)
            return MP_ERR_FORMAT;
        key->state = p[0];
        key->generation = mp_get16(p + 2);
        memcpy(key->pub, p + 4, 32);
    }
    return MP_OK;
}

int mp_keyset_find(const struct mp_keyset *set, enum mp_role role, uint8_t key_id, uint16_t generation, uint8_t pub[32])
{
    const struct mp_key *key;

    if ((role != MP_ROLE_PUBLISHER && role != MP_ROLE_RELEASE) || key_id > 1)
        return MP_ERR_FORMAT;
    key = role == MP_ROLE_PUBLISHER ? &set->publisher[key_id] : &set->release[key_id];
    if (key->state == MP_KEY_NONE || key->generation != generation)
        return MP_ERR_KEY;
    if (key->state != MP_KEY_VALID)
        return MP_ERR_REVOKED;
    memcpy(pub, key->pub, 32);
    return MP_OK;
}

void mp_keychange_put(uint8_t out[MP_KEYCHANGE_SIZE], const struct mp_keychange *c)
{
    out[0] = (uint8_t)(FORMAT | (uint32_t)c->op << 4);
    out[1] = (uint8_t)((c->role & 15u) | (uint32_t)c->key_id << 4);
    out[2] = (uint8_t)((c->signer[0] & 15u) | (uint32_t)c->signer[1] << 4);
    out[3] = 0;
    mp_put16(out + 4, c->number);
    mp_put16(out + 6, c->generation);
    memcpy(out + 8, c->previous, 32);
    memcpy(out + 40, c->key, 32);
}

static bool is_in_range(const struct mp_keychange *c)
{
    if (c->op != MP_KEYOP_INSTALL && c->op != MP_KEYOP_REVOKE)
        return false;
    if (c->signer[0] > 2 || c->signer[1] > 2 || c->signer[0] == c->signer[1])
        return false;
    if (c->number == 0 || c->generation == 0)
        return false;
    if (c->role == MP_ROLE_ROOT)
        return c->op == MP_KEYOP_INSTALL && c->key_id <= 2 && c->generation == c->number;
    return (c->role == MP_ROLE_PUBLISHER || c->role == MP_ROLE_RELEASE) && c->key_id <= 1;
}

int mp_keychange_get(struct mp_keychange *c, const uint8_t *data, size_t len)
{
    if (len != MP_KEYCHANGE_SIZE)
        return MP_ERR_LENGTH;
    if ((data[0] & 15u) != FORMAT || data[3] != 0)
        return MP_ERR_FORMAT;
    c->op = data[0] >> 4;
    c->role = data[1] & 15u;
    c->key_id = data[1] >> 4;
    c->signer[0] = data[2] & 15u;
    c->signer[1] = data[2] >> 4;
    c->number = mp_get16(data + 4);
    c->generation = mp_get16(data + 6);
    memcpy(c->previous, data + 8, 32);
    memcpy(c->key, data + 40, 32);
    return is_in_range(c) ? MP_OK : MP_ERR_FORMAT;
}

void mp_keychange_digest(const struct mp_crypto *crypto, const uint8_t data[MP_KEYCHANGE_SIZE], uint8_t digest[32])
{
    digest_of(crypto, data, MP_KEYCHANGE_SIGNED, digest);
}

/* Both signatures under the roots in force. The signers differ by index; two places with one key are one signer. */
static int verify_both(const struct mp_keyset *set, const struct mp_crypto *crypto, const struct mp_keychange *c,
                       const uint8_t *data)
{
    if (memcmp(set->root[c->signer[0]], set->root[c->signer[1]], 32) == 0)
        return MP_ERR_KEY;
    for (unsigned i = 0; i < 2; i++)
        if (mp_signed_verify(crypto, MP_TAG_KEYCHANGE, data, MP_KEYCHANGE_SIGNED,
                             data + MP_KEYCHANGE_SIGNED + i * MP_SIGNATURE_SIZE, set->root[c->signer[i]]) != MP_OK)
            return MP_ERR_SIGNATURE;
    return MP_OK;
}

/* Whether the keys held allow what the statement asks for. */
static bool is_possible(struct mp_keyset *set, const struct mp_keychange *c)
{
    const struct mp_key *keys = keys_of(set, c->role);

    if (keys == NULL) {
        /* A key that is root twice would let its holder reach the threshold alone. */
        for (unsigned i = 0; i < 3; i++)
            if (memcmp(set->root[i], c->key, 32) == 0)
                return false;
        return true;
    }
    if (c->op == MP_KEYOP_INSTALL)
        /* Installs only ever raise a generation and revokes keep it, so the two held include the highest there was. */
        return c->generation > keys[0].generation && c->generation > keys[1].generation;
    keys += c->key_id;
    return keys->state == MP_KEY_VALID && keys->generation == c->generation && memcmp(keys->pub, c->key, 32) == 0;
}

static void change(struct mp_keyset *set, const struct mp_keychange *c)
{
    struct mp_key *key = keys_of(set, c->role);

    if (key == NULL) {
        memcpy(set->root[c->key_id], c->key, 32);
        return;
    }
    key += c->key_id;
    key->state = c->op == MP_KEYOP_INSTALL ? MP_KEY_VALID : MP_KEY_REVOKED;
    key->generation = c->generation;
    memcpy(key->pub, c->key, 32);
}

int mp_keyset_apply(struct mp_keyset *set, const struct mp_crypto *crypto, const uint8_t *data, size_t len)
{
    struct mp_keychange c;
    uint8_t digest[32];
    int error = mp_keychange_get(&c, data, len);

    if (error != MP_OK)
        return error;
    if (set->frozen)
        return MP_ERR_FROZEN;
    if (c.number < set->number)
        return MP_ERR_OLD;
    mp_keychange_digest(crypto, data, digest);
    if (c.number == set->number) {
        if (memcmp(digest, set->head, 32) == 0 || verify_both(set, crypto, &c, data) != MP_OK)
            return MP_ERR_OLD;
        set->frozen = true;
        return MP_ERR_FROZEN;
    }
    if (c.number - set->number > 1)
        return MP_ERR_GAP;
    if (memcmp(c.previous, set->head, 32) != 0 || !is_possible(set, &c))
        return MP_ERR_KEY;
    error = verify_both(set, crypto, &c, data);
    if (error != MP_OK)
        return error;
    change(set, &c);
    set->number = c.number;
    memcpy(set->head, digest, 32);
    return MP_OK;
}
