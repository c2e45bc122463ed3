/* Who hears an advertising event: the verdicts of ble.c's introduction, for all receivers of a transmission at once. */
#include <stdlib.h>
#include <string.h>

#include "ble_state.h"

#define HEARD_TURN 30 /* a node has fewer links than that many bits can tell */
#define HEARD_LINK (UINT32_MAX >> (32 - HEARD_TURN))
#define AHEAD 3 /* receivers whose state is fetched ahead */

/* --- verdicts ------------------------------------------------------------------------------------------------------ */

/*
 * An own event overlaps [from, to). Events of a node start 20 ms apart or more and end before the next starts; what is
 * decided ended at most DELIVERY_MAX_US ago; so the latest and the one before are enough.
 */
static bool has_own_event(const struct receiver *r, sim_time from, sim_time to)
{
    if (r->start + FAR_US < from)
        return false;
    if (r->start < to && r->start + r->span[0] > from && r->span[0] != 0)
        return true;
    sim_time start = r->start - r->before;
    return r->span[1] != 0 && start < to && start + r->span[1] > from;
}

/* The first own event that starts in [from, to), or SIM_NEVER. */
static sim_time own_start(const struct receiver *r, sim_time from, sim_time to)
{
    if (r->start < from)
        return SIM_NEVER;
    sim_time before = r->start - r->before;
    if (r->span[1] != 0 && before >= from && before < to)
        return before;
    return r->span[0] != 0 && r->start < to ? r->start : SIM_NEVER;
}

/* Does the packet capture at the receiver, and if not, because of noise or of others? */
static enum sim_outcome capture(const struct ble *b, const struct sim_link link, uint32_t to, uint32_t disturbers,
                                sim_time at)
{
    if (link.loss >= b->loss_limit)
        return SIM_MISSED_NOISE;
    if (disturbers == 0)
        return SIM_HEARD;
    uint64_t sum = 0, most = b->most[link.loss];
    for (uint32_t i = 0; i < disturbers; i++) {
        uint64_t power = sim_engine_power_at(b->e, b->disturber[i].node, to, at);
        sum += power;
        if (b->has_capture ? sum > most : power >= b->in_range)
            return SIM_MISSED_COLLISION;
    }
    return SIM_HEARD;
}

/* Copies what the engine has collected: it reuses its list. */
static uint32_t keep_disturbers(struct ble *b, const struct sim_on_air *o, uint32_t count)
{
    if (count > b->disturber_cap) {
        struct sim_on_air *grown = realloc(b->disturber, 2 * count * sizeof *grown);
        if (grown == NULL) {
            sim_engine_fail(b->e, "out of memory for transmissions");
            return 0;
        }
        b->disturber = grown;
        b->disturber_cap = 2 * count;
    }
    if (count > 0)
        memcpy(b->disturber, o, count * sizeof *o);
    return count;
}

/* Those whose primary packets may overlap ours on the same channel. All extended events have the same layout, so theirs
 * do on all channels or on none; of legacy events, whose packets differ in length, anything that overlaps is kept. */
static uint32_t find_primary_disturbers(struct ble *b, const struct sim_tx *tx, const struct timing *t)
{
    uint32_t count;
    const struct sim_on_air *o;
    if (b->is_ideal)
        return 0;
    if (b->is_legacy) {
        o = sim_engine_collect(b->e, tx->node, tx->start, tx->start + t->primary_us, &count);
    } else {
        sim_time first = tx->start >= t->packet_us ? tx->start - t->packet_us + 1 : 0;
        o = sim_engine_collect_started(b->e, tx->node, first, tx->start + t->packet_us - 1, &count);
    }
    return keep_disturbers(b, o, count);
}

static uint32_t find_aux_disturbers(struct ble *b, const struct sim_tx *tx, const struct timing *t)
{
    uint32_t count, kept = 0;
    if (b->is_ideal)
        return 0;
    sim_time from = tx->start + t->aux_us, to = tx->start + tx->span_us;
    const struct sim_on_air *o = sim_engine_collect_on(b->e, tx->node, from, to, tx->channel, &count);
    count = keep_disturbers(b, o, count);
    for (uint32_t i = 0; i < count; i++)
        if (b->disturber[i].start + t->aux_us < to)
            b->disturber[kept++] = b->disturber[i];
    return kept;
}

/* Legacy: keeps only those whose packet on channel `turn` overlaps ours, at the front. */
static uint32_t pick_legacy(struct ble *b, uint32_t disturbers, unsigned turn, sim_time from, sim_time to)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < disturbers; i++) {
        struct sim_on_air o = b->disturber[i];
        uint32_t packet = (o.span_us - 2 * b->radio->primary_gap_us) / 3;
        sim_time start = o.start + turn * (packet + b->radio->primary_gap_us);
        if (start >= to || start + packet <= from)
            continue;
        b->disturber[i] = b->disturber[kept];
        b->disturber[kept++] = o;
    }
    return kept;
}

/* What one transmission is for all its receivers. */
struct pass {
    const struct sim_tx *tx;
    struct timing t;
    uint64_t key;
    uint32_t disturbers;
    uint32_t into_turn; /* start modulo the turn of steady scanners */
    bool may_cut;
};

/* What the packet on channel 37 + turn means to a receiver that listens there all through it. */
static enum sim_outcome catch_packet(struct ble *b, const struct pass *p, const struct receiver *r,
                                     struct sim_link link, unsigned turn)
{
    sim_time start = p->tx->start + turn * p->t.step_us, end = start + p->t.packet_us;
    b->turn = turn;
    if (has_own_event(r, start, end))
        return SIM_MISSED_HALF_DUPLEX;
    if (r->follow_until > start)
        return SIM_MISSED_DEAF;
    uint32_t disturbers = p->disturbers;
    if (b->is_legacy && disturbers > 0)
        disturbers = pick_legacy(b, disturbers, turn, start, end);
    return capture(b, link, link.node, disturbers, p->tx->start);
}

/* A scanner may change channel in mid-event: packet by packet. */
static enum sim_outcome catch_any(struct ble *b, const struct pass *p, const struct receiver *r,
                                  const struct account *a, struct sim_link link)
{
    enum sim_outcome outcome = SIM_MISSED_OFF;
    for (unsigned i = 0; i < SIM_PRIMARY_COUNT; i++) {
        sim_time start = p->tx->start + i * p->t.step_us + r->phase;
        if (sim_scan_channel(0, a->interval_us, a->window_us, start, start + p->t.packet_us) != SIM_PRIMARY_FIRST + i)
            continue;
        outcome = catch_packet(b, p, r, link, i);
        if (outcome == SIM_HEARD)
            break;
    }
    return outcome;
}

/* The radio was off at that time, or part of the time since. Once that is long ago nobody asks about it any more. */
static bool was_off_at(const struct ble *b, struct receiver *r, sim_time at)
{
    if (!r->was_off)
        return false;
    sim_time on_since = b->account[r - b->receiver].on_since;
    if (on_since + FAR_US < at)
        r->was_off = 0;
    return on_since > at;
}

static enum sim_outcome decide_primary(struct ble *b, const struct pass *p, struct receiver *r, struct sim_link link)
{
    if (p->may_cut && sim_engine_is_cut(b->e, p->tx->node, link.node, p->tx->start))
        return SIM_MISSED_CUT;
    if (r->scan <= SCAN_NONE || was_off_at(b, r, p->tx->start))
        return SIM_MISSED_OFF;
    if (b->is_ideal)
        return SIM_HEARD;
    if (r->scan == SCAN_STEADY) {
        uint32_t x = p->into_turn + r->phase, interval = b->interval_us;
        x = x >= b->turn_us ? x - b->turn_us : x;
        unsigned turn = (unsigned)(x >= interval) + (unsigned)(x >= 2 * interval);
        if (x - turn * interval + p->t.primary_us <= b->window_us)
            return catch_packet(b, p, r, link, turn);
    }
    return catch_any(b, p, r, &b->account[link.node - b->f->first], link);
}

static enum sim_outcome decide_loss(const struct ble *b, const struct sim_tx *tx, uint32_t to)
{
    if (b->loss_ppm == 0)
        return SIM_HEARD;
    uint32_t draw = sim_draw(b->e->seed, SIM_DRAW_LOSS, tx->node, tx->number, to);
    return sim_scale(draw, 1000000) < b->loss_ppm ? SIM_MISSED_LOSS : SIM_HEARD;
}

/* Of a receiver that caught the primary packet. */
static enum sim_outcome decide_aux(struct ble *b, const struct pass *p, struct receiver *r, struct sim_link link)
{
    const struct sim_tx *tx = p->tx;
    if (r->scan <= SCAN_NONE || was_off_at(b, r, tx->start))
        return SIM_MISSED_OFF;
    if (!b->is_ideal) {
        if (own_start(r, tx->start, tx->start + tx->span_us) != SIM_NEVER)
            return SIM_MISSED_HALF_DUPLEX;
        if (p->disturbers > 0 && capture(b, link, link.node, p->disturbers, tx->start) != SIM_HEARD)
            return SIM_MISSED_AUX;
    }
    return decide_loss(b, tx, link.node);
}

/* --- passes -------------------------------------------------------------------------------------------------------- */

static struct pass begin_pass(struct ble *b, const struct sim_tx *tx)
{
    struct pass p = {.tx = tx, .t = timing_of(b, tx->len), .key = sim_tx_key(tx)};
    p.into_turn = (uint32_t)(tx->start % b->turn_us);
    p.may_cut = tx->start >= b->e->cut_from && tx->start < b->e->cut_until;
    return p;
}

void sim_ble_primary(struct ble *b, struct sim_tx *tx)
{
    uint32_t links;
    const struct sim_link *link = sim_field_links(b->f, tx->node, &links);
    struct pass p = begin_pass(b, tx);
    p.disturbers = find_primary_disturbers(b, tx, &p.t);
    sim_time end = tx->start + tx->span_us;
    for (uint32_t i = 0; i < links; i++) {
        struct receiver *r = &b->receiver[link[i].node - b->f->first];
        enum sim_outcome outcome = decide_primary(b, &p, r, link[i]);
        if (outcome == SIM_HEARD) {
            /* an own event that began since then has already ended the following */
            sim_time own = own_start(r, tx->start, end), until = own < end ? own : end;
            if (until > r->follow_until)
                r->follow_until = until;
            tx->caught[i / 64] |= (uint64_t)1 << i % 64;
        } else {
            sim_count_outcome(b->e, p.key, link[i].node, outcome);
        }
    }
}

static int8_t rssi(const struct ble *b, struct sim_link link)
{
    int32_t mdbm = b->radio->tx_mdbm - SIM_LINK_MDB(link);
    int32_t dbm = (mdbm >= 0 ? mdbm + 500 : mdbm - 500) / 1000;
    return (int8_t)(dbm < -127 ? -127 : dbm > 20 ? 20 : dbm);
}

static void deliver(struct ble *b, const struct sim_tx *tx, const struct sim_link *link, uint32_t heard, sim_time now)
{
    const struct sim_stack *stack = b->e->stack;
    struct sim_heard h = {
        .at = tx->start + tx->span_us, .from = tx->node, .number = tx->number, .data = tx->data, .len = tx->len};
    const struct timing t = timing_of(b, tx->len);
    for (uint32_t k = 0; k < heard; k++) {
        if (k + AHEAD < heard) {
            uint32_t later = link[b->heard[k + AHEAD] & HEARD_LINK].node;
            __builtin_prefetch(&b->e->host[later - b->f->first]);
            if (stack->prefetch != NULL)
                stack->prefetch(b->e->stack_ctx, later);
        }
        const struct sim_link to = link[b->heard[k] & HEARD_LINK];
        if (b->is_legacy) /* the packet on the receiver's channel, not the event */
            h.at = tx->start + (b->heard[k] >> HEARD_TURN) * t.step_us + t.packet_us;
        h.rssi_dbm = rssi(b, to);
        sim_engine_deliver(b->e, to.node, now, &h);
    }
}

/* Decides for every receiver that still can hear it, and then delivers: nothing that a stack does can change what
 * others hear of this transmission. */
void sim_ble_end(struct ble *b, struct sim_tx *tx, sim_time now)
{
    uint32_t links, heard = 0;
    const struct sim_link *link = sim_field_links(b->f, tx->node, &links);
    const struct sim_stack *stack = b->e->stack;
    struct pass p = begin_pass(b, tx);
    b->turn = SIM_PRIMARY_COUNT - 1; /* where no packet is decided: ideal radio, extended advertising */
    p.disturbers = b->is_legacy ? find_primary_disturbers(b, tx, &p.t) : find_aux_disturbers(b, tx, &p.t);
    for (uint32_t i = 0; i < links; i++) {
        if (!b->is_legacy && !(tx->caught[i / 64] >> i % 64 & 1))
            continue;
        struct receiver *r = &b->receiver[link[i].node - b->f->first];
        enum sim_outcome outcome;
        if (b->is_legacy) {
            outcome = decide_primary(b, &p, r, link[i]);
            outcome = outcome == SIM_HEARD ? decide_loss(b, tx, link[i].node) : outcome;
        } else {
            outcome = decide_aux(b, &p, r, link[i]);
        }
        sim_count_outcome(b->e, p.key, link[i].node, outcome);
        if (outcome != SIM_HEARD)
            continue;
        if (heard < AHEAD) {
            __builtin_prefetch(&b->e->host[link[i].node - b->f->first]);
            if (stack->prefetch != NULL)
                stack->prefetch(b->e->stack_ctx, link[i].node);
        }
        b->heard[heard++] = i | b->turn << HEARD_TURN;
    }
    deliver(b, tx, link, heard, now);
    sim_engine_tx_release(b->e, tx);
}

/* Stage 1: the transmission and the links; stage 2: the receivers. */
void sim_ble_prefetch(void *phy, struct sim_event_key next, unsigned stage)
{
    struct ble *b = phy;
    if (stage == 0 || next.kind == EVENT_START) {
        if (stage == 0 && sim_engine_owns(b->e, next.node))
            __builtin_prefetch(&b->receiver[next.node - b->f->first]);
        return;
    }
    const struct sim_tx *tx = sim_engine_tx_first(b->e, next.node);
    uint32_t links;
    const struct sim_link *link = sim_field_links(b->f, next.node, &links);
    if (tx == NULL)
        return;
    if (stage == 1) {
        __builtin_prefetch(tx);
        __builtin_prefetch(tx->caught);
        if (next.kind == EVENT_END)
            __builtin_prefetch(tx->data + 32);
        for (uint32_t i = 0; i < links; i += 16)
            __builtin_prefetch(&link[i]);
        return;
    }
    bool is_first = next.kind == EVENT_PRIMARY || b->is_legacy;
    for (uint32_t i = 0; i < links; i++) {
        if (!is_first && !(tx->caught[i / 64] >> i % 64 & 1))
            continue;
        __builtin_prefetch(&b->receiver[link[i].node - b->f->first]);
        if (next.kind == EVENT_END)
            __builtin_prefetch(&b->e->host[link[i].node - b->f->first]);
    }
}
