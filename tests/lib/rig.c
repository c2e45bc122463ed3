#include "rig.h"

#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "proto/mesh/frame.h"
#include "proto/mp_wire.h"
#include "proto/object/signed.h"

struct rig_image rig_image[RIG_IMAGES];
struct sign_fleet rig_fleet;

static const uint8_t network_key[16] = "rig network key";
enum { SLOT_BASE_A = 0x00018000, SLOT_BASE_B = 0x0002A000, STEP_FRAMES_MAX = 64 };

/* --- crypto with a cache of verdicts ------------------------------------------------------------------------------ */

enum { CACHE = 64 };
static struct {
    uint8_t sig[64], pub[32], message[MP_SIGNED_MAX];
    size_t len;
} cache[CACHE];
static unsigned cached;
static struct mp_crypto table;

static int verify(const uint8_t sig[64], const uint8_t *message, size_t len, const uint8_t pub[32])
{
    for (unsigned i = 0; i < cached; i++)
        if (memcmp(cache[i].sig, sig, 64) == 0 && cache[i].len == len && memcmp(cache[i].message, message, len) == 0 &&
            memcmp(cache[i].pub, pub, 32) == 0)
            return MP_OK;
    int error = crypto_sodium()->verify(sig, message, len, pub);

    if (error == MP_OK && cached < CACHE && len <= MP_SIGNED_MAX) {
        memcpy(cache[cached].sig, sig, 64);
        memcpy(cache[cached].pub, pub, 32);
        memcpy(cache[cached].message, message, len);
        cache[cached++].len = len;
    }
    return error;
}

const struct mp_crypto *rig_crypto(void)
{
    if (table.verify == NULL) {
        table = *crypto_sodium();
        table.verify = verify;
    }
    return &table;
}

/* --- images ------------------------------------------------------------------------------------------------------- */

static int payload_read(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    const struct rig_image *image = ctx;

    memcpy(data, image->payload + offset, len);
    return MP_OK;
}

static int chunk_keep(void *ctx, uint32_t position, const uint8_t *data, size_t len)
{
    struct rig_image *image = ctx;

    memcpy(image->chunk[position], data, len);
    return MP_OK;
}

static uint32_t slot_base(const struct rig_part *part, unsigned slot)
{
    static const uint32_t base[2] = {SLOT_BASE_A, SLOT_BASE_B};

    return part->layout != NULL ? part->layout->slot_base[slot] : base[slot];
}

/* Puts the words of a link for an address into the code of an image. */
static void link_make(uint8_t *link, uint32_t size, const struct rig_part *part, uint32_t base)
{
    uint32_t stride = part->list_stride != 0 ? part->list_stride : 92;

    for (uint32_t i = 64; part->relocates && i + 4 <= size; i += stride)
        mp_put32(link + i, base + i);
}

/* Code-like bytes; of the relocating kind with words that depend on where it lies. */
static void payload_make(struct rig_image *image, const struct rig_part *part, uint32_t release)
{
    uint8_t a[RIG_PAYLOAD_MAX], b[RIG_PAYLOAD_MAX];
    uint32_t size = (part->image_size != 0 ? part->image_size : 11900) + 7 * release, x = 0x9E3779B9u * release + 1;
    uint32_t gap = part->image_size != 0 ? size / 4 : 3000;
    size_t bad;

    size -= size % 4;
    for (uint32_t i = 0; i < size; i++) {
        x = x * 1664525u + 1013904223u;
        a[i] = i >= gap && i < gap + 600 ? 0xFF : (uint8_t)(x >> 24); /* as linkers leave them: whole chunks of ones */
    }
    memcpy(b, a, size);
    memcpy(image->link[0], a, size);
    memcpy(image->link[1], a, size);
    link_make(a, size, part, SLOT_BASE_A);
    link_make(b, size, part, SLOT_BASE_B);
    long len = mp_reloc_pack(image->payload, sizeof image->payload, a, part->relocates ? b : NULL, size, SLOT_BASE_A,
                             SLOT_BASE_B, part->list_align != 0 ? part->list_align : 4, &bad);

    if (len <= 0)
        abort();
    image->size = (uint32_t)len;
    image->link_size = size;
    for (unsigned slot = 0; slot < 2; slot++)
        link_make(image->link[slot], size, part, slot_base(part, slot) + image->size - size);
}

void rig_images(const struct rig_part *part, void (*edit)(uint32_t release, struct mp_manifest *m))
{
    sign_fleet_make(&rig_fleet);
    for (uint32_t release = 1; release < RIG_IMAGES; release++) {
        struct rig_image *image = &rig_image[release];
        uint8_t root[MP_HASH_SIZE];

        memset(image, 0, sizeof *image);
        payload_make(image, part, release);
        sign_manifest_fill(&image->m, RIG_MODEL, release);
        sign_manifest_image(&image->m, image->payload, image->size);
        if (edit != NULL)
            edit(release, &image->m);
        sign_manifest(image->manifest, &image->m, &rig_fleet.publisher);
        mp_manifest_id(rig_crypto(), image->manifest, image->id);
        mp_tree_init(&image->tree, image->size);
        if (image->tree.positions > RIG_CHUNKS_MAX)
            abort();
        mp_tree_build(&image->tree, rig_crypto(), image->m.salt, payload_read, chunk_keep, image, root);
        for (uint32_t i = 0; i < image->tree.count[0]; i++)
            memcpy(image->chunk[image->tree.first[0] + i], image->payload + i * MP_CHUNK_SIZE,
                   mp_tree_length(&image->tree, image->tree.first[0] + i));
    }
}

/* --- the node ----------------------------------------------------------------------------------------------------- */

static struct rig *rig_of(void *ctx)
{
    return ((struct nf_store *)ctx)->user;
}

static uint32_t random_next(void *ctx)
{
    struct rig *r = rig_of(ctx);

    r->random ^= r->random << 13;
    r->random ^= r->random >> 17;
    r->random ^= r->random << 5;
    return r->random;
}

static uint8_t battery(void *ctx)
{
    return rig_of(ctx)->battery_percent;
}

static const struct nf_hooks hooks = {.battery_percent = battery, .phase = NULL};

/* As small as the images allow. */
static void layout_make(struct rig *r, const struct rig_part *part)
{
    uint32_t page = part->page_size, object_pages = page >= 2048 ? 4 : 8;
    uint32_t slot_pages = RIG_PAYLOAD_MAX / page + 2; /* leaves, tree, seal */

    r->layout.boot_record = 0;
    r->layout.settings = 2 * page;
    r->layout.objects = 3 * page;
    r->layout.objects_size = object_pages * page;
    r->layout.slot_size = slot_pages * page;
    r->layout.slot[0] = r->layout.objects + r->layout.objects_size;
    r->layout.slot[1] = r->layout.slot[0] + r->layout.slot_size;
    if (part->relocates) {
        r->layout.slot_base[0] = SLOT_BASE_A;
        r->layout.slot_base[1] = SLOT_BASE_B;
    }
}

static void flash_make(struct rig *r, const struct rig_part *part)
{
    uint32_t size = part->flash_size;

    if (part->layout != NULL) {
        r->layout = *part->layout;
    } else {
        layout_make(r, part);
        size = r->layout.slot[1] + r->layout.slot_size;
    }
    flash_sim_init(&r->sim, size, part->page_size, part->granule, part->write_once);
    flash_sim_limit_writes(&r->sim, part->writes_max);
    if (part->is_encrypted)
        flash_sim_encrypt(&r->sim);
}

static void settings_make(struct mp_settings *s)
{
    memset(s, 0, sizeof *s);
    s->node = RIG_NODE;
    s->network = RIG_NETWORK;
    s->index = 4;
    s->labels = RIG_LABELS;
    s->model = RIG_MODEL;
    s->product = rig_image[1].m.product;
    s->key_count = 1;
    s->key_id[0] = 1;
    memcpy(s->network_key[0], network_key, 16);
    memset(s->report_key, 0x44, 16);
    mp_keyset_put(s->keyset, &rig_fleet.keyset);
}

void rig_make(struct rig *r, const struct rig_part *part)
{
    memset(r, 0, sizeof *r);
    flash_make(r, part);
    settings_make(&r->settings);
    r->random = 12345;
    r->frame_counter = (uint64_t)1 << 24;
    r->battery_percent = 100;
    r->answers = true;
    r->env.mp.ctx = &r->store;
    r->env.mp.crypto = rig_crypto();
    r->env.mp.store = &nf_flash_store;
    r->env.mp.random = random_next;
    r->env.mp.counters = &r->counters;
    r->env.storage = &nf_flash_storage;
    r->env.hooks = &hooks;
    if (nf_store_memory(&r->sim.flash, &r->layout) > sizeof r->memory)
        abort();
}

int rig_provision(struct rig *r)
{
    int error = nf_settings_store(&r->settings, &r->sim.flash, &r->layout);

    return error != MP_OK ? error
                          : nf_store_install(&r->sim.flash, &r->layout, rig_crypto(), 0, rig_image[1].manifest,
                                             rig_image[1].payload, rig_image[1].size, r->memory);
}

void rig_init(struct rig *r, const struct rig_part *part)
{
    rig_make(r, part);
    if (rig_provision(r) != MP_OK)
        abort();
}

static int accept(void *ctx, const uint8_t *manifest)
{
    struct rig *r = ctx;

    return nf_store_accept(&r->sim.flash, &r->layout, rig_crypto(), manifest);
}

/* Does the CPU see the image of a slot, read as it lies there, as it is linked for this slot? */
static bool is_placed(const struct rig *r, const struct boot_image *opened)
{
    const struct rig_image *image = &rig_image[opened->manifest.release];
    uint32_t start = image->size - image->link_size, slot = opened->address == r->layout.slot[1];
    uint8_t seen[MP_CHUNK_SIZE];

    for (uint32_t i = 0; i < image->link_size; i += sizeof seen) {
        uint32_t n = image->link_size - i < sizeof seen ? image->link_size - i : (uint32_t)sizeof seen;
        if (r->sim.flash.read(r->sim.flash.ctx, opened->address + start + i, seen, n) != NF_FLASH_OK ||
            memcmp(seen, image->link[slot] + i, n) != 0)
            return false;
    }
    return boot_image_start(opened) == start;
}

int rig_boot(struct rig *r, enum boot_cause cause)
{
    struct boot_env boot = {
        .flash = &r->sim.flash, .layout = &r->layout, .crypto = rig_crypto(), .ctx = r, .accept = accept};
    struct mp_settings settings;
    struct boot_image image;

    r->boots++;
    r->is_up = false;
    r->echo_nonce = 0;
    r->now += MP_SECONDS(1);
    boot_select(&boot, cause, &r->choice);
    if (r->sim.is_dead)
        return -2;
    if (r->choice.slot < 0)
        return -1;
    r->running = 0;
    if (boot_image_open(&image, &r->sim.flash, &r->layout, (unsigned)r->choice.slot, rig_crypto(), NULL) == MP_OK)
        r->running = image.manifest.release;
    r->is_placed = r->running != 0 && r->running < RIG_IMAGES && is_placed(r, &image);
    r->is_trial = r->choice.record.state == BOOT_TRIAL && r->choice.slot != r->choice.record.home;
    if (r->is_trial && r->running < RIG_IMAGES)
        r->trial_boots[r->running]++;
    r->store.user = r;
    if (nf_settings_load(&settings, &r->sim.flash, &r->layout) != MP_OK)
        return -1;
    int error = nf_store_init(&r->store, &r->sim.flash, &r->layout, rig_crypto(), (unsigned)r->choice.slot, r->memory,
                              sizeof r->memory);

    if (error == MP_OK)
        error = nf_init(&r->node, &r->env, &settings, r->now);
    if (error == MP_OK)
        nf_note_reset(&r->node, &r->env, r->now, cause);
    if (r->sim.is_dead)
        return -2;
    if (error != MP_OK)
        return -1;
    r->is_up = true;
    return r->choice.slot;
}

/* --- the gateway -------------------------------------------------------------------------------------------------- */

int rig_send(struct rig *r, enum mp_type type, const uint8_t *body, size_t len)
{
    return rig_send_from(r, RIG_GATEWAY, type, body, len);
}

int rig_send_from(struct rig *r, uint32_t source, enum mp_type type, const uint8_t *body, size_t len)
{
    uint8_t frame[MP_FRAME_MAX];
    struct mp_header h = {.type = (uint8_t)type,
                          .key_id = 1,
                          .hop = source == RIG_GATEWAY ? 0 : 1,
                          .network = RIG_NETWORK,
                          .round = 0,
                          .source = source,
                          .counter = ++r->frame_counter};

    mp_header_put(frame, &h);
    memcpy(frame + MP_HEADER_SIZE, body, len);
    len = mp_frame_seal(rig_crypto(), frame, MP_HEADER_SIZE + len, network_key);
    return nf_receive(&r->node, &r->env, r->now, frame, len);
}

size_t rig_directive(uint8_t out[MP_DIRECTIVE_MAX], enum mp_action action, uint32_t release, uint32_t sequence,
                     uint32_t to, void (*edit)(struct mp_directive *d))
{
    struct mp_directive d;

    sign_directive_fill(&d, action, RIG_NETWORK, release, sequence, rig_image[release].id);
    if (action == MP_ACTION_REVERT) {
        d.manifest_count = 2;
        memcpy(d.manifests[1], rig_image[to].id, 8);
    }
    if (action == MP_ACTION_HOLD)
        d.floor = sequence;
    if (edit != NULL)
        edit(&d);
    return sign_directive(out, &d, &rig_fleet.release);
}

int rig_direct(struct rig *r, enum mp_action action, uint32_t release, uint32_t sequence, uint32_t to)
{
    uint8_t object[MP_DIRECTIVE_MAX];
    size_t len = rig_directive(object, action, release, sequence, to, NULL);

    return rig_send(r, MP_TYPE_DIRECTIVE, object, len);
}

int rig_manifest(struct rig *r, uint32_t release)
{
    return rig_send(r, MP_TYPE_MANIFEST, rig_image[release].manifest, MP_MANIFEST_SIZE);
}

/* Looks into what the node sends: a SUMMARY with the trial flag carries the nonce to echo. */
static void hear(struct rig *r, const uint8_t *frame)
{
    struct mp_header h;

    r->frames_written++;
    if ((frame[0] & 0x0F) != MP_TYPE_SUMMARY || mp_header_get(&h, frame, MP_FRAME_MAX) != MP_OK)
        return;
    const uint8_t *body = frame + MP_HEADER_SIZE;

    if ((body[4] & 1) != 0)
        r->echo_nonce = mp_get32(body);
}

void rig_step(struct rig *r, mp_time advance)
{
    uint8_t frame[MP_FRAME_MAX];

    r->now += advance;
    nf_expire(&r->node, &r->env, r->now);
    for (unsigned i = 0; i < STEP_FRAMES_MAX && nf_write(&r->node, &r->env, r->now, frame, sizeof frame) > 0; i++)
        hear(r, frame);
    if (r->answers && r->echo_nonce != 0 && nf_is_trial(&r->node)) {
        uint8_t body[8];
        mp_put32(body, RIG_NODE);
        mp_put32(body + 4, r->echo_nonce);
        rig_send(r, MP_TYPE_REPORT_ACK, body, sizeof body);
        r->echo_nonce = 0;
    }
}

bool rig_supply(struct rig *r)
{
    const struct nf_slot *slot = &r->store.slot[NF_PLACE_TARGET];
    const struct rig_image *image = NULL;
    uint8_t body[7 + MP_CHUNK_SIZE];

    if (r->node.phase != NF_PHASE_FETCHING)
        return false;
    for (uint32_t i = 1; i < RIG_IMAGES; i++)
        if (memcmp(rig_image[i].id, slot->image.id, 8) == 0)
            image = &rig_image[i];
    if (image == NULL)
        return false;
    for (uint32_t tries = 0; tries < image->tree.positions; tries++, r->cursor++) {
        uint32_t p = r->cursor % image->tree.positions;
        unsigned at;
        uint32_t parent = mp_tree_parent(&image->tree, p, &at);
        if ((slot->held[p / 8] >> (p % 8) & 1) != 0 ||
            (parent != UINT32_MAX && (slot->held[parent / 8] >> (parent % 8) & 1) == 0))
            continue;
        unsigned len = mp_tree_length(&image->tree, p);
        memcpy(body, image->id, 4);
        mp_put24(body + 4, p);
        memcpy(body + 7, image->chunk[p], len);
        rig_send(r, MP_TYPE_CHUNK, body, 7 + len);
        r->cursor++;
        return true;
    }
    return false;
}

bool rig_run_to(struct rig *r, enum nf_phase phase, unsigned steps)
{
    for (unsigned i = 0; i < steps && r->node.phase != phase; i++) {
        rig_supply(r);
        rig_step(r, MP_MS(20));
    }
    return r->node.phase == phase;
}
