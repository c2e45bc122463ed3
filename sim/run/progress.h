/*
 * Progress of a run on standard error: a bar on a terminal, else a plain line every ten seconds. Knows wall time;
 * nothing of it goes back into the run. Rank 0 only.
 */
#ifndef SIM_PROGRESS_H
#define SIM_PROGRESS_H

#include "watch.h"

#include <stdio.h>

struct sim_progress {
    FILE *to; /* NULL: say nothing */
    bool is_terminal, is_drawn;
    double began_s, told_s;
    sim_time from; /* simulated time at the beginning: later than 0 when resumed */
    uint64_t events_at_start;
    sim_time duration;
    bool ends_early; /* it may end before the duration */
};

/* Monotonic wall time in seconds. */
double sim_progress_now(void);
void sim_progress_open(struct sim_progress *p, FILE *to, const struct sim_scenario *s, sim_time now, uint64_t events);
/* Whether it is time to tell again. */
bool sim_progress_is_due(const struct sim_progress *p);
void sim_progress_tell(struct sim_progress *p, const struct sim_run_facts *facts, uint64_t events);
/* Clears the bar, so that other lines can follow. */
void sim_progress_clear(struct sim_progress *p);

/* "850 us", "12.0 s", "3 min 20 s", "2 h 5 min", "6 d 3 h". */
#define SIM_SPAN_MAX 32
void sim_progress_span(sim_time span, char out[SIM_SPAN_MAX]);
/* The line, without an end of line: `elapsed_s` and `events` since the beginning. */
void sim_progress_line(const struct sim_progress *p, const struct sim_run_facts *facts, double elapsed_s,
                       uint64_t events, char *out, size_t cap);

#endif
