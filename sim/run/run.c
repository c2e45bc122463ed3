/* `meshsim run`. */
#include "run.h"

#include "checkpoint.h"
#include "progress.h"
#include "sim/baseline/baseline.h"
#include "sim/engine/parallel.h"
#include "sim/fleet/fleet.h"
#include "watch.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE_S 0.5           /* wall time that a piece of a slice should take */
#define FIRST_PIECE_US 10000u /* of simulated time */
#define LEAST_PIECE_US 1000u

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

/* One run on this rank. */
struct run {
    struct sim_run_options options;
    struct sim_scenario scenario;
    struct sim_field field;
    const struct sim_stack *stack;
    struct sim_result *result; /* NULL with --no-result */
    struct sim_watch watch;
    struct sim_engine *engine;
    struct sim_checkpoint checkpoint;
    struct sim_progress progress;
    struct sim_run_facts facts;
    sim_time piece_us;
    double checkpoint_at_s; /* of the last one */
    char dir[1200];
    char error[512];
    bool has_scenario, has_field, has_watch;
};

static bool is_first(void)
{
    return sim_parallel_rank() == 0;
}

/* --- signals ------------------------------------------------------------------------------------------------------ */

static volatile sig_atomic_t signals;
static char notice[1400]; /* what the first one is answered with; empty: nothing */

static void on_signal(int number)
{
    if (signals++ > 0)
        _exit(128 + number);
    if (write(STDERR_FILENO, notice, strlen(notice)) < 0)
        return; /* nobody listens */
}

static void catch_signals(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* --- errors ------------------------------------------------------------------------------------------------------- */

/* Collective: 0 when no rank failed. Rank 0 says what it knows; others only when rank 0 knows of nothing. */
static int agree(struct run *r, int rc)
{
    uint64_t first_failed = is_first() && rc != 0;
    if (sim_parallel_max(rc != 0) == 0)
        return 0;
    sim_parallel_broadcast(&first_failed, sizeof first_failed);
    if (rc != 0 && r->error[0] != '\0' && (is_first() || !first_failed)) {
        sim_progress_clear(&r->progress);
        fprintf(stderr, "meshsim: %s\n", r->error);
    }
    return -1;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

const struct sim_stack *sim_run_stack(const struct sim_scenario *s)
{
    switch (s->run.stack) {
    case SIM_RUN_MESH:
    case SIM_RUN_IDLE_LOAD:
        return sim_fleet_stack();
    case SIM_RUN_FLOOD:
        return sim_baseline_flood();
    case SIM_RUN_UNICAST:
        return sim_baseline_unicast();
    case SIM_RUN_DELUGE:
        return sim_baseline_deluge();
    case SIM_RUN_DELUGE_BLE:
        return sim_baseline_deluge_extended();
    case SIM_RUN_MESH_DFU:
        return sim_baseline_mesh_dfu();
    }
    return NULL;
}

const char *sim_run_stack_name(enum sim_stack_kind kind)
{
    static const char *const names[] = {
        [SIM_RUN_MESH] = "mesh",          [SIM_RUN_FLOOD] = "flood",           [SIM_RUN_UNICAST] = "unicast",
        [SIM_RUN_DELUGE] = "deluge",      [SIM_RUN_DELUGE_BLE] = "deluge-ble", [SIM_RUN_MESH_DFU] = "mesh-dfu",
        [SIM_RUN_IDLE_LOAD] = "idle-load"};
    return names[kind];
}

static int read_scenario(struct run *r)
{
    struct sim_run_options *o = &r->options;
    if (sim_scenario_read_with(&r->scenario, o->scenario, o->set, o->set_count, r->error, sizeof r->error) != 0)
        return -1;
    r->has_scenario = true;
    if (o->has_seed && sim_scenario_reseed(&r->scenario, o->seed) != 0) {
        snprintf(r->error, sizeof r->error, "out of memory for the scenario");
        return -1;
    }
    r->stack = sim_run_stack(&r->scenario);
    if (o->out[0] != '\0')
        snprintf(r->dir, sizeof r->dir, "%s", o->out);
    else
        snprintf(r->dir, sizeof r->dir, "results/%s-%s-%" PRIu64, r->scenario.name,
                 sim_run_stack_name(r->scenario.run.stack), r->scenario.seed);
    return 0;
}

static int open_field(struct run *r)
{
    r->has_field = true;
    return sim_field_open(&r->field, &r->scenario, sim_parallel_rank(), sim_parallel_size(), r->error, sizeof r->error);
}

/* Collective, as are the engine's and the result's open: a rank that fails does so with all others. */
static int open_world(struct run *r)
{
    struct sim_engine_hooks hooks = {0};
    if (r->options.resume) {
        snprintf(r->error, sizeof r->error, "%.400s: nothing to resume: not every rank has a checkpoint here", r->dir);
        if (agree(r, sim_checkpoint_exists(r->dir) ? 0 : -1) != 0)
            return -1;
    }
    if (!r->options.no_result) {
        r->result =
            sim_result_open(r->dir, &r->scenario, &r->field, r->stack, r->scenario.seed, r->error, sizeof r->error);
        if (agree(r, r->result == NULL ? -1 : 0) != 0)
            return -1;
        hooks = sim_result_hooks(r->result);
    }
    r->has_watch = true;
    if (sim_watch_open(&r->watch, &r->scenario, &r->field, &hooks) != 0) {
        snprintf(r->error, sizeof r->error, "out of memory for what is awaited");
        return agree(r, -1);
    }
    const struct sim_engine_config config = {.scenario = &r->scenario,
                                             .field = &r->field,
                                             .stack = r->stack,
                                             .seed = r->scenario.seed,
                                             .hooks = sim_watch_hooks(&r->watch)};
    r->engine = sim_engine_open(&config, r->error, sizeof r->error);
    if (agree(r, r->engine == NULL ? -1 : 0) != 0)
        return -1;
    int rc = sim_watch_start(&r->watch, r->engine);
    if (rc != 0)
        snprintf(r->error, sizeof r->error, "out of memory for what is awaited");
    return agree(r, rc);
}

/* The world as it was left, or its first sample. */
static int begin(struct run *r)
{
    struct sim_totals totals;
    r->checkpoint = (struct sim_checkpoint){.dir = r->dir,
                                            .scenario = &r->scenario,
                                            .stack = r->stack,
                                            .seed = r->scenario.seed,
                                            .engine = r->engine,
                                            .result = r->result,
                                            .watch = &r->watch};
    int rc = 0;
    if (r->options.resume)
        rc = sim_checkpoint_read(&r->checkpoint, r->error, sizeof r->error);
    else if (r->result != NULL) {
        sim_checkpoint_remove(&r->checkpoint); /* what it belongs to is replaced now */
        rc = sim_result_sample(r->result, r->engine);
        if (rc != 0)
            snprintf(r->error, sizeof r->error, "%s", sim_result_error(r->result));
    }
    if (agree(r, rc) != 0)
        return -1;
    sim_engine_totals(r->engine, &totals);
    sim_progress_open(&r->progress, is_first() && !r->options.quiet ? stderr : NULL, &r->scenario,
                      sim_engine_now(r->engine), totals.events);
    r->checkpoint_at_s = sim_progress_now();
    r->piece_us = FIRST_PIECE_US;
    return 0;
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

/* What all ranks agree on between two pieces. */
struct orders {
    uint64_t stop;       /* a rank got a signal */
    uint64_t checkpoint; /* rank 0: it is time */
    uint64_t tell;       /* rank 0: progress is due */
    uint64_t piece_us;   /* rank 0 */
};

static void agree_on_orders(struct run *r, double took_s, sim_time took_us, struct orders *orders)
{
    *orders = (struct orders){.stop = signals > 0};
    if (is_first()) {
        double piece_us = took_s > 0 ? (double)took_us * PIECE_S / took_s : 1e12;
        if (piece_us > (double)r->piece_us * 4)
            piece_us = (double)r->piece_us * 4;
        orders->piece_us = piece_us < LEAST_PIECE_US ? LEAST_PIECE_US
                           : piece_us < 1e12         ? (uint64_t)piece_us
                                                     : UINT64_C(1000000000000);
        orders->tell = sim_progress_is_due(&r->progress);
        orders->checkpoint = r->options.checkpoint_us != 0 &&
                             (sim_progress_now() - r->checkpoint_at_s) * 1e6 >= (double)r->options.checkpoint_us;
    }
    _Static_assert(sizeof *orders % sizeof(uint64_t) == 0, "one array");
    sim_parallel_sum((uint64_t *)(void *)orders, sizeof *orders / sizeof(uint64_t));
    r->piece_us = orders->piece_us;
}

static void tell_progress(struct run *r)
{
    struct sim_totals totals;
    sim_watch_facts(&r->watch, r->engine, &r->facts);
    sim_engine_totals(r->engine, &totals);
    sim_progress_tell(&r->progress, &r->facts, totals.events);
}

/* A checkpoint that cannot be written is no reason to end: the run itself may well. */
static int write_checkpoint(struct run *r)
{
    char why[400];
    int rc = sim_checkpoint_write(&r->checkpoint, why, sizeof why);
    if (rc != 0 && why[0] != '\0') {
        sim_progress_clear(&r->progress);
        fprintf(stderr, "meshsim: no checkpoint: %s\n", why);
    }
    r->checkpoint_at_s = sim_progress_now();
    return rc;
}

/* The end of the sample period that `now` lies in, or of the run. */
static sim_time slice_end(const struct run *r, sim_time now)
{
    const struct sim_run *run = &r->scenario.run;
    sim_time end = now - now % run->sample_us + run->sample_us;
    if (end > run->duration_us)
        end = run->duration_us;
    return end < r->options.until ? end : r->options.until;
}

/* Up to `end`, in pieces. 0; 1: a signal came; -1: failed. */
static int run_slice(struct run *r, sim_time end)
{
    while (sim_engine_now(r->engine) < end) {
        struct orders orders;
        const sim_time now = sim_engine_now(r->engine);
        const sim_time to = end - now > r->piece_us ? now + r->piece_us : end;
        const double began_s = sim_progress_now();
        if (sim_engine_advance(r->engine, to) != 0) {
            snprintf(r->error, sizeof r->error, "%s", sim_engine_error(r->engine));
            return -1;
        }
        agree_on_orders(r, sim_progress_now() - began_s, to - now, &orders);
        if (orders.tell)
            tell_progress(r);
        if (orders.stop > 0)
            return 1;
        if (orders.checkpoint)
            (void)write_checkpoint(r);
    }
    return 0;
}

enum outcome { OUTCOME_ENDED, OUTCOME_INTERRUPTED, OUTCOME_UNTIL, OUTCOME_FAILED };

static enum outcome run_on(struct run *r, enum sim_run_end *end)
{
    for (;;) {
        sim_watch_facts(&r->watch, r->engine, &r->facts);
        *end = sim_watch_decide(&r->scenario, &r->facts);
        if (*end != SIM_RUN_GOES_ON)
            return OUTCOME_ENDED;
        if (r->facts.now >= r->options.until)
            return OUTCOME_UNTIL;
        int rc = run_slice(r, slice_end(r, r->facts.now));
        if (rc != 0)
            return rc > 0 ? OUTCOME_INTERRUPTED : OUTCOME_FAILED;
        const sim_time now = sim_engine_now(r->engine);
        const bool is_sample = now % r->scenario.run.sample_us == 0 || now >= r->scenario.run.duration_us;
        if (r->result != NULL && is_sample && sim_result_sample(r->result, r->engine) != 0) {
            snprintf(r->error, sizeof r->error, "%s", sim_result_error(r->result));
            return OUTCOME_FAILED;
        }
    }
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

static void print_line(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void print_line(const char *name, const char *format, ...)
{
    va_list arguments;
    printf("  %-22s", name);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

static void print_table(const struct run *r, const char *ended)
{
    const struct sim_headline *h = sim_result_headline(r->result);
    char first[SIM_SPAN_MAX], median[SIM_SPAN_MAX], last[SIM_SPAN_MAX], now[SIM_SPAN_MAX];
    sim_progress_span(h->first, first);
    sim_progress_span(h->median, median);
    sim_progress_span(h->last, last);
    sim_progress_span(r->facts.now, now);
    printf("%s, %s, seed %" PRIu64 ": %s after %s\n", r->scenario.name, r->stack->name, r->scenario.seed, ended, now);
    print_line("nodes complete", "%" PRIu32 " of %" PRIu32, h->complete, h->nodes);
    print_line("first, median, last", "%s, %s, %s", first, median, last);
    print_line("frames", "%" PRIu64 ", of them chunks %" PRIu64, h->frames, h->chunk_frames);
    print_line("bytes", "%" PRIu64, h->bytes);
    print_line("installed, confirmed", "%" PRIu32 ", %" PRIu32, h->installed, h->confirmed);
    print_line("rolled back, down", "%" PRIu32 ", %" PRIu32, h->rolled_back, h->down);
    print_line("energy of a node", "%.3f J", (double)h->energy_mean_uj * 1e-6);
    print_line("results", "%s", r->dir);
}

/* Totals cost a round among the ranks, so they come before. */
static void print_digest(const struct sim_totals *totals)
{
    printf("digest: %016" PRIx64 "%016" PRIx64 "\n", totals->digest[0], totals->digest[1]);
    fflush(stdout);
}

static int end_result(struct run *r, const char *ended)
{
    if (r->result == NULL)
        return 0;
    int rc = sim_result_close(r->result, r->engine, ended);
    if (rc != 0 && r->error[0] == '\0')
        snprintf(r->error, sizeof r->error, "%s", sim_result_error(r->result));
    return rc;
}

static int finish(struct run *r, enum outcome outcome, enum sim_run_end end)
{
    struct sim_totals totals;
    char ended[600];
    const bool is_cut = outcome == OUTCOME_INTERRUPTED || outcome == OUTCOME_UNTIL;
    int saved = 0;
    if (outcome == OUTCOME_FAILED)
        snprintf(ended, sizeof ended, "failed: %s", r->error);
    else
        snprintf(ended, sizeof ended, "%s", is_cut ? "interrupted" : sim_watch_word(end));
    if (is_cut && r->result != NULL)
        saved = write_checkpoint(r);
    sim_watch_facts(&r->watch, r->engine, &r->facts);
    sim_engine_totals(r->engine, &totals);
    int rc = end_result(r, ended);
    sim_progress_clear(&r->progress);
    if (agree(r, outcome == OUTCOME_FAILED || rc != 0 ? -1 : 0) != 0) {
        if (is_first() && r->result != NULL)
            fprintf(stderr, "meshsim: results so far are in %s\n", r->dir);
        return EXIT_FAILED;
    }
    if (outcome == OUTCOME_ENDED && r->result != NULL)
        sim_checkpoint_remove(&r->checkpoint);
    if (is_first()) {
        if (r->result != NULL && !r->options.quiet)
            print_table(r, ended);
        print_digest(&totals);
        if (is_cut && r->result != NULL)
            fprintf(stderr, "meshsim: results so far are in %s%s\n", r->dir,
                    saved == 0 ? "; --resume goes on from here" : "");
    }
    return saved != 0 ? EXIT_FAILED : outcome == OUTCOME_INTERRUPTED ? EXIT_INTERRUPTED : EXIT_DONE;
}

static void close_all(struct run *r)
{
    sim_engine_close(r->engine);
    sim_result_free(r->result);
    if (r->has_watch)
        sim_watch_close(&r->watch);
    if (r->has_field)
        sim_field_close(&r->field);
    if (r->has_scenario)
        sim_scenario_free(&r->scenario);
    sim_run_options_free(&r->options);
}

static int run_world(struct run *r)
{
    enum sim_run_end end = SIM_RUN_GOES_ON;
    if (agree(r, read_scenario(r)) != 0)
        return EXIT_USAGE;
    if (agree(r, open_field(r)) != 0 || open_world(r) != 0)
        return EXIT_FAILED;
    notice[0] = '\0';
    if (is_first())
        snprintf(notice, sizeof notice, "\nmeshsim: stopping%s%s; once more to stop at once\n",
                 r->result != NULL ? "; results so far are in " : "", r->result != NULL ? r->dir : "");
    catch_signals(on_signal);
    int status = EXIT_FAILED;
    if (begin(r) == 0) {
        r->error[0] = '\0'; /* some fill it in before they know */
        enum outcome outcome = run_on(r, &end);
        status = finish(r, outcome, end);
    }
    catch_signals(SIG_DFL);
    return status;
}

int sim_run_command(int argc, char **argv)
{
    static struct run run; /* large, and one at a time */
    memset(&run, 0, sizeof run);
    signals = 0;
    int rc = sim_run_options_get(&run.options, argc, argv, run.error, sizeof run.error), status = EXIT_USAGE;
    if (rc > 0) {
        if (is_first())
            fputs(sim_run_help, stdout);
        status = EXIT_DONE;
    } else if (rc < 0) {
        if (is_first())
            fprintf(stderr, "meshsim run: %s; see meshsim run --help\n", run.error);
    } else {
        status = run_world(&run);
    }
    close_all(&run);
    return status;
}
