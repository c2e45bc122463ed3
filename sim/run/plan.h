/*
 * `meshsim plan`: what a rollout will take, worked out from closed forms in no time, before anything is simulated.
 *
 *   floor         (k + D) * t / (1 - loss): k chunks and interior chunks of the image, D hops to the farthest node, t the
 *                 mean time between two advertising events of a node, loss that of frames
 *   distribution  the floor times a factor that was measured (--factor)
 *   ring          staged when its members hold the image: the distribution for the first, at once for the others, since
 *                 the image spreads to all nodes from the start; then spread, boot, self-test, the echo and report over D
 *                 hops, soak. At the latest: stage deadline, deadline, soak
 *   gate          a ring passes when no more of its members fail than its limit: the binomial distribution at the fault's
 *                 probability. What fails after the trial (brick, degrade) counts as far as it shows in the soak, when a
 *                 roll call tells; without one, a brick passes every gate
 *   exposure      members of a ring activate at random within the spread; those whose turn comes after the hold, that is
 *                 one detection delay after the failure beyond the limit, are spared. Expected: the sum over rings of
 *                 the probability that a ring opens times those of it that boot the image; of what fails after the trial
 *                 all of it. At most: all of the ring
 *   energy        while the distribution lasts: listening, every chunk sent once, every chunk (of a delta: and of the
 *                 image rebuilt) written to flash
 *
 * Left out: the breaker of nodes, which stops a bad image where neighbours failed (exposure is an upper bound), contention
 * in dense places and losses by collision (in the factor), nodes that are away, batteries that run out, the roll call (a
 * minute a ring at most, when all answer), and traffic besides the image. Floating point: nothing that is simulated depends on this. Reentrant.
 */
#ifndef SIM_PLAN_H
#define SIM_PLAN_H

#include "meshd/release/policy.h"
#include "sim/world/scenario.h"

struct sim_plan_options {
    double factor; /* distribution over its floor, 1 to 100 */
    double
        fault_probability; /* of a node that boots the image, 0 to 1; below 0: the scenario's, 1 without a fault there */
    double delta_ratio;    /* size of a delta over that of the image, above 0 to 1 */
    uint32_t release;      /* 0: the first */
};
/* Factor 1.4, the scenario's fault, delta of a tenth, first release. */
void sim_plan_defaults(struct sim_plan_options *o);

struct sim_plan_image {
    uint32_t bytes, chunks; /* interior chunks included */
    double floor_s, distribution_s;
    double listen_j, send_j, flash_j; /* per node */
    double node_j, fleet_kwh, cost;
    double battery; /* share of a battery, 0: mains */
};

struct sim_plan_ring {
    char name[MD_RING_NAME_MAX];
    uint32_t members;
    uint32_t limit; /* failures; MD_UNLIMITED */
    double opens_s; /* from publication, expected */
    double ends_s;  /* soaked, expected */
    double latest_s;
    double spread_s, confirm_s, soak_s, deadline_s; /* confirm: boot to report */
    bool is_stuck;                                  /* has fewer members than reports are required */
    double opens;                                   /* probability that a bad image gets to this ring */
    double passes;                                  /* that it passes this ring's gate then */
    double expected;                                /* members that boot it, if the ring opens */
};

struct sim_plan {
    uint32_t release, nodes, hops, unreached;
    double fault_probability;
    bool is_seen;         /* the gate sees this kind of fault */
    double shows_after_s; /* mean time after the trial until it shows; 0: in the trial */
    double detection_s;
    struct sim_plan_image full, delta;
    uint32_t ring_count;
    struct sim_plan_ring ring[MD_RINGS_MAX];
    double ends_s, latest_s;
    double expected;   /* nodes that boot a bad image, all rings */
    double everywhere; /* probability that no gate stops it */
};

/* Works the plan out; hops to the farthest node that can be reached, and how many cannot. 0, or -1 with a sentence: no
 * such release, an option out of range. */
int sim_plan_make(struct sim_plan *p, const struct sim_scenario *s, const struct sim_plan_options *o, uint32_t hops,
                  uint32_t unreached, char *error, size_t cap);
/* Probability that at most `most` of n happen, each with probability p. */
double sim_plan_binomial(uint32_t n, double p, uint32_t most);
/* Of m members that activate at random within spread_s, how many do so on average until delay_s after more than `limit`
 * of them failed, each with probability p. */
double sim_plan_exposed(uint32_t m, double p, uint32_t limit, double spread_s, double delay_s);

/* As a table on standard output, or as one JSON object. 0, or -1: out of memory. */
void sim_plan_print(const struct sim_plan *p, const struct sim_scenario *s);
int sim_plan_print_json(const struct sim_plan *p, const struct sim_scenario *s);

/* The command: argv[0] is its name. Exit status 0 done, 1 failed, 2 wrong usage or scenario. */
int sim_plan_command(int argc, char **argv);

#endif
