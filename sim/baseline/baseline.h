/*
 * Baselines: other ways to get an image to every node, in the same radio. Each is one file and one stack; the comment
 * at its top names the document it follows, its parameters, and what was simplified.
 */
#ifndef SIM_BASELINE_H
#define SIM_BASELINE_H

#include "sim/engine/engine.h"

const struct sim_stack *sim_baseline_flood(void);
const struct sim_stack *sim_baseline_unicast(void);
const struct sim_stack *sim_baseline_deluge(void);
const struct sim_stack *sim_baseline_mesh_dfu(void);

#endif
