#include "mesh_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mp_wire.h"

unsigned long mesh_verifies;

static void need(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "mesh rig: %s\n", what);
    abort();
}

static uint32_t next_random(uint32_t *state)
{
    /* xorshift32 */
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* --- store -------------------------------------------------------------------------------------------------------- */

static bool fails(struct mesh_node *n, uint32_t *budget)
{
    n->calls++;
    if (*budget > 0) {
        (*budget)--;
        return true;
    }
    if (n->fail_percent && next_random(&n->draws) % 100 < n->fail_percent)
        return true;
    return n->fail_every && n->calls % n->fail_every == 0;
}

static int store_put(void *ctx, enum mp_kind kind, unsigned slot, const uint8_t *data, size_t len)
{
    struct mesh_node *n = ctx;

    need(slot < MESH_SLOTS && len <= MP_RECORD_MAX, "record out of range");
    if (fails(n, &n->fail_puts))
        return MP_ERR_STORE;
    if (len)
        memcpy(n->record[kind][slot], data, len);
    n->len[kind][slot] = (uint16_t)len;
    n->put_count++;
    return 0;
}

static int store_get(void *ctx, enum mp_kind kind, unsigned slot, uint8_t *data, size_t cap)
{
    struct mesh_node *n = ctx;

    need(slot < MESH_SLOTS, "record out of range");
    if (fails(n, &n->fail_gets))
        return MP_ERR_STORE;
    if (n->len[kind][slot] > cap)
        return MP_ERR_ROOM;
    memcpy(data, n->record[kind][slot], n->len[kind][slot]);
    return n->len[kind][slot];
}

static int store_chunk_put(void *ctx, unsigned place, uint32_t position, const uint8_t *data, size_t len)
{
    struct mesh_node *n = ctx;
    const struct mesh_image *image = n->image[place];

    need(place < MP_PLACES_MAX && image && position < image->tree.positions, "chunk out of range");
    need(!(n->bitmap[place][position / 8] >> position % 8 & 1), "chunk written twice");
    need(len == mp_tree_length(&image->tree, position) &&
             memcmp(data, image->chunk + (size_t)position * MP_CHUNK_SIZE, len) == 0,
         "a chunk that is not the signed payload's reached the store");
    if (fails(n, &n->fail_puts))
        return MP_ERR_STORE;
    n->bitmap[place][position / 8] |= (uint8_t)(1u << position % 8);
    return 0;
}

static int store_chunk_get(void *ctx, unsigned place, uint32_t position, uint8_t data[MP_CHUNK_SIZE])
{
    struct mesh_node *n = ctx;
    const struct mesh_image *image = n->image[place];
    unsigned len;

    need(place < MP_PLACES_MAX && image && position < image->tree.positions, "chunk out of range");
    if (fails(n, &n->fail_gets))
        return MP_ERR_STORE;
    if (!(n->bitmap[place][position / 8] >> position % 8 & 1))
        return MP_ERR_ABSENT;
    len = mp_tree_length(&image->tree, position);
    memcpy(data, image->chunk + (size_t)position * MP_CHUNK_SIZE, len);
    return (int)len;
}

static const uint8_t *store_bitmap(void *ctx, unsigned place)
{
    const struct mesh_node *n = ctx;

    return place < MP_PLACES_MAX ? n->bitmap[place] : NULL;
}

static const struct mp_store store = {store_put, store_get, store_chunk_put, store_chunk_get, store_bitmap};

static uint32_t node_random(void *ctx)
{
    struct mesh_node *n = ctx;

    return next_random(&n->draws);
}

static int counting_verify(const uint8_t sig[64], const uint8_t *message, size_t len, const uint8_t pub[32])
{
    mesh_verifies++;
    return crypto_sodium()->verify(sig, message, len, pub);
}

static struct mp_crypto counting;

/* --- nodes -------------------------------------------------------------------------------------------------------- */

struct mesh *mesh_new(unsigned count, mp_time now, uint32_t seed)
{
    struct mesh *mesh = calloc(1, sizeof *mesh);

    need(mesh && count <= MESH_NODES_MAX && seed != 0, "mesh_new");
    need(crypto_sodium() != NULL, "libsodium");
    counting = *crypto_sodium();
    counting.verify = counting_verify;
    mesh->count = count;
    mesh->now = now;
    mesh->seed = seed;
    mesh->forged_counter = (uint64_t)3 << 24;
    mesh->forged_hop = MP_HOP_NONE;
    memset(mesh->key, 0x5a, sizeof mesh->key);
    memset(mesh->loss, 100, sizeof mesh->loss);
    sign_fleet_make(&mesh->fleet);
    for (unsigned i = 0; i < count; i++) {
        struct mesh_node *n = &mesh->node[i];

        n->mesh = mesh;
        n->index = i;
        n->draws = seed * 2654435761u + i + 1;
        n->draws += n->draws == 0;
        n->env = (struct mp_env){n, &counting, &store, node_random, NULL, &n->counters};
        n->is_committing = true;
        n->identity = (struct mp_identity){.node = MESH_ID + i,
                                           .network = MESH_NETWORK,
                                           .index = (uint16_t)i,
                                           .key_id = {MESH_KEY_ID, 0},
                                           .key_count = 1,
                                           .is_gateway = i == 0};
        memcpy(n->identity.network_key[0], mesh->key, 16);
        memset(n->identity.report_key, (int)(0x30 + i), 16);
        mp_keyset_put(n->record[MP_KIND_KEYSET][0], &mesh->fleet.keyset);
        n->len[MP_KIND_KEYSET][0] = MP_KEYSET_SIZE;
        mesh_boot(mesh, i);
    }
    return mesh;
}

void mesh_free(struct mesh *mesh)
{
    for (unsigned i = 0; i < mesh->count; i++)
        for (unsigned place = 0; place < MP_PLACES_MAX; place++)
            free(mesh->node[i].bitmap[place]);
    free(mesh);
}

void mesh_boot(struct mesh *mesh, unsigned i)
{
    struct mesh_node *n = &mesh->node[i];

    n->identity.boot = n->identity.boot ? mp_node_boot(&n->engine) + 1 : 1;
    need(mp_node_init(&n->engine, &n->env, &n->identity, mesh->now) == MP_OK, "mp_node_init");
    memset(&n->relay, 0, sizeof n->relay);
    for (unsigned place = 0; place < MP_PLACES_MAX; place++)
        if (n->image[place])
            need(mp_node_place(&n->engine, &n->env, mesh->now, place, &n->image[place]->manifest,
                               n->image[place]->id) == MP_OK,
                 "mp_node_place");
}

void mesh_link(struct mesh *mesh, unsigned a, unsigned b, unsigned loss_percent)
{
    mesh->loss[a][b] = mesh->loss[b][a] = (uint8_t)loss_percent;
}

void mesh_line(struct mesh *mesh, unsigned loss_percent)
{
    for (unsigned i = 1; i < mesh->count; i++)
        mesh_link(mesh, i - 1, i, loss_percent);
}

void mesh_full(struct mesh *mesh, unsigned loss_percent)
{
    for (unsigned i = 0; i < mesh->count; i++)
        for (unsigned j = 0; j < i; j++)
            mesh_link(mesh, i, j, loss_percent);
}

/* --- time --------------------------------------------------------------------------------------------------------- */

/* What every host does. */
static void serve_events(struct mesh *mesh, struct mesh_node *n)
{
    uint32_t events = mp_node_events(&n->engine);
    struct mp_manifest m;
    uint8_t id[8];

    n->events |= events;
    if (events & MP_EVENT_COUNTER)
        mp_node_counter_persisted(&n->engine);
    if (n->identity.is_gateway && n->is_committing)
        mp_node_custody_done(&n->engine, mesh->now, MP_CUSTODY_MAX);
    if (!n->model || n->image[1] || !mesh->images) /* not on the event alone: the store may fail just then */
        return;
    for (const struct mesh_image *const *image = mesh->images; *image; image++)
        for (unsigned i = 0; i < MP_MANIFESTS_MAX; i++)
            if (!n->image[1] && mp_node_manifest(&n->engine, &n->env, i, &m, id) == MP_OK && m.model == n->model &&
                memcmp((*image)->id, id, 8) == 0)
                mesh_open(mesh, n->index, 1, *image, false);
}

static void deliver(struct mesh *mesh, unsigned from, const uint8_t *frame, size_t len)
{
    if (mesh->on_frame && !mesh->on_frame(mesh, from, frame, len))
        return;
    for (unsigned to = 0; to < mesh->count; to++) {
        struct mesh_node *n = &mesh->node[to];

        if (to == from || n->is_off || next_random(&mesh->seed) % 100 < mesh->loss[from][to])
            continue;
        mp_node_receive(&n->engine, &n->env, mesh->now, frame, len);
        serve_events(mesh, n);
    }
}

static void log_frame(struct mesh *mesh, unsigned i, const uint8_t *frame, size_t len)
{
    struct mesh_sent *s = &mesh->sent[mesh->sent_count++ % MESH_LOG];

    need(len <= MP_FRAME_MAX && len >= MP_HEADER_SIZE + MP_TAG_SIZE, "length of a frame sent");
    s->at = mesh->now;
    s->node = i;
    s->len = len;
    memcpy(s->frame, frame, len);
}

static mp_time due_at(const struct mesh_node *n)
{
    mp_time due = n->is_off ? MP_NEVER : mp_node_next_expiry(&n->engine);

    /* Timers do not wait for the bearer, but running them when it is free is soon enough here. */
    return due < n->free_at ? n->free_at : due;
}

void mesh_run(struct mesh *mesh, mp_time duration)
{
    mp_time end = mesh->now + duration, last = mesh->now;
    unsigned spins = 0;

    for (;;) {
        struct mesh_node *first = &mesh->node[0];
        uint8_t frame[MP_FRAME_MAX];
        int len;

        for (unsigned i = 1; i < mesh->count; i++)
            if (due_at(&mesh->node[i]) < due_at(first))
                first = &mesh->node[i];
        if (due_at(first) > end)
            break;
        if (due_at(first) > mesh->now)
            mesh->now = due_at(first);
        spins = mesh->now == last ? spins + 1 : 0;
        last = mesh->now;
        need(spins < 64 * MESH_NODES_MAX, "an engine spins");
        mp_node_expire(&first->engine, &first->env, mesh->now);
        len = mp_node_write(&first->engine, &first->env, mesh->now, frame, sizeof frame);
        need(len >= 0, "mp_node_write");
        serve_events(mesh, first);
        if (len == 0)
            continue;
        first->free_at = mesh->now + MP_MS(MESH_AIR_MS) + next_random(&mesh->seed) % MP_MS(5);
        log_frame(mesh, first->index, frame, (size_t)len);
        deliver(mesh, first->index, frame, (size_t)len);
    }
    mesh->now = end;
}

bool mesh_until(struct mesh *mesh, mp_time limit, bool (*done)(const struct mesh *mesh))
{
    mp_time end = mesh->now + limit;

    while (!done(mesh)) {
        if (mesh->now >= end)
            return false;
        mesh_run(mesh, MP_MS(50));
    }
    return true;
}

unsigned mesh_drain(struct mesh *mesh, unsigned i)
{
    struct mesh_node *n = &mesh->node[i];
    uint8_t frame[MP_FRAME_MAX];
    unsigned count = 0;

    mp_node_expire(&n->engine, &n->env, mesh->now);
    for (int len; (len = mp_node_write(&n->engine, &n->env, mesh->now, frame, sizeof frame)) != 0; count++) {
        need(len > 0 && count < 20000, "mp_node_write");
        log_frame(mesh, i, frame, (size_t)len);
    }
    serve_events(mesh, n);
    return count;
}

uint32_t mesh_take_events(struct mesh *mesh, unsigned i)
{
    struct mesh_node *n = &mesh->node[i];
    uint32_t events = n->events | mp_node_events(&n->engine);

    n->events = 0;
    return events;
}

/* --- frames ------------------------------------------------------------------------------------------------------- */

size_t mesh_seal(struct mesh *mesh, uint8_t *out, uint32_t source, unsigned type, const uint8_t *body, size_t len)
{
    struct mp_header h = {.type = (uint8_t)type,
                          .key_id = MESH_KEY_ID,
                          .hop = mesh->forged_hop,
                          .network = MESH_NETWORK,
                          .round = mesh->forged_round,
                          .source = source,
                          .counter = mesh->forged_counter++};

    need(len <= MP_BODY_MAX, "body too long");
    mp_header_put(out, &h);
    if (len)
        memcpy(out + MP_HEADER_SIZE, body, len);
    return mp_frame_seal(crypto_sodium(), out, MP_HEADER_SIZE + len, mesh->key);
}

int mesh_forge(struct mesh *mesh, unsigned to, uint32_t source, unsigned type, const uint8_t *body, size_t len)
{
    struct mesh_node *n = &mesh->node[to];
    uint8_t frame[MP_FRAME_MAX];

    len = mesh_seal(mesh, frame, source, type, body, len);
    return mp_node_receive(&n->engine, &n->env, mesh->now, frame, len);
}

int mesh_greet(struct mesh *mesh, unsigned to, uint32_t source, uint32_t nonce, uint32_t home, uint32_t target,
               uint32_t held)
{
    uint8_t body[25] = {0};

    mp_put32(body, nonce);
    mp_put32(body + 8, home);
    mp_put32(body + 12, target);
    mp_put24(body + 16, held);
    return mesh_forge(mesh, to, source, MP_TYPE_SUMMARY, body, sizeof body);
}

const struct mesh_sent *mesh_last(const struct mesh *mesh, unsigned i, unsigned type, mp_time since)
{
    for (unsigned back = 1; back <= mesh->sent_count && back <= MESH_LOG; back++) {
        const struct mesh_sent *s = &mesh->sent[(mesh->sent_count - back) % MESH_LOG];

        if (s->at < since)
            return NULL;
        if (s->node == i && (s->frame[0] & 15u) == type)
            return s;
    }
    return NULL;
}

/* --- payloads ----------------------------------------------------------------------------------------------------- */

static int read_leaf(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    const struct mesh_image *image = ctx;

    memcpy(data, image->chunk + (size_t)image->tree.first[0] * MP_CHUNK_SIZE + offset, len);
    return 0;
}

static int keep_node(void *ctx, uint32_t position, const uint8_t *data, size_t len)
{
    struct mesh_image *image = ctx;

    memcpy(image->chunk + (size_t)position * MP_CHUNK_SIZE, data, len);
    return 0;
}

struct mesh_image *mesh_image_new(const struct mesh *mesh, uint16_t model, uint32_t release, uint32_t size)
{
    struct mesh_image *image = calloc(1, sizeof *image);
    uint32_t state = size + release * 7919u + model;
    uint8_t *bytes;

    need(image && mp_tree_init(&image->tree, size) == MP_OK, "size of a payload");
    image->chunk = calloc(image->tree.positions, MP_CHUNK_SIZE);
    need(image->chunk != NULL, "memory");
    bytes = image->chunk + (size_t)image->tree.first[0] * MP_CHUNK_SIZE;
    for (uint32_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(next_random(&state) >> 11);
    sign_manifest_fill(&image->manifest, model, release);
    sign_manifest_image(&image->manifest, bytes, size);
    sign_manifest(image->raw, &image->manifest, &mesh->fleet.publisher);
    mp_manifest_id(crypto_sodium(), image->raw, image->id);
    image->handle = mp_get32(image->id);
    need(mp_tree_build(&image->tree, crypto_sodium(), image->manifest.salt, read_leaf, keep_node, image,
                       image->manifest.payload_root) == MP_OK,
         "mp_tree_build");
    return image;
}

void mesh_image_free(struct mesh_image *image)
{
    free(image->chunk);
    free(image);
}

void mesh_open(struct mesh *mesh, unsigned i, unsigned place, const struct mesh_image *image, bool is_whole)
{
    struct mesh_node *n = &mesh->node[i];

    need(place < MP_PLACES_MAX, "place");
    free(n->bitmap[place]);
    n->image[place] = image;
    n->bitmap[place] = calloc(1, image->tree.positions / 8 + 1);
    need(n->bitmap[place] != NULL, "memory");
    for (uint32_t at = 0; is_whole && at < image->tree.positions; at++)
        n->bitmap[place][at / 8] |= (uint8_t)(1u << at % 8);
    need(mp_node_place(&n->engine, &n->env, mesh->now, place, &image->manifest, image->id) == MP_OK, "mp_node_place");
}

void mesh_close(struct mesh *mesh, unsigned i, unsigned place)
{
    struct mesh_node *n = &mesh->node[i];

    mp_node_drop(&n->engine, place);
    free(n->bitmap[place]);
    n->bitmap[place] = NULL;
    n->image[place] = NULL;
}

size_t mesh_chunk_body(const struct mesh_image *image, uint32_t position, uint8_t *body)
{
    unsigned len = mp_tree_length(&image->tree, position);

    mp_put32(body, image->handle);
    mp_put24(body + 4, position);
    memcpy(body + 7, image->chunk + (size_t)position * MP_CHUNK_SIZE, len);
    return 7 + len;
}

/* --- objects ------------------------------------------------------------------------------------------------------ */

int mesh_publish(struct mesh *mesh, unsigned i, unsigned type, const uint8_t *object, size_t len)
{
    struct mesh_node *n = &mesh->node[i];

    return mp_node_publish(&n->engine, &n->env, mesh->now, (enum mp_type)type, object, len);
}

int mesh_direct(struct mesh *mesh, unsigned i, enum mp_action action, uint32_t release, uint32_t sequence,
                uint32_t floor, const struct mesh_image *const *images, unsigned count)
{
    struct mp_directive d;
    uint8_t raw[MP_DIRECTIVE_MAX];

    sign_directive_fill(&d, action, MESH_NETWORK, release, sequence, images[0]->id);
    if (action != MP_ACTION_HOLD)
        d.floor = floor;
    d.manifest_count = (uint8_t)count;
    for (unsigned k = 0; k < count; k++)
        memcpy(d.manifests[k], images[k]->id, 8);
    return mesh_publish(mesh, i, MP_TYPE_DIRECTIVE, raw, sign_directive(raw, &d, &mesh->fleet.release));
}

void mesh_release(struct mesh *mesh, unsigned i, const struct mesh_image *image)
{
    int error = mesh_direct(mesh, i, MP_ACTION_STAGE, image->manifest.release, 1, 0, &image, 1);

    need(error == MP_OK || error == MP_ERR_DUPLICATE, "directive");
    error = mesh_publish(mesh, i, MP_TYPE_MANIFEST, image->raw, MP_MANIFEST_SIZE);
    need(error == MP_OK || error == MP_ERR_DUPLICATE, "manifest");
}

int mesh_receipt(struct mesh *mesh, unsigned i, uint16_t round, const uint16_t *serials, unsigned count)
{
    struct mp_receipt r = {.network = MESH_NETWORK, .generation = 1, .round = round, .count = (uint16_t)count};
    uint8_t raw[MP_RECEIPT_MAX];

    for (unsigned k = 0; k < count; k++)
        r.nibbles[k / 2] |= (uint8_t)((serials[k] & 15) << (k % 2 * 4));
    return mesh_publish(mesh, i, MP_TYPE_RECEIPT, raw, sign_receipt(raw, &r, &mesh->fleet.release));
}

static bool is_same_list(const struct mp_node *a, const struct mp_node *b)
{
    if (a->key_number != b->key_number || a->key_head != b->key_head || a->round != b->round)
        return false;
    for (unsigned i = 0; i < MP_RELEASES_MAX; i++) {
        bool is_there = !a->heads[i].release;

        for (unsigned j = 0; j < MP_RELEASES_MAX; j++)
            if (a->heads[i].release == b->heads[j].release && mp_head_compare(&a->heads[i], &b->heads[j]) == 0)
                is_there = true;
        if (!is_there)
            return false;
    }
    for (unsigned i = 0; i < MP_MANIFESTS_MAX; i++) {
        bool is_there = mp_get64(a->manifests[i]) == 0;

        for (unsigned j = 0; j < MP_MANIFESTS_MAX; j++)
            if (memcmp(a->manifests[i], b->manifests[j], 8) == 0)
                is_there = true;
        if (!is_there)
            return false;
    }
    return true;
}

bool mesh_agrees(const struct mesh *mesh)
{
    for (unsigned i = 0; i < mesh->count; i++)
        for (unsigned j = 0; j < mesh->count; j++)
            if (!mesh->node[i].is_off && !mesh->node[j].is_off &&
                !is_same_list(&mesh->node[i].engine, &mesh->node[j].engine))
                return false;
    return true;
}

bool mesh_has(const struct mesh *mesh, unsigned i, unsigned place)
{
    uint32_t held, positions;

    return mp_node_progress(&mesh->node[i].engine, place, &held, &positions) == MP_OK && held == positions;
}
