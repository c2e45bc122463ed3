/*
 * Gateways: the nodes closest to the centres of equal shares. The nodes are cut into columns by x and each column into
 * shares by y, all with the same number of nodes, about as wide as high.
 */
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

/* Columns of about square shares: their number squared is gateways * width / height. */
static uint32_t count_columns(const struct sim_field *f, uint32_t gateways)
{
    int64_t low[2] = {INT32_MAX, INT32_MAX}, high[2] = {INT32_MIN, INT32_MIN};
    for (uint32_t i = 0; i < f->count; i++) {
        const int32_t at[2] = {f->position[i].x_mm, f->position[i].y_mm};
        for (int axis = 0; axis < 2; axis++) {
            low[axis] = at[axis] < low[axis] ? at[axis] : low[axis];
            high[axis] = at[axis] > high[axis] ? at[axis] : high[axis];
        }
    }
    int64_t width = high[0] - low[0] + 1, height = high[1] - low[1] + 1;
    uint32_t columns = 1;
    while (columns < gateways && (int64_t)(columns + 1) * (columns + 1) * height <= (int64_t)gateways * width)
        columns++;
    return columns;
}

/* Of entries from to limit-1: node 0 when it is to be one and is among them, else the one nearest to their mean. */
static uint32_t pick(const struct sim_field *f, const struct entry *entry, uint32_t from, uint32_t limit, bool is_zero)
{
    int64_t sum[3] = {0, 0, 0};
    uint32_t best = entry[from].node;
    uint64_t best_square = UINT64_MAX;
    for (uint32_t i = from; i < limit; i++) {
        const struct sim_position *at = &f->position[entry[i].node];
        if (is_zero && entry[i].node == 0)
            return 0;
        sum[0] += at->x_mm;
        sum[1] += at->y_mm;
        sum[2] += at->z_mm;
    }
    int64_t n = limit - from;
    const struct sim_position centre = {(int32_t)(sum[0] / n), (int32_t)(sum[1] / n), (int32_t)(sum[2] / n)};
    for (uint32_t i = from; i < limit; i++) {
        uint64_t square = sim_square_mm(&f->position[entry[i].node], &centre);
        if (square < best_square || (square == best_square && entry[i].node < best)) {
            best_square = square;
            best = entry[i].node;
        }
    }
    return best;
}

int sim_field_set_gateways(struct sim_field *f)
{
    enum sim_topology kind = f->scenario->topology;
    bool is_zero = kind != SIM_TOPOLOGY_DISC && kind != SIM_TOPOLOGY_BUILDINGS;
    uint32_t n = f->scenario->fleet.gateways, columns = count_columns(f, n);
    struct entry *entry = malloc(f->count * sizeof *entry);
    f->gateway = malloc(n * sizeof *f->gateway);
    if (entry == NULL || f->gateway == NULL) {
        free(entry);
        return -1;
    }
    for (uint32_t i = 0; i < f->count; i++)
        entry[i] = (struct entry){f->position[i].x_mm, i};
    qsort(entry, f->count, sizeof *entry, compare_entries);
    for (uint32_t column = 0; column < columns; column++) {
        uint32_t share = (uint32_t)((uint64_t)n * column / columns);
        uint32_t share_limit = (uint32_t)((uint64_t)n * (column + 1) / columns);
        uint32_t from = (uint32_t)((uint64_t)f->count * share / n);
        uint32_t limit = (uint32_t)((uint64_t)f->count * share_limit / n);
        for (uint32_t i = from; i < limit; i++)
            entry[i].coordinate = f->position[entry[i].node].y_mm;
        qsort(entry + from, limit - from, sizeof *entry, compare_entries);
        for (; share < share_limit; share++)
            f->gateway[f->gateway_count++] = pick(f, entry, (uint32_t)((uint64_t)f->count * share / n),
                                                  (uint32_t)((uint64_t)f->count * (share + 1) / n), is_zero);
    }
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
