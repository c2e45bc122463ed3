/*
 * Inside of the field, for the files of this folder alone.
 */
#ifndef SIM_FIELD_STATE_H
#define SIM_FIELD_STATE_H

#include "field.h"

/* Nodes by square cells, to find who is near: whoever is within `size` of a node is in its cell or one of the eight
 * around it. Columns one after the other, nodes of a cell ascending. */
struct sim_cells {
    int32_t min_x, min_y;
    int64_t size;
    uint32_t columns, rows;
    uint32_t *start; /* [columns * rows + 1] into node[] */
    uint32_t *node;  /* [count] */
};

/* Cells at least size_mm wide, as wide as it takes for there to be few of them. 0 or -1 (memory). */
int sim_cells_open(struct sim_cells *c, const struct sim_position *position, uint32_t count, int64_t size_mm);
void sim_cells_close(struct sim_cells *c);
static inline uint32_t sim_cells_column(const struct sim_cells *c, const struct sim_position *p)
{
    return (uint32_t)(((int64_t)p->x_mm - c->min_x) / c->size);
}
static inline uint32_t sim_cells_row(const struct sim_cells *c, const struct sim_position *p)
{
    return (uint32_t)(((int64_t)p->y_mm - c->min_y) / c->size);
}

/* Square of a distance in mm; coordinates are within 1000 km of the origin. */
static inline uint64_t sim_square_mm(const struct sim_position *a, const struct sim_position *b)
{
    int64_t dx = (int64_t)a->x_mm - b->x_mm, dy = (int64_t)a->y_mm - b->y_mm, dz = (int64_t)a->z_mm - b->z_mm;
    return (uint64_t)(dx * dx) + (uint64_t)(dy * dy) + (uint64_t)(dz * dz);
}

/* Ranges from the radio, then links of all transmitters to the receivers first to limit-1. 0, or -1 with a sentence. */
void sim_field_set_ranges(struct sim_field *f);
int sim_field_set_links(struct sim_field *f, char *error, size_t cap);
/* Path loss by an explicit link of the scenario. False: there is none. */
bool sim_field_explicit(const struct sim_scenario *s, uint32_t a, uint32_t b, int32_t *loss_mdb);
int sim_field_set_gateways(struct sim_field *f);

#endif
