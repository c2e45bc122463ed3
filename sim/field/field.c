#include "field.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "field_state.h"
#include "place.h"

#define RANKS_MAX 64 /* bits of a halo mask */

/* --- cells and halo ------------------------------------------------------------------------------------------------- */

static int set_cells(struct sim_field *f, const struct sim_cells *c)
{
    f->cells_x = c->columns;
    f->cells_y = c->rows;
    f->cell_of = malloc(f->count * sizeof *f->cell_of);
    if (f->cell_of == NULL)
        return -1;
    for (uint32_t i = 0; i < f->count; i++)
        f->cell_of[i] = sim_cells_row(c, &f->position[i]) * c->columns + sim_cells_column(c, &f->position[i]);
    return 0;
}

static unsigned rank_of(const struct sim_field *f, unsigned ranks, uint32_t node)
{
    unsigned low = 0, high = ranks;
    while (high - low > 1) {
        unsigned middle = (low + high) / 2;
        if (f->rank_first[middle] <= node)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Ranks of which some node is disturbed by this one. `reach` has the ranks with a node in each cell. */
static uint64_t disturbed(const struct sim_field *f, unsigned ranks, const struct sim_cells *c, const uint64_t *in_cell,
                          uint32_t node)
{
    const struct sim_position *at = &f->position[node];
    uint64_t own = UINT64_C(1) << rank_of(f, ranks, node), near = 0, found = 0;
    uint64_t limit = (uint64_t)f->interference_mm * (uint64_t)f->interference_mm;
    uint32_t column = sim_cells_column(c, at), row = sim_cells_row(c, at);
    uint32_t low = row > 0 ? row - 1 : 0, high = row + 1 < c->rows ? row + 1 : row;
    uint32_t left = column > 0 ? column - 1 : 0, right = column + 1 < c->columns ? column + 1 : column;
    for (uint32_t x = left; x <= right; x++)
        for (uint32_t y = low; y <= high; y++)
            near |= in_cell[x * c->rows + y];
    near &= ~own;
    for (uint32_t x = left; x <= right && found != near; x++) {
        for (uint32_t i = c->start[x * c->rows + low]; i < c->start[x * c->rows + high + 1] && found != near; i++) {
            uint64_t rank = UINT64_C(1) << rank_of(f, ranks, c->node[i]);
            if ((near & rank & ~found) && sim_square_mm(at, &f->position[c->node[i]]) <= limit)
                found |= rank;
        }
    }
    return found;
}

static int set_halo(struct sim_field *f, unsigned ranks, const struct sim_cells *c)
{
    size_t cells = (size_t)c->columns * c->rows;
    uint64_t *in_cell = calloc(cells, sizeof *in_cell);
    f->halo_mask = calloc(f->count, sizeof *f->halo_mask);
    if (in_cell == NULL || f->halo_mask == NULL) {
        free(in_cell);
        return -1;
    }
    for (uint32_t i = 0; i < f->count; i++) {
        const struct sim_position *at = &f->position[i];
        in_cell[sim_cells_column(c, at) * c->rows + sim_cells_row(c, at)] |= UINT64_C(1) << rank_of(f, ranks, i);
    }
    for (uint32_t i = 0; i < f->count; i++)
        f->halo_mask[i] = disturbed(f, ranks, c, in_cell, i);
    free(in_cell);
    return 0;
}

/* --- all of it ------------------------------------------------------------------------------------------------------ */

static int split_ranks(struct sim_field *f, unsigned rank, unsigned ranks)
{
    f->rank_first = malloc((ranks + 1u) * sizeof *f->rank_first);
    if (f->rank_first == NULL)
        return -1;
    for (unsigned r = 0; r <= ranks; r++)
        f->rank_first[r] = (uint32_t)((uint64_t)f->count * r / ranks);
    f->first = f->rank_first[rank];
    f->limit = f->rank_first[rank + 1];
    return 0;
}

int sim_field_open(struct sim_field *f, const struct sim_scenario *s, unsigned rank, unsigned ranks, char *error,
                   size_t cap)
{
    struct sim_cells cells = {.size = 1};
    int status = -1;
    *f = (struct sim_field){.count = s->count, .scenario = s};
    if (ranks < 1 || ranks > RANKS_MAX || rank >= ranks || ranks > s->count) {
        (void)snprintf(error, cap, "%u ranks: must be 1 to %d, and no more than the %u nodes", ranks, RANKS_MAX,
                       (unsigned)s->count);
        return -1;
    }
    (void)snprintf(error, cap, "out of memory for %u nodes", (unsigned)f->count);
    f->position = malloc(f->count * sizeof *f->position);
    if (f->position == NULL || split_ranks(f, rank, ranks) != 0 || sim_place(s, f->position, error, cap) != 0 ||
        sim_field_set_gateways(f) != 0)
        goto out;
    sim_field_set_ranges(f);
    int64_t cell = (int64_t)f->range_mm + f->interference_mm;
    if (sim_cells_open(&cells, f->position, f->count, cell) != 0 || set_cells(f, &cells) != 0 ||
        (ranks > 1 && set_halo(f, ranks, &cells) != 0))
        goto out;
    sim_cells_close(&cells);
    status = sim_field_set_links(f, error, cap);
out:
    sim_cells_close(&cells);
    return status;
}

void sim_field_close(struct sim_field *f)
{
    free(f->position);
    free(f->rank_first);
    free(f->link_at);
    free(f->link);
    free(f->halo_mask);
    free(f->cell_of);
    free(f->gateway);
    *f = (struct sim_field){.count = 0};
}

int32_t sim_field_loss(const struct sim_field *f, uint32_t a, uint32_t b)
{
    int32_t loss;
    if (a == b)
        return SIM_LOSS_NONE;
    if (sim_field_explicit(f->scenario, a, b, &loss))
        return loss;
    return sim_place_loss(f->scenario, a, &f->position[a], b, &f->position[b]);
}

size_t sim_field_bytes(const struct sim_field *f)
{
    size_t node = sizeof *f->position + sizeof *f->link_at + sizeof *f->cell_of +
                  (f->halo_mask != NULL ? sizeof *f->halo_mask : 0);
    return sizeof *f + f->count * node + f->link_count * sizeof *f->link + f->gateway_count * sizeof *f->gateway;
}

/* --- hops ----------------------------------------------------------------------------------------------------------- */

/* Breadth first, from all sources at once; ties go to who was reached first, that is to the lower source. */
static int walk(const struct sim_field *f, const uint32_t *from, uint32_t n, uint16_t *hops, uint32_t *nearest)
{
    uint32_t *queue = malloc(f->count * sizeof *queue), head = 0, tail = 0;
    if (queue == NULL)
        return -1;
    for (uint32_t i = 0; i < f->count; i++)
        hops[i] = UINT16_MAX;
    for (uint32_t i = 0; i < n; i++) {
        if (hops[from[i]] == 0)
            continue;
        hops[from[i]] = 0;
        if (nearest != NULL)
            nearest[from[i]] = from[i];
        queue[tail++] = from[i];
    }
    while (head < tail) {
        uint32_t at = queue[head++], count;
        const struct sim_link *link = sim_field_links(f, at, &count);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t next = link[i].node;
            if (hops[next] != UINT16_MAX || hops[at] == UINT16_MAX - 1)
                continue;
            hops[next] = (uint16_t)(hops[at] + 1);
            if (nearest != NULL)
                nearest[next] = nearest[at];
            queue[tail++] = next;
        }
    }
    free(queue);
    return 0;
}

int sim_field_hops(const struct sim_field *f, const uint32_t *from, uint32_t n, uint16_t *hops, uint32_t *nearest)
{
    struct sim_field whole = *f;
    char error[200];
    bool is_whole = f->first == 0 && f->limit == f->count;
    uint16_t *own = hops == NULL ? malloc(f->count * sizeof *own) : NULL;
    int status = hops == NULL && own == NULL ? -1 : 0;
    for (uint32_t i = 0; nearest != NULL && i < f->count; i++)
        nearest[i] = UINT32_MAX;
    if (!is_whole) {
        whole.first = 0;
        whole.limit = f->count;
        whole.link_at = NULL;
        whole.link = NULL;
        if (status == 0)
            status = sim_field_set_links(&whole, error, sizeof error);
    }
    if (status == 0)
        status = walk(&whole, from, n, hops != NULL ? hops : own, nearest);
    if (!is_whole) {
        free(whole.link_at);
        free(whole.link);
    }
    free(own);
    return status;
}
