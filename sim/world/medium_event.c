/*
 * One advertising event from start to end: who could catch its ADV_EXT_IND, who still listened when its AUX was over.
 * Every verdict falls at the end of the PDU it is about, when everything that overlapped the PDU has begun.
 */
#include <string.h>

#include "medium_state.h"

static void list_near(struct sim_medium *m, uint32_t device)
{
    struct device *d = &m->device[device];
    int32_t reach = 20000 - m->config.radio.sensitivity_mdbm; /* at the highest power there is */
    d->near_count = 0;
    for (uint32_t j = 0; j < m->count; j++)
        if (j != device && path_loss(m, device, j) <= reach)
            d->near[d->near_count++] = j;
    d->near_valid = true;
}

static void list_hearers(struct sim_medium *m, struct on_air *event)
{
    struct device *d = &m->device[event->device];
    if (!d->near_valid)
        list_near(m, event->device);
    event->hearers = 0;
    for (size_t i = 0; i < d->near_count; i++) {
        uint32_t j = d->near[i];
        if (event->tx_mdbm - path_loss(m, event->device, j) < m->config.radio.sensitivity_mdbm)
            continue;
        event->verdict[event->hearers] = SIM_LOST_OFF;
        event->hearer[event->hearers++] = j;
    }
}

static sim_time last_end(const struct on_air *event)
{
    return event->cut < event->plan.aux.end ? event->cut : event->plan.aux.end;
}

/* Adds an event to those that may interfere and drops those that no PDU on air can overlap any more. */
static void put_on_air(struct sim_medium *m, struct on_air *event)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->air_count; i++)
        if (m->air[i] != event && last_end(m->air[i]) + m->longest_us > m->now)
            m->air[kept++] = m->air[i];
    m->air[kept++] = event;
    m->air_count = kept;
}

static uint32_t event_airtime_us(const struct sim_event *plan)
{
    uint64_t sum = plan->aux.end - plan->aux.start;
    for (unsigned i = 0; i < plan->primaries; i++)
        sum += plan->primary[i].end - plan->primary[i].start;
    return (uint32_t)sum;
}

static void count_start(struct sim_medium_counters *c, const struct on_air *event)
{
    c->events++;
    c->bytes += event->len;
    c->airtime_us += event_airtime_us(&event->plan);
}

void sim_event_start(struct sim_medium *m, uint32_t device, unsigned set)
{
    const struct sim_radio *radio = &m->config.radio;
    struct device *d = &m->device[device];
    struct adv_set *s = &d->set[set];

    sim_event_unfollow(m, device, SIM_LOST_HALF_DUPLEX);
    d->current ^= 1;
    d->on_air = true;
    d->pdu = 0;
    struct on_air *event = &d->event[d->current];
    event->device = device;
    event->number = d->number++;
    event->set = (uint8_t)set;
    event->sid = s->params.sid;
    event->secondary_phy = s->params.secondary_phy;
    event->tx_mdbm = s->params.tx_mdbm == SIM_TX_DEFAULT ? radio->tx_mdbm : s->params.tx_mdbm;
    event->start = m->now;
    event->cut = SIM_NEVER;
    event->len = s->len;
    memcpy(event->data, s->data, s->len);
    uint32_t channel =
        sim_scale(sim_draw(m->config.seed, SIM_DRAW_CHANNEL, device, event->number, 0), SIM_DATA_CHANNELS);
    sim_event_plan(&event->plan, radio, m->now, s->params.channel_map, SIM_PHY_1M, (enum sim_phy)event->secondary_phy,
                   channel, (unsigned)s->len);
    uint32_t aux_us = (uint32_t)(event->plan.aux.end - event->plan.aux.start);
    if (aux_us > m->longest_us)
        m->longest_us = aux_us;
    list_hearers(m, event);
    put_on_air(m, event);
    count_start(&m->counters, event);
    count_start(&d->counters, event);

    uint32_t delay = sim_scale(sim_draw(m->config.seed, SIM_DRAW_DELAY, device, event->number, 0), radio->delay_us + 1);
    uint32_t interval = s->params.interval_us > radio->interval_us ? s->params.interval_us : radio->interval_us;
    d->next_start = m->now + radio->interval_us + delay;
    s->due = m->now + interval + delay;
    s->events++;
}

/* --- verdicts ----------------------------------------------------------------------------------------------------- */

static bool overlaps(const struct sim_pdu *a, const struct sim_pdu *b)
{
    return a->start < b->end && b->start < a->end;
}

static bool radiates_during(const struct on_air *event, const struct sim_pdu *own, const struct sim_pdu *pdu)
{
    return own->channel == pdu->channel && own->start < event->cut && overlaps(own, pdu);
}

/* Sum of the powers of every other PDU on this one's channel during it, as `listener` receives them. */
static uint64_t interference(const struct sim_medium *m, const struct on_air *event, const struct sim_pdu *pdu,
                             uint32_t listener)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < m->air_count; i++) {
        const struct on_air *other = m->air[i];
        if (other == event || other->device == listener)
            continue;
        int32_t loss = path_loss(m, other->device, listener);
        if (loss == SIM_LOSS_NONE)
            continue;
        bool heard = radiates_during(other, &other->plan.aux, pdu);
        for (unsigned p = 0; p < other->plan.primaries && !heard; p++)
            heard = radiates_during(other, &other->plan.primary[p], pdu);
        if (heard)
            sum += sim_linear(other->tx_mdbm - loss);
    }
    return sum;
}

static bool is_transmitting(const struct device *d, const struct sim_pdu *pdu)
{
    if (d->number == 0)
        return false;
    const struct on_air *event = &d->event[d->current];
    if (event->start < pdu->end && last_end(event) > pdu->start)
        return true;
    if (d->number == 1)
        return false;
    event = &d->event[d->current ^ 1];
    return event->start < pdu->end && last_end(event) > pdu->start;
}

static bool captures(const struct sim_medium *m, const struct on_air *event, const struct sim_pdu *pdu,
                     uint32_t listener)
{
    int32_t loss = path_loss(m, event->device, listener);
    return loss != SIM_LOSS_NONE &&
           sim_captures(&m->config.radio, event->tx_mdbm - loss, interference(m, event, pdu, listener));
}

/* What a primary PDU that ends now means to a device in range of it. */
static uint8_t catch_primary(const struct sim_medium *m, const struct on_air *event, const struct sim_pdu *pdu,
                             uint32_t listener, uint8_t before)
{
    const struct device *d = &m->device[listener];
    if (before == FOLLOWING || !d->scanning)
        return before;
    if (sim_scan_channel(d->scan_origin, d->scan_interval_us, d->scan_window_us, pdu->start, pdu->end) != pdu->channel)
        return before;
    if (is_transmitting(d, pdu))
        return SIM_LOST_HALF_DUPLEX;
    if (d->follow_until > pdu->start)
        return SIM_LOST_DEAF;
    return captures(m, event, pdu, listener) ? FOLLOWING : SIM_LOST_PRIMARY;
}

static void primary_end(struct sim_medium *m, struct on_air *event, const struct sim_pdu *pdu)
{
    for (size_t i = 0; i < event->hearers; i++) {
        uint8_t before = event->verdict[i];
        uint8_t verdict = catch_primary(m, event, pdu, event->hearer[i], before);
        event->verdict[i] = verdict;
        if (verdict != FOLLOWING || before == FOLLOWING)
            continue;
        struct device *d = &m->device[event->hearer[i]];
        d->follow = event;
        d->follow_index = i;
        d->follow_until = event->plan.aux.end;
    }
}

void sim_event_unfollow(struct sim_medium *m, uint32_t device, enum sim_verdict verdict)
{
    struct device *d = &m->device[device];
    if (d->follow != NULL)
        d->follow->verdict[d->follow_index] = (uint8_t)verdict;
    d->follow = NULL;
    d->follow_until = m->now;
}

static uint8_t catch_aux(const struct sim_medium *m, const struct on_air *event, uint32_t listener)
{
    if (!captures(m, event, &event->plan.aux, listener))
        return SIM_LOST_AUX;
    uint32_t draw = sim_draw(m->config.seed, SIM_DRAW_LOSS, event->device, event->number, listener);
    return sim_scale(draw, 1000000) < m->config.loss_ppm ? SIM_LOST_RANDOM : SIM_RECEIVED;
}

static void settle(struct sim_medium *m, struct on_air *event)
{
    struct sim_medium_counters *own = &m->device[event->device].counters;
    for (size_t i = 0; i < event->hearers; i++) {
        if (event->verdict[i] == FOLLOWING) {
            event->verdict[i] = catch_aux(m, event, event->hearer[i]);
            m->device[event->hearer[i]].follow = NULL;
        }
        m->counters.verdict[event->verdict[i]]++;
        own->verdict[event->verdict[i]]++;
    }
}

static int8_t to_dbm(int32_t mdbm)
{
    int32_t dbm = (mdbm >= 0 ? mdbm + 500 : mdbm - 500) / 1000;
    return (int8_t)(dbm < -127 ? -127 : dbm > 20 ? 20 : dbm);
}

static void tell_receivers(struct sim_medium *m, const struct on_air *event)
{
    struct sim_reception r = {.at = m->now,
                              .from = event->device,
                              .set = event->set,
                              .sid = event->sid,
                              .primary_phy = SIM_PHY_1M,
                              .secondary_phy = (enum sim_phy)event->secondary_phy,
                              .tx_dbm = to_dbm(event->tx_mdbm),
                              .data = event->data,
                              .len = event->len};
    if (m->ops.received == NULL)
        return;
    for (size_t i = 0; i < event->hearers; i++) {
        if (event->verdict[i] != SIM_RECEIVED)
            continue;
        int32_t loss = path_loss(m, event->device, event->hearer[i]);
        r.rssi_dbm = loss == SIM_LOSS_NONE ? -127 : to_dbm(event->tx_mdbm - loss);
        m->ops.received(m->ctx, event->hearer[i], &r);
    }
}

static void aux_end(struct sim_medium *m, uint32_t device, struct on_air *event)
{
    struct device *d = &m->device[device];
    struct adv_set *s = &d->set[event->set];
    bool all_events = s->enabled && s->max_events != 0 && s->events >= s->max_events;
    bool all_time = s->enabled && !all_events && s->until <= m->now;
    uint32_t events = s->events;
    d->on_air = false;
    if (all_events || all_time)
        s->enabled = false;
    settle(m, event);
    tell_receivers(m, event);
    if (m->ops.event_ended != NULL) {
        const struct sim_event_report report = {.start = event->start,
                                                .end = m->now,
                                                .device = device,
                                                .set = event->set,
                                                .aux_channel = event->plan.aux.channel,
                                                .data = event->data,
                                                .len = event->len,
                                                .hearers = event->hearers,
                                                .hearer = event->hearer,
                                                .verdict = event->verdict};
        m->ops.event_ended(m->ctx, &report);
    }
    if ((all_events || all_time) && m->ops.set_ended != NULL)
        m->ops.set_ended(m->ctx, device, event->set, all_events ? SIM_END_EVENTS : SIM_END_DURATION, events, m->now);
}

void sim_event_pdu_end(struct sim_medium *m, uint32_t device)
{
    struct device *d = &m->device[device];
    struct on_air *event = &d->event[d->current];
    if (d->pdu < event->plan.primaries)
        primary_end(m, event, &event->plan.primary[d->pdu++]);
    else
        aux_end(m, device, event);
}

void sim_event_cut(struct sim_medium *m, uint32_t device)
{
    struct device *d = &m->device[device];
    struct on_air *event = &d->event[d->current];
    if (!d->on_air)
        return;
    d->on_air = false;
    event->cut = m->now;
    for (size_t i = 0; i < event->hearers; i++) {
        if (event->verdict[i] == FOLLOWING) {
            /* it does not know: deaf until the AUX would have been over */
            event->verdict[i] = SIM_LOST_CUT;
            m->device[event->hearer[i]].follow = NULL;
        }
        m->counters.verdict[event->verdict[i]]++;
        d->counters.verdict[event->verdict[i]]++;
    }
}
