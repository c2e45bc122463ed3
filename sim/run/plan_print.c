/*
 * A rollout plan in words and as JSON.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "plan.h"

#define TEXT 24

static const char *time_text(double s, char out[TEXT])
{
    if (s < 120)
        (void)snprintf(out, TEXT, "%.1f s", s);
    else if (s < 7200)
        (void)snprintf(out, TEXT, "%.1f min", s / 60);
    else if (s < 172800)
        (void)snprintf(out, TEXT, "%.1f h", s / 3600);
    else
        (void)snprintf(out, TEXT, "%.1f d", s / 86400);
    return out;
}

static const char *size_text(double bytes, char out[TEXT])
{
    if (bytes < 1024)
        (void)snprintf(out, TEXT, "%.0f B", bytes);
    else if (bytes < 1048576)
        (void)snprintf(out, TEXT, "%.1f KB", bytes / 1024);
    else
        (void)snprintf(out, TEXT, "%.1f MB", bytes / 1048576);
    return out;
}

static const char *energy_text(double joule, char out[TEXT])
{
    if (joule < 0.1)
        (void)snprintf(out, TEXT, "%.2f mJ", joule * 1e3);
    else
        (void)snprintf(out, TEXT, "%.3f J", joule);
    return out;
}

static const char *limit_text(uint32_t limit, char out[TEXT])
{
    if (limit == MD_UNLIMITED)
        (void)snprintf(out, TEXT, "any");
    else
        (void)snprintf(out, TEXT, "%u", (unsigned)limit);
    return out;
}

static void print_images(const struct sim_plan *p)
{
    const struct sim_plan_image *f = &p->full, *d = &p->delta;
    char a[TEXT], b[TEXT];
    printf("%-32s %14s %14s\n", "", "full image", "delta");
    printf("%-32s %14s %14s\n", "size", size_text(f->bytes, a), size_text(d->bytes, b));
    printf("%-32s %14u %14u\n", "chunks, interior ones included", (unsigned)f->chunks, (unsigned)d->chunks);
    printf("%-32s %14s %14s\n", "floor of the distribution", time_text(f->floor_s, a), time_text(d->floor_s, b));
    printf("%-32s %14s %14s\n", "distribution, expected", time_text(f->distribution_s, a),
           time_text(d->distribution_s, b));
    printf("%-32s %14s %14s\n", "energy a node", energy_text(f->node_j, a), energy_text(d->node_j, b));
    printf("%-32s %14s %14s\n", "  listening", energy_text(f->listen_j, a), energy_text(d->listen_j, b));
    printf("%-32s %14s %14s\n", "  sending, at most", energy_text(f->send_j, a), energy_text(d->send_j, b));
    printf("%-32s %14s %14s\n", "  flash", energy_text(f->flash_j, a), energy_text(d->flash_j, b));
    if (f->battery > 0)
        printf("%-32s %13.4f%% %13.4f%%\n", "  of a battery", f->battery * 100, d->battery * 100);
    printf("%-32s %14.6g %14.6g\n", "energy of the fleet, kWh", f->fleet_kwh, d->fleet_kwh);
    printf("%-32s %14.6g %14.6g\n\n", "cost of it", f->cost, d->cost);
}

static void print_timeline(const struct sim_plan *p)
{
    char a[TEXT], b[TEXT], c[TEXT], d[TEXT], e[TEXT];
    printf("%-14s %8s %10s %9s %9s %9s %12s %14s\n", "ring", "nodes", "opens at", "spread", "confirm", "soak",
           "passed at", "at the latest");
    for (uint32_t i = 0; i < p->ring_count; i++) {
        const struct sim_plan_ring *r = &p->ring[i];
        printf("%-14s %8u %10s %9s %9s %9s ", r->name, (unsigned)r->members, time_text(r->opens_s, a),
               time_text(r->spread_s, b), time_text(r->confirm_s, c), time_text(r->soak_s, d));
        printf("%12s ", time_text(r->ends_s, e));
        printf("%14s\n", time_text(r->latest_s, a));
        if (r->is_stuck)
            printf("  held here: fewer members than reports are required (min-reports)\n");
    }
    printf("\n");
}

static void print_exposure(const struct sim_plan *p)
{
    uint32_t most = 0;
    char a[TEXT];
    printf("A bad image: a node that boots it fails with probability %.4g %%, ", p->fault_probability * 100);
    if (p->is_seen && p->shows_after_s > 0)
        printf("%s after the trial on average:\nits ring is not spared, the next one is.\n\n",
               time_text(p->shows_after_s, a));
    else if (p->is_seen)
        printf("the others hear %s later.\n\n", time_text(p->detection_s, a));
    else
        printf("after the trial: no gate sees it.\n\n");
    printf("%-14s %8s %8s %12s %12s %14s %12s\n", "ring", "nodes", "limit", "gets there", "passes it", "boot it, mean",
           "at most");
    for (uint32_t i = 0; i < p->ring_count; i++) {
        const struct sim_plan_ring *r = &p->ring[i];
        most += r->members;
        printf("%-14s %8u %8s %11.4g%% %11.4g%% %14.2f %12u\n", r->name, (unsigned)r->members, limit_text(r->limit, a),
               r->opens * 100, r->passes * 100, r->opens * r->expected, (unsigned)most);
    }
    printf("\nExpected to boot it: %.2f of %u nodes (%.3f %%); no gate stops it: %.4g %%.\n", p->expected,
           (unsigned)p->nodes, p->nodes > 0 ? 100 * p->expected / p->nodes : 0, p->everywhere * 100);
}

void sim_plan_print(const struct sim_plan *p, const struct sim_scenario *s)
{
    char a[TEXT], b[TEXT];
    printf("Plan of release %u, scenario %s: %u nodes, %u hops, %.4g %% of frames lost\n\n", (unsigned)p->release,
           s->name, (unsigned)p->nodes, (unsigned)p->hops, s->loss_ppm / 1e4);
    if (p->unreached > 0)
        printf("%u nodes are out of reach of every gateway: they are counted, but get nothing\n\n",
               (unsigned)p->unreached);
    print_images(p);
    print_timeline(p);
    printf("A good image is everywhere after %s, at the latest after %s.\n\n", time_text(p->ends_s, a),
           time_text(p->latest_s, b));
    print_exposure(p);
}

/* --- JSON ----------------------------------------------------------------------------------------------------------- */

static void add_image(cJSON *tree, const char *name, const struct sim_plan_image *i)
{
    cJSON *o = cJSON_AddObjectToObject(tree, name);
    cJSON_AddNumberToObject(o, "bytes", i->bytes);
    cJSON_AddNumberToObject(o, "chunks", i->chunks);
    cJSON_AddNumberToObject(o, "floor_s", i->floor_s);
    cJSON_AddNumberToObject(o, "distribution_s", i->distribution_s);
    cJSON_AddNumberToObject(o, "listen_j", i->listen_j);
    cJSON_AddNumberToObject(o, "send_j", i->send_j);
    cJSON_AddNumberToObject(o, "flash_j", i->flash_j);
    cJSON_AddNumberToObject(o, "node_j", i->node_j);
    cJSON_AddNumberToObject(o, "battery", i->battery);
    cJSON_AddNumberToObject(o, "fleet_kwh", i->fleet_kwh);
    cJSON_AddNumberToObject(o, "cost", i->cost);
}

static void add_ring(cJSON *rings, const struct sim_plan_ring *r)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "name", r->name);
    cJSON_AddNumberToObject(o, "nodes", r->members);
    if (r->limit == MD_UNLIMITED)
        cJSON_AddNullToObject(o, "limit");
    else
        cJSON_AddNumberToObject(o, "limit", r->limit);
    cJSON_AddNumberToObject(o, "opens_s", r->opens_s);
    cJSON_AddNumberToObject(o, "spread_s", r->spread_s);
    cJSON_AddNumberToObject(o, "confirm_s", r->confirm_s);
    cJSON_AddNumberToObject(o, "soak_s", r->soak_s);
    cJSON_AddNumberToObject(o, "deadline_s", r->deadline_s);
    cJSON_AddNumberToObject(o, "ends_s", r->ends_s);
    cJSON_AddNumberToObject(o, "latest_s", r->latest_s);
    cJSON_AddBoolToObject(o, "stuck", r->is_stuck);
    cJSON_AddNumberToObject(o, "bad_opens", r->opens);
    cJSON_AddNumberToObject(o, "bad_passes", r->passes);
    cJSON_AddNumberToObject(o, "bad_expected", r->opens * r->expected);
    if (!cJSON_AddItemToArray(rings, o))
        cJSON_Delete(o);
}

int sim_plan_print_json(const struct sim_plan *p, const struct sim_scenario *s)
{
    char hash[24];
    cJSON *tree = cJSON_CreateObject();
    (void)snprintf(hash, sizeof hash, "%016" PRIx64, sim_scenario_hash(s));
    cJSON_AddStringToObject(tree, "scenario", s->name);
    cJSON_AddStringToObject(tree, "configuration", hash);
    cJSON_AddNumberToObject(tree, "release", p->release);
    cJSON_AddNumberToObject(tree, "nodes", p->nodes);
    cJSON_AddNumberToObject(tree, "hops", p->hops);
    cJSON_AddNumberToObject(tree, "unreached", p->unreached);
    add_image(tree, "full", &p->full);
    add_image(tree, "delta", &p->delta);
    cJSON *rings = cJSON_AddArrayToObject(tree, "rings");
    for (uint32_t i = 0; i < p->ring_count; i++)
        add_ring(rings, &p->ring[i]);
    cJSON_AddNumberToObject(tree, "ends_s", p->ends_s);
    cJSON_AddNumberToObject(tree, "latest_s", p->latest_s);
    cJSON_AddNumberToObject(tree, "fault_probability", p->fault_probability);
    cJSON_AddBoolToObject(tree, "gate_sees_fault", p->is_seen);
    cJSON_AddNumberToObject(tree, "detection_s", p->detection_s);
    cJSON_AddNumberToObject(tree, "bad_expected", p->expected);
    cJSON_AddNumberToObject(tree, "bad_everywhere", p->everywhere);
    char *text = cJSON_Print(tree);
    int status = text != NULL ? 0 : -1;
    if (text != NULL)
        puts(text);
    cJSON_free(text);
    cJSON_Delete(tree);
    return status;
}
