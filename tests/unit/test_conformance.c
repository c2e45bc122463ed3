/*
 * The conformance test of ports, tested: a good port in memory on virtual time passes with every geometry, and each of
 * many faults, one at a time, fails the check that is about it, by name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node-fw/port/crypto/crypto_sodium.h"
#include "node-fw/port/port.h"
#include "tests/port/conformance.h"
#include "tests/port/tester.h"

enum { SIZE_MAX_BYTES = 256 * 1024, RING = 512, TICK_US = 20, LINES = 80, BOOTS_MAX = 20 };

enum fault {
    NONE,
    START_FAILS,
    GEOMETRY_PAGE,
    GEOMETRY_GRANULE,
    GEOMETRY_SIZE,
    FLASH_CHANGES,
    LAYOUT_UNALIGNED,
    LAYOUT_OUTSIDE,
    LAYOUT_OVERLAP,
    LAYOUT_ONE_PAGE_RECORD,
    LAYOUT_SMALL_LOG,
    LAYOUT_SMALL_SLOT,
    LAYOUT_SEAL_IN_SLOT,
    SLOT_TWO,
    SLOT_ELSEWHERE,
    CAUSE_UNKNOWN,
    CLOCK_STANDS,
    CLOCK_GOES_BACK,
    CLOCK_STOPS_ASLEEP,
    CLOCK_FAST,
    SLEEP_LATE,
    SLEEP_SPINS,
    SLEEP_PAST,
    SLEEP_DEAF,
    KICK_PAST,
    RANDOM_CONSTANT,
    RANDOM_COUNTS,
    RANDOM_STUCK_BIT,
    RANDOM_SHORT,
    RANDOM_SKEWED,
    RANDOM_SEED,
    CRYPTO_NONE,
    CRYPTO_SIPHASH,
    CRYPTO_SHA,
    CRYPTO_REFUSES,
    CRYPTO_ACCEPTS,
    CRYPTO_CODE,
    CRYPTO_SLOW,
    CRYPTO_HIGH_S,
    ERASE_HALF,
    ERASE_NEIGHBOUR,
    ERASE_ZEROS,
    ERASE_FAILS,
    ERASE_MISALIGNED,
    PROGRAM_LAST,
    PROGRAM_NOTHING,
    PROGRAM_ROUNDS,
    PROGRAM_PARTS,
    PROGRAM_LONG,
    PROGRAM_ACROSS,
    PROGRAM_SETS_BITS,
    PROGRAM_ONCE_ONLY,
    PROGRAM_NEIGHBOUR,
    PROGRAM_OUTSIDE,
    ERASE_OUTSIDE,
    READ_OUTSIDE,
    READ_ODD,
    READ_OVERRUNS,
    FLASH_ALIAS,
    BLANK_IS_ONES,
    BLANK_NEVER,
    FLASH_ELSEWHERE,
    FLASH_FORGETS,
    CRASH_IN_CHECK,
    WATCHDOG_SHORT,
    WATCHDOG_NEVER_BITES,
    RESET_CAUSE_LOST,
    RESET_CAUSE_CRASH,
    RESET_OTHER_SLOT,
    LINK_DOWN,
    LINK_NOT_EMPTY,
    LINK_LOSES,
    LINK_REORDERS,
    LINK_OVER_CAP,
    LINK_SMALL_BUFFER,
    LINK_NO_FLOW,
    LINK_ALWAYS_LOST,
    LINK_WRITE_WAITS,
    LINK_WRITE_NEVER_FAILS,
    LINK_WRITE_CUTS
};

static struct {
    enum fault fault;
    struct nf_flash flash;
    struct nf_layout layout;
    uint8_t data[SIZE_MAX_BYTES];
    uint8_t programmed[SIZE_MAX_BYTES / 4];
    mp_time now, kicked;
    uint32_t draws, boots;
    unsigned slot;
    enum boot_cause cause;
    jmp_buf reset;
    struct tester tester;
    uint8_t ring[4096];
    size_t held;
    mp_time moved; /* the line carried bytes up to then */
    bool lost;
    char line[LINES][256];
    unsigned lines;
} fake;

static bool is(enum fault fault)
{
    return fake.fault == fault;
}

/* --- time --------------------------------------------------------------------------------------------------------- */

static void restart(enum boot_cause cause)
{
    fake.cause = is(RESET_CAUSE_LOST) ? BOOT_CAUSE_POWER : cause;
    if (is(RESET_CAUSE_CRASH) && cause == BOOT_CAUSE_CRASH)
        fake.cause = BOOT_CAUSE_WATCHDOG;
    if (is(RESET_OTHER_SLOT))
        fake.slot ^= 1;
    longjmp(fake.reset, 1);
}

static void watch(void)
{
    const mp_time limit = is(WATCHDOG_NEVER_BITES) ? MP_NEVER : is(WATCHDOG_SHORT) ? MP_SECONDS(2) : MP_SECONDS(6);
    if (fake.now - fake.kicked > limit)
        restart(BOOT_CAUSE_WATCHDOG);
}

mp_time nf_port_now(void)
{
    static unsigned calls;
    fake.now += is(CLOCK_STANDS) ? 0 : TICK_US;
    watch();
    if (is(CLOCK_GOES_BACK) && ++calls % 5000 == 0)
        return fake.now - MP_MS(3);
    return is(CLOCK_FAST) ? fake.now * 32768 / 32000 * 32768 / 32000 : fake.now;
}

/* Bytes come at 100 a millisecond while there is room. */
static void carry(void)
{
    const size_t room = is(LINK_NO_FLOW) ? sizeof fake.ring : RING;
    size_t n = (size_t)((fake.now - fake.moved) / 10), got;
    if (n == 0)
        return;
    fake.moved = fake.now;
    n = n > room - fake.held ? room - fake.held : n;
    got = tester_give(&fake.tester, fake.now, fake.ring + fake.held, n);
    fake.held += got;
    if (is(LINK_SMALL_BUFFER) && fake.held > 128)
        fake.held = 128; /* the rest is gone */
    if (is(LINK_NO_FLOW) && fake.held > RING)
        fake.held = RING;
}

void nf_port_sleep(mp_time until)
{
    until = is(CLOCK_FAST) && until != MP_NEVER ? until * 32000 / 32768 * 32000 / 32768 : until;
    if (is(SLEEP_SPINS))
        return;
    if (is(SLEEP_PAST))
        fake.now += MP_MS(3);
    if (fake.now >= until)
        return;
    while (fake.now < until && (fake.held == 0 || is(SLEEP_DEAF))) {
        fake.now += 1000 < until - fake.now ? 1000 : until - fake.now;
        /* The world goes on, this clock does not: the tester's time runs ahead. */
        for (unsigned i = 0; is(CLOCK_STOPS_ASLEEP) && i < fake.tester.jobs; i++)
            fake.tester.job[i].due -= 500;
        carry();
    }
    watch();
    if (is(SLEEP_LATE))
        fake.now += MP_MS(15);
}

mp_time nf_port_kick(mp_time now)
{
    fake.kicked = fake.now;
    return is(KICK_PAST) ? now : now + MP_SECONDS(3);
}

uint32_t nf_port_random(void)
{
    fake.draws++;
    uint32_t x = fake.draws * 2654435761u + (is(RANDOM_SEED) ? 1 : fake.boots * 977u);
    for (unsigned i = 0; i < 3; i++) {
        x ^= x >> 16;
        x *= 0x7feb352du;
        x ^= x >> 15;
        x *= 0x846ca68bu;
    }
    if (is(RANDOM_CONSTANT))
        return 0x12345678;
    if (is(RANDOM_COUNTS))
        return fake.draws * 0x01010101u;
    if (is(RANDOM_STUCK_BIT))
        return x | 0x400;
    if (is(RANDOM_SHORT))
        return x & 0xFFFF;
    if (is(RANDOM_SKEWED)) /* every byte between 0 and 127 comes twice as often */
        return (x >> 24 & 1) != 0 ? x & 0x7F7F7F7F : x;
    return x;
}

/* --- flash -------------------------------------------------------------------------------------------------------- */

static bool is_inside(uint32_t address, size_t len)
{
    return address <= fake.flash.size && len <= fake.flash.size - address;
}

/* What a part with transparent encryption does to the byte at an address. */
static uint8_t cipher(uint32_t address)
{
    return fake.flash.is_blank == NULL ? 0 : (uint8_t)(address * 167 + 13);
}

static bool flash_is_blank(void *ctx, uint32_t address, size_t len)
{
    (void)ctx;
    if (is(BLANK_NEVER))
        return false;
    for (size_t i = 0; i < len; i++) {
        const bool erased = is(BLANK_IS_ONES) ? (fake.data[address + i] ^ cipher((uint32_t)(address + i))) == 0xFF ||
                                                    !fake.programmed[(address + i) / fake.flash.granule]
                                              : !fake.programmed[(address + i) / fake.flash.granule];
        if (!erased)
            return false;
    }
    return true;
}

static int flash_read(void *ctx, uint32_t address, void *data, size_t len)
{
    (void)ctx;
    if (!is_inside(address, len) && !is(READ_OUTSIDE))
        return NF_FLASH_RANGE;
    if (is(FLASH_ALIAS))
        address %= fake.flash.size / 8 * 5;
    if (is(READ_ODD) && (len & 1) != 0 && len > 1)
        address &= ~1u;
    for (size_t i = 0; i < len; i++) {
        const uint32_t at = (uint32_t)(address + i) % fake.flash.size;
        ((uint8_t *)data)[i] = (uint8_t)(fake.data[at] ^ cipher(at));
    }
    if (is(READ_OVERRUNS) && len % 4 == 1)
        ((uint8_t *)data)[len] = 0;
    return NF_FLASH_OK;
}

static bool may_program(uint32_t address, size_t len)
{
    const uint32_t granule = fake.flash.granule;
    if (!is_inside(address, len) && !is(PROGRAM_OUTSIDE))
        return false;
    if (address % granule != 0 && !is(PROGRAM_ROUNDS))
        return false;
    return len % granule == 0 || is(PROGRAM_PARTS);
}

static int flash_program(void *ctx, uint32_t address, const void *data, size_t len)
{
    const uint32_t granule = fake.flash.granule, page = fake.flash.page_size;
    (void)ctx;
    if (is(CRASH_IN_CHECK) && address % granule == 1)
        restart(BOOT_CAUSE_CRASH);
    if (!may_program(address, len))
        return NF_FLASH_RANGE;
    if (is(PROGRAM_LONG) && len > 512)
        len = 512;
    if (is(PROGRAM_ACROSS) && address / page != (address + len - 1) / page)
        len = page - address % page;
    if (is(PROGRAM_LAST) && len > granule)
        len -= granule;
    if (is(PROGRAM_NOTHING) && fake.lines >= 21)
        return NF_FLASH_OK;
    if (is(FLASH_ALIAS))
        address %= fake.flash.size / 8 * 5;
    address -= address % granule;
    for (size_t i = 0; i < len; i++) {
        const uint32_t at = (uint32_t)(address + i) % fake.flash.size;
        const uint8_t byte = ((const uint8_t *)data)[i];
        if (i % granule == 0 && (fake.flash.write_once || is(PROGRAM_ONCE_ONLY)) && fake.programmed[at / granule])
            return NF_FLASH_FAILED;
        fake.programmed[at / granule] = true;
        fake.data[at] = is(PROGRAM_SETS_BITS) ? byte : fake.data[at] & (byte ^ cipher(at));
    }
    if (is(PROGRAM_NEIGHBOUR))
        fake.data[(address + page) % fake.flash.size] &= 0x7E;
    return NF_FLASH_OK;
}

static int flash_erase(void *ctx, uint32_t address)
{
    const uint32_t page = fake.flash.page_size;
    (void)ctx;
    fake.now += MP_MS(2);
    if (is(ERASE_OUTSIDE) && !is_inside(address, page))
        return NF_FLASH_OK;
    if (!is_inside(address, page) || (address % page != 0 && !is(ERASE_MISALIGNED)))
        return NF_FLASH_RANGE;
    if (is(ERASE_FAILS) && fake.lines >= 20)
        return NF_FLASH_FAILED;
    if (is(FLASH_ALIAS))
        address %= fake.flash.size / 8 * 5;
    address -= address % page;
    memset(fake.data + address, is(ERASE_ZEROS) ? 0 : 0xFF, is(ERASE_HALF) ? page / 2 : page);
    memset(fake.programmed + address / fake.flash.granule, 0, page / fake.flash.granule);
    if (is(ERASE_NEIGHBOUR) && address + page < fake.flash.size)
        memset(fake.data + address + page, 0xFF, 16);
    if (is(FLASH_ELSEWHERE))
        fake.data[fake.layout.settings + 40] ^= 1;
    return NF_FLASH_OK;
}

/* --- the rest of the port ----------------------------------------------------------------------------------------- */

int nf_port_start(void)
{
    return is(START_FAILS) ? MP_ERR_STORE : 0;
}

const struct nf_flash *nf_port_flash(void)
{
    if (is(FLASH_CHANGES))
        fake.flash.ctx = fake.flash.ctx == NULL ? &fake : NULL;
    return &fake.flash;
}

const struct nf_layout *nf_port_layout(void)
{
    return &fake.layout;
}

static uint64_t bad_siphash(const uint8_t key[16], const uint8_t *data, size_t len)
{
    return __builtin_bswap64(crypto_sodium()->siphash(key, data, len));
}

static void bad_update(struct mp_sha256 *state, const uint8_t *data, size_t len)
{
    if (len != 11) /* forgets short pieces */
        crypto_sodium()->sha256_update(state, data, len);
}

static int refuse(const uint8_t sig[64], const uint8_t *message, size_t len, const uint8_t pub[32])
{
    (void)sig, (void)message, (void)len, (void)pub;
    return MP_ERR_SIGNATURE;
}

static int accept(const uint8_t sig[64], const uint8_t *message, size_t len, const uint8_t pub[32])
{
    (void)sig, (void)message, (void)len, (void)pub;
    return 0;
}

static int coded(const uint8_t sig[64], const uint8_t *message, size_t len, const uint8_t pub[32])
{
    return crypto_sodium()->verify(sig, message, len, pub) == 0 ? 0 : -1;
}

static int slow(const uint8_t sig[64], const uint8_t *message, size_t len, const uint8_t pub[32])
{
    fake.now += MP_MS(4500);
    return crypto_sodium()->verify(sig, message, len, pub);
}

/* Takes S modulo the order. */
static int malleable(const uint8_t sig[64], const uint8_t *message, size_t len, const uint8_t pub[32])
{
    return sig[63] >= 0x10 ? 0 : crypto_sodium()->verify(sig, message, len, pub);
}

const struct mp_crypto *nf_port_crypto(void)
{
    static struct mp_crypto table;
    table = *crypto_sodium();
    if (is(CRYPTO_NONE))
        table.verify = NULL;
    if (is(CRYPTO_SIPHASH))
        table.siphash = bad_siphash;
    if (is(CRYPTO_SHA))
        table.sha256_update = bad_update;
    if (is(CRYPTO_REFUSES))
        table.verify = refuse;
    if (is(CRYPTO_ACCEPTS))
        table.verify = accept;
    if (is(CRYPTO_CODE))
        table.verify = coded;
    if (is(CRYPTO_SLOW))
        table.verify = slow;
    if (is(CRYPTO_HIGH_S))
        table.verify = malleable;
    return &table;
}

bool nf_port_link_is_up(void)
{
    return !is(LINK_DOWN);
}

int nf_port_link_read(uint8_t *buf, size_t cap)
{
    static unsigned calls;
    fake.now += 5;
    carry();
    if (is(LINK_ALWAYS_LOST) && ++calls % 20 == 0)
        return MP_ERR_ABSENT;
    if (fake.lost) {
        fake.lost = false;
        return MP_ERR_ABSENT;
    }
    if (is(LINK_NOT_EMPTY) && fake.held == 0)
        return MP_ERR_STATE;
    size_t n = fake.held < cap ? fake.held : cap;
    memcpy(buf, fake.ring, n);
    memmove(fake.ring, fake.ring + n, fake.held - n);
    fake.held -= n;
    if (is(LINK_REORDERS) && n > 1) {
        const uint8_t swap = buf[n - 1];
        buf[n - 1] = buf[n - 2];
        buf[n - 2] = swap;
    }
    if (is(LINK_LOSES) && n > 40)
        memmove(buf + 20, buf + 21, --n - 20);
    if (is(LINK_OVER_CAP) && n == cap && cap == 7)
        buf[n] = 0;
    return (int)n;
}

int nf_port_link_write(const uint8_t *data, size_t len)
{
    if (tester_is_paused(&fake.tester, fake.now)) {
        if (is(LINK_WRITE_NEVER_FAILS))
            return 0;
        fake.now += is(LINK_WRITE_WAITS) ? MP_SECONDS(1) : MP_MS(100);
        watch();
        fake.lost = true;
        return MP_ERR_ABSENT;
    }
    if (is(LINK_WRITE_CUTS) && len > 200)
        len = 200;
    fake.now += len * 10;
    tester_take(&fake.tester, fake.now, data, len);
    return 0;
}

unsigned nf_port_slot(void)
{
    return is(SLOT_TWO) ? 2 : fake.slot;
}

enum boot_cause nf_port_cause(void)
{
    return is(CAUSE_UNKNOWN) ? (enum boot_cause)7 : fake.cause;
}

_Noreturn void nf_port_reset(enum boot_cause cause)
{
    restart(cause);
    abort();
}

void nf_port_log(const char *line)
{
    if (fake.lines < LINES)
        snprintf(fake.line[fake.lines++], sizeof fake.line[0], "%s", line);
}

/* --- running it --------------------------------------------------------------------------------------------------- */

static void crash(void)
{
    restart(BOOT_CAUSE_CRASH);
}

static void hear(void *ctx, const char *text)
{
    (void)ctx;
    nf_port_log(text);
}

struct part {
    uint32_t page, granule;
    bool write_once, is_encrypted;
};

static void make_part(const struct part *part, enum fault fault)
{
    const uint32_t page = part->page;
    const uint32_t slots = 7 * page;
    memset(&fake, 0, sizeof fake);
    fake.fault = fault;
    fake.flash = (struct nf_flash){.size = 31 * page,
                                   .page_size = page,
                                   .granule = part->granule,
                                   .write_once = part->write_once,
                                   .read = flash_read,
                                   .program = flash_program,
                                   .erase = flash_erase,
                                   .is_blank = part->is_encrypted ? flash_is_blank : NULL};
    fake.layout = (struct nf_layout){.settings = 2 * page,
                                     .objects = 3 * page,
                                     .objects_size = 4 * page,
                                     .slot = {slots, slots + 12 * page},
                                     .slot_size = 12 * page};
    memset(fake.data, 0x96, fake.flash.size);
    memset(fake.programmed, 1, sizeof fake.programmed);
    fake.now = fake.kicked = MP_SECONDS(100);
    fake.cause = BOOT_CAUSE_POWER;
    tester_init(&fake.tester, hear, NULL);
    if (is(GEOMETRY_PAGE))
        fake.flash.page_size = 3000;
    if (is(GEOMETRY_GRANULE))
        fake.flash.granule = 2;
    if (is(GEOMETRY_SIZE))
        fake.flash.size += 100;
    if (is(LAYOUT_UNALIGNED))
        fake.layout.settings += 16;
    if (is(LAYOUT_OUTSIDE))
        fake.layout.slot[1] += page;
    if (is(LAYOUT_OVERLAP))
        fake.layout.objects -= page;
    if (is(LAYOUT_ONE_PAGE_RECORD))
        fake.layout.boot_record = page;
    if (is(LAYOUT_SMALL_LOG))
        fake.layout.objects_size = 2 * page;
    if (is(LAYOUT_SMALL_SLOT))
        fake.layout.slot_size = page;
    if (is(LAYOUT_SEAL_IN_SLOT)) {
        fake.layout.seal[0] = slots;
        fake.layout.seal[1] = slots + page;
    }
    if (is(SLOT_ELSEWHERE))
        fake.layout.slot_base[1] = 0x20000;
}

/* Failures, as conformance_run() says. */
static int run(const struct part *part, enum fault fault)
{
    const struct conformance c = {
        .say = nf_port_log, .crash = crash, .has_tester = true, .may_reset = true, .clock_percent = 2};
    make_part(part, fault);
    while (fake.boots++ < BOOTS_MAX) {
        fake.draws = 0;
        fake.kicked = fake.now += MP_MS(100);
        fake.held = 0;
        tester_drop(&fake.tester);
        if (is(FLASH_FORGETS) && fake.boots > 1)
            memset(fake.data, 0xFF, fake.flash.size);
        if (setjmp(fake.reset) == 0)
            return conformance_run(&c);
    }
    return -1;
}

static unsigned count_lines(const char *start, const char *name)
{
    unsigned n = 0;
    for (unsigned i = 0; i < fake.lines; i++) {
        const size_t len = strlen(start);
        n += strncmp(fake.line[i], start, len) == 0 && strncmp(fake.line[i] + len, name, strlen(name)) == 0;
    }
    return n;
}

static void print_lines(void)
{
    for (unsigned i = 0; i < fake.lines; i++)
        print_message("%s\n", fake.line[i]);
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static const struct part parts[] = {{1024, 4, false, false}, {1024, 4, true, false}, {2048, 8, true, false},
                                    {4096, 4, false, false}, {4096, 16, true, true}, {8192, 32, true, false}};

enum { ENCRYPTED = 4 };

static void test_a_good_port_passes_with_every_geometry(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const int failed = run(&parts[i], NONE);
        if (failed != 0)
            print_lines();
        assert_int_equal(failed, 0);
        assert_int_equal(count_lines("FAIL ", ""), 0);
        assert_int_equal(count_lines("skip ", ""), i == ENCRYPTED ? 0 : 1);
        assert_int_equal(count_lines("skip ", "flash-blank"), i == ENCRYPTED ? 0 : 1);
        assert_int_equal(count_lines("ok ", ""), i == ENCRYPTED ? 50 : 49);
        assert_int_equal(fake.lines, 51);
        assert_int_equal(fake.boots, 7);
        for (unsigned k = 0; k + 1 < fake.lines; k++) /* every name is another one */
            for (unsigned l = 0; l < k; l++)
                assert_string_not_equal(fake.line[k], fake.line[l]);
    }
}

static const struct seeded {
    enum fault fault;
    const char *check; /* that must fail */
} seeded[] = {
    {START_FAILS, "start"},
    {GEOMETRY_PAGE, "flash-geometry"},
    {GEOMETRY_GRANULE, "flash-geometry"},
    {GEOMETRY_SIZE, "flash-geometry"},
    {FLASH_CHANGES, "flash-steady"},
    {LAYOUT_UNALIGNED, "layout-pages"},
    {LAYOUT_OUTSIDE, "layout-pages"},
    {LAYOUT_OVERLAP, "layout-apart"},
    {LAYOUT_ONE_PAGE_RECORD, "layout-apart"},
    {LAYOUT_SMALL_LOG, "layout-room"},
    {LAYOUT_SMALL_SLOT, "layout-room"},
    {LAYOUT_SEAL_IN_SLOT, "layout-apart"},
    {SLOT_TWO, "slot"},
    {SLOT_ELSEWHERE, "slot"},
    {CAUSE_UNKNOWN, "cause"},
    {CLOCK_STANDS, "clock-moves"},
    {CLOCK_GOES_BACK, "clock-monotonic"},
    {CLOCK_STOPS_ASLEEP, "clock-rate"},
    {CLOCK_FAST, "clock-rate"},
    {SLEEP_LATE, "sleep-wakes"},
    {SLEEP_SPINS, "sleep-rests"},
    {SLEEP_PAST, "sleep-past"},
    {SLEEP_DEAF, "link-wakes"},
    {KICK_PAST, "watchdog-ahead"},
    {RANDOM_CONSTANT, "random-differs"},
    {RANDOM_COUNTS, "random-differs"},
    {RANDOM_STUCK_BIT, "random-bits"},
    {RANDOM_SHORT, "random-bits"},
    {RANDOM_SKEWED, "random-bytes"},
    {RANDOM_SEED, "random-restart"},
    {CRYPTO_NONE, "crypto-siphash"},
    {CRYPTO_SIPHASH, "crypto-siphash"},
    {CRYPTO_SHA, "crypto-sha256"},
    {CRYPTO_REFUSES, "crypto-accepts"},
    {CRYPTO_ACCEPTS, "crypto-refuses"},
    {CRYPTO_CODE, "crypto-refuses"},
    {CRYPTO_SLOW, "crypto-accepts"},
    {CRYPTO_HIGH_S, "crypto-refuses"},
    {ERASE_HALF, "flash-erase"},
    {ERASE_NEIGHBOUR, "flash-erase-one"},
    {ERASE_ZEROS, "flash-erase"},
    {ERASE_FAILS, "flash-erase"},
    {ERASE_MISALIGNED, "flash-misaligned"},
    {PROGRAM_LAST, "flash-program"},
    {PROGRAM_NOTHING, "flash-program"},
    {PROGRAM_ROUNDS, "flash-misaligned"},
    {PROGRAM_PARTS, "flash-misaligned"},
    {PROGRAM_LONG, "flash-program-long"},
    {PROGRAM_ACROSS, "flash-program-across"},
    {PROGRAM_SETS_BITS, "flash-program-again"},
    {PROGRAM_ONCE_ONLY, "flash-program-again"},
    {PROGRAM_NEIGHBOUR, "flash-program-granule"},
    {PROGRAM_OUTSIDE, "flash-outside"},
    {ERASE_OUTSIDE, "flash-outside"},
    {READ_OUTSIDE, "flash-outside"},
    {READ_ODD, "flash-read-any"},
    {READ_OVERRUNS, "flash-read-any"},
    {FLASH_ALIAS, "flash-every-page"},
    {BLANK_IS_ONES, "flash-blank"},
    {BLANK_NEVER, "flash-erase"},
    {FLASH_ELSEWHERE, "flash-rest"},
    {CRASH_IN_CHECK, "flash"},
    {WATCHDOG_SHORT, "watchdog-patience"},
    {WATCHDOG_NEVER_BITES, "watchdog-bites"},
    {RESET_CAUSE_LOST, "reset-selftest"},
    {RESET_CAUSE_CRASH, "reset-crash"},
    {RESET_OTHER_SLOT, "slot-restart"},
    {LINK_DOWN, "link-up"},
    {LINK_NOT_EMPTY, "link-up"},
    {LINK_LOSES, "link-echo"},
    {LINK_REORDERS, "link-echo"},
    {LINK_OVER_CAP, "link-echo"},
    {LINK_SMALL_BUFFER, "link-buffer"},
    {LINK_NO_FLOW, "link-flow"},
    {LINK_ALWAYS_LOST, "link-echo"},
    {LINK_WRITE_WAITS, "link-stalls"},
    {LINK_WRITE_NEVER_FAILS, "link-stalls"},
    {LINK_WRITE_CUTS, "link-echo"},
};

static void test_every_fault_is_named(void **state)
{
    (void)state;
    unsigned missed = 0;
    for (unsigned i = 0; i < sizeof seeded / sizeof seeded[0]; i++) {
        char name[40];
        const bool is_of_cipher = seeded[i].fault == BLANK_IS_ONES || seeded[i].fault == BLANK_NEVER;
        run(&parts[is_of_cipher ? ENCRYPTED : 0], seeded[i].fault);
        snprintf(name, sizeof name, "%s: ", seeded[i].check);
        if (count_lines("FAIL ", name) == 0) {
            print_message("fault %d is not found by %s:\n", (int)seeded[i].fault, seeded[i].check);
            print_lines();
            missed++;
        }
    }
    assert_int_equal(missed, 0);
}

/* A part that forgets its flash at every reset starts from the beginning for ever: nobody must take that for a pass. */
static void test_a_part_without_a_memory_never_ends(void **state)
{
    (void)state;
    assert_int_equal(run(&parts[0], FLASH_FORGETS), -1);
    assert_int_equal(count_lines("conformance:", ""), 0);
}

static void test_without_tester_and_resets_their_checks_are_left_out(void **state)
{
    (void)state;
    const struct conformance c = {.say = nf_port_log};
    make_part(&parts[0], NONE);
    assert_int_equal(conformance_run(&c), 0);
    assert_int_equal(count_lines("skip ", "link-"), 7);
    assert_int_equal(count_lines("skip ", "clock-rate"), 1);
    assert_int_equal(count_lines("FAIL ", ""), 0);
    assert_int_equal(count_lines("ok reset-", ""), 0);
    assert_int_equal(fake.boots, 0);
}

static void test_lines_go_over_the_line(void **state)
{
    (void)state;
    const struct conformance c = {.say = conformance_say_link, .has_tester = true};
    make_part(&parts[0], NONE);
    assert_int_equal(conformance_run(&c), 0);
    assert_true(fake.tester.is_done);
    assert_int_equal(fake.tester.failed, 0);
    assert_true(fake.tester.ok > 35);
    assert_int_equal(fake.tester.ok + fake.tester.skipped, fake.lines - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_good_port_passes_with_every_geometry),
        cmocka_unit_test(test_every_fault_is_named),
        cmocka_unit_test(test_a_part_without_a_memory_never_ends),
        cmocka_unit_test(test_without_tester_and_resets_their_checks_are_left_out),
        cmocka_unit_test(test_lines_go_over_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
