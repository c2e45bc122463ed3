/*
 * Unicast: the gateway updates one node after the other, each over a fixed path of relays.
 *
 * What a vendor's tool does that connects to one device at a time, moved into the mesh: there is no document to follow
 * but the textbook one of store and forward with hop-by-hop acknowledgements. Frames travel in extended advertising,
 * so that this baseline has the same radio as the project's node.
 *
 *   Tree      Every node's parent is the neighbour one hop nearer to its gateway with the least path loss. Everybody
 *             knows the tree; nothing is spent on building or repairing it.
 *   Hop       A frame is sent to the next hop until that acknowledges it: after 80 to 120 ms without an answer again,
 *             at most unicast_retries (10) times, then it is dropped. A relay holds four frames; when they are four it
 *             answers "busy", which costs the sender a wait but no retry. Frames of one path follow each other without
 *             waiting for the end of it. An acknowledgement goes before everything else.
 *   End       When all packets are under way the gateway polls the node, which answers with what is missing (a window
 *             of 1,280 packets). Missing ones are sent again, then it is polled again, until nothing is missing or
 *             unicast_retries polls stay unanswered. The gateway then turns to the next node, in ascending order, and
 *             begins anew with those it gave up, until a whole round brings nobody further.
 *
 * The time for the fleet is therefore about the sum over its nodes. Several gateways work side by side, each for the
 * nodes nearest to it. A packet is 192 bytes of the image in a frame of 227: AD header 4, addresses and numbers 23, tag
 * 8. Acknowledgement and poll have 35 bytes, the answer to a poll 199.
 *
 * Simplified: node numbers are addresses; tags are counted and not computed.
 */
#include "baseline.h"
#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PACKET_BYTES 192
#define HEADER_BYTES 35
#define AD_HEADER 4
#define QUEUE_MAX 4
#define ANSWER_WAIT_US 80000
#define ANSWER_WAIT_RANDOM_US 40000
#define POLL_WAIT_US UINT64_C(2000000) /* and as much for every 4 hops */
#define WINDOW 1280                    /* packets in the answer to a poll */
#define STATUS_BODY (4 + WINDOW / 8)
#define NOBODY UINT32_MAX

enum type { TYPE_DATA, TYPE_ACK, TYPE_POLL, TYPE_STATUS };
static const char *const types[16] = {
    [TYPE_DATA] = "data", [TYPE_ACK] = "ack", [TYPE_POLL] = "poll", [TYPE_STATUS] = "status"};

/* A frame on its way through this node. */
struct item {
    uint32_t target; /* whose update this is about: POLL and DATA go to it, STATUS comes from it */
    uint32_t packet; /* DATA: which; STATUS: the first that is missing, the number of packets if none is */
    uint8_t type;
    uint8_t window[WINDOW / 8]; /* STATUS: bit i: packet + i is missing */
};

struct answer {
    uint32_t to;
    uint16_t sequence;
    bool is_busy;
};

/* Last frame taken from a neighbour, to know its repetition. */
struct taken {
    uint32_t from;
    uint16_t sequence;
};

struct unicast_node {
    struct item queue[QUEUE_MAX]; /* the first is being sent */
    uint8_t queued;
    uint8_t answers;
    uint8_t taken_next;
    uint8_t tries;     /* of the first */
    bool is_waiting;   /* for the answer to the first */
    uint16_t sequence; /* of the first */
    sim_time timer_at; /* end of the wait */
    struct answer answer[QUEUE_MAX];
    struct taken taken[QUEUE_MAX];
    uint32_t held; /* packets */
};

enum work { WORK_SEND, WORK_REPAIR, WORK_WAIT, WORK_DONE };

/* What a gateway does for its nodes. */
struct agent {
    uint32_t first, count; /* its nodes in targets[] */
    uint32_t at;           /* the one it updates, 0 to count - 1 */
    uint32_t next_packet;
    uint32_t window_first;
    uint32_t polls;    /* without an answer */
    uint8_t work;      /* enum work */
    bool has_advanced; /* somebody was finished in this round */
    bool wants_poll;
    sim_time timer_at;
    uint8_t window[WINDOW / 8];
};

struct unicast {
    struct sim_baseline base;
    uint32_t packets, retries;
    size_t words;
    uint32_t *parent;    /* [world] NOBODY: gateways and unreachable ones */
    uint32_t *targets;   /* [world] nodes by gateway, ascending */
    bool *is_done;       /* [world] by index in targets: the gateway knows it complete */
    struct agent *agent; /* [gateways] */
    struct unicast_node *node;
    uint64_t *held; /* [own nodes][words] */
};

static struct unicast_node *node_of(struct unicast *u, uint32_t node)
{
    return &u->node[node - u->base.first];
}

/* --- the tree ---------------------------------------------------------------------------------------------------- */

static void choose_parents(struct unicast *u, const struct sim_field *all)
{
    const struct sim_baseline *b = &u->base;
    for (uint32_t node = 0; node < all->count; node++) {
        uint32_t count, best_loss = UINT32_MAX;
        const struct sim_link *link = sim_field_links(all, node, &count);
        u->parent[node] = NOBODY;
        if (b->hops[node] == 0 || b->hops[node] == UINT16_MAX)
            continue;
        for (uint32_t i = 0; i < count; i++) {
            uint32_t other = link[i].node;
            if (b->hops[other] + 1 != b->hops[node] || b->nearest[other] != b->nearest[node])
                continue;
            if (link[i].loss < best_loss) {
                best_loss = link[i].loss;
                u->parent[node] = other;
            }
        }
    }
}

/* Every rank needs the whole tree, so it looks at the links of the whole world. */
static int build_tree(struct unicast *u, char *error, size_t cap)
{
    const struct sim_field *f = u->base.field;
    if (f->first == 0 && f->limit == f->count) {
        choose_parents(u, f);
        return 0;
    }
    struct sim_field all;
    int status = sim_field_open(&all, f->scenario, 0, 1, error, cap);
    if (status == 0)
        choose_parents(u, &all);
    sim_field_close(&all);
    return status;
}

static void deal_out_targets(struct unicast *u)
{
    const struct sim_baseline *b = &u->base;
    uint32_t at = 0;
    for (uint32_t g = 0; g < b->gateway_count; g++) {
        u->agent[g].first = at;
        for (uint32_t node = 0; node < b->field->count; node++)
            if (u->parent[node] != NOBODY && b->nearest[node] == b->gateway[g])
                u->targets[at++] = node;
        u->agent[g].count = at - u->agent[g].first;
        u->agent[g].work = u->agent[g].count > 0 ? WORK_SEND : WORK_DONE;
    }
}

/* Next node on the way down from `node` to `target`; NOBODY: not below it. */
static uint32_t hop_down(const struct unicast *u, uint32_t node, uint32_t target)
{
    uint32_t at = target;
    while (at != NOBODY && u->parent[at] != node)
        at = u->parent[at];
    return at;
}

static uint32_t next_hop(const struct unicast *u, uint32_t node, const struct item *item)
{
    return item->type == TYPE_STATUS ? u->parent[node] : hop_down(u, node, item->target);
}

/* --- the gateway's side ------------------------------------------------------------------------------------------ */

static struct agent *agent_of(struct unicast *u, uint32_t node)
{
    for (uint32_t g = 0; g < u->base.gateway_count; g++)
        if (u->base.gateway[g] == node)
            return &u->agent[g];
    return NULL;
}

static uint32_t target_of(const struct unicast *u, const struct agent *g)
{
    return u->targets[g->first + g->at];
}

/* To the next node that is not known to be complete. */
static void turn_to_next(struct unicast *u, struct agent *g)
{
    for (uint32_t seen = 0; seen < 2 * g->count; seen++) {
        if (++g->at == g->count) {
            g->at = 0;
            if (!g->has_advanced)
                break;
            g->has_advanced = false;
        }
        if (u->is_done[g->first + g->at])
            continue;
        g->work = WORK_SEND;
        g->next_packet = 0;
        g->polls = 0;
        g->wants_poll = false;
        return;
    }
    g->work = WORK_DONE;
}

static void hear_status(struct unicast *u, uint32_t node, const struct item *item)
{
    struct agent *g = agent_of(u, node);
    if (g == NULL || g->work != WORK_WAIT || item->target != target_of(u, g))
        return;
    g->wants_poll = false;
    g->polls = 0;
    if (item->packet >= u->packets) {
        u->is_done[g->first + g->at] = true;
        g->has_advanced = true;
        turn_to_next(u, g);
        return;
    }
    g->work = WORK_REPAIR;
    g->window_first = item->packet;
    g->next_packet = 0;
    memcpy(g->window, item->window, sizeof(g->window));
}

/* The gateway's next frame, for an empty queue; false: none now. */
static bool compose(struct unicast *u, struct agent *g, sim_time now, struct item *item)
{
    memset(item, 0, sizeof(*item));
    item->target = g->work == WORK_DONE ? NOBODY : target_of(u, g);
    switch ((enum work)g->work) {
    case WORK_SEND:
        if (g->next_packet < u->packets) {
            item->packet = g->next_packet++;
            return true;
        }
        break;
    case WORK_REPAIR:
        for (; g->next_packet < WINDOW; g->next_packet++)
            if ((g->window[g->next_packet / 8] >> (g->next_packet % 8) & 1) != 0) {
                item->packet = g->window_first + g->next_packet++;
                return item->packet < u->packets;
            }
        break;
    case WORK_WAIT:
        if (!g->wants_poll)
            return false;
        break;
    case WORK_DONE:
        return false;
    }
    item->type = TYPE_POLL;
    g->work = WORK_WAIT;
    g->wants_poll = false;
    g->timer_at = now + POLL_WAIT_US + POLL_WAIT_US * u->base.hops[item->target] / 4;
    return true;
}

static void advance_agent(struct unicast *u, struct agent *g, sim_time now)
{
    if (g->work != WORK_WAIT || g->wants_poll || g->timer_at > now)
        return;
    if (g->polls++ < u->retries)
        g->wants_poll = true;
    else
        turn_to_next(u, g);
}

/* --- the target's side ------------------------------------------------------------------------------------------- */

static void take_packet(struct unicast *u, uint32_t node, sim_time now, uint32_t packet)
{
    uint64_t *held = u->held + (node - u->base.first) * u->words;
    if (packet >= u->packets || sim_bit_get(held, packet))
        return;
    sim_bit_set(held, packet);
    if (++node_of(u, node)->held == u->packets)
        sim_baseline_complete(&u->base, node, now);
}

static void compose_status(struct unicast *u, uint32_t node, struct item *item)
{
    const uint64_t *held = u->held + (node - u->base.first) * u->words;
    memset(item, 0, sizeof(*item));
    item->type = TYPE_STATUS;
    item->target = node;
    while (item->packet < u->packets && sim_bit_get(held, item->packet))
        item->packet++;
    for (uint32_t i = 0; i < WINDOW && item->packet + i < u->packets; i++)
        if (!sim_bit_get(held, item->packet + i))
            item->window[i / 8] |= (uint8_t)(1u << (i % 8));
}

/* --- one hop ----------------------------------------------------------------------------------------------------- */

static void drop_first(struct unicast_node *n)
{
    n->queued--;
    memmove(n->queue, n->queue + 1, n->queued * sizeof(n->queue[0]));
    n->is_waiting = false;
    n->tries = 0;
    n->sequence++;
}

static bool is_repetition(const struct unicast_node *n, uint32_t from, uint16_t sequence)
{
    for (unsigned i = 0; i < QUEUE_MAX; i++)
        if (n->taken[i].from == from && n->taken[i].sequence == sequence)
            return true;
    return false;
}

static void remember(struct unicast_node *n, uint32_t from, uint16_t sequence)
{
    unsigned slot = 0;
    while (slot < QUEUE_MAX && n->taken[slot].from != from)
        slot++;
    if (slot == QUEUE_MAX) {
        slot = n->taken_next;
        n->taken_next = (uint8_t)((n->taken_next + 1) % QUEUE_MAX);
    }
    n->taken[slot] = (struct taken){.from = from, .sequence = sequence};
}

static void hear_ack(struct unicast *u, uint32_t node, sim_time now, uint32_t from, uint16_t sequence, bool is_busy)
{
    struct unicast_node *n = node_of(u, node);
    if (!n->is_waiting || n->sequence != sequence || next_hop(u, node, &n->queue[0]) != from)
        return;
    if (!is_busy) {
        drop_first(n);
        return;
    }
    n->tries--; /* the neighbour lives: not a retry */
    n->timer_at = now + ANSWER_WAIT_US + sim_baseline_jitter(&u->base, node, ANSWER_WAIT_RANDOM_US);
}

/* What a frame for this hop leads to; false: no room, it has to come again. */
static bool take_item(struct unicast *u, uint32_t node, sim_time now, const struct item *item)
{
    struct unicast_node *n = node_of(u, node);
    if (item->type == TYPE_STATUS && sim_baseline_is_gateway(&u->base, node)) {
        hear_status(u, node, item);
        return true;
    }
    if (item->type == TYPE_DATA && item->target == node) {
        take_packet(u, node, now, item->packet);
        return true;
    }
    if (n->queued == QUEUE_MAX)
        return false;
    struct item *new = &n->queue[n->queued];
    if (item->type == TYPE_POLL && item->target == node)
        compose_status(u, node, new);
    else
        *new = *item;
    if (next_hop(u, node, new) != NOBODY)
        n->queued++;
    return true;
}

/* Header: AD header, type 1, next hop 4, this hop 4, target 4, origin 4 (implied by type and target: unused), sequence
 * 2, packet 4, tag 8. */
static void unicast_receive(void *ctx, uint32_t node, sim_time now, const struct sim_heard *heard)
{
    struct unicast *u = ctx;
    struct unicast_node *n = node_of(u, node);
    if (heard->len < HEADER_BYTES)
        return;
    const uint8_t *p = heard->data + AD_HEADER;
    uint32_t from = sim_get32(p + 5);
    uint16_t sequence = sim_get16(p + 17);
    if (sim_get32(p + 1) != node || p[0] > TYPE_STATUS)
        return;
    if (p[0] == TYPE_ACK) {
        hear_ack(u, node, now, from, sequence, sim_get32(p + 19) != 0);
        return;
    }
    struct item item = {.type = p[0], .target = sim_get32(p + 9), .packet = sim_get32(p + 19)};
    if (item.target >= u->base.field->count)
        return;
    if (item.type == TYPE_STATUS) {
        if (heard->len != HEADER_BYTES + STATUS_BODY)
            return;
        memcpy(item.window, heard->data + HEADER_BYTES + 4, sizeof(item.window));
    }
    if (n->answers == QUEUE_MAX)
        return;
    bool is_taken = is_repetition(n, from, sequence);
    if (!is_taken && (is_taken = take_item(u, node, now, &item)))
        remember(n, from, sequence);
    n->answer[n->answers++] = (struct answer){.to = from, .sequence = sequence, .is_busy = !is_taken};
}

static void begin_frame(struct sim_frame *frame, uint32_t node, uint32_t to, enum type type, uint16_t sequence)
{
    uint8_t *p = frame->data + AD_HEADER;
    memset(frame->data, 0, HEADER_BYTES);
    p[0] = (uint8_t)type;
    sim_put32(p + 1, to);
    sim_put32(p + 5, node);
    sim_put16(p + 17, sequence);
    frame->type = (uint8_t)type;
    frame->len = HEADER_BYTES;
}

static void write_item(struct unicast *u, uint32_t node, struct sim_frame *frame)
{
    const struct unicast_node *n = node_of(u, node);
    const struct item *item = &n->queue[0];
    uint8_t *p = frame->data + AD_HEADER;
    begin_frame(frame, node, next_hop(u, node, item), item->type, n->sequence);
    sim_put32(p + 9, item->target);
    sim_put32(p + 19, item->packet);
    if (item->type == TYPE_DATA) {
        memset(frame->data + HEADER_BYTES, 0, PACKET_BYTES);
        frame->len += PACKET_BYTES;
    }
    if (item->type == TYPE_STATUS) {
        memset(frame->data + HEADER_BYTES, 0, 4);
        memcpy(frame->data + HEADER_BYTES + 4, item->window, sizeof(item->window));
        frame->len += STATUS_BODY;
    }
}

static void advance(struct unicast *u, uint32_t node, sim_time now)
{
    struct unicast_node *n = node_of(u, node);
    struct agent *g = agent_of(u, node);
    if (n->is_waiting && n->timer_at <= now) {
        n->is_waiting = false;
        if (n->tries > u->retries)
            drop_first(n);
    }
    if (g == NULL || now < u->base.start_at)
        return;
    advance_agent(u, g, now);
    if (n->queued == 0 && compose(u, g, now, &n->queue[0]))
        n->queued = 1;
}

static void unicast_expire(void *ctx, uint32_t node, sim_time now)
{
    advance(ctx, node, now);
}

static int unicast_write(void *ctx, uint32_t node, sim_time now, struct sim_frame *frame)
{
    struct unicast *u = ctx;
    struct unicast_node *n = node_of(u, node);
    advance(u, node, now);
    if (n->answers > 0) {
        begin_frame(frame, node, n->answer[0].to, TYPE_ACK, n->answer[0].sequence);
        sim_put32(frame->data + AD_HEADER + 19, n->answer[0].is_busy);
        n->answers--;
        memmove(n->answer, n->answer + 1, n->answers * sizeof(n->answer[0]));
        return 1;
    }
    if (n->queued == 0 || n->is_waiting)
        return 0;
    write_item(u, node, frame);
    n->tries++;
    n->is_waiting = true;
    n->timer_at = now + ANSWER_WAIT_US + sim_baseline_jitter(&u->base, node, ANSWER_WAIT_RANDOM_US);
    return 1;
}

static sim_time unicast_next_expiry(void *ctx, uint32_t node)
{
    struct unicast *u = ctx;
    const struct unicast_node *n = node_of(u, node);
    if (n->answers > 0 || (n->queued > 0 && !n->is_waiting))
        return 0;
    sim_time next = n->is_waiting ? n->timer_at : SIM_NEVER;
    const struct agent *g = agent_of(u, node);
    if (g == NULL || g->work == WORK_DONE)
        return next;
    sim_time own = u->base.start_at; /* sends as soon as the queue is empty */
    if (g->work == WORK_WAIT && !g->wants_poll)
        own = g->timer_at;
    else if (n->queued > 0)
        own = SIM_NEVER;
    return own < next ? own : next;
}

/* --- the stack --------------------------------------------------------------------------------------------------- */

static void unicast_close(void *ctx)
{
    struct unicast *u = ctx;
    free(u->parent);
    free(u->targets);
    free(u->is_done);
    free(u->agent);
    free(u->node);
    free(u->held);
    sim_baseline_end(&u->base);
    free(u);
}

static void *unicast_open(struct sim_engine *e, char *error, size_t cap)
{
    struct unicast *u = calloc(1, sizeof(*u));
    if (u == NULL) {
        (void)snprintf(error, cap, "out of memory for the unicast baseline");
        return NULL;
    }
    if (sim_baseline_begin(&u->base, e, error, cap) != 0)
        goto fail;
    uint32_t world = u->base.field->count;
    size_t count = u->base.count > 0 ? u->base.count : 1;
    u->packets = (u->base.size_bytes + PACKET_BYTES - 1) / PACKET_BYTES;
    u->words = SIM_BITS_WORDS(u->packets);
    u->retries = sim_engine_scenario(e)->baseline.unicast_retries;
    if (u->retries >= UINT16_MAX) {
        (void)snprintf(error, cap, "unicast_retries must be 0 to %d", (int)(UINT16_MAX - 1));
        goto fail;
    }
    u->parent = calloc(world, sizeof(*u->parent));
    u->targets = calloc(world, sizeof(*u->targets));
    u->is_done = calloc(world, sizeof(*u->is_done));
    u->agent = calloc(u->base.gateway_count, sizeof(*u->agent));
    u->node = calloc(count, sizeof(*u->node));
    u->held = calloc(count * u->words, sizeof(*u->held));
    if (u->parent == NULL || u->targets == NULL || u->is_done == NULL || u->agent == NULL || u->node == NULL ||
        u->held == NULL) {
        (void)snprintf(error, cap, "out of memory for the nodes of the unicast baseline");
        goto fail;
    }
    if (build_tree(u, error, cap) != 0)
        goto fail;
    deal_out_targets(u);
    return u;
fail:
    unicast_close(u);
    return NULL;
}

static int unicast_start(void *ctx, uint32_t node, sim_time now)
{
    struct unicast_node *n = node_of(ctx, node);
    (void)now;
    for (unsigned i = 0; i < QUEUE_MAX; i++)
        n->taken[i].from = NOBODY;
    return 0;
}

static int unicast_save(void *ctx, struct sim_archive *a)
{
    const struct unicast *u = ctx;
    const struct sim_baseline *b = &u->base;
    if (sim_baseline_save(b, a) != 0 || sim_archive_section(a, "UNIC") != 0)
        return -1;
    if (sim_archive_put(a, u->is_done, b->field->count * sizeof(*u->is_done)) != 0 ||
        sim_archive_put(a, u->agent, b->gateway_count * sizeof(*u->agent)) != 0 ||
        sim_archive_put(a, u->node, b->count * sizeof(*u->node)) != 0)
        return -1;
    return sim_archive_put(a, u->held, b->count * u->words * sizeof(*u->held));
}

static bool is_sound(const struct unicast *u)
{
    uint32_t world = u->base.field->count;
    for (uint32_t i = 0; i < u->base.count; i++) {
        const struct unicast_node *n = &u->node[i];
        if (n->queued > QUEUE_MAX || n->answers > QUEUE_MAX || n->taken_next >= QUEUE_MAX)
            return false;
        for (unsigned k = 0; k < n->queued; k++)
            if (n->queue[k].target >= world || n->queue[k].type > TYPE_STATUS)
                return false;
    }
    for (uint32_t i = 0; i < u->base.gateway_count; i++) {
        const struct agent *g = &u->agent[i];
        if (g->work > WORK_DONE || g->first > world || g->count > world - g->first ||
            (g->at >= g->count && g->work != WORK_DONE) || g->next_packet > u->packets + WINDOW)
            return false;
    }
    return true;
}

static int unicast_load(void *ctx, struct sim_archive *a)
{
    struct unicast *u = ctx;
    const struct sim_baseline *b = &u->base;
    if (sim_baseline_load(&u->base, a) != 0 || sim_archive_section(a, "UNIC") != 0)
        return -1;
    if (sim_archive_get(a, u->is_done, b->field->count * sizeof(*u->is_done)) != 0 ||
        sim_archive_get(a, u->agent, b->gateway_count * sizeof(*u->agent)) != 0 ||
        sim_archive_get(a, u->node, b->count * sizeof(*u->node)) != 0)
        return -1;
    if (!is_sound(u))
        return sim_archive_fail(a, "a node's state in the checkpoint is impossible");
    return sim_archive_get(a, u->held, b->count * u->words * sizeof(*u->held));
}

static void unicast_finish(void *ctx, sim_time now)
{
    struct unicast *u = ctx;
    (void)now;
    sim_baseline_finish(&u->base);
}

const struct sim_stack *sim_baseline_unicast(void)
{
    static const struct sim_stack stack = {.name = "unicast",
                                           .types = types,
                                           .bearer = SIM_BEARER_EXTENDED,
                                           .open = unicast_open,
                                           .close = unicast_close,
                                           .start = unicast_start,
                                           .receive = unicast_receive,
                                           .expire = unicast_expire,
                                           .write = unicast_write,
                                           .next_expiry = unicast_next_expiry,
                                           .save = unicast_save,
                                           .load = unicast_load,
                                           .finish = unicast_finish};
    return &stack;
}
