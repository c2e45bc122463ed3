/* Scenario parser: any bytes, and overrides after a zero byte, give a scenario whose every value is in range and which a
 * medium and a field take, or a message. */
#include <stdlib.h>
#include <string.h>

#include "sim/field/field.h"

#define SETS_MAX 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check(const struct sim_scenario *s)
{
    require(s->count >= 1 && s->count <= SIM_NODES_MAX && s->loss_ppm <= 1000000);
    require(sim_radio_check(&s->radio) == NULL);
    require(s->run.duration_us > s->run.warmup_us && s->run.sample_us > 0);
    require(s->fleet.gateways >= 1 && s->fleet.gateways <= s->count && s->release_count <= SIM_RELEASES_MAX);
    require(s->fleet.models >= 1 && s->fleet.models <= SIM_MODELS_MAX && s->fleet.hw_revisions >= 1);
    require(s->node != NULL || s->count > SIM_DEVICES_MAX);
    for (uint32_t i = 0; i < s->release_count; i++) {
        require(s->release[i].release >= 2 && s->release[i].size_bytes >= 1 && s->release[i].model <= s->fleet.models);
        require(memchr(s->release[i].policy, '\0', SIM_POLICY_TEXT_MAX) != NULL);
        require(i == 0 || s->release[i].release > s->release[i - 1].release);
    }
    for (uint32_t i = 0; s->node != NULL && i < s->count; i++)
        require(s->node[i].name[0] != '\0' && memchr(s->node[i].name, '\0', SIM_NAME_MAX) != NULL);
    for (uint32_t i = 0; i < s->link_count; i++)
        require(s->link[i].a < s->link[i].b && s->link[i].b < s->count);
}

static void use(const struct sim_scenario *s)
{
    struct sim_field f;
    char error[200];
    if (s->count > 32)
        return; /* for speed */
    struct sim_medium *m = sim_scenario_medium(s, NULL, NULL);
    require(m != NULL);
    sim_medium_close(m);
    if (sim_field_open(&f, s, 0, 1, error, sizeof error) == 0)
        require(f.gateway_count == s->fleet.gateways && f.link_at[f.count] == f.link_count);
    sim_field_close(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sim_scenario s;
    char error[256], *copy = malloc(size + 1);
    const char *sets[SETS_MAX];
    size_t count = 0, len = size;
    require(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    copy[size] = '\0';
    const char *zero = memchr(copy, '\0', size);
    if (zero != NULL) {
        len = (size_t)(zero - copy);
        for (const char *at = zero + 1; at < copy + size && count < SETS_MAX; at += strlen(at) + 1)
            sets[count++] = at;
    }
    memset(error, 0x7F, sizeof error);
    if (sim_scenario_parse_with(&s, "fuzz", copy, len, sets, count, error, sizeof error) == 0) {
        uint64_t hash = sim_scenario_hash(&s);
        check(&s);
        use(&s);
        require(sim_scenario_reseed(&s, s.seed) == 0 && sim_scenario_hash(&s) == hash);
        sim_scenario_free(&s);
    } else {
        require(memchr(error, '\0', sizeof error) != NULL && s.node == NULL);
    }
    free(copy);
    return 0;
}
