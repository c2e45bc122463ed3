/*
 * Bluetooth LE advertising, extended and legacy, as a radio model of the engine.
 *
 * Extended. A transmission is one event: an ADV_EXT_IND on 37, 38 and 39, then the AUX_ADV_IND with the data. It has
 * three events in the queue: START; PRIMARY, `delivery` after the end of the last ADV_EXT_IND, decides for each receiver
 * in range whether it caught the packet on its channel and followed; END, `delivery` after the end of the AUX, decides
 * for those that did and delivers. PRIMARY passes run in the order of their starts, which is the order in which scanners
 * meet the packets. Legacy: START, and END at which the packet on the receiver's channel decides and delivers.
 *
 * A receiver misses a transmission when (in this order)
 *   CUT          a partition separates the two when the transmission starts
 *   OFF          its radio is off or does not scan, or its scanner is outside the window, on another channel or changing
 *   HALF_DUPLEX  an event of its own overlaps the primary packet, or starts before the AUX is over
 *   DEAF         it follows an AUX since before the primary packet began
 *   NOISE        the packet alone is below the capture ratio over the noise
 *   COLLISION    the primary packet does not capture: SINR against the sum of all that is on the channel meanwhile; with
 *                capture_effect = no: anything in range on the channel meanwhile
 *   AUX          the same for the AUX on its data channel
 *   LOSS         the draw of frame_loss
 * A receiver that caught a primary packet is deaf until the AUX is over or it starts an event of its own. With
 * collisions = no the radio is ideal: only CUT, OFF (radio off or not scanning at all) and LOSS remain.
 *
 * A transmission starts at the latest of: handing in + processing; last start + interval + U(0, delay). The next frame
 * may be handed in at the latest of: end of the event; start + interval. A radio that goes off in mid-event finishes it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ble_state.h"

/* --- opening ------------------------------------------------------------------------------------------------------- */

static sim_time lookahead(const struct sim_scenario *s)
{
    return s->radio_run.delivery_us;
}

static bool is_gateway(const struct sim_field *f, uint32_t node)
{
    for (uint32_t i = 0; i < f->gateway_count; i++)
        if (f->gateway[i] == node)
            return true;
    return false;
}

static void set_scan(struct ble *b, uint32_t own, enum scan scan, uint32_t interval_us, uint32_t window_us)
{
    b->receiver[own].scan = (uint8_t)scan;
    b->account[own].interval_us = interval_us;
    b->account[own].window_us = window_us;
}

/* Three channel turns of a scanner, as long as its own interval says. */
static uint32_t turn_of(const struct account *a)
{
    return 3 * a->interval_us;
}

static void start_scanner(struct ble *b, uint32_t node)
{
    const struct sim_life *life = &b->e->scenario->life;
    uint32_t own = node - b->f->first, draw = sim_draw(b->e->seed, SIM_DRAW_SCAN, node, 0, 0);
    set_scan(b, own, SCAN_STEADY, b->interval_us, b->window_us);
    if (life->duty_ppm != 0 && sim_scale(sim_draw(b->e->seed, SIM_DRAW_SCAN, node, 1, 0), 1000000) < life->duty_ppm &&
        !is_gateway(b->f, node))
        set_scan(b, own, SCAN_DUTY, life->duty_interval_us, life->duty_window_us);
    b->receiver[own].phase = sim_scale(draw, turn_of(&b->account[own]));
}

static uint32_t find_loss_limit(const struct sim_radio *radio)
{
    uint32_t low = 0, high = 4096; /* first that does not capture */
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (sim_captures(radio, radio->tx_mdbm - (int32_t)(middle * 1000 / 16), 0))
            low = middle + 1;
        else
            high = middle;
    }
    return low; /* links below this */
}

/* The most interference at which a packet over a link captures. */
static uint64_t find_most(const struct sim_radio *radio, uint32_t loss)
{
    int32_t signal = radio->tx_mdbm - (int32_t)(loss * 1000 / 16);
    uint64_t low = 0, high = (uint64_t)1 << 50; /* captures; first known not to: above 20 dBm less any ratio */
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (sim_captures(radio, signal, middle))
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void ble_close(void *phy)
{
    struct ble *b = phy;
    if (b == NULL)
        return;
    free(b->receiver);
    free(b->account);
    free(b->most);
    free(b->heard);
    free(b->disturber);
    free(b);
}

static uint32_t most_links(const struct sim_field *f)
{
    uint32_t most = 0, n;
    for (uint32_t i = 0; i < f->count; i++) {
        (void)sim_field_links(f, i, &n);
        most = n > most ? n : most;
    }
    return most;
}

/* The longest event must fit sim_tx.span_us; and two own events must be enough to remember. */
static const char *check(const struct sim_scenario *s)
{
    struct sim_event event;
    sim_event_plan(&event, &s->radio, 0, 7, SIM_PHY_1M, (enum sim_phy)s->radio_run.secondary_phy, 0, SIM_AD_MAX);
    if (event.aux.end > SIM_SPAN_MAX)
        return "an advertising event would be longer than 65 ms: make the gaps shorter";
    if (s->radio_run.delivery_us < 1 || s->radio_run.delivery_us > DELIVERY_MAX_US)
        return "delivery must be at most 10 ms";
    if (s->radio_run.scan_window_us == 0 || s->radio_run.scan_window_us > s->radio_run.scan_interval_us ||
        s->radio_run.scan_interval_us > 40960000)
        return "scan_window must be above 0 and at most scan_interval, and that at most 40.96 s";
    if (s->life.duty_ppm != 0 && (s->life.duty_window_us == 0 || s->life.duty_window_us > s->life.duty_interval_us ||
                                  s->life.duty_interval_us > 40960000))
        return "duty_window must be above 0 and at most duty_interval, and that at most 40.96 s";
    return NULL;
}

static void *open_model(struct sim_engine *e, bool is_legacy, char *error, size_t cap)
{
    const struct sim_scenario *s = e->scenario;
    const char *why = check(s);
    if (why != NULL) {
        (void)snprintf(error, cap, "%s", why);
        return NULL;
    }
    struct ble *b = calloc(1, sizeof *b);
    if (b == NULL)
        goto out;
    b->e = e;
    b->f = e->field;
    b->radio = &s->radio;
    b->is_legacy = is_legacy;
    b->is_ideal = !s->radio_run.collisions;
    b->has_capture = s->radio_run.capture_effect;
    b->airtime_us = sim_airtime_ext_ind_us(SIM_PHY_1M);
    b->step_us = b->airtime_us + s->radio.primary_gap_us;
    b->interval_us = s->radio_run.scan_interval_us;
    b->window_us = s->radio_run.scan_window_us;
    b->turn_us = 3 * b->interval_us;
    b->delivery_us = s->radio_run.delivery_us;
    b->loss_limit = find_loss_limit(&s->radio);
    b->in_range = sim_linear(s->radio.sensitivity_mdbm);
    b->loss_ppm = s->loss_ppm;
    b->aux_phy = (enum sim_phy)s->radio_run.secondary_phy;
    b->disturber_cap = 64;
    b->receiver = sim_engine_alloc(e->limit - e->first, sizeof *b->receiver);
    b->account = sim_engine_alloc(e->limit - e->first, sizeof *b->account);
    b->most = calloc(b->loss_limit + 1u, sizeof *b->most);
    b->heard = calloc(most_links(b->f) + 1u, sizeof *b->heard);
    b->disturber = calloc(b->disturber_cap, sizeof *b->disturber);
    if (b->receiver == NULL || b->account == NULL || b->most == NULL || b->heard == NULL || b->disturber == NULL)
        goto out;
    for (uint32_t loss = 0; loss < b->loss_limit; loss++)
        b->most[loss] = find_most(b->radio, loss);
    for (uint32_t node = e->first; node < e->limit; node++)
        start_scanner(b, node);
    return b;
out:
    (void)snprintf(error, cap, "out of memory for %u radios", e->limit - e->first);
    ble_close(b);
    return NULL;
}

static void *open_extended(struct sim_engine *e, char *error, size_t cap)
{
    return open_model(e, false, error, cap);
}

static void *open_legacy(struct sim_engine *e, char *error, size_t cap)
{
    return open_model(e, true, error, cap);
}

/* --- sending ------------------------------------------------------------------------------------------------------- */

static void submit(void *phy, uint32_t node, sim_time now, const struct sim_frame *frame)
{
    struct ble *b = phy;
    const struct receiver *r = &b->receiver[node - b->f->first];
    struct sim_tx *tx = sim_engine_tx_new(b->e, node, frame);
    if (tx == NULL)
        return;
    tx->start = now + b->radio->processing_us;
    uint32_t number = sim_engine_tx_number(b->e, node);
    if (number > 0) {
        uint32_t draw = sim_draw(b->e->seed, SIM_DRAW_DELAY, node, number - 1, 0);
        sim_time paced = r->start + b->radio->interval_us + sim_scale(draw, b->radio->delay_us + 1);
        if (paced > tx->start)
            tx->start = paced;
    }
    sim_engine_push(b->e, tx->start, node, EVENT_START);
}

static void trace(struct ble *b, const struct sim_tx *tx, const struct timing *t)
{
    struct sim_sent sent = {.node = tx->node,
                            .number = tx->number,
                            .bearer = b->is_legacy ? SIM_BEARER_LEGACY : SIM_BEARER_EXTENDED,
                            .phy = SIM_PHY_1M,
                            .tx_mdbm = b->radio->tx_mdbm,
                            .type = tx->type,
                            .data = tx->data,
                            .len = tx->len};
    for (unsigned i = 0; i < SIM_PRIMARY_COUNT; i++) {
        sent.start = tx->start + i * t->step_us;
        sent.end = sent.start + t->packet_us;
        sent.channel = (uint8_t)(SIM_PRIMARY_FIRST + i);
        sent.part = (uint8_t)i;
        sent.aux_channel = b->is_legacy ? 0 : tx->channel;
        sent.aux_offset_us = b->is_legacy ? 0 : t->aux_us - i * t->step_us;
        sim_engine_sent(b->e, &sent);
    }
    if (b->is_legacy)
        return;
    sent.start = tx->start + t->aux_us;
    sent.end = tx->start + t->span_us;
    sent.channel = tx->channel;
    sent.phy = (uint8_t)b->aux_phy;
    sent.part = 3;
    sent.aux_offset_us = 0;
    sim_engine_sent(b->e, &sent);
}

static void push_evaluation(struct ble *b, const struct sim_tx *tx, const struct timing *t)
{
    if (!b->is_legacy)
        sim_engine_push(b->e, tx->start + t->primary_us + b->delivery_us, tx->node, EVENT_PRIMARY);
    sim_engine_push(b->e, tx->start + tx->span_us + b->delivery_us, tx->node, EVENT_END);
}

/* Time spent in an own event is not spent listening. */
static void account_event(struct ble *b, uint32_t own, const struct timing *t, uint32_t airtime_us)
{
    struct account *a = &b->account[own];
    a->tx_us += airtime_us;
    if (b->receiver[own].scan == SCAN_STEADY && a->window_us == a->interval_us)
        a->rx_us -= t->span_us;
    else if (b->receiver[own].scan >= SCAN_STEADY)
        a->rx_us -= (uint64_t)t->span_us * a->window_us / a->interval_us;
}

static void on_start(struct ble *b, uint32_t node, sim_time now)
{
    struct sim_tx *tx = sim_engine_tx_first(b->e, node);
    if (tx == NULL || tx->has_begun || tx->start != now)
        return; /* dropped when the radio went off */
    uint32_t own = node - b->f->first;
    struct receiver *r = &b->receiver[own];
    struct timing t = timing_of(b, tx->len);
    uint32_t draw = sim_draw(b->e->seed, SIM_DRAW_CHANNEL, node, sim_engine_tx_number(b->e, node), 0);
    tx->channel = b->is_legacy ? 0 : (uint8_t)sim_scale(draw, SIM_DATA_CHANNELS);
    tx->span_us = t.span_us;
    uint32_t airtime_us = 3 * t.packet_us + (b->is_legacy ? 0 : t.span_us - t.aux_us);
    sim_engine_begin(b->e, tx, airtime_us);
    push_evaluation(b, tx, &t);

    r->before = now - r->start > UINT32_MAX ? UINT32_MAX : (uint32_t)(now - r->start);
    r->span[1] = r->span[0];
    r->start = now;
    r->span[0] = (uint16_t)t.span_us;
    if (r->follow_until > now)
        r->follow_until = now;
    account_event(b, own, &t, airtime_us);
    if (sim_engine_is_traced(b->e))
        trace(b, tx, &t);
    sim_time end = now + t.span_us, paced = now + b->radio->interval_us;
    sim_engine_ready(b->e, node, now, end > paced ? end : paced);
}

static void arrived(void *phy, struct sim_tx *tx)
{
    struct ble *b = phy;
    struct timing t = timing_of(b, tx->len);
    push_evaluation(b, tx, &t);
}

static void event(void *phy, struct sim_event_key event_key)
{
    struct ble *b = phy;
    if (event_key.kind == EVENT_START) {
        on_start(b, event_key.node, event_key.at);
        return;
    }
    struct sim_tx *tx = sim_engine_tx_first(b->e, event_key.node);
    for (; tx != NULL; tx = sim_engine_tx_next(b->e, tx)) {
        if (!tx->has_begun)
            continue;
        if (event_key.kind == EVENT_PRIMARY &&
            tx->start + 2 * b->step_us + b->airtime_us + b->delivery_us == event_key.at) {
            sim_ble_primary(b, tx);
            return;
        }
        if (event_key.kind == EVENT_END && tx->start + tx->span_us + b->delivery_us == event_key.at) {
            sim_ble_end(b, tx, event_key.at);
            return;
        }
    }
}

/* --- power, scanning, accounts ------------------------------------------------------------------------------------- */

/* Adds the listening since the last change. */
static void settle(struct ble *b, uint32_t own, sim_time now)
{
    struct account *a = &b->account[own];
    uint64_t for_us = now - a->since;
    if (b->receiver[own].scan >= SCAN_STEADY) {
        /* in two parts, so that years fit */
        a->rx_us += for_us / a->interval_us * a->window_us + for_us % a->interval_us * a->window_us / a->interval_us;
    }
    a->since = now;
}

static enum scan scan_of(const struct ble *b, const struct account *a)
{
    if (a->window_us == 0)
        return SCAN_NONE;
    return a->interval_us == b->interval_us && a->window_us == b->window_us ? SCAN_STEADY : SCAN_DUTY;
}

/* A scanner that starts now is on channel 37. */
static void restart_scanner(struct ble *b, uint32_t own, sim_time now)
{
    struct account *a = &b->account[own];
    struct receiver *r = &b->receiver[own];
    r->scan = (uint8_t)scan_of(b, a);
    if (r->scan != SCAN_NONE)
        r->phase = (uint32_t)((turn_of(a) - now % turn_of(a)) % turn_of(a));
}

/* After power-on it is drawn when: real devices never start together, and many do here, at time 0. */
static void power_scanner(struct ble *b, uint32_t own, sim_time now)
{
    struct account *a = &b->account[own];
    restart_scanner(b, own, now);
    if (b->receiver[own].scan != SCAN_NONE)
        b->receiver[own].phase =
            sim_scale(sim_draw(b->e->seed, SIM_DRAW_SCAN, b->f->first + own, 2 + (uint32_t)(now >> 32), (uint32_t)now),
                      turn_of(a));
}

static void drop_waiting(struct ble *b, uint32_t node)
{
    struct sim_tx *tx = sim_engine_tx_first(b->e, node);
    if (tx != NULL && !tx->has_begun)
        sim_engine_tx_release(b->e, tx);
}

static sim_time power(void *phy, uint32_t node, sim_time now, bool on)
{
    struct ble *b = phy;
    uint32_t own = node - b->f->first;
    struct receiver *r = &b->receiver[own];
    if (!on) {
        settle(b, own, now);
        r->scan = SCAN_OFF;
        drop_waiting(b, node);
        return SIM_NEVER;
    }
    if (r->scan == SCAN_OFF) {
        settle(b, own, now);
        r->was_off = 1;
        b->account[own].on_since = now;
        power_scanner(b, own, now);
    }
    const struct sim_tx *tx = sim_engine_tx_first(b->e, node);
    if (tx != NULL && !tx->has_begun)
        return SIM_NEVER;
    sim_time end = r->start + r->span[0], paced = r->span[0] != 0 ? r->start + b->radio->interval_us : 0;
    return end > paced ? end : paced;
}

static void scan(void *phy, uint32_t node, sim_time now, uint32_t interval_us, uint32_t window_us)
{
    struct ble *b = phy;
    uint32_t own = node - b->f->first;
    if (window_us > interval_us || interval_us > 40960000) {
        sim_engine_fail(b->e, "a stack asked for a scan window longer than its interval, or an interval above 40.96 s");
        return;
    }
    settle(b, own, now);
    b->account[own].interval_us = interval_us;
    b->account[own].window_us = window_us;
    if (b->receiver[own].scan != SCAN_OFF)
        restart_scanner(b, own, now);
}

static void use(const void *phy, uint32_t node, sim_time now, struct sim_radio_use *radio_use)
{
    const struct ble *b = phy;
    uint32_t own = node - b->f->first;
    const struct account *a = &b->account[own];
    uint64_t rx_us = a->rx_us, for_us = now - a->since;
    if (b->receiver[own].scan >= SCAN_STEADY)
        rx_us += for_us / a->interval_us * a->window_us + for_us % a->interval_us * a->window_us / a->interval_us;
    radio_use->tx_us = a->tx_us;
    radio_use->rx_us = rx_us > UINT64_MAX / 2 ? 0 : rx_us; /* an event just begun counts as a whole */
}

static size_t bytes(const void *phy)
{
    const struct ble *b = phy;
    return sizeof *b + (size_t)(b->e->limit - b->e->first) * (sizeof *b->receiver + sizeof *b->account);
}

/* --- checkpoint ---------------------------------------------------------------------------------------------------- */

static int save(void *phy, struct sim_archive *a)
{
    const struct ble *b = phy;
    size_t own = b->e->limit - b->e->first;
    (void)sim_archive_put(a, b->receiver, own * sizeof *b->receiver);
    return sim_archive_put(a, b->account, own * sizeof *b->account);
}

static int load(void *phy, struct sim_archive *a)
{
    struct ble *b = phy;
    size_t own = b->e->limit - b->e->first;
    if (sim_archive_get(a, b->receiver, own * sizeof *b->receiver) != 0 ||
        sim_archive_get(a, b->account, own * sizeof *b->account) != 0)
        return -1;
    for (size_t i = 0; i < own; i++) {
        const struct receiver *r = &b->receiver[i];
        if (r->scan > SCAN_DUTY || (r->scan >= SCAN_STEADY && b->account[i].interval_us == 0) ||
            (r->scan == SCAN_STEADY && r->phase >= b->turn_us))
            return sim_archive_fail(a, "the state of a radio in the checkpoint cannot be");
    }
    return 0;
}

const struct sim_phy_ops sim_ble_extended = {.name = "Bluetooth LE extended advertising",
                                             .lookahead = lookahead,
                                             .open = open_extended,
                                             .close = ble_close,
                                             .submit = submit,
                                             .event = event,
                                             .arrived = arrived,
                                             .power = power,
                                             .scan = scan,
                                             .use = use,
                                             .prefetch = sim_ble_prefetch,
                                             .bytes = bytes,
                                             .save = save,
                                             .load = load};

const struct sim_phy_ops sim_ble_legacy = {.name = "Bluetooth LE legacy advertising",
                                           .lookahead = lookahead,
                                           .open = open_legacy,
                                           .close = ble_close,
                                           .submit = submit,
                                           .event = event,
                                           .arrived = arrived,
                                           .power = power,
                                           .scan = scan,
                                           .use = use,
                                           .prefetch = sim_ble_prefetch,
                                           .bytes = bytes,
                                           .save = save,
                                           .load = load};
