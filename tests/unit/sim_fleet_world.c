#include "sim_fleet_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void need(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "world: %s\n", what);
    abort();
}

static void on_row(void *ctx, const struct sim_row *row)
{
    struct sim_fleet_world *w = ctx;

    if (w->rows < SIM_WORLD_ROWS)
        w->row[w->rows++] = *row;
}

static void on_summary(void *ctx, const struct sim_node_summary *summary)
{
    struct sim_fleet_world *w = ctx;

    if (summary->node < SIM_WORLD_NODES)
        w->summary[summary->node] = *summary;
}

bool sim_fleet_world_try(struct sim_fleet_world *w, const char *text)
{
    memset(w, 0, sizeof *w);
    need(sim_scenario_parse(&w->scenario, "test", text, strlen(text), w->error, sizeof w->error) == 0, w->error);
    need(sim_field_open(&w->field, &w->scenario, 0, 1, w->error, sizeof w->error) == 0, w->error);
    const struct sim_engine_config config = {.scenario = &w->scenario,
                                             .field = &w->field,
                                             .stack = sim_fleet_stack(),
                                             .seed = w->scenario.seed,
                                             .hooks = {.ctx = w, .row = on_row, .summary = on_summary}};

    w->e = sim_engine_open(&config, w->error, sizeof w->error);
    if (w->e == NULL) {
        sim_field_close(&w->field);
        sim_scenario_free(&w->scenario);
        return false;
    }
    w->f = sim_engine_stack_ctx(w->e);
    return true;
}

void sim_fleet_world_open(struct sim_fleet_world *w, const char *text)
{
    bool is_open = sim_fleet_world_try(w, text);

    need(is_open, w->error);
}

void sim_fleet_world_close(struct sim_fleet_world *w)
{
    sim_engine_finish(w->e);
    sim_engine_close(w->e);
    sim_field_close(&w->field);
    sim_scenario_free(&w->scenario);
}

unsigned sim_fleet_world_count(const struct sim_fleet_world *w, uint32_t node, enum sim_row_kind kind)
{
    unsigned count = 0;

    for (unsigned i = 0; i < w->rows; i++)
        count += w->row[i].node == node && w->row[i].kind == (uint32_t)kind;
    return count;
}

const struct sim_row *sim_fleet_world_find(const struct sim_fleet_world *w, uint32_t node, enum sim_row_kind kind)
{
    for (unsigned i = 0; i < w->rows; i++)
        if (w->row[i].node == node && w->row[i].kind == (uint32_t)kind)
            return &w->row[i];
    return NULL;
}
