/*
 * Example application: watches how busy the radio band is and how warm the part is, and counts what exceeds its limits.
 *
 * Its settings and its counters are two records that survive updates and rollbacks: limits and interval are set once
 * (by whoever provisions the product, or here with defaults at the first start), the counters grow for the device's
 * life. A build on trial has to prove that it finds both, that the cryptography it was given is right, that the sensors
 * say something plausible, and that the radio runs.
 */
#ifndef NRF51_APP_SENSOR_H
#define NRF51_APP_SENSOR_H

#include "node-fw/port/app.h"

/* Records of the application, of this format (first byte). */
#define SENSOR_FORMAT 1
enum { SENSOR_RECORD_SETTINGS = 0, SENSOR_RECORD_LIFE = 1 };

/* Settings, 8 bytes: format, 0, interval s u16, busy limit u16 (advertisements heard a minute), warm limit i16
 * (quarters of a degree Celsius). */
#define SENSOR_SETTINGS_SIZE 8
/* Life, 16 bytes: format, 0, 0, 0, starts u32, samples u32 (as of the last time it was written), alarms u32. */
#define SENSOR_LIFE_SIZE 16

struct sensor_settings {
    uint16_t interval_s;
    uint16_t busy_limit;
    int16_t warm_limit;
};

struct sensor_life {
    uint32_t starts;
    uint32_t samples;
    uint32_t alarms;
};

/* What it measured last, where a debugger finds it. */
struct sensor_reading {
    uint32_t busy;   /* advertisements a minute, smoothed over eight samples */
    int16_t warmth;  /* quarters of a degree Celsius */
    bool has_warmth; /* the part measures it */
};

extern const struct app app_sensor;

#endif
