/*
 * Flash in memory with the rules of node-fw/store/flash.h, for tests: what a real part would punish later stops the
 * program at once, and power can be cut at any operation.
 *
 * It stops (panic) on: a misaligned or out-of-range access, a bit from 0 back to 1, a second program of a granule when
 * write-once, one program more than flash_sim_limit_writes() allows, and a program of anything in a page whose last
 * erase was cut. One operation is one program or erase call. State is one flat struct: snapshots by memcpy, restored to
 * the same address. A part above FLASH_SIM_SIZE_MAX may be as large as FLASH_SIM_SPARSE_MAX, but only so many bytes of
 * it may lie in pages that are not blank; up to there `data` holds the part as it is.
 *
 * What a cut leaves: the bits of a torn granule are partly programmed; with write_once it reads as uncorrectable (ECC).
 * A faint granule reads blank although its program had begun; with write_once it takes no other one: every other such
 * granule refuses it, and the rest report success and read as uncorrectable. Parts that take several writes program a
 * faint word as any other.
 */
#ifndef TESTS_FLASH_SIM_H
#define TESTS_FLASH_SIM_H

#include "node-fw/store/flash.h"

#define FLASH_SIM_SIZE_MAX (72u * 1024)
#define FLASH_SIM_SPARSE_MAX (256u * 1024)
#define FLASH_SIM_PAGES_MAX 256u
#define FLASH_SIM_TRACE 256u
#define FLASH_SIM_NEVER UINT64_MAX

/* How an operation that is cut leaves the flash. */
enum flash_sim_cut {
    FLASH_SIM_ABSENT,      /* nothing happened */
    FLASH_SIM_TORN_FIRST,  /* program: torn in the first granule. erase: the first half of the page is erased */
    FLASH_SIM_TORN_MIDDLE, /* program: torn in the middle granule. erase: the second half of the page is erased */
    FLASH_SIM_TORN_LAST, /* program: torn in the last granule. erase: everything reads blank, and nothing may rely on it
                          */
    FLASH_SIM_NOISE,     /* erase: every granule is damaged (program: as TORN_LAST) */
    FLASH_SIM_FAINT_FIRST,  /* program: faint in the first granule. erase: everything reads as before, and nothing may
                               rely on it */
    FLASH_SIM_FAINT_MIDDLE, /* program: done to the middle, faint there (erase: as FAINT_FIRST) */
    FLASH_SIM_WHOLE,        /* it was done, then the power went */
    FLASH_SIM_CUTS
};

struct flash_sim {
    struct nf_flash flash;               /* hand out &sim->flash; its ctx is this struct */
    uint64_t ops;                        /* operations so far */
    uint64_t cut_at;                     /* the operation with this number is cut, FLASH_SIM_NEVER none */
    uint8_t cut;                         /* enum flash_sim_cut */
    uint8_t writes_max;                  /* programs of a granule between erases, 0: as many as the bits allow */
    bool is_dead;                        /* the cut fired: every call fails until flash_sim_power_on() */
    bool is_sparse;                      /* pages get room in data when they need it */
    uint16_t trace[FLASH_SIM_TRACE];     /* granules of the newest operations, by number modulo the size; 0: an erase */
    uint16_t frame[FLASH_SIM_PAGES_MAX]; /* by page: one above the number of its frame in data, 0: a blank page */
    uint8_t data[FLASH_SIM_SIZE_MAX];
    uint8_t state[FLASH_SIM_SIZE_MAX / 4]; /* a byte a granule of data: flags of flash_sim.c */
};

/* A part that is blank, whole and powered. */
void flash_sim_init(struct flash_sim *sim, uint32_t size, uint32_t page_size, uint32_t granule, bool write_once);
/* The part takes at most `writes` (1 to 3) programs of a granule between erases. */
void flash_sim_limit_writes(struct flash_sim *sim, unsigned writes);
/* The part lies behind transparent encryption, as ESP32's (Espressif's documentation, "Flash Encryption"): erased flash
 * and what a cut left half programmed read as the cipher makes of them, never as uncorrectable; every third granule that
 * is erased reads as ones nevertheless, since nothing forbids it. Right after init. */
void flash_sim_encrypt(struct flash_sim *sim);
/* Cuts power at operation `at` (0 is the first since init). */
void flash_sim_cut_at(struct flash_sim *sim, uint64_t at, enum flash_sim_cut cut);
/* Power is back; no further cut is planned. */
void flash_sim_power_on(struct flash_sim *sim);
/* Damages a range of a part up to FLASH_SIM_SIZE_MAX as a failing part would: reads of it are uncorrectable from now
 * on. */
void flash_sim_damage(struct flash_sim *sim, uint32_t address, uint32_t len);

/* Called with a sentence on a broken rule; must not return. NULL: prints it and aborts. */
extern void (*flash_sim_panic)(const char *what, uint32_t address);

#endif
