/*
 * Neighbour table: who is heard directly, replay protection, and the gradient towards a gateway (docs/SPEC.md section
 * 6).
 */
#include "engine.h"

/* An entry whose owner was not heard for this long gives way to a newcomer; for QUIET it gives way only when nothing
 * better does. */
#define GONE_MS (3u * MP_TRICKLE_IMAX_MS)
#define QUIET_MS 600000u
/* Ages are kept in 16 bits of 256 ms; they stop here, before they wrap. */
#define AGE_MAX_TICKS 0x7000u

static uint64_t counter_of(const struct mp_neighbour *b)
{
    return b->counter[0] | (uint64_t)b->counter[1] << 16 | (uint64_t)b->counter[2] << 32;
}

uint32_t mp_neighbour_count(const struct mp_neighbour *b)
{
    return b->counter[0] | (uint32_t)b->counter[1] << 16;
}

uint32_t mp_neighbour_mark(const struct mp_neighbour *b)
{
    return b->nonce ? b->nonce : mp_neighbour_count(b);
}

unsigned mp_neighbour_age_ms(const struct mp_neighbour *b, uint32_t now_ms)
{
    return (unsigned)(uint16_t)((uint16_t)(now_ms >> 8) - b->heard) << 8;
}

struct mp_neighbour *mp_neighbour_find(struct mp_node *n, uint32_t node)
{
    for (unsigned i = 0; i < MP_NEIGHBOURS_MAX; i++)
        if (n->neighbour_tag[i] == (uint8_t)node && n->neighbours[i].node == node)
            return &n->neighbours[i];
    return NULL;
}

/* A hop count is worth believing while its round is the verified one or up to two behind it, and its owner is there. */
static bool is_hop_valid(const struct mp_call *c, const struct mp_neighbour *b)
{
    return b->node && b->hop < MP_HOP_NONE - 1 && c->n->round && (uint16_t)(c->n->round - b->round) <= 2 &&
           mp_neighbour_age_ms(b, c->now_ms) < GONE_MS;
}

void mp_neighbour_age(struct mp_call *c, bool has_slept)
{
    for (struct mp_neighbour *b = c->n->neighbours; b < c->n->neighbours + MP_NEIGHBOURS_MAX; b++)
        if (has_slept || mp_neighbour_age_ms(b, c->now_ms) >> 8 > AGE_MAX_TICKS)
            b->heard = (uint16_t)((c->now_ms >> 8) - AGE_MAX_TICKS);
    c->n->full_until = (uint16_t)(c->now_ms >> 8);
    mp_neighbour_update_hop(c);
}

static struct mp_neighbour *admit(const struct mp_call *c, uint32_t node)
{
    struct mp_neighbour *oldest = NULL;
    unsigned oldest_ms = QUIET_MS, most_ms = 0;
    uint16_t now = (uint16_t)(c->now_ms >> 8);

    if ((int16_t)(now - c->n->full_until) < 0)
        return NULL;
    for (struct mp_neighbour *b = c->n->neighbours; b < c->n->neighbours + MP_NEIGHBOURS_MAX; b++) {
        unsigned age_ms = mp_neighbour_age_ms(b, c->now_ms);

        if (b->node == 0) {
            oldest = b;
            break;
        }
        if (age_ms > most_ms)
            most_ms = age_ms;
        /* A way to a gateway is worth more than a newcomer, of which a forger has any number. */
        if (age_ms >= oldest_ms && !(is_hop_valid(c, b) && b->hop < c->n->hop)) {
            oldest = b;
            oldest_ms = age_ms;
        }
    }
    if (oldest) {
        memset(oldest, 0, sizeof *oldest);
        oldest->node = node;
        c->n->neighbour_tag[oldest - c->n->neighbours] = (uint8_t)node;
        oldest->hop = MP_HOP_NONE;
        oldest->quality = 128;
    } else if (most_ms < QUIET_MS) {
        c->n->full_until = (uint16_t)(now + (QUIET_MS - most_ms) / 256);
    }
    return oldest;
}

struct mp_neighbour *mp_neighbour_note(const struct mp_call *c, const struct mp_header *h, int *error)
{
    struct mp_neighbour *b = mp_neighbour_find(c->n, h->source);

    *error = MP_OK;
    if (b) {
        uint64_t last = counter_of(b);

        bool is_same_boot = h->counter >> 24 == last >> 24;

        /* Of who is gone nothing is held against it: its counter may have been set back, or forged. */
        if (h->counter <= last && mp_neighbour_age_ms(b, c->now_ms) < GONE_MS) {
            *error = MP_ERR_REPLAY;
            return NULL;
        }
        /* Each frame missed pulls quality down by a sixteenth, each heard up by one; a gap over a reboot says nothing.
         */
        for (uint64_t at = last + 1; is_same_boot && at < h->counter && b->quality > 1; at++)
            b->quality = (uint8_t)(b->quality - b->quality / 16 - (b->quality < 16));
        b->quality = (uint8_t)(b->quality + (255 - b->quality + 15) / 16);
        if (!is_same_boot)
            b->nonce = 0;
    } else {
        b = admit(c, h->source);
        if (!b)
            return NULL;
    }
    b->counter[0] = (uint16_t)h->counter;
    b->counter[1] = (uint16_t)(h->counter >> 16);
    b->counter[2] = (uint16_t)(h->counter >> 32);
    b->heard = (uint16_t)(c->now_ms >> 8);
    if (b->hop != h->hop || b->round != h->round) {
        b->hop = h->hop;
        b->round = h->round;
        mp_neighbour_update_hop(c);
    }
    return b;
}

void mp_neighbour_update_hop(const struct mp_call *c)
{
    struct mp_node *n = c->n;
    unsigned best = MP_HOP_NONE;

    if (n->is_gateway) {
        n->hop = 0;
        return;
    }
    for (struct mp_neighbour *b = n->neighbours; b < n->neighbours + MP_NEIGHBOURS_MAX; b++)
        if (is_hop_valid(c, b) && b->hop + 1u < best)
            best = b->hop + 1u;
    n->hop = (uint8_t)best;
}

/* Lower is better: hops first, then how well it is heard, then how lately. */
static unsigned cost(const struct mp_call *c, const struct mp_neighbour *b)
{
    unsigned age_s = mp_neighbour_age_ms(b, c->now_ms) / 1024;

    return b->hop * 1024u + (255u - b->quality) * 2u + (age_s > 255 ? 255 : age_s);
}

struct mp_neighbour *mp_neighbour_parent(const struct mp_call *c, unsigned rank)
{
    struct mp_neighbour *best = NULL, *second = NULL;

    for (struct mp_neighbour *b = c->n->neighbours; b < c->n->neighbours + MP_NEIGHBOURS_MAX; b++) {
        if (!is_hop_valid(c, b) || b->hop >= c->n->hop || !b->nonce)
            continue;
        if (!best || cost(c, b) < cost(c, best)) {
            second = best;
            best = b;
        } else if (!second || cost(c, b) < cost(c, second)) {
            second = b;
        }
    }
    return rank && second ? second : best;
}

void mp_neighbour_failed(struct mp_call *c, struct mp_neighbour *b, uint16_t release)
{
    if (b->failed != release)
        c->n->events |= MP_EVENT_BREAKER;
    b->failed = release;
}
