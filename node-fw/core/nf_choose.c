/*
 * Which image a node follows. Of all releases whose directive names an image for it:
 *
 *   1. one that it may activate now (opened or reverted, and it is in),
 *   2. else one that is staged,
 *   3. else one on hold, which it only goes on with if it had begun;
 *
 * and within each the highest release. Releases not above the running one, and not above one that it had to give up,
 * are no longer looked at.
 */
#include <string.h>

#include "nf_internal.h"

enum { RANK_HELD = 1, RANK_STAGED = 2, RANK_OPEN = 3 };

enum mp_reason nf_refusal(int error)
{
    switch (error) {
    case MP_ERR_MODEL:
    case MP_ERR_COUNTER:
    case MP_ERR_VERSION:
    case MP_ERR_RELEASE:
        return MP_REASON_PRECONDITION;
    case MP_ERR_ROOM:
        return MP_REASON_NO_ROOM;
    case MP_ERR_EXPIRED:
        return MP_REASON_EXPIRED;
    case MP_ERR_BATTERY:
        return MP_REASON_BATTERY;
    case MP_ERR_STORE:
        return MP_REASON_STORAGE;
    default:
        return MP_REASON_OTHER;
    }
}

static bool is_id(const uint8_t a[8], const uint8_t b[8])
{
    return memcmp(a, b, 8) == 0;
}

/* The manifest a revert sends this node to: that at the place of the running one. NULL: it concerns others, or was
 * done. */
static const uint8_t *revert_target(const struct nf_node *n, const struct mp_directive *d)
{
    unsigned half = d->manifest_count / 2u;

    if (!n->has_home || (n->has_reverted && n->reverted_release == d->release))
        return NULL;
    for (unsigned i = 0; i < half; i++)
        if (is_id(d->manifests[i], n->home_id))
            return d->manifests[half + i];
    return NULL;
}

/* Does this directive name this manifest for us, leaving aside whether it can be used? */
static bool is_wanted(const struct nf_node *n, const struct mp_directive *d, const struct mp_manifest *m,
                      const uint8_t id[8])
{
    if (d->action == MP_ACTION_REVERT) {
        const uint8_t *to = revert_target(n, d);
        return to != NULL && is_id(to, id);
    }
    if (m->product != n->device.product || m->model != n->device.model || mp_directive_find(d, id) < 0)
        return false;
    return m->release > n->device.release && !(n->has_failed && m->release <= n->failed_release);
}

static uint8_t rank(const struct nf_node *n, const struct nf_env *env, const struct mp_directive *d)
{
    if (d->action == MP_ACTION_HOLD)
        return RANK_HELD;
    if (d->action == MP_ACTION_STAGE || !mp_directive_is_in(env->mp.crypto, d, n->id, n->labels))
        return RANK_STAGED;
    return RANK_OPEN;
}

/* Looks at the live manifests through one directive; takes the first that can be used if it goes before what was found.
 */
static void consider(const struct nf_node *n, const struct nf_env *env, const struct mp_directive *d,
                     struct nf_choice *c)
{
    struct mp_device device = n->device;
    uint8_t r = rank(n, env, d), id[8];
    int refused = MP_OK;

    if (c->is_found && (r < c->rank || (r == c->rank && d->release < c->directive.release)))
        return;
    device.epoch = mp_node_epoch(&n->mp);
    device.battery_percent = 100; /* the battery defers activation, not distribution */
    for (unsigned i = 0; i < MP_MANIFESTS_MAX; i++) {
        struct mp_manifest m;
        if (mp_node_manifest(&n->mp, &env->mp, i, &m, id) != MP_OK || !is_wanted(n, d, &m, id))
            continue;
        int error = mp_manifest_check(&m, &device, d->action == MP_ACTION_REVERT);
        if (error != MP_OK) {
            refused = refused == MP_OK ? error : refused;
            continue;
        }
        c->is_found = true;
        c->is_open = r == RANK_OPEN;
        c->is_held = r == RANK_HELD;
        c->is_revert = d->action == MP_ACTION_REVERT;
        c->rank = r;
        c->slot = i;
        c->manifest = m;
        memcpy(c->id, id, sizeof c->id);
        c->directive = *d;
        return;
    }
    if (refused != MP_OK && d->release > c->refused_release) {
        c->refused_release = d->release;
        c->refused_reason = nf_refusal(refused);
    }
}

void nf_choose(const struct nf_node *n, const struct nf_env *env, struct nf_choice *c)
{
    memset(c, 0, sizeof *c);
    for (unsigned i = 0; i < MP_RELEASES_MAX; i++) {
        struct mp_directive d;
        if (mp_node_directive(&n->mp, &env->mp, i, &d, NULL, NULL) == MP_OK)
            consider(n, env, &d, c);
    }
}
