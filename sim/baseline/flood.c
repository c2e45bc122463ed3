/*
 * Naive flooding: every node repeats every packet it hears for the first time, once, and nobody repairs anything.
 *
 * Follows the "simple flooding" of Ni, Tseng, Chen, Sheu, "The Broadcast Storm Problem in a Mobile Ad Hoc Network"
 * (MobiCom 1999) and its probabilistic scheme; with flood_probability = 100 % the two are the same. There is no
 * feedback, so the source cannot know what is missing: it sends the image flood_repeats times and is done. Nodes
 * repeat a packet again in each of these rounds. Coverage below 100 % is therefore an outcome, not an error.
 *
 * Parameters: flood_probability 100 %, flood_repeats 1. A packet is 192 bytes of the image in an extended advertising
 * frame of 229 bytes, the size of this project's CHUNK frame, so that both pay the same airtime for the same bytes.
 * Sources (all gateways) send a packet whenever their radio takes one; a node waits a random 0 to 50 ms (the paper's
 * random assessment delay, here several advertising events wide) before it repeats one, and holds at most 32 to be
 * repeated, as Zephyr's relay buffers do; what comes on top is not repeated.
 *
 * Simplified: no authentication is computed (its bytes are in the frame), duplicates are known from one bit a packet
 * instead of a bounded cache, which can only help flooding.
 */
#include "baseline.h"
#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_BYTES 229
#define PACKET_BYTES 192
#define JITTER_US 50000
#define QUEUE_MAX 32
#define ROUNDS_MAX 254

enum { TYPE_DATA };
static const char *const types[16] = {[TYPE_DATA] = "data"};

/* A packet that waits to be repeated. */
struct repeat {
    sim_time due;
    uint32_t packet;
    uint32_t round;
};

struct flood_node {
    uint32_t held;  /* packets */
    uint32_t next;  /* source: packet to send next; all sent: packets */
    uint32_t round; /* source: the one it sends */
    uint32_t waiting;
    struct repeat repeat[QUEUE_MAX];
};

struct flood {
    struct sim_baseline base;
    uint32_t packets;
    uint32_t rounds;
    uint32_t probability_ppm;
    size_t words;
    struct flood_node *node; /* [own nodes] */
    uint64_t *held;          /* [own nodes][words] packets it has */
    uint8_t *seen;           /* [own nodes][packets] the last round in which it heard the packet, plus 1 */
};

static uint64_t *held_of(struct flood *f, uint32_t node)
{
    return f->held + (node - f->base.first) * f->words;
}

static uint8_t *seen_of(struct flood *f, uint32_t node)
{
    return f->seen + (size_t)(node - f->base.first) * f->packets;
}

static void flood_close(void *ctx)
{
    struct flood *f = ctx;
    free(f->node);
    free(f->held);
    free(f->seen);
    sim_baseline_end(&f->base);
    free(f);
}

static void *flood_open(struct sim_engine *e, char *error, size_t cap)
{
    struct flood *f = calloc(1, sizeof(*f));
    if (f == NULL) {
        (void)snprintf(error, cap, "out of memory for the flooding baseline");
        return NULL;
    }
    if (sim_baseline_begin(&f->base, e, error, cap) != 0)
        goto fail;
    const struct sim_baseline_plan *plan = &sim_engine_scenario(e)->baseline;
    f->packets = (f->base.size_bytes + PACKET_BYTES - 1) / PACKET_BYTES;
    f->words = SIM_BITS_WORDS(f->packets);
    f->rounds = plan->flood_repeats;
    f->probability_ppm = plan->flood_ppm;
    if (f->rounds == 0 || f->rounds > ROUNDS_MAX) {
        (void)snprintf(error, cap, "flood_repeats must be 1 to %d", ROUNDS_MAX);
        goto fail;
    }
    size_t count = f->base.count > 0 ? f->base.count : 1;
    f->node = calloc(count, sizeof(*f->node));
    f->held = calloc(count * f->words, sizeof(*f->held));
    f->seen = calloc(count * f->packets, sizeof(*f->seen));
    if (f->node == NULL || f->held == NULL || f->seen == NULL) {
        (void)snprintf(error, cap, "out of memory for the nodes of the flooding baseline");
        goto fail;
    }
    return f;
fail:
    flood_close(f);
    return NULL;
}

static int flood_start(void *ctx, uint32_t node, sim_time now)
{
    (void)ctx;
    (void)node;
    (void)now;
    return 0;
}

static void flood_receive(void *ctx, uint32_t node, sim_time now, const struct sim_heard *heard)
{
    struct flood *f = ctx;
    struct flood_node *n = &f->node[node - f->base.first];
    if (heard->len != FRAME_BYTES || sim_baseline_is_gateway(&f->base, node))
        return;
    uint32_t round = heard->data[0], packet = sim_get32(heard->data + 1);
    if (packet >= f->packets || round >= f->rounds)
        return;
    if (!sim_bit_get(held_of(f, node), packet)) {
        sim_bit_set(held_of(f, node), packet);
        if (++n->held == f->packets)
            sim_baseline_complete(&f->base, node, now);
    }
    if (seen_of(f, node)[packet] > round)
        return;
    seen_of(f, node)[packet] = (uint8_t)(round + 1);
    if (sim_scale(sim_engine_random(f->base.engine, node), 1000000) >= f->probability_ppm || n->waiting == QUEUE_MAX)
        return;
    n->repeat[n->waiting++] =
        (struct repeat){.due = now + sim_baseline_jitter(&f->base, node, JITTER_US), .packet = packet, .round = round};
}

static void flood_expire(void *ctx, uint32_t node, sim_time now)
{
    (void)ctx;
    (void)node;
    (void)now; /* all that is due is sent by write */
}

/* Index of the repeat that is due first; waiting is at least 1. */
static uint32_t first_due(const struct flood_node *n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n->waiting; i++)
        if (n->repeat[i].due < n->repeat[best].due)
            best = i;
    return best;
}

static bool is_sending(const struct flood *f, uint32_t node)
{
    const struct flood_node *n = &f->node[node - f->base.first];
    return sim_baseline_is_gateway(&f->base, node) && n->round < f->rounds;
}

static int flood_write(void *ctx, uint32_t node, sim_time now, struct sim_frame *frame)
{
    struct flood *f = ctx;
    struct flood_node *n = &f->node[node - f->base.first];
    uint32_t packet;
    uint32_t round = n->round;
    if (is_sending(f, node)) {
        if (now < f->base.start_at)
            return 0;
        packet = n->next++;
        if (n->next == f->packets) {
            n->next = 0;
            n->round++;
        }
    } else {
        if (n->waiting == 0)
            return 0;
        uint32_t i = first_due(n);
        if (n->repeat[i].due > now)
            return 0;
        packet = n->repeat[i].packet;
        round = n->repeat[i].round;
        n->repeat[i] = n->repeat[--n->waiting];
    }
    memset(frame->data, 0, FRAME_BYTES);
    frame->data[0] = (uint8_t)round;
    sim_put32(frame->data + 1, packet);
    frame->len = FRAME_BYTES;
    frame->type = TYPE_DATA;
    return 1;
}

static sim_time flood_next_expiry(void *ctx, uint32_t node)
{
    struct flood *f = ctx;
    const struct flood_node *n = &f->node[node - f->base.first];
    if (is_sending(f, node))
        return f->base.start_at;
    return n->waiting == 0 ? SIM_NEVER : n->repeat[first_due(n)].due;
}

static int flood_save(void *ctx, struct sim_archive *a)
{
    const struct flood *f = ctx;
    size_t bits = f->base.count * f->words * sizeof(uint64_t);
    if (sim_baseline_save(&f->base, a) != 0 || sim_archive_section(a, "FLUD") != 0)
        return -1;
    if (sim_archive_put(a, f->node, f->base.count * sizeof(*f->node)) != 0 || sim_archive_put(a, f->held, bits) != 0)
        return -1;
    return sim_archive_put(a, f->seen, (size_t)f->base.count * f->packets);
}

static int flood_load(void *ctx, struct sim_archive *a)
{
    struct flood *f = ctx;
    size_t bits = f->base.count * f->words * sizeof(uint64_t);
    if (sim_baseline_load(&f->base, a) != 0 || sim_archive_section(a, "FLUD") != 0)
        return -1;
    if (sim_archive_get(a, f->node, f->base.count * sizeof(*f->node)) != 0 || sim_archive_get(a, f->held, bits) != 0)
        return -1;
    for (uint32_t i = 0; i < f->base.count; i++)
        if (f->node[i].waiting > QUEUE_MAX || f->node[i].next >= f->packets)
            return sim_archive_fail(a, "a node's queue in the checkpoint is impossible");
    return sim_archive_get(a, f->seen, (size_t)f->base.count * f->packets);
}

static void flood_finish(void *ctx, sim_time now)
{
    struct flood *f = ctx;
    (void)now;
    sim_baseline_finish(&f->base);
}

const struct sim_stack *sim_baseline_flood(void)
{
    static const struct sim_stack stack = {.name = "flood",
                                           .types = types,
                                           .bearer = SIM_BEARER_EXTENDED,
                                           .open = flood_open,
                                           .close = flood_close,
                                           .start = flood_start,
                                           .receive = flood_receive,
                                           .expire = flood_expire,
                                           .write = flood_write,
                                           .next_expiry = flood_next_expiry,
                                           .save = flood_save,
                                           .load = flood_load,
                                           .finish = flood_finish};
    return &stack;
}
