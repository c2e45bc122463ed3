#include "recover.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/mp_wire.h"
#include "proto/object/manifest.h"
#include "proto/object/settings.h"

/*
 * Steps follow each other as they are listed in the header, those that the plan does not want are left out. There is
 * one timer: the deadline of the request at hand. When it passes, the line is filled up with zeros, so that a part that
 * waits for the rest of a frame gets it, and the request is sent again; every request may be repeated. A part that lost
 * track (reset, or another host) answers with an error that leads back to BEGIN, a bounded number of times.
 */

enum { TRIES_MIN = 8, SETBACKS_MAX = 16 };
enum { REPLY = 0x80, HEAD = BOOT_RECOVERY_HEAD, FILLER = BOOT_RECOVERY_FRAME_MAX };
/* How long an answer may take: a piece (an erase and some writes), one that erases many pages or checks a signature,
 * one that hashes an image, and one to HELLO, which is asked until somebody is there. */
enum { PIECE_MS = 1000, WORK_MS = 4000, HASH_MS = 20000, HELLO_MS = 1000, RESET_MS = 500 };

/* --- what a part says ---------------------------------------------------------------------------------------------- */

struct range {
    uint32_t start, size;
};

static bool is_disjoint(const struct range *list, unsigned count, uint32_t flash_size, uint32_t page)
{
    for (unsigned i = 0; i < count; i++) {
        if (list[i].start % page != 0 || list[i].size % page != 0 || list[i].size == 0 || list[i].size > flash_size ||
            list[i].start > flash_size - list[i].size)
            return false;
        for (unsigned k = 0; k < i; k++)
            if (list[i].start < list[k].start + list[k].size && list[k].start < list[i].start + list[i].size)
                return false;
    }
    return true;
}

bool md_layout_is_sound(const struct nf_layout *l, uint32_t flash_size, uint32_t page)
{
    struct range list[7] = {{l->boot_record, 2 * page}, {l->settings, page},        {l->objects, l->objects_size},
                            {l->slot[0], l->slot_size}, {l->slot[1], l->slot_size}, {l->seal[0], page},
                            {l->seal[1], page}};

    if (page < 256 || page > 65536 || (page & (page - 1)) != 0 || flash_size < 8 * page || flash_size % page != 0 ||
        flash_size > 0x40000000 || l->objects_size / page < 4 || l->slot_size / page < 2)
        return false;
    return is_disjoint(list, l->seal[0] == l->seal[1] ? 5 : 7, flash_size, page);
}

static bool is_zero(const uint8_t *data, size_t len)
{
    uint8_t any = 0;

    for (size_t i = 0; i < len; i++)
        any |= data[i];
    return any == 0;
}

int md_part_info_get(struct md_part_info *info, const uint8_t *data, size_t len)
{
    uint32_t word[11];
    struct nf_layout *l = &info->layout;

    memset(info, 0, sizeof *info);
    if (len < 2)
        return MP_ERR_LENGTH;
    if (data[1] != BOOT_RECOVERY_VERSION)
        return MP_ERR_UNSUPPORTED;
    if (len != BOOT_RECOVERY_HELLO_SIZE)
        return MP_ERR_LENGTH;
    info->granule = data[2];
    info->write_once = (data[3] & BOOT_RECOVERY_FLAG_WRITE_ONCE) != 0;
    info->has_settings = (data[3] & BOOT_RECOVERY_FLAG_SETTINGS) != 0;
    memcpy(info->number, data + 4, sizeof info->number);
    info->boot_version = mp_get32(data + 12);
    info->flash_size = mp_get32(data + 16);
    info->page_size = mp_get32(data + 20);
    for (unsigned i = 0; i < 11; i++)
        word[i] = mp_get32(data + 24 + 4 * i);
    *l = (struct nf_layout){.boot_record = word[0],
                            .settings = word[1],
                            .objects = word[2],
                            .objects_size = word[3],
                            .slot = {word[4], word[5]},
                            .slot_size = word[6],
                            .slot_base = {word[7], word[8]},
                            .seal = {word[9], word[10]}};
    for (unsigned slot = 0; slot < 2; slot++) {
        memcpy(info->sealed[slot], data + 68 + 8 * slot, 8);
        info->is_sealed[slot] = !is_zero(info->sealed[slot], 8);
    }
    info->node = mp_get32(data + 84);
    info->has_record = !is_zero(data + 88, BOOT_RECORD_SIZE);
    if (info->has_record && boot_record_get(&info->record, data + 88) != MP_OK)
        return MP_ERR_FORMAT;
    if (info->granule == 0 || info->page_size % info->granule != 0 ||
        !md_layout_is_sound(l, info->flash_size, info->page_size))
        return MP_ERR_FORMAT;
    return MP_OK;
}

/* --- steps --------------------------------------------------------------------------------------------------------- */

static void fail(struct md_recover *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct md_recover *r, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(r->error, sizeof r->error, format, args);
    va_end(args);
    r->state = MD_RECOVER_FAILED;
    r->out_len = r->out_at = 0;
    r->deadline = MP_NEVER;
}

static void refuse(struct md_recover *r, const char *what, int status)
{
    fail(r, "the part refuses %s: %s", what, mp_strerror(status));
    r->is_failure_refusal = true;
}

static unsigned type_of(enum md_recover_step step)
{
    switch (step) {
    case MD_RECOVER_HELLO:
    case MD_RECOVER_ERASED:
    case MD_RECOVER_SETTLED:
    case MD_RECOVER_CHECK:
        return BOOT_RECOVERY_HELLO;
    case MD_RECOVER_ERASE:
        return BOOT_RECOVERY_ERASE;
    case MD_RECOVER_SETTINGS:
        return BOOT_RECOVERY_SETTINGS;
    case MD_RECOVER_BEGIN:
        return BOOT_RECOVERY_BEGIN;
    case MD_RECOVER_DATA:
        return BOOT_RECOVERY_DATA;
    case MD_RECOVER_FINISH:
        return BOOT_RECOVERY_FINISH;
    case MD_RECOVER_RESET:
        return BOOT_RECOVERY_RESET;
    case MD_RECOVER_END:
        break;
    }
    return 0;
}

static mp_time timeout_of(enum md_recover_step step)
{
    switch (step) {
    case MD_RECOVER_HELLO:
    case MD_RECOVER_ERASED:
    case MD_RECOVER_SETTLED:
    case MD_RECOVER_CHECK:
        return MP_MS(HELLO_MS);
    case MD_RECOVER_ERASE:
    case MD_RECOVER_SETTINGS:
    case MD_RECOVER_BEGIN:
        return MP_MS(WORK_MS);
    case MD_RECOVER_DATA:
        return MP_MS(PIECE_MS);
    case MD_RECOVER_FINISH:
        return MP_MS(HASH_MS);
    case MD_RECOVER_RESET:
    case MD_RECOVER_END:
        break;
    }
    return MP_MS(RESET_MS);
}

/* Position in the tree of the piece that comes next. */
static uint32_t position_of(const struct md_recover *r)
{
    return (r->piece + r->tree.first[0]) % r->tree.positions;
}

/* Payload of the request at hand. */
static size_t put_payload(const struct md_recover *r, uint8_t *out)
{
    const struct md_recover_plan *plan = r->plan;
    uint32_t position;
    size_t len;

    switch ((enum md_recover_step)r->step) {
    case MD_RECOVER_ERASE:
        mp_put32(out, BOOT_RECOVERY_ERASE_WORD);
        return 4;
    case MD_RECOVER_SETTINGS:
        memcpy(out, plan->settings, MP_SETTINGS_SIZE);
        return MP_SETTINGS_SIZE;
    case MD_RECOVER_BEGIN:
        out[0] = (uint8_t)r->slot;
        memcpy(out + 1, plan->manifest, MP_MANIFEST_SIZE);
        return 1 + MP_MANIFEST_SIZE;
    case MD_RECOVER_DATA:
        position = position_of(r);
        len = mp_tree_length(&r->tree, position);
        mp_put32(out, r->piece);
        memcpy(out + 4,
               r->piece < r->tree.count[0] ? plan->payload + (size_t)r->piece * MP_CHUNK_SIZE
                                           : plan->tree + (size_t)position * MP_CHUNK_SIZE,
               len);
        return 4 + len;
    case MD_RECOVER_HELLO:
    case MD_RECOVER_ERASED:
    case MD_RECOVER_SETTLED:
    case MD_RECOVER_FINISH:
    case MD_RECOVER_CHECK:
    case MD_RECOVER_RESET:
    case MD_RECOVER_END:
        break;
    }
    return 0;
}

/* Makes the request of this step ready; behind filler unless the line is known to be clean. */
static void ask(struct md_recover *r, mp_time now)
{
    size_t at = r->tries > 0 || r->step == MD_RECOVER_HELLO ? FILLER : 0;
    uint8_t *frame = r->out + at;
    size_t len;

    memset(r->out, 0, at);
    frame[0] = BOOT_RECOVERY_MAGIC;
    frame[1] = (uint8_t)type_of((enum md_recover_step)r->step);
    len = put_payload(r, frame + HEAD);
    mp_put16(frame + 2, (uint32_t)len);
    mp_put32(frame + HEAD + len, mp_crc32(frame, HEAD + len));
    r->out_at = 0;
    r->out_len = (uint16_t)(at + HEAD + len + 4);
    r->used = 0;
    r->asked = now;
    r->deadline = now + timeout_of((enum md_recover_step)r->step);
}

static void enter(struct md_recover *r, mp_time now, enum md_recover_step step)
{
    r->step = (uint8_t)step;
    r->tries = 0;
    if (step == MD_RECOVER_END) {
        r->state = MD_RECOVER_DONE;
        r->out_len = r->out_at = 0;
        r->deadline = MP_NEVER;
        return;
    }
    ask(r, now);
}

/* The part is not where it should be: from an earlier step again, if it may still be hoped for. */
static void set_back(struct md_recover *r, mp_time now, enum md_recover_step step, const char *why)
{
    if (++r->setbacks > SETBACKS_MAX) {
        fail(r, "given up after %u setbacks, the last one: %s", r->setbacks - 1, why);
        return;
    }
    enter(r, now, step);
}

static bool is_installed(const struct md_recover *r)
{
    const struct md_part_info *i = &r->info;
    const uint8_t *id = r->plan->id;

    return i->has_record && i->record.state == BOOT_CONFIRMED && i->is_sealed[i->record.home] &&
           memcmp(i->sealed[i->record.home], id, 8) == 0 && memcmp(i->record.id, id, 8) == 0 &&
           (r->plan->slot < 0 || r->plan->slot == i->record.home);
}

/* The slot that is not booted now, so that a run that ends half way takes nothing away. */
static unsigned choose_slot(const struct md_recover *r)
{
    const struct md_part_info *i = &r->info;

    if (r->plan->slot >= 0)
        return (unsigned)r->plan->slot & 1;
    return i->has_record && i->is_sealed[i->record.home] ? i->record.home ^ 1u : 0;
}

static void enter_reset(struct md_recover *r, mp_time now)
{
    enter(r, now, r->plan->reset ? MD_RECOVER_RESET : MD_RECOVER_END);
}

static void enter_image(struct md_recover *r, mp_time now)
{
    if (r->plan->manifest == NULL) {
        enter_reset(r, now);
        return;
    }
    if (!r->info.has_settings) {
        fail(r, "the part has no settings yet, so it takes no image");
        r->is_failure_refusal = true;
        return;
    }
    r->was_there = is_installed(r);
    if (r->was_there) {
        enter_reset(r, now);
        return;
    }
    r->slot = choose_slot(r);
    enter(r, now, MD_RECOVER_BEGIN);
}

static void enter_settings(struct md_recover *r, mp_time now)
{
    uint32_t node = r->plan->settings != NULL ? mp_get32(r->plan->settings + 8) : 0;

    if (r->plan->settings == NULL || (r->info.has_settings && r->info.node == node)) {
        enter_image(r, now);
    } else if (r->info.has_settings) {
        fail(r, "the part has settings already, of node %u; only erasing it takes them away", (unsigned)r->info.node);
        r->is_failure_refusal = true;
    } else {
        enter(r, now, MD_RECOVER_SETTINGS);
    }
}

/* What HELLO said, at each of the places where it is asked. */
static void on_info(struct md_recover *r, mp_time now, const uint8_t *data, size_t len)
{
    int error = md_part_info_get(&r->info, data, len);
    bool is_blank = !r->info.has_settings && !r->info.is_sealed[0] && !r->info.is_sealed[1] && !r->info.has_record;

    r->has_info = error == MP_OK;
    if (error == MP_ERR_UNSUPPORTED) {
        fail(r, "the part speaks version %u of the recovery protocol, this tool version %u", len > 1 ? data[1] : 0u,
             (unsigned)BOOT_RECOVERY_VERSION);
    } else if (error != MP_OK) {
        fail(r, "the part describes itself in a way that cannot be");
    } else if (r->step == MD_RECOVER_HELLO) {
        if (r->plan->erase && !r->is_erased && !is_blank)
            enter(r, now, MD_RECOVER_ERASE);
        else
            enter_settings(r, now);
    } else if (r->step == MD_RECOVER_ERASED) {
        r->is_erased = is_blank; /* once is enough: what comes now must stay */
        if (is_blank)
            enter_settings(r, now);
        else
            set_back(r, now, MD_RECOVER_ERASE, "it is not blank after it was erased");
    } else if (r->step == MD_RECOVER_SETTLED) {
        if (r->info.has_settings && r->info.node == mp_get32(r->plan->settings + 8))
            enter_image(r, now);
        else
            set_back(r, now, MD_RECOVER_HELLO, "it does not hold the settings it was given");
    } else if (is_installed(r)) {
        enter_reset(r, now);
    } else {
        set_back(r, now, MD_RECOVER_BEGIN, "it does not hold the image it was given");
    }
}

/* --- answers ------------------------------------------------------------------------------------------------------- */

static void go_on(struct md_recover *r, mp_time now, uint32_t piece)
{
    r->piece = piece;
    enter(r, now, r->piece < r->pieces ? MD_RECOVER_DATA : MD_RECOVER_FINISH);
}

static void on_begin(struct md_recover *r, mp_time now, int status, uint32_t next)
{
    if (status != MP_OK)
        refuse(r, "the image", status);
    else if (next > r->tree.positions)
        fail(r, "the part says that it holds more of the image than there is");
    else
        go_on(r, now, next);
}

static void on_data(struct md_recover *r, mp_time now, int status, uint32_t next)
{
    if (status == MP_OK && next == r->piece + 1)
        go_on(r, now, next);
    else if (status == MP_ERR_STATE || status == MP_ERR_GAP || status == MP_ERR_STORE)
        set_back(r, now, MD_RECOVER_BEGIN,
                 status == MP_ERR_STORE ? "its flash failed" : "it was not waiting for this piece");
    else if (status != MP_OK)
        refuse(r, "a piece of the image", status);
    /* else an answer to an earlier piece, which came late */
}

static void on_finish(struct md_recover *r, mp_time now, int status)
{
    if (status == MP_OK)
        enter(r, now, MD_RECOVER_CHECK);
    else if (status == MP_ERR_STATE || status == MP_ERR_CHUNK || status == MP_ERR_STORE)
        set_back(r, now, MD_RECOVER_HELLO, mp_strerror(status));
    else
        refuse(r, "the whole image", status);
}

/* payload: of a reply to the request at hand; its first byte is the status. */
static void on_reply(struct md_recover *r, mp_time now, const uint8_t *payload, size_t len)
{
    int status = -payload[0];
    uint32_t next = len >= 5 ? mp_get32(payload + 1) : UINT32_MAX;

    switch ((enum md_recover_step)r->step) {
    case MD_RECOVER_HELLO:
    case MD_RECOVER_ERASED:
    case MD_RECOVER_SETTLED:
    case MD_RECOVER_CHECK:
        if (status != MP_OK)
            refuse(r, "to say what it is", status);
        else
            on_info(r, now, payload, len);
        break;
    case MD_RECOVER_ERASE:
        if (status != MP_OK)
            refuse(r, "to be erased", status);
        else
            enter(r, now, MD_RECOVER_ERASED);
        break;
    case MD_RECOVER_SETTINGS:
        /* State: they are there already, perhaps because an answer was lost. */
        if (status != MP_OK && status != MP_ERR_STATE)
            refuse(r, "the settings", status);
        else
            enter(r, now, MD_RECOVER_SETTLED);
        break;
    case MD_RECOVER_BEGIN:
        on_begin(r, now, status, next);
        break;
    case MD_RECOVER_DATA:
        on_data(r, now, status, next);
        break;
    case MD_RECOVER_FINISH:
        on_finish(r, now, status);
        break;
    case MD_RECOVER_RESET:
        enter(r, now, MD_RECOVER_END);
        break;
    case MD_RECOVER_END:
        break;
    }
}

/* The first frame in r->in that is whole: its length, 0 none yet. Bytes that cannot begin one are dropped. */
static size_t find_frame(struct md_recover *r)
{
    while (r->used > 0) {
        size_t len = r->used >= HEAD ? mp_get16(r->in + 2) : 0;
        bool is_hopeless = r->in[0] != BOOT_RECOVERY_MAGIC || (r->used >= 2 && (r->in[1] & REPLY) == 0) ||
                           len > BOOT_RECOVERY_PAYLOAD_MAX || (r->used >= HEAD && len == 0);

        if (!is_hopeless && (r->used < HEAD || r->used < HEAD + len + 4))
            return 0;
        if (!is_hopeless && mp_get32(r->in + HEAD + len) == mp_crc32(r->in, HEAD + len))
            return HEAD + len + 4;
        memmove(r->in, r->in + 1, --r->used);
    }
    return 0;
}

void md_recover_receive(struct md_recover *r, mp_time now, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len && r->state == MD_RECOVER_RUNNING; i++) {
        r->in[r->used++] = data[i];
        size_t n = find_frame(r);
        if (n == 0)
            continue;
        uint8_t frame[BOOT_RECOVERY_FRAME_MAX];
        memcpy(frame, r->in, n);
        r->used = 0; /* find_frame() finds a frame with the byte that ends it, so nothing lies behind */
        r->heard = now;
        if (frame[1] == (type_of((enum md_recover_step)r->step) | REPLY))
            on_reply(r, now, frame + HEAD, n - HEAD - 4);
    }
}

/* --- run ----------------------------------------------------------------------------------------------------------- */

int md_recover_start(struct md_recover *r, const struct md_recover_plan *plan, mp_time now)
{
    struct mp_manifest m;

    memset(r, 0, sizeof *r);
    r->plan = plan;
    if (plan->manifest != NULL) {
        if (mp_manifest_get(&m, plan->manifest, MP_MANIFEST_SIZE) != MP_OK || m.kind != MP_PAYLOAD_FULL ||
            mp_tree_init(&r->tree, m.image_size) != MP_OK)
            return MP_ERR_FORMAT;
        r->pieces = plan->tree != NULL ? r->tree.positions : r->tree.count[0];
    }
    r->heard = now;
    enter(r, now, MD_RECOVER_HELLO);
    return MP_OK;
}

void md_recover_resume(struct md_recover *r, mp_time now)
{
    if (r->state != MD_RECOVER_RUNNING)
        return;
    if (r->step == MD_RECOVER_RESET) {
        enter(r, now, MD_RECOVER_END);
        return;
    }
    if (r->step == MD_RECOVER_ERASE || r->step == MD_RECOVER_ERASED)
        enter(r, now, MD_RECOVER_ERASED);
    else if (r->step == MD_RECOVER_HELLO)
        enter(r, now, MD_RECOVER_HELLO);
    else
        enter(r, now, r->plan->manifest != NULL && r->step >= MD_RECOVER_BEGIN ? MD_RECOVER_BEGIN : MD_RECOVER_SETTLED);
    r->tries = 1; /* with filler */
    ask(r, now);
}

enum md_recover_state md_recover_state(const struct md_recover *r)
{
    return (enum md_recover_state)r->state;
}

size_t md_recover_write(struct md_recover *r, uint8_t *data, size_t cap)
{
    size_t n = (size_t)r->out_len - r->out_at;

    n = n < cap ? n : cap;
    memcpy(data, r->out + r->out_at, n);
    r->out_at = (uint16_t)(r->out_at + n);
    return n;
}

mp_time md_recover_next_expiry(const struct md_recover *r)
{
    return r->deadline;
}

void md_recover_expire(struct md_recover *r, mp_time now)
{
    if (r->state != MD_RECOVER_RUNNING || now < r->deadline)
        return;
    if (r->step == MD_RECOVER_RESET) { /* it may have been too quick to answer */
        enter(r, now, MD_RECOVER_END);
        return;
    }
    r->tries++;
    r->resent++;
    if (now - r->heard >= MP_MS(r->plan->patience_ms) && (r->tries >= TRIES_MIN || !r->has_info)) {
        if (r->has_info)
            fail(r, "the part does not answer any more");
        else
            fail(r, "no bootloader answers: is the part in recovery (no image, no settings, or its button held at a "
                    "reset)?");
        r->is_silent = true;
        return;
    }
    ask(r, now);
}
