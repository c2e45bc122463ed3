/*
 * Release server of one network: what meshd keeps and decides, without the disk. A registry of its nodes (newest report,
 * receipt owed), the real release engine (meshd/release), and the release key. Private to sim/fleet.
 *
 *   entry of a REPORT -> sim_server_report() -> release engine         (the gateway acknowledges afterwards)
 *   sim_server_run()  -> starts planned releases, reverts what is held, ticks the engine, tells its decisions, signs the
 *                        directives it wants and the receipts that are due -> sim_gateway_publish()
 *
 * Runs on the rank of its gateway, always after sim_fleet_enter() about that gateway. Time is the engine's, as if the
 * server had an exact clock. Directives and receipts have the cadence of meshd/daemon: a receipt when reports wait, at
 * most every 2 s, at least one an hour; an epoch a day.
 */
#ifndef SIM_FLEET_SERVER_H
#define SIM_FLEET_SERVER_H

#include "fleet_state.h"

struct sim_server;

/* Server at `node` (a gateway of this rank) for `count` nodes of its network, in ascending order. NULL with a sentence in
 * error (memory; a policy that does not parse). */
struct sim_server *sim_server_open(struct sim_fleet *f, uint32_t node, const uint32_t *nodes, uint32_t count,
                                   char *error, size_t cap);
void sim_server_close(struct sim_server *s);
/* One entry as a gateway heard it, MAC unchecked: committed, if it is authentic and new. Run the server afterwards. */
void sim_server_report(struct sim_fleet *f, struct sim_server *s, const uint8_t entry[MP_REPORT_ENTRY_SIZE]);
/* Everything that is due now. */
void sim_server_run(struct sim_fleet *f, struct sim_server *s);
/* When to run it next, engine's time, SIM_NEVER. */
sim_time sim_server_next(const struct sim_server *s);
/* Rollouts planned or begun that are not done, held for good, or reverted. */
uint32_t sim_server_rollouts_open(const struct sim_server *s);
/* The release engine, for tests and summaries. */
const struct md_release *sim_server_release(const struct sim_server *s);
/* Intake so far. */
struct sim_intake {
    uint64_t taken, duplicate, old, forged, unknown;
    uint64_t directives, receipts; /* signed */
};
const struct sim_intake *sim_server_intake(const struct sim_server *s);
int sim_server_save(const struct sim_server *s, struct sim_archive *a);
int sim_server_load(struct sim_fleet *f, struct sim_server *s, struct sim_archive *a);
size_t sim_server_bytes(const struct sim_server *s);

/* gateway.c: a signed object for every gateway of the server's network. */
void sim_gateway_publish(struct sim_fleet *f, enum mp_type type, const uint8_t *object, size_t len);

#endif
