#include "baseline_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void on_row(void *ctx, const struct sim_row *row)
{
    struct baseline_rig *r = ctx;
    if (row->kind != SIM_ROW_COMPLETE)
        fail_msg("a baseline told a row of kind %u", row->kind);
    assert_int_equal(row->a, 2);
    assert_true(row->node < BASELINE_RIG_NODES);
    r->twice += r->at[row->node] != SIM_NEVER;
    r->at[row->node] = row->at;
    r->complete++;
    r->last = row->at;
}

static void on_summary(void *ctx, const struct sim_node_summary *summary)
{
    struct baseline_rig *r = ctx;
    assert_true(summary->node < BASELINE_RIG_NODES);
    r->summary[summary->node] = *summary;
    r->summaries++;
}

void baseline_rig_prepare(struct baseline_rig *r, const struct sim_stack *stack, const char *text, uint64_t seed)
{
    char error[512] = "";
    memset(r, 0, sizeof(*r));
    r->stack = stack;
    for (unsigned i = 0; i < BASELINE_RIG_NODES; i++)
        r->at[i] = SIM_NEVER;
    if (sim_scenario_parse(&r->s, "test", text, strlen(text), error, sizeof(error)) != 0)
        fail_msg("%s", error);
    r->s.seed = seed;
    if (sim_field_open(&r->field, &r->s, 0, 1, error, sizeof(error)) != 0)
        fail_msg("%s", error);
    assert_true(r->field.count <= BASELINE_RIG_NODES);
}

bool baseline_rig_start(struct baseline_rig *r, uint64_t seed, char *error, size_t cap)
{
    const struct sim_engine_config config = {.scenario = &r->s,
                                             .field = &r->field,
                                             .stack = r->stack,
                                             .seed = seed,
                                             .hooks = {.ctx = r, .row = on_row, .summary = on_summary}};
    r->e = sim_engine_open(&config, error, cap);
    return r->e != NULL;
}

void baseline_rig_open(struct baseline_rig *r, const struct sim_stack *stack, const char *text, uint64_t seed)
{
    char error[512] = "";
    baseline_rig_prepare(r, stack, text, seed);
    if (!baseline_rig_start(r, seed, error, sizeof(error)))
        fail_msg("%s", error);
}

void baseline_rig_run(struct baseline_rig *r, uint32_t count, sim_time until)
{
    while (r->complete < count && sim_engine_now(r->e) < until && sim_engine_next(r->e) != SIM_NEVER) {
        sim_time to = sim_engine_now(r->e) + BASELINE_SECONDS(1);
        if (sim_engine_advance(r->e, to < until ? to : until) != 0)
            fail_msg("%s", sim_engine_error(r->e));
    }
    sim_engine_totals(r->e, &r->totals);
}

void baseline_rig_close(struct baseline_rig *r)
{
    if (r->e != NULL) {
        sim_engine_finish(r->e);
        assert_int_equal(r->summaries, r->field.count);
        for (uint32_t i = 0; i < r->field.count; i++)
            if (!r->summary[i].is_gateway)
                assert_true(r->summary[i].complete_at == r->at[i]);
    }
    sim_engine_close(r->e);
    sim_field_close(&r->field);
    sim_scenario_free(&r->s);
    memset(r, 0, sizeof(*r));
}

static int type_of(const struct baseline_rig *r, const char *type)
{
    for (int i = 0; i < 16; i++)
        if (r->stack->types[i] != NULL && strcmp(r->stack->types[i], type) == 0)
            return i;
    fail_msg("%s has no type %s", r->stack->name, type);
    return 0;
}

uint64_t baseline_rig_frames(const struct baseline_rig *r, const char *type)
{
    return r->totals.frames[type_of(r, type)];
}

uint64_t baseline_rig_bytes(const struct baseline_rig *r, const char *type)
{
    return r->totals.bytes[type_of(r, type)];
}

uint64_t baseline_rig_all(const struct baseline_rig *r)
{
    uint64_t all = 0;
    for (int i = 0; i < 16; i++)
        all += r->totals.frames[i];
    return all;
}

/* --- the same run, several times --------------------------------------------------------------------------------- */

static void advance(struct baseline_rig *r, sim_time until)
{
    if (sim_engine_advance(r->e, until) != 0)
        fail_msg("%s", sim_engine_error(r->e));
}

/* Saves the rig's engine and goes on with another one. */
static void replace_engine(struct baseline_rig *r, uint64_t seed)
{
    char error[512] = "", path[] = "/tmp/baseline-rig-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    struct sim_archive *a = sim_archive_create(path, error, sizeof(error));
    assert_non_null(a);
    assert_int_equal(sim_engine_save(r->e, a), 0);
    if (sim_archive_close(a, error, sizeof(error)) != 0)
        fail_msg("%s", error);
    sim_engine_close(r->e);
    assert_true(baseline_rig_start(r, seed, error, sizeof(error)));
    a = sim_archive_open(path, error, sizeof(error));
    assert_non_null(a);
    assert_int_equal(sim_engine_load(r->e, a), 0);
    if (sim_archive_close(a, error, sizeof(error)) != 0)
        fail_msg("%s", error);
    assert_int_equal(unlink(path), 0);
}

void baseline_rig_repeat(const struct sim_stack *stack, const char *text, sim_time cut, sim_time until)
{
    struct baseline_rig whole, again, resumed;
    baseline_rig_open(&whole, stack, text, 11);
    baseline_rig_open(&again, stack, text, 11);
    baseline_rig_open(&resumed, stack, text, 11);
    advance(&whole, until);
    sim_engine_totals(whole.e, &whole.totals);
    for (sim_time at = 0; at < until; at += until / 7 + 1)
        advance(&again, at);
    advance(&again, until);
    sim_engine_totals(again.e, &again.totals);
    advance(&resumed, cut);
    replace_engine(&resumed, 11);
    advance(&resumed, until);
    sim_engine_totals(resumed.e, &resumed.totals);
    assert_true(baseline_rig_all(&whole) > 100);
    assert_memory_equal(whole.totals.digest, again.totals.digest, sizeof(whole.totals.digest));
    assert_memory_equal(whole.totals.digest, resumed.totals.digest, sizeof(whole.totals.digest));
    assert_memory_equal(whole.totals.frames, resumed.totals.frames, sizeof(whole.totals.frames));
    assert_memory_equal(whole.at, again.at, sizeof(whole.at));
    assert_memory_equal(whole.at, resumed.at, sizeof(whole.at));
    baseline_rig_close(&whole);
    baseline_rig_close(&again);
    baseline_rig_close(&resumed);

    struct baseline_rig other;
    baseline_rig_open(&other, stack, text, 12);
    advance(&other, until);
    sim_engine_totals(other.e, &other.totals);
    assert_memory_not_equal(whole.totals.digest, other.totals.digest, sizeof(other.totals.digest));
    baseline_rig_close(&other);
}
