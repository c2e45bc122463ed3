/*
 * Gossip: keeping the state list (key chain, release heads, live manifests, gateway round) equal across the mesh.
 *
 * Nothing is asked for. A SUMMARY shows what its sender has; whoever hears that it lacks something, or has something
 * older, pushes the object. Trickle (RFC 6206) decides how often SUMMARY is sent: seldom while all agree, at once when
 * they do not.
 */
#include "engine.h"

#include "../mp_wire.h"

#define RESETS_PER_LIST 8u /* what a reset leads to may be lost */
#define RESET_PERIOD_MS 300000u
#define ANSWER_MIN_MS 20u
#define ANSWER_SPAN_MS 380u
#define ASK_INTERVAL_MS 8000u /* who gets no answer while Trickle is this fast has nobody to ask */

void mp_gossip_wake(struct mp_call *c)
{
    struct mp_node *n = c->n;

    if (n->trickle.interval_ms == MP_TRICKLE_IMIN_MS)
        return;
    if (!mp_bucket_take(&n->reset_bucket, c->now_ms, 1, MP_RESET_CAP, RESET_PERIOD_MS))
        return;
    mp_trickle_reset(&n->trickle, c->now_ms, c->env->random(c->env->ctx));
    mp_job_arm(n, MP_JOB_TRICKLE, n->trickle.at_ms);
}

/* --- comparing ---------------------------------------------------------------------------------------------------- */

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
        mp_push_offer(c, MP_PUSH_KEY);
    } else if (s->key_number == n->key_number && n->key_number) {
        n->push_key = n->key_number;
        mp_push_offer(c, MP_PUSH_KEY);
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

        if (!(c->n->head_mask >> i & 1))
            continue;
        for (unsigned j = 0; j < s->head_count; j++) {
            if (s->heads[j].release == mine->release)
                theirs = &s->heads[j];
            has_room |= mp_accept_rank(mine) > mp_accept_rank(&s->heads[j]);
        }
        if (theirs) {
            int order = mp_head_compare(mine, theirs);

            known++;
            if (order > 0)
                mp_push_offer(c, MP_PUSH_DIRECTIVE + i);
            if (order != 0)
                is_equal = false;
        } else {
            is_equal = false;
            if (has_room) /* else it would not take this one */
                mp_push_offer(c, MP_PUSH_DIRECTIVE + i);
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

        if (!(c->n->manifest_mask >> i & 1))
            continue;
        for (unsigned j = 0; j < s->manifest_count; j++)
            if (s->manifests[j] == mp_get32(c->n->manifests[i]))
                is_there = true;
        if (is_there) {
            known++;
        } else {
            is_equal = false;
            mp_push_offer(c, MP_PUSH_MANIFEST + i);
        }
    }
    return is_equal && known == s->manifest_count;
}

static bool compare_round(struct mp_call *c, const struct mp_header *h)
{
    if (h->round == c->n->round)
        return true;
    if (c->n->round && (h->round == 0 || (int16_t)(c->n->round - h->round) > 0))
        mp_push_offer(c, MP_PUSH_RECEIPT);
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
    mp_neighbour_failed(c, from, s->failed);
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

/* --- writing ------------------------------------------------------------------------------------------------------ */

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
        if (!mp_is_free_id(n->manifests[i]))
            s.manifests[s.manifest_count++] = mp_get32(n->manifests[i]);
    return mp_summary_put(body, &s);
}
