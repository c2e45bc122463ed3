/*
 * `meshsim validate`: generators of traffic with a known closed form, on the real engine and radio, judged against the
 * form. Fixed seeds; part of the test suite.
 */
#ifndef SIM_VALIDATE_H
#define SIM_VALIDATE_H

#include "judge.h"

/* validate [--only NAME]... [--list] [--seed N] [--json FILE]. 0: all hold; 1: one does not, or could not be made; 2:
 * usage. Runs as one process. */
int sim_validate_command(int argc, char **argv);

/* One check: runs its worlds and hands its findings to the judge. */
struct sim_check {
    const char *name;
    const char *summary;
    bool is_quick; /* well below a second in an optimised build */
    uint64_t seed;
    void (*run)(struct sim_judge *judge, uint64_t seed);
};
extern const struct sim_check sim_checks[];
extern const unsigned sim_check_count;

void sim_check_aloha(struct sim_judge *judge, uint64_t seed);
void sim_check_dense(struct sim_judge *judge, uint64_t seed);
void sim_check_discovery(struct sim_judge *judge, uint64_t seed);
void sim_check_kindt(struct sim_judge *judge, uint64_t seed);
void sim_check_trickle(struct sim_judge *judge, uint64_t seed);
void sim_check_trickle_loss(struct sim_judge *judge, uint64_t seed);
void sim_check_line(struct sim_judge *judge, uint64_t seed);
void sim_check_prr(struct sim_judge *judge, uint64_t seed);
void sim_check_deluge(struct sim_judge *judge, uint64_t seed);
void sim_check_mesh_dfu(struct sim_judge *judge, uint64_t seed);

#endif
