#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen.h"

#define LISTEN_US 40000000u /* of the listener on each channel */

struct sender {
    sim_time next_at; /* of the next arrival; SIM_NEVER for the listener */
    uint32_t waiting;
};

struct senders {
    struct sim_engine *engine;
    const struct sim_poisson_plan *plan;
    struct sender *sender; /* [nodes] */
};

static const struct sim_poisson_plan *next_plan;

static void *senders_open(struct sim_engine *e, char *error, size_t cap)
{
    struct senders *s = calloc(1, sizeof *s);
    struct sender *sender = calloc(sim_engine_field(e)->count, sizeof *sender);
    if (!s || !sender) {
        snprintf(error, cap, "out of memory for senders");
        free(s);
        free(sender);
        return NULL;
    }
    *s = (struct senders){.engine = e, .plan = next_plan, .sender = sender};
    return s;
}

static void senders_close(void *ctx)
{
    struct senders *s = ctx;
    free(s->sender);
    free(s);
}

static sim_time exponential(struct senders *s, uint32_t node)
{
    double uniform = (sim_engine_random(s->engine, node) + 0.5) / 4294967296.0;
    return (sim_time)llround(-s->plan->mean_us * log(uniform));
}

static int senders_start(void *ctx, uint32_t node, sim_time now)
{
    struct senders *s = ctx;
    sim_engine_scan(s->engine, node, LISTEN_US, node == 0 ? LISTEN_US : 0);
    s->sender[node].next_at = node == 0 ? SIM_NEVER : now + exponential(s, node);
    return 0;
}

static void senders_receive(void *ctx, uint32_t node, sim_time now, const struct sim_heard *heard)
{
    (void)ctx, (void)node, (void)now, (void)heard;
}

static void senders_expire(void *ctx, uint32_t node, sim_time now)
{
    struct senders *s = ctx;
    struct sender *sender = &s->sender[node];
    while (sender->next_at <= now) {
        sender->waiting++;
        sender->next_at += exponential(s, node);
    }
}

static int senders_write(void *ctx, uint32_t node, sim_time now, struct sim_frame *frame)
{
    struct senders *s = ctx;
    (void)now;
    if (s->sender[node].waiting == 0)
        return 0;
    s->sender[node].waiting--;
    frame->len = s->plan->len;
    frame->type = 0;
    memset(frame->data, 0, frame->len);
    return 1;
}

static sim_time senders_next(void *ctx, uint32_t node)
{
    const struct senders *s = ctx;
    return s->sender[node].waiting > 0 ? 0 : s->sender[node].next_at;
}

const struct sim_stack *sim_gen_poisson(const struct sim_poisson_plan *plan)
{
    static const char *const types[16] = {"PACKET"};
    static struct sim_stack stack = {.name = "poisson",
                                     .types = types,
                                     .open = senders_open,
                                     .close = senders_close,
                                     .start = senders_start,
                                     .receive = senders_receive,
                                     .expire = senders_expire,
                                     .write = senders_write,
                                     .next_expiry = senders_next};
    stack.bearer = plan->bearer;
    next_plan = plan;
    return &stack;
}
