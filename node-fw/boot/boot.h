/*
 * Boot record and boot decision (docs/SPEC.md section 12): which slot to boot, and what to remember of it.
 *
 * The record is an append-only log of 32-byte entries over two pages; the valid entry with the highest sequence is the
 * state. The bootloader calls boot_select() at every reset; the application reads the state with boot_read() and
 * changes it with boot_request(), boot_confirm() and boot_abort(). A torn append leaves the state before it. No
 * globals; reentrant.
 *
 *     port's bootloader: boot_select(&env, cause, &choice) -> copy or jump to choice.slot, or serial recovery
 */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

#include "image.h"
#include "proto/object/receipt.h" /* enum mp_reason */

#define BOOT_RECORD_SIZE 32
#define BOOT_TRIES 3 /* boots of a trial */

enum boot_state { BOOT_NONE = 0, BOOT_CONFIRMED = 1, BOOT_PENDING = 2, BOOT_TRIAL = 3 };

/* flags of a record */
enum {
    BOOT_FLAG_UPDATED = 1, /* CONFIRMED: by boot_confirm(), not by provisioning or a fallback */
    BOOT_FLAG_REVERT = 2   /* the update in question is a signed revert */
};

/*
 * Why the part was reset, as the port's bootloader learned it. The values double as exit statuses of a POSIX node, so
 * that exit(BOOT_CAUSE_MUTE) tells its bootloader. Any other exit status is BOOT_CAUSE_CRASH.
 */
enum boot_cause {
    BOOT_CAUSE_REQUEST = 0,   /* the application asked for a reset: nothing failed */
    BOOT_CAUSE_POWER = 64,    /* power on, or the bootloader itself was restarted */
    BOOT_CAUSE_SELFTEST = 65, /* the application's self-test failed */
    BOOT_CAUSE_MUTE = 66,     /* no echo within the confirm window */
    BOOT_CAUSE_STORAGE = 67,  /* flash failed under the application */
    BOOT_CAUSE_CRASH = 68,    /* fault, signal, unknown exit */
    BOOT_CAUSE_WATCHDOG = 69  /* missed kicks */
};

struct boot_record {
    uint32_t sequence; /* 1 and up */
    uint8_t state;     /* enum boot_state */
    uint8_t home;      /* slot 0 or 1 */
    uint8_t tries;     /* TRIAL: boots left after this one */
    uint8_t reason; /* enum mp_reason. CONFIRMED: why the update was given up, NONE if it was not. TRIAL: how the last
                       trial boot ended */
    uint8_t flags;
    uint16_t confirm_s; /* PENDING, TRIAL: confirm window, seconds */
    uint32_t floor;     /* security counter below which nothing boots */
    uint32_t release;   /* release sequence of the image that `id` names */
    uint8_t id[8]; /* manifest id: PENDING, TRIAL: of the update. CONFIRMED: reason NONE: of home; else of the update
                      given up (or, with MP_REASON_CORRUPT_HOME, of the new home) */
};

/* Encodes with CRC. */
void boot_record_put(uint8_t out[BOOT_RECORD_SIZE], const struct boot_record *r);
/* 0 or MP_ERR_FORMAT (format, state, slot, CRC: a blank or damaged cell). */
int boot_record_get(struct boot_record *r, const uint8_t data[BOOT_RECORD_SIZE]);

/* The newest valid record. 0, or MP_ERR_ABSENT when there is none (r->state is BOOT_NONE then). Unreadable cells are
 * skipped. */
int boot_read(const struct nf_flash *flash, const struct nf_layout *layout, struct boot_record *r);

/*
 * Appends a record; r->sequence is set to one above the newest. Reads back; a cell that did not take it is followed by
 * the next one, and the other page, which is erased first, by a page that is full or took it twice in vain. 0, or
 * MP_ERR_STORE (the state before is still in force).
 */
int boot_append(const struct nf_flash *flash, const struct nf_layout *layout, struct boot_record *r);

/* --- the decision ------------------------------------------------------------------------------------------------- */

/* What is known of the slots when the decision is taken. */
struct boot_facts {
    bool home;   /* H: sealed, SHA-256 matches, counter >= floor */
    bool other;  /* the same of the other slot */
    bool target; /* T: other, and its manifest id is the record's, and (PENDING) its publisher key is still good */
};

/* What a row of the table says. */
enum boot_append_kind {
    BOOT_APPEND_NOTHING,
    BOOT_APPEND_FIRST,       /* CONFIRMED, the verified image with the highest release */
    BOOT_APPEND_OTHER,       /* CONFIRMED other, reason corrupt home, floor kept */
    BOOT_APPEND_TRIAL_FIRST, /* TRIAL with BOOT_TRIES - 1 left */
    BOOT_APPEND_TRIAL_NEXT,  /* TRIAL with one less */
    BOOT_APPEND_ROLLED_BACK, /* CONFIRMED home, reason from the failed trials */
    BOOT_APPEND_BAD_IMAGE    /* CONFIRMED home, reason bad image */
};
enum boot_target { BOOT_TARGET_HOME, BOOT_TARGET_OTHER, BOOT_TARGET_BEST, BOOT_TARGET_RECOVERY };

struct boot_rule {
    uint8_t row;    /* as numbered in the specification */
    uint8_t append; /* enum boot_append_kind */
    uint8_t target; /* enum boot_target */
};

/* The table, as a pure function: the first rule that matches. tries is read in TRIAL only. With BOOT_NONE, home means
 * slot 0. Never NULL. */
const struct boot_rule *boot_decide(enum boot_state state, unsigned tries, const struct boot_facts *facts);

/* Environment of boot_select(). */
struct boot_env {
    const struct nf_flash *flash;
    const struct nf_layout *layout;
    const struct mp_crypto *crypto;
    void *ctx; /* handed to the callbacks */
    /* Verifies the image of an opened, sealed slot: 0 or an error. NULL: boot_image_verify() over flash. A port that
     * copies the image before it runs it verifies the copy here, and keeps it. */
    int (*verify)(void *ctx, unsigned slot, const struct boot_image *image);
    /* May this manifest (200 bytes) be booted for the first time: signature under a key that is in force? 0 or an
     * error. NULL: yes. */
    int (*accept)(void *ctx, const uint8_t *manifest);
};

struct boot_choice {
    int slot;                  /* 0 or 1, or -1: nothing verifies, serial recovery */
    uint8_t row;               /* rule taken */
    bool appended;             /* a record was appended and read back */
    struct boot_record record; /* in force now */
};

/* Decides for this reset, appends what the table says, and names the slot to boot. cause: of this reset. Never fails:
 * see choice->slot. */
void boot_select(const struct boot_env *env, enum boot_cause cause, struct boot_choice *choice);

/* The reason a cause stands for: MP_REASON_NONE for POWER and REQUEST. */
enum mp_reason boot_cause_reason(enum boot_cause cause);
/* The cause behind a POSIX exit status (0 to 255). */
enum boot_cause boot_cause_from_exit(int status);

/* --- application side --------------------------------------------------------------------------------------------- */

/*
 * Asks for a trial of the other slot's image at the next reset. Only in CONFIRMED. manifest: the 200 bytes of the seal,
 * id its id. 0, MP_ERR_STATE, MP_ERR_FORMAT, MP_ERR_COUNTER (below the floor), MP_ERR_STORE.
 */
int boot_request(const struct nf_flash *flash, const struct nf_layout *layout, const struct mp_crypto *crypto,
                 const uint8_t manifest[MP_MANIFEST_SIZE], uint16_t confirm_s, bool revert);

/*
 * The running trial is healthy: its slot becomes home and the floor rises to its security counter (the only place where
 * it rises). 0, MP_ERR_STATE (no trial), MP_ERR_STORE.
 */
int boot_confirm(const struct nf_flash *flash, const struct nf_layout *layout, uint32_t security_counter);

/*
 * Gives an update up. PENDING: back to CONFIRMED home with the reason. TRIAL: no tries left, so that the next reset
 * goes home with the reason. 0, MP_ERR_STATE (CONFIRMED or none), MP_ERR_STORE.
 */
int boot_abort(const struct nf_flash *flash, const struct nf_layout *layout, enum mp_reason reason);

#endif
