/*
 * The bootloader's code is the real one; what it sees of flash is made up from the member as it reads:
 *
 *   0       two pages of boot records. Only the newest one is kept, with the cell it lies in; the cells before it read
 *           blank, which changes nothing, since only the newest decides and appends go behind it.
 *   then    the two slots, of which only the seal is ever read. Whether the image behind a sealed seal verifies is the
 *           bit `sealed`: bits of simulated flash do not rot.
 */
#include <string.h>

#include "node.h"

enum { PAGE = 1024, CELLS = PAGE / BOOT_RECORD_SIZE, GRANULE = 32 };

int sim_boot_read(const struct sim_fleet *f, struct boot_record *r)
{
    const struct sim_member *m = f->m;
    const struct sim_image *named = &f->images.image[m->named];

    memset(r, 0, sizeof *r);
    if (m->sequence == 0)
        return MP_ERR_ABSENT;
    *r = (struct boot_record){.sequence = m->sequence,
                              .state = m->state,
                              .home = m->home,
                              .tries = m->tries,
                              .reason = m->reason,
                              .flags = m->boot_flags,
                              .confirm_s = m->confirm_s,
                              .floor = m->floor,
                              .release = named->manifest.release};
    memcpy(r->id, named->id, sizeof r->id);
    return MP_OK;
}

static int flash_read(void *ctx, uint32_t address, void *data, size_t len)
{
    struct sim_fleet *f = ctx;
    const struct sim_member *m = f->m;

    if (address < 2 * PAGE && len == BOOT_RECORD_SIZE) {
        struct boot_record r;
        if (address == m->cell * (uint32_t)BOOT_RECORD_SIZE && sim_boot_read(f, &r) == MP_OK)
            boot_record_put(data, &r);
        else
            memset(data, 0xFF, len);
        return NF_FLASH_OK;
    }
    for (unsigned slot = 0; slot < 2; slot++) {
        if (address != boot_image_seal_address(&f->flash, &f->layout, slot) || len > BOOT_SEAL_SIZE)
            continue;
        if ((m->sealed >> slot & 1) != 0)
            memcpy(data, f->images.image[m->image[slot]].seal, len);
        else
            memset(data, 0xFF, len);
        return NF_FLASH_OK;
    }
    return NF_FLASH_RANGE;
}

static int flash_program(void *ctx, uint32_t address, const void *data, size_t len)
{
    struct sim_fleet *f = ctx;
    struct sim_member *m = f->m;
    struct boot_record r;

    if (address >= 2 * PAGE || len != BOOT_RECORD_SIZE || boot_record_get(&r, data) != MP_OK)
        return NF_FLASH_RANGE;
    int named = sim_images_find_id(&f->images, r.id);

    if (named < 0)
        return NF_FLASH_FAILED;
    m->cell = (uint8_t)(address / BOOT_RECORD_SIZE);
    m->sequence = r.sequence;
    m->state = r.state;
    m->home = r.home;
    m->tries = r.tries;
    m->reason = r.reason;
    m->boot_flags = r.flags;
    m->confirm_s = r.confirm_s;
    m->floor = r.floor;
    m->named = (uint8_t)named;
    return NF_FLASH_OK;
}

/* Only ever the page that does not hold the newest record. */
static int flash_erase(void *ctx, uint32_t address)
{
    struct sim_fleet *f = ctx;

    if (address >= 2 * PAGE || (f->m->sequence != 0 && address / PAGE == f->m->cell / CELLS))
        return NF_FLASH_RANGE;
    return NF_FLASH_OK;
}

static int image_verify(void *ctx, unsigned slot, const struct boot_image *image)
{
    const struct sim_fleet *f = ctx;

    (void)image;
    return (f->m->sealed >> slot & 1) != 0 ? MP_OK : MP_ERR_CHUNK;
}

/* As nf_store_accept(): the publisher's key is in force and the signature is its. */
static int image_accept(void *ctx, const uint8_t *manifest)
{
    struct sim_fleet *f = ctx;
    struct mp_manifest m;
    struct mp_keyset keyset;
    uint8_t record[MP_KEYSET_SIZE], pub[32];

    if (mp_manifest_get(&m, manifest, MP_MANIFEST_SIZE) != MP_OK)
        return MP_ERR_FORMAT;
    if (sim_fleet_store.get(f, MP_KIND_KEYSET, 0, record, sizeof record) != MP_KEYSET_SIZE ||
        mp_keyset_get(&keyset, record, sizeof record) != MP_OK)
        return MP_ERR_STORE;
    int error = mp_keyset_find(&keyset, MP_ROLE_PUBLISHER, m.key_id, m.generation, pub);

    return error != MP_OK ? error : mp_manifest_verify(f->env.mp.crypto, manifest, pub);
}

void sim_boot_open(struct sim_fleet *f)
{
    uint32_t slot = (f->images.capacity / PAGE + 2) * PAGE * 9 / 8 / PAGE * PAGE + 3 * PAGE;

    f->layout = (struct nf_layout){
        .boot_record = 0, .slot = {2 * PAGE, 2 * PAGE + slot}, .slot_size = slot, .slot_base = {2 * PAGE, 2 * PAGE}};
    f->flash = (struct nf_flash){.ctx = f,
                                 .size = 2 * PAGE + 2 * slot,
                                 .page_size = PAGE,
                                 .granule = GRANULE,
                                 .read = flash_read,
                                 .program = flash_program,
                                 .erase = flash_erase};
}

static void record_copy(struct sim_member *to, const struct sim_member *from)
{
    to->sequence = from->sequence;
    to->floor = from->floor;
    to->confirm_s = from->confirm_s;
    to->state = from->state;
    to->tries = from->tries;
    to->reason = from->reason;
    to->boot_flags = from->boot_flags;
    to->home = from->home;
    to->named = from->named;
    to->cell = from->cell;
    to->running = from->running;
}

bool sim_boot_select(struct sim_fleet *f, enum boot_cause cause)
{
    const struct boot_env env = {.flash = &f->flash,
                                 .layout = &f->layout,
                                 .crypto = f->env.mp.crypto,
                                 .ctx = f,
                                 .verify = image_verify,
                                 .accept = image_accept};
    struct sim_member *m = f->m;
    bool is_fresh = m->sequence == 0 && m->image[0] < SIM_MODELS_MAX && m->sealed == 1;
    struct sim_member *fresh = &f->fresh[is_fresh ? m->image[0] : 0];
    struct boot_choice choice;

    /* New devices with the same image, of which there are many at time 0, are one question: it is asked once. */
    if (is_fresh && fresh->sequence != 0) {
        record_copy(m, fresh);
        return true;
    }
    boot_select(&env, cause, &choice);
    if (choice.slot < 0)
        return false;
    m->running = (uint8_t)choice.slot;
    if (is_fresh)
        record_copy(fresh, m);
    return true;
}
