/*
 * The command line of `meshsim plan`.
 */
#include "plan.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/field/field.h"
#include "sim/world/quantity.h"

static const char HELP_TEXT[] = "Usage: meshsim plan SCENARIO [options]\n"
                                "\n"
                                "Works out, without simulating, what the scenario's rollout takes: time ring by\n"
                                "ring, energy and cost of the full image against a delta, and how many nodes boot\n"
                                "a bad image before a gate stops it.\n"
                                "\n"
                                "  --set SECTION.KEY=VALUE  override what the scenario says; may be repeated\n"
                                "  --release N              of several releases (default: the first)\n"
                                "  --factor X               distribution over its floor (default: 1.4, as measured)\n"
                                "  --fault-probability P%   a node that boots the bad image fails (default: as the\n"
                                "                           scenario says, 100 % when it has no fault)\n"
                                "  --delta-ratio X          size of a delta over the image's (default: 0.1)\n"
                                "  --json                   one JSON object instead of tables\n"
                                "  --help                   this text\n"
                                "\n"
                                "For example:\n"
                                "\n"
                                "  meshsim plan sim/scenarios/bad-release.ini --fault-probability 20%\n";

struct request {
    struct sim_plan_options options;
    const char *scenario;
    const char **set;
    size_t set_count;
    bool is_json;
};

static int bad_usage(const char *what, const char *value)
{
    fprintf(stderr, "meshsim plan: %s%s%s; see meshsim plan --help\n", what, value ? ": " : "", value ? value : "");
    return 2;
}

/* 0 or -1. */
static int get_value(const char *text, enum sim_quantity quantity, double unit, double *value)
{
    int64_t number;
    if (sim_quantity_get(quantity, text, &number) != 0)
        return -1;
    *value = (double)number / unit;
    return 0;
}

/* Below 0: go on; else the exit status. */
static int get_options(struct request *q, int argc, char **argv)
{
    enum { SET = 1, RELEASE, FACTOR, FAULT, DELTA, JSON, HELP };
    static const struct option options[] = {{"set", required_argument, NULL, SET},
                                            {"release", required_argument, NULL, RELEASE},
                                            {"factor", required_argument, NULL, FACTOR},
                                            {"fault-probability", required_argument, NULL, FAULT},
                                            {"delta-ratio", required_argument, NULL, DELTA},
                                            {"json", no_argument, NULL, JSON},
                                            {"help", no_argument, NULL, HELP},
                                            {NULL, 0, NULL, 0}};
    double number;
    optind = 1;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case SET:
            q->set[q->set_count++] = optarg;
            break;
        case RELEASE:
            if (get_value(optarg, SIM_COUNT, 1, &number) != 0 || number < 2 || number > 5)
                return bad_usage("--release takes 2 to 5", optarg);
            q->options.release = (uint32_t)number;
            break;
        case FACTOR:
            if (get_value(optarg, SIM_FACTOR, 1e3, &q->options.factor) != 0)
                return bad_usage("--factor takes a number, 1 to 100", optarg);
            break;
        case FAULT:
            if (get_value(optarg, SIM_SHARE, 1e6, &q->options.fault_probability) != 0 ||
                q->options.fault_probability < 0)
                return bad_usage("--fault-probability takes a share, as 20%", optarg);
            break;
        case DELTA:
            if (get_value(optarg, SIM_FACTOR, 1e3, &q->options.delta_ratio) != 0)
                return bad_usage("--delta-ratio takes a number, above 0 to 1", optarg);
            break;
        case JSON:
            q->is_json = true;
            break;
        case HELP:
            fputs(HELP_TEXT, stdout);
            return 0;
        default:
            return bad_usage("unknown option, or its value is missing", argv[optind - 1]);
        }
    }
    if (argc - optind != 1)
        return bad_usage("give one scenario file", NULL);
    q->scenario = argv[optind];
    return -1;
}

/* Hops to the farthest node that a gateway reaches, and how many nodes none does. */
static int find_hops(const struct sim_scenario *s, uint32_t *most, uint32_t *unreached, char *error, size_t cap)
{
    struct sim_field f;
    uint16_t *hops = calloc(s->count, sizeof *hops);
    int status = -1;
    *most = *unreached = 0;
    if (sim_field_open(&f, s, 0, 1, error, cap) != 0)
        goto out;
    (void)snprintf(error, cap, "out of memory");
    if (hops == NULL || sim_field_hops(&f, f.gateway, f.gateway_count, hops, NULL) != 0)
        goto out;
    for (uint32_t i = 0; i < s->count; i++) {
        if (hops[i] == UINT16_MAX)
            (*unreached)++;
        else if (hops[i] > *most)
            *most = hops[i];
    }
    status = 0;
out:
    free(hops);
    sim_field_close(&f);
    return status;
}

static int plan(const struct request *q)
{
    struct sim_scenario s;
    struct sim_plan p;
    uint32_t hops, unreached;
    char error[600];
    if (sim_scenario_read_with(&s, q->scenario, q->set, q->set_count, error, sizeof error) != 0) {
        fprintf(stderr, "meshsim plan: %s\n", error);
        return 2;
    }
    int status = find_hops(&s, &hops, &unreached, error, sizeof error);
    if (status == 0)
        status = sim_plan_make(&p, &s, &q->options, hops, unreached, error, sizeof error);
    if (status != 0)
        fprintf(stderr, "meshsim plan: %s: %s\n", q->scenario, error);
    else if (q->is_json)
        status = sim_plan_print_json(&p, &s);
    else
        sim_plan_print(&p, &s);
    sim_scenario_free(&s);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "meshsim plan: standard output cannot be written\n");
        status = -1;
    }
    return status == 0 ? 0 : 1;
}

int sim_plan_command(int argc, char **argv)
{
    struct request q = {.set = calloc((size_t)argc + 1, sizeof *q.set)};
    if (q.set == NULL) {
        fprintf(stderr, "meshsim plan: out of memory\n");
        return 1;
    }
    sim_plan_defaults(&q.options);
    int status = get_options(&q, argc, argv);
    if (status < 0)
        status = plan(&q);
    free(q.set);
    return status;
}
