/*
 * The body of sim_feed.h, for the one source file of a test program: it stands in for the engine, which would clash in
 * the folder's archive with the real one that other tests use.
 */
#ifndef SIM_FEED_ENGINE_H
#define SIM_FEED_ENGINE_H

#include "meshd/release/release.h"
#include "sim_feed.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what the result module calls of the engine and the field ------------------------------------------------------- */

struct sim_engine {
    struct sim_feed *feed;
    sim_time now;
};

sim_time sim_engine_now(const struct sim_engine *e)
{
    return e->now;
}

void sim_engine_totals(struct sim_engine *e, struct sim_totals *totals)
{
    *totals = e->feed->totals;
}

void sim_engine_finish(struct sim_engine *e)
{
    struct sim_feed *feed = e->feed;
    /* The other way round: sorting is the result's part. */
    for (uint32_t i = feed->field.count; i-- > 0;)
        feed->hooks.summary(feed->hooks.ctx, &feed->summary[i]);
}

uint32_t sim_field_gateways(const struct sim_field *f, uint32_t *gateways, uint32_t cap)
{
    if (f->count > 0 && cap > 0)
        gateways[0] = 0;
    return 1;
}

/* --- feeding ------------------------------------------------------------------------------------------------------- */

#define COLUMNS 20
#define SPACING_MM 10000

static const char *const types[16] = {
    [1] = "SUMMARY", [2] = "MANIFEST", [5] = "REQUEST", [6] = "CHUNK", [7] = "REPORT"};

void sim_feed_open(struct sim_feed *feed, uint32_t count)
{
    memset(feed, 0, sizeof *feed);
    struct sim_scenario *s = &feed->scenario;
    snprintf(s->name, sizeof s->name, "feed");
    s->seed = 1;
    s->count = count;
    s->node = feed->node;
    s->topology = SIM_TOPOLOGY_GRID;
    sim_radio_defaults(&s->radio);
    s->run.sample_us = 1000000;
    s->run.duration_us = 3600000000u;
    s->release_count = 1;
    s->release[0] = (struct sim_release_plan){.release = 2, .at_us = 10000000, .size_bytes = 65536};
    snprintf(s->release[0].policy, sizeof s->release[0].policy, "canary: label=0 soak=60s; all: share=100%% soak=60s");
    for (uint32_t i = 0; i < count; i++) {
        feed->position[i] =
            (struct sim_position){(int32_t)(i % COLUMNS) * SPACING_MM, (int32_t)(i / COLUMNS) * SPACING_MM, 0};
        snprintf(feed->node[i].name, sizeof feed->node[i].name, "n%u", (unsigned)i);
        feed->summary[i] = (struct sim_node_summary){.node = i,
                                                     .is_gateway = i == 0,
                                                     .model = 1,
                                                     .hw_revision = 1,
                                                     .hops = (uint16_t)(i % COLUMNS + i / COLUMNS),
                                                     .complete_at = SIM_NEVER,
                                                     .installed_at = SIM_NEVER,
                                                     .confirmed_at = SIM_NEVER,
                                                     .release = 1};
    }
    feed->field = (struct sim_field){.count = count,
                                     .limit = count,
                                     .position = feed->position,
                                     .link_count = count * 4,
                                     .range_mm = 15000,
                                     .scenario = s};
    feed->stack = (struct sim_stack){.name = "mesh", .types = types, .bearer = SIM_BEARER_EXTENDED};
    feed->engine = calloc(1, sizeof *feed->engine);
    if (feed->engine == NULL)
        abort();
    feed->engine->feed = feed;
}

void sim_feed_close(struct sim_feed *feed)
{
    free(feed->engine);
    feed->engine = NULL;
}

void sim_feed_time(struct sim_feed *feed, sim_time now)
{
    feed->engine->now = now;
}

void sim_feed_row(struct sim_feed *feed, sim_time at, uint32_t node, enum sim_row_kind kind, uint32_t a, uint32_t b,
                  const char *text)
{
    const struct sim_row row = {at, node, kind, a, b};
    feed->hooks.row(feed->hooks.ctx, &row);
    if (text != NULL)
        feed->hooks.say(feed->hooks.ctx, &row, text);
}

/* --- a made-up run --------------------------------------------------------------------------------------------------- */

#define TRIAL_US 3000000u
#define SOAK_US 8000000u

static void spread(struct sim_feed *feed, uint32_t i, sim_time pace_us, bool is_bad)
{
    struct sim_node_summary *n = &feed->summary[i];
    sim_time complete = feed->scenario.release[0].at_us + pace_us * n->hops * 10 +
                        pace_us * (sim_draw(feed->scenario.seed, SIM_DRAW_WORLD, i, 0, 0) % 40);
    bool is_canary = i % 20 == 7;
    n->frames = 100 + i % 37;
    n->tx_us = n->frames * 3000u;
    n->rx_us = 60000000;
    n->complete_at = complete;
    n->energy_uj = 900000 + complete / 1000 + 1000u * (i % 50);
    if (is_canary || !is_bad)
        n->installed_at = complete + (is_canary ? 1000000u : SOAK_US);
    if (is_canary && is_bad)
        n->release = 1;
    else if (!is_bad) {
        n->confirmed_at = n->installed_at + TRIAL_US;
        n->release = 2;
    }
}

static void tell_between(struct sim_feed *feed, sim_time from, sim_time to, bool is_bad)
{
    for (uint32_t i = 1; i < feed->field.count; i++) {
        const struct sim_node_summary *n = &feed->summary[i];
        if (n->complete_at >= from && n->complete_at < to)
            sim_feed_row(feed, n->complete_at, i, SIM_ROW_COMPLETE, 2, 0, NULL);
        if (n->installed_at >= from && n->installed_at < to)
            sim_feed_row(feed, n->installed_at, i, SIM_ROW_INSTALLED, 2, 0, NULL);
        sim_time end = n->installed_at == SIM_NEVER ? SIM_NEVER : n->installed_at + TRIAL_US;
        if (end >= from && end < to)
            sim_feed_row(feed, end, i, is_bad ? SIM_ROW_ROLLED_BACK : SIM_ROW_CONFIRMED, 2, is_bad ? 3 : 0, NULL);
    }
}

static void tell_decisions(struct sim_feed *feed, sim_time now, bool is_bad)
{
    static const struct {
        sim_time at;
        enum md_decision_kind kind;
        bool is_of_bad, is_of_good;
        const char *text;
    } told[] = {
        {10000000, MD_DECISION_OPENED, true, true, "opened ring canary: 10 nodes, labels 0x0001"},
        {36000000, MD_DECISION_HELD, true, false,
         "held at ring canary: 4 of 10 failed, \"2 % against 10 %\" says <b>bad</b>"},
        {34000000, MD_DECISION_SOAKING, false, true, "ring canary soaks 10 s: 10 of 10 nodes confirmed"},
        {44000000, MD_DECISION_PASSED, false, true, "ring canary passed: 0 of 10 failed"},
        {44000001, MD_DECISION_OPENED, false, true, "opened ring all: 189 nodes"},
        {70000000, MD_DECISION_SOAKING, false, true, "ring all soaks 10 s: 189 of 189 nodes confirmed"},
        {80000000, MD_DECISION_DONE, false, true, "done: 199 of 199 nodes run release 2"},
    };
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
        if (told[i].at < now && told[i].at + 1000000 >= now && (is_bad ? told[i].is_of_bad : told[i].is_of_good))
            sim_feed_row(feed, told[i].at, 0, SIM_ROW_DECISION, 2, told[i].kind, told[i].text);
}

int sim_feed_run(const char *dir, const char *stack, uint32_t count, uint64_t seed, sim_time pace_us, bool is_bad,
                 char *error, size_t cap)
{
    struct sim_feed *feed = malloc(sizeof *feed);
    if (feed == NULL)
        return -1;
    sim_feed_open(feed, count);
    feed->scenario.seed = seed;
    feed->stack.name = stack;
    feed->scenario.run.stack = strcmp(stack, "mesh") == 0 ? SIM_RUN_MESH : SIM_RUN_FLOOD;
    feed->scenario.release[0].fault = is_bad ? SIM_FAULT_CRASH : SIM_FAULT_NONE;
    for (uint32_t i = 1; i < count; i++)
        spread(feed, i, pace_us, is_bad);
    struct sim_result *r = sim_result_open(dir, &feed->scenario, &feed->field, &feed->stack, seed, error, cap);
    int result = r == NULL ? -1 : 0;
    if (r == NULL)
        goto out;
    feed->hooks = sim_result_hooks(r);
    for (sim_time now = 1000000; now <= 120000000 && result == 0; now += 1000000) {
        tell_decisions(feed, now, is_bad);
        tell_between(feed, now - 1000000, now, is_bad);
        feed->totals.frames[1] += count / 4;
        feed->totals.frames[6] += now > 10000000 && now < 80000000 ? count : 0;
        feed->totals.bytes[6] += 200u * count;
        feed->totals.outcome[SIM_HEARD] += 6u * count;
        feed->totals.outcome[SIM_MISSED_COLLISION] += count / 2;
        feed->totals.outcome[SIM_MISSED_DEAF] += count / 3;
        feed->totals.airtime_us += 3000u * count;
        sim_feed_time(feed, now);
        result = sim_result_sample(r, feed->engine);
    }
    if (sim_result_close(r, feed->engine, is_bad ? "done" : "complete") != 0) {
        snprintf(error, cap, "%s", sim_result_error(r));
        result = -1;
    }
out:
    sim_result_free(r);
    sim_feed_close(feed);
    free(feed);
    return result;
}

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *where)
{
    (void)status;
    (void)flag;
    (void)where;
    return remove(path);
}

int sim_feed_remove(const char *dir)
{
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
