/*
 * Accepting: what a member takes, keeps and forgets of manifests, directives, key changes and receipts (docs/SPEC.md section 5).
 *
 * Every object passes mp_accept_object(), heard or the host's own: length and format, network, named by a head or newer than what is held, a token for
 * the check, key, signature, store; only then does it count and spread.
 */
#include "engine.h"

#include "../mp_wire.h"
#include "../object/keyset.h"
#include "../object/signed.h"
#include "../object/manifest.h"
#include "../object/receipt.h"

#define VERIFY_PERIOD_MS 500u
#define SENDS_NEW 3u /* how often a member sends what is new; receipts come often and are sent like anything else */
#define STALE_MS (7u * 24 * 3600 * 1000)

/* --- the live manifests ------------------------------------------------------------------------------------------- */

int mp_accept_find_manifest(const struct mp_node *n, uint32_t handle)
{
    for (int i = 0; i < MP_MANIFESTS_MAX; i++)
        if (mp_get32(n->manifests[i]) == handle && handle)
            return i;
    return -1;
}

static int load_directive(const struct mp_call *c, unsigned slot, struct mp_directive *d)
{
    uint8_t raw[MP_DIRECTIVE_MAX];
    int len = c->env->store->get(c->env->ctx, MP_KIND_DIRECTIVE, slot, raw, sizeof raw);

    return len < 0 ? MP_ERR_STORE : mp_directive_get(d, raw, (size_t)len);
}

static bool is_among(const uint8_t ids[][8], unsigned count, const uint8_t id[8])
{
    for (unsigned i = 0; i < count; i++)
        if (memcmp(ids[i], id, 8) == 0)
            return true;
    return false;
}

/* Releases come in this order: the one that a newer key steers first, so that what a stolen key signed gives way to its
 * successor's; then the higher one. */
uint64_t mp_accept_rank(const struct mp_head *h)
{
    return (uint64_t)h->generation << 32 | h->release;
}

/* Slot of the first release below the given rank, or -1. */
static int next_release(const struct mp_node *n, uint64_t below)
{
    uint64_t first = 0;
    int slot = -1;

    for (int i = 0; i < MP_RELEASES_MAX; i++) {
        uint64_t r = mp_accept_rank(&n->heads[i]);

        if (r > first && r < below) {
            first = r;
            slot = i;
        }
    }
    return slot;
}

/* The ids that may live: those of the first releases, in the order named, MP_MANIFESTS_MAX at most. Their count, or
 * MP_ERR_STORE. */
static int wanted_ids(const struct mp_call *c, uint8_t ids[MP_MANIFESTS_MAX][8])
{
    unsigned count = 0;
    int slot;

    for (uint64_t below = UINT64_MAX; (slot = next_release(c->n, below)) >= 0;
         below = mp_accept_rank(&c->n->heads[slot])) {
        struct mp_directive d;

        if (load_directive(c, (unsigned)slot, &d) < 0)
            return MP_ERR_STORE;
        for (unsigned i = 0; i < d.manifest_count && count < MP_MANIFESTS_MAX; i++)
            if (!is_among((const uint8_t(*)[8])ids, count, d.manifests[i]))
                memcpy(ids[count++], d.manifests[i], 8);
    }
    return (int)count;
}

/* Drops the manifests that no head names any more; none while a head cannot be read. */
static void prune_manifests(struct mp_call *c)
{
    uint8_t ids[MP_MANIFESTS_MAX][8];
    int count = wanted_ids(c, ids);

    for (unsigned i = 0; count >= 0 && i < MP_MANIFESTS_MAX; i++) {
        if (mp_is_free_id(c->n->manifests[i]) ||
            is_among((const uint8_t(*)[8])ids, (unsigned)count, c->n->manifests[i]))
            continue;
        if (c->env->store->put(c->env->ctx, MP_KIND_MANIFEST, i, NULL, 0) < 0)
            c->n->events |= MP_EVENT_STORE;
        memset(c->n->manifests[i], 0, 8);
        c->n->manifest_mask &= (uint8_t) ~(1u << i);
        mp_push_cancel(c->n, MP_PUSH_MANIFEST + i);
        c->n->events |= MP_EVENT_MANIFEST;
    }
}

/* --- accepting objects -------------------------------------------------------------------------------------------- */

static bool may_verify(struct mp_call *c, uint16_t signatures)
{
    return mp_bucket_take(&c->n->verify_bucket, c->now_ms, signatures, MP_VERIFY_CAP, VERIFY_PERIOD_MS);
}

static MP_APART int load_keyset(const struct mp_call *c, struct mp_keyset *set)
{
    uint8_t raw[MP_KEYSET_SIZE];
    int len = c->env->store->get(c->env->ctx, MP_KIND_KEYSET, 0, raw, sizeof raw);

    if (len <= 0)
        return len < 0 ? MP_ERR_STORE : MP_ERR_KEY;
    return mp_keyset_get(set, raw, (size_t)len);
}

static MP_APART int find_key(const struct mp_call *c, enum mp_role role, uint8_t key_id, uint16_t generation,
                             uint8_t pub[32])
{
    struct mp_keyset set;
    int error = load_keyset(c, &set);

    return error < 0 ? error : mp_keyset_find(&set, role, key_id, generation, pub);
}

static int put(struct mp_call *c, enum mp_kind kind, unsigned slot, const uint8_t *data, size_t len)
{
    if (c->env->store->put(c->env->ctx, kind, slot, data, len) < 0) {
        c->n->events |= MP_EVENT_STORE;
        return MP_ERR_STORE;
    }
    return MP_OK;
}

/* Checks the one signature of an object that was found worth it, and stores it. 0, or why not. */
static MP_APART int admit(struct mp_call *c, enum mp_kind kind, unsigned slot, uint8_t key_id, uint16_t generation,
                          const uint8_t *object, size_t len)
{
    const bool is_manifest = kind == MP_KIND_MANIFEST;
    const char *tag = is_manifest ? MP_TAG_MANIFEST : kind == MP_KIND_DIRECTIVE ? MP_TAG_DIRECTIVE : MP_TAG_RECEIPT;
    const size_t body = len - MP_SIGNATURE_SIZE;
    uint8_t pub[32];

    if (!may_verify(c, 1))
        return MP_ERR_BUSY;
    int error = find_key(c, is_manifest ? MP_ROLE_PUBLISHER : MP_ROLE_RELEASE, key_id, generation, pub);

    if (error == MP_OK)
        error = mp_signed_verify(c->env->crypto, tag, object, body, object + body, pub);
    return error == MP_OK ? put(c, kind, slot, object, len) : error;
}

/* The generation comes first, so that a stolen key that ran the epoch to its end is undone by its successor. */
static void see_epoch(struct mp_call *c, const struct mp_directive *d)
{
    uint64_t seen = (uint64_t)c->n->epoch_generation << 32 | c->n->epoch;
    uint64_t now = (uint64_t)d->generation << 32 | d->epoch;

    if (now > seen || (now == seen && !c->n->is_stale)) {
        c->n->epoch_generation = d->generation;
        c->n->epoch = d->epoch;
        c->n->is_stale = false;
        mp_job_arm(c->n, MP_JOB_STALE, c->now_ms + STALE_MS);
    }
}

/* Slot for a release's head: its own, a free one, or that of the last release if this one is above it; else -1. */
static int head_slot(const struct mp_node *n, const struct mp_head *head)
{
    uint64_t last = mp_accept_rank(head);
    int slot = -1;

    for (int i = 0; i < MP_RELEASES_MAX; i++) {
        if (n->heads[i].release == head->release)
            return i;
        if (mp_accept_rank(&n->heads[i]) < last) {
            last = mp_accept_rank(&n->heads[i]);
            slot = i;
        }
    }
    return slot;
}

static MP_APART int accept_directive(struct mp_call *c, const uint8_t *object, size_t len)
{
    struct mp_node *n = c->n;
    struct mp_directive d;
    struct mp_head head;
    uint8_t id[8];
    int slot, error = mp_directive_get(&d, object, len);

    if (error < 0)
        return error;
    if (d.network != n->network)
        return MP_ERR_NETWORK;
    mp_directive_id(c->env->crypto, object, len, id);
    head = mp_directive_head(&d, id);
    slot = head_slot(n, &head);
    if (slot < 0)
        return MP_ERR_OLD;
    if (n->heads[slot].release == d.release) {
        int order = mp_head_compare(&head, &n->heads[slot]);

        if (order == 0)
            mp_push_settle(c, MP_PUSH_DIRECTIVE + (unsigned)slot);
        if (order <= 0)
            return order < 0 ? MP_ERR_OLD : MP_ERR_DUPLICATE;
    }
    error = admit(c, MP_KIND_DIRECTIVE, (unsigned)slot, d.key_id, d.generation, object, len);
    if (error < 0)
        return error;
    if (n->heads[slot].release != d.release)
        for (struct mp_neighbour *b = n->neighbours; b < n->neighbours + MP_NEIGHBOURS_MAX; b++)
            b->flags |= MP_NEIGHBOUR_KNOWN;
    n->heads[slot] = head;
    n->head_mask |= (uint8_t)(1u << slot);
    n->events |= MP_EVENT_DIRECTIVE;
    see_epoch(c, &d);
    prune_manifests(c);
    mp_push_spread(c, MP_PUSH_DIRECTIVE + (unsigned)slot, SENDS_NEW);
    return MP_OK;
}

static MP_APART int accept_manifest(struct mp_call *c, const uint8_t *object, size_t len)
{
    struct mp_node *n = c->n;
    struct mp_manifest m;
    uint8_t ids[MP_MANIFESTS_MAX][8], id[8];
    int count, slot = -1, error = mp_manifest_get(&m, object, len);

    if (error < 0)
        return error;
    mp_manifest_id(c->env->crypto, object, id);
    if (mp_get32(id) == 0)
        return MP_ERR_FORMAT;
    for (int i = MP_MANIFESTS_MAX - 1; i >= 0; i--) {
        if (mp_is_free_id(n->manifests[i]))
            slot = i;
        else if (memcmp(n->manifests[i], id, 8) == 0) {
            mp_push_settle(c, MP_PUSH_MANIFEST + (unsigned)i);
            return MP_ERR_DUPLICATE;
        } else if (mp_get32(n->manifests[i]) == mp_get32(id)) {
            return MP_ERR_OLD; /* a handle must mean one payload: the first comer keeps it */
        }
    }
    count = wanted_ids(c, ids);
    if (count < 0)
        return count;
    if (!is_among((const uint8_t(*)[8])ids, (unsigned)count, id) || slot < 0)
        return MP_ERR_UNNAMED;
    if (m.expiry_epoch && n->epoch > m.expiry_epoch)
        return MP_ERR_EXPIRED;
    error = admit(c, MP_KIND_MANIFEST, (unsigned)slot, m.key_id, m.generation, object, len);
    if (error < 0)
        return error;
    memcpy(n->manifests[slot], id, 8);
    n->manifest_mask |= (uint8_t)(1u << slot);
    n->events |= MP_EVENT_MANIFEST;
    mp_push_spread(c, MP_PUSH_MANIFEST + (unsigned)slot, SENDS_NEW);
    return MP_OK;
}

static MP_APART int store_keyset(struct mp_call *c, const struct mp_keyset *set)
{
    uint8_t raw[MP_KEYSET_SIZE];

    mp_keyset_put(raw, set);
    return put(c, MP_KIND_KEYSET, 0, raw, sizeof raw);
}

static void adopt_keyset(struct mp_node *n, const struct mp_keyset *set)
{
    n->key_number = set->number;
    n->key_head = set->number ? mp_get32(set->head) : 0;
    n->is_frozen = set->frozen;
}

/* Whether a statement is the next one, and who sends it may be answered with a check: 0, or why not. */
static MP_APART int check_keychange(struct mp_call *c, const uint8_t *object, size_t len, uint16_t *number)
{
    struct mp_node *n = c->n;
    struct mp_keychange change;
    uint8_t digest[32];
    int error = mp_keychange_get(&change, object, len);

    if (error < 0)
        return error;
    if (n->is_frozen)
        return MP_ERR_FROZEN;
    *number = change.number;
    mp_keychange_digest(c->env->crypto, object, digest);
    if (change.number == n->key_number && mp_get32(digest) == n->key_head)
        return MP_ERR_DUPLICATE;
    if (change.number < n->key_number)
        return MP_ERR_OLD;
    if (change.number > n->key_number + 1)
        return MP_ERR_GAP;
    return may_verify(c, 2) ? MP_OK : MP_ERR_BUSY;
}

/* The digest leaves the signatures out; a copy with others is nobody's proof that the good one was heard. */
static MP_APART void settle_keychange(struct mp_call *c, uint16_t number, const uint8_t *object)
{
    uint8_t raw[MP_KEYSET_SIZE];
    int held = c->env->store->get(c->env->ctx, MP_KIND_KEYCHANGE, number % MP_KEYCHAIN_MAX, raw, sizeof raw);

    if (held == MP_KEYCHANGE_SIZE && memcmp(raw, object, MP_KEYCHANGE_SIZE) == 0)
        mp_push_settle(c, MP_PUSH_KEY);
}

static MP_APART int accept_keychange(struct mp_call *c, const uint8_t *object, size_t len)
{
    struct mp_node *n = c->n;
    struct mp_keyset set;
    uint16_t number = 0;
    bool was_frozen;
    int applied, error = check_keychange(c, object, len, &number);

    if (error == MP_ERR_DUPLICATE)
        settle_keychange(c, number, object);
    if (error == MP_OK)
        error = load_keyset(c, &set);
    if (error < 0)
        return error;
    was_frozen = set.frozen;
    applied = mp_keyset_apply(&set, c->env->crypto, object, len);
    if (applied < 0 && set.frozen == was_frozen)
        return applied;
    /* The statement goes first: a cut between the two leaves a keyset one behind, which load repairs. */
    if (applied == MP_OK)
        error = put(c, MP_KIND_KEYCHANGE, number % MP_KEYCHAIN_MAX, object, len);
    if (error == MP_OK)
        error = store_keyset(c, &set);
    if (error < 0)
        return error;
    adopt_keyset(n, &set);
    if (applied < 0) {
        n->events |= MP_EVENT_FORK;
        mp_gossip_wake(c);
        return applied;
    }
    n->events |= MP_EVENT_KEYSET;
    n->push_key = number;
    mp_push_spread(c, MP_PUSH_KEY, SENDS_NEW);
    return MP_OK;
}

static MP_APART int accept_receipt(struct mp_call *c, const uint8_t *object, size_t len)
{
    struct mp_node *n = c->n;
    struct mp_receipt r;
    int order, error = mp_receipt_get(&r, object, len);

    if (error < 0)
        return error;
    if (r.network != n->network)
        return MP_ERR_NETWORK;
    if (r.round == 0) /* means none */
        return MP_ERR_FORMAT;
    order = n->round ? mp_round_compare(r.generation, r.round, n->round_generation, n->round) : 1;
    if (order == 0)
        mp_push_settle(c, MP_PUSH_RECEIPT);
    if (order <= 0)
        return order < 0 ? MP_ERR_OLD : MP_ERR_DUPLICATE;
    error = admit(c, MP_KIND_RECEIPT, 0, r.key_id, r.generation, object, len);
    if (error < 0)
        return error;
    n->round = r.round;
    n->round_generation = r.generation;
    mp_neighbour_update_hop(c);
    mp_report_receipt(c, &r);
    mp_report_wake(c);
    mp_push_spread(c, MP_PUSH_RECEIPT, 0);
    return MP_OK;
}

int mp_accept_object(struct mp_call *c, enum mp_type type, const uint8_t *object, size_t len)
{
    switch (type) {
    case MP_TYPE_DIRECTIVE:
        return accept_directive(c, object, len);
    case MP_TYPE_MANIFEST:
        return accept_manifest(c, object, len);
    case MP_TYPE_KEYCHANGE:
        return accept_keychange(c, object, len);
    case MP_TYPE_RECEIPT:
        return accept_receipt(c, object, len);
    case MP_TYPE_SUMMARY:
    case MP_TYPE_REQUEST:
    case MP_TYPE_CHUNK:
    case MP_TYPE_REPORT:
    case MP_TYPE_REPORT_ACK:
        break;
    }
    return MP_ERR_TYPE;
}

/* --- start -------------------------------------------------------------------------------------------------------- */

/* A cut between statement and keyset leaves the keyset one behind: apply what is there. */
static MP_APART int load_keys(struct mp_call *c)
{
    struct mp_keyset set;
    uint8_t raw[MP_KEYCHANGE_SIZE];
    int error = load_keyset(c, &set);

    if (error < 0)
        return error;
    if (!set.frozen) {
        int len =
            c->env->store->get(c->env->ctx, MP_KIND_KEYCHANGE, (set.number + 1u) % MP_KEYCHAIN_MAX, raw, sizeof raw);

        if (len == MP_KEYCHANGE_SIZE && mp_keyset_apply(&set, c->env->crypto, raw, (size_t)len) == MP_OK)
            error = store_keyset(c, &set);
    }
    adopt_keyset(c->n, &set);
    return error;
}

static MP_APART void load_heads(struct mp_call *c)
{
    struct mp_node *n = c->n;
    uint8_t raw[MP_DIRECTIVE_MAX], id[8];
    struct mp_directive d;

    for (unsigned i = 0; i < MP_RELEASES_MAX; i++) {
        int len = c->env->store->get(c->env->ctx, MP_KIND_DIRECTIVE, i, raw, sizeof raw);

        if (len <= 0 || mp_directive_get(&d, raw, (size_t)len) < 0 || d.network != n->network)
            continue;
        mp_directive_id(c->env->crypto, raw, (size_t)len, id);
        n->heads[i] = mp_directive_head(&d, id);
        n->head_mask |= (uint8_t)(1u << i);
        see_epoch(c, &d);
    }
}

static MP_APART void load_manifests(struct mp_call *c)
{
    uint8_t raw[MP_MANIFEST_SIZE];

    for (unsigned i = 0; i < MP_MANIFESTS_MAX; i++)
        if (c->env->store->get(c->env->ctx, MP_KIND_MANIFEST, i, raw, sizeof raw) == MP_MANIFEST_SIZE) {
            mp_manifest_id(c->env->crypto, raw, c->n->manifests[i]);
            c->n->manifest_mask |= (uint8_t)(1u << i);
        }
}

static MP_APART void load_receipt(struct mp_call *c)
{
    struct mp_node *n = c->n;
    uint8_t raw[MP_RECEIPT_MAX];
    struct mp_receipt r;
    int len = c->env->store->get(c->env->ctx, MP_KIND_RECEIPT, 0, raw, sizeof raw);

    if (len <= 0 || mp_receipt_get(&r, raw, (size_t)len) != MP_OK || r.network != n->network)
        return;
    n->round = r.round;
    n->round_generation = r.generation;
    mp_report_receipt(c, &r); /* the cut may have come between the two */
}

int mp_accept_load(struct mp_call *c)
{
    int error = load_keys(c);

    if (error < 0)
        return error;
    load_heads(c);
    load_manifests(c);
    prune_manifests(c);
    load_receipt(c);
    mp_job_arm(c->n, MP_JOB_STALE, c->now_ms + STALE_MS);
    return MP_OK;
}
