/*
 * Inside of the gateway, shared by its three files: gateway.c (life, events, reports), gateway_sign.c (keys, heads,
 * directives, receipts), gateway_place.c (manifests and payloads).
 */
#ifndef MD_GATEWAY_STATE_H
#define MD_GATEWAY_STATE_H

#include "../ctl/keyfile.h"
#include "gateway.h"

#define MD_GATEWAY_NAME "meshd" /* who, in the audit log, when no operator asked */

/* A signed directive that is committed and waits to be taken by the engine (which may be busy for a moment). */
struct md_unpublished {
    uint32_t release; /* 0: free */
    size_t len;
    uint8_t object[MP_DIRECTIVE_MAX];
};

struct md_gateway {
    struct event_base *base;
    struct md_config config;
    struct md_store *store;
    struct md_registry *registry;
    struct md_release *release;
    struct md_bearer *bearer;
    struct event *tick;
    struct event *group; /* reports wait for their commit */
    md_gateway_changed changed;
    void *changed_ctx;
    uint64_t changes;
    bool has_news; /* something a watcher wants to know happened since it was told */
    uint32_t id;

    int64_t clock_base_ms; /* release clock at clock_mono */
    mp_time clock_mono;
    int64_t alive_ms; /* newest one committed */

    struct md_key key; /* of the release role; has_secret false: none */
    struct mp_keyset keyset;
    uint8_t key_id;
    uint16_t key_generation;
    const char *cannot_sign; /* "" when it can */
    struct md_unpublished unpublished[MP_RELEASES_MAX];
    mp_time receipt_at; /* when the last one was signed, 0 never */
    bool clock_told;    /* the epoch's implausible clock was logged */

    uint8_t place_id[MP_PLACES_MAX][8]; /* manifest in each place */
    bool place_used[MP_PLACES_MAX];

    struct mp_counters counters;
    struct mp_env env;
    struct mp_node node;
};

/* gateway_sign.c */

/* Reads keyset file on the first start, then the release key. 0 or -1 with a sentence. */
int md_gateway_load_keys(struct md_gateway *g, char *error, size_t cap);
/* Reads the keyset in force from the store and sees whether the release key is in it. */
int md_gateway_read_keyset(struct md_gateway *g);
/* Tells the release engine of every head the mesh has. */
void md_gateway_feed_heads(struct md_gateway *g);
/* Within a transaction: signs what the release engine wants and the mesh has not. 0 or a store code. */
int md_gateway_sign_wanted(struct md_gateway *g);
/* Hands committed directives to the engine. */
void md_gateway_publish(struct md_gateway *g);
/* Signs and publishes a receipt when one is due. */
void md_gateway_receipt(struct md_gateway *g);

/* gateway_place.c */

/* Gives the engine the manifests its heads name and that are known here. */
void md_gateway_offer_manifests(struct md_gateway *g);
/* One place for each live manifest, none for others. */
void md_gateway_sync_places(struct md_gateway *g);
/* Checks and keeps payloads that were fetched whole. */
void md_gateway_seal_places(struct md_gateway *g);

#endif
