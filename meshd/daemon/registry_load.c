#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "proto/mp_wire.h"
#include "registry_state.h"

#define MEMBERS_FIRST 64

int registry_grow(struct md_registry *g)
{
    if (g->count < g->cap)
        return MP_OK;
    uint32_t cap = g->cap ? g->cap * 2 : MEMBERS_FIRST;
    struct member *member = realloc(g->member, cap * sizeof *member);
    if (!member)
        return store_refuse(g->store, MP_ERR_ROOM, "out of memory for %u nodes", (unsigned)cap);
    g->member = member;
    uint32_t *bucket = calloc((size_t)cap * 2, sizeof *bucket);
    if (!bucket)
        return store_refuse(g->store, MP_ERR_ROOM, "out of memory for %u nodes", (unsigned)cap);
    free(g->bucket);
    g->bucket = bucket;
    g->bucket_count = cap * 2;
    g->cap = cap;
    for (uint32_t i = 0; i < g->count; i++)
        registry_bucket_add(g, i);
    return MP_OK;
}

void registry_bucket_add(struct md_registry *g, uint32_t index)
{
    uint32_t b = (g->member[index].node.node * 2654435769u) >> 7 & (g->bucket_count - 1);
    while (g->bucket[b])
        b = (b + 1) & (g->bucket_count - 1);
    g->bucket[b] = index + 1;
}

int registry_index(const struct md_registry *g, uint32_t node)
{
    if (g->bucket_count == 0)
        return -1;
    for (uint32_t b = (node * 2654435769u) >> 7 & (g->bucket_count - 1);; b = (b + 1) & (g->bucket_count - 1)) {
        if (g->bucket[b] == 0)
            return -1;
        if (g->member[g->bucket[b] - 1].node.node == node)
            return (int)(g->bucket[b] - 1);
    }
}

/* --- network
 * ---------------------------------------------------------------------------------------------------------- */

static int check_network(struct md_registry *g)
{
    int64_t network;
    int result = md_store_get_number(g->store, "network", &network);
    if (result == MP_ERR_ABSENT)
        return md_store_set_number(g->store, "network", g->network);
    if (result == MP_OK && network != g->network)
        return store_refuse(g->store, MP_ERR_NETWORK, "the database belongs to network %lld, the configuration says %u",
                            (long long)network, g->network);
    return result;
}

static int draw_key(struct md_registry *g)
{
    sqlite3_stmt *q = store_statement(g->store, "INSERT INTO network_keys(slot, id, active, key) VALUES(0, 0, 1, ?1)");
    memset(&g->keys, 0, sizeof g->keys);
    g->keys.count = 1;
    randombytes_buf(g->keys.key[0], 16);
    if (q)
        sqlite3_bind_blob(q, 1, g->keys.key[0], 16, SQLITE_STATIC);
    return store_run(g->store, q, "writing the network key");
}

static int load_keys(struct md_registry *g)
{
    sqlite3_stmt *q = store_statement(g->store, "SELECT slot, id, active, key FROM network_keys ORDER BY slot");
    int result;
    while ((result = store_row(g->store, q, "reading network keys")) > 0) {
        int slot = sqlite3_column_int(q, 0), id = sqlite3_column_int(q, 1);
        const void *key = sqlite3_column_blob(q, 3);
        if (slot != g->keys.count || slot > 1 || id < 0 || id > 255 || !key || sqlite3_column_bytes(q, 3) != 16) {
            sqlite3_reset(q);
            return store_refuse(g->store, MD_STORE_CORRUPT, "network key %d is out of range", slot);
        }
        g->keys.id[slot] = (uint8_t)id;
        memcpy(g->keys.key[slot], key, 16);
        if (sqlite3_column_int(q, 2))
            g->keys.active = (uint8_t)slot;
        g->keys.count++;
    }
    if (result == MP_OK && g->keys.count == 0)
        result = draw_key(g);
    return result;
}

/* --- nodes
 * ------------------------------------------------------------------------------------------------------------ */

/* Which contents of the newest serial were taken: a frame of the past must not look new after a restart. */
static int load_seen(struct md_registry *g, struct member *m)
{
    sqlite3_stmt *q = store_statement(g->store, "SELECT entry FROM reports WHERE node = ?1 ORDER BY id DESC LIMIT 8");
    int result;
    if (q)
        sqlite3_bind_int64(q, 1, m->node.node);
    while ((result = store_row(g->store, q, "reading reports")) > 0) {
        const uint8_t *entry = sqlite3_column_blob(q, 0);
        if (entry && sqlite3_column_bytes(q, 0) == MP_REPORT_ENTRY_SIZE && m->seen_count < SEEN_MAX &&
            mp_get16(entry + 4) == m->node.report.serial)
            m->seen[m->seen_count++] = mp_get64(entry + 11);
    }
    return result;
}

static bool read_member(sqlite3_stmt *q, struct member *m)
{
    struct md_node *n = &m->node;
    const char *name = (const char *)sqlite3_column_text(q, 2);
    const void *key = sqlite3_column_blob(q, 10), *report = sqlite3_column_blob(q, 11);
    memset(m, 0, sizeof *m);
    n->node = (uint32_t)sqlite3_column_int64(q, 0);
    n->index = (uint16_t)sqlite3_column_int(q, 1);
    n->product = (uint32_t)sqlite3_column_int64(q, 3);
    n->model = (uint16_t)sqlite3_column_int(q, 4);
    n->labels = (uint16_t)sqlite3_column_int(q, 5);
    n->hw_revision = (uint8_t)(sqlite3_column_int(q, 6) & 31);
    n->retired = sqlite3_column_int(q, 7) != 0;
    n->enrolled = sqlite3_column_int(q, 8) != 0;
    n->provisioned_ms = sqlite3_column_int64(q, 9);
    n->report_ms = sqlite3_column_int64(q, 12);
    if (!name || strlen(name) >= sizeof n->name || !key || sqlite3_column_bytes(q, 10) != 16 || n->node == 0)
        return false;
    memcpy(n->name, name, strlen(name) + 1);
    memcpy(m->report_key, key, 16);
    if (!report)
        return true;
    if (sqlite3_column_bytes(q, 11) != MP_REPORT_ENTRY_SIZE || mp_report_get(&n->report, report) < 0)
        return false;
    n->has_report = m->committed = true;
    return true;
}

static int load_members(struct md_registry *g)
{
    sqlite3_stmt *q =
        store_statement(g->store, "SELECT node, idx, name, product, model, labels, hw, retired, enrolled,"
                                  " provisioned_ms, report_key, report, report_ms FROM nodes ORDER BY ordinal");
    int result;
    while ((result = store_row(g->store, q, "reading nodes")) > 0) {
        if ((result = registry_grow(g)) == MP_OK && !read_member(q, &g->member[g->count]))
            result = store_refuse(g->store, MD_STORE_CORRUPT, "node %lld is out of range", sqlite3_column_int64(q, 0));
        if (result < 0) {
            sqlite3_reset(q);
            return result;
        }
        registry_bucket_add(g, g->count++);
    }
    for (uint32_t i = 0; result == MP_OK && i < g->count; i++) {
        result = g->member[i].node.has_report ? load_seen(g, &g->member[i]) : MP_OK;
        /* which of them a receipt covered is not kept: one more receipt does no harm */
        if (g->member[i].committed) {
            g->member[i].receipt_due = true;
            g->due_count++;
        }
    }
    return result;
}

static int load_labels(struct md_registry *g)
{
    sqlite3_stmt *q = store_statement(g->store, "SELECT bit, name FROM labels");
    int result;
    while ((result = store_row(g->store, q, "reading labels")) > 0) {
        int bit = sqlite3_column_int(q, 0);
        const char *name = (const char *)sqlite3_column_text(q, 1);
        if (bit < 0 || bit >= MD_LABELS || !name || strlen(name) >= MD_LABEL_NAME_MAX) {
            sqlite3_reset(q);
            return store_refuse(g->store, MD_STORE_CORRUPT, "label %d is out of range", bit);
        }
        memcpy(g->label[bit], name, strlen(name) + 1);
    }
    return result;
}

static int load_gateway(struct md_registry *g)
{
    int64_t node, index;
    int result = md_store_get_number(g->store, "gateway_node", &node);
    if (result == MP_ERR_ABSENT)
        return MP_OK;
    if (result < 0 || (result = md_store_get_number(g->store, "gateway_index", &index)) < 0 ||
        (result = md_store_get_blob(g->store, "gateway_key", g->gateway_key, sizeof g->gateway_key)) < 0)
        return result;
    if (result != 16 || node <= 0 || node >= UINT32_MAX || index < 0 || index > UINT16_MAX)
        return store_refuse(g->store, MD_STORE_CORRUPT, "the gateway's identity is out of range");
    g->gateway = (uint32_t)node;
    g->gateway_index = (uint16_t)index;
    g->has_gateway = true;
    return MP_OK;
}

int registry_load(struct md_registry *g)
{
    int result;
    if ((result = check_network(g)) < 0 || (result = load_keys(g)) < 0 || (result = load_gateway(g)) < 0 ||
        (result = load_labels(g)) < 0)
        return result;
    return load_members(g);
}
