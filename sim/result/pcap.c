#include "pcap.h"

#include <string.h>

#define LINKTYPE_BLE 256
#define LINKTYPE_802154 283
#define ACCESS_ADDRESS 0x8E89BED6u
#define PDU_MAX 257

/* Flags of the Bluetooth LE pseudo header. */
enum {
    FLAG_DEWHITENED = 0x0001,
    FLAG_POWER_VALID = 0x0002,
    FLAG_REFERENCE_VALID = 0x0010,
    FLAG_AUXILIARY = 0x0080, /* PDU type 1 in bits 7 to 9; bits 12 and 13 then say AUX_ADV_IND: 0 */
    FLAG_CRC_CHECKED = 0x0400,
    FLAG_CRC_VALID = 0x0800,
    FLAG_PHY_SHIFT = 14
};

struct bytes {
    uint8_t *at;
};

static void put8(struct bytes *b, unsigned value)
{
    *b->at++ = (uint8_t)value;
}

static void put16(struct bytes *b, unsigned value)
{
    put8(b, value & 0xFF);
    put8(b, value >> 8 & 0xFF);
}

static void put32(struct bytes *b, uint32_t value)
{
    put16(b, value & 0xFFFF);
    put16(b, value >> 16);
}

static void put(struct bytes *b, const void *data, size_t size)
{
    if (size > 0)
        memcpy(b->at, data, size);
    b->at += size;
}

void sim_pcap_file_header(enum sim_bearer bearer, uint8_t out[SIM_PCAP_FILE_HEADER])
{
    struct bytes b = {out};
    put32(&b, 0xA1B2C3D4); /* microseconds, little-endian */
    put16(&b, 2);
    put16(&b, 4);
    put32(&b, 0);
    put32(&b, 0);
    put32(&b, 65535);
    put32(&b, bearer == SIM_BEARER_802154 ? LINKTYPE_802154 : LINKTYPE_BLE);
}

void sim_pcap_crc24(const uint8_t *pdu, size_t size, uint8_t crc[3])
{
    /* x^24 + x^10 + x^9 + x^6 + x^4 + x^3 + x + 1, bits in the order they are sent: everything reflected. */
    uint32_t state = 0xAAAAAA;
    for (size_t i = 0; i < size; i++) {
        state ^= pdu[i];
        for (int bit = 0; bit < 8; bit++)
            state = state >> 1 ^ ((state & 1) != 0 ? 0xDA6000u : 0);
    }
    crc[0] = (uint8_t)state;
    crc[1] = (uint8_t)(state >> 8);
    crc[2] = (uint8_t)(state >> 16);
}

uint16_t sim_pcap_fcs(const uint8_t *frame, size_t size)
{
    uint32_t state = 0;
    for (size_t i = 0; i < size; i++) {
        state ^= frame[i];
        for (int bit = 0; bit < 8; bit++)
            state = state >> 1 ^ ((state & 1) != 0 ? 0x8408u : 0);
    }
    return (uint16_t)state;
}

/* Bluetooth LE channel index to position in the band, 2402 MHz + 2 MHz times it. */
static unsigned rf_channel(unsigned index)
{
    if (index >= 37)
        return index == 37 ? 0 : index == 38 ? 12 : 39;
    return index <= 10 ? index + 1 : index + 2;
}

static unsigned phy_number(uint8_t phy)
{
    return phy == SIM_PHY_2M ? 1 : phy == SIM_PHY_CODED ? 2 : 0;
}

static int rounded_dbm(int32_t mdbm)
{
    int32_t dbm = (mdbm >= 0 ? mdbm + 500 : mdbm - 500) / 1000;
    return dbm < -127 ? -127 : dbm > 127 ? 127 : (int)dbm;
}

/* AdvA: sent with its lowest byte first. */
static void put_address(struct bytes *b, uint32_t node)
{
    put32(b, node);
    put8(b, 0x4D);
    put8(b, 0xC0);
}

/* AdvDataInfo: set 0, and a data id that changes with every event, so that no controller takes two for one. */
static void put_adi(struct bytes *b, uint32_t number)
{
    put16(b, number & 0xFFF);
}

static void put_legacy(struct bytes *b, const struct sim_sent *sent)
{
    size_t len = sent->len < 31 ? sent->len : 31;
    put8(b, 0x42); /* ADV_NONCONN_IND, TxAdd random */
    put8(b, 6 + (unsigned)len);
    put_address(b, sent->node);
    put(b, sent->data, len);
}

#define OFFSET_SHORT_MAX 245700u /* from here on in units of 300 us */

static void put_ext_ind(struct bytes *b, const struct sim_sent *sent, const struct sim_pcap_world *world)
{
    bool is_long = sent->aux_offset_us >= OFFSET_SHORT_MAX;
    uint32_t offset = sent->aux_offset_us / (is_long ? 300u : 30u);
    offset = offset < 0x1FFF ? offset : 0x1FFF;
    put8(b, 0x07); /* ADV_EXT_IND; no address */
    put8(b, 7);
    put8(b, 6);    /* extended header length; non-connectable, non-scannable */
    put8(b, 0x18); /* ADI, AuxPtr */
    put_adi(b, sent->number);
    put8(b, (sent->aux_channel & 0x3Fu) | (world->drift_ppm <= 50 ? 0x40u : 0) | (is_long ? 0x80u : 0));
    put16(b, offset | phy_number(world->secondary_phy) << 13);
}

static void put_aux(struct bytes *b, const struct sim_sent *sent)
{
    size_t len = sent->len < 245 ? sent->len : 245;
    put8(b, 0x47); /* AUX_ADV_IND, TxAdd random */
    put8(b, 10 + (unsigned)len);
    put8(b, 9);    /* extended header length */
    put8(b, 0x09); /* AdvA, ADI */
    put_address(b, sent->node);
    put_adi(b, sent->number);
    put(b, sent->data, len);
}

static void put_ble(struct bytes *b, const struct sim_sent *sent, const struct sim_pcap_world *world)
{
    bool is_aux = sent->bearer == SIM_BEARER_EXTENDED && sent->part == 3;
    unsigned flags = FLAG_DEWHITENED | FLAG_POWER_VALID | FLAG_REFERENCE_VALID | FLAG_CRC_CHECKED | FLAG_CRC_VALID |
                     phy_number(sent->phy) << FLAG_PHY_SHIFT | (is_aux ? FLAG_AUXILIARY : 0);
    put8(b, rf_channel(sent->channel));
    put8(b, (unsigned)rounded_dbm(sent->tx_mdbm) & 0xFF);
    put8(b, 0x80); /* noise power: not valid */
    put8(b, 0);
    put32(b, ACCESS_ADDRESS);
    put16(b, flags);
    put32(b, ACCESS_ADDRESS);
    if (sent->phy == SIM_PHY_CODED)
        put8(b, 0); /* coding indicator: S=8 */
    const uint8_t *pdu = b->at;
    if (sent->bearer == SIM_BEARER_LEGACY)
        put_legacy(b, sent);
    else if (is_aux)
        put_aux(b, sent);
    else
        put_ext_ind(b, sent, world);
    uint8_t crc[3];
    sim_pcap_crc24(pdu, (size_t)(b->at - pdu), crc);
    put(b, crc, sizeof crc);
}

static void put_tlv(struct bytes *b, unsigned type, const void *value, unsigned size)
{
    static const uint8_t zero[4] = {0};
    put16(b, type);
    put16(b, size);
    put(b, value, size);
    put(b, zero, (4 - size % 4) % 4);
}

static void put_802154(struct bytes *b, const struct sim_sent *sent)
{
    const uint8_t fcs_type = 1; /* 16 bits */
    const uint8_t channel[3] = {sent->channel, 0, 0};
    float dbm = (float)sent->tx_mdbm / 1000.0f;
    uint32_t bits;
    uint8_t rss[4];
    memcpy(&bits, &dbm, sizeof bits);
    struct bytes r = {rss};
    put32(&r, bits);
    size_t len = sent->len < 125 ? sent->len : 125;
    put16(b, 0);  /* version */
    put16(b, 28); /* of the header with its TLVs */
    put_tlv(b, 0, &fcs_type, 1);
    put_tlv(b, 1, rss, sizeof rss);
    put_tlv(b, 3, channel, sizeof channel);
    put(b, sent->data, len);
    put16(b, sim_pcap_fcs(sent->data, len));
}

size_t sim_pcap_record(const struct sim_sent *sent, const struct sim_pcap_world *world,
                       uint8_t out[SIM_PCAP_RECORD_MAX])
{
    struct bytes b = {out + 16};
    if (sent->bearer == SIM_BEARER_802154)
        put_802154(&b, sent);
    else
        put_ble(&b, sent, world);
    uint32_t size = (uint32_t)(b.at - out) - 16;
    struct bytes head = {out};
    put32(&head, (uint32_t)(sent->start / 1000000));
    put32(&head, (uint32_t)(sent->start % 1000000));
    put32(&head, size);
    put32(&head, size);
    return size + 16;
}
