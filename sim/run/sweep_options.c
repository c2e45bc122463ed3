/* The command line of `meshsim sweep`. */
#include "sweep.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char sim_sweep_help[] =
    "Usage: meshsim sweep SCENARIO [options]\n"
    "\n"
    "Runs a scenario with every combination of parameter values and every seed. Each run\n"
    "has a folder DIR/RUNID; one that is finished is not run again. At the end DIR/runs.csv\n"
    "has a line for every run, DIR/summary.csv one for every combination: means over the\n"
    "seeds with 95 % confidence intervals (Student's t).\n"
    "\n"
    "  --param SECTION.KEY=V1,V2,...  values of a parameter; repeatable. \\, is a comma in a value\n"
    "  --stack A,B,...        the same as --param run.stack=A,B,...\n"
    "  --seeds A-B            seeds, as 1-10 or 1-5,17 (default: the scenario's)\n"
    "  --set SECTION.KEY=V    for all runs; repeatable\n"
    "  --out DIR              (default: results/NAME-sweep)\n"
    "  --jobs N               runs at a time (default: one for each core)\n"
    "  --task K/N             only every N-th run, beginning with the K-th: one of N tasks\n"
    "  --list                 print the command lines of what is left to run\n"
    "  --only RUNID           run this one\n"
    "  --sqlite               also put all runs into DIR/runs.sqlite\n"
    "  --quiet                say nothing about runs that go well\n"
    "  --help                 this text\n"
    "\n"
    "On many machines, all on one file system:\n"
    "  Slurm:         #SBATCH --array=0-99\n"
    "                 meshsim sweep S.ini --seeds 1-1000 --out D --task $SLURM_ARRAY_TASK_ID/100\n"
    "  GNU parallel:  meshsim sweep S.ini --seeds 1-1000 --out D --list | parallel --sshloginfile hosts\n"
    "  MPI:           mpirun -np 64 meshsim sweep S.ini --seeds 1-1000 --out D\n"
    "and once more without --task or --list, which runs what is missing and writes the tables.\n";

static int refuse(char *error, size_t cap, const char *what, const char *value, const char *wanted)
{
    snprintf(error, cap, "%s%s%s%s%s", what, value != NULL ? " " : "", value != NULL ? value : "",
             wanted != NULL ? ": " : "", wanted != NULL ? wanted : "");
    return -1;
}

/* --- parameters --------------------------------------------------------------------------------------------------- */

void sim_sweep_axis_free(struct sim_sweep_axis *axis)
{
    free(axis->key);
    free(axis->value);
    *axis = (struct sim_sweep_axis){0};
}

int sim_sweep_axis_get(struct sim_sweep_axis *axis, const char *text, char *error, size_t cap)
{
    const size_t len = strlen(text);
    *axis = (struct sim_sweep_axis){.key = malloc(len + 1), .value = calloc(len + 1, sizeof *axis->value)};
    if (axis->key == NULL || axis->value == NULL)
        return refuse(error, cap, "out of memory", NULL, NULL);
    memcpy(axis->key, text, len + 1);
    char *at = strchr(axis->key, '='), *to;
    if (at == NULL || at == axis->key || strchr(axis->key, '.') == NULL || strchr(axis->key, '.') > at)
        return refuse(error, cap, "--param", text, "SECTION.KEY=V1,V2 is wanted");
    *at++ = '\0';
    axis->value[axis->count++] = to = at;
    for (; *at != '\0'; at++) {
        if (*at == ',') {
            *to++ = '\0';
            axis->value[axis->count++] = to;
            continue;
        }
        if (at[0] == '\\' && at[1] == ',')
            at++;
        *to++ = *at;
    }
    *to = '\0';
    for (size_t i = 0; i < axis->count; i++)
        if (axis->value[i][0] == '\0')
            return refuse(error, cap, "--param", text, "a value is empty");
    return 0;
}

static int add_axis(struct sim_sweep_options *o, const char *text, char *error, size_t cap)
{
    if (o->axis_count == SIM_SWEEP_AXES_MAX)
        return refuse(error, cap, "--param", text, "too many parameters");
    struct sim_sweep_axis *axis = &o->axis[o->axis_count++];
    if (sim_sweep_axis_get(axis, text, error, cap) != 0)
        return -1;
    for (size_t i = 0; i + 1 < o->axis_count; i++)
        if (strcmp(o->axis[i].key, axis->key) == 0)
            return refuse(error, cap, "--param", axis->key, "given twice");
    return 0;
}

static int add_stacks(struct sim_sweep_options *o, const char *stacks, char *error, size_t cap)
{
    char text[256];
    if (snprintf(text, sizeof text, "run.stack=%s", stacks) >= (int)sizeof text)
        return refuse(error, cap, "--stack", NULL, "too long");
    return add_axis(o, text, error, cap);
}

/* --- seeds and tasks ---------------------------------------------------------------------------------------------- */

static int add_seed(struct sim_sweep_options *o, uint64_t seed, char *error, size_t cap)
{
    if (o->seed_count >= SIM_SWEEP_RUNS_MAX)
        return refuse(error, cap, "--seeds", NULL, "too many");
    if (o->seed_count % 1024 == 0) {
        uint64_t *grown = realloc(o->seed, (o->seed_count + 1024) * sizeof *grown);
        if (grown == NULL)
            return refuse(error, cap, "out of memory", NULL, NULL);
        o->seed = grown;
    }
    o->seed[o->seed_count++] = seed;
    return 0;
}

static int get_range(const char *text, uint64_t *from, uint64_t *to)
{
    char first[64];
    const char *dash = strchr(text, '-');
    if (dash == NULL)
        return sim_run_get_number(text, from) == 0 ? (*to = *from, 0) : -1;
    if ((size_t)(dash - text) >= sizeof first)
        return -1;
    memcpy(first, text, (size_t)(dash - text));
    first[dash - text] = '\0';
    return sim_run_get_number(first, from) == 0 && sim_run_get_number(dash + 1, to) == 0 && *from <= *to ? 0 : -1;
}

static int compare_seeds(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

int sim_sweep_seeds_get(struct sim_sweep_options *o, const char *text, char *error, size_t cap)
{
    char copy[1024], *rest = copy;
    uint64_t from, to;
    if (snprintf(copy, sizeof copy, "%s", text) >= (int)sizeof copy)
        return refuse(error, cap, "--seeds", NULL, "too long");
    for (char *part; (part = strsep(&rest, ",")) != NULL;) {
        if (get_range(part, &from, &to) != 0)
            return refuse(error, cap, "--seeds", text, "a range is wanted, as 1-10");
        if (to - from >= SIM_SWEEP_RUNS_MAX)
            return refuse(error, cap, "--seeds", text, "too many");
        for (uint64_t i = 0; i <= to - from; i++)
            if (add_seed(o, from + i, error, cap) != 0)
                return -1;
    }
    qsort(o->seed, o->seed_count, sizeof *o->seed, compare_seeds);
    for (size_t i = 1; i < o->seed_count; i++)
        if (o->seed[i] == o->seed[i - 1])
            return refuse(error, cap, "--seeds", text, "one of them is given twice");
    return 0;
}

int sim_sweep_task_get(struct sim_sweep_options *o, const char *text)
{
    char first[32];
    const char *slash = strchr(text, '/');
    if (slash == NULL || (size_t)(slash - text) >= sizeof first)
        return -1;
    memcpy(first, text, (size_t)(slash - text));
    first[slash - text] = '\0';
    if (sim_run_get_number(first, &o->task) != 0 || sim_run_get_number(slash + 1, &o->tasks) != 0 || o->tasks == 0 ||
        o->task > o->tasks)
        return -1;
    o->task %= o->tasks;
    return 0;
}

/* --- the whole line ----------------------------------------------------------------------------------------------- */

enum { PARAM = 1, STACK, SEEDS, SET, OUT, JOBS, TASK, LIST, ONLY, SQLITE, QUIET, HELP };

static int take_flag(struct sim_sweep_options *o, int option)
{
    o->list |= option == LIST;
    o->sqlite |= option == SQLITE;
    o->quiet |= option == QUIET;
    return option == HELP ? 1 : 0;
}

static int take(struct sim_sweep_options *o, int option, const char *value, char *error, size_t cap)
{
    uint64_t number;
    switch (option) {
    case PARAM:
        return add_axis(o, value, error, cap);
    case STACK:
        return add_stacks(o, value, error, cap);
    case SEEDS:
        return sim_sweep_seeds_get(o, value, error, cap);
    case SET:
        o->set[o->set_count++] = value;
        return 0;
    case OUT:
        if (value[0] == '\0' || strlen(value) >= sizeof o->out)
            return refuse(error, cap, "--out", NULL, "the name of a folder is wanted");
        memcpy(o->out, value, strlen(value) + 1);
        return 0;
    case JOBS:
        if (sim_run_get_number(value, &number) != 0 || number < 1 || number > 1024)
            return refuse(error, cap, "--jobs", value, "1 to 1024 are possible");
        o->jobs = (unsigned)number;
        return 0;
    case TASK:
        return sim_sweep_task_get(o, value) == 0 ? 0 : refuse(error, cap, "--task", value, "K/N is wanted, as 3/100");
    case ONLY:
        o->only = value;
        return 0;
    default:
        return take_flag(o, option);
    }
}

int sim_sweep_options_get(struct sim_sweep_options *o, int argc, char **argv, char *error, size_t cap)
{
    static const struct option options[] = {{"param", required_argument, NULL, PARAM},
                                            {"stack", required_argument, NULL, STACK},
                                            {"seeds", required_argument, NULL, SEEDS},
                                            {"set", required_argument, NULL, SET},
                                            {"out", required_argument, NULL, OUT},
                                            {"jobs", required_argument, NULL, JOBS},
                                            {"task", required_argument, NULL, TASK},
                                            {"list", no_argument, NULL, LIST},
                                            {"only", required_argument, NULL, ONLY},
                                            {"sqlite", no_argument, NULL, SQLITE},
                                            {"quiet", no_argument, NULL, QUIET},
                                            {"help", no_argument, NULL, HELP},
                                            {NULL, 0, NULL, 0}};
    *o = (struct sim_sweep_options){.tasks = 1};
    o->set = calloc((size_t)argc + 1, sizeof *o->set);
    if (o->set == NULL)
        return refuse(error, cap, "out of memory", NULL, NULL);
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        if (option == '?' || option == ':')
            return refuse(error, cap, option == ':' ? "no value for" : "unknown option", argv[optind - 1], NULL);
        int rc = take(o, option, optarg, error, cap);
        if (rc != 0)
            return rc;
    }
    if (optind != argc - 1)
        return refuse(error, cap, optind < argc ? "one scenario at a time" : "a scenario file is wanted", NULL, NULL);
    o->scenario = argv[optind];
    return 0;
}

void sim_sweep_options_free(struct sim_sweep_options *o)
{
    for (size_t i = 0; i < o->axis_count; i++)
        sim_sweep_axis_free(&o->axis[i]);
    free(o->set);
    free(o->seed);
    *o = (struct sim_sweep_options){0};
}
