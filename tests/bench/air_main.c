/*
 * air [options] [RESULT.json]: the ratio of dissemination time to the floor through the live air, in real time; median
 * over runs, one line a run.
 *
 *   --world line6|grid25  one world (default: both)
 *   --runs N              seeds 1 to N (3)
 *   --settle SECONDS      quiet before the manifest (5)
 *   --meshsim PROGRAM     (default: $BUILD/bin/meshsim, BUILD: build)
 *   --scenarios DIR       where line-6.ini and grid-25.ini are (sim/scenarios)
 *
 * Exits 1 when a run fails or a median is above its limit.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "air.h"
#include "rig.h"

#define RUNS_MAX 100
#define SIZE 131072

static const struct world {
    const char *name, *file;
    double limit;
} WORLDS[] = {{"line6", "line-6.ini", 2.2}, {"grid25", "grid-25.ini", 1.8}};
#define WORLD_COUNT (sizeof WORLDS / sizeof WORLDS[0])

struct options {
    const char *world; /* NULL: both */
    const char *scenarios;
    const char *json;
    unsigned runs;
    char meshsim[512];
    struct air_config config;
};

static int usage(const char *what)
{
    fprintf(stderr,
            "%s\nusage: air [--world line6|grid25] [--runs N] [--settle SECONDS] [--meshsim PROGRAM] "
            "[--scenarios DIR] [RESULT.json]\n",
            what);
    return -1;
}

static bool parse_number(const char *text, long low, long high, long *value)
{
    char *end;
    *value = strtol(text, &end, 10);
    return end != text && *end == '\0' && *value >= low && *value <= high;
}

static int parse_options(struct options *o, int argc, char **argv)
{
    static const struct option LONG[] = {{"world", 1, NULL, 'w'},     {"runs", 1, NULL, 'n'},
                                         {"settle", 1, NULL, 't'},    {"meshsim", 1, NULL, 'm'},
                                         {"scenarios", 1, NULL, 'd'}, {NULL, 0, NULL, 0}};
    int c;
    long value;
    while ((c = getopt_long(argc, argv, "", LONG, NULL)) != -1) {
        switch (c) {
        case 'w':
            o->world = optarg;
            if (strcmp(optarg, WORLDS[0].name) != 0 && strcmp(optarg, WORLDS[1].name) != 0)
                return usage("--world: line6 or grid25");
            break;
        case 'n':
            if (!parse_number(optarg, 1, RUNS_MAX, &value))
                return usage("--runs: 1 to 100");
            o->runs = (unsigned)value;
            break;
        case 't':
            if (!parse_number(optarg, 0, 3600, &value))
                return usage("--settle: 0 to 3600");
            o->config.settle = MP_SECONDS((mp_time)value);
            break;
        case 'm':
            snprintf(o->meshsim, sizeof o->meshsim, "%s", optarg);
            break;
        case 'd':
            o->scenarios = optarg;
            break;
        default:
            return usage("unknown option");
        }
    }
    if (optind < argc)
        o->json = argv[optind];
    return 0;
}

static void print_run(const struct world *world, unsigned run, const struct air_result *r)
{
    printf("air_%s: run %u: %.2f s, floor %.2f s, ratio %.3f; %llu frames, event over %.1f ms after its frame was "
           "bound, hosts late by %.0f us on average, %llu at most; %s\n",
           world->name, run, r->time_s, r->floor_s, r->ratio, (unsigned long long)r->frames,
           (double)r->event_us / (double)r->frames / 1e3, (double)r->late_sum_us / (double)r->wakes,
           (unsigned long long)r->late_max_us, r->air);
    fflush(stdout);
}

/* Exit status of all runs of a world; appends its members to json unless NULL. */
static int run_world(const struct options *o, const struct world *world, FILE *json)
{
    double ratio[RUNS_MAX], sorted[RUNS_MAX];
    char scenario[512];
    snprintf(scenario, sizeof scenario, "%s/%s", o->scenarios, world->file);
    struct air_config config = o->config;
    config.scenario = scenario;
    for (unsigned i = 0; i < o->runs; i++) {
        struct air_result result;
        config.seed = i + 1;
        if (air_run(&config, &result) != 0)
            return 1;
        print_run(world, i + 1, &result);
        ratio[i] = sorted[i] = result.ratio;
    }
    double middle = rig_median(sorted, o->runs);
    printf("air_%s: median ratio %.3f of %u runs (at most %.1f)\n", world->name, middle, o->runs, world->limit);
    if (json != NULL) {
        fprintf(json, "\"air_%s_ratio\": %.3f, \"air_%s_ratios\": [", world->name, middle, world->name);
        for (unsigned i = 0; i < o->runs; i++)
            fprintf(json, "%s%.3f", i > 0 ? ", " : "", ratio[i]);
        fprintf(json, "]");
    }
    return middle > world->limit;
}

int main(int argc, char **argv)
{
    const char *build = getenv("BUILD");
    struct options o = {.scenarios = "sim/scenarios", .runs = 3, .config = {.size = SIZE, .settle = MP_SECONDS(5)}};
    FILE *json = NULL;
    int status = 0, worlds = 0;
    snprintf(o.meshsim, sizeof o.meshsim, "%s/bin/meshsim", build != NULL ? build : "build");
    o.config.meshsim = o.meshsim;
    if (parse_options(&o, argc, argv) != 0)
        return 2;
    if (o.json != NULL && (json = fopen(o.json, "w")) == NULL) {
        perror(o.json);
        return 2;
    }
    if (json != NULL)
        fprintf(json, "{");
    for (size_t i = 0; i < WORLD_COUNT && status == 0; i++) {
        if (o.world != NULL && strcmp(o.world, WORLDS[i].name) != 0)
            continue;
        if (worlds++ > 0 && json != NULL)
            fprintf(json, ", ");
        status = run_world(&o, &WORLDS[i], json);
    }
    if (json != NULL) {
        fprintf(json, "}\n");
        if (fclose(json) != 0)
            status = 2;
    }
    return status;
}
