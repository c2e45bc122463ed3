/*
 * Runs of meshsim for the demonstration and the table of results: starting them, and reading what came of them.
 */
#ifndef TESTS_SIM_RUNS_H
#define TESTS_SIM_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RUNS_NONE (-1.0) /* a time that was not reached */

/* What run.json says. Times in seconds, RUNS_NONE when nobody got there. */
struct run_figures {
    char name[64], stack[32], ended[64];
    uint64_t seed;
    double nodes, complete;
    double first_s, median_s, last_s;
    double frames, chunk_frames, all_frames; /* warmup to last node; whole run */
    double bytes;
    double installed, confirmed, rolled_back, down;
    double energy_mj; /* mean of the nodes, whole run */
    double simulated_s, wall_s;
};

/* Reads DIR/run.json. 0, or -1 after a message. */
int runs_read(const char *dir, struct run_figures *figures);
/* All finished runs below a sweep's folder, by seed: how many were read, or -1 after a message. */
int runs_scan(const char *dir, struct run_figures *figures, size_t cap);

/* Starts a program with arguments (NULL at the end), its output into `log` (appended). Its process id, or -1 after a
 * message. */
int runs_start(const char *const argv[], const char *log);
/* Waits for one: 0 when it exited with 0, else -1 after a message that names the log. */
int runs_wait(int pid, const char *log);

/* Median of n values and an interval that holds the true one with at least 95 %, from order statistics (n below 6: the
 * extremes). Sorts the values. */
struct runs_interval {
    double middle, low, high;
};
struct runs_interval runs_median(double *values, size_t n);
/* Mean and its 95 % interval (Student's t). */
struct runs_interval runs_mean(const double *values, size_t n);

#endif
