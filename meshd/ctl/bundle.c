/*
 * Release bundle (.mfr): header, manifests, payloads in the same order, SHA-256 of all that (docs/SPEC.md section 11).
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "pack.h"
#include "proto/mp_wire.h"

#define BUNDLE_MAGIC 0x3152464Du /* "MFR1" */
#define DIGEST_SIZE 32

static int refuse(char *error, size_t size, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (error && size)
        vsnprintf(error, size, format, args);
    va_end(args);
    return code;
}

static void digest_of(const struct mp_crypto *crypto, const uint8_t *data, size_t len, uint8_t digest[32])
{
    struct mp_sha256 state;
    crypto->sha256_init(&state);
    crypto->sha256_update(&state, data, len);
    crypto->sha256_final(&state, digest);
}

size_t md_bundle_size(const struct mp_manifest *manifests, unsigned count)
{
    size_t size = MD_BUNDLE_HEADER + (size_t)count * MP_MANIFEST_SIZE + DIGEST_SIZE;
    for (unsigned i = 0; i < count; i++)
        size += manifests[i].payload_size;
    return size;
}

/* One release, and no device that two manifests fit. */
static int check_set(const struct mp_manifest *m, unsigned count, char *error, size_t error_size)
{
    for (unsigned i = 0; i < count; i++) {
        if (m[i].release != m[0].release)
            return refuse(error, error_size, MP_ERR_FORMAT, "manifest %u is of release %u, the first of release %u",
                          i + 1, (unsigned)m[i].release, (unsigned)m[0].release);
        for (unsigned j = 0; j < i; j++)
            if (m[i].product == m[j].product && m[i].model == m[j].model && (m[i].hw_revisions & m[j].hw_revisions))
                return refuse(error, error_size, MP_ERR_FORMAT,
                              "manifests %u and %u are for the same devices (product %u, model %u)", j + 1, i + 1,
                              (unsigned)m[i].product, m[i].model);
    }
    return MP_OK;
}

long md_bundle_put(const struct mp_crypto *crypto, const uint8_t (*manifests)[MP_MANIFEST_SIZE],
                   const uint8_t *const *payloads, unsigned count, uint8_t *out, size_t cap, char *error,
                   size_t error_size)
{
    struct mp_manifest m[MD_BUNDLE_MANIFESTS_MAX];
    if (count == 0 || count > MD_BUNDLE_MANIFESTS_MAX)
        return refuse(error, error_size, MP_ERR_FORMAT, "a bundle has 1 to %d manifests", MD_BUNDLE_MANIFESTS_MAX);
    for (unsigned i = 0; i < count; i++)
        if (mp_manifest_get(&m[i], manifests[i], MP_MANIFEST_SIZE) < 0)
            return refuse(error, error_size, MP_ERR_FORMAT, "manifest %u is malformed", i + 1);
    int result = check_set(m, count, error, error_size);
    if (result < 0)
        return result;
    size_t size = md_bundle_size(m, count);
    if (size > cap)
        return refuse(error, error_size, MP_ERR_ROOM, "the bundle takes %zu bytes", size);
    memset(out, 0, MD_BUNDLE_HEADER);
    mp_put32(out, BUNDLE_MAGIC);
    mp_put16(out + 4, 1);
    mp_put16(out + 6, count);
    mp_put32(out + 8, (uint32_t)size);
    uint8_t *at = out + MD_BUNDLE_HEADER;
    for (unsigned i = 0; i < count; i++, at += MP_MANIFEST_SIZE)
        memcpy(at, manifests[i], MP_MANIFEST_SIZE);
    for (unsigned i = 0; i < count; at += m[i].payload_size, i++)
        memcpy(at, payloads[i], m[i].payload_size);
    digest_of(crypto, out, size - DIGEST_SIZE, at);
    return (long)size;
}

static int check_header(const uint8_t *data, size_t len, unsigned *count, char *error, size_t error_size)
{
    if (len < MD_BUNDLE_HEADER)
        return refuse(error, error_size, MP_ERR_LENGTH, "not a release bundle: %zu bytes are less than its header",
                      len);
    if (mp_get32(data) != BUNDLE_MAGIC)
        return refuse(error, error_size, MP_ERR_FORMAT, "not a release bundle: it does not start with \"MFR1\"");
    *count = mp_get16(data + 6);
    if (mp_get16(data + 4) != 1 || mp_get32(data + 12) != 0)
        return refuse(error, error_size, MP_ERR_FORMAT, "release bundle of an unknown version");
    if (*count == 0 || *count > MD_BUNDLE_MANIFESTS_MAX)
        return refuse(error, error_size, MP_ERR_FORMAT, "release bundle with %u manifests: 1 to %d are possible",
                      *count, MD_BUNDLE_MANIFESTS_MAX);
    if (mp_get32(data + 8) != len)
        return refuse(error, error_size, MP_ERR_LENGTH, "release bundle of %zu bytes that should have %u", len,
                      (unsigned)mp_get32(data + 8));
    if (len < MD_BUNDLE_HEADER + (size_t)*count * MP_MANIFEST_SIZE + DIGEST_SIZE)
        return refuse(error, error_size, MP_ERR_LENGTH, "release bundle that ends within its manifests");
    return MP_OK;
}

int md_bundle_get(const struct mp_crypto *crypto, struct md_bundle *b, const uint8_t *data, size_t len, char *error,
                  size_t error_size)
{
    uint8_t digest[DIGEST_SIZE];
    unsigned count = 0;
    memset(b, 0, sizeof *b);
    int result = check_header(data, len, &count, error, error_size);
    if (result < 0)
        return result;
    for (unsigned i = 0; i < count; i++) {
        b->raw[i] = data + MD_BUNDLE_HEADER + (size_t)i * MP_MANIFEST_SIZE;
        result = mp_manifest_get(&b->manifest[i], b->raw[i], MP_MANIFEST_SIZE);
        if (result < 0)
            return refuse(error, error_size, result, "manifest %u of the bundle is malformed", i + 1);
        mp_manifest_id(crypto, b->raw[i], b->id[i]);
    }
    if (md_bundle_size(b->manifest, count) != len)
        return refuse(error, error_size, MP_ERR_LENGTH, "release bundle of %zu bytes whose manifests speak of %zu", len,
                      md_bundle_size(b->manifest, count));
    const uint8_t *at = data + MD_BUNDLE_HEADER + (size_t)count * MP_MANIFEST_SIZE;
    for (unsigned i = 0; i < count; at += b->manifest[i].payload_size, i++)
        b->payload[i] = at;
    digest_of(crypto, data, len - DIGEST_SIZE, digest);
    if (memcmp(digest, at, DIGEST_SIZE) != 0)
        return refuse(error, error_size, MP_ERR_CHUNK, "release bundle is damaged: its digest is wrong");
    b->count = count;
    return check_set(b->manifest, count, error, error_size);
}

static int check_signature(const struct mp_crypto *crypto, const struct mp_manifest *m, const uint8_t *raw,
                           const struct mp_keyset *keys, char *error, size_t error_size)
{
    uint8_t pub[32];
    int result = mp_keyset_find(keys, MP_ROLE_PUBLISHER, m->key_id, m->generation, pub);
    if (result == MP_OK)
        result = mp_manifest_verify(crypto, raw, pub);
    switch (result) {
    case MP_OK:
        return MP_OK;
    case MP_ERR_REVOKED:
        return refuse(error, error_size, result, "signed with publisher key %u of generation %u, which is revoked",
                      m->key_id, m->generation);
    case MP_ERR_KEY:
        return refuse(error, error_size, result,
                      "signed with publisher key %u of generation %u, which is not in force here", m->key_id,
                      m->generation);
    default:
        return refuse(error, error_size, result, "the publisher's signature is wrong");
    }
}

int md_bundle_verify(const struct mp_crypto *crypto, struct md_bundle *b, const uint8_t *data, size_t len,
                     const struct mp_keyset *keys, uint32_t epoch, char *error, size_t error_size)
{
    char why[192] = "";
    int result = md_bundle_get(crypto, b, data, len, error, error_size);
    for (unsigned i = 0; result == MP_OK && i < b->count; i++) {
        const struct mp_manifest *m = &b->manifest[i];
        result = check_signature(crypto, m, b->raw[i], keys, why, sizeof why);
        if (result == MP_OK && epoch && m->expiry_epoch && epoch > m->expiry_epoch)
            result = refuse(why, sizeof why, MP_ERR_EXPIRED, "expired with epoch %u; it is %u now",
                            (unsigned)m->expiry_epoch, (unsigned)epoch);
        if (result == MP_OK)
            result = md_payload_check(crypto, m, b->payload[i], why, sizeof why);
        if (result < 0)
            refuse(error, error_size, result, "manifest %u: %s", i + 1, why);
    }
    return result;
}
