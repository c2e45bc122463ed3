/*
 * What happens to nodes from outside: spontaneous resets, churn, late joining, batteries; duty cycles are the radio's.
 * Private to sim/fleet. Nothing is kept for nodes of a scenario without any of it. Always after sim_fleet_enter().
 */
#ifndef SIM_FLEET_LIFE_H
#define SIM_FLEET_LIFE_H

#include "fleet_state.h"

/* Allocates f->lives when the scenario asks for any of it, else leaves it NULL. 0, or -1 with a sentence in error. */
int sim_life_open(struct sim_fleet *f, char *error, size_t cap);
void sim_life_close(struct sim_fleet *f);
/* At time 0, for nodes that are neither gateway nor attacker, after sim_node_open(): draws its times. True: it is there from the start, and fleet.c calls sim_node_start(); false: sim_life_expire() will call
 * sim_node_up() when it joins. Until then f->m->down is SIM_DOWN_CHURN, set here without a row. */
bool sim_life_start(struct sim_fleet *f);
/* Own timers that are due: calls sim_node_reset(), sim_node_down(), sim_node_up() of node.h. */
void sim_life_expire(struct sim_fleet *f);
/* When they are due next, engine's time, SIM_NEVER. Called with f->lives NULL too. */
sim_time sim_life_next_expiry(const struct sim_fleet *f);
/* Charge left of the battery, 0 to 100; 100 on mains. */
uint8_t sim_life_battery_percent(const struct sim_fleet *f);
/* Charge in uA us (1 uAh is 3.6e9) that a radio so used took in `elapsed` us, asleep for the rest. */
uint64_t sim_life_charge(const struct sim_energy *e, const struct sim_radio_use *use, sim_time elapsed);
/* A section of the checkpoint. */
int sim_life_save(struct sim_fleet *f, struct sim_archive *a);
int sim_life_load(struct sim_fleet *f, struct sim_archive *a);

#endif
