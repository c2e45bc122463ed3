#include "registry.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/mp_wire.h"
#include "registry_state.h"

#define GATEWAY_NODE 1

int md_registry_open(struct md_registry **out, struct md_store *store, uint16_t network)
{
    *out = NULL;
    struct md_registry *g = calloc(1, sizeof *g);
    if (!g)
        return store_refuse(store, MP_ERR_ROOM, "out of memory");
    g->store = store;
    g->network = network;
    g->undo = calloc(UNDO_MAX, sizeof *g->undo);
    int result = g->undo ? registry_load(g) : store_refuse(store, MP_ERR_ROOM, "out of memory");
    if (result < 0) {
        md_registry_close(g);
        return result;
    }
    *out = g;
    return MP_OK;
}

void md_registry_close(struct md_registry *g)
{
    if (!g)
        return;
    free(g->member);
    free(g->bucket);
    free(g->undo);
    sodium_memzero(g, sizeof *g);
    free(g);
}

const char *md_registry_error(const struct md_registry *g)
{
    return md_store_error(g->store);
}

void md_registry_network_keys(const struct md_registry *g, struct md_network_keys *out)
{
    *out = g->keys;
}

uint16_t md_registry_network(const struct md_registry *g)
{
    return g->network;
}

/* A rollback would take back what is on disk and not what is in RAM. */
static int check_alone(struct md_registry *g)
{
    return md_store_in_transaction(g->store) ? store_refuse(g->store, MP_ERR_STATE, "not within a transaction") : MP_OK;
}

/* --- allocation
 * ------------------------------------------------------------------------------------------------------- */

static bool node_is_free(const struct md_registry *g, uint32_t node)
{
    return registry_index(g, node) < 0 && !(g->has_gateway && g->gateway == node);
}

/* One above the highest id that was given out, so that ids read in order of provisioning. */
static uint32_t next_node(const struct md_registry *g)
{
    uint32_t highest = g->has_gateway ? g->gateway : GATEWAY_NODE;
    for (uint32_t i = 0; i < g->count; i++)
        if (g->member[i].node.node > highest)
            highest = g->member[i].node.node;
    if (highest < UINT32_MAX - 1)
        return highest + 1;
    for (uint32_t node = GATEWAY_NODE + 1;; node++)
        if (node_is_free(g, node))
            return node;
}

/* Indices are never used twice: a receipt would acknowledge the wrong node's serial. Below 0: used up. */
static int32_t next_index(const struct md_registry *g)
{
    int32_t highest = g->has_gateway ? g->gateway_index : -1;
    for (uint32_t i = 0; i < g->count; i++)
        if (g->member[i].node.index > highest)
            highest = g->member[i].node.index;
    return highest < UINT16_MAX ? highest + 1 : -1;
}

static int write_gateway(struct md_registry *g, uint32_t node, uint16_t index, const uint8_t key[16])
{
    int result;
    if ((result = md_store_set_number(g->store, "gateway_node", node)) < 0 ||
        (result = md_store_set_number(g->store, "gateway_index", index)) < 0)
        return result;
    return md_store_set_blob(g->store, "gateway_key", key, 16);
}

int md_registry_gateway(struct md_registry *g, uint32_t *node, uint16_t *index, uint8_t report_key[16])
{
    if (!g->has_gateway) {
        uint8_t key[16];
        bool own;
        int32_t free_index = next_index(g);
        uint32_t free_node = node_is_free(g, GATEWAY_NODE) ? GATEWAY_NODE : next_node(g);
        if (free_index < 0)
            return store_refuse(g->store, MP_ERR_ROOM, "every enrolment index is used");
        randombytes_buf(key, sizeof key);
        int result = store_enter(g->store, &own);
        if (result < 0)
            return result;
        result = store_leave(g->store, own, write_gateway(g, free_node, (uint16_t)free_index, key));
        if (result < 0)
            return result;
        g->gateway = free_node;
        g->gateway_index = (uint16_t)free_index;
        memcpy(g->gateway_key, key, sizeof key);
        g->has_gateway = true;
    }
    *node = g->gateway;
    *index = g->gateway_index;
    memcpy(report_key, g->gateway_key, 16);
    return MP_OK;
}

bool registry_name_is_good(const char *name, size_t max)
{
    size_t len = strnlen(name, max);
    if (len == 0 || len == max)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
              c == '.'))
            return false;
    }
    return true;
}

static int find_exact_name(const struct md_registry *g, const char *name)
{
    for (uint32_t i = 0; i < g->count; i++)
        if (strcmp(g->member[i].node.name, name) == 0)
            return (int)i;
    return -1;
}

/* --- provisioning
 * ----------------------------------------------------------------------------------------------------- */

static int fill_settings(struct md_registry *g, const struct member *m, uint8_t settings[MP_SETTINGS_SIZE])
{
    struct mp_settings s = {.node = m->node.node,
                            .network = g->network,
                            .index = m->node.index,
                            .labels = m->node.labels,
                            .model = m->node.model,
                            .product = m->node.product,
                            .hw_revision = m->node.hw_revision,
                            .key_count = g->keys.count,
                            .key_active = g->keys.active};
    memcpy(s.key_id, g->keys.id, sizeof s.key_id);
    memcpy(s.network_key, g->keys.key, sizeof s.network_key);
    memcpy(s.report_key, m->report_key, sizeof s.report_key);
    int len = md_store_engine()->get(g->store, MP_KIND_KEYSET, 0, s.keyset, sizeof s.keyset);
    if (len != MP_KEYSET_SIZE)
        return store_refuse(g->store, MP_ERR_KEY, "this gateway has no keyset yet: initialise it first");
    mp_settings_put(settings, &s);
    int result = mp_settings_get(&s, settings, MP_SETTINGS_SIZE);
    sodium_memzero(&s, sizeof s);
    return result < 0 ? store_refuse(g->store, result, "the settings record is out of range") : MP_OK;
}

static int insert_member(struct md_registry *g, const struct member *m)
{
    sqlite3_stmt *q =
        store_statement(g->store, "INSERT INTO nodes(node, idx, name, product, model, labels, hw, retired, enrolled,"
                                  " provisioned_ms, report_key, report, report_ms)"
                                  " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, ?8, ?9, NULL, 0)");
    if (q) {
        sqlite3_bind_int64(q, 1, m->node.node);
        sqlite3_bind_int(q, 2, m->node.index);
        sqlite3_bind_text(q, 3, m->node.name, -1, SQLITE_STATIC);
        sqlite3_bind_int64(q, 4, m->node.product);
        sqlite3_bind_int(q, 5, m->node.model);
        sqlite3_bind_int(q, 6, m->node.labels);
        sqlite3_bind_int(q, 7, m->node.hw_revision);
        sqlite3_bind_int64(q, 8, m->node.provisioned_ms);
        sqlite3_bind_blob(q, 9, m->report_key, 16, SQLITE_STATIC);
    }
    return store_run(g->store, q, "writing a node");
}

static int make_member(struct md_registry *g, int64_t now_ms, const struct md_provision *in, struct member *m)
{
    int32_t index = next_index(g);
    memset(m, 0, sizeof *m);
    if (in->node == UINT32_MAX || in->hw_revision > 31)
        return store_refuse(g->store, MP_ERR_FORMAT, "node id or hardware revision out of range");
    if (index < 0)
        return store_refuse(g->store, MP_ERR_ROOM, "every enrolment index is used");
    m->node.node = in->node ? in->node : next_node(g);
    m->node.index = (uint16_t)index;
    m->node.product = in->product;
    m->node.model = in->model;
    m->node.labels = in->labels;
    m->node.hw_revision = in->hw_revision;
    m->node.provisioned_ms = now_ms;
    if (in->name[0])
        snprintf(m->node.name, sizeof m->node.name, "%.*s", MD_NODE_NAME_MAX - 1, in->name);
    else
        snprintf(m->node.name, sizeof m->node.name, "node-%u", (unsigned)m->node.node);
    if (in->name[0] && !registry_name_is_good(in->name, MD_NODE_NAME_MAX))
        return store_refuse(g->store, MP_ERR_FORMAT, "a name is 1 to %d letters, digits, '-', '_' or '.'",
                            MD_NODE_NAME_MAX - 1);
    if (!node_is_free(g, m->node.node))
        return store_refuse(g->store, MP_ERR_DUPLICATE, "node id %u is taken", (unsigned)m->node.node);
    if (find_exact_name(g, m->node.name) >= 0)
        return store_refuse(g->store, MP_ERR_DUPLICATE, "a node is called \"%s\" already", m->node.name);
    randombytes_buf(m->report_key, sizeof m->report_key);
    return MP_OK;
}

int md_registry_provision(struct md_registry *g, int64_t now_ms, const struct md_provision *in, struct md_node *out,
                          uint8_t settings[MP_SETTINGS_SIZE])
{
    struct member m;
    int result = check_alone(g);
    if (result < 0 || (result = make_member(g, now_ms, in, &m)) < 0 || (result = fill_settings(g, &m, settings)) < 0 ||
        (result = registry_grow(g)) < 0 || (result = insert_member(g, &m)) < 0) {
        sodium_memzero(settings, MP_SETTINGS_SIZE);
        return result;
    }
    g->member[g->count] = m;
    registry_bucket_add(g, g->count++);
    *out = m.node;
    return MP_OK;
}

int md_registry_settings(struct md_registry *g, uint32_t node, uint8_t settings[MP_SETTINGS_SIZE])
{
    int index = registry_index(g, node);
    if (index < 0)
        return store_refuse(g->store, MP_ERR_ABSENT, "no node %u", (unsigned)node);
    return fill_settings(g, &g->member[index], settings);
}

/* --- changes
 * ---------------------------------------------------------------------------------------------------------- */

static struct member *member_of(struct md_registry *g, uint32_t node)
{
    int index = registry_index(g, node);
    if (index < 0)
        store_refuse(g->store, MP_ERR_ABSENT, "no node %u", (unsigned)node);
    return index < 0 ? NULL : &g->member[index];
}

int md_registry_retire(struct md_registry *g, uint32_t node, bool retired)
{
    struct member *m = member_of(g, node);
    if (!m || check_alone(g) < 0)
        return m ? MP_ERR_STATE : MP_ERR_ABSENT;
    if (m->node.retired == retired)
        return store_refuse(g->store, MP_ERR_STATE, "node %u is %s already", (unsigned)node,
                            retired ? "retired" : "in service");
    sqlite3_stmt *q = store_statement(g->store, "UPDATE nodes SET retired = ?2 WHERE node = ?1");
    if (q) {
        sqlite3_bind_int64(q, 1, node);
        sqlite3_bind_int(q, 2, retired);
    }
    int result = store_run(g->store, q, "writing a node");
    if (result == MP_OK)
        m->node.retired = retired;
    return result;
}

int md_registry_rename(struct md_registry *g, uint32_t node, const char *name)
{
    struct member *m = member_of(g, node);
    if (!m || check_alone(g) < 0)
        return m ? MP_ERR_STATE : MP_ERR_ABSENT;
    if (!registry_name_is_good(name, MD_NODE_NAME_MAX))
        return store_refuse(g->store, MP_ERR_FORMAT, "a name is 1 to %d letters, digits, '-', '_' or '.'",
                            MD_NODE_NAME_MAX - 1);
    int other = find_exact_name(g, name);
    if (other >= 0)
        return store_refuse(g->store, MP_ERR_DUPLICATE, "a node is called \"%s\" already", name);
    sqlite3_stmt *q = store_statement(g->store, "UPDATE nodes SET name = ?2 WHERE node = ?1");
    if (q) {
        sqlite3_bind_int64(q, 1, node);
        sqlite3_bind_text(q, 2, name, -1, SQLITE_STATIC);
    }
    int result = store_run(g->store, q, "writing a node");
    if (result == MP_OK)
        memcpy(m->node.name, name, strlen(name) + 1);
    return result;
}

int md_registry_set_labels(struct md_registry *g, uint32_t node, uint16_t labels)
{
    struct member *m = member_of(g, node);
    if (!m || check_alone(g) < 0)
        return m ? MP_ERR_STATE : MP_ERR_ABSENT;
    sqlite3_stmt *q = store_statement(g->store, "UPDATE nodes SET labels = ?2 WHERE node = ?1");
    if (q) {
        sqlite3_bind_int64(q, 1, node);
        sqlite3_bind_int(q, 2, labels);
    }
    int result = store_run(g->store, q, "writing a node");
    if (result == MP_OK)
        m->node.labels = labels;
    return result;
}

/* --- looking
 * ---------------------------------------------------------------------------------------------------------- */

uint32_t md_registry_count(const struct md_registry *g)
{
    return g->count;
}

int md_registry_get(const struct md_registry *g, uint32_t i, struct md_node *out)
{
    if (i >= g->count)
        return MP_ERR_ABSENT;
    *out = g->member[i].node;
    return MP_OK;
}

int md_registry_find(const struct md_registry *g, uint32_t node, struct md_node *out)
{
    int index = registry_index(g, node);
    return index < 0 ? MP_ERR_ABSENT : md_registry_get(g, (uint32_t)index, out);
}

int md_registry_find_name(const struct md_registry *g, const char *name, struct md_node *out)
{
    int index = find_exact_name(g, name);
    if (index < 0 && name[0] >= '0' && name[0] <= '9') {
        char *end;
        unsigned long long id = strtoull(name, &end, 0);
        if (*end == '\0' && id <= UINT32_MAX)
            index = registry_index(g, (uint32_t)id);
    }
    return index < 0 ? MP_ERR_ABSENT : md_registry_get(g, (uint32_t)index, out);
}

const char *md_node_state_name(const struct md_node *n)
{
    return n->retired ? "retired" : n->enrolled ? "enrolled" : "provisioned";
}

/* --- labels
 * ----------------------------------------------------------------------------------------------------------- */

static bool is_number(const char *text)
{
    return text[strspn(text, "0123456789")] == '\0';
}

int md_registry_name_label(struct md_registry *g, unsigned bit, const char *name)
{
    /* a name of digits would be taken for a bit */
    if (bit >= MD_LABELS || (*name && (!registry_name_is_good(name, MD_LABEL_NAME_MAX) || is_number(name))))
        return store_refuse(g->store, MP_ERR_FORMAT,
                            "a label is bit 0 to 15, its name 1 to %d letters, digits, '-', '_' or '.'",
                            MD_LABEL_NAME_MAX - 1);
    for (unsigned i = 0; *name && i < MD_LABELS; i++)
        if (i != bit && strcmp(g->label[i], name) == 0)
            return store_refuse(g->store, MP_ERR_DUPLICATE, "label %u is called \"%s\" already", i, name);
    if (check_alone(g) < 0)
        return MP_ERR_STATE;
    sqlite3_stmt *q = *name ? store_statement(g->store, "INSERT OR REPLACE INTO labels(bit, name) VALUES(?1, ?2)")
                            : store_statement(g->store, "DELETE FROM labels WHERE bit = ?1");
    if (q) {
        sqlite3_bind_int(q, 1, (int)bit);
        if (*name)
            sqlite3_bind_text(q, 2, name, -1, SQLITE_STATIC);
    }
    int result = store_run(g->store, q, "writing a label");
    if (result == MP_OK)
        snprintf(g->label[bit], sizeof g->label[bit], "%s", name);
    return result;
}

int md_registry_label(void *registry, const char *name)
{
    const struct md_registry *g = registry;
    for (int i = 0; i < MD_LABELS; i++)
        if (*name && strcmp(g->label[i], name) == 0)
            return i;
    if (*name == '\0' || !is_number(name) || strlen(name) > 2)
        return -1;
    int bit = atoi(name);
    return bit < MD_LABELS ? bit : -1;
}

const char *md_registry_label_name(const struct md_registry *g, unsigned bit)
{
    return bit < MD_LABELS ? g->label[bit] : "";
}
