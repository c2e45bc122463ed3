#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen.h"
#include "proto/mesh/trickle.h"

struct member {
    struct mp_trickle timer;
    uint32_t interval; /* number of the present one */
    bool is_due;       /* a frame is to be sent */
};

struct cell {
    struct sim_engine *engine;
    struct sim_trickle_plan *plan;
    struct member *member; /* [nodes] */
};

static struct sim_trickle_plan *next_plan;

static void *cell_open(struct sim_engine *e, char *error, size_t cap)
{
    struct cell *c = calloc(1, sizeof *c);
    struct member *member = calloc(sim_engine_field(e)->count, sizeof *member);
    if (!c || !member) {
        snprintf(error, cap, "out of memory for Trickle timers");
        free(c);
        free(member);
        return NULL;
    }
    *c = (struct cell){.engine = e, .plan = next_plan, .member = member};
    memset(next_plan->sent, 0, sizeof next_plan->sent);
    return c;
}

static void cell_close(void *ctx)
{
    struct cell *c = ctx;
    free(c->member);
    free(c);
}

static int cell_start(void *ctx, uint32_t node, sim_time now)
{
    struct cell *c = ctx;
    mp_trickle_start(&c->member[node].timer, (uint32_t)(now / 1000), sim_engine_random(c->engine, node));
    return 0;
}

static void cell_receive(void *ctx, uint32_t node, sim_time now, const struct sim_heard *heard)
{
    struct cell *c = ctx;
    (void)now, (void)heard;
    mp_trickle_hear(&c->member[node].timer);
}

static void cell_expire(void *ctx, uint32_t node, sim_time now)
{
    struct cell *c = ctx;
    struct member *m = &c->member[node];
    while ((int32_t)((uint32_t)(now / 1000) - m->timer.at_ms) >= 0) {
        bool was_past_t = m->timer.is_past_t;
        if (mp_trickle_expire(&m->timer, sim_engine_random(c->engine, node)))
            m->is_due = true;
        m->interval += was_past_t;
    }
}

static int cell_write(void *ctx, uint32_t node, sim_time now, struct sim_frame *frame)
{
    struct cell *c = ctx;
    struct member *m = &c->member[node];
    (void)now;
    if (!m->is_due)
        return 0;
    m->is_due = false;
    if (m->interval < SIM_TRICKLE_INTERVALS_MAX)
        c->plan->sent[m->interval]++;
    frame->len = c->plan->len;
    frame->type = 0;
    memset(frame->data, 0, frame->len);
    return 1;
}

static sim_time cell_next(void *ctx, uint32_t node)
{
    const struct cell *c = ctx;
    const struct member *m = &c->member[node];
    return m->is_due ? 0 : (sim_time)m->timer.at_ms * 1000;
}

const struct sim_stack *sim_gen_trickle(struct sim_trickle_plan *plan)
{
    static const char *const types[16] = {"TRICKLE"};
    static struct sim_stack stack = {.name = "trickle",
                                     .types = types,
                                     .open = cell_open,
                                     .close = cell_close,
                                     .start = cell_start,
                                     .receive = cell_receive,
                                     .expire = cell_expire,
                                     .write = cell_write,
                                     .next_expiry = cell_next};
    stack.bearer = plan->bearer;
    next_plan = plan;
    return &stack;
}
