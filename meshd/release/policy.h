/*
 * Release policy: which rings a release opens in turn, and what each must show before the next one opens.
 *
 * Pure: no I/O, no clock. A policy is written as text, one ring a clause, so that an operator types it, the store keeps
 * it and the audit log shows it in the same words:
 *
 *   canary: label=canary soak=60 deadline=600; quarter: share=25% soak=60 max-failures=1; all: share=100%
 *   stage-deadline=3600 spread=30 confirm=60 cap=50 roll-call=10m; canary: ...
 *
 * Membership is cumulative: a node belongs to the first ring whose labels it carries or whose share exceeds its draw.
 * Reentrant.
 */
#ifndef MD_POLICY_H
#define MD_POLICY_H

#include "proto/object/directive.h"

#define MD_RINGS_MAX 8
#define MD_RING_NAME_MAX 24 /* bytes, final zero included: letters, digits, '-', '_' */
#define MD_UNLIMITED UINT32_MAX
#define MD_POLICY_TEXT_MAX 3072
#define MD_LABEL_ANY 16     /* bits of labels */
#define MD_ROLL_CALL_S 1800 /* default */

struct md_ring_policy {
    char name[MD_RING_NAME_MAX];
    uint16_t labels;          /* nodes with one of these labels are in */
    uint16_t share;           /* basis points of all nodes, cumulative: not below that of the ring before */
    uint32_t soak_s;          /* between the last outcome that was needed and the next ring */
    uint32_t deadline_s;      /* a member opened for so long without an outcome has failed (silence) */
    uint32_t min_reports;     /* members heard of (confirmed or failed) before the gate may pass; default 1 */
    uint32_t max_failures;    /* members that may fail; MD_UNLIMITED: no such bound. Default 0 */
    uint16_t max_failures_bp; /* members that may fail, basis points; 10000: no such bound (default) */
};

struct md_policy {
    uint8_t ring_count;        /* 1 to MD_RINGS_MAX */
    uint16_t spread_s;         /* spread window of activations */
    uint16_t confirm_s;        /* confirm window of trials */
    uint32_t roll_call_s;      /* who does not answer a roll call for so long is silent; 0: none is held */
    uint32_t stage_deadline_s; /* a ring opens when its members staged, or at the latest so long after it became next */
    uint32_t
        cap; /* members opened and without outcome at any time; MD_UNLIMITED. Share is raised in steps to keep it */
    struct md_ring_policy ring[MD_RINGS_MAX];
};

/* Looks up a label name: its bit 0 to 15, or -1. */
typedef int (*md_label_lookup)(void *ctx, const char *name);

/* Defaults: no ring, spread 0, confirm 60 s, stage deadline 86400 s, no cap, roll call 1800 s. */
void md_policy_init(struct md_policy *p);

/* A ring of the defaults: soak 300 s, deadline 3600 s, min_reports 1, max_failures 0. NULL when there are 8 already. */
struct md_ring_policy *md_policy_add(struct md_policy *p, const char *name);

/*
 * Reads the text form into p (initialised by it). Clauses are separated by ';' or newlines, '#' starts a comment. A
 * clause is "NAME:" and settings of a ring (label=NAME|0..15, may be repeated; share=N%|N.NN%|basis points; soak=,
 * deadline= with an s, m, h, d suffix, seconds without; min-reports=; max-failures=N|any; max-failures-percent=N%), or
 * settings of the whole (spread=, confirm=, stage-deadline=, cap=N|none, roll-call=S|none). lookup may be NULL: numbers
 * only. 0, or MP_ERR_FORMAT with a sentence in error (always terminated).
 */
int md_policy_parse(struct md_policy *p, const char *text, md_label_lookup lookup, void *ctx, char *error,
                    size_t error_size);

/* Text form with label numbers, that parses to the same policy. Its length, or MP_ERR_ROOM. 2,048 bytes always suffice.
 */
int md_policy_format(const struct md_policy *p, char *out, size_t cap);

/* Every range and relation: rings named once, shares not falling, each ring adds something, deadline above spread +
 * confirm, roll call above what nodes spread their answers over. 0, or MP_ERR_FORMAT with a sentence in error. */
int md_policy_check(const struct md_policy *p, char *error, size_t error_size);

/* Ring of a node: the first that takes it, or -1. draw is that of mp_directive_draw(). */
int md_policy_ring(const struct md_policy *p, uint16_t labels, unsigned draw);

#endif
