/*
 * What the modules of the engine share with each other; hosts include node.h only.
 *
 * The flow: node.c checks a frame, notes the neighbour, and hands the body to the module its type belongs to:
 *   gossip.c    SUMMARY: who lacks what
 *   accept.c    MANIFEST, DIRECTIVE, KEYCHANGE, RECEIPT: what is kept
 *   exchange.c  REQUEST and CHUNK, and relay.c for payloads that this member cannot use
 *   report.c    REPORT and REPORT_ACK
 * Handlers change state and arm jobs (job.c); node.c later runs timers and asks for frames. push.c sends objects.
 *
 * Jobs and timers (times in ms, "to" means uniform between):
 *   TRICKLE  t, then the end of the interval (trickle.h); at t arms SUMMARY
 *   STALE    7 days after an epoch was last seen: marks the node stale
 *   RELAY    a relay window without progress for 3,000 is given up
 *   ACK      0 to 15 after a report was taken; 0 to 400 for an echo
 *   PUSH     5 to 60 after a neighbour turned out to lack something, or something new was verified
 *   SUMMARY  now; 20 to 400 in answer to one that asks
 *   REPORT   0 to 2,000 after a change; 1,000 to 2,000, later doubling, without an acknowledgement; 10,000 and doubling
 *            without a receipt
 *   REQUEST, FORWARD, SERVE  see exchange.c
 */
#ifndef MP_ENGINE_H
#define MP_ENGINE_H

#include <string.h>

#include "../mp_wire.h"
#include "node.h"
#include "summary.h"

/* Token buckets: capacity. The periods are with their users. */
#define MP_VERIFY_CAP 16u    /* signature checks: accept.c */
#define MP_RESET_CAP 12u     /* Trickle resets: gossip.c */
#define MP_SERVICE_CAP 8192u /* chunks sent on request: exchange.c */
#define MP_UNKNOWN_CAP 4u    /* answers to whoever asks: exchange.c */

#define MP_STALL_MS 150u /* without a new chunk: then everything that is missing is asked for */
#define MP_BIT(bits, i) ((bits)[(i) / 8] >> ((i) % 8) & 1)

/* A call in progress: what every handler needs. */
struct mp_call {
    struct mp_node *n;
    const struct mp_env *env;
    uint32_t now_ms;
};

static inline uint32_t mp_random(const struct mp_call *c, uint32_t below)
{
    return c->env->random(c->env->ctx) % below;
}

static inline bool mp_is_before(uint32_t a_ms, uint32_t b_ms)
{
    return (int32_t)(a_ms - b_ms) < 0;
}

/* Whether a place for an object's id is empty. */
static inline bool mp_is_free_id(const uint8_t id[8])
{
    return mp_get64(id) == 0;
}

/* job.c */
void mp_job_arm(struct mp_node *n, enum mp_job job, uint32_t at_ms);
/* Arms, or moves an armed job to the earlier time. */
void mp_job_hasten(struct mp_node *n, enum mp_job job, uint32_t at_ms);
void mp_job_disarm(struct mp_node *n, enum mp_job job);
bool mp_job_is_armed(const struct mp_node *n, enum mp_job job);
bool mp_job_is_due(const struct mp_call *c, enum mp_job job);

/* neighbour.c */
struct mp_neighbour *mp_neighbour_find(struct mp_node *n, uint32_t node);
/* The entry of an authentic frame's source, new if there is room or one to evict; NULL: unknown source. MP_ERR_REPLAY
 * through *error. */
struct mp_neighbour *mp_neighbour_note(const struct mp_call *c, const struct mp_header *h, int *error);
void mp_neighbour_update_hop(const struct mp_call *c);
/* What a request to this neighbour echoes: its nonce, or the counter of its last frame while the nonce is unknown. */
uint32_t mp_neighbour_mark(const struct mp_neighbour *b);
/* Low 32 bits of the counter of its last frame. */
uint32_t mp_neighbour_count(const struct mp_neighbour *b);
/* The `rank`th best next hop to a gateway whose nonce is known (0 best, 1 second), or NULL. */
struct mp_neighbour *mp_neighbour_parent(const struct mp_call *c, unsigned rank);
/* Keeps ages from wrapping; call at least every few hours. has_slept: nobody was heard since long. */
void mp_neighbour_age(struct mp_call *c, bool has_slept);
unsigned mp_neighbour_age_ms(const struct mp_neighbour *b, uint32_t now_ms);

/* gossip.c */
int mp_gossip_summary(struct mp_call *c, struct mp_neighbour *from, const struct mp_header *h, const uint8_t *body,
                      size_t len);
size_t mp_gossip_write_summary(struct mp_call *c, uint8_t *body);
/* Inconsistent for a reason of its own (a trial, a new place): Imin again, at the cost of a reset token. */
void mp_gossip_wake(struct mp_call *c);

/* accept.c */
/* Reads everything back from the store. 0, MP_ERR_STORE, MP_ERR_KEY, MP_ERR_FORMAT. */
int mp_accept_load(struct mp_call *c);
/* Verifies and adopts an object, heard or the host's own. */
int mp_accept_object(struct mp_call *c, enum mp_type type, const uint8_t *object, size_t len);
/* Place of a release among those that compete for room: higher stays. */
uint64_t mp_accept_rank(const struct mp_head *h);
/* Slot of the manifest with that handle, or -1. */
int mp_accept_find_manifest(const struct mp_node *n, uint32_t handle);

/* push.c; `object` is a bit number of push_mask */
/* Pushes, unless the object was sent or heard within the last second: then the other side has had its chance. */
void mp_push_offer(struct mp_call *c, unsigned object);
/* Somebody else sent it: then it need not be sent from here now, unless it is new here. */
void mp_push_settle(struct mp_call *c, unsigned object);
/* Something new was verified: passes it on, `sends` times at most 3, 0: like an offer. Lets the mesh compare notes soon. */
void mp_push_spread(struct mp_call *c, unsigned object, unsigned sends);
/* The object is gone. */
void mp_push_cancel(struct mp_node *n, unsigned object);
/* Body of the next object to push and its type, or 0. */
size_t mp_push_write(struct mp_call *c, uint8_t *body, uint8_t *type);

/* exchange.c */
int mp_exchange_chunk(struct mp_call *c, struct mp_neighbour *from, const uint8_t *body, size_t len);
int mp_exchange_request(struct mp_call *c, struct mp_neighbour *from, const uint8_t *body, size_t len);
/* Whether a job should wait because the supplier's next chunk is about to come; puts it off if so. */
bool mp_exchange_defer(struct mp_call *c, enum mp_job job);
size_t mp_exchange_write_forward(struct mp_call *c, uint8_t *body);
size_t mp_exchange_write_serve(struct mp_call *c, uint8_t *body);
size_t mp_exchange_write_request(struct mp_call *c, uint8_t *body);
/* Whether a request stays within a payload; len is not 0. */
bool mp_exchange_is_request(uint32_t positions, uint32_t base, const uint8_t *bits, size_t len);
/* Takes a token of those for answering whoever asks; false when there is none. */
bool mp_exchange_may_answer(struct mp_call *c);
/* Place that holds (some of) a payload, or MP_PLACES_MAX. */
unsigned mp_exchange_place(const struct mp_node *n, uint32_t handle);

/* report.c */
int mp_report_load(struct mp_call *c);
int mp_report_receive(struct mp_call *c, struct mp_neighbour *from, const struct mp_header *h, const uint8_t *body,
                      size_t len);
/* A neighbour says that it rolled back from a release (low 16 bits), 0 none. */
void mp_neighbour_failed(struct mp_call *c, struct mp_neighbour *b, uint16_t release);
int mp_report_receive_ack(struct mp_call *c, const uint8_t *body, size_t len);
/* A newly verified receipt: is the own report covered? */
void mp_report_receipt(struct mp_call *c, const struct mp_receipt *r);
void mp_report_echo(struct mp_call *c, uint32_t node, uint32_t nonce);
size_t mp_report_write(struct mp_call *c, uint8_t *body);
size_t mp_report_write_ack(struct mp_call *c, uint8_t *body);
/* Reports wait and no neighbour is known that would take them. */
bool mp_report_is_stuck(const struct mp_call *c);
/* A way to a gateway appeared: send what waits. */
void mp_report_wake(struct mp_call *c);

/* relay.c */
int mp_relay_chunk(struct mp_call *c, uint32_t handle, uint32_t position, const uint8_t *data, size_t len);
int mp_relay_request(struct mp_call *c, struct mp_neighbour *from, uint32_t handle, uint32_t base, const uint8_t *bits,
                     size_t len);
size_t mp_relay_write_request(struct mp_call *c, uint8_t *body);
/* Next wanted chunk of the window, or 0. */
size_t mp_relay_write_chunk(struct mp_call *c, uint8_t *body);
void mp_relay_expire(struct mp_call *c);

#endif
