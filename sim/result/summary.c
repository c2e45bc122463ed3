/* The end of a run: nodes.csv and the headline figures. */
#include "result_state.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FLUSH_SIZE (1u << 20)

/* While summaries are taken, in order of nodes. */
struct tally {
    struct sim_result *r;
    sim_time *complete; /* [field count] of the nodes that should get the image */
    uint32_t nodes, completed;
    uint64_t energy_uj;
    bool is_written; /* to nodes.csv */
};

static void put_time(struct sim_out *out, sim_time at)
{
    if (at == SIM_NEVER)
        sim_out_add(out, ",", 1);
    else
        sim_out_print(out, ",%" PRIu64, at);
}

static void write_node(struct sim_result *r, const struct sim_node_summary *s)
{
    struct sim_out *out = &r->nodes_csv;
    const struct sim_position *at = &r->field->position[s->node];
    const struct sim_scenario *scenario = r->scenario;
    sim_out_print(out, "%" PRIu32 ",", s->node);
    if (scenario->node != NULL && s->node < scenario->count)
        sim_out_field(out, scenario->node[s->node].name);
    sim_out_print(out, ",%" PRId32 ",%" PRId32 ",%" PRId32 ",%u,%u,%u,%u,", at->x_mm, at->y_mm, at->z_mm, s->is_gateway,
                  s->is_attacker, s->model, s->hw_revision);
    if (s->hops != UINT16_MAX)
        sim_out_print(out, "%u", s->hops);
    put_time(out, s->complete_at);
    put_time(out, s->installed_at);
    put_time(out, s->confirmed_at);
    sim_out_print(out, ",%" PRIu32 ",%u,%" PRIu32 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n", s->release, s->is_down,
                  s->frames, s->tx_us, s->rx_us, s->energy_uj);
    if (out->size >= FLUSH_SIZE)
        (void)sim_out_flush(out); /* a failure stays and shows when the file is closed */
}

static bool is_target(const struct sim_scenario *s, const struct sim_node_summary *n)
{
    if (n->is_gateway || n->is_attacker)
        return false;
    bool is_meant = s->release_count == 0 || n->model == 0;
    for (uint32_t i = 0; i < s->release_count; i++)
        is_meant |= s->release[i].model == 0 || s->release[i].model == n->model;
    return is_meant;
}

static void take_node(void *ctx, const struct sim_batch_key *key, const uint8_t *content, size_t size)
{
    struct tally *t = ctx;
    struct sim_node_summary s;
    (void)key;
    if (size != sizeof s)
        return;
    memcpy(&s, content, sizeof s);
    if (s.node >= t->r->field->count)
        return;
    if (t->is_written)
        write_node(t->r, &s);
    if (!is_target(t->r->scenario, &s))
        return;
    if (t->nodes < t->r->field->count)
        t->complete[t->nodes++] = s.complete_at;
    t->completed += s.complete_at != SIM_NEVER;
    t->energy_uj += s.energy_uj;
}

static int by_time(const void *left, const void *right)
{
    const sim_time *l = left, *r = right;
    return *l < *r ? -1 : *l > *r;
}

static sim_time since(sim_time at, sim_time start)
{
    return at == SIM_NEVER ? SIM_NEVER : at > start ? at - start : 0;
}

static bool is_chunk(const char *type)
{
    return type != NULL && (strncasecmp(type, "CHUNK", 5) == 0 || strncasecmp(type, "DATA", 4) == 0);
}

static void count_frames(struct sim_headline *h, const struct sim_result *r)
{
    /* Nobody completed: up to the end. Everybody did so during the warmup: nothing is left to count. */
    const struct sim_totals *to = r->counts.any[0] > 0 ? &r->last : &r->totals;
    for (unsigned i = 0; i < 16; i++) {
        uint64_t frames = to->frames[i] > r->warmup.frames[i] ? to->frames[i] - r->warmup.frames[i] : 0;
        h->frames += frames;
        h->bytes += to->bytes[i] > r->warmup.bytes[i] ? to->bytes[i] - r->warmup.bytes[i] : 0;
        if (is_chunk(r->stack->types[i]))
            h->chunk_frames += frames;
    }
}

static void fill_headline(struct sim_result *r, struct tally *t)
{
    struct sim_headline *h = &r->headline;
    sim_time start = r->scenario->release_count > 0 ? r->scenario->release[0].at_us : 0;
    qsort(t->complete, t->nodes, sizeof *t->complete, by_time);
    *h = (struct sim_headline){.nodes = t->nodes, .complete = t->completed};
    h->first = h->median = h->last = SIM_NEVER;
    if (t->nodes > 0) {
        h->first = since(t->complete[0], start);
        h->median = since(t->complete[(t->nodes - 1) / 2], start);
        h->last = since(t->complete[t->nodes - 1], start);
        h->energy_mean_uj = t->energy_uj / t->nodes;
    }
    count_frames(h, r);
    h->installed = (uint32_t)r->counts.any[SEEN_INSTALLED];
    h->confirmed = (uint32_t)r->counts.any[SEEN_CONFIRMED];
    h->rolled_back = (uint32_t)r->counts.any[SEEN_ROLLED_BACK];
    h->down = (uint32_t)r->counts.down;
    memcpy(h->digest, r->totals.digest, sizeof h->digest);
}

int sim_result_summarise(struct sim_result *r)
{
    struct tally t = {.r = r, .is_written = r->scenario->run.rows != SIM_ROWS_NONE};
    if (r->is_first) {
        t.complete = malloc(((size_t)r->field->count + 1) * sizeof *t.complete);
        if (t.complete == NULL)
            sim_parallel_abort("out of memory for the summaries of nodes");
        if (t.is_written && sim_out_open(&r->nodes_csv, r->dir, "nodes.csv", true) != 0)
            (void)sim_result_fail(r, r->nodes_csv.error);
        sim_out_print(&r->nodes_csv, "node,name,x_mm,y_mm,z_mm,gateway,attacker,model,hw_revision,hops,complete_us,"
                                     "installed_us,confirmed_us,release,down,frames,tx_us,rx_us,energy_uj\n");
    }
    if (sim_batch_gather(&r->nodes, SIM_NEVER, take_node, &t) != 0)
        (void)sim_result_fail(r, "out of memory for the summaries of nodes");
    if (r->is_first) {
        fill_headline(r, &t);
        if (sim_out_close(&r->nodes_csv) != 0)
            (void)sim_result_fail(r, r->nodes_csv.error);
    }
    free(t.complete);
    return r->failed ? -1 : 0;
}
