/*
 * Image packing: links of one build become a canonical payload in an image file (.mfi), which a publisher signs into a
 * bundle (.mfr).
 *
 * Offline, no daemon needed. Byte layouts: docs/SPEC.md section 11. Parsers are bounded and never read past what they
 * are given; they point into the caller's buffer, which must outlive the result. Reentrant.
 */
#ifndef MD_PACK_H
#define MD_PACK_H

#include "keyfile.h"
#include "proto/object/manifest.h"

#define MD_IMAGE_HEADER 80
#define MD_BUNDLE_HEADER 16
#define MD_BUNDLE_MANIFESTS_MAX 8
#define MD_IMAGE_FILE_MAX (MD_IMAGE_HEADER + MP_IMAGE_MAX)
#define MD_BUNDLE_MAX                                                                                                  \
    ((size_t)MD_BUNDLE_HEADER + (size_t)MD_BUNDLE_MANIFESTS_MAX * (MP_MANIFEST_SIZE + (size_t)MP_IMAGE_MAX) + 32u)

/* What an image is, before anybody signs it. */
struct md_image {
    uint32_t product;
    uint16_t model;
    uint32_t hw_revisions;  /* bit r: revision r; not 0 */
    uint32_t version;       /* major << 24 | minor << 16 | patch */
    const uint8_t *payload; /* canonical: relocation list and image */
    uint32_t payload_size;
};

/* "1.2.3" to a version and back (out: 16 bytes). 0 or MP_ERR_FORMAT (major, minor up to 255, patch up to 65535). */
int md_version_parse(const char *text, uint32_t *version);
void md_version_format(uint32_t version, char out[16]);

/*
 * Packs one link (b NULL: position independent) or two links at base_a and base_b. *payload is malloc'd, *size its
 * length. align: as in mp_reloc_pack(), 4 to 4096. 0, MP_ERR_LENGTH (empty, sizes differ, wrong align), MP_ERR_FORMAT (they differ in more than relocations; error names the
 * offset and both bytes), MP_ERR_ROOM (above 16 MiB, or no memory).
 */
int md_pack_links(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len, uint32_t base_a, uint32_t base_b,
                  uint32_t align, uint8_t **payload, size_t *size, char *error, size_t error_size);

/* Image file: length written (MD_IMAGE_HEADER + payload), or MP_ERR_ROOM, MP_ERR_FORMAT (a field out of range). */
long md_image_put(const struct mp_crypto *crypto, const struct md_image *image, uint8_t *out, size_t cap);
/* 0, MP_ERR_LENGTH, MP_ERR_FORMAT, MP_ERR_CHUNK (digest wrong), with a sentence. image->payload points into data. */
int md_image_get(const struct mp_crypto *crypto, struct md_image *image, const uint8_t *data, size_t len, char *error,
                 size_t error_size);

/* What the signer adds. */
struct md_sign_options {
    uint32_t release; /* sequence, not 0 */
    uint32_t security_counter;
    uint32_t version_min;
    uint32_t expiry_epoch;
    uint8_t battery_min_percent;
};

/* Manifest of an image: draws a fresh salt, computes tree root and SHA-256, signs. key: a publisher key with its
 * secret. 0, MP_ERR_KEY, MP_ERR_FORMAT. */
int md_manifest_make(const struct mp_crypto *crypto, const struct md_image *image,
                     const struct md_sign_options *options, const struct md_key *key,
                     uint8_t manifest[MP_MANIFEST_SIZE]);

/* A release: one manifest and payload for each product, model and hardware revision it covers. */
struct md_bundle {
    unsigned count;
    struct mp_manifest manifest[MD_BUNDLE_MANIFESTS_MAX];
    uint8_t id[MD_BUNDLE_MANIFESTS_MAX][8];
    const uint8_t *raw[MD_BUNDLE_MANIFESTS_MAX]; /* 200 bytes each */
    const uint8_t *payload[MD_BUNDLE_MANIFESTS_MAX];
};

/* Size of a bundle of these manifests. */
size_t md_bundle_size(const struct mp_manifest *manifests, unsigned count);
/* Writes a bundle; length, or MP_ERR_ROOM, MP_ERR_FORMAT (count, releases differ, two manifests for the same device).
 */
long md_bundle_put(const struct mp_crypto *crypto, const uint8_t (*manifests)[MP_MANIFEST_SIZE],
                   const uint8_t *const *payloads, unsigned count, uint8_t *out, size_t cap, char *error,
                   size_t error_size);
/* Reads a container: lengths, ranges, one release, no two manifests for one device, container digest. Not signatures,
 * not payload hashes. 0, MP_ERR_LENGTH, MP_ERR_FORMAT, MP_ERR_CHUNK, with a sentence. */
int md_bundle_get(const struct mp_crypto *crypto, struct md_bundle *b, const uint8_t *data, size_t len, char *error,
                  size_t error_size);
/* Image SHA-256 and tree root of one payload: 0 or MP_ERR_CHUNK, MP_ERR_UNSUPPORTED (delta), MP_ERR_FORMAT (relocation
 * list), with a sentence. */
int md_payload_check(const struct mp_crypto *crypto, const struct mp_manifest *m, const uint8_t *payload, char *error,
                     size_t error_size);
/* Whole verification under a keyset, as a gateway does: container, signature, payloads. epoch 0: expiry is not judged.
 * 0, the codes above, MP_ERR_KEY, MP_ERR_REVOKED, MP_ERR_SIGNATURE, MP_ERR_EXPIRED. */
int md_bundle_verify(const struct mp_crypto *crypto, struct md_bundle *b, const uint8_t *data, size_t len,
                     const struct mp_keyset *keys, uint32_t epoch, char *error, size_t error_size);

/* --- files
 * ------------------------------------------------------------------------------------------------------------ */
/* Reads a file of at most max bytes into malloc'd *data. 0, MP_ERR_LENGTH (longer), MP_ERR_ROOM, MP_ERR_STORE; with a
 * sentence. */
int md_file_read(const char *path, size_t max, uint8_t **data, size_t *len, char *error, size_t error_size);
/* Writes atomically (temporary file in the same folder, fsync, rename). mode as for open(2). 0 or MP_ERR_STORE; with a
 * sentence. */
int md_file_write(const char *path, const void *data, size_t len, unsigned mode, char *error, size_t error_size);

#endif
