/* A stack for tests of the engine and its radios: every node sends a frame every period, and counts what it hears. */
#ifndef TEST_SIM_BEACON_H
#define TEST_SIM_BEACON_H

#include "sim/engine/engine.h"

#define BEACON_LOGGED 16 /* nodes whose receptions are counted one by one */

/* What the nodes do; set before the engine is opened. */
struct beacon_plan {
    enum sim_bearer bearer;
    sim_time period_us; /* from one frame to the next */
    uint32_t jitter_us; /* up to this is added at random */
    sim_time first_us;  /* time of the first frame, */
    uint32_t phase_us;  /* plus up to this at random, */
    sim_time step_us;   /* plus this times the node's number */
    uint32_t senders;   /* nodes below this number send; 0: all */
    uint32_t frames;    /* each sends so many; 0: no limit */
    size_t len;
    bool echoes;        /* every frame heard is answered by one frame */
    size_t state_bytes; /* touched at each reception, beside the counters: for measurements */
    /* For power: called at each expiry of a node, before anything else. May be NULL. */
    void (*tick)(struct sim_engine *e, uint32_t node, sim_time now);
};
extern struct beacon_plan beacon_plan;

/* What they saw, over the nodes of this process; cleared by the stack's open. */
struct beacon_log {
    uint64_t received, sent, mails;
    uint32_t heard[BEACON_LOGGED][BEACON_LOGGED]; /* [to][from] */
    struct sim_heard last;                        /* data: not valid */
    uint8_t data[256];
    uint64_t order; /* hash of all receptions in the order of their delivery */
    uint32_t mail_from[64];
    sim_time mail_at[64];
};
extern struct beacon_log beacon_log;

const struct sim_stack *beacon_stack(void);

/* A world from the text of a scenario: field and engine. */
struct beacon_world {
    struct sim_scenario scenario;
    struct sim_field field;
    struct sim_engine *engine;
};
/* Prints the reason and returns -1 when the world cannot be made. */
int beacon_open(struct beacon_world *w, const char *text, const struct sim_engine_hooks *hooks);
void beacon_close(struct beacon_world *w);

#endif
