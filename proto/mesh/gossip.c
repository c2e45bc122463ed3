/*
 * Gossip: keeping the state list (key chain, release heads, live manifests, gateway round) equal across the mesh.
 *
 * Nothing is asked for. A SUMMARY shows what its sender has; whoever hears that it lacks something, or has something
 * older, pushes the object. Trickle (RFC 6206) decides how often SUMMARY is sent: seldom while all agree, at once when
 * they do not. Every object passes mp_gossip_object(), heard or the host's own, in the order of docs/SPEC.md section 5.
 */
#include "engine.h"

#include "../mp_wire.h"
#include "../object/keyset.h"
#include "../object/manifest.h"
#include "../object/receipt.h"

#define VERIFY_CAP 16u
#define VERIFY_PERIOD_MS 500u
#define RESET_CAP 12u
#define RESETS_PER_LIST 8u /* what a reset leads to may be lost */
#define RESET_PERIOD_MS 300000u
#define PUSH_MIN_MS 5u
#define PUSH_SPAN_MS 56u
#define ANSWER_MIN_MS 20u
#define ANSWER_SPAN_MS 380u
#define ASK_INTERVAL_MS 8000u /* who gets no answer while Trickle is this fast has nobody to ask */
#define PUSH_REST_MS 600u
#define PUSH_GAP_TICKS 62u /* of 16 ms: an object once a second */
#define SENDS_NEW                                                                                                      \
    3u /* how often each member sends what is new; receipts come often and are sent like anything else                 \
        */
#define STALE_MS (7u * 24 * 3600 * 1000)

static uint16_t ticks(const struct mp_call *c)
{
    return (uint16_t)(c->now_ms >> 4);
}

static void push(struct mp_call *c, unsigned object)
{
    c->n->push_mask = (uint16_t)(c->n->push_mask | 1u << object);
    if (!mp_job_is_armed(c->n, MP_JOB_PUSH))
        mp_job_arm(c->n, MP_JOB_PUSH, c->now_ms + PUSH_MIN_MS + mp_random(c, PUSH_SPAN_MS));
}

/* Pushes unless the object was sent or heard within the last second: then the other side has had its chance. */
static void offer(struct mp_call *c, unsigned object)
{
    if ((uint16_t)(ticks(c) - c->n->push_last[object]) >= PUSH_GAP_TICKS)
        push(c, object);
}

static unsigned sends_left(const struct mp_node *n, unsigned object)
{
    return n->push_left >> 2 * object & 3;
}

static void set_sends_left(struct mp_node *n, unsigned object, uint32_t sends)
{
    n->push_left = (n->push_left & ~(3u << 2 * object)) | sends << 2 * object;
}

/* Somebody else sent it, so it need not be sent from here now; what is new here is, since who is behind this node may
 * hear nobody else. */
static void settle(struct mp_call *c, unsigned object)
{
    if (sends_left(c->n, object))
        return;
    c->n->push_mask = (uint16_t)(c->n->push_mask & ~(1u << object));
    c->n->push_last[object] = ticks(c);
}

/* Something new was verified: pass it on, `sends` times at most 3, and let the mesh compare notes soon. */
static void spread(struct mp_call *c, unsigned object, unsigned sends)
{
    set_sends_left(c->n, object, sends);
    c->n->push_last[object] = (uint16_t)(ticks(c) - PUSH_GAP_TICKS);
    push(c, object);
    if (mp_trickle_reset(&c->n->trickle, c->now_ms, c->env->random(c->env->ctx)))
        mp_job_arm(c->n, MP_JOB_TRICKLE, c->n->trickle.at_ms);
}

void mp_gossip_wake(struct mp_call *c)
{
    struct mp_node *n = c->n;

    if (n->trickle.interval_ms == MP_TRICKLE_IMIN_MS)
        return;
    if (!mp_bucket_take(&n->reset_bucket, c->now_ms, 1, RESET_CAP, RESET_PERIOD_MS))
        return;
    mp_trickle_reset(&n->trickle, c->now_ms, c->env->random(c->env->ctx));
    mp_job_arm(n, MP_JOB_TRICKLE, n->trickle.at_ms);
}

/* --- the live manifests --------------------------------------------------------------------------------------------
 */

static bool is_free(const uint8_t id[8])
{
    static const uint8_t none[8];

    return memcmp(id, none, 8) == 0;
}

int mp_gossip_find_manifest(const struct mp_node *n, uint32_t handle)
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
static uint64_t rank(const struct mp_head *h)
{
    return (uint64_t)h->generation << 32 | h->release;
}

/* Slot of the first release below the given rank, or -1. */
static int next_release(const struct mp_node *n, uint64_t below)
{
    uint64_t first = 0;
    int slot = -1;

    for (int i = 0; i < MP_RELEASES_MAX; i++) {
        uint64_t r = rank(&n->heads[i]);

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

    for (uint64_t below = UINT64_MAX; (slot = next_release(c->n, below)) >= 0; below = rank(&c->n->heads[slot])) {
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
        if (is_free(c->n->manifests[i]) || is_among((const uint8_t(*)[8])ids, (unsigned)count, c->n->manifests[i]))
            continue;
        if (c->env->store->put(c->env->ctx, MP_KIND_MANIFEST, i, NULL, 0) < 0)
            c->n->events |= MP_EVENT_STORE;
        memset(c->n->manifests[i], 0, 8);
        c->n->push_mask = (uint16_t)(c->n->push_mask & ~(1u << (MP_PUSH_MANIFEST + i)));
        c->n->events |= MP_EVENT_MANIFEST;
    }
}

/* --- accepting objects ---------------------------------------------------------------------------------------------
 */

static bool may_verify(struct mp_call *c, uint16_t signatures)
{
    return mp_bucket_take(&c->n->verify_bucket, c->now_ms, signatures, VERIFY_CAP, VERIFY_PERIOD_MS);
}

static int load_keyset(const struct mp_call *c, struct mp_keyset *set)
{
    uint8_t raw[MP_KEYSET_SIZE];
    int len = c->env->store->get(c->env->ctx, MP_KIND_KEYSET, 0, raw, sizeof raw);

    if (len <= 0)
        return len < 0 ? MP_ERR_STORE : MP_ERR_KEY;
    return mp_keyset_get(set, raw, (size_t)len);
}

static int find_key(const struct mp_call *c, enum mp_role role, uint8_t key_id, uint16_t generation, uint8_t pub[32])
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
    uint64_t last = rank(head);
    int slot = -1;

    for (int i = 0; i < MP_RELEASES_MAX; i++) {
        if (n->heads[i].release == head->release)
            return i;
        if (rank(&n->heads[i]) < last) {
            last = rank(&n->heads[i]);
            slot = i;
        }
    }
    return slot;
}

static int accept_directive(struct mp_call *c, const uint8_t *object, size_t len)
{
    struct mp_node *n = c->n;
    struct mp_directive d;
    struct mp_head head;
    uint8_t id[8], pub[32];
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
            settle(c, MP_PUSH_DIRECTIVE + (unsigned)slot);
        if (order <= 0)
            return order < 0 ? MP_ERR_OLD : MP_ERR_DUPLICATE;
    }
    if (!may_verify(c, 1))
        return MP_ERR_BUSY;
    error = find_key(c, MP_ROLE_RELEASE, d.key_id, d.generation, pub);
    if (error == MP_OK)
        error = mp_directive_verify(c->env->crypto, object, len, pub);
    if (error == MP_OK)
        error = put(c, MP_KIND_DIRECTIVE, (unsigned)slot, object, len);
    if (error < 0)
        return error;
    if (n->heads[slot].release != d.release)
        for (struct mp_neighbour *b = n->neighbours; b < n->neighbours + MP_NEIGHBOURS_MAX; b++)
            b->flags |= MP_NEIGHBOUR_KNOWN;
    n->heads[slot] = head;
    n->events |= MP_EVENT_DIRECTIVE;
    see_epoch(c, &d);
    prune_manifests(c);
    spread(c, MP_PUSH_DIRECTIVE + (unsigned)slot, SENDS_NEW);
    return MP_OK;
}

static int accept_manifest(struct mp_call *c, const uint8_t *object, size_t len)
{
    struct mp_node *n = c->n;
    struct mp_manifest m;
    uint8_t ids[MP_MANIFESTS_MAX][8], id[8], pub[32];
    int count, slot = -1, error = mp_manifest_get(&m, object, len);

    if (error < 0)
        return error;
    mp_manifest_id(c->env->crypto, object, id);
    if (mp_get32(id) == 0)
        return MP_ERR_FORMAT;
    for (int i = MP_MANIFESTS_MAX - 1; i >= 0; i--) {
        if (is_free(n->manifests[i]))
            slot = i;
        else if (memcmp(n->manifests[i], id, 8) == 0) {
            settle(c, MP_PUSH_MANIFEST + (unsigned)i);
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
    if (!may_verify(c, 1))
        return MP_ERR_BUSY;
    error = find_key(c, MP_ROLE_PUBLISHER, m.key_id, m.generation, pub);
    if (error == MP_OK)
        error = mp_manifest_verify(c->env->crypto, object, pub);
    if (error == MP_OK)
        error = put(c, MP_KIND_MANIFEST, (unsigned)slot, object, len);
    if (error < 0)
        return error;
    memcpy(n->manifests[slot], id, 8);
    n->events |= MP_EVENT_MANIFEST;
    spread(c, MP_PUSH_MANIFEST + (unsigned)slot, SENDS_NEW);
    return MP_OK;
}

static void adopt_keyset(struct mp_node *n, const struct mp_keyset *set)
{
    n->key_number = set->number;
    n->key_head = set->number ? mp_get32(set->head) : 0;
    n->is_frozen = set->frozen;
}

static int accept_keychange(struct mp_call *c, const uint8_t *object, size_t len)
{
    struct mp_node *n = c->n;
    struct mp_keychange change;
    struct mp_keyset set;
    uint8_t raw[MP_KEYSET_SIZE], digest[32];
    bool was_frozen;
    int applied, error = mp_keychange_get(&change, object, len);

    if (error < 0)
        return error;
    if (n->is_frozen)
        return MP_ERR_FROZEN;
    mp_keychange_digest(c->env->crypto, object, digest);
    if (change.number == n->key_number && mp_get32(digest) == n->key_head) {
        /* The digest leaves the signatures out; a copy with others is nobody's proof that the good one was heard. */
        int held = c->env->store->get(c->env->ctx, MP_KIND_KEYCHANGE, change.number % MP_KEYCHAIN_MAX, raw, sizeof raw);

        if (held == MP_KEYCHANGE_SIZE && memcmp(raw, object, MP_KEYCHANGE_SIZE) == 0)
            settle(c, MP_PUSH_KEY);
        return MP_ERR_DUPLICATE;
    }
    if (change.number < n->key_number)
        return MP_ERR_OLD;
    if (change.number > n->key_number + 1)
        return MP_ERR_GAP;
    if (!may_verify(c, 2))
        return MP_ERR_BUSY;
    error = load_keyset(c, &set);
    if (error < 0)
        return error;
    was_frozen = set.frozen;
    applied = mp_keyset_apply(&set, c->env->crypto, object, len);
    if (applied < 0 && set.frozen == was_frozen)
        return applied;
    mp_keyset_put(raw, &set);
    /* The statement goes first: a cut between the two leaves a keyset one behind, which load repairs. */
    if (applied == MP_OK)
        error = put(c, MP_KIND_KEYCHANGE, change.number % MP_KEYCHAIN_MAX, object, len);
    if (error == MP_OK)
        error = put(c, MP_KIND_KEYSET, 0, raw, sizeof raw);
    if (error < 0)
        return error;
    adopt_keyset(n, &set);
    if (applied < 0) {
        n->events |= MP_EVENT_FORK;
        mp_gossip_wake(c);
        return applied;
    }
    n->events |= MP_EVENT_KEYSET;
    n->push_key = change.number;
    spread(c, MP_PUSH_KEY, SENDS_NEW);
    return MP_OK;
}

static int accept_receipt(struct mp_call *c, const uint8_t *object, size_t len)
{
    struct mp_node *n = c->n;
    struct mp_receipt r;
    uint8_t pub[32];
    int order, error = mp_receipt_get(&r, object, len);

    if (error < 0)
        return error;
    if (r.network != n->network)
        return MP_ERR_NETWORK;
    if (r.round == 0) /* means none */
        return MP_ERR_FORMAT;
    order = n->round ? mp_round_compare(r.generation, r.round, n->round_generation, n->round) : 1;
    if (order == 0)
        settle(c, MP_PUSH_RECEIPT);
    if (order <= 0)
        return order < 0 ? MP_ERR_OLD : MP_ERR_DUPLICATE;
    if (!may_verify(c, 1))
        return MP_ERR_BUSY;
    error = find_key(c, MP_ROLE_RELEASE, r.key_id, r.generation, pub);
    if (error == MP_OK)
        error = mp_receipt_verify(c->env->crypto, object, len, pub);
    if (error == MP_OK)
        error = put(c, MP_KIND_RECEIPT, 0, object, len);
    if (error < 0)
        return error;
    n->round = r.round;
    n->round_generation = r.generation;
    mp_neighbour_update_hop(c);
    mp_report_receipt(c, &r);
    mp_report_wake(c);
    spread(c, MP_PUSH_RECEIPT, 0);
    return MP_OK;
}

int mp_gossip_object(struct mp_call *c, enum mp_type type, const uint8_t *object, size_t len)
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

/* --- comparing -----------------------------------------------------------------------------------------------------
 */

static bool compare_keys(struct mp_call *c, const struct mp_summary *s)
{
    struct mp_node *n = c->n;

    if (n->is_frozen || (s->flags & MP_SUMMARY_FROZEN))
        return true;
    if (s->key_number == n->key_number && s->key_head == n->key_head)
        return true;
    if (s->key_number < n->key_number && n->key_number - s->key_number <= MP_KEYCHAIN_MAX) {
        if (!(n->push_mask & 1u << MP_PUSH_KEY)) /* a chain once begun is sent to its end: others wait their turn */
            n->push_key = (uint16_t)(s->key_number + 1);
        offer(c, MP_PUSH_KEY);
    } else if (s->key_number == n->key_number && n->key_number) {
        n->push_key = n->key_number;
        offer(c, MP_PUSH_KEY);
    }
    return false;
}

static bool compare_heads(struct mp_call *c, const struct mp_summary *s)
{
    bool is_equal = true;
    unsigned known = 0;

    for (unsigned i = 0; i < MP_RELEASES_MAX; i++) {
        const struct mp_head *mine = &c->n->heads[i];
        const struct mp_head *theirs = NULL;
        bool has_room = s->head_count < MP_RELEASES_MAX;

        if (!mine->release)
            continue;
        for (unsigned j = 0; j < s->head_count; j++) {
            if (s->heads[j].release == mine->release)
                theirs = &s->heads[j];
            has_room |= rank(mine) > rank(&s->heads[j]);
        }
        if (theirs) {
            int order = mp_head_compare(mine, theirs);

            known++;
            if (order > 0)
                offer(c, MP_PUSH_DIRECTIVE + i);
            if (order != 0)
                is_equal = false;
        } else {
            is_equal = false;
            if (has_room) /* else it would not take this one */
                offer(c, MP_PUSH_DIRECTIVE + i);
        }
    }
    return is_equal && known == s->head_count;
}

static bool compare_manifests(struct mp_call *c, const struct mp_summary *s)
{
    bool is_equal = true;
    unsigned known = 0;

    for (unsigned i = 0; i < MP_MANIFESTS_MAX; i++) {
        bool is_there = false;

        if (is_free(c->n->manifests[i]))
            continue;
        for (unsigned j = 0; j < s->manifest_count; j++)
            if (s->manifests[j] == mp_get32(c->n->manifests[i]))
                is_there = true;
        if (is_there) {
            known++;
        } else {
            is_equal = false;
            offer(c, MP_PUSH_MANIFEST + i);
        }
    }
    return is_equal && known == s->manifest_count;
}

static bool compare_round(struct mp_call *c, const struct mp_header *h)
{
    if (h->round == c->n->round)
        return true;
    if (c->n->round && (h->round == 0 || (int16_t)(c->n->round - h->round) > 0))
        offer(c, MP_PUSH_RECEIPT);
    return false;
}

/* 16 bits of SipHash under the network key, so that nobody outside can aim for equal ones. */
static uint16_t list_hash(const struct mp_call *c, const uint8_t *body, size_t len)
{
    return (uint16_t)c->env->crypto->siphash(c->n->network_key[c->n->key_active], body + MP_SUMMARY_LIST,
                                             len - MP_SUMMARY_LIST);
}

static void note_summary(struct mp_call *c, struct mp_neighbour *from, const struct mp_summary *s)
{
    unsigned place;

    from->nonce = s->nonce;
    if (from->failed != s->failed)
        c->n->events |= MP_EVENT_BREAKER;
    from->failed = s->failed;
    from->home = (uint16_t)s->home;
    from->target = (uint16_t)s->target;
    from->held = (uint16_t)(s->held > UINT16_MAX ? UINT16_MAX : s->held);
    from->flags =
        (uint8_t)((from->flags & MP_NEIGHBOUR_KNOWN) | (s->flags & MP_SUMMARY_GATEWAY ? MP_NEIGHBOUR_GATEWAY : 0) |
                  (s->flags & MP_SUMMARY_RELAYS ? MP_NEIGHBOUR_RELAYS : 0));
    place = mp_exchange_place(c->n, s->target);
    if (place < MP_PLACES_MAX && s->held < c->n->places[place].positions && s->home != s->target)
        from->flags |= MP_NEIGHBOUR_WANTS;
}

/* The sender has a report and no way to send it: whoever is nearer to a gateway says so, and with it its nonce. */
static void answer(struct mp_call *c, const struct mp_header *h)
{
    if (c->n->hop < h->hop && !mp_job_is_armed(c->n, MP_JOB_SUMMARY) && mp_exchange_may_answer(c))
        mp_job_arm(c->n, MP_JOB_SUMMARY, c->now_ms + ANSWER_MIN_MS + mp_random(c, ANSWER_SPAN_MS));
}

int mp_gossip_summary(struct mp_call *c, struct mp_neighbour *from, const struct mp_header *h, const uint8_t *body,
                      size_t len)
{
    struct mp_node *n = c->n;
    struct mp_summary s;
    bool is_equal;
    uint16_t list;
    int error = mp_summary_get(&s, body, len);

    if (error < 0)
        return error;
    if (from)
        note_summary(c, from, &s);
    if (s.flags & MP_SUMMARY_ASKS)
        answer(c, h);
    if (s.flags & MP_SUMMARY_TRIAL)
        mp_report_echo(c, h->source, s.nonce);
    /* Each comparison has the side effect of offering what the sender lacks, so all four run. */
    is_equal = compare_keys(c, &s);
    is_equal &= compare_heads(c, &s);
    is_equal &= compare_manifests(c, &s);
    is_equal &= compare_round(c, h);
    if (is_equal) {
        mp_trickle_hear(&n->trickle);
        return MP_OK;
    }
    list = list_hash(c, body, len);
    if (from && from->list != list) {
        from->list = list;
        from->resets = 0;
    }
    if (from && from->resets < RESETS_PER_LIST) {
        from->resets++;
        mp_gossip_wake(c);
    }
    return MP_OK;
}

/* --- writing -------------------------------------------------------------------------------------------------------
 */

size_t mp_gossip_write_summary(struct mp_call *c, uint8_t *body)
{
    struct mp_node *n = c->n;
    struct mp_summary s = {
        .nonce = n->nonce, .failed = n->failed, .key_number = n->key_number, .key_head = n->key_head};

    s.flags = (uint8_t)((n->is_trial ? MP_SUMMARY_TRIAL : 0) | (n->is_gateway ? MP_SUMMARY_GATEWAY : 0) |
                        (n->is_stale ? MP_SUMMARY_STALE : 0) | (n->is_frozen ? MP_SUMMARY_FROZEN : 0) |
                        (c->env->relay ? MP_SUMMARY_RELAYS : 0) |
                        (n->trickle.interval_ms <= ASK_INTERVAL_MS && mp_report_is_stuck(c) ? MP_SUMMARY_ASKS : 0));
    s.home = n->places[0].handle;
    if (MP_PLACES_MAX > 1) {
        s.target = n->places[1].handle;
        s.held = n->places[1].held;
    }
    for (unsigned i = 0; i < MP_RELEASES_MAX; i++)
        if (n->heads[i].release)
            s.heads[s.head_count++] = n->heads[i];
    for (unsigned i = 0; i < MP_MANIFESTS_MAX; i++)
        if (!is_free(n->manifests[i]))
            s.manifests[s.manifest_count++] = mp_get32(n->manifests[i]);
    return mp_summary_put(body, &s);
}

static size_t load_push(struct mp_call *c, unsigned object, uint8_t *body, uint8_t *type)
{
    enum mp_kind kind = MP_KIND_MANIFEST;
    unsigned slot = object - MP_PUSH_MANIFEST;
    int len;

    *type = MP_TYPE_MANIFEST;
    if (object == MP_PUSH_KEY) {
        kind = MP_KIND_KEYCHANGE;
        slot = c->n->push_key % MP_KEYCHAIN_MAX;
        *type = MP_TYPE_KEYCHANGE;
    } else if (object < MP_PUSH_RECEIPT) {
        kind = MP_KIND_DIRECTIVE;
        slot = object - MP_PUSH_DIRECTIVE;
        *type = MP_TYPE_DIRECTIVE;
    } else if (object == MP_PUSH_RECEIPT) {
        kind = MP_KIND_RECEIPT;
        slot = 0;
        *type = MP_TYPE_RECEIPT;
    }
    len = c->env->store->get(c->env->ctx, kind, slot, body, MP_BODY_MAX);
    if (len < 0)
        c->n->events |= MP_EVENT_STORE;
    return len > 0 ? (size_t)len : 0;
}

/* Sent already and to be sent again, but not yet. */
static bool is_resting(const struct mp_call *c, unsigned object)
{
    unsigned left = sends_left(c->n, object);

    return left && (uint16_t)(ticks(c) - c->n->push_last[object]) < PUSH_GAP_TICKS;
}

static void note_sent(struct mp_call *c, unsigned object)
{
    struct mp_node *n = c->n;
    unsigned left = sends_left(n, object);

    if (object == MP_PUSH_KEY && n->push_key < n->key_number) {
        n->push_key++;
        return;
    }
    n->push_last[object] = ticks(c);
    if (left)
        set_sends_left(n, object, --left);
    if (left == 0)
        n->push_mask = (uint16_t)(n->push_mask & ~(1u << object));
}

size_t mp_gossip_write_push(struct mp_call *c, uint8_t *body, uint8_t *type)
{
    struct mp_node *n = c->n;

    mp_job_disarm(n, MP_JOB_PUSH);
    for (unsigned object = 0; object < MP_PUSH_COUNT; object++) {
        size_t len;

        if (!(n->push_mask & 1u << object) || is_resting(c, object))
            continue;
        len = load_push(c, object, body, type);
        note_sent(c, object);
        if (n->push_mask)
            mp_job_arm(n, MP_JOB_PUSH, c->now_ms);
        if (len)
            return len;
    }
    if (n->push_mask)
        mp_job_arm(n, MP_JOB_PUSH, c->now_ms + PUSH_REST_MS / 2 + mp_random(c, PUSH_REST_MS));
    return 0;
}

/* --- start ---------------------------------------------------------------------------------------------------------
 */

/* A cut between statement and keyset leaves the keyset one behind: apply what is there. */
static int load_keys(struct mp_call *c)
{
    struct mp_keyset set;
    uint8_t raw[MP_KEYSET_SIZE];
    int error = load_keyset(c, &set);

    if (error < 0)
        return error;
    if (!set.frozen) {
        int len =
            c->env->store->get(c->env->ctx, MP_KIND_KEYCHANGE, (set.number + 1u) % MP_KEYCHAIN_MAX, raw, sizeof raw);

        if (len == MP_KEYCHANGE_SIZE && mp_keyset_apply(&set, c->env->crypto, raw, (size_t)len) == MP_OK) {
            mp_keyset_put(raw, &set);
            error = put(c, MP_KIND_KEYSET, 0, raw, sizeof raw);
        }
    }
    adopt_keyset(c->n, &set);
    return error;
}

int mp_gossip_load(struct mp_call *c)
{
    struct mp_node *n = c->n;
    uint8_t raw[MP_RECORD_MAX];
    struct mp_receipt r;
    int len, error = load_keys(c);

    if (error < 0)
        return error;
    for (unsigned i = 0; i < MP_RELEASES_MAX; i++) {
        struct mp_directive d;
        uint8_t id[8];

        len = c->env->store->get(c->env->ctx, MP_KIND_DIRECTIVE, i, raw, sizeof raw);
        if (len <= 0 || mp_directive_get(&d, raw, (size_t)len) < 0 || d.network != n->network)
            continue;
        mp_directive_id(c->env->crypto, raw, (size_t)len, id);
        n->heads[i] = mp_directive_head(&d, id);
        see_epoch(c, &d);
    }
    for (unsigned i = 0; i < MP_MANIFESTS_MAX; i++) {
        len = c->env->store->get(c->env->ctx, MP_KIND_MANIFEST, i, raw, sizeof raw);
        if (len == MP_MANIFEST_SIZE)
            mp_manifest_id(c->env->crypto, raw, n->manifests[i]);
    }
    prune_manifests(c);
    len = c->env->store->get(c->env->ctx, MP_KIND_RECEIPT, 0, raw, sizeof raw);
    if (len > 0 && mp_receipt_get(&r, raw, (size_t)len) == MP_OK && r.network == n->network) {
        n->round = r.round;
        n->round_generation = r.generation;
        mp_report_receipt(c, &r); /* the cut may have come between the two */
    }
    mp_bucket_init(&n->verify_bucket, c->now_ms, VERIFY_CAP);
    mp_bucket_init(&n->reset_bucket, c->now_ms, RESET_CAP);
    mp_job_arm(n, MP_JOB_STALE, c->now_ms + STALE_MS);
    return MP_OK;
}
