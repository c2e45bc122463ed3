/*
 * The application of POSIX nodes: samples the load of the machine, the one thing every POSIX host can measure.
 */
#ifndef PORT_APP_SENSOR_H
#define PORT_APP_SENSOR_H

#include "node-fw/port/app.h"

extern const struct app app_sensor;

#endif
