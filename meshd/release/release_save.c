#include "release_state.h"

#include "proto/mp_wire.h"

#define FORMAT 2
#define FORMAT_SILENT 1 /* knew no roll call: what runs by such a policy goes on without */

/* Cursor over a buffer; goes bad instead of past the end. */
struct out {
    uint8_t *data;
    size_t cap;
    size_t len;
};

struct in {
    const uint8_t *data;
    size_t len;
    size_t at;
    bool bad;
};

static void put(struct out *o, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++, o->len++)
        if (o->len < o->cap)
            o->data[o->len] = (uint8_t)(value >> (8 * i));
}

static void put_bytes(struct out *o, const void *data, size_t len)
{
    if (o->len + len <= o->cap)
        memcpy(o->data + o->len, data, len);
    o->len += len;
}

static uint64_t get(struct in *in, size_t size, uint64_t max)
{
    uint64_t value = 0;
    if (in->len - in->at < size) {
        in->bad = true;
        return 0;
    }
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)in->data[in->at + i] << (8 * i);
    in->at += size;
    if (value > max)
        in->bad = true;
    return value > max ? 0 : value;
}

static void get_bytes(struct in *in, void *data, size_t len)
{
    if (in->len - in->at < len) {
        in->bad = true;
        memset(data, 0, len);
        return;
    }
    memcpy(data, in->data + in->at, len);
    in->at += len;
}

static void put_config(struct out *o, const struct md_rollout_config *c)
{
    const struct md_policy *p = &c->policy;
    put(o, c->release, 4);
    put(o, c->salt, 4);
    put(o, c->image_count, 1);
    for (unsigned i = 0; i < c->image_count; i++) {
        put_bytes(o, c->image[i].id, 8);
        put(o, c->image[i].product, 4);
        put(o, c->image[i].model, 2);
        put(o, c->image[i].hw_revisions, 4);
        put(o, c->image[i].version, 4);
    }
    put(o, p->spread_s, 2);
    put(o, p->confirm_s, 2);
    put(o, p->stage_deadline_s, 4);
    put(o, p->cap, 4);
    put(o, p->roll_call_s, 4);
    put(o, p->ring_count, 1);
    for (unsigned i = 0; i < p->ring_count; i++) {
        const struct md_ring_policy *ring = &p->ring[i];
        put_bytes(o, ring->name, MD_RING_NAME_MAX);
        put(o, ring->labels, 2);
        put(o, ring->share, 2);
        put(o, ring->soak_s, 4);
        put(o, ring->deadline_s, 4);
        put(o, ring->min_reports, 4);
        put(o, ring->max_failures, 4);
        put(o, ring->max_failures_bp, 2);
    }
}

static void get_config(struct in *in, unsigned format, struct md_rollout_config *c)
{
    struct md_policy *p = &c->policy;
    c->release = (uint32_t)get(in, 4, UINT32_MAX);
    c->salt = (uint32_t)get(in, 4, UINT32_MAX);
    c->image_count = (uint8_t)get(in, 1, MP_DIRECTIVE_MANIFESTS_MAX);
    for (unsigned i = 0; i < c->image_count; i++) {
        get_bytes(in, c->image[i].id, 8);
        c->image[i].product = (uint32_t)get(in, 4, UINT32_MAX);
        c->image[i].model = (uint16_t)get(in, 2, UINT16_MAX);
        c->image[i].hw_revisions = (uint32_t)get(in, 4, UINT32_MAX);
        c->image[i].version = (uint32_t)get(in, 4, UINT32_MAX);
    }
    p->spread_s = (uint16_t)get(in, 2, UINT16_MAX);
    p->confirm_s = (uint16_t)get(in, 2, UINT16_MAX);
    p->stage_deadline_s = (uint32_t)get(in, 4, UINT32_MAX);
    p->cap = (uint32_t)get(in, 4, UINT32_MAX);
    p->roll_call_s = format == FORMAT_SILENT ? 0 : (uint32_t)get(in, 4, UINT32_MAX);
    p->ring_count = (uint8_t)get(in, 1, MD_RINGS_MAX);
    for (unsigned i = 0; i < p->ring_count; i++) {
        struct md_ring_policy *ring = &p->ring[i];
        get_bytes(in, ring->name, MD_RING_NAME_MAX);
        ring->labels = (uint16_t)get(in, 2, UINT16_MAX);
        ring->share = (uint16_t)get(in, 2, MP_SHARE_ALL);
        ring->soak_s = (uint32_t)get(in, 4, UINT32_MAX);
        ring->deadline_s = (uint32_t)get(in, 4, UINT32_MAX);
        ring->min_reports = (uint32_t)get(in, 4, UINT32_MAX);
        ring->max_failures = (uint32_t)get(in, 4, UINT32_MAX);
        ring->max_failures_bp = (uint16_t)get(in, 2, MP_SHARE_ALL);
    }
}

enum { BIT_OVERRIDE = 1, BIT_MIN = 2, BIT_CAP = 4, BIT_FOREIGN = 8, BIT_CALLING = 16, BITS_ALL = 31 };

static unsigned bits_of(const struct rollout *o)
{
    return (o->override_breaker ? BIT_OVERRIDE : 0u) | (o->lifted_min ? BIT_MIN : 0u) | (o->lifted_cap ? BIT_CAP : 0u) |
           (o->foreign ? BIT_FOREIGN : 0u) | (o->calling ? BIT_CALLING : 0u);
}

int md_release_save(const struct md_release *r, uint32_t release, uint8_t *data, size_t cap)
{
    const struct rollout *o = release_find(r, release);
    struct out out = {data, cap, 0};
    if (!o)
        return MP_ERR_ABSENT;
    put(&out, FORMAT, 1);
    put_config(&out, &o->config);
    put(&out, o->phase, 1);
    put(&out, o->resumes, 1);
    put(&out, o->cause, 1);
    put(&out, o->ring, 1);
    put(&out, bits_of(o), 1);
    put(&out, o->foreign_action, 1);
    put(&out, o->opened_labels, 2);
    put(&out, o->opened_share, 2);
    put(&out, o->foreign_generation, 2);
    put(&out, o->foreign_sequence, 4);
    put(&out, o->foreign_floor, 4);
    put(&out, o->to_release, 4);
    put(&out, o->started_ms, 8);
    put(&out, o->phase_ms, 8);
    put(&out, o->entered_ms, 8);
    put(&out, o->resumes_ms, 8);
    put(&out, o->held_ms, 8);
    put(&out, o->paused_ms, 8);
    put(&out, o->called_ms, 8);
    put(&out, o->to_count, 1);
    put_bytes(&out, o->to, (size_t)o->to_count * 8);
    put_bytes(&out, o->why, sizeof o->why);
    return out.len <= cap ? (int)out.len : MP_ERR_ROOM;
}

static void get_state(struct in *in, unsigned format, struct rollout *o)
{
    o->phase = (enum md_phase)get(in, 1, MD_PHASE_COUNT - 1);
    o->resumes = (enum md_phase)get(in, 1, MD_PHASE_COUNT - 1);
    o->cause = (enum md_cause)get(in, 1, MD_CAUSE_COUNT - 1);
    o->ring = (uint8_t)get(in, 1, MD_RINGS_MAX - 1);
    unsigned bits = (unsigned)get(in, 1, BITS_ALL);
    o->override_breaker = bits & BIT_OVERRIDE;
    o->lifted_min = bits & BIT_MIN;
    o->lifted_cap = bits & BIT_CAP;
    o->foreign = bits & BIT_FOREIGN;
    o->calling = bits & BIT_CALLING;
    o->foreign_action = (uint8_t)get(in, 1, MP_ACTION_REVERT);
    o->opened_labels = (uint16_t)get(in, 2, UINT16_MAX);
    o->opened_share = (uint16_t)get(in, 2, MP_SHARE_ALL);
    o->foreign_generation = (uint16_t)get(in, 2, UINT16_MAX);
    o->foreign_sequence = (uint32_t)get(in, 4, UINT32_MAX);
    o->foreign_floor = (uint32_t)get(in, 4, UINT32_MAX);
    o->to_release = (uint32_t)get(in, 4, UINT32_MAX);
    o->started_ms = get(in, 8, INT64_MAX);
    o->phase_ms = get(in, 8, INT64_MAX);
    o->entered_ms = get(in, 8, INT64_MAX);
    o->resumes_ms = get(in, 8, INT64_MAX);
    o->held_ms = get(in, 8, INT64_MAX);
    o->paused_ms = get(in, 8, INT64_MAX);
    o->called_ms = format == FORMAT_SILENT ? 0 : get(in, 8, INT64_MAX);
    o->to_count = (uint8_t)get(in, 1, MP_DIRECTIVE_MANIFESTS_MAX / 2);
    get_bytes(in, o->to, (size_t)o->to_count * 8);
    get_bytes(in, o->why, sizeof o->why);
    o->why[sizeof o->why - 1] = '\0';
}

/* A revert names one manifest for each of the release's, or a directive would have no room for both. */
static bool is_revert_whole(const struct rollout *o)
{
    bool reverts = o->phase == MD_PHASE_REVERTING || o->phase == MD_PHASE_REVERTED ||
                   o->resumes == MD_PHASE_REVERTING || o->resumes == MD_PHASE_REVERTED;
    return (!reverts && o->to_count == 0) || o->to_count == o->config.image_count;
}

int md_release_load(struct md_release *r, const uint8_t *data, size_t len)
{
    struct in in = {data, len, 0, false};
    struct rollout loaded;
    memset(&loaded, 0, sizeof loaded);
    unsigned format = (unsigned)get(&in, 1, FORMAT);
    if (format < FORMAT_SILENT)
        return MP_ERR_FORMAT;
    get_config(&in, format, &loaded.config);
    get_state(&in, format, &loaded);
    if (in.at != len)
        return MP_ERR_LENGTH;
    if (in.bad || loaded.config.release == 0 || loaded.config.image_count == 0 ||
        loaded.ring >= loaded.config.policy.ring_count || !is_revert_whole(&loaded) ||
        md_policy_check(&loaded.config.policy, NULL, 0) < 0)
        return MP_ERR_FORMAT;
    if (release_find(r, loaded.config.release))
        return MP_ERR_DUPLICATE;
    struct rollout *o = release_insert(r, &loaded.config);
    if (!o)
        return MP_ERR_ROOM;
    loaded.entry = o->entry;
    loaded.due_ms = MD_NEVER_MS;
    loaded.stale = true;
    *o = loaded;
    return MP_OK;
}

bool md_release_pop_changed(struct md_release *r, uint32_t release)
{
    struct rollout *o = release_find(r, release);
    bool changed = o && o->changed;
    if (o)
        o->changed = false;
    return changed;
}

void md_release_touch(struct md_release *r)
{
    for (unsigned i = 0; i < r->rollout_count; i++) {
        r->rollout[i].changed = true;
        for (uint32_t j = 0; j < r->node_count; j++) {
            r->dirty_count += !r->rollout[i].entry[j].dirty;
            r->rollout[i].entry[j].dirty = true;
        }
    }
}

bool md_release_pop_node(struct md_release *r, struct md_release_node *out)
{
    if (r->dirty_count == 0)
        return false;
    /* at most once around: the count says that there is one */
    for (uint64_t looked = 0; looked < ((uint64_t)r->rollout_count + 1) * ((uint64_t)r->node_count + 2); looked++) {
        if (r->dirty_rollout >= r->rollout_count)
            r->dirty_rollout = r->dirty_node = 0;
        if (r->dirty_node >= r->node_count) {
            r->dirty_node = 0;
            r->dirty_rollout++;
            continue;
        }
        struct rollout *o = &r->rollout[r->dirty_rollout];
        struct entry *e = &o->entry[r->dirty_node];
        if (e->dirty) {
            e->dirty = false;
            r->dirty_count--;
            return md_release_member(r, o->config.release, r->dirty_node, out) == MP_OK;
        }
        r->dirty_node++;
    }
    return false;
}

int md_release_put_node(struct md_release *r, const struct md_release_node *in)
{
    struct rollout *o = release_find(r, in->release);
    int index = release_index(r, in->node);
    if (!o || index < 0)
        return MP_ERR_ABSENT;
    if (in->outcome >= MD_OUTCOME_COUNT || in->phase >= MP_PHASE_COUNT || in->reason >= MP_REASON_COUNT)
        return MP_ERR_FORMAT;
    struct entry *e = &o->entry[index];
    e->outcome = in->outcome;
    e->phase = in->phase;
    e->reason = in->reason;
    e->serial = in->serial;
    e->opened_ms = in->opened_ms;
    if (e->dirty)
        r->dirty_count--;
    e->dirty = false;
    o->stale = true;
    return MP_OK;
}
