/*
 * Images of a simulated world: a payload, its tree and its signed manifest for every release and model, all from the
 * seed. Every rank makes them all; read-only once open, shared by all nodes.
 */
#ifndef SIM_FLEET_IMAGE_H
#define SIM_FLEET_IMAGE_H

#include "keys.h"
#include "node-fw/boot/image.h"
#include "proto/object/manifest.h"
#include "proto/object/tree.h"
#include "sim/world/scenario.h"

#define SIM_IMAGES_MAX ((SIM_RELEASES_MAX + 1) * SIM_MODELS_MAX)
#define SIM_IMAGE_NONE 0xFF
#define SIM_PRODUCT 1

struct sim_image {
    struct mp_manifest manifest;
    uint8_t raw[MP_MANIFEST_SIZE]; /* signed */
    uint8_t seal[BOOT_SEAL_SIZE];  /* what a slot with it ends with */
    uint8_t id[8];
    struct mp_tree tree;
    uint8_t *chunk; /* [tree.positions][MP_CHUNK_SIZE] in canonical form, interior chunks too */
    uint8_t *full;  /* bitmap with every chunk held */
};

struct sim_images {
    struct sim_image image[SIM_IMAGES_MAX];
    unsigned count;
    uint32_t bitmap_size; /* bytes of the largest bitmap */
    uint32_t capacity;    /* bytes of a slot's payload: the largest image's */
};

/* Release 1 of fleet.size for every model, then those of release[]. 0, or -1 with a sentence in error. */
int sim_images_open(struct sim_images *images, const struct sim_scenario *s, const struct sim_keys *keys,
                    const struct mp_crypto *crypto, char *error, size_t cap);
void sim_images_close(struct sim_images *images);
/* Index of the image of a release for a model (1 and up), of a manifest id, or -1. */
int sim_images_find(const struct sim_images *images, uint32_t release, uint16_t model);
int sim_images_find_id(const struct sim_images *images, const uint8_t id[8]);

#endif
