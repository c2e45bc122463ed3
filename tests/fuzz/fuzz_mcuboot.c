/*
 * Slots, trailers, seals and records with any content under MCUboot. Readers stay within their bounds and return what
 * they may; a start, a request and a confirmation by the rules of flash end as their headers say. And the frame of a
 * signed binary.
 */
#include <stdlib.h>
#include <string.h>

#include "node-fw/port/mcuboot/mcuboot.h"
#include "proto/mp_wire.h"
#include "tests/lib/mcuboot_model.h"
#include "tests/lib/rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SECTOR = 1024, SLOT = 8 * SECTOR, BODY = 700, PROGRAMMED = 1, MEMORY = 64, WINDOWS = 8 };

static const struct {
    uint8_t mode, granule, max_align;
    bool write_once;
} parts[] = {{NF_MCUBOOT_SCRATCH, 4, 8, false},     {NF_MCUBOOT_MOVE, 8, 8, true},
             {NF_MCUBOOT_OFFSET, 4, 8, false},      {NF_MCUBOOT_OVERWRITE, 16, 16, true},
             {NF_MCUBOOT_XIP_REVERT, 4, 32, false}, {NF_MCUBOOT_OFFSET, 32, 32, true}};
enum { PARTS = sizeof parts / sizeof parts[0] };

static struct flash_sim sim, whole[PARTS];
static struct nf_mcuboot_map maps[PARTS], map;
static struct nf_mcuboot m;
static uint8_t memory[MEMORY], payload[BODY + MCUBOOT_MODEL_FRAME], manifest[MP_MANIFEST_SIZE];

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void map_make(unsigned part)
{
    uint32_t at;

    map.shape = (struct nf_mcuboot_shape){.mode = parts[part].mode,
                                          .align = parts[part].granule,
                                          .max_align = parts[part].max_align,
                                          .max_sectors = 10,
                                          .sector = SECTOR};
    map.slot[0] = (struct nf_mcuboot_area){0, SLOT};
    map.slot[1] = (struct nf_mcuboot_area){SLOT, SLOT};
    at = 2 * SLOT;
    map.boot_record = at;
    map.settings = at + 2 * SECTOR;
    map.objects = at + 3 * SECTOR;
    map.objects_size = 8 * SECTOR;
    map.seal[0] = map.seal[1] = 0;
    if (parts[part].mode != NF_MCUBOOT_XIP_REVERT) {
        map.seal[0] = at + 11 * SECTOR;
        map.seal[1] = at + 12 * SECTOR;
    }
}

/* Image 2 sealed in the other slot, as a fetch leaves it. */
static void prepare(unsigned part)
{
    struct nf_layout layout;
    struct mp_manifest fields;
    struct sign_fleet fleet;

    if (whole[part].flash.size == 0) {
        map_make(part);
        maps[part] = map;
        flash_sim_init(&sim, 32 * SECTOR, SECTOR, parts[part].granule, parts[part].write_once);
        check(mcuboot_model_image(payload, 2, BODY, 2, 3) == sizeof payload);
        sign_fleet_make(&fleet);
        sign_manifest_fill(&fields, RIG_MODEL, 2);
        sign_manifest_image(&fields, payload, sizeof payload);
        fields.security_counter = 2;
        sign_manifest(manifest, &fields, &fleet.publisher);
        check(nf_mcuboot_layout(&layout, &map, &sim.flash) == MP_OK);
        check(nf_store_memory(&sim.flash, &layout) <= sizeof memory);
        check(nf_store_install(&sim.flash, &layout, rig_crypto(), 1, manifest, payload, sizeof payload, memory) ==
              MP_OK);
        whole[part] = sim;
    }
    map = maps[part];
    sim = whole[part];
}

/* Where an input writes: both trailers, both headers, the seals, record and object log. */
static uint32_t window(unsigned which)
{
    const uint32_t at[WINDOWS] = {SLOT - 200,      2 * SLOT - 200, 0,           SLOT,
                                  2 * SLOT - 2048, map.seal[0],    map.seal[1], map.boot_record};

    return at[which % WINDOWS];
}

/* Pieces: window u8, offset u8, length u8, bytes. */
static void damage(const uint8_t *data, size_t size)
{
    while (size >= 3) {
        uint32_t at = window(data[0]) + data[1], len = data[2] % 64;

        if ((data[0] & 0x80) != 0)
            flash_sim_damage(&sim, at, 1);
        size -= 3;
        data += 3;
        if (len > size)
            len = (uint32_t)size;
        memcpy(sim.data + at, data, len);
        data += len;
        size -= len;
    }
    for (uint32_t at = 0; at < sim.flash.size; at += sim.flash.granule) {
        uint8_t all = 0xFF;

        for (uint32_t i = 0; i < sim.flash.granule; i++)
            all &= sim.data[at + i];
        if (all != 0xFF)
            sim.state[at / sim.flash.granule] |= PROGRAMMED;
    }
}

static void read_trailers(void)
{
    struct nf_mcuboot_trailer t[2];

    for (unsigned i = 0; i < 2; i++) {
        check(nf_mcuboot_trailer_read(&t[i], &map.shape, &sim.flash, &map.slot[i]) == MP_OK);
        check(t[i].magic <= NF_MCUBOOT_MAGIC_BAD && t[i].image_ok <= NF_MCUBOOT_FLAG_BAD &&
              t[i].copy_done <= NF_MCUBOOT_FLAG_BAD && t[i].image < 16 && t[i].swap_type <= NF_MCUBOOT_SWAP_REVERT);
    }
    enum nf_mcuboot_swap swap = nf_mcuboot_swap_type(&map.shape, &t[0], &t[1]);

    check(swap >= NF_MCUBOOT_SWAP_NONE && swap <= NF_MCUBOOT_SWAP_REVERT);
    if (nf_mcuboot_is_trial(&map.shape, &t[0], &t[1]) && map.shape.mode != NF_MCUBOOT_XIP_REVERT)
        check(swap == NF_MCUBOOT_SWAP_REVERT);
}

static void live(void)
{
    struct boot_record r;
    uint8_t data[MP_CHUNK_SIZE];

    if (nf_mcuboot_init(&m, &sim.flash, &map, rig_crypto(), 0, BOOT_CAUSE_POWER, memory, sizeof memory) != MP_OK)
        return;
    for (uint32_t p = 0; p < 6; p++)
        check(nf_flash_store.chunk_get(&m.store, NF_PLACE_TARGET, p, data) <= MP_CHUNK_SIZE);
    if (m.storage.boot_read(&m.store, &r) == MP_OK && r.state == BOOT_PENDING)
        check(m.storage.boot_abort(&m.store, MP_REASON_STORAGE) == MP_OK);
    if (m.storage.boot_read(&m.store, &r) == MP_OK && r.state == BOOT_TRIAL)
        m.storage.boot_confirm(&m.store, 2);
    if (m.storage.boot_request(&m.store, manifest, 60, false) != MP_OK)
        return;
    /* It was possible, so it is asked for, and can be withdrawn. */
    check(m.storage.boot_read(&m.store, &r) == MP_OK && r.state == BOOT_PENDING);
    check(m.storage.boot_abort(&m.store, MP_REASON_OTHER) == MP_OK);
    check(m.storage.boot_read(&m.store, &r) == MP_OK && r.state == BOOT_CONFIRMED);
}

struct reader {
    const uint8_t *data;
    size_t size;
};

static int read_input(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    const struct reader *r = ctx;

    check(offset <= r->size && len <= r->size - offset);
    memcpy(data, r->data + offset, len);
    return MP_OK;
}

static void parse_image(const uint8_t *data, size_t size)
{
    struct nf_mcuboot_image image;
    struct reader r = {data, size};

    if (nf_mcuboot_image_get(&image, read_input, &r, (uint32_t)size) != MP_OK)
        return;
    check(image.size == size && image.header_size >= 32 && image.image_size < size);
}

/* Input 0: the part, or above: an image. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (data[0] >= PARTS) {
        parse_image(data + 1, size - 1);
        return 0;
    }
    prepare(data[0]);
    damage(data + 1, size - 1);
    read_trailers();
    live();
    return 0;
}
