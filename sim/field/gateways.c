/*
 * Gateways: the nodes closest to the centres of equal shares. The nodes are halved again and again, across the longer
 * side of what they cover, until there is a share for each gateway; all shares have the same number of nodes. In
 * buildings, halves go from building to building: as many gateways as buildings are one in each.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "field_state.h"

struct entry {
    int32_t coordinate;
    uint32_t node;
};

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->coordinate != y->coordinate)
        return x->coordinate < y->coordinate ? -1 : 1;
    return (x->node > y->node) - (x->node < y->node);
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Node 0 when it is to be one and is among them, else the one nearest to their mean. */
static uint32_t pick(const struct sim_field *f, const struct entry *entry, uint32_t count)
{
    enum sim_topology kind = f->scenario->topology;
    bool is_zero = kind != SIM_TOPOLOGY_DISC && kind != SIM_TOPOLOGY_BUILDINGS;
    int64_t sum[3] = {0, 0, 0};
    uint32_t best = UINT32_MAX;
    uint64_t best_square = UINT64_MAX;
    assert(count > 0);
    for (uint32_t i = 0; i < count; i++) {
        const struct sim_position *at = &f->position[entry[i].node];
        if (is_zero && entry[i].node == 0)
            return 0;
        sum[0] += at->x_mm;
        sum[1] += at->y_mm;
        sum[2] += at->z_mm;
    }
    const struct sim_position centre = {(int32_t)(sum[0] / count), (int32_t)(sum[1] / count),
                                        (int32_t)(sum[2] / count)};
    for (uint32_t i = 0; i < count; i++) {
        uint64_t square = sim_square_mm(&f->position[entry[i].node], &centre);
        if (square < best_square || (square == best_square && entry[i].node < best)) {
            best_square = square;
            best = entry[i].node;
        }
    }
    return best;
}

static void swap(struct entry *a, struct entry *b)
{
    struct entry c = *a;
    *a = *b;
    *b = c;
}

/* Puts the `rank` smallest first, in any order. What they are does not depend on how they are found. */
static void select_smallest(struct entry *entry, uint32_t count, uint32_t rank)
{
    uint32_t low = 0, high = count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2, at = low;
        swap(&entry[middle], &entry[high - 1]);
        for (uint32_t i = low; i + 1 < high; i++)
            if (compare_entries(&entry[i], &entry[high - 1]) < 0)
                swap(&entry[i], &entry[at++]);
        swap(&entry[at], &entry[high - 1]);
        if (at == rank)
            return;
        if (at < rank)
            low = at + 1;
        else
            high = at;
    }
}

/* What the nodes are halved by: their building, or the coordinate along which they reach farther. */
static void set_coordinates(const struct sim_field *f, struct entry *entry, uint32_t count)
{
    const struct sim_topology_run *t = &f->scenario->place;
    bool is_built = f->scenario->topology == SIM_TOPOLOGY_BUILDINGS;
    assert(count > 0);
    struct sim_position low = f->position[entry[0].node], high = low;
    for (uint32_t i = 1; i < count; i++) {
        const struct sim_position *at = &f->position[entry[i].node];
        low.x_mm = at->x_mm < low.x_mm ? at->x_mm : low.x_mm;
        low.y_mm = at->y_mm < low.y_mm ? at->y_mm : low.y_mm;
        high.x_mm = at->x_mm > high.x_mm ? at->x_mm : high.x_mm;
        high.y_mm = at->y_mm > high.y_mm ? at->y_mm : high.y_mm;
    }
    bool is_wide = (int64_t)high.x_mm - low.x_mm >= (int64_t)high.y_mm - low.y_mm;
    for (uint32_t i = 0; i < count; i++) {
        const struct sim_position *at = &f->position[entry[i].node];
        int32_t building =
            is_built ? at->y_mm / (t->depth_mm + t->street_mm) * 1000 + at->x_mm / (t->width_mm + t->street_mm) : 0;
        entry[i].coordinate = is_built ? building : is_wide ? at->x_mm : at->y_mm;
    }
}

/* A gateway for each of n shares of the entries, at least as many. */
static void divide(struct sim_field *f, struct entry *entry, uint32_t count, uint32_t n)
{
    assert(count >= n);
    while (n > 1) { /* the first half by a call, so that it goes no deeper than the logarithm of n */
        uint32_t half = n / 2, nodes = (uint32_t)((uint64_t)count * half / n);
        set_coordinates(f, entry, count);
        select_smallest(entry, count, nodes);
        divide(f, entry, nodes, half);
        entry += nodes;
        count -= nodes;
        n -= half;
    }
    f->gateway[f->gateway_count++] = pick(f, entry, count);
}

int sim_field_set_gateways(struct sim_field *f)
{
    uint32_t n = f->scenario->fleet.gateways;
    assert(n >= 1 && n <= f->count);
    struct entry *entry = calloc(f->count, sizeof *entry);
    f->gateway = malloc(n * sizeof *f->gateway);
    if (entry == NULL || f->gateway == NULL) {
        free(entry);
        return -1;
    }
    for (uint32_t i = 0; i < f->count; i++)
        entry[i] = (struct entry){0, i};
    divide(f, entry, f->count, n);
    free(entry);
    qsort(f->gateway, n, sizeof *f->gateway, compare_numbers);
    return 0;
}

uint32_t sim_field_gateways(const struct sim_field *f, uint32_t *gateways, uint32_t cap)
{
    uint32_t n = f->gateway_count < cap ? f->gateway_count : cap;
    if (n > 0)
        memcpy(gateways, f->gateway, n * sizeof *gateways);
    return f->gateway_count;
}
