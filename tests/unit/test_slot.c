/* Slots: chunks in and out, relocation, tears, missing trees, capacity. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "tests/lib/rig.h"

static const struct rig_part word = {.name = "word", .page_size = 1024, .granule = 4};
static const struct rig_part once = {
    .name = "once", .page_size = 2048, .granule = 8, .write_once = true, .relocates = true};
static const struct rig_part big = {
    .name = "big", .page_size = 4096, .granule = 32, .write_once = true, .relocates = true};
static const struct rig_part hidden = {
    .name = "hidden", .page_size = 4096, .granule = 32, .write_once = true, .is_encrypted = true};
static const struct rig_part *const parts[] = {&word, &once, &big, &hidden};
enum { PARTS = 4 };

static struct rig rig;
static struct nf_slot slot;
static struct flash_sim before;

static void fresh(const struct rig_part *part)
{
    rig_images(part, NULL);
    rig_init(&rig, part);
    nf_slot_init(&slot, &rig.sim.flash, &rig.layout, rig_crypto(), rig.memory);
}

static void open_erased(uint32_t release)
{
    assert_int_equal(nf_slot_open(&slot, &rig.layout, 1, rig_image[release].manifest), MP_OK);
    for (uint32_t page = 0; page < slot.pages; page++)
        assert_int_equal(nf_slot_erase_page(&slot, page), MP_OK);
}

static void reopen(uint32_t release)
{
    nf_slot_init(&slot, &rig.sim.flash, &rig.layout, rig_crypto(), rig.memory);
    assert_int_equal(nf_slot_open(&slot, &rig.layout, 1, rig_image[release].manifest), MP_OK);
    nf_slot_scan(&slot);
}

static long put(uint32_t release, uint32_t position)
{
    const struct rig_image *image = &rig_image[release];

    return nf_slot_put(&slot, position, image->chunk[position], mp_tree_length(&image->tree, position));
}

static bool is_held(uint32_t position)
{
    return (slot.held[position / 8] >> position % 8 & 1) != 0;
}

static void expect(const struct nf_slot *s, uint32_t release, uint32_t position)
{
    const struct rig_image *image = &rig_image[release];
    uint8_t data[MP_CHUNK_SIZE];

    assert_int_equal(nf_slot_get(s, position, data), mp_tree_length(&image->tree, position));
    assert_memory_equal(data, image->chunk[position], mp_tree_length(&image->tree, position));
}

static void fill(uint32_t release)
{
    for (uint32_t p = 0; p < rig_image[release].tree.positions; p++)
        assert_int_equal(put(release, p), MP_OK);
}

static void test_chunks_come_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PARTS; i++) {
        uint32_t positions;
        fresh(parts[i]);
        positions = rig_image[2].tree.positions;
        open_erased(2);
        for (uint32_t p = 0; p < positions; p++) {
            assert_int_equal(put(2, p), MP_OK);
            expect(&slot, 2, p);
        }
        assert_true(nf_slot_is_complete(&slot));
        assert_int_equal(slot.count, positions);
        assert_int_equal(boot_image_verify(&slot.image, rig_crypto()), MP_OK);
        reopen(2);
        assert_int_equal(slot.count, positions);
        for (uint32_t p = 0; p < positions; p++)
            expect(&slot, 2, p);
    }
}

/* What lies in flash is linked for this slot; the first slot's own words differ. */
static void test_words_are_relocated(void **state)
{
    (void)state;
    uint8_t *flash = rig.sim.data;
    uint32_t differing = 0;

    fresh(&once);
    open_erased(1);
    fill(1);
    for (uint32_t i = 0; i + 4 <= rig_image[1].size; i += 4) {
        const uint8_t *a = flash + rig.layout.slot[0] + i, *b = flash + rig.layout.slot[1] + i;
        uint32_t wa = (uint32_t)(a[0] | a[1] << 8 | a[2] << 16) | (uint32_t)a[3] << 24;
        uint32_t wb = (uint32_t)(b[0] | b[1] << 8 | b[2] << 16) | (uint32_t)b[3] << 24;
        if (wa != wb) {
            assert_int_equal(wb - wa, rig.layout.slot_base[1] - rig.layout.slot_base[0]);
            /* Every listed word of these images is its own address. */
            assert_int_equal(wb, rig.layout.slot_base[1] + i);
            differing++;
        }
    }
    assert_in_range(differing, 100, 140);
    assert_int_equal(boot_image_start(&slot.image), slot.image.reloc.list_size);
    assert_true(slot.image.reloc.list_size > 12);
}

/* Flash that counts how often it is read. */
static uint32_t reads;

static int counted_read(void *ctx, uint32_t address, void *data, size_t len)
{
    reads++;
    return rig.sim.flash.read(ctx, address, data, len);
}

/* A watchdog waits for a start that hashes an image or looks a half fetched one through: that must not take a time that
 * grows with the square of its size, or an image with many listed words never starts. */
static void test_many_words_take_no_longer(void **state)
{
    static const struct rig_part dense = {
        .name = "dense", .page_size = 1024, .granule = 4, .relocates = true, .image_size = 8000, .list_stride = 4};
    (void)state;

    fresh(&dense);
    open_erased(1);
    fill(1);
    assert_in_range(slot.image.reloc.count, 1900, 2000);
    const uint32_t leaves = slot.image.tree.count[0], windows = slot.image.reloc.list_size / 32 + 1;
    struct nf_flash counted = rig.sim.flash;
    counted.read = counted_read;
    slot.image.flash = &counted;

    reads = 0;
    assert_int_equal(boot_image_verify(&slot.image, rig_crypto()), MP_OK);
    assert_in_range(reads, leaves, 2 * leaves + windows);
    reads = 0;
    nf_slot_scan(&slot);
    assert_true(nf_slot_is_complete(&slot));
    /* The list is read for itself, for the leaf that it shares with the image, and in the pass. */
    assert_in_range(reads, leaves, 10 * slot.image.tree.positions + 3 * windows);
}

/* The list's leaf could not be stored yet, because its page must be erased first: others still wait for it. */
static void test_list_that_could_not_be_stored_is_not_known(void **state)
{
    (void)state;
    fresh(&once);
    open_erased(2);
    fill(2);
    uint32_t list = rig_image[2].tree.first[0], other = list + 30;

    flash_sim_damage(&rig.sim, boot_image_chunk_address(&slot.image, list), 1);
    flash_sim_damage(&rig.sim, boot_image_chunk_address(&slot.image, other), 1);
    reopen(2);
    assert_false(is_held(list) || is_held(other));
    long page = put(2, list);

    assert_true(page > 0);
    assert_int_equal(put(2, other), MP_ERR_PARENT);
    assert_int_equal(nf_slot_erase_page(&slot, (uint32_t)page - 1), MP_OK);
    assert_int_equal(put(2, other), MP_ERR_PARENT);
    assert_int_equal(put(2, list), MP_OK);
    page = put(2, other);
    assert_true(page > 0);
    assert_int_equal(nf_slot_erase_page(&slot, (uint32_t)page - 1), MP_OK);
    fill(2);
    assert_true(nf_slot_is_complete(&slot));
    assert_int_equal(boot_image_verify(&slot.image, rig_crypto()), MP_OK);
}

/* Behind encryption a CPU must see the ones of an image, too, so they are programmed; and erased flash, whatever it
 * reads as, is no chunk. */
static void test_ones_behind_encryption(void **state)
{
    (void)state;
    uint8_t seen[MP_CHUNK_SIZE];

    fresh(&hidden);
    open_erased(2);
    const struct rig_image *image = &rig_image[2];
    uint32_t first = image->tree.first[0];

    fill(2);
    for (uint32_t p = first; p < image->tree.positions; p++) {
        uint32_t len = mp_tree_length(&image->tree, p), at = boot_image_chunk_address(&slot.image, p);
        assert_false(nf_flash_is_blank(&rig.sim.flash, at, NULL, len));
        assert_int_equal(rig.sim.flash.read(rig.sim.flash.ctx, at, seen, len), NF_FLASH_OK);
        assert_memory_equal(seen, image->chunk[p], len);
    }
    reopen(2);
    assert_int_equal(slot.count, image->tree.positions);
    for (uint32_t page = 0; page < slot.pages; page++)
        assert_int_equal(nf_slot_erase_page(&slot, page), MP_OK);
    assert_int_equal(slot.count, 0);
    reopen(2);
    assert_int_equal(slot.count, 0);
}

/* Without its list a relocated leaf cannot be placed: it is to be sent again later, and nothing is written. */
static void test_leaf_before_its_list_waits(void **state)
{
    (void)state;
    fresh(&once);
    open_erased(2);
    uint32_t leaves = rig_image[2].tree.first[0];
    uint64_t ops;

    for (uint32_t p = 0; p < leaves; p++)
        assert_int_equal(put(2, p), MP_OK);
    ops = rig.sim.ops;
    assert_int_equal(put(2, leaves + 5), MP_ERR_PARENT);
    assert_int_equal(rig.sim.ops, ops);
    assert_false(is_held(leaves + 5));
    assert_int_equal(put(2, leaves), MP_OK);
    assert_int_equal(put(2, leaves + 5), MP_OK);
    expect(&slot, 2, leaves + 5);
}

static void test_bad_puts(void **state)
{
    (void)state;
    uint8_t data[MP_CHUNK_SIZE] = {0};

    fresh(&word);
    assert_int_equal(nf_slot_put(&slot, 0, data, sizeof data), MP_ERR_STORE);
    assert_int_equal(nf_slot_get(&slot, 0, data), MP_ERR_ABSENT);
    open_erased(2);
    assert_int_equal(nf_slot_put(&slot, slot.image.tree.positions, data, sizeof data), MP_ERR_STORE);
    assert_int_equal(nf_slot_put(&slot, 0, data, 1), MP_ERR_STORE);
    assert_int_equal(nf_slot_get(&slot, 0, data), MP_ERR_ABSENT);
    assert_int_equal(nf_slot_get(&slot, UINT32_MAX, data), MP_ERR_ABSENT);
    assert_int_equal(nf_slot_seal(&slot, &rig.layout, 1, rig_image[2].manifest), MP_ERR_STATE);
    assert_int_equal(put(2, 0), MP_OK);
    uint64_t ops = rig.sim.ops;
    assert_int_equal(put(2, 0), MP_OK); /* held already: nothing to do */
    assert_int_equal(rig.sim.ops, ops);
}

/* Stores a chunk as the owner does, erasing the page that a tear needs erased. */
static unsigned put_recovering(uint32_t release, uint32_t position)
{
    unsigned erased = 0;
    long result;

    while ((result = put(release, position)) > 0) {
        assert_int_equal(nf_slot_erase_page(&slot, (uint32_t)result - 1), MP_OK);
        assert_true(++erased < 3);
    }
    assert_true(result == MP_OK || result == MP_ERR_PARENT); /* the latter: again in the next round */
    return erased;
}

/* A tear of any chunk in any way: a scan, and whatever is missing once more, in order. Never more than a page is lost.
 */
static void test_torn_chunk_costs_its_page(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PARTS; i++) {
        uint32_t positions, in_a_page = (parts[i]->page_size - 2) / MP_CHUNK_SIZE + 2;
        fresh(parts[i]);
        positions = rig_image[2].tree.positions;
        open_erased(2);
        for (uint32_t p = 0; p < positions; p++) {
            before = rig.sim;
            for (int cut = 0; cut < FLASH_SIM_CUTS; cut++) {
                uint32_t again = 0;
                rig.sim = before;
                reopen(2);
                uint32_t base = slot.count; /* leaves of all ones count before they came */
                flash_sim_cut_at(&rig.sim, rig.sim.ops, (enum flash_sim_cut)cut);
                long torn = put(2, p);
                if (!rig.sim.is_dead) { /* a chunk of all ones takes no operation */
                    flash_sim_power_on(&rig.sim);
                    continue;
                }
                assert_true(torn > 0 || torn == MP_ERR_STORE); /* a page did not take it, or its erase was cut */
                flash_sim_power_on(&rig.sim);
                reopen(2);
                assert_true(slot.count >= base);
                for (unsigned round = 0; round < 4; round++)
                    for (uint32_t q = 0; q <= p; q++)
                        if (!is_held(q)) {
                            put_recovering(2, q);
                            again += is_held(q);
                        }
                assert_true(again <= in_a_page);
                for (uint32_t q = 0; q <= p; q++)
                    expect(&slot, 2, q);
            }
            rig.sim = before;
            reopen(2);
            put_recovering(2, p);
        }
    }
}

/* Lost tree chunks do not cost what lies below them: it is found again when they come. */
static void test_children_are_adopted(void **state)
{
    (void)state;
    fresh(&word);
    open_erased(2);
    fill(2);
    uint32_t leaves = slot.image.tree.first[0];

    rig.sim.flash.erase(&rig.sim, slot.image.address + slot.image.tree_offset);
    reopen(2);
    assert_int_equal(slot.count, 0);
    for (uint32_t p = 0; p < leaves; p++)
        put_recovering(2, p);
    assert_true(nf_slot_is_complete(&slot));
    assert_true(slot.changed);
}

/* A page that may hold chunks under a missing parent is not erased for another chunk: that one comes again later. */
static void test_chunk_waits_for_its_neighbours_parent(void **state)
{
    (void)state;
    fresh(&once);
    open_erased(2);
    uint32_t leaves = rig_image[2].tree.first[0];

    /* Leaves 10 to 15 and 16 on share a page and have different parents, positions 1 and 2. */
    assert_int_equal(rig_image[2].tree.first[1], 1);
    for (uint32_t p = 0; p < rig_image[2].tree.positions; p++)
        if (p < leaves + 10 || p >= leaves + 16)
            assert_int_equal(put(2, p), MP_OK);
    rig.sim.flash.erase(&rig.sim, slot.image.address + slot.image.tree_offset);
    reopen(2);
    assert_int_equal(slot.count, 0);
    put_recovering(2, 0);
    put_recovering(2, 1);
    assert_true(is_held(leaves + 9));
    assert_int_equal(put(2, leaves + 12), MP_ERR_PARENT);
    put_recovering(2, 2);
    assert_true(is_held(leaves + 16));
    assert_int_equal(put_recovering(2, leaves + 12), 0);
    assert_true(is_held(leaves + 16));
    expect(&slot, 2, leaves + 12);
}

static void test_seal(void **state)
{
    (void)state;
    uint8_t data[MP_MANIFEST_SIZE];

    for (unsigned i = 0; i < PARTS; i++) {
        fresh(parts[i]);
        open_erased(2);
        fill(2);
        assert_int_equal(boot_image_seal(&rig.sim.flash, &rig.layout, 1, data), MP_ERR_ABSENT);
        before = rig.sim;
        for (unsigned op = 0; op < 2; op++)
            for (int cut = 0; cut < FLASH_SIM_CUTS; cut++) {
                rig.sim = before;
                reopen(2); /* the seal's page is not trusted now: erase and program */
                flash_sim_cut_at(&rig.sim, rig.sim.ops + op, (enum flash_sim_cut)cut);
                assert_int_equal(nf_slot_seal(&slot, &rig.layout, 1, rig_image[2].manifest), MP_ERR_STORE);
                assert_true(rig.sim.is_dead);
                flash_sim_power_on(&rig.sim);
                int found = boot_image_seal(&rig.sim.flash, &rig.layout, 1, data);
                assert_true(found == MP_ERR_ABSENT || (op == 1 && cut >= FLASH_SIM_TORN_LAST));
                reopen(2);
                assert_int_equal(nf_slot_seal(&slot, &rig.layout, 1, rig_image[2].manifest), MP_OK);
                assert_int_equal(boot_image_seal(&rig.sim.flash, &rig.layout, 1, data), MP_OK);
                assert_memory_equal(data, rig_image[2].manifest, sizeof data);
            }
    }
}

/* A factory image without a tree serves every chunk all the same. */
static void test_missing_tree_is_computed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PARTS; i++) {
        fresh(parts[i]);
        assert_int_equal(nf_slot_open_sealed(&slot, &rig.layout, 0), MP_OK);
        assert_true(slot.tree_stored);
        rig.sim.flash.erase(&rig.sim, slot.image.address + slot.image.tree_offset);
        assert_int_equal(nf_slot_open_sealed(&slot, &rig.layout, 0), MP_OK);
        assert_false(slot.tree_stored);
        assert_true(nf_slot_is_complete(&slot));
        for (uint32_t p = 0; p < rig_image[1].tree.positions; p++)
            expect(&slot, 1, p);
    }
}

static void test_capacity(void **state)
{
    (void)state;
    for (uint32_t page = 1024; page <= 8192; page *= 2)
        for (uint32_t pages = 2; pages < 200; pages++) {
            struct nf_flash flash = {.page_size = page};
            struct nf_layout layout = {.slot_size = pages * page};
            uint32_t size = boot_image_capacity(&flash, &layout);
            uint32_t leaves = (size + MP_CHUNK_SIZE - 1) / MP_CHUNK_SIZE * MP_CHUNK_SIZE;

            if (size == 0) {
                assert_true(pages <= 2);
                continue;
            }
            uint32_t tree = mp_tree_positions(size) * MP_CHUNK_SIZE - leaves;
            uint32_t used = (leaves + page - 1) / page * page + tree;
            assert_true(used <= layout.slot_size - page);
            leaves += MP_CHUNK_SIZE;
            tree = mp_tree_positions(size + MP_CHUNK_SIZE) * MP_CHUNK_SIZE - leaves;
            assert_true((leaves + page - 1) / page * page + tree > layout.slot_size - page);
        }
}

/* A foreign bootloader moves images: their seals lie outside the slots, here each behind the other one's slot. */
static void test_seals_apart(void **state)
{
    uint8_t seal[MP_MANIFEST_SIZE];
    (void)state;

    for (unsigned part = 0; part < 2; part++) {
        fresh(part == 0 ? &word : &once);
        const uint32_t page = rig.sim.flash.page_size, inside = boot_image_capacity(&rig.sim.flash, &rig.layout);

        rig.layout.slot_size -= page;
        rig.layout.seal[0] = rig.layout.slot[1] + rig.layout.slot_size;
        rig.layout.seal[1] = rig.layout.slot[0] + rig.layout.slot_size;
        assert_int_equal(boot_image_capacity(&rig.sim.flash, &rig.layout), inside);
        assert_int_equal(boot_image_seal_address(&rig.sim.flash, &rig.layout, 0), rig.layout.seal[0]);
        assert_int_equal(nf_store_install(&rig.sim.flash, &rig.layout, rig_crypto(), 1, rig_image[2].manifest,
                                          rig_image[2].payload, rig_image[2].size, rig.memory),
                         MP_OK);
        assert_memory_equal(rig.sim.data + rig.layout.seal[1], rig_image[2].manifest, MP_MANIFEST_SIZE);
        assert_int_equal(boot_image_seal(&rig.sim.flash, &rig.layout, 0, seal), MP_ERR_ABSENT);
        nf_slot_init(&slot, &rig.sim.flash, &rig.layout, rig_crypto(), rig.memory);
        assert_int_equal(nf_slot_open_sealed(&slot, &rig.layout, 1), MP_OK);
        assert_true(slot.tree_stored);
        for (uint32_t p = 0; p < rig_image[2].tree.positions; p++)
            expect(&slot, 2, p);
        /* The last page is the seal's, and only that one. */
        assert_int_equal(slot.pages, rig.layout.slot_size / page + 1);
        assert_int_equal(nf_slot_erase_page(&slot, slot.pages - 1), MP_OK);
        assert_int_equal(boot_image_seal(&rig.sim.flash, &rig.layout, 1, seal), MP_ERR_ABSENT);
        assert_true(nf_slot_is_complete(&slot));
        assert_int_equal(nf_slot_seal(&slot, &rig.layout, 1, rig_image[2].manifest), MP_OK);
        assert_int_equal(boot_image_seal(&rig.sim.flash, &rig.layout, 1, seal), MP_OK);
        rig.layout.seal[0] += 4;
        assert_int_equal(
            nf_store_init(&rig.store, &rig.sim.flash, &rig.layout, rig_crypto(), 0, rig.memory, sizeof rig.memory),
            MP_ERR_FORMAT);
    }
}

static void test_install_refuses_what_is_not_the_manifests(void **state)
{
    (void)state;
    fresh(&word);
    assert_int_equal(nf_store_install(&rig.sim.flash, &rig.layout, rig_crypto(), 1, rig_image[2].manifest,
                                      rig_image[3].payload, rig_image[2].size, rig.memory),
                     MP_ERR_CHUNK);
    assert_int_equal(nf_store_install(&rig.sim.flash, &rig.layout, rig_crypto(), 1, rig_image[2].manifest,
                                      rig_image[2].payload, rig_image[2].size - 1, rig.memory),
                     MP_ERR_CHUNK);
    rig.layout.slot_size = 4096;
    assert_int_equal(nf_store_install(&rig.sim.flash, &rig.layout, rig_crypto(), 1, rig_image[2].manifest,
                                      rig_image[2].payload, rig_image[2].size, rig.memory),
                     MP_ERR_ROOM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks_come_back),
        cmocka_unit_test(test_words_are_relocated),
        cmocka_unit_test(test_many_words_take_no_longer),
        cmocka_unit_test(test_list_that_could_not_be_stored_is_not_known),
        cmocka_unit_test(test_ones_behind_encryption),
        cmocka_unit_test(test_leaf_before_its_list_waits),
        cmocka_unit_test(test_bad_puts),
        cmocka_unit_test(test_torn_chunk_costs_its_page),
        cmocka_unit_test(test_children_are_adopted),
        cmocka_unit_test(test_chunk_waits_for_its_neighbours_parent),
        cmocka_unit_test(test_seal),
        cmocka_unit_test(test_missing_tree_is_computed),
        cmocka_unit_test(test_capacity),
        cmocka_unit_test(test_seals_apart),
        cmocka_unit_test(test_install_refuses_what_is_not_the_manifests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
