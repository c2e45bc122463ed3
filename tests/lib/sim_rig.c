#include "sim_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void on_say(void *ctx, const struct sim_row *row, const char *text)
{
    struct sim_rig *r = ctx;
    if (r->rows > 0 && r->row[r->rows - 1].row.kind == row->kind && r->row[r->rows - 1].row.at == row->at)
        snprintf(r->row[r->rows - 1].text, sizeof r->row[0].text, "%s", text);
}

static void on_row(void *ctx, const struct sim_row *row)
{
    struct sim_rig *r = ctx;
    if (r->rows == r->cap) {
        r->cap = r->cap > 0 ? 2 * r->cap : 256;
        r->row = realloc(r->row, r->cap * sizeof *r->row);
        assert_non_null(r->row);
    }
    r->row[r->rows++] = (struct sim_rig_row){.row = *row};
    r->told[row->kind]++;
    r->heard = r->heard * 1099511628211u + (row->at ^ (uint64_t)row->node << 40 ^ (uint64_t)row->kind << 32 ^ row->a);
}

void sim_rig_open(struct sim_rig *r, const char *text, uint64_t seed)
{
    char error[512] = "";
    memset(r, 0, sizeof *r);
    if (sim_scenario_parse(&r->s, "test", text, strlen(text), error, sizeof error) != 0 ||
        sim_field_open(&r->field, &r->s, 0, 1, error, sizeof error) != 0)
        fail_msg("%s", error);
    const struct sim_engine_config config = {.scenario = &r->s,
                                             .field = &r->field,
                                             .stack = sim_fleet_stack(),
                                             .seed = seed,
                                             .hooks = {.ctx = r, .row = on_row, .say = on_say}};
    r->e = sim_engine_open(&config, error, sizeof error);
    if (r->e == NULL)
        fail_msg("%s", error);
    r->fleet = sim_engine_stack_ctx(r->e);
}

void sim_rig_run(struct sim_rig *r, sim_time until)
{
    if (sim_engine_advance(r->e, until) != 0)
        fail_msg("%s", sim_engine_error(r->e));
}

void sim_rig_settle(struct sim_rig *r, sim_time until)
{
    while (sim_engine_now(r->e) < until) {
        sim_rig_run(r, sim_engine_now(r->e) + MP_SECONDS(1));
        if (sim_fleet_rollouts_open(r->fleet) == 0)
            return;
    }
    for (size_t i = 0; i < r->rows; i++)
        if (r->row[i].text[0] != '\0')
            print_message("%8.3f %s\n", (double)r->row[i].row.at / 1e6, r->row[i].text);
    fail_msg("%u rollouts still move", sim_fleet_rollouts_open(r->fleet));
}

void sim_rig_close(struct sim_rig *r)
{
    sim_engine_close(r->e);
    sim_field_close(&r->field);
    sim_scenario_free(&r->s);
    free(r->row);
    memset(r, 0, sizeof *r);
}

uint32_t sim_rig_nodes(const struct sim_rig *r, enum sim_row_kind kind, uint32_t a)
{
    bool *seen = calloc(r->field.count, sizeof *seen);
    uint32_t count = 0;
    assert_non_null(seen);
    for (size_t i = 0; i < r->rows; i++) {
        const struct sim_row *row = &r->row[i].row;
        if (row->kind == kind && row->a == a && !seen[row->node]) {
            seen[row->node] = true;
            count++;
        }
    }
    free(seen);
    return count;
}

const struct sim_rig_row *sim_rig_decision(const struct sim_rig *r, const char *words)
{
    for (size_t i = 0; i < r->rows; i++)
        if (r->row[i].row.kind == SIM_ROW_DECISION && strstr(r->row[i].text, words) != NULL)
            return &r->row[i];
    return NULL;
}

uint32_t sim_rig_running(const struct sim_rig *r, uint32_t release)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->field.count; i++) {
        const struct sim_member *m = &r->fleet->member[i];
        if ((m->flags & (SIM_MEMBER_GATEWAY | SIM_MEMBER_ATTACKER)) == 0 &&
            r->fleet->images.image[m->image[m->running]].manifest.release == release)
            count++;
    }
    return count;
}
