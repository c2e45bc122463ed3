/*
 * IEEE 802.15.4-2006, 2.4 GHz O-QPSK at 250 kbit/s with unslotted CSMA-CA, frames to everybody without acknowledgement.
 *
 *   submit      a backoff of 0 to 2^BE - 1 periods of 320 us begins, BE = 3
 *   ASSESS      at the end of the backoff and of 8 symbols of listening. Busy: once more with BE + 1 (at most 5); busy
 *               for the fifth time: the frame is given up. Clear: the transmission is certain and starts a turnaround
 *               (192 us) later
 *   EVALUATE    at the end of the packet plus the delay to the host (at least a turnaround): who received it
 *
 * The channel is busy when everything that was on air during those 8 symbols sums up to the sensitivity or more: carrier
 * sense of what could be received, and energy above it (CCA mode 3). What begins less than a turnaround before the
 * assessment's end is not heard: so two nodes that assess within 192 us of each other collide, as real ones do.
 *
 * A node receives while it neither transmits nor turns around, from the first symbol to the last. It does not stay
 * locked to a packet: each is judged by itself, so a stronger one that comes later can be received, the weaker cannot.
 * Errors: ieee802154_error.h; bits from the SFD on count, each under the interference of its own time.
 *
 * With collisions = no the radio is ideal, as in ble.c: the channel is always clear, and only partitions, radios that are
 * off and frame_loss keep a packet from a node in range.
 *
 * Timers of a node: assess_at. Between clear assessment and end of the spacing after the packet the engine hands in
 * nothing.
 */
#include "phy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ieee802154_error.h"

#define EVENT_ASSESS SIM_EVENT_PHY
#define EVENT_EVALUATE (SIM_EVENT_PHY + 1)

#define BACKOFF_US 320 /* aUnitBackoffPeriod: 20 symbols of 16 us */
#define ASSESS_US 128
#define TURNAROUND_US 192
#define EXPONENT_MIN 3 /* macMinBE */
#define EXPONENT_MAX 5 /* macMaxBE */
#define BACKOFFS_MAX 4 /* macMaxCSMABackoffs */
#define BYTE_US 32
#define BIT_US 4
#define PREAMBLE_US (4 * BYTE_US)
#define HEADER_BYTES 6 /* preamble 4, SFD, length */
#define FCS_BYTES 2
#define SHORT_FRAME 18 /* aMaxSIFSFrameSize, FCS included */
#define SHORT_SPACING_US 192
#define LONG_SPACING_US 640

#define DRAW_BACKOFF 0x15402 /* purpose of the draw; those of sim_draw() are small */

/* The radio of an own node. */
struct radio {
    sim_time on_since;   /* listening from then on; SIM_NEVER: off or not scanning */
    sim_time assess_at;  /* SIM_NEVER: no frame waits */
    sim_time busy_until; /* transmitting or spacing */
    uint64_t listened_us, sent_us;
    uint32_t taken; /* frames that were handed in: names their backoffs */
    uint32_t sent;
    uint8_t backoffs; /* assessments that found the channel busy */
    uint8_t is_on, is_deaf;
};

struct csma {
    struct sim_engine *engine;
    const struct sim_scenario *scenario;
    const struct sim_field *field;
    uint64_t seed;
    uint64_t noise; /* linear */
    int32_t noise_mdbm;
    uint64_t audible; /* linear: sensitivity */
    uint32_t wait_us; /* end of a packet to its evaluation */
    struct radio *radio;
    uint64_t *disturbance; /* at the receiver in question, of each entry of the list of what is on air */
    uint32_t disturbance_cap;
};

static struct radio *radio_of(struct csma *c, uint32_t node)
{
    return &c->radio[node - c->field->first];
}

static sim_time lookahead(const struct sim_scenario *s)
{
    (void)s;
    return TURNAROUND_US;
}

static void *csma_open(struct sim_engine *e, char *error, size_t cap)
{
    struct csma *c = calloc(1, sizeof *c);
    if (!c)
        goto out;
    c->engine = e;
    c->scenario = sim_engine_scenario(e);
    c->field = sim_engine_field(e);
    c->seed = sim_engine_seed(e);
    c->noise = sim_linear(c->scenario->radio.noise_mdbm) | 1;
    c->noise_mdbm = sim_154_level_mdbm(c->noise);
    c->audible = sim_linear(c->scenario->radio.sensitivity_mdbm);
    c->wait_us = c->scenario->radio_run.delivery_us;
    if (c->wait_us < TURNAROUND_US)
        c->wait_us = TURNAROUND_US;
    size_t count = c->field->limit - c->field->first;
    c->radio = calloc(count ? count : 1, sizeof *c->radio);
    if (!c->radio)
        goto out;
    for (size_t i = 0; i < count; i++)
        c->radio[i] = (struct radio){.is_on = 1, .assess_at = SIM_NEVER};
    return c;
out:
    snprintf(error, cap, "out of memory for the radios");
    free(c);
    return NULL;
}

static void csma_close(void *phy)
{
    struct csma *c = phy;
    free(c->radio);
    free(c->disturbance);
    free(c);
}

/* --- sending ------------------------------------------------------------------------------------------------------- */

static void back_off(struct csma *c, uint32_t node, sim_time now)
{
    struct radio *r = radio_of(c, node);
    unsigned exponent = EXPONENT_MIN + r->backoffs;
    if (exponent > EXPONENT_MAX)
        exponent = EXPONENT_MAX;
    const uint32_t counter[4] = {node, r->taken, r->backoffs, DRAW_BACKOFF};
    const uint32_t key[2] = {(uint32_t)c->seed, (uint32_t)(c->seed >> 32)};
    uint32_t word[4];
    sim_philox(counter, key, word);
    r->assess_at = now + sim_scale(word[0], 1u << exponent) * BACKOFF_US + ASSESS_US;
    sim_engine_push(c->engine, r->assess_at, node, EVENT_ASSESS);
}

static void csma_submit(void *phy, uint32_t node, sim_time now, const struct sim_frame *frame)
{
    struct csma *c = phy;
    struct radio *r = radio_of(c, node);
    if (!sim_engine_tx_new(c->engine, node, frame))
        return;
    r->taken++;
    r->backoffs = 0;
    back_off(c, node, now + c->scenario->radio.processing_us);
}

/* The node's frame that has not begun. */
static struct sim_tx *waiting_frame(struct csma *c, uint32_t node)
{
    struct sim_tx *tx = sim_engine_tx_first(c->engine, node);
    while (tx && tx->has_begun)
        tx = sim_engine_tx_next(c->engine, tx);
    return tx;
}

static void give_up(struct csma *c, uint32_t node)
{
    struct sim_tx *tx = waiting_frame(c, node);
    if (tx)
        sim_engine_tx_release(c->engine, tx);
    radio_of(c, node)->assess_at = SIM_NEVER;
}

static bool is_clear(struct csma *c, uint32_t node, sim_time now)
{
    if (!c->scenario->radio_run.collisions)
        return true;
    uint32_t count;
    const struct sim_on_air *air = sim_engine_collect_at(c->engine, node, now - ASSESS_US, now, &count);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        if (air[i].node != node)
            sum += sim_engine_power_at(c->engine, air[i].node, node, now);
    return sum < c->audible;
}

static void tell_sent(struct csma *c, const struct sim_tx *tx)
{
    if (!sim_engine_is_traced(c->engine))
        return;
    const struct sim_sent sent = {.start = tx->start,
                                  .end = tx->start + tx->span_us,
                                  .node = tx->node,
                                  .number = tx->number,
                                  .bearer = SIM_BEARER_802154,
                                  .channel = tx->channel,
                                  .phy = SIM_PHY_1M,
                                  .tx_mdbm = c->scenario->radio.tx_mdbm,
                                  .type = tx->type,
                                  .data = tx->data,
                                  .len = tx->len};
    sim_engine_sent(c->engine, &sent);
}

static void assess(struct csma *c, uint32_t node, sim_time now)
{
    struct radio *r = radio_of(c, node);
    if (r->assess_at != now)
        return; /* of a frame that was dropped */
    struct sim_tx *tx = waiting_frame(c, node);
    if (!tx)
        return;
    if (!is_clear(c, node, now)) {
        if (r->backoffs++ < BACKOFFS_MAX) {
            back_off(c, node, now);
            return;
        }
        give_up(c, node);
        r->busy_until = now;
        sim_engine_ready(c->engine, node, now, now);
        return;
    }
    r->assess_at = SIM_NEVER;
    uint32_t bytes = tx->len + (uint32_t)FCS_BYTES;
    tx->start = now + TURNAROUND_US;
    tx->span_us = (HEADER_BYTES + bytes) * BYTE_US;
    tx->channel = c->scenario->radio_run.channel;
    sim_engine_begin(c->engine, tx, tx->span_us);
    tell_sent(c, tx);
    r->sent++;
    r->sent_us += tx->span_us;
    sim_time end = tx->start + tx->span_us;
    r->busy_until = end + (bytes <= SHORT_FRAME ? SHORT_SPACING_US : LONG_SPACING_US);
    sim_engine_push(c->engine, end + c->wait_us, node, EVENT_EVALUATE);
    sim_engine_ready(c->engine, node, now, r->busy_until);
}

/* --- receiving ----------------------------------------------------------------------------------------------------- */

static sim_time end_of(const struct sim_on_air *air)
{
    return air->start + air->span_us;
}

/* What everything on air does to receiver `to`: fills c->disturbance. False when the receiver itself transmits or turns
 * around in the meantime. */
static bool weigh(struct csma *c, const struct sim_tx *tx, uint32_t to, const struct sim_on_air *air, uint32_t count)
{
    sim_time end = tx->start + tx->span_us;
    for (uint32_t i = 0; i < count; i++) {
        if (air[i].node == to)
            return false;
        bool overlaps = air[i].start < end && end_of(&air[i]) > tx->start;
        c->disturbance[i] = overlaps ? sim_engine_power_at(c->engine, air[i].node, to, tx->start) : 0;
    }
    return true;
}

/* -log2 of the chance that all bits survive without interference; the signal's level is given with losses and
 * fluctuation. */
static uint64_t noise_loss(const struct csma *c, const struct sim_tx *tx, int32_t signal_mdbm)
{
    return sim_154_bit_loss(signal_mdbm - c->noise_mdbm) * (tx->span_us - PREAMBLE_US) / BIT_US;
}

/* The same with everything on air. */
static uint64_t packet_loss(const struct csma *c, const struct sim_tx *tx, int32_t signal_mdbm,
                            const struct sim_on_air *air, uint32_t count)
{
    sim_time from = tx->start + PREAMBLE_US, end = tx->start + tx->span_us;
    uint64_t loss = 0;
    while (from < end) {
        sim_time to = end; /* until then nothing on air changes */
        uint64_t sum = c->noise;
        for (uint32_t i = 0; i < count; i++) {
            if (c->disturbance[i] == 0)
                continue;
            sim_time change = air[i].start > from ? air[i].start : end_of(&air[i]);
            if (change > from && change < to)
                to = change;
            if (air[i].start <= from && end_of(&air[i]) > from)
                sum += c->disturbance[i];
        }
        loss += sim_154_bit_loss(signal_mdbm - sim_154_level_mdbm(sum)) * (to - from) / BIT_US;
        from = to;
    }
    return loss;
}

static bool is_disturbed(const struct csma *c, uint32_t count, uint64_t threshold)
{
    for (uint32_t i = 0; i < count; i++)
        if (c->disturbance[i] >= threshold)
            return true;
    return false;
}

/* What chance and the others on air do to a packet at a receiver that listens. */
static enum sim_outcome suffer(struct csma *c, const struct sim_tx *tx, const struct sim_link *link,
                               const struct sim_on_air *air, uint32_t count)
{
    if (!weigh(c, tx, link->node, air, count))
        return SIM_MISSED_HALF_DUPLEX;
    if (!c->scenario->radio_run.capture_effect && is_disturbed(c, count, c->audible))
        return SIM_MISSED_COLLISION;
    struct sim_154_chance chance;
    sim_154_chance(&chance, c->seed, tx->node, tx->number, link->node);
    int32_t signal = c->scenario->radio.tx_mdbm - SIM_LINK_MDB(*link) - SIM_154_LOSS_MDB + chance.fluctuation_mdb;
    if (chance.draw >= sim_154_survival(noise_loss(c, tx, signal)))
        return SIM_MISSED_NOISE;
    if (is_disturbed(c, count, 1) && chance.draw >= sim_154_survival(packet_loss(c, tx, signal, air, count)))
        return SIM_MISSED_COLLISION;
    return SIM_HEARD;
}

static enum sim_outcome judge(struct csma *c, const struct sim_tx *tx, const struct sim_link *link,
                              const struct sim_on_air *air, uint32_t count)
{
    const struct radio *r = radio_of(c, link->node);
    if (sim_engine_is_cut(c->engine, tx->node, link->node, tx->start))
        return SIM_MISSED_CUT;
    if (!r->is_on || r->is_deaf || r->on_since > tx->start)
        return SIM_MISSED_OFF;
    enum sim_outcome outcome = c->scenario->radio_run.collisions ? suffer(c, tx, link, air, count) : SIM_HEARD;
    if (outcome != SIM_HEARD || c->scenario->loss_ppm == 0)
        return outcome;
    uint32_t draw = sim_draw(c->seed, SIM_DRAW_LOSS, tx->node, tx->number, link->node);
    return sim_scale(draw, 1000000) < c->scenario->loss_ppm ? SIM_MISSED_LOSS : SIM_HEARD;
}

static bool make_room(struct csma *c, uint32_t count)
{
    if (count <= c->disturbance_cap)
        return true;
    uint64_t *larger = realloc(c->disturbance, 2 * (size_t)count * sizeof *larger);
    if (!larger) {
        sim_engine_fail(c->engine, "out of memory for interference");
        return false;
    }
    c->disturbance = larger;
    c->disturbance_cap = 2 * count;
    return true;
}

static int8_t whole_dbm(int32_t mdbm)
{
    int32_t dbm = (mdbm + 200500) / 1000 - 200; /* rounded; positive before the division */
    return (int8_t)(dbm < -127 ? -127 : dbm > 20 ? 20 : dbm);
}

static void evaluate(struct csma *c, struct sim_event_key event)
{
    struct sim_tx *tx = sim_engine_tx_first(c->engine, event.node);
    while (tx && !(tx->has_begun && tx->start + tx->span_us + c->wait_us == event.at))
        tx = sim_engine_tx_next(c->engine, tx);
    if (!tx)
        return;
    sim_time end = tx->start + tx->span_us;
    uint32_t count, links;
    const struct sim_link *link = sim_field_links(c->field, tx->node, &links);
    /* own transmissions of receivers count with their turnarounds */
    const struct sim_on_air *air =
        sim_engine_collect(c->engine, tx->node, tx->start - TURNAROUND_US, end + TURNAROUND_US, &count);
    if (!make_room(c, count))
        return;
    for (uint32_t i = 0; i < links; i++) {
        enum sim_outcome outcome = judge(c, tx, &link[i], air, count);
        sim_engine_outcome(c->engine, tx, link[i].node, outcome);
        if (outcome == SIM_HEARD)
            tx->caught[i / 64] |= (uint64_t)1 << i % 64;
    }
    /* only now: what a stack does when it hears must not change what others heard */
    for (uint32_t i = 0; i < links; i++) {
        if (!(tx->caught[i / 64] >> i % 64 & 1))
            continue;
        const struct sim_heard heard = {.at = end,
                                        .from = tx->node,
                                        .number = tx->number,
                                        .rssi_dbm = whole_dbm(c->scenario->radio.tx_mdbm - SIM_LINK_MDB(link[i])),
                                        .data = tx->data,
                                        .len = tx->len};
        sim_engine_deliver(c->engine, link[i].node, event.at, &heard);
    }
    sim_engine_tx_release(c->engine, tx);
}

static void csma_event(void *phy, struct sim_event_key event)
{
    struct csma *c = phy;
    if (event.kind == EVENT_ASSESS)
        assess(c, event.node, event.at);
    else if (event.kind == EVENT_EVALUATE)
        evaluate(c, event);
}

static void csma_arrived(void *phy, struct sim_tx *tx)
{
    struct csma *c = phy;
    sim_engine_push(c->engine, tx->start + tx->span_us + c->wait_us, tx->node, EVENT_EVALUATE);
}

/* --- power and figures --------------------------------------------------------------------------------------------- */

static bool is_listening(const struct radio *r)
{
    return r->is_on && !r->is_deaf;
}

/* The time that it listened so far is accounted for, and what follows begins now. */
static void settle(struct radio *r, sim_time now)
{
    if (is_listening(r))
        r->listened_us += now - r->on_since;
    r->on_since = now;
}

static sim_time csma_power(void *phy, uint32_t node, sim_time now, bool on)
{
    struct csma *c = phy;
    struct radio *r = radio_of(c, node);
    if (on != r->is_on) {
        settle(r, now);
        r->is_on = on;
        if (!on && r->assess_at != SIM_NEVER)
            give_up(c, node);
    }
    if (!on)
        return SIM_NEVER;
    if (r->assess_at != SIM_NEVER)
        return SIM_NEVER; /* told when it is sent */
    return r->busy_until > now ? r->busy_until : now;
}

/* A window of 0 makes it deaf; there is no duty cycle otherwise. */
static void csma_scan(void *phy, uint32_t node, sim_time now, uint32_t interval_us, uint32_t window_us)
{
    struct radio *r = radio_of(phy, node);
    (void)interval_us;
    if (r->is_deaf == (window_us == 0))
        return;
    settle(r, now);
    r->is_deaf = window_us == 0;
}

static void csma_use(const void *phy, uint32_t node, sim_time now, struct sim_radio_use *use)
{
    const struct csma *c = phy;
    const struct radio *r = &c->radio[node - c->field->first];
    uint64_t listened = r->listened_us + (is_listening(r) ? now - r->on_since : 0);
    use->tx_us = r->sent_us;
    use->rx_us = listened > r->sent_us ? listened - r->sent_us : 0;
    use->frames = r->sent;
}

static size_t csma_bytes(const void *phy)
{
    const struct csma *c = phy;
    return sizeof *c + (c->field->limit - c->field->first) * sizeof *c->radio +
           c->disturbance_cap * sizeof *c->disturbance;
}

static int csma_save(void *phy, struct sim_archive *a)
{
    const struct csma *c = phy;
    return sim_archive_put(a, c->radio, (c->field->limit - c->field->first) * sizeof *c->radio);
}

static int csma_load(void *phy, struct sim_archive *a)
{
    struct csma *c = phy;
    return sim_archive_get(a, c->radio, (c->field->limit - c->field->first) * sizeof *c->radio);
}

const struct sim_phy_ops sim_ieee802154 = {
    .name = "802.15.4",
    .lookahead = lookahead,
    .open = csma_open,
    .close = csma_close,
    .submit = csma_submit,
    .event = csma_event,
    .arrived = csma_arrived,
    .power = csma_power,
    .scan = csma_scan,
    .use = csma_use,
    .bytes = csma_bytes,
    .save = csma_save,
    .load = csma_load,
};
