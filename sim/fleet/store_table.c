/*
 * Tables behind the storage of all nodes of a rank: pools of equal items, and records interned by content.
 */
#include <stdlib.h>
#include <string.h>

#include "store.h"

/* --- pools -------------------------------------------------------------------------------------------------------- */

enum { POOL_FIRST = 64 };

void sim_pool_init(struct sim_pool *p, uint32_t item)
{
    memset(p, 0, sizeof *p);
    p->item = (item + 7) & ~7u;
    p->count = 1;
}

void sim_pool_close(struct sim_pool *p)
{
    free(p->data);
    p->data = NULL;
}

/* By half more each time: half of what a million nodes need at once is much memory. */
static int pool_grow(struct sim_pool *p, uint32_t least)
{
    uint64_t cap = p->cap + p->cap / 2;

    if (cap < least)
        cap = least;
    if (cap < POOL_FIRST)
        cap = POOL_FIRST;
    if (cap > UINT32_MAX)
        return -1;
    uint8_t *data = realloc(p->data, (size_t)cap * p->item);

    if (data == NULL)
        return -1;
    p->data = data;
    p->cap = (uint32_t)cap;
    return 0;
}

uint32_t sim_pool_take(struct sim_pool *p)
{
    uint32_t index = p->free;

    if (index != 0) {
        memcpy(&p->free, sim_pool_at(p, index), sizeof p->free);
    } else {
        if (p->count >= p->cap && pool_grow(p, p->count + 1) != 0)
            return 0;
        index = p->count++;
    }
    memset(sim_pool_at(p, index), 0, p->item);
    return index;
}

void sim_pool_give(struct sim_pool *p, uint32_t index)
{
    memcpy(sim_pool_at(p, index), &p->free, sizeof p->free);
    p->free = index;
}

int sim_pool_save(const struct sim_pool *p, struct sim_archive *a)
{
    sim_archive_put_count(a, p->item);
    sim_archive_put_count(a, p->count);
    sim_archive_put_count(a, p->free);
    return p->count > 1 ? sim_archive_put(a, sim_pool_at(p, 1), (size_t)(p->count - 1) * p->item)
                        : (sim_archive_failed(a) ? -1 : 0);
}

/* The chain of freed ones must stay inside the pool and end. */
static bool is_chain_good(const struct sim_pool *p)
{
    uint32_t at = p->free;

    for (uint32_t i = 0; i < p->count; i++) {
        if (at == 0)
            return true;
        if (at >= p->count)
            return false;
        memcpy(&at, sim_pool_at(p, at), sizeof at);
    }
    return false;
}

int sim_pool_load(struct sim_pool *p, struct sim_archive *a)
{
    uint64_t item = 0, count = 0, head = 0;

    sim_archive_get_count(a, &item, UINT32_MAX);
    sim_archive_get_count(a, &count, UINT32_MAX);
    if (sim_archive_get_count(a, &head, UINT32_MAX) != 0)
        return -1;
    if (item != p->item || count == 0)
        return sim_archive_fail(a, "a table has items of another size");
    if (count > p->cap && pool_grow(p, (uint32_t)count) != 0)
        return sim_archive_fail(a, "no memory for a table");
    p->count = (uint32_t)count;
    p->free = (uint32_t)head;
    if (count > 1 && sim_archive_get(a, sim_pool_at(p, 1), (size_t)(count - 1) * item) != 0)
        return -1;
    return is_chain_good(p) ? 0 : sim_archive_fail(a, "a table's chain of free items is broken");
}

size_t sim_pool_bytes(const struct sim_pool *p)
{
    return (size_t)p->cap * p->item;
}

/* --- objects ------------------------------------------------------------------------------------------------------ */

enum { UNIT = 32, BUCKETS_FIRST = 256, OBJECTS_MAX = 1 << 24 };

struct sim_object {
    uint32_t next; /* first: a freed one keeps the pool's chain here; else of its bucket */
    uint32_t holders;
    uint32_t hash;
    uint32_t body;
    uint32_t len;
};

static struct sim_object *object_at(const struct sim_objects *o, uint32_t index)
{
    return sim_pool_at(&o->head, index);
}

static const struct sim_pool *body_pool(const struct sim_objects *o, size_t len)
{
    return &o->body[(len - 1) / UNIT];
}

/* FNV-1a; only decides how long a look-up takes. */
static uint32_t hash_of(const uint8_t *data, size_t len)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < len; i++)
        h = (h ^ data[i]) * 16777619u;
    return h ^ h >> 15;
}

int sim_objects_open(struct sim_objects *o)
{
    sim_pool_init(&o->head, sizeof(struct sim_object));
    for (unsigned i = 0; i < sizeof o->body / sizeof o->body[0]; i++)
        sim_pool_init(&o->body[i], (i + 1) * UNIT);
    o->live = 0;
    o->mask = BUCKETS_FIRST - 1;
    o->bucket = calloc(BUCKETS_FIRST, sizeof *o->bucket);
    return o->bucket != NULL ? 0 : -1;
}

void sim_objects_close(struct sim_objects *o)
{
    sim_pool_close(&o->head);
    for (unsigned i = 0; i < sizeof o->body / sizeof o->body[0]; i++)
        sim_pool_close(&o->body[i]);
    free(o->bucket);
    o->bucket = NULL;
}

/* Twice as many buckets; without memory the chains just stay longer. */
static void rehash(struct sim_objects *o, uint32_t mask)
{
    uint32_t *bucket = calloc((size_t)mask + 1, sizeof *bucket);

    if (bucket == NULL)
        return;
    for (uint32_t b = 0; b <= o->mask; b++) {
        for (uint32_t i = o->bucket[b], next; i != 0; i = next) {
            struct sim_object *object = object_at(o, i);
            next = object->next;
            object->next = bucket[object->hash & mask];
            bucket[object->hash & mask] = i;
        }
    }
    free(o->bucket);
    o->bucket = bucket;
    o->mask = mask;
}

uint32_t sim_objects_hold(struct sim_objects *o, const uint8_t *data, size_t len)
{
    uint32_t hash = hash_of(data, len);

    for (uint32_t i = o->bucket[hash & o->mask]; i != 0; i = object_at(o, i)->next) {
        struct sim_object *object = object_at(o, i);
        if (object->hash == hash && object->len == len &&
            memcmp(sim_pool_at(body_pool(o, len), object->body), data, len) == 0) {
            object->holders++;
            return i;
        }
    }
    struct sim_pool *bodies = &o->body[(len - 1) / UNIT];
    uint32_t body = sim_pool_take(bodies);
    uint32_t index = body != 0 ? sim_pool_take(&o->head) : 0;

    if (index >= OBJECTS_MAX) {
        sim_pool_give(&o->head, index);
        index = 0;
    }
    if (index == 0) {
        if (body != 0)
            sim_pool_give(bodies, body);
        return 0;
    }
    if (o->live++ > o->mask && o->mask < OBJECTS_MAX)
        rehash(o, o->mask * 2 + 1);
    memcpy(sim_pool_at(bodies, body), data, len);
    *object_at(o, index) = (struct sim_object){o->bucket[hash & o->mask], 1, hash, body, (uint32_t)len};
    o->bucket[hash & o->mask] = index;
    return index;
}

void sim_objects_drop(struct sim_objects *o, uint32_t index)
{
    struct sim_object *object = object_at(o, index);
    uint32_t *at = &o->bucket[object->hash & o->mask];

    if (--object->holders > 0)
        return;
    while (*at != index)
        at = &object_at(o, *at)->next;
    *at = object->next;
    sim_pool_give(&o->body[(object->len - 1) / UNIT], object->body);
    sim_pool_give(&o->head, index);
    o->live--;
}

const uint8_t *sim_objects_at(const struct sim_objects *o, uint32_t index, size_t *len)
{
    const struct sim_object *object = object_at(o, index);

    *len = object->len;
    return sim_pool_at(body_pool(o, object->len), object->body);
}

int sim_objects_save(const struct sim_objects *o, struct sim_archive *a)
{
    sim_pool_save(&o->head, a);
    for (unsigned i = 0; i < sizeof o->body / sizeof o->body[0]; i++)
        sim_pool_save(&o->body[i], a);
    sim_archive_put_count(a, o->mask);
    sim_archive_put_count(a, o->live);
    return sim_archive_put(a, o->bucket, ((size_t)o->mask + 1) * sizeof *o->bucket);
}

int sim_objects_load(struct sim_objects *o, struct sim_archive *a)
{
    uint64_t mask = 0, live = 0;

    sim_pool_load(&o->head, a);
    for (unsigned i = 0; i < sizeof o->body / sizeof o->body[0]; i++)
        sim_pool_load(&o->body[i], a);
    sim_archive_get_count(a, &mask, 2 * OBJECTS_MAX - 1);
    if (sim_archive_get_count(a, &live, OBJECTS_MAX) != 0)
        return -1;
    if (((mask + 1) & mask) != 0 || mask < BUCKETS_FIRST - 1)
        return sim_archive_fail(a, "the table of records has a size that cannot be");
    uint32_t *bucket = calloc((size_t)mask + 1, sizeof *bucket);

    if (bucket == NULL)
        return sim_archive_fail(a, "no memory for the table of records");
    free(o->bucket);
    o->bucket = bucket;
    o->mask = (uint32_t)mask;
    o->live = (uint32_t)live;
    if (sim_archive_get(a, o->bucket, ((size_t)mask + 1) * sizeof *bucket) != 0)
        return -1;
    for (uint32_t b = 0; b <= o->mask; b++)
        if (o->bucket[b] >= o->head.count)
            return sim_archive_fail(a, "the table of records points outside");
    return 0;
}

size_t sim_objects_bytes(const struct sim_objects *o)
{
    size_t bytes = sim_pool_bytes(&o->head) + ((size_t)o->mask + 1) * sizeof *o->bucket;

    for (unsigned i = 0; i < sizeof o->body / sizeof o->body[0]; i++)
        bytes += sim_pool_bytes(&o->body[i]);
    return bytes;
}
