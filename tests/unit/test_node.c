/* The engine as its host sees it: four calls, one timer, a clock that jumps and wraps, a state that can be copied. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "proto/mesh/engine.h"
#include "proto/mp_wire.h"
#include "tests/lib/mesh_rig.h"

enum { SELF = 1, NONCE = 77 };
#define PEER MESH_STRANGER
#define DAY MP_SECONDS(86400)

static struct mp_node *engine(struct mesh *mesh, unsigned i)
{
    return &mesh->node[i].engine;
}

static bool everybody_has_it(const struct mesh *mesh)
{
    for (unsigned i = 1; i < mesh->count; i++)
        if (!mesh_has(mesh, i, 1))
            return false;
    return true;
}

/* A mesh that does everything at once: fetches, reports, is on trial. */
static struct mesh *busy_mesh(mp_time now, uint32_t seed, struct mesh_image **image)
{
    struct mesh *mesh = mesh_new(6, now, seed);
    uint16_t serial = 0;

    *image = mesh_image_new(mesh, 1, 5, 20000);
    for (unsigned i = 1; i < 6; i++)
        mesh_link(mesh, i, (i - 1) / 2, 15);
    assert_int_equal(mesh_receipt(mesh, 0, 1, &serial, 1), MP_OK);
    for (unsigned i = 0; i < 6; i++) {
        mesh_release(mesh, i, *image);
        mesh_open(mesh, i, 1, *image, i == 0);
        if (i)
            assert_int_equal(
                mp_node_report(engine(mesh, i), &mesh->node[i].env, mesh->now, 1, 5, MP_PHASE_STAGED, MP_REASON_NONE),
                MP_OK);
    }
    mp_node_trial(engine(mesh, 5), &mesh->node[5].env, mesh->now, true);
    return mesh;
}

/* --- the copyable state ------------------------------------------------------------------------------------------- */

/* Everything a run depends on, store and random state included, copied to another address: the same frames follow. */
static void a_copy_has_the_same_future(void **state)
{
    (void)state;

    for (uint32_t seed = 1; seed <= 3; seed++) {
        struct mesh_image *image;
        struct mesh *mesh = busy_mesh(0, seed, &image), *copy = malloc(sizeof *copy);

        assert_non_null(copy);
        mesh_run(mesh, MP_MS(1500));
        memcpy(copy, mesh, sizeof *copy);
        for (unsigned i = 0; i < mesh->count; i++) {
            struct mesh_node *n = &copy->node[i];

            n->mesh = copy;
            n->env.ctx = n;
            n->env.counters = &n->counters;
            n->bitmap[1] = calloc(1, image->tree.positions / 8 + 1);
            assert_non_null(n->bitmap[1]);
            memcpy(n->bitmap[1], mesh->node[i].bitmap[1], image->tree.positions / 8 + 1);
        }
        mesh_run(mesh, MP_SECONDS(60));
        mesh_run(copy, MP_SECONDS(60));
        assert_true(mesh->sent_count > 300 && mesh->sent_count < MESH_LOG);
        assert_int_equal(copy->sent_count, mesh->sent_count);
        assert_memory_equal(copy->sent, mesh->sent, sizeof mesh->sent);
        for (unsigned i = 0; i < mesh->count; i++)
            assert_memory_equal(engine(copy, i), engine(mesh, i), sizeof(struct mp_node));
        mesh_image_free(image);
        mesh_free(copy);
        mesh_free(mesh);
    }
}

/* --- clock -------------------------------------------------------------------------------------------------------- */

/* The same run, frame by frame, wherever the 32-bit millisecond clock wraps in it. */
static void the_wrap_changes_nothing(void **state)
{
    struct mesh_image *image[2];
    struct mesh *plain = busy_mesh(MP_MS(1u << 20), 4, &image[0]);
    (void)state;

    mesh_run(plain, MP_SECONDS(40));
    for (unsigned before_ms = 0; before_ms < 40000; before_ms += 3333) {
        /* A multiple of 2^16 ticks of 256 ms, so that ages count alike. */
        mp_time start = MP_MS(((mp_time)1 << 32) - before_ms);
        struct mesh *wrapping = busy_mesh(start, 4, &image[1]);

        mesh_run(wrapping, MP_SECONDS(40));
        assert_true(everybody_has_it(wrapping));
        assert_int_equal(mp_node_next_expiry(engine(wrapping, 0)) > wrapping->now, 1);
        mesh_image_free(image[1]);
        mesh_free(wrapping);
    }
    assert_true(everybody_has_it(plain));
    mesh_image_free(image[0]);
    mesh_free(plain);
}

/* A host that sleeps for any time, up to a year, works again within the time a fresh one needs. */
static void time_may_jump(void **state)
{
    static const mp_time jump[] = {MP_SECONDS(10),
                                   MP_SECONDS(3600),
                                   5 * 3600 * MP_SECONDS(1),
                                   DAY,
                                   6 * DAY,
                                   8 * DAY,
                                   20 * DAY,
                                   25 * DAY,
                                   30 * DAY,
                                   45 * DAY,
                                   49 * DAY + 62000 * MP_SECONDS(1),
                                   50 * DAY,
                                   74 * DAY,
                                   365 * DAY};
    (void)state;

    for (unsigned k = 0; k < sizeof jump / sizeof jump[0]; k++)
        for (unsigned phase = 0; phase < 3; phase++) {
            struct mesh_image *image;
            struct mesh *mesh = busy_mesh(MP_SECONDS(100), k + 1, &image);

            mesh_run(mesh, phase == 0 ? MP_MS(700) : phase == 1 ? MP_SECONDS(5) : 2 * 3600 * MP_SECONDS(1));
            mesh->now += jump[k];
            mesh_run(mesh, MP_SECONDS(120));
            assert_true(everybody_has_it(mesh));
            for (unsigned i = 0; i < mesh->count; i++) {
                assert_int_equal(mp_node_is_stale(engine(mesh, i), mesh->now), jump[k] > 7 * DAY);
                assert_true(mp_node_next_expiry(engine(mesh, i)) < mesh->now + MP_MS(MP_TRICKLE_IMAX_MS));
            }
            for (unsigned i = 1; i < mesh->count; i++) /* a new object still gets through at once */
                assert_int_equal(mesh_take_events(mesh, i) & MP_EVENT_FORK, 0);
            assert_int_equal(mesh_direct(mesh, 0, MP_ACTION_OPEN, 5, 2, 0, (const struct mesh_image *const *)&image, 1),
                             MP_OK);
            assert_true(mesh_until(mesh, MP_SECONDS(120), mesh_agrees));
            mesh_image_free(image);
            mesh_free(mesh);
        }
}

/* Who slept does not take neighbours for present that it has not heard since. */
static void sleepers_do_not_trust_old_neighbours(void **state)
{
    (void)state;

    for (unsigned hours = 1; hours < 60; hours++) {
        struct mesh *mesh = mesh_new(2, 0, 1);
        struct mp_call c = {engine(mesh, SELF), &mesh->node[SELF].env, 0};
        uint16_t serial = 0;

        assert_int_equal(mesh_receipt(mesh, SELF, 1, &serial, 1), MP_OK);
        mesh->forged_round = 1;
        mesh->forged_hop = 0;
        mesh_greet(mesh, SELF, PEER, NONCE, 0, 0, 0);
        assert_int_equal(mp_node_hop(engine(mesh, SELF)), 1);
        mesh->now += hours * MP_SECONDS(3600);
        mp_node_expire(engine(mesh, SELF), &mesh->node[SELF].env, mesh->now);
        c.now_ms = (uint32_t)(mesh->now / 1000);
        assert_int_equal(mp_node_hop(engine(mesh, SELF)), MP_HOP_NONE);
        assert_null(mp_neighbour_parent(&c, 0));
        mesh_free(mesh);
    }
}

/* --- the host's loop ---------------------------------------------------------------------------------------------- */

/* Calling when due always gets somewhere: the next time due is later, or a frame came out. */
static void the_timer_never_spins(void **state)
{
    (void)state;

    for (uint32_t seed = 1; seed <= 5; seed++) {
        struct mesh_image *image;
        struct mesh *mesh = busy_mesh(MP_MS((mp_time)UINT32_MAX - 20000), seed, &image);
        struct mesh_node *n = &mesh->node[SELF];
        mp_time now = mesh->now, due;
        uint8_t frame[MP_FRAME_MAX];
        unsigned calls = 0;

        n->fail_percent = seed * 10;
        n->env.relay = &n->relay;
        mesh_greet(mesh, SELF, PEER, NONCE, image->handle, image->handle, 5);
        while ((due = mp_node_next_expiry(&n->engine)) < mesh->now + 2 * DAY) {
            int len;

            now = due > now ? due : now;
            mp_node_expire(&n->engine, &n->env, now);
            len = mp_node_write(&n->engine, &n->env, now, frame, sizeof frame);
            assert_in_range(len, 0, MP_FRAME_MAX);
            if (len == 0) {
                if (mp_node_write(&n->engine, &n->env, now, frame, sizeof frame) == 0)
                    assert_true(mp_node_next_expiry(&n->engine) > now);
            }
            assert_true(++calls < 100000);
        }
        mesh_image_free(image);
        mesh_free(mesh);
    }
}

/* A host that is late by any amount, or calls without need, changes nothing but the time. */
static void needless_calls_do_nothing(void **state)
{
    struct mesh_image *image;
    struct mesh *mesh = busy_mesh(0, 3, &image);
    struct mesh_node *n = &mesh->node[SELF];
    uint8_t frame[MP_FRAME_MAX];
    (void)state;

    mesh_run(mesh, MP_SECONDS(200));
    for (unsigned i = 0; i < 1000; i++) {
        mp_time due = mp_node_next_expiry(&n->engine);
        struct mp_node before;

        assert_true(due > mesh->now);
        mesh->now += (due - mesh->now) / 2 / 1000 * 1000;
        n->engine.now = mesh->now;
        before = n->engine;
        mp_node_expire(&n->engine, &n->env, mesh->now);
        assert_int_equal(mp_node_write(&n->engine, &n->env, mesh->now, frame, sizeof frame), 0);
        assert_memory_equal(&n->engine, &before, sizeof before);
        if (due - mesh->now < MP_MS(2))
            break;
    }
    mesh_image_free(image);
    mesh_free(mesh);
}

static void buffers_must_hold_a_frame(void **state)
{
    struct mesh *mesh = mesh_new(1, 0, 1);
    struct mesh_node *n = &mesh->node[0];
    uint8_t frame[MP_FRAME_MAX];
    (void)state;

    for (size_t cap = 0; cap < MP_FRAME_MAX; cap++)
        assert_int_equal(mp_node_write(&n->engine, &n->env, 0, frame, cap), MP_ERR_ROOM);
    assert_int_equal(mp_node_write(&n->engine, &n->env, 0, frame, MP_FRAME_MAX), 0);
    mesh_free(mesh);
}

/* What is heard while the bearer is busy waits; what is most urgent goes first. */
static void frames_go_out_by_precedence(void **state)
{
    struct mesh_image *image;
    struct mesh *mesh = busy_mesh(0, 7, &image);
    struct mp_node *n = engine(mesh, SELF);
    unsigned order[MESH_TYPES] = {0}, first[MESH_TYPES] = {0};
    uint8_t body[MP_BODY_MAX] = {0};
    uint16_t serial = 0;
    (void)state;

    assert_int_equal(mesh_receipt(mesh, SELF, 1, &serial, 1), MP_OK);
    mesh->forged_round = 1;
    mesh->forged_hop = 0;
    mesh_greet(mesh, SELF, PEER, NONCE, image->handle, 0, 0);
    mesh_greet(mesh, SELF, PEER + 1, NONCE, 0, image->handle, 0);
    mp_node_report(n, &mesh->node[SELF].env, mesh->now, 1, 5, MP_PHASE_STAGED, MP_REASON_NONE);
    assert_int_equal(mesh_direct(mesh, SELF, MP_ACTION_OPEN, 5, 2, 0, (const struct mesh_image *const *)&image, 1),
                     MP_OK);
    mesh_forge(mesh, SELF, PEER, MP_TYPE_CHUNK, body, mesh_chunk_body(image, 0, body));
    memset(body, 0, sizeof body);
    mp_put32(body, n->id);
    mp_put32(body + 4, n->nonce);
    body[8] = 1;
    mp_put32(body + 10, 5);
    mp_put16(body + 14, 1);
    mesh_forge(mesh, SELF, PEER, MP_TYPE_REPORT, body, 29);
    mesh->now += MP_SECONDS(3);
    mesh_drain(mesh, SELF);
    for (unsigned i = 0; i < mesh->sent_count; i++) {
        unsigned type = mesh->sent[i].frame[0] & 15u;

        if (!first[type])
            order[type] = i + 1;
        first[type] = 1;
    }
    assert_true(order[MP_TYPE_REPORT_ACK] && order[MP_TYPE_REPORT_ACK] < order[MP_TYPE_DIRECTIVE]);
    assert_true(order[MP_TYPE_DIRECTIVE] < order[MP_TYPE_SUMMARY]);
    assert_true(order[MP_TYPE_SUMMARY] < order[MP_TYPE_REPORT]);
    assert_true(order[MP_TYPE_REPORT] < order[MP_TYPE_CHUNK]);
    mesh_image_free(image);
    mesh_free(mesh);
}

/* --- counters ----------------------------------------------------------------------------------------------------- */

static unsigned send(struct mesh *mesh, unsigned i)
{
    mp_node_trial(engine(mesh, i), &mesh->node[i].env, mesh->now, true);
    mesh->now += MP_SECONDS(1);
    mp_node_expire(engine(mesh, i), &mesh->node[i].env, mesh->now);
    uint8_t frame[MP_FRAME_MAX];
    int len = mp_node_write(engine(mesh, i), &mesh->node[i].env, mesh->now, frame, sizeof frame);

    return len > 0 ? mp_get24(frame + 11) : UINT32_MAX;
}

/* The sequence carries into the boot counter, and nothing is sent until that is persisted. */
static void the_counter_carries(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mp_node *n = engine(mesh, SELF);
    (void)state;

    assert_int_equal(send(mesh, SELF), 0);
    n->counter = ((uint64_t)7 << 24) + 0xFFFFFE;
    assert_int_equal(send(mesh, SELF), 0xFFFFFE);
    assert_int_equal(mp_node_events(n) & MP_EVENT_COUNTER, 0);
    assert_int_equal(send(mesh, SELF), 0xFFFFFF);
    assert_int_equal(mp_node_events(n) & MP_EVENT_COUNTER, MP_EVENT_COUNTER);
    assert_int_equal(mp_node_boot(n), 8);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(send(mesh, SELF), UINT32_MAX);
        assert_true(mp_node_next_expiry(n) > mesh->now); /* and it does not spin over what waits */
    }
    mp_node_counter_persisted(n);
    assert_true(mp_node_next_expiry(n) <= mesh->now);
    assert_int_equal(send(mesh, SELF), 0);
    assert_int_equal(mp_node_boot(n), 8);
    mesh_free(mesh);
}

/* After the last boot number there is none: the node falls silent rather than repeat itself. */
static void the_last_counter_is_the_last(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    struct mp_node *n = engine(mesh, SELF);
    (void)state;

    n->counter = ((uint64_t)0xFFFFFF << 24) + 0xFFFFFF;
    assert_int_equal(send(mesh, SELF), 0xFFFFFF);
    assert_true(mp_node_events(n) & MP_EVENT_COUNTER);
    mp_node_counter_persisted(n);
    assert_int_equal(send(mesh, SELF), UINT32_MAX);
    assert_int_equal(mp_node_boot(n), 0x1000000);
    mesh_free(mesh);
}

/* No frame counter is ever used twice, over reboots. */
static void counters_only_rise(void **state)
{
    struct mesh_image *image;
    struct mesh *mesh = busy_mesh(0, 5, &image);
    uint64_t last[MESH_NODES_MAX] = {0};
    unsigned seen = 0;
    (void)state;

    for (unsigned round = 0; round < 10; round++) {
        mesh_run(mesh, MP_SECONDS(2));
        for (; seen < mesh->sent_count; seen++) {
            struct mp_header h;

            assert_int_equal(mp_header_get(&h, mesh->sent[seen % MESH_LOG].frame, mesh->sent[seen % MESH_LOG].len), 0);
            assert_true(h.counter > last[h.source - MESH_ID]);
            last[h.source - MESH_ID] = h.counter;
        }
        mesh_boot(mesh, round % mesh->count);
    }
    mesh_image_free(image);
    mesh_free(mesh);
}

/* --- reboots ------------------------------------------------------------------------------------------------------ */

/* Nodes that reboot at random all the time still end with everything. */
static void reboots_lose_nothing(void **state)
{
    (void)state;

    for (uint32_t seed = 1; seed <= 5; seed++) {
        struct mesh_image *image;
        struct mesh *mesh = busy_mesh(0, seed, &image);
        uint32_t draw = seed;

        for (unsigned i = 0; i < 100; i++) {
            draw = draw * 1664525u + 1013904223u;
            mesh_run(mesh, MP_MS(100 + (draw >> 24)));
            mesh_boot(mesh, (draw >> 8) % mesh->count);
        }
        assert_true(mesh_until(mesh, MP_SECONDS(200), everybody_has_it));
        assert_true(mesh_agrees(mesh));
        mesh_image_free(image);
        mesh_free(mesh);
    }
}

/* Whatever the records of a store hold, the engine starts or says why not, and stays in its bounds. */
static void broken_stores_are_survived(void **state)
{
    struct mesh_image *image;
    struct mesh *mesh = busy_mesh(0, 2, &image);
    uint32_t draw = 99;
    (void)state;

    mesh_run(mesh, MP_SECONDS(60));
    for (unsigned run = 0; run < 400; run++) {
        struct mesh_node n = mesh->node[2];
        struct mp_node engine_state;

        n.env.ctx = &n;
        n.bitmap[1] = NULL;
        n.image[1] = NULL;
        for (unsigned hits = 0; hits < 1 + run % 8; hits++) {
            enum mp_kind kind;
            unsigned slot;

            draw = draw * 1664525u + 1013904223u;
            kind = (enum mp_kind)((draw >> 8) % MP_KIND_COUNT);
            slot = (draw >> 16) % 4;
            n.record[kind][slot][(draw >> 20) % 280 % MP_RECORD_MAX] ^= (uint8_t)(draw >> 3 | 1);
            if (draw % 5 == 0)
                n.len[kind][slot] = (uint16_t)((draw >> 12) % (MP_RECORD_MAX + 1));
        }
        (void)mp_node_init(&engine_state, &n.env, &n.identity, mesh->now);
    }
    mesh_image_free(image);
    mesh_free(mesh);
}

static void accessors_check_their_index(void **state)
{
    struct mesh_image *image;
    struct mesh *mesh = busy_mesh(0, 2, &image);
    struct mesh_node *n = &mesh->node[SELF];
    struct mp_directive d;
    struct mp_manifest m;
    uint8_t id[8], raw[MP_DIRECTIVE_MAX];
    size_t len = 0;
    (void)state;

    assert_int_equal(mp_node_directive(&n->engine, &n->env, 0, &d, raw, &len), MP_OK);
    assert_int_equal(len, 120);
    assert_int_equal(d.release, 5);
    assert_int_equal(mp_node_directive(&n->engine, &n->env, 0, &d, NULL, NULL), MP_OK);
    assert_int_equal(mp_node_directive(&n->engine, &n->env, 1, &d, NULL, NULL), MP_ERR_ABSENT);
    assert_int_equal(mp_node_directive(&n->engine, &n->env, MP_RELEASES_MAX, &d, NULL, NULL), MP_ERR_ABSENT);
    assert_int_equal(mp_node_directive(&n->engine, &n->env, UINT32_MAX, &d, NULL, NULL), MP_ERR_ABSENT);
    assert_int_equal(mp_node_manifest(&n->engine, &n->env, 0, &m, id), MP_OK);
    assert_memory_equal(id, image->id, 8);
    assert_int_equal(mp_node_manifest(&n->engine, &n->env, 1, &m, id), MP_ERR_ABSENT);
    assert_int_equal(mp_node_manifest(&n->engine, &n->env, MP_MANIFESTS_MAX, &m, id), MP_ERR_ABSENT);
    n->fail_gets = 1;
    assert_int_equal(mp_node_directive(&n->engine, &n->env, 0, &d, NULL, NULL), MP_ERR_STORE);
    n->fail_gets = 1;
    assert_int_equal(mp_node_manifest(&n->engine, &n->env, 0, &m, id), MP_ERR_STORE);
    assert_false(mp_node_custody(&n->engine, UINT32_MAX, raw));
    mesh_image_free(image);
    mesh_free(mesh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_has_the_same_future),
        cmocka_unit_test(the_wrap_changes_nothing),
        cmocka_unit_test(time_may_jump),
        cmocka_unit_test(sleepers_do_not_trust_old_neighbours),
        cmocka_unit_test(the_timer_never_spins),
        cmocka_unit_test(needless_calls_do_nothing),
        cmocka_unit_test(buffers_must_hold_a_frame),
        cmocka_unit_test(frames_go_out_by_precedence),
        cmocka_unit_test(the_counter_carries),
        cmocka_unit_test(the_last_counter_is_the_last),
        cmocka_unit_test(counters_only_rise),
        cmocka_unit_test(reboots_lose_nothing),
        cmocka_unit_test(broken_stores_are_survived),
        cmocka_unit_test(accessors_check_their_index),
    };

    return cmocka_run_group_tests_name("node", tests, NULL, NULL);
}
