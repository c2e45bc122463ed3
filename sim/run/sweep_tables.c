/* What comes of a sweep: runs.csv, summary.csv, runs.sqlite. */
#include "sweep.h"

#include "sim/result/database.h"
#include "sim/result/interval.h"
#include "sim/result/out.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Figures of "headline" in run.json. */
static const char *const figures[] = {"nodes",       "complete", "first_us",      "median_us",    "last_us",
                                      "frames",      "bytes",    "installed",     "chunk_frames", "confirmed",
                                      "rolled_back", "down",     "energy_mean_uj"};
#define FIGURES (sizeof figures / sizeof figures[0])

/* A run as read back; NAN: it has no such figure (a time that was not reached). */
struct outcome {
    bool is_read;
    double value[FIGURES];
    char ended[32], digest[40];
};

static void get_text(const cJSON *json, const char *key, char *out, size_t cap)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, key));
    snprintf(out, cap, "%s", text != NULL ? text : "");
}

static void read_outcome(const struct sim_sweep *w, const struct sim_sweep_run *run, struct outcome *out)
{
    char path[1300];
    *out = (struct outcome){.is_read = false};
    if (!run->is_finished)
        return;
    snprintf(path, sizeof path, "%s/%s/run.json", w->dir, run->id);
    char *text = sim_database_text(path, SIM_RUN_JSON_MAX);
    if (text == NULL)
        return;
    cJSON *json = cJSON_Parse(text);
    const cJSON *headline = cJSON_GetObjectItemCaseSensitive(json, "headline");
    for (size_t i = 0; i < FIGURES; i++) {
        const cJSON *number = cJSON_GetObjectItemCaseSensitive(headline, figures[i]);
        out->value[i] = cJSON_IsNumber(number) ? number->valuedouble : NAN;
    }
    get_text(json, "ended", out->ended, sizeof out->ended);
    get_text(headline, "digest", out->digest, sizeof out->digest);
    out->is_read = headline != NULL;
    cJSON_Delete(json);
    free(text);
}

static void put_keys(struct sim_out *out, const struct sim_sweep_options *o)
{
    for (size_t i = 0; i < o->axis_count; i++) {
        sim_out_field(out, o->axis[i].key);
        sim_out_add(out, ",", 1);
    }
}

static void put_values(struct sim_out *out, const struct sim_sweep_options *o, size_t combination)
{
    for (size_t i = 0; i < o->axis_count; i++) {
        sim_out_field(out, o->axis[i].value[sim_sweep_value(o, combination, i)]);
        sim_out_add(out, ",", 1);
    }
}

static int finish(struct sim_out *out, const struct sim_sweep *w, const char *part, const char *name, char *error,
                  size_t cap)
{
    char from[1300], to[1300];
    int rc = sim_out_close(out);
    snprintf(from, sizeof from, "%s/%s", w->dir, part);
    snprintf(to, sizeof to, "%s/%s", w->dir, name);
    if (rc != 0)
        snprintf(error, cap, "%s", out->error);
    else if ((rc = rename(from, to)) != 0)
        snprintf(error, cap, "%.250s: %s", to, strerror(errno));
    return rc;
}

static int open_table(struct sim_out *out, const struct sim_sweep *w, const char *part, char *error, size_t cap)
{
    if (sim_out_open(out, w->dir, part, true) == 0)
        return 0;
    snprintf(error, cap, "%s", out->error);
    (void)sim_out_close(out);
    return -1;
}

static int write_runs(const struct sim_sweep *w, const struct outcome *outcome, char *error, size_t cap)
{
    struct sim_out out;
    if (open_table(&out, w, "runs.csv.part", error, cap) != 0)
        return -1;
    sim_out_print(&out, "run,");
    put_keys(&out, w->options);
    sim_out_print(&out, "seed,ended");
    for (size_t i = 0; i < FIGURES; i++)
        sim_out_print(&out, ",%s", figures[i]);
    sim_out_print(&out, ",digest\n");
    for (size_t i = 0; i < w->run_count; i++) {
        if (!outcome[i].is_read)
            continue;
        sim_out_print(&out, "%s,", w->run[i].id);
        put_values(&out, w->options, w->run[i].combination);
        sim_out_print(&out, "%" PRIu64 ",%s", w->run[i].seed, outcome[i].ended);
        for (size_t k = 0; k < FIGURES; k++)
            if (isnan(outcome[i].value[k]))
                sim_out_print(&out, ",");
            else
                sim_out_print(&out, ",%.0f", outcome[i].value[k]);
        sim_out_print(&out, ",%s\n", outcome[i].digest);
    }
    return finish(&out, w, "runs.csv.part", "runs.csv", error, cap);
}

/* One combination's figures over its seeds; `from` is its first run. */
static void put_combination(struct sim_out *out, const struct sim_sweep *w, const struct outcome *outcome, size_t from,
                            size_t seeds, double *values)
{
    size_t read = 0;
    for (size_t i = 0; i < seeds; i++)
        read += outcome[from + i].is_read;
    put_values(out, w->options, w->run[from].combination);
    sim_out_print(out, "%zu", read);
    for (size_t k = 0; k < FIGURES; k++) {
        size_t n = 0;
        for (size_t i = 0; i < seeds; i++)
            if (outcome[from + i].is_read && !isnan(outcome[from + i].value[k]))
                values[n++] = outcome[from + i].value[k];
        const struct sim_interval mean = sim_interval_mean(values, n);
        if (n == 0)
            sim_out_print(out, ",0,,,");
        else
            sim_out_print(out, ",%zu,%.6g,%.6g,%.6g", n, mean.value, mean.low, mean.high);
    }
    sim_out_print(out, "\n");
}

static int write_summary(const struct sim_sweep *w, const struct outcome *outcome, char *error, size_t cap)
{
    struct sim_out out;
    const size_t seeds = w->run_count / w->combination_count;
    double *values = calloc(seeds + 1, sizeof *values);
    if (values == NULL) {
        snprintf(error, cap, "out of memory for the tables");
        return -1;
    }
    if (open_table(&out, w, "summary.csv.part", error, cap) != 0) {
        free(values);
        return -1;
    }
    put_keys(&out, w->options);
    sim_out_print(&out, "seeds");
    for (size_t i = 0; i < FIGURES; i++)
        sim_out_print(&out, ",%s_n,%s_mean,%s_low,%s_high", figures[i], figures[i], figures[i], figures[i]);
    sim_out_print(&out, "\n");
    for (size_t i = 0; i < w->run_count; i += seeds)
        put_combination(&out, w, outcome, i, seeds, values);
    free(values);
    return finish(&out, w, "summary.csv.part", "summary.csv", error, cap);
}

static int write_database(const struct sim_sweep *w, char *error, size_t cap)
{
    char path[1300], dir[1300];
    snprintf(path, sizeof path, "%s/runs.sqlite", w->dir);
    for (size_t i = 0; i < w->run_count; i++) {
        snprintf(dir, sizeof dir, "%s/%s", w->dir, w->run[i].id);
        if (w->run[i].is_finished && sim_database_add(path, dir, error, cap) != 0)
            return -1;
    }
    return 0;
}

int sim_sweep_tables(const struct sim_sweep *w, char *error, size_t cap)
{
    struct outcome *outcome = calloc(w->run_count + 1, sizeof *outcome);
    if (outcome == NULL) {
        snprintf(error, cap, "out of memory for the tables");
        return -1;
    }
    for (size_t i = 0; i < w->run_count; i++)
        read_outcome(w, &w->run[i], &outcome[i]);
    int rc = write_runs(w, outcome, error, cap);
    if (rc == 0)
        rc = write_summary(w, outcome, error, cap);
    if (rc == 0 && w->options->sqlite)
        rc = write_database(w, error, cap);
    free(outcome);
    return rc;
}
