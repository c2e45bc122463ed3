/*
 * Reports, custody, receipts, and the echo that a node on trial waits for (docs/SPEC.md section 7).
 *
 * A report travels down the gradient hop by hop; whoever acknowledges it has it in custody (in RAM) and passes it on.
 * The origin is rid of it only when a signed receipt covers its serial, and sends it again until then, so no loss,
 * reboot or forged acknowledgement on the way can lose it. At a gateway "passed on" means committed: the host reads the
 * custody list, commits, and only then is it acknowledged.
 */
#include "engine.h"

#include "../mp_wire.h"

#define REPORT_FIXED 10u
#define REPORT_ENTRIES_MAX 10u
#define ACK_FIXED 8u
#define ACK_ENTRY 6u
#define ACK_ENTRIES_MAX 31u
#define RECORD_SIZE 12u
#define RECORD_SIZE_MAX 32u /* a later version's may be longer */
#define JITTER_MS 2000u
#define FETCHING_MS 60000u /* a fetch that ends sooner is not worth a report; what follows it is */
#define RETRY_MS 1000u
#define RECEIPT_MS 10000u
#define BACKOFF_MAX 6u
/* Before an unanswered report slows down: a loss, or custody that is full for the moment, is no absence. */
#define EAGER_TRIES 4u
#define GATHER_MIN_MS 20u
#define GATHER_SPAN_MS 180u
#define ACK_SPAN_MS 15u
#define ECHO_SPAN_MS 400u
#define SERIAL_WINDOW 15u
#define FAILED_SUMMARIES 3u /* Trickle would keep them back where several fail at once */

/* --- the own report ----------------------------------------------------------------------------------------------- */

static int save(struct mp_call *c)
{
    const struct mp_own_report *o = &c->n->report;
    uint8_t raw[RECORD_SIZE] = {0};

    mp_put16(raw, o->running);
    mp_put16(raw + 2, o->target);
    mp_put16(raw + 4, o->serial);
    mp_put16(raw + 6, o->receipted);
    raw[8] = o->phase;
    raw[9] = o->reason;
    raw[10] = o->is_rewritten;
    if (c->env->store->put(c->env->ctx, MP_KIND_REPORT, 0, raw, sizeof raw) < 0) {
        c->n->events |= MP_EVENT_STORE;
        return MP_ERR_STORE;
    }
    return MP_OK;
}

static bool is_pending(const struct mp_own_report *o)
{
    return o->is_set && o->serial != o->receipted;
}

/* The serial after s: never one whose low nibble is 0, which in a receipt means "none". */
static uint16_t serial_after(uint16_t s)
{
    s++;
    return (s & 15) ? s : (uint16_t)(s + 1);
}

static void schedule(struct mp_call *c)
{
    struct mp_node *n = c->n;
    unsigned tries = n->report.tries < BACKOFF_MAX ? n->report.tries : BACKOFF_MAX;
    unsigned slow = n->report.tries < EAGER_TRIES ? 0 : n->report.tries - EAGER_TRIES;
    bool is_waiting = is_pending(&n->report) && !n->report.is_taken;

    if (n->is_gateway)
        return;
    for (unsigned i = 0; i < n->custody_count; i++)
        if (!(n->custody[i].flags & MP_CUSTODY_DONE))
            is_waiting = true;
    if (is_waiting)
        mp_job_arm(n, MP_JOB_REPORT,
                   c->now_ms + ((RETRY_MS + mp_random(c, RETRY_MS)) << (slow < BACKOFF_MAX ? slow : BACKOFF_MAX)));
    else if (is_pending(&n->report))
        mp_job_arm(n, MP_JOB_REPORT, c->now_ms + ((RECEIPT_MS + mp_random(c, JITTER_MS)) << tries));
    else
        mp_job_disarm(n, MP_JOB_REPORT);
}

/* How long the own report waits for its first try. */
static uint32_t first_try_ms(const struct mp_call *c)
{
    return c->n->report.phase == MP_PHASE_FETCHING ? FETCHING_MS + mp_random(c, FETCHING_MS) : mp_random(c, JITTER_MS);
}

static void send_soon(struct mp_call *c)
{
    c->n->report.tries = 0;
    c->n->report.is_taken = false;
    mp_job_hasten(c->n, MP_JOB_REPORT, c->now_ms + first_try_ms(c));
}

static void take_serial(struct mp_own_report *o)
{
    uint16_t next = serial_after(o->serial);

    o->is_rewritten = (uint16_t)(next - o->receipted) > SERIAL_WINDOW;
    if (!o->is_rewritten)
        o->serial = next;
}

int mp_report_load(struct mp_call *c)
{
    struct mp_own_report *o = &c->n->report;
    uint8_t raw[RECORD_SIZE_MAX];
    int len = c->env->store->get(c->env->ctx, MP_KIND_REPORT, 0, raw, sizeof raw);

    if (len < 0)
        return MP_ERR_STORE;
    if (len < (int)RECORD_SIZE || raw[8] >= MP_PHASE_COUNT || raw[9] >= MP_REASON_COUNT)
        return MP_OK;
    o->running = mp_get16(raw);
    o->target = mp_get16(raw + 2);
    o->serial = mp_get16(raw + 4);
    o->receipted = mp_get16(raw + 6);
    o->phase = raw[8];
    o->reason = raw[9];
    o->is_rewritten = raw[10] != 0;
    o->is_set = true;
    if (o->phase == MP_PHASE_ROLLED_BACK) {
        c->n->failed = o->target;
        c->n->loud = FAILED_SUMMARIES;
    }
    if (is_pending(o))
        mp_job_arm(c->n, MP_JOB_REPORT, c->now_ms + first_try_ms(c));
    return MP_OK;
}

int mp_node_report(struct mp_node *n, const struct mp_env *env, mp_time now, uint16_t running, uint16_t target,
                   enum mp_phase phase, enum mp_reason reason)
{
    struct mp_call c = {n, env, mp_ms(now)};
    struct mp_own_report *o = &n->report, before = *o;

    n->now = now;
    if (o->is_set && o->running == running && o->target == target && o->phase == phase && o->reason == reason)
        return MP_OK;
    o->running = running;
    o->target = target;
    o->phase = (uint8_t)phase;
    o->reason = (uint8_t)reason;
    o->is_set = true;
    take_serial(o);
    if (save(&c) < 0) {
        *o = before;
        return MP_ERR_STORE;
    }
    /* What failed stays known until the next release is confirmed, so that the breaker of others hears of it. */
    if (phase == MP_PHASE_ROLLED_BACK) {
        n->failed = target;
        n->loud = FAILED_SUMMARIES;
    } else if (phase == MP_PHASE_CONFIRMED)
        n->failed = 0;
    send_soon(&c);
    return MP_OK;
}

bool mp_node_is_receipted(const struct mp_node *n)
{
    return n->report.is_set && n->report.serial == n->report.receipted && !n->report.is_rewritten;
}

void mp_report_receipt(struct mp_call *c, const struct mp_receipt *r)
{
    struct mp_own_report *o = &c->n->report;
    int nibble = mp_receipt_nibble(r, c->n->index);
    uint16_t serial;

    if (nibble <= 0 || !is_pending(o))
        return;
    serial = (uint16_t)(o->serial - ((o->serial - (unsigned)nibble) & 15));
    if (serial == o->receipted || (uint16_t)(o->serial - serial) >= (uint16_t)(o->serial - o->receipted))
        return;
    o->receipted = serial;
    if (o->serial == serial && o->is_rewritten)
        take_serial(o);
    save(c);
    if (is_pending(o)) {
        send_soon(c);
        return;
    }
    c->n->events |= MP_EVENT_RECEIPT;
    schedule(c);
}

bool mp_report_is_stuck(const struct mp_call *c)
{
    bool is_waiting = is_pending(&c->n->report) && !c->n->report.is_taken;

    return !c->n->is_gateway && (is_waiting || c->n->custody_count) && !mp_neighbour_parent(c, 0);
}

void mp_report_wake(struct mp_call *c)
{
    if (mp_job_is_armed(c->n, MP_JOB_REPORT) && is_pending(&c->n->report) && !c->n->report.is_taken)
        mp_job_hasten(c->n, MP_JOB_REPORT, c->now_ms + first_try_ms(c));
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

size_t mp_report_write(struct mp_call *c, uint8_t *body)
{
    struct mp_node *n = c->n;
    struct mp_own_report *o = &n->report;
    const struct mp_neighbour *parent;
    unsigned count = 0;

    mp_job_disarm(n, MP_JOB_REPORT);
    if (o->is_taken && o->tries >= 1)
        o->is_taken = false; /* taken, but no receipt came: once more from the start */
    parent = mp_neighbour_parent(c, o->tries % 2);
    o->tries = o->tries < UINT8_MAX ? (uint8_t)(o->tries + 1) : UINT8_MAX - 1; /* parents go on taking turns */
    if (parent) {
        if (is_pending(o) && !o->is_taken) {
            struct mp_report r = {.node = n->id,
                                  .serial = o->serial,
                                  .running = o->running,
                                  .target = o->target,
                                  .phase = o->phase,
                                  .reason = o->reason};

            mp_report_put(c->env->crypto, body + REPORT_FIXED, &r, n->report_key);
            count++;
        }
        for (unsigned i = 0; i < n->custody_count && count < REPORT_ENTRIES_MAX; i++)
            if (!(n->custody[i].flags & MP_CUSTODY_DONE))
                memcpy(body + REPORT_FIXED + MP_REPORT_ENTRY_SIZE * count++, n->custody[i].entry, MP_REPORT_ENTRY_SIZE);
    }
    schedule(c);
    if (count == 0)
        return 0;
    n->report_mark = (uint32_t)n->counter; /* that of this frame */
    mp_put32(body, parent->node);
    mp_put32(body + 4, parent->nonce);
    body[8] = (uint8_t)count;
    body[9] = 0;
    return REPORT_FIXED + MP_REPORT_ENTRY_SIZE * count;
}

/* --- custody ------------------------------------------------------------------------------------------------------ */

/* Frees what is both passed on and acknowledged, keeping the order of the rest: the gateway's host counts from the
 * front. */
static void compact(struct mp_node *n)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < n->custody_count; i++)
        if ((n->custody[i].flags & (MP_CUSTODY_DONE | MP_CUSTODY_ACK)) != MP_CUSTODY_DONE)
            n->custody[kept++] = n->custody[i];
    n->custody_count = (uint8_t)kept;
}

static bool take(struct mp_call *c, const uint8_t *entry, uint32_t from)
{
    struct mp_node *n = c->n;
    struct mp_custody *slot = NULL;

    for (unsigned i = 0; i < n->custody_count; i++) {
        struct mp_custody *k = &n->custody[i];

        if (memcmp(k->entry, entry, MP_REPORT_ENTRY_SIZE) == 0) {
            k->from = from;
            if (!n->is_gateway || (k->flags & MP_CUSTODY_DONE))
                k->flags |= MP_CUSTODY_ACK;
            return true;
        }
        /* A newer report of the same origin takes the older one's place, except where the host may be committing it. */
        if (!n->is_gateway && mp_get32(k->entry) == mp_get32(entry) &&
            (int16_t)(mp_get16(entry + 4) - mp_get16(k->entry + 4)) > 0)
            slot = k;
    }
    if (!slot) {
        if (n->custody_count >= MP_CUSTODY_MAX)
            return false;
        slot = &n->custody[n->custody_count++];
    }
    slot->from = from;
    memcpy(slot->entry, entry, MP_REPORT_ENTRY_SIZE);
    slot->flags = MP_CUSTODY_USED;
    if (!n->is_gateway)
        slot->flags |= MP_CUSTODY_ACK;
    return true;
}

int mp_report_receive(struct mp_call *c, struct mp_neighbour *from, const struct mp_header *h, const uint8_t *body,
                      size_t len)
{
    struct mp_node *n = c->n;
    unsigned count, taken = 0;

    if (len < REPORT_FIXED + MP_REPORT_ENTRY_SIZE)
        return MP_ERR_LENGTH;
    count = body[8];
    if (count > REPORT_ENTRIES_MAX || len != REPORT_FIXED + MP_REPORT_ENTRY_SIZE * (size_t)count)
        return MP_ERR_LENGTH;
    if (body[9] != 0)
        return MP_ERR_FORMAT;
    for (unsigned i = 0; i < count; i++) {
        struct mp_report r;
        int error = mp_report_get(&r, body + REPORT_FIXED + MP_REPORT_ENTRY_SIZE * i);

        if (error < 0)
            return error;
        /* What it says of itself concerns its neighbours too, whomever it is for. */
        if (from && r.node == h->source && r.phase == MP_PHASE_ROLLED_BACK)
            mp_neighbour_failed(c, from, r.target);
    }
    if (mp_get32(body) != n->id)
        return MP_OK;
    if (mp_get32(body + 4) != n->nonce)
        return MP_ERR_REPLAY;
    n->ack_node = h->source;
    n->ack_mark = (uint32_t)h->counter;
    for (unsigned i = 0; i < count; i++)
        taken += take(c, body + REPORT_FIXED + MP_REPORT_ENTRY_SIZE * i, h->source);
    if (taken == 0)
        return MP_ERR_ROOM;
    if (n->is_gateway) {
        n->events |= MP_EVENT_CUSTODY;
        for (unsigned i = 0; i < n->custody_count; i++)
            if (n->custody[i].flags & MP_CUSTODY_ACK)
                mp_job_hasten(n, MP_JOB_ACK, c->now_ms);
        return MP_OK;
    }
    mp_job_hasten(n, MP_JOB_ACK, c->now_ms + mp_random(c, ACK_SPAN_MS));
    n->report.tries &= 1; /* soon, but still the other parent's turn if it was */
    mp_job_hasten(n, MP_JOB_REPORT, c->now_ms + GATHER_MIN_MS + mp_random(c, GATHER_SPAN_MS));
    return MP_OK;
}

int mp_report_receive_ack(struct mp_call *c, const uint8_t *body, size_t len)
{
    struct mp_node *n = c->n;

    if (len < ACK_FIXED || (len - ACK_FIXED) % ACK_ENTRY || len > ACK_FIXED + ACK_ENTRY * ACK_ENTRIES_MAX)
        return MP_ERR_LENGTH;
    if (mp_get32(body) == n->echo_node && mp_get32(body + 4) == n->echo_nonce)
        n->echo_node = 0; /* somebody else was quicker */
    if (mp_get32(body) != n->id)
        return MP_OK;
    if (mp_get32(body + 4) != n->nonce && (len == ACK_FIXED || !n->report_mark || mp_get32(body + 4) != n->report_mark))
        return MP_ERR_REPLAY;
    if (n->is_trial)
        n->events |= MP_EVENT_ECHO;
    for (const uint8_t *p = body + ACK_FIXED; p < body + len; p += ACK_ENTRY) {
        if (mp_get32(p) == n->id && mp_get16(p + 4) == n->report.serial)
            n->report.is_taken = true;
        for (unsigned i = 0; i < n->custody_count; i++)
            if (!n->is_gateway && memcmp(n->custody[i].entry, p, ACK_ENTRY) == 0)
                n->custody[i].flags |= MP_CUSTODY_DONE;
    }
    compact(n);
    schedule(c);
    return MP_OK;
}

void mp_report_echo(struct mp_call *c, uint32_t node, uint32_t nonce)
{
    if (c->n->echo_node && c->n->echo_node != node)
        return; /* one at a time; it will ask again */
    c->n->echo_node = node;
    c->n->echo_nonce = nonce;
    mp_job_hasten(c->n, MP_JOB_ACK, c->now_ms + mp_random(c, ECHO_SPAN_MS));
}

/* What an acknowledgement to this node has to echo: its nonce, or of the last that brought something the mark of its
 * frame, since whoever reports is not always among the neighbours that are kept. 0: it will send again. */
static uint32_t echo_for(struct mp_node *n, uint32_t node)
{
    const struct mp_neighbour *b = mp_neighbour_find(n, node);

    if (b && b->nonce)
        return b->nonce;
    return node == n->ack_node ? n->ack_mark : 0;
}

/* Acknowledges everything that one node brought; entries written to body. */
static size_t write_custody_ack(struct mp_call *c, uint8_t *body)
{
    struct mp_node *n = c->n;
    uint32_t to = 0, echo = 0;
    size_t len = ACK_FIXED;

    for (unsigned i = 0; i < n->custody_count && len < ACK_FIXED + ACK_ENTRY * ACK_ENTRIES_MAX; i++) {
        struct mp_custody *k = &n->custody[i];

        if (!(k->flags & MP_CUSTODY_ACK) || (to && k->from != to))
            continue;
        if (!to)
            echo = echo_for(n, k->from);
        k->flags &= (uint8_t)~MP_CUSTODY_ACK;
        if (!echo)
            continue;
        to = k->from;
        memcpy(body + len, k->entry, ACK_ENTRY);
        len += ACK_ENTRY;
    }
    compact(n);
    if (!to)
        return 0;
    mp_put32(body, to);
    mp_put32(body + 4, echo);
    return len;
}

size_t mp_report_write_ack(struct mp_call *c, uint8_t *body)
{
    struct mp_node *n = c->n;
    size_t len = write_custody_ack(c, body);

    mp_job_disarm(n, MP_JOB_ACK);
    if (len == 0 && n->echo_node) {
        mp_put32(body, n->echo_node);
        mp_put32(body + 4, n->echo_nonce);
        n->echo_node = 0;
        len = ACK_FIXED;
    }
    for (unsigned i = 0; i < n->custody_count; i++)
        if (n->custody[i].flags & MP_CUSTODY_ACK)
            mp_job_arm(n, MP_JOB_ACK, c->now_ms);
    if (n->echo_node)
        mp_job_hasten(n, MP_JOB_ACK, c->now_ms + mp_random(c, ECHO_SPAN_MS));
    return len;
}

bool mp_node_custody(const struct mp_node *n, unsigned i, uint8_t entry[MP_REPORT_ENTRY_SIZE])
{
    for (unsigned k = 0; k < n->custody_count; k++)
        if (!(n->custody[k].flags & MP_CUSTODY_DONE) && i-- == 0) {
            memcpy(entry, n->custody[k].entry, MP_REPORT_ENTRY_SIZE);
            return true;
        }
    return false;
}

void mp_node_custody_done(struct mp_node *n, mp_time now, unsigned count)
{
    n->now = now;
    for (unsigned k = 0; k < n->custody_count && count; k++)
        if (!(n->custody[k].flags & MP_CUSTODY_DONE)) {
            n->custody[k].flags |= MP_CUSTODY_DONE | MP_CUSTODY_ACK;
            mp_job_arm(n, MP_JOB_ACK, mp_ms(now));
            count--;
        }
}
