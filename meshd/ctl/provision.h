/*
 * What a new node starts with: its settings record and a signed image, read from files and checked against each other
 * before anything is written anywhere.
 */
#ifndef MD_PROVISION_H
#define MD_PROVISION_H

#include "pack.h"
#include "proto/object/settings.h"

/* A signed image for one node. */
struct md_first_image {
    uint8_t *file;           /* owned */
    struct md_bundle bundle; /* of a release bundle; count 0: payload and manifest came in two files */
    uint8_t manifest[MP_MANIFEST_SIZE];
    struct mp_manifest m;
    uint8_t id[8];
    const uint8_t *payload; /* m.image_size bytes */
    uint8_t *tree;          /* owned: interior chunks by position, 192 bytes each */
};

/* What the node is, as far as it is known. */
struct md_first_device {
    bool is_known;
    uint32_t product;
    uint16_t model;
    uint8_t hw_revision;
};

/*
 * Reads FILE.mfr (index -1: the image for the device, or the only one), or with a manifest's path a payload or .mfi
 * file. Checks lengths, digests and tree, that it is for the device if that is known, and that it can be a first image.
 * 0 or MP_ERR_..., with a sentence. md_first_image_free() in any case.
 */
int md_first_image_load(struct md_first_image *image, const char *path, const char *manifest_path, int index,
                        const struct md_first_device *device, char *error, size_t error_size);
void md_first_image_free(struct md_first_image *image);

/* Reads a settings record and checks it. 0 or MP_ERR_..., with a sentence. */
int md_settings_load(uint8_t record[MP_SETTINGS_SIZE], struct mp_settings *settings, const char *path, char *error,
                     size_t error_size);

/* Is the image signed for this node, under a key of its settings' keyset? 0, MP_ERR_MODEL, MP_ERR_KEY, MP_ERR_REVOKED,
 * MP_ERR_SIGNATURE, with a sentence. */
int md_first_image_check(const struct md_first_image *image, const struct mp_settings *settings, char *error,
                         size_t error_size);

#endif
