/* Foreign relay: a payload crosses members that hold no place for it, verified at every step (SPEC 7). */
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

static bool is_busy(const struct mesh *mesh, unsigned i)
{
    return mp_job_is_armed(&mesh->node[i].engine, MP_JOB_RELAY);
}

/* Node 0 has it, the last lacks it, the others relay and know the manifest alone. */
static struct mesh_image *begin(struct mesh *mesh, uint32_t size)
{
    struct mesh_image *image = mesh_image_new(mesh, 1, 5, size);

    for (unsigned i = 0; i < mesh->count; i++) {
        mesh_release(mesh, i, image);
        mesh->node[i].env.relay = &mesh->node[i].relay;
    }
    mesh_open(mesh, 0, 1, image, true);
    mesh_open(mesh, mesh->count - 1, 1, image, false);
    return image;
}

static bool last_has_it(const struct mesh *mesh)
{
    return mesh_has(mesh, mesh->count - 1, 1);
}

static void crosses(unsigned count, uint32_t size, unsigned loss_percent, mp_time now, uint32_t seed, mp_time limit)
{
    struct mesh *mesh = mesh_new(count, now, seed);
    struct mesh_image *image = begin(mesh, size);

    mesh_line(mesh, loss_percent);
    assert_true(mesh_until(mesh, limit, last_has_it));
    for (unsigned i = 1; i + 1 < count; i++) {
        assert_true(mesh->node[i].counters.written[MP_TYPE_CHUNK] >= image->tree.positions);
        assert_int_equal(mesh->node[i].counters.chunks_stored, 0);
    }
    mesh_run(mesh, MP_SECONDS(10)); /* no demand, no work */
    for (unsigned i = 1; i + 1 < count; i++)
        assert_false(is_busy(mesh, i));
    mesh_image_free(image);
    mesh_free(mesh);
}

static void a_payload_crosses_relays(void **state)
{
    (void)state;

    for (uint32_t seed = 1; seed <= 4; seed++) {
        crosses(3, 20000, 10, 0, seed, MP_SECONDS(300));
        crosses(4, 20000, 10, MP_MS((mp_time)UINT32_MAX - 4000), seed, MP_SECONDS(600));
        crosses(5, 8000, 30, 0, seed, MP_SECONDS(1200));
    }
}

static void every_depth_of_tree_crosses(void **state)
{
    static const uint32_t sizes[] = {1, 192, 193, 3072, 3073, 49152, 49153};
    (void)state;

    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        crosses(4, sizes[i], 5, 0, i + 1, MP_SECONDS(1200));
}

/* Five levels above the leaves: the relay's path is at its longest. */
static void the_largest_payload_crosses(void **state)
{
    struct mesh *mesh = mesh_new(5, 0, 3);
    struct mesh_image *image = begin(mesh, MP_IMAGE_MAX);
    uint32_t positions = image->tree.positions;
    uint8_t *bitmap = mesh->node[4].bitmap[1];
    (void)state;

    mesh_line(mesh, 5);
    memset(bitmap, 0xFF, positions / 8);
    bitmap[positions / 8] = (uint8_t)((1u << positions % 8) - 1);
    for (uint32_t at = 0; at < positions; at++)
        if (at < 3 || at % 9000 > 8950 || at + 200 > positions)
            bitmap[at / 8] &= (uint8_t) ~(1u << at % 8);
    mp_node_recheck(engine(mesh, 4), &mesh->node[4].env, mesh->now, 1);
    assert_true(mesh_until(mesh, MP_SECONDS(900), last_has_it));
    mesh_image_free(image);
    mesh_free(mesh);
}

/* A(1) - F - F - B(1), with models in between that fetch a payload of their own meanwhile. */
static bool both_have_theirs(const struct mesh *mesh)
{
    return mesh_has(mesh, 3, 1) && mesh_has(mesh, 1, 1) && mesh_has(mesh, 2, 1);
}

static void relays_fetch_their_own_meanwhile(void **state)
{
    (void)state;

    for (uint32_t seed = 1; seed <= 5; seed++) {
        struct mesh *mesh = mesh_new(4, 0, seed);
        struct mesh_image *image[2] = {mesh_image_new(mesh, 1, 5, 20000), mesh_image_new(mesh, 2, 5, 15000)};

        for (unsigned i = 0; i < 4; i++) {
            assert_int_equal(mesh_direct(mesh, i, MP_ACTION_STAGE, 5, 1, 0, (const struct mesh_image *const *)image, 2),
                             MP_OK);
            for (unsigned k = 0; k < 2; k++)
                assert_int_equal(mesh_publish(mesh, i, MP_TYPE_MANIFEST, image[k]->raw, 200), MP_OK);
            mesh->node[i].env.relay = &mesh->node[i].relay;
        }
        mesh_open(mesh, 0, 1, image[0], true);
        mesh_open(mesh, 0, 0, image[1], true);
        mesh_open(mesh, 1, 1, image[1], false);
        mesh_open(mesh, 2, 1, image[1], false);
        mesh_open(mesh, 3, 1, image[0], false);
        mesh_line(mesh, 10);
        assert_true(mesh_until(mesh, MP_SECONDS(900), both_have_theirs));
        mesh_image_free(image[0]);
        mesh_image_free(image[1]);
        mesh_free(mesh);
    }
}

/* One relay, two foreign payloads wanted through it: one at a time, but both arrive. */
static bool both_ends_have_theirs(const struct mesh *mesh)
{
    return mesh_has(mesh, 2, 1) && mesh_has(mesh, 3, 1);
}

static void two_foreign_payloads_take_turns(void **state)
{
    struct mesh *mesh = mesh_new(4, 0, 6);
    struct mesh_image *image[2] = {mesh_image_new(mesh, 1, 5, 9000), mesh_image_new(mesh, 2, 5, 9000)};
    (void)state;

    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(mesh_direct(mesh, i, MP_ACTION_STAGE, 5, 1, 0, (const struct mesh_image *const *)image, 2),
                         MP_OK);
        for (unsigned k = 0; k < 2; k++)
            assert_int_equal(mesh_publish(mesh, i, MP_TYPE_MANIFEST, image[k]->raw, 200), MP_OK);
    }
    mesh->node[1].env.relay = &mesh->node[1].relay;
    mesh_open(mesh, 0, 1, image[0], true);
    mesh_open(mesh, 0, 0, image[1], true);
    mesh_open(mesh, 2, 1, image[0], false);
    mesh_open(mesh, 3, 1, image[1], false);
    mesh_link(mesh, 0, 1, 10);
    mesh_link(mesh, 1, 2, 10);
    mesh_link(mesh, 1, 3, 10);
    assert_true(mesh_until(mesh, MP_SECONDS(1200), both_ends_have_theirs));
    mesh_image_free(image[0]);
    mesh_image_free(image[1]);
    mesh_free(mesh);
}

/* --- one relay, byte by byte -------------------------------------------------------------------------------------- */

static int ask(struct mesh *mesh, uint32_t source, const struct mesh_image *image, uint32_t base, const uint8_t *bits,
               size_t len)
{
    uint8_t body[MP_BODY_MAX] = {0};

    mp_put32(body + 8, image->handle);
    mp_put24(body + 12, base);
    memcpy(body + 15, bits, len);
    return mesh_forge(mesh, SELF, source, MP_TYPE_REQUEST, body, 15 + len);
}

static void poison_stops_at_the_first_relay(void **state)
{
    struct mesh *mesh = mesh_new(3, 0, 1);
    struct mesh_image *image = begin(mesh, 20000);
    uint8_t bits[16], body[MP_BODY_MAX];
    uint32_t sent;
    (void)state;

    memset(bits, 0xFF, sizeof bits);
    mesh_greet(mesh, SELF, PEER, NONCE, 0, image->handle, 0);
    assert_int_equal(ask(mesh, PEER, image, 0, bits, image->tree.positions / 8), MP_OK);
    for (uint32_t at = 0; at < 9; at++) {
        size_t len = mesh_chunk_body(image, at, body);
        struct mp_relay before = mesh->node[SELF].relay;

        for (size_t byte = 7; byte < len; byte++) {
            body[byte] ^= 0x10;
            assert_int_equal(mesh_forge(mesh, SELF, PEER + 1, MP_TYPE_CHUNK, body, len), MP_ERR_CHUNK);
            body[byte] ^= 0x10;
        }
        for (size_t cut = 8; cut < len; cut++)
            assert_int_equal(mesh_forge(mesh, SELF, PEER + 1, MP_TYPE_CHUNK, body, cut), MP_ERR_LENGTH);
        assert_memory_equal(&mesh->node[SELF].relay, &before, sizeof before);
        sent = mesh->node[SELF].counters.written[MP_TYPE_CHUNK];
        assert_int_equal(mesh_forge(mesh, SELF, PEER + 1, MP_TYPE_CHUNK, body, len), MP_OK);
        mesh_run(mesh, MP_MS(60));
        assert_int_equal(mesh->node[SELF].counters.written[MP_TYPE_CHUNK], sent + 1);
        assert_memory_equal(mesh_last(mesh, SELF, MP_TYPE_CHUNK, 0)->frame + MP_HEADER_SIZE, body, len);
    }
    mesh_image_free(image);
    mesh_free(mesh);
}

static void what_a_relay_refuses(void **state)
{
    struct mesh *mesh = mesh_new(3, 0, 1);
    struct mesh_image *image = begin(mesh, 20000), *other = mesh_image_new(mesh, 1, 6, 1000);
    struct mp_relay *relay = &mesh->node[SELF].relay;
    uint32_t positions = image->tree.positions;
    const uint8_t bits[20] = {1};
    uint8_t last = 0xFF, body[MP_BODY_MAX];
    (void)state;

    mesh_greet(mesh, SELF, PEER, NONCE, 0, image->handle, 0);
    assert_int_equal(ask(mesh, PEER, other, 0, bits, 1), MP_ERR_UNNAMED);
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_CHUNK, body, mesh_chunk_body(image, 0, body)), MP_ERR_ABSENT);
    assert_int_equal(ask(mesh, PEER, image, 0xFFFFF8, bits, 1), MP_ERR_FORMAT);
    assert_int_equal(ask(mesh, PEER, image, 0, bits, positions / 8 + 2), MP_ERR_FORMAT);
    assert_in_range(positions % 8, 1, 7);
    assert_int_equal(ask(mesh, PEER, image, positions & ~7u, &last, 1), MP_ERR_FORMAT); /* bits past the end */
    assert_false(is_busy(mesh, SELF)); /* none of it made the relay anybody's */
    mesh->node[SELF].env.relay = NULL;
    assert_int_equal(ask(mesh, PEER, image, 0, bits, 1), MP_ERR_ABSENT);
    mesh->node[SELF].env.relay = relay;
    assert_int_equal(ask(mesh, PEER, image, 0, bits, 1), MP_OK);
    assert_int_equal(relay->handle, image->handle);
    mesh_release(mesh, SELF, other);
    assert_int_equal(ask(mesh, PEER, other, 0, bits, 1), MP_ERR_BUSY);
    mesh_run(mesh, MP_SECONDS(2));
    assert_int_equal(relay->handle, image->handle);
    mesh_run(mesh, MP_SECONDS(2)); /* given up */
    assert_false(is_busy(mesh, SELF));
    assert_int_equal(ask(mesh, PEER, other, 0, bits, 1), MP_OK);
    assert_int_equal(relay->handle, other->handle);
    mesh_image_free(image);
    mesh_image_free(other);
    mesh_free(mesh);
}

static void strangers_are_not_relayed_for(void **state)
{
    struct mesh *mesh = mesh_new(3, 0, 1);
    struct mesh_image *image = begin(mesh, 20000);
    const uint8_t bits[1] = {1};
    (void)state;

    for (uint32_t i = 0; i < MP_NEIGHBOURS_MAX; i++)
        mesh_greet(mesh, SELF, PEER + i, NONCE, 0, 0, 0);
    assert_true(ask(mesh, PEER + 1000, image, 0, bits, 1) < 0);
    assert_false(is_busy(mesh, SELF));
    mesh_image_free(image);
    mesh_free(mesh);
}

/* The cache may be wiped at any time between calls. */
static void a_wiped_cache_only_costs_time(void **state)
{
    struct mesh *mesh = mesh_new(3, 0, 7);
    struct mesh_image *image = begin(mesh, 9000);
    (void)state;

    mesh_line(mesh, 0);
    for (unsigned i = 0; i < 200 && !last_has_it(mesh); i++) {
        mesh_run(mesh, MP_MS(1000));
        memset(&mesh->node[1].relay, 0, sizeof mesh->node[1].relay);
    }
    assert_true(last_has_it(mesh));
    mesh_image_free(image);
    mesh_free(mesh);
}

/* A store that fails at every second call is asked for the manifest again. */
static void a_relay_that_cannot_read_its_store(void **state)
{
    struct mesh *mesh = mesh_new(3, 0, 8);
    struct mesh_image *image = begin(mesh, 9000);
    (void)state;

    mesh_line(mesh, 5);
    mesh->node[1].fail_percent = 50;
    assert_true(mesh_until(mesh, MP_SECONDS(900), last_has_it));
    mesh_image_free(image);
    mesh_free(mesh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_payload_crosses_relays),
        cmocka_unit_test(every_depth_of_tree_crosses),
        cmocka_unit_test(the_largest_payload_crosses),
        cmocka_unit_test(relays_fetch_their_own_meanwhile),
        cmocka_unit_test(two_foreign_payloads_take_turns),
        cmocka_unit_test(poison_stops_at_the_first_relay),
        cmocka_unit_test(what_a_relay_refuses),
        cmocka_unit_test(strangers_are_not_relayed_for),
        cmocka_unit_test(a_wiped_cache_only_costs_time),
        cmocka_unit_test(a_relay_that_cannot_read_its_store),
    };

    return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
