#include <stdlib.h>
#include <string.h>

#include "field_state.h"

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static int32_t most(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

int sim_cells_open(struct sim_cells *c, const struct sim_position *position, uint32_t count, int64_t size_mm)
{
    int32_t max_x = position[0].x_mm, max_y = position[0].y_mm;
    *c = (struct sim_cells){.min_x = max_x, .min_y = max_y, .size = size_mm};
    for (uint32_t i = 1; i < count; i++) {
        c->min_x = least(c->min_x, position[i].x_mm);
        c->min_y = least(c->min_y, position[i].y_mm);
        max_x = most(max_x, position[i].x_mm);
        max_y = most(max_y, position[i].y_mm);
    }
    /* a few nodes on a wide field need no more cells than this */
    int64_t width = (int64_t)max_x - c->min_x, height = (int64_t)max_y - c->min_y;
    while ((width / c->size + 1) * (height / c->size + 1) > 2 * (int64_t)count + 64)
        c->size *= 2;
    c->columns = (uint32_t)(width / c->size + 1);
    c->rows = (uint32_t)(height / c->size + 1);

    uint32_t cells = c->columns * c->rows;
    c->start = calloc((size_t)cells + 1, sizeof *c->start);
    c->node = calloc(count, sizeof *c->node);
    if (c->start == NULL || c->node == NULL) {
        sim_cells_close(c);
        return -1;
    }
    for (uint32_t i = 0; i < count; i++)
        c->start[sim_cells_column(c, &position[i]) * c->rows + sim_cells_row(c, &position[i])]++;
    for (uint32_t i = 0, sum = 0; i <= cells; i++) {
        sum += c->start[i];
        c->start[i] = sum; /* the end of the cell, for now */
    }
    for (uint32_t i = count; i-- > 0;)
        c->node[--c->start[sim_cells_column(c, &position[i]) * c->rows + sim_cells_row(c, &position[i])]] = i;
    return 0;
}

void sim_cells_close(struct sim_cells *c)
{
    free(c->start);
    free(c->node);
    *c = (struct sim_cells){.size = 1};
}
