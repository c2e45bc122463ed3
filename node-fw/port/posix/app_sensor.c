#include "app_sensor.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "proto/object/settings.h"

#define SAMPLE_EVERY MP_SECONDS(1)
#define SAMPLES_PER_LINE 60

static struct {
    mp_time next;
    unsigned count;
    unsigned min, max, sum; /* load in hundredths */
} sensor;

static void start(const struct app_view *view)
{
    memset(&sensor, 0, sizeof sensor);
    sensor.next = view->now + SAMPLE_EVERY;
}

/* One measurement; false when the transducer does not answer or says something it cannot. */
static bool measure(unsigned *hundredths)
{
    double load;
    if (getloadavg(&load, 1) != 1 || !(load >= 0 && load < 100000))
        return false;
    *hundredths = (unsigned)(load * 100);
    return true;
}

static bool settings_are_whole(const struct app_view *view)
{
    uint8_t raw[MP_SETTINGS_SIZE];
    struct mp_settings s;
    return view->flash->read(view->flash->ctx, view->layout->settings, raw, sizeof raw) == NF_FLASH_OK &&
           mp_settings_get(&s, raw, sizeof raw) == 0;
}

/* SHA-256 of "abc", FIPS 180-2 appendix B.1. */
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

static enum app_verdict selftest(const struct app_view *view)
{
    unsigned load;
    if (!settings_are_whole(view) || !hash_is_right(view) || !measure(&load))
        return APP_FAILED;
    return view->radio_runs ? APP_PASSED : APP_PENDING;
}

static mp_time loop(const struct app_view *view)
{
    unsigned load;
    if (view->now < sensor.next)
        return sensor.next;
    sensor.next = view->now + SAMPLE_EVERY;
    if (!measure(&load))
        return sensor.next;
    if (sensor.count == 0 || load < sensor.min)
        sensor.min = load;
    if (sensor.count == 0 || load > sensor.max)
        sensor.max = load;
    sensor.sum += load;
    if (++sensor.count == SAMPLES_PER_LINE) {
        const unsigned mean = sensor.sum / SAMPLES_PER_LINE;
        port_log("sensor: load %u.%02u (%u.%02u to %u.%02u)", mean / 100, mean % 100, sensor.min / 100,
                 sensor.min % 100, sensor.max / 100, sensor.max % 100);
        sensor.count = sensor.sum = 0;
    }
    return sensor.next;
}

static bool may_transmit(const struct app_view *view)
{
    (void)view;
    return true;
}

const struct app app_sensor = {.start = start, .selftest = selftest, .loop = loop, .may_transmit = may_transmit};
