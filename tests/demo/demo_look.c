/*
 * What the demonstration computes by itself, to compare with what the programs say.
 */
#include "demo.h"

#include "proto/mp_wire.h"
#include "proto/object/tree.h"
#include "sim/world/scenario.h"

#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define AUDIT_ROWS 500

/* --- the mesh ----------------------------------------------------------------------------------------------------- */

static bool hears(const struct sim_scenario *s, uint32_t a, uint32_t b)
{
    const int32_t loss = sim_path_loss_mdb(&s->radio, &s->node[a].position, &s->node[b].position) +
                         sim_shadowing_mdb(&s->radio, s->seed, a, b);
    return s->radio.tx_mdbm - loss >= s->radio.sensitivity_mdbm;
}

void demo_reach(const struct demo *d, unsigned from, unsigned models, unsigned hops[FLEET_NODES_MAX])
{
    unsigned at[FLEET_NODES_MAX + 1];
    for (unsigned i = 0; i <= d->nodes; i++)
        at[i] = i == from ? 0 : DEMO_FAR;
    for (unsigned round = 0; round < d->nodes; round++)
        for (unsigned a = 0; a <= d->nodes; a++)
            for (unsigned b = 1; b <= d->nodes; b++)
                if (d->link[a][b] && (models >> d->fleet.node[b - 1].model & 1) && at[a] + 1 < at[b])
                    at[b] = at[a] + 1;
    memcpy(hops, at + 1, d->nodes * sizeof *hops);
}

unsigned demo_farthest(const struct demo *d)
{
    unsigned most = 0;
    for (unsigned i = 0; i < d->nodes; i++)
        most = d->hops[i] > most ? d->hops[i] : most;
    return most;
}

void demo_hops(struct demo *d)
{
    struct sim_scenario s;
    char error[300];
    int device[FLEET_NODES_MAX + 1];
    if (sim_scenario_read(&s, d->scenario, error, sizeof error) != 0)
        fleet_fail(&d->fleet, "%s", error);
    if (s.count != d->nodes + 1 || d->fleet.count != d->nodes)
        fleet_fail(&d->fleet, "%s: not a gateway and %u nodes", d->scenario, d->nodes);
    for (unsigned i = 0; i <= d->nodes; i++) {
        device[i] = sim_scenario_find(&s, i == 0 ? "gw" : d->fleet.node[i - 1].name);
        if (device[i] < 0)
            fleet_fail(&d->fleet, "%s has no %s", d->scenario, i == 0 ? "gw" : d->fleet.node[i - 1].name);
    }
    for (unsigned a = 0; a <= d->nodes; a++)
        for (unsigned b = 0; b <= d->nodes; b++)
            d->link[a][b] = a != b && hears(&s, (uint32_t)device[a], (uint32_t)device[b]);
    d->loss_percent = (s.loss_ppm + 5000) / 10000;
    sim_scenario_free(&s);
    demo_reach(d, 0, UINT_MAX, d->hops);
    for (unsigned i = 0; i < d->nodes; i++)
        if (d->hops[i] == DEMO_FAR)
            fleet_fail(&d->fleet, "%s cannot be reached", d->fleet.node[i].name);
}

double demo_air(struct demo *d)
{
    static char text[1u << 16];
    fleet_air(&d->fleet, text, sizeof text, "stats");
    cJSON *json = cJSON_Parse(text);
    const double seconds = fleet_number(json, "seconds");
    d->frames = fleet_number(json, "events");
    d->bytes = fleet_number(json, "bytes");
    cJSON_Delete(json);
    if (seconds <= 0)
        fleet_fail(&d->fleet, "the air has no statistics");
    return seconds * 1e6;
}

/* --- a release ---------------------------------------------------------------------------------------------------- */

#define BUNDLE_HEAD 16 /* docs/SPEC.md section 11.2; the number of manifests is in its byte 6 */

void demo_name(struct demo_release *r)
{
    snprintf(r->version, sizeof r->version, "%.*s", (int)strcspn(r->stem, "-"), r->stem);
}

bool demo_manifest(struct demo *d, const struct demo_release *r, unsigned model, uint8_t raw[MP_MANIFEST_SIZE],
                   struct mp_manifest *m)
{
    uint8_t head[BUNDLE_HEAD] = {0};
    FILE *file = fopen(fleet_bundle(&d->fleet, r->release), "re");
    bool is_read = file != NULL && fread(head, 1, sizeof head, file) == sizeof head, is_found = false;
    for (unsigned i = 0; i < head[6] && is_read && !is_found; i++) {
        is_read =
            fread(raw, 1, MP_MANIFEST_SIZE, file) == MP_MANIFEST_SIZE && mp_manifest_get(m, raw, MP_MANIFEST_SIZE) == 0;
        is_found = is_read && m->model == model;
    }
    if (file != NULL)
        fclose(file);
    if (!is_read)
        fleet_fail(&d->fleet, "the bundle of %s cannot be read", r->version);
    return is_found;
}

void demo_measure_bundle(struct demo *d, struct demo_release *r)
{
    uint8_t raw[MP_MANIFEST_SIZE];
    struct mp_manifest m;
    r->positions = 0;
    for (unsigned model = 0; model < 32; model++) {
        if (!(r->models >> model & 1) || !demo_manifest(d, r, model, raw, &m))
            continue;
        printf("  %s is release %u: product %u, %u bytes, %u chunks with their tree\n", r->version, r->release,
               m.product, m.payload_size, mp_tree_positions(m.payload_size));
        r->positions += mp_tree_positions(m.payload_size);
    }
}

/* SHA-256("meshfw-share---1" || salt || node) as u64, mod 10000. */
static unsigned draw(uint32_t salt, uint32_t node)
{
    uint8_t text[24] = "meshfw-share---1", digest[32];
    mp_put32(text + 16, salt);
    mp_put32(text + 20, node);
    crypto_hash_sha256(digest, text, sizeof text);
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++)
        value |= (uint64_t)digest[i] << 8 * i;
    return (unsigned)(value % 10000);
}

void demo_rings(struct demo *d, struct demo_release *r)
{
    uint8_t raw[MP_MANIFEST_SIZE], id[32];
    struct mp_manifest m;
    demo_manifest(d, r, d->fleet.node[0].model, raw, &m);
    crypto_hash_sha256(id, raw, sizeof raw);
    const uint32_t salt = mp_get32(id); /* the release's salt begins its first manifest's id */
    for (unsigned i = 0; i < d->nodes; i++)
        if (r->ring[i] != 0)
            r->ring[i] = draw(salt, d->fleet.node[i].id) < 2500 ? 1 : 2;
}

void demo_compare_plan(struct demo *d, const struct demo_release *r, const char *policy)
{
    static const char *const names[DEMO_RINGS] = {"canary", "quarter", "all"};
    char number[16];
    cJSON *plan = NULL;
    unsigned agreed = 0;
    snprintf(number, sizeof number, "%u", r->release);
    fleet_do(&d->fleet, &plan, "rollout", "plan", number, "--policy", policy, NULL);
    const cJSON *rings = cJSON_GetObjectItem(plan, "rings");
    for (int k = 0; k < DEMO_RINGS; k++) {
        printf("  ring %-8s", names[k]);
        for (unsigned i = 0; i < d->nodes; i++)
            if (r->ring[i] == k)
                printf(" %s", d->fleet.node[i].name);
        putchar('\n');
        const cJSON *member;
        cJSON_ArrayForEach(member, cJSON_GetObjectItem(cJSON_GetArrayItem(rings, k), "members"))
        {
            const struct fleet_node *n = fleet_find(&d->fleet, fleet_text(member, "name"));
            agreed += r->ring[n - d->fleet.node] == k;
        }
    }
    cJSON_Delete(plan);
    demo_check(d, agreed == d->nodes, "hash share computed here and planned by the gateway agree on %u of %u nodes",
               agreed, d->nodes);
}

static double wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

void demo_openings(struct demo *d, struct demo_release *r)
{
    static const char *const texts[DEMO_RINGS] = {"opened ring canary:", "opened ring quarter:", "opened ring all:"};
    const double offset_ms = wall_ms() - demo_air(d) / 1e3;
    const double begun_ms = wall_ms() - (fleet_now() - r->begun) * 1e3;
    char path[64];
    cJSON *page;
    for (long long since = 0, next = 0;; since = next) {
        const cJSON *row;
        snprintf(path, sizeof path, "/v1/audit?since=%lld&limit=%d", since, AUDIT_ROWS);
        page = fleet_get(&d->fleet, path);
        next = (long long)fleet_number(page, "next");
        cJSON_ArrayForEach(row, cJSON_GetObjectItem(page, "audit"))
        {
            for (int k = 0; k < DEMO_RINGS; k++)
                if (fleet_number(row, "at_ms") >= begun_ms - 1000 &&
                    strncmp(fleet_text(row, "text"), texts[k], strlen(texts[k])) == 0)
                    r->opened_us[k] = (fleet_number(row, "at_ms") - offset_ms) * 1e3;
        }
        const int rows = cJSON_GetArraySize(cJSON_GetObjectItem(page, "audit"));
        cJSON_Delete(page);
        if (rows == 0)
            return;
    }
}

void demo_table(const struct demo *d, const struct demo_release *r, unsigned count)
{
    printf("\ndistribution        nodes  hops  chunks   frames     bytes     time    floor  ratio\n");
    for (unsigned i = 0; i < count; i++) {
        const double floor_s = (r[i].positions + r[i].hops) * 0.025 / (1 - d->loss_percent / 100.0);
        printf("%-18s %6u %5u %7u %8.0f %9.0f %6.1f s %6.1f s %6.2f\n", r[i].stem, r[i].nodes, r[i].hops,
               r[i].positions, r[i].frames, r[i].bytes, r[i].seconds, floor_s, r[i].seconds / floor_s);
    }
    printf("time: from the start of the rollout until the last of these nodes holds the verified image\n"
           "frames, bytes: all that the whole mesh sent meanwhile; floor: (chunks + hops) x 25 ms / (1 - loss)\n");
}
