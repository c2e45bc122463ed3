/*
 * Storage of a node over flash: object log, both slots and the boot record behind the two tables the protocol engine
 * and the update state machine call.
 *
 *     nf_store_init(&store, &flash, &layout, crypto, running_slot, memory, size);
 *     env.mp.ctx = &store;   env.mp.store = &nf_flash_store;   env.storage = &nf_flash_storage;
 *
 * Place 0 is the slot that runs, place 1 the other one. What is being fetched into place 1 is kept as a marker in the
 * object log (NF_KIND_FETCH); how far it came is found by scanning. Not reentrant per store.
 */
#ifndef NF_STORE_H
#define NF_STORE_H

#include "settings.h"
#include "slot.h"
#include "storage.h"

enum nf_work { NF_WORK_NONE, NF_WORK_ERASE, NF_WORK_HASH };

struct nf_store {
    void *user; /* the port's own, for its callbacks that get this store as ctx */
    struct nf_flash flash;
    struct nf_layout layout;
    const struct mp_crypto *crypto;
    struct nf_objects objects;
    struct nf_slot slot[2]; /* by place */
    uint8_t running;        /* slot number of place 0 */
    uint8_t work;           /* enum nf_work */
    uint32_t work_at;       /* page, or payload offset */
    struct mp_sha256 sha;
    uint32_t pages_recovered; /* pages erased again because a cut left remains in them */
};

/* Bytes of memory nf_store_init() needs for this layout. */
size_t nf_store_memory(const struct nf_flash *flash, const struct nf_layout *layout);

/*
 * Mounts everything and rebuilds the bitmaps by hashing; finishes what a cut interrupted (a whole erase is finished by
 * work()). flash and layout are copied; memory is kept. running: slot that was booted. 0, MP_ERR_FORMAT (layout),
 * MP_ERR_ROOM (memory too small), MP_ERR_STORE.
 */
int nf_store_init(struct nf_store *s, const struct nf_flash *flash, const struct nf_layout *layout,
                  const struct mp_crypto *crypto, unsigned running, uint8_t *memory, size_t size);

extern const struct mp_store nf_flash_store;
extern const struct nf_storage nf_flash_storage;

/*
 * For a bootloader's boot_env.accept: checks a manifest's signature under the keyset in the object log, or the
 * provisioned one when the log has none. 0, MP_ERR_KEY, MP_ERR_REVOKED, MP_ERR_SIGNATURE, MP_ERR_FORMAT, MP_ERR_STORE
 * (no keyset at all). Writes nothing.
 */
int nf_store_accept(const struct nf_flash *flash, const struct nf_layout *layout, const struct mp_crypto *crypto,
                    const uint8_t manifest[MP_MANIFEST_SIZE]);

/*
 * For a port whose bootloader moves images, before nf_store_init(): forgets what the other slot was being filled with,
 * if that is this manifest (NULL: whatever it is). 0, MP_ERR_FORMAT (layout), MP_ERR_STORE.
 */
int nf_store_forget(const struct nf_flash *flash, const struct nf_layout *layout, const uint8_t *manifest);

/* Factory: writes an image with tree and seal into a slot, erasing it first. payload: canonical. 0, or MP_ERR_FORMAT,
 * MP_ERR_ROOM, MP_ERR_CHUNK (not the manifest's), MP_ERR_STORE. memory: nf_slot_memory() bytes, free afterwards. */
int nf_store_install(const struct nf_flash *flash, const struct nf_layout *layout, const struct mp_crypto *crypto,
                     unsigned slot, const uint8_t manifest[MP_MANIFEST_SIZE], const uint8_t *payload, size_t len,
                     uint8_t *memory);

#endif
