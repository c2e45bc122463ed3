#include "medium.h"

#include <stdlib.h>
#include <string.h>

#include "medium_state.h"

/* --- heap of devices by their next step --------------------------------------------------------------------------- */

static bool comes_before(const struct sim_medium *m, uint32_t a, uint32_t b)
{
    sim_time at = m->device[a].step, bt = m->device[b].step;
    return at != bt ? at < bt : a < b;
}

static void put_in_heap(struct sim_medium *m, uint32_t place, uint32_t device)
{
    m->heap[place] = device;
    m->device[device].place = place;
}

static void move_in_heap(struct sim_medium *m, uint32_t device)
{
    uint32_t place = m->device[device].place;
    while (place > 0 && comes_before(m, device, m->heap[(place - 1) / 2])) {
        put_in_heap(m, place, m->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * place + 1;
        if (child >= m->count)
            break;
        if (child + 1 < m->count && comes_before(m, m->heap[child + 1], m->heap[child]))
            child++;
        if (!comes_before(m, m->heap[child], device))
            break;
        put_in_heap(m, place, m->heap[child]);
        place = child;
    }
    put_in_heap(m, place, device);
}

/* --- schedule
 * ---------------------------------------------------------------------------------------------------------- */

/* The enabled set whose event starts next, or -1; *at its start. */
static int next_set(const struct device *d, sim_time *at)
{
    int best = -1;
    for (int i = 0; i < SIM_SETS_MAX; i++) {
        const struct adv_set *s = &d->set[i];
        if (!s->enabled)
            continue;
        const struct adv_set *b = best < 0 ? NULL : &d->set[best];
        if (b == NULL || s->due < b->due || (s->due == b->due && s->order < b->order))
            best = i;
    }
    if (best >= 0)
        *at = d->set[best].due > d->next_start ? d->set[best].due : d->next_start;
    return best;
}

/* The set whose duration ends next, but for one in an event (its end waits for that of the event), or -1. */
static int next_duration(const struct device *d)
{
    int best = -1;
    for (int i = 0; i < SIM_SETS_MAX; i++) {
        const struct adv_set *s = &d->set[i];
        if (!s->enabled || s->until == SIM_NEVER || (d->on_air && d->event[d->current].set == i))
            continue;
        if (best < 0 || s->until < d->set[best].until)
            best = i;
    }
    return best;
}

static void schedule(struct sim_medium *m, uint32_t device)
{
    struct device *d = &m->device[device];
    sim_time step = SIM_NEVER;
    if (d->on_air) {
        const struct sim_event *plan = &d->event[d->current].plan;
        step = d->pdu < plan->primaries ? plan->primary[d->pdu].end : plan->aux.end;
    } else if (next_set(d, &step) < 0) {
        step = SIM_NEVER;
    }
    int ending = next_duration(d);
    if (ending >= 0 && d->set[ending].until < step)
        step = d->set[ending].until;
    d->step = step;
    move_in_heap(m, device);
}

static void end_duration(struct sim_medium *m, uint32_t device, unsigned set)
{
    struct adv_set *s = &m->device[device].set[set];
    uint32_t events = s->events;
    s->enabled = false;
    if (m->ops.set_ended != NULL)
        m->ops.set_ended(m->ctx, device, set, SIM_END_DURATION, events, m->now);
}

static void run_step(struct sim_medium *m, uint32_t device)
{
    struct device *d = &m->device[device];
    int ending = next_duration(d);
    sim_time start;
    int starting;
    if (ending >= 0 && d->set[ending].until <= m->now)
        end_duration(m, device, (unsigned)ending);
    else if (d->on_air)
        sim_event_pdu_end(m, device);
    else if ((starting = next_set(d, &start)) >= 0 && start <= m->now)
        sim_event_start(m, device, (unsigned)starting);
    schedule(m, device);
}

sim_time sim_medium_next(const struct sim_medium *m)
{
    return m->device[m->heap[0]].step;
}

void sim_medium_advance(struct sim_medium *m, sim_time until)
{
    while (sim_medium_next(m) <= until && sim_medium_next(m) != SIM_NEVER) {
        if (sim_medium_next(m) > m->now)
            m->now = sim_medium_next(m);
        run_step(m, m->heap[0]);
    }
    if (until > m->now && until != SIM_NEVER)
        m->now = until;
}

sim_time sim_medium_now(const struct sim_medium *m)
{
    return m->now;
}

/* --- opening, links ----------------------------------------------------------------------------------------------- */

static bool allocate(struct sim_medium *m)
{
    size_t n = m->count;
    m->device = calloc(n, sizeof *m->device);
    m->loss = calloc(n * n, sizeof *m->loss);
    m->heap = calloc(n, sizeof *m->heap);
    m->air = calloc(2 * n, sizeof *m->air);
    if (m->device == NULL || m->loss == NULL || m->heap == NULL || m->air == NULL)
        return false;
    for (size_t i = 0; i < n; i++) {
        struct device *d = &m->device[i];
        d->near = calloc(n, sizeof *d->near);
        if (d->near == NULL)
            return false;
        for (int e = 0; e < 2; e++) {
            d->event[e].hearer = calloc(n, sizeof *d->event[e].hearer);
            d->event[e].verdict = calloc(n, sizeof *d->event[e].verdict);
            if (d->event[e].hearer == NULL || d->event[e].verdict == NULL)
                return false;
        }
    }
    return true;
}

struct sim_medium *sim_medium_open(const struct sim_medium_config *config, uint32_t count,
                                   const struct sim_medium_ops *ops, void *ctx)
{
    if (count == 0 || count > SIM_DEVICES_MAX || config->loss_ppm > 1000000 || sim_radio_check(&config->radio) != NULL)
        return NULL;
    struct sim_medium *m = calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    m->config = *config;
    if (ops != NULL)
        m->ops = *ops;
    m->ctx = ctx;
    m->count = count;
    if (!allocate(m)) {
        sim_medium_close(m);
        return NULL;
    }
    for (size_t i = 0; i < (size_t)count * count; i++)
        m->loss[i] = SIM_LOSS_NONE;
    for (uint32_t i = 0; i < count; i++) {
        m->device[i].step = SIM_NEVER;
        put_in_heap(m, i, i);
    }
    return m;
}

void sim_medium_close(struct sim_medium *m)
{
    if (m == NULL)
        return;
    for (uint32_t i = 0; m->device != NULL && i < m->count; i++) {
        struct device *d = &m->device[i];
        free(d->near);
        for (int e = 0; e < 2; e++) {
            free(d->event[e].hearer);
            free(d->event[e].verdict);
        }
    }
    free(m->device);
    free(m->loss);
    free(m->heap);
    free(m->air);
    free(m);
}

int sim_medium_link(struct sim_medium *m, uint32_t a, uint32_t b, int32_t loss_mdb)
{
    /* beyond 300 dB nothing couples; the bound keeps sums of powers far from overflow */
    if (a >= m->count || b >= m->count || a == b || loss_mdb < 0)
        return -1;
    if (loss_mdb > 300000)
        loss_mdb = SIM_LOSS_NONE;
    m->loss[(size_t)a * m->count + b] = loss_mdb;
    m->loss[(size_t)b * m->count + a] = loss_mdb;
    m->device[a].near_valid = false;
    m->device[b].near_valid = false;
    return 0;
}

int32_t sim_medium_path_loss(const struct sim_medium *m, uint32_t a, uint32_t b)
{
    return a < m->count && b < m->count && a != b ? path_loss(m, a, b) : SIM_LOSS_NONE;
}

void sim_medium_place(struct sim_medium *m, const struct sim_position *position)
{
    const struct sim_radio *radio = &m->config.radio;
    for (uint32_t a = 0; a < m->count; a++) {
        for (uint32_t b = a + 1; b < m->count; b++) {
            int32_t loss =
                sim_path_loss_mdb(radio, &position[a], &position[b]) + sim_shadowing_mdb(radio, m->config.seed, a, b);
            (void)sim_medium_link(m, a, b, loss < 0 ? 0 : loss);
        }
    }
}

void sim_medium_set_loss(struct sim_medium *m, uint32_t loss_ppm)
{
    m->config.loss_ppm = loss_ppm > 1000000 ? 1000000 : loss_ppm;
}

/* --- advertising sets --------------------------------------------------------------------------------------------- */

static struct adv_set *find_set(const struct sim_medium *m, uint32_t device, unsigned set)
{
    if (device >= m->count || set >= SIM_SETS_MAX)
        return NULL;
    return &m->device[device].set[set];
}

/* Time goes on to `now`, but never past a step that has not been run. */
static void reach(struct sim_medium *m, sim_time now)
{
    if (now > sim_medium_next(m))
        now = sim_medium_next(m);
    if (now > m->now && now != SIM_NEVER)
        m->now = now;
}

int sim_medium_set_params(struct sim_medium *m, uint32_t device, unsigned set, const struct sim_set_params *p)
{
    struct adv_set *s = find_set(m, device, set);
    bool power_ok = p->tx_mdbm == SIM_TX_DEFAULT || (p->tx_mdbm >= -127000 && p->tx_mdbm <= 20000);
    bool phy_ok = p->primary_phy == SIM_PHY_1M && p->secondary_phy >= SIM_PHY_1M && p->secondary_phy <= SIM_PHY_CODED;
    if (s == NULL || s->enabled || !power_ok || !phy_ok || p->channel_map > 7 || p->sid > 15)
        return -1;
    s->params = *p;
    s->exists = true;
    return 0;
}

int sim_medium_set_data(struct sim_medium *m, uint32_t device, unsigned set, const uint8_t *data, size_t len)
{
    struct adv_set *s = find_set(m, device, set);
    if (s == NULL || !s->exists || len > SIM_AD_MAX)
        return -1;
    if (len > 0)
        memcpy(s->data, data, len);
    s->len = len;
    return 0;
}

int sim_medium_set_enable(struct sim_medium *m, sim_time now, uint32_t device, unsigned set, uint32_t max_events,
                          sim_time duration_us)
{
    struct adv_set *s = find_set(m, device, set);
    if (s == NULL || !s->exists)
        return -1;
    reach(m, now);
    s->enabled = true;
    s->max_events = max_events;
    s->events = 0;
    s->due = m->now + m->config.radio.processing_us;
    s->until = duration_us == 0 ? SIM_NEVER : m->now + duration_us;
    s->order = m->order++;
    schedule(m, device);
    return 0;
}

int sim_medium_set_disable(struct sim_medium *m, sim_time now, uint32_t device, unsigned set)
{
    struct adv_set *s = find_set(m, device, set);
    if (s == NULL || !s->exists)
        return -1;
    reach(m, now);
    s->enabled = false;
    schedule(m, device);
    return 0;
}

bool sim_medium_set_is_enabled(const struct sim_medium *m, uint32_t device, unsigned set)
{
    const struct adv_set *s = find_set(m, device, set);
    return s != NULL && s->enabled;
}

int sim_medium_set_remove(struct sim_medium *m, uint32_t device, unsigned set)
{
    struct adv_set *s = find_set(m, device, set);
    if (s == NULL || !s->exists || s->enabled)
        return -1;
    memset(s, 0, sizeof *s);
    return 0;
}

/* --- scanning, reset ---------------------------------------------------------------------------------------------- */

int sim_medium_scan_start(struct sim_medium *m, sim_time now, uint32_t device, uint32_t interval_us, uint32_t window_us)
{
    if (device >= m->count || window_us < 2500 || window_us > interval_us || interval_us > 40960000)
        return -1;
    reach(m, now);
    struct device *d = &m->device[device];
    d->scanning = true;
    d->scan_interval_us = interval_us;
    d->scan_window_us = window_us;
    d->scan_origin = m->now;
    return 0;
}

int sim_medium_scan_stop(struct sim_medium *m, sim_time now, uint32_t device)
{
    if (device >= m->count)
        return -1;
    reach(m, now);
    sim_event_unfollow(m, device, SIM_LOST_OFF);
    m->device[device].scanning = false;
    return 0;
}

int sim_medium_reset(struct sim_medium *m, sim_time now, uint32_t device)
{
    if (sim_medium_scan_stop(m, now, device) != 0)
        return -1;
    sim_event_cut(m, device);
    memset(m->device[device].set, 0, sizeof m->device[device].set);
    schedule(m, device);
    return 0;
}

/* --- hosts without HCI -------------------------------------------------------------------------------------------- */

int sim_medium_submit(struct sim_medium *m, sim_time now, uint32_t device, const uint8_t *data, size_t len)
{
    const struct sim_set_params plain = {
        .tx_mdbm = SIM_TX_DEFAULT, .primary_phy = SIM_PHY_1M, .secondary_phy = SIM_PHY_1M};
    struct adv_set *s = find_set(m, device, 0);
    if (s == NULL || s->enabled || m->device[device].on_air || len > SIM_AD_MAX)
        return -1;
    if (!s->exists && sim_medium_set_params(m, device, 0, &plain) != 0)
        return -1;
    if (sim_medium_set_data(m, device, 0, data, len) != 0)
        return -1;
    return sim_medium_set_enable(m, now, device, 0, 1, 0);
}

sim_time sim_medium_ready_at(const struct sim_medium *m, uint32_t device)
{
    if (device >= m->count)
        return SIM_NEVER;
    const struct device *d = &m->device[device];
    const struct on_air *event = &d->event[d->current];
    for (int i = 0; i < SIM_SETS_MAX; i++) {
        const struct adv_set *s = &d->set[i];
        bool is_last = d->on_air && event->set == i && s->max_events != 0 && s->events >= s->max_events;
        if (s->enabled && !is_last)
            return SIM_NEVER;
    }
    uint32_t processing = m->config.radio.processing_us;
    sim_time ready = d->next_start > processing ? d->next_start - processing : 0;
    if (d->on_air && event->plan.aux.end > ready)
        ready = event->plan.aux.end;
    return ready > m->now ? ready : m->now;
}

/* --- counters
 * ---------------------------------------------------------------------------------------------------------- */

const struct sim_medium_counters *sim_medium_counters(const struct sim_medium *m)
{
    return &m->counters;
}

const struct sim_medium_counters *sim_medium_device_counters(const struct sim_medium *m, uint32_t device)
{
    return device < m->count ? &m->device[device].counters : NULL;
}

const char *sim_verdict_name(enum sim_verdict verdict)
{
    switch (verdict) {
    case SIM_RECEIVED:
        return "received";
    case SIM_LOST_OFF:
        return "off channel";
    case SIM_LOST_DEAF:
        return "deaf";
    case SIM_LOST_HALF_DUPLEX:
        return "half duplex";
    case SIM_LOST_PRIMARY:
        return "collision";
    case SIM_LOST_AUX:
        return "aux collision";
    case SIM_LOST_RANDOM:
        return "random";
    case SIM_LOST_CUT:
        return "cut";
    case SIM_VERDICT_COUNT:
        break;
    }
    return "unknown";
}
