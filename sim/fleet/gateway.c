/*
 * Timers of a gateway: `group` commits reports GROUP after the first of a group was heard, or at once when no more fit
 * (always at once where the engine has a microcontroller's room for them, which a real gateway has many times over);
 * `retry` publishes what the engine had no token for; `turn` changes the payloads served when more are live than there
 * are places; those of the release server that stands here, if one does.
 */
#include "gateway.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attack.h"
#include "server.h"

#define GROUP (MP_CUSTODY_MAX < 64 ? 0 : MP_MS(50))
#define RETRY MP_SECONDS(1)
#define TURN MP_SECONDS(10)
#define PLACES 2
#define PENDING_RECEIPT MP_RELEASES_MAX
#define PENDING_COUNT (MP_RELEASES_MAX + 1)
#define OBJECT_MAX MP_RECEIPT_MAX

_Static_assert(OBJECT_MAX >= MP_DIRECTIVE_MAX, "both wait in the same room");

/* What goes over the backhaul: one byte of kind, then */
enum mail {
    MAIL_REPORTS = 1, /* to the server: entries of MP_REPORT_ENTRY_SIZE bytes */
    MAIL_DONE,        /* to a gateway: how many entries are committed */
    MAIL_OBJECT       /* to a gateway: enum mp_type, object */
};
#define MAIL_ENTRIES_MAX 50 /* that fit a mail of 1,024 bytes */

/* A signed object that the engine has not taken yet. */
struct gateway_pending {
    uint16_t len; /* 0: free */
    uint8_t object[OBJECT_MAX];
};

struct gateway {
    sim_time group_at, retry_at, turn_at; /* SIM_NEVER: not armed */
    uint32_t node;
    uint32_t turn;
    uint8_t waiting;       /* entries at the server, not answered yet */
    uint8_t place[PLACES]; /* image in each of the engine's places, SIM_IMAGE_NONE */
    struct gateway_pending pending[PENDING_COUNT];
};

struct sim_gateways {
    uint32_t count;
    struct gateway *gateway;    /* of this rank, ascending node */
    struct sim_server **server; /* [count], NULL: it is elsewhere */
};

static uint32_t find(const struct sim_fleet *f)
{
    const struct sim_gateways *all = f->gateways;
    uint32_t low = 0, high = all->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (all->gateway[middle].node < f->node)
            low = middle + 1;
        else
            high = middle;
    }
    assert(low < all->count && all->gateway != NULL); /* only gateways of this rank get here */
    return low;
}

static struct mp_env env_of(const struct sim_fleet *f)
{
    struct mp_env env = f->env.mp;
    env.relay = NULL; /* a gateway has the payloads themselves */
    return env;
}

static mp_time local(const struct sim_fleet *f)
{
    return sim_clock_local(f->m, f->now);
}

static void arm(sim_time *timer, sim_time at)
{
    if (at < *timer)
        *timer = at;
}

/* --- payloads ----------------------------------------------------------------------------------------------------- */

/* Images whose manifests are live, newest release first; their number. */
static unsigned live_images(struct sim_fleet *f, uint8_t live[MP_MANIFESTS_MAX])
{
    struct mp_env env = env_of(f);
    struct mp_manifest m;
    uint8_t id[8];
    unsigned n = 0;
    for (unsigned i = 0; i < MP_MANIFESTS_MAX; i++) {
        int image = mp_node_manifest(&f->n->mp, &env, i, &m, id) == MP_OK ? sim_images_find_id(&f->images, id) : -1;
        if (image < 0)
            continue;
        unsigned at = n++;
        for (; at > 0 && f->images.image[live[at - 1]].manifest.release < m.release; at--)
            live[at] = live[at - 1];
        live[at] = (uint8_t)image;
    }
    return n;
}

static bool is_live(struct sim_fleet *f, const uint8_t id[8])
{
    struct mp_env env = env_of(f);
    struct mp_manifest m;
    uint8_t other[8];
    for (unsigned i = 0; i < MP_MANIFESTS_MAX; i++)
        if (mp_node_manifest(&f->n->mp, &env, i, &m, other) == MP_OK && memcmp(other, id, 8) == 0)
            return true;
    return false;
}

/* Which of more live images than places are served now. All take turns: who asks for one may be far away, behind others
 * that relay. */
static void choose(struct gateway *g, const uint8_t *live, unsigned n, uint8_t chosen[PLACES])
{
    for (unsigned k = 0; k < PLACES; k++)
        chosen[k] = live[(g->turn + k) % n];
    g->turn = (g->turn + PLACES) % n;
}

static void clear_place(struct sim_fleet *f, struct gateway *g, unsigned p)
{
    mp_node_drop(&f->n->mp, p);
    g->place[p] = SIM_IMAGE_NONE;
    if (p == 1) {
        f->m->image[f->m->running ^ 1u] = SIM_IMAGE_NONE;
        f->m->sealed &= (uint8_t) ~(1u << (f->m->running ^ 1u));
    }
}

static void fill_place(struct sim_fleet *f, struct gateway *g, unsigned p, uint8_t image)
{
    struct mp_env env = env_of(f);
    const struct sim_image *i = &f->images.image[image];
    unsigned slot = p == 0 ? f->m->running : f->m->running ^ 1u;
    g->place[p] = image;
    f->m->image[slot] = image;
    f->m->sealed |= (uint8_t)(1u << slot);
    if (mp_node_place(&f->n->mp, &env, local(f), p, &i->manifest, i->id) != MP_OK)
        sim_engine_fail(f->e, "a gateway cannot serve a payload");
}

/* One place for each live manifest, none for others, in as far as they suffice. */
static void sync_places(struct sim_fleet *f, struct gateway *g)
{
    uint8_t live[MP_MANIFESTS_MAX], chosen[PLACES];
    unsigned n = live_images(f, live), count = n < PLACES ? n : PLACES;
    if (n > PLACES)
        choose(g, live, n, chosen);
    else
        memcpy(chosen, live, n);
    g->turn_at = n > PLACES ? f->now + TURN : SIM_NEVER;
    for (unsigned p = 0; p < PLACES; p++)
        if (g->place[p] != SIM_IMAGE_NONE && memchr(chosen, g->place[p], count) == NULL)
            clear_place(f, g, p);
    for (unsigned k = 0; k < count; k++) {
        if (memchr(g->place, chosen[k], PLACES) != NULL)
            continue;
        unsigned p = g->place[1] == SIM_IMAGE_NONE ? 1 : 0;
        fill_place(f, g, p, chosen[k]);
    }
}

/* Gives the engine the manifests its heads name. */
static void offer_manifests(struct sim_fleet *f, struct gateway *g)
{
    struct mp_env env = env_of(f);
    struct mp_directive d;
    for (unsigned i = 0; i < MP_RELEASES_MAX; i++) {
        if (mp_node_directive(&f->n->mp, &env, i, &d, NULL, NULL) != MP_OK)
            continue;
        for (unsigned m = 0; m < d.manifest_count; m++) {
            int image = sim_images_find_id(&f->images, d.manifests[m]);
            if (image < 0 || is_live(f, d.manifests[m]))
                continue;
            if (mp_node_publish(&f->n->mp, &env, local(f), MP_TYPE_MANIFEST, f->images.image[image].raw,
                                MP_MANIFEST_SIZE) == MP_ERR_BUSY)
                arm(&g->retry_at, f->now + RETRY);
        }
    }
}

/* --- publishing --------------------------------------------------------------------------------------------------- */

static void publish_pending(struct sim_fleet *f, struct gateway *g)
{
    struct mp_env env = env_of(f);
    for (unsigned i = 0; i < PENDING_COUNT; i++) {
        struct gateway_pending *p = &g->pending[i];
        if (p->len == 0)
            continue;
        enum mp_type type = i == PENDING_RECEIPT ? MP_TYPE_RECEIPT : MP_TYPE_DIRECTIVE;
        /* what is refused for good was overtaken on the air by something newer */
        if (mp_node_publish(&f->n->mp, &env, local(f), type, p->object, p->len) == MP_ERR_BUSY)
            arm(&g->retry_at, f->now + RETRY);
        else
            p->len = 0;
    }
}

/* Keeps an object until the engine takes it; a newer receipt or directive of the same release replaces it. */
static void queue(struct gateway *g, enum mp_type type, const uint8_t *object, size_t len)
{
    unsigned slot = type == MP_TYPE_RECEIPT ? PENDING_RECEIPT : PENDING_COUNT;
    struct mp_directive d, other;
    if (len == 0 || len > OBJECT_MAX || (slot == PENDING_COUNT && mp_directive_get(&d, object, len) != MP_OK))
        return;
    for (unsigned i = 0; slot == PENDING_COUNT && i < MP_RELEASES_MAX; i++) {
        const struct gateway_pending *p = &g->pending[i];
        if (p->len > 0 && mp_directive_get(&other, p->object, p->len) == MP_OK && other.release == d.release)
            slot = i;
    }
    for (unsigned i = 0; slot == PENDING_COUNT && i < MP_RELEASES_MAX; i++)
        if (g->pending[i].len == 0)
            slot = i;
    if (slot == PENDING_COUNT)
        return; /* there are no more releases than slots */
    memcpy(g->pending[slot].object, object, len);
    g->pending[slot].len = (uint16_t)len;
}

static void mail(struct sim_fleet *f, uint32_t to, const uint8_t *data, size_t len)
{
    sim_time delay = f->s->fleet.backhaul_us, least = sim_engine_lookahead(f->e);
    sim_engine_mail(f->e, f->node, to, f->now + (delay > least ? delay : least), data, len);
}

void sim_gateway_publish(struct sim_fleet *f, enum mp_type type, const uint8_t *object, size_t len)
{
    struct gateway *g = &f->gateways->gateway[find(f)];
    uint8_t data[2 + OBJECT_MAX] = {MAIL_OBJECT, (uint8_t)type};
    if (len > OBJECT_MAX)
        return;
    queue(g, type, object, len);
    publish_pending(f, g);
    memcpy(data + 2, object, len);
    for (uint32_t i = 0; !f->s->fleet.own_networks && i < f->gateway_count; i++)
        if (f->gateway[i] != f->node)
            mail(f, f->gateway[i], data, len + 2);
}

/* --- reports ------------------------------------------------------------------------------------------------------ */

static void commit_here(struct sim_fleet *f, struct sim_server *server)
{
    uint8_t entry[MP_REPORT_ENTRY_SIZE];
    unsigned count = 0;
    for (; mp_node_custody(&f->n->mp, count, entry); count++)
        sim_server_report(f, server, entry);
    sim_server_run(f, server);
    mp_node_custody_done(&f->n->mp, local(f), count);
}

/* Everything in custody goes to the server, one batch at a time: what it has not committed is not acknowledged. */
static void commit_there(struct sim_fleet *f, struct gateway *g)
{
    uint8_t data[1 + MAIL_ENTRIES_MAX * MP_REPORT_ENTRY_SIZE] = {MAIL_REPORTS};
    unsigned count = 0;
    if (g->waiting > 0)
        return; /* the answer makes it go on */
    while (count < MAIL_ENTRIES_MAX &&
           mp_node_custody(&f->n->mp, count, data + 1 + (size_t)count * MP_REPORT_ENTRY_SIZE))
        count++;
    g->waiting = (uint8_t)count;
    if (count > 0)
        mail(f, f->gateway[0], data, 1 + (size_t)count * MP_REPORT_ENTRY_SIZE);
}

static void look_at_custody(struct sim_fleet *f, struct gateway *g)
{
    uint8_t entry[MP_REPORT_ENTRY_SIZE];
    if (!mp_node_custody(&f->n->mp, 0, entry))
        return;
    bool is_full = mp_node_custody(&f->n->mp, MP_CUSTODY_MAX - 1, entry);
    arm(&g->group_at, is_full ? f->now : f->now + GROUP);
}

/* --- the calls ---------------------------------------------------------------------------------------------------- */

static void follow_events(struct sim_fleet *f, struct gateway *g)
{
    uint32_t events;
    while ((events = mp_node_events(&f->n->mp)) != 0) {
        if ((events & MP_EVENT_COUNTER) != 0)
            mp_node_counter_persisted(&f->n->mp);
        if ((events & MP_EVENT_STORE) != 0)
            sim_engine_fail(f->e, "a gateway's record was not stored: out of memory");
        if ((events & (MP_EVENT_DIRECTIVE | MP_EVENT_MANIFEST)) != 0) {
            offer_manifests(f, g);
            sync_places(f, g);
        }
        if ((events & MP_EVENT_CUSTODY) != 0 && g->waiting == 0)
            look_at_custody(f, g);
    }
}

void sim_gateway_heard(struct sim_fleet *f)
{
    follow_events(f, &f->gateways->gateway[find(f)]);
}

void sim_gateway_expire(struct sim_fleet *f)
{
    uint32_t i = find(f);
    struct gateway *g = &f->gateways->gateway[i];
    struct sim_server *server = f->gateways->server[i];
    if (g->group_at <= f->now) {
        g->group_at = SIM_NEVER;
        if (server != NULL)
            commit_here(f, server);
        else
            commit_there(f, g);
    }
    if (g->retry_at <= f->now) {
        g->retry_at = SIM_NEVER;
        publish_pending(f, g);
        offer_manifests(f, g);
        sync_places(f, g);
    }
    if (g->turn_at <= f->now)
        sync_places(f, g);
    if (server != NULL && sim_server_next(server) <= f->now)
        sim_server_run(f, server);
    follow_events(f, g);
}

sim_time sim_gateway_next_expiry(const struct sim_fleet *f)
{
    uint32_t i = find(f);
    const struct gateway *g = &f->gateways->gateway[i];
    const struct sim_server *server = f->gateways->server[i];
    sim_time next = server != NULL ? sim_server_next(server) : SIM_NEVER;
    arm(&next, g->group_at);
    arm(&next, g->retry_at);
    arm(&next, g->turn_at);
    return next;
}

/* Reports that another gateway took: committed here, so that it may acknowledge them. */
static void mail_reports(struct sim_fleet *f, struct sim_server *server, uint32_t from, const uint8_t *data, size_t len)
{
    uint8_t answer[2] = {MAIL_DONE, (uint8_t)(len / MP_REPORT_ENTRY_SIZE)};
    for (size_t at = 0; at + MP_REPORT_ENTRY_SIZE <= len; at += MP_REPORT_ENTRY_SIZE)
        sim_server_report(f, server, data + at);
    sim_server_run(f, server);
    mail(f, from, answer, sizeof answer);
}

void sim_gateway_mail(struct sim_fleet *f, uint32_t from, const uint8_t *data, size_t len)
{
    uint32_t i = find(f);
    struct gateway *g = &f->gateways->gateway[i];
    struct sim_server *server = f->gateways->server[i];
    if (len < 2)
        return;
    switch (data[0]) {
    case MAIL_REPORTS:
        if (server != NULL)
            mail_reports(f, server, from, data + 1, len - 1);
        break;
    case MAIL_DONE:
        mp_node_custody_done(&f->n->mp, local(f), data[1]);
        g->waiting = 0;
        look_at_custody(f, g);
        break;
    case MAIL_OBJECT:
        queue(g, (enum mp_type)data[1], data + 2, len - 2);
        publish_pending(f, g);
        break;
    default: /* not an enum: bytes of a mail */
        break;
    }
    follow_events(f, g);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static bool is_member(const struct sim_fleet *f, uint32_t node)
{
    return !sim_fleet_is_gateway(f, node) && !sim_attack_is(f, node);
}

/* The release server of the i-th own gateway, when it has one. 0 or -1. */
static int open_server(struct sim_fleet *f, uint32_t i, const uint32_t *nodes, uint32_t count, char *error, size_t cap)
{
    uint32_t node = f->gateways->gateway[i].node;
    if (!f->s->fleet.own_networks && node != f->gateway[0])
        return 0;
    f->gateways->server[i] = sim_server_open(f, node, nodes, count, error, cap);
    return f->gateways->server[i] != NULL ? 0 : -1;
}

/* Nodes of the world sorted by the own gateway that serves their network: node[first[i]] to node[first[i + 1] - 1]. */
struct sorting {
    uint32_t *node, *first, *gateway_of; /* gateway_of: network to index of an own gateway, UINT32_MAX none */
};

static bool sort_out(struct sim_fleet *f, struct sorting *s)
{
    struct sim_gateways *all = f->gateways;
    uint32_t networks = f->network_count + 1u;
    s->first = calloc(all->count + 2u, sizeof *s->first);
    s->gateway_of = malloc(networks * sizeof *s->gateway_of);
    s->node = NULL;
    if (s->first == NULL || s->gateway_of == NULL)
        return false;
    memset(s->gateway_of, 0xFF, networks * sizeof *s->gateway_of);
    for (uint32_t i = 0; i < all->count; i++)
        if (f->s->fleet.own_networks || all->gateway[i].node == f->gateway[0])
            s->gateway_of[sim_fleet_network(f, all->gateway[i].node)] = i;
    for (uint32_t node = 0; node < f->field->count; node++) {
        uint32_t i = s->gateway_of[sim_fleet_network(f, node)];
        if (i != UINT32_MAX && is_member(f, node))
            s->first[i + 2]++;
    }
    for (uint32_t i = 2; i < all->count + 2; i++)
        s->first[i] += s->first[i - 1];
    uint32_t total = s->first[all->count + 1];
    s->node = malloc((total > 0 ? total : 1) * sizeof *s->node);
    for (uint32_t node = 0; s->node != NULL && node < f->field->count; node++) {
        uint32_t i = s->gateway_of[sim_fleet_network(f, node)];
        if (i != UINT32_MAX && is_member(f, node))
            s->node[s->first[i + 1]++] = node;
    }
    return s->node != NULL;
}

static int open_servers(struct sim_fleet *f, char *error, size_t cap)
{
    struct sorting s = {NULL, NULL, NULL};
    int result = 0;
    if (!sort_out(f, &s)) {
        snprintf(error, cap, "out of memory");
        result = -1;
    }
    for (uint32_t i = 0; result == 0 && i < f->gateways->count; i++)
        result = open_server(f, i, s.node + s.first[i], s.first[i + 1] - s.first[i], error, cap);
    free(s.node);
    free(s.first);
    free(s.gateway_of);
    return result;
}

int sim_gateway_open(struct sim_fleet *f, char *error, size_t cap)
{
    if (f->is_load)
        return 0;
    struct sim_gateways *all = f->gateways = calloc(1, sizeof *all);
    uint32_t first = 0, limit;
    while (first < f->gateway_count && f->gateway[first] < f->field->first)
        first++;
    for (limit = first; limit < f->gateway_count && f->gateway[limit] < f->field->limit;)
        limit++;
    if (all != NULL) {
        all->gateway = calloc(limit - first + 1, sizeof *all->gateway);
        all->server = calloc(limit - first + 1, sizeof *all->server);
    }
    if (all == NULL || all->gateway == NULL || all->server == NULL) {
        snprintf(error, cap, "out of memory");
        return -1;
    }
    all->count = limit - first;
    for (uint32_t i = 0; i < all->count; i++) {
        struct gateway *g = &all->gateway[i];
        g->node = f->gateway[first + i];
        g->group_at = g->retry_at = g->turn_at = SIM_NEVER;
        memset(g->place, SIM_IMAGE_NONE, sizeof g->place);
    }
    return all->count > 0 ? open_servers(f, error, cap) : 0;
}

void sim_gateway_close(struct sim_fleet *f)
{
    struct sim_gateways *all = f->gateways;
    if (all == NULL)
        return;
    for (uint32_t i = 0; all->server != NULL && i < all->count; i++)
        sim_server_close(all->server[i]);
    free(all->server);
    free(all->gateway);
    free(all);
    f->gateways = NULL;
}

int sim_gateway_start(struct sim_fleet *f)
{
    struct mp_identity id;
    struct mp_env env = env_of(f);
    sim_fleet_identity(f, f->node, &id);
    id.boot = 1;
    id.is_gateway = true;
    f->m->flags |= SIM_MEMBER_GATEWAY | SIM_MEMBER_RUNS;
    int bad = env.store->put(env.ctx, MP_KIND_KEYSET, 0, f->keys.keyset, MP_KEYSET_SIZE);
    if (bad == MP_OK)
        bad = mp_node_init(&f->n->mp, &env, &id, local(f));
    if (bad != MP_OK) {
        sim_engine_fail(f->e, bad == MP_ERR_STORE ? "a gateway does not start: out of memory"
                                                  : "a gateway does not start: its identity or keys are not valid");
        return -1;
    }
    sim_engine_power(f->e, f->node, true);
    return 0;
}

uint32_t sim_gateway_rollouts_open(const struct sim_fleet *f)
{
    uint32_t open = 0;
    for (uint32_t i = 0; f->gateways != NULL && i < f->gateways->count; i++)
        if (f->gateways->server[i] != NULL)
            open += sim_server_rollouts_open(f->gateways->server[i]);
    return open;
}

const struct sim_server *sim_gateway_server(const struct sim_fleet *f, uint32_t gateway)
{
    for (uint32_t i = 0; f->gateways != NULL && i < f->gateways->count; i++)
        if (f->gateways->gateway[i].node == gateway)
            return f->gateways->server[i];
    return NULL;
}

size_t sim_gateway_bytes(const struct sim_fleet *f)
{
    size_t bytes = 0;
    for (uint32_t i = 0; f->gateways != NULL && i < f->gateways->count; i++)
        bytes +=
            sizeof(struct gateway) + (f->gateways->server[i] != NULL ? sim_server_bytes(f->gateways->server[i]) : 0);
    return bytes;
}

/* --- checkpoint --------------------------------------------------------------------------------------------------- */

int sim_gateway_save(struct sim_fleet *f, struct sim_archive *a)
{
    const struct sim_gateways *all = f->gateways;
    uint32_t count = all != NULL ? all->count : 0;
    sim_archive_section(a, "GATE");
    sim_archive_put_count(a, count);
    for (uint32_t i = 0; i < count; i++) {
        sim_archive_put(a, &all->gateway[i], sizeof all->gateway[i]);
        if (all->server[i] != NULL && sim_server_save(all->server[i], a) != 0)
            return -1;
    }
    return sim_archive_failed(a) ? -1 : 0;
}

static int check_gateway(const struct sim_fleet *f, const struct gateway *g, struct sim_archive *a)
{
    for (unsigned p = 0; p < PLACES; p++)
        if (g->place[p] != SIM_IMAGE_NONE && g->place[p] >= f->images.count)
            return sim_archive_fail(a, "a gateway serves an image that is none");
    for (unsigned i = 0; i < PENDING_COUNT; i++)
        if (g->pending[i].len > OBJECT_MAX)
            return sim_archive_fail(a, "an object of a gateway is too long");
    return 0;
}

int sim_gateway_load(struct sim_fleet *f, struct sim_archive *a)
{
    struct sim_gateways *all = f->gateways;
    uint64_t count = 0;
    sim_archive_section(a, "GATE");
    if (sim_archive_get_count(a, &count, all != NULL ? all->count : 0) != 0)
        return -1;
    if (all == NULL)
        return 0;
    if (count != all->count)
        return sim_archive_fail(a, "another number of gateways");
    for (uint32_t i = 0; i < all->count; i++) {
        struct gateway g;
        if (sim_archive_get(a, &g, sizeof g) != 0 || check_gateway(f, &g, a) != 0)
            return -1;
        if (g.node != all->gateway[i].node)
            return sim_archive_fail(a, "a gateway stands elsewhere");
        all->gateway[i] = g;
        if (all->server[i] != NULL && sim_server_load(f, all->server[i], a) != 0)
            return -1;
    }
    return 0;
}
