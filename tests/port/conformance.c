#include "conformance.h"

#include <string.h>

#include "conform.h"
#include "node-fw/port/line.h"
#include "proto/hci/hci_defs.h"
#include "proto/mp_wire.h"
#include "proto/object/settings.h" /* mp_crc32() */

#define ROUNDS_MAX 100000000u /* of a clock that stops */
#define PATIENCE MP_SECONDS(4)
#define BITE_LIMIT MP_SECONDS(60)

/*
 * Progress, so that a reset is survived: records of 32 bytes, appended to the first page of the object log, the last
 * valid one counts. Magic u32, stage u8, group u8, slot u8, zero u8, ok u16, failed u16, skipped u16, zero u16, first
 * random number of that start u32, fill, CRC-32 of the 28 bytes before.
 */
enum { RECORD = 32 };
#define MAGIC 0x464E4F43u /* "CONF" */

/* In this order. Each is recorded before it is begun. */
enum stage {
    STAGE_CHECKS,
    STAGE_REQUEST, /* the part was reset with this cause */
    STAGE_SELFTEST,
    STAGE_MUTE,
    STAGE_STORAGE,
    STAGE_CRASH,
    STAGE_PATIENCE, /* the watchdog was not fed for as long as the loop may need */
    STAGE_BITE,     /* the watchdog was not fed any more */
    STAGE_DONE
};

static struct {
    const struct conformance *c;
    uint32_t next; /* offset of the next record in its page */
    uint32_t draw; /* first random number since the start */
    uint32_t found;
    bool has_found;
    bool is_kept; /* progress can be recorded */
    uint16_t ok, failed, skipped;
} run;

static const struct conform_group *const groups[] = {&conform_basis,  &conform_time,  &conform_random,
                                                     &conform_crypto, &conform_flash, &conform_link};
enum { GROUPS = sizeof groups / sizeof groups[0] };

/* --- what checks share -------------------------------------------------------------------------------------------- */

const char *conform_found(const char *sentence, uint32_t number)
{
    run.found = number;
    run.has_found = true;
    return sentence;
}

void conform_breathe(void)
{
    nf_port_kick(nf_port_now());
}

void conform_wait(mp_time us)
{
    const mp_time end = nf_port_now() + us;

    for (uint32_t i = 0; i < ROUNDS_MAX && nf_port_now() < end; i++)
        conform_breathe();
}

void conformance_say_link(const char *line)
{
    uint8_t command[HCI_COMMAND_HEADER + NF_LINE_MAX] = {HCI_H4_COMMAND};
    const size_t n = strlen(line) < NF_LINE_MAX ? strlen(line) : NF_LINE_MAX;

    mp_put16(command + 1, HCI_VENDOR_LOG);
    command[3] = (uint8_t)n;
    memcpy(command + HCI_COMMAND_HEADER, line, n);
    for (unsigned i = 0; i < 20 && nf_port_link_write(command, HCI_COMMAND_HEADER + n) != 0; i++) {
        uint8_t buf[64];
        nf_port_link_read(buf, sizeof buf); /* a line that is down is opened when it is read */
        conform_wait(MP_MS(100));
    }
}

static void say(const char *kind, const char *name, const char *text)
{
    struct nf_line line;

    nf_line_begin(&line, kind);
    nf_line_text(&line, name);
    if (text != NULL) {
        nf_line_text(&line, ": ");
        nf_line_text(&line, text);
    }
    if (run.has_found) {
        nf_line_text(&line, " (found ");
        nf_line_number(&line, run.found);
        nf_line_text(&line, ")");
    }
    run.has_found = false;
    run.c->say(line.text);
}

static void judge(const char *name, const char *verdict)
{
    if (verdict == NULL) {
        run.ok++;
        run.has_found = false;
        say("ok ", name, NULL);
    } else if (verdict[0] == '~') {
        run.skipped++;
        say("skip ", name, verdict + 1);
    } else {
        run.failed++;
        say("FAIL ", name, verdict);
    }
}

/* --- progress ----------------------------------------------------------------------------------------------------- */

struct progress {
    enum stage stage;
    unsigned group;
    unsigned slot;
    uint32_t draw;
};

/* False: there is none, so this is the beginning. */
static bool progress_get(struct progress *p)
{
    const struct nf_flash *f = nf_port_flash();
    uint8_t r[RECORD];
    bool is_there = false;

    for (uint32_t at = 0; at + RECORD <= f->page_size; at += RECORD) {
        if (f->read(f->ctx, nf_port_layout()->objects + at, r, RECORD) != NF_FLASH_OK || mp_get32(r) != MAGIC ||
            mp_get32(r + 28) != mp_crc32(r, 28) || r[4] > STAGE_DONE || r[5] > GROUPS)
            break;
        *p = (struct progress){(enum stage)r[4], r[5], r[6], mp_get32(r + 16)};
        run.ok = (uint16_t)mp_get16(r + 8);
        run.failed = (uint16_t)mp_get16(r + 10);
        run.skipped = (uint16_t)mp_get16(r + 12);
        run.next = at + RECORD;
        is_there = true;
    }
    return is_there;
}

static void progress_put(enum stage stage, unsigned group)
{
    const struct nf_flash *f = nf_port_flash();
    uint8_t r[RECORD] = {0}, back[RECORD];

    mp_put32(r, MAGIC);
    r[4] = (uint8_t)stage;
    r[5] = (uint8_t)group;
    r[6] = (uint8_t)nf_port_slot();
    mp_put16(r + 8, run.ok);
    mp_put16(r + 10, run.failed);
    mp_put16(r + 12, run.skipped);
    mp_put32(r + 16, run.draw);
    mp_put32(r + 28, mp_crc32(r, 28));
    run.is_kept = run.next + RECORD <= f->page_size &&
                  f->program(f->ctx, nf_port_layout()->objects + run.next, r, RECORD) == NF_FLASH_OK &&
                  f->read(f->ctx, nf_port_layout()->objects + run.next, back, RECORD) == NF_FLASH_OK &&
                  memcmp(r, back, RECORD) == 0;
    run.next += RECORD;
}

static void progress_clear(void)
{
    const struct nf_flash *f = nf_port_flash();

    run.next = 0;
    if (f->erase(f->ctx, nf_port_layout()->objects) != NF_FLASH_OK)
        run.next = UINT32_MAX / 2; /* nothing can be kept */
}

/* --- groups ------------------------------------------------------------------------------------------------------- */

/* False: the first group failed, which ends with its first failure, since its checks rest on each other. */
static bool run_group(unsigned g)
{
    for (unsigned i = 0; i < groups[g]->count && (g > 0 || run.failed == 0); i++) {
        const struct conform_case *k = &groups[g]->cases[i];
        conform_breathe();
        judge(k->name, k->check(run.c));
    }
    return g > 0 || run.failed == 0;
}

/* Groups from `first` on, each on record before it is begun. The first one erases nothing; where it fails, nothing else
 * is begun. False: it failed. */
static bool run_groups(unsigned first)
{
    for (unsigned g = first; g < GROUPS; g++) {
        if (g == 0) {
            if (!run_group(0))
                return false;
            progress_clear();
            continue;
        }
        progress_put(STAGE_CHECKS, g);
        run_group(g);
    }
    return true;
}

/* --- resets ------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum boot_cause cause;
} resets[] = {
    [STAGE_REQUEST] = {"reset-request", BOOT_CAUSE_REQUEST}, [STAGE_SELFTEST] = {"reset-selftest", BOOT_CAUSE_SELFTEST},
    [STAGE_MUTE] = {"reset-mute", BOOT_CAUSE_MUTE},          [STAGE_STORAGE] = {"reset-storage", BOOT_CAUSE_STORAGE},
    [STAGE_CRASH] = {"reset-crash", BOOT_CAUSE_CRASH},       [STAGE_BITE] = {"watchdog-bites", BOOT_CAUSE_WATCHDOG},
};

/* What is to be said after the reset that this stage asked for. */
static const char *judge_reset(const struct progress *p)
{
    const enum boot_cause cause = nf_port_cause();

    if (cause != resets[p->stage].cause)
        return conform_found("nf_port_cause() does not tell why the part was reset", (uint32_t)cause);
    return NULL;
}

/* Begins a stage: does not come back from most. */
static void begin(enum stage stage)
{
    progress_put(stage, 0);
    if (!run.is_kept)
        return;
    switch (stage) {
    case STAGE_REQUEST:
    case STAGE_SELFTEST:
    case STAGE_MUTE:
    case STAGE_STORAGE:
        nf_port_reset(resets[stage].cause);
    case STAGE_CRASH:
        if (run.c->crash == NULL)
            __builtin_trap();
        run.c->crash();
        break;
    case STAGE_PATIENCE:
    case STAGE_BITE: {
        conform_breathe();
        const mp_time end = nf_port_now() + (stage == STAGE_BITE ? BITE_LIMIT : PATIENCE);
        while (nf_port_now() < end)
            ;
        conform_breathe();
        break;
    }
    case STAGE_CHECKS:
    case STAGE_DONE:
        break;
    }
}

/* All stages from this one on. */
static void run_resets(enum stage stage)
{
    const bool has_watchdog = nf_port_kick(nf_port_now()) != MP_NEVER;

    for (; stage < STAGE_DONE; stage++) {
        const char *name = stage == STAGE_PATIENCE ? "watchdog-patience" : resets[stage].name;
        if (stage >= STAGE_PATIENCE && !has_watchdog) {
            judge(name, CONFORM_SKIP("nf_port_kick() says that there is no watchdog"));
            continue;
        }
        begin(stage);
        if (!run.is_kept)
            judge(name, "progress cannot be recorded: flash keeps what was programmed");
        else if (stage == STAGE_PATIENCE)
            judge(name, NULL);
        else
            judge(name, stage == STAGE_BITE ? "nf_port_kick() was not called for 60 s and nothing happened: a port "
                                              "whose watchdog is not fed resets"
                                            : "the part goes on: nothing returns from there");
    }
    progress_put(STAGE_DONE, 0);
}

/* The start after a reset in the middle of something. Where to go on. */
static enum stage resume(const struct progress *p, unsigned *group)
{
    *group = GROUPS;
    if (nf_port_slot() != p->slot) {
        judge("slot-restart",
              conform_found("another slot runs after a reset: the confirmed image is started again, and nf_port_slot() "
                            "tells where it lies",
                            nf_port_slot()));
        return STAGE_DONE; /* nobody knows any more what may be destroyed */
    }
    if (p->stage == STAGE_CHECKS) {
        const struct conform_group *g = p->group < GROUPS ? groups[p->group] : NULL;
        judge(g != NULL ? g->name : "checks",
              conform_found("the part was reset in the middle of these checks", (uint32_t)nf_port_cause()));
        *group = p->group + 1;
        return STAGE_REQUEST;
    }
    if (p->stage == STAGE_PATIENCE)
        judge("watchdog-patience", "it bit within 4 s: no watchdog may be shorter than 5 s");
    else
        judge(resets[p->stage].name, judge_reset(p));
    if (p->stage == STAGE_REQUEST)
        judge("random-restart", run.draw != p->draw ? NULL
                                                    : "the first number after a reset is that of the start before: fit "
                                                      "for nonces");
    return (enum stage)(p->stage + 1);
}

int conformance_run(const struct conformance *c)
{
    struct progress p;
    struct nf_line line;
    enum stage stage = STAGE_REQUEST;
    unsigned group = 0;
    const int rc = nf_port_start();

    memset(&run, 0, sizeof run);
    run.c = c;
    run.draw = nf_port_random();
    if (rc != 0) {
        judge("start", conform_found("nf_port_start() returns an error", (uint32_t)-rc));
    } else {
        if (progress_get(&p) && p.stage != STAGE_DONE)
            stage = resume(&p, &group);
        else
            run.ok = run.failed = run.skipped = 0;
        if (run_groups(group))
            run_resets(c->may_reset ? stage : STAGE_DONE);
    }
    nf_line_begin(&line, "conformance: ");
    nf_line_number(&line, run.ok);
    nf_line_text(&line, " ok, ");
    nf_line_number(&line, run.failed);
    nf_line_text(&line, " failed, ");
    nf_line_number(&line, run.skipped);
    nf_line_text(&line, " skipped");
    c->say(line.text);
    return run.failed;
}
