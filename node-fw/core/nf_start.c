/*
 * Starting a node: boot counter, keys, engine, what the slots hold, and what the boot record says of the reset before.
 */
#include <string.h>

#include "nf_internal.h"
#include "proto/mp_wire.h"

enum { CONFIRM_DEFAULT_S = 300 };

static int boot_counter_take(const struct nf_env *env, uint32_t *boot)
{
    uint8_t data[4] = {0};
    int len = env->storage->get(env->mp.ctx, NF_KIND_BOOT, data, sizeof data);

    *boot = (len == (int)sizeof data ? mp_get32(data) : 0) + 1;
    if (*boot > 0xFFFFFF)
        *boot = 1;
    mp_put32(data, *boot);
    return env->storage->put(env->mp.ctx, NF_KIND_BOOT, data, sizeof data);
}

/* The keyset in the store, or the provisioned one, which is put there. */
static MP_APART int keyset_load(struct nf_node *n, const struct nf_env *env, const struct mp_settings *settings)
{
    uint8_t record[MP_KEYSET_SIZE];
    struct mp_keyset keyset;
    int len = env->mp.store->get(env->mp.ctx, MP_KIND_KEYSET, 0, record, sizeof record);

    if (len == MP_KEYSET_SIZE && mp_keyset_get(&keyset, record, sizeof record) == MP_OK) {
        n->frozen = keyset.frozen;
        return MP_OK;
    }
    return env->mp.store->put(env->mp.ctx, MP_KIND_KEYSET, 0, settings->keyset, MP_KEYSET_SIZE);
}

static MP_APART int engine_start(struct nf_node *n, const struct nf_env *env, const struct mp_settings *s)
{
    struct mp_identity id = {.node = s->node,
                             .network = s->network,
                             .index = s->index,
                             .key_active = s->key_active,
                             .key_count = s->key_count};

    memcpy(id.key_id, s->key_id, sizeof id.key_id);
    memcpy(id.network_key, s->network_key, sizeof id.network_key);
    memcpy(id.report_key, s->report_key, sizeof id.report_key);
    int error = boot_counter_take(env, &id.boot);

    if (error == MP_OK)
        error = keyset_load(n, env, s);
    return error == MP_OK ? mp_node_init(&n->mp, &env->mp, &id, n->now) : MP_ERR_STORE;
}

/* Hands a sealed image to the engine, to be served. */
static bool place_sealed(struct nf_node *n, const struct nf_env *env, unsigned place, struct mp_manifest *m,
                         uint8_t id[8])
{
    uint8_t data[MP_MANIFEST_SIZE];

    if (env->storage->sealed(env->mp.ctx, place, data) != MP_OK || mp_manifest_get(m, data, sizeof data) != MP_OK)
        return false;
    mp_manifest_id(env->mp.crypto, data, id);
    return mp_node_place(&n->mp, &env->mp, n->now, place, m, id) == MP_OK;
}

/* What the slots hold. */
static MP_APART void places_take(struct nf_node *n, const struct nf_env *env)
{
    struct mp_manifest m;
    uint8_t id[8];

    if (place_sealed(n, env, NF_PLACE_HOME, &m, n->home_id)) {
        n->has_home = true;
        n->device.version = m.version;
        n->device.release = m.release;
        n->home_counter = m.security_counter;
    }
    place_sealed(n, env, NF_PLACE_TARGET, &m, id);
}

static void trial_begin(struct nf_node *n, const struct nf_env *env, const struct boot_record *r)
{
    uint16_t confirm_s = r->confirm_s != 0 ? r->confirm_s : CONFIRM_DEFAULT_S;

    nf_phase_set(n, env, NF_PHASE_TRIAL);
    n->target.is_revert = (r->flags & BOOT_FLAG_REVERT) != 0;
    n->confirm_until = n->now + MP_SECONDS(confirm_s);
    nf_wake(n, n->confirm_until);
    mp_node_trial(&n->mp, &env->mp, n->now, true);
    nf_report(n, env, r->release, MP_PHASE_TRIAL, MP_REASON_NONE);
}

static MP_APART void record_follow(struct nf_node *n, const struct nf_env *env)
{
    struct boot_record r;

    if (env->storage->boot_read(env->mp.ctx, &r) != MP_OK)
        return; /* nothing may be erased or requested without one */
    n->device.counter_floor = r.floor;
    if (r.state == BOOT_TRIAL && n->has_home && memcmp(r.id, n->home_id, 8) == 0) {
        trial_begin(n, env, &r);
        return;
    }
    if (r.state != BOOT_CONFIRMED) {
        /* The bootloader could not record the trial, so home was booted: the request is withdrawn. */
        env->storage->boot_abort(env->mp.ctx, MP_REASON_STORAGE);
        if (env->storage->boot_read(env->mp.ctx, &r) != MP_OK || r.state != BOOT_CONFIRMED) {
            nf_report(n, env, r.release, MP_PHASE_ROLLED_BACK, MP_REASON_STORAGE);
            return;
        }
    }
    n->is_confirmed = true;
    nf_outcome(n, env, &r);
}

int nf_init(struct nf_node *n, const struct nf_env *env, const struct mp_settings *settings, mp_time now)
{
    memset(n, 0, sizeof *n);
    n->due = n->open_since = n->breaker_since = n->confirm_until = n->roll_due = MP_NEVER;
    n->id = settings->node;
    n->labels = settings->labels;
    n->restarts = NF_RESTARTS_MAX;
    n->now = now;
    n->restart_refill = now + NF_RESTART_EVERY;
    n->device.product = settings->product;
    n->device.model = settings->model;
    n->device.hw_revision = settings->hw_revision;
    n->device.slot_size = env->storage->capacity(env->mp.ctx);
    int error = engine_start(n, env, settings);

    if (error != MP_OK)
        return error;
    nf_failed_get(n, env);
    nf_reverted_get(n, env);
    n->reported_phase = n->mp.report.phase;
    n->reported_reason = n->mp.report.reason;
    n->reported_target = n->mp.report.target;
    places_take(n, env);
    record_follow(n, env);
    n->dirty = true;
    nf_wake_in(n, 0);
    return MP_OK;
}
