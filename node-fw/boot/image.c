#include "image.h"

#include <string.h>

#include "proto/mp_wire.h"
#include "proto/object/settings.h"

enum { SEAL_CRC_AT = MP_MANIFEST_SIZE, VERIFY_STEP = MP_CHUNK_SIZE };

static uint32_t align_up(uint32_t value, uint32_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static uint32_t leaf_bytes(uint32_t size)
{
    return (size + MP_CHUNK_SIZE - 1) / MP_CHUNK_SIZE * MP_CHUNK_SIZE;
}

/* Do the seals lie outside the slots? */
static bool is_seal_apart(const struct nf_layout *layout)
{
    return layout->seal[0] != layout->seal[1];
}

/* Does a payload of this size fit a slot of this layout with its tree and seal? */
static bool fits(const struct nf_flash *flash, const struct nf_layout *layout, uint32_t size)
{
    if (size == 0 || size > MP_IMAGE_MAX || layout->slot_size <= flash->page_size)
        return false;
    uint32_t leaves = leaf_bytes(size);
    uint32_t interior = mp_tree_positions(size) * MP_CHUNK_SIZE - leaves;

    uint32_t room = layout->slot_size - (is_seal_apart(layout) ? 0 : flash->page_size);

    return align_up(leaves, flash->page_size) + interior <= room;
}

uint32_t boot_image_capacity(const struct nf_flash *flash, const struct nf_layout *layout)
{
    uint32_t size = layout->slot_size < MP_IMAGE_MAX ? layout->slot_size : MP_IMAGE_MAX;

    size -= size % MP_CHUNK_SIZE;
    while (size > 0 && !fits(flash, layout, size))
        size -= MP_CHUNK_SIZE;
    return size;
}

int boot_image_describe(struct boot_image *image, const struct nf_flash *flash, const struct nf_layout *layout,
                        unsigned slot, const struct mp_crypto *crypto, const uint8_t data[MP_MANIFEST_SIZE])
{
    memset(image, 0, sizeof *image);
    int error = mp_manifest_get(&image->manifest, data, MP_MANIFEST_SIZE);

    if (error != 0 || image->manifest.kind != MP_PAYLOAD_FULL)
        return MP_ERR_FORMAT;
    if (!fits(flash, layout, image->manifest.image_size))
        return MP_ERR_ROOM;
    mp_tree_init(&image->tree, image->manifest.image_size);
    mp_manifest_id(crypto, data, image->id);
    image->flash = flash;
    image->address = layout->slot[slot & 1];
    image->base = layout->slot_base[slot & 1];
    image->relocates = layout->slot_base[0] != layout->slot_base[1];
    image->tree_offset = align_up(leaf_bytes(image->manifest.image_size), flash->page_size);
    image->seal = boot_image_seal_address(flash, layout, slot);
    return MP_OK;
}

uint32_t boot_image_seal_address(const struct nf_flash *flash, const struct nf_layout *layout, unsigned slot)
{
    if (is_seal_apart(layout))
        return layout->seal[slot & 1];
    return layout->slot[slot & 1] + layout->slot_size - flash->page_size;
}

int boot_image_seal(const struct nf_flash *flash, const struct nf_layout *layout, unsigned slot,
                    uint8_t data[MP_MANIFEST_SIZE])
{
    uint8_t seal[MP_MANIFEST_SIZE + 4];
    int error = flash->read(flash->ctx, boot_image_seal_address(flash, layout, slot), seal, sizeof seal);

    /* Uncorrectable is what a cut leaves of a seal, so it counts as none. */
    if (error != NF_FLASH_OK)
        return error == NF_FLASH_UNCORRECTABLE ? MP_ERR_ABSENT : MP_ERR_STORE;
    if (mp_crc32(seal, SEAL_CRC_AT) != mp_get32(seal + SEAL_CRC_AT))
        return MP_ERR_ABSENT;
    memcpy(data, seal, MP_MANIFEST_SIZE);
    return MP_OK;
}

bool boot_image_is_taken(const struct nf_flash *flash, const struct nf_layout *layout, unsigned slot)
{
    uint8_t word[4];

    return flash->read(flash->ctx, boot_image_seal_address(flash, layout, slot), word, sizeof word) == NF_FLASH_OK &&
           mp_get32(word) == BOOT_SEAL_TAKEN;
}

void boot_image_seal_put(uint8_t seal[BOOT_SEAL_SIZE], const uint8_t manifest[MP_MANIFEST_SIZE])
{
    memcpy(seal, manifest, MP_MANIFEST_SIZE);
    mp_put32(seal + SEAL_CRC_AT, mp_crc32(seal, SEAL_CRC_AT));
}

int boot_image_open(struct boot_image *image, const struct nf_flash *flash, const struct nf_layout *layout,
                    unsigned slot, const struct mp_crypto *crypto, uint8_t manifest[MP_MANIFEST_SIZE])
{
    uint8_t seal[MP_MANIFEST_SIZE];
    int error = boot_image_seal(flash, layout, slot, seal);

    if (error == MP_OK)
        error = boot_image_describe(image, flash, layout, slot, crypto, seal);
    if (error == MP_OK)
        error = boot_image_list(image);
    if (error == MP_OK && manifest != NULL)
        memcpy(manifest, seal, MP_MANIFEST_SIZE);
    return error;
}

/* The list itself is never relocated, so it is read as it lies in flash. */
static int read_raw(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    const struct boot_image *image = *(const struct boot_image *const *)ctx;

    if (image->flash->read(image->flash->ctx, image->address + offset, data, len) != NF_FLASH_OK)
        return MP_ERR_STORE;
    return MP_OK;
}

int boot_image_list(struct boot_image *image)
{
    const struct boot_image *self = image;

    image->list_known = false;
    if (image->relocates) {
        int error = mp_reloc_check(&image->reloc, read_raw, &self, image->manifest.image_size);
        if (error != MP_OK)
            return error;
    }
    image->list_known = true;
    return MP_OK;
}

uint32_t boot_image_start(const struct boot_image *image)
{
    return image->list_known ? image->reloc.list_size : 0;
}

static int read_on(const struct boot_image *image, uint32_t offset, uint8_t *data, size_t len,
                   struct mp_reloc_mark *mark)
{
    if (offset > image->manifest.image_size || len > image->manifest.image_size - offset)
        return MP_ERR_LENGTH;
    int error = read_raw(&image, offset, data, len);

    if (error != MP_OK || !image->list_known || image->reloc.count == 0)
        return error;
    return mp_reloc_apply(&image->reloc, read_raw, &image, 0 - mp_reloc_distance(&image->reloc, image->base), offset,
                          data, len, mark);
}

int boot_image_read(const struct boot_image *image, uint32_t offset, uint8_t *data, size_t len)
{
    return read_on(image, offset, data, len, image->mark);
}

int boot_image_verify(const struct boot_image *image, const struct mp_crypto *crypto)
{
    struct mp_sha256 state;
    struct mp_reloc_mark mark = {0, 0, 0};
    uint8_t buf[VERIFY_STEP];
    uint32_t size = image->manifest.image_size;

    crypto->sha256_init(&state);
    for (uint32_t offset = 0; offset < size; offset += VERIFY_STEP) {
        uint32_t n = size - offset < VERIFY_STEP ? size - offset : VERIFY_STEP;
        int error = read_on(image, offset, buf, n, &mark);
        if (error != MP_OK)
            return MP_ERR_STORE;
        crypto->sha256_update(&state, buf, n);
    }
    crypto->sha256_final(&state, buf);
    return memcmp(buf, image->manifest.image_sha256, 32) == 0 ? MP_OK : MP_ERR_CHUNK;
}

uint32_t boot_image_chunk_address(const struct boot_image *image, uint32_t position)
{
    uint32_t leaves = image->tree.first[0];

    if (position >= leaves)
        return image->address + (position - leaves) * MP_CHUNK_SIZE;
    return image->address + image->tree_offset + position * MP_CHUNK_SIZE;
}
