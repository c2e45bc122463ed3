/*
 * What the fleet is at the start: which node belongs to which network, who is a gateway or a canary, and the tables.
 * Everything about a node of the world follows from scenario, field and seed, so that every rank knows it.
 */
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

#define HUGE_PAGE ((size_t)2 << 20)
enum { KEY_ID = 1 };

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

void sim_fleet_close(void *ctx)
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

void *sim_fleet_open(struct sim_engine *e, char *error, size_t cap)
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
    sim_fleet_close(f);
    return NULL;
}
