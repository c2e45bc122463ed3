/*
 * The fleet: this project's node, gateway, boot decision and release engine as a stack of the simulator. Every node is a
 * real struct nf_node over a store of its own; every release engine a real struct md_release.
 */
#ifndef SIM_FLEET_H
#define SIM_FLEET_H

#include "sim/engine/engine.h"

/* Stack of `stack = mesh` and of `stack = idle-load`. */
const struct sim_stack *sim_fleet_stack(void);

/* Rollouts known on this rank, for stop conditions and reports: how many are not yet done, held for good, or reverted.
 * ctx is the stack's, see sim_engine_stack_ctx(). */
uint32_t sim_fleet_rollouts_open(const void *ctx);
/* The newest release that is for a node; 0: none, it is a gateway or an attacker, or there is no release for its model. */
uint32_t sim_fleet_awaited(const void *ctx, uint32_t node);

#endif
