#include "lab.h"

#include <stdio.h>
#include <string.h>

int sim_lab_open(struct sim_lab *lab, const char *text)
{
    *lab = (struct sim_lab){0};
    if (sim_scenario_parse(&lab->scenario, "validate", text, strlen(text), lab->error, sizeof lab->error) != 0)
        return -1;
    lab->has_scenario = true;
    return sim_field_open(&lab->field, &lab->scenario, 0, 1, lab->error, sizeof lab->error);
}

int sim_lab_start(struct sim_lab *lab, const struct sim_stack *stack, uint64_t seed,
                  const struct sim_engine_hooks *hooks)
{
    struct sim_engine_config config = {.scenario = &lab->scenario, .field = &lab->field, .stack = stack, .seed = seed};
    if (hooks)
        config.hooks = *hooks;
    if (lab->engine)
        sim_engine_close(lab->engine);
    lab->engine = sim_engine_open(&config, lab->error, sizeof lab->error);
    return lab->engine ? 0 : -1;
}

int sim_lab_run(struct sim_lab *lab, sim_time until)
{
    if (sim_engine_advance(lab->engine, until) == 0)
        return 0;
    snprintf(lab->error, sizeof lab->error, "%s", sim_engine_error(lab->engine));
    return -1;
}

struct sim_totals sim_lab_totals(struct sim_lab *lab)
{
    struct sim_totals totals;
    sim_engine_totals(lab->engine, &totals);
    return totals;
}

void sim_lab_close(struct sim_lab *lab)
{
    if (lab->engine)
        sim_engine_close(lab->engine);
    sim_field_close(&lab->field);
    if (lab->has_scenario)
        sim_scenario_free(&lab->scenario);
    *lab = (struct sim_lab){0};
}

const char *sim_lab_cell(uint32_t n, const char *radio)
{
    static char text[2048];
    snprintf(text, sizeof text,
             "[scenario]\nname = validate\nseed = 1\n"
             "[radio]\n%s"
             "[topology]\nkind = line\nnodes = %u\nspacing = 1 mm\n",
             radio, n);
    return text;
}

uint64_t sim_lab_seed(uint64_t seed, uint32_t world)
{
    return seed * 1000003 + world;
}
