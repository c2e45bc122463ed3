/* Keyset: vectors of a whole chain, bounds, who may sign what, replay, forks, records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sodium.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"
#include "proto/object/keyset.h"
#include "proto/object/signed.h"
#include "tests/lib/sign.h"
#include "tests/lib/vectors.h"

static struct sign_fleet fleet;
static struct mp_keyset set;

static int setup(void **state)
{
    (void)state;
    sign_fleet_make(&fleet);
    set = fleet.keyset;
    return 0;
}

/* A statement that follows the set: installs a publisher key 1 of generation 2 unless changed. */
static struct mp_keychange next(void)
{
    struct mp_keychange c = {.op = MP_KEYOP_INSTALL,
                             .role = MP_ROLE_PUBLISHER,
                             .key_id = 1,
                             .signer = {0, 1},
                             .number = (uint16_t)(set.number + 1),
                             .generation = 2};

    memcpy(c.previous, set.head, 32);
    memset(c.key, 0x77, 32);
    return c;
}

static void sign_by(uint8_t out[MP_KEYCHANGE_SIZE], const struct mp_keychange *c)
{
    sign_keychange(out, c, &fleet.root[c->signer[0]], &fleet.root[c->signer[1]]);
}

/* Applies, and checks that only success or a fork changes the set. */
static int apply_bytes(const uint8_t *data, size_t len)
{
    struct mp_keyset before = set;
    uint8_t a[MP_KEYSET_SIZE], b[MP_KEYSET_SIZE];
    int result = mp_keyset_apply(&set, crypto_sodium(), data, len);

    if (result == MP_ERR_FROZEN)
        before.frozen = true;
    mp_keyset_put(a, &before);
    mp_keyset_put(b, &set);
    assert_int_equal(memcmp(a, b, sizeof a) == 0, result != MP_OK);
    return result;
}

static int apply(const struct mp_keychange *c)
{
    uint8_t data[MP_KEYCHANGE_SIZE];

    sign_by(data, c);
    return apply_bytes(data, sizeof data);
}

static void vectors_match(void **state)
{
    struct vectors v;
    (void)state;

    for (vectors_open(&v, "keychange"); vectors_next(&v);) {
        uint8_t object[MP_KEYCHANGE_SIZE], record[MP_KEYSET_SIZE], mine[MP_KEYSET_SIZE], digest[32], got[32];
        size_t len = vectors_hex(&v, "object", object, sizeof object);

        vectors_hex(&v, "digest", digest, sizeof digest);
        if (len > 0) {
            mp_keychange_digest(crypto_sodium(), object, got);
            assert_memory_equal(got, digest, 32);
            assert_int_equal(apply_bytes(object, len), vectors_int(&v, "result"));
        } else {
            assert_memory_equal(set.head, digest, 32);
        }
        assert_int_equal(vectors_hex(&v, "keyset", record, sizeof record), MP_KEYSET_SIZE);
        mp_keyset_put(mine, &set);
        assert_memory_equal(mine, record, sizeof mine);
    }
    assert_int_equal(v.count, 11);
    assert_true(set.frozen);
}

static void the_record_survives_and_is_checked(void **state)
{
    uint8_t record[MP_KEYSET_SIZE], again[MP_KEYSET_SIZE];
    struct mp_keyset out;
    (void)state;

    set.number = 0x1234;
    set.publisher[1] = (struct mp_key){.state = MP_KEY_REVOKED, .generation = 9};
    mp_keyset_put(record, &set);
    for (size_t len = 0; len <= sizeof record + 1; len++)
        if (len != sizeof record)
            assert_int_equal(mp_keyset_get(&out, record, len), MP_ERR_LENGTH);
    assert_int_equal(mp_keyset_get(&out, record, sizeof record), MP_OK);
    mp_keyset_put(again, &out);
    assert_memory_equal(again, record, sizeof record);
    for (size_t at = 0; at < sizeof record; at++) {
        bool is_key = at >= 132 && (at - 132) % 36 < 2;
        unsigned limit = at == 2 ? 1 : at == 3 ? 0 : is_key ? ((at - 132) % 36 == 0 ? 2 : 0) : 255;

        for (unsigned value = 0; value < 256; value++) {
            uint8_t was = record[at];

            record[at] = (uint8_t)value;
            assert_int_equal(mp_keyset_get(&out, record, sizeof record), value <= limit ? MP_OK : MP_ERR_FORMAT);
            record[at] = was;
        }
    }
}

static void keys_are_found_by_role_id_and_generation(void **state)
{
    uint8_t pub[32];
    (void)state;

    assert_int_equal(mp_keyset_find(&set, MP_ROLE_PUBLISHER, 0, 1, pub), MP_OK);
    assert_memory_equal(pub, fleet.publisher.pub, 32);
    assert_int_equal(mp_keyset_find(&set, MP_ROLE_RELEASE, 0, 1, pub), MP_OK);
    assert_memory_equal(pub, fleet.release.pub, 32);
    assert_int_equal(mp_keyset_find(&set, MP_ROLE_RELEASE, 1, 1, pub), MP_ERR_KEY);
    assert_int_equal(mp_keyset_find(&set, MP_ROLE_RELEASE, 1, 0, pub), MP_ERR_KEY);
    assert_int_equal(mp_keyset_find(&set, MP_ROLE_RELEASE, 0, 2, pub), MP_ERR_KEY);
    assert_int_equal(mp_keyset_find(&set, MP_ROLE_RELEASE, 0, 0, pub), MP_ERR_KEY);
    assert_int_equal(mp_keyset_find(&set, MP_ROLE_RELEASE, 2, 1, pub), MP_ERR_FORMAT);
    assert_int_equal(mp_keyset_find(&set, MP_ROLE_ROOT, 0, 1, pub), MP_ERR_FORMAT);
    set.release[0].state = MP_KEY_REVOKED;
    assert_int_equal(mp_keyset_find(&set, MP_ROLE_RELEASE, 0, 1, pub), MP_ERR_REVOKED);
    assert_int_equal(mp_keyset_find(&set, MP_ROLE_RELEASE, 0, 2, pub), MP_ERR_KEY);
}

static void every_field_is_bounded(void **state)
{
    struct mp_keychange c = next(), out;
    uint8_t data[MP_KEYCHANGE_SIZE + 1] = {0}, again[MP_KEYCHANGE_SIZE] = {0};
    (void)state;

    mp_keychange_put(data, &c);
    for (size_t len = 0; len <= sizeof data; len++)
        assert_int_equal(mp_keychange_get(&out, data, len), len == MP_KEYCHANGE_SIZE ? MP_OK : MP_ERR_LENGTH);
    for (unsigned value = 0; value < 256; value++) {
        unsigned low = value & 15, high = value >> 4;
        bool valid[4] = {low == 1 && (high == 1 || high == 2), (low == 2 || low == 3) && high < 2,
                         low < 3 && high < 3 && low != high, value == 0};

        for (size_t at = 0; at < 4; at++) {
            uint8_t was = data[at];

            data[at] = (uint8_t)value;
            assert_int_equal(mp_keychange_get(&out, data, MP_KEYCHANGE_SIZE), valid[at] ? MP_OK : MP_ERR_FORMAT);
            if (valid[at]) {
                mp_keychange_put(again, &out);
                assert_memory_equal(again, data, MP_KEYCHANGE_SIGNED);
            }
            data[at] = was;
        }
    }
    c.number = 0;
    assert_int_equal(apply(&c), MP_ERR_FORMAT);
    c = next();
    c.generation = 0;
    assert_int_equal(apply(&c), MP_ERR_FORMAT);
}

static void a_root_is_replaced_under_its_number_only(void **state)
{
    struct mp_keychange c;
    (void)state;

    for (uint8_t id = 0; id < 16; id++) {
        c = next();
        c.role = MP_ROLE_ROOT;
        c.key_id = id;
        c.generation = c.number;
        memset(c.key, 0x50 + id, 32);
        assert_int_equal(apply(&c), id < 3 ? MP_OK : MP_ERR_FORMAT);
        set = fleet.keyset;
    }
    c = next();
    c.role = MP_ROLE_ROOT;
    assert_int_equal(c.generation == c.number, 0);
    assert_int_equal(apply(&c), MP_ERR_FORMAT);
    c.generation = c.number;
    c.op = MP_KEYOP_REVOKE;
    memcpy(c.key, set.root[1], 32);
    assert_int_equal(apply(&c), MP_ERR_FORMAT);
}

static void no_key_becomes_root_twice(void **state)
{
    (void)state;
    for (uint8_t id = 0; id < 3; id++)
        for (unsigned same = 0; same < 3; same++) {
            struct mp_keychange c = next();

            c.role = MP_ROLE_ROOT;
            c.key_id = id;
            c.generation = c.number;
            memcpy(c.key, set.root[same], 32);
            assert_int_equal(apply(&c), MP_ERR_KEY);
        }
}

static void one_holder_never_counts_as_two(void **state)
{
    struct mp_keychange c = next();
    uint8_t data[MP_KEYCHANGE_SIZE];
    (void)state;

    c.signer[1] = 0;
    assert_int_equal(apply(&c), MP_ERR_FORMAT);
    c.signer[1] = 1;
    sign_keychange(data, &c, &fleet.root[0], &fleet.root[0]);
    assert_int_equal(apply_bytes(data, sizeof data), MP_ERR_SIGNATURE);
    memcpy(set.root[1], set.root[0], 32); /* badly provisioned: two places, one key */
    assert_int_equal(apply_bytes(data, sizeof data), MP_ERR_KEY);
}

static void signers_and_signatures_cannot_be_swapped(void **state)
{
    struct mp_keychange c = next();
    uint8_t data[MP_KEYCHANGE_SIZE], half[64];
    (void)state;

    sign_keychange(data, &c, &fleet.root[1], &fleet.root[0]);
    assert_int_equal(apply_bytes(data, sizeof data), MP_ERR_SIGNATURE);
    sign_by(data, &c);
    memcpy(half, data + 72, 64);
    memmove(data + 72, data + 136, 64);
    memcpy(data + 136, half, 64);
    assert_int_equal(apply_bytes(data, sizeof data), MP_ERR_SIGNATURE);
    data[2] = (uint8_t)(data[2] >> 4 | data[2] << 4);
    assert_int_equal(apply_bytes(data, sizeof data), MP_ERR_SIGNATURE);
    sign_by(data, &c);
    memcpy(data + 136, data + 72, 64);
    assert_int_equal(apply_bytes(data, sizeof data), MP_ERR_SIGNATURE);
    c.signer[0] = 2;
    sign_by(data, &c);
    assert_int_equal(apply_bytes(data, sizeof data), MP_OK);
}

static void every_flipped_bit_is_refused(void **state)
{
    struct mp_keychange c = next();
    uint8_t data[MP_KEYCHANGE_SIZE];
    (void)state;

    sign_by(data, &c);
    for (size_t bit = 0; bit < 8 * sizeof data; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_true(apply_bytes(data, sizeof data) < 0);
        assert_false(set.frozen);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(apply_bytes(data, sizeof data), MP_OK);
}

static void generations_never_go_back(void **state)
{
    struct mp_keychange c = next();
    (void)state;

    c.generation = 1; /* that of publisher 0 */
    assert_int_equal(apply(&c), MP_ERR_KEY);
    c.generation = 9;
    assert_int_equal(apply(&c), MP_OK);
    c = next();
    c.op = MP_KEYOP_REVOKE;
    c.generation = 9;
    assert_int_equal(apply(&c), MP_OK);
    c = next();
    c.key_id = 0;
    c.generation = 9; /* the revoked key had it */
    assert_int_equal(apply(&c), MP_ERR_KEY);
    c.generation = 10;
    assert_int_equal(apply(&c), MP_OK);
    c = next();
    c.generation = 10;
    assert_int_equal(apply(&c), MP_ERR_KEY);
    c.role = MP_ROLE_RELEASE; /* roles count on their own */
    c.generation = 2;
    assert_int_equal(apply(&c), MP_OK);
    assert_int_equal(set.number, 4);
}

static void only_the_valid_key_of_a_place_is_revoked(void **state)
{
    struct mp_keychange c = next();
    uint8_t pub[32];
    (void)state;

    c.op = MP_KEYOP_REVOKE;
    c.generation = 1;
    assert_int_equal(apply(&c), MP_ERR_KEY); /* nothing in that place */
    c.key_id = 0;
    assert_int_equal(apply(&c), MP_ERR_KEY); /* another key */
    memcpy(c.key, fleet.publisher.pub, 32);
    c.generation = 2;
    assert_int_equal(apply(&c), MP_ERR_KEY);
    c.generation = 1;
    assert_int_equal(apply(&c), MP_OK);
    assert_int_equal(mp_keyset_find(&set, MP_ROLE_PUBLISHER, 0, 1, pub), MP_ERR_REVOKED);
    assert_int_equal(mp_keyset_find(&set, MP_ROLE_RELEASE, 0, 1, pub), MP_OK);
    memcpy(c.previous, set.head, 32);
    c.number = 2;
    assert_int_equal(apply(&c), MP_ERR_KEY); /* revoked already */
}

static void statements_are_taken_in_order_once(void **state)
{
    struct mp_keychange first = next(), c;
    (void)state;

    assert_int_equal(apply(&first), MP_OK);
    assert_int_equal(apply(&first), MP_ERR_OLD);
    c = next();
    c.generation = 3;
    c.number++;
    assert_int_equal(apply(&c), MP_ERR_GAP);
    c.number = UINT16_MAX;
    assert_int_equal(apply(&c), MP_ERR_GAP);
    c.number = 2;
    assert_int_equal(apply(&c), MP_OK);
    assert_int_equal(apply(&first), MP_ERR_OLD);
    assert_false(set.frozen);
    set.number = UINT16_MAX; /* the last there can be */
    c = next();
    assert_int_equal(apply(&c), MP_ERR_FORMAT);
    c.number = 1;
    assert_int_equal(apply(&c), MP_ERR_OLD);
}

static void another_chain_is_never_followed(void **state)
{
    struct mp_keyset other = set;
    struct mp_keychange c = next();
    (void)state;

    /* A fleet with one other root: its first statement is signed by two roots of ours. */
    memset(other.root[2], 9, 32);
    mp_keyset_init(&other, crypto_sodium(), (const uint8_t(*)[32])other.root);
    memcpy(c.previous, other.head, 32);
    assert_int_equal(apply(&c), MP_ERR_KEY);
    assert_false(set.frozen);
    c = next();
    assert_int_equal(apply(&c), MP_OK);
    c = next();
    c.generation = 3;
    c.previous[31] ^= 1;
    assert_int_equal(apply(&c), MP_ERR_KEY);
    assert_false(set.frozen);
}

static void a_root_signs_from_the_statement_after(void **state)
{
    struct mp_keychange c = next();
    struct sign_key fresh;
    uint8_t data[MP_KEYCHANGE_SIZE];
    (void)state;

    sign_key_make(&fresh, 4);
    c.role = MP_ROLE_ROOT;
    c.key_id = 1;
    c.generation = c.number;
    memcpy(c.key, fresh.pub, 32);
    sign_keychange(data, &c, &fleet.root[0], &fresh);
    assert_int_equal(apply_bytes(data, sizeof data), MP_ERR_SIGNATURE);
    sign_by(data, &c);
    assert_int_equal(apply_bytes(data, sizeof data), MP_OK);
    c = next();
    assert_int_equal(apply(&c), MP_ERR_SIGNATURE); /* the root replaced signs no more */
    fleet.root[1] = fresh;
    assert_int_equal(apply(&c), MP_OK);
}

static void two_roots_that_sign_twice_freeze_the_chain(void **state)
{
    struct mp_keychange c = next();
    struct mp_keyset held;
    uint8_t pub[32];
    (void)state;

    assert_int_equal(apply(&c), MP_OK);
    held = set;
    c.key[0] ^= 1;
    assert_int_equal(apply(&c), MP_ERR_FROZEN);
    assert_true(set.frozen);
    c = next();
    c.generation = 3;
    assert_int_equal(apply(&c), MP_ERR_FROZEN); /* nothing more, not even what follows well */
    assert_int_equal(mp_keyset_find(&set, MP_ROLE_PUBLISHER, 0, 1, pub), MP_OK);

    set = held; /* other signers, or after another statement: the same broken word */
    c.number = set.number;
    c.signer[0] = 2;
    memset(c.previous, 3, 32);
    assert_int_equal(apply(&c), MP_ERR_FROZEN);
}

static void a_forged_fork_freezes_nothing(void **state)
{
    struct mp_keychange c = next();
    uint8_t data[MP_KEYCHANGE_SIZE];
    (void)state;

    assert_int_equal(apply(&c), MP_OK);
    c.key[0] ^= 1;
    sign_keychange(data, &c, &fleet.root[0], &fleet.publisher);
    assert_int_equal(apply_bytes(data, sizeof data), MP_ERR_OLD);
    sign_keychange(data, &c, &fleet.publisher, &fleet.root[1]);
    assert_int_equal(apply_bytes(data, sizeof data), MP_ERR_OLD);
    memset(data + 72, 0, 128);
    assert_int_equal(apply_bytes(data, sizeof data), MP_ERR_OLD);
    assert_false(set.frozen);
}

/* A second signature of the same message by the same key, from another nonce: as valid as the first. */
static void sign_again(uint8_t sig[64], const uint8_t *object, const struct sign_key *key)
{
    uint8_t message[MP_SIGNED_MAX], hash[64], nonce[32], challenge[32], scalar[64], wide[64] = {42};
    size_t len = mp_signed_message(message, MP_TAG_KEYCHANGE, object, MP_KEYCHANGE_SIGNED);
    crypto_hash_sha512_state state;

    crypto_core_ed25519_scalar_reduce(nonce, wide);
    assert_int_equal(crypto_scalarmult_ed25519_base_noclamp(sig, nonce), 0);
    crypto_hash_sha512_init(&state);
    crypto_hash_sha512_update(&state, sig, 32);
    crypto_hash_sha512_update(&state, key->pub, 32);
    crypto_hash_sha512_update(&state, message, len);
    crypto_hash_sha512_final(&state, hash);
    crypto_core_ed25519_scalar_reduce(challenge, hash);
    crypto_hash_sha512(scalar, key->secret, 32);
    scalar[0] &= 248;
    scalar[31] = (uint8_t)((scalar[31] & 127) | 64);
    crypto_core_ed25519_scalar_mul(challenge, challenge, scalar);
    crypto_core_ed25519_scalar_add(sig + 32, challenge, nonce);
}

static void one_root_alone_cannot_freeze_the_chain(void **state)
{
    struct mp_keychange c = next();
    uint8_t data[MP_KEYCHANGE_SIZE], twin[MP_KEYCHANGE_SIZE];
    struct mp_keyset start = set;
    (void)state;

    sign_by(data, &c);
    memcpy(twin, data, sizeof twin);
    sign_again(twin + 136, twin, &fleet.root[1]);
    assert_memory_not_equal(twin, data, sizeof twin);
    assert_int_equal(apply_bytes(data, sizeof data), MP_OK);
    assert_int_equal(apply_bytes(twin, sizeof twin), MP_ERR_OLD);
    assert_false(set.frozen);
    /* The twin is as good as the original, and leads to the same head. */
    c = next();
    c.generation = 3;
    set = start;
    assert_int_equal(apply_bytes(twin, sizeof twin), MP_OK);
    assert_int_equal(apply(&c), MP_OK);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(vectors_match),
        TEST(the_record_survives_and_is_checked),
        TEST(keys_are_found_by_role_id_and_generation),
        TEST(every_field_is_bounded),
        TEST(a_root_is_replaced_under_its_number_only),
        TEST(no_key_becomes_root_twice),
        TEST(one_holder_never_counts_as_two),
        TEST(signers_and_signatures_cannot_be_swapped),
        TEST(every_flipped_bit_is_refused),
        TEST(generations_never_go_back),
        TEST(only_the_valid_key_of_a_place_is_revoked),
        TEST(statements_are_taken_in_order_once),
        TEST(another_chain_is_never_followed),
        TEST(a_root_signs_from_the_statement_after),
        TEST(two_roots_that_sign_twice_freeze_the_chain),
        TEST(a_forged_fork_freezes_nothing),
        TEST(one_root_alone_cannot_freeze_the_chain),
    };

    if (crypto_sodium() == NULL)
        return 1;
    return cmocka_run_group_tests_name("keyset", tests, NULL, NULL);
}
