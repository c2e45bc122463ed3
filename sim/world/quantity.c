#include "quantity.h"

#include <stddef.h>
#include <string.h>

#define MICRO 1000000
#define DIGITS_WHOLE 9
#define DIGITS_FRACTION 6

struct unit {
    const char *name;
    int64_t size; /* in the quantity's unit */
};

#define UNITS_MAX 4

static const struct {
    const char *names;
    struct unit unit[UNITS_MAX];
} UNITS[] = {
    [SIM_POWER] = {"dBm", {{"dBm", 1000}}},
    [SIM_RATIO] = {"dB", {{"dB", 1000}}},
    [SIM_TIME] = {"us, ms or s", {{"us", 1}, {"ms", 1000}, {"s", 1000000}}},
    [SIM_LENGTH] = {"mm, cm, m or km", {{"mm", 1}, {"cm", 10}, {"m", 1000}, {"km", 1000000}}},
    [SIM_SHARE] = {"%", {{"%", 10000}}},
    [SIM_FACTOR] = {"no unit", {{"", 1000}}},
    [SIM_COUNT] = {"no unit", {{"", 1}}},
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
        /* below 10^15 times at most 10^6: cannot overflow when taken apart */
        int64_t whole = micro / MICRO * unit->size, fraction = micro % MICRO * unit->size;
        if (fraction % MICRO != 0)
            return -1;
        *value = whole + fraction / MICRO;
        return 0;
    }
    return -1;
}

const char *sim_quantity_units(enum sim_quantity quantity)
{
    return UNITS[quantity].names;
}
