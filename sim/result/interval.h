/*
 * Confidence intervals over seeds, for reports and result tables. Nothing in a run depends on them. Reentrant.
 */
#ifndef SIM_INTERVAL_H
#define SIM_INTERVAL_H

#include <stddef.h>

/* An estimate with the ends of its 95 % confidence interval; with fewer than two values both ends are the estimate. */
struct sim_interval {
    double value, low, high;
};

/* Mean, by Student's t with n - 1 degrees of freedom. n = 0: zeros. */
struct sim_interval sim_interval_mean(const double *values, size_t n);
/* Median, by order statistics: the narrowest symmetric pair that covers it with at least 95 % whatever the distribution
 * (from 6 values on; with fewer, smallest and largest). Sorts the values in place. n = 0: zeros. */
struct sim_interval sim_interval_median(double *values, size_t n);
/* Share `hits` out of n, by Wilson's score. n = 0: 0 to 1. */
struct sim_interval sim_interval_share(unsigned long long hits, unsigned long long n);

#endif
