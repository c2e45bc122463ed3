#include "app_sensor.h"

#include <string.h>

#include "regs.h"
#include "node-fw/port/port.h"
#include "proto/mp_wire.h"

#define INTERVAL_MAX_S 3600u
#define LIFE_EVERY MP_SECONDS(3600) /* the counters are written this often: 9,000 page erasures in 20 years */
#define TEMP_PATIENCE MP_MS(1)      /* a measurement takes 35 us */
#define PLAUSIBLE(t) ((t) >= -40 * 4 && (t) <= 125 * 4)

static const struct sensor_settings defaults = {.interval_s = 5, .busy_limit = 12000, .warm_limit = 85 * 4};

static struct {
    struct sensor_settings settings;
    struct sensor_life life;
    struct sensor_reading reading;
    mp_time sampled; /* last */
    mp_time next;
    mp_time life_due;
    uint32_t heard; /* advertisements, at the last sample */
    bool is_known;  /* settings and life are what flash holds */
} sensor;

/* --- records ---------------------------------------------------------------------------------------------------------- */

static bool settings_load(const struct app_view *view, struct sensor_settings *s)
{
    uint8_t raw[SENSOR_SETTINGS_SIZE];
    if (nf_app_get(view, SENSOR_RECORD_SETTINGS, raw, sizeof raw) != SENSOR_SETTINGS_SIZE || raw[0] != SENSOR_FORMAT)
        return false;
    s->interval_s = mp_get16(raw + 2);
    s->busy_limit = mp_get16(raw + 4);
    s->warm_limit = (int16_t)mp_get16(raw + 6);
    return s->interval_s >= 1 && s->interval_s <= INTERVAL_MAX_S && PLAUSIBLE(s->warm_limit);
}

static bool settings_store(const struct app_view *view, const struct sensor_settings *s)
{
    uint8_t raw[SENSOR_SETTINGS_SIZE] = {SENSOR_FORMAT};
    mp_put16(raw + 2, s->interval_s);
    mp_put16(raw + 4, s->busy_limit);
    mp_put16(raw + 6, (uint16_t)s->warm_limit);
    return nf_app_put(view, SENSOR_RECORD_SETTINGS, raw, sizeof raw) == 0;
}

static bool life_load(const struct app_view *view, struct sensor_life *l)
{
    uint8_t raw[SENSOR_LIFE_SIZE];
    if (nf_app_get(view, SENSOR_RECORD_LIFE, raw, sizeof raw) != SENSOR_LIFE_SIZE || raw[0] != SENSOR_FORMAT)
        return false;
    l->starts = mp_get32(raw + 4);
    l->samples = mp_get32(raw + 8);
    l->alarms = mp_get32(raw + 12);
    return true;
}

static bool life_store(const struct app_view *view, const struct sensor_life *l)
{
    uint8_t raw[SENSOR_LIFE_SIZE] = {SENSOR_FORMAT};
    mp_put32(raw + 4, l->starts);
    mp_put32(raw + 8, l->samples);
    mp_put32(raw + 12, l->alarms);
    return nf_app_put(view, SENSOR_RECORD_LIFE, raw, sizeof raw) == 0;
}

/* --- measuring -------------------------------------------------------------------------------------------------------- */

/* Temperature of the die; false on a part without the sensor (an emulated one). */
static bool measure_warmth(int16_t *quarters)
{
    const mp_time until = nf_port_now() + TEMP_PATIENCE;
    NRF51_TEMP_DATARDY = 0;
    NRF51_TEMP_START = 1;
    while (NRF51_TEMP_DATARDY == 0)
        if (nf_port_now() >= until)
            break;
    const bool answered = NRF51_TEMP_DATARDY != 0;
    *quarters = (int16_t)NRF51_TEMP_TEMP;
    NRF51_TEMP_STOP = 1;
    return answered;
}

static void sample(const struct app_view *view)
{
    struct sensor_reading *r = &sensor.reading;
    const uint32_t heard = view->radio->reports - sensor.heard;
    const uint32_t passed = mp_ms(view->now - sensor.sampled) / 100; /* tenths of a second */
    if (passed == 0)
        return;
    sensor.heard = view->radio->reports;
    sensor.sampled = view->now;
    const uint32_t busy = heard * 600 / passed; /* 7 million advertisements are those of a day */
    r->busy = r->busy == 0 ? busy : r->busy - r->busy / 8 + busy / 8;
    r->has_warmth = measure_warmth(&r->warmth);
    sensor.life.samples++;
    if (r->busy > sensor.settings.busy_limit || (r->has_warmth && r->warmth > sensor.settings.warm_limit))
        sensor.life.alarms++;
}

/* --- the application -------------------------------------------------------------------------------------------------- */

static void start(const struct app_view *view)
{
    memset(&sensor, 0, sizeof sensor);
    sensor.is_known = true;
    if (!settings_load(view, &sensor.settings)) {
        sensor.settings = defaults;
        sensor.is_known = settings_store(view, &sensor.settings);
    }
    life_load(view, &sensor.life); /* none at the first start */
    sensor.life.starts++;
    if (!life_store(view, &sensor.life))
        sensor.is_known = false;
    sensor.sampled = view->now;
    sensor.next = view->now + MP_SECONDS(sensor.settings.interval_s);
    sensor.life_due = view->now + LIFE_EVERY;
}

static mp_time loop(const struct app_view *view)
{
    if (view->now >= sensor.next) {
        sample(view);
        sensor.next = view->now + MP_SECONDS(sensor.settings.interval_s);
    }
    if (view->now >= sensor.life_due) {
        life_store(view, &sensor.life);
        sensor.life_due = view->now + LIFE_EVERY;
    }
    return sensor.next < sensor.life_due ? sensor.next : sensor.life_due;
}

static bool may_transmit(const struct app_view *view)
{
    (void)view;
    return true;
}

/* --- self-test -------------------------------------------------------------------------------------------------------- */

/* What this device is, and what it was told and counted, is still there. */
static bool records_are_whole(const struct app_view *view)
{
    uint8_t raw[MP_SETTINGS_SIZE];
    struct mp_settings identity;
    struct sensor_settings settings;
    struct sensor_life life;
    return view->flash->read(view->flash->ctx, view->layout->settings, raw, sizeof raw) == NF_FLASH_OK &&
           mp_settings_get(&identity, raw, sizeof raw) == 0 && identity.node == view->node && sensor.is_known &&
           settings_load(view, &settings) && memcmp(&settings, &sensor.settings, sizeof settings) == 0 &&
           life_load(view, &life) && life.starts == sensor.life.starts && life.starts > 0;
}

/* SHA-256 of "abc", FIPS 180-2 appendix B.1, by the function that the bootloader exports. */
static bool hash_is_right(const struct app_view *view)
{
    static const uint8_t expected[32] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
                                         0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
                                         0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    struct mp_sha256 state;
    uint8_t digest[32];
    view->crypto->sha256_init(&state);
    view->crypto->sha256_update(&state, (const uint8_t *)"abc", 3);
    view->crypto->sha256_final(&state, digest);
    return memcmp(digest, expected, sizeof digest) == 0;
}

/* Four words that are all alike come by chance once in 2^96. */
static bool numbers_differ(void)
{
    const uint32_t first = nf_port_random();
    bool differ = false;
    for (unsigned i = 0; i < 3; i++)
        differ |= nf_port_random() != first;
    return differ;
}

static bool is_warmth_plausible(void)
{
    int16_t quarters;
    return !measure_warmth(&quarters) || PLAUSIBLE(quarters);
}

static enum app_verdict selftest(const struct app_view *view)
{
    if (!view->radio_runs)
        return APP_PENDING; /* first, so that the costly rest is done once */
    return records_are_whole(view) && hash_is_right(view) && numbers_differ() && is_warmth_plausible() ? APP_PASSED
                                                                                                       : APP_FAILED;
}

const struct app app_sensor = {.start = start, .selftest = selftest, .loop = loop, .may_transmit = may_transmit};
