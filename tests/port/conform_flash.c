/*
 * Checks of flash, in the other slot and the object log alone. Three pages side by side are worked on in most: what is
 * done to the one in the middle must not touch the others.
 */
#include <string.h>

#include "conform.h"
#include "proto/mp_wire.h"
#include "proto/object/settings.h" /* mp_crc32() */

#define COUNT(a) ((unsigned)(sizeof(a) / sizeof *(a)))

enum { PIECE = 32, GRANULE_MAX = 32 };

static uint32_t before; /* checksum of everything that is not ours */

/* The byte that belongs at an address: no two pages are alike. */
static uint8_t pattern(uint32_t address, uint8_t seed)
{
    uint32_t x = address * 2654435761u + seed * 40503u;

    x ^= x >> 15;
    x *= 2246822519u;
    return (uint8_t)(x >> 24);
}

static int flash_read(uint32_t address, void *data, size_t len)
{
    return nf_port_flash()->read(nf_port_flash()->ctx, address, data, len);
}

static int flash_program(uint32_t address, const void *data, size_t len)
{
    return nf_port_flash()->program(nf_port_flash()->ctx, address, data, len);
}

static int flash_erase(uint32_t address)
{
    conform_breathe();
    return nf_port_flash()->erase(nf_port_flash()->ctx, address);
}

/* Whole pieces of the pattern. False: the port says no. */
static bool fill(uint32_t address, uint32_t len, uint8_t seed)
{
    uint8_t data[PIECE];

    for (uint32_t at = 0; at < len; at += PIECE) {
        for (uint32_t i = 0; i < PIECE; i++)
            data[i] = pattern(address + at + i, seed);
        if (flash_program(address + at, data, PIECE) != NF_FLASH_OK)
            return false;
    }
    return true;
}

/* Whether `len` bytes hold the pattern (seed 0: are erased, as flash.h says). The first address that does not goes to
 * the log. */
static bool holds(uint32_t address, uint32_t len, uint8_t seed)
{
    uint8_t data[PIECE];

    for (uint32_t at = 0; at < len; at += PIECE) {
        const uint32_t n = len - at < PIECE ? len - at : PIECE;
        bool is_right = flash_read(address + at, data, n) == NF_FLASH_OK;
        if (seed == 0)
            is_right = is_right && nf_flash_is_blank(nf_port_flash(), address + at, data, n);
        for (uint32_t i = 0; seed != 0 && is_right && i < n; i++)
            is_right = data[i] == pattern(address + at + i, seed);
        if (!is_right) {
            conform_found(NULL, address + at);
            return false;
        }
    }
    return true;
}

static uint32_t other_slot(void)
{
    return nf_port_layout()->slot[nf_port_slot() == 0 ? 1 : 0];
}

/* Three pages: the middle one blank, the pattern in the others. The address of the middle one, 0 when that fails. */
static uint32_t prepare(void)
{
    const uint32_t page = nf_port_flash()->page_size;
    const uint32_t first = other_slot();

    for (uint32_t i = 0; i < 3; i++)
        if (flash_erase(first + i * page) != NF_FLASH_OK)
            return 0;
    return fill(first, page, 1) && fill(first + 2 * page, page, 1) ? first + page : 0;
}

static bool neighbours_are_whole(uint32_t middle)
{
    const uint32_t page = nf_port_flash()->page_size;

    return holds(middle - page, page, 1) && holds(middle + page, page, 1);
}

#define NOT_ERASED "an erased page is not all ones: a page is erased to all ones, or is_blank() says that it is erased"
#define UNPREPARED "erase or program returns an error: flash is there to be written"

/* Everything outside the regions that may be destroyed. */
static uint32_t sum_of_the_rest(void)
{
    const struct nf_layout *l = nf_port_layout();
    const uint32_t other = other_slot();
    uint8_t data[PIECE + 4];
    uint32_t sum = 0;

    for (uint32_t at = 0; at < nf_port_flash()->size; at += PIECE) {
        if ((at >= other && at - other < l->slot_size) || (at >= l->objects && at - l->objects < l->objects_size))
            continue;
        memset(data, 0, sizeof data);
        mp_put32(data + PIECE, sum);
        if (flash_read(at, data, PIECE) != NF_FLASH_OK)
            data[0] = 0; /* protected, or damaged: it stays so */
        sum = mp_crc32(data, sizeof data);
        if (at % nf_port_flash()->page_size == 0)
            conform_breathe();
    }
    return sum;
}

/* --- checks ------------------------------------------------------------------------------------------------------- */

static const char *erases(const struct conformance *c)
{
    const uint32_t page = nf_port_flash()->page_size;
    const uint32_t first = other_slot();

    (void)c;
    before = sum_of_the_rest();
    for (unsigned round = 0; round < 2; round++)
        for (uint32_t i = 0; i < 3; i++) {
            if (flash_erase(first + i * page) != NF_FLASH_OK)
                return conform_found("erase returns an error: one page, address of its first byte", first + i * page);
            if (!holds(first + i * page, page, 0))
                return NOT_ERASED;
            if (round == 0 && !fill(first + i * page, page, 2))
                return conform_found("program returns an error on an erased page: program() writes whole granules",
                                     first + i * page);
        }
    return NULL;
}

static const char *programs(const struct conformance *c)
{
    const uint32_t middle = prepare();

    (void)c;
    if (middle == 0 || !fill(middle, nf_port_flash()->page_size, 3))
        return UNPREPARED;
    if (!holds(middle, nf_port_flash()->page_size, 3))
        return "a page does not read as it was programmed, though program() returned 0";
    if (!neighbours_are_whole(middle))
        return "programming a page changed another one";
    return NULL;
}

/* One call with a whole page, which is what a driver with a row buffer gets wrong. */
static const char *programs_at_once(const struct conformance *c)
{
    static uint8_t data[1024];
    const uint32_t middle = prepare();
    const uint32_t page = nf_port_flash()->page_size;

    (void)c;
    if (middle == 0)
        return UNPREPARED;
    for (uint32_t at = 0; at < page; at += sizeof data) {
        for (uint32_t i = 0; i < sizeof data; i++)
            data[i] = pattern(middle + at + i, 4);
        if (flash_program(middle + at, data, sizeof data) != NF_FLASH_OK)
            return "program returns an error for 1,024 bytes: program() writes whole granules, any number";
    }
    if (!holds(middle, page, 4))
        return "1,024 bytes programmed at once do not read back";
    return NULL;
}

static const char *programs_granules(const struct conformance *c)
{
    const uint32_t page = nf_port_flash()->page_size, granule = nf_port_flash()->granule;
    const uint32_t at[] = {0, 3 * granule, page / 2 + granule, page - granule};
    const uint32_t middle = prepare();
    uint8_t data[GRANULE_MAX];
    uint32_t next = 0;

    (void)c;
    if (middle == 0)
        return UNPREPARED;
    for (unsigned k = 0; k < COUNT(at); k++) {
        for (uint32_t i = 0; i < granule; i++)
            data[i] = pattern(middle + at[k] + i, 5);
        if (flash_program(middle + at[k], data, granule) != NF_FLASH_OK)
            return conform_found("program returns an error for one granule: program() writes whole granules", at[k]);
    }
    for (unsigned k = 0; k < COUNT(at); k++) {
        if (!holds(middle + next, at[k] - next, 0))
            return "programming one granule changed another one";
        if (!holds(middle + at[k], granule, 5))
            return "a granule does not read as it was programmed";
        next = at[k] + granule;
    }
    return neighbours_are_whole(middle) ? NULL : "programming a granule changed another page";
}

static const char *crosses_pages(const struct conformance *c)
{
    const uint32_t page = nf_port_flash()->page_size;
    const uint32_t middle = prepare();
    uint8_t data[2 * PIECE];

    (void)c;
    if (middle == 0 || flash_erase(middle + page) != NF_FLASH_OK)
        return UNPREPARED;
    for (uint32_t i = 0; i < sizeof data; i++)
        data[i] = pattern(middle + page - PIECE + i, 6);
    if (flash_program(middle + page - PIECE, data, sizeof data) != NF_FLASH_OK)
        return "program returns an error for bytes on both sides of a page's end: whole granules, aligned, are all it "
               "may ask for";
    if (!holds(middle + page - PIECE, sizeof data, 6) || !holds(middle, page - PIECE, 0) ||
        !holds(middle + page + PIECE, page - PIECE, 0))
        return "bytes programmed on both sides of a page's end do not read back, or others changed";
    return NULL;
}

static const char *erases_one(const struct conformance *c)
{
    const uint32_t middle = prepare();
    const uint32_t page = nf_port_flash()->page_size;

    (void)c;
    if (middle == 0 || !fill(middle, page, 7) || flash_erase(middle) != NF_FLASH_OK)
        return UNPREPARED;
    if (!neighbours_are_whole(middle))
        return "erasing a page changed another one: erase() is of one page";
    return holds(middle, page, 0) ? NULL : NOT_ERASED;
}

/* What a second program of a granule does: bits may only go from 1 to 0, and with write_once nobody may count on it at
 * all. */
static const char *programs_again(const struct conformance *c)
{
    const struct nf_flash *f = nf_port_flash();
    const uint32_t middle = prepare();
    uint8_t first[GRANULE_MAX], second[GRANULE_MAX], back[GRANULE_MAX] = {0};

    (void)c;
    if (middle == 0)
        return UNPREPARED;
    memset(first, 0xF5, sizeof first);
    memset(second, 0xA5, sizeof second);
    if (flash_program(middle, first, f->granule) != NF_FLASH_OK)
        return UNPREPARED;
    if (!f->write_once) {
        if (flash_program(middle, second, f->granule) != NF_FLASH_OK ||
            flash_read(middle, back, f->granule) != NF_FLASH_OK || memcmp(back, second, f->granule) != 0)
            return "a second program does not clear further bits: bits may go from 1 to 0, unless write_once is set";
    }
    memset(second, 0x5F, sizeof second); /* sets bits */
    const int rc = flash_program(middle, second, f->granule);
    if (f->is_blank != NULL)
        return neighbours_are_whole(middle) ? NULL : "a second program changed another page";
    if (flash_read(middle, back, f->granule) != NF_FLASH_OK)
        return f->write_once ? NULL : "a granule cannot be read after a second program: write_once is to be set";
    for (uint32_t i = 0; i < f->granule; i++)
        if ((back[i] & ~first[i]) != 0)
            return conform_found("a second program set bits: bits may only go from 1 to 0 until the next erase",
                                 (uint32_t)(rc < 0 ? -rc : rc));
    return neighbours_are_whole(middle) ? NULL : "a second program changed another page";
}

/* Behind a cipher, ones that were programmed are not erased flash. */
static const char *tells_blank_from_ones(const struct conformance *c)
{
    const struct nf_flash *f = nf_port_flash();
    uint8_t ones[GRANULE_MAX];

    (void)c;
    if (f->is_blank == NULL)
        return CONFORM_SKIP("erased flash reads as ones, is_blank() is not needed");
    const uint32_t middle = prepare();
    if (middle == 0)
        return UNPREPARED;
    if (!f->write_once)
        return "write_once is not set: a cipher changes all bits of a granule, so it takes one program";
    memset(ones, 0xFF, sizeof ones);
    if (flash_program(middle + f->granule, ones, f->granule) != NF_FLASH_OK)
        return UNPREPARED;
    if (f->is_blank(f->ctx, middle + f->granule, f->granule) || f->is_blank(f->ctx, middle, 2 * f->granule))
        return "is_blank() is true of ones that were programmed: it looks at the flash itself";
    if (!f->is_blank(f->ctx, middle, f->granule) || !f->is_blank(f->ctx, middle + 2 * f->granule, f->granule))
        return "is_blank() is false of erased flash: every granule that the range touches";
    return NULL;
}

static const char *refuses_misaligned(const struct conformance *c)
{
    const struct nf_flash *f = nf_port_flash();
    const uint32_t middle = prepare();
    uint8_t data[2 * GRANULE_MAX];

    (void)c;
    if (middle == 0)
        return UNPREPARED;
    memset(data, 0, sizeof data);
    if (flash_program(middle + 1, data, f->granule) != NF_FLASH_RANGE ||
        flash_program(middle + f->granule / 2, data, f->granule) != NF_FLASH_RANGE)
        return "program takes an address inside a granule: NF_FLASH_RANGE";
    if (flash_program(middle, data, f->granule - 1) != NF_FLASH_RANGE ||
        flash_program(middle, data, f->granule + f->granule / 2) != NF_FLASH_RANGE)
        return "program takes a part of a granule: NF_FLASH_RANGE";
    if (!holds(middle, f->page_size, 0))
        return "a program that was refused has changed something";
    if (flash_erase(middle + f->granule) != NF_FLASH_RANGE || flash_erase(middle - f->page_size / 2) != NF_FLASH_RANGE)
        return "erase takes an address inside a page: NF_FLASH_RANGE";
    return neighbours_are_whole(middle) ? NULL : "an erase that was refused has changed something";
}

static const char *refuses_outside(const struct conformance *c)
{
    const struct nf_flash *f = nf_port_flash();
    uint8_t data[2 * GRANULE_MAX];

    (void)c;
    if (flash_read(f->size - 4, data, 8) != NF_FLASH_RANGE || flash_read(f->size, data, 1) != NF_FLASH_RANGE ||
        flash_read(UINT32_MAX - 3, data, 8) != NF_FLASH_RANGE)
        return "read takes an address outside the part: NF_FLASH_RANGE";
    memset(data, 0xFF, sizeof data); /* which programs nothing where it is not refused */
    if (flash_program(f->size - f->granule, data, 2 * f->granule) != NF_FLASH_RANGE ||
        flash_program(f->size, data, f->granule) != NF_FLASH_RANGE ||
        flash_program(0u - f->granule, data, 2 * f->granule) != NF_FLASH_RANGE)
        return "program takes an address outside the part: NF_FLASH_RANGE";
    if (flash_erase(f->size) != NF_FLASH_RANGE || flash_erase(0u - f->page_size) != NF_FLASH_RANGE)
        return "erase takes an address outside the part: NF_FLASH_RANGE";
    return NULL;
}

static const char *reads_anything(const struct conformance *c)
{
    const uint32_t middle = prepare();
    uint8_t buf[48];

    (void)c;
    if (middle == 0 || !fill(middle, nf_port_flash()->page_size, 8))
        return UNPREPARED;
    for (uint32_t at = 0; at < 9; at++)
        for (uint32_t len = 1; len < 40; len += 3)
            for (uint32_t odd = 0; odd < 4; odd++) {
                memset(buf, 0x3C, sizeof buf);
                if (flash_read(middle + at, buf + odd, len) != NF_FLASH_OK)
                    return conform_found("read returns an error: any address and length inside the part", at);
                for (uint32_t i = 0; i < len; i++)
                    if (buf[odd + i] != pattern(middle + at + i, 8))
                        return conform_found("read gives other bytes at odd addresses, lengths or buffers", at);
                if (buf[odd + len] != 0x3C || (odd > 0 && buf[odd - 1] != 0x3C))
                    return conform_found("read writes beside the buffer", len);
            }
    return NULL;
}

static const char *programs_from_anywhere(const struct conformance *c)
{
    const uint32_t middle = prepare();
    uint8_t buf[PIECE + 4];

    (void)c;
    if (middle == 0)
        return UNPREPARED;
    for (uint32_t odd = 0; odd < 4; odd++) {
        const uint32_t to = middle + odd * PIECE;
        for (uint32_t i = 0; i < PIECE; i++)
            buf[odd + i] = pattern(to + i, 9);
        if (flash_program(to, buf + odd, PIECE) != NF_FLASH_OK || !holds(to, PIECE, 9))
            return conform_found("program of a buffer at an odd address: the buffer need not be aligned", odd);
    }
    return NULL;
}

/* Pages that may be destroyed, and the address of each. */
static uint32_t page_count(void)
{
    return (nf_port_layout()->slot_size + nf_port_layout()->objects_size) / nf_port_flash()->page_size - 1;
}

static uint32_t page_address(uint32_t i)
{
    const struct nf_layout *l = nf_port_layout();
    const uint32_t page = nf_port_flash()->page_size, in_slot = l->slot_size / page;

    return i < in_slot ? other_slot() + i * page : l->objects + (1 + i - in_slot) * page;
}

static const char *has_every_page(const struct conformance *c)
{
    const uint32_t page = nf_port_flash()->page_size, pages = page_count();

    (void)c;
    for (uint32_t i = 0; i < pages; i++) {
        const uint32_t at = page_address(i);
        if (flash_erase(at) != NF_FLASH_OK || !fill(at, PIECE, 10) || !fill(at + page - PIECE, PIECE, 10))
            return conform_found("a page of the other slot or the object log cannot be written", at);
    }
    for (uint32_t i = 0; i < pages; i++) {
        const uint32_t at = page_address(i);
        conform_breathe();
        if (!holds(at, PIECE, 10) || !holds(at + PIECE, page - 2 * PIECE, 0) || !holds(at + page - PIECE, PIECE, 10))
            return "a page holds what was written to another one: every address is a place of its own";
    }
    for (uint32_t i = 0; i < pages; i++)
        if (flash_erase(page_address(i)) != NF_FLASH_OK)
            return UNPREPARED;
    return NULL;
}

static const char *leaves_the_rest(const struct conformance *c)
{
    (void)c;
    return sum_of_the_rest() == before
               ? NULL
               : "something outside the other slot and the object log changed: only they were written to";
}

static const struct conform_case flash_cases[] = {
    {"flash-erase", erases},
    {"flash-program", programs},
    {"flash-program-long", programs_at_once},
    {"flash-program-granule", programs_granules},
    {"flash-program-across", crosses_pages},
    {"flash-erase-one", erases_one},
    {"flash-program-again", programs_again},
    {"flash-blank", tells_blank_from_ones},
    {"flash-misaligned", refuses_misaligned},
    {"flash-outside", refuses_outside},
    {"flash-read-any", reads_anything},
    {"flash-program-any", programs_from_anywhere},
    {"flash-every-page", has_every_page},
    {"flash-rest", leaves_the_rest},
};
const struct conform_group conform_flash = {"flash", flash_cases, COUNT(flash_cases)};
