/*
 * Manifest: what a publisher says of one image (docs/SPEC.md 2.1). Codec, signature, and whether a device may use it.
 * Reentrant.
 */
#ifndef MP_MANIFEST_H
#define MP_MANIFEST_H

#include "../mp_types.h"

#define MP_MANIFEST_SIZE 200
#define MP_MANIFEST_SIGNED 136 /* bytes under the signature */
#define MP_COUNTER_STEP_MAX 16

enum mp_payload_kind { MP_PAYLOAD_FULL = 0, MP_PAYLOAD_DELTA = 1 };

struct mp_manifest {
    uint8_t kind; /* enum mp_payload_kind */
    uint8_t key_id;
    uint8_t battery_min_percent;
    uint16_t model;
    uint16_t generation;
    uint32_t product;
    uint32_t hw_revisions; /* bit r: revision r */
    uint32_t version;      /* major << 24 | minor << 16 | patch */
    uint32_t release;      /* release sequence */
    uint32_t security_counter;
    uint32_t image_size;
    uint32_t payload_size;
    uint32_t version_min;
    uint32_t expiry_epoch;
    uint8_t salt[8];
    uint8_t image_root[MP_HASH_SIZE];
    uint8_t payload_root[MP_HASH_SIZE];
    uint8_t base[8];
    uint8_t image_sha256[32];
};

/* Encodes into out[0..135]; the signature is left to the caller. Fields are taken as they are: run mp_manifest_get()
 * over the result to check them. */
void mp_manifest_put(uint8_t out[MP_MANIFEST_SIZE], const struct mp_manifest *m);

/* Decodes and checks every range of SPEC 2.1, not the signature. 0, MP_ERR_LENGTH (len is not 200), MP_ERR_FORMAT. */
int mp_manifest_get(struct mp_manifest *m, const uint8_t *data, size_t len);

/* First 8 bytes of the SHA-256 of all 200 bytes. */
void mp_manifest_id(const struct mp_crypto *crypto, const uint8_t data[MP_MANIFEST_SIZE], uint8_t id[8]);

/* Checks the signature under pub. 0 or MP_ERR_SIGNATURE. */
int mp_manifest_verify(const struct mp_crypto *crypto, const uint8_t data[MP_MANIFEST_SIZE], const uint8_t pub[32]);

/* What a device is, for mp_manifest_check(). */
struct mp_device {
    uint32_t product;
    uint16_t model;
    uint8_t hw_revision;     /* 0 to 31 */
    uint8_t battery_percent; /* 0 to 100 */
    uint32_t version;        /* running */
    uint32_t release;        /* release sequence running */
    uint32_t counter_floor;  /* security counter below which nothing is run */
    uint32_t slot_size;      /* bytes a canonical payload may take, tree not counted */
    uint32_t epoch;
};

/*
 * May this device use it as an update (revert: as the target of a signed revert, which lifts the release rule only)?
 * 0, or the first of: MP_ERR_MODEL, MP_ERR_UNSUPPORTED (a delta), MP_ERR_ROOM, MP_ERR_COUNTER (below the floor or more
 * than 16 above), MP_ERR_RELEASE (not above what runs), MP_ERR_VERSION, MP_ERR_EXPIRED (epoch above a non-zero expiry),
 * MP_ERR_BATTERY.
 */
int mp_manifest_check(const struct mp_manifest *m, const struct mp_device *device, bool revert);

#endif
