/*
 * MCUboot's image trailer: the few bytes at the end of a slot by which an application asks MCUboot for a trial of the
 * other image, and confirms the one that runs. Read and written here over struct nf_flash, without MCUboot's code and
 * bit by bit as it does (tests/vectors/mcuboot_trailer.txt comes from MCUboot itself).
 *
 * Source: MCUboot v2.4.0, docs/design.md ("Image trailer", "Image swapping") and boot/bootutil/src: bootutil_public.c
 * (fields, decision tables, boot_set_next()), bootutil_area.c (sizes), loader.c (direct-XIP). From the end of the slot
 * downwards, every field in a unit of its own of `max_align` bytes:
 *
 *     magic 16 bytes (padded in front) | image_ok | copy_done | swap_info | [sizes of TLVs: swap-offset] | swap size |
 *     [encryption keys] | swap status
 *
 * Only the order of writing differs from MCUboot's boot_set_pending(): the magic comes last, into flash that was erased
 * right before, so that a power cut leaves the state before or the one after and never a third one.
 *
 * Reentrant, no globals, no allocation. Freestanding. Blank flash is all ones.
 */
#ifndef NF_MCUBOOT_TRAILER_H
#define NF_MCUBOOT_TRAILER_H

#include "node-fw/store/flash.h"

/* How MCUboot was built to bring a new image to where it runs. */
enum nf_mcuboot_mode {
    NF_MCUBOOT_SCRATCH,    /* MCUBOOT_SWAP_USING_SCRATCH */
    NF_MCUBOOT_MOVE,       /* MCUBOOT_SWAP_USING_MOVE */
    NF_MCUBOOT_OFFSET,     /* MCUBOOT_SWAP_USING_OFFSET */
    NF_MCUBOOT_OVERWRITE,  /* MCUBOOT_OVERWRITE_ONLY: no way back */
    NF_MCUBOOT_XIP,        /* MCUBOOT_DIRECT_XIP: the highest version boots, whatever the trailers say */
    NF_MCUBOOT_XIP_REVERT, /* and MCUBOOT_DIRECT_XIP_REVERT */
    NF_MCUBOOT_MODES
};

/* What the product configured; the same values as in the bootloader that it ships. */
struct nf_mcuboot_shape {
    uint8_t mode;         /* enum nf_mcuboot_mode */
    uint8_t align;        /* flash_area_align() of the primary slot: 1, 2, 4, 8, 16 or 32 bytes, at most max_align */
    uint8_t max_align;    /* MCUBOOT_BOOT_MAX_ALIGN: 8 (also where it is not set), 16 or 32 bytes */
    uint8_t image;        /* image pair, 0 to 14 */
    uint16_t max_sectors; /* MCUBOOT_MAX_IMG_SECTORS */
    uint16_t key_size;    /* bytes kept of each slot's encryption key (or key TLV) during a swap; 0: no encryption */
    uint32_t sector;      /* bytes of the sectors that MCUboot erases: a multiple of the flash's page_size */
};

/* One of MCUboot's flash areas: whole sectors. */
struct nf_mcuboot_area {
    uint32_t address;
    uint32_t size; /* bytes */
};

/* Where the fields lie, in bytes before the end of the slot. 0: this mode has no such field. */
struct nf_mcuboot_fields {
    uint32_t magic;
    uint32_t image_ok;
    uint32_t copy_done;
    uint32_t swap_info;
    uint32_t tlv_sizes;
    uint32_t swap_size;
    uint32_t key[2]; /* of the primary and the secondary slot's image */
    uint32_t status;
    uint32_t size; /* of the whole trailer */
};

enum nf_mcuboot_magic { NF_MCUBOOT_MAGIC_UNSET, NF_MCUBOOT_MAGIC_GOOD, NF_MCUBOOT_MAGIC_BAD };
enum nf_mcuboot_flag { NF_MCUBOOT_FLAG_UNSET, NF_MCUBOOT_FLAG_SET, NF_MCUBOOT_FLAG_BAD };
/* What MCUboot will do at the next reset; the numbers are its own. */
enum nf_mcuboot_swap {
    NF_MCUBOOT_SWAP_NONE = 1,
    NF_MCUBOOT_SWAP_TEST = 2,
    NF_MCUBOOT_SWAP_PERM = 3,
    NF_MCUBOOT_SWAP_REVERT = 4
};

struct nf_mcuboot_trailer {
    uint8_t magic;     /* enum nf_mcuboot_magic */
    uint8_t image_ok;  /* enum nf_mcuboot_flag */
    uint8_t copy_done; /* enum nf_mcuboot_flag */
    uint8_t swap_type; /* enum nf_mcuboot_swap of swap_info; NONE when that is blank or out of range */
    uint8_t image;     /* image pair of swap_info, 0 when that is blank or out of range */
};

/* True when the values are MCUboot's and this flash can hold such a trailer with every field in a granule of its own.
 */
bool nf_mcuboot_shape_is_valid(const struct nf_mcuboot_shape *shape, const struct nf_flash *flash);
/* shape: valid. */
void nf_mcuboot_fields(struct nf_mcuboot_fields *fields, const struct nf_mcuboot_shape *shape);
/* Bytes at the end of a slot that an image must leave alone: whole sectors that hold the trailer, as far as the mode
 * uses it. shape: valid. */
uint32_t nf_mcuboot_reserved(const struct nf_mcuboot_shape *shape);

/*
 * Reads the trailer of a slot. What the part cannot correct counts as a trailer that is neither good nor blank, as
 * MCUboot takes it. 0 or MP_ERR_STORE. shape: valid; slot: within the flash, bigger than its trailer.
 */
int nf_mcuboot_trailer_read(struct nf_mcuboot_trailer *t, const struct nf_mcuboot_shape *shape,
                            const struct nf_flash *flash, const struct nf_mcuboot_area *slot);

/* What MCUboot's tables say (boot_swap_type()). Direct-XIP has no such thing: NONE. */
enum nf_mcuboot_swap nf_mcuboot_swap_type(const struct nf_mcuboot_shape *shape,
                                          const struct nf_mcuboot_trailer *primary,
                                          const struct nf_mcuboot_trailer *secondary);
/* True when the image that runs goes at the next reset unless it is confirmed. running: trailer of the slot that runs,
 * other: of the other one. */
bool nf_mcuboot_is_trial(const struct nf_mcuboot_shape *shape, const struct nf_mcuboot_trailer *running,
                         const struct nf_mcuboot_trailer *other);

/* Erases what nf_mcuboot_reserved() counts, the magic first. 0 or MP_ERR_STORE. */
int nf_mcuboot_trailer_erase(const struct nf_mcuboot_shape *shape, const struct nf_flash *flash,
                             const struct nf_mcuboot_area *slot);

/*
 * Asks for the image in this slot (the one that does not run) at the next reset: for one boot, or for good. 0 (also
 * when the same was asked for already), MP_ERR_STATE (the other one was: nf_mcuboot_trailer_erase() comes first),
 * MP_ERR_STORE (not asked for, or not read back).
 */
int nf_mcuboot_set_pending(const struct nf_mcuboot_shape *shape, const struct nf_flash *flash,
                           const struct nf_mcuboot_area *slot, bool permanent);

/* The image that runs, in this slot, stays. 0 (also when it stays already), MP_ERR_STATE (its trailer is damaged, so
 * there is no confirming it), MP_ERR_STORE. */
int nf_mcuboot_set_confirmed(const struct nf_mcuboot_shape *shape, const struct nf_flash *flash,
                             const struct nf_mcuboot_area *slot);

#endif
