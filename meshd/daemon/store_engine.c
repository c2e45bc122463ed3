/*
 * What the protocol engine keeps: records written through to the database and mirrored in RAM, and payloads served
 * from RAM. A payload that is fetched from the mesh reaches the database when it is complete: chunks come by the
 * hundred a second, and losing a part of one to a crash costs a transfer, not a guarantee.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/mp_wire.h"
#include "proto/object/keyset.h"
#include "store_state.h"

static const unsigned slots_of[MP_KIND_COUNT] = {
    [MP_KIND_MANIFEST] = MP_MANIFESTS_MAX,
    [MP_KIND_DIRECTIVE] = MP_RELEASES_MAX,
    [MP_KIND_KEYCHANGE] = MP_KEYCHAIN_MAX,
    [MP_KIND_RECEIPT] = 1,
    [MP_KIND_KEYSET] = 1,
    [MP_KIND_REPORT] = 1,
};

_Static_assert(MP_MANIFESTS_MAX <= RECORD_SLOTS && MP_RELEASES_MAX <= RECORD_SLOTS && MP_KEYCHAIN_MAX <= RECORD_SLOTS,
               "the mirror has a slot for every record");

/* --- records
 * ---------------------------------------------------------------------------------------------------------- */

int store_records_load(struct md_store *s)
{
    sqlite3_stmt *q = store_statement(s, "SELECT kind, slot, data FROM objects");
    int result;
    memset(s->record, 0, sizeof s->record);
    while ((result = store_row(s, q, "reading objects")) > 0) {
        int kind = sqlite3_column_int(q, 0), slot = sqlite3_column_int(q, 1), len = sqlite3_column_bytes(q, 2);
        const void *data = sqlite3_column_blob(q, 2);
        if (kind < 0 || kind >= MP_KIND_COUNT || slot < 0 || (unsigned)slot >= slots_of[kind] || len < 1 ||
            len > MP_RECORD_MAX || !data) {
            sqlite3_reset(q);
            return store_refuse(s, MD_STORE_CORRUPT, "object %d/%d is out of range", kind, slot);
        }
        s->record[kind][slot].len = (uint16_t)len;
        memcpy(s->record[kind][slot].data, data, (size_t)len);
    }
    return result;
}

static int write_record(struct md_store *s, enum mp_kind kind, unsigned slot, const uint8_t *data, size_t len)
{
    sqlite3_stmt *q = len ? store_statement(s, "INSERT OR REPLACE INTO objects(kind, slot, data) VALUES(?1, ?2, ?3)")
                          : store_statement(s, "DELETE FROM objects WHERE kind = ?1 AND slot = ?2");
    if (q) {
        sqlite3_bind_int(q, 1, (int)kind);
        sqlite3_bind_int(q, 2, (int)slot);
        if (len)
            sqlite3_bind_blob(q, 3, data, (int)len, SQLITE_STATIC);
    }
    return store_run(s, q, "writing an object");
}

/* Every key change is kept: the engine's slots hold the newest sixteen only. */
static int keep_keychange(struct md_store *s, const uint8_t *data)
{
    sqlite3_stmt *q = store_statement(s, "INSERT OR REPLACE INTO keychanges(number, object) VALUES(?1, ?2)");
    if (q) {
        sqlite3_bind_int(q, 1, mp_get16(data + 4));
        sqlite3_bind_blob(q, 2, data, MP_KEYCHANGE_SIZE, SQLITE_STATIC);
    }
    return store_run(s, q, "keeping a key change");
}

static int put(void *ctx, enum mp_kind kind, unsigned slot, const uint8_t *data, size_t len)
{
    struct md_store *s = ctx;
    bool own;
    if ((unsigned)kind >= MP_KIND_COUNT || slot >= slots_of[kind] || len > MP_RECORD_MAX)
        return MP_ERR_STORE;
    int result = store_enter(s, &own);
    if (result < 0)
        return MP_ERR_STORE;
    result = write_record(s, kind, slot, data, len);
    if (result == MP_OK && kind == MP_KIND_KEYCHANGE && len == MP_KEYCHANGE_SIZE)
        result = keep_keychange(s, data);
    if (result == MP_OK && kind == MP_KIND_MANIFEST && len == MP_MANIFEST_SIZE) {
        result = md_store_add_payload(s, data, NULL, 0);
        result = result == MP_ERR_DUPLICATE ? MP_OK : result;
    }
    result = store_leave(s, own, result);
    if (result < 0)
        return MP_ERR_STORE;
    struct store_record *record = &s->record[kind][slot];
    record->len = (uint16_t)len;
    if (len)
        memcpy(record->data, data, len);
    s->records_touched = true;
    return MP_OK;
}

static int get(void *ctx, enum mp_kind kind, unsigned slot, uint8_t *data, size_t cap)
{
    const struct md_store *s = ctx;
    if ((unsigned)kind >= MP_KIND_COUNT || slot >= slots_of[kind])
        return MP_ERR_STORE;
    const struct store_record *record = &s->record[kind][slot];
    if (record->len > cap)
        return MP_ERR_ROOM;
    memcpy(data, record->data, record->len);
    return record->len;
}

int md_store_keychange(struct md_store *s, uint16_t number, uint8_t out[200])
{
    sqlite3_stmt *q = store_statement(s, "SELECT object FROM keychanges WHERE number = ?1");
    if (q)
        sqlite3_bind_int(q, 1, number);
    int result = store_row(s, q, "reading a key change");
    if (result <= 0)
        return result < 0 ? result : MP_ERR_ABSENT;
    const void *object = sqlite3_column_blob(q, 0);
    result = MP_OK;
    if (object && sqlite3_column_bytes(q, 0) == MP_KEYCHANGE_SIZE)
        memcpy(out, object, MP_KEYCHANGE_SIZE);
    else
        result = store_refuse(s, MD_STORE_CORRUPT, "key change %u has another length", number);
    sqlite3_reset(q);
    return result;
}

/* --- places
 * ----------------------------------------------------------------------------------------------------------- */

static void place_free(struct store_place *p)
{
    free(p->payload);
    free(p->interior);
    free(p->bitmap);
    memset(p, 0, sizeof *p);
}

void store_places_free(struct md_store *s)
{
    for (unsigned i = 0; i < MP_PLACES_MAX; i++)
        place_free(&s->place[i]);
}

static uint8_t *chunk_at(const struct store_place *p, uint32_t position)
{
    if (position >= p->tree.first[0])
        return p->payload + (size_t)(position - p->tree.first[0]) * MP_CHUNK_SIZE;
    return p->interior + (size_t)position * MP_CHUNK_SIZE;
}

static bool is_held(const struct store_place *p, uint32_t position)
{
    return p->bitmap[position / 8] >> (position % 8) & 1;
}

static void set_held(struct store_place *p, uint32_t position)
{
    if (!is_held(p, position))
        p->held++;
    p->bitmap[position / 8] = (uint8_t)(p->bitmap[position / 8] | 1u << (position % 8));
}

static struct store_place *place_of(void *ctx, unsigned place)
{
    struct md_store *s = ctx;
    return place < MP_PLACES_MAX && s->place[place].used ? &s->place[place] : NULL;
}

static int chunk_put(void *ctx, unsigned place, uint32_t position, const uint8_t *data, size_t len)
{
    struct store_place *p = place_of(ctx, place);
    if (!p || position >= p->tree.positions || len != mp_tree_length(&p->tree, position))
        return MP_ERR_STORE;
    memcpy(chunk_at(p, position), data, len);
    set_held(p, position);
    return MP_OK;
}

static int chunk_get(void *ctx, unsigned place, uint32_t position, uint8_t data[MP_CHUNK_SIZE])
{
    const struct store_place *p = place_of(ctx, place);
    if (!p || position >= p->tree.positions || !is_held(p, position))
        return MP_ERR_ABSENT;
    unsigned len = mp_tree_length(&p->tree, position);
    memcpy(data, chunk_at(p, position), len);
    return (int)len;
}

static const uint8_t *bitmap(void *ctx, unsigned place)
{
    const struct store_place *p = place_of(ctx, place);
    return p ? p->bitmap : NULL;
}

const struct mp_store *md_store_engine(void)
{
    static const struct mp_store engine = {
        .put = put, .get = get, .chunk_put = chunk_put, .chunk_get = chunk_get, .bitmap = bitmap};
    return &engine;
}

static int build_read(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    const struct store_place *p = ctx;
    memcpy(data, p->payload + offset, len);
    return MP_OK;
}

static int build_emit(void *ctx, uint32_t position, const uint8_t *data, size_t len)
{
    struct store_place *p = ctx;
    memcpy(chunk_at(p, position), data, len);
    return MP_OK;
}

/* Payload from the database, its tree recomputed: 0, or MP_ERR_ABSENT when it was never fetched. */
static int fill(struct md_store *s, struct store_place *p)
{
    uint8_t root[MP_HASH_SIZE];
    sqlite3_stmt *q = store_statement(s, "SELECT data FROM payloads WHERE id = ?1");
    if (q)
        sqlite3_bind_blob(q, 1, p->id, 8, SQLITE_STATIC);
    int result = store_row(s, q, "reading a payload");
    if (result <= 0)
        return result < 0 ? result : MP_ERR_ABSENT;
    const void *data = sqlite3_column_blob(q, 0);
    bool fits = data && (uint32_t)sqlite3_column_bytes(q, 0) == p->tree.size;
    if (fits)
        memcpy(p->payload, data, p->tree.size);
    sqlite3_reset(q);
    if (!fits)
        return store_refuse(s, MD_STORE_CORRUPT, "a payload has another length than its manifest says");
    result = mp_tree_build(&p->tree, s->crypto, p->manifest.salt, build_read, build_emit, p, root);
    if (result < 0 || memcmp(root, p->manifest.payload_root, MP_HASH_SIZE) != 0)
        return store_refuse(s, MD_STORE_CORRUPT, "a payload does not fit its manifest any more");
    for (uint32_t position = 0; position < p->tree.positions; position++)
        set_held(p, position);
    p->sealed = true;
    return MP_OK;
}

int md_store_place(struct md_store *s, unsigned place, const struct mp_manifest *m, const uint8_t id[8])
{
    if (place >= MP_PLACES_MAX)
        return store_refuse(s, MP_ERR_FORMAT, "place %u does not exist", place);
    struct store_place *p = &s->place[place];
    place_free(p);
    if (mp_tree_init(&p->tree, m->payload_size) < 0)
        return store_refuse(s, MP_ERR_FORMAT, "a payload of %u bytes is out of range", (unsigned)m->payload_size);
    p->manifest = *m;
    memcpy(p->id, id, 8);
    p->payload = calloc(1, m->payload_size);
    p->interior = calloc(p->tree.first[0] + 1u, MP_CHUNK_SIZE);
    p->bitmap = calloc(1, p->tree.positions / 8 + 1u);
    int result = MP_OK;
    if (!p->payload || !p->interior || !p->bitmap)
        result = store_refuse(s, MP_ERR_ROOM, "out of memory for a payload of %u bytes", (unsigned)m->payload_size);
    else
        result = fill(s, p);
    if (result < 0 && result != MP_ERR_ABSENT) {
        place_free(p);
        return result;
    }
    p->used = true;
    return MP_OK;
}

void md_store_unplace(struct md_store *s, unsigned place)
{
    if (place < MP_PLACES_MAX)
        place_free(&s->place[place]);
}

int md_store_find_place(const struct md_store *s, const uint8_t id[8])
{
    for (unsigned i = 0; i < MP_PLACES_MAX; i++)
        if (s->place[i].used && memcmp(s->place[i].id, id, 8) == 0)
            return (int)i;
    return -1;
}

static int keep_payload(struct md_store *s, const struct store_place *p)
{
    sqlite3_stmt *q = store_statement(s, "INSERT OR IGNORE INTO payloads(id, data) VALUES(?1, ?2)");
    if (q) {
        sqlite3_bind_blob(q, 1, p->id, 8, SQLITE_STATIC);
        sqlite3_bind_blob(q, 2, p->payload, (int)p->tree.size, SQLITE_STATIC);
    }
    return store_run(s, q, "keeping a payload");
}

int md_store_seal_place(struct md_store *s, unsigned place)
{
    struct store_place *p = place_of(s, place);
    uint8_t digest[32];
    if (!p || p->held < p->tree.positions)
        return store_refuse(s, MP_ERR_STATE, "place %u is not complete", place);
    if (p->sealed)
        return MP_OK;
    struct mp_sha256 state;
    s->crypto->sha256_init(&state);
    s->crypto->sha256_update(&state, p->payload, p->tree.size);
    s->crypto->sha256_final(&state, digest);
    if (p->manifest.kind == MP_PAYLOAD_FULL && memcmp(digest, p->manifest.image_sha256, 32) != 0) {
        memset(p->bitmap, 0, p->tree.positions / 8 + 1u);
        p->held = 0;
        return store_refuse(s, MP_ERR_CHUNK, "the payload in place %u has another SHA-256 than its manifest says",
                            place);
    }
    int result = keep_payload(s, p);
    p->sealed = result == MP_OK;
    return result;
}
