/*
 * Object log: small records in flash, replaced atomically (docs/SPEC.md section 13).
 *
 * The region is split into two groups of pages. Records are appended to the live group; when it is full, the newest
 * record of every key is copied to the other group, whose header is written last. A cut leaves the old or the new
 * record, never a mixture; a record that cannot be read falls back to the one before it, if that is still there. RAM:
 * struct nf_objects, no allocation. Not reentrant per log.
 */
#ifndef NF_OBJECTS_H
#define NF_OBJECTS_H

#include "flash.h"
#include "proto/mp_types.h"

/* Kinds of the node itself, after those of enum mp_kind. */
enum nf_kind {
    NF_KIND_BOOT = MP_KIND_COUNT, /* boot counter, 4 bytes */
    NF_KIND_FETCH,                /* what the other slot is being filled with (slot.h) */
    NF_KIND_FAILED,               /* newest update that was given up */
    NF_KIND_REVERTED,             /* newest release that was reverted */
    NF_KIND_APP,                  /* slots 0 to 3, for the application, up to MP_RECORD_MAX bytes */
    NF_KIND_COUNT
};

#define NF_OBJECT_APP_SLOTS 4
#define NF_OBJECT_KEYS (MP_MANIFESTS_MAX + MP_RELEASES_MAX + MP_KEYCHAIN_MAX + 3 + 4 + NF_OBJECT_APP_SLOTS)

struct nf_objects {
    const struct nf_flash *flash;
    uint32_t address;            /* of the region */
    uint32_t group_size;         /* bytes of a group */
    uint32_t sequence;           /* of the live group, 0: none yet */
    uint32_t next;               /* offset in the live group where the next record goes */
    uint8_t group;               /* live group: 0 or 1 */
    uint16_t at[NF_OBJECT_KEYS]; /* granule (of at least 8 bytes) within the live group where the newest record of a key
                                    starts, 0 none */
    uint32_t compactions;        /* since mount, for tests and wear statistics */
    uint32_t damaged;            /* records skipped at mount */
};

/* Finds the live group and the newest records. Writes nothing. 0 (also when the log is empty), MP_ERR_FORMAT (layout
 * too small or misaligned). */
int nf_objects_mount(struct nf_objects *o, const struct nf_flash *flash, const struct nf_layout *layout);

/* Replaces a record (len 1 to MP_RECORD_MAX) or erases it (len 0). kind: enum mp_kind or nf_kind. 0, MP_ERR_FORMAT
 * (kind, slot, length), MP_ERR_STORE (flash failed, or the live records do not fit one group): then the old record is
 * still there. */
int nf_objects_put(struct nf_objects *o, unsigned kind, unsigned slot, const uint8_t *data, size_t len);

/* Length of the record, 0 when there is none, MP_ERR_ROOM (longer than cap), MP_ERR_FORMAT (kind, slot), MP_ERR_STORE
 * (unreadable now). */
int nf_objects_get(const struct nf_objects *o, unsigned kind, unsigned slot, uint8_t *data, size_t cap);

#endif
