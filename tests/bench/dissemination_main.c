/*
 * dissemination [options] [RESULT.json]: the ratio of dissemination time to the floor, median over seeds.
 *
 *   --world line6|grid25  one world (default: both); lineN and gridN (N a square) of other sizes work too
 *   --seeds N             seeds 1 to N (10)
 *   --seed N              only this seed
 *   --size BYTES          payload (131072)
 *   --loss P              frame loss per reception, 0 to 0.99 (0.1)
 *   --settle SECONDS      quiet before the manifest (30)
 *   --verbose             breakdown of every run
 *   --trace FILE          one line a frame: time_us node type position held > receiver:what ...
 *
 * Exits 1 when a run fails or does not complete.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "dissemination.h"
#include "rig.h"

#define SEEDS_MAX 1000

struct options {
    const char *world; /* NULL: both of the benchmark */
    uint32_t seed_first, seed_count;
    bool is_verbose;
    const char *json;
    struct dissemination_config config;
};

static int usage(const char *what)
{
    fprintf(stderr,
            "%s\nusage: dissemination [--world line6|grid25] [--seeds N | --seed N] [--size BYTES] [--loss P]\n"
            "                     [--settle SECONDS] [--verbose] [--trace FILE] [RESULT.json]\n",
            what);
    return -1;
}

static bool parse_number(const char *text, double low, double high, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == '\0' && *value >= low && *value <= high;
}

/* lineN: a gateway and N nodes; gridN: N devices in a square. */
static bool parse_world(const char *name, uint32_t *columns, uint32_t *rows)
{
    double n;
    if (strncmp(name, "line", 4) == 0 && parse_number(name + 4, 1, DISSEMINATION_NODES_MAX - 1, &n)) {
        *columns = (uint32_t)n + 1;
        *rows = 1;
        return true;
    }
    if (strncmp(name, "grid", 4) != 0 || !parse_number(name + 4, 4, DISSEMINATION_NODES_MAX, &n))
        return false;
    for (*columns = 2; *columns * *columns < (uint32_t)n;)
        ++*columns;
    *rows = *columns;
    return *columns * *rows == (uint32_t)n;
}

static int parse_options(struct options *o, int argc, char **argv)
{
    static const struct option LONG[] = {{"world", 1, NULL, 'w'},   {"seeds", 1, NULL, 'n'}, {"seed", 1, NULL, 's'},
                                         {"size", 1, NULL, 'b'},    {"loss", 1, NULL, 'l'},  {"settle", 1, NULL, 't'},
                                         {"verbose", 0, NULL, 'v'}, {"trace", 1, NULL, 'T'}, {NULL, 0, NULL, 0}};
    int c;
    double value;
    while ((c = getopt_long(argc, argv, "v", LONG, NULL)) != -1) {
        switch (c) {
        case 'w':
            o->world = optarg;
            if (!parse_world(optarg, &o->config.columns, &o->config.rows))
                return usage("--world: lineN or gridN, N a square");
            break;
        case 'n':
            if (!parse_number(optarg, 1, SEEDS_MAX, &value))
                return usage("--seeds: 1 to 1000");
            o->seed_count = (uint32_t)value;
            break;
        case 's':
            if (!parse_number(optarg, 0, UINT32_MAX, &value))
                return usage("--seed: 0 to 4294967295");
            o->seed_first = (uint32_t)value;
            o->seed_count = 1;
            break;
        case 'b':
            if (!parse_number(optarg, 1, MP_IMAGE_MAX, &value))
                return usage("--size: 1 to 16777216");
            o->config.size = (uint32_t)value;
            break;
        case 'l':
            if (!parse_number(optarg, 0, 0.99, &value))
                return usage("--loss: 0 to 0.99");
            o->config.loss_ppm = (uint32_t)(value * 1e6 + 0.5);
            break;
        case 't':
            if (!parse_number(optarg, 0, 3600, &value))
                return usage("--settle: 0 to 3600");
            o->config.settle = MP_SECONDS((mp_time)value);
            break;
        case 'v':
            o->is_verbose = true;
            break;
        case 'T':
            if (o->config.trace == NULL)
                o->config.trace = fopen(optarg, "w");
            if (o->config.trace == NULL)
                return usage("--trace: the file cannot be written");
            break;
        default:
            return usage("unknown option");
        }
    }
    if (optind < argc)
        o->json = argv[optind];
    return 0;
}

/* Runs every seed of one world: median ratio, or below 0 when a run failed. Appends the member to json unless NULL. */
static double run_world(struct options *o, const char *name, FILE *json)
{
    double ratio[SEEDS_MAX], sorted[SEEDS_MAX], virtual_s = 0, began = rig_clock();
    struct dissemination_result *result = malloc(sizeof *result);
    bool is_good = result != NULL;
    printf("%s:", name);
    if (o->is_verbose)
        printf("\n");
    for (uint32_t i = 0; i < o->seed_count && is_good; i++) {
        o->config.seed = o->seed_first + i;
        if (dissemination_run(&o->config, result) != 0) {
            printf("seed %llu failed\n", (unsigned long long)o->config.seed);
            is_good = false;
            break;
        }
        ratio[i] = result->ratio;
        virtual_s += result->time_s;
        if (o->is_verbose || !result->is_complete)
            dissemination_print(stdout, &o->config, result);
        else
            printf(" %.3f", result->ratio);
        fflush(stdout);
        is_good = result->is_complete;
    }
    free(result);
    if (!is_good)
        return -1;
    memcpy(sorted, ratio, sizeof *ratio * o->seed_count);
    double middle = rig_median(sorted, o->seed_count), took = rig_clock() - began;
    printf("\n%s: median ratio %.3f of %u seeds, lowest %.3f, highest %.3f (%.1f s, %.0f times real time)\n", name,
           middle, o->seed_count, sorted[0], sorted[o->seed_count - 1], took, virtual_s / took);
    if (json != NULL) {
        fprintf(json, "\"%s_ratio\": %.3f, \"%s_ratios\": [", name, middle, name);
        for (uint32_t i = 0; i < o->seed_count; i++)
            fprintf(json, "%s%.3f", i > 0 ? ", " : "", ratio[i]);
        fprintf(json, "]");
    }
    return middle;
}

static int run_all(struct options *o, FILE *json)
{
    static const char *const BOTH[] = {"line6", "grid25"};
    if (o->world != NULL)
        return run_world(o, o->world, json) < 0;
    for (int i = 0; i < 2; i++) {
        (void)parse_world(BOTH[i], &o->config.columns, &o->config.rows);
        if (i > 0 && json != NULL)
            fprintf(json, ", ");
        if (run_world(o, BOTH[i], json) < 0)
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct options o = {
        .seed_first = 1, .seed_count = 10, .config = {.size = 131072, .loss_ppm = 100000, .settle = MP_SECONDS(30)}};
    FILE *json = NULL;
    if (parse_options(&o, argc, argv) != 0)
        return 2;
    if (o.json != NULL && (json = fopen(o.json, "w")) == NULL) {
        perror(o.json);
        return 2;
    }
    if (json != NULL)
        fprintf(json, "{");
    int status = run_all(&o, json);
    if (json != NULL) {
        fprintf(json, "}\n");
        if (fclose(json) != 0)
            status = 2;
    }
    if (o.config.trace != NULL && fclose(o.config.trace) != 0)
        status = 2;
    return status;
}
