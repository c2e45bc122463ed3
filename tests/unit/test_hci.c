/*
 * The HCI host against a scripted controller: start-up, sending, timers, recovery, and hostile streams.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proto/hci/hci.h"
#include "proto/mp_wire.h"

struct heard_log {
    unsigned count;
    uint8_t frame[MP_FRAME_MAX];
    size_t length;
    int8_t rssi;
    uint32_t hash; /* over all frames, order matters */
};

static void log_frame(void *ctx, mp_time now, const struct mp_hci_heard *heard)
{
    struct heard_log *log = ctx;
    (void)now;
    log->count++;
    assert_true(heard->length >= 1 && heard->length <= MP_FRAME_MAX);
    memcpy(log->frame, heard->frame, heard->length);
    log->length = heard->length;
    log->rssi = heard->rssi;
    for (size_t i = 0; i < heard->length; i++)
        log->hash = log->hash * 31 + heard->frame[i];
}

static const struct mp_hci_config config = {.address = {1, 2, 3, 4, 5, 6}};
static struct mp_hci host;
static struct heard_log heard;
static uint8_t buf[MP_HCI_COMMAND_MAX];

static void feed(mp_time now, const uint8_t *bytes, size_t n)
{
    mp_hci_receive(&host, now, bytes, n, log_frame, &heard);
}

#define FEED(now, ...)                                                                                                 \
    do {                                                                                                               \
        const uint8_t bytes_[] = {__VA_ARGS__};                                                                        \
        feed(now, bytes_, sizeof bytes_);                                                                              \
    } while (0)

static void complete(mp_time now, uint16_t opcode, uint8_t status, uint8_t credits)
{
    if (opcode == HCI_LE_READ_FEATURES && status == 0)
        FEED(now, 4, 0x0E, 12, credits, (uint8_t)opcode, (uint8_t)(opcode >> 8), 0, 0, 0x19, 0, 0, 0, 0, 0, 0);
    else if (opcode == HCI_LE_SET_EXT_ADV_PARAMS)
        FEED(now, 4, 0x0E, 5, credits, (uint8_t)opcode, (uint8_t)(opcode >> 8), status, 0);
    else
        FEED(now, 4, 0x0E, 4, credits, (uint8_t)opcode, (uint8_t)(opcode >> 8), status);
}

/* The next command, 0 when there is none. */
static uint16_t next_command(mp_time now)
{
    int n = mp_hci_write(&host, now, buf, sizeof buf);
    if (n == 0)
        return 0;
    assert_true(n >= HCI_COMMAND_HEADER);
    assert_int_equal(buf[0], HCI_H4_COMMAND);
    assert_int_equal(buf[3] + HCI_COMMAND_HEADER, n);
    return mp_get16(buf + 1);
}

/* Answers everything the host asks until it is quiet; the number of commands. */
static unsigned answer_all(mp_time now)
{
    unsigned n = 0;
    for (uint16_t opcode; (opcode = next_command(now)) != 0; n++)
        complete(now, opcode, 0, 1);
    return n;
}

static void start_with(const struct mp_hci_config *c)
{
    memset(&heard, 0, sizeof heard);
    assert_int_equal(mp_hci_init(&host, c, 0), 0);
    answer_all(0);
    assert_int_equal(mp_hci_phase(&host), MP_HCI_RUN);
}

static void start(void)
{
    start_with(&config);
}

static void terminated(mp_time now, uint8_t set, uint8_t status)
{
    FEED(now, 4, 0x3E, 6, 0x12, status, set, 0, 0, 1);
}

static void send_frame(mp_time now, uint8_t value)
{
    uint8_t frame[40];
    memset(frame, value, sizeof frame);
    assert_int_equal(mp_hci_send(&host, now, frame, sizeof frame, buf, sizeof buf), 12 + 40);
    complete(now, HCI_LE_SET_EXT_ADV_DATA, 0, 1);
    assert_int_equal(next_command(now), HCI_LE_SET_EXT_ADV_ENABLE);
    complete(now, HCI_LE_SET_EXT_ADV_ENABLE, 0, 1);
}

/* A report event with one report whose data is an AD structure of ours around `n` bytes of value; its length. */
static size_t make_report(uint8_t *p, uint16_t company, uint8_t value, size_t n)
{
    memset(p, 0, 5 + HCI_REPORT_HEADER);
    p[0] = 4;
    p[1] = 0x3E;
    p[2] = (uint8_t)(2 + HCI_REPORT_HEADER + 4 + n);
    p[3] = 0x0D;
    p[4] = 1;
    p[5 + 13] = (uint8_t)-60;
    p[5 + 23] = (uint8_t)(4 + n);
    p[29] = (uint8_t)(3 + n);
    p[30] = 0xFF;
    mp_put16(p + 31, company);
    memset(p + 33, value, n);
    return 33 + n;
}

static void test_start_up_sends_every_command_in_order(void **state)
{
    static const uint16_t expected[] = {HCI_RESET,
                                        HCI_LE_READ_FEATURES,
                                        HCI_SET_EVENT_MASK,
                                        HCI_LE_SET_EVENT_MASK,
                                        HCI_LE_SET_RANDOM_ADDRESS,
                                        HCI_LE_SET_EXT_SCAN_PARAMS,
                                        HCI_LE_SET_EXT_ADV_PARAMS,
                                        HCI_LE_SET_ADV_SET_ADDRESS,
                                        HCI_LE_SET_EXT_SCAN_ENABLE};
    (void)state;
    assert_int_equal(mp_hci_init(&host, &config, 0), 0);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_int_equal(mp_hci_phase(&host), MP_HCI_START);
        assert_int_equal(next_command(0), expected[i]);
        assert_int_equal(next_command(0), 0); /* one at a time */
        if (expected[i] == HCI_LE_SET_EXT_ADV_PARAMS) {
            static const uint8_t params[] = {0, 0, 0, 0x20, 0, 0, 0x20, 0, 0, 7, 1, 0, 0,
                                             0, 0, 0, 0,    0, 0, 127,  1, 0, 1, 0, 0};
            assert_memory_equal(buf + 4, params, sizeof params);
        } else if (expected[i] == HCI_LE_SET_EXT_SCAN_PARAMS) {
            static const uint8_t params[] = {1, 0, 1, 0, 0x60, 0, 0x60, 0};
            assert_memory_equal(buf + 4, params, sizeof params);
        } else if (expected[i] == HCI_LE_SET_RANDOM_ADDRESS) {
            static const uint8_t address[] = {1, 2, 3, 4, 5, 0xC6};
            assert_memory_equal(buf + 4, address, 6);
        } else if (expected[i] == HCI_LE_SET_EXT_SCAN_ENABLE) {
            static const uint8_t params[] = {1, 0, 0, 0, 0, 0};
            assert_memory_equal(buf + 4, params, sizeof params);
        }
        complete(0, expected[i], 0, 1);
    }
    assert_int_equal(mp_hci_phase(&host), MP_HCI_RUN);
    assert_true(mp_hci_is_ready(&host, 0));
    assert_int_equal(host.counters.restarts, 0);
}

static void test_configuration_is_checked(void **state)
{
    static const struct mp_hci_config bad[] = {
        {.address = {0}},
        {.address = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
        {.address = {1}, .phy = 3},
        {.address = {1}, .sets = 3},
        {.address = {1}, .tx_power = 21},
        {.address = {1}, .tx_power = -128},
        {.address = {1}, .pace_us = 10000001},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(mp_hci_init(&host, &bad[i], 0), MP_ERR_FORMAT);
        assert_int_equal(next_command(0), 0);
    }
}

static void test_legacy_controller_is_named(void **state)
{
    (void)state;
    assert_int_equal(mp_hci_init(&host, &config, 0), 0);
    assert_int_equal(next_command(0), HCI_RESET);
    complete(0, HCI_RESET, 0, 1);
    assert_int_equal(next_command(0), HCI_LE_READ_FEATURES);
    FEED(0, 4, 0x0E, 12, 1, 0x03, 0x20, 0, 0xFF, 0x0F, 0, 0, 0, 0, 0, 0); /* all of 4.2, nothing of 5.0 */
    assert_int_equal(mp_hci_phase(&host), MP_HCI_FAILED);
    assert_int_equal(mp_hci_error(&host), MP_HCI_ERROR_LEGACY);
    assert_int_equal(next_command(0), 0);
    assert_true(mp_hci_next_expiry(&host, 0) == MP_NEVER);
    assert_false(mp_hci_is_ready(&host, 0));
    mp_hci_restart(&host, 5); /* a better one was plugged in */
    answer_all(5);
    assert_int_equal(mp_hci_phase(&host), MP_HCI_RUN);
    assert_int_equal(mp_hci_error(&host), MP_HCI_ERROR_NONE);
}

static void test_missing_phy_is_named(void **state)
{
    struct mp_hci_config c = config;
    (void)state;
    c.phy = MP_HCI_PHY_CODED;
    assert_int_equal(mp_hci_init(&host, &c, 0), 0);
    next_command(0);
    complete(0, HCI_RESET, 0, 1);
    next_command(0);
    FEED(0, 4, 0x0E, 12, 1, 0x03, 0x20, 0, 0, 0x11, 0, 0, 0, 0, 0, 0);
    assert_int_equal(mp_hci_error(&host), MP_HCI_ERROR_PHY);
    start_with(&c); /* and one that has it: Coded on both channels, scanning Coded */
    mp_hci_restart(&host, 0);
    for (uint16_t opcode; (opcode = next_command(0)) != 0;) {
        if (opcode == HCI_LE_SET_EXT_ADV_PARAMS) {
            assert_int_equal(buf[4 + 20], HCI_PHY_CODED);
            assert_int_equal(buf[4 + 22], HCI_PHY_CODED);
        } else if (opcode == HCI_LE_SET_EXT_SCAN_PARAMS) {
            assert_int_equal(buf[4 + 2], HCI_PHY_BIT_CODED);
        }
        complete(0, opcode, 0, 1);
    }
}

static void test_refused_start_up_command_is_named(void **state)
{
    (void)state;
    assert_int_equal(mp_hci_init(&host, &config, 0), 0);
    for (uint16_t opcode; (opcode = next_command(0)) != HCI_LE_SET_EXT_ADV_PARAMS;)
        complete(0, opcode, 0, 1);
    FEED(0, 4, 0x0F, 4, 0x01, 1, 0x36, 0x20); /* by Command Status, as controllers do for what they do not know */
    assert_int_equal(mp_hci_phase(&host), MP_HCI_FAILED);
    assert_int_equal(mp_hci_error(&host), MP_HCI_ERROR_COMMAND);
    assert_int_equal(host.failed_opcode, HCI_LE_SET_EXT_ADV_PARAMS);
    assert_int_equal(host.failed_status, 0x01);
}

static void test_temporary_refusal_starts_again(void **state)
{
    (void)state;
    assert_int_equal(mp_hci_init(&host, &config, 0), 0);
    assert_int_equal(next_command(0), HCI_RESET);
    complete(0, HCI_RESET, 0x1F, 1);
    assert_int_equal(mp_hci_phase(&host), MP_HCI_WAIT);
    assert_true(mp_hci_next_expiry(&host, 0) == MP_MS(1000));
    mp_hci_expire(&host, MP_MS(999));
    assert_int_equal(next_command(MP_MS(999)), 0);
    mp_hci_expire(&host, MP_MS(1000));
    assert_int_equal(answer_all(MP_MS(1000)), 9);
    assert_int_equal(mp_hci_phase(&host), MP_HCI_RUN);
}

static void test_frame_is_advertised_once(void **state)
{
    uint8_t frame[MP_FRAME_MAX];
    (void)state;
    start();
    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = (uint8_t)i;
    assert_int_equal(mp_hci_send(&host, 0, frame, 0, buf, sizeof buf), MP_ERR_LENGTH);
    assert_int_equal(mp_hci_send(&host, 0, frame, 226, buf, sizeof buf), MP_ERR_LENGTH);
    assert_int_equal(mp_hci_send(&host, 0, frame, 225, buf, 236), MP_ERR_ROOM);
    assert_int_equal(mp_hci_send(&host, 0, frame, 225, buf, 237), 237);
    static const uint8_t head[] = {1, 0x37, 0x20, 233, 0, 3, 1, 229, 228, 0xFF, 0xFF, 0xFF};
    assert_memory_equal(buf, head, sizeof head);
    assert_memory_equal(buf + sizeof head, frame, 225);
    assert_int_equal(mp_hci_send(&host, 0, frame, 225, buf, sizeof buf), MP_ERR_STATE);
    assert_int_equal(next_command(0), 0);
    complete(0, HCI_LE_SET_EXT_ADV_DATA, 0, 1);
    assert_false(mp_hci_is_ready(&host, 0));
    assert_int_equal(mp_hci_write(&host, 0, buf, 9), MP_ERR_ROOM);
    assert_int_equal(next_command(0), HCI_LE_SET_EXT_ADV_ENABLE);
    static const uint8_t enable[] = {1, 0x39, 0x20, 6, 1, 1, 0, 0, 0, 1};
    assert_memory_equal(buf, enable, sizeof enable);
    complete(0, HCI_LE_SET_EXT_ADV_ENABLE, 0, 1);
    assert_false(mp_hci_is_ready(&host, MP_MS(900)));
    assert_int_equal(host.counters.sent, 0);
    terminated(MP_MS(4), 0, HCI_LIMIT_REACHED);
    assert_int_equal(host.counters.sent, 1);
    assert_int_equal(host.counters.lost, 0);
}

static void test_frame_may_lie_in_the_buffer(void **state)
{
    (void)state;
    for (size_t at = 0; at <= 20; at += 4) {
        start();
        for (uint8_t i = 0; i < 100; i++)
            buf[at + i] = i;
        assert_int_equal(mp_hci_send(&host, 0, buf + at, 100, buf, sizeof buf), 112);
        for (uint8_t i = 0; i < 100; i++)
            assert_int_equal(buf[12 + i], i);
    }
}

static void test_binding_is_late(void **state)
{
    (void)state;
    start();
    send_frame(MP_MS(1), 1);
    assert_true(mp_hci_ready_at(&host) == MP_NEVER);
    terminated(MP_MS(4), 0, HCI_LIMIT_REACHED);
    mp_time at = mp_hci_ready_at(&host);
    /* 20 ms after a start about two milliseconds before the end */
    assert_true(at > MP_MS(21) && at < MP_MS(24));
    assert_false(mp_hci_is_ready(&host, at - 1));
    assert_true(mp_hci_is_ready(&host, at));
    assert_true(mp_hci_next_expiry(&host, MP_MS(4)) == at);
    assert_true(mp_hci_next_expiry(&host, at) == MP_NEVER);
}

static void test_set_that_does_not_terminate_is_stopped(void **state)
{
    (void)state;
    start();
    send_frame(0, 1);
    assert_true(mp_hci_next_expiry(&host, 0) == MP_MS(1000));
    mp_hci_expire(&host, MP_MS(1000));
    assert_int_equal(next_command(MP_MS(1000)), HCI_LE_SET_EXT_ADV_ENABLE);
    assert_int_equal(buf[4], 0);
    terminated(MP_MS(1000), 0, HCI_LIMIT_REACHED); /* crosses the disable: too late to count */
    complete(MP_MS(1000), HCI_LE_SET_EXT_ADV_ENABLE, 0, 1);
    assert_int_equal(host.counters.lost, 1);
    assert_int_equal(host.counters.sent, 0);
    assert_int_equal(host.counters.timeouts, 1);
    assert_true(mp_hci_is_ready(&host, MP_MS(1000)));
}

static void test_termination_may_precede_the_answer(void **state)
{
    uint8_t frame[3] = {1, 2, 3};
    (void)state;
    start();
    assert_true(mp_hci_send(&host, 0, frame, 3, buf, sizeof buf) > 0);
    complete(0, HCI_LE_SET_EXT_ADV_DATA, 0, 1);
    assert_int_equal(next_command(0), HCI_LE_SET_EXT_ADV_ENABLE);
    terminated(0, 0, HCI_LIMIT_REACHED);
    assert_false(mp_hci_is_ready(&host, MP_MS(30)));
    complete(0, HCI_LE_SET_EXT_ADV_ENABLE, 0, 1);
    assert_true(mp_hci_is_ready(&host, MP_MS(30)));
    assert_int_equal(host.counters.sent, 1);
}

static void test_silence_resets_the_controller(void **state)
{
    uint8_t frame[3] = {1, 2, 3};
    (void)state;
    start();
    assert_true(mp_hci_send(&host, 0, frame, 3, buf, sizeof buf) > 0);
    assert_true(mp_hci_next_expiry(&host, 0) == MP_MS(2000));
    FEED(MP_MS(1), 4, 0x3E, 200, 1, 2, 3); /* and the stream hangs in a packet */
    mp_hci_expire(&host, MP_MS(2000));
    assert_int_equal(mp_hci_phase(&host), MP_HCI_WAIT);
    assert_int_equal(host.counters.lost, 1);
    mp_time again = mp_hci_next_expiry(&host, MP_MS(2000));
    assert_true(again == MP_MS(2100));
    mp_hci_expire(&host, again);
    assert_int_equal(next_command(again), HCI_RESET);
    complete(again, HCI_LE_SET_EXT_ADV_DATA, 0,
             0); /* the late answer is from before: neither it nor its credits count */
    complete(again, HCI_RESET, 0, 1);
    assert_int_equal(answer_all(again), 8);
    assert_int_equal(mp_hci_phase(&host), MP_HCI_RUN);
    assert_int_equal(host.counters.restarts, 1);
}

static void test_credits_are_respected(void **state)
{
    uint8_t frame[3] = {1, 2, 3};
    (void)state;
    start();
    assert_true(mp_hci_send(&host, 0, frame, 3, buf, sizeof buf) > 0);
    complete(0, HCI_LE_SET_EXT_ADV_DATA, 0, 0);
    assert_int_equal(next_command(0), 0);
    assert_true(mp_hci_next_expiry(&host, 0) == MP_MS(2000));
    FEED(0, 4, 0x0E, 3, 1, 0, 0); /* NOP: here is your credit */
    assert_int_equal(next_command(0), HCI_LE_SET_EXT_ADV_ENABLE);
    complete(0, HCI_LE_SET_EXT_ADV_ENABLE, 0, 0);
    terminated(0, 0, HCI_LIMIT_REACHED);
    assert_false(mp_hci_is_ready(&host, MP_MS(30)));
    FEED(0, 4, 0x0F, 4, 0, 1, 0, 0); /* the same by Command Status */
    assert_true(mp_hci_is_ready(&host, MP_MS(30)));
    assert_true(mp_hci_next_expiry(&host, MP_MS(30)) == MP_NEVER);
    send_frame(MP_MS(30), 1);
    terminated(MP_MS(31), 0, HCI_LIMIT_REACHED);
    assert_true(mp_hci_send(&host, MP_MS(60), frame, 3, buf, sizeof buf) > 0);
    complete(MP_MS(60), HCI_LE_SET_EXT_ADV_DATA, 0, 0);
    mp_hci_expire(&host, MP_MS(2060)); /* a credit that never comes is a dead controller */
    assert_int_equal(mp_hci_phase(&host), MP_HCI_WAIT);
}

static void test_hardware_error_and_foreign_reset_start_again(void **state)
{
    (void)state;
    start();
    send_frame(0, 1);
    FEED(0, 4, 0x10, 1, 0x42);
    assert_int_equal(mp_hci_phase(&host), MP_HCI_WAIT);
    assert_int_equal(host.counters.lost, 1);
    mp_hci_expire(&host, MP_MS(100));
    assert_int_equal(answer_all(MP_MS(100)), 9);
    complete(MP_MS(100), HCI_RESET, 0, 1);
    assert_int_equal(mp_hci_phase(&host), MP_HCI_WAIT);
    mp_hci_expire(&host, MP_MS(100));
    assert_int_equal(answer_all(MP_MS(100)), 9);
    assert_int_equal(host.counters.restarts, 2);
    /* A set it no longer knows: it was reset without a word. */
    uint8_t frame[3] = {1, 2, 3};
    assert_true(mp_hci_send(&host, MP_MS(101), frame, 3, buf, sizeof buf) > 0);
    complete(MP_MS(101), HCI_LE_SET_EXT_ADV_DATA, HCI_UNKNOWN_ADV_SET, 1);
    assert_int_equal(mp_hci_phase(&host), MP_HCI_WAIT);
    assert_int_equal(host.counters.lost, 2);
}

static void test_two_sets_take_turns(void **state)
{
    struct mp_hci_config c = config;
    (void)state;
    c.sets = 2;
    start_with(&c);
    send_frame(0, 1);
    assert_true(mp_hci_is_ready(&host, 0));
    send_frame(0, 2);
    assert_int_equal(buf[6], 1); /* the enable named the second set */
    assert_false(mp_hci_is_ready(&host, MP_MS(100)));
    terminated(MP_MS(4), 0, HCI_LIMIT_REACHED);
    assert_true(mp_hci_is_ready(&host, MP_MS(24)));
    send_frame(MP_MS(24), 3);
    assert_int_equal(buf[6], 0);
    terminated(MP_MS(30), 1, HCI_LIMIT_REACHED);
    terminated(MP_MS(50), 0, HCI_LIMIT_REACHED);
    assert_int_equal(host.counters.sent, 3);
}

static void test_own_commands_go_between(void **state)
{
    (void)state;
    assert_int_equal(mp_hci_init(&host, &config, 0), 0);
    assert_int_equal(mp_hci_command(&host, 0, 0xFC01, (const uint8_t *)"hi", 2, buf, sizeof buf), MP_ERR_STATE);
    start();
    assert_int_equal(mp_hci_command(&host, 0, 0xFC01, buf, 256, buf, sizeof buf), MP_ERR_LENGTH);
    assert_int_equal(mp_hci_command(&host, 0, 0xFC01, (const uint8_t *)"hi", 2, buf, 5), MP_ERR_ROOM);
    assert_int_equal(mp_hci_command(&host, 0, 0xFC01, (const uint8_t *)"hi", 2, buf, sizeof buf), 6);
    static const uint8_t bytes[] = {1, 0x01, 0xFC, 2, 'h', 'i'};
    assert_memory_equal(buf, bytes, sizeof bytes);
    assert_false(mp_hci_is_ready(&host, 0));
    FEED(0, 4, 0x0F, 4, HCI_UNKNOWN_COMMAND, 1, 0x01, 0xFC); /* a controller that does not know it does no harm */
    assert_true(mp_hci_is_ready(&host, 0));
    assert_int_equal(mp_hci_phase(&host), MP_HCI_RUN);
}

static void test_reports_are_handed_out(void **state)
{
    uint8_t event[HCI_EVENT_MAX];
    (void)state;
    start();
    feed(0, event, make_report(event, 0xFFFF, 7, 225));
    assert_int_equal(heard.count, 1);
    assert_int_equal(heard.length, 225);
    assert_int_equal(heard.frame[224], 7);
    assert_int_equal(heard.rssi, -60);
    feed(0, event, make_report(event, 0x1234, 7, 20)); /* somebody else's */
    make_report(event, 0xFFFF, 7, 20);
    event[5] = HCI_REPORT_LEGACY;
    feed(0, event, 53);
    event[5] = 0x20; /* more to come */
    feed(0, event, 53);
    event[5] = 0x40; /* truncated */
    feed(0, event, 53);
    assert_int_equal(heard.count, 1);
    assert_int_equal(host.counters.foreign, 2);
    assert_int_equal(host.counters.fragments, 2);
    assert_int_equal(host.counters.reports, 5);
    assert_int_equal(host.counters.malformed, 0);
}

static void test_several_reports_and_structures(void **state)
{
    /* Two reports: flags before our structure; and an empty one. */
    uint8_t event[] = {4,    0x3E, 2 + 24 + 9 + 24,
                       0x0D, 2,    0,
                       0,    1,    9,
                       9,    9,    9,
                       9,    9,    1,
                       1,    0,    127,
                       200,  0,    0,
                       0,    0,    0,
                       0,    0,    0,
                       0,    9,    2,
                       1,    6,    5,
                       0xFF, 0xFF, 0xFF,
                       'o',  'k',  0,
                       0,    1,    9,
                       9,    9,    9,
                       9,    9,    1,
                       1,    0,    127,
                       200,  0,    0,
                       0,    0,    0,
                       0,    0,    0,
                       0,    0};
    (void)state;
    start();
    event[2] = (uint8_t)(sizeof event - 3);
    feed(0, event, sizeof event);
    assert_int_equal(heard.count, 1);
    assert_int_equal(heard.length, 2);
    assert_memory_equal(heard.frame, "ok", 2);
    assert_int_equal(host.counters.reports, 2);
    assert_int_equal(host.counters.foreign, 1);
}

static void test_malformed_events_are_counted(void **state)
{
    uint8_t event[HCI_EVENT_MAX];
    (void)state;
    start();
    size_t n = make_report(event, 0xFFFF, 7, 50);
    event[4] = 0; /* no reports */
    feed(0, event, n);
    event[4] = 2; /* more than there are */
    feed(0, event, n);
    event[4] = 11;
    feed(0, event, n);
    event[4] = 1;
    event[28]++; /* data beyond the event */
    feed(0, event, n);
    event[28] = (uint8_t)(event[28] - 2); /* bytes left over */
    feed(0, event, n);
    FEED(0, 4, 0x3E, 1, 0x0D);
    FEED(0, 4, 0x3E, 2, 0x0D, 1);
    FEED(0, 4, 0x3E, 5, 0x12, 0x43, 0, 0, 0);       /* short termination */
    FEED(0, 4, 0x3E, 7, 0x12, 0x43, 0, 0, 0, 1, 0); /* long one */
    assert_int_equal(host.counters.malformed, 9);
    terminated(0, 9, HCI_LIMIT_REACHED); /* sets that are not on */
    terminated(0, 0, HCI_LIMIT_REACHED);
    FEED(0, 4, 0x3E, 1, 0x01);
    FEED(0, 4, 0xFF, 0);
    assert_int_equal(host.counters.unexpected, 4);
    assert_int_equal(heard.count, 0);
    make_report(event, 0xFFFF, 7, 50);
    feed(0, event, n);
    assert_int_equal(heard.count, 1);
    assert_int_equal(host.counters.noise, 0);
}

static void test_structure_that_overruns_is_foreign(void **state)
{
    uint8_t event[HCI_EVENT_MAX];
    (void)state;
    start();
    size_t n = make_report(event, 0xFFFF, 7, 50);
    event[29]++; /* AD length past the data */
    feed(0, event, n);
    event[29] = 3; /* nothing in it */
    feed(0, event, n);
    event[29] = 0;
    feed(0, event, n);
    assert_int_equal(heard.count, 0);
    assert_int_equal(host.counters.foreign, 3);
}

static void test_noise_is_skipped(void **state)
{
    uint8_t event[HCI_EVENT_MAX];
    (void)state;
    start();
    FEED(0, 0, 1, 2, 3, 4, 0xEE, 5, 4, 4, 0x10, 9); /* false starts, too */
    feed(0, event, make_report(event, 0xFFFF, 7, 60));
    assert_int_equal(heard.count, 1);
    assert_int_equal(host.counters.noise, 11);
    assert_int_equal(mp_hci_phase(&host), MP_HCI_RUN);
}

/* What others advertise must never be read as events of the controller, however the event around it is broken. */
static void test_advertising_data_is_never_an_event(void **state)
{
    uint8_t event[HCI_EVENT_MAX];
    (void)state;
    start();
    size_t n = make_report(event, 0xFFFF, 0, 200);
    for (size_t i = 33; i + 4 <= n; i += 4)
        memcpy(event + i, (const uint8_t[]){4, 0x10, 1, 0}, 4); /* hardware error */
    for (unsigned broken = 0; broken < 256; broken++) {
        event[4] = (uint8_t)broken;
        feed(0, event, n);
        event[4] = 1;
        event[28] = (uint8_t)broken;
        feed(0, event, n);
        event[28] = 204;
    }
    assert_int_equal(mp_hci_phase(&host), MP_HCI_RUN);
    assert_int_equal(host.counters.restarts, 0);
    assert_int_equal(host.counters.malformed, 2 * 255);
}

static void test_pieces_of_any_size(void **state)
{
    uint8_t stream[4096];
    size_t n = 0;
    (void)state;
    for (unsigned i = 0; i < 12; i++) {
        n += make_report(stream + n, 0xFFFF, (uint8_t)i, 1 + i * 20);
        memcpy(stream + n, "noise\4", i % 7); /* the last byte is a false start */
        n += i % 7;
    }
    start();
    feed(0, stream, n);
    struct heard_log whole = heard;
    struct mp_hci_counters counters = host.counters;
    assert_true(whole.count >= 10);
    for (size_t piece = 1; piece < 300; piece++) {
        start();
        for (size_t i = 0; i < n; i += piece)
            feed(0, stream + i, n - i < piece ? n - i : piece);
        assert_int_equal(heard.count, whole.count);
        assert_int_equal(heard.hash, whole.hash);
        assert_memory_equal(&host.counters, &counters, sizeof counters);
    }
}

static void test_reports_before_the_end_of_start_up_are_dropped(void **state)
{
    uint8_t event[HCI_EVENT_MAX];
    (void)state;
    memset(&heard, 0, sizeof heard);
    assert_int_equal(mp_hci_init(&host, &config, 0), 0);
    feed(0, event, make_report(event, 0xFFFF, 7, 60));
    assert_int_equal(heard.count, 0);
    assert_int_equal(answer_all(0), 9);
}

static void test_state_is_small(void **state)
{
    (void)state;
    assert_true(sizeof(struct mp_hci) <= 420);
    for (int e = 0; e < MP_HCI_ERROR_COUNT; e++)
        assert_true(strlen(mp_hci_strerror((enum mp_hci_error)e)) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_up_sends_every_command_in_order),
        cmocka_unit_test(test_configuration_is_checked),
        cmocka_unit_test(test_legacy_controller_is_named),
        cmocka_unit_test(test_missing_phy_is_named),
        cmocka_unit_test(test_refused_start_up_command_is_named),
        cmocka_unit_test(test_temporary_refusal_starts_again),
        cmocka_unit_test(test_frame_is_advertised_once),
        cmocka_unit_test(test_frame_may_lie_in_the_buffer),
        cmocka_unit_test(test_binding_is_late),
        cmocka_unit_test(test_set_that_does_not_terminate_is_stopped),
        cmocka_unit_test(test_termination_may_precede_the_answer),
        cmocka_unit_test(test_silence_resets_the_controller),
        cmocka_unit_test(test_credits_are_respected),
        cmocka_unit_test(test_hardware_error_and_foreign_reset_start_again),
        cmocka_unit_test(test_two_sets_take_turns),
        cmocka_unit_test(test_own_commands_go_between),
        cmocka_unit_test(test_reports_are_handed_out),
        cmocka_unit_test(test_several_reports_and_structures),
        cmocka_unit_test(test_malformed_events_are_counted),
        cmocka_unit_test(test_structure_that_overruns_is_foreign),
        cmocka_unit_test(test_noise_is_skipped),
        cmocka_unit_test(test_advertising_data_is_never_an_event),
        cmocka_unit_test(test_pieces_of_any_size),
        cmocka_unit_test(test_reports_before_the_end_of_start_up_are_dropped),
        cmocka_unit_test(test_state_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
