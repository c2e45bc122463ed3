/*
 * Fuzzes the parsers of image files and release bundles, and what follows once the outer layers are right: the input is
 * tried as it is, with its container digest mended, and with the header and the sizes mended as well, so that the inner
 * checks are reached too.
 */
#include <stdlib.h>
#include <string.h>

#include "meshd/ctl/pack.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void digest_of(const uint8_t *data, size_t len, uint8_t digest[32])
{
    const struct mp_crypto *crypto = crypto_sodium();
    struct mp_sha256 state;
    crypto->sha256_init(&state);
    crypto->sha256_update(&state, data, len);
    crypto->sha256_final(&state, digest);
}

static void try_all(const uint8_t *data, size_t size)
{
    const struct mp_crypto *crypto = crypto_sodium();
    static const struct mp_keyset keys = {.publisher = {{.state = MP_KEY_VALID, .generation = 1}}};
    struct md_image image;
    struct md_bundle bundle;
    char error[128];
    if (md_image_get(crypto, &image, data, size, error, sizeof error) == 0 &&
        (image.payload != data + MD_IMAGE_HEADER || image.payload_size != size - MD_IMAGE_HEADER))
        abort();
    if (md_bundle_get(crypto, &bundle, data, size, error, sizeof error) == 0) {
        for (unsigned i = 0; i < bundle.count; i++) {
            if (bundle.payload[i] < data || bundle.payload[i] + bundle.manifest[i].payload_size > data + size - 32)
                abort();
            md_payload_check(crypto, &bundle.manifest[i], bundle.payload[i], error, sizeof error);
        }
    }
    /* nobody has signed anything */
    if (md_bundle_verify(crypto, &bundle, data, size, &keys, 5, error, sizeof error) == 0)
        abort();
}

/* A bundle of one full image whose manifest is in order as far as its sizes and roots go. */
static void mend_bundle(uint8_t *data, size_t size)
{
    uint8_t *manifest = data + MD_BUNDLE_HEADER;
    uint32_t payload = (uint32_t)(size - 32 - MD_BUNDLE_HEADER - MP_MANIFEST_SIZE);
    memcpy(data, "MFR1\1\0\1\0", 8);
    mp_put32(data + 8, (uint32_t)size);
    mp_put32(data + 12, 0);
    memset(manifest, 0, 4);
    manifest[0] = 1;
    mp_put32(manifest + 28, payload);
    mp_put32(manifest + 32, payload);
    manifest[44] %= 101;
    memset(manifest + 45, 0, 3);
    memcpy(manifest + 68, manifest + 56, MP_HASH_SIZE);
    memset(manifest + 80, 0, 8);
    memset(manifest + 120, 0, 16);
    digest_of(data + MD_BUNDLE_HEADER + MP_MANIFEST_SIZE, payload, manifest + 88);
}

/* An image file whose sizes and digest are in order. */
static void mend_image(uint8_t *data, size_t size)
{
    struct mp_sha256 state;
    const struct mp_crypto *crypto = crypto_sodium();
    memcpy(data, "MFI1\1\0\120\0", 8);
    memset(data + 14, 0, 2);
    memset(data + 28, 0, 20);
    mp_put32(data + 24, (uint32_t)(size - MD_IMAGE_HEADER));
    crypto->sha256_init(&state);
    crypto->sha256_update(&state, data, 48);
    crypto->sha256_update(&state, data + MD_IMAGE_HEADER, size - MD_IMAGE_HEADER);
    crypto->sha256_final(&state, data + 48);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t digest[32];
    uint8_t *copy = calloc(1, size ? size : 1);
    if (!copy)
        return 0;
    if (size)
        memcpy(copy, data, size);
    try_all(copy, size);
    if (size >= 32) {
        digest_of(copy, size - 32, digest);
        memcpy(copy + size - 32, digest, 32);
        try_all(copy, size);
    }
    if (size > 32 + MD_BUNDLE_HEADER + MP_MANIFEST_SIZE) {
        mend_bundle(copy, size);
        digest_of(copy, size - 32, copy + size - 32);
        try_all(copy, size);
    }
    if (size > MD_IMAGE_HEADER) {
        mend_image(copy, size);
        try_all(copy, size);
    }
    free(copy);
    return 0;
}
