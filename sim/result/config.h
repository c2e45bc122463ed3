/*
 * A scenario as the list of its keys and values, as a scenario file or --set has them: what run.json shows and what a
 * run can be repeated from (devices and links that are listed one by one are left out). Reentrant.
 */
#ifndef SIM_CONFIG_H
#define SIM_CONFIG_H

#include "sim/world/quantity.h"
#include "sim/world/scenario.h"

/* Calls tell() for every key in a fixed order, the seed left out: "radio.noise", "-104 dBm"; releases as
 * "release 2.size". Both are valid during the call. */
void sim_config_walk(const struct sim_scenario *s, void (*tell)(void *ctx, const char *key, const char *value),
                     void *ctx);
/* A value with the largest unit that gives no fraction; sim_quantity_get() reads it back. */
#define SIM_QUANTITY_MAX 40
void sim_config_quantity(enum sim_quantity quantity, int64_t value, char out[SIM_QUANTITY_MAX]);

#endif
