#include "flash_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PROGRAMMED = 1, /* since the last erase */
    TORN = 2,       /* reads are uncorrectable */
    WEAK = 4        /* in a page whose erase was cut */
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

static int sim_read(void *ctx, uint32_t address, void *data, size_t len)
{
    struct flash_sim *s = ctx;

    if (!is_inside(s, address, len))
        broken("read out of range", address);
    if (s->is_dead)
        return NF_FLASH_FAILED;
    memcpy(data, s->data + address, len);
    for (uint32_t g = address / s->flash.granule; len > 0 && g <= (address + len - 1) / s->flash.granule; g++)
        if ((s->state[g] & TORN) != 0) {
            memset(data, 0xA5, len);
            return NF_FLASH_UNCORRECTABLE;
        }
    return NF_FLASH_OK;
}

/* True when this operation is the one to be cut. */
static bool is_cut(struct flash_sim *s, uint32_t granules)
{
    s->trace[s->ops % FLASH_SIM_TRACE] = (uint16_t)granules;
    if (s->ops++ != s->cut_at)
        return false;
    s->is_dead = true;
    return true;
}

static void granule_program(struct flash_sim *s, uint32_t address, const uint8_t *data, bool is_torn)
{
    uint32_t n = s->flash.granule, g = address / n;

    if ((s->state[g] & WEAK) != 0)
        broken("program in a page whose erase was cut", address);
    if (s->flash.write_once && (s->state[g] & PROGRAMMED) != 0)
        broken("second program of a write-once granule", address);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t old = s->data[address + i];
        if ((data[i] & ~old) != 0)
            broken("program without erase", address + i);
        /* Half of the bits made it. */
        s->data[address + i] = is_torn ? (uint8_t)(old & (data[i] | 0x5A)) : data[i];
    }
    s->state[g] |= PROGRAMMED;
    if (is_torn && s->flash.write_once)
        s->state[g] |= TORN;
}

static int sim_program(void *ctx, uint32_t address, const void *data, size_t len)
{
    struct flash_sim *s = ctx;
    const uint8_t *bytes = data;
    uint32_t n = s->flash.granule, count = (uint32_t)len / n, done = count, torn = UINT32_MAX;

    if (!is_inside(s, address, len) || len == 0 || address % n != 0 || len % n != 0)
        broken("program out of range or misaligned", address);
    if (address / s->flash.page_size != (address + (uint32_t)len - 1) / s->flash.page_size)
        broken("program across a page boundary", address);
    if (s->is_dead)
        return NF_FLASH_FAILED;
    if (is_cut(s, count)) {
        switch ((enum flash_sim_cut)s->cut) {
        case FLASH_SIM_ABSENT:
            done = 0;
            break;
        case FLASH_SIM_TORN_FIRST:
            done = torn = 0;
            break;
        case FLASH_SIM_TORN_MIDDLE:
            done = torn = count / 2;
            break;
        case FLASH_SIM_TORN_LAST:
        case FLASH_SIM_NOISE:
            done = torn = count - 1;
            break;
        case FLASH_SIM_WHOLE:
        case FLASH_SIM_CUTS:
            break;
        }
    }
    for (uint32_t i = 0; i < done; i++)
        granule_program(s, address + i * n, bytes + i * n, false);
    if (torn != UINT32_MAX)
        granule_program(s, address + torn * n, bytes + torn * n, true);
    return s->is_dead ? NF_FLASH_FAILED : NF_FLASH_OK;
}

static void blank(struct flash_sim *s, uint32_t address, uint32_t len)
{
    memset(s->data + address, 0xFF, len);
    memset(s->state + address / s->flash.granule, 0, len / s->flash.granule);
}

static void weaken(struct flash_sim *s, uint32_t address, uint8_t flags)
{
    for (uint32_t g = address / s->flash.granule; g < (address + s->flash.page_size) / s->flash.granule; g++)
        s->state[g] |= flags;
}

static int sim_erase(void *ctx, uint32_t address)
{
    struct flash_sim *s = ctx;
    uint32_t size = s->flash.page_size, half = size / 2;

    if (!is_inside(s, address, size) || address % size != 0)
        broken("erase out of range or misaligned", address);
    if (s->is_dead)
        return NF_FLASH_FAILED;
    if (!is_cut(s, 0)) {
        blank(s, address, size);
        return NF_FLASH_OK;
    }
    switch ((enum flash_sim_cut)s->cut) {
    case FLASH_SIM_ABSENT:
        break;
    case FLASH_SIM_TORN_FIRST:
        blank(s, address, half);
        weaken(s, address, WEAK);
        break;
    case FLASH_SIM_TORN_MIDDLE:
        blank(s, address + half, half);
        weaken(s, address, WEAK);
        break;
    case FLASH_SIM_TORN_LAST:
        blank(s, address, size);
        weaken(s, address, WEAK);
        break;
    case FLASH_SIM_NOISE:
        for (uint32_t i = 0; i < size; i++)
            s->data[address + i] |= (uint8_t)(0x35 + 7 * i);
        weaken(s, address, s->flash.write_once ? WEAK | TORN : WEAK);
        break;
    case FLASH_SIM_WHOLE:
    case FLASH_SIM_CUTS:
        blank(s, address, size);
        break;
    }
    return NF_FLASH_FAILED;
}

void flash_sim_init(struct flash_sim *s, uint32_t size, uint32_t page_size, uint32_t granule, bool write_once)
{
    memset(s, 0, sizeof *s);
    if (size > FLASH_SIM_SIZE_MAX || size % page_size != 0)
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
