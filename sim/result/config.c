#include "config.h"

#include "result.h"
#include "sim/world/scenario_parser.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Units from the largest to the smallest, each a multiple of the field's own; what the
 * last one leaves over is shown as decimals. */
struct unit {
    const char *name;
    int64_t size;
};
#define UNITS_MAX 6
static const struct unit units[][UNITS_MAX + 1] = {
    [SIM_POWER] = {{" dBm", 1000}, {NULL, 0}},
    [SIM_RATIO] = {{" dB", 1000}, {NULL, 0}},
    [SIM_TIME] =
        {{" d", 86400000000}, {" h", 3600000000}, {" min", 60000000}, {" s", 1000000}, {" ms", 1000}, {" us", 1}},
    [SIM_LENGTH] = {{" km", 1000000}, {" m", 1000}, {" cm", 10}, {" mm", 1}, {NULL, 0}},
    [SIM_SHARE] = {{" %", 10000}, {NULL, 0}},
    [SIM_FACTOR] = {{"", 1000}, {NULL, 0}},
    [SIM_COUNT] = {{"", 1}, {NULL, 0}},
    [SIM_SIZE] = {{" MB", 1048576}, {" KB", 1024}, {" B", 1}, {NULL, 0}},
    [SIM_PPM] = {{" ppm", 1}, {NULL, 0}},
    [SIM_VOLTAGE] = {{" V", 1000}, {" mV", 1}, {NULL, 0}},
    [SIM_CURRENT] = {{" mA", 1000}, {" uA", 1}, {NULL, 0}},
    [SIM_LEAKAGE] = {{" mA", 1000000}, {" uA", 1000}, {" nA", 1}, {NULL, 0}},
    [SIM_CHARGE] = {{" Ah", 1000000}, {" mAh", 1000}, {" uAh", 1}, {NULL, 0}},
    [SIM_ENERGY] = {{" mJ", 1000000}, {" uJ", 1000}, {" nJ", 1}, {NULL, 0}},
};

void sim_config_quantity(enum sim_quantity quantity, int64_t value, char out[SIM_QUANTITY_MAX])
{
    const struct unit *unit = units[quantity];
    while (unit[1].name != NULL && (value == 0 || value % unit->size != 0))
        unit++;
    uint64_t size = value < 0 ? (uint64_t)-value : (uint64_t)value;
    const uint64_t one = (uint64_t)unit->size;
    uint64_t whole = size / one, rest = size % one;
    char decimals[8] = "";
    if (rest != 0) {
        /* The last units of quantities with fractions are of 1,000 or 10,000. */
        unsigned part = (unsigned)(rest * (10000 / one) % 10000);
        size_t end = (size_t)snprintf(decimals, sizeof decimals, ".%04u", part);
        while (decimals[end - 1] == '0')
            decimals[--end] = '\0';
    }
    snprintf(out, SIM_QUANTITY_MAX, "%s%" PRIu64 "%s%s", value < 0 ? "-" : "", whole, decimals, unit->name);
}

static int64_t field_of(const void *base, const struct sim_key *k)
{
    const uint8_t *at = (const uint8_t *)base + k->offset;
    uint32_t word;
    uint64_t value;
    if (k->size == 1)
        return *at;
    if (k->size == sizeof word) {
        memcpy(&word, at, sizeof word);
        return k->low < 0 ? (int32_t)word : (int64_t)word;
    }
    memcpy(&value, at, sizeof value);
    return (int64_t)value;
}

struct teller {
    void (*tell)(void *ctx, const char *key, const char *value);
    void *ctx;
    const struct sim_scenario *s;
};

static const char *text_of(const struct sim_scenario *s, const struct sim_release_plan *release, enum sim_key_text text)
{
    switch (text) {
    case SIM_TEXT_NAME:
        return s->name;
    case SIM_TEXT_FIRST:
        return s->first;
    case SIM_TEXT_PREFIX:
        return s->prefix;
    case SIM_TEXT_POLICY:
        return release != NULL ? release->policy : "";
    case SIM_TEXT_SEED:
    case SIM_TEXT_FILE: /* what was in it counts, not its name */
        break;
    }
    return "";
}

static void tell_key(const struct teller *t, const struct sim_release_plan *release, const struct sim_key *k)
{
    char key[96], value[SIM_QUANTITY_MAX];
    int64_t number = 0;
    const char *text = "";
    if (k->type != SIM_KEY_TEXT)
        number = field_of(release != NULL ? (const void *)release : t->s, k);
    switch (k->type) {
    case SIM_KEY_NUMBER:
        sim_config_quantity(k->quantity, number, value);
        text = value;
        break;
    case SIM_KEY_CHOICE:
        for (const struct sim_choice *c = k->choice; c->name != NULL; c++)
            if (c->value == number)
                text = c->name;
        break;
    case SIM_KEY_TEXT:
        text = text_of(t->s, release, k->text);
        break;
    }
    if (release != NULL)
        snprintf(key, sizeof key, "release %" PRIu32 ".%s", release->release, k->key);
    else
        snprintf(key, sizeof key, "%s.%s", k->section, k->key);
    if (*text != '\0')
        t->tell(t->ctx, key, text);
}

void sim_config_walk(const struct sim_scenario *s, void (*tell)(void *ctx, const char *key, const char *value),
                     void *ctx)
{
    const struct teller t = {tell, ctx, s};
    for (size_t i = 0; i < sim_key_count; i++)
        if (strcmp(sim_keys[i].section, "release") != 0)
            tell_key(&t, NULL, &sim_keys[i]);
    for (uint32_t r = 0; r < s->release_count && r < SIM_RELEASES_MAX; r++)
        for (size_t i = 0; i < sim_key_count; i++)
            if (strcmp(sim_keys[i].section, "release") == 0)
                tell_key(&t, &s->release[r], &sim_keys[i]);
}

void sim_result_run_id(const struct sim_scenario *s, uint64_t seed, char id[SIM_RUN_ID_MAX])
{
    snprintf(id, SIM_RUN_ID_MAX, "%016" PRIx64 "-%" PRIu64, sim_scenario_family(s), seed);
}
