/*
 * The virtual controller under hostile hosts. The input is two hosts' byte streams, interleaved with time and reading:
 * whatever they send, the output stays well-formed and bounded, every command gets one answer, and taking a stream in
 * pieces gives the same answers as taking it whole.
 */
#include <stdlib.h>

#include "proto/mp_wire.h"
#include "sim/air/controller.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEVICES 2

struct world {
    struct sim_medium *medium;
    struct sim_controller *device[DEVICES];
    uint64_t answers[DEVICES];
    uint32_t hash; /* over what device 0 says */
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void on_received(void *ctx, uint32_t to, const struct sim_reception *reception)
{
    struct world *w = ctx;
    sim_controller_hear(w->device[to], w->device[reception->from], reception);
}

static void on_set_ended(void *ctx, uint32_t who, unsigned set, enum sim_set_end why, uint32_t events, sim_time at)
{
    struct world *w = ctx;
    (void)at;
    sim_controller_set_ended(w->device[who], set, why, events);
}

static void open_world(struct world *w)
{
    static const struct sim_medium_ops ops = {.received = on_received, .set_ended = on_set_ended};
    struct sim_medium_config config = {.seed = 7};
    memset(w, 0, sizeof *w);
    sim_radio_defaults(&config.radio);
    w->medium = sim_medium_open(&config, DEVICES, &ops, w);
    require(w->medium != NULL);
    sim_medium_link(w->medium, 0, 1, 60000);
    for (uint32_t i = 0; i < DEVICES; i++) {
        const struct sim_controller_config c = {.medium = w->medium, .device = i, .public_address = {1, 2, 3, 4, 5, 6}};
        w->device[i] = sim_controller_open(&c);
        require(w->device[i] != NULL);
        /* masks open and scanning, so that there is something to see */
        static const uint8_t start[] = {1, 0x01, 0x0C, 8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x3F,
                                        1, 0x01, 0x20, 8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                        1, 0x42, 0x20, 6, 1,    0,    0,    0,    0,    0};
        require(sim_controller_receive(w->device[i], 0, start, sizeof start) == sizeof start);
    }
}

static void close_world(struct world *w)
{
    for (uint32_t i = 0; i < DEVICES; i++)
        sim_controller_close(w->device[i]);
    sim_medium_close(w->medium);
}

/* Reads events that are whole, at most `most` bytes of them. */
static void read_output(struct world *w, uint32_t i, size_t most)
{
    size_t n, used = 0;
    const uint8_t *p = sim_controller_output(w->device[i], &n);
    require(n <= SIM_CONTROLLER_OUTPUT);
    while (n > 0 && used < most) {
        require(n >= HCI_EVENT_HEADER && p[0] == HCI_H4_EVENT);
        size_t size = (size_t)HCI_EVENT_HEADER + p[2];
        require(n >= size);
        require(p[1] == HCI_EVENT_COMMAND_COMPLETE || p[1] == HCI_EVENT_COMMAND_STATUS || p[1] == HCI_EVENT_LE_META ||
                p[1] == HCI_EVENT_HARDWARE_ERROR);
        w->answers[i] += p[1] == HCI_EVENT_COMMAND_COMPLETE || p[1] == HCI_EVENT_COMMAND_STATUS;
        for (size_t k = 0; i == 0 && k < size; k++)
            w->hash = w->hash * 31 + p[k];
        sim_controller_consume(w->device[i], size);
        used += size;
        p = sim_controller_output(w->device[i], &n);
    }
}

/* Feeds all of it, reading when there is no room. */
static void feed(struct world *w, uint32_t i, const uint8_t *data, size_t n)
{
    while (n > 0) {
        size_t taken = sim_controller_receive(w->device[i], sim_medium_now(w->medium), data, n);
        require(taken <= n);
        require(taken == n || !sim_controller_has_room(w->device[i]));
        if (taken < n)
            read_output(w, i, SIM_CONTROLLER_OUTPUT);
        data += taken;
        n -= taken;
    }
}

/* Both hosts talk; each block begins with: bit 0 who, bits 1-3 what to do after it, then a length. */
static void run_interleaved(const uint8_t *data, size_t size)
{
    struct world w;
    open_world(&w);
    while (size >= 2) {
        uint8_t what = data[0];
        size_t n = data[1] < size - 2 ? data[1] : size - 2;
        uint32_t who = what & 1;
        feed(&w, who, data + 2, n);
        data += 2 + n;
        size -= 2 + n;
        if (what & 2)
            sim_medium_advance(w.medium, sim_medium_now(w.medium) + (sim_time)(what >> 4) * 5000);
        if (what & 4)
            read_output(&w, who, 300);
        if ((what & 0xF8) == 0xF8) {
            sim_controller_power(w.device[who], sim_medium_now(w.medium));
            w.answers[who] = UINT32_MAX;
        }
    }
    for (uint32_t i = 0; i < DEVICES; i++) {
        read_output(&w, i, SIM_CONTROLLER_OUTPUT);
        if (w.answers[i] < UINT32_MAX) /* a power cut takes answers with it */
            require(w.answers[i] == sim_controller_counters(w.device[i])->commands);
    }
    close_world(&w);
}

static uint32_t run_pieces(const uint8_t *data, size_t size, size_t piece)
{
    struct world w;
    open_world(&w);
    for (size_t i = 0; i < size; i += piece)
        feed(&w, 0, data + i, size - i < piece ? size - i : piece);
    read_output(&w, 0, SIM_CONTROLLER_OUTPUT);
    require(w.answers[0] == sim_controller_counters(w.device[0])->commands);
    uint32_t hash = w.hash;
    close_world(&w);
    return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    run_interleaved(data, size);
    require(run_pieces(data, size, size) == run_pieces(data, size, 1 + data[0] % 16));
    return 0;
}
