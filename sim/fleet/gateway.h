/*
 * What a gateway does besides gossip: release engine, publishing, reports, receipts, backhaul. Private to sim/fleet.
 *
 * A gateway's member runs a plain struct mp_node (f->n->mp) with is_gateway; fleet.c hands it frames, runs its timers and
 * asks it for frames, then calls these, always after sim_fleet_enter() about that gateway. Protocol calls take
 * sim_clock_local(f->m, f->now) and &f->env.mp. Its store is the node's: place 0 is the image in slot
 * f->m->running, place 1 that in the other slot; fill them as said at struct sim_member, then mp_node_place().
 */
#ifndef SIM_FLEET_GATEWAY_H
#define SIM_FLEET_GATEWAY_H

#include "fleet_state.h"

/* Allocates f->gateways (release engines of gateways on this rank; facts of all nodes of their networks). 0, or -1 with
 * a sentence in error. Called when everything else of f is open. */
int sim_gateway_open(struct sim_fleet *f, char *error, size_t cap);
void sim_gateway_close(struct sim_fleet *f);
/* At time 0, for every own gateway: mp_node_init() and whatever it begins with. 0, or -1 after sim_engine_fail(). */
int sim_gateway_start(struct sim_fleet *f);
/* After mp_node_receive(), mp_node_expire() and mp_node_write(): events, custody. */
void sim_gateway_heard(struct sim_fleet *f);
/* Own timers that are due. */
void sim_gateway_expire(struct sim_fleet *f);
/* When they are due next, engine's time, SIM_NEVER. */
sim_time sim_gateway_next_expiry(const struct sim_fleet *f);
/* Backhaul: what sim_engine_mail() brought from node `from`. */
void sim_gateway_mail(struct sim_fleet *f, uint32_t from, const uint8_t *data, size_t len);
/* Rollouts known on this rank that are not done, held for good, or reverted. */
uint32_t sim_gateway_rollouts_open(const struct sim_fleet *f);
/* Release server that stands at a gateway of this rank, NULL none; memory of all of them. */
struct sim_server;
const struct sim_server *sim_gateway_server(const struct sim_fleet *f, uint32_t gateway);
size_t sim_gateway_bytes(const struct sim_fleet *f);
/* A section of the checkpoint. */
int sim_gateway_save(struct sim_fleet *f, struct sim_archive *a);
int sim_gateway_load(struct sim_fleet *f, struct sim_archive *a);

#endif
