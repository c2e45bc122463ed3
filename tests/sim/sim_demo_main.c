/*
 * sim-demo FOLDER: one building, one image, five ways to get it to everybody, and a bad release.
 *
 * Runs office-100 with this project's nodes and with every baseline in the same radio, and bad-release with an image
 * that crashes at boot, two runs at a time; writes FOLDER/report.html and prints the comparison.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runs.h"

#define PATH 1024
#define AT_ONCE 2

static const struct {
    const char *name, *title, *scenario;
    const char *sets[4];
} RUNS[] = {
    {"mesh-dfu", "mesh DFU push", "office-100", {"run.stack=mesh-dfu", "run.duration=24 h"}},
    {"unicast", "unicast over relays", "office-100", {"run.stack=unicast", "run.duration=48 h"}},
    {"deluge", "Deluge, 802.15.4", "office-100", {"run.stack=deluge", "run.duration=12 h"}},
    {"mesh", "this project", "office-100", {"run.stack=mesh"}},
    {"deluge-ble", "Deluge, same radio", "office-100", {"run.stack=deluge-ble", "run.duration=12 h"}},
    {"flood",
     "flooding, 10 rounds",
     "office-100",
     {"run.stack=flood", "run.duration=1 h", "baseline.flood_repeats=10"}},
    {"bad-release", "a bad release", "bad-release", {"release 2.fault=crash"}},
};
#define RUN_COUNT (sizeof RUNS / sizeof RUNS[0])

struct demo {
    const char *folder, *program;
    int pid[RUN_COUNT];
};

static void log_path(const struct demo *d, size_t i, char *path)
{
    snprintf(path, PATH, "%s/%s.log", d->folder, RUNS[i].name);
}

static int start(struct demo *d, size_t i)
{
    char scenario[PATH], out[PATH], log[PATH];
    const char *argv[32];
    size_t n = 0;
    snprintf(scenario, sizeof scenario, "sim/scenarios/%s.ini", RUNS[i].scenario);
    snprintf(out, sizeof out, "%s/%s", d->folder, RUNS[i].name);
    log_path(d, i, log);
    (void)remove(log);
    argv[n++] = d->program;
    argv[n++] = "run";
    argv[n++] = scenario;
    argv[n++] = "--out";
    argv[n++] = out;
    for (size_t k = 0; k < 4 && RUNS[i].sets[k] != NULL; k++) {
        argv[n++] = "--set";
        argv[n++] = RUNS[i].sets[k];
    }
    argv[n] = NULL;
    d->pid[i] = runs_start(argv, log);
    return d->pid[i] < 0 ? -1 : 0;
}

static int finish(const struct demo *d, size_t i)
{
    char log[PATH];
    log_path(d, i, log);
    const int rc = runs_wait(d->pid[i], log);
    if (rc == 0)
        printf("  %s: done\n", RUNS[i].title);
    fflush(stdout);
    return rc;
}

static int run_all(struct demo *d)
{
    int rc = 0;
    for (size_t i = 0; i < RUN_COUNT + AT_ONCE; i++) {
        if (i >= AT_ONCE && d->pid[i - AT_ONCE] > 0)
            rc |= finish(d, i - AT_ONCE);
        if (i < RUN_COUNT && rc == 0)
            rc |= start(d, i);
    }
    return rc;
}

static int report(const struct demo *d)
{
    char out[PATH], log[PATH], dirs[RUN_COUNT][PATH];
    const char *argv[RUN_COUNT + 5];
    size_t n = 0;
    snprintf(out, sizeof out, "%s/report.html", d->folder);
    snprintf(log, sizeof log, "%s/report.log", d->folder);
    argv[n++] = d->program;
    argv[n++] = "report";
    for (size_t i = 0; i < RUN_COUNT; i++) {
        snprintf(dirs[i], sizeof dirs[i], "%s/%s", d->folder, RUNS[i].name);
        argv[n++] = dirs[i];
    }
    argv[n++] = "--out";
    argv[n++] = out;
    argv[n] = NULL;
    return runs_wait(runs_start(argv, log), log);
}

static void print_time(double seconds)
{
    if (seconds < 0)
        printf(" %9s", "never");
    else if (seconds < 600)
        printf(" %7.1f s", seconds);
    else if (seconds < 36000)
        printf(" %5.0f min", seconds / 60);
    else
        printf(" %7.1f h", seconds / 3600);
}

static int print_table(const struct demo *d)
{
    struct run_figures r;
    char dir[PATH];
    printf("\n%-20s %9s %9s %9s %8s %9s %12s %11s\n", "office-100, 256 KB", "first", "median", "last", "have it",
           "frames", "not payload", "energy/node");
    for (size_t i = 0; i < RUN_COUNT; i++) {
        snprintf(dir, sizeof dir, "%s/%s", d->folder, RUNS[i].name);
        if (runs_read(dir, &r) != 0)
            return -1;
        if (strcmp(RUNS[i].scenario, "office-100") != 0)
            continue;
        printf("%-20s", RUNS[i].title);
        print_time(r.first_s);
        print_time(r.median_s);
        print_time(r.last_s);
        printf(" %6.1f %% %9.0f %10.1f %% %8.1f J\n", 100 * r.complete / r.nodes, r.all_frames,
               r.frames > 0 ? 100 * (r.frames - r.chunk_frames) / r.frames : 0, r.energy_mj / 1e3);
    }
    printf(
        "\nbad-release (an image that crashes at boot): %.0f of %.0f nodes booted it (%.1f %%), %.0f rolled back, %.0f "
        "kept it; %s\n",
        r.installed, r.nodes, 100 * r.installed / r.nodes, r.rolled_back, r.confirmed, r.ended);
    if (r.confirmed > 0 || r.installed == 0 || r.installed > r.nodes / 4) {
        fprintf(stderr, "sim-demo: the bad release did not stop at the canaries\n");
        return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    char program[PATH];
    const char *build = getenv("BUILD");
    struct demo d = {.program = program};
    if (argc != 2) {
        fputs("usage: sim-demo FOLDER\n", stderr);
        return 2;
    }
    d.folder = argv[1];
    snprintf(program, sizeof program, "%s/bin/meshsim", build != NULL ? build : "build");
    if (mkdir(d.folder, 0755) != 0 && errno != EEXIST) {
        fprintf(stderr, "sim-demo: %s: %s\n", d.folder, strerror(errno));
        return 1;
    }
    if (run_all(&d) != 0 || print_table(&d) != 0 || report(&d) != 0)
        return 1;
    printf("report: %s/report.html\nsim-demo: ok\n", d.folder);
    return 0;
}
