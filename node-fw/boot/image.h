/*
 * Reading a slot: where a payload, its tree and its seal lie, and whether the image verifies (docs/SPEC.md section 13).
 *
 * A slot is `slot_size` bytes of whole pages:
 *
 *     [leaves, 192 bytes each][to a page boundary][interior chunks by position, 192 bytes each] ... [last page: seal]
 *
 * The leaves are the payload `[relocation list][image]`, contiguous, with the listed words relocated to where this slot
 * lies; every read here gives them back in canonical form. The seal is the manifest, its CRC-32 and fill; it is there
 * only if the whole image verified once. Where another bootloader moves images between the slots, the layout keeps the
 * seals in pages of their own, and leaves and tree may take all of the slot. The bootloader reads slots through this
 * header alone; store/slot.h writes them. Reentrant, no globals, no allocation.
 */
#ifndef BOOT_IMAGE_H
#define BOOT_IMAGE_H

#include "node-fw/store/flash.h"
#include "proto/object/manifest.h"
#include "proto/object/reloc.h"
#include "proto/object/tree.h"

#define BOOT_SEAL_SIZE 224 /* manifest 200, CRC 4, 0xFF to a multiple of 32 */

/* First word of a seal's page while serial recovery writes the slot: it erases and writes pages without the object log,
 * so whatever was fetched into them before counts no more. Not the beginning of any manifest. */
#define BOOT_SEAL_TAKEN 0x4E4B5459u

/* One slot, opened for a payload. Caller-allocated; flash and layout must outlive it. */
struct boot_image {
    const struct nf_flash *flash;
    uint32_t address;     /* of the slot */
    uint32_t base;        /* address the CPU sees the slot at */
    uint32_t tree_offset; /* of the first interior chunk within the slot */
    uint32_t seal;        /* address of the seal's page */
    bool relocates;       /* the slots lie at different bases, so the payload may carry a list */
    bool list_known;      /* reloc was read and checked */
    struct mp_reloc_header reloc;
    struct mp_reloc_mark *mark; /* of whoever reads the payload from front to back; NULL: nobody does */
    struct mp_manifest manifest;
    uint8_t id[8];
    struct mp_tree tree;
};

/* Largest canonical payload that a slot of this layout can hold, in bytes (tree and seal subtracted). */
uint32_t boot_image_capacity(const struct nf_flash *flash, const struct nf_layout *layout);

/*
 * Describes slot 0 or 1 as the place of this manifest's payload; reads nothing. data is the 200-byte manifest.
 * 0, MP_ERR_FORMAT (not a manifest), MP_ERR_ROOM (does not fit the slot).
 */
int boot_image_describe(struct boot_image *image, const struct nf_flash *flash, const struct nf_layout *layout,
                        unsigned slot, const struct mp_crypto *crypto, const uint8_t data[MP_MANIFEST_SIZE]);

/* Reads the seal of a slot into data. 0, MP_ERR_ABSENT (blank or torn), MP_ERR_STORE. */
int boot_image_seal(const struct nf_flash *flash, const struct nf_layout *layout, unsigned slot,
                    uint8_t data[MP_MANIFEST_SIZE]);

/* Is the slot taken, as BOOT_SEAL_TAKEN says? */
bool boot_image_is_taken(const struct nf_flash *flash, const struct nf_layout *layout, unsigned slot);

/* Encodes a seal: manifest and CRC; the rest of the 224 bytes is left as it is. */
void boot_image_seal_put(uint8_t seal[BOOT_SEAL_SIZE], const uint8_t manifest[MP_MANIFEST_SIZE]);

/*
 * Opens a sealed slot: seal, geometry, relocation list. Does not hash the image. manifest (may be NULL) receives the
 * seal's 200 bytes. 0, MP_ERR_ABSENT (no seal), MP_ERR_FORMAT, MP_ERR_ROOM, MP_ERR_STORE.
 */
int boot_image_open(struct boot_image *image, const struct nf_flash *flash, const struct nf_layout *layout,
                    unsigned slot, const struct mp_crypto *crypto, uint8_t manifest[MP_MANIFEST_SIZE]);

/* Parses the relocation list in flash, once all chunks that hold it are there. 0, MP_ERR_FORMAT, MP_ERR_LENGTH,
 * MP_ERR_STORE. */
int boot_image_list(struct boot_image *image);

/* Bytes of the payload before the image proper (the relocation list): where the executable starts. 0 unless the list is
 * known. */
uint32_t boot_image_start(const struct boot_image *image);

/* Reads payload bytes in canonical form; offset and len multiples of 4 unless len ends the payload. 0, MP_ERR_LENGTH
 * (outside), MP_ERR_STORE, MP_ERR_FORMAT (list). */
int boot_image_read(const struct boot_image *image, uint32_t offset, uint8_t *data, size_t len);

/* Full SHA-256 of the canonical payload against the manifest. 0, MP_ERR_CHUNK (differs), MP_ERR_STORE. */
int boot_image_verify(const struct boot_image *image, const struct mp_crypto *crypto);

/* Flash address of the chunk at a position below tree.positions. */
uint32_t boot_image_chunk_address(const struct boot_image *image, uint32_t position);
/* Flash address of the seal's page. */
uint32_t boot_image_seal_address(const struct nf_flash *flash, const struct nf_layout *layout, unsigned slot);

#endif
