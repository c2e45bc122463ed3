/*
 * The live air's loop: one thread, libevent, one timer for the medium.
 */
#include "live_state.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static uint64_t monotonic_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

sim_time sim_live_now(struct sim_live *l)
{
    sim_time now = monotonic_us() - l->origin_us, next = sim_medium_next(l->medium);
    if (next <= now) {
        l->wakes++;
        l->late_sum_us += now - next;
        if (now - next > l->late_max_us)
            l->late_max_us = now - next;
    }
    sim_medium_advance(l->medium, now);
    return now;
}

void sim_live_settle(struct sim_live *l)
{
    while (l->dirty_count > 0) {
        struct live_host *h = &l->host[l->dirty[--l->dirty_count]];
        h->is_dirty = false;
        sim_live_host_flush(h);
    }
    sim_time next = sim_medium_next(l->medium);
    if (next == SIM_NEVER) {
        event_del(l->timer);
        return;
    }
    uint64_t now = monotonic_us() - l->origin_us, wait = next > now ? next - now : 0;
    const struct timeval tv = {.tv_sec = (time_t)(wait / 1000000u), .tv_usec = (suseconds_t)(wait % 1000000u)};
    event_add(l->timer, &tv);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd, (void)what;
    sim_live_now(ctx);
    sim_live_settle(ctx);
}

static void on_signal(evutil_socket_t fd, short what, void *ctx)
{
    struct sim_live *l = ctx;
    (void)fd, (void)what;
    event_base_loopbreak(l->base);
}

/* --- the medium's callbacks
 * -------------------------------------------------------------------------------------------- */

static void on_received(void *ctx, uint32_t device, const struct sim_reception *reception)
{
    struct sim_live *l = ctx;
    sim_controller_hear(l->host[device].controller, l->host[reception->from].controller, reception);
    sim_live_host_dirty(&l->host[device]);
}

static void on_event_ended(void *ctx, const struct sim_event_report *report)
{
    struct sim_live *l = ctx;
    for (size_t i = 0; i < report->hearers; i++)
        l->host[report->hearer[i]].heard[report->verdict[i]]++;
    if (l->record)
        sim_live_record_event(l, report);
}

static void on_set_ended(void *ctx, uint32_t device, unsigned set, enum sim_set_end why, uint32_t events, sim_time at)
{
    struct sim_live *l = ctx;
    (void)at;
    sim_controller_set_ended(l->host[device].controller, set, why, events);
    sim_live_host_dirty(&l->host[device]);
}

/* --- sockets
 * ----------------------------------------------------------------------------------------------------------- */

int sim_live_address(struct sockaddr_un *address, const char *dir, const char *name)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    int n = snprintf(address->sun_path, sizeof address->sun_path, "%s/%s.sock", dir, name);
    if (n >= 0 && (size_t)n < sizeof address->sun_path)
        return 0;
    fprintf(stderr, "meshsim: %s/%s.sock: path of a socket is longer than %zu bytes; choose a shorter --dir\n", dir,
            name, sizeof address->sun_path - 1);
    return -1;
}

/* Somebody listens there. */
static bool is_alive(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool alive = fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN);
    if (fd >= 0)
        close(fd);
    return alive;
}

struct evconnlistener *sim_live_listen(struct sim_live *l, const struct sockaddr_un *address, evconnlistener_cb accept,
                                       void *ctx)
{
    struct stat st;
    if (lstat(address->sun_path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode) || is_alive(address)) {
            fprintf(stderr, "meshsim: %s: %s\n", address->sun_path,
                    S_ISSOCK(st.st_mode) ? "another air listens here" : "exists and is no socket");
            return NULL;
        }
        unlink(address->sun_path);
    }
    struct evconnlistener *listener =
        evconnlistener_new_bind(l->base, accept, ctx, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 8,
                                (const struct sockaddr *)address, (int)sizeof *address);
    if (!listener)
        fprintf(stderr, "meshsim: %s: %s\n", address->sun_path, strerror(errno));
    return listener;
}

static int make_dir(struct sim_live *l)
{
    if (mkdir(l->config.dir, 0700) == 0) {
        l->made_dir = true;
        return 0;
    }
    struct stat st;
    if (errno == EEXIST && stat(l->config.dir, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    fprintf(stderr, "meshsim: %s: cannot make this directory: %s\n", l->config.dir, strerror(errno));
    return -1;
}

/* --- life
 * ---------------------------------------------------------------------------------------------------------------- */

static int open_world(struct sim_live *l)
{
    static const struct sim_medium_ops ops = {
        .received = on_received, .event_ended = on_event_ended, .set_ended = on_set_ended};
    char error[512];
    if (sim_scenario_read(&l->scenario, l->config.scenario, error, sizeof error) != 0) {
        fprintf(stderr, "meshsim: %s\n", error);
        return -1;
    }
    if (l->scenario.count > SIM_DEVICES_MAX) {
        fprintf(stderr, "meshsim: %s: %u devices: live takes at most %d, meshsim run takes more\n", l->config.scenario,
                (unsigned)l->scenario.count, SIM_DEVICES_MAX);
        return -1;
    }
    if (l->config.has_seed && sim_scenario_reseed(&l->scenario, l->config.seed) != 0) {
        fprintf(stderr, "meshsim: out of memory\n");
        return -1;
    }
    if (l->config.has_loss)
        l->scenario.loss_ppm = l->config.loss_ppm;
    l->loss_ppm = l->scenario.loss_ppm;
    size_t count = l->scenario.count;
    l->medium = sim_scenario_medium(&l->scenario, &ops, l);
    l->host = calloc(count, sizeof *l->host);
    l->dirty = calloc(count, sizeof *l->dirty);
    l->is_cut = calloc(count * count, sizeof *l->is_cut);
    l->loss = calloc(count * count, sizeof *l->loss);
    if (!l->medium || !l->host || !l->dirty || !l->is_cut || !l->loss) {
        fprintf(stderr, "meshsim: out of memory\n");
        return -1;
    }
    for (size_t i = 0; i < count; i++)
        l->host[i].fd = -1;
    for (size_t i = 0; i < count * count; i++)
        l->loss[i] = sim_medium_path_loss(l->medium, (uint32_t)(i / count), (uint32_t)(i % count));
    return 0;
}

static int open_loop(struct sim_live *l)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    struct event_config *config = event_config_new();
    if (config) {
        event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
        l->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    if (!l->base || !(l->timer = event_new(l->base, -1, 0, on_timer, l))) {
        fprintf(stderr, "meshsim: cannot start the event loop\n");
        return -1;
    }
    for (unsigned i = 0; i < 2; i++) {
        l->signals[i] = evsignal_new(l->base, numbers[i], on_signal, l);
        if (!l->signals[i] || event_add(l->signals[i], NULL) != 0)
            return -1;
    }
    return 0;
}

static int open_all(struct sim_live *l)
{
    if (open_world(l) != 0 || open_loop(l) != 0 || make_dir(l) != 0)
        return -1;
    l->origin_us = monotonic_us();
    /* The control socket first: it tells whether another air has this directory, before any device's socket is touched.
     */
    if (sim_live_control_open(l) != 0)
        return -1;
    for (uint32_t i = 0; i < l->scenario.count; i++)
        if (sim_live_host_open(l, i) != 0)
            return -1;
    return sim_live_record_open(l);
}

static int close_all(struct sim_live *l, bool was_running)
{
    int result = was_running ? sim_live_record_close(l) : 0;
    for (uint32_t i = 0; l->host && i < l->scenario.count; i++)
        sim_live_host_close(&l->host[i]);
    sim_live_control_close(l);
    if (l->made_dir)
        rmdir(l->config.dir);
    for (unsigned i = 0; i < 2; i++)
        if (l->signals[i])
            event_free(l->signals[i]);
    if (l->timer)
        event_free(l->timer);
    if (l->base)
        event_base_free(l->base);
    if (l->medium)
        sim_medium_close(l->medium);
    free(l->host);
    free(l->dirty);
    free(l->is_cut);
    free(l->loss);
    sim_scenario_free(&l->scenario);
    return result;
}

int sim_live_run(const struct sim_live_config *config)
{
    struct sim_live live = {.config = *config};
    int result = 1;
    signal(SIGPIPE, SIG_IGN);
    bool is_open = open_all(&live) == 0;
    if (is_open) {
        if (!config->is_quiet) {
            printf("ready %s %u devices\n", config->dir, (unsigned)live.scenario.count);
            fflush(stdout);
        }
        sim_live_settle(&live);
        result = event_base_dispatch(live.base) < 0;
    }
    if (close_all(&live, is_open) != 0)
        result = 1;
    return result;
}
