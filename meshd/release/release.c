#include "release_state.h"

#include <stdlib.h>

#include "proto/mp_wire.h"

#define NODES_FIRST 64

struct md_release *md_release_new(const struct mp_crypto *crypto)
{
    struct md_release *r = calloc(1, sizeof *r);
    if (r)
        r->crypto = crypto;
    return r;
}

void md_release_free(struct md_release *r)
{
    if (!r)
        return;
    for (unsigned i = 0; i < r->rollout_count; i++)
        free(r->rollout[i].entry);
    free(r->node);
    free(r->bucket);
    free(r);
}

/* --- nodes -------------------------------------------------------------------------------------------------------- */

static uint32_t bucket_of(const struct md_release *r, uint32_t node)
{
    return (node * 2654435769u) >> 7 & (r->bucket_count - 1);
}

int release_index(const struct md_release *r, uint32_t node)
{
    if (r->bucket_count == 0)
        return -1;
    for (uint32_t b = bucket_of(r, node);; b = (b + 1) & (r->bucket_count - 1)) {
        if (r->bucket[b] == 0)
            return -1;
        if (r->node[r->bucket[b] - 1].fact.node == node)
            return (int)(r->bucket[b] - 1);
    }
}

static void bucket_add(struct md_release *r, uint32_t index)
{
    uint32_t b = bucket_of(r, r->node[index].fact.node);
    while (r->bucket[b])
        b = (b + 1) & (r->bucket_count - 1);
    r->bucket[b] = index + 1;
}

/* Room for one more node in every table; on failure the tables are as they were, if larger. */
static int grow(struct md_release *r)
{
    if (r->node_count < r->node_cap)
        return MP_OK;
    uint32_t cap = r->node_cap ? r->node_cap * 2 : NODES_FIRST;
    if (cap > INT32_MAX / 4)
        return MP_ERR_ROOM;
    struct node *node = realloc(r->node, cap * sizeof *node);
    if (!node)
        return MP_ERR_ROOM;
    r->node = node;
    for (unsigned i = 0; i < r->rollout_count; i++) {
        struct entry *entry = realloc(r->rollout[i].entry, cap * sizeof *entry);
        if (!entry)
            return MP_ERR_ROOM;
        r->rollout[i].entry = entry;
    }
    uint32_t *bucket = calloc((size_t)cap * 2, sizeof *bucket);
    if (!bucket)
        return MP_ERR_ROOM;
    free(r->bucket);
    r->bucket = bucket;
    r->bucket_count = cap * 2;
    r->node_cap = cap;
    for (uint32_t i = 0; i < r->node_count; i++)
        bucket_add(r, i);
    return MP_OK;
}

/* --- what a node is to a rollout
 * -------------------------------------------------------------------------------------- */

static bool is_covered(const struct md_rollout_config *c, const struct md_fact *f)
{
    for (unsigned i = 0; i < c->image_count; i++)
        if (c->image[i].product == f->product && c->image[i].model == f->model &&
            (c->image[i].hw_revisions >> f->hw_revision & 1))
            return true;
    return false;
}

void release_touch_entry(struct md_release *r, struct entry *e)
{
    r->dirty_count += !e->dirty;
    e->dirty = true;
}

void release_set_outcome(struct md_release *r, struct entry *e, enum md_outcome outcome, uint8_t phase, uint8_t reason)
{
    if (outcome != MD_OUTCOME_FAILED)
        phase = reason = 0;
    if (e->outcome == outcome && e->phase == phase && e->reason == reason)
        return;
    e->outcome = (uint8_t)outcome;
    e->phase = phase;
    e->reason = reason;
    release_touch_entry(r, e);
}

/* What a report that says nothing of this release leaves of what was known. */
static enum md_outcome outcome_besides(const struct rollout *o, const struct entry *e, const struct mp_report *report)
{
    switch ((enum md_outcome)e->outcome) {
    case MD_OUTCOME_CONFIRMED:
        return o->phase == MD_PHASE_REVERTING || o->phase == MD_PHASE_REVERTED ? MD_OUTCOME_WAITING : MD_OUTCOME_FAILED;
    case MD_OUTCOME_STAGED:
        /* one slot: whoever fetches something else has given this image up */
        return report->target ? MD_OUTCOME_WAITING : MD_OUTCOME_STAGED;
    case MD_OUTCOME_FAILED:
    case MD_OUTCOME_SILENT:
    case MD_OUTCOME_WAIVED:
        return (enum md_outcome)e->outcome;
    case MD_OUTCOME_OUTSIDE:
    case MD_OUTCOME_WAITING:
    case MD_OUTCOME_TRIAL:
    case MD_OUTCOME_COUNT:
        break;
    }
    return MD_OUTCOME_WAITING;
}

static enum md_outcome outcome_said(const struct mp_report *report)
{
    switch ((enum mp_phase)report->phase) {
    case MP_PHASE_STAGED:
    case MP_PHASE_DEFERRED:
        return MD_OUTCOME_STAGED;
    case MP_PHASE_TRIAL:
        return MD_OUTCOME_TRIAL;
    case MP_PHASE_ROLLED_BACK:
    case MP_PHASE_REFUSED:
        return MD_OUTCOME_FAILED;
    case MP_PHASE_CONFIRMED:
        if (is_reset(report->reason))
            return MD_OUTCOME_FAILED;
        break;
    case MP_PHASE_IDLE:
    case MP_PHASE_FETCHING:
    case MP_PHASE_COUNT:
        break;
    }
    return MD_OUTCOME_WAITING;
}

/* A failure stands until the node tries again: one that rolled back and fetches again has not mended anything. A
 * refusal ends as soon as the node takes the image after all. */
static bool keeps_failure(const struct rollout *o, const struct entry *e, const struct mp_report *report)
{
    bool speaks = report->target == (uint16_t)o->config.release;
    if (e->outcome != MD_OUTCOME_FAILED || (speaks && outcome_said(report) == MD_OUTCOME_FAILED))
        return false;
    return !speaks || e->phase != MP_PHASE_REFUSED;
}

static enum md_outcome outcome_of(const struct rollout *o, const struct entry *e, const struct mp_report *report)
{
    uint16_t release = (uint16_t)o->config.release;
    enum md_outcome said = report->target == release ? outcome_said(report) : MD_OUTCOME_WAITING;
    if (said == MD_OUTCOME_FAILED || said == MD_OUTCOME_TRIAL)
        return said;
    /* to speak of another release does not make up for a reset */
    bool was_reset = e->outcome == MD_OUTCOME_FAILED && e->phase == MP_PHASE_CONFIRMED && is_reset(e->reason);
    if (report->running == release)
        return was_reset && report->target != release ? MD_OUTCOME_FAILED : MD_OUTCOME_CONFIRMED;
    if ((int16_t)(uint16_t)(report->running - release) > 0)
        return MD_OUTCOME_OUTSIDE;
    if (keeps_failure(o, e, report))
        return MD_OUTCOME_FAILED;
    if (report->target == release && e->outcome != MD_OUTCOME_CONFIRMED)
        return said;
    return outcome_besides(o, e, report);
}

/* Who was called (or waived for not answering) is heard with another report than that it had before. */
static enum md_outcome outcome_heard(const struct node *n, const struct entry *e, enum md_outcome outcome)
{
    bool is_old = e->serial != 0 && n->has_report && n->report.serial == e->serial;
    bool is_kept = e->outcome == MD_OUTCOME_SILENT || e->outcome == MD_OUTCOME_WAIVED;
    return is_old && is_kept && outcome == MD_OUTCOME_CONFIRMED ? (enum md_outcome)e->outcome : outcome;
}

/* Brings one entry up to date with the facts and the newest report of its node. */
static void classify(struct md_release *r, struct rollout *o, uint32_t i)
{
    const struct node *n = &r->node[i];
    struct entry *e = &o->entry[i];
    int ring = md_policy_ring(&o->config.policy, n->fact.labels, e->draw);
    uint8_t old_ring = e->ring;
    e->ring = ring < 0 ? NO_RING : (uint8_t)ring;
    o->stale = true;
    if (n->fact.retired || !n->fact.enrolled || ring < 0 || !is_covered(&o->config, &n->fact)) {
        release_set_outcome(r, e, MD_OUTCOME_OUTSIDE, 0, 0);
        return;
    }
    enum md_outcome outcome = MD_OUTCOME_WAITING;
    uint8_t phase = e->phase, reason = e->reason;
    if (n->has_report) {
        outcome = outcome_of(o, e, &n->report);
        if (outcome == MD_OUTCOME_FAILED && !keeps_failure(o, e, &n->report)) {
            phase = n->report.phase;
            reason = n->report.reason;
        }
    } else if (e->outcome != MD_OUTCOME_OUTSIDE) {
        outcome = (enum md_outcome)e->outcome;
    }
    /* a waived node counts again when it tries again, not by repeating itself */
    bool tries = outcome == MD_OUTCOME_TRIAL && n->report.serial != e->serial;
    if (e->outcome == MD_OUTCOME_WAIVED && !tries && outcome != MD_OUTCOME_CONFIRMED && outcome != MD_OUTCOME_OUTSIDE)
        outcome = MD_OUTCOME_WAIVED;
    outcome = outcome_heard(n, e, outcome);
    release_set_outcome(r, e, outcome, phase, reason);
    bool answers = outcome != MD_OUTCOME_WAIVED && e->serial != 0 && n->has_report && n->report.serial != e->serial;
    if (answers)
        e->serial = 0;
    if (answers || old_ring != e->ring)
        release_touch_entry(r, e);
}

static void entry_init(struct md_release *r, struct rollout *o, uint32_t i)
{
    struct entry *e = &o->entry[i];
    memset(e, 0, sizeof *e);
    e->ring = NO_RING;
    e->draw = (uint16_t)mp_directive_draw(r->crypto, o->config.salt, r->node[i].fact.node, 0, NULL);
    classify(r, o, i);
}

int md_release_node(struct md_release *r, uint64_t now_ms, const struct md_fact *fact)
{
    clamp_now(r, now_ms);
    if (fact->node == 0 || fact->node == UINT32_MAX || fact->hw_revision > 31)
        return MP_ERR_FORMAT;
    int found = release_index(r, fact->node);
    if (found >= 0) {
        r->node[found].fact = *fact;
        for (unsigned i = 0; i < r->rollout_count; i++)
            classify(r, &r->rollout[i], (uint32_t)found);
        return MP_OK;
    }
    int result = grow(r);
    if (result < 0)
        return result;
    uint32_t index = r->node_count++;
    memset(&r->node[index], 0, sizeof r->node[index]);
    r->node[index].fact = *fact;
    bucket_add(r, index);
    for (unsigned i = 0; i < r->rollout_count; i++)
        entry_init(r, &r->rollout[i], index);
    return MP_OK;
}

int md_release_report(struct md_release *r, uint64_t now_ms, const struct mp_report *report)
{
    clamp_now(r, now_ms);
    int found = release_index(r, report->node);
    if (found < 0)
        return MP_ERR_ABSENT;
    struct node *n = &r->node[found];
    n->fact.enrolled = true;
    n->has_report = true;
    n->report = *report;
    for (unsigned i = 0; i < r->rollout_count; i++)
        classify(r, &r->rollout[i], (uint32_t)found);
    return MP_OK;
}

bool release_is_open(const struct md_release *r, const struct rollout *o, uint32_t i)
{
    return (r->node[i].fact.labels & o->opened_labels) || o->opened_share > o->entry[i].draw;
}

/* --- rollouts
 * --------------------------------------------------------------------------------------------------------- */

struct rollout *release_find(const struct md_release *r, uint32_t release)
{
    for (unsigned i = 0; i < r->rollout_count; i++)
        if (r->rollout[i].config.release == release)
            return (struct rollout *)(uintptr_t)&r->rollout[i];
    return NULL;
}

struct rollout *release_insert(struct md_release *r, const struct md_rollout_config *config)
{
    if (r->rollout_count == MD_ROLLOUTS_MAX)
        return NULL;
    struct entry *entry = calloc(r->node_cap ? r->node_cap : 1, sizeof *entry);
    if (!entry)
        return NULL;
    unsigned at = r->rollout_count++;
    for (; at > 0 && r->rollout[at - 1].config.release > config->release; at--)
        r->rollout[at] = r->rollout[at - 1];
    struct rollout *o = &r->rollout[at];
    memset(o, 0, sizeof *o);
    o->config = *config;
    o->entry = entry;
    o->due_ms = MD_NEVER_MS;
    r->dirty_rollout = r->dirty_node = 0;
    for (uint32_t i = 0; i < r->node_count; i++)
        entry_init(r, o, i);
    return o;
}

void release_remove(struct md_release *r, struct rollout *o)
{
    for (uint32_t i = 0; i < r->node_count; i++)
        r->dirty_count -= o->entry[i].dirty;
    free(o->entry);
    unsigned at = (unsigned)(o - r->rollout);
    for (r->rollout_count--; at < r->rollout_count; at++)
        r->rollout[at] = r->rollout[at + 1];
    r->dirty_rollout = r->dirty_node = 0;
}

static uint32_t limit_of(const struct md_ring_policy *ring, uint32_t members)
{
    uint32_t limit = ring->max_failures;
    uint32_t percent = (uint32_t)((uint64_t)members * ring->max_failures_bp / MP_SHARE_ALL);
    if (ring->max_failures_bp < MP_SHARE_ALL && percent < limit)
        limit = percent;
    return limit;
}

static void count_one(struct md_counts *c, const struct entry *e)
{
    uint32_t *const by[MD_OUTCOME_COUNT] = {NULL,          &c->waiting, &c->staged, &c->trial,
                                            &c->confirmed, &c->failed,  &c->silent, &c->waived};
    if (e->outcome == MD_OUTCOME_OUTSIDE || e->outcome >= MD_OUTCOME_COUNT)
        return;
    (*by[e->outcome])++;
    if (e->outcome != MD_OUTCOME_WAIVED)
        c->members++;
}

struct md_counts release_counts(const struct md_release *r, const struct rollout *o, uint8_t ring)
{
    struct md_counts c = {0};
    for (uint32_t i = 0; i < r->node_count; i++)
        if (ring == MD_RING_TOTAL ? o->entry[i].ring != NO_RING : o->entry[i].ring == ring)
            count_one(&c, &o->entry[i]);
    c.limit = ring < o->config.policy.ring_count ? limit_of(&o->config.policy.ring[ring], c.members) : MD_UNLIMITED;
    return c;
}

/* --- looking
 * ---------------------------------------------------------------------------------------------------------- */

static void fill_info(const struct rollout *o, struct md_rollout_info *info)
{
    memset(info, 0, sizeof *info);
    info->release = o->config.release;
    info->phase = o->phase;
    info->resumes = o->resumes;
    info->cause = o->cause;
    info->ring = o->ring;
    info->ring_count = o->config.policy.ring_count;
    info->share = o->opened_share;
    info->labels = o->opened_labels;
    info->started_ms = o->started_ms;
    info->phase_ms = o->entered_ms;
    info->due_ms = o->due_ms;
    info->config = &o->config;
    memcpy(info->why, o->why, sizeof info->why);
}

int md_release_info(const struct md_release *r, unsigned i, struct md_rollout_info *info)
{
    if (i >= r->rollout_count)
        return MP_ERR_ABSENT;
    fill_info(&r->rollout[i], info);
    return MP_OK;
}

int md_release_find(const struct md_release *r, uint32_t release, struct md_rollout_info *info)
{
    const struct rollout *o = release_find(r, release);
    if (!o)
        return MP_ERR_ABSENT;
    fill_info(o, info);
    return MP_OK;
}

int md_release_counts(const struct md_release *r, uint32_t release, uint8_t ring, struct md_counts *counts)
{
    const struct rollout *o = release_find(r, release);
    if (!o || (ring != MD_RING_TOTAL && ring >= o->config.policy.ring_count))
        return MP_ERR_ABSENT;
    *counts = release_counts(r, o, ring);
    return MP_OK;
}

int md_release_member(const struct md_release *r, uint32_t release, uint32_t i, struct md_release_node *out)
{
    const struct rollout *o = release_find(r, release);
    if (!o || i >= r->node_count)
        return MP_ERR_ABSENT;
    const struct entry *e = &o->entry[i];
    *out = (struct md_release_node){.node = r->node[i].fact.node,
                                    .release = release,
                                    .ring = e->ring,
                                    .outcome = e->outcome,
                                    .phase = e->phase,
                                    .reason = e->reason,
                                    .serial = e->serial,
                                    .opened_ms = e->opened_ms};
    return MP_OK;
}
