/*
 * Audit log: rows that carry SHA-256(hash of the row before || id || time || who || what || text), so that a changed,
 * removed or inserted row shows. Cutting the newest rows off does not show here: whoever must prove those keeps the
 * newest hash elsewhere.
 */
#include <string.h>

#include "proto/mp_wire.h"
#include "store_state.h"

#define CHAIN_TAG "meshd-audit----1"

static void hash_text(const struct mp_crypto *crypto, struct mp_sha256 *state, const char *text)
{
    uint8_t size[4];
    size_t len = strlen(text);
    mp_put32(size, (uint32_t)len);
    crypto->sha256_update(state, size, sizeof size);
    crypto->sha256_update(state, (const uint8_t *)text, len);
}

static void hash_row(const struct mp_crypto *crypto, const uint8_t previous[32], const struct md_audit_row *row,
                     uint8_t hash[32])
{
    struct mp_sha256 state;
    uint8_t numbers[16];
    mp_put64(numbers, (uint64_t)row->id);
    mp_put64(numbers + 8, (uint64_t)row->at_ms);
    crypto->sha256_init(&state);
    crypto->sha256_update(&state, (const uint8_t *)CHAIN_TAG, sizeof CHAIN_TAG - 1);
    crypto->sha256_update(&state, previous, 32);
    crypto->sha256_update(&state, numbers, sizeof numbers);
    hash_text(crypto, &state, row->who);
    hash_text(crypto, &state, row->what);
    hash_text(crypto, &state, row->text);
    crypto->sha256_final(&state, hash);
}

static const char *column_text(sqlite3_stmt *q, int column)
{
    const char *text = (const char *)sqlite3_column_text(q, column);
    return text ? text : "";
}

/* False when the row's hash is not 32 bytes. */
static bool read_row(sqlite3_stmt *q, struct md_audit_row *row)
{
    row->id = sqlite3_column_int64(q, 0);
    row->at_ms = sqlite3_column_int64(q, 1);
    row->who = column_text(q, 2);
    row->what = column_text(q, 3);
    row->text = column_text(q, 4);
    const void *hash = sqlite3_column_blob(q, 5);
    if (!hash || sqlite3_column_bytes(q, 5) != 32)
        return false;
    memcpy(row->hash, hash, 32);
    return true;
}

/* Newest id and hash: id 0 and a zero hash for an empty log. */
static int newest(struct md_store *s, int64_t *id, uint8_t hash[32])
{
    sqlite3_stmt *q = store_statement(s, "SELECT id, at_ms, who, what, text, hash FROM audit ORDER BY id DESC LIMIT 1");
    struct md_audit_row row;
    memset(hash, 0, 32);
    *id = 0;
    int result = store_row(s, q, "reading the audit log");
    if (result <= 0)
        return result;
    bool good = read_row(q, &row);
    *id = row.id;
    if (good)
        memcpy(hash, row.hash, 32);
    sqlite3_reset(q);
    return good ? MP_OK : store_refuse(s, MD_STORE_TAMPERED, "audit row %lld has no hash", (long long)*id);
}

int md_store_audit(struct md_store *s, int64_t at_ms, const char *who, const char *what, const char *text)
{
    struct md_audit_row row = {.at_ms = at_ms, .who = who, .what = what, .text = text};
    uint8_t previous[32];
    int result = newest(s, &row.id, previous);
    if (result < 0)
        return result;
    row.id++;
    hash_row(s->crypto, previous, &row, row.hash);
    sqlite3_stmt *q =
        store_statement(s, "INSERT INTO audit(id, at_ms, who, what, text, hash) VALUES(?1, ?2, ?3, ?4, ?5, ?6)");
    if (q) {
        sqlite3_bind_int64(q, 1, row.id);
        sqlite3_bind_int64(q, 2, at_ms);
        sqlite3_bind_text(q, 3, who, -1, SQLITE_STATIC);
        sqlite3_bind_text(q, 4, what, -1, SQLITE_STATIC);
        sqlite3_bind_text(q, 5, text, -1, SQLITE_STATIC);
        sqlite3_bind_blob(q, 6, row.hash, 32, SQLITE_STATIC);
    }
    return store_run(s, q, "writing the audit log");
}

static const char select_rows[] =
    "SELECT id, at_ms, who, what, text, hash FROM audit WHERE id > ?1 ORDER BY id LIMIT ?2";

int md_store_each_audit(struct md_store *s, int64_t after, unsigned limit, md_audit_each each, void *ctx)
{
    sqlite3_stmt *q = store_statement(s, select_rows);
    struct md_audit_row row;
    int result;
    if (q) {
        sqlite3_bind_int64(q, 1, after);
        sqlite3_bind_int64(q, 2, limit);
    }
    while ((result = store_row(s, q, "reading the audit log")) > 0) {
        if (!read_row(q, &row))
            result = store_refuse(s, MD_STORE_TAMPERED, "audit row %lld has no hash", (long long)row.id);
        else
            result = each(ctx, &row);
        if (result != 0) {
            sqlite3_reset(q);
            return result;
        }
    }
    return result;
}

struct chain {
    struct md_store *s;
    int64_t expected; /* id of the next row */
    bool started;     /* previous is known */
    uint8_t previous[32];
};

static int check_link(void *ctx, const struct md_audit_row *row)
{
    struct chain *c = ctx;
    uint8_t hash[32];
    if (row->id != c->expected)
        return store_refuse(c->s, MD_STORE_TAMPERED, "the audit log was tampered with: row %lld is missing",
                            (long long)c->expected);
    if (c->started) {
        hash_row(c->s->crypto, c->previous, row, hash);
        if (memcmp(hash, row->hash, 32) != 0)
            return store_refuse(c->s, MD_STORE_TAMPERED,
                                "the audit log was tampered with: row %lld does not fit its hash", (long long)row->id);
    }
    memcpy(c->previous, row->hash, 32);
    c->started = true;
    c->expected++;
    return 0;
}

int store_audit_check(struct md_store *s, unsigned rows, int64_t *bad)
{
    struct chain chain = {.s = s, .expected = 1, .started = true};
    int64_t last;
    uint8_t hash[32];
    int result = newest(s, &last, hash);
    if (result == MP_OK && rows && last > rows) {
        /* the first of them only gives the hash that the next one builds on */
        chain.expected = last - rows;
        chain.started = false;
    }
    if (result == MP_OK)
        result = md_store_each_audit(s, chain.expected - 1, UINT32_MAX, check_link, &chain);
    if (result < 0 && bad)
        *bad = result == MD_STORE_TAMPERED ? chain.expected : 0;
    return result;
}

int md_store_verify_audit(struct md_store *s, int64_t *bad)
{
    if (bad)
        *bad = 0;
    return store_audit_check(s, 0, bad);
}
