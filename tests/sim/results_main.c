/*
 * results [--quick|--small] FOLDER RESULT.json RESULTS.md: the protocol's figures, from sweeps of the shipped scenarios.
 *
 * Every figure is the median (shares: the mean) over seeds fixed here, with its 95 % interval. Sweeps are idempotent: a
 * run that is there already is not run again, so that an interrupted table is finished by calling it again. --quick
 * takes few seeds: to see whether everything works. --small leaves the fleets of 10,000 nodes out, most of the time.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/object/tree.h"
#include "runs.h"
#include "sim/field/field.h"

#define EVENT_S 0.025 /* one advertising event and node: 20 ms and 5 ms of mean random delay */
#define SEEDS_MAX 1024
#define PATH 1024

struct table {
    const char *folder;
    const char *program;
    bool is_quick, is_small;
    cJSON *json;
    FILE *md;
    struct run_figures runs[SEEDS_MAX];
    double value[SEEDS_MAX];
};

struct sweep {
    const char *name, *scenario, *stack;
    unsigned seeds, quick_seeds;
    const char *sets[6];
};

/* --- running ------------------------------------------------------------------------------------------------------ */

/* Runs a sweep and reads its runs into t->runs: their number, or -1. */
static int sweep(struct table *t, const struct sweep *s)
{
    char scenario[PATH], out[PATH], seeds[32], log[PATH], params[8][128];
    const char *argv[40];
    size_t n = 0, p = 0;
    const unsigned count = t->is_quick ? s->quick_seeds : s->seeds;
    snprintf(scenario, sizeof scenario, "sim/scenarios/%s.ini", s->scenario);
    snprintf(out, sizeof out, "%s/%s", t->folder, s->name);
    snprintf(log, sizeof log, "%s/%s.log", t->folder, s->name);
    snprintf(seeds, sizeof seeds, "1-%u", count);
    argv[n++] = t->program;
    argv[n++] = "sweep";
    argv[n++] = scenario;
    argv[n++] = "--seeds";
    argv[n++] = seeds;
    argv[n++] = "--out";
    argv[n++] = out;
    snprintf(params[p], sizeof params[p], "run.stack=%s", s->stack);
    argv[n++] = "--param";
    argv[n++] = params[p++];
    for (size_t i = 0; i < sizeof s->sets / sizeof s->sets[0] && s->sets[i] != NULL; i++) {
        argv[n++] = "--param";
        argv[n++] = s->sets[i];
    }
    argv[n] = NULL;
    printf("  %s: %u seeds\n", s->name, count);
    fflush(stdout);
    if (runs_wait(runs_start(argv, log), log) != 0)
        return -1;
    const int got = runs_scan(out, t->runs, SEEDS_MAX);
    if (got >= 0 && (unsigned)got < count) {
        fprintf(stderr, "%s: %d of %u runs\n", s->name, got, count);
        return -1;
    }
    return got;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void put(struct table *t, const char *key, struct runs_interval v)
{
    cJSON *one = cJSON_AddObjectToObject(t->json, key);
    (void)cJSON_AddNumberToObject(one, "value", v.middle);
    (void)cJSON_AddNumberToObject(one, "low", v.low);
    (void)cJSON_AddNumberToObject(one, "high", v.high);
}

static void __attribute__((format(printf, 2, 3))) say(struct table *t, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vfprintf(t->md, format, list);
    va_end(list);
}

static void row(struct table *t, const char *what, const char *key, struct runs_interval v, const char *aim)
{
    put(t, key, v);
    say(t, "| %s | `%s` | %.4g | %.4g to %.4g | %s |\n", what, key, v.middle, v.low, v.high, aim);
    printf("    %s = %.4g (%.4g to %.4g)\n", key, v.middle, v.low, v.high);
}

/* --- figures ------------------------------------------------------------------------------------------------------ */

/* (k + D) * t / (1 - loss): chunks of image and tree, hops of the farthest node, one event a chunk. Negative on error.
 * *idle_mj: what a node that listens all the time uses before the release. */
static double floor_s(const char *name, double *idle_mj)
{
    static struct sim_scenario s;
    struct sim_field f;
    struct mp_tree tree;
    char path[PATH], error[512];
    uint32_t gateways[64];
    uint16_t *hops = NULL, depth = 0;
    double result = -1;
    snprintf(path, sizeof path, "sim/scenarios/%s.ini", name);
    if (sim_scenario_read(&s, path, error, sizeof error) != 0) {
        fprintf(stderr, "%s\n", error);
        return -1;
    }
    if (sim_field_open(&f, &s, 0, 1, error, sizeof error) != 0) {
        fprintf(stderr, "%s\n", error);
        goto out;
    }
    const uint32_t n = sim_field_gateways(&f, gateways, 64);
    hops = calloc(f.count, sizeof *hops);
    if (hops == NULL || mp_tree_init(&tree, s.release[0].size_bytes) != 0 ||
        sim_field_hops(&f, gateways, n, hops, NULL) != 0)
        goto out;
    for (uint32_t i = 0; i < f.count; i++)
        if (hops[i] != UINT16_MAX && hops[i] > depth)
            depth = hops[i];
    *idle_mj = s.energy.voltage_mv * 1e-3 * s.energy.rx_ua * 1e-3 * (double)s.run.warmup_us * 1e-6;
    result = (tree.positions + depth) * EVENT_S / (1 - s.loss_ppm / 1e6);
    printf("    %s: k %u, D %u, floor %.2f s\n", name, tree.positions, depth, result);
out:
    free(hops);
    sim_field_close(&f);
    sim_scenario_free(&s);
    return result;
}

static struct runs_interval median_of(struct table *t, int n, double (*figure)(const struct run_figures *, double),
                                      double by)
{
    for (int i = 0; i < n; i++)
        t->value[i] = figure(&t->runs[i], by);
    return runs_median(t->value, (size_t)n);
}

static double last_over(const struct run_figures *r, double by)
{
    return r->last_s < 0 ? INFINITY : r->last_s / by;
}

static double control_share(const struct run_figures *r, double by)
{
    return by * (r->frames - r->chunk_frames) / r->frames;
}

static double energy(const struct run_figures *r, double idle_mj)
{
    return r->energy_mj - idle_mj;
}

static double idle_frames(const struct run_figures *r, double by)
{
    return r->all_frames / (r->nodes + by) / (r->simulated_s / 3600);
}

static int spread_figures(struct table *t, double *ours_mj, double *idle_mj)
{
    static const struct sweep office = {"office-100", "office-100", "mesh", 10, 3, {NULL}},
                              large = {"office-1000", "office-1000", "mesh", 10, 2, {NULL}},
                              lossy = {"office-100-loss-50", "office-100", "mesh", 10, 3, {"radio.frame_loss=50 %"}};
    const double least = floor_s("office-100", idle_mj);
    int n = least > 0 ? sweep(t, &office) : -1;
    if (n < 0)
        return -1;
    row(t, "256 KB to 100 nodes over 5 hops at 10 % loss: last node over the floor", "office100_ratio",
        median_of(t, n, last_over, least), "at most 1.8");
    const struct runs_interval small = median_of(t, n, last_over, 1);
    row(t, "the same, seconds to the last node", "office100_s", small, "");
    row(t, "frames that are no CHUNK, first frame to last node", "control_share", median_of(t, n, control_share, 1),
        "at most 0.10");
    const struct runs_interval mj = median_of(t, n, energy, *idle_mj);
    row(t, "energy of a node from the release to the last one that has it, mJ", "energy_mj", mj, "");
    *ours_mj = mj.middle;
    n = sweep(t, &large);
    if (n < 0)
        return -1;
    row(t, "1,000 nodes at the same diameter over 100 nodes", "t1000_over_t100",
        median_of(t, n, last_over, small.middle), "at most 1.2");
    n = sweep(t, &lossy);
    if (n < 0)
        return -1;
    for (int i = 0; i < n; i++)
        t->value[i] = t->runs[i].complete / t->runs[i].nodes;
    row(t, "share of nodes that finish at 50 % loss", "loss50_complete", runs_mean(t->value, (size_t)n), "1");
    return 0;
}

static int idle_figures(struct table *t)
{
    static const struct sweep idle = {"idle-week", "idle-week", "mesh", 10, 1, {NULL}};
    const int n = sweep(t, &idle);
    if (n < 0)
        return -1;
    row(t, "frames a node sends in an idle hour", "idle_frames_per_hour", median_of(t, n, idle_frames, 1), "at most 6");
    return 0;
}

static int baseline_figures(struct table *t, double ours_mj, double idle_mj)
{
    static const struct {
        struct sweep sweep;
        const char *title;
    } others[] = {
        {{"office-100-flood", "office-100", "flood", 10, 2, {"run.duration=6 h", "baseline.flood_repeats=10"}},
         "flooding, ten rounds"},
        {{"office-100-unicast", "office-100", "unicast", 10, 2, {"run.duration=48 h"}}, "unicast"},
        {{"office-100-deluge", "office-100", "deluge", 10, 2, {"run.duration=6 h"}}, "Deluge (802.15.4)"},
        {{"office-100-deluge-ble", "office-100", "deluge-ble", 10, 2, {"run.duration=6 h"}}, "Deluge (the same radio)"},
        {{"office-100-mesh-dfu", "office-100", "mesh-dfu", 10, 1, {"run.duration=24 h"}}, "mesh DFU"},
    };
    char key[64];
    say(t, "\n## Others in the same building\n\n256 KB in `office-100`, each by its own rules (docs/SIMULATOR.md), "
           "median of seeds; "
           "`inf`: some node never had it all.\n\n| | last node, s | nodes that have it | frames, thousands | energy "
           "of a node, mJ | energy over ours |\n"
           "|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const int n = sweep(t, &others[i].sweep);
        if (n < 0)
            return -1;
        const struct runs_interval last = median_of(t, n, last_over, 1), mj = median_of(t, n, energy, idle_mj);
        const struct runs_interval ratio = {mj.middle / ours_mj, mj.low / ours_mj, mj.high / ours_mj};
        double complete = 0, frames = 0;
        for (int k = 0; k < n; k++) {
            complete += t->runs[k].complete / t->runs[k].nodes / n;
            frames += t->runs[k].all_frames / n / 1e3;
        }
        say(t, "| %s | %.4g (%.4g to %.4g) | %.2f %% | %.0f | %.4g | %.3g (%.3g to %.3g) |\n", others[i].title,
            last.middle, last.low, last.high, complete * 100, frames, mj.middle, ratio.middle, ratio.low, ratio.high);
        snprintf(key, sizeof key, "energy_ratio_%s", others[i].sweep.stack);
        for (char *c = key; *c != '\0'; c++)
            if (*c == '-')
                *c = '_';
        put(t, key, ratio);
        printf("    %s = %.4g, last node %.4g s\n", key, ratio.middle, last.middle);
    }
    return 0;
}

static int exposure_figures(struct table *t)
{
    static const char *const kinds[] = {"crash", "selftest", "hang", "mute", "brick", "degrade"};
    char set[2][64], name[64], key[64];
    say(t,
        "\n## How far a bad image gets\n\nShare of the fleet that ever booted it under the policy of `bad-release` "
        "(docs/SIMULATOR.md), mean over seeds%s.\n\n"
        "| kind | nodes | exposure | 95 %% interval | worst seed |\n|---|---|---|---|---|\n",
        t->is_small ? "; fleets of 10,000 nodes were left out of this run" : "");
    cJSON *parent = t->json;
    cJSON *all[2] = {cJSON_AddObjectToObject(parent, "exposure"),
                     t->is_small ? NULL : cJSON_AddObjectToObject(parent, "exposure10k")};
    for (unsigned large = 0; large < (t->is_small ? 1u : 2u); large++) {
        for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
            snprintf(name, sizeof name, "bad-%s%s", kinds[k], large ? "-10k" : "");
            snprintf(set[0], sizeof set[0], "release 2.fault=%s", kinds[k]);
            const struct sweep s = {name,           large ? "bad-release-10k" : "bad-release",
                                    "mesh",         large ? 20 : 1000,
                                    large ? 1 : 10, {set[0], "run.rows=none"}};
            const int n = sweep(t, &s);
            double worst = 0;
            if (n < 0)
                return -1;
            for (int i = 0; i < n; i++) {
                t->value[i] = t->runs[i].installed / t->runs[i].nodes;
                worst = t->value[i] > worst ? t->value[i] : worst;
            }
            const struct runs_interval v = runs_mean(t->value, (size_t)n);
            t->json = all[large];
            snprintf(key, sizeof key, "%s", kinds[k]);
            put(t, key, v);
            t->json = parent;
            say(t, "| %s | %.0f | %.2f %% | %.2f to %.2f %% | %.2f %% |\n", kinds[k], t->runs[0].nodes, v.middle * 100,
                v.low * 100, v.high * 100, worst * 100);
            printf("    exposure.%s = %.4f (worst %.4f)\n", kinds[k], v.middle, worst);
        }
    }
    return 0;
}

static int make_table(struct table *t)
{
    double ours_mj = 0, idle_mj = 0;
    say(t,
        "# Results\n\nWritten by `make results`; the simulator, its models and what they leave out are in "
        "[SIMULATOR.md](SIMULATOR.md). Each figure is the median over its seeds with an interval that holds the true "
        "median with at least 95 %% (shares: mean and Student's t)%s.\n\n| what | key | figure | 95 %% interval | aim "
        "|\n|---|---|---|---|---|\n",
        t->is_quick ? "; **a quick look with few seeds**" : "");
    if (spread_figures(t, &ours_mj, &idle_mj) != 0 || idle_figures(t) != 0 ||
        baseline_figures(t, ours_mj, idle_mj) != 0)
        return -1;
    return exposure_figures(t);
}

int main(int argc, char **argv)
{
    static struct table t;
    char program[PATH];
    const char *build = getenv("BUILD");
    t.is_quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    t.is_small = argc > 1 && strcmp(argv[1], "--small") == 0;
    argv += t.is_quick || t.is_small;
    argc -= t.is_quick || t.is_small;
    if (argc != 4) {
        fputs("usage: results [--quick|--small] FOLDER RESULT.json RESULTS.md\n", stderr);
        return 2;
    }
    snprintf(program, sizeof program, "%s/bin/meshsim", build != NULL ? build : "build");
    t.program = program;
    t.folder = argv[1];
    t.json = cJSON_CreateObject();
    char part[PATH];
    snprintf(part, sizeof part, "%.1000s.part", argv[3]);
    if ((mkdir(t.folder, 0755) != 0 && errno != EEXIST) || (t.md = fopen(part, "we")) == NULL) {
        fprintf(stderr, "results: %s: %s\n", argv[3], strerror(errno));
        return 1;
    }
    int rc = make_table(&t) == 0 ? 0 : 1;
    if (fclose(t.md) != 0 || (rc == 0 && rename(part, argv[3]) != 0)) {
        fprintf(stderr, "results: %s: %s\n", argv[3], strerror(errno));
        rc = 1;
    }
    char *text = cJSON_Print(t.json);
    FILE *out = rc == 0 ? fopen(argv[2], "we") : NULL;
    if (rc == 0 && (out == NULL || fprintf(out, "%s\n", text) < 0)) {
        fprintf(stderr, "results: %s: %s\n", argv[2], strerror(errno));
        rc = 1;
    }
    if (out != NULL && fclose(out) != 0)
        rc = 1;
    free(text);
    cJSON_Delete(t.json);
    return rc;
}
