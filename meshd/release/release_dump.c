/*
 * Exact copies of an engine. Layout, all little-endian: clock, nodes (fact, report), rollouts (length and bytes of
 * md_release_save(), then what that leaves out, then one record a node), decisions that wait. Everything read is
 * checked: the table of nodes is rebuilt through md_release_node(), a rollout through md_release_load().
 */
#include "release_state.h"

#include <stdlib.h>

#include "proto/mp_wire.h"

#define FORMAT 1
#define NODE_SIZE 30
#define ENTRY_SIZE 15
#define ROLLOUT_SIZE 10
#define COUNTS_AT 16
#define TEXT_AT (COUNTS_AT + 9 * 4)
#define DECISION_SIZE (TEXT_AT + MD_TEXT_MAX)
#define HEADER_SIZE 25
#define NODES_MAX (INT32_MAX / 8) /* of a copy; memory ends before */

/* --- writing ------------------------------------------------------------------------------------------------------ */

static int dump_nodes(const struct md_release *r, md_release_put put, void *ctx)
{
    for (uint32_t i = 0; i < r->node_count; i++) {
        const struct node *n = &r->node[i];
        uint8_t raw[NODE_SIZE] = {0};
        mp_put32(raw, n->fact.node);
        mp_put32(raw + 4, n->fact.product);
        mp_put16(raw + 8, n->fact.model);
        mp_put16(raw + 10, n->fact.labels);
        raw[12] = n->fact.hw_revision;
        raw[13] = (uint8_t)((n->fact.enrolled ? 1 : 0) | (n->fact.retired ? 2 : 0) | (n->has_report ? 4 : 0));
        mp_put32(raw + 14, n->report.node);
        mp_put16(raw + 18, n->report.serial);
        mp_put16(raw + 20, n->report.running);
        mp_put16(raw + 22, n->report.target);
        raw[24] = n->report.phase;
        raw[25] = n->report.reason;
        int bad = put(ctx, raw, sizeof raw);
        if (bad < 0)
            return bad;
    }
    return MP_OK;
}

static int dump_rollout(const struct md_release *r, const struct rollout *o, md_release_put put, void *ctx)
{
    uint8_t state[MD_RELEASE_STATE_MAX], raw[ROLLOUT_SIZE], length[4];
    int len = md_release_save(r, o->config.release, state, sizeof state);
    if (len < 0)
        return len;
    mp_put32(length, (uint32_t)len);
    mp_put64(raw, o->due_ms);
    raw[8] = o->changed;
    raw[9] = o->stale;
    int bad = put(ctx, length, sizeof length);
    if (bad >= 0)
        bad = put(ctx, state, (size_t)len);
    if (bad >= 0)
        bad = put(ctx, raw, sizeof raw);
    for (uint32_t i = 0; bad >= 0 && i < r->node_count; i++) {
        const struct entry *e = &o->entry[i];
        uint8_t record[ENTRY_SIZE];
        mp_put64(record, e->opened_ms);
        mp_put16(record + 8, e->serial);
        record[10] = e->ring;
        record[11] = e->outcome;
        record[12] = e->phase;
        record[13] = e->reason;
        record[14] = e->dirty;
        bad = put(ctx, record, sizeof record);
    }
    return bad < 0 ? bad : MP_OK;
}

static int dump_decision(const struct md_decision *d, md_release_put put, void *ctx)
{
    const uint32_t counts[9] = {d->counts.members, d->counts.waiting,   d->counts.staged,
                                d->counts.trial,   d->counts.confirmed, d->counts.failed,
                                d->counts.silent,  d->counts.waived,    d->counts.limit};
    uint8_t raw[DECISION_SIZE] = {0};
    mp_put64(raw, d->at_ms);
    mp_put32(raw + 8, d->release);
    raw[12] = (uint8_t)d->kind;
    raw[13] = d->ring;
    for (unsigned i = 0; i < 9; i++)
        mp_put32(raw + COUNTS_AT + 4 * i, counts[i]);
    memcpy(raw + TEXT_AT, d->text, MD_TEXT_MAX);
    return put(ctx, raw, sizeof raw);
}

int md_release_dump(const struct md_release *r, md_release_put put, void *ctx)
{
    uint8_t header[HEADER_SIZE];
    header[0] = FORMAT;
    mp_put64(header + 1, r->now_ms);
    mp_put32(header + 9, r->node_count);
    header[13] = (uint8_t)r->rollout_count;
    header[14] = (uint8_t)r->decision_count;
    mp_put32(header + 15, r->dirty_node);
    mp_put32(header + 19, r->dirty_rollout);
    mp_put16(header + 23, 0);
    int bad = put(ctx, header, sizeof header);
    if (bad >= 0)
        bad = dump_nodes(r, put, ctx);
    for (unsigned i = 0; bad >= 0 && i < r->rollout_count; i++)
        bad = dump_rollout(r, &r->rollout[i], put, ctx);
    for (unsigned i = 0; bad >= 0 && i < r->decision_count; i++)
        bad = dump_decision(&r->decision[(r->decision_first + i) % MD_DECISIONS_MAX], put, ctx);
    return bad < 0 ? bad : MP_OK;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static int undump_node(struct md_release *r, md_release_get get, void *ctx)
{
    uint8_t raw[NODE_SIZE];
    int bad = get(ctx, raw, sizeof raw);
    if (bad < 0)
        return bad;
    const struct md_fact fact = {.node = mp_get32(raw),
                                 .product = mp_get32(raw + 4),
                                 .model = mp_get16(raw + 8),
                                 .labels = mp_get16(raw + 10),
                                 .hw_revision = raw[12],
                                 .enrolled = (raw[13] & 1) != 0,
                                 .retired = (raw[13] & 2) != 0};
    if (raw[13] > 7 || raw[24] >= MP_PHASE_COUNT || raw[25] >= MP_REASON_COUNT || release_index(r, fact.node) >= 0)
        return MP_ERR_FORMAT;
    bad = md_release_node(r, 0, &fact);
    if (bad < 0)
        return bad;
    struct node *n = &r->node[r->node_count - 1];
    n->has_report = (raw[13] & 4) != 0;
    n->report = (struct mp_report){.node = mp_get32(raw + 14),
                                   .serial = mp_get16(raw + 18),
                                   .running = mp_get16(raw + 20),
                                   .target = mp_get16(raw + 22),
                                   .phase = raw[24],
                                   .reason = raw[25]};
    return MP_OK;
}

static int undump_entry(struct md_release *r, const struct rollout *o, struct entry *e, md_release_get get, void *ctx)
{
    uint8_t raw[ENTRY_SIZE];
    int bad = get(ctx, raw, sizeof raw);
    if (bad < 0)
        return bad;
    if ((raw[10] >= o->config.policy.ring_count && raw[10] != NO_RING) || raw[11] >= MD_OUTCOME_COUNT ||
        raw[12] >= MP_PHASE_COUNT || raw[13] >= MP_REASON_COUNT || raw[14] > 1)
        return MP_ERR_FORMAT;
    e->opened_ms = mp_get64(raw);
    e->serial = mp_get16(raw + 8);
    e->ring = raw[10];
    e->outcome = raw[11];
    e->phase = raw[12];
    e->reason = raw[13];
    if (e->dirty != (raw[14] == 1))
        r->dirty_count += raw[14] == 1 ? 1u : UINT32_MAX; /* modulo 2^32: one less */
    e->dirty = raw[14] == 1;
    return MP_OK;
}

static int undump_rollout(struct md_release *r, md_release_get get, void *ctx)
{
    uint8_t state[MD_RELEASE_STATE_MAX], raw[ROLLOUT_SIZE], length[4];
    int bad = get(ctx, length, sizeof length);
    if (bad < 0)
        return bad;
    uint32_t len = mp_get32(length);
    if (len > sizeof state)
        return MP_ERR_FORMAT;
    bad = get(ctx, state, len);
    if (bad >= 0)
        bad = get(ctx, raw, sizeof raw);
    if (bad < 0)
        return bad;
    unsigned before = r->rollout_count;
    uint32_t newest = before > 0 ? r->rollout[before - 1].config.release : 0;
    bad = md_release_load(r, state, len);
    if (bad < 0)
        return bad == MP_ERR_ROOM ? bad : MP_ERR_FORMAT;
    struct rollout *o = &r->rollout[before];
    if ((before > 0 && o->config.release <= newest) || raw[8] > 1 || raw[9] > 1)
        return MP_ERR_FORMAT;
    for (uint32_t i = 0; i < r->node_count; i++) {
        bad = undump_entry(r, o, &o->entry[i], get, ctx);
        if (bad < 0)
            return bad;
    }
    o->due_ms = mp_get64(raw);
    o->changed = raw[8] == 1;
    o->stale = raw[9] == 1;
    return MP_OK;
}

static int undump_decision(struct md_release *r, md_release_get get, void *ctx)
{
    uint8_t raw[DECISION_SIZE];
    int bad = get(ctx, raw, sizeof raw);
    if (bad < 0)
        return bad;
    if (raw[12] >= MD_DECISION_KIND_COUNT || raw[DECISION_SIZE - 1] != 0)
        return MP_ERR_FORMAT;
    struct md_decision *d = &r->decision[r->decision_count++];
    uint32_t count[9];
    for (unsigned i = 0; i < 9; i++)
        count[i] = mp_get32(raw + COUNTS_AT + 4 * i);
    *d = (struct md_decision){.at_ms = mp_get64(raw),
                              .release = mp_get32(raw + 8),
                              .kind = (enum md_decision_kind)raw[12],
                              .ring = raw[13],
                              .counts = {.members = count[0],
                                         .waiting = count[1],
                                         .staged = count[2],
                                         .trial = count[3],
                                         .confirmed = count[4],
                                         .failed = count[5],
                                         .silent = count[6],
                                         .waived = count[7],
                                         .limit = count[8]}};
    memcpy(d->text, raw + TEXT_AT, MD_TEXT_MAX);
    return MP_OK;
}

int md_release_undump(struct md_release *r, md_release_get get, void *ctx)
{
    uint8_t header[HEADER_SIZE];
    if (r->node_count > 0 || r->rollout_count > 0 || r->decision_count > 0)
        return MP_ERR_STATE;
    int bad = get(ctx, header, sizeof header);
    if (bad < 0)
        return bad;
    uint32_t nodes = mp_get32(header + 9);
    if (header[0] != FORMAT || nodes > NODES_MAX || header[13] > MD_ROLLOUTS_MAX || header[14] > MD_DECISIONS_MAX ||
        mp_get16(header + 23) != 0)
        return MP_ERR_FORMAT;
    bad = MP_OK;
    for (uint32_t i = 0; bad >= 0 && i < nodes; i++)
        bad = undump_node(r, get, ctx);
    for (unsigned i = 0; bad >= 0 && i < header[13]; i++)
        bad = undump_rollout(r, get, ctx);
    for (unsigned i = 0; bad >= 0 && i < header[14]; i++)
        bad = undump_decision(r, get, ctx);
    if (bad < 0)
        return bad;
    r->dirty_node = mp_get32(header + 15);
    r->dirty_rollout = mp_get32(header + 19);
    r->now_ms = mp_get64(header + 1);
    return r->dirty_node <= nodes && r->dirty_rollout <= r->rollout_count ? MP_OK : MP_ERR_FORMAT;
}

size_t md_release_bytes(const struct md_release *r)
{
    return sizeof *r + (size_t)r->node_cap * (sizeof *r->node + r->rollout_count * sizeof *r->rollout[0].entry) +
           (size_t)r->bucket_count * sizeof *r->bucket;
}
