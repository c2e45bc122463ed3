/*
 * The gateway: one member of the mesh that publishes, commits reports, and steers rollouts.
 *
 *   bearer -> engine (struct mp_node) -> custody -> registry (committed) -> acknowledged, fed to the release engine
 *   release engine -> wanted directive -> signed -> committed -> published
 *
 * Intent is committed before it is radiated, so a kill at any instruction loses nothing that was said: a restart reads
 * the store and gossips it again. What cannot be committed is not acknowledged and not radiated; the release engine is
 * then read back from the store, so that RAM never knows more than the disk. Opaque; one thread.
 */
#ifndef MD_GATEWAY_H
#define MD_GATEWAY_H

#include <event2/event.h>

#include "../release/release.h"
#include "bearer_h4.h"
#include "config.h"
#include "proto/mesh/node.h"
#include "registry.h"
#include "store.h"

struct md_gateway;

/* Called after anything that somebody watching may want to know (reports, decisions, heads). */
typedef void (*md_gateway_changed)(void *ctx);

/* Opens store and registry, loads keys and rollouts, starts engine and bearer. NULL with a sentence in error. */
struct md_gateway *md_gateway_open(struct event_base *base, const struct md_config *config, char *error, size_t cap);
void md_gateway_close(struct md_gateway *g);
void md_gateway_on_change(struct md_gateway *g, md_gateway_changed callback, void *ctx);

/* --- what the API works on; owned by the gateway --- */
struct md_store *md_gateway_store(struct md_gateway *g);
struct md_registry *md_gateway_registry(struct md_gateway *g);
struct md_release *md_gateway_release(struct md_gateway *g);
/* The release engine's clock, ms: wall clock at start, monotonic afterwards, never back over a restart. */
int64_t md_gateway_now_ms(struct md_gateway *g);

/* --- after a change by an operator. Each evaluates, signs, commits and publishes --- */

/* Commits what the release engine was told, on behalf of `who` (NULL: nobody). 0, or a store code: then everything
 * since the last commit is undone. */
int md_gateway_commit(struct md_gateway *g, const char *who);
/* The registry's view of a node changed (provisioned, label, retired). 0 or a store code. */
int md_gateway_node_changed(struct md_gateway *g, uint32_t id);
/* One row of the audit log, and a line in the log. 0 or a store code. */
int md_gateway_audit(struct md_gateway *g, const char *who, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Root-signed key change: verified and adopted as if heard. 0 or why not. */
int md_gateway_keychange(struct md_gateway *g, const uint8_t *object, size_t len, const char *who);

/* --- status --- */
struct md_gateway_status {
    uint32_t node;
    uint16_t network;
    uint32_t epoch;
    uint16_t round;
    bool can_sign;           /* a release key is loaded and in force */
    const char *cannot_sign; /* why not, "" when it can */
    uint64_t uptime_s;
    uint64_t changes; /* rises with every change that is told to the watcher */
    struct mp_keyset keyset;
    struct mp_counters counters;
    struct md_bearer_info bearer;
};
void md_gateway_status(struct md_gateway *g, struct md_gateway_status *status);
/* The engine, for listings (neighbours, heads, manifests), with the environment its calls need. */
const struct mp_node *md_gateway_node(const struct md_gateway *g, const struct mp_env **env);

#endif
