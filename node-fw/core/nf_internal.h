/*
 * Inside core/: what nf.c (phases) and nf_choose.c (which image, and when) share.
 */
#ifndef NF_INTERNAL_H
#define NF_INTERNAL_H

#include "nf.h"

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
