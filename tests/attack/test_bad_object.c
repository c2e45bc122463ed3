/*
 * Bad objects, chunks, reports and acknowledgements, sent by somebody who has the network key: the tag is right, so
 * every rule behind it must hold by itself. What is refused is counted under its cause, nothing of it is stored or
 * passed on, and what is genuine goes on afterwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"
#include "proto/object/signed.h"
#include "tests/lib/mesh_rig.h"

enum { SELF = 1, RELEASE = 6, NONCE = 77, SEED_STRANGER = 200, SEED_NEW = 60 };
#define INSIDER MESH_STRANGER

struct scene {
    struct mesh *mesh;
    struct mesh_image *image;
    struct mesh_node *self;
    struct sign_key stranger; /* signs and is nobody */
};

/* Node 1 with the insider as its only neighbour. */
static void begin(struct scene *s)
{
    s->mesh = mesh_new(2, MP_SECONDS(5), 12);
    s->image = mesh_image_new(s->mesh, 4, RELEASE, 3000);
    s->self = &s->mesh->node[SELF];
    sign_key_make(&s->stranger, SEED_STRANGER);
    mesh_greet(s->mesh, SELF, INSIDER, NONCE, 0, 0, 0);
}

static void end(struct scene *s)
{
    mesh_image_free(s->image);
    mesh_free(s->mesh);
}

/* Refused for that reason and counted; no record, chunk, head or manifest changed. */
static void expect_refused(struct scene *s, unsigned type, const uint8_t *body, size_t len, int error)
{
    static uint8_t records[sizeof s->self->record];
    struct mp_node before = s->self->engine;
    uint32_t dropped = s->self->counters.dropped[-error], chunks = s->self->counters.chunks_stored;

    memcpy(records, s->self->record, sizeof records);
    s->mesh->now += MP_SECONDS(2); /* the bucket of signature checks is not the matter here */
    assert_int_equal(mesh_forge(s->mesh, SELF, INSIDER, type, body, len), error);
    assert_int_equal(s->self->counters.dropped[-error], dropped + 1);
    assert_int_equal(s->self->counters.chunks_stored, chunks);
    assert_memory_equal(s->self->record, records, sizeof records);
    assert_memory_equal(s->self->engine.heads, before.heads, sizeof before.heads);
    assert_memory_equal(s->self->engine.manifests, before.manifests, sizeof before.manifests);
    assert_memory_equal(s->self->engine.places, before.places, sizeof before.places);
    assert_int_equal(s->self->engine.key_number, before.key_number);
    assert_int_equal(s->self->engine.round, before.round);
    assert_int_equal(s->self->engine.epoch, before.epoch);
    assert_int_equal(s->self->engine.events, before.events);
    assert_int_equal(s->self->engine.push_left, before.push_left); /* nothing of it is passed on */
}

static void expect_taken(struct scene *s, unsigned type, const uint8_t *body, size_t len)
{
    s->mesh->now += MP_SECONDS(2);
    assert_int_equal(mesh_forge(s->mesh, SELF, INSIDER, type, body, len), MP_OK);
}

static size_t make_directive(struct scene *s, uint8_t *raw, uint32_t sequence, const struct sign_key *key, uint8_t id,
                             uint16_t generation)
{
    struct mp_directive d;

    sign_directive_fill(&d, MP_ACTION_STAGE, MESH_NETWORK, RELEASE, sequence, s->image->id);
    d.key_id = id;
    d.generation = generation;
    return sign_directive(raw, &d, key);
}

static size_t make_receipt(uint8_t *raw, uint16_t round, const struct sign_key *key, uint8_t id, uint16_t generation)
{
    const struct mp_receipt r = {
        .network = MESH_NETWORK, .key_id = id, .generation = generation, .round = round, .count = 2, .nibbles = {0x11}};

    return sign_receipt(raw, &r, key);
}

/* Signs the image's manifest anew; its id changes with it. */
static void make_manifest(struct scene *s, const struct sign_key *key, uint8_t id, uint16_t generation)
{
    s->image->manifest.key_id = id;
    s->image->manifest.generation = generation;
    sign_manifest(s->image->raw, &s->image->manifest, key);
    mp_manifest_id(crypto_sodium(), s->image->raw, s->image->id);
    s->image->handle = mp_get32(s->image->id);
}

static void make_keychange(struct scene *s, struct mp_keychange *c, unsigned op, unsigned role, uint8_t id,
                           uint16_t number, uint16_t generation, const struct sign_key *subject, uint8_t *raw)
{
    struct mp_keyset set;

    assert_int_equal(mp_keyset_get(&set, s->self->record[MP_KIND_KEYSET][0], MP_KEYSET_SIZE), MP_OK);
    *c = (struct mp_keychange){.op = (uint8_t)op,
                               .role = (uint8_t)role,
                               .key_id = id,
                               .signer = {0, 1},
                               .number = number,
                               .generation = generation};
    memcpy(c->previous, set.head, 32);
    memcpy(c->key, subject->pub, 32);
    sign_keychange(raw, c, &s->mesh->fleet.root[0], &s->mesh->fleet.root[1]);
}

/* --- signatures and keys ------------------------------------------------------------------------------------------ */

static void test_wrong_signature_is_refused_and_nothing_stored(void **state)
{
    struct scene s;
    struct mp_keychange c;
    uint8_t raw[MP_BODY_MAX];
    size_t len;
    (void)state;

    begin(&s);
    len = make_directive(&s, raw, 1, &s.stranger, 0, 1);
    expect_refused(&s, MP_TYPE_DIRECTIVE, raw, len, MP_ERR_SIGNATURE);
    len = make_directive(&s, raw, 1, &s.mesh->fleet.release, 0, 1);
    raw[36] ^= 1; /* the epoch, after it was signed */
    expect_refused(&s, MP_TYPE_DIRECTIVE, raw, len, MP_ERR_SIGNATURE);
    raw[36] ^= 1;
    expect_taken(&s, MP_TYPE_DIRECTIVE, raw, len);

    len = make_receipt(raw, 1, &s.mesh->fleet.publisher, 0, 1); /* a key of another role */
    expect_refused(&s, MP_TYPE_RECEIPT, raw, len, MP_ERR_SIGNATURE);
    len = make_receipt(raw, 1, &s.mesh->fleet.release, 0, 1);
    expect_taken(&s, MP_TYPE_RECEIPT, raw, len);

    make_manifest(&s, &s.stranger, 0, 1);
    len = make_directive(&s, raw, 2, &s.mesh->fleet.release, 0, 1);
    expect_taken(&s, MP_TYPE_DIRECTIVE, raw, len);
    expect_refused(&s, MP_TYPE_MANIFEST, s.image->raw, MP_MANIFEST_SIZE, MP_ERR_SIGNATURE);
    make_manifest(&s, &s.mesh->fleet.publisher, 0, 1);
    len = make_directive(&s, raw, 3, &s.mesh->fleet.release, 0, 1);
    expect_taken(&s, MP_TYPE_DIRECTIVE, raw, len);
    expect_taken(&s, MP_TYPE_MANIFEST, s.image->raw, MP_MANIFEST_SIZE);

    make_keychange(&s, &c, MP_KEYOP_INSTALL, MP_ROLE_RELEASE, 1, 1, 2, &s.stranger, raw);
    raw[MP_KEYCHANGE_SIZE - 1] ^= 1; /* one good signature of two */
    expect_refused(&s, MP_TYPE_KEYCHANGE, raw, MP_KEYCHANGE_SIZE, MP_ERR_SIGNATURE);
    raw[MP_KEYCHANGE_SIZE - 1] ^= 1;
    expect_taken(&s, MP_TYPE_KEYCHANGE, raw, MP_KEYCHANGE_SIZE);
    end(&s);
}

static void test_unknown_key_is_refused_and_nothing_stored(void **state)
{
    static const struct {
        uint8_t id;
        uint16_t generation;
    } unknown[] = {{0, 0}, {1, 1}, {0, 2}, {1, 2}};
    struct scene s;
    uint8_t raw[MP_BODY_MAX];
    size_t len;
    (void)state;

    begin(&s);
    for (unsigned i = 0; i < 4; i++) {
        unsigned long verifies = mesh_verifies;

        /* The signature is right each time; what names the key is not. */
        len = make_directive(&s, raw, 9, &s.mesh->fleet.release, unknown[i].id, unknown[i].generation);
        expect_refused(&s, MP_TYPE_DIRECTIVE, raw, len, MP_ERR_KEY);
        len = make_receipt(raw, 9, &s.mesh->fleet.release, unknown[i].id, unknown[i].generation);
        expect_refused(&s, MP_TYPE_RECEIPT, raw, len, MP_ERR_KEY);
        make_manifest(&s, &s.mesh->fleet.publisher, unknown[i].id, unknown[i].generation);
        assert_int_equal(mesh_verifies, verifies);
        len = make_directive(&s, raw, 1 + i, &s.mesh->fleet.release, 0, 1);
        expect_taken(&s, MP_TYPE_DIRECTIVE, raw, len);
        verifies = mesh_verifies;
        expect_refused(&s, MP_TYPE_MANIFEST, s.image->raw, MP_MANIFEST_SIZE, MP_ERR_KEY);
        assert_int_equal(mesh_verifies, verifies); /* no signature was worth checking */
    }
    make_manifest(&s, &s.mesh->fleet.publisher, 0, 1);
    len = make_directive(&s, raw, 8, &s.mesh->fleet.release, 0, 1);
    expect_taken(&s, MP_TYPE_DIRECTIVE, raw, len);
    expect_taken(&s, MP_TYPE_MANIFEST, s.image->raw, MP_MANIFEST_SIZE);
    end(&s);
}

/* Revoked keys sign nothing new; what they signed before stays. */
static void test_revoked_key_is_refused_and_nothing_stored(void **state)
{
    struct scene s;
    struct sign_key publisher, release;
    struct mp_keychange c;
    uint8_t raw[MP_BODY_MAX], held[MP_DIRECTIVE_MAX];
    size_t len;
    (void)state;

    begin(&s);
    sign_key_make(&publisher, SEED_NEW);
    sign_key_make(&release, SEED_NEW + 1);
    len = make_directive(&s, held, 1, &s.mesh->fleet.release, 0, 1);
    expect_taken(&s, MP_TYPE_DIRECTIVE, held, len);
    make_keychange(&s, &c, MP_KEYOP_INSTALL, MP_ROLE_RELEASE, 1, 1, 2, &release, raw);
    expect_taken(&s, MP_TYPE_KEYCHANGE, raw, MP_KEYCHANGE_SIZE);
    make_keychange(&s, &c, MP_KEYOP_INSTALL, MP_ROLE_PUBLISHER, 1, 2, 2, &publisher, raw);
    expect_taken(&s, MP_TYPE_KEYCHANGE, raw, MP_KEYCHANGE_SIZE);
    make_keychange(&s, &c, MP_KEYOP_REVOKE, MP_ROLE_RELEASE, 0, 3, 1, &s.mesh->fleet.release, raw);
    expect_taken(&s, MP_TYPE_KEYCHANGE, raw, MP_KEYCHANGE_SIZE);
    make_keychange(&s, &c, MP_KEYOP_REVOKE, MP_ROLE_PUBLISHER, 0, 4, 1, &s.mesh->fleet.publisher, raw);
    expect_taken(&s, MP_TYPE_KEYCHANGE, raw, MP_KEYCHANGE_SIZE);
    assert_memory_equal(s.self->record[MP_KIND_DIRECTIVE][0], held, len); /* accepted before, and still in force */

    len = make_directive(&s, raw, 2, &s.mesh->fleet.release, 0, 1);
    expect_refused(&s, MP_TYPE_DIRECTIVE, raw, len, MP_ERR_REVOKED);
    len = make_receipt(raw, 1, &s.mesh->fleet.release, 0, 1);
    expect_refused(&s, MP_TYPE_RECEIPT, raw, len, MP_ERR_REVOKED);
    expect_refused(&s, MP_TYPE_MANIFEST, s.image->raw, MP_MANIFEST_SIZE, MP_ERR_REVOKED);

    make_manifest(&s, &publisher, 1, 2);
    len = make_directive(&s, raw, 2, &release, 1, 2);
    expect_taken(&s, MP_TYPE_DIRECTIVE, raw, len);
    expect_taken(&s, MP_TYPE_MANIFEST, s.image->raw, MP_MANIFEST_SIZE);
    /* A stolen release key that ran its sequence to the end comes too late. */
    len = make_directive(&s, raw, UINT32_MAX, &s.mesh->fleet.release, 0, 1);
    expect_refused(&s, MP_TYPE_DIRECTIVE, raw, len, MP_ERR_OLD);
    end(&s);
}

/* --- chunks ------------------------------------------------------------------------------------------------------- */

static unsigned chunks_sent(struct mesh *mesh)
{
    unsigned before = mesh->sent_count, count = 0;

    mesh_drain(mesh, SELF);
    for (unsigned i = before; i < mesh->sent_count; i++)
        count += mesh->sent[i % MESH_LOG].node == SELF && (mesh->sent[i % MESH_LOG].frame[0] & 15) == MP_TYPE_CHUNK;
    return count;
}

/* Every chunk poisoned in every way before it comes as it should: in tree order, with neighbours that want it. */
static void test_poisoned_chunk_is_neither_stored_nor_passed_on(void **state)
{
    struct scene s;
    uint8_t body[MP_BODY_MAX];
    size_t len;
    (void)state;

    begin(&s);
    mesh_release(s.mesh, SELF, s.image);
    mesh_open(s.mesh, SELF, 1, s.image, false);
    for (uint32_t at = 0; at < s.image->tree.positions; at++) {
        mesh_greet(s.mesh, SELF, INSIDER + 1, NONCE, 0, s.image->handle, 0); /* lacks all of it */
        (void)chunks_sent(s.mesh);
        len = mesh_chunk_body(s.image, at, body);
        for (size_t i = 7; i < len; i += 1 + (len - 7) / 5) {
            body[i] ^= 0x40;
            expect_refused(&s, MP_TYPE_CHUNK, body, len, MP_ERR_CHUNK);
            body[i] ^= 0x40;
        }
        expect_refused(&s, MP_TYPE_CHUNK, body, len - 1, MP_ERR_LENGTH);
        if (at + 1 < s.image->tree.positions) { /* a good chunk in another one's place */
            mp_put24(body + 4, at + 1);
            assert_true(mesh_forge(s.mesh, SELF, INSIDER, MP_TYPE_CHUNK, body, len) < 0);
        }
        mp_put24(body + 4, s.image->tree.positions + at);
        assert_true(mesh_forge(s.mesh, SELF, INSIDER, MP_TYPE_CHUNK, body, len) < 0);
        mp_put24(body + 4, at);
        assert_int_equal(chunks_sent(s.mesh), 0);
        assert_int_equal(s.self->counters.chunks_stored, at);
        expect_taken(&s, MP_TYPE_CHUNK, body, len);
        assert_int_equal(s.self->counters.chunks_stored, at + 1);
    }
    assert_true(mesh_has(s.mesh, SELF, 1));
    assert_true(mesh_take_events(s.mesh, SELF) & MP_EVENT_COMPLETE);
    end(&s);
}

/* --- reports and acknowledgements --------------------------------------------------------------------------------- */

static size_t make_ack(uint8_t *body, uint32_t node, uint32_t nonce, uint16_t serial)
{
    mp_put32(body, node);
    mp_put32(body + 4, nonce);
    mp_put32(body + 8, node);
    mp_put16(body + 12, serial);
    return 14;
}

static bool is_receipted(const struct mesh *mesh)
{
    return mp_node_is_receipted(&mesh->node[SELF].engine);
}

static unsigned reports_sent(const struct mesh *mesh, mp_time since)
{
    unsigned count = 0;

    for (unsigned i = 0; i < mesh->sent_count && i < MESH_LOG; i++)
        count +=
            mesh->sent[i].node == SELF && mesh->sent[i].at >= since && (mesh->sent[i].frame[0] & 15) == MP_TYPE_REPORT;
    return count;
}

/* Reports of node 1 get lost. */
static bool lose_reports(struct mesh *mesh, unsigned from, const uint8_t *frame, size_t len)
{
    (void)mesh;
    (void)len;
    return from != SELF || (frame[0] & 15) != MP_TYPE_REPORT;
}

/* Without the nonce it is dropped. With it (an insider heard it) it wins some time and no more: only the receipt, which
 * the release key signs, ends the repetitions. */
static void test_forged_acknowledgement_loses_no_report(void **state)
{
    struct scene s;
    uint8_t body[MP_BODY_MAX];
    size_t len;
    (void)state;

    begin(&s);
    mesh_line(s.mesh, 0);
    mesh_run(s.mesh, MP_SECONDS(5));
    assert_int_equal(mesh_receipt(s.mesh, 0, 1, (const uint16_t[2]){0}, 2), MP_OK);
    mesh_run(s.mesh, MP_SECONDS(5));
    assert_int_equal(mp_node_hop(&s.self->engine), 1);
    s.mesh->on_frame = lose_reports;
    assert_int_equal(
        mp_node_report(&s.self->engine, &s.self->env, s.mesh->now, 5, 6, MP_PHASE_ROLLED_BACK, MP_REASON_WATCHDOG),
        MP_OK);
    uint16_t serial = s.self->engine.report.serial;

    len = make_ack(body, s.self->engine.id, s.self->engine.nonce ^ 1, serial);
    expect_refused(&s, MP_TYPE_REPORT_ACK, body, len, MP_ERR_REPLAY);
    assert_false(s.self->engine.report.is_taken);
    for (unsigned i = 0; i < 5; i++) {
        mp_time since = s.mesh->now;

        len = make_ack(body, s.self->engine.id, s.self->engine.nonce, serial);
        expect_taken(&s, MP_TYPE_REPORT_ACK, body, len);
        assert_false(is_receipted(s.mesh));
        mesh_run(s.mesh, MP_SECONDS(22u * 64 + 1));
        assert_true(reports_sent(s.mesh, since) > 0);
    }
    /* Nor does a receipt that the release key did not sign. */
    len = make_receipt(body, 2, &s.stranger, 0, 1);
    expect_refused(&s, MP_TYPE_RECEIPT, body, len, MP_ERR_SIGNATURE);
    assert_false(is_receipted(s.mesh));
    s.mesh->on_frame = NULL;
    mesh_run(s.mesh, MP_SECONDS(3600));
    assert_int_equal(mesh_receipt(s.mesh, 0, 2, (const uint16_t[2]){0, serial}, 2), MP_OK);
    assert_true(mesh_until(s.mesh, MP_SECONDS(3600), is_receipted));
    end(&s);
}

/* A relay cannot check another node's report key. What is malformed or addressed past it stops there; the rest costs
 * custody places, never the relay's own report. (The gateway's part: test_bad_gateway.) */
static void test_forged_report_costs_a_relay_nothing_of_its_own(void **state)
{
    const struct mp_report forged = {.node = 0x7777, .serial = 3, .phase = MP_PHASE_ROLLED_BACK, .reason = 1};
    struct scene s;
    uint8_t body[MP_BODY_MAX] = {0};
    struct mp_own_report own;
    (void)state;

    begin(&s);
    assert_int_equal(mp_node_report(&s.self->engine, &s.self->env, s.mesh->now, 5, 6, MP_PHASE_STAGED, MP_REASON_NONE),
                     MP_OK);
    own = s.self->engine.report;
    mp_put32(body, s.self->engine.id);
    mp_put32(body + 4, s.self->engine.nonce ^ 1);
    body[8] = 1;
    mp_report_put(crypto_sodium(), body + 10, &forged, s.mesh->key);
    expect_refused(&s, MP_TYPE_REPORT, body, 29, MP_ERR_REPLAY);
    mp_put32(body + 4, s.self->engine.nonce);
    body[8] = 0;
    expect_refused(&s, MP_TYPE_REPORT, body, 10, MP_ERR_LENGTH);
    body[8] = 11;
    expect_refused(&s, MP_TYPE_REPORT, body, 29, MP_ERR_LENGTH);
    body[8] = 1;
    body[20] = 0xFF; /* phase and reason out of range */
    expect_refused(&s, MP_TYPE_REPORT, body, 29, MP_ERR_FORMAT);
    assert_int_equal(s.self->engine.custody_count, 0);
    body[20] = 0x15;
    for (unsigned i = 0; i < 3 * MP_CUSTODY_MAX; i++) {
        mp_put32(body + 10, 0x7777 + i);
        int error = mesh_forge(s.mesh, SELF, INSIDER, MP_TYPE_REPORT, body, 29);

        assert_int_equal(error, i < MP_CUSTODY_MAX ? MP_OK : MP_ERR_ROOM);
    }
    assert_int_equal(s.self->engine.custody_count, MP_CUSTODY_MAX);
    assert_memory_equal(&s.self->engine.report, &own, sizeof own);
    assert_int_equal(s.self->put_count, 1); /* the own report; custody is RAM only */
    mesh_line(s.mesh, 0);
    mesh_run(s.mesh, MP_SECONDS(30));
    assert_int_equal(mesh_receipt(s.mesh, 0, 1, (const uint16_t[2]){0, own.serial}, 2), MP_OK);
    assert_true(mesh_until(s.mesh, MP_SECONDS(600), is_receipted));
    mesh_run(s.mesh, MP_SECONDS(600));
    assert_int_equal(s.self->engine.custody_count, 0);
    end(&s);
}

/* --- two gateways ------------------------------------------------------------------------------------------------- */

/* Both ends of a line sign sequence 2 with different shares: whoever hears what first, all end with the same bytes, and
 * what either signs next follows on them. */
static void test_two_gateways_signing_the_same_sequence_end_with_one(void **state)
{
    enum { NODES = 6 };
    (void)state;

    for (uint32_t seed = 1; seed <= 8; seed++) {
        struct mesh *mesh = mesh_new(NODES, 0, seed);
        struct mesh_image *image = mesh_image_new(mesh, 4, RELEASE, 500);
        const struct mesh_image *list = image;
        struct mp_directive d, left, right;
        uint8_t raw[2][MP_DIRECTIVE_MAX];
        size_t len[2];

        sign_directive_fill(&left, MP_ACTION_OPEN, MESH_NETWORK, RELEASE, 2, image->id);
        right = left;
        left.share = (uint16_t)(100 * seed);
        right.share = 9000;
        len[0] = sign_directive(raw[0], &left, &mesh->fleet.release);
        len[1] = sign_directive(raw[1], &right, &mesh->fleet.release);
        assert_int_equal(mesh_publish(mesh, 0, MP_TYPE_DIRECTIVE, raw[0], len[0]), MP_OK);
        assert_int_equal(mesh_publish(mesh, NODES - 1, MP_TYPE_DIRECTIVE, raw[1], len[1]), MP_OK);
        mesh_line(mesh, 10);
        assert_true(mesh_until(mesh, MP_SECONDS(600), mesh_agrees));
        unsigned winner = memcmp(mesh->node[0].record[MP_KIND_DIRECTIVE][0], raw[0], len[0]) == 0 ? 0 : 1;

        for (unsigned i = 0; i < NODES; i++) {
            assert_memory_equal(mesh->node[i].record[MP_KIND_DIRECTIVE][0], raw[winner], len[winner]);
            assert_int_equal(mesh_publish(mesh, i, MP_TYPE_DIRECTIVE, raw[1 - winner], len[1 - winner]), MP_ERR_OLD);
        }
        assert_int_equal(mesh_direct(mesh, seed % 2 ? 0 : NODES - 1, MP_ACTION_HOLD, RELEASE, 3, 0, &list, 1), MP_OK);
        assert_true(mesh_until(mesh, MP_SECONDS(600), mesh_agrees));
        assert_int_equal(mp_node_directive(&mesh->node[2].engine, &mesh->node[2].env, 0, &d, NULL, NULL), MP_OK);
        assert_int_equal(d.sequence, 3);
        mesh_image_free(image);
        mesh_free(mesh);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_signature_is_refused_and_nothing_stored),
        cmocka_unit_test(test_unknown_key_is_refused_and_nothing_stored),
        cmocka_unit_test(test_revoked_key_is_refused_and_nothing_stored),
        cmocka_unit_test(test_poisoned_chunk_is_neither_stored_nor_passed_on),
        cmocka_unit_test(test_forged_acknowledgement_loses_no_report),
        cmocka_unit_test(test_forged_report_costs_a_relay_nothing_of_its_own),
        cmocka_unit_test(test_two_gateways_signing_the_same_sequence_end_with_one),
    };

    if (crypto_sodium() == NULL)
        return 1;
    return cmocka_run_group_tests_name("bad object", tests, NULL, NULL);
}
