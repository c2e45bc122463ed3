#include "image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/mp_wire.h"
#include "proto/object/signed.h"

static int payload_read(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    const struct sim_image *image = ctx;

    memcpy(data, image->chunk + (size_t)image->tree.first[0] * MP_CHUNK_SIZE + offset, len);
    return MP_OK;
}

static int interior_take(void *ctx, uint32_t position, const uint8_t *data, size_t len)
{
    struct sim_image *image = ctx;

    memcpy(image->chunk + (size_t)position * MP_CHUNK_SIZE, data, len);
    return MP_OK;
}

/* Random bytes: what an image does is decided by the plan, and incompressible is what an update is on air. */
static void payload_make(struct sim_image *image, uint64_t seed)
{
    uint8_t *leaves = image->chunk + (size_t)image->tree.first[0] * MP_CHUNK_SIZE;
    uint32_t words[4];
    uint8_t bytes[16];

    for (uint32_t at = 0; at < image->tree.size; at += 16) {
        uint32_t n = image->tree.size - at < 16 ? image->tree.size - at : 16;
        sim_fleet_draw(seed, SIM_FLEET_PAYLOAD, at / 16, image->manifest.release << 8 | image->manifest.model, words);
        for (unsigned i = 0; i < 4; i++)
            mp_put32(bytes + 4 * i, words[i]);
        memcpy(leaves + at, bytes, n);
    }
}

static int image_make(struct sim_image *image, uint32_t release, uint16_t model, uint32_t size,
                      const struct sim_keys *keys, const struct mp_crypto *crypto)
{
    struct mp_manifest *m = &image->manifest;
    struct mp_sha256 sha;

    *m = (struct mp_manifest){
        .kind = MP_PAYLOAD_FULL,
        .generation = 1,
        .product = SIM_PRODUCT,
        .model = model,
        .hw_revisions = UINT32_MAX,
        .version = release << 24,
        .release = release,
        .image_size = size,
        .payload_size = size,
    };
    mp_put64(m->salt, 0x5A17000000000000u | (uint64_t)release << 16 | model);
    if (mp_tree_init(&image->tree, size) != MP_OK)
        return -1;
    image->chunk = calloc(image->tree.positions, MP_CHUNK_SIZE);
    image->full = calloc((image->tree.positions + 7) / 8, 1);
    if (image->chunk == NULL || image->full == NULL)
        return -1;
    for (uint32_t i = 0; i < image->tree.positions; i++)
        image->full[i / 8] |= (uint8_t)(1u << i % 8);
    payload_make(image, keys->seed);
    if (mp_tree_build(&image->tree, crypto, m->salt, payload_read, interior_take, image, m->image_root) != MP_OK)
        return -1;
    memcpy(m->payload_root, m->image_root, MP_HASH_SIZE);
    crypto->sha256_init(&sha);
    crypto->sha256_update(&sha, image->chunk + (size_t)image->tree.first[0] * MP_CHUNK_SIZE, size);
    crypto->sha256_final(&sha, m->image_sha256);
    mp_manifest_put(image->raw, m);
    sim_keys_sign(&keys->publisher, MP_TAG_MANIFEST, image->raw, MP_MANIFEST_SIGNED, image->raw + MP_MANIFEST_SIGNED);
    mp_manifest_id(crypto, image->raw, image->id);
    memset(image->seal, 0xFF, sizeof image->seal);
    boot_image_seal_put(image->seal, image->raw);
    return 0;
}

static int add(struct sim_images *images, uint32_t release, uint16_t model, uint32_t size, const struct sim_keys *keys,
               const struct mp_crypto *crypto)
{
    struct sim_image *image = &images->image[images->count];

    if (images->count == SIM_IMAGES_MAX)
        return -1;
    images->count++;
    if (image_make(image, release, model, size, keys, crypto) != 0)
        return -1;
    if ((image->tree.positions + 7) / 8 > images->bitmap_size)
        images->bitmap_size = (image->tree.positions + 7) / 8;
    if (size > images->capacity)
        images->capacity = size;
    return 0;
}

int sim_images_open(struct sim_images *images, const struct sim_scenario *s, const struct sim_keys *keys,
                    const struct mp_crypto *crypto, char *error, size_t cap)
{
    unsigned models = s->fleet.models > 0 ? s->fleet.models : 1;
    int result = 0;

    memset(images, 0, sizeof *images);
    for (uint16_t model = 1; model <= models && result == 0; model++)
        result = add(images, 1, model, s->fleet.size_bytes, keys, crypto);
    for (uint32_t i = 0; i < s->release_count && result == 0; i++) {
        const struct sim_release_plan *r = &s->release[i];
        for (uint16_t model = 1; model <= models && result == 0; model++)
            if (r->model == 0 || r->model == model)
                result = add(images, r->release, model, r->size_bytes, keys, crypto);
    }
    if (result == 0)
        return 0;
    snprintf(error, cap, "no memory for the images, or one is not 1 byte to %u MB", MP_IMAGE_MAX >> 20);
    sim_images_close(images);
    return -1;
}

void sim_images_close(struct sim_images *images)
{
    for (unsigned i = 0; i < images->count; i++) {
        free(images->image[i].chunk);
        free(images->image[i].full);
    }
    memset(images, 0, sizeof *images);
}

int sim_images_find(const struct sim_images *images, uint32_t release, uint16_t model)
{
    for (unsigned i = 0; i < images->count; i++)
        if (images->image[i].manifest.release == release && images->image[i].manifest.model == model)
            return (int)i;
    return -1;
}

int sim_images_find_id(const struct sim_images *images, const uint8_t id[8])
{
    for (unsigned i = 0; i < images->count; i++)
        if (memcmp(images->image[i].id, id, 8) == 0)
            return (int)i;
    return -1;
}
