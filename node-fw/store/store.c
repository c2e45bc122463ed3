#include "store.h"

#include <string.h>

#include "proto/mp_wire.h"

/*
 * Fetch marker (NF_KIND_FETCH): format u8 = 1, state u8, slot u8, zero u8, page u32, manifest. It names what the other
 * slot is being filled with, and the erasures that are not finished: of the whole slot (MARKER_ERASING) or of one page
 * with verified chunks. A marker of a slot that runs by now is history and means nothing.
 */
enum marker_state { MARKER_ERASING = 1, MARKER_OPEN = 2 };
enum { MARKER_FORMAT = 1, MARKER_SIZE = 8 + MP_MANIFEST_SIZE, RECOVERIES_MAX = 3, HASH_CHUNKS = 16 };
#define NO_PAGE UINT32_MAX

struct marker {
    uint8_t state; /* enum marker_state, 0: none */
    uint32_t page; /* being erased, NO_PAGE */
    uint8_t manifest[MP_MANIFEST_SIZE];
};

static unsigned other_slot(const struct nf_store *s)
{
    return s->running ^ 1u;
}

static int marker_put(struct nf_store *s, const struct marker *m)
{
    uint8_t data[MARKER_SIZE] = {MARKER_FORMAT, m->state, (uint8_t)other_slot(s), 0};

    mp_put32(data + 4, m->page);
    memcpy(data + 8, m->manifest, MP_MANIFEST_SIZE);
    return nf_objects_put(&s->objects, NF_KIND_FETCH, 0, data, sizeof data);
}

/* The marker of the other slot; state 0 when there is none. */
static void marker_get(const struct nf_store *s, struct marker *m)
{
    uint8_t data[MARKER_SIZE];

    m->state = 0;
    m->page = NO_PAGE;
    if (nf_objects_get(&s->objects, NF_KIND_FETCH, 0, data, sizeof data) != MARKER_SIZE || data[0] != MARKER_FORMAT ||
        data[2] != other_slot(s) || (data[1] != MARKER_ERASING && data[1] != MARKER_OPEN))
        return;
    m->state = data[1];
    m->page = mp_get32(data + 4);
    memcpy(m->manifest, data + 8, MP_MANIFEST_SIZE);
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

size_t nf_store_memory(const struct nf_flash *flash, const struct nf_layout *layout)
{
    return 2 * nf_slot_memory(flash, layout);
}

static bool is_aligned(const struct nf_flash *f, uint32_t address, uint32_t size)
{
    return address % f->page_size == 0 && size % f->page_size == 0 && size <= f->size && address <= f->size - size;
}

static bool is_layout_valid(const struct nf_flash *f, const struct nf_layout *l)
{
    return f->page_size >= 512 && (f->granule == 4 || f->granule == 8 || f->granule == 16 || f->granule == 32) &&
           is_aligned(f, l->boot_record, 2 * f->page_size) && is_aligned(f, l->settings, f->page_size) &&
           is_aligned(f, l->objects, l->objects_size) && is_aligned(f, l->slot[0], l->slot_size) &&
           is_aligned(f, l->slot[1], l->slot_size) && is_aligned(f, l->seal[0], f->page_size) &&
           is_aligned(f, l->seal[1], f->page_size) && boot_image_capacity(f, l) > 0;
}

/* Finds out what the other slot holds: an image, a fetch in progress, the beginning of one, or nothing of use. */
static int resume_other(struct nf_store *s)
{
    struct nf_slot *slot = &s->slot[NF_PLACE_TARGET];
    struct marker m;
    uint8_t seal[MP_MANIFEST_SIZE];

    marker_get(s, &m);
    bool is_sealed = boot_image_seal(&s->flash, &s->layout, other_slot(s), seal) == MP_OK;

    if (is_sealed && m.state != MARKER_ERASING) {
        nf_slot_open_sealed(slot, &s->layout, other_slot(s));
        return MP_OK;
    }
    if (m.state == 0 || nf_slot_open(slot, &s->layout, other_slot(s), m.manifest) != MP_OK)
        return MP_OK;
    if (m.state == MARKER_OPEN && boot_image_is_taken(&s->flash, &s->layout, other_slot(s))) {
        m.state = MARKER_ERASING;
        m.page = NO_PAGE;
        if (marker_put(s, &m) != MP_OK)
            return MP_ERR_STORE;
    }
    if (m.state == MARKER_ERASING) {
        s->work = NF_WORK_ERASE;
        return MP_OK;
    }
    if (m.page != NO_PAGE && m.page < slot->pages) {
        s->pages_recovered++;
        if (nf_slot_erase_page(slot, m.page) != MP_OK)
            return MP_ERR_STORE;
        m.page = NO_PAGE;
        if (marker_put(s, &m) != MP_OK)
            return MP_ERR_STORE;
    }
    nf_slot_scan(slot);
    return MP_OK;
}

int nf_store_init(struct nf_store *s, const struct nf_flash *flash, const struct nf_layout *layout,
                  const struct mp_crypto *crypto, unsigned running, uint8_t *memory, size_t size)
{
    void *user = s->user;

    memset(s, 0, sizeof *s);
    s->user = user;
    s->flash = *flash;
    s->layout = *layout;
    s->crypto = crypto;
    s->running = running & 1;
    if (!is_layout_valid(flash, layout))
        return MP_ERR_FORMAT;
    if (size < nf_store_memory(flash, layout))
        return MP_ERR_ROOM;
    int error = nf_objects_mount(&s->objects, &s->flash, &s->layout);

    if (error != MP_OK)
        return error;
    for (unsigned place = 0; place < 2; place++)
        nf_slot_init(&s->slot[place], &s->flash, &s->layout, crypto, memory + place * nf_slot_memory(flash, layout));
    nf_slot_open_sealed(&s->slot[NF_PLACE_HOME], &s->layout, s->running);
    return resume_other(s);
}

/* --- struct mp_store ---------------------------------------------------------------------------------------------- */

static int store_put(void *ctx, enum mp_kind kind, unsigned slot, const uint8_t *data, size_t len)
{
    struct nf_store *s = ctx;

    return nf_objects_put(&s->objects, kind, slot, data, len) == MP_OK ? MP_OK : MP_ERR_STORE;
}

static int store_get(void *ctx, enum mp_kind kind, unsigned slot, uint8_t *data, size_t cap)
{
    struct nf_store *s = ctx;
    int len = nf_objects_get(&s->objects, kind, slot, data, cap);

    return len < 0 && len != MP_ERR_ROOM ? MP_ERR_STORE : len;
}

/* A page holds verified chunks beside the remains of a cut: erases it under a marker, so that a cut of that is seen
 * too. */
static int recover_page(struct nf_store *s, uint32_t page)
{
    struct marker m;

    marker_get(s, &m);
    if (m.state != MARKER_OPEN)
        return MP_ERR_STORE;
    m.page = page;
    s->pages_recovered++;
    int error = marker_put(s, &m);

    if (error == MP_OK)
        error = nf_slot_erase_page(&s->slot[NF_PLACE_TARGET], page);
    m.page = NO_PAGE;
    if (error == MP_OK)
        error = marker_put(s, &m);
    return error;
}

static int store_chunk_put(void *ctx, unsigned place, uint32_t position, const uint8_t *data, size_t len)
{
    struct nf_store *s = ctx;
    struct nf_slot *slot = &s->slot[NF_PLACE_TARGET];

    if (place != NF_PLACE_TARGET || s->work == NF_WORK_ERASE || slot->sealed)
        return MP_ERR_STORE;
    for (unsigned i = 0; i <= RECOVERIES_MAX; i++) {
        long result = nf_slot_put(slot, position, data, len);
        if (result <= 0)
            return result == MP_ERR_PARENT ? MP_ERR_PARENT : (int)result;
        if (recover_page(s, (uint32_t)(result - 1)) != MP_OK)
            break;
    }
    return MP_ERR_STORE;
}

static int store_chunk_get(void *ctx, unsigned place, uint32_t position, uint8_t data[MP_CHUNK_SIZE])
{
    struct nf_store *s = ctx;

    if (place > NF_PLACE_TARGET || (place == NF_PLACE_TARGET && s->work == NF_WORK_ERASE))
        return MP_ERR_ABSENT;
    return nf_slot_get(&s->slot[place], position, data);
}

static const uint8_t *store_bitmap(void *ctx, unsigned place)
{
    struct nf_store *s = ctx;

    if (place > NF_PLACE_TARGET || !s->slot[place].open || (place == NF_PLACE_TARGET && s->work == NF_WORK_ERASE))
        return NULL;
    return s->slot[place].held;
}

const struct mp_store nf_flash_store = {store_put, store_get, store_chunk_put, store_chunk_get, store_bitmap};

/* --- struct nf_storage -------------------------------------------------------------------------------------------- */

static uint32_t storage_capacity(void *ctx)
{
    struct nf_store *s = ctx;

    return boot_image_capacity(&s->flash, &s->layout);
}

static int storage_sealed(void *ctx, unsigned place, uint8_t manifest[MP_MANIFEST_SIZE])
{
    struct nf_store *s = ctx;

    if (place > NF_PLACE_TARGET || !s->slot[place].sealed)
        return MP_ERR_ABSENT;
    return boot_image_seal(&s->flash, &s->layout, place == NF_PLACE_HOME ? s->running : other_slot(s), manifest);
}

static int storage_fetching(void *ctx, uint8_t manifest[MP_MANIFEST_SIZE])
{
    struct nf_store *s = ctx;
    struct marker m;

    marker_get(s, &m);
    if (m.state == 0)
        return MP_ERR_ABSENT;
    memcpy(manifest, m.manifest, MP_MANIFEST_SIZE);
    return MP_OK;
}

static int storage_open(void *ctx, const uint8_t manifest[MP_MANIFEST_SIZE])
{
    struct nf_store *s = ctx;
    struct boot_record r;
    struct boot_image image;
    struct marker m = {MARKER_ERASING, NO_PAGE, {0}};

    /* Whatever the caller thinks: the other slot may be the only way back, unless home is confirmed and runs. */
    if (boot_read(&s->flash, &s->layout, &r) != MP_OK || r.state != BOOT_CONFIRMED || r.home != s->running)
        return MP_ERR_STATE;
    int error = boot_image_describe(&image, &s->flash, &s->layout, other_slot(s), s->crypto, manifest);

    if (error != MP_OK)
        return error;
    memcpy(m.manifest, manifest, MP_MANIFEST_SIZE);
    if (marker_put(s, &m) != MP_OK)
        return MP_ERR_STORE;
    s->work = NF_WORK_ERASE;
    s->work_at = 0;
    return nf_slot_open(&s->slot[NF_PLACE_TARGET], &s->layout, other_slot(s), manifest);
}

static int storage_verify(void *ctx)
{
    struct nf_store *s = ctx;

    if (s->work == NF_WORK_ERASE || !nf_slot_is_complete(&s->slot[NF_PLACE_TARGET]))
        return MP_ERR_STATE;
    s->work = NF_WORK_HASH;
    s->work_at = 0;
    s->crypto->sha256_init(&s->sha);
    return MP_OK;
}

/* One page: the seal's first, so that a half-erased slot is never taken for an image. */
static int work_erase(struct nf_store *s)
{
    struct nf_slot *slot = &s->slot[NF_PLACE_TARGET];
    struct marker m;

    if (s->work_at < slot->pages) {
        if (nf_slot_erase_page(slot, s->work_at == 0 ? slot->pages - 1 : s->work_at - 1) != MP_OK)
            return MP_ERR_STORE;
        s->work_at++;
        return 1;
    }
    marker_get(s, &m);
    if (m.state == 0)
        return MP_ERR_STORE;
    m.state = MARKER_OPEN;
    if (marker_put(s, &m) != MP_OK)
        return MP_ERR_STORE;
    s->work = NF_WORK_NONE;
    slot->changed = true;
    return 0;
}

static int work_hash(struct nf_store *s)
{
    struct nf_slot *slot = &s->slot[NF_PLACE_TARGET];
    uint32_t size = slot->image.manifest.image_size;
    uint8_t buf[MP_CHUNK_SIZE];

    for (unsigned i = 0; i < HASH_CHUNKS && s->work_at < size; i++) {
        uint32_t n = size - s->work_at < sizeof buf ? size - s->work_at : (uint32_t)sizeof buf;
        if (boot_image_read(&slot->image, s->work_at, buf, n) != MP_OK) {
            s->work = NF_WORK_NONE;
            nf_slot_scan(slot);
            return MP_ERR_STORE;
        }
        s->crypto->sha256_update(&s->sha, buf, n);
        s->work_at += n;
    }
    if (s->work_at < size)
        return 1;
    s->work = NF_WORK_NONE;
    s->crypto->sha256_final(&s->sha, buf);
    if (memcmp(buf, slot->image.manifest.image_sha256, 32) != 0)
        return MP_ERR_CHUNK;
    struct marker m;

    marker_get(s, &m);
    return m.state == MARKER_OPEN ? nf_slot_seal(slot, &s->layout, other_slot(s), m.manifest) : MP_ERR_STORE;
}

static int storage_work(void *ctx)
{
    struct nf_store *s = ctx;

    switch ((enum nf_work)s->work) {
    case NF_WORK_NONE:
        break;
    case NF_WORK_ERASE:
        return work_erase(s);
    case NF_WORK_HASH:
        return work_hash(s);
    }
    return 0;
}

static bool storage_changed(void *ctx, unsigned place)
{
    struct nf_store *s = ctx;
    bool changed = place <= NF_PLACE_TARGET && s->slot[place].changed;

    if (changed)
        s->slot[place].changed = false;
    return changed;
}

static int storage_boot_read(void *ctx, struct boot_record *r)
{
    struct nf_store *s = ctx;

    return boot_read(&s->flash, &s->layout, r);
}

static int storage_boot_request(void *ctx, const uint8_t manifest[MP_MANIFEST_SIZE], uint16_t confirm_s, bool revert)
{
    struct nf_store *s = ctx;

    if (!s->slot[NF_PLACE_TARGET].sealed)
        return MP_ERR_STATE;
    return boot_request(&s->flash, &s->layout, s->crypto, manifest, confirm_s, revert);
}

static int storage_boot_confirm(void *ctx, uint32_t security_counter)
{
    struct nf_store *s = ctx;

    return boot_confirm(&s->flash, &s->layout, security_counter);
}

static int storage_boot_abort(void *ctx, enum mp_reason reason)
{
    struct nf_store *s = ctx;

    return boot_abort(&s->flash, &s->layout, reason);
}

static int storage_put(void *ctx, unsigned kind, const uint8_t *data, size_t len)
{
    struct nf_store *s = ctx;

    return nf_objects_put(&s->objects, kind, 0, data, len);
}

static int storage_get(void *ctx, unsigned kind, uint8_t *data, size_t cap)
{
    struct nf_store *s = ctx;

    return nf_objects_get(&s->objects, kind, 0, data, cap);
}

const struct nf_storage nf_flash_storage = {
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

/* --- for the bootloader and the factory --------------------------------------------------------------------------- */

/* The provisioned keyset record. */
static MP_APART int keyset_read(const struct nf_flash *flash, const struct nf_layout *layout,
                                uint8_t record[MP_KEYSET_SIZE])
{
    struct mp_settings settings;

    if (nf_settings_load(&settings, flash, layout) != MP_OK)
        return MP_ERR_STORE;
    memcpy(record, settings.keyset, MP_KEYSET_SIZE);
    return MP_OK;
}

/* The keyset record in force: of the object log, or the provisioned one when the log has none. */
static MP_APART int keyset_load(const struct nf_flash *flash, const struct nf_layout *layout,
                                uint8_t record[MP_KEYSET_SIZE])
{
    struct nf_objects objects;

    if (nf_objects_mount(&objects, flash, layout) == MP_OK &&
        nf_objects_get(&objects, MP_KIND_KEYSET, 0, record, MP_KEYSET_SIZE) == MP_KEYSET_SIZE)
        return MP_OK;
    return keyset_read(flash, layout, record);
}

/* The key that must have signed a manifest. */
static MP_APART int publisher_find(const struct nf_flash *flash, const struct nf_layout *layout,
                                   const uint8_t manifest[MP_MANIFEST_SIZE], uint8_t pub[32])
{
    struct mp_manifest m;
    struct mp_keyset keyset;
    uint8_t record[MP_KEYSET_SIZE];

    if (mp_manifest_get(&m, manifest, MP_MANIFEST_SIZE) != MP_OK)
        return MP_ERR_FORMAT;
    if (keyset_load(flash, layout, record) != MP_OK || mp_keyset_get(&keyset, record, sizeof record) != MP_OK)
        return MP_ERR_STORE;
    return mp_keyset_find(&keyset, MP_ROLE_PUBLISHER, m.key_id, m.generation, pub);
}

int nf_store_accept(const struct nf_flash *flash, const struct nf_layout *layout, const struct mp_crypto *crypto,
                    const uint8_t manifest[MP_MANIFEST_SIZE])
{
    uint8_t pub[32];
    int error = publisher_find(flash, layout, manifest, pub);

    return error != MP_OK ? error : mp_manifest_verify(crypto, manifest, pub);
}

int nf_store_forget(const struct nf_flash *flash, const struct nf_layout *layout, const uint8_t *manifest)
{
    struct nf_objects objects;
    uint8_t data[MARKER_SIZE];
    int error = nf_objects_mount(&objects, flash, layout);

    if (error != MP_OK)
        return error;
    int len = nf_objects_get(&objects, NF_KIND_FETCH, 0, data, sizeof data);

    if (len == 0 || (len == MARKER_SIZE && manifest != NULL && memcmp(data + 8, manifest, MP_MANIFEST_SIZE) != 0))
        return MP_OK;
    return nf_objects_put(&objects, NF_KIND_FETCH, 0, data, 0) == MP_OK ? MP_OK : MP_ERR_STORE;
}

/* Writing a whole image in one go: the payload and where it goes. */
struct install {
    struct nf_slot *slot;
    const uint8_t *payload;
};

static int install_read(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    const struct install *in = ctx;

    memcpy(data, in->payload + offset, len);
    return MP_OK;
}

static int install_emit(void *ctx, uint32_t position, const uint8_t *data, size_t len)
{
    const struct install *in = ctx;

    return nf_slot_put(in->slot, position, data, len) == MP_OK ? MP_OK : MP_ERR_STORE;
}

int nf_store_install(const struct nf_flash *flash, const struct nf_layout *layout, const struct mp_crypto *crypto,
                     unsigned slot, const uint8_t manifest[MP_MANIFEST_SIZE], const uint8_t *payload, size_t len,
                     uint8_t *memory)
{
    struct nf_slot s;
    struct install in = {&s, payload};
    uint8_t root[MP_HASH_SIZE];

    nf_slot_init(&s, flash, layout, crypto, memory);
    int error = nf_slot_open(&s, layout, slot, manifest);

    if (error != MP_OK)
        return error;
    if (len != s.image.manifest.image_size)
        return MP_ERR_CHUNK;
    for (uint32_t page = s.pages; page-- > 0;)
        if (nf_slot_erase_page(&s, page) != MP_OK)
            return MP_ERR_STORE;
    for (uint32_t i = 0; i < s.image.tree.count[0]; i++) {
        uint32_t position = s.image.tree.first[0] + i;
        if (install_emit(&in, position, payload + i * MP_CHUNK_SIZE, mp_tree_length(&s.image.tree, position)) != MP_OK)
            return MP_ERR_STORE;
    }
    error = mp_tree_build(&s.image.tree, crypto, s.image.manifest.salt, install_read, install_emit, &in, root);
    if (error != MP_OK)
        return MP_ERR_STORE;
    if (memcmp(root, s.image.manifest.image_root, MP_HASH_SIZE) != 0)
        return MP_ERR_CHUNK;
    error = boot_image_verify(&s.image, crypto);
    return error != MP_OK ? error : nf_slot_seal(&s, layout, slot, manifest);
}
