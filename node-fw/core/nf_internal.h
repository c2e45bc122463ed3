/*
 * Inside core/: what nf.c (phases), nf_start.c, nf_choose.c (which image) and nf_report.c (what is told and remembered)
 * share.
 */
#ifndef NF_INTERNAL_H
#define NF_INTERNAL_H

#include "nf.h"

enum { NF_RESTARTS_MAX = 4 };            /* tokens for starting a fetch over */
#define NF_RESTART_EVERY MP_SECONDS(600) /* one more token */

/* The one place where the phase changes; tells the host. */
void nf_phase_set(struct nf_node *n, const struct nf_env *env, enum nf_phase phase);
/* Own timer: fires at the earliest time asked for. */
void nf_wake(struct nf_node *n, mp_time at);
/* The same, so many milliseconds from now (n->now: of the call under way). */
void nf_wake_in(struct nf_node *n, uint32_t ms);

/* Sets the own report; one that cannot be persisted is tried again. target: release sequence. */
void nf_report(struct nf_node *n, const struct nf_env *env, uint32_t target, enum mp_phase phase,
               enum mp_reason reason);
/* Sends what is set once more, with the state of the key chain as it is now. */
void nf_report_send(struct nf_node *n, const struct nf_env *env);
/* Takes up the roll call of the release that runs, if its directive asks for one that was not taken up. */
void nf_roll_take(struct nf_node *n, const struct nf_env *env);
/* Answers it when it is time: the report once more, as a new one. Keeps its timer armed. */
void nf_roll_answer(struct nf_node *n, const struct nf_env *env);
/* Reports, once, what a CONFIRMED boot record has to tell: an update that was confirmed, or given up and why. */
void nf_outcome(struct nf_node *n, const struct nf_env *env, const struct boot_record *r);

/* The release is not tried again. */
void nf_failed_note(struct nf_node *n, const struct nf_env *env, uint32_t release, const uint8_t id[8]);
/* Persists the revert fields. 0 or an error of the storage. */
int nf_reverted_put(struct nf_node *n, const struct nf_env *env);
/* Read both records back at start. */
void nf_failed_get(struct nf_node *n, const struct nf_env *env);
void nf_reverted_get(struct nf_node *n, const struct nf_env *env);

/* What the release heads ask of this node. */
struct nf_choice {
    bool is_found;
    bool is_open; /* may be activated: opened or reverted, and this node is in */
    bool is_held; /* its release is on hold: no new erase */
    bool is_revert;
    uint8_t rank;  /* of is_open, staged, held: higher goes first */
    unsigned slot; /* of the manifest among the live ones */
    struct mp_manifest manifest;
    uint8_t id[8];
    struct mp_directive directive;
    /* When nothing is found: the highest release that is for this product and model but cannot be used. */
    uint32_t refused_release; /* 0 none */
    enum mp_reason refused_reason;
};

/* Reads heads and manifests and picks the one to follow. */
void nf_choose(const struct nf_node *n, const struct nf_env *env, struct nf_choice *c);

/* Reason to report for a manifest that may not be used. */
enum mp_reason nf_refusal(int error);

#endif
