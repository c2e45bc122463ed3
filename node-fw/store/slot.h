/*
 * One slot as a store of chunks (docs/SPEC.md section 13; layout in boot/image.h). Not reentrant per slot.
 *
 * The flash is the state: nothing about progress is persisted. nf_slot_scan() hashes what is there and rebuilds the
 * bitmap. Two things the flash cannot tell by looking at it, so the owner keeps them for it (store.h, fetch marker):
 * that the slot is being erased as a whole, and that one page is being erased although it holds verified chunks; both
 * erasures are done again after a reset.
 */
#ifndef NF_SLOT_H
#define NF_SLOT_H

#include "node-fw/boot/image.h"

struct nf_slot {
    struct boot_image image;
    const struct mp_crypto *crypto;
    uint8_t *held;    /* a bit a position: verified chunk. Caller's memory */
    uint8_t *trusted; /* a bit a page of the slot: erased since reset, or holds a verified chunk. Caller's memory */
    uint32_t pages;   /* of the slot; the last one is the seal's */
    uint32_t count;   /* bits set in held */
    bool open;        /* image and bitmap are valid */
    bool sealed;      /* whole image verified: every chunk is held, missing tree chunks are computed */
    bool tree_stored; /* sealed: every interior chunk in flash verified */
    bool changed;     /* bits changed by other means than put; the owner clears it */
    bool faulted;     /* a flash operation failed */
};

/* Bytes of caller's memory for one slot of this layout: bitmap of the largest payload and of the pages. */
size_t nf_slot_memory(const struct nf_flash *flash, const struct nf_layout *layout);
/* Gives the slot its memory (nf_slot_memory() bytes, kept) and closes it. */
void nf_slot_init(struct nf_slot *s, const struct nf_flash *flash, const struct nf_layout *layout,
                  const struct mp_crypto *crypto, uint8_t *memory);

/* Opens slot `index` if it is sealed: every chunk counts as held. Hashes the tree, not the image. 0, MP_ERR_ABSENT,
 * MP_ERR_FORMAT, MP_ERR_STORE. */
int nf_slot_open_sealed(struct nf_slot *s, const struct nf_layout *layout, unsigned index);
/* Opens slot `index` for the payload of a manifest, with nothing held: after nf_slot_erase_page() over all its pages,
 * or before a scan. 0, MP_ERR_FORMAT, MP_ERR_ROOM. */
int nf_slot_open(struct nf_slot *s, const struct nf_layout *layout, unsigned index,
                 const uint8_t manifest[MP_MANIFEST_SIZE]);
/* Rebuilds the bitmap from flash. Pages without a verified chunk will be erased before their first write. */
void nf_slot_scan(struct nf_slot *s);
void nf_slot_close(struct nf_slot *s);

/* Erases page `page` of the slot (0 = first) and forgets its chunks. 0 or MP_ERR_STORE. */
int nf_slot_erase_page(struct nf_slot *s, uint32_t page);

/*
 * Stores a verified chunk. 0, MP_ERR_PARENT (must wait for a missing interior chunk, or for the relocation list: send
 * it again later), MP_ERR_STORE, or a page number + 1: this page holds verified chunks and the remains of a cut, or did
 * not take the chunk. Note it in the fetch marker, erase it with nf_slot_erase_page(), clear the marker and call again,
 * a few times at most: a worn page never takes it.
 */
long nf_slot_put(struct nf_slot *s, uint32_t position, const uint8_t *data, size_t len);

/* Length of the chunk in canonical form, MP_ERR_ABSENT, MP_ERR_STORE. Of a sealed image missing tree chunks are
 * computed from the leaves. */
int nf_slot_get(const struct nf_slot *s, uint32_t position, uint8_t data[MP_CHUNK_SIZE]);

/* True when all chunks are held. */
bool nf_slot_is_complete(const struct nf_slot *s);

/* Writes the seal: only after the full SHA-256 matched. Reads it back. 0, MP_ERR_STATE (chunks missing), MP_ERR_STORE.
 */
int nf_slot_seal(struct nf_slot *s, const struct nf_layout *layout, unsigned index,
                 const uint8_t manifest[MP_MANIFEST_SIZE]);

#endif
