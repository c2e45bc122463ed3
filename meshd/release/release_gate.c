/*
 * Evaluation of rollouts: which phase follows, and why.
 *
 * phase      leaves when                                                              to
 * STAGING    members of the next ring hold the image, or the stage deadline passed     OPEN
 *            a gate of an open ring or of the next one fails                           HELD
 *            the ring has nobody and reports are required (first ring: at the stage deadline)  HELD
 * OPEN       the ring is open as far as it goes, enough members reported, and even if every
 *            member still without outcome failed the limit would hold                  SOAKING
 *            too few members can still report                                          HELD
 * SOAKING    the soak passed, the roll was called, and even if everybody who has not answered
 *            were dead, every gate would hold                                          STAGING of the next ring, DONE
 *            a late joiner makes the gate doubtful again                               OPEN
 * HELD       an operator resumes                                                       where it was
 * REVERTING  nobody runs the release any more, or the ring's deadline passed           REVERTED
 * DONE, REVERTED stay.
 *
 * Timers: stage deadline, one silence deadline for every opened member without outcome, one for the roll call, soak.
 */
#include "release_state.h"

void release_phase_set(struct md_release *r, struct rollout *o, enum md_phase phase)
{
    uint64_t active = active_ms(o, r->now_ms);
    if (o->phase == MD_PHASE_HELD && phase != MD_PHASE_HELD)
        o->paused_ms += r->now_ms > o->held_ms ? r->now_ms - o->held_ms : 0;
    if (o->phase != MD_PHASE_HELD && phase == MD_PHASE_HELD)
        o->held_ms = r->now_ms;
    if (phase == MD_PHASE_OPEN || phase == MD_PHASE_DONE)
        o->calling = false;
    o->phase = phase;
    o->phase_ms = active;
    o->entered_ms = r->now_ms;
    o->changed = true;
    o->stale = true;
}

static const char *ring_name(const struct rollout *o)
{
    return o->config.policy.ring[o->ring].name;
}

void release_hold(struct md_release *r, struct rollout *o, enum md_cause cause)
{
    enum md_phase resumes = o->phase;
    o->resumes_ms = o->phase_ms;
    release_phase_set(r, o, MD_PHASE_HELD);
    o->resumes = resumes;
    o->cause = cause;
}

static bool is_pending(const struct entry *e)
{
    return e->outcome == MD_OUTCOME_WAITING || e->outcome == MD_OUTCOME_STAGED || e->outcome == MD_OUTCOME_TRIAL;
}

/* Called, and not heard since. */
static bool is_awaited(const struct rollout *o, const struct entry *e)
{
    return e->outcome == MD_OUTCOME_CONFIRMED && e->serial != 0 && e->ring != NO_RING && e->ring <= o->ring;
}

static uint64_t roll_deadline_ms(const struct rollout *o)
{
    return o->called_ms + (uint64_t)o->config.policy.roll_call_s * 1000;
}

/* Marks who was opened when, and who stayed silent too long. */
static void mark_nodes(struct md_release *r, struct rollout *o)
{
    uint64_t active = active_ms(o, r->now_ms);
    for (uint32_t i = 0; i < r->node_count; i++) {
        struct entry *e = &o->entry[i];
        if (is_awaited(o, e) && active >= roll_deadline_ms(o))
            release_set_outcome(r, e, MD_OUTCOME_SILENT, 0, 0);
        if (e->ring == NO_RING || !is_pending(e) || !release_is_open(r, o, i))
            continue;
        if (e->opened_ms == 0) {
            e->opened_ms = active ? active : 1;
            release_touch_entry(r, e);
        }
        if (active >= e->opened_ms + (uint64_t)o->config.policy.ring[e->ring].deadline_s * 1000)
            release_set_outcome(r, e, MD_OUTCOME_SILENT, 0, 0);
    }
}

/* Gates of every open ring and, while it stages, of the next one. */
static bool gate_fails(struct md_release *r, struct rollout *o)
{
    for (uint8_t ring = 0; ring <= o->ring; ring++) {
        struct md_counts c = release_counts(r, o, ring);
        if (c.failed + c.silent <= c.limit)
            continue;
        char text[MD_TEXT_MAX];
        release_failures(r, o, ring, text);
        release_hold(r, o, MD_CAUSE_GATE);
        release_decide(r, o, MD_DECISION_HELD, ring, "held at ring %s: %s", o->config.policy.ring[ring].name, text);
        return true;
    }
    return false;
}

static void hold_reports(struct md_release *r, struct rollout *o, const struct md_counts *c)
{
    const struct md_ring_policy *ring = &o->config.policy.ring[o->ring];
    release_hold(r, o, MD_CAUSE_REPORTS);
    if (c->members + c->waived == 0)
        release_decide(r, o, MD_DECISION_HELD, o->ring,
                       "held at ring %s: no node belongs to it, %u reports are required", ring->name,
                       ring->min_reports);
    else
        release_decide(r, o, MD_DECISION_HELD, o->ring,
                       "held at ring %s: %u of %u nodes confirmed or failed within %u s, %u reports are required",
                       ring->name, c->confirmed + c->failed + c->waived, c->members + c->waived, ring->deadline_s,
                       ring->min_reports);
}

static void hold_cap(struct md_release *r, struct rollout *o, uint32_t count, const char *what)
{
    release_hold(r, o, MD_CAUSE_CAP);
    release_decide(r, o, MD_DECISION_HELD, o->ring, "held at ring %s: %s would open %u nodes at once, cap %u",
                   ring_name(o), what, count, o->config.policy.cap);
}

/* --- opening
 * ---------------------------------------------------------------------------------------------------------- */

static uint32_t count_in_flight(const struct md_release *r, const struct rollout *o, uint16_t labels, uint16_t share)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->node_count; i++)
        if (o->entry[i].ring != NO_RING && is_pending(&o->entry[i]) &&
            ((r->node[i].fact.labels & labels) || share > o->entry[i].draw))
            count++;
    return count;
}

static uint16_t cumulative_labels(const struct rollout *o)
{
    uint16_t labels = 0;
    for (uint8_t i = 0; i <= o->ring; i++)
        labels |= o->config.policy.ring[i].labels;
    return labels;
}

/* The widest share up to the ring's that keeps the cap: bisection, since the count only rises with the share. */
static uint16_t widest_share(const struct md_release *r, const struct rollout *o)
{
    uint16_t low = o->opened_share, high = o->config.policy.ring[o->ring].share;
    if (o->config.policy.cap == MD_UNLIMITED || o->lifted_cap)
        return high;
    while (low < high) {
        uint16_t middle = (uint16_t)((low + high + 1) / 2);
        if (count_in_flight(r, o, o->opened_labels, middle) <= o->config.policy.cap)
            low = middle;
        else
            high = (uint16_t)(middle - 1);
    }
    return low;
}

/* Raises the share of the current ring as far as the cap allows. False: held. */
static bool widen(struct md_release *r, struct rollout *o)
{
    uint16_t goal = o->config.policy.ring[o->ring].share;
    if (o->opened_share >= goal)
        return true;
    uint32_t cap = o->config.policy.cap;
    uint32_t flying = count_in_flight(r, o, o->opened_labels, o->opened_share);
    /* one directive for each half cap, not one for each node */
    if (!o->lifted_cap && cap != MD_UNLIMITED && flying > cap / 2)
        return true;
    uint16_t share = widest_share(r, o);
    if (share == o->opened_share) {
        if (flying)
            return true;
        hold_cap(r, o, count_in_flight(r, o, o->opened_labels, (uint16_t)(share + 1)), "the next basis point");
        return false;
    }
    o->opened_share = share;
    o->changed = true;
    return true;
}

void release_open(struct md_release *r, struct rollout *o, const char *who)
{
    uint16_t labels = cumulative_labels(o);
    uint32_t count = count_in_flight(r, o, labels, o->opened_share);
    if (!o->lifted_cap && count > o->config.policy.cap) {
        hold_cap(r, o, count, "its labels");
        return;
    }
    o->opened_labels = labels;
    if (!widen(r, o))
        return;
    release_phase_set(r, o, MD_PHASE_OPEN);
    struct md_counts c = release_counts(r, o, o->ring);
    release_decide(r, o, MD_DECISION_OPENED, o->ring,
                   "opened ring %s%s%s: %u nodes, %u staged, labels 0x%04x, share %u.%02u %%", ring_name(o),
                   who ? " by " : "", who ? who : "", c.members, c.staged, o->opened_labels, o->opened_share / 100u,
                   o->opened_share % 100u);
}

/* --- phases
 * ----------------------------------------------------------------------------------------------------------- */

static void step_staging(struct md_release *r, struct rollout *o)
{
    const struct md_policy *p = &o->config.policy;
    struct md_counts c = release_counts(r, o, o->ring);
    bool late = active_ms(o, r->now_ms) >= o->phase_ms + (uint64_t)p->stage_deadline_s * 1000;
    bool empty = c.members + c.waived == 0;
    if (empty && p->ring[o->ring].min_reports && !o->lifted_min) {
        if (o->ring > 0 || late)
            hold_reports(r, o, &c);
        return;
    }
    if (late || c.waiting == 0)
        release_open(r, o, NULL);
}

/* Even if every member without outcome failed, would the limit hold? */
static bool gate_passes(const struct rollout *o, const struct md_counts *c)
{
    uint32_t pending = c->waiting + c->staged + c->trial;
    uint32_t heard = c->confirmed + c->failed + c->waived;
    if (o->opened_share < o->config.policy.ring[o->ring].share)
        return false;
    return (uint64_t)pending + c->failed + c->silent <= c->limit &&
           (o->lifted_min || heard >= o->config.policy.ring[o->ring].min_reports);
}

static void step_open(struct md_release *r, struct rollout *o)
{
    uint16_t share = o->opened_share;
    if (!widen(r, o))
        return;
    struct md_counts c = release_counts(r, o, o->ring);
    if (o->opened_share != share) {
        release_decide(r, o, MD_DECISION_WIDENED, o->ring, "widened ring %s to %u.%02u %%: cap %u nodes in flight",
                       ring_name(o), o->opened_share / 100u, o->opened_share % 100u, o->config.policy.cap);
        mark_nodes(r, o);
    }
    if (gate_passes(o, &c)) {
        release_phase_set(r, o, MD_PHASE_SOAKING);
        release_decide(r, o, MD_DECISION_SOAKING, o->ring, "ring %s soaks %u s: %u of %u nodes confirmed", ring_name(o),
                       o->config.policy.ring[o->ring].soak_s, c.confirmed, c.members);
        return;
    }
    bool all_open = o->opened_share >= o->config.policy.ring[o->ring].share;
    if (all_open && c.waiting + c.staged + c.trial == 0 && !o->lifted_min)
        hold_reports(r, o, &c);
}

static void pass(struct md_release *r, struct rollout *o, const struct md_counts *c)
{
    char version[24], limit[16];
    snprintf(limit, sizeof limit, c->limit == MD_UNLIMITED ? "none" : "%u", c->limit);
    release_decide(r, o, MD_DECISION_PASSED, o->ring,
                   "ring %s passed: %u of %u nodes confirmed, %u failed, %u silent, %u open, limit %s, soaked %u s",
                   ring_name(o), c->confirmed, c->members, c->failed, c->silent, c->waiting + c->staged + c->trial,
                   limit, o->config.policy.ring[o->ring].soak_s);
    o->lifted_min = o->lifted_cap = false;
    if (o->ring + 1 < o->config.policy.ring_count) {
        o->ring++;
        release_phase_set(r, o, MD_PHASE_STAGING);
        return;
    }
    release_phase_set(r, o, MD_PHASE_DONE);
    struct md_counts all = release_counts(r, o, MD_RING_TOTAL);
    release_decide(r, o, MD_DECISION_DONE, MD_RING_TOTAL, "done: %u of %u nodes run %s", all.confirmed, all.members,
                   release_version(o, version));
}

/* --- the roll call ------------------------------------------------------------------------------------------------ */

/* Would every gate hold even if nobody called (before the call: nobody who would be) were alive? */
static bool roll_passes(const struct md_release *r, const struct rollout *o, bool is_called)
{
    uint32_t away[MD_RINGS_MAX] = {0};
    for (uint32_t i = 0; i < r->node_count; i++) {
        const struct entry *e = &o->entry[i];
        if (e->ring != NO_RING && e->ring <= o->ring)
            away[e->ring] += is_called ? is_awaited(o, e) : e->outcome == MD_OUTCOME_CONFIRMED;
    }
    for (uint8_t ring = 0; ring <= o->ring; ring++) {
        if (away[ring] == 0)
            continue; /* every answer comes here: what all answered is not counted again */
        struct md_counts c = release_counts(r, o, ring);
        uint64_t worst = (uint64_t)c.failed + c.silent + away[ring];
        if (ring == o->ring)
            worst += (uint64_t)c.waiting + c.staged + c.trial;
        if (worst > c.limit)
            return false;
    }
    return true;
}

static void call_roll(struct md_release *r, struct rollout *o)
{
    uint64_t active = active_ms(o, r->now_ms);
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->node_count; i++) {
        struct entry *e = &o->entry[i];
        if (e->outcome != MD_OUTCOME_CONFIRMED || e->ring == NO_RING || e->ring > o->ring || !r->node[i].has_report)
            continue;
        e->serial = r->node[i].report.serial;
        release_touch_entry(r, e);
        count++;
    }
    o->calling = true;
    o->called_ms = active ? active : 1;
    release_decide(r, o, MD_DECISION_CALLED, o->ring,
                   "ring %s soaked %u s: %u nodes that confirmed are called, %u s to answer", ring_name(o),
                   o->config.policy.ring[o->ring].soak_s, count, o->config.policy.roll_call_s);
}

/* True when the ring may pass. */
static bool roll_step(struct md_release *r, struct rollout *o)
{
    if (o->config.policy.roll_call_s == 0)
        return true;
    if (!o->calling && !roll_passes(r, o, false))
        call_roll(r, o);
    return !o->calling || roll_passes(r, o, true);
}

static void step_soaking(struct md_release *r, struct rollout *o)
{
    struct md_counts c = release_counts(r, o, o->ring);
    if (!gate_passes(o, &c)) {
        release_phase_set(r, o, MD_PHASE_OPEN);
        release_decide(r, o, MD_DECISION_RESOAK, o->ring, "ring %s waits again: %u of %u nodes have no outcome yet",
                       ring_name(o), c.waiting + c.staged + c.trial, c.members);
        return;
    }
    uint64_t soak_ms = (uint64_t)o->config.policy.ring[o->ring].soak_s * 1000;
    if (!o->calling && active_ms(o, r->now_ms) < o->phase_ms + soak_ms)
        return;
    if (roll_step(r, o))
        pass(r, o, &c);
}

/* Longest deadline of the rings that were opened. */
static uint64_t revert_deadline_ms(const struct rollout *o)
{
    uint32_t longest = 0;
    for (uint8_t i = 0; i <= o->ring; i++)
        if (o->config.policy.ring[i].deadline_s > longest)
            longest = o->config.policy.ring[i].deadline_s;
    return (uint64_t)longest * 1000;
}

/* A node is still on it when its newest report says so, whatever ring it is in. */
static uint32_t count_running(const struct md_release *r, const struct rollout *o)
{
    uint16_t release = (uint16_t)o->config.release;
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->node_count; i++) {
        const struct node *n = &r->node[i];
        if (!n->fact.retired && n->has_report &&
            (n->report.running == release || (n->report.phase == MP_PHASE_TRIAL && n->report.target == release)))
            count++;
    }
    return count;
}

static void step_reverting(struct md_release *r, struct rollout *o)
{
    uint32_t running = count_running(r, o);
    bool late = active_ms(o, r->now_ms) >= o->phase_ms + revert_deadline_ms(o);
    char version[24];
    if (running && !late)
        return;
    release_phase_set(r, o, MD_PHASE_REVERTED);
    if (running)
        release_decide(r, o, MD_DECISION_REVERTED, MD_RING_TOTAL, "reverted, but %u nodes still say that they run %s",
                       running, release_version(o, version));
    else
        release_decide(r, o, MD_DECISION_REVERTED, MD_RING_TOTAL, "reverted: no node runs %s any more",
                       release_version(o, version));
}

/* One step; true when the phase changed, so that the next one is to be looked at. */
static bool step(struct md_release *r, struct rollout *o)
{
    enum md_phase before = o->phase;
    uint8_t ring = o->ring;
    switch (o->phase) {
    case MD_PHASE_STAGING:
    case MD_PHASE_OPEN:
    case MD_PHASE_SOAKING:
        mark_nodes(r, o);
        if (gate_fails(r, o))
            return true;
        break;
    case MD_PHASE_DONE:
    case MD_PHASE_HELD:
    case MD_PHASE_REVERTING:
    case MD_PHASE_REVERTED:
    case MD_PHASE_COUNT:
        break;
    }
    switch (o->phase) {
    case MD_PHASE_STAGING:
        step_staging(r, o);
        break;
    case MD_PHASE_OPEN:
        step_open(r, o);
        break;
    case MD_PHASE_SOAKING:
        step_soaking(r, o);
        break;
    case MD_PHASE_REVERTING:
        step_reverting(r, o);
        break;
    case MD_PHASE_DONE:
    case MD_PHASE_HELD:
    case MD_PHASE_REVERTED:
    case MD_PHASE_COUNT:
        break;
    }
    return o->phase != before || o->ring != ring;
}

/* --- timers
 * ----------------------------------------------------------------------------------------------------------- */

static uint64_t first_silence(const struct md_release *r, const struct rollout *o)
{
    uint64_t first = MD_NEVER_MS;
    for (uint32_t i = 0; i < r->node_count; i++) {
        const struct entry *e = &o->entry[i];
        if (is_awaited(o, e) && roll_deadline_ms(o) < first)
            first = roll_deadline_ms(o);
        if (e->ring == NO_RING || !is_pending(e) || e->opened_ms == 0)
            continue;
        uint64_t at = e->opened_ms + (uint64_t)o->config.policy.ring[e->ring].deadline_s * 1000;
        if (at < first)
            first = at;
    }
    return first;
}

static uint64_t due_active(const struct md_release *r, const struct rollout *o)
{
    uint64_t due = MD_NEVER_MS, silence = MD_NEVER_MS;
    switch (o->phase) {
    case MD_PHASE_STAGING:
        due = o->phase_ms + (uint64_t)o->config.policy.stage_deadline_s * 1000;
        silence = first_silence(r, o);
        break;
    case MD_PHASE_OPEN:
        silence = first_silence(r, o);
        break;
    case MD_PHASE_SOAKING:
        if (!o->calling)
            due = o->phase_ms + (uint64_t)o->config.policy.ring[o->ring].soak_s * 1000;
        silence = first_silence(r, o);
        break;
    case MD_PHASE_REVERTING:
        due = o->phase_ms + revert_deadline_ms(o);
        break;
    case MD_PHASE_DONE:
    case MD_PHASE_HELD:
    case MD_PHASE_REVERTED:
    case MD_PHASE_COUNT:
        break;
    }
    return silence < due ? silence : due;
}

static void set_due(const struct md_release *r, struct rollout *o)
{
    uint64_t due = due_active(r, o);
    o->due_ms = due == MD_NEVER_MS ? MD_NEVER_MS : due + o->paused_ms;
}

void md_release_tick(struct md_release *r, uint64_t now_ms)
{
    clamp_now(r, now_ms);
    for (unsigned i = 0; i < r->rollout_count; i++) {
        struct rollout *o = &r->rollout[i];
        if (!o->stale && r->now_ms < o->due_ms)
            continue;
        /* every ring takes at most staging, open, soaking: more steps than that would be a loop of our own making */
        for (unsigned steps = 0; steps < 4u * MD_RINGS_MAX && step(r, o); steps++)
            ;
        o->stale = false;
        set_due(r, o);
    }
}

uint64_t md_release_next_expiry(const struct md_release *r)
{
    uint64_t due = MD_NEVER_MS;
    for (unsigned i = 0; i < r->rollout_count; i++) {
        uint64_t at = r->rollout[i].stale ? r->now_ms : r->rollout[i].due_ms;
        if (at < due)
            due = at;
    }
    return due;
}
