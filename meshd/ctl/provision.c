#include "provision.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/object/tree.h"

static int refuse(char *error, size_t size, int code, const char *format, ...) __attribute__((format(printf, 4, 5)));
static int refuse(char *error, size_t size, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, size, format, args);
    va_end(args);
    return code;
}

static bool is_for(const struct mp_manifest *m, const struct md_first_device *d)
{
    return m->product == d->product && m->model == d->model && (m->hw_revisions >> d->hw_revision & 1) != 0;
}

/* --- image --------------------------------------------------------------------------------------------------------- */

/* Which image of a bundle: its index, or a negative code with a sentence. */
static int choose(const struct md_bundle *b, int index, const struct md_first_device *d, const char *path, char *error,
                  size_t error_size)
{
    if (index >= (int)b->count)
        return refuse(error, error_size, MP_ERR_ABSENT, "%s: there is no image %d, it holds %u", path, index, b->count);
    if (index >= 0)
        return index;
    for (unsigned i = 0; i < b->count && d->is_known; i++)
        if (is_for(&b->manifest[i], d))
            return (int)i;
    if (d->is_known)
        return refuse(error, error_size, MP_ERR_MODEL, "%s: no image for product %u, model %u, hardware revision %u",
                      path, (unsigned)d->product, d->model, d->hw_revision);
    if (b->count > 1)
        return refuse(error, error_size, MP_ERR_MODEL, "%s: %u images; say which with --index", path, b->count);
    return 0;
}

static int take_bundle(struct md_first_image *image, size_t len, int index, const struct md_first_device *d,
                       const char *path, char *error, size_t error_size)
{
    char why[200];
    int code = md_bundle_get(crypto_sodium(), &image->bundle, image->file, len, why, sizeof why);
    if (code != MP_OK)
        return refuse(error, error_size, code, "%s: %s", path, why);
    int at = choose(&image->bundle, index, d, path, error, error_size);
    if (at < 0)
        return at;
    memcpy(image->manifest, image->bundle.raw[at], MP_MANIFEST_SIZE);
    image->m = image->bundle.manifest[at];
    image->payload = image->bundle.payload[at];
    return MP_OK;
}

/* A manifest's file, and a payload that may be wrapped in an image file. */
static int take_two_files(struct md_first_image *image, size_t len, const char *manifest_path, const char *path,
                          char *error, size_t error_size)
{
    struct md_image wrapped;
    uint8_t *raw = NULL;
    size_t raw_len = 0;
    char why[200];
    int code = md_file_read(manifest_path, MP_MANIFEST_SIZE, &raw, &raw_len, error, error_size);
    if (code != MP_OK)
        return code;
    code = mp_manifest_get(&image->m, raw, raw_len);
    if (code == MP_OK)
        memcpy(image->manifest, raw, MP_MANIFEST_SIZE);
    free(raw);
    if (code != MP_OK)
        return refuse(error, error_size, code, "%s: not a manifest", manifest_path);
    image->payload = image->file;
    if (len != image->m.payload_size &&
        md_image_get(crypto_sodium(), &wrapped, image->file, len, why, sizeof why) == 0) {
        image->payload = wrapped.payload;
        len = wrapped.payload_size;
    }
    if (len != image->m.payload_size)
        return refuse(error, error_size, MP_ERR_CHUNK, "%s: not the image that %s is about", path, manifest_path);
    return MP_OK;
}

static int payload_read(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    const struct md_first_image *image = ctx;
    memcpy(data, image->payload + offset, len);
    return MP_OK;
}

static int chunk_keep(void *ctx, uint32_t position, const uint8_t *data, size_t len)
{
    struct md_first_image *image = ctx;
    memcpy(image->tree + (size_t)position * MP_CHUNK_SIZE, data, len);
    return MP_OK;
}

static int make_tree(struct md_first_image *image, char *error, size_t error_size)
{
    struct mp_tree tree;
    uint8_t root[MP_HASH_SIZE];
    int code = mp_tree_init(&tree, image->m.image_size);
    image->tree = calloc((size_t)tree.first[0] + 1, MP_CHUNK_SIZE);
    if (code != MP_OK || image->tree == NULL)
        return refuse(error, error_size, MP_ERR_ROOM, "out of memory");
    code = mp_tree_build(&tree, crypto_sodium(), image->m.salt, payload_read, chunk_keep, image, root);
    return code == MP_OK ? MP_OK : refuse(error, error_size, code, "no chunk tree: %s", mp_strerror(code));
}

int md_first_image_load(struct md_first_image *image, const char *path, const char *manifest_path, int index,
                        const struct md_first_device *device, char *error, size_t error_size)
{
    size_t len = 0;
    char why[200];
    memset(image, 0, sizeof *image);
    int code = md_file_read(path, MD_BUNDLE_MAX, &image->file, &len, error, error_size);
    if (code == MP_OK && manifest_path != NULL)
        code = take_two_files(image, len, manifest_path, path, error, error_size);
    else if (code == MP_OK)
        code = take_bundle(image, len, index, device, path, error, error_size);
    if (code != MP_OK)
        return code;
    code = md_payload_check(crypto_sodium(), &image->m, image->payload, why, sizeof why);
    if (code != MP_OK)
        return refuse(error, error_size, code, "%s: %s", path, why);
    if (device->is_known && !is_for(&image->m, device))
        return refuse(error, error_size, MP_ERR_MODEL, "%s: for another product, model or hardware revision", path);
    mp_manifest_id(crypto_sodium(), image->manifest, image->id);
    return make_tree(image, error, error_size);
}

void md_first_image_free(struct md_first_image *image)
{
    free(image->file);
    free(image->tree);
    memset(image, 0, sizeof *image);
}

int md_first_image_check(const struct md_first_image *image, const struct mp_settings *settings, char *error,
                         size_t error_size)
{
    struct md_first_device d = {true, settings->product, settings->model, settings->hw_revision};
    struct mp_keyset keys;
    uint8_t pub[32];
    if (!is_for(&image->m, &d))
        return refuse(error, error_size, MP_ERR_MODEL,
                      "the image is for another product, model or hardware revision than the node's settings name");
    int code = mp_keyset_get(&keys, settings->keyset, MP_KEYSET_SIZE);
    if (code == MP_OK)
        code = mp_keyset_find(&keys, MP_ROLE_PUBLISHER, image->m.key_id, image->m.generation, pub);
    if (code != MP_OK)
        return refuse(error, error_size, code, "the image's publisher key is not in force in the node's settings: %s",
                      mp_strerror(code));
    code = mp_manifest_verify(crypto_sodium(), image->manifest, pub);
    return code == MP_OK ? MP_OK : refuse(error, error_size, code, "the image's signature is wrong");
}

/* --- settings ------------------------------------------------------------------------------------------------------ */

int md_settings_load(uint8_t record[MP_SETTINGS_SIZE], struct mp_settings *settings, const char *path, char *error,
                     size_t error_size)
{
    uint8_t *data = NULL;
    size_t len = 0;
    int code = md_file_read(path, MP_SETTINGS_SIZE, &data, &len, error, error_size);
    if (code != MP_OK)
        return code;
    code = mp_settings_get(settings, data, len);
    if (code == MP_OK)
        memcpy(record, data, MP_SETTINGS_SIZE);
    sodium_memzero(data, len);
    free(data);
    if (code != MP_OK)
        return refuse(error, error_size, code, "%s: %s", path,
                      code == MP_ERR_CHUNK ? "damaged: its CRC is wrong" : "not a settings record");
    return MP_OK;
}
