/*
 * Timers: `tick` evaluates rollouts when the release engine says so, retries what could not be published, signs
 * receipts and looks at the epoch, at the latest after TICK_MAX_MS; `group` commits reports GROUP_MS after the first of
 * a group was heard. Both run on the loop's one thread.
 */
#include "gateway_state.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node-fw/port/crypto/crypto_sodium.h"

#define TICK_MAX_MS 60000
#define TICK_MIN_MS 20
#define TICK_RETRY_MS 1000 /* after a failed commit, or while something waits */
#define GROUP_MS 50
#define ALIVE_MS 10000 /* how exactly a restart knows how long it was away */

static const char *reason(struct md_gateway *g, int bad)
{
    return bad > -MP_ERROR_COUNT && bad != MP_ERR_STORE ? mp_strerror(bad) : md_store_error(g->store);
}

int64_t md_gateway_now_ms(struct md_gateway *g)
{
    return g->clock_base_ms + (int64_t)((md_bearer_now() - g->clock_mono) / 1000u);
}

/* Tells watchers, once for whatever happened since the last time. */
static void tell(struct md_gateway *g)
{
    if (!g->has_news)
        return;
    g->has_news = false;
    g->changes++;
    if (g->changed != NULL)
        g->changed(g->changed_ctx);
}

static void arm_ms(struct event *timer, uint64_t ms)
{
    struct timeval tv = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    evtimer_add(timer, &tv);
}

/* --- release engine and its commits ------------------------------------------------------------------------------- */

/* Reads the release engine back from the store: at start, and when a commit failed. */
static int load_release(struct md_gateway *g)
{
    struct md_release *r = md_release_new(g->env.crypto);
    struct md_node node;
    int bad = r != NULL ? MP_OK : MP_ERR_ROOM;
    for (uint32_t i = 0; bad == MP_OK && md_registry_get(g->registry, i, &node) == MP_OK; i++) {
        struct md_fact fact = {.node = node.node,
                               .product = node.product,
                               .model = node.model,
                               .labels = node.labels,
                               .hw_revision = node.hw_revision,
                               .enrolled = node.enrolled,
                               .retired = node.retired};
        bad = md_release_node(r, (uint64_t)md_gateway_now_ms(g), &fact);
    }
    if (bad == MP_OK)
        bad = md_store_load_release(g->store, r);
    if (bad != MP_OK) {
        md_release_free(r);
        return bad;
    }
    md_release_free(g->release);
    g->release = r;
    /* a report may have been committed in the instant before a kill, without what it meant to a rollout */
    for (uint32_t i = 0; md_registry_get(g->registry, i, &node) == MP_OK; i++)
        if (node.has_report)
            md_release_report(r, (uint64_t)md_gateway_now_ms(g), &node.report);
    return MP_OK;
}

/* Whether a rollout waits for something that a restart must not cut short. */
static bool has_active(struct md_gateway *g)
{
    struct md_rollout_info info;
    for (unsigned i = 0; md_release_info(g->release, i, &info) == MP_OK; i++)
        if (info.phase != MD_PHASE_DONE && info.phase != MD_PHASE_REVERTED && info.phase != MD_PHASE_HELD)
            return true;
    return false;
}

/* Within a transaction: everything the release engine decided, and what has to be signed for it. */
static int stage_changes(struct md_gateway *g, const char *who)
{
    struct md_decision d;
    char what[40];
    int64_t now_ms = md_gateway_now_ms(g);
    md_gateway_feed_heads(g);
    md_release_tick(g->release, (uint64_t)now_ms);
    int bad = md_store_save_release(g->store, g->release, now_ms);
    while (bad == MP_OK && md_release_decision(g->release, &d)) {
        snprintf(what, sizeof what, "rollout.%s", md_decision_name(d.kind));
        bad = md_store_audit(g->store, now_ms, who != NULL ? who : "gate", what, d.text);
        md_log(MD_LOG_INFO, "rollout", "%s", d.text);
        g->has_news = true;
    }
    if (bad == MP_OK)
        bad = md_gateway_sign_wanted(g);
    if (bad == MP_OK && has_active(g) && now_ms - g->alive_ms >= ALIVE_MS) {
        bad = md_store_set_number(g->store, "alive_ms", now_ms);
        g->alive_ms = now_ms;
    }
    return bad;
}

/* A commit failed: what RAM knows beyond the disk is forgotten, and tried again later. */
static void undo(struct md_gateway *g, int bad)
{
    md_log(MD_LOG_ERROR, "store", "not committed, trying again: %s", reason(g, bad));
    memset(g->unpublished, 0, sizeof g->unpublished);
    g->alive_ms = 0;
    int again = load_release(g);
    if (again != MP_OK)
        md_log(MD_LOG_ERROR, "store", "rollouts cannot be read back: %s", reason(g, again));
    arm_ms(g->tick, TICK_RETRY_MS);
}

static void arm_tick(struct md_gateway *g)
{
    uint64_t now = (uint64_t)md_gateway_now_ms(g), wait = has_active(g) ? ALIVE_MS : TICK_MAX_MS;
    uint64_t next = md_release_next_expiry(g->release);
    if (next != MD_NEVER_MS && next < now + wait)
        wait = next > now ? next - now : 0;
    bool waits = md_registry_receipt_due(g->registry) && g->cannot_sign[0] == '\0';
    for (unsigned i = 0; i < MP_RELEASES_MAX; i++)
        waits = waits || g->unpublished[i].release != 0;
    if (waits && wait > TICK_RETRY_MS)
        wait = TICK_RETRY_MS;
    arm_ms(g->tick, wait > TICK_MIN_MS ? wait : TICK_MIN_MS);
}

static void after_commit(struct md_gateway *g)
{
    md_gateway_publish(g);
    md_gateway_receipt(g);
    arm_tick(g);
    tell(g);
    md_bearer_run(g->bearer);
}

int md_gateway_commit(struct md_gateway *g, const char *who)
{
    int bad = md_store_begin(g->store);
    if (bad == MP_OK) {
        bad = stage_changes(g, who);
        if (bad == MP_OK)
            bad = md_store_commit(g->store);
        else
            md_store_rollback(g->store);
    }
    if (bad != MP_OK) {
        undo(g, bad);
        return bad;
    }
    after_commit(g);
    return MP_OK;
}

int md_gateway_node_changed(struct md_gateway *g, uint32_t id)
{
    struct md_node node;
    int bad = md_registry_find(g->registry, id, &node);
    if (bad != MP_OK)
        return bad;
    struct md_fact fact = {.node = node.node,
                           .product = node.product,
                           .model = node.model,
                           .labels = node.labels,
                           .hw_revision = node.hw_revision,
                           .enrolled = node.enrolled,
                           .retired = node.retired};
    bad = md_release_node(g->release, (uint64_t)md_gateway_now_ms(g), &fact);
    g->has_news = true;
    return bad != MP_OK ? bad : md_gateway_commit(g, NULL);
}

int md_gateway_audit(struct md_gateway *g, const char *who, const char *what, const char *format, ...)
{
    char text[MD_TEXT_MAX];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    md_log(MD_LOG_INFO, what, "%s (%s)", text, who);
    return md_store_audit(g->store, md_gateway_now_ms(g), who, what, text);
}

int md_gateway_keychange(struct md_gateway *g, const uint8_t *object, size_t len, const char *who)
{
    struct mp_keychange c;
    int bad = mp_keychange_get(&c, object, len);
    if (bad == MP_OK)
        bad = mp_node_publish(&g->node, &g->env, md_bearer_now(), MP_TYPE_KEYCHANGE, object, len);
    if (bad != MP_OK)
        return bad;
    md_gateway_audit(g, who, "key.change", "key change %u: %s %s key %u, generation %u", c.number,
                     c.op == MP_KEYOP_INSTALL ? "install" : "revoke", md_role_name(c.role), c.key_id, c.generation);
    md_bearer_run(g->bearer);
    return MP_OK;
}

/* --- reports ------------------------------------------------------------------------------------------------------ */

/* Takes everything in custody within a transaction; *count entries were looked at. 0 or a store code. */
static int take_custody(struct md_gateway *g, unsigned *count)
{
    uint8_t entry[MP_REPORT_ENTRY_SIZE];
    for (*count = 0; mp_node_custody(&g->node, *count, entry); ++*count) {
        struct mp_report report;
        int taken = md_registry_report(g->registry, md_gateway_now_ms(g), entry, &report);
        if (taken < 0)
            return taken;
        if (taken != MD_INTAKE_NEW)
            continue;
        md_release_report(g->release, (uint64_t)md_gateway_now_ms(g), &report);
        g->has_news = true;
        md_log(MD_LOG_DEBUG, "report", "node %u: %s%s%s, runs %u, target %u", report.node,
               md_report_phase_name(report.phase), report.reason != 0 ? ", " : "",
               report.reason != 0 ? md_reason_name(report.reason) : "", report.running, report.target);
    }
    return MP_OK;
}

static void commit_reports(struct md_gateway *g)
{
    unsigned count = 0;
    int bad = md_store_begin(g->store);
    if (bad == MP_OK) {
        bad = take_custody(g, &count);
        if (bad == MP_OK)
            bad = stage_changes(g, NULL);
        if (bad == MP_OK)
            bad = md_registry_commit(g->registry);
        else
            md_registry_rollback(g->registry);
    }
    if (bad != MP_OK) {
        undo(g, bad);
        arm_ms(g->group, TICK_RETRY_MS);
        return;
    }
    mp_node_custody_done(&g->node, md_bearer_now(), count);
    after_commit(g);
}

static void on_group(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    commit_reports(ctx);
}

static void on_tick(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    struct md_gateway *g = ctx;
    uint8_t entry[MP_REPORT_ENTRY_SIZE];
    md_gateway_offer_manifests(g);
    md_gateway_sync_places(g);
    if (mp_node_custody(&g->node, 0, entry) && !evtimer_pending(g->group, NULL))
        arm_ms(g->group, GROUP_MS);
    md_gateway_commit(g, NULL);
}

/* --- engine ------------------------------------------------------------------------------------------------------- */

static void on_keyset(struct md_gateway *g)
{
    int bad = md_gateway_read_keyset(g);
    if (bad != MP_OK)
        md_log(MD_LOG_ERROR, "gateway", "keyset: %s", reason(g, bad));
    else
        md_log(MD_LOG_INFO, "gateway", "keyset is at key change %u%s%s", g->keyset.number,
               g->cannot_sign[0] != '\0' ? "; signs nothing: " : "", g->cannot_sign);
}

static void handle_events(struct md_gateway *g, uint32_t events)
{
    if ((events & MP_EVENT_COUNTER) != 0) {
        if (md_store_set_boot(g->store, mp_node_boot(&g->node)) == MP_OK)
            mp_node_counter_persisted(&g->node);
        else
            md_log(MD_LOG_ERROR, "store", "boot counter: %s", md_store_error(g->store));
    }
    if ((events & MP_EVENT_KEYSET) != 0)
        on_keyset(g);
    if ((events & MP_EVENT_FORK) != 0)
        md_gateway_audit(g, MD_GATEWAY_NAME, "key.fork",
                         "two different key changes with one number: the key chain is frozen");
    if ((events & MP_EVENT_STORE) != 0)
        md_log(MD_LOG_WARNING, "store", "an object heard was not stored: %s", md_store_error(g->store));
    if ((events & (MP_EVENT_DIRECTIVE | MP_EVENT_MANIFEST)) != 0) {
        md_gateway_offer_manifests(g);
        md_gateway_sync_places(g);
    }
    if ((events & MP_EVENT_COMPLETE) != 0)
        md_gateway_seal_places(g);
    if ((events & (MP_EVENT_DIRECTIVE | MP_EVENT_KEYSET)) != 0)
        arm_ms(g->tick, 0);
    if ((events & MP_EVENT_CUSTODY) != 0 && !evtimer_pending(g->group, NULL))
        arm_ms(g->group, GROUP_MS);
}

static void on_heard(void *ctx, mp_time now, const uint8_t *frame, size_t len)
{
    struct md_gateway *g = ctx;
    mp_node_receive(&g->node, &g->env, now, frame, len);
}

static void on_expire(void *ctx, mp_time now)
{
    struct md_gateway *g = ctx;
    mp_node_expire(&g->node, &g->env, now);
}

static void on_done(void *ctx, mp_time now)
{
    (void)now;
    struct md_gateway *g = ctx;
    uint32_t events = mp_node_events(&g->node);
    if (events != 0)
        handle_events(g, events);
}

static int on_next(void *ctx, mp_time now, uint8_t *buf, size_t cap)
{
    struct md_gateway *g = ctx;
    return mp_node_write(&g->node, &g->env, now, buf, cap);
}

static mp_time on_next_expiry(void *ctx)
{
    struct md_gateway *g = ctx;
    return mp_node_next_expiry(&g->node);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void start_clock(struct md_gateway *g)
{
    struct timespec t;
    int64_t alive = 0;
    clock_gettime(CLOCK_REALTIME, &t);
    g->clock_mono = md_bearer_now();
    g->clock_base_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    if (md_store_get_number(g->store, "alive_ms", &alive) == MP_OK && alive >= g->clock_base_ms)
        g->clock_base_ms = alive + 1;
    g->alive_ms = alive;
}

static int start_engine(struct md_gateway *g, char *error, size_t cap)
{
    struct mp_identity id = {.network = g->config.network, .is_gateway = true};
    struct md_network_keys keys;
    int bad = md_registry_gateway(g->registry, &id.node, &id.index, id.report_key);
    if (bad == MP_OK)
        bad = md_store_next_boot(g->store, &id.boot);
    if (bad == MP_OK) {
        md_registry_network_keys(g->registry, &keys);
        memcpy(id.key_id, keys.id, sizeof id.key_id);
        memcpy(id.network_key, keys.key, sizeof id.network_key);
        id.key_active = keys.active;
        id.key_count = keys.count;
        bad = mp_node_init(&g->node, &g->env, &id, md_bearer_now());
    }
    g->id = id.node;
    if (bad != MP_OK)
        snprintf(error, cap, "the engine does not start: %s", reason(g, bad));
    sodium_memzero(&id, sizeof id);
    sodium_memzero(&keys, sizeof keys);
    return bad == MP_OK ? 0 : -1;
}

static int start_rollouts(struct md_gateway *g, char *error, size_t cap)
{
    struct md_rollout_info info;
    int64_t now_ms = md_gateway_now_ms(g);
    int bad = load_release(g);
    if (bad != MP_OK) {
        snprintf(error, cap, "%s: rollouts cannot be read: %s", g->config.database, reason(g, bad));
        return -1;
    }
    if (md_release_info(g->release, 0, &info) == MP_OK && g->alive_ms != 0 && now_ms > g->alive_ms)
        md_release_gap(g->release, (uint64_t)now_ms, (uint64_t)(now_ms - g->alive_ms));
    return 0;
}

static int start_bearer(struct md_gateway *g, char *error, size_t cap)
{
    const struct md_bearer_handler handler = {.ctx = g,
                                              .heard = on_heard,
                                              .expire = on_expire,
                                              .next = on_next,
                                              .next_expiry = on_next_expiry,
                                              .done = on_done};
    uint8_t address[6] = {(uint8_t)g->id,         (uint8_t)(g->id >> 8),      (uint8_t)(g->id >> 16),
                          (uint8_t)(g->id >> 24), (uint8_t)g->config.network, (uint8_t)(g->config.network >> 8)};
    g->tick = evtimer_new(g->base, on_tick, g);
    g->group = evtimer_new(g->base, on_group, g);
    g->bearer = md_bearer_new(g->base, &g->config, address, &handler);
    if (g->tick != NULL && g->group != NULL && g->bearer != NULL)
        return 0;
    snprintf(error, cap, "out of memory");
    return -1;
}

struct md_gateway *md_gateway_open(struct event_base *base, const struct md_config *config, char *error, size_t cap)
{
    struct md_gateway *g = calloc(1, sizeof *g);
    const struct mp_crypto *crypto = crypto_sodium();
    if (g == NULL || crypto == NULL) {
        snprintf(error, cap, "%s", g == NULL ? "out of memory" : "libsodium does not start");
        free(g);
        return NULL;
    }
    g->base = base;
    g->config = *config;
    g->cannot_sign = "";
    sodium_mlock(&g->key, sizeof g->key); /* best effort: limits may forbid it */
    if (md_store_open(&g->store, config->database, crypto, error, cap) != MP_OK)
        goto fail;
    g->env = (struct mp_env){.ctx = g->store,
                             .crypto = crypto,
                             .store = md_store_engine(),
                             .random = md_store_random,
                             .counters = &g->counters};
    start_clock(g);
    int bad = md_registry_open(&g->registry, g->store, config->network);
    if (bad != MP_OK) {
        snprintf(error, cap, "%s: %s", config->database,
                 bad == MP_ERR_NETWORK ? "belongs to another network number" : md_store_error(g->store));
        goto fail;
    }
    if (md_gateway_load_keys(g, error, cap) < 0 || start_engine(g, error, cap) < 0 ||
        start_rollouts(g, error, cap) < 0 || start_bearer(g, error, cap) < 0)
        goto fail;
    arm_ms(g->tick, 0);
    return g;
fail:
    md_gateway_close(g);
    return NULL;
}

void md_gateway_close(struct md_gateway *g)
{
    if (g == NULL)
        return;
    md_bearer_free(g->bearer);
    if (g->tick != NULL)
        event_free(g->tick);
    if (g->group != NULL)
        event_free(g->group);
    md_release_free(g->release);
    md_registry_close(g->registry);
    md_store_close(g->store);
    md_key_wipe(&g->key);
    sodium_munlock(&g->key, sizeof g->key);
    sodium_memzero(&g->node, sizeof g->node);
    free(g);
}

void md_gateway_on_change(struct md_gateway *g, md_gateway_changed callback, void *ctx)
{
    g->changed = callback;
    g->changed_ctx = ctx;
}

struct md_store *md_gateway_store(struct md_gateway *g)
{
    return g->store;
}

struct md_registry *md_gateway_registry(struct md_gateway *g)
{
    return g->registry;
}

struct md_release *md_gateway_release(struct md_gateway *g)
{
    return g->release;
}

void md_gateway_status(struct md_gateway *g, struct md_gateway_status *s)
{
    memset(s, 0, sizeof *s);
    s->node = g->id;
    s->network = g->config.network;
    s->epoch = mp_node_epoch(&g->node);
    uint16_t generation;
    s->round = mp_node_round(&g->node, &generation);
    s->can_sign = g->cannot_sign[0] == '\0';
    s->cannot_sign = g->cannot_sign;
    s->uptime_s = (md_bearer_now() - g->clock_mono) / 1000000u;
    s->changes = g->changes;
    s->keyset = g->keyset;
    s->counters = g->counters;
    md_bearer_info(g->bearer, &s->bearer);
}

const struct mp_node *md_gateway_node(const struct md_gateway *g, const struct mp_env **env)
{
    *env = &g->env;
    return &g->node;
}
