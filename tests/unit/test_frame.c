/* Frames at the door of an engine: what is cut, flipped, foreign or replayed is dropped, counted, and changes nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"
#include "tests/lib/mesh_rig.h"

enum { SELF = 1, NONCE = 77 };
#define PEER MESH_STRANGER

struct fixture {
    struct mesh *mesh;
    struct mesh_image *image;
    uint8_t frame[MP_FRAME_MAX];
    size_t len;
};

/* An engine that fetches a payload, holds its top chunk, and knows a neighbour. */
static void begin(struct fixture *f)
{
    uint8_t body[MP_BODY_MAX];
    size_t len;

    f->mesh = mesh_new(2, MP_SECONDS(100), 1);
    f->image = mesh_image_new(f->mesh, 1, 5, 20000);
    mesh_release(f->mesh, SELF, f->image);
    mesh_open(f->mesh, SELF, 1, f->image, false);
    assert_int_equal(mesh_greet(f->mesh, SELF, PEER, NONCE, f->image->handle, 0, 0), MP_OK);
    len = mesh_chunk_body(f->image, 0, body);
    assert_int_equal(mesh_forge(f->mesh, SELF, PEER, MP_TYPE_CHUNK, body, len), MP_OK);
}

static void end(struct fixture *f)
{
    mesh_image_free(f->image);
    mesh_free(f->mesh);
}

/* A body that the engine of the fixture takes. */
static size_t make_body(const struct fixture *f, unsigned type, uint8_t *body)
{
    const struct mp_node *n = &f->mesh->node[SELF].engine;
    const struct mesh_image *const images[] = {f->image};
    struct mp_directive d;
    struct mp_receipt r = {.network = MESH_NETWORK, .generation = 1, .round = 1, .count = 3, .nibbles = {0x21, 3}};
    struct mp_keychange c = {
        .op = MP_KEYOP_INSTALL, .role = MP_ROLE_PUBLISHER, .key_id = 1, .signer = {0, 1}, .number = 1, .generation = 2};
    struct mp_report report = {.node = 5, .serial = 1};

    memset(body, 0, MP_BODY_MAX);
    switch ((enum mp_type)type) {
    case MP_TYPE_SUMMARY:
        mp_put32(body, NONCE);
        return 25;
    case MP_TYPE_MANIFEST:
        memcpy(body, f->image->raw, MP_MANIFEST_SIZE);
        return MP_MANIFEST_SIZE;
    case MP_TYPE_DIRECTIVE:
        sign_directive_fill(&d, MP_ACTION_OPEN, MESH_NETWORK, 5, 2, images[0]->id);
        return sign_directive(body, &d, &f->mesh->fleet.release);
    case MP_TYPE_KEYCHANGE:
        memcpy(c.previous, f->mesh->fleet.keyset.head, 32);
        memset(c.key, 9, 32);
        sign_keychange(body, &c, &f->mesh->fleet.root[0], &f->mesh->fleet.root[1]);
        return MP_KEYCHANGE_SIZE;
    case MP_TYPE_REQUEST:
        mp_put32(body, n->id);
        mp_put32(body + 4, n->nonce);
        mp_put32(body + 8, f->image->handle);
        body[15] = 1;
        return 16;
    case MP_TYPE_CHUNK:
        return mesh_chunk_body(f->image, 1, body);
    case MP_TYPE_REPORT:
        mp_put32(body, n->id);
        mp_put32(body + 4, n->nonce);
        body[8] = 1;
        mp_report_put(crypto_sodium(), body + 10, &report, f->mesh->key);
        return 29;
    case MP_TYPE_REPORT_ACK:
        mp_put32(body, n->id);
        mp_put32(body + 4, n->nonce);
        return 8;
    case MP_TYPE_RECEIPT:
        return sign_receipt(body, &r, &f->mesh->fleet.release);
    }
    return 0;
}

static int hear(struct fixture *f, const uint8_t *frame, size_t len)
{
    struct mesh_node *n = &f->mesh->node[SELF];

    return mp_node_receive(&n->engine, &n->env, f->mesh->now, frame, len);
}

/* The frame is dropped for that reason, the drop is counted, and the engine is as it was. */
static void check_dropped(struct fixture *f, const uint8_t *frame, size_t len, int error)
{
    struct mesh_node *n = &f->mesh->node[SELF];
    struct mp_node before = n->engine;
    uint32_t dropped = n->counters.dropped[-error], puts = n->put_count;

    assert_int_equal(hear(f, frame, len), error);
    assert_int_equal(n->counters.dropped[-error], dropped + 1);
    assert_memory_equal(&n->engine, &before, sizeof before);
    assert_int_equal(n->put_count, puts);
}

static void every_type_is_taken_whole(void **state)
{
    (void)state;

    for (unsigned type = 1; type < MESH_TYPES; type++) {
        struct fixture f;
        uint8_t body[MP_BODY_MAX];
        size_t len;

        begin(&f);
        len = make_body(&f, type, body);
        assert_int_equal(mesh_forge(f.mesh, SELF, PEER, type, body, len),
                         type <= MP_TYPE_RECEIPT ? (type == MP_TYPE_MANIFEST ? MP_ERR_DUPLICATE : MP_OK) : MP_ERR_TYPE);
        assert_true(f.mesh->node[SELF].counters.received[type] > 0);
        end(&f);
    }
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;

    for (unsigned type = 1; type <= MP_TYPE_RECEIPT; type++) {
        struct fixture f;
        uint8_t body[MP_BODY_MAX];
        size_t len;

        begin(&f);
        len = make_body(&f, type, body);
        f.len = mesh_seal(f.mesh, f.frame, PEER, type, body, len);
        for (size_t bit = 0; bit < 8 * f.len; bit++) {
            size_t at = bit / 8;
            int error = MP_ERR_TAG;

            if (at == 0 && bit >= 4)
                error = MP_ERR_FORMAT; /* version */
            else if (at >= 1 && at <= 3)
                error = MP_ERR_NETWORK; /* key id, network */
            f.frame[at] ^= (uint8_t)(1u << bit % 8);
            check_dropped(&f, f.frame, f.len, error);
            f.frame[at] ^= (uint8_t)(1u << bit % 8);
        }
        end(&f);
    }
}

/* Cut on the air: the tag is gone. */
static void every_cut_frame_is_dropped(void **state)
{
    struct fixture f;
    uint8_t body[MP_BODY_MAX];
    (void)state;

    begin(&f);
    for (unsigned type = 1; type <= MP_TYPE_RECEIPT; type++) {
        f.len = make_body(&f, type, body);
        f.len = mesh_seal(f.mesh, f.frame, PEER, type, body, f.len);
        for (size_t len = 0; len < f.len; len++)
            check_dropped(&f, f.frame, len, len < 25 ? MP_ERR_LENGTH : MP_ERR_TAG);
    }
    for (size_t len = MP_FRAME_MAX + 1; len < 300; len++) {
        uint8_t longer[300] = {0};

        memcpy(longer, f.frame, f.len);
        check_dropped(&f, longer, len, MP_ERR_LENGTH);
    }
    end(&f);
}

/* Cut before it was sealed, by a member that has the key: refused by its type's own rules, at every length. */
static void every_short_body_is_refused(void **state)
{
    (void)state;

    for (unsigned type = 1; type <= MP_TYPE_RECEIPT; type++) {
        struct fixture f;
        uint8_t body[MP_BODY_MAX];
        size_t whole;

        begin(&f);
        whole = make_body(&f, type, body);
        for (size_t len = 0; len <= MP_BODY_MAX; len++) {
            uint8_t exact[MP_BODY_MAX];
            uint32_t puts = f.mesh->node[SELF].put_count;
            int error;

            if (len == whole)
                continue;
            /* At the end of the buffer, so that a sanitizer sees a read beyond the body. */
            memcpy(exact + MP_BODY_MAX - len, body, len);
            error = mesh_forge(f.mesh, SELF, PEER, type, exact + MP_BODY_MAX - len, len);
            if (type == MP_TYPE_REPORT_ACK && len > 8 && (len - 8) % 6 == 0 && len <= 8 + 31 * 6) {
                assert_int_equal(error, MP_OK); /* entries of zeros */
            } else if (type == MP_TYPE_REQUEST && len > 16 && len - 15 <= (f.image->tree.positions + 7) / 8) {
                assert_int_equal(error, MP_OK); /* wants no more */
            } else if (type == MP_TYPE_REQUEST || type == MP_TYPE_DIRECTIVE || type == MP_TYPE_RECEIPT) {
                assert_true(error == MP_ERR_LENGTH || error == MP_ERR_FORMAT);
            } else {
                assert_int_equal(error, MP_ERR_LENGTH);
            }
            assert_int_equal(f.mesh->node[SELF].put_count, puts);
            f.mesh->now += MP_MS(100);
        }
        end(&f);
    }
}

static void header_ranges(void **state)
{
    struct fixture f;
    struct mp_header h = {.type = MP_TYPE_SUMMARY, .key_id = MESH_KEY_ID, .network = MESH_NETWORK, .source = PEER};
    (void)state;

    begin(&f);
    memset(f.frame, 0, sizeof f.frame);
    mp_put32(f.frame + MP_HEADER_SIZE, NONCE);
#define CHECK(field, value, error)                                                                                     \
    do {                                                                                                               \
        struct mp_header bad = h;                                                                                      \
        bad.counter = (uint64_t)9 << 24;                                                                               \
        bad.field = value;                                                                                             \
        mp_header_put(f.frame, &bad);                                                                                  \
        f.len = mp_frame_seal(crypto_sodium(), f.frame, MP_HEADER_SIZE + 25, f.mesh->key);                             \
        check_dropped(&f, f.frame, f.len, error);                                                                      \
    } while (0)
    CHECK(source, 0, MP_ERR_SOURCE);
    CHECK(source, UINT32_MAX, MP_ERR_SOURCE);
    CHECK(source, MESH_ID + SELF, MP_ERR_SOURCE);
    CHECK(network, MESH_NETWORK + 1, MP_ERR_NETWORK);
    CHECK(key_id, MESH_KEY_ID + 1, MP_ERR_NETWORK);
    CHECK(key_id, 0, MP_ERR_NETWORK); /* the slot that is not in use */
    CHECK(counter, 0xFFFFFF, MP_ERR_FORMAT);
#undef CHECK
    end(&f);
}

static void replays_are_dropped(void **state)
{
    struct fixture f;
    uint8_t body[MP_BODY_MAX], old[MP_FRAME_MAX];
    size_t old_len;
    (void)state;

    begin(&f);
    old_len = make_body(&f, MP_TYPE_SUMMARY, body);
    old_len = mesh_seal(f.mesh, old, PEER, MP_TYPE_SUMMARY, body, old_len);
    for (unsigned type = 1; type <= MP_TYPE_RECEIPT; type++) {
        f.len = make_body(&f, type, body);
        f.len = mesh_seal(f.mesh, f.frame, PEER, type, body, f.len);
        hear(&f, f.frame, f.len);
        f.mesh->now += MP_SECONDS(1);
        f.mesh->node[SELF].engine.now = f.mesh->now;
        check_dropped(&f, f.frame, f.len, MP_ERR_REPLAY);
        check_dropped(&f, old, old_len, MP_ERR_REPLAY); /* older than the last, never heard */
    }
    end(&f);
}

/* Of a stranger nothing is kept, so its frames can be replayed; that must not bring anything new. */
static void replays_of_strangers_are_idempotent(void **state)
{
    struct fixture f;
    uint8_t body[MP_BODY_MAX];
    struct mesh_node *n;
    (void)state;

    begin(&f);
    n = &f.mesh->node[SELF];
    for (uint32_t i = 0; i < MP_NEIGHBOURS_MAX; i++)
        mesh_greet(f.mesh, SELF, PEER + i, 1, 0, 0, 0);
    for (unsigned type = MP_TYPE_DIRECTIVE; type <= MP_TYPE_RECEIPT; type++) {
        uint32_t puts, stored;

        f.len = make_body(&f, type, body);
        f.len = mesh_seal(f.mesh, f.frame, PEER + 1000, type, body, f.len);
        hear(&f, f.frame, f.len);
        puts = n->put_count;
        stored = n->counters.chunks_stored;
        for (unsigned i = 0; i < 5; i++)
            hear(&f, f.frame, f.len);
        assert_int_equal(n->put_count, puts);
        assert_int_equal(n->counters.chunks_stored, stored);
        assert_in_range(n->engine.custody_count, 0, 1);
    }
    end(&f);
}

/* Both key slots are heard, one is used for sending. */
static void two_network_keys(void **state)
{
    struct mesh *mesh = mesh_new(2, MP_SECONDS(1), 3);
    struct mesh_node *n = &mesh->node[SELF];
    uint8_t frame[MP_FRAME_MAX] = {0}, second[16];
    struct mp_header h = {.type = MP_TYPE_SUMMARY, .network = MESH_NETWORK, .source = PEER};
    size_t len;
    (void)state;

    memset(second, 0xC3, sizeof second);
    n->identity.key_count = 2;
    n->identity.key_active = 1;
    n->identity.key_id[1] = 9;
    memcpy(n->identity.network_key[1], second, 16);
    mesh_boot(mesh, SELF);
    mp_put32(frame + MP_HEADER_SIZE, NONCE);
    for (unsigned slot = 0; slot < 2; slot++) {
        h.key_id = n->identity.key_id[slot];
        h.counter = ((uint64_t)1 << 24) + slot;
        mp_header_put(frame, &h);
        len = mp_frame_seal(crypto_sodium(), frame, MP_HEADER_SIZE + 25, n->identity.network_key[slot]);
        assert_int_equal(mp_node_receive(&n->engine, &n->env, mesh->now, frame, len), MP_OK);
        h.counter += 10;
        mp_header_put(frame, &h); /* the other slot's key under this id */
        len = mp_frame_seal(crypto_sodium(), frame, MP_HEADER_SIZE + 25, n->identity.network_key[1 - slot]);
        assert_int_equal(mp_node_receive(&n->engine, &n->env, mesh->now, frame, len), MP_ERR_TAG);
    }
    mesh_run(mesh, MP_SECONDS(2));
    const struct mesh_sent *s = mesh_last(mesh, SELF, MP_TYPE_SUMMARY, 0);
    assert_non_null(s);
    assert_int_equal(s->frame[1], 9);
    assert_int_equal(mp_frame_check(crypto_sodium(), s->frame, s->len, second), MP_OK);
    mesh_free(mesh);
}

static void identity_is_checked(void **state)
{
    struct mesh *mesh = mesh_new(1, 0, 4);
    struct mesh_node *n = &mesh->node[0];
    struct mp_identity good = n->identity;
    struct mp_node engine;
    (void)state;

#define REFUSED(field, value)                                                                                          \
    do {                                                                                                               \
        struct mp_identity bad = good;                                                                                 \
        bad.field = value;                                                                                             \
        assert_int_equal(mp_node_init(&engine, &n->env, &bad, 0), MP_ERR_FORMAT);                                      \
    } while (0)
    REFUSED(node, 0);
    REFUSED(node, UINT32_MAX);
    REFUSED(boot, 0);
    REFUSED(boot, 1u << 24);
    REFUSED(key_count, 0);
    REFUSED(key_count, 3);
    REFUSED(key_active, 1);
#undef REFUSED
    good.boot = (1u << 24) - 1;
    assert_int_equal(mp_node_init(&engine, &n->env, &good, 0), MP_OK);
    n->len[MP_KIND_KEYSET][0] = 0;
    assert_int_equal(mp_node_init(&engine, &n->env, &good, 0), MP_ERR_KEY);
    n->fail_gets = 1;
    assert_int_equal(mp_node_init(&engine, &n->env, &good, 0), MP_ERR_STORE);
    mesh_free(mesh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_taken_whole),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(every_cut_frame_is_dropped),
        cmocka_unit_test(every_short_body_is_refused),
        cmocka_unit_test(header_ranges),
        cmocka_unit_test(replays_are_dropped),
        cmocka_unit_test(replays_of_strangers_are_idempotent),
        cmocka_unit_test(two_network_keys),
        cmocka_unit_test(identity_is_checked),
    };

    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
