/* One run of the report as JSON: curves thinned out, nodes sampled, decisions in full. */
#include "csv.h"
#include "meshd/release/release.h"
#include "report_state.h"
#include "result.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define POINTS_MAX 360    /* of a curve */
#define QUANTILES_MAX 240 /* of a distribution */
#define NODES_MAX 4000    /* on a map */
#define EVENTS_MAX 20000  /* of nodes on a map */
#define DECISIONS_MAX 400
#define NONE UINT32_MAX

void sim_report_put(FILE *to, const char *json)
{
    for (; *json != '\0'; json++) {
        if (*json == '<' || *json == '>' || *json == '&')
            fprintf(to, "\\u%04x", (unsigned char)*json);
        else
            (void)putc(*json, to);
    }
}

static void put_text(FILE *to, const char *text)
{
    cJSON *json = cJSON_CreateString(text);
    char *quoted = cJSON_PrintUnformatted(json);
    sim_report_put(to, quoted != NULL ? quoted : "\"\"");
    free(quoted);
    cJSON_Delete(json);
}

static void put_item(FILE *to, const cJSON *json, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    char *text = item != NULL ? cJSON_PrintUnformatted(item) : NULL;
    fprintf(to, "\"%s\":", key);
    sim_report_put(to, text != NULL ? text : "null");
    (void)putc(',', to);
    free(text);
}

/* --- curve --------------------------------------------------------------------------------------------------------- */

/* Keeps every stride-th record, twice as far apart whenever there are too many, and the last one. */
struct curve {
    uint64_t (*point)[SIM_CSV_FIELDS_MAX]; /* [2 * POINTS_MAX] */
    size_t count;
    uint64_t stride;
    uint64_t last[SIM_CSV_FIELDS_MAX];
    bool is_last_kept;
};

static void add_point(struct curve *c, const struct sim_csv *csv)
{
    for (unsigned i = 0; i < csv->count; i++)
        c->last[i] = sim_csv_number(csv, (int)i, 0);
    c->is_last_kept = (csv->record - 1) % c->stride == 0;
    if (!c->is_last_kept)
        return;
    if (c->count == 2 * POINTS_MAX) {
        for (size_t i = 0; i < POINTS_MAX; i++)
            memcpy(c->point[i], c->point[2 * i], sizeof c->point[i]);
        c->count = POINTS_MAX;
        c->stride *= 2;
    }
    memcpy(c->point[c->count++], c->last, sizeof c->last);
}

static void put_curve(FILE *to, const struct sim_report_run *run)
{
    char path[4200];
    struct sim_csv csv;
    struct curve c = {.stride = 1, .is_last_kept = true};
    snprintf(path, sizeof path, "%s/curve.csv", run->dir);
    c.point = malloc((2 * POINTS_MAX + 1) * sizeof *c.point);
    if (sim_csv_open(&csv, path) != 0 || c.point == NULL)
        goto out;
    while (sim_csv_next(&csv))
        add_point(&c, &csv);
    if (!c.is_last_kept)
        memcpy(c.point[c.count++], c.last, sizeof c.last);
    fputs("\"curve\":{", to);
    for (unsigned i = 0; i < csv.head_count; i++) {
        put_text(to, csv.head[i]);
        fputs(":[", to);
        for (size_t k = 0; k < c.count; k++)
            fprintf(to, k > 0 ? ",%" PRIu64 : "%" PRIu64, c.point[k][i]);
        fputs(i + 1 < csv.head_count ? "]," : "]", to);
    }
    fputs("},", to);
out:
    sim_csv_close(&csv);
    free(c.point);
}

/* --- nodes --------------------------------------------------------------------------------------------------------- */

struct nodes {
    size_t count, cap;
    uint64_t *complete, *energy; /* [count] of those that should get the image */
    size_t targets;
};

static int by_value(const void *left, const void *right)
{
    const uint64_t *l = left, *r = right;
    return *l < *r ? -1 : *l > *r;
}

/* Values at even steps of a sorted list, the first and the last among them. Those at and above `end` are left out. */
static void put_quantiles(FILE *to, const char *key, uint64_t *values, size_t n, uint64_t unit)
{
    size_t known = 0;
    qsort(values, n, sizeof *values, by_value);
    while (known < n && values[known] != SIM_NEVER)
        known++;
    size_t points = known < QUANTILES_MAX ? known : QUANTILES_MAX;
    fprintf(to, "\"%s\":{\"of\":%zu,\"known\":%zu,\"values\":[", key, n, known);
    for (size_t i = 0; i < points; i++) {
        size_t at = points > 1 ? i * (known - 1) / (points - 1) : 0;
        fprintf(to, i > 0 ? ",%" PRIu64 : "%" PRIu64, values[at] / unit);
    }
    fputs("]},", to);
}

static bool grow(struct nodes *n)
{
    if (n->targets < n->cap)
        return true;
    size_t cap = n->cap * 2 + 1024;
    uint64_t *complete = realloc(n->complete, cap * sizeof *complete);
    if (complete != NULL)
        n->complete = complete;
    uint64_t *energy = realloc(n->energy, cap * sizeof *energy);
    if (energy != NULL)
        n->energy = energy;
    if (complete == NULL || energy == NULL)
        return false;
    n->cap = cap;
    return true;
}

/* First pass: distributions. Returns how many nodes there are, 0 when there is no file. */
static size_t put_distributions(FILE *to, const char *path)
{
    struct sim_csv csv;
    struct nodes n = {0};
    if (sim_csv_open(&csv, path) == 0) {
        int gateway = sim_csv_column(&csv, "gateway"), attacker = sim_csv_column(&csv, "attacker");
        int complete = sim_csv_column(&csv, "complete_us"), energy = sim_csv_column(&csv, "energy_uj");
        while (sim_csv_next(&csv)) {
            n.count++;
            if (sim_csv_number(&csv, gateway, 0) != 0 || sim_csv_number(&csv, attacker, 0) != 0 || !grow(&n))
                continue;
            n.complete[n.targets] = sim_csv_number(&csv, complete, SIM_NEVER);
            n.energy[n.targets++] = sim_csv_number(&csv, energy, 0);
        }
        if (n.targets > 0) {
            put_quantiles(to, "completion", n.complete, n.targets, 1000);
            put_quantiles(to, "energies", n.energy, n.targets, 1);
        }
    }
    sim_csv_close(&csv);
    free(n.complete);
    free(n.energy);
    return n.count;
}

static void put_time(FILE *to, const struct sim_csv *csv, int column)
{
    uint64_t at = sim_csv_number(csv, column, SIM_NEVER);
    if (at == SIM_NEVER)
        fputs(",-1", to);
    else
        fprintf(to, ",%" PRIu64, at / 1000);
}

/* Second pass: every step-th node and some gateways, each as [node, x, y, z, flags, hops, complete, installed,
 * confirmed, down, name]; times in ms. sample[node] becomes its place in the list. Returns how many. */
static uint32_t put_nodes(FILE *to, const char *path, size_t count, uint32_t *sample)
{
    struct sim_csv csv;
    uint32_t placed = 0;
    size_t step = (count + NODES_MAX - 1) / NODES_MAX, at = 0, gateways = 0;
    if (sim_csv_open(&csv, path) != 0) {
        sim_csv_close(&csv);
        return 0;
    }
    int column[16];
    static const char *const names[16] = {"node", "x_mm",        "y_mm",         "z_mm",         "gateway", "attacker",
                                          "hops", "complete_us", "installed_us", "confirmed_us", "down",    "name"};
    for (unsigned i = 0; i < 12; i++)
        column[i] = sim_csv_column(&csv, names[i]);
    fputs("\"nodes\":[", to);
    for (; sim_csv_next(&csv) && at < count; at++) {
        uint64_t node = sim_csv_number(&csv, column[0], NONE);
        bool is_gateway = sim_csv_number(&csv, column[4], 0) != 0;
        if (node >= count || (at % step != 0 && !(is_gateway && gateways < 200)))
            continue;
        gateways += is_gateway;
        sample[node] = placed;
        fprintf(to, placed > 0 ? ",[%" PRIu64 : "[%" PRIu64, node);
        for (unsigned i = 1; i < 4; i++)
            fprintf(to, ",%" PRId64, sim_csv_signed(&csv, column[i], 0));
        fprintf(to, ",%d,%" PRId64, (is_gateway ? 1 : 0) + (sim_csv_number(&csv, column[5], 0) != 0 ? 2 : 0),
                sim_csv_signed(&csv, column[6], -1));
        for (unsigned i = 7; i < 10; i++)
            put_time(to, &csv, column[i]);
        fprintf(to, ",%" PRIu64, sim_csv_number(&csv, column[10], 0));
        if (count <= 600) {
            (void)putc(',', to);
            put_text(to, sim_csv_text(&csv, column[11]));
        }
        (void)putc(']', to);
        placed++;
    }
    fputs("],", to);
    sim_csv_close(&csv);
    return placed;
}

/* --- rows ---------------------------------------------------------------------------------------------------------- */

/* Words of the page's own for what a gateway decided. */
static const char *decision_word(uint64_t kind)
{
    static const char *const words[MD_DECISION_KIND_COUNT] = {
        [MD_DECISION_STARTED] = "started",     [MD_DECISION_OPENED] = "opened",
        [MD_DECISION_WIDENED] = "widened",     [MD_DECISION_SOAKING] = "soaking",
        [MD_DECISION_RESOAK] = "waiting",      [MD_DECISION_PASSED] = "passed",
        [MD_DECISION_DONE] = "done",           [MD_DECISION_HELD] = "held",
        [MD_DECISION_RESUMED] = "resumed",     [MD_DECISION_ADVANCED] = "advanced",
        [MD_DECISION_REVERTING] = "reverting", [MD_DECISION_REVERTED] = "reverted",
        [MD_DECISION_OVERRIDE] = "override",   [MD_DECISION_GAP] = "gap",
        [MD_DECISION_CALLED] = "roll call",
    };
    return kind < MD_DECISION_KIND_COUNT ? words[kind] : "decision";
}

/* Decisions as [ms, node, release, word, text]. */
static void put_decisions(FILE *to, const char *path)
{
    struct sim_csv csv;
    unsigned n = 0;
    fputs("\"decisions\":[", to);
    if (sim_csv_open(&csv, path) == 0) {
        int what = sim_csv_column(&csv, "what"), time = sim_csv_column(&csv, "time_us");
        int node = sim_csv_column(&csv, "node"), a = sim_csv_column(&csv, "a"), b = sim_csv_column(&csv, "b");
        int text = sim_csv_column(&csv, "text");
        const char *decision = sim_result_kind_name(SIM_ROW_DECISION);
        while (n < DECISIONS_MAX && sim_csv_next(&csv)) {
            if (strcmp(sim_csv_text(&csv, what), decision) != 0)
                continue;
            fprintf(to, "%s[%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",\"%s\",", n++ > 0 ? "," : "",
                    sim_csv_number(&csv, time, 0) / 1000, sim_csv_number(&csv, node, 0), sim_csv_number(&csv, a, 0),
                    decision_word(sim_csv_number(&csv, b, MD_DECISION_KIND_COUNT)));
            put_text(to, sim_csv_text(&csv, text));
            (void)putc(']', to);
        }
    }
    fputs("],", to);
    sim_csv_close(&csv);
}

/* What the map shows of sampled nodes beside their own times: [ms, place, kind]. */
static void put_events(FILE *to, const char *path, const uint32_t *sample, size_t count)
{
    static const enum sim_row_kind kinds[] = {SIM_ROW_ROLLED_BACK, SIM_ROW_DOWN, SIM_ROW_UP, SIM_ROW_DEGRADED};
    struct sim_csv csv;
    unsigned n = 0;
    fputs("\"events\":[", to);
    if (sim_csv_open(&csv, path) == 0) {
        int what = sim_csv_column(&csv, "what"), time = sim_csv_column(&csv, "time_us");
        int node = sim_csv_column(&csv, "node");
        while (n < EVENTS_MAX && sim_csv_next(&csv)) {
            uint64_t number = sim_csv_number(&csv, node, NONE);
            if (number >= count || sample[number] == NONE)
                continue;
            for (unsigned k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
                if (strcmp(sim_csv_text(&csv, what), sim_result_kind_name(kinds[k])) == 0)
                    fprintf(to, "%s[%" PRIu64 ",%" PRIu32 ",%u]", n++ > 0 ? "," : "",
                            sim_csv_number(&csv, time, 0) / 1000, sample[number], k);
        }
    }
    fputs("],", to);
    sim_csv_close(&csv);
}

void sim_report_put_run(FILE *to, const struct sim_report_run *run)
{
    static const char *const keys[] = {"run",      "name",    "configuration", "seed",     "stack",
                                       "bearer",   "version", "ended",         "time_us",  "headline",
                                       "releases", "totals",  "field",         "execution"};
    char path[4200];
    (void)putc('{', to);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (run->depth != SIM_REPORT_FIGURES || i < 12)
            put_item(to, run->json, keys[i]);
    if (run->depth == SIM_REPORT_WHOLE)
        put_item(to, run->json, "config");
    snprintf(path, sizeof path, "%s/nodes.csv", run->dir);
    size_t count = run->depth != SIM_REPORT_FIGURES ? put_distributions(to, path) : 0;
    if (run->depth == SIM_REPORT_WHOLE || (run->depth == SIM_REPORT_CURVE && count == 0))
        put_curve(to, run);
    if (run->depth == SIM_REPORT_WHOLE) {
        uint32_t *sample = malloc((count + 1) * sizeof *sample);
        for (size_t i = 0; sample != NULL && i < count; i++)
            sample[i] = NONE;
        uint32_t placed = sample != NULL && count > 0 ? put_nodes(to, path, count, sample) : 0;
        snprintf(path, sizeof path, "%s/rows.csv", run->dir);
        put_decisions(to, path);
        if (placed > 0)
            put_events(to, path, sample, count);
        free(sample);
    }
    fputs("\"dir\":", to);
    put_text(to, run->dir);
    fprintf(to, ",\"group\":%zu}", run->group);
}
