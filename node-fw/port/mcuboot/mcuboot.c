#include "mcuboot.h"

#include <string.h>

#include "proto/mp_wire.h"

/*
 * The record follows the trailers (in brackets: who writes it).
 *
 *   CONFIRMED  home runs
 *   PENDING 0  boot_request() began [before the trailer]     PENDING 1  ... and the trailer is written
 *   TRIAL      the update runs on probation [a start that finds it running]
 *
 * Every change is a record, then the trailer, or the trailer, then a record; a cut between the two is found by the next
 * start, which looks at trailers and images: settle(). `tries` of PENDING is the 0 or 1 above; of TRIAL it counts only
 * in overwrite mode, where nothing goes back by itself.
 */

enum { FLAG_NON_BOOTABLE = 0x10, FLAG_RAM_LOAD = 0x20, FLAGS_ENCRYPTED = 0x0C, FLAGS_COMPRESSED = 0xE00 };

static struct nf_mcuboot *of(void *ctx)
{
    return ctx; /* the store is its first member */
}

static bool is_overwriting(const struct nf_mcuboot *m)
{
    return m->map.shape.mode == NF_MCUBOOT_OVERWRITE;
}

static unsigned other(const struct nf_mcuboot *m)
{
    return m->store.running ^ 1u;
}

/* --- what the trailers say ---------------------------------------------------------------------------------------- */

struct verdict {
    bool is_trial;   /* what runs goes at the next reset unless it is confirmed */
    bool is_pending; /* the other image comes at the next reset */
};

static int verdict_get(const struct nf_mcuboot *m, unsigned running, struct verdict *v)
{
    const struct nf_mcuboot_shape *shape = &m->map.shape;
    struct nf_mcuboot_trailer here, there;

    if (nf_mcuboot_trailer_read(&here, shape, &m->flash, &m->map.slot[running]) != MP_OK ||
        nf_mcuboot_trailer_read(&there, shape, &m->flash, &m->map.slot[running ^ 1u]) != MP_OK)
        return MP_ERR_STORE;
    enum nf_mcuboot_swap swap = nf_mcuboot_swap_type(shape, &here, &there);

    v->is_trial = nf_mcuboot_is_trial(shape, &here, &there);
    v->is_pending = swap == NF_MCUBOOT_SWAP_TEST || swap == NF_MCUBOOT_SWAP_PERM;
    if (shape->mode == NF_MCUBOOT_XIP_REVERT)
        v->is_pending = there.magic == NF_MCUBOOT_MAGIC_GOOD && there.copy_done != NF_MCUBOOT_FLAG_SET;
    return MP_OK;
}

/* --- which seal is whose ------------------------------------------------------------------------------------------ */

static void seals_exchange(struct nf_layout *layout)
{
    uint32_t seal = layout->seal[0];

    layout->seal[0] = layout->seal[1];
    layout->seal[1] = seal;
}

/* Does the image in a slot verify against the seal that the layout gives it? */
static bool is_sealed(const struct nf_mcuboot *m, const struct nf_layout *layout, unsigned slot,
                      const struct mp_crypto *crypto)
{
    struct boot_image image;

    return boot_image_open(&image, &m->flash, layout, slot, crypto, NULL) == MP_OK &&
           boot_image_verify(&image, crypto) == MP_OK;
}

/* A seal without its image would be taken for an image. */
static int seal_drop(const struct nf_mcuboot *m, const struct nf_layout *layout, unsigned slot)
{
    uint8_t manifest[MP_MANIFEST_SIZE];
    int error = boot_image_seal(&m->flash, layout, slot, manifest);

    if (error == MP_ERR_ABSENT)
        return MP_OK;
    if (error != MP_OK || m->flash.erase(m->flash.ctx, boot_image_seal_address(&m->flash, layout, slot)) != NF_FLASH_OK)
        return MP_ERR_STORE;
    return MP_OK;
}

/* Gives each slot its seal; good[]: the image in this place verifies. On trial no seal is dropped: the image to go back
 * to may lie where nothing verifies meanwhile (swap-offset), and needs its seal when it is back. */
static int seals_find(const struct nf_mcuboot *m, struct nf_layout *layout, unsigned running, bool is_trial,
                      const struct mp_crypto *crypto, bool good[2])
{
    bool is_apart = layout->seal[0] != layout->seal[1];

    good[NF_PLACE_HOME] = is_sealed(m, layout, running, crypto);
    if (!good[NF_PLACE_HOME] && is_apart) {
        seals_exchange(layout);
        good[NF_PLACE_HOME] = is_sealed(m, layout, running, crypto);
    }
    good[NF_PLACE_TARGET] = is_sealed(m, layout, running ^ 1u, crypto);
    if (!good[NF_PLACE_HOME] && !good[NF_PLACE_TARGET] && is_apart) {
        seals_exchange(layout);
        good[NF_PLACE_TARGET] = is_sealed(m, layout, running ^ 1u, crypto);
    }
    for (unsigned place = 0; place < 2 && !is_trial; place++)
        if (!good[place] && seal_drop(m, layout, running ^ place) != MP_OK)
            return MP_ERR_STORE;
    return MP_OK;
}

/* --- what happened since the last start --------------------------------------------------------------------------- */

/* The sealed image of a place, as far as a record names it. */
struct known {
    bool is_there;
    uint8_t id[8];
    uint32_t release;
    uint32_t counter;
};

static void known_get(struct nf_mcuboot *m, unsigned place, struct known *k)
{
    uint8_t data[MP_MANIFEST_SIZE];
    struct mp_manifest manifest;

    memset(k, 0, sizeof *k);
    if (nf_flash_storage.sealed(&m->store, place, data) != MP_OK ||
        mp_manifest_get(&manifest, data, sizeof data) != MP_OK)
        return;
    k->is_there = true;
    k->release = manifest.release;
    k->counter = manifest.security_counter;
    mp_manifest_id(m->store.crypto, data, k->id);
}

static int append(struct nf_mcuboot *m, struct boot_record *r)
{
    return boot_append(&m->flash, &m->store.layout, r);
}

/* Home runs, and nothing is to be told of an update. */
static int append_home(struct nf_mcuboot *m, struct boot_record *r, const struct known *home)
{
    r->state = BOOT_CONFIRMED;
    r->home = m->store.running;
    r->tries = r->flags = 0;
    r->reason = MP_REASON_NONE;
    r->release = home->release;
    memcpy(r->id, home->id, sizeof r->id);
    return append(m, r);
}

/* The update of the record became home. */
static int append_updated(struct nf_mcuboot *m, struct boot_record *r, uint32_t counter)
{
    r->state = BOOT_CONFIRMED;
    r->home = m->store.running;
    r->tries = 0;
    r->reason = MP_REASON_NONE;
    r->flags |= BOOT_FLAG_UPDATED;
    if (counter > r->floor)
        r->floor = counter;
    return append(m, r);
}

/* The update of the record was given up. */
static int append_given_up(struct nf_mcuboot *m, struct boot_record *r, enum mp_reason reason)
{
    r->state = BOOT_CONFIRMED;
    r->home = m->store.running;
    r->tries = 0;
    r->reason = (uint8_t)reason;
    return append(m, r);
}

static int append_trial(struct nf_mcuboot *m, struct boot_record *r, unsigned tries)
{
    r->state = BOOT_TRIAL;
    r->tries = (uint8_t)tries;
    return append(m, r);
}

static enum mp_reason first_of(enum mp_reason a, enum mp_reason b, enum mp_reason c)
{
    if (a != MP_REASON_NONE)
        return a;
    return b != MP_REASON_NONE ? b : c;
}

/* The update of the record runs. */
static int settle_new(struct nf_mcuboot *m, struct boot_record *r, const struct verdict *v, const struct known *home,
                      enum mp_reason cause)
{
    if (v->is_trial)
        return r->state == BOOT_TRIAL ? MP_OK : append_trial(m, r, 0);
    if (!is_overwriting(m))
        return append_updated(m, r, home->counter); /* confirmed, and cut before the record said so */
    /* Nothing goes back from here: it is tried as often as elsewhere, then it stays and the next update may come. */
    if (r->state == BOOT_PENDING)
        return append_trial(m, r, BOOT_TRIES - 1);
    if (cause != MP_REASON_NONE)
        r->reason = (uint8_t)cause;
    if (r->tries > 0)
        return append_trial(m, r, r->tries - 1u);
    return append_given_up(m, r, first_of((enum mp_reason)r->reason, MP_REASON_OTHER, MP_REASON_OTHER));
}

/* Home runs although the record asks for, or tries, an update. */
static int settle_old(struct nf_mcuboot *m, struct boot_record *r, const struct verdict *v, const struct known *home,
                      enum mp_reason cause)
{
    struct known target;

    known_get(m, NF_PLACE_TARGET, &target);
    bool is_there = target.is_there && memcmp(target.id, r->id, sizeof r->id) == 0;

    if (v->is_pending && r->state == BOOT_PENDING)
        return MP_OK; /* MCUboot did not run, or could not: whoever asks for the state withdraws it */
    if (r->state == BOOT_PENDING && r->tries == 0 && is_there)
        return append_home(m, r, home); /* cut before MCUboot was asked */
    return append_given_up(m, r,
                           first_of(cause, (enum mp_reason)r->reason,
                                    is_there || r->state == BOOT_TRIAL ? MP_REASON_OTHER : MP_REASON_BAD_IMAGE));
}

static int settle(struct nf_mcuboot *m, const struct verdict *v, enum boot_cause cause)
{
    struct boot_record r;
    struct known home;
    enum mp_reason reason = boot_cause_reason(cause);

    boot_read(&m->flash, &m->store.layout, &r);
    known_get(m, NF_PLACE_HOME, &home);
    bool is_new = home.is_there && memcmp(home.id, r.id, sizeof r.id) == 0;

    switch ((enum boot_state)r.state) {
    case BOOT_NONE:
        if (v->is_trial || v->is_pending)
            return MP_OK; /* somebody else's update; the next start sees how it ended */
        r.floor = home.counter;
        return append_home(m, &r, &home);
    case BOOT_CONFIRMED:
        if (v->is_trial || v->is_pending ||
            (r.home == m->store.running && (is_new || !home.is_there || r.reason != MP_REASON_NONE)))
            return MP_OK;
        return append_home(m, &r, &home); /* replaced by other means than this updater */
    case BOOT_PENDING:
    case BOOT_TRIAL:
        return is_new ? settle_new(m, &r, v, &home, reason) : settle_old(m, &r, v, &home, reason);
    }
    return MP_OK;
}

/* --- struct nf_storage: what differs ------------------------------------------------------------------------------ */

/* Somebody else asked MCUboot for an update: nothing may be erased or asked for until that ended. */
static bool is_foreign(const struct nf_mcuboot *m, const struct boot_record *r)
{
    struct verdict v;

    return r->state == BOOT_CONFIRMED && (verdict_get(m, m->store.running, &v) != MP_OK || v.is_trial || v.is_pending);
}

static int storage_boot_read(void *ctx, struct boot_record *r)
{
    struct nf_mcuboot *m = of(ctx);
    int error = boot_read(&m->flash, &m->store.layout, r);

    if (error != MP_OK || !is_foreign(m, r))
        return error;
    memset(r, 0, sizeof *r);
    return MP_ERR_ABSENT;
}

/* What lies around the payload in the other slot, and speaks of the image before: MCUboot's trailer, and in swap-offset
 * the header in the first sector, which it takes for an image that was put to the wrong place. */
static int surroundings_erase(const struct nf_mcuboot *m)
{
    const struct nf_mcuboot_area *slot = &m->map.slot[other(m)];
    uint32_t end = m->store.layout.slot[other(m)];
    int error = nf_mcuboot_trailer_erase(&m->map.shape, &m->flash, slot);

    for (uint32_t at = slot->address; error == MP_OK && at < end; at += m->flash.page_size)
        if (m->flash.erase(m->flash.ctx, at) != NF_FLASH_OK)
            error = MP_ERR_STORE;
    return error;
}

static int storage_open(void *ctx, const uint8_t manifest[MP_MANIFEST_SIZE])
{
    struct nf_mcuboot *m = of(ctx);
    struct boot_record r;

    if (storage_boot_read(ctx, &r) != MP_OK || r.state != BOOT_CONFIRMED)
        return MP_ERR_STATE;
    int error = nf_flash_storage.open(ctx, manifest);

    return error != MP_OK ? error : surroundings_erase(m);
}

static int read_payload(void *ctx, uint32_t offset, uint8_t *data, size_t len)
{
    return boot_image_read(ctx, offset, data, len);
}

/* Refuses what MCUboot would refuse after the reset, or what would lie differently after a swap. */
static int payload_check(struct nf_mcuboot *m, uint32_t counter)
{
    struct nf_mcuboot_image image;
    struct boot_image *payload = &m->store.slot[NF_PLACE_TARGET].image;
    int error = nf_mcuboot_image_get(&image, read_payload, payload, payload->manifest.image_size);

    if (error != MP_OK)
        return error;
    if ((image.flags & (FLAG_NON_BOOTABLE | FLAG_RAM_LOAD | FLAGS_ENCRYPTED | FLAGS_COMPRESSED)) != 0)
        return MP_ERR_UNSUPPORTED;
    return image.has_counter && image.counter != counter ? MP_ERR_COUNTER : MP_OK;
}

static int storage_boot_request(void *ctx, const uint8_t manifest[MP_MANIFEST_SIZE], uint16_t confirm_s, bool revert)
{
    struct nf_mcuboot *m = of(ctx);
    struct boot_record r, before;
    struct mp_manifest parsed;

    if (!m->store.slot[NF_PLACE_TARGET].sealed || storage_boot_read(ctx, &r) != MP_OK || r.state != BOOT_CONFIRMED)
        return MP_ERR_STATE;
    if (mp_manifest_get(&parsed, manifest, MP_MANIFEST_SIZE) != MP_OK)
        return MP_ERR_FORMAT;
    if (parsed.security_counter < r.floor)
        return MP_ERR_COUNTER;
    int error = payload_check(m, parsed.security_counter);

    if (error != MP_OK)
        return error;
    before = r;
    r.state = BOOT_PENDING;
    r.tries = 0;
    r.reason = MP_REASON_NONE;
    r.flags = revert ? BOOT_FLAG_REVERT : 0;
    r.confirm_s = confirm_s;
    r.release = parsed.release;
    mp_manifest_id(m->store.crypto, manifest, r.id);
    if (append(m, &r) != MP_OK)
        return MP_ERR_STORE;
    if (nf_mcuboot_set_pending(&m->map.shape, &m->flash, &m->map.slot[other(m)], false) != MP_OK) {
        /* What cannot be written may be erased; then the request never was. */
        if (nf_mcuboot_trailer_erase(&m->map.shape, &m->flash, &m->map.slot[other(m)]) == MP_OK)
            append(m, &before);
        return MP_ERR_STORE;
    }
    r.tries = 1;
    append(m, &r); /* without it a rollback is only known less well */
    return MP_OK;
}

static int storage_boot_confirm(void *ctx, uint32_t security_counter)
{
    struct nf_mcuboot *m = of(ctx);
    struct boot_record r;

    if (boot_read(&m->flash, &m->store.layout, &r) != MP_OK || r.state != BOOT_TRIAL)
        return MP_ERR_STATE;
    if (!is_overwriting(m) &&
        nf_mcuboot_set_confirmed(&m->map.shape, &m->flash, &m->map.slot[m->store.running]) != MP_OK)
        return MP_ERR_STORE;
    return append_updated(m, &r, security_counter);
}

static int storage_boot_abort(void *ctx, enum mp_reason reason)
{
    struct nf_mcuboot *m = of(ctx);
    struct boot_record r;

    if (boot_read(&m->flash, &m->store.layout, &r) != MP_OK || (r.state != BOOT_PENDING && r.state != BOOT_TRIAL))
        return MP_ERR_STATE;
    if (r.state == BOOT_TRIAL) {
        r.reason = (uint8_t)reason; /* MCUboot goes back by itself */
        return append_trial(m, &r, 0);
    }
    if (nf_mcuboot_trailer_erase(&m->map.shape, &m->flash, &m->map.slot[other(m)]) != MP_OK)
        return MP_ERR_STORE;
    return append_given_up(m, &r, reason);
}

int nf_mcuboot_note(struct nf_mcuboot *m, enum boot_cause cause)
{
    struct boot_record r;
    enum mp_reason reason = boot_cause_reason(cause);

    if (boot_read(&m->flash, &m->store.layout, &r) != MP_OK || r.state != BOOT_TRIAL || reason == MP_REASON_NONE)
        return MP_OK;
    r.reason = (uint8_t)reason;
    return append(m, &r);
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

/* What an earlier fetch left to do in the other slot is history once its image runs, and forbidden while the image
 * there may be the only way back. */
static int fetch_forget(const struct nf_mcuboot *m, const struct nf_layout *layout, unsigned running,
                        const struct verdict *v)
{
    uint8_t manifest[MP_MANIFEST_SIZE];
    struct boot_record r;

    boot_read(&m->flash, layout, &r);
    if (v->is_trial || v->is_pending || r.state == BOOT_PENDING || r.state == BOOT_TRIAL)
        return nf_store_forget(&m->flash, layout, NULL);
    if (boot_image_seal(&m->flash, layout, running, manifest) != MP_OK)
        return MP_OK;
    return nf_store_forget(&m->flash, layout, manifest);
}

int nf_mcuboot_init(struct nf_mcuboot *m, const struct nf_flash *flash, const struct nf_mcuboot_map *map,
                    const struct mp_crypto *crypto, unsigned running, enum boot_cause cause, uint8_t *memory,
                    size_t size)
{
    struct nf_layout layout;
    struct verdict v;
    bool good[2] = {false, false};
    int error = nf_mcuboot_layout(&layout, map, flash);

    m->flash = *flash;
    m->map = *map;
    if (error == MP_OK && (running > 1 || (running == 1 && map->shape.mode != NF_MCUBOOT_XIP_REVERT)))
        error = MP_ERR_FORMAT;
    if (error == MP_OK)
        error = verdict_get(m, running, &v);
    if (error == MP_OK)
        error = seals_find(m, &layout, running, v.is_trial, crypto, good);
    if (error == MP_OK)
        error = fetch_forget(m, &layout, running, &v);
    if (error == MP_OK)
        error = nf_store_init(&m->store, flash, &layout, crypto, running, memory, size);
    if (error != MP_OK)
        return error;
    for (unsigned place = 0; place < 2; place++)
        if (!good[place] && m->store.slot[place].sealed)
            nf_slot_close(&m->store.slot[place]);
    m->storage = nf_flash_storage;
    m->storage.open = storage_open;
    m->storage.boot_read = storage_boot_read;
    m->storage.boot_request = storage_boot_request;
    m->storage.boot_confirm = storage_boot_confirm;
    m->storage.boot_abort = storage_boot_abort;
    /* An open() that was cut may not have come to it. */
    if (m->store.work == NF_WORK_ERASE)
        error = surroundings_erase(m);
    return error == MP_OK ? settle(m, &v, cause) : error;
}
