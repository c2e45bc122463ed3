/*
 * The event loop and the host side of nodes.
 *
 * A node's host asks its stack what to do when there is a reason: a WAKE event, a frame, mail, a radio that became
 * ready. Timers are lazy: WAKE events are never taken out of the queue, only ignored when something earlier was queued
 * after them (sim_host.wake_at tells), and one that comes before its time (the stack changed its mind) is queued again.
 *
 * Several ranks: all agree on the time W of the next event anywhere, each runs its own events in [W, W + lookahead),
 * then they exchange what began in that window. What began in a window is not looked at by anybody else before the
 * window is over, see sim/phy/phy.h.
 */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine_state.h"

#define RETRY_US 1000 /* a stack that is due but has nothing to say is not asked again at once */

/* --- host ---------------------------------------------------------------------------------------------------------- */

static bool comes_before(const struct sim_event_key *a, const struct sim_event_key *b)
{
    if (a->at != b->at)
        return a->at < b->at;
    return a->node != b->node ? a->node < b->node : a->kind < b->kind;
}

static void put_in_queue(struct sim_engine *e, struct sim_event_key event)
{
    if (sim_queue_push(e->queue, event) != 0)
        sim_engine_fail(e, "out of memory for events");
}

void sim_engine_push(struct sim_engine *e, sim_time at, uint32_t node, uint32_t kind)
{
    const struct sim_event_key event = {.at = at, .node = node, .kind = kind};
    struct sim_ahead *a = &e->ahead;
    if (a->count == 0 || !comes_before(&event, &a->event[a->count - 1])) {
        put_in_queue(e, event);
        return;
    }
    if (a->count == SIM_AHEAD)
        put_in_queue(e, a->event[--a->count]);
    uint32_t i = a->count++;
    for (; i > 0 && comes_before(&event, &a->event[i - 1]); i--)
        a->event[i] = a->event[i - 1];
    a->event[i] = event;
}

void sim_engine_give_back(struct sim_engine *e)
{
    while (e->ahead.count > 0)
        put_in_queue(e, e->ahead.event[--e->ahead.count]);
}

static void wake_at(struct sim_engine *e, uint32_t node, sim_time at)
{
    struct sim_host *h = &e->host[node - e->first];
    if (at >= h->wake_at)
        return;
    h->wake_at = at;
    sim_engine_push(e, at, node, SIM_EVENT_WAKE);
}

/* One frame from the stack into the radio, if it has one. */
static bool write_frame(struct sim_engine *e, uint32_t node)
{
    struct sim_frame frame;
    frame.len = 0;
    frame.type = 0;
    if (e->stack->write(e->stack_ctx, node, e->now, &frame) <= 0)
        return false;
    size_t most = e->stack->bearer == SIM_BEARER_EXTENDED ? SIM_AD_MAX
                  : e->stack->bearer == SIM_BEARER_LEGACY ? 31
                                                          : 125;
    if (frame.len > most) {
        sim_engine_fail(e, "the stack wrote a frame longer than its bearer carries");
        return false;
    }
    e->host[node - e->first].ready = SIM_NEVER;
    e->phy->submit(e->phy_ctx, node, e->now, &frame);
    return true;
}

/* The stack is due. */
static void expire(struct sim_engine *e, uint32_t node)
{
    struct sim_host *h = &e->host[node - e->first];
    e->stack->expire(e->stack_ctx, node, e->now);
    sim_time next = e->stack->next_expiry(e->stack_ctx, node);
    if (next <= e->now && h->ready <= e->now) {
        bool wrote = write_frame(e, node);
        next = e->stack->next_expiry(e->stack_ctx, node);
        if (next <= e->now && !wrote)
            next = e->now + RETRY_US;
    }
    if (next <= e->now)
        next = h->ready;
    if (next < SIM_READY_OFF)
        wake_at(e, node, next);
}

/* After any call of the stack: what is it waiting for? A stack that is due while its radio is busy waits for it. */
static void serve(struct sim_engine *e, uint32_t node)
{
    const struct sim_host *h = &e->host[node - e->first];
    sim_time next = e->stack->next_expiry(e->stack_ctx, node);
    if (next <= e->now) {
        if (h->ready <= e->now || h->ready == SIM_READY_OFF) {
            expire(e, node);
            return;
        }
        next = h->ready;
    }
    if (next != SIM_NEVER)
        wake_at(e, node, next);
}

static void on_wake(struct sim_engine *e, uint32_t node)
{
    struct sim_host *h = &e->host[node - e->first];
    if (h->wake_at != e->now)
        return;
    h->wake_at = SIM_NEVER;
    sim_time next = e->stack->next_expiry(e->stack_ctx, node);
    if (next <= e->now)
        expire(e, node);
    else if (next != SIM_NEVER)
        wake_at(e, node, next);
}

void sim_engine_ready(struct sim_engine *e, uint32_t node, sim_time now, sim_time at)
{
    struct sim_host *h = &e->host[node - e->first];
    if (h->ready == SIM_READY_OFF)
        return;
    h->ready = at;
    if (at == SIM_NEVER)
        return;
    if (e->stack->next_expiry(e->stack_ctx, node) <= now)
        wake_at(e, node, at > now ? at : now);
}

void sim_engine_deliver(struct sim_engine *e, uint32_t node, sim_time now, const struct sim_heard *heard)
{
    e->stack->receive(e->stack_ctx, node, now, heard);
    serve(e, node);
}

void sim_engine_touch(struct sim_engine *e, uint32_t node)
{
    sim_time next = e->stack->next_expiry(e->stack_ctx, node);
    if (next != SIM_NEVER)
        wake_at(e, node, next > e->now ? next : e->now);
}

/* --- mail ---------------------------------------------------------------------------------------------------------- */

static bool mail_before(const struct sim_mail *a, const struct sim_mail *b)
{
    if (a->at != b->at)
        return a->at < b->at;
    if (a->to != b->to)
        return a->to < b->to;
    if (a->from != b->from)
        return a->from < b->from;
    return a->order < b->order;
}

void sim_engine_put_mail(struct sim_engine *e, const struct sim_mail *mail)
{
    if (e->mails == e->mail_cap) {
        size_t cap = e->mail_cap ? 2 * e->mail_cap : 64;
        struct sim_mail *grown = realloc(e->mail, cap * sizeof *grown);
        if (grown == NULL) {
            sim_engine_fail(e, "out of memory for mail");
            return;
        }
        e->mail = grown;
        e->mail_cap = cap;
    }
    struct sim_mail own = *mail;
    own.data = malloc(mail->len ? mail->len : 1);
    if (own.data == NULL) {
        sim_engine_fail(e, "out of memory for mail");
        return;
    }
    if (mail->len > 0)
        memcpy(own.data, mail->data, mail->len);
    size_t i = e->mails++;
    for (; i > 0 && mail_before(&own, &e->mail[(i - 1) / 2]); i = (i - 1) / 2)
        e->mail[i] = e->mail[(i - 1) / 2];
    e->mail[i] = own;
    sim_engine_push(e, own.at, own.to, SIM_EVENT_MAIL);
}

static struct sim_mail take_mail(struct sim_engine *e)
{
    struct sim_mail first = e->mail[0], last = e->mail[--e->mails];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= e->mails)
            break;
        if (child + 1 < e->mails && mail_before(&e->mail[child + 1], &e->mail[child]))
            child++;
        if (!mail_before(&e->mail[child], &last))
            break;
        e->mail[i] = e->mail[child];
        i = child;
    }
    if (e->mails > 0)
        e->mail[i] = last;
    return first;
}

/* Events of mail come in the order of the heap, one for each. */
static void on_mail(struct sim_engine *e, uint32_t node)
{
    if (e->mails == 0 || e->mail[0].at != e->now || e->mail[0].to != node) {
        sim_engine_fail(e, "mail came out of order");
        return;
    }
    struct sim_mail m = take_mail(e);
    sim_digest(e, sim_mix(m.at ^ (sim_mix((uint64_t)m.from << 32 | m.to) + m.len)));
    if (e->stack->mail != NULL)
        e->stack->mail(e->stack_ctx, node, e->now, m.from, m.data, m.len);
    free(m.data);
    serve(e, node);
}

static unsigned rank_of(const struct sim_engine *e, uint32_t node)
{
    unsigned low = 0, high = e->ranks - 1;
    while (low < high) {
        unsigned middle = (low + high + 1) / 2;
        if (e->field->rank_first[middle] <= node)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

void sim_engine_mail(struct sim_engine *e, uint32_t from, uint32_t to, sim_time at, const uint8_t *data, size_t len)
{
    if (to >= e->field->count || len > 1024 || at < e->now + e->lookahead) {
        sim_engine_fail(e, "mail to nobody, too long, or sooner than the lookahead");
        return;
    }
    struct sim_mail mail = {.at = at, .to = to, .from = from, .order = e->mail_order++, .len = (uint32_t)len};
    mail.data = (uint8_t *)(uintptr_t)data; /* only read */
    if (sim_engine_owns(e, to))
        sim_engine_put_mail(e, &mail);
    else
        sim_air_export_mail(e, rank_of(e, to), &mail);
}

/* --- loop ---------------------------------------------------------------------------------------------------------- */

static void run_event(struct sim_engine *e, struct sim_event_key event)
{
    e->now = event.at;
    e->totals.events += sim_engine_owns(e, event.node);
    if (event.kind >= SIM_EVENT_PHY)
        e->phy->event(e->phy_ctx, event);
    else if (event.kind == SIM_EVENT_WAKE)
        on_wake(e, event.node);
    else
        on_mail(e, event.node);
}

static sim_time saturated(sim_time a, sim_time b)
{
    return a > SIM_NEVER - b ? SIM_NEVER : a + b;
}

/* What an event will touch, fetched while those before it are run. */
static void prefetch(struct sim_engine *e, struct sim_event_key event, unsigned stage)
{
    bool is_own = sim_engine_owns(e, event.node);
    if (stage == 0) {
        __builtin_prefetch(&e->pool.newest[event.node]);
        __builtin_prefetch(&e->field->link_at[event.node]);
        __builtin_prefetch(&e->field->cell_of[event.node]);
        __builtin_prefetch(&e->field->position[event.node]);
        if (is_own) {
            __builtin_prefetch(&e->host[event.node - e->first]);
            __builtin_prefetch(&e->frames[event.node - e->first]);
        }
    }
    if (stage == 1 && event.kind >= SIM_EVENT_PHY) {
        uint32_t cell = e->field->cell_of[event.node], row = e->field->cells_x;
        __builtin_prefetch(&e->cell[cell]);
        __builtin_prefetch(&e->cell[cell >= row ? cell - row : cell]);
        __builtin_prefetch(&e->cell[cell + row < row * e->field->cells_y ? cell + row : cell]);
    }
    if (event.kind == SIM_EVENT_WAKE && stage == 1 && e->stack->prefetch != NULL)
        e->stack->prefetch(e->stack_ctx, event.node);
    if (event.kind >= SIM_EVENT_PHY && e->phy->prefetch != NULL)
        e->phy->prefetch(e->phy_ctx, event, stage);
}

/* The earliest event without taking it. */
static bool peek(struct sim_engine *e, struct sim_event_key *event)
{
    struct sim_ahead *a = &e->ahead;
    while (a->count < SIM_AHEAD && sim_queue_pop(e->queue, &a->event[a->count])) {
        a->count++;
        prefetch(e, a->event[a->count - 1], 0);
    }
    if (a->count == 0)
        return false;
    *event = a->event[0];
    return true;
}

/* Takes what peek() told. */
static void take(struct sim_engine *e)
{
    struct sim_ahead *a = &e->ahead;
    a->count--;
    for (uint32_t i = 0; i < a->count; i++)
        a->event[i] = a->event[i + 1];
    if (a->count > 5)
        prefetch(e, a->event[5], 1);
    if (a->count > 2)
        prefetch(e, a->event[2], 2);
}

static sim_time next_own(struct sim_engine *e)
{
    struct sim_event_key event;
    return peek(e, &event) ? event.at : SIM_NEVER;
}

/* Everything before `until`, when nobody else is there. Windows are counted all the same. */
static void run_alone(struct sim_engine *e, sim_time until)
{
    struct sim_event_key event;
    sim_time window_end = 0;
    while (!e->has_failed && peek(e, &event) && event.at < until) {
        take(e);
        if (event.at >= window_end) {
            window_end = saturated(event.at, e->lookahead);
            e->totals.windows++;
        }
        run_event(e, event);
    }
    e->next = next_own(e);
}

/* One round among all ranks: what the others sent is taken in; returns the time of the next event anywhere. A rank that
 * has failed says 0, which everybody takes as the end. */
static sim_time exchange(struct sim_engine *e)
{
    sim_time next = next_own(e);
    for (unsigned r = 0; r < e->ranks; r++)
        e->in[r].size = 0;
    uint64_t said = e->has_failed ? 0 : next < SIM_NEVER ? next + 1 : SIM_NEVER;
    uint64_t least = sim_parallel_exchange(e->out, e->in, said);
    if (least == 0) {
        sim_engine_fail(e, "another rank failed");
        return SIM_NEVER;
    }
    for (unsigned r = 0; r < e->ranks; r++)
        if (r != e->rank)
            sim_air_import(e, &e->in[r]);
    return least == SIM_NEVER ? SIM_NEVER : least - 1;
}

static void run_together(struct sim_engine *e, sim_time until)
{
    struct sim_event_key event;
    for (;;) {
        e->next = exchange(e);
        if (e->has_failed || e->next >= until)
            break;
        sim_time end = saturated(e->next, e->lookahead);
        if (end > until)
            end = until;
        e->totals.windows++;
        while (!e->has_failed && peek(e, &event) && event.at < end) {
            take(e);
            run_event(e, event);
        }
    }
}

int sim_engine_advance(struct sim_engine *e, sim_time until)
{
    if (e->ranks > 1)
        run_together(e, until);
    else if (!e->has_failed)
        run_alone(e, until);
    if (e->has_failed)
        return -1;
    if (until > e->now && until != SIM_NEVER)
        e->now = until;
    return 0;
}

/* --- opening ------------------------------------------------------------------------------------------------------- */

#define HUGE_PAGE ((size_t)2 << 20)

void *sim_engine_alloc(size_t count, size_t size)
{
    if (count != 0 && size > SIZE_MAX / 2 / count)
        return NULL;
    size_t bytes = count * size;
    if (bytes < 2 * HUGE_PAGE)
        return calloc(count ? count : 1, size);
    bytes = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *memory = aligned_alloc(HUGE_PAGE, bytes);
    if (memory == NULL)
        return NULL;
    (void)madvise(memory, bytes, MADV_HUGEPAGE); /* speed only */
    memset(memory, 0, bytes);
    return memory;
}

static const struct sim_phy_ops *model_of(enum sim_bearer bearer)
{
    switch (bearer) {
    case SIM_BEARER_EXTENDED:
        return &sim_ble_extended;
    case SIM_BEARER_LEGACY:
        return &sim_ble_legacy;
    case SIM_BEARER_802154:
        return &sim_ieee802154;
    }
    return NULL;
}

static int allocate(struct sim_engine *e)
{
    size_t own = e->limit - e->first;
    e->queue = sim_queue_open();
    e->host = sim_engine_alloc(own, sizeof *e->host);
    e->frames = sim_engine_alloc(own, sizeof *e->frames);
    e->draws = sim_engine_alloc(own, sizeof *e->draws);
    e->out = calloc(e->ranks, sizeof *e->out);
    e->in = calloc(e->ranks, sizeof *e->in);
    if (e->queue == NULL || e->host == NULL || e->frames == NULL || e->draws == NULL || e->out == NULL ||
        e->in == NULL || sim_air_open(e) != 0)
        return -1;
    for (size_t i = 0; i < own; i++)
        e->host[i].wake_at = SIM_NEVER;
    return 0;
}

static int start_nodes(struct sim_engine *e, char *error, size_t cap)
{
    for (uint32_t node = e->first; node < e->limit; node++) {
        if (e->stack->start(e->stack_ctx, node, 0) != 0 || e->has_failed) {
            sim_engine_fail(e, "a node did not start");
            (void)snprintf(error, cap, "%s", e->error);
            return -1;
        }
        sim_engine_touch(e, node);
    }
    return 0;
}

/* What this rank alone must do; the ranks agree on the outcome afterwards. */
static int open_own(struct sim_engine *e, char *error, size_t cap)
{
    if (allocate(e) != 0) {
        (void)snprintf(error, cap, "out of memory for %u nodes", e->limit - e->first);
        return -1;
    }
    e->phy_ctx = e->phy->open(e, error, cap);
    if (e->phy_ctx == NULL)
        return -1;
    e->stack_ctx = e->stack->open(e, error, cap);
    if (e->stack_ctx == NULL)
        return -1;
    return start_nodes(e, error, cap);
}

struct sim_engine *sim_engine_open(const struct sim_engine_config *config, char *error, size_t cap)
{
    struct sim_engine *e = calloc(1, sizeof *e);
    int result = -1;
    if (e == NULL) {
        (void)snprintf(error, cap, "out of memory");
    } else {
        e->scenario = config->scenario;
        e->field = config->field;
        e->stack = config->stack;
        e->hooks = config->hooks;
        e->seed = config->seed;
        e->first = config->field->first;
        e->limit = config->field->limit;
        e->rank = config->field->halo_mask == NULL ? 0 : sim_parallel_rank();
        e->ranks = config->field->halo_mask == NULL ? 1 : sim_parallel_size();
        e->phy = model_of(config->stack->bearer);
        e->lookahead = e->phy->lookahead(config->scenario);
        result = open_own(e, error, cap);
    }
    if (config->field->halo_mask != NULL && sim_parallel_max(result != 0) != 0) {
        if (result == 0)
            (void)snprintf(error, cap, "another rank could not open its nodes");
        result = -1;
    }
    if (result == 0)
        return e;
    sim_engine_close(e);
    return NULL;
}

void sim_engine_close(struct sim_engine *e)
{
    if (e == NULL)
        return;
    if (e->stack_ctx != NULL && e->stack->close != NULL)
        e->stack->close(e->stack_ctx);
    if (e->phy_ctx != NULL)
        e->phy->close(e->phy_ctx);
    sim_air_close(e);
    for (size_t i = 0; i < e->mails; i++)
        free(e->mail[i].data);
    free(e->mail);
    for (unsigned r = 0; r < e->ranks; r++) {
        if (e->out != NULL)
            sim_buffer_free(&e->out[r]);
        if (e->in != NULL)
            sim_buffer_free(&e->in[r]);
    }
    free(e->out);
    free(e->in);
    free(e->host);
    free(e->frames);
    free(e->draws);
    sim_queue_close(e->queue);
    free(e);
}

/* --- for stacks ---------------------------------------------------------------------------------------------------- */

void sim_engine_power(struct sim_engine *e, uint32_t node, bool on)
{
    sim_time ready = e->phy->power(e->phy_ctx, node, e->now, on);
    e->host[node - e->first].ready = on ? ready : SIM_READY_OFF;
}

void sim_engine_scan(struct sim_engine *e, uint32_t node, uint32_t interval_us, uint32_t window_us)
{
    e->phy->scan(e->phy_ctx, node, e->now, interval_us, window_us);
}

uint32_t sim_engine_random(struct sim_engine *e, uint32_t node)
{
    return sim_draw(e->seed, SIM_DRAW_STACK, node, e->draws[node - e->first]++, 0);
}
