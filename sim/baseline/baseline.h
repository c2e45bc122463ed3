/*
 * Baselines: other ways to get an image to every node, in the same radio. Each is one file and one stack; the comment
 * at its top names the document it follows, its parameters, and what was simplified.
 */
#ifndef SIM_BASELINE_H
#define SIM_BASELINE_H

#include "sim/engine/engine.h"

const struct sim_stack *sim_baseline_flood(void);
const struct sim_stack *sim_baseline_unicast(void);
/* Over IEEE 802.15.4, as published. */
const struct sim_stack *sim_baseline_deluge(void);
/* The same protocol in this project's radio, extended advertising, for comparisons. */
const struct sim_stack *sim_baseline_deluge_extended(void);
const struct sim_stack *sim_baseline_mesh_dfu(void);

#endif
