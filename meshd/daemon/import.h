/*
 * Import of a release bundle (.mfr, meshd/ctl/pack.h): checks everything, then stores all of it or nothing, in one
 * transaction.
 *
 * In this order: container format and digest; each manifest's ranges; key and signature against the gateway's keyset;
 * expiry; payload SHA-256 (of the image) and tree root; release sequence not below what was imported for that product
 * and model; security counter not below and at most 16 above; not there already.
 */
#ifndef MD_IMPORT_H
#define MD_IMPORT_H

#include "../release/release.h"
#include "store.h"

struct md_import {
    uint32_t release;
    uint8_t count;
    struct md_release_image image[MP_DIRECTIVE_MANIFESTS_MAX];
    struct mp_manifest manifest[MP_DIRECTIVE_MANIFESTS_MAX];
};

/*
 * Imports a bundle of len bytes. out describes it on success and on MP_ERR_DUPLICATE (all of it is there: nothing
 * changes). who goes to the audit log. error holds a sentence on failure. 0, MP_ERR_LENGTH, MP_ERR_FORMAT, MP_ERR_KEY,
 * MP_ERR_REVOKED, MP_ERR_SIGNATURE, MP_ERR_EXPIRED, MP_ERR_CHUNK (hash or root wrong), MP_ERR_RELEASE, MP_ERR_COUNTER,
 * MP_ERR_DUPLICATE, MP_ERR_UNSUPPORTED (a delta), or a store code.
 */
int md_import_bundle(struct md_store *s, int64_t now_ms, uint32_t epoch, const uint8_t *data, size_t len,
                     const char *who, struct md_import *out, char *error, size_t error_size);

/* Images of an imported release, for md_release_start(). Number of images, MP_ERR_ABSENT, or a store code. */
int md_import_release(struct md_store *s, uint32_t release, struct md_import *out);

#endif
