/*
 * Flash seam: the one way by which boot/, store/ and core/ touch non-volatile memory. A port supplies it.
 *
 * Rules, the same for every part: a page is erased to all ones before it is programmed; program() writes whole
 * granules, aligned; with `write_once` a granule is programmed at most once between erases (parts with ECC), otherwise
 * bits may only go from 1 to 0; read() may answer "uncorrectable" for any range that a power cut left half written. A
 * range that was erased only partly may read blank: after a reset, never program a page whose contents were not
 * verified without erasing it again. A granule whose program was cut may read blank, too, and not take another one: what
 * was programmed counts when it reads back, not before.
 *
 * Erased flash reads as ones on most parts, and there a granule of ones is left erased. Behind transparent encryption
 * it reads as what the cipher makes of ones, also to the CPU that executes from it; such a port supplies is_blank(),
 * which looks at the flash itself (ESP-IDF: esp_flash_read() or esp_partition_read_raw(), against the decrypting
 * esp_flash_read_encrypted() and esp_partition_read()). Then nothing is concluded from ones that read() gives, and
 * granules of ones are programmed like any other.
 */
#ifndef NF_FLASH_H
#define NF_FLASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum nf_flash_error {
    NF_FLASH_OK = 0,
    NF_FLASH_UNCORRECTABLE = -1, /* read: the part could not correct these bytes; data is undefined */
    NF_FLASH_RANGE = -2,         /* outside the part, or not aligned */
    NF_FLASH_FAILED = -3         /* program or erase did not complete */
};

struct nf_flash {
    void *ctx;
    uint32_t size;      /* bytes; addresses run from 0 */
    uint32_t page_size; /* bytes of an erase unit: 1,024 to 8,192, a power of two */
    uint32_t granule;   /* bytes of a program unit: 4, 8, 16 or 32 */
    bool write_once;    /* a granule takes one program between erases */
    int (*read)(void *ctx, uint32_t address, void *data, size_t len);
    int (*program)(void *ctx, uint32_t address, const void *data, size_t len);
    int (*erase)(void *ctx, uint32_t address); /* one page, address of its first byte */
    /* True when every granule that the range touches is erased, as far as the flash can tell; false when that cannot be
     * read. NULL: erased flash reads as ones. */
    bool (*is_blank)(void *ctx, uint32_t address, size_t len);
};

/* Is this range erased? data: what read() just gave of it. */
static inline bool nf_flash_is_blank(const struct nf_flash *flash, uint32_t address, const uint8_t *data, size_t len)
{
    uint8_t all = 0xFF;

    if (flash->is_blank != NULL)
        return flash->is_blank(flash->ctx, address, len);
    for (size_t i = 0; i < len; i++)
        all &= data[i];
    return all == 0xFF;
}

/* Where things lie. All addresses and sizes are multiples of page_size; regions do not overlap. */
struct nf_layout {
    uint32_t boot_record;  /* two pages */
    uint32_t settings;     /* one page: provisioning record, written once */
    uint32_t objects;      /* object log */
    uint32_t objects_size; /* at least four pages */
    uint32_t slot[2];
    uint32_t slot_size; /* each: canonical image, its tree, and the seal */
    uint32_t
        slot_base[2]; /* address the CPU sees slot 0, 1 at (for relocation); equal when code is position independent */
    uint32_t seal[2]; /* page outside the slots for the seal of slot 0, 1; equal (both 0): the last page of each slot */
};

#endif
