#include "world.h"

#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"

/* --- store in RAM
 * ------------------------------------------------------------------------------------------------------ */

static int store_put(void *ctx, enum mp_kind kind, unsigned slot, const uint8_t *data, size_t len)
{
    struct world_node *n = ctx;
    if (slot >= WORLD_RECORDS_MAX || len > MP_RECORD_MAX)
        return MP_ERR_STORE;
    struct world_record *record = &n->record[kind][slot];
    if (len > 0)
        memcpy(record->data, data, len);
    record->len = (uint16_t)len;
    return 0;
}

static int store_get(void *ctx, enum mp_kind kind, unsigned slot, uint8_t *data, size_t cap)
{
    const struct world_node *n = ctx;
    if (slot >= WORLD_RECORDS_MAX)
        return MP_ERR_STORE;
    const struct world_record *record = &n->record[kind][slot];
    if (record->len > cap)
        return MP_ERR_ROOM;
    memcpy(data, record->data, record->len);
    return record->len;
}

static bool has_chunk(const struct world_place *p, uint32_t position)
{
    return p->bitmap[position / 8] >> position % 8 & 1;
}

static int store_chunk_put(void *ctx, unsigned place, uint32_t position, const uint8_t *data, size_t len)
{
    struct world_node *n = ctx;
    struct world_place *p = &n->place[place < WORLD_PLACES ? place : 0];
    if (place >= WORLD_PLACES || p->data == NULL || position >= p->tree.positions || has_chunk(p, position) ||
        len != mp_tree_length(&p->tree, position))
        return MP_ERR_STORE;
    memcpy(p->data + (size_t)position * MP_CHUNK_SIZE, data, len);
    p->bitmap[position / 8] |= (uint8_t)(1u << position % 8);
    p->held++;
    return 0;
}

static int store_chunk_get(void *ctx, unsigned place, uint32_t position, uint8_t data[MP_CHUNK_SIZE])
{
    const struct world_node *n = ctx;
    const struct world_place *p = &n->place[place < WORLD_PLACES ? place : 0];
    if (place >= WORLD_PLACES || p->data == NULL || position >= p->tree.positions || !has_chunk(p, position))
        return MP_ERR_ABSENT;
    unsigned len = mp_tree_length(&p->tree, position);
    memcpy(data, p->data + (size_t)position * MP_CHUNK_SIZE, len);
    return (int)len;
}

static const uint8_t *store_bitmap(void *ctx, unsigned place)
{
    const struct world_node *n = ctx;
    return place < WORLD_PLACES ? n->place[place].bitmap : NULL;
}

static const struct mp_store STORE = {store_put, store_get, store_chunk_put, store_chunk_get, store_bitmap};

static uint32_t draw_random(void *ctx)
{
    struct world_node *n = ctx;
    return sim_draw(n->world->seed, SIM_DRAW_WORLD, n->index, n->draws++, 0);
}

/* --- payloads
 * ---------------------------------------------------------------------------------------------------------- */

static void close_place(struct world_place *p)
{
    free(p->data);
    free(p->bitmap);
    memset(p, 0, sizeof *p);
}

int world_place_open(struct world_node *n, unsigned place, uint32_t size)
{
    struct world_place *p = &n->place[place];
    close_place(p);
    if (mp_tree_init(&p->tree, size) != 0)
        return -1;
    p->data = calloc(p->tree.positions, MP_CHUNK_SIZE);
    p->bitmap = calloc((p->tree.positions + 7) / 8, 1);
    return p->data != NULL && p->bitmap != NULL ? 0 : -1;
}

struct filling {
    struct world_node *node;
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
    return store_chunk_put(f->node, f->place, position, data, len);
}

int world_place_fill(struct world_node *n, unsigned place, const uint8_t *payload, uint32_t size, const uint8_t salt[8])
{
    struct filling f = {n, place, payload};
    uint8_t root[MP_HASH_SIZE];
    if (world_place_open(n, place, size) != 0)
        return -1;
    const struct mp_tree *tree = &n->place[place].tree;
    /* a payload of one leaf has no interior chunk */
    if (mp_tree_build(tree, n->env.crypto, salt, read_payload, store_interior, &f, root) != 0)
        return -1;
    for (uint32_t i = 0; i < tree->count[0]; i++)
        if (store_chunk_put(n, place, tree->first[0] + i, payload + (size_t)i * MP_CHUNK_SIZE,
                            mp_tree_length(tree, tree->first[0] + i)) != 0)
            return -1;
    return n->place[place].held == tree->positions ? 0 : -1;
}

bool world_place_sha256(const struct world_node *n, unsigned place, uint8_t digest[32])
{
    const struct world_place *p = &n->place[place];
    struct mp_sha256 sha;
    if (p->data == NULL || p->held != p->tree.positions)
        return false;
    n->env.crypto->sha256_init(&sha);
    n->env.crypto->sha256_update(&sha, p->data + (size_t)p->tree.first[0] * MP_CHUNK_SIZE, p->tree.size);
    n->env.crypto->sha256_final(&sha, digest);
    return true;
}

/* --- host loop
 * --------------------------------------------------------------------------------------------------------- */

mp_time world_now(const struct world *w)
{
    return sim_medium_now(w->medium);
}

/* A frame that waits while the radio is busy shows as an expiry in the past: then the radio says when to look again. */
static void arm(struct world_node *n)
{
    mp_time now = world_now(n->world), expiry = mp_node_next_expiry(&n->engine);
    n->wake = expiry > now ? expiry : n->ready;
}

void world_touch(struct world_node *n)
{
    uint32_t events;
    while ((events = mp_node_events(&n->engine)) != 0) /* what the hook calls may raise more */
        if (n->world->hooks.raised != NULL)
            n->world->hooks.raised(n->world->ctx, n, events);
    arm(n);
}

#define RETRY_US 1000 /* an engine that is due but has nothing to say is not asked again at once */

static void wake(struct world_node *n)
{
    struct world *w = n->world;
    mp_time now = world_now(w);
    uint8_t ad[WORLD_AD_HEADER + MP_FRAME_MAX];
    if (mp_node_next_expiry(&n->engine) <= now)
        mp_node_expire(&n->engine, &n->env, now);
    bool is_ready = n->ready <= now;
    int len = 0;
    if (is_ready && mp_node_next_expiry(&n->engine) <= now)
        len = mp_node_write(&n->engine, &n->env, now, ad + WORLD_AD_HEADER, MP_FRAME_MAX);
    if (len > 0) {
        ad[0] = (uint8_t)(len + WORLD_AD_HEADER - 1);
        ad[1] = 0xFF; /* manufacturer specific data; the company that stands for tests */
        ad[2] = 0xFF;
        ad[3] = 0xFF;
        n->ready = MP_NEVER;
        (void)sim_medium_submit(w->medium, now, n->index, ad, (size_t)len + WORLD_AD_HEADER);
    }
    world_touch(n);
    if (is_ready && len <= 0 && n->wake <= now)
        n->wake = now + RETRY_US;
}

static void on_received(void *ctx, uint32_t device, const struct sim_reception *reception)
{
    struct world *w = ctx;
    struct world_node *n = &w->node[device];
    const uint8_t *frame = reception->data + WORLD_AD_HEADER;
    size_t len = reception->len - WORLD_AD_HEADER;
    int result = mp_node_receive(&n->engine, &n->env, reception->at, frame, len);
    if (w->hooks.heard != NULL)
        w->hooks.heard(w->ctx, n, frame, len, result);
    world_touch(n);
}

#define GAP_US 20000 /* between event starts, before the random delay */

static void on_event_ended(void *ctx, const struct sim_event_report *report)
{
    struct world *w = ctx;
    w->node[report->device].ready = report->start + GAP_US;
    if (w->hooks.sent != NULL)
        w->hooks.sent(w->ctx, report);
    arm(&w->node[report->device]);
}

void world_run(struct world *w, mp_time until, const bool *stop)
{
    while (!*stop) {
        mp_time next = sim_medium_next(w->medium);
        struct world_node *first = NULL;
        for (uint32_t i = 0; i < w->count; i++) {
            if (w->node[i].wake < next) {
                next = w->node[i].wake;
                first = &w->node[i];
            }
        }
        if (next > until)
            break;
        sim_medium_advance(w->medium, next);
        if (first != NULL)
            wake(first);
    }
    if (!*stop)
        sim_medium_advance(w->medium, until);
}

/* --- opening
 * ----------------------------------------------------------------------------------------------------------- */

static int start_node(struct world *w, uint32_t i)
{
    struct world_node *n = &w->node[i];
    struct mp_identity id = {.node = WORLD_NODE_ID + i,
                             .network = WORLD_NETWORK,
                             .index = (uint16_t)i,
                             .boot = 1,
                             .key_id = {1, 0},
                             .key_active = 0,
                             .key_count = 1,
                             .is_gateway = i == 0};
    for (int b = 0; b < 16; b++) {
        id.network_key[0][b] = (uint8_t)(0x40 + b);
        id.report_key[b] = (uint8_t)(0x80 + b + (int)i);
    }
    n->world = w;
    n->index = i;
    n->env = (struct mp_env){
        .ctx = n, .crypto = crypto_sodium(), .store = &STORE, .random = draw_random, .counters = &n->counters};
    mp_keyset_put(n->record[MP_KIND_KEYSET][0].data, &w->fleet.keyset);
    n->record[MP_KIND_KEYSET][0].len = MP_KEYSET_SIZE;
    if (n->env.crypto == NULL || mp_node_init(&n->engine, &n->env, &id, 0) != 0)
        return -1;
    if (sim_medium_scan_start(w->medium, 0, i, SIM_SCAN_INTERVAL_US, SIM_SCAN_INTERVAL_US) != 0)
        return -1;
    arm(n);
    return 0;
}

int world_open(struct world *w, uint32_t count, uint64_t seed, uint32_t loss_ppm, const struct world_hooks *hooks,
               void *ctx)
{
    struct sim_medium_config config = {.seed = seed, .loss_ppm = loss_ppm};
    const struct sim_medium_ops ops = {.received = on_received, .event_ended = on_event_ended};
    memset(w, 0, sizeof *w);
    sim_radio_defaults(&config.radio);
    w->count = count;
    w->seed = seed;
    w->hooks = *hooks;
    w->ctx = ctx;
    w->medium = sim_medium_open(&config, count, &ops, w);
    w->node = calloc(count, sizeof *w->node);
    if (w->medium == NULL || w->node == NULL)
        return -1;
    sign_fleet_make(&w->fleet);
    for (uint32_t i = 0; i < count; i++)
        if (start_node(w, i) != 0)
            return -1;
    return 0;
}

void world_close(struct world *w)
{
    for (uint32_t i = 0; w->node != NULL && i < w->count; i++)
        for (unsigned p = 0; p < WORLD_PLACES; p++)
            close_place(&w->node[i].place[p]);
    free(w->node);
    sim_medium_close(w->medium);
    memset(w, 0, sizeof *w);
}

void world_link_grid(struct world *w, uint32_t columns, uint32_t rows)
{
    for (uint32_t a = 0; a < columns * rows; a++) {
        for (uint32_t b = a + 1; b < columns * rows; b++) {
            int dx = (int)(a % columns) - (int)(b % columns), dy = (int)(a / columns) - (int)(b / columns);
            if (dx >= -1 && dx <= 1 && dy >= -1 && dy <= 1)
                (void)sim_medium_link(w->medium, a, b, WORLD_LINK_LOSS);
        }
    }
}

uint32_t world_depth(uint32_t columns, uint32_t rows)
{
    return (columns > rows ? columns : rows) - 1;
}
