/*
 * Reports and receipts. Within a transaction members change in RAM at once, so that a second copy in the same batch is
 * a duplicate; what they were is kept aside until the commit stands.
 */
#include <stdio.h>
#include <string.h>

#include "../ctl/keyfile.h"
#include "proto/mp_wire.h"
#include "registry_state.h"

static void audit_refused(struct md_registry *g, int64_t now_ms, const char *what, uint32_t node)
{
    char text[96];
    if (now_ms / 60000 != g->audit_minute) {
        g->audit_minute = now_ms / 60000;
        g->audit_count = 0;
    }
    if (g->audit_count >= FORGED_AUDITS_PER_MINUTE)
        return;
    g->audit_count++;
    snprintf(text, sizeof text, "%s node %u%s", what, (unsigned)node,
             g->audit_count == FORGED_AUDITS_PER_MINUTE ? "; more of this minute are only counted" : "");
    /* the log is best effort here: a full disk shows at the commit that follows */
    md_store_audit(g->store, now_ms, "meshd", "report.refused", text);
}

static int remember(struct md_registry *g, uint32_t index)
{
    for (unsigned i = 0; i < g->undo_count; i++)
        if (g->undo[i].index == index)
            return MP_OK;
    if (g->undo_count == UNDO_MAX)
        return store_refuse(g->store, MP_ERR_ROOM, "more than %d nodes in one transaction", UNDO_MAX);
    g->undo[g->undo_count].index = index;
    g->undo[g->undo_count++].before = g->member[index];
    return MP_OK;
}

static int write_report(struct md_registry *g, int64_t now_ms, const struct mp_report *report, const uint8_t *entry)
{
    sqlite3_stmt *q = store_statement(g->store, "INSERT INTO reports(at_ms, node, entry) VALUES(?1, ?2, ?3)");
    if (q) {
        sqlite3_bind_int64(q, 1, now_ms);
        sqlite3_bind_int64(q, 2, report->node);
        sqlite3_bind_blob(q, 3, entry, MP_REPORT_ENTRY_SIZE, SQLITE_STATIC);
    }
    int result = store_run(g->store, q, "writing a report");
    if (result < 0)
        return result;
    q = store_statement(g->store, "UPDATE nodes SET enrolled = 1, report = ?2, report_ms = ?3 WHERE node = ?1");
    if (q) {
        sqlite3_bind_int64(q, 1, report->node);
        sqlite3_bind_blob(q, 2, entry, MP_REPORT_ENTRY_SIZE, SQLITE_STATIC);
        sqlite3_bind_int64(q, 3, now_ms);
    }
    return store_run(g->store, q, "writing a node's report");
}

static enum md_intake judge(const struct member *m, const struct mp_report *report, uint64_t mac)
{
    if (!m->node.has_report)
        return MD_INTAKE_NEW;
    int16_t ahead = (int16_t)(uint16_t)(report->serial - m->node.report.serial);
    if (ahead != 0)
        return ahead > 0 ? MD_INTAKE_NEW : MD_INTAKE_OLD;
    for (unsigned i = 0; i < m->seen_count; i++)
        if (m->seen[i] == mac)
            return MD_INTAKE_DUPLICATE;
    return MD_INTAKE_NEW;
}

static int take(struct md_registry *g, int64_t now_ms, uint32_t index, const struct mp_report *report,
                const uint8_t *entry)
{
    int result = remember(g, index);
    if (result < 0 || (result = write_report(g, now_ms, report, entry)) < 0)
        return result;
    struct member *m = &g->member[index];
    if (!m->node.has_report || m->node.report.serial != report->serial)
        m->seen_count = 0;
    if (m->seen_count == SEEN_MAX)
        memmove(m->seen, m->seen + 1, (SEEN_MAX - 1) * sizeof m->seen[0]);
    else
        m->seen_count++;
    m->seen[m->seen_count - 1] = mp_get64(entry + 11);
    m->node.report = *report;
    m->node.report_ms = now_ms;
    m->node.has_report = true;
    if (!m->node.enrolled) {
        char text[96];
        m->node.enrolled = true;
        snprintf(text, sizeof text, "node %u (%s) enrolled with its first report", (unsigned)report->node,
                 m->node.name);
        return md_store_audit(g->store, now_ms, "meshd", "node.enrol", text);
    }
    return MP_OK;
}

int md_registry_report(struct md_registry *g, int64_t now_ms, const uint8_t entry[MP_REPORT_ENTRY_SIZE],
                       struct mp_report *report)
{
    if (!md_store_in_transaction(g->store))
        return store_refuse(g->store, MP_ERR_STATE, "reports are taken within a transaction");
    enum md_intake intake = MD_INTAKE_FORGED;
    int index = -1;
    if (mp_report_get(report, entry) == MP_OK) {
        index = registry_index(g, report->node);
        if (index < 0)
            intake = MD_INTAKE_UNKNOWN;
        else if (mp_report_verify(md_store_crypto(g->store), entry, g->member[index].report_key) == MP_OK)
            intake = judge(&g->member[index], report, mp_get64(entry + 11));
    }
    if (intake == MD_INTAKE_FORGED || intake == MD_INTAKE_UNKNOWN)
        audit_refused(g, now_ms, intake == MD_INTAKE_FORGED ? "forged report in the name of" : "report of unknown",
                      mp_get32(entry));
    if (intake == MD_INTAKE_NEW) {
        int result = take(g, now_ms, (uint32_t)index, report, entry);
        if (result < 0)
            return result;
    }
    g->intake.by[intake]++;
    return (int)intake;
}

static void undo_all(struct md_registry *g)
{
    for (unsigned i = 0; i < g->undo_count; i++)
        g->member[g->undo[i].index] = g->undo[i].before;
    g->undo_count = 0;
}

int md_registry_commit(struct md_registry *g)
{
    int result = md_store_commit(g->store);
    if (result < 0) {
        undo_all(g);
        return result;
    }
    for (unsigned i = 0; i < g->undo_count; i++) {
        struct member *m = &g->member[g->undo[i].index];
        g->due_count += !m->receipt_due;
        m->committed = m->receipt_due = true;
    }
    g->undo_count = 0;
    return MP_OK;
}

void md_registry_rollback(struct md_registry *g)
{
    md_store_rollback(g->store);
    undo_all(g);
}

const struct md_intake_counts *md_registry_intake(const struct md_registry *g)
{
    return &g->intake;
}

int md_registry_each_report(struct md_registry *g, uint32_t node, unsigned limit, md_report_each each, void *ctx)
{
    sqlite3_stmt *q =
        node ? store_statement(g->store, "SELECT at_ms, entry FROM reports WHERE node = ?2 ORDER BY id DESC LIMIT ?1")
             : store_statement(g->store, "SELECT at_ms, entry FROM reports ORDER BY id DESC LIMIT ?1");
    int result;
    if (q) {
        sqlite3_bind_int64(q, 1, limit);
        if (node)
            sqlite3_bind_int64(q, 2, node);
    }
    while ((result = store_row(g->store, q, "listing reports")) > 0) {
        struct md_report_row row = {.at_ms = sqlite3_column_int64(q, 0)};
        const uint8_t *entry = sqlite3_column_blob(q, 1);
        if (!entry || sqlite3_column_bytes(q, 1) != MP_REPORT_ENTRY_SIZE || mp_report_get(&row.report, entry) < 0)
            result = store_refuse(g->store, MD_STORE_CORRUPT, "a report is out of range");
        else
            result = each(ctx, &row);
        if (result != 0) {
            sqlite3_reset(q);
            return result;
        }
    }
    return result;
}

/* --- receipts
 * --------------------------------------------------------------------------------------------------------- */

bool md_registry_receipt_due(const struct md_registry *g)
{
    return g->due_count > 0;
}

/* Window with the most reports that wait; without any, the next in turn that has a node. */
static uint16_t pick_window(const struct md_registry *g)
{
    enum { WINDOWS = 65536 / MP_RECEIPT_INDICES_MAX + 1 };
    uint32_t due[WINDOWS] = {0};
    bool used[WINDOWS] = {false};
    for (uint32_t i = 0; i < g->count; i++) {
        unsigned window = g->member[i].node.index / MP_RECEIPT_INDICES_MAX;
        used[window] = true;
        due[window] += g->member[i].receipt_due;
    }
    unsigned best = g->next_window % WINDOWS;
    for (unsigned i = 0; i < WINDOWS && !used[best]; i++)
        best = (best + 1) % WINDOWS;
    for (unsigned i = 0; i < WINDOWS; i++)
        if (due[i] > due[best])
            best = i;
    return (uint16_t)best;
}

/* A round above the engine's and above every one given out, committed before anybody sees it. */
static int take_round(struct md_registry *g, uint16_t generation, uint16_t engine, uint16_t *round)
{
    char name[32];
    int64_t last;
    snprintf(name, sizeof name, "round.%u", generation);
    int result = md_store_get_number(g->store, name, &last);
    if (result < 0 && result != MP_ERR_ABSENT)
        return result;
    *round = engine;
    if (result == MP_OK && mp_round_compare(generation, (uint16_t)last, generation, engine) > 0)
        *round = (uint16_t)last;
    *round = (uint16_t)(*round + 1);
    if (*round == 0) /* stands for none */
        *round = 1;
    return md_store_set_number(g->store, name, *round);
}

/* Covers the members of a window; marks them receipted. */
static void fill_window(struct md_registry *g, struct mp_receipt *r)
{
    uint16_t last = r->base;
    for (uint32_t i = 0; i < g->count; i++) {
        struct member *m = &g->member[i];
        if (m->node.index < r->base || m->node.index - r->base >= MP_RECEIPT_INDICES_MAX)
            continue;
        unsigned at = m->node.index - r->base;
        if (m->node.index > last)
            last = m->node.index;
        if (m->committed)
            r->nibbles[at / 2] = (uint8_t)(r->nibbles[at / 2] | (m->node.report.serial & 15u) << (at % 2 * 4));
        if (m->receipt_due)
            g->due_count--;
        m->receipt_due = false;
    }
    r->count = (uint16_t)(last - r->base + 1);
}

int md_registry_receipt(struct md_registry *g, uint16_t round, uint8_t key_id, uint16_t generation,
                        const uint8_t secret[64], uint8_t out[MP_RECEIPT_MAX])
{
    struct mp_receipt r = {.key_id = key_id, .network = g->network, .generation = generation};
    if (md_store_in_transaction(g->store))
        return store_refuse(g->store, MP_ERR_STATE, "a receipt speaks of what is committed");
    int result = take_round(g, generation, round, &r.round);
    if (result < 0)
        return result;
    uint16_t window = pick_window(g);
    r.base = (uint16_t)(window * MP_RECEIPT_INDICES_MAX);
    g->next_window = (uint16_t)(window + 1);
    fill_window(g, &r);
    size_t len = mp_receipt_put(out, &r);
    md_sign(MD_OBJECT_RECEIPT, secret, out, len, out + len);
    result = mp_receipt_get(&r, out, len + 64);
    return result < 0 ? store_refuse(g->store, result, "the receipt is out of range") : (int)(len + 64);
}
