#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int refuse(char *error, size_t cap, const char *why)
{
    (void)snprintf(error, cap, "%s", why);
    return -1;
}

int sim_baseline_begin(struct sim_baseline *b, struct sim_engine *e, char *error, size_t cap)
{
    memset(b, 0, sizeof(*b));
    b->engine = e;
    b->field = sim_engine_field(e);
    b->first = b->field->first;
    b->count = b->field->limit - b->field->first;
    const struct sim_scenario *s = sim_engine_scenario(e);
    if (s->release_count == 0)
        return refuse(error, cap, "a baseline spreads the scenario's first release: add a [release 2] section");
    b->release = s->release[0].release;
    b->size_bytes = s->release[0].size_bytes;
    b->start_at = s->release[0].at_us;
    if (b->size_bytes == 0)
        return refuse(error, cap, "a baseline cannot spread an empty image: give the first release a size");
    b->gateway_count = sim_field_gateways(b->field, NULL, 0);
    if (b->gateway_count == 0)
        return refuse(error, cap, "a baseline needs a gateway to start from");
    uint32_t world = b->field->count;
    b->gateway = calloc(b->gateway_count, sizeof(*b->gateway));
    b->hops = calloc(world, sizeof(*b->hops));
    b->nearest = calloc(world, sizeof(*b->nearest));
    b->complete_at = calloc(b->count > 0 ? b->count : 1, sizeof(*b->complete_at));
    if (b->gateway == NULL || b->hops == NULL || b->nearest == NULL || b->complete_at == NULL)
        return refuse(error, cap, "out of memory for the baseline's tables");
    (void)sim_field_gateways(b->field, b->gateway, b->gateway_count);
    if (sim_field_hops(b->field, b->gateway, b->gateway_count, b->hops, b->nearest) != 0)
        return refuse(error, cap, "out of memory for the hop counts of all nodes");
    for (uint32_t i = 0; i < b->count; i++)
        b->complete_at[i] = sim_baseline_is_gateway(b, b->first + i) ? b->start_at : SIM_NEVER;
    return 0;
}

void sim_baseline_end(struct sim_baseline *b)
{
    free(b->gateway);
    free(b->hops);
    free(b->nearest);
    free(b->complete_at);
    memset(b, 0, sizeof(*b));
}

bool sim_baseline_is_gateway(const struct sim_baseline *b, uint32_t node)
{
    uint32_t low = 0, high = b->gateway_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (b->gateway[middle] < node)
            low = middle + 1;
        else
            high = middle;
    }
    return low < b->gateway_count && b->gateway[low] == node;
}

void sim_baseline_complete(struct sim_baseline *b, uint32_t node, sim_time now)
{
    sim_time *at = &b->complete_at[node - b->first];
    if (*at != SIM_NEVER)
        return;
    *at = now;
    sim_engine_tell(b->engine, node, now, SIM_ROW_COMPLETE, b->release, 0, NULL);
}

bool sim_baseline_is_complete(const struct sim_baseline *b, uint32_t node)
{
    return b->complete_at[node - b->first] != SIM_NEVER;
}

void sim_baseline_finish(struct sim_baseline *b)
{
    for (uint32_t i = 0; i < b->count; i++) {
        uint32_t node = b->first + i;
        struct sim_node_summary summary = {.node = node,
                                           .is_gateway = sim_baseline_is_gateway(b, node),
                                           .hops = b->hops[node],
                                           .complete_at = b->complete_at[i],
                                           .installed_at = SIM_NEVER,
                                           .confirmed_at = SIM_NEVER,
                                           .release = 1}; /* nothing is installed: the image is only spread */
        sim_engine_summarise(b->engine, &summary);
    }
}

int sim_baseline_save(const struct sim_baseline *b, struct sim_archive *a)
{
    if (sim_archive_section(a, "BASE") != 0 || sim_archive_put_count(a, b->count) != 0)
        return -1;
    return sim_archive_put(a, b->complete_at, b->count * sizeof(*b->complete_at));
}

int sim_baseline_load(struct sim_baseline *b, struct sim_archive *a)
{
    uint64_t count;
    if (sim_archive_section(a, "BASE") != 0 || sim_archive_get_count(a, &count, b->count) != 0)
        return -1;
    if (count != b->count)
        return sim_archive_fail(a, "the checkpoint is of another number of nodes");
    return sim_archive_get(a, b->complete_at, b->count * sizeof(*b->complete_at));
}

sim_time sim_baseline_jitter(struct sim_baseline *b, uint32_t node, uint32_t limit_us)
{
    return sim_scale(sim_engine_random(b->engine, node), limit_us);
}
