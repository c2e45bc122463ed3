/*
 * The protocol engine of one mesh member: gateway, node, simulated node. The only header of mesh/ a host needs.
 *
 *   feed every frame heard to   mp_node_receive()
 *   when due, call              mp_node_expire()
 *   while the bearer is free:   mp_node_write()   until it returns 0
 *   arm one timer for           mp_node_next_expiry()
 *   look at                     mp_node_events()
 *
 * Nothing is ever sent from inside a call but mp_node_write(), which returns one frame; ask for it only when the bearer
 * can start it at once, since the engine decides at that moment what is worth sending. The state holds no pointers, so
 * it may be copied or written to a file between calls; the environment is handed in with every call and not kept. Not
 * thread safe per node, reentrant across nodes.
 */
#ifndef MP_NODE_H
#define MP_NODE_H

#include "../mp_types.h"
#include "../object/directive.h"
#include "../object/manifest.h"
#include "../object/receipt.h"
#include "frame.h"
#include "node_state.h" /* struct mp_node: open, caller-allocated */

/* Who this member is. Copied by mp_node_init(). */
struct mp_identity {
    uint32_t node; /* not 0, not 0xFFFFFFFF */
    uint16_t network;
    uint16_t index;     /* enrolment index, for receipts */
    uint32_t boot;      /* this boot's counter: 1 to 2^24-1, persisted before the call and never used before */
    uint8_t key_id[2];  /* ids of the two network key slots */
    uint8_t key_active; /* slot used for sending: 0 or 1 */
    uint8_t key_count;  /* 1 or 2 slots in use */
    uint8_t network_key[2][16];
    uint8_t report_key[16];
    bool is_gateway;
};

/* What happened since the last mp_node_events(), as bits. */
enum mp_event {
    MP_EVENT_KEYSET = 1 << 0,    /* a key change was accepted */
    MP_EVENT_DIRECTIVE = 1 << 1, /* a release head changed */
    MP_EVENT_MANIFEST = 1 << 2,  /* the set of live manifests changed */
    MP_EVENT_COMPLETE = 1 << 3,  /* a fetched payload has all its chunks */
    MP_EVENT_ECHO = 1 << 4,      /* a member answered the trial's nonce */
    MP_EVENT_RECEIPT = 1 << 5,   /* the own report is receipted */
    MP_EVENT_CUSTODY = 1 << 6,   /* gateway: reports wait to be committed */
    MP_EVENT_COUNTER =
        1 << 7, /* the frame counter ran into a new boot number: persist it, then mp_node_counter_persisted() */
    MP_EVENT_FORK = 1 << 8,    /* the key chain is forked and frozen */
    MP_EVENT_STORE = 1 << 9,   /* a store call failed; the object or chunk was dropped */
    MP_EVENT_BREAKER = 1 << 10 /* neighbours' rollbacks changed: ask mp_node_breaker() */
};

/* Starts an engine: reads keyset, heads, manifests, receipt and report from the store. A keyset must be there. 0,
 * MP_ERR_FORMAT (identity), MP_ERR_STORE, MP_ERR_KEY (no keyset). */
int mp_node_init(struct mp_node *n, const struct mp_env *env, const struct mp_identity *id, mp_time now);

/* Handles one frame as heard. 0, or why it was dropped (already counted). Never asserts on input. */
int mp_node_receive(struct mp_node *n, const struct mp_env *env, mp_time now, const uint8_t *frame, size_t len);

/* Runs every timer that is due. Cheap when none is. */
void mp_node_expire(struct mp_node *n, const struct mp_env *env, mp_time now);

/* Writes the frame that is most worth sending now. Its length, or 0: nothing now. cap at least MP_FRAME_MAX, else
 * MP_ERR_ROOM. */
int mp_node_write(struct mp_node *n, const struct mp_env *env, mp_time now, uint8_t *buf, size_t cap);

/* When to call expire and write again: the earliest timer or frame, MP_NEVER if none. May be in the past: then at once.
 */
mp_time mp_node_next_expiry(const struct mp_node *n);

/* A SUMMARY goes out as soon as the bearer takes it, whatever Trickle says: for hosts that measure. */
void mp_node_announce(struct mp_node *n, mp_time now);

/* Event bits since the last call, cleared by it. */
uint32_t mp_node_events(struct mp_node *n);

/* --- what the mesh knows ------------------------------------------------------------------------------------------ */

/* Release head i (0 to MP_RELEASES_MAX-1), in the order of the store's slots. 0, MP_ERR_ABSENT, MP_ERR_STORE. raw (may
 * be NULL) receives the object, *raw_len its length. */
int mp_node_directive(const struct mp_node *n, const struct mp_env *env, unsigned i, struct mp_directive *d,
                      uint8_t raw[MP_DIRECTIVE_MAX], size_t *raw_len);
/* Live manifest i (0 to MP_MANIFESTS_MAX-1). 0, MP_ERR_ABSENT, MP_ERR_STORE. */
int mp_node_manifest(const struct mp_node *n, const struct mp_env *env, unsigned i, struct mp_manifest *m,
                     uint8_t id[8]);
/* Highest epoch in a valid directive; 0 when none was seen. */
uint32_t mp_node_epoch(const struct mp_node *n);
/* No epoch for 7 days (counted from boot). */
bool mp_node_is_stale(const struct mp_node *n, mp_time now);
/* The breaker: enough neighbours, known before the directive for `release`, say that they rolled back from it (SPEC 7).
 * Not latched. */
bool mp_node_breaker(const struct mp_node *n, uint32_t release);

/* Verifies and adopts an object of the host's own (gateway, provisioning), exactly as if it had been heard, and gossips
 * it. type: MANIFEST, DIRECTIVE, KEYCHANGE or RECEIPT. 0 or why not. */
int mp_node_publish(struct mp_node *n, const struct mp_env *env, mp_time now, enum mp_type type, const uint8_t *object,
                    size_t len);

/* --- payloads ----------------------------------------------------------------------------------------------------- */

/*
 * Tells the engine that `place` of the store now holds (some of) the payload of this manifest: it serves what the
 * bitmap shows and, unless complete, fetches the rest. `id` is the manifest's. Place 0 is home (what the node runs);
 * the others are targets. The bitmap must be up to date. May be called again at any time. 0, MP_ERR_FORMAT (place or
 * size out of range).
 */
int mp_node_place(struct mp_node *n, const struct mp_env *env, mp_time now, unsigned place, const struct mp_manifest *m,
                  const uint8_t id[8]);
/* Forgets a place: nothing of it is served or fetched. Call before the store erases it. */
void mp_node_drop(struct mp_node *n, unsigned place);
/* The store's bitmap of `place` changed (chunks lost or found): look again. */
void mp_node_recheck(struct mp_node *n, const struct mp_env *env, mp_time now, unsigned place);
/* Chunks held and needed in a place: 0 or MP_ERR_ABSENT. */
int mp_node_progress(const struct mp_node *n, unsigned place, uint32_t *held, uint32_t *positions);

/* --- reports and trial -------------------------------------------------------------------------------------------- */

/* Sets the own report; node and serial are filled in. Equal content changes nothing; else it is persisted
 * (MP_KIND_REPORT), sent, and kept until receipted. A phase of MP_PHASE_ROLLED_BACK also sets the `failed` field of
 * SUMMARY to target. 0 or MP_ERR_STORE. */
int mp_node_report(struct mp_node *n, const struct mp_env *env, mp_time now, uint16_t running, uint16_t target,
                   enum mp_phase phase, enum mp_reason reason);
/* True when the own report is covered by a receipt. */
bool mp_node_is_receipted(const struct mp_node *n);
/* Starts (draws a fresh nonce, asks for an echo, MP_EVENT_ECHO when it comes) or ends a trial. */
void mp_node_trial(struct mp_node *n, const struct mp_env *env, mp_time now, bool on);
/* The counter's new boot number (boot field of the next frame), to persist on MP_EVENT_COUNTER; sending resumes after
 * the second call. */
uint32_t mp_node_boot(const struct mp_node *n);
void mp_node_counter_persisted(struct mp_node *n);

/* --- gateway ------------------------------------------------------------------------------------------------------ */

/* Report entry i in custody that waits for commit (gateway) or to be passed on (others), as heard (19 bytes, MAC unchecked);
 * false when there is none. */
bool mp_node_custody(const struct mp_node *n, unsigned i, uint8_t entry[MP_REPORT_ENTRY_SIZE]);
/* The first `count` entries are committed (or refused for good): acknowledges them to who brought them. */
void mp_node_custody_done(struct mp_node *n, mp_time now, unsigned count);
/* Verified gateway round and its generation, for signing the next receipt. */
uint16_t mp_node_round(const struct mp_node *n, uint16_t *generation);

/* --- watching ----------------------------------------------------------------------------------------------------- */

struct mp_neighbour_info {
    uint32_t node;
    uint8_t hop;
    uint8_t quality; /* 0 to 255: share of its frames that are heard, smoothed */
    uint32_t age_ms; /* since last heard */
    uint32_t home;   /* handle */
    uint32_t target;
    uint32_t held;
};
/* Neighbour i, 0 to MP_NEIGHBOURS_MAX-1. False when the entry is free. */
bool mp_node_neighbour(const struct mp_node *n, unsigned i, mp_time now, struct mp_neighbour_info *info);
/* Own hop to the nearest gateway, 255 none. */
uint8_t mp_node_hop(const struct mp_node *n);

#endif
