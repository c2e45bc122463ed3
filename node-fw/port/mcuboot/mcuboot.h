/*
 * A node on a part that boots with MCUboot: storage of a node (node-fw/store/store.h) where MCUboot decides what boots.
 * Protocol, update state machine, slots and object log are what they are on any part; different is who decides at boot,
 * and where images lie (docs/PORTING.md, "A product that boots with MCUboot").
 *
 *     nf_mcuboot_init(&m, &flash, &map, crypto, running, cause, memory, size);
 *     env.mp.ctx = &m.store;   env.mp.store = &nf_flash_store;   env.storage = &m.storage;
 *
 * Where things lie. The payload is a binary signed for MCUboot (header, image, TLVs) as it is, so it starts where
 * MCUboot looks for it; the tree follows in the slot; MCUboot's trailer lies behind what is ours. MCUboot moves images
 * between the slots and knows nothing of seals, so these have two pages outside, and a start finds out by hashing
 * which one belongs to which slot. A seal that no slot verifies is erased.
 *
 * Who knows what. MCUboot's trailers are the truth about what boots; the boot record (boot/boot.h) remembers what they
 * have no room for: which update it was, window, floor, reason. A start compares the two and the images, and appends
 * what happened meanwhile; docs/PORTING.md has the table. MCUboot gives a trial one boot.
 *
 * No globals, no allocation; not reentrant per struct nf_mcuboot. Freestanding.
 */
#ifndef NF_MCUBOOT_H
#define NF_MCUBOOT_H

#include "node-fw/store/store.h"
#include "trailer.h"

/* The flash map of a product. Everything but the slots is whole pages; nothing overlaps. */
struct nf_mcuboot_map {
    struct nf_mcuboot_shape shape;
    struct nf_mcuboot_area slot[2]; /* MCUboot's flash areas: primary, secondary; nothing is taken off for trailers */
    uint32_t boot_record;           /* two pages */
    uint32_t settings;              /* one page */
    uint32_t objects;
    uint32_t objects_size; /* at least four pages */
    uint32_t seal[2];      /* a page each; direct-XIP moves nothing and needs none (both 0) */
};

struct nf_mcuboot {
    struct nf_store store; /* stays first: it is the ctx of all callbacks */
    struct nf_storage storage;
    struct nf_mcuboot_map map;
    struct nf_flash flash;
};

/*
 * The layout that a map stands for: where payloads go, and how much room MCUboot's way of swapping leaves. seal[] is as
 * in the map; a start may exchange the two. 0, MP_ERR_FORMAT (no such shape; a misplaced, overlapping or unaligned
 * region; slots that MCUboot would not swap), MP_ERR_UNSUPPORTED (direct-XIP without revert, which boots whatever is
 * newest without being asked; encrypted images, which read differently in each slot), MP_ERR_ROOM (no room for any
 * payload).
 */
int nf_mcuboot_layout(struct nf_layout *layout, const struct nf_mcuboot_map *map, const struct nf_flash *flash);

/* Bytes of memory that nf_mcuboot_init() needs; 0 for a map that is not valid. */
size_t nf_mcuboot_memory(const struct nf_mcuboot_map *map, const struct nf_flash *flash);

/*
 * Mounts everything and notes what MCUboot did since the last start. flash and map are copied, memory is kept. running:
 * the slot that runs; 0 where MCUboot swaps. cause: of the reset before this start, as far as the port learned it: the
 * reason of a rollback that nobody noted (nf_mcuboot_note()). Hashes the image that runs, and the other one, up to twice
 * each. 0, MP_ERR_ROOM (memory), MP_ERR_STORE, or as nf_mcuboot_layout().
 */
int nf_mcuboot_init(struct nf_mcuboot *m, const struct nf_flash *flash, const struct nf_mcuboot_map *map,
                    const struct mp_crypto *crypto, unsigned running, enum boot_cause cause, uint8_t *memory,
                    size_t size);

/* Before the application resets the part (nf_port_reset()): keeps the cause for the start after it, when a trial runs.
 * 0 or MP_ERR_STORE. */
int nf_mcuboot_note(struct nf_mcuboot *m, enum boot_cause cause);

/* What a payload's header and TLVs say. */
struct nf_mcuboot_image {
    uint32_t header_size;
    uint32_t image_size;
    uint32_t size;  /* of all of it, with TLVs */
    uint32_t flags; /* ih_flags */
    bool has_counter;
    uint32_t counter; /* IMAGE_TLV_SEC_CNT */
};

/* Reads payload bytes [offset, offset + len): 0 or an error. */
typedef int (*nf_mcuboot_read)(void *ctx, uint32_t offset, uint8_t *data, size_t len);

/* Parses the frame of a signed binary that is exactly len bytes long; checks no hash and no signature. 0, MP_ERR_FORMAT,
 * or what read returned. */
int nf_mcuboot_image_get(struct nf_mcuboot_image *image, nf_mcuboot_read read, void *ctx, uint32_t len);

#endif
