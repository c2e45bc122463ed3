#include "import.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../ctl/pack.h"
#include "store_state.h"

static int refuse(char *error, size_t size, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (error && size)
        vsnprintf(error, size, format, args);
    va_end(args);
    return code;
}

static void describe(const struct mp_manifest *m, const uint8_t id[8], struct md_import *out)
{
    struct md_release_image *image = &out->image[out->count];
    memcpy(image->id, id, 8);
    image->product = m->product;
    image->model = m->model;
    image->hw_revisions = m->hw_revisions;
    image->version = m->version;
    out->manifest[out->count++] = *m;
    out->release = m->release;
}

/* What other releases were imported for this device: highest release and counter. */
static int newest(struct md_store *s, const struct mp_manifest *m, int64_t *release, int64_t *counter, bool *any)
{
    sqlite3_stmt *q =
        store_statement(s, "SELECT max(m.release), max(m.counter) FROM manifests m JOIN payloads p ON p.id = m.id"
                           " WHERE m.product = ?1 AND m.model = ?2 AND m.release <> ?3");
    if (q) {
        sqlite3_bind_int64(q, 1, m->product);
        sqlite3_bind_int64(q, 2, m->model);
        sqlite3_bind_int64(q, 3, m->release);
    }
    int result = store_row(s, q, "looking for older releases");
    if (result <= 0)
        return result;
    *any = sqlite3_column_type(q, 0) != SQLITE_NULL;
    *release = sqlite3_column_int64(q, 0);
    *counter = sqlite3_column_int64(q, 1);
    sqlite3_reset(q);
    return MP_OK;
}

/* Another manifest of the same release for the same devices would make the release ambiguous. */
static int find_rival(struct md_store *s, const struct mp_manifest *m)
{
    sqlite3_stmt *q = store_statement(s, "SELECT m.object FROM manifests m JOIN payloads p ON p.id = m.id"
                                         " WHERE m.release = ?1 AND m.product = ?2 AND m.model = ?3");
    struct mp_manifest other;
    int result;
    if (q) {
        sqlite3_bind_int64(q, 1, m->release);
        sqlite3_bind_int64(q, 2, m->product);
        sqlite3_bind_int64(q, 3, m->model);
    }
    while ((result = store_row(s, q, "looking for the release")) > 0) {
        const void *object = sqlite3_column_blob(q, 0);
        if (object && mp_manifest_get(&other, object, (size_t)sqlite3_column_bytes(q, 0)) == MP_OK &&
            (other.hw_revisions & m->hw_revisions)) {
            sqlite3_reset(q);
            return 1;
        }
    }
    return result;
}

static int judge(struct md_store *s, const struct mp_manifest *m, char *error, size_t size)
{
    int64_t release = 0, counter = 0;
    bool any = false;
    int result = newest(s, m, &release, &counter, &any);
    if (result < 0)
        return refuse(error, size, result, "%s", md_store_error(s));
    if (any && m->release < release)
        return refuse(error, size, MP_ERR_RELEASE, "release %u is below %lld, which product %u, model %u has already",
                      (unsigned)m->release, (long long)release, (unsigned)m->product, m->model);
    if (any && m->security_counter < counter)
        return refuse(error, size, MP_ERR_COUNTER,
                      "security counter %u is below %lld: nodes that confirmed that would refuse it",
                      (unsigned)m->security_counter, (long long)counter);
    if (any && m->security_counter - counter > MP_COUNTER_STEP_MAX)
        return refuse(error, size, MP_ERR_COUNTER, "security counter %u is more than %d above %lld",
                      (unsigned)m->security_counter, MP_COUNTER_STEP_MAX, (long long)counter);
    result = find_rival(s, m);
    if (result > 0)
        return refuse(error, size, MP_ERR_DUPLICATE,
                      "release %u was imported already with another image for product %u, model %u",
                      (unsigned)m->release, (unsigned)m->product, m->model);
    return result < 0 ? refuse(error, size, result, "%s", md_store_error(s)) : MP_OK;
}

static int store_one(struct md_store *s, const struct md_bundle *b, unsigned i, int64_t now_ms, char *error,
                     size_t size)
{
    int result = judge(s, &b->manifest[i], error, size);
    if (result < 0)
        return result;
    result = md_store_add_payload(s, b->raw[i], b->payload[i], now_ms);
    return result < 0 ? refuse(error, size, result, "%s", md_store_error(s)) : MP_OK;
}

static int store_all(struct md_store *s, const struct md_bundle *b, int64_t now_ms, const char *who, const bool *known,
                     char *error, size_t size)
{
    char text[128], version[16];
    for (unsigned i = 0; i < b->count; i++) {
        int result = known[i] ? MP_OK : store_one(s, b, i, now_ms, error, size);
        if (result < 0)
            return result;
    }
    md_version_format(b->manifest[0].version, version);
    snprintf(text, sizeof text, "release %u (%s) imported: %u images", (unsigned)b->manifest[0].release, version,
             b->count);
    int result = md_store_audit(s, now_ms, who, "release.import", text);
    return result < 0 ? refuse(error, size, result, "%s", md_store_error(s)) : MP_OK;
}

static int read_keyset(struct md_store *s, struct mp_keyset *keys, char *error, size_t size)
{
    uint8_t record[MP_KEYSET_SIZE];
    int len = md_store_engine()->get(s, MP_KIND_KEYSET, 0, record, sizeof record);
    if (len != MP_KEYSET_SIZE || mp_keyset_get(keys, record, sizeof record) < 0)
        return refuse(error, size, MP_ERR_KEY, "this gateway has no keyset yet: initialise it first");
    return MP_OK;
}

int md_import_bundle(struct md_store *s, int64_t now_ms, uint32_t epoch, const uint8_t *data, size_t len,
                     const char *who, struct md_import *out, char *error, size_t error_size)
{
    struct mp_keyset keys;
    struct md_bundle b = {0};
    bool known[MD_BUNDLE_MANIFESTS_MAX] = {false}, own;
    unsigned known_count = 0;
    memset(out, 0, sizeof *out);
    int result = read_keyset(s, &keys, error, error_size);
    if (result == MP_OK)
        result = md_bundle_verify(md_store_crypto(s), &b, data, len, &keys, epoch, error, error_size);
    if (result < 0)
        return result;
    for (unsigned i = 0; i < b.count; i++) {
        describe(&b.manifest[i], b.id[i], out);
        result = md_store_has_payload(s, b.id[i]);
        if (result < 0 && result != MP_ERR_ABSENT)
            return refuse(error, error_size, result, "%s", md_store_error(s));
        known[i] = result == MP_OK;
        known_count += known[i];
    }
    if (known_count == b.count)
        return refuse(error, error_size, MP_ERR_DUPLICATE, "release %u is imported already", (unsigned)out->release);
    if ((result = store_enter(s, &own)) < 0)
        return refuse(error, error_size, result, "%s", md_store_error(s));
    result = store_all(s, &b, now_ms, who, known, error, error_size);
    int left = store_leave(s, own, result);
    if (left < 0 && result >= 0)
        refuse(error, error_size, left, "%s", md_store_error(s));
    if (left < 0)
        memset(out, 0, sizeof *out);
    return left;
}

int md_import_release(struct md_store *s, uint32_t release, struct md_import *out)
{
    sqlite3_stmt *q = store_statement(s, "SELECT m.id, m.object FROM manifests m JOIN payloads p ON p.id = m.id"
                                         " WHERE m.release = ?1 ORDER BY m.rowid");
    struct mp_manifest m;
    int result;
    memset(out, 0, sizeof *out);
    if (q)
        sqlite3_bind_int64(q, 1, release);
    while ((result = store_row(s, q, "reading a release")) > 0) {
        const uint8_t *id = sqlite3_column_blob(q, 0), *object = sqlite3_column_blob(q, 1);
        if (!id || sqlite3_column_bytes(q, 0) != 8 || !object ||
            mp_manifest_get(&m, object, (size_t)sqlite3_column_bytes(q, 1)) < 0) {
            sqlite3_reset(q);
            return store_refuse(s, MD_STORE_CORRUPT, "a manifest of release %u is out of range", (unsigned)release);
        }
        if (out->count < MP_DIRECTIVE_MANIFESTS_MAX)
            describe(&m, id, out);
    }
    if (result < 0)
        return result;
    return out->count ? out->count : MP_ERR_ABSENT;
}
