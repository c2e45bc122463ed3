/*
 * Update state machine of a node: the protocol engine plus the decisions what to fetch, when to activate, and whether a
 * trial is healthy.
 *
 * The same four calls as the engine's, and the same loop (proto/mesh/node.h); ask nf_wants_reset() after each round.
 * State without pointers; the environment comes with every call. Product-independent: what differs per product is in
 * struct nf_hooks. The phases and timers are listed at the top of nf.c.
 */
#ifndef NF_H
#define NF_H

#include "node-fw/store/settings.h"
#include "node-fw/store/storage.h"
#include "proto/mesh/node.h"

enum nf_phase {
    NF_PHASE_IDLE,      /* runs its confirmed image, wants nothing */
    NF_PHASE_ERASING,   /* other slot is being erased for a fetch */
    NF_PHASE_FETCHING,  /* chunks are missing */
    NF_PHASE_VERIFYING, /* all chunks there; SHA-256 of the whole, then seal */
    NF_PHASE_STAGED,    /* sealed; waits for a directive, spread, breaker, battery */
    NF_PHASE_RESETTING, /* the boot request is written; the host resets */
    NF_PHASE_TRIAL,     /* runs on probation */
    NF_PHASE_COUNT
};

/* What the product supplies. Every function may be NULL. */
struct nf_hooks {
    uint8_t (*battery_percent)(void *ctx); /* 0 to 100; NULL: mains */
    /* The phase changed; the reported phase and reason beside it. For logs and lights. */
    void (*phase)(void *ctx, enum nf_phase from, enum nf_phase to, enum mp_phase reported, enum mp_reason reason);
};

struct nf_env {
    struct mp_env mp; /* its ctx goes to every callback here */
    const struct nf_storage *storage;
    const struct nf_hooks *hooks; /* NULL: none */
};

/* The manifest in question, as far as decisions need it. */
struct nf_target {
    uint8_t id[8];
    uint32_t release;           /* release sequence of the manifest */
    uint32_t directive_release; /* of the directive that names it */
    uint32_t spread_ms;         /* this node's delay */
    uint16_t confirm_s;
    uint8_t battery_min_percent;
    bool is_valid; /* there is one: being fetched, or staged */
    bool is_open;  /* it may be activated */
    bool is_revert;
    bool overrides; /* the breaker */
};

struct nf_node {
    mp_time due; /* own timer, MP_NEVER none; first, beside what every reception looks at */
    mp_time now; /* of the call under way */
    struct mp_node mp;
    struct mp_device device; /* product, model, revision; version, release and floor of what runs */
    struct nf_target target;
    mp_time open_since;        /* the target became open to this node; MP_NEVER not */
    mp_time breaker_since;     /* the breaker first delayed the target; MP_NEVER not */
    mp_time restart_refill;    /* next token for starting a fetch over */
    mp_time confirm_until;     /* end of the trial's confirm window */
    mp_time roll_due;          /* the roll call is answered then; MP_NEVER none */
    uint32_t roll_sequence;    /* of the directive whose roll call was taken up last, 0 none since the start */
    uint32_t id;               /* node id */
    uint32_t home_counter;     /* security counter of what runs */
    uint32_t failed_release;   /* release sequence that is not tried again */
    uint32_t reverted_release; /* directive release whose revert was begun */
    uint32_t noted_sequence;   /* boot record that was reported already */
    uint16_t labels;
    uint16_t reported_target;
    uint8_t phase;           /* enum nf_phase */
    uint8_t reported_phase;  /* enum mp_phase */
    uint8_t reported_reason; /* enum mp_reason */
    uint8_t reset_cause;     /* enum boot_cause, in RESETTING */
    uint8_t restarts;        /* tokens */
    uint8_t home_id[8];
    uint8_t failed_id[8];
    uint8_t revert_id[8]; /* what reverted_release reverts to */
    bool has_home;        /* home_id is valid */
    bool has_failed;
    bool has_reverted; /* the revert of reverted_release is done: not again */
    bool is_confirmed; /* the boot record says CONFIRMED and what runs is home: updates may begin */
    bool echoed;       /* trial: a member answered */
    bool selftest_done;
    bool selftest_ok;
    bool frozen;        /* key chain */
    bool dirty;         /* decide again */
    bool report_failed; /* the report could not be persisted: try again */
};

/*
 * Starts: takes the next boot counter and persists it, copies the provisioned keyset into the store if it has none,
 * starts the engine, looks at the boot record. Call after the storage is mounted. 0, MP_ERR_STORE, MP_ERR_FORMAT,
 * MP_ERR_KEY.
 */
int nf_init(struct nf_node *n, const struct nf_env *env, const struct mp_settings *settings, mp_time now);

/* Why the host was reset: once after nf_init(), by hosts that know. When the image that runs was confirmed and nothing
 * else is being told, a crash, a watchdog and the like are reported, once for an image. */
void nf_note_reset(struct nf_node *n, const struct nf_env *env, mp_time now, enum boot_cause cause);

/* As mp_node_receive() and its companions. */
int nf_receive(struct nf_node *n, const struct nf_env *env, mp_time now, const uint8_t *frame, size_t len);
void nf_expire(struct nf_node *n, const struct nf_env *env, mp_time now);
int nf_write(struct nf_node *n, const struct nf_env *env, mp_time now, uint8_t *buf, size_t cap);
mp_time nf_next_expiry(const struct nf_node *n);

/* The application's self-test ended. Needed once per trial; otherwise ignored unless it failed in a trial. */
void nf_selftest(struct nf_node *n, const struct nf_env *env, mp_time now, bool ok);

/* True in a trial that is not confirmed yet. */
bool nf_is_trial(const struct nf_node *n);

/* True when the host should reset now (POSIX: exit with the cause as status). Send what nf_write() still has if you
 * like; nothing is lost otherwise. */
bool nf_wants_reset(const struct nf_node *n, enum boot_cause *cause);

#endif
