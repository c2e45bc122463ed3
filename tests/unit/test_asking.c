/*
 * A node that rebooted into a quiet mesh knows nobody's nonce: it asks for a way to the gateway, and gets one in
 * seconds. The rest of reports is in test_report.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proto/mesh/summary.h"
#include "tests/lib/mesh_rig.h"

static bool has_custody(const struct mesh *mesh)
{
    uint8_t entry[MP_REPORT_ENTRY_SIZE];

    return mp_node_custody(&mesh->node[0].engine, 0, entry);
}

static struct mesh *quiet_line(unsigned count, unsigned loss, uint32_t seed)
{
    static const uint16_t none[MESH_NODES_MAX];
    struct mesh *mesh = mesh_new(count, MP_SECONDS(1), seed);

    mesh_line(mesh, loss);
    mesh->node[0].is_committing = false;
    assert_int_equal(mesh_receipt(mesh, 0, 1, none, count), MP_OK);
    mesh_run(mesh, MP_SECONDS(3 * 3600));
    assert_true(mesh_agrees(mesh));
    return mesh;
}

static void a_reboot_finds_its_way_in_seconds(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 20; seed++) {
        struct mesh *mesh = quiet_line(4, 10, seed);

        mesh_boot(mesh, 3);
        mp_node_report(&mesh->node[3].engine, &mesh->node[3].env, mesh->now, 1, 2, MP_PHASE_TRIAL, MP_REASON_NONE);
        assert_true(mesh_until(mesh, MP_SECONDS(20), has_custody));
        mesh_free(mesh);
    }
}

/* Without a report there is nothing to ask for, and who is not nearer does not answer. */
static void nobody_asks_or_answers_without_need(void **state)
{
    struct mesh *mesh = quiet_line(3, 0, 7);
    mp_time since = mesh->now;
    const struct mesh_sent *sent;
    struct mp_summary s;

    (void)state;
    mesh_boot(mesh, 1);
    mesh_run(mesh, MP_SECONDS(2));
    sent = mesh_last(mesh, 1, MP_TYPE_SUMMARY, since);
    assert_non_null(sent);
    assert_int_equal(mp_summary_get(&s, sent->frame + MP_HEADER_SIZE, sent->len - MP_HEADER_SIZE - MP_TAG_SIZE), MP_OK);
    assert_false(s.flags & MP_SUMMARY_ASKS);
    mp_node_report(&mesh->node[1].engine, &mesh->node[1].env, mesh->now, 1, 2, MP_PHASE_TRIAL, MP_REASON_NONE);
    assert_true(mesh_until(mesh, MP_SECONDS(20), has_custody));
    assert_null(mesh_last(mesh, 2, MP_TYPE_SUMMARY, since));
    mesh_free(mesh);
}

/* A mesh whose gateway is gone does not keep itself awake with questions. */
static void a_mesh_without_a_gateway_stays_quiet(void **state)
{
    struct mesh *mesh = quiet_line(4, 0, 9);
    uint32_t before = 0, after = 0;

    (void)state;
    mesh->node[0].is_off = true;
    for (unsigned i = 1; i < 4; i++) {
        mesh_boot(mesh, i);
        mp_node_report(&mesh->node[i].engine, &mesh->node[i].env, mesh->now, 1, 2, MP_PHASE_TRIAL, MP_REASON_NONE);
    }
    mesh_run(mesh, MP_SECONDS(3600));
    for (unsigned i = 1; i < 4; i++)
        before += mesh->node[i].counters.written[MP_TYPE_SUMMARY];
    mesh_run(mesh, MP_SECONDS(3600));
    for (unsigned i = 1; i < 4; i++)
        after += mesh->node[i].counters.written[MP_TYPE_SUMMARY];
    assert_true(after - before <= 3 * 6);
    mesh_free(mesh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reboot_finds_its_way_in_seconds),
        cmocka_unit_test(nobody_asks_or_answers_without_need),
        cmocka_unit_test(a_mesh_without_a_gateway_stays_quiet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
