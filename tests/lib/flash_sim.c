#include "flash_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Flags of a granule. WRITE counts programs since the last erase, when they are limited. */
enum {
    PROGRAMMED = 1, /* since the last erase */
    TORN = 2,       /* does not read as anything that was programmed */
    WEAK = 4,       /* in a page whose erase was cut */
    FAINT = 8,      /* reads blank, and was touched */
    WRITE = 0x40
};

void (*flash_sim_panic)(const char *what, uint32_t address);

static void broken(const char *what, uint32_t address)
{
    if (flash_sim_panic != NULL)
        flash_sim_panic(what, address);
    fprintf(stderr, "flash_sim: %s at 0x%x\n", what, (unsigned)address);
    abort();
}

static bool is_inside(const struct flash_sim *s, uint32_t address, size_t len)
{
    return address <= s->flash.size && len <= s->flash.size - address;
}

/* --- where pages lie ---------------------------------------------------------------------------------------------- */

/* Place in data of an address whose page has a frame. */
static uint32_t place(const struct flash_sim *s, uint32_t address)
{
    return (s->frame[address / s->flash.page_size] - 1u) * s->flash.page_size + address % s->flash.page_size;
}

static bool is_framed(const struct flash_sim *s, uint32_t address)
{
    return s->frame[address / s->flash.page_size] != 0;
}

/* Gives the page of an address a frame, blank, if it has none. */
static void frame_take(struct flash_sim *s, uint32_t address)
{
    bool is_used[FLASH_SIM_PAGES_MAX + 1] = {false};
    uint32_t size = s->flash.page_size, frame = 1;

    if (is_framed(s, address))
        return;
    for (uint32_t page = 0; page < s->flash.size / size; page++)
        is_used[s->frame[page]] = true;
    while (frame <= FLASH_SIM_SIZE_MAX / size && is_used[frame])
        frame++;
    if (frame > FLASH_SIM_SIZE_MAX / size)
        broken("too many pages in use", address);
    s->frame[address / size] = (uint16_t)frame;
    memset(s->data + place(s, address / size * size), 0xFF, size);
    memset(s->state + place(s, address / size * size) / s->flash.granule, 0, size / s->flash.granule);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* What a cipher makes of contents that were never enciphered: bytes that depend on the place and the contents. */
static void decipher(uint32_t address, uint8_t *data, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        uint32_t x = (address + i + 0x1000u * data[i]) * 0x9E3779B1u;
        data[i] = (uint8_t)((x ^ x >> 15) * 0x85EBCA77u >> 24);
    }
}

/* Bytes of one page. */
static int page_read(const struct flash_sim *s, uint32_t address, uint8_t *data, uint32_t len)
{
    bool is_encrypted = s->flash.is_blank != NULL;
    uint32_t granule = s->flash.granule, from = 0;
    uint8_t any = 0, all = 0;

    memset(data, 0xFF, len);
    if (is_framed(s, address)) {
        from = place(s, address);
        memcpy(data, s->data + from, len);
        all = 0xFF;
        for (uint32_t g = from / granule; g <= (from + len - 1) / granule; g++) {
            any |= s->state[g];
            all &= s->state[g];
        }
    }
    if (!is_encrypted)
        return (any & TORN) != 0 ? NF_FLASH_UNCORRECTABLE : NF_FLASH_OK;
    for (uint32_t i = 0, n; i < len && ((any & TORN) != 0 || (all & PROGRAMMED) == 0); i += n) {
        uint8_t state = is_framed(s, address) ? s->state[(from + i) / granule] : 0;
        n = granule - (address + i) % granule;
        n = n < len - i ? n : len - i;
        if ((state & TORN) != 0 || ((state & PROGRAMMED) == 0 && (address + i) / granule % 3 != 0))
            decipher(address + i, data + i, n);
    }
    return NF_FLASH_OK;
}

static int sim_read(void *ctx, uint32_t address, void *data, size_t len)
{
    const struct flash_sim *s = ctx;
    uint8_t *bytes = data;
    uint32_t size = s->flash.page_size;

    if (!is_inside(s, address, len))
        broken("read out of range", address);
    if (s->is_dead)
        return NF_FLASH_FAILED;
    for (uint32_t i = 0; i < len;) {
        uint32_t n = size - (address + i) % size, rest = (uint32_t)len - i;
        if (page_read(s, address + i, bytes + i, n < rest ? n : rest) != NF_FLASH_OK) {
            memset(data, 0xA5, len);
            return NF_FLASH_UNCORRECTABLE;
        }
        i += n < rest ? n : rest;
    }
    return NF_FLASH_OK;
}

static bool sim_is_blank(void *ctx, uint32_t address, size_t len)
{
    const struct flash_sim *s = ctx;
    uint32_t granule = s->flash.granule, end = address + (uint32_t)len;

    if (!is_inside(s, address, len))
        broken("look out of range", address);
    for (uint32_t at = address - address % granule; at < end; at += granule)
        if (is_framed(s, at) && (s->state[place(s, at) / granule] & (PROGRAMMED | TORN)) != 0)
            return false;
    return !s->is_dead;
}

/* --- programming -------------------------------------------------------------------------------------------------- */

/* True when this operation is the one to be cut. */
static bool is_cut(struct flash_sim *s, uint32_t granules)
{
    s->trace[s->ops % FLASH_SIM_TRACE] = (uint16_t)granules;
    if (s->ops++ != s->cut_at)
        return false;
    s->is_dead = true;
    return true;
}

/* Programs a granule; false when it was faint and takes none. */
static bool granule_program(struct flash_sim *s, uint32_t address, const uint8_t *data, bool is_torn)
{
    uint32_t n = s->flash.granule, at = place(s, address);
    uint8_t *state = &s->state[at / n];

    if ((*state & WEAK) != 0)
        broken("program in a page whose erase was cut", address);
    if (s->flash.write_once && (*state & PROGRAMMED) != 0)
        broken("second program of a write-once granule", address);
    if (s->writes_max != 0 && *state / WRITE == s->writes_max)
        broken("a granule programmed too often", address);
    if (s->flash.write_once && (*state & FAINT) != 0 && address / n % 2 == 1)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        uint8_t old = s->data[at + i];
        if ((data[i] & ~old) != 0)
            broken("program without erase", address + i);
        /* Half of the bits made it. */
        s->data[at + i] = is_torn ? (uint8_t)(old & (data[i] | 0x5A)) : data[i];
    }
    if (s->writes_max != 0)
        *state = (uint8_t)(*state + WRITE);
    if (s->flash.write_once && (is_torn || (*state & FAINT) != 0))
        *state |= TORN;
    *state |= PROGRAMMED;
    return true;
}

/* Of `count` granules: how many a cut lets through, and whether the one behind them is torn. */
static uint32_t cut_program(enum flash_sim_cut cut, uint32_t count, bool *is_torn)
{
    *is_torn = cut != FLASH_SIM_ABSENT && cut != FLASH_SIM_FAINT_FIRST && cut != FLASH_SIM_FAINT_MIDDLE &&
               cut != FLASH_SIM_WHOLE;
    switch (cut) {
    case FLASH_SIM_ABSENT:
    case FLASH_SIM_TORN_FIRST:
    case FLASH_SIM_FAINT_FIRST:
        return 0;
    case FLASH_SIM_TORN_MIDDLE:
    case FLASH_SIM_FAINT_MIDDLE:
        return count / 2;
    case FLASH_SIM_TORN_LAST:
    case FLASH_SIM_NOISE:
        return count - 1;
    case FLASH_SIM_WHOLE:
    case FLASH_SIM_CUTS:
        break;
    }
    return count;
}

static int sim_program(void *ctx, uint32_t address, const void *data, size_t len)
{
    struct flash_sim *s = ctx;
    const uint8_t *bytes = data;
    uint32_t n = s->flash.granule, count = (uint32_t)len / n, done = count;
    bool is_torn = false;

    if (!is_inside(s, address, len) || len == 0 || address % n != 0 || len % n != 0)
        broken("program out of range or misaligned", address);
    if (address / s->flash.page_size != (address + (uint32_t)len - 1) / s->flash.page_size)
        broken("program across a page boundary", address);
    if (s->is_dead)
        return NF_FLASH_FAILED;
    frame_take(s, address);
    if (is_cut(s, count))
        done = cut_program((enum flash_sim_cut)s->cut, count, &is_torn);
    for (uint32_t i = 0; i < done; i++)
        if (!granule_program(s, address + i * n, bytes + i * n, false))
            return NF_FLASH_FAILED;
    if (is_torn)
        granule_program(s, address + done * n, bytes + done * n, true);
    if (s->is_dead && (s->cut == FLASH_SIM_FAINT_FIRST || s->cut == FLASH_SIM_FAINT_MIDDLE))
        s->state[place(s, address + done * n) / n] |= FAINT;
    return s->is_dead ? NF_FLASH_FAILED : NF_FLASH_OK;
}

/* --- erasing ------------------------------------------------------------------------------------------------------ */

static void blank(struct flash_sim *s, uint32_t address, uint32_t len)
{
    memset(s->data + place(s, address), 0xFF, len);
    memset(s->state + place(s, address) / s->flash.granule, 0, len / s->flash.granule);
}

static void page_blank(struct flash_sim *s, uint32_t address)
{
    if (s->is_sparse)
        s->frame[address / s->flash.page_size] = 0;
    else
        blank(s, address, s->flash.page_size);
}

static void weaken(struct flash_sim *s, uint32_t address, uint8_t flags)
{
    for (uint32_t g = 0; g < s->flash.page_size / s->flash.granule; g++)
        s->state[place(s, address) / s->flash.granule + g] |= flags;
}

static void cut_erase(struct flash_sim *s, uint32_t address)
{
    uint32_t size = s->flash.page_size, half = size / 2;

    switch ((enum flash_sim_cut)s->cut) {
    case FLASH_SIM_ABSENT:
        return;
    case FLASH_SIM_WHOLE:
    case FLASH_SIM_CUTS:
        page_blank(s, address);
        return;
    case FLASH_SIM_TORN_FIRST:
    case FLASH_SIM_TORN_MIDDLE:
    case FLASH_SIM_TORN_LAST:
    case FLASH_SIM_NOISE:
    case FLASH_SIM_FAINT_FIRST:
    case FLASH_SIM_FAINT_MIDDLE:
        break;
    }
    frame_take(s, address);
    if (s->cut == FLASH_SIM_TORN_FIRST || s->cut == FLASH_SIM_TORN_LAST)
        blank(s, address, half);
    if (s->cut == FLASH_SIM_TORN_MIDDLE || s->cut == FLASH_SIM_TORN_LAST)
        blank(s, address + half, half);
    for (uint32_t i = 0; s->cut == FLASH_SIM_NOISE && i < size; i++)
        s->data[place(s, address) + i] |= (uint8_t)(0x35 + 7 * i);
    weaken(s, address, s->cut == FLASH_SIM_NOISE && s->flash.write_once ? WEAK | TORN : WEAK);
}

static int sim_erase(void *ctx, uint32_t address)
{
    struct flash_sim *s = ctx;
    uint32_t size = s->flash.page_size;

    if (!is_inside(s, address, size) || address % size != 0)
        broken("erase out of range or misaligned", address);
    if (s->is_dead)
        return NF_FLASH_FAILED;
    if (!is_cut(s, 0)) {
        page_blank(s, address);
        return NF_FLASH_OK;
    }
    cut_erase(s, address);
    return NF_FLASH_FAILED;
}

/* --- for tests ---------------------------------------------------------------------------------------------------- */

void flash_sim_init(struct flash_sim *s, uint32_t size, uint32_t page_size, uint32_t granule, bool write_once)
{
    memset(s, 0, sizeof *s);
    if (size > FLASH_SIM_SPARSE_MAX || size % page_size != 0 || size / page_size > FLASH_SIM_PAGES_MAX)
        broken("no such part", size);
    s->flash = (struct nf_flash){.ctx = s,
                                 .size = size,
                                 .page_size = page_size,
                                 .granule = granule,
                                 .write_once = write_once,
                                 .read = sim_read,
                                 .program = sim_program,
                                 .erase = sim_erase};
    memset(s->data, 0xFF, sizeof s->data);
    s->cut_at = FLASH_SIM_NEVER;
    s->is_sparse = size > FLASH_SIM_SIZE_MAX;
    for (uint32_t page = 0; !s->is_sparse && page < size / page_size; page++)
        s->frame[page] = (uint16_t)(page + 1);
}

void flash_sim_limit_writes(struct flash_sim *s, unsigned writes)
{
    s->writes_max = (uint8_t)writes;
}

void flash_sim_encrypt(struct flash_sim *s)
{
    s->flash.is_blank = sim_is_blank;
}

void flash_sim_cut_at(struct flash_sim *s, uint64_t at, enum flash_sim_cut cut)
{
    s->cut_at = at;
    s->cut = (uint8_t)cut;
}

void flash_sim_power_on(struct flash_sim *s)
{
    s->cut_at = FLASH_SIM_NEVER;
    s->is_dead = false;
}

void flash_sim_damage(struct flash_sim *s, uint32_t address, uint32_t len)
{
    for (uint32_t g = address / s->flash.granule; len > 0 && g <= (address + len - 1) / s->flash.granule; g++)
        s->state[g] |= TORN;
}
