/*
 * The engine's facade: checks frames, runs timers, hands out frames. See node.h for the host's loop and engine.h for
 * the timers.
 */
#include "node.h"

#include "../mp_wire.h"
#include "../object/tree.h"
#include "engine.h"

#define BOOT_MAX 0xFFFFFFu
#define SLEEP_MS (3 * MP_TRICKLE_IMAX_MS)
#define TRIAL_IMAX_MS 4000u /* a trial has a minute or so to be heard, and others may be on trial too */

_Static_assert(MP_PLACES_MAX <= 15, "a forward names its place in four bits");
_Static_assert(MP_PUSH_COUNT <= 16, "push_mask has 16 bits");
_Static_assert(MP_RELEASES_MAX <= 8 && MP_MANIFESTS_MAX <= 8, "head_mask and manifest_mask have 8 bits");
_Static_assert(SLEEP_MS / 256 < INT16_MAX, "full_until lies within half the range of its clock");
#ifdef MP_PROFILE_MCU
_Static_assert(sizeof(struct mp_node) <= 1024, "the engine must fit a part with 16 KB of RAM");
#endif

/* --- calls -------------------------------------------------------------------------------------------------------- */

/* A host that was away for longer than any silence says anything: neighbours are strangers again, and beyond half the
 * range of the clock (every timer is far shorter) due times would seem to lie ahead. */
static void wake_up(struct mp_call *c, mp_time slept)
{
    struct mp_node *n = c->n;

    mp_neighbour_age(c, true);
    if (slept < MP_MS(1u << 30))
        return;
    for (unsigned job = 0; job < MP_JOB_COUNT; job++)
        n->due_ms[job] = c->now_ms;
    mp_trickle_start(&n->trickle, c->now_ms, c->env->random(c->env->ctx));
    mp_job_arm(n, MP_JOB_TRICKLE, n->trickle.at_ms);
}

static struct mp_call begin(struct mp_node *n, const struct mp_env *env, mp_time now)
{
    struct mp_call c = {n, env, mp_ms(now)};
    mp_time slept = now > n->now ? now - n->now : 0;

    n->now = now;
    if (slept >= MP_MS(SLEEP_MS))
        wake_up(&c, slept);
    return c;
}

/* --- start -------------------------------------------------------------------------------------------------------- */

static uint32_t draw_nonce(const struct mp_env *env)
{
    uint32_t nonce;

    do
        nonce = env->random(env->ctx);
    while (nonce == 0);
    return nonce;
}

int mp_node_init(struct mp_node *n, const struct mp_env *env, const struct mp_identity *id, mp_time now)
{
    struct mp_call c;
    int error;

    if (id->node == 0 || id->node == UINT32_MAX || id->boot == 0 || id->boot > BOOT_MAX || id->key_count < 1 ||
        id->key_count > 2 || id->key_active >= id->key_count)
        return MP_ERR_FORMAT;
    memset(n, 0, sizeof *n);
    n->now = now;
    c = begin(n, env, now);
    n->id = id->node;
    n->network = id->network;
    n->index = id->index;
    n->counter = (uint64_t)id->boot << 24;
    n->key_active = id->key_active;
    n->key_count = id->key_count;
    memcpy(n->network_key_id, id->key_id, sizeof n->network_key_id);
    memcpy(n->network_key, id->network_key, sizeof n->network_key);
    memcpy(n->report_key, id->report_key, sizeof n->report_key);
    n->is_gateway = id->is_gateway;
    n->hop = id->is_gateway ? 0 : MP_HOP_NONE;
    n->full_until = (uint16_t)(c.now_ms >> 8);
    n->nonce = draw_nonce(env);
    n->fetch = MP_PLACES_MAX;
    n->demand.place = MP_PLACES_MAX;
    for (unsigned i = 0; i < MP_FORWARDS_MAX; i++)
        n->forwards[i].place = MP_PLACES_MAX;
    for (unsigned i = 0; i < MP_PUSH_COUNT; i++)
        n->push_last[i] = (uint16_t)((c.now_ms >> 4) - 0x4000);
    mp_bucket_init(&n->verify_bucket, c.now_ms, MP_VERIFY_CAP);
    mp_bucket_init(&n->reset_bucket, c.now_ms, MP_RESET_CAP);
    mp_bucket_init(&n->service_bucket, c.now_ms, MP_SERVICE_CAP);
    mp_bucket_init(&n->unknown_bucket, c.now_ms, MP_UNKNOWN_CAP);
    mp_trickle_start(&n->trickle, c.now_ms, env->random(env->ctx));
    mp_job_arm(n, MP_JOB_TRICKLE, n->trickle.at_ms);
    error = mp_report_load(&c);
    return error < 0 ? error : mp_accept_load(&c);
}

/* --- receive ------------------------------------------------------------------------------------------------------ */

static int check(const struct mp_call *c, const struct mp_header *h, const uint8_t *frame, size_t len)
{
    const struct mp_node *n = c->n;
    unsigned slot = 0;

    if (h->source == n->id)
        return MP_ERR_SOURCE;
    if (h->network != n->network)
        return MP_ERR_NETWORK;
    while (slot < n->key_count && n->network_key_id[slot] != h->key_id)
        slot++;
    if (slot == n->key_count)
        return MP_ERR_NETWORK;
    return mp_frame_check(c->env->crypto, frame, len, n->network_key[slot]);
}

static int dispatch(struct mp_call *c, struct mp_neighbour *from, const struct mp_header *h, const uint8_t *body,
                    size_t len)
{
    switch ((enum mp_type)h->type) {
    case MP_TYPE_CHUNK:
        return mp_exchange_chunk(c, from, body, len);
    case MP_TYPE_SUMMARY:
        return mp_gossip_summary(c, from, h, body, len);
    case MP_TYPE_MANIFEST:
    case MP_TYPE_DIRECTIVE:
    case MP_TYPE_KEYCHANGE:
    case MP_TYPE_RECEIPT:
        return mp_accept_object(c, (enum mp_type)h->type, body, len);
    case MP_TYPE_REQUEST:
        return mp_exchange_request(c, from, body, len);
    case MP_TYPE_REPORT:
        return mp_report_receive(c, from, h, body, len);
    case MP_TYPE_REPORT_ACK:
        return mp_report_receive_ack(c, body, len);
    }
    return MP_ERR_TYPE;
}

int mp_node_receive(struct mp_node *n, const struct mp_env *env, mp_time now, const uint8_t *frame, size_t len)
{
    struct mp_call c = begin(n, env, now);
    struct mp_neighbour *from = NULL;
    struct mp_header h;
    int error = mp_header_get(&h, frame, len);

    if (error == MP_OK)
        error = check(&c, &h, frame, len);
    if (error == MP_OK)
        from = mp_neighbour_note(&c, &h, &error);
    if (error == MP_OK) {
        if (env->counters)
            env->counters->received[h.type]++;
        error = dispatch(&c, from, &h, frame + MP_HEADER_SIZE, len - MP_HEADER_SIZE - MP_TAG_SIZE);
    }
    if (error < 0 && env->counters)
        env->counters->dropped[-error]++;
    return error;
}

/* --- expire ------------------------------------------------------------------------------------------------------- */

static void expire_trickle(struct mp_call *c)
{
    struct mp_node *n = c->n;

    /* A host that slept through several intervals takes them one by one, each cheap and each at least 250 ms. */
    while (mp_job_is_due(c, MP_JOB_TRICKLE)) {
        bool is_waiting = (n->is_trial || n->loud) && !n->trickle.is_past_t;

        n->loud = (uint8_t)(n->loud - (is_waiting && n->loud));
        if (mp_trickle_expire(&n->trickle, c->env->random(c->env->ctx)) || is_waiting)
            mp_job_hasten(n, MP_JOB_SUMMARY, c->now_ms);
        if (n->is_trial && n->trickle.interval_ms > TRIAL_IMAX_MS)
            mp_trickle_start(&n->trickle, n->trickle.start_ms, c->env->random(c->env->ctx));
        mp_job_arm(n, MP_JOB_TRICKLE, n->trickle.at_ms);
        mp_neighbour_age(c, false);
    }
}

void mp_node_expire(struct mp_node *n, const struct mp_env *env, mp_time now)
{
    struct mp_call c = begin(n, env, now);

    expire_trickle(&c);
    if (mp_job_is_due(&c, MP_JOB_STALE)) {
        mp_job_disarm(n, MP_JOB_STALE);
        n->is_stale = true;
    }
    if (mp_job_is_due(&c, MP_JOB_RELAY)) {
        mp_job_disarm(n, MP_JOB_RELAY);
        mp_relay_expire(&c);
    }
}

/* --- write -------------------------------------------------------------------------------------------------------- */

static size_t write_body(struct mp_call *c, enum mp_job job, uint8_t *body, uint8_t *type)
{
    switch (job) {
    case MP_JOB_ACK:
        *type = MP_TYPE_REPORT_ACK;
        return mp_report_write_ack(c, body);
    case MP_JOB_PUSH:
        return mp_push_write(c, body, type);
    case MP_JOB_SUMMARY:
        *type = MP_TYPE_SUMMARY;
        mp_job_disarm(c->n, MP_JOB_SUMMARY);
        return mp_gossip_write_summary(c, body);
    case MP_JOB_REPORT:
        *type = MP_TYPE_REPORT;
        return mp_report_write(c, body);
    case MP_JOB_REQUEST:
        *type = MP_TYPE_REQUEST;
        return mp_exchange_write_request(c, body);
    case MP_JOB_FORWARD:
        *type = MP_TYPE_CHUNK;
        return mp_exchange_write_forward(c, body);
    case MP_JOB_SERVE:
        *type = MP_TYPE_CHUNK;
        return mp_exchange_write_serve(c, body);
    case MP_JOB_TRICKLE:
    case MP_JOB_STALE:
    case MP_JOB_RELAY:
    case MP_JOB_COUNT:
        break;
    }
    return 0;
}

/* Takes the next counter; at the end of a boot's sequence the next boot number must be persisted first. */
static uint64_t take_counter(struct mp_node *n)
{
    uint64_t counter = n->counter++;

    if ((n->counter & 0xFFFFFF) == 0) {
        n->is_counter_pending = true;
        n->events |= MP_EVENT_COUNTER;
    }
    return counter;
}

int mp_node_write(struct mp_node *n, const struct mp_env *env, mp_time now, uint8_t *buf, size_t cap)
{
    struct mp_call c = begin(n, env, now);

    if (cap < MP_FRAME_MAX)
        return MP_ERR_ROOM;
    if (n->is_counter_pending)
        return 0;
    for (enum mp_job job = MP_JOB_ACK; job < MP_JOB_COUNT; job++) {
        uint8_t type = 0;
        if (job >= MP_JOB_REQUEST && mp_job_is_due(&c, job) && mp_exchange_defer(&c, job))
            continue;
        size_t len = mp_job_is_due(&c, job) ? write_body(&c, job, buf + MP_HEADER_SIZE, &type) : 0;

        if (len) {
            struct mp_header h = {.type = type,
                                  .key_id = n->network_key_id[n->key_active],
                                  .hop = n->hop,
                                  .network = n->network,
                                  .round = n->round,
                                  .source = n->id,
                                  .counter = take_counter(n)};

            mp_header_put(buf, &h);
            len = mp_frame_seal(env->crypto, buf, MP_HEADER_SIZE + len, n->network_key[n->key_active]);
            if (env->counters) {
                env->counters->written[type]++;
                env->counters->written_bytes += (uint32_t)len;
            }
            return (int)len;
        }
    }
    return 0;
}

mp_time mp_node_next_expiry(const struct mp_node *n)
{
    uint32_t now_ms = mp_ms(n->now);
    unsigned armed = n->armed;
    int32_t least = INT32_MAX;

    if (n->is_counter_pending)
        armed &= (1u << MP_JOB_ACK) - 1;
    if (!armed)
        return MP_NEVER;
    for (unsigned job = 0; job < MP_JOB_COUNT; job++)
        if ((armed >> job & 1) && (int32_t)(n->due_ms[job] - now_ms) < least)
            least = (int32_t)(n->due_ms[job] - now_ms);
    if (least <= 0)
        return n->now;
    return n->now - ((uint32_t)n->now - now_ms * 1000) + MP_MS((mp_time)least);
}

void mp_node_announce(struct mp_node *n, mp_time now)
{
    mp_job_hasten(n, MP_JOB_SUMMARY, mp_ms(now));
}

uint32_t mp_node_events(struct mp_node *n)
{
    uint32_t events = n->events;

    n->events = 0;
    return events;
}

/* --- what the mesh knows ------------------------------------------------------------------------------------------ */

int mp_node_directive(const struct mp_node *n, const struct mp_env *env, unsigned i, struct mp_directive *d,
                      uint8_t raw[MP_DIRECTIVE_MAX], size_t *raw_len)
{
    uint8_t own[MP_DIRECTIVE_MAX];
    uint8_t *to = raw ? raw : own;
    int len;

    if (i >= MP_RELEASES_MAX || !n->heads[i].release)
        return MP_ERR_ABSENT;
    len = env->store->get(env->ctx, MP_KIND_DIRECTIVE, i, to, MP_DIRECTIVE_MAX);
    if (len <= 0)
        return MP_ERR_STORE;
    if (raw_len)
        *raw_len = (size_t)len;
    return mp_directive_get(d, to, (size_t)len) < 0 ? MP_ERR_STORE : MP_OK;
}

int mp_node_manifest(const struct mp_node *n, const struct mp_env *env, unsigned i, struct mp_manifest *m,
                     uint8_t id[8])
{
    uint8_t raw[MP_MANIFEST_SIZE];
    int len;

    if (i >= MP_MANIFESTS_MAX || mp_get64(n->manifests[i]) == 0)
        return MP_ERR_ABSENT;
    len = env->store->get(env->ctx, MP_KIND_MANIFEST, i, raw, sizeof raw);
    if (len != MP_MANIFEST_SIZE || mp_manifest_get(m, raw, sizeof raw) < 0)
        return MP_ERR_STORE;
    memcpy(id, n->manifests[i], 8);
    return MP_OK;
}

uint32_t mp_node_epoch(const struct mp_node *n)
{
    return n->epoch;
}

bool mp_node_is_stale(const struct mp_node *n, mp_time now)
{
    uint32_t now_ms = mp_ms(now);

    return n->is_stale || (mp_job_is_armed(n, MP_JOB_STALE) && !mp_is_before(now_ms, n->due_ms[MP_JOB_STALE]));
}

bool mp_node_breaker(const struct mp_node *n, uint32_t release)
{
    unsigned failed = 0, known = 0;

    for (const struct mp_neighbour *b = n->neighbours; b < n->neighbours + MP_NEIGHBOURS_MAX; b++) {
        if (!b->node || !(b->flags & MP_NEIGHBOUR_KNOWN))
            continue;
        known++;
        if (b->failed && b->failed == (uint16_t)release)
            failed++;
    }
    return failed >= 3 && 4 * failed >= known;
}

int mp_node_publish(struct mp_node *n, const struct mp_env *env, mp_time now, enum mp_type type, const uint8_t *object,
                    size_t len)
{
    struct mp_call c = begin(n, env, now);

    return mp_accept_object(&c, type, object, len);
}

/* --- payloads ----------------------------------------------------------------------------------------------------- */

static void count_held(struct mp_node *n, const uint8_t *bitmap, unsigned place)
{
    struct mp_place *p = &n->places[place];
    uint32_t last = 0;

    p->held = 0;
    for (uint32_t i = 0; i < p->positions; i++)
        if (MP_BIT(bitmap, i)) {
            p->held++;
            last = i + 1;
        }
    if (place == n->fetch)
        n->frontier = last;
}

static void start_fetch(struct mp_call *c, unsigned place)
{
    c->n->fetch = (uint8_t)place;
    c->n->request_stalls = 0;
    c->n->fetch_new_ms = c->now_ms - MP_STALL_MS;
    mp_job_arm(c->n, MP_JOB_REQUEST, c->now_ms + mp_random(c, 100));
}

int mp_node_place(struct mp_node *n, const struct mp_env *env, mp_time now, unsigned place, const struct mp_manifest *m,
                  const uint8_t id[8])
{
    struct mp_call c = begin(n, env, now);
    struct mp_place *p = &n->places[place < MP_PLACES_MAX ? place : 0];
    uint32_t positions = mp_tree_positions(m->payload_size);

    if (place >= MP_PLACES_MAX || positions == 0 || mp_get32(id) == 0)
        return MP_ERR_FORMAT;
    if (!env->store->bitmap(env->ctx, place))
        return MP_ERR_ABSENT;
    mp_node_drop(n, place);
    p->handle = mp_get32(id);
    p->size = m->payload_size;
    p->positions = positions;
    memcpy(p->salt, m->salt, sizeof p->salt);
    memcpy(p->root, m->payload_root, sizeof p->root);
    mp_node_recheck(n, env, now, place);
    mp_gossip_wake(&c);
    return MP_OK;
}

void mp_node_drop(struct mp_node *n, unsigned place)
{
    if (place >= MP_PLACES_MAX)
        return;
    memset(&n->places[place], 0, sizeof n->places[place]);
    if (n->fetch == place)
        n->fetch = MP_PLACES_MAX;
    if (n->demand.place == place)
        n->demand.place = MP_PLACES_MAX;
    for (unsigned i = 0; i < MP_FORWARDS_MAX; i++)
        if (n->forwards[i].place == place)
            n->forwards[i].place = MP_PLACES_MAX;
}

void mp_node_recheck(struct mp_node *n, const struct mp_env *env, mp_time now, unsigned place)
{
    struct mp_call c = begin(n, env, now);
    const uint8_t *bitmap =
        place < MP_PLACES_MAX && n->places[place].handle ? env->store->bitmap(env->ctx, place) : NULL;

    if (!bitmap)
        return;
    count_held(n, bitmap, place);
    if (place != 0 && n->places[place].held < n->places[place].positions && !n->is_gateway) {
        start_fetch(&c, place);
        count_held(n, bitmap, place);
    } else if (n->fetch == place) {
        n->fetch = MP_PLACES_MAX;
        n->events |= MP_EVENT_COMPLETE;
    }
}

int mp_node_progress(const struct mp_node *n, unsigned place, uint32_t *held, uint32_t *positions)
{
    if (place >= MP_PLACES_MAX || !n->places[place].handle)
        return MP_ERR_ABSENT;
    *held = n->places[place].held;
    *positions = n->places[place].positions;
    return MP_OK;
}

/* --- trial and counter -------------------------------------------------------------------------------------------- */

void mp_node_trial(struct mp_node *n, const struct mp_env *env, mp_time now, bool on)
{
    struct mp_call c = begin(n, env, now);

    n->is_trial = on;
    if (!on)
        return;
    n->nonce = draw_nonce(env);
    mp_trickle_start(&n->trickle, c.now_ms, env->random(env->ctx));
    mp_job_arm(n, MP_JOB_TRICKLE, n->trickle.at_ms);
}

uint32_t mp_node_boot(const struct mp_node *n)
{
    return (uint32_t)(n->counter >> 24);
}

void mp_node_counter_persisted(struct mp_node *n)
{
    if (n->counter >> 24 <= BOOT_MAX)
        n->is_counter_pending = false;
}

uint16_t mp_node_round(const struct mp_node *n, uint16_t *generation)
{
    *generation = n->round_generation;
    return n->round;
}

/* --- watching ----------------------------------------------------------------------------------------------------- */

/* A neighbour's payload is kept as the low half of its handle; the live manifests and own places tell the rest. */
static uint32_t expand(const struct mp_node *n, uint16_t low)
{
    for (unsigned i = 0; i < MP_PLACES_MAX; i++)
        if (low && (uint16_t)n->places[i].handle == low)
            return n->places[i].handle;
    for (unsigned i = 0; i < MP_MANIFESTS_MAX; i++)
        if (low && (uint16_t)mp_get32(n->manifests[i]) == low)
            return mp_get32(n->manifests[i]);
    return 0;
}

bool mp_node_neighbour(const struct mp_node *n, unsigned i, mp_time now, struct mp_neighbour_info *info)
{
    const struct mp_neighbour *b = &n->neighbours[i < MP_NEIGHBOURS_MAX ? i : 0];

    if (i >= MP_NEIGHBOURS_MAX || !b->node)
        return false;
    info->node = b->node;
    info->hop = b->hop;
    info->quality = b->quality;
    info->age_ms = mp_neighbour_age_ms(b, mp_ms(now));
    info->home = expand(n, b->home);
    info->target = expand(n, b->target);
    info->held = b->held;
    return true;
}

uint8_t mp_node_hop(const struct mp_node *n)
{
    return n->hop;
}
