#include "air.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node-fw/port/posix/link.h"
#include "proto/hci/hci.h"
#include "sim/world/scenario.h"
#include "tests/lib/fleet_process.h"

#define HOSTS_MAX 64
#define PATH_BYTES 240
#define START_LIMIT MP_SECONDS(10)
#define STAGE_LIMIT MP_SECONDS(120)
#define GIVE_UP_FLOORS 10
#define RETRY_US 1000 /* an engine that is due but has nothing to say is not asked again at once */

struct run;

struct host {
    struct run *run;
    mp_time due;     /* when it is to be looked at next; 0 at once */
    mp_time sent_at; /* last frame */
    uint32_t sent;   /* events done, as last seen */
    bool is_staged, is_complete;
    struct member member;
    struct port_link link;
    struct mp_hci hci;
};

struct run {
    const struct air_config *config;
    struct air_result *result;
    char dir[PATH_BYTES / 2], air[PATH_BYTES], log[PATH_BYTES], stats[PATH_BYTES];
    pid_t pid;
    uint32_t count;
    struct host *host; /* [count] */
    struct sign_fleet fleet;
    struct payload payload;
    mp_time started, ended; /* 0: not yet */
    const char *problem;    /* ends the run */
};

static mp_time now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (mp_time)t.tv_sec * 1000000 + (mp_time)t.tv_nsec / 1000;
}

static bool is_running(const struct run *run)
{
    return run->started != 0 && run->ended == 0;
}

/* --- a host ------------------------------------------------------------------------------------------------------- */

static bool all_are(const struct run *run, bool (*is)(const struct host *h))
{
    for (uint32_t i = 0; i < run->count; i++)
        if (!is(&run->host[i]))
            return false;
    return true;
}

static bool has_controller(const struct host *h)
{
    return mp_hci_phase(&h->hci) == MP_HCI_RUN;
}

static bool is_staged(const struct host *h)
{
    return h->is_staged || h->member.index == 0;
}

static bool is_complete(const struct host *h)
{
    return h->is_complete || h->member.index == 0;
}

static void on_complete(struct host *h)
{
    struct run *run = h->run;
    h->is_complete = payload_is_right(&run->payload, &h->member);
    if (!h->is_complete)
        run->problem = "a node completed with a wrong payload";
    else if (all_are(run, is_complete))
        run->ended = now_us(); /* the hash is part of it */
}

static void on_events(struct host *h, mp_time now)
{
    uint32_t events;
    while ((events = mp_node_events(&h->member.engine)) != 0) {
        if (h->member.index == 0)
            continue;
        if (events & MP_EVENT_DIRECTIVE)
            h->is_staged = true;
        if (events & (MP_EVENT_DIRECTIVE | MP_EVENT_MANIFEST) && payload_accept(&h->member, now) != 0)
            h->run->problem = "a node could not take the payload up";
        if (events & MP_EVENT_COMPLETE)
            on_complete(h);
    }
}

static void deliver(void *ctx, mp_time now, const struct mp_hci_heard *heard)
{
    struct host *h = ctx;
    (void)mp_node_receive(&h->member.engine, &h->member.env, now, heard->frame, heard->length);
    on_events(h, now);
}

static void receive(struct host *h)
{
    uint8_t bytes[4096];
    mp_time now = now_us();
    int len = port_link_read(&h->link, now, bytes, sizeof bytes);
    if (len < 0)
        h->run->problem = "the air closed a connection";
    else
        mp_hci_receive(&h->hci, now, bytes, (size_t)len, deliver, h);
    if (h->hci.counters.sent != h->sent && is_running(h->run))
        h->run->result->event_us += now - h->sent_at;
    h->sent = h->hci.counters.sent;
    h->due = 0;
}

static void send_frame(struct host *h, mp_time now)
{
    uint8_t frame[MP_FRAME_MAX], bytes[MP_HCI_COMMAND_MAX];
    int len = mp_node_write(&h->member.engine, &h->member.env, now, frame, sizeof frame);
    if (len <= 0)
        return;
    if (h->run->started == 0 && payload_is_named(frame, (size_t)len))
        h->run->started = now;
    if (is_running(h->run))
        h->run->result->frames++;
    h->sent_at = now;
    len = mp_hci_send(&h->hci, now, frame, (size_t)len, bytes, sizeof bytes);
    if (len > 0)
        port_link_put(&h->link, now, bytes, (size_t)len);
}

/* One turn of a host's loop, as in proto/hci/hci.h. */
static void turn(struct host *h)
{
    mp_time now = now_us();
    uint8_t bytes[MP_HCI_COMMAND_MAX];
    if (port_link_expire(&h->link, now))
        mp_hci_restart(&h->hci, now);
    h->due = port_link_next_expiry(&h->link);
    if (h->link.fd < 0) {
        if (process_is_gone(h->run->pid)) {
            h->run->pid = 0;
            h->run->problem = "the air ended";
        }
        return;
    }
    mp_hci_expire(&h->hci, now);
    if (mp_node_next_expiry(&h->member.engine) <= now)
        mp_node_expire(&h->member.engine, &h->member.env, now);
    bool is_ready = mp_hci_is_ready(&h->hci, now);
    if (is_ready && mp_node_next_expiry(&h->member.engine) <= now)
        send_frame(h, now);
    for (int len; (len = mp_hci_write(&h->hci, now, bytes, sizeof bytes)) > 0;)
        port_link_put(&h->link, now, bytes, (size_t)len);
    on_events(h, now);
    mp_time engine = mp_node_next_expiry(&h->member.engine);
    if (engine <= now) /* a frame that waits for the radio, whose timer tells when */
        engine = mp_hci_is_ready(&h->hci, now) ? now + RETRY_US : MP_NEVER;
    h->due = mp_hci_next_expiry(&h->hci, now);
    h->due = engine < h->due ? engine : h->due;
    if (mp_hci_phase(&h->hci) == MP_HCI_FAILED)
        h->run->problem = mp_hci_strerror(mp_hci_error(&h->hci));
}

/* --- the loop of all hosts ---------------------------------------------------------------------------------------- */

static void note_lateness(struct run *run, mp_time due, mp_time now)
{
    struct air_result *r = run->result;
    if (!is_running(run) || due == 0 || due > now)
        return;
    r->wakes++;
    r->late_sum_us += now - due;
    if (now - due > r->late_max_us)
        r->late_max_us = now - due;
}

static void sleep_until(struct run *run, mp_time due)
{
    struct pollfd set[HOSTS_MAX];
    for (uint32_t i = 0; i < run->count; i++) {
        const struct port_link *link = &run->host[i].link;
        set[i] = (struct pollfd){.fd = link->fd, .events = (short)(link->queued > 0 ? POLLIN | POLLOUT : POLLIN)};
    }
    mp_time now = now_us(), wait = due > now ? due - now : 0;
    const struct timespec t = {.tv_sec = (time_t)(wait / 1000000), .tv_nsec = (long)(wait % 1000000 * 1000)};
    if (ppoll(set, run->count, &t, NULL) <= 0)
        return;
    for (uint32_t i = 0; i < run->count; i++) {
        if (set[i].revents & POLLOUT)
            port_link_flush(&run->host[i].link, now_us());
        if (set[i].revents & ~POLLOUT)
            receive(&run->host[i]);
    }
}

/* Runs until all hosts are so (NULL: for that long): 0; or -1 after a message: a problem, or it took that long. */
static int run_until(struct run *run, bool (*is)(const struct host *h), mp_time duration, const char *what)
{
    mp_time limit = now_us() + duration;
    while (run->problem == NULL && (is == NULL || !all_are(run, is))) {
        mp_time next = limit;
        for (uint32_t i = 0; i < run->count; i++) {
            struct host *h = &run->host[i];
            mp_time now = now_us();
            if (h->due <= now) {
                note_lateness(run, h->due, now);
                turn(h);
            }
            next = h->due < next ? h->due : next;
        }
        sleep_until(run, next);
        if (now_us() < limit)
            continue;
        if (is == NULL)
            return 0;
        run->problem = what;
    }
    if (run->problem == NULL)
        return 0;
    fprintf(stderr, "air: %s\n", run->problem);
    return -1;
}

/* --- starting and ending ------------------------------------------------------------------------------------------ */

static int start_air(struct run *run)
{
    char seed[24];
    if (process_folder(run->dir, sizeof run->dir, false) != 0) {
        fprintf(stderr, "air: no temporary folder: %s\n", strerror(errno));
        return -1;
    }
    snprintf(run->air, sizeof run->air, "%s/air", run->dir);
    snprintf(run->log, sizeof run->log, "%s/air.out", run->dir);
    snprintf(run->stats, sizeof run->stats, "%s/air.json", run->dir);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)run->config->seed);
    const char *const argv[] = {run->config->meshsim,
                                "live",
                                run->config->scenario,
                                "--dir",
                                run->air,
                                "--seed",
                                seed,
                                "--stats",
                                run->stats,
                                "--quiet",
                                NULL};
    run->pid = process_start(run->log, argv);
    if (run->pid > 0)
        return 0;
    fprintf(stderr, "air: %s: %s\n", run->config->meshsim, strerror(errno));
    return -1;
}

static int open_host(struct run *run, uint32_t i, const char *name, mp_time now)
{
    struct host *h = &run->host[i];
    char address[PORT_LINK_ADDRESS_MAX];
    const struct mp_hci_config config = {.address = {(uint8_t)(i + 1), (uint8_t)(i >> 8), 3, 4, 5, 6}};
    h->run = run;
    int n = snprintf(address, sizeof address, "unix:%s/%s.sock", run->air, name);
    return n > 0 && (size_t)n < sizeof address &&
                   member_open(&h->member, i, run->config->seed, &run->fleet, now) == 0 &&
                   port_link_init(&h->link, address, now) == 0 && mp_hci_init(&h->hci, &config, now) == 0
               ? 0
               : -1;
}

static int open_hosts(struct run *run, const struct sim_scenario *scenario)
{
    mp_time now = now_us();
    if (scenario->topology == SIM_TOPOLOGY_LIST || scenario->count < 2 || scenario->count > HOSTS_MAX ||
        scenario->loss_ppm >= 1000000) {
        fprintf(stderr, "air: %s: must be a line or a grid of 2 to %d devices\n", run->config->scenario, HOSTS_MAX);
        return -1;
    }
    run->host = calloc(scenario->count, sizeof *run->host);
    if (run->host == NULL)
        return -1;
    run->count = scenario->count;
    sign_fleet_make(&run->fleet);
    for (uint32_t i = 0; i < run->count; i++)
        run->host[i].link.fd = -1;
    for (uint32_t i = 0; i < run->count; i++) {
        if (open_host(run, i, scenario->node[i].name, now) != 0) {
            fprintf(stderr, "air: host %u could not be started\n", i);
            return -1;
        }
    }
    return 0;
}

/* What the air says about itself. */
static void read_stats(struct run *run)
{
    char text[65536];
    FILE *file = fopen(run->stats, "re");
    size_t n = file != NULL ? fread(text, 1, sizeof text, file) : 0;
    if (file != NULL)
        fclose(file);
    cJSON *tree = cJSON_ParseWithLength(text, n), *late = cJSON_GetObjectItem(tree, "late_us");
    snprintf(run->result->air, sizeof run->result->air, "air late by %.0f us on average, %.0f at most",
             cJSON_GetNumberValue(cJSON_GetObjectItem(late, "mean")),
             cJSON_GetNumberValue(cJSON_GetObjectItem(late, "max")));
    cJSON_Delete(tree);
}

static void close_run(struct run *run)
{
    for (uint32_t i = 0; i < run->count; i++) {
        port_link_close(&run->host[i].link);
        member_close(&run->host[i].member);
    }
    process_stop(run->pid, 2000);
    if (run->pid > 0)
        read_stats(run);
    if (run->problem != NULL)
        process_tail(run->log, 2000);
    process_folder_close();
    free(run->host);
}

/* --- one run ------------------------------------------------------------------------------------------------------ */

static int disseminate(struct run *run)
{
    const struct air_config *config = run->config;
    struct member *gateway = &run->host[0].member;
    if (run_until(run, has_controller, START_LIMIT, "not every controller came up") != 0 ||
        payload_make(&run->payload, gateway, &run->fleet, config->seed, config->size) != 0)
        return -1;
    int result = payload_publish_directive(&run->payload, gateway, &run->fleet, now_us());
    run->host[0].due = 0;
    if (result == 0 && (run_until(run, is_staged, STAGE_LIMIT, "not every node accepted the directive") != 0 ||
                        run_until(run, NULL, config->settle, NULL) != 0))
        return -1;
    if (result == 0)
        result = payload_publish_manifest(&run->payload, gateway, now_us());
    run->host[0].due = 0;
    if (result == 0)
        return run_until(run, is_complete, (mp_time)(run->result->floor_s * GIVE_UP_FLOORS * 1e6),
                         "not every node had the payload after ten times the floor");
    fprintf(stderr, "air: not published: %s\n", mp_strerror(result));
    return -1;
}

static int measure(struct run *run, const struct sim_scenario *scenario)
{
    struct air_result *r = run->result;
    struct mp_tree tree;
    if (mp_tree_init(&tree, run->config->size) != 0)
        return -1;
    r->positions = tree.positions;
    r->depth = payload_depth(scenario->columns, scenario->rows);
    r->floor_s = payload_floor_s(r->positions, r->depth, scenario->loss_ppm);
    if (disseminate(run) != 0)
        return -1;
    r->time_s = (double)(run->ended - run->started) / 1e6;
    r->ratio = r->time_s / r->floor_s;
    return 0;
}

int air_run(const struct air_config *config, struct air_result *result)
{
    struct sim_scenario scenario;
    char error[256];
    struct run run = {.config = config, .result = result};
    int status = -1;
    memset(result, 0, sizeof *result);
    if (sim_scenario_read(&scenario, config->scenario, error, sizeof error) != 0) {
        fprintf(stderr, "air: %s\n", error);
        return -1;
    }
    if (start_air(&run) == 0 && open_hosts(&run, &scenario) == 0)
        status = measure(&run, &scenario);
    close_run(&run);
    sim_scenario_free(&scenario);
    return status;
}
