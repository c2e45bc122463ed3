/* The update state machine over the real engine, store and bootloader: every decision, every reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "proto/mp_wire.h"
#include "proto/mesh/summary.h"
#include "proto/object/settings.h"
#include "tests/lib/rig.h"

static const struct rig_part word = {.name = "word", .page_size = 1024, .granule = 4};
static const struct rig_part once = {
    .name = "once", .page_size = 2048, .granule = 8, .write_once = true, .relocates = true};
#define HOURS(n) MP_SECONDS((n)*3600ull)

static struct rig rig;

/* A node on release 1 that has booted once. */
static void fresh(const struct rig_part *part, void (*edit)(uint32_t release, struct mp_manifest *m))
{
    rig_images(part, edit);
    rig_init(&rig, part);
    assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 0);
}

static void expect_report(enum mp_phase phase, enum mp_reason reason, uint32_t target)
{
    assert_int_equal(rig.node.mp.report.phase, phase);
    assert_int_equal(rig.node.mp.report.reason, reason);
    assert_int_equal(rig.node.mp.report.target, target);
    assert_int_equal(rig.node.mp.report.running, rig.running);
}

static int direct(enum mp_action action, uint32_t release, uint32_t sequence, void (*edit)(struct mp_directive *d))
{
    uint8_t object[MP_DIRECTIVE_MAX];
    size_t len = rig_directive(object, action, release, sequence, 0, edit);

    return rig_send(&rig, MP_TYPE_DIRECTIVE, object, len);
}

static void idle_for(mp_time span, mp_time step)
{
    for (mp_time end = rig.now + span; rig.now < end;)
        rig_step(&rig, step);
}

/* Stages a release and lets it come in. */
static void stage(uint32_t release)
{
    assert_int_equal(direct(MP_ACTION_STAGE, release, 1, NULL), MP_OK);
    assert_int_equal(rig_manifest(&rig, release), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_STAGED, 600));
}

/* The reset that is wanted, and its cause. */
static enum boot_cause reset(void)
{
    enum boot_cause cause;

    assert_true(nf_wants_reset(&rig.node, &cause));
    return cause;
}

/* Opens a staged release and boots into its trial. */
static void open_and_boot(uint32_t release, uint32_t sequence)
{
    assert_int_equal(direct(MP_ACTION_OPEN, release, sequence, NULL), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_RESETTING, 100));
    assert_int_equal(reset(), BOOT_CAUSE_REQUEST);
    assert_true(rig_boot(&rig, BOOT_CAUSE_REQUEST) >= 0);
    assert_int_equal(rig.running, release);
    assert_true(nf_is_trial(&rig.node));
}

static void confirm(void)
{
    nf_selftest(&rig.node, &rig.env, rig.now, true);
    assert_true(rig_run_to(&rig, NF_PHASE_IDLE, 3000));
}

/* --- the straight way --------------------------------------------------------------------------------------------- */

static void test_update_from_stage_to_confirmed(void **state)
{
    (void)state;
    const struct rig_part *parts[] = {&word, &once};

    for (unsigned i = 0; i < 2; i++) {
        enum boot_cause cause;
        fresh(parts[i], NULL);
        expect_report(MP_PHASE_IDLE, MP_REASON_NONE, 0);
        assert_int_equal(rig.running, 1);
        assert_int_equal(direct(MP_ACTION_STAGE, 2, 1, NULL), MP_OK);
        assert_int_equal(rig_manifest(&rig, 2), MP_OK);
        assert_true(rig_run_to(&rig, NF_PHASE_FETCHING, 100));
        expect_report(MP_PHASE_FETCHING, MP_REASON_NONE, 2);
        assert_true(rig_run_to(&rig, NF_PHASE_STAGED, 600));
        expect_report(MP_PHASE_STAGED, MP_REASON_NONE, 2);
        assert_int_equal(boot_image_verify(&rig.store.slot[1].image, rig_crypto()), MP_OK);
        idle_for(HOURS(2), MP_SECONDS(20));
        assert_int_equal(rig.node.phase, NF_PHASE_STAGED);
        assert_false(nf_wants_reset(&rig.node, &cause));
        open_and_boot(2, 2);
        expect_report(MP_PHASE_TRIAL, MP_REASON_NONE, 2);
        confirm();
        expect_report(MP_PHASE_CONFIRMED, MP_REASON_NONE, 2);
        assert_true(rig_boot(&rig, BOOT_CAUSE_POWER) >= 0);
        assert_int_equal(rig.running, 2);
        expect_report(MP_PHASE_CONFIRMED, MP_REASON_NONE, 2);
        idle_for(MP_SECONDS(100), MP_SECONDS(1));
        assert_int_equal(rig.node.phase, NF_PHASE_IDLE);
    }
}

/* Reports are not repeated by a reboot: what is persisted stays as it is. */
static void test_reboots_do_not_take_serials(void **state)
{
    (void)state;
    fresh(&word, NULL);
    stage(2);
    uint16_t serial = rig.node.mp.report.serial;

    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 0);
        idle_for(MP_SECONDS(5), MP_MS(100));
        assert_int_equal(rig.node.phase, NF_PHASE_STAGED);
        assert_int_equal(rig.node.mp.report.serial, serial);
        expect_report(MP_PHASE_STAGED, MP_REASON_NONE, 2);
    }
}

static void test_boot_counter_rises(void **state)
{
    (void)state;
    fresh(&word, NULL);
    for (unsigned i = 0; i < 20; i++) {
        uint32_t boot = mp_node_boot(&rig.node.mp);
        assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 0);
        assert_int_equal(mp_node_boot(&rig.node.mp), boot + 1);
    }
}

static void test_fetch_goes_on_after_a_reset(void **state)
{
    (void)state;
    fresh(&once, NULL);
    assert_int_equal(direct(MP_ACTION_STAGE, 2, 1, NULL), MP_OK);
    assert_int_equal(rig_manifest(&rig, 2), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_FETCHING, 100));
    for (unsigned i = 0; i < 30; i++) {
        rig_supply(&rig);
        rig_step(&rig, MP_MS(20));
    }
    uint32_t held = rig.store.slot[1].count;

    assert_true(held >= 30);
    assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 0);
    assert_int_equal(rig.store.slot[1].count, held);
    assert_true(rig_run_to(&rig, NF_PHASE_STAGED, 600));
    assert_int_equal(rig.counters.chunks_stored, rig_image[2].tree.positions);
}

/* --- who may activate --------------------------------------------------------------------------------------------- */

static void not_in(struct mp_directive *d)
{
    d->share = 0;
    d->labels = RIG_LABELS << 1;
}

static void by_label(struct mp_directive *d)
{
    d->share = 0;
    d->labels = RIG_LABELS;
}

static void spread(struct mp_directive *d)
{
    d->spread_s = 3600;
}

static void test_only_the_opened_activate(void **state)
{
    (void)state;
    fresh(&word, NULL);
    stage(2);
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 2, not_in), MP_OK);
    idle_for(MP_SECONDS(600), MP_SECONDS(1));
    assert_int_equal(rig.node.phase, NF_PHASE_STAGED);
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 3, by_label), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_RESETTING, 10));
}

static void test_spread_delays(void **state)
{
    (void)state;
    uint32_t delay_ms;
    struct mp_directive d;

    fresh(&word, NULL);
    stage(2);
    sign_directive_fill(&d, MP_ACTION_OPEN, RIG_NETWORK, 2, 2, rig_image[2].id);
    mp_directive_draw(rig_crypto(), d.salt, RIG_NODE, 3600, &delay_ms);
    assert_true(delay_ms > 60000);
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 2, spread), MP_OK);
    rig_step(&rig, MP_MS(1));
    mp_time start = rig.now;
    idle_for(MP_MS(delay_ms) - MP_SECONDS(5), MP_SECONDS(1));
    assert_int_equal(rig.node.phase, NF_PHASE_STAGED);
    expect_report(MP_PHASE_STAGED, MP_REASON_NONE, 2);
    assert_true(nf_next_expiry(&rig.node) <= start + MP_MS(delay_ms));
    idle_for(MP_SECONDS(10), MP_SECONDS(1));
    assert_int_equal(rig.node.phase, NF_PHASE_RESETTING);
}

static void clears_hold(struct mp_directive *d)
{
    d->floor = 3;
}

static void test_hold_stops_activation_and_starts_nothing(void **state)
{
    (void)state;
    fresh(&word, NULL);
    stage(2);
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 2, spread), MP_OK);
    idle_for(MP_SECONDS(10), MP_SECONDS(1));
    assert_int_equal(direct(MP_ACTION_HOLD, 2, 3, NULL), MP_OK);
    idle_for(HOURS(3), MP_SECONDS(10));
    assert_int_equal(rig.node.phase, NF_PHASE_STAGED);
    /* An open that does not know of the hold is no newer. */
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 4, NULL), MP_ERR_OLD);
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 5, clears_hold), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_RESETTING, 10));

    fresh(&word, NULL);
    uint64_t ops = rig.sim.ops;
    assert_int_equal(direct(MP_ACTION_HOLD, 2, 3, NULL), MP_OK);
    assert_int_equal(rig_manifest(&rig, 2), MP_OK);
    idle_for(MP_SECONDS(100), MP_SECONDS(1));
    assert_int_equal(rig.node.phase, NF_PHASE_IDLE);
    assert_true(rig.sim.ops <= ops + 4); /* two objects and a report, no erase */
}

/* A hold during the fetch lets it finish. */
static void test_fetch_goes_on_under_a_hold(void **state)
{
    (void)state;
    fresh(&word, NULL);
    assert_int_equal(direct(MP_ACTION_STAGE, 2, 1, NULL), MP_OK);
    assert_int_equal(rig_manifest(&rig, 2), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_FETCHING, 100));
    assert_int_equal(direct(MP_ACTION_HOLD, 2, 2, NULL), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_STAGED, 600));
}

/* What may be activated goes before what is only staged, though its release is lower. */
static void test_open_goes_before_staged(void **state)
{
    (void)state;
    fresh(&word, NULL);
    stage(2);
    assert_int_equal(direct(MP_ACTION_STAGE, 3, 1, NULL), MP_OK);
    assert_int_equal(rig_manifest(&rig, 3), MP_OK);
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 2, NULL), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_RESETTING, 600));
    assert_int_equal(rig.node.target.release, 2);
}

/* --- refusals ----------------------------------------------------------------------------------------------------- */

static void other_revision(uint32_t release, struct mp_manifest *m)
{
    if (release == 2)
        m->hw_revisions = 0x10;
}

static void other_model(uint32_t release, struct mp_manifest *m)
{
    if (release == 2)
        m->model++;
}

static void later_version(uint32_t release, struct mp_manifest *m)
{
    if (release == 2)
        m->version_min = 0x05000000;
}

static void counter_leaps(uint32_t release, struct mp_manifest *m)
{
    if (release == 2)
        m->security_counter = 17;
}

static void too_big(uint32_t release, struct mp_manifest *m)
{
    if (release == 2)
        m->image_size = m->payload_size = 64 * 1024;
}

static void expect_refused(void (*edit)(uint32_t, struct mp_manifest *), enum mp_reason reason)
{
    fresh(&word, edit);
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 1, NULL), MP_OK);
    assert_int_equal(rig_manifest(&rig, 2), MP_OK);
    idle_for(MP_SECONDS(100), MP_SECONDS(1));
    assert_int_equal(rig.node.phase, NF_PHASE_IDLE);
    expect_report(MP_PHASE_REFUSED, reason, 2);
}

static void test_refusals_say_why(void **state)
{
    (void)state;
    expect_refused(other_revision, MP_REASON_PRECONDITION);
    expect_refused(later_version, MP_REASON_PRECONDITION);
    expect_refused(counter_leaps, MP_REASON_PRECONDITION);
    expect_refused(too_big, MP_REASON_NO_ROOM);
}

static void test_other_models_concern_nobody(void **state)
{
    (void)state;
    fresh(&word, other_model);
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 1, NULL), MP_OK);
    assert_int_equal(rig_manifest(&rig, 2), MP_OK);
    idle_for(MP_SECONDS(100), MP_SECONDS(1));
    expect_report(MP_PHASE_IDLE, MP_REASON_NONE, 0);
}

static void expires(uint32_t release, struct mp_manifest *m)
{
    if (release == 2)
        m->expiry_epoch = 10;
}

static void epoch_11(struct mp_directive *d)
{
    d->epoch = 11;
}

/* Expired between staging and opening. */
static void test_expired_is_not_activated(void **state)
{
    (void)state;
    fresh(&word, expires);
    stage(2);
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 2, epoch_11), MP_OK);
    idle_for(MP_SECONDS(100), MP_SECONDS(1));
    assert_int_equal(rig.node.phase, NF_PHASE_STAGED);
    assert_false(rig.node.target.is_open);
}

static void wrong_digest(uint32_t release, struct mp_manifest *m)
{
    if (release == 2)
        m->image_sha256[5] ^= 1;
}

/* Every chunk is right and the whole is not: given up for good, without a boot. */
static void test_wrong_digest_is_final(void **state)
{
    (void)state;
    fresh(&word, wrong_digest);
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 1, NULL), MP_OK);
    assert_int_equal(rig_manifest(&rig, 2), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_VERIFYING, 600));
    assert_true(rig_run_to(&rig, NF_PHASE_IDLE, 100));
    expect_report(MP_PHASE_REFUSED, MP_REASON_BAD_IMAGE, 2);
    for (unsigned i = 0; i < 3; i++) {
        idle_for(MP_SECONDS(100), MP_SECONDS(1));
        assert_int_equal(rig.node.phase, NF_PHASE_IDLE);
        assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 0);
    }
    /* The next release is another matter. */
    stage(3);
}

/* --- what delays -------------------------------------------------------------------------------------------------- */

static void needs_battery(uint32_t release, struct mp_manifest *m)
{
    if (release == 2)
        m->battery_min_percent = 40;
}

static void test_battery_defers(void **state)
{
    (void)state;
    fresh(&word, needs_battery);
    rig.battery_percent = 39;
    stage(2);
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 2, NULL), MP_OK);
    idle_for(MP_SECONDS(300), MP_SECONDS(1));
    expect_report(MP_PHASE_DEFERRED, MP_REASON_BATTERY, 2);
    rig.battery_percent = 40;
    idle_for(MP_SECONDS(61), MP_SECONDS(1));
    assert_int_equal(rig.node.phase, NF_PHASE_RESETTING);
}

static void test_stale_defers(void **state)
{
    (void)state;
    fresh(&word, NULL);
    stage(2);
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 2, spread), MP_OK);
    /* Nothing is heard for a week; then the spread delay is long over. */
    rig_step(&rig, MP_MS(20));
    rig.now += HOURS(24 * 7 + 1);
    idle_for(MP_SECONDS(100), MP_SECONDS(10));
    assert_int_equal(rig.node.phase, NF_PHASE_STAGED);
    expect_report(MP_PHASE_DEFERRED, MP_REASON_STALE, 2);
}

/* A report of somebody else lies in custody when the ring opens. */
static void stage_with_custody(void)
{
    static const uint8_t key[16] = {1};
    const struct mp_report report = {.node = 300, .serial = 1, .running = 1, .phase = MP_PHASE_IDLE};
    uint8_t body[10 + MP_REPORT_ENTRY_SIZE] = {0};

    fresh(&word, NULL);
    stage(2);
    mp_put32(body, RIG_NODE);
    mp_put32(body + 4, rig.node.mp.nonce);
    body[8] = 1;
    mp_report_put(rig_crypto(), body + 10, &report, key);
    assert_int_equal(rig_send_from(&rig, 300, MP_TYPE_REPORT, body, sizeof body), MP_OK);
    assert_int_equal(rig_direct(&rig, MP_ACTION_OPEN, 2, 2, 0), MP_OK);
    rig_step(&rig, MP_MS(20));
    assert_int_equal(rig.node.phase, NF_PHASE_STAGED);
}

static void test_custody_is_passed_on_before_the_reset(void **state)
{
    uint8_t body[8 + 6];
    (void)state;

    stage_with_custody();
    mp_put32(body, RIG_NODE);
    mp_put32(body + 4, rig.node.mp.nonce);
    mp_put32(body + 8, 300);
    mp_put16(body + 12, 1);
    assert_int_equal(rig_send(&rig, MP_TYPE_REPORT_ACK, body, sizeof body), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_RESETTING, 40));
}

static void test_custody_nobody_takes_delays_ten_seconds(void **state)
{
    (void)state;
    stage_with_custody();
    const mp_time opened = rig.now;
    idle_for(MP_SECONDS(9), MP_MS(100));
    assert_int_equal(rig.node.phase, NF_PHASE_STAGED);
    assert_true(rig_run_to(&rig, NF_PHASE_RESETTING, 200));
    assert_true(rig.now - opened < MP_SECONDS(11));
}

/* Four neighbours; `failed` says what three of them rolled back from. */
static void neighbours(uint16_t failed)
{
    for (uint32_t source = 100; source < 104; source++) {
        struct mp_summary s = {.nonce = source, .failed = source < 103 ? failed : 0};
        uint8_t body[MP_SUMMARY_MAX];
        size_t len = mp_summary_put(body, &s);
        assert_int_equal(rig_send_from(&rig, source, MP_TYPE_SUMMARY, body, len), MP_OK);
    }
}

static void overrides(struct mp_directive *d)
{
    d->flags = MP_DIRECTIVE_OVERRIDE;
}

static void broken_node(void)
{
    fresh(&word, NULL);
    neighbours(0);
    stage(2);
    neighbours(2);
    assert_true(mp_node_breaker(&rig.node.mp, 2));
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 2, NULL), MP_OK);
    for (unsigned i = 0; i < 100; i++) {
        neighbours(2);
        rig_step(&rig, MP_SECONDS(1));
    }
    assert_int_equal(rig.node.phase, NF_PHASE_STAGED);
    expect_report(MP_PHASE_DEFERRED, MP_REASON_BREAKER, 2);
}

static void test_breaker_delays_a_day(void **state)
{
    (void)state;
    broken_node();
    mp_time end = rig.now + HOURS(23);

    while (rig.now < end) {
        neighbours(2);
        rig_step(&rig, MP_SECONDS(60));
        assert_int_equal(rig.node.phase, NF_PHASE_STAGED);
    }
    for (unsigned i = 0; i < 70; i++) {
        neighbours(2);
        rig_step(&rig, MP_SECONDS(60));
    }
    assert_int_equal(rig.node.phase, NF_PHASE_RESETTING);
}

static void test_breaker_is_overridden(void **state)
{
    (void)state;
    broken_node();
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 3, overrides), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_RESETTING, 10));
}

/* --- trials that fail --------------------------------------------------------------------------------------------- */

static void test_selftest_failure_rolls_back(void **state)
{
    (void)state;
    fresh(&word, NULL);
    stage(2);
    open_and_boot(2, 2);
    for (unsigned i = 0; i < BOOT_TRIES; i++) {
        assert_true(nf_is_trial(&rig.node));
        nf_selftest(&rig.node, &rig.env, rig.now, false);
        rig_step(&rig, MP_MS(10));
        assert_int_equal(reset(), BOOT_CAUSE_SELFTEST);
        assert_true(rig_boot(&rig, BOOT_CAUSE_SELFTEST) >= 0);
    }
    assert_int_equal(rig.running, 1);
    expect_report(MP_PHASE_ROLLED_BACK, MP_REASON_SELFTEST, 2);
    /* Its directive is still open, and is not followed again: now, after a reset, or under a newer sequence. */
    idle_for(MP_SECONDS(100), MP_SECONDS(1));
    assert_int_equal(rig.node.phase, NF_PHASE_IDLE);
    assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 0);
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 3, NULL), MP_OK);
    idle_for(MP_SECONDS(100), MP_SECONDS(1));
    assert_int_equal(rig.node.phase, NF_PHASE_IDLE);
    expect_report(MP_PHASE_ROLLED_BACK, MP_REASON_SELFTEST, 2);
    assert_int_equal(rig.trial_boots[2], BOOT_TRIES);
    stage(3);
    open_and_boot(3, 2);
    confirm();
    assert_int_equal(rig.running, 3);
}

static void test_mute_image_rolls_back(void **state)
{
    (void)state;
    fresh(&word, NULL);
    stage(2);
    open_and_boot(2, 2);
    rig.answers = false;
    for (unsigned i = 0; i < BOOT_TRIES; i++) {
        nf_selftest(&rig.node, &rig.env, rig.now, true);
        idle_for(MP_SECONDS(59), MP_MS(500));
        assert_true(nf_is_trial(&rig.node));
        idle_for(MP_SECONDS(2), MP_MS(500));
        assert_int_equal(reset(), BOOT_CAUSE_MUTE);
        assert_true(rig_boot(&rig, BOOT_CAUSE_MUTE) >= 0);
    }
    assert_int_equal(rig.running, 1);
    expect_report(MP_PHASE_ROLLED_BACK, MP_REASON_MUTE, 2);
}

static void test_selftest_that_never_ends_rolls_back(void **state)
{
    (void)state;
    fresh(&word, NULL);
    stage(2);
    open_and_boot(2, 2);
    idle_for(MP_SECONDS(61), MP_MS(500));
    assert_int_equal(reset(), BOOT_CAUSE_SELFTEST);
}

/* One kill costs one trial boot. */
static void test_crashes_and_one_recovery(void **state)
{
    (void)state;
    fresh(&word, NULL);
    stage(2);
    open_and_boot(2, 2);
    assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 1);
    assert_int_equal(rig_boot(&rig, BOOT_CAUSE_CRASH), 1);
    confirm();
    expect_report(MP_PHASE_CONFIRMED, MP_REASON_NONE, 2);
    assert_int_equal(rig_boot(&rig, BOOT_CAUSE_CRASH), 1);
    assert_false(nf_is_trial(&rig.node));
}

static void test_watchdog_is_reported(void **state)
{
    (void)state;
    fresh(&word, NULL);
    stage(2);
    open_and_boot(2, 2);
    rig_boot(&rig, BOOT_CAUSE_WATCHDOG);
    rig_boot(&rig, BOOT_CAUSE_WATCHDOG);
    assert_int_equal(rig_boot(&rig, BOOT_CAUSE_WATCHDOG), 0);
    expect_report(MP_PHASE_ROLLED_BACK, MP_REASON_WATCHDOG, 2);
}

/* The trial flag in SUMMARY is what asks for the echo; an echo of another nonce is none. */
static void test_forged_echo_does_not_confirm(void **state)
{
    (void)state;
    uint8_t body[8] = {RIG_NODE, 0, 0, 0, 1, 2, 3, 4};

    fresh(&word, NULL);
    stage(2);
    open_and_boot(2, 2);
    rig.answers = false;
    nf_selftest(&rig.node, &rig.env, rig.now, true);
    for (unsigned i = 0; i < 50; i++) {
        rig_send(&rig, MP_TYPE_REPORT_ACK, body, sizeof body);
        rig_step(&rig, MP_MS(100));
    }
    assert_true(nf_is_trial(&rig.node));
    assert_false(rig.node.echoed);
}

static void test_corrupt_home_is_reported(void **state)
{
    (void)state;
    fresh(&word, NULL);
    stage(2);
    rig.sim.data[rig.layout.slot[0] + 500] ^= 1;
    assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 1);
    assert_int_equal(rig.choice.row, 3);
    expect_report(MP_PHASE_ROLLED_BACK, MP_REASON_CORRUPT_HOME, 0);
}

/* --- revert ------------------------------------------------------------------------------------------------------- */

static void to_release_2(void)
{
    fresh(&word, NULL);
    stage(2);
    open_and_boot(2, 2);
    confirm();
}

static void test_revert_uses_what_the_other_slot_holds(void **state)
{
    (void)state;
    to_release_2();
    uint32_t chunks = rig.counters.chunks_stored;

    assert_int_equal(rig_direct(&rig, MP_ACTION_REVERT, 2, 3, 1), MP_OK);
    assert_int_equal(rig_manifest(&rig, 1), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_RESETTING, 100));
    assert_true(rig_boot(&rig, reset()) >= 0);
    assert_int_equal(rig.running, 1);
    assert_true(nf_is_trial(&rig.node));
    confirm();
    expect_report(MP_PHASE_CONFIRMED, MP_REASON_NONE, 1);
    assert_int_equal(rig.counters.chunks_stored, chunks);
    idle_for(MP_SECONDS(100), MP_SECONDS(1));
    assert_int_equal(rig.node.phase, NF_PHASE_IDLE);
}

static void test_revert_that_fails_is_not_repeated(void **state)
{
    (void)state;
    to_release_2();
    assert_int_equal(rig_direct(&rig, MP_ACTION_REVERT, 2, 3, 1), MP_OK);
    assert_int_equal(rig_manifest(&rig, 1), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_RESETTING, 100));
    for (unsigned i = 0; i <= BOOT_TRIES; i++)
        rig_boot(&rig, BOOT_CAUSE_CRASH);
    assert_int_equal(rig.running, 2);
    expect_report(MP_PHASE_ROLLED_BACK, MP_REASON_CRASHED, 1);
    idle_for(MP_SECONDS(200), MP_SECONDS(1));
    assert_int_equal(rig.node.phase, NF_PHASE_IDLE);
    assert_int_equal(rig.trial_boots[1], BOOT_TRIES);
    assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), rig.choice.slot);
    idle_for(MP_SECONDS(200), MP_SECONDS(1));
    assert_int_equal(rig.node.phase, NF_PHASE_IDLE);
    /* The failed revert bars nothing but itself. */
    stage(3);
}

static void raises_counter(uint32_t release, struct mp_manifest *m)
{
    m->security_counter = release;
}

/* The counter is a point of no return. */
static void test_revert_respects_the_counter(void **state)
{
    (void)state;
    fresh(&word, raises_counter);
    stage(2);
    open_and_boot(2, 2);
    confirm();
    assert_int_equal(rig.node.device.counter_floor, 2);
    assert_int_equal(rig_direct(&rig, MP_ACTION_REVERT, 2, 3, 1), MP_OK);
    assert_int_equal(rig_manifest(&rig, 1), MP_OK);
    idle_for(MP_SECONDS(100), MP_SECONDS(1));
    assert_int_equal(rig.node.phase, NF_PHASE_IDLE);
    expect_report(MP_PHASE_REFUSED, MP_REASON_PRECONDITION, 2);
}

/* A node that never took the release has nothing to revert. */
static void test_revert_of_what_does_not_run(void **state)
{
    (void)state;
    fresh(&word, NULL);
    stage(2);
    assert_int_equal(rig_direct(&rig, MP_ACTION_REVERT, 2, 3, 1), MP_OK);
    assert_int_equal(rig_manifest(&rig, 1), MP_OK);
    idle_for(MP_SECONDS(100), MP_SECONDS(1));
    assert_int_equal(rig.running, 1);
    assert_false(rig.node.phase == NF_PHASE_RESETTING);
}

/* --- wear, keys --------------------------------------------------------------------------------------------------- */

/* Two releases take turns in being the one to follow: restarts run dry and come back slowly. */
static void test_alternating_releases_do_not_wear_the_slot(void **state)
{
    (void)state;
    uint64_t ops;
    uint32_t sequence = 10;

    fresh(&word, NULL);
    assert_int_equal(direct(MP_ACTION_STAGE, 2, 1, NULL), MP_OK);
    assert_int_equal(rig_manifest(&rig, 2), MP_OK);
    assert_int_equal(direct(MP_ACTION_STAGE, 3, 1, NULL), MP_OK);
    assert_int_equal(rig_manifest(&rig, 3), MP_OK);
    unsigned restarts = 0;
    for (unsigned i = 0; i < 20; i++) {
        uint32_t release = 0;
        assert_int_equal(direct(i % 2 ? MP_ACTION_STAGE : MP_ACTION_OPEN, 2, sequence++, NULL), MP_OK);
        ops = rig.sim.ops;
        idle_for(MP_SECONDS(5), MP_MS(50));
        release = rig.node.target.release;
        restarts += rig.sim.ops > ops + 8;
        assert_true(release == 2 || release == 3);
    }
    assert_in_range(restarts, 3, 5);
    idle_for(MP_SECONDS(700), MP_SECONDS(1));
    assert_int_equal(rig.node.target.release, 3);
}

static void test_frozen_chain_is_reported(void **state)
{
    (void)state;
    struct mp_keychange a = {
        .op = MP_KEYOP_INSTALL, .role = MP_ROLE_PUBLISHER, .key_id = 1, .signer = {0, 1}, .number = 1, .generation = 2};
    struct mp_keychange b = a;
    uint8_t raw[MP_KEYCHANGE_SIZE];

    fresh(&word, NULL);
    memcpy(a.previous, rig_fleet.keyset.head, 32);
    memcpy(b.previous, rig_fleet.keyset.head, 32);
    memset(a.key, 1, 32);
    memset(b.key, 2, 32);
    sign_keychange(raw, &a, &rig_fleet.root[0], &rig_fleet.root[1]);
    assert_int_equal(rig_send(&rig, MP_TYPE_KEYCHANGE, raw, sizeof raw), MP_OK);
    sign_keychange(raw, &b, &rig_fleet.root[0], &rig_fleet.root[1]);
    rig_send(&rig, MP_TYPE_KEYCHANGE, raw, sizeof raw);
    rig_step(&rig, MP_SECONDS(1));
    assert_int_equal(rig.node.mp.report.reason, MP_REASON_KEYS_FROZEN);
    assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 0);
    rig_step(&rig, MP_SECONDS(1));
    assert_int_equal(rig.node.mp.report.reason, MP_REASON_KEYS_FROZEN);
}

/* The publisher's key is revoked after the image was staged: its first trial does not happen, home runs on. */
static void test_key_revoked_before_the_first_trial(void **state)
{
    (void)state;
    struct mp_keychange c = {
        .op = MP_KEYOP_REVOKE, .role = MP_ROLE_PUBLISHER, .key_id = 0, .signer = {0, 1}, .number = 1, .generation = 1};
    uint8_t raw[MP_KEYCHANGE_SIZE];

    fresh(&word, NULL);
    stage(2);
    memcpy(c.previous, rig_fleet.keyset.head, 32);
    memcpy(c.key, rig_fleet.publisher.pub, 32);
    sign_keychange(raw, &c, &rig_fleet.root[0], &rig_fleet.root[1]);
    assert_int_equal(rig_send(&rig, MP_TYPE_KEYCHANGE, raw, sizeof raw), MP_OK);
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 2, NULL), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_RESETTING, 100));
    assert_int_equal(rig_boot(&rig, reset()), 0);
    assert_int_equal(rig.choice.row, 8);
    assert_int_equal(rig.running, 1);
    expect_report(MP_PHASE_ROLLED_BACK, MP_REASON_BAD_IMAGE, 2);
    assert_int_equal(rig_boot(&rig, BOOT_CAUSE_POWER), 0);
}

/* --- the roll call and resets in service -------------------------------------------------------------------------- */

static void calls(struct mp_directive *d)
{
    d->flags = MP_DIRECTIVE_ROLL_CALL;
    d->spread_s = 20;
}

static void calls_widely(struct mp_directive *d)
{
    calls(d);
    d->spread_s = 6000;
}

/* Runs release 2, confirmed by the directive of sequence 2. */
static void serving(void)
{
    fresh(&word, NULL);
    stage(2);
    open_and_boot(2, 2);
    confirm();
    idle_for(MP_SECONDS(10), MP_SECONDS(1));
}

static void test_roll_call_is_answered_once(void **state)
{
    (void)state;
    serving();
    uint16_t serial = rig.node.mp.report.serial;

    assert_int_equal(direct(MP_ACTION_OPEN, 2, 3, NULL), MP_OK);
    idle_for(MP_SECONDS(100), MP_SECONDS(1));
    assert_int_equal(rig.node.mp.report.serial, serial);
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 4, calls), MP_OK);
    idle_for(MP_SECONDS(21), MP_MS(100));
    assert_int_equal(rig.node.mp.report.serial, ++serial);
    expect_report(MP_PHASE_CONFIRMED, MP_REASON_NONE, 2);
    idle_for(MP_SECONDS(1000), MP_SECONDS(1));
    assert_int_equal(rig.node.mp.report.serial, serial);
    /* the next one, whose spread is bounded */
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 5, calls_widely), MP_OK);
    idle_for(MP_SECONDS(MP_ROLL_CALL_SPREAD_S + 1), MP_MS(100));
    assert_int_equal(rig.node.mp.report.serial, ++serial);
    /* once more after a reset, which may have come before the answer */
    assert_true(rig_boot(&rig, BOOT_CAUSE_POWER) >= 0);
    idle_for(MP_SECONDS(MP_ROLL_CALL_SPREAD_S + 1), MP_MS(100));
    assert_int_equal(rig.node.mp.report.serial, ++serial);
    idle_for(MP_SECONDS(1000), MP_SECONDS(1));
    assert_int_equal(rig.node.mp.report.serial, serial);
    expect_report(MP_PHASE_CONFIRMED, MP_REASON_NONE, 2);
}

/* Neither who holds it, nor who runs something else, nor on another action than open. */
static void test_roll_call_of_others(void **state)
{
    (void)state;
    fresh(&word, NULL);
    stage(2);
    uint16_t serial = rig.node.mp.report.serial;

    assert_int_equal(direct(MP_ACTION_STAGE, 2, 2, calls), MP_OK);
    idle_for(MP_SECONDS(100), MP_SECONDS(1));
    assert_int_equal(rig.node.mp.report.serial, serial);
    serving();
    serial = rig.node.mp.report.serial;
    assert_int_equal(direct(MP_ACTION_STAGE, 2, 3, calls), MP_OK);
    assert_int_equal(direct(MP_ACTION_OPEN, 4, 1, calls), MP_OK);
    idle_for(MP_SECONDS(100), MP_SECONDS(1));
    assert_int_equal(rig.node.mp.report.serial, serial);
    expect_report(MP_PHASE_CONFIRMED, MP_REASON_NONE, 2);
}

/* News of a fetch have time; an answer has not, whatever else the node is at. */
static void test_roll_call_during_a_fetch(void **state)
{
    (void)state;
    serving();
    assert_int_equal(direct(MP_ACTION_STAGE, 3, 1, NULL), MP_OK);
    assert_int_equal(rig_manifest(&rig, 3), MP_OK);
    assert_true(rig_run_to(&rig, NF_PHASE_FETCHING, 100));
    const struct mp_node *n = &rig.node.mp;
    uint16_t serial = n->report.serial;

    assert_int_equal(direct(MP_ACTION_OPEN, 2, 3, calls), MP_OK);
    for (unsigned i = 0; i < 210 && n->report.serial == serial; i++)
        rig_step(&rig, MP_MS(100));
    assert_int_equal(n->report.serial, serial + 1);
    expect_report(MP_PHASE_FETCHING, MP_REASON_NONE, 3);
    assert_true(n->armed >> MP_JOB_REPORT & 1);
    assert_in_range(n->due_ms[MP_JOB_REPORT], rig.now / 1000, rig.now / 1000 + 2000);
}

static void test_reset_in_service_is_reported_once(void **state)
{
    (void)state;
    serving();
    uint16_t serial = rig.node.mp.report.serial;

    assert_true(rig_boot(&rig, BOOT_CAUSE_POWER) >= 0);
    assert_true(rig_boot(&rig, BOOT_CAUSE_REQUEST) >= 0);
    /* one that nobody can name says nothing, and must not stand before one that does */
    nf_note_reset(&rig.node, &rig.env, rig.now, (enum boot_cause)99);
    assert_int_equal(rig.node.mp.report.serial, serial);
    assert_true(rig_boot(&rig, BOOT_CAUSE_WATCHDOG) >= 0);
    assert_int_equal(rig.running, 2);
    expect_report(MP_PHASE_CONFIRMED, MP_REASON_WATCHDOG, 2);
    assert_int_equal(rig.node.mp.report.serial, ++serial);
    for (unsigned i = 0; i < 20; i++) {
        assert_true(rig_boot(&rig, i % 2 ? BOOT_CAUSE_CRASH : BOOT_CAUSE_WATCHDOG) >= 0);
        idle_for(MP_SECONDS(5), MP_SECONDS(1));
    }
    expect_report(MP_PHASE_CONFIRMED, MP_REASON_WATCHDOG, 2);
    assert_int_equal(rig.node.mp.report.serial, serial);
    /* it answers a roll call, and says why it is no good answer */
    assert_int_equal(direct(MP_ACTION_OPEN, 2, 3, calls), MP_OK);
    idle_for(MP_SECONDS(21), MP_MS(100));
    expect_report(MP_PHASE_CONFIRMED, MP_REASON_WATCHDOG, 2);
    assert_int_equal(rig.node.mp.report.serial, ++serial);
}

/* A node that has another tale to tell keeps to it. */
static void test_reset_does_not_replace_other_reports(void **state)
{
    (void)state;
    fresh(&word, NULL);
    assert_true(rig_boot(&rig, BOOT_CAUSE_CRASH) >= 0);
    expect_report(MP_PHASE_IDLE, MP_REASON_NONE, 0);
    stage(2);
    assert_true(rig_boot(&rig, BOOT_CAUSE_CRASH) >= 0);
    idle_for(MP_SECONDS(5), MP_SECONDS(1));
    expect_report(MP_PHASE_STAGED, MP_REASON_NONE, 2);
    open_and_boot(2, 2);
    while (rig.running == 2)
        assert_true(rig_boot(&rig, BOOT_CAUSE_CRASH) >= 0);
    expect_report(MP_PHASE_ROLLED_BACK, MP_REASON_CRASHED, 2);
    assert_true(rig_boot(&rig, BOOT_CAUSE_WATCHDOG) >= 0);
    expect_report(MP_PHASE_ROLLED_BACK, MP_REASON_CRASHED, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_update_from_stage_to_confirmed),
        cmocka_unit_test(test_reboots_do_not_take_serials),
        cmocka_unit_test(test_boot_counter_rises),
        cmocka_unit_test(test_fetch_goes_on_after_a_reset),
        cmocka_unit_test(test_only_the_opened_activate),
        cmocka_unit_test(test_spread_delays),
        cmocka_unit_test(test_hold_stops_activation_and_starts_nothing),
        cmocka_unit_test(test_fetch_goes_on_under_a_hold),
        cmocka_unit_test(test_open_goes_before_staged),
        cmocka_unit_test(test_refusals_say_why),
        cmocka_unit_test(test_other_models_concern_nobody),
        cmocka_unit_test(test_expired_is_not_activated),
        cmocka_unit_test(test_wrong_digest_is_final),
        cmocka_unit_test(test_battery_defers),
        cmocka_unit_test(test_stale_defers),
        cmocka_unit_test(test_custody_is_passed_on_before_the_reset),
        cmocka_unit_test(test_custody_nobody_takes_delays_ten_seconds),
        cmocka_unit_test(test_breaker_delays_a_day),
        cmocka_unit_test(test_breaker_is_overridden),
        cmocka_unit_test(test_selftest_failure_rolls_back),
        cmocka_unit_test(test_mute_image_rolls_back),
        cmocka_unit_test(test_selftest_that_never_ends_rolls_back),
        cmocka_unit_test(test_crashes_and_one_recovery),
        cmocka_unit_test(test_watchdog_is_reported),
        cmocka_unit_test(test_forged_echo_does_not_confirm),
        cmocka_unit_test(test_corrupt_home_is_reported),
        cmocka_unit_test(test_revert_uses_what_the_other_slot_holds),
        cmocka_unit_test(test_revert_that_fails_is_not_repeated),
        cmocka_unit_test(test_revert_respects_the_counter),
        cmocka_unit_test(test_revert_of_what_does_not_run),
        cmocka_unit_test(test_alternating_releases_do_not_wear_the_slot),
        cmocka_unit_test(test_roll_call_is_answered_once),
        cmocka_unit_test(test_roll_call_of_others),
        cmocka_unit_test(test_roll_call_during_a_fetch),
        cmocka_unit_test(test_reset_in_service_is_reported_once),
        cmocka_unit_test(test_reset_does_not_replace_other_reports),
        cmocka_unit_test(test_frozen_chain_is_reported),
        cmocka_unit_test(test_key_revoked_before_the_first_trial),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
