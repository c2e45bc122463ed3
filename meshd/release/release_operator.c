#include "release_state.h"

#include <stdarg.h>

static int refuse(char *error, size_t size, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (error && size)
        vsnprintf(error, size, format, args);
    va_end(args);
    return code;
}

static bool images_overlap(const struct md_release_image *a, const struct md_release_image *b)
{
    if (memcmp(a->id, b->id, sizeof a->id) == 0)
        return true;
    return a->product == b->product && a->model == b->model && (a->hw_revisions & b->hw_revisions);
}

static int check_config(const struct md_rollout_config *c, char *error, size_t size)
{
    if (c->release == 0)
        return refuse(error, size, MP_ERR_FORMAT, "release 0 does not exist");
    if (c->image_count == 0 || c->image_count > MP_DIRECTIVE_MANIFESTS_MAX)
        return refuse(error, size, MP_ERR_FORMAT, "a release has 1 to %d images", MP_DIRECTIVE_MANIFESTS_MAX);
    for (unsigned i = 0; i < c->image_count; i++) {
        if (c->image[i].hw_revisions == 0)
            return refuse(error, size, MP_ERR_FORMAT, "image %u runs on no hardware revision", i + 1);
        for (unsigned j = 0; j < i; j++)
            if (images_overlap(&c->image[i], &c->image[j]))
                return refuse(error, size, MP_ERR_FORMAT, "images %u and %u are for the same devices", j + 1, i + 1);
    }
    return md_policy_check(&c->policy, error, size);
}

/* The mesh keeps the four highest releases: makes room by forgetting a finished one, lowest first. */
static int make_room(struct md_release *r, uint32_t release, char *error, size_t size)
{
    if (r->rollout_count < MD_ROLLOUTS_MAX)
        return MP_OK;
    for (unsigned i = 0; i < r->rollout_count; i++)
        if (is_finished(&r->rollout[i]) && r->rollout[i].config.release < release) {
            release_remove(r, &r->rollout[i]);
            return MP_OK;
        }
    return refuse(error, size, MP_ERR_ROOM,
                  "%d rollouts are active or newer, which is all that a mesh holds: drop one first", MD_ROLLOUTS_MAX);
}

int md_release_start(struct md_release *r, uint64_t now_ms, const struct md_rollout_config *config, const char *who,
                     char *error, size_t error_size)
{
    clamp_now(r, now_ms);
    int result = check_config(config, error, error_size);
    if (result < 0)
        return result;
    if (release_find(r, config->release))
        return refuse(error, error_size, MP_ERR_DUPLICATE, "release %u is rolled out already",
                      (unsigned)config->release);
    result = make_room(r, config->release, error, error_size);
    if (result < 0)
        return result;
    struct rollout *o = release_insert(r, config);
    if (!o)
        return refuse(error, error_size, MP_ERR_ROOM, "out of memory");
    o->started_ms = r->now_ms;
    release_phase_set(r, o, MD_PHASE_STAGING);
    char version[24];
    struct md_counts all = release_counts(r, o, MD_RING_TOTAL), first = release_counts(r, o, 0);
    release_decide(r, o, MD_DECISION_STARTED, 0,
                   "release %u (%s) started by %s: %u rings, %u nodes, %u of them in ring %s%s",
                   (unsigned)config->release, release_version(o, version), who, config->policy.ring_count, all.members,
                   first.members, config->policy.ring[0].name,
                   first.members ? "" : "; it will hold at the stage deadline unless one joins");
    return MP_OK;
}

int md_release_hold(struct md_release *r, uint64_t now_ms, uint32_t release, const char *who)
{
    clamp_now(r, now_ms);
    struct rollout *o = release_find(r, release);
    if (!o)
        return MP_ERR_ABSENT;
    if (o->phase == MD_PHASE_HELD || o->phase == MD_PHASE_REVERTING || o->phase == MD_PHASE_REVERTED)
        return MP_ERR_STATE;
    release_hold(r, o, MD_CAUSE_OPERATOR);
    release_decide(r, o, MD_DECISION_HELD, o->ring, "held at ring %s by %s", o->config.policy.ring[o->ring].name, who);
    return MP_OK;
}

/* Takes failures (and, when asked, nodes still without outcome) of rings first to last out of the denominator. Their
 * number. */
static uint32_t waive(struct md_release *r, struct rollout *o, uint8_t first, uint8_t last, bool pending)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->node_count; i++) {
        struct entry *e = &o->entry[i];
        bool failed = e->outcome == MD_OUTCOME_FAILED || e->outcome == MD_OUTCOME_SILENT;
        bool waits =
            e->outcome == MD_OUTCOME_WAITING || e->outcome == MD_OUTCOME_STAGED || e->outcome == MD_OUTCOME_TRIAL;
        if (e->ring < first || e->ring > last)
            continue;
        if (pending && e->outcome == MD_OUTCOME_CONFIRMED && e->serial != 0) {
            e->serial = 0; /* nobody waits for its answer any more */
            release_touch_entry(r, e);
        }
        if (!(failed || (pending && waits)))
            continue;
        release_set_outcome(r, e, MD_OUTCOME_WAIVED, 0, 0);
        e->serial = r->node[i].report.serial;
        e->opened_ms = 0; /* if it tries again its deadline starts afresh */
        count++;
    }
    return count;
}

int md_release_resume(struct md_release *r, uint64_t now_ms, uint32_t release, const char *who)
{
    clamp_now(r, now_ms);
    struct rollout *o = release_find(r, release);
    if (!o)
        return MP_ERR_ABSENT;
    if (o->phase != MD_PHASE_HELD || (o->foreign && o->foreign_action == MP_ACTION_REVERT))
        return MP_ERR_STATE;
    const char *ring = o->config.policy.ring[o->ring].name;
    bool foreign = o->foreign;
    uint32_t waived = waive(r, o, 0, o->ring, false);
    o->lifted_min = o->lifted_min || o->cause == MD_CAUSE_REPORTS;
    o->lifted_cap = o->lifted_cap || o->cause == MD_CAUSE_CAP;
    /* what was staging or soaking goes on where it stood, with the time it had left */
    release_phase_set(r, o, o->resumes);
    o->phase_ms = o->resumes_ms;
    o->cause = MD_CAUSE_NONE;
    o->foreign = false;
    release_decide(r, o, MD_DECISION_RESUMED, o->ring, "resumed at ring %s by %s%s: %u failed nodes waived%s%s", ring,
                   who, foreign ? ", taking over from another gateway" : "", waived,
                   o->lifted_min ? ", required reports lifted" : "", o->lifted_cap ? ", cap lifted" : "");
    return MP_OK;
}

int md_release_advance(struct md_release *r, uint64_t now_ms, uint32_t release, const char *who)
{
    clamp_now(r, now_ms);
    struct rollout *o = release_find(r, release);
    if (!o)
        return MP_ERR_ABSENT;
    enum md_phase phase = o->phase == MD_PHASE_HELD ? o->resumes : o->phase;
    if (o->foreign || (phase != MD_PHASE_STAGING && phase != MD_PHASE_OPEN && phase != MD_PHASE_SOAKING))
        return MP_ERR_STATE;
    const char *ring = o->config.policy.ring[o->ring].name;
    bool opens = phase == MD_PHASE_STAGING;
    uint32_t waived = waive(r, o, 0, o->ring, !opens);
    if (o->phase == MD_PHASE_HELD)
        release_phase_set(r, o, phase);
    o->cause = MD_CAUSE_NONE;
    release_decide(r, o, MD_DECISION_ADVANCED, o->ring, "ring %s %s by %s against the gate: %u nodes waived", ring,
                   opens ? "opened" : "passed", who, waived);
    if (opens) {
        o->lifted_min = true;
        release_open(r, o, who);
    } else if (o->ring + 1 < o->config.policy.ring_count) {
        o->ring++;
        o->lifted_min = o->lifted_cap = false;
        release_phase_set(r, o, MD_PHASE_STAGING);
    } else {
        release_phase_set(r, o, MD_PHASE_DONE);
    }
    return MP_OK;
}

int md_release_revert(struct md_release *r, uint64_t now_ms, uint32_t release, uint32_t to_release,
                      const uint8_t to[][8], unsigned count, const char *who)
{
    clamp_now(r, now_ms);
    struct rollout *o = release_find(r, release);
    if (!o)
        return MP_ERR_ABSENT;
    if (o->phase == MD_PHASE_REVERTING || o->phase == MD_PHASE_REVERTED || (o->foreign && o->phase != MD_PHASE_HELD))
        return MP_ERR_STATE;
    if (o->config.image_count > MP_DIRECTIVE_MANIFESTS_MAX / 2)
        return MP_ERR_ROOM;
    if (count != o->config.image_count || to_release == 0 || to_release == release)
        return MP_ERR_FORMAT;
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = 0; j < count; j++)
            if (memcmp(to[i], o->config.image[j].id, 8) == 0 || (j < i && memcmp(to[i], to[j], 8) == 0))
                return MP_ERR_FORMAT;
    memcpy(o->to, to, (size_t)count * 8);
    o->to_count = (uint8_t)count;
    o->to_release = to_release;
    o->foreign = false;
    o->cause = MD_CAUSE_NONE;
    release_phase_set(r, o, MD_PHASE_REVERTING);
    char version[24];
    struct md_counts c = release_counts(r, o, MD_RING_TOTAL);
    release_decide(r, o, MD_DECISION_REVERTING, MD_RING_TOTAL,
                   "reverting %s to release %u by %s: %u of %u nodes run it", release_version(o, version),
                   (unsigned)to_release, who, c.confirmed, c.members);
    return MP_OK;
}

int md_release_override(struct md_release *r, uint64_t now_ms, uint32_t release, bool on, const char *who)
{
    clamp_now(r, now_ms);
    struct rollout *o = release_find(r, release);
    if (!o)
        return MP_ERR_ABSENT;
    if (o->override_breaker == on)
        return MP_ERR_STATE;
    o->override_breaker = on;
    release_decide(r, o, MD_DECISION_OVERRIDE, o->ring, "breaker %s by %s", on ? "overridden" : "in force again", who);
    return MP_OK;
}

int md_release_drop(struct md_release *r, uint32_t release)
{
    struct rollout *o = release_find(r, release);
    if (!o)
        return MP_ERR_ABSENT;
    if (!is_finished(o) && o->phase != MD_PHASE_HELD)
        return MP_ERR_STATE;
    release_remove(r, o);
    return MP_OK;
}

void md_release_gap(struct md_release *r, uint64_t now_ms, uint64_t gap_ms)
{
    clamp_now(r, now_ms);
    for (unsigned i = 0; i < r->rollout_count; i++) {
        struct rollout *o = &r->rollout[i];
        if (o->phase == MD_PHASE_HELD || is_finished(o))
            continue;
        uint64_t active = active_ms(o, r->now_ms);
        uint64_t moved = gap_ms < active ? gap_ms : active;
        o->paused_ms += moved;
        o->stale = true;
        release_decide(r, o, MD_DECISION_GAP, o->ring,
                       "the gateway did not listen for %llu s: deadlines move by as much",
                       (unsigned long long)(moved / 1000));
    }
}

/* --- the mesh's head
 * -------------------------------------------------------------------------------------------------- */

int md_release_head(struct md_release *r, uint64_t now_ms, const struct mp_directive *head, bool own)
{
    clamp_now(r, now_ms);
    struct rollout *o = release_find(r, head->release);
    struct md_want want;
    if (!o || md_release_want(r, head->release, &want) < 0)
        return MP_ERR_ABSENT;
    bool seen = head->generation == o->foreign_generation && head->sequence == o->foreign_sequence &&
                head->floor == o->foreign_floor;
    if (own || seen || !md_want_differs(&want, head))
        return MP_OK;
    o->foreign_generation = head->generation;
    o->foreign_sequence = head->sequence;
    o->foreign_floor = head->floor;
    o->foreign_action = head->action;
    o->foreign = true;
    if (o->phase != MD_PHASE_HELD)
        release_hold(r, o, MD_CAUSE_FOREIGN);
    o->cause = MD_CAUSE_FOREIGN;
    static const char *const does[] = {"stages it", "opens it differently", "holds it", "reverts it"};
    release_decide(r, o, MD_DECISION_HELD, o->ring, "held at ring %s: another gateway %s (sequence %u)",
                   o->config.policy.ring[o->ring].name,
                   head->action <= MP_ACTION_REVERT ? does[head->action] : "steers it", (unsigned)head->sequence);
    return MP_OK;
}

static enum mp_action action_of(const struct rollout *o)
{
    switch (o->phase) {
    case MD_PHASE_STAGING:
        return o->ring == 0 && o->opened_labels == 0 && o->opened_share == 0 ? MP_ACTION_STAGE : MP_ACTION_OPEN;
    case MD_PHASE_OPEN:
    case MD_PHASE_SOAKING:
    case MD_PHASE_DONE:
        return MP_ACTION_OPEN;
    case MD_PHASE_HELD:
        return MP_ACTION_HOLD;
    case MD_PHASE_REVERTING:
    case MD_PHASE_REVERTED:
        return MP_ACTION_REVERT;
    case MD_PHASE_COUNT:
        break;
    }
    return MP_ACTION_HOLD;
}

int md_release_want(const struct md_release *r, uint32_t release, struct md_want *want)
{
    const struct rollout *o = release_find(r, release);
    if (!o)
        return MP_ERR_ABSENT;
    memset(want, 0, sizeof *want);
    want->sign = !o->foreign;
    want->action = (uint8_t)action_of(o);
    want->flags = o->override_breaker ? MP_DIRECTIVE_OVERRIDE : 0;
    if (o->calling && want->action == MP_ACTION_OPEN)
        want->flags |= MP_DIRECTIVE_ROLL_CALL;
    want->labels = o->opened_labels;
    want->share = o->opened_share;
    want->spread_s = o->config.policy.spread_s;
    want->confirm_s = o->config.policy.confirm_s;
    want->release = o->config.release;
    want->salt = o->config.salt;
    for (unsigned i = 0; i < o->config.image_count; i++)
        memcpy(want->manifests[want->manifest_count++], o->config.image[i].id, 8);
    if (want->action == MP_ACTION_REVERT) {
        /* whoever took it goes back, in a ring or not */
        want->share = MP_SHARE_ALL;
        for (unsigned i = 0; i < o->to_count; i++)
            memcpy(want->manifests[want->manifest_count++], o->to[i], 8);
    }
    return MP_OK;
}

bool md_want_differs(const struct md_want *want, const struct mp_directive *head)
{
    if (!head)
        return true;
    return head->release != want->release || head->action != want->action || head->flags != want->flags ||
           head->labels != want->labels || head->share != want->share || head->spread_s != want->spread_s ||
           head->confirm_s != want->confirm_s || head->salt != want->salt ||
           head->manifest_count != want->manifest_count ||
           memcmp(head->manifests, want->manifests, (size_t)want->manifest_count * 8) != 0;
}

void md_want_directive(const struct md_want *want, const struct mp_directive *head, const uint8_t head_id[8],
                       struct mp_directive *out)
{
    memset(out, 0, sizeof *out);
    out->action = want->action;
    out->flags = want->flags;
    out->labels = want->labels;
    out->share = want->share;
    out->spread_s = want->spread_s;
    out->confirm_s = want->confirm_s;
    out->release = want->release;
    out->salt = want->salt;
    out->manifest_count = want->manifest_count;
    memcpy(out->manifests, want->manifests, sizeof out->manifests);
    out->sequence = head ? head->sequence + 1 : 1;
    if (head)
        memcpy(out->previous, head_id, sizeof out->previous);
    /* the head's floor names the newest hold: its own when it is one */
    out->floor = want->action == MP_ACTION_HOLD ? out->sequence : head ? head->floor : 0;
}
