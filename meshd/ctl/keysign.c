/*
 * What keys make: signatures, the first keyset, key changes.
 */
#include <sodium.h>
#include <string.h>

#include "keyfile.h"
#include "proto/object/signed.h"

void md_sign(enum md_object kind, const uint8_t secret[64], const uint8_t *object, size_t len, uint8_t sig[64])
{
    static const char *const tags[] = {MP_TAG_MANIFEST, MP_TAG_DIRECTIVE, MP_TAG_KEYCHANGE, MP_TAG_RECEIPT};
    uint8_t message[MP_SIGNED_MAX];
    size_t message_len = mp_signed_message(message, tags[kind], object, len);
    crypto_sign_detached(sig, NULL, message, message_len, secret);
}

static bool is_same(const struct md_key *a, const struct md_key *b)
{
    return memcmp(a->pub, b->pub, 32) == 0;
}

int md_keyset_make(const struct mp_crypto *crypto, const struct md_key root[3], const struct md_key *publisher,
                   const struct md_key *release, uint8_t record[MP_KEYSET_SIZE])
{
    uint8_t pub[3][32];
    struct mp_keyset set;
    for (unsigned i = 0; i < 3; i++) {
        if (root[i].role != MP_ROLE_ROOT || root[i].id != i || is_same(&root[i], &root[(i + 1) % 3]) ||
            is_same(&root[i], publisher) || is_same(&root[i], release))
            return MP_ERR_KEY;
        memcpy(pub[i], root[i].pub, 32);
    }
    if (publisher->role != MP_ROLE_PUBLISHER || release->role != MP_ROLE_RELEASE || is_same(publisher, release) ||
        publisher->id > 1 || release->id > 1)
        return MP_ERR_KEY;
    mp_keyset_init(&set, crypto, (const uint8_t(*)[32])pub);
    struct mp_key *slot = &set.publisher[publisher->id];
    slot->state = MP_KEY_VALID;
    slot->generation = 1;
    memcpy(slot->pub, publisher->pub, 32);
    slot = &set.release[release->id];
    slot->state = MP_KEY_VALID;
    slot->generation = 1;
    memcpy(slot->pub, release->pub, 32);
    mp_keyset_put(record, &set);
    return MP_OK;
}

static int root_index(const struct mp_keyset *set, const struct md_key *key)
{
    for (int i = 0; i < 3; i++)
        if (key->has_secret && memcmp(set->root[i], key->pub, 32) == 0)
            return i;
    return -1;
}

static uint16_t next_generation(const struct mp_keyset *set, const struct md_key *key)
{
    if (key->role == MP_ROLE_ROOT)
        return (uint16_t)(set->number + 1);
    const struct mp_key *keys = key->role == MP_ROLE_PUBLISHER ? set->publisher : set->release;
    uint16_t highest = keys[0].generation > keys[1].generation ? keys[0].generation : keys[1].generation;
    return (uint16_t)(highest + 1);
}

int md_keychange_make(const struct mp_crypto *crypto, const struct mp_keyset *set, enum mp_keyop op,
                      const struct md_key *key, const struct md_key *signer_a, const struct md_key *signer_b,
                      uint8_t out[MP_KEYCHANGE_SIZE])
{
    int a = root_index(set, signer_a), b = root_index(set, signer_b);
    struct mp_keyset copy = *set;
    struct mp_keychange change = {
        .op = (uint8_t)op, .role = key->role, .key_id = key->id, .number = (uint16_t)(set->number + 1)};
    if (set->frozen)
        return MP_ERR_FROZEN;
    if (a < 0 || b < 0 || a == b)
        return MP_ERR_KEY;
    change.signer[0] = (uint8_t)a;
    change.signer[1] = (uint8_t)b;
    change.generation = key->generation;
    if (op == MP_KEYOP_INSTALL && (key->generation == 0 || key->role == MP_ROLE_ROOT))
        change.generation = next_generation(set, key);
    memcpy(change.previous, set->head, 32);
    memcpy(change.key, key->pub, 32);
    mp_keychange_put(out, &change);
    md_sign(MD_OBJECT_KEYCHANGE, signer_a->secret, out, MP_KEYCHANGE_SIGNED, out + MP_KEYCHANGE_SIGNED);
    md_sign(MD_OBJECT_KEYCHANGE, signer_b->secret, out, MP_KEYCHANGE_SIGNED, out + MP_KEYCHANGE_SIGNED + 64);
    return mp_keyset_apply(&copy, crypto, out, MP_KEYCHANGE_SIZE);
}
