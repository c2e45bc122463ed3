#include "member.h"

#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "sim/radio/radio.h"

/* --- store in RAM
 * ------------------------------------------------------------------------------------------------------ */

static int store_put(void *ctx, enum mp_kind kind, unsigned slot, const uint8_t *data, size_t len)
{
    struct member *m = ctx;
    if (slot >= MEMBER_RECORDS_MAX || len > MP_RECORD_MAX)
        return MP_ERR_STORE;
    struct member_record *record = &m->record[kind][slot];
    if (len > 0)
        memcpy(record->data, data, len);
    record->len = (uint16_t)len;
    return 0;
}

static int store_get(void *ctx, enum mp_kind kind, unsigned slot, uint8_t *data, size_t cap)
{
    const struct member *m = ctx;
    if (slot >= MEMBER_RECORDS_MAX)
        return MP_ERR_STORE;
    const struct member_record *record = &m->record[kind][slot];
    if (record->len > cap)
        return MP_ERR_ROOM;
    memcpy(data, record->data, record->len);
    return record->len;
}

static bool has_chunk(const struct member_place *p, uint32_t position)
{
    return p->bitmap[position / 8] >> position % 8 & 1;
}

static int store_chunk_put(void *ctx, unsigned place, uint32_t position, const uint8_t *data, size_t len)
{
    struct member *m = ctx;
    struct member_place *p = &m->place[place < MEMBER_PLACES ? place : 0];
    if (place >= MEMBER_PLACES || p->data == NULL || position >= p->tree.positions || has_chunk(p, position) ||
        len != mp_tree_length(&p->tree, position))
        return MP_ERR_STORE;
    memcpy(p->data + (size_t)position * MP_CHUNK_SIZE, data, len);
    p->bitmap[position / 8] |= (uint8_t)(1u << position % 8);
    p->held++;
    return 0;
}

static int store_chunk_get(void *ctx, unsigned place, uint32_t position, uint8_t data[MP_CHUNK_SIZE])
{
    const struct member *m = ctx;
    const struct member_place *p = &m->place[place < MEMBER_PLACES ? place : 0];
    if (place >= MEMBER_PLACES || p->data == NULL || position >= p->tree.positions || !has_chunk(p, position))
        return MP_ERR_ABSENT;
    unsigned len = mp_tree_length(&p->tree, position);
    memcpy(data, p->data + (size_t)position * MP_CHUNK_SIZE, len);
    return (int)len;
}

static const uint8_t *store_bitmap(void *ctx, unsigned place)
{
    const struct member *m = ctx;
    return place < MEMBER_PLACES ? m->place[place].bitmap : NULL;
}

static const struct mp_store STORE = {store_put, store_get, store_chunk_put, store_chunk_get, store_bitmap};

static uint32_t draw_random(void *ctx)
{
    struct member *m = ctx;
    return sim_draw(m->seed, SIM_DRAW_WORLD, m->index, m->draws++, 0);
}

/* --- payloads
 * ---------------------------------------------------------------------------------------------------------- */

static void close_place(struct member_place *p)
{
    free(p->data);
    free(p->bitmap);
    memset(p, 0, sizeof *p);
}

int member_place_open(struct member *m, unsigned place, uint32_t size)
{
    struct member_place *p = &m->place[place];
    close_place(p);
    if (mp_tree_init(&p->tree, size) != 0)
        return -1;
    p->data = calloc(p->tree.positions, MP_CHUNK_SIZE);
    p->bitmap = calloc((p->tree.positions + 7) / 8, 1);
    return p->data != NULL && p->bitmap != NULL ? 0 : -1;
}

struct filling {
    struct member *member;
    unsigned place;
    const uint8_t *payload;
};

static int read_payload(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    const struct filling *f = ctx;
    memcpy(data, f->payload + offset, len);
    return 0;
}

static int store_interior(void *ctx, uint32_t position, const uint8_t *data, size_t len)
{
    const struct filling *f = ctx;
    return store_chunk_put(f->member, f->place, position, data, len);
}

int member_place_fill(struct member *m, unsigned place, const uint8_t *payload, uint32_t size, const uint8_t salt[8])
{
    struct filling f = {m, place, payload};
    uint8_t root[MP_HASH_SIZE];
    if (member_place_open(m, place, size) != 0)
        return -1;
    const struct mp_tree *tree = &m->place[place].tree;
    /* a payload of one leaf has no interior chunk */
    if (mp_tree_build(tree, m->env.crypto, salt, read_payload, store_interior, &f, root) != 0)
        return -1;
    for (uint32_t i = 0; i < tree->count[0]; i++)
        if (store_chunk_put(m, place, tree->first[0] + i, payload + (size_t)i * MP_CHUNK_SIZE,
                            mp_tree_length(tree, tree->first[0] + i)) != 0)
            return -1;
    return m->place[place].held == tree->positions ? 0 : -1;
}

bool member_place_sha256(const struct member *m, unsigned place, uint8_t digest[32])
{
    const struct member_place *p = &m->place[place];
    struct mp_sha256 sha;
    if (p->data == NULL || p->held != p->tree.positions)
        return false;
    m->env.crypto->sha256_init(&sha);
    m->env.crypto->sha256_update(&sha, p->data + (size_t)p->tree.first[0] * MP_CHUNK_SIZE, p->tree.size);
    m->env.crypto->sha256_final(&sha, digest);
    return true;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

int member_open(struct member *m, uint32_t index, uint64_t seed, const struct sign_fleet *fleet, mp_time now)
{
    struct mp_identity id = {.node = MEMBER_ID + index,
                             .network = MEMBER_NETWORK,
                             .index = (uint16_t)index,
                             .boot = 1,
                             .key_id = {1, 0},
                             .key_active = 0,
                             .key_count = 1,
                             .is_gateway = index == 0};
    for (int b = 0; b < 16; b++) {
        id.network_key[0][b] = (uint8_t)(0x40 + b);
        id.report_key[b] = (uint8_t)(0x80 + b + (int)index);
    }
    memset(m, 0, sizeof *m);
    m->index = index;
    m->seed = seed;
    m->env = (struct mp_env){
        .ctx = m, .crypto = crypto_sodium(), .store = &STORE, .random = draw_random, .counters = &m->counters};
    mp_keyset_put(m->record[MP_KIND_KEYSET][0].data, &fleet->keyset);
    m->record[MP_KIND_KEYSET][0].len = MP_KEYSET_SIZE;
    return m->env.crypto != NULL && mp_node_init(&m->engine, &m->env, &id, now) == 0 ? 0 : -1;
}

void member_close(struct member *m)
{
    for (unsigned p = 0; p < MEMBER_PLACES; p++)
        close_place(&m->place[p]);
}
