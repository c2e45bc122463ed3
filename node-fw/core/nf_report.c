/*
 * What a node remembers and reports. Two small records lie in flash: the update last given up (with the boot record
 * that was reported last), and the revert last begun.
 */
#include <string.h>

#include "nf_internal.h"
#include "proto/mp_wire.h"

enum { FAILED_SIZE = 16, REVERTED_SIZE = 13 };
#define REPORT_RETRY_MS 60000u

void nf_phase_set(struct nf_node *n, const struct nf_env *env, enum nf_phase phase)
{
    enum nf_phase from = (enum nf_phase)n->phase;

    n->phase = (uint8_t)phase;
    if (from != phase && env->hooks != NULL && env->hooks->phase != NULL)
        env->hooks->phase(env->mp.ctx, from, phase, (enum mp_phase)n->reported_phase,
                          (enum mp_reason)n->reported_reason);
}

/* Own timer: the earliest of what is asked for until it fires. */
void nf_wake(struct nf_node *n, mp_time at)
{
    if (at < n->due)
        n->due = at;
}

void nf_wake_in(struct nf_node *n, uint32_t ms)
{
    nf_wake(n, n->now + MP_MS(ms));
}

void nf_report_send(struct nf_node *n, const struct nf_env *env)
{
    enum mp_reason reason = (enum mp_reason)n->reported_reason;

    if (reason == MP_REASON_NONE && n->frozen)
        reason = MP_REASON_KEYS_FROZEN;
    n->report_failed = mp_node_report(&n->mp, &env->mp, n->now, (uint16_t)n->device.release, n->reported_target,
                                      (enum mp_phase)n->reported_phase, reason) != MP_OK;
    if (n->report_failed)
        nf_wake_in(n, REPORT_RETRY_MS);
}

void nf_report(struct nf_node *n, const struct nf_env *env, uint32_t target, enum mp_phase phase, enum mp_reason reason)
{
    n->reported_target = (uint16_t)target;
    n->reported_phase = (uint8_t)phase;
    n->reported_reason = (uint8_t)reason;
    nf_report_send(n, env);
}

/* --- the roll call ------------------------------------------------------------------------------------------------ */

void nf_roll_take(struct nf_node *n, const struct nf_env *env)
{
    struct mp_directive d;
    uint32_t delay_ms;

    if (!n->is_confirmed || !n->has_home)
        return;
    for (unsigned i = 0; i < MP_RELEASES_MAX; i++) {
        if (mp_node_directive(&n->mp, &env->mp, i, &d, NULL, NULL) != MP_OK || d.release != n->device.release)
            continue;
        if (d.action != MP_ACTION_OPEN || (d.flags & MP_DIRECTIVE_ROLL_CALL) == 0 || d.sequence == n->roll_sequence ||
            mp_directive_find(&d, n->home_id) < 0)
            return;
        if (d.spread_s > MP_ROLL_CALL_SPREAD_S)
            d.spread_s = MP_ROLL_CALL_SPREAD_S;
        mp_directive_draw(env->mp.crypto, d.salt, n->id, d.spread_s, &delay_ms);
        n->roll_sequence = d.sequence;
        n->roll_due = n->now + MP_MS(delay_ms);
        return;
    }
}

void nf_roll_answer(struct nf_node *n, const struct nf_env *env)
{
    if (n->now >= n->roll_due) {
        /* a report that says the same as the one before is a new one only where there was none */
        bool is_set = n->mp.report.is_set;
        n->mp.report.is_set = false;
        nf_report_send(n, env);
        n->mp.report.is_set = n->mp.report.is_set || is_set;
        /* news of a fetch have time, an answer has not */
        if (n->reported_phase == MP_PHASE_FETCHING)
            n->mp.due_ms[MP_JOB_REPORT] = mp_ms(n->now);
        n->roll_due = n->report_failed ? n->now + MP_MS(REPORT_RETRY_MS) : MP_NEVER;
    }
    nf_wake(n, n->roll_due);
}

/* --- resets in service -------------------------------------------------------------------------------------------- */

void nf_note_reset(struct nf_node *n, const struct nf_env *env, mp_time now, enum boot_cause cause)
{
    enum mp_reason reason = boot_cause_reason(cause);
    bool is_told = n->reported_reason != MP_REASON_NONE && n->reported_reason != MP_REASON_KEYS_FROZEN;

    n->now = now;
    /* Whoever fetches, stages or rolled back something else says that. The first reset counts: a node that resets all
     * the time tells it once. */
    if (reason == MP_REASON_NONE || reason == MP_REASON_OTHER || !n->is_confirmed || is_told ||
        n->reported_phase != MP_PHASE_CONFIRMED || n->reported_target != (uint16_t)n->device.release)
        return;
    nf_report(n, env, n->device.release, MP_PHASE_CONFIRMED, reason);
}

/* --- what is remembered ------------------------------------------------------------------------------------------- */

/* Update given up, and the newest boot record that was reported. */
static void failed_put(struct nf_node *n, const struct nf_env *env)
{
    uint8_t data[FAILED_SIZE];

    mp_put32(data, n->has_failed ? n->failed_release : 0);
    memcpy(data + 4, n->failed_id, 8);
    mp_put32(data + 12, n->noted_sequence);
    env->storage->put(env->mp.ctx, NF_KIND_FAILED, data, sizeof data);
}

void nf_failed_get(struct nf_node *n, const struct nf_env *env)
{
    uint8_t data[FAILED_SIZE];

    if (env->storage->get(env->mp.ctx, NF_KIND_FAILED, data, sizeof data) != FAILED_SIZE)
        return;
    n->failed_release = mp_get32(data);
    n->has_failed = n->failed_release != 0;
    memcpy(n->failed_id, data + 4, 8);
    n->noted_sequence = mp_get32(data + 12);
}

/* Revert begun: written before the boot request, so that its end is recognised after the reset. */
int nf_reverted_put(struct nf_node *n, const struct nf_env *env)
{
    uint8_t data[REVERTED_SIZE];

    mp_put32(data, n->reverted_release);
    memcpy(data + 4, n->revert_id, 8);
    data[12] = n->has_reverted;
    return env->storage->put(env->mp.ctx, NF_KIND_REVERTED, data, sizeof data);
}

void nf_reverted_get(struct nf_node *n, const struct nf_env *env)
{
    uint8_t data[REVERTED_SIZE];

    if (env->storage->get(env->mp.ctx, NF_KIND_REVERTED, data, sizeof data) != REVERTED_SIZE)
        return;
    n->reverted_release = mp_get32(data);
    memcpy(n->revert_id, data + 4, 8);
    n->has_reverted = data[12] != 0;
}

void nf_failed_note(struct nf_node *n, const struct nf_env *env, uint32_t release, const uint8_t id[8])
{
    if (!n->has_failed || release >= n->failed_release) {
        n->has_failed = true;
        n->failed_release = release;
        memcpy(n->failed_id, id, 8);
    }
    failed_put(n, env);
}

/* The boot record shows how a revert ended: well or not, it is not begun again for that release. */
static void revert_done(struct nf_node *n, const struct nf_env *env, const struct boot_record *r)
{
    if (n->reverted_release == 0 || n->has_reverted || memcmp(n->revert_id, r->id, 8) != 0)
        return;
    n->has_reverted = true;
    nf_reverted_put(n, env);
}

/* What a confirmed boot record has to tell, once: an update that was confirmed, or given up and why. */
void nf_outcome(struct nf_node *n, const struct nf_env *env, const struct boot_record *r)
{
    bool is_revert = (r->flags & BOOT_FLAG_REVERT) != 0;
    bool has_failed = r->reason != MP_REASON_NONE && r->reason != MP_REASON_CORRUPT_HOME;

    if (is_revert)
        revert_done(n, env, r);
    if (r->sequence == n->noted_sequence)
        return;
    if (has_failed) {
        nf_report(n, env, r->release, MP_PHASE_ROLLED_BACK, (enum mp_reason)r->reason);
    } else if (r->reason == MP_REASON_CORRUPT_HOME) {
        /* No release is to blame, and none is named, or neighbours would hold it against one. */
        nf_report(n, env, 0, MP_PHASE_ROLLED_BACK, MP_REASON_CORRUPT_HOME);
    } else if ((r->flags & BOOT_FLAG_UPDATED) != 0) {
        nf_report(n, env, r->release, MP_PHASE_CONFIRMED, MP_REASON_NONE);
    } else {
        nf_report(n, env, 0, MP_PHASE_IDLE, MP_REASON_NONE);
    }
    n->noted_sequence = r->sequence;
    if (has_failed && !is_revert)
        nf_failed_note(n, env, r->release, r->id);
    else
        failed_put(n, env);
}
