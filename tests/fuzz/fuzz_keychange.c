/*
 * Key changes and keyset records. The input is a record, then statements of 200 bytes, which an accepting signature
 * check lets through: whatever comes, the number only counts up by one, generations never fall, no root is there twice
 * unless it was so from the start, a frozen chain stays as it is, and an error changes nothing but the freeze.
 */
#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/object/keyset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds)
        abort();
}

/* Signatures that begin with an odd byte are good. */
static int verify(const uint8_t sig[64], const uint8_t *message, size_t len, const uint8_t pub[32])
{
    (void)message;
    (void)len;
    (void)pub;
    return (sig[0] & 1) != 0 ? MP_OK : MP_ERR_SIGNATURE;
}

static bool has_twin_roots(const struct mp_keyset *set)
{
    return memcmp(set->root[0], set->root[1], 32) == 0 || memcmp(set->root[0], set->root[2], 32) == 0 ||
           memcmp(set->root[1], set->root[2], 32) == 0;
}

static unsigned highest(const struct mp_key key[2])
{
    return key[0].generation > key[1].generation ? key[0].generation : key[1].generation;
}

static void check_step(const struct mp_keyset *before, const struct mp_keyset *after, int result)
{
    uint8_t a[MP_KEYSET_SIZE], b[MP_KEYSET_SIZE];

    mp_keyset_put(a, before);
    mp_keyset_put(b, after);
    if (result != MP_OK) {
        a[2] |= (uint8_t)(result == MP_ERR_FROZEN);
        expect(memcmp(a, b, sizeof a) == 0);
        return;
    }
    expect(!before->frozen && !after->frozen && after->number == before->number + 1);
    expect(highest(after->publisher) >= highest(before->publisher));
    expect(highest(after->release) >= highest(before->release));
    expect(has_twin_roots(before) || !has_twin_roots(after));
    expect(memcmp(a + 4, b + 4, 32) != 0);
}

static void feed(struct mp_keyset *set, const struct mp_crypto *crypto, const uint8_t *data, size_t len)
{
    struct mp_keyset before = *set;
    struct mp_keychange c;
    uint8_t statement[MP_KEYCHANGE_SIZE], again[MP_KEYCHANGE_SIZE];
    int result = mp_keychange_get(&c, data, len);

    expect((result == MP_ERR_LENGTH) == (len != MP_KEYCHANGE_SIZE));
    if (result != MP_OK) {
        expect(mp_keyset_apply(set, crypto, data, len) == result);
        check_step(&before, set, result);
        return;
    }
    mp_keychange_put(again, &c);
    expect(memcmp(again, data, MP_KEYCHANGE_SIGNED) == 0);
    /* As it is, then made to follow the head, which no fuzzer would guess. */
    check_step(&before, set, mp_keyset_apply(set, crypto, data, len));
    before = *set;
    memcpy(statement, data, sizeof statement);
    memcpy(c.previous, set->head, 32);
    c.number = (uint16_t)(set->number + 1);
    if (c.role == MP_ROLE_ROOT)
        c.generation = c.number;
    mp_keychange_put(statement, &c);
    check_step(&before, set, mp_keyset_apply(set, crypto, statement, sizeof statement));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mp_crypto crypto = *crypto_sodium();
    struct mp_keyset set;
    uint8_t again[MP_KEYSET_SIZE];

    crypto.verify = verify;
    if (size < MP_KEYSET_SIZE) {
        expect(mp_keyset_get(&set, data, size) == MP_ERR_LENGTH);
        return 0;
    }
    if (mp_keyset_get(&set, data, MP_KEYSET_SIZE) != MP_OK)
        mp_keyset_init(&set, &crypto, (const uint8_t(*)[32])(const void *)(data + 36));
    else {
        mp_keyset_put(again, &set);
        expect(memcmp(again, data, sizeof again) == 0);
    }
    for (size_t at = MP_KEYSET_SIZE; at < size; at += MP_KEYCHANGE_SIZE)
        feed(&set, &crypto, data + at, size - at < MP_KEYCHANGE_SIZE ? size - at : MP_KEYCHANGE_SIZE);
    return 0;
}
