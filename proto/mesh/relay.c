/*
 * Foreign relay: carrying a payload across members that cannot use it (docs/SPEC.md section 7).
 *
 * The relay works through what neighbours asked for, lowest position first, a window at a time: the up to 16 children
 * of one tree node. It holds the path from the top to that node, so each chunk is verified before it is kept or passed
 * on. What is missing it asks for itself; a chain of relays works the same way, and the path, which the next relay
 * needs too, is passed on without moving the window. No demand, no work: a window without progress for 3 s is given up.
 * What is at hand stays until another payload is wanted.
 *
 * Busy while the timer RELAY is armed, else idle.
 */
#include "engine.h"

#include "../mp_wire.h"
#include "../object/tree.h"
#include "relay.h"

#define REQUEST_FIXED 15u
#define CHUNK_FIXED 7u
#define GIVE_UP_MS 3000u
#define ASK_MIN_MS 150u
#define ASK_SPAN_MS 150u
#define WANTED_SPAN (8u * MP_RELAY_WANTED_BYTES)

/* Lowest wanted position, or UINT32_MAX. */
static uint32_t first_wanted(const struct mp_relay *r)
{
    for (unsigned i = 0; i < WANTED_SPAN; i++)
        if (MP_BIT(r->wanted, i))
            return r->wanted_base + i;
    return UINT32_MAX;
}

static bool is_wanted(const struct mp_relay *r, uint32_t position)
{
    return position >= r->wanted_base && position - r->wanted_base < WANTED_SPAN &&
           MP_BIT(r->wanted, position - r->wanted_base);
}

static void satisfy(struct mp_relay *r, uint32_t position)
{
    if (is_wanted(r, position))
        r->wanted[(position - r->wanted_base) / 8] &= (uint8_t) ~(1u << (position - r->wanted_base) % 8);
}

static void give_up(struct mp_call *c)
{
    memset(c->env->relay->wanted, 0, sizeof c->env->relay->wanted);
    mp_job_disarm(c->n, MP_JOB_RELAY);
}

/* Moves the window to the siblings of `position`, keeping what the old and the new path share. */
static void move_window(struct mp_relay *r, const struct mp_tree *t, uint32_t position)
{
    uint32_t path[MP_RELAY_PATH_MAX];
    uint32_t up = position;
    unsigned count = 0, at;

    while ((up = mp_tree_parent(t, up, &at)) != UINT32_MAX && count < MP_RELAY_PATH_MAX)
        path[count++] = up;
    for (unsigned i = 0; i < count; i++) {
        uint32_t node = path[count - 1 - i];

        if (i >= r->path_count || r->path_position[i] != node) {
            /* The new node may be among the chunks at hand: it was relayed as a child just now. */
            r->path_held &= (uint8_t)((1u << i) - 1);
            r->path_position[i] = node;
            if (node >= r->first && node - r->first < r->count && (r->held >> (node - r->first) & 1)) {
                memcpy(r->path_data[i], r->data[node - r->first], MP_CHUNK_SIZE);
                r->path_held |= (uint8_t)(1u << i);
            }
        }
    }
    r->path_count = (uint8_t)count;
    r->path_held &= (uint8_t)((1u << count) - 1);
    r->held = 0;
    if (count)
        r->count = (uint8_t)mp_tree_children(t, path[0], &r->first);
    else {
        r->first = 0;
        r->count = 1;
    }
}

/* The ith of the chunks at hand, path and window: its position, its data, and whether it is held. */
static uint8_t *chunk_at(struct mp_relay *r, unsigned i, uint32_t *position, bool *is_held)
{
    if (i < r->path_count) {
        *position = r->path_position[i];
        *is_held = r->path_held >> i & 1;
        return r->path_data[i];
    }
    i -= r->path_count;
    *position = r->first + i;
    *is_held = r->held >> i & 1;
    return r->data[i];
}

/* Index of a position among the chunks at hand, or -1. */
static int find(struct mp_relay *r, uint32_t position)
{
    uint32_t at;
    bool is_held;

    for (unsigned i = 0; i < (unsigned)r->path_count + r->count; i++) {
        chunk_at(r, i, &at, &is_held);
        if (at == position)
            return (int)i;
    }
    return -1;
}

static void ask_soon(const struct mp_call *c)
{
    mp_job_hasten(c->n, MP_JOB_REQUEST, c->now_ms + 5 + mp_random(c, 25));
}

/* Takes up the next wanted position once nothing wanted is left in the window; asks for what is missing. */
static void advance(struct mp_call *c)
{
    struct mp_relay *r = c->env->relay;
    uint32_t next = first_wanted(r);
    struct mp_tree t;

    if (next == UINT32_MAX || mp_tree_init(&t, r->size) < 0 || next >= t.positions) {
        give_up(c);
        return;
    }
    mp_job_arm(c->n, MP_JOB_RELAY, c->now_ms + GIVE_UP_MS);
    if (find(r, next) >= 0)
        return;
    move_window(r, &t, next);
    ask_soon(c);
}

void mp_relay_expire(struct mp_call *c)
{
    if (c->env->relay)
        give_up(c);
}

static int start(struct mp_call *c, uint32_t handle)
{
    struct mp_relay *r = c->env->relay;
    struct mp_manifest m;
    uint8_t raw[MP_MANIFEST_SIZE];
    int slot = mp_accept_find_manifest(c->n, handle);
    int len;

    if (slot < 0)
        return MP_ERR_UNNAMED;
    len = c->env->store->get(c->env->ctx, MP_KIND_MANIFEST, (unsigned)slot, raw, sizeof raw);
    if (len < 0 || mp_manifest_get(&m, raw, (size_t)len) < 0)
        return MP_ERR_STORE;
    memset(r, 0, sizeof *r);
    r->handle = handle;
    r->size = m.payload_size;
    memcpy(r->salt, m.salt, sizeof r->salt);
    memcpy(r->root, m.payload_root, sizeof r->root);
    return MP_OK;
}

int mp_relay_request(struct mp_call *c, struct mp_neighbour *from, uint32_t handle, uint32_t base, const uint8_t *bits,
                     size_t len)
{
    struct mp_relay *r = c->env->relay;

    if (!r || !from)
        return MP_ERR_ABSENT;
    if (r->handle != handle) {
        int error = mp_job_is_armed(c->n, MP_JOB_RELAY) && r->handle ? MP_ERR_BUSY : start(c, handle);

        if (error < 0)
            return error;
    }
    if (!mp_exchange_is_request(mp_tree_positions(r->size), base, bits, len))
        return MP_ERR_FORMAT;
    /* The span moves down to a lower request of whoever fetches; what falls off the end is asked for again later. It
     * does not for a relay nearer to the source, which asks for its own path: the two would undo each other's work. */
    if ((base < r->wanted_base && from->target == (uint16_t)handle) || first_wanted(r) == UINT32_MAX) {
        memset(r->wanted, 0, sizeof r->wanted);
        r->wanted_base = base;
    }
    for (size_t i = 0; i < len; i++) {
        uint32_t at = (base - r->wanted_base) / 8 + (uint32_t)i;

        if (at < MP_RELAY_WANTED_BYTES)
            r->wanted[at] |= bits[i];
    }
    if (!mp_job_is_armed(c->n, MP_JOB_RELAY)) {
        advance(c);
        ask_soon(c);
    }
    if (r->held | r->path_held)
        mp_job_hasten(c->n, MP_JOB_SERVE, c->now_ms + mp_random(c, 20));
    return MP_OK;
}

int mp_relay_chunk(struct mp_call *c, uint32_t handle, uint32_t position, const uint8_t *data, size_t len)
{
    struct mp_relay *r = c->env->relay;
    const uint8_t *expected = r ? r->root : NULL;
    uint8_t hash[MP_HASH_SIZE], *slot;
    unsigned level, at, above;
    bool is_held;
    struct mp_tree t;
    uint32_t index;
    int found;

    if (!r || r->handle != handle || !mp_job_is_armed(c->n, MP_JOB_RELAY))
        return MP_ERR_ABSENT;
    if (mp_tree_init(&t, r->size) < 0 || position >= t.positions)
        return MP_ERR_FORMAT;
    if (len != mp_tree_length(&t, position))
        return MP_ERR_LENGTH;
    found = find(r, position);
    if (found < 0)
        return MP_OK;
    slot = chunk_at(r, (unsigned)found, &index, &is_held);
    if (is_held)
        return MP_OK;
    above = (unsigned)found < r->path_count ? (unsigned)found : r->path_count; /* nodes of the path above it */
    if (mp_tree_parent(&t, position, &at) != UINT32_MAX) {
        if (above == 0 || !(r->path_held >> (above - 1) & 1))
            return MP_ERR_PARENT;
        expected = r->path_data[above - 1] + at;
    }
    level = mp_tree_level(&t, position, &index);
    mp_tree_hash(c->env->crypto, r->salt, level, index, data, len, hash);
    if (memcmp(hash, expected, MP_HASH_SIZE) != 0)
        return MP_ERR_CHUNK;
    memcpy(slot, data, len);
    mp_job_arm(c->n, MP_JOB_RELAY, c->now_ms + GIVE_UP_MS);
    if ((unsigned)found < r->path_count)
        r->path_held |= (uint8_t)(1u << found);
    else
        r->held |= (uint16_t)(1u << (found - r->path_count));
    if (is_wanted(r, position))
        mp_job_hasten(c->n, MP_JOB_SERVE, c->now_ms);
    return MP_OK;
}

/* Positions that are missing: the path first, and once it is whole the wanted children. Base, bitmap and its length. */
static size_t missing_bits(struct mp_relay *r, uint32_t *base, uint8_t *bits, size_t cap)
{
    size_t len = 0;

    *base = UINT32_MAX;
    memset(bits, 0, cap);
    for (unsigned i = 0; i < (unsigned)r->path_count + r->count; i++) {
        uint32_t position;
        bool is_held;

        chunk_at(r, i, &position, &is_held);
        if (is_held || (i >= r->path_count && !is_wanted(r, position)))
            continue;
        if (*base == UINT32_MAX)
            *base = position & ~7u;
        if (position < *base || (position - *base) / 8 >= cap)
            continue;
        bits[(position - *base) / 8] |= (uint8_t)(1u << (position - *base) % 8);
        if ((position - *base) / 8 + 1 > len)
            len = (position - *base) / 8 + 1;
    }
    return len;
}

size_t mp_relay_write_request(struct mp_call *c, uint8_t *body)
{
    struct mp_relay *r = c->env->relay;
    const struct mp_neighbour *supplier = NULL;
    uint32_t base;
    size_t len;

    if (!r || !r->handle || !mp_job_is_armed(c->n, MP_JOB_RELAY))
        return 0;
    len = missing_bits(r, &base, body + REQUEST_FIXED, MP_RELAY_WANTED_BYTES);
    if (len == 0)
        return 0;
    mp_job_hasten(c->n, MP_JOB_REQUEST, c->now_ms + ASK_MIN_MS + mp_random(c, ASK_SPAN_MS));
    for (struct mp_neighbour *b = c->n->neighbours; b < c->n->neighbours + MP_NEIGHBOURS_MAX; b++)
        if (b->node && (b->home == (uint16_t)r->handle || (b->flags & MP_NEIGHBOUR_GATEWAY)))
            supplier = b;
    mp_put32(body, supplier ? supplier->node : 0);
    mp_put32(body + 4, supplier ? mp_neighbour_mark(supplier) : 0);
    mp_put32(body + 8, r->handle);
    mp_put24(body + 12, base);
    return REQUEST_FIXED + len;
}

size_t mp_relay_write_chunk(struct mp_call *c, uint8_t *body)
{
    struct mp_relay *r = c->env->relay;
    struct mp_tree t;

    if (!r || !r->handle || mp_tree_init(&t, r->size) < 0)
        return 0;
    for (unsigned i = 0; i < (unsigned)r->path_count + r->count; i++) {
        uint32_t position;
        bool is_held;
        const uint8_t *data = chunk_at(r, i, &position, &is_held);
        unsigned len;

        if (!is_held || !is_wanted(r, position))
            continue;
        len = mp_tree_length(&t, position);
        mp_put32(body, r->handle);
        mp_put24(body + 4, position);
        memcpy(body + CHUNK_FIXED, data, len);
        satisfy(r, position);
        advance(c);
        return CHUNK_FIXED + len;
    }
    return 0;
}
