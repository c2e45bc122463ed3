#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"

void rig_need(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench: %s\n", what);
        exit(1);
    }
}

double rig_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double rig_median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* --- store in RAM ------------------------------------------------------------------------------------------------- */

static int store_put(void *ctx, enum mp_kind kind, unsigned slot, const uint8_t *data, size_t len)
{
    struct rig *r = ctx;
    rig_need(slot < RIG_SLOTS && len <= MP_RECORD_MAX, "record out of range");
    struct rig_record *record = &r->record[kind][slot];
    record->len = len;
    if (len > 0) {
        memcpy(record->data, data, len);
    }
    return MP_OK;
}

static int store_get(void *ctx, enum mp_kind kind, unsigned slot, uint8_t *data, size_t cap)
{
    struct rig *r = ctx;
    rig_need(slot < RIG_SLOTS, "record out of range");
    const struct rig_record *record = &r->record[kind][slot];
    if (record->len > cap) {
        return MP_ERR_ROOM;
    }
    memcpy(data, record->data, record->len);
    return (int)record->len;
}

static int store_chunk_put(void *ctx, unsigned place, uint32_t position, const uint8_t *data, size_t len)
{
    struct rig *r = ctx;
    memcpy(r->place[place].chunk[position], data, len);
    r->place[place].bitmap[position / 8] |= (uint8_t)(1u << position % 8);
    return MP_OK;
}

static int store_chunk_get(void *ctx, unsigned place, uint32_t position, uint8_t data[MP_CHUNK_SIZE])
{
    struct rig *r = ctx;
    struct mp_tree tree;
    if (!(r->place[place].bitmap[position / 8] >> position % 8 & 1) || mp_tree_init(&tree, RIG_PAYLOAD) < 0) {
        return MP_ERR_ABSENT;
    }
    size_t len = mp_tree_length(&tree, position);
    memcpy(data, r->place[place].chunk[position], len);
    return (int)len;
}

static const uint8_t *store_bitmap(void *ctx, unsigned place)
{
    struct rig *r = ctx;
    return place < 2 && r->place[place].is_used ? r->place[place].bitmap : NULL;
}

static const struct mp_store ram_store = {
    .put = store_put,
    .get = store_get,
    .chunk_put = store_chunk_put,
    .chunk_get = store_chunk_get,
    .bitmap = store_bitmap,
};

/* xorshift32: the same run every time. */
static uint32_t next_random(void *ctx)
{
    struct rig *r = ctx;
    r->seed ^= r->seed << 13;
    r->seed ^= r->seed >> 17;
    r->seed ^= r->seed << 5;
    return r->seed;
}

/* --- image -------------------------------------------------------------------------------------------------------- */

static int image_read(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    struct rig_image *image = ctx;
    memcpy(data, image->bytes + offset, len);
    return MP_OK;
}

static int image_emit(void *ctx, uint32_t position, const uint8_t *data, size_t len)
{
    struct rig_image *image = ctx;
    memcpy(image->chunk[position], data, len);
    return MP_OK;
}

void rig_image_make(struct rig_image *image)
{
    const struct mp_crypto *crypto = crypto_sodium();
    struct sign_fleet fleet;
    uint8_t root[MP_HASH_SIZE];
    sign_fleet_make(&fleet);
    for (uint32_t i = 0; i < RIG_PAYLOAD; i++) {
        image->bytes[i] = (uint8_t)(i * 2654435761u >> 24);
    }
    sign_manifest_fill(&image->manifest, 1, 1);
    sign_manifest_image(&image->manifest, image->bytes, RIG_PAYLOAD);
    sign_manifest(image->raw, &image->manifest, &fleet.publisher);
    mp_manifest_id(crypto, image->raw, image->id);
    image->handle = mp_get32(image->id);
    rig_need(mp_tree_init(&image->tree, RIG_PAYLOAD) == MP_OK && image->tree.positions == RIG_POSITIONS,
             "tree geometry");
    rig_need(mp_tree_build(&image->tree, crypto, image->manifest.salt, image_read, image_emit, image, root) == MP_OK &&
                 memcmp(root, image->manifest.image_root, sizeof root) == 0,
             "tree");
    for (uint32_t i = 0; i < image->tree.count[0]; i++) {
        uint32_t position = image->tree.first[0] + i;
        memcpy(image->chunk[position], image->bytes + i * MP_CHUNK_SIZE, mp_tree_length(&image->tree, position));
    }
}

/* --- engine ------------------------------------------------------------------------------------------------------- */

void rig_init(struct rig *r, bool is_gateway)
{
    memset(r, 0, sizeof *r);
    r->seed = 2463534242u;
    r->now = MP_SECONDS(1);
    r->counter = (uint64_t)1 << 24;
    memset(r->key, 0x5a, sizeof r->key);
    sign_fleet_make(&r->fleet);
    r->env = (struct mp_env){
        .ctx = r, .crypto = crypto_sodium(), .store = &ram_store, .random = next_random, .counters = &r->counters};
    rig_need(r->env.crypto != NULL, "libsodium");
    mp_keyset_put(r->record[MP_KIND_KEYSET][0].data, &r->fleet.keyset);
    r->record[MP_KIND_KEYSET][0].len = MP_KEYSET_SIZE;
    struct mp_identity id = {.node = RIG_SELF,
                             .network = RIG_NETWORK,
                             .boot = 1,
                             .key_id = {1, 0},
                             .key_count = 1,
                             .is_gateway = is_gateway};
    memcpy(id.network_key[0], r->key, sizeof r->key);
    memset(id.report_key, 0x33, sizeof id.report_key);
    rig_need(mp_node_init(&r->node, &r->env, &id, r->now) == MP_OK, "mp_node_init");
}

void rig_place(struct rig *r, const struct rig_image *image, unsigned place, bool is_whole)
{
    struct mp_directive d;
    uint8_t raw[MP_DIRECTIVE_MAX];
    sign_directive_fill(&d, MP_ACTION_STAGE, RIG_NETWORK, 1, 1, image->id);
    size_t len = sign_directive(raw, &d, &r->fleet.release);
    rig_need(mp_node_publish(&r->node, &r->env, r->now, MP_TYPE_DIRECTIVE, raw, len) == MP_OK, "directive");
    rig_need(mp_node_publish(&r->node, &r->env, r->now, MP_TYPE_MANIFEST, image->raw, sizeof image->raw) == MP_OK,
             "manifest");
    r->place[place].is_used = true;
    if (is_whole) {
        memcpy(r->place[place].chunk, image->chunk, sizeof image->chunk);
        for (uint32_t i = 0; i < RIG_POSITIONS; i++) {
            r->place[place].bitmap[i / 8] |= (uint8_t)(1u << i % 8);
        }
    }
    rig_need(mp_node_place(&r->node, &r->env, r->now, place, &image->manifest, image->id) == MP_OK, "mp_node_place");
}

void rig_frame(struct rig *r, struct rig_frame *f, enum mp_type type, const uint8_t *body, size_t len)
{
    struct mp_header h = {.type = (uint8_t)type,
                          .key_id = 1,
                          .hop = 1,
                          .network = RIG_NETWORK,
                          .source = RIG_PEER,
                          .counter = r->counter++};
    rig_need(len <= MP_BODY_MAX, "body too long");
    mp_header_put(f->bytes, &h);
    memcpy(f->bytes + MP_HEADER_SIZE, body, len);
    f->len = mp_frame_seal(r->env.crypto, f->bytes, MP_HEADER_SIZE + len, r->key);
}

double rig_receive(struct rig *r, const struct rig_frame *frames, size_t count, mp_time step)
{
    int refused = MP_OK;
    size_t at = 0;
    unsigned type = frames[0].bytes[0] & 15;
    uint32_t before = r->counters.received[type];
    double start = rig_clock();
    for (size_t i = 0; i < count; i++) {
        int error = mp_node_receive(&r->node, &r->env, r->now, frames[i].bytes, frames[i].len);
        if (error < 0 && refused == MP_OK) {
            refused = error;
            at = i;
        }
        r->now += step;
    }
    double seconds = rig_clock() - start;
    if (refused < 0) {
        fprintf(stderr, "bench: frame %zu of %zu, type %d: %s\n", at, count, frames[at].bytes[0] & 15,
                mp_strerror(refused));
        exit(1);
    }
    rig_need(r->counters.received[type] - before == count, "the engine did not count every frame");
    return seconds;
}

void rig_run(struct rig *r, mp_time duration)
{
    mp_time end = r->now + duration;
    uint8_t frame[MP_FRAME_MAX];
    for (unsigned i = 0; i < 100000; i++) {
        mp_time due = mp_node_next_expiry(&r->node);
        if (due > end) {
            r->now = end;
            return;
        }
        r->now = due > r->now ? due : r->now + MP_MS(1);
        mp_node_expire(&r->node, &r->env, r->now);
        while (mp_node_write(&r->node, &r->env, r->now, frame, sizeof frame) > 0) {
        }
    }
    rig_need(false, "the engine never comes to rest");
}

size_t rig_summary(struct rig *r, uint8_t body[MP_BODY_MAX])
{
    uint8_t frame[MP_FRAME_MAX];
    for (unsigned i = 0; i < 100000; i++) {
        mp_time due = mp_node_next_expiry(&r->node);
        r->now = due > r->now && due != MP_NEVER ? due : r->now + MP_MS(1);
        mp_node_expire(&r->node, &r->env, r->now);
        for (int len; (len = mp_node_write(&r->node, &r->env, r->now, frame, sizeof frame)) > 0;) {
            if ((frame[0] & 15) == MP_TYPE_SUMMARY) {
                size_t n = (size_t)len - MP_HEADER_SIZE - MP_TAG_SIZE;
                memcpy(body, frame + MP_HEADER_SIZE, n);
                return n;
            }
        }
    }
    rig_need(false, "the engine never sends a SUMMARY");
    return 0;
}
