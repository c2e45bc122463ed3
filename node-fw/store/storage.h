/*
 * What the update state machine (core/nf.h) asks of storage beyond struct mp_store: slots, seal, boot record, own
 * records. nf_flash_storage in store.h is the real one; the simulator has another over one shared image. Every call
 * gets the ctx of struct mp_env.
 */
#ifndef NF_STORAGE_H
#define NF_STORAGE_H

#include "node-fw/boot/boot.h"
#include "objects.h"

enum { NF_PLACE_HOME = 0, NF_PLACE_TARGET = 1 };

struct nf_storage {
    /* Bytes a canonical payload may take. */
    uint32_t (*capacity)(void *ctx);
    /* Manifest of the sealed image in a place. 0, MP_ERR_ABSENT, MP_ERR_STORE. */
    int (*sealed)(void *ctx, unsigned place, uint8_t manifest[MP_MANIFEST_SIZE]);
    /* Manifest the target place is being filled for (sealed or not). 0 or MP_ERR_ABSENT. */
    int (*fetching)(void *ctx, uint8_t manifest[MP_MANIFEST_SIZE]);
    /* Starts over in the target place for this manifest: marks it, then work() erases. Only in CONFIRMED. 0,
     * MP_ERR_STATE, MP_ERR_FORMAT, MP_ERR_ROOM, MP_ERR_STORE. */
    int (*open)(void *ctx, const uint8_t manifest[MP_MANIFEST_SIZE]);
    /* Starts the full SHA-256 of the target place, sealed when it matches. 0, MP_ERR_STATE (chunks missing). */
    int (*verify)(void *ctx);
    /* One bounded piece of what open() or verify() started: 1 there is more, 0 done (or nothing to do), MP_ERR_CHUNK
     * (the image is not the manifest's), MP_ERR_STORE (flash; chunks that cannot be read any more were dropped from the
     * bitmap). */
    int (*work)(void *ctx);
    /* True once after bits of a place changed by other means than chunk_put: call mp_node_recheck(). */
    bool (*changed)(void *ctx, unsigned place);
    /* Boot record; see boot.h. */
    int (*boot_read)(void *ctx, struct boot_record *r);
    int (*boot_request)(void *ctx, const uint8_t manifest[MP_MANIFEST_SIZE], uint16_t confirm_s, bool revert);
    int (*boot_confirm)(void *ctx, uint32_t security_counter);
    int (*boot_abort)(void *ctx, enum mp_reason reason);
    /* Own records (enum nf_kind), as nf_objects_put() and nf_objects_get(). */
    int (*put)(void *ctx, unsigned kind, const uint8_t *data, size_t len);
    int (*get)(void *ctx, unsigned kind, uint8_t *data, size_t cap);
};

#endif
