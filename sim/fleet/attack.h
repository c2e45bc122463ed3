/*
 * Nodes that attack: they replace a member's behaviour. Private to sim/fleet. Always after sim_fleet_enter(). An
 * attacker's member has no image that runs; f->n is the attacker's to use (a struct mp_node of an insider, say).
 */
#ifndef SIM_FLEET_ATTACK_H
#define SIM_FLEET_ATTACK_H

#include "fleet_state.h"

/* Allocates f->attacks when the scenario has attackers, else leaves it NULL. 0, or -1 with a sentence in error. */
int sim_attack_open(struct sim_fleet *f, char *error, size_t cap);
void sim_attack_close(struct sim_fleet *f);
/* Whether any node of the world is an attacker, from the seed; never a gateway. */
bool sim_attack_is(const struct sim_fleet *f, uint32_t node);
/* The stack's calls for an attacker; frames are without the header of the advertising data. */
int sim_attack_start(struct sim_fleet *f);
void sim_attack_receive(struct sim_fleet *f, const uint8_t *frame, size_t len);
void sim_attack_expire(struct sim_fleet *f);
int sim_attack_write(struct sim_fleet *f, uint8_t *buf, size_t cap);
/* Engine's time, SIM_NEVER. */
sim_time sim_attack_next_expiry(const struct sim_fleet *f);
int sim_attack_save(struct sim_fleet *f, struct sim_archive *a);
int sim_attack_load(struct sim_fleet *f, struct sim_archive *a);

#endif
