/*
 * A node's records are numbers: kind, slot and the index of an interned object. Nearly all nodes hold the same few
 * objects, so a record costs its four bytes. The keyset that every node was provisioned with and the boot counter, which
 * differs for each, are kept apart: nobody holds an object for them.
 *
 * The two slots hold images by number. That of the running image is complete; the other one is being erased, filled
 * (with a bitmap from the pool while something is missing), complete, or sealed.
 */
#include "store.h"

#include <string.h>

#include "fleet_state.h"
#include "node.h"
#include "proto/mp_wire.h"

/* --- records of a node -------------------------------------------------------------------------------------------- */

#define NAME(kind, slot) ((uint32_t)(kind) << 28 | (uint32_t)(slot) << 24)
#define NAME_MASK 0xFF000000u
#define OBJECT_MASK 0x00FFFFFFu

struct more {
    uint32_t next; /* first: see sim_pool_give() */
    uint32_t record[SIM_RECORDS + 1];
};

const uint32_t sim_record_block_size = sizeof(struct more);

/* The record of that name, or when there is none a free place; NULL: neither, grow. */
static uint32_t *record_find(const struct sim_fleet *f, uint32_t name, bool wants_free)
{
    uint32_t *record = f->m->record, more = f->m->more, count = SIM_RECORDS;
    uint32_t *vacant = NULL;

    for (;;) {
        for (uint32_t i = 0; i < count; i++) {
            if ((record[i] & OBJECT_MASK) != 0 && (record[i] & NAME_MASK) == name)
                return &record[i];
            if (vacant == NULL && (record[i] & OBJECT_MASK) == 0)
                vacant = &record[i];
        }
        if (more == 0)
            return wants_free ? vacant : NULL;
        struct more *block = sim_pool_at(&f->more, more);
        record = block->record;
        count = SIM_RECORDS + 1;
        more = block->next;
    }
}

static int record_put(struct sim_fleet *f, uint32_t name, const uint8_t *data, size_t len)
{
    uint32_t *record = record_find(f, name, len > 0);

    if (len == 0) {
        if (record != NULL) {
            sim_objects_drop(&f->objects, *record & OBJECT_MASK);
            *record = 0;
        }
        return MP_OK;
    }
    if (record == NULL) {
        uint32_t more = sim_pool_take(&f->more);
        if (more == 0)
            return MP_ERR_STORE;
        struct more *block = sim_pool_at(&f->more, more);
        block->next = f->m->more;
        f->m->more = more;
        record = &block->record[0];
    }
    uint32_t object = sim_objects_hold(&f->objects, data, len), old = *record & OBJECT_MASK;

    if (object == 0) {
        sim_engine_fail(f->e, "no memory for the nodes' records");
        return MP_ERR_STORE;
    }
    *record = name | object;
    if (old != 0)
        sim_objects_drop(&f->objects, old);
    return MP_OK;
}

static int record_get(struct sim_fleet *f, uint32_t name, uint8_t *data, size_t cap)
{
    const uint32_t *record = record_find(f, name, false);
    size_t len;

    if (record == NULL)
        return 0;
    const uint8_t *body = sim_objects_at(&f->objects, *record & OBJECT_MASK, &len);

    if (len > cap)
        return MP_ERR_ROOM;
    memcpy(data, body, len);
    return (int)len;
}

/* --- struct mp_store ---------------------------------------------------------------------------------------------- */

static int store_put(void *ctx, enum mp_kind kind, unsigned slot, const uint8_t *data, size_t len)
{
    struct sim_fleet *f = ctx;

    if (slot > 15 || len > MP_RECORD_MAX)
        return MP_ERR_STORE;
    if (kind == MP_KIND_KEYSET && len == MP_KEYSET_SIZE && memcmp(data, f->keys.keyset, len) == 0)
        len = 0; /* the one that all were provisioned with */
    return record_put(f, NAME(kind, slot), data, len);
}

static int store_get(void *ctx, enum mp_kind kind, unsigned slot, uint8_t *data, size_t cap)
{
    struct sim_fleet *f = ctx;
    int len = slot > 15 ? MP_ERR_STORE : record_get(f, NAME(kind, slot), data, cap);

    if (kind != MP_KIND_KEYSET || len != 0)
        return len;
    if (cap < MP_KEYSET_SIZE)
        return MP_ERR_ROOM;
    memcpy(data, f->keys.keyset, MP_KEYSET_SIZE);
    return MP_KEYSET_SIZE;
}

static unsigned place_slot(const struct sim_member *m, unsigned place)
{
    return place == NF_PLACE_HOME ? m->running : m->running ^ 1u;
}

static bool is_sealed(const struct sim_member *m, unsigned place)
{
    return (m->sealed >> place_slot(m, place) & 1) != 0;
}

/* The image of a place, NULL: empty. */
static const struct sim_image *place_image(const struct sim_fleet *f, unsigned place)
{
    const struct sim_member *m = f->m;

    if (place > NF_PLACE_TARGET)
        return NULL;
    unsigned slot = place_slot(m, place);

    if (m->image[slot] == SIM_IMAGE_NONE || (place == NF_PLACE_TARGET && (m->flags & SIM_MEMBER_ERASING) != 0))
        return NULL;
    return &f->images.image[m->image[slot]];
}

static const uint8_t *store_bitmap(void *ctx, unsigned place)
{
    struct sim_fleet *f = ctx;
    const struct sim_image *image = place_image(f, place);

    if (image == NULL)
        return NULL;
    return place == NF_PLACE_TARGET && f->m->bitmap != 0 ? sim_pool_at(&f->bitmaps, f->m->bitmap) : image->full;
}

static int store_chunk_put(void *ctx, unsigned place, uint32_t position, const uint8_t *data, size_t len)
{
    struct sim_fleet *f = ctx;
    const struct sim_image *image = place_image(f, place);

    if (place != NF_PLACE_TARGET || image == NULL || f->m->bitmap == 0 || position >= image->tree.positions ||
        len != mp_tree_length(&image->tree, position))
        return MP_ERR_STORE;
    if (memcmp(data, image->chunk + (size_t)position * MP_CHUNK_SIZE, len) != 0) {
        sim_engine_fail(f->e, "the protocol engine verified a chunk that is not the image's");
        return MP_ERR_STORE;
    }
    uint8_t *bitmap = sim_pool_at(&f->bitmaps, f->m->bitmap);

    if ((bitmap[position / 8] >> position % 8 & 1) != 0)
        return MP_OK;
    bitmap[position / 8] |= (uint8_t)(1u << position % 8);
    f->m->held++;
    if (f->m->held == image->tree.positions) {
        sim_pool_give(&f->bitmaps, f->m->bitmap);
        f->m->bitmap = 0;
        sim_node_completed(f, image);
    }
    return MP_OK;
}

static int store_chunk_get(void *ctx, unsigned place, uint32_t position, uint8_t data[MP_CHUNK_SIZE])
{
    struct sim_fleet *f = ctx;
    const struct sim_image *image = place_image(f, place);
    const uint8_t *bitmap = store_bitmap(ctx, place);

    if (image == NULL || position >= image->tree.positions || (bitmap[position / 8] >> position % 8 & 1) == 0)
        return MP_ERR_ABSENT;
    unsigned len = mp_tree_length(&image->tree, position);

    memcpy(data, image->chunk + (size_t)position * MP_CHUNK_SIZE, len);
    return (int)len;
}

const struct mp_store sim_fleet_store = {store_put, store_get, store_chunk_put, store_chunk_get, store_bitmap};

/* --- struct nf_storage -------------------------------------------------------------------------------------------- */

static uint32_t storage_capacity(void *ctx)
{
    struct sim_fleet *f = ctx;

    return f->images.capacity;
}

static int storage_sealed(void *ctx, unsigned place, uint8_t manifest[MP_MANIFEST_SIZE])
{
    struct sim_fleet *f = ctx;
    const struct sim_image *image = place_image(f, place);

    if (image == NULL || !is_sealed(f->m, place))
        return MP_ERR_ABSENT;
    memcpy(manifest, image->raw, MP_MANIFEST_SIZE);
    return MP_OK;
}

/* The marker outlives the seal, as that of the flash store does; that of a slot that runs by now is history. */
static int storage_fetching(void *ctx, uint8_t manifest[MP_MANIFEST_SIZE])
{
    struct sim_fleet *f = ctx;
    unsigned slot = place_slot(f->m, NF_PLACE_TARGET);
    uint8_t image = f->m->image[slot];

    if (image == SIM_IMAGE_NONE || f->m->marked != slot + 1)
        return MP_ERR_ABSENT;
    memcpy(manifest, f->images.image[image].raw, MP_MANIFEST_SIZE);
    return MP_OK;
}

static int storage_open(void *ctx, const uint8_t manifest[MP_MANIFEST_SIZE])
{
    struct sim_fleet *f = ctx;
    struct sim_member *m = f->m;
    unsigned slot = place_slot(m, NF_PLACE_TARGET);
    uint8_t id[8];

    if (m->state != BOOT_CONFIRMED || m->home != m->running)
        return MP_ERR_STATE;
    mp_manifest_id(f->env.mp.crypto, manifest, id);
    int image = sim_images_find_id(&f->images, id);

    if (image < 0) {
        sim_engine_fail(f->e, "a node follows a manifest that the publisher never made");
        return MP_ERR_FORMAT;
    }
    if (m->bitmap != 0)
        sim_pool_give(&f->bitmaps, m->bitmap);
    m->bitmap = 0;
    m->held = 0;
    m->image[slot] = (uint8_t)image;
    m->sealed &= (uint8_t) ~(1u << slot);
    m->marked = (uint8_t)(slot + 1);
    m->flags = (uint8_t)((m->flags & ~SIM_MEMBER_VERIFYING) | SIM_MEMBER_ERASING);
    return MP_OK;
}

static int storage_verify(void *ctx)
{
    struct sim_fleet *f = ctx;
    const struct sim_image *image = place_image(f, NF_PLACE_TARGET);

    if (image == NULL || f->m->bitmap != 0)
        return MP_ERR_STATE;
    f->m->flags |= SIM_MEMBER_VERIFYING;
    return MP_OK;
}

/*
 * Erasing and hashing each in one piece: the time that flash takes is not modelled. Every chunk of a complete image was
 * compared with the shared payload, whose SHA-256 its manifest was made with, so the hash of the whole matches.
 */
static int storage_work(void *ctx)
{
    struct sim_fleet *f = ctx;
    struct sim_member *m = f->m;

    if ((m->flags & SIM_MEMBER_ERASING) != 0) {
        if (m->bitmap == 0)
            m->bitmap = sim_pool_take(&f->bitmaps);
        if (m->bitmap == 0) {
            sim_engine_fail(f->e, "no memory for the nodes' bitmaps");
            return MP_ERR_STORE;
        }
        m->flags &= (uint8_t)~SIM_MEMBER_ERASING;
    } else if ((m->flags & SIM_MEMBER_VERIFYING) != 0) {
        m->flags &= (uint8_t)~SIM_MEMBER_VERIFYING;
        m->sealed |= (uint8_t)(1u << place_slot(m, NF_PLACE_TARGET));
    }
    return 0;
}

/* Bits change by chunk_put alone. */
static bool storage_changed(void *ctx, unsigned place)
{
    (void)ctx;
    (void)place;
    return false;
}

static int storage_boot_read(void *ctx, struct boot_record *r)
{
    return sim_boot_read(ctx, r);
}

static int storage_boot_request(void *ctx, const uint8_t manifest[MP_MANIFEST_SIZE], uint16_t confirm_s, bool revert)
{
    struct sim_fleet *f = ctx;

    if (!is_sealed(f->m, NF_PLACE_TARGET))
        return MP_ERR_STATE;
    return boot_request(&f->flash, &f->layout, f->env.mp.crypto, manifest, confirm_s, revert);
}

static int storage_boot_confirm(void *ctx, uint32_t security_counter)
{
    struct sim_fleet *f = ctx;
    int error = boot_confirm(&f->flash, &f->layout, security_counter);

    if (error == MP_OK)
        sim_node_confirmed(f);
    return error;
}

static int storage_boot_abort(void *ctx, enum mp_reason reason)
{
    struct sim_fleet *f = ctx;

    return boot_abort(&f->flash, &f->layout, reason);
}

static int storage_put(void *ctx, unsigned kind, const uint8_t *data, size_t len)
{
    struct sim_fleet *f = ctx;

    if (kind >= NF_KIND_COUNT || len > MP_RECORD_MAX)
        return MP_ERR_FORMAT;
    if (kind == NF_KIND_BOOT && len == 4) {
        f->m->boot_counter = mp_get32(data);
        return MP_OK;
    }
    return record_put(f, NAME(kind, 0), data, len);
}

static int storage_get(void *ctx, unsigned kind, uint8_t *data, size_t cap)
{
    struct sim_fleet *f = ctx;

    if (kind >= NF_KIND_COUNT)
        return MP_ERR_FORMAT;
    if (kind == NF_KIND_BOOT && f->m->boot_counter != 0 && cap >= 4) {
        mp_put32(data, f->m->boot_counter);
        return 4;
    }
    return record_get(f, NAME(kind, 0), data, cap);
}

_Static_assert(NF_KIND_COUNT <= 16, "the kind of a record has four bits");
_Static_assert(MP_KEYCHAIN_MAX <= 16 && MP_MANIFESTS_MAX <= 16, "the slot of a record has four bits");

const struct nf_storage sim_fleet_storage = {
    .capacity = storage_capacity,
    .sealed = storage_sealed,
    .fetching = storage_fetching,
    .open = storage_open,
    .verify = storage_verify,
    .work = storage_work,
    .changed = storage_changed,
    .boot_read = storage_boot_read,
    .boot_request = storage_boot_request,
    .boot_confirm = storage_boot_confirm,
    .boot_abort = storage_boot_abort,
    .put = storage_put,
    .get = storage_get,
};
