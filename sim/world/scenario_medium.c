#include <stdlib.h>

#include "scenario.h"
#include "sim/field/place.h"

static void link_adjacent(struct sim_medium *m, const struct sim_scenario *s)
{
    for (uint32_t a = 0; a < s->count; a++) {
        for (uint32_t b = a + 1; b < s->count; b++) {
            int dx = (int)(a % s->columns) - (int)(b % s->columns), dy = (int)(a / s->columns) - (int)(b / s->columns);
            if (abs(dx) <= 1 && abs(dy) <= 1)
                (void)sim_medium_link(m, a, b, s->link_loss_mdb);
        }
    }
}

static bool place_all(struct sim_medium *m, const struct sim_scenario *s)
{
    struct sim_position *position = calloc(s->count, sizeof *position);
    if (position == NULL)
        return false;
    for (uint32_t i = 0; i < s->count; i++)
        position[i] = s->node[i].position;
    sim_medium_place(m, position);
    free(position);
    return true;
}

/* What stands between nodes of buildings; the medium knows of distance and shadowing only. */
static void link_through_walls(struct sim_medium *m, const struct sim_scenario *s)
{
    for (uint32_t a = 0; a < s->count; a++)
        for (uint32_t b = a + 1; b < s->count; b++)
            (void)sim_medium_link(m, a, b, sim_place_loss(s, a, &s->node[a].position, b, &s->node[b].position));
}

struct sim_medium *sim_scenario_medium(const struct sim_scenario *s, const struct sim_medium_ops *ops, void *ctx)
{
    if (s->count > SIM_DEVICES_MAX)
        return NULL;
    const struct sim_medium_config config = {.seed = s->seed, .loss_ppm = s->loss_ppm, .radio = s->radio};
    struct sim_medium *m = sim_medium_open(&config, s->count, ops, ctx);
    if (m == NULL)
        return NULL;
    if (s->reach == SIM_REACH_NEIGHBOURS) {
        link_adjacent(m, s);
    } else if (!place_all(m, s)) {
        sim_medium_close(m);
        return NULL;
    }
    if (s->topology == SIM_TOPOLOGY_BUILDINGS)
        link_through_walls(m, s);
    for (uint32_t i = 0; i < s->link_count; i++)
        (void)sim_medium_link(m, s->link[i].a, s->link[i].b, s->link[i].loss_mdb);
    return m;
}
