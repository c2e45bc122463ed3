/*
 * meshd: the gateway daemon. Reads its configuration, opens store, engine, bearer and API, and runs one event loop.
 *
 * There is no shutdown path: what was committed is safe at any instant, so SIGTERM just ends the process, and a start
 * after kill -9 is a start like any other.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "api.h"
#include "config.h"
#include "gateway.h"
#include "http.h"
#include "log.h"
#include "version.h"

static const char help[] = "meshd - firmware gateway of a Bluetooth LE mesh\n"
                           "\n"
                           "Usage: meshd [OPTIONS]\n"
                           "\n"
                           "Gossips signed releases into the mesh, commits the nodes' reports, and opens\n"
                           "rollouts ring by ring. Operated with meshctl over a unix socket.\n"
                           "\n"
                           "Options:\n"
                           "  -c, --config FILE        configuration (default " MD_CONFIG_FILE ")\n"
                           "  -o, --set SECTION.NAME=VALUE\n"
                           "                           override one setting; may be repeated\n"
                           "      --no-config          read no file: settings come from --set alone\n"
                           "      --check-config       read the configuration, say whether it is good, exit\n"
                           "      --print-config       the same, and print what is in force\n"
                           "  -h, --help               this text\n"
                           "  -V, --version            the version\n"
                           "\n"
                           "Configuration (\"meshctl network create DIR\" writes one):\n"
                           "  [meshd]\n"
                           "  database = /var/lib/meshd/meshd.db   everything meshd keeps\n"
                           "  http = /run/meshd/http.sock          unix socket of the API, mode 0660\n"
                           "  log = info                           error, warning, info or debug\n"
                           "  [bearer]\n"
                           "  hci = tty:/dev/ttyACM0:1000000       HCI controller: tty:DEVICE:BAUD (H4, with\n"
                           "                                       RTS/CTS), or unix:PATH\n"
                           "  [network]\n"
                           "  number = 7                           1 to 65535, the same on every member\n"
                           "  keyset = /etc/meshd/keyset           first keys; read at the very first start\n"
                           "  release_key = /etc/meshd/release.key signs directives; without it the gateway\n"
                           "                                       serves and commits, but steers nothing\n"
                           "  release_passphrase = FILE            if the key file is sealed\n"
                           "\n"
                           "Logs to stderr, one line an event. Safe to kill at any moment.\n"
                           "Exit status: 0 configuration good, 1 cannot start, 2 wrong usage.\n"
                           "\n"
                           "Example:\n"
                           "  meshd --config /etc/meshd/meshd.conf --set meshd.log=debug\n";

struct options {
    const char *file;
    const char *overrides[32];
    int override_count;
    bool no_file, check, print;
};

/* -1: go on; else the exit status. */
static int parse_options(int argc, char **argv, struct options *o)
{
    enum { CHECK = 256, PRINT, NO_CONFIG };
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},    {"set", required_argument, NULL, 'o'},
        {"no-config", no_argument, NULL, NO_CONFIG}, {"check-config", no_argument, NULL, CHECK},
        {"print-config", no_argument, NULL, PRINT},  {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},         {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "c:o:hV", longs, NULL)) != -1) {
        switch (c) {
        case 'c':
            o->file = optarg;
            break;
        case 'o':
            if (o->override_count == (int)(sizeof o->overrides / sizeof o->overrides[0])) {
                fprintf(stderr, "meshd: too many --set\n");
                return 2;
            }
            o->overrides[o->override_count++] = optarg;
            break;
        case NO_CONFIG:
            o->no_file = true;
            break;
        case CHECK:
            o->check = true;
            break;
        case PRINT:
            o->check = o->print = true;
            break;
        case 'h':
            fputs(help, stdout);
            return 0;
        case 'V':
            printf("meshd %s\n", MD_VERSION);
            return 0;
        default:
            fprintf(stderr, "Try \"meshd --help\".\n");
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "meshd: unexpected argument \"%s\". Try \"meshd --help\".\n", argv[optind]);
        return 2;
    }
    return -1;
}

static int load_config(const struct options *o, struct md_config *config)
{
    char error[400];
    md_config_init(config);
    if (!o->no_file && md_config_load(config, o->file, error, sizeof error) < 0)
        goto bad;
    for (int i = 0; i < o->override_count; i++)
        if (md_config_override(config, o->overrides[i], error, sizeof error) < 0)
            goto bad;
    if (md_config_check(config, error, sizeof error) == 0)
        return 0;
bad:
    fprintf(stderr, "meshd: %s\n", error);
    return -1;
}

static void on_change(void *ctx)
{
    md_http_wake(ctx);
}

static int run(const struct md_config *config)
{
    char error[400];
    struct event_base *base = event_base_new();
    if (base == NULL) {
        md_log(MD_LOG_ERROR, "meshd", "cannot start an event loop");
        return 1;
    }
    struct md_gateway *gateway = md_gateway_open(base, config, error, sizeof error);
    struct md_api *api = gateway != NULL ? md_api_new(gateway) : NULL;
    const struct md_http_handler handler = {.ctx = api, .body_max = md_api_body_max, .handle = md_api_handle};
    struct md_http *http = api != NULL ? md_http_open(base, config->http, &handler, error, sizeof error) : NULL;
    if (http == NULL) {
        md_log(MD_LOG_ERROR, "meshd", "cannot start: %s", error);
        md_api_free(api);
        md_gateway_close(gateway);
        event_base_free(base);
        return 1;
    }
    md_gateway_on_change(gateway, on_change, http);
    md_log(MD_LOG_INFO, "meshd", "%s started, network %u, API at %s", MD_VERSION, config->network, config->http);
    event_base_dispatch(base);
    md_log(MD_LOG_ERROR, "meshd", "the event loop ended");
    return 1;
}

int main(int argc, char **argv)
{
    struct options o = {.file = MD_CONFIG_FILE};
    struct md_config config;
    if (md_log_start() != 0)
        return 1;
    int status = parse_options(argc, argv, &o);
    if (status >= 0)
        return status;
    if (load_config(&o, &config) < 0)
        return 1;
    if (o.check) {
        char text[2048];
        if (o.print && md_config_write(&config, text, sizeof text) > 0)
            fputs(text, stdout);
        else
            printf("configuration is good\n");
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);
    md_log_set(config.log);
    return run(&config);
}
