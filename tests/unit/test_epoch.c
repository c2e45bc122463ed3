/*
 * The epoch, the network's time: it never goes back under one release key, and a stolen key that ran it to its end is
 * undone by replacing the key. Staleness is in test_gossip.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/mesh_rig.h"

#define END UINT32_MAX

static uint32_t sequence;

static int direct(struct mesh *mesh, uint32_t release, uint16_t generation, uint32_t epoch, const struct sign_key *key)
{
    static const uint8_t id[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct mp_directive d;
    uint8_t raw[MP_DIRECTIVE_MAX];

    sign_directive_fill(&d, MP_ACTION_STAGE, MESH_NETWORK, release, ++sequence, id);
    d.generation = generation;
    d.epoch = epoch;
    return mesh_publish(mesh, 0, MP_TYPE_DIRECTIVE, raw, sign_directive(raw, &d, key));
}

static struct sign_key replace_release_key(struct mesh *mesh)
{
    struct mp_keychange change = {
        .op = MP_KEYOP_INSTALL, .role = MP_ROLE_RELEASE, .signer = {0, 1}, .number = 1, .generation = 2};
    struct sign_key key;
    uint8_t raw[MP_KEYCHANGE_SIZE];

    sign_key_make(&key, 99);
    memcpy(change.previous, mesh->fleet.keyset.head, 32);
    memcpy(change.key, key.pub, 32);
    sign_keychange(raw, &change, &mesh->fleet.root[0], &mesh->fleet.root[1]);
    assert_int_equal(mesh_publish(mesh, 0, MP_TYPE_KEYCHANGE, raw, sizeof raw), MP_OK);
    return key;
}

static void it_never_goes_back_under_one_key(void **state)
{
    struct mesh *mesh = mesh_new(1, MP_SECONDS(1), 1);

    (void)state;
    assert_int_equal(direct(mesh, 5, 1, 100, &mesh->fleet.release), MP_OK);
    assert_int_equal(direct(mesh, 5, 1, 90, &mesh->fleet.release), MP_OK);
    assert_int_equal(mp_node_epoch(&mesh->node[0].engine), 100);
    assert_int_equal(direct(mesh, 5, 1, 101, &mesh->fleet.release), MP_OK);
    assert_int_equal(mp_node_epoch(&mesh->node[0].engine), 101);
    mesh_free(mesh);
}

static void a_new_key_undoes_a_stolen_ones_epoch(void **state)
{
    struct mesh *mesh = mesh_new(2, MP_SECONDS(1), 2);
    struct sign_key key;

    (void)state;
    mesh_line(mesh, 0);
    assert_int_equal(direct(mesh, 5, 1, 100, &mesh->fleet.release), MP_OK);
    assert_int_equal(direct(mesh, 6, 1, END, &mesh->fleet.release), MP_OK);
    assert_int_equal(mp_node_epoch(&mesh->node[0].engine), END);
    key = replace_release_key(mesh);
    assert_int_equal(direct(mesh, 5, 2, 101, &key), MP_OK);
    assert_int_equal(mp_node_epoch(&mesh->node[0].engine), 101);
    mesh_run(mesh, MP_SECONDS(60));
    assert_int_equal(mp_node_epoch(&mesh->node[1].engine), 101);
    /* The stolen one's directive is still a head; a reboot must not believe it again. */
    mesh_boot(mesh, 1);
    assert_int_equal(mp_node_epoch(&mesh->node[1].engine), 101);
    mesh_free(mesh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_never_goes_back_under_one_key),
        cmocka_unit_test(a_new_key_undoes_a_stolen_ones_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
