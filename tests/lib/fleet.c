/*
 * Life of a fleet: folder, air, gateway, nodes; and the tools that run programs and ask the daemon.
 */
#include "fleet.h"

#include "fleet_part.h"
#include "fleet_process.h"
#include "meshd/ctl/client.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CALL_TIMEOUT_S 20
#define ARGUMENTS_MAX 24
#define OUTPUT_MAX (1u << 20)

static void exit_with_failure(void)
{
    exit(1);
}

void (*fleet_failed)(void) = exit_with_failure;

static void path_in(const struct fleet *f, char out[FLEET_PATH_MAX], const char *name, const char *suffix)
{
    snprintf(out, FLEET_PATH_MAX, "%s/%s%s", f->dir, name, suffix);
}

void fleet_path(const struct fleet *f, char out[FLEET_PATH_MAX], const char *name)
{
    path_in(f, out, name, "");
}

/* To look into a part may fail, too: then the others are left out. */
static void tell_parts(struct fleet *f)
{
    static bool is_telling;
    for (unsigned i = 0; i < f->count && !is_telling; i++) {
        is_telling = true;
        if (f->node[i].part != NULL)
            fleet_part_tell(f->node[i].part);
        is_telling = false;
    }
    is_telling = false;
}

void fleet_fail(struct fleet *f, const char *format, ...)
{
    va_list list;
    char path[FLEET_PATH_MAX];
    fflush(stdout);
    for (unsigned i = 0; i < f->count; i++) {
        path_in(f, path, f->node[i].name, ".log");
        process_tail(path, 1500);
    }
    static const char *const logs[] = {"air.log", "air.out", "meshctl.log", "meshd.log"};
    for (size_t i = 0; i < sizeof logs / sizeof logs[0]; i++) {
        path_in(f, path, logs[i], "");
        process_tail(path, 4000);
    }
    tell_parts(f);
    printf("%s: ", f->options.name != NULL ? f->options.name : "fleet");
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    putchar('\n');
    fflush(stdout);
    fleet_failed();
    abort();
}

double fleet_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void fleet_pause(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

/* --- air ---------------------------------------------------------------------------------------------------------- */

/* The build folder: $BUILD, else three levels above the program (BUILD/tests/e2e/NAME). */
static void find_build(struct fleet *f)
{
    const char *given = getenv("BUILD");
    if (given != NULL && *given != 0) {
        snprintf(f->build, sizeof f->build, "%s", given);
        return;
    }
    const ssize_t n = readlink("/proc/self/exe", f->build, sizeof f->build - 1);
    f->build[n > 0 ? n : 0] = 0;
    for (int i = 0; i < 3; i++) {
        char *slash = strrchr(f->build, '/');
        if (slash != NULL)
            *slash = 0;
    }
}

static int connect_to(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&name, sizeof name) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool air_listens(struct fleet *f, void *ctx)
{
    const int fd = connect_to(ctx);
    if (process_is_gone(f->air))
        fleet_fail(f, "the air ended");
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

void fleet_open(struct fleet *f, const struct fleet_options *options)
{
    char program[FLEET_PATH_MAX * 2], scenario[FLEET_PATH_MAX], log[FLEET_PATH_MAX], out[FLEET_PATH_MAX];
    char stats[FLEET_PATH_MAX], control[FLEET_PATH_MAX], air[FLEET_PATH_MAX], record[FLEET_PATH_MAX];
    memset(f, 0, sizeof *f);
    f->options = *options;
    if (f->options.watchdog_ms == 0)
        f->options.watchdog_ms = 1500;
    find_build(f);
    const char *keep = getenv("FLEET_KEEP");
    const bool is_kept = keep != NULL && *keep == '1';
    if (process_folder(f->dir, sizeof f->dir, is_kept) != 0)
        fleet_fail(f, "no temporary folder: %s", strerror(errno));
    path_in(f, scenario, "scenario.ini", "");
    path_in(f, log, "air.log", "");
    path_in(f, out, "air.out", "");
    path_in(f, stats, "air.json", "");
    path_in(f, record, "air.record", "");
    path_in(f, air, "air", "");
    path_in(f, control, "air/control.sock", "");
    path_in(f, f->http, "http.sock", "");
    if (options->text != NULL) {
        FILE *file = fopen(scenario, "we");
        if (file == NULL || fputs(options->text, file) < 0 || fclose(file) != 0)
            fleet_fail(f, "%s: %s", scenario, strerror(errno));
    }
    snprintf(program, sizeof program, "%s/bin/meshsim", f->build);
    if (is_kept)
        printf("note: kept %s\n", f->dir);
    const char *const argv[] = {
        program,   "live", options->text != NULL ? scenario : options->scenario, "--dir", air, "--log", log,
        "--stats", stats,  is_kept || options->record ? "--record" : NULL,       record,  NULL};
    f->air = process_start(out, argv);
    fleet_wait(f, 10, "the air to listen", air_listens, control);
}

void fleet_close(struct fleet *f)
{
    if (f->dir[0] == 0)
        return;
    fleet_parts_close(f);
    for (unsigned i = 0; i < f->count; i++)
        if (f->node[i].pid != 0)
            process_kill(f->node[i].pid);
    process_kill(f->gateway);
    process_stop(f->air, 2000);
    process_folder_close();
    memset(f, 0, sizeof *f);
}

void fleet_air(struct fleet *f, char *out, size_t cap, const char *format, ...)
{
    char path[FLEET_PATH_MAX], line[200];
    size_t n = 0;
    va_list list;
    va_start(list, format);
    int length = vsnprintf(line, sizeof line - 1, format, list);
    va_end(list);
    strcat(line, "\n");
    path_in(f, path, "air/control.sock", "");
    const int fd = connect_to(path);
    if (fd < 0 || length < 0 || write(fd, line, strlen(line)) != (ssize_t)strlen(line))
        fleet_fail(f, "the air's control does not take \"%s\"", line);
    while (n + 1 < cap) {
        const ssize_t got = read(fd, out + n, cap - n - 1);
        if (got <= 0)
            break;
        n += (size_t)got;
        if (out[n - 1] == '\n')
            break;
    }
    out[n] = 0;
    close(fd);
    if (n == 0 || strncmp(out, "error", 5) == 0)
        fleet_fail(f, "the air answers to %s%s", line, out);
}

/* --- programs ----------------------------------------------------------------------------------------------------- */

int fleet_run(struct fleet *f, char *out, size_t cap, const char *const argv[])
{
    char program[FLEET_PATH_MAX * 2], log[FLEET_PATH_MAX];
    const char *list[ARGUMENTS_MAX + 1] = {program};
    path_in(f, log, "meshctl.log", "");
    if (strchr(argv[0], '/') != NULL)
        snprintf(program, sizeof program, "%s", argv[0]);
    else
        snprintf(program, sizeof program, "%s/bin/%s", f->build, argv[0]);
    for (unsigned i = 1; i < ARGUMENTS_MAX && argv[i] != NULL; i++)
        list[i] = argv[i];
    return process_run(out, cap, log, list);
}

static int run_ctl(struct fleet *f, cJSON **json, va_list arguments, char *line, size_t cap)
{
    const char *list[ARGUMENTS_MAX + 1] = {"meshctl", "--socket", f->http, "--json"};
    size_t used = 0;
    unsigned n = 4;
    for (const char *item; (item = va_arg(arguments, const char *)) != NULL && n < ARGUMENTS_MAX;) {
        list[n++] = item;
        used += (size_t)snprintf(line + used, used < cap ? cap - used : 0, " %s", item);
        used = used < cap ? used : cap - 1;
    }
    char *out = malloc(OUTPUT_MAX);
    if (out == NULL)
        fleet_fail(f, "no memory");
    const int status = fleet_run(f, out, OUTPUT_MAX, list);
    if (json != NULL)
        *json = cJSON_Parse(out);
    free(out);
    return status;
}

int fleet_ctl(struct fleet *f, cJSON **json, ...)
{
    char line[400] = "";
    va_list list;
    va_start(list, json);
    const int status = run_ctl(f, json, list, line, sizeof line);
    va_end(list);
    return status;
}

void fleet_do(struct fleet *f, cJSON **json, ...)
{
    char line[400] = "";
    va_list list;
    va_start(list, json);
    const int status = run_ctl(f, json, list, line, sizeof line);
    va_end(list);
    if (status != 0)
        fleet_fail(f, "meshctl%s: exit status %d", line, status);
}

/* --- the daemon's API --------------------------------------------------------------------------------------------- */

int fleet_call(struct fleet *f, const char *method, const char *path, const cJSON *body, cJSON **json)
{
    struct md_client_reply reply;
    char error[300];
    char *text = body != NULL ? cJSON_PrintUnformatted(body) : NULL;
    const int rc = md_client_call(f->http, method, path, text, text != NULL ? strlen(text) : 0, CALL_TIMEOUT_S, &reply,
                                  error, sizeof error);
    cJSON_free(text);
    if (json != NULL)
        *json = rc == 0 ? reply.json : NULL;
    else if (rc == 0)
        cJSON_Delete(reply.json);
    return rc == 0 ? reply.status : -1;
}

cJSON *fleet_get(struct fleet *f, const char *path)
{
    cJSON *json = NULL;
    if (fleet_call(f, "GET", path, NULL, &json) == 200)
        return json;
    cJSON_Delete(json);
    return NULL;
}

static const cJSON *find(const cJSON *tree, const char *path)
{
    while (tree != NULL && *path != 0) {
        char name[64];
        const size_t n = strcspn(path, ".");
        if (n >= sizeof name)
            return NULL;
        memcpy(name, path, n);
        name[n] = 0;
        tree = cJSON_GetObjectItemCaseSensitive(tree, name);
        path += n + (path[n] == '.');
    }
    return tree;
}

const char *fleet_text(const cJSON *tree, const char *path)
{
    const cJSON *item = find(tree, path);
    return cJSON_IsString(item) ? item->valuestring : "";
}

double fleet_number(const cJSON *tree, const char *path)
{
    const cJSON *item = find(tree, path);
    return cJSON_IsNumber(item) ? item->valuedouble : cJSON_IsTrue(item) ? 1 : 0;
}
