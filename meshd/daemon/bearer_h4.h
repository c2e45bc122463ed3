/*
 * The gateway's radio: a Bluetooth LE controller behind H4, on a unix socket or a serial line with flow control.
 *
 * Owns the file descriptor, the HCI host (proto/hci) and the one timer of the radio side. Runs the loop that
 * proto/hci/hci.h describes: what is heard goes to the handler, and the handler is asked for a frame only when the
 * controller can start it at once. A controller that goes away is opened again, after 0.5 s at first and 8 s at most;
 * meanwhile the engine's timers still run. Opaque; one thread.
 */
#ifndef MD_BEARER_H4_H
#define MD_BEARER_H4_H

#include <event2/event.h>

#include "config.h"
#include "proto/hci/hci.h"

struct md_bearer;

struct md_bearer_handler {
    void *ctx;
    /* A frame as heard; the buffer ends with the call. */
    void (*heard)(void *ctx, mp_time now, const uint8_t *frame, size_t len);
    /* Runs timers that are due. */
    void (*expire)(void *ctx, mp_time now);
    /* Frame to send now: its length, or 0. */
    int (*next)(void *ctx, mp_time now, uint8_t *buf, size_t cap);
    /* When to ask again. */
    mp_time (*next_expiry)(void *ctx);
    /* After everything else of one turn; may call md_bearer_run() no deeper. */
    void (*done)(void *ctx, mp_time now);
};

struct md_bearer_info {
    bool is_open;      /* the device is open */
    bool is_running;   /* the controller is set up and scans */
    uint32_t opens;    /* times it was opened */
    char device[128];  /* as configured */
    char problem[128]; /* newest one, "" when running */
    struct mp_hci_counters counters;
};

/* Monotonic time in microseconds. */
mp_time md_bearer_now(void);

/* Starts; the device need not be there yet. address: random device address, least significant byte first. NULL when
 * memory is short. */
struct md_bearer *md_bearer_new(struct event_base *base, const struct md_config *config, const uint8_t address[6],
                                const struct md_bearer_handler *handler);
void md_bearer_free(struct md_bearer *b);
/* One turn of the loop; call after anything that may have changed what the engine wants to send. */
void md_bearer_run(struct md_bearer *b);
void md_bearer_info(const struct md_bearer *b, struct md_bearer_info *info);

#endif
