/*
 * Manifests and payloads, rollouts, and the directives this gateway signed.
 */
#include <stdio.h>
#include <string.h>

#include "../release/release.h"
#include "store_state.h"

/* --- manifests and payloads
 * ------------------------------------------------------------------------------------------- */

static int insert_manifest(struct md_store *s, const struct mp_manifest *m, const uint8_t id[8], const uint8_t *object,
                           int64_t at_ms)
{
    sqlite3_stmt *q =
        store_statement(s, "INSERT OR IGNORE INTO manifests(id, release, product, model, counter, object, at_ms)"
                           " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)");
    if (q) {
        sqlite3_bind_blob(q, 1, id, 8, SQLITE_STATIC);
        sqlite3_bind_int64(q, 2, m->release);
        sqlite3_bind_int64(q, 3, m->product);
        sqlite3_bind_int64(q, 4, m->model);
        sqlite3_bind_int64(q, 5, m->security_counter);
        sqlite3_bind_blob(q, 6, object, MP_MANIFEST_SIZE, SQLITE_STATIC);
        sqlite3_bind_int64(q, 7, at_ms);
    }
    int result = store_run(s, q, "keeping a manifest");
    return result < 0 ? result : sqlite3_changes(s->db);
}

int md_store_add_payload(struct md_store *s, const uint8_t manifest[MP_MANIFEST_SIZE], const uint8_t *payload,
                         int64_t at_ms)
{
    struct mp_manifest m;
    uint8_t id[8];
    bool own;
    int result = mp_manifest_get(&m, manifest, MP_MANIFEST_SIZE);
    if (result < 0)
        return store_refuse(s, result, "a manifest is malformed");
    mp_manifest_id(s->crypto, manifest, id);
    if ((result = store_enter(s, &own)) < 0)
        return result;
    int added = insert_manifest(s, &m, id, manifest, at_ms);
    if (added >= 0 && payload) {
        sqlite3_stmt *q = store_statement(s, "INSERT OR IGNORE INTO payloads(id, data) VALUES(?1, ?2)");
        if (q) {
            sqlite3_bind_blob(q, 1, id, 8, SQLITE_STATIC);
            sqlite3_bind_blob(q, 2, payload, (int)m.payload_size, SQLITE_STATIC);
        }
        result = store_run(s, q, "keeping a payload");
        added = result < 0 ? result : added + sqlite3_changes(s->db);
    }
    result = store_leave(s, own, added < 0 ? added : MP_OK);
    if (result == MP_OK && added == 0)
        return MP_ERR_DUPLICATE;
    return result;
}

int md_store_has_payload(struct md_store *s, const uint8_t id[8])
{
    sqlite3_stmt *q = store_statement(s, "SELECT 1 FROM payloads WHERE id = ?1");
    if (q)
        sqlite3_bind_blob(q, 1, id, 8, SQLITE_STATIC);
    int result = store_row(s, q, "looking for a payload");
    if (result <= 0)
        return result < 0 ? result : MP_ERR_ABSENT;
    sqlite3_reset(q);
    return MP_OK;
}

int md_store_manifest(struct md_store *s, const uint8_t id[8], uint8_t out[MP_MANIFEST_SIZE])
{
    sqlite3_stmt *q = store_statement(s, "SELECT object FROM manifests WHERE id = ?1");
    if (q)
        sqlite3_bind_blob(q, 1, id, 8, SQLITE_STATIC);
    int result = store_row(s, q, "reading a manifest");
    if (result <= 0)
        return result < 0 ? result : MP_ERR_ABSENT;
    const void *object = sqlite3_column_blob(q, 0);
    result = MP_OK;
    if (object && sqlite3_column_bytes(q, 0) == MP_MANIFEST_SIZE)
        memcpy(out, object, MP_MANIFEST_SIZE);
    else
        result = store_refuse(s, MD_STORE_CORRUPT, "a manifest has another length");
    sqlite3_reset(q);
    return result;
}

int md_store_each_manifest(struct md_store *s, md_manifest_each each, void *ctx)
{
    sqlite3_stmt *q = store_statement(s, "SELECT m.id, m.object, m.at_ms, p.id IS NOT NULL FROM manifests m"
                                         " LEFT JOIN payloads p ON p.id = m.id ORDER BY m.release, m.rowid");
    int result;
    while ((result = store_row(s, q, "listing manifests")) > 0) {
        const uint8_t *id = sqlite3_column_blob(q, 0), *object = sqlite3_column_blob(q, 1);
        if (!id || sqlite3_column_bytes(q, 0) != 8 || !object || sqlite3_column_bytes(q, 1) != MP_MANIFEST_SIZE)
            result = store_refuse(s, MD_STORE_CORRUPT, "a manifest has another length");
        else
            result = each(ctx, id, object, sqlite3_column_int(q, 3) != 0, sqlite3_column_int64(q, 2));
        if (result != 0) {
            sqlite3_reset(q);
            return result;
        }
    }
    return result;
}

/* --- rollouts
 * --------------------------------------------------------------------------------------------------------- */

static int save_rollout(struct md_store *s, struct md_release *r, const struct md_rollout_info *info, int64_t now_ms)
{
    uint8_t state[MD_RELEASE_STATE_MAX];
    char policy[MD_POLICY_TEXT_MAX];
    int len = md_release_save(r, info->release, state, sizeof state);
    if (len < 0 || md_policy_format(&info->config->policy, policy, sizeof policy) < 0)
        return store_refuse(s, MP_ERR_ROOM, "rollout %u does not fit its record", (unsigned)info->release);
    sqlite3_stmt *q = store_statement(
        s, "INSERT INTO rollouts(release, live, started_ms, updated_ms, policy, phase, why, state)"
           " VALUES(?1, 1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT(release) DO UPDATE SET live = 1,"
           " started_ms = excluded.started_ms, updated_ms = excluded.updated_ms, policy = excluded.policy,"
           " phase = excluded.phase, why = excluded.why, state = excluded.state");
    if (q) {
        sqlite3_bind_int64(q, 1, info->release);
        sqlite3_bind_int64(q, 2, (int64_t)info->started_ms);
        sqlite3_bind_int64(q, 3, now_ms);
        sqlite3_bind_text(q, 4, policy, -1, SQLITE_STATIC);
        sqlite3_bind_text(q, 5, md_phase_name(info->phase), -1, SQLITE_STATIC);
        sqlite3_bind_text(q, 6, info->why, -1, SQLITE_STATIC);
        sqlite3_bind_blob(q, 7, state, len, SQLITE_STATIC);
    }
    return store_run(s, q, "saving a rollout");
}

static int save_node(struct md_store *s, const struct md_release_node *n)
{
    sqlite3_stmt *q = store_statement(
        s, "INSERT OR REPLACE INTO rollout_nodes(release, node, outcome, phase, reason, serial, opened_ms)"
           " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)");
    if (q) {
        sqlite3_bind_int64(q, 1, n->release);
        sqlite3_bind_int64(q, 2, n->node);
        sqlite3_bind_int(q, 3, n->outcome);
        sqlite3_bind_int(q, 4, n->phase);
        sqlite3_bind_int(q, 5, n->reason);
        sqlite3_bind_int(q, 6, n->serial);
        sqlite3_bind_int64(q, 7, (int64_t)n->opened_ms);
    }
    return store_run(s, q, "saving a rollout's node");
}

/* A new rollout may have pushed a finished one out of the engine. */
static int end_dropped(struct md_store *s, const struct md_release *r, int64_t now_ms)
{
    sqlite3_stmt *q = store_statement(s, "SELECT release FROM rollouts WHERE live");
    struct md_rollout_info info;
    uint32_t dropped[MD_ROLLOUTS_MAX];
    unsigned count = 0;
    int result;
    while ((result = store_row(s, q, "listing rollouts")) > 0) {
        uint32_t release = (uint32_t)sqlite3_column_int64(q, 0);
        if (count < MD_ROLLOUTS_MAX && md_release_find(r, release, &info) < 0)
            dropped[count++] = release;
    }
    for (unsigned i = 0; result == MP_OK && i < count; i++)
        result = md_store_end_rollout(s, dropped[i], now_ms);
    return result;
}

static int save_all(struct md_store *s, struct md_release *r, int64_t now_ms)
{
    struct md_rollout_info info;
    struct md_release_node node;
    int result = end_dropped(s, r, now_ms);
    for (unsigned i = 0; result == MP_OK && md_release_info(r, i, &info) == MP_OK; i++)
        if (md_release_pop_changed(r, info.release))
            result = save_rollout(s, r, &info, now_ms);
    while (result == MP_OK && md_release_pop_node(r, &node))
        result = save_node(s, &node);
    return result;
}

int md_store_save_release(struct md_store *s, struct md_release *r, int64_t now_ms)
{
    bool own;
    int result = store_enter(s, &own);
    if (result < 0)
        return result;
    s->saved = r;
    result = store_leave(s, own, save_all(s, r, now_ms));
    if (result < 0)
        md_release_touch(r);
    return result;
}

static int load_nodes(struct md_store *s, struct md_release *r)
{
    sqlite3_stmt *q = store_statement(s, "SELECT n.release, n.node, n.outcome, n.phase, n.reason, n.serial, n.opened_ms"
                                         " FROM rollout_nodes n JOIN rollouts o ON o.release = n.release AND o.live");
    int result;
    while ((result = store_row(s, q, "loading a rollout's nodes")) > 0) {
        struct md_release_node n = {.release = (uint32_t)sqlite3_column_int64(q, 0),
                                    .node = (uint32_t)sqlite3_column_int64(q, 1),
                                    .outcome = (uint8_t)sqlite3_column_int(q, 2),
                                    .phase = (uint8_t)sqlite3_column_int(q, 3),
                                    .reason = (uint8_t)sqlite3_column_int(q, 4),
                                    .serial = (uint16_t)sqlite3_column_int(q, 5),
                                    .opened_ms = (uint64_t)sqlite3_column_int64(q, 6)};
        result = md_release_put_node(r, &n);
        if (result < 0) {
            sqlite3_reset(q);
            return store_refuse(s, MD_STORE_CORRUPT, "node %u of rollout %u cannot be restored: %s", (unsigned)n.node,
                                (unsigned)n.release, mp_strerror(result));
        }
    }
    return result;
}

int md_store_load_release(struct md_store *s, struct md_release *r)
{
    sqlite3_stmt *q = store_statement(s, "SELECT release, state FROM rollouts WHERE live ORDER BY release");
    int result;
    while ((result = store_row(s, q, "loading rollouts")) > 0) {
        long long release = sqlite3_column_int64(q, 0);
        const void *state = sqlite3_column_blob(q, 1);
        result = state ? md_release_load(r, state, (size_t)sqlite3_column_bytes(q, 1)) : MP_ERR_LENGTH;
        if (result < 0) {
            sqlite3_reset(q);
            return store_refuse(s, MD_STORE_CORRUPT, "rollout %lld cannot be restored: %s", release,
                                mp_strerror(result));
        }
    }
    return result < 0 ? result : load_nodes(s, r);
}

static int end_rollout(struct md_store *s, uint32_t release, int64_t now_ms)
{
    sqlite3_stmt *q = store_statement(s, "UPDATE rollouts SET live = 0, updated_ms = ?2 WHERE release = ?1 AND live");
    if (q) {
        sqlite3_bind_int64(q, 1, release);
        sqlite3_bind_int64(q, 2, now_ms);
    }
    int result = store_run(s, q, "ending a rollout");
    if (result < 0 || sqlite3_changes(s->db) == 0)
        return result < 0 ? result : MP_ERR_ABSENT;
    /* should the release be rolled out once more, it starts with a clean slate */
    q = store_statement(s, "DELETE FROM rollout_nodes WHERE release = ?1");
    if (q)
        sqlite3_bind_int64(q, 1, release);
    return store_run(s, q, "ending a rollout");
}

int md_store_end_rollout(struct md_store *s, uint32_t release, int64_t now_ms)
{
    bool own;
    int result = store_enter(s, &own);
    return result < 0 ? result : store_leave(s, own, end_rollout(s, release, now_ms));
}

static const char *column_text(sqlite3_stmt *q, int column)
{
    const char *text = (const char *)sqlite3_column_text(q, column);
    return text ? text : "";
}

int md_store_each_rollout(struct md_store *s, md_rollout_each each, void *ctx)
{
    sqlite3_stmt *q =
        store_statement(s, "SELECT release, live, started_ms, updated_ms, policy, phase, why FROM rollouts"
                           " ORDER BY started_ms, release");
    int result;
    while ((result = store_row(s, q, "listing rollouts")) > 0) {
        struct md_rollout_row row = {.release = (uint32_t)sqlite3_column_int64(q, 0),
                                     .live = sqlite3_column_int(q, 1) != 0,
                                     .started_ms = sqlite3_column_int64(q, 2),
                                     .updated_ms = sqlite3_column_int64(q, 3),
                                     .policy = column_text(q, 4),
                                     .phase = column_text(q, 5),
                                     .why = column_text(q, 6)};
        result = each(ctx, &row);
        if (result != 0) {
            sqlite3_reset(q);
            return result;
        }
    }
    return result;
}

/* --- signed directives
 * ------------------------------------------------------------------------------------------------ */

int md_store_add_signed(struct md_store *s, uint32_t release, uint32_t sequence, const uint8_t id[8],
                        const uint8_t *object, size_t len, int64_t at_ms)
{
    sqlite3_stmt *q = store_statement(
        s, "INSERT OR REPLACE INTO signed(id, release, sequence, object, at_ms) VALUES(?1, ?2, ?3, ?4, ?5)");
    if (len > 1024)
        return store_refuse(s, MP_ERR_LENGTH, "a signed object of %zu bytes", len);
    if (q) {
        sqlite3_bind_blob(q, 1, id, 8, SQLITE_STATIC);
        sqlite3_bind_int64(q, 2, release);
        sqlite3_bind_int64(q, 3, sequence);
        sqlite3_bind_blob(q, 4, object, (int)len, SQLITE_STATIC);
        sqlite3_bind_int64(q, 5, at_ms);
    }
    return store_run(s, q, "keeping a signed directive");
}

int md_store_is_own(struct md_store *s, const uint8_t id[8])
{
    sqlite3_stmt *q = store_statement(s, "SELECT 1 FROM signed WHERE id = ?1");
    if (q)
        sqlite3_bind_blob(q, 1, id, 8, SQLITE_STATIC);
    int result = store_row(s, q, "looking for a signed directive");
    if (result <= 0)
        return result < 0 ? result : MP_ERR_ABSENT;
    sqlite3_reset(q);
    return MP_OK;
}
