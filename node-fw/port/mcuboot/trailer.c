#include "trailer.h"

#include <string.h>

#include "proto/mp_types.h"

enum { MAGIC = 16, ALIGN_MAX = 32, FLAG_SET = 1, PAIRS = 15 };

/* boot_img_magic of bootutil_public.c: fixed for units of 8 bytes, else the unit in the first two bytes. */
static const uint8_t magic_8[MAGIC] = {0x77, 0xC2, 0x95, 0xF3, 0x60, 0xD2, 0xEF, 0x7F,
                                       0x35, 0x52, 0x50, 0x0F, 0x2C, 0xB6, 0x79, 0x80};
static const uint8_t magic_wide[MAGIC] = {0,    0,    0x2D, 0xE1, 0x5D, 0x29, 0x41, 0x0B,
                                          0x8D, 0x77, 0x67, 0x9C, 0x11, 0x0F, 0x1F, 0x8A};

static uint32_t align_up(uint32_t value, uint32_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static void magic_make(uint8_t magic[MAGIC], const struct nf_mcuboot_shape *shape)
{
    memcpy(magic, shape->max_align == 8 ? magic_8 : magic_wide, MAGIC);
    if (shape->max_align != 8)
        magic[0] = shape->max_align;
}

/* --- where the fields lie ----------------------------------------------------------------------------------------- */

static bool is_power(uint32_t value, uint32_t least, uint32_t most)
{
    return value >= least && value <= most && (value & (value - 1)) == 0;
}

bool nf_mcuboot_shape_is_valid(const struct nf_mcuboot_shape *s, const struct nf_flash *f)
{
    return s->mode < NF_MCUBOOT_MODES && is_power(s->max_align, 8, ALIGN_MAX) && is_power(s->align, 1, s->max_align) &&
           s->image < PAIRS && s->max_sectors > 0 && s->key_size <= 1024 && is_power(f->granule, 1, s->max_align) &&
           is_power(f->page_size, 512, 0x80000000u) && s->sector >= f->page_size && s->sector <= f->size &&
           s->sector % f->page_size == 0;
}

/* Status entries of one sector: BOOT_STATUS_STATE_COUNT of bootutil_area.h. */
static uint32_t status_states(const struct nf_mcuboot_shape *shape)
{
    return shape->mode == NF_MCUBOOT_OFFSET ? 2 : 3;
}

void nf_mcuboot_fields(struct nf_mcuboot_fields *f, const struct nf_mcuboot_shape *s)
{
    uint32_t unit = s->max_align, key = align_up(s->key_size, unit);

    memset(f, 0, sizeof *f);
    f->magic = MAGIC;
    f->image_ok = align_up(MAGIC, unit) + unit;
    f->copy_done = f->image_ok + unit;
    f->swap_info = f->copy_done + unit;
    if (s->mode == NF_MCUBOOT_OFFSET)
        f->tlv_sizes = f->swap_info + unit;
    f->swap_size = (f->tlv_sizes != 0 ? f->tlv_sizes : f->swap_info) + unit;
    if (key != 0) {
        f->key[0] = f->swap_size + key;
        f->key[1] = f->key[0] + key;
    }
    f->status = f->swap_size + 2 * key + s->max_sectors * status_states(s) * s->align;
    f->size = f->status;
}

uint32_t nf_mcuboot_reserved(const struct nf_mcuboot_shape *shape)
{
    struct nf_mcuboot_fields f;

    nf_mcuboot_fields(&f, shape);
    switch ((enum nf_mcuboot_mode)shape->mode) {
    case NF_MCUBOOT_SCRATCH:
    case NF_MCUBOOT_MOVE:
    case NF_MCUBOOT_OFFSET:
        break;
    case NF_MCUBOOT_OVERWRITE:
    case NF_MCUBOOT_XIP:
    case NF_MCUBOOT_XIP_REVERT:
        return align_up(f.swap_info, shape->sector); /* nothing is swapped: bootutil_max_image_size() */
    case NF_MCUBOOT_MODES:
        break;
    }
    return align_up(f.size, shape->sector);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static bool is_blank(const uint8_t *data, size_t len)
{
    uint8_t all = 0xFF;

    for (size_t i = 0; i < len; i++)
        all &= data[i];
    return all == 0xFF;
}

static int read_before_end(const struct nf_flash *flash, const struct nf_mcuboot_area *slot, uint32_t before,
                           uint8_t *data, size_t len)
{
    return flash->read(flash->ctx, slot->address + slot->size - before, data, len);
}

static uint8_t flag_decode(uint8_t byte)
{
    if (byte == 0xFF)
        return NF_MCUBOOT_FLAG_UNSET;
    return byte == FLAG_SET ? NF_MCUBOOT_FLAG_SET : NF_MCUBOOT_FLAG_BAD;
}

static void decode(struct nf_mcuboot_trailer *t, const struct nf_mcuboot_shape *shape, const uint8_t magic[MAGIC],
                   uint8_t ok, uint8_t done, uint8_t info)
{
    uint8_t want[MAGIC], type = info & 0x0F;

    magic_make(want, shape);
    t->magic = memcmp(magic, want, MAGIC) == 0 ? NF_MCUBOOT_MAGIC_GOOD : NF_MCUBOOT_MAGIC_BAD;
    if (is_blank(magic, MAGIC))
        t->magic = NF_MCUBOOT_MAGIC_UNSET;
    t->image_ok = flag_decode(ok);
    t->copy_done = flag_decode(done);
    t->swap_type = NF_MCUBOOT_SWAP_NONE;
    t->image = 0;
    if (info == 0xFF || type > NF_MCUBOOT_SWAP_REVERT)
        return;
    t->swap_type = type;
    t->image = info >> 4;
}

int nf_mcuboot_trailer_read(struct nf_mcuboot_trailer *t, const struct nf_mcuboot_shape *shape,
                            const struct nf_flash *flash, const struct nf_mcuboot_area *slot)
{
    struct nf_mcuboot_fields f;
    uint8_t magic[MAGIC], ok = 0, done = 0, info = 0;

    nf_mcuboot_fields(&f, shape);
    int error = read_before_end(flash, slot, f.magic, magic, sizeof magic);

    if (error == NF_FLASH_OK)
        error = read_before_end(flash, slot, f.image_ok, &ok, 1);
    if (error == NF_FLASH_OK)
        error = read_before_end(flash, slot, f.copy_done, &done, 1);
    if (error == NF_FLASH_OK)
        error = read_before_end(flash, slot, f.swap_info, &info, 1);
    if (error != NF_FLASH_OK && error != NF_FLASH_UNCORRECTABLE)
        return MP_ERR_STORE;
    if (error == NF_FLASH_UNCORRECTABLE) {
        memset(magic, 0, sizeof magic);
        ok = done = info = 0;
    }
    decode(t, shape, magic, ok, done, info);
    if (error == NF_FLASH_UNCORRECTABLE)
        t->swap_type = NF_MCUBOOT_SWAP_NONE;
    return MP_OK;
}

/* --- what MCUboot makes of it ------------------------------------------------------------------------------------- */

enum { ANY = 0xFF };

/* boot_swap_tables of bootutil_public.c: the first row that fits. copy_done of the secondary slot counts in swap-offset
 * only. */
static const struct {
    uint8_t only_mode; /* ANY or enum nf_mcuboot_mode */
    uint8_t magic[2];  /* of the primary and the secondary slot */
    uint8_t image_ok[2];
    uint8_t copy_done[2];
    uint8_t swap; /* enum nf_mcuboot_swap */
} table[] = {
    {NF_MCUBOOT_OFFSET,
     {ANY, NF_MCUBOOT_MAGIC_GOOD},
     {ANY, NF_MCUBOOT_FLAG_UNSET},
     {ANY, NF_MCUBOOT_FLAG_SET},
     NF_MCUBOOT_SWAP_REVERT},
    {ANY, {ANY, NF_MCUBOOT_MAGIC_GOOD}, {ANY, NF_MCUBOOT_FLAG_UNSET}, {ANY, ANY}, NF_MCUBOOT_SWAP_TEST},
    {ANY, {ANY, NF_MCUBOOT_MAGIC_GOOD}, {ANY, NF_MCUBOOT_FLAG_SET}, {ANY, ANY}, NF_MCUBOOT_SWAP_PERM},
    {ANY,
     {NF_MCUBOOT_MAGIC_GOOD, ANY},
     {NF_MCUBOOT_FLAG_UNSET, ANY},
     {NF_MCUBOOT_FLAG_SET, ANY},
     NF_MCUBOOT_SWAP_REVERT},
};

static bool fits(const uint8_t want[2], uint8_t primary, uint8_t secondary)
{
    return (want[0] == ANY || want[0] == primary) && (want[1] == ANY || want[1] == secondary);
}

static bool is_swapping(const struct nf_mcuboot_shape *shape)
{
    return shape->mode != NF_MCUBOOT_XIP && shape->mode != NF_MCUBOOT_XIP_REVERT;
}

enum nf_mcuboot_swap nf_mcuboot_swap_type(const struct nf_mcuboot_shape *shape, const struct nf_mcuboot_trailer *p,
                                          const struct nf_mcuboot_trailer *s)
{
    for (size_t i = 0; is_swapping(shape) && i < sizeof table / sizeof table[0]; i++)
        if ((table[i].only_mode == ANY || table[i].only_mode == shape->mode) &&
            fits(table[i].magic, p->magic, s->magic) && fits(table[i].image_ok, p->image_ok, s->image_ok) &&
            fits(table[i].copy_done, p->copy_done, s->copy_done))
            return (enum nf_mcuboot_swap)table[i].swap;
    return NF_MCUBOOT_SWAP_NONE;
}

bool nf_mcuboot_is_trial(const struct nf_mcuboot_shape *shape, const struct nf_mcuboot_trailer *running,
                         const struct nf_mcuboot_trailer *other)
{
    switch ((enum nf_mcuboot_mode)shape->mode) {
    case NF_MCUBOOT_SCRATCH:
    case NF_MCUBOOT_MOVE:
    case NF_MCUBOOT_OFFSET:
        return nf_mcuboot_swap_type(shape, running, other) == NF_MCUBOOT_SWAP_REVERT;
    case NF_MCUBOOT_XIP_REVERT: /* boot_select_or_erase() of loader.c */
        return running->magic != NF_MCUBOOT_MAGIC_GOOD ||
               (running->copy_done == NF_MCUBOOT_FLAG_SET && running->image_ok != NF_MCUBOOT_FLAG_SET);
    case NF_MCUBOOT_OVERWRITE:
    case NF_MCUBOOT_XIP:
    case NF_MCUBOOT_MODES:
        break;
    }
    return false;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

/* Whole granules up to `unit` bytes, the bytes after `len` blank. */
static int program_before_end(const struct nf_flash *flash, const struct nf_mcuboot_area *slot, uint32_t before,
                              const uint8_t *data, uint32_t len)
{
    uint8_t buf[ALIGN_MAX];
    uint32_t total = align_up(len, flash->granule);

    memset(buf, 0xFF, sizeof buf);
    memcpy(buf, data, len);
    if (flash->program(flash->ctx, slot->address + slot->size - before, buf, total) != NF_FLASH_OK)
        return MP_ERR_STORE;
    return MP_OK;
}

static int flag_set(const struct nf_flash *flash, const struct nf_mcuboot_area *slot, uint32_t before)
{
    const uint8_t flag = FLAG_SET;

    return program_before_end(flash, slot, before, &flag, 1);
}

/* The padding in front of the magic belongs to its unit. */
static int magic_write(const struct nf_mcuboot_shape *shape, const struct nf_flash *flash,
                       const struct nf_mcuboot_area *slot)
{
    uint8_t data[ALIGN_MAX];
    uint32_t total = align_up(MAGIC, shape->max_align);

    memset(data, 0xFF, sizeof data);
    magic_make(data + total - MAGIC, shape);
    return program_before_end(flash, slot, total, data, total);
}

int nf_mcuboot_trailer_erase(const struct nf_mcuboot_shape *shape, const struct nf_flash *flash,
                             const struct nf_mcuboot_area *slot)
{
    uint32_t end = slot->address + slot->size;

    for (uint32_t done = 0; done < nf_mcuboot_reserved(shape); done += flash->page_size)
        if (flash->erase(flash->ctx, end - done - flash->page_size) != NF_FLASH_OK)
            return MP_ERR_STORE;
    return MP_OK;
}

/* Flags first, magic last: only the magic makes MCUboot look at them. */
static int pending_write(const struct nf_mcuboot_shape *shape, const struct nf_flash *flash,
                         const struct nf_mcuboot_area *slot, bool permanent)
{
    struct nf_mcuboot_fields f;
    uint8_t info = (uint8_t)(shape->image << 4 | (permanent ? NF_MCUBOOT_SWAP_PERM : NF_MCUBOOT_SWAP_TEST));
    int error = nf_mcuboot_trailer_erase(shape, flash, slot);

    nf_mcuboot_fields(&f, shape);
    if (error == MP_OK && permanent)
        error = flag_set(flash, slot, f.image_ok);
    if (error == MP_OK && is_swapping(shape))
        error = program_before_end(flash, slot, f.swap_info, &info, 1);
    if (error == MP_OK && permanent && !is_swapping(shape))
        error = flag_set(flash, slot, f.copy_done);
    return error == MP_OK ? magic_write(shape, flash, slot) : error;
}

int nf_mcuboot_set_pending(const struct nf_mcuboot_shape *shape, const struct nf_flash *flash,
                           const struct nf_mcuboot_area *slot, bool permanent)
{
    struct nf_mcuboot_trailer t;
    uint8_t wanted = permanent ? NF_MCUBOOT_FLAG_SET : NF_MCUBOOT_FLAG_UNSET;
    int error = nf_mcuboot_trailer_read(&t, shape, flash, slot);

    if (error != MP_OK)
        return error;
    if (t.magic == NF_MCUBOOT_MAGIC_GOOD && t.image_ok == wanted)
        return MP_OK;
    if (t.magic == NF_MCUBOOT_MAGIC_GOOD && t.image_ok != NF_MCUBOOT_FLAG_BAD)
        return MP_ERR_STATE;
    error = pending_write(shape, flash, slot, permanent);
    if (error == MP_OK)
        error = nf_mcuboot_trailer_read(&t, shape, flash, slot);
    return error == MP_OK && t.magic == NF_MCUBOOT_MAGIC_GOOD && t.image_ok == wanted ? MP_OK : MP_ERR_STORE;
}

int nf_mcuboot_set_confirmed(const struct nf_mcuboot_shape *shape, const struct nf_flash *flash,
                             const struct nf_mcuboot_area *slot)
{
    struct nf_mcuboot_fields f;
    struct nf_mcuboot_trailer t;
    int error = nf_mcuboot_trailer_read(&t, shape, flash, slot);

    nf_mcuboot_fields(&f, shape);
    if (error != MP_OK)
        return error;
    /* Without a magic MCUboot leaves the slot alone; in direct-XIP with revert it does not boot such a slot. */
    if (t.magic == NF_MCUBOOT_MAGIC_UNSET && shape->mode != NF_MCUBOOT_XIP_REVERT)
        return MP_OK;
    /* A flag that a cut left half written is neither set nor blank: MCUboot does not swap back then, nor confirm. */
    if (t.magic == NF_MCUBOOT_MAGIC_GOOD && t.image_ok == NF_MCUBOOT_FLAG_BAD && is_swapping(shape))
        return MP_OK;
    if (t.magic != NF_MCUBOOT_MAGIC_GOOD || t.image_ok == NF_MCUBOOT_FLAG_BAD)
        return MP_ERR_STATE;
    if (t.image_ok == NF_MCUBOOT_FLAG_UNSET)
        error = flag_set(flash, slot, f.image_ok);
    /* MCUboot sets this one before it starts the image, and goes on when that failed. */
    if (error == MP_OK && !is_swapping(shape) && t.copy_done == NF_MCUBOOT_FLAG_UNSET)
        error = flag_set(flash, slot, f.copy_done);
    if (error == MP_OK)
        error = nf_mcuboot_trailer_read(&t, shape, flash, slot);
    return error == MP_OK && t.image_ok == NF_MCUBOOT_FLAG_SET ? MP_OK : MP_ERR_STORE;
}
