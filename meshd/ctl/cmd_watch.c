/*
 * meshctl watch: a rollout as it goes. On a terminal one bar a ring, redrawn in place; otherwise a line for every
 * change.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "human.h"

#define BAR_MAX 40
#define LINE_MAX_BYTES 512
#define RINGS_MAX 8 /* of a policy */

static const char watch_help[] = "meshctl watch - follow a rollout\n"
                                 "\n"
                                 "Usage: meshctl watch [RELEASE] [--once] [--timeout TIME_S]\n"
                                 "\n"
                                 "Without RELEASE the newest rollout. Ends when it is done (exit 0), or held or\n"
                                 "reverted (exit 6). On a terminal a bar a ring:\n"
                                 "  # confirmed   x failed or silent   + trying   = holds the image   . waiting\n"
                                 "Otherwise a plain line whenever a ring changes; with --json a document each time.\n"
                                 "\n"
                                 "Options:\n"
                                 "  --once           show it once, exit 0\n"
                                 "  --timeout S      give up after so many seconds (exit 1)\n";

/* A ring's bar: its width shared out by outcome. */
static void draw_bar(const cJSON *counts, int width, char *out)
{
    unsigned members = (unsigned)md_json_number(counts, "members");
    const struct {
        const char *name;
        char mark;
    } kinds[] = {{"confirmed", '#'}, {"failed", 'x'}, {"silent", 'x'}, {"trial", '+'}, {"staged", '='}};
    unsigned sum = 0;
    int at = 0;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        sum += (unsigned)md_json_number(counts, kinds[k].name);
        int end = members > 0 ? (int)((unsigned long)sum * (unsigned)width / members) : 0;
        for (; at < end && at < width; at++)
            out[at] = kinds[k].mark;
    }
    for (; at < width; at++)
        out[at] = '.';
    out[width] = '\0';
}

/* One line of a ring, without its end. width 0: no bar. */
static void ring_line(const cJSON *ring, int width, char out[LINE_MAX_BYTES])
{
    const cJSON *counts = cJSON_GetObjectItem(ring, "counts");
    char bar[BAR_MAX + 1] = "";
    unsigned failed = (unsigned)(md_json_number(counts, "failed") + md_json_number(counts, "silent"));
    if (width > 0)
        draw_bar(counts, width, bar);
    int n = snprintf(out, LINE_MAX_BYTES, "%-10s %s%s%s%3u/%u confirmed", md_json_string(ring, "name"),
                     width > 0 ? "[" : "", bar, width > 0 ? "] " : "", (unsigned)md_json_number(counts, "confirmed"),
                     (unsigned)md_json_number(counts, "members"));
    const char *const names[] = {"staged", "trial", "waived"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (n > 0 && n < LINE_MAX_BYTES && md_json_number(counts, names[i]) > 0)
            n += snprintf(out + n, (size_t)(LINE_MAX_BYTES - n), ", %u %s", (unsigned)md_json_number(counts, names[i]),
                          names[i]);
    if (failed > 0 && n > 0 && n < LINE_MAX_BYTES)
        n += snprintf(out + n, (size_t)(LINE_MAX_BYTES - n), ", %u FAILED", failed);
    if (n > 0 && n < LINE_MAX_BYTES)
        snprintf(out + n, (size_t)(LINE_MAX_BYTES - n), "  %s", md_json_string(ring, "state"));
}

/* What stands on the terminal. */
struct drawing {
    int lines;
    int length[RINGS_MAX + 2]; /* of each line */
};

static void add_line(struct drawing *d, const char *line, int columns)
{
    int length = (int)strlen(line);
    if (length > columns)
        length = columns;
    printf("%.*s\033[K\n", length, line);
    if (d->lines < RINGS_MAX + 2)
        d->length[d->lines++] = length;
}

/* Back to the first line. A terminal that was made narrower has wrapped lines since. */
static void go_back(struct drawing *d, int columns)
{
    int rows = 0;
    for (int i = 0; i < d->lines; i++)
        rows += 1 + (d->length[i] > 0 ? (d->length[i] - 1) / columns : 0);
    if (rows > 0)
        printf("\033[%dA\r", rows);
    d->lines = 0;
}

/* Draws over the last drawing. */
static void draw(const cJSON *j, struct drawing *d)
{
    struct winsize size = {.ws_col = 80};
    char line[LINE_MAX_BYTES];
    const cJSON *ring;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col < 20)
        size.ws_col = 80;
    go_back(d, size.ws_col);
    int width = size.ws_col > 100 ? BAR_MAX : size.ws_col > 70 ? 24 : 10;
    const char *cause = md_json_string(j, "cause");
    snprintf(line, sizeof line, "release %u: %s%s%s%s", (unsigned)md_json_number(j, "release"),
             md_json_string(j, "phase"), cause[0] != '\0' ? " (" : "", cause, cause[0] != '\0' ? ")" : "");
    add_line(d, line, size.ws_col - 1);
    cJSON_ArrayForEach(ring, cJSON_GetObjectItem(j, "rings"))
    {
        ring_line(ring, width, line);
        add_line(d, line, size.ws_col - 1);
    }
    add_line(d, md_json_string(j, "why"), size.ws_col - 1);
    printf("\033[J");
    fflush(stdout);
}

/* Prints the lines that changed since the last call; `seen` keeps them. */
static void print_changes(const cJSON *j, char seen[RINGS_MAX + 1][LINE_MAX_BYTES])
{
    char line[LINE_MAX_BYTES];
    const cJSON *ring;
    size_t i = 1;
    snprintf(line, sizeof line, "%s: %s", md_json_string(j, "phase"), md_json_string(j, "why"));
    if (strcmp(line, seen[0]) != 0)
        printf("release %u %s\n", (unsigned)md_json_number(j, "release"), line);
    memcpy(seen[0], line, sizeof line);
    cJSON_ArrayForEach(ring, cJSON_GetObjectItem(j, "rings"))
    {
        if (i > RINGS_MAX)
            break;
        ring_line(ring, 0, line);
        if (strcmp(line, seen[i]) != 0)
            printf("release %u %s\n", (unsigned)md_json_number(j, "release"), line);
        memcpy(seen[i++], line, sizeof line);
    }
    fflush(stdout);
}

/* The newest rollout's release. */
static int newest(struct md_ctl *c, uint64_t *release)
{
    cJSON *j = NULL;
    const cJSON *r;
    int status = md_ctl_call(c, "GET", "/v1/rollouts", NULL, &j);
    if (status != MD_EXIT_OK)
        return status;
    cJSON_ArrayForEach(r, cJSON_GetObjectItem(j, "rollouts"))
    {
        *release = (uint64_t)md_json_number(r, "release");
    }
    cJSON_Delete(j);
    return *release != 0 ? MD_EXIT_OK : md_ctl_fail(c, MD_EXIT_NOT_FOUND, "there is no rollout");
}

/* Exit status when the rollout is over, -1 while it goes on. */
static int outcome(const cJSON *j)
{
    const char *phase = md_json_string(j, "phase");
    if (strcmp(phase, "done") == 0)
        return MD_EXIT_OK;
    return strcmp(phase, "held") == 0 || strcmp(phase, "reverted") == 0 ? MD_EXIT_HELD : -1;
}

/* Waits until something changed; *changes is the counter last seen. */
static int wait_change(struct md_ctl *c, uint64_t *changes, unsigned wait_s)
{
    char path[120];
    cJSON *j = NULL;
    snprintf(path, sizeof path, "/v1/events?since=9007199254740991&changes=%llu&wait=%u", (unsigned long long)*changes,
             wait_s);
    int status = md_ctl_call(c, "GET", path, NULL, &j);
    if (status == MD_EXIT_OK)
        *changes = (uint64_t)md_json_number(j, "changes");
    cJSON_Delete(j);
    return status;
}

static int follow(struct md_ctl *c, uint64_t release, bool once, uint64_t timeout_s)
{
    static char seen[RINGS_MAX + 1][LINE_MAX_BYTES];
    struct drawing drawing = {0};
    char path[64];
    bool tty = isatty(STDOUT_FILENO) && !c->json;
    uint64_t changes = 0;
    time_t end = time(NULL) + (time_t)timeout_s;
    snprintf(path, sizeof path, "/v1/rollouts/%u", (unsigned)release);
    for (;;) {
        cJSON *j = NULL;
        int status = md_ctl_call(c, "GET", path, NULL, &j);
        if (status != MD_EXIT_OK)
            return status;
        if (c->json)
            md_ctl_print_json(j);
        else if (tty)
            draw(j, &drawing);
        else
            print_changes(j, seen);
        int over = outcome(j);
        cJSON_Delete(j);
        if (once)
            return MD_EXIT_OK;
        if (over >= 0)
            return over;
        if (timeout_s != 0 && time(NULL) >= end)
            return md_ctl_fail(c, MD_EXIT_FAILED, "not over after %u s", (unsigned)timeout_s);
        status = wait_change(c, &changes, 5);
        if (status != MD_EXIT_OK)
            return status;
        /* reports come in groups: do not redraw for each */
        usleep(100000);
    }
}

int md_cmd_watch(struct md_ctl *c, int argc, char **argv)
{
    const char *args[1];
    uint64_t release = 0, timeout_s = 0;
    bool once = false;
    const struct md_option options[] = {{"once", MD_OPTION_FLAG, &once, 0, 0},
                                        {"timeout", MD_OPTION_NUMBER, &timeout_s, 1, 31536000}};
    int count = md_ctl_options(argc, argv, MD_OPTIONS(options), args, 0, 1, watch_help);
    if (count < 0)
        return MD_OPTIONS_EXIT(count);
    if (count == 1 && !md_ctl_number(args[0], 1, UINT32_MAX, &release))
        return md_ctl_fail(c, MD_EXIT_USAGE, "\"%s\" is no release sequence", args[0]);
    int status = count == 1 ? MD_EXIT_OK : newest(c, &release);
    return status == MD_EXIT_OK ? follow(c, release, once, timeout_s) : status;
}
