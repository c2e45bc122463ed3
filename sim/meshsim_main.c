/*
 * meshsim: the simulator's program. Each subcommand is one entry of the table; its function gets the arguments from its
 * name on and returns the exit status (0 done, 1 failed, 2 wrong usage, 130 interrupted).
 */
#include "sim/air/live.h"
#include "sim/engine/parallel.h"
#include "sim/result/report.h"
#include "sim/result/result.h"
#include "sim/run/plan.h"
#include "sim/run/run.h"
#include "sim/validate/validate.h"

#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"run", "simulate a scenario in virtual time, alone or under mpirun", sim_run_command},
    {"sweep", "run a scenario with many parameters and seeds", sim_sweep_command},
    {"report", "make one HTML page of results", sim_report_command},
    {"plan", "work out what a rollout takes, without simulating it", sim_plan_command},
    {"live", "run a scenario's radio on the real clock, for real programs", sim_live_command},
    {"validate", "compare the simulator with closed forms and published figures", sim_validate_command},
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static void print_help(FILE *to)
{
    fputs("Usage: meshsim COMMAND [arguments]\n\n", to);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].summary);
    fputs("\n  --help, --version\n\nmeshsim COMMAND --help tells more.\n", to);
}

static int run_command(int argc, char **argv)
{
    for (size_t i = 0; argc >= 2 && i < COMMAND_COUNT; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (sim_parallel_rank() == 0) {
        if (argc >= 2)
            fprintf(stderr, "meshsim: unknown command: %s\n", argv[1]);
        print_help(stderr);
    }
    return 2;
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "--help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
        printf("meshsim %s\n", SIM_VERSION);
        return 0;
    }
    if (sim_parallel_init(&argc, &argv) != 0)
        return 1;
    const int status = run_command(argc, argv);
    sim_parallel_finish();
    return status;
}
