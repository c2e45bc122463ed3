/*
 * Release engine: runs up to four rollouts at once over one fleet, ring after ring, and says which directive each
 * should have now.
 *
 * Pure logic: no I/O, no clock, no store; the gateway and the simulator run the same code and, given the same calls, it
 * decides the same. Flow:
 *
 *   md_release_node()     what the registry knows of a node (labels, model, hardware, retired), at start and on change
 *   md_release_report()   an authentic report, in the order they were committed
 *   md_release_head()     the mesh's newest directive of a release, whoever signed it
 *   md_release_tick()     evaluates every rollout; call after the above and at md_release_next_expiry()
 *   md_release_want()     the directive a rollout should have; differs from the head: sign a new one, commit, publish
 *   md_release_decision() what was decided and why, for the audit log; drain after every tick or operator call
 *   md_release_save(), md_release_pop_node()   persist in the same transaction as what caused the change
 *
 * A rollout waits in STAGING for the members of the next ring to hold the image, opens the ring (OPEN) until the gate's
 * worst case fits its limits, lets it SOAK, calls the roll of all that confirmed so far, and goes on; after the last
 * ring it is DONE. A gate that fails HOLDs; only an operator resumes. Gates of rings opened earlier stay armed. HELD,
 * REVERTING and REVERTED are the other phases. Every time is in ms of a clock that never goes back; time spent in HELD
 * does not count against deadlines. Opaque; memory from malloc; not thread safe, reentrant across instances.
 */
#ifndef MD_RELEASE_H
#define MD_RELEASE_H

#include "policy.h"
#include "proto/object/manifest.h"
#include "proto/object/receipt.h"

#define MD_ROLLOUTS_MAX MP_RELEASES_MAX
#define MD_WHO_MAX 32             /* bytes of an operator's name, final zero included */
#define MD_TEXT_MAX 240           /* bytes of a decision's sentence, final zero included */
#define MD_DECISIONS_MAX 32       /* kept until drained; the oldest is dropped beyond */
#define MD_RELEASE_STATE_MAX 2048 /* bytes md_release_save() may write */

struct md_release;

enum md_phase {
    MD_PHASE_STAGING,   /* the next ring's members fetch */
    MD_PHASE_OPEN,      /* the ring may activate; outcomes are awaited */
    MD_PHASE_SOAKING,   /* the gate would pass; time passes */
    MD_PHASE_DONE,      /* every ring passed; late joiners still take it */
    MD_PHASE_HELD,      /* by operator, gate or another gateway; see cause */
    MD_PHASE_REVERTING, /* nodes go back */
    MD_PHASE_REVERTED,  /* every node that ran it is back, or the deadline passed */
    MD_PHASE_COUNT
};

enum md_cause {
    MD_CAUSE_NONE,
    MD_CAUSE_OPERATOR,
    MD_CAUSE_GATE,    /* too many failures */
    MD_CAUSE_REPORTS, /* too few members reported by the deadline, or none belong to the ring */
    MD_CAUSE_CAP,     /* a ring's labels alone exceed the cap */
    MD_CAUSE_FOREIGN, /* another gateway signed: it holds, or steers differently */
    MD_CAUSE_COUNT
};

/* What a node is to one rollout. */
enum md_outcome {
    MD_OUTCOME_OUTSIDE, /* not addressed: retired, model or hardware not covered, runs something newer, or in no ring */
    MD_OUTCOME_WAITING, /* addressed, image not reported yet */
    MD_OUTCOME_STAGED,  /* holds the image */
    MD_OUTCOME_TRIAL,
    MD_OUTCOME_CONFIRMED, /* runs it */
    MD_OUTCOME_FAILED,    /* rolled back, refused, left the release after confirming it, or was reset in service */
    MD_OUTCOME_SILENT,    /* opened, no outcome by the deadline, or no answer to the roll call: a failure until heard */
    MD_OUTCOME_WAIVED,    /* failed, and an operator resumed all the same: out of the denominator */
    MD_OUTCOME_COUNT
};

/* What the registry knows of a node. */
struct md_fact {
    uint32_t node;
    uint32_t product;
    uint16_t model;
    uint16_t labels;
    uint8_t hw_revision; /* 0 to 31 */
    bool enrolled;       /* reported at least once; provisioned nodes that never did are not counted */
    bool retired;
};

/* One image of a release. */
struct md_release_image {
    uint8_t id[8]; /* manifest id */
    uint32_t product;
    uint16_t model;
    uint32_t hw_revisions;
    uint32_t version; /* for the sentences */
};

struct md_rollout_config {
    uint32_t release;    /* release sequence, not 0 */
    uint32_t salt;       /* drawn at random by the caller */
    uint8_t image_count; /* 1 to MP_DIRECTIVE_MANIFESTS_MAX */
    struct md_release_image image[MP_DIRECTIVE_MANIFESTS_MAX];
    struct md_policy policy;
};

/* The directive a rollout should have now. */
struct md_want {
    bool sign;      /* false: nothing is to be signed (another gateway steers) */
    uint8_t action; /* enum mp_action */
    uint8_t flags;
    uint8_t manifest_count;
    uint16_t labels;
    uint16_t share;
    uint16_t spread_s;
    uint16_t confirm_s;
    uint32_t release;
    uint32_t salt;
    uint8_t manifests[MP_DIRECTIVE_MANIFESTS_MAX][8];
};

/* Members of one ring (ring MD_RING_TOTAL: of all rings) by outcome. */
#define MD_RING_TOTAL 255
struct md_counts {
    uint32_t members; /* waiting + staged + trial + confirmed + failed + silent */
    uint32_t waiting;
    uint32_t staged;
    uint32_t trial;
    uint32_t confirmed;
    uint32_t failed;
    uint32_t silent;
    uint32_t waived; /* not among members */
    uint32_t limit;  /* failures the ring may have, both bounds considered; MD_UNLIMITED none */
};

enum md_decision_kind {
    MD_DECISION_STARTED,
    MD_DECISION_OPENED,  /* a ring was opened */
    MD_DECISION_WIDENED, /* more of a capped ring was opened */
    MD_DECISION_SOAKING,
    MD_DECISION_RESOAK, /* back from soaking: members joined or changed */
    MD_DECISION_PASSED,
    MD_DECISION_DONE,
    MD_DECISION_HELD,
    MD_DECISION_RESUMED,
    MD_DECISION_ADVANCED, /* by an operator, against the gate */
    MD_DECISION_REVERTING,
    MD_DECISION_REVERTED,
    MD_DECISION_OVERRIDE, /* the breaker flag was set or cleared */
    MD_DECISION_GAP,      /* the gateway was not listening; deadlines moved */
    MD_DECISION_CALLED,   /* soaked: a roll call is held */
    MD_DECISION_KIND_COUNT
};

struct md_decision {
    uint64_t at_ms;
    uint32_t release;
    enum md_decision_kind kind;
    uint8_t ring; /* index */
    struct md_counts counts;
    char text[MD_TEXT_MAX]; /* counts, bound and rule in one sentence */
};

struct md_rollout_info {
    uint32_t release;
    enum md_phase phase;
    enum md_phase resumes; /* HELD: phase it goes back to */
    enum md_cause cause;   /* HELD: why */
    uint8_t ring;          /* index of the current ring */
    uint8_t ring_count;
    uint16_t share;  /* opened so far, basis points */
    uint16_t labels; /* opened so far */
    uint64_t started_ms;
    uint64_t phase_ms;                      /* when the phase was entered */
    uint64_t due_ms;                        /* when it ends by itself (soak, deadline), MD_NEVER_MS none */
    const struct md_rollout_config *config; /* owned by the engine, valid until the rollout is dropped */
    char why[MD_TEXT_MAX];                  /* newest decision */
};
#define MD_NEVER_MS UINT64_MAX

struct md_release_node {
    uint32_t node;
    uint32_t release;
    uint8_t ring;    /* index, 255 none */
    uint8_t outcome; /* enum md_outcome */
    uint8_t phase;   /* FAILED: what it reported, enum mp_phase; 0 else */
    uint8_t reason;  /* FAILED: enum mp_reason; 0 else */
    /* WAIVED: of the report it was waived with. CONFIRMED, SILENT: of its newest report before the roll call that it
     * did not answer yet. 0 else. */
    uint16_t serial;
    /* When it was opened, on a clock that stands still while the rollout is held; 0 not yet. Its deadline counts from
     * here. */
    uint64_t opened_ms;
};

/* NULL when memory is short. */
struct md_release *md_release_new(const struct mp_crypto *crypto);
void md_release_free(struct md_release *r);

/* Adds or updates a node. 0, MP_ERR_FORMAT (node or revision out of range) or MP_ERR_ROOM (memory). */
int md_release_node(struct md_release *r, uint64_t now_ms, const struct md_fact *fact);
/* An authentic, committed report; marks the node enrolled. 0 or MP_ERR_ABSENT (unknown node: dropped). */
int md_release_report(struct md_release *r, uint64_t now_ms, const struct mp_report *report);
/* The mesh's head of a release. own: this gateway signed it. An own head changes nothing; a foreign one that differs
 * from what is wanted holds the rollout (MD_CAUSE_FOREIGN) and keeps this gateway from signing until an operator
 * resumes. 0 or MP_ERR_ABSENT (no such rollout). */
int md_release_head(struct md_release *r, uint64_t now_ms, const struct mp_directive *head, bool own);

/* --- operator. who: a name for the log. All: 0, MP_ERR_ABSENT (no such rollout), MP_ERR_STATE (not in this phase) or
 * as said --- */

/* Starts a rollout. MP_ERR_FORMAT (policy or images; error holds the sentence), MP_ERR_DUPLICATE (runs already),
 * MP_ERR_ROOM (four are active, or it is below all four that the mesh keeps). A finished rollout with the lowest
 * release makes room. */
int md_release_start(struct md_release *r, uint64_t now_ms, const struct md_rollout_config *config, const char *who,
                     char *error, size_t error_size);
int md_release_hold(struct md_release *r, uint64_t now_ms, uint32_t release, const char *who);
/* Goes on where it was held; failures so far are waived. Also takes over from another gateway. */
int md_release_resume(struct md_release *r, uint64_t now_ms, uint32_t release, const char *who);
/* Manual override: closes the current ring's gate as passed (its failures are waived) and goes to the next. From
 * STAGING it opens the ring at once. */
int md_release_advance(struct md_release *r, uint64_t now_ms, uint32_t release, const char *who);
/* Reverts to the given manifests, one for each image of the release, in the same order (at most 4 images, else
 * MP_ERR_ROOM); `to_release` is what nodes report running afterwards. */
int md_release_revert(struct md_release *r, uint64_t now_ms, uint32_t release, uint32_t to_release,
                      const uint8_t to[][8], unsigned count, const char *who);
/* Sets or clears the directive flag that overrides the breaker. */
int md_release_override(struct md_release *r, uint64_t now_ms, uint32_t release, bool on, const char *who);
/* Forgets a finished (DONE, REVERTED) or HELD rollout. */
int md_release_drop(struct md_release *r, uint32_t release);
/* The host did not listen for so long (it was down): deadlines and soaks move by as much. */
void md_release_gap(struct md_release *r, uint64_t now_ms, uint64_t gap_ms);

/* Evaluates every rollout: opens, soaks, passes, holds. Idempotent for equal now. One pass over all nodes when anything
 * changed: feed many reports, then tick once. */
void md_release_tick(struct md_release *r, uint64_t now_ms);
/* When to tick next if nothing is fed before: MD_NEVER_MS none. */
uint64_t md_release_next_expiry(const struct md_release *r);

/* Rollout i (0 to MD_ROLLOUTS_MAX-1), ascending release. 0 or MP_ERR_ABSENT. */
int md_release_info(const struct md_release *r, unsigned i, struct md_rollout_info *info);
int md_release_find(const struct md_release *r, uint32_t release, struct md_rollout_info *info);
int md_release_want(const struct md_release *r, uint32_t release, struct md_want *want);
/* Counts of one ring or of all. 0 or MP_ERR_ABSENT. */
int md_release_counts(const struct md_release *r, uint32_t release, uint8_t ring, struct md_counts *counts);
/* What the i-th known node is to a rollout: 0, or MP_ERR_ABSENT past the last node. For listings. */
int md_release_member(const struct md_release *r, uint32_t release, uint32_t i, struct md_release_node *out);
/* Takes the oldest decision not taken yet. False when there is none. */
bool md_release_decision(struct md_release *r, struct md_decision *out);

/* True when the wanted directive says something else than the head (NULL: there is none). */
bool md_want_differs(const struct md_want *want, const struct mp_directive *head);
/* Fills the directive that follows `head` (NULL: first of its release; its id in head_id): sequence, floor, previous by
 * SPEC 2.2. A want that is not a hold clears the head's hold. */
void md_want_directive(const struct md_want *want, const struct mp_directive *head, const uint8_t head_id[8],
                       struct mp_directive *out);

/* --- persistence -------------------------------------------------------------------------------------------------- */

/* Fixed state of one rollout (no nodes): length, or MP_ERR_ABSENT, MP_ERR_ROOM. */
int md_release_save(const struct md_release *r, uint32_t release, uint8_t *data, size_t cap);
/* Puts a saved rollout back. Before md_release_put_node(). 0, MP_ERR_LENGTH, MP_ERR_FORMAT, MP_ERR_DUPLICATE,
 * MP_ERR_ROOM. */
int md_release_load(struct md_release *r, const uint8_t *data, size_t len);
/* Whether the fixed state changed since the last call; cleared by it. */
bool md_release_pop_changed(struct md_release *r, uint32_t release);
/* Next (node, rollout) whose outcome changed and is to be stored. False when there is none. */
bool md_release_pop_node(struct md_release *r, struct md_release_node *out);
/* Everything counts as changed again: the transaction that was to keep it failed. */
void md_release_touch(struct md_release *r);
/* Restores one: the node must be known. 0, MP_ERR_ABSENT, MP_ERR_FORMAT. */
int md_release_put_node(struct md_release *r, const struct md_release_node *in);

/* --- exact copies ------------------------------------------------------------------------------------------------- */

/*
 * What the calls above leave out on purpose (they serve a host that restarts): newest reports, deadlines as computed,
 * decisions that nobody took yet. For a host that must go on exactly as if it had never stopped, such as a checkpoint of
 * a simulation. Little-endian on every machine; the version of the program must be the same.
 */
typedef int (*md_release_put)(void *ctx, const void *data, size_t size); /* 0, or negative: given up */
typedef int (*md_release_get)(void *ctx, void *data, size_t size);       /* 0, or negative: given up */
/* 0, or what put returned. */
int md_release_dump(const struct md_release *r, md_release_put put, void *ctx);
/* Into an engine that was just made. 0, MP_ERR_FORMAT (out of range), MP_ERR_ROOM (memory), MP_ERR_STATE (not empty), or
 * what get returned; on an error only md_release_free() may follow. */
int md_release_undump(struct md_release *r, md_release_get get, void *ctx);
/* Bytes of memory it holds. */
size_t md_release_bytes(const struct md_release *r);

/* Lower-case names, static storage ("soaking", "gate", "confirmed"); "?" out of range. */
const char *md_phase_name(enum md_phase phase);
const char *md_cause_name(enum md_cause cause);
const char *md_outcome_name(enum md_outcome outcome);
const char *md_decision_name(enum md_decision_kind kind);
/* Words for a report's reason ("self-test failed") and phase ("rolled back"). */
const char *md_reason_name(unsigned reason);
const char *md_report_phase_name(unsigned phase);

#endif
