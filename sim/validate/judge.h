/*
 * The judge: compares what a world measured with what theory expects, prints a line for each comparison, and remembers
 * them. Floating point and libm are allowed here: nothing in a simulation depends on it.
 */
#ifndef SIM_JUDGE_H
#define SIM_JUDGE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Independent measurements of one figure. */
struct sim_sample {
    uint64_t count;
    double sum, squares;
};
void sim_sample_add(struct sim_sample *s, double value);
double sim_sample_mean(const struct sim_sample *s);
/* Half the width of the 99.9 % confidence interval of the mean (Student's t; at least 6 values, else infinite). */
double sim_sample_half(const struct sim_sample *s);

#define SIM_EXACT_WITHIN 0.02
#define SIM_NEAR_WITHIN 0.25

enum sim_rule {
    SIM_RULE_EXACT,   /* theory within the measurement's 99.9 % interval, and the deviation within 2 % */
    SIM_RULE_NEAR,    /* the deviation within 25 % */
    SIM_RULE_AT_MOST, /* not above the published bound */
    SIM_RULE_BROKEN   /* could not be measured */
};

struct sim_finding {
    const char *check; /* name of the check, static */
    char what[80];
    enum sim_rule rule;
    double expected, measured;
    double half;      /* of the interval; 0 where there is none: an exact figure must then agree exactly */
    double deviation; /* measured / expected - 1 */
    bool is_ok;
};

#define SIM_FINDINGS_MAX 128
struct sim_judge {
    FILE *out;         /* lines go here; NULL: nowhere */
    const char *check; /* at work */
    unsigned count, failed;
    struct sim_finding finding[SIM_FINDINGS_MAX];
};

/* what: a printf format. Each adds one finding. */
void sim_judge_exact(struct sim_judge *j, double expected, double measured, double half, const char *what, ...)
    __attribute__((format(printf, 5, 6)));
void sim_judge_near(struct sim_judge *j, double expected, double measured, double half, const char *what, ...)
    __attribute__((format(printf, 5, 6)));
void sim_judge_at_most(struct sim_judge *j, double bound, double measured, const char *what, ...)
    __attribute__((format(printf, 4, 5)));
/* A world that could not be built or run is a failure. */
void sim_judge_broken(struct sim_judge *j, const char *why, ...) __attribute__((format(printf, 2, 3)));
/* All findings as a JSON document. 0, or -1: not written, errno tells. */
int sim_judge_write_json(const struct sim_judge *j, const char *path);

#endif
