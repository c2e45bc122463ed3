#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen.h"

struct beacons {
    struct sim_engine *engine;
    const struct sim_beacon_plan *plan;
    sim_time *first_at; /* [nodes] of a beacon; of a listener: when it starts, then SIM_NEVER */
};

static const struct sim_beacon_plan *next_plan;

static void *beacons_open(struct sim_engine *e, char *error, size_t cap)
{
    struct beacons *b = calloc(1, sizeof *b);
    sim_time *first_at = calloc(sim_engine_field(e)->count, sizeof *first_at);
    if (!b || !first_at) {
        snprintf(error, cap, "out of memory for beacons");
        free(b);
        free(first_at);
        return NULL;
    }
    *b = (struct beacons){.engine = e, .plan = next_plan, .first_at = first_at};
    return b;
}

static void beacons_close(void *ctx)
{
    struct beacons *b = ctx;
    free(b->first_at);
    free(b);
}

enum role { LISTENER, BEACON, IDLE };

static enum role role_of(const struct beacons *b, uint32_t node)
{
    if (b->plan->in_pairs)
        return (enum role)(node % 3);
    return node == 0 ? LISTENER : BEACON;
}

static int beacons_start(void *ctx, uint32_t node, sim_time now)
{
    struct beacons *b = ctx;
    sim_engine_scan(b->engine, node, b->plan->scan_interval_us, 0);
    switch (role_of(b, node)) {
    case LISTENER:
        b->first_at[node] = b->plan->listen_at;
        break;
    case BEACON:
        b->first_at[node] = now + sim_scale(sim_engine_random(b->engine, node), b->plan->phase_us);
        break;
    case IDLE:
        b->first_at[node] = SIM_NEVER;
        break;
    }
    return 0;
}

static void beacons_receive(void *ctx, uint32_t node, sim_time now, const struct sim_heard *heard)
{
    struct beacons *b = ctx;
    if (b->plan->heard)
        b->plan->heard(b->plan->ctx, node, now, heard);
}

static void beacons_expire(void *ctx, uint32_t node, sim_time now)
{
    struct beacons *b = ctx;
    if (role_of(b, node) != LISTENER || now < b->first_at[node])
        return;
    b->first_at[node] = SIM_NEVER;
    sim_engine_scan(b->engine, node, b->plan->scan_interval_us, b->plan->scan_window_us);
}

static int beacons_write(void *ctx, uint32_t node, sim_time now, struct sim_frame *frame)
{
    const struct beacons *b = ctx;
    if (role_of(b, node) != BEACON || now < b->first_at[node])
        return 0;
    frame->len = b->plan->len;
    frame->type = 0;
    memset(frame->data, 0, frame->len);
    return 1;
}

static sim_time beacons_next(void *ctx, uint32_t node)
{
    const struct beacons *b = ctx;
    return b->first_at[node];
}

const struct sim_stack *sim_gen_beacon(const struct sim_beacon_plan *plan)
{
    static const char *const types[16] = {"BEACON"};
    static struct sim_stack stack = {.name = "beacon",
                                     .types = types,
                                     .open = beacons_open,
                                     .close = beacons_close,
                                     .start = beacons_start,
                                     .receive = beacons_receive,
                                     .expire = beacons_expire,
                                     .write = beacons_write,
                                     .next_expiry = beacons_next};
    stack.bearer = plan->bearer;
    next_plan = plan;
    return &stack;
}
