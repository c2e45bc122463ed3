/*
 * An image for the nRF51 that measures the updater: the same objects as a node's image, its bootloader, its flash; only
 * the loop is this one. It checks a signature, goes on with a fetch that is half done, and takes the frames that lie in
 * flash as if its controller had reported them.
 */
#include "tests/size/cost.h"

#include <string.h>

#include "node-fw/core/nf.h"
#include "node-fw/port/nrf51/map.h"
#include "node-fw/port/nrf51/part.h"
#include "node-fw/port/nrf51/start.h"
#include "node-fw/port/loop.h"
#include "node-fw/port/port.h"
#include "proto/mesh/relay.h"

enum { STEPS_MAX = 4096 };

static struct {
    struct nf_store store;
    struct nf_env env;
    struct nf_node nf;
    struct mp_hci hci;
    struct mp_counters counters;
    union nf_arena arena;
    uint8_t memory[NF_LOOP_MEMORY(NRF51_SLOT_SIZE, NRF51_PAGE_SIZE)];
} node;

extern struct cost cost;
struct cost cost;

_Noreturn static void stop(uint32_t state)
{
    cost.stack = nrf51_stack_peak();
    cost.boot_us = NRF51_SHARED->boot_us;
    cost.boot_stack = NRF51_SHARED->boot_stack;
    cost.state = state;
    for (;;) {
        nf_port_kick(nf_port_now());
        __asm__ volatile("wfi");
    }
}

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            stop(__LINE__);                                                                                            \
    } while (0)

/* --- the clock -------------------------------------------------------------------------------------------------------- */

/* 32 bits at 16 MHz: more than the part's TIMER1 has, so this image is for an emulator. */
static void clock_start(void)
{
    NRF51_TIMER_MODE(1) = 0;
    NRF51_TIMER_BITMODE(1) = NRF51_TIMER_BITMODE_32;
    NRF51_TIMER_PRESCALER(1) = 0;
    NRF51_TIMER_START(1) = 1;
}

static uint32_t ticks(void)
{
    NRF51_TIMER_CAPTURE(1, 0) = 1;
    return NRF51_TIMER_CC(1, 0);
}

/* --- the node --------------------------------------------------------------------------------------------------------- */

static uint32_t draw(void *ctx)
{
    (void)ctx;
    return nf_port_random();
}

static void deliver(void *ctx, mp_time now, const struct mp_hci_heard *heard)
{
    (void)ctx;
    nf_receive(&node.nf, &node.env, now, heard->frame, heard->length);
}

static void node_start(void)
{
    struct mp_settings *settings = &node.arena.settings;
    const struct mp_hci_config config = {.address = {1, 2, 3, 4, 5, 6}};

    node.env = (struct nf_env){.mp = {.ctx = &node.store,
                                      .crypto = nf_port_crypto(),
                                      .store = &nf_flash_store,
                                      .random = draw,
                                      .relay = &node.arena.relay,
                                      .counters = &node.counters},
                               .storage = &nf_flash_storage};
    MUST(nf_store_init(&node.store, nf_port_flash(), nf_port_layout(), nf_port_crypto(), nf_port_slot(), node.memory,
                       sizeof node.memory) == 0);
    MUST(nf_settings_load(settings, nf_port_flash(), nf_port_layout()) == 0);
    MUST(nf_init(&node.nf, &node.env, settings, nf_port_now()) == 0);
    memset(&node.arena, 0, sizeof node.arena);
    MUST(mp_hci_init(&node.hci, &config, nf_port_now()) == 0);
    for (unsigned i = 0; i < STEPS_MAX && node.nf.phase != NF_PHASE_FETCHING; i++) {
        nf_port_kick(nf_port_now());
        nf_expire(&node.nf, &node.env, nf_port_now());
    }
    MUST(node.nf.phase == NF_PHASE_FETCHING);
}

/* A controller that takes every command. */
static void radio_start(void)
{
    uint8_t command[MP_HCI_COMMAND_MAX];
    uint8_t event[15] = {HCI_H4_EVENT, HCI_EVENT_COMMAND_COMPLETE, 12, 1, 0, 0, 0};

    memset(event + 7, 0xFF, sizeof event - 7); /* every feature */
    while (mp_hci_write(&node.hci, nf_port_now(), command, sizeof command) > 0) {
        memcpy(event + 4, command + 1, 2);
        mp_hci_receive(&node.hci, nf_port_now(), event, sizeof event, NULL, NULL);
    }
    MUST(mp_hci_phase(&node.hci) == MP_HCI_RUN);
}

/* The report of an advertisement that holds the frame; its length. */
static size_t report_put(uint8_t *event, const uint8_t *frame, uint8_t len)
{
    const uint8_t ad = (uint8_t)(len + MP_HCI_AD_HEADER);
    uint8_t *report = event + 5, *data = report + HCI_REPORT_HEADER;

    memset(event, 0, 5 + HCI_REPORT_HEADER);
    event[0] = HCI_H4_EVENT;
    event[1] = HCI_EVENT_LE_META;
    event[2] = (uint8_t)(2 + HCI_REPORT_HEADER + ad);
    event[3] = HCI_LE_EXT_ADV_REPORT;
    event[4] = 1;
    report[HCI_REPORT_HEADER - 1] = ad;
    data[0] = (uint8_t)(ad - 1);
    data[1] = HCI_AD_MANUFACTURER;
    data[2] = data[3] = 0xFF; /* MP_HCI_COMPANY */
    memcpy(data + MP_HCI_AD_HEADER, frame, len);
    return 5u + HCI_REPORT_HEADER + ad;
}

/* The frame comes from the controller; ticks until it is dealt with. */
static uint32_t feed(const uint8_t *frame, uint8_t len)
{
    static uint8_t event[HCI_EVENT_MAX]; /* not on the stack that is measured */
    const size_t n = report_put(event, frame, len);
    const mp_time now = nf_port_now();
    const uint32_t from = ticks();

    mp_hci_receive(&node.hci, now, event, n, deliver, NULL);
    return ticks() - from - cost.empty;
}

/* --- the measurement -------------------------------------------------------------------------------------------------- */

static void measure_signature(const struct cost_head *head)
{
    uint32_t from = ticks();

    cost.empty = ticks() - from;
    from = ticks();
    MUST(mp_manifest_verify(nf_port_crypto(), head->manifest, head->pub) == MP_OK);
    cost.sign = ticks() - from - cost.empty;
}

static void measure_frames(const uint8_t *at)
{
    for (; *at != 0; at += 1 + *at) {
        const uint32_t before = node.counters.chunks_stored;
        const uint32_t spent = feed(at + 1, *at);

        if (node.counters.chunks_stored == before)
            continue; /* a directive */
        cost.chunks++;
        cost.chunk_sum += spent;
        cost.chunk_most = spent > cost.chunk_most ? spent : cost.chunk_most;
        nf_port_kick(nf_port_now());
    }
    MUST(cost.chunks == COST_CHUNKS);
}

int main(void)
{
    const struct cost_head *head = (const struct cost_head *)(uintptr_t)COST_FRAMES;

    MUST(nf_port_start() == 0);
    clock_start();
    measure_signature(head);
    node_start();
    radio_start();
    measure_frames((const uint8_t *)(head + 1));
    stop(COST_DONE);
}
