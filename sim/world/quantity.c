#include "quantity.h"

#include <stddef.h>
#include <string.h>

#define MICRO 1000000
#define DIGITS_WHOLE 9
#define DIGITS_FRACTION 6
#define LARGEST (INT64_MAX / 2)

struct unit {
    const char *name;
    int64_t size; /* in the quantity's unit */
};

#define UNITS_MAX 6

static const struct {
    const char *names;
    struct unit unit[UNITS_MAX];
} UNITS[] = {
    [SIM_POWER] = {"dBm", {{"dBm", 1000}}},
    [SIM_RATIO] = {"dB", {{"dB", 1000}}},
    [SIM_TIME] = {"us, ms, s, min, h or d",
                  {{"us", 1},
                   {"ms", 1000},
                   {"s", 1000000},
                   {"min", 60000000},
                   {"h", INT64_C(3600000000)},
                   {"d", INT64_C(86400000000)}}},
    [SIM_LENGTH] = {"mm, cm, m or km", {{"mm", 1}, {"cm", 10}, {"m", 1000}, {"km", 1000000}}},
    [SIM_SHARE] = {"%", {{"%", 10000}}},
    [SIM_FACTOR] = {"no unit", {{"", 1000}}},
    [SIM_COUNT] = {"no unit", {{"", 1}}},
    [SIM_SIZE] = {"B, KB or MB", {{"B", 1}, {"KB", 1024}, {"MB", 1048576}}},
    [SIM_PPM] = {"ppm", {{"ppm", 1}}},
    [SIM_VOLTAGE] = {"mV or V", {{"mV", 1}, {"V", 1000}}},
    [SIM_CURRENT] = {"uA or mA", {{"uA", 1}, {"mA", 1000}}},
    [SIM_LEAKAGE] = {"nA, uA or mA", {{"nA", 1}, {"uA", 1000}, {"mA", 1000000}}},
    [SIM_CHARGE] = {"uAh, mAh or Ah", {{"uAh", 1}, {"mAh", 1000}, {"Ah", 1000000}}},
    [SIM_ENERGY] = {"nJ, uJ or mJ", {{"nJ", 1}, {"uJ", 1000}, {"mJ", 1000000}}},
};

static const char *skip_spaces(const char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    return text;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The number in millionths; *rest what follows it. */
static int get_micro(const char *text, int64_t *micro, const char **rest)
{
    bool is_negative = *text == '-';
    int64_t value = 0;
    int whole = 0, fraction = 0;
    if (is_negative)
        text++;
    for (; is_digit(*text); text++) {
        if (++whole > DIGITS_WHOLE)
            return -1;
        value = value * 10 + (*text - '0');
    }
    if (whole == 0)
        return -1;
    if (*text == '.') {
        for (text++; is_digit(*text); text++) {
            if (++fraction > DIGITS_FRACTION)
                return -1;
            value = value * 10 + (*text - '0');
        }
        if (fraction == 0)
            return -1;
    }
    for (; fraction < DIGITS_FRACTION; fraction++)
        value *= 10;
    *micro = is_negative ? -value : value;
    *rest = text;
    return 0;
}

static bool is_unit(const char *text, const char *unit)
{
    size_t len = strlen(unit);
    return strncmp(text, unit, len) == 0 && *skip_spaces(text + len) == '\0';
}

int sim_quantity_get(enum sim_quantity quantity, const char *text, int64_t *value)
{
    int64_t micro;
    if (get_micro(skip_spaces(text), &micro, &text) != 0)
        return -1;
    text = skip_spaces(text);
    for (int i = 0; i < UNITS_MAX && UNITS[quantity].unit[i].name != NULL; i++) {
        const struct unit *unit = &UNITS[quantity].unit[i];
        if (!is_unit(text, unit->name))
            continue;
        /* at most 10^9 days, in microseconds more than 63 bits: more than any range allows */
        int64_t whole = micro / MICRO, fraction = micro % MICRO * unit->size;
        if (fraction % MICRO != 0)
            return -1;
        if (whole > LARGEST / unit->size || whole < -LARGEST / unit->size) {
            *value = whole < 0 ? -LARGEST : LARGEST;
            return 0;
        }
        whole *= unit->size;
        *value = whole + fraction / MICRO;
        return 0;
    }
    return -1;
}

const char *sim_quantity_units(enum sim_quantity quantity)
{
    return UNITS[quantity].names;
}
