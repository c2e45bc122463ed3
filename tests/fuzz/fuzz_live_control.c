/*
 * The live air's control socket: any lines from a client of a real air with three devices. Every line is answered by
 * one line, "ok", an error or a JSON object, and an input without an end is cut off.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sim/air/live_state.h"

#define INPUT_MAX 2000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct sim_live air;
static char folder[64];

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void clean_up(void)
{
    sim_live_control_close(&air);
    for (uint32_t i = 0; i < air.scenario.count; i++)
        sim_live_host_close(&air.host[i]);
    rmdir(folder);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    (void)ctx;
}

static void ignore_received(void *ctx, uint32_t device, const struct sim_reception *reception)
{
    (void)ctx;
    (void)device;
    (void)reception;
}

static void prepare(void)
{
    static const char text[] = "[scenario]\nname = three\nseed = 5\n[topology]\nkind = line\nnodes = 3\n"
                               "reach = neighbours\nfirst = a\nprefix = x\n";
    char error[200];
    strcpy(folder, "/tmp/fuzz-control-XXXXXX");
    require(mkdtemp(folder) != NULL);
    air.config.dir = folder;
    require(sim_scenario_parse(&air.scenario, "f", text, sizeof text - 1, error, sizeof error) == 0);
    const struct sim_medium_ops ops = {.received = ignore_received};
    air.medium = sim_scenario_medium(&air.scenario, &ops, &air);
    air.base = event_base_new();
    require(air.medium != NULL && air.base != NULL);
    air.timer = evtimer_new(air.base, on_timer, NULL);
    const size_t count = air.scenario.count;
    air.host = calloc(count, sizeof *air.host);
    air.dirty = calloc(count, sizeof *air.dirty);
    air.is_cut = calloc(count * count, sizeof *air.is_cut);
    air.loss = calloc(count * count, sizeof *air.loss);
    require(air.timer != NULL && air.host != NULL && air.dirty != NULL && air.is_cut != NULL && air.loss != NULL);
    require(sim_live_control_open(&air) == 0);
    for (uint32_t i = 0; i < count; i++) {
        air.host[i].fd = -1;
        require(sim_live_host_open(&air, i) == 0);
    }
    atexit(clean_up);
}

static void turn(void)
{
    for (unsigned i = 0; i < 4; i++)
        event_base_loop(air.base, EVLOOP_NONBLOCK);
}

static void check_answers(const char *text, size_t len)
{
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        require(end != NULL);
        require(strncmp(text, "ok\n", 3) == 0 || strncmp(text, "error: ", 7) == 0 || *text == '{');
        len -= (size_t)(end + 1 - text);
        text = end + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char answers[1u << 20];
    size_t got = 0;
    ssize_t n;
    if (air.base == NULL)
        prepare();
    if (size == 0 || size > INPUT_MAX)
        return 0;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    require(fd >= 0);
    require(connect(fd, (const struct sockaddr *)&air.control_address, sizeof air.control_address) == 0);
    require(send(fd, data, size, MSG_NOSIGNAL) == (ssize_t)size);
    do {
        turn();
        n = recv(fd, answers + got, sizeof answers - got, 0);
        got += n > 0 ? (size_t)n : 0;
    } while (n > 0 && got < sizeof answers);
    if (got < sizeof answers)
        check_answers(answers, got);
    close(fd);
    turn();
    require(air.client_count == 0);
    return 0;
}
