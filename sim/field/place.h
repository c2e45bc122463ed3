/*
 * Where the nodes of a scenario stand, and the path loss between two places of it. Integers throughout; the same
 * positions for the same scenario and seed. Reentrant.
 */
#ifndef SIM_PLACE_H
#define SIM_PLACE_H

#include "sim/world/scenario.h"

/* Whether the topology can be placed (a degree that so few nodes can have, an extent that fits). 0, or -1 with a sentence
 * in error. */
int sim_place_check(const struct sim_scenario *s, char *error, size_t cap);
/* Positions of all nodes [count], in the order of their numbers. Copies those of node[] for list and csv, and for line
 * and grid when devices were moved. 0, or -1 with a sentence in error (memory; what sim_place_check says). */
int sim_place(const struct sim_scenario *s, struct sim_position *position, char *error, size_t cap);
/* Radius of the disc in mm: as given, or that at which a node has the given number of others in range on average. The
 * nodes near the edge, that have fewer, are counted in: the probability that two random points of a disc are within the
 * range of each other is that of disc line picking. 0 or -1 with a sentence. */
int sim_place_radius(const struct sim_scenario *s, int32_t *radius_mm, char *error, size_t cap);

/* The greatest distance in mm at which the mean path loss, without shadowing, floors and walls, is at most loss_mdb;
 * 100 to 2000000000. */
int32_t sim_place_range(const struct sim_radio *radio, int32_t loss_mdb);
/* Path loss from a at pa to b at pb in mdB: distance, shadowing, floors, walls, adjacency; without the scenario's
 * explicit links. SIM_LOSS_NONE: does not couple. */
int32_t sim_place_loss(const struct sim_scenario *s, uint32_t a, const struct sim_position *pa, uint32_t b,
                       const struct sim_position *pb);

#endif
