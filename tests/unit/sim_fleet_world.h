/*
 * A world of the fleet for unit tests: a scenario as text, the real field, engine and stack on one rank, and what it
 * told. Aborts the test when something does not open.
 */
#ifndef TESTS_SIM_FLEET_WORLD_H
#define TESTS_SIM_FLEET_WORLD_H

#include "sim/engine/engine.h"
#include "sim/fleet/fleet_state.h"

#define SIM_WORLD_NODES 64
#define SIM_WORLD_ROWS 4096

struct sim_fleet_world {
    struct sim_scenario scenario;
    struct sim_field field;
    struct sim_engine *e;
    struct sim_fleet *f;
    unsigned rows;
    struct sim_row row[SIM_WORLD_ROWS];
    struct sim_node_summary summary[SIM_WORLD_NODES];
    char error[256];
};

/* False with a sentence in w->error: the engine did not open. The scenario and the field must. */
bool sim_fleet_world_try(struct sim_fleet_world *w, const char *text);
void sim_fleet_world_open(struct sim_fleet_world *w, const char *text);
/* Finishes, which fills in w->summary, and closes. */
void sim_fleet_world_close(struct sim_fleet_world *w);
/* How many rows of a kind a node told, and the first of them at or after row `from` (NULL: none). */
unsigned sim_fleet_world_count(const struct sim_fleet_world *w, uint32_t node, enum sim_row_kind kind);
const struct sim_row *sim_fleet_world_find(const struct sim_fleet_world *w, uint32_t node, enum sim_row_kind kind);

#endif
