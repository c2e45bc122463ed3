/*
 * Pushing: sending objects that somebody lacks (docs/SPEC.md section 5).
 *
 * An object waits as a bit of push_mask; all share the job PUSH. What a SUMMARY showed to be missing is offered once and left out when somebody
 * else is heard sending it; what is new here is sent three times whatever is heard, since who is behind this node may hear nobody else.
 */
#include "engine.h"

#define PUSH_MIN_MS 5u
#define PUSH_SPAN_MS 56u
#define PUSH_REST_MS 600u
#define PUSH_GAP_TICKS 62u /* of 16 ms: an object once a second */

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
void mp_push_offer(struct mp_call *c, unsigned object)
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
void mp_push_settle(struct mp_call *c, unsigned object)
{
    if (sends_left(c->n, object))
        return;
    c->n->push_mask = (uint16_t)(c->n->push_mask & ~(1u << object));
    c->n->push_last[object] = ticks(c);
}

/* Something new was verified: pass it on, `sends` times at most 3, and let the mesh compare notes soon. */
void mp_push_spread(struct mp_call *c, unsigned object, unsigned sends)
{
    set_sends_left(c->n, object, sends);
    c->n->push_last[object] = (uint16_t)(ticks(c) - PUSH_GAP_TICKS);
    push(c, object);
    if (mp_trickle_reset(&c->n->trickle, c->now_ms, c->env->random(c->env->ctx)))
        mp_job_arm(c->n, MP_JOB_TRICKLE, c->n->trickle.at_ms);
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

size_t mp_push_write(struct mp_call *c, uint8_t *body, uint8_t *type)
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

void mp_push_cancel(struct mp_node *n, unsigned object)
{
    n->push_mask = (uint16_t)(n->push_mask & ~(1u << object));
    set_sends_left(n, object, 0);
}
