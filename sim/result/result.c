#include "result_state.h"

#include "database.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const kind_names[SIM_ROW_KIND_COUNT] = {
    [SIM_ROW_COMPLETE] = "complete",   [SIM_ROW_INSTALLED] = "installed",
    [SIM_ROW_CONFIRMED] = "confirmed", [SIM_ROW_ROLLED_BACK] = "rolled-back",
    [SIM_ROW_REFUSED] = "refused",     [SIM_ROW_RESET] = "reset",
    [SIM_ROW_DOWN] = "down",           [SIM_ROW_UP] = "up",
    [SIM_ROW_REPORTED] = "reported",   [SIM_ROW_DEGRADED] = "degraded",
    [SIM_ROW_DECISION] = "decision",
};

const char *sim_result_kind_name(enum sim_row_kind kind)
{
    return (unsigned)kind < SIM_ROW_KIND_COUNT ? kind_names[kind] : "unknown";
}

int sim_result_fail(struct sim_result *r, const char *why)
{
    if (!r->failed)
        snprintf(r->error, sizeof r->error, "%s", why);
    r->failed = true;
    return -1;
}

const char *sim_result_error(const struct sim_result *r)
{
    return r->error;
}

const struct sim_headline *sim_result_headline(const struct sim_result *r)
{
    return &r->headline;
}

/* All ranks learn what rank 0 came to. 0 or -1. */
static int agree(struct sim_result *r)
{
    struct {
        char error[sizeof r->error];
        uint8_t failed;
    } verdict = {.failed = r->failed};
    /* A rank may have failed by itself: out of memory. */
    uint64_t others = sim_parallel_max(r->failed);
    memcpy(verdict.error, r->error, sizeof verdict.error);
    sim_parallel_broadcast(&verdict, sizeof verdict);
    if (verdict.failed)
        (void)sim_result_fail(r, verdict.error);
    if (others != 0)
        (void)sim_result_fail(r, "out of memory for results on another rank");
    return r->failed ? -1 : 0;
}

/* --- what happens -------------------------------------------------------------------------------------------------- */

static void count_release(struct sim_result *r, uint32_t own, unsigned what, uint32_t release)
{
    uint32_t *seen = &r->seen[own];
    uint32_t index = release - 2;
    uint32_t any = 1u << (SEEN_ANY + what);
    if (r->is_gateway[own])
        return;
    if ((*seen & any) == 0)
        r->own.any[what]++;
    *seen |= any;
    if (index >= SIM_RELEASES_MAX)
        return;
    uint32_t bit = 1u << (index * SEEN_COUNT + what);
    if ((*seen & bit) == 0)
        r->own.release[index][what]++;
    *seen |= bit;
}

static void count_down(struct sim_result *r, uint32_t own, bool is_down)
{
    uint32_t bit = 1u << SEEN_DOWN;
    bool was = (r->seen[own] & bit) != 0;
    if (was == is_down || r->is_gateway[own])
        return;
    r->seen[own] ^= bit;
    r->own.down += is_down ? 1 : UINT64_MAX;
}

static void count_row(struct sim_result *r, const struct sim_row *row)
{
    uint32_t own = row->node - r->field->first;
    if (row->node < r->field->first || row->node >= r->field->limit || row->kind >= SIM_ROW_KIND_COUNT)
        return;
    r->own.rows[row->kind]++;
    switch ((enum sim_row_kind)row->kind) {
    case SIM_ROW_COMPLETE:
        count_release(r, own, SEEN_COMPLETE, row->a);
        if (row->at < r->complete_at[own])
            r->complete_at[own] = row->at;
        break;
    case SIM_ROW_INSTALLED:
        if (row->a >= 2)
            count_release(r, own, SEEN_INSTALLED, row->a);
        break;
    case SIM_ROW_CONFIRMED:
        if (row->a >= 2)
            count_release(r, own, SEEN_CONFIRMED, row->a);
        break;
    case SIM_ROW_ROLLED_BACK:
        count_release(r, own, SEEN_ROLLED_BACK, row->a);
        break;
    case SIM_ROW_REFUSED:
        count_release(r, own, SEEN_REFUSED, row->a);
        break;
    case SIM_ROW_DOWN:
    case SIM_ROW_UP:
        count_down(r, own, row->kind == SIM_ROW_DOWN);
        break;
    case SIM_ROW_RESET:
    case SIM_ROW_REPORTED:
    case SIM_ROW_DEGRADED:
    case SIM_ROW_DECISION:
    case SIM_ROW_KIND_COUNT:
        break;
    }
}

/* Decisions are few and tell the story; they are kept when single happenings of nodes are not. */
static bool is_kept(const struct sim_result *r, uint32_t kind)
{
    return r->scenario->run.rows == SIM_ROWS_ALL ||
           (r->scenario->run.rows == SIM_ROWS_NODES && kind == SIM_ROW_DECISION);
}

static void on_row(void *ctx, const struct sim_row *row)
{
    struct sim_result *r = ctx;
    const struct sim_batch_key key = {row->at, row->node, row->kind, row->a, row->b};
    count_row(r, row);
    if (is_kept(r, row->kind))
        sim_batch_add(&r->rows, &key, NULL, 0);
}

static void on_say(void *ctx, const struct sim_row *row, const char *text)
{
    struct sim_result *r = ctx;
    const struct sim_batch_key *last = sim_batch_last(&r->rows);
    if (last != NULL && last->at == row->at && last->node == row->node && last->kind == row->kind)
        sim_batch_extend(&r->rows, text, strlen(text));
}

static void on_sent(void *ctx, const struct sim_sent *sent)
{
    struct sim_result *r = ctx;
    const struct sim_pcap_world world = {r->scenario->life.drift_ppm, r->scenario->radio_run.secondary_phy};
    const struct sim_batch_key key = {sent->start, sent->node, sent->part, sent->number, 0};
    uint8_t record[SIM_PCAP_RECORD_MAX];
    sim_batch_add(&r->packets, &key, record, sim_pcap_record(sent, &world, record));
}

/* The completion that rows told counts, so that curve, rows and summary agree. */
static void on_summary(void *ctx, const struct sim_node_summary *summary)
{
    struct sim_result *r = ctx;
    const struct sim_batch_key key = {.node = summary->node};
    struct sim_node_summary copy = *summary;
    if (summary->node < r->field->first || summary->node >= r->field->limit)
        return;
    copy.complete_at = r->complete_at[summary->node - r->field->first];
    sim_batch_add(&r->nodes, &key, &copy, sizeof copy);
}

struct sim_engine_hooks sim_result_hooks(struct sim_result *r)
{
    return (struct sim_engine_hooks){
        .ctx = r,
        .summary = on_summary,
        .row = on_row,
        .say = on_say,
        .sent = r->scenario->run.trace_pcap ? on_sent : NULL,
    };
}

/* --- opening ------------------------------------------------------------------------------------------------------- */

static int make_folder(const char *dir, char *error, size_t cap)
{
    char path[4096];
    size_t len = strlen(dir);
    if (len == 0 || len >= sizeof path) {
        snprintf(error, cap, "the result folder needs a name of 1 to %zu bytes", sizeof path - 1);
        return -1;
    }
    memcpy(path, dir, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        char was = path[i];
        path[i] = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST) {
            snprintf(error, cap, "%s: cannot be made: %s", path, strerror(errno));
            return -1;
        }
        path[i] = was;
    }
    return 0;
}

static void remove_old(const char *dir)
{
    static const char *const names[] = {"nodes.csv", "result.sqlite", "run.json"};
    char path[4200];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)unlink(path); /* what cannot be removed shows when it is written */
    }
}

static void write_curve_head(struct sim_result *r)
{
    struct sim_out *out = &r->curve_csv;
    sim_out_print(out, "time_us,complete,installed,confirmed,rolled_back,refused,down,heard,missed_off,missed_deaf,"
                       "missed_half_duplex,missed_collision,missed_aux,missed_noise,missed_loss,missed_cut,airtime_us,"
                       "frames,bytes");
    for (unsigned i = 0; i < 16; i++) {
        if (r->stack->types[i] == NULL)
            continue;
        sim_out_print(out, ",");
        sim_out_field(out, r->stack->types[i]);
    }
    sim_out_print(out, "\n");
}

static int open_files(struct sim_result *r, char *error, size_t cap)
{
    if (make_folder(r->dir, error, cap) != 0)
        return -1;
    struct sim_out *const outs[] = {&r->rows_csv, &r->curve_csv, &r->trace};
    static const char *const names[] = {"rows.csv", "curve.csv", "trace.pcap"};
    for (size_t i = 0; i < 3; i++) {
        if (i == 2 && !r->scenario->run.trace_pcap)
            continue;
        if (sim_out_open(outs[i], r->dir, names[i], i != 2) != 0) {
            snprintf(error, cap, "%s", outs[i]->error);
            return -1;
        }
    }
    sim_out_print(&r->rows_csv, "time_us,node,what,a,b,text\n");
    write_curve_head(r);
    if (r->scenario->run.trace_pcap) {
        uint8_t head[SIM_PCAP_FILE_HEADER];
        sim_pcap_file_header(r->stack->bearer, head);
        sim_out_add(&r->trace, head, sizeof head);
    }
    return 0;
}

static int allocate(struct sim_result *r, const char *dir)
{
    const struct sim_field *f = r->field;
    size_t own = f->limit - f->first;
    r->dir = strdup(dir);
    r->seen = calloc(own + 1, sizeof *r->seen);
    r->complete_at = malloc((own + 1) * sizeof *r->complete_at);
    r->is_gateway = calloc(own + 1, sizeof *r->is_gateway);
    uint32_t *gateways = malloc(((size_t)f->count + 1) * sizeof *gateways);
    bool is_whole = r->dir != NULL && r->seen != NULL && r->complete_at != NULL && r->is_gateway != NULL;
    if (!is_whole || gateways == NULL) {
        free(gateways);
        return -1;
    }
    for (size_t i = 0; i < own; i++)
        r->complete_at[i] = SIM_NEVER;
    r->gateways = sim_field_gateways(f, gateways, f->count);
    for (uint32_t i = 0; i < r->gateways && i < f->count; i++)
        if (gateways[i] >= f->first && gateways[i] < f->limit)
            r->is_gateway[gateways[i] - f->first] = 1;
    free(gateways);
    return 0;
}

static void release(struct sim_result *r)
{
    struct sim_out *const outs[] = {&r->rows_csv, &r->curve_csv, &r->nodes_csv, &r->trace};
    for (size_t i = 0; i < 4; i++)
        (void)sim_out_close(outs[i]);
    sim_batch_free(&r->rows);
    sim_batch_free(&r->packets);
    sim_batch_free(&r->nodes);
    free(r->seen);
    free(r->complete_at);
    free(r->is_gateway);
    r->seen = NULL;
    r->complete_at = NULL;
    r->is_gateway = NULL;
}

void sim_result_free(struct sim_result *r)
{
    if (r == NULL)
        return;
    /* What was not sampled is dropped: a resume that is refused must leave the files as they were. */
    r->rows_csv.failed = r->curve_csv.failed = r->nodes_csv.failed = r->trace.failed = true;
    release(r);
    free(r->dir);
    free(r);
}

struct sim_result *sim_result_open(const char *dir, const struct sim_scenario *s, const struct sim_field *f,
                                   const struct sim_stack *stack, uint64_t seed, char *error, size_t cap)
{
    char why[320] = "";
    struct sim_result *r = calloc(1, sizeof *r);
    if (r == NULL) {
        sim_parallel_abort("out of memory for results"); /* the other ranks would wait for this one */
        return NULL;
    }
    *r = (struct sim_result){.scenario = s, .field = f, .stack = stack, .seed = seed};
    r->is_first = sim_parallel_rank() == 0;
    r->rows_csv.fd = r->curve_csv.fd = r->nodes_csv.fd = r->trace.fd = -1;
    clock_gettime(CLOCK_MONOTONIC, &r->opened);
    if (allocate(r, dir) != 0)
        (void)sim_result_fail(r, "out of memory for results");
    else if (r->is_first && open_files(r, why, sizeof why) != 0)
        (void)sim_result_fail(r, why);
    uint64_t links = f->link_count;
    sim_parallel_sum(&links, 1);
    r->links = links;
    if (agree(r) != 0) {
        snprintf(error, cap, "%s", r->error);
        sim_result_free(r);
        return NULL;
    }
    return r;
}

/* --- sampling ------------------------------------------------------------------------------------------------------ */

static void take_row(void *ctx, const struct sim_batch_key *key, const uint8_t *content, size_t size)
{
    struct sim_result *r = ctx;
    char text[2048];
    size_t len = size < sizeof text - 1 ? size : sizeof text - 1;
    memcpy(text, content, len);
    text[len] = '\0';
    sim_out_print(&r->rows_csv, "%" PRIu64 ",%" PRIu32 ",%s,%" PRIu32 ",%" PRIu32 ",", key->at, key->node,
                  sim_result_kind_name((enum sim_row_kind)key->kind), key->a, key->b);
    sim_out_field(&r->rows_csv, text);
    sim_out_print(&r->rows_csv, "\n");
}

static void take_packet(void *ctx, const struct sim_batch_key *key, const uint8_t *content, size_t size)
{
    struct sim_result *r = ctx;
    (void)key;
    sim_out_add(&r->trace, content, size);
}

static uint64_t sum16(const uint64_t values[16])
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < 16; i++)
        sum += values[i];
    return sum;
}

static void write_point(struct sim_result *r, sim_time now)
{
    struct sim_out *out = &r->curve_csv;
    const struct sim_result_counts *c = &r->counts;
    const struct sim_totals *t = &r->totals, *base = &r->warmup;
    sim_out_print(out, "%" PRIu64, now);
    for (unsigned i = 0; i < SEEN_COUNT; i++)
        sim_out_print(out, ",%" PRIu64, c->any[i]);
    sim_out_print(out, ",%" PRIu64, c->down);
    for (unsigned i = 0; i < SIM_OUTCOME_COUNT; i++)
        sim_out_print(out, ",%" PRIu64, t->outcome[i] - base->outcome[i]);
    sim_out_print(out, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64, t->airtime_us - base->airtime_us,
                  sum16(t->frames) - sum16(base->frames), sum16(t->bytes) - sum16(base->bytes));
    for (unsigned i = 0; i < 16; i++)
        if (r->stack->types[i] != NULL)
            sim_out_print(out, ",%" PRIu64, t->frames[i] - base->frames[i]);
    sim_out_print(out, "\n");
}

/* Sums of all ranks, the same on each. */
static void gather_counts(struct sim_result *r, struct sim_engine *e)
{
    uint64_t before = r->counts.any[SEEN_COMPLETE];
    struct sim_result_counts counts = r->own;
    _Static_assert(sizeof counts % sizeof(uint64_t) == 0, "one array");
    sim_parallel_sum((uint64_t *)(void *)&counts, sizeof counts / sizeof(uint64_t));
    r->counts = counts;
    sim_engine_totals(e, &r->totals);
    if (counts.any[SEEN_COMPLETE] != before)
        r->last = r->totals;
}

static int gather(struct sim_result *r, sim_time limit)
{
    if (sim_batch_gather(&r->rows, limit, take_row, r) != 0 ||
        sim_batch_gather(&r->packets, limit, take_packet, r) != 0)
        (void)sim_result_fail(r, "out of memory for results");
    return r->failed ? -1 : 0;
}

static void flush(struct sim_result *r)
{
    struct sim_out *const outs[] = {&r->rows_csv, &r->curve_csv, &r->trace};
    for (size_t i = 0; i < 3; i++)
        if (sim_out_flush(outs[i]) != 0)
            (void)sim_result_fail(r, outs[i]->error);
}

int sim_result_sample(struct sim_result *r, struct sim_engine *e)
{
    sim_time now = sim_engine_now(e);
    bool is_repeated = r->sampled_at == now && now != 0;
    gather_counts(r, e);
    (void)gather(r, now);
    if (!r->is_warm && now >= r->scenario->run.warmup_us) {
        r->is_warm = true;
        /* Without a warmup everything counts, also what came before the first sample. */
        if (r->scenario->run.warmup_us > 0)
            r->warmup = r->totals;
    }
    if (r->is_first) {
        bool is_start = r->sampled_at == 0;
        if (r->is_warm && !is_repeated)
            write_point(r, now);
        flush(r);
        if (is_start && !r->failed) {
            remove_old(r->dir);
            (void)sim_result_describe(r, NULL);
        }
    }
    r->sampled_at = now;
    return agree(r);
}

int sim_result_close(struct sim_result *r, struct sim_engine *e, const char *ended)
{
    char error[320], path[4200];
    if (!r->failed)
        (void)sim_result_sample(r, e);
    else
        gather_counts(r, e);
    (void)gather(r, SIM_NEVER);
    sim_engine_finish(e);
    (void)sim_result_summarise(r);
    if (r->is_first) {
        flush(r);
        (void)sim_result_describe(r, ended);
        snprintf(path, sizeof path, "%s/result.sqlite", r->dir);
        if (!r->failed && sim_database_add(path, r->dir, error, sizeof error) != 0)
            (void)sim_result_fail(r, error);
    }
    release(r);
    return agree(r);
}

/* --- checkpoint ---------------------------------------------------------------------------------------------------- */

#define SAVED(member)                                                                                                  \
    {                                                                                                                  \
        offsetof(struct sim_result, member), sizeof(((struct sim_result *)NULL)->member)                               \
    }
static const struct {
    size_t offset, size;
} saved[] = {SAVED(own), SAVED(counts), SAVED(totals), SAVED(warmup), SAVED(last), SAVED(is_warm), SAVED(sampled_at)};

uint64_t sim_result_wall_us(const struct sim_result *r)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return r->wall_before_us + (uint64_t)(now.tv_sec - r->opened.tv_sec) * 1000000 +
           (uint64_t)(now.tv_nsec - r->opened.tv_nsec + 1000000000) / 1000 - 1000000;
}

int sim_result_save(struct sim_result *r, struct sim_archive *a)
{
    uint32_t own = r->field->limit - r->field->first;
    (void)sim_archive_section(a, "RSLT");
    for (size_t i = 0; i < sizeof saved / sizeof saved[0]; i++)
        (void)sim_archive_put(a, (const uint8_t *)r + saved[i].offset, saved[i].size);
    (void)sim_archive_put_count(a, sim_result_wall_us(r));
    (void)sim_archive_put(a, r->seen, own * sizeof *r->seen);
    (void)sim_archive_put(a, r->complete_at, own * sizeof *r->complete_at);
    (void)sim_batch_save(&r->rows, a);
    (void)sim_batch_save(&r->packets, a);
    (void)sim_archive_put_count(a, r->rows_csv.length);
    (void)sim_archive_put_count(a, r->curve_csv.length);
    (void)sim_archive_put_count(a, r->trace.length);
    return sim_archive_failed(a) ? -1 : 0;
}

/* A length of 0: nothing was flushed before the checkpoint, so the file begins anew. */
static void cut(struct sim_result *r, struct sim_out *out, uint64_t length)
{
    if (length > 0 && sim_out_cut(out, length) != 0)
        (void)sim_result_fail(r, out->error);
}

int sim_result_load(struct sim_result *r, struct sim_archive *a)
{
    uint32_t own = r->field->limit - r->field->first;
    uint64_t rows = 0, curve = 0, trace = 0;
    (void)sim_archive_section(a, "RSLT");
    for (size_t i = 0; i < sizeof saved / sizeof saved[0]; i++)
        (void)sim_archive_get(a, (uint8_t *)r + saved[i].offset, saved[i].size);
    (void)sim_archive_get_count(a, &r->wall_before_us, UINT64_MAX / 2);
    (void)sim_archive_get(a, r->seen, own * sizeof *r->seen);
    (void)sim_archive_get(a, r->complete_at, own * sizeof *r->complete_at);
    (void)sim_batch_load(&r->rows, a);
    (void)sim_batch_load(&r->packets, a);
    (void)sim_archive_get_count(a, &rows, INT64_MAX);
    (void)sim_archive_get_count(a, &curve, INT64_MAX);
    (void)sim_archive_get_count(a, &trace, INT64_MAX);
    if (sim_archive_failed(a))
        return sim_result_fail(r, "the checkpoint does not fit this run");
    cut(r, &r->rows_csv, rows);
    cut(r, &r->curve_csv, curve);
    cut(r, &r->trace, trace);
    if (r->failed)
        (void)sim_archive_fail(a, r->error);
    return r->failed ? -1 : 0;
}
