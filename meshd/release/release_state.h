/*
 * State of the release engine: private to meshd/release.
 *
 * Nodes and rollouts live in two tables; every rollout keeps one entry for every node, at the node's index. A rollout's
 * own clock
 * ("active" time) stands still while it is held or the gateway was not listening, so that nobody is called silent for a
 * time in which it could not have acted or been heard.
 */
#ifndef MD_RELEASE_STATE_H
#define MD_RELEASE_STATE_H

#include <stdio.h>
#include <string.h>

#include "release.h"

#define NO_RING 255

struct node {
    struct md_fact fact;
    bool has_report;
    struct mp_report report;
};

struct entry {
    uint64_t opened_ms; /* active time, 0 not opened */
    uint16_t draw;
    uint16_t serial; /* see struct md_release_node; no report has serial 0 */
    uint8_t ring;    /* NO_RING: in none */
    uint8_t outcome; /* enum md_outcome */
    uint8_t phase;
    uint8_t reason;
    bool dirty;
};

struct rollout {
    struct md_rollout_config config;
    enum md_phase phase;
    enum md_phase resumes;
    enum md_cause cause;
    uint8_t ring;
    bool override_breaker;
    bool lifted_min; /* an operator went past the minimum of reports of this ring */
    bool lifted_cap; /* ... past the cap */
    bool foreign;    /* another gateway steers */
    bool calling;    /* the directive asks for the roll call; from then until the next ring opens or all is done */
    uint8_t foreign_action;
    uint8_t to_count; /* revert: manifests to go back to */
    uint16_t opened_labels;
    uint16_t opened_share;
    uint16_t foreign_generation; /* the foreign head that was seen last */
    uint32_t foreign_sequence;
    uint32_t foreign_floor;
    uint32_t to_release;
    uint64_t started_ms;
    uint64_t phase_ms;   /* active time */
    uint64_t entered_ms; /* the same on the wall */
    uint64_t resumes_ms; /* HELD: phase_ms of the phase it goes back to */
    uint64_t held_ms;    /* HELD: since when, host time */
    uint64_t paused_ms;  /* host time - active time */
    uint64_t called_ms;  /* active time of the newest roll call, 0 none */
    uint64_t due_ms;     /* host time of the next timer */
    uint8_t to[MP_DIRECTIVE_MANIFESTS_MAX / 2][8];
    char why[MD_TEXT_MAX];
    bool changed;        /* to be saved */
    bool stale;          /* something was fed since the last evaluation */
    struct entry *entry; /* node_count of them */
};

struct md_release {
    const struct mp_crypto *crypto;
    uint64_t now_ms;
    struct node *node;
    uint32_t node_count;
    uint32_t node_cap;
    uint32_t *bucket; /* open addressing: index + 1, 0 free; a power of two */
    uint32_t bucket_count;
    unsigned rollout_count;
    struct rollout rollout[MD_ROLLOUTS_MAX]; /* ascending release */
    uint32_t dirty_count;
    uint32_t dirty_node; /* where pop goes on */
    unsigned dirty_rollout;
    unsigned decision_first;
    unsigned decision_count;
    struct md_decision decision[MD_DECISIONS_MAX];
};

/* Host time that never goes back, whatever the caller says. */
static inline uint64_t clamp_now(struct md_release *r, uint64_t now_ms)
{
    if (now_ms > r->now_ms)
        r->now_ms = now_ms;
    return r->now_ms;
}

static inline uint64_t active_ms(const struct rollout *o, uint64_t now_ms)
{
    uint64_t at = o->phase == MD_PHASE_HELD ? o->held_ms : now_ms;
    return at > o->paused_ms ? at - o->paused_ms : 0;
}

static inline bool is_finished(const struct rollout *o)
{
    return o->phase == MD_PHASE_DONE || o->phase == MD_PHASE_REVERTED;
}

/* Of a report that says "confirmed": the image was reset without being asked. A frozen key chain, say, is told as a
 * reason too. */
static inline bool is_reset(uint8_t reason)
{
    return reason == MP_REASON_SELFTEST || reason == MP_REASON_WATCHDOG || reason == MP_REASON_CRASHED ||
           reason == MP_REASON_MUTE || reason == MP_REASON_STORAGE;
}

/* release.c */
struct rollout *release_find(const struct md_release *r, uint32_t release);
/* Inserts an empty rollout in order, entries allocated and classified. NULL: no room or memory. */
struct rollout *release_insert(struct md_release *r, const struct md_rollout_config *config);
void release_remove(struct md_release *r, struct rollout *o);
struct md_counts release_counts(const struct md_release *r, const struct rollout *o, uint8_t ring);
void release_set_outcome(struct md_release *r, struct entry *e, enum md_outcome outcome, uint8_t phase, uint8_t reason);
bool release_is_open(const struct md_release *r, const struct rollout *o, uint32_t i);
int release_index(const struct md_release *r, uint32_t node);

/* Marks an entry as to be stored. */
void release_touch_entry(struct md_release *r, struct entry *e);

/* release_gate.c */
void release_phase_set(struct md_release *r, struct rollout *o, enum md_phase phase);
void release_hold(struct md_release *r, struct rollout *o, enum md_cause cause);
void release_open(struct md_release *r, struct rollout *o, const char *who);

/* release_text.c */
const char *release_version(const struct rollout *o, char out[24]);
/* Queues a decision on a ring and makes its sentence the rollout's "why". */
__attribute__((format(printf, 5, 6))) void release_decide(struct md_release *r, struct rollout *o,
                                                          enum md_decision_kind kind, uint8_t ring, const char *format,
                                                          ...);
/* "1 of 2 nodes rolled back from 3.0.0 (self-test failed), 1 silent past 600 s, limit 0" */
void release_failures(const struct md_release *r, const struct rollout *o, uint8_t ring, char out[MD_TEXT_MAX]);

#endif
