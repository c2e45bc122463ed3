#include "fleet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "attack.h"
#include "fleet_state.h"
#include "gateway.h"
#include "life.h"
#include "node-fw/port/crypto/crypto_sodium.h"
#include "node.h"
#include "verdict.h"

#define ASK_AGAIN MP_MS(1) /* who is due but has nothing to say */
#define HUGE_PAGE ((size_t)2 << 20)
enum { LINE = 64, TYPE_ATTACK = 15, KEY_ID = 1 };

/* --- about nodes -------------------------------------------------------------------------------------------------- */

uint16_t sim_fleet_network(const struct sim_fleet *f, uint32_t node)
{
    return f->network != NULL ? f->network[node] : 1;
}

uint16_t sim_fleet_index(const struct sim_fleet *f, uint32_t node)
{
    return f->place != NULL ? f->place[node] : (uint16_t)node;
}

static uint32_t deal(const struct sim_fleet *f, enum sim_fleet_purpose purpose, uint32_t node, uint32_t count)
{
    uint32_t draw[4];

    if (count <= 1)
        return 1;
    sim_fleet_draw(f->seed, purpose, node, 0, draw);
    return 1 + sim_scale(draw[0], count);
}

uint16_t sim_fleet_model(const struct sim_fleet *f, uint32_t node)
{
    return (uint16_t)deal(f, SIM_FLEET_MODEL, node, f->s->fleet.models);
}

uint8_t sim_fleet_revision(const struct sim_fleet *f, uint32_t node)
{
    return (uint8_t)deal(f, SIM_FLEET_REVISION, node, f->s->fleet.hw_revisions);
}

/* Index of a node among ascending ones, or `count`. */
static uint32_t find(const uint32_t *nodes, uint32_t count, uint32_t node)
{
    uint32_t low = 0, high = count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (nodes[middle] == node)
            return middle;
        if (nodes[middle] < node)
            low = middle + 1;
        else
            high = middle;
    }
    return count;
}

uint16_t sim_fleet_labels(const struct sim_fleet *f, uint32_t node)
{
    return find(f->canary, f->canary_count, node) < f->canary_count ? 1 : 0;
}

bool sim_fleet_is_gateway(const struct sim_fleet *f, uint32_t node)
{
    return find(f->gateway, f->gateway_count, node) < f->gateway_count;
}

void sim_fleet_identity(const struct sim_fleet *f, uint32_t node, struct mp_identity *id)
{
    memset(id, 0, sizeof *id);
    id->node = node + 1;
    id->network = sim_fleet_network(f, node);
    id->index = sim_fleet_index(f, node);
    id->key_id[0] = KEY_ID;
    id->key_count = 1;
    sim_keys_network(&f->keys, id->network, id->network_key[0]);
    sim_keys_report(&f->keys, node, id->report_key);
}

/* --- clocks ------------------------------------------------------------------------------------------------------- */

sim_time sim_clock_engine(const struct sim_member *m, mp_time local)
{
    if (local == MP_NEVER)
        return SIM_NEVER;
    sim_time t = local + (local - sim_clock_local(m, local));

    /* Off by what the drift does to itself. */
    t += local - sim_clock_local(m, t);
    while (sim_clock_local(m, t) < local)
        t++;
    while (t > 0 && sim_clock_local(m, t - 1) >= local)
        t--;
    return t;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static uint32_t draw_random(void *ctx)
{
    struct sim_fleet *f = ctx;

    return sim_engine_random(f->e, f->node);
}

static uint8_t battery_percent(void *ctx)
{
    return sim_life_battery_percent(ctx);
}

static const struct nf_hooks hooks = {.battery_percent = battery_percent};

static void disagreed(void *ctx, const char *why)
{
    struct sim_fleet *f = ctx;

    sim_engine_fail(f->e, why);
}

static int find_gateways(struct sim_fleet *f, char *error, size_t cap)
{
    if (f->is_load)
        return 0;
    f->gateway_count = sim_field_gateways(f->field, NULL, 0);
    f->gateway = calloc(f->gateway_count + 1, sizeof *f->gateway);
    if (f->gateway == NULL) {
        snprintf(error, cap, "no memory for the gateways");
        return -1;
    }
    sim_field_gateways(f->field, f->gateway, f->gateway_count);
    return 0;
}

/* Own networks: every node belongs to the gateway that is fewest hops away; enrolled in the order of their numbers. */
static int divide(struct sim_fleet *f, char *error, size_t cap)
{
    uint32_t count = f->field->count;
    uint32_t *nearest = calloc(count, sizeof *nearest), *size = calloc(f->gateway_count + 1, sizeof *size);
    int result = -1;

    f->network = calloc(count, sizeof *f->network);
    f->place = calloc(count, sizeof *f->place);
    snprintf(error, cap, "no memory for the networks of %u nodes", count);
    if (nearest == NULL || size == NULL || f->network == NULL || f->place == NULL ||
        sim_field_hops(f->field, f->gateway, f->gateway_count, NULL, nearest) != 0)
        goto out;
    for (uint32_t node = 0; node < count; node++) {
        uint32_t of = find(f->gateway, f->gateway_count, nearest[node]);
        if (of == f->gateway_count)
            of = 0; /* nobody reaches it */
        if (size[of] >= UINT16_MAX) {
            snprintf(error, cap, "the network of gateway %u has more than 65535 nodes: more gateways are needed",
                     f->gateway[of]);
            goto out;
        }
        f->network[node] = (uint16_t)(of + 1);
        f->place[node] = (uint16_t)size[of]++;
    }
    result = 0;
out:
    free(nearest);
    free(size);
    return result;
}

static int find_networks(struct sim_fleet *f, char *error, size_t cap)
{
    f->network_count = 1;
    if (f->is_load)
        return 0;
    if (f->s->fleet.own_networks && f->gateway_count > 1) {
        if (f->gateway_count > UINT16_MAX - 1) {
            snprintf(error, cap, "at most 65534 gateways can have networks of their own");
            return -1;
        }
        f->network_count = (uint16_t)f->gateway_count;
        return divide(f, error, cap);
    }
    if (f->field->count <= UINT16_MAX)
        return 0;
    snprintf(error, cap, "one network has at most 65535 nodes: with %u, say networks = own in [fleet]",
             f->field->count);
    return -1;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* The next canary of a network: one of its members that is none yet. members: [count] of this network. */
static uint32_t draw_canary(const struct sim_fleet *f, uint16_t network, uint32_t i, uint32_t *members, uint32_t count)
{
    uint32_t draw[4];

    sim_fleet_draw(f->seed, SIM_FLEET_CANARY, network, i, draw);
    uint32_t at = i + sim_scale(draw[0], count - i), node = members[at];

    members[at] = members[i];
    members[i] = node;
    return node;
}

static int find_canaries(struct sim_fleet *f, char *error, size_t cap)
{
    uint32_t count = f->field->count, *members, *first;

    if (f->is_load || f->s->fleet.canaries == 0)
        return 0;
    members = calloc(count, sizeof *members);
    first = calloc(f->network_count + 2u, sizeof *first);
    f->canary = calloc((size_t)f->network_count * f->s->fleet.canaries, sizeof *f->canary);
    if (members == NULL || first == NULL || f->canary == NULL) {
        free(members);
        free(first);
        snprintf(error, cap, "no memory for the labels of %u nodes", count);
        return -1;
    }
    /* Members by network: counted, then put where their network's begin. */
    for (uint32_t node = 0; node < count; node++)
        if (!sim_fleet_is_gateway(f, node) && !sim_attack_is(f, node))
            first[sim_fleet_network(f, node) + 1]++;
    for (uint32_t n = 1; n <= f->network_count + 1u; n++)
        first[n] += first[n - 1];
    for (uint32_t node = 0; node < count; node++)
        if (!sim_fleet_is_gateway(f, node) && !sim_attack_is(f, node))
            members[first[sim_fleet_network(f, node)]++] = node;
    /* first[n] is now where network n's end, and n + 1's begin. */
    for (uint16_t n = 1; n <= f->network_count; n++) {
        uint32_t begin = first[n - 1], size = first[n] - begin;
        for (uint32_t i = 0; i < f->s->fleet.canaries && i < size; i++)
            f->canary[f->canary_count++] = draw_canary(f, n, i, members + begin, size);
    }
    qsort(f->canary, f->canary_count, sizeof *f->canary, by_number);
    free(members);
    free(first);
    return 0;
}

/* Zeroed, in huge pages when it is much: the nodes are visited in no order that a TLB could follow. For free(). */
static void *table_alloc(size_t count, size_t size)
{
    size_t bytes = count * size;

    if (bytes < 4 * HUGE_PAGE)
        return calloc(count + 1, size);
    bytes = (bytes / HUGE_PAGE + 1) * HUGE_PAGE;
    void *table = aligned_alloc(HUGE_PAGE, bytes);

    if (table == NULL)
        return NULL;
    (void)madvise(table, bytes, MADV_HUGEPAGE); /* speed only */
    memset(table, 0, count * size);
    return table;
}

static int open_members(struct sim_fleet *f, char *error, size_t cap)
{
    size_t own = f->field->limit - f->field->first;

    f->nf = table_alloc(own, sizeof *f->nf);
    f->member = table_alloc(own, sizeof *f->member);
    sim_pool_init(&f->bitmaps, f->images.bitmap_size);
    sim_pool_init(&f->relays, sizeof(struct mp_relay));
    sim_pool_init(&f->histories, sizeof(struct sim_history));
    sim_pool_init(&f->more, sim_record_block_size);
    if (f->nf != NULL && f->member != NULL && sim_objects_open(&f->objects) == 0)
        return 0;
    snprintf(error, cap, "no memory for %zu nodes of %zu bytes", own, sizeof *f->nf + sizeof *f->member);
    return -1;
}

static int open_crypto(struct sim_fleet *f, char *error, size_t cap)
{
    const struct mp_crypto *real = crypto_sodium();
    const struct mp_crypto *crypto = real != NULL ? sim_verdict_open(real, disagreed, f) : NULL;

    if (crypto == NULL || sim_keys_make(&f->keys, f->seed) != 0) {
        snprintf(error, cap, "libsodium does not start, or there is no memory for what it said");
        return -1;
    }
    f->env = (struct nf_env){
        .mp = {.ctx = f, .crypto = crypto, .store = &sim_fleet_store, .random = draw_random},
        .storage = &sim_fleet_storage,
        .hooks = &hooks,
    };
    return sim_images_open(&f->images, f->s, &f->keys, real, error, cap);
}

static void fleet_close(void *ctx)
{
    struct sim_fleet *f = ctx;

    if (f->gateways != NULL)
        sim_gateway_close(f);
    if (f->lives != NULL)
        sim_life_close(f);
    if (f->attacks != NULL)
        sim_attack_close(f);
    sim_objects_close(&f->objects);
    sim_pool_close(&f->more);
    sim_pool_close(&f->bitmaps);
    sim_pool_close(&f->relays);
    sim_pool_close(&f->histories);
    sim_images_close(&f->images);
    sim_verdict_close();
    free(f->gateway);
    free(f->network);
    free(f->place);
    free(f->canary);
    free(f->nf);
    free(f->member);
    free(f);
}

static void *fleet_open(struct sim_engine *e, char *error, size_t cap)
{
    struct sim_fleet *f = calloc(1, sizeof *f);

    if (f == NULL) {
        snprintf(error, cap, "no memory for the fleet");
        return NULL;
    }
    f->e = e;
    f->s = sim_engine_scenario(e);
    f->field = sim_engine_field(e);
    f->seed = sim_engine_seed(e);
    f->is_load = f->s->run.stack == SIM_RUN_IDLE_LOAD;
    f->has_relays = f->s->fleet.models > 1;
    if (open_crypto(f, error, cap) != 0 || find_gateways(f, error, cap) != 0 || find_networks(f, error, cap) != 0 ||
        open_members(f, error, cap) != 0)
        goto fail;
    sim_boot_open(f);
    if (f->is_load)
        return f;
    if (sim_attack_open(f, error, cap) != 0 || find_canaries(f, error, cap) != 0 || sim_life_open(f, error, cap) != 0 ||
        sim_gateway_open(f, error, cap) != 0)
        goto fail;
    return f;
fail:
    fleet_close(f);
    return NULL;
}

/* --- the engine's calls ------------------------------------------------------------------------------------------- */

static bool is_gateway(const struct sim_fleet *f)
{
    return (f->m->flags & SIM_MEMBER_GATEWAY) != 0;
}

static bool is_attacker(const struct sim_fleet *f)
{
    return (f->m->flags & SIM_MEMBER_ATTACKER) != 0;
}

static void arm(struct sim_fleet *f)
{
    sim_time next;

    if (is_attacker(f)) {
        f->m->next = sim_attack_next_expiry(f);
    } else if (is_gateway(f)) {
        next = sim_clock_engine(f->m, mp_node_next_expiry(&f->n->mp));
        f->m->next = sim_gateway_next_expiry(f);
        if (next < f->m->next)
            f->m->next = next;
    } else {
        sim_node_arm(f);
    }
}

static int start_member(struct sim_fleet *f)
{
    if (is_attacker(f)) {
        sim_engine_power(f->e, f->node, true);
        return sim_attack_start(f);
    }
    if (is_gateway(f)) {
        sim_engine_power(f->e, f->node, true);
        return sim_gateway_start(f);
    }
    if (!f->is_load && f->lives != NULL && !sim_life_start(f))
        return 0;
    if (sim_node_start(f) != 0)
        return -1;
    if (f->is_load)
        sim_load_start(f);
    return 0;
}

static int fleet_start(void *ctx, uint32_t node, sim_time now)
{
    struct sim_fleet *f = ctx;

    sim_node_open(f, node);
    sim_fleet_enter(f, node, now);
    if (sim_fleet_is_gateway(f, node))
        f->m->flags |= SIM_MEMBER_GATEWAY;
    else if (f->attacks != NULL && sim_attack_is(f, node))
        f->m->flags |= SIM_MEMBER_ATTACKER;
    if (start_member(f) != 0)
        return -1;
    arm(f);
    return 0;
}

/* The frame inside advertising data, or NULL: somebody else's. */
static const uint8_t *frame_of(const struct sim_heard *heard)
{
    const uint8_t *d = heard->data;

    if (heard->len < SIM_AD_HEADER || d[0] != heard->len - 1 || d[1] != 0xFF || d[2] != 0xFF || d[3] != 0xFF)
        return NULL;
    return d + SIM_AD_HEADER;
}

static void fleet_receive(void *ctx, uint32_t node, sim_time now, const struct sim_heard *heard)
{
    struct sim_fleet *f = ctx;
    const uint8_t *frame = frame_of(heard);
    size_t len = heard->len - SIM_AD_HEADER;

    if (frame == NULL)
        return;
    sim_fleet_enter(f, node, now);
    if (is_attacker(f)) {
        sim_attack_receive(f, frame, len);
    } else if (is_gateway(f)) {
        f->env.mp.relay = NULL;
        (void)mp_node_receive(&f->n->mp, &f->env.mp, sim_clock_local(f->m, now), frame, len);
        sim_gateway_heard(f);
    } else if (!sim_node_receive(f, frame, len)) {
        return; /* nearly always: nothing is due at another time than before */
    }
    arm(f);
}

static void fleet_expire(void *ctx, uint32_t node, sim_time now)
{
    struct sim_fleet *f = ctx;

    sim_fleet_enter(f, node, now);
    if (is_attacker(f)) {
        sim_attack_expire(f);
    } else if (is_gateway(f)) {
        mp_time local = sim_clock_local(f->m, now);
        f->env.mp.relay = NULL;
        if (sim_gateway_next_expiry(f) <= now)
            sim_gateway_expire(f);
        if (mp_node_next_expiry(&f->n->mp) <= local)
            mp_node_expire(&f->n->mp, &f->env.mp, local);
        sim_gateway_heard(f);
    } else {
        if (f->lives != NULL && sim_life_next_expiry(f) <= now)
            sim_life_expire(f);
        sim_node_expire(f);
    }
    arm(f);
}

static int write_frame(struct sim_fleet *f, uint8_t *buf, size_t cap)
{
    int len;

    if (is_attacker(f))
        return sim_attack_write(f, buf, cap);
    if (!is_gateway(f))
        return sim_node_write(f, buf, cap);
    f->env.mp.relay = NULL;
    mp_time local = sim_clock_local(f->m, f->now);

    if (mp_node_next_expiry(&f->n->mp) > local)
        return 0;
    len = mp_node_write(&f->n->mp, &f->env.mp, local, buf, cap);
    sim_gateway_heard(f);
    return len;
}

static int fleet_write(void *ctx, uint32_t node, sim_time now, struct sim_frame *frame)
{
    struct sim_fleet *f = ctx;

    sim_fleet_enter(f, node, now);
    int len = write_frame(f, frame->data + SIM_AD_HEADER, sizeof frame->data - SIM_AD_HEADER);

    arm(f);
    if (len <= 0) {
        if (f->m->next <= now)
            f->m->next = now + ASK_AGAIN;
        return 0;
    }
    frame->data[0] = (uint8_t)(len + SIM_AD_HEADER - 1);
    memset(frame->data + 1, 0xFF, 3);
    frame->len = (size_t)len + SIM_AD_HEADER;
    frame->type = is_attacker(f) ? TYPE_ATTACK : frame->data[SIM_AD_HEADER] & 15;
    return 1;
}

static sim_time fleet_next_expiry(void *ctx, uint32_t node)
{
    const struct sim_fleet *f = ctx;

    return f->member[node - f->field->first].next;
}

static void fleet_mail(void *ctx, uint32_t node, sim_time now, uint32_t from, const uint8_t *data, size_t len)
{
    struct sim_fleet *f = ctx;

    sim_fleet_enter(f, node, now);
    if (is_gateway(f)) {
        f->env.mp.relay = NULL;
        sim_gateway_mail(f, from, data, len);
        sim_gateway_heard(f);
    }
    arm(f);
}

static void fleet_prefetch(const void *ctx, uint32_t node)
{
    const struct sim_fleet *f = ctx;
    const uint8_t *n = (const uint8_t *)&f->nf[node - f->field->first];

    /* Identity, jobs, what is gossiped, places; then neighbours and own timer. Not what fetching needs. */
    __builtin_prefetch(&f->member[node - f->field->first], 1);
#pragma GCC unroll 16
    for (size_t at = 0; at < offsetof(struct mp_node, demand); at += LINE)
        __builtin_prefetch(n + at, 1);
#pragma GCC unroll 32
    for (size_t at = offsetof(struct mp_node, neighbours); at < offsetof(struct nf_node, phase); at += LINE)
        __builtin_prefetch(n + at, 1);
}

/* --- checkpoint --------------------------------------------------------------------------------------------------- */

static int fleet_save(void *ctx, struct sim_archive *a)
{
    struct sim_fleet *f = ctx;
    size_t own = f->field->limit - f->field->first;

    sim_archive_section(a, "FLEE");
    sim_archive_put_count(a, sizeof *f->nf);
    sim_archive_put_count(a, sizeof *f->member);
    sim_archive_put(a, f->nf, own * sizeof *f->nf);
    sim_archive_put(a, f->member, own * sizeof *f->member);
    sim_archive_section(a, "STOR");
    sim_objects_save(&f->objects, a);
    sim_pool_save(&f->more, a);
    sim_pool_save(&f->bitmaps, a);
    sim_pool_save(&f->relays, a);
    sim_pool_save(&f->histories, a);
    if (f->attacks != NULL)
        sim_attack_save(f, a);
    if (f->lives != NULL)
        sim_life_save(f, a);
    if (f->gateways != NULL)
        sim_gateway_save(f, a);
    return sim_archive_failed(a) ? -1 : 0;
}

/* A checkpoint is the program's own and has a checksum; this keeps one of another build from leading outside. */
static bool is_member_good(const struct sim_fleet *f, const struct sim_member *m)
{
    bool good = m->running < 2 && m->home < 2 && m->named < f->images.count && m->marked <= 2 && m->sealed < 4 &&
                m->more < f->more.count && m->bitmap < f->bitmaps.count && m->relay < f->relays.count &&
                m->history < f->histories.count;

    for (unsigned slot = 0; slot < 2; slot++)
        good = good &&
               (m->image[slot] < f->images.count || (m->image[slot] == SIM_IMAGE_NONE && (m->sealed >> slot & 1) == 0));
    for (unsigned i = 0; i < SIM_RECORDS; i++)
        good = good && (m->record[i] & 0xFFFFFF) < f->objects.head.count;
    return good;
}

static int fleet_load(void *ctx, struct sim_archive *a)
{
    struct sim_fleet *f = ctx;
    size_t own = f->field->limit - f->field->first;
    uint64_t nf_size = 0, member_size = 0;

    sim_archive_section(a, "FLEE");
    sim_archive_get_count(a, &nf_size, UINT32_MAX);
    if (sim_archive_get_count(a, &member_size, UINT32_MAX) != 0)
        return -1;
    if (nf_size != sizeof *f->nf || member_size != sizeof *f->member)
        return sim_archive_fail(a, "it is of a build whose nodes have another size");
    sim_archive_get(a, f->nf, own * sizeof *f->nf);
    sim_archive_get(a, f->member, own * sizeof *f->member);
    sim_archive_section(a, "STOR");
    sim_objects_load(&f->objects, a);
    sim_pool_load(&f->more, a);
    sim_pool_load(&f->bitmaps, a);
    sim_pool_load(&f->relays, a);
    if (sim_pool_load(&f->histories, a) != 0)
        return -1;
    for (size_t i = 0; i < own; i++)
        if (!is_member_good(f, &f->member[i]))
            return sim_archive_fail(a, "a node's record points outside");
    if (f->attacks != NULL)
        sim_attack_load(f, a);
    if (f->lives != NULL)
        sim_life_load(f, a);
    if (f->gateways != NULL)
        sim_gateway_load(f, a);
    return sim_archive_failed(a) ? -1 : 0;
}

/* --- end ---------------------------------------------------------------------------------------------------------- */

static void summarise(struct sim_fleet *f, uint32_t node, uint16_t hops)
{
    const struct sim_member *m = &f->member[node - f->field->first];
    struct sim_node_summary s = {.node = node,
                                 .is_gateway = (m->flags & SIM_MEMBER_GATEWAY) != 0,
                                 .model = (uint8_t)sim_fleet_model(f, node),
                                 .hw_revision = sim_fleet_revision(f, node),
                                 .is_down = m->down,
                                 .hops = hops,
                                 .complete_at = SIM_NEVER,
                                 .installed_at = SIM_NEVER,
                                 .confirmed_at = SIM_NEVER,
                                 .release = f->images.image[m->image[m->running]].manifest.release};

    if (m->history != 0) {
        const struct sim_history *h = sim_pool_at(&f->histories, m->history);
        s.complete_at = h->complete_at;
        s.installed_at = h->installed_at;
        s.confirmed_at = h->confirmed_at;
    }
    sim_engine_summarise(f->e, &s);
}

static void fleet_finish(void *ctx, sim_time now)
{
    struct sim_fleet *f = ctx;
    uint16_t *hops = calloc(f->field->count, sizeof *hops);

    (void)now;
    if (hops == NULL || f->gateway_count == 0 ||
        sim_field_hops(f->field, f->gateway, f->gateway_count, hops, NULL) != 0) {
        free(hops);
        hops = NULL;
    }
    for (uint32_t node = f->field->first; node < f->field->limit; node++)
        summarise(f, node, hops != NULL ? hops[node] : UINT16_MAX);
    free(hops);
}

uint32_t sim_fleet_rollouts_open(const void *ctx)
{
    const struct sim_fleet *f = ctx;

    return f->gateways != NULL ? sim_gateway_rollouts_open(f) : 0;
}

const struct sim_stack *sim_fleet_stack(void)
{
    static const char *const types[16] = {
        [MP_TYPE_SUMMARY] = "summary",     [MP_TYPE_MANIFEST] = "manifest",     [MP_TYPE_DIRECTIVE] = "directive",
        [MP_TYPE_KEYCHANGE] = "keychange", [MP_TYPE_REQUEST] = "request",       [MP_TYPE_CHUNK] = "chunk",
        [MP_TYPE_REPORT] = "report",       [MP_TYPE_REPORT_ACK] = "report-ack", [MP_TYPE_RECEIPT] = "receipt",
        [TYPE_ATTACK] = "attack",
    };
    static const struct sim_stack stack = {
        .name = "mesh",
        .types = types,
        .bearer = SIM_BEARER_EXTENDED,
        .open = fleet_open,
        .close = fleet_close,
        .start = fleet_start,
        .receive = fleet_receive,
        .expire = fleet_expire,
        .write = fleet_write,
        .next_expiry = fleet_next_expiry,
        .mail = fleet_mail,
        .prefetch = fleet_prefetch,
        .save = fleet_save,
        .load = fleet_load,
        .finish = fleet_finish,
    };

    return &stack;
}
