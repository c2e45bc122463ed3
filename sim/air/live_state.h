/*
 * What the files of the live air share; private to sim/air.
 */
#ifndef SIM_LIVE_STATE_H
#define SIM_LIVE_STATE_H

#include "controller.h"
#include "live.h"
#include "sim/world/scenario.h"

#include <event2/event.h>
#include <event2/listener.h>
#include <stdio.h>
#include <sys/un.h>

struct cJSON;

#define LIVE_INPUT 4096

/* One device: its socket, its controller, and the host behind it while there is one. */
struct live_host {
    struct sim_live *live;
    uint32_t device;
    struct sim_controller *controller;
    struct sockaddr_un address;
    struct evconnlistener *listener;
    int fd; /* -1: no host */
    struct event *readable, *writable;
    bool is_dirty;   /* in live.dirty */
    bool is_stalled; /* input waits for room in the controller's output; not read any further */
    size_t input_size;
    uint8_t input[LIVE_INPUT];
    uint64_t connections;
    uint64_t heard[SIM_VERDICT_COUNT]; /* events of others in range, by outcome */
};

struct live_client;

struct sim_live {
    struct sim_live_config config;
    struct sim_scenario scenario;
    struct sim_medium *medium;
    struct event_base *base;
    struct event *timer, *signals[2];
    struct live_host *host; /* [scenario.count] */
    uint32_t *dirty;        /* hosts with output to be written */
    uint32_t dirty_count;
    bool *is_cut;  /* [count * count]; the diagonal: the device as a whole */
    int32_t *loss; /* [count * count], path losses without cuts */
    struct sockaddr_un control_address;
    struct evconnlistener *control;
    struct live_client *clients;
    unsigned client_count;
    bool made_dir;
    uint64_t origin_us; /* CLOCK_MONOTONIC of time 0 */
    uint32_t loss_ppm;
    uint64_t wakes, late_sum_us, late_max_us;
    FILE *record, *log;
};

/* live.c */
/* Time now; the medium is advanced to it. */
sim_time sim_live_now(struct sim_live *l);
/* Writes what is to be written and arms the timer. Every callback of the loop ends with it. */
void sim_live_settle(struct sim_live *l);
/* Fills in a socket's address; 0, or -1 after a message: the path is too long. */
int sim_live_address(struct sockaddr_un *address, const char *dir, const char *name);
/* Listens, replacing a socket that nobody listens on any more. NULL after a message. */
struct evconnlistener *sim_live_listen(struct sim_live *l, const struct sockaddr_un *address, evconnlistener_cb accept,
                                       void *ctx);

/* live_host.c */
int sim_live_host_open(struct sim_live *l, uint32_t device);
void sim_live_host_close(struct live_host *h);
void sim_live_host_flush(struct live_host *h);
void sim_live_host_dirty(struct live_host *h);

/* live_control.c */
int sim_live_control_open(struct sim_live *l);
void sim_live_control_close(struct sim_live *l);

/* live_record.c */
int sim_live_record_open(struct sim_live *l);
/* Closes record and log, writes the statistics: 0, or -1 after a message. */
int sim_live_record_close(struct sim_live *l);
void sim_live_record_event(struct sim_live *l, const struct sim_event_report *report);
/* One line of the log; device UINT32_MAX: none. */
void sim_live_log(struct sim_live *l, uint32_t device, const char *what, const char *text);
/* The statistics as a tree of its own, NULL: out of memory. */
struct cJSON *sim_live_stats(struct sim_live *l);

#endif
