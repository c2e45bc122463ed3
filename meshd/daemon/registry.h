/*
 * Node registry: who belongs to the network, what each is, and what each last said.
 *
 * Provisioning allocates id, enrolment index and report key; the first authentic report enrols a node; retiring takes
 * it out of every denominator without forgetting it. Reports are checked with the node's own key, kept in history, and
 * receipted once committed. Kept in RAM, written through to the store. Flow for reports: md_store_begin();
 * md_registry_report() for each entry in custody; md_registry_commit(); then mp_node_custody_done() and feed the
 * release engine. Opaque; not thread safe.
 */
#ifndef MD_REGISTRY_H
#define MD_REGISTRY_H

#include "proto/object/receipt.h"
#include "proto/object/settings.h"
#include "store.h"

#define MD_NODE_NAME_MAX 32 /* bytes, final zero included: letters, digits, '-', '_', '.' */
#define MD_LABEL_NAME_MAX 24
#define MD_LABELS 16

struct md_registry;

enum md_node_state { MD_NODE_PROVISIONED, MD_NODE_ENROLLED, MD_NODE_RETIRED, MD_NODE_STATE_COUNT };

struct md_node {
    uint32_t node;
    uint32_t product;
    uint16_t index;
    uint16_t model;
    uint16_t labels;
    uint8_t hw_revision;
    bool retired;
    bool enrolled;
    bool has_report;
    char name[MD_NODE_NAME_MAX];
    int64_t provisioned_ms;
    int64_t report_ms;       /* when the last report was taken, 0 none */
    struct mp_report report; /* last one */
};

struct md_provision {
    uint32_t node; /* 0: the next free id */
    uint32_t product;
    uint16_t model;
    uint16_t labels;
    uint8_t hw_revision;
    char name[MD_NODE_NAME_MAX]; /* "": "node-ID" */
};

/* Loads the registry. The network's number must not change afterwards: MP_ERR_NETWORK. A first network key is drawn and
 * committed. 0, MP_ERR_ROOM or a store code. */
int md_registry_open(struct md_registry **out, struct md_store *store, uint16_t network);
void md_registry_close(struct md_registry *g);
/* Sentence of the newest failure. */
const char *md_registry_error(const struct md_registry *g);

/* --- network keys (two slots)
 * ----------------------------------------------------------------------------------------- */
struct md_network_keys {
    uint8_t id[2];
    uint8_t count;  /* 1 or 2 */
    uint8_t active; /* slot used for sending */
    uint8_t key[2][16];
};
void md_registry_network_keys(const struct md_registry *g, struct md_network_keys *out);
uint16_t md_registry_network(const struct md_registry *g);
/* The gateway's own identity: node id and index are allocated at first use (id 1, index 0, report key drawn) and stay.
 * Not listed among the nodes. */
int md_registry_gateway(struct md_registry *g, uint32_t *node, uint16_t *index, uint8_t report_key[16]);

/* --- nodes
 * ------------------------------------------------------------------------------------------------------------ */
/* Allocates and commits a node; fills its settings record. Needs a keyset record in the store (MP_ERR_KEY).
 * MP_ERR_DUPLICATE (id or name taken), MP_ERR_FORMAT (range, name), MP_ERR_ROOM (65,535 indices used) or a store code.
 */
int md_registry_provision(struct md_registry *g, int64_t now_ms, const struct md_provision *in, struct md_node *out,
                          uint8_t settings[MP_SETTINGS_SIZE]);
/* Settings record of a provisioned node again (same keys, today's keyset). 0, MP_ERR_ABSENT, MP_ERR_KEY or a store
 * code. */
int md_registry_settings(struct md_registry *g, uint32_t node, uint8_t settings[MP_SETTINGS_SIZE]);
/* 0, MP_ERR_ABSENT, MP_ERR_STATE (is so already), or a store code. */
int md_registry_retire(struct md_registry *g, uint32_t node, bool retired);
/* 0, MP_ERR_ABSENT, MP_ERR_FORMAT, MP_ERR_DUPLICATE, or a store code. */
int md_registry_rename(struct md_registry *g, uint32_t node, const char *name);
/* What the gateway believes of a node's labels (the node's own come from its settings record). */
int md_registry_set_labels(struct md_registry *g, uint32_t node, uint16_t labels);
uint32_t md_registry_count(const struct md_registry *g);
/* i-th node in order of provisioning. 0 or MP_ERR_ABSENT. */
int md_registry_get(const struct md_registry *g, uint32_t i, struct md_node *out);
int md_registry_find(const struct md_registry *g, uint32_t node, struct md_node *out);
/* By name, or by decimal or 0x id. */
int md_registry_find_name(const struct md_registry *g, const char *name, struct md_node *out);
const char *md_node_state_name(const struct md_node *n);

/* --- labels
 * ----------------------------------------------------------------------------------------------------------- */
/* Names bit 0 to 15; "" removes the name. 0, MP_ERR_FORMAT, MP_ERR_DUPLICATE or a store code. */
int md_registry_name_label(struct md_registry *g, unsigned bit, const char *name);
/* Bit of a label name or decimal number, -1 unknown. Fits md_label_lookup with ctx = the registry. */
int md_registry_label(void *registry, const char *name);
/* Name of a bit, "" none. */
const char *md_registry_label_name(const struct md_registry *g, unsigned bit);

/* --- reports
 * ---------------------------------------------------------------------------------------------------------- */
enum md_intake {
    MD_INTAKE_NEW,       /* taken: tell the release engine after commit */
    MD_INTAKE_DUPLICATE, /* same node, serial and content */
    MD_INTAKE_OLD,       /* serial below the newest */
    MD_INTAKE_FORGED,    /* MAC wrong, or malformed */
    MD_INTAKE_UNKNOWN,   /* no such node */
    MD_INTAKE_COUNT
};
struct md_intake_counts {
    uint64_t by[MD_INTAKE_COUNT];
};
/* Takes one entry of a REPORT frame (19 bytes, MAC unchecked) within the caller's transaction (MP_ERR_STATE without).
 * An enum md_intake, or a store code (then roll back). Forged and unknown ones are counted and audited, at most 10
 * audit rows a minute. report (not NULL) holds the decoded entry for NEW. */
int md_registry_report(struct md_registry *g, int64_t now_ms, const uint8_t entry[MP_REPORT_ENTRY_SIZE],
                       struct mp_report *report);
/* Ends the transaction. On error everything taken since begin is forgotten, in RAM too: do not acknowledge it. */
int md_registry_commit(struct md_registry *g);
void md_registry_rollback(struct md_registry *g);
const struct md_intake_counts *md_registry_intake(const struct md_registry *g);
/* Reports of a node (0: all), newest first, at most limit. */
struct md_report_row {
    int64_t at_ms;
    struct mp_report report;
};
typedef int (*md_report_each)(void *ctx, const struct md_report_row *row);
int md_registry_each_report(struct md_registry *g, uint32_t node, unsigned limit, md_report_each each, void *ctx);

/* --- receipts
 * --------------------------------------------------------------------------------------------------------- */
/* Whether committed reports wait for a receipt. */
bool md_registry_receipt_due(const struct md_registry *g);
/*
 * Makes and signs the next receipt: the window of 248 indices with the most unreceipted nodes (the next one in turn
 * when there are none), under a round above both `round` (the engine's, mp_node_round()) and every round given out
 * before; the round is committed first. Length of the object, or MP_ERR_FORMAT, a store code.
 */
int md_registry_receipt(struct md_registry *g, uint16_t round, uint8_t key_id, uint16_t generation,
                        const uint8_t secret[64], uint8_t out[MP_RECEIPT_MAX]);

#endif
