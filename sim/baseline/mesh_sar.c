/*
 * Segmentation and reassembly of Bluetooth mesh (MshPRT v1.1, 3.5.3); mesh_net.h says what is modelled.
 *
 * Sending: idle -> a segment is with the bearer -> (60 ms after its start, or when the bearer is done) the next ... ->
 * all sent, waiting for the acknowledgement or the repetition -> another pass over what is open -> done or given up.
 */
#include "mesh_net.h"
#include "mesh_state.h"

#include <string.h>

#define SEGMENT_INTERVAL_US 60000
#define UNICAST_WAIT_US 200000
#define UNICAST_WAIT_HOP_US 50000 /* for each of TTL - 1 */
#define UNICAST_PASSES 6
#define UNICAST_PASSES_IDLE 4
#define GROUP_WAIT_US 250000
#define GROUP_PASSES 3
#define ACK_SEGMENT_US 160000 /* segment interval a receiver reckons with */
#define ACK_DELAY_HALVES 17   /* in halves of it: 8.5 segments */
#define DISCARD_US UINT64_C(10000000)
#define RETRY_US 20000 /* bearer full */

#define SEGMENTED 0x80
#define UNSEGMENTED_MAX 15 /* message and MIC */
#define ZERO_MASK 0x1FFFu  /* SeqZero: the end of the first segment's sequence number */
#define SEQUENCE_MASK 0xFFFFFFu
#define SEQUENCE_OLD 0x800000u

/* --- sending ----------------------------------------------------------------------------------------------------- */

bool sim_mesh_is_sending(const struct sim_mesh *m, uint32_t node)
{
    return mesh_node_of(m, node)->tx.is_active;
}

static void finish(struct sim_mesh *m, uint32_t node, sim_time now)
{
    struct mesh_tx *tx = &mesh_node_of(m, node)->tx;
    tx->is_active = false;
    tx->timer_at = SIM_NEVER;
    m->config.ops->sent(m->config.ctx, node, now);
}

static void send_segment(struct sim_mesh *m, uint32_t node, sim_time now)
{
    struct mesh_tx *tx = &mesh_node_of(m, node)->tx;
    uint8_t pdu[4 + MESH_SEGMENT] = {0};
    size_t at = (size_t)tx->segment * MESH_SEGMENT;
    size_t n = tx->segment == tx->last ? tx->len - at : MESH_SEGMENT;
    pdu[0] = SEGMENTED;
    pdu[1] = (uint8_t)(tx->sequence >> 6);
    pdu[2] = (uint8_t)(tx->sequence << 2 | tx->segment >> 3);
    pdu[3] = (uint8_t)(tx->segment << 5 | tx->last);
    if (at < sizeof(tx->head))
        memcpy(pdu + 4, tx->head + at, n < sizeof(tx->head) - at ? n : sizeof(tx->head) - at);
    if (mesh_net_send(m, node, tx->to, tx->type, false, pdu, 4 + n, NOTIFY_SEGMENT) != 0) {
        tx->timer_at = now + RETRY_US;
        return;
    }
    tx->segment++;
    tx->was_acked = false;
    tx->is_on_air = true;
    tx->timer_at = SIM_NEVER; /* goes on when the bearer is done */
}

/* The next open segment, or, when all were sent in this pass, the wait for the next pass. */
static void send_next(struct sim_mesh *m, uint32_t node, sim_time now)
{
    struct mesh_tx *tx = &mesh_node_of(m, node)->tx;
    if (tx->attempts == 0 || tx->attempts_idle == 0) {
        finish(m, node, now);
        return;
    }
    while (tx->segment <= tx->last && (tx->open >> tx->segment & 1) == 0)
        tx->segment++;
    if (tx->segment <= tx->last) {
        send_segment(m, node, now);
        return;
    }
    tx->segment = 0;
    tx->attempts--;
    if (!tx->is_group && !tx->was_acked)
        tx->attempts_idle--;
    sim_time wait = GROUP_WAIT_US;
    if (tx->was_acked)
        wait = SEGMENT_INTERVAL_US;
    else if (!tx->is_group)
        wait = UNICAST_WAIT_US + UNICAST_WAIT_HOP_US * (m->config.ttl - UINT64_C(1));
    tx->was_acked = false;
    tx->timer_at = tx->began_at + wait > now ? tx->began_at + wait : now;
}

int sim_mesh_send(struct sim_mesh *m, uint32_t node, sim_time now, uint16_t to, enum sim_mesh_type type,
                  const uint8_t *head, size_t len)
{
    struct mesh_node *n = mesh_node_of(m, node);
    struct mesh_tx *tx = &n->tx;
    if (tx->is_active || len == 0 || len > SIM_MESH_MESSAGE_MAX)
        return -1;
    size_t with_mic = len + MESH_MIC;
    memset(tx, 0, sizeof(*tx));
    memcpy(tx->head, head, len < sizeof(tx->head) ? len : sizeof(tx->head));
    tx->is_active = true;
    tx->is_segmented = with_mic > UNSEGMENTED_MAX;
    tx->is_group = to >= SIM_MESH_GROUP;
    tx->type = (uint8_t)type;
    tx->to = to;
    tx->len = (uint16_t)with_mic;
    tx->sequence = n->sequence & ZERO_MASK;
    tx->began_at = now;
    tx->timer_at = SIM_NEVER;
    if (!tx->is_segmented) {
        uint8_t pdu[1 + UNSEGMENTED_MAX] = {0};
        memcpy(pdu + 1, head, len);
        if (mesh_net_send(m, node, to, type, false, pdu, 1 + with_mic, NOTIFY_MESSAGE) == 0)
            return 0;
        tx->is_active = false;
        return -1;
    }
    tx->last = (uint8_t)((with_mic - 1) / MESH_SEGMENT);
    tx->open = (uint32_t)((UINT64_C(1) << (tx->last + 1)) - 1);
    tx->attempts = tx->is_group ? GROUP_PASSES : UNICAST_PASSES;
    tx->attempts_idle = UNICAST_PASSES_IDLE;
    send_next(m, node, now);
    return 0;
}

void mesh_sar_began(struct sim_mesh *m, uint32_t node, sim_time now)
{
    mesh_node_of(m, node)->tx.began_at = now;
}

void mesh_sar_done(struct sim_mesh *m, uint32_t node, sim_time now, enum mesh_notify what)
{
    struct mesh_tx *tx = &mesh_node_of(m, node)->tx;
    if (!tx->is_active)
        return;
    switch (what) {
    case NOTIFY_MESSAGE:
        if (!tx->is_segmented)
            finish(m, node, now);
        break;
    case NOTIFY_SEGMENT:
        tx->is_on_air = false;
        tx->timer_at = now; /* all sent: the pass is over */
        if (tx->segment <= tx->last && tx->began_at + SEGMENT_INTERVAL_US > now)
            tx->timer_at = tx->began_at + SEGMENT_INTERVAL_US;
        break;
    case NOTIFY_NOBODY:
        break;
    }
}

static void hear_ack(struct sim_mesh *m, uint32_t node, sim_time now, uint16_t from, const uint8_t *pdu, size_t n)
{
    struct mesh_tx *tx = &mesh_node_of(m, node)->tx;
    if (n != 7 || !tx->is_active || !tx->is_segmented || tx->is_group || tx->to != from)
        return;
    if (((uint32_t)(pdu[1] & 0x7F) << 6 | pdu[2] >> 2) != tx->sequence)
        return;
    uint32_t got = (uint32_t)pdu[3] << 24 | (uint32_t)pdu[4] << 16 | (uint32_t)pdu[5] << 8 | pdu[6];
    bool is_progress = (tx->open & got) != 0;
    tx->open &= ~got;
    if (tx->open == 0) {
        finish(m, node, now);
        return;
    }
    if (!is_progress)
        return;
    tx->attempts_idle = UNICAST_PASSES_IDLE;
    if (tx->is_on_air || tx->segment != 0)
        tx->was_acked = true; /* in the middle of a pass */
    else
        tx->timer_at = tx->began_at + SEGMENT_INTERVAL_US > now ? tx->began_at + SEGMENT_INTERVAL_US : now;
}

/* --- receiving --------------------------------------------------------------------------------------------------- */

static void send_ack(struct sim_mesh *m, uint32_t node, sim_time now, struct mesh_rx *rx)
{
    uint8_t pdu[7] = {0};
    rx->ack_at = SIM_NEVER;
    if (rx->to >= SIM_MESH_GROUP)
        return;
    pdu[1] = (uint8_t)((rx->sequence & ZERO_MASK) >> 6);
    pdu[2] = (uint8_t)(rx->sequence << 2);
    pdu[3] = (uint8_t)(rx->got >> 24);
    pdu[4] = (uint8_t)(rx->got >> 16);
    pdu[5] = (uint8_t)(rx->got >> 8);
    pdu[6] = (uint8_t)rx->got;
    rx->acked_at = now;
    (void)mesh_net_send(m, node, rx->from, SIM_MESH_ACK, true, pdu, sizeof(pdu), NOTIFY_NOBODY);
}

/* The context of this message, new or known; NULL: old, or no room. */
static struct mesh_rx *find_rx(struct sim_mesh *m, uint32_t node, uint16_t from, uint16_t to, uint32_t sequence,
                               uint8_t last)
{
    unsigned count;
    struct mesh_rx *rx = mesh_rx_of(m, node, &count), *free_one = NULL;
    for (unsigned i = 0; i < count; i++) {
        bool is_same = (rx[i].is_used || rx[i].is_whole) && rx[i].from == from && rx[i].to == to;
        if (is_same && rx[i].sequence == sequence)
            return rx[i].last == last ? &rx[i] : NULL;
        if (is_same && ((sequence - rx[i].sequence) & SEQUENCE_MASK) >= SEQUENCE_OLD)
            return NULL;
        if (is_same) { /* the sender has gone on to another message */
            rx[i].is_used = rx[i].is_whole = false;
            free_one = &rx[i];
        }
    }
    for (unsigned i = 0; free_one == NULL && i < count; i++)
        if (!rx[i].is_used && !rx[i].is_whole)
            free_one = &rx[i];
    for (unsigned i = 0; i < count; i++) /* at last the oldest of those that are only remembered */
        if (!rx[i].is_used && rx[i].is_whole &&
            (free_one == NULL || (free_one->is_whole && rx[i].acked_at < free_one->acked_at)))
            free_one = &rx[i];
    if (free_one == NULL)
        return NULL;
    memset(free_one, 0, sizeof(*free_one));
    free_one->is_used = true;
    free_one->from = from;
    free_one->to = to;
    free_one->sequence = sequence;
    free_one->last = last;
    free_one->ack_at = SIM_NEVER;
    return free_one;
}

static void hear_segment(struct sim_mesh *m, uint32_t node, sim_time now, uint16_t from, uint16_t to, uint32_t number,
                         const uint8_t *pdu, size_t n)
{
    uint32_t zero = (uint32_t)(pdu[1] & 0x7F) << 6 | pdu[2] >> 2;
    uint32_t sequence = (number - ((number - zero) & ZERO_MASK)) & SEQUENCE_MASK;
    uint8_t segment = (uint8_t)((pdu[2] & 3) << 3 | pdu[3] >> 5), last = pdu[3] & 31;
    size_t size = n - 4;
    if (segment > last || size == 0 || size > MESH_SEGMENT || (segment < last && size != MESH_SEGMENT))
        return;
    struct mesh_rx *rx = find_rx(m, node, from, to, sequence, last);
    if (rx == NULL)
        return;
    if (rx->is_whole) {
        if (now - rx->acked_at > (sim_time)ACK_DELAY_HALVES * ACK_SEGMENT_US / 2)
            send_ack(m, node, now, rx);
        return;
    }
    if ((rx->got >> segment & 1) != 0)
        return;
    rx->got |= UINT32_C(1) << segment;
    rx->discard_at = now + DISCARD_US;
    if (segment == last)
        rx->tail = (uint8_t)size;
    size_t at = (size_t)segment * MESH_SEGMENT;
    if (at < sizeof(rx->head))
        memcpy(rx->head + at, pdu + 4, size < sizeof(rx->head) - at ? size : sizeof(rx->head) - at);
    if (rx->got == (uint32_t)((UINT64_C(1) << (last + 1)) - 1)) {
        size_t len = (size_t)last * MESH_SEGMENT + rx->tail;
        rx->is_used = false;
        rx->is_whole = true;
        rx->discard_at = SIM_NEVER;
        rx->acked_at = now;
        send_ack(m, node, now, rx);
        if (len > MESH_MIC)
            m->config.ops->message(m->config.ctx, node, now, from, to >= SIM_MESH_GROUP, rx->head, len - MESH_MIC);
        return;
    }
    if (rx->ack_at == SIM_NEVER && to < SIM_MESH_GROUP) {
        unsigned halves = 2u * last + 1u < ACK_DELAY_HALVES ? 2u * last + 1u : ACK_DELAY_HALVES;
        rx->ack_at = now + (sim_time)halves * ACK_SEGMENT_US / 2;
    }
}

void mesh_sar_receive(struct sim_mesh *m, uint32_t node, sim_time now, uint16_t from, uint16_t to, uint32_t sequence,
                      bool is_control, const uint8_t *pdu, size_t n)
{
    if (is_control) {
        if (pdu[0] == 0)
            hear_ack(m, node, now, from, pdu, n);
        return;
    }
    if ((pdu[0] & SEGMENTED) != 0) {
        if (n > 4)
            hear_segment(m, node, now, from, to, sequence, pdu, n);
        return;
    }
    if (n > 1 + MESH_MIC)
        m->config.ops->message(m->config.ctx, node, now, from, to >= SIM_MESH_GROUP, pdu + 1, n - 1 - MESH_MIC);
}

/* --- timers ------------------------------------------------------------------------------------------------------ */

void mesh_sar_expire(struct sim_mesh *m, uint32_t node, sim_time now)
{
    struct mesh_tx *tx = &mesh_node_of(m, node)->tx;
    unsigned count;
    struct mesh_rx *rx = mesh_rx_of(m, node, &count);
    if (tx->is_active && tx->timer_at <= now)
        send_next(m, node, now);
    for (unsigned i = 0; i < count; i++) {
        if (rx[i].is_used && rx[i].discard_at <= now) {
            rx[i].is_used = false;
            rx[i].ack_at = SIM_NEVER;
        }
        if (rx[i].is_used && rx[i].ack_at <= now)
            send_ack(m, node, now, &rx[i]);
    }
}

sim_time mesh_sar_next(const struct sim_mesh *m, uint32_t node)
{
    const struct mesh_tx *tx = &mesh_node_of(m, node)->tx;
    unsigned count;
    const struct mesh_rx *rx = mesh_rx_of(m, node, &count);
    sim_time next = tx->is_active ? tx->timer_at : SIM_NEVER;
    for (unsigned i = 0; i < count; i++) {
        if (!rx[i].is_used)
            continue;
        if (rx[i].ack_at < next)
            next = rx[i].ack_at;
        if (rx[i].discard_at < next)
            next = rx[i].discard_at;
    }
    return next;
}
