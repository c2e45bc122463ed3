#include "dissemination.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/mp_wire.h"

#define GIVE_UP_FLOORS 20 /* times the floor */

struct run {
    const struct dissemination_config *config;
    struct dissemination_result *result;
    struct world world;
    struct payload payload;
    uint32_t staged;   /* nodes that accepted the directive */
    uint32_t complete; /* nodes with the right payload */
    bool is_wrong;
    bool is_over;                         /* stops the world */
    int outcome[DISSEMINATION_NODES_MAX]; /* of the event that is ending: what each engine said, 1: nothing */
    uint32_t event_gains;
};

/* --- what the nodes do
 * ------------------------------------------------------------------------------------------------- */

static void finish_node(struct run *run, const struct world_node *n)
{
    if (!payload_is_right(&run->payload, &n->member)) {
        fprintf(stderr, "node %u completed with a wrong payload\n", n->member.index);
        run->is_wrong = run->is_over = true;
        return;
    }
    if (++run->complete == run->world.count - 1) {
        run->result->ended = world_now(n->world);
        run->is_over = true;
    }
}

static void on_raised(void *ctx, struct world_node *n, uint32_t events)
{
    struct run *run = ctx;
    if (n->member.index == 0)
        return;
    if (events & MP_EVENT_DIRECTIVE)
        run->staged++;
    if (events & (MP_EVENT_DIRECTIVE | MP_EVENT_MANIFEST) && payload_accept(&n->member, world_now(n->world)) != 0)
        run->is_wrong = run->is_over = true;
    if (events & MP_EVENT_COMPLETE)
        finish_node(run, n);
}

/* --- what is counted
 * --------------------------------------------------------------------------------------------------- */

static bool is_running(const struct run *run)
{
    return run->result->started != 0;
}

/* True when the node holds more than before. */
static bool note_marks(struct run *run, const struct world_node *n)
{
    struct dissemination_result *r = run->result;
    uint32_t held = n->member.place[PAYLOAD_PLACE].held;
    if (n->member.index == 0 || held == r->held[n->member.index])
        return false;
    r->held[n->member.index] = held;
    run->event_gains++;
    for (unsigned q = 0; q < DISSEMINATION_MARKS; q++)
        if (r->mark[n->member.index][q] == 0 && held * DISSEMINATION_MARKS >= r->positions * (q + 1))
            r->mark[n->member.index][q] = world_now(n->world);
    return true;
}

static void on_heard(void *ctx, struct world_node *n, const uint8_t *frame, size_t len, int result)
{
    struct run *run = ctx;
    (void)len;
    bool is_chunk = (frame[0] & 15) == MP_TYPE_CHUNK;
    bool is_gain = note_marks(run, n);
    if (result > 0)
        result = 0;
    /* engines take what they hold already without complaint */
    if (is_chunk && result == 0 && !is_gain)
        result = MP_ERR_DUPLICATE;
    run->outcome[n->member.index] = result;
    if (!is_running(run) || -result >= MP_ERROR_COUNT)
        return;
    run->result->handled[-result]++;
    if (is_chunk)
        run->result->chunk_handled[-result]++;
}

static const char *const TYPE_NAME[MP_TYPE_COUNT] = {
    [MP_TYPE_SUMMARY] = "summary",     [MP_TYPE_MANIFEST] = "manifest",     [MP_TYPE_DIRECTIVE] = "directive",
    [MP_TYPE_KEYCHANGE] = "keychange", [MP_TYPE_REQUEST] = "request",       [MP_TYPE_CHUNK] = "chunk",
    [MP_TYPE_REPORT] = "report",       [MP_TYPE_REPORT_ACK] = "report_ack", [MP_TYPE_RECEIPT] = "receipt"};

static const char *outcome_name(int outcome)
{
    return outcome == 0                  ? "used"
           : outcome == MP_ERR_DUPLICATE ? "duplicate"
           : outcome == MP_ERR_PARENT    ? "parent"
                                         : mp_strerror(outcome);
}

/* time_us node type position held > receiver:what ... (position: of a chunk, or base of a request; - otherwise) */
static void trace(struct run *run, const struct sim_event_report *report, const uint8_t *frame)
{
    FILE *out = run->config->trace;
    unsigned type = frame[0] & 15;
    fprintf(out, "%llu %u %s ", (unsigned long long)report->start, report->device,
            TYPE_NAME[type] != NULL ? TYPE_NAME[type] : "?");
    if (type == MP_TYPE_CHUNK)
        fprintf(out, "%u", mp_get24(frame + MP_HEADER_SIZE + 4));
    else if (type == MP_TYPE_REQUEST)
        fprintf(out, "%u>%u", mp_get24(frame + MP_HEADER_SIZE + 12), mp_get32(frame + MP_HEADER_SIZE));
    else
        fprintf(out, "-");
    fprintf(out, " %u >", run->world.node[report->device].member.place[PAYLOAD_PLACE].held);
    for (size_t i = 0; i < report->hearers; i++) {
        bool is_received = report->verdict[i] == SIM_RECEIVED;
        fprintf(out, " %u:%s", report->hearer[i],
                is_received ? outcome_name(run->outcome[report->hearer[i]])
                            : sim_verdict_name((enum sim_verdict)report->verdict[i]));
    }
    fputc('\n', out);
}

static void on_sent(void *ctx, const struct sim_event_report *report)
{
    struct run *run = ctx;
    struct dissemination_result *r = run->result;
    const uint8_t *frame = report->data + WORLD_AD_HEADER;
    size_t len = report->len - WORLD_AD_HEADER;
    unsigned type = frame[0] & 15;
    if (!is_running(run) && payload_is_named(frame, len))
        r->started = report->start;
    if (run->config->trace != NULL)
        trace(run, report, frame);
    if (is_running(run)) {
        r->frames[type]++;
        r->frame_bytes += len;
        r->node_frames[report->device]++;
        for (size_t i = 0; i < report->hearers; i++)
            r->verdicts[report->verdict[i]]++;
        if (type == MP_TYPE_CHUNK) {
            r->node_chunks[report->device]++;
            r->gains[run->event_gains < DISSEMINATION_GAINS ? run->event_gains : DISSEMINATION_GAINS - 1]++;
        }
    }
    run->event_gains = 0;
}

/* --- one run
 * ----------------------------------------------------------------------------------------------------------- */

static int stage(struct run *run)
{
    struct world_node *gateway = &run->world.node[0];
    int result = payload_publish_directive(&run->payload, &gateway->member, &run->world.fleet, world_now(&run->world));
    world_touch(gateway);
    if (result != 0) {
        fprintf(stderr, "directive not published: %s\n", mp_strerror(result));
        return -1;
    }
    while (run->staged < run->world.count - 1) {
        if (world_now(&run->world) > MP_SECONDS(3600)) {
            fprintf(stderr, "only %u of %u nodes accepted the directive in an hour\n", run->staged,
                    run->world.count - 1);
            return -1;
        }
        world_run(&run->world, world_now(&run->world) + MP_SECONDS(1), &run->is_over);
    }
    world_run(&run->world, world_now(&run->world) + run->config->settle, &run->is_over);
    return 0;
}

#define GAPS_SHOWN 8

/* What an incomplete node lacks: ranges of positions. */
static void print_gaps(const struct world_node *n)
{
    const struct member_place *p = &n->member.place[PAYLOAD_PLACE];
    unsigned shown = 0;
    if (p->data == NULL) {
        fprintf(stderr, "node %u never heard of the manifest\n", n->member.index);
        return;
    }
    if (p->held == p->tree.positions)
        return;
    fprintf(stderr, "node %u lacks %u of %u:", n->member.index, p->tree.positions - p->held, p->tree.positions);
    for (uint32_t i = 0; i < p->tree.positions && shown < GAPS_SHOWN; i++) {
        uint32_t first = i;
        while (i < p->tree.positions && !(p->bitmap[i / 8] >> i % 8 & 1))
            i++;
        if (i > first) {
            fprintf(stderr, " %u-%u", first, i - 1);
            shown++;
        }
    }
    fprintf(stderr, "%s\n", shown == GAPS_SHOWN ? " ..." : "");
}

static int disseminate(struct run *run)
{
    const struct dissemination_config *config = run->config;
    struct dissemination_result *r = run->result;
    struct world_node *gateway = &run->world.node[0];
    if (payload_make(&run->payload, &gateway->member, &run->world.fleet, config->seed, config->size) != 0 ||
        stage(run) != 0)
        return -1;
    r->positions = gateway->member.place[PAYLOAD_PLACE].tree.positions;
    r->depth = payload_depth(config->columns, config->rows);
    r->floor_s = payload_floor_s(r->positions, r->depth, config->loss_ppm);
    int result = payload_publish_manifest(&run->payload, &gateway->member, world_now(&run->world));
    world_touch(gateway);
    if (result != 0) {
        fprintf(stderr, "manifest not published: %s\n", mp_strerror(result));
        return -1;
    }
    mp_time limit = world_now(&run->world) + (mp_time)(r->floor_s * GIVE_UP_FLOORS * 1e6) + MP_SECONDS(60);
    world_run(&run->world, limit, &run->is_over);
    if (run->is_wrong)
        return -1;
    r->is_complete = run->complete == run->world.count - 1;
    if (!r->is_complete) {
        r->ended = world_now(&run->world);
        for (uint32_t i = 1; i < run->world.count; i++)
            print_gaps(&run->world.node[i]);
    }
    r->time_s = (double)(r->ended - r->started) / 1e6;
    r->ratio = r->is_complete ? r->time_s / r->floor_s : (double)INFINITY;
    return 0;
}

int dissemination_run(const struct dissemination_config *config, struct dissemination_result *result)
{
    const struct world_hooks hooks = {on_raised, on_heard, on_sent};
    struct run *run = calloc(1, sizeof *run);
    int status = -1;
    memset(result, 0, sizeof *result);
    if (run == NULL)
        return -1;
    run->config = config;
    run->result = result;
    if (world_open(&run->world, config->columns * config->rows, config->seed, config->loss_ppm, &hooks, run) == 0) {
        world_link_grid(&run->world, config->columns, config->rows);
        status = disseminate(run);
    } else {
        fprintf(stderr, "the world could not be opened\n");
    }
    world_close(&run->world);
    free(run);
    return status;
}

/* --- for people
 * -------------------------------------------------------------------------------------------------------- */

static double share(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : 100.0 * (double)part / (double)whole;
}

static void print_frames(FILE *out, const struct dissemination_result *r, uint32_t count)
{
    uint64_t all = 0, receptions = 0, chunks = 0;
    for (unsigned t = 0; t < MP_TYPE_COUNT; t++)
        all += r->frames[t];
    fprintf(out, "  frames %llu (%.0f %% of the controllers' slots):", (unsigned long long)all,
            share(all, (uint64_t)(r->time_s / 0.025 * count)));
    for (unsigned t = 0; t < MP_TYPE_COUNT; t++)
        if (r->frames[t] != 0)
            fprintf(out, " %s %llu", TYPE_NAME[t] != NULL ? TYPE_NAME[t] : "?", (unsigned long long)r->frames[t]);
    for (unsigned v = 0; v < SIM_VERDICT_COUNT; v++)
        receptions += r->verdicts[v];
    fprintf(out, "\n  at receivers %llu:", (unsigned long long)receptions);
    for (unsigned v = 0; v < SIM_VERDICT_COUNT; v++)
        if (r->verdicts[v] != 0)
            fprintf(out, " %s %.1f %%", sim_verdict_name((enum sim_verdict)v), share(r->verdicts[v], receptions));
    fprintf(out, "\n  engines said:");
    for (int e = 0; e < MP_ERROR_COUNT; e++)
        if (r->handled[e] != 0)
            fprintf(out, " %s %llu,", outcome_name(-e), (unsigned long long)r->handled[e]);
    for (int e = 0; e < MP_ERROR_COUNT; e++)
        chunks += r->chunk_handled[e];
    fprintf(out, "\n  chunks received %llu:", (unsigned long long)chunks);
    for (int e = 0; e < MP_ERROR_COUNT; e++)
        if (r->chunk_handled[e] != 0)
            fprintf(out, " %s %.1f %%", outcome_name(-e), share(r->chunk_handled[e], chunks));
    fprintf(out, "\n  chunk frames by nodes that gained from them:");
    for (unsigned g = 0; g < DISSEMINATION_GAINS; g++)
        if (r->gains[g] != 0)
            fprintf(out, " %u%s: %.1f %%", g, g == DISSEMINATION_GAINS - 1 ? "+" : "",
                    share(r->gains[g], r->frames[MP_TYPE_CHUNK]));
    fputc('\n', out);
}

static double since(const struct dissemination_result *r, mp_time at)
{
    return at == 0 ? (double)NAN : (double)(at - r->started) / 1e6;
}

void dissemination_print(FILE *out, const struct dissemination_config *config, const struct dissemination_result *r)
{
    uint32_t count = config->columns * config->rows;
    fprintf(out, "seed %llu: %.2f s, floor %.2f s (k %u, D %u), ratio %.3f%s\n", (unsigned long long)config->seed,
            r->time_s, r->floor_s, r->positions, r->depth, r->ratio, r->is_complete ? "" : " INCOMPLETE");
    print_frames(out, r, count);
    fprintf(out, "  node (column,row): seconds to 25, 50, 75, 100 %%; held; frames, chunks sent\n");
    for (uint32_t i = 0; i < count; i++)
        fprintf(out, "  %3u (%u,%u) %7.2f %7.2f %7.2f %7.2f  %4u  %5llu %5llu\n", i, i % config->columns,
                i / config->columns, since(r, r->mark[i][0]), since(r, r->mark[i][1]), since(r, r->mark[i][2]),
                since(r, r->mark[i][3]), r->held[i], (unsigned long long)r->node_frames[i],
                (unsigned long long)r->node_chunks[i]);
}
