/* run.json: what a run was and what came of it. */
#include "config.h"
#include "result_state.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Numbers are written as they are: a double would round those above 2^53. */
static void add_number(cJSON *to, const char *key, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    (void)cJSON_AddRawToObject(to, key, text);
}

static void add_time(cJSON *to, const char *key, sim_time value)
{
    if (value == SIM_NEVER)
        (void)cJSON_AddNullToObject(to, key);
    else
        add_number(to, key, value);
}

static void add_config(void *ctx, const char *key, const char *value)
{
    (void)cJSON_AddStringToObject(ctx, key, value);
}

static const char *bearer_name(enum sim_bearer bearer)
{
    switch (bearer) {
    case SIM_BEARER_EXTENDED:
        return "extended";
    case SIM_BEARER_LEGACY:
        return "legacy";
    case SIM_BEARER_802154:
        return "802.15.4";
    }
    return "unknown";
}

static void add_identity(cJSON *json, const struct sim_result *r, const char *ended)
{
    char text[SIM_RUN_ID_MAX];
    (void)cJSON_AddNumberToObject(json, "format", 1);
    (void)cJSON_AddStringToObject(json, "program", "meshsim");
    (void)cJSON_AddStringToObject(json, "version", SIM_VERSION);
    sim_result_run_id(r->scenario, r->seed, text);
    (void)cJSON_AddStringToObject(json, "run", text);
    (void)cJSON_AddStringToObject(json, "name", r->scenario->name);
    snprintf(text, sizeof text, "%016" PRIx64, sim_scenario_family(r->scenario));
    (void)cJSON_AddStringToObject(json, "configuration", text);
    snprintf(text, sizeof text, "%" PRIu64, r->seed);
    (void)cJSON_AddStringToObject(json, "seed", text);
    (void)cJSON_AddStringToObject(json, "stack", r->stack->name);
    (void)cJSON_AddStringToObject(json, "bearer", bearer_name(r->stack->bearer));
    (void)cJSON_AddStringToObject(json, "ended", ended != NULL ? ended : "running");
    add_number(json, "time_us", r->sampled_at);
    cJSON *field = cJSON_AddObjectToObject(json, "field");
    add_number(field, "nodes", r->field->count);
    add_number(field, "gateways", r->gateways);
    add_number(field, "links", r->links);
    (void)cJSON_AddNumberToObject(field, "range_mm", r->field->range_mm);
    sim_config_walk(r->scenario, add_config, cJSON_AddObjectToObject(json, "config"));
}

static void add_headline(cJSON *json, const struct sim_headline *h)
{
    char digest[33];
    cJSON *to = cJSON_AddObjectToObject(json, "headline");
    add_number(to, "nodes", h->nodes);
    add_number(to, "complete", h->complete);
    add_time(to, "first_us", h->first);
    add_time(to, "median_us", h->median);
    add_time(to, "last_us", h->last);
    add_number(to, "frames", h->frames);
    add_number(to, "chunk_frames", h->chunk_frames);
    add_number(to, "bytes", h->bytes);
    add_number(to, "installed", h->installed);
    add_number(to, "confirmed", h->confirmed);
    add_number(to, "rolled_back", h->rolled_back);
    add_number(to, "down", h->down);
    add_number(to, "energy_mean_uj", h->energy_mean_uj);
    snprintf(digest, sizeof digest, "%016" PRIx64 "%016" PRIx64, h->digest[0], h->digest[1]);
    (void)cJSON_AddStringToObject(to, "digest", digest);
}

static void add_releases(cJSON *json, const struct sim_result *r)
{
    static const char *const names[SEEN_COUNT] = {"complete", "installed", "confirmed", "rolled_back", "refused"};
    cJSON *list = cJSON_AddArrayToObject(json, "releases");
    for (uint32_t i = 0; i < r->scenario->release_count && i < SIM_RELEASES_MAX; i++) {
        const struct sim_release_plan *plan = &r->scenario->release[i];
        cJSON *one = cJSON_CreateObject();
        (void)cJSON_AddItemToArray(list, one);
        add_number(one, "release", plan->release);
        add_number(one, "at_us", plan->at_us);
        for (unsigned k = 0; k < SEEN_COUNT && plan->release - 2 < SIM_RELEASES_MAX; k++)
            add_number(one, names[k], r->counts.release[plan->release - 2][k]);
    }
}

static void add_totals(cJSON *json, const struct sim_result *r)
{
    static const char *const outcomes[SIM_OUTCOME_COUNT] = {
        [SIM_HEARD] = "heard",
        [SIM_MISSED_OFF] = "missed_off",
        [SIM_MISSED_DEAF] = "missed_deaf",
        [SIM_MISSED_HALF_DUPLEX] = "missed_half_duplex",
        [SIM_MISSED_COLLISION] = "missed_collision",
        [SIM_MISSED_AUX] = "missed_aux",
        [SIM_MISSED_NOISE] = "missed_noise",
        [SIM_MISSED_LOSS] = "missed_loss",
        [SIM_MISSED_CUT] = "missed_cut",
    };
    cJSON *totals = cJSON_AddObjectToObject(json, "totals");
    cJSON *frames = cJSON_AddObjectToObject(totals, "frames"), *bytes = cJSON_AddObjectToObject(totals, "bytes");
    for (unsigned i = 0; i < 16; i++) {
        if (r->stack->types[i] == NULL)
            continue;
        add_number(frames, r->stack->types[i], r->totals.frames[i]);
        add_number(bytes, r->stack->types[i], r->totals.bytes[i]);
    }
    cJSON *outcome = cJSON_AddObjectToObject(totals, "outcomes"), *rows = cJSON_AddObjectToObject(totals, "rows");
    for (unsigned i = 0; i < SIM_OUTCOME_COUNT; i++)
        add_number(outcome, outcomes[i], r->totals.outcome[i]);
    for (unsigned i = 0; i < SIM_ROW_KIND_COUNT; i++)
        add_number(rows, sim_result_kind_name((enum sim_row_kind)i), r->counts.rows[i]);
    add_number(totals, "airtime_us", r->totals.airtime_us);
}

static void add_execution(cJSON *json, const struct sim_result *r)
{
    unsigned ranks = sim_parallel_size();
    cJSON *to = cJSON_AddObjectToObject(json, "execution");
    (void)cJSON_AddNumberToObject(to, "ranks", ranks);
#ifdef __clang__
    (void)cJSON_AddStringToObject(to, "compiler", __VERSION__);
#else
    (void)cJSON_AddStringToObject(to, "compiler", "gcc " __VERSION__);
#endif
    add_number(to, "wall_ms", sim_result_wall_us(r) / 1000);
    add_number(to, "events", r->totals.events);
    add_number(to, "windows", r->totals.windows / (ranks > 0 ? ranks : 1));
}

/* Beside it and renamed, so that there is the old one or the new one. */
static int store(struct sim_result *r, const char *text)
{
    char path[4200], part[4210], why[sizeof r->error];
    snprintf(path, sizeof path, "%s/run.json", r->dir);
    snprintf(part, sizeof part, "%s.part", path);
    FILE *file = fopen(part, "we");
    bool is_good = file != NULL && fputs(text, file) >= 0 && fputc('\n', file) == '\n' && fflush(file) == 0;
    int error = errno;
    if (file != NULL && fclose(file) != 0 && is_good) {
        is_good = false;
        error = errno;
    }
    if (is_good && rename(part, path) == 0)
        return 0;
    if (is_good)
        error = errno;
    (void)unlink(part);
    snprintf(why, sizeof why, "%.250s: cannot be written: %s", path, strerror(error));
    return sim_result_fail(r, why);
}

int sim_result_describe(struct sim_result *r, const char *ended)
{
    cJSON *json = cJSON_CreateObject();
    add_identity(json, r, ended);
    if (ended != NULL) {
        add_headline(json, &r->headline);
        add_releases(json, r);
        add_totals(json, r);
    }
    add_execution(json, r);
    char *text = cJSON_Print(json);
    cJSON_Delete(json);
    int result = text == NULL ? sim_result_fail(r, "out of memory for run.json") : store(r, text);
    free(text);
    return result;
}
