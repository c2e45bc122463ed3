/* Run folders: which there are, how they belong together, what their figures are. */
#include "database.h"
#include "report_state.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX 4   /* of folders below one that is named */
#define CURVES_MAX 12 /* of a group */
#define WHOLE_MAX 12  /* of the report */

static int add_run(struct sim_report *report, const char *dir, const char *path, char *error, size_t cap)
{
    char *text = sim_database_text(path, SIM_RUN_JSON_MAX);
    cJSON *json = text != NULL ? cJSON_Parse(text) : NULL;
    free(text);
    if (!cJSON_IsString(cJSON_GetObjectItemCaseSensitive(json, "run")) ||
        !cJSON_IsString(cJSON_GetObjectItemCaseSensitive(json, "configuration")) ||
        !cJSON_IsString(cJSON_GetObjectItemCaseSensitive(json, "stack"))) {
        snprintf(error, cap, "%s: is not the description of a run", path);
        cJSON_Delete(json);
        return -1;
    }
    struct sim_report_run *run = NULL;
    char *name = strdup(dir);
    if (report->run_count < SIM_REPORT_RUNS_MAX && name != NULL)
        run = realloc(report->run, (report->run_count + 1) * sizeof *run);
    if (run == NULL) {
        snprintf(error, cap, "%s: more than %d runs, or out of memory", dir, SIM_REPORT_RUNS_MAX);
        cJSON_Delete(json);
        free(name);
        return -1;
    }
    report->run = run;
    report->run[report->run_count++] = (struct sim_report_run){.dir = name, .json = json};
    return 0;
}

static int no_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int add_below(struct sim_report *report, const char *dir, unsigned depth, char *error, size_t cap)
{
    char path[4096];
    struct stat status;
    int len = snprintf(path, sizeof path, "%s/run.json", dir);
    if (len < 0 || (size_t)len >= sizeof path) {
        snprintf(error, cap, "%.200s...: the name is too long", dir);
        return -1;
    }
    if (stat(path, &status) == 0)
        return add_run(report, dir, path, error, cap);
    struct dirent **entries = NULL;
    int n = depth < DEPTH_MAX ? scandir(dir, &entries, no_hidden, alphasort) : 0;
    if (n < 0) {
        snprintf(error, cap, "%s: cannot be read: %s", dir, strerror(errno));
        return -1;
    }
    int result = 0;
    for (int i = 0; i < n; i++) {
        len = snprintf(path, sizeof path, "%s/%s", dir, entries[i]->d_name);
        bool is_folder = len > 0 && (size_t)len < sizeof path && lstat(path, &status) == 0 && S_ISDIR(status.st_mode);
        if (result == 0 && is_folder)
            result = add_below(report, path, depth + 1, error, cap);
        free(entries[i]);
    }
    free(entries);
    return result;
}

int sim_report_add(struct sim_report *report, const char *dir, char *error, size_t cap)
{
    size_t before = report->run_count;
    if (add_below(report, dir, 0, error, cap) != 0)
        return -1;
    if (report->run_count == before) {
        snprintf(error, cap, "%s: no run.json in it or below it; it takes folders that meshsim run wrote", dir);
        return -1;
    }
    return 0;
}

static const char *text_of(const cJSON *json, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    return cJSON_IsString(item) && item->valuestring != NULL ? item->valuestring : "";
}

/* This project's node first, then the baselines, then runs with a bad release; each as they were named. */
static int place_of(const struct sim_report_group *group)
{
    return group->is_faulty ? 2 : strcmp(group->stack, "mesh") != 0;
}

static int by_place(const void *left, const void *right)
{
    const struct sim_report_group *l = left, *r = right;
    if (place_of(l) != place_of(r))
        return place_of(l) - place_of(r);
    return l->first < r->first ? -1 : l->first > r->first;
}

static bool is_faulty(const cJSON *json)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "config"))
    {
        const char *dot = item->string != NULL ? strrchr(item->string, '.') : NULL;
        if (dot != NULL && strcmp(dot, ".fault") == 0 && cJSON_IsString(item) && strcmp(item->valuestring, "none") != 0)
            return true;
    }
    return false;
}

static int by_id(const void *left, const void *right)
{
    const struct sim_report_run *const *l = left, *const *r = right;
    int order = strcmp(text_of((*l)->json, "run"), text_of((*r)->json, "run"));
    return order != 0 ? order : *l < *r ? -1 : *l > *r;
}

/* A run that was named twice would make intervals too narrow: the first one stays. 0 or -1 (memory). */
static int drop_repeated(struct sim_report *report)
{
    size_t n = report->run_count, kept = 0;
    struct sim_report_run **list = malloc((n + 1) * sizeof *list);
    if (list == NULL)
        return -1;
    for (size_t i = 0; i < n; i++)
        list[i] = &report->run[i];
    qsort(list, n, sizeof *list, by_id);
    for (size_t i = 1; i < n; i++) {
        struct sim_report_run *before = list[i - 1], *run = list[i];
        run->is_repeated = strcmp(text_of(before->json, "run"), text_of(run->json, "run")) == 0 &&
                           strcmp(text_of(before->json, "stack"), text_of(run->json, "stack")) == 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (report->run[i].is_repeated) {
            free(report->run[i].dir);
            cJSON_Delete(report->run[i].json);
        } else {
            report->run[kept++] = report->run[i];
        }
    }
    report->run_count = kept;
    free(list);
    return 0;
}

static bool is_alike(const struct sim_report_run *a, const struct sim_report_run *b)
{
    return strcmp(text_of(a->json, "configuration"), text_of(b->json, "configuration")) == 0 &&
           strcmp(text_of(a->json, "stack"), text_of(b->json, "stack")) == 0;
}

static struct sim_report_group group_of(const struct sim_report *report, size_t first)
{
    const cJSON *json = report->run[first].json;
    return (struct sim_report_group){
        .stack = text_of(json, "stack"),
        .name = text_of(json, "name"),
        .first = first,
        .is_faulty = is_faulty(json),
    };
}

int sim_report_group_runs(struct sim_report *report)
{
    report->group = calloc(report->run_count + 1, sizeof *report->group);
    if (report->group == NULL || drop_repeated(report) != 0)
        return -1;
    for (size_t i = 0; i < report->run_count; i++) {
        size_t g = 0;
        while (g < report->group_count && !is_alike(&report->run[report->group[g].first], &report->run[i]))
            g++;
        if (g == report->group_count)
            report->group[report->group_count++] = group_of(report, i);
        report->run[i].depth = report->group[g].count == 0           ? SIM_REPORT_WHOLE
                               : report->group[g].count < CURVES_MAX ? SIM_REPORT_CURVE
                                                                     : SIM_REPORT_FIGURES;
        report->group[g].count++;
    }
    qsort(report->group, report->group_count, sizeof *report->group, by_place);
    for (size_t g = 0, whole = 0; g < report->group_count; g++) {
        for (size_t i = 0; i < report->run_count; i++)
            if (is_alike(&report->run[report->group[g].first], &report->run[i]))
                report->run[i].group = g;
        if (whole++ >= WHOLE_MAX)
            report->run[report->group[g].first].depth = SIM_REPORT_CURVE;
    }
    return 0;
}

void sim_report_free(struct sim_report *report)
{
    for (size_t i = 0; i < report->run_count; i++) {
        free(report->run[i].dir);
        cJSON_Delete(report->run[i].json);
    }
    free(report->run);
    free(report->group);
    *report = (struct sim_report){0};
}

/* --- figures ------------------------------------------------------------------------------------------------------- */

const char *const sim_figure_names[SIM_FIGURE_COUNT] = {
    [SIM_FIGURE_COMPLETE] = "complete",
    [SIM_FIGURE_FIRST] = "first",
    [SIM_FIGURE_MEDIAN] = "median",
    [SIM_FIGURE_LAST] = "last",
    [SIM_FIGURE_FRAMES] = "frames",
    [SIM_FIGURE_CONTROL] = "control",
    [SIM_FIGURE_COLLISIONS] = "collisions",
    [SIM_FIGURE_ENERGY] = "energy",
    [SIM_FIGURE_INSTALLED] = "installed",
    [SIM_FIGURE_ROLLED_BACK] = "rolled_back",
    [SIM_FIGURE_DOWN] = "down",
};

static bool number(const cJSON *json, const char *key, double *value)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= -SIM_NUMBER_MAX && item->valuedouble <= SIM_NUMBER_MAX))
        return false;
    *value = item->valuedouble;
    return true;
}

static bool share(const cJSON *json, const char *part, const char *whole, double scale, double *value)
{
    double all = 0;
    if (!number(json, part, value) || !number(json, whole, &all) || all < 1)
        return false;
    *value *= scale / all;
    return true;
}

/* Among the receptions that a listening radio could have had. */
static bool collisions(const cJSON *json, double *value)
{
    static const char *const others[] = {"heard", "missed_noise", "missed_loss"};
    const cJSON *outcomes =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "totals"), "outcomes");
    double primary = 0, auxiliary = 0;
    if (!number(outcomes, "missed_collision", &primary) || !number(outcomes, "missed_aux", &auxiliary))
        return false;
    double all = primary + auxiliary;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        double more = 0;
        if (number(outcomes, others[i], &more))
            all += more;
    }
    *value = all > 0 ? (primary + auxiliary) / all : 0;
    return true;
}

bool sim_report_figure(const struct sim_report_run *run, enum sim_figure figure, double *value)
{
    const cJSON *h = cJSON_GetObjectItemCaseSensitive(run->json, "headline");
    switch (figure) {
    case SIM_FIGURE_COMPLETE:
        return share(h, "complete", "nodes", 1, value);
    case SIM_FIGURE_FIRST:
    case SIM_FIGURE_MEDIAN:
    case SIM_FIGURE_LAST:
        if (!number(h,
                    figure == SIM_FIGURE_FIRST    ? "first_us"
                    : figure == SIM_FIGURE_MEDIAN ? "median_us"
                                                  : "last_us",
                    value))
            return false;
        *value /= 1e6;
        return true;
    case SIM_FIGURE_FRAMES:
        return share(h, "frames", "nodes", 1, value);
    case SIM_FIGURE_CONTROL:
        if (!share(h, "chunk_frames", "frames", 1, value))
            return false;
        *value = 1 - *value;
        return true;
    case SIM_FIGURE_COLLISIONS:
        return collisions(run->json, value);
    case SIM_FIGURE_ENERGY:
        if (!number(h, "energy_mean_uj", value))
            return false;
        *value /= 1e3;
        return true;
    case SIM_FIGURE_INSTALLED:
        return share(h, "installed", "nodes", 1, value);
    case SIM_FIGURE_ROLLED_BACK:
        return share(h, "rolled_back", "nodes", 1, value);
    case SIM_FIGURE_DOWN:
        return number(h, "down", value);
    case SIM_FIGURE_COUNT:
        break;
    }
    return false;
}

struct sim_interval sim_report_interval(const struct sim_report *report, size_t group, enum sim_figure figure,
                                        size_t *n)
{
    double *values = malloc((report->group[group].count + 1) * sizeof *values);
    *n = 0;
    for (size_t i = 0; values != NULL && i < report->run_count; i++)
        if (report->run[i].group == group && sim_report_figure(&report->run[i], figure, &values[*n]))
            (*n)++;
    struct sim_interval interval = sim_interval_mean(values, *n);
    free(values);
    return interval;
}
