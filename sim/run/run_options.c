/* The command line of `meshsim run`. */
#include "run.h"

#include "sim/world/quantity.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char sim_run_help[] = "Usage: meshsim run SCENARIO [options]\n"
                            "       mpirun -np K meshsim run SCENARIO [options]\n"
                            "\n"
                            "Simulates a scenario and writes what happened to a folder (rows.csv, nodes.csv,\n"
                            "curve.csv, run.json, result.sqlite). The result is the same on any number of ranks.\n"
                            "\n"
                            "  --seed N               instead of the scenario's\n"
                            "  --set SECTION.KEY=V    instead of the scenario's; repeatable. For example\n"
                            "                         --set run.stack=flood --set 'release 2.size=256 KB'\n"
                            "  --out DIR              where results go (default: results/NAME-STACK-SEED)\n"
                            "  --until TIME           stop at this simulated time with a checkpoint, as at Ctrl-C\n"
                            "  --checkpoint PERIOD    also write one every PERIOD of wall time, for example 60s\n"
                            "  --resume               go on from DIR's checkpoint; same scenario, seed and ranks\n"
                            "  --no-result            write nothing, print the digest\n"
                            "  --quiet                no progress, no table\n"
                            "  --help                 this text\n"
                            "\n"
                            "Ctrl-C (SIGINT, SIGTERM) ends the run within seconds, with results so far and a\n"
                            "checkpoint; a second one ends it at once. mpirun kills what is left a second after\n"
                            "its own Ctrl-C: give large worlds more with --mca odls_base_sigkill_timeout 60.\n"
                            "Exit status: 0 done, 1 failed, 2 wrong usage or scenario, 130 interrupted.\n";

int sim_run_get_number(const char *text, uint64_t *value)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return -1;
    errno = 0;
    *value = strtoull(text, &end, text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? 16 : 10);
    return errno != 0 || *end != '\0' ? -1 : 0;
}

static int get_time(const char *text, uint64_t *value)
{
    int64_t time;
    if (sim_quantity_get(SIM_TIME, text, &time) != 0 || time <= 0)
        return -1;
    *value = (uint64_t)time;
    return 0;
}

static int refuse(char *error, size_t cap, const char *what, const char *value, const char *wanted)
{
    snprintf(error, cap, "%s%s%s%s%s", what, value != NULL ? " " : "", value != NULL ? value : "",
             wanted != NULL ? ": " : "", wanted != NULL ? wanted : "");
    return -1;
}

enum { SEED = 1, SET, OUT, UNTIL, CHECKPOINT, RESUME, NO_RESULT, QUIET, HELP };

static int take(struct sim_run_options *o, int option, const char *value, char *error, size_t cap)
{
    switch (option) {
    case SEED:
        o->has_seed = true;
        return sim_run_get_number(value, &o->seed) == 0 ? 0
                                                        : refuse(error, cap, "--seed", value, "not a 64-bit number");
    case SET:
        o->set[o->set_count++] = value;
        return 0;
    case OUT:
        if (value[0] == '\0' || strlen(value) >= sizeof o->out)
            return refuse(error, cap, "--out", NULL, "the name of a folder is wanted");
        memcpy(o->out, value, strlen(value) + 1);
        return 0;
    case UNTIL:
        return get_time(value, &o->until) == 0
                   ? 0
                   : refuse(error, cap, "--until", value, "a time is wanted, as 30 s or 2 h");
    case CHECKPOINT:
        return get_time(value, &o->checkpoint_us) == 0
                   ? 0
                   : refuse(error, cap, "--checkpoint", value, "a period is wanted, as 60 s");
    case RESUME:
        o->resume = true;
        return 0;
    case NO_RESULT:
        o->no_result = true;
        return 0;
    case QUIET:
        o->quiet = true;
        return 0;
    case HELP:
        return 1;
    }
    return -1;
}

int sim_run_options_get(struct sim_run_options *o, int argc, char **argv, char *error, size_t cap)
{
    static const struct option options[] = {{"seed", required_argument, NULL, SEED},
                                            {"set", required_argument, NULL, SET},
                                            {"out", required_argument, NULL, OUT},
                                            {"until", required_argument, NULL, UNTIL},
                                            {"checkpoint", required_argument, NULL, CHECKPOINT},
                                            {"resume", no_argument, NULL, RESUME},
                                            {"no-result", no_argument, NULL, NO_RESULT},
                                            {"quiet", no_argument, NULL, QUIET},
                                            {"help", no_argument, NULL, HELP},
                                            {NULL, 0, NULL, 0}};
    *o = (struct sim_run_options){.until = SIM_NEVER};
    o->set = calloc((size_t)argc + 1, sizeof *o->set);
    if (o->set == NULL)
        return refuse(error, cap, "out of memory", NULL, NULL);
    optind = 0; /* begin anew, also after other commands */
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
    if (o->no_result && (o->resume || o->checkpoint_us != 0 || o->out[0] != '\0'))
        return refuse(error, cap, "--no-result", NULL, "goes with neither --out, --checkpoint nor --resume");
    return 0;
}

void sim_run_options_free(struct sim_run_options *o)
{
    free(o->set);
    o->set = NULL;
}
