/* Serial recovery, host side against device side: clean and bad lines, resets, power cuts, and parts that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "meshd/ctl/recover.h"
#include "proto/mp_wire.h"
#include "tests/lib/recovery_part.h"

static const struct rig_part word = {.name = "word", .page_size = 1024, .granule = 4, .relocates = true};
enum { NODE = 4711, PATIENCE_MS = 10000 };

static struct recovery_part part;
static uint8_t settings[MP_SETTINGS_SIZE], tree[RIG_CHUNKS_MAX * MP_CHUNK_SIZE];
static struct md_recover host;
static mp_time now;
static uint32_t random_state;

/* What the line does to bytes, each way: of a million, how many are lost or changed. */
static uint32_t lost_ppm, changed_ppm;
/* What happens to the part: after so many replies, counted down. 0: nothing. */
static unsigned reset_in, deaf_in, break_in;
static bool is_deaf;

static uint32_t draw(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

static struct md_recover_plan plan_for(uint32_t release)
{
    struct md_recover_plan plan = {.settings = settings,
                                   .manifest = rig_image[release].manifest,
                                   .payload = rig_image[release].payload,
                                   .tree = tree,
                                   .slot = -1,
                                   .reset = true,
                                   .patience_ms = PATIENCE_MS};

    memcpy(plan.id, rig_image[release].id, 8);
    for (uint32_t p = 0; p < rig_image[release].tree.first[0]; p++)
        memcpy(tree + p * MP_CHUNK_SIZE, rig_image[release].chunk[p], MP_CHUNK_SIZE);
    return plan;
}

static void fresh(void)
{
    rig_images(&word, NULL);
    recovery_part_init(&part, &word);
    recovery_settings(settings, NODE);
    now = MP_SECONDS(1000);
    lost_ppm = changed_ppm = reset_in = deaf_in = break_in = 0;
    is_deaf = false;
    random_state = 7;
}

/* A byte's way over the line: false when it is lost. */
static bool pass(uint8_t *byte)
{
    if (lost_ppm > 0 && draw(1000000) < lost_ppm)
        return false;
    if (changed_ppm > 0 && draw(1000000) < changed_ppm)
        *byte ^= (uint8_t)(1u << draw(8));
    return true;
}

static bool counts_down(unsigned *counter)
{
    return *counter > 0 && --*counter == 0;
}

/* The part answers, if it can. */
static void answer(size_t len)
{
    uint8_t reply[BOOT_RECOVERY_FRAME_MAX], *end = reply;

    if (counts_down(&deaf_in))
        is_deaf = true;
    for (size_t i = 0; i < len; i++) {
        *end = part.r.frame[i];
        end += pass(end);
    }
    now += MP_MS(3);
    if (counts_down(&reset_in)) {
        recovery_part_restart(&part);
        return; /* nor did this answer leave */
    }
    if (part.r.reset) {
        part.r.reset = false;
        recovery_part_restart(&part);
    }
    if (!is_deaf && !part.sim.is_dead)
        md_recover_receive(&host, now, reply, (size_t)(end - reply));
}

static enum md_recover_state run(const struct md_recover_plan *plan)
{
    uint8_t data[100];
    mp_time start = now;

    assert_int_equal(md_recover_start(&host, plan, now), MP_OK);
    while (md_recover_state(&host) == MD_RECOVER_RUNNING) {
        size_t n = md_recover_write(&host, data, 1 + draw(sizeof data));
        for (size_t i = 0; i < n; i++) {
            if (!pass(&data[i]) || part.sim.is_dead)
                continue;
            size_t len = boot_recovery_receive(&part.r, data[i]);
            if (len > 0)
                answer(len);
        }
        if (part.sim.is_dead && draw(3) == 0)
            recovery_part_restart(&part);
        if (counts_down(&break_in))
            md_recover_resume(&host, now);
        if (n > 0)
            continue;
        if (md_recover_next_expiry(&host) > now)
            now = md_recover_next_expiry(&host);
        md_recover_expire(&host, now);
        assert_true(now - start < MP_SECONDS(3600));
    }
    return md_recover_state(&host);
}

static void expect_provisioned(unsigned slot, uint32_t release)
{
    struct boot_choice choice;

    if (md_recover_state(&host) != MD_RECOVER_DONE)
        fail_msg("step %u: %s", host.step, host.error);
    recovery_part_restart(&part);
    assert_int_equal(recovery_part_boot(&part, &choice), (int)slot);
    assert_int_equal(choice.record.release, release);
    assert_memory_equal(part.sim.data + part.layout.settings, settings, sizeof settings);
}

static void a_blank_part_is_provisioned(void **state)
{
    (void)state;
    fresh();
    struct md_recover_plan plan = plan_for(1);

    run(&plan);
    expect_provisioned(0, 1);
    assert_int_equal(host.resent, 0);
    assert_int_equal(host.setbacks, 0);
    assert_false(host.was_there);
    /* The tree came along. */
    struct boot_image image;
    assert_int_equal(boot_image_open(&image, &part.flash, &part.layout, 0, rig_crypto(), NULL), MP_OK);
    for (uint32_t p = 0; p < image.tree.first[0]; p++)
        assert_memory_equal(part.sim.data + boot_image_chunk_address(&image, p), rig_image[1].chunk[p],
                            mp_tree_length(&image.tree, p));
    /* Once more: there is nothing to do. */
    uint64_t ops = part.sim.ops;
    run(&plan);
    expect_provisioned(0, 1);
    assert_true(host.was_there);
    assert_int_equal(part.sim.ops, ops);
    /* Another image goes into the other slot. */
    plan = plan_for(2);
    plan.settings = NULL;
    run(&plan);
    expect_provisioned(1, 2);
    /* Or where it is told to. */
    plan = plan_for(3);
    plan.slot = 1;
    run(&plan);
    expect_provisioned(1, 3);
}

static void looking_changes_nothing(void **state)
{
    struct md_recover_plan plan = {.slot = -1, .patience_ms = PATIENCE_MS};
    (void)state;

    fresh();
    assert_int_equal(run(&plan), MD_RECOVER_DONE);
    assert_int_equal(part.sim.ops, 0);
    assert_memory_equal(host.info.number, part.env.part, 8);
    assert_memory_equal(&host.info.layout, &part.layout, sizeof part.layout);
    assert_int_equal(host.info.page_size, 1024);
    assert_int_equal(host.info.granule, 4);
    assert_false(host.info.has_settings || host.info.has_record || host.info.is_sealed[0]);
}

static void bad_lines_are_got_over(void **state)
{
    static const uint32_t rates[] = {100, 300, 700};
    (void)state;

    for (unsigned i = 0; i < 3; i++)
        for (unsigned seed = 0; seed < 8; seed++) {
            fresh();
            struct md_recover_plan plan = plan_for(1);
            random_state = seed + 100 * i;
            lost_ppm = seed % 2 == 0 ? rates[i] : 0;
            changed_ppm = rates[i];
            run(&plan);
            lost_ppm = changed_ppm = 0;
            expect_provisioned(0, 1);
            assert_true(host.resent > 0);
        }
}

static void a_part_that_resets_is_taken_up_again(void **state)
{
    (void)state;
    for (unsigned at = 1; at < 80; at++) {
        fresh();
        struct md_recover_plan plan = plan_for(1);
        reset_in = at;
        run(&plan);
        expect_provisioned(0, 1);
    }
}

static void a_line_that_breaks_goes_on(void **state)
{
    (void)state;
    for (unsigned at = 1; at < 400; at += 3) {
        fresh();
        struct md_recover_plan plan = plan_for(1);
        plan.erase = at % 2 == 1;
        break_in = at;
        run(&plan);
        expect_provisioned(0, 1);
        assert_in_range(host.setbacks, 0, 1); /* settings or an erasure that had not arrived */
    }
}

static void power_cuts_are_got_over(void **state)
{
    (void)state;
    fresh();
    struct md_recover_plan plan = plan_for(1);

    run(&plan);
    uint64_t ops = part.sim.ops;
    for (uint64_t at = 0; at < ops; at += at < 30 || at > ops - 10 ? 1 : 5)
        for (unsigned cut = 0; cut < FLASH_SIM_CUTS; cut++) {
            fresh();
            plan = plan_for(1);
            flash_sim_cut_at(&part.sim, at, (enum flash_sim_cut)cut);
            run(&plan);
            expect_provisioned(0, 1);
        }
}

static void erasing_makes_a_part_new(void **state)
{
    (void)state;
    fresh();
    struct md_recover_plan plan = plan_for(2);

    run(&plan);
    expect_provisioned(0, 2);
    /* Another node's settings are not put over these. */
    recovery_settings(settings, NODE + 1);
    plan = plan_for(1);
    assert_int_equal(run(&plan), MD_RECOVER_FAILED);
    assert_true(host.is_failure_refusal);
    assert_non_null(strstr(host.error, "settings already, of node 4711"));
    plan.erase = true;
    run(&plan);
    expect_provisioned(0, 1);
    /* Erasing alone. */
    plan = (struct md_recover_plan){.erase = true, .slot = -1, .patience_ms = PATIENCE_MS};
    assert_int_equal(run(&plan), MD_RECOVER_DONE);
    assert_int_equal(recovery_part_boot(&part, NULL), -1);
    for (uint32_t i = 0; i < MP_SETTINGS_SIZE; i++)
        assert_int_equal(part.sim.data[part.layout.settings + i], 0xFF);
}

static void what_the_part_refuses_is_said(void **state)
{
    (void)state;
    fresh();
    struct md_recover_plan plan = plan_for(1);
    uint8_t manifest[MP_MANIFEST_SIZE];

    plan.settings = NULL;
    assert_int_equal(run(&plan), MD_RECOVER_FAILED);
    assert_non_null(strstr(host.error, "no settings"));
    assert_true(host.is_failure_refusal);

    plan = plan_for(1);
    memcpy(manifest, rig_image[1].manifest, sizeof manifest);
    manifest[199] ^= 1;
    plan.manifest = manifest;
    assert_int_equal(run(&plan), MD_RECOVER_FAILED);
    assert_non_null(strstr(host.error, mp_strerror(MP_ERR_SIGNATURE)));
    assert_true(host.is_failure_refusal);
    plan.manifest = settings;
    assert_int_equal(md_recover_start(&host, &plan, now), MP_ERR_FORMAT);

    /* Bytes that are not the manifest's: tried again, but not for ever. */
    plan = plan_for(1);
    plan.payload = rig_image[2].payload;
    assert_int_equal(run(&plan), MD_RECOVER_FAILED);
    assert_false(host.is_silent);
}

static void silence_has_an_end(void **state)
{
    (void)state;
    fresh();
    struct md_recover_plan plan = plan_for(1);
    mp_time start = now;

    lost_ppm = 1000000;
    assert_int_equal(run(&plan), MD_RECOVER_FAILED);
    assert_true(host.is_silent);
    assert_non_null(strstr(host.error, "no bootloader answers"));
    assert_in_range(now - start, MP_MS(PATIENCE_MS), MP_MS(PATIENCE_MS + 2000));
    for (unsigned at = 2; at < 40; at += 5) {
        fresh();
        plan = plan_for(1);
        deaf_in = at;
        assert_int_equal(run(&plan), MD_RECOVER_FAILED);
        assert_true(host.is_silent);
        assert_non_null(strstr(host.error, "does not answer any more"));
    }
}

/* A reply to HELLO of which one field is wrong. */
static int info_of(unsigned offset, uint32_t value)
{
    uint8_t data[BOOT_RECOVERY_HELLO_SIZE];
    struct md_part_info info;

    fresh();
    assert_int_equal(recovery_part_ask(&part, BOOT_RECOVERY_HELLO, NULL, 0), MP_OK);
    memcpy(data, part.r.frame + BOOT_RECOVERY_HEAD, sizeof data);
    assert_int_equal(md_part_info_get(&info, data, sizeof data), MP_OK);
    for (size_t len = 0; len < sizeof data; len++)
        assert_int_equal(md_part_info_get(&info, data, len), MP_ERR_LENGTH);
    mp_put32(data + offset, value);
    return md_part_info_get(&info, data, sizeof data);
}

static void parts_that_cannot_be_are_refused(void **state)
{
    static const uint32_t values[] = {0, 1, 3, 1023, 1025, 0x7FFFFC00, 0x80000000, 0xFFFFFC00, UINT32_MAX};
    (void)state;

    assert_int_equal(info_of(0, 2 << 8), MP_ERR_UNSUPPORTED);
    assert_int_equal(info_of(0, 1 << 8), MP_ERR_FORMAT); /* granule 0 */
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++) {
        assert_int_equal(info_of(20, values[i]), MP_ERR_FORMAT);     /* page */
        assert_int_equal(info_of(40, values[i]), MP_ERR_FORMAT);     /* slot 0 */
        assert_int_equal(info_of(48, values[i]), MP_ERR_FORMAT);     /* slot size */
        assert_int_equal(info_of(88, values[i] | 1), MP_ERR_FORMAT); /* boot record */
    }
    assert_int_equal(info_of(28, 1024), MP_ERR_FORMAT); /* settings in the boot record */
    assert_int_equal(info_of(60, 1024), MP_ERR_FORMAT); /* a seal's page there, too */
    assert_int_equal(info_of(52, 77), MP_OK);           /* base: anything */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_blank_part_is_provisioned), cmocka_unit_test(looking_changes_nothing),
        cmocka_unit_test(bad_lines_are_got_over),      cmocka_unit_test(a_part_that_resets_is_taken_up_again),
        cmocka_unit_test(a_line_that_breaks_goes_on),  cmocka_unit_test(power_cuts_are_got_over),
        cmocka_unit_test(erasing_makes_a_part_new),    cmocka_unit_test(what_the_part_refuses_is_said),
        cmocka_unit_test(silence_has_an_end),          cmocka_unit_test(parts_that_cannot_be_are_refused),
    };

    return cmocka_run_group_tests_name("recover", tests, NULL, NULL);
}
