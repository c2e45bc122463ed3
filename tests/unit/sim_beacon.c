#include "sim_beacon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct beacon_plan beacon_plan;
struct beacon_log beacon_log;

struct beacon {
    sim_time due;
    uint32_t sent, heard;
    uint32_t echoes; /* waiting to be sent */
    uint32_t is_pending;
};

struct beacons {
    struct sim_engine *e;
    uint32_t first, count;
    struct beacon *node;
    uint8_t *state;
};

static void beacons_close(void *ctx)
{
    struct beacons *b = ctx;
    free(b->node);
    free(b->state);
    free(b);
}

static void *beacons_open(struct sim_engine *e, char *error, size_t cap)
{
    const struct sim_field *f = sim_engine_field(e);
    struct beacons *b = calloc(1, sizeof *b);
    if (b == NULL)
        abort();
    b->e = e;
    b->first = f->first;
    b->count = f->limit - f->first;
    b->node = sim_engine_alloc(b->count, sizeof *b->node);
    b->state = sim_engine_alloc(b->count, beacon_plan.state_bytes + 1);
    memset(&beacon_log, 0, sizeof beacon_log);
    if (b->node == NULL || b->state == NULL) {
        snprintf(error, cap, "out of memory for beacons");
        beacons_close(b);
        return NULL;
    }
    return b;
}

static struct beacon *find(const void *ctx, uint32_t node)
{
    const struct beacons *b = ctx;
    return &b->node[node - b->first];
}

static int start(void *ctx, uint32_t node, sim_time now)
{
    struct beacons *b = ctx;
    struct beacon *n = find(ctx, node);
    uint32_t phase = beacon_plan.phase_us ? sim_scale(sim_engine_random(b->e, node), beacon_plan.phase_us) : 0;
    n->due = now + beacon_plan.first_us + phase + beacon_plan.step_us * node;
    if (beacon_plan.senders != 0 && node >= beacon_plan.senders)
        n->due = SIM_NEVER;
    return 0;
}

static void touch_state(const struct beacons *b, uint32_t node, uint32_t salt)
{
    uint8_t *state = b->state + (size_t)(node - b->first) * beacon_plan.state_bytes;
    for (size_t i = salt % 64 * 8; i + 64 <= beacon_plan.state_bytes; i += 256)
        state[i] = (uint8_t)(state[i] + salt);
}

static void receive(void *ctx, uint32_t node, sim_time now, const struct sim_heard *heard)
{
    struct beacons *b = ctx;
    struct beacon *n = find(ctx, node);
    n->heard++;
    if (beacon_plan.state_bytes != 0) {
        touch_state(b, node, heard->number);
        return;
    }
    if (beacon_plan.echoes && n->echoes < 1)
        n->echoes++;
    beacon_log.received++;
    if (node < BEACON_LOGGED && heard->from < BEACON_LOGGED)
        beacon_log.heard[node][heard->from]++;
    beacon_log.last = *heard;
    memcpy(beacon_log.data, heard->data, heard->len);
    beacon_log.last.data = NULL;
    beacon_log.order = (beacon_log.order ^ (now * 31 + node * 7 + heard->from + heard->number)) * 1099511628211u;
}

static void expire(void *ctx, uint32_t node, sim_time now)
{
    struct beacons *b = ctx;
    struct beacon *n = find(ctx, node);
    if (beacon_plan.tick != NULL)
        beacon_plan.tick(b->e, node, now);
    while (n->due <= now) { /* what was missed while off is not made up for */
        n->is_pending = 1;
        uint32_t jitter = beacon_plan.jitter_us ? sim_scale(sim_engine_random(b->e, node), beacon_plan.jitter_us) : 0;
        n->due += beacon_plan.period_us + jitter;
    }
}

static int write_frame(void *ctx, uint32_t node, sim_time now, struct sim_frame *frame)
{
    struct beacon *n = find(ctx, node);
    (void)now;
    if (!n->is_pending && n->echoes == 0)
        return 0;
    if (n->is_pending)
        n->is_pending = 0;
    else
        n->echoes--;
    n->sent++;
    if (beacon_plan.frames != 0 && n->sent >= beacon_plan.frames)
        n->due = SIM_NEVER;
    beacon_log.sent++;
    frame->len = beacon_plan.len;
    frame->type = (uint8_t)(node & 15);
    memset(frame->data, (int)(n->sent & 0xFF), frame->len);
    return 1;
}

static sim_time next_expiry(void *ctx, uint32_t node)
{
    const struct beacon *n = find(ctx, node);
    return n->is_pending || n->echoes > 0 ? 0 : n->due;
}

static void mail(void *ctx, uint32_t node, sim_time now, uint32_t from, const uint8_t *data, size_t len)
{
    (void)ctx;
    (void)node;
    if (beacon_log.mails < 64) {
        beacon_log.mail_from[beacon_log.mails] = from * 256 + (len > 0 ? data[0] : 0);
        beacon_log.mail_at[beacon_log.mails] = now;
    }
    beacon_log.mails++;
}

static void prefetch(const void *ctx, uint32_t node)
{
    const struct beacons *b = ctx;
    __builtin_prefetch(&b->node[node - b->first], 1);
    for (size_t i = 0; i < beacon_plan.state_bytes; i += 256)
        __builtin_prefetch(b->state + (size_t)(node - b->first) * beacon_plan.state_bytes + i, 1);
}

static int save(void *ctx, struct sim_archive *a)
{
    const struct beacons *b = ctx;
    (void)sim_archive_section(a, "TEST");
    (void)sim_archive_put(a, &beacon_log, sizeof beacon_log);
    return sim_archive_put(a, b->node, b->count * sizeof *b->node);
}

static int load(void *ctx, struct sim_archive *a)
{
    struct beacons *b = ctx;
    (void)sim_archive_section(a, "TEST");
    (void)sim_archive_get(a, &beacon_log, sizeof beacon_log);
    return sim_archive_get(a, b->node, b->count * sizeof *b->node);
}

static void finish(void *ctx, sim_time now)
{
    struct beacons *b = ctx;
    (void)now;
    for (uint32_t i = 0; i < b->count; i++) {
        struct sim_node_summary summary = {.node = b->first + i};
        sim_engine_summarise(b->e, &summary);
    }
}

const struct sim_stack *beacon_stack(void)
{
    static const char *const types[16] = {"beacon"};
    static struct sim_stack stack = {.name = "beacon",
                                     .types = types,
                                     .open = beacons_open,
                                     .close = beacons_close,
                                     .start = start,
                                     .receive = receive,
                                     .expire = expire,
                                     .write = write_frame,
                                     .next_expiry = next_expiry,
                                     .mail = mail,
                                     .prefetch = prefetch,
                                     .save = save,
                                     .load = load,
                                     .finish = finish};
    stack.bearer = beacon_plan.bearer;
    return &stack;
}

int beacon_open(struct beacon_world *w, const char *text, const struct sim_engine_hooks *hooks)
{
    char error[256] = "";
    memset(w, 0, sizeof *w);
    if (sim_scenario_parse(&w->scenario, "test", text, strlen(text), error, sizeof error) != 0) {
        fprintf(stderr, "%s\n", error);
        return -1;
    }
    if (sim_field_open(&w->field, &w->scenario, 0, 1, error, sizeof error) != 0) {
        fprintf(stderr, "%s\n", error);
        sim_field_close(&w->field);
        sim_scenario_free(&w->scenario);
        return -1;
    }
    struct sim_engine_config config = {
        .scenario = &w->scenario, .field = &w->field, .stack = beacon_stack(), .seed = w->scenario.seed};
    if (hooks != NULL)
        config.hooks = *hooks;
    w->engine = sim_engine_open(&config, error, sizeof error);
    if (w->engine != NULL)
        return 0;
    fprintf(stderr, "%s\n", error);
    sim_field_close(&w->field);
    sim_scenario_free(&w->scenario);
    return -1;
}

void beacon_close(struct beacon_world *w)
{
    sim_engine_close(w->engine);
    sim_field_close(&w->field);
    sim_scenario_free(&w->scenario);
}
