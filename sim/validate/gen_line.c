#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen.h"

#define WAITING_MAX 32

struct stop {
    uint32_t held;                /* packets 0 to held - 1 are here */
    uint32_t sent;                /* passed on */
    sim_time due_at[WAITING_MAX]; /* when packet i may be passed on, at i % WAITING_MAX */
};

struct line {
    struct sim_line_plan *plan;
    uint32_t count;
    struct stop *stop; /* [nodes] */
};

static struct sim_line_plan *next_plan;

static void *line_open(struct sim_engine *e, char *error, size_t cap)
{
    struct line *l = calloc(1, sizeof *l);
    struct stop *stop = calloc(sim_engine_field(e)->count, sizeof *stop);
    if (!l || !stop) {
        snprintf(error, cap, "out of memory for a line");
        free(l);
        free(stop);
        return NULL;
    }
    *l = (struct line){.plan = next_plan, .count = sim_engine_field(e)->count, .stop = stop};
    next_plan->arrived = 0;
    next_plan->first_at = next_plan->last_at = SIM_NEVER;
    return l;
}

static void line_close(void *ctx)
{
    struct line *l = ctx;
    free(l->stop);
    free(l);
}

static int line_start(void *ctx, uint32_t node, sim_time now)
{
    struct line *l = ctx;
    (void)now;
    l->stop[node].held = node == 0 ? l->plan->packets : 0;
    return 0;
}

static void line_receive(void *ctx, uint32_t node, sim_time now, const struct sim_heard *heard)
{
    struct line *l = ctx;
    uint32_t packet;
    if (heard->from + 1 != node || heard->len < sizeof packet)
        return;
    memcpy(&packet, heard->data, sizeof packet);
    if (packet != l->stop[node].held)
        return; /* one before it was lost: it never gets through, and the judge sees it */
    sim_time began_at = heard->at - l->plan->span_us;
    l->stop[node].due_at[packet % WAITING_MAX] = l->plan->hold_us ? began_at + l->plan->hold_us : now;
    l->stop[node].held++;
    if (node + 1 < l->count)
        return;
    if (l->plan->arrived++ == 0)
        l->plan->first_at = now;
    l->plan->last_at = now;
}

static void line_expire(void *ctx, uint32_t node, sim_time now)
{
    (void)ctx, (void)node, (void)now;
}

static sim_time due_at(const struct line *l, uint32_t node)
{
    const struct stop *s = &l->stop[node];
    if (node + 1 == l->count || s->sent == s->held)
        return SIM_NEVER;
    return node == 0 ? 0 : s->due_at[s->sent % WAITING_MAX];
}

static int line_write(void *ctx, uint32_t node, sim_time now, struct sim_frame *frame)
{
    struct line *l = ctx;
    struct stop *s = &l->stop[node];
    if (due_at(l, node) > now)
        return 0;
    frame->len = l->plan->len;
    frame->type = 0;
    memset(frame->data, 0, frame->len);
    memcpy(frame->data, &s->sent, sizeof s->sent);
    s->sent++;
    return 1;
}

static sim_time line_next(void *ctx, uint32_t node)
{
    return due_at(ctx, node);
}

const struct sim_stack *sim_gen_line(struct sim_line_plan *plan)
{
    static const char *const types[16] = {"PACKET"};
    static struct sim_stack stack = {.name = "line",
                                     .types = types,
                                     .open = line_open,
                                     .close = line_close,
                                     .start = line_start,
                                     .receive = line_receive,
                                     .expire = line_expire,
                                     .write = line_write,
                                     .next_expiry = line_next};
    stack.bearer = plan->bearer;
    next_plan = plan;
    return &stack;
}
