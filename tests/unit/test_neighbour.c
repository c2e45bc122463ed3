/* Neighbour table and gradient: counters, quality, admission and eviction, hops, parents (SPEC 1, 6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "proto/mesh/engine.h"
#include "tests/lib/mesh_rig.h"

enum { SELF = 1 };
#define PEER MESH_STRANGER
#define GONE MP_MS(3u * MP_TRICKLE_IMAX_MS)
#define QUIET MP_SECONDS(600)

/* An engine that has verified gateway round 5. */
static struct mesh *begin(mp_time now)
{
    struct mesh *mesh = mesh_new(2, now, 1);
    uint16_t serial = 0;

    assert_int_equal(mesh_receipt(mesh, SELF, 5, &serial, 1), MP_OK);
    mesh->forged_round = 5;
    return mesh;
}

static int greet(struct mesh *mesh, uint32_t source, uint8_t hop)
{
    mesh->forged_hop = hop;
    return mesh_greet(mesh, SELF, source, source | 1, 0, 0, 0);
}

static uint32_t parent(struct mesh *mesh, unsigned rank)
{
    struct mesh_node *n = &mesh->node[SELF];
    struct mp_call c = {&n->engine, &n->env, (uint32_t)(mesh->now / 1000)};
    struct mp_neighbour *b;

    mp_node_expire(&n->engine, &n->env, mesh->now);
    b = mp_neighbour_parent(&c, rank);

    return b ? b->node : 0;
}

static struct mp_neighbour *find(struct mesh *mesh, uint32_t node)
{
    return mp_neighbour_find(&mesh->node[SELF].engine, node);
}

static uint8_t hop(const struct mesh *mesh)
{
    return mp_node_hop(&mesh->node[SELF].engine);
}

/* Lets time pass, with the engine's timers running. */
static void pass(struct mesh *mesh, mp_time duration)
{
    mesh_run(mesh, duration);
}

static void own_hop_is_the_lowest_plus_one(void **state)
{
    struct mesh *mesh = begin(0);
    (void)state;

    assert_int_equal(hop(mesh), MP_HOP_NONE);
    greet(mesh, PEER, 4);
    assert_int_equal(hop(mesh), 5);
    greet(mesh, PEER + 1, 2);
    assert_int_equal(hop(mesh), 3);
    greet(mesh, PEER + 1, 7);
    assert_int_equal(hop(mesh), 5);
    greet(mesh, PEER, 254);
    greet(mesh, PEER + 1, 254);
    assert_int_equal(hop(mesh), MP_HOP_NONE);
    assert_int_equal(mp_node_hop(&mesh->node[0].engine), 0);
    mesh_free(mesh);
}

/* SPEC 6: a neighbour's round must be the verified one or up to two behind it. */
static void only_known_rounds_are_believed(void **state)
{
    (void)state;

    for (unsigned round = 0; round < 10; round++) {
        struct mesh *mesh = begin(0);

        mesh->forged_round = (uint16_t)round;
        greet(mesh, PEER, 1);
        assert_int_equal(hop(mesh), round >= 3 && round <= 5 ? 2 : MP_HOP_NONE);
        mesh_free(mesh);
    }
}

/* A neighbour whose round is left behind loses its weight as soon as the newer round is verified. */
static void a_new_round_disowns_the_old_gradient(void **state)
{
    struct mesh *mesh = begin(0);
    uint16_t serial = 0;
    (void)state;

    greet(mesh, PEER, 1);
    assert_int_equal(mesh_receipt(mesh, SELF, 7, &serial, 1), MP_OK);
    assert_int_equal(hop(mesh), 2);
    assert_int_equal(mesh_receipt(mesh, SELF, 8, &serial, 1), MP_OK);
    assert_int_equal(hop(mesh), MP_HOP_NONE);
    assert_int_equal(parent(mesh, 0), 0);
    mesh_free(mesh);
}

/* Rounds are serial numbers; 0 means none and is skipped. */
static void rounds_wrap(void **state)
{
    struct mesh *mesh = mesh_new(2, 0, 1);
    uint16_t serial = 0, generation;
    (void)state;

    assert_int_equal(mesh_receipt(mesh, SELF, 65534, &serial, 1), MP_OK);
    mesh->forged_round = 65534;
    greet(mesh, PEER, 0);
    assert_int_equal(hop(mesh), 1);
    assert_int_equal(mesh_receipt(mesh, SELF, 65535, &serial, 1), MP_OK);
    assert_int_equal(mesh_receipt(mesh, SELF, 0, &serial, 1), MP_ERR_FORMAT);
    assert_int_equal(mesh_receipt(mesh, SELF, 65533, &serial, 1), MP_ERR_OLD);
    assert_int_equal(mesh_receipt(mesh, SELF, 1, &serial, 1), MP_OK);
    assert_int_equal(mp_node_round(&mesh->node[SELF].engine, &generation), 1);
    assert_int_equal(mesh_receipt(mesh, SELF, 65535, &serial, 1), MP_ERR_OLD);
    assert_int_equal(hop(mesh), MP_HOP_NONE);
    mesh->forged_round = 65535; /* two behind */
    greet(mesh, PEER, 0);
    assert_int_equal(hop(mesh), 1);
    mesh_free(mesh);
}

static void parents_are_ordered(void **state)
{
    struct mesh *mesh = begin(0);
    (void)state;

    greet(mesh, PEER, 1);
    greet(mesh, PEER + 1, 2); /* not below our own hop */
    assert_int_equal(parent(mesh, 0), PEER);
    assert_int_equal(parent(mesh, 1), PEER);
    greet(mesh, PEER + 2, 1);
    for (unsigned i = 0; i < 10; i++)
        greet(mesh, PEER + 2, 1); /* heard better */
    assert_int_equal(parent(mesh, 0), PEER + 2);
    assert_int_equal(parent(mesh, 1), PEER);
    greet(mesh, PEER + 3, 0);
    assert_int_equal(parent(mesh, 0), PEER + 3);
    assert_int_equal(parent(mesh, 1), PEER + 3);
    mesh_free(mesh);
}

static void quality_follows_what_is_missed(void **state)
{
    struct mesh *mesh = begin(0);
    uint8_t before;
    (void)state;

    for (unsigned i = 0; i < 60; i++)
        greet(mesh, PEER, 1);
    before = find(mesh, PEER)->quality;
    assert_true(before > 200);
    mesh->forged_counter += 10;
    greet(mesh, PEER, 1);
    assert_true(find(mesh, PEER)->quality < before);
    before = find(mesh, PEER)->quality;
    mesh->forged_counter += 0xFFFFF; /* within this boot: the loop must end */
    greet(mesh, PEER, 1);
    assert_true(find(mesh, PEER)->quality < before);
    assert_true(find(mesh, PEER)->quality > 0);
    before = find(mesh, PEER)->quality;
    mesh->forged_counter = (uint64_t)99 << 24; /* a reboot says nothing */
    greet(mesh, PEER, 1);
    assert_true(find(mesh, PEER)->quality > before);
    mesh_free(mesh);
}

/* The nonce of the boot before is worth nothing. */
static void a_reboot_clears_the_nonce(void **state)
{
    struct mesh *mesh = begin(0);
    uint8_t body[8] = {0};
    (void)state;

    greet(mesh, PEER, 1);
    assert_int_equal(parent(mesh, 0), PEER);
    mesh->forged_counter = (uint64_t)4 << 24;
    assert_int_equal(mesh_forge(mesh, SELF, PEER, MP_TYPE_REPORT_ACK, body, 8), MP_OK);
    assert_int_equal(find(mesh, PEER)->nonce, 0);
    assert_int_equal(parent(mesh, 0), 0);
    greet(mesh, PEER, 1);
    assert_int_equal(parent(mesh, 0), PEER);
    mesh_free(mesh);
}

static void the_quiet_give_way(void **state)
{
    struct mesh *mesh = begin(0);
    (void)state;

    for (uint32_t i = 0; i < MP_NEIGHBOURS_MAX; i++)
        greet(mesh, PEER + i, MP_HOP_NONE);
    greet(mesh, PEER + 100, MP_HOP_NONE);
    assert_null(find(mesh, PEER + 100));
    pass(mesh, QUIET - MP_SECONDS(10));
    for (uint32_t i = 1; i < MP_NEIGHBOURS_MAX; i++)
        greet(mesh, PEER + i, MP_HOP_NONE);
    greet(mesh, PEER + 100, MP_HOP_NONE);
    assert_null(find(mesh, PEER + 100));
    pass(mesh, MP_SECONDS(11));
    greet(mesh, PEER + 100, MP_HOP_NONE);
    assert_non_null(find(mesh, PEER + 100));
    assert_null(find(mesh, PEER));
    greet(mesh, PEER + 101, MP_HOP_NONE); /* nobody else was quiet for that long */
    assert_null(find(mesh, PEER + 101));
    mesh_free(mesh);
}

/* Parents are few and hard to replace: they may be quiet for longer. */
static void quiet_parents_stay(void **state)
{
    struct mesh *mesh = begin(0);
    (void)state;

    greet(mesh, PEER, 1);
    for (uint32_t i = 1; i < MP_NEIGHBOURS_MAX; i++)
        greet(mesh, PEER + i, MP_HOP_NONE);
    pass(mesh, MP_SECONDS(900));
    for (uint32_t i = 0; i < 40; i++)
        greet(mesh, PEER + 100 + i, MP_HOP_NONE);
    assert_non_null(find(mesh, PEER));
    assert_int_equal(parent(mesh, 0), PEER);
    pass(mesh, GONE);
    greet(mesh, PEER + 200, MP_HOP_NONE);
    for (uint32_t i = 0; i < MP_NEIGHBOURS_MAX; i++)
        greet(mesh, PEER + 300 + i, MP_HOP_NONE);
    assert_null(find(mesh, PEER));
    mesh_free(mesh);
}

/* Silent for three of the longest Trickle intervals, a neighbour is no parent, however often its age has wrapped. */
static void the_gone_are_no_parents(void **state)
{
    struct mesh *mesh = begin(0);
    (void)state;

    greet(mesh, PEER, 1);
    pass(mesh, GONE - MP_SECONDS(2));
    assert_int_equal(parent(mesh, 0), PEER);
    for (unsigned i = 0; i < 1200; i++) { /* 16-bit ages wrap after 4.7 hours */
        pass(mesh, MP_SECONDS(60));
        assert_int_equal(parent(mesh, 0), 0);
    }
    mesh_free(mesh);
}

/* When the only way up is gone, what is left is the way up. */
static void the_gone_leave_the_gradient(void **state)
{
    struct mesh *mesh = begin(0);
    (void)state;

    greet(mesh, PEER, 0);
    for (unsigned i = 0; i < 60; i++) {
        pass(mesh, MP_SECONDS(60));
        greet(mesh, PEER + 1, 1);
        assert_true(i > 10 || hop(mesh) == 1);
    }
    pass(mesh, MP_MS(2 * MP_TRICKLE_IMAX_MS));
    assert_int_equal(hop(mesh), 2);
    assert_int_equal(parent(mesh, 0), PEER + 1);
    mesh_free(mesh);
}

/* A counter that was set back (a device provisioned anew) is taken again once its owner is gone for the table. */
static void the_gone_may_come_back_with_any_counter(void **state)
{
    struct mesh *mesh = begin(0);
    (void)state;

    mesh->forged_counter = (uint64_t)1000 << 24;
    assert_int_equal(greet(mesh, PEER, 1), MP_OK);
    mesh->forged_counter = (uint64_t)1 << 24;
    assert_int_equal(greet(mesh, PEER, 1), MP_ERR_REPLAY);
    pass(mesh, GONE - MP_SECONDS(10));
    assert_int_equal(greet(mesh, PEER, 1), MP_ERR_REPLAY);
    pass(mesh, MP_SECONDS(20));
    assert_int_equal(greet(mesh, PEER, 1), MP_OK);
    assert_int_equal(greet(mesh, PEER, 1), MP_OK);
    mesh_free(mesh);
}

/* Ages count on across the wrap of the 32-bit clock. */
static void ages_do_not_notice_the_wrap(void **state)
{
    (void)state;

    for (unsigned before_s = 5; before_s < 1000; before_s += 90) {
        struct mesh *mesh = begin(MP_MS((mp_time)UINT32_MAX - before_s * 1000));
        struct mp_neighbour_info info;

        greet(mesh, PEER, 1);
        pass(mesh, MP_SECONDS(500));
        assert_true(mp_node_neighbour(&mesh->node[SELF].engine, 0, mesh->now, &info));
        assert_in_range(info.age_ms, 499000, 501000);
        assert_int_equal(info.node, PEER);
        assert_int_equal(info.hop, 1);
        assert_false(mp_node_neighbour(&mesh->node[SELF].engine, MP_NEIGHBOURS_MAX, mesh->now, &info));
        assert_false(mp_node_neighbour(&mesh->node[SELF].engine, 1, mesh->now, &info));
        mesh_free(mesh);
    }
}

/* A line of real engines finds its gateway, hop by hop, and again when the gateway moves on by many rounds. */
static void a_line_counts_its_hops(void **state)
{
    struct mesh *mesh = mesh_new(8, 0, 5);
    uint16_t serial = 0;
    (void)state;

    mesh_line(mesh, 10);
    for (uint16_t round = 1; round < 40; round = (uint16_t)(round + 9)) {
        assert_int_equal(mesh_receipt(mesh, 0, round, &serial, 1), MP_OK);
        mesh_run(mesh, MP_SECONDS(30));
        for (unsigned i = 0; i < mesh->count; i++)
            assert_int_equal(mp_node_hop(&mesh->node[i].engine), i);
    }
    mesh_free(mesh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_hop_is_the_lowest_plus_one),
        cmocka_unit_test(only_known_rounds_are_believed),
        cmocka_unit_test(a_new_round_disowns_the_old_gradient),
        cmocka_unit_test(rounds_wrap),
        cmocka_unit_test(parents_are_ordered),
        cmocka_unit_test(quality_follows_what_is_missed),
        cmocka_unit_test(a_reboot_clears_the_nonce),
        cmocka_unit_test(the_quiet_give_way),
        cmocka_unit_test(quiet_parents_stay),
        cmocka_unit_test(the_gone_are_no_parents),
        cmocka_unit_test(the_gone_leave_the_gradient),
        cmocka_unit_test(the_gone_may_come_back_with_any_counter),
        cmocka_unit_test(ages_do_not_notice_the_wrap),
        cmocka_unit_test(a_line_counts_its_hops),
    };

    return cmocka_run_group_tests_name("neighbour", tests, NULL, NULL);
}
