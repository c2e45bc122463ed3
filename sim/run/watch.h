/*
 * Watches a run for its end: stands between the engine and the result, and counts which nodes still lack the newest
 * release that is for them. The decision is a pure function of facts that all ranks share.
 */
#ifndef SIM_WATCH_H
#define SIM_WATCH_H

#include "sim/engine/engine.h"

enum sim_run_end {
    SIM_RUN_GOES_ON,
    SIM_RUN_COMPLETE, /* every node that should has the image */
    SIM_RUN_DONE,     /* the rollouts ended and nothing changed for `settle`, or nothing can happen any more */
    SIM_RUN_DURATION
};

/* Sums over all ranks. */
struct sim_run_facts {
    sim_time now;
    sim_time next;       /* of the next event, SIM_NEVER: none */
    sim_time changed_at; /* last happening but resets, failures of nodes and their return */
    uint64_t awaiting;   /* nodes that should get an image */
    uint64_t complete;   /* of those, that have it */
    uint64_t open;       /* rollouts that are neither done, held for good nor reverted */
};

enum sim_run_end sim_watch_decide(const struct sim_scenario *s, const struct sim_run_facts *facts);
/* The word in run.json: "complete", "done", "duration"; NULL while it goes on. */
const char *sim_watch_word(enum sim_run_end end);

struct sim_watch {
    const struct sim_scenario *scenario;
    const struct sim_field *field;
    struct sim_engine_hooks inner;
    uint8_t *awaited; /* [own nodes] release, 0: none, or it has it */
    uint64_t awaiting, complete;
    sim_time changed_at;
};

/* Hands everything on to `inner`, whose calls may be NULL. 0 or -1: out of memory; sim_watch_close() in either case. */
int sim_watch_open(struct sim_watch *w, const struct sim_scenario *s, const struct sim_field *f,
                   const struct sim_engine_hooks *inner);
void sim_watch_close(struct sim_watch *w);
struct sim_engine_hooks sim_watch_hooks(struct sim_watch *w);
/* Once the engine is open: who awaits what. */
int sim_watch_start(struct sim_watch *w, struct sim_engine *e);
/* Collective. */
void sim_watch_facts(const struct sim_watch *w, struct sim_engine *e, struct sim_run_facts *facts);
int sim_watch_save(const struct sim_watch *w, struct sim_archive *a);
int sim_watch_load(struct sim_watch *w, struct sim_archive *a);

#endif
