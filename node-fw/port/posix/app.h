/*
 * The application of a node: what the device is there for, beside keeping itself up to date. Four calls, all short: the
 * node's loop makes them and kicks the watchdog in between.
 */
#ifndef PORT_APP_H
#define PORT_APP_H

#include "node-fw/store/flash.h"
#include "proto/mp_types.h"

/* What the application may look at. Valid during a call. */
struct app_view {
    mp_time now;
    const struct nf_flash *flash;
    const struct nf_layout *layout;
    const struct mp_crypto *crypto;
    bool radio_runs; /* the controller is set up and was told what runs */
};

enum app_verdict {
    APP_PENDING, /* not decided yet: ask again */
    APP_PASSED,
    APP_FAILED
};

struct app {
    void (*start)(const struct app_view *view);
    /* Whether this build works on this device; asked again until it is decided. Only a build on trial is asked. */
    enum app_verdict (*selftest)(const struct app_view *view);
    /* Does what is due; when to be called again. */
    mp_time (*loop)(const struct app_view *view);
    /* False keeps the radio silent for the moment, for example while something delicate is measured. */
    bool (*may_transmit)(const struct app_view *view);
};

/* Samples the load of the machine, the one thing every POSIX host can measure. */
extern const struct app app_sensor;

#endif
