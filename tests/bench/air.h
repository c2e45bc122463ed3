/*
 * The dissemination of payload.h through the live air in real time: `meshsim live` as a process of its own, and every
 * member of the scenario as a host in this one, behind the same unix socket, link and HCI host as a node's program.
 *
 * What differs from virtual time (dissemination.h) is what differs on a bench of boards: commands and reports take
 * their way through a kernel, both loops wake late, and a host only estimates when its last event began. The clock
 * starts when the first frame that names the manifest is handed to the controller, which is before its event starts.
 */
#ifndef BENCH_AIR_H
#define BENCH_AIR_H

#include "payload.h"

struct air_config {
    const char *meshsim;  /* path of the program */
    const char *scenario; /* path: line or grid, first device the gateway; its frame loss counts for the floor */
    uint64_t seed;        /* of the air, the payload and the members' random numbers */
    uint32_t size;        /* payload bytes */
    mp_time settle;       /* between the last node's accepting the directive and the manifest */
};

struct air_result {
    uint32_t positions; /* k */
    uint32_t depth;     /* D */
    double floor_s, time_s, ratio;
    /* what the hosts saw while the clock ran */
    uint64_t frames;                   /* handed to controllers */
    uint64_t wakes;                    /* of a timer */
    uint64_t late_sum_us, late_max_us; /* of those, behind the timer */
    uint64_t event_us;                 /* sum over frames: from handing it over to its set's termination */
    char air[96];                      /* the air's own account of how late it was, for people */
};

/* One run. 0, or -1 after a message on standard error: it could not start, a controller or the air failed, a node ended
 * with a wrong payload, or it took more than 10 floors. The process ends with this one whatever happens. */
int air_run(const struct air_config *config, struct air_result *result);

#endif
