/*
 * Packets of a run as bytes for trace.pcap: what a sniffer beside the sender would have written.
 *
 * Bluetooth LE: link type 256 (LINKTYPE_BLUETOOTH_LE_LL_WITH_PHDR), PDUs of the Core Specification, Vol 6 Part B,
 * with their CRC. IEEE 802.15.4: link type 283 (LINKTYPE_IEEE802_15_4_TAP), the MAC frame with its FCS. Advertiser
 * addresses are static random: C0:4D and the node's number. Timestamps are microseconds of simulated time and name the
 * packet's start. Pure functions, reentrant.
 */
#ifndef SIM_PCAP_H
#define SIM_PCAP_H

#include "sim/engine/engine.h"

#define SIM_PCAP_FILE_HEADER 24
#define SIM_PCAP_RECORD_MAX 360 /* record header, pseudo header, packet */

/* The file's first bytes. */
void sim_pcap_file_header(enum sim_bearer bearer, uint8_t out[SIM_PCAP_FILE_HEADER]);
/* What all packets of a world agree in, for the AuxPtr. */
struct sim_pcap_world {
    uint32_t drift_ppm;    /* worst clock error */
    uint8_t secondary_phy; /* enum sim_phy */
};
/* One packet with its record header. Returns its size. Data longer than the bearer carries is cut. */
size_t sim_pcap_record(const struct sim_sent *sent, const struct sim_pcap_world *world,
                       uint8_t out[SIM_PCAP_RECORD_MAX]);
/* CRC of an advertising PDU (initial value 0x555555) as it is stored: three bytes, little-endian. */
void sim_pcap_crc24(const uint8_t *pdu, size_t size, uint8_t crc[3]);
/* FCS of an 802.15.4 frame: CRC-16 with polynomial 0x1021, reflected, initial value 0. */
uint16_t sim_pcap_fcs(const uint8_t *frame, size_t size);

#endif
