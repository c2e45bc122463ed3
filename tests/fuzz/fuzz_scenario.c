/* Scenario parser: any bytes give a scenario whose every value is in range and which a medium takes, or a message. */
#include <stdlib.h>
#include <string.h>

#include "sim/world/scenario.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct sim_scenario *s)
{
    if (s->count < 1 || s->count > SIM_DEVICES_MAX || s->loss_ppm > 1000000 || sim_radio_check(&s->radio) != NULL)
        abort();
    for (uint32_t i = 0; i < s->count; i++)
        if (s->node[i].name[0] == '\0' || memchr(s->node[i].name, '\0', SIM_NAME_MAX) == NULL)
            abort();
    for (uint32_t i = 0; i < s->link_count; i++)
        if (s->link[i].a >= s->link[i].b || s->link[i].b >= s->count)
            abort();
    if (s->count > 32)
        return; /* for speed */
    struct sim_medium *m = sim_scenario_medium(s, NULL, NULL);
    if (m == NULL)
        abort();
    sim_medium_close(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sim_scenario s;
    char error[256];
    memset(error, 0x7F, sizeof error);
    if (sim_scenario_parse(&s, "fuzz", (const char *)data, size, error, sizeof error) == 0) {
        check(&s);
        sim_scenario_free(&s);
    } else if (memchr(error, '\0', sizeof error) == NULL || s.node != NULL) {
        abort();
    }
    return 0;
}
