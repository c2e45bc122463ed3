/*
 * Bad frames: while a release spreads over a line of three nodes, an attacker sends a mutation of every frame that goes
 * out to everybody who is about to hear it. Each is dropped and counted under its cause, the receiver is bit for bit
 * what it was, and the release arrives as if nobody had been there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"
#include "tests/lib/mesh_rig.h"

enum { NODES = 3, LAST = NODES - 1, LOUD = 512 };

static const struct mesh_image *images[2];
static struct {
    unsigned tried;
    uint16_t types; /* bit per frame type that was attacked */
    uint8_t before[NODES][MP_FRAME_MAX];
    size_t before_len[NODES];
} attack;

static uint32_t hash_bitmap(const struct mesh_node *n, unsigned place)
{
    uint32_t hash = 1;

    for (uint32_t i = 0; n->image[place] && i < n->image[place]->tree.positions / 8 + 1; i++)
        hash = hash * 31 + n->bitmap[place][i];
    return hash;
}

/* Hands the bytes to a node: dropped for that reason, counted once, and nothing else of the node is another. */
static void expect_dropped(struct mesh *mesh, unsigned to, const uint8_t *bytes, size_t len, int error)
{
    static struct mesh_node before;
    struct mesh_node *n = &mesh->node[to];
    uint8_t *exact = malloc(len ? len : 1); /* so that a sanitizer sees a read beyond it */
    uint32_t bitmap = hash_bitmap(n, 1);

    assert_non_null(exact);
    if (len)
        memcpy(exact, bytes, len);
    n->engine.now = mesh->now;
    before = *n;
    before.counters.dropped[-error]++;
    int result = mp_node_receive(&n->engine, &n->env, mesh->now, exact, len);

    free(exact);
    assert_int_equal(result, error);
    assert_memory_equal(n, &before, sizeof before);
    assert_int_equal(hash_bitmap(n, 1), bitmap);
    attack.tried++;
}

static bool arrived(const struct mesh *mesh)
{
    return mesh_has(mesh, 1, 1) && mesh_has(mesh, LAST, 1);
}

static bool receipted(const struct mesh *mesh)
{
    return mp_node_is_receipted(&mesh->node[LAST].engine);
}

/* A whole release under attack: keys, manifest, chunks, a report and its receipt. */
static void spread_under(bool (*on_frame)(struct mesh *mesh, unsigned from, const uint8_t *frame, size_t len))
{
    struct mesh *mesh = mesh_new(NODES, MP_SECONDS(5), 11);
    struct mesh_image *image = mesh_image_new(mesh, 4, 6, 3000);
    struct mesh_node *last = &mesh->node[LAST];

    memset(&attack, 0, sizeof attack);
    images[0] = image;
    mesh->images = images;
    mesh->node[1].model = last->model = 4;
    mesh->on_frame = on_frame;
    mesh_line(mesh, 0);
    mesh_open(mesh, 0, 1, image, true);
    mesh_release(mesh, 0, image);
    mesh_run(mesh, MP_SECONDS(2));
    assert_true(mesh_receipt(mesh, 0, 1, (const uint16_t[NODES]){0}, NODES) == MP_OK);
    assert_true(mesh_until(mesh, MP_SECONDS(120), arrived));
    assert_int_equal(mp_node_report(&last->engine, &last->env, mesh->now, 5, 6, MP_PHASE_STAGED, MP_REASON_NONE),
                     MP_OK);
    mesh_run(mesh, MP_SECONDS(30));
    const uint16_t serials[NODES] = {0, 0, last->engine.report.serial};

    assert_true(mesh_receipt(mesh, 0, 2, serials, NODES) == MP_OK);
    assert_true(mesh_until(mesh, MP_SECONDS(120), receipted));
    assert_true(mesh_agrees(mesh));
    assert_true(attack.tried > 100);
    for (unsigned type = 1; type < MESH_TYPES; type++)
        if (type != MP_TYPE_KEYCHANGE && type <= MP_TYPE_RECEIPT)
            assert_true(attack.types >> type & 1);
    mesh_image_free(image);
    mesh_free(mesh);
}

static bool is_heard(const struct mesh *mesh, unsigned from, unsigned to)
{
    return to != from && mesh->loss[from][to] < 100;
}

/* --- the mutations ------------------------------------------------------------------------------------------------ */

static bool truncate_frame(struct mesh *mesh, unsigned from, const uint8_t *frame, size_t len)
{
    attack.types |= (uint16_t)(1u << (frame[0] & 15));
    for (unsigned to = 0; to < NODES; to++)
        for (size_t cut = 0; is_heard(mesh, from, to) && cut < len; cut++)
            expect_dropped(mesh, to, frame, cut, cut < 25 ? MP_ERR_LENGTH : MP_ERR_TAG);
    return true;
}

static bool lengthen_frame(struct mesh *mesh, unsigned from, const uint8_t *frame, size_t len)
{
    uint8_t longer[LOUD];

    attack.types |= (uint16_t)(1u << (frame[0] & 15));
    memset(longer, 0xA5, sizeof longer);
    memcpy(longer, frame, len);
    for (unsigned to = 0; to < NODES; to++)
        for (size_t size = len + 1; is_heard(mesh, from, to) && size <= LOUD; size += size < 260 ? 1 : 63)
            expect_dropped(mesh, to, longer, size, size > MP_FRAME_MAX ? MP_ERR_LENGTH : MP_ERR_TAG);
    return true;
}

/* What a flip of this bit runs into first: version, key id or network, a forbidden source or boot, else the tag. */
static int flip_error(const uint8_t *flipped, unsigned bit, const struct mesh_node *to)
{
    if (bit < 8 && bit >= 4)
        return MP_ERR_FORMAT;
    if (bit / 8 >= 1 && bit / 8 <= 3)
        return MP_ERR_NETWORK;
    if (mp_get32(flipped + 4) == to->identity.node || mp_get32(flipped + 4) == 0)
        return MP_ERR_SOURCE;
    if (mp_get24(flipped + 8) == 0)
        return MP_ERR_FORMAT;
    return MP_ERR_TAG;
}

static bool flip_frame(struct mesh *mesh, unsigned from, const uint8_t *frame, size_t len)
{
    uint8_t flipped[MP_FRAME_MAX];
    unsigned step = attack.types >> (frame[0] & 15) & 1 ? 37 : 1; /* every bit of the first of a type */

    attack.types |= (uint16_t)(1u << (frame[0] & 15));
    for (unsigned to = 0; to < NODES; to++) {
        for (unsigned bit = 0; is_heard(mesh, from, to) && bit < len * 8; bit += step) {
            memcpy(flipped, frame, len);
            flipped[bit / 8] ^= (uint8_t)(1u << bit % 8);
            expect_dropped(mesh, to, flipped, len, flip_error(flipped, bit, &mesh->node[to]));
        }
    }
    return true;
}

/* The sender's frame before this one, which everybody heard, once more. */
static bool replay_frame(struct mesh *mesh, unsigned from, const uint8_t *frame, size_t len)
{
    for (unsigned to = 0; to < NODES; to++) {
        if (!is_heard(mesh, from, to) || attack.before_len[from] == 0)
            continue;
        attack.types |= (uint16_t)(1u << (attack.before[from][0] & 15));
        expect_dropped(mesh, to, attack.before[from], attack.before_len[from], MP_ERR_REPLAY);
    }
    memcpy(attack.before[from], frame, len);
    attack.before_len[from] = len;
    return true;
}

/* The same under another network's number, the same number under another network's key, and an unknown key id. */
static bool send_foreign(struct mesh *mesh, unsigned from, const uint8_t *frame, size_t len)
{
    static const uint8_t other_key[16] = "another network";
    uint8_t foreign[MP_FRAME_MAX];

    attack.types |= (uint16_t)(1u << (frame[0] & 15));
    for (unsigned to = 0; to < NODES; to++) {
        if (!is_heard(mesh, from, to))
            continue;
        memcpy(foreign, frame, len);
        mp_put16(foreign + 2, MESH_NETWORK + 1);
        mp_frame_seal(crypto_sodium(), foreign, len - MP_TAG_SIZE, mesh->key);
        expect_dropped(mesh, to, foreign, len, MP_ERR_NETWORK);
        memcpy(foreign, frame, len);
        mp_frame_seal(crypto_sodium(), foreign, len - MP_TAG_SIZE, other_key);
        expect_dropped(mesh, to, foreign, len, MP_ERR_TAG);
        memcpy(foreign, frame, len);
        foreign[1] = MESH_KEY_ID + 1;
        mp_frame_seal(crypto_sodium(), foreign, len - MP_TAG_SIZE, mesh->key);
        expect_dropped(mesh, to, foreign, len, MP_ERR_NETWORK);
    }
    return true;
}

/* --- the tests ---------------------------------------------------------------------------------------------------- */

static void test_truncated_frame_is_dropped_and_counted(void **state)
{
    (void)state;
    spread_under(truncate_frame);
}

static void test_oversized_frame_is_dropped_and_counted(void **state)
{
    (void)state;
    spread_under(lengthen_frame);
}

static void test_bit_flipped_frame_is_dropped_and_counted(void **state)
{
    (void)state;
    spread_under(flip_frame);
}

static void test_replayed_frame_is_dropped_and_counted(void **state)
{
    (void)state;
    spread_under(replay_frame);
}

static void test_foreign_network_frame_is_dropped_and_counted(void **state)
{
    (void)state;
    spread_under(send_foreign);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncated_frame_is_dropped_and_counted),
        cmocka_unit_test(test_oversized_frame_is_dropped_and_counted),
        cmocka_unit_test(test_bit_flipped_frame_is_dropped_and_counted),
        cmocka_unit_test(test_replayed_frame_is_dropped_and_counted),
        cmocka_unit_test(test_foreign_network_frame_is_dropped_and_counted),
    };

    if (crypto_sodium() == NULL)
        return 1;
    return cmocka_run_group_tests_name("bad frame", tests, NULL, NULL);
}
