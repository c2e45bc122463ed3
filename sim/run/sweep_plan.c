/* Which runs a sweep has, and which of them are finished. */
#include "sweep.h"

#include "sim/engine/parallel.h"
#include "sim/result/database.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t sim_sweep_value(const struct sim_sweep_options *o, size_t combination, size_t axis)
{
    for (size_t i = o->axis_count; i-- > axis + 1;)
        combination /= o->axis[i].count;
    return combination % o->axis[axis].count;
}

void sim_sweep_sets_free(char **set, size_t count)
{
    for (size_t i = 0; set != NULL && i < count; i++)
        free(set[i]);
    free(set);
}

char **sim_sweep_sets(const struct sim_sweep_options *o, size_t combination, size_t *count)
{
    const size_t n = o->set_count + o->axis_count;
    char **set = calloc(n + 1, sizeof *set);
    *count = n;
    for (size_t i = 0; set != NULL && i < n; i++) {
        const struct sim_sweep_axis *axis = i < o->set_count ? NULL : &o->axis[i - o->set_count];
        int rc;
        if (axis == NULL)
            rc = (set[i] = strdup(o->set[i])) == NULL ? -1 : 0;
        else
            rc = asprintf(&set[i], "%s=%s", axis->key, axis->value[sim_sweep_value(o, combination, i - o->set_count)]);
        if (rc < 0) {
            set[i] = NULL;
            sim_sweep_sets_free(set, n);
            return NULL;
        }
    }
    return set;
}

static int fail(char *error, size_t cap, const char *why)
{
    snprintf(error, cap, "%s", why);
    return -1;
}

/* The runs of one combination, one for each seed. */
static int plan_combination(struct sim_sweep *w, size_t combination, char *error, size_t cap)
{
    const struct sim_sweep_options *o = w->options;
    struct sim_scenario s;
    size_t count;
    char **set = sim_sweep_sets(o, combination, &count);
    if (set == NULL)
        return fail(error, cap, "out of memory");
    int rc = sim_scenario_read_with(&s, o->scenario, (const char *const *)set, count, error, cap);
    sim_sweep_sets_free(set, count);
    if (rc != 0)
        return -1;
    const size_t seeds = o->seed_count > 0 ? o->seed_count : 1;
    for (size_t i = 0; i < seeds; i++) {
        struct sim_sweep_run *run = &w->run[w->run_count++];
        *run = (struct sim_sweep_run){.combination = combination, .seed = o->seed_count > 0 ? o->seed[i] : s.seed};
        sim_result_run_id(&s, run->seed, run->id);
    }
    if (o->out[0] == '\0' && combination == 0)
        snprintf(w->dir, sizeof w->dir, "results/%s-sweep", s.name);
    sim_scenario_free(&s);
    return 0;
}

static int compare_runs(const void *a, const void *b)
{
    struct sim_sweep_run *const *x = a, *const *y = b;
    const int by_id = strcmp((*x)->id, (*y)->id);
    return by_id != 0 ? by_id : (*x > *y) - (*x < *y); /* of one array */
}

static int mark_twins(struct sim_sweep *w)
{
    struct sim_sweep_run **sorted = calloc(w->run_count + 1, sizeof *sorted);
    if (sorted == NULL)
        return -1;
    for (size_t i = 0; i < w->run_count; i++)
        sorted[i] = &w->run[i];
    qsort(sorted, w->run_count, sizeof *sorted, compare_runs);
    for (size_t i = 1; i < w->run_count; i++)
        sorted[i]->is_twin = strcmp(sorted[i]->id, sorted[i - 1]->id) == 0;
    free(sorted);
    return 0;
}

int sim_sweep_plan(struct sim_sweep *w, const struct sim_sweep_options *o, char *error, size_t cap)
{
    const size_t seeds = o->seed_count > 0 ? o->seed_count : 1;
    *w = (struct sim_sweep){.options = o, .combination_count = 1};
    for (size_t i = 0; i < o->axis_count; i++) {
        w->combination_count *= o->axis[i].count;
        if (w->combination_count > SIM_SWEEP_RUNS_MAX / seeds)
            return fail(error, cap, "more than a million runs");
    }
    snprintf(w->dir, sizeof w->dir, "%s", o->out);
    w->run = calloc(w->combination_count * seeds, sizeof *w->run);
    if (w->run == NULL)
        return fail(error, cap, "out of memory for the list of runs");
    for (size_t i = 0; i < w->combination_count; i++)
        if (plan_combination(w, i, error, cap) != 0)
            return -1;
    if (mark_twins(w) != 0)
        return fail(error, cap, "out of memory for the list of runs");
    for (size_t i = 0; o->only != NULL && strcmp(w->run[i].id, o->only) != 0;)
        if (++i == w->run_count)
            return fail(error, cap, "--only: this sweep has no run with that id (--list shows them)");
    return 0;
}

void sim_sweep_free(struct sim_sweep *w)
{
    free(w->run);
    w->run = NULL;
    w->run_count = 0;
}

bool sim_sweep_is_own(const struct sim_sweep *w, size_t i)
{
    const struct sim_sweep_options *o = w->options;
    if (o->only != NULL)
        return strcmp(w->run[i].id, o->only) == 0 && sim_parallel_rank() == 0;
    if (i % o->tasks != o->task)
        return false;
    return i / o->tasks % sim_parallel_size() == sim_parallel_rank();
}

/* --- finished ones ------------------------------------------------------------------------------------------------ */

static bool is_finished(const struct sim_sweep *w, const struct sim_sweep_run *run)
{
    char path[1300];
    snprintf(path, sizeof path, "%s/%s/run.json", w->dir, run->id);
    char *text = sim_database_text(path, SIM_RUN_JSON_MAX);
    if (text == NULL)
        return false;
    cJSON *json = cJSON_Parse(text);
    const char *ended = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "ended"));
    const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "run"));
    const bool is_so = ended != NULL && id != NULL && strcmp(id, run->id) == 0 &&
                       (strcmp(ended, "complete") == 0 || strcmp(ended, "done") == 0 || strcmp(ended, "duration") == 0);
    cJSON_Delete(json);
    free(text);
    return is_so;
}

size_t sim_sweep_look(struct sim_sweep *w)
{
    size_t finished = 0;
    for (size_t i = 0; i < w->run_count; i++) {
        w->run[i].is_finished = is_finished(w, &w->run[i]);
        finished += w->run[i].is_finished;
    }
    return finished;
}
