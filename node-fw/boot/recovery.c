#include "recovery.h"

#include <string.h>

#include "proto/mp_wire.h"
#include "proto/object/settings.h"

/*
 * What is held between requests is in RAM alone, so whatever cuts power ends it: the page that a cut may have left half
 * erased or half written is erased again before anything is programmed into it, because
 * - settings are written behind an erase of their page, by one request;
 * - a slot's pages are erased one by one as pieces come to them, its seal's page before the first of them, where a word
 *   then tells a node that goes on instead that nothing in them can be built on;
 * - the boot record's append trusts no page that it did not erase.
 * A piece of the image is taken once, in order, so no granule is programmed twice.
 */

enum { STEP = 32, REPLY = 0x80, PAYLOAD = BOOT_RECOVERY_HEAD, SETTINGS_STORED = 384 };
_Static_assert(SETTINGS_STORED <= BOOT_RECOVERY_PAYLOAD_MAX, "fill is put behind the record where it came");
_Static_assert(4 + MP_CHUNK_SIZE + 32 <= BOOT_RECOVERY_PAYLOAD_MAX, "and behind a piece");
_Static_assert(BOOT_RECOVERY_HELLO_SIZE <= BOOT_RECOVERY_PAYLOAD_MAX && MP_SETTINGS_SIZE <= BOOT_RECOVERY_PAYLOAD_MAX,
               "the longest reply and request fit");

void boot_recovery_init(struct boot_recovery *r, const struct boot_recovery_env *env)
{
    memset(r, 0, sizeof *r);
    r->env = env;
}

/* --- flash: once something has failed, nothing more is written -------------------------------------------------------- */

static void erase(struct boot_recovery *r, uint32_t address, uint32_t pages)
{
    const struct boot_recovery_env *env = r->env;
    const struct nf_flash *flash = env->boot.flash;

    for (; pages > 0 && r->status == MP_OK; pages--, address += flash->page_size) {
        if (env->kick != NULL)
            env->kick(env->boot.ctx);
        if (flash->erase(flash->ctx, address) != NF_FLASH_OK)
            r->status = MP_ERR_STORE;
    }
}

/* Into erased flash, a multiple of 32 bytes. Nobody reads back here: everything is checked as a whole before it counts.
 */
static void program(struct boot_recovery *r, uint32_t address, const uint8_t *data, uint32_t len)
{
    const struct nf_flash *flash = r->env->boot.flash;

    if (r->status == MP_OK && flash->program(flash->ctx, address, data, len) != NF_FLASH_OK)
        r->status = MP_ERR_STORE;
}

static uint32_t seal_address(const struct boot_recovery *r, unsigned slot)
{
    return boot_image_seal_address(r->env->boot.flash, r->env->boot.layout, slot);
}

/* Erases the settings, whose secrets go first, and what was kept under them. */
static void forget(struct boot_recovery *r)
{
    const struct nf_layout *layout = r->env->boot.layout;

    erase(r, layout->settings, 1);
    erase(r, layout->objects, layout->objects_size / r->env->boot.flash->page_size);
}

/* --- settings ----------------------------------------------------------------------------------------------------- */

static bool settings_load(const struct boot_env *env, struct mp_settings *s)
{
    uint8_t data[MP_SETTINGS_SIZE];

    return env->flash->read(env->flash->ctx, env->layout->settings, data, sizeof data) == NF_FLASH_OK &&
           mp_settings_get(s, data, sizeof data) == MP_OK;
}

bool boot_has_settings(const struct boot_env *env)
{
    struct mp_settings s;

    return settings_load(env, &s);
}

/* Only where none are: once a part belongs to a network, whoever wants to change that must erase it. */
static void take_settings(struct boot_recovery *r, uint8_t *data)
{
    struct mp_settings s;

    r->status = mp_settings_get(&s, data, MP_SETTINGS_SIZE);
    if (r->status == MP_OK && boot_has_settings(&r->env->boot))
        r->status = MP_ERR_STATE;
    memset(data + MP_SETTINGS_SIZE, 0xFF, SETTINGS_STORED - MP_SETTINGS_SIZE);
    /* A keyset that another life left in the object log would count instead of the one in these settings. */
    forget(r);
    program(r, r->env->boot.layout->settings, data, SETTINGS_STORED);
    if (r->status == MP_OK && !boot_has_settings(&r->env->boot))
        r->status = MP_ERR_STORE;
}

/* --- image -------------------------------------------------------------------------------------------------------- */

/* May this part run it? Preconditions that need a clock, a battery or a running version are not asked: nothing runs. */
static int judge(const struct boot_recovery *r, const uint8_t *manifest)
{
    const struct mp_manifest *m = &r->image.manifest;
    const struct boot_env *env = &r->env->boot;
    struct mp_settings s;
    struct boot_record record;

    if (!settings_load(env, &s))
        return MP_ERR_STATE;
    if (m->product != s.product || m->model != s.model || (m->hw_revisions >> s.hw_revision & 1) == 0)
        return MP_ERR_MODEL;
    boot_read(env->flash, env->layout, &record); /* floor 0 when there is none */
    if (m->security_counter < record.floor)
        return MP_ERR_COUNTER;
    return env->accept(env->ctx, manifest);
}

/* The same image again goes on where it stopped. */
static void begin(struct boot_recovery *r, unsigned slot, const uint8_t *manifest)
{
    const struct boot_env *boot = &r->env->boot;

    if (r->open && r->slot == slot && memcmp(r->manifest, manifest, MP_MANIFEST_SIZE) == 0)
        return;
    r->sealed = false;
    r->next = 0;
    r->slot = (uint8_t)slot;
    memcpy(r->manifest, manifest, MP_MANIFEST_SIZE);
    r->status = slot > 1 ? MP_ERR_FORMAT
                         : boot_image_describe(&r->image, boot->flash, boot->layout, slot, boot->crypto, manifest);
    if (r->status == MP_OK)
        r->status = judge(r, manifest);
    erase(r, seal_address(r, slot), 1);
    uint8_t taken[STEP] = {0};
    mp_put32(taken, BOOT_SEAL_TAKEN);
    program(r, seal_address(r, slot), taken, sizeof taken);
    r->open = r->status == MP_OK;
}

/* Where a piece lies in the request. */
static uint8_t *piece_of(struct boot_recovery *r)
{
    return r->frame + PAYLOAD + 4;
}

/* Reads the list while pieces come: from flash what was programmed, and the piece in hand. Reads stay within a piece. */
static int list_read(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    struct boot_recovery *r = ctx;
    const struct nf_flash *flash = r->image.flash;
    uint32_t hand = r->next * MP_CHUNK_SIZE;

    if (offset < hand)
        return flash->read(flash->ctx, r->image.address + offset, data, len) == NF_FLASH_OK ? MP_OK : MP_ERR_STORE;
    if (offset >= hand + MP_CHUNK_SIZE)
        return MP_ERR_ABSENT;
    memcpy(data, piece_of(r) + (offset - hand), len);
    return MP_OK;
}

/* Turns the canonical piece in hand into what the slot holds. The list itself stays, so it may be read from it
 * meanwhile. */
static int relocate(struct boot_recovery *r, uint32_t len)
{
    const struct boot_image *image = &r->image;
    struct mp_reloc_header list;

    if (!image->relocates)
        return MP_OK;
    int error = mp_reloc_check(&list, list_read, r, image->manifest.image_size);

    if (error == MP_ERR_ABSENT) /* the list ends behind this piece, which makes it a part of the list */
        return MP_OK;
    if (error == MP_OK)
        error = mp_reloc_apply(&list, list_read, r, mp_reloc_distance(&list, image->base), r->next * MP_CHUNK_SIZE,
                               piece_of(r), len, NULL);
    return error;
}

/* Pieces are the leaves and then the interior chunks, which nothing here needs to check: the node does. A page is
 * erased when the first byte of it comes. */
static void take_piece(struct boot_recovery *r, uint32_t piece, uint32_t len)
{
    const struct boot_image *image = &r->image;
    uint32_t position = piece + image->tree.first[0];
    uint8_t *data = piece_of(r);

    r->status = MP_ERR_STATE;
    if (!r->open)
        return;
    r->status = MP_OK;
    if (piece + 1 == r->next)
        return; /* the reply was lost */
    r->status = MP_ERR_GAP;
    if (piece != r->next || piece >= image->tree.positions)
        return;
    if (position >= image->tree.positions)
        position -= image->tree.positions;
    r->status = MP_ERR_LENGTH;
    if (len != mp_tree_length(&image->tree, position))
        return;
    r->status = piece < image->tree.count[0] ? relocate(r, len) : MP_OK;
    memset(data + len, 0xFF, MP_CHUNK_SIZE - len);
    for (uint32_t i = 0, at = boot_image_chunk_address(image, position); i < MP_CHUNK_SIZE; i += STEP) {
        if ((at + i) % image->flash->page_size == 0)
            erase(r, at + i, 1);
        if (i < len)
            program(r, at + i, data + i, STEP);
    }
    r->next++;
    r->open = r->status == MP_OK; /* what lies there otherwise is nobody's: from the start again */
}

/* The seal, behind a whole hash, and then the record that makes this slot the part's home. */
static int seal(struct boot_recovery *r)
{
    const struct boot_env *boot = &r->env->boot;
    struct boot_image *image = &r->image;
    struct boot_record record;
    uint8_t data[BOOT_SEAL_SIZE];
    int error = boot_image_list(image);

    if (r->env->kick != NULL)
        r->env->kick(boot->ctx);
    if (error == MP_OK)
        error = boot->verify != NULL ? boot->verify(boot->ctx, r->slot, image) : boot_image_verify(image, boot->crypto);
    if (error != MP_OK)
        return error;
    memset(data, 0xFF, sizeof data);
    boot_image_seal_put(data, r->manifest);
    erase(r, seal_address(r, r->slot), 1);
    program(r, seal_address(r, r->slot), data, sizeof data);
    error = boot_image_seal(boot->flash, boot->layout, r->slot, data);
    if (r->status != MP_OK || error != MP_OK)
        return MP_ERR_STORE;
    boot_read(boot->flash, boot->layout, &record);
    record.state = BOOT_CONFIRMED;
    record.home = r->slot;
    record.tries = record.reason = record.flags = 0;
    if (record.floor < image->manifest.security_counter)
        record.floor = image->manifest.security_counter;
    record.release = image->manifest.release;
    memcpy(record.id, image->id, sizeof record.id);
    return boot_append(boot->flash, boot->layout, &record);
}

static void finish(struct boot_recovery *r)
{
    if (!r->open || r->next < r->image.tree.count[0]) {
        r->status = MP_ERR_STATE;
    } else if (!r->sealed) { /* else the reply was lost */
        r->status = seal(r);
        r->open = r->sealed = r->status == MP_OK;
    }
}

/* The boot record, with its floor, only when there is nothing left to boot. */
static void erase_all(struct boot_recovery *r)
{
    r->open = false;
    forget(r);
    erase(r, seal_address(r, 0), 1);
    erase(r, seal_address(r, 1), 1);
    erase(r, r->env->boot.layout->boot_record, 2);
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

_Static_assert(sizeof(struct nf_layout) % 4 == 0 && sizeof(struct nf_layout) <= 44, "up to eleven words");

static void hello(const struct boot_recovery_env *env, uint8_t *out)
{
    const struct nf_flash *flash = env->boot.flash;
    const struct nf_layout *layout = env->boot.layout;
    struct mp_settings s;
    struct boot_record record;
    uint8_t manifest[MP_MANIFEST_SIZE];

    memset(out, 0, BOOT_RECOVERY_HELLO_SIZE);
    out[1] = BOOT_RECOVERY_VERSION;
    out[2] = (uint8_t)flash->granule;
    out[3] = flash->write_once ? BOOT_RECOVERY_FLAG_WRITE_ONCE : 0;
    memcpy(out + 4, env->part, sizeof env->part);
    mp_put32(out + 12, env->boot_version);
    mp_put32(out + 16, flash->size);
    mp_put32(out + 20, flash->page_size);
    for (unsigned i = 0; i < sizeof *layout; i += 4) {
        uint32_t word;
        memcpy(&word, (const uint8_t *)layout + i, 4);
        mp_put32(out + 24 + i, word);
    }
    for (unsigned slot = 0; slot < 2; slot++)
        if (boot_image_seal(flash, layout, slot, manifest) == MP_OK)
            mp_manifest_id(env->boot.crypto, manifest, out + 68 + 8 * slot);
    if (settings_load(&env->boot, &s)) {
        out[3] |= BOOT_RECOVERY_FLAG_SETTINGS;
        mp_put32(out + 84, s.node);
    }
    if (boot_read(flash, layout, &record) == MP_OK)
        boot_record_put(out + 88, &record);
}

/* Least and most payload of each request, in bytes. */
static const struct {
    uint16_t min, max;
} lengths[1 + BOOT_RECOVERY_RESET] = {
    [BOOT_RECOVERY_SETTINGS] = {MP_SETTINGS_SIZE, MP_SETTINGS_SIZE},
    [BOOT_RECOVERY_BEGIN] = {1 + MP_MANIFEST_SIZE, 1 + MP_MANIFEST_SIZE},
    [BOOT_RECOVERY_DATA] = {4 + 1, 4 + MP_CHUNK_SIZE},
    [BOOT_RECOVERY_ERASE] = {4, 4},
};

/* Does what a request says. What the reply has behind its status: its length. */
static uint32_t serve(struct boot_recovery *r, unsigned type, uint32_t len)
{
    uint8_t *data = r->frame + PAYLOAD;

    r->status = MP_ERR_TYPE;
    if (type - 1 >= BOOT_RECOVERY_RESET)
        return 0;
    r->status = MP_ERR_LENGTH;
    if (len < lengths[type].min || len > lengths[type].max)
        return 0;
    r->status = MP_OK;
    switch ((enum boot_recovery_type)type) {
    case BOOT_RECOVERY_HELLO:
        hello(r->env, data);
        return BOOT_RECOVERY_HELLO_SIZE - 1;
    case BOOT_RECOVERY_SETTINGS:
        take_settings(r, data);
        return 0;
    case BOOT_RECOVERY_BEGIN:
        begin(r, data[0], data + 1);
        break;
    case BOOT_RECOVERY_DATA:
        take_piece(r, mp_get32(data), len - 4);
        break;
    case BOOT_RECOVERY_FINISH:
        finish(r);
        return 0;
    case BOOT_RECOVERY_ERASE:
        if (mp_get32(data) != BOOT_RECOVERY_ERASE_WORD)
            r->status = MP_ERR_FORMAT;
        else
            erase_all(r);
        return 0;
    case BOOT_RECOVERY_RESET:
        r->reset = true;
        return 0;
    }
    mp_put32(data + 1, r->next);
    return 4;
}

size_t boot_recovery_receive(struct boot_recovery *r, uint8_t byte)
{
    if (r->used == 0 && byte != BOOT_RECOVERY_MAGIC)
        return 0;
    r->frame[r->used++] = byte;
    if (r->used < PAYLOAD)
        return 0;
    uint32_t len = mp_get16(r->frame + 2), end = PAYLOAD + len;

    if (len <= BOOT_RECOVERY_PAYLOAD_MAX && r->used < end + 4)
        return 0;
    r->used = 0;
    /* What is too long or damaged is dropped whole: the host fills the line up before it asks again. */
    if (len > BOOT_RECOVERY_PAYLOAD_MAX || mp_get32(r->frame + end) != mp_crc32(r->frame, end))
        return 0;
    len = 1 + serve(r, r->frame[1], len);
    end = PAYLOAD + len;
    r->frame[1] |= REPLY;
    mp_put16(r->frame + 2, len);
    r->frame[PAYLOAD] = (uint8_t)-r->status;
    mp_put32(r->frame + end, mp_crc32(r->frame, end));
    return end + 4;
}
