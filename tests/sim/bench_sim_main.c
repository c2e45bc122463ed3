/*
 * bench-sim [RESULT.json]: how fast and how large the simulator is, with the real protocol code.
 *
 * The load is that of sim/scenarios/bench.ini: nodes in a disc, 20 others in range on average, each sending one SUMMARY
 * a second, neighbours known, 64 KB image, limits of a microcontroller. Worlds of 10^4, 10^5 and 10^6 nodes on one core,
 * each in a process of its own, so that its peak memory is its own; then 10^5 on one and on two ranks, in turns, the
 * best of each.
 *
 *   bench-sim --world N   one world, in this process; under mpirun on all its ranks. Prints one line of JSON on rank 0.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "sim/engine/parallel.h"
#include "sim/fleet/fleet.h"

#define SCENARIO "sim/scenarios/bench.ini"
#define WARMUP_US 2000000u /* simulated; until every table of neighbours is full */
#define LINE_MAX_BYTES 1024
#define TURNS 3 /* of one rank against two */

/* --- one world ---------------------------------------------------------------------------------------------------- */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static long rss_bytes(void)
{
    long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%ld %ld", &pages, &resident) != 2)
        resident = 0;
    fclose(f);
    return resident * sysconf(_SC_PAGESIZE);
}

static long peak_bytes(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_maxrss * 1024;
}

struct world {
    struct sim_scenario scenario;
    struct sim_field field;
    struct sim_engine *engine;
};

static int open_world(struct world *w, unsigned nodes)
{
    char error[512], set[64];
    const char *sets[] = {set};
    snprintf(set, sizeof set, "topology.nodes=%u", nodes);
    if (sim_scenario_read_with(&w->scenario, SCENARIO, sets, 1, error, sizeof error) != 0 ||
        sim_field_open(&w->field, &w->scenario, sim_parallel_rank(), sim_parallel_size(), error, sizeof error) != 0) {
        fprintf(stderr, "bench-sim: %s\n", error);
        return -1;
    }
    const struct sim_engine_config config = {
        .scenario = &w->scenario, .field = &w->field, .stack = sim_fleet_stack(), .seed = w->scenario.seed};
    w->engine = sim_engine_open(&config, error, sizeof error);
    if (w->engine == NULL)
        fprintf(stderr, "bench-sim: %s\n", error);
    return w->engine != NULL ? 0 : -1;
}

static uint64_t evaluations(const struct sim_totals *t)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < SIM_OUTCOME_COUNT; i++)
        sum += t->outcome[i];
    return sum;
}

/* Runs for about five seconds of wall clock after the warmup: long enough to time, short enough for a million nodes. */
#define TIMED_WALL_S 5.0
#define SLICE_US 250000u

static int run_world(unsigned nodes)
{
    static struct world w;
    struct sim_totals before, after;
    const long base = rss_bytes();
    if (open_world(&w, nodes) != 0 || sim_engine_advance(w.engine, WARMUP_US) != 0)
        return -1;
    sim_engine_totals(w.engine, &before);
    const double started = now_s();
    sim_time until = WARMUP_US;
    uint64_t is_over = 0;
    while (is_over == 0) {
        until += SLICE_US;
        if (sim_engine_advance(w.engine, until) != 0) {
            fprintf(stderr, "bench-sim: %s\n", sim_engine_error(w.engine));
            return -1;
        }
        is_over = sim_parallel_max(now_s() - started >= TIMED_WALL_S);
    }
    const double wall = now_s() - started, simulated = (double)(until - WARMUP_US) / 1e6;
    sim_engine_totals(w.engine, &after);
    uint64_t peak = (uint64_t)peak_bytes(), frames = 0;
    uint64_t used = peak > (uint64_t)base ? peak - (uint64_t)base : 0;
    sim_parallel_sum(&used, 1);
    for (unsigned i = 0; i < 16; i++)
        frames += after.frames[i] - before.frames[i];
    /* A benchmark of a world that does not do what it should is worth nothing. */
    const double per_node = (double)frames / nodes / simulated;
    if (per_node < 0.95 || per_node > 1.05) {
        fprintf(stderr, "bench-sim: %.3f frames a second and node, not 1\n", per_node);
        return -1;
    }
    if (sim_parallel_rank() == 0)
        printf("{\"realtime\": %.3f, \"evaluations_per_s\": %.0f, \"events_per_s\": %.0f, \"bytes_per_node\": %.0f, "
               "\"degree\": %.2f, \"heard_share\": %.4f}\n",
               simulated / wall, (double)(evaluations(&after) - evaluations(&before)) / wall,
               (double)(after.events - before.events) / wall, (double)used / nodes,
               (double)(evaluations(&after) - evaluations(&before)) / (double)frames,
               (double)(after.outcome[SIM_HEARD] - before.outcome[SIM_HEARD]) /
                   (double)(evaluations(&after) - evaluations(&before)));
    sim_engine_close(w.engine);
    sim_field_close(&w.field);
    sim_scenario_free(&w.scenario);
    return 0;
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

/* Runs a command and takes the last line it prints that is JSON. NULL after a message. */
static cJSON *ask(const char *command)
{
    char line[LINE_MAX_BYTES];
    cJSON *json = NULL;
    FILE *out = popen(command, "re");
    if (out == NULL) {
        fprintf(stderr, "bench-sim: %s: %s\n", command, strerror(errno));
        return NULL;
    }
    while (fgets(line, sizeof line, out) != NULL) {
        cJSON *got = cJSON_Parse(line);
        if (got != NULL) {
            cJSON_Delete(json);
            json = got;
        }
    }
    if (pclose(out) != 0 || json == NULL) {
        fprintf(stderr, "bench-sim: failed: %s\n", command);
        cJSON_Delete(json);
        return NULL;
    }
    return json;
}

static double number(const cJSON *json, const char *key)
{
    return cJSON_GetNumberValue(cJSON_GetObjectItem(json, key));
}

/* Speedup of two ranks: the best rate of each over several turns, so that a neighbour on the machine disturbs both
 * alike. Negative when MPI cannot be had. */
static double measure_ranks(const char *self)
{
    double best[2] = {0, 0};
    char command[1024];
    for (int turn = 0; turn < TURNS; turn++) {
        for (int ranks = 1; ranks <= 2; ranks++) {
            snprintf(command, sizeof command, "mpirun --allow-run-as-root --oversubscribe -np %d %s --world 100000",
                     ranks, self);
            cJSON *json = ask(command);
            if (json == NULL)
                return -1;
            const double rate = number(json, "realtime");
            if (rate > best[ranks - 1])
                best[ranks - 1] = rate;
            cJSON_Delete(json);
        }
    }
    printf("  10^5 on 1 rank %.2f, on 2 ranks %.2f times real time\n", best[0], best[1]);
    return best[1] / best[0];
}

static int run_all(const char *self, const char *path)
{
    static const struct {
        const char *key;
        unsigned nodes;
        double aim;
    } worlds[] = {{"n10000", 10000, 30}, {"n100000", 100000, 3}, {"n1000000", 1000000, 0.15}};
    cJSON *all = cJSON_CreateObject();
    char command[1024];
    int rc = 0;
    for (size_t i = 0; i < sizeof worlds / sizeof worlds[0] && rc == 0; i++) {
        snprintf(command, sizeof command, "%s --world %u", self, worlds[i].nodes);
        cJSON *one = ask(command);
        if (one == NULL) {
            rc = 1;
            break;
        }
        printf("  %7u nodes: %8.3f times real time (aim %g), %.1f M evaluations/s, %.2f M events/s, %.0f B a node\n",
               worlds[i].nodes, number(one, "realtime"), worlds[i].aim, number(one, "evaluations_per_s") / 1e6,
               number(one, "events_per_s") / 1e6, number(one, "bytes_per_node"));
        (void)cJSON_AddItemToObject(all, worlds[i].key, one);
    }
    if (rc == 0 && sim_parallel_is_built()) {
        const double speedup = measure_ranks(self);
        if (speedup < 0)
            rc = 1;
        else
            printf("  two ranks over one: %.2f (aim 1.6)\n", speedup);
        (void)cJSON_AddNumberToObject(all, "ranks2_speedup", speedup);
    }
    char *text = cJSON_Print(all);
    cJSON_Delete(all);
    FILE *out = text != NULL && path != NULL ? fopen(path, "we") : NULL;
    if (path != NULL && (out == NULL || fprintf(out, "%s\n", text) < 0)) {
        fprintf(stderr, "bench-sim: %s: %s\n", path, strerror(errno));
        rc = 1;
    }
    if (out != NULL && fclose(out) != 0)
        rc = 1;
    free(text);
    return rc;
}

int main(int argc, char **argv)
{
    if (sim_parallel_init(&argc, &argv) != 0)
        return 1;
    int rc = 2;
    if (argc == 3 && strcmp(argv[1], "--world") == 0) {
        char *end;
        const unsigned long nodes = strtoul(argv[2], &end, 10);
        if (*end == '\0' && nodes >= 100 && nodes <= SIM_NODES_MAX)
            rc = run_world((unsigned)nodes) == 0 ? 0 : 1;
    } else if (argc <= 2 && (argc == 1 || argv[1][0] != '-')) {
        setvbuf(stdout, NULL, _IOLBF, 0);
        rc = run_all(argv[0], argc == 2 ? argv[1] : NULL);
    }
    if (rc == 2)
        fputs("usage: bench-sim [RESULT.json] | bench-sim --world NODES\n", stderr);
    sim_parallel_finish();
    return rc;
}
