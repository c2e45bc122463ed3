/* Object log: codec, compaction, limits, cuts at every operation, unreadable records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "node-fw/store/objects.h"
#include "tests/lib/flash_sim.h"

enum { KINDS = NF_KIND_COUNT };

static struct flash_sim sim, before;
static struct nf_objects log_;
static struct nf_layout layout;

static void fresh(uint32_t page, uint32_t granule, bool write_once, uint32_t pages)
{
    flash_sim_init(&sim, 32 * 1024, page, granule, write_once);
    memset(&layout, 0, sizeof layout);
    layout.objects = page;
    layout.objects_size = pages * page;
    assert_int_equal(nf_objects_mount(&log_, &sim.flash, &layout), MP_OK);
}

static void remount(void)
{
    assert_int_equal(nf_objects_mount(&log_, &sim.flash, &layout), MP_OK);
}

/* A record whose content follows from a number. */
static size_t fill(uint8_t *data, uint32_t number)
{
    size_t len = 1 + number % 200;

    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(number * 31 + i);
    return len;
}

static void expect(unsigned kind, unsigned slot, uint32_t number)
{
    uint8_t want[MP_RECORD_MAX], have[MP_RECORD_MAX];
    size_t len = fill(want, number);

    assert_int_equal(nf_objects_get(&log_, kind, slot, have, sizeof have), len);
    assert_memory_equal(want, have, len);
}

static int put(unsigned kind, unsigned slot, uint32_t number)
{
    uint8_t data[MP_RECORD_MAX];
    size_t len = fill(data, number);

    return nf_objects_put(&log_, kind, slot, data, len);
}

static void test_put_get_erase(void **state)
{
    (void)state;
    uint8_t data[MP_RECORD_MAX];

    fresh(1024, 4, false, 8);
    assert_int_equal(nf_objects_get(&log_, MP_KIND_KEYSET, 0, data, sizeof data), 0);
    assert_int_equal(put(MP_KIND_KEYSET, 0, 100), MP_OK);
    assert_int_equal(put(MP_KIND_MANIFEST, 7, 3), MP_OK);
    expect(MP_KIND_KEYSET, 0, 100);
    expect(MP_KIND_MANIFEST, 7, 3);
    remount();
    expect(MP_KIND_KEYSET, 0, 100);
    expect(MP_KIND_MANIFEST, 7, 3);
    assert_int_equal(nf_objects_get(&log_, MP_KIND_KEYSET, 0, data, 50), MP_ERR_ROOM);
    assert_int_equal(nf_objects_put(&log_, MP_KIND_KEYSET, 0, NULL, 0), MP_OK);
    assert_int_equal(nf_objects_get(&log_, MP_KIND_KEYSET, 0, data, sizeof data), 0);
    remount();
    assert_int_equal(nf_objects_get(&log_, MP_KIND_KEYSET, 0, data, sizeof data), 0);
    expect(MP_KIND_MANIFEST, 7, 3);
}

static void test_limits(void **state)
{
    (void)state;
    uint8_t data[MP_RECORD_MAX + 1] = {0};

    fresh(1024, 4, false, 8);
    assert_int_equal(nf_objects_put(&log_, KINDS, 0, data, 1), MP_ERR_FORMAT);
    assert_int_equal(nf_objects_put(&log_, MP_KIND_MANIFEST, MP_MANIFESTS_MAX, data, 1), MP_ERR_FORMAT);
    assert_int_equal(nf_objects_put(&log_, MP_KIND_RECEIPT, 1, data, 1), MP_ERR_FORMAT);
    assert_int_equal(nf_objects_put(&log_, MP_KIND_RECEIPT, 0, data, sizeof data), MP_ERR_FORMAT);
    assert_int_equal(nf_objects_get(&log_, KINDS, 0, data, 1), MP_ERR_FORMAT);
    assert_int_equal(nf_objects_put(&log_, MP_KIND_RECEIPT, 0, data, MP_RECORD_MAX), MP_OK);
    assert_int_equal(nf_objects_get(&log_, MP_KIND_RECEIPT, 0, data, sizeof data), MP_RECORD_MAX);
    assert_int_equal(sim.ops > 0, 1);
    layout.objects_size = 3 * 1024;
    assert_int_equal(nf_objects_mount(&log_, &sim.flash, &layout), MP_ERR_FORMAT);
    layout.objects_size = 8 * 1024;
    layout.objects = 100;
    assert_int_equal(nf_objects_mount(&log_, &sim.flash, &layout), MP_ERR_FORMAT);
}

static void test_equal_content_costs_nothing(void **state)
{
    (void)state;
    fresh(1024, 4, false, 8);
    assert_int_equal(put(MP_KIND_REPORT, 0, 9), MP_OK);
    uint64_t ops = sim.ops;

    assert_int_equal(put(MP_KIND_REPORT, 0, 9), MP_OK);
    assert_int_equal(nf_objects_put(&log_, MP_KIND_RECEIPT, 0, NULL, 0), MP_OK);
    assert_int_equal(sim.ops, ops);
    assert_int_equal(put(MP_KIND_REPORT, 0, 10), MP_OK);
    assert_true(sim.ops > ops);
}

static void test_many_rounds_of_compaction(void **state)
{
    (void)state;
    static const struct {
        uint32_t page, granule, pages;
        bool write_once;
    } parts[] = {{1024, 4, 8, false}, {2048, 8, 4, true}, {1024, 16, 8, true}, {2048, 32, 4, true}};

    for (unsigned p = 0; p < 4; p++) {
        uint32_t latest[8] = {0};

        fresh(parts[p].page, parts[p].granule, parts[p].write_once, parts[p].pages);
        for (uint32_t i = 1; i < 1500; i++) {
            unsigned slot = i * 7 % 8;
            latest[slot] = i;
            assert_int_equal(put(MP_KIND_MANIFEST, slot, i), MP_OK);
            if (i % 13 == 0)
                remount();
            if (i > 8)
                for (unsigned s = 0; s < 8; s++)
                    expect(MP_KIND_MANIFEST, s, latest[s]);
        }
        assert_true(log_.sequence > 20);
    }
}

/* More than a group holds: refused, and everything else is still there. */
static void test_full(void **state)
{
    (void)state;
    unsigned stored = 0;

    fresh(1024, 4, false, 4);
    while (stored < MP_KEYCHAIN_MAX && put(MP_KIND_KEYCHANGE, stored, 199) == MP_OK)
        stored++;
    assert_in_range(stored, 6, 9);
    assert_int_equal(put(MP_KIND_KEYCHANGE, stored, 199), MP_ERR_STORE);
    assert_int_equal(put(MP_KIND_KEYCHANGE, 0, 399), MP_OK);
    for (unsigned i = 1; i < stored; i++)
        expect(MP_KIND_KEYCHANGE, i, 199);
    expect(MP_KIND_KEYCHANGE, 0, 399);
    remount();
    expect(MP_KIND_KEYCHANGE, 0, 399);
}

/* The old or the new record, whatever is cut and however, and all other records as they were. */
static void cut_everywhere(uint32_t page, uint32_t granule, bool write_once, uint32_t pages, bool is_encrypted)
{
    uint32_t latest[4] = {0};
    unsigned cuts = 0;
    static struct nf_objects log_before;

    fresh(page, granule, write_once, pages);
    if (is_encrypted)
        flash_sim_encrypt(&sim);
    for (uint32_t i = 1; i < 120; i++) {
        unsigned slot = i % 4;
        uint64_t first = sim.ops;

        before = sim;
        log_before = log_;
        assert_int_equal(put(MP_KIND_DIRECTIVE, slot, i), MP_OK);
        uint64_t count = sim.ops - first;
        for (uint64_t op = 0; op < count; op++)
            for (int cut = 0; cut < FLASH_SIM_CUTS; cut++, cuts++) {
                uint8_t data[MP_RECORD_MAX], want[MP_RECORD_MAX];

                sim = before;
                log_ = log_before;
                flash_sim_cut_at(&sim, first + op, (enum flash_sim_cut)cut);
                assert_int_equal(put(MP_KIND_DIRECTIVE, slot, i), MP_ERR_STORE);
                assert_true(sim.is_dead);
                flash_sim_power_on(&sim);
                remount();
                for (unsigned s = 0; s < 4; s++)
                    if (s != slot && latest[s] != 0)
                        expect(MP_KIND_DIRECTIVE, s, latest[s]);
                int len = nf_objects_get(&log_, MP_KIND_DIRECTIVE, slot, data, sizeof data);
                bool is_new = len == (int)fill(want, i) && memcmp(want, data, (size_t)len) == 0;
                bool is_old = latest[slot] == 0
                                  ? len == 0
                                  : len == (int)fill(want, latest[slot]) && memcmp(want, data, (size_t)len) == 0;
                /* A tear in the fill behind the last record leaves it whole. */
                assert_true(is_old || (is_new && op + 1 == count));
                assert_true(is_new || cut != FLASH_SIM_WHOLE || op + 1 < count);
                assert_int_equal(put(MP_KIND_DIRECTIVE, slot, i + 1000), MP_OK);
                assert_int_equal(put(MP_KIND_DIRECTIVE, slot, i + 1001), MP_OK);
                remount();
                expect(MP_KIND_DIRECTIVE, slot, i + 1001);
            }
        sim = before;
        log_ = log_before;
        assert_int_equal(put(MP_KIND_DIRECTIVE, slot, i), MP_OK);
        latest[slot] = i;
    }
    assert_true(log_.sequence > 2);
    assert_true(cuts > 700);
}

static void test_cut_everywhere(void **state)
{
    (void)state;
    cut_everywhere(1024, 4, false, 4, false);
    cut_everywhere(2048, 8, true, 4, false);
    cut_everywhere(1024, 32, true, 6, false);
    cut_everywhere(1024, 32, true, 6, true);
}

/* A record that does not read any more falls back to the one before; the log goes on. */
static void test_unreadable_record(void **state)
{
    (void)state;
    uint8_t data[MP_RECORD_MAX];

    fresh(1024, 8, true, 8);
    assert_int_equal(put(MP_KIND_KEYSET, 0, 40), MP_OK);
    uint32_t at = log_.next;
    assert_int_equal(put(MP_KIND_KEYSET, 0, 41), MP_OK);
    flash_sim_damage(&sim, layout.objects + at + 16, 1);
    assert_int_equal(nf_objects_get(&log_, MP_KIND_KEYSET, 0, data, sizeof data), MP_ERR_STORE);
    remount();
    assert_int_equal(log_.damaged, 1);
    expect(MP_KIND_KEYSET, 0, 40);
    assert_int_equal(put(MP_KIND_KEYSET, 0, 42), MP_OK);
    remount();
    expect(MP_KIND_KEYSET, 0, 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_get_erase),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_equal_content_costs_nothing),
        cmocka_unit_test(test_many_rounds_of_compaction),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_cut_everywhere),
        cmocka_unit_test(test_unreadable_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
