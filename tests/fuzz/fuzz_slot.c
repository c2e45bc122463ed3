/*
 * Slots with any content. As a sealed slot: bootloader and store open, read and serve whatever lies there, within its
 * bounds. As a fetch that was interrupted: an image with any damage is scanned, no chunk counts as held that is not the
 * signed one, and fetching the rest always ends with the signed image, by the rules of flash.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/mp_wire.h"
#include "proto/object/settings.h"
#include "tests/lib/rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PARTS = 2, IMAGE = 2, PROGRAMMED = 1, PASSES = 40 };

static const struct rig_part parts[PARTS] = {
    {.name = "word", .page_size = 1024, .granule = 4},
    {.name = "once", .page_size = 2048, .granule = 8, .write_once = true, .relocates = true}};
static struct rig whole[PARTS], rig; /* image 2 is in slot 1 of the first two */
static struct rig_image images[PARTS];
static const struct rig_image *image2;

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void prepare(unsigned part)
{
    if (images[part].size == 0) {
        rig_images(&parts[part], NULL);
        images[part] = rig_image[IMAGE];
        rig_init(&rig, &parts[part]);
        check(nf_store_install(&rig.sim.flash, &rig.layout, rig_crypto(), 1, images[part].manifest,
                               images[part].payload, images[part].size, rig.memory) == MP_OK);
        whole[part] = rig;
    }
    image2 = &images[part];
    rig = whole[part];
}

static uint8_t *slot_data(void)
{
    return rig.sim.data + rig.layout.slot[1];
}

/* Flash that was not written through the driver: programmed where it is not blank. (That what reads blank beside
 * verified chunks was never programmed is what the store's markers see to; the power-cut tests try that.) */
static void note_programmed(void)
{
    uint32_t granule = rig.sim.flash.granule;

    check(granule != 0);
    for (uint32_t at = rig.layout.slot[1]; at < rig.layout.slot[1] + rig.layout.slot_size; at += granule) {
        uint8_t all = 0xFF;

        for (uint32_t i = 0; i < granule; i++)
            all &= rig.sim.data[at + i];
        rig.sim.state[at / granule] &= (uint8_t)~PROGRAMMED;
        rig.sim.state[at / granule] |= all == 0xFF ? 0 : PROGRAMMED;
    }
}

/* --- sealed ------------------------------------------------------------------------------------------------------- */

static void open_sealed(const uint8_t *data, size_t size)
{
    struct boot_image image;
    struct nf_slot slot;
    uint8_t buf[MP_CHUNK_SIZE], *seal = slot_data() + rig.layout.slot_size - rig.sim.flash.page_size;

    /* The first bytes overwrite fields of a good manifest, the rest the start of the payload. */
    for (size_t i = 0; i + 1 < size && i < 16; i += 2)
        seal[data[i] % MP_MANIFEST_SIZE] = data[i + 1];
    mp_put32(seal + MP_MANIFEST_SIZE, mp_crc32(seal, MP_MANIFEST_SIZE));
    if (size > 16)
        memcpy(slot_data(), data + 16, size - 16 < rig.layout.slot_size / 2 ? size - 16 : rig.layout.slot_size / 2);
    if (boot_image_open(&image, &rig.sim.flash, &rig.layout, 1, rig_crypto(), NULL) == MP_OK) {
        for (uint32_t at = 0; at < image.manifest.image_size; at += 333)
            boot_image_read(&image, at, buf, sizeof buf);
        check(boot_image_start(&image) <= image.manifest.image_size);
        boot_image_verify(&image, rig_crypto());
    }
    nf_slot_init(&slot, &rig.sim.flash, &rig.layout, rig_crypto(), rig.memory);
    if (nf_slot_open_sealed(&slot, &rig.layout, 1) == MP_OK)
        for (uint32_t position = 0; position <= slot.image.tree.positions; position += 3)
            check(nf_slot_get(&slot, position, buf) <= MP_CHUNK_SIZE);
}

/* --- interrupted -------------------------------------------------------------------------------------------------- */

static void damage(const uint8_t *data, size_t size)
{
    for (; size >= 5; data += 5, size -= 5) {
        uint32_t at = mp_get16(data) % rig.layout.slot_size, len = data[2] * (1u + data[3] % 8);

        for (uint32_t i = 0; i < len && at + i < rig.layout.slot_size; i++)
            slot_data()[at + i] = data[3] & 0x80 ? (uint8_t)(slot_data()[at + i] ^ data[4]) : data[4];
        if (data[3] & 0x40)
            flash_sim_damage(&rig.sim, rig.layout.slot[1] + at, 1);
    }
    note_programmed();
}

static void check_held(const struct nf_slot *slot)
{
    uint8_t buf[MP_CHUNK_SIZE];

    for (uint32_t position = 0; position < slot->image.tree.positions; position++) {
        int len = nf_slot_get(slot, position, buf);

        if (len >= 0)
            check(len == (int)mp_tree_length(&slot->image.tree, position) &&
                  memcmp(buf, image2->chunk[position], (size_t)len) == 0);
    }
}

static void put(struct nf_slot *slot, uint32_t position)
{
    unsigned len = mp_tree_length(&slot->image.tree, position);
    long result = nf_slot_put(slot, position, image2->chunk[position], len);

    if (result > 0) {
        check(nf_slot_erase_page(slot, (uint32_t)result - 1) == MP_OK);
        return; /* it comes again */
    }
    check(result == MP_OK || result == MP_ERR_PARENT);
}

static void fetch_rest(void)
{
    struct nf_slot slot;

    nf_slot_init(&slot, &rig.sim.flash, &rig.layout, rig_crypto(), rig.memory);
    check(nf_slot_open(&slot, &rig.layout, 1, image2->manifest) == MP_OK);
    nf_slot_scan(&slot);
    check_held(&slot);
    for (unsigned pass = 0; pass < PASSES && !nf_slot_is_complete(&slot); pass++)
        for (uint32_t position = 0; position < slot.image.tree.positions; position++)
            put(&slot, position);
    check(nf_slot_is_complete(&slot));
    check_held(&slot);
    check(boot_image_verify(&slot.image, rig_crypto()) == MP_OK);
    check(nf_slot_seal(&slot, &rig.layout, 1, image2->manifest) == MP_OK);
}

/* Input 0: bit 0 the part, bit 1 sealed or interrupted. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    prepare(data[0] & 1);
    if ((data[0] & 2) != 0) {
        open_sealed(data + 1, size - 1);
    } else {
        damage(data + 1, size - 1);
        fetch_rest();
    }
    return 0;
}
