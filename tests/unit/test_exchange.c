/* Exchange: chunks in, holes asked for, demand answered (SPEC 7); the biggest payload; stores that fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "proto/mesh/engine.h"
#include "proto/mp_wire.h"
#include "tests/lib/mesh_rig.h"

enum { SELF = 1, NONCE = 77 };
#define PEER MESH_STRANGER

static struct mp_node *engine(struct mesh *mesh, unsigned i)
{
    return &mesh->node[i].engine;
}

static uint32_t held(const struct mesh *mesh, unsigned i)
{
    uint32_t count = 0, positions;

    (void)mp_node_progress(&mesh->node[i].engine, 1, &count, &positions);
    return count;
}

static int give(struct mesh *mesh, unsigned i, const struct mesh_image *image, uint32_t position)
{
    uint8_t body[MP_BODY_MAX];
    size_t len = mesh_chunk_body(image, position, body);

    return mesh_forge(mesh, i, PEER, MP_TYPE_CHUNK, body, len);
}

static bool everybody_has_it(const struct mesh *mesh)
{
    for (unsigned i = 1; i < mesh->count; i++)
        if (!mesh->node[i].is_off && !mesh_has(mesh, i, 1))
            return false;
    return true;
}

/* A gateway (whole) and nodes that fetch. */
static struct mesh_image *begin(struct mesh *mesh, uint32_t size)
{
    struct mesh_image *image = mesh_image_new(mesh, 1, 5, size);

    for (unsigned i = 0; i < mesh->count; i++) {
        mesh_release(mesh, i, image);
        mesh_open(mesh, i, 1, image, i == 0);
    }
    return image;
}

/* --- receiving ---------------------------------------------------------------------------------------------------- */

static void chunks_are_taken_in_tree_order(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mesh_image *image = begin(mesh, 10000);
    const struct mp_tree *t = &image->tree;
    (void)state;

    assert_int_equal(t->levels, 3);
    assert_int_equal(give(mesh, SELF, image, t->positions - 1), MP_ERR_PARENT);
    assert_int_equal(give(mesh, SELF, image, 1), MP_ERR_PARENT);
    for (uint32_t at = 0; at < t->positions; at++) {
        assert_int_equal(held(mesh, SELF), at);
        assert_int_equal(give(mesh, SELF, image, at), MP_OK);
        assert_int_equal(give(mesh, SELF, image, at), MP_OK); /* a duplicate */
        assert_int_equal(mesh_take_events(mesh, SELF) & MP_EVENT_COMPLETE,
                         at + 1 == t->positions ? MP_EVENT_COMPLETE : 0);
    }
    assert_int_equal(mesh->node[SELF].counters.chunks_stored, t->positions);
    assert_int_equal(mesh->node[SELF].counters.chunks_duplicate, t->positions);
    mesh_image_free(image);
    mesh_free(mesh);
}

/* Every byte of every chunk, every length, every position beyond the end: nothing of it is stored or passed on. */
static void poison_is_never_stored_nor_passed_on(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mesh_image *image = begin(mesh, 4000);
    uint8_t body[MP_BODY_MAX];
    (void)state;

    mesh_greet(mesh, SELF, PEER + 1, NONCE, 0, image->handle, 0); /* somebody who would want it */
    for (uint32_t at = 0; at < image->tree.positions; at++) {
        size_t len = mesh_chunk_body(image, at, body);

        for (size_t byte = 7; byte < len; byte++) {
            body[byte] ^= (uint8_t)(1u << byte % 8);
            assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_CHUNK, body, len), MP_ERR_CHUNK);
            body[byte] ^= (uint8_t)(1u << byte % 8);
        }
        for (size_t cut = 0; cut < len; cut++)
            assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_CHUNK, body, cut), MP_ERR_LENGTH);
        if (len < 7 + MP_CHUNK_SIZE)
            assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_CHUNK, body, len + 1), MP_ERR_LENGTH);
        mp_put24(body + 4, image->tree.positions + at);
        assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_CHUNK, body, len), MP_ERR_FORMAT);
        mp_put24(body + 4, 0xFFFFFF);
        assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_CHUNK, body, len), MP_ERR_FORMAT);
        assert_int_equal(held(mesh, SELF), at);
        assert_int_equal(give(mesh, SELF, image, at), MP_OK);
        mesh_run(mesh, MP_MS(60));
    }
    assert_int_equal(mesh->node[SELF].counters.written[MP_TYPE_CHUNK], image->tree.positions);
    for (unsigned i = 0; i < mesh->sent_count; i++)
        if (mesh->sent[i].node == SELF && (mesh->sent[i].frame[0] & 15) == MP_TYPE_CHUNK) {
            const uint8_t *b = mesh->sent[i].frame + MP_HEADER_SIZE;
            uint32_t at = mp_get24(b + 4);

            assert_memory_equal(b + 7, image->chunk + at * MP_CHUNK_SIZE, mp_tree_length(&image->tree, at));
        }
    mesh_image_free(image);
    mesh_free(mesh);
}

/* A leaf of one payload under another's handle, a leaf in another leaf's place. */
static void chunks_do_not_change_places(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mesh_image *image = begin(mesh, 4000), *other = mesh_image_new(mesh, 1, 6, 4000);
    uint8_t body[MP_BODY_MAX];
    size_t len;
    (void)state;

    len = mesh_chunk_body(other, 0, body);
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_CHUNK, body, len), MP_ERR_ABSENT);
    mp_put32(body, image->handle);
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_CHUNK, body, len), MP_ERR_CHUNK);
    for (uint32_t at = 0; at < image->tree.first[0]; at++)
        assert_int_equal(give(mesh, SELF, image, at), MP_OK);
    len = mesh_chunk_body(image, image->tree.first[0], body);
    mp_put24(body + 4, image->tree.first[0] + 1);
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_CHUNK, body, len), MP_ERR_CHUNK);
    mesh_image_free(image);
    mesh_image_free(other);
    mesh_free(mesh);
}

/* --- passing on --------------------------------------------------------------------------------------------------- */

static uint32_t forwards(struct mesh *mesh, unsigned wanting, unsigned copies)
{
    struct mesh_image *image = begin(mesh, 150);
    uint32_t sent;

    for (unsigned i = 0; i < wanting; i++)
        mesh_greet(mesh, SELF, PEER + 1 + i, NONCE, 0, image->handle, 0);
    assert_int_equal(give(mesh, SELF, image, 0), MP_OK);
    for (unsigned i = 0; i < copies; i++)
        assert_int_equal(give(mesh, SELF, image, 0), MP_OK);
    mesh->loss[SELF][0] = 100;
    mesh_run(mesh, MP_MS(200));
    sent = mesh->node[SELF].counters.written[MP_TYPE_CHUNK];
    mesh_image_free(image);
    mesh_free(mesh);
    return sent;
}

static void passed_on_if_somebody_may_lack_it(void **state)
{
    (void)state;

    assert_int_equal(forwards(mesh_new(2, 0, 1), 0, 0), 0);
    for (unsigned wanting = 1; wanting <= 6; wanting++)
        assert_int_equal(forwards(mesh_new(2, 0, 1), wanting, 0), 1);
    /* Copies heard while it waits: one is enough where many want it, two where few do. */
    assert_int_equal(forwards(mesh_new(2, 0, 1), 6, 1), 0);
    assert_int_equal(forwards(mesh_new(2, 0, 1), 2, 1), 1);
    assert_int_equal(forwards(mesh_new(2, 0, 1), 2, 2), 0);
}

/* More chunks than the ring holds: the oldest is given up, nothing else. */
static void a_full_ring_gives_up_the_oldest(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mesh_image *image = begin(mesh, 10000);
    (void)state;

    mesh_greet(mesh, SELF, PEER + 1, NONCE, 0, image->handle, 0);
    for (uint32_t at = 0; at < image->tree.positions; at++)
        assert_int_equal(give(mesh, SELF, image, at), MP_OK);
    mesh_drain(mesh, SELF);
    assert_int_equal(mesh->node[SELF].counters.written[MP_TYPE_CHUNK], MP_FORWARDS_MAX);
    mesh_image_free(image);
    mesh_free(mesh);
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

static void requests_are_well_formed(void **state)
{
    static const uint32_t sizes[] = {1, 192, 193, 3072, 3073, 20000, 131072, MP_IMAGE_MAX};
    (void)state;

    for (unsigned k = 0; k < sizeof sizes / sizeof sizes[0]; k++)
        for (unsigned missing = 0; missing < 4; missing++) {
            struct mesh *mesh = mesh_new(2, 0, k + 1);
            struct mesh_image *image = mesh_image_new(mesh, 1, 5, sizes[k]);
            uint32_t positions = image->tree.positions;
            const struct mesh_sent *s;
            uint32_t base;
            size_t bits;

            mesh_release(mesh, SELF, image);
            mesh_open(mesh, SELF, 1, image, missing != 0);
            if (missing == 1)
                mesh->node[SELF].bitmap[1][0] &= 0xFE; /* the first */
            else if (missing == 2)
                mesh->node[SELF].bitmap[1][(positions - 1) / 8] &=
                    (uint8_t) ~(1u << (positions - 1) % 8); /* the last */
            else if (missing == 3)
                mesh->node[SELF].bitmap[1][positions / 2 / 8] &= (uint8_t) ~(1u << positions / 2 % 8);
            mp_node_recheck(engine(mesh, SELF), &mesh->node[SELF].env, mesh->now, 1);
            mesh_run(mesh, MP_SECONDS(2));
            s = mesh_last(mesh, SELF, MP_TYPE_REQUEST, 0);
            assert_non_null(s);
            base = mp_get24(s->frame + MP_HEADER_SIZE + 12);
            bits = s->len - 25 - 15;
            assert_int_equal(base % 8, 0);
            assert_in_range(bits, 1, 128);
            assert_true(base + 8 * bits <= (positions + 7) / 8 * 8);
            for (uint32_t i = 0; i < 8 * bits; i++) {
                bool is_missing = base + i < positions && !MP_BIT(mesh->node[SELF].bitmap[1], base + i);

                assert_int_equal(MP_BIT(s->frame + MP_HEADER_SIZE + 15, i), is_missing);
            }
            /* And a node that has it all understands and answers it. */
            mesh_release(mesh, 0, image);
            mesh_open(mesh, 0, 1, image, true);
            assert_int_equal(mp_node_receive(engine(mesh, 0), &mesh->node[0].env, mesh->now, s->frame, s->len), MP_OK);
            mesh_drain(mesh, 0);
            mesh->now += MP_MS(100);
            mesh_drain(mesh, 0);
            s = mesh_last(mesh, 0, MP_TYPE_CHUNK, 0);
            assert_non_null(s);
            assert_int_equal(mp_node_receive(engine(mesh, SELF), &mesh->node[SELF].env, mesh->now, s->frame, s->len),
                             missing == 0 && s->frame[MP_HEADER_SIZE + 4] ? MP_ERR_PARENT : MP_OK);
            mesh_image_free(image);
            mesh_free(mesh);
        }
}

/* With nobody there, asking slows down to about a minute; when a supplier comes, it begins at once. */
static void asking_slows_down_and_recovers(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 3);
    struct mesh_image *image = begin(mesh, 30000);
    uint32_t first, later;
    (void)state;

    mesh_run(mesh, MP_SECONDS(600));
    first = mesh->node[SELF].counters.written[MP_TYPE_REQUEST];
    mesh_run(mesh, MP_SECONDS(3600));
    later = mesh->node[SELF].counters.written[MP_TYPE_REQUEST] - first;
    assert_in_range(later, 30, 75);
    mesh_full(mesh, 10);
    assert_true(mesh_until(mesh, MP_SECONDS(200), everybody_has_it));
    mesh_image_free(image);
    mesh_free(mesh);
}

/* --- answering ---------------------------------------------------------------------------------------------------- */

static int ask(struct mesh *mesh, unsigned to, uint32_t source, uint32_t addressee, uint32_t nonce, uint32_t handle,
               uint32_t base, const uint8_t *bits, size_t len)
{
    uint8_t body[MP_BODY_MAX] = {0};

    mp_put32(body, addressee);
    mp_put32(body + 4, nonce);
    mp_put32(body + 8, handle);
    mp_put24(body + 12, base);
    memcpy(body + 15, bits, len);
    return mesh_forge(mesh, to, source, MP_TYPE_REQUEST, body, 15 + len);
}

static void malformed_requests_are_refused(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mesh_image *image = begin(mesh, 20000);
    uint32_t positions = image->tree.positions;
    const uint8_t bits[129] = {1};
    uint8_t last[2] = {0};
    (void)state;

    assert_in_range(positions % 8, 1, 7); /* so that the last byte has spare bits */
    assert_int_equal(ask(mesh, 0, PEER, 0, 0, image->handle, 1, bits, 1), MP_ERR_FORMAT);
    assert_int_equal(ask(mesh, 0, PEER, 0, 0, image->handle, 0, bits, 0), MP_ERR_LENGTH);
    assert_int_equal(ask(mesh, 0, PEER, 0, 0, image->handle, 0, bits, 129), MP_ERR_LENGTH);
    assert_int_equal(ask(mesh, 0, PEER, 0, 0, image->handle, 0, bits, (positions + 7) / 8 + 1), MP_ERR_FORMAT);
    assert_int_equal(ask(mesh, 0, PEER, 0, 0, image->handle, 0xFFFFF8, bits, 1), MP_ERR_FORMAT);
    for (unsigned bit = 0; bit < 8; bit++) {
        last[0] = (uint8_t)(1u << bit);
        assert_int_equal(ask(mesh, 0, PEER, 0, 0, image->handle, positions & ~7u, last, 1),
                         bit < positions % 8 ? MP_OK : MP_ERR_FORMAT);
    }
    assert_int_equal(ask(mesh, 0, PEER, 0, 0, image->handle + 1, 0, bits, 1), MP_ERR_ABSENT);
    assert_int_equal(ask(mesh, 0, PEER, engine(mesh, 0)->id, engine(mesh, 0)->nonce + 1, image->handle, 0, bits, 1),
                     MP_ERR_REPLAY);
    assert_int_equal(ask(mesh, 0, PEER, engine(mesh, 0)->id, engine(mesh, 0)->nonce, image->handle, 0, bits, 1), MP_OK);
    mesh_image_free(image);
    mesh_free(mesh);
}

static unsigned chunks_sent(const struct mesh *mesh, unsigned i)
{
    return mesh->node[i].counters.written[MP_TYPE_CHUNK];
}

/* The addressee sends all that is wanted, tree first and in order; a chunk heard meanwhile is left out. */
static void the_addressee_answers_in_order(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mesh_image *image = begin(mesh, 20000);
    uint8_t bits[16], body[MP_BODY_MAX];
    uint32_t last = 0;
    size_t len;
    (void)state;

    memset(bits, 0xFF, sizeof bits);
    bits[image->tree.positions / 8] = (uint8_t)((1u << image->tree.positions % 8) - 1);
    assert_int_equal(ask(mesh, 0, PEER, engine(mesh, 0)->id, engine(mesh, 0)->nonce, image->handle, 0, bits,
                         (image->tree.positions + 7) / 8),
                     MP_OK);
    len = mesh_chunk_body(image, 50, body);
    assert_int_equal(mesh_forge(mesh, 0, PEER + 1, MP_TYPE_CHUNK, body, len), MP_OK);
    mesh_drain(mesh, 0);
    assert_int_equal(chunks_sent(mesh, 0), image->tree.positions - 1);
    for (unsigned i = 0; i < mesh->sent_count; i++) {
        uint32_t at = mp_get24(mesh->sent[i].frame + MP_HEADER_SIZE + 4);

        if ((mesh->sent[i].frame[0] & 15) != MP_TYPE_CHUNK)
            continue;
        assert_true(at == 0 || at == last + 1 || (at == 51 && last == 49));
        last = at;
    }
    mesh_image_free(image);
    mesh_free(mesh);
}

/* SPEC 8: the demand bucket; an hour of greed costs no more than it allows. */
static void service_is_bounded(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mesh_image *image = begin(mesh, 20000);
    uint8_t bits[13];
    (void)state;

    memset(bits, 0xFF, sizeof bits);
    for (unsigned i = 0; i < 3600; i++) {
        assert_int_equal(ask(mesh, 0, PEER, engine(mesh, 0)->id, engine(mesh, 0)->nonce, image->handle, 0, bits, 13),
                         MP_OK);
        mesh_drain(mesh, 0);
        mesh->now += MP_SECONDS(1);
    }
    assert_in_range(chunks_sent(mesh, 0), 8192, 8192 + 3600 * 4 + 4);
    mesh_image_free(image);
    mesh_free(mesh);
}

static void strangers_are_answered_seldom(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mesh_image *image = begin(mesh, 20000);
    const uint8_t bits[1] = {1};
    unsigned ok = 0;
    (void)state;

    for (uint32_t i = 0; i < MP_NEIGHBOURS_MAX; i++)
        mesh_greet(mesh, 0, PEER + i, 1, 0, 0, 0);
    for (uint32_t i = 0; i < 1000; i++) {
        ok += ask(mesh, 0, PEER + 1000 + i, 0, 0, image->handle, 0, bits, 1) == MP_OK;
        mesh->now += MP_MS(100);
    }
    assert_in_range(ok, 4, 4 + 10);
    /* Who knows the nonce, or the counter of a recent frame, has heard us lately. */
    assert_int_equal(ask(mesh, 0, PEER + 5000, engine(mesh, 0)->id, engine(mesh, 0)->nonce, image->handle, 0, bits, 1),
                     MP_OK);
    engine(mesh, 0)->counter += 5000;
    assert_int_equal(ask(mesh, 0, PEER + 5001, engine(mesh, 0)->id, (uint32_t)engine(mesh, 0)->counter - 1,
                         image->handle, 0, bits, 1),
                     MP_OK);
    assert_int_equal(ask(mesh, 0, PEER + 5002, engine(mesh, 0)->id, (uint32_t)engine(mesh, 0)->counter - 4096,
                         image->handle, 0, bits, 1),
                     MP_OK);
    assert_int_equal(ask(mesh, 0, PEER + 5003, engine(mesh, 0)->id, (uint32_t)engine(mesh, 0)->counter - 4097,
                         image->handle, 0, bits, 1),
                     MP_ERR_REPLAY);
    assert_int_equal(
        ask(mesh, 0, PEER + 5004, engine(mesh, 0)->id, (uint32_t)engine(mesh, 0)->counter, image->handle, 0, bits, 1),
        MP_ERR_REPLAY);
    mesh_image_free(image);
    mesh_free(mesh);
}

/* In a crowd most of those who ask are strangers. Who lacks the top of the tree gets one chunk from whoever hears it, a
 * node that has all helps where it can see that the request is fresh, and the rest is left to who was asked. */
static void strangers_in_a_crowd(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mesh_image *image = begin(mesh, 20000);
    const uint8_t bits[1] = {1};
    const uint32_t leaf = (uint32_t)(image->tree.first[0] + 7) & ~7u;
    struct mp_neighbour *known;
    unsigned sent;
    (void)state;

    for (uint32_t i = 0; i < MP_NEIGHBOURS_MAX; i++)
        mesh_greet(mesh, 0, PEER + i, 1, 0, 0, 0);
    /* Leaves, of somebody unknown: no token is spent on that. */
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(ask(mesh, 0, PEER + 1000 + i, PEER + 900, 7, image->handle, leaf, bits, 1), MP_ERR_BUSY);
    sent = chunks_sent(mesh, 0);
    assert_int_equal(ask(mesh, 0, PEER + 1100, PEER + 900, 7, image->handle, 0, bits, 1), MP_OK);
    mesh_run(mesh, MP_SECONDS(1));
    assert_int_equal(chunks_sent(mesh, 0), sent + 1);
    /* Of a neighbour, with what that neighbour is known by, and with something else. */
    known = mp_neighbour_find(engine(mesh, 0), PEER + 1);
    assert_non_null(known);
    assert_int_equal(ask(mesh, 0, PEER + 1200, PEER + 1, mp_neighbour_mark(known), image->handle, leaf, bits, 1),
                     MP_OK);
    assert_int_equal(ask(mesh, 0, PEER + 1201, PEER + 1, mp_neighbour_count(known), image->handle, leaf, bits, 1),
                     MP_OK);
    assert_int_equal(ask(mesh, 0, PEER + 1202, PEER + 1, mp_neighbour_count(known) + 1, image->handle, leaf, bits, 1),
                     MP_ERR_BUSY);
    mesh_image_free(image);
    mesh_free(mesh);
}

/* A recorded request of a stranger, with a mark that is still good, replayed for an hour: what it costs is bounded, at the
 * addressee and at a neighbour of it that only looks on. */
static void replayed_requests_are_bounded(void **state)
{
    (void)state;

    for (unsigned looks_on = 0; looks_on < 2; looks_on++) {
        struct mesh *mesh = mesh_new(2, 0, 1);
        struct mesh_image *image = begin(mesh, 20000);
        const struct mp_neighbour *known;
        uint32_t addressee = engine(mesh, 0)->id, mark = engine(mesh, 0)->nonce;
        uint8_t bits[13];

        memset(bits, 0xFF, sizeof bits);
        for (uint32_t i = 0; i < MP_NEIGHBOURS_MAX; i++)
            mesh_greet(mesh, 0, PEER + i, 1, 0, 0, 0);
        if (looks_on) {
            known = mp_neighbour_find(engine(mesh, 0), PEER + 1);
            assert_non_null(known);
            addressee = PEER + 1;
            mark = mp_neighbour_mark(known);
        }
        for (unsigned i = 0; i < 3600; i++) {
            /* who it is of stays a stranger: the table is full of members that are heard */
            for (uint32_t k = 0; i % 60 == 0 && k < MP_NEIGHBOURS_MAX; k++)
                mesh_greet(mesh, 0, PEER + k, 1, 0, 0, 0);
            assert_int_equal(ask(mesh, 0, PEER + 1000, addressee, mark, image->handle, 0, bits, 13), MP_OK);
            assert_null(mp_neighbour_find(engine(mesh, 0), PEER + 1000));
            mesh_drain(mesh, 0);
            mesh->now += MP_SECONDS(1);
        }
        assert_in_range(chunks_sent(mesh, 0), 8192, 8192 + 3600 * 4 + 4);
        mesh_image_free(image);
        mesh_free(mesh);
    }
}

/* What was asked for and not asked for again is not sent for ever. */
static void demand_is_forgotten(void **state)
{
    const uint8_t bits[4] = {0xFF, 0xFF, 0xFF, 0xFF};
    (void)state;

    for (unsigned seconds = 1; seconds <= 4; seconds += 3) {
        struct mesh *mesh = mesh_new(2, 0, 1);
        struct mesh_image *image = begin(mesh, 60000);
        uint8_t frame[MP_FRAME_MAX];

        assert_int_equal(ask(mesh, 0, PEER, 0, 0, image->handle, 0, bits, sizeof bits), MP_OK);
        mesh->now += MP_SECONDS(seconds);
        while (mp_node_write(engine(mesh, 0), &mesh->node[0].env, mesh->now, frame, sizeof frame) > 0)
            ;
        assert_int_equal(chunks_sent(mesh, 0) > 0, seconds < 3);
        mesh_image_free(image);
        mesh_free(mesh);
    }
}

/* --- whole transfers ---------------------------------------------------------------------------------------------- */

static void topologies_complete(void **state)
{
    (void)state;

    for (unsigned kind = 0; kind < 4; kind++)
        for (uint32_t seed = 1; seed <= 3; seed++) {
            struct mesh *mesh = mesh_new(8, seed == 3 ? MP_MS((mp_time)UINT32_MAX - 3000) : 0, seed);
            struct mesh_image *image;

            if (kind == 0)
                mesh_line(mesh, 10);
            else if (kind == 1)
                mesh_full(mesh, 30);
            else if (kind == 2)
                mesh_line(mesh, 50);
            else
                for (unsigned i = 1; i < 8; i++)
                    mesh_link(mesh, 0, i, 20);
            image = begin(mesh, 30000);
            assert_true(mesh_until(mesh, MP_SECONDS(600), everybody_has_it));
            mesh_image_free(image);
            mesh_free(mesh);
        }
}

static bool last_has_it(const struct mesh *mesh)
{
    return mesh_has(mesh, mesh->count - 1, 1);
}

/* The gateway dies once one full copy is in the mesh. */
static void a_full_copy_serves_without_the_gateway(void **state)
{
    struct mesh *mesh = mesh_new(5, 0, 9);
    struct mesh_image *image = begin(mesh, 20000);
    (void)state;

    mesh_link(mesh, 0, 4, 0);
    assert_true(mesh_until(mesh, MP_SECONDS(100), last_has_it));
    mesh->node[0].is_off = true;
    mesh_line(mesh, 10);
    assert_true(mesh_until(mesh, MP_SECONDS(300), everybody_has_it));
    mesh_image_free(image);
    mesh_free(mesh);
}

/* Chunks that the store lost are fetched again, and others that come late are still served. */
static void lost_chunks_are_fetched_again(void **state)
{
    struct mesh *mesh = mesh_new(3, 0, 10);
    struct mesh_image *image = begin(mesh, 20000);
    (void)state;

    mesh_line(mesh, 0);
    assert_true(mesh_until(mesh, MP_SECONDS(100), everybody_has_it));
    memset(mesh->node[2].bitmap[1] + 2, 0, 5);
    mesh->node[2].bitmap[1][0] &= 0xFD; /* a tree chunk too */
    mp_node_recheck(engine(mesh, 2), &mesh->node[2].env, mesh->now, 1);
    assert_false(mesh_has(mesh, 2, 1));
    mesh_take_events(mesh, 2);
    assert_true(mesh_until(mesh, MP_SECONDS(100), everybody_has_it));
    assert_true(mesh_take_events(mesh, 2) & MP_EVENT_COMPLETE);
    mesh_image_free(image);
    mesh_free(mesh);
}

/* The largest payload there is: its last windows, in this build's profile. */
static void sixteen_mebibytes(void **state)
{
    struct mesh *mesh = mesh_new(3, MP_MS((mp_time)UINT32_MAX - 20000), 11);
    struct mesh_image *image = mesh_image_new(mesh, 1, 5, MP_IMAGE_MAX);
    uint32_t positions = image->tree.positions, left = 0;
    (void)state;

    assert_int_equal(positions, 93211);
    mesh_line(mesh, 10);
    for (unsigned i = 0; i < 3; i++) {
        mesh_release(mesh, i, image);
        mesh_open(mesh, i, 1, image, true);
    }
    /* Holes at the start, at every seam of requests and demand windows, and at the end. */
    for (uint32_t at = 0; at < positions; at++)
        for (unsigned i = 1; i < 3; i++)
            if (at < 4 || at >= positions - 700 || at % 8192 > 8000) {
                mesh->node[i].bitmap[1][at / 8] &= (uint8_t) ~(1u << at % 8);
                left += i == 2;
            }
    for (unsigned i = 1; i < 3; i++)
        mp_node_recheck(engine(mesh, i), &mesh->node[i].env, mesh->now, 1);
    assert_int_equal(held(mesh, 2), positions - left);
    assert_true(mesh_until(mesh, MP_SECONDS(1200), everybody_has_it));
    mesh_image_free(image);
    mesh_free(mesh);
}

/* One call to the store in ten to one in two fails, at every node and the gateway: slower, but nothing is lost. */
static void failing_stores_only_cost_time(void **state)
{
    (void)state;

    for (unsigned percent = 10; percent <= 50; percent += 10) {
        struct mesh *mesh = mesh_new(4, 0, percent);
        struct mesh_image *image = mesh_image_new(mesh, 1, 5, 12000);
        const struct mesh_image *images[] = {image, NULL};

        mesh_line(mesh, 5);
        mesh_release(mesh, 0, image);
        mesh_open(mesh, 0, 1, image, true);
        mesh->images = images;
        for (unsigned i = 0; i < 4; i++) {
            mesh->node[i].model = i ? 1 : 0;
            mesh->node[i].fail_percent = percent;
        }
        mesh_run(mesh, MP_SECONDS(1));
        assert_true(mesh_until(mesh, MP_SECONDS(2000), everybody_has_it));
        assert_true(mesh_take_events(mesh, 1) & MP_EVENT_STORE);
        for (unsigned i = 0; i < 4; i++) {
            mesh->node[i].fail_percent = 0;
            assert_int_equal(engine(mesh, i)->heads[0].release, 5);
            mesh_boot(mesh, i);
            assert_int_equal(engine(mesh, i)->heads[0].release, 5);
            assert_true(mesh_has(mesh, i, 1));
        }
        mesh_image_free(image);
        mesh_free(mesh);
    }
}

/* A store that takes nothing for an hour: the engine neither spins nor gives up. */
static void a_dead_store_is_waited_for(void **state)
{
    struct mesh *mesh = mesh_new(3, 0, 2);
    struct mesh_image *image;
    (void)state;

    mesh_line(mesh, 0);
    image = begin(mesh, 12000);
    for (unsigned i = 1; i < 3; i++)
        mesh->node[i].fail_puts = mesh->node[i].fail_gets = UINT32_MAX;
    mesh_run(mesh, MP_SECONDS(3600));
    assert_int_equal(held(mesh, 1), 0);
    assert_in_range(mesh->node[1].counters.written[MP_TYPE_REQUEST], 30, 400);
    for (unsigned i = 1; i < 3; i++)
        mesh->node[i].fail_puts = mesh->node[i].fail_gets = 0;
    assert_true(mesh_until(mesh, MP_SECONDS(300), everybody_has_it));
    mesh_image_free(image);
    mesh_free(mesh);
}

/* A dropped place is neither served nor fetched, whatever was under way. */
static void a_dropped_place_is_forgotten(void **state)
{
    (void)state;

    for (unsigned after_ms = 100; after_ms < 3000; after_ms += 170) {
        struct mesh *mesh = mesh_new(3, 0, after_ms);
        struct mesh_image *image;
        uint32_t count, positions;

        mesh_line(mesh, 5);
        image = begin(mesh, 20000);
        mesh_run(mesh, MP_MS(after_ms));
        mesh_close(mesh, 1, 1);
        assert_int_equal(mp_node_progress(engine(mesh, 1), 1, &count, &positions), MP_ERR_ABSENT);
        mesh_run(mesh, MP_SECONDS(10)); /* a call for the place would end the program */
        mesh_open(mesh, 1, 1, image, false);
        assert_true(mesh_until(mesh, MP_SECONDS(300), everybody_has_it));
        mesh_image_free(image);
        mesh_free(mesh);
    }
}

static void places_out_of_range(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mesh_image *image = begin(mesh, 1000);
    struct mesh_node *n = &mesh->node[SELF];
    struct mp_manifest m = image->manifest;
    const uint8_t none[8] = {0};
    uint32_t count, positions;
    (void)state;

    assert_int_equal(mp_node_place(&n->engine, &n->env, 0, MP_PLACES_MAX, &m, image->id), MP_ERR_FORMAT);
    assert_int_equal(mp_node_place(&n->engine, &n->env, 0, 1, &m, none), MP_ERR_FORMAT);
    assert_int_equal(mp_node_place(&n->engine, &n->env, 0, 0, &m, image->id), MP_ERR_ABSENT); /* not in the store */
    m.payload_size = 0;
    assert_int_equal(mp_node_place(&n->engine, &n->env, 0, 1, &m, image->id), MP_ERR_FORMAT);
    m.payload_size = MP_IMAGE_MAX + 1;
    assert_int_equal(mp_node_place(&n->engine, &n->env, 0, 1, &m, image->id), MP_ERR_FORMAT);
    mp_node_drop(&n->engine, MP_PLACES_MAX);
    mp_node_drop(&n->engine, UINT32_MAX);
    mp_node_recheck(&n->engine, &n->env, 0, UINT32_MAX);
    assert_int_equal(mp_node_progress(&n->engine, UINT32_MAX, &count, &positions), MP_ERR_ABSENT);
    assert_int_equal(mp_node_progress(&n->engine, 1, &count, &positions), MP_OK);
    mesh_image_free(image);
    mesh_free(mesh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_are_taken_in_tree_order),
        cmocka_unit_test(poison_is_never_stored_nor_passed_on),
        cmocka_unit_test(chunks_do_not_change_places),
        cmocka_unit_test(passed_on_if_somebody_may_lack_it),
        cmocka_unit_test(a_full_ring_gives_up_the_oldest),
        cmocka_unit_test(requests_are_well_formed),
        cmocka_unit_test(asking_slows_down_and_recovers),
        cmocka_unit_test(malformed_requests_are_refused),
        cmocka_unit_test(the_addressee_answers_in_order),
        cmocka_unit_test(service_is_bounded),
        cmocka_unit_test(strangers_are_answered_seldom),
        cmocka_unit_test(strangers_in_a_crowd),
        cmocka_unit_test(replayed_requests_are_bounded),
        cmocka_unit_test(demand_is_forgotten),
        cmocka_unit_test(topologies_complete),
        cmocka_unit_test(a_full_copy_serves_without_the_gateway),
        cmocka_unit_test(lost_chunks_are_fetched_again),
        cmocka_unit_test(sixteen_mebibytes),
        cmocka_unit_test(failing_stores_only_cost_time),
        cmocka_unit_test(a_dead_store_is_waited_for),
        cmocka_unit_test(a_dropped_place_is_forgotten),
        cmocka_unit_test(places_out_of_range),
    };

    return cmocka_run_group_tests_name("exchange", tests, NULL, NULL);
}
