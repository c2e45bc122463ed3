/* Serial recovery, device side: what it takes and refuses, lost replies, noise, and power cut at every operation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "proto/mp_wire.h"
#include "tests/lib/recovery_part.h"

static const struct rig_part word = {.name = "word", .page_size = 1024, .granule = 4, .relocates = true};
static const struct rig_part once = {
    .name = "once", .page_size = 2048, .granule = 8, .write_once = true, .relocates = true};
static const struct rig_part big = {.name = "big", .page_size = 4096, .granule = 32, .write_once = true};
static const struct rig_part *const kinds[] = {&word, &once, &big};
enum { KINDS = 3, NODE = 4711 };

static struct recovery_part part;
static uint8_t settings[MP_SETTINGS_SIZE];

static const uint8_t *reply(void)
{
    return part.r.frame + BOOT_RECOVERY_HEAD;
}

static void edit(uint32_t release, struct mp_manifest *m)
{
    m->security_counter = release == 2 ? 5 : 7;
    if (release == 4)
        m->model = RIG_MODEL + 1;
}

static void fresh(const struct rig_part *kind)
{
    rig_images(kind, edit);
    recovery_part_init(&part, kind);
    recovery_settings(settings, NODE);
}

static int give_settings(void)
{
    return recovery_part_ask(&part, BOOT_RECOVERY_SETTINGS, settings, sizeof settings);
}

static int erase_all(void)
{
    uint8_t word_bytes[4];

    mp_put32(word_bytes, BOOT_RECOVERY_ERASE_WORD);
    return recovery_part_ask(&part, BOOT_RECOVERY_ERASE, word_bytes, sizeof word_bytes);
}

/* The part boots image `release` from a slot, which the bootloader and a node's store both find whole. */
static void expect_boots(unsigned slot, uint32_t release, bool with_tree)
{
    static struct nf_store store;
    static uint8_t memory[RIG_MEMORY];
    struct boot_choice choice;
    uint8_t data[MP_CHUNK_SIZE];

    assert_int_equal(recovery_part_boot(&part, &choice), (int)slot);
    assert_int_equal(choice.record.state, BOOT_CONFIRMED);
    assert_int_equal(choice.record.release, release);
    assert_memory_equal(choice.record.id, rig_image[release].id, 8);
    assert_int_equal(nf_store_init(&store, &part.flash, &part.layout, rig_crypto(), slot, memory, sizeof memory), 0);
    assert_true(store.slot[0].open && store.slot[0].sealed);
    assert_int_equal(store.slot[0].tree_stored, with_tree);
    for (uint32_t p = 0; p < rig_image[release].tree.positions; p++) {
        assert_int_equal(nf_slot_get(&store.slot[0], p, data), mp_tree_length(&rig_image[release].tree, p));
        assert_memory_equal(data, rig_image[release].chunk[p], mp_tree_length(&rig_image[release].tree, p));
    }
}

static void a_blank_part_is_provisioned(void **state)
{
    (void)state;
    for (unsigned k = 0; k < KINDS; k++)
        for (unsigned slot = 0; slot < 2; slot++)
            for (unsigned tree = 0; tree < 2; tree++) {
                fresh(kinds[k]);
                assert_int_equal(recovery_part_boot(&part, NULL), -1);
                assert_int_equal(give_settings(), MP_OK);
                assert_int_equal(recovery_part_boot(&part, NULL), -1);
                assert_int_equal(recovery_part_install(&part, slot, 1, tree == 1), MP_OK);
                assert_true(part.kicks > 4);
                expect_boots(slot, 1, tree == 1);
            }
}

static void hello_says_what_is_there(void **state)
{
    struct boot_record record;
    (void)state;

    fresh(&once);
    assert_int_equal(recovery_part_ask(&part, BOOT_RECOVERY_HELLO, NULL, 0), MP_OK);
    const uint8_t *h = reply();
    const uint32_t layout[] = {part.layout.boot_record,  part.layout.settings,     part.layout.objects,
                               part.layout.objects_size, part.layout.slot[0],      part.layout.slot[1],
                               part.layout.slot_size,    part.layout.slot_base[0], part.layout.slot_base[1]};
    assert_int_equal(mp_get16(part.r.frame + 2), BOOT_RECOVERY_HELLO_SIZE);
    assert_int_equal(h[1], 1);
    assert_int_equal(h[2], 8);
    assert_int_equal(h[3], BOOT_RECOVERY_FLAG_WRITE_ONCE);
    assert_memory_equal(h + 4, part.env.part, 8);
    assert_int_equal(mp_get32(h + 12), 0x01020003);
    assert_int_equal(mp_get32(h + 16), part.sim.flash.size);
    assert_int_equal(mp_get32(h + 20), 2048);
    for (unsigned i = 0; i < 9; i++)
        assert_int_equal(mp_get32(h + 24 + 4 * i), layout[i]);
    for (unsigned i = 68; i < BOOT_RECOVERY_HELLO_SIZE; i++)
        assert_int_equal(h[i], 0);

    assert_int_equal(give_settings(), MP_OK);
    assert_int_equal(recovery_part_install(&part, 1, 3, true), MP_OK);
    assert_int_equal(recovery_part_ask(&part, BOOT_RECOVERY_HELLO, NULL, 0), MP_OK);
    assert_int_equal(h[3], BOOT_RECOVERY_FLAG_WRITE_ONCE | BOOT_RECOVERY_FLAG_SETTINGS);
    for (unsigned i = 68; i < 76; i++)
        assert_int_equal(h[i], 0);
    assert_memory_equal(h + 76, rig_image[3].id, 8);
    assert_int_equal(mp_get32(h + 84), NODE);
    assert_int_equal(boot_record_get(&record, h + 88), MP_OK);
    assert_int_equal(record.state, BOOT_CONFIRMED);
    assert_int_equal(record.home, 1);
    assert_int_equal(record.release, 3);
    assert_int_equal(record.floor, 7);
    assert_memory_equal(record.id, rig_image[3].id, 8);
}

/* Whatever is asked, no reply carries a key that the part holds, nor an image's bytes. */
static void nothing_is_read_out(void **state)
{
    uint8_t payload[BOOT_RECOVERY_PAYLOAD_MAX] = {0};
    (void)state;

    fresh(&word);
    assert_int_equal(give_settings(), MP_OK);
    for (unsigned type = 0; type < 256; type++)
        for (size_t len = 0; len <= BOOT_RECOVERY_PAYLOAD_MAX; len++) {
            int status = recovery_part_ask(&part, type & 0x7F, payload, len);
            size_t n = mp_get16(part.r.frame + 2);

            assert_true(status <= 0);
            assert_true(n == 1 || n == 5 || n == BOOT_RECOVERY_HELLO_SIZE);
            for (size_t i = 0; i + 8 <= n; i++) {
                assert_memory_not_equal(reply() + i, settings + 32, 8); /* network key */
                assert_memory_not_equal(reply() + i, settings + 64, 8); /* report key */
            }
        }
}

static void settings_are_taken_once(void **state)
{
    uint8_t other[MP_SETTINGS_SIZE];
    (void)state;

    fresh(&word);
    for (size_t bit = 0; bit < 8 * MP_SETTINGS_SIZE; bit++) { /* anything damaged is refused */
        settings[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_true(give_settings() < 0);
        settings[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(part.sim.ops, 0);
    assert_int_equal(give_settings(), MP_OK);
    uint64_t ops = part.sim.ops;

    recovery_settings(other, NODE + 1);
    assert_int_equal(recovery_part_ask(&part, BOOT_RECOVERY_SETTINGS, other, sizeof other), MP_ERR_STATE);
    assert_int_equal(give_settings(), MP_ERR_STATE);
    assert_int_equal(part.sim.ops, ops);
    assert_memory_equal(part.sim.data + part.layout.settings, settings, sizeof settings);
    /* A page that cannot be read is none, and a wrong bit in it neither. */
    flash_sim_damage(&part.sim, part.layout.settings + 40, 1);
    assert_false(boot_has_settings(&part.env.boot));
    assert_int_equal(recovery_part_ask(&part, BOOT_RECOVERY_SETTINGS, other, sizeof other), MP_OK);
    assert_true(boot_has_settings(&part.env.boot));
}

/* A keyset that was left behind must not outlive the settings it belonged to. */
static void settings_end_what_was_kept(void **state)
{
    (void)state;
    fresh(&word);
    struct nf_objects objects;
    uint8_t record[MP_KEYSET_SIZE];
    struct mp_keyset keyset = rig_fleet.keyset;

    assert_int_equal(give_settings(), MP_OK);
    keyset.publisher[0].pub[0] ^= 1;
    mp_keyset_put(record, &keyset);
    assert_int_equal(nf_objects_mount(&objects, &part.flash, &part.layout), MP_OK);
    assert_int_equal(nf_objects_put(&objects, MP_KIND_KEYSET, 0, record, sizeof record), MP_OK);
    assert_int_equal(recovery_part_begin(&part, 0, rig_image[1].manifest), MP_ERR_SIGNATURE);
    flash_sim_damage(&part.sim, part.layout.settings, 1);
    assert_int_equal(recovery_part_begin(&part, 0, rig_image[1].manifest), MP_ERR_STATE);
    assert_int_equal(give_settings(), MP_OK);
    assert_int_equal(recovery_part_begin(&part, 0, rig_image[1].manifest), MP_OK);
}

static void only_what_is_signed_for_this_part_begins(void **state)
{
    uint8_t manifest[MP_MANIFEST_SIZE];
    struct mp_manifest m;
    (void)state;

    fresh(&word);
    assert_int_equal(recovery_part_begin(&part, 0, rig_image[1].manifest), MP_ERR_STATE);
    assert_int_equal(give_settings(), MP_OK);
    uint64_t ops = part.sim.ops;

    assert_int_equal(recovery_part_begin(&part, 2, rig_image[1].manifest), MP_ERR_FORMAT);
    assert_int_equal(recovery_part_begin(&part, 255, rig_image[1].manifest), MP_ERR_FORMAT);
    assert_int_equal(recovery_part_begin(&part, 0, rig_image[4].manifest), MP_ERR_MODEL);
    for (size_t bit = 0; bit < 8 * MP_MANIFEST_SIZE; bit++) {
        memcpy(manifest, rig_image[1].manifest, sizeof manifest);
        manifest[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_true(recovery_part_begin(&part, 0, manifest) < 0);
    }
    m = rig_image[1].m;
    m.product++;
    sign_manifest(manifest, &m, &rig_fleet.publisher);
    assert_int_equal(recovery_part_begin(&part, 0, manifest), MP_ERR_MODEL);
    m = rig_image[1].m;
    m.hw_revisions = ~1u; /* all but this part's */
    sign_manifest(manifest, &m, &rig_fleet.publisher);
    assert_int_equal(recovery_part_begin(&part, 0, manifest), MP_ERR_MODEL);
    m = rig_image[1].m;
    m.image_size = m.payload_size = boot_image_capacity(&part.flash, &part.layout) + 1;
    sign_manifest(manifest, &m, &rig_fleet.publisher);
    assert_int_equal(recovery_part_begin(&part, 0, manifest), MP_ERR_ROOM);
    sign_manifest(manifest, &rig_image[1].m, &rig_fleet.release);
    assert_int_equal(recovery_part_begin(&part, 0, manifest), MP_ERR_SIGNATURE);
    assert_int_equal(part.sim.ops, ops);
    assert_int_equal(recovery_part_begin(&part, 0, rig_image[1].manifest), MP_OK);
    assert_int_equal(part.sim.ops, ops + 2);
}

static void pieces_come_in_order(void **state)
{
    const struct rig_image *image = &rig_image[1];
    const uint8_t *data;
    uint8_t zero[4 + MP_CHUNK_SIZE] = {0};
    (void)state;

    fresh(&once);
    assert_int_equal(give_settings(), MP_OK);
    size_t len = recovery_piece(image, 0, &data);

    assert_int_equal(recovery_part_data(&part, 0, data, len), MP_ERR_STATE);
    assert_int_equal(recovery_part_begin(&part, 0, image->manifest), MP_OK);
    assert_int_equal(recovery_part_data(&part, 1, data, len), MP_ERR_GAP);
    assert_int_equal(recovery_part_data(&part, UINT32_MAX, data, len), MP_OK); /* "the one before" writes nothing */
    assert_int_equal(recovery_part_data(&part, 0, data, len - 1), MP_ERR_LENGTH);
    assert_int_equal(recovery_part_ask(&part, BOOT_RECOVERY_DATA, zero, 4), MP_ERR_LENGTH);
    assert_int_equal(recovery_part_ask(&part, BOOT_RECOVERY_FINISH, NULL, 0), MP_ERR_STATE);
    for (uint32_t piece = 0; piece < image->tree.positions; piece++) {
        len = recovery_piece(image, piece, &data);
        assert_int_equal(recovery_part_data(&part, piece, data, len), MP_OK);
        assert_int_equal(mp_get32(reply() + 1), piece + 1);
        uint64_t ops = part.sim.ops;
        assert_int_equal(recovery_part_data(&part, piece, data, len), MP_OK); /* the reply was lost */
        assert_int_equal(mp_get32(reply() + 1), piece + 1);
        assert_int_equal(recovery_part_begin(&part, 0, image->manifest), MP_OK); /* the host came back */
        assert_int_equal(mp_get32(reply() + 1), piece + 1);
        assert_int_equal(part.sim.ops, ops);
        if (piece + 1 < image->tree.count[0])
            assert_int_equal(recovery_part_ask(&part, BOOT_RECOVERY_FINISH, NULL, 0), MP_ERR_STATE);
        assert_int_equal(recovery_part_boot(&part, NULL), -1);
    }
    assert_int_equal(recovery_part_data(&part, image->tree.positions, zero, 192), MP_ERR_GAP);
    for (int i = 0; i < 3; i++)
        assert_int_equal(recovery_part_ask(&part, BOOT_RECOVERY_FINISH, NULL, 0), MP_OK);
    expect_boots(0, 1, true);
}

/* A wrong byte anywhere: nothing is sealed, and it starts over. */
static void what_does_not_verify_is_not_sealed(void **state)
{
    const struct rig_image *image = &rig_image[1];
    (void)state;

    for (unsigned k = 0; k < KINDS; k++)
        for (uint32_t bad = 0; bad < image->tree.count[0]; bad += 7) {
            fresh(kinds[k]);
            assert_int_equal(give_settings(), MP_OK);
            assert_int_equal(recovery_part_begin(&part, 0, image->manifest), MP_OK);
            int status = MP_OK;
            for (uint32_t piece = 0; piece < image->tree.positions && status == MP_OK; piece++) {
                const uint8_t *data;
                uint8_t copy[MP_CHUNK_SIZE];
                size_t len = recovery_piece(image, piece, &data);
                memcpy(copy, data, len);
                if (piece == bad)
                    copy[len - 1] ^= 0x20;
                status = recovery_part_data(&part, piece, copy, len);
            }
            if (status == MP_OK)
                status = recovery_part_ask(&part, BOOT_RECOVERY_FINISH, NULL, 0);
            assert_true(status == MP_ERR_CHUNK || status == MP_ERR_FORMAT || status == MP_ERR_LENGTH);
            assert_int_equal(recovery_part_ask(&part, BOOT_RECOVERY_FINISH, NULL, 0), MP_ERR_STATE);
            assert_int_equal(recovery_part_boot(&part, NULL), -1);
            assert_int_equal(recovery_part_install(&part, 0, 1, true), MP_OK);
            expect_boots(0, 1, true);
        }
}

/* Rubbish for a tree costs the tree only: a node computes it. */
static void a_wrong_tree_is_no_harm(void **state)
{
    const struct rig_image *image = &rig_image[1];
    uint8_t zero[MP_CHUNK_SIZE] = {0};
    (void)state;

    fresh(&word);
    assert_int_equal(give_settings(), MP_OK);
    assert_int_equal(recovery_part_begin(&part, 1, image->manifest), MP_OK);
    for (uint32_t piece = 0; piece < image->tree.positions; piece++) {
        const uint8_t *data;
        size_t len = recovery_piece(image, piece, &data);
        assert_int_equal(recovery_part_data(&part, piece, piece < image->tree.count[0] ? data : zero, len), MP_OK);
    }
    assert_int_equal(recovery_part_ask(&part, BOOT_RECOVERY_FINISH, NULL, 0), MP_OK);
    expect_boots(1, 1, false);
}

static void the_floor_never_sinks_but_by_erasing(void **state)
{
    struct boot_choice choice;
    (void)state;

    fresh(&word);
    assert_int_equal(give_settings(), MP_OK);
    assert_int_equal(recovery_part_install(&part, 0, 2, true), MP_OK); /* counter 5 */
    assert_int_equal(recovery_part_boot(&part, &choice), 0);
    assert_int_equal(choice.record.floor, 5);
    assert_int_equal(recovery_part_install(&part, 1, 3, true), MP_OK); /* counter 7 */
    assert_int_equal(recovery_part_boot(&part, &choice), 1);
    assert_int_equal(choice.record.floor, 7);
    uint64_t ops = part.sim.ops;
    assert_int_equal(recovery_part_begin(&part, 0, rig_image[2].manifest), MP_ERR_COUNTER);
    assert_int_equal(part.sim.ops, ops);
    assert_int_equal(erase_all(), MP_OK);
    assert_int_equal(recovery_part_boot(&part, &choice), -1);
    assert_int_equal(choice.record.state, BOOT_NONE);
    assert_int_equal(recovery_part_begin(&part, 0, rig_image[2].manifest), MP_ERR_STATE);
    assert_int_equal(give_settings(), MP_OK);
    assert_int_equal(recovery_part_install(&part, 0, 2, true), MP_OK);
    expect_boots(0, 2, true);
}

static void erasing_takes_the_word_and_leaves_no_secret(void **state)
{
    uint8_t zero[4] = {0};
    (void)state;

    fresh(&word);
    assert_int_equal(give_settings(), MP_OK);
    assert_int_equal(recovery_part_install(&part, 0, 1, true), MP_OK);
    uint64_t ops = part.sim.ops;
    assert_int_equal(recovery_part_ask(&part, BOOT_RECOVERY_ERASE, zero, 4), MP_ERR_FORMAT);
    assert_int_equal(part.sim.ops, ops);
    expect_boots(0, 1, true);
    assert_int_equal(erase_all(), MP_OK);
    for (uint32_t i = 0; i < 11 * 1024u; i++) /* record, settings, objects */
        assert_int_equal(part.sim.data[part.layout.boot_record + i], 0xFF);
    assert_int_equal(recovery_part_boot(&part, NULL), -1);
    assert_int_equal(recovery_part_ask(&part, BOOT_RECOVERY_FINISH, NULL, 0), MP_ERR_STATE);
    assert_false(part.r.reset);
    assert_int_equal(recovery_part_ask(&part, BOOT_RECOVERY_RESET, NULL, 0), MP_OK);
    assert_true(part.r.reset);
}

/* --- the line ------------------------------------------------------------------------------------------------------ */

static void noise_is_skipped(void **state)
{
    static const uint8_t filler[BOOT_RECOVERY_FRAME_MAX] = {0};
    uint8_t noise[700], frame[BOOT_RECOVERY_FRAME_MAX];
    uint32_t x = 1;
    (void)state;

    fresh(&word);
    for (unsigned round = 0; round < 3000; round++) {
        size_t len = 1 + round % sizeof noise;
        for (size_t i = 0; i < len; i++) {
            x = x * 1664525u + 1013904223u;
            noise[i] = x >> 28 == 0 ? BOOT_RECOVERY_MAGIC : (uint8_t)(x >> 24);
        }
        if (round % 2 == 0) { /* or half a frame */
            len = recovery_frame(noise, BOOT_RECOVERY_SETTINGS, settings, sizeof settings);
            len = 1 + (x >> 8) % (len - 1);
        }
        recovery_part_feed(&part, noise, len);
        recovery_part_feed(&part, filler, sizeof filler);
        assert_true(recovery_part_feed(&part, frame, recovery_frame(frame, BOOT_RECOVERY_HELLO, NULL, 0)) > 100);
    }
    assert_int_equal(part.sim.ops, 0);
}

static void damaged_frames_are_not_answered(void **state)
{
    uint8_t frame[BOOT_RECOVERY_FRAME_MAX];
    (void)state;

    fresh(&word);
    assert_int_equal(give_settings(), MP_OK);
    size_t len = recovery_frame(frame, BOOT_RECOVERY_ERASE, "SARE", 4);
    uint64_t ops = part.sim.ops;

    for (size_t bit = 0; bit < 8 * len; bit++) {
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        boot_recovery_init(&part.r, &part.env);
        assert_int_equal(recovery_part_feed(&part, frame, len), 0);
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(part.sim.ops, ops);
}

/* --- power --------------------------------------------------------------------------------------------------------- */

/* Until the part boots image `release`, from whatever it holds. False: the power went. */
static bool provision(unsigned slot, uint32_t release)
{
    struct boot_choice choice;

    if (recovery_part_boot(&part, &choice) == (int)slot && choice.record.release == release)
        return true;
    if (part.sim.is_dead)
        return false;
    int status = boot_has_settings(&part.env.boot) ? MP_OK : give_settings();

    if (status == MP_OK)
        status = recovery_part_install(&part, slot, release, release == 1);
    if (part.sim.is_dead)
        return false;
    assert_int_equal(status, MP_OK);
    return true;
}

enum scene { SCENE_BLANK, SCENE_REPLACED, SCENE_SECOND, SCENE_ERASED, SCENES };

/* What is being cut. False: the power went. */
static bool act(enum scene scene)
{
    switch (scene) {
    case SCENE_BLANK:
        return provision(0, 1);
    case SCENE_REPLACED:
        return provision(0, 3);
    case SCENE_SECOND:
        return provision(1, 3);
    case SCENE_ERASED:
        return erase_all() == MP_OK && provision(1, 1);
    case SCENES:
        break;
    }
    return false;
}

/* After the power came back. */
static void recover(enum scene scene)
{
    struct boot_choice choice;
    int slot = recovery_part_boot(&part, &choice);

    /* What boots is whole: one image or the other, never a mixture (boot_select() hashed it). */
    if (slot >= 0)
        assert_true(choice.record.release == 1 || choice.record.release == 3);
    if (scene == SCENE_SECOND)
        assert_true(slot >= 0);
    if (scene == SCENE_ERASED) {
        assert_int_equal(erase_all(), MP_OK);
        assert_int_equal(recovery_part_boot(&part, NULL), -1);
    }
    assert_true(act(scene));
    expect_boots(scene == SCENE_SECOND || scene == SCENE_ERASED, scene == SCENE_BLANK || scene == SCENE_ERASED ? 1 : 3,
                 scene == SCENE_BLANK || scene == SCENE_ERASED);
}

static void a_cut_anywhere_can_be_recovered_from(void **state)
{
    static struct recovery_part before;
    unsigned cuts = 0;
    (void)state;

    for (unsigned k = 0; k < KINDS; k++)
        for (unsigned scene = 0; scene < SCENES; scene++) {
            fresh(kinds[k]);
            if (scene != SCENE_BLANK)
                assert_true(provision(0, 1));
            before = part;
            assert_true(act((enum scene)scene));
            uint64_t end = part.sim.ops;

            /* Every operation of the beginning and of the end; of the pieces between them, which are alike, some. */
            const uint64_t first = before.sim.ops, step = k + scene == 0 ? 3 : 11;
            for (uint64_t at = first; at < end; at += at < first + 30 || at + 12 >= end ? 1 : step)
                for (unsigned cut = 0; cut < FLASH_SIM_CUTS; cut++) {
                    part = before;
                    flash_sim_cut_at(&part.sim, at, (enum flash_sim_cut)cut);
                    assert_false(act((enum scene)scene) && !part.sim.is_dead);
                    assert_true(part.sim.is_dead);
                    recovery_part_restart(&part);
                    recover((enum scene)scene);
                    cuts++;
                }
        }
    assert_true(cuts > 2500);
}

static struct nf_store node;
static uint8_t node_memory[RIG_MEMORY];

/* The node in slot 0 starts, and takes chunks of image 2 up to position `end`. */
static void fetch(uint32_t end)
{
    const struct rig_image *image = &rig_image[2];

    assert_int_equal(nf_store_init(&node, &part.flash, &part.layout, rig_crypto(), 0, node_memory, sizeof node_memory),
                     MP_OK);
    while (node.work != NF_WORK_NONE)
        assert_true(nf_flash_storage.work(&node) >= 0);
    for (uint32_t p = 0; p < end; p++)
        assert_int_equal(
            nf_flash_store.chunk_put(&node, NF_PLACE_TARGET, p, image->chunk[p], mp_tree_length(&image->tree, p)),
            MP_OK);
}

/* A node fetches half of an image; somebody brings another one into that slot over the line, and power goes; nobody comes
 * back, so the node goes on with its fetch. What recovery was erasing is nothing to build on. */
static void a_fetch_does_not_go_on_in_what_recovery_left(void **state)
{
    static struct recovery_part before;
    unsigned cuts = 0;
    (void)state;

    for (unsigned k = 0; k < KINDS; k++) {
        fresh(kinds[k]);
        assert_int_equal(give_settings(), MP_OK);
        assert_int_equal(recovery_part_install(&part, 0, 1, true), MP_OK);
        assert_int_equal(
            nf_store_init(&node, &part.flash, &part.layout, rig_crypto(), 0, node_memory, sizeof node_memory), MP_OK);
        assert_int_equal(nf_flash_storage.open(&node, rig_image[2].manifest), MP_OK);
        fetch(rig_image[2].tree.positions / 2);
        recovery_part_restart(&part);
        before = part;
        assert_int_equal(recovery_part_install(&part, 1, 3, true), MP_OK);
        const uint64_t end = part.sim.ops;
        for (uint64_t at = before.sim.ops; at + 1 < end; at++)
            for (unsigned cut = 0; cut < FLASH_SIM_CUTS; cut++) {
                part = before;
                flash_sim_cut_at(&part.sim, at, (enum flash_sim_cut)cut);
                recovery_part_install(&part, 1, 3, true);
                assert_true(part.sim.is_dead);
                recovery_part_restart(&part);
                if (recovery_part_boot(&part, NULL) != 0)
                    continue; /* the last operations: it is the home already */
                fetch(0);
                if (node.slot[NF_PLACE_TARGET].sealed)
                    continue;
                fetch(rig_image[2].tree.positions);
                assert_int_equal(boot_image_verify(&node.slot[NF_PLACE_TARGET].image, rig_crypto()), MP_OK);
                cuts++;
            }
    }
    assert_true(cuts > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_blank_part_is_provisioned),
        cmocka_unit_test(hello_says_what_is_there),
        cmocka_unit_test(nothing_is_read_out),
        cmocka_unit_test(settings_are_taken_once),
        cmocka_unit_test(settings_end_what_was_kept),
        cmocka_unit_test(only_what_is_signed_for_this_part_begins),
        cmocka_unit_test(pieces_come_in_order),
        cmocka_unit_test(what_does_not_verify_is_not_sealed),
        cmocka_unit_test(a_wrong_tree_is_no_harm),
        cmocka_unit_test(the_floor_never_sinks_but_by_erasing),
        cmocka_unit_test(erasing_takes_the_word_and_leaves_no_secret),
        cmocka_unit_test(noise_is_skipped),
        cmocka_unit_test(damaged_frames_are_not_answered),
        cmocka_unit_test(a_cut_anywhere_can_be_recovered_from),
        cmocka_unit_test(a_fetch_does_not_go_on_in_what_recovery_left),
    };

    return cmocka_run_group_tests_name("recovery", tests, NULL, NULL);
}
