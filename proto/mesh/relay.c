/*
 * Foreign relay: carrying a payload across members that cannot use it (docs/SPEC.md section 7).
 *
 * The relay works through what neighbours asked for, lowest position first, a window at a time: the up to 16 children
 * of one tree node. It holds the path from the top to that node, so each chunk is verified before it is kept or passed
 * on. What is missing it asks for itself; a chain of relays works the same way. No demand, no work: a window without
 * progress for 3 s is given up.
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
    c->env->relay->handle = 0;
    mp_job_disarm(c->n, MP_JOB_RELAY);
}

/* Moves the window to the siblings of `position`, keeping what the old and the new path share. */
static void move_window(struct mp_relay *r, const struct mp_tree *t, uint32_t position)
{
    uint32_t path[MP_TREE_LEVELS_MAX];
    uint32_t up = position;
    unsigned count = 0, at;

    while ((up = mp_tree_parent(t, up, &at)) != UINT32_MAX && count < MP_TREE_LEVELS_MAX)
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

static bool is_in_window(const struct mp_relay *r, uint32_t position)
{
    return position >= r->first && position - r->first < r->count;
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
    if (is_in_window(r, next))
        return;
    move_window(r, &t, next);
    mp_job_hasten(c->n, MP_JOB_REQUEST, c->now_ms + 5 + mp_random(c, 25));
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
    int slot = mp_gossip_find_manifest(c->n, handle);
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
    uint32_t positions;

    if (!r || !from)
        return MP_ERR_ABSENT;
    if (r->handle && r->handle != handle)
        return MP_ERR_BUSY;
    if (!r->handle) {
        int error = start(c, handle);

        if (error < 0)
            return error;
        r->wanted_base = base;
    }
    positions = mp_tree_positions(r->size);
    if (base / 8 + len > (positions + 7) / 8)
        return MP_ERR_FORMAT;
    /* The span moves down to a lower request; what falls off the end is asked for again later. */
    if (base < r->wanted_base || first_wanted(r) == UINT32_MAX) {
        memset(r->wanted, 0, sizeof r->wanted);
        r->wanted_base = base;
    }
    for (size_t i = 0; i < len; i++) {
        uint32_t at = (base - r->wanted_base) / 8 + (uint32_t)i;

        if (at < MP_RELAY_WANTED_BYTES)
            r->wanted[at] |= bits[i];
    }
    if (!mp_job_is_armed(c->n, MP_JOB_RELAY)) {
        r->count = 0;
        advance(c);
    }
    if (r->handle && r->held)
        mp_job_hasten(c->n, MP_JOB_SERVE, c->now_ms + mp_random(c, 20));
    return MP_OK;
}

/* Where a chunk of this position would go and what must verify it: the slot's data, or NULL. */
static uint8_t *slot_of(struct mp_relay *r, uint32_t position, int *path_index, const uint8_t **parent)
{
    *parent = NULL;
    for (unsigned i = 0; i < r->path_count; i++)
        if (r->path_position[i] == position && !(r->path_held >> i & 1)) {
            *path_index = (int)i;
            if (i > 0 && (r->path_held >> (i - 1) & 1))
                *parent = r->path_data[i - 1];
            return r->path_data[i];
        }
    *path_index = -1;
    if (!is_in_window(r, position) || (r->held >> (position - r->first) & 1))
        return NULL;
    if (r->path_count && (r->path_held >> (r->path_count - 1) & 1))
        *parent = r->path_data[r->path_count - 1];
    return r->data[position - r->first];
}

int mp_relay_chunk(struct mp_call *c, uint32_t handle, uint32_t position, const uint8_t *data, size_t len)
{
    struct mp_relay *r = c->env->relay;
    uint8_t hash[MP_HASH_SIZE], *slot;
    const uint8_t *parent, *expected;
    struct mp_tree t;
    uint32_t index;
    unsigned level, at;
    int path_index;

    if (!r || !r->handle || r->handle != handle)
        return MP_ERR_ABSENT;
    if (mp_tree_init(&t, r->size) < 0 || position >= t.positions)
        return MP_ERR_FORMAT;
    if (len != mp_tree_length(&t, position))
        return MP_ERR_LENGTH;
    slot = slot_of(r, position, &path_index, &parent);
    if (!slot)
        return MP_OK;
    if (mp_tree_parent(&t, position, &at) == UINT32_MAX)
        expected = r->root;
    else if (parent)
        expected = parent + at;
    else
        return MP_ERR_PARENT;
    level = mp_tree_level(&t, position, &index);
    mp_tree_hash(c->env->crypto, r->salt, level, index, data, len, hash);
    if (memcmp(hash, expected, MP_HASH_SIZE) != 0)
        return MP_ERR_CHUNK;
    memcpy(slot, data, len);
    mp_job_arm(c->n, MP_JOB_RELAY, c->now_ms + GIVE_UP_MS);
    if (path_index >= 0)
        r->path_held |= (uint8_t)(1u << path_index);
    else
        r->held |= (uint16_t)(1u << (position - r->first));
    if (is_wanted(r, position) && path_index < 0)
        mp_job_hasten(c->n, MP_JOB_SERVE, c->now_ms);
    return MP_OK;
}

/* Positions that are missing: the path first, and once it is whole the wanted children. Base, bitmap and its length. */
static size_t missing_bits(const struct mp_relay *r, uint32_t *base, uint8_t *bits, size_t cap)
{
    size_t len = 0;

    *base = UINT32_MAX;
    memset(bits, 0, cap);
    for (unsigned i = 0; i < (unsigned)r->path_count + r->count; i++) {
        bool is_path = i < r->path_count;
        uint32_t position = is_path ? r->path_position[i] : r->first + (i - r->path_count);

        if (is_path ? (r->path_held >> i & 1) : ((r->held >> (i - r->path_count) & 1) || !is_wanted(r, position)))
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

    if (!r || !r->handle)
        return 0;
    len = missing_bits(r, &base, body + REQUEST_FIXED, MP_RELAY_WANTED_BYTES);
    if (len == 0)
        return 0;
    mp_job_hasten(c->n, MP_JOB_REQUEST, c->now_ms + ASK_MIN_MS + mp_random(c, ASK_SPAN_MS));
    for (struct mp_neighbour *b = c->n->neighbours; b < c->n->neighbours + MP_NEIGHBOURS_MAX; b++)
        if (b->node && b->nonce && (b->home == (uint16_t)r->handle || (b->flags & MP_NEIGHBOUR_GATEWAY)))
            supplier = b;
    mp_put32(body, supplier ? supplier->node : 0);
    mp_put32(body + 4, supplier ? supplier->nonce : 0);
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
    for (unsigned i = 0; i < r->count; i++) {
        uint32_t position = r->first + i;
        unsigned len;

        if (!(r->held >> i & 1) || !is_wanted(r, position))
            continue;
        len = mp_tree_length(&t, position);
        mp_put32(body, r->handle);
        mp_put24(body + 4, position);
        memcpy(body + CHUNK_FIXED, r->data[i], len);
        satisfy(r, position);
        advance(c);
        return CHUNK_FIXED + len;
    }
    return 0;
}
