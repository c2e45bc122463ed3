#include "release_state.h"

#include <stdarg.h>

#include "proto/mp_wire.h"

static const char *pick(const char *const *names, unsigned count, unsigned i)
{
    return i < count ? names[i] : "?";
}

const char *md_phase_name(enum md_phase phase)
{
    static const char *const names[MD_PHASE_COUNT] = {"staging", "open",      "soaking", "done",
                                                      "held",    "reverting", "reverted"};
    return pick(names, MD_PHASE_COUNT, phase);
}

const char *md_cause_name(enum md_cause cause)
{
    static const char *const names[MD_CAUSE_COUNT] = {"none", "operator", "gate", "reports", "cap", "foreign"};
    return pick(names, MD_CAUSE_COUNT, cause);
}

const char *md_outcome_name(enum md_outcome outcome)
{
    static const char *const names[MD_OUTCOME_COUNT] = {"outside",   "waiting", "staged", "trial",
                                                        "confirmed", "failed",  "silent", "waived"};
    return pick(names, MD_OUTCOME_COUNT, outcome);
}

const char *md_decision_name(enum md_decision_kind kind)
{
    static const char *const names[MD_DECISION_KIND_COUNT] = {
        "started", "opened",   "widened",   "soaking",  "resoak",   "passed", "done",  "held",
        "resumed", "advanced", "reverting", "reverted", "override", "gap",    "called"};
    return pick(names, MD_DECISION_KIND_COUNT, kind);
}

const char *md_reason_name(unsigned reason)
{
    static const char *const names[MP_REASON_COUNT] = {
        "no reason given", "self-test failed", "watchdog",         "crashed", "mute",  "bad image",
        "corrupt home",    "no room",          "battery",          "breaker", "stale", "precondition",
        "expired",         "storage fault",    "key chain frozen", "other"};
    return pick(names, MP_REASON_COUNT, reason);
}

const char *md_report_phase_name(unsigned phase)
{
    static const char *const names[MP_PHASE_COUNT] = {"idle",      "fetching",    "staged",   "trial",
                                                      "confirmed", "rolled back", "deferred", "refused"};
    return pick(names, MP_PHASE_COUNT, phase);
}

const char *release_version(const struct rollout *o, char out[24])
{
    uint32_t version = o->config.image[0].version;
    for (unsigned i = 1; i < o->config.image_count; i++)
        if (o->config.image[i].version != version)
            version = 0;
    if (version)
        snprintf(out, 24, "%u.%u.%u", version >> 24, version >> 16 & 0xFF, version & 0xFFFF);
    else
        snprintf(out, 24, "release %u", (unsigned)o->config.release);
    return out;
}

void release_decide(struct md_release *r, struct rollout *o, enum md_decision_kind kind, uint8_t ring,
                    const char *format, ...)
{
    if (r->decision_count == MD_DECISIONS_MAX) {
        r->decision_first = (r->decision_first + 1) % MD_DECISIONS_MAX;
        r->decision_count--;
    }
    struct md_decision *d = &r->decision[(r->decision_first + r->decision_count++) % MD_DECISIONS_MAX];
    memset(d, 0, sizeof *d);
    d->at_ms = r->now_ms;
    d->release = o->config.release;
    d->kind = kind;
    d->ring = ring;
    d->counts = release_counts(r, o, ring);
    va_list args;
    va_start(args, format);
    vsnprintf(d->text, sizeof d->text, format, args);
    va_end(args);
    memcpy(o->why, d->text, sizeof o->why);
    o->changed = true;
}

bool md_release_decision(struct md_release *r, struct md_decision *out)
{
    if (r->decision_count == 0)
        return false;
    *out = r->decision[r->decision_first];
    r->decision_first = (r->decision_first + 1) % MD_DECISIONS_MAX;
    r->decision_count--;
    return true;
}

/* How the failed members of a ring failed: what most of them said, and the reason most of those gave. */
struct tally {
    uint32_t rolled_back;
    uint32_t refused;
    uint32_t left;
    uint32_t reset;
    uint32_t unanswered; /* of the silent ones */
    uint32_t by_reason[MP_REASON_COUNT];
};

static struct tally tally_ring(const struct md_release *r, const struct rollout *o, uint8_t ring)
{
    struct tally t = {0};
    for (uint32_t i = 0; i < r->node_count; i++) {
        const struct entry *e = &o->entry[i];
        if (e->ring != ring)
            continue;
        t.unanswered += e->outcome == MD_OUTCOME_SILENT && e->serial != 0;
        if (e->outcome != MD_OUTCOME_FAILED)
            continue;
        if (e->phase == MP_PHASE_ROLLED_BACK)
            t.rolled_back++;
        else if (e->phase == MP_PHASE_REFUSED)
            t.refused++;
        else if (e->phase == MP_PHASE_CONFIRMED && is_reset(e->reason))
            t.reset++;
        else
            t.left++;
        t.by_reason[e->reason < MP_REASON_COUNT ? e->reason : MP_REASON_OTHER]++;
    }
    return t;
}

static size_t append(char out[MD_TEXT_MAX], size_t at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(out + at, MD_TEXT_MAX - at, format, args);
    va_end(args);
    size_t end = at + (n > 0 ? (size_t)n : 0);
    return end < MD_TEXT_MAX ? end : MD_TEXT_MAX - 1;
}

void release_failures(const struct md_release *r, const struct rollout *o, uint8_t ring, char out[MD_TEXT_MAX])
{
    struct md_counts c = release_counts(r, o, ring);
    struct tally t = tally_ring(r, o, ring);
    char version[24];
    const char *name = release_version(o, version);
    size_t at = append(out, 0, "");
    if (t.rolled_back)
        at = append(out, at, "%u of %u nodes rolled back from %s", t.rolled_back, c.members, name);
    if (t.refused)
        at = append(out, at, "%s%u of %u nodes refused %s", at ? ", " : "", t.refused, c.members, name);
    if (t.left)
        at = append(out, at, "%s%u of %u nodes left %s after confirming it", at ? ", " : "", t.left, c.members, name);
    if (t.reset)
        at = append(out, at, "%s%u of %u nodes reset in service", at ? ", " : "", t.reset, c.members);
    const char *separator = " (";
    for (unsigned i = 0; i < MP_REASON_COUNT; i++)
        if (t.by_reason[i]) {
            if (t.by_reason[i] == c.failed)
                at = append(out, at, "%s%s", separator, md_reason_name(i));
            else
                at = append(out, at, "%s%s: %u", separator, md_reason_name(i), t.by_reason[i]);
            separator = ", ";
        }
    if (c.failed)
        at = append(out, at, ")");
    if (t.unanswered)
        at = append(out, at, "%s%u of %u nodes did not answer the roll call within %u s", at ? ", " : "", t.unanswered,
                    c.members, o->config.policy.roll_call_s);
    if (c.silent > t.unanswered)
        at = append(out, at, "%s%u of %u nodes silent past %u s", at ? ", " : "", c.silent - t.unanswered, c.members,
                    o->config.policy.ring[ring].deadline_s);
    if (c.limit == MD_UNLIMITED)
        append(out, at, ", no limit");
    else
        append(out, at, ", limit %u", c.limit);
}
