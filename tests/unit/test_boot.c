/* Boot record, decision table, and boot_select() over simulated flash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "tests/lib/rig.h"

static const struct rig_part word = {.name = "word", .page_size = 1024, .granule = 4};
static const struct rig_part once = {.name = "once", .page_size = 2048, .granule = 8, .write_once = true};
static const struct rig_part hidden = {
    .name = "hidden", .page_size = 4096, .granule = 32, .write_once = true, .is_encrypted = true};

static struct rig rig;
static struct flash_sim before;
static int verdict; /* what accept() answers */

/* --- the table ---------------------------------------------------------------------------------------------------- */

/* The specification's table once more, in its own words. */
static unsigned expected_row(enum boot_state state, unsigned tries, bool home, bool other, bool target)
{
    bool is_update = state == BOOT_PENDING || state == BOOT_TRIAL;

    if (!home && !other)
        return 9;
    if (state == BOOT_NONE)
        return 1;
    if (state == BOOT_CONFIRMED)
        return home ? 2 : 3;
    assert_true(is_update);
    if (!home)
        return 4;
    if (state == BOOT_TRIAL && tries == 0)
        return 7;
    if (!target)
        return 8;
    return state == BOOT_PENDING ? 5 : 6;
}

static void test_table(void **state)
{
    (void)state;
    unsigned seen = 0, cases = 0;

    for (int s = BOOT_NONE; s <= BOOT_TRIAL; s++)
        for (unsigned tries = 0; tries < BOOT_TRIES; tries++)
            for (unsigned bits = 0; bits < 8; bits++) {
                struct boot_facts facts = {.home = bits & 1, .other = bits >> 1 & 1, .target = bits >> 2 & 1};
                const struct boot_rule *rule = boot_decide((enum boot_state)s, tries, &facts);
                unsigned want =
                    expected_row((enum boot_state)s, tries, facts.home, facts.other, facts.target && facts.other);
                assert_int_equal(rule->row, want);
                assert_true((rule->target == BOOT_TARGET_RECOVERY) == (!facts.home && !facts.other));
                if (rule->target == BOOT_TARGET_HOME)
                    assert_true(facts.home);
                if (rule->target == BOOT_TARGET_OTHER)
                    assert_true(facts.other);
                seen |= 1u << want;
                cases++;
            }
    assert_int_equal(seen, 0x3FE);
    assert_int_equal(cases, 96);
}

/* --- the record --------------------------------------------------------------------------------------------------- */

static struct boot_record sample(void)
{
    struct boot_record r = {.sequence = 7,
                            .state = BOOT_TRIAL,
                            .home = 1,
                            .tries = 2,
                            .reason = MP_REASON_MUTE,
                            .flags = BOOT_FLAG_REVERT,
                            .confirm_s = 3600,
                            .floor = 0x01020304,
                            .release = 0x11223344,
                            .id = {1, 2, 3, 4, 5, 6, 7, 8}};
    return r;
}

static void test_record_codec(void **state)
{
    (void)state;
    struct boot_record r = sample(), back;
    uint8_t data[BOOT_RECORD_SIZE];

    memset(&back, 0, sizeof back);
    boot_record_put(data, &r);
    assert_int_equal(boot_record_get(&back, data), MP_OK);
    assert_int_equal(back.sequence, r.sequence);
    assert_int_equal(back.state, r.state);
    assert_int_equal(back.home, 1);
    assert_int_equal(back.tries, 2);
    assert_int_equal(back.reason, r.reason);
    assert_int_equal(back.flags, r.flags);
    assert_int_equal(back.confirm_s, 3600);
    assert_int_equal(back.floor, r.floor);
    assert_int_equal(back.release, r.release);
    assert_memory_equal(back.id, r.id, 8);
    for (unsigned bit = 0; bit < 8 * BOOT_RECORD_SIZE; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(boot_record_get(&back, data), MP_ERR_FORMAT);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    memset(data, 0xFF, sizeof data);
    assert_int_equal(boot_record_get(&back, data), MP_ERR_FORMAT);
    memset(data, 0, sizeof data);
    assert_int_equal(boot_record_get(&back, data), MP_ERR_FORMAT);
}

/* Fields out of range under a good CRC are no record either. */
static void test_record_ranges(void **state)
{
    (void)state;
    struct boot_record r, back;
    uint8_t data[BOOT_RECORD_SIZE];

    r = sample();
    r.sequence = 0;
    boot_record_put(data, &r);
    assert_int_equal(boot_record_get(&back, data), MP_ERR_FORMAT);
    r = sample();
    r.state = BOOT_NONE;
    boot_record_put(data, &r);
    assert_int_equal(boot_record_get(&back, data), MP_ERR_FORMAT);
    r.state = BOOT_TRIAL + 1;
    boot_record_put(data, &r);
    assert_int_equal(boot_record_get(&back, data), MP_ERR_FORMAT);
    r = sample();
    r.tries = BOOT_TRIES;
    boot_record_put(data, &r);
    assert_int_equal(boot_record_get(&back, data), MP_ERR_FORMAT);
    r = sample();
    r.reason = MP_REASON_COUNT;
    boot_record_put(data, &r);
    assert_int_equal(boot_record_get(&back, data), MP_ERR_FORMAT);
}

static void fresh(const struct rig_part *part)
{
    rig_images(part, NULL);
    rig_init(&rig, part);
    verdict = MP_OK;
}

static int append(uint32_t release)
{
    struct boot_record r = {.state = BOOT_CONFIRMED, .release = release};

    return boot_append(&rig.sim.flash, &rig.layout, &r);
}

static uint32_t newest(void)
{
    struct boot_record r;

    return boot_read(&rig.sim.flash, &rig.layout, &r) == MP_OK ? r.release : 0;
}

static void test_append_through_pages(void **state)
{
    (void)state;
    const struct rig_part *parts[] = {&word, &once, &hidden};

    for (unsigned p = 0; p < 3; p++) {
        fresh(parts[p]);
        assert_int_equal(newest(), 0);
        for (uint32_t i = 1; i <= 300; i++) {
            assert_int_equal(append(i), MP_OK);
            assert_int_equal(newest(), i);
        }
    }
}

/* Whatever operation is cut and however: the state before or the new one, and appending goes on. */
static void test_append_cut(void **state)
{
    (void)state;
    const struct rig_part *parts[] = {&word, &once, &hidden};
    unsigned cuts = 0;

    for (unsigned p = 0; p < 3; p++) {
        fresh(parts[p]);
        for (uint32_t i = 1; i <= 140; i++) {
            uint64_t first = rig.sim.ops;
            before = rig.sim;
            assert_int_equal(append(i), MP_OK);
            uint64_t count = rig.sim.ops - first;
            for (uint64_t op = 0; op < count; op++)
                for (int cut = 0; cut < FLASH_SIM_CUTS; cut++, cuts++) {
                    rig.sim = before;
                    flash_sim_cut_at(&rig.sim, first + op, (enum flash_sim_cut)cut);
                    assert_int_equal(append(i), MP_ERR_STORE);
                    assert_true(rig.sim.is_dead);
                    flash_sim_power_on(&rig.sim);
                    assert_true(newest() == i - 1 || (newest() == i && op + 1 == count && cut == FLASH_SIM_WHOLE));
                    assert_int_equal(append(i + 1000), MP_OK);
                    assert_int_equal(newest(), i + 1000);
                    assert_int_equal(append(i + 1001), MP_OK);
                    assert_int_equal(newest(), i + 1001);
                }
            rig.sim = before;
            assert_int_equal(append(i), MP_OK);
        }
    }
    assert_true(cuts > 1600);
}

static void test_damaged_cells_are_skipped(void **state)
{
    (void)state;
    fresh(&once);
    for (uint32_t i = 1; i <= 5; i++)
        assert_int_equal(append(i), MP_OK);
    flash_sim_damage(&rig.sim, rig.layout.boot_record + 4 * BOOT_RECORD_SIZE, 8);
    assert_int_equal(newest(), 4);
    flash_sim_damage(&rig.sim, rig.layout.boot_record + 1 * BOOT_RECORD_SIZE, 8);
    assert_int_equal(newest(), 4);
    assert_int_equal(append(6), MP_OK);
    assert_int_equal(newest(), 6);
}

/* --- boot_select() ------------------------------------------------------------------------------------------------ */

static int accept(void *ctx, const uint8_t *manifest)
{
    (void)ctx;
    (void)manifest;
    return verdict;
}

static struct boot_choice choose(enum boot_cause cause)
{
    struct boot_env env = {
        .flash = &rig.sim.flash, .layout = &rig.layout, .crypto = rig_crypto(), .ctx = NULL, .accept = accept};
    struct boot_choice choice;

    boot_select(&env, cause, &choice);
    return choice;
}

static void install(unsigned slot, uint32_t release)
{
    assert_int_equal(nf_store_install(&rig.sim.flash, &rig.layout, rig_crypto(), slot, rig_image[release].manifest,
                                      rig_image[release].payload, rig_image[release].size, rig.memory),
                     MP_OK);
}

/* Any byte of the image. */
static void spoil(unsigned slot)
{
    rig.sim.data[rig.layout.slot[slot] + 1000] ^= 1;
}

static int request(uint32_t release)
{
    return boot_request(&rig.sim.flash, &rig.layout, rig_crypto(), rig_image[release].manifest, 60, false);
}

static void test_first_boot_takes_the_highest_release(void **state)
{
    (void)state;
    fresh(&word);
    install(1, 2);
    struct boot_choice c = choose(BOOT_CAUSE_POWER);

    assert_int_equal(c.slot, 1);
    assert_int_equal(c.row, 1);
    assert_true(c.appended);
    assert_int_equal(c.record.home, 1);
    assert_int_equal(c.record.release, 2);
    c = choose(BOOT_CAUSE_POWER);
    assert_int_equal(c.slot, 1);
    assert_int_equal(c.row, 2);
    assert_false(c.appended);
}

static void test_corrupt_home_falls_to_the_other(void **state)
{
    (void)state;
    fresh(&word);
    choose(BOOT_CAUSE_POWER);
    install(1, 2);
    spoil(0);
    struct boot_choice c = choose(BOOT_CAUSE_POWER);

    assert_int_equal(c.slot, 1);
    assert_int_equal(c.row, 3);
    assert_int_equal(c.record.reason, MP_REASON_CORRUPT_HOME);
    assert_int_equal(c.record.home, 1);
}

static void test_nothing_verifies(void **state)
{
    (void)state;
    fresh(&word);
    choose(BOOT_CAUSE_POWER);
    spoil(0);
    struct boot_choice c = choose(BOOT_CAUSE_POWER);

    assert_int_equal(c.slot, -1);
    assert_int_equal(c.row, 9);
    assert_false(c.appended);
}

static void test_three_trials_then_home(void **state)
{
    (void)state;
    static const enum boot_cause causes[] = {BOOT_CAUSE_REQUEST, BOOT_CAUSE_SELFTEST, BOOT_CAUSE_POWER};
    struct boot_choice c;

    fresh(&word);
    choose(BOOT_CAUSE_POWER);
    install(1, 2);
    assert_int_equal(request(2), MP_OK);
    assert_int_equal(request(2), MP_ERR_STATE);
    for (unsigned i = 0; i < BOOT_TRIES; i++) {
        c = choose(causes[i]);
        assert_int_equal(c.slot, 1);
        assert_int_equal(c.row, i == 0 ? 5 : 6);
        assert_int_equal(c.record.state, BOOT_TRIAL);
        assert_int_equal(c.record.tries, BOOT_TRIES - 1 - i);
        assert_int_equal(c.record.confirm_s, 60);
    }
    c = choose(BOOT_CAUSE_POWER);
    assert_int_equal(c.slot, 0);
    assert_int_equal(c.row, 7);
    assert_int_equal(c.record.state, BOOT_CONFIRMED);
    /* The newest failure that is known, though power was cut since. */
    assert_int_equal(c.record.reason, MP_REASON_SELFTEST);
    assert_int_equal(c.record.release, 2);
    assert_memory_equal(c.record.id, rig_image[2].id, 8);
}

static void test_every_cause_becomes_its_reason(void **state)
{
    (void)state;
    static const struct {
        enum boot_cause cause;
        enum mp_reason reason;
    } table[] = {{BOOT_CAUSE_SELFTEST, MP_REASON_SELFTEST}, {BOOT_CAUSE_MUTE, MP_REASON_MUTE},
                 {BOOT_CAUSE_CRASH, MP_REASON_CRASHED},     {BOOT_CAUSE_WATCHDOG, MP_REASON_WATCHDOG},
                 {BOOT_CAUSE_STORAGE, MP_REASON_STORAGE},   {BOOT_CAUSE_POWER, MP_REASON_OTHER},
                 {BOOT_CAUSE_REQUEST, MP_REASON_OTHER}};

    for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++) {
        fresh(&word);
        choose(BOOT_CAUSE_POWER);
        install(1, 2);
        assert_int_equal(request(2), MP_OK);
        choose(BOOT_CAUSE_REQUEST);
        choose(table[i].cause);
        choose(table[i].cause);
        struct boot_choice c = choose(table[i].cause);
        assert_int_equal(c.slot, 0);
        assert_int_equal(c.record.reason, table[i].reason);
    }
    for (int status = 0; status < 256; status++) {
        enum boot_cause cause = boot_cause_from_exit(status);
        assert_int_equal(cause, status == 0 || (status >= 64 && status <= 69) ? status : BOOT_CAUSE_CRASH);
    }
}

static void test_confirm_makes_home_and_raises_the_floor(void **state)
{
    (void)state;
    struct boot_record r;

    fresh(&word);
    choose(BOOT_CAUSE_POWER);
    install(1, 2);
    assert_int_equal(boot_confirm(&rig.sim.flash, &rig.layout, 5), MP_ERR_STATE);
    assert_int_equal(request(2), MP_OK);
    assert_int_equal(boot_confirm(&rig.sim.flash, &rig.layout, 5), MP_ERR_STATE);
    choose(BOOT_CAUSE_REQUEST);
    assert_int_equal(boot_read(&rig.sim.flash, &rig.layout, &r), MP_OK);
    assert_int_equal(r.floor, 0);
    assert_int_equal(boot_confirm(&rig.sim.flash, &rig.layout, 5), MP_OK);
    assert_int_equal(boot_read(&rig.sim.flash, &rig.layout, &r), MP_OK);
    assert_int_equal(r.state, BOOT_CONFIRMED);
    assert_int_equal(r.home, 1);
    assert_int_equal(r.floor, 5);
    assert_int_equal(r.flags, BOOT_FLAG_UPDATED);
    assert_int_equal(r.reason, MP_REASON_NONE);
    /* Image 1 has counter 0: out of the question now, as an update and as a fallback. */
    assert_int_equal(request(1), MP_ERR_COUNTER);
    spoil(1);
    assert_int_equal(choose(BOOT_CAUSE_POWER).slot, -1);
}

static void test_revoked_key_stops_the_first_trial_only(void **state)
{
    (void)state;
    struct boot_choice c;

    fresh(&word);
    choose(BOOT_CAUSE_POWER);
    install(1, 2);
    assert_int_equal(request(2), MP_OK);
    verdict = MP_ERR_REVOKED;
    c = choose(BOOT_CAUSE_REQUEST);
    assert_int_equal(c.row, 8);
    assert_int_equal(c.slot, 0);
    assert_int_equal(c.record.reason, MP_REASON_BAD_IMAGE);
    /* Home itself goes on booting, whatever became of its key. */
    assert_int_equal(choose(BOOT_CAUSE_POWER).slot, 0);
    verdict = MP_OK;
    assert_int_equal(request(2), MP_OK);
    assert_int_equal(choose(BOOT_CAUSE_REQUEST).row, 5);
    verdict = MP_ERR_REVOKED;
    assert_int_equal(choose(BOOT_CAUSE_CRASH).row, 6);
}

static void test_bad_image_or_another_than_requested(void **state)
{
    (void)state;
    struct boot_choice c;

    fresh(&word);
    choose(BOOT_CAUSE_POWER);
    install(1, 2);
    assert_int_equal(request(2), MP_OK);
    spoil(1);
    c = choose(BOOT_CAUSE_REQUEST);
    assert_int_equal(c.row, 8);
    assert_int_equal(c.slot, 0);
    install(1, 3);
    assert_int_equal(request(2), MP_OK);
    c = choose(BOOT_CAUSE_REQUEST);
    assert_int_equal(c.row, 8);
    assert_int_equal(c.slot, 0);
}

static void test_home_lost_during_a_trial(void **state)
{
    (void)state;
    fresh(&word);
    choose(BOOT_CAUSE_POWER);
    install(1, 2);
    assert_int_equal(request(2), MP_OK);
    choose(BOOT_CAUSE_REQUEST);
    spoil(0);
    struct boot_choice c = choose(BOOT_CAUSE_CRASH);

    assert_int_equal(c.row, 4);
    assert_int_equal(c.slot, 1);
    assert_int_equal(c.record.state, BOOT_CONFIRMED);
    assert_int_equal(c.record.home, 1);
}

/* The cell that would come next does not read: the one behind it is taken. */
static void test_append_skips_a_worn_cell(void **state)
{
    (void)state;
    fresh(&word);
    choose(BOOT_CAUSE_POWER);
    install(1, 2);
    assert_int_equal(request(2), MP_OK);
    flash_sim_damage(&rig.sim, rig.layout.boot_record + 2 * BOOT_RECORD_SIZE + 16, 4);
    struct boot_choice c = choose(BOOT_CAUSE_REQUEST);

    assert_int_equal(c.slot, 1);
    assert_true(c.appended);
}

static int program_fails(void *ctx, uint32_t address, const void *data, size_t len)
{
    (void)ctx;
    (void)address;
    (void)data;
    (void)len;
    return NF_FLASH_FAILED;
}

/* A trial boot that cannot be counted is not taken. */
static void test_unwritable_record_boots_home(void **state)
{
    (void)state;
    struct boot_choice c;

    fresh(&word);
    choose(BOOT_CAUSE_POWER);
    install(1, 2);
    assert_int_equal(request(2), MP_OK);
    struct nf_flash stuck = rig.sim.flash;
    struct boot_env env = {.flash = &stuck, .layout = &rig.layout, .crypto = rig_crypto()};

    stuck.program = program_fails;
    for (unsigned i = 0; i < 5; i++) {
        boot_select(&env, BOOT_CAUSE_REQUEST, &c);
        assert_int_equal(c.row, 5);
        assert_false(c.appended);
        assert_int_equal(c.slot, 0);
        assert_int_equal(c.record.state, BOOT_PENDING);
    }
    /* And when home was lost, the other boots all the same. */
    spoil(0);
    boot_select(&env, BOOT_CAUSE_REQUEST, &c);
    assert_int_equal(c.slot, 1);
}

static void test_abort(void **state)
{
    (void)state;
    struct boot_choice c;

    fresh(&word);
    choose(BOOT_CAUSE_POWER);
    install(1, 2);
    assert_int_equal(boot_abort(&rig.sim.flash, &rig.layout, MP_REASON_OTHER), MP_ERR_STATE);
    assert_int_equal(request(2), MP_OK);
    assert_int_equal(boot_abort(&rig.sim.flash, &rig.layout, MP_REASON_STORAGE), MP_OK);
    c = choose(BOOT_CAUSE_REQUEST);
    assert_int_equal(c.row, 2);
    assert_int_equal(c.record.reason, MP_REASON_STORAGE);
    assert_int_equal(request(2), MP_OK);
    choose(BOOT_CAUSE_REQUEST);
    assert_int_equal(boot_abort(&rig.sim.flash, &rig.layout, MP_REASON_SELFTEST), MP_OK);
    c = choose(BOOT_CAUSE_REQUEST);
    assert_int_equal(c.row, 7);
    assert_int_equal(c.slot, 0);
    assert_int_equal(c.record.reason, MP_REASON_SELFTEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_record_codec),
        cmocka_unit_test(test_record_ranges),
        cmocka_unit_test(test_append_through_pages),
        cmocka_unit_test(test_append_cut),
        cmocka_unit_test(test_damaged_cells_are_skipped),
        cmocka_unit_test(test_first_boot_takes_the_highest_release),
        cmocka_unit_test(test_corrupt_home_falls_to_the_other),
        cmocka_unit_test(test_nothing_verifies),
        cmocka_unit_test(test_three_trials_then_home),
        cmocka_unit_test(test_every_cause_becomes_its_reason),
        cmocka_unit_test(test_confirm_makes_home_and_raises_the_floor),
        cmocka_unit_test(test_revoked_key_stops_the_first_trial_only),
        cmocka_unit_test(test_bad_image_or_another_than_requested),
        cmocka_unit_test(test_home_lost_during_a_trial),
        cmocka_unit_test(test_append_skips_a_worn_cell),
        cmocka_unit_test(test_unwritable_record_boots_home),
        cmocka_unit_test(test_abort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
