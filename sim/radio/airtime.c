#include "radio.h"

/* Bytes around the payload of a PDU: preamble, access address 4, header 2, CRC 3. */
#define OVERHEAD_1M (1 + 4 + 2 + 3)
#define OVERHEAD_2M (2 + 4 + 2 + 3)

uint32_t sim_airtime_us(enum sim_phy phy, unsigned payload)
{
    switch (phy) {
    case SIM_PHY_1M:
        return (OVERHEAD_1M + payload) * 8;
    case SIM_PHY_2M:
        return (OVERHEAD_2M + payload) * 4;
    case SIM_PHY_CODED: {
        /* 1 Msymbol/s. Preamble, then FEC block 1 (access address, coding indicator, terminator), always 8 symbols a
         * bit, then FEC block 2 (PDU, CRC, terminator), here 8 symbols a bit as well. */
        uint32_t block_1 = (32 + 2 + 3) * 8;
        uint32_t block_2 = ((2 + payload) * 8 + 24 + 3) * 8;
        return 80 + block_1 + block_2;
    }
    }
    return 0;
}

uint32_t sim_airtime_ext_ind_us(enum sim_phy phy)
{
    return sim_airtime_us(phy, 1 + 1 + 2 + 3);
}

uint32_t sim_airtime_aux_us(enum sim_phy phy, unsigned n)
{
    return sim_airtime_us(phy, 1 + 1 + 6 + 2 + n);
}

uint32_t sim_airtime_legacy_us(unsigned n)
{
    return sim_airtime_us(SIM_PHY_1M, 6 + n);
}

void sim_event_plan(struct sim_event *event, const struct sim_radio *radio, sim_time start, unsigned channel_map,
                    enum sim_phy primary_phy, enum sim_phy secondary_phy, unsigned aux_channel, unsigned bytes)
{
    uint32_t airtime = sim_airtime_ext_ind_us(primary_phy);
    sim_time at = start;
    if ((channel_map & 7) == 0)
        channel_map = 7;
    event->primaries = 0;
    for (unsigned i = 0; i < SIM_PRIMARY_COUNT; i++) {
        if (!(channel_map & 1u << i))
            continue;
        struct sim_pdu *pdu = &event->primary[event->primaries++];
        pdu->channel = (uint8_t)(SIM_PRIMARY_FIRST + i);
        pdu->start = at;
        pdu->end = at + airtime;
        at = pdu->end + radio->primary_gap_us;
    }
    event->aux.channel = (uint8_t)aux_channel;
    event->aux.start = at - radio->primary_gap_us + radio->aux_gap_us;
    event->aux.end = event->aux.start + sim_airtime_aux_us(secondary_phy, bytes);
}

unsigned sim_scan_channel(sim_time origin, uint32_t interval_us, uint32_t window_us, sim_time start, sim_time end)
{
    if (start < origin || end < start)
        return 0;
    uint64_t turn = (start - origin) / interval_us;
    if (end - origin > turn * interval_us + window_us)
        return 0;
    return SIM_PRIMARY_FIRST + (unsigned)(turn % SIM_PRIMARY_COUNT);
}
