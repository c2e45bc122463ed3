#include "progress.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BAR 20
#define TERMINAL_PERIOD_S 0.25
#define LINE_PERIOD_S 10.0

double sim_progress_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void sim_progress_open(struct sim_progress *p, FILE *to, const struct sim_scenario *s, sim_time now, uint64_t events)
{
    const double began_s = sim_progress_now();
    *p = (struct sim_progress){.to = to,
                               .is_terminal = to != NULL && isatty(fileno(to)),
                               .began_s = began_s,
                               .told_s = began_s,
                               .from = now,
                               .events_at_start = events,
                               .duration = s->run.duration_us,
                               .ends_early = s->run.stop != SIM_STOP_NEVER};
}

bool sim_progress_is_due(const struct sim_progress *p)
{
    return p->to != NULL && sim_progress_now() - p->told_s >= (p->is_terminal ? TERMINAL_PERIOD_S : LINE_PERIOD_S);
}

void sim_progress_span(sim_time span, char out[SIM_SPAN_MAX])
{
    const uint64_t s = span / 1000000;
    if (span == SIM_NEVER)
        snprintf(out, SIM_SPAN_MAX, "never");
    else if (span < 1000)
        snprintf(out, SIM_SPAN_MAX, "%" PRIu64 " us", span);
    else if (span < 1000000)
        snprintf(out, SIM_SPAN_MAX, "%" PRIu64 ".%" PRIu64 " ms", span / 1000, span / 100 % 10);
    else if (s < 60)
        snprintf(out, SIM_SPAN_MAX, "%.1f s", (double)span / 1e6);
    else if (s < 3600)
        snprintf(out, SIM_SPAN_MAX, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, SIM_SPAN_MAX, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
    else
        snprintf(out, SIM_SPAN_MAX, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
}

/* Part of the run that is over: by time, or by completion when that ends it and says more. */
static double done_share(const struct sim_progress *p, const struct sim_run_facts *facts)
{
    const double time = p->duration > 0 ? (double)facts->now / (double)p->duration : 1;
    const double complete = facts->awaiting > 0 ? (double)facts->complete / (double)facts->awaiting : 0;
    return p->ends_early && complete > time && complete < 1 ? complete : time;
}

static void time_left(const struct sim_progress *p, const struct sim_run_facts *facts, double elapsed_s,
                      char out[SIM_SPAN_MAX + 16])
{
    const double simulated = (double)(facts->now - p->from);
    const double complete = facts->awaiting > 0 ? (double)facts->complete / (double)facts->awaiting : 0;
    char span[SIM_SPAN_MAX];
    const bool by_nodes = p->ends_early && p->from == 0 && complete > 0.02 && complete < 1;
    double left_s = 0;
    if (simulated <= 0 || elapsed_s <= 0) {
        snprintf(out, SIM_SPAN_MAX + 16, "time left unknown");
        return;
    }
    if (facts->now < p->duration)
        left_s = (double)(p->duration - facts->now) / simulated * elapsed_s;
    if (by_nodes && elapsed_s * (1 - complete) / complete < left_s)
        left_s = elapsed_s * (1 - complete) / complete;
    sim_progress_span(left_s < 1e12 ? (sim_time)(left_s * 1e6) : SIM_NEVER, span);
    snprintf(out, SIM_SPAN_MAX + 16, "%s%s left", by_nodes ? "about " : p->ends_early ? "at most " : "", span);
}

void sim_progress_line(const struct sim_progress *p, const struct sim_run_facts *facts, double elapsed_s,
                       uint64_t events, char *out, size_t cap)
{
    char now[SIM_SPAN_MAX], duration[SIM_SPAN_MAX], left[SIM_SPAN_MAX + 16], bar[BAR + 1];
    const double share = done_share(p, facts);
    const double rate = elapsed_s > 0 ? (double)(facts->now - p->from) * 1e-6 / elapsed_s : 0;
    const double events_rate = elapsed_s > 0 ? (double)events / elapsed_s : 0;
    const double percent = facts->awaiting > 0 ? 100.0 * (double)facts->complete / (double)facts->awaiting : 0;
    sim_progress_span(facts->now, now);
    sim_progress_span(p->duration, duration);
    time_left(p, facts, elapsed_s, left);
    for (int i = 0; i < BAR; i++)
        bar[i] = i < (int)(share * BAR) ? '#' : '.';
    bar[BAR] = '\0';
    snprintf(out, cap, "%s%s%s%s of %s, %.0f%% complete, %.*fx real time, %.2f M events/s, %s",
             p->is_terminal ? "[" : "", p->is_terminal ? bar : "", p->is_terminal ? "] " : "", now, duration, percent,
             rate < 10 ? 2 : 0, rate, events_rate * 1e-6, left);
}

void sim_progress_tell(struct sim_progress *p, const struct sim_run_facts *facts, uint64_t events)
{
    char line[256];
    if (p->to == NULL)
        return;
    p->told_s = sim_progress_now();
    sim_progress_line(p, facts, p->told_s - p->began_s, events - p->events_at_start, line, sizeof line);
    if (p->is_terminal)
        fprintf(p->to, "\r%s\033[K", line);
    else
        fprintf(p->to, "%s\n", line);
    fflush(p->to);
    p->is_drawn = p->is_terminal;
}

void sim_progress_clear(struct sim_progress *p)
{
    if (p->to == NULL || !p->is_drawn)
        return;
    fputs("\r\033[K", p->to);
    fflush(p->to);
    p->is_drawn = false;
}
