/*
 * Parts as the tool knows them, and the whole contents of a new one's flash: settings, a signed image with tree and
 * seal, and the boot record, as Intel HEX for a programmer.
 */
#ifndef MD_PART_H
#define MD_PART_H

#include "hex.h"
#include "node-fw/store/flash.h"
#include "proto/mp_types.h"

#define MD_PART_TEXT_MAX 8192

struct md_part {
    uint32_t flash_base; /* address of flash offset 0, for the programmer */
    uint32_t flash_size, page_size, granule;
    uint32_t boot, boot_size; /* region of the bootloader; size 0: not said */
    struct nf_layout layout;
};

/* A part by its name: "nrf51". False: no such name. */
bool md_part_named(struct md_part *part, const char *name);
/*
 * A description: lines "name = number" (decimal, 0x..., or with K for 1,024), '#' begins a comment. Names: flash_size,
 * page_size, granule, boot_record, settings, objects, objects_size, slot_a, slot_b, slot_size; may be left out:
 * flash_base (0), boot and boot_size, slot_base_a and slot_base_b (flash_base + slot), seal_a and seal_b. 0 or
 * MP_ERR_FORMAT with a sentence.
 */
int md_part_parse(struct md_part *part, const char *text, size_t len, char *error, size_t error_size);
/* A name, or the path of a description. 0, MP_ERR_FORMAT, MP_ERR_STORE, with a sentence. */
int md_part_load(struct md_part *part, const char *name_or_path, char *error, size_t error_size);

/* A settings record, and the image that is to run. */
struct md_material {
    const uint8_t *settings; /* 360 bytes, checked */
    const uint8_t *manifest; /* 200 bytes, checked */
    const uint8_t *payload;
    uint32_t size;
};

/*
 * Puts a new part's flash into a hex. Of the pages for record, settings, object log and seals every byte is there, so
 * that a programmer erases them; of the slot what the image takes. 0, MP_ERR_ROOM (does not fit a slot, no memory),
 * MP_ERR_CHUNK (not the manifest's payload), MP_ERR_FORMAT, MP_ERR_DUPLICATE (the hex has something there already), with
 * a sentence.
 */
int md_part_flash(struct md_hex *hex, const struct md_part *part, const struct mp_crypto *crypto,
                  const struct md_material *material, char *error, size_t error_size);

/* Puts a bootloader into it: Intel HEX, or the bytes that lie at the start of its region. Nothing of it may lie in the
 * rest of flash; what lies outside of flash (fuses) is taken over. 0 or MP_ERR_..., with a sentence. */
int md_part_bootloader(struct md_hex *hex, const struct md_part *part, const uint8_t *file, size_t len, char *error,
                       size_t error_size);

#endif
