/*
 * The application of a node: what the device is there for, beside keeping itself up to date. Four calls, all short: the
 * node's loop (loop.h) makes them and feeds the watchdog in between.
 *
 * What an application must keep over resets and updates, it keeps in four records of the object log: nf_app_put() and
 * nf_app_get(). They survive every update, rollback and power cut; both slots' builds see the same ones, so a record
 * begins with a format of its own and a build takes every format that an older or newer one may have left.
 */
#ifndef NF_APP_H
#define NF_APP_H

#include "node-fw/store/store.h"
#include "proto/hci/hci.h"
#include "proto/mp_types.h"

/* What the application may look at. Valid during a call. */
struct app_view {
    mp_time now; /* at the start of the call */
    const struct nf_flash *flash;
    const struct nf_layout *layout;
    const struct mp_crypto *crypto;
    const struct mp_hci_counters *radio; /* what the radio heard and sent since the start of this image */
    const char *version;                 /* of this image */
    struct nf_store *store;              /* for nf_app_put() and nf_app_get() alone */
    uint32_t node;                       /* node id */
    bool radio_runs;                     /* the controller is set up and was told what runs */
    bool is_trial;                       /* this image is on probation */
};

enum app_verdict {
    APP_PENDING, /* not decided yet: ask again */
    APP_PASSED,
    APP_FAILED
};

struct app {
    void (*start)(const struct app_view *view);
    /* Whether this build works on this device; asked again every 100 ms until it is decided, at the latest by the end
     * of the trial. Only a build on trial is asked. */
    enum app_verdict (*selftest)(const struct app_view *view);
    /* Does what is due; when to be called again (it may be called earlier). */
    mp_time (*loop)(const struct app_view *view);
    /* False keeps the radio silent for the moment, for example while something delicate is measured. */
    bool (*may_transmit)(const struct app_view *view);
};

#define NF_APP_RECORDS NF_OBJECT_APP_SLOTS
#define NF_APP_RECORD_MAX MP_RECORD_MAX

/* Length of the application's record `index` (0 to 3) copied to data, 0 when there is none, MP_ERR_ROOM (longer than
 * cap), MP_ERR_FORMAT (index), MP_ERR_STORE (unreadable). */
int nf_app_get(const struct app_view *view, unsigned index, uint8_t *data, size_t cap);
/* Replaces it atomically; len 0 erases. Costs flash wear only when it changes: records are for settings and for what is
 * counted now and then, not for every sample. 0, MP_ERR_FORMAT (index, longer than NF_APP_RECORD_MAX), MP_ERR_STORE. */
int nf_app_put(const struct app_view *view, unsigned index, const uint8_t *data, size_t len);

#endif
