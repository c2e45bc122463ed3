/*
 * The command line of `meshsim live`.
 */
#include "live.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] = "Usage: meshsim live SCENARIO [options]\n"
                           "\n"
                           "Runs the radio of a scenario on the real clock. Every device gets a virtual\n"
                           "Bluetooth LE controller (HCI, H4) on the unix socket DIR/NAME.sock; meshd and\n"
                           "node programs connect to it as to a serial controller. Prints one line\n"
                           "\"ready DIR N devices\" when all sockets listen, and runs until SIGTERM, SIGINT\n"
                           "or \"quit\" on DIR/control.sock.\n"
                           "\n"
                           "  --dir DIR      where the sockets are made; created if missing (default: air)\n"
                           "  --record FILE  write every frame sent and who received it\n"
                           "  --log FILE     write connects and what hosts log (e.g. the version they run)\n"
                           "  --stats FILE   write statistics as JSON at the end\n"
                           "  --seed N       use this seed instead of the scenario's\n"
                           "  --loss X       use this frame loss in percent instead of the scenario's\n"
                           "  --quiet        no ready line\n"
                           "  --help         this text\n"
                           "\n"
                           "Control, one command a line: stats | cut NAME [NAME] | heal NAME [NAME] |\n"
                           "loss X | quit. For example:\n"
                           "\n"
                           "  meshsim live sim/scenarios/demo-25.ini --dir build/air &\n"
                           "  echo 'cut n7' | socat - build/air/control.sock\n";

static int bad_usage(const char *what, const char *value)
{
    fprintf(stderr, "meshsim live: %s%s%s; see meshsim live --help\n", what, value ? ": " : "", value ? value : "");
    return 2;
}

static int get_seed(struct sim_live_config *config, const char *text)
{
    char *end;
    errno = 0;
    config->seed = strtoull(text, &end, 0);
    config->has_seed = true;
    return errno != 0 || end == text || *end != 0 || strchr(text, '-') ? -1 : 0;
}

static int get_loss(struct sim_live_config *config, const char *text)
{
    char *end;
    double percent = strtod(text, &end);
    if (end == text || *end != 0 || !isfinite(percent) || percent < 0 || percent > 100)
        return -1;
    config->loss_ppm = (uint32_t)(percent * 10000 + 0.5);
    config->has_loss = true;
    return 0;
}

int sim_live_command(int argc, char **argv)
{
    enum { DIR_ = 1, RECORD, LOG, STATS, SEED, LOSS, QUIET, HELP };
    static const struct option options[] = {{"dir", required_argument, NULL, DIR_},
                                            {"record", required_argument, NULL, RECORD},
                                            {"log", required_argument, NULL, LOG},
                                            {"stats", required_argument, NULL, STATS},
                                            {"seed", required_argument, NULL, SEED},
                                            {"loss", required_argument, NULL, LOSS},
                                            {"quiet", no_argument, NULL, QUIET},
                                            {"help", no_argument, NULL, HELP},
                                            {NULL, 0, NULL, 0}};
    struct sim_live_config config = {.dir = "air"};
    optind = 1;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case DIR_:
            config.dir = optarg;
            break;
        case RECORD:
            config.record = optarg;
            break;
        case LOG:
            config.log = optarg;
            break;
        case STATS:
            config.stats = optarg;
            break;
        case SEED:
            if (get_seed(&config, optarg) != 0)
                return bad_usage("--seed takes a number", optarg);
            break;
        case LOSS:
            if (get_loss(&config, optarg) != 0)
                return bad_usage("--loss takes a percentage from 0 to 100", optarg);
            break;
        case QUIET:
            config.is_quiet = true;
            break;
        case HELP:
            fputs(help, stdout);
            return 0;
        default:
            return bad_usage("unknown option, or its value is missing", argv[optind - 1]);
        }
    }
    if (argc - optind != 1)
        return bad_usage("give one scenario file", NULL);
    config.scenario = argv[optind];
    return sim_live_run(&config);
}
