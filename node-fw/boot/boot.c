#include "boot.h"

#include <string.h>

#include "proto/mp_wire.h"
#include "proto/object/settings.h"

/*
 * States: NONE (no valid record: a new part, or both pages lost), CONFIRMED (home runs), PENDING (home runs and asked
 * for a trial of the other slot), TRIAL (the other slot runs on probation). There are no timers: time passes in boots.
 * The application moves CONFIRMED to PENDING and TRIAL to CONFIRMED; everything else is the table's, at a reset.
 */

enum { FORMAT = 1, CRC_AT = BOOT_RECORD_SIZE - 4, PAGES = 2, CELLS_TRIED = 2 };

/* --- the record --------------------------------------------------------------------------------------------------- */

void boot_record_put(uint8_t out[BOOT_RECORD_SIZE], const struct boot_record *r)
{
    mp_put32(out, r->sequence);
    out[4] = (uint8_t)(FORMAT << 4 | r->state);
    out[5] = (uint8_t)(r->home << 7 | r->tries);
    out[6] = r->reason;
    out[7] = r->flags;
    mp_put32(out + 8, r->floor);
    mp_put32(out + 12, r->release);
    memcpy(out + 16, r->id, 8);
    mp_put16(out + 24, r->confirm_s);
    mp_put16(out + 26, 0);
    mp_put32(out + CRC_AT, mp_crc32(out, CRC_AT));
}

int boot_record_get(struct boot_record *r, const uint8_t data[BOOT_RECORD_SIZE])
{
    /* The cheap checks come first: nearly all cells of a young page are blank. */
    if (data[4] >> 4 != FORMAT || mp_get32(data + CRC_AT) != mp_crc32(data, CRC_AT))
        return MP_ERR_FORMAT;
    r->sequence = mp_get32(data);
    r->state = data[4] & 0x0F;
    r->home = data[5] >> 7;
    r->tries = data[5] & 0x7F;
    r->reason = data[6];
    r->flags = data[7];
    r->floor = mp_get32(data + 8);
    r->release = mp_get32(data + 12);
    memcpy(r->id, data + 16, 8);
    r->confirm_s = mp_get16(data + 24);
    if (r->sequence == 0 || r->state < BOOT_CONFIRMED || r->state > BOOT_TRIAL || r->reason >= MP_REASON_COUNT ||
        r->tries >= BOOT_TRIES || mp_get16(data + 26) != 0)
        return MP_ERR_FORMAT;
    return MP_OK;
}

/* Where the newest record lies, and the first cell behind everything in its page. */
struct cursor {
    struct boot_record newest; /* state BOOT_NONE: none */
    unsigned page;
    uint32_t free_cell; /* of that page; the number of cells when it is full */
};

static int scan(const struct nf_flash *flash, const struct nf_layout *layout, struct cursor *c)
{
    uint32_t cells = flash->page_size / BOOT_RECORD_SIZE;

    memset(c, 0, sizeof *c);
    for (unsigned page = 0; page < PAGES; page++) {
        uint32_t used = 0;
        bool is_newest = false;

        /* The newest comes first; what is older needs no CRC then. */
        for (uint32_t cell = cells; cell-- > 0;) {
            uint8_t data[BOOT_RECORD_SIZE];
            struct boot_record r;
            uint32_t at = layout->boot_record + page * flash->page_size + cell * BOOT_RECORD_SIZE;
            bool is_read = flash->read(flash->ctx, at, data, sizeof data) == NF_FLASH_OK;

            if (is_read && nf_flash_is_blank(flash, at, data, sizeof data))
                continue;
            if (used == 0)
                used = cell + 1;
            if (!is_read || mp_get32(data) <= c->newest.sequence || boot_record_get(&r, data) != MP_OK)
                continue;
            c->newest = r;
            c->page = page;
            is_newest = true;
        }
        if (is_newest)
            c->free_cell = used;
    }
    return c->newest.state == BOOT_NONE ? MP_ERR_ABSENT : MP_OK;
}

int boot_read(const struct nf_flash *flash, const struct nf_layout *layout, struct boot_record *r)
{
    struct cursor c;
    int error = scan(flash, layout, &c);

    *r = c.newest;
    return error;
}

/* Programs a record into a cell and reads it back. */
static int cell_program(const struct nf_flash *flash, const struct nf_layout *layout, unsigned page, uint32_t cell,
                        const uint8_t data[BOOT_RECORD_SIZE])
{
    uint8_t back[BOOT_RECORD_SIZE];
    uint32_t at = layout->boot_record + page * flash->page_size + cell * BOOT_RECORD_SIZE;

    if (flash->program(flash->ctx, at, data, BOOT_RECORD_SIZE) != NF_FLASH_OK ||
        flash->read(flash->ctx, at, back, sizeof back) != NF_FLASH_OK || memcmp(data, back, sizeof back) != 0)
        return MP_ERR_STORE;
    return MP_OK;
}

int boot_append(const struct nf_flash *flash, const struct nf_layout *layout, struct boot_record *r)
{
    struct cursor c;
    uint8_t data[BOOT_RECORD_SIZE];
    bool has_page = scan(flash, layout, &c) == MP_OK;
    uint32_t end = flash->page_size / BOOT_RECORD_SIZE;

    r->sequence = c.newest.sequence + 1;
    boot_record_put(data, r);
    /*
     * A blank cell behind the newest record can be trusted to be erased: its page was erased as a whole before that
     * record came. A cut append may have touched it all the same, so the next cell has its chance, too. The other page
     * can never be trusted, whatever it looks like: an erase of it may have been cut.
     */
    for (uint32_t cell = c.free_cell; has_page && cell < end && cell < c.free_cell + CELLS_TRIED; cell++)
        if (cell_program(flash, layout, c.page, cell, data) == MP_OK)
            return MP_OK;
    if (has_page)
        c.page ^= 1;
    if (flash->erase(flash->ctx, layout->boot_record + c.page * flash->page_size) != NF_FLASH_OK)
        return MP_ERR_STORE;
    return cell_program(flash, layout, c.page, 0, data);
}

/* --- the decision ------------------------------------------------------------------------------------------------- */

enum { ANY = 1, HOME = 2, OTHER = 4, TARGET = 8, LEFT = 16 }; /* conditions */
enum { S_NONE = 1 << BOOT_NONE, S_CONFIRMED = 1 << BOOT_CONFIRMED, S_PENDING = 1 << BOOT_PENDING };
enum { S_TRIAL = 1 << BOOT_TRIAL, S_UPDATE = S_PENDING | S_TRIAL, S_ALL = S_NONE | S_CONFIRMED | S_UPDATE };

/* The first row whose state fits, whose `need` all hold and whose `deny` do not (docs/SPEC.md section 12). */
static const struct {
    uint8_t states;
    uint8_t need;
    uint8_t deny;
    struct boot_rule rule;
} table[] = {
    {S_NONE, ANY, 0, {1, BOOT_APPEND_FIRST, BOOT_TARGET_BEST}},
    {S_CONFIRMED, HOME, 0, {2, BOOT_APPEND_NOTHING, BOOT_TARGET_HOME}},
    {S_CONFIRMED, OTHER, HOME, {3, BOOT_APPEND_OTHER, BOOT_TARGET_OTHER}},
    {S_UPDATE, OTHER, HOME, {4, BOOT_APPEND_OTHER, BOOT_TARGET_OTHER}},
    {S_PENDING, HOME | TARGET, 0, {5, BOOT_APPEND_TRIAL_FIRST, BOOT_TARGET_OTHER}},
    {S_TRIAL, HOME | TARGET | LEFT, 0, {6, BOOT_APPEND_TRIAL_NEXT, BOOT_TARGET_OTHER}},
    {S_TRIAL, HOME, LEFT, {7, BOOT_APPEND_ROLLED_BACK, BOOT_TARGET_HOME}},
    {S_UPDATE, HOME, TARGET, {8, BOOT_APPEND_BAD_IMAGE, BOOT_TARGET_HOME}},
    {S_ALL, 0, 0, {9, BOOT_APPEND_NOTHING, BOOT_TARGET_RECOVERY}},
};

const struct boot_rule *boot_decide(enum boot_state state, unsigned tries, const struct boot_facts *facts)
{
    unsigned have = (facts->home ? ANY | HOME : 0u) | (facts->other ? ANY | OTHER : 0u) |
                    (facts->other && facts->target ? TARGET : 0u) | (tries > 0 ? LEFT : 0u);
    size_t i = 0;

    /* The last row fits everything. */
    while ((table[i].states >> state & 1) == 0 || (have & table[i].need) != table[i].need ||
           (have & table[i].deny) != 0)
        i++;
    return &table[i].rule;
}

enum mp_reason boot_cause_reason(enum boot_cause cause)
{
    switch (cause) {
    case BOOT_CAUSE_REQUEST:
    case BOOT_CAUSE_POWER:
        return MP_REASON_NONE;
    case BOOT_CAUSE_SELFTEST:
        return MP_REASON_SELFTEST;
    case BOOT_CAUSE_MUTE:
        return MP_REASON_MUTE;
    case BOOT_CAUSE_STORAGE:
        return MP_REASON_STORAGE;
    case BOOT_CAUSE_CRASH:
        return MP_REASON_CRASHED;
    case BOOT_CAUSE_WATCHDOG:
        return MP_REASON_WATCHDOG;
    }
    return MP_REASON_OTHER;
}

enum boot_cause boot_cause_from_exit(int status)
{
    if (status == BOOT_CAUSE_REQUEST)
        return BOOT_CAUSE_REQUEST;
    if (status < BOOT_CAUSE_POWER || status > BOOT_CAUSE_WATCHDOG)
        return BOOT_CAUSE_CRASH;
    return (enum boot_cause)status;
}

/* A slot as boot_select() sees it. */
struct candidate {
    uint32_t release;
    uint32_t security_counter;
    uint8_t id[8];
    bool good; /* it verifies, and the fields above are its */
};

static MP_APART void examine(const struct boot_env *env, unsigned slot, uint32_t floor, struct candidate *c)
{
    struct boot_image image;

    c->good = false;
    if (boot_image_open(&image, env->flash, env->layout, slot, env->crypto, NULL) != MP_OK ||
        image.manifest.security_counter < floor)
        return;
    c->release = image.manifest.release;
    c->security_counter = image.manifest.security_counter;
    memcpy(c->id, image.id, sizeof c->id);
    c->good =
        (env->verify != NULL ? env->verify(env->ctx, slot, &image) : boot_image_verify(&image, env->crypto)) == MP_OK;
}

/* May the image of this id in a slot be booted for the first time? */
static MP_APART bool is_accepted(const struct boot_env *env, unsigned slot, const uint8_t id[8])
{
    uint8_t manifest[MP_MANIFEST_SIZE], own[8];

    if (env->accept == NULL)
        return true;
    if (boot_image_seal(env->flash, env->layout, slot, manifest) != MP_OK)
        return false;
    mp_manifest_id(env->crypto, manifest, own);
    return memcmp(own, id, sizeof own) == 0 && env->accept(env->ctx, manifest) == MP_OK;
}

/* Names the image of a slot in a record. */
static void name_image(struct boot_record *r, const struct candidate *c)
{
    r->release = c->release;
    memcpy(r->id, c->id, sizeof r->id);
}

/* No record is left: the highest release that verifies becomes home. The floor starts at the lowest counter among those
 * that verify, so that neither is shut out. */
static void first_record(struct boot_record *r, const struct candidate c[2])
{
    memset(r, 0, sizeof *r);
    r->state = BOOT_CONFIRMED;
    r->home = c[1].good && (!c[0].good || c[1].release > c[0].release);
    r->floor = c[r->home].security_counter;
    if (c[0].good && c[1].good && c[r->home ^ 1].security_counter < r->floor)
        r->floor = c[r->home ^ 1].security_counter;
    name_image(r, &c[r->home]);
}

/* The record that a rule appends, from the one in force. */
static void next_record(struct boot_record *r, enum boot_append_kind append, enum mp_reason cause,
                        const struct candidate c[2])
{
    switch (append) {
    case BOOT_APPEND_NOTHING:
        break;
    case BOOT_APPEND_FIRST:
        first_record(r, c);
        break;
    case BOOT_APPEND_OTHER:
        r->state = BOOT_CONFIRMED;
        r->home ^= 1;
        r->tries = 0;
        r->reason = MP_REASON_CORRUPT_HOME;
        r->flags = 0;
        name_image(r, &c[r->home]);
        break;
    case BOOT_APPEND_TRIAL_FIRST:
        r->state = BOOT_TRIAL;
        r->tries = BOOT_TRIES - 1;
        r->reason = MP_REASON_NONE;
        break;
    case BOOT_APPEND_TRIAL_NEXT:
        r->tries--;
        if (cause != MP_REASON_NONE)
            r->reason = (uint8_t)cause;
        break;
    case BOOT_APPEND_ROLLED_BACK:
        r->state = BOOT_CONFIRMED;
        if (cause != MP_REASON_NONE)
            r->reason = (uint8_t)cause;
        if (r->reason == MP_REASON_NONE)
            r->reason = MP_REASON_OTHER; /* every trial boot ended by power loss */
        break;
    case BOOT_APPEND_BAD_IMAGE:
        r->state = BOOT_CONFIRMED;
        r->tries = 0;
        r->reason = MP_REASON_BAD_IMAGE;
        break;
    }
}

static int target_slot(enum boot_target target, unsigned home, unsigned best)
{
    switch (target) {
    case BOOT_TARGET_HOME:
        return (int)home;
    case BOOT_TARGET_OTHER:
        return (int)(home ^ 1);
    case BOOT_TARGET_BEST:
        return (int)best;
    case BOOT_TARGET_RECOVERY:
        break;
    }
    return -1;
}

/* Looks at the slots as far as the state needs it: hashing an image takes time. */
static struct boot_facts gather(const struct boot_env *env, const struct boot_record *r, struct candidate c[2])
{
    struct boot_facts facts = {false, false, false};
    struct candidate *other = &c[r->home ^ 1];
    bool is_update = r->state == BOOT_PENDING || r->state == BOOT_TRIAL;
    bool is_trying = r->state == BOOT_PENDING || (r->state == BOOT_TRIAL && r->tries > 0);

    c[0].good = c[1].good = false;
    examine(env, r->home, r->floor, &c[r->home]);
    facts.home = c[r->home].good;
    if (facts.home && r->state != BOOT_NONE && !is_trying)
        return facts;
    examine(env, r->home ^ 1u, r->floor, other);
    facts.other = other->good;
    facts.target = is_update && other->good && memcmp(other->id, r->id, sizeof r->id) == 0;
    if (facts.target && r->state == BOOT_PENDING)
        facts.target = is_accepted(env, r->home ^ 1u, other->id);
    return facts;
}

void boot_select(const struct boot_env *env, enum boot_cause cause, struct boot_choice *choice)
{
    struct candidate c[2];
    struct boot_record r;
    struct boot_facts facts;

    boot_read(env->flash, env->layout, &r);
    choice->record = r;
    facts = gather(env, &r, c);

    const struct boot_rule *rule = boot_decide((enum boot_state)r.state, r.tries, &facts);
    unsigned home = r.home;

    next_record(&r, (enum boot_append_kind)rule->append, boot_cause_reason(cause), c);
    choice->row = rule->row;
    choice->slot = target_slot((enum boot_target)rule->target, home, r.home);
    choice->appended = rule->append != BOOT_APPEND_NOTHING && boot_append(env->flash, env->layout, &r) == MP_OK;
    if (choice->appended)
        choice->record = r;
    else if (rule->append == BOOT_APPEND_TRIAL_FIRST || rule->append == BOOT_APPEND_TRIAL_NEXT)
        choice->slot = (int)home; /* a trial boot that is not counted could go on for ever */
}

/* --- application side --------------------------------------------------------------------------------------------- */

int boot_request(const struct nf_flash *flash, const struct nf_layout *layout, const struct mp_crypto *crypto,
                 const uint8_t manifest[MP_MANIFEST_SIZE], uint16_t confirm_s, bool revert)
{
    struct boot_record r;
    struct mp_manifest m;

    if (boot_read(flash, layout, &r) != MP_OK || r.state != BOOT_CONFIRMED)
        return MP_ERR_STATE;
    if (mp_manifest_get(&m, manifest, MP_MANIFEST_SIZE) != MP_OK)
        return MP_ERR_FORMAT;
    if (m.security_counter < r.floor)
        return MP_ERR_COUNTER;
    r.state = BOOT_PENDING;
    r.tries = 0;
    r.reason = MP_REASON_NONE;
    r.flags = revert ? BOOT_FLAG_REVERT : 0;
    r.confirm_s = confirm_s;
    r.release = m.release;
    mp_manifest_id(crypto, manifest, r.id);
    return boot_append(flash, layout, &r);
}

int boot_confirm(const struct nf_flash *flash, const struct nf_layout *layout, uint32_t security_counter)
{
    struct boot_record r;

    if (boot_read(flash, layout, &r) != MP_OK || r.state != BOOT_TRIAL)
        return MP_ERR_STATE;
    r.state = BOOT_CONFIRMED;
    r.home ^= 1;
    r.tries = 0;
    r.reason = MP_REASON_NONE;
    r.flags |= BOOT_FLAG_UPDATED;
    if (security_counter > r.floor)
        r.floor = security_counter;
    return boot_append(flash, layout, &r);
}

int boot_abort(const struct nf_flash *flash, const struct nf_layout *layout, enum mp_reason reason)
{
    struct boot_record r;

    if (boot_read(flash, layout, &r) != MP_OK || (r.state != BOOT_PENDING && r.state != BOOT_TRIAL))
        return MP_ERR_STATE;
    if (r.state == BOOT_PENDING)
        r.state = BOOT_CONFIRMED;
    r.tries = 0;
    r.reason = (uint8_t)reason;
    return boot_append(flash, layout, &r);
}
