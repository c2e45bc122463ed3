#include "mcuboot_model.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "proto/mp_wire.h"

enum { PROGRAMMED = 1, SECTORS = 64 };

static const uint8_t image_magic[4] = {0x3D, 0xB8, 0xF3, 0x96};

uint32_t mcuboot_model_image(uint8_t *out, uint8_t major, uint32_t body, uint32_t counter, uint8_t seed)
{
    uint32_t n = MCUBOOT_MODEL_HEADER + body;

    memset(out, 0, MCUBOOT_MODEL_HEADER);
    memcpy(out, image_magic, sizeof image_magic);
    mp_put16(out + 8, MCUBOOT_MODEL_HEADER);
    mp_put16(out + 10, 12);
    mp_put32(out + 12, body);
    out[20] = major;
    for (uint32_t i = 0; i < body; i++)
        out[MCUBOOT_MODEL_HEADER + i] = (uint8_t)(i * 37 + i / 253 + seed);
    mp_put16(out + n, 0x6908);
    mp_put16(out + n + 2, 12);
    mp_put16(out + n + 4, 0x50);
    mp_put16(out + n + 6, 4);
    mp_put32(out + n + 8, counter);
    n += 12;
    mp_put16(out + n, 0x6907);
    mp_put16(out + n + 2, 40);
    mp_put16(out + n + 4, 0x10);
    mp_put16(out + n + 6, 32);
    crypto_hash_sha256(out + n + 8, out, n);
    return n + 40;
}

/* --- what lies in a slot ------------------------------------------------------------------------------------------ */

struct place {
    uint8_t *data;
    uint32_t size;
};

static struct place place_of(struct flash_sim *sim, const struct nf_mcuboot_map *map, unsigned slot, uint32_t offset)
{
    return (struct place){sim->data + map->slot[slot].address + offset, map->slot[slot].size - offset};
}

static bool has_header(struct place p)
{
    return memcmp(p.data, image_magic, sizeof image_magic) == 0;
}

/* Bytes of the image with TLVs when it verifies, else 0. */
static uint32_t valid_size(struct place p)
{
    uint8_t hash[32];
    uint32_t body = mp_get32(p.data + 12);

    if (!has_header(p) || body > p.size - MCUBOOT_MODEL_FRAME)
        return 0;
    uint32_t n = MCUBOOT_MODEL_HEADER + body + mp_get16(p.data + 10);

    if (n + 40 > p.size || mp_get16(p.data + n) != 0x6907 || mp_get16(p.data + n + 4) != 0x10)
        return 0;
    crypto_hash_sha256(hash, p.data, n);
    return memcmp(hash, p.data + n + 8, 32) == 0 ? n + 40 : 0;
}

/* --- what is written ---------------------------------------------------------------------------------------------- */

/* Flash that MCUboot erased or programmed: whole, and as full as its bytes. */
static void settle_state(struct flash_sim *sim, uint32_t address, uint32_t len)
{
    const uint32_t granule = sim->flash.granule;

    if (granule == 0)
        abort();
    for (uint32_t at = address; at < address + len; at += granule) {
        uint8_t all = 0xFF;

        for (uint32_t i = 0; i < granule; i++)
            all &= sim->data[at + i];
        sim->state[at / granule] = all == 0xFF ? 0 : PROGRAMMED;
    }
}

static void erase(struct flash_sim *sim, uint32_t address, uint32_t len)
{
    memset(sim->data + address, 0xFF, len);
    settle_state(sim, address, len);
}

static uint8_t *field(struct flash_sim *sim, const struct nf_mcuboot_area *slot, uint32_t before)
{
    return sim->data + slot->address + slot->size - before;
}

static const struct {
    uint8_t align;
    uint8_t magic[16];
} magics[] = {
    {8, {0x77, 0xC2, 0x95, 0xF3, 0x60, 0xD2, 0xEF, 0x7F, 0x35, 0x52, 0x50, 0x0F, 0x2C, 0xB6, 0x79, 0x80}},
    {16, {16, 0, 0x2D, 0xE1, 0x5D, 0x29, 0x41, 0x0B, 0x8D, 0x77, 0x67, 0x9C, 0x11, 0x0F, 0x1F, 0x8A}},
    {32, {32, 0, 0x2D, 0xE1, 0x5D, 0x29, 0x41, 0x0B, 0x8D, 0x77, 0x67, 0x9C, 0x11, 0x0F, 0x1F, 0x8A}},
};

static void trailers_after_swap(struct flash_sim *sim, const struct nf_mcuboot_map *map, enum nf_mcuboot_swap swap,
                                uint32_t size)
{
    struct nf_mcuboot_fields f;
    uint32_t reserved = nf_mcuboot_reserved(&map->shape);

    nf_mcuboot_fields(&f, &map->shape);
    for (unsigned i = 0; i < 2; i++)
        erase(sim, map->slot[i].address + map->slot[i].size - reserved, reserved);
    mp_put32(field(sim, &map->slot[0], f.swap_size), size);
    if (f.tlv_sizes != 0)
        mp_put32(field(sim, &map->slot[0], f.tlv_sizes), 40u << 16 | 40u);
    *field(sim, &map->slot[0], f.swap_info) = (uint8_t)swap;
    *field(sim, &map->slot[0], f.copy_done) = 1;
    if (swap != NF_MCUBOOT_SWAP_TEST)
        *field(sim, &map->slot[0], f.image_ok) = 1;
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++)
        if (magics[i].align == map->shape.max_align)
            memcpy(field(sim, &map->slot[0], f.magic), magics[i].magic, 16);
    settle_state(sim, map->slot[0].address, map->slot[0].size);
    settle_state(sim, map->slot[1].address, map->slot[1].size);
}

/* --- booting ------------------------------------------------------------------------------------------------------ */

static void exchange(uint8_t *a, uint8_t *b, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        uint8_t t = a[i];
        a[i] = b[i];
        b[i] = t;
    }
}

/* Swap-offset: the new image comes from one sector higher, the old one goes to the start; back again the other way. */
static void exchange_offset(uint8_t *primary, uint8_t *secondary, uint32_t sectors, uint32_t sector, bool is_revert)
{
    static uint8_t old[SECTORS * 1024];

    if ((sectors + 1) * sector > sizeof old)
        abort();
    memcpy(old, primary, sectors * sector);
    memcpy(primary, secondary + (is_revert ? 0 : sector), sectors * sector);
    memcpy(secondary + (is_revert ? sector : 0), old, sectors * sector);
    if (is_revert)
        memset(secondary, 0xFF, sector);
}

static void swap_images(struct flash_sim *sim, const struct nf_mcuboot_map *map, enum nf_mcuboot_swap swap)
{
    uint32_t sector = map->shape.sector;

    if (sector == 0)
        abort();
    bool is_revert = swap == NF_MCUBOOT_SWAP_REVERT;
    struct place a = place_of(sim, map, 0, 0);
    struct place b = place_of(sim, map, 1, map->shape.mode == NF_MCUBOOT_OFFSET && !is_revert ? sector : 0);
    uint32_t size_a = valid_size(a), size_b = valid_size(b), size = size_a > size_b ? size_a : size_b;
    uint32_t sectors = (size + sector - 1) / sector;

    if (map->shape.mode == NF_MCUBOOT_OFFSET)
        exchange_offset(a.data, place_of(sim, map, 1, 0).data, sectors, sector, is_revert);
    else
        exchange(a.data, b.data, sectors * sector);
    trailers_after_swap(sim, map, swap, size);
}

static void overwrite(struct flash_sim *sim, const struct nf_mcuboot_map *map)
{
    const struct nf_mcuboot_area *from = &map->slot[1];

    memcpy(sim->data + map->slot[0].address, sim->data + from->address, from->size);
    settle_state(sim, map->slot[0].address, map->slot[0].size);
    erase(sim, from->address, map->shape.sector);
    erase(sim, from->address + from->size - map->shape.sector, map->shape.sector);
}

static int boot_moving(struct flash_sim *sim, const struct nf_mcuboot_map *map)
{
    struct nf_mcuboot_trailer t[2];

    for (unsigned i = 0; i < 2; i++)
        if (nf_mcuboot_trailer_read(&t[i], &map->shape, &sim->flash, &map->slot[i]) != MP_OK)
            abort();
    enum nf_mcuboot_swap swap = nf_mcuboot_swap_type(&map->shape, &t[0], &t[1]);
    bool is_new = swap == NF_MCUBOOT_SWAP_TEST || swap == NF_MCUBOOT_SWAP_PERM;
    uint32_t offset = map->shape.mode == NF_MCUBOOT_OFFSET ? map->shape.sector : 0;

    /* A header in the sector that swap-offset leaves free is taken for an image in the wrong place. */
    bool is_bad =
        valid_size(place_of(sim, map, 1, offset)) == 0 || (offset != 0 && has_header(place_of(sim, map, 1, 0)));

    if (is_new && is_bad)
        erase(sim, map->slot[1].address, map->slot[1].size);
    else if (is_new && map->shape.mode == NF_MCUBOOT_OVERWRITE)
        overwrite(sim, map);
    else if (swap != NF_MCUBOOT_SWAP_NONE && map->shape.mode != NF_MCUBOOT_OVERWRITE)
        swap_images(sim, map, swap);
    return valid_size(place_of(sim, map, 0, 0)) > 0 ? 0 : -1;
}

/* The highest version that may run; what was not asked for, not confirmed in time or does not verify is erased. */
static int boot_in_place(struct flash_sim *sim, const struct nf_mcuboot_map *map)
{
    struct nf_mcuboot_fields f;
    struct nf_mcuboot_trailer t;

    nf_mcuboot_fields(&f, &map->shape);
    for (unsigned tries = 0; tries < 2; tries++) {
        bool has[2] = {has_header(place_of(sim, map, 0, 0)), has_header(place_of(sim, map, 1, 0))};
        unsigned slot = has[1] && (!has[0] || place_of(sim, map, 1, 0).data[20] > place_of(sim, map, 0, 0).data[20]);

        if (!has[slot] || nf_mcuboot_trailer_read(&t, &map->shape, &sim->flash, &map->slot[slot]) != MP_OK)
            return -1;
        if (t.magic == NF_MCUBOOT_MAGIC_GOOD &&
            (t.copy_done != NF_MCUBOOT_FLAG_SET || t.image_ok == NF_MCUBOOT_FLAG_SET) &&
            valid_size(place_of(sim, map, slot, 0)) > 0) {
            *field(sim, &map->slot[slot], f.copy_done) = 1;
            settle_state(sim, map->slot[slot].address, map->slot[slot].size);
            return (int)slot;
        }
        erase(sim, map->slot[slot].address, map->slot[slot].size);
    }
    return -1;
}

int mcuboot_model_boot(struct flash_sim *sim, const struct nf_mcuboot_map *map)
{
    if (sim->is_sparse)
        abort();
    return map->shape.mode == NF_MCUBOOT_XIP_REVERT ? boot_in_place(sim, map) : boot_moving(sim, map);
}
