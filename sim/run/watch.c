#include "watch.h"

#include "sim/engine/parallel.h"
#include "sim/fleet/fleet.h"

#include <stdlib.h>

#define ANY_RELEASE 0xFF

/* --- the decision ------------------------------------------------------------------------------------------------- */

static bool is_mesh(const struct sim_scenario *s)
{
    return s->run.stack == SIM_RUN_MESH || s->run.stack == SIM_RUN_IDLE_LOAD;
}

static bool is_complete(const struct sim_run_facts *facts)
{
    return facts->awaiting > 0 && facts->complete >= facts->awaiting;
}

/* Rollouts are known from their start on; the last one's must be past. */
static bool is_done(const struct sim_scenario *s, const struct sim_run_facts *facts)
{
    sim_time quiet_since = facts->changed_at;
    if (!is_mesh(s)) /* baselines have no rollouts */
        return is_complete(facts);
    if (s->release_count == 0 || facts->open > 0)
        return false;
    for (uint32_t i = 0; i < s->release_count; i++)
        if (s->release[i].at_us > quiet_since)
            quiet_since = s->release[i].at_us;
    return facts->now >= quiet_since && facts->now - quiet_since >= s->run.settle_us;
}

enum sim_run_end sim_watch_decide(const struct sim_scenario *s, const struct sim_run_facts *facts)
{
    if (s->run.stop == SIM_STOP_COMPLETE && is_complete(facts))
        return SIM_RUN_COMPLETE;
    if (s->run.stop == SIM_STOP_DONE && is_done(s, facts))
        return SIM_RUN_DONE;
    if (facts->now >= s->run.duration_us)
        return SIM_RUN_DURATION;
    if (s->run.stop != SIM_STOP_NEVER && facts->next == SIM_NEVER)
        return SIM_RUN_DONE;
    return SIM_RUN_GOES_ON;
}

const char *sim_watch_word(enum sim_run_end end)
{
    switch (end) {
    case SIM_RUN_GOES_ON:
        return NULL;
    case SIM_RUN_COMPLETE:
        return "complete";
    case SIM_RUN_DONE:
        return "done";
    case SIM_RUN_DURATION:
        return "duration";
    }
    return NULL;
}

/* --- hooks -------------------------------------------------------------------------------------------------------- */

static bool is_change(uint32_t kind)
{
    return kind != SIM_ROW_RESET && kind != SIM_ROW_DOWN && kind != SIM_ROW_UP;
}

static void on_row(void *ctx, const struct sim_row *row)
{
    struct sim_watch *w = ctx;
    const uint32_t own = row->node - w->field->first;
    if (is_change(row->kind) && row->at > w->changed_at)
        w->changed_at = row->at;
    if (row->kind == SIM_ROW_COMPLETE && row->node >= w->field->first && row->node < w->field->limit &&
        w->awaited[own] != 0 && (w->awaited[own] == ANY_RELEASE || w->awaited[own] == row->a)) {
        w->awaited[own] = 0;
        w->complete++;
    }
    if (w->inner.row != NULL)
        w->inner.row(w->inner.ctx, row);
}

static void on_say(void *ctx, const struct sim_row *row, const char *text)
{
    struct sim_watch *w = ctx;
    w->inner.say(w->inner.ctx, row, text);
}

static void on_summary(void *ctx, const struct sim_node_summary *summary)
{
    struct sim_watch *w = ctx;
    w->inner.summary(w->inner.ctx, summary);
}

static void on_sent(void *ctx, const struct sim_sent *sent)
{
    struct sim_watch *w = ctx;
    w->inner.sent(w->inner.ctx, sent);
}

struct sim_engine_hooks sim_watch_hooks(struct sim_watch *w)
{
    return (struct sim_engine_hooks){
        .ctx = w,
        .row = on_row,
        .say = w->inner.say != NULL ? on_say : NULL,
        .summary = w->inner.summary != NULL ? on_summary : NULL,
        .sent = w->inner.sent != NULL ? on_sent : NULL,
    };
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static size_t own_count(const struct sim_watch *w)
{
    return w->field->limit - w->field->first;
}

int sim_watch_open(struct sim_watch *w, const struct sim_scenario *s, const struct sim_field *f,
                   const struct sim_engine_hooks *inner)
{
    *w = (struct sim_watch){.scenario = s, .field = f, .inner = *inner};
    w->awaited = calloc(own_count(w) + 1, sizeof *w->awaited);
    return w->awaited != NULL ? 0 : -1;
}

void sim_watch_close(struct sim_watch *w)
{
    free(w->awaited);
    w->awaited = NULL;
}

/* Baselines bring one image to everybody but the gateways. */
static int await_everywhere(struct sim_watch *w)
{
    uint32_t *gateways = malloc(((size_t)w->field->count + 1) * sizeof *gateways);
    if (gateways == NULL)
        return -1;
    for (size_t i = 0; i < own_count(w); i++)
        w->awaited[i] = ANY_RELEASE;
    const uint32_t n = sim_field_gateways(w->field, gateways, w->field->count);
    for (uint32_t i = 0; i < n && i < w->field->count; i++)
        if (gateways[i] >= w->field->first && gateways[i] < w->field->limit)
            w->awaited[gateways[i] - w->field->first] = 0;
    free(gateways);
    return 0;
}

int sim_watch_start(struct sim_watch *w, struct sim_engine *e)
{
    if (!is_mesh(w->scenario) && await_everywhere(w) != 0)
        return -1;
    for (size_t i = 0; i < own_count(w); i++) {
        if (is_mesh(w->scenario))
            w->awaited[i] = (uint8_t)sim_fleet_awaited(sim_engine_stack_ctx(e), w->field->first + (uint32_t)i);
        w->awaiting += w->awaited[i] != 0;
    }
    return 0;
}

void sim_watch_facts(const struct sim_watch *w, struct sim_engine *e, struct sim_run_facts *facts)
{
    uint64_t sums[] = {w->awaiting, w->complete,
                       is_mesh(w->scenario) ? sim_fleet_rollouts_open(sim_engine_stack_ctx(e)) : 0};
    sim_parallel_sum(sums, sizeof sums / sizeof sums[0]);
    *facts = (struct sim_run_facts){.now = sim_engine_now(e),
                                    .next = sim_engine_next(e),
                                    .changed_at = sim_parallel_max(w->changed_at),
                                    .awaiting = sums[0],
                                    .complete = sums[1],
                                    .open = sums[2]};
}

/* --- checkpoint --------------------------------------------------------------------------------------------------- */

int sim_watch_save(const struct sim_watch *w, struct sim_archive *a)
{
    (void)sim_archive_section(a, "WTCH");
    (void)sim_archive_put_count(a, w->awaiting);
    (void)sim_archive_put_count(a, w->complete);
    (void)sim_archive_put_count(a, w->changed_at);
    return sim_archive_put(a, w->awaited, own_count(w) * sizeof *w->awaited);
}

int sim_watch_load(struct sim_watch *w, struct sim_archive *a)
{
    (void)sim_archive_section(a, "WTCH");
    (void)sim_archive_get_count(a, &w->awaiting, own_count(w));
    (void)sim_archive_get_count(a, &w->complete, own_count(w));
    (void)sim_archive_get_count(a, &w->changed_at, SIM_NEVER - 1);
    return sim_archive_get(a, w->awaited, own_count(w) * sizeof *w->awaited);
}
