#include "world.h"

#include <stdlib.h>
#include <string.h>

/* --- host loop
 * --------------------------------------------------------------------------------------------------------- */

mp_time world_now(const struct world *w)
{
    return sim_medium_now(w->medium);
}

/* A frame that waits while the radio is busy shows as an expiry in the past: then the radio says when to look again. */
static void arm(struct world_node *n)
{
    mp_time now = world_now(n->world), expiry = mp_node_next_expiry(&n->member.engine);
    n->wake = expiry > now ? expiry : n->ready;
}

void world_touch(struct world_node *n)
{
    uint32_t events;
    while ((events = mp_node_events(&n->member.engine)) != 0) /* what the hook calls may raise more */
        if (n->world->hooks.raised != NULL)
            n->world->hooks.raised(n->world->ctx, n, events);
    arm(n);
}

#define RETRY_US 1000 /* an engine that is due but has nothing to say is not asked again at once */

static void wake(struct world_node *n)
{
    struct world *w = n->world;
    mp_time now = world_now(w);
    uint8_t ad[WORLD_AD_HEADER + MP_FRAME_MAX];
    if (mp_node_next_expiry(&n->member.engine) <= now)
        mp_node_expire(&n->member.engine, &n->member.env, now);
    bool is_ready = n->ready <= now;
    int len = 0;
    if (is_ready && mp_node_next_expiry(&n->member.engine) <= now)
        len = mp_node_write(&n->member.engine, &n->member.env, now, ad + WORLD_AD_HEADER, MP_FRAME_MAX);
    if (len > 0) {
        ad[0] = (uint8_t)(len + WORLD_AD_HEADER - 1);
        ad[1] = 0xFF; /* manufacturer specific data; the company that stands for tests */
        ad[2] = 0xFF;
        ad[3] = 0xFF;
        n->ready = MP_NEVER;
        (void)sim_medium_submit(w->medium, now, n->member.index, ad, (size_t)len + WORLD_AD_HEADER);
    }
    world_touch(n);
    if (is_ready && len <= 0 && n->wake <= now)
        n->wake = now + RETRY_US;
}

static void on_received(void *ctx, uint32_t device, const struct sim_reception *reception)
{
    struct world *w = ctx;
    struct world_node *n = &w->node[device];
    const uint8_t *frame = reception->data + WORLD_AD_HEADER;
    size_t len = reception->len - WORLD_AD_HEADER;
    int result = mp_node_receive(&n->member.engine, &n->member.env, reception->at, frame, len);
    if (w->hooks.heard != NULL)
        w->hooks.heard(w->ctx, n, frame, len, result);
    world_touch(n);
}

#define GAP_US 20000 /* between event starts, before the random delay */

static void on_event_ended(void *ctx, const struct sim_event_report *report)
{
    struct world *w = ctx;
    w->node[report->device].ready = report->start + GAP_US;
    if (w->hooks.sent != NULL)
        w->hooks.sent(w->ctx, report);
    arm(&w->node[report->device]);
}

void world_run(struct world *w, mp_time until, const bool *stop)
{
    while (!*stop) {
        mp_time next = sim_medium_next(w->medium);
        struct world_node *first = NULL;
        for (uint32_t i = 0; i < w->count; i++) {
            if (w->node[i].wake < next) {
                next = w->node[i].wake;
                first = &w->node[i];
            }
        }
        if (next > until)
            break;
        sim_medium_advance(w->medium, next);
        if (first != NULL)
            wake(first);
    }
    if (!*stop)
        sim_medium_advance(w->medium, until);
}

/* --- opening
 * ----------------------------------------------------------------------------------------------------------- */

static int start_node(struct world *w, uint32_t i)
{
    struct world_node *n = &w->node[i];
    n->world = w;
    if (member_open(&n->member, i, w->seed, &w->fleet, 0) != 0)
        return -1;
    if (sim_medium_scan_start(w->medium, 0, i, SIM_SCAN_INTERVAL_US, SIM_SCAN_INTERVAL_US) != 0)
        return -1;
    arm(n);
    return 0;
}

int world_open(struct world *w, uint32_t count, uint64_t seed, uint32_t loss_ppm, const struct world_hooks *hooks,
               void *ctx)
{
    struct sim_medium_config config = {.seed = seed, .loss_ppm = loss_ppm};
    const struct sim_medium_ops ops = {.received = on_received, .event_ended = on_event_ended};
    memset(w, 0, sizeof *w);
    sim_radio_defaults(&config.radio);
    w->count = count;
    w->seed = seed;
    w->hooks = *hooks;
    w->ctx = ctx;
    w->medium = sim_medium_open(&config, count, &ops, w);
    w->node = calloc(count, sizeof *w->node);
    if (w->medium == NULL || w->node == NULL)
        return -1;
    sign_fleet_make(&w->fleet);
    for (uint32_t i = 0; i < count; i++)
        if (start_node(w, i) != 0)
            return -1;
    return 0;
}

void world_close(struct world *w)
{
    for (uint32_t i = 0; w->node != NULL && i < w->count; i++)
        member_close(&w->node[i].member);
    free(w->node);
    sim_medium_close(w->medium);
    memset(w, 0, sizeof *w);
}

void world_link_grid(struct world *w, uint32_t columns, uint32_t rows)
{
    for (uint32_t a = 0; a < columns * rows; a++) {
        for (uint32_t b = a + 1; b < columns * rows; b++) {
            int dx = (int)(a % columns) - (int)(b % columns), dy = (int)(a / columns) - (int)(b / columns);
            if (dx >= -1 && dx <= 1 && dy >= -1 && dy <= 1)
                (void)sim_medium_link(w->medium, a, b, WORLD_LINK_LOSS);
        }
    }
}
