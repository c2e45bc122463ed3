/*
 * The virtual controller, command by command, with the real medium behind it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/mp_wire.h"
#include "sim/air/controller.h"

#define DEVICES 3

static struct sim_medium *medium;
static struct sim_controller *device[DEVICES];
static char logged[300];
static uint8_t event[HCI_EVENT_MAX]; /* the last one taken */

static void on_received(void *ctx, uint32_t to, const struct sim_reception *reception)
{
    (void)ctx;
    sim_controller_hear(device[to], device[reception->from], reception);
}

static void on_set_ended(void *ctx, uint32_t who, unsigned set, enum sim_set_end why, uint32_t events, sim_time at)
{
    (void)ctx, (void)at;
    sim_controller_set_ended(device[who], set, why, events);
}

static void on_log(void *ctx, uint32_t who, const char *text)
{
    (void)ctx;
    snprintf(logged, sizeof logged, "%u %s", (unsigned)who, text);
}

static int setup(void **state)
{
    static const struct sim_medium_ops ops = {.received = on_received, .set_ended = on_set_ended};
    struct sim_medium_config config = {.seed = 1};
    (void)state;
    sim_radio_defaults(&config.radio);
    medium = sim_medium_open(&config, DEVICES, &ops, NULL);
    assert_non_null(medium);
    for (uint32_t i = 0; i < DEVICES; i++) {
        const struct sim_controller_config c = {
            .medium = medium, .device = i, .public_address = {(uint8_t)i, 1, 2, 3, 4, 5}, .tx_dbm = 4, .log = on_log};
        device[i] = sim_controller_open(&c);
        assert_non_null(device[i]);
        for (uint32_t k = 0; k < i; k++)
            assert_int_equal(sim_medium_link(medium, i, k, 60000), 0);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < DEVICES; i++)
        sim_controller_close(device[i]);
    sim_medium_close(medium);
    return 0;
}

/* Takes the next event into `event`; its code, 0 when there is none. */
static uint8_t take_event(unsigned i)
{
    size_t n;
    const uint8_t *p = sim_controller_output(device[i], &n);
    if (n == 0)
        return 0;
    assert_true(n >= HCI_EVENT_HEADER && n >= (size_t)HCI_EVENT_HEADER + p[2]);
    assert_int_equal(p[0], HCI_H4_EVENT);
    memcpy(event, p, (size_t)HCI_EVENT_HEADER + p[2]);
    sim_controller_consume(device[i], (size_t)HCI_EVENT_HEADER + p[2]);
    return event[1];
}

/* Sends a command; the status of its answer, whose return parameters are event + 7. */
static uint8_t command(unsigned i, uint16_t opcode, const uint8_t *p, size_t n)
{
    uint8_t packet[HCI_COMMAND_MAX] = {HCI_H4_COMMAND, (uint8_t)opcode, (uint8_t)(opcode >> 8), (uint8_t)n};
    if (n > 0)
        memcpy(packet + 4, p, n);
    assert_int_equal(sim_controller_receive(device[i], sim_medium_now(medium), packet, 4 + n), 4 + n);
    uint8_t code;
    while ((code = take_event(i)) != HCI_EVENT_COMMAND_COMPLETE && code != HCI_EVENT_COMMAND_STATUS)
        assert_int_not_equal(code, 0);
    assert_int_equal(mp_get16(event + (code == HCI_EVENT_COMMAND_STATUS ? 5 : 4)), opcode);
    assert_int_equal(event[code == HCI_EVENT_COMMAND_STATUS ? 4 : 3], 1); /* one credit */
    return code == HCI_EVENT_COMMAND_STATUS ? event[3] : event[6];
}

#define COMMAND(i, opcode, ...)                                                                                        \
    command(i, opcode, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static const uint8_t params[25] = {0, 0, 0, 0x20, 0, 0, 0x20, 0, 0, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 127, 1, 0, 1, 5, 0};

static uint8_t set_params(unsigned i, size_t at, uint8_t value)
{
    uint8_t p[25];
    memcpy(p, params, sizeof p);
    p[at] = value;
    return command(i, HCI_LE_SET_EXT_ADV_PARAMS, p, sizeof p);
}

/* Event masks, scanning and set 0 with an address. */
static void bring_up(unsigned i)
{
    assert_int_equal(command(i, HCI_RESET, NULL, 0), 0);
    assert_int_equal(COMMAND(i, HCI_SET_EVENT_MASK, 0, 0x80, 0, 0, 0, 0, 0, 0x20), 0);
    assert_int_equal(COMMAND(i, HCI_LE_SET_EVENT_MASK, 0, 0x10, 2, 0, 0, 0, 0, 0), 0);
    assert_int_equal(COMMAND(i, HCI_LE_SET_RANDOM_ADDRESS, (uint8_t)i, 9, 9, 9, 9, 0xC9), 0);
    assert_int_equal(set_params(i, 0, 0), 0);
    assert_int_equal(COMMAND(i, HCI_LE_SET_ADV_SET_ADDRESS, 0, (uint8_t)i, 9, 9, 9, 9, 0xC9), 0);
    assert_int_equal(COMMAND(i, HCI_LE_SET_EXT_SCAN_PARAMS, 1, 0, 1, 0, 0x60, 0, 0x60, 0), 0);
    assert_int_equal(COMMAND(i, HCI_LE_SET_EXT_SCAN_ENABLE, 1, 0, 0, 0, 0, 0), 0);
}

static void set_data(unsigned i, uint8_t value, uint8_t n)
{
    uint8_t p[4 + 251] = {0, HCI_ADV_DATA_COMPLETE, 1, n};
    memset(p + 4, value, n);
    assert_int_equal(command(i, HCI_LE_SET_EXT_ADV_DATA, p, 4u + n), 0);
}

static void run_ms(uint64_t ms)
{
    sim_medium_advance(medium, sim_medium_now(medium) + ms * 1000);
}

static void test_information(void **state)
{
    (void)state;
    assert_int_equal(command(0, HCI_READ_LOCAL_VERSION, NULL, 0), 0);
    assert_int_equal(event[2], 12);
    assert_int_equal(event[7], 0x0B);
    assert_int_equal(command(0, HCI_READ_LOCAL_COMMANDS, NULL, 0), 0);
    assert_int_equal(event[2], 68);
    assert_int_equal(event[7 + 5], 0xC0);
    assert_int_equal(event[7 + 36], 0xEE);
    assert_int_equal(event[7 + 37], 0x63);
    assert_int_equal(command(0, HCI_READ_LOCAL_FEATURES, NULL, 0), 0);
    assert_int_equal(event[2], 12);
    assert_int_equal(event[7 + 4], 0x60);
    assert_int_equal(command(0, HCI_LE_READ_FEATURES, NULL, 0), 0);
    assert_int_equal(event[2], 12);
    assert_int_equal(event[7 + 1], 0x11);
    assert_int_equal(command(1, HCI_READ_BD_ADDR, NULL, 0), 0);
    assert_memory_equal(event + 7, "\1\1\2\3\4\5", 6);
    assert_int_equal(command(0, HCI_READ_BUFFER_SIZE, NULL, 0), 0);
    assert_int_equal(event[2], 11);
    assert_int_equal(command(0, HCI_LE_READ_BUFFER_SIZE, NULL, 0), 0);
    assert_int_equal(event[2], 7);
    assert_int_equal(command(0, HCI_LE_READ_STATES, NULL, 0), 0);
    assert_int_equal(event[2], 12);
    assert_int_equal(command(0, HCI_LE_READ_MAX_ADV_DATA, NULL, 0), 0);
    assert_int_equal(mp_get16(event + 7), 229);
    assert_int_equal(command(0, HCI_LE_READ_ADV_SETS, NULL, 0), 0);
    assert_int_equal(event[7], SIM_SETS_MAX);
}

static void test_unknown_and_ill_sized_commands(void **state)
{
    (void)state;
    assert_int_equal(COMMAND(0, 0x200D, 1, 2, 3), HCI_UNKNOWN_COMMAND);
    assert_int_equal(event[1], HCI_EVENT_COMMAND_STATUS);
    assert_int_equal(COMMAND(0, HCI_RESET, 1), HCI_INVALID_PARAMETERS);
    assert_int_equal(COMMAND(0, HCI_SET_EVENT_MASK, 1, 2, 3, 4, 5, 6, 7), HCI_INVALID_PARAMETERS);
    assert_int_equal(command(0, HCI_LE_SET_EXT_ADV_DATA, NULL, 0), HCI_INVALID_PARAMETERS);
    assert_int_equal(command(0, HCI_LE_SET_EXT_ADV_ENABLE, NULL, 0), HCI_INVALID_PARAMETERS);
    assert_int_equal(command(0, HCI_LE_SET_EXT_SCAN_PARAMS, NULL, 0), HCI_INVALID_PARAMETERS);
    assert_int_equal(sim_controller_counters(device[0])->refused, 6);
    assert_int_equal(sim_controller_counters(device[0])->unknown, 1);
}

static void test_advertising_parameters_are_checked(void **state)
{
    /* offset, value, status */
    static const uint8_t cases[][3] = {
        {0, 0xF0, 0x12}, {2, 0x80, 0x12}, {3, 0x1F, 0x12}, {6, 0x1F, 0x12},  {9, 0, 0x12},  {9, 8, 0x12},
        {10, 4, 0x12},   {18, 4, 0x12},   {19, 21, 0x12},  {19, 0x80, 0x12}, {20, 2, 0x12}, {20, 0, 0x12},
        {22, 0, 0x12},   {22, 4, 0x12},   {23, 16, 0x12},  {24, 2, 0x12},    {1, 1, 0x11},  {1, 2, 0x11},
        {1, 4, 0x11},    {1, 0x10, 0x11}, {1, 0x20, 0x11}, {10, 2, 0x11},    {20, 3, 0x11}, {22, 3, 0x11},
        {19, 20, 0},     {22, 2, 0},      {0, 0xEF, 0},    {8, 0xFF, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(command(0, HCI_LE_CLEAR_ADV_SETS, NULL, 0), 0);
        assert_int_equal(set_params(0, cases[i][0], cases[i][1]), cases[i][2]);
        assert_int_equal(event[2], 5); /* the power is there whatever the status */
    }
    assert_int_equal(set_params(0, 19, 8), 0);
    assert_int_equal(event[7], 8);
    assert_int_equal(set_params(0, 0, 0), 0);
    assert_int_equal(event[7], 4);
    assert_int_equal(command(0, HCI_LE_CLEAR_ADV_SETS, NULL, 0), 0);
    for (uint8_t i = 0; i < SIM_SETS_MAX; i++)
        assert_int_equal(set_params(0, 0, (uint8_t)(i + 10)), 0);
    assert_int_equal(set_params(0, 0, 1), HCI_MEMORY_EXCEEDED);
    assert_int_equal(set_params(0, 0, 10), 0);
}

static void test_sets_are_known_by_handle(void **state)
{
    (void)state;
    assert_int_equal(COMMAND(0, HCI_LE_SET_ADV_SET_ADDRESS, 7, 1, 2, 3, 4, 5, 6), HCI_UNKNOWN_ADV_SET);
    assert_int_equal(COMMAND(0, HCI_LE_SET_ADV_SET_ADDRESS, 0xF0, 1, 2, 3, 4, 5, 6), HCI_INVALID_PARAMETERS);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_DATA, 7, 3, 1, 0), HCI_UNKNOWN_ADV_SET);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 1, 1, 7, 0, 0, 1), HCI_UNKNOWN_ADV_SET);
    assert_int_equal(COMMAND(0, HCI_LE_REMOVE_ADV_SET, 7), HCI_UNKNOWN_ADV_SET);
    bring_up(0);
    set_data(0, 1, 10);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 1, 1, 0, 0, 0, 0), 0);
    assert_int_equal(COMMAND(0, HCI_LE_REMOVE_ADV_SET, 0), HCI_DISALLOWED);
    assert_int_equal(command(0, HCI_LE_CLEAR_ADV_SETS, NULL, 0), HCI_DISALLOWED);
    assert_int_equal(set_params(0, 0, 0), HCI_DISALLOWED);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 0, 0), 0); /* all */
    assert_int_equal(COMMAND(0, HCI_LE_REMOVE_ADV_SET, 0), 0);
    assert_int_equal(COMMAND(0, HCI_LE_REMOVE_ADV_SET, 0), HCI_UNKNOWN_ADV_SET);
}

static void test_enable_is_checked(void **state)
{
    (void)state;
    assert_int_equal(set_params(0, 0, 0), 0);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 2, 1, 0, 0, 0, 1), HCI_INVALID_PARAMETERS);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 1, 0), HCI_INVALID_PARAMETERS);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 1, 1, 0, 0, 0), HCI_INVALID_PARAMETERS);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 1, 2, 0, 0, 0, 1), HCI_INVALID_PARAMETERS);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 1, 2, 0, 0, 0, 1, 0, 0, 0, 1), HCI_INVALID_PARAMETERS);
    /* random address without one */
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 1, 1, 0, 0, 0, 1), HCI_INVALID_PARAMETERS);
    assert_int_equal(COMMAND(0, HCI_LE_SET_ADV_SET_ADDRESS, 0, 1, 2, 3, 4, 5, 0xC6), 0);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 1, 1, 0, 0, 0, 1), 0);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 0, 1, 0, 0, 0, 0), 0);
    /* unfinished data */
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_DATA, 0, HCI_ADV_DATA_FIRST, 1, 2, 7, 7), 0);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 1, 1, 0, 0, 0, 1), HCI_DISALLOWED);
}

static void test_data_is_checked(void **state)
{
    uint8_t p[4 + 251] = {0, HCI_ADV_DATA_COMPLETE, 1, 251};
    (void)state;
    bring_up(0);
    assert_int_equal(command(0, HCI_LE_SET_EXT_ADV_DATA, p, 255), HCI_MEMORY_EXCEEDED);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_DATA, 0, 5, 1, 0), HCI_INVALID_PARAMETERS);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_DATA, 0, 3, 2, 0), HCI_INVALID_PARAMETERS);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_DATA, 0, 3, 1, 2, 1), HCI_INVALID_PARAMETERS);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_DATA, 0, 3, 1, 0, 1), HCI_INVALID_PARAMETERS);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_DATA, 0, HCI_ADV_DATA_FIRST, 1, 0), HCI_INVALID_PARAMETERS);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_DATA, 0, HCI_ADV_DATA_LAST, 1, 1, 9), HCI_DISALLOWED);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_DATA, 0, HCI_ADV_DATA_UNCHANGED, 1, 0), HCI_INVALID_PARAMETERS);
    set_data(0, 1, 10);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 1, 1, 0, 0, 0, 0), 0);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_DATA, 0, HCI_ADV_DATA_UNCHANGED, 1, 0), 0);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_DATA, 0, HCI_ADV_DATA_FIRST, 1, 1, 9), HCI_DISALLOWED);
    set_data(0, 2, 10);
    /* fragments beyond what fits */
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 0, 0), 0);
    p[1] = HCI_ADV_DATA_FIRST;
    p[3] = 200;
    assert_int_equal(command(0, HCI_LE_SET_EXT_ADV_DATA, p, 204), 0);
    p[1] = HCI_ADV_DATA_MIDDLE;
    p[3] = 30;
    assert_int_equal(command(0, HCI_LE_SET_EXT_ADV_DATA, p, 34), HCI_MEMORY_EXCEEDED);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_DATA, 0, HCI_ADV_DATA_LAST, 1, 1, 9), HCI_MEMORY_EXCEEDED);
}

/* Waits for a report at device i; its data length. */
static uint8_t expect_report(unsigned i)
{
    uint8_t code;
    while ((code = take_event(i)) != 0)
        if (code == HCI_EVENT_LE_META && event[3] == HCI_LE_EXT_ADV_REPORT)
            return event[28];
    fail_msg("device %u heard nothing", i);
    return 0;
}

static void test_frame_is_heard_by_all_in_range(void **state)
{
    (void)state;
    for (unsigned i = 0; i < DEVICES; i++)
        bring_up(i);
    assert_int_equal(sim_medium_link(medium, 0, 2, SIM_LOSS_NONE), 0);
    set_data(0, 0xAB, 229);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 1, 1, 0, 0, 0, 1), 0);
    run_ms(50);
    assert_int_equal(expect_report(1), 229);
    static const uint8_t head[] = {4, 0x3E, 255, 0x0D, 1, 0, 0, 1, 0, 9, 9, 9, 9, 0xC9, 1, 1, 5, 127, (uint8_t)-60};
    assert_memory_equal(event, head, sizeof head);
    for (size_t i = 29; i < HCI_EVENT_MAX; i++)
        assert_int_equal(event[i], 0xAB);
    assert_int_equal(take_event(1), 0);
    assert_int_equal(take_event(2), 0);
    assert_int_equal(take_event(0), HCI_EVENT_LE_META);
    static const uint8_t ended[] = {4, 0x3E, 6, 0x12, 0x43, 0, 0, 0, 1};
    assert_memory_equal(event, ended, sizeof ended);
    assert_int_equal(take_event(0), 0); /* once is once */
}

static void test_fragments_make_one_payload(void **state)
{
    (void)state;
    bring_up(0);
    bring_up(1);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_DATA, 0, HCI_ADV_DATA_FIRST, 1, 2, 1, 2), 0);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_DATA, 0, HCI_ADV_DATA_MIDDLE, 1, 2, 3, 4), 0);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_DATA, 0, HCI_ADV_DATA_LAST, 1, 1, 5), 0);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 1, 1, 0, 0, 0, 1), 0);
    run_ms(50);
    assert_int_equal(expect_report(1), 5);
    assert_memory_equal(event + 29, "\1\2\3\4\5", 5);
}

static void test_duration_ends_a_set(void **state)
{
    unsigned reports = 0;
    (void)state;
    bring_up(0);
    bring_up(1);
    set_data(0, 1, 20);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 1, 1, 0, 20, 0, 0), 0); /* 200 ms */
    run_ms(1000);
    while (take_event(1))
        reports++;
    assert_in_range(reports, 5, 10);
    assert_int_equal(take_event(0), HCI_EVENT_LE_META);
    assert_int_equal(event[3], HCI_LE_ADV_SET_TERMINATED);
    assert_int_equal(event[4], HCI_ADV_TIMEOUT);
    assert_in_range(event[8], 6, 10);
}

static void test_masks_hide_events(void **state)
{
    (void)state;
    for (unsigned i = 0; i < DEVICES; i++)
        bring_up(i);
    assert_int_equal(COMMAND(1, HCI_LE_SET_EVENT_MASK, 0xFF, 0xEF, 0xFF, 0xFF, 0, 0, 0, 0), 0);
    assert_int_equal(COMMAND(2, HCI_SET_EVENT_MASK, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x1F, 0, 0), 0);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EVENT_MASK, 0, 0x10, 0, 0, 0, 0, 0, 0), 0);
    set_data(0, 1, 20);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 1, 1, 0, 0, 0, 1), 0);
    run_ms(50);
    for (unsigned i = 0; i < DEVICES; i++)
        assert_int_equal(take_event(i), 0);
    assert_int_equal(sim_medium_counters(medium)->verdict[SIM_RECEIVED], 2);
}

static void test_scanning_is_checked(void **state)
{
    (void)state;
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_PARAMS, 1, 0, 0), 0x12);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_PARAMS, 1, 0, 1, 0, 0x60, 0, 0x60), 0x12);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_PARAMS, 1, 0, 1, 0, 0x60, 0, 0x61, 0), 0x12);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_PARAMS, 1, 0, 1, 0, 3, 0, 3, 0), 0x12);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_PARAMS, 1, 0, 1, 2, 0x60, 0, 0x60, 0), 0x12);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_PARAMS, 4, 0, 1, 0, 0x60, 0, 0x60, 0), 0x12);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_PARAMS, 1, 0, 9, 0, 0x60, 0, 0x60, 0, 0, 0x60, 0, 0x60, 0), 0x12);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_PARAMS, 1, 0, 5, 0, 0x60, 0, 0x60, 0, 0, 0x60, 0, 0x60, 0), 0x11);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_PARAMS, 1, 0, 4, 0, 0x60, 0, 0x60, 0), 0x11);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_PARAMS, 1, 0, 1, 0, 0x60, 0, 0x60, 0), 0);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_ENABLE, 1, 0, 0, 0, 0, 0), 0x12); /* no address yet */
    assert_int_equal(COMMAND(0, HCI_LE_SET_RANDOM_ADDRESS, 1, 2, 3, 4, 5, 0xC6), 0);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_ENABLE, 2, 0, 0, 0, 0, 0), 0x12);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_ENABLE, 1, 3, 0, 0, 0, 0), 0x12);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_ENABLE, 1, 1, 0, 0, 0, 0), 0x11);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_ENABLE, 1, 0, 1, 0, 0, 0), 0x11);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_ENABLE, 1, 0, 0, 0, 0, 0), 0);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_ENABLE, 1, 0, 0, 0, 0, 0), 0);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_PARAMS, 1, 0, 1, 0, 0x60, 0, 0x60, 0), HCI_DISALLOWED);
    assert_int_equal(COMMAND(0, HCI_LE_SET_RANDOM_ADDRESS, 1, 2, 3, 4, 5, 0xC6), HCI_DISALLOWED);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_SCAN_ENABLE, 0, 0, 0, 0, 0, 0), 0);
    assert_int_equal(COMMAND(0, HCI_LE_SET_RANDOM_ADDRESS, 1, 2, 3, 4, 5, 0xC6), 0);
}

static void test_reset_forgets_everything(void **state)
{
    (void)state;
    bring_up(0);
    bring_up(1);
    set_data(0, 1, 20);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 1, 1, 0, 0, 0, 0), 0);
    assert_int_equal(command(0, HCI_RESET, NULL, 0), 0);
    assert_int_equal(command(1, HCI_RESET, NULL, 0), 0);
    run_ms(200);
    assert_int_equal(sim_medium_counters(medium)->events, 0);
    assert_int_equal(take_event(0), 0);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_DATA, 0, 3, 1, 0), HCI_UNKNOWN_ADV_SET);
}

static void test_slow_host_loses_reports_not_answers(void **state)
{
    size_t n;
    (void)state;
    bring_up(0);
    bring_up(1);
    set_data(0, 1, 229);
    assert_int_equal(COMMAND(0, HCI_LE_SET_EXT_ADV_ENABLE, 1, 1, 0, 0, 0, 0), 0);
    run_ms(10000);
    const struct sim_controller_counters *counters = sim_controller_counters(device[1]);
    assert_true(counters->reports > 100 && counters->reports_dropped > 100);
    assert_int_equal(counters->reports + counters->reports_dropped, sim_medium_counters(medium)->verdict[0]);
    /* It still answers, until there is no room at all; then it waits. */
    static const uint8_t ask[] = {1, 0x02, 0x10, 0};
    unsigned taken = 0;
    for (unsigned i = 0; i < 100; i++)
        taken += sim_controller_receive(device[1], sim_medium_now(medium), ask, sizeof ask) == sizeof ask;
    assert_in_range(taken, 10, 20);
    assert_false(sim_controller_has_room(device[1]));
    sim_controller_output(device[1], &n);
    assert_true(n <= SIM_CONTROLLER_OUTPUT);
    unsigned answers = 0;
    for (uint8_t code; (code = take_event(1)) != 0;)
        answers += code == HCI_EVENT_COMMAND_COMPLETE;
    assert_int_equal(answers, taken);
    assert_true(sim_controller_has_room(device[1]));
}

static void test_noise_is_a_hardware_error_once(void **state)
{
    static const uint8_t noise[] = {0, 2, 3, 4, 5, 0xFF};
    static const uint8_t reset[] = {1, 3, 0x0C, 0};
    (void)state;
    bring_up(0);
    assert_int_equal(sim_controller_receive(device[0], 0, noise, sizeof noise), sizeof noise);
    assert_int_equal(take_event(0), HCI_EVENT_HARDWARE_ERROR);
    assert_int_equal(event[2], 1);
    assert_int_equal(take_event(0), 0);
    for (size_t i = 0; i < sizeof reset; i++)
        assert_int_equal(sim_controller_receive(device[0], 0, reset + i, 1), 1);
    assert_int_equal(take_event(0), HCI_EVENT_COMMAND_COMPLETE);
    assert_int_equal(sim_controller_receive(device[0], 0, noise, 1), 1);
    assert_int_equal(take_event(0), HCI_EVENT_HARDWARE_ERROR);
    assert_int_equal(sim_controller_counters(device[0])->noise, 7);
}

static void test_host_may_log(void **state)
{
    (void)state;
    assert_int_equal(command(2, HCI_VENDOR_LOG, NULL, 0), HCI_INVALID_PARAMETERS);
    assert_int_equal(command(2, HCI_VENDOR_LOG, (const uint8_t *)"version 2.0.0\n\xff", 15), 0);
    assert_string_equal(logged, "2 version 2.0.0??");
}

static void test_power_forgets_half_a_command(void **state)
{
    static const uint8_t half[] = {1, 3, 0x0C};
    size_t n;
    (void)state;
    assert_int_equal(sim_controller_receive(device[0], 0, half, sizeof half), sizeof half);
    sim_controller_power(device[0], 0);
    assert_int_equal(command(0, HCI_RESET, NULL, 0), 0);
    sim_controller_output(device[0], &n);
    assert_int_equal(n, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_information),
        TEST(test_unknown_and_ill_sized_commands),
        TEST(test_advertising_parameters_are_checked),
        TEST(test_sets_are_known_by_handle),
        TEST(test_enable_is_checked),
        TEST(test_data_is_checked),
        TEST(test_frame_is_heard_by_all_in_range),
        TEST(test_fragments_make_one_payload),
        TEST(test_duration_ends_a_set),
        TEST(test_masks_hide_events),
        TEST(test_scanning_is_checked),
        TEST(test_reset_forgets_everything),
        TEST(test_slow_host_loses_reports_not_answers),
        TEST(test_noise_is_a_hardware_error_once),
        TEST(test_host_may_log),
        TEST(test_power_forgets_half_a_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
