/*
 * Checks of what needs nothing but the part: flash map and clock, without which nothing else is begun; sleep, random
 * numbers.
 */
#include <string.h>

#include "conform.h"
#include "node-fw/boot/image.h"
#include "node-fw/store/objects.h"

#define COUNT(a) ((unsigned)(sizeof(a) / sizeof *(a)))

/* --- flash map ---------------------------------------------------------------------------------------------------- */

static const char *geometry(const struct conformance *c)
{
    const struct nf_flash *f = nf_port_flash();

    (void)c;
    if (f == NULL || f->read == NULL || f->program == NULL || f->erase == NULL)
        return "nf_port_flash() or one of its functions is NULL: flash with the rules of flash.h";
    if (f->page_size < 1024 || f->page_size > 8192 || (f->page_size & (f->page_size - 1)) != 0)
        return conform_found("page_size: 1,024 to 8,192, a power of two", f->page_size);
    if (f->granule != 4 && f->granule != 8 && f->granule != 16 && f->granule != 32)
        return conform_found("granule: 4, 8, 16 or 32", f->granule);
    if (f->size == 0 || f->size % f->page_size != 0)
        return conform_found("size is not whole pages", f->size);
    return NULL;
}

static bool is_same(const struct nf_flash *a, const struct nf_flash *b)
{
    return a->ctx == b->ctx && a->size == b->size && a->page_size == b->page_size && a->granule == b->granule &&
           a->write_once == b->write_once && a->read == b->read && a->program == b->program && a->erase == b->erase &&
           a->is_blank == b->is_blank;
}

static const char *is_steady(const struct conformance *c)
{
    const struct nf_flash flash = *nf_port_flash();
    const struct nf_layout layout = *nf_port_layout();

    (void)c;
    conform_wait(MP_MS(5));
    if (!is_same(&flash, nf_port_flash()) || memcmp(&layout, nf_port_layout(), sizeof layout) != 0)
        return "nf_port_flash() or nf_port_layout() changed: the same struct and contents at every call";
    return NULL;
}

enum { REGIONS_MAX = 7 };
struct region {
    uint32_t address, size;
};

/* The regions of the map. */
static unsigned map(struct region out[REGIONS_MAX])
{
    const struct nf_layout *l = nf_port_layout();
    const uint32_t page = nf_port_flash()->page_size;

    out[0] = (struct region){l->boot_record, 2 * page};
    out[1] = (struct region){l->settings, page};
    out[2] = (struct region){l->objects, l->objects_size};
    out[3] = (struct region){l->slot[0], l->slot_size};
    out[4] = (struct region){l->slot[1], l->slot_size};
    if (l->seal[0] == l->seal[1])
        return 5; /* inside the slots */
    out[5] = (struct region){l->seal[0], page};
    out[6] = (struct region){l->seal[1], page};
    return 7;
}

static const char *is_aligned(const struct conformance *c)
{
    const struct nf_flash *f = nf_port_flash();
    struct region r[REGIONS_MAX];

    (void)c;
    for (unsigned i = 0, n = map(r); i < n; i++) {
        if (r[i].address % f->page_size != 0 || r[i].size % f->page_size != 0)
            return conform_found("a region does not begin or end at a page: addresses and sizes are multiples of "
                                 "page_size",
                                 r[i].address);
        if (r[i].size > f->size || r[i].address > f->size - r[i].size)
            return conform_found("a region lies outside the part: addresses run from 0 to its size", r[i].address);
    }
    return NULL;
}

static const char *is_disjoint(const struct conformance *c)
{
    struct region r[REGIONS_MAX];
    const unsigned n = map(r);

    (void)c;
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < i; k++)
            if (r[i].address < r[k].address + r[k].size && r[k].address < r[i].address + r[i].size)
                return conform_found("two regions share a page: regions do not overlap", r[i].address);
    return NULL;
}

static const char *is_roomy(const struct conformance *c)
{
    const struct nf_flash *f = nf_port_flash();
    const struct nf_layout *l = nf_port_layout();
    struct nf_objects log;

    (void)c;
    if (l->objects_size < 4 * f->page_size)
        return conform_found("objects_size: at least four pages", l->objects_size);
    if (nf_objects_mount(&log, f, l) != 0)
        return conform_found("the object log does not mount: four pages or more, groups of at most 512 KB",
                             l->objects_size);
    if (l->slot_size < 4 * f->page_size || boot_image_capacity(f, l) == 0)
        return conform_found("slot_size: room for an image, its tree and the seal", l->slot_size);
    return NULL;
}

static const char *is_linked_here(const struct conformance *c)
{
    const struct nf_layout *l = nf_port_layout();
    const unsigned slot = nf_port_slot();
    const uintptr_t here = (uintptr_t)conformance_run;

    (void)c;
    if (slot > 1)
        return conform_found("nf_port_slot(): 0 or 1", slot);
    if (l->slot_base[0] == l->slot_base[1])
        return NULL;
    if (l->slot_base[0] % 4 != 0 || l->slot_base[1] % 4 != 0)
        return "slot_base: relocation moves aligned words by whole words";
    if (here < l->slot_base[slot] || here - l->slot_base[slot] >= l->slot_size)
        return conform_found("the running code does not lie in slot_base[nf_port_slot()]: address the CPU sees it at",
                             (uint32_t)here);
    return NULL;
}

static const char *has_cause(const struct conformance *c)
{
    const unsigned cause = (unsigned)nf_port_cause();

    (void)c;
    if (cause != BOOT_CAUSE_REQUEST && (cause < BOOT_CAUSE_POWER || cause > BOOT_CAUSE_WATCHDOG))
        return conform_found("nf_port_cause() is none of enum boot_cause", cause);
    return NULL;
}

static const char *clock_moves(const struct conformance *c)
{
    const mp_time start = nf_port_now();

    (void)c;
    for (uint32_t i = 0; i < 50000000; i++)
        if (nf_port_now() - start >= MP_MS(5))
            return NULL;
    return "nf_port_now() stands still: microseconds since the reset or an earlier origin";
}

static const char *clock_is_monotonic(const struct conformance *c)
{
    mp_time last = nf_port_now();

    (void)c;
    for (unsigned i = 0; i < 200000; i++) {
        const mp_time now = nf_port_now();
        if (now < last)
            return conform_found("nf_port_now() went back: never goes back", (uint32_t)(last - now));
        last = now;
        if (i % 256 == 0)
            conform_breathe();
    }
    return NULL;
}

static const struct conform_case basis_cases[] = {
    {"flash-geometry", geometry},  {"flash-steady", is_steady},  {"layout-pages", is_aligned},
    {"layout-apart", is_disjoint}, {"layout-room", is_roomy},    {"slot", is_linked_here},
    {"cause", has_cause},          {"clock-moves", clock_moves}, {"clock-monotonic", clock_is_monotonic},
};
const struct conform_group conform_basis = {"basis", basis_cases, COUNT(basis_cases)};

/* --- time --------------------------------------------------------------------------------------------------------- */

/* As the loop does after each sleep: what came is taken, a line that is to be opened is. */
static void drain(void)
{
    uint8_t buf[64];

    conform_breathe();
    for (unsigned i = 0; i < 64 && nf_port_link_read(buf, sizeof buf) != 0; i++)
        ;
}

/* Sleeps as the loop does; how often sleep returned before it was time. */
static uint32_t sleep_until(mp_time until)
{
    uint32_t returns = 0;

    while (nf_port_now() < until && returns < 1000000) {
        nf_port_sleep(until);
        returns++;
        drain();
    }
    return returns;
}

static const char *sleep_past(const struct conformance *c)
{
    const mp_time start = nf_port_now();

    (void)c;
    for (unsigned i = 0; i < 50; i++) {
        conform_breathe();
        nf_port_sleep(0);
        nf_port_sleep(nf_port_now());
    }
    const mp_time took = nf_port_now() - start;
    if (took > MP_MS(100))
        return conform_found("nf_port_sleep() of a time that has passed takes its time: returns at once (us for 100)",
                             (uint32_t)took);
    return NULL;
}

static const char *sleep_wakes(const struct conformance *c)
{
    enum { ROUNDS = 21 };
    uint32_t late[ROUNDS];

    (void)c;
    drain();
    for (unsigned i = 0; i < ROUNDS; i++) {
        const mp_time until = nf_port_now() + MP_MS(1 + i * 7 % 50);
        sleep_until(until);
        late[i] = (uint32_t)(nf_port_now() - until);
        for (unsigned k = i; k > 0 && late[k] < late[k - 1]; k--) {
            const uint32_t swap = late[k];
            late[k] = late[k - 1];
            late[k - 1] = swap;
        }
    }
    /* The median: on a system that shares its processor, one sleep may be late. */
    if (late[ROUNDS / 2] > MP_MS(10))
        return conform_found("nf_port_sleep() wakes late (us): within 10 ms after", late[ROUNDS / 2]);
    return NULL;
}

static const char *sleep_rests(const struct conformance *c)
{
    (void)c;
    drain();
    const uint32_t returns = sleep_until(nf_port_now() + MP_SECONDS(1));
    if (returns > 250)
        return conform_found("nf_port_sleep() returns again and again although nothing happens, in 1 s: a loop with "
                             "nothing to do must not spin",
                             returns);
    return NULL;
}

static const char *kick_is_ahead(const struct conformance *c)
{
    (void)c;
    for (unsigned i = 0; i < 100; i++) {
        const mp_time now = nf_port_now(), due = nf_port_kick(now);
        if (due <= now)
            return "nf_port_kick() returns a time that has passed: when it must be told next";
    }
    return NULL;
}

static const struct conform_case time_cases[] = {
    {"sleep-past", sleep_past},
    {"sleep-wakes", sleep_wakes},
    {"sleep-rests", sleep_rests},
    {"watchdog-ahead", kick_is_ahead},
};
const struct conform_group conform_time = {"time", time_cases, COUNT(time_cases)};

/* --- random numbers ----------------------------------------------------------------------------------------------- */

/* Bounds are eight standard deviations or more away from what uniform numbers give. */

/* A hardware source may take milliseconds for each. */
static uint32_t draw(unsigned i)
{
    if (i % 32 == 0)
        conform_breathe();
    return nf_port_random();
}

static const char *random_differs(const struct conformance *c)
{
    enum { DRAWS = 64 };
    uint32_t drawn[DRAWS];

    (void)c;
    for (unsigned i = 0; i < DRAWS; i++) {
        drawn[i] = draw(i);
        for (unsigned k = 0; k < i; k++)
            if (drawn[k] == drawn[i])
                return conform_found("a number comes twice among 64: 32 uniform random bits", drawn[i]);
        if (i > 2 && drawn[i] - drawn[i - 1] == drawn[i - 1] - drawn[i - 2])
            return "it counts: 32 uniform random bits";
    }
    return NULL;
}

static const char *random_bits(const struct conformance *c)
{
    uint16_t ones[32] = {0};

    (void)c;
    for (unsigned i = 0; i < 1024; i++)
        for (uint32_t bit = 0, value = draw(i); bit < 32; bit++)
            ones[bit] = (uint16_t)(ones[bit] + (value >> bit & 1));
    for (uint32_t bit = 0; bit < 32; bit++)
        if (ones[bit] < 512 - 128 || ones[bit] > 512 + 128)
            return conform_found("a bit is nearly always the same: 32 uniform random bits", bit);
    return NULL;
}

/* Chi-square of 8,192 bytes over 256 values: 255, standard deviation 22.6. */
static const char *random_bytes(const struct conformance *c)
{
    uint16_t count[256] = {0};
    uint32_t sum = 0;

    (void)c;
    for (unsigned i = 0; i < 2048; i++)
        for (uint32_t k = 0, value = draw(i); k < 4; k++, value >>= 8)
            count[value & 255]++;
    for (unsigned i = 0; i < 256; i++)
        sum += (uint32_t)((count[i] - 32) * (count[i] - 32));
    if (sum / 32 > 255 + 226 || sum / 32 < 255 - 181)
        return conform_found("bytes are not equally frequent (chi-square of 256 values, about 255): uniform", sum / 32);
    return NULL;
}

static const struct conform_case random_cases[] = {
    {"random-differs", random_differs},
    {"random-bits", random_bits},
    {"random-bytes", random_bytes},
};
const struct conform_group conform_random = {"random", random_cases, COUNT(random_cases)};
