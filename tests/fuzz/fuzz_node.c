/*
 * A whole engine driven through its four calls by a script of bytes: frames that are sealed under the right key (so
 * that every parser behind the tag is reached), time steps, publishes and place calls, with a store whose calls fail
 * when the script says so. Whatever happens, the engine must stay inside its bounds, hold no chunk that does not
 * verify, never forget a signed object it holds, and keep its timers sane.
 */
#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mesh/engine.h"
#include "proto/mesh/relay.h"
#include "proto/mp_wire.h"
#include "proto/object/tree.h"
#include "tests/lib/sign.h"

#define NETWORK 7
#define PAYLOAD_SIZE 5000
#define CHUNKS_MAX 64

struct host {
    const uint8_t *script;
    size_t left;
    uint32_t draws;
    unsigned fail; /* one store call in 256 / fail fails */
    uint16_t len[MP_KIND_COUNT][16];
    uint8_t record[MP_KIND_COUNT][16][MP_RECORD_MAX];
    bool is_open[MP_PLACES_MAX];
    uint8_t bitmap[MP_PLACES_MAX][CHUNKS_MAX / 8];
    uint8_t chunk[MP_PLACES_MAX][CHUNKS_MAX][MP_CHUNK_SIZE];
    struct mp_relay relay;
    struct mp_counters counters;
};

static const uint8_t network_key[16] = {1, 2, 3};
static struct sign_fleet fleet;
static uint8_t payload[PAYLOAD_SIZE];
static uint8_t manifest[2][MP_MANIFEST_SIZE], manifest_id[2][8];
static uint8_t directive[4][MP_DIRECTIVE_MAX];
static size_t directive_len[4];
static uint8_t keychange[MP_KEYCHANGE_SIZE], receipt[MP_RECEIPT_MAX];
static size_t receipt_len;
static struct mp_tree tree;
static uint8_t good[CHUNKS_MAX][MP_CHUNK_SIZE];

static uint8_t next(struct host *h)
{
    if (h->left == 0)
        return 0;
    h->left--;
    return *h->script++;
}

static bool fails(struct host *h)
{
    h->draws = h->draws * 1664525u + 1013904223u;
    return (h->draws >> 24) < h->fail;
}

static int put(void *ctx, enum mp_kind kind, unsigned slot, const uint8_t *data, size_t len)
{
    struct host *h = ctx;

    if (kind >= MP_KIND_COUNT || slot >= 16 || len > MP_RECORD_MAX)
        abort();
    if (fails(h))
        return MP_ERR_STORE;
    if (len)
        memcpy(h->record[kind][slot], data, len);
    h->len[kind][slot] = (uint16_t)len;
    return 0;
}

static int get(void *ctx, enum mp_kind kind, unsigned slot, uint8_t *data, size_t cap)
{
    struct host *h = ctx;

    if (kind >= MP_KIND_COUNT || slot >= 16)
        abort();
    if (fails(h))
        return MP_ERR_STORE;
    if (h->len[kind][slot] > cap)
        return MP_ERR_ROOM;
    memcpy(data, h->record[kind][slot], h->len[kind][slot]);
    return h->len[kind][slot];
}

static int chunk_put(void *ctx, unsigned place, uint32_t position, const uint8_t *data, size_t len)
{
    struct host *h = ctx;

    if (place >= MP_PLACES_MAX || !h->is_open[place] || position >= tree.positions ||
        MP_BIT(h->bitmap[place], position))
        abort();
    /* The one thing that must never happen: something that is not the signed payload reaches the store. */
    if (len != mp_tree_length(&tree, position) || memcmp(data, good[position], len) != 0)
        abort();
    if (fails(h))
        return MP_ERR_STORE;
    memcpy(h->chunk[place][position], data, len);
    h->bitmap[place][position / 8] |= (uint8_t)(1u << position % 8);
    return 0;
}

static int chunk_get(void *ctx, unsigned place, uint32_t position, uint8_t data[MP_CHUNK_SIZE])
{
    struct host *h = ctx;

    if (place >= MP_PLACES_MAX || !h->is_open[place] || position >= tree.positions)
        abort();
    if (!MP_BIT(h->bitmap[place], position))
        return MP_ERR_ABSENT;
    if (fails(h))
        return MP_ERR_STORE;
    memcpy(data, h->chunk[place][position], mp_tree_length(&tree, position));
    return (int)mp_tree_length(&tree, position);
}

static const uint8_t *bitmap(void *ctx, unsigned place)
{
    struct host *h = ctx;

    return place < MP_PLACES_MAX && h->is_open[place] ? h->bitmap[place] : NULL;
}

static uint32_t draw(void *ctx)
{
    struct host *h = ctx;

    h->draws = h->draws * 1664525u + 1013904223u;
    return h->draws;
}

static const struct mp_store store = {put, get, chunk_put, chunk_get, bitmap};

static int read_payload(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    (void)ctx;
    memcpy(data, payload + offset, len);
    return 0;
}

static int keep(void *ctx, uint32_t position, const uint8_t *data, size_t len)
{
    (void)ctx;
    memcpy(good[position], data, len);
    return 0;
}

static void prepare(void)
{
    uint8_t root[MP_HASH_SIZE];

    sign_fleet_make(&fleet);
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i * 7 + i / 251);
    mp_tree_init(&tree, PAYLOAD_SIZE);
    for (unsigned i = 0; i < 2; i++) {
        struct mp_manifest m;

        sign_manifest_fill(&m, (uint16_t)(1 + i), 5 + i);
        sign_manifest_image(&m, payload, sizeof payload);
        sign_manifest(manifest[i], &m, &fleet.publisher);
        mp_manifest_id(crypto_sodium(), manifest[i], manifest_id[i]);
        if (i == 0) {
            mp_tree_build(&tree, crypto_sodium(), m.salt, read_payload, keep, NULL, root);
            for (uint32_t leaf = 0; leaf < tree.count[0]; leaf++)
                memcpy(good[tree.first[0] + leaf], payload + leaf * MP_CHUNK_SIZE,
                       mp_tree_length(&tree, tree.first[0] + leaf));
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        struct mp_directive d;

        sign_directive_fill(&d, i % 2 ? MP_ACTION_OPEN : MP_ACTION_STAGE, NETWORK, 5 + i / 2, 1 + i % 2,
                            manifest_id[i / 2]);
        directive_len[i] = sign_directive(directive[i], &d, &fleet.release);
    }
    struct mp_keychange change = {
        .op = MP_KEYOP_INSTALL, .role = MP_ROLE_PUBLISHER, .key_id = 1, .signer = {0, 1}, .number = 1, .generation = 2};
    memcpy(change.previous, fleet.keyset.head, 32);
    memset(change.key, 9, 32);
    sign_keychange(keychange, &change, &fleet.root[0], &fleet.root[1]);
    struct mp_receipt r = {
        .network = NETWORK, .generation = 1, .round = 3, .base = 0, .count = 4, .nibbles = {0x11, 0x11}};
    receipt_len = sign_receipt(receipt, &r, &fleet.release);
}

/* A body of the script's choosing, often close to a valid one. */
static size_t make_body(struct host *h, uint8_t type, uint8_t *body, const struct mp_node *n)
{
    size_t len = 0;
    uint8_t which = next(h);

    switch (type) {
    case MP_TYPE_MANIFEST:
        memcpy(body, manifest[which % 2], len = MP_MANIFEST_SIZE);
        break;
    case MP_TYPE_DIRECTIVE:
        memcpy(body, directive[which % 4], len = directive_len[which % 4]);
        break;
    case MP_TYPE_KEYCHANGE:
        memcpy(body, keychange, len = MP_KEYCHANGE_SIZE);
        break;
    case MP_TYPE_RECEIPT:
        memcpy(body, receipt, len = receipt_len);
        break;
    case MP_TYPE_CHUNK: {
        uint32_t position = which % tree.positions;

        memcpy(body, manifest_id[next(h) % 2], 4);
        mp_put24(body + 4, position);
        memcpy(body + 7, good[position], mp_tree_length(&tree, position));
        len = 7 + mp_tree_length(&tree, position);
        break;
    }
    case MP_TYPE_REQUEST:
        mp_put32(body, which % 2 ? n->id : 0);
        mp_put32(body + 4, n->nonce);
        memcpy(body + 8, manifest_id[which % 3 % 2], 4);
        mp_put24(body + 12, next(h) % 8 * 8u);
        len = 15 + next(h) % 6u;
        for (size_t i = 15; i < len; i++)
            body[i] = next(h);
        break;
    case MP_TYPE_REPORT:
    case MP_TYPE_REPORT_ACK:
        mp_put32(body, n->id);
        mp_put32(body + 4, n->nonce);
        len = type == MP_TYPE_REPORT ? 10 + 19u * (which % 11) : 8 + 6u * (which % 33);
        for (size_t i = 8; i < len; i++)
            body[i] = i == 8 ? (uint8_t)(which % 11) : i == 9 ? 0 : next(h);
        break;
    default:
        len = which % (MP_BODY_MAX + 1u);
        for (size_t i = 0; i < len; i++)
            body[i] = next(h);
    }
    if (next(h) < 64 && len) { /* a blow somewhere, or another length */
        body[next(h) % len] ^= (uint8_t)(1u << next(h) % 8);
        if (next(h) < 64)
            len = next(h) % (MP_BODY_MAX + 1u);
    }
    return len;
}

static void feed(struct host *h, struct mp_node *n, const struct mp_env *env, mp_time now, uint64_t *counter)
{
    uint8_t frame[MP_FRAME_MAX];
    uint8_t type = next(h) % 12;
    struct mp_header header = {.type = type,
                               .key_id = 1,
                               .hop = next(h),
                               .network = NETWORK,
                               .round = next(h) % 5,
                               .source = 2000u + next(h) % 40,
                               .counter = (*counter)++};
    size_t len;

    mp_header_put(frame, &header);
    len = make_body(h, type, frame + MP_HEADER_SIZE, n);
    len = mp_frame_seal(env->crypto, frame, MP_HEADER_SIZE + len, network_key);
    mp_node_receive(n, env, now, frame, len);
}

static void check_bounds(const struct mp_node *n)
{
    if (n->custody_count > MP_CUSTODY_MAX || n->fetch > MP_PLACES_MAX || n->demand.place > MP_PLACES_MAX)
        abort();
    for (unsigned i = 0; i < MP_PLACES_MAX; i++)
        if (n->places[i].held > n->places[i].positions)
            abort();
}

/* What is kept beside the tables so that they need not be walked says what they say. */
static void check_shortcuts(const struct mp_node *n)
{
    uint32_t now_ms = (uint32_t)(n->now / 1000);
    bool is_full = (int16_t)((uint16_t)(now_ms >> 8) - n->full_until) < 0;

    for (unsigned i = 0; i < MP_RELEASES_MAX; i++)
        if ((n->head_mask >> i & 1) != (n->heads[i].release != 0))
            abort();
    for (unsigned i = 0; i < MP_MANIFESTS_MAX; i++)
        if ((n->manifest_mask >> i & 1) != (mp_get64(n->manifests[i]) != 0))
            abort();
    for (unsigned i = 0; i < MP_NEIGHBOURS_MAX; i++) {
        const struct mp_neighbour *b = &n->neighbours[i];

        /* who was silent for ten minutes gives way */
        if (n->neighbour_tag[i] != (uint8_t)b->node ||
            (is_full && (b->node == 0 || mp_neighbour_age_ms(b, now_ms) >= 600000)))
            abort();
    }
}

static void step(struct host *h, struct mp_node *n, const struct mp_env *env, mp_time *now, uint64_t *counter)
{
    uint8_t out[MP_FRAME_MAX], op = next(h) % 16;
    struct mp_manifest m;
    unsigned place;

    switch (op) {
    case 0:
        h->fail = next(h);
        break;
    case 1:
        *now += MP_MS(1u << next(h) % 24);
        break;
    case 2:
        mp_node_publish(n, env, *now, (enum mp_type)(next(h) % 12), directive[next(h) % 4], directive_len[0]);
        break;
    case 3:
        place = next(h) % (MP_PLACES_MAX + 1u);
        if (place < MP_PLACES_MAX)
            h->is_open[place] = true;
        mp_manifest_get(&m, manifest[0], MP_MANIFEST_SIZE);
        mp_node_place(n, env, *now, place, &m, manifest_id[0]);
        break;
    case 4:
        place = next(h) % MP_PLACES_MAX;
        mp_node_drop(n, place);
        h->is_open[place] = false;
        memset(h->bitmap[place], 0, sizeof h->bitmap[place]);
        break;
    case 5:
        mp_node_report(n, env, *now, next(h), next(h), (enum mp_phase)(next(h) % MP_PHASE_COUNT), MP_REASON_NONE);
        break;
    case 6:
        mp_node_trial(n, env, *now, next(h) & 1);
        break;
    case 7:
        mp_node_custody_done(n, *now, next(h) % 4);
        break;
    case 8:
        mp_node_counter_persisted(n);
        break;
    default:
        feed(h, n, env, *now, counter);
    }
    mp_node_expire(n, env, *now);
    for (int writes = 0; mp_node_next_expiry(n) <= *now; writes++) {
        int len = mp_node_write(n, env, *now, out, sizeof out);

        if (len < 0 || len > MP_FRAME_MAX || writes > 5000)
            abort();
        if (len == 0)
            break;
    }
    mp_node_events(n);
    check_bounds(n);
    check_shortcuts(n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct host h;
    static bool is_ready;
    struct mp_node n;
    struct mp_identity id = {.node = 1000, .network = NETWORK, .index = 1, .boot = 1, .key_id = {1}, .key_count = 1};
    uint64_t counter = 1u << 24;
    mp_time now = MP_SECONDS(1);

    if (!is_ready)
        prepare();
    is_ready = true;
    memset(&h, 0, sizeof h);
    h.script = data;
    h.left = size;
    struct mp_env env = {&h, crypto_sodium(), &store, draw, next(&h) & 1 ? &h.relay : NULL, &h.counters};
    memcpy(id.network_key[0], network_key, 16);
    id.is_gateway = next(&h) & 1;
    mp_keyset_put(h.record[MP_KIND_KEYSET][0], &fleet.keyset);
    h.len[MP_KIND_KEYSET][0] = MP_KEYSET_SIZE;
    if (mp_node_init(&n, &env, &id, now) < 0)
        abort();
    while (h.left)
        step(&h, &n, &env, &now, &counter);
    /* What was stored is read again, whatever failed meanwhile. */
    h.fail = 0;
    id.boot++;
    if (mp_node_init(&n, &env, &id, now) < 0)
        abort();
    check_bounds(&n);
    check_shortcuts(&n);
    return 0;
}
