/*
 * Exchange: how chunks spread (docs/SPEC.md section 7).
 *
 * A chunk that verifies is stored and, if some neighbour other than the one it came from may lack it, passed on once:
 * at once where neighbours are few, so that a line of nodes works like a bucket brigade, each sending while its
 * neighbours are silent; after a random delay where they are many, cancelled when enough copies are heard. What gets
 * lost on the way is asked for: a REQUEST holds a bitmap of holes, and every neighbour that hears it answers with what
 * it has, each starting somewhere else and leaving out what it hears from others. Nobody is ever dropped from a
 * transfer: a node asks for as long as it lacks something.
 *
 * Each controller leaves at least 20 ms between the starts of its events (docs/SPEC.md section 9), so right after a
 * chunk came its sender is silent for a while. That is when a fetching node sends; when the next chunk is about to come
 * it listens.
 *
 * Timers: FORWARD, one for each chunk in the ring; REQUEST, every 500 to 1000 ms while a payload is fetched, after 80 to
 * 200 ms while a tree chunk is missing (its children cannot be verified), and, once nothing new came for 150 ms,
 * 100 to 200 ms, doubling up to 512 times while that lasts; SERVE, whenever something is wanted.
 */
#include "engine.h"

#include "../mp_wire.h"
#include "../object/tree.h"

#define CHUNK_FIXED 7u
#define REQUEST_FIXED 15u
#define REQUEST_BITS_MAX 128u
#define FRESH_FRAMES 4096u /* a request that echoes the counter of one of the last so many frames is no replay */

#define FORWARD_SPAN_MS 60u
#define FORWARD_COPIES_DENSE 1u
#define FORWARD_COPIES_SPARSE 2u
#define DENSE_NEIGHBOURS 3u
#define REQUEST_MIN_MS 500u
#define REQUEST_SPAN_MS 500u
#define REQUEST_TREE_MIN_MS 80u
#define REQUEST_TREE_SPAN_MS 120u
#define REQUEST_DOUBLINGS_MAX 9u
#define REQUEST_SKIPS_MAX 2u
#define REQUEST_STALLED_MIN_MS 100u
#define REQUEST_STALLED_SPAN_MS 100u
#define MARGIN_CHUNKS 8u
#define DEFER_FROM_MS 14u /* the supplier's next event may start 20 ms after its last one, and ends 4 ms later */
#define DEFER_TO_MS 34u   /* by now it has started, or there is none */
#define SERVE_SPAN_MS 60u
#define DEMAND_TICKS 12u /* of 256 ms: who still lacks it asks again sooner */
#define SERVICE_PERIOD_MS 250u
#define UNKNOWN_PERIOD_MS 10000u

unsigned mp_exchange_place(const struct mp_node *n, uint32_t handle)
{
    unsigned i = 0;

    if (!handle)
        return MP_PLACES_MAX;
    while (i < MP_PLACES_MAX && n->places[i].handle != handle)
        i++;
    return i;
}

static bool has(const uint8_t *bitmap, uint32_t position)
{
    return MP_BIT(bitmap, position);
}

static bool is_complete(const struct mp_place *p)
{
    return p->held == p->positions;
}

/* --- neighbours that matter for a payload ------------------------------------------------------------------------- */

/* How many neighbours other than `except` may lack chunks of this payload. */
static unsigned count_wanting(const struct mp_node *n, const struct mp_place *p, const struct mp_neighbour *except)
{
    unsigned count = 0;

    for (const struct mp_neighbour *b = n->neighbours; b < n->neighbours + MP_NEIGHBOURS_MAX; b++)
        if (b != except && b->node && (b->flags & MP_NEIGHBOUR_WANTS) && b->target == (uint16_t)p->handle)
            count++;
    return count;
}

/*
 * A neighbour to name as supplier: drawn among those known to have more of the payload than this node, or else among
 * those that are fetching it too, since what is known of them is as old as their last SUMMARY, and those that relay. NULL
 * when there is none.
 */
static const struct mp_neighbour *draw_supplier(const struct mp_call *c, const struct mp_place *p)
{
    const struct mp_neighbour *best = NULL, *other = NULL;
    unsigned seen = 0, others = 0;

    for (const struct mp_neighbour *b = c->n->neighbours; b < c->n->neighbours + MP_NEIGHBOURS_MAX; b++) {
        bool has_all = b->home == (uint16_t)p->handle || (b->flags & MP_NEIGHBOUR_GATEWAY);
        bool is_fetching = b->target == (uint16_t)p->handle;

        if (!b->node)
            continue;
        if ((has_all || (is_fetching && b->held > p->held)) && mp_random(c, ++seen) == 0)
            best = b;
        if ((is_fetching || (b->flags & MP_NEIGHBOUR_RELAYS)) && mp_random(c, ++others) == 0)
            other = b;
    }
    return best ? best : other;
}

/* --- forwarding --------------------------------------------------------------------------------------------------- */

static void arm_forward(struct mp_node *n)
{
    mp_job_disarm(n, MP_JOB_FORWARD);
    for (unsigned i = 0; i < MP_FORWARDS_MAX; i++)
        if (n->forwards[i].place < MP_PLACES_MAX)
            mp_job_hasten(n, MP_JOB_FORWARD, n->forwards[i].due_ms);
}

/* A copy was heard: fewer will need ours. */
static void hear_copy(struct mp_call *c, unsigned place, uint32_t position)
{
    struct mp_node *n = c->n;

    for (unsigned i = 0; i < MP_FORWARDS_MAX; i++) {
        struct mp_forward *f = &n->forwards[i];

        if (f->place != place || f->position != position)
            continue;
        if (++f->copies >= (count_wanting(n, &n->places[place], NULL) > DENSE_NEIGHBOURS ? FORWARD_COPIES_DENSE
                                                                                         : FORWARD_COPIES_SPARSE)) {
            f->place = MP_PLACES_MAX;
            arm_forward(n);
        }
        return;
    }
}

static void put_forward(struct mp_call *c, unsigned place, uint32_t position, uint32_t delay_ms)
{
    struct mp_node *n = c->n;
    struct mp_forward *slot = NULL;

    /* A full ring gives up the chunk that has waited longest: others have had the best chance to send it. */
    for (unsigned i = 0; i < MP_FORWARDS_MAX; i++) {
        struct mp_forward *f = &n->forwards[i];

        if (f->place == MP_PLACES_MAX) {
            slot = f;
            break;
        }
        if (!slot || mp_is_before(f->due_ms, slot->due_ms))
            slot = f;
    }
    slot->place = place & 15;
    slot->position = position & 0xFFFFFF;
    slot->copies = 0;
    slot->due_ms = c->now_ms + delay_ms;
    mp_job_hasten(n, MP_JOB_FORWARD, slot->due_ms);
}

static void add_forward(struct mp_call *c, unsigned place, uint32_t position, const struct mp_neighbour *from)
{
    unsigned wanting = count_wanting(c->n, &c->n->places[place], from);

    if (wanting)
        put_forward(c, place, position, wanting >= DENSE_NEIGHBOURS ? mp_random(c, FORWARD_SPAN_MS) : 0);
}

static size_t write_chunk(struct mp_call *c, uint8_t *body, unsigned place, uint32_t position)
{
    int len = c->env->store->chunk_get(c->env->ctx, place, position, body + CHUNK_FIXED);

    if (len <= 0) {
        c->n->events |= MP_EVENT_STORE;
        return 0;
    }
    mp_put32(body, c->n->places[place].handle);
    mp_put24(body + 4, position);
    return CHUNK_FIXED + (size_t)len;
}

static void unwant(struct mp_node *n, unsigned place, uint32_t position)
{
    struct mp_demand *d = &n->demand;

    if (d->place == place && position >= d->base && position - d->base < 8u * MP_DEMAND_BYTES)
        d->bits[(position - d->base) / 8] &= (uint8_t) ~(1u << (position - d->base) % 8);
}

size_t mp_exchange_write_forward(struct mp_call *c, uint8_t *body)
{
    struct mp_node *n = c->n;

    for (;;) {
        struct mp_forward *first = NULL;
        unsigned place;
        size_t len;

        for (unsigned i = 0; i < MP_FORWARDS_MAX; i++) {
            struct mp_forward *f = &n->forwards[i];

            if (f->place < MP_PLACES_MAX && (!first || mp_is_before(f->due_ms, first->due_ms)))
                first = f;
        }
        if (!first || mp_is_before(c->now_ms, first->due_ms)) {
            arm_forward(n);
            return 0;
        }
        place = first->place;
        first->place = MP_PLACES_MAX;
        unwant(n, place, first->position);
        len = write_chunk(c, body, place, first->position);
        if (len) {
            arm_forward(n);
            return len;
        }
    }
}

/* --- receiving chunks --------------------------------------------------------------------------------------------- */

/* Checks a chunk against its parent or the root. 0, MP_ERR_LENGTH, MP_ERR_PARENT, MP_ERR_CHUNK, MP_ERR_STORE. */
static int verify_chunk(struct mp_call *c, unsigned place, uint32_t position, const uint8_t *data, size_t len)
{
    const struct mp_place *p = &c->n->places[place];
    const uint8_t *expected = p->root;
    uint8_t parent[MP_CHUNK_SIZE], hash[MP_HASH_SIZE];
    struct mp_tree tree;
    uint32_t index, above;
    unsigned level, at;

    mp_tree_init(&tree, p->size);
    if (len != mp_tree_length(&tree, position))
        return MP_ERR_LENGTH;
    above = mp_tree_parent(&tree, position, &at);
    if (above != UINT32_MAX) {
        if (!has(c->env->store->bitmap(c->env->ctx, place), above))
            return MP_ERR_PARENT;
        if (c->env->store->chunk_get(c->env->ctx, place, above, parent) < (int)(at + MP_HASH_SIZE))
            return MP_ERR_STORE;
        expected = parent + at;
    }
    level = mp_tree_level(&tree, position, &index);
    mp_tree_hash(c->env->crypto, p->salt, level, index, data, len, hash);
    return memcmp(hash, expected, MP_HASH_SIZE) == 0 ? MP_OK : MP_ERR_CHUNK;
}

/* Leaves come last. */
static uint32_t first_leaf(const struct mp_place *p)
{
    return p->positions - (p->size + MP_CHUNK_SIZE - 1) / MP_CHUNK_SIZE;
}

/* The frontier moved on or something came in: when to ask for what is missing. */
static void note_arrival(struct mp_call *c, uint32_t position)
{
    struct mp_node *n = c->n;
    const struct mp_place *p = &n->places[n->fetch];

    if (position >= n->frontier) {
        /* A gap in the tree blocks the leaves below it, so it is asked for soon. */
        if (position > n->frontier && n->frontier < first_leaf(p))
            mp_job_hasten(n, MP_JOB_REQUEST, c->now_ms + REQUEST_TREE_MIN_MS + mp_random(c, REQUEST_TREE_SPAN_MS));
        n->frontier = position + 1;
    }
}

static void complete(struct mp_call *c)
{
    struct mp_node *n = c->n;

    n->fetch = MP_PLACES_MAX;
    n->events |= MP_EVENT_COMPLETE;
    mp_job_disarm(n, MP_JOB_REQUEST);
}

/* Who sends chunks of a payload holds some of it, whatever its last SUMMARY said, and unless it only passes them on it is
 * most likely fetching, too. */
static void note_source(struct mp_neighbour *from, uint16_t handle)
{
    if (from->home == handle || from->target == handle || (from->flags & MP_NEIGHBOUR_RELAYS))
        return;
    from->target = handle;
    from->held = 0;
    from->flags |= MP_NEIGHBOUR_WANTS;
}

int mp_exchange_chunk(struct mp_call *c, struct mp_neighbour *from, const uint8_t *body, size_t len)
{
    struct mp_node *n = c->n;
    const uint8_t *data = body + CHUNK_FIXED;
    uint32_t handle, position;
    unsigned place;
    int error;

    if (len <= CHUNK_FIXED || len > CHUNK_FIXED + MP_CHUNK_SIZE)
        return MP_ERR_LENGTH;
    handle = mp_get32(body);
    position = mp_get24(body + 4);
    place = mp_exchange_place(n, handle);
    if (place == MP_PLACES_MAX)
        return mp_relay_chunk(c, handle, position, data, len - CHUNK_FIXED);
    if (position >= n->places[place].positions)
        return MP_ERR_FORMAT;
    unwant(n, place, position);
    if (from && place == n->fetch)
        note_source(from, (uint16_t)handle);
    if (has(c->env->store->bitmap(c->env->ctx, place), position)) {
        hear_copy(c, place, position);
        if (c->env->counters)
            c->env->counters->chunks_duplicate++;
        return MP_OK;
    }
    if (place == n->fetch)
        note_arrival(c, position);
    error = verify_chunk(c, place, position, data, len - CHUNK_FIXED);
    if (error == MP_OK)
        error = c->env->store->chunk_put(c->env->ctx, place, position, data, len - CHUNK_FIXED);
    if (error < 0) {
        if (error == MP_ERR_STORE)
            n->events |= MP_EVENT_STORE;
        return error;
    }
    if (c->env->counters)
        c->env->counters->chunks_stored++;
    n->places[place].held++;
    n->request_stalls = 0; /* only what could be used counts: a broken store must not drain its neighbours */
    n->fetch_new_ms = c->now_ms;
    if (mp_job_is_armed(n, MP_JOB_SERVE))
        mp_job_arm(n, MP_JOB_SERVE, c->now_ms);
    add_forward(c, place, position, from);
    if (place == n->fetch && is_complete(&n->places[place]))
        complete(c);
    return MP_OK;
}

bool mp_exchange_defer(struct mp_call *c, enum mp_job job)
{
    struct mp_node *n = c->n;
    uint32_t since_ms = c->now_ms - n->fetch_new_ms;

    if (n->fetch == MP_PLACES_MAX || since_ms < DEFER_FROM_MS || since_ms >= DEFER_TO_MS)
        return false;
    mp_job_arm(n, job, n->fetch_new_ms + DEFER_TO_MS);
    return true;
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

/* First position from `at` that is missing, or `end`. */
static uint32_t next_missing(const uint8_t *bitmap, uint32_t at, uint32_t end)
{
    while (at < end) {
        if (at % 8 == 0 && bitmap[at / 8] == 0xFF) {
            at += 8;
            continue;
        }
        if (!has(bitmap, at))
            return at;
        at++;
    }
    return end;
}

/* Fills in base and bitmap of what to ask for below `end`; bytes of bitmap, 0 when nothing is missing. */
static size_t missing_bits(const uint8_t *bitmap, uint32_t end, uint32_t *base, uint8_t *bits)
{
    uint32_t first = next_missing(bitmap, 0, end);
    size_t len = 0;

    *base = first & ~7u;
    for (size_t i = 0; i < REQUEST_BITS_MAX && *base + 8 * i < end; i++) {
        uint8_t missing = (uint8_t)~bitmap[*base / 8 + i];

        if (end - (*base + 8 * (uint32_t)i) < 8)
            missing &= (uint8_t)((1u << (end - (*base + 8 * (uint32_t)i))) - 1);
        bits[i] = missing;
        if (missing)
            len = i + 1;
    }
    return first < end ? len : 0;
}

/* Where asking ends: everything when nothing comes any more, otherwise what should have come by now. */
static uint32_t request_end(struct mp_call *c, const struct mp_place *p, bool *is_stalled)
{
    struct mp_node *n = c->n;
    uint32_t leaf = first_leaf(p);

    *is_stalled = c->now_ms - n->fetch_new_ms >= MP_STALL_MS;
    if (*is_stalled || n->frontier >= p->positions)
        return p->positions;
    if (n->frontier <= leaf)
        return n->frontier;
    return n->frontier > leaf + MARGIN_CHUNKS ? n->frontier - MARGIN_CHUNKS : leaf;
}

static void arm_request(struct mp_call *c, bool is_stalled, uint32_t base, const struct mp_neighbour *supplier)
{
    struct mp_node *n = c->n;
    uint32_t delay_ms = REQUEST_MIN_MS + mp_random(c, REQUEST_SPAN_MS);

    if (is_stalled) {
        /* A supplier that is known deserves eight tries at each step: what was asked for may have been lost. */
        unsigned doublings = supplier ? n->request_stalls / 8 : n->request_stalls;

        delay_ms = REQUEST_STALLED_MIN_MS + mp_random(c, REQUEST_STALLED_SPAN_MS);
        delay_ms <<= doublings < REQUEST_DOUBLINGS_MAX ? doublings : REQUEST_DOUBLINGS_MAX;
        if (n->request_stalls < UINT8_MAX)
            n->request_stalls++;
    } else if (base < first_leaf(&n->places[n->fetch])) {
        delay_ms = REQUEST_TREE_MIN_MS + mp_random(c, REQUEST_TREE_SPAN_MS) + 100;
    }
    mp_job_arm(n, MP_JOB_REQUEST, c->now_ms + delay_ms);
}

size_t mp_exchange_write_request(struct mp_call *c, uint8_t *body)
{
    struct mp_node *n = c->n;
    const struct mp_neighbour *supplier;
    const struct mp_place *p;
    const uint8_t *bitmap;
    uint32_t base = UINT32_MAX;
    size_t len;
    bool is_stalled;

    mp_job_disarm(n, MP_JOB_REQUEST);
    if (n->fetch >= MP_PLACES_MAX || n->is_relay_turn) {
        n->is_relay_turn = false;
        len = mp_relay_write_request(c, body);
        if (n->fetch < MP_PLACES_MAX)
            mp_job_hasten(n, MP_JOB_REQUEST, c->now_ms + REQUEST_MIN_MS / 2);
        return len;
    }
    n->is_relay_turn = c->env->relay && mp_job_is_armed(n, MP_JOB_RELAY);
    p = &n->places[n->fetch];
    bitmap = c->env->store->bitmap(c->env->ctx, n->fetch);
    if (!bitmap)
        return 0;
    len = missing_bits(bitmap, request_end(c, p, &is_stalled), &base, body + REQUEST_FIXED);
    supplier = draw_supplier(c, p);
    arm_request(c, is_stalled, len ? base : UINT32_MAX, supplier);
    if (len == 0)
        return 0;
    mp_put32(body, supplier ? supplier->node : 0);
    mp_put32(body + 4, supplier ? mp_neighbour_mark(supplier) : 0);
    mp_put32(body + 8, p->handle);
    mp_put24(body + 12, base);
    n->request_skips = 0;
    return REQUEST_FIXED + len;
}

/* Whether everything this node would ask for is in a request that a supplier in its range was just sent. */
static bool is_covered(struct mp_call *c, uint32_t base, const uint8_t *bits, size_t len)
{
    struct mp_node *n = c->n;
    const uint8_t *bitmap = c->env->store->bitmap(c->env->ctx, n->fetch);
    bool is_stalled;
    uint32_t end = request_end(c, &n->places[n->fetch], &is_stalled);

    for (uint32_t at = next_missing(bitmap, 0, end); at < end; at = next_missing(bitmap, at + 1, end))
        if (at < base || at - base >= 8 * len || !MP_BIT(bits, at - base))
            return false;
    return true;
}

/* --- answering ---------------------------------------------------------------------------------------------------- */

/* Moves the window down; what falls off its end is asked for again. */
static void lower_demand(struct mp_demand *d, uint32_t base)
{
    uint32_t by = (d->base - base) / 8;

    memmove(d->bits + by, d->bits, MP_DEMAND_BYTES - by);
    memset(d->bits, 0, by);
    d->base = base;
    d->cursor += 8 * by;
}

/* One chunk for who must not be kept waiting for all of it. */
static void answer_first(struct mp_call *c, unsigned place, uint32_t base, const uint8_t *bits, size_t len,
                         uint32_t delay_ms)
{
    const uint8_t *bitmap = c->env->store->bitmap(c->env->ctx, place);

    for (uint32_t i = 0; i < 8 * len; i++) {
        if (!MP_BIT(bits, i) || !has(bitmap, base + i))
            continue;
        if (mp_bucket_take(&c->n->service_bucket, c->now_ms, 1, MP_SERVICE_CAP, SERVICE_PERIOD_MS))
            put_forward(c, place, base + i, delay_ms);
        return;
    }
}

static void add_demand(struct mp_call *c, unsigned place, uint32_t base, const uint8_t *bits, size_t len,
                       bool is_addressed)
{
    struct mp_node *n = c->n;
    struct mp_demand *d = &n->demand;
    const uint8_t *bitmap = c->env->store->bitmap(c->env->ctx, place);
    bool is_idle = !mp_job_is_armed(n, MP_JOB_SERVE);
    bool is_elsewhere =
        d->place != place || base + 4u * MP_DEMAND_BYTES <= d->base || base >= d->base + 8u * MP_DEMAND_BYTES;

    /* There is one window. Who asks for another moves it only now and then: a greedy one would never let go. But its first
     * chunk goes out at once: it may be the one without which a node can verify no other. */
    if (is_elsewhere && !is_idle && mp_random(c, 8)) {
        if (is_addressed)
            answer_first(c, place, base, bits, len, 0);
        return;
    }
    if (is_elsewhere || is_idle) {
        memset(d->bits, 0, sizeof d->bits);
        d->place = (uint8_t)place;
        d->base = base;
        is_idle = true;
    }
    d->asked = (uint8_t)(c->now_ms >> 8);
    if (base < d->base)
        lower_demand(d, base);
    for (size_t i = 0; i < len; i++) {
        uint32_t at = base + 8 * (uint32_t)i;

        if (at >= d->base && at - d->base < 8u * MP_DEMAND_BYTES)
            d->bits[(at - d->base) / 8] |= bits[i] & bitmap[at / 8];
    }
    if (is_idle) {
        d->cursor = is_addressed ? 0 : mp_random(c, 8u * MP_DEMAND_BYTES);
        mp_job_arm(n, MP_JOB_SERVE, c->now_ms + (is_addressed ? 0 : mp_random(c, SERVE_SPAN_MS)));
    }
}

bool mp_exchange_is_request(uint32_t positions, uint32_t base, const uint8_t *bits, size_t len)
{
    uint32_t end = base + 8 * (uint32_t)len;

    return end <= positions || (end - positions < 8 && bits[len - 1] >> (8 - (end - positions)) == 0);
}

bool mp_exchange_may_answer(struct mp_call *c)
{
    return mp_bucket_take(&c->n->unknown_bucket, c->now_ms, 1, MP_UNKNOWN_CAP, UNKNOWN_PERIOD_MS);
}

/* Whether a member is in range, as far as can be known: where there are more neighbours than places for them, it may be
 * one of the others. */
static bool may_hear(struct mp_node *n, uint32_t node)
{
    return mp_neighbour_find(n, node) || !mp_neighbour_find(n, 0);
}

/* Whether who asks heard this node in this boot (nonce), or a moment ago (counter of a frame). */
static bool is_fresh(const struct mp_node *n, uint32_t mark)
{
    return mark == n->nonce || (uint32_t)n->counter - 1 - mark < FRESH_FRAMES;
}

/* Whether a stranger's request can be seen to be no replay, since it echoes what this node, too, heard of the addressee.
 * While fetching, others are left to answer: they are many. */
static bool is_witnessed(struct mp_node *n, uint32_t addressee, uint32_t mark)
{
    const struct mp_neighbour *b = addressee && n->fetch == MP_PLACES_MAX ? mp_neighbour_find(n, addressee) : NULL;

    return b && (mark == mp_neighbour_mark(b) || mp_neighbour_count(b) - mark < FRESH_FRAMES);
}

int mp_exchange_request(struct mp_call *c, struct mp_neighbour *from, const uint8_t *body, size_t len)
{
    struct mp_node *n = c->n;
    const uint8_t *bits = body + REQUEST_FIXED;
    uint32_t addressee, base, handle;
    bool is_addressed, is_stranger;
    unsigned place;

    if (len <= REQUEST_FIXED || len > REQUEST_FIXED + REQUEST_BITS_MAX)
        return MP_ERR_LENGTH;
    len -= REQUEST_FIXED;
    addressee = mp_get32(body);
    handle = mp_get32(body + 8);
    base = mp_get24(body + 12);
    if (base % 8)
        return MP_ERR_FORMAT;
    is_addressed = addressee == n->id;
    if (is_addressed && !is_fresh(n, mp_get32(body + 4)))
        return MP_ERR_REPLAY;
    is_stranger = !from && !is_addressed && !is_witnessed(n, addressee, mp_get32(body + 4));
    place = mp_exchange_place(n, handle);
    if (place == MP_PLACES_MAX) {
        if (is_stranger && !mp_exchange_may_answer(c))
            return MP_ERR_BUSY;
        return mp_relay_request(c, from, handle, base, bits, len);
    }
    if (!mp_exchange_is_request(n->places[place].positions, base, bits, len))
        return MP_ERR_FORMAT;
    if (is_stranger) {
        /* What a stranger gets is little: it goes to who asks nobody, or lacks what it needs to verify anything. */
        bool is_blocked = base < first_leaf(&n->places[place]);

        if ((addressee && !is_blocked) || !mp_exchange_may_answer(c))
            return MP_ERR_BUSY;
        if (is_blocked) {
            answer_first(c, place, base, bits, len, mp_random(c, SERVE_SPAN_MS));
            return MP_OK;
        }
    }
    if (from) {
        from->target = (uint16_t)handle;
        from->flags |= MP_NEIGHBOUR_WANTS;
    }
    if (place == n->fetch && !is_addressed && n->request_skips < REQUEST_SKIPS_MAX && addressee &&
        may_hear(n, addressee) && mp_job_is_armed(n, MP_JOB_REQUEST) && is_covered(c, base, bits, len)) {
        n->request_skips++;
        mp_job_arm(n, MP_JOB_REQUEST, c->now_ms + REQUEST_MIN_MS + mp_random(c, REQUEST_SPAN_MS));
    }
    add_demand(c, place, base, bits, len, is_addressed);
    return MP_OK;
}

/* Next wanted offset from the cursor on, wrapping once; tree chunks, which come first, never wait behind leaves. */
static uint32_t next_wanted(const struct mp_demand *d, uint32_t leaf)
{
    uint32_t span = 8u * MP_DEMAND_BYTES, found = span;
    uint32_t tree_end = leaf > d->base ? leaf - d->base : 0;

    for (uint32_t i = 0; i < span; i++) {
        if (i % 8 == 0 && d->bits[i / 8] == 0) {
            i += 7;
            continue;
        }
        if (!MP_BIT(d->bits, i))
            continue;
        if (i < tree_end || i >= d->cursor)
            return i;
        if (found == span)
            found = i;
    }
    return found;
}

size_t mp_exchange_write_serve(struct mp_call *c, uint8_t *body)
{
    struct mp_node *n = c->n;
    struct mp_demand *d = &n->demand;
    bool is_tree_turn;
    uint32_t at;
    size_t len;

    mp_job_disarm(n, MP_JOB_SERVE);
    len = mp_relay_write_chunk(c, body);
    if (len) {
        mp_job_arm(n, MP_JOB_SERVE, c->now_ms);
        return len;
    }
    /* What nobody asked for again has come from somebody else, unheard here. */
    if ((uint8_t)((c->now_ms >> 8) - d->asked) >= DEMAND_TICKS)
        d->place = MP_PLACES_MAX;
    while (d->place < MP_PLACES_MAX) {
        /* Every fourth time the tree has no precedence, or a greedy one could ask for it for ever. */
        is_tree_turn = n->counter & 3;
        at = next_wanted(d, is_tree_turn ? first_leaf(&n->places[d->place]) : 0);
        if (at >= 8u * MP_DEMAND_BYTES)
            return 0;
        if (!mp_bucket_take(&n->service_bucket, c->now_ms, 1, MP_SERVICE_CAP, SERVICE_PERIOD_MS)) {
            mp_job_arm(n, MP_JOB_SERVE, c->now_ms + SERVICE_PERIOD_MS);
            return 0;
        }
        d->bits[at / 8] &= (uint8_t) ~(1u << at % 8);
        if (!is_tree_turn || at >= d->cursor)
            d->cursor = at + 1;
        len = write_chunk(c, body, d->place, d->base + at);
        if (len) {
            mp_job_arm(n, MP_JOB_SERVE, c->now_ms);
            return len;
        }
    }
    return 0;
}
