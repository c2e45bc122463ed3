#include "interval.h"

#include <math.h>
#include <stdlib.h>

/* 97.5 % quantile of Student's t with 1 to 30 degrees of freedom, then 40, 60, 120, infinitely many. */
static double student(size_t freedom)
{
    static const double table[31] = {0,     12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                                     2.201, 2.179,  2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080,
                                     2.074, 2.069,  2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042};
    if (freedom <= 30)
        return table[freedom];
    /* Of the next lower entry: never too narrow. */
    return freedom < 40 ? 2.042 : freedom < 60 ? 2.021 : freedom < 120 ? 2.000 : freedom < 1000 ? 1.980 : 1.962;
}

struct sim_interval sim_interval_mean(const double *values, size_t n)
{
    struct sim_interval i = {0, 0, 0};
    double sum = 0, squares = 0;
    if (n == 0)
        return i;
    for (size_t k = 0; k < n; k++)
        sum += values[k];
    i.value = i.low = i.high = sum / (double)n;
    if (n < 2)
        return i;
    for (size_t k = 0; k < n; k++)
        squares += (values[k] - i.value) * (values[k] - i.value);
    double half = student(n - 1) * sqrt(squares / (double)(n - 1) / (double)n);
    i.low = i.value - half;
    i.high = i.value + half;
    return i;
}

static int by_value(const void *left, const void *right)
{
    const double *l = left, *r = right;
    return *l < *r ? -1 : *l > *r;
}

struct sim_interval sim_interval_median(double *values, size_t n)
{
    struct sim_interval i = {0, 0, 0};
    if (n == 0)
        return i;
    qsort(values, n, sizeof *values, by_value);
    i.value = n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
    /* Largest k with P(fewer than k of n values lie below the median) = sum of binomial(n, 1/2) up to k - 1 <= 2.5 %. In
     * logarithms, since 2^-n underflows. */
    size_t k = 0;
    double below = 0, log_p = -(double)n * log(2.0);
    for (size_t j = 0; j < n / 2; j++) {
        below += exp(log_p);
        if (below > 0.025)
            break;
        k = j + 1;
        log_p += log((double)(n - j) / (double)(j + 1));
    }
    i.low = values[k > 0 ? k - 1 : 0];
    i.high = values[k > 0 ? n - k : n - 1];
    return i;
}

struct sim_interval sim_interval_share(unsigned long long hits, unsigned long long n)
{
    struct sim_interval i = {0, 0, 1};
    const double z = 1.959964;
    if (n == 0)
        return i;
    double p = (double)hits / (double)n, m = (double)n;
    double centre = (p + z * z / (2 * m)) / (1 + z * z / m);
    double half = z / (1 + z * z / m) * sqrt(p * (1 - p) / m + z * z / (4 * m * m));
    i.value = p;
    i.low = hits == 0 || centre < half ? 0 : centre - half;
    i.high = hits == n || centre + half > 1 ? 1 : centre + half;
    return i;
}
