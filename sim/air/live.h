/*
 * The live air: the medium of a scenario on the real clock, with a virtual controller on a unix socket for every
 * device, so that unmodified programs form one mesh on one machine. Started as `meshsim live SCENARIO`.
 *
 * Sockets, in one directory:
 *   NAME.sock     HCI over H4 of device NAME. One connection at a time (a second one is closed at once); a connection
 * finds the controller as after power-on, and its end is the controller's power going away. control.sock  lines of
 * text, each answered by one line: "ok", "error: ..." or the answer. stats          one line of JSON, see below cut
 * NAME       device NAME neither hears nor is heard; cut A B: only the pair heal NAME      takes that back; heal A B
 * likewise loss X         frame loss in percent from now on, 0 to 100, decimals allowed quit           as SIGTERM
 *
 * Time. The medium runs on microseconds since the start and is advanced to the present before anything a host says
 * reaches it. A loop that wakes late delivers late, but in the order and with the outcome that the events have on the
 * medium's own time; how late is in the statistics.
 *
 * Files:
 *   record  one line an event: start_us end_us device set aux_channel data outcome..., where data is hexadecimal ("-"
 * when empty) and an outcome is NAME=V for every device in range: R received, O off (not scanning or changing channel),
 * D deaf (following another packet), H half duplex, P collision on the primary channel, A collision on the data
 * channel, L random loss, C cut short by a reset. log     one line a happening: seconds.micros device what: "start",
 * "connect", "disconnect", "log TEXT" (the host's vendor command), "cut", "heal", "loss X", "stop". The device is "-"
 * where there is none. stats   JSON, written at the end: scenario, seed, seconds, loss_ppm, late_us {mean, max}, and
 * totals and per device (under devices.NAME): events, bytes, airtime_us, received, lost {cause: count} of the frames it
 * sent; heard {verdict: count} of those in its range; connected, connections, commands, refused, noise, reports,
 * reports_dropped of its controller.
 */
#ifndef SIM_LIVE_H
#define SIM_LIVE_H

#include <stdbool.h>
#include <stdint.h>

struct sim_live_config {
    const char *scenario; /* path */
    const char *dir;      /* for the sockets; made if missing */
    const char *record;   /* paths, NULL: none */
    const char *log;
    const char *stats;
    bool has_seed; /* overrides the scenario's */
    uint64_t seed;
    bool has_loss; /* likewise */
    uint32_t loss_ppm;
    bool is_quiet; /* no ready line on standard output */
};

/* Runs until SIGTERM, SIGINT or "quit". 0, or 1 after a message on standard error. */
int sim_live_run(const struct sim_live_config *config);

/* `meshsim live`: parses the arguments after the name and runs. 0, 1 as above, 2: wrong usage. */
int sim_live_command(int argc, char **argv);

#endif
