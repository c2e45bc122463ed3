#include "ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "../daemon/config.h"
#include "client.h"

#define CALL_TIMEOUT_S 30

static const char main_help[] =
    "meshctl - operate firmware releases of a Bluetooth LE mesh\n"
    "\n"
    "Usage: meshctl [--socket PATH] [--json] COMMAND [ARGUMENTS]\n"
    "       meshctl COMMAND --help\n"
    "\n"
    "Prepare (no daemon needed):\n"
    "  network create DIR     keys, first keyset and meshd.conf for a new network\n"
    "  key                    generate, show and replace signing keys\n"
    "  image pack             make an image file from one or two links of a build\n"
    "  image info             what an image file or bundle holds\n"
    "  sign                   sign image files into a release bundle\n"
    "\n"
    "Operate:\n"
    "  provision              enter a node, and set it up: settings file, serial line, hex\n"
    "  import                 give a bundle to the daemon\n"
    "  releases               what was imported\n"
    "  rollout                plan, start, list, show, hold, resume, advance, revert\n"
    "  watch                  follow a rollout, a bar a ring\n"
    "  nodes                  list, show, label, name, retire nodes\n"
    "  labels                 list and name the 16 labels\n"
    "  status                 gateway, radio, mesh, keys\n"
    "  audit                  who did what, with its hash chain checked\n"
    "  version\n"
    "\n"
    "Options:\n"
    "  --socket PATH          the daemon's socket (default $MESHD_SOCKET, or\n"
    "                         " MD_HTTP_SOCKET ")\n"
    "  --json                 print JSON documents instead of text\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 nobody answers, 4 refused by\n"
    "a rule, 5 not found, 6 the watched rollout was held or reverted, 7 audit log\n"
    "tampered with.\n"
    "\n"
    "Example, from a build to a rollout:\n"
    "  meshctl image pack app.bin --product 1 --model 1 --version 2.0.0 -o app.mfi\n"
    "  meshctl sign app.mfi --key publisher.key --release 2 -o app-2.0.0.mfr\n"
    "  meshctl import app-2.0.0.mfr\n"
    "  meshctl rollout start 2 --ring name=canary,label=canary,soak=1h --ring name=all,share=100%\n"
    "  meshctl watch 2\n";

static const struct {
    const char *name;
    md_command *run;
} commands[] = {
    {"network", md_cmd_network},   {"key", md_cmd_key},         {"provision", md_cmd_provision},
    {"image", md_cmd_image},       {"sign", md_cmd_sign},       {"import", md_cmd_import},
    {"releases", md_cmd_releases}, {"rollout", md_cmd_rollout}, {"nodes", md_cmd_nodes},
    {"labels", md_cmd_labels},     {"status", md_cmd_status},   {"watch", md_cmd_watch},
    {"audit", md_cmd_audit},       {"version", md_cmd_version},
};

/* --- options ------------------------------------------------------------------------------------------------------ */

bool md_ctl_number(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
    char *end;
    errno = 0;
    /* no octal: 010 is ten */
    int base = text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? 16 : 10;
    unsigned long long v = strtoull(text, &end, base);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || v < min || v > max)
        return false;
    *value = v;
    return true;
}

static int usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int usage_error(const char *command, const char *format, ...)
{
    va_list ap;
    fprintf(stderr, "meshctl %s: ", command);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, "\nTry \"meshctl %s --help\".\n", command);
    return -1;
}

/* Stores one option's value. 0 or -1. */
static int set_option(const char *command, const struct md_option *o, const char *value)
{
    struct md_list *list;
    switch (o->kind) {
    case MD_OPTION_FLAG:
        *(bool *)o->out = true;
        return 0;
    case MD_OPTION_STRING:
        *(const char **)o->out = value;
        return 0;
    case MD_OPTION_NUMBER:
        if (md_ctl_number(value, o->min, o->max, o->out))
            return 0;
        return usage_error(command, "--%s must be a number from %llu to %llu, not \"%s\"", o->name,
                           (unsigned long long)o->min, (unsigned long long)o->max, value);
    case MD_OPTION_LIST:
        list = o->out;
        if (list->count == MD_LIST_MAX)
            return usage_error(command, "--%s at most %d times", o->name, MD_LIST_MAX);
        list->item[list->count++] = value;
        return 0;
    }
    return -1;
}

static const struct md_option *find_option(const struct md_option *options, size_t count, const char *name, size_t len)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(options[i].name) == len && memcmp(options[i].name, name, len) == 0)
            return &options[i];
    return NULL;
}

/* One option at argv[*at]; *at is moved over a value of its own. 0 or -1. */
static int take_option(int argc, char **argv, int *at, const struct md_option *options, size_t count)
{
    const char *name = argv[*at][1] == '-' ? argv[*at] + 2 : argv[*at] + 1;
    if (strcmp(argv[*at], "-o") == 0)
        name = "output";
    else if (argv[*at][1] != '-')
        return usage_error(argv[0], "unknown option %s", argv[*at]);
    size_t len = strcspn(name, "=");
    const struct md_option *o = find_option(options, count, name, len);
    if (o == NULL)
        return usage_error(argv[0], "unknown option %s", argv[*at]);
    if (o->kind == MD_OPTION_FLAG && name[len] == '=')
        return usage_error(argv[0], "--%s takes no value", o->name);
    if (o->kind == MD_OPTION_FLAG)
        return set_option(argv[0], o, NULL);
    if (name[len] == '=')
        return set_option(argv[0], o, name + len + 1);
    if (*at + 1 >= argc)
        return usage_error(argv[0], "--%s needs a value", o->name);
    return set_option(argv[0], o, argv[++*at]);
}

int md_ctl_options(int argc, char **argv, const struct md_option *options, size_t option_count, const char **args,
                   int need, int max, const char *help)
{
    int found = 0;
    bool only_args = false;
    for (int i = 1; i < argc; i++) {
        if (!only_args && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            fputs(help, stdout);
            return -2;
        }
        if (!only_args && strcmp(argv[i], "--") == 0) {
            only_args = true;
        } else if (!only_args && argv[i][0] == '-' && argv[i][1] != '\0') {
            if (take_option(argc, argv, &i, options, option_count) < 0)
                return -1;
        } else if (found == max) {
            return usage_error(argv[0], "unexpected argument \"%s\"", argv[i]);
        } else {
            args[found++] = argv[i];
        }
    }
    if (found < need)
        return usage_error(argv[0], "an argument is missing");
    return found;
}

/* --- output ------------------------------------------------------------------------------------------------------- */

int md_ctl_fail(const struct md_ctl *c, int status, const char *format, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    fprintf(stderr, "meshctl: %s\n", text);
    if (c->json) {
        cJSON *j = cJSON_CreateObject();
        cJSON_AddStringToObject(j, "error", text);
        cJSON_AddNumberToObject(j, "exit", status);
        md_ctl_print_json(j);
        cJSON_Delete(j);
    }
    return status;
}

void md_ctl_warn(const char *format, ...)
{
    va_list ap;
    fputs("warning: ", stderr);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
}

int md_ctl_print_json(const cJSON *json)
{
    char *text = cJSON_Print(json);
    if (text == NULL)
        return MD_EXIT_FAILED;
    puts(text);
    cJSON_free(text);
    return MD_EXIT_OK;
}

void md_ctl_print_warnings(const cJSON *json)
{
    const cJSON *w;
    cJSON_ArrayForEach(w, cJSON_GetObjectItem(json, "warnings"))
    {
        if (cJSON_IsString(w))
            md_ctl_warn("%s", w->valuestring);
    }
}

/* --- daemon ------------------------------------------------------------------------------------------------------- */

static int exit_of_status(int status)
{
    if (status >= 200 && status < 300)
        return MD_EXIT_OK;
    if (status == 404)
        return MD_EXIT_NOT_FOUND;
    if (status >= 500 || status == 408)
        return MD_EXIT_FAILED;
    return MD_EXIT_REFUSED;
}

static int finish_call(const struct md_ctl *c, struct md_client_reply *reply, cJSON **json)
{
    int status = exit_of_status(reply->status);
    if (status == MD_EXIT_OK) {
        *json = reply->json;
        return MD_EXIT_OK;
    }
    const char *hint = md_json_string(reply->json, "hint");
    md_ctl_fail(c, status, "%s%s%s%s", md_json_string(reply->json, "error"), hint[0] != '\0' ? " (" : "", hint,
                hint[0] != '\0' ? ")" : "");
    cJSON_Delete(reply->json);
    return status;
}

static int call_bytes(const struct md_ctl *c, const char *method, const char *path, const void *data, size_t len,
                      unsigned timeout_s, cJSON **json)
{
    struct md_client_reply reply;
    char error[300];
    *json = NULL;
    if (md_client_call(c->socket, method, path, data, len, timeout_s, &reply, error, sizeof error) < 0)
        return md_ctl_fail(c, MD_EXIT_UNREACHABLE, "the daemon does not answer: %s", error);
    return finish_call(c, &reply, json);
}

int md_ctl_call(const struct md_ctl *c, const char *method, const char *path, const cJSON *body, cJSON **json)
{
    char *text = body != NULL ? cJSON_PrintUnformatted(body) : NULL;
    /* the daemon answers a waiting call after up to a minute */
    int status = call_bytes(c, method, path, text, text != NULL ? strlen(text) : 0, CALL_TIMEOUT_S + 60, json);
    cJSON_free(text);
    return status;
}

int md_ctl_upload(const struct md_ctl *c, const char *path, const void *data, size_t len, unsigned timeout_s,
                  cJSON **json)
{
    return call_bytes(c, "POST", path, data, len, timeout_s, json);
}

bool md_ctl_is_name(const char *text)
{
    size_t n = strlen(text);
    return n > 0 && n < 64 && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

const char *md_json_string(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(item) ? item->valuestring : "";
}

double md_json_number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

bool md_json_true(const cJSON *object, const char *name)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, name));
}

void md_json_join(const cJSON *object, const char *name, char *out, size_t cap)
{
    const cJSON *item;
    size_t at = 0;
    out[0] = '\0';
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(object, name))
    {
        if (!cJSON_IsString(item) || at >= cap)
            continue;
        int n = snprintf(out + at, cap - at, "%s%s", at > 0 ? "," : "", item->valuestring);
        at += n > 0 ? (size_t)n : 0;
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int md_json_hex(const cJSON *object, const char *name, uint8_t *out, size_t cap)
{
    const char *text = md_json_string(object, name);
    size_t n = strlen(text);
    if (n % 2 != 0 || n / 2 > cap)
        return -1;
    for (size_t i = 0; i < n / 2; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return -1;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return (int)(n / 2);
}

/* --- dispatch ----------------------------------------------------------------------------------------------------- */

int md_ctl_group(struct md_ctl *c, int argc, char **argv, const struct md_subcommand *subs, const char *help)
{
    char name[64];
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(help, stdout);
        return MD_EXIT_OK;
    }
    for (; argc >= 2 && subs->name != NULL; subs++) {
        if (strcmp(argv[1], subs->name) != 0)
            continue;
        /* the subcommand is told its whole name, for its messages */
        snprintf(name, sizeof name, "%s %s", argv[0], argv[1]);
        argv[1] = name;
        return subs->run(c, argc - 1, argv + 1);
    }
    if (argc >= 2)
        usage_error(argv[0], "unknown subcommand \"%s\"", argv[1]);
    else
        fputs(help, stderr);
    return MD_EXIT_USAGE;
}

/* Takes --socket and --json out of argv wherever they stand. New argc, or -1 after an error was printed. */
static int take_globals(struct md_ctl *c, int argc, char **argv)
{
    int kept = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            while (i < argc)
                argv[kept++] = argv[i++];
        } else if (strcmp(argv[i], "--json") == 0) {
            c->json = true;
        } else if (strncmp(argv[i], "--socket=", 9) == 0) {
            c->socket = argv[i] + 9;
        } else if (strcmp(argv[i], "--socket") == 0) {
            if (++i == argc) {
                fprintf(stderr, "meshctl: --socket needs a value\n");
                return -1;
            }
            c->socket = argv[i];
        } else {
            argv[kept++] = argv[i];
        }
    }
    return kept;
}

int md_ctl_run(int argc, char **argv)
{
    const char *socket = getenv("MESHD_SOCKET");
    struct md_ctl c = {.socket = socket != NULL && socket[0] != '\0' ? socket : MD_HTTP_SOCKET};
    argc = take_globals(&c, argc, argv);
    if (argc < 0)
        return MD_EXIT_USAGE;
    if (argc < 2) {
        fputs(main_help, stderr);
        return MD_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        fputs(main_help, stdout);
        return MD_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0)
        argv[1] = (char[]){"version"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(&c, argc - 1, argv + 1);
    fprintf(stderr, "meshctl: unknown command \"%s\". Try \"meshctl --help\".\n", argv[1]);
    return MD_EXIT_USAGE;
}
