/*
 * The update state machine. Phases, and what ends them:
 *
 *   IDLE       a directive names an image to fetch           -> ERASING (or STAGED, FETCHING when it is there already)
 *   ERASING    a page per expire; all pages are blank        -> FETCHING
 *   FETCHING   the last chunk verified                       -> VERIFYING
 *   VERIFYING  a few kilobytes per expire; SHA-256 matches   -> STAGED
 *              it differs: given up                          -> IDLE
 *              flash does not read: chunks were lost         -> FETCHING
 *   STAGED     open to this node, spread over, not stale, no breaker, battery good, boot request written -> RESETTING
 *   TRIAL      echo and self-test                            -> IDLE (confirmed)
 *              window over, or self-test failed              -> RESETTING
 *   RESETTING  until the host resets
 *
 * Another image that goes before the target leads from IDLE, ERASING, FETCHING, VERIFYING and STAGED to ERASING.
 *
 * Timers, all in `due`: the next piece of work (ERASING, VERIFYING), the spread delay, the breaker's 24 hours, another
 * look at the battery or at storage that failed (60 s), the next token for starting over (600 s), the confirm window,
 * the answer to a roll call.
 */
#include "nf.h"

#include <string.h>

#include "nf_internal.h"
#include "proto/mp_wire.h"

#define RETRY_AFTER_MS 60000u
#define BREAKER_LIMIT MP_SECONDS(24u * 3600u)
#define CUSTODY_LIMIT MP_SECONDS(10) /* an activation waits so long for reports in custody to be passed on */
#define CUSTODY_POLL_MS 250u

/* --- following a directive ---------------------------------------------------------------------------------------- */

static void target_clear(struct nf_node *n)
{
    memset(&n->target, 0, sizeof n->target);
    n->open_since = n->breaker_since = MP_NEVER;
}

static void target_take(struct nf_node *n, const struct nf_env *env, const struct nf_choice *c)
{
    struct nf_target *t = &n->target;

    if (!t->is_valid || memcmp(t->id, c->id, 8) != 0)
        target_clear(n);
    memcpy(t->id, c->id, 8);
    t->is_valid = true;
    t->release = c->manifest.release;
    t->battery_min_percent = c->manifest.battery_min_percent;
    t->directive_release = c->directive.release;
    t->confirm_s = c->directive.confirm_s;
    t->overrides = (c->directive.flags & MP_DIRECTIVE_OVERRIDE) != 0;
    t->is_revert = c->is_revert;
    t->is_open = c->is_open;
    mp_directive_draw(env->mp.crypto, c->directive.salt, n->id, c->directive.spread_s, &t->spread_ms);
    if (!t->is_open)
        n->open_since = n->breaker_since = MP_NEVER;
    else if (n->open_since == MP_NEVER)
        n->open_since = n->now;
}

/* One token for starting a fetch over: wear has a bound, whatever the directives say. */
static bool restart_take(struct nf_node *n)
{
    while (n->restarts < NF_RESTARTS_MAX && n->now >= n->restart_refill) {
        n->restarts++;
        n->restart_refill += NF_RESTART_EVERY;
    }
    if (n->restarts == 0) {
        nf_wake(n, n->restart_refill);
        n->dirty = true;
        return false;
    }
    if (n->restarts-- == NF_RESTARTS_MAX)
        n->restart_refill = n->now + NF_RESTART_EVERY;
    return true;
}

/* Id of the manifest that the other slot is being filled for, or holds. */
static bool is_there(const struct nf_env *env, const uint8_t id[8], bool want_sealed)
{
    uint8_t data[MP_MANIFEST_SIZE], have[8];
    int error = want_sealed ? env->storage->sealed(env->mp.ctx, NF_PLACE_TARGET, data)
                            : env->storage->fetching(env->mp.ctx, data);

    if (error != MP_OK)
        return false;
    mp_manifest_id(env->mp.crypto, data, have);
    return memcmp(have, id, 8) == 0;
}

/* Erases the other slot for the chosen manifest. */
static void start_over(struct nf_node *n, const struct nf_env *env, const struct nf_choice *c)
{
    uint8_t data[MP_MANIFEST_SIZE];

    if (c->is_held || !n->is_confirmed || !restart_take(n))
        return;
    if (env->mp.store->get(env->mp.ctx, MP_KIND_MANIFEST, c->slot, data, sizeof data) != MP_MANIFEST_SIZE) {
        nf_wake_in(n, RETRY_AFTER_MS);
        n->dirty = true;
        return;
    }
    mp_node_drop(&n->mp, NF_PLACE_TARGET);
    target_clear(n);
    int error = env->storage->open(env->mp.ctx, data);

    if (error != MP_OK) {
        nf_phase_set(n, env, NF_PHASE_IDLE);
        nf_report(n, env, c->manifest.release, MP_PHASE_REFUSED, nf_refusal(error));
        n->dirty = true;
        nf_wake_in(n, RETRY_AFTER_MS);
        return;
    }
    target_take(n, env, c);
    nf_phase_set(n, env, NF_PHASE_ERASING);
    nf_wake_in(n, 0);
}

static void fetch_begin(struct nf_node *n, const struct nf_env *env)
{
    uint8_t data[MP_MANIFEST_SIZE];
    struct mp_manifest m;

    if (env->storage->fetching(env->mp.ctx, data) != MP_OK || mp_manifest_get(&m, data, sizeof data) != MP_OK ||
        mp_node_place(&n->mp, &env->mp, n->now, NF_PLACE_TARGET, &m, n->target.id) != MP_OK) {
        nf_report(n, env, n->target.release, MP_PHASE_REFUSED, MP_REASON_STORAGE);
        target_clear(n);
        nf_phase_set(n, env, NF_PHASE_IDLE);
        nf_wake_in(n, RETRY_AFTER_MS);
        n->dirty = true;
        return;
    }
    nf_phase_set(n, env, NF_PHASE_FETCHING);
    nf_report(n, env, n->target.release, MP_PHASE_FETCHING, MP_REASON_NONE);
    nf_wake_in(n, 0);
}

static void staged_begin(struct nf_node *n, const struct nf_env *env)
{
    nf_phase_set(n, env, NF_PHASE_STAGED);
    nf_report(n, env, n->target.release, MP_PHASE_STAGED, MP_REASON_NONE);
    nf_wake_in(n, 0);
}

static bool is_updating(const struct nf_node *n)
{
    return n->phase != NF_PHASE_TRIAL && n->phase != NF_PHASE_RESETTING;
}

static void decide(struct nf_node *n, const struct nf_env *env)
{
    struct nf_choice c;

    n->dirty = false;
    nf_choose(n, env, &c);
    if (!c.is_found) {
        /* Silence means hold. */
        n->target.is_open = false;
        n->open_since = n->breaker_since = MP_NEVER;
        if (c.refused_release > (n->has_failed ? n->failed_release : 0) && !n->target.is_valid)
            nf_report(n, env, c.refused_release, MP_PHASE_REFUSED, c.refused_reason);
        return;
    }
    if (n->target.is_valid && memcmp(n->target.id, c.id, 8) == 0) {
        target_take(n, env, &c);
        if (n->phase == NF_PHASE_STAGED)
            nf_wake_in(n, 0);
        return;
    }
    if (is_there(env, c.id, true)) {
        target_take(n, env, &c);
        staged_begin(n, env);
    } else if (is_there(env, c.id, false)) {
        target_take(n, env, &c);
        nf_phase_set(n, env, NF_PHASE_ERASING); /* or what is left of it */
        nf_wake_in(n, 0);
    } else {
        start_over(n, env, &c);
    }
}

/* --- the phases' work --------------------------------------------------------------------------------------------- */

static void reset_ask(struct nf_node *n, const struct nf_env *env, enum boot_cause cause)
{
    n->reset_cause = (uint8_t)cause;
    nf_phase_set(n, env, NF_PHASE_RESETTING);
}

static void erase_step(struct nf_node *n, const struct nf_env *env)
{
    int more = env->storage->work(env->mp.ctx);

    if (more > 0) {
        nf_wake_in(n, 0);
    } else if (more == 0) {
        fetch_begin(n, env);
    } else {
        nf_report(n, env, n->target.release, MP_PHASE_DEFERRED, MP_REASON_STORAGE);
        nf_wake_in(n, RETRY_AFTER_MS);
    }
}

static void fetch_step(struct nf_node *n, const struct nf_env *env)
{
    uint32_t held, positions;

    if (mp_node_progress(&n->mp, NF_PLACE_TARGET, &held, &positions) != MP_OK || held < positions)
        return;
    if (env->storage->verify(env->mp.ctx) != MP_OK) {
        mp_node_recheck(&n->mp, &env->mp, n->now, NF_PLACE_TARGET);
        return;
    }
    nf_phase_set(n, env, NF_PHASE_VERIFYING);
    nf_wake_in(n, 0);
}

static void verify_step(struct nf_node *n, const struct nf_env *env)
{
    int more = env->storage->work(env->mp.ctx);

    if (more > 0) {
        nf_wake_in(n, 0);
    } else if (more == 0) {
        staged_begin(n, env);
    } else if (more == MP_ERR_CHUNK) {
        /* Every chunk matches the tree, the whole does not match the digest: the publisher's mistake, and final. */
        nf_report(n, env, n->target.release, MP_PHASE_REFUSED, MP_REASON_BAD_IMAGE);
        nf_failed_note(n, env, n->target.release, n->target.id);
        mp_node_drop(&n->mp, NF_PLACE_TARGET);
        target_clear(n);
        nf_phase_set(n, env, NF_PHASE_IDLE);
    } else {
        mp_node_recheck(&n->mp, &env->mp, n->now, NF_PLACE_TARGET);
        nf_phase_set(n, env, NF_PHASE_FETCHING);
        nf_wake_in(n, RETRY_AFTER_MS);
    }
}

static uint8_t battery_percent(const struct nf_env *env)
{
    return env->hooks != NULL && env->hooks->battery_percent != NULL ? env->hooks->battery_percent(env->mp.ctx) : 100;
}

/* True while neighbours that rolled back delay this node; bounded, and never for a revert. */
static bool is_broken(struct nf_node *n)
{
    if (n->target.is_revert || n->target.overrides || !mp_node_breaker(&n->mp, n->target.release)) {
        n->breaker_since = MP_NEVER;
        return false;
    }
    if (n->breaker_since == MP_NEVER)
        n->breaker_since = n->now;
    if (n->now - n->breaker_since >= BREAKER_LIMIT)
        return false;
    nf_wake(n, n->breaker_since + BREAKER_LIMIT);
    return true;
}

static void activate(struct nf_node *n, const struct nf_env *env)
{
    struct nf_target *t = &n->target;
    uint8_t data[MP_MANIFEST_SIZE];
    int error = env->storage->sealed(env->mp.ctx, NF_PLACE_TARGET, data);

    if (error == MP_OK && t->is_revert) {
        n->reverted_release = t->directive_release;
        n->has_reverted = false;
        memcpy(n->revert_id, t->id, 8);
        error = nf_reverted_put(n, env);
    }
    if (error == MP_OK)
        error = env->storage->boot_request(env->mp.ctx, data, t->confirm_s, t->is_revert);
    if (error == MP_OK) {
        reset_ask(n, env, BOOT_CAUSE_REQUEST);
        return;
    }
    nf_report(n, env, t->release, MP_PHASE_DEFERRED, nf_refusal(error));
    nf_wake_in(n, RETRY_AFTER_MS);
}

/* Reports of others are held in RAM: a reset loses them, and their origins would repeat them much later. */
static bool has_custody(const struct nf_node *n)
{
    uint8_t entry[MP_REPORT_ENTRY_SIZE];

    return mp_node_custody(&n->mp, 0, entry);
}

static void staged_step(struct nf_node *n, const struct nf_env *env)
{
    struct nf_target *t = &n->target;
    mp_time start = n->open_since == MP_NEVER ? MP_NEVER : n->open_since + MP_MS(t->spread_ms);
    enum mp_reason reason = MP_REASON_NONE;

    if (!t->is_open || n->now < start) {
        if (t->is_open)
            nf_wake(n, start);
        nf_report(n, env, t->release, MP_PHASE_STAGED, MP_REASON_NONE);
        return;
    }
    if (mp_node_is_stale(&n->mp, n->now))
        reason = MP_REASON_STALE; /* only a directive ends it, and that is an event */
    else if (is_broken(n))
        reason = MP_REASON_BREAKER;
    else if (battery_percent(env) < t->battery_min_percent)
        reason = MP_REASON_BATTERY;
    if (reason == MP_REASON_NONE && n->now < start + CUSTODY_LIMIT && has_custody(n)) {
        nf_wake_in(n, CUSTODY_POLL_MS);
        return;
    }
    if (reason == MP_REASON_NONE) {
        activate(n, env);
        return;
    }
    nf_wake_in(n, RETRY_AFTER_MS);
    nf_report(n, env, t->release, MP_PHASE_DEFERRED, reason);
}

static void trial_confirm(struct nf_node *n, const struct nf_env *env)
{
    struct boot_record r;

    if (env->storage->boot_confirm(env->mp.ctx, n->home_counter) != MP_OK) {
        nf_wake_in(n, 1000);
        return;
    }
    mp_node_trial(&n->mp, &env->mp, n->now, false);
    target_clear(n);
    nf_phase_set(n, env, NF_PHASE_IDLE);
    n->dirty = true;
    nf_wake_in(n, 0);
    if (env->storage->boot_read(env->mp.ctx, &r) != MP_OK)
        return;
    n->is_confirmed = true;
    n->device.counter_floor = r.floor;
    nf_outcome(n, env, &r);
}

static void trial_step(struct nf_node *n, const struct nf_env *env)
{
    if (n->selftest_done && !n->selftest_ok)
        reset_ask(n, env, BOOT_CAUSE_SELFTEST);
    else if (n->selftest_done && n->echoed)
        trial_confirm(n, env);
    if (n->phase != NF_PHASE_TRIAL)
        return;
    nf_wake(n, n->confirm_until);
    if (n->now < n->confirm_until)
        return;
    if (!n->selftest_done)
        reset_ask(n, env, BOOT_CAUSE_SELFTEST);
    else
        reset_ask(n, env, n->echoed ? BOOT_CAUSE_STORAGE : BOOT_CAUSE_MUTE);
}

static void step(struct nf_node *n, const struct nf_env *env)
{
    switch ((enum nf_phase)n->phase) {
    case NF_PHASE_ERASING:
        erase_step(n, env);
        break;
    case NF_PHASE_FETCHING:
        fetch_step(n, env);
        break;
    case NF_PHASE_VERIFYING:
        verify_step(n, env);
        break;
    case NF_PHASE_STAGED:
        staged_step(n, env);
        break;
    case NF_PHASE_TRIAL:
        trial_step(n, env);
        break;
    case NF_PHASE_IDLE:
    case NF_PHASE_RESETTING:
    case NF_PHASE_COUNT:
        break;
    }
}

/* --- the four calls ----------------------------------------------------------------------------------------------- */

static void counter_persist(struct nf_node *n, const struct nf_env *env)
{
    uint8_t data[4];

    mp_put32(data, mp_node_boot(&n->mp));
    if (env->storage->put(env->mp.ctx, NF_KIND_BOOT, data, sizeof data) == MP_OK)
        mp_node_counter_persisted(&n->mp);
}

/* What the engine noticed becomes a flag here, and is acted upon in expire. */
static void events_take(struct nf_node *n, const struct nf_env *env)
{
    uint32_t events = mp_node_events(&n->mp);

    if (env->storage->changed(env->mp.ctx, NF_PLACE_TARGET) &&
        (n->phase == NF_PHASE_FETCHING || n->phase == NF_PHASE_VERIFYING)) {
        mp_node_recheck(&n->mp, &env->mp, n->now, NF_PLACE_TARGET);
        events |= mp_node_events(&n->mp);
        nf_wake_in(n, 0);
    }
    if (events == 0)
        return;
    if ((events & MP_EVENT_COUNTER) != 0)
        counter_persist(n, env);
    if ((events & MP_EVENT_ECHO) != 0)
        n->echoed = true;
    if ((events & MP_EVENT_FORK) != 0) {
        n->frozen = true;
        nf_report_send(n, env);
    }
    if ((events & (MP_EVENT_KEYSET | MP_EVENT_DIRECTIVE | MP_EVENT_MANIFEST | MP_EVENT_BREAKER)) != 0)
        n->dirty = true;
    if (n->dirty || (events & (MP_EVENT_ECHO | MP_EVENT_COMPLETE)) != 0)
        nf_wake_in(n, 0);
}

int nf_receive(struct nf_node *n, const struct nf_env *env, mp_time now, const uint8_t *frame, size_t len)
{
    int result = mp_node_receive(&n->mp, &env->mp, now, frame, len);

    n->now = now;
    events_take(n, env);
    return result;
}

void nf_expire(struct nf_node *n, const struct nf_env *env, mp_time now)
{
    n->now = now;
    mp_node_expire(&n->mp, &env->mp, now);
    events_take(n, env);
    if (n->now < n->due)
        return;
    n->due = MP_NEVER;
    if (n->report_failed)
        nf_report_send(n, env);
    if (n->dirty && is_updating(n)) {
        nf_roll_take(n, env);
        decide(n, env);
    }
    nf_roll_answer(n, env);
    step(n, env);
    events_take(n, env);
}

int nf_write(struct nf_node *n, const struct nf_env *env, mp_time now, uint8_t *buf, size_t cap)
{
    int len = mp_node_write(&n->mp, &env->mp, now, buf, cap);

    n->now = now;
    events_take(n, env);
    return len;
}

mp_time nf_next_expiry(const struct nf_node *n)
{
    mp_time engine = mp_node_next_expiry(&n->mp);

    return engine < n->due ? engine : n->due;
}

void nf_selftest(struct nf_node *n, const struct nf_env *env, mp_time now, bool ok)
{
    (void)env;
    n->now = now;
    n->selftest_done = true;
    n->selftest_ok = ok;
    if (n->phase == NF_PHASE_TRIAL)
        nf_wake_in(n, 0);
}

bool nf_is_trial(const struct nf_node *n)
{
    return n->phase == NF_PHASE_TRIAL;
}

bool nf_wants_reset(const struct nf_node *n, enum boot_cause *cause)
{
    *cause = (enum boot_cause)n->reset_cause;
    return n->phase == NF_PHASE_RESETTING;
}
