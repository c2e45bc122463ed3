/*
 * Packets of a trace: every byte against the formats of the Core Specification (Vol 6 Part B) and of the link types; the
 * CRC against the shift register as it is drawn there. tshark reads the same packets without complaint.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/result/pcap.h"

static const struct sim_pcap_world world = {20, SIM_PHY_1M};

/* The register of Vol 6 Part B 3.1.1: bits enter as they are sent, lowest first; taps at 24, 10, 9, 6, 4, 3, 1, 0. Position 0
 * is the leftmost; the CRC is sent from position 23 on, and a byte's first bit is its lowest. */
static void shift_register(const uint8_t *pdu, size_t size, uint8_t crc[3])
{
    static const unsigned taps[] = {1, 3, 4, 6, 9, 10};
    unsigned position[24];
    for (unsigned i = 0; i < 24; i++)
        position[i] = 0x555555u >> i & 1;
    for (size_t i = 0; i < size * 8; i++) {
        unsigned back = position[23] ^ (pdu[i / 8] >> i % 8 & 1u);
        memmove(position + 1, position, 23 * sizeof position[0]);
        position[0] = back;
        for (unsigned k = 0; k < 6; k++)
            position[taps[k]] ^= back;
    }
    memset(crc, 0, 3);
    for (unsigned i = 0; i < 24; i++)
        crc[i / 8] |= (uint8_t)(position[23 - i] << i % 8);
}

static void crc_is_that_of_the_register(void **state)
{
    uint8_t pdu[40], crc[3], wanted[3];
    (void)state;
    for (uint32_t round = 0; round < 200; round++) {
        for (uint32_t i = 0; i < sizeof pdu; i++)
            pdu[i] = (uint8_t)sim_draw(1, SIM_DRAW_WORLD, round, i, 0);
        sim_pcap_crc24(pdu, round % (sizeof pdu + 1), crc);
        shift_register(pdu, round % (sizeof pdu + 1), wanted);
        assert_memory_equal(crc, wanted, 3);
    }
}

static void fcs_is_that_of_the_standard(void **state)
{
    /* The standard's example, an acknowledgement: bits 0100 0000 0000 0000 0101 0110 in the order they are sent, lowest
     * of each byte first, have the FCS 0010 0111 1001 1110. */
    const uint8_t ack[] = {0x02, 0x00, 0x6A};
    (void)state;
    assert_int_equal(sim_pcap_fcs((const uint8_t *)"123456789", 9), 0x2189); /* check value of CRC-16/KERMIT */
    assert_int_equal(sim_pcap_fcs(ack, sizeof ack), 0x79E4);
}

static void assert_record(const struct sim_sent *sent, const struct sim_pcap_world *w, const uint8_t *wanted,
                          size_t size)
{
    uint8_t record[SIM_PCAP_RECORD_MAX];
    memset(record, 0xA5, sizeof record);
    size_t got = sim_pcap_record(sent, w, record);
    assert_int_equal(got, size);
    assert_memory_equal(record, wanted, size);
}

/* Appends the CRC of a record's PDU, which begins at byte `at`. */
static size_t with_crc(uint8_t *record, size_t at, size_t size)
{
    shift_register(record + at, size - at, record + size);
    return size + 3;
}

static void file_header_names_the_link_type(void **state)
{
    uint8_t head[SIM_PCAP_FILE_HEADER];
    const uint8_t wanted[] = {0xD4, 0xC3, 0xB2, 0xA1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 1, 0, 0};
    (void)state;
    sim_pcap_file_header(SIM_BEARER_EXTENDED, head);
    assert_memory_equal(head, wanted, sizeof head);
    sim_pcap_file_header(SIM_BEARER_LEGACY, head);
    assert_memory_equal(head, wanted, sizeof head);
    sim_pcap_file_header(SIM_BEARER_802154, head);
    assert_true(head[20] == 27 && head[21] == 1 && head[22] == 0 && head[23] == 0);
}

static void primary_packet_points_to_the_auxiliary_one(void **state)
{
    const uint8_t data[] = {4, 0xFF, 0xFF, 0xFF, 7};
    struct sim_sent sent = {.start = 5000123,
                            .end = 5000300,
                            .node = 0x01020304,
                            .number = 0x1ABC,
                            .bearer = SIM_BEARER_EXTENDED,
                            .channel = 38,
                            .phy = SIM_PHY_1M,
                            .part = 1,
                            .aux_channel = 17,
                            .tx_mdbm = -4400,
                            .aux_offset_us = 1519,
                            .data = data,
                            .len = sizeof data};
    uint8_t wanted[64] = {5,    0,    0,    0,    123,  0,    0,         0,    26,   0,
                          0,    0,    26,   0,    0,    0,                                 /* record */
                          12,   0xFC, 0x80, 0,    0xD6, 0xBE, 0x89,      0x8E, 0x13, 0x0C, /* 2426 MHz, -4 dBm */
                          0xD6, 0xBE, 0x89, 0x8E,                                          /* access address */
                          0x07, 7,    6,    0x18, 0xBC, 0x0A, 0x40 | 17, 50,   0}; /* 50 units of 30 us, LE 1M */
    (void)state;
    assert_record(&sent, &world, wanted, with_crc(wanted, 30, 39));

    /* 250 ms away: units of 300 us; the clock is worse than 50 ppm; LE 2M. */
    const struct sim_pcap_world worse = {100, SIM_PHY_2M};
    sent.aux_offset_us = 250000;
    sent.channel = 39;
    sent.part = 2;
    sent.tx_mdbm = 4500;
    wanted[16] = 39;
    wanted[17] = 5;
    wanted[36] = 0x80 | 17;
    wanted[37] = 833 & 0xFF;
    wanted[38] = 833 >> 8 | 1 << 5;
    assert_record(&sent, &worse, wanted, with_crc(wanted, 30, 39));
}

static void auxiliary_packet_carries_the_data(void **state)
{
    uint8_t data[300];
    memset(data, 0x5A, sizeof data);
    struct sim_sent sent = {.start = 4294967296000001u,
                            .node = 0x01020304,
                            .number = 0x1ABC,
                            .bearer = SIM_BEARER_EXTENDED,
                            .channel = 10,
                            .phy = SIM_PHY_1M,
                            .part = 3,
                            .tx_mdbm = 0,
                            .data = data,
                            .len = 3};
    uint8_t wanted[400] = {0x98, 0x6D, 0xFF, 0xFF, 0x01, 0xD9, 0x04, 0,    32,   0,    0,    0,    32,   0,    0,
                           0,    11,   0,    0x80, 0,    0xD6, 0xBE, 0x89, 0x8E, 0x93, 0x0C, 0xD6, 0xBE, 0x89, 0x8E,
                           0x47, 13,   9,    0x09, 4,    3,    2,    1,    0x4D, 0xC0, 0xBC, 0x0A, 0x5A, 0x5A, 0x5A};
    (void)state;
    uint64_t seconds = sent.start / 1000000, rest = sent.start % 1000000;
    for (unsigned i = 0; i < 4; i++) {
        wanted[i] = (uint8_t)(seconds >> 8 * i);
        wanted[4 + i] = (uint8_t)(rest >> 8 * i);
    }
    assert_record(&sent, &world, wanted, with_crc(wanted, 30, 45));

    /* LE Coded has an indicator before the PDU; channel 11 lies above 38's. */
    sent.phy = SIM_PHY_CODED;
    sent.channel = 11;
    wanted[8] = wanted[12] = 33;
    wanted[16] = 13;
    wanted[25] = 0x8C;
    memmove(wanted + 31, wanted + 30, 15);
    wanted[30] = 0;
    assert_record(&sent, &world, wanted, with_crc(wanted, 31, 46));

    /* More than a PDU holds is cut to 245 bytes. */
    uint8_t record[SIM_PCAP_RECORD_MAX];
    sent.len = sizeof data;
    assert_int_equal(sim_pcap_record(&sent, &world, record), 31 + 2 + 255 + 3);
    assert_int_equal(record[32], 255);
}

static void legacy_packet_is_nonconnectable(void **state)
{
    uint8_t data[40] = {2, 0x01, 0x06};
    struct sim_sent sent = {.node = 0x0A,
                            .bearer = SIM_BEARER_LEGACY,
                            .channel = 37,
                            .phy = SIM_PHY_1M,
                            .tx_mdbm = -200000,
                            .data = data,
                            .len = 3};
    uint8_t wanted[64] = {0,    0,    0,    0,    0,    0, 0,    0,    28,   0,    0,    0,    28,   0,
                          0,    0,    0,    0x81, 0x80, 0, 0xD6, 0xBE, 0x89, 0x8E, 0x13, 0x0C, 0xD6, 0xBE,
                          0x89, 0x8E, 0x42, 9,    0x0A, 0, 0,    0,    0x4D, 0xC0, 2,    1,    6};
    (void)state;
    assert_record(&sent, &world, wanted, with_crc(wanted, 30, 41));
    uint8_t record[SIM_PCAP_RECORD_MAX];
    sent.len = sizeof data;
    assert_int_equal(sim_pcap_record(&sent, &world, record), 30 + 2 + 37 + 3);
    sent.len = 0;
    sent.data = NULL;
    assert_int_equal(sim_pcap_record(&sent, &world, record), 30 + 2 + 6 + 3);
}

static void ieee802154_frame_has_its_tap_header(void **state)
{
    const uint8_t data[] = {0x02, 0x00, 0x6A};
    const struct sim_sent sent = {
        .start = 1, .bearer = SIM_BEARER_802154, .channel = 26, .tx_mdbm = -4500, .data = data, .len = sizeof data};
    const uint8_t wanted[] = {0,    0,    0,    0,    1,   0, 0,    0,    33, 0, 0, 0, 33, 0, 0, 0, /* record */
                              0,    0,    28,   0,    0,   0, 1,    0,    1,  0, 0, 0, /* TAP, FCS of 16 bits */
                              1,    0,    4,    0,    0,   0, 0x90, 0xC0,              /* -4.5 dBm */
                              3,    0,    3,    0,    26,  0, 0,    0,                 /* channel 26, page 0 */
                              0x02, 0x00, 0x6A, 0xE4, 0x79};
    (void)state;
    assert_record(&sent, &world, wanted, sizeof wanted);
}

static void every_channel_has_its_place(void **state)
{
    (void)state;
    bool is_taken[40] = {false};
    for (unsigned channel = 0; channel < 40; channel++) {
        uint8_t record[SIM_PCAP_RECORD_MAX];
        const struct sim_sent sent = {
            .bearer = SIM_BEARER_EXTENDED, .channel = (uint8_t)channel, .phy = SIM_PHY_1M, .part = 3};
        (void)sim_pcap_record(&sent, &world, record);
        assert_true(record[16] < 40 && !is_taken[record[16]]);
        is_taken[record[16]] = true;
        /* 2404 to 2424 MHz and 2428 to 2478 MHz in steps of 2. */
        if (channel < 37)
            assert_int_equal(2402 + 2 * record[16], channel < 11 ? 2404 + 2 * channel : 2428 + 2 * (channel - 11));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_is_that_of_the_register),
        cmocka_unit_test(fcs_is_that_of_the_standard),
        cmocka_unit_test(file_header_names_the_link_type),
        cmocka_unit_test(primary_packet_points_to_the_auxiliary_one),
        cmocka_unit_test(auxiliary_packet_carries_the_data),
        cmocka_unit_test(legacy_packet_is_nonconnectable),
        cmocka_unit_test(ieee802154_frame_has_its_tap_header),
        cmocka_unit_test(every_channel_has_its_place),
    };
    return cmocka_run_group_tests_name("sim_pcap", tests, NULL, NULL);
}
