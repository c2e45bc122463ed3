/*
 * Deluge: epidemic, page by page dissemination with advertisements, requests and broadcast data.
 *
 * Follows J. Hui, D. Culler, "The Dynamic Behavior of a Data Dissemination Protocol for Network Programming at Scale"
 * (SenSys 2004), whose rules are cited by their numbers below, with the message formats and time constants of its
 * implementation for the CC2420 radio (TinyOS 2, tos/lib/net/Deluge).
 *
 *   MAINTAIN  Trickle rounds of tau, tau_l to tau_h: at a random time in the second half a node advertises how many
 *             pages it has, unless it heard k = 1 advertisement that says the same (M.1, M.2). One that differs brings
 *             tau back to tau_l (M.3); after a quiet round tau doubles (M.4).
 *             An advertisement of more pages leads to RX, unless a request for a page this node has, or data of a page
 *             it has or needs next, was overheard within 2 tau: somebody near is busy with what comes first (M.5).
 *             A request to this node for a page it has leads to TX (M.6).
 *   RX        After a random delay the node that advertised is asked for the packets that are missing of the next page
 *             (R.1); a request or data overheard in the meantime puts it off. After lambda = 2 requests in a row that
 *             brought nothing, or when the page is whole, back to MAINTAIN (R.2, R.3).
 *   TX        All packets that anybody asked for, in turn, until none is left (T.1, T.2). A request for or data of an
 *             earlier page silences the sender: lower pages go first, so pages follow each other through the network.
 *
 * Parameters: deluge_page 48 packets, deluge_packet 23 bytes (1,104 bytes a page, as published). tau_l 512 ms: the
 * implementation's for the CC2420; the paper's 2 s belong to a radio a sixth as fast, and keep the same proportion of
 * waiting to sending. tau_h 60 s, k 1, lambda 2 (paper); request delay 16 ms + U(256 ms), waiting for data 128 ms +
 * U(128 ms), 2 ms between packets and the CC2420 stack's initial backoff of 0.3 to 10 ms before each (implementation).
 * Frames without FCS: MAC header with network and message type 11 bytes, then 15 (advertisement), 10 + bits of a page
 * (request), 7 + payload (data); page numbers have two bytes, the implementation's one ends at 255 pages.
 *
 * Over extended advertising the same runs with packets of 192 bytes (as this project's CHUNK) behind an AD header of 4
 * bytes; the radio paces the packets then.
 *
 * Simplified: all nodes know from the start that there is a new object and its length (the implementation spreads that
 * with Drip before); flash takes no time; CRCs are not computed; a page's last packet is padded, a last page is as long
 * as it needs to be. Sources: all gateways.
 */
#include "baseline.h"
#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAU_LOW_US UINT64_C(512000)
#define TAU_HIGH_US UINT64_C(60000000)
#define SUPPRESS_K 1
#define REQUESTS_MAX 2 /* lambda */
#define REQUEST_DELAY_US 16000
#define REQUEST_RANDOM_US 256000
#define DATA_WAIT_US 128000
#define DATA_WAIT_RANDOM_US 128000
#define PACKET_GAP_US 2300 /* 2 ms and the least initial backoff */
#define PACKET_GAP_RANDOM_US 9500

#define MAC_HEADER 11
#define AD_HEADER 4
#define ADVERT_BODY 15
#define REQUEST_BODY 10 /* before the bits */
#define DATA_BODY 7     /* before the payload */
#define EXTENDED_PACKET 192
#define PAGE_PACKETS_MAX 128
#define FRAME_MAX_802154 125
#define NODES_MAX 65534 /* addresses of two bytes, 0xFFFF is everybody */
#define NOBODY UINT32_MAX

enum { TYPE_ADVERT, TYPE_REQUEST, TYPE_DATA };
static const char *const types[16] = {
    [TYPE_ADVERT] = "advertisement", [TYPE_REQUEST] = "request", [TYPE_DATA] = "data"};

enum phase { MAINTAIN, RX, TX };

struct bits {
    uint64_t word[PAGE_PACKETS_MAX / 64];
};

struct deluge_node {
    struct bits missing; /* of page `pages` */
    struct bits wanted;  /* TX: packets to send of page `sending` */
    sim_time round_end;
    sim_time advertise_at; /* SIM_NEVER: done in this round */
    sim_time timer_at;     /* RX: request or give up; TX: next packet */
    sim_time quiet_until;  /* M.5 */
    uint32_t tau_us;
    uint32_t pages; /* whole ones; the next has this index */
    uint32_t source;
    uint32_t sending;
    uint32_t next_packet;
    uint8_t phase;    /* enum phase */
    uint8_t heard;    /* equal advertisements in this round */
    uint8_t failures; /* requests in a row that brought nothing */
    bool is_put_off;  /* RX: heard something that makes the request unnecessary for now */
    bool has_asked;   /* RX: a request was sent and nothing came since */
    bool wants_to_advertise, wants_to_request;
};

struct deluge {
    struct sim_baseline base;
    enum sim_bearer bearer;
    uint32_t offset; /* of the MAC header in a frame */
    uint32_t page_packets, payload, packets, pages;
    struct deluge_node *node; /* [own nodes] */
};

static struct deluge_node *node_of(struct deluge *d, uint32_t node)
{
    return &d->node[node - d->base.first];
}

static uint32_t packets_of_page(const struct deluge *d, uint32_t page)
{
    uint32_t rest = d->packets - page * d->page_packets;
    return rest < d->page_packets ? rest : d->page_packets;
}

static bool is_empty(const struct bits *b)
{
    return (b->word[0] | b->word[1]) == 0;
}

static void fill(struct bits *b, uint32_t n)
{
    memset(b, 0, sizeof(*b));
    for (uint32_t i = 0; i < n; i++)
        sim_bit_set(b->word, i);
}

/* --- phases ------------------------------------------------------------------------------------------------------ */

static void begin_round(struct deluge *d, uint32_t node, sim_time now, uint64_t tau_us)
{
    struct deluge_node *n = node_of(d, node);
    n->tau_us = (uint32_t)tau_us;
    n->round_end = now + tau_us;
    n->advertise_at = now + tau_us / 2 + sim_baseline_jitter(&d->base, node, (uint32_t)(tau_us / 2));
    n->heard = 0;
    n->wants_to_advertise = false;
}

static void enter_maintain(struct deluge *d, uint32_t node, sim_time now, uint64_t tau_us)
{
    struct deluge_node *n = node_of(d, node);
    n->phase = MAINTAIN;
    n->timer_at = SIM_NEVER;
    n->wants_to_request = false;
    memset(&n->wanted, 0, sizeof(n->wanted));
    begin_round(d, node, now, tau_us);
}

static void enter_rx(struct deluge *d, uint32_t node, sim_time now, uint32_t source)
{
    struct deluge_node *n = node_of(d, node);
    n->phase = RX;
    n->source = source;
    n->failures = 0;
    n->is_put_off = n->has_asked = false;
    n->wants_to_advertise = false;
    n->timer_at = now + REQUEST_DELAY_US + sim_baseline_jitter(&d->base, node, REQUEST_RANDOM_US);
}

static void wait_for_data(struct deluge *d, uint32_t node, sim_time now)
{
    node_of(d, node)->timer_at = now + DATA_WAIT_US + sim_baseline_jitter(&d->base, node, DATA_WAIT_RANDOM_US);
}

static void enter_tx(struct deluge *d, uint32_t node, sim_time now, uint32_t page)
{
    struct deluge_node *n = node_of(d, node);
    n->phase = TX;
    n->sending = page;
    n->next_packet = 0;
    n->timer_at = now;
    n->wants_to_advertise = false;
    (void)d;
}

/* Timers that are due. */
static void advance(struct deluge *d, uint32_t node, sim_time now)
{
    struct deluge_node *n = node_of(d, node);
    switch ((enum phase)n->phase) {
    case MAINTAIN:
        if (n->advertise_at <= now) {
            n->advertise_at = SIM_NEVER;
            n->wants_to_advertise = n->heard < SUPPRESS_K;
        }
        if (n->round_end <= now)
            begin_round(d, node, now, n->tau_us * UINT64_C(2) < TAU_HIGH_US ? n->tau_us * UINT64_C(2) : TAU_HIGH_US);
        break;
    case RX:
        if (n->timer_at > now)
            break;
        if (n->is_put_off) {
            n->is_put_off = false;
            wait_for_data(d, node, now);
            break;
        }
        if (n->has_asked)
            n->failures++;
        n->has_asked = false;
        if (n->failures >= REQUESTS_MAX) {
            enter_maintain(d, node, now, TAU_LOW_US);
            break;
        }
        n->timer_at = SIM_NEVER; /* goes on when the request was sent */
        n->wants_to_request = true;
        break;
    case TX:
        break; /* in write */
    }
}

/* --- frames ------------------------------------------------------------------------------------------------------ */

static uint8_t *begin_frame(const struct deluge *d, struct sim_frame *frame, uint32_t node, unsigned type, size_t body)
{
    size_t header = d->offset + MAC_HEADER;
    memset(frame->data, 0, header + body);
    frame->data[d->offset + MAC_HEADER - 1] = (uint8_t)type;
    sim_put16(frame->data + d->offset + 7, node); /* source address */
    frame->type = (uint8_t)type;
    frame->len = header + body;
    return frame->data + header;
}

static void write_advert(struct deluge *d, uint32_t node, struct sim_frame *frame)
{
    uint8_t *body = begin_frame(d, frame, node, TYPE_ADVERT, ADVERT_BODY);
    sim_put16(body, node_of(d, node)->pages);
    node_of(d, node)->wants_to_advertise = false;
}

static void write_request(struct deluge *d, uint32_t node, sim_time now, struct sim_frame *frame)
{
    struct deluge_node *n = node_of(d, node);
    uint32_t bytes = (d->page_packets + 7) / 8;
    uint8_t *body = begin_frame(d, frame, node, TYPE_REQUEST, REQUEST_BODY + bytes);
    sim_put16(body, n->source);
    sim_put16(body + 8, n->pages);
    for (uint32_t i = 0; i < d->page_packets; i++)
        if (sim_bit_get(n->missing.word, i))
            body[REQUEST_BODY + i / 8] |= (uint8_t)(1u << (i % 8));
    n->wants_to_request = false;
    n->has_asked = true;
    wait_for_data(d, node, now);
}

/* The next wanted packet after the last one sent, round and round; false: none. */
static bool write_data(struct deluge *d, uint32_t node, sim_time now, struct sim_frame *frame)
{
    struct deluge_node *n = node_of(d, node);
    if (is_empty(&n->wanted))
        return false;
    while (!sim_bit_get(n->wanted.word, n->next_packet))
        n->next_packet = (n->next_packet + 1) % PAGE_PACKETS_MAX;
    uint8_t *body = begin_frame(d, frame, node, TYPE_DATA, DATA_BODY + d->payload);
    sim_put16(body + 4, n->sending);
    body[6] = (uint8_t)n->next_packet;
    sim_bit_clear(n->wanted.word, n->next_packet);
    n->timer_at = now;
    if (d->bearer == SIM_BEARER_802154)
        n->timer_at += PACKET_GAP_US + sim_baseline_jitter(&d->base, node, PACKET_GAP_RANDOM_US);
    return true;
}

static void hear_advert(struct deluge *d, uint32_t node, sim_time now, uint32_t from, const uint8_t *body)
{
    struct deluge_node *n = node_of(d, node);
    uint32_t pages = sim_get16(body);
    if (pages > d->pages)
        return;
    if (pages > n->pages && n->phase == RX)
        n->source = from;
    if (n->phase != MAINTAIN)
        return;
    if (pages == n->pages) {
        if (n->heard < UINT8_MAX)
            n->heard++;
        return;
    }
    if (pages > n->pages && now >= n->quiet_until) {
        enter_rx(d, node, now, from);
        n->tau_us = (uint32_t)TAU_LOW_US;
    } else if (n->tau_us > TAU_LOW_US) {
        begin_round(d, node, now, TAU_LOW_US);
    }
}

/* Traffic about `page` overheard, data or request: who yields to it. */
static void hear_traffic(struct deluge *d, uint32_t node, sim_time now, uint32_t page, bool is_data)
{
    struct deluge_node *n = node_of(d, node);
    if (page < n->pages || (is_data && page == n->pages))
        n->quiet_until = now + UINT64_C(2) * n->tau_us;
    if (n->phase == RX && page <= n->pages)
        n->is_put_off = true;
    if (n->phase == TX && page < n->sending)
        enter_maintain(d, node, now, TAU_LOW_US);
}

static void hear_request(struct deluge *d, uint32_t node, sim_time now, const uint8_t *body)
{
    struct deluge_node *n = node_of(d, node);
    uint32_t page = sim_get16(body + 8);
    if (page >= d->pages)
        return;
    hear_traffic(d, node, now, page, false);
    if (sim_get16(body) != node || page >= n->pages)
        return;
    if (n->phase == MAINTAIN)
        enter_tx(d, node, now, page);
    if (n->phase != TX || n->sending != page)
        return;
    for (uint32_t i = 0; i < packets_of_page(d, page); i++)
        if ((body[REQUEST_BODY + i / 8] >> (i % 8) & 1) != 0)
            sim_bit_set(n->wanted.word, i);
}

static void hear_data(struct deluge *d, uint32_t node, sim_time now, const uint8_t *body)
{
    struct deluge_node *n = node_of(d, node);
    uint32_t page = sim_get16(body + 4), packet = body[6];
    if (page >= d->pages || packet >= packets_of_page(d, page))
        return;
    hear_traffic(d, node, now, page, true);
    if (page != n->pages || !sim_bit_get(n->missing.word, packet))
        return;
    sim_bit_clear(n->missing.word, packet);
    n->has_asked = false;
    n->failures = 0;
    if (!is_empty(&n->missing))
        return;
    n->pages++;
    if (n->pages == d->pages)
        sim_baseline_complete(&d->base, node, now);
    else
        fill(&n->missing, packets_of_page(d, n->pages));
    if (n->phase != TX)
        enter_maintain(d, node, now, TAU_LOW_US);
}

static void deluge_receive(void *ctx, uint32_t node, sim_time now, const struct sim_heard *heard)
{
    struct deluge *d = ctx;
    size_t header = d->offset + MAC_HEADER;
    if (heard->len < header || now < d->base.start_at)
        return;
    const uint8_t *body = heard->data + header;
    size_t len = heard->len - header;
    unsigned type = heard->data[header - 1];
    if (type == TYPE_ADVERT && len == ADVERT_BODY)
        hear_advert(d, node, now, sim_get16(heard->data + d->offset + 7), body);
    else if (type == TYPE_REQUEST && len == REQUEST_BODY + (d->page_packets + 7) / 8)
        hear_request(d, node, now, body);
    else if (type == TYPE_DATA && len == DATA_BODY + d->payload)
        hear_data(d, node, now, body);
}

/* --- the stack --------------------------------------------------------------------------------------------------- */

static void deluge_close(void *ctx)
{
    struct deluge *d = ctx;
    free(d->node);
    sim_baseline_end(&d->base);
    free(d);
}

static bool is_sound(struct deluge *d, char *error, size_t cap)
{
    size_t frame = d->offset + MAC_HEADER + DATA_BODY + d->payload;
    if (d->page_packets == 0 || d->page_packets > PAGE_PACKETS_MAX) {
        (void)snprintf(error, cap, "deluge_page must be 1 to %d packets", PAGE_PACKETS_MAX);
        return false;
    }
    if (d->payload == 0 || (d->bearer == SIM_BEARER_802154 && frame > FRAME_MAX_802154)) {
        (void)snprintf(error, cap, "deluge_packet must be 1 to %d bytes", FRAME_MAX_802154 - MAC_HEADER - DATA_BODY);
        return false;
    }
    d->packets = (d->base.size_bytes + d->payload - 1) / d->payload;
    d->pages = (d->packets + d->page_packets - 1) / d->page_packets;
    if (d->pages > UINT16_MAX || d->base.field->count > NODES_MAX) {
        (void)snprintf(error, cap, "Deluge's numbers of two bytes end at %d nodes and %d pages", NODES_MAX,
                       (int)UINT16_MAX);
        return false;
    }
    return true;
}

static void *open_on(struct sim_engine *e, enum sim_bearer bearer, char *error, size_t cap)
{
    struct deluge *d = calloc(1, sizeof(*d));
    if (d == NULL) {
        (void)snprintf(error, cap, "out of memory for the Deluge baseline");
        return NULL;
    }
    if (sim_baseline_begin(&d->base, e, error, cap) != 0)
        goto fail;
    const struct sim_baseline_plan *plan = &sim_engine_scenario(e)->baseline;
    d->bearer = bearer;
    d->offset = bearer == SIM_BEARER_802154 ? 0 : AD_HEADER;
    d->page_packets = plan->deluge_page;
    d->payload = bearer == SIM_BEARER_802154 ? plan->deluge_packet_bytes : EXTENDED_PACKET;
    if (!is_sound(d, error, cap))
        goto fail;
    d->node = calloc(d->base.count > 0 ? d->base.count : 1, sizeof(*d->node));
    if (d->node == NULL) {
        (void)snprintf(error, cap, "out of memory for the nodes of the Deluge baseline");
        goto fail;
    }
    return d;
fail:
    deluge_close(d);
    return NULL;
}

static void *deluge_open(struct sim_engine *e, char *error, size_t cap)
{
    return open_on(e, SIM_BEARER_802154, error, cap);
}

static void *deluge_open_extended(struct sim_engine *e, char *error, size_t cap)
{
    return open_on(e, SIM_BEARER_EXTENDED, error, cap);
}

static int deluge_start(void *ctx, uint32_t node, sim_time now)
{
    struct deluge *d = ctx;
    struct deluge_node *n = node_of(d, node);
    (void)now;
    n->source = NOBODY;
    if (sim_baseline_is_gateway(&d->base, node))
        n->pages = d->pages;
    else
        fill(&n->missing, packets_of_page(d, 0));
    enter_maintain(d, node, d->base.start_at, TAU_LOW_US);
    return 0;
}

static void deluge_expire(void *ctx, uint32_t node, sim_time now)
{
    advance(ctx, node, now);
}

static int deluge_write(void *ctx, uint32_t node, sim_time now, struct sim_frame *frame)
{
    struct deluge *d = ctx;
    struct deluge_node *n = node_of(d, node);
    advance(d, node, now);
    if (n->wants_to_request) {
        write_request(d, node, now, frame);
        return 1;
    }
    if (n->wants_to_advertise) {
        write_advert(d, node, frame);
        return 1;
    }
    if (n->phase != TX || n->timer_at > now)
        return 0;
    if (write_data(d, node, now, frame))
        return 1;
    enter_maintain(d, node, now, TAU_LOW_US);
    return 0;
}

static sim_time deluge_next_expiry(void *ctx, uint32_t node)
{
    const struct deluge_node *n = node_of(ctx, node);
    if (n->wants_to_request || n->wants_to_advertise)
        return 0;
    if (n->phase != MAINTAIN)
        return n->timer_at;
    return n->advertise_at < n->round_end ? n->advertise_at : n->round_end;
}

static int deluge_save(void *ctx, struct sim_archive *a)
{
    const struct deluge *d = ctx;
    if (sim_baseline_save(&d->base, a) != 0 || sim_archive_section(a, "DELU") != 0)
        return -1;
    return sim_archive_put(a, d->node, d->base.count * sizeof(*d->node));
}

static int deluge_load(void *ctx, struct sim_archive *a)
{
    struct deluge *d = ctx;
    if (sim_baseline_load(&d->base, a) != 0 || sim_archive_section(a, "DELU") != 0)
        return -1;
    if (sim_archive_get(a, d->node, d->base.count * sizeof(*d->node)) != 0)
        return -1;
    for (uint32_t i = 0; i < d->base.count; i++) {
        const struct deluge_node *n = &d->node[i];
        if (n->phase > TX || n->pages > d->pages || n->next_packet >= PAGE_PACKETS_MAX ||
            (n->phase == TX && n->sending >= d->pages))
            return sim_archive_fail(a, "a node's state in the checkpoint is impossible");
    }
    return 0;
}

static void deluge_finish(void *ctx, sim_time now)
{
    struct deluge *d = ctx;
    (void)now;
    sim_baseline_finish(&d->base);
}

#define DELUGE_STACK(its_name, its_bearer, its_open)                                                                   \
    {                                                                                                                  \
        .name = (its_name), .types = types, .bearer = (its_bearer), .open = (its_open), .close = deluge_close,         \
        .start = deluge_start, .receive = deluge_receive, .expire = deluge_expire, .write = deluge_write,              \
        .next_expiry = deluge_next_expiry, .save = deluge_save, .load = deluge_load, .finish = deluge_finish           \
    }

const struct sim_stack *sim_baseline_deluge(void)
{
    static const struct sim_stack stack = DELUGE_STACK("deluge", SIM_BEARER_802154, deluge_open);
    return &stack;
}

const struct sim_stack *sim_baseline_deluge_extended(void)
{
    static const struct sim_stack stack = DELUGE_STACK("deluge-ble", SIM_BEARER_EXTENDED, deluge_open_extended);
    return &stack;
}
