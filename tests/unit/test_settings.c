/* Settings record: codec, ranges, and its page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "node-fw/store/settings.h"
#include "proto/mp_wire.h"
#include "tests/lib/flash_sim.h"
#include "tests/lib/sign.h"

static struct flash_sim sim;
static const struct nf_layout layout = {.settings = 2048};

static struct mp_settings sample(void)
{
    struct sign_fleet fleet;
    struct mp_settings s = {.node = 0x01020304,
                            .network = 7,
                            .index = 300,
                            .labels = 0x8001,
                            .model = 12,
                            .product = 99,
                            .hw_revision = 31,
                            .key_count = 2,
                            .key_active = 1,
                            .key_id = {4, 5}};

    sign_fleet_make(&fleet);
    memset(s.network_key, 0x11, sizeof s.network_key);
    memset(s.report_key, 0x22, sizeof s.report_key);
    mp_keyset_put(s.keyset, &fleet.keyset);
    return s;
}

static void test_codec(void **state)
{
    (void)state;
    struct mp_settings s = sample(), back;
    uint8_t data[MP_SETTINGS_SIZE], again[MP_SETTINGS_SIZE];

    mp_settings_put(data, &s);
    assert_int_equal(mp_settings_get(&back, data, sizeof data), MP_OK);
    mp_settings_put(again, &back);
    assert_memory_equal(data, again, sizeof data);
    assert_int_equal(back.node, s.node);
    assert_int_equal(back.index, 300);
    assert_int_equal(back.labels, 0x8001);
    assert_int_equal(mp_settings_get(&back, data, sizeof data - 1), MP_ERR_LENGTH);
    for (unsigned bit = 0; bit < 8 * MP_SETTINGS_SIZE; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(mp_settings_get(&back, data, sizeof data), MP_OK);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static int check(const struct mp_settings *s)
{
    struct mp_settings back;
    uint8_t data[MP_SETTINGS_SIZE];

    mp_settings_put(data, s);
    return mp_settings_get(&back, data, sizeof data);
}

static void test_ranges(void **state)
{
    (void)state;
    struct mp_settings s = sample();

    assert_int_equal(check(&s), MP_OK);
    s.node = 0;
    assert_int_equal(check(&s), MP_ERR_FORMAT);
    s.node = UINT32_MAX;
    assert_int_equal(check(&s), MP_ERR_FORMAT);
    s = sample();
    s.hw_revision = 32;
    assert_int_equal(check(&s), MP_ERR_FORMAT);
    s = sample();
    s.key_count = 3;
    assert_int_equal(check(&s), MP_ERR_FORMAT);
    s = sample();
    s.key_active = 2;
    assert_int_equal(check(&s), MP_ERR_FORMAT);
    s = sample();
    s.key_id[1] = s.key_id[0];
    assert_int_equal(check(&s), MP_ERR_FORMAT);
    s = sample();
    s.keyset[2] = 2;
    assert_int_not_equal(check(&s), MP_OK);
}

static void page(uint32_t size, uint32_t granule, bool write_once)
{
    struct mp_settings s = sample(), back;
    uint8_t a[MP_SETTINGS_SIZE], b[MP_SETTINGS_SIZE];

    flash_sim_init(&sim, 8192, size, granule, write_once);
    assert_int_equal(nf_settings_load(&back, &sim.flash, &layout), MP_ERR_ABSENT);
    assert_int_equal(nf_settings_store(&s, &sim.flash, &layout), MP_OK);
    assert_int_equal(nf_settings_load(&back, &sim.flash, &layout), MP_OK);
    mp_settings_put(a, &s);
    mp_settings_put(b, &back);
    assert_memory_equal(a, b, sizeof a);
    s.node = 0;
    assert_int_equal(nf_settings_store(&s, &sim.flash, &layout), MP_ERR_FORMAT);
    assert_int_equal(nf_settings_load(&back, &sim.flash, &layout), MP_OK);
    flash_sim_damage(&sim, layout.settings + 100, 1);
    assert_int_equal(nf_settings_load(&back, &sim.flash, &layout), MP_ERR_STORE);
}

static void test_page(void **state)
{
    (void)state;
    page(1024, 4, false);
    page(2048, 8, true);
    page(1024, 16, true);
    page(2048, 32, true);
}

/* Provisioning that was cut leaves no settings, and is done again. */
static void test_page_cut(void **state)
{
    (void)state;
    struct mp_settings s = sample(), back;

    for (unsigned op = 0; op < 2; op++)
        for (int cut = 0; cut < FLASH_SIM_WHOLE; cut++) {
            flash_sim_init(&sim, 8192, 2048, 8, true);
            flash_sim_cut_at(&sim, op, (enum flash_sim_cut)cut);
            assert_int_equal(nf_settings_store(&s, &sim.flash, &layout), MP_ERR_STORE);
            assert_true(sim.is_dead);
            flash_sim_power_on(&sim);
            /* Torn in the fill behind the record it is whole; anywhere else it is none. */
            if (!(op == 1 && (cut == FLASH_SIM_TORN_LAST || cut == FLASH_SIM_NOISE)))
                assert_int_not_equal(nf_settings_load(&back, &sim.flash, &layout), MP_OK);
            assert_int_equal(nf_settings_store(&s, &sim.flash, &layout), MP_OK);
            assert_int_equal(nf_settings_load(&back, &sim.flash, &layout), MP_OK);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codec),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_page_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
