/*
 * Signed images that a device must not take: every signature is right, and so are the directives that open them to
 * everybody. Real bootloader, store, engine and update state machine over simulated flash. The node says why it refuses
 * (or is not concerned at all), not a byte of its slots changes, and the next good release installs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "meshd/ctl/pack.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"
#include "tests/lib/rig.h"

enum { BAD = 2, GOOD = 3, FLOOR = 5 };

static const struct rig_part parts[] = {
    {.name = "word", .page_size = 1024, .granule = 4},
    {.name = "once", .page_size = 2048, .granule = 8, .write_once = true, .relocates = true}};
static struct rig rig;
static uint8_t slots_before[FLASH_SIM_SIZE_MAX];

static void idle_for(mp_time span)
{
    for (mp_time end = rig.now + span; rig.now < end;)
        rig_step(&rig, MP_SECONDS(1));
}

static uint32_t slots_size(void)
{
    return 2 * rig.layout.slot_size;
}

static const uint8_t *slots(void)
{
    return rig.sim.data + rig.layout.slot[0];
}

static void expect_slots_untouched(void)
{
    assert_memory_equal(slots(), slots_before, slots_size());
    assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 0);
    assert_int_equal(rig.running, 1);
    idle_for(MP_SECONDS(60));
    assert_memory_equal(slots(), slots_before, slots_size());
}

/* The next release comes and is confirmed. */
static void expect_good_release_installs(void)
{
    enum boot_cause cause;

    assert_int_equal(rig_direct(&rig, MP_ACTION_OPEN, GOOD, 1, 0), MP_OK);
    assert_int_equal(rig_manifest(&rig, GOOD), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_RESETTING, 900));
    assert_true(nf_wants_reset(&rig.node, &cause));
    assert_int_equal(rig_boot(&rig, cause), 1);
    nf_selftest(&rig.node, &rig.env, rig.now, true);
    assert_true(rig_run_to(&rig, NF_PHASE_IDLE, 3000));
    assert_int_equal(rig.node.mp.report.phase, MP_PHASE_CONFIRMED);
    assert_int_equal(rig.running, GOOD);
}

/* Opens release BAD to everybody on each kind of part; what the node reports, nothing when phase is idle. */
static void expect_refused(void (*edit)(uint32_t release, struct mp_manifest *m), enum mp_phase phase,
                           enum mp_reason reason)
{
    for (unsigned i = 0; i < 2; i++) {
        rig_images(&parts[i], edit);
        rig_init(&rig, &parts[i]);
        assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 0);
        memcpy(slots_before, slots(), slots_size());
        assert_int_equal(rig_direct(&rig, MP_ACTION_OPEN, BAD, 1, 0), MP_OK);
        assert_int_equal(rig_manifest(&rig, BAD), MP_OK);
        idle_for(MP_SECONDS(300));
        assert_int_equal(rig.node.phase, NF_PHASE_IDLE);
        assert_int_equal(rig.node.mp.report.phase, phase);
        assert_int_equal(rig.node.mp.report.reason, reason);
        assert_int_equal(rig.node.mp.report.target, phase == MP_PHASE_IDLE ? 0 : BAD);
        assert_int_equal(rig.counters.chunks_stored, 0);
        expect_slots_untouched();
        expect_good_release_installs();
    }
}

/* --- what does not fit the device --------------------------------------------------------------------------------- */

static void release_below(uint32_t release, struct mp_manifest *m)
{
    if (release == BAD)
        m->release = 1; /* what runs is 1 */
}

/* Nothing to report: directives of the past stay in the mesh for long, and concern nobody who has gone on. */
static void test_lower_release_sequence_is_not_installed(void **state)
{
    struct mp_device device = {.release = 7, .version = UINT32_MAX, .slot_size = MP_IMAGE_MAX, .battery_percent = 100};
    struct mp_manifest m;
    (void)state;

    expect_refused(release_below, MP_PHASE_IDLE, MP_REASON_NONE);
    sign_manifest_fill(&m, RIG_MODEL, 6);
    m.image_size = m.payload_size = 100;
    device.product = m.product;
    device.model = m.model;
    assert_int_equal(mp_manifest_check(&m, &device, false), MP_ERR_RELEASE);
    m.release = 7;
    assert_int_equal(mp_manifest_check(&m, &device, false), MP_ERR_RELEASE);
    m.release = 8;
    assert_int_equal(mp_manifest_check(&m, &device, false), MP_OK);
}

static void counter_below(uint32_t release, struct mp_manifest *m)
{
    m->security_counter = release == BAD ? FLOOR - 1 : FLOOR;
}

static void counter_leaps(uint32_t release, struct mp_manifest *m)
{
    m->security_counter = release == BAD ? FLOOR + MP_COUNTER_STEP_MAX + 1 : FLOOR;
}

static void test_lower_security_counter_is_refused_with_its_reason(void **state)
{
    (void)state;
    expect_refused(counter_below, MP_PHASE_REFUSED, MP_REASON_PRECONDITION);
    expect_refused(counter_leaps, MP_PHASE_REFUSED, MP_REASON_PRECONDITION); /* would shut out all that come after */
}

static void other_model(uint32_t release, struct mp_manifest *m)
{
    m->model = (uint16_t)(m->model + (release == BAD));
}

static void other_product(uint32_t release, struct mp_manifest *m)
{
    m->product += release == BAD;
}

static void other_revision(uint32_t release, struct mp_manifest *m)
{
    if (release == BAD)
        m->hw_revisions = 1u << 31;
}

/* Another model's release is none of its business; its own model's for another revision is refused aloud. */
static void test_wrong_model_is_not_installed(void **state)
{
    (void)state;
    expect_refused(other_model, MP_PHASE_IDLE, MP_REASON_NONE);
    expect_refused(other_product, MP_PHASE_IDLE, MP_REASON_NONE);
    expect_refused(other_revision, MP_PHASE_REFUSED, MP_REASON_PRECONDITION);
}

static void wants_later_version(uint32_t release, struct mp_manifest *m)
{
    if (release == BAD)
        m->version_min = m->version;
}

static void test_wrong_precursor_is_refused_with_its_reason(void **state)
{
    (void)state;
    expect_refused(wants_later_version, MP_PHASE_REFUSED, MP_REASON_PRECONDITION);
}

static void too_big(uint32_t release, struct mp_manifest *m)
{
    if (release == BAD)
        m->image_size = m->payload_size = 64u * 1024;
}

static void as_big_as_can_be(uint32_t release, struct mp_manifest *m)
{
    if (release == BAD)
        m->image_size = m->payload_size = MP_IMAGE_MAX;
}

static void one_more_than_fits(uint32_t release, struct mp_manifest *m)
{
    if (release == BAD)
        m->image_size = m->payload_size = boot_image_capacity(&rig.sim.flash, &rig.layout) + 1;
}

static void test_image_too_big_for_the_slot_is_refused_with_its_reason(void **state)
{
    (void)state;
    expect_refused(too_big, MP_PHASE_REFUSED, MP_REASON_NO_ROOM);
    expect_refused(as_big_as_can_be, MP_PHASE_REFUSED, MP_REASON_NO_ROOM);
    for (unsigned i = 0; i < 2; i++) { /* the geometry of the part must be known first */
        rig_images(&parts[i], NULL);
        rig_init(&rig, &parts[i]);
        rig_images(&parts[i], one_more_than_fits);
        rig_init(&rig, &parts[i]);
        assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 0);
        assert_int_equal(rig_direct(&rig, MP_ACTION_OPEN, BAD, 1, 0), MP_OK);
        assert_int_equal(rig_manifest(&rig, BAD), MP_OK);
        idle_for(MP_SECONDS(60));
        assert_int_equal(rig.node.mp.report.reason, MP_REASON_NO_ROOM);
    }
}

/* --- expired ------------------------------------------------------------------------------------------------------ */

enum { EXPIRY = 10 };

static void expires(uint32_t release, struct mp_manifest *m)
{
    if (release == BAD)
        m->expiry_epoch = EXPIRY;
}

static void next_epoch(struct mp_directive *d)
{
    d->epoch = EXPIRY + 1;
}

/* Expired on arrival: not even accepted as an object. Expired while staged: not activated. */
static void test_expired_image_is_refused(void **state)
{
    uint8_t object[MP_DIRECTIVE_MAX];
    size_t len;
    (void)state;

    rig_images(&parts[0], expires);
    rig_init(&rig, &parts[0]);
    assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 0);
    memcpy(slots_before, slots(), slots_size());
    len = rig_directive(object, MP_ACTION_OPEN, BAD, 1, 0, next_epoch);
    assert_int_equal(rig_send(&rig, MP_TYPE_DIRECTIVE, object, len), MP_OK);
    uint32_t dropped = rig.counters.dropped[-MP_ERR_EXPIRED];

    assert_int_equal(rig_manifest(&rig, BAD), MP_ERR_EXPIRED);
    assert_int_equal(rig.counters.dropped[-MP_ERR_EXPIRED], dropped + 1);
    idle_for(MP_SECONDS(60));
    assert_int_equal(rig.node.phase, NF_PHASE_IDLE);
    expect_slots_untouched();
    expect_good_release_installs();

    rig_init(&rig, &parts[0]);
    assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 0);
    assert_int_equal(rig_direct(&rig, MP_ACTION_STAGE, BAD, 1, 0), MP_OK);
    assert_int_equal(rig_manifest(&rig, BAD), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_STAGED, 900));
    len = rig_directive(object, MP_ACTION_OPEN, BAD, 2, 0, next_epoch);
    assert_int_equal(rig_send(&rig, MP_TYPE_DIRECTIVE, object, len), MP_OK);
    idle_for(MP_SECONDS(300));
    assert_int_equal(rig.node.phase, NF_PHASE_STAGED);
    assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 0);
    assert_int_equal(rig.running, 1);
    expect_good_release_installs();
}

/* --- images that are not what was signed -------------------------------------------------------------------------- */

static void wrong_digest(uint32_t release, struct mp_manifest *m)
{
    if (release == BAD)
        m->image_sha256[31] ^= 1;
}

/* Each chunk verifies and the whole does not: never sealed, never booted, given up for good. */
static void test_wrong_image_digest_is_never_booted(void **state)
{
    uint8_t seal[MP_MANIFEST_SIZE];
    (void)state;

    for (unsigned i = 0; i < 2; i++) {
        rig_images(&parts[i], wrong_digest);
        rig_init(&rig, &parts[i]);
        assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 0);
        assert_int_equal(rig_direct(&rig, MP_ACTION_OPEN, BAD, 1, 0), MP_OK);
        assert_int_equal(rig_manifest(&rig, BAD), MP_OK);
        assert_true(rig_run_to(&rig, NF_PHASE_VERIFYING, 900));
        assert_true(rig_run_to(&rig, NF_PHASE_IDLE, 100));
        assert_int_equal(rig.node.mp.report.phase, MP_PHASE_REFUSED);
        assert_int_equal(rig.node.mp.report.reason, MP_REASON_BAD_IMAGE);
        assert_int_equal(boot_image_seal(&rig.sim.flash, &rig.layout, 1, seal), MP_ERR_ABSENT);
        idle_for(MP_SECONDS(300));
        assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 0);
        assert_int_equal(rig.trial_boots[BAD], 0);
        expect_good_release_installs();
    }
}

/* --- links -------------------------------------------------------------------------------------------------------- */

enum { LINK_SIZE = 4096, BASE_A = 0x08010000, BASE_B = 0x08040000 };

static void make_links(uint8_t *a, uint8_t *b)
{
    for (uint32_t i = 0; i < LINK_SIZE; i++)
        a[i] = (uint8_t)(i * 2654435761u >> 24);
    memcpy(b, a, LINK_SIZE);
    for (uint32_t i = 0; i < LINK_SIZE; i += 64) {
        mp_put32(a + i, BASE_A + i);
        mp_put32(b + i, BASE_B + i);
    }
}

/* One byte anywhere, a wrong distance, a length: no payload comes out, and the sentence names the place. */
static void test_image_links_that_differ_in_more_than_relocations_are_refused(void **state)
{
    static uint8_t a[LINK_SIZE], b[LINK_SIZE];
    uint8_t *payload = NULL;
    size_t size = 0;
    char error[200];
    (void)state;

    for (uint32_t at = 0; at < LINK_SIZE; at += 61) {
        char place[32];
        make_links(a, b);
        b[at] ^= 0x10;
        assert_int_equal(
            md_pack_links(a, LINK_SIZE, b, LINK_SIZE, BASE_A, BASE_B, 4, &payload, &size, error, sizeof error),
            MP_ERR_FORMAT);
        snprintf(place, sizeof place, "0x%x", at & ~3u);
        assert_non_null(strstr(error, "more than relocations"));
        assert_non_null(strstr(error, place));
        assert_null(payload);
    }
    make_links(a, b);
    assert_true(md_pack_links(a, LINK_SIZE, b, LINK_SIZE, BASE_A, BASE_B + 4, 4, &payload, &size, error, sizeof error) <
                0);
    assert_true(md_pack_links(a, LINK_SIZE, b, LINK_SIZE - 4, BASE_A, BASE_B, 4, &payload, &size, error, sizeof error) <
                0);
    assert_null(payload);
    assert_int_equal(md_pack_links(a, LINK_SIZE, b, LINK_SIZE, BASE_A, BASE_B, 4, &payload, &size, error, sizeof error),
                     MP_OK);
    assert_memory_equal(payload + size - LINK_SIZE, a, LINK_SIZE);
    free(payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lower_release_sequence_is_not_installed),
        cmocka_unit_test(test_lower_security_counter_is_refused_with_its_reason),
        cmocka_unit_test(test_wrong_model_is_not_installed),
        cmocka_unit_test(test_wrong_precursor_is_refused_with_its_reason),
        cmocka_unit_test(test_image_too_big_for_the_slot_is_refused_with_its_reason),
        cmocka_unit_test(test_expired_image_is_refused),
        cmocka_unit_test(test_wrong_image_digest_is_never_booted),
        cmocka_unit_test(test_image_links_that_differ_in_more_than_relocations_are_refused),
    };

    if (crypto_sodium() == NULL)
        return 1;
    return cmocka_run_group_tests_name("bad image", tests, NULL, NULL);
}
