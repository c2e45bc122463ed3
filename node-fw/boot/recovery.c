#include "recovery.h"

#include <string.h>

#include "proto/mp_wire.h"
#include "proto/object/settings.h"

/*
 * What is held between requests is in RAM alone, so whatever cuts power ends it: the page that a cut may have left half
 * erased or half written is erased again before anything is programmed into it, because
 * - settings are written behind an erase of their page, by one request;
 * - a slot's pages are erased one by one as pieces come to them, its seal's page before the first of them;
 * - the boot record's append trusts no page that it did not erase.
 * A piece of the image is taken once, in order, so no granule is programmed twice.
 */

enum { REPLY = 0x80, PAYLOAD = BOOT_RECOVERY_HEAD, SETTINGS_STORED = 384 };
_Static_assert(SETTINGS_STORED <= BOOT_RECOVERY_PAYLOAD_MAX, "fill is put behind the record where it came");
_Static_assert(4 + MP_CHUNK_SIZE + 32 <= BOOT_RECOVERY_PAYLOAD_MAX, "and behind a piece");
_Static_assert(BOOT_RECOVERY_HELLO_SIZE <= BOOT_RECOVERY_PAYLOAD_MAX && MP_SETTINGS_SIZE <= BOOT_RECOVERY_PAYLOAD_MAX,
               "the longest reply and request fit");

void boot_recovery_init(struct boot_recovery *r, const struct boot_recovery_env *env)
{
    memset(r, 0, sizeof *r);
    r->env = env;
}

/* --- flash -------------------------------------------------------------------------------------------------------- */

/* Programs whole granules into erased flash. Nobody reads back here: everything is checked as a whole before it
 * counts. */
static int program(const struct boot_env *boot, uint32_t address, const uint8_t *data, uint32_t len)
{
    const struct nf_flash *flash = boot->flash;

    return flash->program(flash->ctx, address, data, len) == NF_FLASH_OK ? MP_OK : MP_ERR_STORE;
}

/* Erases `pages` pages from an address on. */
static int erase(const struct boot_recovery_env *env, uint32_t address, uint32_t pages)
{
    const struct nf_flash *flash = env->boot.flash;

    for (; pages > 0; pages--, address += flash->page_size) {
        if (env->kick != NULL)
            env->kick(env->boot.ctx);
        if (flash->erase(flash->ctx, address) != NF_FLASH_OK)
            return MP_ERR_STORE;
    }
    return MP_OK;
}

/* Erases the settings, whose secrets go first, and what was kept under them. */
static int forget(const struct boot_recovery_env *env)
{
    const struct nf_layout *layout = env->boot.layout;

    int error = erase(env, layout->settings, 1);

    return error == MP_OK ? erase(env, layout->objects, layout->objects_size / env->boot.flash->page_size) : error;
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
static int take_settings(const struct boot_recovery_env *env, uint8_t *data)
{
    struct mp_settings s;
    int error = mp_settings_get(&s, data, MP_SETTINGS_SIZE);

    if (error != MP_OK)
        return error;
    if (boot_has_settings(&env->boot))
        return MP_ERR_STATE;
    memset(data + MP_SETTINGS_SIZE, 0xFF, SETTINGS_STORED - MP_SETTINGS_SIZE);
    /* A keyset that another life left in the object log would count instead of the one in these settings. */
    error = forget(env);
    if (error == MP_OK)
        error = program(&env->boot, env->boot.layout->settings, data, SETTINGS_STORED);
    return error != MP_OK || boot_has_settings(&env->boot) ? error : MP_ERR_STORE;
}

/* --- image -------------------------------------------------------------------------------------------------------- */

/* May this part run it? Preconditions that need a clock, a battery or a running version are not asked: nothing runs. */
static int judge(const struct boot_recovery *r, const struct boot_env *env, const uint8_t *manifest)
{
    const struct mp_manifest *m = &r->image.manifest;
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
static int begin(struct boot_recovery *r, unsigned slot, const uint8_t *manifest)
{
    const struct boot_env *boot = &r->env->boot;

    if (r->open && r->slot == slot && memcmp(r->manifest, manifest, MP_MANIFEST_SIZE) == 0)
        return MP_OK;
    r->open = r->sealed = false;
    r->next = 0;
    if (slot > 1)
        return MP_ERR_FORMAT;
    int error = boot_image_describe(&r->image, boot->flash, boot->layout, slot, boot->crypto, manifest);

    if (error == MP_OK)
        error = judge(r, boot, manifest);
    if (error == MP_OK)
        error = erase(r->env, boot_image_seal_address(boot->flash, boot->layout, slot), 1);
    memcpy(r->manifest, manifest, MP_MANIFEST_SIZE);
    r->slot = (uint8_t)slot;
    r->open = error == MP_OK;
    return error;
}

/* Reading the list while pieces come: from flash what was programmed, and the piece in hand. */
struct hand {
    const struct boot_image *image;
    const uint8_t *data;
    uint32_t offset; /* of the piece in the payload */
    uint32_t len;
};

static int list_read(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    const struct hand *h = ctx;
    const struct nf_flash *flash = h->image->flash;

    if (offset < h->offset) /* a read stays within one piece */
        return flash->read(flash->ctx, h->image->address + offset, data, len) == NF_FLASH_OK ? MP_OK : MP_ERR_STORE;
    if (offset - h->offset + len > h->len)
        return MP_ERR_ABSENT;
    memcpy(data, h->data + (offset - h->offset), len);
    return MP_OK;
}

/* Turns a canonical piece into what the slot holds. The list itself stays, so it may be read from what is changed. */
static int relocate(const struct boot_image *image, uint32_t offset, uint8_t *data, uint32_t len)
{
    struct hand hand = {image, data, offset, len};
    struct mp_reloc_header list;

    if (!image->relocates)
        return MP_OK;
    int error = mp_reloc_check(&list, list_read, &hand, image->manifest.image_size);

    if (error == MP_ERR_ABSENT) /* the list ends behind this piece, which makes it a part of the list */
        return MP_OK;
    if (error == MP_OK)
        error = mp_reloc_apply(&list, list_read, &hand, mp_reloc_distance(&list, image->base), offset, data, len);
    return error;
}

/* Programs a piece, page by page; a page is erased when the first byte of it comes. */
static int place(const struct boot_recovery *r, uint32_t address, uint8_t *data, uint32_t len)
{
    const struct nf_flash *flash = r->image.flash;
    uint32_t rest = (len + flash->granule - 1) & ~(flash->granule - 1);
    int error = MP_OK;

    memset(data + len, 0xFF, rest - len);
    while (rest > 0 && error == MP_OK) {
        uint32_t at = address & (flash->page_size - 1), n = flash->page_size - at;

        if (at == 0)
            error = erase(r->env, address, 1);
        if (n > rest)
            n = rest;
        if (error == MP_OK)
            error = program(&r->env->boot, address, data, n);
        address += n;
        data += n;
        rest -= n;
    }
    return error;
}

/* Pieces are the leaves and then the interior chunks, which nothing here needs to check: the node does. */
static int take_piece(struct boot_recovery *r, uint32_t piece, uint8_t *data, uint32_t len)
{
    const struct boot_image *image = &r->image;
    uint32_t position = piece + image->tree.first[0];
    int error = MP_OK;

    if (!r->open)
        return MP_ERR_STATE;
    if (piece + 1 == r->next)
        return MP_OK; /* the reply was lost */
    if (piece != r->next || piece >= image->tree.positions)
        return MP_ERR_GAP;
    if (position >= image->tree.positions)
        position -= image->tree.positions;
    if (len != mp_tree_length(&image->tree, position))
        return MP_ERR_LENGTH;
    if (piece < image->tree.count[0])
        error = relocate(image, piece * MP_CHUNK_SIZE, data, len);
    if (error == MP_OK)
        error = place(r, boot_image_chunk_address(image, position), data, len);
    r->next++;
    r->open = error == MP_OK; /* what lies there otherwise is nobody's: from the start again */
    return error;
}

/* The seal, behind a whole hash, and then the record that makes this slot the part's home. */
static int seal(struct boot_recovery *r)
{
    const struct boot_env *boot = &r->env->boot;
    const struct boot_image *image = &r->image;
    struct boot_record record;
    uint8_t data[BOOT_SEAL_SIZE];
    int error = boot_image_list(&r->image);

    if (r->env->kick != NULL)
        r->env->kick(boot->ctx);
    if (error == MP_OK)
        error = boot->verify != NULL ? boot->verify(boot->ctx, r->slot, image) : boot_image_verify(image, boot->crypto);
    if (error != MP_OK)
        return error;
    memset(data, 0xFF, sizeof data);
    boot_image_seal_put(data, r->manifest);
    error = program(boot, boot_image_seal_address(boot->flash, boot->layout, r->slot), data, sizeof data);
    if (error == MP_OK)
        error = boot_image_seal(boot->flash, boot->layout, r->slot, data);
    if (error != MP_OK)
        return error;
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

static int finish(struct boot_recovery *r)
{
    if (!r->open || r->next < r->image.tree.count[0])
        return MP_ERR_STATE;
    if (r->sealed)
        return MP_OK; /* the reply was lost */
    int error = seal(r);

    r->open = r->sealed = error == MP_OK;
    return error;
}

/* The boot record, with its floor, only when there is nothing left to boot. */
static int erase_all(struct boot_recovery *r)
{
    const struct nf_layout *layout = r->env->boot.layout;
    int error = forget(r->env);

    r->open = false;
    for (unsigned slot = 0; slot < 2 && error == MP_OK; slot++)
        error = erase(r->env, boot_image_seal_address(r->env->boot.flash, layout, slot), 1);
    return error == MP_OK ? erase(r->env, layout->boot_record, 2) : error;
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

/* Does what a request says; *len, its length, becomes that of the reply behind its status. */
static int serve(struct boot_recovery *r, unsigned type, uint32_t *len)
{
    uint8_t *data = r->frame + PAYLOAD;
    uint32_t n = *len;
    int error = MP_ERR_TYPE;

    *len = 0;
    if (type > BOOT_RECOVERY_RESET)
        return MP_ERR_TYPE;
    if (n < lengths[type].min || n > lengths[type].max)
        return MP_ERR_LENGTH;
    switch ((enum boot_recovery_type)type) {
    case BOOT_RECOVERY_HELLO:
        hello(r->env, data);
        *len = BOOT_RECOVERY_HELLO_SIZE - 1;
        return MP_OK;
    case BOOT_RECOVERY_SETTINGS:
        return take_settings(r->env, data);
    case BOOT_RECOVERY_BEGIN:
    case BOOT_RECOVERY_DATA:
        error =
            type == BOOT_RECOVERY_BEGIN ? begin(r, data[0], data + 1) : take_piece(r, mp_get32(data), data + 4, n - 4);
        mp_put32(data + 1, r->next);
        *len = 4;
        break;
    case BOOT_RECOVERY_FINISH:
        return finish(r);
    case BOOT_RECOVERY_ERASE:
        return mp_get32(data) == BOOT_RECOVERY_ERASE_WORD ? erase_all(r) : MP_ERR_FORMAT;
    case BOOT_RECOVERY_RESET:
        r->reset = true;
        return MP_OK;
    }
    return error;
}

size_t boot_recovery_receive(struct boot_recovery *r, uint8_t byte)
{
    if (r->used == 0 && byte != BOOT_RECOVERY_MAGIC)
        return 0;
    r->frame[r->used++] = byte;
    if (r->used < PAYLOAD)
        return 0;
    uint32_t len = mp_get16(r->frame + 2);
    uint8_t *end = r->frame + PAYLOAD + len;

    if (len <= BOOT_RECOVERY_PAYLOAD_MAX && r->used < PAYLOAD + len + 4)
        return 0;
    r->used = 0;
    /* What is too long or damaged is dropped whole: the host fills the line up before it asks again. */
    if (len > BOOT_RECOVERY_PAYLOAD_MAX || mp_get32(end) != mp_crc32(r->frame, PAYLOAD + len))
        return 0;
    int status = serve(r, r->frame[1], &len);

    r->frame[1] |= REPLY;
    mp_put16(r->frame + 2, ++len);
    r->frame[PAYLOAD] = (uint8_t)-status;
    mp_put32(r->frame + PAYLOAD + len, mp_crc32(r->frame, PAYLOAD + len));
    return PAYLOAD + len + 4;
}
