#include "validate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim/engine/parallel.h"

/* Seeds were fixed before the first run. */
const struct sim_check sim_checks[] = {
    {"aloha", "pure ALOHA, capture off", false, 101, sim_check_aloha},
    {"dense", "dense advertisers, one channel", false, 202, sim_check_dense},
    {"discovery", "discovery by a continuous scanner", true, 303, sim_check_discovery},
    {"kindt", "discovery with scan windows, no advDelay", false, 404, sim_check_kindt},
    {"trickle", "Trickle, synchronised and lossless", true, 505, sim_check_trickle},
    {"trickle-loss", "Trickle's growth with density under loss", false, 606, sim_check_trickle_loss},
    {"line", "pipelining along a line, ideal radio", true, 707, sim_check_line},
    {"prr", "802.15.4 packets over signal to noise", true, 808, sim_check_prr},
    {"deluge", "Deluge's rate and control messages", false, 909, sim_check_deluge},
    {"mesh-dfu", "mesh DFU's published times", false, 1010, sim_check_mesh_dfu},
};
const unsigned sim_check_count = sizeof sim_checks / sizeof sim_checks[0];

static void usage(FILE *to)
{
    fputs(
        "Usage: meshsim validate [--only NAME]... [--list] [--seed N] [--json FILE]\n\n"
        "Runs generators of traffic with known closed forms on the engine and judges what they measure. exact: theory\n"
        "within the measurement's 99.9 % interval, and within 2 %. near: within 25 %. at most: not above the bound.\n\n"
        "  --only NAME   this check alone; may be repeated\n"
        "  --list        names of the checks\n"
        "  --seed N      added to the fixed seeds: other worlds (then one exact figure in a thousand fails by chance)\n"
        "  --json FILE   writes the findings\n",
        to);
}

struct options {
    bool wanted[64]; /* by index of the check */
    bool has_wanted, lists;
    uint64_t seed;
    const char *json;
};

static int find_check(const char *name)
{
    for (unsigned i = 0; i < sim_check_count; i++)
        if (strcmp(sim_checks[i].name, name) == 0)
            return (int)i;
    return -1;
}

static bool read_number(const char *text, uint64_t *number)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return *end == '\0' && errno == 0;
}

/* 0; or -1 after a message. */
static int read_value(struct options *o, const char *option, const char *value)
{
    if (strcmp(option, "--only") == 0) {
        int found = find_check(value);
        if (found < 0) {
            fprintf(stderr, "meshsim validate: no check is called '%s'; see --list\n", value);
            return -1;
        }
        o->wanted[found] = o->has_wanted = true;
        return 0;
    }
    if (strcmp(option, "--seed") == 0) {
        if (read_number(value, &o->seed))
            return 0;
        fprintf(stderr, "meshsim validate: '%s' is no seed: a whole number is wanted\n", value);
        return -1;
    }
    o->json = value;
    return 0;
}

static int read_options(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list") == 0) {
            o->lists = true;
        } else if (strcmp(argv[i], "--only") == 0 || strcmp(argv[i], "--seed") == 0 || strcmp(argv[i], "--json") == 0) {
            if (i + 1 == argc) {
                fprintf(stderr, "meshsim validate: %s needs a value\n", argv[i]);
                return -1;
            }
            if (read_value(o, argv[i], argv[i + 1]) != 0)
                return -1;
            i++;
        } else {
            fprintf(stderr, "meshsim validate: unknown argument: %s\n", argv[i]);
            usage(stderr);
            return -1;
        }
    }
    return 0;
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void run_checks(struct sim_judge *judge, const struct options *o)
{
    printf("%-4s %-13s %-44s %-7s %11s %11s %-12s %9s\n", "", "check", "figure", "rule", "expected", "measured",
           "99.9 %", "deviation");
    for (unsigned i = 0; i < sim_check_count; i++) {
        if (o->has_wanted && !o->wanted[i])
            continue;
        double start = seconds_now();
        unsigned before = judge->count;
        judge->check = sim_checks[i].name;
        sim_checks[i].run(judge, sim_checks[i].seed + o->seed);
        if (judge->count == before)
            sim_judge_broken(judge, "the check has measured nothing");
        printf("     %-13s %.1f s\n", sim_checks[i].name, seconds_now() - start);
        fflush(stdout);
    }
}

int sim_validate_command(int argc, char **argv)
{
    struct options o = {0};
    static struct sim_judge judge;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        usage(stdout);
        return 0;
    }
    if (read_options(&o, argc, argv) != 0)
        return 2;
    if (o.lists) {
        for (unsigned i = 0; i < sim_check_count; i++)
            printf("%-13s %s\n", sim_checks[i].name, sim_checks[i].summary);
        return 0;
    }
    if (sim_parallel_size() > 1) {
        fputs("meshsim validate: runs as one process; start it without mpirun\n", stderr);
        return 2;
    }
    judge = (struct sim_judge){.out = stdout};
    run_checks(&judge, &o);
    if (o.json && sim_judge_write_json(&judge, o.json) != 0) {
        fprintf(stderr, "meshsim validate: %s: %s\n", o.json, strerror(errno));
        return 1;
    }
    printf("%u of %u figures agree\n", judge.count - judge.failed, judge.count);
    return judge.failed ? 1 : 0;
}
