/*
 * State of the registry: private to meshd/daemon/registry*.c.
 */
#ifndef MD_REGISTRY_STATE_H
#define MD_REGISTRY_STATE_H

#include "registry.h"
#include "store_state.h"

#define SEEN_MAX 4    /* contents remembered of a node's newest serial */
#define UNDO_MAX 1024 /* nodes that one transaction may touch */
#define FORGED_AUDITS_PER_MINUTE 10

struct member {
    struct md_node node;
    uint8_t report_key[16];
    uint8_t seen_count;
    uint64_t seen[SEEN_MAX]; /* MACs: they stand for the content */
    bool committed;          /* the last report is in the database */
    bool receipt_due;        /* committed, and no receipt given out since */
};

/* A member as it was before the open transaction touched it. */
struct undo {
    uint32_t index;
    struct member before;
};

struct md_registry {
    struct md_store *store;
    uint16_t network;
    struct md_network_keys keys;
    uint32_t gateway;
    uint16_t gateway_index;
    uint8_t gateway_key[16];
    bool has_gateway;
    struct member *member; /* in order of provisioning */
    uint32_t count;
    uint32_t cap;
    uint32_t *bucket; /* by node id: index + 1, 0 free */
    uint32_t bucket_count;
    char label[MD_LABELS][MD_LABEL_NAME_MAX];
    struct md_intake_counts intake;
    struct undo *undo;
    unsigned undo_count;
    uint32_t due_count; /* members with receipt_due */
    uint16_t next_window;
    int64_t audit_minute;
    unsigned audit_count;
};

/* registry.c */
int registry_index(const struct md_registry *g, uint32_t node);
bool registry_name_is_good(const char *name, size_t max);

/* registry_load.c */
int registry_load(struct md_registry *g);
/* Room for one more member, and its place in the index once it is there. */
int registry_grow(struct md_registry *g);
void registry_bucket_add(struct md_registry *g, uint32_t index);

#endif
